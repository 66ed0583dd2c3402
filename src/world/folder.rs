//! A folder to write to: locked, never through a link, and each file whole, old or new.
//!
//! Every operation goes through a handle of the folder, so that a folder which is meanwhile replaced by a link is not followed.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind as IoKind, Read};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use zeroize::Zeroizing;

use super::disk::{Disk, FolderHandle, Kind, Links, Stat};
use super::files::{self, explain};
use crate::manifest::yaml::MOST_BYTES;
use crate::model::{Error, ErrorKind, Result};

/// How deep `out/` may be nested; as written it has two levels.
const MOST_DEPTH: usize = 8;

/// The beginning and end of a temporary file's name. No platform commits `*.tmp`.
const TEMPORARY: (&str, &str) = (".seal-secrets.", ".tmp");

/// Whether a file of this name was left behind by a killed run.
pub fn is_leftover(name: &str) -> bool {
    name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1)
}

/// What to do if the file already exists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Existing<'b> {
    /// Replace it in one step, if it is still what was read, or still missing if it was missing; otherwise the run has to be repeated.
    AsRead(Option<&'b [u8]>),
    /// Fail: the existing file is kept.
    Keep,
}

pub struct Folder {
    handle: Box<dyn FolderHandle>,
    path: PathBuf,
}

