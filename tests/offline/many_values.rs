//! A Secret with several values: each is made, replaced, kept and judged separately, and none is lost with another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::common::{Ran, Sandbox, Template, TestEntropy, fixture_text};
use crate::recipes::{Opened, contract, good, is_argon2id_of, opened, run, sealed, text};

/// A Secret with one of each kind of value, a Secret made of it, pairs of one kind, and certificates.
const SHOP: &str = "  - name: app
    about: the shop's database account
    type: kubernetes.io/basic-auth
    labels: { team: shop }
    operator-copy: [password]
    values:
      username: { plain: shop }
      password: { hex: { bytes: 32 } }
      hash: { argon2id: { of: password, memory: 19456, iterations: 2, parallelism: 1 } }
      token: { base64url: { bytes: 32 } }
      license: { provided: {} }
      uri: { template: 'postgres://{username}:{password}@db/shop', escape: url }
  - name: pull
    about: the same account at the registry
    recipe: { dockerconfigjson: { registry: registry.example.org, user: shop, of: app/password } }
  - name: keys
    about: key pairs
    values:
      a: { key-pair: { public: a.pub } }
      b: { key-pair: { public: b.pub } }
      id: { uuid: {} }
  - name: ca
    about: signs the server's certificate
    recipe: { tls: { authority: true, days: 3650 } }
  - name: web
    about: the server
    recipe: { tls: { names: [web.example.org], days: 90, issued-by: ca } }
";

/// The contract's hash, which takes little time, and a bcrypt hash instead.
const BCRYPT: (&str, &str) =
    ("argon2id: { of: password, memory: 19456, iterations: 2, parallelism: 1 }", "bcrypt: { of: password, cost: 10 }");

const LICENSE: &str = "9a7c-11f0-licensed-to-the-shop";
const APP: &str = "out/secret-source/app.sealed.yaml";

/// This day, counted from a fixed day 0.
fn day(n: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs((21_000 + n) * 86_400)
}

fn on(clock: fn() -> SystemTime, sandbox: &Sandbox, args: &[&str]) -> Ran {
    sandbox.run_at(clock, [args, &["--contract", "c.yaml"]].concat())
}

/// `SHOP`, sealed on day 0: the same in all tests.
fn shop() -> Sandbox {
    static SEALED: OnceLock<Template> = OnceLock::new();
    Template::sandbox(&SEALED, another_shop)
}

/// `SHOP` with its own values.
fn another_shop() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("c.yaml", contract(SHOP).as_bytes());
    sandbox.write_secret("license", LICENSE.as_bytes());
    on(|| day(0), &sandbox, &["bootstrap", "--provide", "app/license=license"]).expect(0);
    sandbox
}

/// Edits the contract.
fn with(sandbox: &Sandbox, (from, to): (&str, &str)) {
    sandbox.edit("c.yaml", from, to);
}

/// The SealedSecrets of a folder of output.
fn documents(sandbox: &Sandbox, out: &str) -> Vec<Value> {
    let files = std::fs::read_dir(sandbox.path(&format!("{out}/secret-source"))).unwrap();
    let files = files.map(|entry| entry.unwrap().path()).filter(|path| path.to_string_lossy().ends_with(".sealed.yaml"));
    let texts: Vec<String> = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let read = |text: &String| serde_yaml::Deserializer::from_str(text).map(|one| Value::deserialize(one).unwrap()).collect::<Vec<_>>();
    texts.iter().flat_map(read).collect()
}

type Blobs = BTreeMap<String, String>;

/// The ciphertext of each value.
fn blobs(sandbox: &Sandbox) -> Blobs {
    let of = |document: &Value| {
        let name = document["metadata"]["name"].as_str().unwrap().to_owned();
        let data = document["spec"]["encryptedData"].as_object().unwrap().clone();
        data.into_iter().map(move |(key, blob)| (format!("{name}/{key}"), blob.as_str().unwrap().to_owned()))
    };
    documents(sandbox, "out").iter().flat_map(of).collect()
}

