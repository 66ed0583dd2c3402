//! F: files that are read, and paths that are written.

use super::*;

/// A file that some command reads: where it lies, and the run that reads it.
struct Input {
    what: &'static str,
    path: &'static str,
    start: Start,
    args: &'static [&'static str],
    /// How errors name it: the text after `--provide KEY=` may be a value, and is not repeated.
    shown: &'static str,
}

const INPUTS: &[Input] = &[
    Input { what: "contract", path: "contract.yaml", start: Start::Keys, args: &WITH_CONTRACT, shown: "contract.yaml" },
    Input { what: "certificate", path: "keys/sealing.crt", start: Start::Keys, args: &["bootstrap"], shown: "keys/sealing.crt" },
    Input { what: "sealed file", path: "sealed.yaml", start: Start::Keys, args: &["unseal", "-f", "sealed.yaml"], shown: "sealed.yaml" },
    Input { what: "identity", path: "id", start: Start::Bootstrapped, args: &["unseal", "--identity", "id"], shown: "id" },
    Input {
        what: "recovery key",
        path: "key",
        start: Start::Bootstrapped,
        args: &["unseal", "--recovery-private-key", "key"],
        shown: "key",
    },
    Input { what: "escrow", path: "keys/sealing.key.age", start: Start::Bootstrapped, args: &["unseal"], shown: "keys/sealing.key.age" },
    Input {
        what: "value",
        path: "given",
        start: Start::Keys,
        args: &["bootstrap", "--provide", "hf-token=given"],
        shown: "the file of `--provide hf-token`",
    },
    Input { what: "variables", path: "in.env", start: Start::Keys, args: &["import", "--env-file", "in.env"], shown: "in.env" },
    Input { what: "Secrets", path: "in.yaml", start: Start::Keys, args: &["import", "-f", "in.yaml"], shown: "in.yaml" },
];

fn input_row(input: &Input, id: &'static str, what: &str, code: i32, says: &str) -> Row {
    let path = input.path;
    let row = row(id, format!("{} {what}", input.what), input.args, code, &[&format!("error: {}: {says}", input.shown)]).start(input.start);
    row.with(move |sandbox| drop(std::fs::remove_file(sandbox.path(path))))
}

/// F01 to F04, for every file that is read.
fn files_that_are_none() -> Vec<Row> {
    let mut rows = Vec::new();
    for input in INPUTS {
        let path = input.path;
        // A typed path that does not exist is not repeated.
        let flag = input
            .args
            .iter()
            .position(|arg| *arg == path)
            .map(|at| if input.args[at - 1] == "-f" { "--filename" } else { input.args[at - 1] });
        let typed = flag.map(|flag| format!("the file of `{flag}`"));
        let shown = typed.as_deref().unwrap_or(input.shown);
        let mut missing = input_row(input, "F01", "missing", 3, "no such file");
        missing.says = vec![format!("error: {shown}: no such file")];
        rows.push(missing);
        rows.push(input_row(input, "F02", "is a directory", 3, "is a directory").with(move |s| std::fs::create_dir(s.path(path)).unwrap()));
        let is_passed = !path.starts_with("keys/") && path != "contract.yaml";
        let says = if is_passed { "nothing came through this pipe" } else { "not a regular file" };
        rows.push(input_row(input, "F03", "is a FIFO", 3, says).with(move |s| make_fifo(s, path)));
        rows.push(input_row(input, "F03", "is a socket", 3, "not a regular file").with(move |s| {
            // The file stays when the listener is dropped.
            std::os::unix::net::UnixListener::bind(s.path(path)).unwrap();
        }));
        rows.push(input_row(input, "F03", "is /dev/zero", 3, "not a regular file").with(move |s| link("/dev/zero", s, path)));
        rows.push(input_row(input, "F04", "is empty", 3, "empty file").file(path, ""));
    }
    rows.push(row(
        "F01",
        "path missing",
        &["contract", "--contract", "keys/no/such"],
        3,
        &["the file of `--contract`: no such file", "/keys"],
    ));
    rows.push(row("F01", "dangling link", &["contract", "--contract", "c"], 3, &["c: no such file"]).with(|s| link("nowhere", s, "c")));
    rows.push(row("F01", "keys folder missing", &["bootstrap", "--keys", "no"], 3, &["no/sealing.crt: no such file", "--keys no keygen"]));
    rows.push(row("F01", "output folder missing", &["unseal"], 3, &["out: no sealed files"]));
    rows.push(row("F02", "recipients are a directory", &["keygen"], 3, &["is a directory"]).start(Start::Empty).with(|s| {
        std::fs::create_dir_all(s.path("keys/recipients.txt")).unwrap();
    }));
    rows.push(row("F04", "recipients are empty", &["keygen"], 3, &["empty file"]).start(Start::Empty).file("keys/recipients.txt", ""));
    rows.push(unit_row("F04", "unit is empty", 3, &["empty file"]).file(UNIT, ""));
    rows
}

