//! Someone else's checkout: read as far as it matters, links never followed, nothing written.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use zeroize::Zeroizing;

use super::disk::{Disk, Kind};
use super::folder::{Folder, is_leftover, removed_meanwhile};
use super::git::LeftOut;
use crate::manifest::external_secret::TEMPLATES;
use crate::manifest::text;
use crate::manifest::yaml::MOST_BYTES;
use crate::model::{Error, Result, on_threads};

#[derive(Default)]
pub struct Tree {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Skipped: links to such files or to folders, and files larger than any manifest.
    pub passed_over: Vec<String>,
}

/// Folders that hold no manifests of their own.
const PASSED_OVER: [&str; 3] = [".git", "node_modules", ".terraform"];

/// How many files of one folder a thread reads before it opens the folder again.
const AT_ONCE: usize = 64;

/// Whether a file matters, by its path and content.
pub type Matters<'m> = dyn Fn(&str, &[u8]) -> bool + Sync + 'm;

/// Reads every manifest and template below a folder for which `matters` is true, except those that git leaves out, on this many threads.
pub fn read(disk: &dyn Disk, root: &Path, matters: &Matters<'_>, threads: NonZeroUsize) -> Result<Tree> {
    read_listed(disk, root, false, matters, threads)
}

fn read_listed(disk: &dyn Disk, root: &Path, all: bool, matters: &Matters<'_>, threads: NonZeroUsize) -> Result<Tree> {
    let Some(folder) = Folder::open_root(disk, root)? else {
        let (what, help) = ("no such folder", "name the root of the platform's checkout");
        return Err(Error::bad_input(what, help).in_file(&root.to_string_lossy()));
    };
    let list = |guess| list_below(&folder, all, guess, Some(LeftOut::above(disk, root)?), threads);
    if let Some(tree) = read_those(&folder, list(true)?, matters, threads)? {
        return Ok(tree);
    }
    let changed = || removed_meanwhile().in_file(&root.to_string_lossy());
    read_those(&folder, list(false)?, matters, threads)?.ok_or_else(changed)
}

/// The files of a listing that matter; none if its guess was wrong.
fn read_those(root: &Folder, listing: Listing, matters: &Matters<'_>, threads: NonZeroUsize) -> Result<Option<Tree>> {
    let Listing { paths, passed_over, guessed } = listing;
    let of_folders = paths.chunk_by(|one, other| split(one).0 == split(other).0);
    let shares: Vec<&[String]> = of_folders.flat_map(|of_folder| of_folder.chunks(AT_ONCE)).collect();
    let mut tree = Tree { files: BTreeMap::new(), passed_over };
    for share in on_threads(shares, threads, |share| read_some(root, share, guessed, matters))? {
        let Some(share) = share? else { return Ok(None) };
        tree.files.extend(share.files);
        tree.passed_over.extend(share.passed_over);
    }
    tree.passed_over.sort_unstable();
    Ok(Some(tree))
}

/// Reads every file below a folder for which `matters` is true, whatever its name, except those that git leaves out.
pub fn read_all(disk: &dyn Disk, root: &Path, matters: &Matters<'_>, threads: NonZeroUsize) -> Result<Tree> {
    read_listed(disk, root, true, matters, threads)
}

/// The entries below a folder; no file is read.
#[derive(Default)]
pub struct Listing {
    /// The manifests, or all files, by path below the folder, with `/`; those of one folder are consecutive.
    pub paths: Vec<String>,
    /// Links to manifests or to folders.
    pub passed_over: Vec<String>,
    /// Whether one was taken for a file by its name.
    guessed: bool,
}

/// Lists every file below a folder, whatever its name, on this many threads.
pub fn list_all(root: &Folder, threads: NonZeroUsize) -> Result<Listing> {
    list_below(root, true, false, None, threads)
}

/// Whether a file's name is that of a manifest.
pub fn is_manifest(name: &str) -> bool {
    name == "Kustomization" || text::ends(name, &[".yaml", ".yml", ".json"])
}

/// A folder to list, and what git leaves out of it, if that counts.
type Waiting<'d> = (String, Option<LeftOut<'d>>);

