//! L: the command line, the terminal and the environment of a run. U: what a name could do to the terminal.

use super::*;

/// L01, L02, L04, L16: what cannot be understood.
fn command_lines_that_are_wrong() -> Vec<Row> {
    let usage = |id, args: &[&str], says: &[&str]| row(id, args.join(" "), args, 2, says);
    let mut rows = vec![
        usage("L01", &[], &["no command", "--help"]),
        usage("L01", &["bootstarp"], &["unknown command", "did you mean `bootstrap`?"]),
        usage("L01", &["{canary}"], &["unknown command"]),
        usage("L01", &["plan", "--contrct", "x"], &["`--contrct`", "did you mean `--contract`?"]),
        usage("L01", &["plan", "-x"], &["`-x`"]),
        usage("L01", &["plan", "{canary}"], &["one argument too many"]),
        usage("L01", &["bootstrap", "--provide", "hf-tokn=x"], &["--provide", "did you mean `hf-token`?"]),
        usage("L01", &["bootstrap", "--destroys-data", "no-such-key"], &["--destroys-data"]),
        usage("L02", &["plan", "--contract"], &["`--contract"]),
        usage("L02", &["plan", "--contract", "a", "--contract", "b"], &["`--contract", "twice"]),
        usage("L02", &["--out", "a", "plan", "--out", "b"], &["`--out", "twice"]),
        usage("L02", &["contract", "--from-platform", "p", "--format", "yaml"], &["`--from-platform`", "`--format`"]),
        usage("L02", &["unseal", "--value", "a", "b"], &["`--value`", "KEY"]),
        usage("L02", &["unseal", "--value", "a", "--output", "json"], &["`--value`", "`--output`"]),
        usage("L02", &["unseal", "--identity", "a", "--recovery-private-key", "b"], &["`--identity`", "`--recovery-private-key`"]),
        usage("L02", &["unseal", "--value", "vllm-api-key", "--value", "vllm-api-key"], &["`--value`", "twice"]),
        usage("L02", &["bootstrap", "--provide", "hf-token=a", "--provide", "hf-token=b"], &["`--provide hf-token`", "twice"]),
        usage("L02", &["bootstrap", "--json"], &["`--json`", "`--dry-run`"]),
        usage("L02", &["bootstrap", "--destroys-data", "vllm-api-key"], &["`vllm-api-key`", "not write-once"]),
        usage("L02", &["bootstrap", "--provide", "vllm-api-key=x"], &["`vllm-api-key`", "generated"]),
        usage("L02", &["key-secret", "--controller-namespace", "Kube_System"], &["`--controller-namespace", "DNS-1123"]),
        usage("L02", &["unseal", "--output", "{canary}"], &["`--output", "yaml", "json"]),
        usage("L02", &["contract", "--format", "{canary}"], &["`--format", "mermaid"]),
        usage("L04", &["bootstrap", "--provide", "hf-token=-", "--provide", "anthropic-api-key=-"], &["standard input is asked for twice"]),
        usage("L04", &["unseal", "-f", "-", "--recovery-private-key", "-"], &["standard input is asked for twice"]),
        usage("L04", &["unseal", "--recovery-private-key=-,-"], &["standard input is asked for twice"]),
        usage("L16", &["plan", "--contract=", "x"], &[]),
        row("L16", "a name with a line feed", &["contract", "--contract", "a\nerror: b\u{1b}[2J\r"], 3, &["the file of `--contract`: "]),
        row("L16", "a folder with a line feed", &["bootstrap", "--keys", "a\nerror: b\u{1b}[2J\r"], 3, &["\\u{a}", "\\u{1b}"]),
        row("L16", "a key of 100 KB", &["unseal"], 2, &["DNS-1123"]).shell("exec \"$@\" \"$(printf %0100000d 0).\"", Needs::Nothing),
        row("L16", "a path of 100 KB", &["contract", "--contract"], 5, &[]).shell("exec \"$@\" \"$(printf %0100000d 0)\"", Needs::Nothing),
    ];
    for bits in ["1024", "2047", "4097", "-1", "", "0x800", "{canary}", "99999999999"] {
        rows.push(usage("L02", &["plan", &format!("--allow-rsa-bits={bits}")], &["`--allow-rsa-bits"]));
    }
    for args in [&["unseal"][..], &["bootstrap", "--provide"], &["plan", "--allow-rsa-bits"], &["keygen", "--recipient"], &[]] {
        let row = row("L16", format!("{args:?} and an argument that is not UTF-8"), args, 2, &[]);
        rows.push(row.shell("exec \"$@\" \"$(printf '\\377')\"", Needs::Nothing));
    }
    let path = row("L16", "a path that is not UTF-8", &["contract", "--contract"], 3, &["no such file"]);
    rows.push(path.shell("exec \"$@\" \"$(printf '\\377')\"", Needs::Nothing));
    rows
}

