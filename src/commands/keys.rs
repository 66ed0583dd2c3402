//! The keys folder: what every command that seals or opens reads from it, and how the escrow is written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cli::Folders;
use crate::manifest::text;
use crate::model::{Change, Error, ErrorKind, Name, Reason, Result, visible};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::escrow::Proof;
use crate::pipeline::private_key::{Pair, SealingKey};
use crate::pipeline::recipients::{Identity, Recipient, RecipientKind};
use crate::pipeline::{escrow, memory, private_key, recipients};
use crate::world::folder::{Existing, Folder, Lock, Writer};
use crate::world::operator::Operator;
use crate::world::{World, files, git};

pub(super) const CERTIFICATE: &str = "sealing.crt";
pub(super) const ESCROW: &str = "sealing.key.age";
pub(super) const IDENTITY: &str = "operator.agekey";
pub(super) const RECIPIENTS: &str = "recipients.txt";

const MEMORY: &str = "write-once.txt";

/// The escrow may be committed by a team with a private repository: it then removes that line.
const GITIGNORE: &str = "*.agekey\nsealing.key.age\n*.tmp\n";

/// The keys folder, made where it is not there, and this run's own until the lock is dropped.
pub(super) fn folder_to_change(folders: &Folders, world: &World) -> Result<(Folder, Lock)> {
    let folder = super::create(folders, &folders.keys, 0o755, world)?;
    let lock = folder.lock()?;
    folder.remove_leftovers_here()?;
    Ok((folder, lock))
}

/// The sealing certificate, not yet judged.
pub(super) fn certificate(folders: &Folders, world: &World) -> Result<SealingCertificate> {
    let path = folders.keys.join(CERTIFICATE);
    let name = path.to_string_lossy();
    if !files::exists(&*world.disk, &path)? {
        return Err(Error::bad_input("no such file", "make the sealing key first: `seal-secrets keygen`").in_file(&name));
    }
    let bytes = files::read(&*world.disk, &path, &name, files::Kind::Public)?;
    SealingCertificate::read(&bytes).map_err(|error| error.in_file(&name))
}

/// The sealing certificate, fit to be sealed to; one that ends soon is warned of.
pub(super) fn fit_certificate(folders: &Folders, least_bits: u32, world: &mut World) -> Result<SealingCertificate> {
    let certificate = certificate(folders, world)?;
    let name = folders.keys.join(CERTIFICATE);
    let ends_soon = certificate.judge((world.clock)(), least_bits).map_err(|error| error.in_file(&name.to_string_lossy()))?;
    if ends_soon {
        world.terminal.warn(&format!("the sealing certificate ends on {}: a new sealing key is due", certificate.ends()));
    }
    Ok(certificate)
}

/// Whoever may open the escrow, ready to do so.
pub(super) struct Identities {
    list: Vec<Identity>,
    operator: Operator,
}

impl Identities {
    /// The escrow's PEM text.
    pub(super) fn open(&self, escrow: &[u8]) -> Result<Zeroizing<String>> {
        let identity = |identity: &Identity| -> Box<dyn age::Identity> {
            match identity {
                Identity::X25519(identity) => Box::new(identity.clone()),
                Identity::Plugin(identity) => self.operator.identity(identity.clone()),
            }
        };
        let all: Vec<Box<dyn age::Identity>> = self.list.iter().map(identity).collect();
        let all: Vec<&dyn age::Identity> = all.iter().map(|identity| &**identity).collect();
        escrow::decrypt(escrow, &all).map_err(|error| self.operator.failure().unwrap_or(error))
    }

    /// The recipients of those that open this escrow by themselves; a plugin alone knows that of its own, and is not asked.
    pub(super) fn able(&self, escrow: &[u8]) -> Result<Vec<Recipient>> {
        let mut able = Vec::new();
        for identity in &self.list {
            if let Identity::X25519(identity) = identity
                && escrow::decrypt(escrow, &[identity]).is_ok()
            {
                able.push(recipient_of(identity)?);
            }
        }
        Ok(able)
    }

    /// The recipients that belong to them.
    pub(super) fn recipients(&self) -> Result<Vec<Recipient>> {
        let recipient = |identity: &Identity| match identity {
            Identity::X25519(identity) => recipient_of(identity),
            Identity::Plugin(_) => Err(Error::bad_input(
                "the recipient of a plugin's identity is known to the plugin alone",
                format!("write it into {RECIPIENTS} in the keys folder, as the plugin prints it"),
            )),
        };
        self.list.iter().map(recipient).collect()
    }
}

