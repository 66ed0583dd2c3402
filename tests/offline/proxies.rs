//! Proxies between this machine and an API server: which one is chosen, what goes through it, and what is reported if nothing does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use seal_secrets::model::{Error, ErrorKind};
use seal_secrets::world::World;
use seal_secrets::world::cluster::{Access, Cluster};
use seal_secrets::world::proxy::Proxy;

use crate::api_server::{Stream, closed, head, kubeconfig, response, serve, serve_behind, tls};
use crate::common::{Ran, Sandbox, finish};

/// A server that no resolver knows: only a proxy can reach it.
const SERVER: &str = "https://api.example.invalid:6443";

const TRUSTED: &str = "fixtures/tls/server.crt";

/// What proxies were asked for.
type Asked = Arc<Mutex<Vec<String>>>;

/// A proxy that answers CONNECT with this status, and the API server behind it.
fn http_proxy(status: &'static str, is_tls: bool) -> (u16, Asked) {
    let asked = Asked::default();
    let seen = asked.clone();
    let first = move |stream: TcpStream| {
        let mut stream: Box<dyn Stream> = if is_tls { Box::new(tls(stream)) } else { Box::new(stream) };
        let request = head(&mut stream);
        seen.lock().unwrap().push(request.trim_end().replace("\r\n", "|"));
        stream.write_all(status.as_bytes()).and_then(|()| stream.flush()).ok()?;
        status.starts_with("HTTP/1.1 200").then_some(stream)
    };
    (serve_behind(first, version).0, asked)
}

