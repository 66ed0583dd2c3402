//! Files with SealedSecrets, ours and others', a few at a time, so that memory does not grow with their number.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::out::sync;
use super::{Workspace, parent};
use crate::manifest::blobs::{self, ForeignSealedSecret};
use crate::manifest::{gitops, text, yaml};
use crate::model::{Error, Hints, Result, Sorted, on_threads, visible};
use crate::pipeline::re_encrypt::{Done, Work};
use crate::pipeline::seal::{SessionKey, SessionKeys};
use crate::pipeline::tally::{Event, Tally};
use crate::world::disk::{Kind, Links};
use crate::world::folder::{Folder, Lock, Writer, changed_meanwhile, removed_meanwhile};
use crate::world::{World, files, tree};

const AT_ONCE: usize = 64;

/// The files, and the locks on their folders.
pub struct SealedFiles<'w> {
    workspace: &'w Workspace,
    paths: Vec<PathBuf>,
    /// How many links, and files larger than any manifest, were skipped.
    pub skipped: Cell<usize>,
    pub with_out: bool,
    /// The files that the operator listed themselves.
    named: BTreeSet<PathBuf>,
    hints: Hints,
    locked: Vec<(u64, u64)>,
    locks: Vec<Lock>,
}

/// A file that was read: its whole text, and its SealedSecrets.
pub struct SealedFile {
    path: PathBuf,
    pub text: String,
    pub found: Vec<ForeignSealedSecret>,
}

impl SealedFile {
    pub fn name(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

impl Workspace {
    /// These folders and files, or the output folder, for output.
    pub fn shown<'p>(&'p self, named: &'p [PathBuf]) -> String {
        let paths = if named.is_empty() { std::slice::from_ref(&self.out) } else { named };
        paths.iter().map(|path| visible(&path.to_string_lossy())).collect::<Vec<_>>().join(", ")
    }

    /// The manifests below these folders, or below the output folder, and these files whatever their names. Links are reported, and not
    /// followed. With `writes`, takes the locks, including the output folder's if it is among them, and removes what an interrupted run
    /// left.
    pub fn sealed_files(&self, named: &[PathBuf], hints: Hints, writes: bool, world: &mut World) -> Result<SealedFiles<'_>> {
        let paths = if named.is_empty() { std::slice::from_ref(&self.out) } else { named };
        let mut sealed = SealedFiles { hints, ..SealedFiles::none(self) };
        for path in paths {
            // Without a final slash, which would follow a link.
            sealed.add(&path.components().collect::<PathBuf>(), writes, world)?;
        }
        if paths.len() > 1 {
            sealed.drop_repeated()?;
        }
        let mut namespaces = self.namespaces_beside(&sealed.paths)?;
        sealed.hints.namespaces.append(&mut namespaces);
        if writes {
            let parents: BTreeSet<&Path> = sealed.paths.iter().map(|path| parent(path)).sorted();
            for parent in parents {
                self.open_folder(parent)?.map_or(Ok(()), |folder| folder.remove_leftovers_here())?;
            }
        }
        Ok(sealed)
    }

    /// The namespaces that kustomizations next to these files set.
    pub fn namespaces_beside(&self, paths: &[PathBuf]) -> Result<BTreeSet<String>> {
        let folders: BTreeSet<&Path> = by_folder(paths)
            .filter_map(|of_folder| of_folder.iter().find(|path| path.as_os_str() != "-"))
            .map(|path| parent(path))
            .sorted();
        let beside = folders.into_iter().flat_map(|folder| gitops::KUSTOMIZATIONS.map(|name| (folder.join(name), name)));
        let mut namespaces = BTreeSet::new();
        for (path, name) in beside {
            let is_file = files::stat(&*self.disk, &path, Links::Keep)?.is_some_and(|stat| stat.kind == Kind::File);
            let Some(bytes) = is_file.then(|| self.folder_around(&path)?.read_foreign(name)).transpose()?.flatten() else { continue };
            let documents = text::decode(&bytes).and_then(yaml::read_foreign).unwrap_or_default();
            namespaces.extend(gitops::kustomization(&documents).and_then(|found| found.namespace));
        }
        Ok(namespaces)
    }

    /// Any file that may hold SealedSecrets, unchanged.
    pub fn read_as_it_is(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
        let missing = || Error::bad_input("no such file", "pass one that exists").in_file(&path.to_string_lossy());
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(missing)?;
        self.folder_around(path)?.read_foreign(name)?.ok_or_else(missing)
    }

    /// The folder of a file; inside the checkout no link is followed.
    fn folder_around(&self, path: &Path) -> Result<Folder> {
        let folder = match self.in_checkout(parent(path))? {
            Some((root, way)) => root.beneath(&way)?,
            None => Folder::open_root(&*self.disk, parent(path))?,
        };
        Ok(folder.ok_or_else(removed_meanwhile)?.named(path.parent().unwrap_or(path)))
    }

