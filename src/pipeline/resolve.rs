//! Contract, platform and configuration → the contract as this platform needs it, and where the two disagree.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::iter;

use super::platform::{self, Manifest, Platform};
use crate::manifest::external_secret::{Entry as Written, ExternalSecret, Made, Slot, StoreRef, Tool, Whole};
use crate::model::{
    Application, Code, Configuration, Consumer, Contract, DataKey, Entry, Error, Finding, Key, Name, Namespace, PROPERTY, Position, Result,
    Sorted, StoreKind, counted, near, quoted, visible,
};

pub struct Resolved {
    /// With the platform's own consumers, and keys marked as needed or not.
    pub contract: Contract,
    pub coverage: Vec<Finding>,
}

/// The configuration of this environment, or of the only one; none if the platform has no environments.
pub fn configuration<'p>(platform: &'p Platform, environment: Option<&str>) -> Result<Option<(&'p str, &'p Configuration)>> {
    let known: Vec<&str> = platform.configurations.keys().map(String::as_str).collect();
    let list = || known.iter().map(|name| format!("`{}`", visible(name))).collect::<Vec<_>>().join(", ");
    let name = match (environment, known.as_slice()) {
        (None, []) => return Ok(None),
        (None, [one]) => one,
        (None, _) => {
            return Err(Error::usage("the platform has several environments", format!("pass one with `--environment`: {}", list())));
        }
        (Some(name), _) => name,
    };
    match platform.configurations.get_key_value(name) {
        Some((name, Ok(configuration))) => Ok(Some((name.as_str(), configuration))),
        Some((_, Err(error))) => Err(error.clone()),
        None if known.is_empty() => {
            Err(Error::usage("the platform has no `environments/<name>/config.yaml`", "drop `--environment`: every key counts as needed"))
        }
        None => Err(Error::usage("the platform has no such environment", format!("pass one of {} with `--environment`", list()))),
    }
}

/// Replaces the contract's consumers by the platform's own. `patches` is the checkout path of the component that adds the property, if the
/// checkout has it; `kind` is the store's, if it was given.
pub fn resolve(
    contract: Contract,
    platform: &Platform,
    environment: Option<(&str, &Configuration)>,
    patches: Option<&str>,
    kind: Option<StoreKind>,
) -> Result<Resolved> {
    let contract = match environment {
        Some((_, configuration)) => contract.under(configuration),
        None => contract,
    };
    let mut coverage = Coverage { platform, contract: &contract, patches, kind, found: platform.notes.clone(), consumers: Vec::new() };
    let manifests: Vec<&Manifest> = platform.manifests.iter().filter(|manifest| coverage.is_manifest(manifest)).collect();
    for manifest in &manifests {
        coverage.manifest(manifest);
    }
    coverage.helm();
    platform.made.iter().for_each(|made| coverage.made(made));
    coverage.pushed();
    let tells = |finding: &Finding| {
        use Code::*;
        matches!(finding.code, RenderedElsewhere | ReadsWholeSecret | PropertyDiffers | ReadsOtherwise | Unreadable)
    };
    let read_at_all = coverage.found.iter().any(tells)
        || !coverage.consumers.is_empty()
        || manifests
            .iter()
            .any(|manifest| !delivered(&contract, kind, manifest).is_empty() || !extracted(&contract, kind, manifest).is_empty());
    if !read_at_all {
        return Err(nothing_read(&contract, platform));
    }
    coverage.ambiguous();
    coverage.patched();
    let unpatchable = coverage.consumers.iter().filter(|(_, consumer)| !consumer.patchable).filter_map(|(manifest, _)| *manifest);
    let unpatchable: HashSet<*const Manifest> = unpatchable.map(std::ptr::from_ref).collect();
    manifests.iter().for_each(|manifest| coverage.delivery(manifest, !unpatchable.contains(&std::ptr::from_ref(*manifest))));
    coverage.unread();
    coverage.backend(environment);
    let Coverage { mut found, consumers, .. } = coverage;
    found.sort_unstable();
    found.dedup();
    let mut consumers: Vec<Consumer> = consumers.into_iter().map(|(_, consumer)| consumer).collect();
    consumers.sort_by(|a, b| (&a.namespace, &a.name, &a.target).cmp(&(&b.namespace, &b.name, &b.target)));
    consumers.dedup();
    Ok(Resolved { contract: contract.with_consumers(consumers)?, coverage: found })
}