fn make_fifo(sandbox: &Sandbox, path: &str) {
    assert!(Command::new("mkfifo").arg(sandbox.path(path)).status().unwrap().success());
}

/// F05 to F13: files that hold no text, or not all of it.
fn files_that_cannot_be_read() -> Vec<Row> {
    let mut rows = Vec::new();
    let utf16 = |text: &str, little: bool| -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(|unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
    };
    // A value is bytes and the escrow is not text, so encoding does not matter for either.
    for input in INPUTS.iter().filter(|input| !matches!(input.what, "value" | "escrow")) {
        let says = match input.what {
            "certificate" => "not PEM",
            "identity" => "no age identity",
            "variables" => "there is no value of a key of the contract",
            "recovery key" => "no private key",
            _ => "no document",
        };
        rows.push(input_row(input, "F05", "only comments", 3, says).file(input.path, "# nothing\n\n  \n"));
        for (name, little) in [("little", true), ("big", false)] {
            rows.push(input_row(input, "F08", &format!("UTF-16, {name} endian"), 3, "UTF-16").file(input.path, utf16("a: b\n", little)));
        }
        // The offset is that of the operator's file, so the byte-order mark counts. A key may be in another form.
        let at = |byte: &'static str| if input.what == "recovery key" { "binary, not PEM" } else { byte };
        rows.push(input_row(input, "F10", "invalid UTF-8", 3, at("not UTF-8 at byte 5")).file(input.path, *b"a: b\n\xff\n"));
        let marked = *b"\xef\xbb\xbfa: b\n\xff\n";
        rows.push(input_row(input, "F10", "invalid UTF-8 after a byte-order mark", 3, at("not UTF-8 at byte 8")).file(input.path, marked));
    }
    rows.push(unit_row("F05", "only comments", 3, &["no document"]).file(UNIT, "# nothing\n"));
    rows.push(row("F08", "certificate", &["bootstrap"], 3, &["sealing.crt: UTF-16", "UTF-8"]).with(|s| certificate(s, "utf16.crt")));
    rows.push(unit_row("F10", "unit", 3, &["not UTF-8 at byte 0"]).file(UNIT, *b"\xff"));
    rows.push(contract_row("F11", "NUL", ("signs sessions", "signs\0sessions"), 3, &["contract.yaml:20:17: ", "NUL"]));
    rows.push(sealed_row("F11", "NUL", ("name: cart", "name: c\0art"), 3, &["sealed.yaml:4:10: ", "NUL"]));
    rows.push(
        row("F11", "NUL in a certificate", &["bootstrap"], 3, &["keys/sealing.crt:3:1: "]).with(|s| certificate(s, "good.crt")).with(|s| {
            let lines: Vec<String> = s.read("keys/sealing.crt").lines().map(str::to_owned).collect();
            s.write("keys/sealing.crt", format!("{}\n{}\n\0{}", lines[0], lines[1], lines[2..].join("\n")).as_bytes());
        }),
    );
    rows.push(
        row("F13", "certificate", &["bootstrap"], 3, &["keys/sealing.crt:1:1: ", "no END line"]).with(|s| certificate(s, "truncated.crt")),
    );
    rows.push(key_row("F13", "truncated.pem", 3, &["key:1:1: ", "no END line"]));
    for (what, end) in [("in a flow mapping", "bytes: 16"), ("in a flow sequence of a field's name", "alphanumeric: { len")] {
        rows.push(row("F13", format!("contract {what}"), &WITH_CONTRACT, 3, &["contract.yaml:", "unexpected end"]).with(move |sandbox| {
            let text = fixture_text("fixtures/contracts/small.yaml");
            sandbox.write("contract.yaml", &text.as_bytes()[..text.find(end).unwrap() + end.len()]);
        }));
    }
    let quote = ("signs sessions\n    recipe: { alphanumeric: { length: 40 } }", "\"signs sess");
    rows.push(contract_row("F13", "in a quote", quote, 3, &["contract.yaml:", "unexpected end"]));
    rows
}

