//! `renew`: makes a new sealing key pair, and seals everything in `out/` to it.
//!
//! The order makes every crash harmless: first the escrow gets the new key besides the old ones, then each value moves, and the certificate
//! comes last. A run that finds a key in the escrow which is newer than the certificate completes the renewal.

use std::time::SystemTime;

use super::Outcome;
use crate::cli::Renew;
use crate::model::{CertificateDigest, Error, ErrorKind, Result};
use crate::pipeline::certificate::{FitCertificate, SealingCertificate};
use crate::pipeline::keygen::{MAKING, new_pair};
use crate::pipeline::pins::How;
use crate::pipeline::re_encrypt::Work;
use crate::pipeline::seal::{Sealer, SessionKeys};
use crate::pipeline::tally::{Event, Tally};
use crate::show::{self, counted};
use crate::workspace::Workspace;
use crate::workspace::escrow::{ChangedEscrow, Encrypter, Escrow, grown};
use crate::workspace::keys::{CERTIFICATE, ESCROW};
use crate::workspace::sealed_files::{SealedFiles, with_keys};
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &Renew, world: &mut World) -> Result<Outcome> {
    workspace.check_identity_kept_out(world)?;
    let dry = args.consent.dry_run;
    let sealed = workspace.sealed_files_of_out(!dry, world)?;
    // A certificate that has ended is the very reason to renew: it is not judged.
    let before = workspace.certificate()?;
    let pinned = before.sealing.clone();
    let ChangedEscrow { mut escrow, recipients, .. } = workspace.escrow_to_change(args.identity.as_deref(), world)?;
    // Values may be sealed to it today: `backup` may have brought others.
    let (now, bits) = ((world.clock)(), world.key_bits);
    let fit = |certificate: &SealingCertificate| certificate.clone().judge_of_pair(now, bits).ok();
    let found = escrow.pairs.newer_than(&pinned, fit).map(|(certificate, pem)| (certificate, pem.to_owned()));
    let begun = found.as_ref().map(|(certificate, _)| certificate.digest);
    let mut trust = workspace.trust(args.accepted.accept_certificate, world)?;
    if !dry && trust.is_pending(pinned.digest) {
        world.terminal.warn("an earlier run was interrupted at its last step, which is done now");
        trust.complete(pinned.digest, world)?;
        return report(workspace, &pinned, &Tally::default(), escrow.pairs.list.len(), world);
    }
    if !begun.is_some_and(|begun| trust.accepts(begun)) {
        trust.check(pinned.digest, CERTIFICATE)?;
    }
    let mut record = show::tally::Record::default();
    let tally = look(workspace, &sealed, &escrow, begun, &mut record, world)?;
    if dry {
        let json = || record.json(&workspace.places, &tally, begun);
        world.terminal.print(&if args.consent.printed.is_json() { json() } else { plan(tally.moved, begun) })?;
        return Ok(Outcome::Done);
    }
    let key = begun.map_or("a new sealing key".to_owned(), |digest| format!("the newer key of the escrow, {digest}"));
    let what = format!("replace {} by {key}, and re-encrypt {} to it", pinned.digest, counted(tally.moved, "SealedSecret"));
    world.terminal.confirm(&what, args.consent.yes)?;
    let keys = workspace.change_keys()?;
    let (certificate, pem) = match found {
        Some(found) => {
            let digest = found.0.digest;
            if !trust.accepts(digest) {
                trust.accept(&found.0, ESCROW, world)?;
            }
            trust.announce(digest, How::Renew, world)?;
            world.terminal.warn(&format!("the escrow holds a newer key, {digest}: this run completes the renewal with it"));
            found
        }
        None => {
            let encrypter = Encrypter::to(&recipients, world)?;
            let pair = world.terminal.while_working(MAKING, || new_pair(bits, now, latest(&escrow, &pinned), world.entropy.as_mut()))?;
            workspace.tell_recipients(&recipients, world);
            let pem = grown(&escrow.pem, &[&pair.pem]);
            let new = encrypter.encrypt(&pem)?;
            trust.announce(pair.certificate.digest, How::Renew, world)?;
            keys.write_escrow(&new, Some(&escrow.encrypted))?;
            escrow.add(pair)
        }
    };
    let tally = move_to(workspace, &certificate, &sealed, &escrow, world)?;
    keys.pin_another(&pem, &before)?;
    trust.settle(certificate.digest, How::Renew, world)?;
    report(workspace, &certificate, &tally, escrow.pairs.list.len(), world)
}

