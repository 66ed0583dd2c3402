//! The connection to an API server, with or without a proxy, and why it failed.

use std::error::Error as _;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection as Connected, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::{AuthError, Body, ClientBuilder, ConfigExt};
use kube::config::{ExecInteractiveMode, KubeConfigOptions};
use tower::{BoxError, Service, ServiceBuilder};

use super::kubeconfig::Chosen;
use super::proxy::{Kind, Proxy};
use crate::model::{Error, ErrorKind, Result, counted, quietly, visible};

pub(super) fn failed(what: impl Into<String>, help: impl Into<String>) -> Error {
    Error::new(ErrorKind::Cluster, what, help)
}

pub(super) struct Connection {
    client: kube::Client,
    proxy: Option<Proxy>,
}

impl Connection {
    /// Prepares the connection; makes no request yet.
    pub(super) async fn to(chosen: Chosen) -> Result<Self> {
        let Chosen { kubeconfig, context, proxy, proxy_url, .. } = chosen;
        let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|_| unusable(&context))?;
        let plugin = config.auth_info.exec.as_mut().map(|plugin| {
            // Otherwise it would share our terminal, and its messages may quote a secret.
            plugin.interactive_mode = Some(ExecInteractiveMode::Never);
            if let Some(cluster) = &mut plugin.cluster {
                cluster.proxy_url = proxy_url;
            }
            plugin.command.clone().unwrap_or_default()
        });
        // It panics on a token that no header can hold.
        let made = quietly(|| client(&config, proxy.as_ref())).map_or(Err(None), |made| made.map_err(Some));
        let client = made.map_err(|error| match (&error, plugin) {
            (None | Some(kube::Error::Auth(_)), Some(plugin)) => no_credentials(&plugin, error.as_ref()),
            _ => unusable(&context),
        })?;
        Ok(Connection { client, proxy })
    }

    /// The response to a request, whatever it says.
    pub(super) async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Body>> {
        self.client.send(request.map(Into::into)).await.map_err(|error| self.broken(&error))
    }

    pub(super) fn no_answer(&self, patience: Duration) -> Error {
        let what = format!("the API server did not answer within {}", counted(patience.as_secs() as usize, "second"));
        self.by_its_way(failed(what, "check the network, and the server's load"))
    }

    /// Why no answer came, from the chain of causes; library texts are inspected, but not repeated.
    fn broken(&self, error: &kube::Error) -> Error {
        let mut chain = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            if inner.is::<AuthError>() {
                let help = "log in again: its plugin, or token file, no longer gives them";
                return failed("the credentials of this context cannot be had", help);
            }
            chain.push_str(&format!(" {inner}"));
            cause = inner.source();
        }
        let chain = chain.to_ascii_lowercase();
        let at_proxy = self.proxy.as_ref().filter(|_| chain.contains("tunnel error") || chain.contains("socks error"));
        self.by_its_way(at_proxy.map_or_else(|| unreachable("the API server", &chain), |proxy| stopped_by(proxy, &chain)))
    }

    fn by_its_way(&self, error: Error) -> Error {
        match &self.proxy {
            Some(proxy) => error.why(proxy.is_on_the_way()),
            None => error,
        }
    }
}

fn client(config: &kube::Config, proxy: Option<&Proxy>) -> kube::Result<kube::Client> {
    let mut direct = HttpConnector::new();
    direct.enforce_http(false);
    let Some(Proxy { kind, uri, credentials, .. }) = proxy else { return through(config, direct) };
    match (kind, credentials) {
        (Kind::Http, _) => through(config, tunnel(uri, credentials.as_ref(), direct)),
        // The kubeconfig has to trust the proxy's certificate, as for kubectl.
        (Kind::Https, _) => through(config, tunnel(uri, credentials.as_ref(), config.rustls_https_connector_with_connector(direct)?)),
        (Kind::Socks5, None) => through(config, SocksV5::new(uri.clone(), direct)),
        (Kind::Socks5, Some((user, password))) => {
            through(config, SocksV5::new(uri.clone(), direct).with_auth(user.clone(), password.clone()))
        }
    }
}

fn tunnel<C>(proxy: &Uri, credentials: Option<&(String, String)>, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.clone(), connector);
    let basic = |(user, password): &(String, String)| {
        HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))).ok()
    };
    match credentials.and_then(basic) {
        Some(credentials) => tunnel.with_auth(credentials),
        None => tunnel,
    }
}

/// A client whose connections this connector makes, with TLS on top.
fn through<C>(config: &kube::Config, connector: C) -> kube::Result<kube::Client>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connected + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let https = config.rustls_https_connector_with_connector(connector)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(Client::builder(TokioExecutor::new()).build(https));
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

fn unusable(context: &str) -> Error {
    failed(format!("the context `{}` cannot be used", visible(context)), "try it with `kubectl --context NAME version`")
}

/// The error of the kubeconfig's credential plugin: missing, or failed. It shows only the plugin's name, because arguments and output may
/// hold secrets.
fn no_credentials(plugin: &str, error: Option<&kube::Error>) -> Error {
    let plugin = visible(plugin);
    if let Some(kube::Error::Auth(AuthError::AuthExecStart(_))) = error {
        return failed(format!("the kubeconfig's plugin `{plugin}` cannot be started"), "install it, or name another context");
    }
    let help = "log in with it first, and try it with `kubectl --context NAME version`";
    failed(format!("the kubeconfig's plugin `{plugin}` gives no credentials"), help)
}

/// Why there is no connection to the API server, or to the proxy.
fn unreachable(place: &str, chain: &str) -> Error {
    let has = |words: &[&str]| words.iter().any(|word| chain.contains(word));
    if has(&["certificate", "unknownissuer", "notvalid", "tls"]) {
        let what = format!("{place}'s certificate is not the one that the kubeconfig trusts");
        failed(what, "check `certificate-authority` and the server's name and clock")
    } else if has(&["refused"]) {
        let what = format!("nothing listens at {place}'s address");
        failed(what, "check the server's address in the kubeconfig, and whether it runs")
    } else if has(&["lookup", "dns", "resolve"]) {
        let what = format!("{place}'s name cannot be resolved");
        failed(what, "check the server's address in the kubeconfig, and the DNS")
    } else {
        failed(format!("{place} cannot be reached"), "check the server's address in the kubeconfig, and the network")
    }
}

/// Why the proxy lets nothing through.
fn stopped_by(proxy: &Proxy, chain: &str) -> Error {
    let has = |words: &[&str]| words.iter().any(|word| chain.contains(word));
    if has(&["failed to create underlying connection"]) {
        return failed(unreachable("the proxy", chain).what(), proxy.help());
    }
    if has(&["authorization required", "credentials not accepted", "user/pass authentication"]) {
        let what = if proxy.credentials.is_some() { "the proxy rejects its credentials" } else { "the proxy requires credentials" };
        return failed(what, proxy.help());
    }
    failed("the proxy does not connect to the API server", proxy.help())
}
