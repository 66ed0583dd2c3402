//! The harness: each test has a separate folder, and runs command lines there in this process, or the binary in a scrubbed environment.
//! Also snapshots, and what to do if a program is missing.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Cursor, Read, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::simulated_disk::FOLDER;
use crate::{printed, schema};
use regex::Regex;
use seal_secrets::manifest::contract_file;
use seal_secrets::model::{Code, Entropy, EntropyFailed, Severity, USUAL_BITS};
use seal_secrets::pipeline::certificate::{FitCertificate, SealingCertificate};
use seal_secrets::pipeline::pins::{self, How, Pin};
use seal_secrets::pipeline::rsa_soundness::LEAST_BITS;
use seal_secrets::world::World;
use seal_secrets::world::disk::{self, Disk, FileHandle, FolderHandle, Kind, Links, Stat};
use seal_secrets::world::progress::Progress;
use seal_secrets::world::terminal::Terminal;
use tempfile::TempDir;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_seal-secrets");

/// The certificate of [`Sandbox::with_keys`], and its private key.
pub const OWN_CERTIFICATE: &str = "fixtures/certificates/good-2048.crt";
pub const OWN_KEY: &str = "fixtures/private-keys/good-2048-pkcs8.pem";

/// What the settings say in [`Sandbox::without_hash`].
pub const HASHLESS: &str = "contract: contract.yaml";

/// A file below `tests/`.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

/// The text of a file below `tests/`.
pub fn fixture_text(path: &str) -> String {
    std::fs::read_to_string(fixture(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Another program, if it is in PATH.
pub fn tool(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&path()).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The caller's PATH: a child gets nothing else of the caller's environment.
pub fn path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// A program by its path. A child with its own PATH can be spawned only by a path; for a name, this process is copied.
pub fn program(name: &str) -> PathBuf {
    tool(name).unwrap_or_else(|| name.into())
}

/// This folder, then the caller's PATH.
pub fn path_after(folder: &Path) -> OsString {
    std::env::join_paths([folder.to_owned()].into_iter().chain(std::env::split_paths(&path()))).unwrap()
}

/// Leaves a test out if one of these programs is not in PATH.
macro_rules! needs {
    ($($tool:literal),+) => {
        if !$crate::common::has(&[$($tool),+]) {
            return;
        }
    };
}
pub(crate) use needs;

/// Whether all of these programs are in PATH; if not, the calling test is left out.
pub fn has(tools: &[&str]) -> bool {
    let missing: Vec<&&str> = tools.iter().filter(|name| tool(name).is_none()).collect();
    missing.iter().for_each(|tool| leave_out(&test(), tool));
    missing.is_empty()
}

/// Whether strace is in PATH and may trace.
pub fn strace_works() -> bool {
    static WORKS: LazyLock<bool> = LazyLock::new(|| {
        let tried = Command::new(program("strace")).args(["-f", "-o", "/dev/null", "true"]).output();
        tried.is_ok_and(|output| output.status.success())
    });
    *WORKS
}

/// The same; if not, the calling test is left out.
pub fn has_strace() -> bool {
    let works = strace_works();
    if !works {
        leave_out(&test(), "strace, which may trace");
    }
    works
}

/// The name of the calling test.
pub fn test() -> String {
    // The harness names each test's thread after the test.
    std::thread::current().name().unwrap_or("a test").to_owned()
}

/// Reports that something is not tested, and what is missing: `make test` prints it at its end. With `REQUIRE_TOOLS` it is a failure.
pub fn leave_out(what: &str, lacks: &str) {
    assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "{what} lacks {lacks}");
    println!("left out: {what} lacks {lacks}");
    if let Some(list) = std::env::var_os("LEFT_OUT") {
        let mut list = std::fs::File::options().append(true).open(list).unwrap();
        list.write_all(format!("{what} lacks {lacks}\n").as_bytes()).unwrap();
    }
}

/// What a run left on its streams.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Asserts that the run ended with this code. Standard error is empty after a success, or the test says what it is.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        assert!(code != 0 || self.stderr.is_empty(), "it succeeded, and says on standard error:\n{}", self.stderr);
        self
    }

    /// Asserts that the run found exactly this: each a code and a place. An error among them decides the exit code.
    #[track_caller]
    pub fn finds<S: AsRef<str>>(self, expected: &[S]) -> Self {
        self.has_found(expected);
        let is_error = |finding: &S| severity(finding.as_ref().split(' ').next().unwrap()) == Severity::Error;
        self.expect(i32::from(expected.iter().any(is_error)))
    }

    /// Asserts that it printed exactly these findings, in any order.
    #[track_caller]
    pub fn has_found<S: AsRef<str>>(&self, expected: &[S]) {
        let mut expected: Vec<&str> = expected.iter().map(AsRef::as_ref).collect();
        expected.sort_unstable();
        let mut found = self.findings();
        found.sort_unstable();
        assert_eq!(found, expected, "{}{}", self.stdout, self.stderr);
    }

    /// What it found, in text or in JSON.
    pub fn findings(&self) -> Vec<String> {
        let Ok(json) = serde_json::from_str::<serde_json::Value>(&self.stdout) else {
            static LINE: LazyLock<Regex> =
                LazyLock::new(|| Regex::new(r"(?m)^(error|warning)\[([a-z-]+)\]: (.+?:[0-9]+:[0-9]+|.+?): .+\n  help: .+$").unwrap());
            let found = LINE.captures_iter(&self.stdout).map(|found| one_finding(&found[1], &found[2], &found[3]));
            return found.collect();
        };
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let one = |finding: &serde_json::Value| {
            assert!(!text(&finding["what"]).is_empty() && !text(&finding["help"]).is_empty(), "{finding:#}");
            one_finding(&text(&finding["severity"]), &text(&finding["code"]), &text(&finding["place"]))
        };
        json["findings"].as_array().unwrap().iter().map(one).collect()
    }

    /// Asserts that the run succeeded with exactly these warnings.
    #[track_caller]
    pub fn warned(self, warnings: &[&str]) -> Self {
        let text: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
        self.told(&text)
    }

    /// Asserts that the run succeeded and warned, for exactly these keys, that it did not use what was provided.
    #[track_caller]
    pub fn kept(self, keys: &[&str]) -> Self {
        let warning = |key: &&str| format!("`{key}` is sealed already and stays as it is: what was provided is not used");
        let warnings: Vec<String> = keys.iter().map(warning).collect();
        self.warned(&warnings.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Asserts that the run succeeded and printed exactly this on standard error.
    #[track_caller]
    pub fn told(self, text: &str) -> Self {
        assert_eq!((self.code, self.stderr.as_str()), (0, text), "stdout:\n{}", self.stdout);
        self
    }
}

fn one_finding(shown: &str, code: &str, place: &str) -> String {
    assert_eq!(severity(code).as_str(), shown, "{code}");
    format!("{code} {place}")
}

fn severity(code: &str) -> Severity {
    Code::ALL.iter().find(|known| known.as_str() == code).unwrap_or_else(|| panic!("no such code: {code}")).severity()
}

/// What `verify` finds in [`Sandbox::bootstrapped`], where nothing is wrong.
pub const USUAL: [&str; 4] = [
    "few-recipients keys/sealing.key.age",
    "not-yet-provided out/secret-source/anthropic-api-key.sealed.yaml",
    "not-yet-provided out/secret-source/cloudflare-api-token.sealed.yaml",
    "not-yet-provided out/secret-source/hf-token.sealed.yaml",
];

/// The same in other folders.
pub fn usual_in(keys: &str, out: &str) -> Vec<String> {
    USUAL.iter().map(|finding| finding.replace(" keys/", &format!(" {keys}/")).replace(" out/", &format!(" {out}/"))).collect()
}

/// `USUAL`, and these.
pub fn usual<'t>(more: &[&'t str]) -> Vec<&'t str> {
    [&USUAL, more].concat()
}

