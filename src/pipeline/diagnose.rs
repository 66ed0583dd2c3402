//! What a cluster showed, held against what should be there: each value is followed from its SealedSecret to its target.
//! The texts of controllers that are recognised here are those of facts.md, section 6: sealed-secrets 0.36, ESO 0.20.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::{CertificateDigest, Check, Consumer, Contract, Name, PROPERTY, Status, Symptom, visible};

/// What was looked at. No value of any Secret is in it.
#[derive(Default)]
pub struct Snapshot {
    /// Who the API server says we are.
    pub user: String,
    /// The API server's version.
    pub version: String,
    /// Whether the API groups of sealed-secrets and ESO are served.
    pub apis: BTreeMap<&'static str, bool>,
    /// Namespaces that should be there.
    pub namespaces: BTreeMap<String, bool>,
    /// The controller's Deployment, by `app.kubernetes.io/name`.
    pub controller: Option<Value>,
    /// What certificate it serves, where it serves one.
    pub served: Option<CertificateDigest>,
    /// The metadata of its key Secrets.
    pub keys: Vec<Value>,
    /// The SealedSecrets that should be there.
    pub sealed: BTreeMap<Name, Option<Value>>,
    /// The metadata of their source Secrets.
    pub sources: BTreeMap<Name, Option<Value>>,
    /// ESO's Deployment.
    pub operator: Option<Value>,
    /// The reader's account.
    pub account: bool,
    /// The store, and its events.
    pub store: Option<Value>,
    /// Its events.
    pub store_events: Vec<Value>,
    /// Which keys the reader's account may get.
    pub access: BTreeMap<Name, bool>,
    /// Each consumer's ExternalSecret, its events, and the metadata of its target.
    pub readers: Vec<Reader>,
    /// What this account may not look at: what, and the server's word.
    pub forbidden: Vec<(String, String)>,
}

/// One consumer in the cluster.
pub struct Reader {
    /// Which of the contract's consumers.
    pub index: usize,
    /// The ExternalSecret.
    pub object: Option<Value>,
    /// Its events.
    pub events: Vec<Value>,
    /// The metadata of its target.
    pub target: Option<Value>,
}

/// What the operator has.
pub struct Wanted<'w> {
    /// The contract.
    pub contract: &'w Contract,
    /// The pinned certificate.
    pub certificate: CertificateDigest,
    /// The keys that are sealed in `out/`, and to which certificate.
    pub sealed: &'w BTreeMap<Name, Option<CertificateDigest>>,
    /// Where the controller is.
    pub controller: (&'w str, &'w str),
}

/// The groups that have to be served.
pub const APIS: [(&str, &str); 2] = [("sealed-secrets", "bitnami.com/v1alpha1"), ("External Secrets Operator", "external-secrets.io/v1")];

/// Every check, in the order of a value's way.
pub fn diagnose(snapshot: &Snapshot, wanted: &Wanted<'_>) -> Vec<Check> {
    let mut checks = Checks { list: Vec::new() };
    checks.good("api server", format!("{}, as {}", snapshot.version, snapshot.user));
    for (what, message) in &snapshot.forbidden {
        let remedy = "seal-secrets doctor --print-rbac | kubectl apply -f -, and bind it to this account";
        checks.bad("api server", what.clone(), Symptom::Forbidden, visible(message), remedy.to_owned());
    }
    let sealed_api = checks.api(snapshot, 0, "install the sealed-secrets controller: step 2 of out/INSTALL.md");
    let operator_api = checks.api(snapshot, 1, "install the External Secrets Operator with its CRDs: step 3 of out/INSTALL.md");
    checks.namespaces(snapshot);
    let serving = checks.controller(snapshot, wanted);
    if sealed_api {
        checks.sealed(snapshot, wanted, serving);
    } else {
        checks.skip("sealed secrets", "every SealedSecret");
    }
    checks.sources(snapshot, wanted);
    checks.operator(snapshot, wanted);
    if !operator_api {
        checks.skip("store", "the store and every ExternalSecret");
        return checks.list;
    }
    let store = checks.store(snapshot, wanted);
    checks.access(snapshot, wanted);
    snapshot.readers.iter().for_each(|reader| checks.reader(snapshot, wanted, reader, store));
    checks.list
}

