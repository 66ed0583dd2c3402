//! Each recipe of version 2: its value is what the recipe says, and the program that reads such values accepts it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use regex::bytes::Regex;
use serde_json::Value;

use crate::common::{Ran, Sandbox, has, path, printed, program, tool};

/// A contract of version 2 with these Secrets, one per line.
pub fn contract(secrets: &str) -> String {
    format!("version: 2\nstore: store\nnamespace: vault\nreader: {{ name: reader, namespace: eso }}\nsecrets:\n{secrets}")
}

/// The data of each Secret, opened; the controller's templates are rendered.
pub type Opened = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// What `unseal` prints, as a list of Secrets.
pub fn unsealed(sandbox: &Sandbox) -> Vec<Value> {
    let list: Value = serde_json::from_str(&sandbox.run(["unseal", "-o", "json"]).expect(0).stdout).unwrap();
    list["items"].as_array().cloned().unwrap_or_else(|| vec![list.clone()])
}

/// Every value that is sealed, and every text that the controller renders.
pub fn opened(sandbox: &Sandbox) -> Opened {
    let data = |secret: &Value| {
        let decoded = |(key, value): (&String, &Value)| (key.clone(), BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap());
        secret["data"].as_object().unwrap().iter().map(decoded).collect()
    };
    unsealed(sandbox).iter().map(|secret| (secret["metadata"]["name"].as_str().unwrap().to_owned(), data(secret))).collect()
}

/// Runs with the contract `c.yaml`.
pub fn run(sandbox: &Sandbox, args: &[&str]) -> Ran {
    sandbox.run([args, &["--contract", "c.yaml"]].concat())
}

/// These Secrets sealed, with these values of the operator; `verify` has opened each value and found nothing.
pub fn sealed(secrets: &str, provided: &[(&str, &str)]) -> Sandbox {
    sealed_by(&contract(secrets), provided)
}

/// The same with a whole contract.
pub fn sealed_by(contract: &str, provided: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("c.yaml", contract.as_bytes());
    let mut args = vec!["bootstrap".to_owned()];
    for (i, (name, value)) in provided.iter().enumerate() {
        sandbox.write_secret(&format!("given-{i}"), value.as_bytes());
        args.push(format!("--provide={name}=given-{i}"));
    }
    run(&sandbox, &args.iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
    good(&sandbox);
    sandbox
}

/// `verify` opens each value, and finds nothing.
#[track_caller]
pub fn good(sandbox: &Sandbox) {
    run(sandbox, &["verify", "--identity", "keys/operator.agekey"]).finds(&["few-recipients keys/sealing.key.age"]);
}

/// A value as text.
pub fn text<'o>(opened: &'o Opened, secret: &str, key: &str) -> &'o str {
    std::str::from_utf8(&opened[secret][key]).unwrap()
}

/// What another program prints for files in this sandbox.
fn prints(sandbox: &Sandbox, name: &str, args: &[&str]) -> String {
    let mut command = Command::new(program(name));
    command.args(args).current_dir(sandbox.path("")).env_clear().env("PATH", path()).stdin(Stdio::null());
    printed(command)
}

/// Whether a program exists here; if not, that is reported.
fn is_here(name: &str) -> bool {
    has(&[name])
}

