//! generate → seal: from a plan to the texts of its sealed units. Plaintext lives in here, and in the operator's copies.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use zeroize::Zeroizing;

use super::certificate::FitCertificate;
use super::generate;
use super::seal::Sealer;
use crate::manifest::sealed_secret::{self, Sealed};
use crate::model::{Change, Contract, Entropy, Name, Plan, Result, SecretValue};

/// What a plan's units hold.
pub struct Made {
    /// Their files' texts, in the order of the plan.
    pub files: Vec<String>,
    /// In the clear, where the operator gets a copy.
    pub copies: Vec<(Name, Zeroizing<Vec<u8>>)>,
}

/// The day on which the value of a key was sealed first, where that is known.
pub type SealedOn<'d> = &'d dyn Fn(&Name) -> Option<String>;

/// Makes every value that a plan seals; `provided` are those that exist already.
pub fn make(
    contract: &Contract,
    plan: &Plan,
    certificate: &FitCertificate,
    mut provided: BTreeMap<Name, SecretValue>,
    sealed_on: SealedOn<'_>,
    entropy: &mut Entropy,
    threads: NonZeroUsize,
) -> Result<Made> {
    let units: BTreeMap<_, _> = contract.units().into_iter().map(|unit| (unit.name, unit)).collect();
    let (mut labelled, mut copies, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
    for change in &plan.changes {
        let Change::Seal { unit, copies: copied, .. } = change else { continue };
        let unit = &units[unit];
        let values = generate::generate(unit, &mut provided, entropy)?;
        let mut of_unit = Vec::with_capacity(values.len());
        for (key, value) in unit.keys.iter().zip(values) {
            if copied.contains(&key.name) {
                copies.push((key.name.clone(), Zeroizing::new(value.expose().to_vec())));
            }
            let imported = generate::check(key, &value).is_err();
            of_unit.push(Sealed {
                name: &key.name,
                blob: String::new(),
                imported,
                sealed_on: sealed_on(&key.name),
                write_once: key.mark(),
            });
            labelled.push((Contract::SCOPE.label(contract.namespace.as_str(), key.name.as_str()), value));
        }
        sealed.push(of_unit);
    }
    let mut blobs = Sealer::new(certificate)?.seal_all(labelled, entropy, threads)?.into_iter();
    let files = sealed.into_iter().map(|unit| {
        let unit: Vec<_> = unit.into_iter().zip(blobs.by_ref()).map(|(sealed, blob)| Sealed { blob, ..sealed }).collect();
        sealed_secret::write(&contract.namespace, certificate.digest, &unit)
    });
    Ok(Made { files: files.collect(), copies })
}
