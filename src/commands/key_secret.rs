//! `key-secret`: the controller's key Secrets from the escrow, to standard output and nowhere else.

use zeroize::Zeroizing;

use super::{Outcome, keys, renew};
use crate::cli::{Folders, KeySecret};
use crate::manifest::secret;
use crate::model::{CertificateDigest, Error, Result};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::private_key;
use crate::world::{World, files};

pub(super) fn run(folders: &Folders, args: &KeySecret, world: &mut World) -> Result<Outcome> {
    if world.terminal.stdout_is_terminal && !args.reveal && !applies(args) {
        return Err(super::unseal::to_a_terminal("seal-secrets key-secret | kubectl apply -f -"));
    }
    let certificate = keys::certificate(folders, world)?;
    let text = keys::open_escrow(folders, args.identity.as_deref(), world)?;
    let KeySecrets { secrets, newer, left_out } = render(folders, &certificate, &text, args.controller_namespace.as_str(), world)?;
    if let Some(newer) = newer {
        let what = format!("the escrow holds a newer key, {newer}, which the controller would serve");
        world.terminal.warn(&format!("{what}: `seal-secrets renew` moves to it"));
    }
    for digest in left_out {
        world.terminal.warn(&format!("{digest} stands in the escrow without its certificate, and is left out"));
    }
    #[cfg(feature = "cluster")]
    if args.apply {
        return apply(args, &secrets, world);
    }
    world.terminal.print(&stream(&secrets))?;
    Ok(Outcome::Done)
}

/// The key Secrets, one for each key of the escrow: what is sealed to an old one opens as well, and of several the controller
/// serves the one whose certificate began last.
pub(super) struct KeySecrets {
    /// By name.
    pub(super) secrets: Vec<(String, Zeroizing<String>)>,
    /// A key that began later than the certificate.
    newer: Option<CertificateDigest>,
    /// Keys without a certificate.
    left_out: Vec<CertificateDigest>,
}

/// As one stream of documents.
pub(super) fn stream(secrets: &[(String, Zeroizing<String>)]) -> Zeroizing<String> {
    let texts: Vec<&str> = secrets.iter().map(|(_, text)| text.as_str()).collect();
    Zeroizing::new(texts.join("---\n"))
}

/// The key Secrets, from the escrow's text.
pub(super) fn render(
    folders: &Folders,
    certificate: &SealingCertificate,
    escrow_text: &str,
    namespace: &str,
    world: &World,
) -> Result<KeySecrets> {
    let escrow = keys::escrow_path(folders);
    // A key that the controller cannot use crashes it at start: only those that were judged are ever printed.
    let pairs = keys::pairs(folders, escrow_text)?;
    if pairs.iter().all(|pair| pair.digest != certificate.digest) {
        let digests: Vec<String> = pairs.iter().map(|pair| pair.digest.to_string()).collect();
        return Err(Error::refused(
            "the escrow does not hold the key of the certificate",
            "restore the escrow that belongs to it, or the certificate from git",
        )
        .why(format!("the certificate is {}, the escrow holds {}", certificate.digest, digests.join(", ")))
        .in_file(&escrow.to_string_lossy()));
    }
    let path = folders.keys.join(keys::CERTIFICATE);
    let pinned = files::read(&*world.disk, &path, &path.to_string_lossy(), files::Kind::Public)?;
    let newer = renew::begun(&pairs, certificate, |_| true).map(|(newer, _)| newer.digest);
    let mut rendered = KeySecrets { secrets: Vec::new(), newer, left_out: Vec::new() };
    for (n, pair) in pairs.iter().enumerate() {
        let pem = match &pair.certificate {
            _ if pair.digest == certificate.digest => String::from_utf8_lossy(&pinned),
            Some((_, pem)) => pem.into(),
            None => {
                rendered.left_out.push(pair.digest);
                continue;
            }
        };
        let name = secret::key_secret_name(n);
        let text = secret::write_key_secret(namespace, &name, &pem, &private_key::write_pem(&pair.key)?);
        rendered.secrets.push((name, text));
    }
    Ok(rendered)
}

#[cfg(feature = "cluster")]
fn applies(args: &KeySecret) -> bool {
    args.apply
}

#[cfg(not(feature = "cluster"))]
fn applies(_: &KeySecret) -> bool {
    false
}

/// Applies each Secret, reads it back, and compares the two.
#[cfg(feature = "cluster")]
fn apply(args: &KeySecret, secrets: &[(String, Zeroizing<String>)], world: &mut World) -> Result<Outcome> {
    use crate::model::ErrorKind;
    use crate::world::cluster::Cluster;
    let cluster = Cluster::connect(&args.access.named(), &mut world.terminal)?;
    let namespace = &args.controller_namespace;
    let failed = |name: &str, what: &str, help: String| Error::new(ErrorKind::Cluster, what, help).in_file(&format!("{namespace}/{name}"));
    if cluster.metadata(&format!("/api/v1/namespaces/{namespace}"))?.is_none() {
        let help = format!("make it: `kubectl create namespace {namespace}`");
        return Err(failed(&secret::key_secret_name(0), "the controller's namespace is not there", help));
    }
    for (name, secret) in secrets {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        cluster.apply(&path, secret)?;
        let there = cluster.read_secret("get", &path)?;
        let same = secret::read_key_secrets(secret)?
            .iter()
            .zip(secret::read_key_secrets(crate::manifest::text::decode(&there)?)?)
            .all(|(ours, theirs)| ours.certificate == theirs.certificate && *ours.private_key == *theirs.private_key);
        if !same {
            let help = "look for a webhook that changes Secrets".to_owned();
            return Err(failed(name, "what was read back is not what was applied", help));
        }
        world.terminal.print(&format!("applied {namespace}/{name}; read back, and it is the same\n"))?;
    }
    world.terminal.print("next: install the controller with `keyrenewperiod: \"0\"`; if it runs already, restart it\n")?;
    Ok(Outcome::Done)
}
