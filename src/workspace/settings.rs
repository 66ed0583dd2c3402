//! The settings file: searched from the working directory upwards to the root of the git checkout, and joined with the command line.

use std::path::{Component, Path, PathBuf};

use super::{Flags, StoreFlags, tracked};
use crate::manifest::{settings_file, text};
use crate::model::{
    ClusterSettings, Error, ErrorKind, Live, LiveFlags, Name, Namespace, Result, SETTINGS, Settings, Store, Way, meant, quoted, visible,
};
use crate::world::disk::{Disk, Kind, Links};
use crate::world::{files, git};

/// A settings file, and the path to its folder from the working directory.
#[derive(Clone)]
pub struct Found {
    /// As the operator writes it.
    pub file: PathBuf,
    pub folder: PathBuf,
    pub settings: Settings,
}

/// The settings that apply: those of `named`, or the nearest. A file in a repository is read only if the operator owns it, as git does,
/// because the folders that it names are written to.
pub fn find(disk: &dyn Disk, named: Option<&Path>) -> Result<Option<Found>> {
    let (file, kind) = match named {
        Some(file) => (file.to_owned(), files::Kind::Public),
        None => match nearest(disk)? {
            Some(file) if files::exists(disk, &file)? => (file, files::Kind::Own),
            Some(file) => return Err(deleted(disk, &file)?),
            None => return Ok(None),
        },
    };
    let shown = file.to_string_lossy();
    let read = || {
        if kind == files::Kind::Own && files::stat(disk, &file, Links::Keep)?.is_some_and(|stat| stat.kind == Kind::Link) {
            return Err(Error::refused("a link, and links are not followed here", "replace it by the file that it leads to"));
        }
        let bytes = files::read(disk, &file, &shown, kind).map_err(|error| match kind {
            files::Kind::Own => owned_by_another(error, &shown),
            _ => error,
        })?;
        settings_file::read(text::decode(&bytes)?)
    };
    let settings = read().map_err(|error| error.in_file(&shown))?;
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    check_ways(disk, &folder, &settings).map_err(|error| error.in_file(&shown))?;
    Ok(Some(Found { folder, settings, file }))
}

fn owned_by_another(error: Error, file: &str) -> Error {
    if error.kind != ErrorKind::Refused {
        return error;
    }
    Error::refused(error.what(), format!("read it, and make it your own; or pass it as it is: `--settings {}`", quoted(file)))
        .why("what another user wrote there would decide what you write, and where")
}

/// Searches from the working directory upwards to the root of its repository; outside of one, only the working directory.
fn nearest(disk: &dyn Disk) -> Result<Option<PathBuf>> {
    let here = files::resolved(disk, Path::new("."))?;
    let levels = git::root(disk, Path::new("."))?.map_or(0, |root| here.strip_prefix(root).map_or(0, |below| below.components().count()));
    let file = |level| std::iter::repeat_n(Component::ParentDir, level).collect::<PathBuf>().join(SETTINGS);
    for level in 0..=levels {
        if files::exists(disk, &file(level))? {
            return Ok(Some(file(level)));
        }
    }
    // A tracked one was deleted: the defaults would use other folders.
    for level in 0..=levels {
        if tracked::restored(disk, &file(level))?.is_some() {
            return Ok(Some(file(level)));
        }
    }
    Ok(None)
}

fn deleted(disk: &dyn Disk, file: &Path) -> Result<Error> {
    let shown = file.to_string_lossy();
    let help = tracked::restored(disk, file)?.unwrap_or_default();
    let help = format!("{help}; if it was removed on purpose, `git rm --cached {}`", quoted(&shown));
    Ok(Error::bad_input("no such file", help).in_file(&shown))
}

/// Anyone who can write to the repository can write this file: no path in it leaves the checkout, and secrets are not mixed with what is
/// committed.
fn check_ways(disk: &dyn Disk, folder: &Path, settings: &Settings) -> Result<()> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let root = git::root(disk, here)?.map_or_else(|| files::resolved(disk, here), Ok)?;
    for (field, way) in settings.ways() {
        if way.path.components().any(|part| part.as_os_str() == ".git") {
            let help = "name a folder of the working tree";
            return Err(Error::refused(format!("`{field}` leads into git's own folder, which is never committed"), help).at(way.position));
        }
        if !files::is_inside(disk, &folder.join(&way.path), &root)? {
            let help = "name a folder inside; only a flag may lead out of the checkout";
            return Err(Error::refused(format!("`{field}` leads out of the checkout"), help).at(way.position));
        }
    }
    Ok(())
}

