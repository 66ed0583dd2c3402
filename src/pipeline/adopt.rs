//! Existing values: which key of the contract each is for, and whether they fit together.

use std::collections::{BTreeMap, BTreeSet};

use super::{fit, generate};
use crate::manifest::env_file::Variable;
use crate::manifest::secret::PlainSecret;
use crate::model::{Contract, Error, Key, KeyName, MOST_PROVIDED_BYTES, Name, Recipe, Result, SecretValue, Sorted, Unit, counted, visible};

/// bcrypt hashes only this many bytes of a password.
const MOST_PASSWORD_BYTES: usize = 72;

/// What happens to a value when another one of its unit is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Halves {
    Refused,
    /// It is left out, with a remark.
    LeftOut,
}

/// The values found so far.
#[derive(Default)]
pub struct Adopted {
    pub values: BTreeMap<KeyName, SecretValue>,
    /// Where each value was found.
    pub from: BTreeMap<KeyName, String>,
    /// The day on which each value was first sealed, where known.
    pub sealed_on: BTreeMap<KeyName, String>,
    /// The values that do not match their recipe, and what the recipe makes.
    pub unlike: BTreeMap<KeyName, String>,
    /// The values whose final line feed was removed.
    pub trimmed: BTreeSet<KeyName>,
    /// Further remarks for the operator.
    pub remarks: Vec<String>,
    /// How many values belong to no key of the contract.
    pub skipped: usize,
}

impl Adopted {
    /// Adds a value for a key, byte for byte. A second, different value for the same key is an error: only the operator knows which one is
    /// right.
    pub fn add(&mut self, key: &Key, value: SecretValue, from: String) -> Result<()> {
        if value.is_empty() {
            self.remarks.push(format!("`{}` is empty in {from}, and skipped", key.name));
            return Ok(());
        }
        if value.len() > MOST_PROVIDED_BYTES {
            let what = format!("the value of `{}` is larger than {} KiB", key.name, MOST_PROVIDED_BYTES >> 10);
            return Err(Error::bad_input(what, "a Secret has to fit into an object of etcd; check the file").in_file(&from));
        }
        match self.values.get(&key.name) {
            Some(other) if other.expose() != value.expose() => Err(Error::refused(
                format!("`{}` has another value here than in {}", key.name, self.from[&key.name]),
                "find out which of the two is in use, and take the other one out",
            )
            .in_file(&from)),
            Some(_) => Ok(()),
            None => {
                self.from.insert(key.name.clone(), from);
                self.values.insert(key.name.clone(), value);
                Ok(())
            }
        }
    }

    /// Adds a value as people and other tools write it.
    pub fn take(&mut self, key: &Key, value: SecretValue, from: String) -> Result<()> {
        let (value, trimmed) = key.as_meant(value);
        if trimmed {
            self.trimmed.insert(key.name.clone());
        }
        self.add(key, value, from)
    }

    /// Adds the value of a variable, whose name is a key's, or a key's in upper case with `_`.
    pub fn add_variable(&mut self, contract: &Contract, variable: Variable<'_>, file: &str) -> Result<()> {
        let same = |key: &&Key| {
            let name = key.name.as_str();
            let upper = || name.to_ascii_uppercase().replace(['-', '.', '/'], "_");
            variable.name == name || variable.name == upper()
        };
        match contract.keys.iter().find(same) {
            Some(key) => self.take(key, variable.value, format!("{file}:{}", variable.line)),
            None => {
                self.skipped += 1;
                Ok(())
            }
        }
    }

    /// Adds the values of a Secret: directly if it is a source Secret; a target Secret's by what its ExternalSecret reads.
    pub fn add_secret(&mut self, contract: &Contract, secret: PlainSecret, file: &str) -> Result<()> {
        let namespace = secret.namespace.as_ref();
        let in_source = namespace.is_none_or(|namespace| *namespace == contract.namespace);
        let alone = secret.values.len() == 1;
        let consumers = contract.consumers.iter().filter(|one| Some(&one.namespace) == namespace && one.target == secret.name);
        let consumers: Vec<_> = consumers.collect();
        for (data_key, value) in secret.values {
            let under = |of: &Name| contract.key(KeyName::of(of, &data_key).as_str());
            let source = || {
                let mut keys = contract.values_of(secret.name.as_str()).filter(|_| in_source);
                let first = keys.next()?;
                under(&secret.name).or_else(|| (alone && keys.next().is_none()).then_some(first))
            };
            let entries = || consumers.iter().flat_map(|consumer| &consumer.entries).find(|entry| entry.secret_key == data_key);
            let read = || entries().and_then(|entry| contract.key(KeyName::of(&entry.key, &entry.property).as_str()));
            let whole = || consumers.iter().flat_map(|consumer| &consumer.whole).find_map(under);
            match source().or_else(read).or_else(whole) {
                Some(key) => self.take(key, value, place(&secret.name, &data_key.to_string(), file, secret.position.0))?,
                // The contract has the texts that the controller renders.
                None if in_source && contract.form(secret.name.as_str()).texts.contains_key(&data_key) => {}
                None => self.skipped += 1,
            }
        }
        Ok(())
    }

    /// Refuses a placeholder, and a value that its consumer refuses, unless it is accepted as it is.
    pub fn judge(&self, contract: &Contract, accepted: &[KeyName]) -> Result<()> {
        let keys = contract.keys.iter().filter(|key| !accepted.contains(&key.name));
        let mut values = keys.filter_map(|key| Some((key, self.values.get(&key.name)?)));
        values.try_for_each(|(key, value)| fit::check(contract, key, value).map_err(|error| self.placed(&key.name, error)))
    }

