//! Where a file differs from what the tool would write. Only lines that the tool would write are shown: any other may be a secret that
//! somebody pasted.

use std::borrow::Cow;

use crate::manifest::sealed_secret::{self, SEPARATOR, Sealed, SealedSecret};
use crate::model::Contract;

/// What the tool would write for the same values and days, with that mark; none for a SealedSecret that does not name its certificate.
pub fn document(contract: &Contract, secret: &SealedSecret, write_once: Option<String>) -> Option<String> {
    let name = secret.name.as_str();
    let sealed = Sealed { name, values: secret.encrypted.clone(), write_once, form: contract.form(name) };
    Some(sealed_secret::write_one(&contract.namespace, secret.certificate?, &sealed))
}

/// The first line, from 1, that differs, and what is wrong with it; none if no line differs. Line ends are git's affair (`core.autocrlf`).
pub fn first(expected: &str, found: &[u8]) -> Option<(usize, String)> {
    differs(expected, &with_line_feeds(found), &[])
}

/// The text with LF for CRLF if git turned every line end into CRLF; any other text unchanged.
fn with_line_feeds(text: &[u8]) -> Cow<'_, [u8]> {
    let lines = || text.split_inclusive(|byte| *byte == b'\n');
    if !lines().all(|line| line.ends_with(b"\r\n") || !line.ends_with(b"\n")) {
        return Cow::Borrowed(text);
    }
    lines().flat_map(|line| line.strip_suffix(b"\r\n").map_or([line, b""], |line| [line, b"\n"])).flatten().copied().collect()
}

/// [`first`], but a line that holds one of the `hidden` texts is not shown.
fn differs(expected: &str, found: &[u8], hidden: &[&str]) -> Option<(usize, String)> {
    let expected: Vec<&str> = expected.split('\n').collect();
    let found: Vec<&[u8]> = found.split(|byte| *byte == b'\n').collect();
    let at = (0..expected.len().max(found.len())).find(|i| expected.get(*i).map(|line| line.as_bytes()) != found.get(*i).copied())?;
    // Nothing follows the last line feed.
    let lines = expected.len() - 1;
    Some(match (at < lines, at < found.len()) {
        (true, _) if hidden.iter().any(|hidden| expected[at].contains(hidden)) => (at + 1, "not as it should be".to_owned()),
        (true, _) => (at + 1, format!("not as it should be; here should stand `{}`", expected[at])),
        (false, true) => (lines + 1, "from here on there is more than should be in it".to_owned()),
        (false, false) => (lines, "the line feed at its end is missing".to_owned()),
    })
}

/// [`first`] for a unit's file. `expected` has a document for each of its SealedSecrets, in their order; none if it is already known how
/// that one differs.
pub fn of_unit(expected: &[Option<String>], found: &[u8], secrets: &[SealedSecret]) -> Option<(usize, String)> {
    let pieces = pieces(&with_line_feeds(found), secrets);
    let last = pieces.len().saturating_sub(1);
    pieces.into_iter().zip(expected).enumerate().find_map(|(i, ((start, piece), expected))| {
        let separator = if i < last { SEPARATOR } else { "" };
        // What looks like a sealed value may be plaintext.
        let blobs: Vec<&str> = secrets[i].encrypted.iter().map(|one| one.blob.as_str()).collect();
        let (line, what) = differs(&format!("{}{separator}", expected.as_ref()?), &piece, &blobs)?;
        Some((start + line, what))
    })
}

/// Cuts a unit's file before each of its SealedSecrets: how many lines precede each piece, and the piece. Together they are the whole file.
fn pieces(text: &[u8], secrets: &[SealedSecret]) -> Vec<(usize, Vec<u8>)> {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let mut starts = vec![0];
    for secret in secrets.iter().skip(1) {
        let before = starts[starts.len() - 1];
        let at = secret.position.0.saturating_sub(1).clamp(before, lines.len());
        // What follows the separator belongs to the next piece.
        let separator = lines[before..at].iter().rposition(|line| line.starts_with(b"---"));
        starts.push(separator.map_or(at, |i| before + i + 1));
    }
    let ends = starts.iter().skip(1).copied().chain([lines.len()]);
    starts.iter().zip(ends).map(|(start, end)| (*start, lines[*start..end].concat())).collect()
}
