//! A disk in memory that knows what a loss of power would leave. It keeps the operations of a run with the state before each,
//! and can fail one of them.
//!
//! It has no links. It assumes that a file's content is durable once the file is synced, and a name once its folder is. Until then a loss
//! of power may lose or keep each of them separately: a name whose file was not synced may be left empty.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Result, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;
use seal_secrets::world::disk::{Disk, FileHandle, FolderHandle, Kind, Links, Stat};

/// Where relative paths start.
pub const HERE: &str = "/work/here";

const ROOT: u64 = 1;
const UMASK: u32 = 0o022;

#[derive(Clone, PartialEq, Eq)]
enum Content {
    File(Arc<Vec<u8>>),
    Folder(BTreeMap<OsString, u64>),
}

#[derive(Clone, PartialEq, Eq)]
struct Version {
    mode: u32,
    content: Content,
}

/// A file or folder, as it is now and as it would be after a loss of power.
#[derive(Clone)]
struct Inode {
    now: Version,
    lasting: Version,
}

/// Everything on a disk. A clone shares the contents.
#[derive(Clone)]
pub struct State {
    inodes: BTreeMap<u64, Arc<Inode>>,
    locked: Vec<u64>,
}

/// What a loss of power does to unconfirmed changes.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// Nothing of it is left.
    All,
    /// The names are left, without the contents.
    Contents,
    /// Each name is left or not, by chance.
    Some(u64),
}

/// The mode bit that only a folder has.
pub const FOLDER: u32 = 0o040_000;

/// By path: the mode as in stat(2), and a file's content.
pub type Tree = BTreeMap<PathBuf, (u32, Arc<Vec<u8>>)>;

impl State {
    /// A folder to start in, and nothing else.
    pub fn empty() -> Self {
        let root = Version { mode: 0o755, content: Content::Folder(BTreeMap::new()) };
        let mut state = State { inodes: BTreeMap::new(), locked: Vec::new() };
        state.inodes.insert(ROOT, Arc::new(Inode { now: root.clone(), lasting: root }));
        state.make_folders(Path::new(HERE));
        state.settle();
        state
    }

    /// The same, with a file that lasts; its parent folders are made.
    pub fn with(mut self, path: &str, mode: u32, bytes: &[u8]) -> Self {
        let path = Path::new(HERE).join(path);
        let folder = self.make_folders(path.parent().unwrap());
        let version = Version { mode, content: Content::File(Arc::new(bytes.to_vec())) };
        self.add(folder, path.file_name().unwrap(), version);
        self.settle();
        self
    }

    /// The same, without the file or folder at a path.
    pub fn without(mut self, path: &str) -> Self {
        let (folder, name) = self.place(ROOT, &Path::new(HERE).join(path)).unwrap();
        self.names(folder).remove(&name).unwrap_or_else(|| panic!("{path} is not there"));
        self.settle();
        self
    }

    /// The same, with another state's file or folder copied to this path.
    pub fn with_that_of(self, other: &State, from: &str, to: &str) -> Self {
        let mut state = if self.tree().contains_key(Path::new(to)) { self.without(to) } else { self };
        for (path, (mode, bytes)) in other.tree() {
            if let (Ok(rest), 0) = (path.strip_prefix(from), mode & FOLDER) {
                let path = if rest.as_os_str().is_empty() { PathBuf::from(to) } else { Path::new(to).join(rest) };
                state = state.with(path.to_str().unwrap(), mode & 0o7777, &bytes);
            }
        }
        state
    }

    /// Whether nothing happened in between: the files and folders are the same objects, not only alike.
    pub fn is_same(&self, other: &State) -> bool {
        let both = self.inodes.iter().zip(&other.inodes);
        self.inodes.len() == other.inodes.len() && both.into_iter().all(|((a, one), (b, other))| a == b && Arc::ptr_eq(one, other))
    }

