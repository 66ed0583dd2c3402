//! What git ignores and what it tracks, compared with git itself.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use seal_secrets::world::{disk, git};

use crate::common::{GIT, Sandbox, finish, git, needs, path, program, usual};

/// Contents of a `.gitignore` beside `operator.agekey`, and whether we count that file as ignored.
const RULES: &[(&str, bool)] = &[
    // Plain.
    ("*.agekey\n", true),
    ("*.agekey", true),
    ("operator.agekey\n", true),
    ("/operator.agekey\n", true),
    ("*\n", true),
    ("**\n", true),
    ("/*\n", true),
    ("/**\n", true),
    ("**/operator.agekey\n", true),
    ("**/*.agekey\n", true),
    ("operator.*\n", true),
    ("op*r.ag*y\n", true),
    ("*operator*\n", true),
    ("# a comment\n\n*.agekey\n", true),
    ("*.agekey   \n", true),
    ("!*.agekey\n*\n", true),
    ("*.agekey\n!README.md\n", true),
    ("*.agekey\n!OTHER.agekey\n", true),
    ("*\n!.gitignore\n!*.crt\n", true),
    ("*.agekey\n!keys/operator.agekey\n", true),
    ("*.agekey\n!operator.agekey/\n", true),
    ("[ab]\n{a,b}\n\\!x\n*.agekey\n", true),
    // Nothing that ignores it.
    ("", false),
    ("\n\n", false),
    ("# *.agekey\n", false),
    ("*.agekey\n!operator.agekey\n", false),
    ("*.agekey\n!*\n", false),
    ("*\n!/operator.agekey\n", false),
    ("*\n!**/operator.agekey\n", false),
    ("operator.agekey/\n", false),
    ("keys/operator.agekey\n", false),
    ("/keys\n", false),
    ("OPERATOR.AGEKEY\n", false),
    ("*.agekeys\n", false),
    ("a/**\n", false),
    ("**/a/*.agekey\n", false),
    ("*/operator.agekey\n", false),
    // Braces are letters.
    ("{operator,other}.agekey\n", false),
    ("*.{agekey,tmp}\n", false),
    ("{*.agekey}\n", false),
    ("*.agekey\n!{a,b}\n", false),
    // Classes and escapes.
    ("[o]perator.agekey\n", false),
    ("[a-z]*.agekey\n", false),
    ("[!x]*.agekey\n", false),
    ("[[:alpha:]]*.agekey\n", false),
    ("[o\n", false),
    ("operator?agekey\n", false),
    ("\\operator.agekey\n", false),
    ("operator\\.agekey\n", false),
    ("operator.agekey\\\n", false),
    ("\\*.agekey\n", false),
    ("*.agekey\n![o]*\n", false),
    ("*.agekey\n!op\\erator.agekey\n", false),
    ("*.agekey\n!operator?agekey\n", false),
    // White space, line ends, and marks.
    ("operator.agekey\t\n", false),
    ("*.agekey\t\n", false),
    ("*.agekey \t\n", false),
    ("*.agekey\t \n", false),
    ("*.agekey\u{b}\n", false),
    ("*.agekey\u{a0}\n", false),
    (" *.agekey\n", false),
    ("\t*.agekey\n", false),
    ("*.agekey\\ \n", false),
    ("*.agekey\\  \n", false),
    ("*.agekey\r\n", true),
    ("*\r\n!*.crt\r\n", true),
    ("*.agekey \r\n", true),
    ("*.agekey\r\r\n", false),
    ("*.agekey\r", false),
    ("# a\r*.agekey\n", false),
    ("*.agekey\r!operator.agekey\n", false),
    ("*.agekey\n!operator.agekey\r\n", false),
    ("*.agekey\n!operator.agekey \n", false),
    ("\u{feff}*.agekey\n", false),
    ("\u{feff}!operator.agekey\n", false),
    ("\u{feff}# a\n*.agekey\n", true),
    ("*.agekey\0\n", false),
    ("*.agekey\n!operator.agekey\0x\n", false),
    // What a slash does.
    ("*.agekey/\n", false),
    ("//operator.agekey\n", false),
    ("./operator.agekey\n", false),
    ("../keys/operator.agekey\n", false),
    ("operator.agekey//\n", false),
    ("/\n", false),
    ("*/\n", false),
    ("**/\n", false),
    ("/**/operator.agekey\n", true),
    ("/**/**\n", false),
    ("***\n", false),
    ("operator.**\n", false),
    ("*.agekey\n!\n", false),
    ("*.agekey\n! operator.agekey\n", false),
    ("*.agekey\n!!operator.agekey\n", false),
    ("*.agekey\n!***\n", false),
    ("*.agekey\n!**/**\n", false),
];

