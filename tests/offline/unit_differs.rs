//! `verify` compares the whole unit: anything that differs from what the tool writes is found, with its line.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use proptest::prelude::*;
use seal_secrets::manifest::contract_file;
use seal_secrets::manifest::sealed_secret::{self, Encrypted, Sealed};
use seal_secrets::model::{CertificateDigest, DataKey, Escape, Form, Part, SecretValue, Text, mark};
use seal_secrets::pipeline::certificate::SealingCertificate;
use seal_secrets::pipeline::seal::Sealer;
use zeroize::Zeroizing;

use crate::common::{BINARY, OWN_CERTIFICATE, Sandbox, TestEntropy, finish, fit, fixture, fixture_text, path, program, usual};

const SOURCE: &str = "out/secret-source/";

/// A unit of one SealedSecret: its template begins on line 12, and ends on line 16.
const ONE: &str = "vllm-api-key";
/// A unit of two, each of 16 lines.
const TWO: &str = "dex-admin";

/// A unit, `from` (its first occurrence is replaced by `to`), and the line on which that is found.
const DIFFERENCES: &[(&str, &str, &str, &str, usize)] = &[
    (
        "annotation-of-a-reflector",
        ONE,
        "    type: Opaque",
        "      annotations:\n        reflector.v1.k8s.emberstack.com/reflection-allowed: \"true\"\n    type: Opaque",
        16,
    ),
    ("label-in-the-template", ONE, "    type: Opaque", "      labels: {a: b}\n    type: Opaque", 16),
    ("another-type", ONE, "type: Opaque", "type: kubernetes.io/tls", 16),
    ("immutable", ONE, "    type: Opaque", "    type: Opaque\n    immutable: true", 17),
    ("finalizer", ONE, "  annotations:", "  finalizers: [example.com/never]\n  annotations:", 6),
    ("label", ONE, "  annotations:", "  labels: {a: b}\n  annotations:", 6),
    ("owner", ONE, "  annotations:", "  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a, uid: b}]\n  annotations:", 6),
    ("annotation", ONE, "    seal-secrets/made", "    seal-secrets/note: a\n    seal-secrets/made", 8),
    ("no-day", ONE, "    seal-secrets/made: \"2", "    seal-secrets/made: \"on 2", 8),
    ("status", ONE, "    type: Opaque\n", "    type: Opaque\nstatus: {observedGeneration: 1}\n", 17),
    ("comment", ONE, "spec:", "# why\nspec:", 9),
    ("comment-before-it", ONE, "apiVersion", "# why\napiVersion", 1),
    ("comment-behind-it", ONE, "    type: Opaque\n", "    type: Opaque\n# why\n", 17),
    ("separator-before-it", ONE, "apiVersion", "---\napiVersion", 1),
    ("separator-behind-it", ONE, "    type: Opaque\n", "    type: Opaque\n---\n", 17),
    ("end-of-the-stream", ONE, "    type: Opaque\n", "    type: Opaque\n...\n", 17),
    ("empty-line-behind-it", ONE, "    type: Opaque\n", "    type: Opaque\n\n", 17),
    ("blank-behind-a-word", ONE, "kind: SealedSecret", "kind: SealedSecret ", 2),
    ("byte-order-mark", ONE, "apiVersion", "\u{feff}apiVersion", 1),
    (
        "another-order-of-fields",
        ONE,
        "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret",
        "kind: SealedSecret\napiVersion: bitnami.com/v1alpha1",
        1,
    ),
    ("another-style", ONE, "kind: SealedSecret", "kind: \"SealedSecret\"", 2),
    ("value-in-quotes", ONE, "    value: AQ", "    value: >-\n      AQ", 11),
    ("imported-or-not", ONE, "    seal-secrets/made", "    seal-secrets/imported: \"false\"\n    seal-secrets/made", 8),
    ("other-name-in-the-template", ONE, "      name: vllm-api-key", "      name: another", 14),
    (
        "no-template",
        ONE,
        "  template:\n    metadata:\n      name: vllm-api-key\n      namespace: secret-source\n    type: Opaque\n",
        "",
        12,
    ),
    ("cut-off-in-the-template", ONE, "      namespace: secret-source\n    type: Opaque\n", "", 15),
    ("cut-off-in-a-word", ONE, "Opaque\n", "Opaq", 16),
    ("cut-off-before-the-last-line-feed", ONE, "Opaque\n", "Opaque", 16),
    ("annotation-of-the-second", TWO, "  name: dex-admin-hash\n", "  name: dex-admin-hash\n  generateName: a\n", 22),
    ("comment-between-the-two", TWO, "---\n", "# why\n---\n", 17),
    ("comment-behind-the-separator", TWO, "---\n", "---\n# why\n", 18),
    ("separator-with-a-word", TWO, "---\n", "--- # why\n", 17),
    ("two-separators", TWO, "---\n", "---\n---\n", 18),
    ("carriage-return-in-a-line", ONE, "kind: SealedSecret", "kind: SealedSecret\r", 2),
];