/// L03 and L13: a secret typed on the command line is not repeated.
fn secrets_on_the_command_line() -> Vec<Row> {
    let stdin = "standard input";
    let typed = |args: &[&str], code, says: &[&str]| row("L03", args.join(" "), args, code, says);
    vec![
        typed(&["bootstrap", "--password", "{canary}"], 2, &["`--password`", stdin, "file"]),
        typed(&["bootstrap", "--password={canary}"], 2, &["`--password`", stdin]),
        typed(&["unseal", "--passphrase", "{canary}"], 2, &["`--passphrase`", stdin]),
        typed(&["keygen", "--token={canary}"], 2, &["`--token`", stdin]),
        typed(&["bootstrap", "-p{canary}"], 2, &["unknown argument `-p`"]),
        typed(&["bootstrap", "--provide", "{canary}"], 2, &["`--provide"]),
        typed(&["bootstrap", "--provide={canary}=x"], 2, &["`--provide"]),
        typed(&["bootstrap", "--provide", "hf-token={canary}"], 3, &["`--provide hf-token`", "no such file"]),
        typed(&["bootstrap", "--provide", "hf-token=hf_{canary}/{canary}"], 3, &["`--provide hf-token`", "no such file"]),
        typed(&["bootstrap", "--provide", "hf-token", "hf_{canary}"], 2, &["one argument too many"]),
        typed(&["bootstrap", "--destroys-data", "{canary}"], 2, &["--destroys-data"]),
        typed(&["unseal", "{canary}"], 2, &[]),
        typed(&["rotate", "{canary}", "--yes"], 2, &["DNS-1123"]),
        typed(&["rotate", "--older-than", "{canary}"], 2, &["`--older-than"]),
        typed(&["import", "{canary}"], 2, &["one argument too many"]),
        typed(&["import", "--env-file", "in.env", "--replace", "{canary}"], 2, &["`--replace"]),
        row("L13", "variable of another shape", &["import", "--env-file", "in.env"], 3, &["in.env:1: the value of `hf-token`"])
            .file("in.env", planted("HF_TOKEN={canary}")),
        row("L13", "a line that is no assignment", &["import", "--env-file", "in.env"], 3, &["in.env:2:1: "])
            .file("in.env", planted("A=1\n{canary}\n")),
        row("L13", "variables that nobody knows", &["import", "--env-file", "in.env"], 3, &["in.env: there is no value"])
            .file("in.env", planted("{canary}={canary}\nHF_TOKEN=\n")),
        typed(&["unseal", "--value", "{canary}"], 2, &["`--value"]),
        typed(&["keygen", "--recipient", "AGE-SECRET-KEY-1{canary}"], 2, &["--recipient", "it is a secret"]).start(Start::Empty),
        typed(&["escrow", "add-recipient", "AGE-SECRET-KEY-1{canary}", "--yes"], 2, &["RECIPIENT", "it is a secret"]),
        typed(&["escrow", "add-recipient", "age1{canary}", "--yes"], 2, &["`RECIPIENT` is not an age recipient"]),
        typed(&["escrow", "remove-recipient", "AGE-SECRET-KEY-1{canary}", "--yes"], 2, &["`RECIPIENT`", "it is one of `age1"]),
        typed(&["unseal", "--identity", "AGE-SECRET-KEY-1{canary}"], 3, &["--identity", "no such file"]).start(Start::Bootstrapped),
        typed(&["verify", "--identity", "AGE-SECRET-KEY-1{canary}"], 3, &["--identity", "no such file"]).start(Start::Bootstrapped),
        typed(&["key-secret", "--controller-namespace", "{canary}"], 2, &["--controller-namespace"]),
        // A value that does not fit its pattern; every row runs with RUST_BACKTRACE and RUST_LOG, so this is L13 as well.
        row("L13", "value of another shape", &["bootstrap", "--provide", "hf-token=given"], 3, &["`hf-token`", "hf_"])
            .file("given", CANARY),
        row("L13", "value on standard input", &["bootstrap", "--provide", "hf-token=-"], 3, &["`hf-token`"]).stdin(CANARY.as_bytes()),
        row("L13", "value with a line feed", &["bootstrap", "--provide", "hf-token=given"], 3, &["`hf-token`"])
            .file("given", planted("hf_{canary}\n{canary}")),
        row("L13", "value with a NUL", &["bootstrap", "--provide", "hf-token=given"], 3, &["`hf-token`"])
            .file("given", planted("hf_{canary}\0{canary}")),
        row("L13", "identity with a typing error", &["unseal", "--identity", "id"], 3, &["id:2:1: ", "identity"])
            .start(Start::Bootstrapped)
            .file("id", planted("# mine\nAGE-SECRET-KEY-1{canary}\n")),
        row("L13", "recovery key cut off", RECOVER, 3, &["key:1:1: "])
            .file("sealed.yaml", fixture_text(SEALED))
            .file("key", planted("-----BEGIN PRIVATE KEY-----\n{canary}\n")),
        row("L13", "recovery key of nonsense", RECOVER, 3, &["key:1:1: "])
            .file("sealed.yaml", fixture_text(SEALED))
            .file("key", planted("-----BEGIN PRIVATE KEY-----\n{canary}\n-----END PRIVATE KEY-----\n")),
        row("L13", "recovery key of prose", RECOVER, 3, &["key: no private key"])
            .file("sealed.yaml", fixture_text(SEALED))
            .file("key", CANARY),
        row(
            "L13",
            "recovery key on standard input",
            &["unseal", "-f", "sealed.yaml", "--recovery-private-key", "-"],
            3,
            &["standard input:"],
        )
        .file("sealed.yaml", fixture_text(SEALED))
        .stdin(planted("-----BEGIN {canary}-----\n{canary}\n-----END {canary}-----\n").as_bytes()),
    ]
}

