//! Reads what `doctor` needs from a live cluster, many requests at a time. It never reads a value of a Secret: metadata only.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::controller::Controller;
use crate::manifest::secret::{KEY_LABEL, key_secret_name};
use crate::model::{Consumer, ErrorKind, Name, Namespace, Result, Sorted, visible};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::diagnose::{self, LiveConsumer, Part, Snapshot, Store, Wanted, controller, operator};
use crate::pipeline::rbac::WEBHOOKS;
use crate::world::cluster::{Ask, Cluster};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

pub fn gather(cluster: &Cluster, wanted: &Wanted<'_>, clock: fn() -> SystemTime) -> Result<Snapshot> {
    let version = cluster.version()?;
    let clocks = cluster.time().map(|theirs| (theirs, clock()));
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let user = cluster.review("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review)?;
    let snapshot = Snapshot {
        user: visible(user["status"]["userInfo"]["username"].as_str().unwrap_or("somebody")),
        version: format!("Kubernetes {}", visible(&version)),
        clocks,
        ..Snapshot::default()
    };
    let mut gathering = Gathering { cluster, wanted, snapshot };
    gathering.surroundings()?;
    gathering.deployments()?;
    gathering.certificate()?;
    gathering.values()?;
    gathering.accounts()?;
    gathering.stores()?;
    gathering.consumers()?;
    Ok(gathering.snapshot)
}

struct Gathering<'g> {
    cluster: &'g Cluster,
    wanted: &'g Wanted<'g>,
    snapshot: Snapshot,
}

fn get(path: impl Into<String>, kind: &'static str) -> Ask {
    Ask::Get { path: path.into(), kind }
}

fn metadata(path: String) -> Ask {
    Ask::Metadata { path }
}

