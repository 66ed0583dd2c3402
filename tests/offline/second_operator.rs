//! A second operator's clone, and losses: every command says in the same words what is missing, who has it, and which runbook helps; and
//! none of them makes another key.

use seal_secrets::pipeline::escrow::new_identity;
use serde_json::{Value, json};

use crate::common::{Ran, Sandbox};

const NO_ESCROW: &str = "error: keys/sealing.key.age: no such file
  it is the escrow, which holds the private sealing key; git ignores it by default, so a clone does not have it
help: ask the operator who made the sealing key for it, or take it from a copy that is kept offline, and save it as `keys/sealing.key.age`; if nobody has one, `seal-secrets backup --context NAME` makes another one while the cluster runs; see docs/recovery.md#the-private-part-of-keys
";
const NO_IDENTITY: &str = "error: keys/operator.agekey: no such file
  each operator keeps an age identity of their own, and git never has one
help: pass the age identity that opens the escrow with `--identity FILE`; if it is lost, another recipient can open the escrow: see docs/recovery.md#one-operator
";
const NO_CERTIFICATE: &str = "error: keys/sealing.crt: no such file
  the escrow of its sealing key is here
help: restore it from git: `git checkout -- keys/sealing.crt`; or make it again from the escrow: `seal-secrets keygen`
";
const ONLY_UNITS: &str = "error: keys/sealing.crt: no such file
  values are sealed already, and a new sealing key would not open them
help: restore it from git: `git checkout -- keys/sealing.crt`; or pass the keys folder with `--keys DIR`; if it is lost, see docs/recovery.md#the-private-part-of-keys
";
const NO_KEY: &str = "error: keys/sealing.crt: no such file\nhelp: make the sealing key first: `seal-secrets keygen`\n";
const NO_KEY_TO_OPEN: &str = "error: keys/sealing.key.age: no such file\nhelp: make the sealing key first: `seal-secrets keygen`\n";
const NOTHING_SEALED: &str = "error: out: no sealed files\nhelp: pass the folder with `--out DIR`, or a file with `-f FILE`\n";
const NO_OUT: &str = "error: out: no such file or folder\nhelp: pass one that exists\n";
const EXISTS: &str =
    "error: keys/sealing.crt: already exists, and is never overwritten\nhelp: nothing to do: `seal-secrets bootstrap` seals to it\n";
const FINISHED: &str = "warning: keys/sealing.key.age exists without its certificate: an earlier run was interrupted, or git has the certificate on another branch; the one in the escrow is written\n";
/// Nothing on standard error.
const NONE: &str = "";

/// What is gone.
type Loss = (&'static str, fn(&Sandbox));
const LOSSES: [Loss; 5] = [
    ("escrow", |s| s.remove("keys/sealing.key.age")),
    ("escrow and identity", |s| {
        s.remove("keys/sealing.key.age");
        s.remove("keys/operator.agekey");
    }),
    ("certificate", |s| s.remove("keys/sealing.crt")),
    ("identity", |s| s.remove("keys/operator.agekey")),
    ("anything but units", |s| {
        ["sealing.key.age", "operator.agekey", "sealing.crt"].iter().for_each(|file| s.remove(&format!("keys/{file}")))
    }),
];

/// The exit code and standard error of a command after each loss, and when nothing ever existed.
type Row = (&'static str, [(i32, &'static str); 6]);

const ROWS: [Row; 13] = [
    ("verify", [(0, NONE), (0, NONE), (1, NONE), (0, NONE), (1, NONE), (1, NONE)]),
    ("verify --identity id", [(3, NO_ESCROW), (3, NO_ESCROW), (1, NONE), (0, NONE), (3, NO_ESCROW), (3, NO_KEY_TO_OPEN)]),
    ("verify --drill", [(1, NONE), (1, NONE), (1, NONE), (3, NO_IDENTITY), (1, NONE), (1, NONE)]),
    ("status --identity id", [(3, NO_ESCROW), (3, NO_ESCROW), (3, NO_CERTIFICATE), (0, NONE), (3, ONLY_UNITS), (3, NO_KEY)]),
    ("bootstrap", [(0, NONE), (0, NONE), (3, NO_CERTIFICATE), (0, NONE), (3, ONLY_UNITS), (3, NO_KEY)]),
    ("bootstrap --identity id", [(3, NO_ESCROW), (3, NO_ESCROW), (3, NO_CERTIFICATE), (0, NONE), (3, ONLY_UNITS), (3, NO_KEY)]),
    ("unseal", [(3, NO_ESCROW), (3, NO_ESCROW), (0, NONE), (3, NO_IDENTITY), (3, NO_ESCROW), (3, NOTHING_SEALED)]),
    ("key-secret", [(3, NO_ESCROW), (3, NO_ESCROW), (3, NO_CERTIFICATE), (3, NO_IDENTITY), (3, ONLY_UNITS), (3, NO_KEY)]),
    ("renew --yes", [(3, NO_ESCROW), (3, NO_ESCROW), (3, NO_CERTIFICATE), (3, NO_IDENTITY), (3, ONLY_UNITS), (3, NO_KEY)]),
    ("re-encrypt --yes", [(3, NO_ESCROW), (3, NO_ESCROW), (3, NO_CERTIFICATE), (3, NO_IDENTITY), (3, ONLY_UNITS), (3, NO_OUT)]),
    ("escrow list", [(3, NO_ESCROW), (3, NO_ESCROW), (0, NONE), (0, NONE), (3, NO_ESCROW), (3, NO_KEY_TO_OPEN)]),
    (
        "escrow remove-recipient RECIPIENT --yes",
        [
            (3, NO_ESCROW),
            (3, NO_ESCROW),
            (
                4,
                "error: the last recipient: nobody could open the escrow any more\nhelp: add another one first: `seal-secrets escrow add-recipient age1…`\n",
            ),
            (3, NO_IDENTITY),
            (3, NO_ESCROW),
            (3, NO_KEY_TO_OPEN),
        ],
    ),
    ("keygen", [(3, NO_ESCROW), (3, NO_ESCROW), (0, FINISHED), (4, EXISTS), (3, ONLY_UNITS), (0, NONE)]),
];

