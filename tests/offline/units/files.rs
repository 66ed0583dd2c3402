//! `world/files.rs`

use std::any::Any;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::io::Errno;
use seal_secrets::world::disk::{Disk, FileHandle, FolderHandle, Kind, Links, Stat};
use seal_secrets::world::files;

use crate::simulated_disk::{Fault, SimulatedDisk, State};

/// What each read of a file answers; then nothing more comes.
type Answers = VecDeque<std::result::Result<&'static [u8], ErrorKind>>;

struct Opened(Stat, Answers);

impl Read for Opened {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let bytes = self.1.pop_front().unwrap_or(Ok(b""))?;
        let (now, later) = bytes.split_at(bytes.len().min(into.len()));
        into[..now.len()].copy_from_slice(now);
        if !later.is_empty() {
            self.1.push_front(Ok(later));
        }
        Ok(now.len())
    }
}

impl Write for Opened {
    fn write(&mut self, _: &[u8]) -> Result<usize> {
        unreachable!("it is only read")
    }

    fn flush(&mut self) -> Result<()> {
        unreachable!("it is only read")
    }
}

impl FileHandle for Opened {
    fn stat(&self) -> Result<Stat> {
        Ok(self.0)
    }

    fn set_mode(&self, _: u32) -> Result<()> {
        unreachable!("it is only read")
    }

    fn sync(&self) -> Result<()> {
        unreachable!("it is only read")
    }

    fn wait(&self) -> Result<()> {
        Ok(())
    }
}

/// A disk with one file, at every path.
struct OneFile(Stat, Mutex<Answers>);

impl FolderHandle for OneFile {
    fn open_file(&self, _: &Path, _: Links) -> Result<Box<dyn FileHandle>> {
        Ok(Box::new(Opened(self.0, std::mem::take(&mut self.1.lock().unwrap()))))
    }

    fn stat(&self, _: &Path, _: Links) -> Result<Stat> {
        unreachable!("it is only opened")
    }

    fn list(&self, _: &Path) -> Result<Vec<(OsString, Option<Kind>)>> {
        unreachable!("it is only opened")
    }

    fn open_folder(&self, _: &Path, _: Links) -> Result<Box<dyn FolderHandle>> {
        unreachable!("it is only opened")
    }

    fn create_file(&self, _: &str) -> Result<Box<dyn FileHandle>> {
        unreachable!("it is only opened")
    }

    fn make_folder(&self, _: &Path, _: u32) -> Result<()> {
        unreachable!("it is only opened")
    }

    fn set_mode(&self, _: &Path, _: u32) -> Result<()> {
        unreachable!("it is only opened")
    }

    fn rename(&self, _: &str, _: &str, _: bool) -> Result<()> {
        unreachable!("it is only opened")
    }

    fn link(&self, _: &str, _: &str) -> Result<()> {
        unreachable!("it is only opened")
    }

    fn unlink(&self, _: &str) -> Result<()> {
        unreachable!("it is only opened")
    }

    fn sync(&self) -> Result<()> {
        unreachable!("it is only opened")
    }

    fn lock(&self) -> Result<Box<dyn Any + Send>> {
        unreachable!("it is only opened")
    }

    fn check_writable(&self, _: &Path) -> Result<()> {
        unreachable!("it is only opened")
    }
}

impl Disk for OneFile {
    fn current_folder(&self) -> Result<PathBuf> {
        unreachable!("it is only opened")
    }

    fn canonicalize(&self, _: &Path) -> Result<PathBuf> {
        unreachable!("it is only opened")
    }
}

/// Reads a file of this kind, with this `Stat` and these answers; returns its content, or what is wrong with it, and why.
fn read(kind: files::Kind, stat: Stat, answers: &Answers) -> std::result::Result<Vec<u8>, (String, String)> {
    let read = files::read(&OneFile(stat, Mutex::new(answers.clone())), Path::new("in"), "in", kind);
    read.map(|bytes| bytes.to_vec()).map_err(|error| (error.what(), error.reason().unwrap_or_default()))
}

const FILE: Stat = Stat { kind: Kind::File, mode: 0o600, size: 3, shared: false, owner: 0, identity: (0, 0) };

#[test]
fn a_pipe_is_waited_for_as_long_as_somebody_may_write_to_it() {
    // Its mode and its owner do not matter.
    let pipe = Stat { kind: Kind::Pipe, mode: 0o666, size: 0, owner: 12345, ..FILE };
    let failed = |what: &str, why: String| Err((what.to_owned(), why));
    for (answers, expected) in [
        (vec![Ok(&b"abc"[..])], Ok(b"abc".to_vec())),
        // Its writer asks for a passphrase first, and between two writes.
        (
            vec![Err(ErrorKind::WouldBlock), Err(ErrorKind::WouldBlock), Ok(b"ab"), Err(ErrorKind::WouldBlock), Ok(b"c")],
            Ok(b"abc".to_vec()),
        ),
        (vec![Ok(b"ab"), Err(ErrorKind::BrokenPipe), Ok(b"c")], failed("cannot be read", Error::from(ErrorKind::BrokenPipe).to_string())),
        (vec![], failed("nothing came through this pipe", String::new())),
    ] {
        assert_eq!(read(files::Kind::Secret, pipe, &answers.clone().into()), expected, "{answers:?}");
    }
}

