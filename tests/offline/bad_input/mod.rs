//! Bad input. Each row is one run; one runner checks all of them with the same seven asserts, so that a row is only an input and its
//! result. The expectations were written before the product.
//!
//! A row's id is a letter for its group, F(iles), Y(AML), K(eys) or L (command line), and a number for the kind of input: rows of
//! one kind share an id. C stands for clusters: those are in `api_server.rs`. The asserts that hold for every row are
//!
//! - U1: nothing is changed, unless the row says how;
//! - U2: no secret appears in a stream or in a written file;
//! - U3: a failure prints one `error:` line and one `help:` line with the row's texts, and nothing on standard output;
//! - U4: the exit code;
//! - U5: it takes little time and memory;
//! - U6: neither a temporary file nor a process is left;
//! - U7: no panic, and no control character in a stream.

mod command_line;
mod contract_v2;
mod files;
mod keys;
mod yaml;

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process};

use crate::common::{
    BINARY, Ran, Sandbox, USUAL, at_the_prompt, fixture, fixture_text, leave_out, needs, path, program, ran_as, strace_works, test, tool,
};
use crate::leaks::{forms, holds};

/// The secret, wherever a row has one: as a value, in a manifest, typed on the command line by mistake. No stream and no
/// written file may show it. `{canary}` in a row is replaced by it. It is sealed in `fixtures/sealed/` too.
const CANARY: &str = "Vt8QmZ4xKp2WnR6yHd0sLc9B";

/// U5 asks for 2 seconds of a release build. A debug build gets five times that, in processor time, so that no row fails on a busy
/// machine. A run that needs more is killed.
const MOST_SECONDS: u64 = 10;

/// U5 asks for 256 MiB of memory. Resident memory cannot be limited (`RLIMIT_RSS` is not enforced) nor measured
/// without `unsafe` or /usr/bin/time; address space can be limited, and needs room for the threads' stacks and malloc's arenas.
const MOST_ADDRESS_SPACE: u64 = 1_500_000_000;

/// A run that hangs is killed after this time. It then shows as a wrong exit code, not as a hanging test.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a run finds.
#[derive(Clone, Copy)]
enum Start {
    /// Nothing.
    Empty,
    /// `keys/` only: the run must not create `out/`.
    Keys,
    /// The same, and settings that name the platform's contract without its hash.
    Hashless,
    /// `keys/` and the `out/` of the platform's contract.
    Bootstrapped,
    /// `keys/`, `contract.yaml` (fixtures/contracts/small.yaml), and its `out/`.
    Small,
}

/// What a row needs: without it, the row is skipped.
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

/// One bad input, and its expected result.
struct Row {
    /// Its group and the kind of input.
    id: &'static str,
    what: String,
    start: Start,
    /// Whether the keys are as `keygen` makes them, and nothing is allowed.
    usual: bool,
    prepare: Vec<Prepare>,
    /// A command that runs the binary: another user, a terminal, a full disk.
    through: Vec<String>,
    needs: Needs,
    args: Vec<String>,
    stdin: Vec<u8>,
    /// The test locks this folder during the run.
    locked: Option<&'static str>,
    code: i32,
    /// Each must appear in stderr; if nothing failed, in either stream.
    says: Vec<String>,
    /// What `verify` finds besides the usual.
    finds: Option<Vec<String>>,
    /// For a run that may change files: what must hold afterwards. Without it nothing may change.
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
        usual: false,
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

    /// Runs as a user who owns nothing here, but may look into the sandbox.
    fn by_nobody(self) -> Row {
        let open = |sandbox: &Sandbox| {
            sandbox.chmod("", 0o755);
            std::fs::set_permissions(sandbox.state_home(), Permissions::from_mode(0o755)).unwrap();
            std::fs::set_permissions(sandbox.state().join("certificates"), Permissions::from_mode(0o644)).unwrap();
        };
        self.with(open).through(&NOBODY, Needs::Nobody)
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

fn sandbox(row: &Row) -> Sandbox {
    let sandbox = match row.start {
        Start::Empty => Sandbox::empty(),
        Start::Keys if row.usual => Sandbox::with_usual_keys(),
        Start::Keys => Sandbox::with_keys(),
        Start::Hashless => Sandbox::with_keys().without_hash(),
        Start::Bootstrapped if row.usual => Sandbox::usual(),
        Start::Bootstrapped => Sandbox::bootstrapped(),
        Start::Small => Sandbox::small(),
    };
    // An old kernel has no immutable files in memory.
    if matches!(row.needs, Needs::Immutable) { sandbox.copy_to(Sandbox::on_the_disk()) } else { sandbox }
}

/// The row's run.
fn ran(row: &Row, sandbox: &Sandbox) -> Ran {
    let mut stdin = tempfile::tempfile().unwrap();
    stdin.write_all(&row.stdin).unwrap();
    stdin.rewind().unwrap();
    // By its path: a row may have another PATH.
    let line: Vec<&str> = row.through.iter().map(String::as_str).chain([BINARY]).collect();
    let mut command = Command::new(program(line[0]));
    command.args(&line[1..]).args(sandbox.allowing(&row.args)).current_dir(sandbox.path("")).env_clear().env("PATH", path());
    command.env("XDG_STATE_HOME", sandbox.state_home());
    // L13 holds for every row.
    command.env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace");
    command.stdin(if row.stdin.is_empty() { Stdio::null() } else { stdin.into() }).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut ran = finish_within(command);
    if row.on_a_terminal() {
        ran.stderr = std::mem::take(&mut ran.stdout).replace("\r\n", "\n") + &ran.stderr;
    }
    ran
}

/// Runs a command to its end, within the limits of every row.
fn finish_within(mut command: Command) -> Ran {
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let pid = Pid::from_child(&child);
    #[cfg(target_os = "linux")]
    for (resource, most) in [(Resource::Cpu, MOST_SECONDS), (Resource::As, MOST_ADDRESS_SPACE)] {
        // A run that has ended already needs no limits.
        let _ = rustix::process::prlimit(Some(pid), resource, Rlimit { current: Some(most), maximum: Some(most) });
    }
    let (ended, end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if end.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                kill_process(pid, Signal::KILL).unwrap();
            }
        });
        let output = child.wait_with_output().unwrap();
        drop(ended);
        ran_as(output)
    })
}

