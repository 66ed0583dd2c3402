//! `copy`: the values of one cluster, sealed for another: a staging copy, a migration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Outcome;
use super::sealing::{self, Job, Ready};
use crate::cli::Copy;
use crate::manifest::sealed_secret::SealedSecret;
use crate::model::{Contract, Error, Name, Result, SecretValue};
use crate::pipeline::adopt::Adopted;
use crate::pipeline::inventory::{self, Inventory};
use crate::pipeline::plan::Wishes;
use crate::pipeline::unseal;
use crate::show;
use crate::workspace::Workspace;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &Copy, world: &mut World) -> Result<Outcome> {
    if args.from == args.to {
        return Err(Error::usage("`--from` and `--to` name the same cluster", "name two"));
    }
    let (from, to) = (workspace.of(&args.from), workspace.of(&args.to));
    let mut copying = Copying { from: &from, args, found: Adopted::default(), sealed_on: BTreeMap::new() };
    sealing::run(&to, &args.adoption.options(), &mut copying, world).map_err(|error| error.with_commands(&to.places))
}

struct Copying<'a> {
    from: &'a Workspace,
    args: &'a Copy,
    found: Adopted,
    sealed_on: BTreeMap<Name, String>,
}

impl Job for Copying<'_> {
    fn wishes(&mut self, contract: &Contract, _: &Inventory, world: &mut World) -> Result<Wishes> {
        self.open(contract, world)?;
        self.args.adoption.wishes(contract, &self.found)
    }

    fn values(&mut self) -> BTreeMap<Name, SecretValue> {
        std::mem::take(&mut self.found.values)
    }

    fn sealed_on(&self, name: &Name, _: &str) -> Option<String> {
        self.sealed_on.get(name).cloned()
    }

    fn below(&self, ready: &Ready) -> String {
        show::plan::adopted(&ready.plan, &self.found)
    }

    fn next(&self, workspace: &Workspace) -> String {
        show::plan::after_adoption(&workspace.places)
    }

    fn json(&self, workspace: &Workspace, ready: &Ready) -> String {
        show::plan::adopted_json(&workspace.places, &ready.plan, &self.found)
    }
}

impl Copying<'_> {
    /// The values of the first cluster.
    fn open(&mut self, contract: &Contract, world: &mut World) -> Result<()> {
        let (from, names) = (self.from, &self.args.names);
        names.iter().try_for_each(|name| contract.known_key("copy", name).map(|_| ()))?;
        let in_from = |error: Error| error.within(Path::new(&from.places.out));
        let inventory = from.out()?.inventory(from.remembered()?)?;
        let mut sealed: Vec<(String, &SealedSecret)> = Vec::new();
        for unit in contract.units() {
            // A hash goes with its password, whichever of the two was named.
            if names.is_empty() || unit.keys.iter().any(|key| names.contains(&key.name)) {
                let secrets = inventory::unit(&inventory, contract, &unit).map_err(in_from)?;
                sealed.extend(secrets.into_iter().flatten().map(|secret| (unit.file(), secret)));
            }
        }
        check_named(names, &sealed).map_err(|error| error.in_file(&from.places.out))?;
        let escrow = from.escrow(self.args.identity.as_deref(), world)?;
        for (file, secret) in sealed {
            let shown = from.places.in_out(&file);
            let values = unseal::open_all(&escrow.pairs.openers, secret).map_err(|error| error.in_file(&shown))?;
            let key = contract.key(secret.name.as_str()).expect("a unit holds the contract's keys");
            values.into_iter().try_for_each(|(_, value)| self.found.add(key, value, shown.clone()))?;
            self.sealed_on.extend(secret.made.as_ref().map(|day| (secret.name.clone(), day.clone())));
        }
        self.found.settle(contract)
    }
}

/// Everything that was named is there, and there is something.
fn check_named(names: &[Name], sealed: &[(String, &SealedSecret)]) -> Result<()> {
    let there: BTreeSet<&Name> = sealed.iter().map(|(_, secret)| &secret.name).collect();
    match names.iter().find(|name| !there.contains(name)) {
        Some(name) => Err(Error::bad_input(format!("`{name}` is not sealed here"), "leave it out, or make it first")),
        None if there.is_empty() => {
            Err(Error::bad_input("no sealed files", "pass the cluster whose values are to be copied with `--from`"))
        }
        None => Ok(()),
    }
}
