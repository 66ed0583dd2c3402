//! `keygen`: what it makes, what it never does, and what an interrupted run leaves.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use seal_secrets::pipeline::escrow;
use x509_cert::Certificate;
use x509_cert::der::{DecodePem, Encode};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};

use crate::common::{Drawing, Sandbox, TestEntropy, USUAL, fixture_text};

fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_900_000_000)
}

#[test]
fn the_certificate_is_like_the_controllers_own() {
    let sandbox = Sandbox::empty();
    sandbox.make_key_at(noon, ["keygen"]).expect(0);
    let certificate = Certificate::from_pem(sandbox.read("keys/sealing.crt")).unwrap();
    let tbs = certificate.tbs_certificate();
    assert_eq!(tbs.subject(), tbs.issuer());
    assert_eq!(tbs.validity().not_before.to_system_time(), noon() - Duration::from_secs(300));
    assert_eq!(tbs.validity().not_after.to_system_time(), noon() - Duration::from_secs(300) + Duration::from_secs(10 * 365 * 86400));
    assert_eq!(certificate.signature_algorithm().oid.to_string(), "1.2.840.113549.1.1.11", "SHA-256 with RSA");
    let key = rsa::PublicKey::from_public_key_der(&tbs.subject_public_key_info().to_der().unwrap()).unwrap();
    assert_eq!((key.n().bit_width(), key.e_bytes().to_vec()), (4096, vec![1, 0, 1]));
    let (_, constraints) = tbs.get_extension::<BasicConstraints>().unwrap().unwrap();
    assert!(constraints.ca);
    let (_, usage) = tbs.get_extension::<KeyUsage>().unwrap().unwrap();
    assert!(usage.0 == KeyUsages::EncipherOnly, "the controller sets only this one");
}

#[test]
fn it_makes_certificate_escrow_and_identity_and_says_what_to_keep() {
    let sandbox = Sandbox::empty().without_hash();
    let ran = sandbox.make_key(["keygen"]).expect(0);
    assert!(ran.stdout.contains("keep offline, in two places: keys/operator.agekey and keys/sealing.key.age"), "{}", ran.stdout);
    let mode = |path: &str| sandbox.path(path).metadata().unwrap().mode() & 0o777;
    assert_eq!((mode("keys/operator.agekey"), mode("keys/sealing.crt"), mode("keys/sealing.key.age")), (0o600, 0o644, 0o644));
    for line in ["*.agekey", "sealing.key.age"] {
        assert!(sandbox.read("keys/.gitignore").lines().any(|found| found == line));
    }
    for (path, (_, _, _, content)) in sandbox.snapshot() {
        let holds = |needle: &[u8]| content.windows(needle.len()).any(|window| window == needle);
        assert!(!holds(b"PRIVATE KEY"), "{} holds a key in the clear", path.display());
    }
    sandbox.run(["bootstrap"]).expect(0);
    sandbox.run(["verify", "--identity", "keys/operator.agekey"]).finds(&USUAL);
}

