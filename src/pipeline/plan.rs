//! From what is there to what the contract asks for.

use std::collections::BTreeSet;

use super::inventory::{self, Inventory};
use super::render::{render, store_file};
use crate::manifest::sealed_secret::SealedSecret;
use crate::model::{CertificateDigest, Change, Contract, Delivery, Error, Key, Name, Plan, Reason, Result, Unit, visible};

/// What the operator asks for beside the contract.
#[derive(Default)]
pub struct Wishes {
    /// Keys whose values come with this run.
    pub provided: BTreeSet<Name>,
    /// Whether only units with such keys are sealed, and not every one that is missing.
    pub only_provided: bool,
    /// Keys whose sealed value gives way to a new one.
    pub replaced: BTreeSet<Name>,
    /// Write-once keys that may be made anew, though that destroys what the old value protects.
    pub destroyed: BTreeSet<Name>,
    /// How the values get to their readers.
    pub delivery: Delivery,
}

/// The plan, or why there cannot be one. Nothing that is there is ever changed.
pub fn plan(contract: &Contract, inventory: &Inventory, certificate: CertificateDigest, wishes: &Wishes) -> Result<Plan> {
    check_certificates(contract, inventory, certificate)?;
    let mut plan = Plan {
        certificate,
        changes: Vec::new(),
        awaited: Vec::new(),
        orphans: orphans(contract, inventory)?,
        coverage: Vec::new(),
        kept: Vec::new(),
    };
    let remembered = inventory::remembered(inventory);
    check_memory(contract, inventory)?;
    for unit in contract.units() {
        match inventory::unit(inventory, contract, &unit)? {
            Some(_) if unit.has_any(&wishes.replaced) => replace_unit(&mut plan, &unit, wishes)?,
            Some(secrets) => {
                unit.keys.iter().zip(secrets).try_for_each(|(key, secret)| check_write_once(key, secret, &unit.file()))?;
                let kept = unit.keys.iter().filter(|key| wishes.provided.contains(&key.name));
                plan.kept.extend(kept.map(|key| key.name.clone()));
            }
            None if unit.write_once() && remembered.contains(&unit.file()) && !unit.has_any(&wishes.destroyed) => {
                // Where others are sealed that exist already, it stays as it is: gone, and remembered.
                if !wishes.only_provided || unit.has_any(&wishes.provided) {
                    return Err(write_once_gone(inventory, &unit));
                }
            }
            None => plan_unit(&mut plan, remembered.contains(&unit.file()), &unit, wishes),
        }
    }
    check_foreign(contract, inventory, &wishes.delivery, certificate)?;
    plan_derived(&mut plan, contract, inventory, &wishes.delivery);
    Ok(plan)
}

/// Nothing is sealed beside values that another key opens: nobody would notice until the cluster is rebuilt.
fn check_certificates(contract: &Contract, inventory: &Inventory, present: CertificateDigest) -> Result<()> {
    let sealed_to = inventory::certificates(inventory, contract);
    let Some((other, file)) = sealed_to.iter().find(|(digest, _)| **digest != present) else {
        return Ok(());
    };
    Err(Error::refused(
        "the sealing certificate is not the one that the sealed files are sealed to",
        "finish what was begun: `seal-secrets renew` where a renewal was interrupted, `seal-secrets re-encrypt` where this certificate is meant; else restore `sealing.crt` from git",
    )
    .why(format!("the certificate is {present}; this file is sealed to {other}"))
    .in_file(file))
}

fn orphans(contract: &Contract, inventory: &Inventory) -> Result<Vec<String>> {
    let known: BTreeSet<String> = contract.units().iter().map(Unit::file).collect();
    let mut orphans = Vec::new();
    for (path, secrets) in inventory.sealed.iter().filter(|(path, _)| !known.contains(*path)) {
        if let Some(secret) = secrets.iter().find(|secret| secret.write_once.is_some() && contract.key(secret.name.as_str()).is_none()) {
            return Err(write_once_dropped(secret.name.as_str(), path));
        }
        orphans.push(path.clone());
    }
    Ok(orphans)
}

/// A write-once value that is sealed already: the contract says so still, and means the value that was made.
fn check_write_once(key: &Key, sealed: &SealedSecret, file: &str) -> Result<()> {
    match &sealed.write_once {
        Some(_) if !key.write_once => Err(write_once_dropped(key.name.as_str(), file)),
        Some(made) if *made != key.recipe.describe() => Err(Error::refused(
            format!("`{}` is write-once, and the contract now makes it in another way", key.name),
            "put its recipe back into the contract: the sealed value stays as it is",
        )
        .why(format!("it was made as `{}`, and the recipe says `{}`", visible(made), key.recipe.describe()))
        .at(sealed.position)
        .in_file(file)),
        _ => Ok(()),
    }
}

/// What is remembered as write-once and gone: the contract says so still.
fn check_memory(contract: &Contract, inventory: &Inventory) -> Result<()> {
    let gone = |name: &&Name| inventory.sealed.values().flatten().all(|secret| secret.name != **name);
    let dropped = |name: &&Name| contract.key(name.as_str()).is_none_or(|key| !key.write_once);
    match inventory.made.iter().find(|name| dropped(name) && gone(name)) {
        None => Ok(()),
        Some(name) => Err(Error::refused(
            format!("`{name}` is write-once, was sealed before, and the contract no longer says so"),
            format!(
                "put `{name}` with `write-once: true` back into the contract; if the data it protects is gone for good, remove its line from `write-once.txt` in the keys folder"
            ),
        )
        .why("without its value, what it encrypts is lost")),
    }
}

