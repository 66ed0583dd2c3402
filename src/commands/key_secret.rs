//! `key-secret`: the controller's key Secrets from the escrow, only to standard output.

use super::Outcome;
use crate::cli::KeySecret;
use crate::model::{Error, Result};
use crate::pipeline::key_secrets::KeySecrets;
use crate::workspace::Workspace;
use crate::workspace::keys::ESCROW;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &KeySecret, world: &mut World) -> Result<Outcome> {
    workspace.check_namespace_named()?;
    if !applies(args) {
        world.terminal.check_output()?;
    }
    world.terminal.check_reveal(args.reveal || applies(args), &workspace.command("key-secret | kubectl apply -f -"))?;
    let certificate = workspace.certificate()?;
    let escrow = workspace.escrow(args.identity.as_deref(), world)?;
    let secrets = KeySecrets::new(&escrow.pairs, &certificate.sealing, &certificate.pem, workspace.controller.namespace.as_str());
    let secrets = secrets.map_err(|error: Error| error.in_file(&workspace.places.in_keys(ESCROW)))?;
    if let Some(newer) = secrets.newer {
        let what = format!("the escrow holds a newer key, {newer}, which the controller would serve");
        world.terminal.warn(&format!("{what}: `{}` moves to it", workspace.command("renew")));
    }
    for digest in &secrets.left_out {
        world.terminal.warn(&format!("{digest} stands in the escrow without its certificate, and is left out"));
    }
    #[cfg(feature = "cluster")]
    if args.apply {
        return apply(workspace, &secrets, world);
    }
    world.terminal.print(&secrets.stream())?;
    Ok(Outcome::Done)
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
fn apply(workspace: &Workspace, secrets: &KeySecrets, world: &mut World) -> Result<Outcome> {
    use crate::manifest::{secret, text};
    use crate::model::ErrorKind;
    use crate::pipeline::key_secrets::same;
    let cluster = crate::world::cluster::Cluster::connect(&workspace.access(), world)?;
    let namespace = &workspace.controller.namespace;
    let failed = |name: &str, what: &str, help: String| Error::new(ErrorKind::Cluster, what, help).in_file(&format!("{namespace}/{name}"));
    if cluster.metadata(&format!("/api/v1/namespaces/{namespace}"))?.is_none() {
        let help = format!("make it: `kubectl create namespace {namespace}`");
        return Err(failed(&secret::key_secret_name(0), "the controller's namespace does not exist", help));
    }
    for (name, secret) in &secrets.secrets {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        cluster.apply(&path, secret)?;
        let there = cluster.read_secret("get", &path, "Secret")?;
        if !text::decode(&there).and_then(|there| same(secret, there)).is_ok_and(|same| same) {
            let help = "look for a webhook that changes Secrets".to_owned();
            return Err(failed(name, "what was read back is not what was applied", help));
        }
        world.terminal.print(&format!("applied {namespace}/{name}; read back, and it is the same\n"))?;
    }
    world.terminal.print("next: install the controller with `keyrenewperiod: \"0\"`; if it runs already, restart it\n")?;
    Ok(Outcome::Done)
}
