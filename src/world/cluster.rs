//! A live cluster, through its API server: only the cluster that the operator selected, with a limit on everything.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use k8s_openapi::jiff::fmt::rfc2822;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::connection::{Connection, failed};
use super::{World, kubeconfig};
use crate::model::{Error, ErrorKind, Result, visible};

/// The largest answer that is read, in bytes.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// How often a request is repeated if the server had no time for it.
const MOST_RETRIES: u32 = 3;

/// How many requests are under way at a time.
const MOST_AT_ONCE: usize = 32;

const JSON: &str = "application/json";

/// Which cluster: `--kubeconfig` (or `KUBECONFIG`), `--context`.
pub struct Access<'a> {
    /// The kubeconfig files, separated by `:`; none = `~/.kube/config`, and then the context has to be given.
    pub kubeconfig: Option<&'a str>,
    /// Whether each of these files must exist; those in `KUBECONFIG` need not, as for kubectl.
    pub must_exist: bool,
    /// The context; none = the kubeconfig's current one.
    pub context: Option<&'a str>,
}

pub struct Cluster {
    runtime: tokio::runtime::Runtime,
    connection: Connection,
    pub context: String,
    /// How long one request may take, including its answer.
    patience: Duration,
    time: Cell<Option<SystemTime>>,
    /// How often the server has answered, whatever it said.
    answers: Cell<usize>,
    /// A request got no answer, and no other got one in the meantime.
    is_gone: Cell<bool>,
}

/// One of many requests that run concurrently.
pub enum Ask {
    /// Reads an object of this kind.
    Get { path: String, kind: &'static str },
    /// Reads an object's metadata, without values.
    Metadata { path: String },
    /// Posts a review and returns the server's verdict.
    Review { path: &'static str, object: Value },
}

pub struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
}

impl Cluster {
    /// Reads the kubeconfig and reports which cluster it is; makes no request yet.
    pub fn connect(access: &Access<'_>, world: &mut World) -> Result<Cluster> {
        if access.kubeconfig.is_none() && access.context.is_none() {
            return Err(Error::usage("no cluster is named", "name it with `--context NAME`, `--kubeconfig FILE`, or both"));
        }
        let chosen = kubeconfig::read(access, world)?;
        let context = chosen.context.clone();
        world.terminal.tell(&format!("context {}, {}\n", visible(&context), visible(&chosen.server)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed("no connection can be made", "try again").why(error.to_string()))?;
        let connection = runtime.block_on(Connection::to(chosen))?;
        let (time, answers, is_gone) = Default::default();
        Ok(Cluster { runtime, connection, context, patience: world.server_patience, time, answers, is_gone })
    }

    /// The result of a future; a request's timers need the runtime.
    fn wait<T>(&self, coming: impl Future<Output = T>) -> T {
        self.runtime.block_on(coming)
    }

    /// Gives the cluster time to work.
    pub fn pause(&self, time: Duration) {
        self.wait(async { tokio::time::sleep(time).await });
    }

    /// The API server's time at its last answer, to the second.
    pub fn time(&self) -> Option<SystemTime> {
        self.time.get()
    }

    /// The server's version, which is not an object.
    pub fn version(&self) -> Result<String> {
        let path = "/version";
        let answer = self.ask("get", path, JSON)?;
        if !answer.status.is_success() {
            return Err(refusal("get", path, &answer));
        }
        let version =
            serde_json::from_slice::<Value>(&answer.body).ok().and_then(|version| Some(version["gitVersion"].as_str()?.to_owned()));
        version.ok_or_else(|| not_kubernetes(path))
    }

    /// The answers, in the order of the requests; none if there is no such object. Once the server is gone, the remaining requests are not
    /// sent, and fail like the one that noticed it.
    pub fn together(&self, asks: &[Ask]) -> Vec<Result<Option<Value>>> {
        self.is_gone.set(false);
        let mut answers: Vec<_> = asks.iter().map(|_| None).collect();
        let gone = self.wait(async {
            let asking = stream::iter(asks.iter().enumerate()).map(|(at, ask)| async move { (at, self.answer(ask).await) });
            let mut asking = asking.buffer_unordered(MOST_AT_ONCE);
            while let Some((at, answer)) = asking.next().await {
                let failure = answer.as_ref().err().filter(|_| self.is_gone.get()).cloned();
                answers[at] = Some(answer);
                if failure.is_some() {
                    return failure;
                }
            }
            None
        });
        let left = || gone.clone().map_or(Ok(None), Err);
        answers.into_iter().map(|answer| answer.unwrap_or_else(left)).collect()
    }

    async fn answer(&self, ask: &Ask) -> Result<Option<Value>> {
        match ask {
            Ask::Get { path, kind } => self.read(path, kind, JSON).await,
            Ask::Metadata { path } => self.read_metadata(path, "PartialObjectMetadata").await,
            Ask::Review { path, object } => self.make(path, object).await.map(Some),
        }
    }

    /// An object of this kind; none if it does not exist.
    pub fn get(&self, path: &str, kind: &str) -> Result<Option<Value>> {
        self.wait(self.read(path, kind, JSON))
    }

    /// An object's metadata, without its values (`PartialObjectMetadata`); none if it does not exist.
    pub fn metadata(&self, path: &str) -> Result<Option<Value>> {
        self.wait(self.read_metadata(path, "PartialObjectMetadata"))
    }

    /// The metadata of several objects, without their values.
    pub fn metadata_list(&self, path: &str) -> Result<Option<Value>> {
        self.wait(self.read_metadata(path, "PartialObjectMetadataList"))
    }

    async fn read_metadata(&self, path: &str, kind: &str) -> Result<Option<Value>> {
        self.read(path, kind, &format!("{JSON};as={kind};v=v1;g=meta.k8s.io")).await
    }

    async fn read(&self, path: &str, kind: &str, accept: &str) -> Result<Option<Value>> {
        let answer = self.request("get", path, accept).await?;
        match answer.status {
            StatusCode::NOT_FOUND => nothing(path, &answer.body),
            status if status.is_success() => parse(path, kind, &answer.body).map(Some),
            _ => Err(refusal("get", path, &answer)),
        }
    }

    /// A Secret with its values, in bytes that are wiped; none if it does not exist.
    pub fn find_secret(&self, path: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let answer = self.ask("get", path, JSON)?;
        match answer.status {
            StatusCode::NOT_FOUND => nothing(path, &answer.body),
            _ => secrets("get", path, "Secret", answer).map(Some),
        }
    }

    /// An object of this kind that holds secrets, in bytes that are wiped.
    pub fn read_secret(&self, verb: &str, path: &str, kind: &str) -> Result<Zeroizing<Vec<u8>>> {
        secrets(verb, path, kind, self.ask(verb, path, JSON)?)
    }

    /// The answer of any path, unchanged, except that a refusal to this account is an error. `verb` is the request's, for that error:
    /// `get`, `list`.
    pub fn ask(&self, verb: &str, path: &str, accept: &str) -> Result<Answer> {
        self.wait(self.request(verb, path, accept))
    }

    async fn request(&self, verb: &str, path: &str, accept: &str) -> Result<Answer> {
        let answer = self.send(&|| Request::get(path).header(header::ACCEPT, accept).body(Vec::new())).await?;
        if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(refusal(verb, path, &answer));
        }
        if is_part(&answer.body) {
            let what = format!("the answer to `{}` is only a part of the list", visible(path));
            return Err(failed(what, "check what stands between this machine and the API server: it cuts lists short"));
        }
        Ok(answer)
    }

