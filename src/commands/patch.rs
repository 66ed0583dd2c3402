//! `patch`: adds the property to a platform's ExternalSecrets, as a diff, in place, or as a filter.

use super::Outcome;
use crate::cli::{Patch, PatchFormat};
use crate::manifest::yaml::MOST_BYTES;
use crate::model::{Error, Result, visible};
use crate::pipeline::patch;
use crate::pipeline::platform;
use crate::pipeline::remembered::Remembered;
use crate::pipeline::render;
use crate::show::{counted, findings};
use crate::workspace::Workspace;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &Patch, world: &mut World) -> Result<Outcome> {
    if args.filter.is_some() {
        let (_, contract) = workspace.contract(world)?;
        let delivery = workspace.delivery()?;
        let input = world.terminal.read_input(MOST_BYTES)?;
        let output = patch::filter(&contract, &delivery, &input).map_err(|error| error.in_file("standard input"))?;
        world.terminal.print_bytes(&output)?;
        return Ok(Outcome::Done);
    }
    let Some(root) = workspace.platform_root() else {
        return Err(Error::usage(
            "`patch` has no checkout to look at",
            "pass it with `--platform DIR`, or name it in the settings: `seal-secrets init --platform DIR`; or use `-` as a filter",
        ));
    };
    let edits = match args.format {
        _ if !args.rename.is_empty() => {
            let (_, contract) = workspace.contract(world)?;
            let (platform, files) = workspace.read_platform(root, &contract, &[], world)?;
            patch::renamed(&platform, &files, &args.rename)
        }
        // Only this format depends on which consumer reads which key, and where.
        PatchFormat::Component => {
            let (setting, _) = workspace.setting(world)?;
            workspace.component_edits(root, render::component_files(&setting.contract, &setting.delivery))?
        }
        PatchFormat::Manifest => {
            let (_, contract) = workspace.contract(world)?;
            let delivery = workspace.delivery()?;
            let (platform, files) = workspace.read_platform(root, &contract, &[], world)?;
            patch::manifests(&contract, &delivery, &platform, &files)
        }
    };
    if args.write {
        for (n, edit) in edits.edits.iter().enumerate() {
            workspace.write_edit(root, edit, n + 1 == edits.edits.len())?;
            world.terminal.print(&format!("write  {}\n", visible(&platform::shown(&root.to_string_lossy(), &edit.path))))?;
        }
        let runbook = update_runbook(workspace, &edits.edits, world)?;
        world.terminal.print(&runbook)?;
        world.terminal.print(&match edits.edits.len() {
            0 => "nothing to do\n".to_owned(),
            files => {
                let properties = match (args.rename.is_empty(), edits.added) {
                    (true, 1) => "1 property".to_owned(),
                    (true, added) => format!("{added} properties"),
                    (false, renamed) => format!("{} renamed", counted(renamed, "key")),
                };
                format!("done: {properties}, {} written\n", counted(files, "file"))
            }
        })?;
    } else {
        world.terminal.print(&patch::diff(&edits.edits))?;
    }
    world.terminal.tell(&findings::all(&workspace.places, &edits.refused));
    Ok(Outcome::found(!edits.refused.is_empty()))
}

/// Rewrites the runbook, if it exists, because it says which steps are done.
fn update_runbook(workspace: &Workspace, edits: &[patch::Edit], world: &mut World) -> Result<String> {
    if edits.is_empty() {
        return Ok(String::new());
    }
    let out = workspace.out_to_change()?;
    let inventory = out.look(Remembered::default())?;
    if !inventory.others.contains_key(render::RUNBOOK) {
        return Ok(String::new());
    }
    let (setting, _) = workspace.setting(world)?;
    let certificate = workspace.certificate()?.sealing.digest;
    let files = render::render(&setting.contract, &setting.delivery, certificate, &inventory.sealed_files());
    let written = out.write_runbook(&files[render::RUNBOOK])?;
    Ok(if written { format!("write  {} (updated)\n", workspace.places.in_out(render::RUNBOOK)) } else { String::new() })
}