/// A lock on a folder, held until it is dropped; the kernel frees it however the process ends.
pub struct Lock(#[allow(dead_code, reason = "dropping it frees the lock")] Box<dyn Any + Send>);

impl Folder {
    /// Opens a folder; `None` if it does not exist.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Option<Folder>> {
        Self::open_at(disk, path, path)
    }

    /// Opens a folder, or creates it with this mode, whatever the umask; its parent has to exist. Makes its name durable, because a killed
    /// run may have created it.
    pub fn create(disk: &dyn Disk, path: &Path, mode: u32) -> Result<Folder> {
        let found = Self::open(disk, path)?;
        let made = found.is_none();
        let folder = found.map_or_else(|| Self::create_at(disk, path, path, mode), Ok)?;
        sync_parent(&*folder.handle, Path::new("."), made).map_err(|error| folder.failed(&error, "made"))?;
        Ok(folder)
    }

    /// The same, including missing parents.
    pub fn create_all(disk: &dyn Disk, path: &Path, mode: u32) -> Result<Folder> {
        let up = path.parent().filter(|up| !up.as_os_str().is_empty());
        if let Some(up) = up
            && !files::exists(disk, path)?
        {
            match files::is_folder(disk, up)? {
                true => sync_parent(disk, up, false).map_err(|error| explain(&error, "made").in_file(&up.to_string_lossy()))?,
                false => drop(Self::create_all(disk, up, mode)?),
            }
        }
        Self::create(disk, path, mode)
    }

    /// Opens the root of a checkout. The operator passed its path, so links are allowed in it.
    pub fn open_root(disk: &dyn Disk, path: &Path) -> Result<Option<Folder>> {
        let opened = files::found(disk.open_folder(path, Links::Follow), path)?;
        Ok(opened.map(|handle| Folder { handle, path: path.to_owned() }))
    }

    /// Opens a folder below this one; no link is followed, anywhere in the path. `None` if nothing has that name.
    pub fn beneath(&self, path: &Path) -> Result<Option<Folder>> {
        let mut found: Option<Folder> = None;
        for part in self.parts(path)? {
            let at = found.as_ref().unwrap_or(self);
            match Self::open_at(&*at.handle, part, &at.path.join(part))? {
                None => return Ok(None),
                next => found = next,
            }
        }
        found.map_or_else(|| Self::open_at(&*self.handle, Path::new("."), &self.path), |found| Ok(Some(found)))
    }

    /// The same; missing folders are created with this mode, and their names made durable.
    pub fn create_beneath(&self, path: &Path, mode: u32) -> Result<Folder> {
        let exists = self.beneath(path)?.is_some();
        let parts = self.parts(path)?;
        let mut found: Option<Folder> = None;
        for (i, part) in parts.iter().enumerate() {
            let at = found.as_ref().unwrap_or(self);
            let next = Self::create_at(&*at.handle, part, &at.path.join(part), mode)?;
            // An existing folder's entries were created after its own name became durable.
            if !exists || i + 1 == parts.len() {
                at.sync()?;
            }
            found = Some(next);
        }
        match found {
            Some(found) => Ok(found),
            None => self.beneath(path)?.ok_or_else(|| self.failed(&Errno::NOENT.into(), "opened")),
        }
    }

    /// The components of a path below this folder.
    fn parts<'p>(&self, path: &'p Path) -> Result<Vec<&'p Path>> {
        let name = |part| match part {
            Component::Normal(name) => Some(Ok(Path::new(name))),
            Component::CurDir => None,
            _ => {
                let error = Error::refused("a path with `..` inside the checkout", "pass the path without `..`");
                Some(Err(error.in_file(&self.path.to_string_lossy())))
            }
        };
        path.components().filter_map(name).collect()
    }

    /// The relative path from this folder to a path inside it, or to itself; links inside the folder stay. `None` if the path is elsewhere.
    pub fn way_to(&self, disk: &dyn Disk, path: &Path) -> Result<Option<PathBuf>> {
        let here = self.handle.stat(Path::new("."), Links::Keep).map_err(|error| self.failed(&error, "read"))?.identity;
        let absolute = files::absolute(disk, path)?;
        let parts: Vec<Component<'_>> = absolute.components().collect();
        let mut prefix = PathBuf::new();
        for (i, part) in parts.iter().enumerate() {
            prefix.push(part);
            let rest = &parts[i + 1..];
            match files::identity(disk, &prefix)? {
                None => break,
                Some(found) if found == here && rest.first() != Some(&Component::ParentDir) => return Ok(Some(rest.iter().collect())),
                Some(_) => {}
            }
        }
        // A link outside may lead into the folder.
        files::relative_to(disk, path, &self.path)
    }

    /// The same folder, displayed as the operator wrote it.
    pub fn named(self, path: &Path) -> Self {
        Folder { path: path.to_owned(), ..self }
    }

    fn open_at(at: &dyn FolderHandle, name: &Path, shown: &Path) -> Result<Option<Folder>> {
        match at.open_folder(name, Links::Keep) {
            Ok(handle) => Ok(Some(Folder { handle, path: shown.to_owned() })),
            Err(error) if error.kind() == IoKind::NotFound => Ok(None),
            Err(error) => Err(not_a_folder(at, name, &error).in_file(&shown.to_string_lossy())),
        }
    }

    fn create_at(at: &dyn FolderHandle, name: &Path, shown: &Path, mode: u32) -> Result<Folder> {
        let failed = |error: io::Error| explain(&error, "made").in_file(&shown.to_string_lossy());
        if let Some(folder) = Self::open_at(at, name, shown)? {
            return Ok(folder);
        }
        match at.make_folder(name, mode) {
            Err(error) if error.kind() != IoKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        // A umask may have removed even the right to open it; a link of that name is not followed.
        if at.stat(name, Links::Keep).map_err(failed)?.kind == Kind::Folder {
            at.set_mode(name, mode).map_err(failed)?;
        }
        Self::open_at(at, name, shown)?.ok_or_else(|| failed(Errno::NOENT.into()))
    }

    /// Its path, as the operator wrote it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock, or fails at once if another run holds it.
    pub fn lock(&self) -> Result<Lock> {
        let shown = self.path.to_string_lossy();
        match self.handle.lock() {
            Ok(lock) => Ok(Lock(lock)),
            Err(error) if error.kind() == IoKind::WouldBlock => {
                let holder = self.lock_holder().map_or(String::new(), |pid| format!(" (process {pid})"));
                Err(Error::new(ErrorKind::Busy, format!("another run holds the lock{holder}"), "wait until it has ended, and run again")
                    .in_file(&shown))
            }
            Err(error) => Err(explain(&error, "locked").in_file(&shown)),
        }
    }

    /// The same for a folder that other runs lock only for an instant: waits up to a second.
    pub fn lock_soon(&self) -> Result<Lock> {
        const TIMES: u32 = 100;
        for _ in 1..TIMES {
            match self.lock() {
                Err(error) if error.kind == ErrorKind::Busy => std::thread::sleep(Duration::from_millis(10)),
                locked => return locked,
            }
        }
        self.lock()
    }

    /// The process that holds the lock, if the kernel tells (Linux: `/proc/locks`, proc(5)).
    fn lock_holder(&self) -> Option<u32> {
        let inode = self.handle.stat(Path::new("."), Links::Keep).ok()?.identity.1.to_string();
        let locks = String::from_utf8(self.read_file("/proc/locks").ok()?).ok()?;
        locks.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, "FLOCK", _, _, pid, place, ..] = fields.as_slice() else { return None };
            (place.rsplit(':').next() == Some(&inode)).then(|| pid.parse().ok())?
        })
    }

    /// Whether anything in this folder has that name, even a dangling link.
    pub fn has(&self, name: &str) -> Result<bool> {
        Ok(self.stat(name)?.is_some())
    }

    /// The entries of this folder.
    fn list(&self) -> Result<Vec<(OsString, Kind)>> {
        self.list_quickly()?.into_iter().map(|(name, kind)| self.kind(&name, kind).map(|kind| (name, kind))).collect()
    }

    /// The entries of this folder, each with its kind where that costs nothing.
    pub(super) fn list_quickly(&self) -> Result<Vec<(OsString, Option<Kind>)>> {
        self.handle.list(Path::new(".")).map_err(|error| self.failed(&error, "read"))
    }

    /// The kind of an entry, which may be known.
    pub(super) fn kind(&self, name: &OsStr, known: Option<Kind>) -> Result<Kind> {
        let gone = || removed_meanwhile().in_file(&self.path.join(name).to_string_lossy());
        known.map_or_else(|| Ok(self.stat(name)?.ok_or_else(gone)?.kind), Ok)
    }

    /// Whether this is the name of a folder, or of a link to one.
    pub(super) fn is_folder(&self, name: &str) -> Result<bool> {
        files::is_folder(&*self.handle, Path::new(name)).map_err(|error| error.within(&self.path.to_string_lossy()))
    }

    /// The entry of this name in the folder; a link is not followed.
    pub(super) fn stat(&self, name: impl AsRef<Path>) -> Result<Option<Stat>> {
        files::stat(&*self.handle, name.as_ref(), Links::Keep).map_err(|error| error.within(&self.path.to_string_lossy()))
    }

    /// Checks that a file can be written at that path: no entry on the way, nor the file, is a link, pipe or device, or a folder where a
    /// file belongs, or the other way round.
    pub fn check(&self, path: &str, existing: Existing<'_>) -> Result<()> {
        let shown = self.path.join(path);
        match path.rsplit_once('/') {
            None => check_target(self, path, existing).map(|_| ()).map_err(|error| error.in_file(&shown.to_string_lossy())),
            Some((parent, name)) => match Self::open_at(&*self.handle, Path::new(parent), &self.path.join(parent))? {
                Some(folder) => folder.check(name, existing),
                None => Ok(()),
            },
        }
    }

    /// Every file below, by its path with `/`. Hidden ones are skipped; a link, pipe or device is refused.
    pub fn read_all(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut files = BTreeMap::new();
        self.walk("", MOST_DEPTH, &mut |folder, name, path| {
            if !name.starts_with('.') {
                files.insert(path.to_owned(), folder.read_file(name)?);
            }
            Ok(())
        })?;
        Ok(files)
    }

    /// Cleans up after a killed run: removes its temporary files, and makes the names that it wrote durable. Returns how many it removed.
    pub fn remove_leftovers(&self) -> Result<usize> {
        sync_parent(&*self.handle, Path::new("."), false).map_err(|error| self.failed(&error, "confirmed by the disk"))?;
        self.recover(MOST_DEPTH)
    }

    /// The same in this folder only, whatever else is in it.
    pub fn remove_leftovers_here(&self) -> Result<()> {
        self.recover(0).map(|_| ())
    }

    fn recover(&self, depth: usize) -> Result<usize> {
        let mut removed = 0;
        for (name, kind) in self.list()? {
            let Some(name) = name.to_str() else { continue };
            if kind == Kind::File && is_leftover(name) {
                self.remove(name)?;
                removed += 1;
            } else if kind == Kind::Folder && depth > 0 && !name.starts_with('.') {
                let folder = Self::open_at(&*self.handle, Path::new(name), &self.path.join(name))?;
                removed += folder.map_or(Ok(0), |folder| folder.recover(depth - 1))?;
            }
        }
        self.sync()?;
        Ok(removed)
    }

    fn failed(&self, error: &io::Error, what: &str) -> Error {
        explain(error, what).in_file(&self.path.to_string_lossy())
    }

    fn walk(&self, prefix: &str, depth: usize, visit: &mut dyn FnMut(&Folder, &str, &str) -> Result<()>) -> Result<()> {
        for (name, kind) in self.list()? {
            let shown = self.path.join(&name);
            let refuse = |what: &str, help: &str| Err(Error::refused(what, help).in_file(&shown.to_string_lossy()));
            let Some(name) = name.to_str() else {
                return refuse("a name that is not UTF-8", "rename or remove it");
            };
            if name == ".git" {
                continue;
            }
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            match kind {
                Kind::File => visit(self, name, &path)?,
                Kind::Folder if name.starts_with('.') => {}
                Kind::Folder if depth == 0 => return refuse("nested too deep", "name the output folder itself"),
                Kind::Folder => {
                    if let Some(folder) = Self::open_at(&*self.handle, Path::new(name), &shown)? {
                        folder.walk(&path, depth - 1, visit)?;
                    }
                }
                Kind::Link => {
                    return refuse("a link, and links are not followed here", "put the file itself there, or remove the link");
                }
                Kind::Pipe | Kind::Other => return refuse("neither a file nor a folder", "remove it"),
            }
        }
        Ok(())
    }

    /// One file of this folder; a link is not followed.
    pub fn read_file(&self, name: &str) -> Result<Vec<u8>> {
        let shown = self.path.join(name);
        let mut bytes = Vec::new();
        let file = self.handle.open_file(Path::new(name), Links::Keep);
        let read = file.and_then(|file| file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|error| explain(&error, "read").in_file(&shown.to_string_lossy()))?;
        if bytes.len() > MOST_BYTES {
            let error = Error::bad_input(format!("larger than {} MiB", MOST_BYTES >> 20), "restore it from git");
            return Err(error.in_file(&shown.to_string_lossy()));
        }
        Ok(bytes)
    }

    /// The same; none if nothing has that name.
    pub fn find_file(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.has(name)?.then(|| self.read_file(name).map(Zeroizing::new)).transpose()
    }

    /// The same for a file of a subfolder.
    pub fn find_below(&self, path: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        let folder = Self::open_at(&*self.handle, Path::new(parent), &self.path.join(parent))?;
        folder.map_or(Ok(None), |folder| folder.find_file(name))
    }

    /// The entries' names that are UTF-8.
    pub fn names(&self) -> Result<Vec<String>> {
        Ok(self.list_quickly()?.into_iter().filter_map(|(name, _)| name.into_string().ok()).collect())
    }

    pub fn remove(&self, name: &str) -> Result<()> {
        self.handle.unlink(name).map_err(|error| explain(&error, "removed").in_file(&self.path.join(name).to_string_lossy()))
    }

    /// Makes the names in it durable.
    pub fn sync(&self) -> Result<()> {
        self.handle.sync().map_err(|error| self.failed(&error, "confirmed by the disk"))
    }

    /// A file that someone else wrote, which may be empty; a link is refused. `None` if nothing has that name.
    pub fn read_foreign(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let mut bytes = Zeroizing::default();
        Ok(self.read_foreign_into(Path::new(name), &mut bytes)?.then_some(bytes))
    }

    /// The same, replacing the buffer's content; returns whether anything has that name.
    pub fn read_foreign_into(&self, name: &Path, into: &mut Zeroizing<Vec<u8>>) -> Result<bool> {
        let opened = match self.handle.open_file(name, Links::Keep) {
            Ok(file) => files::content(file, name, files::Kind::Public, into),
            Err(error) if files::is_absence(&error) => return Ok(false),
            Err(error) => Err(match self.stat(name)?.map(|stat| stat.kind) {
                Some(Kind::Link) => Error::refused("a link, and links are not followed here", "replace the link by the file itself"),
                _ => files::explain_open(&*self.handle, name, &error),
            }),
        };
        opened.map(|()| true).map_err(|error| error.in_file(&self.path.join(name).to_string_lossy()))
    }

    /// A file's permissions.
    pub fn mode(&self, name: &str) -> Result<Option<u32>> {
        Ok(self.stat(name)?.map(|stat| stat.mode))
    }

    /// Device and inode of each file below, to detect an input that is one of them.
    pub fn identities(&self) -> Result<Vec<(u64, u64)>> {
        let mut found = Vec::new();
        self.walk("", MOST_DEPTH, &mut |folder, name, _| {
            found.extend(folder.stat(name)?.map(|stat| stat.identity));
            Ok(())
        })?;
        Ok(found)
    }
}

