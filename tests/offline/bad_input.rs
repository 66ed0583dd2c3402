//! Bad input: every row of proof.md §2 (groups F, Y, K and L) that the commands of today can meet. Each row is one run;
//! one runner holds all of them against the same seven asserts, so that a row is only what is put in and what it must
//! lead to. A row's expectation is the document's, not the product's.

use std::collections::BTreeSet;
use std::io::{Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};

use crate::common::{
    BINARY, Ran, Sandbox, USUAL, at_the_prompt, finish, fixture, fixture_text, leave_out, needs, path, strace_works, test, tool,
};
use crate::leaks::forms;

/// Stands wherever a row has a secret: as a value, in a manifest, typed on the command line by mistake. No stream and no
/// written file may show it. `{canary}` in a row becomes it. It is sealed in `fixtures/sealed/` too.
const CANARY: &str = "Vt8QmZ4xKp2WnR6yHd0sLc9B";

/// U5 asks for 2 seconds of a release build. A debug build gets five times that, of the processor: so a busy machine makes no row
/// fail. Who needs more is killed.
const MOST_TIME: &str = "--cpu=10";

/// U5 asks for 256 MiB of memory. Resident memory cannot be limited (`prlimit --rss` is not enforced) nor measured
/// without `unsafe` or /usr/bin/time; address space can, and needs room for the threads' stacks and malloc's arenas.
const MOST_ADDRESS_SPACE: &str = "--as=1500000000";

/// What a run finds.
#[derive(Clone, Copy)]
enum Start {
    /// Nothing.
    Empty,
    /// `keys/` only: `out/` must not come into being.
    Keys,
    /// `keys/` and the `out/` of the platform's contract.
    Bootstrapped,
    /// `keys/`, `contract.yaml` (fixtures/contracts/small.yaml), and its `out/`.
    Small,
}

/// What a row cannot do without: if that is missing, the row is left out.
#[derive(Clone, Copy)]
enum Needs {
    Nothing,
    Root,
    Nobody,
    Mounts,
    Immutable,
    Strace,
    Tool(&'static str),
}

type Prepare = Box<dyn Fn(&Sandbox) + Send + Sync>;

/// One bad input, and what it must lead to.
struct Row {
    /// In proof.md §2.
    id: &'static str,
    what: String,
    start: Start,
    prepare: Vec<Prepare>,
    /// A command that runs the binary: another user, a terminal, a full disk.
    through: Vec<String>,
    needs: Needs,
    args: Vec<String>,
    stdin: Vec<u8>,
    /// The test holds the lock of this folder meanwhile.
    locked: Option<&'static str>,
    code: i32,
    /// Each stands in stderr; where nothing failed, in one of the two streams.
    says: Vec<String>,
    /// What `verify` finds beside the usual.
    finds: Option<Vec<String>>,
    /// For a run that may change files: what must be so afterwards. Without it nothing may change.
    after: Option<fn(&Sandbox) -> bool>,
}

fn planted(text: &str) -> String {
    text.replace("{canary}", CANARY).replace("{pid}", &std::process::id().to_string())
}

/// A row that starts with `keys/` and nothing else.
fn row(id: &'static str, what: impl Into<String>, args: &[&str], code: i32, says: &[&str]) -> Row {
    let owned = |texts: &[&str]| texts.iter().map(|text| planted(text)).collect();
    Row {
        id,
        what: what.into(),
        start: Start::Keys,
        prepare: Vec::new(),
        through: Vec::new(),
        needs: Needs::Nothing,
        args: owned(args),
        stdin: Vec::new(),
        locked: None,
        code,
        says: owned(says),
        finds: None,
        after: None,
    }
}

impl Row {
    fn start(self, start: Start) -> Row {
        Row { start, ..self }
    }

    /// Done before the run, and before the first snapshot.
    fn with(mut self, prepare: impl Fn(&Sandbox) + Send + Sync + 'static) -> Row {
        self.prepare.push(Box::new(prepare));
        self
    }

    /// A file, mode 0600: fit for a secret.
    fn file(self, path: &'static str, bytes: impl Into<Vec<u8>>) -> Row {
        let bytes = bytes.into();
        self.with(move |sandbox| sandbox.write_secret(path, &bytes))
    }

    fn edit(self, path: &'static str, from: &'static str, to: &str) -> Row {
        let to = planted(to);
        self.with(move |sandbox| sandbox.edit(path, from, &to))
    }

    fn through(self, command: &[&str], needs: Needs) -> Row {
        Row { through: command.iter().map(|&word| word.to_owned()).collect(), needs, ..self }
    }

    /// Runs a shell script in which `"$@"` is the run.
    fn shell(self, script: &str, needs: Needs) -> Row {
        self.through(&["sh", "-c", script, "sh"], needs)
    }

    /// Runs a shell script as root in a mount namespace of its own.
    fn mounts(self, script: &str) -> Row {
        self.through(&["unshare", "-m", "sh", "-c", script, "sh"], Needs::Mounts)
    }

    /// As a user who owns nothing here, and may look into the sandbox.
    fn by_nobody(self) -> Row {
        self.with(|sandbox| sandbox.chmod("", 0o755)).through(&NOBODY, Needs::Nobody)
    }

    fn stdin(self, bytes: &[u8]) -> Row {
        Row { stdin: bytes.to_owned(), ..self }
    }

    fn locked(self, folder: &'static str) -> Row {
        Row { locked: Some(folder), ..self }
    }

    fn finds(self, findings: &[&str]) -> Row {
        Row { finds: Some(findings.iter().map(|&finding| finding.to_owned()).collect()), ..self }
    }

    fn after(self, check: fn(&Sandbox) -> bool) -> Row {
        Row { after: Some(check), ..self }
    }

    /// On a terminal both streams are one.
    fn on_a_terminal(&self) -> bool {
        self.through.iter().any(|word| word.contains("script -qec"))
    }
}

const NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
const TERMINAL: &str = "script -qec \"$*\" /dev/null";

/// What a row lacks here.
fn lacks(needs: Needs) -> Option<&'static str> {
    let works = |command: &[&str]| Command::new(command[0]).args(&command[1..]).output().is_ok_and(|output| output.status.success());
    let root = rustix::process::geteuid().is_root();
    match needs {
        Needs::Nothing => None,
        Needs::Root => (!root).then_some("root"),
        Needs::Nobody => {
            let runs = || works(&[&NOBODY[..], &["test", "-x", BINARY]].concat());
            (!root || !runs()).then_some("root, and setpriv, and another user who can reach the binary")
        }
        Needs::Mounts => {
            let mounts = || works(&["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
            (!root || !mounts()).then_some("root, and unshare, which may mount")
        }
        Needs::Immutable => {
            let file = tempfile::NamedTempFile::new().unwrap();
            let chattr = |flag| works(&["chattr", flag, file.path().to_str().unwrap()]);
            (!root || !chattr("+i") || !chattr("-i")).then_some("root, and chattr on this file system")
        }
        Needs::Strace => (!strace_works()).then_some("strace, which may trace"),
        Needs::Tool(name) => tool(name).is_none().then_some(name),
    }
}

fn sandbox(start: Start) -> Sandbox {
    static SMALL: OnceLock<Sandbox> = OnceLock::new();
    match start {
        Start::Empty => Sandbox::empty(),
        Start::Keys => Sandbox::with_keys(),
        Start::Bootstrapped => Sandbox::bootstrapped(),
        Start::Small => SMALL
            .get_or_init(|| {
                let sandbox = Sandbox::with_keys();
                sandbox.write("contract.yaml", fixture_text("fixtures/contracts/small.yaml").as_bytes());
                sandbox.run(["bootstrap", "--contract", "contract.yaml"]).expect(0);
                sandbox
            })
            .copy(),
    }
}

/// The row's run. `timeout` ends one that hangs, which then shows as a wrong exit code and not as a hanging test.
fn ran(row: &Row, sandbox: &Sandbox) -> Ran {
    let mut stdin = tempfile::tempfile().unwrap();
    stdin.write_all(&row.stdin).unwrap();
    stdin.rewind().unwrap();
    let mut command = Command::new("timeout");
    command.args(["--foreground", "--signal=KILL", "30"]).args(&row.through);
    // By its path: a row may have another PATH.
    if let Some(prlimit) = tool("prlimit") {
        command.arg(prlimit).args([MOST_TIME, MOST_ADDRESS_SPACE]);
    }
    command.arg(BINARY).args(&row.args).current_dir(sandbox.path("")).env_clear().env("PATH", path());
    // L13 holds for every row.
    command.env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace");
    command.stdin(if row.stdin.is_empty() { Stdio::null() } else { stdin.into() });
    let mut ran = finish(command);
    if row.on_a_terminal() {
        ran.stderr = std::mem::take(&mut ran.stdout).replace("\r\n", "\n") + &ran.stderr;
    }
    ran
}

/// The universal asserts U1 to U7 of proof.md §2; what does not hold.
fn try_row(row: &Row) -> Vec<String> {
    let sandbox = sandbox(row.start);
    row.prepare.iter().for_each(|prepare| prepare(&sandbox));
    let before = sandbox.snapshot();
    let lock = row.locked.map(|folder| std::fs::File::open(sandbox.path(folder)).unwrap());
    lock.iter().for_each(|folder| folder.lock().unwrap());
    let ran = ran(row, &sandbox);
    let after = sandbox.snapshot();
    // Where a file could be written but not put in place, a temporary one came and went: that moves its folder's mtime.
    let only_moved = |path: &PathBuf| row.code == 5 && path.is_dir() && before.get(path).map(|it| it.0) == after.get(path).map(|it| it.0);
    let differs = |path: &&PathBuf| before.get(*path) != after.get(*path) && !only_moved(path);
    let changed: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).filter(differs).collect();
    let mut problems = Vec::new();
    let mut hold = |right: bool, problem: String| problems.extend((!right).then_some(problem));
    let names: Vec<_> = changed.iter().map(|path| path.strip_prefix(sandbox.path("")).unwrap().display().to_string()).collect();
    match row.after {
        None => hold(names.is_empty(), format!("U1: changed: {}", names.join(", "))),
        Some(check) => hold(check(&sandbox), format!("U1: not as it should be afterwards; changed: {}", names.join(", "))),
    }
    for form in forms(CANARY.as_bytes()) {
        let holds = |bytes: &[u8]| bytes.windows(form.len()).any(|window| window == form);
        hold(!holds(ran.stdout.as_bytes()) && !holds(ran.stderr.as_bytes()), "U2: a stream shows the canary".to_owned());
        let written = changed.iter().filter_map(|path| after.get(*path));
        hold(!written.into_iter().any(|(.., bytes)| holds(bytes)), "U2: a written file holds the canary".to_owned());
    }
    hold(!matches!(ran.code, 137 | 152), "U5: it took too long".to_owned());
    let temporary = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".seal-secrets."));
    hold(!changed.iter().any(|path| after.contains_key(*path) && temporary(path)), "U6: a temporary file is left".to_owned());
    hold(processes_in(&sandbox.path("")).is_empty(), "U6: a process is left".to_owned());
    problems.extend(stream_problems(row, &ran));
    if !problems.is_empty() {
        problems.push(format!("exit code {}\nstdout: {}stderr: {}", ran.code, short(&ran.stdout), short(&ran.stderr)));
    }
    problems
}

