//! One set of values for each keys folder: whatever is lost, mistyped, moved, switched or merged, no key gets a second value.

use std::collections::BTreeMap;
use std::process::Command;

use seal_secrets::manifest::contract_file;

use crate::common::{BINARY, Sandbox, USUAL, copy_folder, finish, fixture, git, needs, path, program, usual_in, without_hash};

const UNIT: &str = "secret-source/vllm-api-key.sealed.yaml";
const LIST: &str = "keys/sealed.txt";

/// A set whose output folder is `sealed`.
fn in_sealed() -> Sandbox {
    let sandbox = Sandbox::bootstrapped();
    std::fs::rename(sandbox.path("out"), sandbox.path("sealed")).unwrap();
    sandbox.write(LIST, sandbox.read(LIST).replace("../out", "../sealed").as_bytes());
    sandbox.write_secret("token", b"hf_0123456789abcdefghij");
    sandbox
}

/// The same, as an older version leaves it: it remembers only write-once units, and its runbook does not mention its form.
fn of_an_older_version() -> Sandbox {
    let sandbox = in_sealed();
    sandbox.remove(LIST);
    sandbox.remove("keys/.gitattributes");
    sandbox.write("keys/write-once.txt", b"# of yesterday\nlitellm-salt-key ../sealed\nn8n-encryption-key ../sealed\n");
    let runbook = sandbox.read("sealed/INSTALL.md");
    sandbox.write("sealed/INSTALL.md", runbook.split("\n<!-- form").next().unwrap().as_bytes());
    sandbox
}

/// A run that must be refused with all of these words and change nothing.
#[track_caller]
fn refused(sandbox: &Sandbox, args: &[&str], says: &[&str]) {
    let before = sandbox.snapshot();
    let ran = sandbox.run(args).expect(4);
    assert!(says.iter().all(|word| ran.stderr.contains(word)), "{args:?} does not say {says:?}: {}", ran.stderr);
    assert_eq!(before, sandbox.snapshot(), "{args:?}");
}

#[test]
fn another_output_folder_is_refused_by_everything_that_seals() {
    let other = |out: &'static str| ["are sealed in `sealed`", "pass `--out sealed`", "`--cluster NAME`", out];
    for start in [in_sealed(), of_an_older_version()] {
        start.write_secret("env", b"VLLM_API_KEY=0123456789abcdef\n");
        // The advice that the tool itself gave; a mistyped folder; an empty one; a copy.
        std::fs::create_dir(start.path("empty")).unwrap();
        std::fs::create_dir(start.path("copied")).unwrap();
        copy_folder(&start.path("sealed"), &start.path("copied"));
        for (out, shown) in
            [("out", "not in `out`"), ("seald", "not in `seald`"), ("empty", "not in `empty`"), ("copied", "not in `copied`")]
        {
            for command in [
                &["bootstrap", "--provide", "hf-token=token"][..],
                &["bootstrap"],
                &["bootstrap", "--dry-run"],
                &["bootstrap", "--yes"],
                &["plan", "--json"],
                &["rotate", "vllm-api-key", "--yes"],
                &["import", "--env-file", "env"],
                &["renew", "--yes"],
                &["re-encrypt", "--yes"],
            ] {
                refused(&start, &[command, &["--out", out]].concat(), &other(shown));
            }
            let ran = start.run(["verify", "--out", out]);
            let found = ran.findings();
            assert!(ran.code == 1 && found.contains(&format!("out-unknown {LIST}")), "{found:?}");
            assert!(ran.stdout.contains("pass `--out sealed`"), "{}", ran.stdout);
        }
        let (value, copy) = (start.run(["unseal", "--out", "sealed"]).expect(0).stdout, start.read("secrets/dex-admin-password"));
        // What the help advises.
        start.run(["bootstrap", "--provide", "hf-token=token", "--out", "sealed"]).expect(0);
        let after = start.run(["unseal", "--out", "sealed"]).expect(0).stdout;
        assert!(value.split("---\n").all(|one| after.contains(one)) && !start.path("out").exists());
        assert_eq!(start.read("secrets/dex-admin-password"), copy);
        start
            .run(["verify", "--out", "sealed"])
            .finds(&usual_in("keys", "sealed").into_iter().filter(|f| !f.contains("hf-token")).collect::<Vec<_>>());
    }
}

