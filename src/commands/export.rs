//! `export`: a way out, for a team that has outgrown source Secrets.

use super::Outcome;
use crate::cli::Export;
use crate::model::{Result, Sorted};
use crate::pipeline::push;
use crate::workspace::Workspace;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &Export, world: &mut World) -> Result<Outcome> {
    let (_, contract) = workspace.contract(world)?;
    let sealed = workspace.sealed("make the values first: `seal-secrets bootstrap`")?;
    let names = sealed.sealed.values().flatten().map(|secret| secret.name.as_str()).sorted();
    world.terminal.print(&push::push_secrets(&contract, &args.push_secrets, args.store_kind_there, args.bare_values, &names))?;
    Ok(Outcome::Done)
}
