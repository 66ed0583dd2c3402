//! Everything in `out/` that follows from the contract and from which sealed files exist: byte for byte the same on each run, and free of
//! secrets, because it consists of names only.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::inventory::{RESOURCES, SOURCE};
use super::{argo_cd, flux};
use crate::manifest::kubernetes::{self, Identity, Metadata, Object};
use crate::manifest::yaml;
use crate::model::{
    CertificateDigest, Consumer, Contract, Delivery, Entry, Name, Namespace, PROPERTY, Rbac, Recipe, Sorted, StoreKind, Unit, counted,
    quoted,
};

/// The one derived file that names the certificate.
pub const RUNBOOK: &str = "INSTALL.md";

const HEADER: &str = "# Written by seal-secrets. Do not edit: the next run restores it.\n";

/// Settings of gitleaks, for contracts whose data keys would trigger it.
pub const ALLOW_LIST: &str = "gitleaks.toml";

/// Sealed values begin with the length of their RSA part: 2048, 3072 or 4096 bits.
const ALLOWED: &str = "\
# Sealed values are encrypted. Pass it with `gitleaks git --config FILE`, or name it at `[extend] path` of settings of your own.
[extend]
useDefault = true

[[allowlists]]
description = \"values that are sealed for the sealed-secrets controller\"
regexes = ['''A[QYg][A-D][A-Za-z0-9+/]{340,}={0,2}''']
";

/// Whether gitleaks mistakes a sealed value for a secret: its rule generic-api-key looks for these words in a field's name.
fn trips_gitleaks(contract: &Contract) -> bool {
    const WORDS: [&str; 9] = ["access", "api", "auth", "key", "credential", "creds", "passw", "secret", "token"];
    contract.keys.iter().any(|key| WORDS.iter().any(|word| key.name.property().to_ascii_lowercase().contains(word)))
}

/// Whether this is a derived file, of this output folder or another one.
pub fn is_derived(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, b"Written by seal-secrets").is_some()
}

/// The beginning of the runbook's last line, a digest of what the derived files were rendered from.
const FORM: &str = "<!-- form: ";

/// The derived files, by path relative to `out/`; `sealed` are the paths of the sealed files.
pub fn render(
    contract: &Contract,
    delivery: &Delivery,
    certificate: CertificateDigest,
    sealed: &BTreeSet<String>,
) -> BTreeMap<String, String> {
    let mut files = of_nothing(contract, delivery);
    let form = digest(&files, contract, delivery);
    files.insert(RESOURCES.to_owned(), sources(sealed));
    files.insert(RUNBOOK.to_owned(), format!("{}\n{FORM}{form} -->\n", runbook(contract, delivery, certificate, sealed)));
    files
}

/// A digest of what the derived files follow from, apart from certificate and units: it changes only with the contract, the settings and
/// the templates.
fn digest(of_nothing: &BTreeMap<String, String>, contract: &Contract, delivery: &Delivery) -> CertificateDigest {
    let mut hasher = Sha256::new();
    // The store may be among the platform's own files.
    let stores = stores(contract, delivery).concat();
    let files = of_nothing.iter().map(|(path, text)| (path.as_str(), text)).chain([("store", &stores)]);
    for part in files.flat_map(|(path, text)| [path, text]) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    CertificateDigest::new(hasher.finalize().into())
}

/// The form that a runbook names for the files next to it; none if an older version wrote it.
pub fn form_of(runbook: &[u8]) -> Option<CertificateDigest> {
    let text = String::from_utf8_lossy(runbook);
    let digest = text.lines().rev().find_map(|line| line.trim().strip_prefix(FORM)?.strip_suffix(" -->").map(str::to_owned));
    CertificateDigest::parse(&digest?).ok()
}

