//! Which secrets a platform needs, how each is made, and which ExternalSecrets read it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::{DataKey, Error, Form, Issuer, KeyName, Name, Namespace, Position, Recipe, Result, Scope, SecretValue, Sorted, meant};

/// The data key of a value if the contract names none, and its ExternalSecret's `remoteRef.property`. With `password` or `token` gitleaks'
/// rule generic-api-key fires on most SealedSecrets; with `value` on none.
pub const PROPERTY: &str = "value";

/// The longest value that an operator may provide, in bytes: sealed, and base64-encoded twice, it still fits into an etcd object (1.5 MiB).
pub const MOST_PROVIDED_BYTES: usize = 512 * 1024;

/// The longest password that bcrypt hashes whole, in bytes: 72 with its NUL.
const MOST_BCRYPT_BYTES: usize = 71;

/// A valid contract: no key appears twice, every reference leads to a key, and a value made from another one is in that one's unit.
#[derive(Debug)]
pub struct Contract {
    terms: Terms,
    /// The range of each source Secret's values among the keys.
    places: HashMap<String, Range<usize>>,
}

/// The content of a contract, unchecked: [`Contract::new`] checks it.
#[derive(Clone, Debug)]
pub struct Terms {
    pub file: String,
    pub store: Name,
    pub namespace: Namespace,
    pub reader: Reader,
    /// Lines of the platform's `.gitignore` that none of our files may match.
    pub ignored: Vec<String>,
    /// The form of each source Secret that differs from the default.
    pub forms: BTreeMap<Name, Form>,
    /// Every value; those of one source Secret are adjacent.
    pub keys: Vec<Key>,
    pub consumers: Vec<Consumer>,
}

/// The ServiceAccount of the store.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Its name; also that of its Role and RoleBinding.
    pub name: Name,
    /// Its namespace: where the External Secrets Operator runs.
    pub namespace: Namespace,
}

#[derive(Clone, Debug)]
pub struct Key {
    pub name: KeyName,
    /// What it is for, in one line.
    pub about: String,
    pub recipe: Recipe,
    /// When the platform needs it; none = always.
    pub when: Option<When>,
    /// Whether the platform's configuration needs it; true if no configuration is known.
    pub needed: bool,
    /// Its loss or change destroys data.
    pub write_once: bool,
    /// Its value is also kept in the folder `secrets`, for the operator.
    pub operator_copy: bool,
    /// The unit whose file contains it.
    pub unit: Name,
    /// What to restart after its value changed.
    pub after_rotation: Option<String>,
    /// The workloads to restart, in this order.
    pub restart: Vec<Workload>,
    /// Its position in the contract's file; none = a draft, which is not written yet.
    pub position: Option<Position>,
}

/// A workload that holds a value in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub kind: WorkloadKind,
    pub name: Name,
    pub namespace: Namespace,
}

words! {
    WorkloadKind {
        Deployment "deployment"
        StatefulSet "statefulset"
        DaemonSet "daemonset"
    }
}

impl Workload {
    /// The command that restarts it.
    pub fn restart(&self) -> String {
        format!("kubectl -n {} rollout restart {}/{}", self.namespace, self.kind.as_str(), self.name)
    }
}

impl Key {
    /// Whether the operator provides its value.
    pub fn is_provided(&self) -> bool {
        matches!(self.recipe, Recipe::Provided { .. })
    }

    /// The value without the line feed that people and other tools leave after a single line, unless it belongs to the value; and whether
    /// one was removed.
    pub fn as_meant(&self, value: SecretValue) -> (SecretValue, bool) {
        use Recipe::{Certificate, PrivateKey, Provided, PublicKey, Same, Text};
        match self.recipe {
            Provided { lines: true, .. } | PrivateKey { .. } | PublicKey { .. } | Certificate { .. } | Same { .. } | Text(_) => {
                (value, false)
            }
            _ => value.without_line_feed(),
        }
    }
}

/// The mark that makes a SealedSecret with these keys write-once: how their values are made. None if they are not write-once.
pub fn mark(keys: &[&Key]) -> Option<String> {
    let of_several = |key: &&Key| format!("{}: {}", key.name.property(), key.recipe.describe());
    match keys {
        [key, ..] if !key.write_once => None,
        [key] if key.name.property() == PROPERTY => Some(key.recipe.describe()),
        keys => {
            // In any order in which the contract has them.
            let mut all: Vec<String> = keys.iter().map(of_several).collect();
            all.sort_unstable();
            Some(all.join("; ")).filter(|_| !keys.is_empty())
        }
    }
}