#[test]
fn what_others_may_do_to_a_file_is_judged_by_what_it_is_for() {
    use files::Kind::{Input, Own, Public, Secret, Trusted};
    let own = rustix::process::geteuid().as_raw();
    for (mode, owner, refused) in [
        (0o600, own, &[][..]),
        (0o400, own, &[]),
        (0o700, own, &[]),
        (0o600, 0, &[]),
        (0o640, own, &[(Secret, "a secret that others may read (mode 0640)")]),
        (0o604, 0, &[(Secret, "a secret that others may read (mode 0604)")]),
        (0o610, own, &[(Secret, "a secret that others may read (mode 0610)")]),
        (0o1644, own, &[(Secret, "a secret that others may read (mode 0644)")]),
        (0o620, own, &[(Secret, "a secret that others may read (mode 0620)"), (Trusted, "others may write it (mode 0620)")]),
        (0o602, 0, &[(Secret, "a secret that others may read (mode 0602)"), (Trusted, "others may write it (mode 0602)")]),
        (
            0o600,
            12345,
            &[
                (Secret, "a secret that belongs to another user (uid 12345)"),
                (Trusted, "it belongs to another user (uid 12345)"),
                (Own, "it belongs to another user (uid 12345)"),
            ],
        ),
    ] {
        for kind in [Public, Input, Own, Trusted, Secret] {
            let expected = refused.iter().find(|(one, _)| *one == kind).map(|(_, what)| ((*what).to_owned(), String::new()));
            let read = read(kind, Stat { mode, owner, ..FILE }, &[Ok(&b"abc"[..])].into());
            assert_eq!(read, expected.map_or(Ok(b"abc".to_vec()), Err), "{mode:o} {owner} {}", kind as u8);
        }
    }
}

#[test]
fn a_file_is_read_whole_up_to_its_limit_whatever_its_size_says() {
    const MOST: usize = 16 << 20;
    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
    let too_large = Err(("larger than 16 MiB".to_owned(), String::new()));
    for (said, there, expected) in [
        (3, 3, Ok(3)),
        (0, 3, Ok(3)),
        (5000, 3, Ok(3)),
        (MOST, MOST, Ok(MOST)),
        (0, MOST, Ok(MOST)),
        (MOST + 1, 3, too_large.clone()),
        (MOST, MOST + 1, too_large.clone()),
        (3, MOST + 1, too_large),
        (3, 0, Err(("empty file".to_owned(), String::new()))),
    ] {
        let mut answers: Answers = std::iter::repeat_n(Ok(&ZEROS[..]), there >> 20).collect();
        answers.push_back(Ok(&ZEROS[..there % (1 << 20)]));
        let read = read(files::Kind::Public, Stat { size: said as u64, ..FILE }, &answers);
        assert_eq!(read.map(|bytes| bytes.len()), expected, "{said} {there}");
    }
}

#[test]
fn a_disk_that_refuses_says_no_and_one_that_cannot_tell_says_that() {
    let start = State::empty().with("a/x", 0o644, b"x");
    for (errno, says_no) in [(Errno::ACCESS, true), (Errno::ROFS, false), (Errno::IO, false)] {
        let disk = || SimulatedDisk::failing(&start, 0, Fault::Error(errno));
        let readable = files::is_readable(&*disk().disk(), Path::new("a/x")).map_err(|error| error.what());
        assert_eq!(readable, if says_no { Ok(false) } else { Err("cannot be read".to_owned()) }, "{errno:?}");
        let writable = files::is_writable(&*disk().disk(), Path::new("a")).map_err(|error| error.what());
        assert_eq!(writable, if errno == Errno::IO { Err("cannot be read".to_owned()) } else { Ok(false) }, "{errno:?}");
    }
    let disk = SimulatedDisk::good(&start);
    for (path, there) in [("a/x", true), ("a/none", false), ("none/x", false)] {
        assert_eq!(files::is_readable(&*disk.disk(), Path::new(path)), Ok(there), "{path}");
        assert_eq!(files::is_writable(&*disk.disk(), Path::new(path)), Ok(there), "{path}");
    }
}

#[test]
fn what_the_operating_system_refuses_is_told_with_what_it_usually_means() {
    for (errno, help) in [
        (Errno::NOSPC, "make room on that disk, or raise the limit, and run again; what was there is unchanged"),
        (Errno::DQUOT, "make room on that disk, or raise the limit, and run again; what was there is unchanged"),
        (Errno::FBIG, "make room on that disk, or raise the limit, and run again; what was there is unchanged"),
        (Errno::ROFS, "it is on a read-only file system; mount it writable, or name another folder"),
        (Errno::ACCESS, "check who owns the folder and its mode (`ls -ld`); `lsattr -d` shows whether it is immutable"),
        (Errno::BUSY, "something is mounted on exactly this file; unmount it, or name another folder"),
        (Errno::NOTDIR, "a part of the path is a file, not a folder; name another folder"),
        (Errno::NOENT, "make the parent folder first: `mkdir -p`"),
        (Errno::IO, "fix what the operating system names, and run again"),
    ] {
        let error = files::explain(&errno.into(), "written");
        let why = Error::from(errno).to_string();
        assert_eq!((error.what().as_str(), error.reason(), error.help().as_str()), ("cannot be written", Some(why), help), "{errno:?}");
    }
}
