//! From the existing files to what the contract asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::inventory::{self, Inventory, RESOURCES};
use super::remembered::{Units, has_all};
use super::render::{RUNBOOK, form_of, is_derived, render, store_file};
use super::{difference, readers, resolve};
use crate::manifest::sealed_secret::SealedSecret;
use crate::model::{
    CertificateDigest, Change, Contract, Delivery, Error, Finding, Key, KeyName, Plan, Reason, Result, Sorted, Unit, mark, visible,
};

/// The basis of a run: the contract, how its values reach their consumers, and where contract and platform disagree.
pub struct Setting {
    /// With the platform's own consumers if a platform was given.
    pub contract: Contract,
    pub delivery: Delivery,
    pub coverage: Vec<Finding>,
}

/// What the operator asks for besides the contract.
#[derive(Default)]
pub struct Wishes {
    /// How much is done.
    pub extent: Extent,
    /// Keys whose values are passed to this run.
    pub provided: BTreeSet<KeyName>,
    /// Keys whose sealed value is replaced by a new one.
    pub replaced: BTreeSet<KeyName>,
    /// Write-once keys that may be made again, although that destroys what the old value protects.
    pub destroyed: BTreeSet<KeyName>,
    /// Sealed values can be opened, so that others are made of them and they stay.
    pub opens: bool,
}

impl Wishes {
    /// The keys of a unit that are replaced together with those of `replaced`.
    pub fn replaced_in<'u>(&self, unit: &Unit<'u>) -> BTreeSet<&'u KeyName> {
        if self.opens { unit.made_of(&self.replaced) } else { unit.together(&self.replaced) }
    }
}

/// How much a run does.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Extent {
    /// Every unit that is missing, and every derived file.
    #[default]
    All,
    /// Only units whose values are passed to this run, and every derived file.
    Provided,
    /// Only the units whose values are replaced.
    Replaced,
}

/// The plan, or why there cannot be one. It never changes an existing value unless asked to.
pub fn plan(setting: &Setting, inventory: &Inventory, certificate: CertificateDigest, wishes: &Wishes) -> Result<Plan> {
    let contract = &setting.contract;
    check_certificates(contract, inventory, certificate)?;
    check_write_once(contract, inventory, &wishes.destroyed)?;
    let mut plan = Plan {
        certificate,
        changes: Vec::new(),
        awaited: Vec::new(),
        orphans: orphans(contract, inventory),
        coverage: setting.coverage.iter().map(resolve::before_patch).collect(),
        readers: BTreeMap::new(),
        kept: Vec::new(),
        not_remembered: None,
    };
    let ever_sealed = inventory.ever_sealed();
    let mut gone = Vec::new();
    for unit in contract.units() {
        let known = inventory::was_sealed(&unit, &ever_sealed);
        match inventory::unit(inventory, contract, &unit)? {
            Some(secrets) => plan_sealed(&mut plan, contract, inventory, &unit, &secrets, wishes)?,
            None if known && is_gone(&unit, wishes) => gone.push(unit),
            None => plan_unit(&mut plan, known, &unit, wishes)?,
        }
    }
    if !gone.is_empty() {
        return Err(inventory.gone(&gone));
    }
    let sealed = sealed_afterwards(inventory, &plan);
    let derived = render(contract, &setting.delivery, certificate, &sealed);
    check_foreign(inventory, &derived)?;
    if wishes.extent != Extent::Replaced {
        plan_derived(&mut plan, setting, inventory, derived);
        plan_store(&mut plan, contract, &setting.delivery);
        plan_remembered(&mut plan, contract, inventory, &ever_sealed);
    }
    Ok(plan)
}