/// A platform's configuration: the words at the ends of its paths, such as `features.identity`.
pub type Configuration = BTreeMap<String, String>;

/// When the platform needs a key: every condition holds. Written `features.identity`, or
/// `dns.automate and dns.provider = cloudflare`.
#[derive(Clone, Debug)]
pub struct When {
    /// A path into the platform's configuration, and the word expected there; none = `true`.
    pub conditions: Vec<(String, Option<String>)>,
    pub text: String,
}

impl When {
    /// Whether every condition holds; anything that the configuration does not mention is off.
    pub fn holds(&self, configuration: &Configuration) -> bool {
        self.conditions.iter().all(|(path, word)| {
            let found = configuration.get(path).map(String::as_str);
            match word {
                Some(word) => found == Some(word),
                None => found.is_some_and(|found| matches!(found.to_ascii_lowercase().as_str(), "true" | "yes" | "on")),
            }
        })
    }
}

/// An ExternalSecret that reads keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its namespace, which is also that of its target Secret.
    pub namespace: Namespace,
    /// Its name; none if a helm chart renders it, so that there is no manifest to patch.
    pub name: Option<Name>,
    pub target: Name,
    /// The entries of `spec.data` that read keys of the contract, in its order.
    pub entries: Vec<Entry>,
    /// The source Secrets that it reads whole (`dataFrom.extract`).
    pub whole: Vec<Name>,
    /// Whether a patch by name reaches it and no other.
    pub patchable: bool,
}

/// One entry of an ExternalSecret's `spec.data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its index in `spec.data`, from 0.
    pub index: usize,
    /// `secretKey`: its key in the target Secret.
    pub secret_key: DataKey,
    /// The source Secret.
    pub key: Name,
    /// Its data key.
    pub property: DataKey,
    /// Whether the entry has its own `storeRef`, instead of the ExternalSecret's.
    pub own_store: bool,
}

impl Entry {
    /// Whether it reads this value.
    pub fn reads(&self, key: &KeyName) -> bool {
        self.key.as_str() == key.secret() && self.property.as_str() == key.property()
    }
}

impl Consumer {
    /// The source Secrets that it reads.
    pub fn reads(&self) -> impl Iterator<Item = &Name> {
        self.entries.iter().map(|entry| &entry.key).chain(&self.whole)
    }

    /// Whether it reads this value.
    pub fn reads_key(&self, key: &KeyName) -> bool {
        self.entries.iter().any(|entry| entry.reads(key)) || self.whole.iter().any(|secret| secret.as_str() == key.secret())
    }

    /// The command that makes ESO write its target now, instead of at the next refresh. `found` is the name in the cluster, which the
    /// contract does not know if a chart renders it.
    pub fn force_sync(&self, found: Option<&str>) -> String {
        let name = found.or(self.name.as_ref().map(Name::as_str)).unwrap_or("--all");
        format!("kubectl -n {} annotate externalsecret {name} force-sync=$(date +%s) --overwrite", self.namespace)
    }
}

/// Keys that are generated, sealed and committed together, in one file.
#[derive(Debug)]
pub struct Unit<'a> {
    pub name: &'a Name,
    /// At least one; a derived key comes after its source.
    pub keys: Vec<&'a Key>,
}

impl std::ops::Deref for Contract {
    type Target = Terms;

    fn deref(&self) -> &Terms {
        &self.terms
    }
}

impl Contract {
    /// The scope of everything that this tool seals.
    pub const SCOPE: Scope = Scope::Strict;

    /// Checks the terms. An error has its place in the contract's file, if that is known.
    pub fn new(mut terms: Terms) -> Result<Contract> {
        let consumers = std::mem::take(&mut terms.consumers);
        let mut named: BTreeMap<&KeyName, &Key> = BTreeMap::new();
        for key in &terms.keys {
            if let Some(first) = named.insert(&key.name, key) {
                let line = first.position.map_or(String::new(), |(line, _)| format!(", first on line {line}"));
                return Err(terms.fault(key, format!("the key `{}` appears twice{line}", key.name), "keep one of the two"));
            }
        }
        for key in &terms.keys {
            key.recipe.sources().into_iter().try_for_each(|of| terms.check_derived(key, of, named.get(of).copied()))?;
        }
        terms.check_depth()?;
        terms.check_units()?;
        let places = terms.places();
        Contract { terms, places }.with_consumers(consumers)
    }

