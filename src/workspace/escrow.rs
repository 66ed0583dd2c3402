//! The escrow: read, decrypted and parsed once, and written for its recipients.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use age::DecryptError;
use age_core::format::{FileKey, Stanza};
use zeroize::Zeroizing;

use super::Workspace;
use super::keys::{CERTIFICATE, ESCROW, IDENTITY, KEYGEN, RECIPIENTS};
use crate::manifest::text;
use crate::model::{Error, Result, quoted, visible};
use crate::pipeline::certificate::FitCertificate;
use crate::pipeline::escrow::{self, Proof};
use crate::pipeline::keygen::NewPair;
use crate::pipeline::private_key::{self, Pairs, SealingKey};
use crate::pipeline::recipients::{self, Identity, Recipient, RecipientKind};
use crate::world::operator::Operator;
use crate::world::{World, files};

/// Identities that are ready to open the escrow.
pub struct Identities {
    list: Vec<Identity>,
    operator: Operator,
}

impl Identities {
    /// An escrow's text, and the recipients of the identities that opened it; no recipients if a plugin opened it, because only the plugin
    /// knows its own.
    fn open(&self, escrow: &[u8]) -> Result<(Zeroizing<String>, Vec<Recipient>)> {
        let trial = Trial { identities: self, able: RefCell::default() };
        let pem = escrow::decrypt(escrow, &[&trial]).map_err(|error| self.operator.failure().unwrap_or(error))?;
        Ok((pem, trial.able.into_inner().iter().map(recipient_of).collect::<Result<_>>()?))
    }

    pub fn recipients(&self) -> Result<Vec<Recipient>> {
        let recipient = |identity: &Identity| match identity {
            Identity::X25519(identity) => recipient_of(identity),
            Identity::Plugin(_) => Err(Error::bad_input(
                "only the plugin knows the recipient of its identity",
                format!("write it into {RECIPIENTS} in the keys folder, as the plugin prints it"),
            )),
        };
        self.list.iter().map(recipient).collect()
    }
}

/// All identities as one, so that a single decryption shows which of them can open the escrow.
struct Trial<'i> {
    identities: &'i Identities,
    able: RefCell<Vec<age::x25519::Identity>>,
}

impl age::Identity for Trial<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    /// Tries each native identity; a plugin only if none of them opens it.
    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        let (mut opened, mut plugins) = (None, Vec::new());
        for identity in &self.identities.list {
            match identity {
                Identity::X25519(identity) => match identity.unwrap_stanzas(stanzas) {
                    Some(Ok(key)) => {
                        self.able.borrow_mut().push(identity.clone());
                        opened = Some(Ok(key));
                    }
                    Some(failed) if opened.is_none() => opened = Some(failed),
                    _ => {}
                },
                Identity::Plugin(plugin) => plugins.push(plugin),
            }
        }
        opened.or_else(|| plugins.into_iter().find_map(|plugin| self.identities.operator.identity(plugin.clone()).unwrap_stanzas(stanzas)))
    }
}

fn recipient_of(identity: &age::x25519::Identity) -> Result<Recipient> {
    Recipient::parse(&identity.to_public().to_string())
}

pub struct Escrow {
    pub pairs: Pairs,
    /// The file's bytes.
    pub encrypted: Zeroizing<Vec<u8>>,
    /// Certificates and private keys.
    pub pem: Zeroizing<String>,
    /// The recipients of the identities that opened it; empty if a plugin did.
    opened_by: Vec<Recipient>,
}

impl Escrow {
    /// Which identity opened it, for a report.
    pub fn opener(&self) -> String {
        let names: Vec<String> = self.opened_by.iter().map(ToString::to_string).collect();
        if names.is_empty() { "a plugin".to_owned() } else { names.join(" and ") }
    }

