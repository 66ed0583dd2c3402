//! What is sealed to which key, and which keys are still needed.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use super::private_key::{Pair, Pairs};
use super::re_encrypt::sealed_to;
use crate::manifest::blobs::ForeignSealedSecret;
use crate::model::{CertificateDigest, Sorted};

/// The counts, by key.
pub struct Status {
    pub pinned: CertificateDigest,
    /// By key, how many SealedSecrets have values that are sealed to it.
    pub needed: BTreeMap<CertificateDigest, usize>,
    /// How many SealedSecrets are sealed to an unknown key.
    pub unknown: usize,
    /// Files that could not be read, or were skipped.
    pub unread: usize,
    /// The escrow's keys, if it was opened.
    pub escrow: Option<Pairs>,
}

/// A key of the escrow.
pub struct KeyStatus<'s> {
    pub pair: &'s Pair,
    /// When its certificate began, if it has one.
    pub begins: Option<String>,
    pub count: usize,
    /// Whether it is needed; none = unknown.
    pub needed: Option<bool>,
}

impl Status {
    /// Nothing is counted yet.
    pub fn new(pinned: CertificateDigest, escrow: Option<Pairs>) -> Self {
        Status { pinned, needed: BTreeMap::new(), unknown: 0, unread: 0, escrow }
    }

    /// Counts a SealedSecret, and returns the keys that it is sealed to, if known. The key that opens it decides; without keys, what it
    /// says itself.
    pub fn count(&mut self, one: &ForeignSealedSecret) -> Option<BTreeSet<CertificateDigest>> {
        let keys = match &self.escrow {
            Some(escrow) => sealed_to(one, &escrow.openers),
            None => one.certificate.map(|key| iter::once(key).sorted()),
        };
        match &keys {
            Some(keys) => keys.iter().for_each(|key| *self.needed.entry(*key).or_default() += 1),
            None => self.unknown += 1,
        }
        keys
    }

    /// The keys of the escrow.
    pub fn escrowed(&self) -> impl Iterator<Item = KeyStatus<'_>> {
        self.escrow.iter().flat_map(|escrow| &escrow.list).map(|pair| {
            let count = self.needed.get(&pair.digest).copied().unwrap_or(0);
            let needed = count > 0 || pair.digest == self.pinned;
            let begins = pair.certificate.as_ref().map(|(certificate, _)| certificate.begins());
            KeyStatus { pair, begins, count, needed: (needed || self.unknown + self.unread == 0).then_some(needed) }
        })
    }
}
