//! If any file knows a value to be write-once and the contract no longer says so, every command that makes values refuses it, and `verify`
//! reports it.

use crate::common::{Ran, Sandbox, fixture_text, without_hash};
use crate::copy::two_clusters;

const UNIT: &str = "out/secret-source/litellm-salt-key.sealed.yaml";
const MEMORY: &str = "keys/sealed.txt";

fn contract() -> String {
    fixture_text("../src/contract.yaml")
}

fn without_the_flag() -> String {
    contract().replacen("    write-once: true\n", "", 1)
}

fn without_the_key() -> String {
    let contract = contract().replace("      - { secretKey: salt, key: litellm-salt-key }\n", "");
    let (start, end) = (contract.find("  - name: litellm-salt-key").unwrap(), contract.find("  - name: vllm-api-key").unwrap());
    contract[..start].to_owned() + &contract[end..]
}

fn with_another_recipe() -> String {
    let about = "    about: encrypts the provider credentials in LiteLLM's database\n    recipe: { hex: { bytes: ";
    contract().replace(&format!("{about}32"), &format!("{about}16"))
}

fn with_another_unit() -> String {
    contract().replacen("    write-once: true\n", "    write-once: true\n    unit: salt\n", 1)
}

/// A contract, and what it no longer says.
type Forgets = (&'static str, fn() -> String);
const NO_FLAG: Forgets = ("without-the-flag", without_the_flag);
const NO_KEY: Forgets = ("without-the-key", without_the_key);
const OTHER_RECIPE: Forgets = ("another-recipe", with_another_recipe);

/// What still remembers, and which contracts then forget it.
type Left = (&'static str, fn(&Sandbox), &'static [Forgets]);
const LEFT: &[Left] = &[
    ("everything", |_| {}, &[NO_FLAG, NO_KEY, OTHER_RECIPE]),
    ("the-annotation", |s| s.remove(MEMORY), &[NO_FLAG, NO_KEY, OTHER_RECIPE]),
    ("the-memory-beside-an-unmarked-file", |s| s.edit(UNIT, "    seal-secrets/write-once: 64 hex\n", ""), &[NO_FLAG, NO_KEY]),
    ("the-memory", |s| s.remove(UNIT), &[NO_FLAG, NO_KEY]),
    (
        "the-memory-without-a-list",
        |s| {
            s.remove(UNIT);
            s.remove("out/secret-source/kustomization.yaml");
        },
        &[NO_FLAG, NO_KEY],
    ),
];

#[test]
fn a_contract_that_forgets_is_refused_by_every_command_and_reported() {
    for (left, spoil, contracts) in LEFT {
        for (forgets, contract) in *contracts {
            let sandbox = Sandbox::bootstrapped();
            spoil(&sandbox);
            sandbox.write("c.yaml", contract().as_bytes());
            sandbox.write_secret("env", b"ANTHROPIC_API_KEY=sk-ant-0123456789\n");
            let before = sandbox.snapshot();
            let run = |args: &[&str]| sandbox.run([args, &["--contract", "c.yaml"]].concat());
            let what = |args: &[&str], ran: &Ran| format!("{left}, {forgets}: {args:?}: {}{}", ran.stdout, ran.stderr);
            for args in [
                &["bootstrap"][..],
                &["bootstrap", "--dry-run"],
                &["plan", "--json"],
                &["rotate", "vllm-api-key", "--yes"],
                &["rotate", "--older-than", "0d", "--yes"],
                &["import", "--env-file", "env"],
            ] {
                let ran = run(args);
                assert!(ran.code == 4 && ran.stderr.contains("`litellm-salt-key` is write-once"), "{}", what(args, &ran));
            }
            // The key itself, if the contract still has it.
            let itself = ["rotate", "litellm-salt-key", "--yes"];
            let ran = run(&itself);
            assert!([2, 3, 4].contains(&ran.code), "{}", what(&itself, &ran));
            let ran = run(&["verify"]);
            let found = ran.findings().into_iter().filter(|finding| finding.starts_with("write-once-dropped ")).collect::<Vec<_>>();
            assert!(ran.code == 1 && found.len() == 1, "{}", what(&["verify"], &ran));
            assert_eq!(before, sandbox.snapshot());
        }
    }
}

#[test]
fn a_copy_is_refused_where_either_cluster_remembers() {
    for (forgets, contract) in [NO_FLAG, NO_KEY, OTHER_RECIPE] {
        let sandbox = two_clusters();
        sandbox.write("c.yaml", without_hash(&contract()).as_bytes());
        let copy = || sandbox.run(["copy", "--from", "a", "--to", "b", "--contract", "c.yaml"]);
        let ran = copy();
        assert!(ran.code == 4 && ran.stderr.contains("`litellm-salt-key` is write-once"), "{forgets}: {}", ran.stderr);
        assert!(!sandbox.path("out/b").exists(), "{forgets}");
    }
    let sandbox = two_clusters();
    sandbox.write("c.yaml", without_hash(&without_the_flag()).as_bytes());
    sandbox.edit("out/a/secret-source/litellm-salt-key.sealed.yaml", "    seal-secrets/write-once: 64 hex\n", "");
    let memory = sandbox.read("keys/a/sealed.txt");
    sandbox.remove("keys/a/sealed.txt");
    sandbox.write("keys/b/sealed.txt", memory.replace("../out", "../../out/b").as_bytes());
    let ran = sandbox.run(["copy", "--from", "a", "--to", "b", "--contract", "c.yaml"]).expect(4);
    assert!(ran.stderr.contains("`litellm-salt-key` is write-once, was sealed before"), "{}", ran.stderr);
}

#[test]
fn a_new_recipe_is_fine_for_what_is_made_again_on_purpose() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.write("c.yaml", with_another_recipe().as_bytes());
    sandbox.run(["rotate", "--destroys-data", "n8n-encryption-key", "--yes", "--contract", "c.yaml"]).expect(4);
    sandbox.run(["rotate", "--destroys-data", "litellm-salt-key", "--yes", "--contract", "c.yaml"]).expect(0);
    assert_eq!(sandbox.value("litellm-salt-key").len(), 32);
}

#[test]
fn a_unit_is_remembered_by_its_name_and_by_its_keys() {
    // Its unit has its own name from the start.
    let named = Sandbox::with_keys();
    named.write("c.yaml", without_hash(&with_another_unit()).as_bytes());
    let run = |args: &[&str]| named.run([args, &["--contract", "c.yaml"]].concat());
    run(&["bootstrap"]).expect(0);
    assert!(run(&["bootstrap"]).expect(0).stdout.starts_with("nothing to do"));
    assert!(run(&["verify"]).expect(0).stdout.contains("good: "));
    named.remove("out/secret-source/salt.sealed.yaml");
    assert!(run(&["bootstrap"]).expect(4).stderr.contains("its file is gone"));
    // It gets one later, and the old file is gone.
    let renamed = Sandbox::bootstrapped();
    renamed.write("c.yaml", with_another_unit().as_bytes());
    for forgotten in [UNIT, "out/secret-source/kustomization.yaml"] {
        renamed.remove(forgotten);
        assert!(renamed.run(["bootstrap", "--contract", "c.yaml"]).expect(4).stderr.contains("its file is gone"));
        let found = renamed.run(["verify", "--contract", "c.yaml"]).expect(1).findings();
        assert!(found.contains(&"write-once-missing out/secret-source/salt.sealed.yaml".to_owned()), "{found:?}");
    }
}
