//! The operator's folders and files as values: each file is read once, and its content is passed on. A write to the keys folder needs its
//! lock.

pub mod checkout;
#[cfg(feature = "cluster")]
pub mod controller;
mod copies;
pub mod escrow;
mod git_setup;
pub mod given;
pub mod keys;
pub mod new_settings;
pub mod out;
pub mod repository;
pub mod sealed_files;
pub mod settings;
#[cfg(feature = "cluster")]
pub mod snapshot;
mod tracked;
pub mod trust;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::manifest::{contract_file, text};
use crate::model::{
    Contract, Controller, Error, Isolation, Live, Namespace, Places, Rbac, Recipe, Result, SETTINGS, Settings, StoreKind, visible,
};
use crate::world::disk::Disk;
use crate::world::folder::Folder;
use crate::world::{World, files};
use settings::{Found, Joined, Said};

/// The folders and settings on the command line.
#[derive(Clone, Default)]
pub struct Flags {
    pub settings: Option<PathBuf>,
    /// The keys folder, or with a cluster its parent.
    pub keys: Option<PathBuf>,
    /// The output folder, or with a cluster its parent.
    pub out: Option<PathBuf>,
    /// The folder of the operator's copies, or with a cluster its parent.
    pub secrets: Option<PathBuf>,
    pub cluster: Option<Namespace>,
    pub contract: Option<PathBuf>,
    pub platform: Option<PathBuf>,
    pub environment: Option<String>,
    /// The form of the store, from the flags that older versions had.
    pub store: StoreFlags,
    pub live: Live,
    /// The kubeconfig comes from the command line, not from the environment.
    pub is_kubeconfig_typed: bool,
}

/// The flags of older versions, one for each field of the settings' store.
#[derive(Clone, Default)]
pub struct StoreFlags {
    pub kind: Option<StoreKind>,
    pub isolation: Option<Isolation>,
    pub rbac: Option<Rbac>,
    pub file: Option<PathBuf>,
    pub project_id: Option<String>,
}

/// Everything that a run works on.
pub struct Workspace {
    pub places: Places,
    /// The settings from the file, or the defaults.
    pub settings: Settings,
    /// The sealed-secrets controller, in any cluster.
    pub controller: Controller,
    flags: Flags,
    found: Option<Found>,
    joined: Joined,
    keys: PathBuf,
    out: PathBuf,
    secrets: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Workspace {
    /// Joins command line and settings; only the settings have been opened yet.
    pub fn new(flags: Flags, found: Option<Found>, disk: Arc<dyn Disk>) -> Result<Self> {
        let mut settings = found.as_ref().map(|found| found.settings.clone()).unwrap_or_default();
        flags.store.put_into(&mut settings.store, found.as_ref())?;
        let joined = Joined::new(&flags, &settings, found.as_ref())?;
        let path = |said: &Said| said.value.clone().unwrap_or_default();
        let (keys, out, secrets) = (path(&joined.keys), path(&joined.out), path(&joined.secrets));
        // Each has its own lock.
        if keys.components().eq(out.components()) {
            let help = format!("name another folder: `--out DIR`, or `out` in `{SETTINGS}`");
            return Err(Error::usage("keys folder and output folder are the same", help).in_file(&out.to_string_lossy()));
        }
        let (contract, printed) = (joined.contract.value.as_deref(), joined.printed(&flags));
        let places = Places::new(&keys, &out, &secrets, contract, &printed).with_live(joined.live(&flags, &settings));
        let controller = Controller {
            namespace: flags.live.controller_namespace.clone().unwrap_or_else(|| settings.controller.namespace.clone()),
            name: flags.live.controller_name.clone().unwrap_or_else(|| settings.controller.name.clone()),
        };
        Ok(Workspace { places, settings, controller, flags, found, joined, keys, out, secrets, disk })
    }

    /// Checks that flags and settings about a checkout have one; `init` looks for it.
    pub fn check_needs_platform(&self) -> Result<()> {
        self.joined.check_needs_platform()
    }

    /// The same workspace for one of several clusters.
    pub fn of(&self, cluster: &Namespace) -> Result<Self> {
        Self::new(Flags { cluster: Some(cluster.clone()), ..self.flags.clone() }, self.found.clone(), self.disk.clone())
    }

    /// Reports which flags override the settings, and which belong in them.
    pub fn tell_flags(&self, world: &mut World) {
        if let Some((found, flags)) = self.found.as_ref().zip(self.joined.overriding()) {
            world.terminal.tell(&format!("{flags} ({})\n", visible(&found.file.to_string_lossy())));
        }
        if let Some(line) = self.flags.store.line() {
            let how = "and drop the flag; `seal-secrets init --help` says how it is made";
            world.terminal.warn(&format!("the form of the store belongs in {SETTINGS}: write `{line}` there, {how}"));
        }
    }

    /// The command that writes the flags of this run into settings, if there are flags and no settings.
    pub fn to_settle(&self) -> Option<String> {
        let flags = self.found.is_none() && self.flags.cluster.is_none() && self.joined.differing().next().is_some();
        flags.then(|| self.command("init"))
    }

    /// Anyone who can write to the repository can write the settings: they do not decide where the private key goes.
    pub fn check_namespace_named(&self) -> Result<()> {
        let own = self.settings.controller.own_namespace();
        let Some(namespace) = own.filter(|_| self.flags.live.controller_namespace.is_none()) else { return Ok(()) };
        let help = format!("if the controller runs in `{namespace}`, pass `--controller-namespace {namespace}`");
        Err(Error::usage("the private key is handed out, and settings cannot say to which namespace", help))
    }

    /// Every folder and file by its name, as an absolute path.
    pub fn whereabouts(&self) -> Result<Vec<(&'static str, String)>> {
        let path = |path: &Path| files::resolved(&*self.disk, path).map(|path| path.to_string_lossy().into_owned());
        let mut found = vec![("keys", path(&self.keys)?), ("out", path(&self.out)?), ("secrets", path(&self.secrets)?)];
        let (contract, platform) = (self.joined.contract.value.as_deref(), self.platform_root());
        for (name, there) in [("contract", contract), ("platform", platform), ("store", self.joined.store_file.as_deref())] {
            found.extend(there.map(path).transpose()?.map(|path| (name, path)));
        }
        let live = &self.flags.live;
        let context = live.context.clone().or_else(|| self.joined.context.clone());
        let named = [("environment", self.environment().map(str::to_owned)), ("context", context), ("kubeconfig", live.kubeconfig.clone())];
        found.extend(named.into_iter().filter_map(|(name, named)| Some((name, named?))));
        found.push(("isolation", self.settings.store.isolation.as_str().to_owned()));
        found.push(("controller", format!("{}/{}", self.controller.namespace, self.controller.name)));
        Ok(found)
    }

    /// The same places relative to the output folder, for the runbook in it.
    fn places_from_out(&self) -> Result<Places> {
        let mut flags = match &self.found {
            Some(found) => vec![("--settings", self.way_from_out(&found.file)?)],
            None => {
                let (keys, secrets) = (self.way_from_out(&self.keys)?, self.way_from_out(&self.secrets)?);
                vec![("--keys", keys), ("--out", ".".to_owned()), ("--secrets", secrets)]
            }
        };
        if self.found.is_some() {
            flags.extend(self.flags.cluster.as_ref().map(|cluster| ("--cluster", cluster.to_string())));
        }
        for (flag, value) in self.joined.differing() {
            match flag {
                "--environment" => flags.push((flag, value)),
                // Without settings they are already included; with a cluster, each flag names the folder above.
                "--keys" | "--out" | "--secrets" if self.found.is_none() => {}
                _ => flags.push((flag, self.way_from_out(Path::new(&value))?)),
            }
        }
        flags.extend(self.flags.store.printed());
        Ok(Places::new(Path::new(""), Path::new("."), Path::new(""), None, &flags))
    }

    fn way_from_out(&self, path: &Path) -> Result<String> {
        let way = files::way(&*self.disk, &self.out, path)?;
        Ok(if way.as_os_str().is_empty() { ".".to_owned() } else { way.to_string_lossy().into_owned() })
    }

    /// How to reach the cluster.
    #[cfg(feature = "cluster")]
    pub fn access(&self) -> crate::world::cluster::Access<'_> {
        let context = self.flags.live.context.as_deref().or(self.joined.context.as_deref());
        let kubeconfig = self.flags.live.kubeconfig.as_deref();
        crate::world::cluster::Access { kubeconfig, must_exist: self.flags.is_kubeconfig_typed, context }
    }