#[test]
fn a_second_run_is_refused_and_changes_nothing() {
    let sandbox = Sandbox::with_keys();
    let before = sandbox.snapshot();
    let ran = sandbox.run(["keygen"]).expect(4);
    assert!(ran.stderr.contains("keys/sealing.crt: already exists, and is never overwritten"), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
}

#[test]
fn recipients_of_flag_and_file_can_open_the_escrow_and_no_identity_is_made() {
    let sandbox = Sandbox::empty();
    let (first, first_recipient) = escrow::new_identity().unwrap();
    let (second, second_recipient) = escrow::new_identity().unwrap();
    sandbox.write("keys/recipients.txt", format!("# the night shift\n{second_recipient}\n").as_bytes());
    let ran = sandbox.make_key(["keygen", "--recipient", &first_recipient]).expect(0);
    assert!(ran.stdout.contains("encrypted to 2 recipients"), "{}", ran.stdout);
    assert!(!sandbox.path("keys/operator.agekey").exists());
    for identity in [first, second] {
        sandbox.write_secret("elsewhere.agekey", identity.as_bytes());
        sandbox.run(["key-secret", "--identity", "elsewhere.agekey"]).expect(0);
    }
}

#[test]
fn recipients_that_are_none_are_refused_before_anything_is_made() {
    let identity = escrow::new_identity().unwrap().0.lines().nth(1).unwrap().to_owned();
    for (recipient, code) in [("age1nonsense", 3), ("ssh-ed25519 AAAA", 3), (identity.as_str(), 4), ("# only a comment", 3)] {
        let sandbox = Sandbox::empty();
        sandbox.write("keys/recipients.txt", format!("{recipient}\n").as_bytes());
        let ran = sandbox.run(["keygen"]).expect(code);
        assert!(!ran.stderr.contains(&identity), "{}", ran.stderr);
        assert!(!sandbox.path("keys/sealing.crt").exists() && !sandbox.path("keys/sealing.key.age").exists());
    }
    let ran = Sandbox::empty().run(["keygen", "--recipient", &identity]).expect(2);
    assert!(!ran.stderr.contains(&identity), "{}", ran.stderr);
}

#[test]
fn a_run_that_was_ended_before_the_certificate_is_finished() {
    let sandbox = Sandbox::with_usual_keys();
    sandbox.remove("keys/sealing.crt");
    sandbox.run(["keygen"]).warned(&["keys/sealing.key.age exists without its certificate: an earlier run was interrupted, or git has the certificate on another branch; the one in the escrow is written"]);
    assert_eq!(sandbox.read("keys/sealing.crt"), fixture_text("fixtures/certificates/good.crt"));

    sandbox.remove("keys/sealing.crt");
    sandbox.remove("keys/operator.agekey");
    let before = sandbox.snapshot();
    sandbox.run(["keygen"]).expect(3);
    assert_eq!(before, sandbox.snapshot());
}

#[test]
fn an_identity_that_is_there_is_used_again() {
    let sandbox = Sandbox::empty();
    let (identity, _) = escrow::new_identity().unwrap();
    sandbox.write_secret("keys/operator.agekey", identity.as_bytes());
    sandbox.make_key(["keygen"]).expect(0);
    assert_eq!(sandbox.read("keys/operator.agekey"), *identity);
    sandbox.run(["key-secret"]).expect(0);
}

#[test]
fn a_repository_that_would_commit_the_identity_is_refused() {
    let sandbox = Sandbox::empty();
    std::fs::create_dir(sandbox.path(".git")).unwrap();
    sandbox.write("keys/.gitignore", b"# nothing\n");
    let ran = sandbox.run(["keygen"]).expect(4);
    assert!(ran.stderr.contains("does not ignore it"), "{}", ran.stderr);
    assert!(!sandbox.path("keys/operator.agekey").exists());
    sandbox.write(".gitignore", b"*.agekey\n");
    sandbox.make_key(["keygen"]).expect(0);
}

#[test]
fn the_key_secret_is_what_the_controller_reads() {
    let sandbox = Sandbox::bootstrapped();
    let ran = sandbox.run(["key-secret", "--controller-namespace", "sealed-secrets"]).expect(0);
    let secret: serde_yaml::Value = serde_yaml::from_str(&ran.stdout).unwrap();
    assert_eq!(secret["type"], "kubernetes.io/tls");
    assert_eq!(secret["metadata"]["namespace"], "sealed-secrets");
    assert_eq!(secret["metadata"]["labels"]["sealedsecrets.bitnami.com/sealed-secrets-key"], "active");
    sandbox.write_secret("backup.yaml", ran.stdout.as_bytes());
    let by_escrow = sandbox.run(["unseal"]).expect(0).stdout;
    assert_eq!(sandbox.run(["unseal", "--recovery-private-key", "backup.yaml"]).expect(0).stdout, by_escrow);
    sandbox.write("keys/sealing.crt", fixture_text("fixtures/certificates/roca.crt").as_bytes());
    let ran = sandbox.run(["key-secret"]).expect(4);
    assert!(ran.stderr.matches("sha256:").count() == 2 && ran.stdout.is_empty(), "{}", ran.stderr);
}

#[test]
fn no_key_is_made_for_a_plugin_that_is_missing() {
    let start = Sandbox::hashless();
    for args in [&["keygen", "--keys", "other", "--out", "none"][..], &["renew", "--yes"]] {
        let sandbox = start.copy();
        for keys in ["keys", "other"] {
            sandbox.write(&format!("{keys}/recipients.txt"), format!("{}\n", crate::escrow::RECIPIENT).as_bytes());
        }
        let before = sandbox.snapshot();
        let (mut entropy, mut left) = (TestEntropy(1), 100);
        let draw = move |bytes: &mut [u8]| {
            left = usize::checked_sub(left, bytes.len()).expect("a key takes more");
            entropy.fill(bytes);
            Ok(())
        };
        let ran = sandbox.run_drawing(Box::new(Drawing(draw)), args).expect(3);
        assert!(ran.stderr.contains("error: the age plugin `age-plugin-fake` is not in PATH\n"), "{args:?}: {}", ran.stderr);
        assert_eq!(before, sandbox.snapshot(), "{args:?}");
    }
}
