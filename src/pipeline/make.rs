//! generate → seal: from a plan to the texts of its sealed units. Plaintext exists only here and in the operator's copies.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use zeroize::Zeroizing;

use super::certificate::FitCertificate;
use super::generate;
use super::inventory::Inventory;
use super::seal::{Labelled, Sealer};
use crate::manifest::sealed_secret::{self, Encrypted, Sealed};
use crate::model::{Change, Contract, DataKey, Entropy, Key, KeyName, Plan, Result, SecretValue, Sorted, Unit, mark};

/// The content of a plan's units.
pub struct Made {
    /// The texts of their files, in the order of the plan.
    pub files: Vec<String>,
    /// The values of the operator's copies, in the clear.
    pub copies: Vec<(KeyName, Zeroizing<Vec<u8>>)>,
}

/// The day on which a key's value was first sealed, where known.
pub type SealedOn<'d> = &'d dyn Fn(&KeyName) -> Option<String>;

/// The inputs of a run.
pub struct Basis<'b> {
    pub contract: &'b Contract,
    /// The sealed values: those that are not made again stay as they are.
    pub inventory: &'b Inventory,
    pub certificate: &'b FitCertificate,
    /// Sealed values that stay, and that new ones are made of.
    pub sources: &'b BTreeMap<KeyName, SecretValue>,
    pub sealed_on: SealedOn<'b>,
}

/// Makes every value that a plan seals; `provided` holds the existing ones.
pub fn make(
    basis: &Basis<'_>,
    plan: &Plan,
    mut provided: BTreeMap<KeyName, SecretValue>,
    now: std::time::SystemTime,
    entropy: &mut Entropy,
    threads: NonZeroUsize,
) -> Result<Made> {
    let contract = basis.contract;
    let units: BTreeMap<_, _> = contract.units().into_iter().map(|unit| (unit.name, unit)).sorted();
    let (mut labelled, mut copies, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
    for change in &plan.changes {
        let Change::Seal { unit, file, keys, copies: copied, .. } = change else { continue };
        let unit = &units[unit];
        let values = generate::generate(unit, keys, &mut provided, basis.sources, now, entropy)?;
        copies.extend(values.iter().filter(|(key, _)| copied.contains(&key.name)).map(|(key, value)| {
            let value = Zeroizing::new(value.expose().to_vec());
            (key.name.clone(), value)
        }));
        sealed.push(secrets(basis, unit, file, values, &mut labelled));
    }
    let mut blobs = Sealer::new(basis.certificate)?.seal_all(labelled, entropy, threads)?.into_iter();
    let files = sealed.into_iter().map(|mut secrets| {
        let values = secrets.iter_mut().flat_map(|secret: &mut Sealed<'_>| &mut secret.values);
        values.filter(|one| one.blob.is_empty()).for_each(|one| one.blob = blobs.next().unwrap_or_default());
        sealed_secret::write(&contract.namespace, basis.certificate.digest, &secrets)
    });
    Ok(Made { files: files.collect(), copies })
}

/// The Secrets of a unit, with its sealed values and its new ones, whose blobs are still empty. `labelled` gets the new values, in this
/// order.
fn secrets<'b>(
    basis: &'b Basis<'_>,
    unit: &Unit<'b>,
    file: &str,
    mut made: Vec<(&'b Key, SecretValue)>,
    labelled: &mut Vec<Labelled>,
) -> Vec<Sealed<'b>> {
    let (contract, before) = (basis.contract, basis.inventory.sealed.get(file));
    let mut sealed = Vec::new();
    for (name, keys) in unit.secrets() {
        let before = before.into_iter().flatten().find(|secret| secret.name.as_str() == name);
        let mut values: Vec<Encrypted> = before.map_or(Vec::new(), |secret| secret.encrypted.clone());
        for (key, value) in made.extract_if(.., |(key, _)| key.name.secret() == name) {
            values.retain(|one| one.key.as_str() != key.name.property());
            values.push(Encrypted {
                key: DataKey::new(key.name.property()).expect("a key's property is a data key"),
                blob: String::new(),
                sealed_on: (basis.sealed_on)(&key.name),
                imported: generate::check(key, &value).is_err(),
                position: (1, 1),
            });
            labelled.push((Contract::SCOPE.label(contract.namespace.as_str(), name), value));
        }
        // None of its values is sealed yet.
        if values.is_empty() {
            continue;
        }
        let sealed_keys = |key: &&Key| values.iter().any(|one| one.key.as_str() == key.name.property());
        let marked: Vec<&Key> = keys.into_iter().filter(sealed_keys).collect();
        sealed.push(Sealed { name, write_once: mark(&marked), values, form: contract.form(name) });
    }
    sealed
}