    /// The same contract with these consumers instead of its own. A consumer that reads an unknown key is an error.
    pub fn with_consumers(mut self, consumers: Vec<Consumer>) -> Result<Contract> {
        let known = self.known_keys();
        for consumer in &consumers {
            let entries = consumer.entries.iter().map(|entry| (&entry.key, Some(&entry.property)));
            let mut read = entries.chain(consumer.whole.iter().map(|secret| (secret, None)));
            read.try_for_each(|(secret, property)| known.check("an ExternalSecret", secret, property))
                .map_err(|error| error.in_file(&self.file))?;
        }
        self.terms.consumers = consumers;
        Ok(self)
    }

    /// The same contract, in which a key is needed only if its condition holds in this configuration.
    pub fn under(mut self, configuration: &Configuration) -> Contract {
        for key in &mut self.terms.keys {
            key.needed = key.when.as_ref().is_none_or(|when| when.holds(configuration));
        }
        self
    }

    /// The file and position of a key, such as `contract.yaml:12:5`.
    pub fn place(&self, key: &Key) -> String {
        self.fault(key, String::new(), "").place()
    }

    /// The units, in the order in which the contract first names them.
    pub fn units(&self) -> Vec<Unit<'_>> {
        let mut units: Vec<Unit<'_>> = Vec::new();
        let mut index = std::collections::HashMap::new();
        for key in &self.keys {
            let at = *index.entry(&key.unit).or_insert_with(|| {
                units.push(Unit { name: &key.unit, keys: Vec::new() });
                units.len() - 1
            });
            units[at].keys.push(key);
        }
        for unit in &mut units {
            let depth: BTreeMap<&KeyName, usize> = unit.keys.iter().map(|key| (&key.name, self.depth(key, 0))).sorted();
            unit.keys.sort_by_key(|key| depth[&key.name]);
        }
        units
    }

    /// How many values have to be made before this one, each from the next.
    fn depth(&self, key: &Key, so_far: usize) -> usize {
        let sources = key.recipe.sources().into_iter().filter_map(|of| self.key(of.as_str())).filter(|of| of.name != key.name);
        if so_far > MOST_DEPTH { so_far } else { sources.map(|of| 1 + self.depth(of, so_far + 1)).max().unwrap_or(0) }
    }

    /// The form of a source Secret.
    pub fn form(&self, secret: &str) -> &Form {
        static DEFAULT: Form =
            Form { kind: None, labels: BTreeMap::new(), annotations: BTreeMap::new(), immutable: false, texts: BTreeMap::new() };
        self.forms.get(secret).unwrap_or(&DEFAULT)
    }

    /// The values of a source Secret; none if the contract does not have it.
    pub fn values_of(&self, secret: &str) -> impl Iterator<Item = &Key> {
        self.places.get(secret).map_or(&[][..], |range| &self.keys[range.clone()]).iter()
    }

    /// The first value of a source Secret, which holds what all of them share.
    pub fn secret(&self, secret: &str) -> Option<&Key> {
        self.values_of(secret).next()
    }

    /// The names of the source Secrets.
    pub fn secrets(&self) -> BTreeSet<&str> {
        self.keys.iter().map(|key| key.name.secret()).sorted()
    }

    /// The data key of a source Secret that has only one.
    pub fn only_property(&self, secret: &str) -> Option<&str> {
        let mut properties = self.properties(secret).into_iter();
        properties.next().filter(|_| properties.next().is_none())
    }

    /// The data keys of a source Secret, sorted.
    pub fn properties(&self, secret: &str) -> BTreeSet<&str> {
        let sealed = self.values_of(secret).map(|key| key.name.property());
        sealed.chain(self.form(secret).texts.keys().map(DataKey::as_str)).sorted()
    }

    pub fn key(&self, name: &str) -> Option<&Key> {
        let (secret, _) = name.split_once('/').unwrap_or((name, ""));
        self.values_of(secret).find(|key| key.name.as_str() == name)
    }

    /// The source Secrets that a consumer reads: those that the store's account may read.
    pub fn read_secrets(&self) -> BTreeSet<&Name> {
        self.consumers.iter().flat_map(Consumer::reads).sorted()
    }

    /// The source Secrets that the consumers of a namespace read, sorted.
    pub fn secrets_read_in(&self, namespace: &Namespace) -> BTreeSet<&Name> {
        self.consumers.iter().filter(|consumer| consumer.namespace == *namespace).flat_map(Consumer::reads).sorted()
    }

    /// The namespaces that have a consumer, sorted.
    pub fn consumer_namespaces(&self) -> BTreeSet<&Namespace> {
        self.consumers.iter().map(|consumer| &consumer.namespace).sorted()
    }
}

