//! `bootstrap`, the main job, and `plan`, which stops before anything is made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::setting::{self, Setting};
use super::{Outcome, finding_text, findings_json, keys};
use crate::cli::{self, Folders};
use crate::manifest::sealed_secret::{self, Sealed};
use crate::model::{
    Change, Contract, Error, ErrorKind, MOST_PROVIDED_BYTES, Name, Plan, Reason, Recipe, Result, SecretValue, near, visible,
};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::plan::Wishes;
use crate::pipeline::seal::Sealer;
use crate::pipeline::{generate, inventory, plan};
use crate::world::folder::{Existing, Folder, Lock, Writer};
use crate::world::git;
use crate::world::{World, files};

/// Everything that a plan is made from, and the plan.
struct Prepared {
    contract: Contract,
    certificate: SealingCertificate,
    plan: Plan,
}

pub(super) fn run(folders: &Folders, args: &cli::Bootstrap, world: &mut World) -> Result<Outcome> {
    if args.json && !args.dry_run {
        return Err(Error::usage("`--json` shows a plan, and this would carry it out", "add `--dry-run`"));
    }
    if args.dry_run {
        return show(folders, &args.wishes, args.json, world).map(|_| Outcome::Done);
    }
    let there = Folder::open(&folders.out)?;
    let lock = there.as_ref().map(Folder::lock).transpose()?;
    let prepared = prepare(folders, there.as_ref(), &args.wishes, world)?;
    warn_kept(&prepared.plan, world);
    if let Some(out) = &there {
        remove_leftovers(out, world)?;
    }
    if prepared.plan.changes.is_empty() {
        world.terminal.print(&format!("nothing to do\n{}", remarks(folders, &prepared)))?;
        return Ok(Outcome::Done);
    }
    // Everything that can be refused is refused here, before the first folder or file is made.
    check_inputs(&args.wishes, there.as_ref())?;
    check_outputs(folders, &prepared.plan, there.as_ref(), &args.wishes.secrets)?;
    let provided = read_provided(&prepared, &args.wishes, world)?;
    let made = make(&prepared, provided, world)?;
    let (out, _lock) = match (there, lock) {
        (Some(out), Some(lock)) => (out, lock),
        _ => new_folder(folders)?,
    };
    write(&prepared, made, &out, &args.wishes.secrets, world)?;
    world.terminal.print(&render_plan(folders, &args.wishes, &prepared, true))?;
    Ok(Outcome::Done)
}

/// The output folder, which was not there when the plan was made.
fn new_folder(folders: &Folders) -> Result<(Folder, Lock)> {
    let path = &folders.out;
    // Inside a checkout the folders on the way are made as well.
    let inside = |folder: &&Path| folders.platform.as_deref().is_some_and(|root| files::relative_to(folder, root).is_some());
    let missing: Vec<&Path> = path.ancestors().skip(1).take_while(inside).filter(|folder| !files::exists(folder)).collect();
    for folder in missing.into_iter().rev() {
        Folder::create(folder, 0o755)?;
    }
    let out = Folder::create(path, 0o755)?;
    let lock = out.lock()?;
    if !out.read_all()?.is_empty() {
        let busy = Error::new(ErrorKind::Busy, "another run wrote here meanwhile", "run again: it adds what is missing");
        return Err(busy.in_file(&path.to_string_lossy()));
    }
    Ok((out, lock))
}

fn remove_leftovers(out: &Folder, world: &mut World) -> Result<()> {
    let removed = out.remove_leftovers()?;
    if removed > 0 {
        world.terminal.warn(&format!("removed {removed} temporary files that an interrupted run left"));
    }
    Ok(())
}

pub(super) fn plan(folders: &Folders, args: &cli::Plan, world: &mut World) -> Result<Outcome> {
    let plan = show(folders, &args.wishes, args.json, world)?;
    Ok(if args.check && !plan.changes.is_empty() { Outcome::Found } else { Outcome::Done })
}

fn show(folders: &Folders, wishes: &cli::Wishes, as_json: bool, world: &mut World) -> Result<Plan> {
    let prepared = prepare(folders, Folder::open(&folders.out)?.as_ref(), wishes, world)?;
    warn_kept(&prepared.plan, world);
    let text = if as_json { json(&prepared.plan) } else { render_plan(folders, wishes, &prepared, false) };
    world.terminal.print(&text)?;
    Ok(prepared.plan)
}