/// The derived files as they are if nothing is sealed, with no certificate.
fn of_nothing(contract: &Contract, delivery: &Delivery) -> BTreeMap<String, String> {
    let nothing = BTreeSet::new();
    let mut files = BTreeMap::new();
    let mut add = |path: &str, documents: &[String]| {
        files.insert(path.to_owned(), format!("{HEADER}{}", documents.join("---\n")));
    };
    add("secret-source/namespace.yaml", &[namespace(contract)]);
    add("secret-source/rbac.yaml", &rbac(contract, delivery));
    add("secret-store/service-account.yaml", &accounts(contract, delivery));
    let mut store = vec!["service-account.yaml"];
    if delivery.store_file.is_none() {
        let file = match delivery.store_kind {
            StoreKind::ClusterSecretStore => "cluster-secret-store.yaml",
            StoreKind::SecretStore => "secret-stores.yaml",
        };
        add(&format!("secret-store/{file}"), &stores(contract, delivery));
        store.push(file);
    }
    add("secret-store/kustomization.yaml", &[kustomization(&store)]);
    add("kustomization.yaml", &[kustomization(&["secret-source", "secret-store"])]);
    if let Some(wanted) = &delivery.application {
        add(argo_cd::APPLICATION, &[argo_cd::application(contract, wanted)]);
        if wanted.installs_controller {
            add(argo_cd::CONTROLLER, &argo_cd::controller(delivery, wanted));
        }
        for consumer in contract.consumers.iter().filter(|consumer| consumer.name.is_none()) {
            let file = format!("{}{}_{}.yaml", argo_cd::EXTERNAL_SECRETS, consumer.namespace, consumer.target);
            add(&file, &[argo_cd::external_secret(contract, delivery, consumer)]);
        }
    }
    if let Some(wanted) = &delivery.flux {
        add(flux::KUSTOMIZATIONS, &flux::kustomizations(wanted));
    }
    if trips_gitleaks(contract) {
        files.insert(ALLOW_LIST.to_owned(), format!("{HEADER}{ALLOWED}"));
    }
    files.extend(component_files(contract, delivery));
    files.insert(RESOURCES.to_owned(), sources(&nothing));
    files.insert(RUNBOOK.to_owned(), runbook(contract, delivery, CertificateDigest::new([0; 32]), &nothing));
    files
}

/// The kustomization that lists the sealed files.
fn sources(sealed: &BTreeSet<String>) -> String {
    let sealed = sealed.iter().map(|path| path.trim_start_matches(SOURCE));
    let resources: Vec<&str> = ["namespace.yaml", "rbac.yaml"].into_iter().chain(sealed).collect();
    format!("{HEADER}{}", kustomization(&resources))
}

/// The objects that the derived files define, except kustomize's own.
pub fn objects(contract: &Contract, delivery: &Delivery) -> Vec<Identity> {
    let application = delivery.application.iter().flat_map(|wanted| {
        let controller = if wanted.installs_controller { argo_cd::controller(delivery, wanted).to_vec() } else { Vec::new() };
        [argo_cd::application(contract, wanted)].into_iter().chain(controller)
    });
    let documents = [rbac(contract, delivery), accounts(contract, delivery), stores(contract, delivery)].concat();
    let documents = documents.into_iter().chain(application).chain([namespace(contract)]);
    let read = |text: String| yaml::read(&text).expect("what is written here can be read");
    documents.flat_map(|text| kubernetes::identities(&read(text))).map(|(object, _)| object).collect()
}

/// The Component that adds the property, by path relative to `out/`.
pub fn component_files(contract: &Contract, delivery: &Delivery) -> Vec<(String, String)> {
    let patches = patches(contract, delivery);
    let file = |name: &str, text: String| (format!("property-patches/{name}"), format!("{HEADER}{text}"));
    let mut files: Vec<_> = patches.iter().map(|patch| file(&patch.file, yaml::write(&patch.operations))).collect();
    files.push(file("kustomization.yaml", component(&patches)));
    files
}

