//! Several clusters from one contract, and `copy` between them.

use crate::bootstrap::FORMS;
use crate::common::{Sandbox, usual_in};

pub fn two_clusters() -> Sandbox {
    apart(&Sandbox::hashless()).without_hash()
}

/// The sandbox's state as cluster `a`, beside a cluster `b` that has keys.
fn apart(sandbox: &Sandbox) -> Sandbox {
    let other = sandbox.beside();
    other.make_key(["keygen", "--cluster", "b"]).expect(0);
    std::fs::create_dir_all(other.path("out")).unwrap();
    std::fs::create_dir_all(other.path("secrets")).unwrap();
    for folder in ["keys", "out", "secrets"] {
        std::fs::rename(sandbox.path(folder), other.path(folder).join("a")).unwrap();
    }
    other
}

fn value(sandbox: &Sandbox, cluster: &str, key: &str) -> String {
    sandbox.run(["unseal", "--cluster", cluster, "--value", key]).expect(0).stdout
}

#[test]
fn each_cluster_has_its_own_folders() {
    let sandbox = Sandbox::empty();
    let ran = sandbox.make_key(["keygen", "--cluster", "prod"]).expect(0);
    assert!(ran.stdout.contains("made keys/prod/sealing.crt"), "{}", ran.stdout);
    let ran = sandbox.run(["bootstrap", "--cluster", "prod"]).expect(0);
    assert!(ran.stdout.contains("seal   out/prod/secret-source/vllm-api-key.sealed.yaml (new)"), "{}", ran.stdout);
    assert_eq!(sandbox.read("secrets/prod/dex-admin-password"), value(&sandbox, "prod", "dex-admin-password"));
    let runbook = sandbox.read("out/prod/INSTALL.md");
    assert!(
        runbook.contains(
            "seal-secrets --keys ../../keys/prod --out . --secrets ../../secrets/prod key-secret --apply --context \"${CONTEXT:?}\"\n"
        ),
        "{runbook}"
    );
    assert!(sandbox.run(["bootstrap", "--cluster=prod"]).expect(0).stdout.starts_with("nothing to do"));
    sandbox.run(["verify", "--cluster", "prod", "--identity", "keys/prod/operator.agekey"]).finds(&usual_in("keys/prod", "out/prod"));
    for folder in ["keys", "out", "secrets"] {
        let names: Vec<_> = std::fs::read_dir(sandbox.path(folder)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["prod"], "{folder}");
    }
    for wrong in ["..", "a/b", "A", ""] {
        sandbox.run(["plan", "--cluster", wrong]).expect(2);
    }
    sandbox.run(["plan", "--cluster", "a", "--cluster", "b"]).expect(2);
}

#[test]
fn the_same_values_are_sealed_for_another_cluster() {
    let sandbox = two_clusters();
    let all: Vec<&str> = FORMS.iter().map(|(key, _)| *key).collect();
    let before: Vec<_> = sandbox.snapshot().into_iter().filter(|(path, _)| path.to_string_lossy().contains("/a/")).collect();
    let plan = sandbox.run(["copy", "--from", "a", "--to", "b", "--dry-run"]).expect(0).stdout;
    assert!(plan.contains("from   out/a/secret-source/litellm-salt-key.sealed.yaml: litellm-salt-key\n"), "{plan}");
    assert!(!sandbox.path("out/b").exists());
    sandbox.run(["copy", "--from", "a", "--to", "b"]).expect(0);
    for key in ["litellm-salt-key", "dex-admin-password", "dex-admin-hash", "oauth2-proxy-cookie-secret"] {
        assert_eq!(value(&sandbox, "a", key), value(&sandbox, "b", key), "{key}");
    }
    let day = |cluster: &str| {
        let text = sandbox.read(&format!("out/{cluster}/secret-source/vllm-api-key.sealed.yaml"));
        text.lines().find(|line| line.contains("seal-secrets/made")).unwrap().to_owned()
    };
    assert_eq!(day("a"), day("b"), "the day is that of the value");
    let ran = sandbox.run(["verify", "--cluster", "b", "--identity", "keys/b/operator.agekey"]).finds(&usual_in("keys/b", "out/b"));
    assert!(ran.stdout.contains("good: "), "{}", ran.stdout);
    let after: Vec<_> = sandbox.snapshot().into_iter().filter(|(path, _)| path.to_string_lossy().contains("/a/")).collect();
    assert_eq!(before, after, "the first cluster's files are only read");
    // A second time there is nothing to do; existing values stay unless they are listed.
    assert!(sandbox.run(["copy", "--from", "a", "--to", "b"]).kept(&all).stdout.starts_with("nothing to do"));
    sandbox.run(["rotate", "--cluster", "b", "vllm-api-key", "--yes"]).expect(0);
    let rotated = value(&sandbox, "b", "vllm-api-key");
    sandbox.run(["copy", "--from", "a", "--to", "b"]).kept(&all);
    assert_eq!(value(&sandbox, "b", "vllm-api-key"), rotated);
    sandbox.run(["copy", "--from", "a", "--to", "b", "--replace", "vllm-api-key", "vllm-api-key", "--yes"]).expect(0);
    assert_eq!(value(&sandbox, "a", "vllm-api-key"), value(&sandbox, "b", "vllm-api-key"));
}

#[test]
fn only_what_is_named_is_copied_and_both_clusters_are() {
    let sandbox = apart(&Sandbox::bootstrapped());
    sandbox.run(["copy", "--from", "a", "--to", "b", "dex-admin-hash"]).expect(0);
    assert_eq!(value(&sandbox, "a", "dex-admin-password"), value(&sandbox, "b", "dex-admin-password"), "the pair goes as one");
    assert!(!sandbox.path("out/b/secret-source/vllm-api-key.sealed.yaml").exists());
    let before = sandbox.snapshot();
    let rows: [(&[&str], i32, &str); 8] = [
        (&["--from", "a"], 2, "`--to`"),
        (&["--to", "b"], 2, "`--from`"),
        (&["--from", "a", "--to", "a"], 2, "the same cluster"),
        (&["--from", "a", "--to", "b", "--cluster", "b"], 2, "cannot be used together"),
        (&["--from", "a", "--to", "c"], 3, "keys/c/sealing.crt: no such file"),
        (&["--from", "c", "--to", "b"], 3, "out/c: no sealed files"),
        (&["--from", "a", "--to", "b", "hf-token"], 3, "out/a: `hf-token` is not sealed here"),
        (&["--from", "a", "--to", "b", "--replace", "litellm-salt-key", "dex-admin-hash"], 2, "no source has a value"),
    ];
    for (args, code, says) in rows {
        let ran = sandbox.run([&["copy"], args].concat()).expect(code);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
        assert_eq!(before, sandbox.snapshot(), "{args:?}");
    }
    sandbox.remove("keys/a/operator.agekey");
    sandbox.run(["copy", "--from", "a", "--to", "b"]).expect(3);
}
