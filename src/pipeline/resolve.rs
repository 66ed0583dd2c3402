//! Contract, platform and configuration → the contract as this platform needs it, and where the two disagree.

use std::collections::{BTreeMap, BTreeSet};

use super::platform::{self, Platform, Read, Reader};
use crate::model::{
    Application, Code, Configuration, Consumer, Contract, DataKey, Entry, Error, Finding, Name, Namespace, PROPERTY, Position, Result,
    near, visible,
};

/// What the commands go by.
pub struct Resolved {
    /// Its consumers are those that are really there; its keys know whether they are needed.
    pub contract: Contract,
    /// Where contract and platform disagree, by place.
    pub coverage: Vec<Finding>,
}

/// The configuration of the environment that is meant; none where the platform has no environments.
pub fn configuration<'p>(platform: &'p Platform, environment: Option<&str>) -> Result<Option<(&'p str, &'p Configuration)>> {
    let known: Vec<&str> = platform.configurations.keys().map(String::as_str).collect();
    let list = || known.iter().map(|name| format!("`{}`", visible(name))).collect::<Vec<_>>().join(", ");
    match (environment, known.as_slice()) {
        (None, []) => Ok(None),
        (None, [one]) => Ok(Some((one, &platform.configurations[*one]))),
        (None, _) => Err(Error::usage("the platform has several environments", format!("name one with `--environment`: {}", list()))),
        (Some(name), _) => match platform.configurations.get_key_value(name) {
            Some((name, configuration)) => Ok(Some((name.as_str(), configuration))),
            None if known.is_empty() => Err(Error::usage(
                "the platform has no `environments/<name>/config.yaml`",
                "drop `--environment`: every key counts as needed",
            )),
            None => Err(Error::usage("`--environment` names none of the platform's", format!("it has {}", list()))),
        },
    }
}

/// Puts the platform's own consumers in the place of the contract's; `patches` is the component that adds the property, as a
/// path in the checkout, where it lies in it.
pub fn resolve(
    mut contract: Contract,
    platform: &Platform,
    environment: Option<(&str, &Configuration)>,
    patches: Option<&str>,
) -> Result<Resolved> {
    if let Some((_, configuration)) = environment {
        for key in &mut contract.keys {
            key.needed = key.when.as_ref().is_none_or(|when| when.holds(configuration));
        }
    }
    let mut coverage = Coverage { platform, contract: &contract, patches, found: Vec::new(), consumers: Vec::new() };
    coverage.found.extend(platform.notes.iter().map(|note| Finding { ..note.clone() }));
    platform.readers.iter().for_each(|reader| coverage.reader(reader));
    coverage.helm();
    if coverage.consumers.is_empty() {
        return Err(nobody(&contract, platform));
    }
    coverage.unread();
    coverage.ambiguous();
    coverage.backend(environment);
    let Coverage { mut found, mut consumers, .. } = coverage;
    found.sort();
    found.dedup();
    consumers.sort_by(|a, b| (&a.namespace, &a.name, &a.target).cmp(&(&b.namespace, &b.name, &b.target)));
    consumers.dedup();
    contract.consumers = consumers;
    Ok(Resolved { contract, coverage: found })
}

fn nobody(contract: &Contract, platform: &Platform) -> Error {
    let stores: BTreeSet<&str> = platform
        .readers
        .iter()
        .flat_map(|reader| &reader.entries)
        .map(|entry| entry.store.1.as_str())
        .filter(|name| !name.is_empty())
        .collect();
    let seen = match stores.len() {
        0 => "it has no ExternalSecret at all".to_owned(),
        _ => {
            format!("its ExternalSecrets name {}", stores.iter().map(|name| format!("`{}`", visible(name))).collect::<Vec<_>>().join(", "))
        }
    };
    Error::bad_input(
        format!("no ExternalSecret of this checkout reads a key of the contract from the store `{}`", contract.store),
        "name the root of the platform's checkout, or a contract for this platform: `seal-secrets contract --from-platform DIR`",
    )
    .why(seen)
    .in_file(&platform.root)
}