    /// The files of the keys' own output folder; none if it does not exist.
    pub fn sealed_files_of_out(&self, writes: bool, world: &mut World) -> Result<SealedFiles<'_>> {
        self.check_folder()?;
        match files::exists(&*self.disk, &self.out)? {
            true => self.sealed_files(&[], Hints::default(), writes, world),
            false => Ok(SealedFiles::none(self)),
        }
    }
}

impl<'w> SealedFiles<'w> {
    fn none(workspace: &'w Workspace) -> Self {
        SealedFiles {
            workspace,
            paths: Vec::new(),
            skipped: Cell::new(0),
            with_out: false,
            named: BTreeSet::new(),
            hints: Hints::default(),
            locked: Vec::new(),
            locks: Vec::new(),
        }
    }

    fn add(&mut self, path: &Path, writes: bool, world: &mut World) -> Result<()> {
        let (shown, workspace) = (path.to_string_lossy(), self.workspace);
        let disk = &*workspace.disk;
        let missing = || Error::bad_input("no such file or folder", "pass one that exists").in_file(&shown);
        let kind = files::stat(disk, path, Links::Keep)?.ok_or_else(missing)?.kind;
        if kind == Kind::Link {
            return Err(Error::refused("a link, and links are not followed here", "pass the file or folder itself").in_file(&shown));
        }
        let root = if kind == Kind::Folder { path } else { parent(path) };
        let covered = files::relative_to(disk, &workspace.out, path)?.is_some();
        self.with_out |= covered;
        if writes {
            self.lock(root)?;
            let inside = files::relative_to(disk, &workspace.out, root)?.or(files::relative_to(disk, root, &workspace.out)?);
            if inside.is_some() && files::exists(disk, &workspace.out)? {
                self.lock(&workspace.out)?;
            }
        }
        if kind != Kind::Folder {
            self.named.insert(path.to_owned());
            self.paths.push(path.to_owned());
            return Ok(());
        }
        let folder = workspace.open_folder(path)?.ok_or_else(missing)?;
        let listing = tree::list_all(&folder, world.threads)?;
        let excluded = workspace.excluded_below(path)?;
        self.paths.extend(listing.paths.into_iter().filter(|one| !excluded(one)).map(|one| path.join(one)));
        for skipped in listing.passed_over.into_iter().filter(|one| !excluded(one)) {
            self.skip(&path.join(skipped), world);
        }
        Ok(())
    }

    fn skip(&self, path: &Path, world: &mut World) {
        self.skipped.set(self.skipped.get() + 1);
        world.terminal.warn(&format!("{} is a link or too large, and is skipped", path.display()));
    }

    /// Drops repeated paths, in any spelling: the second time there would be nothing to do.
    fn drop_repeated(&mut self) -> Result<()> {
        let mut once = BTreeMap::new();
        for path in std::mem::take(&mut self.paths) {
            once.entry(files::canonical(&*self.workspace.disk, &path)?.unwrap_or_else(|| path.clone())).or_insert(path);
        }
        self.paths = once.into_values().collect();
        Ok(())
    }

    fn lock(&mut self, folder: &Path) -> Result<()> {
        let gone = || Error::bad_input("no such folder", "pass one that exists").in_file(&folder.to_string_lossy());
        if let Some(identity) = files::identity(&*self.workspace.disk, folder)?.filter(|identity| !self.locked.contains(identity)) {
            self.locks.push(self.workspace.open_folder(folder)?.ok_or_else(gone)?.lock()?);
            self.locked.push(identity);
        }
        Ok(())
    }

    /// Re-encrypts, a few files at a time, and reports each. If `each` stops early, what it did is written.
    pub fn handle(
        &self,
        tally: &mut Tally,
        world: &mut World,
        tell: &mut dyn FnMut(Event, &mut World) -> Result<()>,
        each: &mut Each<'_>,
    ) -> Result<()> {
        self.each(world, |read, world| {
            let (readable, errors): (Vec<_>, Vec<_>) = read.into_iter().partition(Result::is_ok);
            let (handled, ended) = each(readable.into_iter().flatten().collect(), world);
            self.write(&handled, world)?;
            let mut tell = |event: Event| tell(event, world);
            errors.into_iter().filter_map(Result::err).try_for_each(|error| tally.fail(error, &mut tell))?;
            handled.into_iter().try_for_each(|Handled { file, done }| tally.count(&file.name(), done, &mut tell))?;
            ended
        })
    }

    /// Writes what changed, each as a whole file, if the file is still as it was read.
    fn write(&self, handled: &[Handled], world: &mut World) -> Result<()> {
        let changed: Vec<(&SealedFile, &str)> =
            handled.iter().filter_map(|one| Some((&one.file, one.done.as_ref().ok()?.text.as_deref()?))).collect();
        for of_folder in changed.chunk_by(|(one, _), (other, _)| one.path.parent() == other.path.parent()) {
            let parent = parent(&of_folder[0].0.path);
            let folder = self.workspace.open_folder(parent)?.ok_or_else(|| changed_meanwhile().in_file(&parent.to_string_lossy()))?;
            let mut writer = Writer::new(&folder);
            for (file, text) in of_folder {
                let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                writer.replace(name, text.as_bytes(), Some(file.text.as_bytes()))?;
            }
            sync(writer, world)?;
        }
        Ok(())
    }