/// U3, U4 and U7: what the run said.
fn stream_problems(row: &Row, ran: &Ran) -> Vec<String> {
    let mut problems = Vec::new();
    let mut hold = |right: bool, problem: &str| problems.extend((!right).then(|| problem.to_owned()));
    let lines = |start: &str| ran.stderr.lines().filter(|line| line.starts_with(start)).count();
    let failed = row.code > 1;
    hold(lines("error:") == usize::from(failed), "U3: not exactly one `error:` line where it fails, and none where not");
    hold(lines("help:") == usize::from(failed), "U3: not exactly one `help:` line where it fails, and none where not");
    hold(!failed || ran.stdout.is_empty(), "U3: it failed, and standard output is not empty");
    let said = if failed { ran.stderr.clone() } else { format!("{}{}", ran.stdout, ran.stderr) };
    for wanted in &row.says {
        hold(said.contains(wanted.as_str()), &format!("U3: it does not say {wanted:?}"));
    }
    if let Some(findings) = &row.finds {
        let usual = if matches!(row.start, Start::Small) { &USUAL[..1] } else { &USUAL };
        let mut expected: Vec<&str> = usual.iter().copied().chain(findings.iter().map(String::as_str)).collect();
        let mut found = ran.findings();
        expected.sort_unstable();
        found.sort_unstable();
        hold(found == expected, &format!("it finds {found:?}"));
    }
    hold(ran.code == row.code, &format!("U4: exit code {} instead of {}", ran.code, row.code));
    hold(!matches!(ran.code, 101 | 134) && !ran.stderr.contains("panicked"), "U7: it panicked");
    hold(!ran.stdout.lines().any(|line| line.starts_with("error:")), "U7: a name began a line of standard output");
    let control = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
    hold(!control(&ran.stdout) && !control(&ran.stderr), "U7: a control character in a stream");
    problems
}

/// Processes that work in that folder: a run leaves none.
fn processes_in(folder: &Path) -> Vec<PathBuf> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path().join("cwd"));
    processes.filter(|cwd| std::fs::read_link(cwd).is_ok_and(|cwd| cwd.starts_with(folder))).collect()
}

fn short(text: &str) -> String {
    let start: String = text.chars().take(700).collect();
    if start.len() < text.len() { format!("{start}…\n") } else { start }
}

/// Runs the rows on as many threads as there are processors, and prints everything that does not hold together.
fn run_all(rows: Vec<Row>) {
    let test = test();
    if tool("prlimit").is_none() {
        leave_out(&format!("{test}: the limits of time and memory"), "prlimit");
    }
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(row) = rows.get(number) else { break };
            if let Some(lacks) = lacks(row.needs) {
                leave_out(&format!("{test}: {} {}", row.id, row.what), lacks);
                continue;
            }
            let problems = try_row(row);
            if !problems.is_empty() {
                let args: Vec<String> = row.args.iter().map(|arg| short(&format!("{arg:?}"))).collect();
                let text = format!("{} {} ({})\n  {}", row.id, row.what, args.join(" "), problems.join("\n  "));
                failures.lock().unwrap().push((number, text));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    let texts: Vec<&str> = failures.iter().map(|(_, text)| text.as_str()).collect();
    assert!(texts.is_empty(), "{} of {} rows do not hold:\n\n{}", texts.len(), rows.len(), texts.join("\n\n"));
}

// ---- F. Files ----

/// A file that some command reads: where it lies, and the run that reads it.
struct Input {
    what: &'static str,
    path: &'static str,
    start: Start,
    args: &'static [&'static str],
    /// How errors name it: what stands after `--provide KEY=` may be a value, and is not repeated.
    shown: &'static str,
}

const SEALED: &str = "fixtures/sealed/good.yaml";
const RECOVER: &[&str] = &["unseal", "-f", "sealed.yaml", "--recovery-private-key", "key"];

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

const WITH_CONTRACT: [&str; 3] = ["bootstrap", "--contract", "contract.yaml"];

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
        rows.push(input_row(input, "F01", "missing", 3, "no such file"));
        rows.push(input_row(input, "F02", "is a directory", 3, "is a directory").with(move |s| std::fs::create_dir(s.path(path)).unwrap()));
        rows.push(input_row(input, "F03", "is a FIFO", 3, "not a regular file").with(move |s| make_fifo(s, path)));
        rows.push(input_row(input, "F03", "is a socket", 3, "not a regular file").with(move |s| {
            // The file stays when the listener is dropped.
            std::os::unix::net::UnixListener::bind(s.path(path)).unwrap();
        }));
        rows.push(input_row(input, "F03", "is /dev/zero", 3, "not a regular file").with(move |s| link("/dev/zero", s, path)));
        rows.push(input_row(input, "F04", "is empty", 3, "empty file").file(path, ""));
    }
    rows.push(row("F01", "path missing", &["contract", "--contract", "keys/no/such"], 3, &["keys/no/such: no such file", "/keys"]));
    rows.push(row("F01", "dangling link", &["contract", "--contract", "c"], 3, &["c: no such file"]).with(|s| link("nowhere", s, "c")));
    rows.push(row("F01", "keys folder missing", &["bootstrap", "--keys", "no"], 3, &["no/sealing.crt: no such file", "keygen"]));
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

fn link(to: &str, sandbox: &Sandbox, path: &str) {
    std::os::unix::fs::symlink(to, sandbox.path(path)).unwrap();
}

const UNIT: &str = "out/secret-source/vllm-api-key.sealed.yaml";

/// A row with a defect in a sealed unit of `out/`.
fn unit_row(id: &'static str, what: &str, code: i32, says: &[&str]) -> Row {
    row(id, what, &["bootstrap"], code, &[&[UNIT][..], says].concat()).start(Start::Bootstrapped)
}

/// F05 to F13: files that hold no text, or not all of it.
fn files_that_cannot_be_read() -> Vec<Row> {
    let mut rows = Vec::new();
    let utf16 = |text: &str, little: bool| -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(|unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
    };
    // A value is bytes and the escrow is no text: for both the encoding is not a question.
    for input in INPUTS.iter().filter(|input| !matches!(input.what, "value" | "escrow")) {
        let says = match input.what {
            "certificate" => "not PEM",
            "identity" => "no age identity",
            "variables" => "there is no value of a key of the contract",
            _ => "no document",
        };
        rows.push(input_row(input, "F05", "only comments", 3, says).file(input.path, "# nothing\n\n  \n"));
        for (name, little) in [("little", true), ("big", false)] {
            rows.push(input_row(input, "F08", &format!("UTF-16, {name} endian"), 3, "UTF-16").file(input.path, utf16("a: b\n", little)));
        }
        rows.push(input_row(input, "F10", "invalid UTF-8", 3, "not UTF-8 at byte 5").file(input.path, *b"a: b\n\xff\n"));
        // The offset is one of the file that the operator has, so the byte-order mark counts.
        let marked = *b"\xef\xbb\xbfa: b\n\xff\n";
        rows.push(input_row(input, "F10", "invalid UTF-8 after a byte-order mark", 3, "not UTF-8 at byte 8").file(input.path, marked));
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

/// F06 and F24: who may read a secret, and whose it is.
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

/// `out/` in which only INSTALL.md has to be written anew.
fn worn(id: &'static str, what: &str, args: &[&str], code: i32, says: &[&str]) -> Row {
    row(id, what, args, code, says).start(Start::Bootstrapped).with(|sandbox| sandbox.write(RUNBOOK, b"# mine\n"))
}

/// F14 to F16, F19 and F23: what stands where something is to be written.
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
        // What a folder is expected to be: F19.
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
        worn("F21", "full", &["bootstrap", "--out", "m"], 5, &["m/INSTALL.md", "bytes", "make room"]).mounts(&no_room),
        worn("F21", "quota", &["bootstrap"], 5, &[RUNBOOK, "bytes"]).through(&quota, Needs::Strace),
        worn("F21", "file size", &["bootstrap"], 5, &[RUNBOOK, "bytes"]).through(&["prlimit", "--fsize=1024"], Needs::Tool("prlimit")),
        worn("F22", "inodes", &["bootstrap", "--out", "m"], 5, &["m/INSTALL.md", "make room"]).mounts(&no_inodes),
    ]
}

