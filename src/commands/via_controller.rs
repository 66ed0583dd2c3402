//! `re-encrypt --via-controller`: the controller opens and seals, for who has no private key.

use http::StatusCode;
use serde_json::Value;

use super::re_encrypt::{Tally, ask};
use super::sealed_files::{Outcome as OfFile, SealedFiles};
use super::{Outcome, fetch_cert, keys};
use crate::cli::{Folders, ReEncrypt};
use crate::model::{Error, ErrorKind, Result};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::diagnose::controller::{dotted, version_of};
use crate::pipeline::re_encrypt::by_controller;
use crate::world::World;
use crate::world::cluster::Cluster;

/// Before, `/v1/rotate` took the scope from the template, which may be wider (CVE-2026-22728).
const SAFE: (u32, u32, u32) = (0, 36, 0);

pub(super) fn run(
    folders: &Folders,
    args: &ReEncrypt,
    sealed: &SealedFiles,
    certificate: &SealingCertificate,
    world: &mut World,
) -> Result<Outcome> {
    let identity = args.opening.identity.as_deref();
    let ring = identity.map(|identity| keys::escrow_keys(folders, Some(identity), world)).transpose()?.unwrap_or_default();
    let proves = ring.iter().any(|key| key.digest == certificate.digest);
    let cluster = Cluster::connect(&args.cluster.access.named(), &mut world.terminal)?;
    let (namespace, name) = (args.cluster.controller_namespace.as_str(), args.cluster.controller_name.as_str());
    check_version(&cluster, namespace)?;
    let served = SealingCertificate::read(&fetch_cert::served(&cluster, namespace, name)?)?;
    if served.digest != certificate.digest {
        let help = "pin the one it serves with `seal-secrets fetch-cert`, or give it its keys with `seal-secrets key-secret --apply`";
        return Err(Error::refused("the controller would seal to another certificate than the pinned one", help)
            .why(format!("it serves {}, pinned is {}", served.digest, certificate.digest)));
    }
    ask(folders, args, certificate.digest, world)?;
    let path = format!("{}/v1/rotate", fetch_cert::proxy(&cluster, namespace, name)?);
    let mut post = |question: &Value| rotated(&cluster, &path, question);
    let mut tally = Tally::quiet(args.consent.json);
    let keys = if proves { ring.as_slice() } else { &[] };
    tally.go_through_with(sealed, world, |files, _| {
        let mut outcomes = Vec::new();
        for file in files {
            let ask = (!args.consent.dry_run).then_some(&mut post as &mut dyn FnMut(&Value) -> Result<Option<Value>>);
            match by_controller(&file.text, &file.found, certificate, keys, ask) {
                Err(error) if error.kind.is_of_the_cluster() => return (outcomes, Err(error)),
                done => outcomes.push(OfFile { file, done }),
            }
        }
        (outcomes, Ok(()))
    })?;
    tally.end(folders, args, certificate.digest, proves, world)
}

/// The controller's answer; none where it cannot open what it was asked.
fn rotated(cluster: &Cluster, path: &str, question: &Value) -> Result<Option<Value>> {
    let answer = cluster.post(path, question)?;
    match answer.status {
        StatusCode::OK => serde_json::from_slice(&answer.body).map(Some).map_err(|_| {
            let help = "see that nothing between here and the controller answers in its place, then run again";
            Error::new(ErrorKind::Cluster, "the controller's answer is not JSON", help)
        }),
        // Whatever is wrong with what it was asked, this is its only other answer.
        StatusCode::INTERNAL_SERVER_ERROR => Ok(None),
        status => {
            let help = "see whether the controller runs, then run again: what says that it is sealed to this certificate is left alone";
            Err(Error::new(ErrorKind::Cluster, format!("the controller answered {}", status.as_u16()), help))
        }
    }
}

fn check_version(cluster: &Cluster, namespace: &str) -> Result<()> {
    let offline = "re-encrypt offline, without `--via-controller`";
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments?labelSelector=app.kubernetes.io/name=sealed-secrets");
    let deployments = cluster.get(&path)?.unwrap_or_default();
    // Of several the oldest counts, and one that does not tell.
    let versions = deployments["items"].as_array().into_iter().flatten().map(version_of);
    match versions.min().flatten() {
        Some(version) if version >= SAFE => Ok(()),
        Some(version) => Err(Error::refused(
            format!("the controller is {}, and before {} it could widen a scope (CVE-2026-22728)", dotted(version), dotted(SAFE)),
            format!("upgrade it, or {offline}"),
        )),
        None => Err(Error::refused(
            "which version the controller has is not known",
            format!("see `kubectl -n {namespace} get deployment -o wide`: the image's tag, or the label `app.kubernetes.io/version`, has to say; or {offline}"),
        )
        .why(format!("before {} it could widen a scope (CVE-2026-22728)", dotted(SAFE)))),
    }
}
