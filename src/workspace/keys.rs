//! The keys folder: the certificate, the recipients, and the remembered units. Only [`KeysChange`], which holds the lock, writes to it.

use std::path::Path;

use zeroize::Zeroizing;

use super::Workspace;
use super::escrow::NewEscrow;
use super::tracked::git_in;
use super::trust::Trust;
use crate::manifest::text;
use crate::model::{Error, Result, quoted};
use crate::pipeline::certificate::{FitCertificate, SealingCertificate};
use crate::pipeline::escrow;
use crate::pipeline::inventory::{self, SOURCE};
use crate::pipeline::recipients::{self, Recipient};
use crate::pipeline::remembered::{self, Other, Remembered, Units};
use crate::world::folder::{Existing, Folder, Lock, Writer};
use crate::world::{World, files, git};

pub const CERTIFICATE: &str = "sealing.crt";
pub const ESCROW: &str = "sealing.key.age";
/// An age identity, made when no recipient was given.
pub const IDENTITY: &str = "operator.agekey";
pub const RECIPIENTS: &str = "recipients.txt";
const REMEMBERED: &str = "sealed.txt";
/// The list of older versions: only write-once units. It is read, and kept unchanged for them.
const WRITE_ONCE: &str = "write-once.txt";

/// The help if there is no sealing key yet.
pub(super) const KEYGEN: &str = "make the sealing key first: `seal-secrets keygen`";

/// A team with a private repository may commit the escrow: it then removes that line.
const GITIGNORE: &str = "*.agekey\nsealing.key.age\n*.tmp\n";

/// Two branches that both added lines to the list do not conflict.
const GITATTRIBUTES: &str = "sealed.txt merge=union\n";

/// The sealing certificate, and the text of its file.
pub struct Certificate {
    pub sealing: SealingCertificate,
    pub pem: String,
}

pub struct Listed {
    pub text: String,
    pub recipients: Vec<Recipient>,
}

impl Workspace {
    pub fn has(&self, file: &str) -> Result<bool> {
        files::exists(&*self.disk, &self.keys.join(file))
    }

    /// The sealing certificate, not yet judged.
    pub fn certificate(&self) -> Result<Certificate> {
        let name = self.keys.join(CERTIFICATE);
        let name = name.to_string_lossy();
        self.check_certificate()?;
        let bytes = self.read_public(&self.keys.join(CERTIFICATE))?;
        let help = format!("{}, and the same side of every sealed file", text::one_side(&name));
        let read = || {
            text::conflict(&bytes).map_or(Ok(()), |_| text::decode_or(&bytes, &help).map(drop))?;
            Ok(Certificate { sealing: SealingCertificate::read(&bytes)?, pem: text::decode(&bytes)?.to_owned() })
        };
        read().map_err(|error: Error| error.in_file(&name))
    }

    /// Checks that the certificate is here; the error says how to restore it. Another sealing key would not help: it opens nothing that is
    /// already sealed.
    pub fn check_certificate(&self) -> Result<()> {
        if self.has(CERTIFICATE)? {
            return Ok(());
        }
        let path = self.places.in_keys(CERTIFICATE);
        let error = |help: &str| Error::bad_input("no such file", help).in_file(&path);
        if let Some(help) = self.restored(&self.keys.join(CERTIFICATE))? {
            return Err(error(&help));
        }
        let checkout = format!("restore it from git: `git checkout -- {}`", quoted(&path));
        if self.has(ESCROW)? {
            let why = "the escrow of its sealing key is here";
            return Err(error(&format!("{checkout}; or make it again from the escrow: `seal-secrets keygen`")).why(why));
        }
        if self.has_sealed()? {
            let why = "values are sealed already, and a new sealing key would not open them";
            // If even the folder is missing, another one is meant.
            let checkout = if files::exists(&*self.disk, &self.keys)? { checkout } else { "restore it from git".to_owned() };
            let or = "or pass the keys folder with `--keys DIR`; if it is lost, see docs/recovery.md#the-private-part-of-keys";
            return Err(error(&format!("{checkout}; {or}")).why(why));
        }
        Err(error(KEYGEN))
    }

    /// Whether anything was ever sealed.
    pub(super) fn has_sealed(&self) -> Result<bool> {
        let units = self.open_folder(&self.out.join(SOURCE))?.map_or(Ok(Vec::new()), |folder| folder.names())?;
        Ok(self.has(REMEMBERED)? || self.has(WRITE_ONCE)? || units.iter().any(|name| inventory::is_sealed(&format!("{SOURCE}{name}"))))
    }

    /// Checks that a new sealing key may be made: there is none, and nothing is sealed to one.
    pub fn check_new_key(&self) -> Result<()> {
        if self.has_sealed()? { self.check_certificate() } else { Ok(()) }
    }