/// Several files each: their contents, and whether we count `a/keys/operator.agekey` as ignored.
type Files = &'static [(&'static str, &'static str)];
const SEVERAL: &[(Files, bool)] = &[
    (&[(".gitignore", "*.agekey\n"), ("a/keys/.gitignore", "!*.agekey\n")], false),
    (&[(".gitignore", "/a/\n"), ("a/keys/.gitignore", "!*.agekey\n")], true),
    (&[(".gitignore", "keys/\n!operator.agekey\n"), ("a/keys/.gitignore", "!*\n")], true),
    (&[(".gitignore", "a/*\n!a/keys\n"), ("a/keys/.gitignore", "# none\n")], false),
    (&[(".gitignore", "a/*\n!a/keys/operator.agekey\n"), ("a/keys/.gitignore", "# none\n")], true),
    (&[(".gitignore", "a/**/operator.agekey\n"), ("a/keys/.gitignore", "# none\n")], true),
    (&[(".gitignore", "a/**\n"), ("a/keys/.gitignore", "# none\n")], true),
    (&[(".gitignore", "keys/operator.agekey\n"), ("a/keys/.gitignore", "# none\n")], false),
    (&[("a/.gitignore", "keys/operator.agekey\n"), ("a/keys/.gitignore", "# none\n")], true),
    (&[("a/.gitignore", "!*\n"), (".gitignore", "*.agekey\n"), ("a/keys/.gitignore", "# none\n")], false),
    (&[("a/.gitignore", "!{a}\n"), (".gitignore", "*.agekey\n"), ("a/keys/.gitignore", "# none\n")], false),
    (&[(".git/info/exclude", "*.agekey\n"), ("a/keys/.gitignore", "# none\n")], true),
    (&[(".git/info/exclude", "*.agekey\t\n"), ("a/keys/.gitignore", "# none\n")], false),
    (&[(".git/info/exclude", "*.agekey\n"), (".gitignore", "!operator.*\n"), ("a/keys/.gitignore", "# none\n")], false),
    (&[(".git/info/exclude", "a\n"), ("a/keys/.gitignore", "!*\n")], true),
    // The user's own rules do not hold for others.
    (&[(".git/own", "*\n"), ("a/keys/.gitignore", "# none\n")], false),
    // An inner `.git` that is no repository: git goes on in the outer one.
    (&[("a/keys/.git/info/exclude", "*\n"), ("a/keys/.gitignore", "# none\n")], false),
];

fn repository() -> Sandbox {
    let sandbox = Sandbox::empty();
    git(&sandbox, &["init", "-q", "."]);
    sandbox
}

/// Those of these files that git ignores.
fn ignored(sandbox: &Sandbox, files: &[String]) -> Vec<String> {
    sandbox.write("files", files.join("\n").as_bytes());
    let mut command = Command::new(program("git"));
    command.args(["check-ignore", "--no-index", "--stdin"]).stdin(std::fs::File::open(sandbox.path("files")).unwrap());
    command.current_dir(sandbox.path("")).env_clear().env("PATH", path()).envs(GIT);
    let ran = finish(command);
    assert!(ran.code < 2 && ran.stderr.is_empty(), "{}", ran.stderr);
    ran.stdout.lines().map(str::to_owned).collect()
}

/// Whether git ignores a file, and whether we say so.
fn judged(sandbox: &Sandbox, folder: &str, name: &str) -> (bool, bool) {
    let git = !ignored(sandbox, &[format!("{folder}/{name}")]).is_empty();
    (git, git::check_kept_out(&*disk::real(), &sandbox.path(folder), &[name]).is_ok())
}

