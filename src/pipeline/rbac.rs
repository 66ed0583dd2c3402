//! The rights that each command needs in a cluster, as Roles that grant exactly these, limited to named objects where Kubernetes allows it.
//! Applying them grants nothing until they are bound.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::manifest::secret::key_secret_name;
use crate::model::{Contract, Delivery, Sorted};

/// The names that ESO's chart gives to the configurations that send objects to its webhook.
pub const WEBHOOKS: [&str; 2] = ["externalsecret-validate", "secretstore-validate"];

/// `doctor`. Kubernetes has no right to read metadata only, so the Secrets are listed by name.
pub fn doctor(contract: &Contract, delivery: &Delivery, controller: (&str, &str)) -> Vec<Value> {
    let (namespace, service) = controller;
    let targets = contract.consumers.iter().map(|consumer| consumer.target.as_str());
    let secrets: BTreeSet<&str> = contract.secrets().into_iter().chain(targets).sorted();
    let readers = contract.consumer_namespaces().into_iter().map(|namespace| namespace.as_str());
    let namespaces = readers.chain([contract.namespace.as_str(), contract.reader.namespace.as_str(), namespace]).sorted();
    let everywhere = [
        named("", "secrets", &["get"], secrets),
        named("", "namespaces", &["get"], namespaces),
        named("", "serviceaccounts", &["get"], [contract.reader.name.as_str()].into()),
        named("external-secrets.io", delivery.store_kind.resource(), &["get"], [contract.store.as_str()].into()),
        // The name of an ExternalSecret that a helm chart renders is unknown.
        rule("external-secrets.io", "externalsecrets", &["list"]),
        rule("", "events", &["list"]),
        rule("apps", "deployments", &["list"]),
        rule("bitnami.com", "sealedsecrets", &["list"]),
        rule("authorization.k8s.io", "subjectaccessreviews", &["create"]),
        named("admissionregistration.k8s.io", "validatingwebhookconfigurations", &["get"], WEBHOOKS.into()),
    ];
    // To tell the operator the right Service's name.
    let there = [rule("", "services", &["get", "list"]), proxy(service), rule("", "secrets", &["list"])];
    vec![role("doctor", None, &everywhere), role("doctor", Some(namespace), &there)]
}

/// How many keys of an escrow the Role covers: only a person who opens it knows their number.
const KEYS: usize = 8;

/// `key-secret --apply`: server-side apply needs `create` for a new object, and even that right can have a name.
pub fn key_secret(namespace: &str) -> Vec<Value> {
    let names: Vec<String> = (0..KEYS).map(key_secret_name).collect();
    let secret = named("", "secrets", &["get", "create", "patch"], names.iter().map(String::as_str).sorted());
    vec![role("key-secret", Some(namespace), &[named("", "namespaces", &["get"], [namespace].into()), secret])]
}

pub fn fetch_cert((namespace, service): (&str, &str)) -> Vec<Value> {
    vec![role("fetch-cert", Some(namespace), &[named("", "services", &["get"], [service].into()), proxy(service)])]
}

/// `backup`: it finds the key Secrets by their label, and a right to list cannot be limited to names.
pub fn backup(namespace: &str) -> Vec<Value> {
    vec![role("backup", Some(namespace), &[rule("", "secrets", &["list"])])]
}

/// `import --from-cluster`: the target Secrets of consumers, and the source Secrets.
pub fn import(contract: &Contract) -> Vec<Value> {
    let mut secrets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for consumer in &contract.consumers {
        secrets.entry(consumer.namespace.as_str()).or_default().insert(consumer.target.as_str());
    }
    secrets.entry(contract.namespace.as_str()).or_default().extend(contract.secrets());
    secrets.into_iter().map(|(namespace, names)| role("import", Some(namespace), &[named("", "secrets", &["get"], names)])).collect()
}

/// `re-encrypt --via-controller`: the certificate, the version, and the work itself.
pub fn re_encrypt((namespace, service): (&str, &str)) -> Vec<Value> {
    let rules = [
        named("", "services", &["get"], [service].into()),
        through_proxy(service, &["get", "create"]),
        rule("apps", "deployments", &["list"]),
    ];
    vec![role("re-encrypt", Some(namespace), &rules)]
}

fn proxy(service: &str) -> Value {
    through_proxy(service, &["get"])
}

/// The controller's HTTP interface, through the API server. The Service's port has the chart's name, or none.
fn through_proxy(service: &str, verbs: &[&str]) -> Value {
    let names = [format!("http:{service}:"), format!("http:{service}:http")];
    named("", "services/proxy", verbs, names.iter().map(String::as_str).sorted())
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs })
}

fn named(group: &str, resource: &str, verbs: &[&str], names: BTreeSet<&str>) -> Value {
    json!({ "apiGroups": [group], "resources": [resource], "resourceNames": names, "verbs": verbs })
}

fn role(command: &str, namespace: Option<&str>, rules: &[Value]) -> Value {
    let name = format!("seal-secrets-{command}");
    let (kind, metadata) = match namespace {
        Some(namespace) => ("Role", json!({ "name": name, "namespace": namespace })),
        None => ("ClusterRole", json!({ "name": name })),
    };
    // A rule with an empty list of names would grant every object.
    let rules: Vec<&Value> = rules.iter().filter(|rule| rule["resourceNames"] != json!([])).collect();
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "rules": rules })
}