/// The data keys that a consumer may read, by source Secret.
pub struct KnownKeys<'c>(BTreeMap<&'c str, BTreeSet<&'c str>>);

impl KnownKeys<'_> {
    /// An error if this is not one of them; `who` is its reader.
    pub fn check(&self, who: &str, secret: &Name, property: Option<&DataKey>) -> Result<()> {
        let Some(known) = self.0.get(secret.as_str()) else {
            let help = meant(secret.as_str(), self.0.keys().copied(), "add it under `keys`");
            return Err(Error::bad_input(format!("{who} reads a key that the contract does not have"), help));
        };
        match property.filter(|property| !known.contains(property.as_str())) {
            None => Ok(()),
            Some(property) => {
                let list: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
                let help = meant(property.as_str(), known.iter().copied(), &format!("read one of {}", list.join(", ")));
                Err(Error::bad_input(format!("{who} reads a property of `{secret}` that the contract does not have"), help))
            }
        }
    }
}

impl Terms {
    /// The range of each source Secret's values, which are adjacent.
    fn places(&self) -> HashMap<String, Range<usize>> {
        let mut places: HashMap<String, Range<usize>> = HashMap::new();
        for (i, key) in self.keys.iter().enumerate() {
            places.entry(key.name.secret().to_owned()).or_insert(i..i).end = i + 1;
        }
        places
    }