#[test]
fn what_is_drawn_is_what_its_recipe_says() {
    let rows = [
        ("hex: { bytes: 16 }", "[0-9a-f]{32}"),
        ("hex: { bytes: 32, prefix: sk- }", "sk-[0-9a-f]{64}"),
        ("base64: { bytes: 16 }", "[0-9A-Za-z+/]{22}=="),
        ("base64: { bytes: 32 }", "[0-9A-Za-z+/]{43}="),
        ("base64: { bytes: 48 }", "[0-9A-Za-z+/]{64}"),
        ("base64url: { bytes: 32 }", "[0-9A-Za-z_-]{43}"),
        ("alphanumeric: { length: 50 }", "[0-9A-Za-z]{50}"),
        ("password: { length: 24 }", "[!-~]{24}"),
        ("password: { length: 40, classes: [lower, digits] }", "[a-z0-9]{40}"),
        ("password: { length: 32, classes: [upper, symbols], without: '#%&,./:;<=>?@[]^_{|}~' }", r"[A-Z!()*+-]{32}"),
        ("uuid: {}", "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
    ];
    let values: String = rows.iter().enumerate().map(|(i, (recipe, _))| format!("      v{i}: {{ {recipe} }}\n")).collect();
    let sandbox = sealed(&format!("  - name: drawn\n    about: one of each\n    values:\n{values}"), &[]);
    let opened = opened(&sandbox);
    for (i, (recipe, pattern)) in rows.iter().enumerate() {
        let value = &opened["drawn"][&format!("v{i}")];
        assert!(Regex::new(&format!("^(?-u:{pattern})$")).unwrap().is_match(value), "{recipe}: {:?}", String::from_utf8_lossy(value));
    }
    let base64 = |i: usize| BASE64_STANDARD.decode(&opened["drawn"][&format!("v{i}")]).unwrap().len();
    assert_eq!((base64(2), base64(3), base64(4)), (16, 32, 48));
}

#[test]
fn a_password_has_a_character_of_each_class() {
    // As short as allowed: without a rule, one in four lacks a class.
    let values: String = (0..100).map(|i| format!("      v{i}: {{ password: {{ length: 20 }} }}\n")).collect();
    let sandbox = sealed(&format!("  - name: many\n    about: short passwords\n    values:\n{values}"), &[]);
    for (key, value) in &opened(&sandbox)["many"] {
        let has = |class: fn(&u8) -> bool| value.iter().any(class);
        let all = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit) && has(u8::is_ascii_punctuation);
        assert!(all && value.iter().all(u8::is_ascii_graphic) && !value.iter().any(|byte| b"\"$'\\`".contains(byte)), "{key}");
    }
}

const HASHES: &str = "  - name: login
    about: a password and its hashes
    values:
      password: { alphanumeric: { length: 30 } }
      a: { bcrypt: { of: password, cost: 10 } }
      b: { bcrypt: { of: password, cost: 11, version: 2b } }
      y: { bcrypt: { of: password, cost: 10, version: 2y } }
      argon2: { argon2id: { of: password } }
      small: { argon2id: { of: password, memory: 19456, iterations: 2, parallelism: 1 } }
  - name: registry
    about: the same for a registry
    values: { htpasswd: { htpasswd: { user: ci, of: login/password } } }
";

/// The hash, computed again.
#[track_caller]
pub fn is_argon2id_of(password: &str, hash: &str, [memory, iterations, parallelism]: [u32; 3]) {
    let fields: Vec<&str> = hash.split('$').collect();
    let ["", "argon2id", "v=19", parameters, salt, digest] = fields[..] else { panic!("{hash}") };
    assert_eq!(parameters, format!("m={memory},t={iterations},p={parallelism}"));
    let (salt, digest) = (BASE64_STANDARD_NO_PAD.decode(salt).unwrap(), BASE64_STANDARD_NO_PAD.decode(digest).unwrap());
    let parameters = argon2::Params::new(memory, iterations, parallelism, Some(32)).unwrap();
    let mut computed = [0; 32];
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters);
    argon2.hash_password_into(password.as_bytes(), &salt, &mut computed).unwrap();
    assert_eq!((salt.len(), digest.as_slice()), (16, computed.as_slice()), "{hash}");
}

#[test]
fn hashes_are_those_of_their_password() {
    let sandbox = sealed(HASHES, &[]);
    let opened = opened(&sandbox);
    let password = text(&opened, "login", "password");
    for (key, begins) in [("a", "$2a$10$"), ("b", "$2b$11$"), ("y", "$2y$10$")] {
        let hash = text(&opened, "login", key);
        assert!(hash.starts_with(begins) && hash.len() == 60 && bcrypt::verify(password, hash).unwrap(), "{key}: {hash}");
    }
    let (user, hash) = text(&opened, "registry", "htpasswd").split_once(':').unwrap();
    assert!(user == "ci" && hash.starts_with("$2y$10$") && bcrypt::verify(password, hash).unwrap());
    assert!(!hash.contains('\n'), "one line, without its end, as `htpasswd -n` writes it");
    for (key, [memory, iterations, parallelism]) in [("argon2", [65_536, 3, 4]), ("small", [19_456, 2, 1])] {
        let hash = text(&opened, "login", key);
        is_argon2id_of(password, hash, [memory, iterations, parallelism]);
    }
    // Few machines have `htpasswd`; if it exists, it checks too.
    if tool("htpasswd").is_some() {
        sandbox.write("htpasswd", &opened["registry"]["htpasswd"]);
        sandbox.write_secret("password", password.as_bytes());
        assert_eq!(sandbox.shell("htpasswd -vi htpasswd ci < password"), 0);
        assert_ne!(sandbox.shell("echo wrong | htpasswd -vi htpasswd ci"), 0);
    }
}