/// Refuses to seal next to values that another key opens: the mix would go unnoticed until the cluster is rebuilt.
fn check_certificates(contract: &Contract, inventory: &Inventory, present: CertificateDigest) -> Result<()> {
    let sealed_to = inventory::certificates(inventory, contract);
    let Some((other, file)) = sealed_to.iter().find(|(digest, _)| **digest != Some(present)) else {
        return Ok(());
    };
    let help = "restore `sealing.crt`, or this file, from git; or run `seal-secrets renew` if a renewal was interrupted, `seal-secrets re-encrypt` if the sealing key was replaced on purpose";
    let other = other.map_or("does not say to which it is sealed".to_owned(), |other| format!("is sealed to {other}"));
    Err(Error::refused("the sealed files use a different sealing certificate", help)
        .why(format!("the certificate is {present}; this file {other}"))
        .in_file(file))
}

fn orphans(contract: &Contract, inventory: &Inventory) -> Vec<String> {
    let known: BTreeSet<String> = contract.units().iter().map(Unit::file).sorted();
    inventory.sealed.keys().filter(|path| !known.contains(*path)).cloned().collect()
}

/// Checks that the contract still says write-once for each value that any file knows to be so, sealed or gone, with the same recipe. A new
/// recipe is fine for keys whose data may be destroyed.
pub fn check_write_once(contract: &Contract, inventory: &Inventory, destroyed: &BTreeSet<KeyName>) -> Result<()> {
    for (path, secrets) in &inventory.sealed {
        secrets.iter().try_for_each(|secret| check_mark(contract, secret, destroyed).map_err(|error| error.in_file(path)))?;
    }
    match inventory.dropped(contract).next() {
        None => Ok(()),
        Some(name) => Err(Error::refused(
            format!("`{name}` is write-once, was sealed before, and the contract no longer says so"),
            format!(
                "put `{name}` with `write-once: true` back into the contract; if the data it protects is gone for good, remove its lines from `sealed.txt` and `write-once.txt` in the keys folder"
            ),
        )
        .why("without its value, what it encrypts is lost")),
    }
}

fn check_mark(contract: &Contract, sealed: &SealedSecret, destroyed: &BTreeSet<KeyName>) -> Result<()> {
    let Some(before) = &sealed.write_once else { return Ok(()) };
    let secret = sealed.name.as_str();
    let Some(key) = contract.secret(secret).filter(|key| key.write_once) else { return Err(write_once_dropped(sealed)) };
    let replaced = || contract.keys.iter().any(|other| other.unit == key.unit && destroyed.contains(&other.name));
    let now = expected_mark(contract, sealed).unwrap_or_default();
    if *before == now || replaced() {
        return Ok(());
    }
    Err(Error::refused(
        format!("`{secret}` is write-once, but its recipe in the contract has changed"),
        "put its recipe back into the contract: the sealed value stays as it is",
    )
    .why(format!("it was made as `{}`, and the recipe says `{now}`", visible(before)))
    .at(sealed.position))
}

/// The write-once mark that a SealedSecret should have, by the values that it holds.
pub fn expected_mark(contract: &Contract, sealed: &SealedSecret) -> Option<String> {
    let keys: Vec<&Key> = contract.values_of(sealed.name.as_str()).filter(|key| sealed.value(key.name.property()).is_some()).collect();
    mark(&keys)
}

fn write_once_dropped(sealed: &SealedSecret) -> Error {
    let name = &sealed.name;
    let help =
        format!("put `{name}` with `write-once: true` back into the contract; if the data it protects is gone for good, remove this file");
    Error::refused(format!("`{name}` is write-once, and the contract no longer says so"), help)
        .why("without its value, what it encrypts is lost")
        .at(sealed.position)
}