pub(super) fn object<T: Serialize>(api_version: &'static str, kind: &'static str, metadata: Metadata, rest: T) -> String {
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

/// The store's file among the platform's own: the platform's scripts look for the line with the project, even in a comment.
pub fn store_file(contract: &Contract, delivery: &Delivery, project_id: &str) -> String {
    format!("# projectID: {project_id}\n{HEADER}{}", stores(contract, delivery).join("---\n"))
}

/// The Role names the keys that some ExternalSecret reads, sealed or not, so that a missing key is "not found" and not "forbidden".
pub(super) fn rbac(contract: &Contract, delivery: &Delivery) -> Vec<String> {
    let reader = &contract.reader.name;
    let name = |account| if delivery.accounts_of_their_own() { format!("{reader}-{account}") } else { reader.to_string() };
    let accounts = delivery.accounts(contract);
    accounts.iter().flat_map(|(account, keys)| role(contract, delivery, &name(account), account, keys)).collect()
}

/// A Role for these keys, bound to the reader's account in that namespace.
fn role(contract: &Contract, delivery: &Delivery, name: &str, account: &Namespace, keys: &BTreeSet<&Name>) -> [String; 2] {
    let names: BTreeSet<&str> = keys.iter().map(|name| name.as_str()).sorted();
    let metadata = || Metadata::new(name, Some(contract.namespace.as_str()));
    let rules = match delivery.rbac {
        // Nothing reads a key; a rule without names would grant every Secret of the namespace.
        _ if names.is_empty() => json!([]),
        Rbac::Namespace => json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }]),
        Rbac::Keys => json!([{ "apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": ["get"] }]),
    };
    [
        object("rbac.authorization.k8s.io/v1", "Role", metadata(), json!({ "rules": rules })),
        object(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            metadata(),
            json!({
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
                "subjects": [{ "kind": "ServiceAccount", "name": contract.reader.name.as_str(), "namespace": account.as_str() }],
            }),
        ),
    ]
}

fn accounts(contract: &Contract, delivery: &Delivery) -> Vec<String> {
    let account =
        |namespace: &Namespace| object("v1", "ServiceAccount", Metadata::new(&contract.reader.name, Some(namespace.as_str())), json!({}));
    delivery.accounts(contract).into_keys().map(account).collect()
}

pub(super) fn stores(contract: &Contract, delivery: &Delivery) -> Vec<String> {
    let spec = store_spec(contract, delivery);
    let store = |namespace: Option<&Namespace>| {
        let metadata = Metadata::new(&contract.store, namespace.map(Namespace::as_str));
        object("external-secrets.io/v1", delivery.store_kind.as_str(), metadata, json!({ "spec": spec }))
    };
    delivery.stores(contract).into_iter().map(store).collect()
}

/// The store's spec as ESO accepts it: a ClusterSecretStore requires `caProvider.namespace`, and needs `server` for its url to have a
/// default; a SecretStore forbids that namespace. Without a namespace the account is that of the ExternalSecret's namespace (ESO's referent
/// form). Only the contract's namespaces may use it: without conditions every namespace could.
pub fn store_spec(contract: &Contract, delivery: &Delivery) -> serde_json::Value {
    let account = contract.reader.namespace.as_str();
    let mut spec = json!({
        "provider": { "kubernetes": {
            "remoteNamespace": contract.namespace.as_str(),
            "server": {
                "url": "https://kubernetes.default.svc",
                "caProvider": { "type": "ConfigMap", "name": "kube-root-ca.crt", "key": "ca.crt" },
            },
            "auth": { "serviceAccount": { "name": contract.reader.name.as_str() } },
        } },
    });
    if delivery.store_kind == StoreKind::SecretStore {
        return spec;
    }
    let kubernetes = &mut spec["provider"]["kubernetes"];
    kubernetes["server"]["caProvider"]["namespace"] = json!(account);
    if !delivery.accounts_of_their_own() {
        kubernetes["auth"]["serviceAccount"]["namespace"] = json!(account);
    }
    let mut namespaces: Vec<&str> = contract.consumer_namespaces().iter().map(|namespace| namespace.as_str()).collect();
    if namespaces.is_empty() {
        // The Secrets are in this namespace already, so nobody new gains access.
        namespaces.push(contract.namespace.as_str());
    }
    spec["conditions"] = json!([{ "namespaces": namespaces }]);
    spec
}

