//! The operator's copies: `verify` compares them with the sealed values, and `bootstrap` writes what is missing or stale.

use std::os::unix::fs::PermissionsExt;

use crate::common::{Sandbox, USUAL, usual};
use crate::escrow::protected;
use crate::faults::{adds, sealed};

const COPY: &str = "secrets/dex-admin-password";
const SEALED: &str = "out/secret-source/dex-admin.sealed.yaml";
const VERIFY: [&str; 3] = ["verify", "--identity", "keys/operator.agekey"];
const RESTORE: [&str; 3] = ["bootstrap", "--identity", "keys/operator.agekey"];

/// What becomes of a copy: what `verify` finds with an identity, and whether `bootstrap` writes it without and with one.
type Fate = (&'static str, fn(&Sandbox), Option<&'static str>, [bool; 2]);

const FATES: [Fate; 6] = [
    ("as it was written", |_| {}, None, [false, false]),
    ("with the line feed of an editor", |s| s.write_secret(COPY, (s.read(COPY) + "\n").as_bytes()), None, [false, false]),
    ("gone", |s| s.remove(COPY), Some("copy-missing secrets/dex-admin-password"), [true, true]),
    (
        "gone with its folder",
        |s| std::fs::remove_dir_all(s.path("secrets")).unwrap(),
        Some("copy-missing secrets/dex-admin-password"),
        [true, true],
    ),
    ("of another length", |s| s.write_secret(COPY, b"hunter2"), Some("copy-differs secrets/dex-admin-password"), [false, true]),
    (
        "of before a colleague's rotation",
        |s| {
            let copy = s.read(COPY);
            s.run(["rotate", "dex-admin-password", "--yes"]).expect(0);
            s.write_secret(COPY, copy.as_bytes());
        },
        Some("copy-differs secrets/dex-admin-password"),
        [false, true],
    ),
];

#[test]
fn a_stale_or_missing_copy_is_found_and_written_from_the_sealed_value() {
    for (what, change, found, written) in FATES {
        for (identity, written) in [&RESTORE[..1], &RESTORE].into_iter().zip(written) {
            let sandbox = Sandbox::hashless();
            change(&sandbox);
            let stale = std::fs::read(sandbox.path(COPY)).ok();
            sandbox.run(["verify"]).finds(&USUAL);
            let ran = sandbox.run(VERIFY).finds(&usual(found.as_slice()));
            assert_eq!(ran.stdout.contains("`seal-secrets bootstrap --identity keys/operator.agekey`"), found.is_some(), "{}", ran.stdout);
            let value = sandbox.value("dex-admin-password");
            assert!(!ran.stdout.contains(&value) && !ran.stdout.contains("hunter2"), "{what}: {}", ran.stdout);
            let (before, unit) = (sandbox.snapshot(), sandbox.read(SEALED));
            let said = "copy   secrets/dex-admin-password (restored)\n";
            let [plan, check] = [&["--check"][..], &[]].map(|more| sandbox.run([&["plan"], &identity[1..], more].concat()));
            assert_eq!((plan.code, check.code), (i32::from(written), 0), "{what}: {}", plan.stderr);
            assert_eq!(plan.stdout.starts_with(said), written, "{what}: {}", plan.stdout);
            assert_eq!(before, sandbox.snapshot());
            let ran = sandbox.run(identity).expect(0);
            assert_eq!(
                (ran.stdout.starts_with(said), ran.stdout.starts_with("nothing to do\n")),
                (written, !written),
                "{what}: {}",
                ran.stdout
            );
            assert_eq!(sandbox.read(SEALED), unit, "no value is made");
            if written {
                assert_eq!(sandbox.read(COPY), value, "{what}");
                assert_eq!(sandbox.path(COPY).metadata().unwrap().permissions().mode() & 0o777, 0o600);
                assert_eq!(sandbox.read("secrets/.gitignore"), "*\n");
                sandbox.run(VERIFY).finds(&USUAL);
                assert!(sandbox.run(identity).expect(0).stdout.starts_with("nothing to do\n"));
            } else {
                assert_eq!(std::fs::read(sandbox.path(COPY)).ok(), stale, "{what}");
            }
        }
    }
}