/// F06 and F24: who may read a secret, and who owns it.
fn files_of_somebody_else() -> Vec<Row> {
    let given = "hf_{canary}";
    let mut rows = vec![
        row("F06", "contract", &WITH_CONTRACT, 5, &["contract.yaml: ", "mode 0000"])
            .file("contract.yaml", fixture_text("fixtures/contracts/small.yaml"))
            .with(|s| s.chmod("contract.yaml", 0))
            .by_nobody(),
        row("F06", "certificate", &["bootstrap"], 5, &["keys/sealing.crt: ", "mode 0000"])
            .with(|s| s.chmod("keys/sealing.crt", 0))
            .by_nobody(),
        row("F06", "unit", &["plan"], 5, &[UNIT]).start(Start::Bootstrapped).with(|s| s.chmod(UNIT, 0)).by_nobody(),
        row("F06", "value", &["bootstrap", "--secrets", "mine", "--provide", "hf-token=given"], 5, &["`--provide hf-token`", "mode 0000"])
            .start(Start::Bootstrapped)
            .file("given", planted(given))
            .with(|s| s.chmod("given", 0))
            .by_nobody(),
    ];
    for mode in [0o644, 0o640, 0o604, 0o666] {
        let says = [&format!("mode {mode:04o}"), "chmod 600"];
        let wrong = move |path: &'static str| move |sandbox: &Sandbox| sandbox.chmod(path, mode);
        rows.push(key_row("F24", "good-pkcs8.pem", 4, &says).with(wrong("key")));
        rows.push(row("F24", "default identity", &["unseal"], 4, &says).start(Start::Bootstrapped).with(wrong("keys/operator.agekey")));
        let provide = row("F24", "value", &["bootstrap", "--provide", "hf-token=given"], 4, &says);
        rows.push(provide.start(Start::Bootstrapped).file("given", planted(given)).with(wrong("given")));
    }
    let foreign = |sandbox: &Sandbox| std::os::unix::fs::chown(sandbox.path("given"), Some(65534), None).unwrap();
    let row = row("F24", "another user's", &["bootstrap", "--provide", "hf-token=given"], 4, &["another user", "0600"]);
    rows.push(row.start(Start::Bootstrapped).file("given", planted(given)).with(foreign).through(&[], Needs::Root));
    rows.push(
        self::row("F24", "keygen's own identity", &["keygen"], 4, &["keys/operator.agekey: ", "chmod 600"])
            .with(|s| s.remove("keys/sealing.crt"))
            .with(|s| s.remove("keys/sealing.key.age"))
            .with(|s| s.chmod("keys/operator.agekey", 0o644)),
    );
    rows
}

const RUNBOOK: &str = "out/INSTALL.md";

/// `out/` in which only INSTALL.md has to be rewritten.
fn worn(id: &'static str, what: &str, args: &[&str], code: i32, says: &[&str]) -> Row {
    row(id, what, args, code, says).start(Start::Bootstrapped).with(|sandbox| sandbox.write(RUNBOOK, b"# mine\n"))
}

