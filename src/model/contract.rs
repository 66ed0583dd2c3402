//! Which secrets a platform needs, how each is made, and which ExternalSecrets read it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{DataKey, Error, Name, Namespace, Position, Result, Scope, meant};

/// The one data key of every source Secret, and every ExternalSecret's `remoteRef.property`. With `password` or `token`
/// gitleaks' rule generic-api-key fires on most SealedSecrets; with `value` on none.
pub const PROPERTY: &str = "value";

/// The longest value that an operator may provide, in bytes: sealed, and base64-encoded twice, it still fits into an
/// object of etcd (1.5 MiB).
pub const MOST_PROVIDED_BYTES: usize = 512 * 1024;

/// The longest password that bcrypt takes whole, in bytes: 72 with its NUL.
const MOST_BCRYPT_BYTES: usize = 71;

/// A valid contract: no key appears twice, every reference leads to a key, and a unit is one value with its hashes.
#[derive(Debug)]
pub struct Contract(Terms);

/// What a contract says, unchecked: [`Contract::new`] checks it.
#[derive(Clone, Debug)]
pub struct Terms {
    pub file: String,
    pub store: Name,
    pub namespace: Namespace,
    pub reader: Reader,
    /// Lines of the platform's `.gitignore` that none of our files may match.
    pub ignored: Vec<String>,
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
    pub name: Name,
    /// What it is for, in one line.
    pub about: String,
    pub recipe: Recipe,
    /// When the platform needs it; none = always.
    pub when: Option<When>,
    /// Whether the platform's configuration needs it; true if no configuration is known.
    pub needed: bool,
    /// Its loss or change destroys data.
    pub write_once: bool,
    /// Its value is also kept at `secrets/<name>`, for the operator.
    pub operator_copy: bool,
    /// The unit whose file it lives in.
    pub unit: Name,
    /// What to restart after its value changed.
    pub after_rotation: Option<String>,
    /// Where it begins in the contract's file; none = a draft, which is not written yet.
    pub position: Option<Position>,
}

impl Key {
    /// What marks its SealedSecret as write-once: how its value is made. None where it is not write-once.
    pub fn mark(&self) -> Option<String> {
        self.write_once.then(|| self.recipe.describe())
    }
}

#[derive(Clone, Debug)]
pub enum Recipe {
    /// `prefix` and `bytes` random bytes in lower-case hex.
    Hex { bytes: usize, prefix: String },
    /// `bytes` random bytes in base64url without padding.
    Base64Url { bytes: usize },
    /// `length` characters of `[0-9A-Za-z]`.
    Alphanumeric { length: usize },
    /// The bcrypt hash, version `2a`, of another key's value.
    Bcrypt {
        /// The other key; it lives in the same unit.
        of: Name,
        /// The binary logarithm of the number of rounds.
        cost: u32,
    },
    Provided {
        /// The whole value must match it.
        pattern: Option<regex::bytes::Regex>,
        hint: Option<String>,
    },
}

impl Recipe {
    /// The length of its values in bytes, if that is fixed.
    pub fn length(&self) -> Option<usize> {
        match self {
            Recipe::Hex { bytes, prefix } => Some(prefix.len() + 2 * bytes),
            Recipe::Base64Url { bytes } => Some((bytes * 4).div_ceil(3)),
            Recipe::Alphanumeric { length } => Some(*length),
            Recipe::Bcrypt { .. } => Some(60),
            Recipe::Provided { .. } => None,
        }
    }

    /// The recipe in a few words.
    pub fn describe(&self) -> String {
        match self {
            Recipe::Hex { bytes, prefix } if prefix.is_empty() => format!("{} hex", 2 * bytes),
            Recipe::Hex { bytes, prefix } => format!("{prefix} + {} hex", 2 * bytes),
            Recipe::Base64Url { bytes } => format!("{bytes} bytes base64url"),
            Recipe::Alphanumeric { length } => format!("{length} alphanumeric"),
            Recipe::Bcrypt { of, cost } => format!("bcrypt {cost} of {of}"),
            Recipe::Provided { .. } => "provided".to_owned(),
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
    /// Whether every condition holds; what the configuration does not mention is off.
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
    /// Where it is, and where its target Secret will be.
    pub namespace: Namespace,
    /// Its name; none if a helm chart renders it, so that there is no manifest to patch.
    pub name: Option<Name>,
    pub target: Name,
    /// The entries of `spec.data` that read keys of the contract, in its order.
    pub entries: Vec<Entry>,
    /// Whether a patch by name reaches it and no other.
    pub patchable: bool,
}

/// One entry of an ExternalSecret's `spec.data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in `spec.data`, from 0.
    pub index: usize,
    /// `secretKey`: its key in the target Secret.
    pub secret_key: DataKey,
    pub key: Name,
    /// Whether the entry has its own `storeRef`, instead of the ExternalSecret's.
    pub own_store: bool,
}

impl Consumer {
    /// The command that makes ESO write its target now, and not at the next refresh. `found` is the name in the cluster, which
    /// the contract does not know if a chart renders it.
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
        &self.0
    }
}

