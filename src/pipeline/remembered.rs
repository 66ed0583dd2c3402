//! `keys/sealed.txt`: every unit that was sealed, with its output folder. It is next to the certificate, so that it still lists the units
//! when the whole output folder is gone. It only grows, so that git can merge it line by line.

use std::collections::BTreeMap;

use crate::model::{Error, Name, Result, quoted, visible};

/// Units, and whether each is write-once.
pub type Units = BTreeMap<Name, bool>;

/// What the keys folder remembers of an output folder.
#[derive(Default)]
pub struct Remembered {
    /// The units of the output folder; if that is unknown, those of the folders that are gone: it may be one of them, moved.
    pub units: Units,
    /// Those of them that `file` itself lists for the output folder.
    pub listed: Units,
    /// Whether the output folder is known.
    pub known: bool,
    /// The other known output folders, existing ones first.
    pub others: Vec<Other>,
    /// The output folder, as the operator wrote it.
    pub out: String,
    /// The program with the flags that make it work on the output folder's repository, and the folder's path for it; none = no repository.
    pub git: Option<(String, String)>,
    /// The file that remembers them, as the operator wrote it.
    pub file: String,
    /// Whether that file exists.
    pub exists: bool,
    /// Whether it can be written.
    pub writable: bool,
}

/// Another output folder of the same keys.
pub struct Other {
    /// Its path from the current folder.
    pub path: String,
    /// The flags that choose it.
    pub flags: String,
    pub exists: bool,
}

const HEADER: &str =
    "# Every unit that was sealed, with its output folder. None of them is generated again, even if that folder is gone.\n";

/// Follows the name of a write-once unit. No name contains a colon.
const WRITE_ONCE: &str = ":write-once";

/// The units that a text remembers, by output folder, which is written as its path from the keys folder. A unit is write-once if any of its
/// lines says so.
pub fn read(text: &str) -> Result<BTreeMap<String, Units>> {
    let mut sets: BTreeMap<String, Units> = BTreeMap::new();
    for (i, line) in text.split_inclusive('\n').enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let damaged = || Error::bad_input("not a whole line with a name and an output folder", "restore the file from git").at((i + 1, 1));
        let (name, of) = line.strip_suffix('\n').and_then(|line| line.split_once(' ')).ok_or_else(damaged)?;
        let (name, write_once) = name.strip_suffix(WRITE_ONCE).map_or((name, false), |name| (name, true));
        let name = Name::new(name).map_err(|_| damaged())?;
        *sets.entry(of.trim_end().to_owned()).or_default().entry(name).or_default() |= write_once;
    }
    Ok(sets)
}

/// How a list writes an output folder's path.
pub fn folder(way: &str) -> String {
    visible(way).trim_end().to_owned()
}

/// Whether all of these are remembered, the write-once ones as write-once.
pub fn has_all(known: &Units, units: &Units) -> bool {
    units.iter().all(|(name, write_once)| known.get(name).is_some_and(|known| *known || !write_once))
}

/// The text that remembers these too; `None` if it already does.
pub fn with(text: Option<&str>, way: &str, units: &Units) -> Result<Option<String>> {
    let text = text.unwrap_or(HEADER);
    let folder = folder(way);
    let known = read(text)?.remove(&folder).unwrap_or_default();
    let new = units.iter().filter(|(name, write_once)| known.get(*name).is_none_or(|known| !known && **write_once));
    let more: String = new.map(|(name, write_once)| format!("{name}{} {folder}\n", if *write_once { WRITE_ONCE } else { "" })).collect();
    Ok((!more.is_empty()).then(|| format!("{text}{more}")))
}

impl Remembered {
    /// Refuses an output folder other than the one that these keys are used for: it would get a second set of values. `sealed` says whether
    /// it has a sealed unit, and `holds` whether it has one of the remembered units.
    pub fn check_folder(&self, sealed: bool, holds: bool) -> Result<()> {
        let Some(other) = self.others.first() else { return Ok(()) };
        // A folder that holds the units of one that is gone is that folder, moved.
        let fine = if self.known { sealed || !other.exists } else { holds && !other.exists };
        if fine {
            return Ok(());
        }
        let (Other { path, flags, exists }, out) = (other, quoted(&self.out));
        let left = if holds { format!("; if the folder was moved, remove what is left of `{path}`") } else { String::new() };
        let (what, help) = match exists {
            true => (
                format!("the values of these keys are sealed in `{path}`, not in `{out}`"),
                format!(
                    "pass `{flags}`, or set `out` in `seal-secrets.yaml`; or `--cluster NAME`, for the values of another cluster{left}"
                ),
            ),
            false => (
                format!("the values of these keys were sealed in `{path}`, which is gone, and `{out}` does not hold them"),
                format!(
                    "restore `{path}` from git (docs/recovery.md says how), and pass `{flags}`; if it was moved, pass its new path with `--out`; if these keys are a copy, for other values, remove `{}`",
                    self.file
                ),
            ),
        };
        Err(Error::refused(what, help).why("another folder would get a second value for every key").in_file(&self.file))
    }
}