struct Checks {
    list: Vec<Check>,
}

fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    value.pointer(path).and_then(Value::as_str).unwrap_or("")
}

/// A condition's status and message.
fn condition<'v>(object: &'v Value, kind: &str) -> Option<(&'v str, &'v str)> {
    let all = object.pointer("/status/conditions")?.as_array()?;
    let one = all.iter().find(|condition| text(condition, "/type") == kind)?;
    Some((text(one, "/status"), text(one, "/message")))
}

/// The message of the newest event with one of these texts.
fn event<'v>(events: &'v [Value], words: &str) -> Option<&'v str> {
    let matching = events.iter().filter(|event| text(event, "/message").contains(words));
    matching.max_by_key(|event| time(event).to_owned()).map(|event| text(event, "/message"))
}

fn time(event: &Value) -> &str {
    ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
        .iter()
        .map(|path| text(event, path))
        .find(|time| !time.is_empty())
        .unwrap_or("")
}

/// The data keys of a Secret, from its managed fields: the values themselves are never read.
fn data_keys(metadata: &Value) -> Vec<String> {
    let managers = metadata.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    let fields = managers.filter_map(|manager| manager.pointer("/fieldsV1/f:data")?.as_object());
    fields.flat_map(|fields| fields.keys().filter_map(|key| key.strip_prefix("f:").map(str::to_owned))).collect()
}

/// When a Secret was last written, from its managed fields.
fn written(metadata: &Value) -> &str {
    let managers = metadata.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    managers.map(|manager| text(manager, "/time")).max().unwrap_or("")
}

fn is_available(deployment: &Value) -> bool {
    deployment.pointer("/status/availableReplicas").and_then(Value::as_u64).unwrap_or(0) > 0
}

impl Checks {
    fn add(&mut self, category: &'static str, what: String, status: Status, symptom: Option<Symptom>, cause: String, remedy: String) {
        self.list.push(Check { category, what, status, symptom, cause, remedy });
    }

    fn good(&mut self, category: &'static str, what: String) {
        self.add(category, what, Status::Good, None, String::new(), String::new());
    }

    fn skip(&mut self, category: &'static str, what: &str) {
        self.add(category, what.to_owned(), Status::Skipped, None, "it depends on a check that failed".to_owned(), String::new());
    }

    fn bad(&mut self, category: &'static str, what: String, symptom: Symptom, cause: String, remedy: String) {
        self.add(category, what, Status::Bad, Some(symptom), cause, remedy);
    }

    fn api(&mut self, snapshot: &Snapshot, index: usize, remedy: &str) -> bool {
        let (name, group) = APIS[index];
        let served = snapshot.apis.get(group).copied().unwrap_or(false);
        if served {
            self.good("api server", format!("{group} is served"));
        } else {
            let cause = format!("the API server does not serve {group}: the CRDs of {name} are not installed");
            self.bad("api server", group.to_owned(), Symptom::CrdMissing, cause, remedy.to_owned());
        }
        served
    }

    fn namespaces(&mut self, snapshot: &Snapshot) {
        for (name, there) in &snapshot.namespaces {
            if *there {
                self.good("namespaces", name.clone());
            } else {
                let (cause, remedy) = ("the namespace is not there".to_owned(), format!("kubectl create namespace {name}"));
                self.bad("namespaces", name.clone(), Symptom::NamespaceMissing, cause, remedy);
            }
        }
    }