/// A SOCKS5 proxy (RFC 1928, RFC 1929) that chooses this method and replies this, and the API server behind it.
fn socks_proxy(method: u8, is_accepted: bool, reply: u8) -> (u16, Asked) {
    let asked = Asked::default();
    let seen = asked.clone();
    let first = move |stream: TcpStream| {
        let (mut out, mut input) = (&stream, &stream);
        let mut next = |count: usize| {
            let mut bytes = vec![0; count];
            input.read_exact(&mut bytes).ok().map(|()| bytes)
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let methods = next(2)?[1];
        next(methods.into())?;
        out.write_all(&[5, method]).unwrap();
        let mut log = String::new();
        match method {
            0 => {}
            2 => {
                let user = next(2)?[1];
                log += &format!("{}:", text(next(user.into())?));
                let password = next(1)?[0];
                log += &format!("{}@", text(next(password.into())?));
                out.write_all(&[1, u8::from(!is_accepted)]).unwrap();
            }
            _ => return None,
        }
        if is_accepted {
            // Version, CONNECT, reserved, a name.
            assert_eq!(next(4)?, [5, 1, 0, 3]);
            let length = next(1)?[0];
            log += &text(next(length.into())?);
            let port = next(2)?;
            log += &format!(":{}", u16::from_be_bytes([port[0], port[1]]));
            out.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        }
        seen.lock().unwrap().push(log);
        (is_accepted && reply == 0).then(|| Box::new(stream) as Box<dyn Stream>)
    };
    (serve_behind(first, version).0, asked)
}

fn version(_: usize, _: &str, _: &[u8]) -> Vec<u8> {
    response("200 OK", "", r#"{"gitVersion":"v1.34.0"}"#)
}

const CONNECTED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// The version of the server, through the `proxy-url` of a kubeconfig that trusts this certificate.
fn ask(proxy_url: &str, certificate: &str) -> Result<String, Error> {
    let sandbox = Sandbox::empty();
    kubeconfig(&sandbox, SERVER, certificate, &format!(", tls-server-name: 127.0.0.1, proxy-url: \"{proxy_url}\""));
    let mut world = World { server_patience: Duration::from_secs(600), ..sandbox.world_at(".") };
    Cluster::connect(&Access { kubeconfig: Some("kubeconfig"), must_exist: true, context: None }, &mut world)?.version()
}

#[test]
fn each_kind_of_proxy_is_gone_through() {
    let basic = format!("Proxy-Authorization: Basic {}", BASE64_STANDARD.encode("us@r:p:ss/"));
    let connect = "CONNECT api.example.invalid:6443 HTTP/1.1|Host: api.example.invalid:6443";
    for (scheme, (port, asked), plain, with_credentials) in [
        ("http", http_proxy(CONNECTED, false), connect, format!("{connect}|{basic}")),
        ("HTTP", http_proxy(CONNECTED, false), connect, format!("{connect}|{basic}")),
        ("https", http_proxy(CONNECTED, true), connect, format!("{connect}|{basic}")),
    ] {
        assert_eq!(ask(&format!("{scheme}://127.0.0.1:{port}"), TRUSTED), Ok("v1.34.0".to_owned()), "{scheme}");
        assert_eq!(ask(&format!("{scheme}://us%40r:p:ss%2F@127.0.0.1:{port}/"), TRUSTED), Ok("v1.34.0".to_owned()), "{scheme}");
        assert_eq!(*asked.lock().unwrap(), [plain, &with_credentials], "{scheme}");
    }
    for scheme in ["socks5", "socks5h"] {
        let (port, asked) = socks_proxy(0, true, 0);
        assert_eq!(ask(&format!("{scheme}://127.0.0.1:{port}"), TRUSTED), Ok("v1.34.0".to_owned()), "{scheme}");
        assert_eq!(*asked.lock().unwrap(), ["api.example.invalid:6443"], "{scheme}");
        let (port, asked) = socks_proxy(2, true, 0);
        assert_eq!(ask(&format!("{scheme}://us%40r:p:ss%2F@127.0.0.1:{port}"), TRUSTED), Ok("v1.34.0".to_owned()), "{scheme}");
        assert_eq!(*asked.lock().unwrap(), ["us@r:p:ss/@api.example.invalid:6443"], "{scheme}");
    }
}

#[test]
fn a_proxy_that_lets_nothing_through_is_named_without_its_password() {
    let (closed, _kept) = closed();
    let refusing = |status| http_proxy(status, false).0;
    let required = "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
    let silent = "the proxy does not connect to the API server";
    for (scheme, port, certificate, says) in [
        ("http://", refusing(required), TRUSTED, "the proxy requires credentials"),
        ("http://user:hunter2@", refusing(required), TRUSTED, "the proxy rejects its credentials"),
        ("http://", refusing("HTTP/1.1 403 Forbidden\r\n\r\n"), TRUSTED, silent),
        ("http://user:hunter2@", refusing("HTTP/1.1 502 Bad Gateway\r\n\r\n"), TRUSTED, silent),
        ("http://", refusing("hunter2\r\n\r\n"), TRUSTED, silent),
        ("http://", refusing(""), TRUSTED, silent),
        ("http://user:hunter2@", closed, TRUSTED, "nothing listens at the proxy's address"),
        ("https://user:hunter2@", closed, TRUSTED, "nothing listens at the proxy's address"),
        (
            "https://",
            http_proxy(CONNECTED, true).0,
            "fixtures/tls/other.crt",
            "the proxy's certificate is not the one that the kubeconfig trusts",
        ),
        (
            "http://",
            http_proxy(CONNECTED, false).0,
            "fixtures/tls/other.crt",
            "the API server's certificate is not the one that the kubeconfig trusts",
        ),
        ("socks5://user:hunter2@", closed, TRUSTED, "the proxy cannot be reached"),
        ("socks5://", socks_proxy(0xff, true, 0).0, TRUSTED, "the proxy requires credentials"),
        ("socks5://user:hunter2@", socks_proxy(2, false, 0).0, TRUSTED, "the proxy rejects its credentials"),
        ("socks5://", socks_proxy(0, true, 2).0, TRUSTED, silent),
        ("socks5://", socks_proxy(0, true, 4).0, TRUSTED, silent),
    ] {
        let error = ask(&format!("{scheme}127.0.0.1:{port}"), certificate).unwrap_err();
        let help = match says.starts_with("the API server") {
            true => "check `certificate-authority` and the server's name and clock",
            false => "check the proxy, and `proxy-url` in the kubeconfig",
        };
        let why = format!("the connection goes through the proxy `127.0.0.1:{port}` of `proxy-url` in the kubeconfig");
        assert_eq!(error.to_string(), format!("error: {says}\n  {why}\nhelp: {help}"), "{scheme}");
        assert_eq!(error.kind, ErrorKind::Cluster);
    }
}

#[test]
fn what_is_no_proxy_is_refused_and_not_shown() {
    let form = "is not the URL of a proxy\nhelp: write it as `http://HOST:PORT`, with `USER:PASSWORD@` before the host if it needs them, percent-encoded";
    let kind = "names a proxy of a kind that is not supported\nhelp: use one whose URL begins with `http://`, `https://` or `socks5://`";
    for (url, ends) in [
        ("hunter2", form),
        ("hunter2:3128", form),
        ("http://", form),
        ("http://:3128", form),
        ("http://hunter2:port", form),
        ("http://hunter2:65536", form),
        ("http://user:hunter2", form),
        ("http://user:hunt/er2@proxy", form),
        ("http://user:hunter2?@proxy", form),
        ("http://hunter2%FF@proxy", form),
        ("http://hunter 2", form),
        ("socks4://user:hunter2@proxy", kind),
        ("ftp://user:hunter2@proxy", kind),
        ("://hunter2", kind),
    ] {
        assert_eq!(ask(url, TRUSTED).unwrap_err().to_string(), format!("error: `proxy-url` in the kubeconfig {ends}"), "{url}");
        // A variable's URL without a scheme is http.
        if url.contains("://") {
            let error = Proxy::of(&SERVER.parse().unwrap(), None, |name| (name == "https_proxy").then(|| url.to_owned())).err().unwrap();
            assert_eq!(error.to_string(), format!("error: `https_proxy` {ends}"), "{url}");
        }
    }
}

#[test]
fn a_proxy_that_never_answers_is_given_up_on() {
    let (port, _) = serve_behind(
        |_| {
            std::thread::park();
            None
        },
        version,
    );
    let sandbox = Sandbox::empty();
    kubeconfig(&sandbox, SERVER, TRUSTED, &format!(", proxy-url: \"http://user:hunter2@127.0.0.1:{port}\""));
    let ran = sandbox.run_impatient(Duration::from_secs(1), ["fetch-cert", "--kubeconfig", "kubeconfig"]).expect(7);
    let why = format!("the connection goes through the proxy `127.0.0.1:{port}` of `proxy-url` in the kubeconfig");
    let says = format!("error: the API server did not answer within 1 second\n  {why}\nhelp: check the network, and the server's load\n");
    assert_eq!(ran.stderr, format!("context fake, {SERVER}\n{says}"));
}

/// A server, the environment's variables, and the chosen proxy; `-` = none.
type Choice = (&'static str, &'static [(&'static str, &'static str)], &'static str);

const CHOICES: &[Choice] = &[
    (SERVER, &[], "-"),
    (SERVER, &[("HTTPS_PROXY", "http://p:1")], "p:1"),
    (SERVER, &[("https_proxy", "http://p:1")], "p:1"),
    (SERVER, &[("HTTPS_PROXY", "http://p:1"), ("https_proxy", "http://q:1")], "p:1"),
    (SERVER, &[("HTTPS_PROXY", ""), ("https_proxy", "http://q:1")], "q:1"),
    // As in kubectl, these variables do not apply to an https server.
    (SERVER, &[("HTTP_PROXY", "http://p:1"), ("http_proxy", "http://p:1"), ("ALL_PROXY", "http://p:1"), ("all_proxy", "http://p:1")], "-"),
    (SERVER, &[("HTTPS_PROXY", "p")], "p:80"),
    (SERVER, &[("HTTPS_PROXY", "user:hunter2@p:8080/")], "p:8080"),
    (SERVER, &[("HTTPS_PROXY", "http://p")], "p:80"),
    (SERVER, &[("HTTPS_PROXY", "https://p/path")], "p:443"),
    (SERVER, &[("HTTPS_PROXY", "socks5://p")], "p:1080"),
    (SERVER, &[("HTTPS_PROXY", "http://[fd00::1]")], "[fd00::1]:80"),
    (SERVER, &[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "api.example.invalid")], "-"),
    (SERVER, &[("HTTPS_PROXY", "http://p:1"), ("no_proxy", "api.example.invalid")], "-"),
    (SERVER, &[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "other"), ("no_proxy", "api.example.invalid")], "p:1"),
    // An unused variable is not read.
    (SERVER, &[("HTTPS_PROXY", "ftp://p:1"), ("NO_PROXY", "*")], "-"),
    // This machine.
    ("https://localhost:6443", &[("HTTPS_PROXY", "http://p:1")], "-"),
    ("https://127.0.0.1:6443", &[("HTTPS_PROXY", "http://p:1")], "-"),
    ("https://127.1.2.3", &[("HTTPS_PROXY", "http://p:1")], "-"),
    ("https://[::1]:6443", &[("HTTPS_PROXY", "http://p:1")], "-"),
    ("https://[::ffff:127.0.0.1]:6443", &[("HTTPS_PROXY", "http://p:1")], "-"),
    ("https://10.0.0.1:6443", &[("HTTPS_PROXY", "http://p:1")], "p:1"),
    ("https://local.localhost:6443", &[("HTTPS_PROXY", "http://p:1")], "p:1"),
];

#[test]
fn the_environment_chooses_as_for_kubectl() {
    for (server, variables, expected) in CHOICES {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let chosen = |url| Proxy::of(&server.parse().unwrap(), url, variable).unwrap().map_or("-".to_owned(), |proxy| proxy.place());
        assert_eq!(chosen(None), *expected, "{server} {variables:?}");
        assert_eq!(chosen(Some("")), *expected, "{server} {variables:?}");
        // The kubeconfig's proxy precedes all variables, for every server.
        assert_eq!(chosen(Some("http://k:3")), "k:3", "{server} {variables:?}");
    }
}

/// Servers, `NO_PROXY` lists, and whether the list exempts the server.
const EXEMPT: &[(&str, &str, bool)] = &[
    ("https://a.b.example:6443", "", false),
    ("https://a.b.example:6443", "*", true),
    ("https://a.b.example:6443", "x, *", true),
    ("https://a.b.example:6443", "a.b.example", true),
    ("https://A.B.example:6443", "x,, a.B.EXAMPLE ,", true),
    ("https://a.b.example:6443", "b.example", true),
    ("https://a.b.example:6443", ".b.example", true),
    ("https://a.b.example:6443", "*.b.example", true),
    ("https://b.example:6443", ".b.example", false),
    ("https://b.example:6443", "*.b.example", false),
    ("https://ab.example:6443", "b.example", false),
    ("https://a.b.example:6443", "*b.example", false),
    ("https://a.b.example:6443", "a.*.example", false),
    ("https://a.b.example:6443", "a.b", false),
    ("https://a.b.example:6443", "b.example:6443", true),
    ("https://a.b.example:6443", "b.example:443", false),
    ("https://a.b.example", "b.example:443", true),
    ("https://a.b.example:6443", "b.example:", true),
    ("https://a.b.example:6443", ":6443", false),
    ("https://a.b.example:6443", "https://a.b.example", false),
    ("https://10.1.2.3:6443", "10.1.2.3", true),
    ("https://10.1.2.3:6443", "10.1.2.3:6443", true),
    ("https://10.1.2.3:6443", "10.1.2.3:443", false),
    ("https://10.1.2.3:6443", "10.0.0.0/8", true),
    ("https://10.1.2.3:6443", "10.9.9.9/8", true),
    ("https://10.1.2.3:6443", "10.1.2.0/32", false),
    ("https://10.1.2.3:6443", "10.1.2.3/33", false),
    ("https://10.1.2.3:6443", ".2.3", false),
    ("https://10.1.2.3:6443", "fd00::/8", false),
    ("https://a.b.example:6443", "10.0.0.0/8", false),
    ("https://[fd00::1]:6443", "fd00::1", true),
    ("https://[fd00::1]:6443", "[fd00::1]:6443", true),
    ("https://[fd00::1]:6443", "[fd00::1]:443", false),
    ("https://[fd00::1]:6443", "[fd00::1]", false),
    ("https://[fd00::1]:6443", "fd00::/8", true),
    ("https://[fd00:0::1]:6443", "FD00::1", true),
];

#[test]
fn the_environment_exempts_as_for_kubectl() {
    for (server, list, is_exempt) in EXEMPT {
        let variable = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://p:1".to_owned()),
            "NO_PROXY" => Some((*list).to_owned()),
            _ => None,
        };
        let proxy = Proxy::of(&server.parse().unwrap(), None, variable).unwrap();
        assert_eq!(proxy.is_none(), *is_exempt, "{server} {list}");
    }
}