fn recipient_of(identity: &age::x25519::Identity) -> Result<Recipient> {
    Recipient::parse(&identity.to_public().to_string())
}

/// The identities of the file that `--identity` names, or of the default one. All that opens the escrow comes through here.
pub(super) fn identities(folders: &Folders, named: Option<&Path>, world: &World) -> Result<Identities> {
    let default = folders.keys.join(IDENTITY);
    let path = named.unwrap_or(&default);
    let mut name = path.to_string_lossy();
    // An identity typed in the place of its file is a secret, and is not repeated.
    if name.to_ascii_uppercase().contains("AGE-") {
        name = "the file of `--identity`".into();
    }
    if named.is_none() && !files::exists(&*world.disk, path)? {
        return Err(Error::bad_input("no such file", "name the age identity that opens the escrow with `--identity FILE`").in_file(&name));
    }
    let bytes = files::read(&*world.disk, path, &name, files::Kind::Secret)?;
    let operator = Operator::new(&world.terminal);
    let list = if recipients::is_encrypted(&bytes) {
        let passphrase = operator.passphrase(&format!("passphrase of {name}: "));
        passphrase
            .and_then(|passphrase| recipients::decrypt_identities(&bytes, passphrase))
            .and_then(|text| recipients::read_identities(&text))
    } else {
        text::decode(&bytes).and_then(recipients::read_identities)
    };
    Ok(Identities { list: list.map_err(|error| error.in_file(&name))?, operator })
}

/// Makes the default identity, which is not there yet.
pub(super) fn make_identity(folders: &Folders, folder: &Folder, world: &World) -> Result<Identities> {
    let (text, _) = escrow::new_identity();
    git::keep_out(folder, GITIGNORE)?;
    write(folder, IDENTITY, text.as_bytes(), 0o600, Existing::Keep)?;
    identities(folders, None, world)
}

fn memory_path(folders: &Folders) -> String {
    folders.keys.join(MEMORY).to_string_lossy().into_owned()
}

/// The text of `write-once.txt`, where it is there.
fn memory_text(folders: &Folders, world: &World) -> Result<Option<String>> {
    let path = folders.keys.join(MEMORY);
    files::exists(&*world.disk, &path)?.then(|| super::read_text(&path, world)).transpose()
}

/// The units that `write-once.txt` remembers of the output folder.
pub(super) fn made(folders: &Folders, world: &World) -> Result<BTreeSet<Name>> {
    let text = memory_text(folders, world)?.unwrap_or_default();
    memory::read(&text, &way_to_out(folders, world)?).map_err(|error| error.in_file(&memory_path(folders)))
}

/// The change that remembers these units, where they are not known yet. Only the certificate is needed to seal, so that a
/// folder which cannot be written to is no reason not to.
pub(super) fn remember(folders: &Folders, known: &BTreeSet<Name>, units: BTreeSet<Name>, world: &mut World) -> Result<Option<Change>> {
    if units.is_subset(known) {
        return Ok(None);
    }
    let file = memory_path(folders);
    if !files::is_writable(&*world.disk, &folders.keys)? {
        world.terminal.warn(&format!(
            "{file} cannot be written: without it nothing is known of write-once values once all of the output folder is gone"
        ));
        return Ok(None);
    }
    let reason = if files::exists(&*world.disk, Path::new(&file))? { Reason::Updated } else { Reason::New };
    Ok(Some(Change::Remember { file, units, reason }))
}

/// Writes that into the folder that is this run's own: another run may have written it since the plan was made.
pub(super) fn write_memory(folders: &Folders, folder: &Folder, units: &BTreeSet<Name>, world: &World) -> Result<()> {
    match memory::with(memory_text(folders, world)?.as_deref(), &way_to_out(folders, world)?, units)? {
        Some(text) => write(folder, MEMORY, text.as_bytes(), 0o644, Existing::Replace),
        None => Ok(()),
    }
}

/// The output folder from the keys folder: the same wherever the repository lies.
fn way_to_out(folders: &Folders, world: &World) -> Result<String> {
    let way = files::way(&*world.disk, &folders.keys, &folders.out)?;
    Ok(if way.as_os_str().is_empty() { ".".to_owned() } else { way.to_string_lossy().into_owned() })
}