impl Gathering<'_> {
    /// The result of a request; if this account lacks the right, that is recorded and the object counts as missing.
    fn had<T>(&mut self, part: Part, right: impl FnOnce() -> String, result: Result<Option<T>>) -> Result<Option<T>> {
        match result {
            Err(error) if error.kind == ErrorKind::Forbidden => {
                self.snapshot.forbidden.entry(part).or_default().insert(right());
                Ok(None)
            }
            other => other,
        }
    }

    /// The answer to each request, in their order.
    fn all(&mut self, part: Part, asks: Vec<Ask>) -> Result<Vec<Option<Value>>> {
        let answers = self.cluster.together(&asks);
        asks.iter().zip(answers).map(|(ask, answer)| self.had(part, || right(ask), answer)).collect()
    }

    fn items<const N: usize>(&mut self, part: Part, asks: [Ask; N]) -> Result<[Vec<Value>; N]> {
        let lists: Vec<Vec<Value>> = self.all(part, asks.into())?.into_iter().map(items).collect();
        Ok(lists.try_into().expect("one answer for each question"))
    }

    fn is_forbidden(&self, part: Part) -> bool {
        self.snapshot.forbidden.contains_key(&part)
    }

    fn surroundings(&mut self) -> Result<()> {
        let (contract, delivery) = (self.wanted.contract, self.wanted.delivery);
        let apis = diagnose::apis(delivery);
        let asks = apis.iter().map(|(_, group, _)| get(format!("/apis/{group}"), "APIResourceList")).collect();
        for ((_, group, resources), served) in apis.iter().zip(self.all(Part::Apis, asks)?) {
            let served = served.as_ref().and_then(|list| list["resources"].as_array()).map(Vec::as_slice).unwrap_or_default();
            let all = resources.iter().all(|resource| served.iter().any(|one| one["name"] == *resource));
            self.snapshot.apis.insert(group, all);
        }
        if self.is_forbidden(Part::Apis) {
            self.snapshot.apis.clear();
        }
        let readers = contract.consumer_namespaces().into_iter().chain([&contract.namespace, &contract.reader.namespace]);
        let names: BTreeSet<&str> = readers.map(Namespace::as_str).chain([self.wanted.controller.0]).sorted();
        let asks = names.iter().map(|name| get(format!("/api/v1/namespaces/{name}"), "Namespace")).collect();
        let found = self.all(Part::Namespaces, asks)?;
        if !self.is_forbidden(Part::Namespaces) {
            self.snapshot.namespaces = names.into_iter().map(str::to_owned).zip(found).collect();
        }
        Ok(())
    }

    /// Reads the controllers and the operators, in any namespace.
    fn deployments(&mut self) -> Result<()> {
        let (namespace, name) = self.wanted.controller;
        let list = |path: &str| get(format!("/apis/apps/v1/{path}"), "DeploymentList");
        let charts = "deployments?labelSelector=app.kubernetes.io/name%20in%20(external-secrets,external-secrets-webhook,sealed-secrets)";
        let asks = [
            list(&format!("namespaces/{namespace}/deployments")),
            list(charts),
            list("deployments?labelSelector=name=sealed-secrets-controller"),
        ];
        let [near, charts, manifests] = self.items(Part::Controller, asks)?;
        let label = |one: &Value| one["metadata"]["labels"]["app.kubernetes.io/name"].as_str().unwrap_or_default().to_owned();
        let services = [get(format!("/api/v1/namespaces/{namespace}/services"), "ServiceList")];
        let [services] = self.items(Part::Certificate, services)?;
        let named = services.iter().find(|service| service["metadata"]["name"] == name);
        self.snapshot.controller = controller::find(&near, named, name).cloned();
        self.snapshot.operators = charts.iter().filter(|one| label(one) == "external-secrets").cloned().collect();
        self.snapshot.webhooks = charts.iter().filter(|one| label(one) == "external-secrets-webhook").cloned().collect();
        self.snapshot.services = services.iter().filter(|one| self.is_its_service(one)).filter_map(name_of).collect();
        let mut seen = BTreeSet::new();
        let place = |one: &Value| ["namespace", "name"].map(|field| one["metadata"][field].to_string());
        let all = near.into_iter().chain(charts).chain(manifests).filter(controller::is_controller);
        self.snapshot.controllers = all.filter(|one| seen.insert(place(one))).collect();
        if self.snapshot.operators.is_empty() && !self.is_forbidden(Part::Controller) {
            let [all] = self.items(Part::Operator, [list("deployments")])?;
            self.snapshot.operators = all.into_iter().filter(operator::is_operator).collect();
        }
        if let Some(forbidden) = self.snapshot.forbidden.get(&Part::Controller).cloned() {
            self.snapshot.forbidden.insert(Part::Operator, forbidden);
        }
        let webhook = |name: &&str| format!("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{name}");
        let asks = WEBHOOKS.iter().map(|name| get(webhook(name), "ValidatingWebhookConfiguration")).collect();
        self.snapshot.webhook_configurations = self.all(Part::Webhook, asks)?.into_iter().flatten().collect();
        Ok(())
    }

    /// Whether a Service selects the controller's Pods. It has a second one, for its metrics.
    fn is_its_service(&self, service: &Value) -> bool {
        let selects = self.snapshot.controller.as_ref().is_some_and(|controller| controller::leads_to(service, controller));
        selects && service["spec"]["ports"][0]["name"] != "metrics"
    }

    /// Reads the certificate that the controller serves, who may call it, and its key Secrets.
    fn certificate(&mut self) -> Result<()> {
        let (namespace, name) = self.wanted.controller;
        let controller = Controller { cluster: self.cluster, namespace, name };
        let proxying = || format!("get services/proxy in {namespace}");
        if let Some(proxy) = self.had(Part::Certificate, proxying, controller.find_proxy())? {
            let served = match controller.served(&proxy) {
                // The controller's faults have a check of their own.
                Err(error) if error.kind == ErrorKind::Cluster => Ok(None),
                served => served.map(Some),
            };
            let pem = self.had(Part::Certificate, proxying, served)?;
            self.snapshot.served = pem.and_then(|pem| SealingCertificate::read(&pem).ok()).map(|certificate| certificate.digest);
            let port = proxy.split('/').rev().nth(1).unwrap_or_default();
            let call = json!({ "verb": "create", "resource": "services", "subresource": "proxy", "namespace": namespace, "name": port });
            let open = self.all(Part::Access, vec![review("seal-secrets:any-account", &["system:authenticated"], call)])?;
            self.snapshot.open_to_all = open.into_iter().flatten().next().map(|answer| answer["status"]["allowed"] == true);
        }
        self.snapshot.keys = self.key_secrets(&format!("labelSelector={KEY_LABEL}=active"))?;
        let first = self.key_secrets(&format!("fieldSelector=metadata.name={}", key_secret_name(0)))?;
        self.snapshot.first_key = first.into_iter().next();
        Ok(())
    }

    /// The metadata of the Secrets in the controller's namespace that this selector selects.
    fn key_secrets(&mut self, selector: &str) -> Result<Vec<Value>> {
        let namespace = self.wanted.controller.0;
        let list = self.cluster.metadata_list(&format!("/api/v1/namespaces/{namespace}/secrets?{selector}"));
        self.had(Part::Keys, || format!("list secrets in {namespace}"), list).map(items)
    }

    fn values(&mut self) -> Result<()> {
        let [sealed] = self.items(Part::Sealed, [get("/apis/bitnami.com/v1alpha1/sealedsecrets", "SealedSecretList")])?;
        self.snapshot.sealed = sealed;
        let secrets = format!("/api/v1/namespaces/{}/secrets", self.wanted.contract.namespace);
        let names: Vec<&Name> = self.wanted.sealed.keys().collect();
        let found = self.all(Part::Sources, names.iter().map(|name| metadata(format!("{secrets}/{name}"))).collect())?;
        self.snapshot.sources = names.into_iter().cloned().zip(found).collect();
        Ok(())
    }

    fn accounts(&mut self) -> Result<()> {
        let contract = self.wanted.contract;
        let reader = &contract.reader.name;
        let accounts = self.wanted.delivery.accounts(contract);
        let path = |namespace: &&Namespace| metadata(format!("/api/v1/namespaces/{namespace}/serviceaccounts/{reader}"));
        let found = self.all(Part::Accounts, accounts.keys().map(path).collect())?;
        if !self.is_forbidden(Part::Accounts) {
            self.snapshot.accounts = accounts.keys().map(|one| (*one).clone()).zip(found.iter().map(Option::is_some)).collect();
        }
        let each = accounts.into_iter().flat_map(|(namespace, keys)| keys.into_iter().map(move |key| (namespace, key)));
        let each: Vec<(&Namespace, &Name)> = each.filter(|(_, key)| self.wanted.sealed.contains_key(*key)).collect();
        let ask = |(namespace, key): &(&Namespace, &Name)| {
            let groups = ["system:authenticated", "system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
            let read = json!({ "verb": "get", "resource": "secrets", "namespace": contract.namespace.as_str(), "name": key.as_str() });
            review(&format!("system:serviceaccount:{namespace}:{reader}"), &groups, read)
        };
        let answers = self.all(Part::Access, each.iter().map(ask).collect())?;
        let allowed = each.into_iter().zip(answers).filter_map(|((namespace, key), answer)| {
            Some(((namespace.clone(), key.clone()), answer?["status"]["allowed"].as_bool().unwrap_or(false)))
        });
        self.snapshot.access = allowed.collect();
        Ok(())
    }

    fn stores(&mut self) -> Result<()> {
        let (contract, delivery) = (self.wanted.contract, self.wanted.delivery);
        let (kind, name) = (delivery.store_kind, &contract.store);
        let stores = delivery.stores(contract);
        let path = |namespace: &Option<&Namespace>| {
            let place = namespace.map_or(String::new(), |namespace| format!("namespaces/{namespace}/"));
            get(format!("/apis/external-secrets.io/v1/{place}{}/{name}", kind.resource()), kind.as_str())
        };
        let found = self.all(Part::Stores, stores.iter().map(path).collect())?;
        let stores = stores.into_iter().zip(found).map(|(namespace, object)| Store { namespace: namespace.cloned(), object });
        self.snapshot.stores = stores.collect();
        let events = |kind: &str| get(format!("/api/v1/events?fieldSelector=involvedObject.kind={kind},type=Warning"), "EventList");
        let lists = self.items(Part::Events, [events(kind.as_str()), events("ExternalSecret")])?;
        self.snapshot.events = lists.concat();
        Ok(())
    }

    fn consumers(&mut self) -> Result<()> {
        let asked = [get("/apis/external-secrets.io/v1/externalsecrets", "ExternalSecretList")];
        let [mut all] = self.items(Part::Consumers, asked)?;
        let (mut asks, mut whose) = (Vec::new(), Vec::new());
        for (index, consumer) in self.wanted.contract.consumers.iter().enumerate() {
            let found = all.iter().position(|object| is_of(object, consumer));
            let object = found.map(|at| all.swap_remove(at));
            if let Some(object) = &object {
                let target = visible(diagnose::target_of(object));
                asks.push(metadata(format!("/api/v1/namespaces/{}/secrets/{target}", consumer.namespace)));
                whose.push(index);
            }
            self.snapshot.consumers.push(LiveConsumer { index, object, target: None });
        }
        for (index, target) in whose.into_iter().zip(self.all(Part::Targets, asks)?) {
            self.snapshot.consumers[index].target = target;
        }
        Ok(())
    }
}