/// What this machine remembers after it accepted a certificate for a keys folder, and perhaps a next one to replace it.
pub fn pinned(text: &str, folder: &Path, certificate: &str, next: Option<&str>) -> String {
    let digest = |pem: &str| SealingCertificate::read(pem.as_bytes()).unwrap().digest;
    let pin = Pin::new(digest(certificate), "2026-01-01T00:00:00Z".to_owned(), How::Keygen);
    let pin = match next {
        Some(next) => pin.with_next(digest(next)),
        None => pin,
    };
    pins::with(text, &pins::folder(folder), &pin)
}

/// A separate folder in which command lines run.
pub struct Sandbox {
    folder: TempDir,
    /// Where programs keep their state.
    state: TempDir,
    /// The flags for commands that judge the certificate.
    allowed: &'static [&'static str],
}

/// Allows a key of 2048 bits: the usual key is twice as long, and its computations would take most of a test's time.
const SMALLER: &[&str] = &["--allow-rsa-bits", "2048"];

impl Sandbox {
    /// An empty one, in memory if possible: every written file is synced, and on a disk that takes longer than all the rest of the tests.
    pub fn empty() -> Self {
        Self::within(if programs_run_in(Path::new(MEMORY)) { MEMORY.into() } else { std::env::temp_dir() })
    }

    /// An empty one that allows the same.
    pub fn beside(&self) -> Self {
        Sandbox { allowed: self.allowed, ..Self::empty() }
    }

    /// An empty one, on the disk.
    pub fn on_the_disk() -> Self {
        Self::within(std::env::temp_dir())
    }

    fn within(place: PathBuf) -> Self {
        let make = || tempfile::Builder::new().prefix("seal-secrets-test").tempdir_in(&place).unwrap();
        Sandbox { folder: make(), state: make(), allowed: &[] }
    }

