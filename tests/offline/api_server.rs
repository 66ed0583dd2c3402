//! A fake API server, for answers that the real one does not give: each case is an answer, and what a command must make of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::common::{Ran, Sandbox, fixture, fixture_text};

/// What it answers to the n-th request: the whole response, as bytes.
pub type Answers = fn(usize, &str) -> Vec<u8>;

pub fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

/// Serves until the test process ends; returns the port, and the number of requests so far.
pub fn serve(answers: Answers) -> (u16, Arc<AtomicUsize>) {
    serve_with(move |n, path, _| answers(n, path))
}

/// The same for answers that depend on the request's body.
pub fn serve_with(answers: impl Fn(usize, &str, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> (u16, Arc<AtomicUsize>) {
    serve_behind(|stream| Some(Box::new(stream)), answers)
}

/// A port at which nothing listens, and what keeps it so: it is one end of a connection, so nobody else gets it.
pub fn closed() -> (u16, (TcpListener, TcpStream)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (stream.local_addr().unwrap().port(), (listener, stream))
}

/// A connection, or a layer on top of one.
pub trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// The same behind a first step on each connection, which may end it.
pub fn serve_behind(
    first: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
    answers: impl Fn(usize, &str, &[u8]) -> Vec<u8> + Send + Sync + 'static,
) -> (u16, Arc<AtomicUsize>) {
    let ways = Arc::new((first, answers));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (counted, ways) = (counted.clone(), ways.clone());
            std::thread::spawn(move || {
                let (first, answers) = &*ways;
                let Some(mut stream) = first(stream).map(tls) else { return };
                let request = head(&mut stream);
                let length = request.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                // An unread body would break the connection.
                let mut body = vec![0; length.unwrap_or(0)];
                let _ = stream.read_exact(&mut body);
                if !path.is_empty() {
                    let answer = answers(counted.fetch_add(1, Ordering::SeqCst), &path, &body);
                    let _ = stream.write_all(&answer).and_then(|()| stream.flush());
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            });
        }
    });
    (port, count)
}

/// The server's side of TLS. Doctor opens a connection for each of many requests: the cheapest cipher will do.
pub fn tls<S: Read + Write>(stream: S) -> StreamOwned<ServerConnection, S> {
    static CONFIG: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
        let certificate = CertificateDer::from_pem_file(fixture("fixtures/tls/server.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(fixture("fixtures/tls/server.key.pem")).unwrap();
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites = vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
        let config = ServerConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
    });
    StreamOwned::new(ServerConnection::new(CONFIG.clone()).unwrap(), stream)
}

