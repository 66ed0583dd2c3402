//! The files that leave this repository: kustomize and kubectl build them, git takes what must be committed, kubeseal can read them.

use std::collections::BTreeSet;
use std::process::Command;

use serde_yaml::Value;

use crate::common::{Ran, Sandbox, USUAL, finish, git, leave_out, needs, printed, program, test, tool};

/// `kustomize build` of a folder, with kustomize or kubectl, whichever is in PATH; without either, the test is skipped. Warnings
/// come from them, and differ from version to version.
pub fn build(sandbox: &Sandbox, folder: &str) -> Option<Ran> {
    let (program, verb) = match (tool("kustomize"), tool("kubectl")) {
        (Some(kustomize), _) => (kustomize, "build"),
        (None, Some(kubectl)) => (kubectl, "kustomize"),
        (None, None) => {
            leave_out(&test(), "kustomize, or kubectl");
            return None;
        }
    };
    let mut command = Command::new(program);
    command.args([verb, folder]).current_dir(sandbox.path(""));
    let ran = finish(command);
    Some(if ran.code == 0 { Ran { stderr: String::new(), ..ran } } else { ran })
}

fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n").map(|text| serde_yaml::from_str(text).unwrap()).collect()
}

fn kind_and_name(document: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    format!("{} {}/{}", text(&document["kind"]), text(&document["metadata"]["namespace"]), text(&document["metadata"]["name"]))
}

#[test]
fn kustomize_builds_everything_that_is_applied() {
    let sandbox = Sandbox::bootstrapped();
    let Some(built) = build(&sandbox, "out") else { return };
    let built = documents(&built.expect(0).stdout);
    let found: BTreeSet<String> = built.iter().map(kind_and_name).collect();
    assert_eq!(built.len(), 20);
    for expected in [
        "Namespace -/secret-source",
        "ServiceAccount external-secrets/eso-reader",
        "Role secret-source/eso-reader",
        "RoleBinding secret-source/eso-reader",
        "ClusterSecretStore -/secret-store",
        "SealedSecret secret-source/dex-admin-hash",
        "SealedSecret secret-source/dex-admin-password",
    ] {
        assert!(found.contains(expected), "{expected} is missing from {found:?}");
    }
}

/// Field by field what ESO accepts (its reference of the Kubernetes provider).
#[test]
fn the_store_is_the_one_that_eso_accepts() {
    let sandbox = Sandbox::bootstrapped();
    let store: Value = serde_yaml::from_str(&sandbox.read("out/secret-store/cluster-secret-store.yaml")).unwrap();
    let expected: Value = serde_yaml::from_str(
        "apiVersion: external-secrets.io/v1
kind: ClusterSecretStore
metadata: { name: secret-store }
spec:
  provider:
    kubernetes:
      remoteNamespace: secret-source
      server:
        url: https://kubernetes.default.svc
        caProvider: { type: ConfigMap, name: kube-root-ca.crt, namespace: external-secrets, key: ca.crt }
      auth:
        serviceAccount: { name: eso-reader, namespace: external-secrets }
  conditions:
    - namespaces: [agentgateway-system, argocd, cert-manager, dex, experience, external-dns, kserve, litellm, monitoring, n8n, oauth2-proxy, serving]
",
    )
    .unwrap();
    assert_eq!(store, expected);
    let role: Vec<Value> =
        sandbox.read("out/secret-source/rbac.yaml").split("---\n").map(|text| serde_yaml::from_str(text).unwrap()).collect();
    let rule = &role[0]["rules"][0];
    assert_eq!(rule["verbs"], serde_yaml::from_str::<Value>("[get]").unwrap());
    assert_eq!(rule["resourceNames"].as_sequence().unwrap().len(), 17);
}

/// A small platform: each ExternalSecret of the contract, one kustomization per namespace.
fn platform(sandbox: &Sandbox) {
    let contract = sandbox.run(["contract", "--format", "json"]).expect(0).stdout;
    let contract: serde_json::Value = serde_json::from_str(&contract).unwrap();
    for consumer in contract["consumers"].as_array().unwrap() {
        let (Some(name), namespace) = (consumer["name"].as_str(), consumer["namespace"].as_str().unwrap()) else { continue };
        let entry =
            |entry: &serde_json::Value| serde_json::json!({ "secretKey": entry["secretKey"], "remoteRef": { "key": entry["key"] } });
        let data: Vec<_> = consumer["data"].as_array().unwrap().iter().map(entry).collect();
        let manifest = serde_json::json!({
            "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": { "name": name },
            "spec": { "secretStoreRef": { "name": "secret-store", "kind": "ClusterSecretStore" }, "data": data },
        });
        let folder = format!("apps/{namespace}-{name}");
        sandbox.write(&format!("{folder}/es.yaml"), manifest.to_string().as_bytes());
        // The namespace comes from the kustomization, as in many real ones: a patch must still match.
        let kustomization = format!("namespace: {namespace}\nresources: [es.yaml]\ncomponents: [../../out/property-patches]\n");
        sandbox.write(&format!("{folder}/kustomization.yaml"), kustomization.as_bytes());
    }
}

