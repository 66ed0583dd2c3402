//! Reading the files that an operator names.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::manifest::yaml::MOST_BYTES;
use crate::model::{Error, ErrorKind, Result};

/// Whether a file's content is a secret: then nobody else may be able to read it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anybody may read it.
    Public,
    /// Mode 0600 or stricter, and the operator's own.
    Secret,
}

/// A file's bytes. `name` stands for it in errors: for what an operator may mistake for a value, not its path.
pub fn read(path: &Path, name: &str, kind: Kind) -> Result<Zeroizing<Vec<u8>>> {
    let mut file = File::options()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32)
        .open(path)
        .map_err(|error| explain_open(path, name, &error))?;
    let in_file = |error: Error| error.in_file(name);
    let metadata = file.metadata().map_err(|error| in_file(explain(&error, "read")))?;
    if metadata.is_dir() {
        return Err(in_file(Error::bad_input("is a directory", "name a file")));
    }
    if !metadata.is_file() {
        let found = if metadata.file_type().is_fifo() { "a pipe" } else { "a device or socket" };
        return Err(in_file(not_regular(found)));
    }
    if kind == Kind::Secret {
        check_private(&metadata, path).map_err(in_file)?;
    }
    let too_large = || in_file(Error::bad_input(format!("larger than {} MiB", MOST_BYTES >> 20), "check where this file comes from"));
    if metadata.len() > MOST_BYTES as u64 {
        return Err(too_large());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 1));
    let read = (&mut file).take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| in_file(explain(&error, "read")))?;
    if bytes.len() > MOST_BYTES {
        return Err(too_large());
    }
    if bytes.is_empty() {
        return Err(in_file(Error::bad_input("empty file", "restore it, or name another file")));
    }
    Ok(bytes)
}

/// Whether there is anything at that path, even a dangling link.
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// A file's permissions.
pub fn mode(path: &Path) -> Option<u32> {
    path.metadata().ok().map(|metadata| metadata.mode() & 0o7777)
}

/// Whether files can be made in a folder.
pub fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Device and inode: two paths with the same are one file.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// A path relative to a folder that it lies in, or is, with links followed as far as the paths exist.
pub fn relative_to(path: &Path, folder: &Path) -> Option<PathBuf> {
    Some(resolved(path)?.strip_prefix(resolved(folder)?).ok()?.to_owned())
}

/// The way from one folder to another, with `..`; links are followed as far as the paths exist.
pub fn way(from: &Path, to: &Path) -> PathBuf {
    let (Some(from), Some(to)) = (resolved(from), resolved(to)) else { return to.to_owned() };
    let common = from.components().zip(to.components()).take_while(|(from, to)| from == to).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}

fn resolved(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    let there = absolute.ancestors().find_map(|ancestor| Some((ancestor.canonicalize().ok()?, ancestor)))?;
    Some(there.0.join(absolute.strip_prefix(there.1).ok()?))
}

fn not_regular(found: &str) -> Error {
    Error::bad_input(format!("not a regular file but {found}"), "name a regular file, or use `-` for standard input")
}

fn check_private(metadata: &std::fs::Metadata, path: &Path) -> Result<()> {
    let mode = metadata.mode() & 0o777;
    let chmod = format!("`chmod 600 {}`", path.display());
    if mode & 0o077 != 0 {
        return Err(Error::refused(format!("a secret that others may read (mode {mode:04o})"), chmod));
    }
    let me = rustix::process::geteuid().as_raw();
    if metadata.uid() != me && metadata.uid() != 0 {
        return Err(Error::refused(
            format!("a secret that belongs to another user (uid {})", metadata.uid()),
            "copy it into a file of your own with mode 0600",
        ));
    }
    Ok(())
}

fn explain_open(path: &Path, name: &str, error: &std::io::Error) -> Error {
    let error = match error.kind() {
        // What open(2) says of a socket.
        _ if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => not_regular("a device or socket"),
        std::io::ErrorKind::NotFound => {
            let shown = name == path.to_string_lossy();
            let parent = nearest_parent(path).filter(|_| shown);
            let help = parent.map_or("name a file that exists; a value itself never stands on the command line".to_owned(), |parent| {
                format!("name a file that exists; the nearest folder that does is {}", parent.display())
            });
            Error::bad_input("no such file", help)
        }
        std::io::ErrorKind::PermissionDenied => {
            let mode = path.metadata().map_or(String::new(), |metadata| format!(" (mode {:04o})", metadata.mode() & 0o7777));
            Error::new(ErrorKind::InputOutput, format!("may not be read{mode}"), "give yourself the right to read it, or name another file")
        }
        _ => explain(error, "opened"),
    };
    error.in_file(name)
}

fn nearest_parent(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().skip(1).find(|parent| parent.is_dir()).map(Path::to_owned)
}

/// The operating system's "no", with what it usually means.
pub fn explain(error: &std::io::Error, what: &str) -> Error {
    use std::io::ErrorKind as K;
    let help = match error.kind() {
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge => {
            "make room on that disk, or raise the limit, and run again; what was there is unchanged"
        }
        K::ReadOnlyFilesystem => "it is on a read-only file system; mount it writable, or name another folder",
        K::PermissionDenied => "check who owns the folder and its mode (`ls -ld`); `lsattr -d` shows whether it is immutable",
        K::ResourceBusy => "something is mounted on exactly this file; unmount it, or name another folder",
        K::NotADirectory => "a part of the path is a file, not a folder; name another folder",
        K::NotFound => "make the parent folder first: `mkdir -p`",
        _ => "mend what the operating system names, and run again",
    };
    Error::new(ErrorKind::InputOutput, format!("cannot be {what}"), help).why(error.to_string())
}