/// F14 to F16, F19 and F23: what is already at the path of an output.
fn outputs_that_are_no_files() -> Vec<Row> {
    type Place = (&'static str, &'static str, i32, fn(&Sandbox, &str));
    let kinds: [Place; 6] = [
        ("F14", "a link to a folder", 4, |s, path| {
            std::fs::create_dir(s.path("elsewhere")).unwrap();
            link(s.path("elsewhere").to_str().unwrap(), s, path);
        }),
        ("F15", "a dangling link", 4, |s, path| link("nowhere", s, path)),
        ("F16", "a FIFO", 4, make_fifo),
        ("F16", "a socket", 4, |s, path| drop(std::os::unix::net::UnixListener::bind(s.path(path)).unwrap())),
        ("F14", "a link to a file", 4, |s, path| {
            s.write("other", b"mine\n");
            link(s.path("other").to_str().unwrap(), s, path);
        }),
        // Where a folder is expected: F19.
        ("F19", "a file", 5, |s, path| s.write(path, b"mine\n")),
    ];
    let mut rows = Vec::new();
    for (id, what, code, make) in kinds {
        let folder = |path: &'static str, args: &[&str], start| {
            row(id, format!("{path} is {what}"), args, code, &[path]).start(start).with(move |sandbox| {
                std::fs::create_dir_all(sandbox.path(path).parent().unwrap()).unwrap();
                make(sandbox, path);
            })
        };
        rows.push(folder("out", &["bootstrap"], Start::Keys));
        rows.push(folder("out/secret-source", &["bootstrap"], Start::Keys));
        rows.push(folder("secrets", &["bootstrap"], Start::Keys));
        rows.push(folder("keys", &["keygen"], Start::Empty));
        if code == 4 {
            rows.push(folder("out/INSTALL.md", &["bootstrap"], Start::Keys));
            rows.push(folder("secrets/dex-admin-password", &["bootstrap"], Start::Keys));
            rows.push(folder("keys/sealing.crt", &["keygen"], Start::Empty));
            rows.push(folder("out/secret-source/vllm-api-key.sealed.yaml", &["bootstrap"], Start::Keys));
        }
    }
    for path in ["out/INSTALL.md", "out/secret-source/vllm-api-key.sealed.yaml", "secrets/dex-admin-password", "keys/sealing.crt"] {
        let (command, start) = if path.starts_with("keys") { ("keygen", Start::Empty) } else { ("bootstrap", Start::Keys) };
        rows.push(row("F16", format!("{path} is a folder"), &[command], 4, &[path]).start(start).with(move |sandbox| {
            std::fs::create_dir_all(sandbox.path(path)).unwrap();
        }));
    }
    let device = "mknod out/INSTALL.md c 1 3 && \"$@\"; code=$?; rm out/INSTALL.md; touch -d @0 out; exit $code";
    let device = row("F16", "a device", &["bootstrap"], 4, &[RUNBOOK]).start(Start::Bootstrapped).shell(device, Needs::Root);
    rows.push(device.with(|s| s.remove(RUNBOOK)).with(|s| {
        let epoch = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        std::fs::File::open(s.path("out")).unwrap().set_times(epoch).unwrap();
    }));
    rows.push(row("F19", "parent missing", &["bootstrap", "--out", "a/b/out"], 5, &["a/b/out: ", "mkdir -p"]));
    rows.push(row("F19", "parent is a file", &["bootstrap", "--out", "file/out"], 5, &["file/out: "]).file("file", "mine\n"));
    rows
}

/// F17, F18, F20 to F22: what the file system does not allow.
fn outputs_that_cannot_be_written() -> Vec<Row> {
    let small_disk = |options: &str, fill: &str| {
        let sums = "find m -type f ! -name 'fill*' -exec cksum {} + | sort";
        format!(
            "mkdir m && mount -t tmpfs -o {options} tmpfs m && cp -a out/. m || exit 98; {fill} 2>/dev/null; before=$({sums}); \"$@\"; \
             code=$?; after=$({sums}); umount m; rmdir m; [ \"$before\" = \"$after\" ] || exit 99; exit $code"
        )
    };
    let no_room = small_disk("size=2m", "cat /dev/zero > m/fill");
    let no_inodes = small_disk("nr_inodes=150", "for i in $(seq 200); do touch m/fill$i || break; done");
    let immutable = |path: &str| format!("chattr +i {path} || exit 98; \"$@\"; code=$?; chattr -i {path}; exit $code");
    let read_only = "mount --bind \"$PWD\" \"$PWD\" && cd \"$PWD\" && mount -o remount,bind,ro \"$PWD\" && \"$@\"";
    let quota = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=write", "-e", "inject=write:error=EDQUOT:when=1"];
    vec![
        worn("F17", "a hard link", &["bootstrap"], 0, &["warning: ", "INSTALL.md", "second name"])
            .with(|s| std::fs::hard_link(s.path(RUNBOOK), s.path("mine")).unwrap())
            .after(|s| s.read("mine") == "# mine\n" && s.read(RUNBOOK).len() > 100),
        worn("F18", "a bind mount", &["bootstrap"], 5, &[RUNBOOK, "mounted on"])
            .mounts("mount --bind out/INSTALL.md out/INSTALL.md && \"$@\""),
        worn("F20", "read-only", &["bootstrap"], 5, &["out", "read-only"]).mounts(read_only),
        row("F20", "read-only, nothing there", &["bootstrap"], 5, &["out", "read-only"]).mounts(read_only),
        row("F20", "read-only", &["keygen"], 5, &["keys", "read-only"]).start(Start::Empty).mounts(read_only),
        worn("F20", "another's folder", &["bootstrap", "--secrets", "mine"], 5, &[RUNBOOK, "who owns"]).by_nobody(),
        row("F20", "another's parent", &["bootstrap"], 5, &["out", "who owns"]).by_nobody(),
        worn("F20", "immutable folder", &["bootstrap"], 5, &[RUNBOOK, "immutable"]).shell(&immutable("out"), Needs::Immutable),
        worn("F20", "immutable file", &["bootstrap"], 5, &[RUNBOOK, "immutable"]).shell(&immutable(RUNBOOK), Needs::Immutable),
        worn("F21", "full", &["bootstrap", "--out", "m"], 5, &["m/INSTALL.md", "bytes", "make room"])
            .with(|s| s.remove("keys/sealed.txt"))
            .mounts(&no_room),
        worn("F21", "quota", &["bootstrap"], 5, &[RUNBOOK, "bytes"]).through(&quota, Needs::Strace),
        worn("F21", "file size", &["bootstrap"], 5, &[RUNBOOK, "bytes"]).through(&["prlimit", "--fsize=1024"], Needs::Tool("prlimit")),
        worn("F22", "inodes", &["bootstrap", "--out", "m"], 5, &["m/INSTALL.md", "make room"])
            .with(|s| s.remove("keys/sealed.txt"))
            .mounts(&no_inodes),
    ]
}

