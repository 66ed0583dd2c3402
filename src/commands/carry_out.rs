//! What every command that seals has in common: a plan is made, shown, and carried out.

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::Zeroizing;

use super::setting::Setting;
use super::{confirm, create, finding_text, findings_json, keys};
use crate::cli::{Folders, Sealing};
use crate::manifest::sealed_secret::{self, Sealed};
use crate::model::{Change, Contract, Error, ErrorKind, Name, Plan, Reason, Recipe, Result, SecretValue, Unit, visible};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::inventory::Inventory;
use crate::pipeline::plan::Wishes;
use crate::pipeline::seal::Sealer;
use crate::pipeline::{generate, inventory, plan};
use crate::world::folder::{Existing, Folder, Lock, Writer};
use crate::world::git;
use crate::world::{World, files};

/// Everything that a plan is made from, and the plan.
pub(super) struct Prepared {
    pub(super) contract: Contract,
    certificate: SealingCertificate,
    pub(super) plan: Plan,
}

/// What is in the output folder.
pub(super) fn inventory(folders: &Folders, out: Option<&Folder>, world: &World) -> Result<Inventory> {
    let files = out.map_or(Ok(BTreeMap::new()), Folder::read_all)?;
    let mut inventory = inventory::read(files).map_err(|error| error.within(&folders.out))?;
    inventory.made = keys::made(folders, world)?;
    Ok(inventory)
}

/// contract, certificate, inventory → plan.
pub(super) fn prepare(
    folders: &Folders,
    setting: Setting,
    inventory: &Inventory,
    wishes: Wishes,
    args: &Sealing,
    world: &mut World,
) -> Result<Prepared> {
    let Setting { contract, delivery, coverage, .. } = setting;
    let certificate = keys::fit_certificate(folders, args.allow_rsa_bits, world)?;
    let plan = plan::plan(&contract, inventory, certificate.digest, &Wishes { delivery, ..wishes });
    let mut plan = plan.map_err(|error| error.within(&folders.out))?;
    let remembered = inventory::remembered(inventory);
    let sealed = |unit: &Unit<'_>| {
        let now = |change: &Change| matches!(change, Change::Seal { unit: sealed, .. } if sealed == unit.name);
        let file = unit.file();
        unit.write_once() && (inventory.sealed.contains_key(&file) || remembered.contains(&file) || plan.changes.iter().any(now))
    };
    let made = contract.units().into_iter().filter(sealed).map(|unit| unit.name.clone()).collect();
    plan.changes.extend(keys::remember(folders, &inventory.made, made, world)?);
    for name in &plan.kept {
        world.terminal.warn(&format!("`{name}` is sealed already and stays as it is: what was provided is not used"));
    }
    Ok(Prepared { contract, certificate, plan: Plan { coverage, ..plan } })
}

/// The plan, and nothing else.
pub(super) fn show(folders: &Folders, prepared: &Prepared, world: &mut World) -> Result<()> {
    world.terminal.print(&render_plan(folders, prepared, false))
}

/// `--json` stands for a plan, not for what is done.
pub(super) fn check_json(json: bool, dry_run: bool) -> Result<()> {
    if json && !dry_run {
        return Err(Error::usage("`--json` shows a plan, and this would carry it out", "add `--dry-run`"));
    }
    Ok(())
}

/// The output folder as a run finds it, locked where there is one.
pub(super) struct Output {
    pub(super) folder: Option<Folder>,
    lock: Option<Lock>,
}

impl Output {
    pub(super) fn open(folders: &Folders, world: &World) -> Result<Self> {
        let folder = Folder::open(&*world.disk, &folders.out)?;
        let lock = folder.as_ref().map(Folder::lock).transpose()?;
        Ok(Output { folder, lock })
    }

    /// Removes what an interrupted run left there.
    pub(super) fn clean(&self, world: &mut World) -> Result<()> {
        let removed = self.folder.as_ref().map_or(Ok(0), Folder::remove_leftovers)?;
        if removed > 0 {
            world.terminal.warn(&format!("removed {removed} temporary files that an interrupted run left"));
        }
        Ok(())
    }
}

