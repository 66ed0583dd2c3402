//! The proxy to an API server, chosen as kubectl does: by Go's `net/http` and `golang.org/x/net/http/httpproxy`.

use std::net::IpAddr;

use http::Uri;
use http::uri::Authority;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;

use super::connection::failed;
use crate::model::{Result, visible};

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Http,
    Https,
    Socks5,
}

/// Where a proxy was set.
#[derive(Clone, Copy)]
enum Source {
    Variable(&'static str),
    Kubeconfig,
}

pub struct Proxy {
    pub(super) kind: Kind,
    /// Its address, with a port and without credentials.
    pub(super) uri: Uri,
    /// A user and a password.
    pub(super) credentials: Option<(String, String)>,
    source: Source,
}

impl Proxy {
    /// The proxy for a server: `proxy-url` of the kubeconfig, else the environment's, unless that exempts the server.
    pub fn of(server: &Uri, proxy_url: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        if let Some(url) = proxy_url.filter(|url| !url.is_empty()) {
            return Self::parse(url, Source::Kubeconfig).map(Some);
        }
        let first =
            |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)));
        let exempt = first(["NO_PROXY", "no_proxy"]).map_or(String::new(), |(_, list)| list);
        match first(["HTTPS_PROXY", "https_proxy"]) {
            Some((name, url)) if !is_exempt(server, &exempt) => Self::parse(&url, Source::Variable(name)).map(Some),
            _ => Ok(None),
        }
    }

    /// `HOST:PORT`.
    pub fn place(&self) -> String {
        visible(self.uri.authority().map_or("", Authority::as_str))
    }

    /// The reason to give if nothing came through.
    pub(super) fn is_on_the_way(&self) -> String {
        format!("the connection goes through the proxy `{}` of {}", self.place(), self.source.shown())
    }

    /// The help if the proxy is the obstacle.
    pub(super) fn help(&self) -> String {
        match self.source {
            Source::Variable(name) => format!("check the proxy and `{name}`, or exempt the API server with `NO_PROXY`"),
            Source::Kubeconfig => "check the proxy, and `proxy-url` in the kubeconfig".to_owned(),
        }
    }

    fn parse(url: &str, source: Source) -> Result<Self> {
        let no_url = || {
            let help = "write it as `http://HOST:PORT`, with `USER:PASSWORD@` before the host if it needs them, percent-encoded";
            failed(format!("{} is not the URL of a proxy", source.shown()), help)
        };
        let (scheme, rest) = match (url.split_once("://"), source) {
            (Some((scheme, rest)), _) => (scheme.to_ascii_lowercase(), rest),
            (None, Source::Variable(_)) => ("http".to_owned(), url),
            (None, Source::Kubeconfig) => return Err(no_url()),
        };
        let (kind, default_port) = match scheme.as_str() {
            "http" => (Kind::Http, 80),
            "https" => (Kind::Https, 443),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            _ => {
                let what = format!("{} names a proxy of a kind that is not supported", source.shown());
                return Err(failed(what, "use one whose URL begins with `http://`, `https://` or `socks5://`"));
            }
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, place) = authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
        // A password with an unencoded slash: what looks like the host is a part of it.
        if path.contains('@') {
            return Err(no_url());
        }
        let uri = locate(&scheme, place, default_port).ok_or_else(no_url)?;
        let credentials = user.map(|user| decoded(user).ok_or_else(no_url)).transpose()?;
        Ok(Proxy { kind, uri, credentials, source })
    }
}

impl Source {
    fn shown(self) -> String {
        match self {
            Source::Variable(name) => format!("`{name}`"),
            Source::Kubeconfig => "`proxy-url` in the kubeconfig".to_owned(),
        }
    }
}

/// `HOST` or `HOST:PORT` as a URI; none if it is neither.
fn locate(scheme: &str, place: &str, default_port: u16) -> Option<Uri> {
    let authority: Authority = place.parse().ok()?;
    let host = authority.host();
    let port = match place.strip_prefix(host)? {
        "" | ":" => default_port,
        port => port.strip_prefix(':')?.parse().ok()?,
    };
    let uri = Uri::builder().scheme(scheme).authority(format!("{host}:{port}")).path_and_query("/").build();
    uri.ok().filter(|_| !host.is_empty())
}

/// `USER` or `USER:PASSWORD`, percent-decoded.
fn decoded(user: &str) -> Option<(String, String)> {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let decode = |text| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
    Some((decode(user)?, decode(password)?))
}

/// Whether a server is reached directly: this machine, and those in `NO_PROXY`.
fn is_exempt(server: &Uri, list: &str) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let address = host.parse().ok().map(|address: IpAddr| address.to_canonical());
    let port = server.port_u16().unwrap_or(443);
    let is_here = host == "localhost" || address.is_some_and(|address| address.is_loopback());
    is_here || list.split(',').any(|entry| matches(&entry.trim().to_ascii_lowercase(), &host, address, port))
}

/// Whether an entry matches a host, which may be an address. An entry is `*`, a network, or a name or address with or without a port. A
/// name also matches its subdomains; with a leading dot or `*.`, only these.
fn matches(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(network) = entry.parse::<IpNet>() {
        return address.is_some_and(|address| network.contains(&address));
    }
    let (name, only) = match entry.rsplit_once(':') {
        Some((name, only)) if !name.contains(':') || name.ends_with(']') => (name.trim_matches(['[', ']']), only),
        _ => (entry, ""),
    };
    if !only.is_empty() && only != port.to_string() {
        return false;
    }
    match (name.parse::<IpAddr>(), address) {
        (Ok(named), _) => address == Some(named.to_canonical()),
        (_, Some(_)) => false,
        _ => {
            let domain = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
            let before = host.strip_suffix(domain);
            !domain.is_empty() && before.is_some_and(|before| domain.starts_with('.') || before.is_empty() || before.ends_with('.'))
        }
    }
}