    /// Posts a review: returns the object with the server's verdict.
    pub fn review(&self, path: &str, object: &Value) -> Result<Value> {
        self.wait(self.make(path, object))
    }

    async fn make(&self, path: &str, object: &Value) -> Result<Value> {
        let answer = self.send(&|| post(path, object)).await?;
        made("create", path, object["kind"].as_str().unwrap_or_default(), &answer)
    }

    /// Posts JSON and returns the answer, whatever it is, except that a refusal to this account is an error.
    pub fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        let answer = self.wait(self.send(&|| post(path, body)))?;
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(refusal("create", path, &answer)),
            _ => Ok(answer),
        }
    }

    /// Server-side apply of a Secret; takes over existing fields.
    pub fn apply(&self, path: &str, yaml: &str) -> Result<Value> {
        let path = format!("{path}?fieldManager=seal-secrets&force=true");
        let answer =
            self.wait(self.send(&|| {
                Request::patch(&path).header(header::CONTENT_TYPE, "application/apply-patch+yaml").body(yaml.as_bytes().to_vec())
            }))?;
        made("patch", &path, "Secret", &answer)
    }

    async fn send(&self, make: &dyn Fn() -> http::Result<Request<Vec<u8>>>) -> Result<Answer> {
        for retry in 0.. {
            let request = make().map_err(|_| failed("a request cannot be made", "check the names in it"))?;
            let before = self.answers.get();
            let answer = tokio::time::timeout(self.patience, self.send_once(request)).await;
            let answer = answer.unwrap_or_else(|_| Err(self.connection.no_answer(self.patience)));
            if answer.is_err() && self.answers.get() == before {
                self.is_gone.set(true);
            }
            let (answer, wait) = answer?;
            let busy = answer.status == StatusCode::TOO_MANY_REQUESTS || answer.status.is_server_error();
            if !busy || retry == MOST_RETRIES {
                return Ok(answer);
            }
            let wait = wait.unwrap_or(Duration::from_millis(200 << retry)).min(Duration::from_secs(5));
            tokio::time::sleep(wait).await;
        }
        unreachable!("the last answer is returned")
    }

    async fn send_once(&self, request: Request<Vec<u8>>) -> Result<(Answer, Option<Duration>)> {
        let response = self.connection.send(request).await?;
        self.answers.update(|answers| answers + 1);
        let (head, body) = response.into_parts();
        let date = head.headers.get(header::DATE).and_then(|date| rfc2822::parse(date.to_str().ok()?).ok());
        self.time.set(date.map(|date| date.timestamp().into()));
        if head.status.is_redirection() {
            let help = "name that server in the kubeconfig if it is the right one";
            return Err(Error::refused("the API server redirects to another place", help));
        }
        let body = Limited::new(body, MOST_BYTES).collect().await.map_err(|error| {
            let large = error.is::<http_body_util::LengthLimitError>();
            let what = if large { "an answer is larger than 32 MiB" } else { "an answer breaks off" };
            failed(what, "check what stands between this machine and the API server")
        })?;
        let wait = head.headers.get(header::RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        Ok((Answer { status: head.status, body: body.to_bytes().to_vec() }, wait))
    }
}

