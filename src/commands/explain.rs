//! `explain`: prints what the documents say about a code.

use super::Outcome;
use crate::cli::Explain;
use crate::model::{Error, Result, meant};
use crate::world::World;

/// The documents with one heading for each code.
const DOCUMENTS: [&str; 3] =
    [include_str!("../../docs/findings.md"), include_str!("../../docs/troubleshooting.md"), include_str!("../../docs/exit-codes.md")];

pub(super) fn run(args: &Explain, world: &mut World) -> Result<Outcome> {
    let found: Vec<&str> = sections().filter(|(code, _)| *code == args.code).map(|(_, text)| text).collect();
    if found.is_empty() {
        let help = meant(&args.code, sections().map(|(code, _)| code), "a code stands in brackets behind `error` or `warning`");
        return Err(Error::usage("there is no such code", help));
    }
    world.terminal.print(&(found.join("\n\n") + "\n"))?;
    Ok(Outcome::Done)
}

/// Each code with its section.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    let sections = DOCUMENTS.iter().flat_map(|document| document.split("\n## ").skip(1));
    sections.filter_map(|section| section.split_once('\n')).map(|(code, text)| (code.trim(), text.trim()))
}
