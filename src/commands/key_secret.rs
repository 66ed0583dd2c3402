//! `key-secret`: the controller's key Secret from the escrow, to standard output and nowhere else.

use zeroize::Zeroizing;

use super::{Outcome, keys};
use crate::cli::{Folders, KeySecret};
use crate::manifest::secret;
use crate::model::{Error, Result};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::private_key::{self, SealingKey};
use crate::world::{World, files};

pub(super) fn run(folders: &Folders, args: &KeySecret, world: &mut World) -> Result<Outcome> {
    if world.terminal.stdout_is_terminal && !args.reveal && !applies(args) {
        return Err(super::unseal::to_a_terminal("seal-secrets key-secret | kubectl apply -f -"));
    }
    let certificate = keys::certificate(folders)?;
    let text = keys::open_escrow(folders, args.identity.as_deref(), world)?;
    let secret = render(folders, &certificate, &text, args.controller_namespace.as_str())?;
    #[cfg(feature = "cluster")]
    if args.apply {
        return apply(args, &secret, world);
    }
    world.terminal.print(&secret)?;
    Ok(Outcome::Done)
}

/// The key Secret of the certificate, from the escrow's text.
pub(super) fn render(folders: &Folders, certificate: &SealingCertificate, escrow_text: &str, namespace: &str) -> Result<Zeroizing<String>> {
    let escrow = keys::escrow_path(folders);
    // A key that the controller cannot use crashes it at start: only one that was judged is ever printed.
    let found = private_key::read_pem(escrow_text)?;
    let mut matching = None;
    let mut digests = Vec::new();
    for key in &found {
        let digest = SealingKey::new(key).map_err(|error| error.in_file(&escrow.to_string_lossy()))?.digest;
        digests.push(digest.to_string());
        if digest == certificate.digest {
            matching = Some(key);
        }
    }
    let key = matching.ok_or_else(|| {
        Error::refused(
            "the escrow does not hold the key of the certificate",
            "restore the escrow that belongs to it, or the certificate from git",
        )
        .why(format!("the certificate is {}, the escrow holds {}", certificate.digest, digests.join(", ")))
        .in_file(&escrow.to_string_lossy())
    })?;
    let path = folders.keys.join(keys::CERTIFICATE);
    let pem = files::read(&path, &path.to_string_lossy(), files::Kind::Public)?;
    let pem = String::from_utf8_lossy(&pem);
    Ok(secret::write_key_secret(namespace, &pem, &private_key::write_pem(key)?))
}

#[cfg(feature = "cluster")]
fn applies(args: &KeySecret) -> bool {
    args.apply
}

#[cfg(not(feature = "cluster"))]
fn applies(_: &KeySecret) -> bool {
    false
}

/// Applies the Secret, reads it back, and compares the two.
#[cfg(feature = "cluster")]
fn apply(args: &KeySecret, secret: &str, world: &mut World) -> Result<Outcome> {
    use crate::model::ErrorKind;
    use crate::world::cluster::Cluster;
    let cluster = Cluster::connect(&args.access.named(), &mut world.terminal)?;
    let (namespace, name) = (&args.controller_namespace, secret::KEY_SECRET);
    let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
    let failed = |what: &str, help: String| Error::new(ErrorKind::Cluster, what, help).in_file(&format!("{namespace}/{name}"));
    if cluster.metadata(&format!("/api/v1/namespaces/{namespace}"))?.is_none() {
        return Err(failed("the controller's namespace is not there", format!("make it: `kubectl create namespace {namespace}`")));
    }
    cluster.apply(&path, secret)?;
    let there = cluster.read_secret("get", &path)?;
    let same = secret::read_key_secrets(secret)?
        .iter()
        .zip(secret::read_key_secrets(crate::manifest::text::decode(&there)?)?)
        .all(|(ours, theirs)| ours.certificate == theirs.certificate && *ours.private_key == *theirs.private_key);
    if !same {
        return Err(failed("what was read back is not what was applied", "look for a webhook that changes Secrets".to_owned()));
    }
    let next = "install the controller with `keyrenewperiod: \"0\"`; if it runs already, restart it";
    world.terminal.print(&format!("applied {namespace}/{name}; read back, and it is the same\nnext: {next}\n"))?;
    Ok(Outcome::Done)
}