/// F23, F25 and F26: what is written is also read, or was written by another run.
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
        // An operator's copy is plaintext; `out/` is what is committed.
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

// ---- Y. YAML and contract ----

/// A change to the first place where a text stands.
type Edit<'t> = (&'static str, &'t str);

/// `fixtures/contracts/small.yaml` with one defect.
fn contract_row(id: &'static str, what: impl Into<String>, (from, to): Edit<'_>, code: i32, says: &[&str]) -> Row {
    row(id, what, &WITH_CONTRACT, code, says).file("contract.yaml", fixture_text("fixtures/contracts/small.yaml")).edit(
        "contract.yaml",
        from,
        to,
    )
}

/// `fixtures/sealed/good.yaml` with one defect.
fn sealed_row(id: &'static str, what: impl Into<String>, (from, to): Edit<'_>, code: i32, says: &[&str]) -> Row {
    row(id, what, RECOVER, code, says).file("sealed.yaml", fixture_text(SEALED)).file("key", good_key()).edit("sealed.yaml", from, to)
}

fn good_key() -> String {
    fixture_text("fixtures/private-keys/good-pkcs8.pem")
}

/// A key Secret with one defect.
fn key_secret_row(id: &'static str, what: &str, (from, to): Edit<'_>, code: i32, says: &[&str]) -> Row {
    key_row(id, "key-secret.yaml", code, says).edit("key", from, to).named(what)
}

impl Row {
    fn named(self, what: impl Into<String>) -> Row {
        Row { what: what.into(), ..self }
    }
}

const SESSIONS: &str = "about: signs sessions";
const SESSION_RECIPE: &str = "{ alphanumeric: { length: 40 } }";

/// Y01 to Y15: what readers of YAML disagree on, and what takes them down.
fn yaml_that_is_not_taken() -> Vec<Row> {
    let blob = "    value: Ag";
    let bomb = format!("a0: &a0 [{}]\n", ["x"; 9].join(", "))
        + &(1..12).map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(", "))).collect::<String>();
    let deep = |unit: &str| unit.repeat(20_000);
    let contract = |id, what: &str, bytes: String, says: &[&str]| row(id, what, &WITH_CONTRACT, 3, says).file("contract.yaml", bytes);
    let mut rows = vec![
        contract_row("Y01", "tab", ("    about: signs", "\tabout: signs"), 3, &["contract.yaml:20:", "tab", "spaces"]),
        sealed_row("Y01", "tab", ("  name: cart", "\tname: cart"), 3, &["sealed.yaml:4:", "tab", "spaces"]),
        contract_row("Y02", "store", ("namespace: shop", "store: x\nnamespace: shop"), 3, &["contract.yaml:4:1: ", "`store`", "line 3"]),
        sealed_row("Y02", "kind", ("kind:", "kind: SealedSecret\nkind:"), 3, &["sealed.yaml:3:1: ", "`kind`", "line 2"]),
        sealed_row("Y03", "blob", (blob, "    value: AgAA{canary}\n    value: Ag"), 3, &["sealed.yaml:9:5: ", "`value`", "line 8"]),
        sealed_row("Y03", "quoted", (blob, "    \"value\": AgAA\n    value: Ag"), 3, &["sealed.yaml:9:5: ", "`value`", "line 8"]),
        key_secret_row("Y03", "tls.key", ("  tls.key: ", "  tls.key: {canary}\n  tls.key: "), 3, &["key:5:3: ", "`tls.key`", "line 4"]),
        row("Y08", "two contracts", &WITH_CONTRACT, 3, &["contract.yaml:31:1: ", "2 documents where one"])
            .file("contract.yaml", format!("{}---\nversion: 1\n", fixture_text("fixtures/contracts/small.yaml"))),
        contract("Y10", "alias bomb", bomb.clone(), &["contract.yaml:1:9: ", "anchors", "not supported"]),
        row("Y10", "alias bomb", RECOVER, 3, &["sealed.yaml:1:9: ", "anchors"]).file("sealed.yaml", bomb).file("key", good_key()),
        contract_row("Y12", "undefined alias", (SESSIONS, "about: *nothing"), 3, &["contract.yaml:20:12: ", "alias"]),
        contract_row("Y13", "merge key", (SESSIONS, "<<: { about: x }"), 3, &["contract.yaml:20:5: ", "not supported"]),
        contract_row("Y14", "!!binary", (SESSIONS, "about: !!binary {canary}"), 3, &["contract.yaml:20:", "not supported"]),
        contract_row("Y14", "!custom", (SESSIONS, "about: !vault {canary}"), 3, &["contract.yaml:20:", "not supported"]),
        sealed_row("Y14", "!!binary", (blob, "    value: !!binary Ag"), 3, &["sealed.yaml:8:", "not supported"]),
        contract_row("Y14", "on a list", ("keys:\n", "keys: !list\n"), 3, &["contract.yaml:", "not supported"]),
        contract_row("Y15", "a list", (SESSIONS, "? [{canary}]\n    : b"), 3, &["contract.yaml:20:7: ", "not text"]),
        contract_row("Y15", "a mapping", (SESSIONS, "? {a: {canary}}\n    : b"), 3, &["contract.yaml:20:7: ", "not text"]),
        sealed_row("Y15", "a number", (blob, "    12: Ag"), 3, &["sealed.yaml:8:5: ", "not text"]),
    ];
    for key in ["1", "true", "~", "2026-11-23", "0x1F", "1.5"] {
        rows.push(contract_row("Y15", key, (SESSIONS, &format!("{key}: b")), 3, &["contract.yaml:20:5: ", "not text"]));
    }
    for (what, unit) in [("[", "["), ("{", "{a: "), ("-", "- "), ("?", "? ")] {
        let (text, unit_length) = (deep(unit), unit.len());
        rows.push(contract("Y11", what, text.clone(), &["contract.yaml:1:", "64 levels"]));
        rows.push(row("Y11", what, RECOVER, 3, &["sealed.yaml:1:", "64 levels"]).file("sealed.yaml", text.clone()).file("key", good_key()));
        rows.push(key_row("Y11", "good-pkcs8.pem", 3, &["key:1:", "64 levels"]).file("key", text.clone()).named(what));
        let unit = unit_row("Y11", "unit", 3, &["64 levels"]).file(UNIT, text.clone());
        rows.push(unit);
        // `verify` also looks for Secrets in the clear, in every other file.
        let stray = row("Y11", "stray file", &["verify"], 1, &["out/stray.yaml:1:", "64 levels"]).start(Start::Bootstrapped);
        rows.push(
            stray
                .file("out/stray.yaml", text)
                .finds(&["stray-file out/stray.yaml", &format!("unreadable out/stray.yaml:1:{}", 64 * unit_length + 1)]),
        );
    }
    for literal in ["012", "1e10", "yes", "~", "0x1F", "1_000", "2026-11-23", "null", "1.5", "0o17", "12:30:45", ".inf", "off", "-1"] {
        let about = format!("about: {literal}");
        rows.push(contract_row("Y07", literal, (SESSIONS, &about), 3, &["contract.yaml:20:12: ", "keys[3].about", "quote it"]));
        let kind = format!("type: {literal}");
        rows.push(sealed_row("Y07", literal, ("type: Opaque", &kind), 3, &["sealed.yaml:13:11: ", "spec.template.type", "quote it"]));
        let label = format!("metadata:\n  annotations: {{ a: {literal} }}");
        rows.push(sealed_row("Y07", literal, ("metadata:", &label), 3, &["sealed.yaml:4:21: ", "metadata.annotations.a", "quote it"]));
    }
    rows
}

