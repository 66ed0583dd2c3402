//! Reads the files that an operator passes.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use zeroize::Zeroizing;

use super::disk::{self, Disk, FileHandle, FolderHandle, Links, Stat};
use crate::manifest::yaml::MOST_BYTES;
use crate::model::{Error, ErrorKind, Result};

/// How secret a file's content is; others must not be able to read a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Public,
    /// Public, and passed by the operator; also a pipe, such as the shell makes for `<(…)`.
    Input,
    /// Owned by the operator or root: another owner's file is not obeyed.
    Own,
    /// Writable only by the operator.
    Trusted,
    /// Mode 0600 or stricter, and owned by the operator; or a pipe, whose mode does not matter.
    Secret,
}

/// A file's bytes. `name` replaces its path in errors, because an operator may have typed a secret value as the path.
pub fn read(disk: &dyn Disk, path: &Path, name: &str, kind: Kind) -> Result<Zeroizing<Vec<u8>>> {
    let file = disk.open_file(path, Links::Follow).map_err(|error| explain_absence(disk, path, name, &error).in_file(name))?;
    let mut bytes = Zeroizing::default();
    content(file, path, kind, &mut bytes).map_err(|error| error.in_file(name))?;
    if bytes.is_empty() {
        return Err(Error::bad_input("empty file", "restore it, or name another file").in_file(name));
    }
    Ok(bytes)
}

/// Reads an open file, which may be empty, into the buffer, replacing its content.
pub(super) fn content(file: Box<dyn FileHandle>, path: &Path, kind: Kind, into: &mut Zeroizing<Vec<u8>>) -> Result<()> {
    let stat = file.stat().map_err(|error| explain(&error, "read"))?;
    match stat.kind {
        disk::Kind::File => {}
        disk::Kind::Pipe if matches!(kind, Kind::Input | Kind::Secret) => return from_pipe(file, into),
        disk::Kind::Folder => return Err(Error::bad_input("is a directory", "name a file")),
        disk::Kind::Pipe => return Err(not_regular("a pipe")),
        disk::Kind::Link | disk::Kind::Other => return Err(not_regular("a device or socket")),
    }
    match kind {
        Kind::Public | Kind::Input => {}
        Kind::Own => check_owner(&stat)?,
        Kind::Trusted => check_trusted(&stat, path)?,
        Kind::Secret => check_private(&stat, path)?,
    }
    until(file, stat.size, into)
}

/// The content of a regular file of this size in bytes.
fn until(mut file: impl Read, size: u64, into: &mut Zeroizing<Vec<u8>>) -> Result<()> {
    check_size(size)?;
    make_room(size as usize + 1, into);
    into.resize(size as usize + 1, 0);
    let read = file.read(into).or_else(|error| if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) });
    into.truncate(read.map_err(|error| explain(&error, "read"))?);
    // As long as it was said to be, with room for more: a second read, to see that this is its end, would be one more for each file.
    if into.len() as u64 == size && size > 0 { Ok(()) } else { rest(file, into) }
}

fn check_size(size: u64) -> Result<()> {
    let too_large = || Error::bad_input(format!("larger than {} MiB", MOST_BYTES >> 20), "check where this file comes from");
    if size > MOST_BYTES as u64 { Err(too_large()) } else { Ok(()) }
}

/// Allocated at once: a vector that grows leaves copies behind.
fn make_room(bytes: usize, into: &mut Zeroizing<Vec<u8>>) {
    into.clear();
    if into.capacity() < bytes {
        *into = Zeroizing::new(Vec::with_capacity(bytes));
    }
}

/// What else there is, appended.
fn rest(file: impl Read, into: &mut Zeroizing<Vec<u8>>) -> Result<()> {
    let most = (MOST_BYTES + 1).saturating_sub(into.len());
    file.take(most as u64).read_to_end(into).map_err(|error| explain(&error, "read"))?;
    check_size(into.len() as u64)
}

fn from_pipe(pipe: Box<dyn FileHandle>, into: &mut Zeroizing<Vec<u8>>) -> Result<()> {
    make_room(MOST_BYTES + 1, into);
    rest(Pipe(pipe), into)?;
    if into.is_empty() {
        return Err(Error::bad_input("nothing came through this pipe", "check the command that writes to it"));
    }
    Ok(())
}

