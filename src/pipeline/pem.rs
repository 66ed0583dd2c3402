//! PEM text (RFC 7468): its blocks and their bytes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::model::{Error, Result};

/// One block between its BEGIN and END lines.
pub struct Block<'t> {
    /// The text after BEGIN, such as `CERTIFICATE`.
    pub label: &'t str,
    pub der: Zeroizing<Vec<u8>>,
    /// Whether it needs a passphrase, as its header says (RFC 1421).
    pub encrypted: bool,
    /// The line of its BEGIN, from 1.
    pub line: usize,
}

/// The blocks of a text; text around them is skipped, as openssl and kubeseal do.
pub fn read(text: &str) -> Result<Vec<Block<'_>>> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, usize, bool, Zeroizing<String>)> = None;
    for (i, line) in text.lines().enumerate() {
        let line_number = i + 1;
        let trimmed = line.trim();
        let marker = |word: &str| trimmed.strip_prefix(word)?.strip_suffix("-----");
        if trimmed.contains("-----BEGIN ") && trimmed.contains("-----END ") {
            return Err(on_one_line().at((line_number, 1)));
        }
        if let Some((label, begin, encrypted, mut body)) = open.take() {
            if marker("-----END ").is_some_and(|end| end == label) {
                let der = BASE64_STANDARD.decode(body.as_bytes()).map_err(|_| {
                    Error::bad_input(format!("the base64 of this {} is incomplete", shown(label)), "restore the file from where it came")
                        .at((begin, 1))
                })?;
                blocks.push(Block { label, der: Zeroizing::new(der), encrypted, line: begin });
                continue;
            }
            // A header precedes the base64, followed by an empty line.
            if body.is_empty() && (trimmed.is_empty() || trimmed.contains(": ")) {
                open = Some((label, begin, encrypted || trimmed.starts_with("Proc-Type: 4,ENCRYPTED"), body));
                continue;
            }
            if let Some(column) = trimmed.find(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c)) {
                let help = "restore the file from where it came";
                return Err(Error::bad_input(
                    format!("a character that is not base64, in the {} that begins in line {begin}", shown(label)),
                    help,
                )
                .at((line_number, column + 1)));
            }
            body.push_str(trimmed);
            open = Some((label, begin, encrypted, body));
        } else if let Some(label) = marker("-----BEGIN ") {
            let body = Zeroizing::new(String::with_capacity(text.len()));
            open = Some((label, line_number, false, body));
        }
    }
    match open {
        Some((label, begin, ..)) => Err(Error::bad_input(
            format!("the {} that begins here has no END line", shown(label)),
            "it was cut off; restore the file from where it came",
        )
        .at((begin, 1))),
        None => Ok(blocks),
    }
}

fn on_one_line() -> Error {
    let help = "where `\\n` stands for them, pass `<(printf '%b' \"$(cat FILE)\")` in its place; or else write BEGIN, base64 and END on lines of their own";
    Error::bad_input("the line feeds of this PEM are missing", help)
}

/// A block's label, if it is a usual one: any other may be a secret that was pasted there.
pub fn shown(label: &str) -> String {
    let usual =
        ["CERTIFICATE", "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "PUBLIC KEY", "CERTIFICATE REQUEST"];
    if usual.contains(&label) { format!("`{label}`") } else { "PEM block".to_owned() }
}

/// Encodes these bytes as PEM.
pub fn write(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(BASE64_STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for start in (0..body.len()).step_by(64) {
        text.push_str(&body[start..body.len().min(start + 64)]);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
