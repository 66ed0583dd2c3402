//! Makes values, and compares a value with its recipe.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD as STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::key_pair::PrivateKey;
use super::tls;
use crate::model::{
    BcryptVersion, Class, Entropy, Error, Escape, Issuer, Key, KeyName, Part, Recipe, Result, SecretValue, Text, Unit, ranges,
};

const HEX: &[u8; 16] = b"0123456789abcdef";
const ALPHANUMERIC: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The values of these keys of a unit, each with its key, in the unit's order. `provided` holds the existing ones, `sources` sealed values
/// that stay and that others are made from; certificates begin at `now`.
pub fn generate<'k>(
    unit: &Unit<'k>,
    keys: &[KeyName],
    provided: &mut BTreeMap<KeyName, SecretValue>,
    sources: &BTreeMap<KeyName, SecretValue>,
    now: SystemTime,
    entropy: &mut Entropy,
) -> Result<Vec<(&'k Key, SecretValue)>> {
    let mut values: Vec<(&Key, SecretValue)> = Vec::with_capacity(keys.len());
    for key in unit.keys.iter().filter(|key| keys.contains(&key.name)) {
        let value = match provided.remove(&key.name) {
            Some(value) => value,
            None if key.recipe.is_derived() => {
                let made = |name: &KeyName| values.iter().find(|(key, _)| key.name == *name).map(|(_, value)| value).or(sources.get(name));
                derive(&key.recipe, &made, now, entropy)?
            }
            None => draw(&key.recipe, entropy)?,
        };
        values.push((key, value));
    }
    Ok(values)
}

/// Looks up an existing value by its name.
type Known<'v> = &'v dyn Fn(&KeyName) -> Option<&'v SecretValue>;

/// A value that is made from others.
fn derive(recipe: &Recipe, known: Known<'_>, now: SystemTime, entropy: &mut Entropy) -> Result<SecretValue> {
    let of = |name: &KeyName| known(name).expect("a plan makes a value together with what it is made of, or that is open");
    match recipe {
        Recipe::Bcrypt { of: name, cost, version } => hash(of(name), *cost, *version, entropy),
        Recipe::Htpasswd { user, of: name, cost } => {
            let hash = hash(of(name), *cost, BcryptVersion::TwoY, entropy)?;
            Ok(SecretValue::new(Zeroizing::new([user.as_bytes(), b":", hash.expose()].concat())))
        }
        Recipe::Argon2id { of: name, memory, iterations, parallelism } => argon2id(of(name), *memory, *iterations, *parallelism, entropy),
        Recipe::PublicKey { of: name, format } => PrivateKey::read(of(name))?.public(*format),
        Recipe::Same { of: name } => Ok(SecretValue::new(Zeroizing::new(of(name).expose().to_vec()))),
        Recipe::Text(text) => Ok(written(text, of)),
        Recipe::Certificate { of: name, names, days, issuer } => {
            let subject = tls::Subject { key: PrivateKey::read(of(name))?, names, days: *days };
            match issuer {
                Issuer::By { key, certificate } => {
                    let authority = tls::Authority { name: certificate, key: PrivateKey::read(of(key))?, certificate: of(certificate) };
                    tls::issue(&subject, Some(&authority), false, now, entropy)
                }
                issuer => tls::issue(&subject, None, *issuer == Issuer::Authority, now, entropy),
            }
        }
        _ => unreachable!("the other recipes need no other value"),
    }
}