/// Plans a sealed unit: its replaced values, those that the contract added, and the text around them.
fn plan_sealed(
    plan: &mut Plan,
    contract: &Contract,
    inventory: &Inventory,
    unit: &Unit<'_>,
    secrets: &[&SealedSecret],
    wishes: &Wishes,
) -> Result<()> {
    if unit.has_any(&wishes.replaced) && unit.write_once() && !unit.has_any(&wishes.destroyed) {
        return Err(write_once_replaced(unit));
    }
    let replaced = wishes.replaced_in(unit);
    check_given(unit, &replaced, wishes)?;
    let added = inventory::missing(inventory, unit, secrets, &replaced, wishes.opens)?;
    let names: BTreeSet<&KeyName> = added.iter().map(|key| &key.name).sorted();
    let (awaited, ready) = ready(unit, names, wishes)?;
    let with_offered = unit.together(&ready.iter().filter(|name| wishes.provided.contains(**name)).map(|name| (*name).clone()).sorted());
    let added = match wishes.extent {
        Extent::All => ready,
        Extent::Provided => &ready & &with_offered,
        Extent::Replaced => BTreeSet::new(),
    };
    plan.awaited.extend(awaited.into_iter().filter(|_| wishes.extent == Extent::All));
    let keys = &replaced | &added;
    let kept = unit.keys.iter().filter(|key| wishes.provided.contains(&key.name) && !keys.contains(&&key.name));
    plan.kept.extend(kept.map(|key| key.name.clone()));
    let reason = match (replaced.is_empty(), keys.iter().any(|name| wishes.provided.contains(*name)), keys.is_empty()) {
        (false, ..) => Reason::Replaced,
        (true, true, _) => Reason::Provided,
        (true, false, false) => Reason::New,
        (true, false, true) if wishes.extent == Extent::All && differs(contract, inventory, unit) => Reason::Updated,
        (true, false, true) => return Ok(()),
    };
    check_alone(inventory, unit)?;
    plan.changes.push(seal(unit, &keys, reason));
    Ok(())
}

/// Splits these keys of a unit: those that only the operator has and did not pass to this run, in the contract's order; and those that can
/// be made without them.
fn ready<'u>(unit: &Unit<'u>, mut keys: BTreeSet<&'u KeyName>, wishes: &Wishes) -> Result<(Vec<KeyName>, BTreeSet<&'u KeyName>)> {
    let is_awaited = |key: &&&Key| key.is_provided() && keys.contains(&key.name) && !wishes.provided.contains(&key.name);
    let awaited: Vec<KeyName> = unit.keys.iter().filter(is_awaited).map(|key| key.name.clone()).collect();
    let waits = unit.together(&awaited.iter().cloned().sorted());
    if let Some(name) = waits.iter().find(|name| wishes.provided.contains(**name)) {
        let help = format!("provide both: `--provide {}=FILE` as well", awaited[0]);
        return Err(Error::usage(format!("`{name}` is sealed together with `{}`, which is yours to provide too", awaited[0]), help));
    }
    keys.retain(|name| !waits.contains(name));
    Ok((awaited, keys))
}

/// Checks that each value which only the operator has, and which is replaced, was passed to this run.
fn check_given(unit: &Unit<'_>, replaced: &BTreeSet<&KeyName>, wishes: &Wishes) -> Result<()> {
    let awaited = |key: &&&Key| key.is_provided() && replaced.contains(&key.name) && !wishes.provided.contains(&key.name);
    match unit.keys.iter().find(awaited) {
        None => Ok(()),
        Some(key) => {
            let help = format!("give its value as well: `--provide {}=FILE`", key.name);
            Err(Error::usage(format!("`{}` is replaced too, and it is provided, not generated", key.name), help))
        }
    }
}

/// Whether the text around a unit's values differs from what the contract asks for.
fn differs(contract: &Contract, inventory: &Inventory, unit: &Unit<'_>) -> bool {
    let file = unit.file();
    let secrets = &inventory.sealed[&file];
    // With another scope, its values open only as the file is.
    if secrets.iter().any(|secret| secret.scope != Contract::SCOPE) {
        return false;
    }
    let document = |secret| difference::document(contract, secret, expected_mark(contract, secret));
    let expected: Vec<Option<String>> = secrets.iter().map(document).collect();
    difference::of_unit(&expected, &inventory.texts[&file], secrets).is_some()
}

