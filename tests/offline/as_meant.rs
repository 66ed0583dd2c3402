//! Input as people and their tools write it, taken as it is meant: the line feed at a value's end, templates, empty documents, comments
//! around a key, keys with a passphrase, and a hash without its password.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::common::{OWN_CERTIFICATE, OWN_KEY, Ran, Sandbox, fixture_text};

/// A value, the part that is sealed, and whether a line feed was removed.
const VALUES: [(&str, &str, bool); 9] = [
    ("one line", "one line", false),
    ("one line\n", "one line", true),
    ("one line\r\n", "one line", true),
    ("one line\n\n", "one line\n\n", false),
    ("two\nlines", "two\nlines", false),
    ("two\nlines\n", "two\nlines\n", false),
    ("two\r\nlines\r\n", "two\r\nlines\r\n", false),
    (" blanks \n", " blanks ", true),
    (
        "-----BEGIN OPENSSH PRIVATE KEY-----\nQUJD\n-----END OPENSSH PRIVATE KEY-----\n",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nQUJD\n-----END OPENSSH PRIVATE KEY-----\n",
        false,
    ),
];

pub fn secret(rest: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: token\n  namespace: shop-secrets\n{rest}")
}

/// A source of a value, and how it is sealed from there.
type Source = (&'static str, fn(&Sandbox, &str) -> Ran);
const SOURCES: &[Source] = &[
    ("file", |s, value| {
        s.write_secret("in", value.as_bytes());
        s.run(["bootstrap", "--provide", "token=in", "--contract", "c.yaml"])
    }),
    ("standard-input", |s, value| s.run_with_input(["bootstrap", "--provide", "token=-", "--contract", "c.yaml"], value.as_bytes())),
    ("env-file-with-escapes", |s, value| {
        s.write_secret("in", format!("TOKEN=\"{}\"\n", value.replace('\n', "\\n").replace('\r', "\\r")).as_bytes());
        s.run(["import", "--env-file", "in", "--contract", "c.yaml"])
    }),
    ("env-file-as-it-is", |s, value| {
        s.write_secret("in", format!("TOKEN='{value}'\n").as_bytes());
        s.run(["import", "--env-file", "in", "--contract", "c.yaml"])
    }),
    ("string-data", |s, value| {
        s.write_secret("in", secret(&format!("stringData:\n  value: {}\n", serde_json::to_string(value).unwrap())).as_bytes());
        s.run(["import", "-f", "in", "--contract", "c.yaml"])
    }),
    ("data", |s, value| {
        s.write_secret("in", secret(&format!("data:\n  value: {}\n", BASE64_STANDARD.encode(value))).as_bytes());
        s.run(["import", "-f", "in", "--contract", "c.yaml"])
    }),
    ("data-on-standard-input", |s, value| {
        let text = secret(&format!("data:\n  value: {}\n", BASE64_STANDARD.encode(value)));
        s.run_with_input(["import", "-f", "-", "--contract", "c.yaml"], text.as_bytes())
    }),
    ("folder", |s, value| {
        s.write_secret("in/token", value.as_bytes());
        s.run(["import", "--from-directory", "in", "--contract", "c.yaml"])
    }),
    #[cfg(feature = "cluster")]
    ("live-cluster", |s, value| {
        use crate::api_server::{kubeconfig, response, serve_with};
        let data = serde_json::json!({ "value": BASE64_STANDARD.encode(value) });
        let metadata = serde_json::json!({ "name": "token", "namespace": "shop-secrets" });
        let body = serde_json::json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data }).to_string();
        let (port, _) = serve_with(move |_, _, _| response("200 OK", "", &body));
        let server = format!("https://127.0.0.1:{port}");
        kubeconfig(s, &server, "fixtures/tls/server.crt", "");
        let access = ["--from-cluster", "--kubeconfig", "kubeconfig", "--context", "fake"];
        let ran = s.run([&["import", "--contract", "c.yaml"][..], &access].concat());
        Ran { stderr: ran.stderr.replace(&format!("context fake, {server}\n"), ""), ..ran }
    }),
];

/// A contract of one key, which may have any value.
pub fn one_key() -> String {
    let contract = fixture_text("fixtures/contracts/small.yaml");
    let head = contract.split_inclusive("keys:\n").next().unwrap();
    format!("{head}  - name: token\n    about: the operator's own\n    recipe: {{ provided: {{}} }}\nconsumers: []\n")
}

