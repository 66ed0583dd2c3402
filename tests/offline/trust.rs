//! What someone who can write to the repository can do with a certificate of their own: no command seals anything to it unless the operator
//! passes its digest. Also how a machine accepts one.

use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;

use seal_secrets::pipeline::certificate::SealingCertificate;
use seal_secrets::pipeline::escrow;

use crate::common::{OWN_CERTIFICATE, OWN_KEY, Sandbox, USUAL, at_the_prompt, fixture_text, needs, pinned};

fn digest(pem: &str) -> String {
    SealingCertificate::read(pem.as_bytes()).unwrap().digest.to_string()
}

fn good() -> String {
    digest(&fixture_text(OWN_CERTIFICATE))
}

/// The attacker's certificate, and both their certificate and key in PEM.
fn attacker() -> &'static (String, String) {
    static ATTACKER: OnceLock<(String, String)> = OnceLock::new();
    ATTACKER.get_or_init(|| {
        let sandbox = Sandbox::with_keys().beside();
        sandbox.make_key(["keygen"]).expect(0);
        let identity = sandbox.read("keys/operator.agekey");
        let identity: age::x25519::Identity = identity.lines().last().unwrap().parse().unwrap();
        let pem = escrow::decrypt(sandbox.read("keys/sealing.key.age").as_bytes(), &[&identity]).unwrap();
        (sandbox.read("keys/sealing.crt"), pem.to_string())
    })
}

/// An escrow of these keys that the operator of a sandbox can open: anyone can make one.
fn escrow_for(sandbox: &Sandbox, pem: &str) -> Vec<u8> {
    let to: age::x25519::Recipient = sandbox.own_recipient().parse().unwrap();
    escrow::encrypt(pem, &[&to]).unwrap().0
}

/// Replaces a text in every file of the output folder.
fn in_every_file(sandbox: &Sandbox, from: &str, to: &str) {
    for (path, (_, _, _, bytes)) in sandbox.snapshot().into_iter().filter(|(path, _)| path.starts_with(sandbox.path("out"))) {
        if let Ok(text) = String::from_utf8(bytes)
            && text.contains(from)
        {
            std::fs::write(path, text.replace(from, to)).unwrap();
        }
    }
}

type Attack = fn(&Sandbox);

/// What the attacker commits. In each, `keys/sealing.crt` is their certificate, or becomes it.
const ATTACKS: [(&str, Attack); 6] = [
    ("only the certificate", |s| s.write("keys/sealing.crt", attacker().0.as_bytes())),
    ("the annotations say so", |s| {
        s.write("keys/sealing.crt", attacker().0.as_bytes());
        in_every_file(s, &good(), &digest(&attacker().0));
    }),
    ("the annotations are gone", |s| {
        s.write("keys/sealing.crt", attacker().0.as_bytes());
        in_every_file(s, &format!("    seal-secrets/certificate: {}\n", good()), "");
    }),
    ("the output folder is gone", |s| {
        s.write("keys/sealing.crt", attacker().0.as_bytes());
        std::fs::remove_dir_all(s.path("out")).unwrap();
        s.remove("keys/sealed.txt");
    }),
    ("the escrow holds their key", |s| {
        s.write("keys/sealing.crt", attacker().0.as_bytes());
        s.write("keys/sealing.key.age", &escrow_for(s, &attacker().1));
        in_every_file(s, &good(), &digest(&attacker().0));
    }),
    ("the escrow holds both keys", |s| {
        s.write("keys/sealing.crt", attacker().0.as_bytes());
        let own = fixture_text(OWN_CERTIFICATE) + &fixture_text(OWN_KEY);
        s.write("keys/sealing.key.age", &escrow_for(s, &(own + &attacker().1)));
        in_every_file(s, &good(), &digest(&attacker().0));
    }),
];

/// Everything that seals a value.
const SEALS: [&[&str]; 10] = [
    &["bootstrap", "--provide", "hf-token=token"],
    &["bootstrap"],
    &["plan"],
    &["rotate", "vllm-api-key", "--yes"],
    &["rotate", "--older-than", "0d", "--yes"],
    &["import", "--env-file", "env", "--replace", "vllm-api-key", "--yes"],
    &["re-encrypt", "--yes"],
    &["re-encrypt", "--yes", "others"],
    &["re-encrypt", "--yes", "--recovery-private-key", "own.pem"],
    &["renew", "--yes"],
];

/// A sealed state, and the operator's own files beside it.
fn start() -> Sandbox {
    let sandbox = Sandbox::bootstrapped();
    sandbox.write_secret("token", b"hf_0123456789abcdefghij");
    sandbox.write_secret("env", b"VLLM_API_KEY=sk-0123456789abcdefghijABCDEFGHIJ\n");
    sandbox.write_secret("own.pem", fixture_text(OWN_KEY).as_bytes());
    sandbox.write("others/one.yaml", sandbox.read("out/secret-source/vllm-api-key.sealed.yaml").as_bytes());
    sandbox
}

