//! The Kubernetes documents that this tool writes, in serialized form; no field is ever `null`. Also the identity of any object.

use std::collections::BTreeMap;

use serde::Serialize;

use super::yaml::Node;
use crate::model::Position;

#[derive(Serialize)]
pub struct Metadata {
    pub name: String,
    /// None for a cluster-wide object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// Metadata without labels and annotations.
    pub fn new(name: impl ToString, namespace: Option<&str>) -> Self {
        Metadata { name: name.to_string(), namespace: namespace.map(str::to_owned), labels: BTreeMap::new(), annotations: BTreeMap::new() }
    }
}

/// Any object: apiVersion, kind, metadata, and its remaining fields next to them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Object<T: Serialize> {
    pub api_version: &'static str,
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    #[serde(flatten)]
    pub rest: T,
}

/// The identity of an object: an API server has only one of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The group of its apiVersion; empty for the core group.
    pub group: String,
    pub kind: String,
    /// As written: a cluster-wide object has none, and kustomize may set it.
    pub namespace: Option<String>,
    pub name: String,
}

/// Every object of these documents, including those in a List, and its position.
pub fn identities(documents: &[Node]) -> Vec<(Identity, Position)> {
    let mut found = Vec::new();
    documents.iter().for_each(|node| collect(node, &mut found));
    found
}

fn collect(node: &Node, found: &mut Vec<(Identity, Position)>) {
    let word = |path: &[&str]| node.at(path).and_then(Node::word).map(str::to_owned);
    let (Some(version), Some(kind)) = (word(&["apiVersion"]), word(&["kind"])) else { return };
    if kind.ends_with("List") {
        return node.get("items").map(Node::items).unwrap_or_default().iter().for_each(|item| collect(item, found));
    }
    let group = version.split_once('/').map_or("", |(group, _)| group).to_owned();
    let namespace = word(&["metadata", "namespace"]);
    found.extend(word(&["metadata", "name"]).map(|name| (Identity { group, kind, namespace, name }, node.position)));
}
