//! A folder that is written to: locked, never through a link, and each file whole, old or new.
//!
//! Every operation goes through a handle of the folder, so that a folder swapped for a link meanwhile is not followed.

use std::collections::BTreeMap;
use std::io::{ErrorKind as IoKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::files::explain;
use crate::manifest::yaml::MOST_BYTES;
use crate::model::{Error, ErrorKind, Result};

/// How deep `out/` may be nested; it is two deep as written.
const MOST_DEPTH: usize = 8;

/// Both ends of a temporary file's name. No platform commits `*.tmp`.
const TEMPORARY: (&str, &str) = (".seal-secrets.", ".tmp");

/// Whether a file of this name is what a run that was killed left behind.
fn is_leftover(name: &str) -> bool {
    name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1)
}

/// What to do where the file is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Take its place in one step.
    Replace,
    /// Fail: what is there stays.
    Keep,
}

/// An open folder.
pub struct Folder {
    handle: OwnedFd,
    path: PathBuf,
}

/// A lock on a folder, until it is dropped; the kernel frees it when the process ends, however it ends.
pub struct Lock(#[allow(dead_code, reason = "dropping it frees the lock")] OwnedFd);

impl Folder {
    /// Opens a folder; `None` where there is none.
    pub fn open(path: &Path) -> Result<Option<Folder>> {
        Self::open_at(CWD, path, path)
    }

    /// Opens a folder, or makes it, with this mode whatever the umask; its parent has to be there.
    pub fn create(path: &Path, mode: u32) -> Result<Folder> {
        if let Some(folder) = Self::open(path)? {
            return Ok(folder);
        }
        let folder = Self::create_at(CWD, path, path, mode)?;
        // The new folder's own name has to last as well.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Some(parent) = Self::open_at(CWD, &parent.join("."), parent)? {
            rustix::fs::fsync(&parent.handle).map_err(|errno| explain(&errno.into(), "made").in_file(&path.to_string_lossy()))?;
        }
        Ok(folder)
    }

    fn open_at(parent: impl AsFd, name: &Path, shown: &Path) -> Result<Option<Folder>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&parent, name, flags, Mode::empty()) {
            Ok(handle) => Ok(Some(Folder { handle, path: shown.to_owned() })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(not_a_folder(parent, name, errno).in_file(&shown.to_string_lossy())),
        }
    }

    fn create_at(parent: impl AsFd, name: &Path, shown: &Path, mode: u32) -> Result<Folder> {
        let failed = |errno: Errno| explain(&errno.into(), "made").in_file(&shown.to_string_lossy());
        if let Some(folder) = Self::open_at(&parent, name, shown)? {
            return Ok(folder);
        }
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let mode = Mode::from_raw_mode(mode);
        // A umask may have taken away even the right to open it; a link of that name would not be followed.
        let metadata = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        if FileType::from_raw_mode(metadata.st_mode) == FileType::Directory {
            rustix::fs::chmodat(&parent, name, mode, AtFlags::empty()).map_err(failed)?;
        }
        Self::open_at(&parent, name, shown)?.ok_or_else(|| failed(Errno::NOENT))
    }

    /// How the operator named it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock, or fails at once if another run holds it.
    pub fn lock(&self) -> Result<Lock> {
        let shown = self.path.to_string_lossy();
        let handle = self.handle.try_clone().map_err(|error| explain(&error, "locked").in_file(&shown))?;
        match rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock(handle)),
            Err(Errno::WOULDBLOCK) => {
                let holder = self.lock_holder().map_or(String::new(), |pid| format!(" (process {pid})"));
                Err(Error::new(ErrorKind::Busy, format!("another run holds the lock{holder}"), "wait until it has ended, and run again")
                    .in_file(&shown))
            }
            Err(errno) => Err(explain(&errno.into(), "locked").in_file(&shown)),
        }
    }

    /// The process that holds the lock, where the kernel tells (Linux: `/proc/locks`, proc(5)).
    fn lock_holder(&self) -> Option<u32> {
        let inode = rustix::fs::fstat(&self.handle).ok()?.st_ino.to_string();
        let locks = std::fs::read_to_string("/proc/locks").ok()?;
        locks.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, "FLOCK", _, _, pid, place, ..] = fields.as_slice() else { return None };
            (place.rsplit(':').next() == Some(&inode)).then(|| pid.parse().ok())?
        })
    }

    /// Whether a file can be written at that path: what stands there, and on the way there, is no link, pipe or device, and
    /// no folder where a file belongs or the other way round.
    pub fn check(&self, path: &str, existing: Existing) -> Result<()> {
        let shown = self.path.join(path);
        match path.rsplit_once('/') {
            None => check_target(self, path, existing).map(|_| ()).map_err(|error| error.in_file(&shown.to_string_lossy())),
            Some((parent, name)) => match Self::open_at(&self.handle, Path::new(parent), &self.path.join(parent))? {
                Some(folder) => folder.check(name, existing),
                None => Ok(()),
            },
        }
    }

    /// Every file below, by its path with `/`. Hidden ones are passed over; a link, pipe or device is refused.
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

    /// Removes what a run that was killed left behind; says how many.
    pub fn remove_leftovers(&self) -> Result<usize> {
        let mut removed = 0;
        self.walk("", MOST_DEPTH, &mut |folder, name, _| {
            if is_leftover(name) {
                folder.unlink(name);
                removed += 1;
            }
            Ok(())
        })?;
        Ok(removed)
    }

    /// The same in this folder alone, whatever else may stand in it.
    pub fn remove_leftovers_here(&self) -> Result<()> {
        let failed = |errno: Errno| explain(&errno.into(), "read").in_file(&self.path.to_string_lossy());
        for entry in Dir::read_from(&self.handle).map_err(failed)? {
            if let Some(name) = entry.map_err(failed)?.file_name().to_str().ok().filter(|name| is_leftover(name)) {
                self.unlink(name);
            }
        }
        Ok(())
    }

    fn walk(&self, prefix: &str, depth: usize, visit: &mut dyn FnMut(&Folder, &str, &str) -> Result<()>) -> Result<()> {
        let failed = |errno: Errno| explain(&errno.into(), "read").in_file(&self.path.to_string_lossy());
        for entry in Dir::read_from(&self.handle).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let shown = self.path.join(entry.file_name().to_string_lossy().as_ref());
            let refuse = |what: &str, help: &str| Err(Error::refused(what, help).in_file(&shown.to_string_lossy()));
            let Ok(name) = entry.file_name().to_str() else {
                return refuse("a name that is not UTF-8", "rename or remove it");
            };
            if matches!(name, "." | ".." | ".git") {
                continue;
            }
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            let metadata = rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            match FileType::from_raw_mode(metadata.st_mode) {
                FileType::RegularFile => visit(self, name, &path)?,
                FileType::Directory if name.starts_with('.') => {}
                FileType::Directory if depth == 0 => return refuse("nested too deep", "name the output folder itself"),
                FileType::Directory => {
                    if let Some(folder) = Self::open_at(&self.handle, Path::new(name), &shown)? {
                        folder.walk(&path, depth - 1, visit)?;
                    }
                }
                FileType::Symlink => {
                    return refuse("a link, and links are not followed here", "put the file itself there, or remove the link");
                }
                _ => return refuse("neither a file nor a folder", "remove it"),
            }
        }
        Ok(())
    }

    /// One file of this folder; a link is not followed.
    pub fn read_file(&self, name: &str) -> Result<Vec<u8>> {
        let shown = self.path.join(name);
        let shown = shown.to_string_lossy();
        let failed = |error: std::io::Error| explain(&error, "read").in_file(&shown);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.handle, name, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let mut bytes = Vec::new();
        let read = std::fs::File::from(handle).take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes);
        read.map_err(failed)?;
        if bytes.len() > MOST_BYTES {
            return Err(Error::bad_input(format!("larger than {} MiB", MOST_BYTES >> 20), "restore it from git").in_file(&shown));
        }
        Ok(bytes)
    }

    /// Device and inode of each file below, to tell whether an input is one of them.
    pub fn identities(&self) -> Result<Vec<(u64, u64)>> {
        let mut found = Vec::new();
        self.walk("", MOST_DEPTH, &mut |folder, name, _| {
            if let Ok(metadata) = rustix::fs::statat(&folder.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
                found.push((metadata.st_dev, metadata.st_ino));
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn unlink(&self, name: &str) {
        let _ = rustix::fs::unlinkat(&self.handle, name, AtFlags::empty());
    }
}

fn not_a_folder(parent: impl AsFd, name: &Path, errno: Errno) -> Error {
    let found = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map(|metadata| FileType::from_raw_mode(metadata.st_mode));
    match found {
        Ok(FileType::Symlink) => Error::refused("a link, and links are not followed here", "name the folder itself"),
        Ok(FileType::Directory) | Err(_) => explain(&errno.into(), "opened"),
        Ok(FileType::RegularFile) => explain(&Errno::NOTDIR.into(), "opened"),
        Ok(_) => Error::refused("neither a file nor a folder", "name a folder"),
    }
}

/// Writes into a folder and its subfolders. Each file is complete when its name appears; [`Writer::finish`] makes the
/// names last.
pub struct Writer<'f> {
    root: &'f Folder,
    folders: BTreeMap<String, Folder>,
    /// Files that had a second name, which now keeps the old content.
    pub unlinked: Vec<String>,
    count: usize,
}

impl<'f> Writer<'f> {
    /// Into this folder.
    pub fn new(root: &'f Folder) -> Self {
        Writer { root, folders: BTreeMap::new(), unlinked: Vec::new(), count: 0 }
    }

    /// Writes one file, at a path of at most one subfolder; temporary file, fsync, rename.
    pub fn write(&mut self, path: &str, bytes: &[u8], mode: u32, existing: Existing) -> Result<()> {
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
            folder.unlink(&temporary);
        }
        written.map_err(|error| error.in_file(&shown))
    }

    /// Opens, or makes, the subfolder of a path; returns the last part.
    fn enter<'p>(&mut self, path: &'p str) -> Result<&'p str> {
        let Some((parent, name)) = path.rsplit_once('/') else { return Ok(path) };
        if !self.folders.contains_key(parent) {
            let folder = Folder::create_at(&self.root.handle, Path::new(parent), &self.root.path.join(parent), 0o755)?;
            self.folders.insert(parent.to_owned(), folder);
        }
        Ok(name)
    }

    /// Makes the new names last. If the disk does not confirm that, everything is written nevertheless.
    pub fn finish(self) -> Result<Vec<String>> {
        for folder in self.folders.values().chain([self.root]) {
            rustix::fs::fsync(&folder.handle).map_err(|errno| {
                Error::new(
                    ErrorKind::Unconfirmed,
                    "everything is written, but the disk did not confirm it",
                    "check the disk, and run again: it changes nothing that is right",
                )
                .why(std::io::Error::from(errno).to_string())
                .in_file(&folder.path.to_string_lossy())
            })?;
        }
        Ok(self.unlinked)
    }
}

