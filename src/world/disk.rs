//! The disk: each query of the file system and each change to it, one system call at a time. So a test's own disk can stop, fail or lose
//! power at each of them.

use std::any::Any;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Result, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{self, Access, AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RawMode, RenameFlags};
use rustix::io::retry_on_intr;

/// What to do with a symbolic link at the end of a path. Links before it are always followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Go where it points.
    Follow,
    /// Stop at the link itself.
    Keep,
}

/// The kind of an entry in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Link,
    Pipe,
    /// A device or socket.
    Other,
}

/// The metadata of a file or folder.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    pub kind: Kind,
    /// Its permissions, as in chmod(2).
    pub mode: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it has a second name (a hard link).
    pub shared: bool,
    /// The user that owns it.
    pub owner: u32,
    /// Device and inode: two paths with the same are one file.
    pub identity: (u64, u64),
}

pub trait FileHandle: Read + Write + Send {
    fn stat(&self) -> Result<Stat>;
    /// Sets its permissions, whatever the umask.
    fn set_mode(&self, mode: u32) -> Result<()>;
    /// Makes its content durable.
    fn sync(&self) -> Result<()>;
    /// Waits until a pipe has something to read, or its writers are gone; at most one second.
    fn wait(&self) -> Result<()>;
}

/// An open folder. Relative paths start in it, wherever its own path leads by now.
pub trait FolderHandle: Send + Sync {
    /// The metadata of the entry at a path.
    fn stat(&self, path: &Path, links: Links) -> Result<Stat>;
    /// The entries of the folder at a path, each with its kind where the file system keeps that beside the name.
    fn list(&self, path: &Path) -> Result<Vec<(OsString, Option<Kind>)>>;
    fn open_folder(&self, path: &Path, links: Links) -> Result<Box<dyn FolderHandle>>;
    /// Opens a file for reading; a pipe or device does not block.
    fn open_file(&self, path: &Path, links: Links) -> Result<Box<dyn FileHandle>>;
    /// Creates an empty file with mode 0600 for writing; fails if the name is taken.
    fn create_file(&self, name: &str) -> Result<Box<dyn FileHandle>>;
    /// Creates a folder; the umask applies.
    fn make_folder(&self, path: &Path, mode: u32) -> Result<()>;
    /// Sets permissions, whatever the umask; follows links.
    fn set_mode(&self, path: &Path, mode: u32) -> Result<()>;
    /// Renames in one step. Without `replaces` it fails if the name is taken, or if the file system cannot tell.
    fn rename(&self, from: &str, to: &str, replaces: bool) -> Result<()>;
    /// Gives a file a second name; fails if the name is taken.
    fn link(&self, from: &str, to: &str) -> Result<()>;
    fn unlink(&self, name: &str) -> Result<()>;
    /// Makes the names in it durable.
    fn sync(&self) -> Result<()>;
    /// Takes the folder's lock until the value is dropped; fails at once if it is taken.
    fn lock(&self) -> Result<Box<dyn Any + Send>>;
    /// Fails if nothing may be written at a path.
    fn check_writable(&self, path: &Path) -> Result<()>;
}

/// The whole file system, as seen from the current folder.
pub trait Disk: FolderHandle {
    /// Where relative paths start.
    fn current_folder(&self) -> Result<PathBuf>;
    /// A path's canonical spelling, without links.
    fn canonicalize(&self, path: &Path) -> Result<PathBuf>;
}

/// The operating system's.
pub fn real() -> Arc<dyn Disk> {
    Arc::new(Real(CWD))
}

struct Real<F>(F);

impl Disk for Real<BorrowedFd<'static>> {
    fn current_folder(&self) -> Result<PathBuf> {
        Ok(OsString::from_vec(rustix::process::getcwd(Vec::new())?.into_bytes()).into())
    }

    fn canonicalize(&self, path: &Path) -> Result<PathBuf> {
        path.canonicalize()
    }
}

impl<F: AsFd + Send + Sync> FolderHandle for Real<F> {
    fn stat(&self, path: &Path, links: Links) -> Result<Stat> {
        let flags = if links == Links::Follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        Ok(stat(&fs::statat(&self.0, path, flags)?))
    }

