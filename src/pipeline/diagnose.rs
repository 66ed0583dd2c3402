//! Compares a cluster with what it should have. It follows each value from its SealedSecret to its target, and asks at each place whether
//! the object is ours, not only whether it is ready. It knows the messages of sealed-secrets 0.36 to 0.40, and of the External Secrets
//! Operator 0.20 to 2.9.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use self::object::{is_wanted, leaving, list, place, text};
use crate::model::{
    CertificateDigest, Check, Contract, Delivery, Name, Namespace, Places, Remedy, Sorted, Status, Symptom, one_for_each_cause, quoted,
    visible,
};

pub mod controller;
mod external_secret;
mod object;
pub mod operator;
mod sealed;

pub use object::target_of;
pub use sealed::SealedHere;

/// What was read from the cluster. It holds no value of any Secret.
#[derive(Default)]
pub struct Snapshot {
    pub user: String,
    pub version: String,
    /// The API server's time, if it sent one, and ours.
    pub clocks: Option<(SystemTime, SystemTime)>,
    /// Whether the resources of sealed-secrets and ESO are served.
    pub apis: BTreeMap<&'static str, bool>,
    /// The namespaces that were asked for; none = the namespace does not exist.
    pub namespaces: BTreeMap<String, Option<Value>>,
    /// The controller's Deployment.
    pub controller: Option<Value>,
    /// Every Deployment of a sealed-secrets controller in the cluster.
    pub controllers: Vec<Value>,
    /// The Services in the controller's namespace that may be the controller's.
    pub services: Vec<String>,
    /// The certificate that the controller serves, if any.
    pub served: Option<CertificateDigest>,
    /// Whether every account of the cluster may call the controller through the API server.
    pub open_to_all: Option<bool>,
    /// The key Secrets with the label `active`.
    pub keys: Vec<Value>,
    /// The Secret whose name the controller loads whatever its label.
    pub first_key: Option<Value>,
    pub sealed: Vec<Value>,
    pub sources: BTreeMap<Name, Option<Value>>,
    /// The Deployments of the External Secrets Operator.
    pub operators: Vec<Value>,
    /// The Deployments of ESO's webhook.
    pub webhooks: Vec<Value>,
    /// The configurations that send objects to that webhook.
    pub webhook_configurations: Vec<Value>,
    /// By namespace, whether the reader's account exists.
    pub accounts: BTreeMap<Namespace, bool>,
    /// Which keys the account of a namespace may read.
    pub access: BTreeMap<(Namespace, Name), bool>,
    pub stores: Vec<Store>,
    pub consumers: Vec<LiveConsumer>,
    /// The warnings about stores and ExternalSecrets.
    pub events: Vec<Value>,
    /// The rights that this account lacks, by the part of the way that needs them.
    pub forbidden: BTreeMap<Part, BTreeSet<String>>,
}

/// A part of a value's way that one right opens.
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
    Operator,
    Webhook,
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
}

/// A consumer in the cluster.
pub struct LiveConsumer {
    pub index: usize,
    pub object: Option<Value>,
    pub target: Option<Value>,
}

/// What the cluster should have.
pub struct Wanted<'w> {
    pub contract: &'w Contract,
    pub delivery: &'w Delivery,
    pub certificate: CertificateDigest,
    /// Whether the escrow with its private key is here: then the key Secret is ours to apply.
    pub own_key: bool,
    /// The SealedSecrets of the output folder.
    pub sealed: &'w BTreeMap<Name, SealedHere>,
    pub controller: (&'w str, &'w str),
    pub places: &'w Places,
}