    /// With `keys/`: a certificate of 2048 bits that is valid until 2126, its escrow, and the identity that opens it. Commands that run
    /// here allow 2048 bits.
    pub fn with_keys() -> Self {
        static ESCROW: OnceLock<(String, Vec<u8>)> = OnceLock::new();
        Sandbox { allowed: SMALLER, ..Self::with_keys_of(OWN_CERTIFICATE, OWN_KEY, &ESCROW) }
    }

    /// The same with a certificate of 4096 bits, as `keygen` makes them: nothing has to be allowed.
    pub fn with_usual_keys() -> Self {
        static ESCROW: OnceLock<(String, Vec<u8>)> = OnceLock::new();
        Self::with_keys_of("fixtures/certificates/good.crt", "fixtures/private-keys/good-pkcs8.pem", &ESCROW)
    }

    /// With `keys/` from fixtures.
    fn with_keys_of(certificate: &str, private_key: &str, escrow: &OnceLock<(String, Vec<u8>)>) -> Self {
        let sandbox = Self::empty();
        let certificate = fixture_text(certificate);
        let (identity, escrow) = escrow.get_or_init(|| {
            let (identity, recipient) = seal_secrets::pipeline::escrow::new_identity().unwrap();
            let recipient: age::x25519::Recipient = recipient.parse().unwrap();
            let pem = certificate.clone() + &fixture_text(private_key);
            let (escrow, _) = seal_secrets::pipeline::escrow::encrypt(&pem, &[&recipient]).unwrap();
            (identity.to_string(), escrow)
        });
        sandbox.write("keys/sealing.crt", certificate.as_bytes());
        sandbox.write("keys/sealing.key.age", escrow);
        sandbox.write("keys/operator.agekey", identity.as_bytes());
        sandbox.chmod("keys/operator.agekey", 0o600);
        sandbox.accept("keys");
        sandbox
    }

    /// Has this machine accept the certificate of a keys folder.
    pub fn accept(&self, keys: &str) {
        let folder = self.folder.path().canonicalize().unwrap().join(keys);
        self.write_pins(&pinned(&self.pins(), &folder, &self.read(&format!("{keys}/sealing.crt")), None));
    }

    /// The same, and another certificate that is about to replace it.
    pub fn accept_next(&self, keys: &str, next: &str) {
        let folder = self.folder.path().canonicalize().unwrap().join(keys);
        self.write_pins(&pinned(&self.pins(), &folder, &self.read(&format!("{keys}/sealing.crt")), Some(next)));
    }

    /// What this machine remembers of accepted certificates.
    pub fn pins(&self) -> String {
        std::fs::read_to_string(self.state().join("certificates")).unwrap_or_default()
    }

