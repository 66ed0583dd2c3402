//! Which certificate this machine accepted for the keys folder. That is remembered in the operator's state folder and never in the
//! repository: a person who can write to the repository does not decide what is sealed to.

use std::path::{Path, PathBuf};

use super::Workspace;
use super::keys::CERTIFICATE;
use crate::manifest::text;
use crate::model::{CertificateDigest, Error, Result, quoted, visible};
use crate::pipeline::certificate::{FitCertificate, SealingCertificate};
use crate::pipeline::pins::{self, How, Pin, Verdict};
use crate::world::disk::{Kind, Links};
use crate::world::folder::{Existing, Folder, Writer};
use crate::world::{World, files, git};

/// The file in the state folder.
const PINS: &str = "certificates";

const ELSEWHERE: &str = "set `XDG_STATE_HOME` to a folder of your own, outside of the repository";

/// What was accepted, earlier and on the command line.
pub struct Trust<'w> {
    workspace: &'w Workspace,
    /// The keys folder, as written in its line.
    folder: String,
    /// The folder that remembers it, or why there is none.
    state: Result<PathBuf>,
    pub pin: Option<Pin>,
    named: Option<CertificateDigest>,
}

impl Workspace {
    /// What this machine accepted for the keys folder; `named` is the certificate that the command line accepts.
    pub fn trust(&self, named: Option<CertificateDigest>, world: &World) -> Result<Trust<'_>> {
        let folder = pins::folder(&files::resolved(&*self.disk, &self.keys)?);
        let state = self.state(world)?;
        // If nothing may be remembered there, nothing in it is believed.
        let pin = match &state {
            Ok(state) => {
                let path = state.join(PINS);
                pins::read(&self.read_pins(&path)?, &folder).map_err(|error| error.in_file(&path.to_string_lossy()))?
            }
            Err(_) => None,
        };
        Ok(Trust { workspace: self, folder, state, pin, named })
    }

    fn read_pins(&self, path: &Path) -> Result<String> {
        if files::stat(&*self.disk, path, Links::Follow)?.is_none_or(|stat| stat.kind == Kind::File && stat.size == 0) {
            return Ok(String::new());
        }
        let name = path.to_string_lossy();
        let bytes = files::read(&*self.disk, path, &name, files::Kind::Trusted)?;
        Ok(text::decode(&bytes).map_err(|error| error.in_file(&name))?.to_owned())
    }

    /// The state folder, or why nothing can be remembered: inside the keys folder's repository, the people it guards against could write
    /// it.
    fn state(&self, world: &World) -> Result<Result<PathBuf>> {
        let Some(state) = world.state.as_ref() else {
            let what = "there is no folder in which to remember the accepted certificate: `HOME` is not set";
            return Ok(Err(Error::refused(what, ELSEWHERE)));
        };
        if let Some(root) = git::root(&*self.disk, &self.keys)?
            && files::is_inside(&*self.disk, state, &root)?
        {
            let what = "the accepted certificate would be remembered in the repository, where others may write it";
            return Ok(Err(Error::refused(what, ELSEWHERE).in_file(&state.to_string_lossy())));
        }
        Ok(Ok(state.clone()))
    }
}