/// Whether the file is there under a second name as well; a link, folder, pipe or device in its place is refused.
fn check_target(folder: &Folder, name: &str, existing: Existing) -> Result<bool> {
    let metadata = match rustix::fs::statat(&folder.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(explain(&errno.into(), "read")),
        Ok(metadata) => metadata,
    };
    match FileType::from_raw_mode(metadata.st_mode) {
        FileType::RegularFile if existing == Existing::Keep => Err(already_there()),
        FileType::RegularFile => Ok(metadata.st_nlink > 1),
        FileType::Symlink => Err(Error::refused("a link, and links are not followed here", "remove the link")),
        FileType::Directory => Err(Error::refused("a folder, where a file belongs", "remove the folder, or move it away")),
        _ => Err(Error::refused("a pipe, socket or device, where a file belongs", "remove it")),
    }
}

fn already_there() -> Error {
    Error::refused("is there already, and is never overwritten", "move it away first if you want a new one")
}

fn write_temporary(folder: &Folder, name: &str, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(&folder.handle, name, flags, Mode::from_raw_mode(0o600))?;
    let mut file = std::fs::File::from(handle);
    file.write_all(bytes)?;
    // Whatever the umask says.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    file.sync_all()
}

fn put_in_place(folder: &Folder, temporary: &str, name: &str, existing: Existing) -> Result<()> {
    let at = &folder.handle;
    let renamed = match existing {
        Existing::Replace => rustix::fs::renameat(at, temporary, at, name),
        Existing::Keep => match rustix::fs::renameat_with(at, temporary, at, name, RenameFlags::NOREPLACE) {
            // A file system without that flag (NFS): a hard link fails as well where the name is taken.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(at, temporary, at, name, AtFlags::empty()).inspect(|()| folder.unlink(temporary))
            }
            other => other,
        },
    };
    renamed.map_err(|errno| match std::io::Error::from(errno) {
        error if error.kind() == IoKind::AlreadyExists => already_there(),
        error => explain(&error, "put in place"),
    })
}