    /// Whether it serves the pinned certificate.
    fn controller(&mut self, snapshot: &Snapshot, wanted: &Wanted<'_>) -> bool {
        const CATEGORY: &str = "controller";
        let (namespace, name) = wanted.controller;
        let restart = format!("kubectl -n {namespace} rollout restart deployment/{name}");
        let Some(deployment) = &snapshot.controller else {
            let cause = format!("there is no sealed-secrets controller in `{namespace}`");
            let remedy = "step 2 of out/INSTALL.md; elsewhere? name it with --controller-namespace and --controller-name".to_owned();
            self.bad(CATEGORY, format!("{namespace}/{name}"), Symptom::ControllerMissing, cause, remedy);
            return false;
        };
        if !is_available(deployment) {
            let scaled = deployment.pointer("/spec/replicas").and_then(Value::as_u64) == Some(0);
            let (cause, remedy) = if scaled {
                (
                    "it is scaled to nothing",
                    format!("kubectl -n {namespace} scale deployment/{} --replicas=1", text(deployment, "/metadata/name")),
                )
            } else {
                (
                    "it does not come up; a key Secret that is no RSA key in PEM crashes it",
                    format!(
                        "kubectl -n {namespace} get secrets -l sealedsecrets.bitnami.com/sealed-secrets-key; delete the one that is not of `seal-secrets key-secret`"
                    ),
                )
            };
            self.bad(CATEGORY, format!("{namespace}/{name}"), Symptom::ControllerDown, cause.to_owned(), remedy);
            return false;
        }
        self.good(CATEGORY, format!("{namespace}/{name} runs"));
        self.renewal(deployment, namespace);
        match snapshot.served {
            Some(served) if served == wanted.certificate => {
                self.good(CATEGORY, format!("it serves the pinned certificate {served}"));
                true
            }
            Some(served) => {
                let cause = format!("it serves {served}, and keys/sealing.crt is {}", wanted.certificate);
                let remedy = format!("seal-secrets key-secret --controller-namespace {namespace} | kubectl apply -f - && {restart}");
                let several = snapshot.keys.len() > 1;
                let symptom = if several { Symptom::SeveralKeys } else { Symptom::CertificateDiffers };
                let remedy = if several {
                    format!(
                        "delete the key Secret that the controller made (kubectl -n {namespace} get secrets -l sealedsecrets.bitnami.com/sealed-secrets-key), set keyrenewperiod: \"0\", and: {restart}"
                    )
                } else {
                    remedy
                };
                self.bad(CATEGORY, "its certificate".to_owned(), symptom, cause, remedy);
                false
            }
            None => {
                let cause = format!("its Service `{name}` does not answer");
                let remedy = format!(
                    "kubectl -n {namespace} get service; name it with --controller-name (the helm chart's default is sealed-secrets)"
                );
                self.bad(CATEGORY, "its certificate".to_owned(), Symptom::ControllerMissing, cause, remedy);
                false
            }
        }
    }

    /// Whether it will make a key of its own.
    fn renewal(&mut self, deployment: &Value, namespace: &str) {
        let containers = deployment.pointer("/spec/template/spec/containers").and_then(Value::as_array).into_iter().flatten();
        let words = containers.flat_map(|one| ["args", "command"].into_iter().filter_map(|name| one[name].as_array()).flatten());
        let words: Vec<&str> = words.filter_map(Value::as_str).collect();
        let flag = words.iter().position(|word| word.trim_start_matches('-').starts_with("key-renew-period"));
        let period = flag.and_then(|at| words[at].split_once('=').map(|(_, period)| period).or_else(|| words.get(at + 1).copied()));
        if period.is_some_and(|period| matches!(period.trim_matches('"'), "0" | "0s" | "0h")) {
            self.good("controller", "it never makes a key of its own".to_owned());
            return;
        }
        let cause =
            format!("its renewal period is {}: it will make a key of its own and serve that one", period.unwrap_or("the default, 30 days"));
        let remedy = format!("set keyrenewperiod: \"0\" in the chart's values and upgrade the release in {namespace}");
        self.add("controller", "its renewal period".to_owned(), Status::Warning, Some(Symptom::KeyRenewal), cause, remedy);
    }

    fn sealed(&mut self, snapshot: &Snapshot, wanted: &Wanted<'_>, serving: bool) {
        for name in wanted.sealed.keys() {
            match snapshot.sealed.get(name).and_then(Option::as_ref) {
                None => {
                    let cause = format!("the SealedSecret `{name}` is not in `{}`", wanted.contract.namespace);
                    self.bad(
                        "sealed secrets",
                        name.to_string(),
                        Symptom::SealedSecretMissing,
                        cause,
                        "kubectl apply -k out/secret-source".to_owned(),
                    );
                }
                Some(object) => self.sealed_secret(snapshot, wanted, name, object, serving),
            }
        }
    }

