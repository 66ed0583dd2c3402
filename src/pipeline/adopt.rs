//! Values that exist already: which key of the contract each is for, and whether they fit together.

use std::collections::{BTreeMap, BTreeSet};

use super::{fit, generate};
use crate::manifest::env_file::Variable;
use crate::manifest::secret::PlainSecret;
use crate::model::{Contract, Error, Key, MOST_PROVIDED_BYTES, Name, PROPERTY, Recipe, Result, SecretValue, Unit, counted, visible};

/// bcrypt hashes no more of a password than this, in bytes.
const MOST_PASSWORD_BYTES: usize = 72;

/// What becomes of a value that is found without another one of its unit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Halves {
    Refused,
    /// It is left out, with a remark.
    LeftOut,
}

/// What was found so far.
#[derive(Default)]
pub struct Adopted {
    pub values: BTreeMap<Name, SecretValue>,
    /// Where each was found.
    pub from: BTreeMap<Name, String>,
    /// The day on which each was sealed first, where that is known.
    pub sealed_on: BTreeMap<Name, String>,
    /// Those that are not what their recipe makes, and what it makes.
    pub unlike: BTreeMap<Name, String>,
    /// Those that lost the line feed at their end.
    pub trimmed: BTreeSet<Name>,
    /// What the operator should know besides.
    pub remarks: Vec<String>,
    /// How many values were for no key of the contract.
    pub skipped: usize,
}

impl Adopted {
    /// Takes a value for a key, to the byte. A second, different one for the same key is an error: only the operator knows which is right.
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

    /// The same for a value as people and other tools leave it.
    pub fn take(&mut self, key: &Key, value: SecretValue, from: String) -> Result<()> {
        let (value, trimmed) = value.without_line_feed();
        if trimmed {
            self.trimmed.insert(key.name.clone());
        }
        self.add(key, value, from)
    }

    /// Takes what a variable holds: its name is a key's, or a key's in upper case with `_`.
    pub fn add_variable(&mut self, contract: &Contract, variable: Variable<'_>, file: &str) -> Result<()> {
        let same = |key: &&Key| {
            let name = key.name.as_str();
            let upper = || name.to_ascii_uppercase().replace(['-', '.'], "_");
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

    /// Takes what a Secret holds: a source Secret's one value, or a target Secret's, by the entries of its ExternalSecret.
    pub fn add_secret(&mut self, contract: &Contract, secret: PlainSecret, file: &str) -> Result<()> {
        let namespace = secret.namespace.as_ref();
        let in_source = namespace.is_none_or(|namespace| *namespace == contract.namespace);
        let source = contract.key(secret.name.as_str()).filter(|_| in_source);
        let alone = secret.values.len() == 1;
        let consumers = contract.consumers.iter().filter(|one| Some(&one.namespace) == namespace && one.target == secret.name);
        let entries: Vec<_> = consumers.flat_map(|consumer| &consumer.entries).collect();
        for (data_key, value) in secret.values {
            let read = || entries.iter().find(|entry| entry.secret_key == data_key).and_then(|entry| contract.key(entry.key.as_str()));
            match source.filter(|_| alone || data_key.as_str() == PROPERTY).or_else(read) {
                Some(key) => self.take(key, value, place(&secret.name, &data_key.to_string(), file, secret.position.0))?,
                None => self.skipped += 1,
            }
        }
        Ok(())
    }

    /// Refuses a value that is a stand-in, or that its consumer refuses, unless it is accepted as it is.
    pub fn judge(&self, contract: &Contract, accepted: &[Name]) -> Result<()> {
        let keys = contract.keys.iter().filter(|key| !accepted.contains(&key.name));
        let mut values = keys.filter_map(|key| Some((key, self.values.get(&key.name)?)));
        values.try_for_each(|(key, value)| fit::check(contract, key, value).map_err(|error| self.placed(&key.name, error)))
    }

    /// Compares the values with the contract: a pair is whole and matches.
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

    /// Whether the values of a unit are all there, or can be computed.
    fn is_whole(&mut self, unit: &Unit<'_>, halves: Halves) -> Result<bool> {
        let computed = |key: &Key| matches!(key.recipe, Recipe::Bcrypt { .. });
        let Some(missing) = unit.keys.iter().find(|key| !computed(key) && !self.values.contains_key(&key.name)) else { return Ok(true) };
        if halves == Halves::Refused {
            return Err(self.half(unit, missing));
        }
        for key in &unit.keys {
            if self.values.remove(&key.name).is_some() {
                self.remarks
                    .push(format!("`{}` is not taken: `{}`, which it belongs to, is in none of the sources", key.name, missing.name));
            }
        }
        Ok(false)
    }

    /// Each value of a unit that is here without another one.
    fn half(&self, unit: &Unit<'_>, missing: &Key) -> Error {
        let here: Vec<&Key> = unit.keys.iter().copied().filter(|key| self.values.contains_key(&key.name)).collect();
        let whose = |key: &Key| match &key.recipe {
            Recipe::Bcrypt { of, .. } => format!("`{}` is a bcrypt hash of `{of}`", key.name),
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
        if let Recipe::Bcrypt { of, .. } = &key.recipe {
            let password = self.values.get(of).filter(|password| password.len() <= MOST_PASSWORD_BYTES);
            let too_long = || {
                Error::bad_input(format!("`{of}` is longer than the {MOST_PASSWORD_BYTES} bytes that bcrypt hashes"), "take a shorter one")
            };
            let password = password.ok_or_else(|| self.placed(of, too_long()))?;
            if let Some(hash) = value {
                check_hash(key, hash, password)?;
            }
        }
        let Some(value) = value else { return Ok(()) };
        if generate::check(key, value).is_err() {
            self.unlike.insert(key.name.clone(), key.recipe.describe());
        }
        Ok(())
    }

    /// The error, where the value of that key was found.
    fn placed(&self, name: &Name, error: Error) -> Error {
        self.from.get(name).into_iter().fold(error, |error, from| error.in_file(from))
    }

    /// The keys that have a value.
    pub fn names(&self) -> BTreeSet<Name> {
        self.values.keys().cloned().collect()
    }
}

fn place(secret: &Name, data_key: &str, file: &str, line: usize) -> String {
    format!("{}:{line} ({secret}, {data_key})", visible(file))
}

/// A hash of some other tool's: its form, a cost that does not take hours, and that the password is its own.
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