/// Y04 to Y06, Y23 to Y25 and Y30 to Y35: a contract that says something else than is meant.
fn contracts_that_are_wrong() -> Vec<Row> {
    let session_name = "name: session-key";
    let recipe = |id, what: &str, recipe: &str, says: &[&str]| {
        contract_row(id, what, (SESSION_RECIPE, recipe), 3, &[&["contract.yaml:21:"][..], says].concat())
    };
    let typo = |what: &'static str, (from, to): Edit<'_>, says: &[&str]| contract_row("Y04", what, (from, to), 3, says);
    let mut rows = vec![
        recipe("Y04", "lenght", "{ alphanumeric: { lenght: 40 } }", &["lenght", "did you mean `length`?"]),
        recipe("Y04", "alfanumeric", "{ alfanumeric: { length: 40 } }", &["did you mean `alphanumeric`?"]),
        recipe("Y04", "one field too many", "{ alphanumeric: { length: 40, bytes: 3 } }", &["recipe.alphanumeric.bytes"]),
        typo(
            "write-onec",
            ("write-once: true", "write-onec: true"),
            &["contract.yaml:10:17: ", "keys[0].write-onec", "did you mean `write-once`?"],
        ),
        typo("abuot", ("    about: signs", "    abuot: signs"), &["contract.yaml:20:", "did you mean `about`?"]),
        typo("consumer", ("consumers:", "consumer:"), &["contract.yaml:", "did you mean `consumers`?"]),
        typo("a consumer's key", ("key: session-key }", "key: sesion-key }"), &["contract.yaml:29:", "did you mean `session-key`?"]),
        typo("a hash's source", ("of: admin-password", "of: admin-pasword"), &["contract.yaml:16:", "did you mean `admin-password`?"]),
        contract_row("Y05", "about", ("    about: signs sessions\n", ""), 3, &["contract.yaml:19:5: ", "`keys[3].about` is missing"]),
        contract_row("Y05", "reader.namespace", (", namespace: eso", ""), 3, &["contract.yaml:5:9: ", "`reader.namespace` is missing"]),
        contract_row("Y05", "store", ("store: shop-store\n", ""), 3, &["contract.yaml:2:1: ", "`store` is missing"]),
        contract_row("Y05", "version", ("version: 1\n", ""), 3, &["contract.yaml:2:1: ", "`version` is missing"]),
        contract_row("Y05", "target", ("    target: shop\n", ""), 3, &["contract.yaml:23:5: ", "`consumers[0].target` is missing"]),
        recipe("Y05", "length", "{ alphanumeric: {} }", &["`keys[3].recipe.alphanumeric.length` is missing"]),
        recipe("Y06", "recipe", "{canary}", &["contract.yaml:21:13: ", "`keys[3].recipe` should be a mapping"]),
        recipe("Y06", "recipe body", "{ alphanumeric: {canary} }", &["should be a mapping"]),
        recipe("Y06", "length", "{ alphanumeric: { length: {canary} } }", &["contract.yaml:21:39: ", "whole number"]),
        recipe("Y06", "length in quotes", "{ alphanumeric: { length: \"40\" } }", &["contract.yaml:21:39: ", "whole number"]),
        contract_row("Y06", "about", (SESSIONS, "about: [{canary}]"), 3, &["contract.yaml:20:12: ", "`keys[3].about` should be text"]),
        contract_row("Y06", "write-once", ("once: true", "once: {canary}"), 3, &["contract.yaml:10:17: ", "should be `true` or `false`"]),
        contract_row("Y06", "write-once: yes", ("once: true", "once: yes"), 3, &["contract.yaml:10:17: ", "should be `true` or `false`"]),
        contract_row("Y06", "keys", ("keys:\n", "keys: {canary}\nrest:\n"), 3, &["contract.yaml:6:7: ", "`keys` should be a list"]),
        contract_row(
            "Y06",
            "ignored",
            ("keys:\n", "ignored: {canary}\nkeys:\n"),
            3,
            &["contract.yaml:6:10: ", "`ignored` should be a list"],
        ),
        row("Y06", "a list", &WITH_CONTRACT, 3, &["contract.yaml:1:1: ", "mapping"]).file("contract.yaml", planted("- {canary}\n")),
        row("Y06", "a word", &WITH_CONTRACT, 3, &["contract.yaml:1:1: ", "mapping"]).file("contract.yaml", planted("{canary}\n")),
        contract_row("Y40", "version 2", ("version: 1", "version: 2"), 3, &["contract.yaml:2:10: ", "version"]),
        contract_row("Y30", "key twice", (session_name, "name: cart-salt"), 3, &["contract.yaml:19:5: ", "`cart-salt`", "line 7"]),
        contract_row(
            "Y30",
            "one file for two",
            (SESSIONS, "about: x\n    unit: admin"),
            3,
            &["contract.yaml:19:", "session-key", "admin-password"],
        ),
        contract_row("Y30", "unit of a key's name", (SESSIONS, "about: x\n    unit: cart-salt"), 3, &["contract.yaml:", "cart-salt"]),
        contract_row(
            "Y30",
            "consumer twice",
            ("consumers:\n", CONSUMER_TWICE),
            3,
            &["contract.yaml:24:5: ", "ExternalSecret `shop`", "line 23"],
        ),
        // A name may hold dots: each of the three has a patch file of its own nevertheless.
        contract_row("Y30", "names that could share a patch file", ("consumers:\n", PATCH_TWICE), 0, &["done: "]).after(|s| {
            ["shop_web", "other_web", "shop.web"].iter().all(|name| s.path(&format!("out/property-patches/{name}.patch.yaml")).exists())
        }),
        recipe("Y33", "alphanumeric 21", "{ alphanumeric: { length: 21 } }", &["125 bits", "128"]),
        recipe("Y33", "hex 15", "{ hex: { bytes: 15 } }", &["120 bits", "128"]),
        recipe("Y33", "base64url 15", "{ base64url: { bytes: 15 } }", &["120 bits", "128"]),
        recipe("Y32", "prefix not ASCII", "{ hex: { bytes: 32, prefix: ü } }", &["prefix"]),
        recipe("Y32", "prefix with a line feed", "{ hex: { bytes: 32, prefix: \"a\\nb\" } }", &["prefix"]),
        contract_row("Y35", "hash of itself", (SESSION_RECIPE, "{ bcrypt: { of: session-key, cost: 10 } }"), 3, &["contract.yaml:19:5: "]),
        contract_row(
            "Y35",
            "72 bytes",
            ("{ base64url: { bytes: 24 } }", "{ hex: { bytes: 36 } }"),
            3,
            &["contract.yaml:16:5: ", "71 bytes"],
        ),
        contract_row(
            "Y35",
            "provided",
            ("{ base64url: { bytes: 24 } }", "{ provided: {} }"),
            3,
            &["contract.yaml:16:5: ", "not generated"],
        ),
        recipe("Y05", "no recipe", "{}", &["exactly one field"]),
        recipe("Y05", "two recipes", "{ hex: { bytes: 16 }, provided: {} }", &["exactly one field"]),
        recipe("Y06", "broken pattern", "{ provided: { pattern: \"{canary}(\" } }", &["regular expression"]),
        recipe("Y06", "pattern too large", "{ provided: { pattern: \"((a{1000}){1000}){1000}\" } }", &["regular expression"]),
    ];
    for length in ["0", "-1", "1000000000", "99999999999999999999", "1e9", "0x20", "12.5", "040"] {
        for (recipe_of, most) in
            [(format!("{{ alphanumeric: {{ length: {length} }} }}"), "1024"), (format!("{{ hex: {{ bytes: {length} }} }}"), "512")]
        {
            rows.push(recipe("Y32", &recipe_of, &recipe_of, &["whole number from 1 to", most]));
        }
    }
    for cost in ["3", "32", "9", "17", "\"12.5\"", "\"10\"", "12.5"] {
        let says = ["contract.yaml:18:51: ", "from 10 to 16"];
        rows.push(contract_row("Y34", cost, ("cost: 10", &format!("cost: {cost}")), 3, &says));
    }
    let high = contract_row("Y34", "16", ("cost: 10", "cost: 16"), 0, &["warning: ", "admin-hash"]);
    rows.push(Row { args: ["contract", "--contract", "contract.yaml"].map(str::to_owned).into(), ..high });
    rows
}

const CONSUMER_TWICE: &str = "consumers:\n  - { namespace: shop, name: shop, target: a, data: [{ secretKey: a, key: cart-salt }] }\n  - namespace: shop\n    name: shop\n    target: b\n    data: [{ secretKey: b, key: cart-salt }]\n";
const PATCH_TWICE: &str = "consumers:
  - { namespace: shop, name: web, target: a, data: [{ secretKey: a, key: cart-salt }] }
  - { namespace: other, name: web, target: a, data: [{ secretKey: b, key: cart-salt }] }
  - { namespace: third, name: shop.web, target: a, data: [{ secretKey: c, key: cart-salt }] }
";