    fn sealed_secret(&mut self, snapshot: &Snapshot, wanted: &Wanted<'_>, name: &Name, object: &Value, serving: bool) {
        const CATEGORY: &str = "sealed secrets";
        let (namespace, controller) = wanted.controller;
        let restart = format!("kubectl -n {namespace} rollout restart deployment/{controller}");
        let generation = |path: &str| object.pointer(path).and_then(Value::as_u64);
        let current = generation("/metadata/generation") == generation("/status/observedGeneration");
        let message = match condition(object, "Synced") {
            Some(("True", _)) if current => return self.good(CATEGORY, name.to_string()),
            Some(("False", message)) => message,
            _ => {
                let cause = "the controller has not looked at its newest state".to_owned();
                return self.bad(CATEGORY, name.to_string(), Symptom::SealedSecretPending, cause, restart);
            }
        };
        let annotation = text(object, "/metadata/annotations/seal-secrets~1certificate");
        let ours = annotation == wanted.certificate.to_string();
        let moved = object
            .pointer("/spec/template/metadata/name")
            .and_then(Value::as_str)
            .is_some_and(|sealed| sealed != text(object, "/metadata/name"));
        let source = snapshot.sources.get(name).and_then(Option::as_ref);
        let (symptom, cause, remedy) = if message.contains("no key could decrypt") && !ours {
            let cause = format!(
                "it is sealed to {}, not to the pinned certificate",
                if annotation.is_empty() { "an unknown key" } else { annotation }
            );
            (Symptom::SealedToAnotherKey, cause, "kubectl apply -k out/secret-source".to_owned())
        } else if message.contains("no key could decrypt") && moved {
            (
                Symptom::SealedSecretMoved,
                "it was renamed or moved after it was sealed; strict scope binds it to its name".to_owned(),
                "remove namePrefix, nameSuffix and namespace from the kustomization, and: kubectl apply -k out/secret-source".to_owned(),
            )
        } else if message.contains("no key could decrypt") && !serving {
            (
                Symptom::SealedToAnotherKey,
                "the controller does not have the key of the pinned certificate".to_owned(),
                format!("seal-secrets key-secret --controller-namespace {namespace} | kubectl apply -f - && {restart}"),
            )
        } else if message.contains("no key could decrypt") {
            (
                Symptom::KeyCameLater,
                "it arrived before its key, or its text was changed; the controller gave up".to_owned(),
                format!("{restart}; if it stays, kubectl apply -k out/secret-source"),
            )
        } else if message.contains("illegal base64") {
            (
                Symptom::SealedSecretCorrupt,
                visible(message),
                "git checkout -- out/secret-source && kubectl apply -k out/secret-source".to_owned(),
            )
        } else if message.contains("already exists and is not managed") {
            let source_namespace = &wanted.contract.namespace;
            let there = if source.is_some() {
                "a Secret of that name is there, and not the controller's"
            } else {
                "a Secret of that name was there"
            };
            (
                Symptom::SecretInTheWay,
                there.to_owned(),
                format!(
                    "kubectl -n {source_namespace} annotate secret {name} sealedsecrets.bitnami.com/managed=true --overwrite && {restart}"
                ),
            )
        } else {
            (Symptom::SealedSecretFailed, visible(message), restart)
        };
        self.bad(CATEGORY, name.to_string(), symptom, cause, remedy);
    }