/// The text of `recipients.txt` and those it names; `None` where there is no such file.
pub(super) fn listed(folders: &Folders, world: &World) -> Result<Option<(String, Vec<Recipient>)>> {
    let path = folders.keys.join(RECIPIENTS);
    if !files::exists(&*world.disk, &path)? {
        return Ok(None);
    }
    let text = super::read_text(&path, world)?;
    let list = recipients::read_recipients(&text).map_err(|error| error.in_file(&path.to_string_lossy()))?;
    Ok(Some((text, list)))
}

/// Who may open the escrow: those that are listed, or where there is no list the recipients of the identities that opened it.
/// Whoever may open it and is not known would be shut out by the next writing: that is refused, or where there is a list, said.
fn known_recipients(listed: Option<Vec<Recipient>>, identities: &Identities, escrow: &[u8], world: &mut World) -> Result<Vec<Recipient>> {
    let (able, own) = (escrow::count_recipients(escrow)?, identities.able(escrow)?);
    if let Some(list) = listed {
        if able != list.len() {
            world.terminal.warn(&format!("{able} recipients can open the escrow, and {RECIPIENTS} names {}", list.len()));
        }
        if !own.is_empty() && own.iter().all(|own| !list.contains(own)) {
            world
                .terminal
                .warn(&format!("{RECIPIENTS} does not name the identity that opens the escrow here: it will not open the new one"));
        }
        return Ok(list);
    }
    if able > own.len() {
        return Err(Error::refused(
            format!("{able} recipients can open it, and who they are is not known: there is no {RECIPIENTS}"),
            format!("write all of them into {RECIPIENTS} in the keys folder, one `age1…` a line; whoever is left out is shut out"),
        ));
    }
    Ok(own)
}

/// The escrow as it lies there, encrypted.
pub(super) fn read_escrow(folders: &Folders, world: &World) -> Result<Zeroizing<Vec<u8>>> {
    let path = escrow_path(folders);
    files::read(&*world.disk, &path, &path.to_string_lossy(), files::Kind::Public)
}

/// The escrow, opened to be written anew.
pub(super) struct OpenedEscrow {
    /// As it lies there.
    pub(super) encrypted: Zeroizing<Vec<u8>>,
    /// Certificates and private keys, in PEM.
    pub(super) pem: Zeroizing<String>,
    /// The text of `recipients.txt`, where it is there.
    pub(super) list: Option<String>,
    /// Who may open it.
    pub(super) recipients: Vec<Recipient>,
}

/// Opens the escrow for who is going to write it anew: it has to be known to whom.
pub(super) fn open_to_change(folders: &Folders, identity: Option<&Path>, world: &mut World) -> Result<OpenedEscrow> {
    let encrypted = read_escrow(folders, world)?;
    let (list, listed) = listed(folders, world)?.unzip();
    let identities = identities(folders, identity, world)?;
    let known = |world: &mut World| Ok((identities.open(&encrypted)?, known_recipients(listed, &identities, &encrypted, world)?));
    let (pem, recipients) = known(world).map_err(|error: Error| error.in_file(&escrow_path(folders).to_string_lossy()))?;
    Ok(OpenedEscrow { encrypted, pem, list, recipients })
}

/// An escrow's text with more in it; made in one piece, so that no copy of it is left behind.
pub(super) fn grown(before: &str, more: &[&str]) -> Zeroizing<String> {
    let parts = std::iter::once(before).filter(|before| !before.is_empty()).chain(more.iter().copied());
    let lines: Vec<&str> = parts.flat_map(|part| [part.trim_end(), "\n"]).collect();
    Zeroizing::new(lines.concat())
}

/// The escrow's PEM text: certificate and private key.
pub(super) fn open_escrow(folders: &Folders, identity: Option<&Path>, world: &World) -> Result<Zeroizing<String>> {
    let identities = identities(folders, identity, world)?;
    let escrow = read_escrow(folders, world)?;
    identities.open(&escrow).map_err(|error| error.in_file(&escrow_path(folders).to_string_lossy()))
}

/// An escrow that is encrypted and not yet written: a plugin that is missing, or says no, has said so by now.
pub(super) struct NewEscrow<'p> {
    pem: &'p str,
    encrypted: Vec<u8>,
    proof: Proof,
}

