//! The operator's places as values: each file is read once, and what it says goes on. A write to the keys folder needs its lock.

pub mod checkout;
#[cfg(feature = "cluster")]
pub mod controller;
mod copies;
pub mod escrow;
pub mod given;
pub mod keys;
pub mod out;
pub mod sealed_files;
#[cfg(feature = "cluster")]
pub mod snapshot;
mod tracked;
pub mod trust;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::manifest::{contract_file, text};
use crate::model::{Contract, Namespace, Places, Recipe, Result};
use crate::world::World;
use crate::world::disk::Disk;
use crate::world::folder::Folder;

#[derive(Clone)]
pub struct Named {
    /// The keys folder, or with a cluster its parent.
    pub keys: PathBuf,
    /// The output folder, or with a cluster its parent.
    pub out: PathBuf,
    /// The folder of the operator's copies, or with a cluster its parent.
    pub secrets: PathBuf,
    pub cluster: Option<Namespace>,
    /// The contract file; none = the built-in one.
    pub contract: Option<PathBuf>,
    pub platform: Option<PathBuf>,
    pub environment: Option<String>,
}

/// Everything that a run works on.
pub struct Workspace {
    pub places: Places,
    named: Named,
    keys: PathBuf,
    out: PathBuf,
    secrets: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Workspace {
    /// As the command line names it; nothing is opened yet.
    pub fn new(named: Named, disk: Arc<dyn Disk>) -> Self {
        let below = |folder: &Path| named.cluster.as_ref().map_or(folder.to_owned(), |cluster| folder.join(cluster.as_str()));
        let (keys, out, secrets) = (below(&named.keys), below(&named.out), below(&named.secrets));
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let folder = |path: &Path, default: &str| Some(text(path)).filter(|path| path != default);
        let flags = [
            ("--keys", folder(&named.keys, "keys")),
            ("--out", folder(&named.out, "out")),
            ("--secrets", folder(&named.secrets, "secrets")),
            ("--cluster", named.cluster.as_ref().map(ToString::to_string)),
            ("--contract", named.contract.as_deref().map(text)),
            ("--platform", named.platform.as_deref().map(text)),
            ("--environment", named.environment.clone()),
        ];
        let flags: Vec<(&str, &str)> = flags.iter().filter_map(|(flag, value)| Some((*flag, value.as_deref()?))).collect();
        let places = Places::new(&keys, &out, &secrets, named.contract.as_deref(), &flags);
        Workspace { places, keys, out, secrets, named, disk }
    }

    /// The same for one of several clusters.
    pub fn of(&self, cluster: &Namespace) -> Self {
        Self::new(Named { cluster: Some(cluster.clone()), ..self.named.clone() }, self.disk.clone())
    }

    /// The folders that several clusters have in common; none where this is not one of them.
    fn of_all(&self) -> Option<Self> {
        let named = || Named { cluster: None, ..self.named.clone() };
        self.named.cluster.is_some().then(|| Self::new(named(), self.disk.clone()))
    }

    /// A command of this tool that works on the same folders: `args` as they are typed behind `seal-secrets`.
    pub fn command(&self, args: &str) -> String {
        self.places.command(args)
    }

    /// The contract's text and what it says; a hash that takes long is warned of.
    pub fn contract(&self, world: &mut World) -> Result<(String, Contract)> {
        /// From here on a hash takes more than a second on a usual machine.
        const HIGH_COST: u32 = 13;
        let text = self.named.contract.as_deref().map_or(Ok(contract_file::EMBEDDED.to_owned()), |path| self.read_text(path))?;
        let contract = contract_file::read(&self.places.contract, &text)?;
        for key in &contract.keys {
            if let Recipe::Bcrypt { cost, .. } = key.recipe
                && cost > HIGH_COST
            {
                world.terminal.warn(&format!("`{}` has the bcrypt cost {cost}: each login will take seconds", key.name));
            }
        }
        Ok((text, contract))
    }

    fn read_text(&self, path: &Path) -> Result<String> {
        let name = path.to_string_lossy();
        let bytes = self.read_public(path)?;
        Ok(text::decode(&bytes).map_err(|error| error.in_file(&name))?.to_owned())
    }

    /// Opens a folder, or finds none; inside the checkout no link on the way is followed.
    fn open_folder(&self, path: &Path) -> Result<Option<Folder>> {
        match self.in_checkout(path)? {
            Some((root, way)) => Ok(root.beneath(&way)?.map(|folder| folder.named(path))),
            None => Folder::open(&*self.disk, path),
        }
    }

    /// The root of the checkout, and the way from there to a path inside; none where the path lies outside.
    fn in_checkout(&self, path: &Path) -> Result<Option<(Folder, PathBuf)>> {
        let root = self.named.platform.as_deref().map_or(Ok(None), |root| Folder::open_root(&*self.disk, root))?;
        let Some(root) = root else { return Ok(None) };
        Ok(root.way_to(&*self.disk, path)?.map(|way| (root, way)))
    }

    /// A folder of ours; that of one of several clusters may be the first below its root.
    fn create(&self, path: &Path, mode: u32) -> Result<Folder> {
        if let (Some(_), Some(root)) = (&self.named.cluster, path.parent().filter(|root| !root.as_os_str().is_empty())) {
            Folder::create(&*self.disk, root, mode)?;
        }
        Folder::create(&*self.disk, path, mode)
    }
}

/// A folder's path for a handle that opens it: the current folder has a name, too.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
