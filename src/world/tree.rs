//! Somebody else's checkout: read as far as it matters, links never followed, nothing written.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::disk::{Disk, Kind};
use super::folder::{Folder, is_leftover, removed_meanwhile};
use super::git::LeftOut;
use crate::manifest::external_secret::TEMPLATES;
use crate::manifest::text;
use crate::manifest::yaml::MOST_BYTES;
use crate::model::{Error, Result, on_threads};

pub struct Tree {
    pub files: BTreeMap<String, Vec<u8>>,
    /// What was not read: links to such files or to folders, and files larger than any manifest.
    pub passed_over: Vec<String>,
}

/// Folders that hold no manifests of their own.
const PASSED_OVER: [&str; 3] = [".git", "node_modules", ".terraform"];

/// How many files of one folder a thread reads before it opens the folder again.
const AT_ONCE: usize = 64;

/// Whether a file's path and content make it one that matters.
pub type Matters<'m> = dyn Fn(&str, &[u8]) -> bool + Sync + 'm;

/// Reads every manifest and template below a folder for which `matters` is true, but for those that git leaves out, on this many threads.
pub fn read(disk: &dyn Disk, root: &Path, matters: &Matters<'_>, threads: NonZeroUsize) -> Result<Tree> {
    read_listed(disk, root, false, matters, threads)
}

fn read_listed(disk: &dyn Disk, root: &Path, all: bool, matters: &Matters<'_>, threads: NonZeroUsize) -> Result<Tree> {
    let Some(folder) = Folder::open_root(disk, root)? else {
        let (what, help) = ("no such folder", "name the root of the platform's checkout");
        return Err(Error::bad_input(what, help).in_file(&root.to_string_lossy()));
    };
    let Listing { paths, mut passed_over } = list_below(&folder, all, Some(LeftOut::above(disk, root)?))?;
    let of_folders = paths.chunk_by(|one, other| split(one).0 == split(other).0);
    let shares: Vec<&[String]> = of_folders.flat_map(|of_folder| of_folder.chunks(AT_ONCE)).collect();
    let read = on_threads(shares, threads, |share| read_some(&folder, share, matters))?;
    let files = read.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    passed_over.sort();
    Ok(Tree { files, passed_over })
}

/// Reads every file below a folder for which `matters` is true, whatever it is called, but for those that git leaves out.
pub fn read_all(disk: &dyn Disk, root: &Path, matters: &Matters<'_>, threads: NonZeroUsize) -> Result<Tree> {
    read_listed(disk, root, true, matters, threads)
}

/// What lies below a folder; nothing of it is read.
#[derive(Default)]
pub struct Listing {
    /// The manifests, or all files, by path below the folder, with `/`; those of one folder in one piece.
    pub paths: Vec<String>,
    /// Links to manifests or to folders, and manifests larger than any is.
    pub passed_over: Vec<String>,
}

/// Lists every file below a folder, whatever it is called.
pub fn list_all(root: &Folder) -> Result<Listing> {
    list_below(root, true, None)
}

/// Whether a file's name is that of a manifest.
pub fn is_manifest(name: &str) -> bool {
    name == "Kustomization" || text::ends(name, &[".yaml", ".yml", ".json"])
}

/// A folder to be listed, and what git leaves out of it, if that counts.
type Waiting<'d> = (PathBuf, Option<LeftOut<'d>>);

fn list_below(root: &Folder, all: bool, left_out: Option<LeftOut<'_>>) -> Result<Listing> {
    let mut listing = Listing::default();
    let mut waiting = vec![(PathBuf::new(), left_out)];
    while let Some(next) = waiting.pop() {
        list(root, next, all, &mut waiting, &mut listing)?;
    }
    Ok(listing)
}

fn list<'d>(root: &Folder, next: Waiting<'d>, all: bool, waiting: &mut Vec<Waiting<'d>>, listing: &mut Listing) -> Result<()> {
    let (folder, left_out) = next;
    let at = root.beneath(&folder)?.ok_or_else(|| gone(root, &folder))?;
    let entries = at.list()?;
    let has = |name: &str| entries.iter().any(|(entry, _)| entry == name);
    let left_out = left_out.map(|left_out| left_out.within(&at, has(".git"), has(".gitignore"))).transpose()?;
    for (name, kind) in entries {
        let path = folder.join(name);
        // A name that is not UTF-8 is no kustomize resource.
        let (Some(name), Some(text)) = (path.file_name().and_then(|name| name.to_str()), path.to_str()) else { continue };
        let wanted = is_manifest(name) || !all && text::ends(name, &TEMPLATES);
        let ignored = || left_out.as_ref().map_or(Ok(false), |left_out| left_out.file(name));
        match kind {
            Kind::Folder if PASSED_OVER.contains(&name) => {}
            Kind::Folder => match &left_out {
                None => waiting.push((path, None)),
                Some(left_out) => waiting.extend(left_out.folder(name)?.map(|below| (path, Some(below)))),
            },
            // What an interrupted run left is removed, and no value of its own.
            Kind::File if (all && !is_leftover(name) || wanted) && !ignored()? => {
                match at.stat(name)?.is_some_and(|stat| stat.size > MOST_BYTES as u64) {
                    true if wanted => listing.passed_over.push(text.to_owned()),
                    true => {}
                    false => listing.paths.push(text.to_owned()),
                }
            }
            Kind::Link if (wanted || at.is_folder(name)?) && !ignored()? => listing.passed_over.push(text.to_owned()),
            _ => {}
        }
    }
    Ok(())
}

/// The files of one folder that matter; those that hold nothing do not.
fn read_some(root: &Folder, paths: &[String], matters: &Matters<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    let Some(folder) = paths.first().map(|path| Path::new(split(path).0)) else { return Ok(found) };
    let at = root.beneath(folder)?.ok_or_else(|| gone(root, folder))?;
    for path in paths {
        let bytes = at.read_foreign(split(path).1)?.ok_or_else(|| gone(root, Path::new(path)))?;
        if !bytes.is_empty() && matters(path, &bytes) {
            found.push((path.clone(), bytes.to_vec()));
        }
    }
    Ok(found)
}

/// A path's folder, which is "" for the root, and its name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn gone(root: &Folder, path: &Path) -> Error {
    removed_meanwhile().in_file(&root.path().join(path).to_string_lossy())
}