/// Tells for whom the escrow is going to be encrypted.
pub(super) fn tell_recipients(folders: &Folders, to: &[Recipient], world: &mut World) {
    let names: String = to.iter().map(|recipient| format!("  {recipient}\n")).collect();
    world.terminal.tell(&format!("{} will open for:\n{names}", visible(&escrow_path(folders).to_string_lossy())));
}

/// Encrypts an escrow's text to these recipients.
pub(super) fn encrypt_escrow<'p>(pem: &'p str, to: &[Recipient], world: &World) -> Result<NewEscrow<'p>> {
    let operator = Operator::new(&world.terminal);
    let mut plugins = Vec::new();
    let mut all: Vec<&dyn age::Recipient> = Vec::new();
    for recipient in to {
        match &recipient.kind {
            RecipientKind::Native(native) => all.push(&**native),
            RecipientKind::Plugin(plugin) => plugins.push(plugin.clone()),
        }
    }
    let plugins = operator.recipients(&plugins)?;
    all.extend(plugins.iter().map(|plugin| &**plugin));
    let (encrypted, proof) = escrow::encrypt(pem, &all).map_err(|error| operator.failure().unwrap_or(error))?;
    Ok(NewEscrow { pem, encrypted, proof })
}

impl NewEscrow<'_> {
    /// Writes it in one step, where the one that it grew out of still is, or none; reads it back from the disk and opens it.
    pub(super) fn write(&self, folder: &Folder, before: Option<&[u8]>) -> Result<()> {
        let existing = match before {
            None => Existing::Keep,
            Some(before) if *folder.read_file(ESCROW)? == *before => Existing::Replace,
            Some(_) => {
                let busy = Error::new(ErrorKind::Busy, "it was changed meanwhile", "run again");
                return Err(busy.in_file(&folder.path().join(ESCROW).to_string_lossy()));
            }
        };
        git::keep_out(folder, GITIGNORE)?;
        write(folder, ESCROW, &self.encrypted, 0o644, existing)?;
        let opened = escrow::decrypt(&folder.read_file(ESCROW)?, &[&self.proof])?;
        if *opened == *self.pem {
            return Ok(());
        }
        let help = format!("run again; {RECIPIENTS} and the disk should be looked at if it stays");
        Err(Error::cryptography("the escrow that was read back is not the one that was written", help))
    }
}

/// Writes one file of the keys folder, and makes its name last.
pub(super) fn write(folder: &Folder, name: &str, bytes: &[u8], mode: u32, existing: Existing) -> Result<()> {
    let mut writer = Writer::new(folder);
    writer.write(name, bytes, mode, existing)?;
    writer.finish().map(|_| ())
}

pub(super) fn escrow_path(folders: &Folders) -> PathBuf {
    folders.keys.join(ESCROW)
}

/// The sealing keys of the escrow's text, each with its certificate.
pub(super) fn pairs(folders: &Folders, pem: &str) -> Result<Vec<Pair>> {
    private_key::read_pairs(pem).map_err(|error| error.in_file(&escrow_path(folders).to_string_lossy()))
}

/// The sealing keys of the escrow's text, ready to open.
pub(super) fn sealing_keys(folders: &Folders, pem: &str) -> Result<Vec<SealingKey>> {
    private_key::read(pem).map_err(|error| error.in_file(&escrow_path(folders).to_string_lossy()))
}

/// The escrow's sealing keys.
pub(super) fn escrow_keys(folders: &Folders, identity: Option<&Path>, world: &World) -> Result<Vec<SealingKey>> {
    sealing_keys(folders, &open_escrow(folders, identity, world)?)
}

/// What opens sealed values: the keys of these files (PEM, or backups of the controller's key Secrets), or else the escrow's.
pub(super) fn ring(folders: &Folders, identity: Option<&Path>, recovery: &[PathBuf], world: &mut World) -> Result<Vec<SealingKey>> {
    if recovery.is_empty() {
        return escrow_keys(folders, identity, world);
    }
    let mut all = Vec::new();
    for path in recovery {
        let (name, bytes) = super::read_input(path, files::Kind::Secret, world)?;
        all.extend(text::decode(&bytes).and_then(private_key::read).map_err(|error| error.in_file(&name))?);
    }
    Ok(all)
}
