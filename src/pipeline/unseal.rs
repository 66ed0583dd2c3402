//! Opening sealed values.

use std::collections::{BTreeMap, HashMap};

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use aws_lc_rs::rsa::OAEP_SHA256_MGF1SHA256;
use zeroize::Zeroizing;

use super::generate;
use super::inventory::Inventory;
use super::private_key::SealingKey;
use super::seal::{NONCE, TAG};
use crate::manifest::base64;
use crate::manifest::blobs::{ForeignSealedSecret, Kind};
use crate::manifest::sealed_secret::{Encrypted, SealedSecret};
use crate::manifest::secret::Unsealed;
use crate::model::{DataKey, Error, KeyName, Result, Scope, SecretValue, Text};

/// Opens one blob with the first key that fits. Every failure gives the same answer: one that told a wrong key from a changed byte would be
/// an oracle.
pub fn open(keys: &[SealingKey], label: &str, blob: &str) -> Result<SecretValue> {
    open_first(keys, 0, &[label.to_owned()], blob).map(|(_, _, value)| value)
}

/// Opens one blob with the first key and label that fit, starting with a likely key; returns the index of both.
pub fn open_first(keys: &[SealingKey], first: usize, labels: &[String], blob: &str) -> Result<(usize, usize, SecretValue)> {
    let order = || std::iter::once(first).chain((0..keys.len()).filter(|i| *i != first)).filter_map(|i| Some((i, keys.get(i)?)));
    let opened = |bytes: &[u8]| {
        let under = |(n, label): (usize, &String)| order().find_map(|(i, key)| Some((i, n, open_with(key, label, bytes)?)));
        labels.iter().enumerate().find_map(under)
    };
    base64::decode(blob).ok().and_then(|bytes| opened(&bytes)).ok_or_else(|| does_not_open(keys))
}

fn does_not_open(keys: &[SealingKey]) -> Error {
    let tried: Vec<String> = keys.iter().map(|key| key.digest.to_string()).collect();
    let help =
        "check namespace, name and scope against those it was sealed for, restore the file from git, or name the key it was sealed to";
    Error::cryptography("a sealed value does not open", help).why(format!("tried {}", tried.join(", ")))
}

/// sealed-secrets `pkg/crypto/crypto.go`, `HybridDecrypt`; stricter, because the RSA part has to have the key's length.
fn open_with(key: &SealingKey, label: &str, blob: &[u8]) -> Option<SecretValue> {
    let (length, rest) = blob.split_first_chunk::<2>()?;
    let size = usize::from(u16::from_be_bytes(*length));
    if size != key.size || rest.len() < size + TAG {
        return None;
    }
    let (rsa, body) = rest.split_at(size);
    let mut buffer = Zeroizing::new(vec![0; key.opener.min_output_size()]);
    let session_key = key.opener.decrypt(&OAEP_SHA256_MGF1SHA256, rsa, &mut buffer, Some(label.as_bytes())).ok()?;
    // A session key that is not of AES-256's length is refused here.
    let cipher = Aes256Gcm::new_from_slice(session_key).ok()?;
    let (text, tag) = body.split_at(body.len() - TAG);
    let mut value = Zeroizing::new(text.to_vec());
    cipher.decrypt_inout_detached(&Nonce::from(NONCE), &[], value.as_mut_slice().into(), &Tag::try_from(tag).ok()?).ok()?;
    Some(SecretValue::new(value))
}

/// Opens every value of a SealedSecret, in the order of its data keys.
pub fn open_all(keys: &[SealingKey], sealed: &SealedSecret) -> Result<Vec<(String, SecretValue)>> {
    let namespace = sealed.namespace.as_ref().map_or("", |namespace| namespace.as_str());
    let label = sealed.scope.label(namespace, sealed.name.as_str());
    let open_one = |one: &Encrypted| {
        let value = open(keys, &label, &one.blob).map_err(|error| error.at(one.position))?;
        Ok((one.key.to_string(), value))
    };
    sealed.encrypted.iter().map(open_one).collect()
}

/// The Secret of a SealedSecret of ours.
pub fn unseal(keys: &[SealingKey], sealed: &SealedSecret) -> Result<Unsealed> {
    let namespace = sealed.namespace.as_ref().map(ToString::to_string);
    let mut values = open_all(keys, sealed)?;
    render(&sealed.template.texts, &mut values);
    Ok(Unsealed { name: sealed.name.to_string(), namespace, template: sealed.template.clone(), values })
}