#[test]
fn the_plan_for_programs_names_the_copy() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.remove(COPY);
    let plan: serde_json::Value = serde_json::from_str(&sandbox.run(["plan", "--json"]).expect(0).stdout).unwrap();
    let change = serde_json::json!([{ "action": "copy", "key": "dex-admin-password", "file": COPY, "path": COPY, "reason": "restored" }]);
    assert_eq!(plan["changes"], change);
}

/// What keeps the default identity from opening the escrow, and the warning; none if it would ask, or if something is missing.
type Obstacle = (&'static str, fn(&Sandbox), Option<&'static str>);

#[test]
fn without_an_identity_that_asks_for_nothing_bootstrap_leaves_a_missing_copy() {
    let obstacles: [Obstacle; 6] = [
        ("no identity", |s| s.remove("keys/operator.agekey"), None),
        ("no escrow", |s| s.remove("keys/sealing.key.age"), None),
        (
            "a passphrase",
            |s| {
                let identity = s.read("keys/operator.agekey");
                s.write_secret("keys/operator.agekey", &protected(&identity, "swordfish", 2));
            },
            None,
        ),
        ("a plugin", |s| s.write_secret("keys/operator.agekey", format!("{}\n", crate::escrow::IDENTITY).as_bytes()), None),
        (
            "another's identity",
            |s| s.write_secret("keys/operator.agekey", seal_secrets::pipeline::escrow::new_identity().unwrap().0.as_bytes()),
            Some("keys/sealing.key.age: the escrow is not encrypted to this identity"),
        ),
        (
            "an identity that others may read",
            |s| s.chmod("keys/operator.agekey", 0o644),
            Some("keys/operator.agekey: a secret that others may read (mode 0644)"),
        ),
    ];
    for (what, obstruct, says) in obstacles {
        let sandbox = Sandbox::bootstrapped();
        obstruct(&sandbox);
        sandbox.remove(COPY);
        let before = sandbox.snapshot();
        let ran = sandbox.run(["bootstrap"]);
        let warning = says.map(|says| format!("warning: a copy in secrets is missing, and stays so: {says}\n")).unwrap_or_default();
        assert_eq!((ran.code, ran.stderr), (0, warning), "{what}");
        assert!(ran.stdout.starts_with("nothing to do\n"), "{what}: {}", ran.stdout);
        assert_eq!(before, sandbox.snapshot(), "{what}");
    }
}

#[test]
fn a_copy_is_written_only_where_nobody_commits_it_and_through_no_link() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.write_secret("elsewhere", b"mine");
    sandbox.remove(COPY);
    std::os::unix::fs::symlink("../elsewhere", sandbox.path(COPY)).unwrap();
    let before = sandbox.snapshot();
    sandbox.run(RESTORE).expect(4);
    sandbox.run(VERIFY).finds(&usual(&["unreadable secrets/dex-admin-password"]));
    assert_eq!(before, sandbox.snapshot());
    // In a repository that would commit it.
    let sandbox = Sandbox::bootstrapped();
    std::fs::create_dir(sandbox.path(".git")).unwrap();
    sandbox.remove(COPY);
    sandbox.write("secrets/.gitignore", b"# nothing\n");
    let before = sandbox.snapshot();
    let ran = sandbox.run(["bootstrap"]).expect(4);
    assert!(ran.stderr.contains("does not ignore it"), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
}

#[test]
fn a_missing_copy_that_is_restored() {
    adds(&sealed().clone().without("secrets/admin-password"), &["bootstrap"]);
}

#[test]
fn a_stale_copy_that_is_restored() {
    let start = sealed().clone().with("secrets/admin-password", 0o600, b"the old one");
    adds(&start, &["bootstrap", "--identity", "keys/operator.agekey"]);
}
