//! A run names its own folders: in findings, in JSON, and in every command that it prints.

use serde_json::Value;

use crate::common::{Sandbox, fixture_text};

/// The code and place of each finding.
fn findings(sandbox: &Sandbox, args: &[&str], code: i32) -> Vec<(String, String)> {
    let report = sandbox.run([args, &["verify", "--json"]].concat()).expect(code).stdout;
    let report: Value = serde_json::from_str(&report).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    report["findings"].as_array().unwrap().iter().map(|finding| (text(&finding["code"]), text(&finding["place"]))).collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(code, place)| ((*code).to_owned(), (*place).to_owned())).collect()
}

/// A healthy state in other folders than the usual ones.
fn moved(keys: &str, out: &str) -> Sandbox {
    let (from, sandbox) = (Sandbox::bootstrapped(), Sandbox::empty());
    for (from, to) in [(from.path("keys"), sandbox.path(keys)), (from.path("out"), sandbox.path(out))] {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::rename(from, to).unwrap();
    }
    sandbox
}

#[test]
fn a_finding_names_the_file_of_this_run() {
    for (flags, keys, out) in [(&["--keys", "k2", "--out", "o2"][..], "k2", "o2"), (&["--cluster", "prod"], "keys/prod", "out/prod")] {
        let sandbox = moved(keys, out);
        let (_, one) = seal_secrets::pipeline::escrow::new_identity().unwrap();
        sandbox.write(&format!("{keys}/recipients.txt"), format!("{one}\n").as_bytes());
        sandbox.write(&format!("{keys}/sealing.crt"), fixture_text("fixtures/certificates/good-2048.crt").as_bytes());
        let unit = |key: &str| format!("{out}/secret-source/{key}.sealed.yaml");
        let awaited = ["anthropic-api-key", "cloudflare-api-token", "hf-token"].map(unit);
        let (escrow, certificate) = (format!("{keys}/sealing.key.age"), format!("{keys}/sealing.crt"));
        let mut expected = vec![("certificate-unusable", certificate.as_str()), ("few-recipients", &escrow)];
        expected.extend(awaited.iter().map(|place| ("not-yet-provided", place.as_str())));
        assert_eq!(findings(&sandbox, flags, 1), owned(&expected));
        let report = sandbox.run([flags, &["verify"]].concat()).expect(1).stdout;
        assert!(!report.contains(" keys/sealing") && !report.contains(" out/secret-source"), "{report}");
    }
}

#[test]
fn a_unit_that_is_sealed_to_another_certificate_names_that_of_this_run() {
    let sandbox = moved("k2", "out");
    sandbox.write("k2/sealing.crt", Sandbox::renewed().read("keys/sealing.crt").as_bytes());
    let ran = sandbox.run(["verify", "--keys", "k2", "--allow-rsa-bits", "2048"]).expect(1);
    assert_eq!(ran.stdout.matches("is not sealed to `k2/sealing.crt` (sha256:").count(), 15, "{}", ran.stdout);
}

#[test]
fn a_printed_command_works_on_the_folders_of_this_run() {
    let sandbox = Sandbox::empty();
    let flags = ["--secrets", "my copies", "--cluster", "prod"];
    let program = "seal-secrets --cluster prod --secrets 'my copies'";
    let run = |args: &[&str], code: i32| sandbox.run([&flags, args].concat()).expect(code);
    let ran = run(&["bootstrap"], 3);
    assert_eq!(ran.stderr, format!("error: keys/prod/sealing.crt: no such file\nhelp: make the sealing key first: `{program} keygen`\n"));
    let ran = sandbox.make_key([&flags[..], &["keygen"]].concat()).expect(0);
    assert!(ran.stdout.ends_with(&format!("next: {program} bootstrap\n")));
    let ran = run(&["bootstrap"], 0);
    assert!(ran.stdout.contains(&format!("yours to add, with `{program} bootstrap --provide KEY=FILE`:\n")), "{}", ran.stdout);
    assert!(ran.stdout.contains("copy   my copies/prod/dex-admin-password"), "{}", ran.stdout);
    let ran = run(&["verify"], 0);
    assert!(ran.stdout.contains(&format!("  help: run `{program} bootstrap --provide hf-token=FILE`\n")), "{}", ran.stdout);
    let identity = sandbox.read("keys/prod/operator.agekey");
    let own = identity.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let told = format!("keys/prod/sealing.key.age will open for:\n  {own}\n");
    let ran = sandbox.make_key([&flags[..], &["renew", "--yes"]].concat()).told(&told);
    assert!(ran.stdout.contains(&format!("give the controller its keys: {program} key-secret | kubectl apply -f -\n")), "{}", ran.stdout);
    // A pasted command changes these folders, and no others.
    let pasted = format!("{program} rotate vllm-api-key --yes");
    let before = sandbox.read("out/prod/secret-source/vllm-api-key.sealed.yaml");
    let words = ["--cluster", "prod", "--secrets", "my copies", "rotate", "vllm-api-key", "--yes"];
    assert_eq!(words.map(|word| if word.contains(' ') { format!("'{word}'") } else { word.to_owned() }).join(" "), pasted[13..]);
    sandbox.run(words).expect(0);
    assert_ne!(before, sandbox.read("out/prod/secret-source/vllm-api-key.sealed.yaml"));
    assert!(!sandbox.path("out/secret-source").exists() && !sandbox.path("secrets").exists());
}
