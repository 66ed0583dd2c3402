//! `keygen`: the sealing key pair, before any cluster exists.
//!
//! The order makes every crash harmless: identity or list of recipients, pin, escrow, proof, and the certificate last. Without the
//! certificate nothing can be sealed. A run that finds an escrow without one completes it: the pin proves that the key in the escrow was
//! made here.

use super::Outcome;
use crate::cli::Keygen;
use crate::model::{Error, Result, quoted};
use crate::pipeline::keygen::{MAKING, new_pair, try_pair};
use crate::pipeline::pins::How;
use crate::pipeline::recipients::{self, Recipient};
use crate::pipeline::{certificate::SealingCertificate, escrow};
use crate::workspace::Workspace;
use crate::workspace::escrow::Encrypter;
use crate::workspace::keys::{CERTIFICATE, ESCROW, IDENTITY, KeysChange, Listed, RECIPIENTS};
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &Keygen, world: &mut World) -> Result<Outcome> {
    let named = args.recipients.iter().map(|text| Recipient::argument("`--recipient`", text)).collect::<Result<Vec<_>>>()?;
    if workspace.has(CERTIFICATE)? {
        if args.if_missing {
            return Ok(Outcome::Done);
        }
        if workspace.certificate().is_ok() {
            workspace.check_escrow()?;
        }
        return Err(Error::refused("already exists, and is never overwritten", "nothing to do: `seal-secrets bootstrap` seals to it")
            .in_file(&workspace.places.in_keys(CERTIFICATE)));
    }
    let begun = workspace.has(ESCROW)?;
    if !begun {
        workspace.check_new_key()?;
        let trust = workspace.trust(None, world)?;
        if trust.has_sealed() && !args.start_over {
            return Err(trust.begun_before());
        }
    }
    if begun && !named.is_empty() {
        let help = "run `seal-secrets keygen` to finish it, then `seal-secrets escrow add-recipient` for each";
        return Err(Error::refused("an earlier run was interrupted; its escrow exists, and is not encrypted again here", help)
            .in_file(&workspace.places.in_keys(ESCROW)));
    }
    // Existing files are judged before the first folder or file is created.
    let listed = workspace.listed()?;
    let named = match begun || !named.is_empty() || listed.is_some() {
        true => named,
        false => workspace.recipients_of_all(world)?,
    };
    workspace.check_identity_kept_out(world)?;
    workspace.check_keys(&[IDENTITY, RECIPIENTS, ESCROW, CERTIFICATE])?;
    match (begun, named.is_empty() && listed.is_none()) {
        (true, _) => finish(workspace, args, listed.is_none(), world),
        (false, true) => for_an_identity(workspace, world),
        (false, false) => for_recipients(workspace, listed, &named, world),
    }
}

/// For the default identity, which is created if it does not exist.
fn for_an_identity(workspace: &Workspace, world: &mut World) -> Result<Outcome> {
    let found = workspace.has(IDENTITY)?.then(|| workspace.identities(None, world)).transpose()?;
    let keys = workspace.change_keys()?;
    let pair = world.terminal.while_working(MAKING, || new_pair(world.key_bits, (world.clock)(), None, world.entropy.as_mut()))?;
    let identities = match found {
        Some(found) => found,
        None => {
            keys.make_identity()?;
            workspace.identities(None, world)?
        }
    };
    let recipients = identities.recipients()?;
    let escrow = Encrypter::to(&recipients, world)?.encrypt(&pair.pem)?;
    workspace.trust(None, world)?.settle(pair.certificate.digest, How::Keygen, world)?;
    let read_back = keys.write_escrow(&escrow, None)?;
    // Both were read back from disk: the escrow, and the identity that opens it.
    let escrow = workspace.open(read_back, &identities)?;
    try_pair(&escrow.pairs.list[0].key, &pair.certificate_pem, world.key_bits, (world.clock)(), world.entropy.as_mut())?;
    done(workspace, &keys, &pair.certificate, &pair.certificate_pem, &own(workspace), world)
}

