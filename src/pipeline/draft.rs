//! Drafts a first contract for a platform, from what its manifests read. It never fails: whatever is unknown is marked.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use super::guess::{self, Guess, Made};
use super::inventory::Files;
use super::platform::{Manifest, Platform};
use super::resolve;
use crate::manifest::external_secret::{Entry, StoreRef, Whole};
use crate::manifest::store::{self, Store};
use crate::manifest::yaml::{self, Node};
use crate::manifest::{contract_file, contract_recipes};
use crate::model::{
    Algorithm, Code, Contract, DataKey, Error, Form, Issuer, Key, KeyFormat, KeyName, Name, Namespace, PROPERTY, Position, Reader, Recipe,
    Result, Severity, Sorted, Terms, counted, quoted, visible,
};

/// Its name in errors.
const DRAFT: &str = "the draft";

/// What a draft is made from.
pub struct Source<'s> {
    /// The known contract, whose recipes are kept.
    pub known: Contract,
    pub platform: &'s Platform,
    /// The files that were read.
    pub files: &'s Files,
    /// The checkout's stores, each with its file.
    pub stores: &'s [(String, Store)],
    /// If set, only what is read from this store.
    pub store: Option<&'s Name>,
    /// The platform's `.gitignore`.
    pub ignored: &'s str,
}

/// The text of a contract: known keys keep their recipe, the others get a guess. Its last line counts the guesses and the open points.
pub fn draft(source: Source<'_>) -> Result<String> {
    let store = chosen(&source);
    let mut draft = Draft { source: &source, store, keys: Vec::new(), forms: BTreeMap::new(), comments: BTreeMap::new(), head: Vec::new() };
    draft.take_store();
    for (key, reads) in reads(&source) {
        draft.secret(&key, &reads);
    }
    draft.helm();
    if draft.keys.is_empty() {
        draft.nothing_read();
    }
    draft.written()
}

/// All that reads one key of a store.
#[derive(Default)]
struct Reads<'p> {
    entries: Vec<(&'p Manifest, &'p Entry)>,
    whole: Vec<(&'p Manifest, &'p Whole)>,
}

/// What is read, by key, in the order of the manifests.
fn reads<'s>(source: &Source<'s>) -> Vec<(String, Reads<'s>)> {
    let mut found: Vec<(String, Reads<'_>)> = Vec::new();
    let mut index: BTreeMap<&str, usize> = BTreeMap::new();
    let wanted = |store: &StoreRef| source.store.is_none_or(|wanted| store.name == wanted.as_str());
    let platform = source.platform;
    for manifest in platform.manifests.iter().chain(&platform.made).filter(|manifest| !platform.is_patch(&manifest.file)) {
        let mut of = |key: &'s str| {
            *index.entry(key).or_insert_with(|| {
                found.push((key.to_owned(), Reads::default()));
                found.len() - 1
            })
        };
        let entries = manifest.secret.entries.iter().filter(|entry| is_said(&entry.key) && wanted(&entry.store));
        let entries: Vec<(usize, &Entry)> = entries.map(|entry| (of(&entry.key), entry)).collect();
        let whole = manifest.secret.whole.iter().filter(|whole| wanted(&whole.store));
        let whole: Vec<(usize, &Whole)> =
            whole.filter_map(|whole| Some((of(whole.key.as_deref().filter(|key| is_said(key))?), whole))).collect();
        entries.into_iter().for_each(|(at, entry)| found[at].1.entries.push((manifest, entry)));
        whole.into_iter().for_each(|(at, whole)| found[at].1.whole.push((manifest, whole)));
    }
    found
}

/// Whether a key is literal, and not something that a template fills in.
fn is_said(key: &str) -> bool {
    !key.is_empty() && !key.contains(['{', '}', '$', '\n', ' ']) && !key.starts_with(['.', '('])
}

struct Draft<'s> {
    source: &'s Source<'s>,
    store: Name,
    keys: Vec<Key>,
    forms: BTreeMap<Name, Form>,
    comments: BTreeMap<String, Vec<String>>,
    /// Comment lines at the top.
    head: Vec<String>,
}