/// Makes a folder's own name durable. In a parent that may not be read, nobody created it meanwhile.
fn sync_parent(at: &dyn FolderHandle, path: &Path, made: bool) -> io::Result<()> {
    match at.open_folder(&path.join(".."), Links::Follow).and_then(|parent| parent.sync()) {
        Err(error) if error.kind() == IoKind::PermissionDenied && !made => Ok(()),
        synced => synced,
    }
}

fn not_a_folder(at: &dyn FolderHandle, name: &Path, error: &io::Error) -> Error {
    match at.stat(name, Links::Keep).map(|stat| stat.kind) {
        Ok(Kind::Link) => Error::refused("a link, and links are not followed here", "name the folder itself"),
        Ok(Kind::Folder) | Err(_) => explain(error, "opened"),
        Ok(Kind::File) => explain(&Errno::NOTDIR.into(), "opened"),
        Ok(_) => Error::refused("neither a file nor a folder", "name a folder"),
    }
}

/// Writes into a folder and its subfolders. Each file is complete when its name appears; [`Writer::finish`] makes the names durable.
pub struct Writer<'f> {
    root: &'f Folder,
    folders: BTreeMap<String, Folder>,
    /// Files that had a second name (a hard link), which now keeps the old content.
    pub unlinked: Vec<String>,
    count: usize,
}