/// With an identity elsewhere that opens the escrow.
fn whole() -> Sandbox {
    let sandbox = Sandbox::usual_hashless();
    sandbox.write_secret("id", sandbox.read("keys/operator.agekey").as_bytes());
    sandbox
}

#[test]
fn every_command_says_the_same_of_what_is_missing() {
    let recipient = whole().own_recipient();
    for (command, expected) in ROWS {
        let never = ("everything, for it was never made", None);
        let losses = LOSSES.iter().map(|(what, lose)| (*what, Some(lose))).chain([never]);
        for ((what, lose), (code, told)) in losses.zip(expected) {
            let sandbox = if lose.is_some() { whole() } else { Sandbox::empty() };
            let recipient = if lose.is_some() { sandbox.own_recipient() } else { recipient.clone() };
            lose.map_or_else(|| sandbox.write_secret("id", whole().read("id").as_bytes()), |lose| lose(&sandbox));
            let before = sandbox.snapshot();
            let ran = sandbox.make_key(command.replace("RECIPIENT", &recipient).split(' '));
            assert_eq!((ran.code, ran.stderr.as_str()), (code, told), "{command} without {what}: {}", ran.stdout);
            if code != 0 {
                assert_eq!(before, sandbox.snapshot(), "{command} without {what}");
            }
            let help = NO_ESCROW.split_once("help: ").unwrap().1;
            if command == "verify --drill" && what.starts_with("escrow") {
                assert!(ran.stdout.contains(&format!("\nescrow       error: no such file\n             help: {help}")), "{}", ran.stdout);
            }
        }
    }
}

#[test]
fn a_keys_folder_that_does_not_exist_may_be_another_one() {
    let expected = ONLY_UNITS.replace(": `git checkout -- keys/sealing.crt`", "").replace("keys/sealing.crt", "k/sealing.crt");
    for command in ["bootstrap", "keygen", "key-secret", "renew --yes", "status"] {
        let sandbox = Sandbox::usual();
        let before = sandbox.snapshot();
        let ran = sandbox.run(command.split(' ').chain(["--keys", "k"])).expect(3);
        assert_eq!(ran.stderr, expected, "{command}");
        assert_eq!(before, sandbox.snapshot(), "{command}");
    }
}

#[test]
fn another_clusters_folders_are_named_as_its_own() {
    let sandbox = crate::copy::two_clusters();
    let own = |text: &str| text.replace("keys/", "keys/a/").replace("seal-secrets ", "seal-secrets --cluster a ");
    std::fs::rename(sandbox.path("keys/a/sealing.key.age"), sandbox.path("escrow")).unwrap();
    let ran = sandbox.run(["copy", "--from", "a", "--to", "b"]).expect(3);
    assert_eq!(ran.stderr, own(NO_ESCROW));
    std::fs::rename(sandbox.path("escrow"), sandbox.path("keys/a/sealing.key.age")).unwrap();
    sandbox.remove("keys/a/operator.agekey");
    let ran = sandbox.run(["copy", "--from", "a", "--to", "b"]).expect(3);
    assert_eq!(ran.stderr, own(NO_IDENTITY));
}