    pub fn write_pins(&self, text: &str) {
        std::fs::create_dir_all(self.state()).unwrap();
        let path = self.state().join("certificates");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Where programs keep their state: `XDG_STATE_HOME`.
    pub fn state_home(&self) -> &Path {
        self.state.path()
    }

    /// Where this tool keeps its state.
    pub fn state(&self) -> PathBuf {
        self.state_home().join("seal-secrets")
    }

    /// With `keys/`, and `out/` as the first run leaves it.
    pub fn bootstrapped() -> Self {
        static TEMPLATE: OnceLock<Template> = OnceLock::new();
        Template::changed(&TEMPLATE, Self::with_keys, |sandbox| drop(sandbox.run(["bootstrap"]).expect(0)))
    }

    /// Makes the settings use the built-in contract [`without_hash`].
    pub fn without_hash(self) -> Self {
        self.write("contract.yaml", without_hash(contract_file::EMBEDDED).as_bytes());
        self.set(HASHLESS);
        self
    }

    /// As [`Sandbox::bootstrapped`], with that contract.
    pub fn hashless() -> Self {
        static SEALED: OnceLock<Template> = OnceLock::new();
        let begin = || Self::with_keys().without_hash();
        Template::changed(&SEALED, begin, |sandbox| drop(sandbox.run(["bootstrap"]).expect(0)))
    }

    /// As [`Sandbox::bootstrapped`], with the usual keys, of 4096 bits.
    pub fn usual() -> Self {
        static USUAL: OnceLock<Template> = OnceLock::new();
        Template::changed(&USUAL, Self::with_usual_keys, |sandbox| drop(sandbox.run(["bootstrap"]).expect(0)))
    }

    /// As [`Sandbox::hashless`], with the usual keys.
    pub fn usual_hashless() -> Self {
        static SEALED: OnceLock<Template> = OnceLock::new();
        let begin = || Self::with_usual_keys().without_hash();
        Template::changed(&SEALED, begin, |sandbox| drop(sandbox.run(["bootstrap"]).expect(0)))
    }

    /// As [`Sandbox::bootstrapped`], and then renewed: the same in all tests.
    pub fn renewed() -> Self {
        static RENEWED: OnceLock<Template> = OnceLock::new();
        Template::changed(&RENEWED, Self::bootstrapped, |sandbox| {
            sandbox.make_key(["renew", "--yes"]).told(&sandbox.will_open_for(&[&sandbox.own_recipient()]));
        })
    }

    /// With `keys/`, a small `contract.yaml`, and what its first run leaves.
    pub fn small() -> Self {
        static SMALL: OnceLock<Template> = OnceLock::new();
        Template::changed(&SMALL, Self::with_keys, |sandbox| {
            sandbox.write("contract.yaml", fixture_text("fixtures/contracts/small.yaml").as_bytes());
            sandbox.run(["bootstrap", "--contract", "contract.yaml"]).expect(0);
        })
    }

    /// Another sandbox with the same files.
    pub fn copy(&self) -> Self {
        self.copy_to(self.beside())
    }

    /// The same in this empty sandbox.
    pub fn copy_to(&self, copy: Self) -> Self {
        let copy = Sandbox { allowed: self.allowed, ..copy };
        if self.state().exists() {
            copy.write_pins(&self.pins().replace(&self.real_path(), &copy.real_path()));
        }
        copy_folder(self.folder.path(), copy.folder.path());
        copy
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The folder's path as the pins contain it.
    fn real_path(&self) -> String {
        self.folder.path().canonicalize().unwrap().to_string_lossy().into_owned()
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// A file with mode 0600.
    pub fn write_secret(&self, path: &str, bytes: &[u8]) {
        self.write(path, bytes);
        self.chmod(path, 0o600);
    }

    /// Writes the settings, or removes the file if they are empty.
    pub fn set(&self, settings: &str) {
        if settings.is_empty() {
            let _ = std::fs::remove_file(self.path("seal-secrets.yaml"));
        } else {
            self.write("seal-secrets.yaml", format!("version: 1\n{settings}\n").as_bytes());
        }
    }

    /// Replaces the first `from` in a file, which must contain it.
    #[track_caller]
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} does not contain {from:?}");
        self.write(path, text.replacen(from, to, 1).as_bytes());
    }

    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.path(path)).unwrap();
    }

    pub fn chmod(&self, path: &str, mode: u32) {
        std::fs::set_permissions(self.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs a command line in this process, with nothing on standard input. [`World`] gives no access to a kubeconfig, age's plugins or a
    /// terminal: commands that need them start the binary.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.run_with_input(args, b"")
    }

    /// The same with this on standard input.
    pub fn run_with_input<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Ran {
        self.run_given(args, input, SystemTime::now, World::real().entropy)
    }

    /// The same at this time of day.
    pub fn run_at<S: AsRef<OsStr>>(&self, clock: fn() -> SystemTime, args: impl IntoIterator<Item = S>) -> Ran {
        self.run_given(args, b"", clock, World::real().entropy)
    }

    /// Runs a command line that makes a sealing key: always the same key, found at once, of 2048 bits where these are allowed.
    pub fn make_key<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.make_key_at(SystemTime::now, args)
    }

    /// The same at this time of day.
    pub fn make_key_at<S: AsRef<OsStr>>(&self, clock: fn() -> SystemTime, args: impl IntoIterator<Item = S>) -> Ran {
        self.run_given(args, b"", clock, self.key_at_once())
    }

    /// Runs a command line with this randomness.
    pub fn run_drawing<S: AsRef<OsStr>>(&self, entropy: Box<Entropy>, args: impl IntoIterator<Item = S>) -> Ran {
        self.run_given(args, b"", SystemTime::now, entropy)
    }

    /// Runs a command line that gives up on a server after this time.
    pub fn run_impatient<S: AsRef<OsStr>>(&self, patience: Duration, args: impl IntoIterator<Item = S>) -> Ran {
        run_here(World { server_patience: patience, ..self.world_at("") }, b"", &self.allowing(args))
    }

    /// Runs a command line on a file system whose folder lists contain names without kinds.
    pub fn run_without_kinds<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        let disk = Arc::new(Here { tells: false, ..Here::new(self.folder.path()) });
        run_here(World { disk, ..self.world_at("") }, b"", &self.allowing(args))
    }

    /// Runs a command line on one thread, on a disk that wraps the real one.
    pub fn run_through<S: AsRef<OsStr>>(&self, before: impl FnOnce(Arc<dyn Disk>) -> Arc<dyn Disk>, args: &[S]) -> Ran {
        let world = self.world_at("");
        run_in(World { disk: before(world.disk), threads: NonZeroUsize::MIN, ..world }, b"", &self.allowing(args))
    }

    /// Runs a command line whose streams a person reads; progress is shown after this wait. `with` may change the world, and sees the text
    /// on standard error meanwhile.
    pub fn run_watched<S: AsRef<OsStr>>(&self, patience: Duration, with: impl FnOnce(World, Shared) -> World, args: &[S]) -> Ran {
        let stderr = Shared::default();
        let mut world = with(self.world_at(""), stderr.clone());
        run_with(&mut world, stderr, Some(patience), b"", &self.allowing(args))
    }

    fn run_given<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &[u8],
        clock: fn() -> SystemTime,
        entropy: Box<Entropy>,
    ) -> Ran {
        run_here(World { clock, entropy, ..self.world_at("") }, input, &self.allowing(args))
    }

    /// How large a new sealing key is.
    fn key_bits(&self) -> u32 {
        if self.allowed.is_empty() { USUAL_BITS } else { LEAST_BITS }
    }

    /// Randomness that leads to such a key at once.
    fn key_at_once(&self) -> Box<Entropy> {
        Box::new(Drawing(key_entropy(KEY, self.key_bits())))
    }

    /// A command line that allows the sandbox's own certificate wherever a certificate is judged.
    pub fn allowing<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Vec<OsString> {
        const JUDGES: [&str; 7] = ["bootstrap", "plan", "import", "copy", "rotate", "verify", "re-encrypt"];
        let mut args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let other = ["help", "explain", "--allow-rsa-bits"];
        let command = args.iter().position(|arg| JUDGES.iter().any(|judges| arg == judges));
        if let Some(command) = command.filter(|_| !args.iter().any(|arg| other.iter().any(|other| arg == other))) {
            args.splice(command + 1..command + 1, self.allowed.iter().map(OsString::from));
        }
        args
    }

    /// The same for a shell line.
    pub fn allowing_in(&self, line: &str) -> String {
        self.allowing(line.split(' ')).join(OsStr::new(" ")).into_string().unwrap()
    }

    /// The binary, ready to run here, with nothing of the caller's environment but PATH.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(BINARY);
        command.args(self.allowing(args)).current_dir(self.folder.path()).env_clear().env("PATH", path()).stdin(Stdio::null());
        command.env("XDG_STATE_HOME", self.state_home());
        command
    }

    /// Runs a shell line that finds the binary; returns its exit code.
    pub fn shell(&self, line: &str) -> i32 {
        let mut shell = Command::new(program("sh"));
        shell
            .args(["-ec", line])
            .current_dir(self.folder.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let path = path_after(Path::new(BINARY).parent().unwrap());
        shell.env("PATH", path).env("XDG_STATE_HOME", self.state_home()).status().unwrap().code().unwrap()
    }

    /// Runs the binary with nothing on standard input.
    pub fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let ran = finish(self.command(&args));
        schema::check_output(&args, &ran);
        printed::check(&args, &ran, &World { disk: Arc::new(Here::new(self.folder.path())), ..World::real() });
        ran
    }

    /// The world, seen from a subfolder.
    pub fn world_at(&self, folder: &str) -> World {
        World { disk: Arc::new(Here::new(&self.path(folder))), state: Some(self.state()), key_bits: self.key_bits(), ..World::real() }
    }

    /// The same as [`Sandbox::make_key`] from a subfolder.
    pub fn make_key_from<S: AsRef<OsStr>>(&self, folder: &str, args: impl IntoIterator<Item = S>) -> Ran {
        run_here(World { entropy: self.key_at_once(), ..self.world_at(folder) }, b"", &self.allowing(args))
    }

    /// The same as [`Sandbox::run`] from a subfolder.
    pub fn run_from<S: AsRef<OsStr>>(&self, folder: &str, args: impl IntoIterator<Item = S>) -> Ran {
        run_here(self.world_at(folder), b"", &self.allowing(args))
    }

    /// Every file and folder: mode, modification time and content.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.folder.path().to_owned()];
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = path.symlink_metadata().unwrap();
                let content = if metadata.is_file() { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
                if metadata.is_dir() {
                    waiting.push(path.clone());
                }
                found.insert(path, (metadata.mode(), metadata.mtime(), metadata.mtime_nsec(), content));
            }
        }
        found
    }

    /// The recipient of `keys/operator.agekey`.
    pub fn own_recipient(&self) -> String {
        let identity = self.read("keys/operator.agekey");
        identity.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned()
    }

    /// What stands on standard error before the escrow is written.
    pub fn will_open_for(&self, recipients: &[&str]) -> String {
        format!("keys/sealing.key.age will open for:\n  {}\n", recipients.join("\n  "))
    }

    /// The bare value of a key, as `unseal` prints it.
    pub fn value(&self, key: &str) -> String {
        self.run(["unseal", "--value", key]).expect(0).stdout
    }
}