/// Each kind in each form; only the smallest RSA size, because other sizes are made in the same way.
const PAIRS: [(&str, &str, &str); 5] = [
    ("ed25519", "pem", "ED25519"),
    ("p256", "pem", "prime256v1"),
    ("rsa-2048", "pem", "2048 bit"),
    ("ed25519", "jwk", "OKP"),
    ("p256", "jwk", "EC"),
];

fn pairs() -> Sandbox {
    let pair = |(algorithm, format, _): &(&str, &str, &str)| {
        let name = format!("{algorithm}-{format}");
        format!("      {name}: {{ key-pair: {{ algorithm: {algorithm}, format: {format}, public: {name}.pub }} }}\n")
    };
    let values: String = PAIRS.iter().map(pair).collect();
    let rsa = "      rsa: { key-pair: { algorithm: rsa-2048, format: jwk, public: rsa.pub } }\n";
    sealed(&format!("  - name: keys\n    about: key pairs\n    values:\n{values}{rsa}"), &[])
}

#[test]
fn key_pairs_are_read_by_their_consumers() {
    let sandbox = pairs();
    let opened = opened(&sandbox);
    let keys = &opened["keys"];
    for (key, value) in keys {
        let text = std::str::from_utf8(value).unwrap();
        let is_public = key.ends_with(".pub");
        match key.contains("pem") {
            true => {
                let kind = if is_public { "PUBLIC KEY" } else { "PRIVATE KEY" };
                assert!(
                    text.starts_with(&format!("-----BEGIN {kind}-----\n")) && text.ends_with(&format!("-----END {kind}-----\n")),
                    "{key}"
                );
            }
            false => is_jwk(key, text, is_public),
        }
        sandbox.write_secret(&format!("keys/{key}"), value);
    }
    if is_here("openssl") {
        for (algorithm, format, says) in PAIRS.iter().filter(|(_, format, _)| *format == "pem") {
            let file = format!("keys/{algorithm}-{format}");
            assert!(prints(&sandbox, "openssl", &["pkey", "-in", &file, "-check", "-noout", "-text"]).contains(says), "{file}");
            assert_eq!(prints(&sandbox, "openssl", &["pkey", "-in", &file, "-pubout"]), sandbox.read(&format!("{file}.pub")), "{file}");
        }
    }
    if is_here("node") {
        // It signs with one half, and verifies with the other.
        let script = "const c = require('crypto'), fs = require('fs');
            for (const name of process.argv.slice(1)) {
              const read = (file) => ({ key: JSON.parse(fs.readFileSync(file)), format: 'jwk' });
              const own = c.createPrivateKey(read(name)), half = c.createPublicKey(read(name + '.pub'));
              const digest = own.asymmetricKeyType === 'ed25519' ? null : 'sha256';
              const signed = c.sign(digest, Buffer.from('text'), own);
              console.log(own.asymmetricKeyType, c.verify(digest, Buffer.from('text'), half, signed));
            }";
        let said = prints(&sandbox, "node", &["-e", script, "keys/ed25519-jwk", "keys/p256-jwk", "keys/rsa"]);
        assert_eq!(said, "ed25519 true\nec true\nrsa true\n");
    }
}

/// Members of a JWK, each with its number of bytes.
type Members = &'static [(&'static str, usize)];