/// A new value of a recipe that needs only randomness.
fn draw(recipe: &Recipe, entropy: &mut Entropy) -> Result<SecretValue> {
    let mut text = Zeroizing::new(Vec::with_capacity(recipe.length().unwrap_or_default()));
    match recipe {
        Recipe::Hex { bytes, prefix } => {
            text.extend_from_slice(prefix.as_bytes());
            text.extend(hex(&random(*bytes, entropy)?));
        }
        Recipe::Base64 { bytes } => text = encoded(&BASE64_STANDARD, &random(*bytes, entropy)?),
        Recipe::Base64Url { bytes } => text = encoded(&BASE64_URL_SAFE_NO_PAD, &random(*bytes, entropy)?),
        Recipe::Alphanumeric { length } => draw_of(ALPHANUMERIC, *length, &mut text, entropy)?,
        Recipe::Password { length, classes, without } => draw_password(*length, classes, without, &mut text, entropy)?,
        Recipe::Uuid => {
            let mut bytes = random(16, entropy)?;
            // RFC 9562: version 4, variant 10.
            (bytes[6], bytes[8]) = (bytes[6] & 0x0f | 0x40, bytes[8] & 0x3f | 0x80);
            for (i, digit) in hex(&bytes).enumerate() {
                text.extend([8, 12, 16, 20].contains(&i).then_some(b'-'));
                text.push(digit);
            }
        }
        Recipe::PrivateKey { algorithm, format } => return PrivateKey::new(*algorithm, entropy)?.private(*format),
        _ => unreachable!("a plan awaits what is not provided, and what is made of another value is not drawn"),
    }
    Ok(SecretValue::new(text))
}

/// Appends `length` characters, each equally likely.
fn draw_of(characters: &[u8], length: usize, text: &mut Vec<u8>, entropy: &mut Entropy) -> Result<()> {
    let all = characters.len();
    // Bytes above the largest multiple would make the first characters likelier.
    let fair = 256 / all * all;
    let end = text.len() + length;
    while text.len() < end {
        let random = random(length, entropy)?;
        let fair = random.iter().filter(|byte| usize::from(**byte) < fair).map(|byte| characters[usize::from(*byte) % all]);
        let missing = end - text.len();
        text.extend(fair.take(missing));
    }
    Ok(())
}

/// The characters of a password.
fn alphabet(classes: &[Class], without: &str) -> Vec<u8> {
    let all = classes.iter().flat_map(|class| class.characters().bytes());
    all.filter(|character| !without.as_bytes().contains(character)).collect()
}

/// Whether a password has a character of each class.
fn has_each(password: &[u8], classes: &[Class]) -> bool {
    classes.iter().all(|class| password.iter().any(|byte| class.characters().as_bytes().contains(byte)))
}

/// A password with a character of each class; all such passwords are equally likely.
fn draw_password(length: usize, classes: &[Class], without: &str, text: &mut Vec<u8>, entropy: &mut Entropy) -> Result<()> {
    let alphabet = alphabet(classes, without);
    loop {
        text.clear();
        draw_of(&alphabet, length, text, entropy)?;
        if has_each(text, classes) {
            return Ok(());
        }
    }
}

fn hex(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]])
}

fn encoded(engine: &impl Engine, bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(engine.encode(bytes).into_bytes())
}

fn random(bytes: usize, entropy: &mut Entropy) -> Result<Zeroizing<Vec<u8>>> {
    let mut random = Zeroizing::new(vec![0; bytes]);
    entropy.try_fill_bytes(&mut random)?;
    Ok(random)
}

/// A bcrypt hash, verified before use: a hash that matches no password locks everyone out.
fn hash(password: &SecretValue, cost: u32, version: BcryptVersion, entropy: &mut Entropy) -> Result<SecretValue> {
    let mut salt = [0; 16];
    entropy.try_fill_bytes(&mut salt)?;
    let failed = || Error::cryptography("hashing with bcrypt failed", "nothing was written; try again, and report it if it stays");
    let parts = bcrypt::non_truncating_hash_with_salt(password.expose(), cost, salt).map_err(|_| failed())?;
    let version = match version {
        BcryptVersion::TwoA => bcrypt::Version::TwoA,
        BcryptVersion::TwoB => bcrypt::Version::TwoB,
        BcryptVersion::TwoY => bcrypt::Version::TwoY,
    };
    let text = Zeroizing::new(parts.format_for_version(version));
    let value = SecretValue::new(Zeroizing::new(text.as_bytes().to_vec()));
    if matches(&value, password) { Ok(value) } else { Err(failed()) }
}

/// Whether it is a bcrypt hash of that password.
pub fn matches(hash: &SecretValue, password: &SecretValue) -> bool {
    is_bcrypt_of(hash.expose(), password)
}