fn nothing_read(contract: &Contract, platform: &Platform) -> Error {
    let stores: BTreeSet<&str> = platform
        .manifests
        .iter()
        .flat_map(|manifest| &manifest.secret.entries)
        .map(|entry| entry.store.name.as_str())
        .filter(|name| !name.is_empty())
        .sorted();
    let seen = match stores.len() {
        0 => "it has no ExternalSecret at all".to_owned(),
        _ => {
            format!("its ExternalSecrets use {}", stores.iter().map(|name| format!("`{}`", visible(name))).collect::<Vec<_>>().join(", "))
        }
    };
    let draft = format!("seal-secrets contract --from-platform {}", quoted(&platform.root));
    let help = format!("pass the root of the platform's checkout, or draft a contract for it with `{draft}`");
    Error::bad_input(format!("no ExternalSecret of this checkout reads a key of the contract from the store `{}`", contract.store), help)
        .why(seen)
        .in_file(&platform.root)
}

/// Whether a store is the contract's: a ClusterSecretStore, or the given kind.
pub fn is_ours(contract: &Contract, kind: Option<StoreKind>, store: &StoreRef) -> bool {
    store.name == contract.store.as_str() && (kind.is_some() || store.kind == StoreKind::ClusterSecretStore.as_str())
}

/// The entries of an ExternalSecret that read keys of the contract from its store, with an existing property.
fn delivered(contract: &Contract, kind: Option<StoreKind>, manifest: &Manifest) -> Vec<Entry> {
    let ours = manifest.secret.entries.iter().filter(|read| is_ours(contract, kind, &read.store));
    let entry = |read: &Written| {
        contract.secret(&read.key)?;
        let property = read.property.as_deref().or_else(|| contract.only_property(&read.key))?;
        let property = contract.properties(&read.key).contains(property).then(|| DataKey::new(property).ok())??;
        let secret_key = DataKey::new(&read.secret_key).ok()?;
        Some(Entry { index: read.index, secret_key, key: Name::new(&read.key).ok()?, property, own_store: read.own_store })
    };
    ours.filter_map(entry).collect()
}

/// The source Secrets that an ExternalSecret reads whole, as they are meant to be read.
fn extracted(contract: &Contract, kind: Option<StoreKind>, manifest: &Manifest) -> Vec<Name> {
    let ours = manifest.secret.whole.iter().filter(|whole| is_ours(contract, kind, &whole.store));
    let named = ours.filter_map(|whole| whole.key.as_deref()).filter(|key| is_meant_whole(contract, manifest, key));
    let mut secrets: Vec<Name> = named.filter_map(|key| Name::new(key).ok()).collect();
    secrets.dedup();
    secrets
}

/// Whether a source Secret may be read whole: its data keys have names of their own, or a template uses its only one.
fn is_meant_whole(contract: &Contract, manifest: &Manifest, key: &str) -> bool {
    let only = contract.only_property(key);
    contract.secret(key).is_some() && (only != Some(PROPERTY) || manifest.secret.fields.contains(PROPERTY))
}

struct Coverage<'p> {
    platform: &'p Platform,
    contract: &'p Contract,
    patches: Option<&'p str>,
    kind: Option<StoreKind>,
    found: Vec<Finding>,
    /// Each with its manifest; none = a helm chart renders it.
    consumers: Vec<(Option<&'p Manifest>, Consumer)>,
}

impl<'p> Coverage<'p> {
    fn add(&mut self, code: Code, file: &str, position: Position, what: String, help: &str) {
        self.found.push(platform::finding(&self.platform.root, code, file, Some(position), what, help));
    }

    fn is_ours(&self, store: &StoreRef) -> bool {
        is_ours(self.contract, self.kind, store)
    }

