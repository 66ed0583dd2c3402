//! `completions`: prints a shell's completion script.

use super::Outcome;
use crate::cli::{self, Completions};
use crate::model::Result;
use crate::world::World;

pub(super) fn run(args: &Completions, world: &mut World) -> Result<Outcome> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut cli::grammar(), "seal-secrets", &mut text);
    world.terminal.print(&String::from_utf8_lossy(&text))?;
    Ok(Outcome::Done)
}
