//! The drill: could everything be restored from the files alone? It does what recovery would do, and keeps only numbers.

use super::generate;
use super::inventory::Inventory;
use super::unseal::Opened;
use crate::model::{Contract, Name, Recipe, Result, SecretValue};

/// What came of each part of the recovery.
pub struct Drill {
    /// When it was held, in UTC.
    pub time: String,
    /// The escrow: the recipient whose identity opened it, and how many keys it holds; or why it is of no use.
    pub escrow: Result<(String, usize)>,
    /// The controller's key Secret: rendered, and fit for the controller; or why not.
    pub key_secret: Result<()>,
    /// The sealed files.
    pub opened: Tries,
}

impl Drill {
    /// Whether every part succeeded.
    pub fn succeeded(&self) -> bool {
        let Tries { units, values, pairs } = &self.opened;
        self.escrow.is_ok() && self.key_secret.is_ok() && [units, values, pairs].iter().all(|share| share.good == share.all)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    pub good: usize,
    pub all: usize,
}

impl Share {
    fn count(&mut self, good: bool) {
        self.good += usize::from(good);
        self.all += 1;
    }
}

/// How much of what is sealed opens.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tries {
    pub units: Share,
    /// Values that open; those of a file that cannot be read are not known, and not counted.
    pub values: Share,
    pub pairs: Share,
}

/// Counts what opened, whether the contract knows it or not; `None` = there was no key to open anything with.
pub fn count(opened: Option<&Opened>, contract: &Contract, inventory: &Inventory) -> Tries {
    let mut tries = Tries::default();
    inventory.unreadable().for_each(|_| tries.units.count(false));
    for (path, secrets) in &inventory.sealed {
        let of_file = opened.map(|opened| opened.of(path)).unwrap_or_default();
        let mut values: Vec<(&Name, Option<&SecretValue>)> = Vec::new();
        for (i, secret) in secrets.iter().enumerate() {
            let several = of_file.get(i).and_then(|values| values.as_ref().ok());
            secret.encrypted.iter().for_each(|_| tries.values.count(several.is_some()));
            values.push((&secret.name, several.and_then(|several| several.last()).map(|(_, value)| value)));
        }
        tries.units.count(values.iter().all(|(_, value)| value.is_some()));
        count_pairs(contract, &values, &mut tries.pairs);
    }
    tries
}

fn count_pairs(contract: &Contract, values: &[(&Name, Option<&SecretValue>)], pairs: &mut Share) {
    for (name, hash) in values {
        let Some(Recipe::Bcrypt { of, .. }) = contract.key(name.as_str()).map(|key| &key.recipe) else { continue };
        let password = values.iter().find(|(name, _)| *name == of).and_then(|(_, value)| *value);
        pairs.count(matches!((hash, password), (Some(hash), Some(password)) if generate::matches(hash, password)));
    }
}
