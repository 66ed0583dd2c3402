//! Ways in and out: values from other tools' mappings and JSON, PushSecrets for another store, and what to restart after a rotation.

use crate::common::Sandbox;

const CONTRACT: &str = "version: 2\nstore: s\nnamespace: source\nreader: { name: r, namespace: eso }\nsecrets:\n  - name: app\n    about: x\n    after-rotation: { note: tell the team, restart: [{ deployment: web, namespace: shop }, { statefulset: db, namespace: shop }] }\n    values:\n      user: { plain: app }\n      pw: { alphanumeric: { length: 32 } }\n      tls.token: { hex: { bytes: 16 } }\n  - name: single\n    about: one\n    after-rotation: { restart: [{ deployment: web, namespace: shop }] }\n    recipe: { hex: { bytes: 16 } }\n";

const PW: &str = "Zq8rT1mDk3xZq8rT1mDk3xZq8rT1mDk3";
const HEX: &str = "00112233445566778899aabbccddeeff";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("c.yaml", CONTRACT.as_bytes());
    sandbox
}

fn run(sandbox: &Sandbox, args: &[&str]) -> crate::common::Ran {
    sandbox.run([args, &["--contract", "c.yaml"]].concat())
}

#[test]
fn mappings_of_other_tools_are_imported() {
    let mapping = format!("pw: {PW}\ntls.token: \"{HEX}\"\nother: 1\n");
    let vault_2 =
        format!(r#"{{"request_id":"r","lease_id":"","data":{{"data":{{"pw":"{PW}","tls.token":"{HEX}"}},"metadata":{{"version":3}}}}}}"#);
    let vault_1 = format!(r#"{{"request_id":"r","lease_duration":1,"data":{{"pw":"{PW}","tls.token":"{HEX}"}}}}"#);
    for (what, text) in [("sops -d", &mapping), ("vault, version 2", &vault_2), ("vault, version 1", &vault_1)] {
        let sandbox = sandbox();
        sandbox.write_secret("in", text.as_bytes());
        run(&sandbox, &["import", "--values", "app=in"]).expect(0);
        for (key, value) in [("app/pw", PW), ("app/tls.token", HEX)] {
            assert_eq!(run(&sandbox, &["unseal", "--value", key, "--reveal"]).expect(0).stdout, value, "{what}: {key}");
        }
        assert!(
            run(&sandbox, &["verify", "--identity", "keys/operator.agekey"]).stdout.contains("unit-missing"),
            "{what}: only `single` is missing"
        );
    }
}

#[test]
fn single_fields_of_any_json_are_imported() {
    let sandbox = sandbox();
    sandbox.write_secret("in", format!(r#"{{"a":{{"b.c":["x","{PW}"]}},"d":"{HEX}"}}"#).as_bytes());
    run(&sandbox, &["import", "--json-file", "in", "--json-key", "app/pw=.a.b.c.1", "--json-key", "single=d"]).expect(0);
    assert_eq!(run(&sandbox, &["unseal", "--value", "app/pw", "--reveal"]).expect(0).stdout, PW);
    assert_eq!(run(&sandbox, &["unseal", "--value", "single", "--reveal"]).expect(0).stdout, HEX);
}

#[test]
fn what_is_no_mapping_is_told_and_never_quoted() {
    let sandbox = sandbox();
    let secret = "hunter2hunter2hunter2";
    for (text, args, code, says) in [
        (secret.to_owned(), &["--values", "app=in"][..], 3, "not a mapping"),
        (format!("pw: [{secret}]\n"), &["--values", "app=in"], 3, "the field of `app/pw` is no text"),
        (format!("pw: {secret}\n---\npw: {secret}\n"), &["--values", "app=in"], 3, "several documents"),
        (format!("pw: \"{secret}\n"), &["--values", "app=in"], 3, "in"),
        (format!("pw: ENC[AES256_GCM,data:{secret},type:str]\nsops: {{}}\n"), &["--values", "app=in"], 3, "is still encrypted with sops"),
        (format!("pw: {secret}\n"), &["--values", "ap=in"], 2, "a Secret that the contract does not have"),
        (format!("a: {secret}\n"), &["--json-file", "in", "--json-key", "single=b.c"], 3, "it has no text for `single`"),
        (format!("a: {secret}\n"), &["--json-file", "in", "--json-key", "other=a"], 2, "names a key that the contract does not have"),
        (format!("a: {secret}\n"), &["--json-file", "in"], 2, "`--json-key`"),
    ] {
        sandbox.write_secret("in", text.as_bytes());
        let ran = run(&sandbox, &[&["import"], args].concat()).expect(code);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hunter"), "{}", ran.stderr);
    }
    assert!(!sandbox.path("out").exists(), "nothing was made");
}

#[test]
fn values_are_pushed_to_another_store() {
    let sandbox = sandbox();
    run(&sandbox, &["bootstrap"]).expect(0);
    let one = |name: &str, from: &str, kind: &str| {
        format!(
            "apiVersion: external-secrets.io/v1alpha1\nkind: PushSecret\nmetadata:\n  name: {name}\n  namespace: source\nspec:\n  data:\n  - match:\n      remoteRef:\n        remoteKey: {name}\n{from}  deletionPolicy: None\n  refreshInterval: 1h\n  secretStoreRefs:\n  - kind: {kind}\n    name: hosted\n  selector:\n    secret:\n      name: {name}\n  updatePolicy: IfNotExists\n"
        )
    };
    let export = |args: &[&str]| run(&sandbox, &[&["export", "--push-secrets", "hosted"], args].concat()).expect(0).stdout;
    let kind = "ClusterSecretStore";
    assert_eq!(export(&[]), format!("{}---\n{}", one("app", "", kind), one("single", "", kind)));
    let bare = "      secretKey: value\n";
    let kind = "SecretStore";
    let expected = format!("{}---\n{}", one("app", "", kind), one("single", bare, kind));
    assert_eq!(export(&["--bare-values", "--kind", kind]), expected);
    let none = Sandbox::with_keys();
    none.write("c.yaml", CONTRACT.as_bytes());
    run(&none, &["export", "--push-secrets", "hosted"]).expect(3);
}

#[test]
fn a_rotation_prints_each_restart_once_and_in_order() {
    let sandbox = sandbox();
    run(&sandbox, &["bootstrap"]).expect(0);
    let said = run(&sandbox, &["rotate", "app", "single", "--yes"]).expect(0).stdout;
    let expected = "     single: no ExternalSecret reads it\n     kubectl -n shop rollout restart deployment/web\n     kubectl -n shop rollout restart statefulset/db\n";
    assert!(said.ends_with(expected) && said.contains("; tell the team\n"), "{said}");
    let json = run(&sandbox, &["rotate", "single", "--dry-run", "-o", "json"]).expect(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["after"][0]["commands"], serde_json::json!(["kubectl -n shop rollout restart deployment/web"]));
    for (from, says) in [
        ("{ deployment: web, namespace: shop }, {", "`secrets[0].after-rotation.restart[0]` names no workload"),
        ("note: tell", "unknown field `secrets[0].after-rotation.nota`"),
    ] {
        let to = if from.starts_with('{') { "{ namespace: shop }, {" } else { "nota: tell" };
        sandbox.write("c.yaml", CONTRACT.replacen(from, to, 1).as_bytes());
        assert!(run(&sandbox, &["plan"]).expect(3).stderr.contains(says));
    }
}