/// Where values give way to others, the operator says so: with `--yes`, or at the terminal, where the plan is shown first.
pub(super) fn ask(folders: &Folders, prepared: &Prepared, destroyed: &[Name], yes: bool, world: &mut World) -> Result<()> {
    let replaced = prepared.plan.changes.iter().filter_map(|change| match change {
        Change::Seal { keys, reason: Reason::Replaced, .. } => Some(keys),
        _ => None,
    });
    let (lost, others): (Vec<_>, Vec<_>) = replaced.partition(|keys| keys.iter().any(|key| destroyed.contains(key)));
    if yes || lost.is_empty() && others.is_empty() {
        return Ok(());
    }
    if world.terminal.stdin_is_terminal {
        show(folders, prepared, world)?;
    }
    for name in lost.into_iter().flatten().filter(|name| destroyed.contains(name)) {
        let about = prepared.contract.key(name.as_str()).map_or("", |key| key.about.as_str());
        let question = format!("`{name}` {about}; all of that is lost. Type its name: ");
        if !world.terminal.stdin_is_terminal || !world.terminal.ask(&question)?.is(name.as_str()) {
            let help = "type the name at a terminal, or say so with `--yes`";
            return Err(Error::refused(format!("nobody has said that what `{name}` encrypts may be lost"), help));
        }
    }
    if others.is_empty() { Ok(()) } else { confirm("these values are replaced", false, world) }
}

/// The day on which the value of a key was made, where that is known.
pub(super) type MadeOn<'d> = &'d dyn Fn(&Name) -> Option<String>;

/// generate → seal → write, of a plan that [`check_outputs`] passed.
pub(super) fn carry_out(
    folders: &Folders,
    prepared: &Prepared,
    provided: BTreeMap<Name, SecretValue>,
    made_on: MadeOn<'_>,
    output: Output,
    world: &mut World,
) -> Result<()> {
    let remembers = prepared.plan.changes.iter().any(|change| matches!(change, Change::Remember { .. }));
    let keys_folder = remembers.then(|| keys::folder_to_change(folders, world)).transpose()?;
    let made = make(prepared, provided, made_on, world)?;
    let (out, _lock) = match (output.folder, output.lock) {
        (Some(out), Some(lock)) => (out, lock),
        _ => new_folder(folders, world)?,
    };
    write(folders, prepared, made, &out, keys_folder.as_ref().map(|(folder, _lock)| folder), world)?;
    world.terminal.print(&render_plan(folders, prepared, true))
}

/// The output folder, which was not there when the plan was made.
fn new_folder(folders: &Folders, world: &World) -> Result<(Folder, Lock)> {
    let path = &folders.out;
    // Inside a checkout the folders on the way are made as well.
    if let Some(root) = &folders.platform
        && files::is_inside(&*world.disk, path, root)?
    {
        Folder::create_all(&*world.disk, path, 0o755)?;
    }
    let out = create(folders, path, 0o755, world)?;
    let lock = out.lock()?;
    if !out.read_all()?.is_empty() {
        let busy = Error::new(ErrorKind::Busy, "another run wrote here meanwhile", "run again: it adds what is missing");
        return Err(busy.in_file(&path.to_string_lossy()));
    }
    Ok((out, lock))
}