/// The patch of the ExternalSecrets of one name that read the same.
struct Patch<'c> {
    file: String,
    /// The target's namespaces, if the name alone is ambiguous.
    consumer: &'c Consumer,
    name: &'c Name,
    by_namespace: bool,
    operations: serde_json::Value,
}

/// JSON 6902, each `add` guarded by two `test`s: after a reorder the build fails, instead of putting the property
/// somewhere else.
fn patches<'c>(contract: &'c Contract, delivery: &Delivery) -> Vec<Patch<'c>> {
    let named: Vec<(&Consumer, &Name)> = contract
        .consumers
        .iter()
        .filter(|consumer| consumer.patchable && !consumer.entries.is_empty())
        .filter_map(|consumer| Some((consumer, consumer.name.as_ref()?)))
        .collect();
    let mut patches: Vec<Patch<'_>> = Vec::new();
    for (consumer, name) in &named {
        let alike = |other: &&(&Consumer, &Name)| other.1 == *name;
        // A manifest often has no namespace before kustomize sets it, and then a target with a namespace silently matches nothing. So the
        // target gets one only if two of the same name read differently.
        let by_namespace = named.iter().filter(alike).any(|(other, _)| other.entries != consumer.entries);
        if !by_namespace && patches.iter().any(|patch| patch.name == *name) {
            continue;
        }
        let file = if by_namespace { format!("{}_{name}.patch.yaml", consumer.namespace) } else { format!("{name}.patch.yaml") };
        patches.push(Patch { file, consumer, name, by_namespace, operations: operations(contract, delivery, &consumer.entries) });
    }
    patches.sort_by(|a, b| a.file.cmp(&b.file));
    patches
}

fn operations(contract: &Contract, delivery: &Delivery, entries: &[Entry]) -> serde_json::Value {
    let store = contract.store.as_str();
    // The store is tested as well: an ExternalSecret of that name that uses another store is not ours.
    let shared = entries.iter().any(|entry| !entry.own_store).then_some("/spec/secretStoreRef".to_owned());
    let own = entries.iter().filter(|entry| entry.own_store).map(|entry| format!("/spec/data/{}/sourceRef/storeRef", entry.index));
    let stores = shared.into_iter().chain(own).flat_map(|at| {
        let test = json!({ "op": "test", "path": format!("{at}/name"), "value": store });
        let kind = json!({ "op": "add", "path": format!("{at}/kind"), "value": delivery.store_kind.as_str() });
        [Some(test), delivery.names_kind.then_some(kind)].into_iter().flatten()
    });
    let guarded = entries.iter().flat_map(|entry| {
        let at = format!("/spec/data/{}", entry.index);
        [
            json!({ "op": "test", "path": format!("{at}/secretKey"), "value": entry.secret_key.as_str() }),
            json!({ "op": "test", "path": format!("{at}/remoteRef/key"), "value": entry.key.as_str() }),
            json!({ "op": "add", "path": format!("{at}/remoteRef/property"), "value": entry.property.as_str() }),
        ]
    });
    stores.chain(guarded).collect()
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
fn runbook(contract: &Contract, delivery: &Delivery, certificate: CertificateDigest, sealed: &BTreeSet<String>) -> String {
    let files: String = sealed.iter().map(|path| format!("- `{path}`\n")).collect();
    // Settings do not say where the private key goes.
    let own = delivery.controller.own_namespace();
    let namespace = own.map_or(String::new(), |namespace| format!(" --controller-namespace {namespace}"));
    let holes = [
        ("certificate", certificate.to_string()),
        ("chart", argo_cd::CHART.1.to_owned()),
        ("image", argo_cd::CHART.2.to_owned()),
        ("apply-key", delivery.here.command(&format!("key-secret --apply --context \"${{CONTEXT:?}}\"{namespace}"))),
        ("renew", delivery.here.command("renew")),
        ("doctor", delivery.here.command("doctor --context \"${CONTEXT:?}\" --wait 5m")),
        ("controller-namespace", delivery.controller.namespace.to_string()),
        ("controller", delivery.controller.name.to_string()),
        ("property-step", property_step(contract, delivery)),
        ("namespace", contract.namespace.to_string()),
        ("store", contract.store.to_string()),
        ("store-step", store_step(contract, delivery)),
        ("reader-namespace", contract.reader.namespace.to_string()),
        ("property", PROPERTY.to_owned()),
        ("files", files),
        ("rendered", rendered(contract, delivery)),
        ("with-argo-cd", with_argo_cd(delivery)),
        ("awaited", awaited(contract, delivery, sealed)),
        ("copies", copies(contract, delivery)),
    ];
    fill(include_str!("../install.md"), &holes)
}

/// A template whose holes, such as `{store}`, are filled. Other braces stay, and so does what stands in a value.
fn fill(template: &str, holes: &[(&str, String)]) -> String {
    let value = |hole: &str| holes.iter().find(|(name, _)| *name == hole).map(|(_, value)| value.as_str());
    let mut pieces = template.split('{');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once('}').and_then(|(hole, rest)| Some((value(hole)?, rest))) {
            Some((value, rest)) => text.extend([value, rest]),
            None => text.extend(["{", piece]),
        }
    }
    text
}