/// Y23 to Y25: names that Kubernetes does not take.
fn names_that_are_wrong() -> Vec<Row> {
    let long = |length| "n".repeat(length);
    let mut rows = Vec::new();
    for name in ["Session", "a_b", "a/b", "session-", "-session", "../x", "a..b", "\"\"", "ü", "\"a b\"", &long(254)] {
        let says = ["contract.yaml:19:11: ", "`keys[3].name` is not a DNS-1123 name", "lower-case"];
        rows.push(contract_row("Y23", name, ("name: session-key", &format!("name: {name}")), 3, &says));
        let says = ["contract.yaml:14:11: ", "`keys[1].unit` is not a DNS-1123 name"];
        rows.push(contract_row("Y23", name, ("unit: admin", &format!("unit: {name}")), 3, &says));
        let says = ["sealed.yaml:4:9: ", "`metadata.name` is not a DNS-1123 name"];
        rows.push(sealed_row("Y23", name, ("name: cart", &format!("name: {name}")), 3, &says));
    }
    for name in ["Shop", "a.b", "a_b", "\"\"", "-a", &long(64)] {
        let says = ["contract.yaml:4:12: ", "`namespace` is not a DNS-1123 label"];
        rows.push(contract_row("Y24", name, ("namespace: shop-secrets", &format!("namespace: {name}")), 3, &says));
        let says = ["sealed.yaml:5:14: ", "`metadata.namespace` is not a DNS-1123 label"];
        rows.push(sealed_row("Y24", name, ("namespace: shop", &format!("namespace: {name}")), 3, &says));
    }
    let says = ["sealed.yaml:4:3: ", "`metadata.namespace` is missing", "strict"];
    rows.push(sealed_row("Y24", "missing in strict scope", ("  namespace: shop\n", ""), 3, &says));
    for key in ["\"\"", "a/b", "..", ".", "..a", "\"a b\"", &long(254)] {
        let says = ["contract.yaml:29:22: ", "secretKey` is not a valid data key"];
        rows.push(contract_row("Y25", key, ("secretKey: session", &format!("secretKey: {key}")), 3, &says));
        rows.push(sealed_row("Y25", key, ("    value: ", &format!("    {key}: ")), 3, &["sealed.yaml:8:", "is not a valid data key"]));
    }
    rows
}

/// Y18 to Y22 and Y26 to Y30: SealedSecrets and key Secrets that are not what they should be.
fn manifests_that_are_wrong() -> Vec<Row> {
    let annotate = "metadata:\n  annotations: ";
    let wide = |name: &str| format!("sealedsecrets.bitnami.com/{name}-wide: \"true\"");
    let (namespace_wide, cluster_wide) = (wide("namespace"), wide("cluster"));
    let template = |of: &str| format!("  template:\n    metadata:\n      annotations: {{ {of} }}");
    let kinds = ["sealed.yaml:1:1: ", "SealedSecret", "bitnami.com/v1alpha1"];
    let list = "apiVersion: v1\nkind: List\nitems:\n  - apiVersion: bitnami.com/v1alpha1\n    kind: SealedSecret\n";
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: { name: cart, namespace: shop }\nstringData: { value: {canary} }\n";
    let whole = |id, what: &str, text: &str, says: &[&str]| {
        row(id, what, RECOVER, 3, says).file("sealed.yaml", planted(text)).file("key", good_key())
    };
    let key = |id, what: &str, text: &str, says: &[&str]| {
        row(id, what, RECOVER, 3, says).file("sealed.yaml", fixture_text(SEALED)).file("key", planted(text))
    };
    let contradict = ["sealed.yaml:1:1: ", "contradict"];
    let blob = "    value: Ag";
    vec![
        sealed_row("Y18", "apiVersion", ("bitnami.com/v1alpha1", "bitnami.com/v1"), 3, &kinds),
        sealed_row("Y18", "kind", ("kind: SealedSecret", "kind: SealedSecrets"), 3, &kinds),
        sealed_row("Y18", "no kind", ("kind: SealedSecret\n", ""), 3, &kinds),
        whole("Y18", "a List", list, &kinds),
        whole("Y18", "a Secret in the clear", secret, &kinds),
        key_row("Y18", "configmap.yaml", 3, &["key:1:1: ", "not a Secret of `v1`"]),
        key("Y18", "a Secret without data, unnamed", "a: {canary}\n", &["key:1:1: ", "not a Secret of `v1`"]),
        key_row("Y19", "secret-bad-base64.yaml", 3, &["key:", "`data[tls.key]` is not base64"]),
        key_row("Y19", "secret-tls-key-not-pem.yaml", 3, &["key:", "private key"]),
        key("Y19", "url-safe", &key_secret("data: { tls.crt: '-_-_', tls.key: '{canary}' }"), &["key:", "`data[tls.crt]` is not base64"]),
        key("Y19", "padding", &key_secret("data: { tls.crt: 'YQ', tls.key: '{canary}' }"), &["key:", "`data[tls.crt]` is not base64"]),
        key_secret_row("Y20", "tls.key", ("kind: Secret", "kind: Secret\nstringData: { tls.key: {canary} }"), 3, &["key:", "tls.key"]),
        sealed_row(
            "Y21",
            "no encryptedData",
            ("  encryptedData:\n    value: ", "  other:\n    value: "),
            3,
            &["sealed.yaml:", "spec.encryptedData"],
        ),
        whole("Y21", "empty", &empty_data("{}"), &["sealed.yaml:4:24: ", "`spec.encryptedData` is empty"]),
        whole("Y21", "null", &empty_data("~"), &["sealed.yaml:4:24: ", "spec.encryptedData"]),
        key("Y21", "no data", &key_secret("immutable: true"), &["key:1:1: ", "`data` is missing"]),
        sealed_row("Y26", "both", ("metadata:", &format!("{annotate}{{ {namespace_wide}, {cluster_wide} }}")), 4, &contradict),
        sealed_row("Y26", "wider template", ("  template:\n    metadata:", &template(&cluster_wide)), 4, &contradict),
        sealed_row("Y26", "other template", ("  template:\n    metadata:", &template(&cluster_wide)), 4, &contradict).edit(
            "sealed.yaml",
            "metadata:",
            &format!("{annotate}{{ {namespace_wide} }}"),
        ),
        unit_row("Y26", "unit", 4, &["contradict"]).edit(
            UNIT,
            "  annotations:",
            &format!("  annotations:\n    {namespace_wide}\n    {cluster_wide}"),
        ),
        sealed_row(
            "Y27",
            "a word",
            (blob, "    plain: {canary}\n    value: Ag"),
            4,
            &["sealed.yaml:8:12: ", "`spec.encryptedData.plain`", "`AgA`"],
        ),
        sealed_row(
            "Y27",
            "base64",
            (blob, &format!("    plain: {}\n    value: Ag", BASE64_STANDARD.encode(CANARY))),
            4,
            &["sealed.yaml:8:12: "],
        ),
        sealed_row("Y27", "a block", (blob, "    plain: |\n      {canary}\n      {canary}\n    value: Ag"), 4, &["sealed.yaml:9:7: "]),
        sealed_row("Y27", "short", (blob, "    plain: A\n    value: Ag"), 4, &["sealed.yaml:8:12: "]),
        sealed_row("Y27", "empty", (blob, "    plain: ''\n    value: Ag"), 4, &["sealed.yaml:8:12: "]),
        unit_row("Y27", "unit", 4, &["spec.encryptedData.plain"]).edit(UNIT, "    value: ", "    plain: {canary}\n    value: "),
        sealed_row(
            "Y28",
            "spec.data",
            ("  encryptedData:", "  data: {canary}\n  encryptedData:"),
            3,
            &["sealed.yaml:7:9: ", "`spec.data`"],
        ),
        sealed_row("Y28", "only spec.data", ("  encryptedData:\n    value:", "  data:"), 3, &["sealed.yaml:7:9: ", "`spec.data`"]),
        sealed_row(
            "Y04",
            "spec.template.dtaa",
            ("    type:", "    dtaa: {canary}\n    type:"),
            3,
            &["sealed.yaml:13:11: ", "did you mean `data`?"],
        ),
        whole("Y30", "the same twice", &format!("{0}---\n{0}", fixture_text(SEALED)), &["sealed.yaml:15:1: ", "`cart`", "line 1"]),
    ]
}

/// A key Secret with this instead of its data.
fn key_secret(data: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{ name: k }}\ntype: kubernetes.io/tls\n{data}\n")
}

fn empty_data(data: &str) -> String {
    format!(
        "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {{ name: a, namespace: b }}\nspec: {{ encryptedData: {data} }}\n"
    )
}

/// Y29 and Y30: so much that a reader could fall over it.
fn too_much() -> Vec<Row> {
    let given = ["bootstrap", "--provide", "hf-token=given"];
    let with_key = |row: Row| row.file("key", good_key());
    let sealed =
        |what: &str, code, says: &[&str], bytes: Vec<u8>| with_key(row("Y29", what, RECOVER, code, says)).file("sealed.yaml", bytes);
    let object = |size: usize| {
        fixture_text(SEALED).replace("    value: Ag", &format!("    large: AgAA{}\n    value: Ag", "A".repeat(size))).into_bytes()
    };
    let many = |count: usize, last: &str| -> Vec<u8> {
        let one = |name: &str| {
            format!(
                "---\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {{name: {name}, namespace: ns}}\nspec: {{encryptedData: {{v: AgAA}}}}\n"
            )
        };
        let all: String = (0..count).map(|i| one(&format!("a{i}"))).collect();
        (all + &one(last)).into_bytes()
    };
    vec![
        row("Y29", "value", &given, 3, &["`hf-token`", "512 KiB"]).file("given", [b"hf_", CANARY.repeat(30_000).as_bytes()].concat()),
        row("Y29", "value on standard input", &["bootstrap", "--provide", "hf-token=-"], 3, &["512 KiB"])
            .stdin(&[b"hf_", CANARY.repeat(30_000).as_bytes()].concat()),
        // proof.md says 1 MiB; what may lie in etcd, and may have to be recovered, is half as much more.
        sealed("an object of 1.6 MiB", 3, &["sealed.yaml:", "1.5 MiB"], object(1_700_000)),
        sealed("a file of 17 MiB", 3, &["sealed.yaml: ", "16 MiB"], object(17 << 20)),
        row("Y29", "contract of 17 MiB", &WITH_CONTRACT, 3, &["contract.yaml: ", "16 MiB"]).file("contract.yaml", vec![b'#'; 17 << 20]),
        with_key(
            row("Y30", "100,000 documents, the last one again", RECOVER, 3, &["sealed.yaml:", "`a7`"])
                .file("sealed.yaml", many(100_000, "a7")),
        ),
    ]
}