    /// Compares the values with the contract: a pair has to be whole and to match.
    pub fn settle(&mut self, contract: &Contract, halves: Halves) -> Result<()> {
        for unit in contract.units() {
            if unit.keys.iter().any(|key| self.values.contains_key(&key.name)) && self.is_whole(&unit, halves)? {
                unit.keys.iter().try_for_each(|key| self.check(key).map_err(|error| self.placed(&key.name, error)))?;
            }
        }
        if self.skipped > 0 {
            self.remarks.push(format!("skipped {}: for no key of the contract", counted(self.skipped, "value")));
        }
        Ok(())
    }

    /// Whether every value that the unit's values are made of was found, or can be computed.
    fn is_whole(&mut self, unit: &Unit<'_>, halves: Halves) -> Result<bool> {
        let together: BTreeSet<KeyName> = unit.together(&self.names()).into_iter().cloned().sorted();
        let mut keys = unit.keys.iter().filter(|key| together.contains(&key.name));
        let Some(missing) = keys.find(|key| !key.recipe.is_derived() && !self.values.contains_key(&key.name)) else { return Ok(true) };
        if halves == Halves::Refused {
            return Err(self.half(unit, missing));
        }
        for key in unit.keys.iter().filter(|key| together.contains(&key.name)) {
            if self.values.remove(&key.name).is_some() {
                self.remarks
                    .push(format!("`{}` is not taken: `{}`, which it belongs to, is in none of the sources", key.name, missing.name));
            }
        }
        Ok(false)
    }

    /// The error for a unit's values that were found without another one.
    fn half(&self, unit: &Unit<'_>, missing: &Key) -> Error {
        let here: Vec<&Key> = unit.keys.iter().copied().filter(|key| self.values.contains_key(&key.name)).collect();
        let whose = |key: &Key| match &key.recipe {
            Recipe::Bcrypt { of, .. } => format!("`{}` is a bcrypt hash of `{of}`", key.name),
            recipe if recipe.sources().contains(&&missing.name) => format!("`{}` is made of `{}`", key.name, missing.name),
            _ => format!("`{}` belongs to `{}`", key.name, missing.name),
        };
        let said: Vec<String> = here.iter().map(|key| whose(key)).collect();
        let names: Vec<String> = here.iter().map(|key| format!("`{}`", key.name)).collect();
        let help = format!(
            "add the value of `{}` to a source; or take {} out, and the next `seal-secrets bootstrap` makes all of them",
            missing.name,
            names.join(" and ")
        );
        let error = Error::bad_input(format!("{}, and `{}` is in none of the sources", said.join(", "), missing.name), help);
        here.iter().fold(error, |error, key| self.placed(&key.name, error))
    }

    fn check(&mut self, key: &Key) -> Result<()> {
        let value = self.values.get(&key.name);
        if let Recipe::Bcrypt { of, .. } | Recipe::Htpasswd { of, .. } = &key.recipe
            && let Some(password) = self.values.get(of)
        {
            if password.len() > MOST_PASSWORD_BYTES {
                let what = format!("`{of}` is longer than the {MOST_PASSWORD_BYTES} bytes that bcrypt hashes");
                return Err(self.placed(of, Error::bad_input(what, "take a shorter one")));
            }
            if let (Some(hash), Recipe::Bcrypt { .. }) = (value, &key.recipe) {
                check_hash(key, hash, password)?;
            }
        }
        let Some(value) = value else { return Ok(()) };
        if key.recipe.is_derived() && !generate::agrees(&key.recipe, value, &|name| self.values.get(name)) {
            let help = "find out which of them is in use; without it, a new one is made";
            let sources: Vec<String> = key.recipe.sources().into_iter().map(|of| format!("`{of}`")).collect();
            return Err(Error::refused(format!("`{}` does not belong to {}", key.name, sources.join(" and ")), help));
        }
        if generate::check(key, value).is_err() {
            self.unlike.insert(key.name.clone(), key.recipe.describe());
        }
        Ok(())
    }

    /// Gives the error the place where the key's value was found.
    fn placed(&self, name: &KeyName, error: Error) -> Error {
        self.from.get(name).into_iter().fold(error, |error, from| error.in_file(from))
    }

    /// The keys that have a value.
    pub fn names(&self) -> BTreeSet<KeyName> {
        self.values.keys().cloned().sorted()
    }
}

fn place(secret: &Name, data_key: &str, file: &str, line: usize) -> String {
    format!("{}:{line} ({secret}, {data_key})", visible(file))
}

/// Checks a hash that another tool made: its form, a cost that does not take hours, and that it is the password's.
fn check_hash(key: &Key, hash: &SecretValue, password: &SecretValue) -> Result<()> {
    const MOST_COST: u32 = 16;
    let cost = std::str::from_utf8(hash.expose()).ok().and_then(|text| {
        let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|version| text.strip_prefix(version))?;
        rest.get(..2)?.parse::<u32>().ok()
    });
    if hash.len() != 60 || cost.is_none_or(|cost| cost > MOST_COST) {
        let help = "take it again from where the password was set";
        return Err(Error::bad_input(format!("`{}` is not a bcrypt hash of a cost up to {MOST_COST}", key.name), help));
    }
    if generate::matches(hash, password) {
        return Ok(());
    }
    let help = "find out which of the two is in use; without the hash, a new one is made";
    Err(Error::refused(format!("`{}` is not a hash of the password that was found with it", key.name), help))
}
