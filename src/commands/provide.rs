//! `--provide`: values that the operator has, for `bootstrap` and `rotate`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::carry_out::Prepared;
use super::{known_key, without_line_feed};
use crate::model::{Contract, Error, MOST_PROVIDED_BYTES, Name, Recipe, Result, SecretValue};
use crate::pipeline::generate;
use crate::world::folder::Folder;
use crate::world::{World, files};

/// Keys, each with the file of its value; `-` is standard input, none is the terminal.
type Provide = [(Name, Option<PathBuf>)];

/// The keys, which the contract has to have as provided.
pub(super) fn names(contract: &Contract, provide: &Provide) -> Result<BTreeSet<Name>> {
    let mut names = BTreeSet::new();
    for (name, _) in provide {
        if !matches!(known_key(contract, "--provide", name)?.recipe, Recipe::Provided { .. }) {
            return Err(Error::usage(
                format!("`{name}` is generated, not provided"),
                "drop `--provide`: its value is made here; one that is in use already is sealed by `seal-secrets import`",
            ));
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

/// A file that is read must not be one of those that are written.
pub(super) fn check_files(provide: &Provide, out: Option<&Folder>, secrets: &Path, world: &World) -> Result<()> {
    let mut outputs = out.map_or(Ok(Vec::new()), Folder::identities)?;
    if let Some(secrets) = Folder::open(&*world.disk, secrets)? {
        outputs.extend(secrets.identities()?);
    }
    for (name, file) in provide {
        let Some(file) = file else { continue };
        if files::identity(&*world.disk, file)?.is_some_and(|identity| outputs.contains(&identity)) {
            return Err(Error::refused(
                format!("the file of `--provide {name}` is one of those that this run may write"),
                "copy it to a folder of its own, with mode 0600",
            ));
        }
    }
    Ok(())
}

/// The values that the plan seals, each checked against its key's pattern before anything is written.
pub(super) fn read(prepared: &Prepared, provide: &Provide, world: &mut World) -> Result<BTreeMap<Name, SecretValue>> {
    let sealed: BTreeSet<&Name> = prepared.plan.sealed().collect();
    let mut values = BTreeMap::new();
    for (name, file) in provide.iter().filter(|(name, _)| sealed.contains(name)) {
        let value = without_line_feed(name.as_str(), read_value(name, file.as_ref(), world)?, world);
        let key = prepared.contract.key(name.as_str()).expect("it was looked up before");
        generate::check(key, &value)?;
        values.insert(name.clone(), value);
    }
    Ok(values)
}

fn read_value(name: &Name, file: Option<&PathBuf>, world: &mut World) -> Result<SecretValue> {
    let value = match file {
        Some(file) if file.as_os_str() == "-" && !world.terminal.stdin_is_terminal => world.terminal.read_secret()?,
        // What stands behind the `=` may be the value itself, by mistake: it is not repeated.
        Some(file) if file.as_os_str() != "-" => {
            SecretValue::new(files::read(&*world.disk, file, &format!("the file of `--provide {name}`"), files::Kind::Secret)?)
        }
        _ => world.terminal.ask(&format!("{name}: "))?,
    };
    if value.len() > MOST_PROVIDED_BYTES {
        return Err(Error::bad_input(
            format!("the value of `{name}` is larger than {} KiB", MOST_PROVIDED_BYTES >> 10),
            "a Secret has to fit into an object of etcd; check the file",
        ));
    }
    Ok(value)
}