#[test]
fn what_we_take_for_ignored_is_ignored_by_git() {
    needs!("git");
    let sandbox = repository();
    let mut files = Vec::new();
    for (i, (rules, _)) in RULES.iter().enumerate() {
        // Beside the file, and one folder further up.
        for (folder, place) in [(format!("beside{i}/keys"), "keys/.gitignore"), (format!("above{i}/keys"), ".gitignore")] {
            sandbox.write(&format!("{folder}/.gitignore"), b"# none\n");
            sandbox.write(&folder.replace("keys", place), rules.as_bytes());
            files.extend(["operator.agekey", "dex-admin-password", "a.b"].map(|name| format!("{folder}/{name}")));
        }
    }
    for ignores_case in ["false", "true"] {
        git(&sandbox, &["config", "core.ignoreCase", ignores_case]);
        let ignored = ignored(&sandbox, &files);
        assert!(ignored.len() > RULES.len());
        for file in &files {
            let (folder, name) = file.rsplit_once('/').unwrap();
            let (place, _) = folder.split_once('/').unwrap();
            let (rules, expected) = RULES[place.trim_matches(|c: char| c.is_alphabetic()).parse::<usize>().unwrap()];
            let ours = git::check_kept_out(&*disk::real(), &sandbox.path(folder), &[name]).is_ok();
            assert!(!ours || ignored.contains(file), "{rules:?}: git does not ignore {file}");
            if place.starts_with("beside") && name == "operator.agekey" {
                assert_eq!(ours, expected, "{rules:?}");
            }
        }
    }
}

#[test]
fn several_files_are_weighed_as_git_weighs_them() {
    needs!("git");
    for (files, expected) in SEVERAL {
        let sandbox = repository();
        git(&sandbox, &["config", "core.excludesFile", ".git/own"]);
        files.iter().for_each(|(path, text)| sandbox.write(path, text.as_bytes()));
        let (git, ours) = judged(&sandbox, "a/keys", "operator.agekey");
        assert!(git || !ours, "{files:?}: git does not ignore it");
        assert_eq!(ours, *expected, "{files:?}");
    }
}

/// Looks like a folder from another repository, through a link: the folder's own repository counts.
#[test]
fn the_folder_itself_decides_and_not_the_way_there() {
    needs!("git");
    let sandbox = Sandbox::empty();
    sandbox.write("here/.gitignore", b"*\n");
    sandbox.write("there/keys/.gitignore", b"# none\n");
    for root in ["here", "there"] {
        git(&sandbox, &["init", "-q", root]);
    }
    symlink("../there/keys", sandbox.path("here/link")).unwrap();
    let kept_out = |folder: &str| git::check_kept_out(&*disk::real(), &sandbox.path(folder), &["operator.agekey"]).is_ok();
    assert!(!kept_out("here/link/"));
    assert!(!kept_out("here/../there/keys"));
}

#[test]
fn a_gitignore_that_is_a_link_is_refused_with_its_remedy() {
    for (link, target) in [("keys/.gitignore", "../rules"), (".gitignore", "rules"), ("keys/.gitignore", "/no/such")] {
        let sandbox = Sandbox::empty();
        std::fs::create_dir(sandbox.path(".git")).unwrap();
        sandbox.write("rules", b"*.agekey\n");
        sandbox.write("keys/.gitignore", b"# none\n");
        let _ = std::fs::remove_file(sandbox.path(link));
        symlink(target, sandbox.path(link)).unwrap();
        let ran = sandbox.run(["keygen"]).expect(4);
        let expected = format!(
            "error: {}: a symbolic link, which git does not follow: its rules ignore nothing\nhelp: replace the link by a copy of the file that it leads to\n",
            sandbox.path(link).display()
        );
        assert_eq!(ran.stderr, expected);
        assert!(!sandbox.path("keys/operator.agekey").exists());
    }
}