/// Checks U1 to U7, and returns what does not hold.
fn try_row(row: &Row) -> Vec<String> {
    let sandbox = sandbox(row);
    row.prepare.iter().for_each(|prepare| prepare(&sandbox));
    let before = sandbox.snapshot();
    let lock = row.locked.map(|folder| std::fs::File::open(sandbox.path(folder)).unwrap());
    lock.iter().for_each(|folder| folder.lock().unwrap());
    let ran = ran(row, &sandbox);
    let after = sandbox.snapshot();
    // If a file could be written but not put in place, a temporary file came and went, which changes its folder's mtime.
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
        let holds = |bytes: &[u8]| holds(bytes, &form);
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

/// Runs the rows on as many threads as there are processors, then prints all failures together.
fn run_all(rows: Vec<Row>) {
    let test = test();
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

const SEALED: &str = "fixtures/sealed/good.yaml";
const RECOVER: &[&str] = &["unseal", "-f", "sealed.yaml", "--recovery-private-key", "key"];

/// The same for our own file, which is read strictly.
const RECOVER_OURS: &[&str] = &["unseal", "--recovery-private-key", "key"];
const OURS: &str = "out/secret-source/cart.sealed.yaml";

const WITH_CONTRACT: [&str; 3] = ["bootstrap", "--contract", "contract.yaml"];

fn link(to: &str, sandbox: &Sandbox, path: &str) {
    std::os::unix::fs::symlink(to, sandbox.path(path)).unwrap();
}

const UNIT: &str = "out/secret-source/vllm-api-key.sealed.yaml";

/// A row with a defect in a sealed unit of `out/`.
fn unit_row(id: &'static str, what: &str, code: i32, says: &[&str]) -> Row {
    row(id, what, &["bootstrap"], code, &[&[UNIT][..], says].concat()).start(Start::Bootstrapped)
}

/// A change to the first occurrence of a text.
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
    row(id, what, RECOVER_OURS, code, says).file(OURS, fixture_text(SEALED)).file("key", good_key()).edit(OURS, from, to)
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

const ADMIN: &str = "out/secret-source/admin.sealed.yaml";
const ESCROW: &str = "keys/sealing.key.age";

fn certificate(sandbox: &Sandbox, file: &str) {
    sandbox.write("keys/sealing.crt", &std::fs::read(fixture(&format!("fixtures/certificates/{file}"))).unwrap());
}

/// The same, accepted on this machine.
fn accepted(sandbox: &Sandbox, file: &str) {
    certificate(sandbox, file);
    sandbox.accept("keys");
}

/// `unseal` of a good file with this recovery key.
fn key_row(id: &'static str, file: &'static str, code: i32, says: &[&str]) -> Row {
    row(id, file, RECOVER, code, &[&["key:"], says].concat())
        .file("sealed.yaml", fixture_text(SEALED))
        .file("key", std::fs::read(fixture(&format!("fixtures/private-keys/{file}"))).unwrap())
}

// Ids that have their tests elsewhere, or none:
//   F29            a contract names no output path
//   K26            a certificate that ends soon: `verify.rs` and `bootstrap.rs`, with a clock of their own
//   K30 to K32     `api_server.rs`; K29 is tested here as far as `out/` says what it is sealed to
//   K33            tracked: `git_states.rs`; in history: git is never run
//   L09            no passphrase is ever set; `escrow.rs` types wrong ones
//   L15            TERM and HUP end a run where KILL does: `faults.rs` stops one at every operation
//   L17, L18       `rotate.rs`
//   L22            two runs at once are F26: the test holds the lock, so that nothing depends on chance
//   Y35 with a NUL  a hash's source is always generated, and never holds one
