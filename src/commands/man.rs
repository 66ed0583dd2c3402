//! `man`: the manual pages.

use clap_mangen::Man;

use super::Outcome;
use crate::cli;
use crate::model::{Error, Result, meant};
use crate::world::World;

pub(super) fn run(args: &cli::Man, world: &mut World) -> Result<Outcome> {
    let mut grammar = cli::grammar();
    grammar.build();
    let page = match &args.command {
        None => grammar,
        Some(name) => grammar.find_subcommand(name).cloned().ok_or_else(|| {
            let help = meant(name, grammar.get_subcommands().map(clap::Command::get_name), "`seal-secrets --help` lists all commands");
            Error::usage("unknown command", help)
        })?,
    };
    let name = args.command.as_ref().map_or("seal-secrets".to_owned(), |command| format!("seal-secrets-{command}"));
    let mut text = Vec::new();
    // What is written to memory is always written.
    Man::new(page.display_name(name)).render(&mut text).map_err(|_| Error::usage("no manual page", "see `seal-secrets --help`"))?;
    world.terminal.print(&String::from_utf8_lossy(&text))?;
    Ok(Outcome::Done)
}