impl<'s> Draft<'s> {
    fn comment(&mut self, secret: &str, line: String) {
        self.comments.entry(secret.to_owned()).or_default().push(line);
    }

    /// Adds one key of the store, known or guessed.
    fn secret(&mut self, key: &str, reads: &Reads<'s>) {
        let name = self.named(key);
        let known = self.source.known.secret(key).filter(|_| asks_for_value(reads));
        if let Some(known) = known {
            let keys = with_source(&self.source.known, known);
            return self.add(keys);
        }
        let first = reads.entries.first().map(|(manifest, entry)| (manifest, entry.position));
        let first = first.or_else(|| reads.whole.first().map(|(manifest, whole)| (manifest, whole.position)));
        let Some((manifest, (line, _))) = first else { return };
        let readers: BTreeSet<&str> = reads
            .entries
            .iter()
            .map(|(manifest, _)| manifest)
            .chain(reads.whole.iter().map(|(manifest, _)| manifest))
            .map(|one| one.secret.name.as_str())
            .sorted();
        let readers: Vec<String> = readers.into_iter().filter(|name| !name.is_empty()).map(visible).collect();
        let about =
            if readers.is_empty() { format!("read in {}", visible(&manifest.file)) } else { format!("read by {}", readers.join(", ")) };
        self.comment(name.as_str(), format!("read in {}:{line}", manifest.file));
        if name.as_str() != key {
            let rename = quoted(&format!("{key}={name}"));
            let platform = quoted(&self.source.platform.root);
            self.comment(
                name.as_str(),
                format!(
                    "open: `{}` cannot be the name of a Secret: once this contract is saved, `seal-secrets patch --platform {platform} --rename {rename} --write` has it read `{name}`",
                    visible(key)
                ),
            );
        }
        self.other_stores(&name, reads);
        let fields = fields(reads);
        let beside = reads.whole.first().and_then(|(manifest, _)| manifest.secret.whole.iter().find_map(|whole| whole.key.as_deref()));
        match beside.filter(|beside| *beside != key) {
            _ if !fields.is_empty() => {}
            Some(beside) => {
                let what = format!(
                    "open: it is read whole beside `{}`, and nothing says which of the fields are whose: move its own to `values` here",
                    visible(beside)
                );
                self.comment(name.as_str(), what);
            }
            None => self.comment(
                name.as_str(),
                "open: it is read whole, and nothing says which data keys it has: write them under `values`".to_owned(),
            ),
        }
        let only = iter::once(PROPERTY.to_owned()).sorted();
        self.values(&name, &about, reads, if fields.is_empty() { &only } else { &fields });
    }

    /// A name for the source Secret, since a key may not be a valid name.
    fn named(&self, key: &str) -> Name {
        if let Ok(name) = Name::new(key) {
            return name;
        }
        let plain: String = key.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let parts: Vec<&str> = plain.split('-').filter(|part| !part.is_empty()).collect();
        let plain: String = parts.join("-").chars().take(200).collect();
        let plain = if plain.trim_matches('-').is_empty() { "secret" } else { plain.trim_matches('-') };
        let taken = |name: &str| self.keys.iter().any(|key| key.name.secret() == name);
        let numbered = (2..).map(|i| format!("{plain}-{i}"));
        let name = std::iter::once(plain.to_owned()).chain(numbered).find(|name| !taken(name));
        Name::new(&name.expect("there is always another number")).expect("letters, digits and dashes")
    }

    fn other_stores(&mut self, name: &Name, reads: &Reads<'_>) {
        let stores = reads.entries.iter().map(|(_, entry)| &entry.store).chain(reads.whole.iter().map(|(_, whole)| &whole.store));
        let others: BTreeSet<&str> =
            stores.map(|store| store.name.as_str()).filter(|store| !store.is_empty() && *store != self.store.as_str()).sorted();
        if !others.is_empty() {
            let list: Vec<String> = others.into_iter().map(|store| format!("`{}`", visible(store))).collect();
            let what = format!(
                "open: it is read from {}: write `{}` in that `secretStoreRef`, or remove this Secret",
                list.join(", "),
                self.store
            );
            self.comment(name.as_str(), what);
        }
    }