    /// Whether it is a readable manifest, and not only a patch for one.
    fn is_manifest(&mut self, manifest: &Manifest) -> bool {
        let Manifest { file, secret } = manifest;
        if self.platform.is_patch(file) {
            return false;
        }
        if let Some(position) = secret.hidden {
            let what = format!("`{}` uses a YAML alias or merge key, so what it reads cannot be determined", secret.name);
            self.add(Code::Unreadable, file, position, what, "write it out");
        }
        secret.hidden.is_none()
    }

    fn manifest(&mut self, manifest: &'p Manifest) {
        let Manifest { file, secret } = manifest;
        let (contract, kind) = (self.contract, self.kind);
        self.whole(manifest, &|whole| is_ours(contract, kind, &whole.store));
        let others: BTreeSet<String> = secret
            .entries
            .iter()
            .filter(|entry| !self.is_ours(&entry.store))
            .map(|entry| format!("`{}/{}`", visible(&entry.store.kind), visible(&entry.store.name)))
            .sorted();
        if !others.is_empty() {
            let names: Vec<String> = others.into_iter().collect();
            let what = format!("`{}` reads from {}, not from `ClusterSecretStore/{}`", secret.name, names.join(", "), self.contract.store);
            let help = "nothing to do if this is intended; otherwise set this store in `secretStoreRef`";
            self.add(Code::OtherStore, file, secret.position, what, help);
        }
        let ours: Vec<&Written> = secret.entries.iter().filter(|entry| self.is_ours(&entry.store)).collect();
        ours.iter().for_each(|read| self.read(manifest, read));
        if secret.outdated && !ours.is_empty() {
            let what = format!("`{}` is not of `external-secrets.io/v1`, the only version that ESO serves", secret.name);
            self.add(Code::VersionNotServed, file, secret.position, what, "write `apiVersion: external-secrets.io/v1`");
        }
        let (entries, whole) = (delivered(self.contract, self.kind, manifest), extracted(self.contract, self.kind, manifest));
        self.template(manifest, &whole);
        if !entries.is_empty() || !whole.is_empty() {
            self.consumer(manifest, &entries, &whole);
        }
    }

    /// Reports the template fields that nothing which the ExternalSecret reads provides.
    fn template(&mut self, manifest: &Manifest, whole: &[Name]) {
        let Manifest { file, secret } = manifest;
        // Renamed data keys, and those from elsewhere, are unknown.
        let certain = secret.whole.iter().all(|one| !one.changed && one.key.is_some() && self.is_ours(&one.store));
        if whole.is_empty() || whole.len() < secret.whole.len() || !certain {
            return;
        }
        let mut known: BTreeSet<&str> = whole.iter().flat_map(|secret| self.contract.properties(secret.as_str())).sorted();
        known.extend(secret.entries.iter().map(|entry| entry.secret_key.as_str()));
        let missing: Vec<&String> = secret.fields.iter().filter(|field| !known.contains(field.as_str())).collect();
        let Some(first) = missing.first() else { return };
        let list: Vec<String> = missing.iter().map(|field| format!("`{}`", visible(field))).collect();
        let help = match near(first, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("add it to the `values` of `{}` in the contract", whole[0]),
        };
        let what = format!("the template of `{}` uses {}, which is in nothing that it reads", secret.name, list.join(", "));
        self.add(Code::PropertyDiffers, file, secret.position, what, &help);
    }

    /// Reports entries that read whole source Secrets of our store.
    fn whole(&mut self, manifest: &Manifest, is_ours: &dyn Fn(&Whole) -> bool) {
        let Manifest { file, secret } = manifest;
        let name = if secret.name.is_empty() { "an ExternalSecret".to_owned() } else { format!("`{}`", secret.name) };
        for Whole { key, position, changed, .. } in secret.whole.iter().filter(|whole| is_ours(whole)) {
            let meant = key.as_ref().is_some_and(|key| is_meant_whole(self.contract, manifest, key));
            if meant && !changed {
                continue;
            }
            let what = match key {
                Some(key) if meant => {
                    let what = format!("{name} reads the whole source Secret `{key}`, and changes its data keys or values");
                    let help = "check that its target holds what is expected: what it changes is not followed";
                    self.add(Code::ReadsOtherwise, file, *position, what, help);
                    continue;
                }
                Some(key) if self.contract.secret(key).is_none() => {
                    format!("{name} reads the whole source Secret `{key}`, which the contract does not have")
                }
                Some(key) => format!("{name} reads the whole source Secret `{key}`: its target gets the data key `{PROPERTY}`"),
                None => format!("{name} searches the store, and its account has no right to do that"),
            };
            self.add(Code::ReadsWholeSecret, file, *position, what, LIST_EACH);
        }
    }

