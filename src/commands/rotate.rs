//! `rotate`: new values for sealed keys, and what has to happen in the cluster before they are used.

use std::collections::BTreeSet;
use std::iter;

use super::Outcome;
use super::sealing::{self, Job, Options, Ready};
use crate::cli::Rotate;
use crate::model::{Contract, Error, KeyName, Result, Sorted, Unit};
use crate::pipeline::inventory::{self, Inventory};
use crate::pipeline::plan::{Extent, Wishes};
use crate::show;
use crate::workspace::Workspace;
use crate::workspace::given::provided_names;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &Rotate, world: &mut World) -> Result<Outcome> {
    let options = Options {
        identity: args.identity.as_deref(),
        ..args.replacing.options(&args.provide, &args.as_is.accept_as_is, &args.destroys_data)
    };
    sealing::run(workspace, &options, &mut Rotation { args, workspace }, world)
}

struct Rotation<'a> {
    args: &'a Rotate,
    workspace: &'a Workspace,
}

impl Job for Rotation<'_> {
    fn wishes(&mut self, contract: &Contract, inventory: &Inventory, world: &mut World) -> Result<Wishes> {
        let mut wishes = self.named(contract)?;
        let in_out = |error: Error| error.within(&self.workspace.places.out);
        wishes.replaced.iter().try_for_each(|name| check_sealed(contract, inventory, name)).map_err(in_out)?;
        if let Some(days) = self.args.older_than {
            let before = world.day(days)?;
            for unit in contract.units() {
                let old = older(contract, inventory, &unit, &before).map_err(in_out)?;
                self.add_old(&unit, old, &mut wishes, world);
            }
        }
        Ok(wishes)
    }

    fn below(&self, _: &Workspace, ready: &Ready<'_>) -> String {
        if ready.plan.changes.is_empty() { String::new() } else { show::plan::after_rotation(&ready.contract, &ready.plan) }
    }

    fn json(&self, workspace: &Workspace, ready: &Ready<'_>) -> String {
        show::plan::rotation_json(&workspace.places, &ready.contract, &ready.plan)
    }
}

impl Rotation<'_> {
    fn named(&self, contract: &Contract) -> Result<Wishes> {
        let provided = provided_names(contract, &self.args.provide)?;
        contract.all_named("--accept-as-is", &self.args.as_is.accept_as_is)?;
        let destroyed = contract.write_once_keys(&self.args.destroys_data)?;
        let mut named = BTreeSet::new();
        for name in &self.args.names {
            let keys = contract.named("rotate", name)?;
            let generated = keys.iter().filter(|key| !key.is_provided() || provided.contains(&key.name));
            named.extend(generated.map(|key| key.name.clone()));
            if let Some(key) = keys.iter().find(|key| key.is_provided() && !provided.contains(&key.name))
                && (keys.len() == 1 || !keys.iter().any(|key| named.contains(&key.name)))
            {
                let help = format!("give its new value: `--provide {}=FILE`", key.name);
                return Err(Error::usage(format!("`{}` is provided, not generated", key.name), help));
            }
        }
        let replaced = named.iter().chain(&provided).chain(&destroyed).cloned().sorted();
        Ok(Wishes { extent: Extent::Replaced, provided, destroyed, replaced, opens: self.args.identity.is_some() })
    }

    /// Adds the values of a unit that were sealed before a day, or whose day is unknown.
    fn add_old(&self, unit: &Unit<'_>, old: BTreeSet<KeyName>, wishes: &mut Wishes, world: &mut World) {
        if old.is_empty() || unit.has_any(&wishes.replaced) {
            return;
        }
        if unit.write_once() {
            return world.terminal.warn(&format!("`{}` is older, and stays: it is write-once", unit.name));
        }
        for key in unit.keys.iter().filter(|key| old.contains(&key.name)) {
            let alone = Wishes { replaced: iter::once(key.name.clone()).sorted(), opens: wishes.opens, ..Wishes::default() };
            let together = alone.replaced_in(unit);
            let yours = unit.keys.iter().find(|one| one.is_provided() && together.contains(&one.name));
            if let Some(yours) = yours {
                let itself = if key.is_provided() { String::new() } else { format!(" {}", key.name) };
                let command = self.workspace.command(&format!("rotate{itself} --provide {}=FILE", yours.name));
                world.terminal.warn(&format!("`{}` is older, and only you can replace it: `{command}`", key.name));
            } else {
                wishes.replaced.insert(key.name.clone());
            }
        }
    }
}

/// Refuses to rotate a value that was never sealed.
fn check_sealed(contract: &Contract, inventory: &Inventory, name: &KeyName) -> Result<()> {
    let unit = contract.units().into_iter().find(|unit| unit.keys.iter().any(|key| key.name == *name));
    let unit = unit.expect("each key of a contract is in a unit");
    if inventory::unit(inventory, contract, &unit)?.is_some() || inventory::was_sealed(&unit, &inventory.ever_sealed()) {
        return Ok(());
    }
    Err(Error::bad_input(format!("`{name}` is not sealed yet"), "make it first: `seal-secrets bootstrap`").in_file(&unit.file()))
}

/// The values of a unit that were sealed before a day, or whose day is unknown.
fn older(contract: &Contract, inventory: &Inventory, unit: &Unit<'_>, before: &str) -> Result<BTreeSet<KeyName>> {
    let secrets = inventory::unit(inventory, contract, unit)?.unwrap_or_default();
    let values = secrets.iter().flat_map(|secret| secret.encrypted.iter().map(|one| (KeyName::of(&secret.name, &one.key), one)));
    let old = values.filter(|(_, one)| one.sealed_on.as_deref().is_none_or(|day| day < before));
    Ok(old.map(|(name, _)| name).sorted())
}