/// contract, certificate, inventory → plan.
fn prepare(folders: &Folders, out: Option<&Folder>, wishes: &cli::Wishes, world: &mut World) -> Result<Prepared> {
    let Setting { contract, delivery, coverage, .. } = setting::read(folders, Some(&wishes.delivery), world)?;
    let wishes_read = Wishes { delivery, ..read_wishes(&contract, wishes)? };
    let certificate = keys::fit_certificate(folders, wishes.allow_rsa_bits, world)?;
    let files = out.map_or(Ok(BTreeMap::new()), Folder::read_all)?;
    let in_out = |error: Error| error.within(&folders.out);
    let inventory = inventory::read(files).map_err(in_out)?;
    let plan = plan::plan(&contract, &inventory, certificate.digest, &wishes_read).map_err(in_out)?;
    let plan = Plan { coverage, ..plan };
    Ok(Prepared { contract, certificate, plan })
}

fn read_wishes(contract: &Contract, wishes: &cli::Wishes) -> Result<Wishes> {
    let known = |flag: &str, name: &Name| {
        contract.key(name.as_str()).ok_or_else(|| {
            let names = contract.keys.iter().map(|key| key.name.as_str());
            let help =
                near(name.as_str(), names).map_or("see `seal-secrets contract`".to_owned(), |meant| format!("did you mean `{meant}`?"));
            Error::usage(format!("`{flag}` names a key that the contract does not have"), help)
        })
    };
    let mut read = Wishes::default();
    for (name, _) in &wishes.provide {
        let key = known("--provide", name)?;
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
        let key = known("--destroys-data", name)?;
        if !key.write_once {
            return Err(Error::usage(format!("`{name}` is not write-once"), "drop `--destroys-data`: no data depends on it"));
        }
        read.destroyed.insert(name.clone());
    }
    let standard_input = wishes.provide.iter().filter(|(_, file)| file.as_deref() == Some(Path::new("-")));
    if standard_input.count() > 1 {
        return Err(Error::usage("standard input is asked for twice", "provide one of the two values from a file, or in a second run"));
    }
    Ok(read)
}

fn warn_kept(plan: &Plan, world: &mut World) {
    for name in &plan.kept {
        world.terminal.warn(&format!("`{name}` is sealed already and stays as it is: what was provided is not read"));
    }
}

