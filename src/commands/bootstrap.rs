//! `bootstrap`, the main job, and `plan`, which stops before anything is made.

use super::Outcome;
use super::sealing::{self, Job, Options, Ready};
use crate::cli;
use crate::model::{Contract, KeyName, Result, SecretValue};
use crate::pipeline::inventory::Inventory;
use crate::pipeline::plan::Wishes;
use crate::workspace::Workspace;
use crate::workspace::given::provided_names;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &cli::Bootstrap, world: &mut World) -> Result<Outcome> {
    sealing::run(workspace, &options(&args.wishes, args.yes, args.dry_run, args.printed.is_json()), &mut Bootstrap(&args.wishes), world)
}

pub(super) fn plan(workspace: &Workspace, args: &cli::Plan, world: &mut World) -> Result<Outcome> {
    let plan = sealing::show(workspace, &options(&args.wishes, false, true, args.printed.is_json()), &mut Bootstrap(&args.wishes), world)?;
    let found = !plan.changes.is_empty() || sealing::disagreement(&plan) == Outcome::Found;
    Ok(Outcome::found(args.check && found))
}

fn options(wishes: &cli::Wishes, yes: bool, dry_run: bool, json: bool) -> Options<'_> {
    let cli::Wishes { provide, as_is, destroys_data, certificate, identity, .. } = wishes;
    Options { certificate, provide, accept_as_is: &as_is.accept_as_is, destroys_data, identity: identity.as_deref(), yes, dry_run, json }
}

struct Bootstrap<'a>(&'a cli::Wishes);

impl Job for Bootstrap<'_> {
    fn wishes(&mut self, contract: &Contract, _: &Inventory, _: &mut World) -> Result<Wishes> {
        let destroyed = contract.write_once_keys(&self.0.destroys_data)?;
        contract.all_named("--accept-as-is", &self.0.as_is.accept_as_is)?;
        let provided = provided_names(contract, &self.0.provide)?;
        Ok(Wishes { provided, destroyed, opens: self.0.identity.is_some(), ..Wishes::default() })
    }

    fn begins(&self) -> bool {
        !self.0.start_over
    }

    fn below(&self, workspace: &Workspace, _: &Ready<'_>) -> String {
        workspace.to_settle().map_or(String::new(), |init| format!("note   to type no flags any more, write them down once: `{init}`\n"))
    }

    fn copies(
        &mut self,
        workspace: &Workspace,
        contract: &Contract,
        inventory: &Inventory,
        world: &mut World,
    ) -> Result<Vec<(KeyName, SecretValue)>> {
        workspace.copies_to_restore(contract, inventory, self.0.identity.as_deref(), world)
    }
}