    fn sources(&mut self, snapshot: &Snapshot, wanted: &Wanted<'_>) {
        for name in wanted.sealed.keys() {
            let unsealed = snapshot.sealed.get(name).and_then(Option::as_ref).and_then(|object| condition(object, "Synced"));
            if unsealed.is_none_or(|(status, _)| status != "True") {
                self.skip("source secrets", name.as_str());
                continue;
            }
            let namespace = &wanted.contract.namespace;
            let again = format!("kubectl -n {namespace} delete sealedsecret {name} && kubectl apply -k out/secret-source");
            match snapshot.sources.get(name).and_then(Option::as_ref) {
                None => {
                    let cause = format!("the Secret `{name}` is not in `{namespace}`, though its SealedSecret is synced");
                    self.bad("source secrets", name.to_string(), Symptom::SourceMissing, cause, again);
                }
                Some(metadata) if !data_keys(metadata).iter().any(|key| key == PROPERTY) => {
                    let cause = format!("the Secret `{name}` has no data key `{PROPERTY}`");
                    self.bad("source secrets", name.to_string(), Symptom::SourceWithoutValue, cause, again);
                }
                Some(_) => self.good("source secrets", name.to_string()),
            }
        }
    }

    fn operator(&mut self, snapshot: &Snapshot, wanted: &Wanted<'_>) {
        let namespace = &wanted.contract.reader.namespace;
        match &snapshot.operator {
            Some(deployment) if is_available(deployment) => self.good("store", "the External Secrets Operator runs".to_owned()),
            found => {
                let remedy = match found {
                    Some(deployment) => {
                        format!("kubectl -n {namespace} scale deployment/{} --replicas=1", text(deployment, "/metadata/name"))
                    }
                    None => "install it: step 3 of out/INSTALL.md".to_owned(),
                };
                let cause = format!("the External Secrets Operator does not run in `{namespace}`");
                self.bad("store", "the External Secrets Operator".to_owned(), Symptom::OperatorDown, cause, remedy);
            }
        }
    }

    /// Whether it is ready.
    fn store(&mut self, snapshot: &Snapshot, wanted: &Wanted<'_>) -> bool {
        let contract = wanted.contract;
        let apply = "kubectl apply -k out/secret-store".to_owned();
        if !snapshot.account {
            let cause = format!("the account `{}/{}` is not there", contract.reader.namespace, contract.reader.name);
            self.bad("store", contract.reader.name.to_string(), Symptom::AccountMissing, cause, apply.clone());
        }
        let Some(store) = &snapshot.store else {
            let cause = format!("there is no ClusterSecretStore `{}`", contract.store);
            self.bad("store", contract.store.to_string(), Symptom::StoreMissing, cause, apply);
            return false;
        };
        let ca = store.pointer("/spec/provider/kubernetes/server/caProvider");
        if ca.is_none_or(|ca| ca.get("namespace").is_none()) {
            let cause = "`caProvider.namespace` is missing, which a ClusterSecretStore needs".to_owned();
            self.bad("store", contract.store.to_string(), Symptom::CaNamespaceMissing, cause, apply);
            return false;
        }
        match condition(store, "Ready") {
            Some(("True", _)) => {
                self.good("store", contract.store.to_string());
                true
            }
            found => {
                // An account that is not there has its own check.
                let event = snapshot.store_events.iter().max_by_key(|event| time(event).to_owned()).map(|event| text(event, "/message"));
                let cause = event.or(found.map(|(_, message)| message)).unwrap_or("the operator has not looked at it");
                if snapshot.account {
                    let (cause, remedy) = (visible(cause), format!("{apply}; kubectl describe clustersecretstore {}", contract.store));
                    self.bad("store", contract.store.to_string(), Symptom::StoreNotReady, cause, remedy);
                } else {
                    self.skip("store", contract.store.as_str());
                }
                false
            }
        }
    }

    fn access(&mut self, snapshot: &Snapshot, wanted: &Wanted<'_>) {
        for (name, allowed) in &snapshot.access {
            if !allowed {
                let reader = &wanted.contract.reader;
                let cause = format!("the account `{}/{}` may not get the Secret `{name}`", reader.namespace, reader.name);
                self.bad("store", name.to_string(), Symptom::RoleWithoutName, cause, "kubectl apply -k out/secret-source".to_owned());
            }
        }
    }

