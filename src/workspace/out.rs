//! The output folder: what exists, whether the plan can replace it, and the order in which files are written.

use std::path::Path;

use super::Workspace;
use super::keys::KeysChange;
use crate::model::{CertificateDigest, Change, Error, ErrorKind, Plan, Result, StoreFile, counted};
use crate::pipeline::inventory::{Files, Inventory};
use crate::pipeline::make::Made;
use crate::pipeline::remembered::Remembered;
use crate::pipeline::render;
use crate::world::folder::{Existing, Folder, Lock, Writer};
use crate::world::git::IgnoreRules;
use crate::world::{World, files};

/// What a plan was made from: a file is replaced only if it is unchanged since.
pub struct Before {
    pub inventory: Inventory,
    /// The platform's store file.
    pub store: Option<StoreFile>,
}

impl Before {
    fn of(&self, file: &str) -> Existing<'_> {
        let Inventory { texts, others, .. } = &self.inventory;
        Existing::AsRead(texts.get(file).or_else(|| others.get(file)).map(Vec::as_slice))
    }

    fn store(&self) -> Existing<'_> {
        Existing::AsRead(self.store.as_ref().and_then(|store| store.present.as_deref()))
    }
}

/// The output folder as a run finds it.
pub struct Out<'w> {
    workspace: &'w Workspace,
    folder: Option<Folder>,
    lock: Option<Lock>,
}

impl Workspace {
    /// Opens the output folder for reading.
    pub fn out(&self) -> Result<Out<'_>> {
        Ok(Out { workspace: self, folder: self.open_folder(&self.out)?, lock: None })
    }

    /// Opens the output folder, locked if it exists.
    pub fn out_to_change(&self) -> Result<Out<'_>> {
        let mut out = self.out()?;
        out.lock = out.folder.as_ref().map(Folder::lock).transpose()?;
        Ok(out)
    }

    /// The inventory of an output folder that has sealed files; `help` says what to do if there are none.
    pub fn sealed(&self, help: &str) -> Result<Inventory> {
        let inventory = self.out()?.inventory(Remembered::default())?;
        if inventory.sealed.is_empty() {
            return Err(Error::bad_input("no sealed files", help).in_file(&self.places.out));
        }
        Ok(inventory)
    }

    /// Refuses an output folder other than the one that the keys folder knows, however damaged its files are.
    pub fn check_folder(&self) -> Result<()> {
        let remembered = self.remembered()?;
        // Without another folder there is nothing to tell apart, so no file need be read.
        if remembered.others.is_empty() {
            return Ok(());
        }
        self.out()?.look(remembered)?.check_folder()
    }

    /// Which files below the output folder git would not commit; `platform` are lines of the platform's own `.gitignore`.
    pub fn ignore_rules(&self, platform: &[String]) -> Result<IgnoreRules> {
        let inside = self.platform_root().map_or(Ok(None), |root| self.out_in(root))?;
        let checkout = self.platform_root().map(|root| (root, inside.as_deref().map(Path::new)));
        IgnoreRules::new(&*self.disk, &self.out, checkout, platform)
    }
}