/// What `re-encrypt`, `renew` and `status` refuse, or name, before anything changes.
fn other_keys() -> Vec<Row> {
    let again = |what: &str, args: &[&str], code: i32, says: &[&str]| row("L08", what, args, code, says).start(Start::Bootstrapped);
    let unknown = format!("sha256:{}", "0".repeat(64));
    let plain =
        "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: a, namespace: b}\nspec: {encryptedData: {k: {canary}}}\n";
    vec![
        again("nobody said yes", &["re-encrypt"], 4, &["not confirmed", "--yes"]),
        again("nobody said yes", &["renew"], 4, &["not confirmed", "--yes"]),
        again("JSON of what is done", &["re-encrypt", "--yes", "--json"], 2, &["`--json`", "--dry-run"]),
        again("JSON of what is done", &["renew", "--yes", "--json"], 2, &["`--json`", "--dry-run"]),
        again("a key that is not there", &["re-encrypt", "--key", &unknown, "--yes"], 3, &["`--key`", "--recovery-private-key"]),
        again("a key that is none", &["re-encrypt", "--key", "{canary}", "--yes"], 2, &["`--key", "sha256:"]),
        again("two kinds of keys", &["re-encrypt", "--identity", "a", "--recovery-private-key", "b"], 2, &["cannot be used together"]),
        again("no such path", &["re-encrypt", "no/such", "--yes"], 3, &["`PATH`: no such file or folder"]),
        again("no such path", &["status", "no/such"], 3, &["`PATH`: no such file or folder"]),
        again("a folder that is a link", &["re-encrypt", "link", "--yes"], 4, &["link: ", "links are not followed"])
            .with(|s| std::os::unix::fs::symlink("out", s.path("link")).unwrap()),
        again("a pipe", &["re-encrypt", "pipe", "--yes"], 1, &["pipe: not a regular file"])
            .with(|s| assert!(Command::new("mkfifo").arg(s.path("pipe")).status().unwrap().success())),
        again("not YAML", &["re-encrypt", "x.yaml", "--yes"], 1, &["x.yaml:1:1: ", "could not be opened"])
            .file("x.yaml", planted("'SealedSecret {canary}\n")),
        again("UTF-16", &["re-encrypt", "x.yaml", "--yes"], 1, &["x.yaml: UTF-16", "nothing done"])
            .file("x.yaml", b"\xff\xfeS\0e\0a\0l\0e\0d\0S\0e\0c\0r\0e\0t\0".to_vec()),
        again("UTF-16 of something else", &["re-encrypt", "x.yaml", "--yes"], 0, &["no SealedSecrets were found"])
            .file("x.yaml", b"\xff\xfea\0".to_vec()),
        again("only a comment", &["re-encrypt", "x.yaml", "--yes"], 0, &["nothing to do: no SealedSecrets were found"])
            .file("x.yaml", "# kind: SealedSecret\n"),
        again("a link with a slash", &["re-encrypt", "link/", "--yes"], 4, &["link: ", "links are not followed"])
            .with(|s| std::os::unix::fs::symlink("out", s.path("link")).unwrap()),
        row("L22", "the folder below is locked", &["re-encrypt", ".", "--yes"], 8, &["(process {pid})"])
            .start(Start::Bootstrapped)
            .locked("out"),
        row("L22", "the folder above is locked", &["re-encrypt", "out/secret-source", "--yes"], 8, &["(process {pid})"])
            .start(Start::Bootstrapped)
            .locked("out"),
        again("plaintext", &["re-encrypt", "x.yaml", "--yes"], 1, &["x.yaml:4:27: `spec.encryptedData.k` is not a sealed value"])
            .file("x.yaml", planted(plain)),
        again("another's identity", &["re-encrypt", "--identity", "id", "--yes"], 3, &["id: no age identity"]).file("id", "# none\n"),
        again("escrow gone", &["renew", "--yes"], 3, &["keys/sealing.key.age: no such file"]).with(|s| s.remove(ESCROW)),
        again("escrow gone", &["re-encrypt", "--yes"], 3, &["keys/sealing.key.age: no such file"]).with(|s| s.remove(ESCROW)),
        again("certificate gone", &["renew", "--yes"], 3, &["keys/sealing.crt: no such file"]).with(|s| s.remove("keys/sealing.crt")),
        again("certificate ended", &["re-encrypt", "--yes"], 4, &["ended on"])
            .with(|s| s.write("keys/sealing.crt", fixture_text("fixtures/certificates/expired.crt").as_bytes())),
        row("L22", "locked", &["re-encrypt", "--yes"], 8, &["(process {pid})"]).start(Start::Bootstrapped).locked("out"),
        row("L22", "locked", &["renew", "--yes"], 8, &["(process {pid})"]).start(Start::Bootstrapped).locked("out"),
        row("L22", "locked", &["renew", "--yes"], 8, &["(process {pid})"]).start(Start::Bootstrapped).locked("keys"),
    ]
}