    /// Reports entries that get no property, and a store of another kind than the given one.
    fn delivery(&mut self, manifest: &Manifest, patchable: bool) {
        let Manifest { file, secret } = manifest;
        let ours: Vec<&Written> =
            secret.entries.iter().filter(|read| self.is_ours(&read.store) && self.contract.secret(&read.key).is_some()).collect();
        let included = self.patches.is_some_and(|patches| self.platform.includes(file, patches));
        if included && patchable {
            return;
        }
        let bare = ours.iter().filter(|read| read.property.is_none() && self.contract.only_property(&read.key).is_some());
        let bare: Vec<&&Written> = bare.collect();
        if let Some(first) = bare.first() {
            let what = format!("`{}` reads {} without a property: its target would hold JSON", secret.name, counted(bare.len(), "key"));
            let help = match bare.iter().all(|read| read.slot != Slot::Shared) {
                true if secret.nested => format!("{PATCH}`"),
                true => format!("{PATCH}`, or include the component `property-patches`"),
                false => {
                    let property = self.contract.only_property(&first.key).unwrap_or(PROPERTY);
                    format!("write `remoteRef` out where an anchor repeats it, or add `property: {property}` by hand")
                }
            };
            self.add(Code::PropertyMissing, file, first.position, what, &help);
        }
        let Some(kind) = self.kind else { return };
        if let Some(other) = ours.iter().find(|read| read.store.kind != kind.as_str()) {
            let what = format!("`{}` refers to the store as a {}, not a {}", secret.name, visible(&other.store.kind), kind.as_str());
            let help = format!("{PATCH}`");
            self.add(Code::StoreKindDiffers, file, secret.position, what, &help);
        }
    }

    fn read(&mut self, manifest: &Manifest, read: &Written) {
        let Manifest { file, secret } = manifest;
        let Some(key) = self.contract.secret(&read.key) else {
            let names = self.contract.secrets().into_iter();
            let help = match near(&read.key, names) {
                Some(meant) => {
                    format!("did you mean `{meant}`? otherwise add it to a contract of your own, and pass that with `--contract`")
                }
                None => "add it to a contract of your own, and pass that with `--contract`".to_owned(),
            };
            let what = format!("`{}` reads `{}`, which the contract does not have", secret.name, read.key);
            return self.add(Code::KeyUnknown, file, read.position, what, &help);
        };
        if !key.needed {
            let when = key.when.as_ref().map_or("", |when| when.text.as_str());
            let what = format!("`{}` reads `{}`, which is needed only when {when}", secret.name, read.key);
            self.add(Code::KeyNotNeeded, file, read.position, what, "turn the feature on, or leave the manifest out");
        }
        self.property(manifest, read);
        self.otherwise(manifest, read);
        if DataKey::new(&read.secret_key).is_err() {
            let what = format!("`{}` has an entry with an invalid `secretKey`", secret.name);
            self.add(Code::Unreadable, file, read.position, what, "use letters, digits, `-`, `_` and `.`");
        }
    }

    /// Reports a property that the source Secret does not have, or a missing property where it has several.
    fn property(&mut self, manifest: &Manifest, read: &Written) {
        let (file, name) = (&manifest.file, &manifest.secret.name);
        let known = self.contract.properties(&read.key);
        let list = || known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
        let (what, help) = match (read.property.as_deref(), self.contract.only_property(&read.key)) {
            (Some(property), _) if known.contains(property) => return,
            (None, Some(_)) => return,
            (Some(_), Some(only)) => {
                (format!("`{name}` reads a property of `{}` other than `{only}`", read.key), format!("write `property: {only}`"))
            }
            (Some(property), None) => {
                let otherwise = format!("it has {}; or add it to the contract", list());
                let help = near(property, known.iter().copied()).map_or(otherwise, |meant| format!("did you mean `{meant}`?"));
                (format!("`{name}` reads a property of `{}` that the contract does not have", read.key), help)
            }
            (None, None) => {
                let what =
                    format!("`{name}` reads `{}` without a property, and it has several values: its target would hold JSON", read.key);
                (what, format!("write `property:` with one of {}", list()))
            }
        };
        self.add(Code::PropertyDiffers, file, read.position, what, &help);
    }