impl Out<'_> {
    pub fn folder(&self) -> Option<&Folder> {
        self.folder.as_ref()
    }

    pub fn files(&self) -> Result<Files> {
        self.folder.as_ref().map_or(Ok(Files::new()), Folder::read_all)
    }

    /// The inventory, as far as the files can be read.
    pub fn look(&self, remembered: Remembered) -> Result<Inventory> {
        Ok(Inventory::new(self.files()?, remembered))
    }

    /// The inventory; a fault of a sealed file is an error.
    pub fn inventory(&self, remembered: Remembered) -> Result<Inventory> {
        self.look(remembered)?.sound().map_err(|error| error.within(&self.workspace.places.out))
    }

    /// Removes what an interrupted run left.
    pub fn clean(&self, world: &mut World) -> Result<()> {
        let removed = self.folder.as_ref().map_or(Ok(0), Folder::remove_leftovers)?;
        if removed > 0 {
            world.terminal.warn(&format!("removed {} that an interrupted run left", counted(removed, "temporary file")));
        }
        Ok(())
    }

    /// Checks the files that the plan will write or replace.
    pub fn check(&self, plan: &Plan) -> Result<()> {
        let workspace = self.workspace;
        for change in &plan.changes {
            match change {
                Change::Seal { file, .. } | Change::Write { file, .. } => {
                    self.folder.as_ref().map_or(Ok(()), |out| out.check(file, Existing::AsRead(None)))?;
                }
                Change::Place { file, .. } => {
                    let (folder, name) = workspace.folder_of(file)?;
                    folder.check(name, Existing::AsRead(None))?;
                    if files::relative_to(&*workspace.disk, Path::new(file), &workspace.secrets)?.is_some() {
                        let what = "the store file would lie among the operator's copies";
                        return Err(Error::refused(what, "pass a file of the platform's").in_file(file));
                    }
                }
                // Existing copies are checked below, with those of the units.
                Change::Copy { .. } => {}
                Change::Remember { file, .. } => {
                    let keys = Folder::open(&*workspace.disk, &workspace.keys)?;
                    keys.map_or(Ok(()), |keys| keys.check(file.rsplit('/').next().unwrap_or(file), Existing::AsRead(None)))?;
                }
            }
        }
        workspace.check_copies(plan)
    }

    /// Operator's copies → units → derived files → the platform's files, and the list of remembered units: only units that are in place are
    /// remembered.
    pub fn carry_out(self, plan: &Plan, before: &Before, made: Made, keys: Option<&KeysChange<'_>>, world: &mut World) -> Result<()> {
        let workspace = self.workspace;
        let (out, _lock) = match (self.folder, self.lock) {
            (Some(out), Some(lock)) => (out, lock),
            _ => workspace.new_out()?,
        };
        let units = || plan.changes.iter().filter(|change| matches!(change, Change::Seal { .. }));
        // Before its unit: if the run ended between the two in the other order, the copy would never be written.
        let waiting = workspace.write_copies(&units().zip(&made.files).collect::<Vec<_>>(), made.copies, world)?;
        let mut writer = Writer::new(&out);
        for (n, (unit, text)) in units().zip(&made.files).enumerate() {
            world.terminal.progress(&format!("{n} of {} files", made.files.len()));
            writer.write(unit.file(), text.as_bytes(), 0o644, before.of(unit.file()))?;
        }
        world.terminal.progress_ends();
        // If the list survived a loss of power and its units did not, it would say that somebody deleted them.
        writer.sync()?;
        workspace.place_copies(&waiting)?;
        for change in &plan.changes {
            if let Change::Write { file, text, .. } = change {
                writer.write(file, text.as_bytes(), 0o644, before.of(file))?;
                // The runbook says which form was agreed to: after a loss of power, nobody is asked again about the rest.
                if file == render::RUNBOOK {
                    writer.sync()?;
                }
            }
            if let Change::Place { file, text, .. } = change {
                let (folder, name) = workspace.folder_of(file)?;
                folder.remove_leftovers_here()?;
                let mut writer = Writer::new(&folder);
                writer.write(name, text.as_bytes(), 0o644, before.store())?;
                sync(writer, world)?;
            }
        }
        let remembered = plan.changes.iter().find_map(|change| match change {
            Change::Remember { units, .. } => Some(units),
            _ => None,
        });
        let Some((keys, units)) = keys.zip(remembered) else { return finish(writer, world) };
        sync(writer, world)?;
        keys.remember(units)
    }

    /// The derived file that names the certificate, as `bootstrap` would write it; returns whether it changes.
    pub fn update_runbook(&self, to: CertificateDigest, write: bool) -> Result<bool> {
        let Some(before) = self.folder.as_ref().map_or(Ok(None), |folder| folder.find_file(render::RUNBOOK))? else { return Ok(false) };
        let Some(after) = std::str::from_utf8(&before).ok().and_then(|text| render::runbook_for(text, to)) else { return Ok(false) };
        if write { self.write_runbook(&after) } else { Ok(true) }
    }

    /// Writes only the runbook, if it exists; returns whether it changes.
    pub fn write_runbook(&self, after: &str) -> Result<bool> {
        let Some(folder) = &self.folder else { return Ok(false) };
        let Some(before) = folder.find_file(render::RUNBOOK)?.filter(|before| before.as_slice() != after.as_bytes()) else {
            return Ok(false);
        };
        folder.remove_leftovers_here()?;
        let mut writer = Writer::new(folder);
        writer.write(render::RUNBOOK, after.as_bytes(), 0o644, Existing::AsRead(Some(&before)))?;
        writer.sync()?;
        Ok(true)
    }
}

/// Makes the files written so far durable while more follow, and reports second names.
pub(super) fn sync(writer: Writer<'_>, world: &mut World) -> Result<()> {
    writer.sync()?;
    tell(&writer.unlinked, world);
    Ok(())
}

/// The same for the last files of a run.
fn finish(writer: Writer<'_>, world: &mut World) -> Result<()> {
    tell(&writer.finish()?, world);
    Ok(())
}

fn tell(unlinked: &[String], world: &mut World) {
    for name in unlinked {
        world.terminal.warn(&format!("{name} had a second name (a hard link), which keeps the old content"));
    }
}

impl Workspace {
    /// The output folder, if it did not exist when the plan was made.
    fn new_out(&self) -> Result<(Folder, Lock)> {
        let out = match self.in_checkout(&self.out)? {
            // Then the folders above it are made as well.
            Some((root, way)) => root.create_beneath(&way, 0o755)?.named(&self.out),
            None => self.create(&self.out, 0o755)?,
        };
        let lock = out.lock()?;
        if !out.read_all()?.is_empty() {
            let busy = Error::new(ErrorKind::Busy, "another run wrote here meanwhile", "run again: it adds what is missing");
            return Err(busy.in_file(&self.places.out));
        }
        Ok((out, lock))
    }

    /// The folder of a file that the operator named, which has to exist, and the file's name.
    fn folder_of<'f>(&self, file: &'f str) -> Result<(Folder, &'f str)> {
        let (folder, name) = file.rsplit_once('/').unwrap_or((".", file));
        let missing = || Error::new(ErrorKind::InputOutput, "its folder does not exist", "make the folder first: `mkdir -p`").in_file(file);
        Ok((self.open_folder(Path::new(folder))?.ok_or_else(missing)?, name))
    }
}
