//! `rotate`: new values for keys that are sealed, and what has to happen in the cluster for them to be used.

use super::carry_out::{self, Output, Prepared};
use super::{Outcome, known_key, provide, setting, write_once_key};
use crate::cli::{Folders, Rotate};
use crate::model::{Change, Consumer, Contract, Error, Name, Recipe, Result, Unit};
use crate::pipeline::inventory::{self, Inventory};
use crate::pipeline::plan::Wishes;
use crate::world::World;
use crate::world::folder::Folder;

pub(super) fn run(folders: &Folders, args: &Rotate, world: &mut World) -> Result<Outcome> {
    carry_out::check_json(args.replacing.consent.json, args.replacing.consent.dry_run)?;
    if args.replacing.consent.dry_run {
        let prepared = prepare(folders, Folder::open(&*world.disk, &folders.out)?.as_ref(), args, world)?;
        show(folders, args, &prepared, world)?;
        return Ok(Outcome::Done);
    }
    let output = Output::open(folders, world)?;
    let prepared = prepare(folders, output.folder.as_ref(), args, world)?;
    output.clean(world)?;
    if prepared.plan.changes.is_empty() {
        world.terminal.print("nothing to do\n")?;
        return Ok(Outcome::Done);
    }
    provide::check_files(&args.provide, output.folder.as_ref(), &folders.secrets, world)?;
    carry_out::check_outputs(folders, &prepared.plan, output.folder.as_ref(), world)?;
    carry_out::ask(folders, &prepared, &args.destroys_data, args.replacing.consent.yes, world)?;
    let provided = provide::read(&prepared, &args.provide, world)?;
    let today = world.day(0)?;
    carry_out::carry_out(folders, &prepared, provided, &|_| Some(today.clone()), output, world)?;
    world.terminal.print(&next_steps(&prepared))?;
    Ok(Outcome::Done)
}

fn prepare(folders: &Folders, out: Option<&Folder>, args: &Rotate, world: &mut World) -> Result<Prepared> {
    let setting = setting::read(folders, Some(&args.replacing.sealing.delivery), world)?;
    let inventory = carry_out::inventory(folders, out, world)?;
    let mut wishes = read_wishes(&setting.contract, args)?;
    let in_out = |error: Error| error.within(&folders.out);
    for name in &wishes.replaced {
        check_sealed(&setting.contract, &inventory, name).map_err(in_out)?;
    }
    if let Some(days) = args.older_than {
        let before = world.day(days)?;
        for unit in setting.contract.units() {
            if is_older(&setting.contract, &inventory, &unit, &before).map_err(in_out)? {
                add_old(&unit, &mut wishes, world);
            }
        }
    }
    let mut prepared = carry_out::prepare(folders, setting, &inventory, wishes, &args.replacing.sealing, world)?;
    // What else is to be done is `bootstrap`'s.
    prepared.plan.changes.retain(|change| matches!(change, Change::Seal { .. }));
    Ok(prepared)
}

fn read_wishes(contract: &Contract, args: &Rotate) -> Result<Wishes> {
    let provided = provide::names(contract, &args.provide)?;
    let destroyed: std::collections::BTreeSet<Name> =
        args.destroys_data.iter().map(|name| write_once_key(contract, name)).collect::<Result<_>>()?;
    for name in &args.names {
        let key = known_key(contract, "rotate", name)?;
        if matches!(key.recipe, Recipe::Provided { .. }) && !provided.contains(name) {
            return Err(Error::usage(
                format!("`{name}` is provided, not generated"),
                format!("give its new value: `--provide {name}=FILE`"),
            ));
        }
    }
    let replaced = args.names.iter().chain(&provided).chain(&destroyed).cloned().collect();
    Ok(Wishes { provided, destroyed, replaced, only_provided: true, ..Wishes::default() })
}

