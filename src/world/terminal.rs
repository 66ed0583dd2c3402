//! The terminal policy: data and results go to standard output, warnings and errors to standard error; a secret is
//! asked for on the terminal itself, without echo; without a terminal nothing prompts.

use std::io::{IsTerminal, Read, Write};
use std::ops::Range;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::{Zeroize, Zeroizing};

use super::colors::colored;
use super::process::Undisturbed;
use super::progress::Progress;
use crate::manifest::yaml::MOST_BYTES;
use crate::model::{Error, ErrorKind, MOST_PROVIDED_BYTES, Result, SecretValue, visible};

pub struct Terminal {
    pub stdin: Box<dyn Read>,
    pub stdout: Box<dyn Write>,
    pub stderr: Box<dyn Write + Send>,
    /// Whether nothing receives the output.
    pub stdout_was_closed: bool,
    /// Whether a person reads standard output.
    pub stdout_is_terminal: bool,
    /// Whether a person types at standard input.
    pub stdin_is_terminal: bool,
    /// Whether a person reads standard error.
    pub stderr_is_terminal: bool,
    /// Whether words are colored on standard output.
    pub stdout_colors: bool,
    pub stderr_colors: bool,
    pub progress: Progress,
}

impl Terminal {
    pub fn real() -> Self {
        Terminal {
            stdin: Box::new(std::io::stdin()),
            stdout: Box::new(std::io::stdout()),
            stdout_was_closed: was_closed(),
            stderr: Box::new(std::io::stderr()),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            stdout_colors: false,
            stderr_colors: false,
            progress: Progress::default(),
        }
    }

    /// Prints data or a result to standard output.
    pub fn print(&mut self, text: &str) -> Result<()> {
        self.print_bytes(text.as_bytes())
    }

    /// Prints data to standard output.
    pub fn print_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.hide_progress();
        let written = self.stdout.write_all(bytes).and_then(|()| self.stdout.flush());
        written.map_err(|error| {
            Error::new(ErrorKind::InputOutput, "standard output cannot be written", "check the pipe or the disk it goes to")
                .why(error.to_string())
        })
    }

    /// Prints information besides the data to standard error.
    pub fn tell(&mut self, text: &str) {
        self.hide_progress();
        let colored = self.stderr_colors.then(|| colored(text));
        let _ = self.stderr.write_all(colored.as_deref().unwrap_or(text).as_bytes());
    }

    /// Prints a warning to standard error; a failure to write it is no reason to stop.
    pub fn warn(&mut self, text: &str) {
        self.tell(&format!("warning: {}\n", visible(text)));
    }

    /// The whole of standard input, which is or holds secrets, of at most 16 MiB. Empty input is a usage error.
    pub fn read_secret(&mut self) -> Result<SecretValue> {
        // Allocated at once: a vector that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES + 1));
        let read = (&mut self.stdin).take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| unreadable(&error))?;
        if bytes.len() > MOST_BYTES {
            return Err(too_large(MOST_BYTES));
        }
        if bytes.is_empty() {
            return Err(Error::usage("standard input is empty", "pipe the value into it, or name a file"));
        }
        Ok(SecretValue::new(bytes))
    }

    /// The whole of standard input, which is no secret: manifests to filter, of any usual size.
    pub fn read_input(&mut self, most: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&mut self.stdin).take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        if bytes.len() > most {
            return Err(too_large(most));
        }
        Ok(bytes)
    }

    /// Refuses if the output is a command's only purpose, and nothing receives it.
    pub fn check_output(&self) -> Result<()> {
        if !self.stdout_was_closed {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InputOutput, "standard output is closed", "send it to a pipe or a file; `> /dev/null` throws it away"))
    }

    /// Refuses to show secrets on a terminal, unless the command line asked for it; `instead` is a command to paste.
    pub fn check_reveal(&self, asked: bool, instead: &str) -> Result<()> {
        if asked || !self.stdout_is_terminal {
            return Ok(());
        }
        Err(Error::refused("secrets would be shown on this terminal", format!("pipe them: `{instead}`; or add `--reveal`")))
    }

    /// Asks a person at the terminal to agree to something that cannot be undone, unless the command line did. `what` is an imperative:
    /// `replace 2 values`.
    pub fn confirm(&mut self, what: &str, yes: bool) -> Result<()> {
        if yes {
            return Ok(());
        }
        if !self.stdin_is_terminal {
            return Err(Error::refused(format!("not confirmed: {what}"), "run it at a terminal, or agree with `--yes`"));
        }
        let answer = self.ask(&format!("{what}? Type yes: "))?;
        if answer.is("yes") { Ok(()) } else { Err(Error::refused("not done: the answer was not yes", "nothing was changed")) }
    }

    /// Asks for one line on the terminal, without echo.
    pub fn ask(&mut self, prompt: &str) -> Result<SecretValue> {
        self.hide_progress();
        ask(self.stdin_is_terminal, prompt, "name a file, or pipe the value into standard input: `KEY=FILE`, `KEY=-`")
    }
}