/// F23, F25 and F26: outputs that are also read, or were written by another run.
fn outputs_in_use() -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, path) in [("./x", "./out/INSTALL.md"), ("a/../x", "out/secret-source/../INSTALL.md"), ("hard link", "given")] {
        let provide = format!("hf-token={path}");
        rows.push(
            row("F23", what, &["bootstrap", "--provide", &provide], 4, &["`--provide hf-token`", "this run may write"])
                .start(Start::Bootstrapped)
                .with(|s| s.write_secret(RUNBOOK, planted("hf_{canary}").as_bytes()))
                .with(|s| std::fs::hard_link(s.path(RUNBOOK), s.path("given")).unwrap()),
        );
    }
    let copy = ["bootstrap", "--provide", "hf-token=secrets/dex-admin-password"];
    rows.push(row("F23", "operator's copy", &copy, 4, &["this run may write"]).start(Start::Bootstrapped));
    for folder in ["out", "./out/../out", "out/secret-source"] {
        // An operator's copy is plaintext; `out/` is committed.
        rows.push(row("F23", "secrets in the output folder", &["bootstrap", "--secrets", folder], 4, &[]).with(|s| {
            std::fs::create_dir_all(s.path("out/secret-source")).unwrap();
        }));
    }
    rows.push(
        row("F25", "left by a crash", &["bootstrap"], 0, &["warning: removed 2 temporary files", "nothing to do"])
            .start(Start::Bootstrapped)
            .file("out/.seal-secrets.1.0.tmp", "half")
            .file("out/secret-source/.seal-secrets.999999.7.tmp", "half")
            .after(|s| !s.path("out/.seal-secrets.1.0.tmp").exists() && !s.path("out/secret-source/.seal-secrets.999999.7.tmp").exists()),
    );
    for args in [&["plan"], &["verify"]] {
        let row = row("F25", "only looked at", args, 0, &[]).start(Start::Bootstrapped).file("out/.seal-secrets.1.0.tmp", "half");
        rows.push(if args == &["verify"] { row.finds(&[]) } else { row });
    }
    rows.push(
        row("F26", "lock held", &["bootstrap"], 8, &["out: another run", "(process {pid})"]).start(Start::Bootstrapped).locked("out"),
    );
    let keygen = row("F26", "lock held", &["keygen"], 8, &["keys: another run", "(process {pid})"]);
    rows.push(keygen.with(|s| s.remove("keys/sealing.crt")).locked("keys"));
    rows.push(row("L22", "two at once, reading", &["plan"], 0, &["nothing to do"]).start(Start::Bootstrapped).locked("out"));
    rows
}

#[test]
fn f_files() {
    let mut rows = files_that_are_none();
    rows.extend(files_that_cannot_be_read());
    rows.extend(files_of_somebody_else());
    rows.extend(outputs_that_are_no_files());
    rows.extend(outputs_that_cannot_be_written());
    rows.extend(outputs_in_use());
    run_all(rows);
}
