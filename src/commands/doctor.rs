//! `doctor`: follows each value through a live cluster, and says where it stops and why.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::setting::{self, Setting};
use super::{Outcome, keys};
use crate::cli::{Cluster as Access, Doctor, Folders};
use crate::manifest::sealed_secret::SealedSecret;
use crate::model::{CertificateDigest, Check, Contract, Error, Name, Result, Status, Symptom, visible};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::diagnose::{self, APIS, Reader, Snapshot, Wanted};
use crate::pipeline::inventory;
use crate::world::World;
use crate::world::cluster::Cluster;
use crate::world::folder::Folder;

pub(super) fn run(folders: &Folders, args: &Doctor, world: &mut World) -> Result<Outcome> {
    let Setting { contract, .. } = setting::read(folders, None, world)?;
    if args.print_rbac {
        world.terminal.print(&rbac(&contract, args.access.controller_namespace.as_str()))?;
        return Ok(Outcome::Done);
    }
    let certificate = keys::certificate(folders)?.digest;
    let sealed = sealed_keys(folders)?;
    let controller = (args.access.controller_namespace.as_str(), args.access.controller_name.as_str());
    let wanted = Wanted { contract: &contract, certificate, sealed: &sealed, controller };
    let cluster = Cluster::connect(&args.access.access(), &mut world.terminal)?;
    let began = (world.clock)();
    let mut told = usize::MAX;
    let checks = loop {
        let checks = look(&cluster, &wanted)?;
        let open = checks.iter().filter(|check| matches!(check.status, Status::Bad | Status::Skipped)).count();
        let passed = (world.clock)().duration_since(began).unwrap_or_default();
        if open == 0 || args.wait.is_none_or(|wait| passed >= wait) {
            break checks;
        }
        if open != told {
            world.terminal.tell(&format!("{open} checks are open; waiting\n"));
            told = open;
        }
        cluster.pause(Duration::from_secs(1));
    };
    let text = if args.json { as_json(&checks) } else { human(&checks) };
    world.terminal.print(&text)?;
    Ok(if checks.iter().any(|check| check.status == Status::Bad) { Outcome::Found } else { Outcome::Done })
}

/// The keys that are sealed in the output folder.
fn sealed_keys(folders: &Folders) -> Result<BTreeMap<Name, Option<CertificateDigest>>> {
    let nothing = || {
        let help = "run `seal-secrets bootstrap` first, or name the folder with `--out DIR`";
        Error::bad_input("no sealed files", help).in_file(&folders.out.to_string_lossy())
    };
    let folder = Folder::open(&folders.out)?.ok_or_else(nothing)?;
    let inventory = inventory::read(folder.read_all()?).map_err(|error| error.within(&folders.out))?;
    let all = inventory.sealed.into_values().flatten();
    let sealed: BTreeMap<_, _> = all.map(|SealedSecret { name, certificate, .. }| (name, certificate)).collect();
    if sealed.is_empty() { Err(nothing()) } else { Ok(sealed) }
}

/// One look at everything. An API server that does not answer is a check like any other, and the only one.
fn look(cluster: &Cluster, wanted: &Wanted<'_>) -> Result<Vec<Check>> {
    let version = match cluster.get("/version") {
        Ok(version) => version.unwrap_or_default(),
        Err(error) if error.kind == crate::model::ErrorKind::Cluster => return Ok(vec![unreachable_api(cluster, &error)]),
        Err(error) => return Err(error),
    };
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let user = match cluster.review("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review) {
        Ok(user) => user["status"]["userInfo"]["username"].as_str().unwrap_or("somebody").to_owned(),
        Err(error) => return Ok(vec![unreachable_api(cluster, &error)]),
    };
    let snapshot = Snapshot {
        user,
        version: format!("Kubernetes {}", version["gitVersion"].as_str().unwrap_or("of an unknown version")),
        ..Snapshot::default()
    };
    let mut gathering = Gathering { cluster, wanted, snapshot };
    gathering.surroundings();
    gathering.values();
    gathering.store();
    gathering.readers();
    Ok(diagnose::diagnose(&gathering.snapshot, wanted))
}

