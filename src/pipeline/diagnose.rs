//! Compares what a cluster showed with what it should have: follows each value from its SealedSecret to its target.
//! It recognises the messages of sealed-secrets 0.36 and of the External Secrets Operator 0.20.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::model::{CertificateDigest, Check, Contract, Delivery, Name, Namespace, PROPERTY, Places, Status, Symptom, quoted};

pub mod controller;
mod external_secrets;

/// What was looked at. No value of any Secret is in it.
#[derive(Default)]
pub struct Snapshot {
    pub user: String,
    pub version: String,
    /// The API server's time and ours, if it told its own.
    pub clocks: Option<(SystemTime, SystemTime)>,
    /// Whether the resources of sealed-secrets and ESO are served.
    pub apis: BTreeMap<&'static str, bool>,
    pub namespaces: BTreeMap<String, bool>,
    pub controller: Option<Value>,
    /// The Services with the same label.
    pub services: Vec<String>,
    /// The certificate that it serves, if it serves one.
    pub served: Option<CertificateDigest>,
    pub keys: Vec<Value>,
    pub sealed: Vec<Value>,
    pub sources: BTreeMap<Name, Option<Value>>,
    /// The Deployment of the External Secrets Operator.
    pub external_secrets: Option<Value>,
    /// Whether the reader's account exists, by namespace.
    pub accounts: BTreeMap<Namespace, bool>,
    /// Which keys the account of a namespace may get.
    pub access: BTreeMap<(Namespace, Name), bool>,
    pub stores: Vec<Store>,
    pub consumers: Vec<LiveConsumer>,
    /// The rights that this account lacks, and for which part of the way.
    pub forbidden: BTreeMap<Part, BTreeSet<String>>,
}

/// A part of a value's way that one right gives access to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "they are the fields of a snapshot")]
pub enum Part {
    Apis,
    Namespaces,
    Controller,
    Certificate,
    Keys,
    Sealed,
    Sources,
    ExternalSecrets,
    Accounts,
    Access,
    Stores,
    Consumers,
    Targets,
    Events,
}

pub struct Store {
    /// None = a store for the whole cluster.
    pub namespace: Option<Namespace>,
    pub object: Option<Value>,
    pub events: Vec<Value>,
}

/// One consumer in the cluster.
pub struct LiveConsumer {
    pub index: usize,
    pub object: Option<Value>,
    pub events: Vec<Value>,
    pub target: Option<Value>,
}

/// What the cluster should have.
pub struct Wanted<'w> {
    pub contract: &'w Contract,
    pub delivery: &'w Delivery,
    pub certificate: CertificateDigest,
    /// The keys that are sealed in the output folder, and to which certificate.
    pub sealed: &'w BTreeMap<Name, Option<CertificateDigest>>,
    pub controller: (&'w str, &'w str),
    pub places: &'w Places,
}

