//! `bootstrap`, the main job, and `plan`, which stops before anything is made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::carry_out::{self, Output, Prepared};
use super::{Outcome, known_key, setting, without_line_feed, write_once_key};
use crate::cli::{self, Folders};
use crate::model::{Change, Contract, Error, MOST_PROVIDED_BYTES, Name, Plan, Recipe, Result, SecretValue};
use crate::pipeline::generate;
use crate::pipeline::plan::Wishes;
use crate::world::folder::Folder;
use crate::world::{World, files};

pub(super) fn run(folders: &Folders, args: &cli::Bootstrap, world: &mut World) -> Result<Outcome> {
    carry_out::check_json(args.json, args.dry_run)?;
    if args.dry_run {
        return show(folders, &args.wishes, args.json, world).map(|_| Outcome::Done);
    }
    let output = Output::open(folders)?;
    let prepared = prepare(folders, output.folder.as_ref(), &args.wishes, world)?;
    output.clean(world)?;
    if prepared.plan.changes.is_empty() {
        world.terminal.print(&format!("nothing to do\n{}", carry_out::remarks(folders, &prepared)))?;
        return Ok(Outcome::Done);
    }
    // Everything that can be refused is refused here, before the first folder or file is made.
    check_inputs(&args.wishes, output.folder.as_ref())?;
    let sealing = &args.wishes.sealing;
    carry_out::check_outputs(folders, &prepared.plan, output.folder.as_ref(), &sealing.secrets)?;
    let provided = read_provided(&prepared, &args.wishes, world)?;
    carry_out::carry_out(folders, sealing, &prepared, provided, output, world)?;
    Ok(Outcome::Done)
}

pub(super) fn plan(folders: &Folders, args: &cli::Plan, world: &mut World) -> Result<Outcome> {
    let plan = show(folders, &args.wishes, args.json, world)?;
    Ok(if args.check && !plan.changes.is_empty() { Outcome::Found } else { Outcome::Done })
}

fn show(folders: &Folders, wishes: &cli::Wishes, as_json: bool, world: &mut World) -> Result<Plan> {
    let prepared = prepare(folders, Folder::open(&folders.out)?.as_ref(), wishes, world)?;
    match as_json {
        true => world.terminal.print(&format!("{:#}\n", carry_out::json(&prepared.plan)))?,
        false => carry_out::show(folders, &wishes.sealing, &prepared, world)?,
    }
    Ok(prepared.plan)
}

fn prepare(folders: &Folders, out: Option<&Folder>, wishes: &cli::Wishes, world: &mut World) -> Result<Prepared> {
    let setting = setting::read(folders, Some(&wishes.sealing.delivery), world)?;
    let asked = read_wishes(&setting.contract, wishes)?;
    carry_out::prepare(folders, out, setting, asked, &wishes.sealing, world)
}

fn read_wishes(contract: &Contract, wishes: &cli::Wishes) -> Result<Wishes> {
    let mut read = Wishes::default();
    for (name, _) in &wishes.provide {
        let key = known_key(contract, "--provide", name)?;
        if !matches!(key.recipe, Recipe::Provided { .. }) {
            return Err(Error::usage(
                format!("`{name}` is generated, not provided"),
                "drop it: `bootstrap` makes its value; or change its recipe to `provided` in a contract of your own",
            ));
        }
        if !read.provided.insert(name.clone()) {
            return Err(Error::usage(format!("`--provide {name}` is given twice"), "give it once"));
        }
    }
    for name in &wishes.destroys_data {
        read.destroyed.insert(write_once_key(contract, name)?);
    }
    let standard_input = wishes.provide.iter().filter(|(_, file)| file.as_deref() == Some(Path::new("-")));
    if standard_input.count() > 1 {
        return Err(Error::usage("standard input is asked for twice", "provide one of the two values from a file, or in a second run"));
    }
    Ok(read)
}

/// A file that is read must not be one of those that are written.
fn check_inputs(wishes: &cli::Wishes, out: Option<&Folder>) -> Result<()> {
    let mut outputs = out.map_or(Ok(Vec::new()), Folder::identities)?;
    if let Some(secrets) = Folder::open(&wishes.sealing.secrets)? {
        outputs.extend(secrets.identities()?);
    }
    for (name, file) in &wishes.provide {
        let Some(file) = file else { continue };
        if files::identity(file).is_some_and(|identity| outputs.contains(&identity)) {
            return Err(Error::refused(
                format!("the file of `--provide {name}` is one of those that this run may write"),
                "copy it to a folder of its own, with mode 0600",
            ));
        }
    }
    Ok(())
}

/// The values that the plan seals, each checked against its key's pattern before anything is written.
fn read_provided(prepared: &Prepared, wishes: &cli::Wishes, world: &mut World) -> Result<BTreeMap<Name, SecretValue>> {
    let sealed: BTreeSet<&Name> = prepared
        .plan
        .changes
        .iter()
        .flat_map(|change| match change {
            Change::Seal { keys, .. } => keys.as_slice(),
            _ => &[],
        })
        .collect();
    let mut values = BTreeMap::new();
    for (name, file) in wishes.provide.iter().filter(|(name, _)| sealed.contains(name)) {
        let value = without_line_feed(name.as_str(), read_value(name, file.as_ref(), world)?, world);
        let key = prepared.contract.key(name.as_str()).expect("it was looked up before");
        generate::check(key, &value)?;
        values.insert(name.clone(), value);
    }
    Ok(values)
}

fn read_value(name: &Name, file: Option<&PathBuf>, world: &mut World) -> Result<SecretValue> {
    let value = match file {
        Some(file) if file.as_os_str() == "-" && !world.terminal.stdin_is_terminal => world.terminal.read_secret()?,
        // What stands behind the `=` may be the value itself, by mistake: it is not repeated.
        Some(file) if file.as_os_str() != "-" => {
            SecretValue::new(files::read(file, &format!("the file of `--provide {name}`"), files::Kind::Secret)?)
        }
        _ => world.terminal.ask(&format!("{name}: "))?,
    };
    if value.len() > MOST_PROVIDED_BYTES {
        return Err(Error::bad_input(
            format!("the value of `{name}` is larger than {} KiB", MOST_PROVIDED_BYTES >> 10),
            "a Secret has to fit into an object of etcd; check the file",
        ));
    }
    Ok(value)
}
