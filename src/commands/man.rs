//! `man`: the manual pages.

use clap_mangen::Man;

use super::Outcome;
use crate::cli;
use crate::model::{Error, Result, meant};
use crate::world::World;

pub(super) fn run(args: &cli::Man, world: &mut World) -> Result<Outcome> {
    let mut grammar = cli::grammar();
    grammar.build();
    let mut page = &grammar;
    for name in &args.command {
        page = page.find_subcommand(name).ok_or_else(|| {
            let help = meant(name, page.get_subcommands().map(clap::Command::get_name), "`seal-secrets --help` lists all commands");
            Error::usage("unknown command", help)
        })?;
    }
    let name = [&["seal-secrets".to_owned()], args.command.as_slice()].concat().join("-");
    let mut text = Vec::new();
    // Writing to memory never fails.
    Man::new(page.clone().display_name(name)).render(&mut text).map_err(|_| Error::usage("no manual page", "see `seal-secrets --help`"))?;
    world.terminal.print(&String::from_utf8_lossy(&text))?;
    Ok(Outcome::Done)
}
