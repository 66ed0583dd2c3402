//! Recovery: with the escrow, with backups of the controller's keys, of any SealedSecret file.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::common::{Sandbox, at_the_prompt, fixture_text, needs};

#[test]
fn it_prints_the_secrets_that_the_controller_would_make() {
    let sandbox = Sandbox::bootstrapped();
    let yaml = sandbox.run(["unseal"]).expect(0).stdout;
    let documents: Vec<serde_yaml::Value> = yaml.split("---\n").map(|text| serde_yaml::from_str(text).unwrap()).collect();
    assert_eq!(documents.len(), 15);
    for document in &documents {
        assert_eq!(
            (document["apiVersion"].as_str(), document["kind"].as_str(), document["type"].as_str()),
            (Some("v1"), Some("Secret"), Some("Opaque"))
        );
        assert_eq!(document["metadata"]["namespace"].as_str(), Some("secret-source"));
        let name = document["metadata"]["name"].as_str().unwrap();
        let value = BASE64_STANDARD.decode(document["data"]["value"].as_str().unwrap()).unwrap();
        assert_eq!(sandbox.value(name).as_bytes(), value);
    }
    let json = sandbox.run(["unseal", "-o", "json"]).expect(0).stdout;
    let list: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((list["kind"].as_str(), list["items"].as_array().unwrap().len()), (Some("List"), 15));
    let one = sandbox.run(["unseal", "-o", "json", "vllm-api-key"]).expect(0).stdout;
    let one: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!((one["kind"].as_str(), one["metadata"]["name"].as_str()), (Some("Secret"), Some("vllm-api-key")));
}

#[test]
fn every_form_of_recovery_key_opens_the_same() {
    let sandbox = Sandbox::usual();
    let expected = sandbox.run(["unseal"]).expect(0).stdout;
    for file in ["good-pkcs8.pem", "good-pkcs1.pem", "two-keys.pem", "key-secret.yaml", "key-secret.json", "key-list.yaml", "key-list.json"]
    {
        let text = fixture_text(&format!("fixtures/private-keys/{file}"));
        sandbox.write_secret("recovery", text.as_bytes());
        assert_eq!(sandbox.run(["unseal", "--recovery-private-key", "recovery"]).expect(0).stdout, expected, "{file}");
        assert_eq!(sandbox.run_with_input(["unseal", "--recovery-private-key", "-"], text.as_bytes()).expect(0).stdout, expected, "{file}");
    }
    sandbox.write_secret("other", fixture_text("fixtures/private-keys/other.pem").as_bytes());
    sandbox.write_secret("good", fixture_text("fixtures/private-keys/good-pkcs8.pem").as_bytes());
    assert_eq!(sandbox.run(["unseal", "--recovery-private-key", "other,good"]).expect(0).stdout, expected);
    let ran = sandbox.run(["unseal", "--recovery-private-key", "other"]).expect(6);
    assert!(ran.stderr.contains("tried sha256:") && ran.stdout.is_empty(), "{}", ran.stderr);
}

#[test]
fn any_sealed_secret_file_of_any_scope_opens() {
    let vectors: serde_json::Value = serde_json::from_str(&fixture_text("vectors/sealed.json")).unwrap();
    let sandbox = Sandbox::empty();
    for scope in ["strict", "namespace-wide", "cluster-wide"] {
        for key in ["a-2048", "a-4096"] {
            let der = BASE64_STANDARD.decode(vectors["keys"][key]["private_key_pkcs8_der_base64"].as_str().unwrap()).unwrap();
            sandbox.write_secret("key.pem", seal_secrets::pipeline::pem::write("PRIVATE KEY", &der).as_bytes());
            let mut cases = vectors["cases"].as_array().unwrap().iter();
            let wanted = |case: &&serde_json::Value| {
                case["opens"] == true && case["scope"] == scope && case["key"] == key && case["plaintext"] != ""
            };
            let case = cases.find(wanted).unwrap();
            let annotation = if scope == "strict" { String::new() } else { format!("sealedsecrets.bitnami.com/{scope}: \"true\"") };
            // As kubeseal writes it, with its nulls.
            let text = format!(
                "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  creationTimestamp: null\n  name: {}\n  namespace: {}\n  annotations: {{{annotation}}}\nspec:\n  encryptedData:\n    data: {}\n  template:\n    metadata:\n      creationTimestamp: null\n      labels: {{a: b}}\n      annotations: {{{annotation}}}\n    type: kubernetes.io/basic-auth\n    immutable: true\n",
                case["name"].as_str().unwrap(),
                case["namespace"].as_str().unwrap(),
                case["blob"].as_str().unwrap(),
            );
            sandbox.write("sealed.yaml", text.as_bytes());
            let ran = sandbox.run(["unseal", "-f", "sealed.yaml", "--recovery-private-key", "key.pem", "-o", "json"]).expect(0);
            let secret: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
            assert_eq!(secret["data"]["data"], case["plaintext"], "{scope} {key}");
            assert_eq!((&secret["type"], &secret["immutable"]), (&"kubernetes.io/basic-auth".into(), &true.into()));
            assert_eq!(secret["metadata"]["labels"]["a"], "b");
            let name = |secret: &serde_json::Value| (secret["metadata"]["name"].clone(), secret["metadata"]["namespace"].clone());
            assert_eq!(name(&secret), (case["name"].clone(), case["namespace"].clone()));
            let ran = sandbox.run_with_input(["unseal", "-f", "-", "--recovery-private-key", "key.pem", "-o", "json"], text.as_bytes());
            assert_eq!(serde_json::from_str::<serde_json::Value>(&ran.expect(0).stdout).unwrap(), secret);
            // It opens with what it was sealed for, whatever the file says; a cluster-wide one may be anywhere.
            let namespace = case["namespace"].as_str().unwrap();
            sandbox.edit("sealed.yaml", &format!("namespace: {namespace}\n"), "namespace: elsewhere\n");
            let args = ["unseal", "-f", "sealed.yaml", "--namespace", namespace, "--recovery-private-key", "key.pem", "-o", "json"];
            let moved: serde_json::Value = serde_json::from_str(&sandbox.run(args).expect(0).stdout).unwrap();
            let expected = if scope == "cluster-wide" { "elsewhere" } else { namespace };
            assert_eq!((name(&moved), &moved["data"]), ((case["name"].clone(), expected.into()), &secret["data"]), "{scope}");
        }
    }
}

#[test]
fn a_bare_value_has_no_line_feed_and_an_unknown_key_is_said() {
    let sandbox = Sandbox::bootstrapped();
    assert!(!sandbox.value("litellm-master-key").ends_with('\n'));
    sandbox.run(["unseal", "--value", "no-such-key"]).expect(2);
    sandbox.run(["unseal", "no-such-key"]).expect(2);
}

#[test]
fn a_terminal_sees_nothing_without_reveal() {
    needs!("script");
    let sandbox = Sandbox::bootstrapped();
    let value = sandbox.value("vllm-api-key");
    for (args, code, reveals) in [
        ("unseal --value vllm-api-key", "code=4", false),
        ("key-secret", "code=4", false),
        ("unseal --value vllm-api-key --reveal", "code=0", true),
    ] {
        let shown = at_the_prompt(&sandbox, args, &[]);
        assert!(shown.contains(code) && shown.contains(&value) == reveals && shown.contains("--reveal") != reveals, "{shown}");
    }
}

#[test]
fn recovery_needs_no_certificate() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.remove("keys/sealing.crt");
    sandbox.run(["unseal"]).expect(0);
}