fn post(path: &str, body: &Value) -> http::Result<Request<Vec<u8>>> {
    Request::post(path).header(header::CONTENT_TYPE, JSON).body(body.to_string().into_bytes())
}

/// The object of this kind that a change returned.
fn made(verb: &str, path: &str, kind: &str, answer: &Answer) -> Result<Value> {
    if answer.status.is_success() { parse(path, kind, &answer.body) } else { Err(refusal(verb, path, answer)) }
}

/// Whether a list is incomplete. No limit is requested, so no API server should send a part; missing items would count as absent.
fn is_part(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct List {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "continue")]
        next: String,
    }
    serde_json::from_slice::<List>(body).is_ok_and(|list| !list.metadata.next.is_empty())
}

/// The kind that an object claims to be.
fn kind_of(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Object {
        kind: String,
    }
    serde_json::from_slice::<Object>(body).ok().map(|object| object.kind)
}

fn parse(path: &str, kind: &str, body: &[u8]) -> Result<Value> {
    let object = serde_json::from_slice(body).ok().filter(|object: &Value| object["kind"] == kind);
    object.ok_or_else(|| not_kubernetes(path))
}

fn secrets(verb: &str, path: &str, kind: &str, answer: Answer) -> Result<Zeroizing<Vec<u8>>> {
    if !answer.status.is_success() {
        return Err(refusal(verb, path, &answer));
    }
    let body = Zeroizing::new(answer.body);
    if kind_of(&body).as_deref() == Some(kind) { Ok(body) } else { Err(not_kubernetes(path)) }
}

/// What "not found" means: that the object does not exist, if it is Kubernetes that says so. For a group that it does not serve it says so
/// in text.
fn nothing<T>(path: &str, body: &[u8]) -> Result<Option<T>> {
    let is_its_own = kind_of(body).as_deref() == Some("Status") || body.starts_with(b"404 page not found");
    if is_its_own { Ok(None) } else { Err(not_kubernetes(path)) }
}

/// An answer that no API server gives: nothing is concluded from it.
fn not_kubernetes(path: &str) -> Error {
    let what = format!("the answer to `{}` is not one of Kubernetes", visible(path.split('?').next().unwrap_or(path)));
    failed(what, "check what stands between this machine and the API server: a proxy, a login page")
}

/// A refusal in our words, with the server's own message: it holds names, never values.
fn refusal(verb: &str, path: &str, answer: &Answer) -> Error {
    let message = serde_json::from_slice::<Value>(&answer.body).ok().and_then(|status| Some(status["message"].as_str()?.to_owned()));
    let path = visible(path.split('?').next().unwrap_or(path));
    let error = match answer.status {
        StatusCode::UNAUTHORIZED => {
            let help = "log in again, or name another context";
            Error::new(ErrorKind::Unauthorized, "the API server does not take these credentials", help)
        }
        StatusCode::FORBIDDEN => {
            let help = "use another account, or give this one the Role that `seal-secrets doctor --print-rbac` prints";
            Error::new(ErrorKind::Forbidden, format!("this account may not {verb} `{path}`"), help)
        }
        status => failed(format!("the API server answered {} to {verb} `{path}`", status.as_u16()), "try again; see the server's own log"),
    };
    match message {
        Some(message) => error.why(visible(&message)),
        None => error,
    }
}
