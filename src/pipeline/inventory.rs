//! The existing files of `out/`, and which of them hold sealed units.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::remembered::Remembered;
use super::render::{RUNBOOK, is_derived};
use crate::manifest::sealed_secret::{self, Encrypted, SealedSecret};
use crate::manifest::text;
use crate::model::{CertificateDigest, Code, Contract, Error, Key, KeyName, Name, Result, Sorted, Unit, quoted};

/// The folder of the sealed units.
pub const SOURCE: &str = "secret-source/";
const SEALED: &str = ".sealed.yaml";

/// The files below `out/`, by their path relative to it, with `/`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// `out/` as read.
#[derive(Default)]
pub struct Inventory {
    pub sealed: BTreeMap<String, Vec<SealedSecret>>,
    /// The sealed files' bytes.
    pub texts: Files,
    /// Which of these files holds each name.
    homes: HashMap<String, String>,
    /// Every other file.
    pub others: Files,
    /// Faults of sealed files: those that cannot be read, and names that occur in two files.
    pub faults: Vec<Fault>,
    /// The units that the keys folder remembers.
    pub remembered: Remembered,
    /// Sealed files that git tracks and that no longer exist.
    pub tracked: BTreeSet<String>,
}

/// A fault of a sealed file; its error gives the file's path below `out/`.
pub struct Fault {
    pub code: Code,
    pub path: String,
    pub error: Error,
}

impl Inventory {
    /// Parses the files as far as they can be read.
    pub fn new(files: Files, remembered: Remembered) -> Self {
        let (sealed, others): (Files, Files) = files.into_iter().partition(|(path, _)| is_sealed(path));
        let mut inventory = Inventory { others, remembered, ..Inventory::default() };
        for (path, bytes) in sealed {
            let help = text::one_side(&Path::new(&inventory.remembered.out).join(&path).to_string_lossy());
            match text::decode_or(&bytes, &help).and_then(sealed_secret::read) {
                Ok(secrets) => inventory.add(path, bytes, secrets),
                Err(error) => inventory.fault(Code::Unreadable, &path, error),
            }
        }
        inventory
    }

    /// The inventory, if it has no fault: if a sealed file cannot be read, we do not know what it holds.
    pub fn sound(mut self) -> Result<Self> {
        if self.faults.is_empty() { Ok(self) } else { Err(self.faults.remove(0).error) }
    }

    fn add(&mut self, path: String, text: Vec<u8>, secrets: Vec<SealedSecret>) {
        for secret in &secrets {
            if let Some(first) = self.homes.insert(secret.name.to_string(), path.clone()) {
                let error = Error::refused(
                    format!("`{}` is sealed in this file, and in {first} too", secret.name),
                    "keep the one that `git log` shows, and remove the other",
                );
                self.fault(Code::Misplaced, &path, error.at(secret.position));
            }
        }
        self.texts.insert(path.clone(), text);
        self.sealed.insert(path, secrets);
    }

    fn fault(&mut self, code: Code, path: &str, error: Error) {
        self.faults.push(Fault { code, path: path.to_owned(), error: error.in_file(path) });
    }

