//! `contract --from-platform` and `--from-manifests`: six checkouts modelled on public ones, each with its draft; after the edits that the
//! draft marks, everything is made, and `verify` finds no fault. Also `contract add`, `contract recipes`, `patch --rename`.

use serde_json::Value;

use crate::common::{Sandbox, copy_folder, fixture, fixture_text, without_hash};

/// A checkout, and the options for its draft.
const CHECKOUTS: [(&str, &[&str]); 6] = [
    ("home-ops", &["--from-platform", "q"]),
    ("many-properties", &["--from-platform", "q"]),
    ("rendered", &["--from-manifests", "q/manifests.yaml"]),
    ("flux", &["--from-platform", "q"]),
    ("umbrella-chart", &["--from-platform", "q"]),
    ("plain-kustomize", &["--from-platform", "q"]),
];

fn drafted(checkout: &str, args: &[&str]) -> (Sandbox, String) {
    let sandbox = Sandbox::with_keys();
    std::fs::create_dir(sandbox.path("q")).unwrap();
    copy_folder(&fixture(&format!("fixtures/drafts/{checkout}")), &sandbox.path("q"));
    let draft = sandbox.run([&["contract"], args].concat()).expect(0).stdout;
    sandbox.write("c.yaml", draft.as_bytes());
    (sandbox, draft)
}

#[test]
fn each_checkout_has_the_draft_that_is_known() {
    for (checkout, args) in CHECKOUTS {
        let (_, draft) = drafted(checkout, args);
        let golden = format!("goldens/drafts/{checkout}.yaml");
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(fixture("goldens/drafts")).unwrap();
            std::fs::write(fixture(&golden), &draft).unwrap();
        }
        assert_eq!(draft, fixture_text(&golden), "{checkout}: `make bless` renews tests/{golden}");
        let count = |begins: &str| draft.lines().filter(|line| line.trim_start().starts_with(begins)).count();
        let said = |count: usize, word: &str, words: &str| format!("{count} {}", if count == 1 { word } else { words });
        let last = format!("# {}, {}", said(count("# guess:"), "guess", "guesses"), said(count("# open:"), "open point", "open points"));
        assert_eq!(draft.lines().last().unwrap(), last, "{checkout}");
    }
}

/// Does what the draft marks: renames, and what is yours to supply.
fn complete(sandbox: &Sandbox, draft: &str) -> Vec<String> {
    for line in draft.lines() {
        let Some((_, rename)) = line.split_once("--rename ") else { continue };
        let rename = rename.split(' ').next().unwrap();
        sandbox.run(["patch", "--platform", "q", "--rename", rename, "--write"]).expect(0);
    }
    // Removes the store that the draft has instead.
    for file in ["q/es.yaml"].iter().filter(|file| draft.contains("has the store") && sandbox.path(file).exists()) {
        let text = sandbox.read(file);
        sandbox.write(
            file,
            text.split("---\n")
                .filter(|part| !part.contains("kind: ClusterSecretStore\nmetadata"))
                .collect::<Vec<_>>()
                .join("---\n")
                .as_bytes(),
        );
    }
    let planned = sandbox.run(["plan", "--contract", "c.yaml", "-o", "json"]).expect(0).stdout;
    let planned: Value = serde_json::from_str(&planned).unwrap();
    let mut args = Vec::new();
    for (i, key) in planned["awaited"].as_array().unwrap().iter().enumerate() {
        sandbox.write_secret(&format!("given-{i}"), format!("Zq8rT1-{i}-mDk3x").as_bytes());
        args.extend(["--provide".to_owned(), format!("{}=given-{i}", key.as_str().unwrap())]);
    }
    args
}

#[test]
fn each_draft_is_complete_once_what_it_marks_is_done() {
    for (checkout, args) in CHECKOUTS {
        let (sandbox, draft) = drafted(checkout, args);
        let provided = complete(&sandbox, &draft);
        let with = |command: &[&str]| -> Vec<String> {
            let platform = ["--contract", "c.yaml"].iter().map(|arg| (*arg).to_owned());
            command.iter().map(|arg| (*arg).to_owned()).chain(platform).collect()
        };
        sandbox.run([with(&["bootstrap"]), provided].concat()).expect(0);
        let ran = sandbox.run(with(&["verify", "--identity", "keys/operator.agekey"]));
        assert!(ran.code == 0 && ran.stdout.contains("good: "), "{checkout}: {}{}", ran.stdout, ran.stderr);
        assert!(sandbox.run(with(&["bootstrap"])).expect(0).stdout.contains("nothing to do"), "{checkout}: a second run changes nothing");
    }
}