/// L05 to L12 and L20: streams, terminals and the process's surroundings.
fn surroundings() -> Vec<Row> {
    let provide = &["bootstrap", "--provide", "hf-token=-"];
    let ask = &["bootstrap", "--provide", "hf-token"];
    let no_terminal = ["setsid", "-w"];
    let terminal = |args: &[&str]| {
        row("L06", args.join(" "), args, 4, &["terminal", "--reveal"]).start(Start::Bootstrapped).shell(TERMINAL, Needs::Tool("script"))
    };
    let no_randomness = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=getrandom", "-e", "inject=getrandom:error=EIO"];
    let masked = |umask: &str| {
        row("L12", format!("umask {umask}"), &["bootstrap"], 0, &["done: "])
            .start(Start::Hashless)
            .shell(&format!("umask {umask}; exec \"$@\""), Needs::Nothing)
            .after(|s| mode(s, "secrets/dex-admin-password") == 0o600 && mode(s, "secrets") == 0o700 && mode(s, UNIT) == 0o644)
    };
    let masked_keygen = |umask: &str| {
        row("L12", format!("umask {umask}"), &["keygen"], 0, &["made "])
            .start(Start::Empty)
            .shell(&format!("umask {umask}; exec \"$@\""), Needs::Nothing)
            .after(|s| mode(s, "keys/operator.agekey") == 0o600 && mode(s, "keys/sealing.crt") == 0o644)
    };
    vec![
        row("L05", "closed", provide, 2, &["standard input is empty"]).shell("exec \"$@\" <&-", Needs::Nothing),
        row("L05", "empty", provide, 2, &["standard input is empty"]),
        row("L05", "a directory", provide, 5, &["standard input cannot be read"]).shell("exec \"$@\" < keys", Needs::Nothing),
        row("L05", "empty, sealed file", &["unseal", "-f", "-"], 2, &["standard input is empty"]),
        terminal(&["unseal"]),
        terminal(&["unseal", "--value", "vllm-api-key"]),
        terminal(&["unseal", "-o", "json"]),
        terminal(&["key-secret"]),
        row("L08", "no terminal", ask, 4, &["no terminal", "KEY=FILE"]).through(&no_terminal, Needs::Tool("setsid")),
        row("L08", "standard input is none", ask, 4, &["no terminal"]),
        row("L11", "working directory deleted", &["keygen"], 5, &["the folder that this was started in"])
            .start(Start::Empty)
            .shell("mkdir gone && cd gone && rmdir ../gone && exec \"$@\"", Needs::Nothing),
        row("L11", "working directory deleted", &["bootstrap", "--keys", "../keys"], 5, &["the folder that this was started in"])
            .shell("mkdir gone && cd gone && rmdir ../gone && exec \"$@\"", Needs::Nothing),
        row("L11", "TMPDIR and HOME are bad", &["bootstrap"], 0, &["done: "])
            .start(Start::Hashless)
            .through(&["env", "TMPDIR=/no/such", "HOME=/no/such"], Needs::Nothing)
            .after(|s| s.path(UNIT).exists()),
        row("L11", "standard output is full", &["plan"], 5, &["standard output"])
            .start(Start::Bootstrapped)
            .shell("exec \"$@\" > /dev/full", Needs::Nothing),
        masked("000"),
        masked("777"),
        masked_keygen("000"),
        masked_keygen("777"),
        row("L20", "bootstrap", &["bootstrap"], 6, &["random"]).through(&no_randomness, Needs::Strace),
        row("L20", "keygen", &["keygen"], 6, &["random"]).start(Start::Empty).through(&no_randomness, Needs::Strace),
    ]
}

