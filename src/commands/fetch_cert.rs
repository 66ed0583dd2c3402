//! `fetch-cert`: pins the certificate of a controller whose key exists already.

use http::StatusCode;

use super::Outcome;
use super::keys::{self, CERTIFICATE};
use crate::cli::{FetchCert, Folders};
use crate::model::{Error, ErrorKind, Result, visible};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::rsa_soundness::LEAST_BITS;
use crate::world::cluster::Cluster;
use crate::world::folder::Existing;
use crate::world::{World, files};

pub(super) fn run(folders: &Folders, args: &FetchCert, world: &mut World) -> Result<Outcome> {
    let (pem, from) = match &args.file {
        Some(path) => {
            let name = path.to_string_lossy().into_owned();
            (files::read(&*world.disk, path, &name, files::Kind::Public)?.to_vec(), name)
        }
        None => {
            let cluster = Cluster::connect(&args.cluster.access.named(), &mut world.terminal)?;
            let (namespace, name) = (args.cluster.controller_namespace.as_str(), args.cluster.controller_name.as_str());
            (served(&cluster, namespace, name)?, format!("the controller {namespace}/{name}"))
        }
    };
    let fetched = SealingCertificate::read(&pem).map_err(|error| error.in_file(&from))?;
    fetched.judge((world.clock)(), LEAST_BITS).map_err(|error| error.in_file(&from))?;
    let digest = fetched.digest;
    world.terminal.tell(&format!(
        "{}: {digest}, RSA-{}, from {} until {}\n",
        visible(&from),
        8 * fetched.size(),
        fetched.begins(),
        fetched.ends()
    ));
    let path = folders.keys.join(CERTIFICATE);
    let pinned = if files::exists(&*world.disk, &path)? { Some(keys::certificate(folders, world)?.digest) } else { None };
    if pinned == Some(digest) {
        world.terminal.print(&format!("nothing to do: {} is pinned already\n", path.display()))?;
        return Ok(Outcome::Done);
    }
    match (args.accept_certificate, pinned) {
        (Some(accepted), _) if accepted == digest => {}
        (Some(accepted), _) => {
            return Err(Error::refused(
                "it is not the certificate that was to be accepted",
                "compare the two with whoever runs the controller",
            )
            .why(format!("it is {digest}, and `--accept-certificate` says {accepted}")));
        }
        (None, Some(pinned)) => {
            return Err(Error::refused(
                "another certificate is pinned",
                format!("if the controller's key was renewed on purpose: `--accept-certificate {digest}`"),
            )
            .why(format!("pinned is {pinned}, fetched was {digest}"))
            .in_file(&path.to_string_lossy()));
        }
        (None, None) => confirm(digest, world)?,
    }
    let (folder, _lock) = keys::folder_to_change(folders, world)?;
    let (existing, next) = match pinned {
        Some(_) => {
            (Existing::Replace, "seal-secrets backup, for its private key; then seal-secrets re-encrypt, for what is sealed to the old one")
        }
        None => (Existing::Keep, "seal-secrets bootstrap, and `seal-secrets backup` for its private key"),
    };
    keys::write(&folder, CERTIFICATE, &pem, 0o644, existing)?;
    world.terminal.print(&format!("pinned {} {digest}\nnext: {next}\n", path.display()))?;
    Ok(Outcome::Done)
}

/// A certificate is not taken on trust: the operator says yes, or names its digest.
fn confirm(digest: crate::model::CertificateDigest, world: &mut World) -> Result<()> {
    let help = format!("compare the digest with whoever runs the controller, and accept it: `--accept-certificate {digest}`");
    if !world.terminal.stdin_is_terminal {
        return Err(Error::refused("nobody has said that this certificate is the right one", help));
    }
    let answer = world.terminal.ask("pin it? type yes: ")?;
    if answer.is("yes") { Ok(()) } else { Err(Error::refused("it was not pinned", help)) }
}

/// The way to a controller, through the API server's service proxy: the port's name is the Service's first.
pub(super) fn proxy(cluster: &Cluster, namespace: &str, name: &str) -> Result<String> {
    let missing = |message: &str| {
        Error::new(
            ErrorKind::Cluster,
            format!("there is no Service `{namespace}/{name}`"),
            "name it with `--controller-namespace` and `--controller-name`; the helm chart's is `sealed-secrets`",
        )
        .why(message.to_owned())
    };
    let service = cluster
        .get(&format!("/api/v1/namespaces/{namespace}/services/{name}"))?
        .ok_or_else(|| missing("the API server does not know it"))?;
    let port = service.pointer("/spec/ports/0/name").and_then(|name| name.as_str()).unwrap_or("");
    Ok(format!("/api/v1/namespaces/{namespace}/services/http:{name}:{port}/proxy"))
}

/// The certificate that a controller serves.
pub(super) fn served(cluster: &Cluster, namespace: &str, name: &str) -> Result<Vec<u8>> {
    let answer = cluster.ask("get", &format!("{}/v1/cert.pem", proxy(cluster, namespace, name)?), "*/*")?;
    if answer.status == StatusCode::OK && !answer.body.is_empty() {
        return Ok(answer.body);
    }
    let what = format!("the controller behind `{namespace}/{name}` does not serve its certificate");
    Err(Error::new(ErrorKind::Cluster, what, format!("see whether it runs: `kubectl -n {namespace} get pods`"))
        .why(format!("the API server answered {}", answer.status.as_u16())))
}