/// Refuses to rewrite a file that holds anything besides the unit.
fn check_alone(inventory: &Inventory, unit: &Unit<'_>) -> Result<()> {
    let file = unit.file();
    let known = unit.secrets();
    let mut sealed = inventory.sealed.get(&file).into_iter().flatten();
    match sealed.find(|secret| known.iter().all(|(name, _)| *name != secret.name.as_str())) {
        None => Ok(()),
        Some(other) => {
            let help = "add it to the contract, or move it into a file of its own, so that it is not lost";
            let what = format!("`{}` is sealed in this file too, and the contract does not have it here", other.name);
            Err(Error::refused(what, help).at(other.position).in_file(&file))
        }
    }
}

fn write_once_replaced(unit: &Unit<'_>) -> Error {
    let name = unit.name;
    let help = format!(
        "keep it; or, if what it protects is gone for good, or was never made with the sealed value, pass `--destroys-data {name}`"
    );
    Error::refused(format!("`{name}` is write-once, and sealed already"), help)
        .why(format!("another value would make unreadable what the sealed one encrypts: {}", unit.keys[0].about))
        .in_file(&unit.file())
}

fn seal(unit: &Unit<'_>, keys: &BTreeSet<&KeyName>, reason: Reason) -> Change {
    let keys: Vec<&Key> = unit.keys.iter().copied().filter(|key| keys.contains(&key.name)).collect();
    let names = |keys: &mut dyn Iterator<Item = &&Key>| keys.map(|key| key.name.clone()).sorted();
    let copies = names(&mut keys.iter().filter(|key| key.operator_copy));
    Change::Seal { unit: unit.name.clone(), file: unit.file(), keys: names(&mut keys.iter()), copies, reason }
}

/// Whether a unit that was sealed before, and whose file is gone, stops this run: its value may be in use.
fn is_gone(unit: &Unit<'_>, wishes: &Wishes) -> bool {
    let offered = unit.has_any(&wishes.provided);
    match (unit.write_once(), wishes.extent) {
        (true, _) if unit.has_any(&wishes.destroyed) => false,
        (true, Extent::All) => true,
        (false, Extent::All) => unit.needed() && !offered,
        // If only given values are sealed, it stays as it is: gone, and remembered.
        (write_once, Extent::Provided) => write_once && offered,
        (write_once, Extent::Replaced) => write_once && unit.has_any(&wishes.replaced),
    }
}

fn plan_unit(plan: &mut Plan, known: bool, unit: &Unit<'_>, wishes: &Wishes) -> Result<()> {
    let all: BTreeSet<&KeyName> = unit.keys.iter().map(|key| &key.name).sorted();
    if wishes.extent == Extent::Replaced {
        // Its value is replaced even though its file is gone.
        if known && unit.has_any(&wishes.replaced) {
            check_given(unit, &all, wishes)?;
            plan.changes.push(seal(unit, &all, Reason::Replaced));
        }
        return Ok(());
    }
    let (named, offered) = (unit.has_any(&wishes.destroyed), unit.has_any(&wishes.provided));
    if !offered && (wishes.extent != Extent::All || (!unit.needed() && !named)) {
        return Ok(());
    }
    let keys = if wishes.extent == Extent::All { all } else { unit.together(&wishes.provided) };
    let (awaited, keys) = ready(unit, keys, wishes)?;
    let waits = !offered && !awaited.is_empty();
    plan.awaited.extend(awaited);
    if waits {
        return Ok(());
    }
    let reason = match (offered, known) {
        (true, _) => Reason::Provided,
        (false, true) => Reason::Missing,
        (false, false) => Reason::New,
    };
    plan.changes.push(seal(unit, &keys, reason));
    Ok(())
}

