//! At a prompt: one line without echo, what edits it, what spoils it, and signals that arrive meanwhile.

use std::path::Path;
use std::process::Command;

use crate::common::{BINARY, Sandbox, at_the_prompt, at_the_prompt_while, needs};

const PROVIDE: &str = "bootstrap --provide hf-token";
const SECRET: &str = "hf_Vt8QmZ4xKp2WnR6yHd0sLc9B";

#[test]
fn what_edits_the_line_is_no_part_of_the_value() {
    needs!("script");
    for keys in [
        "hx\u{7f}f_Vt8QmZ4xKp2WnR6yHd0sLc9B\r",
        "hf_é\u{7f}Vt8QmZ4xKp2WnR6yHd0sLc9B\r",
        "oops\u{15}hf_Vt8QmZ4xKp2WnR6yHd0sLc9B\n",
        "a bc  \u{17}\u{17}hf_Vt8QmZ4xKp2WnR6yHd0sLc9B\u{4}",
    ] {
        let sandbox = Sandbox::bootstrapped();
        let shown = at_the_prompt(&sandbox, PROVIDE, &[("hf-token: ", keys)]);
        assert!(shown.contains("code=0") && shown.contains(" echo "), "{keys:?}: {shown}");
        assert_eq!(sandbox.value("hf-token"), SECRET, "{keys:?}");
    }
}

#[test]
fn what_spoils_the_line_is_an_error_and_nothing_of_it_is_sealed_or_shown() {
    needs!("script");
    let control = "the answer has a control character, such as an arrow key's or a tab";
    let large = format!("hf_{}{SECRET}\r", "a".repeat(600 << 10));
    let several = "the answer has several lines, and one is asked for";
    for (keys, says) in [
        (format!("{SECRET}\u{1b}[D\r"), control),
        (format!("{SECRET}\t\r"), control),
        (format!("\u{0}{SECRET}\r"), control),
        (format!("{SECRET}\u{1a}\r"), control),
        (format!("{SECRET}\u{16}\r"), control),
        (format!("{SECRET}\u{9b}31m\r"), control),
        (large, "the answer is larger than 512 KiB"),
        (format!("{SECRET}\recho {SECRET}\r"), several),
        (format!("-----BEGIN\r{SECRET}\r-----END\r"), several),
        ("\r".to_owned(), "the answer is empty"),
        ("oops\u{15}\r".to_owned(), "the answer is empty"),
    ] {
        let sandbox = Sandbox::bootstrapped();
        let before = sandbox.snapshot();
        let shown = at_the_prompt(&sandbox, PROVIDE, &[("hf-token: ", &keys)]);
        let start: String = keys.chars().take(60).collect();
        assert!(shown.contains("code=3") && shown.contains(&format!("error: {says}\r\n")), "{start:?}: {shown}");
        assert!(shown.contains(" echo ") && !shown.contains(&SECRET[3..]) && !shown.contains("aaaa"), "{start:?}: {shown}");
        assert_eq!(before, sandbox.snapshot(), "{start:?}");
    }
}

/// The processes of our binary whose arguments name that folder.
fn runs_with(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        if command.starts_with(BINARY) && command.contains(folder.to_str().unwrap()) {
            found.push(process.file_name().into_string().unwrap());
        }
    }
    found
}

#[test]
fn a_signal_at_the_prompt_leaves_the_echo_on_and_changes_nothing() {
    needs!("script");
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130), ("QUIT", 131)] {
        let sandbox = Sandbox::bootstrapped();
        let before = sandbox.snapshot();
        let send = || {
            let runs = runs_with(&sandbox.path("keys"));
            assert_eq!(runs.len(), 1, "{runs:?}");
            assert!(Command::new("kill").args(["-s", signal]).args(&runs).status().unwrap().success());
        };
        let args = format!("{PROVIDE} --keys {}", sandbox.path("keys").display());
        let shown = at_the_prompt_while(&sandbox, &args, &[("hf-token: ", "")], &send);
        assert!(shown.contains(&format!("code={code}")) && shown.contains("error: interrupted"), "{signal}: {shown}");
        assert!(shown.contains(" echo "), "{signal}: {shown}");
        assert_eq!(before, sandbox.snapshot());
    }
}
