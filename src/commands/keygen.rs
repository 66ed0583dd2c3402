//! `keygen`: the sealing key pair, before any cluster exists.
//!
//! The order makes every crash harmless: identity or list of recipients, escrow, proof, and the certificate last. Until the certificate is
//! there nothing can be sealed, and a run that finds an escrow without one finishes what was begun.

use std::path::Path;
use std::time::SystemTime;

use zeroize::Zeroizing;

use super::Outcome;
use super::keys::{self, CERTIFICATE, ESCROW, IDENTITY, RECIPIENTS};
use crate::cli::{Folders, Keygen};
use crate::model::{Error, Result, Scope, SecretValue};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::private_key::{self, SealingKey};
use crate::pipeline::recipients::Recipient;
use crate::pipeline::rsa_soundness::USUAL_BITS;
use crate::pipeline::seal::Sealer;
use crate::pipeline::{escrow, keygen, recipients, unseal};
use crate::world::World;
use crate::world::files;
use crate::world::folder::{Existing, Folder};
use crate::world::git;

pub(super) fn run(folders: &Folders, args: &Keygen, world: &mut World) -> Result<Outcome> {
    let named = args.recipients.iter().map(|text| read_recipient("`--recipient`", text)).collect::<Result<Vec<_>>>()?;
    let there = |name: &str, world: &World| files::exists(&*world.disk, &folders.keys.join(name));
    if there(CERTIFICATE, world)? {
        return Err(Error::refused("is there already, and is never overwritten", "nothing is to do: `seal-secrets bootstrap` seals to it")
            .in_file(&folders.keys.join(CERTIFICATE).to_string_lossy()));
    }
    if !named.is_empty() && there(ESCROW, world)? {
        let help = "run `seal-secrets keygen` to finish it, then `seal-secrets escrow add-recipient` for each";
        return Err(Error::refused("an earlier run was interrupted; its escrow is there, and is not encrypted anew here", help)
            .in_file(&folders.keys.join(ESCROW).to_string_lossy()));
    }
    // What is there is judged before the first folder or file is made.
    let before = keys::listed(folders, world)?.map(|(text, _)| text);
    let own = named.is_empty() && before.is_none();
    let found = own && there(IDENTITY, world)? && !there(ESCROW, world)?;
    let found = found.then(|| keys::identities(folders, None, world)).transpose()?;
    git::check_kept_out(&*world.disk, &folders.keys, &[IDENTITY])?;
    if let Some(folder) = Folder::open(&*world.disk, &folders.keys)? {
        [IDENTITY, RECIPIENTS, ESCROW, CERTIFICATE].iter().try_for_each(|name| folder.check(name, Existing::Replace))?;
    }
    let (folder, _lock) = keys::folder_to_change(folders, world)?;
    if there(ESCROW, world)? {
        return finish(folders, &folder, before.is_none(), world);
    }
    let pair = new_pair(None, world)?;
    let recipients = if own {
        let identities = found.map_or_else(|| keys::make_identity(folders, &folder, world), Ok)?;
        let recipients = identities.recipients()?;
        keys::encrypt_escrow(&pair, &recipients, world)?.write(&folder, None)?;
        check_pair(&identities.open(&folder.read_file(ESCROW)?)?, world)?;
        recipients
    } else {
        let text = recipients::with(before.as_deref(), &named);
        let recipients = recipients::read_recipients(&text)?;
        let escrow = keys::encrypt_escrow(&pair, &recipients, world)?;
        if before.as_ref() != Some(&text) {
            keys::write(&folder, RECIPIENTS, text.as_bytes(), 0o644, Existing::Replace)?;
        }
        escrow.write(&folder, None)?;
        recipients
    };
    keys::write(&folder, CERTIFICATE, certificate_text(&pair).as_bytes(), 0o644, Existing::Keep)?;
    report(folders, recipients.len(), own, world)
}

/// A new sealing key pair in PEM, certificate first, tried out; its certificate begins later than `after`.
pub(super) fn new_pair(after: Option<SystemTime>, world: &mut World) -> Result<Zeroizing<String>> {
    let key = keygen::new_key(world.entropy.as_mut())?;
    let certificate = keygen::new_certificate(&key, (world.clock)(), after, world.entropy.as_mut())?;
    let private = private_key::write_pem(&key)?;
    let pair = Zeroizing::new([certificate.as_str(), private.as_str()].concat());
    check_pair(&pair, world)?;
    Ok(pair)
}