fn unreachable_api(cluster: &Cluster, error: &Error) -> Check {
    Check {
        category: "api server",
        what: format!("context {}", cluster.context),
        status: Status::Bad,
        symptom: Some(Symptom::ApiUnreachable),
        cause: error.what(),
        remedy: error.help(),
    }
}

struct Gathering<'g> {
    cluster: &'g Cluster,
    wanted: &'g Wanted<'g>,
    snapshot: Snapshot,
}

impl Gathering<'_> {
    /// What a request brought; what this account may not see is remembered, and counts as not there.
    fn had<T>(&mut self, what: &str, result: Result<Option<T>>) -> Option<T> {
        result.unwrap_or_else(|error| {
            self.snapshot.forbidden.push((what.to_owned(), error.what()));
            None
        })
    }

    fn get(&mut self, path: &str) -> Option<Value> {
        let result = self.cluster.get(path);
        self.had(path, result)
    }

    fn metadata(&mut self, path: &str) -> Option<Value> {
        let result = self.cluster.metadata(path);
        self.had(path, result)
    }

    fn items(&mut self, path: &str) -> Vec<Value> {
        self.get(path).and_then(|mut list| Some(std::mem::take(list.get_mut("items")?.as_array_mut()?))).unwrap_or_default()
    }

    fn events(&mut self, namespace: &str, kind: &str, name: &str) -> Vec<Value> {
        self.items(&format!("/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.kind={kind},involvedObject.name={name}"))
    }

    fn deployment(&mut self, namespace: &str, label: &str) -> Option<Value> {
        self.items(&format!("/apis/apps/v1/namespaces/{namespace}/deployments?labelSelector=app.kubernetes.io/name={label}"))
            .into_iter()
            .next()
    }

    fn surroundings(&mut self) {
        for (_, group) in APIS {
            let served = self.get(&format!("/apis/{group}")).is_some();
            self.snapshot.apis.insert(group, served);
        }
        let contract = self.wanted.contract;
        let (namespace, name) = self.wanted.controller;
        for one in [contract.namespace.as_str(), contract.reader.namespace.as_str(), namespace] {
            let there = self.metadata(&format!("/api/v1/namespaces/{one}")).is_some();
            self.snapshot.namespaces.insert(one.to_owned(), there);
        }
        self.snapshot.controller = self.deployment(namespace, "sealed-secrets");
        if let Ok(pem) = super::fetch_cert::served(self.cluster, namespace, name) {
            self.snapshot.served = SealingCertificate::read(&pem).ok().map(|certificate| certificate.digest);
        }
        let label = "sealedsecrets.bitnami.com/sealed-secrets-key";
        let keys = self.cluster.metadata_list(&format!("/api/v1/namespaces/{namespace}/secrets?labelSelector={label}"));
        let keys = self.had("the key Secrets", keys);
        self.snapshot.keys = keys.and_then(|list| list["items"].as_array().cloned()).unwrap_or_default();
        self.snapshot.operator = self.deployment(contract.reader.namespace.as_str(), "external-secrets");
    }

    fn values(&mut self) {
        let namespace = &self.wanted.contract.namespace;
        for name in self.wanted.sealed.keys() {
            let object = self.get(&format!("/apis/bitnami.com/v1alpha1/namespaces/{namespace}/sealedsecrets/{name}"));
            self.snapshot.sealed.insert(name.clone(), object);
            let source = self.metadata(&format!("/api/v1/namespaces/{namespace}/secrets/{name}"));
            self.snapshot.sources.insert(name.clone(), source);
        }
    }

    fn store(&mut self) {
        let contract = self.wanted.contract;
        let (reader, store) = (&contract.reader, &contract.store);
        self.snapshot.account =
            self.metadata(&format!("/api/v1/namespaces/{}/serviceaccounts/{}", reader.namespace, reader.name)).is_some();
        self.snapshot.store = self.get(&format!("/apis/external-secrets.io/v1/clustersecretstores/{store}"));
        self.snapshot.store_events = self.events("default", "ClusterSecretStore", store.as_str());
        let names: Vec<Name> =
            contract.read_keys().map(|key| key.name.clone()).filter(|name| self.wanted.sealed.contains_key(name)).collect();
        for name in names {
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
                "spec": {
                    "user": format!("system:serviceaccount:{}:{}", reader.namespace, reader.name),
                    "resourceAttributes": { "verb": "get", "resource": "secrets", "namespace": contract.namespace.as_str(), "name": name.as_str() },
                },
            });
            let answer = self.cluster.review("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).map(Some);
            if let Some(answer) = self.had("a subjectaccessreview", answer) {
                self.snapshot.access.insert(name, answer["status"]["allowed"].as_bool().unwrap_or(false));
            }
        }
    }

    fn readers(&mut self) {
        for (index, consumer) in self.wanted.contract.consumers.iter().enumerate() {
            let Some(name) = &consumer.name else { continue };
            let namespace = consumer.namespace.as_str();
            let object = self.get(&format!("/apis/external-secrets.io/v1/namespaces/{namespace}/externalsecrets/{name}"));
            let mut reader = Reader { index, object, events: Vec::new(), target: None };
            if reader.object.is_some() {
                reader.events = self.events(namespace, "ExternalSecret", name.as_str());
                reader.target = self.metadata(&format!("/api/v1/namespaces/{namespace}/secrets/{}", consumer.target));
            }
            self.snapshot.readers.push(reader);
        }
    }
}

