//! The kubeconfig and the files that it refers to, read with the same limits as every file.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use zeroize::Zeroizing;

use super::cluster::Access;
use super::connection::failed;
use super::disk::Disk;
use super::proxy::Proxy;
use super::{World, files};
use crate::manifest::text;
use crate::model::{Error, Result, visible};

/// What a kubeconfig says about one cluster.
pub(super) struct Chosen {
    /// It refers to no other file, and always sets a proxy: without one, kube would look for it in the environment, and in another way than
    /// kubectl.
    pub kubeconfig: Kubeconfig,
    pub context: String,
    pub server: String,
    /// The proxy to use, which is not always the kubeconfig's.
    pub proxy: Option<Proxy>,
    /// The kubeconfig's own proxy.
    pub proxy_url: Option<String>,
}

pub(super) fn read(access: &Access<'_>, world: &World) -> Result<Chosen> {
    let disk = &*world.disk;
    let mut merged = merge(access, world)?;
    let context = choose(&merged, access.context)?;
    let (cluster, user) = of_context(&mut merged, &context)?;
    let server = check(cluster)?;
    read_files(disk, cluster, user)?;
    let proxy_url = cluster.proxy_url.replace("http://none".to_owned());
    let proxy = match server.parse() {
        Ok(uri) => Proxy::of(&uri, proxy_url.as_deref(), world.variable)?,
        Err(_) => None,
    };
    Ok(Chosen { kubeconfig: merged, context, server, proxy, proxy_url })
}

/// All that the files say; if two say the same, the first one counts.
fn merge(access: &Access<'_>, world: &World) -> Result<Kubeconfig> {
    let disk = &*world.disk;
    let mut merged = None;
    for file in files_of(access.kubeconfig, world)? {
        let name = file.to_string_lossy();
        if !files::exists(disk, &file)? {
            if access.must_exist {
                return Err(failed("no such file", "pass the kubeconfig with `--kubeconfig FILE`").in_file(&name));
            }
            continue;
        }
        let bytes = files::read(disk, &file, &name, files::Kind::Public)?;
        let no_kubeconfig = || failed("not a kubeconfig", "try it with `kubectl --kubeconfig FILE config view`").in_file(&name);
        let text = text::decode(&bytes).map_err(|error| error.in_file(&name))?;
        let mut one = Kubeconfig::from_yaml(text).map_err(|_| no_kubeconfig())?;
        one.current_context = one.current_context.filter(|context| !context.is_empty());
        find_files(&mut one, file.parent().unwrap_or(Path::new("")));
        merged = Some(merged.unwrap_or(Kubeconfig::default()).merge(one).map_err(|_| no_kubeconfig())?);
    }
    merged.ok_or_else(|| failed("no file that `KUBECONFIG` lists exists", "correct `KUBECONFIG`, or pass one with `--kubeconfig FILE`"))
}

fn files_of(named: Option<&str>, world: &World) -> Result<Vec<PathBuf>> {
    if let Some(named) = named {
        return Ok(named.split(':').filter(|file| !file.is_empty()).map(PathBuf::from).collect());
    }
    let default = world.home.as_deref().map(|home| home.join(".kube/config"));
    match default {
        Some(default) if files::exists(&*world.disk, &default)? => Ok(vec![default]),
        _ => Err(failed("there is no kubeconfig at `~/.kube/config`", "pass one with `--kubeconfig FILE`")),
    }
}

/// Resolves paths in a kubeconfig against its folder; a plugin without a slash is searched in `PATH`.
fn find_files(kubeconfig: &mut Kubeconfig, folder: &Path) {
    let below = |path: &mut String| *path = folder.join(&*path).to_string_lossy().into_owned();
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        cluster.certificate_authority.iter_mut().for_each(below);
    }
    for user in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        for path in [&mut user.client_certificate, &mut user.client_key, &mut user.token_file] {
            path.iter_mut().for_each(below);
        }
        user.exec.iter_mut().filter_map(|exec| exec.command.as_mut()).filter(|command| command.contains('/')).for_each(below);
    }
}