    /// The sealed files that cannot be read.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.faults.iter().filter(|fault| fault.code == Code::Unreadable).map(|fault| fault.path.as_str())
    }

    /// Every sealed file, readable or not.
    pub fn sealed_files(&self) -> BTreeSet<String> {
        self.sealed.keys().map(String::as_str).chain(self.unreadable()).map(str::to_owned).sorted()
    }

    /// Whether it knows no unit, sealed or gone.
    pub fn knows_nothing(&self) -> bool {
        self.sealed.is_empty() && self.ever_sealed().is_empty()
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.others.is_empty() && self.faults.is_empty()
    }

    /// The files of all units that ever existed: those in the list of resources, which is written after the units, and those that the keys
    /// folder remembers. A damaged list still tells the rest.
    pub fn ever_sealed(&self) -> BTreeSet<String> {
        let list = self.others.get(RESOURCES).map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
        let file_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let listed = list.split(|c| !file_name(c)).filter(|word| word.ends_with(SEALED)).map(|name| format!("{SOURCE}{name}"));
        listed.chain(self.remembered.units.keys().map(file_of)).chain(self.tracked.iter().cloned()).sorted()
    }

    /// The subfolders that hold another set, such as another cluster's.
    pub fn other_sets(&self) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        for (path, bytes) in &self.others {
            let end = path.find(&format!("/{SOURCE}")).or_else(|| Some(path.strip_suffix(RUNBOOK)?.strip_suffix('/')?.len()));
            found.extend(end.filter(|end| is_sealed(&path[end + 1..]) || is_derived(bytes)).map(|end| &path[..end]));
        }
        found
    }

    /// Refuses an output folder other than the one that the keys folder knows.
    pub fn check_folder(&self) -> Result<()> {
        let holds = self.remembered.units.keys().any(|name| self.sealed.contains_key(&file_of(name)));
        self.remembered.check_folder(!self.sealed.is_empty(), holds)
    }

    /// Why sealed units whose files are gone are not generated again, and what to do.
    pub fn gone(&self, units: &[Unit<'_>]) -> Error {
        const SHOWN: usize = 5;
        let names: Vec<String> = units.iter().map(|unit| format!("`{}`", unit.name)).collect();
        let what = match (units, names.len().saturating_sub(SHOWN)) {
            ([unit], _) if unit.write_once() => format!("{} is write-once, was sealed before, and its file is gone", names[0]),
            ([_], _) => format!("{} was sealed before, and its file is gone", names[0]),
            (_, 0) => format!("{} were sealed before, and their files are gone", names.join(", ")),
            (_, more) => format!("{} and {more} more were sealed before, and their files are gone", names[..SHOWN].join(", ")),
        };
        let write_once = units.iter().flat_map(|unit| &unit.keys).find(|key| key.write_once);
        let why = match write_once {
            Some(key) => format!("a new value would make unreadable what the old one encrypts: {}", key.about),
            None => "a new value would not be the one that is in use".to_owned(),
        };
        let file = if units.len() == 1 { units[0].file() } else { SOURCE.trim_end_matches('/').to_owned() };
        Error::refused(what, self.restore(units)).why(why).in_file(&file)
    }

    /// How to restore units that are gone, and how to make them again on purpose.
    fn restore(&self, units: &[Unit<'_>]) -> String {
        let mut help = match self.is_empty() {
            true => "restore the output folder from git (docs/recovery.md says how)".to_owned(),
            false => self.restored_by_git(units),
        };
        let (protects, others): (Vec<_>, Vec<_>) = units.iter().partition(|unit| unit.write_once());
        let (provided, generated): (Vec<_>, Vec<_>) = others.into_iter().partition(|unit| unit.provided());
        if self.is_empty() && protects.len() < units.len() {
            return help;
        }
        if !generated.is_empty() {
            let names: String = generated.iter().map(|unit| format!(" {}", unit.keys[0].name)).collect();
            help += &format!("; or, for new values on purpose, `seal-secrets rotate{names}`");
        }
        if !provided.is_empty() {
            let keys = provided.iter().flat_map(|unit| &unit.keys).filter(|key| key.is_provided());
            let flags: String = keys.map(|key| format!(" --provide {}=FILE", key.name)).collect();
            help += &format!("; or provide what is yours again: `seal-secrets bootstrap{flags}`");
        }
        let destroyed = protects.iter().flat_map(|unit| &unit.keys).filter(|key| key.write_once);
        let flags: Vec<String> = destroyed.map(|key| format!("`--destroys-data {}`", key.name)).collect();
        if !flags.is_empty() {
            help += &format!("; or, if what it protects is gone for good, pass {} to `seal-secrets bootstrap`", flags.join(", "));
        }
        help
    }

    /// How to restore files of the output folder from git; one command for those that it tracks.
    fn restored_by_git(&self, units: &[Unit<'_>]) -> String {
        let files: Vec<String> = units.iter().map(Unit::file).collect();
        // Outside of a repository this is unknown.
        let is_tracked = |file: &String| self.remembered.git.is_none() || self.tracked.contains(file);
        let (tracked, others): (Vec<String>, Vec<String>) = files.into_iter().partition(is_tracked);
        let it = |files: &[String]| if files.len() == 1 { "it" } else { "them" };
        let restore = format!("restore {}: {}", it(&tracked), self.git("checkout --", &tracked));
        let search = self.git("log --all --", &others);
        let search =
            format!("look for {} in git's history: {search} (docs/recovery.md says how a file comes back from there)", it(&others));
        match (tracked.is_empty(), others.is_empty()) {
            (_, true) => restore,
            (true, false) => search,
            (false, false) => format!("{restore}; git does not track the others, {search}"),
        }
    }

    /// A git command on these files of the output folder.
    fn git(&self, command: &str, files: &[String]) -> String {
        let (git, out) = self.remembered.git.as_ref().map_or(("git", &self.remembered.out), |(git, out)| (git, out));
        let paths: String = files.iter().map(|file| format!(" {}", quoted(&Path::new(out).join(file).to_string_lossy()))).collect();
        format!("`{git} {command}{paths}`")
    }

    /// The units that the keys folder remembers and the contract no longer has, or no longer calls write-once.
    pub fn dropped<'i>(&'i self, contract: &'i Contract) -> impl Iterator<Item = &'i Name> {
        let kept =
            |name: &Name| contract.keys.iter().any(|key| key.write_once && (key.name.secret() == name.as_str() || key.unit == *name));
        self.remembered.units.iter().filter(|(_, write_once)| **write_once).map(|(name, _)| name).filter(move |name| !kept(name))
    }
}

fn file_of(unit: impl std::fmt::Display) -> String {
    format!("{SOURCE}{unit}{SEALED}")
}

/// The name of the unit whose file this is.
pub fn name_of(file: &str) -> Option<Name> {
    Name::new(file.strip_prefix(SOURCE)?.strip_suffix(SEALED)?).ok()
}

/// Whether a unit ever existed: under its own name, or under a key's, which it had before the contract named the unit.
pub fn was_sealed(unit: &Unit<'_>, ever_sealed: &BTreeSet<String>) -> bool {
    let mut names = unit.secrets().into_iter().map(|(secret, _)| secret).chain([unit.name.as_str()]);
    names.any(|name| ever_sealed.contains(&file_of(name)))
}

/// Whether a path is that of a sealed unit.
pub fn is_sealed(path: &str) -> bool {
    path.strip_prefix(SOURCE).is_some_and(|name| name.ends_with(SEALED) && !name.contains('/'))
}

/// The derived file that lists every unit, and so remembers one that was deleted.
pub const RESOURCES: &str = "secret-source/kustomization.yaml";

/// A unit's SealedSecrets, in the order of its keys; `None` if its file does not exist. A SealedSecret of the unit in another file, or for
/// another namespace, is an error.
pub fn unit<'i>(inventory: &'i Inventory, contract: &Contract, unit: &Unit<'_>) -> Result<Option<Vec<&'i SealedSecret>>> {
    let file = unit.file();
    for (secret, _) in unit.secrets() {
        if let Some(path) = inventory.homes.get(secret).filter(|path| **path != file) {
            let shown = |path: &str| quoted(&Path::new(&inventory.remembered.out).join(path).to_string_lossy());
            let help = format!("rename it back: `git mv {} {}`", shown(path), shown(&file));
            return Err(Error::refused(format!("`{secret}` is sealed in this file, and belongs in {file}"), help).in_file(path));
        }
    }
    let Some(secrets) = inventory.sealed.get(&file) else { return Ok(None) };
    let of_unit = unit.secrets();
    let of_file = |name: &str| secrets.iter().find(|secret| secret.name.as_str() == name);
    let found: Vec<&SealedSecret> = of_unit.iter().filter_map(|(name, _)| of_file(name)).collect();
    if let Some(secret) = found.iter().find(|secret| secret.namespace.as_ref() != Some(&contract.namespace)) {
        let help = "restore the file from git, or name the contract it was made with";
        return Err(Error::refused(format!("`{}` is sealed for another namespace than `{}`", secret.name, contract.namespace), help)
            .at(secret.position)
            .in_file(&file));
    }
    Ok(Some(found))
}

/// The keys that a unit's SealedSecrets lack, apart from the `replaced` ones. A missing key is an error if an existing value is made from it,
/// or it from an existing value that nothing `opens`. In a write-once unit nothing is opened: what is missing there may be lost.
pub fn missing<'u>(
    inventory: &Inventory,
    unit: &Unit<'u>,
    secrets: &[&SealedSecret],
    replaced: &BTreeSet<&KeyName>,
    opens: bool,
) -> Result<Vec<&'u Key>> {
    let secret_of = |key: &Key| secrets.iter().find(|secret| secret.name.as_str() == key.name.secret());
    let holds = |key: &Key| secret_of(key).is_some_and(|secret| secret.value(key.name.property()).is_some());
    let missing: Vec<&Key> = unit.keys.iter().copied().filter(|key| !holds(key) && !replaced.contains(&key.name)).collect();
    for key in &missing {
        let of_secret = || unit.keys.iter().filter(|other| other.name.secret() == key.name.secret());
        let unknown = |one: &&Encrypted| of_secret().all(|other| other.name.property() != one.key.as_str());
        if let Some(other) = secret_of(key).and_then(|secret| secret.encrypted.iter().find(unknown)) {
            return Err(renamed(unit, key, other));
        }
    }
    let names: BTreeSet<KeyName> = missing.iter().map(|key| key.name.clone()).sorted();
    let present =
        |of: BTreeSet<&'u KeyName>| -> Vec<&str> { of.into_iter().filter(|name| !names.contains(*name)).map(KeyName::as_str).collect() };
    let sources_only = !unit.write_once() && present(unit.made_of(&names)).is_empty();
    let present = present(unit.together(&names));
    match missing.first() {
        Some(key) if !(present.is_empty() || opens && sources_only) => {
            let first = if sources_only { "open what it is made of: `seal-secrets bootstrap --identity FILE`; or " } else { "" };
            Err(match secret_of(key) {
                Some(_) => value_missing(inventory, unit, key, &present, first),
                None => half_missing(inventory, unit, key.name.secret(), &present, first),
            })
        }
        _ => Ok(missing),
    }
}

