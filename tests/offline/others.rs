//! Secrets and key backups as other people and tools write them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::as_meant::{one_key, secret};
use crate::common::{OWN_CERTIFICATE, OWN_KEY, Sandbox, fixture_text};

const VALUE: &str = "rW4tY7uI0pL3kJ6hG9fD2sA5";
const ENCODED: &str = "clc0dFk3dUkwcEwza0o2aEc5ZkQyc0E1";

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\ndata:\n  a: b\n";

const CONFIG_MAP_IN_JSON: &str = "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\"}";

/// A Secret with [`VALUE`], and how many documents beside it are skipped.
fn readable() -> Vec<(&'static str, String, usize)> {
    let (head, end) = ENCODED.split_at(20);
    let item = format!("{{metadata: {{name: token, namespace: shop-secrets}}, data: {{value: {ENCODED}}}}}");
    let plain = secret(&format!("data:\n  value: {ENCODED}\n"));
    vec![
        (
            "kustomize",
            format!(
                "apiVersion: v1\ndata:\n  value: |\n    {head}\n    {end}\nkind: Secret\nmetadata:\n  name: token\n  namespace: shop-secrets\ntype: Opaque\n"
            ),
            0,
        ),
        ("block-of-one-line", secret(&format!("data:\n  value: |\n    {ENCODED}\n")), 0),
        ("block-without-its-last-line-feed", secret(&format!("data:\n  value: |-\n    {ENCODED}\n")), 0),
        ("folded-on-one-line", secret(&format!("data:\n  value: >\n    {ENCODED}\n")), 0),
        ("line-feeds-escaped", secret(&format!("data:\n  value: \"{head}\\r\\n{end}\\n\"\n")), 0),
        ("carriage-returns", secret(&format!("data:\n  value: |\n    {head}\n    {end}\n")).replace('\n', "\r\n"), 0),
        ("byte-order-mark", format!("\u{feff}{plain}"), 0),
        ("data-null", secret(&format!("data:\nstringData:\n  value: {VALUE}\n")), 0),
        ("string-data-null", secret(&format!("data: {{value: {ENCODED}}}\nstringData: null\n")), 0),
        (
            "labels-and-annotations-null",
            secret(&format!("  creationTimestamp: null\n  labels:\n  annotations: ~\ndata:\n  value: {ENCODED}\n")),
            0,
        ),
        ("another-key-null", secret(&format!("data:\n  other:\n  value: {ENCODED}\n")), 0),
        ("the-same-in-both", secret(&format!("data: {{value: {ENCODED}}}\nstringData: {{value: {VALUE}}}\n")), 0),
        ("unknown-fields", secret(&format!("immutable: true\ntype: example.com/x\nspec: {{a: 1}}\ndata:\n  value: {ENCODED}\n")), 0),
        (
            "an-anchor-used-elsewhere",
            secret(&format!("  labels: {{a: *x}}\ndata:\n  value: {ENCODED}\n")).replace("name: token", "name: &x token"),
            0,
        ),
        (
            "rendered-by-helm",
            format!(
                "---\n# Source: app/templates/config.yaml\n{CONFIG_MAP}---\n# Source: app/templates/secret.yaml\n{plain}---\n# Source: app/templates/none.yaml\n"
            ),
            1,
        ),
        (
            "beside-an-external-secret",
            format!(
                "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {{name: a}}\nspec: {{data: [{{a: 1}}]}}\n---\n{plain}---\n{CONFIG_MAP}"
            ),
            2,
        ),
        ("beside-values", format!("image: {{tag: 1.0, *a : 2}}\nb: &a c\n---\n{plain}").replace(", *a : 2", ""), 1),
        ("secret-list", format!("apiVersion: v1\nkind: SecretList\nmetadata: {{resourceVersion: \"\"}}\nitems:\n- {item}\n"), 0),
        (
            "secret-list-in-json",
            format!(
                "{{\"apiVersion\": \"v1\", \"kind\": \"SecretList\", \"items\": [{}]}}",
                serde_json::to_string(&serde_yaml::from_str::<serde_json::Value>(&item).unwrap()).unwrap()
            ),
            0,
        ),
        (
            "mixed-list",
            format!(
                "apiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: ConfigMap}}\n- {{apiVersion: v1, kind: Secret, {}\n",
                &item[1..]
            ),
            1,
        ),
    ]
}