fn human(checks: &[Check]) -> String {
    let mut text = String::new();
    let mut category = "";
    for check in checks {
        if std::mem::replace(&mut category, check.category) != check.category {
            text.push_str(&format!("{}{}\n", if text.is_empty() { "" } else { "\n" }, check.category));
        }
        let mark = match check.status {
            Status::Good => "ok  ",
            Status::Warning => "warn",
            Status::Bad => "BAD ",
            Status::Skipped => "-   ",
        };
        let code = check.symptom.map_or(String::new(), |symptom| format!(" [{}]", symptom.as_str()));
        text.push_str(&format!("  {mark} {}{code}\n", visible(&check.what)));
        if check.symptom.is_some() {
            text.push_str(&format!("       why:  {}\n       help: {}\n", check.cause, check.remedy));
        }
    }
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let (bad, warnings) = (count(Status::Bad), count(Status::Warning));
    text + &match bad {
        0 => format!("\ngood: {} checks, {warnings} warnings\n", checks.len()),
        _ => format!("\nfound {bad} faults, {warnings} warnings; what each code means: docs/troubleshooting.md\n"),
    }
}

/// The checks for programs; fields are only ever added.
fn as_json(checks: &[Check]) -> String {
    let check = |check: &Check| {
        json!({
            "category": check.category, "what": check.what, "status": check.status.as_str(),
            "code": check.symptom.map(Symptom::as_str), "cause": check.cause, "remedy": check.remedy,
        })
    };
    let checks: Vec<Value> = checks.iter().map(check).collect();
    format!("{:#}\n", json!({ "version": 1, "checks": checks }))
}

/// Exactly what `doctor` asks for: metadata of Secrets, never more rights than reading.
fn rbac(contract: &Contract, controller: &str) -> String {
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({ "apiGroups": groups, "resources": resources, "verbs": verbs });
    let rules = [
        rule(&[""], &["namespaces", "serviceaccounts", "services", "secrets"], &["get"]),
        rule(&[""], &["events"], &["list"]),
        rule(&["apps"], &["deployments"], &["list"]),
        rule(&["bitnami.com"], &["sealedsecrets"], &["get"]),
        rule(&["external-secrets.io"], &["clustersecretstores", "externalsecrets"], &["get"]),
        rule(&["authorization.k8s.io"], &["subjectaccessreviews"], &["create"]),
    ];
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "seal-secrets-doctor" }, "rules": rules,
    });
    let controllers = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "seal-secrets-doctor", "namespace": controller },
        "rules": [rule(&[""], &["services/proxy"], &["get"]), rule(&[""], &["secrets"], &["list"])],
    });
    let _ = contract;
    crate::manifest::yaml::write_all(&[role, controllers])
}

impl Access {
    /// As the world takes it.
    pub(super) fn access(&self) -> crate::world::cluster::Access<'_> {
        crate::world::cluster::Access { kubeconfig: self.kubeconfig.as_deref(), context: self.context.as_deref() }
    }
}
