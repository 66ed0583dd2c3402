//! The Kubernetes documents that this tool writes, as they are serialized. No field is ever `null`.

use std::collections::BTreeMap;

use serde::Serialize;

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
    /// Without labels and annotations.
    pub fn new(name: impl ToString, namespace: Option<&str>) -> Self {
        Metadata { name: name.to_string(), namespace: namespace.map(str::to_owned), labels: BTreeMap::new(), annotations: BTreeMap::new() }
    }
}

/// Any object: apiVersion, kind, metadata, and the rest of its fields side by side with them.
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