fn is_bcrypt_of(hash: &[u8], password: &SecretValue) -> bool {
    let hash = std::str::from_utf8(hash);
    hash.is_ok_and(|hash| bcrypt::non_truncating_verify(password.expose(), hash).unwrap_or(false))
}

/// An Argon2id hash, as a PHC string.
fn argon2id(password: &SecretValue, memory: u32, iterations: u32, parallelism: u32, entropy: &mut Entropy) -> Result<SecretValue> {
    let mut salt = [0; 16];
    entropy.try_fill_bytes(&mut salt)?;
    let failed = || Error::cryptography("hashing with Argon2id failed", "nothing was written; try again, and report it if it stays");
    let hash = argon2id_of(password, &salt, (memory, iterations, parallelism), 32).ok_or_else(failed)?;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), Zeroizing::new(STANDARD_NO_PAD.encode(hash)));
    let text = format!("$argon2id$v=19$m={memory},t={iterations},p={parallelism}${salt}${}", *hash);
    Ok(SecretValue::new(Zeroizing::new(text.into_bytes())))
}

/// Whether it is an Argon2id hash of that password, as a PHC string.
fn is_argon2id_of(hash: &[u8], password: &SecretValue) -> Option<bool> {
    let text = std::str::from_utf8(hash).ok()?.strip_prefix("$argon2id$v=19$")?;
    let [parameters, salt, hash] = text.split('$').collect::<Vec<_>>().try_into().ok()?;
    let number = |name: &str| parameters.split(',').find_map(|one| one.strip_prefix(name)?.strip_prefix('=')?.parse::<u32>().ok());
    let (memory, iterations) = (number("m")?, number("t")?);
    // A hash that would take minutes is not ours.
    if memory > *ranges::MEMORY.end() || iterations > *ranges::ITERATIONS.end() {
        return None;
    }
    let (salt, hash) = (STANDARD_NO_PAD.decode(salt).ok()?, STANDARD_NO_PAD.decode(hash).ok()?);
    Some(*argon2id_of(password, &salt, (memory, iterations, number("p")?), hash.len())? == hash)
}

/// None if these parameters are impossible.
fn argon2id_of(
    password: &SecretValue,
    salt: &[u8],
    (memory, iterations, parallelism): (u32, u32, u32),
    bytes: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let parameters = argon2::Params::new(memory, iterations, parallelism, Some(bytes)).ok()?;
    let hasher = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters);
    let mut hash = Zeroizing::new(vec![0; bytes]);
    hasher.hash_password_into(password.expose(), salt, &mut hash).ok()?;
    Some(hash)
}

/// Whether the recipe could have made this value from the known ones.
pub fn agrees(recipe: &Recipe, value: &SecretValue, known: Known<'_>) -> bool {
    let of = |name: &KeyName| known(name);
    let agreed = match recipe {
        Recipe::Bcrypt { of: name, .. } => of(name).map(|password| matches(value, password)),
        Recipe::Htpasswd { user, of: name, .. } => of(name).map(|password| {
            let hash = value.expose().strip_prefix(user.as_bytes()).and_then(|rest| rest.strip_prefix(b":"));
            hash.is_some_and(|hash| is_bcrypt_of(hash, password))
        }),
        Recipe::Argon2id { of: name, .. } => of(name).map(|password| is_argon2id_of(value.expose(), password) == Some(true)),
        Recipe::PublicKey { of: name, .. } => of(name).map(|key| PrivateKey::read(key).is_ok_and(|key| key.has_public(value))),
        Recipe::Same { of: name } => of(name).map(|other| other.same_as(value)),
        Recipe::Text(text) if text.reads().all(|name| of(name).is_some()) => {
            Some(written(text, |name: &KeyName| of(name).expect("each of them is known")).same_as(value))
        }
        Recipe::Certificate { of: name, issuer, .. } => of(name).map(|key| {
            let authority = match issuer {
                Issuer::By { certificate, .. } => of(certificate),
                _ => Some(value),
            };
            let key = PrivateKey::read(key);
            key.is_ok_and(|key| authority.is_none_or(|authority| tls::fits(value, &key, authority)))
        }),
        _ => None,
    };
    agreed.unwrap_or(true)
}

