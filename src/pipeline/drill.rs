//! The drill: could everything be restored from the files alone? It performs the recovery, and keeps only numbers.

use super::generate;
use super::inventory::Inventory;
use super::unseal::Opened;
use crate::model::{Contract, KeyName, Result, SecretValue};

/// The result of each part of the recovery.
pub struct Drill {
    /// When the drill took place, in UTC.
    pub time: String,
    /// The escrow: the recipient whose identity opened it, and how many keys it holds; or why it cannot be used.
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

/// How many sealed values open.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tries {
    pub units: Share,
    /// Values that open. A file that cannot be read adds none, because its values are unknown.
    pub values: Share,
    pub pairs: Share,
}

/// Counts what opened, in the contract or not; `None` = no key was available.
pub fn count(opened: Option<&Opened>, contract: &Contract, inventory: &Inventory) -> Tries {
    let mut tries = Tries::default();
    inventory.unreadable().for_each(|_| tries.units.count(false));
    for (path, secrets) in &inventory.sealed {
        let of_file = opened.map(|opened| opened.of(path)).unwrap_or_default();
        let mut values: Vec<(KeyName, Option<&SecretValue>)> = Vec::new();
        for (i, secret) in secrets.iter().enumerate() {
            let several = of_file.get(i).and_then(|values| values.as_ref().ok());
            secret.encrypted.iter().for_each(|_| tries.values.count(several.is_some()));
            for one in &secret.encrypted {
                let value = several.and_then(|several| several.iter().find(|(key, _)| key == one.key.as_str()));
                values.push((KeyName::of(&secret.name, &one.key), value.map(|(_, value)| value)));
            }
        }
        tries.units.count(values.iter().all(|(_, value)| value.is_some()));
        count_pairs(contract, &values, &mut tries.pairs);
    }
    tries
}

fn count_pairs(contract: &Contract, values: &[(KeyName, Option<&SecretValue>)], pairs: &mut Share) {
    let known = |name: &KeyName| values.iter().find(|(other, _)| other == name).and_then(|(_, value)| *value);
    for (name, hash) in values {
        let Some(recipe) = contract.key(name.as_str()).map(|key| &key.recipe).filter(|recipe| recipe.is_derived()) else { continue };
        let whole = recipe.sources().into_iter().all(|of| known(of).is_some());
        pairs.count(hash.is_some_and(|hash| whole && generate::agrees(recipe, hash, &known)));
    }
}