impl Contract {
    /// The scope of everything that this tool seals.
    pub const SCOPE: Scope = Scope::Strict;

    /// Checks the terms. An error has its place in the contract's file, if that is known.
    pub fn new(mut terms: Terms) -> Result<Contract> {
        let consumers = std::mem::take(&mut terms.consumers);
        let mut named: BTreeMap<&Name, &Key> = BTreeMap::new();
        for key in &terms.keys {
            if let Some(first) = named.insert(&key.name, key) {
                let line = first.position.map_or(String::new(), |(line, _)| format!(", first on line {line}"));
                return Err(terms.fault(key, format!("the key `{}` appears twice{line}", key.name), "keep one of the two"));
            }
        }
        for key in &terms.keys {
            if let Recipe::Bcrypt { of, .. } = &key.recipe {
                terms.check_hash(key, of, named.get(of).copied())?;
            }
        }
        terms.check_units()?;
        Contract(terms).with_consumers(consumers)
    }

    /// The same contract with these consumers instead of its own. A consumer that reads an unknown key is an error.
    pub fn with_consumers(mut self, consumers: Vec<Consumer>) -> Result<Contract> {
        let known = self.known_keys();
        for entry in consumers.iter().flat_map(|consumer| &consumer.entries) {
            known.check("an ExternalSecret", &entry.key).map_err(|error| error.in_file(&self.file))?;
        }
        self.0.consumers = consumers;
        Ok(self)
    }

    /// The same contract, in which a key is needed only if its condition holds in this configuration.
    pub fn under(mut self, configuration: &Configuration) -> Contract {
        for key in &mut self.0.keys {
            key.needed = key.when.as_ref().is_none_or(|when| when.holds(configuration));
        }
        self
    }

    /// The file and the place in it where a key stands, such as `contract.yaml:12:5`.
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
            // A derived key needs its source's value; only one level of derivation exists.
            unit.keys.sort_by_key(|key| matches!(key.recipe, Recipe::Bcrypt { .. }));
        }
        units
    }

    pub fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name.as_str() == name)
    }

    /// The keys that a consumer reads: those that the store's account may get.
    pub fn read_keys(&self) -> impl Iterator<Item = &Key> {
        let read: HashSet<&Name> = self.consumers.iter().flat_map(|consumer| &consumer.entries).map(|entry| &entry.key).collect();
        self.keys.iter().filter(move |key| read.contains(&key.name))
    }

    /// The keys that the consumers of a namespace read, sorted.
    pub fn keys_read_in(&self, namespace: &Namespace) -> BTreeSet<&Name> {
        let there = self.consumers.iter().filter(|consumer| consumer.namespace == *namespace);
        there.flat_map(|consumer| &consumer.entries).map(|entry| &entry.key).collect()
    }

    /// The namespaces that have a consumer, sorted.
    pub fn consumer_namespaces(&self) -> BTreeSet<&Namespace> {
        self.consumers.iter().map(|consumer| &consumer.namespace).collect()
    }
}

/// The keys that a consumer may read.
pub struct KnownKeys<'c>(HashSet<&'c Name>);

impl KnownKeys<'_> {
    /// An error if this is not one of them; `who` reads it.
    pub fn check(&self, who: &str, key: &Name) -> Result<()> {
        if self.0.contains(key) {
            return Ok(());
        }
        let help = meant(key.as_str(), self.0.iter().map(|name| name.as_str()), "add it under `keys`");
        Err(Error::bad_input(format!("{who} reads a key that the contract does not have"), help))
    }
}

