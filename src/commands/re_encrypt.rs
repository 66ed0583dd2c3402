//! `re-encrypt`: the same values for the present certificate, wherever they stand.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::carry_out::check_json;
use super::sealed_files::{self, Outcome as OfFile, SealedFile, SealedFiles};
use super::{Outcome, confirm, keys};
use crate::cli::{Folders, ReEncrypt};
use crate::model::{CertificateDigest, Error, Result, visible};
use crate::pipeline::re_encrypt::{State, Work};
use crate::pipeline::render;
use crate::pipeline::seal::Sealer;
use crate::world::folder::{Existing, Folder, Writer};
use crate::world::{World, files};

pub(super) fn run(folders: &Folders, args: &ReEncrypt, world: &mut World) -> Result<Outcome> {
    check_json(args.consent.json, args.consent.dry_run)?;
    // Found first: while it holds the locks, nobody changes the certificate.
    let sealed = SealedFiles::find(sealed_files::paths(folders, &args.paths), folders, !args.consent.dry_run, world)?;
    let certificate = keys::fit_certificate(folders, args.allow_rsa_bits, world)?;
    #[cfg(feature = "cluster")]
    if args.via_controller {
        return super::via_controller::run(folders, args, &sealed, &certificate, world);
    }
    let to = certificate.digest;
    let mut ring = keys::ring(folders, args.opening.identity.as_deref(), &args.opening.recovery_private_key, world)?;
    if let Some(only) = args.key {
        if ring.iter().all(|key| key.digest != only) {
            let help = "name it with `--recovery-private-key FILE`, or see `seal-secrets status --identity FILE`";
            return Err(Error::bad_input("`--key` names a key that is not among those that open values", help));
        }
        ring.retain(|key| key.digest == only || key.digest == to);
    }
    ask(folders, args, to, world)?;
    let sealer = Sealer::new(&certificate)?;
    let work = Work::new(&ring, to, (!args.consent.dry_run).then_some(&sealer), args.key);
    let mut tally = Tally::quiet(args.consent.json);
    tally.go_through(&sealed, &work, world)?;
    tally.end(folders, args, to, work.proves(), world)
}

pub(super) fn ask(folders: &Folders, args: &ReEncrypt, to: CertificateDigest, world: &mut World) -> Result<()> {
    if args.consent.dry_run {
        return Ok(());
    }
    let shown: Vec<String> = sealed_files::paths(folders, &args.paths).iter().map(|path| visible(&path.to_string_lossy())).collect();
    confirm(&format!("what is sealed in {} is replaced by the same, sealed to {to}", shown.join(", ")), args.consent.yes, world)
}

/// Whether the output folder is among these, or in one of them.
fn covers(paths: &[PathBuf], folders: &Folders, world: &World) -> Result<bool> {
    let inside = paths.iter().map(|path| files::is_inside(&*world.disk, &folders.out, path));
    Ok(inside.collect::<Result<Vec<_>>>()?.contains(&true))
}

/// The derived file that names the certificate, as `bootstrap` would write it; whether it changes.
pub(super) fn runbook(folders: &Folders, to: CertificateDigest, write: bool, world: &World) -> Result<bool> {
    let Some(folder) = Folder::open(&*world.disk, &folders.out)? else { return Ok(false) };
    if !folder.has(render::RUNBOOK)? {
        return Ok(false);
    }
    let before = folder.read_file(render::RUNBOOK)?;
    let Some(after) = std::str::from_utf8(&before).ok().and_then(|text| render::runbook_for(text, to)) else { return Ok(false) };
    if write {
        let mut writer = Writer::new(&folder);
        writer.write(render::RUNBOOK, after.as_bytes(), 0o644, Existing::Replace)?;
        writer.finish()?;
    }
    Ok(true)
}

/// What a run did, or would do.
#[derive(Default)]
pub(super) struct Tally {
    /// No line for each file: the plan is printed as JSON at the end.
    quiet: bool,
    changes: Vec<Value>,
    pub(super) moved: usize,
    files: usize,
    present: usize,
    /// What cannot be read or opened, for programs.
    pub(super) failed: Vec<Value>,
    pub(super) runbook: bool,
}

impl Tally {
    /// The runbook where it goes with what was done, and the last words.
    pub(super) fn end(
        mut self,
        folders: &Folders,
        args: &ReEncrypt,
        to: CertificateDigest,
        proves: bool,
        world: &mut World,
    ) -> Result<Outcome> {
        if self.failed.is_empty() && args.key.is_none() && covers(sealed_files::paths(folders, &args.paths), folders, world)? {
            self.runbook = runbook(folders, to, !args.consent.dry_run, world)?;
        }
        let text = if args.consent.json {
            format!("{:#}\n", self.json(folders, Some(to)))
        } else {
            self.summary(folders, proves, to, args.consent.dry_run)
        };
        world.terminal.print(&text)?;
        Ok(if self.failed.is_empty() { Outcome::Done } else { Outcome::Found })
    }