/// Y36 to Y40: what is sealed already, and what somebody did to it.
fn states_that_are_wrong() -> Vec<Row> {
    let small = |id, what: &str, code, says: &[&str]| row(id, what, &WITH_CONTRACT, code, says).start(Start::Small);
    let dropped = |what: &str| small("Y36", what, 4, &["out/secret-source/cart-salt.sealed.yaml:", "`cart-salt`"]);
    let entry = "  - name: cart-salt\n    about: encrypts the carts\n    recipe: { hex: { bytes: 16 } }\n    write-once: true\n";
    let removed =
        || dropped("removed").edit("contract.yaml", entry, "").edit("contract.yaml", "      - { secretKey: salt, key: cart-salt }\n", "");
    let with_args = |row: Row, args: &[&str]| Row { args: args.iter().map(|&arg| arg.to_owned()).collect(), ..row };
    let mut rows = vec![
        removed(),
        with_args(removed(), &["plan", "--contract", "contract.yaml"]).named("removed, plan"),
        with_args(removed(), &["bootstrap", "--dry-run", "--contract", "contract.yaml"]).named("removed, dry run"),
        with_args(dropped("another contract"), &["bootstrap"]),
        dropped("renamed").edit("contract.yaml", "name: cart-salt", "name: cart-pepper").edit(
            "contract.yaml",
            "key: cart-salt",
            "key: cart-pepper",
        ),
        dropped("no longer write-once").edit("contract.yaml", "    write-once: true\n", ""),
        dropped("write-once: false").edit("contract.yaml", "write-once: true", "write-once: false"),
        dropped("other recipe").edit("contract.yaml", "hex: { bytes: 16 }", "hex: { bytes: 32 }"),
        dropped("other kind of recipe").edit("contract.yaml", "hex: { bytes: 16 }", "base64url: { bytes: 32 }"),
        dropped("now provided").edit("contract.yaml", "hex: { bytes: 16 }", "provided: { pattern: x }"),
        dropped("other unit").edit("contract.yaml", "    write-once: true\n", "    write-once: true\n    unit: salt\n"),
        dropped("other namespace").edit("contract.yaml", "namespace: shop-secrets", "namespace: elsewhere"),
        small("Y37", "half of a pair", 4, &["out/secret-source/admin.sealed.yaml: ", "`admin-password`"])
            .with(|s| s.write(ADMIN, s.read(ADMIN).split("---\n").nth(1).unwrap().as_bytes())),
        small("Y37", "the other half", 4, &["out/secret-source/admin.sealed.yaml: ", "`admin-hash`"])
            .with(|s| s.write(ADMIN, s.read(ADMIN).split("---\n").next().unwrap().as_bytes())),
        small("Y30", "sealed in two files", 4, &["session-key", "admin.sealed.yaml"])
            .with(|s| s.write(ADMIN, format!("{}---\n{}", s.read(ADMIN), s.read("out/secret-source/session-key.sealed.yaml")).as_bytes())),
        with_args(small("Y38", "missing", 1, &["out/secret-source/kustomization.yaml:8:1: "]), &["verify", "--contract", "contract.yaml"])
            .edit("out/secret-source/kustomization.yaml", "- cart-salt.sealed.yaml\n", "")
            .finds(&["kustomization-differs out/secret-source/kustomization.yaml:8:1"]),
        with_args(small("Y38", "twice", 1, &["out/secret-source/kustomization.yaml:"]), &["verify", "--contract", "contract.yaml"])
            .edit("out/secret-source/kustomization.yaml", "- cart-salt.sealed.yaml\n", "- cart-salt.sealed.yaml\n- cart-salt.sealed.yaml\n")
            .finds(&["kustomization-differs out/secret-source/kustomization.yaml:9:1"]),
    ];
    let forgotten: [(&str, &[&str]); 5] = [
        ("all remember", &[]),
        ("INSTALL.md remembers", &["out/secret-source/kustomization.yaml"]),
        ("the kustomization remembers", &["out/INSTALL.md"]),
        ("with every derived file but one", &["out/secret-source/rbac.yaml", "out/secret-source/namespace.yaml", "out/kustomization.yaml"]),
        ("with the operator's copy", &["secrets/admin-password"]),
    ];
    for (what, gone) in forgotten {
        let says = ["cart-salt", "restore it", "--destroys-data"];
        rows.push(small("Y37", what, 4, &says).with(move |s| {
            s.remove("out/secret-source/cart-salt.sealed.yaml");
            gone.iter().for_each(|path| s.remove(path));
        }));
    }
    rows.extend(escrows_that_are_damaged());
    rows
}

const ADMIN: &str = "out/secret-source/admin.sealed.yaml";
const ESCROW: &str = "keys/sealing.key.age";