impl<'f> Writer<'f> {
    pub fn new(root: &'f Folder) -> Self {
        Writer { root, folders: BTreeMap::new(), unlinked: Vec::new(), count: 0 }
    }

    /// Writes one file, at a path of at most one subfolder: temporary file, fsync, rename.
    pub fn write(&mut self, path: &str, bytes: &[u8], mode: u32, existing: Existing<'_>) -> Result<()> {
        let shown = self.root.path.join(path).to_string_lossy().into_owned();
        let name = self.enter(path)?;
        let folder = path.rsplit_once('/').map_or(self.root, |(parent, _)| &self.folders[parent]);
        if check_target(folder, name, existing).map_err(|error| error.in_file(&shown))? {
            self.unlinked.push(shown.clone());
        }
        self.count += 1;
        let temporary = format!("{}{}.{}{}", TEMPORARY.0, std::process::id(), self.count, TEMPORARY.1);
        let written = write_temporary(folder, &temporary, bytes, mode)
            .map_err(|error| explain(&error, &format!("written ({} bytes)", bytes.len())))
            .and_then(|()| put_in_place(folder, &temporary, name, existing));
        if written.is_err() {
            // If this fails too, the next run removes it.
            let _ = folder.handle.unlink(&temporary);
        }
        written.map_err(|error| error.in_file(&shown))
    }