/// What stands where the plan will write.
pub(super) fn check_outputs(folders: &Folders, plan: &Plan, out: Option<&Folder>, world: &World) -> Result<()> {
    let secrets = &folders.secrets;
    let copies = copied(plan);
    if let Some(out) = out {
        let inside = plan.changes.iter().filter(|change| !matches!(change, Change::Place { .. } | Change::Remember { .. }));
        inside.into_iter().try_for_each(|change| out.check(change.file(), Existing::Replace))?;
    }
    for change in &plan.changes {
        if let Change::Place { file, .. } | Change::Remember { file, .. } = change {
            let (folder, name) = place_folder(file, world)?;
            folder.check(name, Existing::Replace)?;
        }
        if let Change::Place { file, .. } = change
            && files::is_inside(&*world.disk, Path::new(file), secrets)?
        {
            return Err(
                Error::refused("the store file would lie among the operator's copies", "name a file of the platform's").in_file(file)
            );
        }
    }
    if copies.is_empty() {
        return Ok(());
    }
    if files::is_inside(&*world.disk, secrets, &folders.out)? {
        return Err(Error::refused(
            "the operator's copies would lie in the output folder, where everything is committed",
            "name another folder with `--secrets DIR`",
        )
        .in_file(&secrets.to_string_lossy()));
    }
    let names: Vec<&str> = copies.iter().map(|name| name.as_str()).collect();
    if let Some(secrets) = Folder::open(&*world.disk, secrets)? {
        names.iter().try_for_each(|name| secrets.check(name, Existing::Replace))?;
    }
    git::check_kept_out(&*world.disk, secrets, &names)
}

/// The folder of a file of the platform's, which has to be there, and the file's name.
fn place_folder<'f>(file: &'f str, world: &World) -> Result<(Folder, &'f str)> {
    let (parent, name) = file.rsplit_once('/').unwrap_or((".", file));
    let missing = || Error::new(ErrorKind::InputOutput, "its folder is not there", "make the folder first: `mkdir -p`").in_file(file);
    Ok((Folder::open(&*world.disk, Path::new(parent))?.ok_or_else(missing)?, name))
}

/// The keys whose value is also kept for the operator.
fn copied(plan: &Plan) -> Vec<&Name> {
    let seals = plan.changes.iter().filter_map(|change| match change {
        Change::Seal { copies, .. } => Some(copies),
        _ => None,
    });
    seals.flatten().collect()
}

/// What a plan's units hold: their files' texts in the order of the plan, and in the clear where the operator gets a copy.
struct Made {
    files: Vec<String>,
    copies: Vec<(Name, Zeroizing<Vec<u8>>)>,
}