/// Y40, for the one state file that is not text: the escrow.
fn escrows_that_are_damaged() -> Vec<Row> {
    type Damage = (&'static str, fn(Vec<u8>) -> Vec<u8>);
    let damages: [Damage; 6] = [
        ("a bit of its header flipped", |bytes| changed(bytes, 100)),
        ("a bit of its payload flipped", |bytes| {
            let at = bytes.len() / 2;
            changed(bytes, at)
        }),
        ("its last bit flipped", |bytes| {
            let at = bytes.len() - 45;
            changed(bytes, at)
        }),
        ("truncated", |mut bytes| {
            bytes.truncate(bytes.len() / 2);
            bytes
        }),
        ("not an age file", |_| b"hello\n".to_vec()),
        ("of a later version", |_| b"age-encryption.org/v2\n-> X25519 abc\n---\n".to_vec()),
    ];
    let mut rows = Vec::new();
    for (what, damage) in damages {
        for args in [&["unseal"][..], &["key-secret"]] {
            let row = row("Y40", format!("escrow: {what}"), args, 6, &["keys/sealing.key.age: "]).start(Start::Bootstrapped);
            rows.push(row.with(move |s| s.write(ESCROW, &damage(std::fs::read(s.path(ESCROW)).unwrap()))));
        }
    }
    rows
}

/// Another letter of base64 in this place, or near it.
fn changed(mut bytes: Vec<u8>, near: usize) -> Vec<u8> {
    let at = (near..bytes.len()).find(|at| bytes[*at].is_ascii_alphanumeric()).unwrap();
    bytes[at] = if bytes[at] == b'B' { b'C' } else { b'B' };
    bytes
}

#[test]
fn y_yaml_and_contract() {
    let mut rows = yaml_that_is_not_taken();
    rows.extend(contracts_that_are_wrong());
    rows.extend(names_that_are_wrong());
    rows.extend(manifests_that_are_wrong());
    rows.extend(too_much());
    rows.extend(states_that_are_wrong());
    run_all(rows);
}

// ---- K. Certificates, keys, blobs ----

fn certificate(sandbox: &Sandbox, file: &str) {
    sandbox.write("keys/sealing.crt", &std::fs::read(fixture(&format!("fixtures/certificates/{file}"))).unwrap());
}

/// `bootstrap` with this certificate; nothing may come into being.
fn certificate_row(id: &'static str, file: &'static str, code: i32, says: &[&str]) -> Row {
    row(id, file, &["bootstrap"], code, &[&["keys/sealing.crt:"], says].concat()).with(move |s| certificate(s, file))
}

/// `unseal` of a good file with this recovery key.
fn key_row(id: &'static str, file: &'static str, code: i32, says: &[&str]) -> Row {
    row(id, file, RECOVER, code, &[&["key:"], says].concat())
        .file("sealed.yaml", fixture_text(SEALED))
        .file("key", std::fs::read(fixture(&format!("fixtures/private-keys/{file}"))).unwrap())
}

/// K01 to K28: certificates. The place is that of the PEM block, or of the character; DER has no lines.
fn certificates() -> Vec<Row> {
    let exposed = "exposed";
    let mut rows = vec![
        certificate_row("K01", "not-pem.crt", 3, &["not PEM", "BEGIN CERTIFICATE"]),
        certificate_row("K01", "public-key.crt", 3, &["`PUBLIC KEY`"]),
        certificate_row("K01", "csr.crt", 3, &["`CERTIFICATE REQUEST`"]),
        certificate_row("K02", "private-key.crt", 4, &["private key", exposed]),
        certificate_row("K02", "rsa-private-key.crt", 4, &["private key", exposed]),
        certificate_row("K03", "certificate-and-key.crt", 4, &["private key", exposed]),
        certificate_row("K04", "two-certificates.crt", 3, &["2 certificates where one is expected"]),
        certificate_row("K06", "corrupt-base64.crt", 3, &["keys/sealing.crt:11:21: ", "base64"]),
        certificate_row("K06", "truncated.crt", 3, &["keys/sealing.crt:1:1: ", "END"]),
        certificate_row("K07", "der.crt", 3, &["DER", "openssl x509 -inform der"]),
        certificate_row("K07", "truncated-der.crt", 3, &["X.509"]),
        certificate_row("K07", "trailing-der.crt", 3, &["X.509"]),
        certificate_row("K09", "x509-v1.crt", 3, &["version 3"]),
        certificate_row("K09", "bad-version.crt", 3, &["version 3"]),
        certificate_row("K09", "negative-serial.crt", 3, &["serial number is negative"]),
        certificate_row("K11", "rsa-pss.crt", 3, &["RSA required", "RSA-PSS"]),
        certificate_row("K12", "rsa-512.crt", 4, &["512 bits"]),
        certificate_row("K12", "rsa-1024.crt", 4, &["1024 bits"]),
        certificate_row("K12", "rsa-2047.crt", 4, &["2047 bits"]),
        certificate_row("K13", "good-2048.crt", 4, &["2048 bits", "--allow-rsa-bits 2048"]),
        certificate_row("K13", "good-3072.crt", 4, &["3072 bits", "--allow-rsa-bits 3072"]),
        certificate_row("K14", "rsa-8200.crt", 3, &["8200 bits", "8192"]),
        certificate_row("K14", "rsa-16384.crt", 3, &["16384 bits", "8192"]),
        certificate_row("K16", "n-even.crt", 4, &["even"]),
        certificate_row("K16", "n-prime.crt", 4, &["prime"]),
        certificate_row("K16", "n-square.crt", 4, &["modulus"]),
        certificate_row("K16", "n-zero.crt", 4, &["0 bits"]),
        certificate_row("K16", "n-small-factor.crt", 4, &["divided by 3"]),
        certificate_row("K16", "n-small-factor-7919.crt", 4, &["divided by 7919"]),
        certificate_row("K17", "fermat-close.crt", 4, &["too close"]),
        certificate_row("K17", "fermat-near.crt", 4, &["too close"]),
        certificate_row("K17", "roca.crt", 4, &["ROCA"]),
        certificate_row("K23", "expired.crt", 4, &["2020-01-01", "date"]),
        certificate_row("K24", "not-yet-valid.crt", 4, &["2125-01-01", "date"]),
        certificate_row("K28", "self-signature-wrong.crt", 4, &["signature is wrong"]),
    ];
    for file in ["ec-p256.crt", "ed25519.crt", "dsa-2048.crt", "ml-dsa.crt"] {
        rows.push(certificate_row("K10", file, 3, &["RSA required"]));
    }
    for (file, says) in [
        ("e-1.crt", "65537"),
        ("e-2.crt", "65537"),
        ("e-3.crt", "65537"),
        ("e-4.crt", "65537"),
        ("e-65535.crt", "65537"),
        ("e-65538.crt", "even"),
        ("e-2pow33plus1.crt", "2^32"),
        ("e-larger-than-n.crt", "modulus"),
    ] {
        rows.push(certificate_row("K15", file, 4, &["exponent", says]));
    }
    // The size is judged first; allowed, the shape of the modulus is.
    let roca = row("K17", "roca-2048.crt, allowed", &["bootstrap", "--allow-rsa-bits", "2048"], 4, &["ROCA"]);
    rows.push(roca.with(|s| certificate(s, "roca-2048.crt")));
    rows.extend(certificates_that_do());
    rows
}

/// Those that are taken, and the other commands.
fn certificates_that_do() -> Vec<Row> {
    let allowed = |bits: &'static str, file: &'static str| {
        let row = row("K13", format!("{file}, allowed {bits}"), &["bootstrap", "--allow-rsa-bits", bits], 0, &["done: "]);
        row.with(move |s| certificate(s, file)).after(|s| s.path("out/secret-source/vllm-api-key.sealed.yaml").exists())
    };
    let too_few = row("K13", "2048, 3072 allowed", &["bootstrap", "--allow-rsa-bits", "3072"], 4, &["2048 bits"]);
    let plan = |id, file: &'static str| row(id, file, &["plan"], 0, &["to do: "]).with(move |s| certificate(s, file));
    let unusable = |id, file: &'static str, says: &str| {
        let row = row(id, format!("{file}, verify"), &["verify"], 1, &["error[certificate-unusable]: keys/sealing.crt: ", says]);
        row.start(Start::Bootstrapped).with(move |s| certificate(s, file)).finds(&["certificate-unusable keys/sealing.crt"])
    };
    let recover = |args: &[&str]| {
        let row = row("K23", format!("{args:?} with an expired certificate"), args, 0, &["apiVersion"]).start(Start::Bootstrapped);
        row.with(|s| certificate(s, "expired.crt"))
    };
    vec![
        allowed("2048", "good-2048.crt"),
        allowed("3072", "good-3072.crt"),
        allowed("2048", "good.crt"),
        too_few.with(|s| certificate(s, "good-2048.crt")),
        plan("K27", "generalized-time.crt"),
        plan("F09", "bom.crt"),
        plan("K01", "crlf.crt"),
        plan("K01", "text-before.crt"),
        unusable("K12", "rsa-1024.crt", "1024 bits"),
        unusable("K02", "private-key.crt", "exposed"),
        unusable("K23", "expired.crt", "2020-01-01"),
        recover(&["unseal"]),
        recover(&["key-secret"]),
        row("K20", "escrow of another key", &["key-secret"], 4, &[ESCROW, "the certificate is sha256:", "the escrow holds sha256:"])
            .with(|s| certificate(s, "good-3072.crt")),
        row("K29", "sealed to another certificate", &["bootstrap", "--allow-rsa-bits", "3072"], 4, &["is sha256:", "sealed to sha256:"])
            .start(Start::Bootstrapped)
            .with(|s| certificate(s, "good-3072.crt")),
    ]
}

/// K18 to K21, K34: private keys, alone and in key Secrets.
fn private_keys() -> Vec<Row> {
    let unlabelled =
        ("    sealedsecrets.bitnami.com/sealed-secrets-key: active", "    sealedsecrets.bitnami.com/sealed-secrets-key: {canary}");
    vec![
        key_row("K18", "p-equals-q.pem", 4, &[]),
        key_row("K18", "p-q-close.pem", 4, &["too close"]),
        key_row("K18", "p-q-fermat.pem", 4, &["too close"]),
        key_row("K18", "d-small.pem", 4, &[]),
        key_row("K18", "pq-not-n.pem", 4, &[]),
        key_row("K18", "bad-qinv.pem", 4, &[]),
        key_row("K18", "bad-dp.pem", 4, &[]),
        key_row("K19", "multi-prime.pem", 3, &["two primes"]),
        key_row("K20", "secret-crt-other-key.yaml", 4, &["the key is sha256:", "the certificate sha256:"]),
        key_row("K21", "encrypted-pkcs8.pem", 6, &["passphrase", "openssl pkcs8"]),
        key_row("K10", "ec.pem", 3, &["RSA"]),
        key_row("K10", "ed25519.pem", 3, &["RSA"]),
        key_row("K01", "certificate.pem", 3, &["no private key"]),
        key_row("K34", "secret-without-tls-key.yaml", 3, &["`data.tls.key` is missing"]),
        key_row("K34", "secret-without-tls-crt.yaml", 3, &["`data.tls.crt` is missing"]),
        key_row("K34", "secret-key-compromised.yaml", 3, &["sealed-secrets-key", "active"]),
        key_row("K34", "secret-wrong-type.yaml", 3, &["`type`", "kubernetes.io/tls"]),
        key_row("K34", "list-empty.yaml", 3, &["no items"]),
        key_secret_row("K34", "another label", unlabelled, 3, &["sealed-secrets-key", "active"]),
        row("K02", "a private key instead of an identity", &["unseal", "--identity", "key"], 3, &["key:1:1: ", "identity"])
            .start(Start::Bootstrapped)
            .file("key", good_key()),
        row("K02", "an identity instead of a recipient", &["keygen"], 4, &["keys/recipients.txt:2:1: ", "identity"])
            .start(Start::Empty)
            .file("keys/recipients.txt", planted("# us\nAGE-SECRET-KEY-1{canary}\n")),
        row("K40", "an identity that does not fit", &["unseal", "--identity", "id"], 6, &[ESCROW, "--identity"])
            .start(Start::Bootstrapped)
            .with(|s| s.write_secret("id", seal_secrets::pipeline::escrow::new_identity().0.as_bytes())),
    ]
}

