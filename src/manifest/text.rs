//! Bytes to text: UTF-8, with or without a byte order mark.

use crate::model::{Error, Position, Result, quoted};

/// How to resolve a conflict in a file about which nothing else is known.
pub const RESOLVE: &str = "keep what is right of both sides, and remove the lines that begin with `<<<<<<<`, `=======` and `>>>>>>>`";

/// The text of a file's bytes, without its byte order mark.
pub fn decode(bytes: &[u8]) -> Result<&str> {
    decode_or(bytes, RESOLVE)
}

/// The same; `help` says how to resolve a conflict in this kind of file.
pub fn decode_or<'b>(bytes: &'b [u8], help: &str) -> Result<&'b str> {
    if bytes.is_empty() {
        return Err(Error::bad_input("empty file", "restore it, or pass another file"));
    }
    if is_utf_16(bytes) {
        return Err(Error::bad_input("UTF-16, not UTF-8", "save it as UTF-8"));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Error::bad_input(format!("not UTF-8 at byte {}", error.valid_up_to()), "save it as UTF-8"))?;
    if let Some(position) = conflict(bytes) {
        return Err(Error::bad_input("git left conflict markers here: a merge is not resolved", help).at(position));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The position of git's first conflict (git-merge(1), with or without the third part of `diff3`). Its markers are at the beginning of a
/// line, in this order, and seven characters long unless an attribute says otherwise.
pub fn conflict(bytes: &[u8]) -> Option<Position> {
    const MARKERS: [&[u8]; 3] = [b"<<<<<<<", b"=======", b">>>>>>>"];
    // Only these few files are searched line by line.
    memchr::memmem::find(bytes, MARKERS[0])?;
    let is = |line: &[u8], marker: &[u8]| line.strip_prefix(marker).is_some_and(|rest| matches!(rest.first(), None | Some(b' ' | b'\r')));
    let mut begun = None;
    let mut next = 0;
    for (i, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if is(line, MARKERS[0]) {
            (begun, next) = (Some((i + 1, 1)), 1);
        } else if next > 0 && is(line, MARKERS[next]) {
            next += 1;
        }
        if next == MARKERS.len() {
            return begun;
        }
    }
    None
}

/// How to resolve a conflict in a file of sealed values: a unit's values belong together.
pub fn one_side(file: &str) -> String {
    let file = quoted(file);
    format!("take one side, whole, and never mix the two: `git checkout --ours -- {file}` or `git checkout --theirs -- {file}`")
}

/// Whether bytes begin with a UTF-16 byte order mark.
pub fn is_utf_16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])
}

/// Whether a file's name ends with one of these, in lower or upper case.
pub fn ends(name: &str, endings: &[&str]) -> bool {
    let ends =
        |end: &&str| name.len().checked_sub(end.len()).is_some_and(|from| name.as_bytes()[from..].eq_ignore_ascii_case(end.as_bytes()));
    endings.iter().any(ends)
}

/// Whether a YAML text has nothing but comments and empty lines.
pub fn says_nothing(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}
