//! Files with SealedSecrets, a few at a time: however many there are, no more of them is in memory. `re-encrypt`, `renew`
//! and `status` go through them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use zeroize::Zeroizing;

use crate::cli::Folders;
use crate::manifest::blobs::{self, Found};
use crate::manifest::text;
use crate::model::{Error, ErrorKind, Result};
use crate::pipeline::re_encrypt::{Done, Work};
use crate::pipeline::seal::SESSION_KEY;
use crate::world::disk::{Disk, Kind, Links};
use crate::world::folder::{Existing, Folder, Lock, Writer};
use crate::world::{World, files, tree};

/// How many files are in memory at once.
const AT_ONCE: usize = 64;

/// The folders and files that were named, or the output folder.
pub(super) fn paths<'p>(folders: &'p Folders, named: &'p [PathBuf]) -> &'p [PathBuf] {
    if named.is_empty() { std::slice::from_ref(&folders.out) } else { named }
}

/// Which files, and the locks on their folders.
#[derive(Default)]
pub(super) struct SealedFiles {
    paths: Vec<PathBuf>,
    /// Links and files larger than any manifest, which are not read.
    pub(super) passed_over: Vec<PathBuf>,
    locked: Vec<(u64, u64)>,
    _locks: Vec<Lock>,
}

/// A file as read: its whole text, and the SealedSecrets in it.
pub(super) struct SealedFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) found: Vec<Found>,
}

