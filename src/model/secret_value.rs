//! The type of plaintext values.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use memchr::memmem;
use zeroize::Zeroizing;

/// A secret in the clear. It is wiped when dropped, and deliberately implements neither `Debug`, `Display`, `Clone`, `PartialEq` nor
/// `Serialize`: only `.expose()` gives access to its bytes, and `tests/tidy.rs` lists where that is allowed.
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

    /// Whether the two are equal, in a time that does not reveal where they differ.
    pub fn same_as(&self, other: &SecretValue) -> bool {
        same(&self.0, &other.0)
    }

    /// Whether a person's copy holds this value: an editor may have added a line feed to a single line.
    pub fn is_in(&self, copy: &SecretValue) -> bool {
        self.same_as(copy) || copy.before_line_feed().is_some_and(|line| same(&self.0, line))
    }

    /// The value in base64, as in a Secret.
    pub fn encoded(&self) -> SecretValue {
        SecretValue(Zeroizing::new(BASE64_STANDARD.encode(&*self.0).into_bytes()))
    }

    /// Where these bytes contain it.
    pub fn stands_in(&self, bytes: &[u8]) -> Option<usize> {
        memmem::find(bytes, &self.0)
    }

    /// Whether it is this word, which is an answer and not a secret.
    pub fn is(&self, word: &str) -> bool {
        self.0.as_slice() == word.as_bytes()
    }

    /// Removes the line feed (LF or CRLF) after a single line, which editors and `echo` add; returns whether there was one. A value of
    /// several lines keeps its last one: without it a PEM or SSH key is broken.
    pub fn without_line_feed(self) -> (Self, bool) {
        match self.before_line_feed() {
            Some(line) => (SecretValue(Zeroizing::new(line.to_vec())), true),
            None => (self, false),
        }
    }

    /// The single line before a line feed; none if there is no line feed, or more than one line.
    fn before_line_feed(&self) -> Option<&[u8]> {
        let line = self.0.strip_suffix(b"\r\n").or_else(|| self.0.strip_suffix(b"\n"));
        line.filter(|line| !line.contains(&b'\n'))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn same(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |found, (one, other)| found | (one ^ other));
    one.len() == other.len() && std::hint::black_box(differing) == 0
}