/// The APIs that have to be served: the product, the group, its resources.
pub fn apis(delivery: &Delivery) -> [(&'static str, &'static str, Vec<&'static str>); 2] {
    [
        ("sealed-secrets", "bitnami.com/v1alpha1", vec!["sealedsecrets"]),
        ("External Secrets Operator", "external-secrets.io/v1", vec![delivery.store_kind.resource(), "externalsecrets"]),
    ]
}

/// Every check, in the order of a value's way.
pub fn diagnose(snapshot: &Snapshot, wanted: &Wanted<'_>) -> Vec<Check> {
    let mut checks = Checks { snapshot, wanted, list: Vec::new() };
    checks.good("api server", format!("{}, as {}", snapshot.version, snapshot.user));
    checks.forbidden();
    checks.clocks();
    let out = quoted(&wanted.places.out);
    let sealed_api = checks.api(0, format!("install the sealed-secrets controller: step 2 of {out}/INSTALL.md"));
    let external_secrets_api = checks.api(1, format!("install the External Secrets Operator with its CRDs: step 3 of {out}/INSTALL.md"));
    checks.namespaces();
    let controller = checks.controller();
    if !sealed_api || !checks.is_there(&wanted.contract.namespace) {
        checks.skip("sealed secrets", "every SealedSecret");
    } else if checks.may(Part::Sealed, "sealed secrets", "every SealedSecret") {
        wanted.sealed.keys().for_each(|name| checks.sealed(name, controller));
    }
    if checks.may(Part::Sources, "source secrets", "every source Secret") {
        wanted.sealed.keys().for_each(|name| checks.source(name));
    }
    let runs = checks.external_secrets();
    if !external_secrets_api {
        checks.skip("stores", "every store and every ExternalSecret");
        return checks.list;
    }
    checks.accounts();
    let ready = checks.stores(runs);
    if checks.may(Part::Consumers, "external secrets", "every ExternalSecret") {
        snapshot.consumers.iter().for_each(|live| checks.consumer(live, runs, &ready));
    }
    checks.list
}

/// The name of the Secret that an ExternalSecret writes.
pub fn target_of(object: &Value) -> &str {
    match text(object, "/spec/target/name") {
        "" => text(object, "/metadata/name"),
        name => name,
    }
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

/// Whether every Pod is available, during an update the new one too.
fn is_available(deployment: &Value) -> bool {
    let count = |path: &str| deployment.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    count("/status/availableReplicas") > 0 && count("/status/unavailableReplicas") == 0
}

fn is_ready(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|(status, _)| status == "True")
}

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

    /// The output folder, as a shell takes it.
    fn out(&self) -> String {
        quoted(&self.wanted.places.out)
    }

    /// The command that applies the sealed secrets and the Roles.
    fn apply_source(&self) -> String {
        format!("kubectl apply -k {}/secret-source", self.out())
    }

    /// The command that applies the accounts and the stores.
    fn apply_store(&self) -> String {
        let file =
            self.wanted.delivery.store_file.as_ref().map_or(String::new(), |file| format!(" && kubectl apply -f {}", quoted(&file.path)));
        format!("kubectl apply -k {}/secret-store{file}", self.out())
    }

    /// Whether a namespace exists; true if that is unknown.
    fn is_there(&self, namespace: &Namespace) -> bool {
        self.snapshot.namespaces.get(namespace.as_str()).copied().unwrap_or(true)
    }

    /// Whether this account may look at a part of the way; if not, its checks are skipped.
    fn may(&mut self, part: Part, category: &'static str, what: &str) -> bool {
        let may = !self.snapshot.forbidden.contains_key(&part);
        if !may {
            self.skip(category, what);
        }
        may
    }

    /// What this account may not look at.
    fn forbidden(&mut self) {
        let rights: BTreeSet<&str> = self.snapshot.forbidden.values().flatten().map(String::as_str).collect();
        if rights.is_empty() {
            return;
        }
        let cause = format!("this account may not {}", rights.into_iter().collect::<Vec<_>>().join(", "));
        let (name, user) = ("seal-secrets-doctor", &self.snapshot.user);
        let (namespace, service) = self.wanted.controller;
        let program = self
            .wanted
            .places
            .command(&format!("doctor --print-rbac=doctor --controller-namespace {namespace} --controller-name {service}"));
        let remedy = format!(
            "{program} | kubectl apply -f - && \
             kubectl create clusterrolebinding {name} --clusterrole={name} --user='{user}' && \
             kubectl -n {namespace} create rolebinding {name} --role={name} --user='{user}'"
        );
        self.bad("api server", user.clone(), Symptom::Forbidden, cause, remedy);
    }

    /// Whether this machine and the API server agree on the time, which certificates depend on.
    fn clocks(&mut self) {
        const MOST: Duration = Duration::from_secs(5 * 60);
        let Some((theirs, ours)) = self.snapshot.clocks else { return };
        let (by, how) = match ours.duration_since(theirs) {
            Ok(by) => (by, "ahead of"),
            Err(error) => (error.duration(), "behind"),
        };
        if by > MOST {
            let cause = format!("this machine's clock is {} minutes {how} the API server's", by.as_secs() / 60);
            let remedy = "timedatectl set-ntp true, on the machine whose clock is wrong".to_owned();
            self.warn("api server", "its clock".to_owned(), Symptom::ClockSkew, cause, remedy);
        }
    }

    fn api(&mut self, index: usize, remedy: String) -> bool {
        let (name, group, resources) = &apis(self.wanted.delivery)[index];
        let Some(served) = self.snapshot.apis.get(group).copied() else { return true };
        if served {
            self.good("api server", format!("{group} is served"));
        } else {
            let cause =
                format!("the API server does not serve {} of {group}: the CRDs of {name} are not installed", resources.join(" and "));
            self.bad("api server", (*group).to_owned(), Symptom::CrdMissing, cause, remedy);
        }
        served
    }

    fn namespaces(&mut self) {
        if !self.may(Part::Namespaces, "namespaces", "every namespace") {
            return;
        }
        let contract = self.wanted.contract;
        let needed = [contract.namespace.as_str(), contract.reader.namespace.as_str(), self.wanted.controller.0];
        for (name, there) in &self.snapshot.namespaces {
            let (cause, create) = ("the namespace does not exist".to_owned(), format!("kubectl create namespace {name}"));
            if *there {
                self.good("namespaces", name.clone());
            } else if needed.contains(&name.as_str()) {
                self.bad("namespaces", name.clone(), Symptom::NamespaceMissing, cause, create);
            } else {
                let remedy = format!("{create} && {}", self.apply_store());
                self.warn("namespaces", name.clone(), Symptom::NamespaceMissing, cause, remedy);
            }
        }
    }
}