    /// A file's content, if it exists.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        match &self.inodes[&self.find(ROOT, &Path::new(HERE).join(path)).ok()?].now.content {
            Content::File(bytes) => Some(bytes.to_vec()),
            _ => None,
        }
    }

    /// What the start folder contains.
    pub fn tree(&self) -> Tree {
        self.tree_of(|inode| &inode.now)
    }

    /// What would remain after a loss of power that removes everything unconfirmed.
    pub fn lasting(&self) -> Tree {
        self.tree_of(|inode| &inode.lasting)
    }

    /// The disk after a loss of power: what remains then lasts.
    pub fn after(&self, loss: Loss) -> Self {
        let mut state = self.clone();
        state.locked.clear();
        let mut chance = match loss {
            Loss::Some(seed) => crate::common::TestEntropy(seed),
            _ => crate::common::TestEntropy(0),
        };
        for inode in state.inodes.values_mut().map(Arc::make_mut) {
            inode.now = match (&inode.now.content, &inode.lasting.content, loss) {
                (Content::Folder(now), _, Loss::Contents) => Version { content: Content::Folder(now.clone()), ..inode.lasting.clone() },
                (Content::Folder(now), Content::Folder(lasting), Loss::Some(_)) => {
                    let mut names = lasting.clone();
                    for name in now.keys().chain(lasting.keys()) {
                        let mut byte = [0];
                        chance.fill(&mut byte);
                        match now.get(name) {
                            _ if byte[0] % 2 == 0 => {}
                            Some(inode) => drop(names.insert(name.clone(), *inode)),
                            None => drop(names.remove(name)),
                        }
                    }
                    Version { content: Content::Folder(names), ..inode.lasting.clone() }
                }
                _ => inode.lasting.clone(),
            };
        }
        state.settle();
        state
    }

    /// As a process finds it after another one was killed: the locks are gone, all else is unchanged.
    pub fn unlocked(&self) -> Self {
        State { locked: Vec::new(), ..self.clone() }
    }

    fn settle(&mut self) {
        for inode in self.inodes.values_mut().map(Arc::make_mut) {
            inode.lasting = inode.now.clone();
        }
    }

    fn tree_of(&self, version: fn(&Inode) -> &Version) -> Tree {
        let mut tree = Tree::new();
        let mut waiting = vec![(ROOT, PathBuf::from("/"))];
        while let Some((inode, path)) = waiting.pop() {
            let Version { mode, content } = version(&self.inodes[&inode]);
            let (kind, bytes) = match content {
                Content::File(bytes) => (0o100_000, bytes.clone()),
                Content::Folder(names) => {
                    waiting.extend(names.iter().map(|(name, inode)| (*inode, path.join(name))));
                    (FOLDER, Arc::default())
                }
            };
            if let Ok(path) = path.strip_prefix(HERE) {
                tree.insert(path.to_owned(), (kind | mode, bytes));
            }
        }
        tree
    }

    fn make_folders(&mut self, path: &Path) -> u64 {
        let mut at = ROOT;
        for name in path.components().skip(1) {
            at = self.find(at, Path::new(&name)).unwrap_or_else(|_| {
                let version = Version { mode: 0o755, content: Content::Folder(BTreeMap::new()) };
                self.add(at, name.as_os_str(), version)
            });
        }
        at
    }

    /// A new file or folder; nothing of it lasts yet.
    fn add(&mut self, folder: u64, name: &OsStr, now: Version) -> u64 {
        let inode = 1 + self.inodes.keys().next_back().unwrap();
        let content = match &now.content {
            Content::File(_) => Content::File(Arc::default()),
            Content::Folder(_) => Content::Folder(BTreeMap::new()),
        };
        let lasting = Version { mode: if matches!(content, Content::File(_)) { 0o600 } else { 0o755 }, content };
        self.inodes.insert(inode, Arc::new(Inode { now, lasting }));
        self.names(folder).insert(name.to_owned(), inode);
        inode
    }

    fn inode(&mut self, inode: u64) -> &mut Inode {
        Arc::make_mut(self.inodes.get_mut(&inode).unwrap())
    }

    fn names(&mut self, folder: u64) -> &mut BTreeMap<OsString, u64> {
        match &mut self.inode(folder).now.content {
            Content::Folder(names) => names,
            _ => panic!("not a folder"),
        }
    }

    fn entries(&self, folder: u64) -> Result<&BTreeMap<OsString, u64>> {
        match &self.inodes[&folder].now.content {
            Content::Folder(names) => Ok(names),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    fn parent(&self, inode: u64) -> u64 {
        let holds = |folder: &&u64| self.entries(**folder).is_ok_and(|names| names.values().any(|one| *one == inode));
        self.inodes.keys().find(holds).copied().unwrap_or(ROOT)
    }

    fn find(&self, at: u64, path: &Path) -> Result<u64> {
        let parts = path.components().try_fold(at, |at, part| match part {
            Component::RootDir => Ok(ROOT),
            Component::ParentDir => Ok(self.parent(at)),
            Component::CurDir => Ok(at),
            part => self.entries(at)?.get(part.as_os_str()).copied().ok_or(Errno::NOENT.into()),
        });
        if path.as_os_str().is_empty() { Err(Errno::NOENT.into()) } else { parts }
    }

    /// A path's folder, and its last part.
    fn place(&self, at: u64, path: &Path) -> Result<(u64, OsString)> {
        let name = path.file_name().ok_or(Errno::EXIST)?.to_owned();
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.find(at, parent)?,
            _ => at,
        };
        self.entries(folder).map(|_| (folder, name))
    }

    fn stat(&self, inode: u64) -> Stat {
        let Version { mode, content } = &self.inodes[&inode].now;
        let (kind, size) = match content {
            Content::File(bytes) => (Kind::File, bytes.len()),
            Content::Folder(_) => (Kind::Folder, 0),
        };
        let names = self.inodes.values().filter_map(|inode| match &inode.now.content {
            Content::Folder(names) => Some(names.values()),
            _ => None,
        });
        let names = names.flatten().filter(|one| **one == inode).count();
        let owner = rustix::process::geteuid().as_raw();
        Stat { kind, mode: *mode, size: size as u64, shared: names > 1, owner, identity: (1, inode) }
    }
}

