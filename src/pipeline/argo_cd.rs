//! The files for a platform that Argo CD applies: the Application of `out/`, the controller's Application, and ExternalSecrets that replace
//! those of helm charts, since Argo CD runs no helm post-renderer.

use serde_json::{Value, json};

use super::render::object;
use crate::manifest::kubernetes::Metadata;
use crate::model::{Application, Consumer, Contract, Delivery, Entry, Namespace};

pub const APPLICATION: &str = "argocd-application.yaml";
pub const CONTROLLER: &str = "argocd-sealed-secrets.yaml";
/// The folder of the ExternalSecrets that replace those of helm charts.
pub const EXTERNAL_SECRETS: &str = "external-secrets/";

/// The chart of sealed-secrets, its version, and the image's version: the chart's default image is older.
pub const CHART: (&str, &str, &str) = ("https://bitnami.github.io/sealed-secrets", "2.19.3", "0.40.0");

const SERVER: &str = "https://kubernetes.default.svc";

/// The Application of `out/`.
pub fn application(contract: &Contract, wanted: &Application) -> String {
    let source = json!({ "repoURL": wanted.repository, "targetRevision": wanted.revision, "path": wanted.path });
    one(contract.namespace.as_str(), wanted, wanted.wave, &wanted.project, source, &contract.namespace)
}

/// The controller: a project that allows only its chart, and its Application. The key Secret has to exist before.
pub fn controller(delivery: &Delivery, wanted: &Application) -> [String; 2] {
    let (repository, chart, image) = CHART;
    let (namespace, name) = (&delivery.controller.namespace, "sealed-secrets");
    let kinds = [
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ];
    let kinds: Vec<Value> = kinds.iter().map(|(group, kind)| json!({ "group": group, "kind": kind })).collect();
    let spec = json!({
        "description": "the sealed-secrets controller, and nothing else",
        "sourceRepos": [repository],
        "destinations": [{ "server": SERVER, "namespace": namespace.as_str() }],
        "clusterResourceWhitelist": kinds,
    });
    let project =
        object("argoproj.io/v1alpha1", "AppProject", Metadata::new(name, Some(wanted.namespace.as_str())), json!({ "spec": spec }));
    let values = json!({ "fullnameOverride": delivery.controller.name.as_str(), "keyrenewperiod": "0", "image": { "tag": image } });
    let source = json!({ "repoURL": repository, "chart": "sealed-secrets", "targetRevision": chart, "helm": { "valuesObject": values } });
    [project, one(name, wanted, wanted.wave - 1, name, source, namespace)]
}

/// An Application that prunes nothing: what was removed from git by mistake must stay in the cluster.
fn one(name: &str, wanted: &Application, wave: i64, project: &str, source: Value, namespace: &Namespace) -> String {
    let mut metadata = Metadata::new(name, Some(wanted.namespace.as_str()));
    metadata.annotations.insert("argocd.argoproj.io/sync-wave".to_owned(), wave.to_string());
    let spec = json!({
        "project": project,
        "source": source,
        "destination": { "server": SERVER, "namespace": namespace.as_str() },
        "syncPolicy": {
            "automated": { "prune": false, "selfHeal": true },
            "syncOptions": ["CreateNamespace=false"],
            "retry": { "limit": 10, "backoff": { "duration": "10s", "factor": 2, "maxDuration": "5m" } },
        },
    });
    object("argoproj.io/v1alpha1", "Application", metadata, json!({ "spec": spec }))
}

/// An ExternalSecret that makes the same target as a chart's.
pub fn external_secret(contract: &Contract, delivery: &Delivery, consumer: &Consumer) -> String {
    let entry = |entry: &Entry| {
        let remote = json!({ "key": entry.key.as_str(), "property": entry.property.as_str() });
        json!({ "secretKey": entry.secret_key.as_str(), "remoteRef": remote })
    };
    let mut spec = json!({
        "refreshInterval": "1h",
        "secretStoreRef": { "kind": delivery.store_kind.as_str(), "name": contract.store.as_str() },
        "target": { "name": consumer.target.as_str(), "creationPolicy": "Owner" },
    });
    if !consumer.entries.is_empty() {
        spec["data"] = consumer.entries.iter().map(entry).collect();
    }
    if !consumer.whole.is_empty() {
        spec["dataFrom"] = consumer.whole.iter().map(|secret| json!({ "extract": { "key": secret.as_str() } })).collect();
    }
    object(
        "external-secrets.io/v1",
        "ExternalSecret",
        Metadata::new(&consumer.target, Some(consumer.namespace.as_str())),
        json!({ "spec": spec }),
    )
}