    /// Adds a pair that was written into the escrow; returns its certificate, also in PEM.
    pub fn add(&mut self, pair: NewPair) -> (FitCertificate, String) {
        let (certificate, pem) = (pair.certificate, pair.certificate_pem);
        self.pairs.add(pair.key, pair.opener, Some(((*certificate).clone(), pem.clone())));
        (certificate, pem)
    }
}

/// An escrow's text with more appended; allocated once, so that no copy is left behind.
pub fn grown(before: &str, more: &[&str]) -> Zeroizing<String> {
    let parts = std::iter::once(before).filter(|before| !before.is_empty()).chain(more.iter().copied());
    let lines: Vec<&str> = parts.flat_map(|part| [part.trim_end(), "\n"]).collect();
    Zeroizing::new(lines.concat())
}

/// The escrow, opened for a change: its recipients have to be known.
pub struct ChangedEscrow {
    pub escrow: Escrow,
    pub list: Option<String>,
    pub recipients: Vec<Recipient>,
}

impl Workspace {
    /// The encrypted escrow.
    pub fn encrypted_escrow(&self) -> Result<Zeroizing<Vec<u8>>> {
        self.check_escrow()?;
        self.read_public(&self.keys.join(ESCROW))
    }

    /// Checks that the escrow is here; the error says who has it. Everything that needs it reports its absence in these words.
    pub fn check_escrow(&self) -> Result<()> {
        if self.has(ESCROW)? {
            return Ok(());
        }
        let path = self.places.in_keys(ESCROW);
        if let Some(help) = self.restored(&self.keys.join(ESCROW))? {
            return Err(Error::bad_input("no such file", help).in_file(&path));
        }
        if !self.has(CERTIFICATE)? && !self.has_sealed()? {
            return Err(Error::bad_input("no such file", KEYGEN).in_file(&path));
        }
        let help = format!(
            "ask the operator who made the sealing key for it, or take it from a copy that is kept offline, and save it as `{}`; if nobody has one, `{}` makes another one while the cluster runs; see docs/recovery.md#the-private-part-of-keys",
            quoted(&path),
            self.command("backup")
        );
        let why = "it is the escrow, which holds the private sealing key; git ignores it by default, so a clone does not have it";
        Err(Error::bad_input("no such file", help).why(why).in_file(&path))
    }

    /// The error that the keys folder has no identity; `help` says how to pass one.
    pub fn no_identity(&self, help: &str) -> Error {
        let why = "each operator keeps an age identity of their own, and git never has one";
        let help = format!("{help}; if it is lost, another recipient can open the escrow: see docs/recovery.md#one-operator");
        Error::bad_input("no such file", help).why(why).in_file(&self.places.in_keys(IDENTITY))
    }