/// How the disk fails, from some operation on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This one operation fails.
    Failure,
    /// The same, with this error.
    Error(Errno),
    /// The disk is full, and stays so.
    NoSpace,
}

/// An operation of a run: the system call, and the state before it.
pub struct Step {
    pub call: &'static str,
    pub before: State,
}

/// The system calls that change nothing.
pub const READS: [&str; 8] = ["stat", "fstat", "list", "open", "read", "canonicalize", "getcwd", "access"];

/// The system calls that need room.
pub const GROWS: [&str; 6] = ["create", "write", "fsync", "rename", "link", "mkdir"];

/// The system calls that change something, or make it last.
pub const CHANGES: [&str; 8] = ["create", "write", "fchmod", "fsync", "rename", "link", "unlink", "mkdir"];

struct Run {
    state: State,
    calls: Vec<&'static str>,
    /// The names of the files opened for reading.
    opened: Vec<String>,
    /// `None` if steps are not recorded.
    steps: Option<Vec<Step>>,
    fault: Option<(usize, Fault)>,
}

/// A disk for a run.
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Mutex<Run>>);

impl SimulatedDisk {
    /// Every operation succeeds, and each is kept.
    pub fn recording(state: &State) -> Self {
        Self::new(state, Some(Vec::new()), None)
    }

    /// The n-th operation (from 0) fails.
    pub fn failing(state: &State, n: usize, fault: Fault) -> Self {
        Self::new(state, None, Some((n, fault)))
    }

    /// Every operation succeeds.
    pub fn good(state: &State) -> Self {
        Self::new(state, None, None)
    }

    fn new(state: &State, steps: Option<Vec<Step>>, fault: Option<(usize, Fault)>) -> Self {
        SimulatedDisk(Arc::new(Mutex::new(Run { state: state.unlocked(), calls: Vec::new(), opened: Vec::new(), steps, fault })))
    }

    /// What the run left.
    pub fn state(&self) -> State {
        self.run().state.clone()
    }