impl SealedFile {
    pub(super) fn name(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

impl SealedFiles {
    /// The manifests below these folders, and these files whatever they are called. Links are told of, and not followed. Who
    /// will write gets the locks, that of the output folder as well where it is concerned, and removes what an interrupted
    /// run left.
    pub(super) fn find(named: &[PathBuf], folders: &Folders, writes: bool, world: &mut World) -> Result<Self> {
        let mut sealed = SealedFiles::default();
        for path in named {
            // Without a slash at its end, which would follow a link.
            let path: PathBuf = path.components().collect();
            let shown = path.to_string_lossy();
            let missing = || Error::bad_input("no such file or folder", "name one that is there").in_file(&shown);
            let kind = files::stat(&*world.disk, &path, Links::Keep)?.ok_or_else(missing)?.kind;
            if kind == Kind::Link {
                let help = "name the file or folder itself";
                return Err(Error::refused("a link, and links are not followed here", help).in_file(&shown));
            }
            let root = if kind == Kind::Folder { &path } else { parent(&path) };
            if writes {
                let disk = &*world.disk;
                sealed.lock(root, disk)?;
                let concerned = files::is_inside(disk, &folders.out, root)? || files::is_inside(disk, root, &folders.out)?;
                if concerned && files::exists(disk, &folders.out)? {
                    sealed.lock(&folders.out, disk)?;
                }
            }
            if kind != Kind::Folder {
                sealed.paths.push(path.clone());
                continue;
            }
            let listing = tree::list_all(&*world.disk, &path, &[".yaml", ".yml", ".json"])?;
            sealed.paths.extend(listing.paths.into_iter().map(|one| path.join(one)));
            sealed.passed_over.extend(listing.passed_over.into_iter().map(|one| path.join(one)));
        }
        for path in &sealed.passed_over {
            world.terminal.warn(&format!("{} is a link or too large, and is passed over", path.display()));
        }
        if named.len() > 1 {
            // Twice is once, in whatever spelling: the second time would find nothing to do.
            let mut once = BTreeMap::new();
            for path in sealed.paths {
                once.entry(canonical(&path, world)?).or_insert(path);
            }
            sealed.paths = once.into_values().collect();
        }
        if writes {
            let parents: BTreeSet<&Path> = sealed.paths.iter().map(|path| parent(path)).collect();
            for parent in parents {
                Folder::open(&*world.disk, parent)?.map_or(Ok(()), |folder| folder.remove_leftovers_here())?;
            }
        }
        Ok(sealed)
    }

    fn lock(&mut self, folder: &Path, disk: &dyn Disk) -> Result<()> {
        let gone = || Error::bad_input("no such folder", "name one that is there").in_file(&folder.to_string_lossy());
        if let Some(identity) = files::identity(disk, folder)?.filter(|identity| !self.locked.contains(identity)) {
            self._locks.push(Folder::open(disk, folder)?.ok_or_else(gone)?.lock()?);
            self.locked.push(identity);
        }
        Ok(())
    }

    /// Reads each file that holds SealedSecrets, a few at a time; says what cannot be read.
    pub(super) fn each(&self, world: &mut World, mut visit: impl FnMut(Vec<Result<SealedFile>>, &mut World) -> Result<()>) -> Result<()> {
        for (i, paths) in self.paths.chunks(AT_ONCE).enumerate() {
            if self.paths.len() > AT_ONCE {
                world.terminal.progress(Some((i * AT_ONCE, self.paths.len())));
            }
            let read =
                paths.iter().filter_map(|path| read(path, world).map_err(|error| error.in_file(&path.to_string_lossy())).transpose());
            let read = read.collect();
            let visited = visit(read, world);
            world.terminal.progress(None);
            visited?;
        }
        Ok(())
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The one spelling of a path to a file that is there: what it is called may be a link's name, which was refused.
fn canonical(path: &Path, world: &World) -> Result<PathBuf> {
    Ok(files::canonical(&*world.disk, path)?.unwrap_or_else(|| path.to_owned()))
}

/// A file that holds SealedSecrets; none where it holds something else.
fn read(path: &Path, world: &World) -> Result<Option<SealedFile>> {
    let stat = files::stat(&*world.disk, path, Links::Follow)?;
    if stat.is_some_and(|stat| stat.kind == Kind::File && stat.size == 0) {
        return Ok(None);
    }
    let bytes = files::read(&*world.disk, path, &path.to_string_lossy(), files::Kind::Public)?;
    // In UTF-16 it would stand in other bytes: then it is told that it cannot be read.
    if !text::is_utf_16(&bytes) && memchr::memmem::find(&bytes, b"SealedSecret").is_none() {
        return Ok(None);
    }
    // What it begins with stays: a byte-order mark too.
    text::decode(&bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let found = blobs::find(&text)?;
    Ok((!found.is_empty()).then(|| SealedFile { path: path.to_owned(), text, found }))
}

/// Something that cannot be read or opened, while the others are gone through.
pub(super) fn failed(error: &Error) -> String {
    let why = error.reason().map_or(String::new(), |why| format!("  {why}\n"));
    format!("failed: {}: {}\n{why}  help: {}\n", error.place(), error.what(), error.help())
}

/// What became of a file.
pub(super) struct Outcome {
    pub(super) file: SealedFile,
    pub(super) done: Result<Done>,
}

/// Re-encrypts some files, on as many threads as there may be; nothing is written yet.
pub(super) fn re_encrypt(files: Vec<SealedFile>, work: &Work<'_>, world: &mut World) -> Result<Vec<Outcome>> {
    let mut jobs = Vec::with_capacity(files.len());
    for file in files {
        let values = file.found.iter().map(|one| one.blobs.len()).sum::<usize>();
        let mut session_keys = Zeroizing::new(vec![0; values * SESSION_KEY]);
        world.entropy.try_fill_bytes(&mut session_keys)?;
        jobs.push((file, session_keys));
    }
    let queue = Mutex::new(jobs.into_iter().enumerate());
    let next = || queue.lock().ok()?.next();
    let run = || {
        std::iter::from_fn(next)
            .map(|(i, (file, session_keys))| (i, Outcome { done: work.re_encrypt(&file.text, &file.found, &session_keys), file }))
            .collect::<Vec<_>>()
    };
    let failed = || Error::cryptography("re-encrypting failed", "run again, and report it if it stays");
    let shares = std::thread::scope(|scope| {
        let running: Vec<_> = (0..world.threads.get()).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|thread| thread.join().map_err(|_| failed())).collect::<Result<Vec<_>>>()
    })?;
    let mut outcomes: Vec<_> = shares.into_iter().flatten().collect();
    outcomes.sort_by_key(|(i, _)| *i);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

/// Writes what changed, each file whole: what was read is what is replaced.
pub(super) fn write(outcomes: &[Outcome], world: &mut World) -> Result<()> {
    let changed: Vec<(&SealedFile, &str)> =
        outcomes.iter().filter_map(|one| Some((&one.file, one.done.as_ref().ok()?.text.as_deref()?))).collect();
    for of_folder in changed.chunk_by(|(one, _), (other, _)| one.path.parent() == other.path.parent()) {
        let parent = parent(&of_folder[0].0.path);
        let gone = || Error::new(ErrorKind::Busy, "it was changed meanwhile", "run again");
        let folder = Folder::open(&*world.disk, parent)?.ok_or_else(|| gone().in_file(&parent.to_string_lossy()))?;
        let mut writer = Writer::new(&folder);
        for (file, text) in of_folder {
            let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if folder.read_file(name)? != file.text.as_bytes() {
                return Err(gone().in_file(&file.name()));
            }
            let mode = files::mode(&*world.disk, &file.path)?.unwrap_or(0o644);
            writer.write(name, text.as_bytes(), mode, Existing::Replace)?;
        }
        for name in writer.finish()? {
            world.terminal.warn(&format!("{name} had a second name (a hard link), which keeps the old content"));
        }
    }
    Ok(())
}
