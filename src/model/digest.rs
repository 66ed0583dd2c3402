//! Identifies a sealing key: the format of sealed-secrets has no key id.

use std::fmt;

use super::{Error, Result};

/// SHA-256 of a certificate's DER `SubjectPublicKeyInfo`, written as `sha256:` and 64 lower-case hex digits. It covers only the public key,
/// so that a renewed certificate of the same key keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateDigest([u8; 32]);

impl CertificateDigest {
    pub fn new(sha256: [u8; 32]) -> Self {
        CertificateDigest(sha256)
    }

    /// Reads `sha256:` and 64 hex digits.
    pub fn parse(text: &str) -> Result<Self> {
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64);
        let nibble = |b: u8| (b as char).to_digit(16).map(|n| n as u8);
        let mut digest = [0; 32];
        for (i, byte) in digest.iter_mut().enumerate() {
            let pair = hex.map(|hex| &hex.as_bytes()[2 * i..2 * i + 2]);
            *byte = pair
                .and_then(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?))
                .ok_or_else(|| Error::bad_input("not a certificate digest", "write it as `sha256:` and 64 hex digits"))?;
        }
        Ok(CertificateDigest(digest))
    }
}

impl fmt::Display for CertificateDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Written as one string, because every sealed file has it.
        let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
        let hex: String = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        write!(out, "sha256:{hex}")
    }
}