    /// The operations of the run.
    pub fn calls(&self) -> Vec<&'static str> {
        self.run().calls.clone()
    }

    /// How often the files of each name were opened for reading.
    pub fn opened(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        self.run().opened.iter().for_each(|name| *counts.entry(name.clone()).or_default() += 1);
        counts
    }

    /// The operations of a recorded run, with the state before each.
    pub fn steps(&self) -> Vec<Step> {
        self.run().steps.take().unwrap_or_default()
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.0.lock().unwrap()
    }

    /// As a world takes it.
    pub fn disk(&self) -> Arc<dyn Disk> {
        let inode = self.run().state.find(ROOT, Path::new(HERE)).unwrap();
        Arc::new(At { disk: self.clone(), inode })
    }
}

struct At {
    disk: SimulatedDisk,
    inode: u64,
}

impl At {
    /// One operation; it fails if it is the one that must.
    fn act<T>(&self, call: &'static str, act: impl FnOnce(&mut State, u64) -> Result<T>) -> Result<T> {
        let mut run = self.disk.run();
        let n = run.calls.len();
        run.calls.push(call);
        let before = run.steps.is_some().then(|| run.state.clone());
        if let (Some(steps), Some(before)) = (&mut run.steps, before) {
            steps.push(Step { call, before });
        }
        match run.fault {
            Some((at, Fault::Failure)) if n == at => Err(Errno::IO.into()),
            Some((at, Fault::Error(errno))) if n == at => Err(errno.into()),
            Some((at, Fault::NoSpace)) if n >= at && GROWS.contains(&call) => Err(Errno::NOSPC.into()),
            _ => act(&mut run.state, self.inode),
        }
    }

    fn open(&self, inode: u64) -> At {
        At { disk: self.disk.clone(), inode }
    }

    fn sync(&self) -> Result<()> {
        self.act("fsync", |state, at| {
            let inode = state.inode(at);
            inode.lasting = inode.now.clone();
            Ok(())
        })
    }
}

impl Disk for At {
    fn current_folder(&self) -> Result<PathBuf> {
        self.act("getcwd", |_, _| Ok(HERE.into()))
    }

    fn canonicalize(&self, path: &Path) -> Result<PathBuf> {
        self.act("canonicalize", |state, at| {
            let (mut inode, mut parts) = (state.find(at, path)?, Vec::new());
            while inode != ROOT {
                let parent = state.parent(inode);
                parts.extend(state.entries(parent)?.iter().find(|(_, one)| **one == inode).map(|(name, _)| name));
                inode = parent;
            }
            Ok(std::iter::once(OsStr::new("/")).chain(parts.into_iter().rev().map(OsString::as_os_str)).collect())
        })
    }
}

impl FolderHandle for At {
    fn stat(&self, path: &Path, _: Links) -> Result<Stat> {
        self.act("stat", |state, at| Ok(state.stat(state.find(at, path)?)))
    }

    fn list(&self, path: &Path) -> Result<Vec<(OsString, Option<Kind>)>> {
        self.act("list", |state, at| {
            let names = state.entries(state.find(at, path)?)?;
            Ok(names.iter().map(|(name, inode)| (name.clone(), Some(state.stat(*inode).kind))).collect())
        })
    }

    fn open_folder(&self, path: &Path, _: Links) -> Result<Box<dyn FolderHandle>> {
        let inode = self.act("open", |state, at| {
            let inode = state.find(at, path)?;
            state.entries(inode).map(|_| inode)
        })?;
        Ok(Box::new(self.open(inode)))
    }

