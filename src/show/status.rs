//! What is sealed to which key.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{counted, failure, pretty};
use crate::manifest::blobs::ForeignSealedSecret;
use crate::manifest::sealed_secret::SEALED_ON;
use crate::model::{CertificateDigest, Error, Places, visible};
use crate::pipeline::status::{KeyStatus, Status};

/// A SealedSecret and the keys that it is sealed to, for people.
pub fn line(pinned: CertificateDigest, file: &str, one: &ForeignSealedSecret, keys: Option<&BTreeSet<CertificateDigest>>) -> String {
    let others: Option<Vec<String>> = keys.map(|keys| keys.iter().filter(|key| **key != pinned).map(ToString::to_string).collect());
    let (word, others) = match others {
        Some(others) if others.is_empty() => ("pinned ", String::new()),
        Some(others) => ("another", format!(", sealed to {}", others.join(" and "))),
        None => ("unknown", String::new()),
    };
    let since = since(one.annotation(SEALED_ON));
    format!("{word} {}: {}, since {since}{others}\n", visible(file), visible(&one.full_name()))
}

/// `paths` are the requested ones, quoted; none is the output folder.
pub fn summary(places: &Places, status: &Status, paths: &[String]) -> String {
    let mut text = String::new();
    let re_encrypt = places.command(&[&["re-encrypt".to_owned()], paths].concat().join(" "));
    for (key, count) in &status.needed {
        let pinned = match *key == status.pinned {
            true => ", which is pinned".to_owned(),
            false => format!("; `{re_encrypt}` moves {} to the pinned one", if *count == 1 { "it" } else { "them" }),
        };
        text.push_str(&format!("{} sealed to {key}{pinned}\n", are(*count, "SealedSecret")));
    }
    if status.unknown > 0 {
        let why = match status.escrow {
            Some(_) => "no key of the escrow opens it",
            None => "the file does not name the key; `--identity FILE` finds out",
        };
        text.push_str(&format!("{} sealed to an unknown key: {why}\n", are(status.unknown, "SealedSecret")));
    }
    if status.unread > 0 {
        text.push_str(&format!("{} not read\n", was(status.unread, "file")));
    }
    if status.needed.is_empty() && status.unknown + status.unread == 0 {
        text.push_str("no SealedSecrets were found\n");
    }
    status.escrowed().for_each(|key| text.push_str(&escrowed(status, &key)));
    text
}

fn are(count: usize, noun: &str) -> String {
    format!("{} {}", counted(count, noun), if count == 1 { "is" } else { "are" })
}

fn was(count: usize, noun: &str) -> String {
    format!("{} {}", counted(count, noun), if count == 1 { "was" } else { "were" })
}

/// The day of a SealedSecret; if its values have several, the first and the last.
fn since(days: Option<&str>) -> String {
    let Some(text) = days else { return "unknown".to_owned() };
    let days: Option<Vec<&str>> = text.split(' ').map(|one| one.split_once('=').map(|(_, day)| day)).collect();
    match days.as_ref().and_then(|days| Some((days.iter().min()?, days.iter().max()?))) {
        Some((first, last)) if first != last => format!("{} to {}", visible(first), visible(last)),
        Some((only, _)) => visible(only),
        None => visible(text),
    }
}

fn escrowed(status: &Status, KeyStatus { pair, begins, count, needed }: &KeyStatus<'_>) -> String {
    let need = match needed {
        _ if pair.digest == status.pinned => "the pinned one".to_owned(),
        None => "cannot tell whether it is still needed until everything above is resolved".to_owned(),
        Some(false) => "no SealedSecret here needs it any more".to_owned(),
        Some(true) => format!("{} {} it", counted(*count, "SealedSecret"), if *count == 1 { "needs" } else { "need" }),
    };
    format!("escrow: {}, from {}: {need}\n", pair.digest, begins.as_deref().unwrap_or("an unknown day"))
}

/// The lines, collected for programs.
#[derive(Default)]
pub struct Record {
    units: Vec<Value>,
    failed: Vec<Value>,
}

impl Record {
    pub fn keep(&mut self, pinned: CertificateDigest, file: &str, one: &ForeignSealedSecret, keys: Option<&BTreeSet<CertificateDigest>>) {
        let named: Option<Vec<String>> = keys.map(|keys| keys.iter().map(ToString::to_string).collect());
        let is_pinned = keys.map(|keys| keys.iter().all(|key| *key == pinned));
        let (name, sealed_on) = (one.full_name(), one.annotation(SEALED_ON));
        self.units.push(json!({ "file": file, "name": name, "keys": named, "made": sealed_on, "pinned": is_pinned }));
    }

    pub fn fail(&mut self, error: &Error) {
        self.failed.push(failure(error));
    }

    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    pub fn json(&self, status: &Status) -> String {
        let key = |KeyStatus { pair, begins, count, needed }: KeyStatus<'_>| json!({ "key": pair.digest.to_string(), "begins": begins, "count": count, "needed": needed });
        let escrow = status.escrow.as_ref().map(|_| status.escrowed().map(key).collect::<Vec<Value>>());
        let certificate = status.pinned.to_string();
        pretty(json!({ "version": 1, "certificate": certificate, "units": self.units, "failed": self.failed, "escrow": escrow }))
    }
}