/// The run must be refused because of the certificate, with both digests, and without a change.
#[track_caller]
fn refused(sandbox: &Sandbox, args: &[&str], what: &str) {
    let (before, pins) = (sandbox.snapshot(), sandbox.pins());
    let ran = sandbox.run(args).expect(4);
    let says = [&good(), &digest(&attacker().0), "accepted", "restore `sealing."];
    for text in says {
        assert!(ran.stderr.contains(text), "{what}: {args:?}: it does not say {text}: {}", ran.stderr);
    }
    assert_eq!((before, pins), (sandbox.snapshot(), sandbox.pins()), "{what}: {args:?}");
}

#[test]
fn nothing_is_sealed_to_a_certificate_that_the_repository_brings() {
    let start = start();
    for (what, attack) in ATTACKS {
        let sandbox = start.copy();
        attack(&sandbox);
        // If nothing is sealed, nothing can be re-sealed.
        let seals = SEALS.iter().filter(|args| sandbox.path("out").exists() || !["re-encrypt", "renew"].contains(&args[0]));
        seals.for_each(|args| refused(&sandbox, args, what));
        let ran = sandbox.run(["verify"]);
        assert!(ran.code == 1 && ran.findings().contains(&"certificate-differs keys/sealing.crt".to_owned()), "{what}: {}", ran.stdout);
    }
}

