//! `keygen`: the sealing key pair, before any cluster exists.
//!
//! The order makes every crash harmless: identity, escrow, proof, and the certificate last. Until the certificate is
//! there nothing can be sealed, and a run that finds an escrow without one finishes what was begun.

use std::path::Path;
use std::str::FromStr;
use std::time::SystemTime;

use age::x25519::{Identity, Recipient};
use zeroize::Zeroizing;

use super::Outcome;
use super::keys::{self, CERTIFICATE, ESCROW, IDENTITY, RECIPIENTS};
use crate::cli::{Folders, Keygen};
use crate::model::{Error, Result, Scope, SecretValue};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::private_key::{self, SealingKey};
use crate::pipeline::rsa_soundness::USUAL_BITS;
use crate::pipeline::seal::Sealer;
use crate::pipeline::{escrow, keygen, unseal};
use crate::world::World;
use crate::world::files;
use crate::world::folder::{Existing, Folder, Writer};
use crate::world::git;

/// The escrow may be committed by a team with a private repository: it then removes that line.
pub(super) const GITIGNORE: &str = "*.agekey\nsealing.key.age\n*.tmp\n";

pub(super) fn run(folders: &Folders, args: &Keygen, world: &mut World) -> Result<Outcome> {
    let named = args.recipients.iter().map(|text| read_recipient(text)).collect::<Result<Vec<_>>>()?;
    if files::exists(&folders.keys.join(CERTIFICATE)) {
        return Err(Error::refused("is there already, and is never overwritten", "nothing is to do: `seal-secrets bootstrap` seals to it")
            .in_file(&folders.keys.join(CERTIFICATE).to_string_lossy()));
    }
    // What is there is judged before the first folder or file is made.
    let recipients = recipients(folders, named)?;
    if recipients.is_none() && files::exists(&folders.keys.join(IDENTITY)) {
        keys::read_identities(&folders.keys.join(IDENTITY))?;
    }
    git::check_kept_out(&folders.keys, &[IDENTITY])?;
    if let Some(folder) = Folder::open(&folders.keys)? {
        [IDENTITY, ESCROW, CERTIFICATE].iter().try_for_each(|name| folder.check(name, Existing::Replace))?;
    }
    let folder = super::create(folders, &folders.keys, 0o755)?;
    let _lock = folder.lock()?;
    folder.remove_leftovers()?;
    git::keep_out(&folder, GITIGNORE)?;
    if files::exists(&folders.keys.join(ESCROW)) {
        return finish(folders, &folder, world);
    }
    let pair = new_pair(None, world)?;
    let (recipients, new_identity) = match recipients {
        Some(recipients) => (recipients, false),
        None => (vec![own_identity(folders, &folder)?], true),
    };
    let (encrypted, proof) = escrow::encrypt(&pair, &recipients)?;
    write(&folder, ESCROW, &encrypted)?;
    let written = folder.read_file(ESCROW)?;
    let opened = if new_identity { open_with_own(folders, &written)? } else { escrow::decrypt(&written, &[&proof])? };
    check_pair(&opened, world)?;
    write(&folder, CERTIFICATE, certificate_text(&pair).as_bytes())?;
    report(folders, recipients.len(), new_identity, world)
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

/// Puts more keys into the escrow: encrypts, writes in one step, reads back from the disk and opens it.
pub(super) fn store(
    folders: &Folders,
    folder: &Folder,
    pem: &str,
    recipients: Option<Vec<Recipient>>,
    identity: Option<&Path>,
) -> Result<()> {
    git::keep_out(folder, GITIGNORE)?;
    let recipients = match (recipients, identity) {
        (Some(recipients), _) => recipients,
        // An identity that is named may be the only one that there is.
        (None, Some(path)) => keys::read_identities(path)?.iter().map(Identity::to_public).collect(),
        (None, None) => vec![own_identity(folders, folder)?],
    };
    let (encrypted, proof) = escrow::encrypt(pem, &recipients)?;
    let mut writer = Writer::new(folder);
    writer.write(ESCROW, &encrypted, 0o644, Existing::Replace)?;
    writer.finish()?;
    let opened = escrow::decrypt(&folder.read_file(ESCROW)?, &[&proof])?;
    if *opened == *pem {
        return Ok(());
    }
    let help = format!("run again; {RECIPIENTS} and the disk should be looked at if it stays");
    Err(Error::cryptography("the escrow that was read back is not the one that was written", help))
}

fn read_recipient(text: &str) -> Result<Recipient> {
    Recipient::from_str(text).map_err(|_| {
        Error::usage(
            "`--recipient` is not an age recipient",
            "write it as the `age1…` that `age-keygen -y` prints; an SSH key is not taken, an identity is a secret",
        )
    })
}

/// The recipients that the operator named; `None` = none, so an identity is needed.
pub(super) fn recipients(folders: &Folders, mut named: Vec<Recipient>) -> Result<Option<Vec<Recipient>>> {
    let path = folders.keys.join(RECIPIENTS);
    if files::exists(&path) {
        let text = super::read_text(&path)?;
        let more = escrow::read_recipients(&text).map_err(|error| error.in_file(&path.to_string_lossy()))?;
        if more.is_empty() {
            return Err(
                Error::bad_input("names no recipient", "add one `age1…` a line, or remove the file").in_file(&path.to_string_lossy())
            );
        }
        named.extend(more);
    }
    named.sort_by_key(Recipient::to_string);
    named.dedup_by_key(|recipient| recipient.to_string());
    Ok((!named.is_empty()).then_some(named))
}

/// The recipient of `operator.agekey`, which is made where it is not there yet.
pub(super) fn own_identity(folders: &Folders, folder: &Folder) -> Result<Recipient> {
    let path = folders.keys.join(IDENTITY);
    if !files::exists(&path) {
        let (text, _) = escrow::new_identity();
        let mut writer = Writer::new(folder);
        writer.write(IDENTITY, text.as_bytes(), 0o600, Existing::Keep)?;
        writer.finish()?;
    }
    let identities = keys::read_identities(&path)?;
    let first = identities.first().map(Identity::to_public);
    first.ok_or_else(|| Error::bad_input("no age identity in it", "move it away, and run again"))
}

fn open_with_own(folders: &Folders, escrow: &[u8]) -> Result<Zeroizing<String>> {
    let identities = keys::read_identities(&folders.keys.join(IDENTITY))?;
    let identities: Vec<&dyn age::Identity> = identities.iter().map(|identity| identity as _).collect();
    escrow::decrypt(escrow, &identities)
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

fn write(folder: &Folder, name: &str, bytes: &[u8]) -> Result<()> {
    let mut writer = Writer::new(folder);
    writer.write(name, bytes, 0o644, Existing::Keep)?;
    writer.finish().map(|_| ())
}

/// An earlier run was ended between escrow and certificate: the escrow holds both.
fn finish(folders: &Folders, folder: &Folder, world: &mut World) -> Result<Outcome> {
    let path = folders.keys.join(ESCROW);
    if !files::exists(&folders.keys.join(IDENTITY)) {
        return Err(Error::refused(
            "an escrow is there without its certificate, and its identity is elsewhere",
            format!(
                "put the identity at {} and run again; or, if nothing was ever sealed to it, move the escrow away",
                folders.keys.join(IDENTITY).display()
            ),
        )
        .in_file(&path.to_string_lossy()));
    }
    let pair = keys::open_escrow(folders, None)?;
    check_pair(&pair, world).map_err(|error| error.in_file(&path.to_string_lossy()))?;
    write(folder, CERTIFICATE, certificate_text(&pair).as_bytes())?;
    world.terminal.warn("an earlier run was interrupted; its escrow was found, and its certificate written");
    report(folders, 1, true, world)
}

fn report(folders: &Folders, recipients: usize, own: bool, world: &mut World) -> Result<Outcome> {
    let certificate = keys::certificate(folders)?;
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