    /// Replaces one file, if it is still as it was read, keeping its mode.
    pub fn replace(&mut self, name: &str, bytes: &[u8], before: Option<&[u8]>) -> Result<()> {
        let mode = self.root.mode(name)?.unwrap_or(0o644);
        self.write(name, bytes, mode, Existing::AsRead(before))
    }

    /// Opens or creates the subfolder of a path; returns the last component.
    fn enter<'p>(&mut self, path: &'p str) -> Result<&'p str> {
        let Some((parent, name)) = path.rsplit_once('/') else { return Ok(path) };
        if !self.folders.contains_key(parent) {
            let folder = Folder::create_at(&*self.root.handle, Path::new(parent), &self.root.path.join(parent), 0o755)?;
            self.folders.insert(parent.to_owned(), folder);
        }
        Ok(name)
    }

    /// Makes the names written so far durable, while more files follow.
    pub fn sync(&self) -> Result<()> {
        let folders = || self.folders.values().chain([self.root]);
        folders().try_for_each(Folder::sync)
    }

    /// The same for the last files of a run: if the disk does not confirm it, everything is written nevertheless. Returns the files that
    /// had a second name, which now keeps the old content.
    pub fn finish(self) -> Result<Vec<String>> {
        for folder in self.folders.values().chain([self.root]) {
            folder.handle.sync().map_err(|error| {
                Error::new(
                    ErrorKind::Unconfirmed,
                    "everything is written, but the disk did not confirm it",
                    "check the disk, and run again: it changes nothing that is right",
                )
                .why(error.to_string())
                .in_file(&folder.path.to_string_lossy())
            })?;
        }
        Ok(self.unlinked)
    }
}