/// The same runbook for another certificate; none if it already names that one, or none at all.
pub fn runbook_for(text: &str, certificate: CertificateDigest) -> Option<String> {
    let named = certificate.to_string();
    let at = text.split(FORM).next()?.find("sha256:")?;
    let before = text.get(at..at + named.len()).filter(|before| *before != named && CertificateDigest::parse(before).is_ok())?;
    Some(text.replace(before, &named))
}

/// How to give each entry the property, or that all have it.
fn property_step(contract: &Contract, delivery: &Delivery) -> String {
    let named = || contract.consumers.iter().filter_map(|consumer| Some((consumer, consumer.name.as_ref()?)));
    if delivery.patched {
        let entries: usize = named().map(|(consumer, _)| consumer.entries.len()).sum();
        let secrets = counted(named().count(), "ExternalSecret");
        return format!("Done: all {entries} in the platform's {secrets} have it. There is nothing to do.\n");
    }
    let keys = |consumer: &Consumer| consumer.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>().join(", ");
    let consumers: String = named().map(|(consumer, name)| format!("| {} | {name} | {} |\n", consumer.namespace, keys(consumer))).collect();
    let patch = match delivery.platform {
        true => format!("`{}`", delivery.here.command("patch --write")),
        false => format!("`{}` (`DIR` is the platform's checkout)", delivery.here.command("patch --write --platform DIR")),
    };
    fill(include_str!("../property.md"), &[("consumers", consumers), ("patch", patch)])
}

