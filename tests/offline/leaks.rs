//! Generated and provided values appear only in the operator's copy: not in files, streams or JSON, in success or in failure, plain, in hex
//! or in base64.

use std::process::Command;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

use crate::common::{BINARY, Sandbox, finish, has_strace, program};

/// The forms in which a value could be found. Base64 at each of its three offsets, without the characters that depend
/// on the neighbours.
pub fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![value.to_vec(), value.iter().rev().copied().collect(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    for offset in 0..3 {
        let padded = [vec![0; offset], value.to_vec()].concat();
        for text in [BASE64_STANDARD_NO_PAD.encode(&padded), BASE64_URL_SAFE_NO_PAD.encode(&padded)] {
            forms.push(text.as_bytes()[(offset * 4).div_ceil(3)..text.len() - 2].to_vec());
        }
    }
    forms
}

pub fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

#[test]
fn the_values_stand_nowhere_but_in_the_operators_copy() {
    const IMPORTED: &str = "sk-rW4tY7uI0pL3kJ6hG9fD2sA5";
    const PROVIDED: &str = "hf_Zk3vQ9xW7rT1yB5nM8cL2pJ6";
    let sandbox = Sandbox::empty();
    sandbox.write_secret("given", PROVIDED.as_bytes());
    let mut streams = Vec::new();
    let mut run = |args: &[&str], code: i32| {
        let mut command = sandbox.command(args);
        command.env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace");
        let ran = match args {
            // A process takes seconds to find a key.
            ["keygen"] | ["renew", ..] if code == 0 => sandbox.make_key(args),
            _ => finish(command),
        };
        let told = match args {
            ["import", .., "--dry-run", "--json"] => ran.kept(&["litellm-master-key"]),
            ["renew", "--yes"] => ran.told(&sandbox.will_open_for(&[&sandbox.own_recipient()])),
            _ => ran.expect(code),
        };
        streams.push((args.join(" "), told.stdout + &told.stderr));
    };
    run(&["keygen"], 0);
    run(&["bootstrap", "--provide", "hf-token=given"], 0);
    sandbox.write_secret("given.env", format!("LITELLM_MASTER_KEY={IMPORTED}\n{IMPORTED}={IMPORTED}\n").as_bytes());
    run(&["import", "--env-file", "given.env", "--dry-run", "--json"], 0);
    run(&["import", "--env-file", "given.env", "--replace", "litellm-master-key", "--yes"], 0);
    run(&["bootstrap"], 0);
    run(&["plan", "--json"], 0);
    run(&["verify", "--json", "--identity", "keys/operator.agekey"], 0);
    run(&["verify", "--drill"], 0);
    run(&["verify", "--drill", "--json"], 0);
    run(&["re-encrypt", "--dry-run", "--json"], 0);
    run(&["renew", "--yes"], 0);
    run(&["re-encrypt", "--yes"], 0);
    run(&["status", "--json", "--identity", "keys/operator.agekey"], 0);
    run(&["contract", "--format", "json"], 0);
    // Ten runs that fail, each with a secret in reach.
    run(&["keygen"], 4);
    run(&["bootstrap", "--provide", PROVIDED], 2);
    run(&["bootstrap", "--provide", &format!("anthropic-api-key={PROVIDED}")], 3);
    run(&["bootstrap", "--provide", "anthropic-api-key=given"], 3);
    run(&["bootstrap", "--provide", "vllm-api-key=given"], 2);
    run(&["bootstrap", "--contract", "given"], 3);
    run(&["import", "--env-file", "given"], 3);
    run(&["import", "-f", "given"], 3);
    run(&["unseal", "--identity", "given"], 3);
    run(&["unseal", "--recovery-private-key", "given"], 3);
    run(&["unseal", "-f", "given"], 3);
    run(&["unseal", PROVIDED], 2);
    run(&["verify", "--password", PROVIDED], 2);
    run(&[PROVIDED], 2);
    let secrets = sandbox.run(["unseal", "-o", "json"]).expect(0).stdout;
    let secrets: serde_json::Value = serde_json::from_str(&secrets).unwrap();
    let values: Vec<Vec<u8>> = secrets["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| base64::prelude::BASE64_STANDARD.decode(item["data"]["value"].as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(values.len(), 16);
    let allowed = ["secrets/dex-admin-password", "given", "given.env"].map(|path| sandbox.path(path));
    let files = sandbox.snapshot();
    for value in &values {
        for form in forms(value) {
            for (path, (_, _, _, content)) in files.iter().filter(|(path, _)| !allowed.contains(path)) {
                assert!(!holds(content, &form), "{} holds a value", path.display());
            }
            for (args, text) in &streams {
                assert!(!holds(text.as_bytes(), &form), "`{args}` shows a value: {text}");
            }
        }
    }
    assert!(holds(&files[&allowed[0]].3, &std::fs::read(&allowed[0]).unwrap()), "the search itself works");
}

#[test]
fn the_search_finds_a_value_in_every_form() {
    let value = b"Zk3vQ9xW7rT1yB5nM8cL2pJ6";
    for offset in 0..3 {
        let encoded = BASE64_STANDARD_NO_PAD.encode([vec![b'x'; offset], value.to_vec(), vec![b'y'; 2]].concat());
        assert!(forms(value).iter().any(|form| holds(encoded.as_bytes(), form)), "base64 at offset {offset}");
    }
}

#[test]
fn core_dumps_are_off() {
    let sandbox = Sandbox::bootstrapped();
    let mut command = Command::new(program("sh"));
    command.args(["-c", &format!("ulimit -c unlimited; exec {} unseal --recovery-private-key -", BINARY)]);
    command
        .current_dir(sandbox.path(""))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    // It hardens itself before it reads, then waits for standard input.
    let mut child = command.spawn().unwrap();
    let limits = || std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap_or_default();
    // The hard limit as well: the soft limit may be zero before the shell lifts it.
    let off = |text: &str| text.lines().any(|line| line.split_whitespace().eq(["Max", "core", "file", "size", "0", "0", "bytes"]));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !off(&limits()) && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    let found = limits();
    assert!(off(&found), "{found}");
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn an_offline_command_makes_no_network_call() {
    if !has_strace() {
        return;
    }
    let sandbox = Sandbox::with_keys().without_hash();
    for args in [
        &["bootstrap"][..],
        &["verify", "--identity", "keys/operator.agekey"],
        &["unseal"],
        &["contract"],
        &["renew", "--yes"],
        &["re-encrypt", "--yes"],
        &["status"],
    ] {
        let mut command = Command::new(program("strace"));
        command.args(["-f", "-e", "trace=%network", "-o"]).arg(sandbox.path("trace")).arg(BINARY).args(sandbox.allowing(args));
        command.current_dir(sandbox.path("")).env("XDG_STATE_HOME", sandbox.state_home());
        let ran = finish(command);
        if args[0] == "renew" {
            ran.told(&sandbox.will_open_for(&[&sandbox.own_recipient()]))
        } else {
            ran.expect(0)
        };
        let trace = sandbox.read("trace");
        assert!(!trace.contains("socket(") && !trace.contains("connect("), "{args:?}: {trace}");
    }
}
