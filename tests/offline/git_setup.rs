//! The settings that `git-setup` gives git, and what the real git then shows and merges.

use std::path::Path;
use std::process::Command;

use crate::common::{BINARY, GIT, Ran, Sandbox, finish, git, needs, path_after, printed, program};

const ATTRIBUTES: &str = "*.yaml merge=seal-secrets\nINSTALL.md merge=seal-secrets\n*.sealed.yaml !merge diff=seal-secrets\n";

/// git, which finds the binary.
fn git_finding(sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = Command::new(program("git"));
    command.args(args).current_dir(sandbox.path("")).env_clear().envs(GIT);
    command.env("PATH", path_after(Path::new(BINARY).parent().unwrap())).env("XDG_STATE_HOME", sandbox.state_home());
    command
}

/// A repository with everything committed.
fn repository() -> Sandbox {
    let sandbox = Sandbox::bootstrapped();
    git(&sandbox, &["init", "-q", "-b", "main", "."]);
    sandbox.write("keys/.gitignore", b"*.agekey\n");
    commit(&sandbox, "begin");
    sandbox
}

fn commit(sandbox: &Sandbox, message: &str) {
    git(sandbox, &["add", "-A"]);
    git(sandbox, &["commit", "-q", "-m", message]);
}

fn variables(sandbox: &Sandbox) -> String {
    git(sandbox, &["config", "--local", "--get-regexp", "seal-secrets"])
}

#[test]
fn it_shows_what_it_would_write_and_writes_it_once() {
    needs!("git");
    let sandbox = repository();
    let before = sandbox.snapshot();
    let shown = sandbox.run(["git-setup"]).expect(0).stdout;
    assert_eq!(before, sandbox.snapshot());
    assert!(shown.contains("write  .git/config: ") && shown.ends_with("to do: `seal-secrets git-setup --write`\n"), "{shown}");
    let wrote = sandbox.run(["git-setup", "--write"]).expect(0).stdout;
    let end = |text: &str| text.lines().count() - 1;
    assert_eq!(shown.lines().take(end(&shown)).collect::<Vec<_>>(), wrote.lines().take(end(&wrote)).collect::<Vec<_>>());
    assert_eq!(sandbox.read("out/.gitattributes"), ATTRIBUTES);
    // The printed commands make the same settings as `--write`.
    let other = Sandbox::empty();
    git(&other, &["init", "-q", "."]);
    let commands: Vec<&str> = shown.lines().map(str::trim).filter(|line| line.starts_with("git config ")).collect();
    assert_eq!((commands.len(), other.shell(&commands.join(" && "))), (4, 0), "{shown}");
    assert_eq!(variables(&sandbox), variables(&other));
    let after = sandbox.snapshot();
    assert_eq!(sandbox.run(["git-setup", "--write"]).expect(0).stdout, "nothing to do\n");
    assert_eq!(after, sandbox.snapshot());
    assert_eq!(sandbox.run(["verify"]).finds(&crate::common::USUAL).stderr, "");
}