#[test]
fn secrets_are_read_as_kubernetes_reads_them() {
    for (what, text, skipped) in readable() {
        let sandbox = Sandbox::with_keys();
        sandbox.write("c.yaml", one_key().as_bytes());
        sandbox.write_secret("in", text.as_bytes());
        let ran = sandbox.run(["import", "-f", "in", "--contract", "c.yaml"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{what}");
        assert_eq!(sandbox.value("token"), VALUE, "{what}");
        let documents = if skipped == 1 { "1 document".to_owned() } else { format!("{skipped} documents") };
        let told = ran.stdout.contains(&format!("note   skipped {documents} in in: no Secret of `v1`\n"));
        assert_eq!((told, ran.stdout.contains("skipped")), (skipped > 0, skipped > 0), "{what}: {}", ran.stdout);
    }
}

/// What is wrong with a Secret, and the error's first line.
fn unreadable() -> Vec<(&'static str, String, &'static str)> {
    let data = |text: &str| secret(&format!("data:\n  value: {text}\n"));
    let clear = |text: &str| secret(&format!("stringData:\n  value: {text}\n"));
    vec![
        ("folded-with-spaces", data(">-\n    clc0dFk3\n    dUkwcEwz"), "in:8:5: `data[value]`: white space inside base64"),
        ("base64url", data("_-_-"), "in:7:10: `data[value]`: not base64"),
        ("not-padded", data("aHVudGVyMg"), "in:7:10: `data[value]`: not base64"),
        (
            "a-number",
            clear("5432"),
            "in:7:10: `stringData.value` should be text, but some readers take this for a number, a date or a boolean",
        ),
        (
            "a-boolean",
            clear("yes"),
            "in:7:10: `stringData.value` should be text, but some readers take this for a number, a date or a boolean",
        ),
        ("a-mapping", clear("{hunter2: hunter2}"), "in:7:10: `stringData.value` should be text, not a mapping"),
        ("an-alias", clear("&a hunter2\n  other: *a"), "in:8:10: aliases (`*name`) and tags (`!name`) are not supported here"),
        (
            "a-merge-key",
            format!("a: &a {{value: hunter2}}\n{}", secret("stringData:\n  <<: *a\n")),
            "in:8:7: aliases (`*name`) and tags (`!name`) are not supported here",
        ),
        ("a-tag", clear("!vault |\n    hunter2"), "in:8:5: aliases (`*name`) and tags (`!name`) are not supported here"),
        ("binary", clear("!!binary aHVudGVyMg=="), "in:7:19: aliases (`*name`) and tags (`!name`) are not supported here"),
        (
            "different-in-both",
            secret("data: {value: aHVudGVyMg==}\nstringData: {value: hunter3}\n"),
            "in:7:21: `value` is in both `data` and `stringData`",
        ),
        (
            "encrypted-with-sops",
            clear("ENC[AES256_GCM,data:hunter2,type:str]\nsops:\n  version: 3.8.1"),
            "in:9:3: still encrypted with sops",
        ),
        (
            "a-list-encrypted-with-sops",
            "apiVersion: v1\nkind: List\nitems: []\nsops: {version: 3.8.1}\n".into(),
            "in:4:7: still encrypted with sops",
        ),
        (
            "one-broken-document",
            format!("{}---\nkind: Secret\na: 'hunter2\n", data("YQ==")),
            "in:10:4: unexpected end: a quote or bracket is not closed",
        ),
        ("no-secret", format!("{CONFIG_MAP}---\n{CONFIG_MAP}"), "in: no Secret of `v1` in it"),
        ("an-empty-list", "apiVersion: v1\nkind: List\nitems: []\n".into(), "in: no Secret of `v1` in it"),
        ("a-secret-of-another-group", data("YQ==").replace("v1", "example.com/v1"), "in: no Secret of `v1` in it"),
    ]
}

#[test]
fn what_no_reader_takes_for_sure_is_an_error_with_its_place() {
    let sandbox = Sandbox::with_keys();
    sandbox.write("c.yaml", one_key().as_bytes());
    for (what, text, says) in unreadable() {
        sandbox.write_secret("in", text.as_bytes());
        let before = sandbox.snapshot();
        let ran = sandbox.run(["import", "-f", "in", "--contract", "c.yaml"]).expect(3);
        assert_eq!(ran.stderr.lines().next(), Some(format!("error: {says}").as_str()), "{what}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hunter"), "{what}: {}", ran.stderr);
        assert_eq!(before, sandbox.snapshot(), "{what}");
    }
}

fn pem(name: &str) -> String {
    fixture_text(&format!("fixtures/{name}"))
}

/// A Secret of a backup, with the rest of it given.
fn backup(label: &str, rest: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: k\n  labels:\n    sealedsecrets.bitnami.com/sealed-secrets-key: {label}\n{rest}"
    )
}

