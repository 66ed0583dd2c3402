//! A change of form is a change: it is distinguished from an edited file, and needs a yes if it lets more readers in.

use crate::common::{HASHLESS, Sandbox, at_the_prompt, fixture_text, needs, without_hash};

const NAMESPACED: &str = "store: { isolation: namespace }";

/// A run in this form.
fn run(sandbox: &Sandbox, form: &str, args: &[&str]) -> crate::common::Ran {
    sandbox.set(form);
    sandbox.run(args)
}

/// Forms, from the fewest readers to the most, and whether the second lets more in than the first.
#[test]
fn what_lets_more_readers_in_is_refused_without_a_yes() {
    let shared = "store: {}";
    let every = "store: { rbac: namespace }";
    let stores = "store: { kind: SecretStore }";
    let every_namespaced = "store: { isolation: namespace, rbac: namespace }";
    let rows = [
        (NAMESPACED, shared, true),
        (NAMESPACED, stores, false),
        (NAMESPACED, every_namespaced, true),
        (NAMESPACED, every, true),
        (stores, NAMESPACED, false),
        (stores, shared, true),
        (shared, every, true),
        (shared, NAMESPACED, false),
        (every, shared, false),
        (every, every_namespaced, false),
    ];
    for (from, to, more) in rows {
        let sandbox = Sandbox::bootstrapped();
        run(&sandbox, from, &["bootstrap", "--yes"]).expect(0);
        sandbox.set(to);
        let before = sandbox.snapshot();
        let planned = sandbox.run(["plan"]).expect(0).stdout;
        assert_eq!(planned.contains("note   more could read: "), more, "{from:?} {to:?}: {planned}");
        let json = sandbox.run(["plan", "--json"]).expect(0).stdout;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(!json["readers"].as_object().unwrap().is_empty(), more, "{json}");
        assert!(!planned.contains("(restored)") && !planned.contains("(made again"), "{planned}");
        assert!(planned.contains("INSTALL.md (updated)"), "{planned}");
        if more {
            let ran = sandbox.run(["bootstrap"]).expect(4);
            assert!(ran.stderr.contains("not confirmed: let ") && ran.stderr.contains("--yes"), "{}", ran.stderr);
            assert_eq!(before, sandbox.snapshot(), "{from:?} {to:?}");
        }
        run(&sandbox, to, if more { &["bootstrap", "--yes"] } else { &["bootstrap"] }).expect(0);
        assert!(run(&sandbox, to, &["bootstrap"]).expect(0).stdout.starts_with("nothing to do\n"), "{from:?} {to:?}");
    }
}

#[test]
fn forgetting_the_isolation_says_who_could_read_what() {
    needs!("script");
    let sandbox = Sandbox::bootstrapped();
    run(&sandbox, NAMESPACED, &["bootstrap"]).expect(0);
    sandbox.set("");
    let before = sandbox.snapshot();
    let shown = at_the_prompt(&sandbox, "bootstrap", &[("Type yes: ", "no\r")]);
    assert!(shown.contains("let 13 namespaces read more: ") && shown.contains("`litellm` ") && shown.contains("code=4"), "{shown}");
    assert_eq!(before, sandbox.snapshot());
    let shown = at_the_prompt(&sandbox, "bootstrap", &[("Type yes: ", "yes\r")]);
    assert!(shown.contains("code=0"), "{shown}");
}

#[test]
fn an_edited_file_is_restored_without_a_question_and_a_changed_contract_updates() {
    let files = ["out/INSTALL.md", "out/secret-source/rbac.yaml", "out/secret-store/cluster-secret-store.yaml", "out/kustomization.yaml"];
    for file in files {
        let sandbox = Sandbox::bootstrapped();
        let before = sandbox.read(file);
        sandbox.write(file, format!("# mine\n{before}").as_bytes());
        let ran = sandbox.run(["bootstrap"]).expect(0);
        assert!(ran.stdout.starts_with(&format!("write  {file} (restored)\ndone: ")), "{}", ran.stdout);
        assert_eq!(sandbox.read(file), before);
        sandbox.remove(file);
        let ran = sandbox.run(["bootstrap"]).expect(0);
        // Without the runbook, it is unknown from what the rest was rendered.
        let reason = if file == files[0] { "out/ (new): 1 file" } else { &format!("{file} (made again: its file was gone)") };
        assert!(ran.stdout.starts_with(&format!("write  {reason}\ndone: ")), "{}", ran.stdout);
        assert_eq!(sandbox.read(file), before);
    }
    // Fewer readers.
    let sandbox = Sandbox::bootstrapped();
    let contract = fixture_text("../src/contract.yaml").replace("      - { secretKey: salt, key: litellm-salt-key }\n", "");
    sandbox.write("c.yaml", contract.as_bytes());
    let ran = sandbox.run(["bootstrap", "--contract", "c.yaml"]).expect(0);
    assert!(ran.stdout.contains("rbac.yaml (updated)\n") && !ran.stdout.contains("(restored)"), "{}", ran.stdout);
    // One more, for a value that is already sealed.
    sandbox.run(["bootstrap"]).expect(4);
    let ran = sandbox.run(["bootstrap", "--yes"]).expect(0);
    assert!(ran.stdout.contains("note   more can read: ") && ran.stdout.contains("`external-secrets` 1 more key, "), "{}", ran.stdout);
}