    /// The identity that opens the escrow if none is given: that of the keys folder, or else, for one of several clusters, that of the
    /// folder above.
    pub fn default_identity(&self) -> Result<Option<PathBuf>> {
        for folder in [Some(self.keys.clone()), self.of_all()?.map(|all| all.keys)].into_iter().flatten() {
            let path = folder.join(IDENTITY);
            if files::exists(&*self.disk, &path)? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// For one of several clusters that has neither recipients nor an identity yet: the recipients of the folder above, so that a person who
    /// can open one escrow can open the other.
    pub fn recipients_of_all(&self, world: &mut World) -> Result<Vec<Recipient>> {
        let has_own = self.has(IDENTITY)?;
        let Some(above) = self.of_all()?.filter(|_| !has_own) else { return Ok(Vec::new()) };
        let (from, recipients) = match above.listed()? {
            Some(listed) => (RECIPIENTS, listed.recipients),
            None if above.has(IDENTITY)? => (IDENTITY, above.identities(None, world)?.recipients()?),
            None => return Ok(Vec::new()),
        };
        world.terminal.tell(&format!("the recipients are those of {}\n", visible(&above.places.in_keys(from))));
        Ok(recipients)
    }

    /// The escrow, opened with the default identity; none if one of the two is missing, the identity is another user's, or the operator
    /// would be asked for something.
    pub fn escrow_unasked(&self, world: &World) -> Result<Option<Escrow>> {
        let Some(path) = self.default_identity()? else { return Ok(None) };
        if !self.has(ESCROW)? || !files::is_readable(&*self.disk, &path)? {
            return Ok(None);
        }
        let bytes = self.read_secret(&path)?;
        if recipients::is_encrypted(&bytes) {
            return Ok(None);
        }
        let identities = identities_of(&bytes, &path.to_string_lossy(), world)?;
        if identities.list.iter().any(|identity| matches!(identity, Identity::Plugin(_))) {
            return Ok(None);
        }
        self.open(self.encrypted_escrow()?, &identities).map(Some)
    }

    /// The identities of the file given with `--identity`, or of the default one. Everything that opens the escrow goes through here.
    pub fn identities(&self, named: Option<&Path>, world: &World) -> Result<Identities> {
        let missing = || self.no_identity("pass the age identity that opens the escrow with `--identity FILE`");
        let path = match named {
            Some(named) => named.to_owned(),
            None => self.default_identity()?.ok_or_else(missing)?,
        };
        identities_of(&self.read_secret(&path)?, &path.to_string_lossy(), world)
    }

    /// The escrow, opened with the identities of that file.
    pub fn escrow(&self, identity: Option<&Path>, world: &World) -> Result<Escrow> {
        let encrypted = self.encrypted_escrow()?;
        self.open(encrypted, &self.identities(identity, world)?)
    }

    /// Opens an escrow that was read.
    pub fn open(&self, encrypted: Zeroizing<Vec<u8>>, identities: &Identities) -> Result<Escrow> {
        let open = || {
            let (pem, opened_by) = identities.open(&encrypted)?;
            Ok((Pairs::read(&pem)?, pem, opened_by))
        };
        let (pairs, pem, opened_by) = open().map_err(|error: Error| error.in_file(&self.keys.join(ESCROW).to_string_lossy()))?;
        Ok(Escrow { pairs, pem, encrypted, opened_by })
    }

    pub fn escrow_to_change(&self, identity: Option<&Path>, world: &mut World) -> Result<ChangedEscrow> {
        let encrypted = self.encrypted_escrow()?;
        let (list, listed) = self.listed()?.map(|listed| (listed.text, listed.recipients)).unzip();
        let identities = self.identities(identity, world)?;
        let mut escrow = self.open(encrypted, &identities)?;
        let recipients = known_recipients(listed, &mut escrow, world);
        let recipients = recipients.map_err(|error| error.in_file(&self.keys.join(ESCROW).to_string_lossy()))?;
        Ok(ChangedEscrow { escrow, list, recipients })
    }

    /// The keys that open sealed values: those of these files (PEM, or backups of the controller's key Secrets), or else the escrow's.
    pub fn openers(&self, identity: Option<&Path>, recovery: &[PathBuf], world: &mut World) -> Result<Vec<SealingKey>> {
        if recovery.is_empty() {
            return Ok(self.escrow(identity, world)?.pairs.openers);
        }
        let mut all = Vec::new();
        for path in recovery {
            let (name, bytes) = self.read_input(path, true, world)?;
            let (keys, odd) = private_key::decode(&bytes).and_then(private_key::read).map_err(|error| error.in_file(&name))?;
            for odd in odd.into_iter().map(|error| error.in_file(&name)) {
                world.terminal.warn(&format!("{}: {}", odd.place(), odd.what()));
            }
            all.extend(keys);
        }
        Ok(all)
    }

    /// What to do with copies of the escrow that was just replaced.
    pub fn old_copies(&self) -> String {
        let escrow = visible(&self.places.in_keys(ESCROW));
        format!("copies of {escrow} that are kept offline are old now: replace each by this one")
    }

    /// Reports for whom the escrow will be encrypted.
    pub fn tell_recipients(&self, to: &[Recipient], world: &mut World) {
        let names: String = to.iter().map(|recipient| format!("  {recipient}\n")).collect();
        world.terminal.tell(&format!("{} will open for:\n{names}", visible(&self.places.in_keys(ESCROW))));
    }
}

/// The identities of a file.
fn identities_of(bytes: &[u8], name: &str, world: &World) -> Result<Identities> {
    let operator = Operator::new(world);
    let list = if recipients::is_encrypted(bytes) {
        let passphrase = operator.passphrase(&format!("passphrase of {name}: "));
        passphrase
            .and_then(|passphrase| recipients::decrypt_identities(bytes, passphrase))
            .and_then(|text| text::decode(text.as_bytes()).and_then(recipients::read_identities))
    } else {
        text::decode(bytes).and_then(recipients::read_identities)
    };
    Ok(Identities { list: list.map_err(|error| error.in_file(name))?, operator })
}

/// Who can open the escrow: the listed recipients, or without a list those of the identities that opened it. Someone we do not know of
/// would be locked out by the next write. Without a list we refuse; with one we warn.
fn known_recipients(listed: Option<Vec<Recipient>>, escrow: &mut Escrow, world: &mut World) -> Result<Vec<Recipient>> {
    let (able, own) = (escrow::count_recipients(&escrow.encrypted)?, std::mem::take(&mut escrow.opened_by));
    if let Some(list) = listed {
        if able != list.len() {
            world.terminal.warn(&format!("{able} recipients can open the escrow, and {RECIPIENTS} names {}", list.len()));
        }
        if !own.is_empty() && own.iter().all(|own| !list.contains(own)) {
            let what = format!("{RECIPIENTS} does not name the identity that opens the escrow here: it will not open the new one");
            world.terminal.warn(&what);
        }
        return Ok(list);
    }
    if able > own.len() {
        let help = format!("write all of them into {RECIPIENTS} in the keys folder, one `age1…` a line; whoever is left out is shut out");
        return Err(Error::refused(
            format!("{able} recipients can open it, and who they are is not known: there is no {RECIPIENTS}"),
            help,
        ));
    }
    Ok(own)
}

/// What encrypts to all recipients of an escrow: a plugin that is missing has failed by now, before a key is made for nobody.
pub struct Encrypter<'r> {
    native: Vec<&'r dyn age::Recipient>,
    plugins: Vec<Box<dyn age::Recipient>>,
    operator: Operator,
}

impl<'r> Encrypter<'r> {
    pub fn to(recipients: &'r [Recipient], world: &World) -> Result<Self> {
        let operator = Operator::new(world);
        let (mut native, mut plugins): (Vec<&dyn age::Recipient>, _) = (Vec::new(), Vec::new());
        for recipient in recipients {
            match &recipient.kind {
                RecipientKind::Native(one) => native.push(&**one),
                RecipientKind::Plugin(one) => plugins.push(one.clone()),
            }
        }
        Ok(Encrypter { native, plugins: operator.recipients(&plugins)?, operator })
    }

    /// Encrypts an escrow's text.
    pub fn encrypt<'p>(&self, pem: &'p str) -> Result<NewEscrow<'p>> {
        let plugins = self.plugins.iter().map(|plugin| &**plugin);
        let all: Vec<&dyn age::Recipient> = self.native.iter().copied().chain(plugins).collect();
        let (encrypted, proof) = escrow::encrypt(pem, &all).map_err(|error| self.operator.failure().unwrap_or(error))?;
        Ok(NewEscrow { pem, encrypted, proof })
    }
}

/// An encrypted escrow that is not written yet.
pub struct NewEscrow<'p> {
    pem: &'p str,
    pub(super) encrypted: Vec<u8>,
    proof: Proof,
}

impl NewEscrow<'_> {
    /// Whether the bytes read back from disk are this escrow.
    pub(super) fn is(&self, read_back: &[u8]) -> Result<bool> {
        Ok(*escrow::decrypt(read_back, &[&self.proof])? == *self.pem)
    }
}