#[test]
fn the_line_feed_behind_a_single_line_is_removed_from_every_source_and_no_other() {
    for (source, seal) in SOURCES {
        for (value, sealed, removed) in VALUES {
            let sandbox = Sandbox::with_keys();
            sandbox.write("c.yaml", one_key().as_bytes());
            let ran = seal(&sandbox, value);
            let warnings = if removed { "warning: removed the line feed at the end of `token`\n" } else { "" };
            assert_eq!((ran.code, ran.stderr.as_str()), (0, warnings), "{source}: {value:?}: {}", ran.stdout);
            assert_eq!(sandbox.value("token"), sealed, "{source}: {value:?}");
        }
    }
}

/// A template in an unrendered Secret or SealedSecret, and its line.
const TEMPLATES: [(&str, &str, usize); 12] = [
    ("value", "stringData:\n  value: {{ .Values.hunter2 }}\n", 7),
    ("value-in-quotes", "stringData:\n  value: \"{{ .Values.hunter2 }}\"\n", 7),
    ("value-with-a-filter", "data:\n  value: {{ .Values.hunter2 | b64enc }}\n", 7),
    ("value-with-a-filter-in-quotes", "data:\n  value: '{{ .Values.hunter2 | b64enc }}'\n", 7),
    ("value-with-quotes-in-it", "data:\n  value: {{ \"hunter2\" | b64enc | quote }}\n", 7),
    ("value-and-text", "stringData:\n  value: {{ .Values.hunter2 }}-suffix\n", 7),
    ("condition", "{{- if .Values.hunter2 }}\nstringData:\n  value: a\n{{- end }}\n", 6),
    ("loop", "data:\n  {{- range $key, $value := .Values.hunter2 }}\n  {{ $key }}: {{ $value }}\n  {{- end }}\n", 7),
    ("include", "  labels:\n    {{- include \"hunter2\" . | nindent 4 }}\ndata:\n  value: YQ==\n", 7),
    ("condition-of-jinja", "{% if hunter2 %}\nstringData:\n  value: a\n{% endif %}\n", 6),
    ("value-of-jinja", "stringData:\n  value: {% hunter2 %}\n", 7),
    ("name", "  name2: a\nstringData:\n  value: a\n", 4),
];

#[test]
fn a_template_is_named_as_one() {
    let sandbox = Sandbox::bootstrapped();
    let sealed = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: token\n  namespace: shop-secrets\nspec:\n  encryptedData:\n";
    for (what, rest, line) in TEMPLATES {
        let mut plain = secret(rest);
        if what == "name" {
            plain = plain.replace("name: token", "name: app-{{ .Release.Name }}");
        }
        let mut rows = vec![(plain, vec!["import", "-f", "in"], line)];
        if let Some((_, value)) = rest.split_once("  value: ").filter(|_| what.starts_with("value")) {
            rows.push((format!("{sealed}    value: {value}"), vec!["unseal", "-f", "in"], 8));
            let keys = secret(&format!("type: kubernetes.io/tls\ndata:\n  tls.crt: YQ==\n  tls.key: {value}"));
            rows.push((keys, vec!["unseal", "--recovery-private-key", "in"], 9));
        }
        for (text, args, line) in rows {
            sandbox.write_secret("in", text.as_bytes());
            let ran = sandbox.run(&args).expect(3);
            assert!(ran.stderr.starts_with(&format!("error: in:{line}:")), "{what}: {args:?}: {}", ran.stderr);
            assert!(
                ran.stderr.contains(" a template (`{{ … }}` or `{% … %}`), which is no manifest yet")
                    && ran.stderr.contains("`helm template CHART`"),
                "{what}: {}",
                ran.stderr
            );
            assert!(!ran.stderr.contains("hunter2"), "{what}: {}", ran.stderr);
        }
    }
    // What only looks like a template is a value.
    for value in ["{{", "a {{b}} c", "}}{{"] {
        let sandbox = Sandbox::with_keys();
        sandbox.write("c.yaml", one_key().as_bytes());
        sandbox.write_secret("in", secret(&format!("stringData:\n  value: '{value}'\n")).as_bytes());
        sandbox.run(["import", "-f", "in", "--contract", "c.yaml"]).expect(0);
        assert_eq!(sandbox.value("token"), value);
    }
}

