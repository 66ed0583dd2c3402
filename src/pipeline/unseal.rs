//! Opening sealed values.

use std::collections::HashMap;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use aws_lc_rs::rsa::OAEP_SHA256_MGF1SHA256;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::inventory::Inventory;
use super::private_key::SealingKey;
use super::seal::{NONCE, TAG};
use crate::manifest::sealed_secret::{Encrypted, SealedSecret};
use crate::model::{Error, Result, SecretValue};

/// Opens one blob with the first key that fits. Whatever is wrong, the answer is the same: a text that told a wrong
/// key from a changed byte would be an oracle.
pub fn open(keys: &[SealingKey], label: &str, blob: &str) -> Result<SecretValue> {
    open_first(keys, 0, label, blob).map(|(_, value)| value)
}

/// The same, beginning with a key that is likely to fit; says which one did.
pub fn open_first(keys: &[SealingKey], first: usize, label: &str, blob: &str) -> Result<(usize, SecretValue)> {
    let bytes = BASE64_STANDARD.decode(blob).ok();
    let order = std::iter::once(first).chain((0..keys.len()).filter(|i| *i != first));
    let opened =
        |bytes: Vec<u8>| order.filter_map(|i| Some((i, keys.get(i)?))).find_map(|(i, key)| Some((i, open_with(key, label, &bytes)?)));
    bytes.and_then(opened).ok_or_else(|| {
        let tried: Vec<String> = keys.iter().map(|key| key.digest.to_string()).collect();
        let help =
            "check namespace, name and scope against those it was sealed for, restore the file from git, or name the key it was sealed to";
        Error::cryptography("a sealed value does not open", help).why(format!("tried {}", tried.join(", ")))
    })
}

/// sealed-secrets `pkg/crypto/crypto.go`, `HybridDecrypt`; stricter, in that the RSA part has to have the key's length.
fn open_with(key: &SealingKey, label: &str, blob: &[u8]) -> Option<SecretValue> {
    let (length, rest) = blob.split_first_chunk::<2>()?;
    let size = usize::from(u16::from_be_bytes(*length));
    if size != key.size || rest.len() < size + TAG {
        return None;
    }
    let (rsa, body) = rest.split_at(size);
    let mut buffer = Zeroizing::new(vec![0; key.opener.min_output_size()]);
    let session_key = key.opener.decrypt(&OAEP_SHA256_MGF1SHA256, rsa, &mut buffer, Some(label.as_bytes())).ok()?;
    // A session key of another length than AES-256's is refused here.
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

/// The values of a SealedSecret, in the order of its data keys, or why one of them does not open.
pub type Values = Result<Vec<(String, SecretValue)>>;

/// Every sealed value of an inventory, opened once.
pub struct Opened(HashMap<String, Vec<Values>>);

impl Opened {
    /// Opens them with these keys.
    pub fn new(keys: &[SealingKey], inventory: &Inventory) -> Self {
        let open = |(path, secrets): (&String, &Vec<SealedSecret>)| (path.clone(), secrets.iter().map(|one| open_all(keys, one)).collect());
        Opened(inventory.sealed.iter().map(open).collect())
    }

    /// Those of a file, in the order of its SealedSecrets.
    pub fn of(&self, file: &str) -> &[Values] {
        self.0.get(file).map(Vec::as_slice).unwrap_or_default()
    }
}
