//! What a cluster showed, held against what should be there: each value is followed from its SealedSecret to its target.
//! The texts of controllers that are recognised here are those of facts.md, section 6: sealed-secrets 0.36, ESO 0.20.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::manifest::secret::{KEY_LABEL, KEY_SECRET};
use crate::model::{CertificateDigest, Check, Consumer, Contract, Name, PROPERTY, Status, Symptom, visible};

/// What was looked at. No value of any Secret is in it.
#[derive(Default)]
pub struct Snapshot {
    /// Who the API server says we are.
    pub user: String,
    /// The API server's version.
    pub version: String,
    /// Whether the resources of sealed-secrets and ESO are served.
    pub apis: BTreeMap<&'static str, bool>,
    /// Namespaces that should be there.
    pub namespaces: BTreeMap<String, bool>,
    /// The controller's Deployment, by `app.kubernetes.io/name`.
    pub controller: Option<Value>,
    /// The Services it may have, by the same label; the one that was named is in it when it is there.
    pub services: Vec<String>,
    /// What certificate it serves, where it serves one.
    pub served: Option<CertificateDigest>,
    /// The metadata of its key Secrets.
    pub keys: Vec<Value>,
    /// Every SealedSecret of the cluster.
    pub sealed: Vec<Value>,
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

/// What has to be served: whose, the group, its resources.
pub const APIS: [(&str, &str, &[&str]); 2] = [
    ("sealed-secrets", "bitnami.com/v1alpha1", &["sealedsecrets"]),
    ("External Secrets Operator", "external-secrets.io/v1", &["clustersecretstores", "externalsecrets"]),
];

/// Every check, in the order of a value's way.
pub fn diagnose(snapshot: &Snapshot, wanted: &Wanted<'_>) -> Vec<Check> {
    let mut checks = Checks { snapshot, wanted, list: Vec::new() };
    checks.good("api server", format!("{}, as {}", snapshot.version, snapshot.user));
    if checks.forbidden() {
        checks.skip("api server", "everything else");
        return checks.list;
    }
    let sealed_api = checks.api(0, "install the sealed-secrets controller: step 2 of out/INSTALL.md");
    let operator_api = checks.api(1, "install the External Secrets Operator with its CRDs: step 3 of out/INSTALL.md");
    checks.namespaces();
    let controller = checks.controller();
    let house = snapshot.namespaces.get(wanted.contract.namespace.as_str()).copied().unwrap_or(false);
    if sealed_api && house {
        wanted.sealed.keys().for_each(|name| checks.sealed(name, controller));
    } else {
        checks.skip("sealed secrets", "every SealedSecret");
    }
    wanted.sealed.keys().for_each(|name| checks.source(name));
    let operator = checks.operator();
    if !operator_api {
        checks.skip("store", "the store and every ExternalSecret");
        return checks.list;
    }
    let store = checks.store(operator);
    if house {
        checks.access();
    }
    snapshot.readers.iter().for_each(|reader| checks.reader(reader, operator, store));
    checks.list
}

/// How the sealed-secrets controller does.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Controller {
    Down,
    /// It serves another certificate than the pinned one, or none.
    Strange,
    Serving,
}

struct Checks<'c> {
    snapshot: &'c Snapshot,
    wanted: &'c Wanted<'c>,
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

/// The newest event's message.
fn newest(events: &[Value]) -> Option<&str> {
    events.iter().max_by_key(|event| time(event).to_owned()).map(|event| text(event, "/message"))
}

fn time(event: &Value) -> &str {
    ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
        .iter()
        .map(|path| text(event, path))
        .find(|time| !time.is_empty())
        .unwrap_or("")
}

/// Who wrote the data of a Secret, from its managed fields: the values themselves are never read.
fn writers(metadata: &Value) -> impl Iterator<Item = (&Value, &serde_json::Map<String, Value>)> {
    let managers = metadata.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    managers.filter_map(|manager| Some((manager, manager.pointer("/fieldsV1/f:data")?.as_object()?)))
}

fn has_value(metadata: &Value) -> bool {
    writers(metadata).any(|(_, fields)| fields.contains_key(&format!("f:{PROPERTY}")))
}

/// When its data was last written.
fn written(metadata: &Value) -> &str {
    writers(metadata).map(|(manager, _)| text(manager, "/time")).max().unwrap_or("")
}