fn data(entries: &[(&str, &str)]) -> String {
    let lines: String = entries.iter().map(|(key, text)| format!("  {key}: {}\n", BASE64_STANDARD.encode(text))).collect();
    format!("data:\n{lines}")
}

fn block(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// A backup that opens, and the warnings.
fn backups() -> Vec<(&'static str, String, Vec<&'static str>)> {
    let (certificate, key, other) = (fixture_text(OWN_CERTIFICATE), fixture_text(OWN_KEY), pem("private-keys/other.pem"));
    let both = data(&[("tls.crt", &certificate), ("tls.key", &key)]);
    let good = backup("active", &format!("type: kubernetes.io/tls\n{both}"));
    let wrapped: String =
        BASE64_STANDARD.encode(&key).as_bytes().chunks(70).map(|line| format!("    {}\n", str::from_utf8(line).unwrap())).collect();
    let uncertified = "in:1:1: it has no certificate (`tls.crt`); its key is tried all the same";
    let json = serde_json::json!({"kind": "SecretList", "items": [{"metadata": {}, "data": {"tls.key": BASE64_STANDARD.encode(&key)}}]});
    vec![
        ("opaque", backup("active", &format!("type: Opaque\n{both}")), vec![]),
        ("no-type", backup("active", &both), vec![]),
        ("no-label", backup("active", &both).replace("  labels:\n    sealedsecrets.bitnami.com/sealed-secrets-key: active\n", ""), vec![]),
        ("labels-null", backup("active", &both).replace("    sealedsecrets.bitnami.com/sealed-secrets-key: active\n", ""), vec![]),
        (
            "compromised",
            backup("compromised", &both),
            vec!["in:1:1: its label says that the controller does not use this key; its key is tried all the same"],
        ),
        (
            "one-compromised-of-two",
            format!("{}---\n{good}", backup("compromised", &data(&[("tls.key", &other)]))),
            vec!["in:1:1: its label says that the controller does not use this key; its key is tried all the same", uncertified],
        ),
        ("no-certificate", backup("active", &data(&[("tls.key", &key)])), vec![uncertified]),
        ("wrapped", backup("active", &format!("data:\n  tls.key: |\n{wrapped}")), vec![uncertified]),
        (
            "in-the-clear",
            backup("active", &format!("stringData:\n  tls.crt: |\n{}  tls.key: |\n{}", block(&certificate), block(&key))),
            vec![],
        ),
        ("secret-list", json.to_string(), vec!["in:1:11: it has no certificate (`tls.crt`); its key is tried all the same"]),
        (
            "the-certificate-of-another-key",
            backup("active", &data(&[("tls.crt", &pem("certificates/good.crt")), ("tls.key", &key)])),
            vec!["in:1:1: its certificate is that of another key; its key is tried all the same"],
        ),
        (
            "the-certificate-is-none",
            backup("active", &format!("data:\n  tls.crt: hunter2!\n  tls.key: {}\n", BASE64_STANDARD.encode(&key))),
            vec!["in:1:1: its certificate (`tls.crt`) cannot be read; its key is tried all the same"],
        ),
        (
            "another-data-key",
            backup("active", &data(&[("tls.crt", &certificate), ("sealing.pem", &key)])),
            vec!["in:1:1: its private key is not in `tls.key`; its key is tried all the same"],
        ),
        ("beside-others", format!("{CONFIG_MAP}---\n{good}"), vec![]),
        (
            "beside-a-broken-document",
            format!("kind: Secret\na: 'hunter2\n---\n{good}"),
            vec!["in:2:4: unexpected end: a quote or bracket is not closed; skipped"],
        ),
        (
            "beside-a-bad-value",
            format!("{}---\n{good}", backup("active", "data: {tls.key: hunter2!}\n")),
            vec!["in:7:17: `data[tls.key]`: not base64; skipped"],
        ),
        (
            "beside-a-key-of-another-kind",
            format!("{good}---\n{}", backup("active", &data(&[("tls.key", &pem("private-keys/ec.pem"))]))),
            vec!["in:12:1: not a sound RSA private key of two primes; skipped"],
        ),
        (
            "beside-a-weak-key",
            format!("{}---\n{good}", backup("active", &data(&[("tls.key", &pem("private-keys/p-q-close.pem"))]))),
            vec!["in:1:1: the RSA private key is weak: its two primes are too close to each other; skipped"],
        ),
        (
            "in-the-clear-twice",
            backup("active", &format!("{both}stringData: {{tls.key: hunter2}}\n")),
            vec!["in:1:1: no private key in it; skipped"],
        ),
        (
            "json-lines",
            format!("{}\n{}\n", json["items"][0].to_string().replacen('{', "{\"kind\": \"Secret\", ", 1), CONFIG_MAP_IN_JSON),
            vec!["in:1:1: it has no certificate (`tls.crt`); its key is tried all the same"],
        ),
        (
            "json-array",
            format!("[{}, {CONFIG_MAP_IN_JSON}]", json["items"][0].to_string().replacen('{', "{\"kind\": \"Secret\", ", 1)),
            vec!["in:1:2: it has no certificate (`tls.crt`); its key is tried all the same"],
        ),
        ("base64-of-pem", BASE64_STANDARD.encode(&key), vec![]),
        (
            "pem-beside-a-key-of-another-kind",
            format!("{key}{}", pem("private-keys/ec.pem")),
            vec!["in:29:1: not a sound RSA private key of two primes; skipped"],
        ),
        (
            "beside-one-without-a-key",
            format!("{}---\n{good}", backup("active", "data: {a: YQ==}\n")),
            vec!["in:1:1: no private key in it; skipped"],
        ),
    ]
}

#[test]
fn every_key_of_a_backup_is_tried_and_what_is_odd_is_said() {
    let sandbox = Sandbox::bootstrapped();
    let value = sandbox.value("vllm-api-key");
    for (what, text, warnings) in backups() {
        sandbox.write_secret("in", text.as_bytes());
        let ran = sandbox.run(["unseal", "--recovery-private-key", "in", "--value", "vllm-api-key"]);
        let warnings: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
        assert_eq!((ran.code, ran.stdout, ran.stderr), (0, value.clone(), warnings), "{what}");
    }
}

#[test]
fn a_key_in_another_form_is_an_error_that_leads_to_pem() {
    let sandbox = Sandbox::bootstrapped();
    let key = fixture_text(OWN_KEY);
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let der = "pass `--recovery-private-key <(openssl pkey -inform DER -in FILE)` instead, or ";
    let printf = "where `\\n` stands for them, pass `<(printf '%b' \"$(cat FILE)\")` in its place; or ";
    let lost = "in:1:1: the line feeds of this PEM are missing";
    for (what, bytes, says, help) in [
        ("der", BASE64_STANDARD.decode(body).unwrap(), "in: DER, not PEM", der),
        ("binary", b"\x8c\r\x04\t\x03\n\xff".to_vec(), "in: binary, not PEM", "pass the private key in PEM; "),
        ("on-one-line", key.replace('\n', " ").into_bytes(), lost, printf),
        ("line-feeds-escaped", key.replace('\n', "\\n").into_bytes(), lost, printf),
    ] {
        sandbox.write_secret("in", &bytes);
        let ran = sandbox.run(["unseal", "--recovery-private-key", "in"]).expect(3);
        assert!(ran.stderr.starts_with(&format!("error: {says}\nhelp: {help}")) && ran.stdout.is_empty(), "{what}: {}", ran.stderr);
    }
}

#[test]
fn a_backup_without_a_readable_key_is_an_error_with_the_place_of_the_first() {
    let sandbox = Sandbox::bootstrapped();
    let bad = backup("active", "data: {tls.key: hunter2!}\n");
    let none = backup("active", "data: {a: YQ==}\n");
    for (what, text, says) in [
        ("all-bad", format!("{bad}---\n{none}"), "in:7:17: `data[tls.key]`: not base64"),
        ("no-key", format!("{none}---\n{bad}"), "in:1:1: no private key in it"),
        ("no-secret", CONFIG_MAP.into(), "in: no private key in it"),
        ("encrypted-with-sops", format!("{bad}sops: {{}}\n"), "in:8:7: still encrypted with sops"),
    ] {
        sandbox.write_secret("in", text.as_bytes());
        let ran = sandbox.run(["unseal", "--recovery-private-key", "in"]).expect(3);
        assert_eq!(ran.stderr.lines().next(), Some(format!("error: {says}").as_str()), "{what}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hunter") && ran.stdout.is_empty(), "{what}: {}", ran.stderr);
    }
}
