//! `copy`: the values of one cluster, sealed for another: a staging copy, a migration.

use std::collections::{BTreeMap, BTreeSet};

use super::carry_out::{self, check_json};
use super::{Outcome, import, keys, known_key, setting};
use crate::cli::{Copy, Folders};
use crate::manifest::sealed_secret::SealedSecret;
use crate::model::{Error, Name, Result};
use crate::pipeline::adopt::Adopted;
use crate::pipeline::private_key::SealingKey;
use crate::pipeline::{inventory, unseal};
use crate::world::World;
use crate::world::folder::Folder;

pub(super) fn run(folders: &Folders, args: &Copy, world: &mut World) -> Result<Outcome> {
    check_json(args.adoption.replacing.consent.json, args.adoption.replacing.consent.dry_run)?;
    if args.from == args.to {
        return Err(Error::usage("`--from` and `--to` name the same cluster", "name two"));
    }
    let (from, to) = (folders.of(&args.from), folders.of(&args.to));
    let setting = setting::read(&to, Some(&args.adoption.replacing.sealing.delivery), world)?;
    let contract = &setting.contract;
    args.names.iter().try_for_each(|name| known_key(contract, "copy", name).map(|_| ()))?;
    let in_from = |error: Error| error.within(&from.out);
    let inventory = carry_out::inventory(&from, Folder::open(&*world.disk, &from.out)?.as_ref(), world)?;
    let mut sealed: Vec<(String, &SealedSecret)> = Vec::new();
    for unit in contract.units() {
        // A hash goes with its password, whichever of the two was named.
        if args.names.is_empty() || unit.keys.iter().any(|key| args.names.contains(&key.name)) {
            let secrets = inventory::unit(&inventory, contract, &unit).map_err(in_from)?;
            sealed.extend(secrets.into_iter().flatten().map(|secret| (unit.file(), secret)));
        }
    }
    check_named(&args.names, &sealed).map_err(|error| error.in_file(&from.out.to_string_lossy()))?;
    let opened = open(&from, &keys::escrow_keys(&from, args.identity.as_deref(), world)?, &sealed, contract)?;
    let made: BTreeMap<&Name, &String> = sealed.iter().filter_map(|(_, secret)| Some((&secret.name, secret.made.as_ref()?))).collect();
    let made_on = |name: &Name| made.get(name).map(|day| (*day).clone());
    import::adopt(&to, &args.adoption, setting, opened, &made_on, world)
}

/// Everything that was named is there, and there is something.
fn check_named(names: &[Name], sealed: &[(String, &SealedSecret)]) -> Result<()> {
    let there: BTreeSet<&Name> = sealed.iter().map(|(_, secret)| &secret.name).collect();
    match names.iter().find(|name| !there.contains(name)) {
        Some(name) => Err(Error::bad_input(format!("`{name}` is not sealed here"), "leave it out, or make it first")),
        None if there.is_empty() => {
            Err(Error::bad_input("no sealed files", "name the cluster whose values are to be copied with `--from`"))
        }
        None => Ok(()),
    }
}

fn open(from: &Folders, keys: &[SealingKey], sealed: &[(String, &SealedSecret)], contract: &crate::model::Contract) -> Result<Adopted> {
    let mut found = Adopted::default();
    for (file, secret) in sealed {
        let shown = from.out.join(file).to_string_lossy().into_owned();
        let values = unseal::open_all(keys, secret).map_err(|error| error.in_file(&shown))?;
        let key = contract.key(secret.name.as_str()).expect("a unit holds the contract's keys");
        values.into_iter().try_for_each(|(_, value)| found.add(key, value, shown.clone()))?;
    }
    found.settle(contract)?;
    Ok(found)
}