/// Something that both the command line and the settings can set.
#[derive(Clone)]
pub(super) struct Said {
    option: &'static str,
    flag: Option<PathBuf>,
    /// What applies without the flag.
    own: Option<PathBuf>,
    pub(super) value: Option<PathBuf>,
}

impl Said {
    fn new(option: &'static str, flag: Option<&PathBuf>, own: Option<PathBuf>) -> Self {
        Said { option, flag: flag.cloned(), value: flag.cloned().or_else(|| own.clone()), own }
    }

    /// Whether this path is what the settings, or the defaults, say.
    pub(super) fn is_settled(&self, path: &Path) -> bool {
        self.flag.is_none() && self.own.as_deref() == Some(path)
    }

    /// The flag, if it differs.
    fn differs(&self) -> Option<(&'static str, String)> {
        let flag = self.flag.as_ref().filter(|_| self.value != self.own)?;
        Some((self.option, flag.to_string_lossy().into_owned()))
    }
}

/// The command line joined with the settings.
#[derive(Clone)]
pub(super) struct Joined {
    pub(super) keys: Said,
    pub(super) out: Said,
    pub(super) secrets: Said,
    pub(super) contract: Said,
    pub(super) platform: Said,
    pub(super) environment: Said,
    pub(super) context: Option<String>,
    pub(super) store_file: Option<PathBuf>,
}

impl Joined {
    pub(super) fn new(flags: &Flags, settings: &Settings, found: Option<&Found>) -> Result<Self> {
        let (usual, folder) = (ClusterSettings::default(), found.map_or(Path::new(""), |found| &found.folder));
        let cluster = match &flags.cluster {
            Some(name) if !settings.clusters.is_empty() => {
                settings.clusters.get(name).ok_or_else(|| unknown_cluster(name, found, settings))?
            }
            _ => &usual,
        };
        let path =
            |way: &Way| if way.path == Path::new(".") && folder != Path::new("") { folder.to_owned() } else { folder.join(&way.path) };
        let own = |way: &Option<Way>| way.as_ref().map(path);
        // With a cluster, each has its own subfolder.
        let below = |folder: PathBuf| flags.cluster.as_ref().map_or(folder.clone(), |cluster| folder.join(cluster.as_str()));
        let ours = |option, name: &str, flag: &Option<PathBuf>, set: &Option<Way>, of_cluster: &Option<Way>| {
            let usual = || below(own(set).unwrap_or_else(|| folder.join(name)));
            let said = Said::new(option, flag.as_ref(), Some(own(of_cluster).unwrap_or_else(usual)));
            Said { value: flag.clone().map(below).or(said.value), ..said }
        };
        let environment = cluster.environment.as_ref().or(settings.environment.as_ref()).map(PathBuf::from);
        Ok(Joined {
            keys: ours("--keys", "keys", &flags.keys, &settings.keys, &cluster.keys),
            out: ours("--out", "out", &flags.out, &settings.out, &cluster.out),
            secrets: ours("--secrets", "secrets", &flags.secrets, &settings.secrets, &cluster.secrets),
            contract: Said::new("--contract", flags.contract.as_ref(), own(&settings.contract)),
            platform: Said::new("--platform", flags.platform.as_ref(), own(&settings.platform)),
            environment: Said::new("--environment", flags.environment.as_ref().map(PathBuf::from).as_ref(), environment),
            context: cluster.context.as_ref().or(settings.context.as_ref()).cloned(),
            store_file: flags.store.file.clone().or_else(|| own(&settings.store.file)),
        })
    }

    /// Flags and settings about a checkout mean nothing without one.
    pub(super) fn check_needs_platform(&self) -> Result<()> {
        if self.environment.value.is_none() || self.platform.value.is_some() {
            return Ok(());
        }
        let help = "pass its checkout with `--platform DIR`";
        Err(Error::usage("`--environment` says something of a platform that is not named", help))
    }

    fn said(&self) -> [&Said; 6] {
        [&self.keys, &self.out, &self.secrets, &self.contract, &self.platform, &self.environment]
    }

    /// The flags of a command that works on the same folders, without those that the settings already say.
    pub(super) fn printed(&self, flags: &Flags) -> Vec<(&'static str, String)> {
        let settings = flags.settings.as_ref().map(|file| ("--settings", file.to_string_lossy().into_owned()));
        let cluster = flags.cluster.as_ref().map(|cluster| ("--cluster", cluster.to_string()));
        settings.into_iter().chain(cluster).chain(self.differing()).chain(flags.store.printed()).collect()
    }