/// A recipient of the command line.
pub(super) fn read_recipient(argument: &str, text: &str) -> Result<Recipient> {
    Recipient::parse(text).map_err(|error| {
        let help = "write it as the `age1…` that `age-keygen -y` or its plugin prints; an SSH key is not taken, an identity is a secret";
        Error::usage(format!("{argument} is not an age recipient"), help).why(error.what())
    })
}

/// Seals a probe to the certificate and opens it with the key.
fn check_pair(pem: &str, world: &mut World) -> Result<SealingCertificate> {
    let certificate = certificate_of(pem)?;
    certificate.judge((world.clock)(), USUAL_BITS)?;
    let failed = || {
        Error::cryptography(
            "the new key does not open what is sealed to its certificate",
            "nothing was kept; try again, and report it if it stays",
        )
    };
    let keys = private_key::read_pem(pem)?.iter().map(SealingKey::new).collect::<Result<Vec<_>>>()?;
    if !keys.iter().any(|key| key.digest == certificate.digest) {
        return Err(failed());
    }
    let mut probe = Zeroizing::new(vec![0; 32]);
    world.entropy.try_fill_bytes(&mut probe)?;
    let label = Scope::Strict.label("seal-secrets", "probe");
    let values = vec![(label.clone(), SecretValue::new(probe.clone()))];
    let blobs = Sealer::new(&certificate)?.seal_all(values, world.entropy.as_mut(), std::num::NonZeroUsize::MIN)?;
    let opened = unseal::open(&keys, &label, &blobs[0])?;
    if opened.expose() == probe.as_slice() { Ok(certificate) } else { Err(failed()) }
}

/// The certificate of an escrow's text.
fn certificate_of(pem: &str) -> Result<SealingCertificate> {
    SealingCertificate::read(certificate_text(pem).as_bytes())
}

fn certificate_text(pem: &str) -> &str {
    const END: &str = "-----END CERTIFICATE-----\n";
    let end = pem.find(END).map_or(0, |at| at + END.len());
    &pem[..end]
}

/// An earlier run was ended between escrow and certificate: the escrow holds both.
fn finish(folders: &Folders, folder: &Folder, own: bool, world: &mut World) -> Result<Outcome> {
    let path = folders.keys.join(ESCROW);
    if !files::exists(&*world.disk, &folders.keys.join(IDENTITY))? {
        return Err(Error::refused(
            "an escrow is there without its certificate, and its identity is elsewhere",
            format!(
                "put the identity at {} and run again; or, if nothing was ever sealed to it, move the escrow away",
                folders.keys.join(IDENTITY).display()
            ),
        )
        .in_file(&path.to_string_lossy()));
    }
    let opened = keys::open_escrow(folders, None, world)?;
    let in_escrow = |error: Error| error.in_file(&path.to_string_lossy());
    let pairs = keys::pairs(folders, &opened)?;
    // After a `renew` everything is sealed to the newest.
    let newest = private_key::newest(&pairs, |_| true).and_then(|pair| Some((pair, &pair.certificate.as_ref()?.1)));
    let alone = || {
        Error::bad_input("no certificate is in it", "restore `sealing.crt` from git, or from the controller with `seal-secrets fetch-cert`")
    };
    let (pair, certificate) = newest.ok_or_else(|| in_escrow(alone()))?;
    let text = Zeroizing::new([certificate.as_str(), &private_key::write_pem(&pair.key)?].concat());
    check_pair(&text, world).map_err(in_escrow)?;
    keys::write(folder, CERTIFICATE, certificate.as_bytes(), 0o644, Existing::Keep)?;
    world.terminal.warn("an earlier run was interrupted; its escrow was found, and its certificate written");
    report(folders, escrow::count_recipients(&keys::read_escrow(folders, world)?)?, own, world)
}

fn report(folders: &Folders, recipients: usize, own: bool, world: &mut World) -> Result<Outcome> {
    let certificate = keys::certificate(folders, world)?;
    let path = |name: &str| Path::new(&folders.keys).join(name).display().to_string();
    let (to, keep) = if own {
        (format!("the identity in {}", path(IDENTITY)), format!("{} and {}", path(IDENTITY), path(ESCROW)))
    } else {
        (format!("{recipients} recipients"), format!("{} and the recipients' identities", path(ESCROW)))
    };
    world.terminal.print(&format!(
        "made {} {}, RSA-4096, until {}\nmade {}, the escrow: its private key, encrypted to {to}; read back, and it opens\nkeep offline, in two places: {keep}. Without them nothing can be recovered\nnext: seal-secrets bootstrap\n",
        path(CERTIFICATE),
        certificate.digest,
        certificate.ends(),
        path(ESCROW),
    ))?;
    Ok(Outcome::Done)
}
