//! Many concurrent requests to one API server: the answers, their order, and a server that is gone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;

use seal_secrets::model::{Error, Result};
use seal_secrets::world::World;
use seal_secrets::world::cluster::{Access, Ask, Cluster};
use serde_json::{Value, json};

use crate::api_server::{closed, kubeconfig, response, serve_with};
use crate::common::Sandbox;

/// How many questions are in flight at a time.
const AT_ONCE: usize = 32;

/// More than any test takes: no request here times out.
const PATIENCE: Duration = Duration::from_secs(600);

fn connect(port: u16) -> Cluster {
    let sandbox = Sandbox::empty();
    kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
    let mut world = World { server_patience: PATIENCE, ..sandbox.world_at(".") };
    Cluster::connect(&Access { kubeconfig: Some("kubeconfig"), must_exist: true, context: None }, &mut world).unwrap()
}

fn questions(count: usize) -> Vec<Ask> {
    (0..count).map(|n| Ask::Get { path: format!("/api/v1/things/{n}"), kind: "Thing" }).collect()
}

/// The thing of that path.
fn thing(path: &str) -> Vec<u8> {
    response("200 OK", "", &json!({"kind": "Thing", "path": path}).to_string())
}

fn errors(answers: Vec<Result<Option<Value>>>) -> Vec<Option<Error>> {
    answers.into_iter().map(Result::err).collect()
}

#[test]
fn questions_are_under_way_together_and_answered_in_their_order() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest, barrier) = (now.clone(), most.clone(), Barrier::new(AT_ONCE));
    let (port, asked) = serve_with(move |_, path, _| {
        highest.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // Nothing is answered before this many requests have arrived.
        barrier.wait();
        counted.fetch_sub(1, Ordering::SeqCst);
        thing(path)
    });
    let answers = connect(port).together(&questions(3 * AT_ONCE));
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer, Ok(Some(json!({"kind": "Thing", "path": format!("/api/v1/things/{n}")}))));
    }
    assert_eq!((asked.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (3 * AT_ONCE, AT_ONCE));
}

#[test]
fn each_question_has_its_own_answer() {
    let (port, asked) = serve_with(|_, path, body| match path {
        "/busy" => response("429 Too Many Requests", "Retry-After: 0\r\n", "{}"),
        "/thing" => thing(path),
        "/metadata" => response("200 OK", "", r#"{"kind":"PartialObjectMetadata","metadata":{"name":"m"}}"#),
        "/review" => response("201 Created", "", std::str::from_utf8(body).unwrap()),
        "/none" => response("404 Not Found", "", r#"{"kind":"Status"}"#),
        "/denied" => response("403 Forbidden", "", r#"{"kind":"Status","message":"no"}"#),
        _ => response("200 OK", "", "<html>"),
    });
    let cluster = connect(port);
    let get = |path: &str| Ask::Get { path: path.to_owned(), kind: "Thing" };
    let review = json!({"kind": "Review", "spec": {}});
    let asks = [
        get("/thing"),
        Ask::Metadata { path: "/metadata".to_owned() },
        Ask::Review { path: "/review", object: review.clone() },
        get("/none"),
        get("/denied"),
        get("/html"),
        get("/no URI"),
        get("/busy"),
    ];
    let alone = [
        cluster.get("/thing", "Thing"),
        cluster.metadata("/metadata"),
        cluster.review("/review", &review).map(Some),
        cluster.get("/none", "Thing"),
        cluster.get("/denied", "Thing"),
        cluster.get("/html", "Thing"),
        cluster.get("/no URI", "Thing"),
        cluster.get("/busy", "Thing"),
    ];
    assert_eq!(asked.load(Ordering::SeqCst), 10, "a busy server is asked four times, and a request without a URI is never sent");
    assert_eq!(cluster.together(&asks), alone);
    assert_eq!(asked.load(Ordering::SeqCst), 20);
    assert_eq!(alone.each_ref().map(Result::is_ok), [true, true, true, true, false, false, false, false]);
    assert_eq!((&alone[2], &alone[3]), (&Ok(Some(review)), &Ok(None)));
    assert_eq!(cluster.together(&[]), []);
}

#[test]
fn a_server_that_is_not_there_is_asked_once() {
    let (closed, _kept) = closed();
    let cluster = connect(closed);
    let error = cluster.get("/api/v1/things/0", "Thing").unwrap_err();
    assert_eq!(error.what(), "nothing listens at the API server's address");
    assert_eq!(errors(cluster.together(&questions(500))), vec![Some(error); 500]);
}

#[test]
fn a_server_that_goes_away_is_not_asked_for_the_rest() {
    let (port, asked) = serve_with(|n, path, _| if n < 40 { thing(path) } else { Vec::new() });
    let errors = errors(connect(port).together(&questions(500)));
    let answered = errors.iter().filter(|error| error.is_none()).count();
    assert!((1..=40).contains(&answered), "{answered}");
    let last = errors[499].clone().unwrap();
    assert_eq!(last.what(), "the API server cannot be reached");
    assert!(errors.iter().flatten().all(|error| *error == last), "{errors:?}");
    // Questions in flight at the last answer may fail before the client gives up.
    assert!(asked.load(Ordering::SeqCst) <= 40 + 2 * AT_ONCE, "{asked:?}");
}

#[test]
fn a_question_that_alone_gets_no_answer_stops_no_other() {
    let count = Arc::new((Mutex::new(0), Condvar::new()));
    let (port, _) = serve_with(move |_, path, _| {
        let (seen, changed) = &*count;
        let mut seen = seen.lock().unwrap();
        *seen += 1;
        changed.notify_all();
        if path != "/api/v1/things/0" {
            return thing(path);
        }
        // By then, the questions sent with it have their answers.
        drop(changed.wait_while(seen, |seen| *seen < 2 * AT_ONCE).unwrap());
        Vec::new()
    });
    let errors = errors(connect(port).together(&questions(100)));
    assert_eq!(errors[0].as_ref().unwrap().what(), "the API server cannot be reached");
    assert_eq!(errors[1..], vec![None; 99]);
}