#[test]
fn without_certificate_and_identity_keygen_says_where_the_identity_goes() {
    let sandbox = whole();
    sandbox.remove("keys/sealing.crt");
    sandbox.remove("keys/operator.agekey");
    let before = sandbox.snapshot();
    let way = "put the age identity that opens the escrow at `keys/operator.agekey`, and run again";
    let expected = NO_IDENTITY.replace("pass the age identity that opens the escrow with `--identity FILE`", way);
    assert_eq!(sandbox.run(["keygen"]).expect(3).stderr, expected);
    assert_eq!(before, sandbox.snapshot());
}

#[test]
fn a_cluster_takes_over_the_recipients_of_the_folder_above() {
    let (first, second) = (new_identity().unwrap(), new_identity().unwrap());
    // From the list.
    let sandbox = Sandbox::empty();
    sandbox.write("keys/recipients.txt", format!("{}\n{}\n", first.1, second.1).as_bytes());
    let ran = sandbox.make_key(["keygen", "--cluster", "berlin"]).told("the recipients are those of keys/recipients.txt\n");
    assert!(ran.stdout.contains("encrypted to 2 recipients"), "{}", ran.stdout);
    let list = format!("# Who may open sealing.key.age: age recipients, one a line.\n{}\n{}\n", first.1, second.1);
    assert_eq!(sandbox.read("keys/berlin/recipients.txt"), list);
    assert!(!sandbox.path("keys/berlin/operator.agekey").exists());
    for identity in [&first.0, &second.0] {
        sandbox.write_secret("id", identity.as_bytes());
        sandbox.run(["key-secret", "--cluster", "berlin", "--identity", "id"]).expect(0);
    }
    // From the only identity, which then is also the cluster's default.
    let sandbox = Sandbox::with_keys().without_hash();
    sandbox.make_key(["keygen", "--cluster", "berlin"]).told("the recipients are those of keys/operator.agekey\n");
    assert!(sandbox.read("keys/berlin/recipients.txt").ends_with(&format!("\n{}\n", sandbox.own_recipient())));
    assert!(!sandbox.path("keys/berlin/operator.agekey").exists());
    sandbox.run(["key-secret", "--cluster", "berlin"]).expect(0);
    sandbox.run(["bootstrap", "--cluster", "berlin"]).expect(0);
    sandbox.run(["verify", "--drill", "--cluster", "berlin"]).expect(0);
    // A recipient that is passed or listed there, or an identity that exists there, comes first.
    let sandbox = Sandbox::with_keys();
    sandbox.make_key(["keygen", "--cluster", "a", "--recipient", &first.1]).expect(0);
    sandbox.write("keys/b/recipients.txt", format!("{}\n", second.1).as_bytes());
    sandbox.make_key(["keygen", "--cluster", "b"]).expect(0);
    sandbox.write_secret("keys/c/operator.agekey", first.0.as_bytes());
    sandbox.make_key(["keygen", "--cluster", "c"]).expect(0);
    for (cluster, identity) in [("a", &first.0), ("b", &second.0), ("c", &first.0)] {
        sandbox.write_secret("id", identity.as_bytes());
        sandbox.run(["key-secret", "--cluster", cluster, "--identity", "id"]).expect(0);
    }
}

#[test]
fn offline_copies_of_a_replaced_escrow_are_said_to_be_old() {
    let sandbox = Sandbox::bootstrapped();
    let (own, second) = (sandbox.own_recipient(), new_identity().unwrap().1);
    let old = "\ncopies of keys/sealing.key.age that are kept offline are old now: replace each by this one\n";
    for (change, left) in [("add-recipient", &[own.as_str(), &second][..]), ("remove-recipient", &[&own])] {
        let ran = sandbox.run(["escrow", change, &second, "--yes"]).told(&sandbox.will_open_for(left));
        assert_eq!(ran.stdout.matches(old).count(), 1, "{}", ran.stdout);
    }
}

fn lists(sandbox: &Sandbox, more: &[&str], code: i32) -> (String, Value) {
    let run = |json: &[&str]| -> Ran { sandbox.run([&["escrow", "list"], more, json].concat()) };
    let (text, json) = (run(&[]), run(&["--json"]));
    assert_eq!((text.code, json.code, text.stderr.as_str()), (code, code, ""), "{}", text.stdout);
    (text.stdout, serde_json::from_str(&json.stdout).unwrap())
}

