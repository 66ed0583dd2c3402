//! Existing stores of the External Secrets Operator on a platform.

use super::text;
use super::yaml::{self, Node};

/// Where a store takes its values from.
#[derive(Debug)]
pub struct Store {
    pub name: Option<String>,
    /// The kind of its provider: `kubernetes`, `gcpsm`.
    pub provider: Option<String>,
    /// With the provider `kubernetes`: the account that reads, as `namespace/name`.
    pub account: Option<String>,
    /// With the provider `kubernetes`: the namespace that it reads from.
    pub remote_namespace: Option<String>,
}

/// The stores in a text, as far as it can be read.
pub fn find(text: &str) -> Vec<Store> {
    yaml::read_foreign(text).unwrap_or_default().iter().filter(|node| is_store(node)).map(read).collect()
}

/// Whether a text contains only stores, or only comments.
pub fn has_only_stores(text: &str) -> bool {
    text::says_nothing(text) || yaml::read_foreign(text).is_ok_and(|documents| documents.iter().all(is_store))
}

fn is_store(node: &Node) -> bool {
    node.get("kind").and_then(Node::word).is_some_and(|kind| matches!(kind, "ClusterSecretStore" | "SecretStore"))
}

fn read(node: &Node) -> Store {
    let word = |path: &[&str]| node.at(&[&["spec", "provider", "kubernetes"], path].concat()).and_then(Node::word);
    let account = |field| word(&["auth", "serviceAccount", field]);
    Store {
        name: node.at(&["metadata", "name"]).and_then(Node::word).map(str::to_owned),
        provider: node.at(&["spec", "provider"]).and_then(|provider| Some(provider.entries().first()?.0.clone())),
        account: account("namespace").zip(account("name")).map(|(namespace, name)| format!("{namespace}/{name}")),
        remote_namespace: word(&["remoteNamespace"]).map(str::to_owned),
    }
}
