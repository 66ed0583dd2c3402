//! `escrow`: who can open it.
//!
//! If `recipients.txt` exists, it lists everyone who can open the escrow: a recipient is listed before being added and unlisted after being
//! removed. So a crash in between leaves a list with too many, a later write of the escrow locks nobody out by mistake, and running the
//! same command again completes it.

use super::Outcome;
use crate::cli::{Escrow, EscrowChange, ListRecipients};
use crate::model::{Error, Result, meant, visible};
use crate::pipeline::escrow;
use crate::pipeline::recipients::{self, Recipient};
use crate::show;
use crate::show::counted;
use crate::workspace::Workspace;
use crate::workspace::escrow::{ChangedEscrow, Encrypter};
use crate::workspace::keys::{CERTIFICATE, ESCROW, RECIPIENTS};
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &Escrow, world: &mut World) -> Result<Outcome> {
    let (args, added) = match &args.change {
        EscrowChange::AddRecipient(args) => (args, Some(Recipient::argument("`RECIPIENT`", &args.recipient)?)),
        EscrowChange::RemoveRecipient(args) => (args, None),
        EscrowChange::List(args) => return list(workspace, args, world),
    };
    workspace.check_identity_kept_out(world)?;
    let path = workspace.places.in_keys(ESCROW);
    workspace.check_keys(&[RECIPIENTS, ESCROW])?;
    workspace.check_escrow()?;
    let keys = workspace.change_keys()?;
    let ChangedEscrow { escrow, list, recipients: before } = workspace.escrow_to_change(args.identity.as_deref(), world)?;
    let text = recipients::with(list.as_deref(), &before);
    let adds = added.is_some();
    let text = match added {
        Some(added) => recipients::with(Some(&text), &[added]),
        None => recipients::without(&text, find(&args.recipient, &before)?),
    };
    let after = recipients::read_recipients(&text)?;
    let encrypter = Encrypter::to(&after, world)?;
    workspace.tell_recipients(&after, world);
    world.terminal.confirm(&format!("encrypt {} again, for {}", visible(&path), counted(after.len(), "recipient")), args.yes)?;
    let new = encrypter.encrypt(&escrow.pem)?;
    if adds {
        keys.write_recipients(&text, list.as_deref())?;
    }
    keys.write_escrow(&new, Some(&escrow.encrypted))?;
    if !adds {
        keys.write_recipients_last(&text, list.as_deref())?;
    }
    report(workspace, adds, after.len(), world)
}

/// Only reads, and decrypts nothing without an identity.
fn list(workspace: &Workspace, args: &ListRecipients, world: &mut World) -> Result<Outcome> {
    let encrypted = workspace.encrypted_escrow()?;
    let able = escrow::count_recipients(&encrypted).map_err(|error| error.in_file(&workspace.places.in_keys(ESCROW)))?;
    let listed = workspace.listed()?.map(|listed| listed.recipients);
    let identities = args.identity.as_deref().map(|identity| workspace.identities(Some(identity), world)).transpose()?;
    let opened = identities.map(|identities| workspace.open(encrypted, &identities)).transpose()?;
    let pinned = match opened.is_some() && workspace.has(CERTIFICATE)? {
        true => Some(workspace.certificate()?.sealing.digest),
        false => None,
    };
    let opened = opened.as_ref().map(|escrow| (escrow.opener(), &escrow.pairs, pinned));
    let listing = show::escrow::Listing { able, listed: listed.as_deref(), opened };
    let text = if args.printed.is_json() { show::escrow::json } else { show::escrow::text };
    world.terminal.print(&text(&workspace.places, &listing))?;
    Ok(Outcome::found(listing.agrees() == Some(false)))
}

fn find<'r>(typed: &str, list: &'r [Recipient]) -> Result<&'r Recipient> {
    let lower = typed.to_ascii_lowercase();
    let names: Vec<String> = list.iter().map(Recipient::to_string).collect();
    let found = list.iter().zip(&names).find(|(_, name)| **name == lower).map(|(recipient, _)| recipient);
    let found = found.ok_or_else(|| {
        let help = meant(&lower, names.iter().map(String::as_str), &format!("it is one of `{}`", names.join("`, `")));
        Error::usage("`RECIPIENT` is none of those who may open the escrow", help)
    })?;
    if list.len() == 1 {
        let help = "add another one first: `seal-secrets escrow add-recipient age1…`";
        return Err(Error::refused("the last recipient: nobody could open the escrow any more", help));
    }
    Ok(found)
}

fn report(workspace: &Workspace, adds: bool, count: usize, world: &mut World) -> Result<Outcome> {
    let path = |name| visible(&workspace.places.in_keys(name));
    let (list, escrow, recipients) = (path(RECIPIENTS), path(ESCROW), counted(count, "recipient"));
    world
        .terminal
        .print(&format!("wrote {list} and {escrow}, encrypted to {recipients}; read back, and it opens\n{}\n", workspace.old_copies()))?;
    if !adds {
        world.terminal.print(&format!(
            "whoever was removed can still open every copy of the old escrow, such as one in git's history, and with it all that is sealed now\nto lock them out: `{}`, for a new sealing key, then `{}`, for new values\n",
            workspace.command("renew"), workspace.command("rotate KEY…")
        ))?;
    }
    Ok(Outcome::Done)
}
