//! Every command printed anywhere in the whole test run can be pasted: the real command line reads it, and it works on the same folders,
//! contract, platform and cluster as the run that printed it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use seal_secrets::world::World;

use crate::common::{Ran, Sandbox, without_hash};

/// Placeholders that a run prints for what only the operator knows.
const PLACEHOLDERS: [(&str, &str); 5] =
    [("KEY…", "hf-token"), ("KEY", "hf-token"), ("age1…", "age1recipient"), ("sha256:…", DIGEST), ("…", "x")];

const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Each of our commands in a text, from the program's name to the end of the command.
pub fn commands(text: &str) -> Vec<String> {
    const PROGRAM: &str = "seal-secrets ";
    let mut found = Vec::new();
    // A line of a file is only quoted.
    let text: String =
        text.lines().filter(|line| !line.contains("here should stand") && !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect();
    let text = text.as_str();
    for (at, _) in text.match_indices(PROGRAM) {
        let (before, args) = (&text[..at], &text[at + PROGRAM.len()..]);
        let begins = ["`", "next: ", "help: ", "&& ", "| "].iter().any(|sign| before.ends_with(sign)) || before.is_empty();
        let is_command = args.starts_with(|c: char| c.is_ascii_lowercase() || c == '-');
        if begins && is_command {
            let end = ["`", "\n", " | ", " && ", " > ", ", "].iter().filter_map(|sign| args.find(sign)).min().unwrap_or(args.len());
            found.push(args[..end].to_owned());
        }
    }
    found
}

/// A command's words, as a shell splits them.
fn words(command: &str) -> Vec<OsString> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in command.chars() {
        match c {
            '\'' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    let known = |word: String| PLACEHOLDERS.iter().fold(word, |word, (placeholder, value)| word.replace(placeholder, value)).into();
    words.into_iter().map(known).collect()
}

fn places(args: impl IntoIterator<Item = OsString>, world: &World) -> Option<BTreeMap<&'static str, String>> {
    let command_line = std::iter::once("seal-secrets".into()).chain(args);
    Some(seal_secrets::places(command_line, world).ok()?.into_iter().collect())
}

/// Checks what a run printed against that rule. A refused command line has no places.
#[track_caller]
pub fn check(args: &[OsString], ran: &Ran, world: &World) {
    let is_help = |arg: &OsString| ["--help", "-h", "help", "copy", "explain", "completions", "man"].iter().any(|help| arg == help);
    if args.iter().any(is_help) {
        return;
    }
    // A command that is printed with each of many findings is the same each time.
    let printed: BTreeSet<String> = commands(&ran.stdout).into_iter().chain(commands(&ran.stderr)).collect();
    if printed.is_empty() {
        return;
    }
    let Some(own) = places(args.to_vec(), world) else { return };
    for command in printed {
        // The help has no folders, a missing folder may not be repeated, and what `init` makes exists only afterwards.
        if ["--help", " DIR", "init"].iter().any(|unknown| command.contains(unknown)) || args.iter().any(|arg| arg == "init") {
            continue;
        }
        let there = places(words(&command), world);
        let there = there.unwrap_or_else(|| panic!("{args:?} prints a command that cannot be read: seal-secrets {command}"));
        for (name, place) in &own {
            // Only a command that talks to a cluster has these.
            let is_live = matches!(*name, "context" | "kubeconfig" | "controller");
            let found = there.get(name);
            let is_draft = *name == "platform" && command.contains("--from-platform");
            assert!(
                found == Some(place) || is_draft || is_live && !talks(&command),
                "{args:?} ({name}: {place}) prints: seal-secrets {command} ({found:?})"
            );
        }
        // A draft is made of a checkout that is no platform yet.
        let drafts = args.iter().any(|arg| arg == "--from-platform");
        assert!(own.contains_key("platform") || !there.contains_key("platform") || drafts, "{args:?} prints: seal-secrets {command}");
    }
}

/// Whether a command talks to a cluster.
fn talks(command: &str) -> bool {
    let live = ["doctor", "backup", "--via-controller", "--from-cluster", "--apply"];
    live.iter().any(|word| command.split(' ').any(|part| part == *word)) && !command.contains("--print-rbac")
        || command.contains("fetch-cert") && !command.contains("--file")
}

/// A run's settings and flags, and the folder of its certificate.
const SETTINGS: [(&str, &[&str], &str); 4] = [
    ("", &[], "keys"),
    ("platform: p\nenvironment: prod\ncontract: c.yaml\nkeys: k\nout: p/sealed\nsecrets: copies\ncontext: mine", &[], "k"),
    (
        "platform: p\ncontract: c.yaml\nout: p/sealed\nclusters: { berlin: { environment: prod, context: mine } }",
        &["--cluster", "berlin"],
        "keys/berlin",
    ),
    (
        "",
        &[
            "--keys",
            "my keys",
            "--out",
            "p/sealed",
            "--secrets",
            "copies",
            "--platform",
            "p",
            "--environment",
            "prod",
            "--contract",
            "c.yaml",
        ],
        "my keys",
    ),
];

/// Runs that print commands: plans, findings, errors, next steps.
const COMMANDS: &[&[&str]] = &[
    &["plan"],
    &["bootstrap"],
    &["bootstrap"],
    &["verify"],
    &["verify", "--drill"],
    &["status"],
    &["contract"],
    &["rotate", "hf-token", "--yes"],
    &["rotate", "litellm-master-key", "--yes"],
    &["rotate", "--older-than", "0d", "--dry-run"],
    &["import", "--env-file", "env"],
    &["keygen"],
    &["unseal", "no-such-key"],
    &["escrow", "list"],
    &["escrow", "add-recipient", "age1wrong", "--yes"],
    &["key-secret"],
    &["re-encrypt", "--dry-run"],
    &["renew", "--dry-run"],
    &["patch"],
    &["patch", "--write"],
    &["bootstrap", "--provide", "hf-token=nowhere"],
    &["verify", "--identity", "nowhere"],
];

#[test]
fn under_each_kind_of_settings_what_is_printed_and_the_runbook_lead_to_the_same_places() {
    for (settings, flags, keys) in SETTINGS {
        let sandbox = crate::platform::with_platform(Sandbox::with_keys());
        sandbox.set(settings);
        sandbox.write("c.yaml", without_hash(seal_secrets::manifest::contract_file::EMBEDDED).as_bytes());
        sandbox.write_secret("env", b"HF_TOKEN=hf_0123456789\n");
        sandbox.write("deep/.keep", b"");
        std::fs::create_dir(sandbox.path(".git")).unwrap();
        if keys != "keys" {
            std::fs::create_dir_all(sandbox.path(keys)).unwrap();
            for file in ["sealing.crt", "sealing.key.age", "operator.agekey"] {
                std::fs::rename(sandbox.path("keys").join(file), sandbox.path(keys).join(file)).unwrap();
            }
            sandbox.accept(keys);
        }
        let (mut printed, mut with_flags) = (0, 0);
        for command in COMMANDS {
            let ran = sandbox.run([flags, command].concat());
            let found = [commands(&ran.stdout), commands(&ran.stderr)].concat();
            printed += found.len();
            with_flags += found.iter().filter(|command| command.starts_with("--")).count();
        }
        assert!(printed > 15 && (with_flags > 0) != flags.is_empty(), "{settings} {flags:?}: {printed}, {with_flags} with flags");
        // After the last run, the commands of its runbook work from the runbook's folder.
        let own = places([flags, &["plan"]].concat().iter().map(OsString::from), &sandbox.world_at("")).unwrap();
        let out = &own["out"];
        let runbook = std::fs::read_to_string(format!("{out}/INSTALL.md")).unwrap();
        let there = sandbox.world_at(out);
        let lines: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("seal-secrets ")).collect();
        let found = [commands(&runbook), lines.iter().map(|line| (*line).to_owned()).collect()].concat();
        assert!(lines.len() == 2 && found.len() > 4, "{runbook}");
        for command in found.into_iter().filter(|command| !command.ends_with(" DIR")) {
            let places = places(words(&command), &there).unwrap_or_else(|| panic!("{command}"));
            for name in ["keys", "out", "contract", "platform", "environment", "isolation"] {
                assert_eq!(places.get(name), own.get(name), "{settings} {flags:?}: {command}");
            }
        }
    }
}