impl Trust<'_> {
    /// The judged certificate: checks that its key already passed are not repeated.
    pub fn judge(&self, certificate: SealingCertificate, world: &World, least_bits: u32) -> Result<FitCertificate> {
        let now = (world.clock)();
        match self.pin.as_ref().is_some_and(|pin| pin.is_sound(certificate.digest)) {
            true => certificate.judge_again(now, least_bits),
            false => certificate.judge(now, least_bits),
        }
    }

    /// Whether this certificate was accepted, earlier or on the command line.
    pub fn accepts(&self, certificate: CertificateDigest) -> bool {
        self.names(certificate) || self.accepted(certificate)
    }

    /// Whether it was accepted earlier.
    pub fn accepted(&self, certificate: CertificateDigest) -> bool {
        self.pin.as_ref().is_some_and(|pin| pin.accepts(certificate))
    }

    /// Whether the command line accepts exactly this one.
    pub fn names(&self, certificate: CertificateDigest) -> bool {
        self.named == Some(certificate)
    }

    /// Refuses a certificate if another one was accepted; `file` of the keys folder holds it.
    pub fn check(&self, certificate: CertificateDigest, file: &str) -> Result<()> {
        let path = self.workspace.places.in_keys(file);
        match (self.named, &self.pin) {
            (Some(named), _) if named != certificate => {
                let help = format!("compare the two with the person who made the sealing key; {}", where_from(file, &path));
                Err(Error::refused("it is not the certificate that was to be accepted", help)
                    .why(format!("it is {certificate}, and `--accept-certificate` says {named}"))
                    .in_file(&path))
            }
            (None, Some(pin)) if !pin.accepts(certificate) => Err(differs(pin, certificate, file, &path)),
            _ => Ok(()),
        }
    }

    /// The verdict on the certificate of the keys folder.
    pub fn verdict(&self, certificate: CertificateDigest) -> Verdict {
        match self.check(certificate, CERTIFICATE) {
            Err(error) => Verdict::Refused(error),
            Ok(()) if self.accepts(certificate) => Verdict::Accepted,
            Ok(()) => Verdict::Unknown,
        }
    }

    /// Before anything is sealed to it: it has to be accepted already, passed as a flag, or confirmed at the terminal; then it is
    /// remembered.
    pub fn accept(&mut self, certificate: &SealingCertificate, file: &str, world: &mut World) -> Result<()> {
        self.check(certificate.digest, file)?;
        if self.is_pending(certificate.digest) {
            return self.complete(certificate.digest, world);
        }
        if self.accepted(certificate.digest) {
            return self.make_last();
        }
        let how = if self.named.is_some() { How::Named } else { self.ask(certificate, file, world).map(|()| How::Confirmed)? };
        self.settle(certificate.digest, how, world)
    }

    fn ask(&self, certificate: &SealingCertificate, file: &str, world: &mut World) -> Result<()> {
        let path = self.workspace.places.in_keys(file);
        let (digest, ends) = (certificate.digest, certificate.ends());
        let help = format!(
            "compare the digest with another operator, or on the machine on which it was accepted; then pass `--accept-certificate {digest}`"
        );
        let why = format!("it is {digest}, and anyone with its key can open what is sealed to it");
        let refused = |what: &str| Err(Error::refused(what, help).why(why.clone()).in_file(&path));
        if !world.terminal.stdin_is_terminal {
            return refused("this certificate was not yet accepted on this machine");
        }
        world.terminal.tell(&format!(
            "{}: {digest}, RSA-{}, until {ends}\nIt was not yet accepted on this machine. Compare its digest with another operator: anyone with its key can open what is sealed to it\n",
            visible(&path),
            8 * certificate.size(),
        ));
        if world.terminal.ask("Accept it? Type yes: ")?.is("yes") { Ok(()) } else { refused("the certificate was not accepted") }
    }

    /// Remembers a certificate that is about to replace the accepted one: both are accepted until [`Trust::settle`].
    pub fn announce(&mut self, certificate: CertificateDigest, how: How, world: &World) -> Result<()> {
        let before = self.pin.as_ref().map_or(certificate, |pin| pin.certificate);
        let sealed = self.has_sealed();
        self.write(Pin::new(before, world.time()?, how).with_next(certificate).with_sealed(sealed))
    }

    /// Whether an interrupted run announced this certificate and did not settle it.
    pub fn is_pending(&self, certificate: CertificateDigest) -> bool {
        self.pin.as_ref().is_some_and(|pin| pin.next == Some(certificate))
    }

    /// Settles what an interrupted run announced, because its certificate is in place.
    pub fn complete(&mut self, certificate: CertificateDigest, world: &World) -> Result<()> {
        match &self.pin {
            Some(Pin { next: Some(next), how, .. }) if *next == certificate => self.settle(certificate, *how, world),
            _ => Ok(()),
        }
    }

    /// Remembers the only certificate that is accepted from now on.
    pub fn settle(&mut self, certificate: CertificateDigest, how: How, world: &World) -> Result<()> {
        // A new key has sealed nothing yet.
        let sealed = self.has_sealed() && how != How::Keygen;
        self.write(Pin::new(certificate, world.time()?, how).with_sealed(sealed))
    }

    /// Whether a run on this machine sealed values with these keys.
    pub fn has_sealed(&self) -> bool {
        self.pin.as_ref().is_some_and(|pin| pin.sealed)
    }

    /// The error if values were sealed and nothing else knows of them.
    pub fn begun_before(&self) -> Error {
        let keys = quoted(&self.workspace.places.keys);
        let help = format!(
            "look for them on another branch or in a stash (`git log --all -- {keys}`, `git stash list`), or restore them from a copy; only if all of them are gone for good, pass `--start-over`"
        );
        Error::refused("values were sealed with the keys of this folder on this machine, and none of them is here", help)
            .why("a run would make a second value for every key")
            .in_file(&self.workspace.places.keys)
    }

    /// Remembers that values were sealed, once they are in place.
    pub fn remember_sealed(&mut self) -> Result<()> {
        match &self.pin {
            Some(pin) if !pin.sealed => self.write(pin.clone().with_sealed(true)),
            _ => Ok(()),
        }
    }

    /// What an interrupted run remembered may not have reached the disk.
    fn make_last(&self) -> Result<()> {
        match Folder::open(&*self.workspace.disk, self.state.as_ref().map_err(Error::clone)?)? {
            Some(folder) => folder.lock_soon().and_then(|_lock| folder.remove_leftovers_here()),
            None => Ok(()),
        }
    }

    /// Changes one line: another run may have written those of other keys folders since the file was read.
    fn write(&mut self, pin: Pin) -> Result<()> {
        if self.pin.as_ref().is_some_and(|before| before.is_as_good_as(&pin)) {
            return self.make_last();
        }
        let state = self.state.as_ref().map_err(Error::clone)?;
        let folder = Folder::create_all(&*self.workspace.disk, state, 0o700).map_err(|error| {
            let what = format!("the accepted certificate cannot be remembered: {}", error.what());
            let why = error.reason().unwrap_or_default();
            Error::new(error.kind, what, ELSEWHERE).why(why).in_file(&state.to_string_lossy())
        })?;
        let _lock = folder.lock_soon()?;
        folder.remove_leftovers_here()?;
        let text = self.workspace.read_pins(&folder.path().join(PINS))?;
        let before = Existing::AsRead(if folder.has(PINS)? { Some(text.as_bytes()) } else { None });
        let mut writer = Writer::new(&folder);
        writer.write(PINS, pins::with(&text, &self.folder, &pin).as_bytes(), 0o600, before)?;
        writer.sync()?;
        self.pin = Some(pin);
        Ok(())
    }
}

/// How to get a file of the keys folder back.
fn where_from(file: &str, path: &str) -> String {
    match file {
        CERTIFICATE => format!("restore `{file}` from git: `git log -p -- {}` shows who changed it", quoted(path)),
        _ => format!("restore `{file}` from where you keep a copy of it"),
    }
}

fn differs(pin: &Pin, certificate: CertificateDigest, file: &str, path: &str) -> Error {
    let help =
        format!("{}; only if the sealing key was replaced on purpose, pass `--accept-certificate {certificate}`", where_from(file, path));
    let why = format!(
        "accepted was {} ({}, {}), and {path} holds {certificate}: anyone with its key could open what is sealed to it",
        pin.certificate,
        pin.how.as_str(),
        pin.time
    );
    Error::refused("another certificate was accepted on this machine", help).why(why).in_file(path)
}
