//! What git leaves out of a checkout: files that it surely ignores, and does not track. If in doubt, a file counts as committed.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::rule::{self, Rule};
use super::{Repository, public};
use crate::model::Result;
use crate::world::disk::{Disk, Kind};
use crate::world::files;
use crate::world::folder::Folder;

/// git's view of one folder of a checkout. Outside of a repository nothing is left out.
#[derive(Clone)]
pub struct LeftOut<'d> {
    disk: &'d dyn Disk,
    repository: Option<Arc<Tracking>>,
    /// The names on the path from the repository's root to this folder.
    way: Vec<Vec<u8>>,
    /// The rules of each folder on that path, the root's first.
    levels: Vec<Arc<Vec<Rule>>>,
    /// This folder is ignored, but some of its files are tracked.
    ignored: bool,
}

/// A repository, whose index is read only once something is ignored.
struct Tracking {
    repository: Repository,
    exclude: Vec<Rule>,
    /// In lower case, because case does not count; none if it is uncertain what is tracked.
    tracked: OnceLock<Option<Vec<Vec<u8>>>>,
}

impl<'d> LeftOut<'d> {
    /// For the folder that a checkout is read from, and the folders above it in its repository.
    pub fn above(disk: &'d dyn Disk, root: &Path) -> Result<Self> {
        let place = files::resolved(disk, root)?;
        let mut found = LeftOut { disk, repository: None, way: Vec::new(), levels: Vec::new(), ignored: false };
        for repository in Repository::around(disk, &place)? {
            if let Some(begun) = Self::begin(disk, repository)? {
                found = begun;
                break;
            }
        }
        let Some(top) = found.repository.as_ref().map(|tracking| tracking.repository.root.clone()) else { return Ok(found) };
        let mut at = top.clone();
        for name in place.strip_prefix(&top).unwrap_or(Path::new("")) {
            let rules = Folder::open_root(disk, &at)?.map_or(Ok(Vec::new()), |folder| own_rules(&folder))?;
            found.levels.push(Arc::new(rules));
            found.way.push(name.as_bytes().to_vec());
            at.push(name);
        }
        Ok(found)
    }

    /// At the root of a repository; none if git would treat it as an ordinary folder.
    fn begin(disk: &'d dyn Disk, repository: Repository) -> Result<Option<Self>> {
        if !files::exists(disk, &repository.own.join("HEAD"))? {
            return Ok(None);
        }
        let exclude = rule::read(&public(disk, &repository.common.join("info/exclude"))?);
        let repository = Some(Arc::new(Tracking { repository, exclude, tracked: OnceLock::new() }));
        Ok(Some(LeftOut { disk, repository, way: Vec::new(), levels: Vec::new(), ignored: false }))
    }

    /// The same with the folder's own rules, once it is open; with those of its own repository if it has one.
    pub fn within(self, folder: &Folder, has_git: bool, has_rules: bool) -> Result<Self> {
        let mut found = self;
        if has_git && let Some(repository) = Repository::at(found.disk, folder.path())? {
            found = Self::begin(found.disk, repository)?.unwrap_or(found);
        }
        if found.repository.is_some() {
            found.levels.push(Arc::new(if has_rules { own_rules(folder)? } else { Vec::new() }));
        }
        Ok(found)
    }

    /// Whether git leaves out this file of the folder.
    pub fn file(&self, name: &str) -> Result<bool> {
        Ok(self.ignores(name, false) && !self.tracks(name, false)?)
    }

    /// A subfolder; none if git leaves out all of it.
    pub fn folder(&self, name: &str) -> Result<Option<Self>> {
        let ignored = self.ignores(name, true);
        if ignored && !self.tracks(name, true)? {
            return Ok(None);
        }
        let mut below = LeftOut { ignored, ..self.clone() };
        below.way.push(name.as_bytes().to_vec());
        Ok(Some(below))
    }

    /// Whether git surely ignores it: the nearest rules decide, and below an ignored folder none do.
    fn ignores(&self, name: &str, is_folder: bool) -> bool {
        let Some(tracking) = &self.repository else { return false };
        let path: Vec<&[u8]> = self.way.iter().map(Vec::as_slice).chain([name.as_bytes()]).collect();
        let decides =
            |rules: &[Rule], from: usize| rules.iter().rev().find(|rule| rule.matches(&path[from..], is_folder)).map(|rule| rule.ignores);
        let by_level = || self.levels.iter().enumerate().rev().find_map(|(level, rules)| decides(rules, level));
        self.ignored || by_level().or_else(|| decides(&tracking.exclude, 0)) == Some(true)
    }

    /// Whether git may track it, or anything in it.
    fn tracks(&self, name: &str, is_folder: bool) -> Result<bool> {
        let Some(tracking) = &self.repository else { return Ok(true) };
        if tracking.tracked.get().is_none() {
            let _ = tracking.tracked.set(tracking.repository.tracked_names(self.disk)?);
        }
        let Some(Some(tracked)) = tracking.tracked.get() else { return Ok(true) };
        let mut path = self.way.iter().map(Vec::as_slice).chain([name.as_bytes()]).collect::<Vec<_>>().join(&b'/').to_ascii_lowercase();
        // A repository inside it is listed like a file.
        let itself = tracked.binary_search(&path).is_ok();
        path.push(b'/');
        let next = tracked.partition_point(|tracked| *tracked < path);
        Ok(itself || is_folder && tracked.get(next).is_some_and(|tracked| tracked.starts_with(&path)))
    }
}

/// The rules of a folder's own `.gitignore`. One that is no ordinary file may be read differently, or not at all.
fn own_rules(folder: &Folder) -> Result<Vec<Rule>> {
    Ok(match folder.stat(".gitignore")?.map(|stat| stat.kind) {
        None | Some(Kind::Folder) => Vec::new(),
        Some(Kind::File) => rule::read(&folder.read_foreign(".gitignore")?.unwrap_or_default()),
        Some(_) => vec![Rule::unknown()],
    })
}