/// Whether the file has a second name too; a link, folder, pipe or device in its place is refused.
fn check_target(folder: &Folder, name: &str, existing: Existing<'_>) -> Result<bool> {
    let Some(stat) = folder.stat(name)? else { return Ok(false) };
    match stat.kind {
        Kind::File if existing == Existing::Keep => Err(already_there()),
        Kind::File => Ok(stat.shared),
        Kind::Link => Err(Error::refused("a link, and links are not followed here", "remove the link")),
        Kind::Folder => Err(Error::refused("a folder, where a file belongs", "remove the folder, or move it away")),
        Kind::Pipe | Kind::Other => Err(Error::refused("a pipe, socket or device, where a file belongs", "remove it")),
    }
}

fn already_there() -> Error {
    Error::refused("already exists, and is never overwritten", "move it away first if you want a new one")
}

fn write_temporary(folder: &Folder, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = folder.handle.create_file(name)?;
    file.write_all(bytes)?;
    // Whatever the umask says.
    file.set_mode(mode)?;
    file.sync()
}

/// The last step, just before the file's name changes: checks that it is still what was read.
fn put_in_place(folder: &Folder, temporary: &str, name: &str, existing: Existing<'_>) -> Result<()> {
    let at = &folder.handle;
    let replaces = match existing {
        Existing::AsRead(Some(before)) if is_still(folder, name, before)? => true,
        Existing::AsRead(Some(_)) => return Err(changed_meanwhile()),
        Existing::AsRead(None) | Existing::Keep => false,
    };
    let renamed = match at.rename(temporary, name, replaces) {
        // A file system without that flag (NFS): a hard link also fails if the name is taken.
        Err(error) if !replaces && matches!(error.kind(), IoKind::InvalidInput | IoKind::Unsupported) => {
            // The next run removes the temporary name if this one cannot.
            at.link(temporary, name).inspect(|()| drop(at.unlink(temporary)))
        }
        other => other,
    };
    renamed.map_err(|error| match error.kind() {
        IoKind::AlreadyExists if existing == Existing::Keep => already_there(),
        IoKind::AlreadyExists => changed_meanwhile(),
        _ => explain(&error, "put in place"),
    })
}

/// A byte order mark does not belong to a text that was read.
fn is_still(folder: &Folder, name: &str, before: &[u8]) -> Result<bool> {
    let now = folder.find_file(name)?;
    Ok(now.is_some_and(|now| *now == before || now.strip_prefix("\u{feff}".as_bytes()) == Some(before)))
}

/// Another run, an editor or git wrote the file after it was read.
pub fn changed_meanwhile() -> Error {
    Error::new(ErrorKind::Busy, "it was changed meanwhile", "run again")
}

/// The same, but the file no longer exists.
pub fn removed_meanwhile() -> Error {
    Error::new(ErrorKind::Busy, "it was removed meanwhile", "run again")
}