/// Whether standard output was closed when the process started. Rust opens `/dev/null` in its place, for reading and writing, and then
/// every write succeeds; a shell's `> /dev/null` opens it for writing only. Some programs (Python's `subprocess.DEVNULL`) open it like Rust
/// to discard output: so only commands that are run for their output ask this.
fn was_closed() -> bool {
    let (here, null) = (rustix::fs::fstat(std::io::stdout()), rustix::fs::stat("/dev/null"));
    let flags = rustix::fs::fcntl_getfl(std::io::stdout());
    let is_null = here.is_ok_and(|here| null.is_ok_and(|null| (here.st_mode, here.st_rdev) == (null.st_mode, null.st_rdev)));
    is_null && flags.is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR)
}

/// Asks for one line on the terminal, without echo, if a person is at standard input; `instead` is what to do if nobody is.
pub(super) fn ask(stdin_is_terminal: bool, prompt: &str, instead: &str) -> Result<SecretValue> {
    let no_terminal = || Error::refused("there is no terminal to ask at", instead);
    if !stdin_is_terminal {
        return Err(no_terminal());
    }
    let mut terminal = std::fs::File::options().read(true).write(true).open("/dev/tty").map_err(|_| no_terminal())?;
    let before = tcgetattr(&terminal).map_err(|_| no_terminal())?;
    let mut quiet = before.clone();
    // Without ISIG, Ctrl-C is a byte; other signals wait as well: the echo is always switched on again.
    quiet.local_modes -= LocalModes::ECHO | LocalModes::ISIG | LocalModes::ICANON;
    let undisturbed = Undisturbed::begin();
    let answer = tcsetattr(&terminal, OptionalActions::Flush, &quiet).map_err(|_| no_terminal()).and_then(|()| {
        let shown = write!(terminal, "{}", visible(prompt)).map_err(|error| unreadable_terminal(&error));
        shown.and_then(|()| Keys::new(&mut terminal, &undisturbed).line())
    });
    let _ = tcsetattr(&terminal, OptionalActions::Flush, &before);
    let _ = writeln!(terminal);
    match undisturbed.end() {
        Some(signal) => Err(interrupted(signal)),
        None => answer,
    }
}

fn interrupted(signal: u8) -> Error {
    Error::new(ErrorKind::Interrupted(signal), "interrupted", "nothing was changed")
}

fn unreadable_terminal(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::InputOutput, "the terminal cannot be read", "name a file instead").why(error.to_string())
}

fn too_large(most: usize) -> Error {
    Error::bad_input(format!("standard input is larger than {} MiB", most >> 20), "check where it comes from")
}

fn unreadable(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::InputOutput, "standard input cannot be read", "check where it comes from").why(error.to_string())
}

/// How long pasted input may pause, in nanoseconds.
const PAUSE: i64 = 50_000_000;