#[test]
fn with_its_checkout_a_completed_draft_agrees() {
    for checkout in ["many-properties", "flux"] {
        let (sandbox, draft) = drafted(checkout, &["--from-platform", "q"]);
        let provided = complete(&sandbox, &draft);
        let with = |command: &[&str]| -> Vec<String> {
            let platform = ["--contract", "c.yaml", "--platform", "q", "--out", "q/secrets"].iter().map(|arg| (*arg).to_owned());
            command.iter().map(|arg| (*arg).to_owned()).chain(platform).collect()
        };
        sandbox.run([with(&["bootstrap"]), provided].concat()).expect(0);
        sandbox.run(with(&["patch", "--write"])).expect(0);
        let ran = sandbox.run(with(&["verify"]));
        assert!(ran.code == 0 && ran.stdout.contains("good: "), "{checkout}: {}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn what_no_draft_can_be_made_of_is_said() {
    let sandbox = Sandbox::empty();
    sandbox.write("q/x.yaml", fixture_text("fixtures/drafts/rendered/manifests.yaml").as_bytes());
    let ran = sandbox.run(["contract", "--from-platform", "q", "--store", "core-secret"]).expect(2);
    assert_eq!(ran.stderr, "error: no ExternalSecret reads from the store of `--store`\nhelp: did you mean `core-secrets`?\n");
    let ran = sandbox.run(["contract", "--store", "core-secrets"]).expect(2);
    assert!(ran.stderr.starts_with("error: `--store` chooses what a draft is made of"), "{}", ran.stderr);
    let text = fixture_text("fixtures/drafts/rendered/manifests.yaml");
    let piped = sandbox.run_with_input(["contract", "--from-manifests", "-"], text.as_bytes()).expect(0).stdout;
    assert!(piped.contains("  - name: harbor\n") && piped.contains("store: core-secrets\n"), "{piped}");
    let narrow = sandbox.run(["contract", "--from-platform", "q", "--store", "core-secrets"]).expect(0).stdout;
    assert!(narrow.contains("  - name: harbor\n"), "{narrow}");
}

const OWN: &str = "version: 2\nstore: s\nnamespace: source\nreader: { name: r, namespace: eso }\nsecrets:\n  # the first\n  - name: a\n    about: x\n    recipe: { hex: { bytes: 32 } }\n\n# behind the list\nconsumers: []\n";

#[test]
fn a_secret_is_added_and_every_other_line_stays() {
    let sandbox = Sandbox::empty();
    sandbox.write("c.yaml", OWN.as_bytes());
    let add = |args: &[&str]| sandbox.run([&["contract", "add"], args, &["--contract", "c.yaml"]].concat());
    let ran =
        add(&["b", "--value", "user=plain:admin", "--value", "pw=alphanumeric", "--value", "hash=bcrypt,of=pw", "--about", "the b's"]);
    assert_eq!(ran.expect(0).stdout, "write  c.yaml: added `b`\nnext: seal-secrets --contract c.yaml bootstrap\n");
    let added = "  - name: b\n    about: the b's\n    values:\n      user:\n        plain: admin\n      pw:\n        alphanumeric:\n          length: 32\n      hash:\n        bcrypt:\n          cost: 10\n          of: pw\n";
    assert_eq!(sandbox.read("c.yaml"), OWN.replace("\n\n# behind", &format!("\n{added}\n# behind")));
    let before = sandbox.read("c.yaml");
    let shown = add(&["c", "--recipe", "tls,names=c.example.org+d.example.org", "--dry-run"]).expect(0).stdout;
    assert!(shown.contains("names:\n        - c.example.org\n        - d.example.org\n"), "{shown}");
    for (args, code, what) in [
        (&["a", "--recipe", "hex"][..], 2, "the Secret `a` appears twice, first on line 7"),
        (&["c", "--recipe", "hexx"], 2, "the recipe is not a known one"),
        (&["c", "--recipe", "hex,bytes"], 2, "the recipe has a field without a value"),
        (&["c", "--recipe", "hex,bytes=8"], 2, "`secrets[2].recipe.hex` makes a value of 64 bits, which can be guessed"),
        (&["c", "--recipe", "bcrypt,of=nothing"], 2, "`c` is the hash of a key that the contract does not have"),
        (&["c"], 2, "the command line is not complete: `--recipe`"),
        (&["c", "--value", "pw"], 2, "`--value`: not a data key with its recipe"),
    ] {
        let ran = add(args).expect(code);
        assert!(ran.stderr.starts_with(&format!("error: {what}")), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(sandbox.read("c.yaml"), before, "nothing changed");
    let ran = sandbox.run(["contract", "add", "c", "--recipe", "hex"]).expect(2);
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    sandbox.write(
        "flow.yaml",
        OWN.replace(
            "  # the first\n  - name: a\n    about: x\n    recipe: { hex: { bytes: 32 } }\n",
            "  [{ name: a, about: x, recipe: { uuid: {} } }]\n",
        )
        .as_bytes(),
    );
    let ran = sandbox.run(["contract", "add", "c", "--recipe", "hex", "--contract", "flow.yaml"]).expect(3);
    assert!(ran.stderr.contains("its list of Secrets cannot be continued"), "{}", ran.stderr);
}

#[test]
fn a_contract_of_version_1_is_one_of_version_2_once_that_is_needed() {
    let sandbox = Sandbox::with_keys();
    sandbox.write("c.yaml", without_hash(&sandbox.run(["contract", "--format", "yaml"]).expect(0).stdout).as_bytes());
    sandbox.run(["bootstrap", "--contract", "c.yaml"]).expect(0);
    let before = sandbox.read("c.yaml");
    let add = |args: &[&str]| sandbox.run([&["contract", "add"], args, &["--contract", "c.yaml"]].concat()).expect(0).stdout;
    assert_eq!(add(&["one", "--recipe", "hex"]), "write  c.yaml: added `one`\nnext: seal-secrets --contract c.yaml bootstrap\n");
    assert!(sandbox.read("c.yaml").contains("\nversion: 1\n"));
    let said = add(&["argocd-repository", "--value", "sshPrivateKey=ssh-key", "--value", "url=plain:git@git.example.org:a.git"]);
    let expected = "added `argocd-repository`, and it is of version 2 now, with `secrets` instead of `keys`\n";
    assert!(said.contains(expected), "{said}");
    let after = sandbox.read("c.yaml");
    assert!(after.contains("\nversion: 2\n") && after.contains("\nsecrets:\n"), "{after}");
    let changed = after.lines().zip(before.lines()).take_while(|(_, before)| !before.starts_with("consumers:"));
    let changed: Vec<&str> = changed.filter(|(after, before)| after != before).map(|(after, _)| after).collect();
    assert!(
        changed.starts_with(&["version: 2", "secrets:"]) && !changed.iter().skip(2).any(|line| line.starts_with(char::is_alphabetic)),
        "{changed:?}"
    );
    // What is sealed stays; only the two are made.
    let made = sandbox.run(["bootstrap", "--contract", "c.yaml"]).expect(0).stdout;
    assert_eq!(made.matches("seal   ").count(), 2, "{made}");
}

#[test]
fn every_recipe_is_shown_with_an_example_that_works() {
    use seal_secrets::manifest::contract_recipes::EXAMPLES;
    let sandbox = Sandbox::with_keys();
    let shown = sandbox.run(["contract", "recipes"]).expect(0).stdout;
    let mut contract = "version: 2\nstore: s\nnamespace: source\nreader: { name: r, namespace: eso }\nsecrets:\n".to_owned();
    for (i, (kind, what, example)) in EXAMPLES.iter().enumerate() {
        assert!(shown.contains(&format!("{kind}: {what}\n    {example}\n")), "{kind}");
        let values = if *kind == "provided" {
            "x: { uuid: {} }".to_owned()
        } else {
            format!("password: {{ uuid: {{}} }}\n      key-{i}: {example}")
        };
        contract.push_str(&format!("  - name: s{i}\n    about: {kind}\n    values:\n      {values}\n"));
    }
    sandbox.write("c.yaml", contract.as_bytes());
    sandbox.run(["plan", "--contract", "c.yaml"]).expect(0);
    // The lowest cost, because each step up doubles the time.
    sandbox.write("c.yaml", contract.replace("cost: 12", "cost: 10").as_bytes());
    sandbox.run(["bootstrap", "--contract", "c.yaml"]).expect(0);
    let ran = sandbox.run(["verify", "--contract", "c.yaml", "--identity", "keys/operator.agekey"]);
    assert!(ran.stdout.contains("good: "), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn a_key_is_renamed_where_it_is_read_and_nowhere_else() {
    let text = "# prod/db\napiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: { name: prod/db }\nspec:\n  secretStoreRef: { name: s, kind: ClusterSecretStore }\n  data:\n    - secretKey: prod/db\n      remoteRef:\n        key: \"prod/db\"   # prod/db\n    - { secretKey: b, remoteRef: { key: 'prod/db', property: x } }\n    - secretKey: c\n      remoteRef: { key: prod/db2 }\n  dataFrom:\n    - extract: { key: prod/db }\n";
    let expected = "# prod/db\napiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: { name: prod/db }\nspec:\n  secretStoreRef: { name: s, kind: ClusterSecretStore }\n  data:\n    - secretKey: prod/db\n      remoteRef:\n        key: prod-db   # prod/db\n    - { secretKey: b, remoteRef: { key: prod-db, property: x } }\n    - secretKey: c\n      remoteRef: { key: prod/db2 }\n  dataFrom:\n    - extract: { key: prod-db }\n";
    let sandbox = Sandbox::empty();
    sandbox.write("q/x.yaml", text.as_bytes());
    let run = |args: &[&str]| sandbox.run([&["patch", "--platform", "q", "--rename", "prod/db=prod-db"], args].concat());
    assert!(run(&[]).expect(0).stdout.contains("+        key: prod-db   # prod/db\n"));
    assert_eq!(sandbox.read("q/x.yaml"), text, "a diff writes nothing");
    assert_eq!(run(&["--write"]).expect(0).stdout, "write  q/x.yaml\ndone: 3 keys renamed, 1 file written\n");
    assert_eq!(sandbox.read("q/x.yaml"), expected);
    assert_eq!(run(&["--write"]).expect(0).stdout, "nothing to do\n");
    sandbox.run(["patch", "--platform", "q", "--rename", "prod/db=Not_A_Name"]).expect(2);
    // A key read through an anchor is left, and reported.
    sandbox.write("q/x.yaml", text.replace("\"prod/db\"", "&k \"prod/db\"").replace("'prod/db'", "*k").as_bytes());
    assert!(run(&["--write"]).expect(1).stderr.contains("write `prod-db` there by hand"));
}

#[test]
fn a_guess_follows_the_name() {
    let rows = [
        ("password", "32 alphanumeric"),
        ("DB_PASS", "32 alphanumeric"),
        ("redis-password", "32 alphanumeric"),
        ("clientSecret", "64 hex"),
        ("CLIENT_SECRET", "64 hex"),
        ("jwtSecret", "64 hex"),
        ("encryption-key", "64 hex"),
        ("cookie-secret", "32 alphanumeric"),
        ("username", "plain"),
        ("ADMIN_EMAIL", "plain"),
        ("cloudflare-api-token", "provided"),
        ("OPENAI_API_KEY", "provided"),
        ("sshPrivateKey", "ed25519 private key, openssh"),
        ("id_ed25519", "ed25519 private key, openssh"),
        ("signing-key", "rsa-2048 private key, pem"),
        ("cert.key", "provided"),
        ("server.pem", "provided"),
        ("known_hosts", "provided"),
        ("config.yaml", "provided"),
        ("DATABASE_URL", "provided"),
        ("hostname", "provided"),
        ("client-id", "provided"),
        ("password-hash", "bcrypt 10 of app/DB_PASS"),
        (".htpasswd", "htpasswd 10 of admin and app/DB_PASS"),
        ("instance-uuid", "uuid"),
        (".dockerconfigjson", "provided"),
    ];
    let entry = |(name, _): &(&str, &str)| format!("    - {{ secretKey: \"{name}\", remoteRef: {{ key: app, property: \"{name}\" }} }}\n");
    let head = "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: { name: app, namespace: shop }\nspec:\n  secretStoreRef: { kind: ClusterSecretStore, name: s }\n  data:\n";
    let sandbox = Sandbox::empty();
    sandbox.write("q/x.yaml", (head.to_owned() + &rows.iter().map(entry).collect::<String>()).as_bytes());
    let draft = sandbox.run(["contract", "--from-platform", "q"]).expect(0).stdout;
    for (name, made) in rows {
        assert!(draft.contains(&format!("  # guess: {name}: {made}, because ")), "{name}: {made}\n{draft}");
    }
}
