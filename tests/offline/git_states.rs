//! The states in which git leaves a checkout: in conflict, with other line ends, with missing files, with ignored folders.

use std::path::{Path, PathBuf};
use std::process::Command;

use seal_secrets::manifest::contract_file;

use crate::common::{GIT, Ran, Sandbox, copy_folder, finish, git, needs, path, program, tool, usual, without_hash};
use crate::platform::with_platform;

const PROD: [&str; 4] = ["--platform", "p", "--environment", "prod"];

type Style = (&'static str, fn(&str) -> String);

/// After the first line of a text, both sides of a conflict about the second line, in each of git's styles.
const STYLES: &[Style] = &[
    ("merge", |line| format!("<<<<<<< HEAD\n{line}\n=======\n{line} \n>>>>>>> other\n")),
    ("diff3", |line| format!("<<<<<<< HEAD\n{line}\n||||||| 1a2b3c4\n{line}  \n=======\n{line} \n>>>>>>> other\n")),
    ("crlf", |line| format!("<<<<<<< HEAD\r\n{line}\r\n=======\r\n{line} \r\n>>>>>>> other\r\n")),
    ("one side is empty", |line| format!("<<<<<<< a\n=======\n{line}\n>>>>>>> b\n{line}\n")),
];

fn in_conflict(text: &str, style: fn(&str) -> String) -> String {
    let (first, rest) = text.split_once('\n').unwrap();
    let (second, rest) = rest.split_once('\n').unwrap();
    format!("{first}\n{}{rest}", style(second))
}

const LEFT: &str = "git left conflict markers here: a merge is not resolved";
const RESOLVE: &str = "keep what is right of both sides, and remove the lines that begin with `<<<<<<<`, `=======` and `>>>>>>>`";
const RESTORE: &str = "run `seal-secrets bootstrap`: it restores the file";

fn one_side(file: &str, place: &str) -> String {
    format!("take one side, whole, and never mix the two: `git checkout --ours -- {file}` or `git checkout --theirs -- {file}`{place}")
}

#[test]
fn a_file_in_conflict_that_nothing_can_be_made_of_is_refused_with_its_own_advice() {
    let union = "keep the lines of both sides, without the markers; `sealed.txt merge=union` in `.gitattributes` beside it does that";
    let template = Sandbox::bootstrapped();
    let contract = template.run(["contract", "--format", "yaml"]).expect(0).stdout;
    template.write("c.yaml", contract.as_bytes());
    let recipient = template.own_recipient();
    template.write("keys/recipients.txt", format!("# who may open it\n{recipient}\n").as_bytes());
    // What refuses it, and what `verify` finds; none if another command does not read the file, or if `verify` refuses it too.
    let rows: [(&str, &[&str], String, Option<&str>); 6] = [
        (
            "out/secret-source/vllm-api-key.sealed.yaml",
            &["bootstrap"],
            one_side("out/secret-source/vllm-api-key.sealed.yaml", ""),
            Some("unreadable"),
        ),
        (
            "out/secret-source/vllm-api-key.sealed.yaml",
            &["rotate", "n8n-encryption-key", "--yes"],
            one_side("out/secret-source/vllm-api-key.sealed.yaml", ""),
            Some("unreadable"),
        ),
        ("keys/sealed.txt", &["bootstrap"], union.to_owned(), Some("unreadable")),
        ("keys/recipients.txt", &["escrow", "add-recipient", &recipient], RESOLVE.to_owned(), Some("unreadable")),
        (
            "keys/sealing.crt",
            &["bootstrap"],
            one_side("keys/sealing.crt", ", and the same side of every sealed file"),
            Some("certificate-unusable"),
        ),
        ("c.yaml", &["bootstrap", "--contract", "c.yaml"], RESOLVE.to_owned(), None),
    ];
    for (file, command, help, code) in rows {
        for (style, conflict) in STYLES {
            let sandbox = template.copy();
            sandbox.write(file, in_conflict(&sandbox.read(file), *conflict).as_bytes());
            let before = sandbox.snapshot();
            let ran = sandbox.run(command).expect(3);
            let expected = format!("error: {file}:2:1: {LEFT}\nhelp: {help}\n");
            assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", expected.as_str()), "{file} {style}");
            let Some(code) = code else {
                assert_eq!(sandbox.run(["verify", "--contract", "c.yaml"]).expect(3).stderr, expected, "{style}");
                continue;
            };
            let ran = sandbox.run(["verify"]).expect(1);
            let finding = format!("error[{code}]: {file}:2:1: {LEFT}\n  help: {help}\n");
            assert!(ran.stdout.contains(&finding), "{file} {style}: {}", ran.stdout);
            assert_eq!(ran.stdout.matches("error[").count(), 1, "{file} {style}: {}", ran.stdout);
            assert_eq!(before, sandbox.snapshot(), "{file} {style}");
        }
    }
}

#[test]
fn what_reads_others_files_refuses_one_in_conflict() {
    let file = "out/secret-source/vllm-api-key.sealed.yaml";
    let sandbox = Sandbox::bootstrapped();
    sandbox.write(file, in_conflict(&sandbox.read(file), STYLES[0].1).as_bytes());
    for args in [&["unseal", "-f", file][..], &["re-encrypt", "--yes", file]] {
        let ran = sandbox.run(args);
        let shown = ran.stdout + &ran.stderr;
        assert!(shown.contains(&format!("{file}:2:1")) && shown.contains(&one_side(file, "")), "{args:?} {shown}");
    }
}

#[test]
fn a_derived_file_in_conflict_is_written_again() {
    let files = [
        "INSTALL.md",
        "kustomization.yaml",
        "secret-source/kustomization.yaml",
        "secret-source/rbac.yaml",
        "property-patches/hf-token.patch.yaml",
    ];
    for file in files {
        for (style, conflict) in STYLES {
            let sandbox = Sandbox::bootstrapped();
            let (path, before) = (format!("out/{file}"), sandbox.read(&format!("out/{file}")));
            sandbox.write(&path, in_conflict(&before, *conflict).as_bytes());
            let ran = sandbox.run(["verify"]).finds(&usual(&[&format!("unreadable {path}:2:1")]));
            assert!(ran.stdout.contains(&format!("{path}:2:1: {LEFT}\n  help: {RESTORE}\n")), "{style}: {}", ran.stdout);
            let ran = sandbox.run(["bootstrap"]).expect(0);
            assert!(ran.stdout.starts_with(&format!("write  {path} (restored)\n")), "{style}: {}", ran.stdout);
            assert_eq!(sandbox.read(&path), before, "{style}");
            sandbox.run(["verify"]).finds(&usual(&[]));
        }
    }
}

#[test]
fn a_manifest_in_conflict_is_found_where_the_conflict_begins() {
    let template = with_platform(Sandbox::bootstrapped());
    template.run([&["patch", "--write"][..], &PROD].concat()).expect(0);
    for file in ["p/apps/kserve/hf-token.yaml", "p/apps/kserve/kustomization.yaml"] {
        for (style, conflict) in STYLES {
            let sandbox = template.copy();
            sandbox.write(file, in_conflict(&sandbox.read(file), *conflict).as_bytes());
            let ran = sandbox.run([&["plan", "--check"][..], &PROD].concat()).expect(1);
            assert!(ran.stdout.contains(&format!("error[unreadable]: {file}:2:1: {LEFT}\n  help: {RESOLVE}\n")), "{style}: {}", ran.stdout);
        }
    }
    let file = "p/environments/prod/config.yaml";
    template.write(file, in_conflict(&template.read(file), STYLES[0].1).as_bytes());
    let ran = template.run([&["plan"][..], &PROD].concat()).expect(3);
    assert_eq!(ran.stderr, format!("error: {file}:2:1: {LEFT}\nhelp: {RESOLVE}\n"));
}

#[test]
fn a_value_with_such_lines_is_no_conflict() {
    let sandbox = Sandbox::bootstrapped();
    let contract = sandbox.run(["contract", "--format", "yaml"]).expect(0).stdout;
    let about = regex::Regex::new("(?m)^    about: .*$").unwrap();
    for lines in [
        "    about: |-\n      <<<<<<< HEAD\n      =======\n      >>>>>>> other",
        // Out of order, incomplete, or of another length.
        "    about: a\n#\n=======\n#>>>>>>> b",
        "    about: a\n#<<<<<<< a\n#=======\n#>>>>>>> b",
    ] {
        let text = about.replace(&contract, lines).into_owned();
        sandbox.write("c.yaml", text.as_bytes());
        let ran = sandbox.run(["contract", "--contract", "c.yaml"]);
        assert!(!ran.stderr.contains(LEFT), "{lines}: {}", ran.stderr);
    }
}

/// A repository with everything that is committed, of a platform with its escrow in git and its own contract.
fn origin() -> Sandbox {
    let sandbox = with_platform(Sandbox::with_keys());
    sandbox.write("c.yaml", without_hash(contract_file::EMBEDDED).as_bytes());
    sandbox.write("keys/recipients.txt", format!("# who may open it\n{}\n", sandbox.own_recipient()).as_bytes());
    sandbox.write("keys/.gitignore", b"*.agekey\n*.tmp\n");
    sandbox.run([&["patch", "--write"][..], &PROD].concat()).expect(0);
    sandbox.run([&["bootstrap"][..], &OURS].concat()).expect(0);
    sandbox
}

const OURS: [&str; 8] = ["--platform", "p", "--environment", "prod", "--out", "p/sealed", "--contract", "c.yaml"];

/// The same, as git leaves it with `core.autocrlf` (or would), plus the operator's own files.
fn with_crlf(origin: &Sandbox) -> Sandbox {
    let clone = origin.beside();
    if tool("git").is_some() {
        git(origin, &["init", "-q", "."]);
        git(origin, &["add", "."]);
        git(origin, &["commit", "-qm", "all of it"]);
        let mut command = Command::new(program("git"));
        command.args(["clone", "-q", "-c", "core.autocrlf=true"]).arg(origin.path("")).arg(clone.path(""));
        command.env_clear().env("PATH", path()).envs(GIT);
        assert_eq!(finish(command).code, 0);
    } else {
        copy_folder(&origin.path(""), &clone.path(""));
        for path in files(&clone) {
            std::fs::write(&path, std::fs::read_to_string(&path).unwrap().replace('\n', "\r\n")).unwrap();
        }
    }
    let theirs: Vec<PathBuf> =
        files(&clone).into_iter().filter(|path| !std::fs::read(path).unwrap().windows(2).any(|end| end == b"\r\n")).collect();
    assert!(files(&clone).len() > 60 && theirs.is_empty(), "{theirs:?}");
    clone.write_secret("keys/operator.agekey", origin.read("keys/operator.agekey").as_bytes());
    clone.write_secret("secrets/dex-admin-password", origin.read("secrets/dex-admin-password").as_bytes());
    clone.accept("keys");
    clone
}

/// Every file that is committed.
fn files(sandbox: &Sandbox) -> Vec<PathBuf> {
    let (git, own) = (sandbox.path(".git"), [sandbox.path("secrets"), sandbox.path("keys/operator.agekey")]);
    let all = sandbox.snapshot().into_keys().filter(|path| path.is_file() && !path.starts_with(&git));
    all.filter(|path| !own.iter().any(|own| path.starts_with(own))).collect()
}

#[test]
fn a_checkout_with_other_line_ends_is_good_and_stays_so_whatever_is_done() {
    let origin = origin();
    let expected = origin.run([&["verify", "--identity", "keys/operator.agekey"][..], &OURS].concat()).expect(0).findings();
    let clone = with_crlf(&origin);
    let run = |args: &[&str]| clone.run([args, &OURS].concat());
    clone.write_secret("env", b"HF_TOKEN=hf_0123456789\nVLLM_API_KEY=an-own-form-of-it\n");
    let settled = |what: &str, expected: &[String]| {
        let before = clone.snapshot();
        run(&["verify", "--identity", "keys/operator.agekey"]).finds(expected);
        for args in [&["bootstrap"][..], &["plan", "--check"]] {
            let ran = run(args).expect(0);
            assert!(ran.stdout.starts_with("nothing to do\n"), "{what}: {args:?} {}", ran.stdout);
        }
        assert_eq!(run(&["patch", "--write"]).expect(0).stdout, "nothing to do\n", "{what}");
        assert_eq!(run(&["patch", "--write", "--format", "component"]).expect(0).stdout, "nothing to do\n", "{what}");
        assert_eq!(before, clone.snapshot(), "{what}");
    };
    settled("a clone", &expected);
    let later: Vec<String> = expected.iter().filter(|finding| !finding.contains("hf-token")).cloned().collect();
    let accept = |ran: Ran, what: &str| assert_eq!(ran.code, 0, "{what}: {}{}", ran.stdout, ran.stderr);
    accept(run(&["import", "--env-file", "env", "--replace", "vllm-api-key", "--yes"]), "import");
    settled("import", &later);
    accept(run(&["rotate", "dex-admin-password", "--yes"]), "rotate");
    settled("rotate", &later);
    accept(clone.make_key([&["renew", "--yes"][..], &OURS].concat()), "renew");
    settled("renew", &later);
    accept(run(&["re-encrypt", "--yes"]), "re-encrypt");
    settled("re-encrypt", &later);
    // One more remembered key, after lines with other line ends.
    clone.remove("keys/sealed.txt");
    if tool("git").is_some() {
        let ran = run(&["bootstrap"]).expect(3);
        assert_eq!(ran.stderr, "error: keys/sealed.txt: no such file\nhelp: git tracks it: `git checkout -- keys/sealed.txt`\n");
        git(&clone, &["checkout", "--", "keys/sealed.txt"]);
        // What was sealed since then is added again.
        assert!(run(&["bootstrap"]).expect(0).stdout.starts_with("write  keys/sealed.txt (updated)\n"));
        settled("the list is back", &later);
    }
    clone.write("keys/sealed.txt", b"# a comment\r\nlitellm-salt-key ../p/sealed\r\n");
    assert!(run(&["bootstrap"]).expect(0).stdout.starts_with("write  keys/sealed.txt (updated)\n"));
    settled("more is remembered", &later);
    // A line end that git did not make is a difference.
    clone.write("p/sealed/kustomization.yaml", clone.read("p/sealed/kustomization.yaml").replacen("\r\n", "\n", 1).as_bytes());
    assert!(run(&["bootstrap"]).expect(0).stdout.starts_with("write  p/sealed/kustomization.yaml (restored)\n"));
    settled("mixed line ends", &later);
    if tool("git").is_some() {
        // git sees only what changed.
        let status = git(&clone, &["status", "--porcelain", "--untracked-files=no"]);
        assert!(!status.contains("c.yaml") && !status.contains("namespace.yaml") && !status.contains("p/apps"), "{status}");
    }
}

#[test]
fn a_secret_is_kept_out_by_rules_with_other_line_ends() {
    needs!("git");
    let sandbox = Sandbox::empty();
    git(&sandbox, &["init", "-q", "."]);
    sandbox.write("keys/.gitignore", b"*.agekey\r\nsealing.key.age\r\n*.tmp\r\n");
    sandbox.make_key(["keygen"]);
    assert!(sandbox.path("keys/operator.agekey").exists());
    assert!(!git(&sandbox, &["status", "--porcelain", "-uall"]).contains("agekey"));
}

/// The run is started from the root of the repository, or outside of it.
#[test]
fn what_git_tracks_and_the_working_tree_lost_comes_back_with_the_command_that_is_named() {
    needs!("git");
    let (unit, once, provided) = ("vllm-api-key", "litellm-salt-key", "hf-token");
    let template = Sandbox::bootstrapped();
    template.run_with_input(["bootstrap", "--provide", "hf-token=-"], b"hf_0123456789").expect(0);
    let contract = template.run(["contract", "--format", "yaml"]).expect(0).stdout;
    template.write("c.yaml", contract.as_bytes());
    template.write("keys/recipients.txt", format!("{}\n", template.own_recipient()).as_bytes());
    git(&template, &["init", "-q", "."]);
    git(&template, &["add", "-f", "out", "c.yaml", "keys/sealing.crt", "keys/sealing.key.age", "keys/recipients.txt", "keys/sealed.txt"]);
    git(&template, &["commit", "-qm", "all of it"]);
    let good = template.run(["verify"]).expect(0).findings();
    let file = |name: &str| format!("out/secret-source/{name}.sealed.yaml");
    // What is gone, the command that looks for it, and the finding; none = an error.
    let rows: Vec<(String, &[&str], Option<&str>)> = vec![
        (file(unit), &["verify"], Some("unit-missing")),
        (file(provided), &["verify"], Some("unit-missing")),
        (file(once), &["verify"], Some("write-once-missing")),
        ("keys/sealing.crt".to_owned(), &["verify"], Some("certificate-unusable")),
        ("keys/recipients.txt".to_owned(), &["verify"], Some("unreadable")),
        ("keys/sealed.txt".to_owned(), &["verify"], Some("unreadable")),
        ("keys/sealing.crt".to_owned(), &["bootstrap"], None),
        ("keys/sealed.txt".to_owned(), &["bootstrap"], None),
        ("keys/sealing.key.age".to_owned(), &["verify", "--identity", "keys/operator.agekey"], None),
        ("c.yaml".to_owned(), &["bootstrap", "--contract", "c.yaml"], None),
    ];
    for (lost, args, code) in &rows {
        let sandbox = template.copy();
        sandbox.remove(lost);
        let help = format!("git tracks it: `git checkout -- {lost}`");
        let ran = sandbox.run(*args);
        match code {
            Some(code) => {
                let ran = ran.expect(1);
                assert!(ran.stdout.contains(&format!("error[{code}]: {lost}: ")) && ran.stdout.contains(&help), "{lost}: {}", ran.stdout);
            }
            None => {
                let stderr = ran.expect(3).stderr;
                assert!(stderr.starts_with(&format!("error: {lost}: no such file\nhelp: {help}")), "{stderr}");
            }
        }
        git(&sandbox, &["checkout", "--", lost]);
        sandbox.run(["verify"]).finds(&good);
    }
    // The whole output folder.
    let sandbox = template.copy();
    std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    let ran = sandbox.run(["verify"]).expect(1);
    assert_eq!(ran.stdout.matches("git tracks it: `git checkout -- out/secret-source/").count(), 15, "{}", ran.stdout);
    // An untracked file is missing as ever; a file in another repository is named from that repository's root.
    git(&sandbox, &["rm", "-q", "--cached", &file(unit)]);
    let gone = format!("{}: `{unit}` was sealed before, and its file is gone\n  help: restore", file(unit));
    assert!(sandbox.run(["verify"]).expect(1).stdout.contains(&gone));
    let outside = Sandbox::empty();
    std::fs::create_dir(outside.path("r")).unwrap();
    copy_folder(&template.path(""), &outside.path("r"));
    outside.remove("r/keys/sealing.crt");
    let ran = outside.run(["bootstrap", "--keys", "r/keys", "--out", "r/out"]).expect(3);
    let root = outside.path("r").canonicalize().unwrap();
    assert_eq!(
        ran.stderr,
        format!("error: r/keys/sealing.crt: no such file\nhelp: git tracks it: `git -C {} checkout -- keys/sealing.crt`\n", root.display())
    );
    git(&outside, &["-C", &root.to_string_lossy(), "checkout", "--", "keys/sealing.crt"]);
    assert!(outside.path("r/keys/sealing.crt").exists());
}

const STRAY: &str = "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: stray, namespace: stray}\nspec:\n  secretStoreRef: {name: vault}\n  data: [{secretKey: a, remoteRef: {key: b}}]\n";

/// Files with git's rules, and the paths of ExternalSecrets that are reported, and that are not. `+` is tracked.
type Ignoring = (&'static [(&'static str, &'static str)], &'static [&'static str], &'static [&'static str]);

const IGNORING: &[Ignoring] = &[
    (&[(".gitignore", "/tmp/\n")], &[], &["tmp/a.yaml", "tmp/deep/a.yaml"]),
    (&[(".gitignore", "tmp\r\n")], &["tmpx/a.yaml"], &["tmp/a.yaml", "b/tmp/a.yaml"]),
    (&[(".gitignore", "tmp/*\n")], &["b/tmp/a.yaml"], &["tmp/a.yaml", "tmp/deep/a.yaml"]),
    (&[("b/.gitignore", "/tmp/\n")], &["tmp/a.yaml", "b/b/tmp/a.yaml"], &["b/tmp/a.yaml"]),
    (&[("b/.gitignore", "*\n")], &["a.yaml"], &["b/a.yaml", "b/deep/a.yaml"]),
    (&[(".gitignore", "*.yaml\n!/b/*.yaml\n")], &["b/a.yaml"], &["a.yaml", "b/b/a.yaml"]),
    (&[(".gitignore", "tmp/\n"), ("b/.gitignore", "!tmp/\n")], &["b/tmp/a.yaml"], &["tmp/a.yaml", "c/tmp/a.yaml"]),
    // Below an ignored folder nothing is un-ignored.
    (&[(".gitignore", "/b/\n"), ("b/.gitignore", "!*\n")], &[], &["b/a.yaml", "b/b/a.yaml"]),
    (&[(".git/info/exclude", "tmp/\n")], &[], &["tmp/a.yaml"]),
    (&[(".git/info/exclude", "tmp/\n"), (".gitignore", "!/tmp/\n")], &["tmp/a.yaml"], &["b/tmp/a.yaml"]),
    // A tracked file is still part of the platform, and only that file.
    (&[(".gitignore", "/tmp/\n")], &["+tmp/deep/a.yaml"], &["tmp/a.yaml", "tmp/deep/b.yaml", "tmp/deeper/a.yaml"]),
    (&[(".gitignore", "a.yaml\n")], &["+a.yaml", "b.yaml"], &["b/a.yaml"]),
    // A rule that git may read differently than we do ignores nothing.
    (&[(".gitignore", "[t]mp/\n")], &["tmp/a.yaml"], &[]),
    (&[(".gitignore", "tmp/\n!{a}\n")], &["tmp/a.yaml"], &[]),
    // A nested repository has its own rules.
    (
        &[(".gitignore", "/tmp/\na.yaml\n"), ("sub/.git/HEAD", "ref: refs/heads/main\n"), ("sub/.gitignore", "/mine/\n")],
        &["sub/tmp/a.yaml"],
        &["a.yaml", "tmp/b.yaml", "sub/mine/a.yaml"],
    ),
    (&[(".gitignore", "/tmp/\na.yaml\n"), ("sub/.git/config", "")], &["sub/b.yaml"], &["sub/a.yaml"]),
];

/// Which of these files are reported.
fn reported(sandbox: &Sandbox, root: &str) -> Vec<String> {
    let ran = sandbox.run(["contract", "--platform", root, "--environment", "prod", "--format", "json"]).expect(0);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let all = json["coverage"].as_array().unwrap().iter().filter(|one| one["what"].as_str().unwrap().starts_with("`stray`"));
    let prefix = format!("{root}/");
    let mut found: Vec<String> =
        all.map(|one| one["place"].as_str().unwrap().trim_start_matches(&prefix).trim_end_matches(":1:1").to_owned()).collect();
    found.sort();
    found
}

#[test]
fn what_git_ignores_is_not_scanned_but_what_it_tracks_is() {
    needs!("git");
    let template = with_platform(Sandbox::empty());
    for (rules, scanned, skipped) in IGNORING {
        let sandbox = template.copy();
        git(&sandbox, &["init", "-q", "p"]);
        git(&sandbox, &["-C", "p", "add", "-f", "."]);
        rules.iter().for_each(|(file, text)| sandbox.write(&format!("p/{file}"), text.as_bytes()));
        for file in scanned.iter().chain(*skipped) {
            sandbox.write(&format!("p/{}", file.trim_start_matches('+')), STRAY.as_bytes());
        }
        for file in scanned.iter().filter_map(|file| file.strip_prefix('+')) {
            git(&sandbox, &["-C", "p", "add", "-f", file]);
        }
        let mut expected: Vec<&str> = scanned.iter().map(|file| file.trim_start_matches('+')).collect();
        expected.sort_unstable();
        assert_eq!(reported(&sandbox, "p"), expected, "{rules:?}");
        // Without a repository, what is tracked is unknown.
        std::fs::remove_dir_all(sandbox.path("p/.git")).unwrap();
        if !rules.iter().any(|(file, _)| file.contains(".git/")) {
            assert_eq!(reported(&sandbox, "p").len(), scanned.len() + skipped.len(), "{rules:?}");
        }
    }
}

#[test]
fn the_rules_of_a_repository_hold_for_a_platform_in_it_and_in_a_worktree() {
    needs!("git");
    let sandbox = with_platform(Sandbox::empty());
    git(&sandbox, &["init", "-q", "."]);
    sandbox.write(".gitignore", b"/p/tmp/\nown\n");
    for file in ["p/tmp/a.yaml", "p/b/own/a.yaml", "p/tmpx/a.yaml"] {
        sandbox.write(file, STRAY.as_bytes());
    }
    assert_eq!(reported(&sandbox, "p"), ["tmpx/a.yaml"]);
    // The index of a worktree is its own, and the repository's exclude holds there.
    sandbox.write(".git/info/exclude", b"excluded/\n");
    git(&sandbox, &["add", "p", ".gitignore"]);
    git(&sandbox, &["commit", "-qm", "p"]);
    git(&sandbox, &["worktree", "add", "-q", "w"]);
    for file in ["w/p/tmp/a.yaml", "w/p/tmp/b.yaml", "w/p/excluded/a.yaml"] {
        sandbox.write(file, STRAY.as_bytes());
    }
    git(&sandbox, &["-C", "w", "add", "-f", "p/tmp/b.yaml"]);
    assert!(sandbox.path("w/.git").is_file());
    assert_eq!(reported(&sandbox, "w/p"), ["tmp/b.yaml", "tmpx/a.yaml"]);
    // If the index cannot be read, every file counts.
    let index = Path::new(".git/worktrees/w/index");
    sandbox.write(&index.to_string_lossy(), b"DIRC and nothing that is known");
    assert_eq!(reported(&sandbox, "w/p"), ["excluded/a.yaml", "tmp/a.yaml", "tmp/b.yaml", "tmpx/a.yaml"]);
}