#[test]
fn a_worktree_shares_the_rules_of_its_repository_and_has_an_index_of_its_own() {
    needs!("git");
    let sandbox = repository();
    sandbox.write("a.txt", b"a\n");
    git(&sandbox, &["add", "."]);
    git(&sandbox, &["commit", "-qm", "a"]);
    git(&sandbox, &["worktree", "add", "-q", "tree"]);
    sandbox.write("tree/keys/.gitignore", b"# none\n");
    assert_eq!(judged_in_tree(&sandbox), (false, false));
    sandbox.write(".git/info/exclude", b"*.agekey\n");
    // The outer repository, in which the worktree lies, has the same rules.
    assert_eq!(judged_in_tree(&sandbox), (true, true));
    sandbox.write("tree/keys/operator.agekey", b"x");
    git(&sandbox, &["-C", "tree", "add", "-f", "keys/operator.agekey"]);
    assert_eq!(tracked(&sandbox.path("tree/keys")), ["operator.agekey"]);
}

fn judged_in_tree(sandbox: &Sandbox) -> (bool, bool) {
    let mut command = Command::new(program("git"));
    command.args(["-C", "tree", "check-ignore", "-q", "keys/operator.agekey"]).current_dir(sandbox.path(""));
    command.env_clear().env("PATH", path()).envs(GIT);
    let ours = git::check_kept_out(&*disk::real(), &sandbox.path("tree/keys"), &["operator.agekey"]).is_ok();
    (finish(command).code == 0, ours)
}

fn tracked(folder: &Path) -> Vec<String> {
    let found = git::tracked(&*disk::real(), folder, &|name| name.ends_with(".agekey")).unwrap();
    assert!(found.unsure.is_empty());
    found.names
}

/// Ways to write an index: its version, other extensions, other hashes. Each is read reliably, or reported as unclear.
const INDEXES: &[(&[&[&str]], bool)] = &[
    (&[&["init", "-q", "."], &["update-index", "--index-version", "2"]], true),
    (&[&["init", "-q", "."], &["update-index", "--index-version", "4"]], true),
    (&[&["init", "-q", "--object-format=sha256", "."], &["update-index", "--index-version", "2"]], true),
    (&[&["init", "-q", "--object-format=sha256", "."], &["update-index", "--index-version", "4"]], true),
    (&[&["init", "-q", "."], &["config", "feature.manyFiles", "true"], &["config", "index.threads", "2"]], true),
    (&[&["init", "-q", "."], &["update-index", "--untracked-cache"]], true),
    (&[&["init", "-q", "."], &["update-index", "--split-index"]], false),
];

#[test]
fn the_index_is_read_in_every_version_or_said_to_be_unclear() {
    needs!("git");
    for (commands, certain) in INDEXES {
        let sandbox = Sandbox::empty();
        commands.iter().for_each(|command| drop(git(&sandbox, command)));
        for i in 1..30 {
            sandbox.write(&format!("keys/{}/file", "d".repeat(7 * i)), b"x");
        }
        sandbox.write("keys/alice.agekey", b"x");
        sandbox.write("keys/bob.agekey", b"x");
        sandbox.write("zz/keys/carol.agekey", b"x");
        git(&sandbox, &["add", "-f", "."]);
        git(&sandbox, &["add", "-N", "."]);
        git(&sandbox, &["update-index", "--skip-worktree", "keys/alice.agekey"]);
        git(&sandbox, &["rm", "-q", "--cached", "keys/bob.agekey"]);
        let found = git::tracked(&*disk::real(), &sandbox.path("keys"), &|name| name.ends_with(".agekey")).unwrap();
        assert_eq!(found.unsure.is_empty(), *certain, "{commands:?}");
        if *certain {
            assert_eq!(found.names, ["alice.agekey"], "{commands:?}");
        }
    }
}

#[test]
fn an_index_that_is_damaged_is_said_to_be_unclear() {
    needs!("git");
    let sandbox = repository();
    for name in ["a", "keys/operator.agekey", "z"] {
        sandbox.write(name, b"x");
    }
    git(&sandbox, &["add", "-f", "."]);
    let sound = std::fs::read(sandbox.path(".git/index")).unwrap();
    let unsure = |bytes: &[u8]| {
        std::fs::write(sandbox.path(".git/index"), bytes).unwrap();
        let found = git::tracked(&*disk::real(), &sandbox.path("keys"), &|name| name == "operator.agekey").unwrap();
        (found.names.len(), found.unsure.len())
    };
    assert_eq!(unsure(&sound), (1, 0));
    for cut in 0..sound.len() {
        // Whatever is left of it: it is tracked, or it is not clear.
        assert_eq!(unsure(&sound[..cut]), (0, 1), "{cut}");
    }
    for (at, byte) in [(0, b'X'), (7, 5), (11, 9), (12 + 62, 0)] {
        let mut damaged = sound.clone();
        damaged[at] = byte;
        assert_eq!(unsure(&damaged), (0, 1), "{at}");
    }
}