    fn reader(&mut self, snapshot: &Snapshot, wanted: &Wanted<'_>, reader: &Reader, store: bool) {
        const CATEGORY: &str = "external secrets";
        let consumer: &Consumer = &wanted.contract.consumers[reader.index];
        let Some(name) = &consumer.name else { return };
        let what = format!("{}/{name}", consumer.namespace);
        let Some(object) = &reader.object else {
            let cause = format!("the ExternalSecret `{name}` is not in `{}`", consumer.namespace);
            return self.add(
                CATEGORY,
                what,
                Status::Warning,
                Some(Symptom::ExternalSecretMissing),
                cause,
                "sync the platform's Application that holds it".to_owned(),
            );
        };
        let force = format!("kubectl -n {} annotate externalsecret {name} force-sync=$(date +%s) --overwrite", consumer.namespace);
        let entries = object.pointer("/spec/data").and_then(Value::as_array).into_iter().flatten();
        for entry in entries.filter(|entry| consumer.entries.iter().any(|one| one.key.as_str() == text(entry, "/remoteRef/key"))) {
            let key = text(entry, "/remoteRef/key");
            let fault = match entry.pointer("/remoteRef/property").and_then(Value::as_str) {
                Some(PROPERTY) => continue,
                Some(other) => (Symptom::PropertyWrong, format!("it reads the property `{}` of `{key}`, not `{PROPERTY}`", visible(other))),
                None => (Symptom::PropertyMissing, format!("it reads `{key}` without a property: its target holds JSON")),
            };
            let remedy = format!("seal-secrets patch --platform DIR --write, sync it, and: {force}");
            return self.bad(CATEGORY, what, fault.0, fault.1, remedy);
        }
        // Not sealed yet: only the operator can supply it.
        let missing: Vec<String> =
            consumer.entries.iter().filter(|entry| !wanted.sealed.contains_key(&entry.key)).map(|entry| entry.key.to_string()).collect();
        if !missing.is_empty() {
            let cause = format!("{} is not sealed yet", missing.join(" and "));
            let remedy = format!("seal-secrets bootstrap --provide {}=FILE", missing[0]);
            return self.add(CATEGORY, what, Status::Warning, Some(Symptom::SourceMissing), cause, remedy);
        }
        if let Some(message) = event(&reader.events, "is not allowed from namespace").filter(|_| !is_ready(object)) {
            let (cause, remedy) = (
                visible(message),
                "kubectl apply -k out/secret-store, after `seal-secrets bootstrap` with this namespace in the contract".to_owned(),
            );
            return self.bad(CATEGORY, what, Symptom::NamespaceNotAllowed, cause, remedy);
        }
        if !store {
            return self.skip(CATEGORY, &what);
        }
        if !is_ready(object) {
            let sources = consumer.entries.iter().all(|entry| snapshot.sources.get(&entry.key).is_some_and(Option::is_some));
            let allowed = consumer.entries.iter().all(|entry| snapshot.access.get(&entry.key) != Some(&false));
            if !sources || !allowed {
                return self.skip(CATEGORY, &what);
            }
            let newest = reader.events.iter().max_by_key(|event| time(event).to_owned()).map(|event| text(event, "/message"));
            let message = newest.or(condition(object, "Ready").map(|(_, message)| message)).unwrap_or("the operator has not looked at it");
            return self.bad(CATEGORY, what, Symptom::ExternalSecretFailed, visible(message), force);
        }
        self.good(CATEGORY, what.clone());
        self.target(snapshot, consumer, reader, object, what, force);
    }

    fn target(&mut self, snapshot: &Snapshot, consumer: &Consumer, reader: &Reader, object: &Value, what: String, force: String) {
        let Some(_) = &reader.target else {
            let cause = format!("the target Secret `{}` is not in `{}`", consumer.target, consumer.namespace);
            return self.bad("targets", what, Symptom::TargetMissing, cause, force);
        };
        let refreshed = text(object, "/status/refreshTime");
        let newer = consumer
            .entries
            .iter()
            .find(|entry| snapshot.sources.get(&entry.key).and_then(Option::as_ref).is_some_and(|source| written(source) > refreshed));
        match newer {
            Some(entry) => {
                let cause = format!("`{}` was written after the target was refreshed at {refreshed}", entry.key);
                self.bad("targets", what, Symptom::TargetStale, cause, force);
            }
            None => self.good("targets", what),
        }
    }
}

fn is_ready(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|(status, _)| status == "True")
}