impl Terms {
    pub fn known_keys(&self) -> KnownKeys<'_> {
        KnownKeys(self.keys.iter().map(|key| &key.name).collect())
    }

    fn fault(&self, key: &Key, what: String, help: &str) -> Error {
        let error = Error::bad_input(what, help).in_file(&self.file);
        match key.position {
            Some(position) => error.at(position),
            None => error,
        }
    }

    /// A hash lives in the unit of the generated key that it is made of.
    fn check_hash(&self, key: &Key, of: &Name, source: Option<&Key>) -> Result<()> {
        let fault = |what: String, help: &str| Err(self.fault(key, what, help));
        let Some(source) = source else {
            let help = meant(of.as_str(), self.keys.iter().map(|key| key.name.as_str()), "set `of` to a key of this contract");
            return fault(format!("`{}` is the hash of a key that the contract does not have", key.name), &help);
        };
        if matches!(source.recipe, Recipe::Provided { .. } | Recipe::Bcrypt { .. }) {
            let help = "set `of` to a hex, base64url or alphanumeric key";
            return fault(format!("`{}` is the hash of `{of}`, which is not generated", key.name), help);
        }
        if source.recipe.length().is_some_and(|length| length > MOST_BCRYPT_BYTES) {
            return fault(format!("`{of}` is longer than the {MOST_BCRYPT_BYTES} bytes that bcrypt takes"), "make it shorter");
        }
        if source.unit != key.unit {
            let help = "remove `unit`: a hash always lives with its source";
            return fault(format!("`{}` is in another unit than `{of}`, whose hash it is", key.name), help);
        }
        Ok(())
    }

    /// A unit is one generated or provided key with its hashes, and no key of another unit has its name.
    fn check_units(&self) -> Result<()> {
        let mut units: BTreeMap<&Name, &Name> = BTreeMap::new();
        for key in self.keys.iter().filter(|key| !matches!(key.recipe, Recipe::Bcrypt { .. })) {
            if let Some(other) = units.insert(&key.unit, &key.name) {
                let what = format!("`{}` and `{other}` share the unit `{}`, but neither is the hash of the other", key.name, key.unit);
                return Err(self.fault(key, what, "give each its own unit: only a hash and its source share one"));
            }
        }
        for key in &self.keys {
            if let Some(other) = units.get(&key.name).filter(|_| key.unit != key.name) {
                let what = format!("the unit of `{other}` has the same name as the key `{}`, which is in another unit", key.name);
                return Err(self.fault(key, what, "give the unit another name"));
            }
        }
        Ok(())
    }
}

impl Unit<'_> {
    /// Its file, relative to `out/`. It ends with `.sealed.yaml` because platforms ignore `*-secret.yaml`.
    pub fn file(&self) -> String {
        format!("secret-source/{}.sealed.yaml", self.name)
    }

    /// Whether losing it destroys data.
    pub fn write_once(&self) -> bool {
        self.keys.iter().any(|key| key.write_once)
    }

    /// Whether one of its keys is among these.
    pub fn has_any(&self, names: &BTreeSet<Name>) -> bool {
        self.keys.iter().any(|key| names.contains(&key.name))
    }

    /// Whether the platform needs one of its keys.
    pub fn needed(&self) -> bool {
        self.keys.iter().any(|key| key.needed)
    }

    /// Whether the operator has to provide it.
    pub fn provided(&self) -> bool {
        self.keys.iter().any(|key| matches!(key.recipe, Recipe::Provided { .. }))
    }
}

impl Contract {
    /// The key that a flag or an argument names.
    pub fn known_key(&self, flag: &str, name: &Name) -> Result<&Key> {
        self.key(name.as_str()).ok_or_else(|| {
            let names = self.keys.iter().map(|key| key.name.as_str());
            let help = meant(name.as_str(), names, "see `seal-secrets contract`");
            Error::usage(format!("`{flag}` names a key that the contract does not have"), help)
        })
    }

    /// An error if a flag names a key that the contract does not have.
    pub fn check_keys(&self, flag: &str, names: &[Name]) -> Result<()> {
        names.iter().try_for_each(|name| self.known_key(flag, name).map(drop))
    }

    /// The keys that `--destroys-data` names.
    pub fn write_once_keys(&self, names: &[Name]) -> Result<BTreeSet<Name>> {
        let checked = |name: &Name| match self.known_key("--destroys-data", name)?.write_once {
            true => Ok(name.clone()),
            false => Err(Error::usage(format!("`{name}` is not write-once"), "drop `--destroys-data`: no data depends on it")),
        };
        names.iter().map(checked).collect()
    }
}
