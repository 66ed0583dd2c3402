//! The error: what, why, help. Also the only mapping from its kind to an exit code.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Line and column in a text, in characters, each from 1.
pub type Position = (usize, usize);

/// What went wrong; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line cannot be understood.
    Usage,
    /// A file or value cannot be used as it is.
    BadInput,
    /// It is possible, but would do harm.
    Refused,
    /// The operating system refused.
    InputOutput,
    /// A value cannot be opened, or there is no randomness.
    Cryptography,
    /// A live cluster cannot be reached, or refuses.
    Cluster,
    /// An API server rejects the credentials.
    Unauthorized,
    /// An API server accepts the credentials but denies the request.
    Forbidden,
    Busy,
    /// Everything is written, but the disk did not confirm it.
    Unconfirmed,
    /// This signal arrived at a prompt, or the operator pressed Ctrl-C, which counts as SIGINT.
    Interrupted(u8),
}

impl ErrorKind {
    /// The process's exit code. Two codes are not errors: 0 is done, 1 is done and found something.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Usage => 2,
            ErrorKind::BadInput => 3,
            ErrorKind::Refused => 4,
            ErrorKind::InputOutput => 5,
            ErrorKind::Cryptography => 6,
            ErrorKind::Cluster | ErrorKind::Unauthorized | ErrorKind::Forbidden => 7,
            ErrorKind::Busy => 8,
            ErrorKind::Unconfirmed => 9,
            ErrorKind::Interrupted(signal) => 128 + signal,
        }
    }
}

/// What is wrong, why, and what to do. It never contains a value: only names of files, keys and fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    // Boxed, so that a `Result` without an error is small.
    text: Box<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Text {
    file: Option<String>,
    position: Option<Position>,
    what: String,
    why: Option<String>,
    help: String,
}

impl ErrorKind {
    /// Whether the cluster is the cause, so that trying the next input makes no sense.
    pub fn is_of_the_cluster(self) -> bool {
        matches!(self, ErrorKind::Cluster | ErrorKind::Unauthorized | ErrorKind::Forbidden)
    }
}

impl Error {
    /// `what` is wrong and `help` fixes it; both in lower case, without a final period.
    pub fn new(kind: ErrorKind, what: impl Into<String>, help: impl Into<String>) -> Self {
        let text = Text { file: None, position: None, what: what.into(), why: None, help: help.into() };
        Error { kind, text: Box::new(text) }
    }

    /// Input that cannot be used as it is (exit code 3).
    pub fn bad_input(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadInput, what, help)
    }

    /// Something that would do harm (exit code 4).
    pub fn refused(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, what, help)
    }

    /// A command line that cannot be understood (exit code 2).
    pub fn usage(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, what, help)
    }

    /// A value that cannot be opened, or a cipher that failed (exit code 6).
    pub fn cryptography(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(ErrorKind::Cryptography, what, help)
    }

    /// Adds the reason, if `what` alone does not say it.
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.text.why = Some(why.into());
        self
    }

    /// Adds the line and column (from 1) in a text; the caller adds its file with [`Error::in_file`].
    pub fn at(mut self, position: Position) -> Self {
        self.text.position = Some(position);
        self
    }

    /// Adds the file, unless it already has one.
    pub fn in_file(mut self, file: &str) -> Self {
        self.text.file.get_or_insert_with(|| file.to_owned());
        self
    }

    /// Makes its file, if it has one, relative to this folder.
    pub fn within(mut self, folder: &str) -> Self {
        self.text.file = self.text.file.map(|file| std::path::Path::new(folder).join(file).to_string_lossy().into_owned());
        self
    }

    /// The same, with commands that work on this run's folders.
    pub fn with_commands(mut self, places: &super::Places) -> Self {
        self.text.help = places.pasteable(&self.text.help);
        self
    }

    /// The same without a typed path that may be a secret: `name` replaces it, in commands `value_name`.
    pub fn without(mut self, typed: &str, flag: &str, value_name: &str, name: &str) -> Self {
        /// Shorter ones could be part of any word.
        const LEAST: usize = 8;
        let text = &mut *self.text;
        if let Some(rest) = text.file.as_deref().and_then(|file| file.strip_prefix(typed)) {
            match rest.strip_prefix('/') {
                Some(rest) => text.file = Some(format!("{rest} in {name}")),
                None if rest.is_empty() => text.file = Some(name.to_owned()),
                None => {}
            }
        }
        for text in [Some(&mut text.what), text.why.as_mut(), Some(&mut text.help), text.file.as_mut()].into_iter().flatten() {
            *text = text.replace(&format!("{flag} {} ", super::quoted(typed)), &format!("{flag} {value_name} "));
            if typed.len() >= LEAST {
                *text = text.replace(typed, name).replace(&visible(typed), name);
            }
        }
        self
    }

    /// What is wrong, in one line, without the position.
    pub fn what(&self) -> String {
        visible(&self.text.what)
    }

    /// The reason, in one line, if it has one.
    pub fn reason(&self) -> Option<String> {
        self.text.why.as_deref().map(visible)
    }

    pub fn help(&self) -> String {
        visible(&self.text.help)
    }

    /// Its file, or nothing.
    pub fn file(&self) -> String {
        visible(self.text.file.as_deref().unwrap_or_default())
    }

    /// `file:line:column`, as far as known.
    pub fn place(&self) -> String {
        let position = self.text.position.map_or(String::new(), |(line, column)| format!(":{line}:{column}"));
        self.file() + &position
    }

    pub fn position(&self) -> Option<Position> {
        self.text.position
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Text { file, position, what, why, help } = &*self.text;
        write!(out, "error: ")?;
        if let Some(file) = file {
            write!(out, "{}:", visible(file))?;
        }
        if let Some((line, column)) = position {
            write!(out, "{line}:{column}:")?;
        }
        if file.is_some() || position.is_some() {
            write!(out, " ")?;
        }
        write!(out, "{}", visible(what))?;
        if let Some(why) = why {
            write!(out, "\n  {}", visible(why))?;
        }
        write!(out, "\nhelp: {}", visible(help))
    }
}

impl std::error::Error for Error {}

/// The text with every character escaped that could move the cursor, start a line or hide itself.
pub fn visible(text: &str) -> String {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.to_owned();
    }
    let hides =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hides(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A count and its noun: `1 value`, `2 values`.
pub fn counted(count: usize, noun: &str) -> String {
    format!(
        "{count} {noun}{}",
        if count == 1 {
            ""
        } else if noun.ends_with('s') {
            "es"
        } else {
            "s"
        }
    )
}

/// The help for an unknown word: suggests the known one that was meant, or else is `otherwise`.
pub fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    near(word, known).map_or(otherwise.to_owned(), |meant| format!("did you mean `{meant}`?"))
}

/// The nearest word of `known` to `word`, if it is near enough to be what was meant.
pub fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 2))
        .min()
        .map(|(_, candidate)| candidate)
}
