//! `renew`: a new sealing key pair, and everything in `out/` sealed to it.
//!
//! The order makes every crash harmless: first the escrow gets the new key beside the old ones, then each value moves, and
//! the certificate comes last. A run that finds a key in the escrow which is newer than the certificate finishes with it.

use super::carry_out::check_json;
use super::keys::{self, CERTIFICATE, IDENTITY};
use super::re_encrypt::{Tally, runbook};
use super::sealed_files::SealedFiles;
use super::{Outcome, called, confirm, keygen};
use crate::cli::{Folders, Renew};
use crate::model::{CertificateDigest, Error, Result};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::private_key::{self, Pair};
use crate::pipeline::re_encrypt::Work;
use crate::pipeline::rsa_soundness::USUAL_BITS;
use crate::pipeline::seal::Sealer;
use crate::world::folder::{Existing, Folder};
use crate::world::{World, files, git};

pub(super) fn run(folders: &Folders, args: &Renew, world: &mut World) -> Result<Outcome> {
    check_json(args.consent.json, args.consent.dry_run)?;
    git::check_kept_out(&*world.disk, &folders.keys, &[IDENTITY])?;
    let out = files::exists(&*world.disk, &folders.out)?.then(|| folders.out.clone());
    let sealed = SealedFiles::find(out.as_slice(), folders, !args.consent.dry_run, world)?;
    // One that has ended is just what is renewed: it is not judged.
    let pinned = keys::certificate(folders, world)?;
    let escrow = keys::open_to_change(folders, args.identity.as_deref(), world)?;
    let pairs = keys::pairs(folders, &escrow.pem)?;
    let begun = begun(&pairs, &pinned, fit(world));
    let digest = begun.map(|(certificate, _)| certificate.digest);
    let tally = look(folders, &sealed, &escrow.pem, digest, world)?;
    if args.consent.dry_run {
        let text = if args.consent.json { format!("{:#}\n", tally.json(folders, digest)) } else { plan(&tally, digest) };
        world.terminal.print(&text)?;
        return Ok(Outcome::Done);
    }
    let (key, moved) =
        (digest.map_or("a new sealing key".to_owned(), |digest| format!("the newer key of the escrow, {digest}")), tally.moved);
    confirm(&format!("{key} takes the place of {}, and {moved} SealedSecrets are sealed to it", pinned.digest), args.consent.yes, world)?;
    let (keys_folder, _lock) = keys::folder_to_change(folders, world)?;
    let pem = match begun {
        Some((certificate, _)) => {
            world.terminal.warn(&format!("the escrow holds a newer key, {}: this run finishes with it", certificate.digest));
            escrow.pem
        }
        None => {
            let latest = pairs.iter().filter_map(|pair| pair.certificate.as_ref()).map(|(certificate, _)| certificate.not_before());
            let pair = keygen::new_pair(latest.chain([pinned.not_before()]).max(), world)?;
            keys::tell_recipients(folders, &escrow.recipients, world);
            let grown = keys::grown(&escrow.pem, &[&pair]);
            keys::encrypt_escrow(&grown, &escrow.recipients, world)?.write(&keys_folder, Some(&escrow.encrypted))?;
            grown
        }
    };
    move_to(folders, &pem, &pinned, &sealed, &keys_folder, world)
}

/// The newest key of the escrow that is fit, where it is newer than the pinned certificate.
pub(super) fn begun<'p>(
    pairs: &'p [Pair],
    pinned: &SealingCertificate,
    fit: impl Fn(&SealingCertificate) -> bool,
) -> Option<&'p (SealingCertificate, String)> {
    let newer = |certificate: &SealingCertificate| {
        certificate.not_before() > pinned.not_before() && certificate.digest != pinned.digest && fit(certificate)
    };
    private_key::newest(pairs, newer).and_then(|pair| pair.certificate.as_ref())
}

/// Whether one may be sealed to today: `backup` may have brought others.
fn fit(world: &World) -> impl Fn(&SealingCertificate) -> bool + use<> {
    let now = (world.clock)();
    move |certificate| certificate.judge(now, USUAL_BITS).is_ok()
}

/// Opens everything before anything is made: what does not open now would be lost to sight later.
fn look(folders: &Folders, sealed: &SealedFiles, escrow: &str, digest: Option<CertificateDigest>, world: &mut World) -> Result<Tally> {
    let ring = keys::sealing_keys(folders, escrow)?;
    // A digest that no key has: every value is going to move.
    let to = digest.unwrap_or_else(|| CertificateDigest::new([0; 32]));
    let mut tally = Tally::quiet(true);
    tally.go_through(sealed, &Work::new(&ring, to, None, None), world)?;
    if tally.failed.is_empty() {
        return Ok(tally);
    }
    Err(Error::refused(
        format!("{} SealedSecrets or files do not open with the escrow", tally.failed.len()),
        "restore them from git, or add the key they are sealed to with `seal-secrets backup`; nothing was changed",
    ))
}

fn plan(tally: &Tally, digest: Option<CertificateDigest>) -> String {
    match digest {
        Some(digest) => format!("to do: finish with the escrow's newer key {digest}: {} SealedSecrets to re-encrypt\n", tally.moved),
        None => format!("to do: a new sealing key, and {} SealedSecrets to re-encrypt to it\n", tally.moved),
    }
}

/// Everything to the escrow's newest key; the certificate last.
fn move_to(
    folders: &Folders,
    escrow: &str,
    pinned: &SealingCertificate,
    sealed: &SealedFiles,
    keys_folder: &Folder,
    world: &mut World,
) -> Result<Outcome> {
    let pairs = keys::pairs(folders, escrow)?;
    let lost = || Error::cryptography("the escrow does not hold the new key", "run again, and report it if it stays");
    let (certificate, pem) = begun(&pairs, pinned, fit(world)).ok_or_else(lost)?;
    let ring = keys::sealing_keys(folders, escrow)?;
    let sealer = Sealer::new(certificate)?;
    let work = Work::new(&ring, certificate.digest, Some(&sealer), None);
    let mut tally = Tally::default();
    tally.go_through(sealed, &work, world)?;
    if !tally.failed.is_empty() {
        return Err(Error::refused("not everything could be re-encrypted", "mend what is named above, and run again: it goes on"));
    }
    tally.runbook = runbook(folders, certificate.digest, true, world)?;
    keys::write(keys_folder, CERTIFICATE, pem.as_bytes(), 0o644, Existing::Replace)?;
    let path = folders.keys.join(CERTIFICATE);
    world.terminal.print(&tally.summary(folders, work.proves(), certificate.digest, false))?;
    world.terminal.print(&format!(
        "{} is {} now, until {}; the escrow holds {} keys\n\
         next, in this order:\n\
         1. keep the new {} offline, in two places\n\
         2. give the controller its keys: {} key-secret | kubectl apply -f -\n\
         3. restart it: kubectl -n kube-system rollout restart deployment/sealed-secrets-controller\n\
         4. commit {} and {}\n",
        path.display(),
        certificate.digest,
        certificate.ends(),
        pairs.len(),
        keys::escrow_path(folders).display(),
        called(folders),
        path.display(),
        folders.out.display(),
    ))?;
    Ok(Outcome::Done)
}
