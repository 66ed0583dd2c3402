//! `textconv`: converts a file of SealedSecrets to text for git's diff.

use super::Outcome;
use crate::cli::Textconv;
use crate::model::Result;
use crate::pipeline::textconv;
use crate::workspace::Workspace;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &Textconv, world: &mut World) -> Result<Outcome> {
    let bytes = workspace.read_as_it_is(&args.file)?;
    let keys = args.reveal.then(|| workspace.openers(args.identity.as_deref(), &[], world)).transpose()?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => world.terminal.print_bytes(textconv::render(text, keys.as_deref()).as_bytes())?,
        // Anything else is shown unchanged in a diff.
        Err(_) => world.terminal.print_bytes(&bytes)?,
    }
    Ok(Outcome::Done)
}