#[test]
fn the_list_of_an_older_version_is_taken_over_and_stays() {
    let sandbox = of_an_older_version();
    let old = sandbox.read("keys/write-once.txt");
    let ran = sandbox.run(["bootstrap", "--out", "sealed"]).expect(0);
    assert!(ran.stdout.contains("write  keys/sealed.txt (new)\n") && ran.stdout.contains("INSTALL.md (updated)\n"), "{}", ran.stdout);
    assert_eq!((sandbox.read("keys/write-once.txt"), sandbox.read(LIST)), (old, in_sealed().read(LIST)));
    assert_eq!(sandbox.read("keys/.gitattributes"), "sealed.txt merge=union\n");
    assert!(sandbox.run(["bootstrap", "--out", "sealed"]).expect(0).stdout.starts_with("nothing to do\n"));
    // Two folders, which an older version allowed: both are known.
    copy_folder_to(&sandbox, "sealed", "second");
    sandbox.remove(LIST);
    sandbox.write("keys/write-once.txt", b"litellm-salt-key ../sealed\nlitellm-salt-key ../second\n");
    for out in ["sealed", "second"] {
        sandbox.run(["bootstrap", "--out", out]).expect(0);
    }
    refused(&sandbox, &["bootstrap"], &["--out se"]);
    // An operator's own attributes stay.
    sandbox.write("keys/.gitattributes", b"* text\n");
    sandbox.remove(LIST);
    sandbox.run(["bootstrap", "--out", "sealed"]).expect(0);
    assert_eq!(sandbox.read("keys/.gitattributes"), "* text\n");
}

fn copy_folder_to(sandbox: &Sandbox, from: &str, to: &str) {
    std::fs::create_dir(sandbox.path(to)).unwrap();
    copy_folder(&sandbox.path(from), &sandbox.path(to));
}

#[test]
fn a_moved_folder_is_followed() {
    let moved = |sandbox: &Sandbox, out: &str| {
        let all = sandbox.run(["unseal", "--out", out]).expect(0).stdout;
        let ran = sandbox.run(["bootstrap", "--out", out]).expect(0);
        assert!(ran.stdout.contains("write  keys/sealed.txt (updated)\ndone: 0 values"), "{}", ran.stdout);
        assert_eq!(sandbox.run(["unseal", "--out", out]).expect(0).stdout, all);
        assert!(sandbox.run(["bootstrap", "--out", out]).expect(0).stdout.starts_with("nothing to do\n"));
    };
    let sandbox = Sandbox::bootstrapped();
    std::fs::create_dir(sandbox.path("deploy")).unwrap();
    std::fs::rename(sandbox.path("out"), sandbox.path("deploy/sealed")).unwrap();
    moved(&sandbox, "deploy/sealed");
    assert!(sandbox.read(LIST).contains("\nlitellm-salt-key:write-once ../deploy/sealed\n"));
    refused(&sandbox, &["bootstrap"], &["are sealed in `deploy/sealed`, not in `out`"]);
    // The folder was moved, and a unit was lost on the way.
    let sandbox = Sandbox::bootstrapped();
    std::fs::rename(sandbox.path("out"), sandbox.path("sealed")).unwrap();
    std::fs::remove_file(sandbox.path("sealed").join(UNIT)).unwrap();
    sandbox.remove("sealed/secret-source/kustomization.yaml");
    refused(
        &sandbox,
        &["bootstrap", "--out", "sealed"],
        &["`vllm-api-key` was sealed before", "git checkout -- sealed/secret-source/vllm"],
    );
    // The old place is gone, and the new one holds nothing.
    std::fs::rename(sandbox.path("sealed"), sandbox.path("elsewhere")).unwrap();
    refused(
        &sandbox,
        &["bootstrap", "--out", "new"],
        &["were sealed in `out`, which is gone", "restore `out` from git", "keys/sealed.txt"],
    );
    // Moved into a cluster's folder, with its keys.
    let sandbox = Sandbox::bootstrapped();
    for folder in ["keys", "out", "secrets"] {
        std::fs::rename(sandbox.path(folder), sandbox.path("moved")).unwrap();
        std::fs::create_dir(sandbox.path(folder)).unwrap();
        std::fs::rename(sandbox.path("moved"), sandbox.path(folder).join("berlin")).unwrap();
    }
    sandbox.accept("keys/berlin");
    sandbox.run(["bootstrap", "--cluster", "berlin"]).expect(0);
    let elsewhere = ["bootstrap", "--cluster", "berlin", "--out", "other"];
    refused(&sandbox, &elsewhere, &["are sealed in `out/berlin`, not in `other/berlin`", "pass `--out out`"]);
}