/// The lines before the first empty one.
pub fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// The kubeconfig of a server, which trusts this certificate.
pub fn kubeconfig(sandbox: &Sandbox, server: &str, certificate: &str, more: &str) {
    let ca = BASE64_STANDARD.encode(fixture_text(certificate));
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: fake\nclusters:\n- name: c\n  cluster: {{server: \"{server}\", certificate-authority-data: {ca}{more}}}\nusers:\n- name: u\n  user: {{token: hunter2-token}}\ncontexts:\n- name: fake\n  context: {{cluster: c, user: u}}\n"
    );
    sandbox.write_secret("kubeconfig", text.as_bytes());
}

fn fetch(answers: Answers) -> (Ran, usize) {
    let (port, count) = serve(answers);
    let sandbox = Sandbox::empty();
    kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
    let before = sandbox.snapshot();
    let accept = format!("sha256:{}", "0".repeat(64));
    let ran = sandbox.start(["fetch-cert", "--kubeconfig", "kubeconfig", "--accept-certificate", &accept]);
    assert_eq!(before, sandbox.snapshot(), "nothing changed");
    assert!(!ran.stderr.contains("hunter2") && !ran.stdout.contains("hunter2"), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("context fake, https://127.0.0.1:"), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);
    (ran, count.load(Ordering::SeqCst))
}

const SERVICE: &str = r#"{"kind":"Service","spec":{"ports":[{"name":"http"}]}}"#;

/// Answers with the correct Service, and with this to a request for the certificate.
fn with_certificate(path: &str, answer: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    if path.ends_with("/cert.pem") { answer() } else { response("200 OK", "Content-Type: application/json\r\n", SERVICE) }
}

fn pem(names: &[&str]) -> Vec<u8> {
    let body: String = names.iter().map(|name| fixture_text(&format!("fixtures/certificates/{name}"))).collect();
    response("200 OK", "Content-Type: application/x-pem-file\r\n", &body)
}

/// A name (C for clusters, and a number for the kind of answer), what the server answers, the exit code, and what the error says.
const CASES: &[(&str, Answers, i32, &str)] = &[
    ("C07", |_, _| response("401 Unauthorized", "", r#"{"kind":"Status","message":"Unauthorized"}"#), 7, "does not take these credentials"),
    ("C08", |_, _| response("403 Forbidden", "", r#"{"kind":"Status","message":"services is forbidden"}"#), 7, "--print-rbac"),
    ("C08 proxy", |_, path| with_certificate(path, || response("403 Forbidden", "", "{}")), 7, "/proxy/v1/cert.pem`"),
    ("C09", |_, _| response("404 Not Found", "", r#"{"kind":"Status"}"#), 7, "`sealed-secrets`"),
    ("C12", |_, _| response("302 Found", "Location: https://192.0.2.1/\r\n", ""), 4, "redirects to another place"),
    ("HTML", |_, _| response("200 OK", "Content-Type: text/html\r\n", "<html>log in</html>"), 7, "is not one of Kubernetes"),
    ("truncated", |_, _| response("200 OK", "", "{\"kind\":\"Service\",\"spec\":{"), 7, "is not one of Kubernetes"),
    ("cut off", |_, _| b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"kind\":".to_vec(), 7, "breaks off"),
    ("C14", |_, _| response("200 OK", "", &"x".repeat(50 << 20)), 7, "larger than 32 MiB"),
    ("C15 empty", |_, path| with_certificate(path, || response("200 OK", "", "")), 7, "does not serve its certificate"),
    ("C15 two", |_, path| with_certificate(path, || pem(&["good.crt", "good-3072.crt"])), 7, "2 certificates where one is expected"),
    ("C15 garbage", |_, path| with_certificate(path, || response("200 OK", "", "garbage\n")), 7, "not PEM"),
    ("C15 private key", |_, path| with_certificate(path, || pem(&["private-key.crt"])), 4, "a private key, where a certificate"),
    ("C15 weak", |_, path| with_certificate(path, || pem(&["roca.crt"])), 4, "ROCA"),
    ("C16", |_, path| with_certificate(path, || pem(&["good.crt"])), 4, "not the certificate that was to be accepted"),
];

#[test]
fn each_odd_answer_has_its_error() {
    std::thread::scope(|scope| {
        for (what, answers, code, says) in CASES {
            scope.spawn(move || {
                let (ran, _) = fetch(*answers);
                assert_eq!(ran.code, *code, "{what}: {}", ran.stderr);
                assert!(ran.stderr.contains(says), "{what}: {}", ran.stderr);
            });
        }
    });
}

#[test]
fn c11_a_busy_server_is_asked_again_and_not_for_ever() {
    let (ran, asked) = fetch(|_, _| response("429 Too Many Requests", "Retry-After: 0\r\n", "{}"));
    assert_eq!((ran.code, asked), (7, 4), "{}", ran.stderr);
    let (ran, _) = fetch(|n, path| match n {
        0 => response("503 Service Unavailable", "Retry-After: 0\r\n", ""),
        _ => with_certificate(path, || pem(&["good.crt"])),
    });
    assert_eq!(ran.code, 4, "it came through, and met another digest: {}", ran.stderr);
}

#[test]
fn c06_a_server_that_never_answers_is_given_up_on() {
    let (port, _) = serve(|_, _| {
        std::thread::park();
        Vec::new()
    });
    let sandbox = Sandbox::empty();
    kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
    let ran = sandbox.run_impatient(Duration::from_secs(1), ["fetch-cert", "--kubeconfig", "kubeconfig"]).expect(7);
    assert!(ran.stderr.contains("did not answer within 1 second\n"), "{}", ran.stderr);
    assert_eq!(seal_secrets::world::World::real().server_patience, Duration::from_secs(15));
}

#[test]
fn a_kubeconfig_that_is_no_good_is_refused_before_any_request() {
    let (port, count) = serve(|_, _| response("200 OK", "", "{}"));
    let server = format!("https://127.0.0.1:{port}");
    let good = "fixtures/tls/server.crt";
    let (closed, _kept) = closed();
    for (what, server, ca, more, args, code, says) in [
        ("C03", server.as_str(), good, ", insecure-skip-tls-verify: true", &[][..], 4, "insecure-skip-tls-verify"),
        ("K32", "http://127.0.0.1:1", good, "", &[], 4, "not an https URL"),
        ("C04", &server, "fixtures/tls/other.crt", "", &[], 7, "certificate is not the one"),
        ("C05", &format!("https://127.0.0.1:{closed}"), good, "", &[], 7, "nothing listens"),
        ("C01", &server, good, "", &["--context", "other"], 7, "it has `fake`"),
    ] {
        let sandbox = Sandbox::empty();
        kubeconfig(&sandbox, server, ca, more);
        for command in ["fetch-cert", "doctor"] {
            if command == "doctor" && code == 7 && what != "C01" {
                continue;
            }
            sandbox.write("keys/sealing.crt", fixture_text("fixtures/certificates/good.crt").as_bytes());
            let ran = sandbox.run([&[command, "--kubeconfig", "kubeconfig"], args].concat());
            if command == "doctor" && ran.code == 3 {
                continue; // It looks at `out/` first.
            }
            assert_eq!(ran.code, code, "{what}: {}", ran.stderr);
            assert!(ran.stderr.contains(says) && ran.stderr.matches("error: ").count() == 1, "{what}: {}", ran.stderr);
        }
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
    let sandbox = Sandbox::empty();
    assert!(sandbox.start(["fetch-cert", "--kubeconfig", "none"]).expect(7).stderr.contains("the file of `--kubeconfig`: no such file"));
    sandbox.write("bad", b"a: [hunter2");
    let ran = sandbox.start(["fetch-cert", "--kubeconfig", "bad"]).expect(7);
    assert!(ran.stderr.contains("bad: not a kubeconfig") && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
    // No cluster is ever taken by default.
    sandbox.start(["fetch-cert"]).expect(2);
}

/// A field of the kubeconfig that names a file, the text that it replaces, and the text before its path.
const FILES: &[(&str, &str, &str)] = &[
    ("certificate-authority", "certificate-authority-data: ", "certificate-authority: "),
    ("client-certificate", "token: hunter2-token", "client-key-data: aGk=, client-certificate: "),
    ("client-key", "token: hunter2-token", "client-certificate-data: aGk=, client-key: "),
    ("tokenFile", "token: hunter2-token", "tokenFile: "),
];

#[test]
fn a_kubeconfig_and_its_files_have_the_limits_of_every_file() {
    crate::common::needs!("mkfifo");
    type Spoilt = (&'static str, fn(&Sandbox), &'static str);
    let spoilt: [Spoilt; 4] = [
        ("no/such", |_| (), "no such file"),
        (
            "sub/pipe",
            |s| assert!(std::process::Command::new("mkfifo").arg(s.path("sub/pipe")).status().unwrap().success()),
            "not a regular file but a pipe",
        ),
        ("sub", |_| (), "is a directory"),
        ("sub/large", |s| std::fs::File::create(s.path("sub/large")).unwrap().set_len((16 << 20) + 1).unwrap(), "larger than 16 MiB"),
    ];
    for (path, spoil, says) in spoilt {
        let sandbox = Sandbox::empty();
        std::fs::create_dir(sandbox.path("sub")).unwrap();
        spoil(&sandbox);
        if path != "no/such" {
            let ran = sandbox.run(["fetch-cert", "--kubeconfig", path]).expect(3);
            assert!(ran.stderr.starts_with(&format!("error: {path}: {says}\n")), "{}", ran.stderr);
        }
        for (field, from, to) in FILES {
            kubeconfig(&sandbox, "https://127.0.0.1:1", "fixtures/tls/server.crt", "");
            let text = sandbox.read("kubeconfig");
            let end = text.find(from).unwrap() + from.len();
            let rest = text[end..].trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "+/=".contains(c));
            sandbox.write("kubeconfig", format!("{}{to}{path}{rest}", &text[..end - from.len()]).as_bytes());
            let ran = sandbox.run(["fetch-cert", "--kubeconfig", "kubeconfig"]).expect(3);
            assert!(ran.stderr.starts_with(&format!("error: the file of `{field}` in the kubeconfig: {says}\n")), "{path}: {}", ran.stderr);
        }
    }
}

#[test]
fn the_files_of_a_kubeconfig_are_found_from_its_folder() {
    let (port, count) = serve(|_, _| response("401 Unauthorized", "", "{}"));
    let sandbox = Sandbox::empty();
    kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
    let text = sandbox.read("kubeconfig").replace("token: hunter2-token", "tokenFile: token");
    let at = text.find("certificate-authority-data").unwrap();
    let end = at + text[at..].find('}').unwrap();
    sandbox.write("sub/config", format!("{}certificate-authority: ca.crt{}", &text[..at], &text[end..]).as_bytes());
    sandbox.write("sub/ca.crt", fixture_text("fixtures/tls/server.crt").as_bytes());
    sandbox.write("sub/token", b"hunter2\n");
    // A list of several files, and kubectl's default.
    sandbox.write("home/.kube/config", fixture_text("fixtures/tls/server.crt").as_bytes());
    let ran = sandbox.start(["fetch-cert", "--kubeconfig", ":sub/config:"]).expect(7);
    assert!(ran.stderr.contains("does not take these credentials"), "{}", ran.stderr);
    std::fs::rename(sandbox.path("sub"), sandbox.path("home/.kube2")).unwrap();
    std::fs::remove_dir_all(sandbox.path("home/.kube")).unwrap();
    std::fs::rename(sandbox.path("home/.kube2"), sandbox.path("home/.kube")).unwrap();
    let mut command = sandbox.command(["fetch-cert", "--context", "fake"]);
    command.env("HOME", sandbox.path("home"));
    let ran = crate::common::finish(command);
    assert!(ran.code == 7 && ran.stderr.contains("does not take these credentials"), "{}", ran.stderr);
    assert_eq!(count.load(Ordering::SeqCst), 2);
    let ran = sandbox.start(["fetch-cert", "--context", "fake"]).expect(7);
    assert!(ran.stderr.contains("there is no kubeconfig at `~/.kube/config`"), "{}", ran.stderr);
}

/// As kubectl reads it; only a file that was typed has to exist.
#[test]
fn the_list_of_kubeconfig_files_skips_those_that_do_not_exist() {
    let (port, _) = serve(|_, _| response("401 Unauthorized", "", "{}"));
    let sandbox = Sandbox::empty();
    kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
    // A context, cluster or user of the same name in another file does not count, and no file needs a current context.
    sandbox.write("second", sandbox.read("kubeconfig").replace(&format!(":{port}"), ":1").as_bytes());
    sandbox.write("no-context", b"current-context: \"\"\n");
    sandbox.write("sub/bad", b"a: [hunter2");
    let with = |list: &str, args: &[&str]| {
        let mut command = sandbox.command([&["fetch-cert"], args].concat());
        command.env("KUBECONFIG", list);
        crate::common::finish(command)
    };
    let reached = format!(
        "context fake, https://127.0.0.1:{port}\nerror: the API server does not take these credentials\nhelp: log in again, or name another context\n"
    );
    let none = "error: no file that `KUBECONFIG` lists exists\nhelp: correct `KUBECONFIG`, or pass one with `--kubeconfig FILE`\n";
    let no_context = "error: the kubeconfig has no current context\nhelp: name one with `--context`: it has none\n";
    for (list, says) in [
        ("kubeconfig", reached.as_str()),
        ("none:kubeconfig", &reached),
        (":none::no-context:kubeconfig:second:none", &reached),
        ("none", none),
        ("none:sub/none", none),
        (":", none),
        ("none:no-context", no_context),
        ("kubeconfig:sub/bad", "error: sub/bad: not a kubeconfig\nhelp: try it with `kubectl --kubeconfig FILE config view`\n"),
    ] {
        assert_eq!(with(list, &[]).expect(7).stderr, says, "{list}");
    }
    // An empty variable counts as unset; a typed file takes precedence over it, and has to exist.
    assert_eq!(with("", &[]).expect(2).stderr.lines().next(), Some("error: no cluster is named"));
    assert_eq!(with("none", &["--kubeconfig", "kubeconfig"]).expect(7).stderr, reached);
    for typed in ["none", "kubeconfig:none"] {
        let missing = "error: the file of `--kubeconfig`: no such file\nhelp: pass the kubeconfig with `--kubeconfig FILE`\n";
        assert_eq!(with("kubeconfig", &["--kubeconfig", typed]).expect(7).stderr, missing, "{typed}");
    }
}

#[test]
fn a_server_whose_url_may_hold_a_password_is_refused_and_not_shown() {
    for server in [
        "https://user:hunter2@127.0.0.1:1",
        "https://hunter2@127.0.0.1:1",
        "https://127.0.0.1:1/?token=hunter2",
        "https://127.0.0.1:1/#hunter2",
        "https://user:hunter2/@127.0.0.1:1",
    ] {
        let sandbox = Sandbox::bootstrapped();
        kubeconfig(&sandbox, server, "fixtures/tls/server.crt", "");
        for command in ["fetch-cert", "doctor", "backup"] {
            let ran = sandbox.run([command, "--kubeconfig", "kubeconfig"]).expect(4);
            let expected = "error: the server of this context is a URL that may hold a password\nhelp: write only `server: https://HOST:PORT`, and the credentials under `users`\n";
            assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", expected), "{command}");
        }
    }
}

#[test]
fn c02_a_plugin_without_credentials_is_named_and_not_quoted() {
    let (port, count) = serve(|_, _| response("401 Unauthorized", "", "{}"));
    let run = |plugin: &str, script: &str| {
        let sandbox = Sandbox::empty();
        kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
        // `Always`: it would get our terminal.
        let exec = format!(
            "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Always, command: {plugin}, args: [-c, {script:?}, hunter2]}}"
        );
        sandbox.edit("kubeconfig", "token: hunter2-token", &exec);
        let ran = sandbox.start(["fetch-cert", "--kubeconfig", "kubeconfig"]).expect(7);
        assert!(!ran.stderr.contains("hunter2") && ran.stdout.is_empty(), "{script}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{script}: {}", ran.stderr);
        ran.stderr
    };
    let credential = |status: &str| {
        format!(r#"printf %s '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{{status}}}}}'"#)
    };
    let good = credential(r#""token":"hunter2""#);
    assert!(run("no-such-plugin", "").contains("plugin `no-such-plugin` cannot be started"));
    for script in [
        "echo hunter2; echo hunter2 >&2; exit 1",
        "echo hunter2 >&2; kill -9 $$",
        "echo 'hunter2: ['; echo hunter2 >&2",
        "read line && echo hunter2",
        "echo '{}'",
        &credential(r#""token":"hunter2\n""#),
    ] {
        assert!(run("sh", script).contains("plugin `sh` gives no credentials"), "{script}");
    }
    // The same token without a plugin.
    let sandbox = Sandbox::empty();
    kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
    sandbox.edit("kubeconfig", "hunter2-token", r#""hunter2\n""#);
    let said = sandbox.start(["fetch-cert", "--kubeconfig", "kubeconfig"]).expect(7).stderr;
    assert!(said.contains("`fake` cannot be used") && !said.contains("hunter2") && !said.contains("panicked"), "{said}");
    assert_eq!(count.load(Ordering::SeqCst), 0, "nobody was asked without credentials");
    // A plugin that works is used, whatever else it prints; here the server rejects its credentials.
    assert!(run("sh", &format!("echo hunter2 >&2; {good}")).contains("does not take these credentials"));
    // A plugin that is needed again because its token has expired, and then fails: at any call.
    let expired = credential(r#""token":"hunter2","expirationTimestamp":"2020-01-01T00:00:00Z""#);
    for calls in 0..4 {
        let script = format!("echo x >>calls; test $(wc -l <calls) -le {calls} && {expired}");
        let said = run("sh", &script);
        assert!(["gives no credentials", "cannot be had", "does not take"].iter().any(|end| said.contains(end)), "{calls}: {said}");
    }
}

/// One part of a list; there is always another one.
fn part() -> Vec<u8> {
    let (certificate, key) = ("fixtures/certificates/good.crt", "fixtures/private-keys/good-pkcs8.pem");
    let encode = |path: &str| BASE64_STANDARD.encode(fixture_text(path));
    let data = format!(r#"{{"tls.crt":"{}","tls.key":"{}"}}"#, encode(certificate), encode(key));
    let list = r#"{"kind":"SecretList","apiVersion":"v1","metadata":{"continue":"more"},"items":[{"metadata":{"name":"k"},"type":"kubernetes.io/tls","data":DATA}]}"#;
    response("200 OK", "Content-Type: application/json\r\n", &list.replace("DATA", &data))
}

#[test]
fn c24_a_list_that_never_ends_is_not_taken_for_a_whole_one() {
    let (port, count) = serve(|_, _| part());
    let sandbox = Sandbox::bootstrapped();
    kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
    let before = sandbox.snapshot();
    let ran = sandbox.start(["backup", "--kubeconfig", "kubeconfig"]).expect(7);
    assert!(ran.stderr.contains("only a part of the list") && ran.stderr.matches("error: ").count() == 1, "{}", ran.stderr);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let ran = sandbox.start(["doctor", "--kubeconfig", "kubeconfig"]).expect(7);
    assert!(ran.stdout.contains("only a part of the list"), "{}", ran.stdout);
    assert!(count.load(Ordering::SeqCst) < 4);
    assert_eq!(before, sandbox.snapshot(), "nothing changed");
}

/// What comes back after `key-secret --apply` has to be exactly the Secret that was applied: not a List with more, not another one.
#[test]
fn only_what_was_applied_counts_as_read_back() {
    let sandbox = Sandbox::with_keys();
    let secret = sandbox.run(["key-secret"]).expect(0).stdout;
    let item = secret.replace("---\n", "").lines().map(|line| format!("    {line}\n")).collect::<String>();
    let list = |items: usize| {
        let items = format!("  -\n{item}").repeat(items);
        format!("apiVersion: v1\nkind: List\nitems:{}\n", if items.is_empty() { " []".to_owned() } else { format!("\n{items}") })
    };
    let cut = secret.replace("  tls.crt:", "  ca.crt:");
    let json = |yaml: &str| serde_yaml::from_str::<serde_json::Value>(yaml).unwrap().to_string();
    for (what, answer, code) in
        [("the same", secret.clone(), 0), ("a List of two", list(2), 7), ("nothing", list(0), 7), ("half of it", cut, 7)]
    {
        let (port, _) = serve_with(move |_, path, body| match path {
            path if path.ends_with("/namespaces/kube-system") => {
                response("200 OK", "", r#"{"kind":"PartialObjectMetadata","metadata":{}}"#)
            }
            _ if body.is_empty() => response("200 OK", "", &json(&answer)),
            _ => response("200 OK", "", r#"{"kind":"Secret"}"#),
        });
        kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
        let ran = sandbox.run(["key-secret", "--apply", "--kubeconfig", "kubeconfig", "--context", "fake"]);
        assert_eq!(ran.code, code, "{what}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.stdout.contains("read back, and it is the same"), code == 0, "{what}: {}", ran.stdout);
    }
}

/// What answers in front of an API server, or in its place, and its answer to everything.
const NOT_KUBERNETES: &[(&str, &str, &str)] = &[
    ("HTML", "200 OK", "<!doctype html><html>log in</html>"),
    ("HTML that finds nothing", "404 Not Found", "<html>404</html>"),
    ("nothing", "200 OK", ""),
    ("nothing that finds nothing", "404 Not Found", ""),
    ("no content", "204 No Content", ""),
    ("an empty object", "200 OK", "{}"),
    ("an empty object that finds nothing", "404 Not Found", "{}"),
    ("a list", "200 OK", "[]"),
    ("a text", "200 OK", "\"ok\""),
    ("null", "200 OK", "null"),
    ("JSON of something else", "200 OK", r#"{"message":"ok","items":[],"data":{},"spec":{},"status":{"allowed":true}}"#),
    ("another kind", "200 OK", r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"},"data":{}}"#),
    ("a list of another kind", "200 OK", r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{},"items":[]}"#),
    ("a status", "200 OK", r#"{"kind":"Status","apiVersion":"v1","status":"Success"}"#),
    ("half an object", "200 OK", r#"{"kind":"SecretList","apiVersion":"v1","items":[{"metad"#),
    ("half a version", "200 OK", r#"{"major":"1","minor":"34","gitVersion":"v1.3"#),
    ("YAML", "200 OK", "kind: SecretList\napiVersion: v1\nitems: []\n"),
];

#[test]
fn what_is_not_kubernetes_is_believed_by_no_command() {
    let start = Sandbox::bootstrapped();
    let commands: [&[&str]; 7] = [
        &["fetch-cert"],
        &["backup"],
        &["import", "--from-cluster"],
        &["key-secret", "--apply"],
        &["re-encrypt", "--via-controller", "--yes"],
        &["doctor"],
        &["doctor", "--json"],
    ];
    for (i, (what, status, body)) in NOT_KUBERNETES.iter().enumerate() {
        // Whatever it claims to be.
        let kind = if i % 2 == 0 { "application/json" } else { "text/html" };
        let (port, _) = serve_with(move |_, _, _| response(status, &format!("Content-Type: {kind}\r\n"), body));
        kubeconfig(&start, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
        let before = start.snapshot();
        for command in commands {
            let ran = start.run([command, &["--kubeconfig", "kubeconfig", "--context", "fake"]].concat());
            assert_eq!(ran.code, 7, "{what}, {command:?}: {}{}", ran.stdout, ran.stderr);
            let said = ran.stdout + &ran.stderr;
            let reached = said.contains("is not one of Kubernetes") && said.contains("a proxy, a login page")
                || said.contains("the API server answered 404 to ");
            assert!(reached && !said.contains("panicked") && !said.contains("hunter2"), "{what}, {command:?}: {said}");
            assert_eq!(before, start.snapshot(), "{what}, {command:?}: nothing changed");
        }
    }
}