    /// Guesses each value of a Secret.
    fn values(&mut self, name: &Name, about: &str, reads: &Reads<'_>, fields: &BTreeSet<String>) {
        let legal: Vec<DataKey> = fields.iter().filter_map(|field| DataKey::new(field).ok()).collect();
        let mut form = Form::default();
        let mut keys: Vec<Key> = Vec::new();
        let key = |property: &DataKey, recipe: Recipe| new_key(KeyName::of(name, property), name, about, recipe);
        let rest = match tls(name, &legal) {
            Some((made, rest)) => {
                keys.extend(made.into_iter().map(|(property, recipe)| key(&property, recipe)));
                self.comment(
                    name.as_str(),
                    "guess: tls: of the names of its data keys; or provide both: `{ provided: { lines: true } }`".to_owned(),
                );
                self.comment(name.as_str(), "open: tls: write what clients connect to under `names`".to_owned());
                rest
            }
            None => legal.iter().collect(),
        };
        for property in rest {
            let full = KeyName::of(name, property);
            let names = names(property, name, reads);
            let siblings = legal.iter().filter(|other| *other != property).map(DataKey::as_str).collect();
            let Guess { made, reason, open, instead } =
                guess::guess(&guess::Read { secret: &full, names: names.iter().map(String::as_str).collect(), siblings });
            let described = match &made {
                Made::Value(recipe) => recipe.describe(),
                Made::Text(_) => "plain".to_owned(),
            };
            let instead = instead.map(|instead| format!("; or `{property}: {instead}`")).unwrap_or_default();
            if !reason.is_empty() {
                self.comment(name.as_str(), format!("guess: {property}: {described}, because {reason}{instead}"));
            }
            if let Some(open) = open {
                self.comment(name.as_str(), format!("open: {property}: {open}"));
            }
            match made {
                Made::Value(recipe) => keys.push(key(property, recipe)),
                Made::Text(text) => drop(form.texts.insert(property.clone(), text)),
            }
        }
        if keys.is_empty() {
            // A Secret without any secret value is no contract.
            let Some((property, _)) = form.texts.pop_first() else { return };
            self.comment(name.as_str(), format!("open: {property}: nothing in it seems secret: provide it, or put it into a ConfigMap"));
            keys.push(key(&property, Recipe::Provided { pattern: None, hint: None, lines: false }));
        }
        if form != Form::default() {
            self.forms.insert(name.clone(), form);
        }
        self.add(keys);
    }

    /// Adds the known keys of helm values.
    fn helm(&mut self) {
        for (_, key, _) in &self.source.platform.helm {
            if let Some(known) = self.source.known.secret(key) {
                let keys = with_source(&self.source.known, known);
                self.add(keys);
            }
        }
    }

    fn add(&mut self, more: Vec<Key>) {
        let known: BTreeSet<String> = self.keys.iter().map(|key| key.name.secret().to_owned()).sorted();
        self.keys.extend(more.into_iter().filter(|key| !known.contains(key.name.secret())));
    }

    /// Adds the Secrets that workloads name if there is no ExternalSecret, or else an example to begin with.
    fn nothing_read(&mut self) {
        let named = workload_secrets(self.source.files);
        let stores = if self.source.store.is_some() { " that reads from this store" } else { "" };
        let found = match named.len() {
            0 => "no workload that names a Secret".to_owned(),
            count => format!("{} that workloads name", counted(count, "Secret")),
        };
        self.head.push(format!("open: there is no ExternalSecret{stores} here; found {found}"));
        let help = "for each Secret below, add an ExternalSecret to the platform that reads it from the store; where helm renders the ExternalSecrets, pass what comes out: `helm template CHART | seal-secrets contract --from-manifests -`";
        self.head.push(format!("open: {help}"));
        for (name, (file, keys)) in named {
            self.comment(name.as_str(), format!("named in {file}"));
            if keys.is_empty() {
                self.comment(name.as_str(), "open: nothing says which data keys it has: write them under `values`".to_owned());
            }
            let only = iter::once(PROPERTY.to_owned()).sorted();
            let about = format!("named in {}", visible(&file));
            self.values(&name, &about, &Reads::default(), if keys.is_empty() { &only } else { &keys });
        }
        if self.keys.is_empty() {
            let name = Name::new("example").expect("a constant name");
            self.comment("example", "open: an example: write what the platform reads".to_owned());
            let recipe = Recipe::Hex { bytes: 32, prefix: String::new() };
            self.keys.push(new_key(KeyName::new("example").expect("a constant name"), &name, "an example", recipe));
        }
    }