/// A file system in memory, on Linux.
const MEMORY: &str = "/dev/shm";

/// Whether files in this folder can be written and executed: containers often forbid the latter.
fn programs_run_in(folder: &Path) -> bool {
    use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
    let allowed = |flags: StatVfsMountFlags| !flags.intersects(StatVfsMountFlags::NOEXEC | StatVfsMountFlags::RDONLY);
    const ROOM: u64 = 256 << 20;
    access(folder, Access::WRITE_OK).is_ok() && statvfs(folder).is_ok_and(|of| allowed(of.f_flag) && of.f_bavail * of.f_frsize >= ROOM)
}

/// The contents of a sandbox that is made once per process. They are kept as values: the folder of a static is never removed.
pub struct Template {
    allowed: &'static [&'static str],
    folder: PathBuf,
    real_path: String,
    pins: String,
    files: BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)>,
}

impl Template {
    /// A sandbox that is begun and changed once.
    fn changed(once: &OnceLock<Self>, begin: impl FnOnce() -> Sandbox, change: impl FnOnce(&Sandbox)) -> Sandbox {
        Self::sandbox(once, || {
            let sandbox = begin();
            change(&sandbox);
            sandbox
        })
    }

    /// A sandbox with these contents.
    pub fn sandbox(once: &OnceLock<Self>, make: impl FnOnce() -> Sandbox) -> Sandbox {
        let template = once.get_or_init(|| {
            let made = make();
            Template {
                allowed: made.allowed,
                folder: made.path(""),
                real_path: made.real_path(),
                pins: made.pins(),
                files: made.snapshot(),
            }
        });
        let sandbox = Sandbox { allowed: template.allowed, ..Sandbox::empty() };
        sandbox.write_pins(&template.pins.replace(&template.real_path, &sandbox.real_path()));
        for (path, (mode, _, _, bytes)) in &template.files {
            let path = sandbox.path("").join(path.strip_prefix(&template.folder).unwrap());
            match mode & FOLDER {
                0 => std::fs::write(&path, bytes).unwrap(),
                _ => std::fs::create_dir(&path).unwrap(),
            }
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).unwrap();
        }
        sandbox
    }
}

