//! seal-secrets: makes, seals and keeps the secrets of an LLM platform, offline, before any cluster exists.
//! `ARCHITECTURE.md` is the map.

mod cli;
mod commands;
pub mod manifest;
pub mod model;
pub mod pipeline;
mod show;
mod workspace;
pub mod world;

use std::ffi::OsString;

use commands::Outcome;
use model::Result;
use world::World;

/// Runs one command line in this world; the result is the process's exit code.
pub fn run(args: impl IntoIterator<Item = OsString>, world: &mut World) -> u8 {
    match outcome(args, world) {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Found) => 1,
        #[cfg(feature = "cluster")]
        Ok(Outcome::NotReached) => model::ErrorKind::Cluster.exit_code(),
        Err(error) => {
            // If even this cannot be written, the exit code still tells.
            world.terminal.tell(&format!("{error}\n"));
            error.kind.exit_code()
        }
    }
}

/// The places that a command line works on, each with its name, the same from any folder. Nothing is done.
pub fn places(args: impl IntoIterator<Item = OsString>, world: &World) -> Result<Vec<(&'static str, String)>> {
    let nowhere = |_| model::Error::usage("it asks for help only", "name a command");
    let cli = cli::parse(args).map_err(|other| other.map_or_else(|error| error, nowhere))?;
    commands::workspace(&cli, world)?.whereabouts()
}

fn outcome(args: impl IntoIterator<Item = OsString>, world: &mut World) -> Result<Outcome> {
    // Before anything is made. The standard library draws the seed of a thread's hash maps once.
    world.know_terminal(None);
    model::check_entropy(world.entropy.as_mut())?;
    model::drawing_itself(std::hash::RandomState::new)?;
    match cli::parse(args) {
        Ok(cli) => {
            world.know_terminal(cli.colors());
            commands::run(cli, world)
        }
        Err(Ok(help)) => world.terminal.print(&help).map(|()| Outcome::Done),
        Err(Err(error)) => Err(error),
    }
}