/// How often to check whether a signal came, in nanoseconds.
const LOOK: i64 = 200_000_000;

/// The keys typed at a prompt.
struct Keys<'k> {
    terminal: &'k mut std::fs::File,
    undisturbed: &'k Undisturbed,
    /// What was read last, and which part of it is still to come.
    read: Zeroizing<[u8; 256]>,
    left: Range<usize>,
}

impl<'k> Keys<'k> {
    fn new(terminal: &'k mut std::fs::File, undisturbed: &'k Undisturbed) -> Self {
        Keys { terminal, undisturbed, read: Zeroizing::new([0; 256]), left: 0..0 }
    }

    /// One line, without anything that was pasted after it. Backspace, Ctrl-U and Ctrl-W edit it; other control characters spoil it.
    fn line(&mut self) -> Result<SecretValue> {
        let mut line = Zeroizing::new(Vec::with_capacity(MOST_PROVIDED_BYTES));
        let (mut too_long, mut odd) = (false, false);
        while let Some(byte) = self.next()? {
            match byte {
                b'\n' | b'\r' | 4 => break,
                3 => return Err(interrupted(2)),
                28 => return Err(interrupted(3)),
                8 | 127 => remove_character(&mut line),
                21 => {
                    line.zeroize();
                    (too_long, odd) = (false, false);
                }
                23 => remove_word(&mut line),
                _ if byte.is_ascii_control() => odd = true,
                _ if line.len() == MOST_PROVIDED_BYTES => too_long = true,
                _ => line.push(byte),
            }
        }
        let wrong = |what: &str, help: &str| Err(Error::bad_input(what, help));
        let from_file = "write the value into a file of mode 0600, and pass that";
        if self.is_more()? {
            return wrong("the answer has several lines, and one is asked for", from_file);
        }
        match std::str::from_utf8(&line) {
            _ if too_long => wrong(&format!("the answer is larger than {} KiB", MOST_PROVIDED_BYTES >> 10), from_file),
            text if odd || text.is_ok_and(|text| text.chars().any(char::is_control)) => {
                wrong("the answer has a control character, such as an arrow key's or a tab", "type it again; Ctrl-U removes the line")
            }
            _ if line.is_empty() => wrong("the answer is empty", "type or paste the value, then press Enter"),
            _ => Ok(SecretValue::new(line)),
        }
    }

    /// The next byte; none at the end of the input.
    fn next(&mut self) -> Result<Option<u8>> {
        while !self.comes_within(LOOK)? {}
        if self.left.is_empty() {
            self.left = 0..self.terminal.read(&mut *self.read).map_err(|error| unreadable_terminal(&error))?;
        }
        Ok(self.left.next().map(|at| self.read[at]))
    }

    /// Whether input comes within that time.
    fn comes_within(&self, nanoseconds: i64) -> Result<bool> {
        if let Some(signal) = self.undisturbed.signal() {
            return Err(interrupted(signal));
        }
        if !self.left.is_empty() {
            return Ok(true);
        }
        let time = Timespec { tv_sec: 0, tv_nsec: nanoseconds };
        match poll(&mut [PollFd::new(&*self.terminal, PollFlags::IN)], Some(&time)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(unreadable_terminal(&error.into())),
        }
    }

    /// Discards what was pasted after the line, which a shell would get otherwise; returns whether it was more than empty lines.
    fn is_more(&mut self) -> Result<bool> {
        let mut more = false;
        while self.comes_within(PAUSE)? {
            match self.next()? {
                None => break,
                Some(byte) => more |= !matches!(byte, b'\n' | b'\r' | 4),
            }
        }
        Ok(more)
    }
}

/// Removes the last character, which may have several bytes in UTF-8.
fn remove_character(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

fn remove_word(line: &mut Vec<u8>) {
    let end = line.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    let start = line[..end].iter().rposition(|byte| *byte == b' ').map_or(0, |space| space + 1);
    line.truncate(start);
}