    /// Reports settings that make ESO change the value.
    fn otherwise(&mut self, manifest: &Manifest, read: &Written) {
        let Some(field) = read.otherwise else { return };
        let what = format!("`{}` is read with `{field}`: something other than its value arrives", read.key);
        self.add(Code::ReadsOtherwise, &manifest.file, read.position, what, &format!("remove `{field}`, or write `{field}: None`"));
    }

    /// Adds a consumer for each namespace in which this ExternalSecret will be.
    fn consumer(&mut self, manifest: &'p Manifest, entries: &[Entry], whole: &[Name]) {
        let Manifest { file, secret } = manifest;
        let (name, target) = (Name::new(&secret.name), Name::new(&secret.target));
        let (Ok(name), Ok(target)) = (name, target) else {
            let what = "the name of an ExternalSecret, or of its target, is not valid in Kubernetes".to_owned();
            return self.add(Code::Unreadable, file, secret.position, what, "give it a DNS-1123 name");
        };
        for namespace in self.namespaces(manifest) {
            match Namespace::new(&namespace) {
                Ok(namespace) => {
                    let (name, target, entries) = (Some(name.clone()), target.clone(), entries.to_vec());
                    self.consumers.push((
                        Some(manifest),
                        Consumer { namespace, name, target, entries, whole: whole.to_vec(), patchable: !secret.cluster && !secret.nested },
                    ));
                }
                Err(_) => {
                    let what = format!("the namespace of `{name}` is unknown: the store would refuse it");
                    let help = "add `metadata.namespace`, `namespace` to its kustomization, or `default-namespace` to the settings";
                    self.add(Code::NamespaceUnknown, file, secret.position, what, help);
                }
            }
        }
    }

    /// Its namespaces: from kustomize, the manifest, the Application, the contract or the settings, in this order; "" if none of them sets
    /// one.
    fn namespaces(&self, manifest: &Manifest) -> BTreeSet<String> {
        let Manifest { file, secret } = manifest;
        if secret.cluster {
            let named: BTreeSet<String> = secret.namespaces.iter().cloned().sorted();
            return if named.is_empty() { iter::once(String::new()).sorted() } else { named };
        }
        let contract =
            self.contract.consumers.iter().find(|consumer| consumer.name.as_ref().is_some_and(|name| name.as_str() == secret.name));
        let known = || contract.map(|consumer| consumer.namespace.to_string());
        if secret.fixed && !secret.namespaces.is_empty() {
            return secret.namespaces.iter().cloned().collect();
        }
        let placed = self.platform.namespaces(file, secret.namespaces.first().map(String::as_str)).into_iter();
        let otherwise = || self.platform.otherwise.as_ref().map(ToString::to_string);
        placed.map(|namespace| namespace.or_else(known).or_else(otherwise).unwrap_or_default()).sorted()
    }

    /// Adds the consumers of keys in helm values: those that have no name in the contract.
    fn helm(&mut self) {
        for (file, key, position) in &self.platform.helm {
            if self.contract.secret(key).is_none() {
                continue;
            }
            let known = self.contract.consumers.iter().filter(|consumer| consumer.name.is_none());
            let mut reading = known.filter(|consumer| consumer.reads().any(|secret| secret.as_str() == key)).peekable();
            if reading.peek().is_none() {
                let what = format!("helm values use `{key}`, but no consumer without a `name` in the contract reads it");
                let help = "add the ExternalSecret that the chart renders to the contract's `consumers`, without a `name`";
                self.add(Code::NamespaceUnknown, file, *position, what, help);
                continue;
            }
            let consumers: Vec<_> = reading.map(|consumer| (None, consumer.clone())).collect();
            let what = format!("a helm chart reads `{key}`: there is no manifest to patch");
            let help = format!(
                "give its ExternalSecret `property: {}` through the chart's values, or use `seal-secrets patch -` as a post-renderer",
                self.contract.only_property(key).unwrap_or("DATAKEY")
            );
            self.add(Code::RenderedByHelm, file, *position, what, &help);
            self.consumers.extend(consumers);
        }
    }