    pub fn known_keys(&self) -> KnownKeys<'_> {
        let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for key in &self.keys {
            known.entry(key.name.secret()).or_default().insert(key.name.property());
        }
        for (secret, form) in &self.forms {
            known.entry(secret.as_str()).or_default().extend(form.texts.keys().map(DataKey::as_str));
        }
        KnownKeys(known)
    }

    fn fault(&self, key: &Key, what: String, help: &str) -> Error {
        let error = Error::bad_input(what, help).in_file(&self.file);
        match key.position {
            Some(position) => error.at(position),
            None => error,
        }
    }

    /// Checks that a value made from another one is in that one's unit.
    fn check_derived(&self, key: &Key, of: &KeyName, source: Option<&Key>) -> Result<()> {
        let fault = |what: String, help: &str| Err(self.fault(key, what, help));
        let what = if key.recipe.is_hash() { "the hash of" } else { "made of" };
        if source.is_none() && self.known_keys().0.get(of.secret()).is_some_and(|known| known.contains(of.property())) {
            let help = "name a sealed value: what is plain, or a template of its own Secret's values, is not";
            return fault(format!("`{}` is {what} `{of}`, which is not sealed", key.name), help);
        }
        let Some(source) = source else {
            let own = self.keys.iter().filter(|other| other.name.secret() == key.name.secret()).map(|other| other.name.property());
            let names = self.keys.iter().map(|key| key.name.as_str()).chain(own.filter(|property| *property != PROPERTY));
            let help = meant(of.as_str(), names, "name a key of this contract");
            return fault(format!("`{}` is {what} a key that the contract does not have", key.name), &help);
        };
        if key.recipe.is_hash() {
            if source.recipe.is_derived() || matches!(source.recipe, Recipe::Provided { .. } | Recipe::PrivateKey { .. }) {
                let help = "set `of` to a hex, base64, base64url, alphanumeric, password or uuid key";
                return fault(format!("`{}` is the hash of `{of}`, which is not generated", key.name), help);
            }
            let too_long = source.recipe.length().is_some_and(|length| length > MOST_BCRYPT_BYTES);
            if too_long && !matches!(key.recipe, Recipe::Argon2id { .. }) {
                return fault(format!("`{of}` is longer than the {MOST_BCRYPT_BYTES} bytes that bcrypt takes"), "make it shorter");
            }
        }
        if let Some(what) = unfit(&key.recipe, of, &source.recipe) {
            return fault(format!("`{}` is made of `{of}`, which is {what}", key.name), "see `seal-secrets contract recipes`");
        }
        if source.unit != key.unit {
            let help = format!("remove `unit`: {} always lives with its source", if key.recipe.is_hash() { "a hash" } else { "it" });
            let whose = if key.recipe.is_hash() { "whose hash it is" } else { "which it is made of" };
            return fault(format!("`{}` is in another unit than `{of}`, {whose}", key.name), &help);
        }
        Ok(())
    }

    /// Checks that no value is made from itself, directly or through others.
    fn check_depth(&self) -> Result<()> {
        let mut made: BTreeSet<&KeyName> = BTreeSet::new();
        for _ in 0..=MOST_DEPTH {
            let ready = self.keys.iter().filter(|key| key.recipe.sources().iter().all(|of| made.contains(*of)));
            let ready: Vec<&KeyName> = ready.map(|key| &key.name).collect();
            made.extend(ready);
        }
        match self.keys.iter().find(|key| !made.contains(&key.name)) {
            None => Ok(()),
            Some(key) => {
                let what = format!("`{}` is made of itself, or through more than {MOST_DEPTH} others", key.name);
                Err(self.fault(key, what, "name a value that can be made first"))
            }
        }
    }

    /// Checks that no two Secrets share a unit without a reason, and that no Secret of another unit has a unit's name.
    fn check_units(&self) -> Result<()> {
        let mut units: BTreeMap<&Name, &Key> = BTreeMap::new();
        let derives = |key: &Key| self.keys.iter().any(|other| other.name.secret() == key.name.secret() && other.recipe.is_derived());
        for key in self.keys.iter().filter(|key| !derives(key)) {
            if let Some(other) = units.insert(&key.unit, key).filter(|other| other.name.secret() != key.name.secret()) {
                let what =
                    format!("`{}` and `{}` share the unit `{}`, but neither is the hash of the other", key.name, other.name, key.unit);
                return Err(self.fault(key, what, "give each its own unit: only a hash and its source share one"));
            }
        }
        let all: BTreeMap<&str, &Key> = self.keys.iter().map(|key| (key.unit.as_str(), key)).sorted();
        for key in &self.keys {
            let secret = key.name.secret();
            if let Some(other) = all.get(secret).filter(|_| key.unit.as_str() != secret) {
                let what = format!("the unit of `{}` has the same name as the key `{}`, which is in another unit", other.name, key.name);
                return Err(self.fault(key, what, "give the unit another name"));
            }
        }
        Ok(())
    }
}

/// How long a chain of values, each made from the next, may be: a certificate's copy, the certificate, its authority's, and that one's key.
const MOST_DEPTH: usize = 8;

/// Why a source does not fit a recipe; none if it does.
fn unfit(recipe: &Recipe, of: &KeyName, source: &Recipe) -> Option<&'static str> {
    let is_key = matches!(source, Recipe::PrivateKey { .. });
    let is_authority = matches!(source, Recipe::Certificate { issuer: Issuer::Authority, .. });
    match recipe {
        Recipe::PublicKey { .. } if !is_key => Some("no private key"),
        Recipe::Certificate { of: own, .. } if own == of && !is_key => Some("no private key"),
        Recipe::Certificate { issuer: Issuer::By { key, .. }, .. } if key == of && !is_key => Some("no private key"),
        Recipe::Certificate { issuer: Issuer::By { certificate, .. }, .. } if certificate == of && !is_authority => {
            Some("no certificate of an authority")
        }
        Recipe::Certificate { issuer: Issuer::By { certificate, .. }, days, .. }
            if certificate == of && matches!(source, Recipe::Certificate { days: of_authority, .. } if days > of_authority) =>
        {
            Some("a certificate of fewer days")
        }
        _ => None,
    }
}

impl<'a> Unit<'a> {
    /// Its file, relative to `out/`. It ends with `.sealed.yaml` because platforms ignore `*-secret.yaml`.
    pub fn file(&self) -> String {
        format!("secret-source/{}.sealed.yaml", self.name)
    }