#[test]
fn files_that_cannot_be_understood_grant_nothing() {
    // The new form grants less than the old one, but this cannot be determined.
    for (file, text) in [
        ("out/secret-source/rbac.yaml", "# mine\n"),
        ("out/secret-source/rbac.yaml", "a: [\n"),
        ("out/secret-store/cluster-secret-store.yaml", "kind: ClusterSecretStore\n"),
        ("out/secret-store/kustomization.yaml", "resources: []\n"),
    ] {
        let sandbox = Sandbox::bootstrapped();
        run(&sandbox, "store: { rbac: namespace }", &["bootstrap", "--yes"]).expect(0);
        sandbox.set("");
        sandbox.write(file, text.as_bytes());
        let ran = sandbox.run(["bootstrap"]).expect(4);
        assert!(ran.stderr.contains("not confirmed: let "), "{file}: {}", ran.stderr);
    }
    // An older version's runbook does not record the form: the granted rights show it.
    let sandbox = Sandbox::bootstrapped();
    let runbook = sandbox.read("out/INSTALL.md");
    sandbox.write("out/INSTALL.md", runbook.split("\n<!-- form").next().unwrap().as_bytes());
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("write  out/INSTALL.md (updated)\n"));
    assert_eq!(sandbox.read("out/INSTALL.md"), runbook);
}

#[test]
fn the_platforms_own_store_tells_its_readers() {
    let sandbox = Sandbox::with_keys().without_hash();
    let run = |form: &str, args: &[&str]| run(&sandbox, &format!("{HASHLESS}\n{form}"), args);
    sandbox.write("platform/.keep", b"");
    run("store: { file: platform/store.yaml }", &["bootstrap"]).expect(0);
    // Another project is another form, with the same readers.
    let other = "store: { file: platform/store.yaml, project-id: other }";
    assert!(run(other, &["bootstrap"]).expect(0).stdout.starts_with("write  platform/store.yaml (updated)\n"));
    let without = sandbox.read("contract.yaml").replace("  - namespace: n8n\n", "  - namespace: n9n\n");
    sandbox.write("c.yaml", without.as_bytes());
    let ran = sandbox.run(["bootstrap", "--contract", "c.yaml"]).expect(4);
    assert!(ran.stderr.contains("let 1 namespace read more: `n9n` "), "{}", ran.stderr);
}

#[test]
fn a_renewal_keeps_the_form() {
    let line = |sandbox: &Sandbox| sandbox.read("out/INSTALL.md").lines().last().unwrap().to_owned();
    let before = line(&Sandbox::bootstrapped());
    assert!(before.starts_with("<!-- form: sha256:") && before.ends_with(" -->"), "{before}");
    let renewed = Sandbox::renewed();
    assert_eq!(line(&renewed), before);
    assert!(renewed.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do\n"));
}

#[test]
fn verify_tells_a_changed_form_from_an_edited_file() {
    let sandbox = Sandbox::bootstrapped();
    let changed = run(&sandbox, NAMESPACED, &["verify"]).expect(1).stdout;
    sandbox.set("");
    assert!(changed.contains("rbac-differs") && changed.contains("help: contract or settings changed since it was written"), "{changed}");
    sandbox.edit("out/secret-source/rbac.yaml", "get", "list");
    let edited = sandbox.run(["verify"]).expect(1).stdout;
    assert!(edited.contains("help: run `seal-secrets bootstrap`: it restores the file"), "{edited}");
}

/// For ESO, a store without conditions serves every namespace, and a rule without names covers every Secret.
#[test]
fn a_contract_without_consumers_lets_nobody_in() {
    let contract = without_hash(&fixture_text("fixtures/contracts/small.yaml"));
    let contract = contract.split_inclusive("consumers:").next().unwrap().replace("consumers:", "consumers: []\n");
    for form in ["", "store: { rbac: namespace }", NAMESPACED, "store: { kind: SecretStore }"] {
        let sandbox = Sandbox::with_keys();
        sandbox.write("c.yaml", contract.as_bytes());
        run(&sandbox, form, &["bootstrap", "--contract", "c.yaml"]).expect(0);
        let namespace = sandbox.read("out/secret-source/namespace.yaml");
        let namespace = namespace.lines().find_map(|line| line.trim().strip_prefix("name: ")).unwrap();
        let rbac = sandbox.read("out/secret-source/rbac.yaml");
        assert!(!rbac.contains("verbs"), "{form:?}: {rbac}");
        if !form.contains("SecretStore") {
            let store = sandbox.read("out/secret-store/cluster-secret-store.yaml");
            assert!(store.contains(&format!("\n  conditions:\n  - namespaces:\n    - {namespace}\n  provider:")), "{form:?}: {store}");
        }
        run(&sandbox, form, &["verify", "--contract", "c.yaml"]).expect(0);
    }
}

#[test]
fn the_runbooks_last_line_does_not_decide_who_can_read() {
    let sandbox = Sandbox::bootstrapped();
    run(&sandbox, "store: {}", &["bootstrap"]).expect(0);
    let last = |sandbox: &Sandbox| sandbox.read("out/INSTALL.md").lines().last().unwrap().to_owned();
    let wide = last(&sandbox);
    run(&sandbox, NAMESPACED, &["bootstrap"]).expect(0);
    // A merge takes the runbook from one branch and the rest from the other, or a person writes it so.
    sandbox.edit("out/INSTALL.md", &last(&sandbox), &wide);
    sandbox.set("store: {}");
    let before = sandbox.snapshot();
    let ran = sandbox.run(["bootstrap"]).expect(4);
    assert!(ran.stderr.contains("not confirmed: let 13 namespaces read more: "), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
}
