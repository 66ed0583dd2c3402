//! `import`: adopts values that exist already. What is sealed wins, unless it is named.

use std::path::Path;

use super::carry_out::{self, MadeOn, Output, Prepared};
use super::setting::{self, Setting};
use super::{Outcome, known_key, read_input, without_line_feed, write_once_key};
use crate::cli::{Adoption, Folders, Import};
use crate::manifest::{env_file, secret, text};
use crate::model::{Contract, Error, Result, SecretValue, visible};
use crate::pipeline::adopt::Adopted;
use crate::pipeline::plan::Wishes;
use crate::world::folder::Folder;
use crate::world::{World, files};

pub(super) fn run(folders: &Folders, args: &Import, world: &mut World) -> Result<Outcome> {
    carry_out::check_json(args.adoption.replacing.consent.json, args.adoption.replacing.consent.dry_run)?;
    let setting = setting::read(folders, Some(&args.adoption.replacing.sealing.delivery), world)?;
    let found = find(&setting.contract, args, world)?;
    adopt(folders, &args.adoption, setting, found, &|_| None, world)
}

/// plan → what is found, sealed.
pub(super) fn adopt(
    folders: &Folders,
    args: &Adoption,
    setting: Setting,
    found: Adopted,
    made_on: MadeOn<'_>,
    world: &mut World,
) -> Result<Outcome> {
    let wishes = read_wishes(&setting.contract, args, &found)?;
    if args.replacing.consent.dry_run {
        let inventory = carry_out::inventory(folders, Folder::open(&*world.disk, &folders.out)?.as_ref(), world)?;
        let prepared = carry_out::prepare(folders, setting, &inventory, wishes, &args.replacing.sealing, world)?;
        show(folders, args, &prepared, &found, world)?;
        return Ok(Outcome::Done);
    }
    let output = Output::open(folders, world)?;
    let inventory = carry_out::inventory(folders, output.folder.as_ref(), world)?;
    let prepared = carry_out::prepare(folders, setting, &inventory, wishes, &args.replacing.sealing, world)?;
    output.clean(world)?;
    if prepared.plan.changes.is_empty() {
        world.terminal.print(&format!("nothing to do\n{}", report(&prepared, &found)))?;
        return Ok(Outcome::Done);
    }
    carry_out::check_outputs(folders, &prepared.plan, output.folder.as_ref(), world)?;
    carry_out::ask(folders, &prepared, &args.destroys_data, args.replacing.consent.yes, world)?;
    let report = report(&prepared, &found);
    carry_out::carry_out(folders, &prepared, found.values, made_on, output, world)?;
    world.terminal.print(&format!("{report}next: seal-secrets bootstrap, for what is still missing\n"))?;
    Ok(Outcome::Done)
}

fn show(folders: &Folders, args: &Adoption, prepared: &Prepared, found: &Adopted, world: &mut World) -> Result<()> {
    if !args.replacing.consent.json {
        carry_out::show(folders, prepared, world)?;
        return world.terminal.print(&report(prepared, found));
    }
    let mut json = carry_out::json(&prepared.plan);
    json["from"] = found.from.iter().map(|(name, from)| (name.to_string(), serde_json::json!(from))).collect();
    json["imported"] = found.unlike.keys().map(ToString::to_string).collect();
    json["remarks"] = serde_json::json!(found.remarks);
    world.terminal.print(&format!("{json:#}\n"))
}

/// Where each value that is sealed comes from, and what else there is to know.
fn report(prepared: &Prepared, found: &Adopted) -> String {
    let line = |name| {
        let from = visible(found.from.get(name)?);
        let unlike = found.unlike.get(name).map(|made| format!("; not what its recipe makes ({made}), so it is marked as imported"));
        Some(format!("from   {from}: {name}{}\n", unlike.unwrap_or_default()))
    };
    let mut text: String = prepared.plan.sealed().filter_map(line).collect();
    found.remarks.iter().for_each(|remark| text.push_str(&format!("note   {}\n", visible(remark))));
    text
}

