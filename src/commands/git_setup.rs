//! `git-setup`: how git shows SealedSecrets, and how it merges derived files that both sides changed.

use super::Outcome;
use crate::cli::GitSetup;
use crate::model::Result;
use crate::pipeline::git_setup;
use crate::workspace::Workspace;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &GitSetup, world: &mut World) -> Result<Outcome> {
    let setup = workspace.git_setup(args.reveal, args.identity.as_deref())?;
    if args.write {
        workspace.write_git_setup(&setup)?;
    }
    if !setup.is_needed() {
        return world.terminal.print("nothing to do\n").map(|()| Outcome::Done);
    }
    let (attributes, mut text) = (workspace.places.in_out(".gitattributes"), String::new());
    if !setup.lines.is_empty() {
        text.push_str(&format!("write  {attributes}: commit it\n"));
        setup.lines.iter().for_each(|line| text.push_str(&format!("         {line}\n")));
    }
    if setup.configures() {
        text.push_str(&format!("write  {}: of this clone only; the same as\n", setup.file));
        setup.variables.iter().for_each(|one| text.push_str(&format!("         {}\n", git_setup::command(one))));
    }
    if args.reveal {
        world.terminal.warn("`git diff`, `git show` and `git log -p` in this clone show secrets; run it without `--reveal` to end that");
    }
    text.push_str(&match args.write {
        true => "done: git finds `seal-secrets` in PATH\n".to_owned(),
        false => format!("to do: `{}`\n", workspace.command(&again(args))),
    });
    world.terminal.print_report(&text).map(|()| Outcome::Done)
}

/// The same command with writing.
fn again(args: &GitSetup) -> String {
    let identity = args.identity.as_ref().map(|path| format!(" --identity {}", crate::model::quoted(&path.to_string_lossy())));
    let reveal = if args.reveal { " --reveal" } else { "" };
    format!("git-setup --write{reveal}{}", identity.unwrap_or_default())
}