#[test]
fn a_sparse_index_without_the_folder_is_unclear() {
    needs!("git");
    let sandbox = repository();
    for name in ["a/x", "keys/operator.agekey"] {
        sandbox.write(name, b"x");
    }
    git(&sandbox, &["add", "-f", "."]);
    git(&sandbox, &["commit", "-qm", "a"]);
    git(&sandbox, &["sparse-checkout", "init", "--cone", "--sparse-index"]);
    git(&sandbox, &["sparse-checkout", "set", "a"]);
    let found = git::tracked(&*disk::real(), &sandbox.path("keys"), &|_| true).unwrap();
    assert_eq!((found.names.len(), found.unsure.len()), (0, 1));
    let found = git::tracked(&*disk::real(), &sandbox.path("a"), &|name| name == "x").unwrap();
    assert_eq!((found.names.len(), found.unsure.len()), (1, 0));
}

/// Commands that write a secret, or use one for a change.
const CHANGES: &[&[&str]] = &[
    &["bootstrap"],
    &["import", "--env-file", "in.env"],
    &["rotate", "vllm-api-key", "--yes"],
    &["renew", "--yes"],
    &["re-encrypt", "--yes"],
    &["escrow", "add-recipient", "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa", "--yes"],
];

#[test]
fn a_secret_that_git_tracks_is_refused_and_reported() {
    needs!("git");
    let identity = "let another identity in (`seal-secrets escrow add-recipient age1…`), remove this one, then `seal-secrets renew` and `seal-secrets rotate KEY…`";
    let copy = "replace it: `seal-secrets rotate dex-admin-password`";
    for (file, remedy, commands) in [
        ("keys/operator.agekey", identity, CHANGES),
        ("keys/old.agekey", identity, CHANGES),
        ("secrets/dex-admin-password", copy, &CHANGES[..3]),
    ] {
        let sandbox = Sandbox::bootstrapped();
        sandbox.write_secret("in.env", b"HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz\n");
        sandbox.write_secret(file, sandbox.read("keys/operator.agekey").as_bytes());
        git(&sandbox, &["init", "-q", "."]);
        git(&sandbox, &["add", "-f", file]);
        let before = sandbox.snapshot();
        let expected = format!(
            "error: {file}: git tracks this secret, which is exposed if it was ever pushed\nhelp: run `git rm --cached {file}` and commit; if it was ever pushed, {remedy}\n"
        );
        for command in commands {
            let ran = sandbox.run(*command).expect(4);
            assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", expected.as_str()), "{command:?}");
        }
        assert_eq!(before, sandbox.snapshot());
        sandbox.run(["verify"]).finds(&usual(&[&format!("tracked-by-git {file}")]));
        git(&sandbox, &["rm", "-q", "--cached", file]);
        sandbox.run(["bootstrap"]).expect(0);
        sandbox.run(["verify"]).finds(&usual(&[]));
    }
}

#[test]
fn keygen_refuses_where_an_identity_is_tracked_that_is_gone() {
    needs!("git");
    let sandbox = repository();
    sandbox.write("keys/operator.agekey", b"x");
    git(&sandbox, &["add", "-f", "."]);
    sandbox.remove("keys/operator.agekey");
    let ran = sandbox.run(["keygen"]).expect(4);
    assert!(ran.stderr.starts_with("error: keys/operator.agekey: git tracks this secret"), "{}", ran.stderr);
}

#[test]
fn an_index_that_does_not_tell_is_warned_of() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.write(".git/index", b"DIRC and nothing that is known");
    let ran = sandbox.run(["bootstrap"]);
    let index = sandbox.path(".git/index");
    let warning = "it cannot be read for certain whether git tracks a secret: `git ls-files keys secrets` must list none";
    ran.warned(&[&format!("{}: {warning}", index.display())]);
}
