//! The drill: could everything be restored from the files alone? It does what recovery would do, and keeps only numbers.

use super::certificate::SealingCertificate;
use super::inventory::{self, Files};
use super::private_key::{self, SealingKey};
use super::{generate, unseal};
use crate::manifest::secret::read_key_secrets;
use crate::manifest::{sealed_secret, text};
use crate::model::{Contract, Error, Name, Recipe, Result, SecretValue};

/// What came of each part of the recovery.
pub struct Drill {
    /// When it was held, in UTC.
    pub time: String,
    /// The escrow: the recipient whose identity opened it, and how many keys it holds; or why it is of no use.
    pub escrow: Result<(String, usize)>,
    /// The controller's key Secret: rendered, and fit for the controller; or why not.
    pub key_secret: Result<()>,
    /// The sealed files.
    pub opened: Opened,
}

impl Drill {
    /// Whether every part succeeded.
    pub fn succeeded(&self) -> bool {
        let Opened { units, values, pairs } = &self.opened;
        self.escrow.is_ok() && self.key_secret.is_ok() && [units, values, pairs].iter().all(|share| share.good == share.all)
    }
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How many are as they should be.
    pub good: usize,
    /// How many there are.
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
pub struct Opened {
    /// Files of which every value opens.
    pub units: Share,
    /// Values that open; those of a file that cannot be read are not known, and not counted.
    pub values: Share,
    /// Hashes that belong to the password beside them.
    pub pairs: Share,
}

/// Reads rendered key Secrets as the controller does (sealed-secrets `pkg/controller/keys.go`, `readKey`): their type and
/// label, an RSA key and a certificate in PEM; and one has to be the pair that everything is sealed to.
pub fn check_key_secret(yaml: &str, certificate: &SealingCertificate) -> Result<()> {
    let keys = private_key::read(yaml)?;
    let secrets = read_key_secrets(yaml)?;
    let taken = secrets.len() == keys.len() && secrets.iter().all(|secret| secret.active);
    if taken && keys.iter().any(|key| key.digest == certificate.digest) {
        return Ok(());
    }
    Err(Error::refused("the key Secret is not one that the controller would take", "restore the escrow of this certificate"))
}

/// Opens whatever is sealed in these files, whether the contract knows it or not.
pub fn open_all(keys: &[SealingKey], contract: &Contract, files: &Files) -> Opened {
    let mut opened = Opened::default();
    for (_, bytes) in files.iter().filter(|(path, _)| inventory::is_sealed(path)) {
        let Ok(secrets) = text::decode(bytes).and_then(sealed_secret::read) else {
            opened.units.count(false);
            continue;
        };
        let mut values: Vec<(&Name, Option<SecretValue>)> = Vec::new();
        for secret in &secrets {
            let several = unseal::open_all(keys, secret).ok();
            secret.encrypted.iter().for_each(|_| opened.values.count(several.is_some()));
            values.push((&secret.name, several.and_then(|mut several| several.pop()).map(|(_, value)| value)));
        }
        opened.units.count(values.iter().all(|(_, value)| value.is_some()));
        count_pairs(contract, &values, &mut opened.pairs);
    }
    opened
}

fn count_pairs(contract: &Contract, values: &[(&Name, Option<SecretValue>)], pairs: &mut Share) {
    for (name, hash) in values {
        let Some(Recipe::Bcrypt { of, .. }) = contract.key(name.as_str()).map(|key| &key.recipe) else { continue };
        let password = values.iter().find(|(name, _)| *name == of).and_then(|(_, value)| value.as_ref());
        pairs.count(matches!((hash, password), (Some(hash), Some(password)) if generate::matches(hash, password)));
    }
}
