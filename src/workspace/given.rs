//! What the operator passes to a command: files, standard input, values typed at the terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Workspace, tracked};
use crate::model::{Contract, Error, KeyName, MOST_PROVIDED_BYTES, Plan, Recipe, Result, SecretValue, Sorted};
use crate::pipeline::fit;
use crate::world::disk::Disk;
use crate::world::folder::Folder;
use crate::world::{World, files};

/// Keys, each with the file of its value; `-` is standard input, none is the terminal.
pub type Provide = [(KeyName, Option<PathBuf>)];

/// Whether a folder's name could be a secret value: a run of so many letters and digits is rarely a word.
fn may_be_secret(path: &Path) -> bool {
    const MOST: usize = 15;
    path.to_string_lossy().split(|c: char| !c.is_ascii_alphanumeric()).any(|run| run.len() > MOST)
}

/// An error without the path, if it was typed and does not exist: it may be a secret in the wrong place. The error names the flag instead.
pub fn without_typed(disk: &dyn Disk, error: Error, flag: Option<&str>, value_name: &str, path: &Path) -> Error {
    // The run creates these itself, and a printed command needs their names.
    let ours = matches!(flag, Some("--keys" | "--out" | "--secrets"));
    // What git tracks is no secret either.
    if ours && !may_be_secret(path) || matches!(tracked::restored(disk, path), Ok(Some(_))) {
        return error;
    }
    let kind = if value_name == "DIR" { "folder" } else { "file" };
    let name = flag.map_or_else(|| format!("`{value_name}`"), |flag| format!("the {kind} of `{flag}`"));
    let plain: PathBuf = path.components().collect();
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !files::exists(disk, path).unwrap_or(false);
    let parts = [path].into_iter().chain(plain.ancestors()).filter(missing);
    parts.fold(error, |error, part| error.without(&part.to_string_lossy(), flag.unwrap_or_default(), value_name, &name))
}

impl Workspace {
    pub fn read_public(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
        self.read_as(path, files::Kind::Public)
    }

    pub fn read_secret(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
        self.read_as(path, files::Kind::Secret)
    }

    fn read_as(&self, path: &Path, kind: files::Kind) -> Result<Zeroizing<Vec<u8>>> {
        let gone = |error: Error| match self.restored(path) {
            Ok(Some(help)) => Error::bad_input("no such file", help).in_file(&path.to_string_lossy()),
            _ => error,
        };
        files::read(&*self.disk, path, &path.to_string_lossy(), kind).map_err(gone)
    }

    /// A file's name and bytes; `-` is standard input.
    pub fn read_input(&self, path: &Path, secret: bool, world: &mut World) -> Result<(String, Zeroizing<Vec<u8>>)> {
        if path.as_os_str() == "-" {
            return Ok(("standard input".to_owned(), world.terminal.read_secret()?.into_bytes()));
        }
        let (name, kind) = (path.to_string_lossy().into_owned(), if secret { files::Kind::Secret } else { files::Kind::Input });
        let bytes = self.read_as(path, kind)?;
        Ok((name, bytes))
    }

    /// The values of a folder with one file for each key, and the name of each file.
    pub fn read_folder(&self, path: &Path, contract: &Contract) -> Result<Vec<(KeyName, SecretValue, String)>> {
        if !files::is_folder(&*self.disk, path)? {
            return Err(Error::bad_input("no such folder", "pass a folder with one file per key").in_file(&path.to_string_lossy()));
        }
        let mut found = Vec::new();
        for key in &contract.keys {
            let file = path.join(key.name.file_name());
            if files::exists(&*self.disk, &file)? {
                let value = SecretValue::new(self.read_secret(&file)?);
                found.push((key.name.clone(), value, file.to_string_lossy().into_owned()));
            }
        }
        Ok(found)
    }

    /// Refuses an input file that is also an output file.
    pub fn check_provided(&self, provide: &Provide, out: Option<&Folder>) -> Result<()> {
        let mut outputs = out.map_or(Ok(Vec::new()), Folder::identities)?;
        if let Some(secrets) = Folder::open(&*self.disk, &self.secrets)? {
            outputs.extend(secrets.identities()?);
        }
        for (name, file) in provide {
            let Some(file) = file else { continue };
            if files::identity(&*self.disk, file)?.is_some_and(|identity| outputs.contains(&identity)) {
                let help = "copy it to a folder of its own, with mode 0600";
                return Err(Error::refused(format!("the file of `--provide {name}` is one of those that this run may write"), help));
            }
        }
        Ok(())
    }

    /// The values that the plan seals, each judged before anything is written, unless it is accepted as it is.
    pub fn read_provided(
        &self,
        provide: &Provide,
        accepted: &[KeyName],
        contract: &Contract,
        plan: &Plan,
        world: &mut World,
    ) -> Result<BTreeMap<KeyName, SecretValue>> {
        let sealed: BTreeSet<&KeyName> = plan.sealed().sorted();
        let mut values = BTreeMap::new();
        let given = provide.iter().filter(|(name, _)| sealed.contains(name));
        for (key, file) in given.filter_map(|(name, file)| Some((contract.key(name.as_str())?, file))) {
            let (value, removed) = key.as_meant(self.read_value(&key.name, file.as_deref(), world)?);
            if removed {
                warn_of_line_feed(&key.name, world);
            }
            if !accepted.contains(&key.name) {
                fit::check(contract, key, &value)?;
            }
            values.insert(key.name.clone(), value);
        }
        Ok(values)
    }

    fn read_value(&self, name: &KeyName, file: Option<&Path>, world: &mut World) -> Result<SecretValue> {
        let value = match file {
            Some(file) if file.as_os_str() == "-" && !world.terminal.stdin_is_terminal => world.terminal.read_secret()?,
            // What follows the `=` may be the value itself, by mistake: it is not repeated.
            Some(file) if file.as_os_str() != "-" => {
                SecretValue::new(files::read(&*self.disk, file, &format!("the file of `--provide {name}`"), files::Kind::Secret)?)
            }
            _ => world.terminal.ask(&format!("{name}: "))?,
        };
        if value.len() > MOST_PROVIDED_BYTES {
            let help = "a Secret has to fit into an object of etcd; check the file";
            return Err(Error::bad_input(format!("the value of `{name}` is larger than {} KiB", MOST_PROVIDED_BYTES >> 10), help));
        }
        Ok(value)
    }
}

/// The keys of `--provide`; the contract has to have each as provided.
pub fn provided_names(contract: &Contract, provide: &Provide) -> Result<BTreeSet<KeyName>> {
    let mut names = BTreeSet::new();
    for (name, _) in provide {
        if !matches!(contract.known_key("--provide", name)?.recipe, Recipe::Provided { .. }) {
            let help = "drop `--provide`: its value is made here; one that is in use already is sealed by `seal-secrets import`";
            return Err(Error::usage(format!("`{name}` is generated, not provided"), help));
        }
        if !names.insert(name.clone()) {
            return Err(Error::usage(format!("`--provide {name}` is given twice"), "give it once"));
        }
    }
    let standard_input = provide.iter().filter(|(_, file)| file.as_deref() == Some(Path::new("-")));
    if standard_input.count() > 1 {
        return Err(Error::usage("standard input is asked for twice", "provide one of the two values from a file, or in a second run"));
    }
    Ok(names)
}

/// Warns that a value's final line feed was removed.
pub fn warn_of_line_feed(name: &KeyName, world: &mut World) {
    world.terminal.warn(&format!("removed the line feed at the end of `{name}`"));
}
