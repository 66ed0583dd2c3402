//! A first contract for a platform, from what its manifests read.

use std::collections::{BTreeMap, BTreeSet};

use super::platform::Platform;
use super::resolve;
use crate::manifest::contract_file;
use crate::model::{Contract, DataKey, Error, Key, KeyName, Name, PROPERTY, Recipe, Result, Severity, Terms, visible};

/// How errors name it.
const DRAFT: &str = "the draft";

/// The text of a contract: keys of `known` keep their recipe, the others become provided; `ignored` is the platform's
/// `.gitignore`.
pub fn draft(known: Contract, platform: &Platform, ignored: &str) -> Result<String> {
    let store = store(&known, platform)?;
    let mut keys: Vec<Key> = Vec::new();
    let mut comments = BTreeMap::new();
    for manifest in platform.manifests.iter().chain(&platform.made) {
        for entry in manifest.secret.entries.iter().filter(|entry| entry.store.name == store.as_str()) {
            let Ok(name) = Name::new(&entry.key) else { continue };
            if keys.iter().any(|key| key.name.as_str() == name.as_str()) {
                continue;
            }
            match known.key(name.as_str()) {
                Some(key) => add(&mut keys, with_source(&known, key)),
                None => {
                    let (line, _) = entry.position;
                    comments.insert(
                        name.to_string(),
                        vec![format!("read in {}:{line}; say how it is made: hex, base64url, alphanumeric, or provided", manifest.file)],
                    );
                    keys.push(provided(name, &manifest.secret.name));
                }
            }
        }
    }
    for (_, key, _) in &platform.helm {
        if let Some(key) = known.key(key).filter(|key| !keys.iter().any(|other| other.name == key.name)) {
            add(&mut keys, with_source(&known, key));
        }
    }
    // A unit of the known contract may have the name of a key here.
    let names: BTreeSet<String> = keys.iter().map(|key| key.name.to_string()).collect();
    for key in keys.iter_mut().filter(|key| key.unit.as_str() != key.name.secret() && names.contains(key.unit.as_str())) {
        key.unit = match &key.recipe {
            Recipe::Bcrypt { of, .. } => Name::new(of.secret())?,
            _ => Name::new(key.name.secret())?,
        };
    }
    let ignored = ignored.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect();
    let mut terms = Terms { file: DRAFT.to_owned(), store, ignored, keys, ..Terms::clone(&known) };
    terms.consumers.iter_mut().for_each(|consumer| consumer.entries.retain(|entry| names.contains(entry.key.as_str())));
    let resolved = resolve::resolve(Contract::new(terms)?, platform, None, None, Some(Default::default()))?;
    // One of a name and namespace is enough: what a second one reads is reported above.
    let (mut consumers, mut seen) = (resolved.contract.consumers.clone(), BTreeSet::new());
    consumers.retain(|one| one.name.is_none() || seen.insert((one.namespace.clone(), one.name.clone())));
    let contract = resolved.contract.with_consumers(consumers)?;
    let open = resolved.coverage.iter().filter(|finding| finding.code.severity() == Severity::Error);
    let open = open.filter(|finding| !matches!(finding.code, crate::model::Code::PropertyMissing));
    let open: String = open.map(|finding| format!("# open: {}: {}\n", visible(&finding.place), visible(&finding.what))).collect();
    let text =
        format!("# A draft, from the ExternalSecrets of this checkout. Review it, complete it, and pass it with `--contract`.\n{open}");
    let text = text + &contract_file::write(&contract, &comments);
    contract_file::read(DRAFT, &text)?;
    Ok(text)
}

fn add(keys: &mut Vec<Key>, more: Vec<Key>) {
    let known: BTreeSet<KeyName> = keys.iter().map(|key| key.name.clone()).collect();
    keys.extend(more.into_iter().filter(|key| !known.contains(&key.name)));
}

/// The key; before a hash, the key that it is the hash of.
fn with_source(known: &Contract, key: &Key) -> Vec<Key> {
    match &key.recipe {
        Recipe::Bcrypt { of, .. } => known.key(of.as_str()).into_iter().chain([key]).cloned().collect(),
        _ => vec![key.clone()],
    }
}

fn provided(name: Name, consumer: &str) -> Key {
    Key {
        about: format!("read by {}", visible(consumer)),
        recipe: Recipe::Provided { pattern: None, hint: None, lines: false },
        when: None,
        needed: true,
        write_once: false,
        operator_copy: false,
        unit: name.clone(),
        after_rotation: None,
        position: None,
        name: KeyName::of(&name, &DataKey::new(PROPERTY).expect("a constant data key")),
    }
}

/// The contract's store if an ExternalSecret reads from it, otherwise the one that most entries use.
fn store(known: &Contract, platform: &Platform) -> Result<Name> {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in platform.manifests.iter().flat_map(|manifest| &manifest.secret.entries) {
        *votes.entry(&entry.store.name).or_default() += 1;
    }
    let helm = platform.helm.iter().any(|(_, key, _)| known.key(key).is_some());
    if votes.contains_key(known.store.as_str()) || (votes.is_empty() && helm) {
        return Ok(known.store.clone());
    }
    let most = votes.into_iter().max_by_key(|(_, count)| *count).and_then(|(name, _)| Name::new(name).ok());
    most.ok_or_else(|| {
        Error::bad_input("no ExternalSecret in this checkout refers to a store", "pass the root of the platform's checkout")
            .in_file(&platform.root)
    })
}
