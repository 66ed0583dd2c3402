//! The commands that use a cluster: `key-secret --apply` and `fetch-cert`.

use std::process::{Command, Output};

use crate::harness::{Cluster, OWN_KEY};
use crate::repository::{Repository, state_home};

/// Runs the binary in that folder, without the caller's environment.
pub fn run(folder: &std::path::Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seal-secrets"));
    let Output { status, stdout, stderr } =
        command.args(args).current_dir(folder).env_clear().env("XDG_STATE_HOME", state_home()).output().expect("seal-secrets starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

#[test]
fn the_key_secret_is_applied_and_read_back() {
    let (cluster, repository) = (Cluster::start(), Repository::bootstrapped());
    let kubeconfig = cluster.kubeconfig().to_string_lossy().into_owned();
    let apply = |more: &[&str]| run(&repository.path(""), &[&["key-secret", "--apply", "--kubeconfig", &kubeconfig], more].concat());
    let (code, stdout, stderr) = apply(&["--context", "admin"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("applied kube-system/sealed-secrets-key; read back, and it is the same"), "{stdout}");
    assert!(stderr.contains("context admin, https://192.0.2.10"), "{stderr}");
    assert!(!stdout.contains("PRIVATE KEY") && !stderr.contains("PRIVATE KEY"));
    let label = "sealedsecrets.bitnami.com/sealed-secrets-key=active";
    let found = cluster.kubectl(&["-n", "kube-system", "get", "secret", "-l", label, "-o", "jsonpath={.items[*].type}"]);
    assert_eq!(found, "kubernetes.io/tls");
    // A second time has the same result; and the controller serves it.
    assert_eq!(apply(&["--context", "admin"]).0, 0);
    cluster.start_sealed_secrets(OWN_KEY);
    let (code, stdout, stderr) = run(&repository.path(""), &["fetch-cert", "--kubeconfig", &kubeconfig]);
    assert!(code == 0 && stdout.contains("is pinned already"), "{stdout} {stderr}");
    // The cluster must be given, and must exist.
    assert_eq!(apply(&[]).0, 2);
    let (code, _, stderr) = apply(&["--context", "other"]);
    assert!(code == 7 && stderr.contains("it has `admin`"), "{stderr}");
    let (code, _, stderr) = apply(&["--context", "admin", "--controller-namespace", "nowhere"]);
    assert!(code == 7 && stderr.contains("kubectl create namespace nowhere"), "{stderr}");
    // An account without that right.
    cluster.kubectl(&["create", "serviceaccount", "nobody"]);
    let nobody = cluster.kubeconfig_for("default", "nobody").to_string_lossy().into_owned();
    let (code, _, stderr) = run(&repository.path(""), &["key-secret", "--apply", "--kubeconfig", &nobody, "--context", "default.nobody"]);
    assert!(code == 7 && stderr.contains("may not get"), "{stderr}");
}

#[test]
fn a_certificate_is_pinned_only_after_a_yes() {
    let cluster = Cluster::start();
    let kubeconfig = cluster.kubeconfig().to_string_lossy().into_owned();
    // The controller makes its own key.
    cluster.start_sealed_secrets(OWN_KEY);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fetch = |more: &[&str]| run(folder.path(), &[&["fetch-cert", "--kubeconfig", &kubeconfig], more].concat());
    let (code, _, stderr) = fetch(&[]);
    assert!(code == 4 && !folder.path().join("keys").exists(), "{stderr}");
    let digest =
        stderr.split_whitespace().find(|word| word.starts_with("sha256:")).expect("the digest is shown").trim_matches(',').to_owned();
    let other = format!("sha256:{}", "0".repeat(64));
    assert_eq!(fetch(&["--accept-certificate", &other]).0, 4);
    assert_eq!(fetch(&["--accept-certificate", "sha256:12"]).0, 2);
    assert_eq!(fetch(&["--accept-certificate", &digest]).0, 0);
    let pinned = std::fs::read(folder.path().join("keys/sealing.crt")).expect("it is pinned");
    let served =
        cluster.kubectl(&["get", "--raw", "/api/v1/namespaces/kube-system/services/http:sealed-secrets-controller:http/proxy/v1/cert.pem"]);
    assert_eq!(String::from_utf8_lossy(&pinned), served);
    assert!(fetch(&[]).1.contains("is pinned already"));
    // The controller opens what is sealed to it.
    let (code, _, stderr) = run(folder.path(), &["bootstrap"]);
    assert_eq!(code, 0, "{stderr}");
    // Another certificate in its place was never accepted here: the accepted one replaces it again.
    let ours = Repository::bootstrapped().path("keys/sealing.crt");
    std::fs::copy(&ours, folder.path().join("keys/sealing.crt")).expect("another certificate");
    let (code, stdout, stderr) = fetch(&[]);
    assert!(code == 0 && stdout.contains(&digest), "{stdout}{stderr}");
    assert_eq!(std::fs::read(folder.path().join("keys/sealing.crt")).expect("it is there"), pinned);
    // A Service of another name, and from a file.
    let (code, _, stderr) = fetch(&["--controller-name", "sealed-secrets"]);
    assert!(code == 7 && stderr.contains("--controller-name"), "{stderr}");
    let (code, _, stderr) = run(folder.path(), &["fetch-cert", "--file", &ours.to_string_lossy()]);
    assert!(code == 4 && stderr.contains("another certificate is pinned"), "{stderr}");
    // No cluster is ever used by default.
    assert_eq!(run(folder.path(), &["fetch-cert"]).0, 2);
}

#[test]
fn every_active_key_of_a_controller_is_backed_up() {
    let cluster = Cluster::start();
    let kubeconfig = cluster.kubeconfig().to_string_lossy().into_owned();
    cluster.start_sealed_secrets(OWN_KEY);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = |args: &[&str]| run(folder.path(), args);
    let backup = |more: &[&str]| run(&[&["backup", "--kubeconfig", &kubeconfig], more].concat());
    let (_, _, stderr) = run(&["fetch-cert", "--kubeconfig", &kubeconfig]);
    let digest =
        stderr.split_whitespace().find(|word| word.starts_with("sha256:")).expect("the digest is shown").trim_matches(',').to_owned();
    assert_eq!(run(&["fetch-cert", "--kubeconfig", &kubeconfig, "--accept-certificate", &digest]).0, 0);
    assert_eq!(run(&["bootstrap"]).0, 0);
    let (code, stdout, stderr) = backup(&[]);
    assert!(code == 0 && stdout.contains(&format!("added {digest}")) && stdout.contains("opens 15 of 15"), "{stdout} {stderr}");
    assert!(!stdout.contains("PRIVATE KEY") && !stderr.contains("PRIVATE KEY"));
    let escrow = std::fs::read_to_string(folder.path().join("keys/sealing.key.age")).expect("the escrow");
    assert!(escrow.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
    // A second time there is nothing to add; a second key is added, and the first stays.
    let (code, stdout, _) = backup(&[]);
    assert!(code == 0 && stdout.contains("holds all 1 active keys"), "{stdout}");
    let other = Repository::bootstrapped().run(&["key-secret"]);
    cluster.kubectl_with_input(&["apply", "-f", "-"], &String::from_utf8_lossy(&other));
    let (code, stdout, stderr) = backup(&[]);
    assert!(code == 0 && stdout.matches("added ").count() == 1 && stdout.contains("opens 15 of 15"), "{stdout} {stderr}");
    assert!(backup(&[]).1.contains("holds all 2 active keys"));
    // With the cluster gone, the escrow opens everything.
    let (code, value, _) = run(&["unseal", "--value", "vllm-api-key"]);
    assert!(code == 0 && value.len() == 64);
    // A value that another key sealed is listed.
    let third = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(self::run(third.path(), &["keygen"]).0, 0);
    assert_eq!(self::run(third.path(), &["bootstrap"]).0, 0);
    std::fs::copy(
        third.path().join("out/secret-source/vllm-api-key.sealed.yaml"),
        folder.path().join("out/secret-source/vllm-api-key.sealed.yaml"),
    )
    .expect("copied");
    let (code, stdout, _) = backup(&[]);
    assert!(code == 1 && stdout.contains("does not open: vllm-api-key") && stdout.contains("opens 14 of 15"), "{stdout}");
    // Without an identity that opens the escrow, nothing is written.
    std::fs::remove_file(folder.path().join("keys/operator.agekey")).expect("removed");
    assert_eq!(backup(&[]).0, 3);
    assert!(!std::fs::read_to_string(folder.path().join("keys/sealing.key.age")).expect("the escrow").is_empty());
}

#[test]
fn a_renewed_key_is_served_and_everything_is_synced() {
    // Another repository's key, older than all that follow.
    let old = Repository::bootstrapped();
    let (cluster, repository) = (Cluster::start(), Repository::new());
    let kubeconfig = cluster.kubeconfig().to_string_lossy().into_owned();
    crate::install(&cluster, &repository);
    let cluster_args = ["--kubeconfig", &kubeconfig, "--context", "admin"];
    let run = |args: &[&str]| run(&repository.path(""), args);
    let (code, _, stderr) = run(&["renew", "--yes"]);
    assert_eq!(code, 0, "{stderr}");
    // Its keys first, then what is sealed to them, as `renew` says.
    let (code, stdout, stderr) = run(&[&["key-secret", "--apply"], &cluster_args[..]].concat());
    assert!(code == 0 && stdout.contains("applied kube-system/sealed-secrets-key-2; read back"), "{stdout} {stderr}");
    cluster.kubectl(&["-n", "kube-system", "rollout", "restart", "deployment/sealed-secrets-controller"]);
    cluster.kubectl(&["-n", "kube-system", "rollout", "status", "deployment/sealed-secrets-controller", "--timeout=60s"]);
    let source = repository.path("out/secret-source");
    cluster.kubectl(&["apply", "-k", &source.to_string_lossy()]);
    let (code, stdout, _) = run(&[&["doctor", "--wait", "60s"], &cluster_args[..]].concat());
    assert_eq!(code, 0, "{stdout}");
    for (key, value) in &repository.values {
        let live = cluster.kubectl(&["-n", "secret-source", "get", "secret", key, "-o", "jsonpath={.data.value}"]);
        assert_eq!(live, *value, "{key}");
    }
    // The controller moves what is still sealed to the old key, and the values are those that the escrow opens.
    std::fs::create_dir(repository.path("git")).expect("a folder");
    for scope in ["strict", "namespace-wide", "cluster-wide"] {
        let mut kubeseal = cluster.program("kubeseal");
        kubeseal.args(["--scope", scope, "-o", "yaml", "--cert"]).arg(old.path("keys/sealing.crt"));
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "theirs", "namespace": "anywhere" }, "stringData": { "a": scope, "b": "b" },
        });
        let sealed = crate::kubectl::run(&mut kubeseal, &secret.to_string()).expect("kubeseal seals");
        std::fs::write(repository.path(&format!("git/{scope}.yaml")), format!("# a comment\n{sealed}")).expect("written");
    }
    let other = String::from_utf8_lossy(&old.run(&["key-secret"])).replace("name: sealed-secrets-key", "name: another");
    cluster.kubectl_with_input(&["apply", "-f", "-"], &other);
    cluster.kubectl(&["-n", "kube-system", "rollout", "restart", "deployment/sealed-secrets-controller"]);
    cluster.kubectl(&["-n", "kube-system", "rollout", "status", "deployment/sealed-secrets-controller", "--timeout=60s"]);
    let digest = repository.digest();
    let via = [&["re-encrypt", "git", "--via-controller", "--yes", "--accept-certificate", &digest], &cluster_args[..]].concat();
    let (code, stdout, stderr) = run(&via);
    assert!(code == 0 && stdout.contains("done: 3 SealedSecrets in 3 files"), "{stdout} {stderr}");
    for scope in ["strict", "namespace-wide", "cluster-wide"] {
        let (code, opened, stderr) = run(&["unseal", "-f", &format!("git/{scope}.yaml"), "-o", "json"]);
        assert_eq!(code, 0, "{stderr}");
        let opened: serde_json::Value = serde_json::from_str(&opened).expect("JSON");
        let decoded =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, crate::text(&opened["data"]["a"])).expect("base64");
        assert_eq!(decoded, scope.as_bytes());
        assert!(repository.read(&format!("git/{scope}.yaml")).starts_with("# a comment\n"));
    }
}