    /// Reads each file that holds SealedSecrets, a few at a time; reports those that cannot be read.
    pub fn each(&self, world: &mut World, mut visit: impl FnMut(Vec<Result<SealedFile>>, &mut World) -> Result<()>) -> Result<()> {
        for (i, paths) in self.paths.chunks(AT_ONCE).enumerate() {
            if self.paths.len() > AT_ONCE {
                world.terminal.progress(&format!("{} of {} files", i * AT_ONCE, self.paths.len()));
            }
            let read = by_folder(paths).flat_map(|of_folder| self.read(of_folder, world)).collect();
            visit(read, world)?;
        }
        world.terminal.progress_ends();
        Ok(())
    }

    /// Reads the files of one folder that hold SealedSecrets, and reports those that cannot be read.
    fn read(&self, paths: &[PathBuf], world: &mut World) -> Vec<Result<SealedFile>> {
        let (folder, mut bytes) = (self.workspace.folder_around(&paths[0]), Zeroizing::default());
        let mut read = |path: &PathBuf| {
            let (folder, named) = (folder.as_ref().map_err(Error::clone)?, self.named.contains(path));
            let name = Path::new(path.file_name().unwrap_or_default());
            match folder.read_foreign_into(name, &mut bytes) {
                Ok(true) => sealed_file(path, &bytes, named, &self.hints),
                Ok(false) => Err(removed_meanwhile()),
                Err(_) if !named && tree::is_too_large(folder, name)? => {
                    if name.to_str().is_some_and(tree::is_manifest) {
                        self.skip(path, world);
                    }
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        };
        let read = |path| read(path).map_err(|error| error.in_file(&path.to_string_lossy())).transpose();
        paths.iter().filter_map(read).collect()
    }
}

/// Groups consecutive paths of one folder.
fn by_folder(paths: &[PathBuf]) -> impl Iterator<Item = &[PathBuf]> {
    // By bytes: `Path::parent` parses each path.
    fn folder(path: &Path) -> Option<&[u8]> {
        path.as_os_str().as_bytes().rsplitn(2, |&byte| byte == b'/').nth(1)
    }
    paths.chunk_by(|one, other| folder(one) == folder(other))
}

/// A file that holds sealed values; none if it does not.
fn sealed_file(path: &Path, bytes: &[u8], named: bool, hints: &Hints) -> Result<Option<SealedFile>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let may_hold = match text::is_utf_16(bytes) {
        // A NUL is next to each character.
        true => blobs::may_hold(&bytes.iter().copied().filter(|byte| *byte != 0).collect::<Vec<_>>()),
        false if tree::is_manifest(name) || named => blobs::may_hold(bytes),
        // Other files of a folder, such as a program, may mention SealedSecrets without holding one.
        false => blobs::holds(bytes),
    };
    if !may_hold {
        return Ok(None);
    }
    // Its beginning is kept: a byte order mark too.
    text::decode_or(bytes, &text::one_side(&path.to_string_lossy()))?;
    let text = String::from_utf8_lossy(bytes).into_owned();
    let found = blobs::find(&text, hints);
    Ok((!found.is_empty()).then(|| SealedFile { path: path.to_owned(), text, found }))
}

/// A file and its result.
pub struct Handled {
    pub file: SealedFile,
    /// Its new text, or why it is unchanged.
    pub done: Result<Done>,
}

/// Re-encrypts some files: their results, and why it stopped before the rest.
pub type Each<'e> = dyn FnMut(Vec<SealedFile>, &mut World) -> (Vec<Handled>, Result<()>) + 'e;

/// Re-encrypts some files with local keys; nothing is written yet.
pub fn with_keys(files: Vec<SealedFile>, work: &Work<'_>, session_keys: &mut SessionKeys, world: &mut World) -> (Vec<Handled>, Result<()>) {
    match in_parallel(files, work, session_keys, world) {
        Ok(handled) => (handled, Ok(())),
        Err(error) => (Vec::new(), Err(error)),
    }
}

fn in_parallel(files: Vec<SealedFile>, work: &Work<'_>, session_keys: &mut SessionKeys, world: &mut World) -> Result<Vec<Handled>> {
    let mut jobs = Vec::with_capacity(files.len());
    for file in files {
        let keys = session_keys.draw(work.needs(&file.found), world.entropy.as_mut())?;
        jobs.push((file, keys));
    }
    let handle = |(file, keys): (SealedFile, Vec<SessionKey>)| Handled { done: work.re_encrypt(&file.text, &file.found, keys), file };
    on_threads(jobs, world.threads, handle)
}