/// A file that is read must not be one of those that are written.
fn check_inputs(wishes: &cli::Wishes, out: Option<&Folder>) -> Result<()> {
    let mut outputs = out.map_or(Ok(Vec::new()), Folder::identities)?;
    if let Some(secrets) = Folder::open(&wishes.secrets)? {
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

/// What stands where the plan will write.
fn check_outputs(folders: &Folders, plan: &Plan, out: Option<&Folder>, secrets: &Path) -> Result<()> {
    let copies = copied(plan);
    if let Some(out) = out {
        let inside = plan.changes.iter().filter(|change| !matches!(change, Change::Place { .. }));
        inside.into_iter().try_for_each(|change| out.check(change.file(), Existing::Replace))?;
    }
    for change in &plan.changes {
        if let Change::Place { file, .. } = change {
            let (folder, name) = place_folder(file)?;
            folder.check(name, Existing::Replace)?;
            if files::relative_to(Path::new(file), secrets).is_some() {
                return Err(
                    Error::refused("the store file would lie among the operator's copies", "name a file of the platform's").in_file(file)
                );
            }
        }
    }
    if copies.is_empty() {
        return Ok(());
    }
    if files::relative_to(secrets, &folders.out).is_some() {
        return Err(Error::refused(
            "the operator's copies would lie in the output folder, where everything is committed",
            "name another folder with `--secrets DIR`",
        )
        .in_file(&secrets.to_string_lossy()));
    }
    let names: Vec<&str> = copies.iter().map(|name| name.as_str()).collect();
    if let Some(secrets) = Folder::open(secrets)? {
        names.iter().try_for_each(|name| secrets.check(name, Existing::Replace))?;
    }
    git::check_kept_out(secrets, &names)
}

/// The folder of a file of the platform's, which has to be there, and the file's name.
fn place_folder(file: &str) -> Result<(Folder, &str)> {
    let (parent, name) = file.rsplit_once('/').unwrap_or((".", file));
    let missing = || Error::new(ErrorKind::InputOutput, "its folder is not there", "make the folder first: `mkdir -p`").in_file(file);
    Ok((Folder::open(Path::new(parent))?.ok_or_else(missing)?, name))
}

/// The keys whose value is also kept for the operator.
fn copied(plan: &Plan) -> Vec<&Name> {
    let seals = plan.changes.iter().filter_map(|change| match change {
        Change::Seal { copies, .. } => Some(copies),
        _ => None,
    });
    seals.flatten().collect()
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
        let value = trim(name, read_value(name, file.as_ref(), world)?, world);
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

/// Editors and `echo` end a file with a line feed that is hardly ever part of the secret.
fn trim(name: &Name, value: SecretValue, world: &mut World) -> SecretValue {
    let bytes = value.expose();
    let trimmed = bytes.strip_suffix(b"\r\n").or_else(|| bytes.strip_suffix(b"\n"));
    let Some(trimmed) = trimmed else { return value };
    world.terminal.warn(&format!("removed the line feed at the end of `{name}`"));
    SecretValue::new(Zeroizing::new(trimmed.to_vec()))
}

/// What a plan's units hold: sealed, in the order of the plan, and in the clear where the operator gets a copy.
struct Made {
    blobs: Vec<String>,
    copies: Vec<(Name, Zeroizing<Vec<u8>>)>,
}

/// generate → seal.
fn make(prepared: &Prepared, mut provided: BTreeMap<Name, SecretValue>, world: &mut World) -> Result<Made> {
    let contract = &prepared.contract;
    let units: BTreeMap<_, _> = contract.units().into_iter().map(|unit| (unit.name, unit)).collect();
    let (mut labelled, mut copies) = (Vec::new(), Vec::new());
    for change in &prepared.plan.changes {
        let Change::Seal { unit, copies: copied, .. } = change else { continue };
        let unit = &units[unit];
        let values = generate::generate(unit, &mut provided, world.entropy.as_mut())?;
        for (key, value) in unit.keys.iter().zip(values) {
            if copied.contains(&key.name) {
                copies.push((key.name.clone(), Zeroizing::new(value.expose().to_vec())));
            }
            labelled.push((Contract::SCOPE.label(contract.namespace.as_str(), key.name.as_str()), value));
        }
    }
    let blobs = Sealer::new(&prepared.certificate)?.seal_all(labelled, world.entropy.as_mut(), world.threads)?;
    Ok(Made { blobs, copies })
}

/// Operator's copies → units → derived files.
fn write(prepared: &Prepared, made: Made, out: &Folder, secrets: &Path, world: &mut World) -> Result<()> {
    // The copy first: were the unit first and the run ended between the two, nobody would ever write the copy.
    write_copies(secrets, made.copies, world)?;
    let contract = &prepared.contract;
    let units: BTreeMap<_, _> = contract.units().into_iter().map(|unit| (unit.name, unit)).collect();
    let mut blobs = made.blobs.into_iter();
    let mut writer = Writer::new(out);
    for change in &prepared.plan.changes {
        let text = match change {
            Change::Write { text, .. } => text.clone(),
            Change::Place { .. } => continue,
            Change::Seal { unit, .. } => {
                let sealed = units[unit].keys.iter().zip(blobs.by_ref()).map(|(key, blob)| Sealed { key, blob });
                sealed_secret::write(contract, prepared.certificate.digest, &sealed.collect::<Vec<_>>())
            }
        };
        writer.write(change.file(), text.as_bytes(), 0o644, Existing::Replace)?;
    }
    finish(writer, world)?;
    for change in &prepared.plan.changes {
        if let Change::Place { file, text, .. } = change {
            let (folder, name) = place_folder(file)?;
            let mut writer = Writer::new(&folder);
            writer.write(name, text.as_bytes(), 0o644, Existing::Replace)?;
            finish(writer, world)?;
        }
    }
    Ok(())
}

/// Makes what was written last, and tells of second names.
fn finish(writer: Writer<'_>, world: &mut World) -> Result<()> {
    for name in writer.finish()? {
        world.terminal.warn(&format!("{name} had a second name (a hard link), which keeps the old content"));
    }
    Ok(())
}

fn write_copies(secrets: &Path, copies: Vec<(Name, Zeroizing<Vec<u8>>)>, world: &mut World) -> Result<()> {
    if copies.is_empty() {
        return Ok(());
    }
    let folder = Folder::create(secrets, 0o700)?;
    folder.remove_leftovers()?;
    git::keep_out(&folder, "*\n")?;
    let mut writer = Writer::new(&folder);
    for (name, value) in &copies {
        if files::exists(&secrets.join(name.as_str())) {
            world.terminal.warn(&format!("{} held the value of another `{name}`; it is replaced", secrets.join(name.as_str()).display()));
        }
        writer.write(name.as_str(), value, 0o600, Existing::Replace)?;
    }
    finish(writer, world)
}

/// The plan for people: a line for each unit and each derived file; new derived files are only counted.
fn render_plan(folders: &Folders, wishes: &cli::Wishes, prepared: &Prepared, done: bool) -> String {
    let shown = |path: &str| visible(&folders.out.join(path).to_string_lossy());
    let mut text = String::new();
    let mut new: BTreeMap<&str, usize> = BTreeMap::new();
    for change in &prepared.plan.changes {
        match change {
            Change::Seal { file, keys, copies, reason, .. } => {
                text.push_str(&format!("seal   {} ({})", shown(file), reason.as_str()));
                if let [_, _, ..] = keys.as_slice() {
                    let keys: Vec<&str> = keys.iter().map(Name::as_str).collect();
                    text.push_str(&format!(": {}", keys.join(" and ")));
                }
                text.push('\n');
                for name in copies {
                    let copy = wishes.secrets.join(name.as_str());
                    text.push_str(&format!("copy   {} (for you; never commit it)\n", visible(&copy.to_string_lossy())));
                }
            }
            Change::Write { file, reason: Reason::New, .. } => {
                *new.entry(file.rsplit_once('/').map_or("", |(folder, _)| folder)).or_default() += 1;
            }
            Change::Place { file, reason, .. } => text.push_str(&format!("write  {} ({})\n", visible(file), reason.as_str())),
            Change::Write { file, reason, .. } => text.push_str(&format!("write  {} ({})\n", shown(file), reason.as_str())),
        }
    }
    for (folder, count) in new {
        text.push_str(&format!("write  {} (new): {count} files\n", shown(folder)));
    }
    let (sealed, written) = prepared.plan.changes.iter().fold((0, 0), |(sealed, written), change| match change {
        Change::Seal { keys, .. } => (sealed + keys.len(), written),
        _ => (sealed, written + 1),
    });
    text.push_str(&match (prepared.plan.changes.is_empty(), done) {
        (true, _) => "nothing to do\n".to_owned(),
        (false, false) => format!("to do: {sealed} values to seal, {written} files to write\n"),
        (false, true) => format!("done: {sealed} values sealed to {}, {written} files written\n", prepared.plan.certificate),
    });
    text + &remarks(folders, prepared)
}

/// What a plan leaves: orphans, and what only the operator has.
fn remarks(folders: &Folders, prepared: &Prepared) -> String {
    let plan = &prepared.plan;
    let mut text = String::new();
    for orphan in &plan.orphans {
        let orphan = visible(&folders.out.join(orphan).to_string_lossy());
        text.push_str(&format!("orphan: {orphan} is not in the contract; it stays\n"));
    }
    if !plan.awaited.is_empty() {
        text.push_str("yours to add, with `seal-secrets bootstrap --provide KEY=FILE`:\n");
    }
    for name in &plan.awaited {
        let hint = match prepared.contract.key(name.as_str()).map(|key| &key.recipe) {
            Some(Recipe::Provided { hint: Some(hint), .. }) => format!(": {hint}"),
            _ => String::new(),
        };
        text.push_str(&format!("  {name}{hint}\n"));
    }
    plan.coverage.iter().for_each(|finding| text.push_str(&finding_text(finding)));
    text
}

/// The plan for programs; fields are only ever added.
fn json(plan: &Plan) -> String {
    let names = |names: &[Name]| names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let changes: Vec<serde_json::Value> = plan
        .changes
        .iter()
        .map(|change| match change {
            Change::Seal { unit, file, keys, copies, reason } => serde_json::json!({
                "action": "seal", "unit": unit.as_str(), "file": file, "keys": names(keys), "copies": names(copies), "reason": reason.as_str(),
            }),
            Change::Place { file, reason, .. } => serde_json::json!({ "action": "place", "file": file, "reason": reason.as_str() }),
            Change::Write { file, reason, .. } => serde_json::json!({ "action": "write", "file": file, "reason": reason.as_str() }),
        })
        .collect();
    let plan = serde_json::json!({
        "version": 1, "certificate": plan.certificate.to_string(), "changes": changes,
        "awaited": names(&plan.awaited), "orphans": plan.orphans, "kept": names(&plan.kept),
        "coverage": findings_json(&plan.coverage),
    });
    format!("{plan:#}\n")
}
