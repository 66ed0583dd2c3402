//! `backup`: every active sealing key of a live controller into the escrow, and the proof that the escrow opens `out/`.

use super::Outcome;
use super::keys::{self, IDENTITY, OpenedEscrow};
use crate::cli::{Backup, Folders};
use crate::manifest::secret::{self, KEY_LABEL, KeySecret};
use crate::manifest::text;
use crate::model::{Error, ErrorKind, Result, visible};
use crate::pipeline::private_key::{self, SealingKey};
use crate::pipeline::recipients::Recipient;
use crate::pipeline::{inventory, unseal};
use crate::world::cluster::Cluster;
use crate::world::folder::Folder;
use crate::world::{World, files, git};

pub(super) fn run(folders: &Folders, args: &Backup, world: &mut World) -> Result<Outcome> {
    git::check_kept_out(&*world.disk, &folders.keys, &[IDENTITY])?;
    let path = keys::escrow_path(folders);
    let name = path.to_string_lossy();
    let opened = files::exists(&*world.disk, &path)?.then(|| keys::open_to_change(folders, args.identity.as_deref(), world)).transpose()?;
    let first = if opened.is_none() { first_recipients(folders, args, world)? } else { None };
    let before = opened.as_ref().map_or("", |opened| opened.pem.as_str());
    let mut keys = if before.is_empty() { Vec::new() } else { judged(before).map_err(|error| error.in_file(&name))? };
    let cluster = Cluster::connect(&args.cluster.access.named(), &mut world.terminal)?;
    let found = active_keys(&cluster, args.cluster.controller_namespace.as_str())?;
    let (held, mut more) = (keys.len(), Vec::new());
    for pair in &found {
        let mut new = judged(&pair.private_key)?;
        new.retain(|key| keys.iter().all(|known| known.digest != key.digest));
        if !new.is_empty() {
            more.extend([pair.certificate.as_str(), pair.private_key.as_str()]);
            keys.append(&mut new);
        }
    }
    let added = &keys[held..];
    if added.is_empty() {
        world.terminal.print(&format!("nothing to add: {name} holds all {} active keys\n", found.len()))?;
    } else {
        let after = keys::grown(before, &more);
        store(folders, &after, opened.as_ref(), first, world)?;
        added.iter().try_for_each(|key| world.terminal.print(&format!("added {}\n", key.digest)))?;
        world.terminal.print(&format!("wrote {name}; read back, and it holds every key\n"))?;
    }
    prove(folders, &keys, world)
}

/// The keys of a PEM text, fit to be used.
fn judged(pem: &str) -> Result<Vec<SealingKey>> {
    private_key::read_pem(pem)?.iter().map(SealingKey::new).collect()
}

/// The controller's key Secrets that it unseals with.
fn active_keys(cluster: &Cluster, namespace: &str) -> Result<Vec<KeySecret>> {
    let path = format!("/api/v1/namespaces/{namespace}/secrets?labelSelector={KEY_LABEL}=active");
    let answer = cluster.read_secret("list", &path)?;
    let from = format!("the key Secrets of `{namespace}`");
    // The items of a List of one kind do not repeat it.
    let list = text::decode(&answer)?;
    let keys = secret::read_key_list(list).map_err(|error| error.in_file(&from))?;
    if keys.is_empty() {
        let help = "name the controller's namespace with `--controller-namespace`";
        return Err(Error::new(ErrorKind::Cluster, "there is no active sealing key", help).in_file(&visible(namespace)));
    }
    Ok(keys)
}

/// To whom the first escrow is going to be encrypted; `None` = to an identity that is yet to be made.
fn first_recipients(folders: &Folders, args: &Backup, world: &World) -> Result<Option<Vec<Recipient>>> {
    match (keys::listed(folders, world)?, args.identity.as_deref()) {
        (Some((_, listed)), _) => Ok(Some(listed)),
        (None, None) if !files::exists(&*world.disk, &folders.keys.join(IDENTITY))? => Ok(None),
        (None, named) => keys::identities(folders, named, world)?.recipients().map(Some),
    }
}

/// Encrypts to whoever may open the escrow that is there, or to the first recipients, and writes.
fn store(folders: &Folders, pem: &str, opened: Option<&OpenedEscrow>, first: Option<Vec<Recipient>>, world: &mut World) -> Result<()> {
    let (folder, _lock) = keys::folder_to_change(folders, world)?;
    if let Some(opened) = opened {
        keys::tell_recipients(folders, &opened.recipients, world);
        return keys::encrypt_escrow(pem, &opened.recipients, world)?.write(&folder, Some(&opened.encrypted));
    }
    let first = first.map_or_else(|| keys::make_identity(folders, &folder, world)?.recipients(), Ok)?;
    keys::tell_recipients(folders, &first, world);
    keys::encrypt_escrow(pem, &first, world)?.write(&folder, None)
}

/// Opens every value of the output folder, and names what does not open.
fn prove(folders: &Folders, keys: &[SealingKey], world: &mut World) -> Result<Outcome> {
    let Some(folder) = Folder::open(&*world.disk, &folders.out)? else {
        world.terminal.print("there is no output folder to try the escrow on\n")?;
        return Ok(Outcome::Done);
    };
    let inventory = inventory::read(folder.read_all()?).map_err(|error| error.within(&folders.out))?;
    let (mut good, mut bad) = (0, 0);
    for (path, secrets) in &inventory.sealed {
        for secret in secrets {
            if unseal::open_all(keys, secret).is_ok() {
                good += 1;
            } else {
                bad += 1;
                let path = folders.out.join(path);
                world.terminal.print(&format!("does not open: {} in {}\n", secret.name, visible(&path.to_string_lossy())))?;
            }
        }
    }
    world.terminal.print(&format!("the escrow opens {good} of {} sealed values\n", good + bad))?;
    Ok(if bad == 0 { Outcome::Done } else { Outcome::Found })
}
