//! Somebody else's checkout: read as far as it matters, passed_over never followed, nothing written.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::disk::{Disk, Kind, Links};
use super::files::{self, explain};
use crate::manifest::yaml::MOST_BYTES;
use crate::model::{Error, Result, on_threads};

pub struct Tree {
    pub files: BTreeMap<String, Vec<u8>>,
    /// What was not read: passed_over to YAML files or folders, and files larger than any manifest.
    pub passed_over: Vec<String>,
}

/// Folders that hold no manifests of their own.
const PASSED_OVER: [&str; 3] = [".git", "node_modules", ".terraform"];

/// Whether a file's path and content make it one that matters.
pub type Matters<'m> = dyn Fn(&str, &[u8]) -> bool + Sync + 'm;

/// Reads every YAML file below a folder for which `matters` is true, on this many threads.
pub fn read(disk: &dyn Disk, root: &Path, matters: &Matters<'_>, threads: NonZeroUsize) -> Result<Tree> {
    if !files::is_folder(disk, root)? {
        let (what, help) = ("no such folder", "name the root of the platform's checkout");
        return Err(Error::bad_input(what, help).in_file(&root.to_string_lossy()));
    }
    let Listing { paths, mut passed_over } = list_all(disk, root, &[".yaml", ".yml"])?;
    let read = on_threads(paths, threads, |path| read_one(disk, root, &path, matters))?;
    let files = read.into_iter().filter_map(Result::transpose).collect::<Result<_>>()?;
    passed_over.sort();
    Ok(Tree { files, passed_over })
}

/// What lies below a folder; nothing of it is read.
#[derive(Default)]
pub struct Listing {
    /// The files with the endings that were asked for, by path below the folder, with `/`; those of one folder in one piece.
    pub paths: Vec<String>,
    /// Links to such files or to folders, and files larger than any manifest.
    pub passed_over: Vec<String>,
}

/// Lists the files below a folder that end with one of these.
pub fn list_all(disk: &dyn Disk, root: &Path, endings: &[&str]) -> Result<Listing> {
    let mut listing = Listing::default();
    let mut waiting = vec![PathBuf::new()];
    while let Some(folder) = waiting.pop() {
        list(disk, root, &folder, endings, &mut waiting, &mut listing)?;
    }
    Ok(listing)
}

fn list(disk: &dyn Disk, root: &Path, folder: &Path, endings: &[&str], waiting: &mut Vec<PathBuf>, listing: &mut Listing) -> Result<()> {
    let shown = root.join(folder);
    for (name, kind) in disk.list(&shown).map_err(|error| explain(&error, "read").in_file(&shown.to_string_lossy()))? {
        let path = folder.join(name);
        // A name that is not UTF-8 is no kustomize resource.
        let (Some(name), Some(text)) = (path.file_name().and_then(|name| name.to_str()), path.to_str()) else { continue };
        let wanted = name == "Kustomization" || endings.iter().any(|end| name.ends_with(end));
        if kind == Kind::Folder && !PASSED_OVER.contains(&name) {
            waiting.push(path);
        } else if kind == Kind::File && wanted {
            let stat = files::stat(disk, &shown.join(name), Links::Keep)?;
            let large = stat.is_some_and(|stat| stat.size > MOST_BYTES as u64);
            if large { listing.passed_over.push(text.to_owned()) } else { listing.paths.push(text.to_owned()) }
        } else if kind == Kind::Link && (wanted || files::is_folder(disk, &shown.join(name))?) {
            listing.passed_over.push(text.to_owned());
        }
    }
    Ok(())
}

fn read_one(disk: &dyn Disk, root: &Path, path: &str, matters: &Matters<'_>) -> Result<Option<(String, Vec<u8>)>> {
    let full = root.join(path);
    if files::stat(disk, &full, Links::Keep)?.is_some_and(|stat| stat.size == 0) {
        return Ok(None);
    }
    let bytes = files::read(disk, &full, &full.to_string_lossy(), files::Kind::Public)?;
    Ok(matters(path, &bytes).then(|| (path.to_owned(), bytes.to_vec())))
}