/// Every Pod that should be there is there; during an update that means the new one too.
fn is_available(deployment: &Value) -> bool {
    let count = |path: &str| deployment.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    count("/status/availableReplicas") > 0 && count("/status/unavailableReplicas") == 0
}

fn is_ready(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|(status, _)| status == "True")
}

/// Whether the store's conditions let a namespace in, as far as they are lists of names.
fn lets_in(store: &Value, namespace: &str) -> bool {
    let conditions = store.pointer("/spec/conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names = |condition: &Value| condition["namespaces"].as_array().is_some_and(|all| all.iter().any(|one| one == namespace));
    let other = |condition: &Value| !condition["namespaceSelector"].is_null() || !condition["namespaceRegexes"].is_null();
    conditions.is_empty() || conditions.iter().any(|condition| names(condition) || other(condition))
}

const APPLY_SOURCE: &str = "kubectl apply -k out/secret-source";
const APPLY_STORE: &str = "kubectl apply -k out/secret-store";

impl Checks<'_> {
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

    fn warn(&mut self, category: &'static str, what: String, symptom: Symptom, cause: String, remedy: String) {
        self.add(category, what, Status::Warning, Some(symptom), cause, remedy);
    }

    /// Whether there is something that this account may not look at: nothing can be said of the rest then.
    fn forbidden(&mut self) -> bool {
        let Some((what, message)) = self.snapshot.forbidden.first() else { return false };
        let (count, user) = (self.snapshot.forbidden.len(), &self.snapshot.user);
        let cause = format!("{} (one of {count} requests that were refused)", visible(message));
        let name = "seal-secrets-doctor";
        let remedy = format!(
            "seal-secrets doctor --print-rbac --controller-namespace {namespace} | kubectl apply -f - && \
             kubectl create clusterrolebinding {name} --clusterrole={name} --user='{user}' && \
             kubectl -n {namespace} create rolebinding {name} --role={name} --user='{user}'",
            namespace = self.wanted.controller.0
        );
        self.bad("api server", what.clone(), Symptom::Forbidden, cause, remedy);
        true
    }

    fn api(&mut self, index: usize, remedy: &str) -> bool {
        let (name, group, resources) = APIS[index];
        let served = self.snapshot.apis.get(group).copied().unwrap_or(false);
        if served {
            self.good("api server", format!("{group} is served"));
        } else {
            let cause =
                format!("the API server does not serve {} of {group}: the CRDs of {name} are not installed", resources.join(" and "));
            self.bad("api server", group.to_owned(), Symptom::CrdMissing, cause, remedy.to_owned());
        }
        served
    }

    fn namespaces(&mut self) {
        for (name, there) in &self.snapshot.namespaces {
            if *there {
                self.good("namespaces", name.clone());
            } else {
                let (cause, remedy) = ("the namespace is not there".to_owned(), format!("kubectl create namespace {name}"));
                self.bad("namespaces", name.clone(), Symptom::NamespaceMissing, cause, remedy);
            }
        }
    }

    /// The command that restarts the controller.
    fn restart(&self) -> String {
        let (namespace, service) = self.wanted.controller;
        let name = self.snapshot.controller.as_ref().map_or(service, |deployment| text(deployment, "/metadata/name"));
        format!("kubectl -n {namespace} rollout restart deployment/{name}")
    }

    fn controller(&mut self) -> Controller {
        const CATEGORY: &str = "controller";
        let (namespace, name) = self.wanted.controller;
        let what = format!("{namespace}/{name}");
        let Some(deployment) = &self.snapshot.controller else {
            let cause = format!("there is no sealed-secrets controller in `{namespace}`");
            let remedy = "step 2 of out/INSTALL.md; elsewhere? name it with --controller-namespace and --controller-name".to_owned();
            self.bad(CATEGORY, what, Symptom::ControllerMissing, cause, remedy);
            return Controller::Down;
        };
        if !is_available(deployment) {
            let (cause, remedy) = self.why_down(deployment);
            self.bad(CATEGORY, what, Symptom::ControllerDown, cause, remedy);
            return Controller::Down;
        }
        self.good(CATEGORY, format!("{what} runs"));
        self.renewal(deployment, namespace);
        if self.certificate() { Controller::Serving } else { Controller::Strange }
    }

    fn why_down(&self, deployment: &Value) -> (String, String) {
        let (namespace, name) = (self.wanted.controller.0, text(deployment, "/metadata/name"));
        if deployment.pointer("/spec/replicas").and_then(Value::as_u64) == Some(0) {
            return ("it is scaled to nothing".to_owned(), format!("kubectl -n {namespace} scale deployment/{name} --replicas=1"));
        }
        match self.put_aside() {
            Some(put_aside) => {
                let cause =
                    "a Pod of it does not come up: a key Secret that is no RSA key in PEM crashes it, and one is not ours".to_owned();
                (cause, format!("{put_aside} && {}", self.restart()))
            }
            None => ("a Pod of it does not come up".to_owned(), format!("kubectl -n {namespace} logs deployment/{name} --previous")),
        }
    }

    /// The command that takes the label from the key Secrets that are not ours. It can be undone; what is sealed to them is not opened until then.
    fn put_aside(&self) -> Option<String> {
        let mut keys: Vec<&Value> = self.snapshot.keys.iter().collect();
        keys.sort_by_key(|key| text(key, "/metadata/creationTimestamp"));
        let names: Vec<&str> = keys.iter().map(|key| text(key, "/metadata/name")).collect();
        let strange = match names.contains(&KEY_SECRET) {
            true => names.into_iter().filter(|name| *name != KEY_SECRET).collect(),
            // Ours has another name: the newest is the one that came between.
            false if names.len() > 1 => vec![names[names.len() - 1]],
            false => Vec::new(),
        };
        let namespace = self.wanted.controller.0;
        (!strange.is_empty())
            .then(|| format!("kubectl -n {namespace} label secret {} {KEY_LABEL}=compromised --overwrite", strange.join(" ")))
    }

    /// Whether it serves the pinned certificate.
    fn certificate(&mut self) -> bool {
        const CATEGORY: &str = "controller";
        let ((namespace, name), pinned) = (self.wanted.controller, self.wanted.certificate);
        let what = "its certificate".to_owned();
        let Some(served) = self.snapshot.served else {
            let here = self.snapshot.services.iter().any(|service| service == name);
            let other = self.snapshot.services.first().filter(|_| !here);
            let (cause, remedy) = match other {
                Some(other) => {
                    (format!("there is no Service `{name}`, but one called `{other}`"), format!("add --controller-name {other}"))
                }
                None if here => (format!("its Service `{name}` does not answer"), self.restart()),
                None => (format!("there is no Service `{name}` for it in `{namespace}`"), "step 2 of out/INSTALL.md".to_owned()),
            };
            self.bad(CATEGORY, what, Symptom::ServiceMissing, cause, remedy);
            return false;
        };
        if served == pinned {
            self.good(CATEGORY, format!("it serves the pinned certificate {served}"));
            return true;
        }
        let cause = format!("it serves {served}, and keys/sealing.crt is {pinned}");
        match self.put_aside() {
            Some(put_aside) => {
                let remedy = format!("{put_aside} && {}", self.restart());
                self.bad(CATEGORY, what, Symptom::SeveralKeys, format!("{cause}: it has several keys, and serves the newest"), remedy);
            }
            None => {
                let remedy =
                    format!("seal-secrets key-secret --controller-namespace {namespace} | kubectl apply -f - && {}", self.restart());
                self.bad(CATEGORY, what, Symptom::CertificateDiffers, cause, remedy);
            }
        }
        false
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
        self.warn("controller", "its renewal period".to_owned(), Symptom::KeyRenewal, cause, remedy);
    }

    /// The SealedSecret in its place.
    fn in_place(&self, name: &Name) -> Option<&Value> {
        let namespace = self.wanted.contract.namespace.as_str();
        let here = |object: &&Value| text(object, "/metadata/name") == name.as_str() && text(object, "/metadata/namespace") == namespace;
        self.snapshot.sealed.iter().find(here)
    }

    fn sealed(&mut self, name: &Name, controller: Controller) {
        const CATEGORY: &str = "sealed secrets";
        let namespace = self.wanted.contract.namespace.as_str();
        let Some(object) = self.in_place(name) else {
            // kustomize changes the object's own name and namespace, and not those inside the template.
            let sealed_as = |object: &&Value| {
                text(object, "/spec/template/metadata/name") == name.as_str()
                    && text(object, "/spec/template/metadata/namespace") == namespace
            };
            let Some(moved) = self.snapshot.sealed.iter().find(sealed_as) else {
                let cause = format!("the SealedSecret `{name}` is not in `{namespace}`");
                return self.bad(CATEGORY, name.to_string(), Symptom::SealedSecretMissing, cause, APPLY_SOURCE.to_owned());
            };
            let (place, called) = (text(moved, "/metadata/namespace"), text(moved, "/metadata/name"));
            let cause = format!(
                "it is `{place}/{called}` in the cluster, and opens as `{namespace}/{name}` only: a kustomization sets namePrefix, nameSuffix or namespace"
            );
            let remedy = format!("{APPLY_SOURCE} && kubectl -n {place} delete sealedsecret {called}");
            return self.bad(CATEGORY, name.to_string(), Symptom::SealedSecretMoved, cause, remedy);
        };
        let number = |path: &str| object.pointer(path).and_then(Value::as_u64);
        let current = number("/metadata/generation") == number("/status/observedGeneration");
        match condition(object, "Synced") {
            Some(("True", _)) if current => self.good(CATEGORY, name.to_string()),
            _ if controller == Controller::Down => self.skip(CATEGORY, name.as_str()),
            Some(("False", message)) if current => match self.why_sealed(name, object, message, controller) {
                Some((symptom, cause, remedy)) => self.bad(CATEGORY, name.to_string(), symptom, cause, remedy),
                None => self.skip(CATEGORY, name.as_str()),
            },
            _ => {
                let cause = "the controller has not looked at its newest state".to_owned();
                self.bad(CATEGORY, name.to_string(), Symptom::SealedSecretPending, cause, self.restart());
            }
        }
    }

    /// Why it is not unsealed; none where the controller's own fault explains it.
    fn why_sealed(&self, name: &Name, object: &Value, message: &str, controller: Controller) -> Option<(Symptom, String, String)> {
        let annotation = text(object, "/metadata/annotations/seal-secrets~1certificate");
        let restart = self.restart();
        let why = if message.contains("no key could decrypt") {
            if annotation != self.wanted.certificate.to_string() {
                let sealed_to = if annotation.is_empty() { "an unknown key".to_owned() } else { visible(annotation) };
                let cause = format!("it is sealed to {sealed_to}, not to the pinned certificate");
                (Symptom::SealedToAnotherKey, cause, APPLY_SOURCE.to_owned())
            } else if controller == Controller::Serving {
                let cause = "it arrived before its key, or its text was changed; the controller gave up".to_owned();
                (Symptom::KeyCameLater, cause, format!("{APPLY_SOURCE} && {restart}"))
            } else {
                return None;
            }
        } else if message.contains("illegal base64") {
            (Symptom::SealedSecretCorrupt, visible(message), format!("git checkout -- out/secret-source && {APPLY_SOURCE}"))
        } else if message.contains("already exists and is not managed") {
            let namespace = &self.wanted.contract.namespace;
            let adopt = format!("kubectl -n {namespace} annotate secret {name} sealedsecrets.bitnami.com/managed=true --overwrite");
            let there = self.snapshot.sources.get(name).is_some_and(Option::is_some);
            let cause = format!("a Secret of that name {} there, and not the controller's", if there { "is" } else { "was" });
            (Symptom::SecretInTheWay, cause, if there { format!("{adopt} && {restart}") } else { restart })
        } else {
            (Symptom::SealedSecretFailed, visible(message), format!("{APPLY_SOURCE} && {restart}"))
        };
        Some(why)
    }

    fn is_unsealed(&self, name: &Name) -> bool {
        self.in_place(name).and_then(|object| condition(object, "Synced")).is_some_and(|(status, _)| status == "True")
    }

    fn source(&mut self, name: &Name) {
        const CATEGORY: &str = "source secrets";
        if !self.is_unsealed(name) {
            return self.skip(CATEGORY, name.as_str());
        }
        let namespace = &self.wanted.contract.namespace;
        // In the foreground: the next one would find the old Secret in its way.
        let again = format!("kubectl -n {namespace} delete sealedsecret {name} --cascade=foreground && {APPLY_SOURCE}");
        match self.snapshot.sources.get(name).and_then(Option::as_ref) {
            None => {
                let cause = format!("the Secret `{name}` is not in `{namespace}`, though its SealedSecret is synced");
                self.bad(CATEGORY, name.to_string(), Symptom::SourceMissing, cause, again);
            }
            Some(metadata) if !has_value(metadata) => {
                let cause = format!("the Secret `{name}` has no data key `{PROPERTY}`");
                self.bad(CATEGORY, name.to_string(), Symptom::SourceWithoutValue, cause, again);
            }
            Some(_) => self.good(CATEGORY, name.to_string()),
        }
    }

    fn operator(&mut self) -> bool {
        let namespace = &self.wanted.contract.reader.namespace;
        let remedy = match &self.snapshot.operator {
            Some(deployment) if is_available(deployment) => {
                self.good("store", "the External Secrets Operator runs".to_owned());
                return true;
            }
            Some(deployment) => {
                let name = text(deployment, "/metadata/name");
                match deployment.pointer("/spec/replicas").and_then(Value::as_u64) {
                    Some(0) => format!("kubectl -n {namespace} scale deployment/{name} --replicas=1"),
                    _ => format!("kubectl -n {namespace} logs deployment/{name} --previous"),
                }
            }
            None => "install it: step 3 of out/INSTALL.md".to_owned(),
        };
        let cause = format!("the External Secrets Operator does not run in `{namespace}`");
        self.bad("store", "the External Secrets Operator".to_owned(), Symptom::OperatorDown, cause, remedy);
        false
    }

    /// Whether it is ready.
    fn store(&mut self, operator: bool) -> bool {
        let contract = self.wanted.contract;
        let (what, account) = (contract.store.to_string(), self.snapshot.account);
        // ESO looks at a store again after five minutes, or when it changes.
        let again = format!("{APPLY_STORE} && kubectl annotate clustersecretstore {} force-sync=$(date +%s) --overwrite", contract.store);
        if !account {
            let cause = format!("the account `{}/{}` is not there", contract.reader.namespace, contract.reader.name);
            self.bad("store", contract.reader.name.to_string(), Symptom::AccountMissing, cause, again.clone());
        }
        let Some(store) = &self.snapshot.store else {
            let cause = format!("there is no ClusterSecretStore `{}`", contract.store);
            self.bad("store", what, Symptom::StoreMissing, cause, APPLY_STORE.to_owned());
            return false;
        };
        let ca = store.pointer("/spec/provider/kubernetes/server/caProvider");
        if ca.is_some_and(|ca| ca.get("namespace").is_none()) {
            let cause = "`caProvider.namespace` is missing, which a ClusterSecretStore needs".to_owned();
            self.bad("store", what, Symptom::CaNamespaceMissing, cause, APPLY_STORE.to_owned());
            return false;
        }
        if is_ready(store) {
            self.good("store", what);
            return account;
        }
        if account && operator {
            let message = newest(&self.snapshot.store_events).or(condition(store, "Ready").map(|(_, message)| message));
            let cause = visible(message.unwrap_or("the operator has not looked at it"));
            self.bad("store", what, Symptom::StoreNotReady, cause, again);
        } else {
            self.skip("store", &what);
        }
        false
    }

    fn access(&mut self) {
        for name in self.snapshot.access.iter().filter(|(_, allowed)| !**allowed).map(|(name, _)| name) {
            let reader = &self.wanted.contract.reader;
            let cause = format!("the account `{}/{}` may not get the Secret `{name}`", reader.namespace, reader.name);
            self.bad("store", name.to_string(), Symptom::RoleWithoutName, cause, APPLY_SOURCE.to_owned());
        }
    }

    fn reader(&mut self, reader: &Reader, operator: bool, store: bool) {
        const CATEGORY: &str = "external secrets";
        let consumer: &Consumer = &self.wanted.contract.consumers[reader.index];
        let Some(name) = &consumer.name else { return };
        let what = format!("{}/{name}", consumer.namespace);
        let Some(object) = &reader.object else {
            let cause = format!("the ExternalSecret `{name}` is not in `{}`", consumer.namespace);
            let remedy = "sync the platform's Application that holds it".to_owned();
            return self.warn(CATEGORY, what, Symptom::ExternalSecretMissing, cause, remedy);
        };
        if let Some((symptom, cause, remedy)) = property(consumer, name, object) {
            return self.bad(CATEGORY, what, symptom, cause, remedy);
        }
        if let Some(entry) = consumer.entries.iter().find(|entry| !self.wanted.sealed.contains_key(&entry.key)) {
            let (cause, remedy) =
                (format!("`{}` is not sealed yet", entry.key), format!("seal-secrets bootstrap --provide {}=FILE", entry.key));
            return self.warn(CATEGORY, what, Symptom::NotSealedYet, cause, remedy);
        }
        let force = format!("kubectl -n {} annotate externalsecret {name} force-sync=$(date +%s) --overwrite", consumer.namespace);
        if self.snapshot.store.as_ref().is_some_and(|store| !lets_in(store, consumer.namespace.as_str())) {
            let cause =
                format!("`conditions` of the store `{}` do not name the namespace `{}`", self.wanted.contract.store, consumer.namespace);
            return self.bad(CATEGORY, what, Symptom::NamespaceNotAllowed, cause, format!("{APPLY_STORE} && {force}"));
        }
        let sound = |key: &Name| {
            let source = self.snapshot.sources.get(key).and_then(Option::as_ref);
            source.is_some_and(has_value) && self.snapshot.access.get(key) != Some(&false)
        };
        if is_ready(object) {
            self.good(CATEGORY, what.clone());
            self.target(reader, object, what, force, operator && store);
        } else if !operator || !store || !consumer.entries.iter().all(|entry| sound(&entry.key)) {
            self.skip(CATEGORY, &what);
        } else {
            let message = newest(&reader.events).or(condition(object, "Ready").map(|(_, message)| message));
            let cause = visible(message.unwrap_or("the operator has not looked at it"));
            self.bad(CATEGORY, what, Symptom::ExternalSecretFailed, cause, force);
        }
    }

    fn target(&mut self, reader: &Reader, object: &Value, what: String, force: String, works: bool) {
        let consumer: &Consumer = &self.wanted.contract.consumers[reader.index];
        let refreshed = text(object, "/status/refreshTime");
        let sources = &self.snapshot.sources;
        let newer = |key: &Name| sources.get(key).and_then(Option::as_ref).is_some_and(|source| written(source) > refreshed);
        // A source that the controller did not write has its own check.
        let newer = consumer.entries.iter().find(|entry| newer(&entry.key) && self.is_unsealed(&entry.key));
        let fault = if reader.target.is_none() {
            let cause = format!("the target Secret `{}` is not in `{}`", consumer.target, consumer.namespace);
            (Symptom::TargetMissing, cause)
        } else if let Some(entry) = newer {
            let cause = format!("`{}` was written after the target was refreshed at {}", entry.key, visible(refreshed));
            (Symptom::TargetStale, cause)
        } else {
            return self.good("targets", what);
        };
        if works { self.bad("targets", what, fault.0, fault.1, force) } else { self.skip("targets", &what) }
    }
}