/// K33 and L21: what git would pick up. Tracked or committed files are not looked for: git is never run.
fn repositories() -> Vec<Row> {
    let exposed = |row: Row| row.with(|s| std::fs::create_dir(s.path(".git")).unwrap());
    let secrets = || exposed(row("K33", "operator's copy", &["bootstrap"], 4, &["secrets/dex-admin-password: ", "does not ignore it"]));
    let keygen = |id, what: &str| row(id, what, &["keygen"], 4, &["keys/operator.agekey: ", "does not ignore it"]).start(Start::Empty);
    vec![
        secrets().file("secrets/.gitignore", "# nothing\n"),
        secrets().file("secrets/.gitignore", "*\n!dex-admin-password\n"),
        exposed(keygen("K33", "identity")).file("keys/.gitignore", "*.tmp\n"),
        keygen("L21", "a worktree whose repository is gone").file("keys/.gitignore", "*.tmp\n").file(".git", "gitdir: /no/such\n"),
        exposed(keygen("L21", "GIT_DIR elsewhere"))
            .file("keys/.gitignore", "*.tmp\n")
            .through(&["env", "GIT_DIR=/no/such"], Needs::Nothing),
    ]
}

/// K36 to K40: blobs that do not open. One text for all: anything else would be an oracle.
fn blobs() -> Vec<Row> {
    const SAYS: [&str; 4] =
        ["sealed.yaml:8:12: ", "a sealed value does not open", "check namespace, name and scope", "tried sha256:b900133b"];
    let blob_row = |id, what: String, change: Box<dyn Fn(Vec<u8>) -> String + Send + Sync>| {
        row(id, what, RECOVER, 6, &SAYS).file("sealed.yaml", fixture_text(SEALED)).file("key", good_key()).with(move |s| {
            let text = s.read("sealed.yaml");
            let old = text.lines().find_map(|line| line.strip_prefix("    value: ")).unwrap();
            s.write("sealed.yaml", text.replace(old, &change(BASE64_STANDARD.decode(old).unwrap())).as_bytes());
        })
    };
    let bytes = |id, what: &str, change: fn(&mut Vec<u8>)| {
        blob_row(
            id,
            what.to_owned(),
            Box::new(move |mut blob| {
                change(&mut blob);
                BASE64_STANDARD.encode(blob)
            }),
        )
    };
    let mut rows = vec![
        bytes("K36", "length only", |blob| blob.truncate(2)),
        bytes("K36", "cut in the RSA part", |blob| blob.truncate(300)),
        bytes("K36", "RSA part only", |blob| blob.truncate(514)),
        bytes("K36", "tail of 15", |blob| blob.truncate(514 + 15)),
        bytes("K36", "tail of 16", |blob| blob.truncate(514 + 16)),
        bytes("K36", "one byte less", |blob| blob.truncate(blob.len() - 1)),
        bytes("K36", "one byte more", |blob| blob.push(0)),
        bytes("K36", "length of one less", |blob| blob[..2].copy_from_slice(&511u16.to_be_bytes())),
        bytes("K36", "length of one more", |blob| blob[..2].copy_from_slice(&513u16.to_be_bytes())),
        bytes("K36", "length of another modulus", |blob| blob[..2].copy_from_slice(&256u16.to_be_bytes())),
        bytes("K36", "length longer than the rest", |blob| blob[..2].copy_from_slice(&1024u16.to_be_bytes())),
        bytes("K36", "RSA part all zero", |blob| blob[2..514].fill(0)),
        bytes("K36", "RSA part above the modulus", |blob| blob[2..514].fill(0xff)),
        blob_row("K36", "url-safe".to_owned(), Box::new(|blob| BASE64_STANDARD.encode(blob).replace('+', "-").replace('/', "_"))),
        blob_row("K36", "without padding".to_owned(), Box::new(|blob| BASE64_STANDARD_NO_PAD.encode(&blob[..blob.len() - 1]))),
        blob_row("K36", "a space after it".to_owned(), Box::new(|blob| format!("\"{} \"", BASE64_STANDARD.encode(blob)))),
        sealed_row("K38", "other name", ("  name: cart", "  name: card"), 6, &SAYS),
        sealed_row("K38", "other namespace", ("  namespace: shop", "  namespace: shot"), 6, &SAYS),
        row("K39", "16 bytes", RECOVER, 6, &SAYS)
            .file("sealed.yaml", fixture_text("fixtures/sealed/session-key-16.yaml"))
            .file("key", good_key()),
        row("K39", "24 bytes", RECOVER, 6, &SAYS)
            .file("sealed.yaml", fixture_text("fixtures/sealed/session-key-24.yaml"))
            .file("key", good_key()),
        row("K40", "other key", RECOVER, 6, &["sealed.yaml:8:12: ", "does not open", "tried sha256:"])
            .file("sealed.yaml", fixture_text(SEALED))
            .file("key", fixture_text("fixtures/private-keys/other.pem")),
        row("K40", "the escrow's key", &["unseal", "-f", "sealed.yaml"], 6, &SAYS)
            .file("sealed.yaml", fixture_text(SEALED).replace("name: cart", "name: card")),
    ];
    for name in ["namespace-wide", "cluster-wide"] {
        let annotation = format!("metadata:\n  annotations: {{ sealedsecrets.bitnami.com/{name}: \"true\" }}");
        rows.push(sealed_row("K38", name, ("metadata:", &annotation), 6, &["sealed.yaml:9:12: ", SAYS[1], SAYS[2]]));
    }
    // Every 61st bit: each region of the blob is met, the two length bytes included wherever that keeps the prefix.
    for bit in (12..8 * (2 + 512 + CANARY.len() + 16)).step_by(61) {
        rows.push(blob_row(
            "K37",
            format!("bit {bit}"),
            Box::new(move |mut blob| {
                blob[bit / 8] ^= 1 << (bit % 8);
                BASE64_STANDARD.encode(blob)
            }),
        ));
    }
    rows
}

#[test]
fn k_certificates_keys_blobs() {
    let mut rows = certificates();
    rows.extend(private_keys());
    rows.extend(repositories());
    rows.extend(blobs());
    run_all(rows);
}

// ---- L. Command line ----

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
        row("L16", "a name with a line feed", &["contract", "--contract", "a\nerror: b\u{1b}[2J\r"], 3, &["\\u{a}", "\\u{1b}"]),
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
        typed(&["keygen", "--recipient", "AGE-SECRET-KEY-1{canary}"], 2, &["--recipient", "identity is a secret"]).start(Start::Empty),
        typed(&["escrow", "add-recipient", "AGE-SECRET-KEY-1{canary}", "--yes"], 2, &["RECIPIENT", "identity is a secret"]),
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
        row("L13", "recovery key of prose", RECOVER, 3, &["key:1:1: "]).file("sealed.yaml", fixture_text(SEALED)).file("key", CANARY),
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
        again("no such path", &["re-encrypt", "no/such", "--yes"], 3, &["no/such: no such file or folder"]),
        again("no such path", &["status", "no/such"], 3, &["no/such: no such file or folder"]),
        again("a folder that is a link", &["re-encrypt", "link", "--yes"], 4, &["link: ", "links are not followed"])
            .with(|s| std::os::unix::fs::symlink("out", s.path("link")).unwrap()),
        again("a pipe", &["re-encrypt", "pipe", "--yes"], 1, &["pipe: not a regular file"])
            .with(|s| assert!(Command::new("mkfifo").arg(s.path("pipe")).status().unwrap().success())),
        again("not YAML", &["re-encrypt", "x.yaml", "--yes"], 1, &["x.yaml:1:1: ", "could not be opened"])
            .file("x.yaml", planted("'SealedSecret {canary}\n")),
        again("UTF-16", &["re-encrypt", "x.yaml", "--yes"], 1, &["x.yaml: UTF-16", "nothing done"]).file("x.yaml", b"\xff\xfea\0".to_vec()),
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
        again("plaintext", &["re-encrypt", "x.yaml", "--yes"], 1, &[": a sealed value does not open"]).file("x.yaml", planted(plain)),
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
        row("L11", "working directory deleted", &["keygen"], 5, &["keys: "])
            .start(Start::Empty)
            .shell("mkdir gone && cd gone && rmdir ../gone && exec \"$@\"", Needs::Nothing),
        row("L11", "working directory deleted", &["bootstrap", "--keys", "../keys"], 5, &["the folder that this was started in"])
            .shell("mkdir gone && cd gone && rmdir ../gone && exec \"$@\"", Needs::Nothing),
        row("L11", "TMPDIR and HOME are bad", &["bootstrap"], 0, &["done: "])
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
            "runbook-differs out/INSTALL.md:54:1",
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
        row("K33", "a memory that is damaged", &["bootstrap"], 3, &["keys/write-once.txt:2:1: not a whole line"])
            .file("keys/write-once.txt", planted("# x\n{canary}\n")),
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

// Rows of proof.md §2 that no command of today can meet:
//   F29, L17, L18  a contract names no output path; `rotate` and `--force` do not exist
//   Y16, Y17, Y22, Y31, Y39, C  no such row, or it needs a cluster
//   Y35 with a NUL  a hash's source is always generated, and never holds one
//   K26            needs a certificate that ends soon: `verify.rs` does it with a clock of its own
//   K30 to K32     pins and URLs come with `fetch-cert`; K29 is met as far as `out/` says what it is sealed to
//   K33 tracked, in history  git is never run, and its index never read
//   K35            backups do not exist; Y40 damages the escrow instead
//   L09            no passphrase is ever set; `escrow.rs` types wrong ones
//   L15            TERM and HUP end a run where KILL does: `crash.rs` stops one at every file operation
//   L22            two runs at once are F26: the test holds the lock, so that nothing depends on chance