    fn list(&self, path: &Path) -> Result<Vec<(OsString, Option<Kind>)>> {
        let mut found = Vec::new();
        for entry in Dir::new(open(&self.0, path, OFlags::RDONLY | OFlags::DIRECTORY)?)? {
            let entry = entry?;
            let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
            let kind = match entry.file_type() {
                _ if name == "." || name == ".." => continue,
                FileType::Unknown => None,
                known => Some(kind(known)),
            };
            found.push((name, kind));
        }
        Ok(found)
    }

    fn open_folder(&self, path: &Path, links: Links) -> Result<Box<dyn FolderHandle>> {
        Ok(Box::new(Real(open(&self.0, path, OFlags::RDONLY | OFlags::DIRECTORY | nofollow(links))?)))
    }

    fn open_file(&self, path: &Path, links: Links) -> Result<Box<dyn FileHandle>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | nofollow(links);
        Ok(Box::new(File::from(open(&self.0, path, flags)?)))
    }

    fn create_file(&self, name: &str) -> Result<Box<dyn FileHandle>> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        Ok(Box::new(File::from(open(&self.0, Path::new(name), flags)?)))
    }

    fn make_folder(&self, path: &Path, mode: u32) -> Result<()> {
        Ok(fs::mkdirat(&self.0, path, Mode::from_raw_mode(mode as RawMode))?)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<()> {
        Ok(fs::chmodat(&self.0, path, Mode::from_raw_mode(mode as RawMode), AtFlags::empty())?)
    }

    fn rename(&self, from: &str, to: &str, replaces: bool) -> Result<()> {
        Ok(match replaces {
            true => fs::renameat(&self.0, from, &self.0, to),
            false => fs::renameat_with(&self.0, from, &self.0, to, RenameFlags::NOREPLACE),
        }?)
    }

    fn link(&self, from: &str, to: &str) -> Result<()> {
        Ok(fs::linkat(&self.0, from, &self.0, to, AtFlags::empty())?)
    }

    fn unlink(&self, name: &str) -> Result<()> {
        Ok(fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    fn sync(&self) -> Result<()> {
        sync(&self.0)
    }

    fn lock(&self) -> Result<Box<dyn Any + Send>> {
        let handle = self.0.as_fd().try_clone_to_owned()?;
        fs::flock(&handle, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(handle))
    }

    fn check_writable(&self, path: &Path) -> Result<()> {
        Ok(fs::accessat(&self.0, path, Access::WRITE_OK, AtFlags::empty())?)
    }
}

impl FileHandle for File {
    fn stat(&self) -> Result<Stat> {
        Ok(stat(&fs::fstat(self)?))
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        Ok(fs::fchmod(self, Mode::from_raw_mode(mode as RawMode))?)
    }

    fn sync(&self) -> Result<()> {
        sync(self)
    }

    fn wait(&self) -> Result<()> {
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        Ok(poll(&mut [PollFd::new(self, PollFlags::IN)], Some(&second)).map(drop)?)
    }
}

fn sync(handle: impl AsFd) -> Result<()> {
    Ok(retry_on_intr(|| to_the_medium(handle.as_fd()))?)
}

#[cfg(not(target_vendor = "apple"))]
fn to_the_medium(handle: BorrowedFd) -> rustix::io::Result<()> {
    fs::fsync(handle)
}

/// On macOS, fsync(2) leaves the content in the drive's own cache. A share (SMB) may support nothing else, though.
#[cfg(target_vendor = "apple")]
fn to_the_medium(handle: BorrowedFd) -> rustix::io::Result<()> {
    match fs::fcntl_fullfsync(handle) {
        Err(rustix::io::Errno::NOTSUP) => fs::fsync(handle),
        other => other,
    }
}

fn nofollow(links: Links) -> OFlags {
    if links == Links::Follow { OFlags::empty() } else { OFlags::NOFOLLOW }
}

fn open(at: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    Ok(fs::openat(at, path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))?)
}

#[allow(clippy::unnecessary_cast, reason = "on macOS these numbers are narrower")]
fn stat(stat: &fs::Stat) -> Stat {
    Stat {
        kind: kind(FileType::from_raw_mode(stat.st_mode)),
        mode: stat.st_mode as u32 & 0o7777,
        size: stat.st_size as u64,
        shared: stat.st_nlink > 1,
        owner: stat.st_uid,
        identity: (stat.st_dev as u64, stat.st_ino),
    }
}

fn kind(kind: FileType) -> Kind {
    match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Link,
        FileType::Fifo => Kind::Pipe,
        _ => Kind::Other,
    }
}
