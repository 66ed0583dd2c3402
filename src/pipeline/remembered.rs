//! `keys/write-once.txt`: the write-once units that were sealed, each with its output folder. It lies beside the certificate,
//! so that it still tells what was there when all of the output folder is gone.

use std::collections::BTreeSet;

use crate::model::{Error, Name, Result, visible};

/// What the keys folder remembers of an output folder.
#[derive(Default)]
pub struct Remembered {
    pub units: BTreeSet<Name>,
    /// The file that remembers them, as the operator names it.
    pub file: String,
    /// Whether that file exists.
    pub exists: bool,
    /// Whether it can be written.
    pub writable: bool,
}

const HEADER: &str =
    "# Write-once values that were sealed, each with its output folder. None of them is made anew, even where that folder is gone.\n";

/// The units that a text remembers of an output folder, which is named by its path from the keys folder.
pub fn read(text: &str, folder: &str) -> Result<BTreeSet<Name>> {
    let mut names = BTreeSet::new();
    for (i, line) in text.split_inclusive('\n').enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let damaged = || Error::bad_input("not a whole line with a name and an output folder", "restore the file from git").at((i + 1, 1));
        let (name, of) = line.strip_suffix('\n').and_then(|line| line.split_once(' ')).ok_or_else(damaged)?;
        let name = Name::new(name).map_err(|_| damaged())?;
        if of.trim_end() == visible(folder).trim_end() {
            names.insert(name);
        }
    }
    Ok(names)
}

/// The text that remembers these too; `None` where it does already.
pub fn with(text: Option<&str>, folder: &str, names: &BTreeSet<Name>) -> Result<Option<String>> {
    let text = text.unwrap_or(HEADER);
    let known = read(text, folder)?;
    let more: String = names.difference(&known).map(|name| format!("{name} {}\n", visible(folder))).collect();
    Ok((!more.is_empty()).then(|| format!("{text}{more}")))
}
