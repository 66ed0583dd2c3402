//! `patch`: the property into a platform's ExternalSecrets, as a diff, in place, or as a filter.

use std::path::Path;

use super::setting::{self, Setting};
use super::{Outcome, finding_text, read_contract};
use crate::cli::{Folders, Patch, PatchFormat};
use crate::manifest::yaml::MOST_BYTES;
use crate::model::{Error, ErrorKind, Result, visible};
use crate::pipeline::patch::{self, Edit, Edits};
use crate::pipeline::{inventory::Files, render};
use crate::world::folder::{Existing, Folder, Writer};
use crate::world::{World, files};

pub(super) fn run(folders: &Folders, args: &Patch, world: &mut World) -> Result<Outcome> {
    let (_, contract) = read_contract(folders, world)?;
    let delivery = setting::read_delivery(&args.delivery, folders, world)?;
    if args.filter.is_some() {
        let input = world.terminal.read_input(MOST_BYTES)?;
        let output = patch::filter(&contract, &delivery, &input).map_err(|error| error.in_file("standard input"))?;
        world.terminal.print_bytes(&output)?;
        return Ok(Outcome::Done);
    }
    let Some(root) = &folders.platform else {
        return Err(Error::usage("`patch` has no checkout to look at", "name it with `--platform DIR`, or use `-` as a filter"));
    };
    let edits = if args.format == PatchFormat::Component {
        // Who reads what, where: only this format depends on it.
        let Setting { contract, delivery, .. } = setting::read(folders, Some(&args.delivery), world)?;
        component(folders, root, render::component_files(&contract, &delivery), world)?
    } else {
        let make = if args.format == PatchFormat::Json6902 { patch::json6902 } else { patch::manifests };
        let (platform, files) = setting::read_platform(root, setting::inside(&folders.out, root, world)?.as_deref(), world)?;
        make(&contract, &delivery, &platform, &files)
    };
    if args.write {
        for edit in &edits.edits {
            write(root, edit, world)?;
            world.terminal.print(&format!("write  {}\n", visible(&root.join(&edit.path).to_string_lossy())))?;
        }
        world.terminal.print(&match edits.edits.len() {
            0 => "nothing to do\n".to_owned(),
            files => format!("done: {} properties, {files} files written\n", edits.added),
        })?;
    } else {
        world.terminal.print(&patch::diff(&edits.edits))?;
    }
    edits.refused.iter().for_each(|finding| world.terminal.tell(&finding_text(finding)));
    Ok(if edits.refused.is_empty() { Outcome::Done } else { Outcome::Found })
}

/// The Component in the output folder, as edits of the checkout that the folder lies in.
fn component(folders: &Folders, root: &Path, files: Vec<(String, String)>, world: &World) -> Result<Edits> {
    let Some(out) = setting::inside(&folders.out, root, world)? else {
        return Err(Error::usage(
            "the output folder does not lie in the checkout, so nothing there can include its component",
            "name a folder inside with `--out DIR`, or copy `out/property-patches` into it",
        ));
    };
    let there = Folder::open(&*world.disk, &folders.out)?.map_or(Ok(Files::new()), |folder| folder.read_all())?;
    let mut found = Edits::default();
    for (path, after) in files {
        let before = there.get(&path).cloned();
        if before.as_deref() != Some(after.as_bytes()) {
            found.edits.push(Edit { path: format!("{out}/{path}"), before, after });
        }
    }
    Ok(found)
}

/// One file, whole: what was read is what is replaced.
fn write(root: &Path, edit: &Edit, world: &World) -> Result<()> {
    let path = root.join(&edit.path);
    let (parent, name) = (path.parent().unwrap_or(root), path.file_name().and_then(|name| name.to_str()).unwrap_or_default());
    let folder = Folder::create_all(&*world.disk, parent, 0o755)?;
    let (mode, existing) = match &edit.before {
        None => (0o644, Existing::Keep),
        Some(before) => {
            if folder.read_file(name)? != *before {
                let busy = Error::new(ErrorKind::Busy, "it was changed meanwhile", "run again");
                return Err(busy.in_file(&path.to_string_lossy()));
            }
            (files::mode(&*world.disk, &path)?.unwrap_or(0o644), Existing::Replace)
        }
    };
    let mut writer = Writer::new(&folder);
    writer.write(name, edit.after.as_bytes(), mode, existing)?;
    writer.finish().map(|_| ())
}
