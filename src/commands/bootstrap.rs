//! `bootstrap`, the main job, and `plan`, which stops before anything is made.

use super::carry_out::{self, Output, Prepared};
use super::{Outcome, provide, setting, write_once_key};
use crate::cli::{self, Folders};
use crate::model::{Contract, Plan, Result};
use crate::pipeline::plan::Wishes;
use crate::world::World;
use crate::world::folder::Folder;

pub(super) fn run(folders: &Folders, args: &cli::Bootstrap, world: &mut World) -> Result<Outcome> {
    carry_out::check_json(args.json, args.dry_run)?;
    if args.dry_run {
        return show(folders, &args.wishes, args.json, world).map(|_| Outcome::Done);
    }
    let output = Output::open(folders, world)?;
    let prepared = prepare(folders, output.folder.as_ref(), &args.wishes, world)?;
    output.clean(world)?;
    if prepared.plan.changes.is_empty() {
        world.terminal.print(&format!("nothing to do\n{}", carry_out::remarks(folders, &prepared)))?;
        return Ok(Outcome::Done);
    }
    // Everything that can be refused is refused here, before the first folder or file is made.
    provide::check_files(&args.wishes.provide, output.folder.as_ref(), &folders.secrets, world)?;
    carry_out::check_outputs(folders, &prepared.plan, output.folder.as_ref(), world)?;
    let provided = provide::read(&prepared, &args.wishes.provide, world)?;
    let today = world.day(0)?;
    carry_out::carry_out(folders, &prepared, provided, &|_| Some(today.clone()), output, world)?;
    Ok(Outcome::Done)
}

pub(super) fn plan(folders: &Folders, args: &cli::Plan, world: &mut World) -> Result<Outcome> {
    let plan = show(folders, &args.wishes, args.json, world)?;
    Ok(if args.check && !plan.changes.is_empty() { Outcome::Found } else { Outcome::Done })
}

fn show(folders: &Folders, wishes: &cli::Wishes, as_json: bool, world: &mut World) -> Result<Plan> {
    let prepared = prepare(folders, Folder::open(&*world.disk, &folders.out)?.as_ref(), wishes, world)?;
    match as_json {
        true => world.terminal.print(&format!("{:#}\n", carry_out::json(&prepared.plan)))?,
        false => carry_out::show(folders, &prepared, world)?,
    }
    Ok(prepared.plan)
}

fn prepare(folders: &Folders, out: Option<&Folder>, wishes: &cli::Wishes, world: &mut World) -> Result<Prepared> {
    let setting = setting::read(folders, Some(&wishes.sealing.delivery), world)?;
    let asked = read_wishes(&setting.contract, wishes)?;
    carry_out::prepare(folders, setting, &carry_out::inventory(folders, out, world)?, asked, &wishes.sealing, world)
}

fn read_wishes(contract: &Contract, wishes: &cli::Wishes) -> Result<Wishes> {
    let destroyed = wishes.destroys_data.iter().map(|name| write_once_key(contract, name)).collect::<Result<_>>()?;
    Ok(Wishes { provided: provide::names(contract, &wishes.provide)?, destroyed, ..Wishes::default() })
}