/// RFC 7517, 7518 and 8037: the members of each kind, each with its number of bytes, and nothing private in the public half.
fn is_jwk(key: &str, text: &str, is_public: bool) {
    let jwk: BTreeMap<String, String> = serde_json::from_str(text).unwrap();
    let (public, private): (Members, Members) = match jwk["kty"].as_str() {
        "OKP" => (&[("x", 32)], &[("d", 32)]),
        "EC" => (&[("x", 32), ("y", 32)], &[("d", 32)]),
        "RSA" => (&[("n", 256), ("e", 3)], &[("d", 256), ("p", 128), ("q", 128), ("dp", 128), ("dq", 128), ("qi", 128)]),
        other => panic!("{key}: {other}"),
    };
    let members = public.iter().chain(if is_public { &[] } else { private });
    for (member, length) in members.clone() {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&jwk[*member]).unwrap();
        // A number that begins with a zero byte is shorter; points and private scalars are not.
        let shorter = jwk["kty"] == "RSA" && bytes.len() < *length && !bytes.is_empty();
        assert!(bytes.len() == *length || shorter, "{key}: {member} has {} bytes", bytes.len());
    }
    let curve = match jwk["kty"].as_str() {
        "OKP" => Some("Ed25519"),
        "EC" => Some("P-256"),
        _ => None,
    };
    assert_eq!(jwk.get("crv").map(String::as_str), curve, "{key}");
    let known = members.map(|(member, _)| *member).chain(["kty"]).chain(curve.map(|_| "crv"));
    assert_eq!(jwk.keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(), known.collect(), "{key}");
}

#[test]
fn ssh_keys_are_what_ssh_keygen_reads() {
    let secrets = "  - name: deploy
    about: a deploy key
    type: kubernetes.io/ssh-auth
    values: { ssh-privatekey: { ssh-key: { algorithm: ed25519, public: ssh-publickey } } }
  - name: old
    about: for a server that knows RSA only
    values: { id: { ssh-key: { algorithm: rsa-3072, public: id.pub } } }
";
    let sandbox = sealed(secrets, &[]);
    let opened = opened(&sandbox);
    for (secret, private, public, kind) in
        [("deploy", "ssh-privatekey", "ssh-publickey", "ssh-ed25519"), ("old", "id", "id.pub", "ssh-rsa")]
    {
        let key = ssh_key::PrivateKey::from_openssh(&opened[secret][private]).unwrap();
        let line = text(&opened, secret, public);
        assert_eq!(line.trim_end(), key.public_key().to_openssh().unwrap().trim_end());
        assert!(line.starts_with(&format!("{kind} ")) && line.ends_with('\n') && line.lines().count() == 1, "{line}");
        assert!(text(&opened, secret, private).ends_with("-----END OPENSSH PRIVATE KEY-----\n"));
        if is_here("ssh-keygen") {
            sandbox.write_secret(private, &opened[secret][private]);
            assert_eq!(prints(&sandbox, "ssh-keygen", &["-y", "-f", private]).trim_end(), line.trim_end());
        }
    }
}

const TLS: &str = "  - name: ca
    about: signs the others
    recipe: { tls: { authority: true, days: 3650, algorithm: ALGORITHM } }
  - name: web
    about: a server
    recipe: { tls: { names: [web.example.org, '*.web.example.org', '10.1.2.3', '2001:db8::1'], days: 90, issued-by: ca } }
  - name: alone
    about: signs itself
    values:
      server.key: { tls: { names: [localhost], days: 30, algorithm: ALGORITHM, crt: server.crt, ca: server-ca.crt } }
";

#[test]
fn certificates_are_what_openssl_verifies() {
    for algorithm in ["p256", "ed25519", "rsa-2048"] {
        let sandbox = sealed(&TLS.replace("ALGORITHM", algorithm), &[]);
        let opened = opened(&sandbox);
        for (secret, keys) in [
            ("ca", &["tls.crt", "tls.key"][..]),
            ("web", &["ca.crt", "tls.crt", "tls.key"]),
            ("alone", &["server-ca.crt", "server.crt", "server.key"]),
        ] {
            assert_eq!(opened[secret].keys().map(String::as_str).collect::<Vec<_>>(), keys);
            opened[secret].iter().for_each(|(key, value)| sandbox.write_secret(&format!("{secret}/{key}"), value));
        }
        assert_eq!(opened["web"]["ca.crt"], opened["ca"]["tls.crt"]);
        assert_eq!(opened["alone"]["server-ca.crt"], opened["alone"]["server.crt"]);
        let kinds: Vec<Value> = unsealed(&sandbox).iter().map(|one| one["type"].clone()).collect();
        assert_eq!(kinds, ["Opaque", "kubernetes.io/tls", "kubernetes.io/tls"]);
        if is_here("openssl") {
            certificates_hold(&sandbox);
        }
    }
}