#[test]
fn the_component_adds_the_property_to_every_entry_and_nothing_else() {
    let sandbox = Sandbox::bootstrapped();
    platform(&sandbox);
    let (mut manifests, mut entries) = (0, 0);
    for folder in std::fs::read_dir(sandbox.path("apps")).unwrap() {
        let folder = format!("apps/{}", folder.unwrap().file_name().to_string_lossy());
        let Some(built) = build(&sandbox, &folder) else { return };
        let mut built: Value = serde_yaml::from_str(&built.expect(0).stdout).unwrap();
        for entry in built["spec"]["data"].as_sequence_mut().unwrap() {
            let property = entry["remoteRef"].as_mapping_mut().unwrap().remove("property");
            assert_eq!(property, Some("value".into()), "{folder}");
            entries += 1;
        }
        built["metadata"].as_mapping_mut().unwrap().remove("namespace");
        let original: Value = serde_yaml::from_str(&sandbox.read(&format!("{folder}/es.yaml"))).unwrap();
        assert_eq!(built, original, "{folder}");
        manifests += 1;
    }
    assert_eq!((manifests, entries), (15, 25));
}

#[test]
fn a_reordered_external_secret_fails_the_build() {
    let sandbox = Sandbox::bootstrapped();
    platform(&sandbox);
    let file = "apps/oauth2-proxy-oauth2-proxy-secrets/es.yaml";
    let Some(built) = build(&sandbox, "apps/oauth2-proxy-oauth2-proxy-secrets") else { return };
    built.expect(0);
    // Nothing else is wrong with it; the message for a failed test differs from version to version.
    let mut manifest: serde_json::Value = serde_json::from_str(&sandbox.read(file)).unwrap();
    manifest["spec"]["data"].as_array_mut().unwrap().reverse();
    sandbox.write(file, manifest.to_string().as_bytes());
    let Some(built) = build(&sandbox, "apps/oauth2-proxy-oauth2-proxy-secrets") else { return };
    assert_ne!(built.code, 0);
}

/// The rules of the platform.
pub const PLATFORM_RULES: &str =
    "*-secret.yaml\n*.secret.yaml\nsecrets/\n*.key\n*.pem\n.env*\n*.agekey\n*.bak\n*.tmp\nkubeconfig\ndocs/private/\n";

#[test]
fn git_takes_what_must_be_committed_and_nothing_else() {
    needs!("git");
    // With the platform's rules, and in a repository that has none.
    for rules in [PLATFORM_RULES, ""] {
        let sandbox = Sandbox::empty().without_hash();
        git(&sandbox, &["init", "-q"]);
        sandbox.write(".gitignore", rules.as_bytes());
        sandbox.make_key(["keygen"]).expect(0);
        sandbox.run(["bootstrap"]).expect(0);
        sandbox.run(["verify"]).finds(&USUAL);
        git(&sandbox, &["add", "-A"]);
        let taken: BTreeSet<String> = git(&sandbox, &["ls-files"]).lines().map(str::to_owned).collect();
        let root = sandbox.path("");
        let mut expected: BTreeSet<String> = sandbox
            .snapshot()
            .into_keys()
            .filter(|path| path.is_file() && path.starts_with(sandbox.path("out")))
            .map(|path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned())
            .collect();
        expected.extend(
            [
                ".gitignore",
                "contract.yaml",
                "seal-secrets.yaml",
                "keys/.gitattributes",
                "keys/.gitignore",
                "keys/sealed.txt",
                "keys/sealing.crt",
            ]
            .map(str::to_owned),
        );
        assert_eq!(taken, expected);
    }
}

/// The other direction is in `vectors.rs`: values that the real kubeseal sealed.
#[test]
fn the_real_kubeseal_opens_what_we_seal() {
    needs!("kubeseal");
    let sandbox = Sandbox::bootstrapped();
    sandbox.write_secret("key.yaml", sandbox.run(["key-secret"]).expect(0).stdout.as_bytes());
    let mut command = Command::new(program("kubeseal"));
    command.args(["--recovery-unseal", "--recovery-private-key", "key.yaml", "-o", "json"]).current_dir(sandbox.path(""));
    command.stdin(std::fs::File::open(sandbox.path("out/secret-source/vllm-api-key.sealed.yaml")).unwrap());
    let opened: serde_json::Value = serde_json::from_str(&printed(command)).unwrap();
    let value = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, opened["data"]["value"].as_str().unwrap()).unwrap();
    assert_eq!(sandbox.value("vllm-api-key").as_bytes(), value);
}