    /// The flags that reach the same cluster.
    pub(super) fn live(&self, flags: &Flags, settings: &Settings) -> LiveFlags {
        let Live { kubeconfig, context, controller_namespace, controller_name } = &flags.live;
        let flag = |flag: &str, value: Option<&str>| value.map_or(String::new(), |value| format!(" {flag} {}", quoted(value)));
        let file = flag("--kubeconfig", kubeconfig.as_deref().filter(|_| flags.is_kubeconfig_typed));
        // A command that hands out the private key gets its namespace explicitly.
        let named_namespace = controller_namespace.as_ref().or_else(|| settings.controller.own_namespace());
        let is_reached = self.context.is_some() || kubeconfig.is_some();
        let placeholder = |needed: bool| flag("--context", context.as_deref().or(needed.then_some("NAME")));
        LiveFlags {
            access: file.clone() + &placeholder(!is_reached),
            named_access: file + &placeholder(true),
            named_namespace: flag("--controller-namespace", named_namespace.map(Namespace::as_str)),
            controller_namespace: flag("--controller-namespace", controller_namespace.as_ref().map(Namespace::as_str)),
            controller_name: flag("--controller-name", controller_name.as_ref().map(Name::as_str)),
        }
    }

    /// Which flag overrides the settings.
    pub(super) fn overriding(&self) -> Option<String> {
        let said = self.said().into_iter().filter_map(|said| Some((said.differs()?, said.own.as_ref()?)));
        let shown = said.map(|((flag, value), own)| format!("`{flag} {}` overrides `{}`", quoted(&value), visible(&own.to_string_lossy())));
        Some(shown.collect::<Vec<_>>().join(", ")).filter(|shown| !shown.is_empty())
    }

    /// The flags that differ from what applies without them.
    pub(super) fn differing(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.said().into_iter().filter_map(Said::differs)
    }
}

impl StoreFlags {
    /// Each flag, the corresponding field of the settings, and its value.
    pub(super) fn said(&self) -> impl Iterator<Item = (&'static str, &'static str, String)> {
        let StoreFlags { kind, isolation, rbac, file, project_id } = self;
        let said = [
            ("--store-kind", "kind", kind.map(|kind| kind.as_str().to_owned())),
            ("--isolation", "isolation", isolation.map(|isolation| isolation.as_str().to_owned())),
            ("--rbac", "rbac", rbac.map(|rbac| rbac.as_str().to_owned())),
            ("--store-file", "file", file.as_ref().map(|file| file.to_string_lossy().into_owned())),
            ("--project-id", "project-id", project_id.clone()),
        ];
        said.into_iter().filter_map(|(flag, field, value)| Some((flag, field, value?)))
    }

    pub(super) fn printed(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.said().map(|(flag, _, value)| (flag, value))
    }

    /// The line for the settings instead; none if there is no such flag. What may be a secret typed by mistake is not repeated.
    pub(super) fn line(&self) -> Option<String> {
        let value = |field: &str, value: String| match field {
            "file" => "FILE".to_owned(),
            "project-id" => "ID".to_owned(),
            _ => value,
        };
        let fields: Vec<String> = self.said().map(|(_, field, said)| format!("{field}: {}", value(field, said))).collect();
        (!fields.is_empty()).then(|| format!("store: {{ {} }}", fields.join(", ")))
    }

    /// If there are settings, they alone decide the form of the store: a flag that is forgotten once would change it.
    pub(super) fn put_into(&self, store: &mut Store, found: Option<&Found>) -> Result<()> {
        if let Some((found, (flag, ..))) = found.zip(self.said().next()) {
            let help =
                format!("write `{}` into {}, and drop the flag", self.line().unwrap_or_default(), visible(&found.file.to_string_lossy()));
            return Err(Error::usage(format!("`{flag}` is said by the settings only"), help));
        }
        store.kind = self.kind.or(store.kind);
        store.isolation = self.isolation.unwrap_or(store.isolation);
        store.rbac = self.rbac.unwrap_or(store.rbac);
        store.project_id = self.project_id.clone().or(store.project_id.take());
        Ok(())
    }
}

fn unknown_cluster(name: &Namespace, found: Option<&Found>, settings: &Settings) -> Error {
    let known: Vec<&str> = settings.clusters.keys().map(Namespace::as_str).collect();
    let otherwise = format!("pass one of `{}`, or add `{name}:` to `clusters`", known.join("`, `"));
    let help = meant(name.as_str(), known.iter().copied(), &otherwise);
    let file = found.map_or(String::new(), |found| found.file.to_string_lossy().into_owned());
    Error::usage(format!("`--cluster {name}` is none of the clusters of the settings"), help).in_file(&file)
}
