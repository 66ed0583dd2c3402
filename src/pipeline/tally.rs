//! What a run over many SealedSecrets did, or would do: counted on the way, so that memory does not grow with their number.

use super::re_encrypt::{Done, State};
use crate::model::{CertificateDigest, Error, Result};

/// What happened to one SealedSecret, or to a file.
pub enum Event {
    /// It is re-encrypted.
    Moved {
        file: String,
        name: String,
        /// The key that it was sealed to, if known.
        from: Option<CertificateDigest>,
    },
    /// It cannot be read or opened.
    Failed(Error),
}

#[derive(Default)]
pub struct Tally {
    pub moved: usize,
    pub files: usize,
    /// SealedSecrets that are already sealed to the current certificate.
    pub current: usize,
    /// SealedSecrets and files that cannot be read or opened.
    pub failed: usize,
    /// Whether the runbook changes with them.
    pub runbook: bool,
    /// Whether each new value was opened again.
    pub proved: bool,
}

impl Tally {
    /// Counts a file, and passes each of its SealedSecrets to `tell`.
    pub fn count(&mut self, file: &str, done: Result<Done>, tell: &mut dyn FnMut(Event) -> Result<()>) -> Result<()> {
        let done = match done {
            Ok(done) => done,
            Err(error) => return self.fail(error.in_file(file), tell),
        };
        let before = self.moved;
        for (name, state) in done.secrets {
            match state {
                State::Present => self.current += 1,
                State::PassedOver => {}
                State::Failed(error) => self.fail(error.in_file(file), tell)?,
                State::Moved(from) => {
                    self.moved += 1;
                    tell(Event::Moved { file: file.to_owned(), name, from })?;
                }
            }
        }
        self.files += usize::from(self.moved > before);
        Ok(())
    }

    /// Counts something that cannot be read or opened.
    pub fn fail(&mut self, error: Error, tell: &mut dyn FnMut(Event) -> Result<()>) -> Result<()> {
        self.failed += 1;
        tell(Event::Failed(error))
    }
}