/// The error for a value under a data key that the contract lacks, when the contract has one that the file lacks: they may be the same
/// value, and a second one would be made.
fn renamed(unit: &Unit<'_>, missing: &Key, other: &Encrypted) -> Error {
    let (secret, wanted) = (missing.name.secret(), missing.name.property());
    let what = format!("`{secret}` holds `{}`, which the contract does not have, and not `{wanted}`", other.key);
    let help = format!(
        "if it is that value, rename it: in the contract, or in this file, where it opens under any data key; if not, put it back into the contract, or remove its line, and `{wanted}` is made"
    );
    Error::refused(what, help).why("if the data key was renamed, it would get a second value").at(other.position).in_file(&unit.file())
}

/// `first` is the better help, where there is one.
fn value_missing(inventory: &Inventory, unit: &Unit<'_>, missing: &Key, present: &[&str], first: &str) -> Error {
    let (name, secret) = (&missing.name, missing.name.secret());
    let mut help = format!("{first}take it out of the contract, or restore the file: {}", inventory.git("checkout --", &[unit.file()]));
    if !unit.write_once() {
        help += &format!("; or make both again: `seal-secrets rotate {}`", present[0]);
    }
    Error::refused(format!("`{secret}` does not hold `{}`, and it cannot be made alone", name.property()), help)
        .why(format!("{} is sealed already, and cannot be read back", present.join(", ")))
        .in_file(&unit.file())
}