/// The values that were sealed again, added or removed.
fn changed(before: &Blobs, after: &Blobs) -> BTreeSet<String> {
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    all.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The annotation `seal-secrets/made` of a SealedSecret.
fn made(sandbox: &Sandbox, secret: &str) -> String {
    let documents = documents(sandbox, "out");
    let document = documents.iter().find(|document| document["metadata"]["name"] == secret).unwrap();
    document["metadata"]["annotations"]["seal-secrets/made"].as_str().unwrap().to_owned()
}

/// Nothing is left to do, and each value is what its recipe makes.
#[track_caller]
fn settled(sandbox: &Sandbox) {
    let before = sandbox.snapshot();
    let ran = run(sandbox, &["bootstrap"]).expect(0);
    assert!(ran.stdout.starts_with("nothing to do\n"), "{}", ran.stdout);
    assert_eq!(before, sandbox.snapshot());
    good(sandbox);
}

/// `verify` with the identity finds exactly this besides the usual.
#[track_caller]
fn finds(sandbox: &Sandbox, findings: &[&str]) -> Ran {
    run(sandbox, &["verify", "--identity", "keys/operator.agekey"]).finds(&[findings, &["few-recipients keys/sealing.key.age"]].concat())
}

const TOKEN: &str = "      token: { base64url: { bytes: 32 } }\n";

#[test]
fn a_value_that_the_contract_adds_is_sealed_alone() {
    let sandbox = shop();
    settled(&sandbox);
    let (before, values) = (blobs(&sandbox), opened(&sandbox));
    with(&sandbox, (TOKEN, &format!("{TOKEN}      pepper: {{ hex: {{ bytes: 16 }} }}\n")));
    let found = finds(&sandbox, &[&format!("wrong-data {APP}:1:1")]);
    assert!(found.stdout.contains("`app` does not hold `pepper`"), "{}", found.stdout);
    let ran = on(|| day(3), &sandbox, &["bootstrap"]).expect(0);
    assert!(ran.stdout.starts_with(&format!("seal   {APP} (new): app/pepper\n")), "{}", ran.stdout);
    assert_eq!(changed(&before, &blobs(&sandbox)), names(&["app/pepper"]));
    let first = "2027-07-01";
    assert_eq!(made(&sandbox, "app"), format!("hash={first} license={first} password={first} pepper=2027-07-04 token={first}"));
    let mut now = opened(&sandbox);
    assert_eq!(now.get_mut("app").unwrap().remove("pepper").unwrap().len(), 32);
    assert_eq!(now, values);
    settled(&sandbox);
    // A value that only the operator has may be missing: nothing else waits for it.
    with(&sandbox, (TOKEN, &format!("{TOKEN}      voucher: {{ provided: {{}} }}\n      salt: {{ hex: {{ bytes: 16 }} }}\n")));
    let before = blobs(&sandbox);
    let ran = run(&sandbox, &["bootstrap"]).expect(0);
    assert!(ran.stdout.contains("(new): app/salt\n") && ran.stdout.contains("  app/voucher"), "{}", ran.stdout);
    assert_eq!(changed(&before, &blobs(&sandbox)), names(&["app/salt"]));
    let found = finds(&sandbox, &[&format!("wrong-data {APP}:1:1")]);
    assert!(found.stdout.contains("bootstrap --provide app/voucher=FILE`"), "{}", found.stdout);
    sandbox.write_secret("voucher", b"a voucher of ours");
    let before = blobs(&sandbox);
    let ran = run(&sandbox, &["bootstrap", "--provide", "app/voucher=voucher"]).expect(0);
    assert!(ran.stdout.starts_with(&format!("seal   {APP} (provided): app/voucher\n")), "{}", ran.stdout);
    assert_eq!(changed(&before, &blobs(&sandbox)), names(&["app/voucher"]));
    settled(&sandbox);
    // An import adds only the values that it contains.
    with(&sandbox, (TOKEN, &format!("{TOKEN}      one: {{ hex: {{ bytes: 16 }} }}\n      two: {{ hex: {{ bytes: 16 }} }}\n")));
    sandbox.write_secret("app.yaml", plain_secret("app", &[("one", "00112233445566778899aabbccddeeff")]).as_bytes());
    let before = blobs(&sandbox);
    run(&sandbox, &["import", "-f", "app.yaml"]).expect(0);
    assert_eq!(changed(&before, &blobs(&sandbox)), names(&["app/one"]));
}

#[test]
fn a_rotation_makes_nothing_that_is_gone_and_not_named() {
    let sandbox = shop();
    let keys = "out/secret-source/keys.sealed.yaml";
    sandbox.remove(keys);
    let before = blobs(&sandbox);
    run(&sandbox, &["rotate", "app/token", "--yes"]).expect(0);
    assert_eq!(changed(&before, &blobs(&sandbox)), names(&["app/token"]));
    assert!(!sandbox.path(keys).exists());
}

#[test]
fn a_file_that_holds_another_secret_too_is_not_written_again() {
    let sandbox = shop();
    let (app, keys) = (sandbox.read(APP), sandbox.read("out/secret-source/keys.sealed.yaml"));
    sandbox.write(APP, format!("{app}---\n{}", keys.replace("name: keys\n", "name: strange\n")).as_bytes());
    let before = sandbox.snapshot();
    run(&sandbox, &["bootstrap"]).expect(0);
    let ran = run(&sandbox, &["rotate", "app/token", "--yes"]).expect(4);
    let says = format!("error: {APP}:{}:1: `strange` is sealed in this file too", app.lines().count() + 2);
    assert!(ran.stderr.starts_with(&says), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
}

#[test]
fn what_stands_around_the_values_changes_no_ciphertext() {
    for edit in [
        ("labels: { team: shop }", "labels: { team: other, more: 'true' }"),
        ("    labels: { team: shop }\n", "    annotations: { example.org/note: x }\n"),
        ("    labels: { team: shop }\n", "    immutable: true\n    managed: true\n"),
        ("    type: kubernetes.io/basic-auth\n", ""),
        ("{ plain: shop }", "{ plain: another }"),
        ("@db/shop", "@db-rw.shop/shop?sslmode=require"),
        ("escape: url", "escape: json"),
        ("      uri:", "      host: { plain: db }\n      uri:"),
        ("about: the shop's", "about: the other shop's"),
    ] {
        let sandbox = shop();
        let before = blobs(&sandbox);
        with(&sandbox, edit);
        if !edit.0.starts_with("about") {
            let ran = run(&sandbox, &["verify"]).expect(1);
            assert!(ran.findings().iter().any(|finding| finding.starts_with(&format!("unit-differs {APP}:"))), "{edit:?}: {}", ran.stdout);
            let ran = on(|| day(5), &sandbox, &["bootstrap"]).expect(0);
            assert!(ran.stdout.contains(&format!("write  {APP} (updated): the same values\n")), "{edit:?}: {}", ran.stdout);
        }
        run(&sandbox, &["bootstrap"]).expect(0);
        assert_eq!(before, blobs(&sandbox), "{edit:?}");
        assert_eq!(made(&sandbox, "app"), "2027-07-01");
        settled(&sandbox);
    }
}

#[test]
fn one_value_rotates_with_what_is_made_of_it_and_nothing_else() {
    let sandbox = shop();
    let (before, old) = (blobs(&sandbox), opened(&sandbox));
    let ran = on(|| day(7), &sandbox, &["rotate", "app/password", "--yes"]).expect(0);
    assert!(
        ran.stdout.starts_with(&format!("seal   {APP} (replaced): app/password, app/hash, pull/.dockerconfigjson\n")),
        "{}",
        ran.stdout
    );
    assert_eq!(changed(&before, &blobs(&sandbox)), names(&["app/password", "app/hash", "pull/.dockerconfigjson"]));
    let (first, now) = ("2027-07-01", "2027-07-08");
    assert_eq!(made(&sandbox, "app"), format!("hash={now} license={first} password={now} token={first}"));
    assert_eq!((made(&sandbox, "pull").as_str(), made(&sandbox, "keys").as_str()), (now, first));
    let new = opened(&sandbox);
    let password = text(&new, "app", "password");
    assert_ne!(password, text(&old, "app", "password"));
    assert_eq!(sandbox.read("secrets/app_password"), password);
    assert_eq!(text(&new, "app", "uri"), format!("postgres://shop:{password}@db/shop"));
    is_argon2id_of(password, text(&new, "app", "hash"), [19_456, 2, 1]);
    assert!(text(&new, "pull", ".dockerconfigjson").contains(password));
    settled(&sandbox);
    // Any of the three names has the same effect.
    for name in ["app/hash", "pull/.dockerconfigjson", "pull"] {
        let before = blobs(&sandbox);
        run(&sandbox, &["rotate", name, "--yes"]).expect(0);
        assert_eq!(changed(&before, &blobs(&sandbox)), names(&["app/password", "app/hash", "pull/.dockerconfigjson"]), "{name}");
    }
    // A Secret's name means all of its generated values.
    for (name, all) in [
        ("keys", &["keys/a", "keys/a.pub", "keys/b", "keys/b.pub", "keys/id"][..]),
        ("keys/b", &["keys/b", "keys/b.pub"]),
        ("app", &["app/hash", "app/password", "app/token", "pull/.dockerconfigjson"]),
        ("ca", &["ca/tls.crt", "ca/tls.key", "web/ca.crt", "web/tls.crt", "web/tls.key"]),
        ("web", &["ca/tls.crt", "ca/tls.key", "web/ca.crt", "web/tls.crt", "web/tls.key"]),
    ] {
        let before = blobs(&sandbox);
        run(&sandbox, &["rotate", name, "--yes"]).expect(0);
        assert_eq!(changed(&before, &blobs(&sandbox)), names(all), "{name}");
    }
    assert_eq!(text(&opened(&sandbox), "app", "license"), LICENSE);
    settled(&sandbox);
}

const OPENED: [&str; 2] = ["--identity", "keys/operator.agekey"];

#[test]
fn what_a_value_is_made_of_stays_where_it_can_be_opened() {
    let sandbox = shop();
    for (name, all) in [
        ("web", &["web/ca.crt", "web/tls.crt", "web/tls.key"][..]),
        ("web/tls.crt", &["web/tls.crt"]),
        ("ca", &["ca/tls.crt", "ca/tls.key", "web/ca.crt", "web/tls.crt"]),
        ("app/hash", &["app/hash"]),
        ("app/password", &["app/hash", "app/password", "pull/.dockerconfigjson"]),
        ("pull", &["pull/.dockerconfigjson"]),
        ("keys/b", &["keys/b", "keys/b.pub"]),
    ] {
        let (before, old) = (blobs(&sandbox), opened(&sandbox));
        run(&sandbox, &[&["rotate", name, "--yes"], &OPENED[..]].concat()).expect(0);
        assert_eq!(changed(&before, &blobs(&sandbox)), names(all), "{name}");
        let new = opened(&sandbox);
        assert_eq!(new["ca"] == old["ca"], name != "ca", "{name}");
        assert_eq!(new["app"]["password"] == old["app"]["password"], name != "app/password", "{name}");
        settled(&sandbox);
    }
    // Each value's own day counts.
    on(|| day(10), &sandbox, &["rotate", "ca", "app/password", "--yes"]).expect(0);
    let before = blobs(&sandbox);
    on(|| day(12), &sandbox, &[&["rotate", "--older-than", "5d", "--yes"], &OPENED[..]].concat()).warned(&[
        "`app/license` is older, and only you can replace it: `seal-secrets --contract c.yaml rotate --provide app/license=FILE`",
    ]);
    let old = ["app/token", "keys/a", "keys/a.pub", "keys/b", "keys/b.pub", "keys/id"];
    assert_eq!(changed(&before, &blobs(&sandbox)), names(&old));
    // An authority that expires first no longer signs.
    let before = sandbox.snapshot();
    let ran = on(|| day(3600), &sandbox, &[&["rotate", "web", "--yes"], &OPENED[..]].concat()).expect(4);
    let says = "`ca/tls.crt` ends on 2037-07-07, before a certificate that it signs now would";
    assert!(ran.stderr.contains(says) && ran.stderr.contains("`seal-secrets --contract c.yaml rotate ca/tls.crt`"), "{}", ran.stderr);
    // A run that opens nothing changes nothing.
    let (_, other) = seal_secrets::pipeline::escrow::new_identity().map(|(identity, public)| (public, identity.to_string())).unwrap();
    sandbox.write_secret("other.agekey", other.as_bytes());
    let ran = run(&sandbox, &["rotate", "web", "--yes", "--identity", "other.agekey"]).expect(6);
    assert!(ran.stderr.contains("the escrow is not encrypted to this identity"), "{}", ran.stderr);
    sandbox.remove("other.agekey");
    let after = sandbox.snapshot();
    let files = |all: &BTreeMap<std::path::PathBuf, (u32, i64, i64, Vec<u8>)>| -> Vec<_> {
        all.iter().map(|(path, (mode, _, _, bytes))| (path.clone(), *mode, bytes.clone())).collect()
    };
    assert_eq!(files(&before), files(&after));
}

#[test]
fn a_value_that_the_contract_makes_of_sealed_ones_needs_an_identity() {
    let sandbox = shop();
    sandbox.write("c.yaml", contract(&(SHOP.to_owned() + MIXED)).as_bytes());
    let (before, old) = (blobs(&sandbox), opened(&sandbox));
    let ran = run(&sandbox, &["bootstrap"]).expect(4);
    let help = "open what it is made of: `seal-secrets --contract c.yaml bootstrap --identity FILE`; or restore it";
    assert!(ran.stderr.contains(help), "{}", ran.stderr);
    run(&sandbox, &[&["bootstrap"], &OPENED[..]].concat()).expect(0);
    let (after, new) = (blobs(&sandbox), opened(&sandbox));
    assert_eq!(changed(&before, &after), names(&["both/line"]));
    assert_eq!(text(&new, "both", "line"), format!("{} {LICENSE}", text(&old, "app", "password")));
    settled(&sandbox);
    // One of two sources is replaced; the other stays.
    sandbox.write_secret("license", b"another license of the shop");
    run(&sandbox, &[&["rotate", "--provide", "app/license=license", "--yes"], &OPENED[..]].concat()).expect(0);
    assert_eq!(changed(&after, &blobs(&sandbox)), names(&["app/license", "both/line"]));
    settled(&sandbox);
    // A value missing from a write-once Secret may have been lost: it gets no second value.
    let contract = contract("  - name: app\n    about: x\n    write-once: true\n    values: { a: { hex: { bytes: 16 } } }\n");
    let sandbox = crate::recipes::sealed_by(&contract, &[]);
    sandbox.write("c.yaml", contract.replace("{ a:", "{ b: { bcrypt: { of: a, cost: 10 } }, a:").as_bytes());
    let before = sandbox.snapshot();
    for args in [&["bootstrap"][..], &[&["bootstrap"], &OPENED[..]].concat()] {
        let ran = run(&sandbox, args).expect(4);
        assert!(ran.stderr.contains("cannot be made alone") && !ran.stderr.contains("--identity FILE"), "{}", ran.stderr);
    }
    assert_eq!(before, sandbox.snapshot());
}

#[test]
fn what_is_older_rotates_by_the_day_of_each_value() {
    let sandbox = shop();
    on(|| day(10), &sandbox, &["rotate", "app/token", "keys/a", "--yes"]).expect(0);
    let before = blobs(&sandbox);
    let warned = "`app/license` is older, and only you can replace it: `seal-secrets --contract c.yaml rotate --provide app/license=FILE`";
    on(|| day(12), &sandbox, &["rotate", "--older-than", "5d", "--yes"]).warned(&[warned]);
    let mut expected: BTreeSet<String> = before.keys().cloned().collect();
    ["app/license", "app/token", "keys/a", "keys/a.pub"].iter().for_each(|name| assert!(expected.remove(*name)));
    assert_eq!(changed(&before, &blobs(&sandbox)), expected);
    let (ten, twelve) = ("2027-07-11", "2027-07-13");
    assert_eq!(made(&sandbox, "keys"), format!("a={ten} a.pub={ten} b={twelve} b.pub={twelve} id={twelve}"));
    let before = blobs(&sandbox);
    let ran = on(|| day(12), &sandbox, &["rotate", "--older-than", "5d", "--yes"]).warned(&[warned]);
    assert!(ran.stdout.starts_with("nothing to do\n") && before == blobs(&sandbox), "{}", ran.stdout);
}

/// Made of a value that only the operator has, and of a generated one.
const MIXED: &str = "  - name: both
    about: made of both
    values: { line: { template: '{app/password} {app/license}' } }
";

#[test]
fn what_is_made_of_a_provided_value_rotates_with_that_in_hand() {
    let sandbox = shop();
    sandbox.write("c.yaml", contract(&(SHOP.to_owned() + MIXED)).as_bytes());
    // Its sources are sealed already: it cannot be made alone.
    let ran = run(&sandbox, &["bootstrap"]).expect(4);
    assert!(ran.stderr.contains("`both` is missing from its unit"), "{}", ran.stderr);
    ["out", "secrets"].iter().for_each(|folder| std::fs::remove_dir_all(sandbox.path(folder)).unwrap());
    sandbox.remove("keys/sealed.txt");
    on(|| day(0), &sandbox, &["bootstrap", "--start-over", "--provide", "app/license=license"]).expect(0);
    settled(&sandbox);
    let before = sandbox.snapshot();
    for name in ["app/password", "both", "app"] {
        let ran = run(&sandbox, &["rotate", name, "--yes"]).expect(2);
        assert!(
            ran.stderr.contains("`app/license` is replaced too") && ran.stderr.contains("`--provide app/license=FILE`"),
            "{}",
            ran.stderr
        );
    }
    let command = |name: &str| format!("seal-secrets --contract c.yaml rotate{name} --provide app/license=FILE");
    let warned: Vec<String> = ["app/password", "app/license", "app/hash", "both/line", "pull/.dockerconfigjson"]
        .map(|name| {
            let named = if name == "app/license" { String::new() } else { format!(" {name}") };
            format!("`{name}` is older, and only you can replace it: `{}`", command(&named))
        })
        .into();
    let ran = on(|| day(90), &sandbox, &["rotate", "--older-than", "5d", "--dry-run"]);
    let mut told: Vec<&str> = ran.stderr.lines().collect();
    told.sort_unstable();
    let mut expected: Vec<String> = warned.iter().map(|line| format!("warning: {line}")).collect();
    expected.sort_unstable();
    assert_eq!(told, expected);
    assert!(ran.stdout.contains("(replaced): app/token\n") && before == sandbox.snapshot(), "{}", ran.stdout);
    sandbox.write_secret("license", b"another license of the shop");
    run(&sandbox, &["rotate", "app/password", "--provide", "app/license=license", "--yes"]).expect(0);
    let values = opened(&sandbox);
    assert_eq!(text(&values, "both", "line"), format!("{} another license of the shop", text(&values, "app", "password")));
    // A unit whose file is gone is made as a whole.
    sandbox.remove(APP);
    let ran = run(&sandbox, &["rotate", "app/token", "--yes"]).expect(2);
    assert!(ran.stderr.contains("`app/license` is replaced too"), "{}", ran.stderr);
    run(&sandbox, &["rotate", "app/token", "--provide", "app/license=license", "--yes"]).expect(0);
    settled(&sandbox);
}

/// Two of the operator's values, a value made of one of them, and one made of both.
const LICENSES: &str = "  - name: app
    about: x
    values:
      license: { provided: {} }
      voucher: { provided: {} }
      token: { hex: { bytes: 16 } }
  - name: one
    about: x
    values: { line: { template: '{app/voucher} {app/token}' } }
";

#[test]
fn what_the_operator_has_not_provided_yet_is_awaited_and_the_rest_is_made_once_one_is() {
    let sandbox = Sandbox::with_keys();
    sandbox.write("c.yaml", contract(&(LICENSES.to_owned() + ONCE)).as_bytes());
    sandbox.write_secret("license", LICENSE.as_bytes());
    sandbox.write_secret("voucher", b"a voucher of ours");
    let yours = "yours to add, with `seal-secrets --contract c.yaml bootstrap --provide KEY=FILE`:\n";
    // A new Secret is not sealed before the operator provides one of its values.
    let ran = run(&sandbox, &["bootstrap"]).expect(0);
    assert!(ran.stdout.contains(&format!("{yours}  app/license\n  app/voucher\n")), "{}", ran.stdout);
    assert_eq!(blobs(&sandbox).into_keys().collect::<BTreeSet<_>>(), names(&["vault/key", "vault/salt"]));
    run(&sandbox, &["verify"]).finds(&["few-recipients keys/sealing.key.age".to_owned(), format!("not-yet-provided {APP}")]);
    // With one of the two, values that need the other stay missing; the rest is made.
    let ran = run(&sandbox, &["bootstrap", "--provide", "app/license=license"]).expect(0);
    assert!(ran.stdout.starts_with(&format!("seal   {APP} (provided): app/license\n")), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("{yours}  app/voucher\n")), "{}", ran.stdout);
    run(&sandbox, &["bootstrap"]).expect(0);
    let ran = run(&sandbox, &["bootstrap", "--provide", "app/voucher=voucher"]).expect(0);
    assert!(ran.stdout.starts_with(&format!("seal   {APP} (provided): app/voucher, app/token, one/line\n")), "{}", ran.stdout);
    settled(&sandbox);
    let values = opened(&sandbox);
    assert_eq!(text(&values, "one", "line"), format!("a voucher of ours {}", text(&values, "app", "token")));
}

#[test]
fn a_long_chain_of_values_is_sealed_in_the_unit_of_its_first() {
    let link = |i: usize| format!("  - name: a{i}\n    about: x\n    recipe: {{ template: '{{a{}/value}}!' }}\n", i + 1);
    let secrets: String = (0..8).map(link).collect::<String>() + "  - name: a8\n    about: x\n    recipe: { hex: { bytes: 32 } }\n";
    let sandbox = sealed(&secrets, &[]);
    settled(&sandbox);
    let files = std::fs::read_dir(sandbox.path("out/secret-source")).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(files.filter(|file| file.ends_with(".sealed.yaml")).collect::<Vec<_>>(), ["a8.sealed.yaml"]);
    let values = opened(&sandbox);
    assert_eq!(text(&values, "a0", "value"), format!("{}!!!!!!!!", text(&values, "a8", "value")));
}

#[test]
fn two_values_that_are_sealed_together_are_provided_together() {
    let sandbox = Sandbox::with_keys();
    sandbox.write("c.yaml", contract(&LICENSES.replace("{app/token}", "{app/license}")).as_bytes());
    sandbox.write_secret("license", LICENSE.as_bytes());
    let ran = run(&sandbox, &["bootstrap", "--provide", "app/license=license"]).expect(2);
    assert!(ran.stderr.contains("`app/license` is sealed together with `app/voucher`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("`--provide app/voucher=FILE` as well"), "{}", ran.stderr);
    run(&sandbox, &["bootstrap", "--provide", "app/license=license", "--provide", "app/voucher=license"]).expect(0);
    settled(&sandbox);
}

/// Swaps two values of a SealedSecret between their data keys.
fn swap(sandbox: &Sandbox, secret: &str, one: &str, two: &str) {
    let all = blobs(sandbox);
    let file = format!("out/secret-source/{secret}.sealed.yaml");
    let (first, second) = (&all[&format!("{secret}/{one}")], &all[&format!("{secret}/{two}")]);
    let swapped = sandbox.read(&file).replace(first, "FIRST").replace(second, first).replace("FIRST", second);
    sandbox.write(&file, swapped.as_bytes());
}

#[test]
fn swapped_values_are_found_where_their_recipes_differ() {
    let app = |code: &str| format!("{code} {APP}");
    let keys = |code: &str| format!("{code} out/secret-source/keys.sealed.yaml");
    let rows: [(&str, &str, &str, Vec<String>); 3] = [
        // The lengths already differ.
        ("app", "password", "token", vec![app("wrong-length"), app("wrong-length")]),
        // Any text may be a license.
        ("app", "license", "hash", vec![app("hash-differs"), app("wrong-value")]),
        // Two of one kind: each is a good private key, but neither belongs to the public half beside it.
        ("keys", "a", "b", vec![keys("wrong-value"), keys("wrong-value")]),
    ];
    let place = regex::Regex::new("(:[0-9]+){2}$").unwrap();
    let found = |sandbox: &Sandbox| -> Vec<String> {
        let found = run(sandbox, &["verify", "--identity", "keys/operator.agekey"]).expect(1).findings();
        found.iter().map(|finding| place.replace(finding, "").into_owned()).filter(|finding| !finding.starts_with("few-")).collect()
    };
    for (secret, one, two, expected) in rows {
        let sandbox = shop();
        swap(&sandbox, secret, one, two);
        assert_eq!(found(&sandbox), expected, "{secret}: {one} and {two}");
    }
    // All bcrypt hashes have the same length, and no other hash has it.
    let sandbox = shop();
    with(&sandbox, BCRYPT);
    assert_eq!(found(&sandbox), [app("wrong-length")]);
}

/// Replaces a value by the same value of another sandbox: it opens there.
fn plant(from: &Sandbox, to: &Sandbox, file: &str, name: &str) {
    let (own, other) = (blobs(to)[name].clone(), blobs(from)[name].clone());
    to.edit(&format!("out/secret-source/{file}.sealed.yaml"), &own, &other);
}

#[test]
fn what_is_made_of_another_value_is_found() {
    let other = another_shop();
    for (file, name, code, says) in [
        ("app", "app/hash", "hash-differs", "`app/hash` is not a hash of `app/password`: nobody could log in"),
        ("app", "pull/.dockerconfigjson", "wrong-value", "`pull/.dockerconfigjson` is not what its recipe makes of `app/password`"),
        ("keys", "keys/a.pub", "wrong-value", "`keys/a.pub` is not what its recipe makes of `keys/a`"),
        ("ca", "web/tls.crt", "wrong-value", "`web/tls.crt` is not what its recipe makes of `web/tls.key`"),
        ("ca", "web/ca.crt", "wrong-value", "`web/ca.crt` is not what its recipe makes of `ca/tls.crt`"),
    ] {
        let sandbox = shop();
        plant(&other, &sandbox, file, name);
        run(&sandbox, &["verify"]).expect(0);
        let found = finds(&sandbox, &[&format!("{code} out/secret-source/{file}.sealed.yaml")]);
        assert!(found.stdout.contains(says), "{}", found.stdout);
    }
    // With the other sandbox's password, everything made of it differs.
    let sandbox = shop();
    plant(&other, &sandbox, "app", "app/password");
    finds(&sandbox, &[&format!("hash-differs {APP}"), &format!("wrong-value {APP}"), "copy-differs secrets/app_password"]);
    // The suggested remedy works.
    run(&sandbox, &["rotate", "app/password", "--yes"]).expect(0);
    settled(&sandbox);
}

#[test]
fn a_changed_recipe_of_a_derived_value_is_found_and_rotated() {
    for (from, to, name) in [("user: shop", "user: robot", "pull/.dockerconfigjson"), ("iterations: 2", "iterations: 3", "app/hash")] {
        let sandbox = shop();
        with(&sandbox, (from, to));
        let ran = run(&sandbox, &["verify", "--identity", "keys/operator.agekey"]).expect(1);
        assert!(ran.stdout.contains(&format!("`{name}`")) && ran.stdout.contains("error[wrong-value]"), "{}", ran.stdout);
        let before = blobs(&sandbox);
        run(&sandbox, &["bootstrap"]).expect(0);
        assert_eq!(before, blobs(&sandbox), "a sealed value stays");
        run(&sandbox, &["rotate", name, "--yes"]).expect(0);
        settled(&sandbox);
    }
}

#[test]
fn a_value_that_the_contract_dropped_stays_and_is_found() {
    let sandbox = shop();
    let (before, values) = (blobs(&sandbox), opened(&sandbox));
    with(&sandbox, (TOKEN, ""));
    let ran = run(&sandbox, &["bootstrap"]).expect(0);
    assert!(ran.stdout.starts_with("nothing to do\n"), "{}", ran.stdout);
    let line = 1 + sandbox.read(APP).lines().position(|line| line.trim_start().starts_with("token: ")).unwrap();
    let place = format!("wrong-data {APP}:{line}:12");
    let found = finds(&sandbox, &[&place]);
    assert!(found.stdout.contains("`app` holds `token`, which the contract does not have"), "{}", found.stdout);
    run(&sandbox, &["rotate", "app", "--yes"]).expect(0);
    assert_eq!(changed(&before, &blobs(&sandbox)), names(&["app/hash", "app/password", "pull/.dockerconfigjson"]));
    assert_eq!(opened(&sandbox)["app"]["token"], values["app"]["token"]);
    finds(&sandbox, &[&place]);
    with(&sandbox, ("      license:", &format!("{TOKEN}      license:")));
    settled(&sandbox);
}

fn plain_secret(name: &str, data: &[(&str, &str)]) -> String {
    let data: String = data.iter().map(|(key, value)| format!("  {key}: {}\n", BASE64_STANDARD.encode(value))).collect();
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{ name: {name}, namespace: vault }}\ndata:\n{data}---\n")
}

#[test]
fn a_secret_with_several_values_is_imported() {
    let hash = bcrypt::hash("correct horse", 10).unwrap();
    let sandbox = Sandbox::with_keys();
    sandbox.write("c.yaml", contract(&SHOP.replace(BCRYPT.0, BCRYPT.1)).as_bytes());
    let all =
        [("username", "other"), ("password", "correct horse"), ("hash", &hash), ("token", "t-1"), ("license", LICENSE), ("more", "x")];
    sandbox.write_secret("app.yaml", (plain_secret("app", &all) + &plain_secret("keys", &[("id", "0-1")])).as_bytes());
    let ran = run(&sandbox, &["import", "-f", "app.yaml"]).expect(0);
    assert!(ran.stdout.contains("note   skipped 1 value: for no key of the contract\n"), "{}", ran.stdout);
    let values = opened(&sandbox);
    for (key, value) in &all[1..5] {
        assert_eq!(text(&values, "app", key), *value);
    }
    assert_eq!(text(&values, "app", "uri"), "postgres://shop:correct%20horse@db/shop");
    assert!(text(&values, "pull", ".dockerconfigjson").contains("correct horse"), "what is made of it is made");
    assert_eq!(sandbox.read("secrets/app_password"), "correct horse");
    let documents = documents(&sandbox, "out");
    let marked = |secret: &str| documents.iter().find(|one| one["metadata"]["name"] == secret).unwrap()["metadata"]["annotations"].clone();
    // The recipe asks for version 2a; the hash is 2b.
    assert_eq!(marked("app")["seal-secrets/imported"], "hash password token");
    assert_eq!(marked("keys")["seal-secrets/imported"], "true");
    run(&sandbox, &["bootstrap"]).expect(0);
    settled(&sandbox);
    // In a Secret that is sealed already, only values listed with `--replace` are replaced.
    sandbox.write_secret("app.yaml", plain_secret("app", &[("token", "t-2"), ("license", "l-2")]).as_bytes());
    let before = blobs(&sandbox);
    run(&sandbox, &["import", "-f", "app.yaml"]).kept(&["app/token", "app/license"]);
    assert_eq!(before, blobs(&sandbox));
    run(&sandbox, &["import", "-f", "app.yaml", "--replace", "app/token", "--yes"]).kept(&["app/license"]);
    assert_eq!(changed(&before, &blobs(&sandbox)), names(&["app/token"]));
    assert_eq!(text(&opened(&sandbox), "app", "token"), "t-2");
    settled(&sandbox);
    // With the names that env files use, and from a folder.
    sandbox.write_secret("env", b"APP_TOKEN=t-3\nkeys.id=x\n");
    run(&sandbox, &["import", "--env-file", "env", "--replace", "app/token", "--yes"]).expect(0);
    sandbox.write_secret("folder/app_token", b"t-4");
    run(&sandbox, &["import", "--from-directory", "folder", "--replace", "app/token", "--yes"]).expect(0);
    assert_eq!(text(&opened(&sandbox), "app", "token"), "t-4");
}

#[test]
fn an_import_that_does_not_fit_is_refused() {
    let long = "x".repeat(73);
    let hash = bcrypt::hash("another", 10).unwrap();
    for (data, code, says) in [
        (&[("hash", hash.as_str())][..], 3, "`app/hash` is a bcrypt hash of `app/password`, and `app/password` is in none of the sources"),
        (&[("hash", &hash), ("password", "correct horse")], 4, "`app/hash` is not a hash of the password that was found with it"),
        (&[("password", &long)], 3, "`app/password` is longer than the 72 bytes that bcrypt hashes"),
        (&[("license", "changeme")], 3, "`app/license` is a placeholder"),
    ] {
        let sandbox = shop();
        with(&sandbox, BCRYPT);
        sandbox.write_secret("app.yaml", plain_secret("app", data).as_bytes());
        let before = sandbox.snapshot();
        let ran = run(&sandbox, &["import", "-f", "app.yaml", "--yes"]).expect(code);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
        assert_eq!(before, sandbox.snapshot());
    }
    let other = opened(&shop());
    for (secret, key, says) in [
        ("keys", "a.pub", "`keys/a.pub` is made of `keys/a`, and `keys/a` is in none of the sources"),
        ("web", "tls.crt", "`web/tls.crt` is made of `"),
        ("pull", ".dockerconfigjson", "`pull/.dockerconfigjson` is made of `app/password`"),
    ] {
        let sandbox = shop();
        sandbox.write_secret("one.yaml", plain_secret(secret, &[(key, text(&other, secret, key))]).as_bytes());
        let ran = run(&sandbox, &["import", "-f", "one.yaml", "--yes"]).expect(3);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
    // A public half of another key.
    let sandbox = shop();
    let mixed = [("a", text(&other, "keys", "a")), ("a.pub", text(&other, "keys", "b.pub"))];
    sandbox.write_secret("one.yaml", plain_secret("keys", &mixed).as_bytes());
    let ran = run(&sandbox, &["import", "-f", "one.yaml", "--replace", "keys/a", "--replace", "keys/a.pub", "--yes"]).expect(4);
    assert!(ran.stderr.contains("`keys/a.pub` does not belong to `keys/a`"), "{}", ran.stderr);
}

#[test]
fn what_unseal_prints_can_be_imported_with_all_that_is_made_of_it() {
    let (from, to) = (shop(), Sandbox::with_keys());
    let lines = "  - name: lines\n    about: values of one line each, with its end\n    values:\n      id: { ssh-key: { public: id.pub } }\n      jwk: { key-pair: { format: jwk } }\n  - { name: line, about: x, recipe: { template: \"{lines/id.pub}\\n\" } }\n";
    [&from, &to].iter().for_each(|sandbox| sandbox.write("c.yaml", contract(&(SHOP.to_owned() + lines)).as_bytes()));
    run(&from, &["bootstrap"]).expect(0);
    to.write_secret("backup", from.run(["unseal"]).expect(0).stdout.as_bytes());
    run(&to, &["import", "-f", "backup"]).expect(0);
    assert_eq!(opened(&from), opened(&to));
    run(&to, &["bootstrap"]).expect(0);
    settled(&to);
}

#[test]
fn unseal_prints_a_secret_or_one_value_of_it() {
    let sandbox = shop();
    let values = opened(&sandbox);
    assert_eq!(sandbox.run(["unseal", "--value", "app/password"]).expect(0).stdout, text(&values, "app", "password"));
    assert_eq!(sandbox.run(["unseal", "--value", "app/password", "--reveal"]).expect(0).stdout, text(&values, "app", "password"));
    assert_eq!(sandbox.run(["unseal", "--value", "app/uri"]).expect(0).stdout, text(&values, "app", "uri"));
    let printed = |args: &[&str]| -> BTreeSet<String> {
        let ran = sandbox.run([&["unseal", "-o", "json"], args].concat()).expect(0);
        let list: Value = serde_json::from_str(&ran.stdout).unwrap();
        let items = list["items"].as_array().cloned().unwrap_or_else(|| vec![list.clone()]);
        let of = |item: &Value| {
            let name = item["metadata"]["name"].as_str().unwrap().to_owned();
            item["data"].as_object().unwrap().keys().map(move |key| format!("{name}/{key}")).collect::<Vec<_>>()
        };
        items.iter().flat_map(of).collect()
    };
    assert_eq!(printed(&["app/password", "keys/id"]), names(&["app/password", "keys/id"]));
    assert_eq!(printed(&["app"]), names(&["app/hash", "app/license", "app/password", "app/token", "app/uri", "app/username"]));
    let ran = sandbox.run(["unseal", "--value", "app"]).expect(3);
    assert!(ran.stderr.contains("`app` has 6 values") && ran.stderr.contains("`--value app/"), "{}", ran.stderr);
    let ran = sandbox.run(["unseal", "--value", "app/nothing"]).expect(3);
    assert!(ran.stderr.contains("`app/nothing` has 0 values"), "{}", ran.stderr);
    sandbox.run(["unseal", "nothing/password"]).expect(2);
}

#[test]
fn operators_copies_are_of_single_values() {
    let sandbox = shop();
    let password = sandbox.value("app/password");
    assert_eq!(sandbox.read("secrets/app_password"), password);
    let copies = || -> BTreeSet<String> {
        let names = std::fs::read_dir(sandbox.path("secrets")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with('.')).collect()
    };
    assert_eq!(copies(), names(&["app_password"]));
    sandbox.remove("secrets/app_password");
    finds(&sandbox, &["copy-missing secrets/app_password"]);
    let ran = run(&sandbox, &["bootstrap"]).expect(0);
    assert!(ran.stdout.starts_with("copy   secrets/app_password (restored"), "{}", ran.stdout);
    assert_eq!(sandbox.read("secrets/app_password"), password);
    sandbox.write_secret("secrets/app_password", b"another");
    finds(&sandbox, &["copy-differs secrets/app_password"]);
    run(&sandbox, &["bootstrap", "--identity", "keys/operator.agekey"]).expect(0);
    settled(&sandbox);
    // All of them.
    with(&sandbox, ("operator-copy: [password]", "operator-copy: true"));
    run(&sandbox, &["bootstrap", "--identity", "keys/operator.agekey"]).expect(0);
    assert_eq!(copies(), names(&["app_hash", "app_license", "app_password", "app_token"]));
}

const ONCE: &str = "  - name: vault
    about: encrypts the documents
    write-once: true
    values:
      salt: { hex: { bytes: 16 } }
      key: { base64: { bytes: 32 } }
";

#[test]
fn a_write_once_secret_may_get_values_and_keeps_their_recipes() {
    let unit = "out/secret-source/vault.sealed.yaml";
    let sandbox = Sandbox::with_keys();
    sandbox.write("c.yaml", contract(ONCE).as_bytes());
    run(&sandbox, &["bootstrap"]).expect(0);
    let before = blobs(&sandbox);
    assert!(sandbox.read(unit).contains("seal-secrets/write-once: \"key: 32 bytes base64; salt: 32 hex\"\n"), "{}", sandbox.read(unit));
    with(&sandbox, ("      salt:", "      pepper: { uuid: {} }\n      salt:"));
    run(&sandbox, &["bootstrap"]).expect(0);
    assert_eq!(changed(&before, &blobs(&sandbox)), names(&["vault/pepper"]));
    settled(&sandbox);
    let text = sandbox.read("c.yaml");
    // Their order in the contract does not matter.
    with(&sandbox, ("      key: { base64: { bytes: 32 } }\n", ""));
    with(&sandbox, ("    values:\n", "    values:\n      key: { base64: { bytes: 32 } }\n"));
    settled(&sandbox);
    sandbox.write("c.yaml", text.as_bytes());
    for (from, to, says) in [
        ("salt: { hex: { bytes: 16 } }", "salt: { hex: { bytes: 32 } }", "its recipe in the contract has changed"),
        ("    write-once: true\n", "", "the contract no longer says so"),
        ("      salt: { hex: { bytes: 16 } }\n", "", "its recipe in the contract has changed"),
    ] {
        with(&sandbox, (from, to));
        let snapshot = sandbox.snapshot();
        let ran = run(&sandbox, &["bootstrap"]).expect(4);
        assert!(ran.stderr.contains("`vault` is write-once") && ran.stderr.contains(says), "{}", ran.stderr);
        run(&sandbox, &["verify"]).expect(1);
        assert_eq!(snapshot, sandbox.snapshot());
        sandbox.write("c.yaml", text.as_bytes());
    }
    for name in ["vault", "vault/salt"] {
        let ran = run(&sandbox, &["rotate", name, "--yes"]).expect(4);
        assert!(ran.stderr.contains("`vault` is write-once") && ran.stderr.contains("encrypts the documents"), "{}", ran.stderr);
    }
    let before = blobs(&sandbox);
    run(&sandbox, &["rotate", "--destroys-data", "vault/salt", "--yes"]).expect(0);
    assert_eq!(changed(&before, &blobs(&sandbox)), names(&["vault/salt"]));
    settled(&sandbox);
}

/// Values of a write-once Secret; one is made of another Secret's value, and is written last.
#[test]
fn a_write_once_secret_may_hold_what_is_made_of_others() {
    let sandbox = Sandbox::with_keys();
    let secrets = "  - name: vault
    about: encrypts the documents
    write-once: true
    values: { a: { template: '{pepper} {z}' }, z: { hex: { bytes: 16 } } }
  - { name: pepper, about: x, write-once: true, recipe: { uuid: {} } }
";
    sandbox.write("c.yaml", contract(secrets).as_bytes());
    run(&sandbox, &["bootstrap"]).expect(0);
    settled(&sandbox);
}

#[test]
fn a_renewal_and_a_re_encryption_keep_every_value_and_its_day() {
    let sandbox = shop();
    on(|| day(4), &sandbox, &["rotate", "app/token", "--yes"]).expect(0);
    let (values, before, days) = (opened(&sandbox), blobs(&sandbox), made(&sandbox, "app"));
    let (own, escrow) = (sandbox.read("keys/sealing.crt"), sandbox.pins());
    let will = sandbox.will_open_for(&[&sandbox.own_recipient()]);
    sandbox.make_key(["renew", "--yes", "--contract", "c.yaml"]).told(&will);
    assert_eq!(changed(&before, &blobs(&sandbox)).len(), before.len(), "each is sealed again");
    assert_eq!((&opened(&sandbox), made(&sandbox, "app")), (&values, days.clone()));
    settled(&sandbox);
    // Back to the previous certificate.
    sandbox.write("keys/sealing.crt", own.as_bytes());
    sandbox.write_pins(&escrow);
    run(&sandbox, &["re-encrypt", "--yes"]).expect(0);
    assert_eq!((&opened(&sandbox), made(&sandbox, "app")), (&values, days));
    settled(&sandbox);
}

#[test]
fn a_copy_for_another_cluster_has_the_same_values() {
    let (sandbox, both) = (shop(), Sandbox::empty());
    both.make_key(["keygen", "--cluster", "b"]).expect(0);
    for folder in ["keys", "out", "secrets"] {
        std::fs::create_dir_all(both.path(folder)).unwrap();
        std::fs::rename(sandbox.path(folder), both.path(folder).join("a")).unwrap();
    }
    both.write("c.yaml", contract(SHOP).as_bytes());
    let of = |cluster: &str| -> Opened {
        let list: Value = serde_json::from_str(&both.run(["unseal", "-o", "json", "--cluster", cluster]).expect(0).stdout).unwrap();
        let data = |secret: &Value| {
            let decoded = |(key, value): (&String, &Value)| (key.clone(), BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap());
            secret["data"].as_object().unwrap().iter().map(decoded).collect()
        };
        let items = list["items"].as_array().unwrap();
        items.iter().map(|secret| (secret["metadata"]["name"].as_str().unwrap().to_owned(), data(secret))).collect()
    };
    // A value is copied with what is made of it, and nothing else.
    run(&both, &["copy", "--from", "a", "--to", "b", "keys/a"]).expect(0);
    run(&both, &["copy", "--from", "a", "--to", "b"]).kept(&["keys/a", "keys/a.pub"]);
    run(&both, &["bootstrap", "--cluster", "b"]).expect(0);
    assert_eq!(of("a"), of("b"));
    let days = |cluster: &str| {
        let made = |one: Value| one["metadata"]["annotations"]["seal-secrets/made"].clone();
        let mut days: Vec<String> = documents(&both, &format!("out/{cluster}")).into_iter().map(|one| made(one).to_string()).collect();
        days.sort_unstable();
        days
    };
    assert_eq!(days("a"), days("b"));
    run(&both, &["verify", "--cluster", "b", "--identity", "keys/b/operator.agekey"]).finds(&["few-recipients keys/b/sealing.key.age"]);
}

/// A contract of up to three Secrets with up to four values each, made in any way and of any other; and the names of the operator's values.
fn random_contract(seed: u64) -> (String, Vec<String>) {
    let mut entropy = TestEntropy(seed);
    let mut draw = |below: u64| {
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes);
        u64::from_le_bytes(bytes) % below
    };
    let sizes: Vec<u64> = (0..=draw(3)).map(|_| 1 + draw(4)).collect();
    let all: Vec<String> = sizes.iter().enumerate().flat_map(|(s, size)| (0..*size).map(move |k| format!("s{s}/k{k}"))).collect();
    let (mut text, mut provided) = (String::new(), Vec::new());
    for (s, size) in sizes.iter().enumerate() {
        let write_once = if draw(6) == 0 { "    write-once: true\n" } else { "" };
        text += &format!("  - name: s{s}\n    about: about s{s}\n{write_once}    values:\n");
        for k in 0..*size {
            let mut other = || all[draw(all.len() as u64) as usize].clone();
            let (of, and) = (other(), other());
            let recipe = match draw(12) {
                0 | 1 => "provided: {}".to_owned(),
                2 => "plain: hello".to_owned(),
                3 => format!("template: 'a {{{of}}} b {{{and}}}'"),
                4 => format!("template: '{{{{{of}', escape: json").replace(&of, &format!("{{{of}}}")),
                // With its own password, because few other values may be hashed. Making or comparing a hash takes long each time.
                5 if seed.is_multiple_of(4) => {
                    text += &format!("      p{k}: {{ hex: {{ bytes: 16 }} }}\n");
                    format!("argon2id: {{ of: s{s}/p{k}, memory: 19456, iterations: 2, parallelism: 1 }}")
                }
                6 => format!("dockerconfigjson: {{ registry: r, user: u, of: {of} }}"),
                7 => format!("key-pair: {{ public: k{k}.pub }}"),
                8 => format!("tls: {{ authority: true, days: 9, crt: k{k}.crt }}"),
                9 => format!("ssh-key: {{ public: k{k}.pub }}"),
                _ => "hex: { bytes: 16 }".to_owned(),
            };
            provided.extend(recipe.starts_with("provided").then(|| format!("s{s}/k{k}")));
            text += &format!("      k{k}: {{ {recipe} }}\n");
        }
    }
    (text, provided)
}

#[test]
fn whatever_contract_is_valid_can_be_made_rotated_and_imported() {
    let (mut made, mut hashes) = (0, 0);
    for seed in 0..50 {
        let (secrets, provided) = random_contract(seed);
        let (sandbox, other) = (Sandbox::with_keys(), Sandbox::with_keys());
        [&sandbox, &other].iter().for_each(|sandbox| sandbox.write("c.yaml", contract(&secrets).as_bytes()));
        let ran = run(&sandbox, &["contract"]);
        if ran.code == 3 {
            continue;
        }
        println!("{seed}:\n{secrets}");
        made += 1;
        hashes += secrets.matches("argon2id").count();
        sandbox.write_secret("given", b"what only the operator has");
        let provide: Vec<String> = provided.iter().map(|name| format!("--provide={name}=given")).collect();
        run(&sandbox, &["bootstrap"]).expect(0);
        run(&sandbox, &[&["bootstrap"], &provide.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat()).expect(0);
        settled(&sandbox);
        for name in ["s0", "s1", "s2"].iter().take(secrets.matches("  - name: ").count()) {
            // Some are write-once, or need what only the operator has.
            if run(&sandbox, &["rotate", name, "--yes"]).code == 0 {
                settled(&sandbox);
            }
        }
        other.write_secret("backup", sandbox.run(["unseal"]).expect(0).stdout.as_bytes());
        run(&other, &["import", "-f", "backup"]).expect(0);
        run(&other, &["bootstrap"]).expect(0);
        settled(&other);
        assert_eq!(opened(&sandbox), opened(&other), "{seed}");
    }
    assert!(made > 15 && hashes > 1, "{made}, {hashes}");
}

/// The platform's contract in version 2: `keys` are called `secrets`.
#[test]
fn the_platforms_contract_in_version_2_gives_the_same_output() {
    let first = fixture_text("../src/contract.yaml");
    let second = first.replacen("version: 1\n", "version: 2\n", 1).replacen("\nkeys:\n", "\nsecrets:\n", 1);
    assert_ne!(first, second);
    let out = |contract: &str| -> BTreeMap<String, String> {
        let sandbox = Sandbox::with_keys();
        sandbox.write("c.yaml", contract.as_bytes());
        let args = ["bootstrap", "--contract", "c.yaml"];
        sandbox.run_drawing(Box::new(TestEntropy(7)), args).expect(0);
        let folder = sandbox.path("out");
        let text = |(path, (_, _, _, bytes)): (std::path::PathBuf, (u32, i64, i64, Vec<u8>))| {
            Some((path.strip_prefix(&folder).ok()?.to_string_lossy().into_owned(), String::from_utf8(bytes).unwrap()))
        };
        sandbox.snapshot().into_iter().filter(|(path, _)| path.is_file()).filter_map(text).collect()
    };
    // With the same randomness even the ciphertext is the same.
    let (one, two) = (out(&first), out(&second));
    assert_eq!(one.keys().collect::<Vec<_>>(), two.keys().collect::<Vec<_>>());
    for (file, text) in &one {
        assert_eq!(*text, two[file], "{file}");
    }
    // With the built-in contract, all but the ciphertext is the same.
    let sandbox = Sandbox::bootstrapped();
    let masked =
        |text: &str| regex::Regex::new("(?m)^    value: A[gQ][A-Za-z0-9+/=]+$").unwrap().replace_all(text, "    value: …").into_owned();
    // The digest of the form covers the name of the contract's file. The day may be another one.
    let changes = regex::Regex::new("seal-secrets/made: .*|<!-- form: .*").unwrap();
    for (file, text) in &two {
        let text = text.replace(" --contract ../c.yaml", "");
        let own = sandbox.read(&format!("out/{file}"));
        assert_eq!(changes.replace_all(&masked(&text), ""), changes.replace_all(&masked(&own), ""), "{file}");
    }
}