fn certificates_hold(sandbox: &Sandbox) {
    let openssl = |args: &[&str]| prints(sandbox, "openssl", args);
    for (ca, crt, key) in [
        ("ca/tls.crt", "ca/tls.crt", "ca/tls.key"),
        ("web/ca.crt", "web/tls.crt", "web/tls.key"),
        ("alone/server-ca.crt", "alone/server.crt", "alone/server.key"),
    ] {
        assert_eq!(openssl(&["verify", "-x509_strict", "-CAfile", ca, crt]), format!("{crt}: OK\n"));
        let public = openssl(&["x509", "-in", crt, "-pubkey", "-noout"]);
        assert_eq!(public, openssl(&["pkey", "-in", key, "-pubout"]), "{crt}");
    }
    for name in ["-verify_hostname=web.example.org", "-verify_hostname=a.web.example.org", "-verify_ip=10.1.2.3", "-verify_ip=2001:db8::1"]
    {
        let (flag, name) = name.split_once('=').unwrap();
        openssl(&["verify", "-purpose", "sslserver", flag, name, "-CAfile", "web/ca.crt", "web/tls.crt"]);
    }
    assert_eq!(sandbox.shell("openssl verify -verify_hostname other.example.org -CAfile web/ca.crt web/tls.crt"), 2);
    assert_eq!(sandbox.shell("openssl verify -CAfile alone/server.crt web/tls.crt"), 2, "another authority");
    // A leaf signs nothing, and the days are those of the contract.
    let shown = openssl(&["x509", "-in", "web/tls.crt", "-noout", "-text"]);
    assert!(shown.contains("CA:FALSE") && !shown.contains("Certificate Sign"), "{shown}");
    assert!(openssl(&["x509", "-in", "ca/tls.crt", "-noout", "-text"]).contains("CA:TRUE, pathlen:0"));
    let day = 24 * 60 * 60;
    for (crt, days) in [("web/tls.crt", 90), ("ca/tls.crt", 3650), ("alone/server.crt", 30)] {
        let ends = |seconds: u32| sandbox.shell(&format!("openssl x509 -in {crt} -noout -checkend {seconds}"));
        assert_eq!((ends((days - 1) * day), ends((days + 1) * day)), (0, 1), "{crt}");
    }
}

#[test]
fn credentials_of_a_registry_are_what_docker_reads() {
    let secrets = "  - name: pull
    about: for kubelets
    recipe: { dockerconfigjson: { registry: 'registry.example.org:5000', user: 'robot$ci', of: ci/password } }
  - name: ci
    about: the registry's user
    values: { password: { password: { length: 30 } } }
  - name: own
    about: a token that exists
    type: kubernetes.io/dockerconfigjson
    values:
      token: { provided: {} }
      .dockerconfigjson: { dockerconfigjson: { registry: ghcr.io, user: octocat, of: token } }
";
    let token = "gho_\"\\ü</&>\u{2028}: x";
    let sandbox = sealed(secrets, &[("own/token", token)]);
    let opened = opened(&sandbox);
    for (secret, registry, user, password) in
        [("pull", "registry.example.org:5000", "robot$ci", text(&opened, "ci", "password")), ("own", "ghcr.io", "octocat", token)]
    {
        let found: Value = serde_json::from_str(text(&opened, secret, ".dockerconfigjson")).unwrap();
        let auth = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let expected = serde_json::json!({ "auths": { registry: { "username": user, "password": password, "auth": auth } } });
        assert_eq!(found, expected);
    }
    for secret in unsealed(&sandbox).iter().filter(|secret| secret["metadata"]["name"] != "ci") {
        assert_eq!(secret["type"], "kubernetes.io/dockerconfigjson");
    }
}