#[test]
fn escrow_list_shows_who_can_open_it_and_with_an_identity_what_is_in_it() {
    let sandbox = whole();
    let (own, second) = (sandbox.own_recipient(), new_identity().unwrap().1);
    let escrow = "keys/sealing.key.age";
    let listing = |able: usize, listed: Value, agrees: Value, opened: Value| json!({ "version": 1, "escrow": escrow, "recipients": able, "listed": listed, "agrees": agrees, "opened": opened });
    // A second operator's clone has no identity, and an escrow only if it was handed over.
    sandbox.remove("keys/operator.agekey");
    let before = sandbox.snapshot();
    let (text, json) = lists(&sandbox, &[], 0);
    let unlisted =
        format!("{escrow}: 1 recipient can open it\nkeys/recipients.txt: no such file; the escrow itself does not tell who they are\n");
    assert_eq!((text, json), (unlisted.clone(), listing(1, Value::Null, Value::Null, Value::Null)));
    let (text, json) = lists(&sandbox, &["--identity", "id"], 0);
    let pinned = "sha256:b900133bef6e33e8fc87ffab13b41db30854a5013cfbaeb284e3fd8c7d6fcab0";
    let until = "2126-01-01T00:00:00Z";
    assert_eq!(text, format!("{unlisted}opened by {own}\nholds {pinned}, until {until}, the pinned one\n"));
    let opened = json!({ "recipient": own, "keys": [{ "key": pinned, "until": until, "pinned": true }] });
    assert_eq!(json, listing(1, Value::Null, Value::Null, opened));
    assert_eq!(before, sandbox.snapshot());
    sandbox.run(["escrow", "add-recipient", &second, "--yes", "--identity", "id"]).told(&sandbox.will_open_for(&[&own, &second]));
    let (text, json) = lists(&sandbox, &[], 0);
    let two = format!("{escrow}: 2 recipients can open it\nkeys/recipients.txt: names 2 recipients\n  {own}\n  {second}\n");
    assert_eq!(text, format!("{two}the two agree in number; the escrow itself does not tell who they are\n"));
    assert_eq!(json, listing(2, json!([own, second]), json!(true), Value::Null));
    sandbox.edit("keys/recipients.txt", &format!("{second}\n"), "");
    let (text, json) = lists(&sandbox, &[], 1);
    let differ = "the two differ: run what was interrupted again: `seal-secrets escrow add-recipient RECIPIENT` or `seal-secrets escrow remove-recipient RECIPIENT`\n";
    assert_eq!(text, format!("{escrow}: 2 recipients can open it\nkeys/recipients.txt: names 1 recipient\n  {own}\n{differ}"));
    assert_eq!(json, listing(2, json!([own]), json!(false), Value::Null));
    // A file that is no escrow, and an identity that does not open it.
    sandbox.write_secret("other", new_identity().unwrap().0.as_bytes());
    sandbox.run(["escrow", "list", "--identity", "other"]).expect(6);
    sandbox.write(escrow, b"not an age file");
    let ran = sandbox.run(["escrow", "list"]).expect(6);
    assert!(ran.stderr.starts_with("error: keys/sealing.key.age: not an age file"), "{}", ran.stderr);
}

#[cfg(feature = "cluster")]
#[test]
fn the_first_escrow_of_a_cluster_that_runs_already_is_for_the_same_recipients() {
    use crate::api_server::{kubeconfig, response, serve_with};
    let keys =
        || crate::common::fixture_text("fixtures/private-keys/key-list.json").replace("\"kind\": \"List\"", "\"kind\": \"SecretList\"");
    let (port, _) = serve_with(move |_, _, _| response("200 OK", "", &keys()));
    let (sandbox, (first, second)) = (Sandbox::empty(), (new_identity().unwrap(), new_identity().unwrap()));
    kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
    sandbox.write("keys/recipients.txt", format!("{}\n{}\n", first.1, second.1).as_bytes());
    let context = format!("the recipients are those of keys/recipients.txt\ncontext fake, https://127.0.0.1:{port}\n");
    // A list for which there is no escrow would have the next run encrypt to it.
    let other = sandbox.copy();
    other.write("keys/recipients.txt", format!("{}\n", crate::escrow::RECIPIENT).as_bytes());
    let ran = other.run(["backup", "--cluster", "berlin", "--kubeconfig", "kubeconfig"]).expect(3);
    assert!(
        ran.stderr.contains("`age-plugin-fake` is not in PATH") && !other.path("keys/berlin/recipients.txt").exists(),
        "{}",
        ran.stderr
    );
    let told = context + &sandbox.will_open_for(&[&first.1, &second.1]).replace("keys/", "keys/berlin/");
    let ran = sandbox.run(["backup", "--cluster", "berlin", "--kubeconfig", "kubeconfig"]).told(&told);
    assert!(!ran.stdout.contains("are old now"), "there was no escrow before: {}", ran.stdout);
    let list = format!("# Who may open sealing.key.age: age recipients, one a line.\n{}\n{}\n", first.1, second.1);
    assert_eq!(sandbox.read("keys/berlin/recipients.txt"), list);
    assert!(!sandbox.path("keys/berlin/operator.agekey").exists());
    for identity in [&first.0, &second.0] {
        sandbox.write_secret("id", identity.as_bytes());
        sandbox.run(["escrow", "list", "--cluster", "berlin", "--identity", "id"]).expect(0);
    }
}
