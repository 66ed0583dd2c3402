//! The architecture's rules, as tests: which ring may name which, where plaintext may be touched, what a pure ring may not do.

use std::path::{Path, PathBuf};

/// A source file: its path below `src/`, and its text without the tests at its end.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut waiting = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
                found.push((path.strip_prefix(&root).unwrap().to_string_lossy().into_owned(), code));
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found
}

fn ring(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Lines of code: no comments, which may mention anything.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, line)| (i + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Every line with one of the words, in the files that `chosen` picks.
fn lines_with(chosen: impl Fn(&str) -> bool, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| chosen(path)) {
        for (number, line) in code(text) {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                found.push(format!("src/{path}:{number}: `{word}`"));
            }
        }
    }
    found
}

const NONE: Vec<String> = Vec::new();

#[test]
fn no_ring_names_an_outer_one() {
    // From the inside outwards; `cli` is the command line's own words, and `commands` may name everything.
    let may_name: [(&str, &[&str]); 7] = [
        ("model", &["model"]),
        ("manifest", &["model", "manifest"]),
        ("pipeline", &["model", "manifest", "pipeline"]),
        ("world", &["model", "manifest", "world"]),
        ("workspace", &["model", "manifest", "pipeline", "world", "workspace"]),
        ("show", &["model", "manifest", "pipeline", "show"]),
        ("cli", &["model"]),
    ];
    for (inner, allowed) in may_name {
        for (path, text) in sources().iter().filter(|(path, _)| ring(path) == inner) {
            for (number, line) in code(text) {
                for named in line.split("crate::").skip(1) {
                    let named = named.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
                    assert!(allowed.contains(&named), "src/{path}:{number}: {inner} may not name `{named}`");
                }
            }
        }
    }
}

#[test]
fn the_pure_rings_touch_nothing() {
    let pure = |path: &str| matches!(ring(path), "model" | "manifest" | "pipeline" | "show");
    let effects = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::io::std",
        "SystemTime::now",
        "Instant::now",
        "println!",
        "eprintln!",
        "print!(",
        "dbg!",
        "SysRng",
        "rustix",
        "thread::sleep",
    ];
    assert_eq!(lines_with(pure, &effects), NONE);
    // Only `Terminal` writes to a terminal.
    assert_eq!(lines_with(|path| ring(path) != "world", &["println!", "eprintln!", "std::io::stdout", "std::io::stderr"]), NONE);
    // A disk is passed in, so that a test may pass its own; except for the terminal's file, and the kernel's data on processes.
    let has_its_own = |path: &str| matches!(path, "world/disk.rs" | "world/terminal.rs" | "world/process.rs");
    let files = [
        "std::fs",
        "rustix::fs",
        ".metadata()",
        ".symlink_metadata()",
        ".exists()",
        ".is_dir()",
        ".is_file()",
        ".is_symlink()",
        ".canonicalize()",
        ".read_dir()",
    ];
    assert_eq!(lines_with(|path| !has_its_own(path), &files), NONE);
    // Only the command line reads the environment.
    assert_eq!(lines_with(|path| path != "main.rs", &["std::env", "env::var"]), NONE);
}

#[test]
fn a_command_is_one_file_and_opens_no_path() {
    let command = |path: &str| ring(path) == "commands" && path != "commands/mod.rs";
    // Four commands share `sealing.rs`.
    for (path, text) in sources().iter().filter(|(path, _)| command(path)) {
        for (number, line) in code(text) {
            for named in line.split("super::").skip(1).flat_map(|rest| rest.trim_start_matches('{').split(", ")) {
                let named = named.trim_start().split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
                let others = sources().iter().any(|(other, _)| *other == format!("commands/{named}.rs"));
                assert!(!others || named == "sealing", "src/{path}:{number}: a command names the command `{named}`");
            }
        }
    }
    let opens =
        ["world::files", "world::folder", "world::tree", "world::git", "world::disk", "world::{", ".exists(", ".is_dir(", "read_dir"];
    assert_eq!(lines_with(|path| ring(path) == "commands", &opens), NONE);
    // Code that calls the folders what the command line calls them does not open them.
    assert_eq!(lines_with(|path| ring(path) != "cli" && path != "commands/mod.rs", &["Folders", "crate::cli::Cli"]), NONE);
    // All access to the disk goes through the world's one handle.
    let real = |path: &str| path != "world/disk.rs" && path != "world/process.rs" && path != "world/terminal.rs";
    assert_eq!(
        lines_with(real, &["std::fs::File::", "rustix::fs", "std::fs::read", "std::fs::write", "fs::create_dir", "canonicalize()"]),
        NONE
    );
}

#[test]
fn plaintext_is_exposed_only_where_it_has_to_be() {
    let allowed = [
        "pipeline/generate.rs", // hashing, and checks against a recipe
        "pipeline/fit.rs",      // checks against what its consumer takes
        "pipeline/seal.rs",     // encryption
        "manifest/secret.rs",   // Secrets to standard output
        "pipeline/adopt.rs",    // whether two sources agree
        "pipeline/make.rs",     // the operator's copy
        "pipeline/keygen.rs",   // the probe
        "pipeline/key_pair.rs", // the public half of a private key
        "pipeline/tls.rs",      // certificates, which are sealed beside their keys
        "commands/unseal.rs",   // the bare value
    ];
    assert_eq!(lines_with(|path| !allowed.contains(&path) && path != "model/secret_value.rs", &[".expose()"]), NONE);
}

#[test]
fn a_secret_value_can_be_neither_shown_nor_copied() {
    let (_, text) = sources().into_iter().find(|(path, _)| path == "model/secret_value.rs").unwrap();
    assert!(!text.contains("derive") && text.matches("impl ").count() == 1, "SecretValue has its own methods and no trait");
    assert_eq!(lines_with(|_| true, &["for SecretValue"]), NONE);
}

#[test]
fn only_what_reads_and_what_drafts_a_contract_makes_one() {
    let makes = |path: &str| !matches!(path, "model/contract.rs" | "manifest/contract_file.rs" | "pipeline/draft.rs");
    assert_eq!(lines_with(makes, &["Contract::new(", "Terms {"]), NONE);
}

#[test]
fn nothing_is_left_to_chance_or_for_later() {
    assert_eq!(lines_with(|_| true, &["unsafe", ".unwrap()", "todo!", "unimplemented!", "#[ignore", "process::exit"]), NONE);
}

#[test]
fn every_file_says_what_it_is_for_and_every_function_fits_on_a_screen() {
    const SCREEN: usize = 60;
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "src/{path} begins without a word on what it is for");
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_function = ["fn ", "pub fn ", "pub(super) fn "].iter().any(|begin| line.trim_start().starts_with(begin));
            if !is_function {
                continue;
            }
            let end = lines[start..].iter().position(|line| line.starts_with(&format!("{}}}", " ".repeat(indent))));
            let length = end.map_or(1, |end| end + 1);
            assert!(length <= SCREEN, "src/{path}:{}: a function of {length} lines", start + 1);
        }
    }
}

#[test]
fn without_the_cluster_no_networking_crate_is_linked() {
    let tree = |features: &[&str]| {
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"]).args(features);
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let networking = ["hyper v", "tokio v", "rustls v", "kube v", "http v", "socket2 v"];
    let found = |tree: &str| networking.iter().filter(|name| tree.lines().any(|line| line.starts_with(**name))).count();
    assert_eq!(found(&tree(&["--no-default-features"])), 0);
    assert!(found(&tree(&[])) >= 5, "the search itself works");
}