#[test]
fn names_that_a_shell_or_git_would_take_for_something_else_stay_names() {
    needs!("git");
    let sandbox = repository();
    let name = "o'u %P$(x)t;#\"\\ ü";
    std::fs::rename(sandbox.path("out"), sandbox.path(name)).unwrap();
    std::fs::rename(sandbox.path("keys"), sandbox.path("k y's")).unwrap();
    let args = ["git-setup", "--out", name, "--keys", "k y's", "--reveal"];
    // The inner, twice-quoted command cannot be pasted; the whole line can.
    let shown = finish(sandbox.command(args));
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert_eq!(finish(sandbox.command([&args[..], &["--write"]].concat())).code, 0);
    let other = Sandbox::empty();
    git(&other, &["init", "-q", "."]);
    let commands: Vec<&str> = shown.stdout.lines().map(str::trim).filter(|line| line.starts_with("git config ")).collect();
    assert_eq!((commands.len(), other.shell(&commands.join(" && "))), (4, 0), "{}", shown.stdout);
    assert_eq!(variables(&sandbox), variables(&other));
    // As git runs it: the file's name in the place of `%P`, and one `%` for two.
    let driver = git(&sandbox, &["config", "merge.seal-secrets.driver"]);
    let mut shell = Command::new(program("sh"));
    shell.args(["-c", &driver.replacen("%P", "f", 1).replace("%%", "%")]);
    let ran = finish(shell);
    assert!(ran.code == 1 && ran.stderr.contains(&format!("--out '{}' bootstrap`, then", name.replace('\'', r"'\''"))), "{ran:?}");
    // The command that shows values finds the keys.
    let textconv = git(&sandbox, &["config", "diff.seal-secrets.textconv"]);
    let mut shell = Command::new(program("sh"));
    let file = format!("{name}/secret-source/vllm-api-key.sealed.yaml");
    shell.args(["-c", &format!("{} \"$@\"", textconv.trim_end()), "textconv", &file]).current_dir(sandbox.path("")).env_clear();
    shell.env("PATH", path_after(Path::new(BINARY).parent().unwrap())).env("XDG_STATE_HOME", sandbox.state_home());
    let shown = finish(shell).expect(0).stdout;
    assert!(regex::Regex::new(r#"blob [0-9a-f]{12}\): "[^"]{32,}""#).unwrap().is_match(&shown), "{shown}");
}

#[test]
fn what_stands_there_already_stays() {
    needs!("git");
    let sandbox = repository();
    sandbox.write("out/.gitattributes", b"*.md text");
    let configuration = sandbox.read(".git/config");
    let old = "[diff \"seal-secrets\"]\n\ttextconv = another\n\tbinary = true\n";
    sandbox.write(".git/config", format!("{configuration}{old}[user]\n\tname = \"a; b\" # c").as_bytes());
    sandbox.run(["git-setup", "--write"]).expect(0);
    assert_eq!(sandbox.read("out/.gitattributes"), format!("*.md text\n{ATTRIBUTES}"));
    let text = sandbox.read(".git/config");
    assert!(text.starts_with(&format!("{configuration}[user]\n\tname = \"a; b\" # c\n[diff \"seal-secrets\"]\n")), "{text}");
    assert_eq!(git(&sandbox, &["config", "user.name"]), "a; b\n");
    assert!(!variables(&sandbox).contains("another") && !text.contains("binary"), "{text}");
    assert_eq!(sandbox.run(["git-setup"]).expect(0).stdout, "nothing to do\n");
}

#[test]
fn a_diff_shows_all_that_changed_but_for_ciphertexts_and_values() {
    needs!("git");
    let sandbox = repository();
    sandbox.run(["git-setup", "--write"]).expect(0);
    let (file, before) = ("out/secret-source/vllm-api-key.sealed.yaml", sandbox.value("vllm-api-key"));
    sandbox.run(["rotate", "vllm-api-key", "--yes"]).expect(0);
    sandbox.edit(file, "  name: vllm-api-key\n", "  name: vllm-api-key\n  labels: { odd: one }\n");
    let (after, sealed) = (sandbox.value("vllm-api-key"), sandbox.read(file));
    let diff = printed(git_finding(&sandbox, &["diff", "-U0", "--", file]));
    let changed: Vec<&str> = diff.lines().skip_while(|line| !line.starts_with("@@")).filter(|line| !line.starts_with("@@")).collect();
    let line = |sign: char| {
        regex::Regex::new(&format!(
            r"^{}    value: \(\d+ bytes, sealed \d{{4}}-\d\d-\d\d, blob [0-9a-f]{{12}}\)$",
            regex::escape(&sign.to_string())
        ))
        .unwrap()
    };
    assert_eq!((changed.len(), changed[0]), (3, "+  labels: { odd: one }"), "{diff}");
    assert!(line('-').is_match(changed[1]) && line('+').is_match(changed[2]), "{diff}");
    let blob = sealed.lines().find_map(|line| line.trim().strip_prefix("value: ")).unwrap();
    assert!([&before, &after, blob].iter().all(|secret| !diff.contains(*secret)), "{diff}");
    // The length is that of the value.
    assert!(changed[2].contains(&format!("({} bytes", after.len())), "{diff}");
    let ran = sandbox.run(["git-setup", "--reveal", "--write"]);
    assert!(ran.code == 0 && ran.stderr.starts_with("warning: `git diff`, "), "{}", ran.stderr);
    let diff = printed(git_finding(&sandbox, &["diff", "-U0", "--", file]));
    assert!(diff.contains(&format!("): \"{before}\"\n")) && diff.contains(&format!("): \"{after}\"\n")), "{diff}");
    // git keeps nothing of it.
    assert_eq!(git(&sandbox, &["for-each-ref", "--format=%(refname)"]), "refs/heads/main\n");
    sandbox.run(["git-setup", "--write"]).expect(0);
    assert!(!printed(git_finding(&sandbox, &["diff", "--", file])).contains(&after));
}

/// A branch that provides one key.
fn provided(sandbox: &Sandbox, branch: &str, key: &str, value: &str) {
    git(sandbox, &["checkout", "-q", "-b", branch, "main"]);
    sandbox.run_with_input(["bootstrap", "--provide", &format!("{key}=-")], value.as_bytes()).expect(0);
    commit(sandbox, key);
}

#[test]
fn derived_files_that_both_sides_changed_wait_for_bootstrap() {
    needs!("git");
    let sandbox = repository();
    sandbox.run(["git-setup", "--write"]).expect(0);
    commit(&sandbox, "git-setup");
    provided(&sandbox, "one", "hf-token", "hf_Vt8QmZ4xKp2WnR6yHd0sLc9B");
    provided(&sandbox, "two", "anthropic-api-key", "sk-ant-api03-Vt8QmZ4xKp2WnR6yHd0sLc9B");
    let merged: Ran = finish(git_finding(&sandbox, &["merge", "one"]));
    assert_eq!(merged.code, 1, "{merged:?}");
    let advice = "follows from the contract and the sealed files, and is not merged; run `seal-secrets bootstrap`, then `git add` it";
    assert!(merged.stderr.contains(&format!("out/secret-source/kustomization.yaml: {advice}\n")), "{merged:?}");
    let status = git(&sandbox, &["status", "--porcelain"]);
    let open: Vec<&str> = status.lines().filter_map(|line| line.strip_prefix("UU ")).collect();
    assert!(
        open.contains(&"out/secret-source/kustomization.yaml")
            && open.iter().all(|file| file.starts_with("out/") && !file.contains(".sealed.")),
        "{status}"
    );
    assert!(open.iter().all(|file| !sandbox.read(file).contains("<<<<<<<")), "{status}");
    sandbox.run(["bootstrap"]).expect(0);
    commit(&sandbox, "merged");
    sandbox.run(["verify", "--identity", "keys/operator.agekey"]).finds(&[crate::common::USUAL[0], crate::common::USUAL[2]]);
    assert_eq!(sandbox.run(["plan", "--check"]).expect(0).stdout.lines().next(), Some("nothing to do"));
}

#[test]
fn a_sealed_file_that_both_sides_changed_is_in_conflict_as_any_text() {
    needs!("git");
    let sandbox = repository();
    sandbox.run(["git-setup", "--write"]).expect(0);
    commit(&sandbox, "git-setup");
    for branch in ["one", "two"] {
        git(&sandbox, &["checkout", "-q", "-b", branch, "main"]);
        sandbox.run(["rotate", "vllm-api-key", "--yes"]).expect(0);
        commit(&sandbox, branch);
    }
    assert_eq!(finish(git_finding(&sandbox, &["merge", "one"])).code, 1);
    assert!(sandbox.read("out/secret-source/vllm-api-key.sealed.yaml").contains("<<<<<<<"));
}

#[test]
fn a_file_that_holds_no_sealed_value_is_shown_as_it_is() {
    let sandbox = Sandbox::bootstrapped();
    for text in ["a: b\n", "", "\u{fffe}\r\n", "<<<<<<< HEAD\nkind: SealedSecret\n"] {
        sandbox.write("f.sealed.yaml", text.as_bytes());
        // Unreadable settings do not prevent a diff.
        sandbox.write("seal-secrets.yaml", b"version: [");
        assert_eq!(sandbox.run(["textconv", "f.sealed.yaml"]).expect(0).stdout, text);
    }
    sandbox.remove("seal-secrets.yaml");
    let sealed = sandbox.read("out/secret-source/vllm-api-key.sealed.yaml").replace("value: AQ", "value: AR");
    sandbox.write("f.sealed.yaml", sealed.as_bytes());
    let shown = sandbox.run(["textconv", "--reveal", "f.sealed.yaml"]).expect(0).stdout;
    assert!(shown.lines().any(|line| line.ends_with("): does not open")), "{shown}");
}

#[test]
fn without_a_repository_or_an_output_folder_there_is_nothing_to_set_up() {
    let error = |ran: Ran, code, what: &str| {
        let ran = ran.expect(code);
        assert!(ran.stderr.starts_with(&format!("error: {what}\n")), "{}", ran.stderr);
    };
    error(Sandbox::bootstrapped().run(["git-setup"]), 2, "the output folder is in no git repository");
    error(Sandbox::empty().run(["git-setup"]), 3, "out: no such folder");
    // A `.git` file may name a folder that is no repository, with a `config` of something else.
    let sandbox = Sandbox::bootstrapped();
    sandbox.write(".git", format!("gitdir: {}\n", sandbox.path("kube").display()).as_bytes());
    sandbox.write("kube/config", b"clusters: []\n");
    error(sandbox.run(["git-setup", "--write"]), 2, "the output folder is in no git repository");
    assert_eq!(sandbox.read("kube/config"), "clusters: []\n");
}

#[test]
fn a_worktree_shares_the_configuration_of_its_clone() {
    needs!("git");
    let sandbox = repository();
    git(&sandbox, &["worktree", "add", "-q", "tree"]);
    let ran = sandbox.run_from("tree", ["git-setup", "--write"]);
    assert!(ran.code == 0 && ran.stdout.contains("write  ../.git/config: "), "{ran:?}");
    assert_eq!(sandbox.read("tree/out/.gitattributes"), ATTRIBUTES);
    assert_eq!(variables(&sandbox).lines().count(), 4);
}