#[test]
fn an_empty_document_among_several_is_ignored() {
    let sandbox = Sandbox::usual_hashless();
    let around = |text: &str| format!("# by hand\n---\n---\n{text}---\n# nothing\n---\nnull\n---\n~\n---\n");
    let unit = sandbox.read("out/secret-source/vllm-api-key.sealed.yaml");
    sandbox.write("sealed.yaml", around(&unit).as_bytes());
    let value = sandbox.value("vllm-api-key");
    assert_eq!(sandbox.run(["unseal", "-f", "sealed.yaml", "--value", "vllm-api-key"]).expect(0).stdout, value);
    sandbox.write_secret("key.yaml", around(&fixture_text("fixtures/private-keys/key-secret.yaml")).as_bytes());
    let args = ["unseal", "--recovery-private-key", "key.yaml", "--value", "vllm-api-key"];
    assert_eq!(sandbox.run(args).expect(0).stdout, value);
    sandbox.run(["re-encrypt", "--dry-run", "sealed.yaml"]).expect(0);
    let other = Sandbox::with_keys();
    other.write_secret("plain.yaml", around(&sandbox.run(["unseal", "vllm-api-key"]).expect(0).stdout).as_bytes());
    other.run(["import", "-f", "plain.yaml"]).expect(0);
    assert_eq!(other.value("vllm-api-key"), value);
    // Only empty ones are none.
    other.write_secret("plain.yaml", b"---\n---\nnull\n");
    assert!(other.run(["import", "-f", "plain.yaml"]).expect(3).stderr.contains("no document"));
}

#[test]
fn text_around_a_key_is_passed_over() {
    let sandbox = Sandbox::bootstrapped();
    let value = sandbox.value("vllm-api-key");
    let pem = fixture_text(OWN_KEY);
    let certificate = fixture_text(OWN_CERTIFICATE);
    for (what, text) in [
        ("comments", format!("# the key of 2025, kind: Secret, apiVersion: v1\n\n{pem}# end\n")),
        ("bag-attributes", format!("Bag Attributes\n    friendlyName: apiVersion\nKey Attributes: <No Attributes>\n{pem}")),
        ("text-of-openssl", format!("Private-Key: (2048 bit, 2 primes)\nmodulus:\n    00:aa:bb\n{certificate}\n{pem}")),
        ("indented", pem.lines().map(|line| format!("    {line}\r\n")).collect()),
        ("a-header-of-its-own", pem.replace("PRIVATE KEY-----\n", "PRIVATE KEY-----\nComment: of 2025\n\n")),
    ] {
        // The header stands before the base64, not behind END.
        let text = text.replace("-----END PRIVATE KEY-----\nComment: of 2025\n\n", "-----END PRIVATE KEY-----\n");
        sandbox.write_secret("key.pem", text.as_bytes());
        let ran = sandbox.run(["unseal", "--recovery-private-key", "key.pem", "--value", "vllm-api-key"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, value.as_str()), "{what}: {}", ran.stderr);
    }
    sandbox.write("keys/sealing.crt", format!("# apiVersion: v1\nsubject=CN=sealed\n{certificate}# end\n").as_bytes());
    sandbox.run(["plan"]).expect(0);
}

/// A key with a passphrase, as openssl before version 1 writes it.
const PKCS1: &str =
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0011\n\nQUJD\n-----END RSA PRIVATE KEY-----\n";

#[test]
fn a_key_behind_a_passphrase_is_named_as_one() {
    let sandbox = Sandbox::bootstrapped();
    let pkcs8 = fixture_text("fixtures/private-keys/encrypted-pkcs8.pem");
    let in_secret = |pem: &str| {
        let encode = |text: &str| BASE64_STANDARD.encode(text);
        let certificate = encode(&fixture_text("fixtures/certificates/good.crt"));
        secret(&format!("type: kubernetes.io/tls\ndata:\n  tls.crt: {certificate}\n  tls.key: {}\n", encode(pem)))
    };
    for (what, text) in [
        ("pkcs1", PKCS1.to_owned()),
        ("pkcs1-with-carriage-returns", PKCS1.replace('\n', "\r\n")),
        ("pkcs8", pkcs8.clone()),
        ("pkcs1-in-a-secret", in_secret(PKCS1)),
        ("pkcs8-in-a-secret", in_secret(&pkcs8)),
    ] {
        sandbox.write_secret("key", text.as_bytes());
        let ran = sandbox.run(["unseal", "--recovery-private-key", "key"]).expect(3);
        let said = ran.stderr.contains("the private key is encrypted with a passphrase")
            && ran.stderr.contains("pass `--recovery-private-key <(openssl pkey -in FILE)` instead");
        assert!(said, "{what}: {}", ran.stderr);
    }
    // In place of the certificate, it is reported as a private key.
    sandbox.write("keys/sealing.crt", PKCS1.as_bytes());
    assert!(sandbox.run(["plan"]).expect(4).stderr.contains("a private key, where a certificate is expected"));
}

