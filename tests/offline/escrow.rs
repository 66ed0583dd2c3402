//! Several operators: an added one can open everything, a removed one cannot; identities with a passphrase or a plugin.

use std::io::Write;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use age::armor::{ArmoredWriter, Format};
use seal_secrets::pipeline::escrow::new_identity;
use seal_secrets::world::World;

use crate::common::{Ran, Sandbox, USUAL, at_the_prompt, finish, fixture_text, needs, path, path_after, printed, program, usual};

/// Of the fake plugin in `fixtures/plugins/`.
pub const RECIPIENT: &str = "age1fake1wdjkzmpdwdjkxun9w3esqxrfvh";
pub const IDENTITY: &str = "AGE-PLUGIN-FAKE-1WDJKZMPDWDJKXUN9W3ESLP489T";
/// What it asks for, and says in its errors.
const PIN: &str = "Pn5wQ8zT2kR7vX4m";
/// The warning for those not in the list.
const SHUT_OUT: &str = "recipients.txt does not name the identity that opens the escrow here: it will not open the new one";
/// What it tells the operator.
const TOUCH: &str = "age: please touch it\n";

/// A text behind a passphrase, as `age -p` makes it; the work is an exponent of two.
pub fn protected(text: &str, passphrase: &str, work: u8) -> Vec<u8> {
    let mut recipient = age::scrypt::Recipient::new(passphrase.to_owned().into());
    recipient.set_work_factor(work);
    let recipient: &dyn age::Recipient = &recipient;
    let mut out = Vec::new();
    let mut writer = age::Encryptor::with_recipients(std::iter::once(recipient)).unwrap().wrap_output(&mut out).unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap();
    out
}

