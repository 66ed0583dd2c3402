//! Everything in `out/` that follows from the contract and from which sealed files there are: byte for byte the same on
//! each run, and free of secrets, for it is made of names only.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;

use super::inventory::SOURCE;
use crate::manifest::kubernetes::{Metadata, Object};
use crate::manifest::yaml;
use crate::model::{CertificateDigest, Consumer, Contract, Name, PROPERTY, Recipe, Unit};

const HEADER: &str = "# Written by seal-secrets. Do not edit: the next run restores it.\n";

/// The derived files, by path relative to `out/`; `sealed` are the paths of the sealed files.
pub fn render(contract: &Contract, certificate: CertificateDigest, sealed: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut add = |path: &str, documents: &[String]| {
        files.insert(path.to_owned(), format!("{HEADER}{}", documents.join("---\n")));
    };
    let mut sources = vec!["namespace.yaml".to_owned(), "rbac.yaml".to_owned()];
    sources.extend(sealed.iter().map(|path| path.trim_start_matches(SOURCE).to_owned()));
    add("secret-source/namespace.yaml", &[namespace(contract)]);
    add("secret-source/rbac.yaml", &rbac(contract));
    add("secret-source/kustomization.yaml", &[kustomization(&sources)]);
    add("secret-store/service-account.yaml", &[service_account(contract)]);
    add("secret-store/cluster-secret-store.yaml", &[store(contract)]);
    add("secret-store/kustomization.yaml", &[kustomization(&["service-account.yaml", "cluster-secret-store.yaml"])]);
    add("kustomization.yaml", &[kustomization(&["secret-source", "secret-store"])]);
    let patches = patches(contract);
    for patch in &patches {
        add(&format!("property-patches/{}", patch.file), &[yaml::write(&patch.operations)]);
    }
    add("property-patches/kustomization.yaml", &[component(&patches)]);
    files.insert("INSTALL.md".to_owned(), runbook(contract, certificate, sealed));
    files
}

fn object<T: Serialize>(api_version: &'static str, kind: &'static str, metadata: Metadata, rest: T) -> String {
    yaml::write(&Object { api_version, kind, metadata: Some(metadata), rest })
}

fn kustomization<T: AsRef<str>>(resources: &[T]) -> String {
    let resources: Vec<&str> = resources.iter().map(AsRef::as_ref).collect();
    yaml::write(&Object {
        api_version: "kustomize.config.k8s.io/v1beta1",
        kind: "Kustomization",
        metadata: None,
        rest: json!({ "resources": resources }),
    })
}

fn namespace(contract: &Contract) -> String {
    object("v1", "Namespace", Metadata::new(&contract.namespace, None), json!({}))
}

/// The Role names the keys that some ExternalSecret reads, sealed or not: a key that is not there yet is then "not
/// found", and not "forbidden".
fn rbac(contract: &Contract) -> [String; 2] {
    let reader = &contract.reader;
    let names: BTreeSet<&str> = contract.read_keys().map(|key| key.name.as_str()).collect();
    let metadata = || Metadata::new(&reader.name, Some(contract.namespace.as_str()));
    // A rule without names would give every Secret of the namespace.
    let rules = if names.is_empty() {
        json!([])
    } else {
        json!([{ "apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": ["get"] }])
    };
    [
        object("rbac.authorization.k8s.io/v1", "Role", metadata(), json!({ "rules": rules })),
        object(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            metadata(),
            json!({
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": reader.name.as_str() },
                "subjects": [{ "kind": "ServiceAccount", "name": reader.name.as_str(), "namespace": reader.namespace.as_str() }],
            }),
        ),
    ]
}

fn service_account(contract: &Contract) -> String {
    let metadata = Metadata::new(&contract.reader.name, Some(contract.reader.namespace.as_str()));
    object("v1", "ServiceAccount", metadata, json!({}))
}

/// As ESO accepts it: `caProvider.namespace` is required in a ClusterSecretStore, and `server` has to be there for
/// its url to have a default. Only the contract's namespaces may use it.
fn store(contract: &Contract) -> String {
    let account = contract.reader.namespace.as_str();
    let namespaces: Vec<&str> = contract.consumer_namespaces().iter().map(|namespace| namespace.as_str()).collect();
    let mut spec = json!({
        "provider": { "kubernetes": {
            "remoteNamespace": contract.namespace.as_str(),
            "server": {
                "url": "https://kubernetes.default.svc",
                "caProvider": { "type": "ConfigMap", "name": "kube-root-ca.crt", "namespace": account, "key": "ca.crt" },
            },
            "auth": { "serviceAccount": { "name": contract.reader.name.as_str(), "namespace": account } },
        } },
    });
    if !namespaces.is_empty() {
        spec["conditions"] = json!([{ "namespaces": namespaces }]);
    }
    object("external-secrets.io/v1", "ClusterSecretStore", Metadata::new(&contract.store, None), json!({ "spec": spec }))
}

/// The patch of the ExternalSecrets of one name that read the same.
struct Patch<'c> {
    file: String,
    /// The target's namespaces, where the name alone does not tell.
    consumer: &'c Consumer,
    name: &'c Name,
    by_namespace: bool,
    operations: serde_json::Value,
}

