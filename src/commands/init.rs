//! `init`: the settings file for a checkout of the platform. It asks nothing.

use super::Outcome;
use crate::cli::Init;
use crate::model::Result;
use crate::workspace::Workspace;
use crate::world::World;

pub(super) fn run(_: &Workspace, _: &Init, _: &mut World) -> Result<Outcome> {
    Ok(Outcome::Done)
}
