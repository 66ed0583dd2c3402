//! `status`: what is sealed to which key, and since when; with an identity, which keys are no longer needed.

use super::Outcome;
use crate::cli;
use crate::manifest::blobs::Kind;
use crate::model::{Result, quoted};
use crate::pipeline::status::Status;
use crate::show;
use crate::workspace::Workspace;
use crate::workspace::sealed_files::SealedFile;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &cli::Status, world: &mut World) -> Result<Outcome> {
    let pinned = workspace.certificate()?.sealing.digest;
    let sealed = workspace.sealed_files(&args.paths, args.bound.hints(), false, world)?;
    let identity = args.identity.as_deref();
    let escrow = identity.map(|identity| workspace.escrow(Some(identity), world)).transpose()?.map(|escrow| escrow.pairs);
    let mut status = Status::new(pinned, escrow);
    let mut record = show::status::Record::default();
    sealed.each(world, |read, world| {
        for file in read {
            match file {
                Ok(file) => count(workspace, &file, args.printed.is_json(), &mut status, &mut record, world)?,
                Err(error) => {
                    status.unread += 1;
                    record.fail(&error);
                    world.terminal.tell(&show::tally::failed(&workspace.places, &error));
                }
            }
        }
        Ok(())
    })?;
    status.unread += sealed.skipped.get();
    let paths: Vec<String> = args.paths.iter().map(|path| quoted(&path.to_string_lossy())).collect();
    world.terminal.print(&if args.printed.is_json() {
        record.json(&status)
    } else {
        show::status::summary(&workspace.places, &status, &paths)
    })?;
    Ok(Outcome::found(record.has_failed() || status.escrow.is_some() && status.unknown > 0))
}

fn count(
    workspace: &Workspace,
    file: &SealedFile,
    json: bool,
    status: &mut Status,
    record: &mut show::status::Record,
    world: &mut World,
) -> Result<()> {
    for one in file.found.iter().filter(|one| one.kind != Kind::Template) {
        if let Some(fault) = &one.fault {
            let fault = fault.clone().in_file(&file.name());
            record.fail(&fault);
            world.terminal.tell(&show::tally::failed(&workspace.places, &fault));
        }
        if one.kind == Kind::Unread {
            status.unread += 1;
            continue;
        }
        let keys = status.count(one);
        match json {
            true => record.keep(status.pinned, &file.name(), one, keys.as_ref()),
            false => world.terminal.print(&show::status::line(status.pinned, &file.name(), one, keys.as_ref()))?,
        }
    }
    Ok(())
}
