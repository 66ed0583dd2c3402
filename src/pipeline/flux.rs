//! Flux's Kustomizations for the output folder (`kustomize.toolkit.fluxcd.io/v1`): the sources first, then the store. Flux waits for each,
//! so that dependents start with their values.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::inventory::Files;
use super::render::object;
use crate::manifest::kubernetes::Metadata;
use crate::manifest::yaml::{self, Node};
use crate::model::{FluxSource, Namespace};

/// Their file in the output folder.
pub const KUSTOMIZATIONS: &str = "flux-kustomizations.yaml";

const API: &str = "kustomize.toolkit.fluxcd.io/v1";

/// The two Kustomizations. They prune nothing: what was removed from git by mistake must stay in the cluster.
pub fn kustomizations(wanted: &FluxSource) -> [String; 2] {
    let one = |name: &str, depends_on: &[String], checks: Value| {
        let depends_on: Vec<Value> = depends_on.iter().map(|name| json!({ "name": name })).collect();
        let mut spec = json!({
            "interval": "10m",
            "retryInterval": "1m",
            "timeout": "5m",
            "path": format!("./{}/{name}", wanted.path),
            "prune": false,
            "wait": true,
            "sourceRef": { "kind": wanted.kind, "name": wanted.name },
        });
        if !depends_on.is_empty() {
            spec["dependsOn"] = Value::Array(depends_on);
        }
        if !checks.is_null() {
            spec["healthCheckExprs"] = checks;
        }
        object(API, "Kustomization", Metadata::new(name, Some(wanted.namespace.as_str())), json!({ "spec": spec }))
    };
    // A SealedSecret has no condition Ready, which Flux looks for by default.
    let synced = |status: &str| format!("status.conditions.filter(e, e.type == 'Synced').all(e, e.status == '{status}')");
    let sealed = json!([{
        "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
        "current": format!("has(status.conditions) && {}", synced("True")), "failed": format!("has(status.conditions) && {}", synced("False")),
    }]);
    let store: Vec<String> = ["secret-source".to_owned()].into_iter().chain(wanted.operator.clone()).collect();
    let source: Vec<String> = wanted.controller.clone().into_iter().collect();
    [one("secret-source", &source, sealed), one("secret-store", &store, Value::Null)]
}

/// The source that most of the platform's own Kustomizations use, for an output folder at this path; the usual one if there are none.
pub fn source(files: &Files, path: &str) -> FluxSource {
    let mut votes: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    let (mut controller, mut operator) = (None, None);
    let texts =
        files.values().filter_map(|bytes| std::str::from_utf8(bytes).ok()).filter(|text| text.contains("kustomize.toolkit.fluxcd.io/"));
    for text in texts {
        for node in yaml::documents(text).iter().filter_map(|document| document.nodes.as_ref().ok()).flatten() {
            let word = |path: &[&str]| node.at(path).and_then(Node::word);
            let is_one = word(&["apiVersion"]).is_some_and(|api| api.starts_with("kustomize.toolkit.fluxcd.io/"));
            let Some(name) = word(&["metadata", "name"]).filter(|_| is_one) else { continue };
            let known = |part: &str| name.contains(part).then(|| name.to_owned());
            controller = controller.or_else(|| known("sealed-secrets"));
            operator = operator.or_else(|| known("external-secrets"));
            let of = |field: &str| word(&["spec", "sourceRef", field]).map(str::to_owned);
            if let (Some(kind), Some(source)) = (of("kind"), of("name")) {
                let namespace = word(&["metadata", "namespace"]).unwrap_or(USUAL).to_owned();
                *votes.entry((kind, source, namespace)).or_default() += 1;
            }
        }
    }
    let usual = || ("GitRepository".to_owned(), USUAL.to_owned(), USUAL.to_owned());
    let (kind, name, namespace) = votes.into_iter().max_by_key(|(_, count)| *count).map_or_else(usual, |(source, _)| source);
    let namespace = Namespace::new(&namespace).or_else(|_| Namespace::new(USUAL)).expect("a constant namespace");
    FluxSource { path: path.to_owned(), kind, name, namespace, controller, operator }
}

/// The names that `flux bootstrap` gives its namespace and its repository.
const USUAL: &str = "flux-system";