    /// The checkout's own store of this name, and its file.
    fn own_store(&self) -> Option<&'s (String, Store)> {
        self.source.stores.iter().find(|(_, store)| store.name.as_deref() == Some(self.store.as_str()))
    }

    /// Takes over what the checkout's own store says.
    fn take_store(&mut self) {
        let Some((file, store)) = self.own_store() else { return };
        let provider = store.provider.as_deref().unwrap_or("kubernetes");
        let (file, provider) = (visible(file), visible(provider));
        self.head.push(format!(
            "open: {file} has the store `{}` with the provider `{provider}`, and `bootstrap` writes one of this name that reads from Secrets: remove it there, or name that file at `store.file` in the settings",
            self.store
        ));
    }

    /// The namespace and the account of the checkout's own store, if it reads from Secrets.
    fn source_and_reader(&self) -> (Namespace, Reader) {
        let known = &self.source.known;
        let own = self.own_store().map(|(_, store)| store).filter(|store| store.provider.as_deref() == Some("kubernetes"));
        let namespace = own.and_then(|store| Namespace::new(store.remote_namespace.as_deref()?).ok());
        let account = own.and_then(|store| {
            let (namespace, name) = store.account.as_deref()?.split_once('/')?;
            Some(Reader { name: Name::new(name).ok()?, namespace: Namespace::new(namespace).ok()? })
        });
        (namespace.unwrap_or_else(|| known.namespace.clone()), account.unwrap_or_else(|| known.reader.clone()))
    }

    fn written(mut self) -> Result<String> {
        // A unit of the known contract may have the same name as a Secret here.
        let names: BTreeSet<String> = self.keys.iter().map(|key| key.name.secret().to_owned()).sorted();
        for key in self.keys.iter_mut().filter(|key| key.unit.as_str() != key.name.secret() && names.contains(key.unit.as_str())) {
            let of = key.recipe.sources().first().map_or(key.name.secret(), |of| of.secret()).to_owned();
            key.unit = Name::new(&of)?;
        }
        let ignored = self.source.ignored.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (namespace, reader) = self.source_and_reader();
        let known = Terms::clone(&self.source.known);
        let mut terms = Terms {
            file: DRAFT.to_owned(),
            store: self.store.clone(),
            namespace,
            reader,
            ignored: ignored.map(str::to_owned).collect(),
            forms: std::mem::take(&mut self.forms),
            keys: std::mem::take(&mut self.keys),
            ..known
        };
        terms.consumers.iter_mut().for_each(|consumer| {
            consumer.entries.retain(|entry| names.contains(entry.key.as_str()));
            consumer.whole.retain(|secret| names.contains(secret.as_str()));
        });
        terms.consumers.retain(|consumer| consumer.reads().next().is_some());
        let contract = self.with_consumers(Contract::new(terms)?)?;
        let body = contract_file::write(&contract, &self.comments);
        contract_file::read(DRAFT, &body)?;
        let head: String = self.head.iter().map(|line| format!("# {}\n", visible(line))).collect();
        let count = |begin: &str| self.comments.values().flatten().chain(&self.head).filter(|line| line.starts_with(begin)).count();
        let last = format!("# {}, {}\n", counted(count("guess:"), "guess"), counted(count("open:"), "open point"));
        let title = "# A draft, from the ExternalSecrets of this checkout. Review it, complete it, and pass it with `--contract`.\n";
        Ok(format!("{title}{head}{body}{last}"))
    }

    /// The contract with the platform's consumers; disagreements between contract and platform become open points.
    fn with_consumers(&mut self, contract: Contract) -> Result<Contract> {
        let again = Contract::new(Terms::clone(&contract))?;
        let Ok(resolved) = resolve::resolve(contract, self.source.platform, None, None, Some(Default::default())) else { return Ok(again) };
        // One consumer of a name and namespace is enough: what a second one reads is reported above.
        let (mut consumers, mut seen) = (resolved.contract.consumers.clone(), BTreeSet::new());
        consumers.retain(|one| one.name.is_none() || seen.insert((one.namespace.clone(), one.name.clone())));
        // The comments of each Secret already say these.
        let said = [Code::PropertyMissing, Code::ReadsWholeSecret, Code::KeyUnknown];
        let is_open = |code: Code| code.severity() == Severity::Error && !said.contains(&code);
        let open = resolved.coverage.iter().filter(|finding| is_open(finding.code));
        self.head.extend(open.map(|finding| format!("open: {}: {}", finding.place, finding.what)));
        resolved.contract.with_consumers(consumers)
    }
}

