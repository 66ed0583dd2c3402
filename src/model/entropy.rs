//! Randomness as an argument of the stages, so that a test can pass something else.

use std::fmt;

use rand::TryCryptoRng;

use super::{Error, Result};

/// A cryptographic source of randomness that may fail.
pub type Entropy = dyn TryCryptoRng<Error = EntropyFailed>;

/// Tries a source before use: one that fails, or is stuck, is an error.
pub fn check_entropy(entropy: &mut Entropy) -> Result<()> {
    let mut draws = [[0; 32]; 2];
    draws.iter_mut().try_for_each(|draw| entropy.try_fill_bytes(draw))?;
    if draws[0] == draws[1] { Err(repeats()) } else { Ok(()) }
}

/// The error that the same bytes came twice.
pub fn repeats() -> Error {
    Error::cryptography(
        "the randomness repeats itself",
        "see whether `head -c 32 /dev/urandom | base64` prints another line each time, or use another machine",
    )
}

#[derive(Debug)]
pub struct EntropyFailed;

impl fmt::Display for EntropyFailed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("no randomness")
    }
}

impl std::error::Error for EntropyFailed {}

impl From<EntropyFailed> for Error {
    fn from(_: EntropyFailed) -> Self {
        Error::cryptography(
            "the operating system gives no randomness",
            "nothing was made; try again once `head -c 32 /dev/urandom` works on this machine",
        )
    }
}