/// Runs the binary with these variables. Only the proxy reaches the server, or it is this machine at a non-loopback address.
fn fetch(server: &str, more: &str, variables: &[(&str, &str)]) -> Ran {
    let sandbox = Sandbox::empty();
    kubeconfig(&sandbox, server, TRUSTED, &format!(", tls-server-name: 127.0.0.1{more}"));
    let mut command = sandbox.command(["fetch-cert", "--kubeconfig", "kubeconfig"]);
    command.envs(variables.iter().copied());
    finish(command)
}

#[test]
fn the_binary_reads_the_environment() {
    let reached = |ran: Ran| ran.code == 7 && ran.stderr.contains("error: the answer to");
    let (port, asked) = http_proxy(CONNECTED, false);
    let proxy = format!("http://user:hunter2@127.0.0.1:{port}");
    for name in ["HTTPS_PROXY", "https_proxy"] {
        assert!(reached(fetch(SERVER, "", &[(name, &proxy)])), "{name}");
        assert_eq!(std::mem::take(&mut *asked.lock().unwrap()).len(), 1, "{name}");
    }
    // The kubeconfig's proxy is used, whatever the environment exempts.
    let other = format!(", proxy-url: \"{proxy}\"");
    assert!(reached(fetch(SERVER, &other, &[("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "*")])));
    assert_eq!(std::mem::take(&mut *asked.lock().unwrap()).len(), 1);
    // An exempt server is asked directly; `HTTP_PROXY` and `ALL_PROXY` do not apply to an https server.
    let (direct, count) = serve(|_, _| response("401 Unauthorized", "", "{}"));
    let server = format!("https://0.0.0.0:{direct}");
    let variables: [&[(&str, &str)]; 3] = [
        &[("HTTPS_PROXY", &proxy), ("NO_PROXY", "example.com,0.0.0.0/8")],
        &[("https_proxy", &proxy), ("no_proxy", "0.0.0.0")],
        &[("HTTP_PROXY", &proxy), ("http_proxy", &proxy), ("ALL_PROXY", &proxy), ("all_proxy", &proxy)],
    ];
    for (n, variables) in variables.iter().enumerate() {
        let ran = fetch(&server, "", variables).expect(7);
        assert!(
            ran.stderr.ends_with("error: the API server does not take these credentials\nhelp: log in again, or name another context\n")
        );
        assert_eq!((count.load(Ordering::SeqCst), asked.lock().unwrap().len()), (n + 1, 0), "{variables:?}");
    }
    // An error says where the proxy comes from.
    let (closed, _kept) = closed();
    let ran = fetch(SERVER, "", &[("https_proxy", &format!("http://user:hunter2@127.0.0.1:{closed}"))]).expect(7);
    let says = format!(
        "context fake, {SERVER}\nerror: nothing listens at the proxy's address\n  the connection goes through the proxy `127.0.0.1:{closed}` of `https_proxy`\nhelp: check the proxy and `https_proxy`, or exempt the API server with `NO_PROXY`\n"
    );
    assert_eq!(ran.stderr, says);
}

#[test]
fn doctor_says_that_a_proxy_is_on_the_way() {
    let (port, _) = http_proxy("HTTP/1.1 403 Forbidden\r\n\r\n", false);
    let sandbox = Sandbox::bootstrapped();
    kubeconfig(&sandbox, SERVER, TRUSTED, &format!(", proxy-url: \"http://user:hunter2@127.0.0.1:{port}\""));
    let ran = sandbox.run(["doctor", "--kubeconfig", "kubeconfig"]).expect(7);
    let why = format!("the connection goes through the proxy `127.0.0.1:{port}` of `proxy-url` in the kubeconfig");
    let says = format!(
        "api server\n  BAD  context fake [api-unreachable]\n       why:  the proxy does not connect to the API server: {why}\n       help: check the proxy, and `proxy-url` in the kubeconfig\n"
    );
    assert!(ran.stdout.starts_with(&says), "{}", ran.stdout);
}

#[test]
fn a_plugin_is_told_of_the_proxy_that_the_kubeconfig_names() {
    for (more, expected) in [("", None), (", proxy-url: \"http://127.0.0.1:1\"", Some("http://127.0.0.1:1"))] {
        let sandbox = Sandbox::empty();
        kubeconfig(&sandbox, SERVER, TRUSTED, more);
        let exec = r#"exec: {apiVersion: client.authentication.k8s.io/v1, provideClusterInfo: true, command: sh, args: [-c, 'printf %s "$KUBERNETES_EXEC_INFO" >info; exit 1']}"#;
        sandbox.edit("kubeconfig", "token: hunter2-token", exec);
        let mut command = sandbox.command(["fetch-cert", "--kubeconfig", "kubeconfig"]);
        command.env("HTTPS_PROXY", "http://127.0.0.1:2");
        assert!(finish(command).expect(7).stderr.contains("gives no credentials"));
        let info: serde_json::Value = serde_json::from_str(&sandbox.read("info")).unwrap();
        assert_eq!(info["spec"]["cluster"]["proxy-url"].as_str(), expected, "{info}");
    }
}
