//! `fetch-cert`: pins the certificate of a controller that already has a key.

use super::Outcome;
use crate::cli::FetchCert;
use crate::manifest::text;
use crate::model::{CertificateDigest, Error, Result, visible};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::pins::How;
use crate::pipeline::rsa_soundness::LEAST_BITS;
use crate::workspace::Workspace;
use crate::workspace::keys::CERTIFICATE;
use crate::world::World;
use crate::world::cluster::Cluster;

pub(super) fn run(workspace: &Workspace, args: &FetchCert, world: &mut World) -> Result<Outcome> {
    let (pem, from) = match &args.file {
        Some(path) => (workspace.read_public(path)?.to_vec(), path.to_string_lossy().into_owned()),
        None => {
            let cluster = Cluster::connect(&workspace.access(), world)?;
            let controller = workspace.controller_of(&cluster);
            (controller.served(&controller.proxy()?)?, format!("the controller {}/{}", controller.namespace, controller.name))
        }
    };
    let fetched = SealingCertificate::read(&pem).and_then(|fetched| fetched.judge((world.clock)(), LEAST_BITS));
    let fetched = fetched.map_err(|error| error.in_file(&from))?;
    let digest = fetched.digest;
    let (begins, ends) = (fetched.begins(), fetched.ends());
    world.terminal.tell(&format!("{}: {digest}, RSA-{}, from {begins} until {ends}\n", visible(&from), 8 * fetched.size()));
    let path = workspace.places.in_keys(CERTIFICATE);
    let before = workspace.has(CERTIFICATE)?.then(|| workspace.certificate()).transpose()?;
    let there = before.as_ref().map(|before| before.sealing.digest);
    let mut trust = workspace.trust(args.accepted.accept_certificate, world)?;
    let accepted = trust.accepted(digest);
    if there == Some(digest) && accepted {
        trust.accept(&fetched, CERTIFICATE, world)?;
        world.terminal.print(&format!("nothing to do: {path} is pinned already\n"))?;
        return Ok(Outcome::Done);
    }
    let another = trust.pin.as_ref().map(|pin| pin.certificate).or(there).filter(|other| *other != digest && !accepted);
    accept(args.accepted.accept_certificate, another, digest, accepted, world)
        .map_err(|error| if another.is_some() { error.in_file(&path) } else { error })?;
    let (keys, pem) = (workspace.change_keys()?, text::decode(&pem)?);
    trust.announce(digest, How::FetchCert, world)?;
    match &before {
        None => keys.pin(pem)?,
        Some(before) if before.sealing.digest != digest => keys.pin_another(pem, before)?,
        Some(_) => {}
    }
    trust.settle(digest, How::FetchCert, world)?;
    let backup = workspace.command("backup");
    let next = match there {
        Some(there) if there == digest => workspace.command("bootstrap"),
        Some(_) => format!("{backup}, for its private key; then {}, for what is sealed to the old one", workspace.command("re-encrypt")),
        None => format!("{}, and `{backup}` for its private key", workspace.command("bootstrap")),
    };
    world.terminal.print(&format!("pinned {path} {digest}\nnext: {next}\n"))?;
    Ok(Outcome::Done)
}

/// A certificate is not taken on trust: the operator says yes, or passes its digest.
fn accept(
    named: Option<CertificateDigest>,
    pinned: Option<CertificateDigest>,
    digest: CertificateDigest,
    accepted: bool,
    world: &mut World,
) -> Result<()> {
    let help = format!("compare the digest with whoever runs the controller, and accept it: `--accept-certificate {digest}`");
    match (named, pinned) {
        (Some(named), _) if named == digest => Ok(()),
        (Some(named), _) => {
            Err(Error::refused("it is not the certificate that was to be accepted", "compare the two with whoever runs the controller")
                .why(format!("it is {digest}, and `--accept-certificate` says {named}")))
        }
        (None, _) if accepted => Ok(()),
        (None, Some(pinned)) => Err(Error::refused(
            "another certificate is pinned",
            format!("if the controller's key was renewed on purpose: `--accept-certificate {digest}`"),
        )
        .why(format!("pinned is {pinned}, fetched was {digest}"))),
        (None, None) if !world.terminal.stdin_is_terminal => {
            Err(Error::refused("you have not confirmed that this certificate is the right one", help))
        }
        (None, None) if world.terminal.ask("Pin it? Type yes: ")?.is("yes") => Ok(()),
        (None, None) => Err(Error::refused("it was not pinned", help)),
    }
}
