//! `doctor`: follows each value through a live cluster, and says where it stops and why.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::setting::{self, Setting};
use super::{Outcome, keys, quoted};
use crate::cli::{Doctor, Folders, NeedsRights};
use crate::manifest::sealed_secret::SealedSecret;
use crate::manifest::secret::KEY_LABEL;
use crate::manifest::yaml;
use crate::model::{
    CertificateDigest, Check, Consumer, Contract, Delivery, Error, ErrorKind, Isolation, Name, Namespace, Rbac, Result, Status, Symptom,
    visible,
};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::diagnose::{self, Called, Part, Reader, Snapshot, Store, Wanted};
use crate::pipeline::{inventory, rbac};
use crate::world::World;
use crate::world::cluster::Cluster;
use crate::world::folder::Folder;

pub(super) fn run(folders: &Folders, args: &Doctor, world: &mut World) -> Result<Outcome> {
    let Setting { contract, delivery, .. } = setting::read(folders, Some(&args.delivery), world)?;
    let controller = (args.cluster.controller_namespace.as_str(), args.cluster.controller_name.as_str());
    if let Some(command) = args.print_rbac {
        world.terminal.print(&roles(command, &contract, &delivery, controller))?;
        return Ok(Outcome::Done);
    }
    let certificate = keys::certificate(folders, world)?.digest;
    let sealed = sealed_keys(folders, world)?;
    let called = called(folders, &delivery);
    let wanted = Wanted { contract: &contract, delivery: &delivery, certificate, sealed: &sealed, controller, called: &called };
    let cluster = Cluster::connect(&args.cluster.access.named(), &mut world.terminal)?;
    let began = (world.clock)();
    let mut told = usize::MAX;
    let checks = loop {
        let checks = look(&cluster, &wanted, world.clock)?;
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

/// The Roles of one command, or of all.
fn roles(command: Option<NeedsRights>, contract: &Contract, delivery: &Delivery, controller: (&str, &str)) -> String {
    let all = NeedsRights::value_variants().iter().copied();
    let of = |command| match command {
        NeedsRights::Doctor => rbac::doctor(contract, delivery, controller),
        NeedsRights::KeySecret => rbac::key_secret(controller.0),
        NeedsRights::FetchCert => rbac::fetch_cert(controller),
        NeedsRights::Backup => rbac::backup(controller.0),
        NeedsRights::Import => rbac::import(contract),
        NeedsRights::ReEncrypt => rbac::re_encrypt(controller),
    };
    let roles: Vec<Value> = all.filter(|one| command.is_none_or(|command| command == *one)).flat_map(of).collect();
    yaml::write_all(&roles)
}

/// The keys that are sealed in the output folder.
fn sealed_keys(folders: &Folders, world: &World) -> Result<BTreeMap<Name, Option<CertificateDigest>>> {
    let nothing = || {
        let help = "run `seal-secrets bootstrap` first, or name the folder with `--out DIR`";
        Error::bad_input("no sealed files", help).in_file(&folders.out.to_string_lossy())
    };
    let folder = Folder::open(&*world.disk, &folders.out)?.ok_or_else(nothing)?;
    let inventory = inventory::read(folder.read_all()?).map_err(|error| error.within(&folders.out))?;
    let all = inventory.sealed.into_values().flatten();
    let sealed: BTreeMap<_, _> = all.map(|SealedSecret { name, certificate, .. }| (name, certificate)).collect();
    if sealed.is_empty() { Err(nothing()) } else { Ok(sealed) }
}

/// How the operator calls things: remedies are pasted where this command was run.
fn called(folders: &Folders, delivery: &Delivery) -> Called {
    let path = |path: &std::path::Path| quoted(&visible(&path.to_string_lossy()));
    let (keys, out) = (path(&folders.keys), path(&folders.out));
    let store_file = delivery.store_file.as_ref().map(|file| quoted(&visible(&file.path)));
    let flags = [
        delivery.kind_asked_for().map(|kind| format!(" --store-kind {}", kind.as_str())),
        (delivery.isolation == Isolation::Namespace).then(|| " --isolation namespace".to_owned()),
        (delivery.rbac == Rbac::Namespace).then(|| " --rbac namespace".to_owned()),
        store_file.as_ref().map(|file| format!(" --store-file {file}")),
    ];
    Called { program: super::called(folders), delivery: flags.into_iter().flatten().collect(), keys, out, store_file }
}

/// One look at everything. An API server that does not answer is a check like any other, and the only one.
fn look(cluster: &Cluster, wanted: &Wanted<'_>, clock: fn() -> SystemTime) -> Result<Vec<Check>> {
    let error = match gather(cluster, wanted, clock) {
        Ok(snapshot) => return Ok(diagnose::diagnose(&snapshot, wanted)),
        Err(error) => error,
    };
    let symptom = match error.kind {
        ErrorKind::Cluster => Symptom::ApiUnreachable,
        ErrorKind::Unauthorized => Symptom::CredentialsRefused,
        ErrorKind::Forbidden => Symptom::Forbidden,
        _ => return Err(error),
    };
    let what = format!("context {}", cluster.context);
    let (status, symptom) = (Status::Bad, Some(symptom));
    Ok(vec![Check { category: "api server", what, status, symptom, cause: error.what(), remedy: error.help() }])
}

fn gather(cluster: &Cluster, wanted: &Wanted<'_>, clock: fn() -> SystemTime) -> Result<Snapshot> {
    let version = cluster.get("/version")?.unwrap_or_default();
    let clocks = cluster.time().map(|theirs| (theirs, clock()));
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let user = cluster.review("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review)?;
    let snapshot = Snapshot {
        user: visible(user["status"]["userInfo"]["username"].as_str().unwrap_or("somebody")),
        version: format!("Kubernetes {}", visible(version["gitVersion"].as_str().unwrap_or("of an unknown version"))),
        clocks,
        ..Snapshot::default()
    };
    let mut gathering = Gathering { cluster, wanted, snapshot };
    gathering.surroundings()?;
    gathering.controller()?;
    gathering.values()?;
    gathering.accounts()?;
    gathering.stores()?;
    gathering.readers()?;
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

    fn get(&mut self, part: Part, path: &str) -> Result<Option<Value>> {
        let result = self.cluster.get(path);
        self.had(part, || right(path), result)
    }

    fn metadata(&mut self, part: Part, path: &str) -> Result<Option<Value>> {
        let result = self.cluster.metadata(path);
        self.had(part, || right(path), result)
    }

    fn items(&mut self, part: Part, path: &str) -> Result<Vec<Value>> {
        Ok(items(self.get(part, path)?))
    }

    fn events(&mut self, namespace: &str, kind: &str, name: &str) -> Result<Vec<Value>> {
        let path = format!("/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.kind={kind},involvedObject.name={name}");
        self.items(Part::Events, &path)
    }

    fn deployment(&mut self, part: Part, namespace: &str, label: &str) -> Result<Option<Value>> {
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments?labelSelector=app.kubernetes.io/name={label}");
        Ok(self.items(part, &path)?.into_iter().next())
    }

    fn surroundings(&mut self) -> Result<()> {
        let (contract, delivery) = (self.wanted.contract, self.wanted.delivery);
        for (_, group, resources) in diagnose::apis(delivery) {
            let served = self.get(Part::Apis, &format!("/apis/{group}"))?;
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
        self.snapshot.operator = self.deployment(Part::Operator, contract.reader.namespace.as_str(), "external-secrets")?;
        Ok(())
    }

    fn controller(&mut self) -> Result<()> {
        let (namespace, name) = self.wanted.controller;
        self.snapshot.controller = self.deployment(Part::Controller, namespace, "sealed-secrets")?;
        let services = format!("/api/v1/namespaces/{namespace}/services?labelSelector=app.kubernetes.io/name=sealed-secrets");
        let services = self.items(Part::Certificate, &services)?;
        // The chart has a second one, for its metrics.
        let services = services.iter().filter(|service| service["spec"]["ports"][0]["name"] == "http");
        self.snapshot.services = services.filter_map(|service| Some(visible(service["metadata"]["name"].as_str()?))).collect();
        match super::fetch_cert::served(self.cluster, namespace, name) {
            Ok(pem) => self.snapshot.served = SealingCertificate::read(&pem).ok().map(|certificate| certificate.digest),
            Err(error) if error.kind == ErrorKind::Cluster => {}
            Err(error) => {
                let right = || format!("get services/proxy in {namespace}");
                let _: Option<()> = self.had(Part::Certificate, right, Err(error))?;
            }
        }
        let path = format!("/api/v1/namespaces/{namespace}/secrets?labelSelector={KEY_LABEL}=active");
        let keys = self.cluster.metadata_list(&path);
        self.snapshot.keys = items(self.had(Part::Keys, || right(&path), keys)?);
        Ok(())
    }

    fn values(&mut self) -> Result<()> {
        self.snapshot.sealed = self.items(Part::Sealed, "/apis/bitnami.com/v1alpha1/sealedsecrets")?;
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
            let object = self.get(Part::Stores, &path)?;
            let events = self.events(namespace.map_or("default", Namespace::as_str), kind.as_str(), name.as_str())?;
            self.snapshot.stores.push(Store { namespace: namespace.cloned(), object, events });
        }
        Ok(())
    }

    fn readers(&mut self) -> Result<()> {
        let mut all = self.items(Part::Readers, "/apis/external-secrets.io/v1/externalsecrets")?;
        for (index, consumer) in self.wanted.contract.consumers.iter().enumerate() {
            let found = all.iter().position(|object| is_of(object, consumer));
            let mut reader = Reader { index, object: found.map(|at| all.swap_remove(at)), events: Vec::new(), target: None };
            if let Some(object) = &reader.object {
                let namespace = consumer.namespace.as_str();
                let (name, target) = (object["metadata"]["name"].as_str().unwrap_or("").to_owned(), diagnose::target_of(object).to_owned());
                reader.events = self.events(namespace, "ExternalSecret", &name)?;
                reader.target = self.metadata(Part::Targets, &format!("/api/v1/namespaces/{namespace}/secrets/{target}"))?;
            }
            self.snapshot.readers.push(reader);
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

/// The objects of a list.
fn items(list: Option<Value>) -> Vec<Value> {
    let Some(Value::Object(mut list)) = list else { return Vec::new() };
    match list.remove("items") {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
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
