//! Pipes instead of files: what a shell makes of `<(gpg -d FILE)`, and a named FIFO.

use std::process::Command;

use crate::as_meant::{one_key, secret};
use crate::common::{BINARY, OWN_KEY, Sandbox, fixture_text, needs, path, program};

const VALUE: &str = "rW4tY7uI0pL3kJ6hG9fD2sA5";

/// What is passed through a pipe, and how its value is sealed or opened from `{}`.
fn inputs() -> Vec<(&'static str, String, &'static str)> {
    vec![
        ("provided", format!("{VALUE}\n"), "bootstrap --contract c.yaml --provide token={}"),
        ("env-file", format!("TOKEN={VALUE}\n"), "import --contract c.yaml --env-file {}"),
        ("secrets", secret(&format!("stringData: {{value: {VALUE}}}\n")), "import --contract c.yaml -f {}"),
        ("identity", String::new(), "unseal --value token --identity {}"),
        ("recovery-key", fixture_text(OWN_KEY), "unseal --value token --recovery-private-key {}"),
        ("sealed", String::new(), "unseal --value token -f {}"),
    ]
}

/// Has the contract, and a sealed value if something is opened.
fn sandbox_for(what: &str, text: &mut String) -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("c.yaml", one_key().as_bytes());
    if matches!(what, "identity" | "recovery-key" | "sealed") {
        sandbox.write_secret("value", VALUE.as_bytes());
        sandbox.run(["bootstrap", "--contract", "c.yaml", "--provide", "token=value"]).expect(0);
        match what {
            "identity" => *text = sandbox.read("keys/operator.agekey"),
            "sealed" => *text = sandbox.read("out/secret-source/token.sealed.yaml"),
            _ => {}
        }
    }
    sandbox
}

fn opened(sandbox: &Sandbox, stdout: &[u8]) -> String {
    let shown = String::from_utf8_lossy(stdout).into_owned();
    if shown == VALUE { shown } else { sandbox.value("token") }
}

#[test]
fn what_a_shell_passes_as_a_pipe_is_read() {
    needs!("bash");
    for (what, mut text, args) in inputs() {
        let sandbox = sandbox_for(what, &mut text);
        // Not the mode of a secret file: a pipe has no mode to check.
        sandbox.write("in", text.as_bytes());
        let script = format!("umask 0; exec {BINARY} {}", sandbox.allowing_in(&args.replace("{}", "<(cat in)")));
        let mut command = Command::new(program("bash"));
        command.args(["-c", &script]).current_dir(sandbox.path("")).env_clear().env("PATH", path());
        let output = command.env("XDG_STATE_HOME", sandbox.state_home()).output().unwrap();
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(opened(&sandbox, &output.stdout), VALUE, "{what}");
    }
}

#[test]
fn a_fifo_is_read_until_its_writer_is_done() {
    needs!("mkfifo");
    for (what, mut text, args) in inputs() {
        let sandbox = sandbox_for(what, &mut text);
        assert!(Command::new("mkfifo").args(["-m", "666"]).arg(sandbox.path("pipe")).status().unwrap().success());
        let pipe = sandbox.path("pipe");
        // More than a pipe holds at once: comments, which every reader skips except that of a bare value.
        let filler = if what == "provided" { String::new() } else { "# filler\n".repeat(20_000) };
        let writer = std::thread::spawn(move || std::fs::write(pipe, filler + &text));
        let ran = sandbox.run(args.replace("{}", "pipe").split(' '));
        assert_eq!(ran.code, 0, "{what}: {}", ran.stderr);
        writer.join().unwrap().unwrap();
        assert_eq!(opened(&sandbox, ran.stdout.as_bytes()), VALUE, "{what}");
    }
}

#[test]
fn a_pipe_that_brings_too_much_or_nothing_is_refused() {
    needs!("bash");
    let sandbox = Sandbox::with_keys();
    sandbox.write("c.yaml", one_key().as_bytes());
    for (what, source, says) in [
        ("no-end", "<(exec cat /dev/zero)", "larger than 16 MiB"),
        ("nothing", "<(exit 1)", "nothing came through this pipe"),
        ("a-device", "/dev/zero", "not a regular file but a device or socket"),
        ("a-folder", "keys", "is a directory"),
    ] {
        let before = sandbox.snapshot();
        let script = format!("exec {BINARY} {}", sandbox.allowing_in(&format!("import --contract c.yaml --env-file {source}")));
        let mut command = Command::new(program("bash"));
        command.args(["-c", &script]).current_dir(sandbox.path("")).env_clear().env("PATH", path());
        let output = command.env("XDG_STATE_HOME", sandbox.state_home()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(3) && stderr.contains(says), "{what}: {stderr}");
        assert_eq!(before, sandbox.snapshot(), "{what}");
    }
}