/// Whether these groups, or this user, may do something.
fn review(user: &str, groups: &[&str], attributes: Value) -> Ask {
    let spec = json!({ "user": user, "groups": groups, "resourceAttributes": attributes });
    Ask::Review { path: REVIEWS, object: json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec }) }
}

fn name_of(object: &Value) -> Option<String> {
    Some(visible(object["metadata"]["name"].as_str()?))
}

/// Whether an ExternalSecret is this consumer. If a helm chart names it, the name is unknown, but its target is known.
fn is_of(object: &Value, consumer: &Consumer) -> bool {
    let called = match &consumer.name {
        Some(name) => object["metadata"]["name"] == name.as_str(),
        None => diagnose::target_of(object) == consumer.target.as_str(),
    };
    called && object["metadata"]["namespace"] == consumer.namespace.as_str()
}

/// The right that a request needs, in words.
fn right(ask: &Ask) -> String {
    let path = match ask {
        Ask::Get { path, .. } | Ask::Metadata { path } => path,
        Ask::Review { path, .. } => return format!("create {}", path.rsplit('/').next().unwrap_or(path)),
    };
    let parts: Vec<&str> = path.split('?').next().unwrap_or(path).trim_start_matches('/').split('/').collect();
    // What precedes the resource: `api/v1`, or `apis/GROUP/VERSION`.
    let version = if parts[0] == "api" { 2 } else { 3 };
    match parts.get(version..).unwrap_or_default() {
        ["namespaces", namespace, resource] => format!("list {resource} in {namespace}"),
        ["namespaces", namespace, resource, _] => format!("get {resource} in {namespace}"),
        [resource, _] => format!("get {resource}"),
        [resource] => format!("list {resource}"),
        _ => format!("get {path}"),
    }
}

fn items(list: Option<Value>) -> Vec<Value> {
    let Some(Value::Object(mut list)) = list else { return Vec::new() };
    match list.remove("items") {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}