/// generate → seal.
fn make(prepared: &Prepared, mut provided: BTreeMap<Name, SecretValue>, made_on: MadeOn<'_>, world: &mut World) -> Result<Made> {
    let contract = &prepared.contract;
    let units: BTreeMap<_, _> = contract.units().into_iter().map(|unit| (unit.name, unit)).collect();
    let (mut labelled, mut copies, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
    for change in &prepared.plan.changes {
        let Change::Seal { unit, copies: copied, .. } = change else { continue };
        let unit = &units[unit];
        let values = generate::generate(unit, &mut provided, world.entropy.as_mut())?;
        let mut of_unit = Vec::with_capacity(values.len());
        for (key, value) in unit.keys.iter().zip(values) {
            if copied.contains(&key.name) {
                copies.push((key.name.clone(), Zeroizing::new(value.expose().to_vec())));
            }
            let imported = generate::check(key, &value).is_err();
            of_unit.push(Sealed { key, blob: String::new(), imported, made: made_on(&key.name) });
            labelled.push((Contract::SCOPE.label(contract.namespace.as_str(), key.name.as_str()), value));
        }
        sealed.push(of_unit);
    }
    let mut blobs = Sealer::new(&prepared.certificate)?.seal_all(labelled, world.entropy.as_mut(), world.threads)?.into_iter();
    let files = sealed.into_iter().map(|unit| {
        let unit: Vec<_> = unit.into_iter().zip(blobs.by_ref()).map(|(sealed, blob)| Sealed { blob, ..sealed }).collect();
        sealed_secret::write(contract, prepared.certificate.digest, &unit)
    });
    Ok(Made { files: files.collect(), copies })
}

/// Operator's copies → units → derived files → files of the platform's, and what is remembered of the units.
fn write(folders: &Folders, prepared: &Prepared, made: Made, out: &Folder, keys_folder: Option<&Folder>, world: &mut World) -> Result<()> {
    let changes = &prepared.plan.changes;
    // The copy first: were the unit first and the run ended between the two, nobody would ever write the copy.
    write_copies(folders, prepared, made.copies, world)?;
    let mut files = made.files.iter();
    let mut writer = Writer::new(out);
    for change in changes {
        let text = match change {
            Change::Write { text, .. } => text,
            Change::Place { .. } | Change::Remember { .. } => continue,
            Change::Seal { .. } => files.next().expect("each unit of the plan was made"),
        };
        writer.write(change.file(), text.as_bytes(), 0o644, Existing::Replace)?;
    }
    finish(writer, world)?;
    for change in changes {
        // Only what is in its place is remembered; a run that ends before is followed by one that does it.
        if let (Change::Remember { units, .. }, Some(folder)) = (change, keys_folder) {
            keys::write_memory(folders, folder, units, world)?;
        }
        if let Change::Place { file, text, .. } = change {
            let (folder, name) = place_folder(file, world)?;
            folder.remove_leftovers_here()?;
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

fn write_copies(folders: &Folders, prepared: &Prepared, copies: Vec<(Name, Zeroizing<Vec<u8>>)>, world: &mut World) -> Result<()> {
    if copies.is_empty() {
        return Ok(());
    }
    let secrets = &folders.secrets;
    let folder = create(folders, secrets, 0o700, world)?;
    folder.remove_leftovers()?;
    git::keep_out(&folder, "*\n")?;
    let mut writer = Writer::new(&folder);
    for (name, value) in &copies {
        let there = folder.has(name.as_str())?;
        if there && Zeroizing::new(folder.read_file(name.as_str())?) == *value {
            continue;
        }
        let replaced = |change: &Change| matches!(change, Change::Seal { copies, reason: Reason::Replaced, .. } if copies.contains(name));
        if there && !prepared.plan.changes.iter().any(replaced) {
            world.terminal.warn(&format!("{} held the value of another `{name}`; it is replaced", secrets.join(name.as_str()).display()));
        }
        writer.write(name.as_str(), value, 0o600, Existing::Replace)?;
    }
    finish(writer, world)
}

/// The plan for people: a line for each unit and each derived file; new derived files are only counted.
fn render_plan(folders: &Folders, prepared: &Prepared, done: bool) -> String {
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
                    let copy = folders.secrets.join(name.as_str());
                    text.push_str(&format!("copy   {} (for you; never commit it)\n", visible(&copy.to_string_lossy())));
                }
            }
            Change::Write { file, reason: Reason::New, .. } => {
                *new.entry(file.rsplit_once('/').map_or("", |(folder, _)| folder)).or_default() += 1;
            }
            Change::Place { file, reason, .. } | Change::Remember { file, reason, .. } => {
                text.push_str(&format!("write  {} ({})\n", visible(file), reason.as_str()))
            }
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
pub(super) fn remarks(folders: &Folders, prepared: &Prepared) -> String {
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
pub(super) fn json(plan: &Plan) -> serde_json::Value {
    let names = |names: &[Name]| names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let changes: Vec<serde_json::Value> = plan
        .changes
        .iter()
        .map(|change| match change {
            Change::Seal { unit, file, keys, copies, reason } => serde_json::json!({
                "action": "seal", "unit": unit.as_str(), "file": file, "keys": names(keys), "copies": names(copies), "reason": reason.as_str(),
            }),
            Change::Place { file, reason, .. } | Change::Remember { file, reason, .. } => serde_json::json!({ "action": "place", "file": file, "reason": reason.as_str() }),
            Change::Write { file, reason, .. } => serde_json::json!({ "action": "write", "file": file, "reason": reason.as_str() }),
        })
        .collect();
    serde_json::json!({
        "version": 1, "certificate": plan.certificate.to_string(), "changes": changes,
        "awaited": names(&plan.awaited), "orphans": plan.orphans, "kept": names(&plan.kept),
        "coverage": findings_json(&plan.coverage),
    })
}
