//! Bytes to text: UTF-8, with or without a byte-order mark.

use crate::model::{Error, Result};

/// The text of a file's bytes, without its byte-order mark.
pub fn decode(bytes: &[u8]) -> Result<&str> {
    if bytes.is_empty() {
        return Err(Error::bad_input("empty file", "restore it, or pass another file"));
    }
    if is_utf_16(bytes) {
        return Err(Error::bad_input("UTF-16, not UTF-8", "save it as UTF-8"));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Error::bad_input(format!("not UTF-8 at byte {}", error.valid_up_to()), "save it as UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Whether bytes begin with a byte-order mark of UTF-16.
pub fn is_utf_16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])
}

/// Whether a YAML text has nothing but comments and empty lines.
pub fn says_nothing(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}
