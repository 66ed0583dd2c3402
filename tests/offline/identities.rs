//! Identities and recipients as people keep them: comments around armor, another case, SSH keys, post-quantum ones.

use crate::common::{Sandbox, at_the_prompt, needs};
use crate::escrow::{armored, protected};

const PASSPHRASE: &str = "vB7nM4kQ9xW2zT5r";

#[test]
fn a_protected_identity_opens_whatever_stands_around_it() {
    needs!("script");
    let sandbox = Sandbox::hashless();
    let identity = sandbox.read("keys/operator.agekey");
    let armour = |text: &str| String::from_utf8(armored(&protected(text, PASSPHRASE, 2))).unwrap();
    let plain = armour(&identity);
    for (what, text) in [
        ("comments", format!("# created: 2025-03-01\n# public key: age1abc\n{plain}")),
        ("comments-behind", format!("\n\n{plain}# end\n")),
        ("carriage-returns", format!("# created: 2025-03-01\n{plain}").replace('\n', "\r\n")),
        ("byte-order-mark", format!("\u{feff}{plain}")),
        ("byte-order-mark-and-comments", format!("\u{feff}# created: 2025-03-01\n{plain}")),
        ("byte-order-mark-inside", armour(&format!("\u{feff}{identity}"))),
        ("carriage-returns-inside", armour(&identity.replace('\n', "\r\n"))),
    ] {
        sandbox.write_secret("id", text.as_bytes());
        let shown = at_the_prompt(&sandbox, "verify --identity id", &[("passphrase of id: ", &format!("{PASSPHRASE}\r"))]);
        assert!(shown.contains("code=0"), "{what}: {shown}");
    }
}

#[test]
fn an_identity_is_read_as_people_keep_it() {
    let sandbox = Sandbox::hashless();
    let (identity, value) = (sandbox.read("keys/operator.agekey"), sandbox.value("vllm-api-key"));
    let (other, _) = seal_secrets::pipeline::escrow::new_identity().unwrap();
    let secret = identity.lines().find(|line| line.starts_with("AGE-")).unwrap();
    for (what, text) in [
        ("lower-case", secret.to_ascii_lowercase()),
        ("carriage-returns", identity.replace('\n', "\r\n")),
        ("byte-order-mark", format!("\u{feff}{secret}\n")),
        ("blank-lines-and-indented", format!("\n\n  {secret}\t\n\n")),
        ("several", format!("{}\n{identity}", *other)),
        ("no-line-feed", secret.to_owned()),
    ] {
        sandbox.write_secret("id", text.as_bytes());
        let ran = sandbox.run(["unseal", "--identity", "id", "--value", "vllm-api-key"]).expect(0);
        assert_eq!(ran.stdout, value, "{what}");
    }
}

#[test]
fn an_ssh_key_or_a_post_quantum_identity_says_what_to_do() {
    const SSH: &str = "error: id:{}:1: an SSH key, and only age identities open the escrow
help: make an age identity with `age-keygen -o FILE`, and have someone who can open the escrow add it: `seal-secrets escrow add-recipient age1…`
";
    const PQ: &str = "error: id:{}:1: a post-quantum identity, which is used through its plugin
help: turn it into one of its plugin: `age-plugin-pq -identity -o NEW OLD`, and pass the new file
";
    let sandbox = Sandbox::hashless();
    let pem = |kind: &str| format!("-----BEGIN {kind}PRIVATE KEY-----\nhunter2\n-----END {kind}PRIVATE KEY-----\n");
    for (what, text, line, says) in [
        ("openssh", pem("OPENSSH "), "1", SSH),
        ("rsa", pem("RSA "), "1", SSH),
        ("ec", pem("EC "), "1", SSH),
        ("pkcs8", pem(""), "1", SSH),
        ("comment-before", format!("# mine\r\n{}", pem("OPENSSH ")), "2", SSH),
        ("public", "ssh-ed25519 hunter2 me@example.com\n".into(), "1", SSH),
        ("public-of-a-hardware-key", "sk-ssh-ed25519@openssh.com hunter2\n".into(), "1", SSH),
        ("post-quantum", "# created: 2026\nAGE-SECRET-KEY-PQ-1HUNTER2\n".into(), "2", PQ),
        ("post-quantum-in-lower-case", "age-secret-key-pq-1hunter2\n".into(), "1", PQ),
    ] {
        sandbox.write_secret("id", text.as_bytes());
        let ran = sandbox.run(["unseal", "--identity", "id"]).expect(3);
        assert_eq!(ran.stderr, says.replace("{}", line), "{what}");
    }
}

#[test]
fn an_ssh_key_as_a_recipient_says_what_to_do() {
    const HELP: &str = "help: make an age identity with `age-keygen -o FILE`, and write the `age1…` that it prints; or use a hardware key through its age plugin\n";
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me";
    let sandbox = Sandbox::hashless();
    let ran = sandbox.run(["escrow", "add-recipient", key, "--yes"]).expect(2);
    assert_eq!(ran.stderr, format!("error: `RECIPIENT` is not an age recipient\n  SSH keys are not taken as recipients\n{HELP}"));
    sandbox.write("keys/recipients.txt", format!("{key}\n").as_bytes());
    let ran = sandbox.run(["renew", "--yes"]).expect(3);
    assert_eq!(ran.stderr, format!("error: keys/recipients.txt:1:1: SSH keys are not taken as recipients\n{HELP}"));
}

#[test]
fn a_post_quantum_identity_opens_through_its_plugin() {
    use std::process::Command;

    use crate::common::{finish, path, printed, program};
    needs!("age-keygen", "age-plugin-pq");
    let sandbox = Sandbox::hashless();
    let value = sandbox.value("vllm-api-key");
    let with_tools = |mut command: Command| {
        command.current_dir(sandbox.path("")).env("PATH", path());
        command
    };
    let tool = |name: &str, args: &[&str]| {
        let mut command = Command::new(program(name));
        command.args(args);
        printed(with_tools(command))
    };
    tool("age-keygen", &["-pq", "-o", "native"]);
    let recipient = tool("age-keygen", &["-y", "native"]);
    sandbox.chmod("native", 0o600);
    // The command that the error prints.
    tool("age-plugin-pq", &["-identity", "-o", "plugin", "native"]);
    sandbox.chmod("plugin", 0o600);
    sandbox.write("keys/recipients.txt", recipient.as_bytes());
    let renewed = sandbox.make_key(["renew", "--yes"]);
    assert_eq!(renewed.code, 0, "{}", renewed.stderr);
    let ran = finish(with_tools(sandbox.command(["unseal", "--identity", "plugin", "--value", "vllm-api-key"])));
    assert_eq!((ran.code, ran.stdout), (0, value), "{}", ran.stderr);
}
