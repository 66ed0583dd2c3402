//! What `doctor` gathers from a live cluster. It never reads a value of a Secret: metadata only.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::controller::Controller;
use crate::manifest::secret::KEY_LABEL;
use crate::model::{Consumer, ErrorKind, Namespace, Result, visible};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::diagnose::{self, LiveConsumer, Part, Snapshot, Store, Wanted};
use crate::world::cluster::Cluster;

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
    gathering.controller()?;
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

impl Gathering<'_> {
    /// What a request brought; a right that this account lacks is remembered, and what it would show counts as not there.
    fn had<T>(&mut self, part: Part, right: impl FnOnce() -> String, result: Result<Option<T>>) -> Result<Option<T>> {
        match result {
            Err(error) if error.kind == ErrorKind::Forbidden => {
                self.snapshot.forbidden.entry(part).or_default().insert(right());
                Ok(None)
            }
            other => other,
        }
    }

    fn get(&mut self, part: Part, path: &str, kind: &str) -> Result<Option<Value>> {
        let result = self.cluster.get(path, kind);
        self.had(part, || right(path), result)
    }

    fn metadata(&mut self, part: Part, path: &str) -> Result<Option<Value>> {
        let result = self.cluster.metadata(path);
        self.had(part, || right(path), result)
    }

    fn items(&mut self, part: Part, path: &str, kind: &str) -> Result<Vec<Value>> {
        Ok(items(self.get(part, path, kind)?))
    }

    fn events(&mut self, namespace: &str, kind: &str, name: &str) -> Result<Vec<Value>> {
        let path = format!("/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.kind={kind},involvedObject.name={name}");
        self.items(Part::Events, &path, "EventList")
    }

    fn deployment(&mut self, part: Part, namespace: &str, label: &str) -> Result<Option<Value>> {
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments?labelSelector=app.kubernetes.io/name={label}");
        Ok(self.items(part, &path, "DeploymentList")?.into_iter().next())
    }

    fn surroundings(&mut self) -> Result<()> {
        let (contract, delivery) = (self.wanted.contract, self.wanted.delivery);
        for (_, group, resources) in diagnose::apis(delivery) {
            let served = self.get(Part::Apis, &format!("/apis/{group}"), "APIResourceList")?;
            if self.snapshot.forbidden.contains_key(&Part::Apis) {
                continue;
            }
            let served = served.as_ref().and_then(|list| list["resources"].as_array()).map(Vec::as_slice).unwrap_or_default();
            let all = resources.iter().all(|resource| served.iter().any(|one| one["name"] == *resource));
            self.snapshot.apis.insert(group, all);
        }
        let own = delivery.accounts(contract).into_keys();
        let all = own.chain([&contract.namespace, &contract.reader.namespace]).map(Namespace::as_str).chain([self.wanted.controller.0]);
        for one in all.collect::<BTreeSet<&str>>() {
            let there = self.metadata(Part::Namespaces, &format!("/api/v1/namespaces/{one}"))?.is_some();
            if !self.snapshot.forbidden.contains_key(&Part::Namespaces) {
                self.snapshot.namespaces.insert(one.to_owned(), there);
            }
        }
        self.snapshot.external_secrets = self.deployment(Part::ExternalSecrets, contract.reader.namespace.as_str(), "external-secrets")?;
        Ok(())
    }

    fn controller(&mut self) -> Result<()> {
        let (namespace, name) = self.wanted.controller;
        self.snapshot.controller = self.deployment(Part::Controller, namespace, "sealed-secrets")?;
        let controller = Controller { cluster: self.cluster, namespace, name };
        let services = format!("/api/v1/namespaces/{namespace}/services?labelSelector=app.kubernetes.io/name=sealed-secrets");
        let services = self.items(Part::Certificate, &services, "ServiceList")?;
        // The chart has a second one, for its metrics.
        let services = services.iter().filter(|service| service["spec"]["ports"][0]["name"] == "http");
        self.snapshot.services = services.filter_map(|service| Some(visible(service["metadata"]["name"].as_str()?))).collect();
        let proxying = || format!("get services/proxy in {namespace}");
        if let Some(proxy) = self.had(Part::Certificate, proxying, controller.find_proxy())? {
            let served = match controller.served(&proxy) {
                // What is wrong with the controller is a check of its own.
                Err(error) if error.kind == ErrorKind::Cluster => Ok(None),
                served => served.map(Some),
            };
            let pem = self.had(Part::Certificate, proxying, served)?;
            self.snapshot.served = pem.and_then(|pem| SealingCertificate::read(&pem).ok()).map(|certificate| certificate.digest);
        }
        let path = format!("/api/v1/namespaces/{namespace}/secrets?labelSelector={KEY_LABEL}=active");
        let keys = self.cluster.metadata_list(&path);
        self.snapshot.keys = items(self.had(Part::Keys, || right(&path), keys)?);
        Ok(())
    }

    fn values(&mut self) -> Result<()> {
        self.snapshot.sealed = self.items(Part::Sealed, "/apis/bitnami.com/v1alpha1/sealedsecrets", "SealedSecretList")?;
        for name in self.wanted.sealed.keys() {
            let path = format!("/api/v1/namespaces/{}/secrets/{name}", self.wanted.contract.namespace);
            let source = self.metadata(Part::Sources, &path)?;
            self.snapshot.sources.insert(name.clone(), source);
        }
        Ok(())
    }

    fn accounts(&mut self) -> Result<()> {
        let contract = self.wanted.contract;
        let reader = &contract.reader.name;
        for (namespace, keys) in self.wanted.delivery.accounts(contract) {
            let account = self.metadata(Part::Accounts, &format!("/api/v1/namespaces/{namespace}/serviceaccounts/{reader}"))?;
            if !self.snapshot.forbidden.contains_key(&Part::Accounts) {
                self.snapshot.accounts.insert(namespace.clone(), account.is_some());
            }
            for name in keys.into_iter().filter(|name| self.wanted.sealed.contains_key(*name)) {
                let review = json!({
                    "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
                    "spec": {
                        "user": format!("system:serviceaccount:{namespace}:{reader}"),
                        "groups": ["system:authenticated", "system:serviceaccounts", format!("system:serviceaccounts:{namespace}")],
                        "resourceAttributes": { "verb": "get", "resource": "secrets", "namespace": contract.namespace.as_str(), "name": name.as_str() },
                    },
                });
                let answer = self.cluster.review("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).map(Some);
                let right = || "create subjectaccessreviews".to_owned();
                if let Some(answer) = self.had(Part::Access, right, answer)? {
                    let allowed = answer["status"]["allowed"].as_bool().unwrap_or(false);
                    self.snapshot.access.insert((namespace.clone(), name.clone()), allowed);
                }
            }
        }
        Ok(())
    }

    fn stores(&mut self) -> Result<()> {
        let (contract, delivery) = (self.wanted.contract, self.wanted.delivery);
        let (kind, name) = (delivery.store_kind, &contract.store);
        for namespace in delivery.stores(contract) {
            let place = namespace.map_or(String::new(), |namespace| format!("namespaces/{namespace}/"));
            let path = format!("/apis/external-secrets.io/v1/{place}{}/{name}", kind.resource());
            let object = self.get(Part::Stores, &path, kind.as_str())?;
            let events = self.events(namespace.map_or("default", Namespace::as_str), kind.as_str(), name.as_str())?;
            self.snapshot.stores.push(Store { namespace: namespace.cloned(), object, events });
        }
        Ok(())
    }

    fn consumers(&mut self) -> Result<()> {
        let mut all = self.items(Part::Consumers, "/apis/external-secrets.io/v1/externalsecrets", "ExternalSecretList")?;
        for (index, consumer) in self.wanted.contract.consumers.iter().enumerate() {
            let found = all.iter().position(|object| is_of(object, consumer));
            let mut live = LiveConsumer { index, object: found.map(|at| all.swap_remove(at)), events: Vec::new(), target: None };
            if let Some(object) = &live.object {
                let namespace = consumer.namespace.as_str();
                let (name, target) = (object["metadata"]["name"].as_str().unwrap_or("").to_owned(), diagnose::target_of(object).to_owned());
                live.events = self.events(namespace, "ExternalSecret", &name)?;
                live.target = self.metadata(Part::Targets, &format!("/api/v1/namespaces/{namespace}/secrets/{target}"))?;
            }
            self.snapshot.consumers.push(live);
        }
        Ok(())
    }
}

/// Whether an ExternalSecret is this consumer. The name that a helm chart gives to its own is not known, but its target is.
fn is_of(object: &Value, consumer: &Consumer) -> bool {
    let called = match &consumer.name {
        Some(name) => object["metadata"]["name"] == name.as_str(),
        None => diagnose::target_of(object) == consumer.target.as_str(),
    };
    called && object["metadata"]["namespace"] == consumer.namespace.as_str()
}

/// The right that a request needs, in words.
fn right(path: &str) -> String {
    let parts: Vec<&str> = path.split('?').next().unwrap_or(path).trim_start_matches('/').split('/').collect();
    // What stands before the resource: `api/v1`, or `apis/GROUP/VERSION`.
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