#[test]
fn a_certificate_that_the_escrow_brings_is_not_taken_on_trust() {
    let sandbox = start();
    // Only the pin shows that this is not an interrupted `keygen`.
    sandbox.write("keys/sealing.key.age", &escrow_for(&sandbox, &attacker().1));
    sandbox.remove("keys/sealing.crt");
    refused(&sandbox, &["keygen"], "keygen");
    let ran = sandbox.run(["keygen", "--accept-certificate", &digest(&attacker().0)]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    // Beside our own key, theirs is the newer one: `renew` would move everything to it.
    let sandbox = start();
    let own = fixture_text(OWN_CERTIFICATE) + &fixture_text(OWN_KEY);
    sandbox.write("keys/sealing.key.age", &escrow_for(&sandbox, &(own + &attacker().1)));
    refused(&sandbox, &["renew", "--yes"], "renew");
}

#[test]
fn another_clusters_certificate_is_compared_too() {
    let one = start();
    let sandbox = one.beside();
    for cluster in ["one", "two"] {
        for path in ["keys", "out"] {
            std::fs::create_dir_all(sandbox.path(path)).unwrap();
            let copied = std::process::Command::new("cp").arg("-a").arg(one.path(path)).arg(sandbox.path(path).join(cluster)).status();
            assert!(copied.unwrap().success());
        }
        sandbox.accept(&format!("keys/{cluster}"));
    }
    sandbox.write("keys/two/sealing.crt", attacker().0.as_bytes());
    in_every_file(&sandbox, &good(), &digest(&attacker().0));
    refused(&sandbox, &["copy", "--from", "one", "--to", "two", "--replace", "vllm-api-key", "--yes"], "copy");
}

#[test]
fn what_cannot_be_opened_here_is_sealed_only_where_the_operator_says_so() {
    let sandbox = start();
    sandbox.write("keys/sealing.crt", attacker().0.as_bytes());
    sandbox.accept("keys");
    let before = sandbox.snapshot();
    for args in [&["re-encrypt", "--yes"][..], &["re-encrypt", "--yes", "others"], &["re-encrypt", "--dry-run"]] {
        let ran = sandbox.run(args).expect(4);
        assert!(ran.stderr.contains("none of the keys here opens what would be sealed"), "{}", ran.stderr);
    }
    assert_eq!(before, sandbox.snapshot());
    let named = ["re-encrypt", "--yes", "--accept-certificate", &digest(&attacker().0)];
    assert!(sandbox.run(named).expect(0).stdout.contains("15 "));
}

/// A clone on a machine that has never seen it.
fn fresh() -> Sandbox {
    let sandbox = start();
    sandbox.write_pins("");
    sandbox
}

#[test]
fn a_machine_that_knows_none_is_told_the_digest_and_the_operator_decides() {
    needs!("script");
    let provide = "bootstrap --provide hf-token=token";
    for (answer, code) in [("no", 4), ("yes", 0)] {
        let sandbox = fresh();
        let before = sandbox.snapshot();
        // A run that seals nothing asks nothing.
        sandbox.run(["bootstrap"]).expect(0);
        let shown = at_the_prompt(&sandbox, provide, &[("Type yes: ", &format!("{answer}\r"))]);
        assert!(shown.contains(&good()) && shown.contains(&format!("code={code}")), "{shown}");
        assert_eq!(before == sandbox.snapshot(), code != 0);
        assert_eq!(sandbox.pins().contains(&format!("{} - 20", good())), code == 0, "{}", sandbox.pins());
    }
}

#[test]
fn without_a_terminal_the_digest_is_named() {
    let sandbox = fresh();
    let before = sandbox.snapshot();
    let ran = sandbox.run(["rotate", "vllm-api-key", "--yes"]).expect(4);
    assert!(ran.stderr.contains(&format!("`--accept-certificate {}`", good())), "{}", ran.stderr);
    let wrong = digest(&attacker().0);
    let ran = sandbox.run(["rotate", "vllm-api-key", "--yes", "--accept-certificate", &wrong]).expect(4);
    assert!(ran.stderr.contains(&good()) && ran.stderr.contains(&wrong), "{}", ran.stderr);
    assert_eq!((before, ""), (sandbox.snapshot(), sandbox.pins().as_str()));
    sandbox.run(["rotate", "vllm-api-key", "--yes", "--accept-certificate", &good()]).expect(0);
    // Once is enough.
    sandbox.run(["rotate", "vllm-api-key", "--yes"]).expect(0);
    sandbox.run(["verify"]).finds(&USUAL);
    let accepted = sandbox.pins();
    assert_eq!(accepted.lines().filter(|line| line.contains(" named ")).count(), 1, "{accepted}");
    assert_eq!(std::fs::metadata(sandbox.state().join("certificates")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn verify_compares_and_remembers_nothing() {
    let sandbox = fresh();
    sandbox.run(["verify", "--accept-certificate", &good()]).finds(&USUAL);
    let differs = [&USUAL[..], &["certificate-differs keys/sealing.crt"]].concat();
    sandbox.run(["verify", "--accept-certificate", &digest(&attacker().0)]).finds(&differs);
    assert_eq!(sandbox.pins(), "");
}

#[test]
fn keygen_and_renew_remember_what_they_made() {
    let made = |sandbox: &Sandbox, how: &str| {
        let pins = sandbox.pins();
        let lines: Vec<&str> = pins.lines().filter(|line| !line.starts_with('#')).collect();
        let begins = format!("{} - 20", digest(&sandbox.read("keys/sealing.crt")));
        assert!(lines.len() == 1 && lines[0].starts_with(&begins) && lines[0].contains(&format!(" {how} ")), "{pins}");
    };
    let sandbox = Sandbox::empty();
    sandbox.make_key(["keygen"]).expect(0);
    made(&sandbox, "keygen");
    assert_eq!(std::fs::metadata(sandbox.state()).unwrap().permissions().mode() & 0o777, 0o700);
    made(&Sandbox::renewed(), "renew");
}

#[test]
fn what_remembers_lies_outside_of_the_repository_and_is_nobody_elses() {
    let rotate = ["rotate", "vllm-api-key", "--yes", "--accept-certificate", &good()];
    // In the repository of the keys, the attackers it guards against could write it.
    let sandbox = fresh();
    std::fs::create_dir(sandbox.path(".git")).unwrap();
    let mut inside = sandbox.command(rotate);
    inside.env("XDG_STATE_HOME", sandbox.path("state"));
    let before = sandbox.snapshot();
    let ran = crate::common::finish(inside).expect(4);
    assert!(ran.stderr.contains("would be remembered in the repository") && ran.stderr.contains("XDG_STATE_HOME"), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
    // A file committed there is not trusted either.
    let keys = sandbox.path("keys").canonicalize().unwrap();
    sandbox.write("state/seal-secrets/certificates", pinned("", &keys, &sandbox.read("keys/sealing.crt"), None).as_bytes());
    for (args, code) in [(&["verify"][..], 0), (&["rotate", "vllm-api-key", "--yes"], 4)] {
        let mut inside = sandbox.command(args);
        inside.env("XDG_STATE_HOME", sandbox.path("state"));
        let ran = crate::common::finish(inside);
        let says = if code == 0 { "certificate-not-accepted" } else { "not yet accepted on this machine" };
        assert!(ran.code == code && (ran.stdout + &ran.stderr).contains(says), "{args:?}: {}", ran.code);
    }
    for (mode, code) in [(0o600, 0), (0o640, 0), (0o620, 4), (0o602, 4)] {
        let sandbox = start();
        std::fs::set_permissions(sandbox.state().join("certificates"), std::fs::Permissions::from_mode(mode)).unwrap();
        let ran = sandbox.run(["rotate", "vllm-api-key", "--yes"]).expect(code);
        assert!(code == 0 || ran.stderr.contains(&format!("mode {mode:04o}")) && ran.stderr.contains("chmod 600"), "{}", ran.stderr);
    }
    // If nothing can be remembered, nothing is sealed.
    let sandbox = fresh();
    let before = sandbox.snapshot();
    let mut nowhere = sandbox.command(["rotate", "vllm-api-key", "--yes", "--accept-certificate", &good()]);
    nowhere.env("XDG_STATE_HOME", "/proc/no-such-place");
    let ran = crate::common::finish(nowhere).expect(5);
    assert!(ran.stderr.contains("cannot be remembered") && ran.stderr.contains("set `XDG_STATE_HOME`"), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
    // An invalid line is an error with its place, and the other folders' lines stay.
    let sandbox = start();
    let other = pinned("", std::path::Path::new("/elsewhere/with a space/keys"), &attacker().0, Some(&fixture_text(OWN_CERTIFICATE)));
    sandbox.write_pins(&(sandbox.pins() + other.lines().last().unwrap() + "\n"));
    sandbox.run(["rotate", "vllm-api-key", "--yes", "--accept-certificate", &good()]).expect(0);
    assert!(sandbox.pins().contains(other.lines().last().unwrap()));
    sandbox.write_pins(&(sandbox.pins() + "sha256:0 /elsewhere/keys\n"));
    let ran = sandbox.run(["rotate", "vllm-api-key", "--yes"]).expect(3);
    assert!(ran.stderr.contains("certificates:5:1: ") && ran.stderr.contains("remove this line"), "{}", ran.stderr);
}

/// The attacker in each row of the threat model, by the row's first words, and the tests that play them.
const ROWS: [(&str, &[&str]); 13] = [
    (
        "reads the repository",
        &[
            "equal_values_are_sealed_under_different_session_keys",
            "the_values_stand_nowhere_but_in_the_operators_copy",
            "the_real_kubeseal_opens_what_we_seal",
        ],
    ),
    ("is a former operator", &["a_lost_operator_does_not_lose_the_platform"]),
    ("is the controller that", &["of_a_controllers_answer_only_the_ciphertexts_are_taken"]),
    ("writes to the repository", &["each_defect_is_found_by_its_code", "whatever_differs_is_found_on_its_line"]),
    (
        "swaps the certificate",
        &["nothing_is_sealed_to_a_certificate_that_the_repository_brings", "another_clusters_certificate_is_compared_too"],
    ),
    ("supplies an escrow", &["a_certificate_that_the_escrow_brings_is_not_taken_on_trust"]),
    (
        "writes the settings file",
        &[
            "what_it_may_not_say_is_an_error_with_its_place_and_changes_nothing",
            "one_that_another_user_owns_is_refused_unless_it_is_passed",
            "who_writes_it_decides_neither_whom_to_trust_nor_where_a_secret_goes",
            "what_lets_more_readers_in_is_refused_without_a_yes",
        ],
    ),
    ("supplies a weak certificate", &["k_certificates_keys_blobs", "a_prime_is_no_modulus_and_a_product_of_two_is"]),
    (
        "reads the operator's disk",
        &["the_values_stand_nowhere_but_in_the_operators_copy", "a_secret_that_git_tracks_is_refused_and_reported"],
    ),
    (
        "sees process list",
        &["the_values_stand_nowhere_but_in_the_operators_copy", "core_dumps_are_off", "what_does_not_exist_is_not_repeated"],
    ),
    ("controls a file or folder name", &["f_files", "l_command_line"]),
    ("stands between", &["each_odd_answer_has_its_error", "a_kubeconfig_that_is_no_good_is_refused_before_any_request"]),
    ("owns the cluster", &["the_reader_gets_the_named_secrets_and_nothing_else"]),
];

#[test]
fn each_row_of_the_threat_model_is_played_by_a_test() {
    let rows = fixture_text("../THREAT_MODEL.md");
    let rows = rows.lines().filter_map(|line| line.strip_prefix("| ")).filter(|row| !row.starts_with("who |"));
    let rows: Vec<&str> = rows.collect();
    assert_eq!(rows.len(), ROWS.len());
    let mut tests = String::new();
    for folder in ["offline", "offline/bad_input", "offline/units", "cluster"] {
        for file in std::fs::read_dir(crate::common::fixture(folder)).unwrap().flatten().filter(|file| file.path().is_file()) {
            tests += &std::fs::read_to_string(file.path()).unwrap();
        }
    }
    for (row, (begins, played)) in rows.iter().zip(ROWS) {
        assert!(row.starts_with(begins), "{row}");
        for test in played {
            assert!(tests.contains(&format!("#[test]\nfn {test}()")), "{begins}: there is no test {test}");
        }
    }
}