#[test]
fn whatever_differs_is_found_on_its_line() {
    let sandbox = Sandbox::bootstrapped();
    for (what, unit, from, to, line) in DIFFERENCES {
        let file = format!("{SOURCE}{unit}.sealed.yaml");
        let good = sandbox.read(&file);
        sandbox.edit(&file, from, to);
        // Line ends are left to git, unless the difference is in them.
        let ends = if to.contains('\r') { 1 } else { 2 };
        for end in ["\n", "\r\n"].iter().take(ends) {
            let text = sandbox.read(&file).replace('\n', end);
            sandbox.write(&file, text.as_bytes());
            let found = sandbox.run(["verify"]);
            assert_eq!(found.code, 1, "{what}: {}", found.stdout);
            found.has_found(&usual(&[&format!("unit-differs {file}:{line}:1")]));
            sandbox.write(&file, text.replace(end, "\n").as_bytes());
        }
        sandbox.write(&file, good.as_bytes());
    }
}

/// What is spoiled, in which unit, how, and all findings.
type Beside = (&'static str, &'static str, fn(&str) -> String, &'static [&'static str]);

const BESIDE: &[Beside] = &[
    (
        "the-two-in-another-order",
        TWO,
        |text| text.split("---\n").collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("---\n"),
        &["unit-differs FILE:4:1"],
    ),
    ("cut-off-behind-the-separator", TWO, |text| text.split_inclusive("---\n").next().unwrap().to_owned(), &["half-missing FILE"]),
    (
        "one-is-missing-and-the-other-differs",
        TWO,
        |text| text.split("---\n").next().unwrap().replace("Opaque", "kubernetes.io/tls"),
        &["half-missing FILE", "unit-differs FILE:16:1"],
    ),
    (
        "duplicate-annotation",
        ONE,
        |text| text.replace("    seal-secrets/made", "    seal-secrets/made: a\n    seal-secrets/made"),
        &["unreadable FILE:9:5"],
    ),
    (
        "another-certificate-and-a-finalizer",
        ONE,
        |text| other_certificate(text).replace("  annotations:", "  finalizers: []\n  annotations:"),
        &["unit-differs FILE:6:1", "wrong-certificate FILE:1:1"],
    ),
    ("another-namespace", ONE, |text| text.replace("secret-source", "elsewhere"), &["wrong-namespace FILE:1:1"]),
    (
        "another-namespace-and-then-a-finalizer",
        TWO,
        |text| {
            text.replacen("secret-source", "elsewhere", 1)
                .replace("  name: dex-admin-hash\n  namespace", "  name: dex-admin-hash\n  finalizers: []\n  namespace")
        },
        &["unit-differs FILE:22:1", "wrong-namespace FILE:1:1"],
    ),
    ("a-second-document-of-another-name", ONE, |text| format!("{text}---\n{}", text.replace(ONE, "another")), &["misplaced FILE:18:1"]),
];

fn other_certificate(text: &str) -> String {
    regex::Regex::new("sha256:[0-9a-f]{8}").unwrap().replace(text, "sha256:00000000").into_owned()
}

#[test]
fn the_same_defect_is_told_once_and_another_beside_it() {
    let sandbox = Sandbox::bootstrapped();
    for (what, unit, spoil, expected) in BESIDE {
        let file = format!("{SOURCE}{unit}.sealed.yaml");
        let good = sandbox.read(&file);
        sandbox.write(&file, spoil(&good).as_bytes());
        let expected: Vec<String> = expected.iter().map(|finding| finding.replace("FILE", &file)).collect();
        let ran = sandbox.run(["verify"]);
        assert_eq!(ran.code, 1, "{what}: {}", ran.stdout);
        ran.has_found(&usual(&expected.iter().map(String::as_str).collect::<Vec<_>>()));
        sandbox.write(&file, good.as_bytes());
    }
}