/// Entries of ours that do not read the one property; what mends them in the cluster.
fn property(consumer: &Consumer, name: &Name, object: &Value) -> Option<(Symptom, String, String)> {
    let entries = object.pointer("/spec/data").and_then(Value::as_array).into_iter().flatten().enumerate();
    let ours = |entry: &Value| consumer.entries.iter().any(|one| one.key.as_str() == text(entry, "/remoteRef/key"));
    let wrong = entries.filter(|(_, entry)| ours(entry) && text(entry, "/remoteRef/property") != PROPERTY);
    let wrong: Vec<(usize, &Value)> = wrong.collect();
    let (_, first) = wrong.first()?;
    let key = visible(text(first, "/remoteRef/key"));
    let lasting = "in git `seal-secrets patch` mends it";
    let (symptom, cause) = match text(first, "/remoteRef/property") {
        "" => (Symptom::PropertyMissing, format!("it reads `{key}` without a property, so its target holds JSON; {lasting}")),
        other => (Symptom::PropertyWrong, format!("it reads the property `{}` of `{key}`, not `{PROPERTY}`; {lasting}", visible(other))),
    };
    let add =
        |(index, _): &(usize, &Value)| format!(r#"{{"op":"add","path":"/spec/data/{index}/remoteRef/property","value":"{PROPERTY}"}}"#);
    let patch = wrong.iter().map(add).collect::<Vec<_>>().join(",");
    let remedy = format!("kubectl -n {} patch externalsecret {name} --type=json -p '[{patch}]'", consumer.namespace);
    Some((symptom, cause, remedy))
}