pub fn armored(bytes: &[u8]) -> Vec<u8> {
    let mut writer = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn change(sandbox: &Sandbox, what: &str, recipient: &str, identity: &str) -> Ran {
    sandbox.run(["escrow", what, recipient, "--identity", identity, "--yes"])
}

/// What stands on standard error before the escrow is written.
fn announced(sandbox: &Sandbox, warnings: &[&str], recipients: &[&str]) -> String {
    let warnings: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    warnings + &sandbox.will_open_for(recipients)
}

fn opens(sandbox: &Sandbox, identity: &str) -> bool {
    sandbox.run(["verify", "--identity", identity]).code == 0
}

fn list(sandbox: &Sandbox) -> Vec<String> {
    sandbox.read("keys/recipients.txt").lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn a_lost_operator_does_not_lose_the_platform() {
    let sandbox = Sandbox::bootstrapped();
    let own = sandbox.own_recipient();
    let (second, third) = (new_identity().unwrap(), new_identity().unwrap());
    sandbox.write_secret("second.agekey", second.0.as_bytes());
    sandbox.write_secret("third.agekey", third.0.as_bytes());
    sandbox.run(["verify"]).finds(&USUAL);
    let ran = change(&sandbox, "add-recipient", &second.1, "keys/operator.agekey");
    let ran = ran.told(&announced(&sandbox, &[], &[&own, &second.1]));
    assert!(ran.stdout.contains("encrypted to 2 recipients; read back, and it opens"), "{}", ran.stdout);
    assert_eq!(list(&sandbox), [own.as_str(), &second.1], "the first operator is listed too");
    sandbox.run(["verify"]).finds(&USUAL[1..]);

    let first = std::fs::read(sandbox.path("keys/operator.agekey")).unwrap();
    let old = std::fs::read(sandbox.path("keys/sealing.key.age")).unwrap();
    sandbox.remove("keys/operator.agekey");
    assert_eq!(sandbox.run(["unseal", "--identity", "second.agekey"]).expect(0).stdout.matches("kind: Secret").count(), 15);
    let ran = change(&sandbox, "remove-recipient", &own, "second.agekey").told(&announced(&sandbox, &[], &[&second.1]));
    for honest in ["can still open every copy of the old escrow", "git's history", "`seal-secrets renew`", "`seal-secrets rotate KEY…`"] {
        assert!(ran.stdout.contains(honest), "{}", ran.stdout);
    }
    change(&sandbox, "add-recipient", &third.1, "second.agekey").told(&announced(&sandbox, &[], &[&second.1, &third.1]));
    assert_eq!(list(&sandbox), [second.1.as_str(), &third.1]);
    assert!(opens(&sandbox, "second.agekey") && opens(&sandbox, "third.agekey"));

    // Found again, it opens the old escrow and not the new one.
    sandbox.write_secret("first.agekey", &first);
    sandbox.run(["key-secret", "--identity", "first.agekey"]).expect(6);
    sandbox.write("keys/sealing.key.age", &old);
    sandbox.run(["key-secret", "--identity", "first.agekey"]).expect(0);
}

#[test]
fn the_list_stays_as_it_was_written_and_is_what_counts() {
    let sandbox = Sandbox::hashless();
    let own = sandbox.own_recipient();
    let (second, third) = (new_identity().unwrap(), new_identity().unwrap());
    // Edited by hand, with one recipient twice; the next change updates the escrow, even for one who is already listed.
    sandbox.write("keys/recipients.txt", format!("# day\n{own}\n\n# night\n{}\n{}\n", second.1, second.1.to_uppercase()).as_bytes());
    let said = sandbox.run(["verify"]).finds(&usual(&["recipients-differ keys/sealing.key.age"])).stdout;
    assert!(said.contains(": it is encrypted to 1 recipients, and"), "{said}");
    let before = sandbox.read("keys/recipients.txt");
    let ran = change(&sandbox, "add-recipient", &second.1, "keys/operator.agekey");
    let differ = "1 recipients can open the escrow, and recipients.txt names 2";
    let ran = ran.told(&announced(&sandbox, &[differ], &[&own, &second.1]));
    assert!(ran.stdout.contains("encrypted to 2 recipients"), "{}", ran.stdout);
    assert_eq!(sandbox.read("keys/recipients.txt"), before);
    sandbox.run(["verify"]).finds(&USUAL[1..]);
    change(&sandbox, "remove-recipient", &second.1, "keys/operator.agekey").told(&announced(&sandbox, &[], &[&own]));
    assert_eq!(sandbox.read("keys/recipients.txt"), format!("# day\n{own}\n\n# night\n"));

    // A recipient that no list names is never shut out silently.
    change(&sandbox, "add-recipient", &second.1, "keys/operator.agekey").told(&announced(&sandbox, &[], &[&own, &second.1]));
    sandbox.edit("keys/recipients.txt", &second.1, "# gone");
    let differ = "2 recipients can open the escrow, and recipients.txt names 1";
    change(&sandbox, "add-recipient", &third.1, "keys/operator.agekey").told(&announced(&sandbox, &[differ], &[&own, &third.1]));
    sandbox.remove("keys/recipients.txt");
    let before = sandbox.snapshot();
    let ran = change(&sandbox, "add-recipient", &third.1, "keys/operator.agekey").expect(4);
    assert!(ran.stderr.contains("who they are is not known"), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
    // Nor because of a stranger beside the identity that opens.
    let stranger = new_identity().unwrap();
    sandbox.write_secret("both", (sandbox.read("keys/operator.agekey") + &stranger.0).as_bytes());
    let before = sandbox.snapshot();
    let ran = change(&sandbox, "add-recipient", &third.1, "both").expect(4);
    assert!(ran.stderr.contains("who they are is not known"), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
    // Operators who shut themselves out are warned, and see for whom it will open.
    sandbox.write("keys/recipients.txt", format!("{}\n{}\n", second.1, stranger.1).as_bytes());
    let told = announced(&sandbox, &[SHUT_OUT], &[&second.1, &stranger.1, &third.1]);
    change(&sandbox, "add-recipient", &third.1, "keys/operator.agekey").told(&told);
    // An interrupted removal left its list behind: a removed recipient never comes back silently.
    sandbox.write_secret("second", second.0.as_bytes());
    change(&sandbox, "remove-recipient", &third.1, "second").told(&announced(&sandbox, &[], &[&second.1, &stranger.1]));
    sandbox.write("keys/recipients.txt", format!("{}\n{}\n{}\n", second.1, stranger.1, third.1).as_bytes());
    let differ = "2 recipients can open the escrow, and recipients.txt names 3";
    let told = announced(&sandbox, &[differ], &[&second.1, &stranger.1, &third.1]);
    sandbox.make_key(["renew", "--identity", "second", "--yes"]).told(&told);
}

#[test]
fn a_change_waits_for_a_yes() {
    needs!("script");
    let sandbox = Sandbox::with_keys();
    let (_, second) = new_identity().unwrap();
    let before = sandbox.snapshot();
    let args = format!("escrow add-recipient {second}");
    let shown = at_the_prompt(&sandbox, &args, &[("Type yes: ", "no\r")]);
    assert!(shown.contains("code=4") && shown.contains(&second) && shown.contains("error: not done: the answer was not yes"), "{shown}");
    assert_eq!(before, sandbox.snapshot());
    let shown = at_the_prompt(&sandbox, &args, &[("Type yes: ", "yes\r")]);
    assert!(shown.contains("code=0"), "{shown}");
    assert_eq!(list(&sandbox).len(), 2);
}

#[test]
fn a_protected_identity_asks_for_its_passphrase() {
    needs!("script");
    const PASSPHRASE: &str = "vB7nM4kQ9xW2zT5r";
    let sandbox = Sandbox::hashless();
    let identity = sandbox.read("keys/operator.agekey");
    let (binary, wrong_text) = (protected(&identity, PASSPHRASE, 10), protected("hunter2", PASSPHRASE, 2));
    let mut flipped = binary.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let ends = binary.len();
    let rows: [(&str, Vec<u8>, &str, &str); 9] = [
        ("binary", binary.clone(), PASSPHRASE, "code=0"),
        ("armored", armored(&binary), PASSPHRASE, "code=0"),
        ("wrong passphrase", binary.clone(), "vB7nM4kQ9xW2zT5s", "code=6 id: the passphrase does not open it"),
        ("interrupted", binary.clone(), "vB7nM4kQ9xW2zT5\u{3}", "code=130 id: interrupted"),
        ("cut off", binary[..ends - 20].to_vec(), PASSPHRASE, "code=6 id: a damaged age file"),
        ("cut off in its header", armored(&binary)[..90].to_vec(), PASSPHRASE, "code=6 id: a damaged age file"),
        ("a bit flipped", flipped, PASSPHRASE, "code=6 id: a damaged age file"),
        ("no identity in it", wrong_text, PASSPHRASE, "code=3 id:1:1: not an age identity"),
        ("too much work", scrypt_of(21), PASSPHRASE, "code=3 id: its passphrase asks for more work"),
    ];
    for (what, bytes, passphrase, said) in rows {
        sandbox.write_secret("id", &bytes);
        let typed = if passphrase.ends_with('\u{3}') { passphrase.to_owned() } else { format!("{passphrase}\r") };
        let shown = at_the_prompt(&sandbox, "verify --identity id", &[("passphrase of id: ", &typed)]);
        assert!(said.splitn(2, ' ').all(|part| shown.contains(part)) && shown.contains(" echo "), "{what}: {shown}");
        assert!(!shown.contains(&PASSPHRASE[..15]) && !shown.contains("hunter2"), "{what}: {shown}");
    }
    // The default identity as well; and a file that is encrypted to an age recipient is not a matter of a passphrase.
    sandbox.write_secret("keys/operator.agekey", &binary);
    let shown = at_the_prompt(&sandbox, "key-secret --reveal", &[("passphrase of keys/operator.agekey: ", &format!("{PASSPHRASE}\r"))]);
    assert!(shown.contains("code=0") && shown.contains("kind: Secret"), "{shown}");
    sandbox.write_secret("id", &std::fs::read(sandbox.path("keys/sealing.key.age")).unwrap());
    let shown = at_the_prompt(&sandbox, "verify --identity id", &[("passphrase of id: ", "x\r")]);
    assert!(shown.contains("code=3") && shown.contains("encrypted to another one"), "{shown}");
}

/// The header of a file that asks for that much work; nothing reads further.
fn scrypt_of(work: u8) -> Vec<u8> {
    let text = String::from_utf8_lossy(&protected("x", "x", 2)).into_owned();
    let end = text.find("\n--- ").unwrap();
    let bytes = protected("x", "x", 2);
    let header = text[..end].replacen(" 2\n", &format!(" {work}\n"), 1);
    [header.as_bytes(), &bytes[end..]].concat()
}

/// The interpreter itself: PATH may have a script that looks for it each time.
fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let mut command = Command::new(program("python3"));
        command.args(["-c", "import sys; print(sys.executable)"]);
        printed(command).trim().to_owned()
    })
}

/// With the fake plugin in `bin/`.
fn with_plugin() -> Sandbox {
    with_plugin_of(&fixture_text("fixtures/plugins/age-plugin-fake").replacen("/usr/bin/env python3", python(), 1))
}

fn with_plugin_of(script: &str) -> Sandbox {
    let sandbox = Sandbox::hashless();
    sandbox.write("bin/age-plugin-fake", script.as_bytes());
    sandbox.chmod("bin/age-plugin-fake", 0o755);
    sandbox
}

/// The binary, with the plugins of `bin/`.
fn with_plugins(sandbox: &Sandbox, args: &[&str]) -> Ran {
    let mut command = sandbox.command(args);
    command.env("PATH", path_after(&sandbox.path("bin")));
    finish(command)
}

#[test]
fn a_plugin_encrypts_and_opens_and_its_words_stay_out_of_errors() {
    needs!("python3", "script");
    let sandbox = with_plugin();
    let told = announced(&sandbox, &[], &[&sandbox.own_recipient(), RECIPIENT]) + TOUCH;
    with_plugins(&sandbox, &["escrow", "add-recipient", RECIPIENT, "--yes"]).told(&told);
    // Several in one file: a plugin is asked only if no other identity opens.
    let own = sandbox.read("keys/operator.agekey");
    sandbox.write_secret("both", format!("{IDENTITY}\n{own}").as_bytes());
    sandbox.run(["key-secret", "--identity", "both"]).expect(0);
    sandbox.write_secret("id", format!("# a key\n{IDENTITY}\n").as_bytes());
    for (pin, said) in [(PIN, "code=0"), ("1234", "code=6")] {
        let shown = at_the_prompt(&sandbox, "verify --identity id", &[("PIN: ", &format!("{pin}\r"))]);
        assert!(shown.contains(said) && shown.contains("please touch it") && !shown.contains(PIN), "{shown}");
    }
    let ran = with_plugins(&sandbox, &["key-secret", "--identity", "id"]).expect(4);
    assert!(ran.stderr.contains("no terminal"), "{}", ran.stderr);
    sandbox.write("bin/fail", b"");
    let before = sandbox.snapshot();
    let (_, third) = new_identity().unwrap();
    for args in [&["key-secret", "--identity", "id"][..], &["escrow", "add-recipient", &third, "--yes"]] {
        let ran = with_plugins(&sandbox, args).expect(6);
        assert!(ran.stderr.contains("plugin") && !ran.stderr.contains(PIN), "{}", ran.stderr);
    }
    assert_eq!(before, sandbox.snapshot());
    sandbox.remove("bin/fail");
    // One run opens the escrow once, and so asks once.
    let own = sandbox.own_recipient();
    let remove = format!("escrow remove-recipient {own} --yes");
    for args in ["verify --drill", "status", "key-secret --reveal", "unseal --value vllm-api-key --reveal", "renew --dry-run", &remove] {
        let shown = at_the_prompt(&sandbox, &format!("{args} --identity id"), &[("PIN: ", &format!("{PIN}\r"))]);
        assert_eq!(shown.matches("PIN: ").count(), 1, "{args}: {shown}");
    }
}

/// Not a test by itself: a process in which a run has little patience with plugins. The process's `PATH` is where they are found.
#[test]
fn a_run_with_little_patience() {
    let Some(args) = std::env::var_os("LITTLE_PATIENCE") else { return };
    let mut world = World { plugin_patience: Duration::from_millis(300), ..World::real() };
    let args = std::iter::once("seal-secrets").chain(args.to_str().unwrap().split(' ')).map(Into::into);
    std::process::exit(i32::from(seal_secrets::run(args, &mut world)));
}

#[test]
fn a_plugin_that_hangs_is_ended_with_all_that_it_started() {
    let said = "the age plugin `age-plugin-fake` said nothing for 0 seconds, and was ended\nhelp: check the device that it waits for, and run again; or pass another `--identity FILE`\n";
    for script in ["exec sleep 600", "sleep 600", "sleep 600 & cat >/dev/null; wait", "trap '' TERM INT HUP; while :; do sleep 1; done"] {
        let sandbox = with_plugin_of(&format!("#!/bin/sh\n{script}\n"));
        sandbox.write_secret("id", format!("{IDENTITY}\n").as_bytes());
        let before = sandbox.snapshot();
        for args in ["key-secret --identity id".to_owned(), format!("escrow add-recipient {RECIPIENT} --yes")] {
            let mut command = Command::new(program("timeout"));
            command.args(["--signal=KILL", "60"]).arg(std::env::current_exe().unwrap());
            command.args(["--exact", "--nocapture", "escrow::a_run_with_little_patience"]).current_dir(sandbox.path(""));
            command.env_clear().env("PATH", path_after(&sandbox.path("bin"))).env("LITTLE_PATIENCE", &args);
            let ran = finish(command);
            let told = match args.starts_with("escrow") {
                true => sandbox.will_open_for(&[&sandbox.own_recipient(), RECIPIENT]) + "error: ",
                false => "error: keys/sealing.key.age: ".to_owned(),
            };
            assert_eq!((ran.code, ran.stderr), (6, told + said), "{script}: {args}");
        }
        assert_eq!(before, sandbox.snapshot());
        // No process of the plugin is left, nor any that it started: the `PATH` of each names the sandbox's `bin` folder.
        let left = std::fs::read_dir("/proc").unwrap().flatten().filter(|process| {
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(sandbox.path("bin").to_str().unwrap())
        });
        assert_eq!(left.count(), 0, "{script}");
    }
}

fn shell(sandbox: &Sandbox, script: &str) -> String {
    let mut command = Command::new(program("sh"));
    command.args(["-ec", script]).current_dir(sandbox.path("")).env_clear().env("PATH", path());
    printed(command)
}

#[test]
fn the_real_age_makes_what_opens_here_and_opens_what_is_made_here() {
    needs!("age", "age-keygen", "age-plugin-batchpass", "script");
    let sandbox = Sandbox::hashless();
    let recipient = shell(&sandbox, "umask 077; age-keygen -o theirs 2>/dev/null; age-keygen -y theirs");
    let told = announced(&sandbox, &[], &[&sandbox.own_recipient(), recipient.trim()]);
    change(&sandbox, "add-recipient", recipient.trim(), "keys/operator.agekey").told(&told);
    for identity in ["theirs", "keys/operator.agekey"] {
        let text = shell(&sandbox, &format!("age -d -i {identity} keys/sealing.key.age"));
        assert!(text.contains("PRIVATE KEY") && opens(&sandbox, identity));
    }
    shell(&sandbox, "umask 077; AGE_PASSPHRASE=swordfish AGE_PASSPHRASE_WORK_FACTOR=12 age -e -j batchpass -o id theirs");
    let shown = at_the_prompt(&sandbox, "verify --identity id", &[("passphrase of id: ", "swordfish\r")]);
    assert!(shown.contains("code=0"), "{shown}");
}

#[test]
fn post_quantum_recipients_stand_alone() {
    needs!("age", "age-keygen", "age-plugin-pq");
    let sandbox = Sandbox::hashless();
    let make = "umask 077; age-keygen -pq -o native 2>/dev/null; age-plugin-pq -identity -o id native; age-keygen -y native";
    let recipient = shell(&sandbox, make);
    let before = sandbox.snapshot();
    let ran = with_plugins(&sandbox, &["escrow", "add-recipient", recipient.trim(), "--yes"]).expect(3);
    assert!(ran.stderr.contains("post-quantum recipients cannot stand beside others"), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
    sandbox.write("keys/recipients.txt", recipient.as_bytes());
    let told = announced(&sandbox, &[SHUT_OUT], &[recipient.trim()]);
    with_plugins(&sandbox, &["escrow", "add-recipient", recipient.trim(), "--yes"]).told(&told);
    with_plugins(&sandbox, &["key-secret", "--identity", "id"]).expect(0);
    assert!(shell(&sandbox, "age -d -i native keys/sealing.key.age").contains("PRIVATE KEY"));
}
