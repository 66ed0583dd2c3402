//! What git tracks: secrets, which no ignore rule keeps out of the next commit, and files of ours that the working tree lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Workspace, parent};
use crate::model::{Contract, Error, KeyName, Result, Sorted, quoted};
use crate::pipeline::inventory::Inventory;
use crate::world::disk::Disk;
use crate::world::{World, files, git};

impl Workspace {
    /// Each identity, and each operator's copy of these keys, that git tracks. Warns if git's index is inconclusive.
    pub fn tracked(&self, keys: &[&KeyName], world: &mut World) -> Result<Vec<Error>> {
        let identities = self.tracked_in(&self.keys, &|name| name.ends_with(".agekey") && !name.contains('/'))?;
        let copies = self.tracked_in(&self.secrets, &|name| keys.iter().any(|copy| copy.file_name() == name))?;
        let unsure: BTreeSet<PathBuf> = identities.unsure.into_iter().chain(copies.unsure).sorted();
        for index in unsure {
            let check = format!("`git ls-files {} {}` must list none", quoted(&self.places.keys), quoted(&self.places.secrets));
            world.terminal.warn(&format!("{}: it cannot be read for certain whether git tracks a secret: {check}", index.display()));
        }
        let another = "let another identity in (`seal-secrets escrow add-recipient age1…`), remove this one, then `seal-secrets renew` and `seal-secrets rotate KEY…`";
        let identities = identities.names.iter().map(|name| tracked(&self.places.in_keys(name), another));
        let copy =
            |name: &&KeyName| tracked(&self.places.in_secrets(&name.file_name()), &format!("replace it: `seal-secrets rotate {name}`"));
        let found = keys.iter().filter(|key| copies.names.contains(&key.file_name())).copied();
        Ok(identities.chain(found.collect::<Vec<_>>().iter().map(copy)).collect())
    }

    /// Refuses if git tracks any of them.
    pub fn check_untracked(&self, copies: &[&KeyName], world: &mut World) -> Result<()> {
        self.tracked(copies, world)?.into_iter().next().map_or(Ok(()), Err)
    }

    fn tracked_in(&self, folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<git::Tracked> {
        tracked_in(&*self.disk, folder, wanted)
    }

    /// Those of these files that git tracks and the working tree lacks, each with the command that restores it.
    pub fn lost(&self, paths: &[PathBuf]) -> Result<BTreeMap<PathBuf, String>> {
        lost(&*self.disk, paths)
    }

    /// The same for the contract's units, by path below the output folder.
    pub fn lost_units(&self, contract: &Contract, inventory: &Inventory) -> Result<BTreeMap<String, String>> {
        let absent = contract.units().into_iter().map(|unit| unit.file()).filter(|file| !inventory.sealed.contains_key(file));
        let files: BTreeMap<PathBuf, String> = absent.map(|file| (self.out.join(&file), file)).sorted();
        let lost = self.lost(&files.keys().cloned().collect::<Vec<_>>())?;
        Ok(lost.into_iter().map(|(path, help)| (files[&path].clone(), help)).sorted())
    }

    /// The same for one file.
    pub(super) fn restored(&self, path: &Path) -> Result<Option<String>> {
        restored(&*self.disk, path)
    }
}

/// How to restore a file that git tracks and the working tree lacks.
pub(super) fn restored(disk: &dyn Disk, path: &Path) -> Result<Option<String>> {
    Ok(lost(disk, &[path.to_owned()])?.into_values().next())
}

fn tracked_in(disk: &dyn Disk, folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<git::Tracked> {
    git::tracked(disk, folder, wanted).map_err(|error| error.in_file(&folder.to_string_lossy()))
}

fn lost(disk: &dyn Disk, paths: &[PathBuf]) -> Result<BTreeMap<PathBuf, String>> {
    let mut by_folder: BTreeMap<&Path, Vec<(&PathBuf, String)>> = BTreeMap::new();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase());
        if let Some(name) = name
            && !files::exists(disk, path)?
        {
            by_folder.entry(parent(path)).or_default().push((path, name));
        }
    }
    let mut lost = BTreeMap::new();
    for (folder, files) in by_folder {
        let tracked = tracked_in(disk, folder, &|name| files.iter().any(|(_, wanted)| wanted == name))?;
        for (path, _) in files.iter().filter(|(_, name)| tracked.names.contains(name)) {
            lost.insert((*path).clone(), format!("git tracks it: {}", checkout_of(disk, path)?));
        }
    }
    Ok(lost)
}

/// A command that restores a file.
fn checkout_of(disk: &dyn Disk, path: &Path) -> Result<String> {
    let (git, path) = match git::root(disk, parent(path))? {
        Some(root) => git_in(disk, &root, path)?,
        None => ("git".to_owned(), path.to_owned()),
    };
    Ok(format!("`{git} checkout -- {}`", quoted(&path.to_string_lossy())))
}

/// The program with the flags that make it work on the repository `root`, and a path for it in there: this command may have been started in
/// another repository, or in none.
pub(super) fn git_in(disk: &dyn Disk, root: &Path, path: &Path) -> Result<(String, PathBuf)> {
    if git::root(disk, Path::new("."))?.as_deref() == Some(root) {
        return Ok(("git".to_owned(), path.to_owned()));
    }
    let below = files::relative_to(disk, path, root)?.unwrap_or_else(|| path.to_owned());
    Ok((format!("git -C {}", quoted(&root.to_string_lossy())), below))
}

fn tracked(path: &str, remedy: &str) -> Error {
    let help = format!("run `git rm --cached {}` and commit; if it was ever pushed, {remedy}", quoted(path));
    Error::refused("git tracks this secret, which is exposed if it was ever pushed", help).in_file(path)
}