/// Refuses a folder that was never ours and has someone's file where one of ours would go.
fn check_foreign(inventory: &Inventory, derived: &BTreeMap<String, String>) -> Result<()> {
    let ours = inventory.others.values().any(|bytes| is_derived(bytes));
    match inventory.others.keys().find(|path| derived.contains_key(*path)) {
        Some(path) if !ours && inventory.sealed.is_empty() => Err(Error::refused(
            "this file is not ours, and would be overwritten",
            "pass an empty folder with `--out DIR`, or one that `bootstrap` has written to before",
        )
        .in_file(path)),
        _ => Ok(()),
    }
}

/// The sealed files after the plan was carried out.
fn sealed_afterwards(inventory: &Inventory, plan: &Plan) -> BTreeSet<String> {
    let seals = plan.changes.iter().filter_map(|change| match change {
        Change::Seal { file, .. } => Some(file.clone()),
        _ => None,
    });
    inventory.sealed.keys().cloned().chain(seals).sorted()
}

/// The derived files that depend on which units exist.
const LISTS: [&str; 2] = [RESOURCES, RUNBOOK];

/// Plans the derived files after the units. A crash between the two leaves units that no list names yet, and the next run adds them; in the
/// other order a list would remember a write-once unit that never existed.
fn plan_derived(plan: &mut Plan, setting: &Setting, inventory: &Inventory, derived: BTreeMap<String, String>) {
    let known = derived.keys().any(|path| inventory.others.contains_key(path));
    let (contract, delivery) = (&setting.contract, &setting.delivery);
    let found = inventory.others.get(RUNBOOK).and_then(|found| form_of(found));
    let same_form = found == derived.get(RUNBOOK).and_then(|text| form_of(text.as_bytes()));
    if known {
        let keys = inventory.sealed.values().flatten().map(|sealed| sealed.name.as_str()).sorted();
        plan.readers = readers::added(contract, delivery, &inventory.others, &keys, same_form);
    }
    let new_units = plan.changes.iter().any(|change| !inventory.sealed.contains_key(change.file()));
    for (file, text) in derived {
        let reason = match inventory.others.get(&file) {
            Some(found) if difference::first(&text, found).is_none() => continue,
            Some(_) if new_units && LISTS.contains(&file.as_str()) => Reason::Updated,
            Some(_) if same_form => Reason::Restored,
            Some(_) => Reason::Updated,
            None if known && same_form => Reason::Missing,
            None => Reason::New,
        };
        plan.changes.push(Change::Write { file, text, reason });
    }
}

/// Plans the store among the platform's own files.
fn plan_store(plan: &mut Plan, contract: &Contract, delivery: &Delivery) {
    let Some(file) = &delivery.store_file else { return };
    let text = store_file(contract, delivery, &file.project_id);
    if file.present.as_deref().is_none_or(|found| difference::first(&text, found).is_some()) {
        let reason = if file.present.is_none() { Reason::New } else { Reason::Updated };
        plan.changes.push(Change::Place { file: file.path.clone(), text, reason });
    }
}

/// Comes last: only units that are in place are remembered. Sealing needs only the certificate, so it goes on even if the keys folder
/// cannot be written.
fn plan_remembered(plan: &mut Plan, contract: &Contract, inventory: &Inventory, ever_sealed: &BTreeSet<String>) {
    let remembered = &inventory.remembered;
    let sealed = sealed_afterwards(inventory, plan);
    // Sealed units that the contract does not know, those remembered from the folder's earlier place, and the contract's own.
    let mut units: Units = sealed.iter().filter_map(|file| Some((inventory::name_of(file)?, false))).sorted();
    units.extend(remembered.units.clone());
    for unit in contract.units() {
        if sealed.contains(&unit.file()) || inventory::was_sealed(&unit, ever_sealed) {
            *units.entry(unit.name.clone()).or_default() |= unit.write_once();
        }
    }
    if has_all(&remembered.listed, &units) {
        return;
    }
    if !remembered.writable {
        plan.not_remembered = Some(remembered.file.clone());
        return;
    }
    let reason = if remembered.exists { Reason::Updated } else { Reason::New };
    plan.changes.push(Change::Remember { file: remembered.file.clone(), units, reason });
}