#[test]
fn an_orphan_of_ours_is_compared_too_and_a_foreign_one_is_not() {
    let sandbox = Sandbox::bootstrapped();
    let good = sandbox.read("out/secret-source/vllm-api-key.sealed.yaml").replace("vllm-api-key", "old");
    let file = "out/secret-source/old.sealed.yaml";
    let orphan = format!("orphan {file}:1:1");
    for (text, found) in [
        (good.clone(), vec![]),
        (good.replace("    type: Opaque", "      annotations: {a: b}\n    type: Opaque"), vec![format!("unit-differs {file}:16:1")]),
        // As kubeseal makes them.
        (
            good.replace("    seal-secrets/", "    other/").replace("    type: Opaque", "      annotations: {a: b}\n    type: Opaque"),
            vec![],
        ),
    ] {
        sandbox.write(file, text.as_bytes());
        sandbox.run(["bootstrap"]).expect(0);
        let mut expected = vec![orphan.as_str()];
        expected.extend(found.iter().map(String::as_str));
        sandbox.run(["verify"]).finds(&usual(&expected));
    }
}

#[test]
fn what_git_does_to_line_ends_is_no_difference() {
    let sandbox = Sandbox::bootstrapped();
    let out = sandbox.path("out");
    let files = sandbox.snapshot().into_keys().filter(|path| path.starts_with(&out) && path.is_file());
    let with_carriage_returns =
        |path: PathBuf| std::fs::write(&path, std::fs::read_to_string(&path).unwrap().replace('\n', "\r\n")).unwrap();
    assert!(files.map(with_carriage_returns).count() > 20);
    sandbox.run(["verify", "--identity", "keys/operator.agekey"]).finds(&usual(&[]));
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do"));
}

#[test]
fn a_drill_reports_it_and_no_text_of_the_file_is_shown() {
    let sandbox = Sandbox::hashless();
    let file = format!("{SOURCE}{ONE}.sealed.yaml");
    sandbox.edit(&file, "type: Opaque", "type: hunter2");
    let found = usual(&["unit-differs out/secret-source/vllm-api-key.sealed.yaml:16:1"]);
    for args in [&["verify"][..], &["verify", "--drill"], &["verify", "--identity", "keys/operator.agekey"]] {
        let ran = sandbox.run(args).finds(&found);
        assert!(ran.stdout.contains("here should stand `    type: Opaque`") && !ran.stdout.contains("hunter2"), "{}", ran.stdout);
    }
    // A text that begins like a sealed value may not be one.
    let value = regex::Regex::new("    value: [^\n]*").unwrap().replace(&sandbox.read(&file), "    value: 'AQAhunter2'").into_owned();
    sandbox.write(&file, value.replace("hunter2\n    type", "").as_bytes());
    let ran = sandbox.run(["verify"]).expect(1);
    assert!(ran.stdout.contains(&format!("{file}:11:1: not as it should be\n")) && !ran.stdout.contains("hunter2"), "{}", ran.stdout);
}

#[test]
fn the_help_writes_the_unit_again_with_the_same_values() {
    for (unit, keys) in [(TWO, &["dex-admin-password", "dex-admin-hash"][..]), ("litellm-salt-key", &["litellm-salt-key"])] {
        let sandbox = Sandbox::usual_hashless();
        let before: Vec<String> = keys.iter().map(|key| sandbox.value(key)).collect();
        sandbox.edit(&format!("{SOURCE}{unit}.sealed.yaml"), "  annotations:", "  finalizers: []\n  annotations:");
        let said = sandbox.run(["verify"]).expect(1).stdout;
        let help = said.lines().find(|line| line.contains("| seal-secrets import")).unwrap();
        let command = help.split('`').nth(1).unwrap().replace("seal-secrets", BINARY);
        let mut shell = Command::new(program("sh"));
        shell.args(["-c", &command]).current_dir(sandbox.path(".")).env_clear().env("PATH", path());
        shell.env("XDG_STATE_HOME", sandbox.state_home());
        finish(shell).expect(0);
        assert_eq!(before, keys.iter().map(|key| sandbox.value(key)).collect::<Vec<_>>());
        sandbox.run(["verify", "--identity", "keys/operator.agekey"]).finds(&usual(&[]));
    }
}