    /// Adds the consumers of ExternalSecrets that another tool makes, if the contract has them without a name.
    fn made(&mut self, manifest: &'p Manifest) {
        let Manifest { file, secret } = manifest;
        let Some(made) = secret.made.as_ref().filter(|_| !self.platform.is_patch(file)) else { return };
        if let Some(position) = secret.hidden {
            let what = format!("`{}` uses a YAML alias or merge key, so what it reads cannot be determined", secret.name);
            return self.add(Code::Unreadable, file, position, what, "write it out");
        }
        // A store that is unset, or that a template fills in, may be ours.
        let ours = self.contract.store.as_str();
        let unsaid = |store: &StoreRef| store.kind.is_empty() && store.name == ours;
        let may_be_ours =
            |store: &StoreRef| store.name.is_empty() || store.name.contains(['{', '$']) || unsaid(store) || self.is_ours(store);
        let whole = secret.whole.iter().filter(|whole| may_be_ours(&whole.store));
        let whole: Vec<_> = whole.filter_map(|whole| Some((self.contract.secret(whole.key.as_ref()?)?, whole.position, None))).collect();
        let read = secret.entries.iter().filter(|read| may_be_ours(&read.store));
        let read = read.filter_map(|read| Some((self.contract.secret(&read.key)?, read.position, Some(read)))).chain(whole);
        let read: Vec<(&Key, Position, Option<&Written>)> = read.collect();
        let unknown = *made == Made::Template && (secret.entries.is_empty() || secret.entries.iter().any(|read| may_be_ours(&read.store)));
        if read.is_empty() && unknown {
            if self.is_told_by_values(file) {
                return;
            }
            let what = "a template: what its ExternalSecrets read is known only once it is rendered".to_owned();
            let help = "pass what comes out through `seal-secrets patch -`; if it is never applied, add it to `exclude` in the settings";
            return self.found.push(platform::finding(&self.platform.root, Code::HelmTemplate, file, None, what, help));
        }
        let (contract, kind) = (self.contract, self.kind);
        self.whole(manifest, &|whole| whole.key.is_none() && (unsaid(&whole.store) || is_ours(contract, kind, &whole.store)));
        for (key, position, entry) in read {
            self.made_reader(manifest, made, key, position, entry);
        }
    }

    /// Whether a template's chart has values that say what it reads.
    fn is_told_by_values(&self, template: &str) -> bool {
        let chart = template.rsplit_once("templates/").map_or(template, |(chart, _)| chart);
        let chart = platform::shown(&self.platform.root, chart);
        self.found.iter().any(|finding| finding.code == Code::RenderedByHelm && finding.place.starts_with(&chart))
    }

    /// Adds one key that such an ExternalSecret reads.
    fn made_reader(&mut self, manifest: &Manifest, made: &Made, key: &Key, position: Position, entry: Option<&Written>) {
        let Manifest { file, secret } = manifest;
        // A text that is empty, or that a template fills in, may be anything.
        let may_be = |said: &str, name: &str| said.is_empty() || said.contains(['{', '$']) || said == name;
        let fits = |consumer: &&Consumer| {
            matches!(made, Made::By(_) | Made::Template)
                || may_be(&secret.target, consumer.target.as_str())
                    && secret.namespaces.iter().all(|said| may_be(said, consumer.namespace.as_str()))
        };
        let known = self.contract.consumers.iter().filter(|consumer| consumer.name.is_none());
        let known = known.filter(|consumer| consumer.reads().any(|secret| secret.as_str() == key.name.secret())).filter(fits);
        let known: Vec<_> = known.map(|consumer| (None, consumer.clone())).collect();
        let has = |property: &str| self.contract.properties(key.name.secret()).contains(property);
        let has_property = entry.is_some_and(|entry| entry.property.as_deref().is_some_and(has) || secret.tool == Tool::Flux(true));
        let key = key.name.secret();
        let what = match made {
            Made::Text => format!("an ExternalSecret inside a text reads `{key}`"),
            Made::Template => format!("an ExternalSecret in a template reads `{key}`"),
            Made::Chart => format!("helm values make an ExternalSecret that reads `{key}`"),
            Made::By(kind) => {
                let article = if kind.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
                format!("{article} {} makes an ExternalSecret that reads `{key}`", visible(kind))
            }
        };
        let declared = !known.is_empty();
        // A chart or a template may add the property.
        let may_have_it = has_property || entry.is_some() && matches!(made, Made::Chart | Made::Template);
        let code = if declared && may_have_it { Code::RenderedByHelm } else { Code::RenderedElsewhere };
        self.add(
            code,
            file,
            position,
            what,
            &advice(secret, entry, declared, has_property, self.contract.only_property(key).unwrap_or("DATAKEY")),
        );
        entry.into_iter().for_each(|read| self.otherwise(manifest, read));
        self.consumers.extend(known);
    }