fn write_once_dropped(name: &str, file: &str) -> Error {
    Error::refused(
        format!("`{name}` is write-once, and the contract no longer says so"),
        format!("put `{name}` with `write-once: true` back into the contract; if the data it protects is gone for good, remove {file}"),
    )
    .why("without its value, what it encrypts is lost")
    .in_file(file)
}

/// A sealed unit that is to be made anew, all of it.
fn replace_unit(plan: &mut Plan, unit: &Unit<'_>, wishes: &Wishes) -> Result<()> {
    if unit.write_once() && !unit.has_any(&wishes.destroyed) {
        return Err(write_once_replaced(unit));
    }
    plan.changes.push(seal(unit, Reason::Replaced));
    Ok(())
}

fn write_once_replaced(unit: &Unit<'_>) -> Error {
    let name = unit.name;
    Error::refused(
        format!("`{name}` is write-once, and sealed already"),
        format!(
            "keep it; or, if what it protects is gone for good, or was never made with the sealed value, name it: `--destroys-data {name}`"
        ),
    )
    .why(format!("another value would make unreadable what the sealed one encrypts: {}", unit.keys[0].about))
    .in_file(&unit.file())
}

fn seal(unit: &Unit<'_>, reason: Reason) -> Change {
    let copies = unit.keys.iter().filter(|key| key.operator_copy);
    Change::Seal {
        unit: unit.name.clone(),
        file: unit.file(),
        keys: unit.keys.iter().map(|key| key.name.clone()).collect(),
        copies: copies.map(|key| key.name.clone()).collect(),
        reason,
    }
}

fn plan_unit(plan: &mut Plan, remembered: bool, unit: &Unit<'_>, wishes: &Wishes) {
    let (named, offered) = (unit.has_any(&wishes.destroyed), unit.has_any(&wishes.provided));
    if !offered && (wishes.only_provided || (!unit.needed() && !named)) {
        return;
    }
    if unit.provided() && !offered {
        plan.awaited.extend(unit.keys.iter().map(|key| key.name.clone()));
        return;
    }
    plan.changes.push(seal(
        unit,
        match (offered, remembered) {
            (true, _) => Reason::Provided,
            (false, true) => Reason::Missing,
            (false, false) => Reason::New,
        },
    ));
}

fn write_once_gone(inventory: &Inventory, unit: &Unit<'_>) -> Error {
    let (name, file) = (unit.name, unit.file());
    let restore = match inventory.sealed.is_empty() && inventory.others.is_empty() {
        true => "restore the output folder from git (docs/recovery.md says how)".to_owned(),
        false => format!("restore it: `git checkout -- {file}`, in the output folder"),
    };
    Error::refused(
        format!("`{name}` is write-once, was sealed before, and its file is gone"),
        format!("{restore}; or, if what it protects is gone for good, name it: `--destroys-data {name}`"),
    )
    .why(format!("a new value would make unreadable what the old one encrypts: {}", unit.keys[0].about))
    .in_file(&file)
}

/// A folder that was never ours, and holds a file of somebody's where one of ours would go.
fn check_foreign(contract: &Contract, inventory: &Inventory, delivery: &Delivery, certificate: CertificateDigest) -> Result<()> {
    let ours = inventory.others.values().any(|bytes| memchr::memmem::find(bytes, b"Written by seal-secrets").is_some());
    let expected = render(contract, delivery, certificate, &BTreeSet::new());
    match inventory.others.keys().find(|path| expected.contains_key(*path)) {
        Some(path) if !ours && inventory.sealed.is_empty() => Err(Error::refused(
            "this file is not ours, and would be overwritten",
            "name an empty folder with `--out DIR`, or one that `bootstrap` has written to before",
        )
        .in_file(path)),
        _ => Ok(()),
    }
}

/// After the units: a crash between the two leaves units that no list names yet, and the next run adds them; the other
/// way round a list would remember a write-once unit that never was.
fn plan_derived(plan: &mut Plan, contract: &Contract, inventory: &Inventory, delivery: &Delivery) {
    let before: BTreeSet<String> = inventory.sealed.keys().cloned().collect();
    let mut after = before.clone();
    for change in &plan.changes {
        if let Change::Seal { file, .. } = change {
            after.insert(file.clone());
        }
    }
    let was = render(contract, delivery, plan.certificate, &before);
    let known = was.keys().any(|path| inventory.others.contains_key(path));
    for (file, text) in render(contract, delivery, plan.certificate, &after) {
        let reason = match inventory.others.get(&file) {
            Some(found) if *found == text.as_bytes() => continue,
            Some(found) if was.get(&file).is_some_and(|was| *found == was.as_bytes()) => Reason::Updated,
            Some(_) => Reason::Restored,
            None if known => Reason::Missing,
            None => Reason::New,
        };
        plan.changes.push(Change::Write { file, text, reason });
    }
    if let Some(file) = &delivery.store_file {
        let text = store_file(contract, delivery, &file.project_id);
        let reason = if file.present.is_none() { Reason::New } else { Reason::Updated };
        if file.present.as_deref() != Some(text.as_bytes()) {
            plan.changes.push(Change::Place { file: file.path.clone(), text, reason });
        }
    }
}