/// The APIs that the cluster has to serve: the product, the group, its resources.
pub fn apis(delivery: &Delivery) -> [(&'static str, &'static str, Vec<&'static str>); 2] {
    [
        ("sealed-secrets", "bitnami.com/v1alpha1", vec!["sealedsecrets"]),
        ("External Secrets Operator", "external-secrets.io/v1", vec![delivery.store_kind.resource(), "externalsecrets"]),
    ]
}

/// Runs every check, in the order of a value's way; one cause gives one check.
pub fn diagnose(snapshot: &Snapshot, wanted: &Wanted<'_>) -> Vec<Check> {
    let namespace = wanted.contract.namespace.as_str();
    let here = snapshot.sealed.iter().filter(|object| text(object, "/metadata/namespace") == namespace);
    let sealed = here.map(|object| (text(object, "/metadata/name"), object)).sorted();
    let mut checks = Checks { snapshot, wanted, sealed, list: Vec::new() };
    checks.good("api server", format!("{}, as {}", snapshot.version, snapshot.user));
    checks.forbidden();
    checks.clocks();
    let out = quoted(&wanted.places.out);
    let sealed_api = checks.api(0, format!("install the sealed-secrets controller: step 2 of {out}/INSTALL.md"));
    let operator_api = checks.api(1, format!("install the External Secrets Operator with its CRDs: step 3 of {out}/INSTALL.md"));
    checks.namespaces();
    let controller = checks.controller();
    let lives = checks.is_there(wanted.contract.namespace.as_str());
    if !sealed_api || !lives {
        checks.skip("sealed secrets", "every SealedSecret");
    } else if checks.may(Part::Sealed, "sealed secrets", "every SealedSecret") {
        wanted.sealed.keys().for_each(|name| checks.sealed(name, controller));
    }
    if checks.may(Part::Sources, "source secrets", "every source Secret") {
        wanted.sealed.keys().for_each(|name| checks.source(name));
    }
    let operator = checks.operator();
    if !operator_api {
        checks.skip("stores", "every store and every ExternalSecret");
        return one_for_each_cause(checks.list);
    }
    checks.accounts();
    let ready = checks.stores(operator);
    if checks.may(Part::Consumers, "external secrets", "every ExternalSecret") {
        let start = checks.list.len();
        snapshot.consumers.iter().for_each(|live| checks.consumer(live, operator, &ready));
        // The targets come after all ExternalSecrets.
        checks.list[start..].sort_by_key(|check| check.category);
    }
    one_for_each_cause(checks.list)
}

struct Checks<'c> {
    snapshot: &'c Snapshot,
    wanted: &'c Wanted<'c>,
    /// The SealedSecrets in the contract's namespace, by name.
    sealed: BTreeMap<&'c str, &'c Value>,
    list: Vec<Check>,
}

/// A fault: its code, why, what to do.
struct Fault(Symptom, String, Remedy);

impl Fault {
    fn new(symptom: Symptom, cause: impl Into<String>, remedy: impl Into<Remedy>) -> Self {
        Fault(symptom, cause.into(), remedy.into())
    }
}

fn advice(text: impl Into<String>) -> Remedy {
    Remedy::Advice(text.into())
}

/// The help for an object of ours that is being deleted.
const GOES_FIRST: &str = "who owns its finalizers has to remove them; once it is gone, apply it again";

/// The command that starts a Deployment, if a command can.
fn start(deployment: &Value) -> Remedy {
    let (namespace, name) = place(deployment);
    match is_wanted(deployment) {
        false => format!("kubectl -n {namespace} scale deployment/{name} --replicas=1").into(),
        true => advice(format!("its log says why: kubectl -n {namespace} logs deployment/{name} --previous")),
    }
}

/// A refusal that the API server gives to any controller; `again` makes that controller try again.
fn refused(message: &str, again: &str) -> Option<Fault> {
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let (symptom, who) = if has(&["exceeded quota"]) {
        (Symptom::QuotaExceeded, "who administers the namespace has to raise its ResourceQuota, or to remove what fills it")
    } else if has(&["failed calling webhook"]) {
        (Symptom::AdmissionDenied, "an admission webhook does not answer: who runs it has to repair it, or to remove its configuration")
    } else if has(&["denied the request", "denied request", "violates PodSecurity"]) {
        (Symptom::AdmissionDenied, "who administers the cluster has to let this Secret through the admission policy that is named")
    } else {
        return None;
    };
    Some(Fault::new(symptom, visible(message), advice(format!("{who}; then {again}"))))
}