/// A pipe that was opened without blocking: it is read until its writers are gone. It is empty if none comes within a second.
struct Pipe(Box<dyn FileHandle>);

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            self.0.wait()?;
            match self.0.read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

/// Whether an error says that nothing has that name. Any other says that the disk cannot tell.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The result of an operation on the disk; `None` if nothing has that name.
pub(super) fn found<T>(result: io::Result<T>, path: &Path) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(explain(&error, "read").in_file(&path.to_string_lossy())),
    }
}

/// The metadata of the entry at a path, if there is one.
pub fn stat(disk: &dyn FolderHandle, path: &Path, links: Links) -> Result<Option<Stat>> {
    found(disk.stat(path, links), path)
}

/// Whether anything exists at that path, even a dangling link.
pub fn exists(disk: &dyn FolderHandle, path: &Path) -> Result<bool> {
    Ok(stat(disk, path, Links::Keep)?.is_some())
}

/// Whether the path is a folder, or a link to one.
pub fn is_folder(disk: &dyn FolderHandle, path: &Path) -> Result<bool> {
    Ok(stat(disk, path, Links::Follow)?.is_some_and(|stat| stat.kind == disk::Kind::Folder))
}

/// Whether files can be created in a folder.
pub fn is_writable(disk: &dyn Disk, folder: &Path) -> Result<bool> {
    match disk.check_writable(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => Ok(false),
        result => Ok(found(result, folder)?.is_some()),
    }
}

/// Whether this user may read a file.
pub fn is_readable(disk: &dyn Disk, path: &Path) -> Result<bool> {
    match disk.open_file(path, Links::Follow) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        result => Ok(found(result, path)?.is_some()),
    }
}

/// Device and inode: two paths with the same are one file.
pub fn identity(disk: &dyn Disk, path: &Path) -> Result<Option<(u64, u64)>> {
    Ok(stat(disk, path, Links::Follow)?.map(|stat| stat.identity))
}

/// An absolute path; links in it stay. The working directory's own path has none, so that `..` at the beginning leads up.
pub fn absolute(disk: &dyn Disk, path: &Path) -> Result<PathBuf> {
    let gone = |error: io::Error| {
        let what = "the folder that this was started in cannot be found";
        Error::new(ErrorKind::InputOutput, what, "change to a folder that exists, and run again").why(error.to_string())
    };
    if path.is_absolute() {
        return std::path::absolute(path).map_err(gone);
    }
    let mut folder = disk.current_folder().map_err(gone)?;
    let mut parts = path.components().filter(|part| *part != Component::CurDir).peekable();
    while parts.next_if_eq(&Component::ParentDir).is_some() {
        folder.pop();
    }
    folder.extend(parts);
    std::path::absolute(folder).map_err(gone)
}

/// The canonical spelling of a path, without links; `None` if nothing has that name.
pub fn canonical(disk: &dyn Disk, path: &Path) -> Result<Option<PathBuf>> {
    found(disk.canonicalize(path), path)
}

/// A path relative to a folder that contains it, or is it, with links followed as far as the paths exist.
pub fn relative_to(disk: &dyn Disk, path: &Path, folder: &Path) -> Result<Option<PathBuf>> {
    Ok(resolved(disk, path)?.strip_prefix(resolved(disk, folder)?).ok().map(Path::to_owned))
}

/// Whether a folder contains a path, or is it; links are followed as far as the paths exist.
pub fn is_inside(disk: &dyn Disk, path: &Path, folder: &Path) -> Result<bool> {
    Ok(relative_to(disk, path, folder)?.is_some())
}

/// The relative path from one folder to another, with `..`; links are followed as far as the paths exist.
pub fn way(disk: &dyn Disk, from: &Path, to: &Path) -> Result<PathBuf> {
    let (from, to) = (resolved(disk, from)?, resolved(disk, to)?);
    let common = from.components().zip(to.components()).take_while(|(from, to)| from == to).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    Ok(up.chain(to.components().skip(common)).collect())
}