/// The entries of an ExternalSecret that read keys of the contract from its store, and have no other property.
pub fn delivered(contract: &Contract, reader: &Reader) -> Vec<Entry> {
    let ours = reader.entries.iter().filter(|read| read.store.1 == contract.store.as_str());
    let entry = |read: &Read| {
        let key = contract.key(&read.key)?;
        let fits = read.property.as_deref().is_none_or(|property| property == PROPERTY);
        fits.then_some(Entry { index: read.index, secret_key: DataKey::new(&read.secret_key).ok()?, key: key.name.clone() })
    };
    ours.filter_map(entry).collect()
}

struct Coverage<'p> {
    platform: &'p Platform,
    contract: &'p Contract,
    patches: Option<&'p str>,
    found: Vec<Finding>,
    consumers: Vec<Consumer>,
}

impl Coverage<'_> {
    fn add(&mut self, code: Code, file: &str, position: Position, what: String, help: &str) {
        self.found.push(platform::finding(&self.platform.root, code, file, Some(position), what, help));
    }

    fn is_ours(&self, store: &platform::Store) -> bool {
        store.1 == self.contract.store.as_str()
    }

    fn reader(&mut self, reader: &Reader) {
        for (key, store, position) in &reader.whole {
            if !self.is_ours(store) {
                continue;
            }
            let what = match key {
                Some(key) => {
                    format!("`{}` reads the whole source Secret `{}`: its target gets the data key `{PROPERTY}`", reader.name, key)
                }
                None => format!("`{}` searches the store, which its account may not", reader.name),
            };
            let help = "name each value in `spec.data`, with `remoteRef.key` and `remoteRef.property`";
            self.add(Code::ReadsWholeSecret, &reader.file, *position, what, help);
        }
        let others: BTreeSet<&str> =
            reader.entries.iter().filter(|entry| !self.is_ours(&entry.store)).map(|entry| entry.store.1.as_str()).collect();
        if !others.is_empty() {
            let names: Vec<String> = others.iter().map(|name| format!("`{name}`")).collect();
            let what = format!("`{}` reads from {}, not from `{}`", reader.name, names.join(", "), self.contract.store);
            let help = "nothing is to do if that is meant; otherwise name this store in `secretStoreRef`";
            self.add(Code::OtherStore, &reader.file, reader.position, what, help);
        }
        let ours: Vec<&Read> = reader.entries.iter().filter(|entry| self.is_ours(&entry.store)).collect();
        ours.iter().for_each(|read| self.read(reader, read));
        let bare: Vec<&&Read> = ours.iter().filter(|read| read.property.is_none() && self.contract.key(&read.key).is_some()).collect();
        let added = self.patches.is_some_and(|patches| self.platform.includes(&reader.file, patches));
        if let Some(first) = bare.first().filter(|_| !added) {
            let what = format!("`{}` has {} entries without a property: its target would hold JSON", reader.name, bare.len());
            let help = "run `seal-secrets patch --write`, or include the component `property-patches`";
            self.add(Code::PropertyMissing, &reader.file, first.position, what, help);
        }
        let entries = delivered(self.contract, reader);
        if !entries.is_empty() {
            self.consumer(reader, &entries);
        }
    }

    fn read(&mut self, reader: &Reader, read: &Read) {
        let Some(key) = self.contract.key(&read.key) else {
            let names = self.contract.keys.iter().map(|key| key.name.as_str());
            let help = match near(&read.key, names) {
                Some(meant) => {
                    format!("did you mean `{meant}`? otherwise add it to a contract of your own, and name that with `--contract`")
                }
                None => "add it to a contract of your own, and name that with `--contract`".to_owned(),
            };
            let what = format!("`{}` reads `{}`, which the contract does not have", reader.name, read.key);
            return self.add(Code::KeyUnknown, &reader.file, read.position, what, &help);
        };
        if !key.needed {
            let when = key.when.as_ref().map_or("", |when| when.text.as_str());
            let what = format!("`{}` reads `{}`, which is needed only when {when}", reader.name, key.name);
            self.add(Code::KeyNotNeeded, &reader.file, read.position, what, "switch the feature on, or leave the manifest out");
        }
        if read.property.as_deref().is_some_and(|property| property != PROPERTY) {
            let what = format!("`{}` reads another property of `{}` than `{PROPERTY}`", reader.name, key.name);
            self.add(Code::PropertyDiffers, &reader.file, read.position, what, &format!("write `property: {PROPERTY}`"));
        }
    }

    /// A consumer for each namespace in which this ExternalSecret will be.
    fn consumer(&mut self, reader: &Reader, entries: &[Entry]) {
        let (name, target) = (Name::new(&reader.name), Name::new(&reader.target));
        let (Ok(name), Ok(target)) = (name, target) else {
            let what = "an ExternalSecret, or its target, has no name that Kubernetes takes".to_owned();
            return self.add(Code::Unreadable, &reader.file, reader.position, what, "give it a DNS-1123 name");
        };
        for namespace in self.namespaces(reader) {
            match Namespace::new(&namespace) {
                Ok(namespace) => {
                    self.consumers.push(Consumer { namespace, name: Some(name.clone()), target: target.clone(), entries: entries.to_vec() })
                }
                Err(_) => {
                    let what = format!("nothing says in which namespace `{name}` will be: the store would refuse it");
                    let help = "add `metadata.namespace`, or `namespace` to its kustomization";
                    self.add(Code::NamespaceUnknown, &reader.file, reader.position, what, help);
                }
            }
        }
    }

    /// kustomize's word, the manifest's, the Application's, the contract's; "" where nobody has one.
    fn namespaces(&self, reader: &Reader) -> BTreeSet<String> {
        if reader.cluster {
            let named: BTreeSet<String> = reader.namespaces.iter().cloned().collect();
            return if named.is_empty() { BTreeSet::from([String::new()]) } else { named };
        }
        let own = || {
            let contract =
                self.contract.consumers.iter().find(|consumer| consumer.name.as_ref().is_some_and(|name| name.as_str() == reader.name));
            let known = reader.namespaces.first().map(String::as_str).or_else(|| self.platform.destination(platform::folder(&reader.file)));
            known.or_else(|| contract.map(|consumer| consumer.namespace.as_str())).unwrap_or("").to_owned()
        };
        self.platform.kustomized(&reader.file).into_iter().map(|moved| moved.unwrap_or_else(own)).collect()
    }

    /// Keys that helm values name: their ExternalSecret is the one that the contract knows without a manifest.
    fn helm(&mut self) {
        for (file, key, position) in &self.platform.helm {
            let Some(key) = self.contract.key(key) else { continue };
            let known = self.contract.consumers.iter().filter(|consumer| consumer.name.is_none());
            let mut readers = known.filter(|consumer| consumer.entries.iter().any(|entry| entry.key == key.name)).peekable();
            if readers.peek().is_none() {
                let what = format!("helm values name `{}`, and the contract does not say who reads it", key.name);
                let help = "add the ExternalSecret that the chart renders to the contract's `consumers`, without a `name`";
                self.add(Code::NamespaceUnknown, file, *position, what, help);
                continue;
            }
            let consumers: Vec<Consumer> = readers.cloned().collect();
            let what = format!("a helm chart reads `{}`: there is no manifest to patch", key.name);
            let help = format!(
                "give its ExternalSecret `property: {PROPERTY}` through the chart's values, or use `seal-secrets patch -` as a post-renderer"
            );
            self.add(Code::RenderedByHelm, file, *position, what, &help);
            self.consumers.extend(consumers);
        }
    }

    fn unread(&mut self) {
        let read: BTreeSet<&Name> = self.consumers.iter().flat_map(|consumer| &consumer.entries).map(|entry| &entry.key).collect();
        let unread = self.contract.keys.iter().filter(|key| key.needed && !key.operator_copy && !read.contains(&key.name));
        let unread: Vec<Finding> = unread
            .map(|key| Finding {
                code: Code::KeyUnread,
                place: self.platform.root.clone(),
                what: format!("nobody reads `{}`", key.name),
                help: "nothing is to do if a chart or a person reads it; otherwise take it out of the contract".to_owned(),
            })
            .collect();
        self.found.extend(unread);
    }

    /// Two of one name in one namespace: a patch by name cannot serve both where they read differently.
    fn ambiguous(&mut self) {
        let mut seen: BTreeMap<(&Namespace, &Name), &Vec<Entry>> = BTreeMap::new();
        let mut twice = BTreeSet::new();
        for consumer in &self.consumers {
            let Some(name) = &consumer.name else { continue };
            if seen.insert((&consumer.namespace, name), &consumer.entries).is_some_and(|before| *before != consumer.entries) {
                twice.insert((consumer.namespace.to_string(), name.to_string()));
            }
        }
        for (namespace, name) in twice {
            let readers = self.platform.readers.iter().filter(|reader| reader.name == name);
            let files: Vec<&str> = readers.map(|reader| reader.file.as_str()).collect();
            let what = format!("`{name}` of `{namespace}` reads different things in {}", files.join(" and "));
            let help = "use `seal-secrets patch --write`, or give them names of their own".to_owned();
            self.found.push(Finding { code: Code::AmbiguousConsumer, place: self.platform.root.clone(), what, help });
        }
    }

    fn backend(&mut self, environment: Option<(&str, &Configuration)>) {
        let Some((name, configuration)) = environment else { return };
        if configuration.get("secret_backend").is_some_and(|backend| backend == "gcpsm") {
            let what = "`secret_backend` is `gcpsm`: the platform's scripts would overwrite the store".to_owned();
            let path = format!("environments/{name}/config.yaml");
            self.found.push(platform::finding(
                &self.platform.root,
                Code::SecretBackend,
                &path,
                None,
                what,
                "write `secret_backend: kubernetes`",
            ));
        }
    }
}