/// For the recipients on the command line or in the list.
fn for_recipients(workspace: &Workspace, listed: Option<Listed>, named: &[Recipient], world: &mut World) -> Result<Outcome> {
    let keys = workspace.change_keys()?;
    let before = listed.map(|listed| listed.text);
    let text = recipients::with(before.as_deref(), named);
    let recipients = recipients::read_recipients(&text)?;
    let encrypter = Encrypter::to(&recipients, world)?;
    let pair = world.terminal.while_working(MAKING, || new_pair(world.key_bits, (world.clock)(), None, world.entropy.as_mut()))?;
    let escrow = encrypter.encrypt(&pair.pem)?;
    if before.as_ref() != Some(&text) {
        keys.write_recipients(&text, before.as_deref())?;
    }
    workspace.trust(None, world)?.settle(pair.certificate.digest, How::Keygen, world)?;
    keys.write_escrow(&escrow, None)?;
    done(workspace, &keys, &pair.certificate, &pair.certificate_pem, &others(workspace, recipients.len()), world)
}

/// An earlier run was interrupted between escrow and certificate: the escrow holds both.
fn finish(workspace: &Workspace, args: &Keygen, own_identity: bool, world: &mut World) -> Result<Outcome> {
    let (path, identity) = (workspace.places.in_keys(ESCROW), workspace.places.in_keys(IDENTITY));
    if workspace.default_identity()?.is_none() {
        let help = format!("put the age identity that opens the escrow at `{}`, and run again", quoted(&identity));
        return Err(workspace.no_identity(&help));
    }
    world.terminal.warn(&format!(
        "{path} exists without its certificate: an earlier run was interrupted, or git has the certificate on another branch; the one in the escrow is written"
    ));
    let in_escrow = |error: Error| error.in_file(&path);
    let keys = workspace.change_keys()?;
    let escrow = workspace.escrow(None, world)?;
    let alone = || {
        Error::bad_input("no certificate is in it", "restore `sealing.crt` from git, or from the controller with `seal-secrets fetch-cert`")
    };
    // After a `renew` everything is sealed to the newest key.
    let (_, key, pem) = escrow.pairs.newest(|_| Some(())).ok_or_else(|| in_escrow(alone()))?;
    let (_, certificate) = try_pair(key, pem, world.key_bits, (world.clock)(), world.entropy.as_mut()).map_err(in_escrow)?;
    // The escrow is no proof: anyone can encrypt one to a recipient, with their own key in it.
    workspace.trust(args.accepted.accept_certificate, world)?.accept(&certificate, ESCROW, world)?;
    let count = escrow::count_recipients(&escrow.encrypted)?;
    let whose = if own_identity { own(workspace) } else { others(workspace, count) };
    done(workspace, &keys, &certificate, pem, &whose, world)
}

/// For whom the escrow is encrypted, and what to keep offline.
fn own(workspace: &Workspace) -> [String; 2] {
    let path = |name| workspace.places.in_keys(name);
    [format!("the identity in {}", path(IDENTITY)), format!("{} and {}", path(IDENTITY), path(ESCROW))]
}

fn others(workspace: &Workspace, count: usize) -> [String; 2] {
    let escrow = workspace.places.in_keys(ESCROW);
    [crate::show::counted(count, "recipient"), format!("{escrow} and the recipients' identities")]
}

fn done(
    workspace: &Workspace,
    keys: &KeysChange<'_>,
    certificate: &SealingCertificate,
    pem: &str,
    [to, keep]: &[String; 2],
    world: &mut World,
) -> Result<Outcome> {
    keys.pin(pem)?;
    let path = |name| workspace.places.in_keys(name);
    world.terminal.print(&format!(
        "made {} {}, RSA-{}, until {}\nmade {}, the escrow: its private key, encrypted to {to}; read back, and it opens\nkeep offline, in two places: {keep}. Without them nothing can be recovered\nnext: {}\n",
        path(CERTIFICATE),
        certificate.digest,
        certificate.bits(),
        certificate.ends(),
        path(ESCROW),
        workspace.command("bootstrap"),
    ))?;
    Ok(Outcome::Done)
}