    fn open_file(&self, path: &Path, _: Links) -> Result<Box<dyn FileHandle>> {
        let inode = self.act("open", |state, at| state.find(at, path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.disk.run().opened.push(name);
        Ok(Box::new(OpenFile { at: self.open(inode), position: 0 }))
    }

    fn create_file(&self, name: &str) -> Result<Box<dyn FileHandle>> {
        let inode = self.act("create", |state, at| {
            if state.entries(at)?.contains_key(OsStr::new(name)) {
                return Err(Errno::EXIST.into());
            }
            Ok(state.add(at, OsStr::new(name), Version { mode: 0o600 & !UMASK, content: Content::File(Arc::default()) }))
        })?;
        Ok(Box::new(OpenFile { at: self.open(inode), position: 0 }))
    }

    fn make_folder(&self, path: &Path, mode: u32) -> Result<()> {
        self.act("mkdir", |state, at| {
            let (folder, name) = state.place(at, path)?;
            if state.entries(folder)?.contains_key(&name) {
                return Err(Errno::EXIST.into());
            }
            state.add(folder, &name, Version { mode: mode & !UMASK, content: Content::Folder(BTreeMap::new()) });
            Ok(())
        })
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<()> {
        self.act("fchmod", |state, at| {
            let inode = state.find(at, path)?;
            state.inode(inode).now.mode = mode;
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str, replaces: bool) -> Result<()> {
        self.act("rename", |state, at| {
            let names = state.names(at);
            if !replaces && names.contains_key(OsStr::new(to)) {
                return Err(Errno::EXIST.into());
            }
            let inode = names.remove(OsStr::new(from)).ok_or(Errno::NOENT)?;
            names.insert(to.into(), inode);
            Ok(())
        })
    }

    fn link(&self, from: &str, to: &str) -> Result<()> {
        self.act("link", |state, at| {
            let names = state.names(at);
            let inode = *names.get(OsStr::new(from)).ok_or(Errno::NOENT)?;
            if names.contains_key(OsStr::new(to)) {
                return Err(Errno::EXIST.into());
            }
            names.insert(to.into(), inode);
            Ok(())
        })
    }

    fn unlink(&self, name: &str) -> Result<()> {
        self.act("unlink", |state, at| state.names(at).remove(OsStr::new(name)).map(|_| ()).ok_or(Errno::NOENT.into()))
    }

    fn sync(&self) -> Result<()> {
        At::sync(self)
    }

    fn lock(&self) -> Result<Box<dyn Any + Send>> {
        self.act("flock", |state, at| {
            if state.locked.contains(&at) {
                return Err(Errno::WOULDBLOCK.into());
            }
            state.locked.push(at);
            Ok(())
        })?;
        Ok(Box::new(Unlock(self.open(self.inode))))
    }

    fn check_writable(&self, path: &Path) -> Result<()> {
        self.act("access", |state, at| state.find(at, path).map(|_| ()))
    }
}

struct Unlock(At);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.disk.run().state.locked.retain(|inode| *inode != self.0.inode);
    }
}

struct OpenFile {
    at: At,
    position: usize,
}

impl Read for OpenFile {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.at.act("read", |state, at| match &state.inodes[&at].now.content {
            Content::File(bytes) => (&bytes[self.position.min(bytes.len())..]).read(buffer),
            _ => Err(Errno::ISDIR.into()),
        })?;
        self.position += read;
        Ok(read)
    }
}

impl Write for OpenFile {
    /// The first write takes only half of the bytes, as write(2) may; so does one that fails.
    fn write(&mut self, more: &[u8]) -> Result<usize> {
        let half = if self.position == 0 { more.len().div_ceil(2) } else { more.len() };
        let take = |state: &mut State, at| {
            let Content::File(bytes) = &mut state.inode(at).now.content else { return Err(Errno::ISDIR.into()) };
            Arc::make_mut(bytes).extend_from_slice(&more[..half]);
            Ok(half)
        };
        let written = self.at.act("write", take).inspect_err(|_| drop(take(&mut self.at.disk.run().state, self.at.inode)))?;
        self.position += written;
        Ok(written)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl FileHandle for OpenFile {
    fn stat(&self) -> Result<Stat> {
        self.at.act("fstat", |state, at| Ok(state.stat(at)))
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        self.at.act("fchmod", |state, at| {
            state.inode(at).now.mode = mode;
            Ok(())
        })
    }

    fn sync(&self) -> Result<()> {
        self.at.sync()
    }

    fn wait(&self) -> Result<()> {
        Ok(())
    }
}