impl Checks<'_> {
    fn add(&mut self, category: &'static str, what: String, status: Status, fault: Option<Fault>) {
        let (symptom, cause, remedy) = match fault {
            Some(Fault(symptom, cause, remedy)) => (Some(symptom), cause, remedy),
            None => (None, String::new(), advice("")),
        };
        self.list.push(Check { category, what: vec![what], status, symptom, cause, remedy });
    }

    fn good(&mut self, category: &'static str, what: impl Into<String>) {
        self.add(category, what.into(), Status::Good, None);
    }

    /// Whether a fault was found at or before the key's source Secret.
    fn is_faulty(&self, key: &Name) -> bool {
        let of_it = |check: &&Check| ["sealed secrets", "source secrets"].contains(&check.category) && check.what[0] == key.as_str();
        self.list.iter().filter(of_it).any(|check| check.status == Status::Bad)
    }

    fn skip(&mut self, category: &'static str, what: &str) {
        self.add(category, what.to_owned(), Status::Skipped, None);
        self.list.last_mut().expect("one was just added").cause = "it depends on a check that failed".to_owned();
    }

    fn bad(&mut self, category: &'static str, what: impl Into<String>, fault: Fault) {
        self.add(category, what.into(), Status::Bad, Some(fault));
    }

    fn warn(&mut self, category: &'static str, what: impl Into<String>, fault: Fault) {
        self.add(category, what.into(), Status::Warning, Some(fault));
    }

    /// The output folder, quoted for a shell.
    fn out(&self) -> String {
        quoted(&self.wanted.places.out)
    }

    /// The command that applies the SealedSecrets and the Roles.
    fn apply_source(&self) -> String {
        format!("kubectl apply -k {}/secret-source", self.out())
    }

    /// The commands that apply the accounts and the stores.
    fn apply_store(&self) -> Vec<String> {
        let file = self.wanted.delivery.store_file.as_ref().map(|file| format!("kubectl apply -f {}", quoted(&file.path)));
        [format!("kubectl apply -k {}/secret-store", self.out())].into_iter().chain(file).collect()
    }

    /// Whether a namespace exists and can hold objects; true if unknown.
    fn is_there(&self, namespace: &str) -> bool {
        self.snapshot.namespaces.get(namespace).is_none_or(|found| found.as_ref().is_some_and(|found| stuck(found).is_none()))
    }

    /// The API server's time, or ours, in seconds since 1970.
    fn now(&self) -> Option<u64> {
        let (theirs, _) = self.snapshot.clocks?;
        Some(theirs.duration_since(UNIX_EPOCH).ok()?.as_secs())
    }

    /// Whether this account may read a part of the way; if not, its checks are skipped.
    fn may(&mut self, part: Part, category: &'static str, what: &str) -> bool {
        let may = !self.snapshot.forbidden.contains_key(&part);
        if !may {
            self.skip(category, what);
        }
        may
    }

    /// Reports what this account may not read.
    fn forbidden(&mut self) {
        let rights: BTreeSet<&str> = self.snapshot.forbidden.values().flatten().map(String::as_str).sorted();
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
        let remedy = [
            format!("{program} | kubectl apply -f -"),
            format!("kubectl create clusterrolebinding {name} --clusterrole={name} --user='{user}'"),
            format!("kubectl -n {namespace} create rolebinding {name} --role={name} --user='{user}'"),
        ];
        self.bad("api server", user.clone(), Fault::new(Symptom::Forbidden, cause, remedy));
    }

    /// Checks that this machine and the API server agree on the time, because certificates depend on it.
    fn clocks(&mut self) {
        const MOST: Duration = Duration::from_secs(5 * 60);
        let Some((theirs, ours)) = self.snapshot.clocks else { return };
        let (by, how) = match ours.duration_since(theirs) {
            Ok(by) => (by, "ahead of"),
            Err(error) => (error.duration(), "behind"),
        };
        if by > MOST {
            let cause = format!("this machine's clock is {} minutes {how} the API server's", by.as_secs() / 60);
            let remedy = advice("set the clock of the machine where it is wrong: `timedatectl set-ntp true`");
            self.warn("api server", "its clock", Fault::new(Symptom::ClockSkew, cause, remedy));
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
            self.bad("api server", *group, Fault::new(Symptom::CrdMissing, cause, advice(remedy)));
        }
        served
    }

    fn namespaces(&mut self) {
        const CATEGORY: &str = "namespaces";
        if !self.may(Part::Namespaces, CATEGORY, "every namespace") {
            return;
        }
        let contract = self.wanted.contract;
        let needed = [contract.namespace.as_str(), contract.reader.namespace.as_str(), self.wanted.controller.0];
        let accounts = self.wanted.delivery.accounts(contract);
        for (name, found) in &self.snapshot.namespaces {
            let create = format!("kubectl create namespace {name}");
            match found {
                Some(namespace) => match stuck(namespace) {
                    Some(fault) => self.bad(CATEGORY, name, fault),
                    None => self.good(CATEGORY, name),
                },
                None if needed.contains(&name.as_str()) => {
                    self.bad(CATEGORY, name, Fault::new(Symptom::NamespaceMissing, "the namespace does not exist", create));
                }
                None if accounts.keys().any(|account| account.as_str() == name) => {
                    let remedy = Remedy::Commands([create].into_iter().chain(self.apply_store()).collect());
                    self.warn(CATEGORY, name, Fault::new(Symptom::NamespaceMissing, "the namespace does not exist", remedy));
                }
                // Without accounts in it, its ExternalSecrets report that it is missing.
                None => {}
            }
        }
    }
}

/// Why a namespace that is being deleted still exists.
fn stuck(namespace: &Value) -> Option<Fault> {
    let since =
        leaving(namespace).or_else(|| (text(namespace, "/status/phase") == "Terminating").then(|| "it is being deleted".to_owned()))?;
    let holds =
        list(namespace, "/status/conditions").filter(|one| text(one, "/status") == "True").map(|one| visible(text(one, "/message")));
    let cause = [since].into_iter().chain(holds).collect::<Vec<_>>().join("; ");
    let remedy = advice(
        "nothing can be created in it until it is gone: who owns the finalizers that hold it has to remove them; then create it again, and apply what it held",
    );
    Some(Fault::new(Symptom::NamespaceTerminating, cause, remedy))
}
