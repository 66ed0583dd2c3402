//! `doctor`: follows each value through a live cluster, and says where it stops and why.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::setting::{self, Setting};
use super::{Outcome, keys};
use crate::cli::{Doctor, Folders, NeedsRights};
use crate::manifest::sealed_secret::SealedSecret;
use crate::manifest::secret::KEY_LABEL;
use crate::manifest::yaml;
use crate::model::{CertificateDigest, Check, Contract, Error, ErrorKind, Name, Result, Status, Symptom, visible};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::diagnose::{self, APIS, Reader, Snapshot, Wanted};
use crate::pipeline::{inventory, rbac};
use crate::world::World;
use crate::world::cluster::Cluster;
use crate::world::folder::Folder;

pub(super) fn run(folders: &Folders, args: &Doctor, world: &mut World) -> Result<Outcome> {
    let Setting { contract, .. } = setting::read(folders, None, world)?;
    let controller = (args.cluster.controller_namespace.as_str(), args.cluster.controller_name.as_str());
    if let Some(command) = args.print_rbac {
        world.terminal.print(&roles(command, &contract, controller))?;
        return Ok(Outcome::Done);
    }
    let certificate = keys::certificate(folders)?.digest;
    let sealed = sealed_keys(folders)?;
    let wanted = Wanted { contract: &contract, certificate, sealed: &sealed, controller };
    let cluster = Cluster::connect(&args.cluster.access.named(), &mut world.terminal)?;
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

/// The Roles of one command, or of all.
fn roles(command: Option<NeedsRights>, contract: &Contract, controller: (&str, &str)) -> String {
    let all = NeedsRights::value_variants().iter().copied();
    let of = |command| match command {
        NeedsRights::Doctor => rbac::doctor(contract, controller),
        NeedsRights::KeySecret => rbac::key_secret(controller.0),
        NeedsRights::FetchCert => rbac::fetch_cert(controller),
        NeedsRights::Backup => rbac::backup(controller.0),
        NeedsRights::Import => rbac::import(contract),
    };
    let roles: Vec<Value> = all.filter(|one| command.is_none_or(|command| command == *one)).flat_map(of).collect();
    yaml::write_all(&roles)
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
    let error = match gather(cluster, wanted) {
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

fn gather(cluster: &Cluster, wanted: &Wanted<'_>) -> Result<Snapshot> {
    let version = cluster.get("/version")?.unwrap_or_default();
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let user = cluster.review("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review)?;
    let snapshot = Snapshot {
        user: visible(user["status"]["userInfo"]["username"].as_str().unwrap_or("somebody")),
        version: format!("Kubernetes {}", visible(version["gitVersion"].as_str().unwrap_or("of an unknown version"))),
        ..Snapshot::default()
    };
    let mut gathering = Gathering { cluster, wanted, snapshot };
    gathering.surroundings()?;
    gathering.controller()?;
    gathering.values()?;
    gathering.store()?;
    gathering.readers()?;
    Ok(gathering.snapshot)
}

struct Gathering<'g> {
    cluster: &'g Cluster,
    wanted: &'g Wanted<'g>,
    snapshot: Snapshot,
}

impl Gathering<'_> {
    /// What a request brought; what this account may not see is remembered, and counts as not there.
    fn had<T>(&mut self, what: &str, result: Result<Option<T>>) -> Result<Option<T>> {
        match result {
            Err(error) if error.kind == ErrorKind::Forbidden => {
                self.snapshot.forbidden.push((what.split('?').next().unwrap_or(what).to_owned(), error.what()));
                Ok(None)
            }
            other => other,
        }
    }

    fn get(&mut self, path: &str) -> Result<Option<Value>> {
        let result = self.cluster.get(path);
        self.had(path, result)
    }

    fn metadata(&mut self, path: &str) -> Result<Option<Value>> {
        let result = self.cluster.metadata(path);
        self.had(path, result)
    }

    fn items(&mut self, path: &str) -> Result<Vec<Value>> {
        Ok(items(self.get(path)?))
    }

    fn events(&mut self, namespace: &str, kind: &str, name: &str) -> Result<Vec<Value>> {
        self.items(&format!("/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.kind={kind},involvedObject.name={name}"))
    }

    fn deployment(&mut self, namespace: &str, label: &str) -> Result<Option<Value>> {
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments?labelSelector=app.kubernetes.io/name={label}");
        Ok(self.items(&path)?.into_iter().next())
    }

    fn surroundings(&mut self) -> Result<()> {
        for (_, group, resources) in APIS {
            let served = self.get(&format!("/apis/{group}"))?;
            let served = served.as_ref().and_then(|list| list["resources"].as_array()).map(Vec::as_slice).unwrap_or_default();
            let all = resources.iter().all(|resource| served.iter().any(|one| one["name"] == *resource));
            self.snapshot.apis.insert(group, all);
        }
        let contract = self.wanted.contract;
        for one in [contract.namespace.as_str(), contract.reader.namespace.as_str(), self.wanted.controller.0] {
            let there = self.metadata(&format!("/api/v1/namespaces/{one}"))?.is_some();
            self.snapshot.namespaces.insert(one.to_owned(), there);
        }
        self.snapshot.operator = self.deployment(contract.reader.namespace.as_str(), "external-secrets")?;
        Ok(())
    }

    fn controller(&mut self) -> Result<()> {
        let (namespace, name) = self.wanted.controller;
        self.snapshot.controller = self.deployment(namespace, "sealed-secrets")?;
        let services =
            self.items(&format!("/api/v1/namespaces/{namespace}/services?labelSelector=app.kubernetes.io/name=sealed-secrets"))?;
        // The chart has a second one, for its metrics.
        let services = services.iter().filter(|service| service["spec"]["ports"][0]["name"] == "http");
        self.snapshot.services = services.filter_map(|service| Some(visible(service["metadata"]["name"].as_str()?))).collect();
        match super::fetch_cert::served(self.cluster, namespace, name) {
            Ok(pem) => self.snapshot.served = SealingCertificate::read(&pem).ok().map(|certificate| certificate.digest),
            Err(error) if error.kind == ErrorKind::Cluster => {}
            Err(error) => drop(self.had::<()>("its certificate", Err(error))?),
        }
        let keys = self.cluster.metadata_list(&format!("/api/v1/namespaces/{namespace}/secrets?labelSelector={KEY_LABEL}=active"));
        self.snapshot.keys = items(self.had("the key Secrets", keys)?);
        Ok(())
    }

    fn values(&mut self) -> Result<()> {
        self.snapshot.sealed = self.items("/apis/bitnami.com/v1alpha1/sealedsecrets")?;
        for name in self.wanted.sealed.keys() {
            let source = self.metadata(&format!("/api/v1/namespaces/{}/secrets/{name}", self.wanted.contract.namespace))?;
            self.snapshot.sources.insert(name.clone(), source);
        }
        Ok(())
    }

    fn store(&mut self) -> Result<()> {
        let contract = self.wanted.contract;
        let (reader, store) = (&contract.reader, &contract.store);
        let account = self.metadata(&format!("/api/v1/namespaces/{}/serviceaccounts/{}", reader.namespace, reader.name))?;
        self.snapshot.account = account.is_some();
        self.snapshot.store = self.get(&format!("/apis/external-secrets.io/v1/clustersecretstores/{store}"))?;
        self.snapshot.store_events = self.events("default", "ClusterSecretStore", store.as_str())?;
        for name in contract.read_keys().map(|key| &key.name).filter(|name| self.wanted.sealed.contains_key(name)) {
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
                "spec": {
                    "user": format!("system:serviceaccount:{}:{}", reader.namespace, reader.name),
                    "resourceAttributes": { "verb": "get", "resource": "secrets", "namespace": contract.namespace.as_str(), "name": name.as_str() },
                },
            });
            let answer = self.cluster.review("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).map(Some);
            if let Some(answer) = self.had("a subjectaccessreview", answer)? {
                self.snapshot.access.insert(name.clone(), answer["status"]["allowed"].as_bool().unwrap_or(false));
            }
        }
        Ok(())
    }

    fn readers(&mut self) -> Result<()> {
        for (index, consumer) in self.wanted.contract.consumers.iter().enumerate() {
            let Some(name) = &consumer.name else { continue };
            let namespace = consumer.namespace.as_str();
            let object = self.get(&format!("/apis/external-secrets.io/v1/namespaces/{namespace}/externalsecrets/{name}"))?;
            let mut reader = Reader { index, object, events: Vec::new(), target: None };
            if reader.object.is_some() {
                reader.events = self.events(namespace, "ExternalSecret", name.as_str())?;
                reader.target = self.metadata(&format!("/api/v1/namespaces/{namespace}/secrets/{}", consumer.target))?;
            }
            self.snapshot.readers.push(reader);
        }
        Ok(())
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
