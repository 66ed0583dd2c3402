//! Standard output that cannot be written: a command that prints nothing has not succeeded.

use std::process::Command;

use crate::common::{BINARY, Ran, Sandbox, finish, path, program};

fn shell(sandbox: &Sandbox, line: &str) -> Ran {
    let mut command = Command::new(program("sh"));
    let line = sandbox.allowing_in(line);
    command.args(["-c", &format!("{BINARY} {line}")]).current_dir(sandbox.path("")).env_clear().env("PATH", path());
    command.env("XDG_STATE_HOME", sandbox.state_home());
    finish(command)
}

#[test]
fn what_cannot_be_printed_is_an_error() {
    let sandbox = Sandbox::hashless();
    let before = sandbox.snapshot();
    for command in [
        "--help",
        "--version",
        "unseal --help",
        "contract",
        "contract --format yaml",
        "plan",
        "plan --json",
        "bootstrap",
        "bootstrap --dry-run",
        "rotate vllm-api-key --dry-run",
        "verify",
        "verify --json",
        "verify --drill",
        "status",
        "unseal",
        "unseal -o json",
        "unseal --value vllm-api-key",
        "key-secret",
        "re-encrypt --dry-run",
        "renew --dry-run",
    ] {
        let full = shell(&sandbox, &format!("{command} > /dev/full"));
        assert_eq!((full.code, full.stdout.as_str()), (5, ""), "{command}: {}", full.stderr);
        assert!(full.stderr.starts_with("error: standard output cannot be written\n"), "{command}: {}", full.stderr);
        // Few signs distinguish a closed stream from a discarded one, so only commands that are run for their output check.
        let is_for_output = ["unseal", "key-secret"].contains(&command.split(' ').next().unwrap()) && !command.ends_with("--help");
        for closed in [">&-", ">&- 2>&-", "1<> /dev/null"] {
            let ran = shell(&sandbox, &format!("{command} {closed}"));
            assert_eq!(ran.code, if is_for_output { 5 } else { 0 }, "{command} {closed}: {}", ran.stderr);
            let said = ran.stderr.starts_with("error: standard output is closed\n");
            assert!(said == is_for_output || closed.contains("2>&-"), "{command} {closed}: {}", ran.stderr);
        }
        // Here the user discards the output on purpose.
        for open in ["> /dev/null", "< /dev/null > /dev/null 2>&1", "<&- > /dev/null", "2>&- > /dev/null", ">> nul"] {
            let ran = shell(&sandbox, &format!("{command} {open}"));
            assert_eq!(ran.code, 0, "{command} {open}: {}", ran.stderr);
        }
        sandbox.remove("nul");
        assert_eq!(before, sandbox.snapshot(), "{command}: nothing changed");
    }
}