fn mode(sandbox: &Sandbox, path: &str) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    sandbox.path(path).metadata().map_or(0, |metadata| metadata.permissions().mode() & 0o7777)
}

/// U7: what a name or a text of the contract could do to the terminal that shows it.
fn names_that_move_the_cursor() -> Vec<Row> {
    let orphan = |what: &str, name: &'static str, args: &[&str], code: i32| {
        row("U7", format!("{what}, {args:?}"), args, code, &[]).start(Start::Bootstrapped).with(move |s| {
            let text = s.read(UNIT).replace("vllm-api-key", "old");
            s.write(&format!("out/secret-source/{name}.sealed.yaml"), text.as_bytes());
        })
    };
    let hint = "{ provided: { hint: \"a\\e[2J\\nb\" } }";
    let mut rows = Vec::new();
    for (what, name) in [("escape", "a\u{1b}[2J"), ("line feed", "a\nerror: b"), ("carriage return", "a\rb")] {
        rows.push(orphan(what, name, &["plan"], 0));
        let place: String = name.chars().map(|c| if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() }).collect();
        rows.push(orphan(what, name, &["verify"], 1).finds(&[
            &format!("orphan out/secret-source/{place}.sealed.yaml:1:1"),
            "kustomization-differs out/secret-source/kustomization.yaml:7:1",
            "runbook-differs out/INSTALL.md:100:1",
        ]));
    }
    rows.push(Row {
        args: ["plan", "--contract", "contract.yaml"].map(str::to_owned).into(),
        ..contract_row("U7", "hint", (SESSION_RECIPE, hint), 0, &["session-key"])
    });
    rows.push(row("U7", "folder", &["plan", "--out", "a\u{1b}[2J"], 0, &[]));
    rows
}

