//! `status`: what is sealed to which key, and since when; with an identity, which keys nobody needs any more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::sealed_files::{self, SealedFiles};
use super::{Outcome, keys};
use crate::cli::{Folders, Status};
use crate::manifest::blobs::Found;
use crate::manifest::sealed_secret::MADE;
use crate::model::{CertificateDigest, Error, Result, visible};
use crate::pipeline::private_key::{Pair, SealingKey};
use crate::pipeline::re_encrypt::sealed_to;
use crate::world::World;

pub(super) fn run(folders: &Folders, args: &Status, world: &mut World) -> Result<Outcome> {
    let pinned = keys::certificate(folders, world)?.digest;
    let sealed = SealedFiles::find(sealed_files::paths(folders, &args.paths), folders, false, world)?;
    let escrow = args.identity.as_deref().map(|identity| keys::open_escrow(folders, Some(identity), world)).transpose()?;
    let pairs = escrow.as_ref().map(|pem| keys::pairs(folders, pem)).transpose()?;
    let ring = escrow.as_ref().map(|pem| keys::sealing_keys(folders, pem)).transpose()?;
    let mut status =
        Keys { pinned, needed: BTreeMap::new(), unknown: 0, unread: sealed.passed_over.len(), units: Vec::new(), failed: Vec::new() };
    sealed.each(world, |read, world| {
        world.terminal.progress(None);
        for file in read {
            match file {
                Err(error) => {
                    status.unread += 1;
                    status.fail(&error, world);
                }
                Ok(file) => {
                    for one in &file.found {
                        if let Some(fault) = &one.fault {
                            status.fail(&fault.clone().in_file(&file.name()), world);
                        }
                        let line = status.unit(&file.name(), one, ring.as_deref(), args.json);
                        world.terminal.print(&line)?;
                    }
                }
            }
        }
        Ok(())
    })?;
    let text = if args.json { status.json(pairs.as_deref()) } else { status.human(pairs.as_deref()) };
    world.terminal.print(&text)?;
    let found = !status.failed.is_empty() || ring.is_some() && status.unknown > 0;
    Ok(if found { Outcome::Found } else { Outcome::Done })
}

/// What was found, by key.
struct Keys {
    pinned: CertificateDigest,
    /// How many SealedSecrets have values that are sealed to each.
    needed: BTreeMap<CertificateDigest, usize>,
    /// How many SealedSecrets are sealed to a key that is not known.
    unknown: usize,
    /// Files that could not be read, or were passed over.
    unread: usize,
    units: Vec<Value>,
    failed: Vec<Value>,
}

impl Keys {
    fn fail(&mut self, error: &Error, world: &mut World) {
        self.failed.push(json!({ "what": error.what(), "place": error.place() }));
        world.terminal.tell(&sealed_files::failed(error));
    }

    /// Counts one; its line, for people. What opens it is the truth; without keys there is only what it says of itself.
    fn unit(&mut self, file: &str, one: &Found, ring: Option<&[SealingKey]>, quiet: bool) -> String {
        let keys = ring.map_or_else(|| one.certificate.map(|key| BTreeSet::from([key])), |ring| sealed_to(one, ring));
        match &keys {
            Some(keys) => keys.iter().for_each(|key| *self.needed.entry(*key).or_default() += 1),
            None => self.unknown += 1,
        }
        let (name, made) = (one.full_name(), one.annotation(MADE));
        let others: Option<Vec<String>> =
            keys.as_ref().map(|keys| keys.iter().filter(|key| **key != self.pinned).map(|key| key.to_string()).collect());
        if quiet {
            let named: Option<Vec<String>> = keys.map(|keys| keys.iter().map(|key| key.to_string()).collect());
            let pinned = others.map(|others| others.is_empty());
            self.units.push(json!({ "file": file, "name": name, "keys": named, "made": made, "pinned": pinned }));
            return String::new();
        }
        let (sealed_to, others) = match others {
            Some(others) if others.is_empty() => ("pinned ", String::new()),
            Some(others) => ("another", format!(", sealed to {}", others.join(" and "))),
            None => ("unknown", String::new()),
        };
        format!("{sealed_to} {}: {}, since {}{others}\n", visible(file), visible(&name), visible(made.unwrap_or("unknown")))
    }

    /// The keys of the escrow: each with when it began, how many need it, and whether it is needed, where that is known.
    fn escrowed<'p>(&self, pairs: Option<&'p [Pair]>) -> Vec<(&'p Pair, Option<String>, usize, Option<bool>)> {
        let begins = |pair: &Pair| pair.certificate.as_ref().map(|(certificate, _)| certificate.begins());
        let of = |pair: &'p Pair| {
            let count = self.needed.get(&pair.digest).copied().unwrap_or(0);
            let needed = count > 0 || pair.digest == self.pinned;
            (pair, begins(pair), count, (needed || self.unknown + self.unread == 0).then_some(needed))
        };
        pairs.unwrap_or_default().iter().map(of).collect()
    }

    fn human(&self, pairs: Option<&[Pair]>) -> String {
        let mut text = String::new();
        for (key, count) in &self.needed {
            let pinned = if *key == self.pinned { ", which is pinned" } else { "; `seal-secrets re-encrypt` moves them to the pinned one" };
            text.push_str(&format!("{count} SealedSecrets are sealed to {key}{pinned}\n"));
        }
        if self.unknown > 0 {
            let why = if pairs.is_some() { "the escrow does not open them" } else { "they do not say; `--identity FILE` finds out" };
            text.push_str(&format!("{} SealedSecrets are sealed to an unknown key: {why}\n", self.unknown));
        }
        if self.unread > 0 {
            text.push_str(&format!("{} files were not read\n", self.unread));
        }
        for (pair, begins, count, needed) in self.escrowed(pairs) {
            let begins = begins.unwrap_or("an unknown day".to_owned());
            let need = match (count, needed) {
                _ if pair.digest == self.pinned => "the pinned one".to_owned(),
                (_, None) => "whether it is needed is not known before all of the above is".to_owned(),
                (_, Some(false)) => "nobody here needs it any more".to_owned(),
                (count, Some(true)) => format!("{count} SealedSecrets need it"),
            };
            text.push_str(&format!("escrow: {}, from {begins}: {need}\n", pair.digest));
        }
        text
    }

    /// For programs; fields are only ever added.
    fn json(&self, pairs: Option<&[Pair]>) -> String {
        let key = |(pair, begins, count, needed): (&Pair, Option<String>, usize, Option<bool>)| json!({ "key": pair.digest.to_string(), "begins": begins, "count": count, "needed": needed });
        let escrow = pairs.map(|_| self.escrowed(pairs).into_iter().map(key).collect::<Vec<Value>>());
        let (pinned, failed) = (self.pinned.to_string(), &self.failed);
        format!("{:#}\n", json!({ "version": 1, "certificate": pinned, "units": self.units, "failed": failed, "escrow": escrow }))
    }
}
