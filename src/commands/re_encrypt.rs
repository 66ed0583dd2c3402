//! `re-encrypt`: re-seals the same values to the current certificate, in any file; with `--via-controller` a live cluster's controller
//! opens and seals them.

use super::Outcome;
use crate::cli::ReEncrypt;
use crate::model::{CertificateDigest, Error, Result};
use crate::pipeline::certificate::FitCertificate;
use crate::pipeline::re_encrypt::Work;
use crate::pipeline::seal::{Sealer, SessionKeys};
use crate::pipeline::tally::{Event, Tally};
use crate::show::tally::{self, Record};
use crate::workspace::Workspace;
use crate::workspace::keys::CERTIFICATE;
use crate::workspace::sealed_files::{Each, SealedFiles, with_keys};
use crate::workspace::trust::Trust;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &ReEncrypt, world: &mut World) -> Result<Outcome> {
    if args.paths.is_empty() {
        workspace.check_folder()?;
    }
    // Found first: while this holds the locks, nobody changes the certificate.
    let sealed = workspace.sealed_files(&args.paths, args.bound.hints(), !args.consent.dry_run, world)?;
    let mut trust = workspace.trust(args.certificate.accepted.accept_certificate, world)?;
    let certificate = workspace.fit_certificate(&trust, args.certificate.allow_rsa_bits, world)?;
    #[cfg(feature = "cluster")]
    if args.via_controller {
        return via_controller(workspace, args, &sealed, &certificate, &mut trust, world);
    }
    let to = certificate.digest;
    let mut keys = workspace.openers(args.opening.identity.as_deref(), &args.opening.recovery_private_key, world)?;
    if let Some(only) = args.key {
        if keys.iter().all(|key| key.digest != only) {
            let help = "pass it with `--recovery-private-key FILE`, or see `seal-secrets status --identity FILE`";
            return Err(Error::bad_input("`--key` names a key that is not among those that open values", help));
        }
        keys.retain(|key| key.digest == only || key.digest == to);
    }
    let sealer = Sealer::new(&certificate)?;
    let work = Work::new(&keys, to, (!args.consent.dry_run).then_some(&sealer), args.key);
    check_opens(work.proves(), "get its private key with `seal-secrets backup`", &trust, to)?;
    ask(workspace, args, &certificate, &mut trust, world)?;
    let tally = Tally { proved: work.proves(), ..Tally::default() };
    let run = Run { workspace, args, to, tally, record: Record::default() };
    let mut session_keys = SessionKeys::default();
    run.over(&sealed, &mut |files, world| with_keys(files, &work, &mut session_keys, world), world)
}

/// A sealed value that cannot be opened may be lost: only the operator can confirm that someone else holds its key.
fn check_opens(opens: bool, otherwise: &str, trust: &Trust<'_>, to: CertificateDigest) -> Result<()> {
    if opens || trust.names(to) {
        return Ok(());
    }
    let help = format!(
        "restore `sealing.crt` from git if nobody replaced the sealing key on purpose; {otherwise}; only if you know who holds it, pass `--accept-certificate {to}`"
    );
    Err(Error::refused("none of the keys here opens what would be sealed", help).why(format!("it would be sealed to {to}")))
}

fn ask(workspace: &Workspace, args: &ReEncrypt, to: &FitCertificate, trust: &mut Trust<'_>, world: &mut World) -> Result<()> {
    if args.consent.dry_run {
        return Ok(());
    }
    workspace.check_untracked(&[], world)?;
    let what = format!("replace what is sealed in {} by the same values, sealed to {}", workspace.shown(&args.paths), to.digest);
    world.terminal.confirm(&what, args.consent.yes)?;
    trust.accept(to, CERTIFICATE, world)
}

struct Run<'r> {
    workspace: &'r Workspace,
    args: &'r ReEncrypt,
    to: CertificateDigest,
    tally: Tally,
    record: Record,
}

impl Run<'_> {
    /// Reports each event, at once for people, at the end for programs; then updates the runbook, if the results require it.
    fn over(mut self, sealed: &SealedFiles, each: &mut Each<'_>, world: &mut World) -> Result<Outcome> {
        let (places, consent, record) = (&self.workspace.places, &self.args.consent, &mut self.record);
        let mut tell = |event: Event, world: &mut World| {
            if consent.printed.is_json() {
                record.keep(&event);
            }
            match event {
                Event::Failed(error) => world.terminal.tell(&tally::failed(places, &error)),
                Event::Moved { file, name, from } if !consent.printed.is_json() => {
                    world.terminal.print(&tally::moved(&file, &name, from))?
                }
                Event::Moved { .. } => {}
            }
            Ok(())
        };
        sealed.handle(&mut self.tally, world, &mut tell, each)?;
        if self.tally.failed == 0 && self.args.key.is_none() && sealed.with_out {
            self.tally.runbook = self.workspace.out()?.update_runbook(self.to, !consent.dry_run)?;
        }
        world.terminal.print(&match consent.printed.is_json() {
            true => self.record.json(places, &self.tally, Some(self.to)),
            false => tally::summary(places, &self.tally, self.to, consent.dry_run),
        })?;
        Ok(Outcome::found(self.tally.failed > 0))
    }
}

/// The controller opens and seals, so that no private key is needed here.
#[cfg(feature = "cluster")]
fn via_controller(
    workspace: &Workspace,
    args: &ReEncrypt,
    sealed: &SealedFiles,
    certificate: &FitCertificate,
    trust: &mut Trust<'_>,
    world: &mut World,
) -> Result<Outcome> {
    use crate::pipeline::certificate::SealingCertificate;
    use crate::pipeline::re_encrypt::by_controller;
    use crate::workspace::sealed_files::{Handled, SealedFile};
    use serde_json::Value;
    let identity = args.opening.identity.as_deref();
    let pairs =
        identity.map(|identity| workspace.escrow(Some(identity), world)).transpose()?.map(|escrow| escrow.pairs).unwrap_or_default();
    let proved = pairs.openers.iter().any(|key| key.digest == certificate.digest);
    let cluster = crate::world::cluster::Cluster::connect(&workspace.access(), world)?;
    let controller = workspace.controller_of(&cluster);
    controller.check_version()?;
    let proxy = controller.proxy()?;
    let served = SealingCertificate::read(&controller.served(&proxy)?)?;
    if served.digest != certificate.digest {
        let help = "pin the one it serves with `seal-secrets fetch-cert`, or give it its keys with `seal-secrets key-secret --apply`";
        return Err(Error::refused("the controller would seal to another certificate than the pinned one", help)
            .why(format!("it serves {}, pinned is {}", served.digest, certificate.digest)));
    }
    check_opens(proved, "pass `--identity FILE`, so that what the controller seals is opened here", trust, certificate.digest)?;
    ask(workspace, args, certificate, trust, world)?;
    let mut post = |question: &Value| controller.rotated(&proxy, question);
    let keys = if proved { pairs.openers.as_slice() } else { &[] };
    let tally = Tally { proved, ..Tally::default() };
    let mut each = |files: Vec<SealedFile>, _: &mut World| {
        let mut handled = Vec::new();
        for file in files {
            let ask = (!args.consent.dry_run).then_some(&mut post as &mut dyn FnMut(&Value) -> Result<Option<Value>>);
            match by_controller(&file.text, &file.found, certificate, keys, ask) {
                Err(error) if error.kind.is_of_the_cluster() => return (handled, Err(error)),
                done => handled.push(Handled { file, done }),
            }
        }
        (handled, Ok(()))
    };
    Run { workspace, args, to: certificate.digest, tally, record: Record::default() }.over(sealed, &mut each, world)
}