/// Whether the key's recipe could have made this value; [`agrees`] also looks at the values that it is made from.
pub fn check(key: &Key, value: &SecretValue) -> Result<()> {
    let bytes = value.expose();
    let right_length = key.recipe.length().is_none_or(|length| length == bytes.len());
    if right_length && is_like(&key.recipe, value) {
        return Ok(());
    }
    let hint = match &key.recipe {
        Recipe::Provided { hint: Some(hint), .. } => hint.clone(),
        Recipe::Provided { .. } => "supply one that matches the contract's pattern".to_owned(),
        _ => "a new value is due".to_owned(),
    };
    Err(Error::bad_input(format!("the value of `{}` is not what its recipe asks for ({})", key.name, key.recipe.describe()), hint))
}

fn is_like(recipe: &Recipe, value: &SecretValue) -> bool {
    let bytes = value.expose();
    let tail = |skip: usize| bytes.get(skip..).unwrap_or_default();
    let is_hash = |hash: &[u8], version: BcryptVersion, cost: u32| hash.starts_with(format!("${}${cost:02}$", version.as_str()).as_bytes());
    match recipe {
        Recipe::Hex { prefix, .. } => bytes.starts_with(prefix.as_bytes()) && tail(prefix.len()).iter().all(|byte| HEX.contains(byte)),
        Recipe::Base64 { bytes: count } => BASE64_STANDARD.decode(bytes).map(Zeroizing::new).is_ok_and(|found| found.len() == *count),
        Recipe::Base64Url { .. } => bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)),
        Recipe::Alphanumeric { .. } => bytes.iter().all(u8::is_ascii_alphanumeric),
        Recipe::Password { classes, without, .. } => {
            let alphabet = alphabet(classes, without);
            has_each(bytes, classes) && bytes.iter().all(|byte| alphabet.contains(byte))
        }
        Recipe::Uuid => {
            let is_digit = |(i, byte): (usize, &u8)| if [8, 13, 18, 23].contains(&i) { *byte == b'-' } else { HEX.contains(byte) };
            bytes.iter().enumerate().all(is_digit) && bytes.get(14) == Some(&b'4')
        }
        Recipe::PrivateKey { algorithm, format } => {
            PrivateKey::read(value).is_ok_and(|key| key.algorithm() == Some(*algorithm) && PrivateKey::is_in(value, *format))
        }
        Recipe::Bcrypt { cost, version, .. } => is_hash(bytes, *version, *cost),
        Recipe::Htpasswd { user, cost, .. } => {
            bytes.starts_with(format!("{user}:").as_bytes()) && is_hash(tail(user.len() + 1), BcryptVersion::TwoY, *cost)
        }
        Recipe::Argon2id { memory, iterations, parallelism, .. } => {
            bytes.starts_with(format!("$argon2id$v=19$m={memory},t={iterations},p={parallelism}$").as_bytes())
        }
        Recipe::Provided { pattern, .. } => !bytes.is_empty() && pattern.as_ref().is_none_or(|pattern| pattern.is_match(bytes)),
        Recipe::PublicKey { .. } | Recipe::Certificate { .. } | Recipe::Same { .. } | Recipe::Text(_) => !bytes.is_empty(),
    }
}

/// A text with its values filled in, as the controller renders it.
pub fn written<'v, K>(text: &Text<K>, value: impl Fn(&K) -> &'v SecretValue) -> SecretValue {
    let mut written = Zeroizing::new(Vec::new());
    for part in &text.0 {
        match part {
            Part::Plain(text) => written.extend_from_slice(text.as_bytes()),
            Part::Value { of, escape } => written.extend_from_slice(&escape.apply(value(of).expose())),
            Part::Basic { user, of } => {
                let both = Zeroizing::new([user.as_bytes(), b":", value(of).expose()].concat());
                written.extend_from_slice(&Escape::Base64.apply(&both));
            }
        }
    }
    SecretValue::new(written)
}