fn read_wishes(contract: &Contract, args: &Adoption, found: &Adopted) -> Result<Wishes> {
    let mut wishes = Wishes { provided: found.names(), only_provided: true, ..Wishes::default() };
    for name in &args.destroys_data {
        wishes.destroyed.insert(write_once_key(contract, name)?);
    }
    for name in &args.replace {
        known_key(contract, "--replace", name)?;
    }
    for name in args.replace.iter().chain(&args.destroys_data) {
        if !found.values.contains_key(name) {
            let help = "name a key that one of them holds; `seal-secrets import --dry-run` lists these";
            return Err(Error::usage(format!("no source has a value for `{name}`, which is to be replaced"), help));
        }
        wishes.replaced.insert(name.clone());
    }
    Ok(wishes)
}

/// Every source, and what it holds of the contract.
fn find(contract: &Contract, args: &Import, world: &mut World) -> Result<Adopted> {
    let mut found = Adopted::default();
    for path in &args.env_files {
        let name = path.to_string_lossy();
        let bytes = files::read(&*world.disk, path, &name, files::Kind::Secret)?;
        let variables = text::decode(&bytes).and_then(env_file::read).map_err(|error| error.in_file(&name))?;
        variables.into_iter().try_for_each(|variable| found.add_variable(contract, variable, &name))?;
    }
    for path in &args.files {
        let (name, bytes) = read_input(path, files::Kind::Secret, world)?;
        add_secrets(contract, &bytes, &name, &mut found)?;
    }
    for path in &args.directories {
        add_directory(contract, path, &mut found, world)?;
    }
    #[cfg(feature = "cluster")]
    if args.from_cluster {
        add_cluster(contract, args, &mut found, world)?;
    }
    found.settle(contract)?;
    if found.values.is_empty() {
        let help =
            "name a source of values: see `seal-secrets contract` for the keys, and `seal-secrets import --help` for how they are found";
        let why = found.remarks.join("; ");
        let error = Error::bad_input("there is no value of a key of the contract in it", help);
        let sources = args.env_files.iter().chain(&args.files).chain(&args.directories).map(|path| path.to_string_lossy());
        let error = error.in_file(&sources.collect::<Vec<_>>().join(", "));
        return Err(if why.is_empty() { error } else { error.why(why) });
    }
    Ok(found)
}

fn add_secrets(contract: &Contract, bytes: &[u8], name: &str, found: &mut Adopted) -> Result<()> {
    let secrets = text::decode(bytes).and_then(secret::read_plain).map_err(|error| error.in_file(name))?;
    secrets.into_iter().try_for_each(|secret| found.add_secret(contract, secret, name))
}

/// A folder with a file for each key.
fn add_directory(contract: &Contract, path: &Path, found: &mut Adopted, world: &mut World) -> Result<()> {
    if !files::is_folder(&*world.disk, path)? {
        return Err(Error::bad_input("no such folder", "name the folder with a file for each key").in_file(&path.to_string_lossy()));
    }
    for key in &contract.keys {
        let file = path.join(key.name.as_str());
        if files::exists(&*world.disk, &file)? {
            let name = file.to_string_lossy();
            let value = SecretValue::new(files::read(&*world.disk, &file, &name, files::Kind::Secret)?);
            let value = without_line_feed(key.name.as_str(), value, world);
            found.add(key, value, name.into_owned())?;
        }
    }
    Ok(())
}

/// The source Secrets of the contract's keys, and the target Secrets of its readers; no list is asked for.
#[cfg(feature = "cluster")]
fn add_cluster(contract: &Contract, args: &Import, found: &mut Adopted, world: &mut World) -> Result<()> {
    let sources = contract.keys.iter().map(|key| (&contract.namespace, &key.name));
    let targets = contract.consumers.iter().map(|consumer| (&consumer.namespace, &consumer.target));
    let places: std::collections::BTreeSet<_> = sources.chain(targets).collect();
    if let Some(unknown) = args.namespaces.iter().find(|asked| !places.iter().any(|(namespace, _)| namespace == asked)) {
        let help = format!("name `{}`, or the namespace of a reader: see `seal-secrets contract`", contract.namespace);
        return Err(Error::usage(format!("nothing of the contract is in the namespace `{unknown}`"), help));
    }
    let cluster = crate::world::cluster::Cluster::connect(&args.access.named(), &mut world.terminal)?;
    for (namespace, name) in places.into_iter().filter(|(namespace, _)| args.namespaces.is_empty() || args.namespaces.contains(namespace)) {
        if let Some(bytes) = cluster.find_secret(&format!("/api/v1/namespaces/{namespace}/secrets/{name}"))? {
            add_secrets(contract, &bytes, &format!("{namespace}/{name}"), found)?;
        }
    }
    Ok(())
}