fn choose(kubeconfig: &Kubeconfig, wanted: Option<&str>) -> Result<String> {
    let known: Vec<String> = kubeconfig.contexts.iter().map(|context| format!("`{}`", visible(&context.name))).collect();
    let list = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
    match wanted.map(str::to_owned).or_else(|| kubeconfig.current_context.clone()) {
        Some(name) if kubeconfig.contexts.iter().any(|context| context.name == name) => Ok(name),
        Some(_) => Err(failed("the kubeconfig has no such context", format!("name one with `--context`: {list}"))),
        None => Err(failed("the kubeconfig has no current context", format!("name one with `--context`: {list}"))),
    }
}

/// A context's cluster, and its user if it has one.
fn of_context<'k>(kubeconfig: &'k mut Kubeconfig, context: &str) -> Result<(&'k mut Cluster, Option<&'k mut AuthInfo>)> {
    let context = kubeconfig.contexts.iter().find(|named| named.name == context).and_then(|named| named.context.as_ref());
    let cluster = kubeconfig.clusters.iter_mut().find(|named| context.is_some_and(|context| named.name == context.cluster));
    let Some(cluster) = cluster.and_then(|named| named.cluster.as_mut()) else {
        return Err(failed("the context names a cluster that the kubeconfig does not have", "fix the kubeconfig"));
    };
    let user = context.and_then(|context| context.user.as_ref());
    let user = kubeconfig.auth_infos.iter_mut().find(|named| user == Some(&named.name)).and_then(|named| named.auth_info.as_mut());
    Ok((cluster, user))
}

/// The server. Without a checked certificate, anyone in between could read everything.
fn check(cluster: &Cluster) -> Result<String> {
    if cluster.insecure_skip_tls_verify == Some(true) {
        let help = "remove it from the kubeconfig, and name the server's CA with `certificate-authority`";
        return Err(Error::refused("the kubeconfig says `insecure-skip-tls-verify`", help)
            .why("anybody between this machine and the server could read and change everything"));
    }
    let server = cluster.server.clone().unwrap_or_default();
    if !server.starts_with("https://") {
        return Err(Error::refused("the server of this context is not an https URL", "write `server: https://…` in the kubeconfig"));
    }
    // The server is printed.
    if server.contains(['@', '?', '#']) {
        let help = "write only `server: https://HOST:PORT`, and the credentials under `users`";
        return Err(Error::refused("the server of this context is a URL that may hold a password", help));
    }
    Ok(server)
}

/// Replaces each file reference in the kubeconfig by the file's content; kube would read it without a limit.
fn read_files(disk: &dyn Disk, cluster: &mut Cluster, user: Option<&mut AuthInfo>) -> Result<()> {
    let read = |path: Option<String>, field: &str| {
        let name = format!("the file of `{field}` in the kubeconfig");
        path.map(|path| files::read(disk, Path::new(&path), &name, files::Kind::Public)).transpose()
    };
    let base64 = |bytes: Zeroizing<Vec<u8>>| BASE64_STANDARD.encode(&bytes);
    if let Some(bytes) = read(cluster.certificate_authority.take(), "certificate-authority")? {
        cluster.certificate_authority_data.get_or_insert_with(|| base64(bytes));
    }
    let Some(user) = user else { return Ok(()) };
    if let Some(bytes) = read(user.client_certificate.take(), "client-certificate")? {
        user.client_certificate_data.get_or_insert_with(|| base64(bytes));
    }
    if let Some(bytes) = read(user.client_key.take(), "client-key")? {
        user.client_key_data.get_or_insert_with(|| base64(bytes).into());
    }
    if let Some(bytes) = read(user.token_file.take(), "tokenFile")? {
        let in_file = |error: Error| error.in_file("the file of `tokenFile` in the kubeconfig");
        let token = text::decode(&bytes).map_err(in_file)?.trim().to_owned();
        user.token.get_or_insert_with(|| token.into());
    }
    Ok(())
}