/// What `escrow` and protected identities refuse; the answers at a terminal are in `escrow.rs`.
fn operators() -> Vec<Row> {
    const ONE: &str = "age1ysxuaeqlk7xd8uqsh8lsnfwt9jzzjlqf49ruhpjrrj5yatlcuf7qke4pqe";
    const PQ: &str = "age1pq10pu8s7rc0pu8s7rc0pu8s7rc0pu8s7rc5z4vq4";
    let add =
        |what: &str, recipient: &str, code, says: &[&str]| row("L02", what, &["escrow", "add-recipient", recipient, "--yes"], code, says);
    let remove = |what: &str, recipient: &str, code, says: &[&str]| {
        let row = row("L02", what, &["escrow", "remove-recipient", recipient, "--yes"], code, says);
        row.file("keys/recipients.txt", format!("# one\n{ONE}\n"))
    };
    let identity = |what: &str, bytes: Vec<u8>, code, says: &[&str]| {
        row("K35", what, &["unseal", "--identity", "id"], code, says).start(Start::Bootstrapped).file("id", bytes)
    };
    let listed = |what: &str, line: &str, code, says: &[&str]| {
        row("K10", what, &["keygen"], code, says).start(Start::Empty).file("keys/recipients.txt", format!("# one\n\n{line}\n"))
    };
    vec![
        row("L01", "escrow alone", &["escrow"], 2, &[]),
        row("L08", "nobody to say yes", &["escrow", "add-recipient", ONE], 4, &["not confirmed", "for 2 recipients", "--yes"]),
        row("F01", "no escrow", &["escrow", "add-recipient", ONE, "--yes"], 3, &["keys/sealing.key.age: no such file"])
            .with(|s| s.remove(ESCROW)),
        row("K33", "a memory that is damaged", &["bootstrap"], 3, &["keys/sealed.txt:2:1: not a whole line"])
            .file("keys/sealed.txt", planted("# x\n{canary}\n")),
        row("L22", "the keys folder is locked", &["bootstrap"], 8, &["(process {pid})"]).start(Start::Keys).locked("keys"),
        row(
            "L02",
            "a run that was interrupted",
            &["keygen", "--recipient", ONE],
            4,
            &["keys/sealing.key.age: an earlier run was interrupted"],
        )
        .start(Start::Keys)
        .with(|s| s.remove("keys/sealing.crt")),
        add("an SSH key", "ssh-ed25519 AAAA", 2, &["`RECIPIENT`", "SSH keys are not taken"]),
        add("mistyped", &ONE.replace("ysx", "yxs"), 2, &["`RECIPIENT` is not an age recipient"]),
        add("of a plugin that is missing", crate::escrow::RECIPIENT, 3, &["`age-plugin-fake` is not in PATH"]),
        add("post-quantum, its plugin missing", PQ, 3, &["`age-plugin-pq` is not in PATH"])
            .through(&["env", "PATH=/no/such"], Needs::Nothing),
        remove("mistyped", &ONE.replace("ysx", "yxs"), 2, &["`RECIPIENT`", &format!("did you mean `{ONE}`?")]),
        remove("the last", ONE, 4, &["the last recipient", "add-recipient"]),
        row("L02", "the last, never listed", &["escrow", "remove-recipient", ONE], 2, &["it is one of `age1"]),
        listed("an SSH key", "ssh-rsa {canary}", 3, &["keys/recipients.txt:3:1: SSH keys are not taken"]),
        listed("an identity of a plugin", crate::escrow::IDENTITY, 4, &["keys/recipients.txt:3:1: an age identity"]),
        listed("a plugin that is missing", crate::escrow::RECIPIENT, 3, &["`age-plugin-fake` is not in PATH"])
            .after(|s| !s.path("keys/recipients.txt").with_file_name("sealing.key.age").exists() && !s.path("keys/sealing.crt").exists()),
        identity("plugin is missing", format!("# mine\n{}\n", crate::escrow::IDENTITY).into(), 3, &["`age-plugin-fake` is not in PATH"]),
        identity("post-quantum", planted("AGE-SECRET-KEY-PQ-1{canary}").into(), 3, &["id:1:1: ", "age-plugin-pq -identity"]),
        identity("protected, no terminal", crate::escrow::protected(CANARY, CANARY, 4), 4, &["id: there is no terminal to ask at"]),
    ]
}

#[test]
fn l_command_line() {
    let mut rows = command_lines_that_are_wrong();
    rows.extend(secrets_on_the_command_line());
    rows.extend(operators());
    rows.extend(surroundings());
    rows.extend(other_keys());
    rows.extend(names_that_move_the_cursor());
    run_all(rows);
}

const PROVIDE: &str = "bootstrap --provide hf-token";

#[test]
fn l05_a_value_typed_at_the_prompt_is_not_shown() {
    needs!("script");
    let sandbox = Sandbox::bootstrapped();
    let shown = at_the_prompt(&sandbox, PROVIDE, &[("hf-token: ", &planted("hf_{canary}\r"))]);
    assert!(shown.contains("code=0") && shown.contains(" echo ") && !shown.contains(CANARY), "{shown}");
    assert_eq!(sandbox.value("hf-token"), format!("hf_{CANARY}"));
}

#[test]
fn l14_ctrl_c_at_the_prompt_changes_nothing_and_leaves_the_echo_on() {
    needs!("script");
    let sandbox = Sandbox::bootstrapped();
    let before = sandbox.snapshot();
    let shown = at_the_prompt(&sandbox, PROVIDE, &[("hf-token: ", &planted("hf_{canary}\u{3}"))]);
    assert!(shown.contains("code=130") && shown.contains(" echo ") && !shown.contains(CANARY), "{shown}");
    assert_eq!(before, sandbox.snapshot());
}
