//! `copy`: seals the values of one cluster for another: a staging copy, a migration.

use std::collections::BTreeSet;

use super::{Outcome, sealing};
use crate::cli::Copy;
use crate::manifest::sealed_secret::SealedSecret;
use crate::model::{Contract, Error, KeyName, Result, Sorted};
use crate::pipeline::adopt::{Adopted, Halves};
use crate::pipeline::plan::check_write_once;
use crate::pipeline::{inventory, unseal};
use crate::workspace::Workspace;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &Copy, world: &mut World) -> Result<Outcome> {
    if args.from == args.to {
        return Err(Error::usage("`--from` and `--to` name the same cluster", "name two"));
    }
    let (from, to) = (workspace.of(&args.from)?, workspace.of(&args.to)?);
    let copied = sealing::adopt(&to, &args.adoption, |contract, world| open(&from, contract, args, world), world);
    copied.map_err(|error| error.with_commands(&to.places))
}

fn open(from: &Workspace, contract: &Contract, args: &Copy, world: &mut World) -> Result<Adopted> {
    let names = contract.all_named("copy", &args.names)?;
    let inventory = from.out()?.inventory(from.remembered()?)?;
    // A copy without its mark would be replaced without warning.
    check_write_once(contract, &inventory, &BTreeSet::new()).map_err(|error| error.within(&from.places.out))?;
    let mut sealed: Vec<(String, &SealedSecret)> = Vec::new();
    let mut wanted: BTreeSet<KeyName> = BTreeSet::new();
    for unit in contract.units() {
        // A hash and its password go together, whichever of the two was given.
        if names.is_empty() || unit.keys.iter().any(|key| names.contains(&key.name)) {
            let in_out = |error: Error| error.within(&from.places.out);
            let secrets = inventory::unit(&inventory, contract, &unit).map_err(in_out)?;
            if let Some(secrets) = &secrets {
                inventory::missing(&inventory, &unit, secrets, &BTreeSet::new(), false).map_err(in_out)?;
            }
            let all = || unit.keys.iter().map(|key| key.name.clone()).sorted();
            wanted.extend(if names.is_empty() { all() } else { unit.together(&names).into_iter().cloned().sorted::<BTreeSet<_>>() });
            sealed.extend(secrets.into_iter().flatten().map(|secret| (unit.file(), secret)));
        }
    }
    check_named(&names, &sealed).map_err(|error| error.in_file(&from.places.out))?;
    let escrow = from.escrow(args.identity.as_deref(), world)?;
    let mut found = Adopted::default();
    for (file, secret) in sealed {
        let shown = from.places.in_out(&file);
        let values = unseal::open_all(&escrow.pairs.openers, secret).map_err(|error| error.in_file(&shown))?;
        for (one, (_, value)) in secret.encrypted.iter().zip(values) {
            let Some(key) = contract.key(KeyName::of(&secret.name, &one.key).as_str()).filter(|key| wanted.contains(&key.name)) else {
                continue;
            };
            found.add(key, value, shown.clone())?;
            found.sealed_on.extend(one.sealed_on.as_ref().map(|day| (key.name.clone(), day.clone())));
        }
    }
    found.settle(contract, Halves::Refused)?;
    Ok(found)
}

/// Checks that every given key exists, and that there is at least one.
fn check_named(names: &BTreeSet<KeyName>, sealed: &[(String, &SealedSecret)]) -> Result<()> {
    let holds = |secret: &SealedSecret, name: &KeyName| secret.name.as_str() == name.secret() && secret.value(name.property()).is_some();
    match names.iter().find(|name| !sealed.iter().any(|(_, secret)| holds(secret, name))) {
        Some(name) => Err(Error::bad_input(format!("`{name}` is not sealed here"), "leave it out, or make it first")),
        None if sealed.is_empty() => {
            Err(Error::bad_input("no sealed files", "pass the cluster whose values are to be copied with `--from`"))
        }
        None => Ok(()),
    }
}
