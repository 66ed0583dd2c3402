//! A new settings file: where it belongs, which folders it sets, and how it is written.

use std::path::{Path, PathBuf};

use super::Workspace;
use super::keys::{CERTIFICATE, ESCROW, RECIPIENTS};
use crate::manifest::schema;
use crate::manifest::settings_file::{NewSettings, SCHEMAS};
use crate::model::{Contract, Error, Result, SETTINGS, quoted};
use crate::world::disk::{Kind, Links};
use crate::world::folder::{Existing, Folder, Writer};
use crate::world::{files, git};

/// Where a new settings file belongs.
pub struct Place {
    /// The root of the checkout: the file's paths never leave it.
    root: PathBuf,
    /// The path to it from the working directory.
    pub folder: PathBuf,
    /// The path to the platform's checkout from the working directory.
    pub platform: PathBuf,
}

impl Place {
    /// The path to the file from the working directory.
    pub fn file(&self) -> PathBuf {
        self.folder.join(SETTINGS)
    }
}

impl Workspace {
    /// The root of the checkout around the working directory, unless the platform is in another one.
    pub fn place_for_settings(&self) -> Result<Place> {
        if self.flags.settings.is_some() || self.flags.cluster.is_some() {
            let help = "start it in the checkout, or pass `--platform DIR`; clusters are added to the file by hand";
            return Err(Error::usage("`init` takes neither `--settings` nor `--cluster`", help));
        }
        let disk = &*self.disk;
        let root_of = |folder: &Path| git::root(disk, folder)?.map_or_else(|| files::resolved(disk, folder), Ok);
        let (here, named) = (Path::new("."), self.platform_root());
        let mut root = root_of(here)?;
        if let Some(platform) = named
            && !files::is_inside(disk, platform, &root)?
        {
            root = root_of(platform)?;
        }
        let folder = files::way(disk, here, &root)?;
        let own = || if folder.as_os_str().is_empty() { here.to_owned() } else { folder.clone() };
        let place = Place { platform: named.map_or_else(own, Path::to_owned), root, folder };
        if files::exists(disk, &place.file())? {
            let help = "edit it; or move it away, and run again";
            return Err(Error::refused("there are settings already", help).in_file(&place.file().to_string_lossy()));
        }
        Ok(place)
    }

    /// Sets the folders, from the command line or by default, as paths from the file's folder.
    pub fn name_folders(&self, place: &Place, contract: &Contract, has_platform: bool, settings: &mut NewSettings) -> Result<()> {
        let way = |flag: &str, path: &Path| self.way_from(place, flag, path);
        let platform = has_platform.then(|| way("--platform", &place.platform)).transpose()?;
        let sealed = platform.as_deref().map_or("out".to_owned(), |platform| join(platform, "sealed"));
        let usual = |name: &str, ours: &[&str]| self.usual(place, name, ours);
        let copies: Vec<String> = contract.keys.iter().map(|key| key.name.file_name()).collect();
        let copies: Vec<&str> = copies.iter().map(String::as_str).collect();
        let flags = &self.flags;
        settings.keys =
            flags.keys.as_deref().map_or_else(|| usual("keys", &[CERTIFICATE, ESCROW, RECIPIENTS]), |path| way("--keys", path))?;
        settings.out = flags.out.as_deref().map_or_else(|| usual(&sealed, &["secret-source"]), |path| way("--out", path))?;
        settings.secrets = flags.secrets.as_deref().map_or_else(|| usual("secrets", &copies), |path| way("--secrets", path))?;
        settings.contract = flags.contract.as_deref().map(|path| way("--contract", path)).transpose()?;
        settings.platform = platform;
        let store = &self.flags.store;
        // `file` is a path, given from the settings.
        settings.store.extend(store.said().map(|(_, field, value)| (field, value)).filter(|(field, _)| *field != "file"));
        let file = store.file.as_deref().map(|path| way("--store-file", path)).transpose()?;
        settings.store.extend(file.map(|file| ("file", file)));
        Ok(())
    }

    /// A folder's default name, unless a folder of that name belongs to someone else.
    fn usual(&self, place: &Place, name: &str, ours: &[&str]) -> Result<String> {
        let path = place.root.join(name);
        let is_other = files::stat(&*self.disk, &path, Links::Follow)?.is_some_and(|stat| stat.kind != Kind::Folder);
        let there = if is_other { None } else { Folder::open(&*self.disk, &path)? };
        let names = there.map_or(Ok(Vec::new()), |folder| folder.names())?;
        let neutral = |name: &String| name.starts_with('.') || name == "README.md";
        let is_ours = !is_other && (names.iter().all(neutral) || names.iter().any(|name| ours.contains(&name.as_str())));
        Ok(if is_ours { name.to_owned() } else { format!("seal-secrets/{}", name.rsplit('/').next().unwrap_or(name)) })
    }

    fn way_from(&self, place: &Place, flag: &str, path: &Path) -> Result<String> {
        let way = files::relative_to(&*self.disk, path, &place.root)?;
        let way = way.as_deref().and_then(Path::to_str).ok_or_else(|| {
            let help = "name what lies inside of it: settings never lead out of the checkout";
            Error::usage(format!("`{flag}` leads out of the checkout"), help).in_file(&place.file().to_string_lossy())
        })?;
        Ok(if way.is_empty() { ".".to_owned() } else { way.to_owned() })
    }

    /// Writes the settings, after the schemas that an editor looks for.
    pub fn write_settings(&self, place: &Place, text: &str) -> Result<()> {
        let missing = || Error::bad_input("no such folder", "make it first: `mkdir -p`").in_file(&place.root.to_string_lossy());
        let folder = Folder::open(&*self.disk, &place.root)?.ok_or_else(missing)?;
        let mut writer = Writer::new(&folder);
        for (name, schema) in [("settings", schema::settings()), ("contract", schema::contract())] {
            let file = format!("{SCHEMAS}/{name}.json");
            if folder.find_below(&file)?.is_none() {
                writer.write(&file, schema.as_bytes(), 0o644, Existing::Keep)?;
            }
        }
        writer.write(SETTINGS, text.as_bytes(), 0o644, Existing::Keep)?;
        writer.finish().map(|_| ())
    }

    /// The next commands after new settings.
    pub fn after_settings(&self, place: &Place, keys: &str) -> Result<String> {
        let cd = if place.is_above() { String::new() } else { format!("cd {} && ", quoted(&place.folder.to_string_lossy())) };
        let has_key = files::exists(&*self.disk, &place.root.join(keys).join(CERTIFICATE))?;
        let keygen = if has_key { "" } else { "seal-secrets keygen && " };
        Ok(format!("{cd}{keygen}seal-secrets bootstrap"))
    }
}

impl Place {
    /// Whether a command that is started in the same place finds the file.
    fn is_above(&self) -> bool {
        self.folder.components().all(|part| part == std::path::Component::ParentDir)
    }
}

/// A path inside a folder, as the settings write it.
pub fn join(folder: &str, name: &str) -> String {
    if folder == "." { name.to_owned() } else { format!("{folder}/{name}") }
}