    /// Reports PushSecrets that overwrite a source Secret of ours.
    fn pushed(&mut self) {
        for (file, store, key, position) in &self.platform.pushed {
            // A store that is selected by label may be ours.
            if (store.name.is_empty() || self.is_ours(store)) && self.contract.secret(key).is_some() {
                let what = format!("a PushSecret writes to `{key}` in our store: it replaces the whole source Secret");
                self.add(
                    Code::PushedOver,
                    file,
                    *position,
                    what,
                    "remove this entry, or push to another key: the sealed value is the source",
                );
            }
        }
    }

    fn unread(&mut self) {
        let read: BTreeSet<&str> = self.consumers.iter().flat_map(|(_, consumer)| consumer.reads()).map(Name::as_str).sorted();
        let mut seen = BTreeSet::new();
        let copied = |secret: &str| self.contract.values_of(secret).any(|key| key.operator_copy);
        let unread = self.contract.keys.iter().filter(|key| {
            let secret = key.name.secret();
            key.needed && !copied(secret) && !read.contains(secret) && seen.insert(secret)
        });
        let unread: Vec<Finding> = unread
            .map(|key| Finding {
                code: Code::KeyUnread,
                place: self.contract.place(key),
                what: format!("no ExternalSecret reads `{}`", key.name.secret()),
                help: "nothing to do if a chart or a person reads it; otherwise remove it from the contract".to_owned(),
            })
            .collect();
        self.found.extend(unread);
    }

    /// Reports ExternalSecrets that a patch cannot address. If two of one name read differently, the patch needs the namespace in their
    /// manifests, because kustomize patches before it sets namespaces. A ClusterExternalSecret cannot be patched at all.
    fn ambiguous(&mut self) {
        let mut alike: BTreeMap<Name, Vec<usize>> = BTreeMap::new();
        for (i, (manifest, consumer)) in self.consumers.iter().enumerate() {
            if let (Some(name), false) = (&consumer.name, manifest.is_none_or(|manifest| manifest.secret.nested)) {
                alike.entry(name.clone()).or_default().push(i);
            }
        }
        for (name, group) in alike {
            let first = &self.consumers[group[0]].1.entries;
            let same = group.iter().all(|i| self.consumers[*i].1.entries == *first);
            let own = |i: &usize| self.consumers[*i].0.and_then(|manifest| manifest.secret.namespaces.first().cloned());
            let told_apart = group.iter().all(|i| own(i).as_deref() == Some(self.consumers[*i].1.namespace.as_str()));
            let namespaces: BTreeSet<&Namespace> = group.iter().map(|i| &self.consumers[*i].1.namespace).sorted();
            let cluster = group.iter().any(|i| !self.consumers[*i].1.patchable);
            if !cluster && (same || (told_apart && namespaces.len() == group.len())) {
                continue;
            }
            let files: BTreeSet<&str> = group.iter().filter_map(|i| self.consumers[*i].0).map(|manifest| manifest.file.as_str()).sorted();
            let files: Vec<&str> = files.into_iter().collect();
            let what = format!("`{name}` in {} cannot be patched by name", files.join(" and "));
            let help = "use `seal-secrets patch --write`, or give each its own name or `metadata.namespace`".to_owned();
            self.found.push(Finding { code: Code::AmbiguousConsumer, place: self.platform.root.clone(), what, help });
            group.iter().for_each(|i| self.consumers[*i].1.patchable = false);
        }
    }

