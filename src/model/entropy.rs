//! Randomness, as the stages see it: they are handed it, so that a test can hand them something else.

use std::fmt;

use rand::TryCryptoRng;

/// A cryptographic source of randomness that may fail.
pub type Entropy = dyn TryCryptoRng<Error = EntropyFailed>;

#[derive(Debug)]
pub struct EntropyFailed;

impl fmt::Display for EntropyFailed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("no randomness")
    }
}

impl std::error::Error for EntropyFailed {}

impl From<EntropyFailed> for super::Error {
    fn from(_: EntropyFailed) -> Self {
        super::Error::cryptography(
            "the operating system gives no randomness",
            "nothing was made; try again once `head -c 32 /dev/urandom` works on this machine",
        )
    }
}