/// The Argo CD Application for an output folder at this path of the checkout, in the conventions of those that are there:
/// the repository and project that most of them have, one wave after the two controllers. None where there are none.
pub fn application(platform: &Platform, path: &str) -> Option<Application> {
    let mut votes: BTreeMap<(&str, &str, &str, &str), usize> = BTreeMap::new();
    for application in &platform.applications {
        let namespace = application.namespace.as_deref().unwrap_or("argocd");
        for (repository, revision, _) in &application.sources {
            *votes.entry((&application.project, repository, revision.as_deref().unwrap_or("HEAD"), namespace)).or_default() += 1;
        }
    }
    let ((project, repository, revision, namespace), _) = votes.into_iter().max_by_key(|(_, count)| *count)?;
    let controllers = platform
        .applications
        .iter()
        .filter(|application| ["external-secrets", "sealed-secrets"].iter().any(|controller| application.name.contains(controller)));
    Some(Application {
        project: project.to_owned(),
        repository: repository.to_owned(),
        revision: revision.to_owned(),
        path: path.to_owned(),
        namespace: Namespace::new(namespace).ok()?,
        wave: controllers.map(|application| application.wave + 1).max().unwrap_or(-1),
    })
}

/// Whether the Application's project allows its repository (Argo CD: `sourceRepos`, with `*`).
pub fn check_project(platform: &Platform, application: &Application) -> Option<Finding> {
    let (file, project) = platform.projects.iter().find(|(_, project)| project.name == application.project)?;
    let allows = |pattern: &String| {
        pattern == "*"
            || *pattern == application.repository
            || pattern.strip_suffix('*').is_some_and(|start| application.repository.starts_with(start))
    };
    if project.repositories.iter().any(allows) {
        return None;
    }
    let what = format!("the AppProject `{}` does not allow the repository `{}`", project.name, application.repository);
    let help = format!("add `{}` to its `sourceRepos`", application.repository);
    Some(platform::finding(&platform.root, Code::SourceRepositoryMissing, file, Some(project.position), what, &help))
}