    /// Reports patches that others wrote: how they change an ExternalSecret is not followed.
    fn patched(&mut self) {
        for (file, position) in self.platform.changes(self.contract.store.as_str()) {
            let what = "a patch here may change what an ExternalSecret reads, and is not followed".to_owned();
            let help = "put the change into the manifest, or add its keys to the contract's `consumers`";
            self.add(Code::PatchedElsewhere, &file, position, what, help);
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

/// How to fix an ExternalSecret that another tool makes: by hand, or by filtering that tool's output.
fn advice(secret: &ExternalSecret, entry: Option<&Written>, declared: bool, has_property: bool, property: &str) -> String {
    let declare = if declared { "" } else { "add its consumer to the contract, without a `name`" };
    let and = if declared { "" } else { ", and " };
    let Some(entry) = entry else { return format!("{LIST_EACH}{and}{declare}") };
    match (declared, has_property) {
        (true, true) => return "nothing to do as long as the contract's consumer is this one".to_owned(),
        (false, true) => return declare.to_owned(),
        _ => {}
    }
    let by_tool = match secret.tool {
        Tool::ArgoCd => "; Argo CD runs no post-renderer".to_owned(),
        Tool::Flux(_) => {
            let name = if secret.name.is_empty() { String::new() } else { format!(", name: {}", visible(&secret.name)) };
            let index = entry.index;
            format!(
                "; or give the HelmRelease `postRenderers: [{{kustomize: {{patches: [{{target: {{kind: ExternalSecret{name}}}, patch: '[{{\"op\": \"add\", \"path\": \"/spec/data/{index}/remoteRef/property\", \"value\": \"{property}\"}}]'}}]}}}}]`"
            )
        }
        Tool::Unknown => String::new(),
    };
    format!("write `property: {property}` beside its `key` by hand{and}{declare}{by_tool}")
}

/// How to fix an entry that reads a whole source Secret.
const LIST_EACH: &str = "list each value in `spec.data`, with `remoteRef.key` and `remoteRef.property`";

/// The beginning of the help for a finding that `patch` fixes.
const PATCH: &str = "run `seal-secrets patch --write";

/// The finding before `patch` has run: what `patch` fixes is no error yet.
pub fn before_patch(finding: &Finding) -> Finding {
    let code = if finding.help.starts_with(PATCH) { Code::NotYetPatched } else { finding.code };
    Finding { code, ..finding.clone() }
}

/// The Argo CD Application for an output folder at this path of the checkout, following the existing ones: the repository and project that
/// most of them use, one wave after the two controllers. None if there are none.
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
        installs_controller: !platform.applications.iter().any(|application| application.name.contains("sealed-secrets")),
    })
}

/// Whether the Application's project allows its repository (Argo CD: `sourceRepos`, with `*`).
pub fn check_project(platform: &Platform, application: &Application) -> Option<Finding> {
    let (file, project) = platform.projects.iter().find(|(_, project)| project.name == application.project)?;
    let bare = |url: &str| url.trim_end_matches('/').trim_end_matches(".git").to_owned();
    let matches = |pattern: &str| is_like(&bare(pattern), &bare(&application.repository));
    let (denied, allowed): (Vec<&String>, Vec<&String>) = project.repositories.iter().partition(|pattern| pattern.starts_with('!'));
    if allowed.iter().any(|pattern| matches(pattern)) && !denied.iter().any(|pattern| matches(&pattern[1..])) {
        return None;
    }
    let what = format!("the AppProject `{}` does not allow the repository `{}`", project.name, application.repository);
    let help = format!("add `{}` to its `sourceRepos`", application.repository);
    Some(platform::finding(&platform.root, Code::SourceRepositoryMissing, file, Some(project.position), what, &help))
}

/// Argo CD's glob: `*` matches any text.
fn is_like(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(tail) = text.strip_prefix(head) else { return false };
    (0..=tail.len()).filter(|at| tail.is_char_boundary(*at)).any(|at| is_like(rest, &tail[at..]))
}