/// There is nothing to rotate where nothing is sealed.
fn check_sealed(contract: &Contract, inventory: &Inventory, name: &Name) -> Result<()> {
    let unit = contract.units().into_iter().find(|unit| unit.keys.iter().any(|key| key.name == *name));
    let unit = unit.expect("each key of a contract is in a unit");
    if inventory::unit(inventory, contract, &unit)?.is_some() {
        return Ok(());
    }
    Err(Error::bad_input(format!("`{name}` is not sealed yet"), "make it first: `seal-secrets bootstrap`").in_file(&unit.file()))
}

/// Whether one of a unit's values was made before a day, or nobody knows when.
fn is_older(contract: &Contract, inventory: &Inventory, unit: &Unit<'_>, before: &str) -> Result<bool> {
    let secrets = inventory::unit(inventory, contract, unit)?.unwrap_or_default();
    Ok(secrets.iter().any(|secret| secret.made.as_deref().is_none_or(|day| day < before)))
}

fn add_old(unit: &Unit<'_>, wishes: &mut Wishes, world: &mut World) {
    if unit.has_any(&wishes.replaced) {
        return;
    }
    if unit.write_once() {
        world.terminal.warn(&format!("`{}` is older, and stays: it is write-once", unit.name));
    } else if unit.provided() {
        world
            .terminal
            .warn(&format!("`{}` is older, and yours to make anew: `seal-secrets rotate --provide {}=FILE`", unit.name, unit.name));
    } else {
        wishes.replaced.extend(unit.keys.iter().map(|key| key.name.clone()));
    }
}

fn show(folders: &Folders, args: &Rotate, prepared: &Prepared, world: &mut World) -> Result<()> {
    if !args.replacing.consent.json {
        carry_out::show(folders, prepared, world)?;
        return world.terminal.print(&next_steps(prepared));
    }
    let mut json = carry_out::json(&prepared.plan);
    let after = |name: &Name| {
        let readers = readers(prepared, name).map(|consumer| {
            serde_json::json!({
                "namespace": consumer.namespace.as_str(), "name": consumer.name.as_ref().map(Name::as_str),
                "target": consumer.target.as_str(), "forceSync": consumer.force_sync(None),
            })
        });
        let restart = prepared.contract.key(name.as_str()).and_then(|key| key.after_rotation.as_ref());
        serde_json::json!({ "key": name.as_str(), "readers": readers.collect::<Vec<_>>(), "restart": restart })
    };
    json["after"] = prepared.plan.sealed().map(after).collect();
    world.terminal.print(&format!("{json:#}\n"))
}

fn readers<'p>(prepared: &'p Prepared, name: &Name) -> impl Iterator<Item = &'p Consumer> {
    let name = name.clone();
    prepared.contract.consumers.iter().filter(move |consumer| consumer.entries.iter().any(|entry| entry.key == name))
}

/// What follows in the cluster, in this order: the sources, the targets, whoever holds the old value in memory.
fn next_steps(prepared: &Prepared) -> String {
    if prepared.plan.changes.is_empty() {
        return String::new();
    }
    let mut text = "next, in this order:\n  1. commit the change, and let it be applied: the controller unseals it\n".to_owned();
    let mut commands: Vec<String> = Vec::new();
    let mut restarts = String::new();
    for name in prepared.plan.sealed() {
        let key = prepared.contract.key(name.as_str()).expect("a plan seals the contract's keys");
        let readers: Vec<String> = readers(prepared, name).map(|consumer| format!("{}/{}", consumer.namespace, consumer.target)).collect();
        for command in self::readers(prepared, name).map(|consumer| consumer.force_sync(None)) {
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
        let read_by = if readers.is_empty() { "no ExternalSecret reads it".to_owned() } else { format!("read by {}", readers.join(", ")) };
        let restart = key.after_rotation.as_ref().map_or(String::new(), |restart| format!("; {restart}"));
        restarts.push_str(&format!("     {name}: {read_by}{restart}\n"));
    }
    if !commands.is_empty() {
        text.push_str("  2. have the targets made anew, or wait for their refresh:\n");
        commands.iter().for_each(|command| text.push_str(&format!("     {command}\n")));
    }
    text + "  3. restart who reads it:\n" + &restarts
}