    pub(super) fn quiet(quiet: bool) -> Self {
        Tally { quiet, ..Tally::default() }
    }

    /// Re-encrypts, a few files at a time, and tells of each.
    pub(super) fn go_through(&mut self, sealed: &SealedFiles, work: &Work<'_>, world: &mut World) -> Result<()> {
        self.go_through_with(sealed, world, |files, world| match sealed_files::re_encrypt(files, work, world) {
            Ok(outcomes) => (outcomes, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        })
    }

    /// The same by other means. What was done when those come to an end is written.
    pub(super) fn go_through_with(
        &mut self,
        sealed: &SealedFiles,
        world: &mut World,
        mut re_encrypt: impl FnMut(Vec<SealedFile>, &mut World) -> (Vec<OfFile>, Result<()>),
    ) -> Result<()> {
        sealed.each(world, |read, world| {
            let (mut readable, mut errors) = (Vec::new(), Vec::new());
            for one in read {
                match one {
                    Ok(file) => readable.push(file),
                    Err(error) => errors.push(error),
                }
            }
            let (outcomes, ended) = re_encrypt(readable, world);
            sealed_files::write(&outcomes, world)?;
            world.terminal.progress(None);
            errors.into_iter().for_each(|error| self.fail(error, world));
            outcomes.into_iter().try_for_each(|outcome| self.count(outcome, world))?;
            ended
        })
    }

    fn fail(&mut self, error: Error, world: &mut World) {
        world.terminal.tell(&sealed_files::failed(&error));
        self.failed.push(json!({ "what": error.what(), "place": error.place() }));
    }

    fn count(&mut self, outcome: OfFile, world: &mut World) -> Result<()> {
        let file = outcome.file.name();
        let done = match outcome.done {
            Ok(done) => done,
            Err(error) => {
                self.fail(error.in_file(&file), world);
                return Ok(());
            }
        };
        let before = self.moved;
        for unit in done.units {
            match unit.state {
                State::Present => self.present += 1,
                State::PassedOver => {}
                State::Failed(error) => self.fail(error.in_file(&file), world),
                State::Moved(from) => {
                    self.moved += 1;
                    let from = from.map(|from| from.to_string());
                    if self.quiet {
                        self.changes.push(json!({ "action": "re-encrypt", "file": file, "name": unit.name, "from": from }));
                    } else {
                        let from = from.as_deref().unwrap_or("an unknown key");
                        world.terminal.print(&format!("re-encrypt {}: {} (from {from})\n", visible(&file), visible(&unit.name)))?;
                    }
                }
            }
        }
        self.files += usize::from(self.moved > before);
        Ok(())
    }

    /// The end, for people.
    pub(super) fn summary(&self, folders: &Folders, proves: bool, to: CertificateDigest, dry: bool) -> String {
        let mut text = String::new();
        if self.runbook {
            text.push_str(&format!("write  {} (updated)\n", visible(&folders.out.join(render::RUNBOOK).to_string_lossy())));
        }
        let (moved, files, present) = (self.moved, self.files, self.present);
        text.push_str(&match (moved == 0 && !self.runbook, dry) {
            (true, _) if !self.failed.is_empty() => format!("nothing done: {present} SealedSecrets are sealed to {to} already\n"),
            (true, _) => format!("nothing to do: {present} SealedSecrets are sealed to {to} already\n"),
            (false, true) => format!("to do: {moved} SealedSecrets in {files} files to re-encrypt to {to}; {present} are already\n"),
            (false, false) => format!("done: {moved} SealedSecrets in {files} files re-encrypted to {to}; {present} were already\n"),
        });
        if moved > 0 && !dry {
            text.push_str(if proves {
                "each new value was opened again, and is the same\n"
            } else {
                "the new values were not opened again: the private key of this certificate is not here; `seal-secrets backup` brings it\n"
            });
        }
        if !self.failed.is_empty() {
            let others = if dry || moved == 0 { "" } else { "; the others are done" };
            text.push_str(&format!("{} could not be opened and stay as they are{others}\n", self.failed.len()));
        }
        text
    }

    /// The plan for programs; fields are only ever added. The certificate may not be made yet.
    pub(super) fn json(&self, folders: &Folders, to: Option<CertificateDigest>) -> Value {
        let runbook = self.runbook.then(|| json!({ "action": "write", "file": folders.out.join(render::RUNBOOK).to_string_lossy() }));
        let changes: Vec<&Value> = self.changes.iter().chain(&runbook).collect();
        json!({ "version": 1, "certificate": to.map(|to| to.to_string()), "changes": changes, "present": self.present, "failed": self.failed })
    }
}