    /// The sealing certificate, judged and accepted; warns if it ends soon.
    pub fn fit_certificate(&self, trust: &Trust<'_>, least_bits: u32, world: &mut World) -> Result<FitCertificate> {
        let judged = trust.judge(self.certificate()?.sealing, world, least_bits);
        let fit = judged.map_err(|error| error.in_file(&self.places.in_keys(CERTIFICATE)))?;
        trust.check(fit.digest, CERTIFICATE)?;
        if fit.ends_soon {
            world.terminal.warn(&format!("the sealing certificate ends on {}: a new sealing key is due", fit.ends()));
        }
        Ok(fit)
    }

    /// The listed recipients; `None` if there is no list.
    pub fn listed(&self) -> Result<Option<Listed>> {
        let Some(text) = self.text(RECIPIENTS)? else { return Ok(None) };
        let recipients = recipients::read_recipients(&text).map_err(|error| error.in_file(&self.places.in_keys(RECIPIENTS)))?;
        Ok(Some(Listed { text, recipients }))
    }

    /// What is remembered of the output folder.
    pub fn remembered(&self) -> Result<Remembered> {
        let file = self.keys.join(REMEMBERED).to_string_lossy().into_owned();
        let (text, old) = (self.text(REMEMBERED)?, self.text(WRITE_ONCE)?);
        let mut sets = remembered::read(text.as_deref().unwrap_or_default()).map_err(|error| error.in_file(&file))?;
        let folder = remembered::folder(&self.way_to_out()?);
        let listed = sets.get(&folder).cloned().unwrap_or_default();
        let in_old = |error: Error| error.in_file(&self.keys.join(WRITE_ONCE).to_string_lossy());
        for (folder, units) in remembered::read(old.as_deref().unwrap_or_default()).map_err(in_old)? {
            sets.entry(folder).or_default().extend(units.into_keys().map(|name| (name, true)));
        }
        let own = sets.remove(&folder);
        let mut others = sets.keys().map(|way| self.other_out(way)).collect::<Result<Vec<_>>>()?;
        others.sort_by_key(|other| !other.exists);
        let known = own.is_some();
        let mut units = own.unwrap_or_default();
        // If one of the others exists, this folder is not one of them.
        if !known && others.iter().all(|other| !other.exists) {
            for (name, write_once) in sets.into_values().flatten() {
                *units.entry(name).or_default() |= write_once;
            }
        }
        let (writable, out, git) = (files::is_writable(&*self.disk, &self.keys)?, self.places.out.clone(), self.git_of_out()?);
        Ok(Remembered { units, listed, known, others, out, git, file, exists: text.is_some(), writable })
    }

    /// How to call git for the output folder, and the folder's path for it; none outside of a repository.
    fn git_of_out(&self) -> Result<Option<(String, String)>> {
        let Some(root) = git::root(&*self.disk, &self.out)? else { return Ok(None) };
        let (git, out) = git_in(&*self.disk, &root, &self.out)?;
        Ok(Some((git, out.to_string_lossy().into_owned())))
    }

    /// A known output folder, by its path from the keys folder.
    fn other_out(&self, way: &str) -> Result<Other> {
        let (disk, place) = (&*self.disk, files::resolved(&*self.disk, &self.keys)?.join(way));
        let path = files::way(disk, Path::new("."), &place)?;
        let text = |path: &Path| if path.as_os_str().is_empty() { ".".to_owned() } else { quoted(&path.to_string_lossy()) };
        let flags = match &self.flags.cluster {
            None => format!("--out {}", text(&path)),
            Some(cluster) if path.ends_with(cluster.as_str()) => format!("--out {}", text(path.parent().unwrap_or(&path))),
            Some(_) => format!("--keys {} --out {}", quoted(&self.places.keys), text(&path)),
        };
        Ok(Other { path: text(&path), flags, exists: files::exists(disk, &place)? })
    }

    /// The text of a file of the keys folder; `None` if it does not exist.
    fn text(&self, file: &str) -> Result<Option<String>> {
        let path = self.keys.join(file);
        let in_file = |error: Error| error.in_file(&path.to_string_lossy());
        if !self.has(file)? {
            // A file that git tracks must not be started afresh.
            let Some(help) = self.restored(&path)? else { return Ok(None) };
            let on_purpose = format!("; if it was removed on purpose, `git rm --cached {}`", quoted(&path.to_string_lossy()));
            // Without the list, what was sealed is unknown.
            let help = if file == RECIPIENTS { help + &on_purpose } else { help };
            return Err(in_file(Error::bad_input("no such file", help)));
        }
        let union =
            format!("keep the lines of both sides, without the markers; `{file} merge=union` in `.gitattributes` beside it does that");
        let help = if file == REMEMBERED { &union } else { text::RESOLVE };
        let bytes = self.read_public(&path)?;
        Ok(Some(text::decode_or(&bytes, help).map_err(in_file)?.to_owned()))
    }