#[test]
fn a_hash_without_its_password_is_refused_with_both_named() {
    let hash = bcrypt::hash("correct horse", 4).unwrap();
    let source = |key: &str, value: &str| {
        let value = BASE64_STANDARD.encode(value);
        format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {key}\n  namespace: secret-source\ndata:\n  value: {value}\n")
    };
    let vllm = source("vllm-api-key", "x");
    for (file, args, text) in [
        ("in.env", ["import", "--env-file", "in.env"], format!("dex-admin-hash='{hash}'\nvllm-api-key=x\n")),
        ("in.env", ["import", "--env-file", "in.env"], format!("DEX_ADMIN_PASSWORD=\ndex-admin-hash='{hash}'\n")),
        ("in.yaml", ["import", "-f", "in.yaml"], format!("{}---\n{vllm}", source("dex-admin-hash", &hash))),
        ("in/dex-admin-hash", ["import", "--from-directory", "in"], hash.clone()),
    ] {
        let sandbox = Sandbox::with_keys();
        sandbox.write_secret(file, text.as_bytes());
        let ran = sandbox.run(args).expect(3);
        let what = "`dex-admin-hash` is a bcrypt hash of `dex-admin-password`, and `dex-admin-password` is in none of the sources";
        assert!(ran.stderr.starts_with(&format!("error: {file}:")) && ran.stderr.contains(what), "{}", ran.stderr);
        assert!(ran.stderr.contains("help: add the value of `dex-admin-password`") && !ran.stderr.contains(&hash), "{}", ran.stderr);
        assert!(!sandbox.path("out").exists());
    }
}

#[cfg(feature = "cluster")]
#[test]
fn a_backup_takes_only_what_unseal_would() {
    use crate::api_server::{kubeconfig, response, serve_with};
    let pem = |name: &str| fixture_text(&format!("fixtures/{name}"));
    for (what, certificate, key, code, says) in [
        (
            "the-certificate-of-another-key",
            pem("certificates/good-2048.crt"),
            pem("private-keys/good-pkcs8.pem"),
            4,
            "`tls.key` is not the key of `tls.crt`",
        ),
        ("no-certificate", "x\n".to_owned(), pem("private-keys/good-pkcs8.pem"), 3, "not PEM"),
        ("a-weak-key", pem("certificates/good.crt"), pem("private-keys/p-q-close.pem"), 4, "weak"),
        ("an-encrypted-key", pem("certificates/good.crt"), PKCS1.to_owned(), 3, "encrypted with a passphrase"),
    ] {
        let encode = |text: &str| BASE64_STANDARD.encode(text);
        let item = serde_json::json!({
            "metadata": { "name": "k", "labels": { "sealedsecrets.bitnami.com/sealed-secrets-key": "active" } },
            "type": "kubernetes.io/tls", "data": { "tls.crt": encode(&certificate), "tls.key": encode(&key) },
        });
        let list = serde_json::json!({ "apiVersion": "v1", "kind": "SecretList", "metadata": {}, "items": [item] }).to_string();
        let (port, _) = serve_with(move |_, _, _| response("200 OK", "Content-Type: application/json\r\n", &list));
        let sandbox = Sandbox::bootstrapped();
        kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
        let before = sandbox.snapshot();
        let ran = sandbox.start(["backup", "--kubeconfig", "kubeconfig"]).expect(code);
        assert!(ran.stderr.contains(says) && ran.stderr.contains("the key Secrets of the controller:"), "{what}: {}", ran.stderr);
        assert_eq!(before, sandbox.snapshot(), "{what}");
    }
}

#[cfg(feature = "cluster")]
#[test]
fn a_backup_takes_a_key_secret_of_any_type_as_the_controller_does() {
    use crate::api_server::{kubeconfig, response, serve_with};
    let data = |path: &str| BASE64_STANDARD.encode(fixture_text(path));
    let item = serde_json::json!({
        "metadata": { "name": "k", "labels": { "sealedsecrets.bitnami.com/sealed-secrets-key": "active" } },
        "type": "Opaque", "data": { "tls.crt": data(OWN_CERTIFICATE), "tls.key": data(OWN_KEY) },
    });
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "SecretList", "metadata": {}, "items": [item] }).to_string();
    let (port, _) = serve_with(move |_, _, _| response("200 OK", "Content-Type: application/json\r\n", &list));
    let sandbox = Sandbox::bootstrapped();
    kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
    let ran = sandbox.start(["backup", "--kubeconfig", "kubeconfig"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("nothing to add: keys/sealing.key.age holds all 1 active keys\n"), "{}", ran.stdout);
}
