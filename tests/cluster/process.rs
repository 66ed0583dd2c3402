//! Processes that end with their owner, and waiting for their effects.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How often an awaited condition is checked.
pub const TICK: Duration = Duration::from_millis(50);

/// A process in its own group. Dropping it ends the whole group, even after a panic.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; its output is appended to `NAME.log` in this folder.
    pub fn start(name: &str, command: &mut Command, logs: &Path) -> Process {
        let log = logs.join(format!("{name}.log"));
        let open = || File::options().create(true).append(true).open(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        command.process_group(0).stdin(Stdio::null()).stdout(open()).stderr(open());
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Process { name: name.to_owned(), child, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Panics with the end of its log when it has ended.
    pub fn expect_running(&mut self) {
        assert!(self.is_running(), "{} has ended:\n{}", self.name, tail(&self.log));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// The end of a log.
pub fn tail(log: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines[lines.len().saturating_sub(15)..].join("\n");
    format!("--- {}\n{shown}\n", log.display())
}

/// Asks until there is an answer, and gives up at the deadline.
pub fn poll<T>(deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() > deadline {
            return None;
        }
        std::thread::sleep(TICK);
    }
}
