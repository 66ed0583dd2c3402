//! Somebody else's checkout: read as far as it matters, passed_over never followed, nothing written.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::files::{self, explain};
use crate::manifest::yaml::MOST_BYTES;
use crate::model::{Error, Result};

/// The YAML files of a checkout that matter.
pub struct Tree {
    /// By path below the checkout, with `/`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What was not read: passed_over to YAML files or folders, and files larger than any manifest.
    pub passed_over: Vec<String>,
}

/// Folders that hold no manifests of their own.
const PASSED_OVER: [&str; 3] = [".git", "node_modules", ".terraform"];

/// Reads every YAML file below a folder for which `matters` is true, on this many threads.
pub fn read(root: &Path, matters: &(dyn Fn(&str, &[u8]) -> bool + Sync), threads: NonZeroUsize) -> Result<Tree> {
    if !root.is_dir() {
        let (what, help) = ("no such folder", "name the root of the platform's checkout");
        return Err(Error::bad_input(what, help).in_file(&root.to_string_lossy()));
    }
    let Listing { paths, mut passed_over } = list_all(root, &[".yaml", ".yml"])?;
    let share = paths.len().div_ceil(threads.get()).max(1);
    let read_share =
        |share: &[String]| share.iter().filter_map(|path| read_one(root, path, matters).transpose()).collect::<Result<Vec<_>>>();
    let shares = std::thread::scope(|scope| {
        let running: Vec<_> = paths.chunks(share).map(|share| scope.spawn(|| read_share(share))).collect();
        running.into_iter().map(|thread| thread.join().expect("reading files does not panic")).collect::<Result<Vec<_>>>()
    })?;
    passed_over.sort();
    Ok(Tree { files: shares.into_iter().flatten().collect(), passed_over })
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
pub fn list_all(root: &Path, endings: &[&str]) -> Result<Listing> {
    let mut listing = Listing::default();
    let mut waiting = vec![PathBuf::new()];
    while let Some(folder) = waiting.pop() {
        list(root, &folder, endings, &mut waiting, &mut listing)?;
    }
    Ok(listing)
}

fn list(root: &Path, folder: &Path, endings: &[&str], waiting: &mut Vec<PathBuf>, listing: &mut Listing) -> Result<()> {
    let shown = root.join(folder);
    let failed = |error: std::io::Error| explain(&error, "read").in_file(&shown.to_string_lossy());
    for entry in shown.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let path = folder.join(entry.file_name());
        // A name that is not UTF-8 is no kustomize resource.
        let (Some(name), Some(text)) = (path.file_name().and_then(|name| name.to_str()), path.to_str()) else { continue };
        let wanted = name == "Kustomization" || endings.iter().any(|end| name.ends_with(end));
        if kind.is_dir() && !PASSED_OVER.contains(&name) {
            waiting.push(path);
        } else if kind.is_file() && wanted {
            let large = entry.metadata().is_ok_and(|metadata| metadata.len() > MOST_BYTES as u64);
            if large { listing.passed_over.push(text.to_owned()) } else { listing.paths.push(text.to_owned()) }
        } else if kind.is_symlink() && (wanted || entry.path().is_dir()) {
            listing.passed_over.push(text.to_owned());
        }
    }
    Ok(())
}

fn read_one(root: &Path, path: &str, matters: &(dyn Fn(&str, &[u8]) -> bool + Sync)) -> Result<Option<(String, Vec<u8>)>> {
    let full = root.join(path);
    if full.symlink_metadata().is_ok_and(|metadata| metadata.len() == 0) {
        return Ok(None);
    }
    let bytes = files::read(&full, &full.to_string_lossy(), files::Kind::Public)?;
    Ok(matters(path, &bytes).then(|| (path.to_owned(), bytes.to_vec())))
}
