//! The terminal policy: data and results go to standard output, warnings and errors to standard error; a secret is
//! asked for on the terminal itself, without echo; without a terminal nothing prompts.

use std::io::{IsTerminal, Read, Write};

use rustix::fs::OFlags;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::{Zeroize, Zeroizing};

use crate::manifest::yaml::MOST_BYTES;
use crate::model::{Error, ErrorKind, MOST_PROVIDED_BYTES, Result, SecretValue, visible};

pub struct Terminal {
    pub stdin: Box<dyn Read>,
    pub stdout: Box<dyn Write>,
    pub stderr: Box<dyn Write>,
    /// Whether a person reads standard output.
    pub stdout_is_terminal: bool,
    /// Whether a person sits at standard input.
    pub stdin_is_terminal: bool,
    /// Whether a person reads standard error.
    pub stderr_is_terminal: bool,
}

impl Terminal {
    pub fn real() -> Self {
        Terminal {
            stdin: Box::new(std::io::stdin()),
            stdout: if was_closed() { Box::new(Closed) } else { Box::new(std::io::stdout()) },
            stderr: Box::new(std::io::stderr()),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Data or a result, to standard output.
    pub fn print(&mut self, text: &str) -> Result<()> {
        self.print_bytes(text.as_bytes())
    }

    /// Data, to standard output.
    pub fn print_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.stdout.write_all(bytes).and_then(|()| self.stdout.flush());
        written.map_err(|error| {
            Error::new(ErrorKind::InputOutput, "standard output cannot be written", "check the pipe or the disk it goes to")
                .why(error.to_string())
        })
    }

    /// Something to know beside the data, to standard error.
    pub fn tell(&mut self, text: &str) {
        let _ = self.stderr.write_all(text.as_bytes());
    }

    /// How far a long run is, in a line that the next call replaces; none removes it. Only a person gets to see it.
    pub fn progress(&mut self, share: Option<(usize, usize)>) {
        const WIDTH: usize = 40;
        if !self.stderr_is_terminal {
            return;
        }
        let line = share.map_or(String::new(), |(done, all)| {
            let full = WIDTH * done / all.max(1);
            format!("[{}{}] {done} of {all}", "#".repeat(full), " ".repeat(WIDTH - full))
        });
        // Back to the line's begin, and clear it (ECMA-48, EL).
        let _ = write!(self.stderr, "\r\u{1b}[K{line}").and_then(|()| self.stderr.flush());
    }

    /// A warning, to standard error; that it cannot be written is no reason to stop.
    pub fn warn(&mut self, text: &str) {
        let _ = writeln!(self.stderr, "warning: {}", visible(text));
    }

    /// The whole of standard input, which is or holds secrets, of at most 16 MiB. Empty is a usage error.
    pub fn read_secret(&mut self) -> Result<SecretValue> {
        // All of it at once: a vector that grows leaves copies behind.
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

    /// The whole of standard input, which is no secret: manifests to be filtered, of any usual size.
    pub fn read_input(&mut self, most: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&mut self.stdin).take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        if bytes.len() > most {
            return Err(too_large(most));
        }
        Ok(bytes)
    }

    /// Refuses to show secrets on a terminal, unless the command line asked for it; `instead` is a command to paste.
    pub fn check_reveal(&self, asked: bool, instead: &str) -> Result<()> {
        if asked || !self.stdout_is_terminal {
            return Ok(());
        }
        Err(Error::refused("secrets would be shown on this terminal", format!("pipe them: `{instead}`; or add `--reveal`")))
    }

    /// Before something that cannot be undone, a person agrees at the terminal, unless the command line did. `what` is an
    /// imperative: `replace 2 values`.
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
        ask(self.stdin_is_terminal, prompt, "name a file, or pipe the value into standard input: `KEY=FILE`, `KEY=-`")
    }
}

/// Whether standard output was closed when the process started. Rust opens `/dev/null` in its place, for reading and writing, and
/// then every write succeeds; a shell's `> /dev/null` opens it for writing only, and is a good place to write to.
fn was_closed() -> bool {
    let (here, null) = (rustix::fs::fstat(std::io::stdout()), rustix::fs::stat("/dev/null"));
    let flags = rustix::fs::fcntl_getfl(std::io::stdout());
    let is_null = here.is_ok_and(|here| null.is_ok_and(|null| (here.st_mode, here.st_rdev) == (null.st_mode, null.st_rdev)));
    is_null && flags.is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR)
}

/// Standard output that was closed.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(rustix::io::Errno::BADF.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Err(rustix::io::Errno::BADF.into())
    }
}

/// Asks for one line on the terminal, without echo, where a person sits at standard input; `instead` is what to do where
/// nobody does.
pub(super) fn ask(stdin_is_terminal: bool, prompt: &str, instead: &str) -> Result<SecretValue> {
    let no_terminal = || Error::refused("there is no terminal to ask at", instead);
    if !stdin_is_terminal {
        return Err(no_terminal());
    }
    let mut terminal = std::fs::File::options().read(true).write(true).open("/dev/tty").map_err(|_| no_terminal())?;
    let before = tcgetattr(&terminal).map_err(|_| no_terminal())?;
    let mut quiet = before.clone();
    // Without ISIG, Ctrl-C is a byte: the echo is always switched on again.
    quiet.local_modes -= LocalModes::ECHO | LocalModes::ISIG | LocalModes::ICANON;
    tcsetattr(&terminal, OptionalActions::Flush, &quiet).map_err(|_| no_terminal())?;
    let answer = write!(terminal, "{}", visible(prompt)).and_then(|()| read_line(&mut terminal));
    let _ = tcsetattr(&terminal, OptionalActions::Flush, &before);
    let _ = writeln!(terminal);
    match answer {
        Ok(Some(line)) if line.is_empty() => Err(Error::bad_input("the answer is empty", "type or paste the value, then press Enter")),
        Ok(Some(line)) => Ok(line),
        Ok(None) => Err(Error::new(ErrorKind::Interrupted, "interrupted", "nothing was changed")),
        Err(error) => Err(Error::new(ErrorKind::InputOutput, "the terminal cannot be read", "name a file instead").why(error.to_string())),
    }
}

fn too_large(most: usize) -> Error {
    Error::bad_input(format!("standard input is larger than {} MiB", most >> 20), "check where it comes from")
}

fn unreadable(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::InputOutput, "standard input cannot be read", "check where it comes from").why(error.to_string())
}

/// One line, byte by byte; `None` for Ctrl-C. Backspace works.
fn read_line(terminal: &mut impl Read) -> std::io::Result<Option<SecretValue>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MOST_PROVIDED_BYTES));
    let mut byte = [0];
    loop {
        let ended = terminal.read(&mut byte)? == 0 || matches!(byte[0], b'\n' | b'\r' | 4);
        match byte[0] {
            _ if ended || line.len() == line.capacity() => break,
            3 | 28 => return Ok(None),
            8 | 127 => drop(line.pop()),
            other => line.push(other),
        }
        byte.zeroize();
    }
    Ok(Some(SecretValue::new(line)))
}
