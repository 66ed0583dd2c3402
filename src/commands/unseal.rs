//! `unseal`: recovery, with the escrow or with backups of the controller's keys.

use super::{Outcome, keys, read_input};
use crate::cli::{Folders, Output, Unseal};
use crate::manifest::sealed_secret::{self, SealedSecret};
use crate::manifest::{secret, text};
use crate::model::{Error, Name, Result};
use crate::pipeline::{inventory, unseal};
use crate::world::folder::Folder;
use crate::world::{World, files};

pub(super) fn run(folders: &Folders, args: &Unseal, world: &mut World) -> Result<Outcome> {
    if world.terminal.stdout_is_terminal && !args.reveal {
        return Err(to_a_terminal("seal-secrets unseal | kubectl apply -f -"));
    }
    let asked = args.files.iter().chain(&args.recovery_private_key).filter(|path| path.as_os_str() == "-");
    if asked.count() > 1 {
        return Err(Error::usage("standard input is asked for twice", "name a file for one of the two"));
    }
    let sealed = read_sealed(folders, args, world)?;
    let wanted = select(&sealed, args)?;
    let keys = keys::ring(folders, args.identity.as_deref(), &args.recovery_private_key, world)?;
    let mut opened = Vec::new();
    for (file, secret) in wanted {
        opened.push((secret, unseal::open_all(&keys, secret).map_err(|error| error.in_file(file))?));
    }
    match (&args.value, opened.as_slice()) {
        (Some(name), [(_, values)]) => {
            let [(_, value)] = values.as_slice() else {
                return Err(Error::bad_input(
                    format!("`{name}` has {} values", values.len()),
                    "drop `--value`, and take the one you need from the Secret",
                ));
            };
            world.terminal.print_bytes(value.expose())?;
            if world.terminal.stdout_is_terminal {
                world.terminal.print("\n")?;
            }
        }
        (Some(name), several) => {
            return Err(Error::bad_input(format!("{} SealedSecrets are named `{name}`", several.len()), "name the file with `-f FILE`"));
        }
        (None, opened) => {
            let format = match args.output {
                Output::Yaml => secret::Format::Yaml,
                Output::Json => secret::Format::Json,
            };
            world.terminal.print(&secret::write_secrets(opened, format))?;
        }
    }
    Ok(Outcome::Done)
}

pub(super) fn to_a_terminal(instead: &str) -> Error {
    Error::refused("secrets would be shown on this terminal", format!("pipe them: `{instead}`; or add `--reveal`"))
}

/// Every SealedSecret with the file that it stands in.
fn read_sealed(folders: &Folders, args: &Unseal, world: &mut World) -> Result<Vec<(String, SealedSecret)>> {
    let mut all = Vec::new();
    if args.files.is_empty() {
        let shown = folders.out.to_string_lossy();
        let nothing = || Error::bad_input("no sealed files", "name the folder with `--out DIR`, or a file with `-f FILE`").in_file(&shown);
        let folder = Folder::open(&*world.disk, &folders.out)?.ok_or_else(nothing)?;
        let inventory = inventory::read(folder.read_all()?).map_err(|error| error.within(&folders.out))?;
        for (path, secrets) in inventory.sealed {
            let file = folders.out.join(path).to_string_lossy().into_owned();
            all.extend(secrets.into_iter().map(|secret| (file.clone(), secret)));
        }
        if all.is_empty() {
            return Err(nothing());
        }
    }
    for path in &args.files {
        let (name, bytes) = read_input(path, files::Kind::Public, world)?;
        let secrets = text::decode(&bytes).and_then(sealed_secret::read).map_err(|error| error.in_file(&name))?;
        all.extend(secrets.into_iter().map(|secret| (name.clone(), secret)));
    }
    Ok(all)
}

/// Those that were named, or all.
fn select<'s>(sealed: &'s [(String, SealedSecret)], args: &Unseal) -> Result<Vec<(&'s str, &'s SealedSecret)>> {
    let names: Vec<&Name> = args.value.iter().chain(&args.names).collect();
    if names.iter().any(|name| !sealed.iter().any(|(_, secret)| secret.name == **name)) {
        return Err(Error::usage(
            "a key that is not sealed here",
            "`seal-secrets contract` lists the keys, `seal-secrets plan` what is missing",
        ));
    }
    let wanted = sealed.iter().filter(|(_, secret)| names.is_empty() || names.contains(&&secret.name));
    Ok(wanted.map(|(file, secret)| (file.as_str(), secret)).collect())
}
