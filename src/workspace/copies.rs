//! The operator's copies, in the clear: each changes together with the unit that seals its value.
//!
//! A new copy waits under a name that says which text of its unit it belongs to. Once that unit is in place, the copy gets its own name. If
//! a run is interrupted in between, the next one renames or removes it. So a copy under its own name always had a unit.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Workspace;
use super::out::sync;
use crate::manifest::sealed_secret::SealedSecret;
use crate::model::{Change, Contract, Error, ErrorKind, KeyName, Plan, Reason, Result, SecretValue, quoted};
use crate::pipeline::inventory::Inventory;
use crate::pipeline::private_key::SealingKey;
use crate::pipeline::unseal;
use crate::world::folder::{Existing, Folder, Writer};
use crate::world::{World, files, git};

/// The mode of a copy.
const MODE: u32 = 0o600;

/// A copy that waits until its unit is in place.
pub struct Waiting {
    name: String,
    key: KeyName,
}

/// The beginning and end of a waiting copy's name.
const WAITING: (&str, &str) = (".seal-secrets.", ".waiting");

/// The first hexadecimal digits of a digest of these parts.
fn tag(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize()[..12].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name under which a copy waits for this text of its unit.
fn waiting_name(begins: &str, key: &KeyName, unit: &[u8]) -> String {
    format!("{begins}{}{}", tag(&[key.as_str().as_bytes(), unit]), WAITING.1)
}

impl Workspace {
    /// Checks that the operator's copies can be written where git does not commit them.
    pub(super) fn check_copies(&self, plan: &Plan) -> Result<()> {
        let names: Vec<String> = plan.copies().map(KeyName::file_name).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.is_empty() {
            return Ok(());
        }
        if files::relative_to(&*self.disk, &self.secrets, &self.out)?.is_some() {
            let help = "pass another folder with `--secrets DIR`";
            return Err(Error::refused("the operator's copies would lie in the output folder, where everything is committed", help)
                .in_file(&self.places.secrets));
        }
        if let Some(secrets) = Folder::open(&*self.disk, &self.secrets)? {
            names.iter().try_for_each(|name| secrets.check(name, Existing::AsRead(None)))?;
        }
        // While a copy is being written, it has another name.
        names.push(".seal-secrets.*");
        git::check_kept_out(&*self.disk, &self.secrets, &names)
    }

    /// The operator's copies that exist.
    pub fn copies(&self, contract: &Contract) -> Result<BTreeMap<KeyName, SecretValue>> {
        let mut found = BTreeMap::new();
        let Some(folder) = Folder::open(&*self.disk, &self.secrets)? else { return Ok(found) };
        for key in contract.keys.iter().filter(|key| key.operator_copy) {
            if let Some(bytes) = folder.read_foreign(&key.name.file_name())? {
                found.insert(key.name.clone(), SecretValue::new(bytes));
            }
        }
        Ok(found)
    }

    /// The sealed values whose copies are missing or, if an identity was given, differ: comparing them means opening the escrow, which
    /// would double the time of a run with nothing to do. The default identity is used only if it asks the operator for nothing.
    pub fn copies_to_restore(
        &self,
        contract: &Contract,
        inventory: &Inventory,
        identity: Option<&Path>,
        world: &mut World,
    ) -> Result<Vec<(KeyName, SecretValue)>> {
        let folder = Folder::open(&*self.disk, &self.secrets)?;
        let missing = |key: &KeyName| folder.as_ref().map_or(Ok(true), |folder| folder.has(&key.file_name()).map(|there| !there));
        let mut wanted = Vec::new();
        for unit in contract.units() {
            let sealed = inventory.sealed.get(&unit.file()).map(Vec::as_slice).unwrap_or_default();
            for key in unit.keys.iter().filter(|key| key.operator_copy) {
                let secret = sealed.iter().find(|secret| secret.name.as_str() == key.name.secret());
                let secret = secret.filter(|secret| secret.value(key.name.property()).is_some());
                if let Some(secret) = secret
                    && (identity.is_some() || missing(&key.name)?)
                {
                    wanted.push((unit.file(), secret, &key.name));
                }
            }
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let escrow = identity.map_or_else(|| self.escrow_unasked(world), |named| self.escrow(Some(named), world).map(Some));
        let opened = escrow.and_then(|escrow| escrow.map_or(Ok(Vec::new()), |escrow| self.open_each(&wanted, &escrow.pairs.openers)));
        match opened {
            // Nothing else here needs the escrow, so a fault of it does not stop the run.
            Err(error) if identity.is_none() && error.kind != ErrorKind::InputOutput => {
                let place = error.place();
                world.terminal.warn(&format!("a copy in {} is missing, and stays so: {place}: {}", self.places.secrets, error.what()));
                Ok(Vec::new())
            }
            opened => {
                let (found, mut opened) = (self.copies(contract)?, opened?);
                opened.retain(|(key, value)| found.get(key).is_none_or(|copy| !value.is_in(copy)));
                Ok(opened)
            }
        }
    }

    /// Opens these values, each with its file below the output folder and its SealedSecret. Values of one SealedSecret stand together.
    pub fn open_each(&self, sealed: &[(String, &SealedSecret, &KeyName)], keys: &[SealingKey]) -> Result<Vec<(KeyName, SecretValue)>> {
        let mut opened = Vec::new();
        for of_secret in sealed.chunk_by(|(_, one, _), (_, other, _)| std::ptr::eq(*one, *other)) {
            let (file, secret, _) = &of_secret[0];
            let mut values = unseal::open_all(keys, secret).map_err(|error| error.in_file(&self.places.in_out(file)))?;
            for (_, _, key) in of_secret {
                let at = values.iter().position(|(data_key, _)| data_key == key.property());
                opened.extend(at.map(|at| ((*key).clone(), values.swap_remove(at).1)));
            }
        }
        Ok(opened)
    }

    /// The beginning of this output folder's waiting copies: another one may keep its copies in the same folder.
    fn waiting_of_out(&self) -> Result<String> {
        let way = files::way(&*self.disk, &self.secrets, &self.out)?;
        Ok(format!("{}{}.", WAITING.0, tag(&[way.as_os_str().as_encoded_bytes()])))
    }

    /// Refuses to replace a copy by one of a unit that this output folder never had: it may be all that the operator has of another
    /// folder's value. `values` are those that were passed to this run.
    pub fn check_new_copies(&self, plan: &Plan, inventory: &Inventory, values: &BTreeMap<KeyName, SecretValue>) -> Result<()> {
        let Some(folder) = Folder::open(&*self.disk, &self.secrets)? else { return Ok(()) };
        let ever_sealed = inventory.ever_sealed();
        for change in &plan.changes {
            let Change::Seal { file, copies, .. } = change else { continue };
            if inventory.sealed.contains_key(file) || ever_sealed.contains(file) {
                continue;
            }
            for key in copies {
                let Some(before) = folder.find_file(&key.file_name())?.map(SecretValue::new) else { continue };
                if values.get(key).is_none_or(|value| !value.same_as(&before.without_line_feed().0)) {
                    let copy = self.places.in_secrets(&key.file_name());
                    let help = format!("pass another folder with `--secrets DIR`, or move it away: `mv {0} {0}.old`", quoted(&copy));
                    return Err(Error::refused(format!("it would be replaced, and holds the value of another `{key}`"), help)
                        .why("no value of this output folder was ever copied there")
                        .in_file(&copy));
                }
            }
        }
        Ok(())
    }

    /// Writes the copies of these units, each with its new text, under their waiting names.
    pub(super) fn write_copies(
        &self,
        units: &[(&Change, &String)],
        copies: Vec<(KeyName, Zeroizing<Vec<u8>>)>,
        world: &mut World,
    ) -> Result<Vec<Waiting>> {
        let mut waiting = Vec::new();
        if copies.is_empty() {
            return Ok(waiting);
        }
        let folder = self.create(&self.secrets, 0o700)?;
        folder.remove_leftovers()?;
        git::keep_out(&folder, "*\n")?;
        let mut writer = Writer::new(&folder);
        for (key, value) in copies {
            let before = folder.find_file(&key.file_name())?;
            if before.as_ref().is_some_and(|before| **before == *value) {
                continue;
            }
            let unit = units.iter().find(|(unit, _)| matches!(unit, Change::Seal { copies, .. } if copies.contains(&key)));
            let Some((change, text)) = unit else {
                // A restored copy: its unit is in place.
                writer.write(&key.file_name(), &value, MODE, Existing::AsRead(before.as_deref().map(Vec::as_slice)))?;
                continue;
            };
            if before.is_some() && !matches!(change, Change::Seal { reason: Reason::Replaced, .. }) {
                let copy = self.places.in_secrets(&key.file_name());
                world.terminal.warn(&format!("{copy} held the value of another `{key}`; it is replaced"));
            }
            let name = waiting_name(&self.waiting_of_out()?, &key, text.as_bytes());
            writer.write(&name, &value, MODE, Existing::AsRead(None))?;
            waiting.push(Waiting { name, key });
        }
        sync(writer, world)?;
        Ok(waiting)
    }

    /// Gives copies their own names, once their units are in place.
    pub(super) fn place_copies(&self, waiting: &[Waiting]) -> Result<()> {
        let Some(folder) = Folder::open(&*self.disk, &self.secrets)?.filter(|_| !waiting.is_empty()) else { return Ok(()) };
        // Written again instead of renamed: after a loss of power the old name may be gone before the new one has changed.
        let mut writer = Writer::new(&folder);
        for copy in waiting {
            let value = Zeroizing::new(folder.read_file(&copy.name)?);
            let before = folder.find_file(&copy.key.file_name())?;
            writer.write(&copy.key.file_name(), &value, MODE, Existing::AsRead(before.as_ref().map(|before| before.as_slice())))?;
        }
        writer.sync()?;
        waiting.iter().try_for_each(|copy| folder.remove(&copy.name))?;
        folder.sync()
    }

    /// Completes an interrupted run, durably: a copy whose unit is in place gets its own name, any other is removed.
    pub fn settle_copies(&self, contract: &Contract, out: Option<&Folder>) -> Result<()> {
        // In a folder that cannot be written, no run of this user left anything.
        if !files::is_writable(&*self.disk, &self.secrets)? {
            return Ok(());
        }
        let Some(folder) = Folder::open(&*self.disk, &self.secrets)? else { return Ok(()) };
        folder.remove_leftovers_here()?;
        let mut left: Vec<String> = folder.names()?.into_iter().filter(|name| name.ends_with(WAITING.1)).collect();
        if left.is_empty() {
            return Ok(());
        }
        let begins = self.waiting_of_out()?;
        left.retain(|name| name.starts_with(&begins));
        let mut placed = Vec::new();
        for unit in contract.units().into_iter().filter(|unit| unit.keys.iter().any(|key| key.operator_copy)) {
            let Some(text) = out.map_or(Ok(None), |out| out.find_below(&unit.file()))? else { continue };
            for key in unit.keys.iter().filter(|key| key.operator_copy) {
                let name = waiting_name(&begins, &key.name, &text);
                if left.contains(&name) {
                    left.retain(|other| *other != name);
                    placed.push(Waiting { name, key: key.name.clone() });
                }
            }
        }
        self.place_copies(&placed)?;
        left.iter().try_for_each(|name| folder.remove(name))?;
        folder.sync()
    }
}