/// JSON 6902, each `add` guarded by two `test`s: after a reorder the build fails, instead of putting the property
/// somewhere else.
fn patches(contract: &Contract) -> Vec<Patch<'_>> {
    let named: Vec<(&Consumer, &Name)> =
        contract.consumers.iter().filter_map(|consumer| Some((consumer, consumer.name.as_ref()?))).collect();
    let mut patches: Vec<Patch<'_>> = Vec::new();
    for (consumer, name) in &named {
        let alike = |other: &&(&Consumer, &Name)| other.1 == *name;
        // A manifest often has no namespace of its own before kustomize sets it, and then a target that names one
        // matches nothing, silently. So it is named only where two of the same name read differently.
        let by_namespace = named.iter().filter(alike).any(|(other, _)| other.entries != consumer.entries);
        if !by_namespace && patches.iter().any(|patch| patch.name == *name) {
            continue;
        }
        let file = if by_namespace { format!("{}_{name}.patch.yaml", consumer.namespace) } else { format!("{name}.patch.yaml") };
        patches.push(Patch { file, consumer, name, by_namespace, operations: operations(consumer) });
    }
    patches.sort_by(|a, b| a.file.cmp(&b.file));
    patches
}

fn operations(consumer: &Consumer) -> serde_json::Value {
    let guarded = consumer.entries.iter().enumerate().flat_map(|(i, entry)| {
        let at = format!("/spec/data/{i}");
        [
            json!({ "op": "test", "path": format!("{at}/secretKey"), "value": entry.secret_key.as_str() }),
            json!({ "op": "test", "path": format!("{at}/remoteRef/key"), "value": entry.key.as_str() }),
            json!({ "op": "add", "path": format!("{at}/remoteRef/property"), "value": PROPERTY }),
        ]
    });
    guarded.collect()
}

fn component(patches: &[Patch<'_>]) -> String {
    let list: Vec<serde_json::Value> = patches
        .iter()
        .map(|patch| {
            // A target's name is a regular expression, anchored at both ends.
            let name = patch.name.as_str().replace('.', "\\.");
            let mut target = json!({ "group": "external-secrets.io", "kind": "ExternalSecret", "name": name });
            if patch.by_namespace {
                target["namespace"] = json!(patch.consumer.namespace.as_str());
            }
            json!({ "path": patch.file, "target": target })
        })
        .collect();
    yaml::write(&Object {
        api_version: "kustomize.config.k8s.io/v1alpha1",
        kind: "Component",
        metadata: None,
        rest: json!({ "patches": list }),
    })
}

/// `INSTALL.md`: the template with its holes filled.
fn runbook(contract: &Contract, certificate: CertificateDigest, sealed: &BTreeSet<String>) -> String {
    let files: String = sealed.iter().map(|path| format!("- `{path}`\n")).collect();
    let consumers: String = contract
        .consumers
        .iter()
        .filter_map(|consumer| {
            let name = consumer.name.as_ref()?;
            let keys: Vec<&str> = consumer.entries.iter().map(|entry| entry.key.as_str()).collect();
            Some(format!("| {} | {name} | {} |\n", consumer.namespace, keys.join(", ")))
        })
        .collect();
    let template = include_str!("../install.md");
    let filled = [
        ("{certificate}", certificate.to_string()),
        ("{namespace}", contract.namespace.to_string()),
        ("{store}", contract.store.to_string()),
        ("{reader}", contract.reader.name.to_string()),
        ("{reader-namespace}", contract.reader.namespace.to_string()),
        ("{property}", PROPERTY.to_owned()),
        ("{files}", files),
        ("{consumers}", consumers),
        ("{rendered}", rendered(contract)),
        ("{awaited}", awaited(contract, sealed)),
        ("{copies}", copies(contract)),
    ];
    filled.iter().fold(template.to_owned(), |text, (hole, value)| text.replace(hole, value))
}

fn rendered(contract: &Contract) -> String {
    let without: Vec<String> = contract
        .consumers
        .iter()
        .filter(|consumer| consumer.name.is_none())
        .map(|consumer| {
            let keys: Vec<String> = consumer.entries.iter().map(|entry| format!("`{}`", entry.key)).collect();
            format!("- the one in `{}` that makes the Secret `{}` and reads {}\n", consumer.namespace, consumer.target, keys.join(", "))
        })
        .collect();
    if without.is_empty() {
        return String::new();
    }
    format!(
        "\nThese are rendered by a helm chart, so there is no manifest to patch: give them `remoteRef.property: {PROPERTY}`\nthrough the chart's values, or replace them by an ExternalSecret of your own:\n\n{}",
        without.concat()
    )
}

fn awaited(contract: &Contract, sealed: &BTreeSet<String>) -> String {
    let missing = |unit: &Unit<'_>| unit.provided() && !sealed.contains(&unit.file());
    let lines: Vec<String> = contract
        .units()
        .iter()
        .filter(|unit| missing(unit))
        .flat_map(|unit| unit.keys.iter())
        .map(|key| {
            let hint = match &key.recipe {
                Recipe::Provided { hint: Some(hint), .. } => format!(" ({hint})"),
                _ => String::new(),
            };
            format!("- `{}`: {}{hint}\n", key.name, key.about)
        })
        .collect();
    if lines.is_empty() {
        return "Nothing is missing: every key of the contract is sealed.\n".to_owned();
    }
    format!(
        "These keys only you can supply. Until then their ExternalSecrets say `not found`; the rest works.\nAdd one with `seal-secrets bootstrap --provide KEY=FILE`, commit, and apply step 4 again.\n\n{}",
        lines.concat()
    )
}

fn copies(contract: &Contract) -> String {
    let copies = contract.keys.iter().filter(|key| key.operator_copy);
    let line = |key: &crate::model::Key| {
        format!(
            "- `{}`: {}. Read it with `seal-secrets unseal --keys ../keys --out . --value {} --reveal`\n",
            key.name, key.about, key.name
        )
    };
    let lines: Vec<String> = copies.map(line).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("\nFor you, and for no ExternalSecret:\n\n{}", lines.concat())
}