    /// The path from the keys folder to the output folder: the same wherever the repository is.
    fn way_to_out(&self) -> Result<String> {
        let way = files::way(&*self.disk, &self.keys, &self.out)?;
        Ok(if way.as_os_str().is_empty() { ".".to_owned() } else { way.to_string_lossy().into_owned() })
    }

    /// Refuses if git would commit an identity from the keys folder, or has done so.
    pub fn check_identity_kept_out(&self, world: &mut World) -> Result<()> {
        self.check_untracked(&[], world)?;
        git::check_kept_out(&*self.disk, &self.keys, &[IDENTITY])
    }

    /// Checks that these files of the keys folder can be written; creates nothing.
    pub fn check_keys(&self, files: &[&str]) -> Result<()> {
        let folder = Folder::open(&*self.disk, &self.keys)?;
        folder.map_or(Ok(()), |folder| files.iter().try_for_each(|name| folder.check(name, Existing::AsRead(None))))
    }

    /// The keys folder, created if it does not exist, and locked for this run until dropped.
    pub fn change_keys(&self) -> Result<KeysChange<'_>> {
        let folder = self.create(&self.keys, 0o755)?;
        let lock = folder.lock()?;
        folder.remove_leftovers_here()?;
        Ok(KeysChange { workspace: self, folder, _lock: lock })
    }
}

/// The locked keys folder: only its holder may write to it.
pub struct KeysChange<'w> {
    workspace: &'w Workspace,
    folder: Folder,
    _lock: Lock,
}

impl KeysChange<'_> {
    /// Writes the first certificate, the last file of a run; an existing one is kept.
    pub fn pin(&self, pem: &str) -> Result<()> {
        self.write_last(CERTIFICATE, pem.as_bytes(), Existing::Keep)
    }

    /// Replaces the certificate; the pin is settled afterwards.
    pub fn pin_another(&self, pem: &str, before: &Certificate) -> Result<()> {
        self.write(CERTIFICATE, pem.as_bytes(), 0o644, Existing::AsRead(Some(before.pem.as_bytes())))
    }

    /// Writes the list of recipients, before the escrow.
    pub fn write_recipients(&self, text: &str, before: Option<&str>) -> Result<()> {
        self.write(RECIPIENTS, text.as_bytes(), 0o644, Existing::AsRead(before.map(str::as_bytes)))
    }

    /// Writes the list of recipients, after the escrow.
    pub fn write_recipients_last(&self, text: &str, before: Option<&str>) -> Result<()> {
        self.write_last(RECIPIENTS, text.as_bytes(), Existing::AsRead(before.map(str::as_bytes)))
    }

    /// Creates the default identity, which does not exist yet.
    pub fn make_identity(&self) -> Result<()> {
        let (text, _) = escrow::new_identity()?;
        git::keep_out(&self.folder, GITIGNORE)?;
        self.write(IDENTITY, text.as_bytes(), 0o600, Existing::Keep)
    }

    /// Remembers these units, as the last step of a run: another run may have written the list since the plan was made.
    pub fn remember(&self, units: &Units) -> Result<()> {
        let text = self.workspace.text(REMEMBERED)?;
        git::give(&self.folder, ".gitattributes", GITATTRIBUTES)?;
        match remembered::with(text.as_deref(), &self.workspace.way_to_out()?, units)? {
            Some(more) => self.write_last(REMEMBERED, more.as_bytes(), Existing::AsRead(text.as_deref().map(str::as_bytes))),
            None => Ok(()),
        }
    }

    /// Writes the escrow in one step, if the previous one, or none, is unchanged; reads it back and opens it. Returns the bytes read back.
    pub fn write_escrow(&self, new: &NewEscrow<'_>, before: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>> {
        let existing = if before.is_some() { Existing::AsRead(before) } else { Existing::Keep };
        git::keep_out(&self.folder, GITIGNORE)?;
        self.write(ESCROW, &new.encrypted, 0o644, existing)?;
        let read_back = Zeroizing::new(self.folder.read_file(ESCROW)?);
        if new.is(&read_back)? {
            return Ok(read_back);
        }
        let help = format!("run again; {RECIPIENTS} and the disk should be looked at if it stays");
        Err(Error::cryptography("the escrow that was read back is not the one that was written", help))
    }

    /// Writes one file and makes its name durable, while more files follow.
    fn write(&self, name: &str, bytes: &[u8], mode: u32, existing: Existing<'_>) -> Result<()> {
        let mut writer = Writer::new(&self.folder);
        writer.write(name, bytes, mode, existing)?;
        writer.sync()
    }

    /// The same for the last file of a run.
    fn write_last(&self, name: &str, bytes: &[u8], existing: Existing<'_>) -> Result<()> {
        let mut writer = Writer::new(&self.folder);
        writer.write(name, bytes, 0o644, existing)?;
        writer.finish().map(|_| ())
    }
}