/// Characters that no escape may let through or change.
const ODD: &str = "a b+c%2F/?#[]@!$&'()*,;=:\"\\<>{}{{x}}`^|~\t\u{7f}üé€\u{2028}\u{2029}🦀-._end";

fn percent_decoded(url: &str) -> String {
    let mut pieces = url.split('%');
    let mut bytes = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_template_escapes_what_it_holds() {
    let one = |name: &str, of: &str| {
        let value = |escape: &str| {
            format!("      {escape}: {{ template: '<{{{{OF}}}}>', escape: {escape} }}\n").replace("OF", &format!("{{{of}}}"))
        };
        format!("  - name: {name}\n    about: x\n    values:\n{}", ["none", "url", "json", "base64"].map(value).concat())
    };
    // The controller renders a template of its own Secret's values; a template of another Secret's is rendered here, and sealed.
    let own = one("own", "odd") + "      odd: { provided: {} }\n";
    let sandbox = sealed(&(own + &one("other", "own/odd")), &[("own/odd", ODD)]);
    let opened = opened(&sandbox);
    for secret in ["own", "other"] {
        let inner = |key: &str| text(&opened, secret, key).strip_prefix("<{").unwrap().strip_suffix("}>").unwrap().to_owned();
        assert_eq!(inner("none"), ODD);
        assert_eq!(serde_json::from_str::<String>(&inner("json")).unwrap(), ODD);
        assert_eq!(BASE64_STANDARD.decode(inner("base64")).unwrap(), ODD.as_bytes());
        let url = inner("url");
        assert_eq!(percent_decoded(&url), ODD);
        assert!(url.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)), "{url}");
    }
    let unit = sandbox.read("out/secret-source/own.sealed.yaml");
    assert!(unit.contains("| urlquery | replace") && unit.matches("encryptedData").count() == 2, "{unit}");
}

#[test]
fn a_template_writes_out_what_is_plain() {
    let secrets = "  - name: app
    about: x
    values:
      user: { plain: 'a@b {not} {{a}} template' }
      password: { hex: { bytes: 16 } }
      uri: { template: 'db://{user}:{password}@h/{{x}} {no name} {', escape: url }
      note: { template: 'no value, {{braces}}' }
";
    let sandbox = sealed(secrets, &[]);
    let opened = opened(&sandbox);
    let password = text(&opened, "app", "password");
    assert_eq!(text(&opened, "app", "user"), "a@b {not} {{a}} template");
    let user = "a%40b%20%7Bnot%7D%20%7B%7Ba%7D%7D%20template";
    assert_eq!(text(&opened, "app", "uri"), format!("db://{user}:{password}@h/{{x}} {{no name}} {{"));
    assert_eq!(text(&opened, "app", "note"), "no value, {braces}");
    assert_eq!(sandbox.read("out/secret-source/app.sealed.yaml").matches(" AgIA").count() + 1, 1, "one value is sealed");
}

#[test]
fn what_is_provided_is_kept_to_the_byte() {
    let hosts = "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\ngithub.com ssh-rsa AAAA\n";
    let secrets = "  - name: git
    about: x
    values:
      known_hosts: { provided: { lines: true } }
      token: { provided: { pattern: 'glpat-[0-9A-Za-z_-]{20}', hint: GitLab } }
";
    let sandbox = sealed(secrets, &[("git/known_hosts", hosts), ("git/token", "glpat-0123456789abcdefghij")]);
    assert_eq!(text(&opened(&sandbox), "git", "known_hosts"), hosts);
    sandbox.write_secret("other", b"glpat-short");
    let ran = run(&sandbox, &["rotate", "--yes", "--provide", "git/token=other"]).expect(3);
    assert!(ran.stderr.contains("`git/token` is not what its recipe asks for") && ran.stderr.contains("help: GitLab"), "{}", ran.stderr);
}

