//! Making values, and holding a value against the recipe that should have made it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::model::{Entropy, Error, Key, Name, Recipe, Result, SecretValue, Unit};

const HEX: &[u8; 16] = b"0123456789abcdef";
const ALPHANUMERIC: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Every value of a unit, in the order of its keys; `provided` holds those that the operator supplied.
pub fn generate(unit: &Unit<'_>, provided: &mut BTreeMap<Name, SecretValue>, entropy: &mut Entropy) -> Result<Vec<SecretValue>> {
    let mut values: Vec<SecretValue> = Vec::with_capacity(unit.keys.len());
    for (i, key) in unit.keys.iter().enumerate() {
        let value = match (provided.remove(&key.name), &key.recipe) {
            (Some(value), _) => value,
            (None, Recipe::Bcrypt { of, cost }) => {
                let source = unit.keys[..i].iter().position(|key| key.name == *of);
                let source = source.expect("a contract's hash comes after its source, in the same unit");
                hash(&values[source], *cost, entropy)?
            }
            (None, recipe) => draw(recipe, entropy)?,
        };
        values.push(value);
    }
    Ok(values)
}

/// A fresh value of a recipe that needs nothing but randomness.
fn draw(recipe: &Recipe, entropy: &mut Entropy) -> Result<SecretValue> {
    let length = recipe.length().expect("a generated value has a fixed length");
    let mut text = Zeroizing::new(Vec::with_capacity(length));
    match recipe {
        Recipe::Hex { bytes, prefix } => {
            text.extend_from_slice(prefix.as_bytes());
            let random = random(*bytes, entropy)?;
            text.extend(random.iter().flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]));
        }
        Recipe::Base64Url { bytes } => {
            text.resize(length, 0);
            let random = random(*bytes, entropy)?;
            BASE64_URL_SAFE_NO_PAD.encode_slice(&*random, &mut text).expect("the length of base64 is known");
        }
        Recipe::Alphanumeric { .. } => {
            while text.len() < length {
                let random = random(length, entropy)?;
                // 248 = 4 · 62: what lies above would make the first characters likelier.
                let fair = random.iter().filter(|byte| **byte < 248).map(|byte| ALPHANUMERIC[usize::from(byte % 62)]);
                let missing = length - text.len();
                text.extend(fair.take(missing));
            }
        }
        Recipe::Bcrypt { .. } | Recipe::Provided { .. } => unreachable!("a hash is computed, and a plan awaits what is not provided"),
    }
    Ok(SecretValue::new(text))
}

fn random(bytes: usize, entropy: &mut Entropy) -> Result<Zeroizing<Vec<u8>>> {
    let mut random = Zeroizing::new(vec![0; bytes]);
    entropy.try_fill_bytes(&mut random)?;
    Ok(random)
}

/// A bcrypt hash, version `2a`, verified before it is used: a hash that no password matches locks everybody out.
fn hash(password: &SecretValue, cost: u32, entropy: &mut Entropy) -> Result<SecretValue> {
    let mut salt = [0; 16];
    entropy.try_fill_bytes(&mut salt)?;
    let failed = || Error::cryptography("hashing with bcrypt failed", "nothing was written; try again, and report it if it stays");
    let parts = bcrypt::non_truncating_hash_with_salt(password.expose(), cost, salt).map_err(|_| failed())?;
    let text = Zeroizing::new(parts.format_for_version(bcrypt::Version::TwoA));
    let value = SecretValue::new(Zeroizing::new(text.as_bytes().to_vec()));
    if matches(&value, password) { Ok(value) } else { Err(failed()) }
}

/// Whether this is a bcrypt hash of that password.
pub fn matches(hash: &SecretValue, password: &SecretValue) -> bool {
    let hash = std::str::from_utf8(hash.expose());
    hash.is_ok_and(|hash| bcrypt::non_truncating_verify(password.expose(), hash).unwrap_or(false))
}

/// Whether a value is one that the key's recipe could have made; a hash's password is a matter of [`matches`].
pub fn check(key: &Key, value: &SecretValue) -> Result<()> {
    let bytes = value.expose();
    let tail = |skip: usize| bytes.get(skip..).unwrap_or_default();
    let right_length = key.recipe.length().is_none_or(|length| length == bytes.len());
    let fits = right_length
        && match &key.recipe {
            Recipe::Hex { prefix, .. } => bytes.starts_with(prefix.as_bytes()) && tail(prefix.len()).iter().all(|byte| HEX.contains(byte)),
            Recipe::Base64Url { .. } => bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)),
            Recipe::Alphanumeric { .. } => bytes.iter().all(u8::is_ascii_alphanumeric),
            Recipe::Bcrypt { cost, .. } => bytes.starts_with(format!("$2a${cost:02}$").as_bytes()),
            Recipe::Provided { pattern, .. } => !bytes.is_empty() && pattern.as_ref().is_none_or(|pattern| pattern.is_match(bytes)),
        };
    if fits {
        return Ok(());
    }
    let hint = match &key.recipe {
        Recipe::Provided { hint: Some(hint), .. } => hint.clone(),
        Recipe::Provided { .. } => "supply one that matches the contract's pattern".to_owned(),
        _ => "a new value is due".to_owned(),
    };
    Err(Error::bad_input(format!("the value of `{}` is not what its recipe asks for ({})", key.name, key.recipe.describe()), hint))
}
