//! The harness: a folder of its own for each test, the binary in a scrubbed environment, and snapshots.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::SystemTime;

use seal_secrets::model::EntropyFailed;
use seal_secrets::world::World;
use seal_secrets::world::terminal::Terminal;
use tempfile::TempDir;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_seal-secrets");

/// A file below `tests/`.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

/// The text of a file below `tests/`.
pub fn fixture_text(path: &str) -> String {
    std::fs::read_to_string(fixture(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Another program, where it is installed: in PATH, or where `go install` puts it.
pub fn tool(name: &str) -> Option<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let places = format!("{}:{home}/go/bin", std::env::var("PATH").unwrap_or_default());
    places.split(':').map(|place| Path::new(place).join(name)).find(|path| path.exists())
}

/// What a run left on its streams.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The run, which has to have ended with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// A folder of its own, in which the binary runs.
pub struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    /// Nothing in it.
    pub fn empty() -> Self {
        Sandbox { folder: tempfile::Builder::new().prefix("seal-secrets-test").tempdir().unwrap() }
    }

    /// With `keys/`: a certificate that holds until 2126, its escrow, and the identity that opens it.
    pub fn with_keys() -> Self {
        let sandbox = Self::empty();
        let (identity, escrow) = test_escrow();
        sandbox.write("keys/sealing.crt", fixture_text("fixtures/certificates/good.crt").as_bytes());
        sandbox.write("keys/sealing.key.age", escrow);
        sandbox.write("keys/operator.agekey", identity.as_bytes());
        sandbox.chmod("keys/operator.agekey", 0o600);
        sandbox
    }

    /// With `keys/`, and `out/` as the first run leaves it.
    pub fn bootstrapped() -> Self {
        static TEMPLATE: OnceLock<Sandbox> = OnceLock::new();
        let template = TEMPLATE.get_or_init(|| {
            let sandbox = Self::with_keys();
            sandbox.run(["bootstrap"]).expect(0);
            sandbox
        });
        let sandbox = Self::empty();
        let copied = Command::new("cp").arg("-a").arg(template.path(".")).arg(sandbox.path(".")).status();
        assert!(copied.unwrap().success());
        sandbox
    }

    /// As [`Sandbox::bootstrapped`], and then renewed. For reading: all tests have the same one.
    pub fn renewed() -> &'static Self {
        static RENEWED: OnceLock<Sandbox> = OnceLock::new();
        RENEWED.get_or_init(|| {
            let sandbox = Self::bootstrapped();
            sandbox.run(["renew", "--yes"]).expect(0);
            sandbox
        })
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
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

    /// Replaces the first `from` in a file, which has to be there.
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

    /// The binary, ready to run here, with nothing of the caller's environment.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(BINARY);
        command.args(args).current_dir(self.folder.path()).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command
    }

    /// Runs the binary with nothing on standard input.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        finish(self.command(args))
    }

    /// Runs the binary with this on standard input.
    pub fn run_with_input<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A run that fails early closes the pipe: that is its right.
        let _ = child.stdin.take().unwrap().write_all(input);
        ran(child.wait_with_output().unwrap())
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

    /// The bare value of a key, as `unseal` prints it.
    pub fn value(&self, key: &str) -> String {
        self.run(["unseal", "--value", key]).expect(0).stdout
    }
}

/// Runs a command to its end.
pub fn finish(mut command: Command) -> Ran {
    ran(command.output().unwrap())
}

fn ran(output: std::process::Output) -> Ran {
    Ran {
        // 128 + signal, as a shell says it.
        code: output.status.code().unwrap_or_else(|| 128 + std::os::unix::process::ExitStatusExt::signal(&output.status).unwrap_or(0)),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs the binary on a terminal, types each answer once it is asked, and says whether the terminal echoes afterwards.
pub fn at_the_prompt(sandbox: &Sandbox, args: &str, answers: &[(&str, &str)]) -> String {
    at_the_prompt_while(sandbox, args, answers, &|| ())
}

/// The same, and before each answer this happens.
pub fn at_the_prompt_while(sandbox: &Sandbox, args: &str, answers: &[(&str, &str)], meanwhile: &dyn Fn()) -> String {
    let script = format!("{BINARY} {args}; echo code=$?; stty -a");
    let mut command = Command::new("timeout");
    command.args(["--foreground", "--signal=KILL", "30", "script", "-qec", &script, "/dev/null"]);
    command.current_dir(sandbox.path("")).env_clear().env("RUST_BACKTRACE", "full");
    command.env("PATH", format!("{}:/usr/bin:/bin", sandbox.path("bin").display()));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = Vec::new();
    let mut byte = [0];
    for (prompt, keys) in answers {
        // What is typed before the prompt would be thrown away: the echo is switched off with a flush.
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

/// An identity, and the key of `good.crt` in an escrow that it opens.
fn test_escrow() -> &'static (String, Vec<u8>) {
    static ESCROW: OnceLock<(String, Vec<u8>)> = OnceLock::new();
    ESCROW.get_or_init(|| {
        let (identity, recipient) = seal_secrets::pipeline::escrow::new_identity();
        let recipient: age::x25519::Recipient = recipient.parse().unwrap();
        let pem = fixture_text("fixtures/certificates/good.crt") + &fixture_text("fixtures/private-keys/good-pkcs8.pem");
        let (escrow, _) = seal_secrets::pipeline::escrow::encrypt(&pem, &[&recipient]).unwrap();
        (identity.to_string(), escrow)
    })
}

/// Randomness that is the same in every run (splitmix64): for tests only, handed in through `World`.
pub struct TestEntropy(pub u64);

impl TestEntropy {
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
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

/// Runs a command line in this process, at this time of day.
pub fn run_at<S: AsRef<OsStr>>(clock: fn() -> SystemTime, args: impl IntoIterator<Item = S>) -> Ran {
    #[derive(Clone, Default)]
    struct Shared(Rc<RefCell<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (stdout, stderr) = (Shared::default(), Shared::default());
    let mut world = World {
        terminal: Terminal {
            stdin: Box::new(std::io::empty()),
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            stdin_is_terminal: false,
            stdout_is_terminal: false,
            stderr_is_terminal: false,
        },
        disk: seal_secrets::world::disk::real(),
        clock,
        entropy: Box::new(TestEntropy(7)),
        threads: std::num::NonZeroUsize::MIN,
    };
    let args = std::iter::once("seal-secrets".into()).chain(args.into_iter().map(|arg| arg.as_ref().to_owned()));
    let code = i32::from(seal_secrets::run(args, &mut world));
    let text = |shared: Shared| String::from_utf8(shared.0.borrow().clone()).unwrap();
    Ran { code, stdout: text(stdout), stderr: text(stderr) }
}
