//! Files with SealedSecrets, a few at a time: however many there are, no more of them is in memory. `re-encrypt`, `renew`
//! and `status` go through them.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use zeroize::Zeroizing;

use crate::manifest::blobs::{self, Found};
use crate::manifest::text;
use crate::model::{Error, ErrorKind, Result};
use crate::pipeline::re_encrypt::{Done, Work};
use crate::pipeline::seal::SESSION_KEY;
use crate::world::folder::{Existing, Folder, Lock, Writer};
use crate::world::{World, files, tree};

/// How many files are in memory at once.
const AT_ONCE: usize = 64;

/// Which files, and the locks on their folders.
pub(super) struct SealedFiles {
    paths: Vec<PathBuf>,
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
    /// will write gets the locks, and removes what an interrupted run left.
    pub(super) fn find(named: &[PathBuf], writes: bool, world: &mut World) -> Result<Self> {
        let (mut paths, mut locks, mut locked) = (Vec::new(), Vec::new(), Vec::new());
        for path in named {
            let shown = path.to_string_lossy();
            let missing = || Error::bad_input("no such file or folder", "name one that is there").in_file(&shown);
            let metadata = path.symlink_metadata().map_err(|_| missing())?;
            if metadata.is_symlink() {
                let help = "name the file or folder itself";
                return Err(Error::refused("a link, and links are not followed here", help).in_file(&shown));
            }
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let root = if metadata.is_dir() { path } else { parent };
            let folder = Folder::open(root)?.ok_or_else(missing)?;
            if let Some(identity) = files::identity(root).filter(|identity| writes && !locked.contains(identity)) {
                locks.push(folder.lock()?);
                locked.push(identity);
            }
            if !metadata.is_dir() {
                paths.push(path.clone());
                continue;
            }
            let listing = tree::list_all(path, &[".yaml", ".yml", ".json"])?;
            for passed_over in listing.passed_over {
                world.terminal.warn(&format!("{} is a link or too large, and is passed over", path.join(passed_over).display()));
            }
            for leftover in listing.leftovers.iter().filter(|_| writes) {
                remove_leftover(&path.join(leftover))?;
            }
            paths.extend(listing.paths.into_iter().map(|one| path.join(one)));
        }
        // Twice is once: the second time would find nothing to do.
        paths.sort();
        paths.dedup();
        Ok(SealedFiles { paths, _locks: locks })
    }

    /// Reads each file that holds SealedSecrets, a few at a time; says what cannot be read.
    pub(super) fn each(&self, world: &mut World, mut visit: impl FnMut(Vec<Result<SealedFile>>, &mut World) -> Result<()>) -> Result<()> {
        for (i, paths) in self.paths.chunks(AT_ONCE).enumerate() {
            if self.paths.len() > AT_ONCE {
                world.terminal.progress(Some((i * AT_ONCE, self.paths.len())));
            }
            let read = paths.iter().filter_map(|path| read(path).map_err(|error| error.in_file(&path.to_string_lossy())).transpose());
            let read = read.collect();
            let visited = visit(read, world);
            world.terminal.progress(None);
            visited?;
        }
        Ok(())
    }
}

fn remove_leftover(path: &Path) -> Result<()> {
    if let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        && let Some(folder) = Folder::open(parent)?
    {
        folder.remove_leftover(name);
    }
    Ok(())
}

/// A file that holds SealedSecrets; none where it holds something else.
fn read(path: &Path) -> Result<Option<SealedFile>> {
    if path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0) {
        return Ok(None);
    }
    let bytes = files::read(path, &path.to_string_lossy(), files::Kind::Public)?;
    if memchr::memmem::find(&bytes, b"SealedSecret").is_none() {
        return Ok(None);
    }
    // What it begins with stays: a byte-order mark too.
    text::decode(&bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let found = blobs::find(&text)?;
    Ok((!found.is_empty()).then(|| SealedFile { path: path.to_owned(), text, found }))
}

/// Something that cannot be read or opened, while the others are done.
pub(super) fn stays(error: &Error) -> String {
    format!("stays: {}: {}\n  help: {}\n", error.place(), error.what(), error.help())
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
        let Some(parent) = of_folder[0].0.path.parent() else { continue };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let gone = || Error::new(ErrorKind::Busy, "it was changed meanwhile", "run again");
        let folder = Folder::open(parent)?.ok_or_else(|| gone().in_file(&parent.to_string_lossy()))?;
        let mut writer = Writer::new(&folder);
        for (file, text) in of_folder {
            let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if folder.read_file(name)? != file.text.as_bytes() {
                return Err(gone().in_file(&file.name()));
            }
            writer.write(name, text.as_bytes(), files::mode(&file.path).unwrap_or(0o644), Existing::Replace)?;
        }
        for name in writer.finish()? {
            world.terminal.warn(&format!("{name} had a second name (a hard link), which keeps the old content"));
        }
    }
    Ok(())
}