/// Whether all reads ask only for the data key `value`.
fn asks_for_value(reads: &Reads<'_>) -> bool {
    reads.entries.iter().all(|(_, entry)| entry.property.as_deref().is_none_or(|property| property == PROPERTY)) && reads.whole.is_empty()
}

/// The data keys that are read: the properties, and the templates' fields for a Secret that is read whole.
fn fields(reads: &Reads<'_>) -> BTreeSet<String> {
    let mut fields: BTreeSet<String> = reads.entries.iter().filter_map(|(_, entry)| entry.property.clone()).sorted();
    for (manifest, whole) in reads.whole.iter().filter(|(_, whole)| !whole.changed) {
        let others: BTreeSet<&str> = manifest.secret.entries.iter().map(|entry| entry.secret_key.as_str()).sorted();
        let alone = manifest.secret.whole.iter().filter(|one| one.key.is_some()).count() == 1;
        // If several are read whole, nothing tells which one has a field.
        let first = manifest.secret.whole.iter().find(|one| one.key.is_some()).is_some_and(|one| std::ptr::eq(one, *whole));
        fields.extend(manifest.secret.fields.iter().filter(|field| (alone || first) && !others.contains(field.as_str())).cloned());
    }
    if fields.is_empty() && !reads.entries.is_empty() {
        fields.insert(PROPERTY.to_owned());
    }
    fields
}

/// The names of a value: its data key, its names in the targets, its Secret's name.
fn names(property: &DataKey, secret: &Name, reads: &Reads<'_>) -> Vec<String> {
    let says_nothing = property.as_str() == PROPERTY;
    let of = reads.entries.iter().map(|(_, entry)| *entry);
    let of = of.filter(|entry| entry.property.as_deref().unwrap_or(PROPERTY) == property.as_str());
    let targets: BTreeSet<&str> = of.map(|entry| entry.secret_key.as_str()).sorted();
    let own = (!says_nothing).then(|| property.as_str());
    let secret = says_nothing.then(|| secret.as_str());
    own.into_iter().chain(secret).chain(targets).map(str::to_owned).collect()
}

/// A data key and its recipe.
type Property = (DataKey, Recipe);

/// The private key and the certificate of a Secret that has both, and its other data keys.
fn tls<'k>(name: &Name, fields: &'k [DataKey]) -> Option<(Vec<Property>, Vec<&'k DataKey>)> {
    let of = |wanted: &str| fields.iter().find(|field| field.as_str() == wanted);
    let (key, crt) = (of(contract_recipes::TLS_KEY)?, of(contract_recipes::TLS_CRT)?);
    let (own, certificate) = (KeyName::of(name, key), KeyName::of(name, crt));
    let names = vec![format!("{name}.example.org")];
    let mut made = vec![
        (key.clone(), Recipe::PrivateKey { algorithm: Algorithm::P256, format: KeyFormat::Pem }),
        (crt.clone(), Recipe::Certificate { of: own, names, days: 365, issuer: Issuer::Own }),
    ];
    let ca = DataKey::new(contract_recipes::CA_CRT).ok()?;
    made.push((ca.clone(), Recipe::Same { of: certificate }));
    let rest = fields.iter().filter(|field| ![key, crt, &ca].contains(field)).collect();
    Some((made, rest))
}

/// The key, after the keys that it is made of.
fn with_source(known: &Contract, key: &Key) -> Vec<Key> {
    let sources = key.recipe.sources().into_iter().filter_map(|of| known.key(of.as_str()));
    sources.chain([key]).cloned().collect()
}