/// When the latest certificate begins: a new one begins later.
fn latest(escrow: &Escrow, pinned: &SealingCertificate) -> Option<SystemTime> {
    let certificates = escrow.pairs.list.iter().filter_map(|pair| Some(&pair.certificate.as_ref()?.0));
    certificates.chain([pinned]).map(SealingCertificate::not_before).max()
}

/// Opens everything before anything is made: what does not open now would go unnoticed later.
fn look(
    workspace: &Workspace,
    sealed: &SealedFiles,
    escrow: &Escrow,
    begun: Option<CertificateDigest>,
    record: &mut show::tally::Record,
    world: &mut World,
) -> Result<Tally> {
    // A digest that no key has: every value will move.
    let to = begun.unwrap_or_else(|| CertificateDigest::new([0; 32]));
    let work = Work::new(&escrow.pairs.openers, to, None, None);
    let mut tally = Tally::default();
    let mut tell = |event: Event, world: &mut World| {
        record.keep(&event);
        if let Event::Failed(error) = event { failed(workspace, error, world) } else { Ok(()) }
    };
    let mut session_keys = SessionKeys::default();
    sealed.handle(&mut tally, world, &mut tell, &mut |files, world| with_keys(files, &work, &mut session_keys, world))?;
    if tally.failed == 0 {
        return Ok(tally);
    }
    let help = "restore them from git, or add the key they are sealed to with `seal-secrets backup`; nothing was changed";
    Err(Error::refused(format!("{} or files do not open with the escrow", counted(tally.failed, "SealedSecret")), help))
}

/// Reports what does not open, and goes on with the others; a failing disk proves nothing about a value.
fn failed(workspace: &Workspace, error: Error, world: &mut World) -> Result<()> {
    if error.kind == ErrorKind::InputOutput {
        return Err(error);
    }
    world.terminal.tell(&show::tally::failed(&workspace.places, &error));
    Ok(())
}

fn plan(moved: usize, begun: Option<CertificateDigest>) -> String {
    let moved = counted(moved, "SealedSecret");
    match begun {
        Some(digest) => format!("to do: complete the renewal with the escrow's newer key {digest}: {moved} to re-encrypt\n"),
        None => format!("to do: a new sealing key, and {moved} to re-encrypt to it\n"),
    }
}

fn move_to(workspace: &Workspace, to: &FitCertificate, sealed: &SealedFiles, escrow: &Escrow, world: &mut World) -> Result<Tally> {
    let sealer = Sealer::new(to)?;
    let work = Work::new(&escrow.pairs.openers, to.digest, Some(&sealer), None);
    let mut tally = Tally { proved: work.proves(), ..Tally::default() };
    let mut tell = |event: Event, world: &mut World| match event {
        Event::Moved { file, name, from } => world.terminal.print(&show::tally::moved(&file, &name, from)),
        Event::Failed(error) => failed(workspace, error, world),
    };
    let mut session_keys = SessionKeys::default();
    sealed.handle(&mut tally, world, &mut tell, &mut |files, world| with_keys(files, &work, &mut session_keys, world))?;
    if tally.failed > 0 {
        return Err(Error::refused("not everything could be re-encrypted", "fix what is named above, and run again: it goes on"));
    }
    tally.runbook = workspace.out()?.update_runbook(to.digest, true)?;
    Ok(tally)
}

fn report(workspace: &Workspace, certificate: &SealingCertificate, tally: &Tally, keys: usize, world: &mut World) -> Result<Outcome> {
    world.terminal.print(&show::tally::summary(&workspace.places, tally, certificate.digest, false))?;
    let (path, escrow) = (workspace.places.in_keys(CERTIFICATE), workspace.places.in_keys(ESCROW));
    world.terminal.print(&format!(
        "{path} is {} now, until {}; the escrow holds {keys} keys\n\
         next, in this order:\n\
         1. keep the new {escrow} offline, in two places, instead of your old copies\n\
         2. give the controller its keys: {} | kubectl apply -f -\n\
         3. restart it: kubectl -n kube-system rollout restart deployment/sealed-secrets-controller\n\
         4. commit {path} and {}\n",
        certificate.digest,
        certificate.ends(),
        workspace.command("key-secret"),
        workspace.places.out,
    ))?;
    Ok(Outcome::Done)
}