/// An absolute path, with links followed as far as it exists.
pub fn resolved(disk: &dyn Disk, path: &Path) -> Result<PathBuf> {
    let absolute = absolute(disk, path)?;
    for ancestor in absolute.ancestors() {
        if let Some(there) = canonical(disk, ancestor)? {
            // Built from components: joined with an empty path, it would end with a slash.
            return Ok(there.components().chain(absolute.strip_prefix(ancestor).unwrap_or(Path::new("")).components()).collect());
        }
    }
    Ok(absolute)
}

fn not_regular(found: &str) -> Error {
    Error::bad_input(format!("not a regular file but {found}"), "name a regular file, or use `-` for standard input")
}

fn check_private(stat: &Stat, path: &Path) -> Result<()> {
    let mode = stat.mode & 0o777;
    let chmod = format!("`chmod 600 {}`", path.display());
    if mode & 0o077 != 0 {
        return Err(Error::refused(format!("a secret that others may read (mode {mode:04o})"), chmod));
    }
    if is_foreign(stat) {
        let help = "copy it into a file of your own with mode 0600";
        return Err(Error::refused(format!("a secret that belongs to another user (uid {})", stat.owner), help));
    }
    Ok(())
}

fn check_trusted(stat: &Stat, path: &Path) -> Result<()> {
    let mode = stat.mode & 0o777;
    if mode & 0o022 != 0 {
        return Err(Error::refused(format!("others may write it (mode {mode:04o})"), format!("`chmod 600 {}`", path.display())));
    }
    check_owner(stat)
}

fn check_owner(stat: &Stat) -> Result<()> {
    if is_foreign(stat) {
        return Err(Error::refused(format!("it belongs to another user (uid {})", stat.owner), "move it away, or make it your own"));
    }
    Ok(())
}

/// Whether its owner is neither this user nor root.
fn is_foreign(stat: &Stat) -> bool {
    stat.owner != rustix::process::geteuid().as_raw() && stat.owner != 0
}

/// Why a file cannot be opened; if it does not exist, names the nearest folder that does.
fn explain_absence(disk: &dyn Disk, path: &Path, name: &str, error: &io::Error) -> Error {
    if error.kind() != io::ErrorKind::NotFound {
        return explain_open(disk, path, error);
    }
    let shown = name == path.to_string_lossy();
    let parent = nearest_parent(disk, path).filter(|_| shown);
    let help = parent.map_or("name a file that exists; a value itself never stands on the command line".to_owned(), |parent| {
        format!("name a file that exists; the nearest folder that does is {}", parent.display())
    });
    Error::bad_input("no such file", help)
}

/// Why a file that exists cannot be opened.
pub(super) fn explain_open(at: &dyn FolderHandle, path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        // What open(2) returns for a socket.
        _ if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => not_regular("a device or socket"),
        io::ErrorKind::PermissionDenied => {
            let mode = at.stat(path, Links::Follow).map_or(String::new(), |stat| format!(" (mode {:04o})", stat.mode));
            Error::new(ErrorKind::InputOutput, format!("may not be read{mode}"), "give yourself the right to read it, or name another file")
        }
        _ => explain(error, "opened"),
    }
}

/// For the help of an error that is reported in any case.
fn nearest_parent(disk: &dyn Disk, path: &Path) -> Option<PathBuf> {
    let absolute = absolute(disk, path).ok()?;
    absolute.ancestors().skip(1).find(|parent| is_folder(disk, parent).is_ok_and(|there| there)).map(Path::to_owned)
}

/// The operating system's error, with what it usually means.
pub fn explain(error: &io::Error, what: &str) -> Error {
    use io::ErrorKind as K;
    let help = match error.kind() {
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge => {
            "make room on that disk, or raise the limit, and run again; what was there is unchanged"
        }
        K::ReadOnlyFilesystem => "it is on a read-only file system; mount it writable, or name another folder",
        K::PermissionDenied => "check who owns the folder and its mode (`ls -ld`); `lsattr -d` shows whether it is immutable",
        K::ResourceBusy => "something is mounted on exactly this file; unmount it, or name another folder",
        K::NotADirectory => "a part of the path is a file, not a folder; name another folder",
        K::NotFound => "make the parent folder first: `mkdir -p`",
        _ => "fix what the operating system names, and run again",
    };
    Error::new(ErrorKind::InputOutput, format!("cannot be {what}"), help).why(error.to_string())
}