/// Some file systems say nothing of an entry but its name. With `guess`, what is called like a manifest is then taken for a file without
/// a look at it: each look costs as much as reading one.
fn list_below(root: &Folder, all: bool, guess: bool, left_out: Option<LeftOut<'_>>, threads: NonZeroUsize) -> Result<Listing> {
    let mut listing = Listing::default();
    let mut waiting = vec![(String::new(), left_out)];
    while !waiting.is_empty() {
        for listed in on_threads(std::mem::take(&mut waiting), threads, |next| list(root, next, all, guess))? {
            let (found, below) = listed?;
            listing.guessed |= found.guessed;
            listing.paths.extend(found.paths);
            listing.passed_over.extend(found.passed_over);
            waiting.extend(below);
        }
    }
    Ok(listing)
}

/// The files of one folder, and its subfolders.
fn list<'d>(root: &Folder, (folder, left_out): Waiting<'d>, all: bool, guess: bool) -> Result<(Listing, Vec<Waiting<'d>>)> {
    let (mut listing, mut below) = (Listing::default(), Vec::new());
    let at = root.beneath(Path::new(&folder))?.ok_or_else(|| gone(root, Path::new(&folder)))?;
    let entries = at.list_quickly()?;
    let has = |name: &str| entries.iter().any(|(entry, _)| entry == name);
    let left_out = left_out.map(|left_out| left_out.within(&at, has(".git"), has(".gitignore"))).transpose()?;
    for (name, kind) in entries {
        // A name that is not UTF-8 is no kustomize resource.
        let Some(name) = name.to_str() else { continue };
        let path = || if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let wanted = is_manifest(name) || !all && text::ends(name, &TEMPLATES);
        let ignored = || left_out.as_ref().map_or(Ok(false), |left_out| left_out.file(name));
        let guesses = guess && wanted && kind.is_none();
        listing.guessed |= guesses;
        let kind = if guesses { Kind::File } else { at.kind(name.as_ref(), kind)? };
        match kind {
            Kind::Folder if PASSED_OVER.contains(&name) => {}
            Kind::Folder => match &left_out {
                None => below.push((path(), None)),
                Some(left_out) => below.extend(left_out.folder(name)?.map(|left_out| (path(), Some(left_out)))),
            },
            // What an interrupted run left is removed elsewhere, and is no value itself.
            Kind::File if (all && !is_leftover(name) || wanted) && !ignored()? => listing.paths.push(path()),
            Kind::Link if (wanted || at.is_folder(name)?) && !ignored()? => listing.passed_over.push(path()),
            _ => {}
        }
    }
    Ok((listing, below))
}

/// The files of one folder that matter; empty ones do not. None if one that was guessed to be a file is something else.
fn read_some(root: &Folder, paths: &[String], guessed: bool, matters: &Matters<'_>) -> Result<Option<Tree>> {
    let (mut found, mut bytes) = (Tree::default(), Zeroizing::default());
    let Some(folder) = paths.first().map(|path| Path::new(split(path).0)) else { return Ok(Some(found)) };
    let at = root.beneath(folder)?.ok_or_else(|| gone(root, folder))?;
    for path in paths {
        let name = Path::new(split(path).1);
        match at.read_foreign_into(name, &mut bytes) {
            Ok(true) if !bytes.is_empty() && matters(path, &bytes) => drop(found.files.insert(path.clone(), bytes.to_vec())),
            Ok(true) => {}
            Ok(false) => return Err(gone(root, Path::new(path))),
            Err(_) if guessed && at.stat(name)?.is_some_and(|stat| stat.kind != Kind::File) => return Ok(None),
            Err(_) if is_too_large(&at, name)? => found.passed_over.push(path.clone()),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(found))
}

/// Whether a file that could not be read is larger than any manifest.
pub fn is_too_large(folder: &Folder, name: &Path) -> Result<bool> {
    Ok(folder.stat(name)?.is_some_and(|stat| stat.size > MOST_BYTES as u64))
}

/// A path's folder, which is "" for the root, and its name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn gone(root: &Folder, path: &Path) -> Error {
    removed_meanwhile().in_file(&root.path().join(path).to_string_lossy())
}