/// Each row removes some files, and lists what the error then says.
#[test]
fn a_value_that_was_sealed_is_never_generated_again_silently() {
    let start = Sandbox::bootstrapped();
    start.write_secret("token", b"hf_0123456789abcdefghij");
    start.run(["bootstrap", "--provide", "hf-token=token"]).expect(0);
    type Loss<'l> = (&'l [&'l str], &'l [&'l str]);
    let file = |unit: &str| format!("out/secret-source/{unit}.sealed.yaml");
    let losses: [Loss<'_>; 4] = [
        (&["vllm-api-key"], &["`vllm-api-key` was sealed before, and its file is gone", "`seal-secrets rotate vllm-api-key`"]),
        (&["hf-token"], &["`seal-secrets bootstrap --provide hf-token=FILE`"]),
        (
            &["dex-admin", "litellm-salt-key"],
            &["`litellm-salt-key`, `dex-admin` were sealed before", "rotate dex-admin-password`", "--destroys-data litellm-salt-key"],
        ),
        (
            &["vllm-api-key", "dex-admin", "litellm-db-password", "litellm-master-key", "n8n-encryption-key", "dex-argocd-client-secret"],
            &["and 1 more were sealed before"],
        ),
    ];
    for (units, says) in losses {
        for forgotten in ["out/INSTALL.md", "out/secret-source/kustomization.yaml", LIST] {
            let sandbox = start.copy();
            units.iter().for_each(|unit| sandbox.remove(&file(unit)));
            sandbox.remove(forgotten);
            let checkout: Vec<String> = units.iter().map(|unit| file(unit)).collect();
            for command in [&["bootstrap"][..], &["plan"]] {
                refused(&sandbox, command, &[says, &["git checkout -- "]].concat());
                checkout.iter().for_each(|path| refused(&sandbox, command, &[path]));
            }
            // `verify` says the same of each.
            let found = sandbox.run(["verify"]);
            assert_eq!(found.code, 1);
            for unit in units {
                let code = if unit.contains("salt") || unit.contains("n8n") { "write-once-missing" } else { "unit-missing" };
                assert!(found.findings().contains(&format!("{code} {}", file(unit))), "{}", found.stdout);
                assert!(found.stdout.contains(&format!("help: restore it: `git checkout -- {}`", file(unit))), "{}", found.stdout);
            }
        }
    }
    let sandbox = start.copy();
    ["vllm-api-key", "hf-token", "litellm-salt-key"].iter().for_each(|unit| sandbox.remove(&file(unit)));
    let kept = sandbox.value("litellm-master-key");
    refused(&sandbox, &["rotate", "vllm-api-key"], &["not confirmed"]);
    refused(&sandbox, &["rotate", "litellm-salt-key", "--yes"], &["write-once", "--destroys-data litellm-salt-key"]);
    sandbox.run(["rotate", "vllm-api-key", "--yes"]).expect(0);
    sandbox.run(["rotate", "--provide", "hf-token=token", "--yes"]).expect(0);
    sandbox.run(["bootstrap", "--destroys-data", "litellm-salt-key"]).expect(0);
    assert_eq!((sandbox.value("hf-token"), sandbox.value("litellm-master-key")), ("hf_0123456789abcdefghij".to_owned(), kept));
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do\n"));
    // Nothing in the repository remembers, but this machine does.
    let forgotten = Sandbox::bootstrapped();
    std::fs::remove_dir_all(forgotten.path("out")).unwrap();
    std::fs::remove_dir_all(forgotten.path("secrets")).unwrap();
    forgotten.remove(LIST);
    refused(&forgotten, &["bootstrap"], &["values were sealed with the keys of this folder on this machine", "pass `--start-over`"]);
    forgotten.run(["bootstrap", "--start-over"]).expect(0);
}

#[test]
fn the_copy_of_another_set_is_not_replaced() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.write("c.yaml", without_hash(contract_file::EMBEDDED).as_bytes());
    let second = ["--keys", "k2", "--out", "o2", "--contract", "c.yaml"];
    sandbox.make_key([&["keygen"][..], &second].concat()).expect(0);
    let before = sandbox.read("secrets/dex-admin-password");
    sandbox.write_secret("env", b"DEX_ADMIN_PASSWORD=correct horse\n");
    for command in [&["bootstrap"][..], &["import", "--env-file", "env"]] {
        let ran = sandbox.run([command, &second].concat()).expect(4);
        assert!(
            ran.stderr.contains("secrets/dex-admin-password: it would be replaced") && ran.stderr.contains("--secrets DIR"),
            "{}",
            ran.stderr
        );
        assert!(!sandbox.path("o2").exists());
    }
    sandbox.run([&["bootstrap", "--secrets", "s2"][..], &second].concat()).expect(0);
    assert_eq!(sandbox.read("secrets/dex-admin-password"), before);
    assert_ne!(sandbox.read("s2/dex-admin-password"), before);
    // An import from the copies themselves seals the same value.
    let third = ["import", "--from-directory", "secrets", "--keys", "k3", "--out", "o3", "--contract", "c.yaml"];
    sandbox.make_key(["keygen", "--keys", "k3", "--out", "o3"]).expect(0);
    sandbox.run(third).expect(0);
    assert_eq!(sandbox.read("secrets/dex-admin-password"), before);
}

#[test]
fn make_gives_another_set_copies_of_its_own_and_passes_what_was_given() {
    needs!("make");
    let make = |args: &[&str]| {
        let mut make = Command::new(program("make"));
        make.args(["-n", "BINARY=tool", "verify"]).args(args).current_dir(fixture("..")).env_clear().env("PATH", path());
        finish(make).expect(0).stdout.lines().last().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (given, expected) in [
        (&[][..], "tool verify"),
        (&["KEYS=keys", "OUT=out/"], "tool --keys keys --out out/ verify"),
        (&["KEYS=k2", "OUT=o2"], "tool --keys k2 --out o2 --secrets o2-secrets verify"),
        (&["KEYS=k2"], "tool --keys k2 --secrets k2-secrets verify"),
        (&["OUT=o2", "SECRETS=mine", "ARGS=--json"], "tool --out o2 --secrets mine verify --json"),
    ] {
        assert_eq!(make(given), expected, "{given:?}");
    }
}

#[test]
fn an_escrow_alone_is_told_before_anything_is_made() {
    let sandbox = Sandbox::with_keys();
    sandbox.remove("keys/sealing.crt");
    let before = sandbox.snapshot();
    for command in ["bootstrap", "plan"] {
        let ran = sandbox.run([command]).expect(3);
        assert!(
            ran.stderr.contains("the escrow of its sealing key is here") && ran.stderr.contains("git checkout -- keys/sealing.crt"),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(before, sandbox.snapshot());
    // Its identity is elsewhere.
    sandbox.remove("keys/operator.agekey");
    let ran = sandbox.run(["keygen"]).expect(3);
    assert!(ran.stderr.contains("put the age identity that opens the escrow at `keys/operator.agekey`"), "{}", ran.stderr);
    // Both are missing, and something was sealed: another key would not open it.
    let sandbox = Sandbox::bootstrapped();
    ["sealing.crt", "sealing.key.age", "operator.agekey"].iter().for_each(|file| sandbox.remove(&format!("keys/{file}")));
    let before = sandbox.snapshot();
    let ran = sandbox.run(["keygen"]).expect(3);
    let says = ["values are sealed already, and a new sealing key would not open them", "git checkout -- keys/sealing.crt"];
    assert!(says.iter().all(|says| ran.stderr.contains(says)), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
    // The same if only the list shows that.
    std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    assert_eq!(sandbox.run(["keygen"]).expect(3).stderr, ran.stderr);
}

/// In a repository, committed.
fn committed() -> Sandbox {
    let sandbox = Sandbox::bootstrapped();
    git(&sandbox, &["init", "-q", "-b", "main"]);
    sandbox.write(".gitignore", b"secrets/\n*.agekey\nsealing.key.age\ntoken*\n");
    git(&sandbox, &["add", "-A"]);
    git(&sandbox, &["commit", "-qm", "first"]);
    sandbox
}

fn commit(sandbox: &Sandbox, what: &str) {
    git(sandbox, &["add", "-A"]);
    git(sandbox, &["commit", "-qm", what]);
}

/// The sealed texts, by unit.
fn sealed(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(sandbox.path("out/secret-source")).unwrap().map(|entry| entry.unwrap().file_name());
    let names = files.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.ends_with(".sealed.yaml"));
    names.map(|name| (name.clone(), sandbox.read(&format!("out/secret-source/{name}")))).collect()
}

#[test]
fn the_remedy_is_gits_and_a_clean_or_a_stash_makes_no_value() {
    needs!("git");
    let sandbox = committed();
    let all = sealed(&sandbox);
    // The command also works from another folder.
    sandbox.remove("out/secret-source/vllm-api-key.sealed.yaml");
    let ran = sandbox.run(["bootstrap"]).expect(4);
    let command = ran.stderr.split('`').find(|part| part.starts_with("git checkout")).unwrap();
    git(&sandbox, &command.split(' ').skip(1).collect::<Vec<_>>());
    assert_eq!(sealed(&sandbox), all);
    // Escrow, identity and copies are gone: what is committed is all there is.
    git(&sandbox, &["clean", "-qfdx"]);
    assert!(!sandbox.path("secrets").exists() && !sandbox.path("keys/operator.agekey").exists());
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do\n"));
    sandbox.run(["keygen"]).expect(3);
    assert_eq!(sealed(&sandbox), all);
    // A rotation is stashed, then restored.
    sandbox.run(["rotate", "vllm-api-key", "--yes"]).expect(0);
    let rotated = sealed(&sandbox);
    git(&sandbox, &["stash", "-q"]);
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do\n"));
    assert_eq!(sealed(&sandbox), all);
    git(&sandbox, &["stash", "pop", "-q"]);
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do\n"));
    assert!(sealed(&sandbox) == rotated && rotated != all);
}

#[test]
fn a_branch_from_before_the_first_run_does_not_replace_what_the_other_has() {
    needs!("git");
    let sandbox = Sandbox::with_usual_keys().without_hash();
    git(&sandbox, &["init", "-q", "-b", "main"]);
    sandbox.write(".gitignore", b"secrets/\n*.agekey\nsealing.key.age\n");
    commit(&sandbox, "keys");
    git(&sandbox, &["branch", "before"]);
    sandbox.run(["bootstrap"]).expect(0);
    commit(&sandbox, "sealed");
    let (all, copy) = (sealed(&sandbox), sandbox.read("secrets/dex-admin-password"));
    git(&sandbox, &["switch", "-q", "before"]);
    assert!(!sandbox.path("out").exists() && !sandbox.path(LIST).exists());
    // The values are on the other branch, and this machine remembers that they exist.
    refused(&sandbox, &["bootstrap"], &["values were sealed with the keys of this folder on this machine", "`git log --all -- keys`"]);
    // The same if the certificate is remade from the escrow, which git ignores.
    git(&sandbox, &["rm", "-q", "--cached", "keys/sealing.crt"]);
    let certificate = sandbox.read("keys/sealing.crt");
    sandbox.remove("keys/sealing.crt");
    sandbox.run(["keygen"]);
    assert_eq!(sandbox.read("keys/sealing.crt"), certificate);
    refused(&sandbox, &["bootstrap"], &["values were sealed with the keys of this folder on this machine"]);
    // No other key is made either.
    std::fs::rename(sandbox.path("keys"), sandbox.path("away")).unwrap();
    refused(&sandbox, &["keygen"], &["values were sealed with the keys of this folder on this machine"]);
    std::fs::rename(sandbox.path("away"), sandbox.path("keys")).unwrap();
    // Someone else's copy is never replaced.
    refused(&sandbox, &["bootstrap", "--start-over"], &["secrets/dex-admin-password", "it would be replaced"]);
    git(&sandbox, &["reset", "-q", "--hard"]);
    git(&sandbox, &["switch", "-q", "main"]);
    assert_eq!((sealed(&sandbox), sandbox.read("secrets/dex-admin-password")), (all, copy));
    sandbox.run(["verify"]).finds(&USUAL);
}

#[test]
fn two_branches_that_both_added_keys_merge_and_two_that_rotated_are_told() {
    needs!("git");
    let sandbox = committed();
    sandbox.write_secret("token", b"hf_0123456789abcdefghij");
    sandbox.write_secret("token2", b"sk-ant-0123456789");
    git(&sandbox, &["switch", "-qc", "other"]);
    sandbox.run(["bootstrap", "--provide", "hf-token=token"]).expect(0);
    sandbox.run(["rotate", "vllm-api-key", "--yes"]).expect(0);
    commit(&sandbox, "theirs");
    let theirs = sealed(&sandbox);
    git(&sandbox, &["switch", "-q", "main"]);
    sandbox.run(["bootstrap", "--provide", "anthropic-api-key=token2"]).expect(0);
    sandbox.run(["rotate", "vllm-api-key", "--yes"]).expect(0);
    commit(&sandbox, "ours");
    let ours = sealed(&sandbox);
    let mut merge = Command::new(program("git"));
    merge.args(["merge", "-q", "other"]).current_dir(sandbox.path("")).env_clear().env("PATH", path()).envs(crate::common::GIT);
    assert_eq!(finish(merge).code, 1);
    // The list has the lines of both sides, the unit has a conflict.
    let list = sandbox.read(LIST);
    assert!(list.contains("\nhf-token ../out\n") && list.contains("\nanthropic-api-key ../out\n") && !list.contains("<<<<"), "{list}");
    let before = sandbox.snapshot();
    sandbox.run(["bootstrap"]).expect(3);
    assert_eq!(before, sandbox.snapshot());
    git(&sandbox, &["checkout", "-q", "--theirs", "out/secret-source/vllm-api-key.sealed.yaml"]);
    sandbox.run(["bootstrap"]).expect(0);
    let mut expected: BTreeMap<_, _> = theirs.clone().into_iter().chain(ours.clone()).collect();
    expected.extend(theirs.into_iter().filter(|(name, _)| name.starts_with("vllm")));
    assert_eq!(sealed(&sandbox), expected);
    sandbox.run(["verify"]).finds(&USUAL[..3].iter().filter(|finding| !finding.contains("anthropic")).collect::<Vec<_>>());
    // Without its attribute git marks both sides, and the lines of both are kept.
    sandbox.write(LIST, list.replace("hf-token ../out\n", "<<<<<<< ours\nhf-token ../out\n=======\nx ../out\n>>>>>>> theirs\n").as_bytes());
    let ran = sandbox.run(["bootstrap"]).expect(3);
    assert!(ran.stderr.contains("keys/sealed.txt:") && ran.stderr.contains("keep the lines of both sides"), "{}", ran.stderr);
}

#[test]
fn the_first_paragraph_of_the_readers_story_in_the_binary() {
    // The advice that was once printed, run as a process from the repository's folder, and with nothing else given.
    let sandbox = of_an_older_version();
    let before = sandbox.snapshot();
    let mut pasted = Command::new(BINARY);
    pasted.args(sandbox.allowing(["bootstrap", "--provide", "hf-token=token"])).current_dir(sandbox.path("")).env_clear();
    pasted.env("XDG_STATE_HOME", sandbox.state_home());
    let ran = finish(pasted).expect(4);
    assert!(ran.stderr.contains("pass `--out sealed`"), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
}

#[test]
fn what_git_tracks_was_sealed_even_where_no_list_says_so() {
    needs!("git");
    let sandbox = committed();
    // Another machine, on which nothing was sealed.
    sandbox.write_pins("");
    sandbox.accept("keys");
    sandbox.remove(LIST);
    std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    std::fs::remove_dir_all(sandbox.path("secrets")).unwrap();
    let ran = sandbox.run(["bootstrap"]).expect(3);
    assert_eq!(ran.stderr, "error: keys/sealed.txt: no such file\nhelp: git tracks it: `git checkout -- keys/sealed.txt`\n");
    git(&sandbox, &["rm", "-q", "--cached", LIST]);
    refused(&sandbox, &["bootstrap"], &["litellm-salt-key", "were sealed before", "restore the output folder from git"]);
    refused(&sandbox, &["bootstrap", "--start-over"], &["litellm-salt-key", "were sealed before", "restore the output folder from git"]);
}

#[test]
fn advice_on_a_moved_folder_never_names_the_one_that_holds_the_values_for_removal() {
    let sandbox = Sandbox::bootstrapped();
    std::fs::rename(sandbox.path("out"), sandbox.path("s2")).unwrap();
    sandbox.run(["bootstrap", "--out", "s2"]).expect(0);
    let ran = sandbox.run(["bootstrap"]).expect(4);
    let help = "\nhelp: pass `--out s2`, or set `out` in `seal-secrets.yaml`; or `--cluster NAME`, for the values of another cluster\n";
    assert!(ran.stderr.ends_with(help), "{}", ran.stderr);
}

#[test]
fn where_nothing_could_be_sealed_yet_the_next_run_is_a_first_one_too() {
    let sandbox = Sandbox::with_keys();
    let text = "version: 1\nstore: s\nnamespace: shop\nreader: {name: r, namespace: eso}\nkeys:\n- {name: token, about: x, recipe: {provided: {}}}\n";
    sandbox.write("c.yaml", text.as_bytes());
    sandbox.set("contract: c.yaml");
    sandbox.run(["bootstrap"]).expect(0);
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do\n"));
    std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    sandbox.run_with_input(["bootstrap", "--provide", "token=-"], b"abc").expect(0);
    assert_eq!(sandbox.value("token"), "abc");
}