    /// The folder that several clusters share; none if this is not one of them.
    fn of_all(&self) -> Result<Option<Self>> {
        let flags = || Flags { cluster: None, ..self.flags.clone() };
        self.flags.cluster.as_ref().map(|_| Self::new(flags(), self.found.clone(), self.disk.clone())).transpose()
    }

    /// A command of this tool that works on the same folders; `args` follow `seal-secrets`.
    pub fn command(&self, args: &str) -> String {
        self.places.command(args)
    }

    /// The contract's text and its content; warns of a hash that takes long.
    pub fn contract(&self, world: &mut World) -> Result<(String, Contract)> {
        /// From this cost on, a hash takes more than a second on a usual machine.
        const HIGH_COST: u32 = 13;
        let text = self.joined.contract.value.as_deref().map_or(Ok(contract_file::EMBEDDED.to_owned()), |path| self.read_text(path))?;
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

    /// Opens a folder if it exists; inside the checkout no link is followed.
    fn open_folder(&self, path: &Path) -> Result<Option<Folder>> {
        match self.in_checkout(path)? {
            Some((root, way)) => Ok(root.beneath(&way)?.map(|folder| folder.named(path))),
            None => Folder::open(&*self.disk, path),
        }
    }

    /// The root of the checkout, and a path inside it; none if the path is outside.
    fn in_checkout(&self, path: &Path) -> Result<Option<(Folder, PathBuf)>> {
        let root = self.joined.platform.value.as_deref().map_or(Ok(None), |root| Folder::open_root(&*self.disk, root))?;
        let Some(root) = root else { return Ok(None) };
        Ok(root.way_to(&*self.disk, path)?.map(|way| (root, way)))
    }

    /// Creates a folder of ours; that of one of several clusters may be the first in its parent. For a folder that the settings name,
    /// missing parents are created too, since it is no typing mistake.
    fn create(&self, path: &Path, mode: u32) -> Result<Folder> {
        let Joined { keys, out, secrets, .. } = &self.joined;
        if self.found.is_some() && [keys, out, secrets].iter().any(|said| said.is_settled(path)) {
            return Folder::create_all(&*self.disk, path, mode);
        }
        if let (Some(_), Some(root)) = (&self.flags.cluster, path.parent().filter(|root| !root.as_os_str().is_empty())) {
            Folder::create(&*self.disk, root, mode)?;
        }
        Folder::create(&*self.disk, path, mode)
    }
}

/// A folder's parent as a path that can be opened: the current folder has a name, too.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
