//! The progress of a long run: one line on standard error, which is removed before anything else is written. Only a person sees it, and
//! only after a while.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::terminal::Terminal;

/// The state of the progress line: since when there is progress to show, and whether the line is visible.
pub struct Progress {
    /// How long a task runs before the line is shown.
    pub patience: Duration,
    since: Option<Instant>,
    is_shown: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Progress { patience: Duration::from_secs(1), since: None, is_shown: false }
    }
}

impl Terminal {
    /// Shows the progress, such as `64 of 3000 files`; the next call replaces it.
    pub fn progress(&mut self, line: &str) {
        let progress = &mut self.progress;
        let waited = progress.since.get_or_insert_with(Instant::now).elapsed();
        if self.stderr_is_terminal && waited >= progress.patience {
            progress.is_shown = true;
            show(&mut self.stderr, line);
        }
    }

    /// Ends this task's progress: the next task starts to wait again.
    pub fn progress_ends(&mut self) {
        self.hide_progress();
        self.progress.since = None;
    }

    /// Hides the line; called before anything else is written.
    pub(super) fn hide_progress(&mut self) {
        if std::mem::take(&mut self.progress.is_shown) {
            show(&mut self.stderr, "");
        }
    }

    /// Runs a task without a count, and shows how long it has been running: `making a sealing key (3 s)`.
    pub fn while_working<T>(&mut self, what: &str, work: impl FnOnce() -> T) -> T {
        self.hide_progress();
        if !self.stderr_is_terminal {
            return work();
        }
        let (stderr, mut wait, began) = (&mut self.stderr, self.progress.patience, Instant::now());
        let (done, ended) = mpsc::channel::<()>();
        let tell = move || {
            let mut shown = false;
            while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                show(stderr, &format!("{what} ({} s)", began.elapsed().as_secs()));
                (shown, wait) = (true, Duration::from_secs(1));
            }
            if shown {
                show(stderr, "");
            }
        };
        thread::scope(|scope| {
            // If no thread can be started, nothing is shown. A panic ends the thread as well: it drops `done`.
            let _ = thread::Builder::new().spawn_scoped(scope, tell);
            let result = work();
            drop(done);
            result
        })
    }
}

fn show(stderr: &mut dyn Write, line: &str) {
    // Back to the beginning of the line, and clear it (ECMA-48, EL).
    let _ = write!(stderr, "\r\u{1b}[K{line}").and_then(|()| stderr.flush());
}
