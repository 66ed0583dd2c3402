//! `backup`: adds every active sealing key of a live controller to the escrow, and proves that the escrow opens `out/`.

use super::Outcome;
use crate::cli::Backup;
use crate::model::Result;
use crate::pipeline::private_key::{self, Pairs, SealingKey};
use crate::pipeline::recipients::{self, Recipient};
use crate::pipeline::remembered::Remembered;
use crate::pipeline::unseal;
use crate::show::counted;
use crate::workspace::Workspace;
use crate::workspace::escrow::{ChangedEscrow, Encrypter, grown};
use crate::workspace::keys::{ESCROW, IDENTITY, RECIPIENTS};
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &Backup, world: &mut World) -> Result<Outcome> {
    workspace.check_identity_kept_out(world)?;
    let identity = args.identity.as_deref();
    let opened = workspace.has(ESCROW)?.then(|| workspace.escrow_to_change(identity, world)).transpose()?;
    let first = if opened.is_none() { first_recipients(workspace, args, world)? } else { None };
    let cluster = crate::world::cluster::Cluster::connect(&workspace.access(), world)?;
    let found = workspace.controller_of(&cluster).active_keys()?;
    let held = opened.as_ref().map(|opened| opened.escrow.pairs.openers.as_slice()).unwrap_or_default();
    let (mut added, mut more) = (Pairs::default(), Vec::new());
    for pair in &found {
        let mut new = false;
        let keys = private_key::of_secret(pair).map_err(|error| error.in_file("the key Secrets of the controller"))?;
        for (key, opener) in keys {
            new |= held.iter().all(|known| known.digest != opener.digest) && added.add(key, opener, None);
        }
        if new {
            more.extend([pair.certificate.as_str(), pair.private_key.as_str()]);
        }
    }
    let name = workspace.places.in_keys(ESCROW);
    if added.openers.is_empty() {
        // What an interrupted run wrote is made durable before it is reported as held.
        drop(workspace.change_keys()?);
        world.terminal.print(&format!("nothing to add: {name} holds all {} active keys\n", found.len()))?;
    } else {
        store(workspace, &more, opened.as_ref(), first, world)?;
        added.openers.iter().try_for_each(|key| world.terminal.print(&format!("added {}\n", key.digest)))?;
        let copies = if opened.is_some() { workspace.old_copies() + "\n" } else { String::new() };
        world.terminal.print(&format!("wrote {name}; read back, and it holds every key\n{copies}"))?;
    }
    let held = opened.map(|opened| opened.escrow.pairs.openers).unwrap_or_default();
    prove(workspace, &held.into_iter().chain(added.openers).collect::<Vec<_>>(), world)
}

/// For whom the first escrow will be encrypted; `None` = for an identity that is still to be made.
fn first_recipients(workspace: &Workspace, args: &Backup, world: &mut World) -> Result<Option<Vec<Recipient>>> {
    match (workspace.listed()?, args.identity.as_deref()) {
        (Some(listed), _) => Ok(Some(listed.recipients)),
        (None, None) if !workspace.has(IDENTITY)? => Ok(Some(workspace.recipients_of_all(world)?).filter(|taken| !taken.is_empty())),
        (None, named) => workspace.identities(named, world)?.recipients().map(Some),
    }
}

/// Encrypts to the existing escrow's recipients, or to the first recipients, and writes.
fn store(
    workspace: &Workspace,
    more: &[&str],
    opened: Option<&ChangedEscrow>,
    first: Option<Vec<Recipient>>,
    world: &mut World,
) -> Result<()> {
    let keys = workspace.change_keys()?;
    if let Some(ChangedEscrow { escrow, recipients, .. }) = opened {
        workspace.tell_recipients(recipients, world);
        let grown = grown(&escrow.pem, more);
        return keys.write_escrow(&Encrypter::to(recipients, world)?.encrypt(&grown)?, Some(&escrow.encrypted)).map(drop);
    }
    let first = match first {
        Some(first) => first,
        None => {
            keys.make_identity()?;
            workspace.identities(None, world)?.recipients()?
        }
    };
    let encrypter = Encrypter::to(&first, world)?;
    workspace.tell_recipients(&first, world);
    let grown = grown("", more);
    let escrow = encrypter.encrypt(&grown)?;
    // A plugin that is missing, or refuses, has failed by now: the list names nobody for whom there is no escrow.
    if !workspace.has(RECIPIENTS)? && !workspace.has(IDENTITY)? {
        keys.write_recipients(&recipients::with(None, &first), None)?;
    }
    keys.write_escrow(&escrow, None).map(drop)
}

/// Opens every value of the output folder, and reports what does not open.
fn prove(workspace: &Workspace, keys: &[SealingKey], world: &mut World) -> Result<Outcome> {
    let out = workspace.out()?;
    if out.folder().is_none() {
        world.terminal.print("there is no output folder to try the escrow on\n")?;
        return Ok(Outcome::Done);
    }
    let (mut good, mut bad) = (0, 0);
    for (path, secrets) in &out.inventory(Remembered::default())?.sealed {
        for secret in secrets {
            if unseal::open_all(keys, secret).is_ok() {
                good += 1;
            } else {
                bad += 1;
                world.terminal.print(&format!("does not open: {} in {}\n", secret.name, workspace.places.in_out(path)))?;
            }
        }
    }
    world.terminal.print(&format!("the escrow opens {good} of {}\n", counted(good + bad, "sealed value")))?;
    Ok(Outcome::found(bad > 0))
}