#[test]
fn types_labels_and_annotations_are_those_of_the_contract() {
    let secrets = "  - name: db
    about: x
    type: kubernetes.io/basic-auth
    labels: { app: shop, team: other }
    annotations: { example.org/note: 'a: b # c' }
    managed: true
    values: { username: { plain: shop }, password: { hex: { bytes: 16 } } }
  - name: fixed
    about: x
    immutable: true
    recipe: { uuid: {} }
";
    let sandbox = Sandbox::with_keys();
    let text =
        contract(secrets).replacen("secrets:", "labels: { team: shop }\nannotations: { reloader.stakater.com/match: 'true' }\nsecrets:", 1);
    sandbox.write("c.yaml", text.as_bytes());
    run(&sandbox, &["bootstrap"]).expect(0);
    good(&sandbox);
    let read = |unit: &str| serde_yaml::from_str::<Value>(&sandbox.read(&format!("out/secret-source/{unit}.sealed.yaml"))).unwrap();
    let (db, fixed) = (read("db"), read("fixed"));
    let template = &db["spec"]["template"];
    let labels = serde_json::json!({ "app": "shop", "team": "other" });
    let annotations = serde_json::json!({
        "example.org/note": "a: b # c", "reloader.stakater.com/match": "true", "sealedsecrets.bitnami.com/managed": "true",
    });
    assert_eq!((&template["metadata"]["labels"], &template["metadata"]["annotations"]), (&labels, &annotations));
    assert_eq!(db["metadata"]["labels"], labels);
    for (name, value) in annotations.as_object().unwrap() {
        assert_eq!(db["metadata"]["annotations"][name], *value, "{name}");
    }
    assert_eq!(template["type"], "kubernetes.io/basic-auth");
    assert_eq!(template["data"], serde_json::json!({ "username": "shop" }));
    assert!(template["immutable"].is_null());
    assert_eq!((&fixed["spec"]["template"]["immutable"], &fixed["spec"]["template"]["type"]), (&Value::Bool(true), &Value::from("Opaque")));
    assert_eq!(fixed["metadata"]["labels"], serde_json::json!({ "team": "shop" }));
}

#[test]
fn too_little_entropy_is_refused_and_just_enough_is_not() {
    for (recipe, enough) in [
        ("hex: { bytes: 15 }", false),
        ("hex: { bytes: 16 }", true),
        ("base64: { bytes: 15 }", false),
        ("base64: { bytes: 16 }", true),
        ("base64url: { bytes: 15 }", false),
        ("base64url: { bytes: 16 }", true),
        ("alphanumeric: { length: 21 }", false),
        ("alphanumeric: { length: 22 }", true),
        ("password: { length: 19 }", false),
        ("password: { length: 20 }", true),
        ("password: { length: 38, classes: [digits] }", false),
        ("password: { length: 39, classes: [digits] }", true),
        ("password: { length: 64, classes: [digits], without: '123456789' }", false),
        ("uuid: {}", true),
    ] {
        let sandbox = Sandbox::empty();
        sandbox.write("c.yaml", contract(&format!("  - {{ name: a, about: x, recipe: {{ {recipe} }} }}\n")).as_bytes());
        let ran = run(&sandbox, &["contract"]);
        assert_eq!(ran.code, if enough { 0 } else { 3 }, "{recipe}: {}", ran.stderr);
        let why = ran.stderr.contains(" bits, which can be guessed") && ran.stderr.contains("at least 128 bits");
        assert_eq!(why, !enough, "{recipe}: {}", ran.stderr);
    }
}

/// What `contract --format yaml` prints is a contract that means the same.
#[test]
fn a_contract_of_version_2_reads_what_it_writes() {
    for secrets in [HASHES, TLS.replace("ALGORITHM", "p256").as_str(), "  - { name: a, about: x, recipe: { ssh-key: {} } }\n"] {
        let sandbox = Sandbox::empty();
        sandbox.write("c.yaml", contract(secrets).as_bytes());
        let written = run(&sandbox, &["contract", "--format", "yaml"]).expect(0).stdout;
        let shown = run(&sandbox, &["contract"]).expect(0).stdout;
        sandbox.write("c.yaml", written.as_bytes());
        assert_eq!(run(&sandbox, &["contract", "--format", "yaml"]).expect(0).stdout, written);
        assert_eq!(run(&sandbox, &["contract"]).expect(0).stdout, shown);
    }
}