fn store_step(contract: &Contract, delivery: &Delivery) -> String {
    let (store, source) = (&contract.store, &contract.namespace);
    let mut text = "```sh\nkubectl --context \"${CONTEXT:?}\" apply -k secret-store\n".to_owned();
    if let Some(file) = &delivery.store_file {
        text.push_str(&format!("kubectl --context \"${{CONTEXT:?}}\" apply -f {}\n", quoted(&file.from_out)));
    }
    match delivery.store_kind {
        StoreKind::ClusterSecretStore => {
            text.push_str(&format!(
                "kubectl --context \"${{CONTEXT:?}}\" wait clustersecretstore/{store} --for=condition=Ready --timeout=2m\n"
            ));
        }
        StoreKind::SecretStore => {
            text.push_str(
                "kubectl --context \"${CONTEXT:?}\" wait secretstore --all --all-namespaces --for=condition=Ready --timeout=2m\n",
            );
        }
    }
    text.push_str("```\n\n");
    let may = match delivery.rbac {
        Rbac::Keys => format!("the named Secrets of `{source}` and nothing else"),
        Rbac::Namespace => format!("every Secret of `{source}`"),
    };
    text.push_str(&if delivery.accounts_of_their_own() {
        format!(
            "Each namespace has an account `{}` of its own, which may get {may}; the namespaces have to be there first.\n",
            contract.reader.name
        )
    } else {
        format!("It reads with the account `{}/{}`, which may get {may}.\n", contract.reader.namespace, contract.reader.name)
    });
    if delivery.application.is_some() {
        text.push_str("\nWith Argo CD, apply `argocd-application.yaml` instead of steps 4 and 6, once steps 1 to 3 are done.\n");
    }
    if delivery.flux.is_some() {
        text.push_str("\nWith Flux, commit and apply `flux-kustomizations.yaml` instead of steps 4 and 6, once steps 1 to 3 are done, and let each\nKustomization whose ExternalSecrets read these values have `dependsOn: [{name: secret-store}]`.\n");
    }
    text
}

fn rendered(contract: &Contract, delivery: &Delivery) -> String {
    let without: Vec<String> = contract
        .consumers
        .iter()
        .filter(|consumer| consumer.name.is_none())
        .map(|consumer| {
            let keys: Vec<String> = consumer.reads().map(|secret| format!("`{secret}`")).collect();
            format!("- the one in `{}` that makes the Secret `{}` and reads {}\n", consumer.namespace, consumer.target, keys.join(", "))
        })
        .collect();
    if without.is_empty() {
        return String::new();
    }
    let own = match delivery.application {
        Some(_) => format!(
            "\nArgo CD runs no helm post-renderer, so an ExternalSecret of your own is ready in `{}`: copy its file beside the\nother manifests of that Application, and turn off the one of the chart.\n",
            argo_cd::EXTERNAL_SECRETS
        ),
        None => String::new(),
    };
    format!(
        "\nThese are rendered by a helm chart, so there is no manifest to patch: give them `remoteRef.property: {PROPERTY}`\nthrough the chart's values, or replace them by an ExternalSecret of your own:\n\n{}{own}",
        without.concat()
    )
}

fn with_argo_cd(delivery: &Delivery) -> String {
    match &delivery.application {
        Some(wanted) if wanted.installs_controller => format!(
            "\nWith Argo CD, apply `{}` instead, after step 1: an AppProject that allows nothing but this chart, and its Application. Without a\nnetwork, copy the two to your platform's catalog, with the address of your mirror, and apply those.\n",
            argo_cd::CONTROLLER
        ),
        _ => String::new(),
    }
}

fn awaited(contract: &Contract, delivery: &Delivery, sealed: &BTreeSet<String>) -> String {
    let missing = |unit: &Unit<'_>| unit.provided() && unit.needed() && !sealed.contains(&unit.file());
    let lines: Vec<String> = contract
        .units()
        .iter()
        .filter(|unit| missing(unit))
        .flat_map(|unit| unit.keys.iter().filter(|key| key.is_provided()))
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
        "These keys only you can supply. Until then their ExternalSecrets say `not found`; the rest works.\nAdd one with `{}`, commit, and apply step 4 again.\n\n{}",
        delivery.here.command("bootstrap --provide KEY=FILE"),
        lines.concat()
    )
}

fn copies(contract: &Contract, delivery: &Delivery) -> String {
    let copies = contract.keys.iter().filter(|key| key.operator_copy);
    let line = |key: &crate::model::Key| {
        let read = delivery.here.command(&format!("unseal --value {} --reveal", key.name));
        format!("- `{}`: {}. Read it with `{read}`\n", key.name, key.about)
    };
    let lines: Vec<String> = copies.map(line).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("\nFor you, and for no ExternalSecret:\n\n{}", lines.concat())
}
