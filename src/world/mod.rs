//! Every effect: files, terminal, clock, entropy, git's ignore rules. It never decides what is done.

#[cfg(feature = "cluster")]
pub mod cluster;
pub mod files;
pub mod folder;
pub mod git;
pub mod process;
pub mod terminal;
pub mod tree;

use std::time::SystemTime;

use rand::rngs::SysRng;
use rand::{TryCryptoRng, TryRng};

use crate::model::{Entropy, EntropyFailed};
use terminal::Terminal;

/// What a run may touch beside the files that the operator named. A test makes its own.
pub struct World {
    /// Standard streams and prompts.
    pub terminal: Terminal,
    /// The time of day.
    pub clock: fn() -> SystemTime,
    /// Randomness.
    pub entropy: Box<Entropy>,
    /// How many threads may work at once.
    pub threads: std::num::NonZeroUsize,
}

impl World {
    /// The real one.
    pub fn real() -> Self {
        World {
            terminal: Terminal::real(),
            clock: SystemTime::now,
            entropy: Box::new(SystemEntropy),
            threads: std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN),
        }
    }
}

/// The operating system's randomness, with no fallback.
struct SystemEntropy;

impl TryRng for SystemEntropy {
    type Error = EntropyFailed;

    fn try_next_u32(&mut self) -> Result<u32, EntropyFailed> {
        SysRng.try_next_u32().map_err(|_| EntropyFailed)
    }

    fn try_next_u64(&mut self) -> Result<u64, EntropyFailed> {
        SysRng.try_next_u64().map_err(|_| EntropyFailed)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), EntropyFailed> {
        SysRng.try_fill_bytes(bytes).map_err(|_| EntropyFailed)
    }
}

impl TryCryptoRng for SystemEntropy {}