/// The Secret of sealed values that others wrote.
pub fn unseal_foreign(keys: &[SealingKey], one: &ForeignSealedSecret) -> Result<Unsealed> {
    if let Some(fault) = &one.fault {
        return Err(fault.clone());
    }
    let (mut name, mut namespace, mut values) = (one.name.clone(), one.namespace.clone(), Vec::new());
    for blob in &one.blobs {
        let opened = open_first(keys, 0, &one.labels, &blob.text);
        let (_, label, value) = opened.map_err(|error| unattributed(one, error).at(blob.spot.position))?;
        // The label under which it opens is what it was sealed for.
        match one.labels[label].split_once('/') {
            Some((of, called)) => (namespace, name) = (Some(of.to_owned()), called.to_owned()),
            None if one.labels[label].is_empty() => {}
            None => namespace = Some(one.labels[label].clone()),
        }
        values.push((blob.key.clone(), value));
    }
    render(&one.template.texts, &mut values);
    Ok(Unsealed { name, namespace, template: one.template.clone(), values })
}

/// Adds the texts that the controller renders; a sealed value wins over a text of the same data key.
fn render(texts: &BTreeMap<DataKey, Text>, values: &mut Vec<(String, SecretValue)>) {
    let value = |name: &DataKey| values.iter().find(|(key, _)| key == name.as_str()).map(|(_, value)| value);
    let none = SecretValue::new(Zeroizing::new(Vec::new()));
    let missing = texts.iter().filter(|(key, _)| value(key).is_none());
    let rendered: Vec<_> =
        missing.map(|(key, text)| (key.to_string(), generate::written(text, |name| value(name).unwrap_or(&none)))).collect();
    values.extend(rendered);
}

/// Explains that a value does not open because no name is known for it.
pub fn unattributed(one: &ForeignSealedSecret, error: Error) -> Error {
    let (what, help) = match one.kind {
        Kind::Alone => (
            "a sealed value by itself opens under none of the names around it",
            "pass the `--name`, `--namespace` and `--scope` that it was sealed for, or the key that it was sealed to",
        ),
        _ if one.namespace.is_none() && one.scope != Scope::ClusterWide => (
            "a sealed value does not open, and its SealedSecret says no namespace",
            "pass the `--namespace` that it was sealed for, or add `metadata.namespace`",
        ),
        _ => return error,
    };
    Error::new(error.kind, what, help).why(error.reason().unwrap_or_default())
}

/// The values of a SealedSecret, in the order of its data keys, or why one of them does not open.
pub type Values = Result<Vec<(String, SecretValue)>>;

/// The shortest value, in bytes, whose occurrence in a file cannot be chance.
const LEAST_SOUGHT: usize = 12;

/// A value to search for in files.
pub struct Sought<'o> {
    pub name: KeyName,
    value: &'o SecretValue,
    encoded: SecretValue,
}

impl Sought<'_> {
    /// Where these bytes contain it.
    pub fn stands_in(&self, bytes: &[u8]) -> Option<usize> {
        self.value.stands_in(bytes).or_else(|| self.encoded.stands_in(bytes))
    }
}

/// Every sealed value of an inventory, opened once.
pub struct Opened(HashMap<String, Vec<Values>>);

impl Opened {
    /// Opens the values with these keys.
    pub fn new(keys: &[SealingKey], inventory: &Inventory) -> Self {
        let open = |(path, secrets): (&String, &Vec<SealedSecret>)| (path.clone(), secrets.iter().map(|one| open_all(keys, one)).collect());
        Opened(inventory.sealed.iter().map(open).collect())
    }

    /// What to search for in files that may hold these values in the clear: each value as it is and in base64. `inventory` is what they
    /// were opened from.
    pub fn sought<'o>(&'o self, inventory: &'o Inventory) -> Vec<Sought<'o>> {
        let of_file = inventory.sealed.iter().flat_map(|(path, secrets)| secrets.iter().zip(self.of(path)));
        let named = |secret: &SealedSecret, key: &str| DataKey::new(key).ok().map(|key| KeyName::of(&secret.name, &key));
        let each =
            of_file.flat_map(|(secret, values)| values.iter().flatten().filter_map(move |(key, value)| Some((named(secret, key)?, value))));
        each.filter(|(_, value)| value.len() >= LEAST_SOUGHT)
            .map(|(name, value)| Sought { name, value, encoded: value.encoded() })
            .collect()
    }

    /// The values of a file, in the order of its SealedSecrets.
    pub fn of(&self, file: &str) -> &[Values] {
        self.0.get(file).map(Vec::as_slice).unwrap_or_default()
    }
}
