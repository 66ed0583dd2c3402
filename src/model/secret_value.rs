//! Plaintext.

use zeroize::Zeroizing;

/// A secret in the clear. It is wiped when dropped, and deliberately is neither `Debug`, `Display`, `Clone`,
/// `PartialEq` nor `Serialize`: the only way to its bytes is `.expose()`, and `tests/tidy.rs` says where that may be.
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Takes the bytes over; the caller keeps no copy.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        SecretValue(bytes)
    }

    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, which are still wiped when dropped.
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    /// Its length in bytes, which a SealedSecret makes public anyway.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn same_as(&self, other: &SecretValue) -> bool {
        self.0 == other.0
    }

    /// Whether it is this word, which is an answer and not a secret.
    pub fn is(&self, word: &str) -> bool {
        self.0.as_slice() == word.as_bytes()
    }

    /// Removes the line feed (LF or CRLF) behind a single line, which editors and `echo` leave there; whether there was one. A value of
    /// several lines keeps its last: without it a key in PEM, or one of SSH, is broken.
    pub fn without_line_feed(self) -> (Self, bool) {
        let trimmed = self.0.strip_suffix(b"\r\n").or_else(|| self.0.strip_suffix(b"\n"));
        match trimmed {
            Some(trimmed) if !trimmed.contains(&b'\n') => (SecretValue(Zeroizing::new(trimmed.to_vec())), true),
            _ => (self, false),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