    /// Whether losing it destroys data.
    pub fn write_once(&self) -> bool {
        self.keys.iter().any(|key| key.write_once)
    }

    /// Whether one of its keys is among these.
    pub fn has_any(&self, names: &BTreeSet<KeyName>) -> bool {
        self.keys.iter().any(|key| names.contains(&key.name))
    }

    /// Whether the platform needs one of its keys.
    pub fn needed(&self) -> bool {
        self.keys.iter().any(|key| key.needed)
    }

    /// Whether the operator has to provide one of its values.
    pub fn provided(&self) -> bool {
        self.keys.iter().any(|key| key.is_provided())
    }

    /// Its source Secrets, each with its keys in the contract's order, in the order in which they are written.
    pub fn secrets(&self) -> Vec<(&'a str, Vec<&'a Key>)> {
        let mut secrets: Vec<(&str, Vec<&Key>)> = Vec::new();
        for key in self.keys.iter().copied() {
            match secrets.iter_mut().find(|(secret, _)| *secret == key.name.secret()) {
                Some((_, keys)) => keys.push(key),
                None => secrets.push((key.name.secret(), vec![key])),
            }
        }
        secrets
    }

    /// These keys, those that they are made from, and those that are made from one of them: they are made together.
    pub fn together(&self, names: &BTreeSet<KeyName>) -> BTreeSet<&'a KeyName> {
        self.closure(names, true)
    }

    /// These keys, and those that are made of one of them.
    pub fn made_of(&self, names: &BTreeSet<KeyName>) -> BTreeSet<&'a KeyName> {
        self.closure(names, false)
    }

    fn closure(&self, names: &BTreeSet<KeyName>, with_sources: bool) -> BTreeSet<&'a KeyName> {
        let mut found: BTreeSet<&'a KeyName> = self.keys.iter().map(|key| &key.name).filter(|name| names.contains(*name)).sorted();
        loop {
            let before = found.len();
            for key in &self.keys {
                let sources = key.recipe.sources();
                if found.contains(&key.name) || sources.iter().any(|of| found.contains(of)) {
                    found.insert(&key.name);
                    let of_unit = self.keys.iter().map(|key| &key.name);
                    found.extend(of_unit.filter(|name| with_sources && sources.contains(name)));
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }
}

impl Contract {
    /// The key that a flag or an argument names.
    pub fn known_key(&self, flag: &str, name: &KeyName) -> Result<&Key> {
        self.key(name.as_str()).ok_or_else(|| {
            if name.property() == PROPERTY && self.secret(name.secret()).is_some() {
                let names: Vec<String> = self.values_of(name.secret()).map(|key| format!("`{}`", key.name)).collect();
                let what = format!("`{flag}` names a Secret with several values");
                return Error::usage(what, format!("name one of them: {}", names.join(", ")));
            }
            let names = self.keys.iter().map(|key| key.name.as_str());
            let help = meant(name.as_str(), names, "see `seal-secrets contract`");
            Error::usage(format!("`{flag}` names a key that the contract does not have"), help)
        })
    }

    /// The keys that a flag or an argument names: one, or all those of a Secret.
    pub fn named(&self, flag: &str, name: &KeyName) -> Result<Vec<&Key>> {
        let all: Vec<&Key> = self.values_of(name.secret()).filter(|_| name.property() == PROPERTY).collect();
        if self.key(name.as_str()).is_none() && !all.is_empty() { Ok(all) } else { self.known_key(flag, name).map(|key| vec![key]) }
    }

    /// The names of the keys that a flag or arguments name.
    pub fn all_named(&self, flag: &str, names: &[KeyName]) -> Result<BTreeSet<KeyName>> {
        let mut found = BTreeSet::new();
        for name in names {
            found.extend(self.named(flag, name)?.into_iter().map(|key| key.name.clone()));
        }
        Ok(found)
    }

    /// The keys that `--destroys-data` names.
    pub fn write_once_keys(&self, names: &[KeyName]) -> Result<BTreeSet<KeyName>> {
        let found = self.all_named("--destroys-data", names)?;
        match found.iter().find(|name| self.key(name.as_str()).is_some_and(|key| !key.write_once)) {
            Some(name) => Err(Error::usage(format!("`{name}` is not write-once"), "drop `--destroys-data`: no data depends on it")),
            None => Ok(found),
        }
    }
}