/// Copies a folder's contents and mode to an existing folder.
pub fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, from, to) = (entry.file_type().unwrap(), entry.path(), to.join(entry.file_name()));
        if kind.is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_folder(&from, &to);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&from).unwrap(), &to).unwrap();
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
    std::fs::set_permissions(to, from.metadata().unwrap().permissions()).unwrap();
}

/// Runs a command to its end.
pub fn finish(mut command: Command) -> Ran {
    ran_as(command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

/// What a process left.
pub fn ran_as(output: Output) -> Ran {
    Ran {
        // 128 + signal, as in a shell.
        code: output.status.code().unwrap_or_else(|| 128 + std::os::unix::process::ExitStatusExt::signal(&output.status).unwrap_or(0)),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The output of a third-party program, which has to succeed. Its warnings are its own, and differ from version to version.
#[track_caller]
pub fn printed(command: Command) -> String {
    let shown = format!("{command:?}");
    let ran = finish(command);
    assert_eq!(ran.code, 0, "{shown}: {}", ran.stderr);
    ran.stdout
}

/// Runs git as a user without a configuration; returns its output.
#[track_caller]
pub fn git(sandbox: &Sandbox, args: &[&str]) -> String {
    let mut command = Command::new(program("git"));
    command.args(args).current_dir(sandbox.path("")).env_clear().env("PATH", path()).envs(GIT);
    printed(command)
}

/// What git reads from its environment.
pub const GIT: [(&str, &str); 6] = [
    ("HOME", "/no/such"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_AUTHOR_NAME", "somebody"),
    ("GIT_AUTHOR_EMAIL", "somebody"),
    ("GIT_COMMITTER_NAME", "somebody"),
    ("GIT_COMMITTER_EMAIL", "somebody"),
];

/// Runs the binary on a terminal (of `script`), types each answer after its prompt, and shows whether the terminal echoes afterwards.
pub fn at_the_prompt(sandbox: &Sandbox, args: &str, answers: &[(&str, &str)]) -> String {
    at_the_prompt_while(sandbox, args, answers, &|| ())
}

/// The same; calls `meanwhile` before each answer.
pub fn at_the_prompt_while(sandbox: &Sandbox, args: &str, answers: &[(&str, &str)], meanwhile: &dyn Fn()) -> String {
    let script = format!("{BINARY} {}; echo code=$?; stty -a", sandbox.allowing_in(args));
    let mut command = Command::new(program("timeout"));
    command.args(["--foreground", "--signal=KILL", "30", "script", "-qec", &script, "/dev/null"]);
    command.current_dir(sandbox.path("")).env_clear().env("RUST_BACKTRACE", "full");
    command.env("PATH", path_after(&sandbox.path("bin"))).env("XDG_STATE_HOME", sandbox.state_home());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = Vec::new();
    let mut byte = [0];
    for (prompt, keys) in answers {
        // Input typed before the prompt would be lost: switching off the echo flushes it.
        while !shown.ends_with(prompt.as_bytes()) && stdout.read(&mut byte).unwrap() == 1 {
            shown.push(byte[0]);
        }
        meanwhile();
        stdin.write_all(keys.as_bytes()).unwrap();
    }
    stdout.read_to_end(&mut shown).unwrap();
    child.wait().unwrap();
    String::from_utf8_lossy(&shown).into_owned()
}

/// A contract that draws its bcrypt hash like any other value: hashing takes longer than all the rest of a run.
pub fn without_hash(contract: &str) -> String {
    let (before, hash) = contract.split_once("{ bcrypt: {").unwrap();
    format!("{before}{{ hex: {{ bytes: 16 }} }}{}", hash.split_once("} }").unwrap().1)
}

/// Randomness that is the same in every run (splitmix64): for tests only, handed in through `World`.
pub struct TestEntropy(pub u64);

impl TestEntropy {
    /// Its step for eight bytes.
    pub const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_add(Self::STEP);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

impl rand::TryRng for TestEntropy {
    type Error = EntropyFailed;

    fn try_next_u32(&mut self) -> Result<u32, EntropyFailed> {
        self.try_next_u64().map(|number| number as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, EntropyFailed> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), EntropyFailed> {
        self.fill(bytes);
        Ok(())
    }
}

impl rand::TryCryptoRng for TestEntropy {}

/// The seed of the key that [`Sandbox::make_key`] makes.
pub const KEY: u64 = 98;

/// Randomness for a run that makes an RSA key of 2048 or 4096 bits: each search for a prime begins at a prime, and ends at once. It is
/// proved to be prime like any other.
pub fn key_entropy(seed: u64, bits: u32) -> impl FnMut(&mut [u8]) -> Result<(), EntropyFailed> {
    // As they are drawn. (t + 1) · 2^960 − 1 or (t + 1) · 2^1984 − 1: a prime of this form is proved in half the time.
    let tops: [u64; 2] = match bits {
        LEAST_BITS => [0xc3a5_0000_0000_008e, 0xe817_0000_0000_025f],
        _ => [0xc3a5_0000_0000_00dd, 0xe817_0000_0000_007f],
    };
    let mut primes = tops.map(|top| [&vec![0xff; bits as usize / 16 - 8][..], &top.to_le_bytes()].concat()).to_vec();
    let mut source = TestEntropy(seed);
    move |bytes| {
        source.fill(bytes);
        if primes.last().is_some_and(|prime| prime.len() == bytes.len()) {
            bytes.copy_from_slice(&primes.pop().unwrap());
        }
        Ok(())
    }
}

/// Runs a command line in this process on this disk, at this time of day, with the randomness of this seed and on one thread.
pub fn run_on<S: AsRef<OsStr>>(disk: Arc<dyn Disk>, clock: fn() -> SystemTime, seed: u64, args: impl IntoIterator<Item = S>) -> Ran {
    run_on_drawing(disk, clock, Box::new(TestEntropy(seed)), args)
}

/// The same with this randomness. A new sealing key has 2048 bits here: a run makes and uses it in a fifth of the time.
pub fn run_on_drawing<S: AsRef<OsStr>>(
    disk: Arc<dyn Disk>,
    clock: fn() -> SystemTime,
    entropy: Box<Entropy>,
    args: impl IntoIterator<Item = S>,
) -> Ran {
    let args: Vec<S> = args.into_iter().collect();
    let state = Some(PathBuf::from("state/seal-secrets"));
    run_in(World { disk, state, clock, entropy, threads: NonZeroUsize::MIN, key_bits: LEAST_BITS, ..World::real() }, b"", &args)
}

/// Randomness that calls this at each draw.
pub struct Drawing<F>(pub F);

impl<F: FnMut(&mut [u8]) -> Result<(), EntropyFailed>> rand::TryRng for Drawing<F> {
    type Error = EntropyFailed;

    fn try_next_u32(&mut self) -> Result<u32, EntropyFailed> {
        self.try_next_u64().map(|number| number as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, EntropyFailed> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), EntropyFailed> {
        self.0(bytes)
    }
}

impl<F: FnMut(&mut [u8]) -> Result<(), EntropyFailed>> rand::TryCryptoRng for Drawing<F> {}

/// Runs a command line in this process, in this world except for its terminal.
fn run_in<S: AsRef<OsStr>>(mut world: World, input: &[u8], args: &[S]) -> Ran {
    run_there(&mut world, input, args)
}

/// The same, and checks that its output can be pasted.
#[track_caller]
fn run_here<S: AsRef<OsStr>>(mut world: World, input: &[u8], args: &[S]) -> Ran {
    let args: Vec<OsString> = args.iter().map(|arg| arg.as_ref().to_owned()).collect();
    // A test wants every finding, even if several are alike.
    let has = |words: &[&str]| args.iter().any(|arg| words.iter().any(|word| arg == word));
    let each = has(&["verify"]) && !has(&["--quiet", "-q", "--verbose", "--help", "help", "man", "explain"]);
    let all: Vec<OsString> = args.iter().cloned().chain(each.then(|| "--verbose".into())).collect();
    let ran = run_there(&mut world, input, &all);
    schema::check_output(&args, &ran);
    printed::check(&args, &ran, &world);
    ran
}

fn run_there<S: AsRef<OsStr>>(world: &mut World, input: &[u8], args: &[S]) -> Ran {
    run_with(world, Shared::default(), None, input, args)
}

/// What was written to a stream so far.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs with this standard error; if a person reads both streams, `watched` is how long they wait before progress is shown.
fn run_with<S: AsRef<OsStr>>(world: &mut World, stderr: Shared, watched: Option<Duration>, input: &[u8], args: &[S]) -> Ran {
    let stdout = Shared::default();
    let mut progress = Progress::default();
    progress.patience = watched.unwrap_or_default();
    world.terminal = Terminal {
        stdin: Box::new(Cursor::new(input.to_owned())),
        stdout: Box::new(stdout.clone()),
        stderr: Box::new(stderr.clone()),
        stdin_is_terminal: false,
        stdout_was_closed: false,
        stdout_is_terminal: watched.is_some(),
        stderr_is_terminal: watched.is_some(),
        stdout_colors: false,
        stderr_colors: false,
        progress,
    };
    let args = std::iter::once("seal-secrets".into()).chain(args.iter().map(|arg| arg.as_ref().to_owned()));
    let code = i32::from(seal_secrets::run(args, world));
    Ran { code, stdout: stdout.text(), stderr: stderr.text() }
}

/// The real disk, seen from a folder.
struct Here {
    path: PathBuf,
    folder: Box<dyn FolderHandle>,
    /// Whether the list of a folder includes the kinds of its entries.
    tells: bool,
}

impl Here {
    fn new(path: &Path) -> Self {
        Here { path: path.to_owned(), folder: disk::real().open_folder(path, Links::Follow).unwrap(), tells: true }
    }

    /// Whether no other process holds this folder's lock. Between fork and exec, a child that another test starts shares the locks of this
    /// process, even after they are freed here.
    fn is_ours(&self) -> bool {
        let inode = self.folder.stat(Path::new("."), Links::Keep).unwrap().identity.1.to_string();
        let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        let others = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let own = fields.get(4).is_some_and(|pid| *pid == std::process::id().to_string());
            !own && fields.get(5).is_some_and(|place| place.rsplit(':').next() == Some(&inode))
        };
        !locks.lines().any(others)
    }
}

impl Disk for Here {
    fn current_folder(&self) -> std::io::Result<PathBuf> {
        Ok(self.path.clone())
    }

    fn canonicalize(&self, path: &Path) -> std::io::Result<PathBuf> {
        self.path.join(path).canonicalize()
    }
}

impl FolderHandle for Here {
    fn stat(&self, path: &Path, links: Links) -> std::io::Result<Stat> {
        self.folder.stat(path, links)
    }

    fn list(&self, path: &Path) -> std::io::Result<Vec<(OsString, Option<Kind>)>> {
        let known = |kind: Option<Kind>| kind.filter(|_| self.tells);
        Ok(self.folder.list(path)?.into_iter().map(|(name, kind)| (name, known(kind))).collect())
    }

    fn open_folder(&self, path: &Path, links: Links) -> std::io::Result<Box<dyn FolderHandle>> {
        Ok(Box::new(Here { path: self.path.join(path), folder: self.folder.open_folder(path, links)?, tells: self.tells }))
    }

    fn open_file(&self, path: &Path, links: Links) -> std::io::Result<Box<dyn FileHandle>> {
        self.folder.open_file(path, links)
    }

    fn create_file(&self, name: &str) -> std::io::Result<Box<dyn FileHandle>> {
        self.folder.create_file(name)
    }

    fn make_folder(&self, path: &Path, mode: u32) -> std::io::Result<()> {
        self.folder.make_folder(path, mode)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> std::io::Result<()> {
        self.folder.set_mode(path, mode)
    }

    fn rename(&self, from: &str, to: &str, replaces: bool) -> std::io::Result<()> {
        self.folder.rename(from, to, replaces)
    }

    fn link(&self, from: &str, to: &str) -> std::io::Result<()> {
        self.folder.link(from, to)
    }

    fn unlink(&self, name: &str) -> std::io::Result<()> {
        self.folder.unlink(name)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.folder.sync()
    }

    fn lock(&self) -> std::io::Result<Box<dyn Any + Send>> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.folder.lock() {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && self.is_ours() && Instant::now() < deadline => {
                    std::thread::yield_now();
                }
                locked => return locked,
            }
        }
    }

    fn check_writable(&self, path: &Path) -> std::io::Result<()> {
        self.folder.check_writable(path)
    }
}

/// A certificate of the fixtures, of any size, accepted for sealing.
pub fn fit(certificate: SealingCertificate) -> FitCertificate {
    certificate.judge(SystemTime::now(), 2048).unwrap()
}