#[test]
fn every_command_that_writes_units_writes_them_so() {
    let sandbox = Sandbox::hashless();
    sandbox.write_secret("env", b"VLLM_API_KEY=an-own-form-of-it\nDEX_ADMIN_PASSWORD='its: \"mine\" # 1'\nHF_TOKEN=hf_0123456789\n");
    sandbox.run(["import", "--env-file", "env", "--replace", "vllm-api-key", "--replace", "dex-admin-password", "--yes"]).expect(0);
    let good = |args: &[&str]| {
        let ran = sandbox.run(args);
        let found = ran.findings();
        assert!(!found.iter().any(|finding| finding.starts_with("unit-differs")) && ran.code == 0, "{found:?}");
    };
    good(&["verify"]);
    sandbox.run(["rotate", "litellm-master-key", "--yes"]).expect(0);
    good(&["verify"]);
    let renewed = sandbox.make_key(["renew", "--yes"]);
    assert_eq!(renewed.code, 0, "{}", renewed.stderr);
    good(&["verify", "--identity", "keys/operator.agekey"]);
    // Back to the first key.
    sandbox.write("keys/sealing.crt", fixture_text(OWN_CERTIFICATE).as_bytes());
    sandbox.accept("keys");
    sandbox.run(["re-encrypt", "--yes"]).expect(0);
    good(&["verify", "--identity", "keys/operator.agekey"]);
}

#[test]
fn what_an_earlier_version_wrote_is_as_it_should_be() {
    let sandbox = Sandbox::usual();
    for entry in std::fs::read_dir(fixture("fixtures/sealed/written-before")).unwrap() {
        let entry = entry.unwrap();
        let to = format!("{SOURCE}{}", entry.file_name().to_str().unwrap());
        assert!(sandbox.path(&to).exists(), "{to}");
        sandbox.write(&to, &std::fs::read(entry.path()).unwrap());
    }
    sandbox.run(["verify", "--identity", "keys/operator.agekey"]).finds(&usual(&["copy-differs secrets/dex-admin-password"]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_as_what_it_was_written_from(
        seed in any::<u64>(),
        imported in any::<bool>(),
        day in proptest::option::of("[0-9]{4}-[0-9]{2}-[0-9]{2}"),
        length in 0usize..3000,
        count in 1usize..4,
    ) {
        static SEALER: LazyLock<(CertificateDigest, Sealer)> = LazyLock::new(|| {
            let certificate = fit(SealingCertificate::read(fixture_text(OWN_CERTIFICATE).as_bytes()).unwrap());
            (certificate.digest, Sealer::new(&certificate).unwrap())
        });
        let (digest, sealer) = &*SEALER;
        let contract = contract_file::read("c", contract_file::EMBEDDED).unwrap();
        let keys: Vec<_> = contract.keys.iter().cycle().skip(seed as usize % contract.keys.len()).take(count).collect();
        let values = keys.iter().map(|key| (key.name.to_string(), SecretValue::new(Zeroizing::new(vec![b'a'; length])))).collect();
        let blobs = sealer.seal_all(values, &mut TestEntropy(seed), NonZeroUsize::MIN).unwrap();
        let properties = ["value", "tls.key", "PASSWORD", "_x", "a-b"];
        let property = |i: usize| DataKey::new(properties[(i + seed as usize) % properties.len()]).unwrap();
        let values: Vec<Encrypted> = blobs.into_iter().enumerate().map(|(i, blob)| {
            // Some differ in both.
            let differs = seed >> i & 1 == 1;
            let sealed_on = day.clone().filter(|_| !differs);
            Encrypted { key: property(i), blob, imported: imported ^ differs, sealed_on, position: (1, 1) }
        }).collect();
        let text_of = |text: &str| (DataKey::new("uri").unwrap(), Text(vec![
            Part::Plain(format!("x{{{{{text}}}}}:")),
            Part::Value { of: property(0), escape: Escape::ALL[seed as usize % Escape::ALL.len()] },
            Part::Basic { user: "u".to_owned(), of: property(1) },
        ]));
        let form = Form { kind: Some("x/y".to_owned()), immutable: imported, texts: BTreeMap::from([text_of("a\nb")]), ..Form::default() };
        let sealed: Vec<Sealed<'_>> = keys.iter().map(|key| Sealed {
            name: key.name.secret(), values: values.clone(), write_once: mark(&[key]), form: &form,
        }).collect();
        let text = sealed_secret::write(&contract.namespace, *digest, &sealed);
        let read = sealed_secret::read(&text).unwrap();
        let again: Vec<Sealed<'_>> = read.iter().map(|one| {
            assert_eq!(one.template.texts, form.texts);
            Sealed { name: one.name.as_str(), values: one.encrypted.clone(), write_once: one.write_once.clone(), form: &form }
        }).collect();
        prop_assert_eq!(sealed_secret::write(&contract.namespace, read[0].certificate.unwrap(), &again), text);
    }
}
