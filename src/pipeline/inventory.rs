//! What is there: the files of `out/`, and which of them hold sealed units.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::manifest::sealed_secret::{self, SealedSecret};
use crate::manifest::text;
use crate::model::{CertificateDigest, Contract, Error, Name, Result, Unit};

/// The folder of the sealed units.
pub const SOURCE: &str = "secret-source/";
const SEALED: &str = ".sealed.yaml";

/// The files below `out/`, by their path relative to it, with `/`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// `out/` as read.
pub struct Inventory {
    /// The SealedSecrets of each `secret-source/*.sealed.yaml`, by path.
    pub sealed: BTreeMap<String, Vec<SealedSecret>>,
    /// In which of these files each name stands.
    homes: HashMap<Name, String>,
    /// Every other file.
    pub others: Files,
    /// The write-once units that were ever there, as far as is known from elsewhere.
    pub made: BTreeSet<Name>,
}

/// Takes the files apart; a sealed file that cannot be read is an error, for nobody knows what it holds.
pub fn read(files: Files) -> Result<Inventory> {
    let (sealed, others): (Files, Files) = files.into_iter().partition(|(path, _)| is_sealed(path));
    let mut inventory = Inventory { sealed: BTreeMap::new(), homes: HashMap::new(), others, made: BTreeSet::new() };
    for (path, bytes) in sealed {
        let secrets = text::decode(&bytes).and_then(sealed_secret::read);
        inventory.add(&path, secrets.map_err(|error| error.in_file(&path))?)?;
    }
    Ok(inventory)
}

impl Inventory {
    /// Adds a sealed file; a name that another file has too is an error, and the file is added nevertheless.
    pub fn add(&mut self, path: &str, secrets: Vec<SealedSecret>) -> Result<()> {
        let mut outcome = Ok(());
        for secret in &secrets {
            if let Some(first) = self.homes.insert(secret.name.clone(), path.to_owned()) {
                outcome = Err(Error::refused(
                    format!("`{}` is sealed in this file, and in {first} too", secret.name),
                    "keep the one that `git log` shows, and remove the other",
                )
                .at(secret.position)
                .in_file(path));
            }
        }
        self.sealed.insert(path.to_owned(), secrets);
        outcome
    }
}

/// Whether a path is that of a sealed unit.
pub fn is_sealed(path: &str) -> bool {
    path.strip_prefix(SOURCE).is_some_and(|name| name.ends_with(SEALED) && !name.contains('/'))
}

/// The derived files that name every unit, and so remember one that was deleted.
const MEMORY: [&str; 2] = ["secret-source/kustomization.yaml", "INSTALL.md"];

/// The files of all units that were ever there, as far as these lists tell, and whatever is known from elsewhere; a damaged
/// list still tells the rest.
pub fn remembered(inventory: &Inventory) -> BTreeSet<String> {
    let texts = MEMORY.iter().filter_map(|path| inventory.others.get(*path)).map(|bytes| String::from_utf8_lossy(bytes));
    let file_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    texts
        .flat_map(|text| {
            text.split(|c| !file_name(c)).filter(|word| word.ends_with(SEALED)).map(|name| format!("{SOURCE}{name}")).collect::<Vec<_>>()
        })
        .chain(inventory.made.iter().map(|name| format!("{SOURCE}{name}{SEALED}")))
        .collect()
}

/// A unit's SealedSecrets, in the order of its keys; `None` where its file is not there. A SealedSecret of the unit that
/// stands in another file, or one that is missing beside its other half, is an error.
pub fn unit<'i>(inventory: &'i Inventory, contract: &Contract, unit: &Unit<'_>) -> Result<Option<Vec<&'i SealedSecret>>> {
    let file = unit.file();
    for key in &unit.keys {
        if let Some(path) = inventory.homes.get(&key.name).filter(|path| **path != file) {
            return Err(Error::refused(
                format!("`{}` is sealed in this file, and belongs into {file}", key.name),
                format!("rename it back: `git mv {path} {file}`, in the output folder"),
            )
            .in_file(path));
        }
    }
    let Some(secrets) = inventory.sealed.get(&file) else { return Ok(None) };
    let mut found = Vec::new();
    for key in &unit.keys {
        match secrets.iter().find(|secret| secret.name == key.name) {
            Some(secret) => found.push(secret),
            None => return Err(half_missing(&file, unit, key.name.as_str(), secrets)),
        }
    }
    if let Some(secret) = found.iter().find(|secret| secret.namespace.as_ref() != Some(&contract.namespace)) {
        return Err(Error::refused(
            format!("`{}` is sealed for another namespace than `{}`", secret.name, contract.namespace),
            "restore the file from git, or name the contract it was made with",
        )
        .at(secret.position)
        .in_file(&file));
    }
    Ok(Some(found))
}

fn half_missing(file: &str, unit: &Unit<'_>, missing: &str, secrets: &[SealedSecret]) -> Error {
    let present: Vec<String> = secrets.iter().map(|secret| format!("`{}`", secret.name)).collect();
    let help = if unit.write_once() {
        format!("restore it: `git checkout -- {file}`, in the output folder")
    } else {
        format!("restore it: `git checkout -- {file}`, in the output folder; or remove the file, and the next run makes all of it anew")
    };
    Error::refused(format!("`{missing}` is missing from its unit, and cannot be made alone"), help)
        .why(format!("it belongs to {}, sealed already, which cannot be read back", present.join(", ")))
        .in_file(file)
}

/// The certificates that the contract's units say they are sealed to.
pub fn certificates(inventory: &Inventory, contract: &Contract) -> BTreeMap<CertificateDigest, String> {
    let files: Vec<String> = contract.units().iter().map(Unit::file).collect();
    let secrets = files.iter().filter_map(|file| Some((file, inventory.sealed.get(file)?)));
    secrets.flat_map(|(file, secrets)| secrets.iter().filter_map(|secret| Some((secret.certificate?, file.clone())))).collect()
}