fn new_key(name: KeyName, unit: &Name, about: &str, recipe: Recipe) -> Key {
    Key {
        about: about.to_owned(),
        recipe,
        when: None,
        needed: true,
        write_once: false,
        operator_copy: false,
        unit: unit.clone(),
        after_rotation: None,
        restart: Vec::new(),
        position: None::<Position>,
        name,
    }
}

/// The store that was asked for; else the known contract's if anything reads from it; else the one that most entries use.
fn chosen(source: &Source<'_>) -> Name {
    if let Some(store) = source.store {
        return store.clone();
    }
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for manifest in source.platform.manifests.iter().chain(&source.platform.made) {
        manifest.secret.stores().for_each(|store| *votes.entry(&store.name).or_default() += 1);
    }
    let known = &source.known.store;
    if votes.contains_key(known.as_str()) {
        return known.clone();
    }
    let legal = votes.into_iter().filter_map(|(name, count)| Some((Name::new(name).ok()?, count)));
    let most = legal.max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
    let declared = || source.stores.iter().find_map(|(_, store)| Name::new(store.name.as_deref()?).ok());
    most.map(|(name, _)| name).or_else(declared).unwrap_or_else(|| known.clone())
}

/// Words that refer to Secrets outside of ExternalSecrets: a file with one of these is read too.
pub const WORDS: [&str; 3] = ["secretKeyRef", "secretRef", "secretName"];

/// The Secrets that workloads name, each with the first file that names it, and the data keys that they read.
fn workload_secrets(files: &Files) -> BTreeMap<Name, (String, BTreeSet<String>)> {
    let mut found: BTreeMap<Name, (String, BTreeSet<String>)> = BTreeMap::new();
    for (path, bytes) in files {
        let Ok(text) = std::str::from_utf8(bytes) else { continue };
        if WORDS.iter().any(|word| text.contains(word)) {
            for document in yaml::documents(text) {
                document.nodes.iter().flatten().for_each(|node| named_below(node, path, &mut found));
            }
        }
    }
    found
}

fn named_below(node: &Node, path: &str, found: &mut BTreeMap<Name, (String, BTreeSet<String>)>) {
    for (field, value) in node.entries() {
        let name = match field.as_str() {
            "secretKeyRef" | "secretRef" => value.get("name").and_then(Node::word),
            "secretName" => value.word(),
            _ => None,
        };
        if let Some(name) = name.and_then(|name| Name::new(name).ok()) {
            let (_, keys) = found.entry(name).or_insert_with(|| (path.to_owned(), BTreeSet::new()));
            keys.extend(value.get("key").and_then(Node::word).filter(|key| DataKey::new(key).is_ok()).map(str::to_owned));
        }
        named_below(value, path, found);
    }
    node.items().iter().for_each(|item| named_below(item, path, found));
}

/// The stores in these files.
pub fn stores(files: &Files) -> Vec<(String, Store)> {
    let holds = |bytes: &[u8]| memchr::memmem::find(bytes, b"SecretStore").is_some();
    let texts = files.iter().filter(|(_, bytes)| holds(bytes)).filter_map(|(path, bytes)| Some((path, std::str::from_utf8(bytes).ok()?)));
    texts.flat_map(|(path, text)| store::find(text).into_iter().map(|store| (path.clone(), store))).collect()
}

/// The error for a flag whose store does not exist.
pub fn unknown_store(store: &Name, platform: &Platform) -> Option<Error> {
    let stores = platform.manifests.iter().chain(&platform.made).flat_map(|manifest| manifest.secret.stores());
    let stores: BTreeSet<&str> = stores.map(|store| store.name.as_str()).filter(|name| !name.is_empty()).sorted();
    (!stores.contains(store.as_str())).then(|| {
        let list: Vec<String> = stores.iter().map(|name| format!("`{}`", visible(name))).collect();
        let otherwise = if list.is_empty() { "leave `--store` out".to_owned() } else { format!("name one of {}", list.join(", ")) };
        Error::usage("no ExternalSecret reads from the store of `--store`", crate::model::meant(store.as_str(), stores, &otherwise))
    })
}
