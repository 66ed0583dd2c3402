//! Every effect: files, terminal, clock, entropy, git's ignore rules. It decides nothing.

#[cfg(feature = "cluster")]
pub mod cluster;
pub mod colors;
#[cfg(feature = "cluster")]
mod connection;
pub mod disk;
pub mod files;
pub mod folder;
pub mod git;
#[cfg(feature = "cluster")]
mod kubeconfig;
pub mod operator;
pub mod process;
pub mod progress;
#[cfg(feature = "cluster")]
pub mod proxy;
pub mod terminal;
pub mod tree;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::rngs::SysRng;
use rand::{TryCryptoRng, TryRng};
use x509_cert::der::DateTime;

use crate::model::{Entropy, EntropyFailed, Error, Result, USUAL_BITS};
use disk::Disk;
use terminal::Terminal;

/// Everything that a run may touch. A test makes its own.
pub struct World {
    pub terminal: Terminal,
    pub disk: Arc<dyn Disk>,
    /// The folder for what this tool remembers on this machine; none = there is none.
    pub state: Option<PathBuf>,
    /// The time of day.
    pub clock: fn() -> SystemTime,
    pub entropy: Box<Entropy>,
    /// How large a new sealing key is, in bits.
    pub key_bits: u32,
    /// How many threads may work at once.
    pub threads: std::num::NonZeroUsize,
    /// How long an age plugin may be silent before it is killed.
    pub plugin_patience: Duration,
    /// How long one request to an API server may take, including its answer.
    pub server_patience: Duration,
    /// The operator's home folder, where kubectl keeps its configuration.
    pub home: Option<std::path::PathBuf>,
    /// A variable of the environment, if it is set.
    pub variable: fn(&str) -> Option<String>,
}

impl World {
    /// The date this many days ago: `YYYY-MM-DD`, in UTC.
    pub fn day(&self, days_ago: u32) -> Result<String> {
        let then = (self.clock)().checked_sub(Duration::from_secs(u64::from(days_ago) * 24 * 60 * 60)).ok_or_else(unusable_clock)?;
        written(then)?.get(..10).map(str::to_owned).ok_or_else(unusable_clock)
    }

    /// The time: `YYYY-MM-DDTHH:MM:SSZ`, in UTC.
    pub fn time(&self) -> Result<String> {
        written((self.clock)())
    }

    /// The operating system's, except for the environment, which only `main` reads.
    pub fn real() -> Self {
        World {
            terminal: Terminal::real(),
            disk: disk::real(),
            state: None,
            clock: SystemTime::now,
            entropy: Box::new(SystemEntropy),
            key_bits: USUAL_BITS,
            threads: std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN),
            plugin_patience: Duration::from_secs(60),
            server_patience: Duration::from_secs(15),
            home: None,
            variable: |_| None,
        }
    }
}

fn written(time: SystemTime) -> Result<String> {
    Ok(DateTime::from_system_time(time).map_err(|_| unusable_clock())?.to_string())
}

fn unusable_clock() -> Error {
    Error::bad_input("the clock shows no day that can be written", "set the clock")
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