/// An existing key that a missing Secret is made from.
fn present_key<'u>(unit: &Unit<'u>, missing: &str) -> &'u KeyName {
    let names = unit.keys.iter().filter(|key| key.name.secret() == missing).map(|key| key.name.clone()).sorted();
    let together = unit.together(&names);
    together.into_iter().find(|name| name.secret() != missing).unwrap_or(&unit.keys[0].name)
}

fn half_missing(inventory: &Inventory, unit: &Unit<'_>, missing: &str, present: &[&str], first: &str) -> Error {
    let present: Vec<String> = present.iter().map(|name| format!("`{name}`")).collect();
    let mut help = format!("{first}restore it: {}", inventory.git("checkout --", &[unit.file()]));
    if !unit.write_once() {
        help += &format!("; or take it out of the contract; or make both again: `seal-secrets rotate {}`", present_key(unit, missing));
    }
    Error::refused(format!("`{missing}` is missing from its unit, and cannot be made alone"), help)
        .why(format!("it belongs to {}, sealed already, which cannot be read back", present.join(", ")))
        .in_file(&unit.file())
}

/// The certificates that the contract's units name as their own, each with a file; none if a unit names none.
pub fn certificates(inventory: &Inventory, contract: &Contract) -> BTreeMap<Option<CertificateDigest>, String> {
    let files: Vec<String> = contract.units().iter().map(Unit::file).collect();
    let secrets = files.iter().filter_map(|file| Some((file, inventory.sealed.get(file)?)));
    secrets.flat_map(|(file, secrets)| secrets.iter().map(|secret| (secret.certificate, file.clone()))).sorted()
}
