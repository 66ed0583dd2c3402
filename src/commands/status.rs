//! `status`: what is sealed to which key, and since when; with an identity, which keys nobody needs any more.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::sealed_files::{self, SealedFiles};
use super::{Outcome, keys};
use crate::cli::{Folders, Status};
use crate::manifest::blobs::Found;
use crate::manifest::sealed_secret::MADE;
use crate::model::{CertificateDigest, Result, visible};
use crate::pipeline::private_key::{self, Pair, SealingKey};
use crate::pipeline::re_encrypt::sealed_to;
use crate::world::World;

pub(super) fn run(folders: &Folders, args: &Status, world: &mut World) -> Result<Outcome> {
    let pinned = keys::certificate(folders)?.digest;
    let paths = if args.paths.is_empty() { std::slice::from_ref(&folders.out) } else { &args.paths };
    let sealed = SealedFiles::find(paths, false, world)?;
    let escrow = args.identity.as_deref().map(|identity| keys::open_escrow(folders, Some(identity), world)).transpose()?;
    let in_escrow = |error: crate::model::Error| error.in_file(&keys::escrow_path(folders).to_string_lossy());
    let pairs = escrow.as_ref().map(|pem| private_key::read_pairs(pem).map_err(in_escrow)).transpose()?;
    let ring = escrow.as_ref().map(|pem| private_key::read(pem).map_err(in_escrow)).transpose()?;
    let mut status = Keys { pinned, needed: BTreeMap::new(), unknown: 0, units: Vec::new() };
    sealed.each(world, |read, world| {
        for file in read {
            match file {
                Err(error) => world.terminal.tell(&sealed_files::stays(&error)),
                Ok(file) => {
                    for one in &file.found {
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
    Ok(Outcome::Done)
}

/// What was found, by key.
struct Keys {
    pinned: CertificateDigest,
    /// How many SealedSecrets are sealed to each.
    needed: BTreeMap<CertificateDigest, usize>,
    unknown: usize,
    units: Vec<Value>,
}

impl Keys {
    /// Counts one; its line, for people. What opens it is the truth; without keys there is only what it says of itself.
    fn unit(&mut self, file: &str, one: &Found, ring: Option<&[SealingKey]>, quiet: bool) -> String {
        let key = ring.map_or(one.certificate, |ring| sealed_to(one, ring));
        match key {
            Some(key) => *self.needed.entry(key).or_default() += 1,
            None => self.unknown += 1,
        }
        let name = one.namespace.as_ref().map_or(one.name.clone(), |namespace| format!("{namespace}/{}", one.name));
        let made = one.annotation(MADE);
        if quiet {
            let key = key.map(|key| key.to_string());
            let pinned = key.as_ref().map(|key| *key == self.pinned.to_string());
            self.units.push(json!({ "file": file, "name": name, "key": key, "made": made, "pinned": pinned }));
            return String::new();
        }
        let sealed_to = match key {
            Some(key) if key == self.pinned => "pinned ".to_owned(),
            Some(_) => "another".to_owned(),
            None => "unknown".to_owned(),
        };
        let since = visible(made.unwrap_or("unknown"));
        let other = key.filter(|key| *key != self.pinned).map_or(String::new(), |key| format!(", sealed to {key}"));
        format!("{sealed_to} {}: {}, since {since}{other}\n", visible(file), visible(&name))
    }

    /// The keys of the escrow, each with when it began and how many need it.
    fn escrowed<'p>(&self, pairs: Option<&'p [Pair]>) -> Vec<(&'p Pair, Option<String>, usize)> {
        let count = |digest| self.needed.get(&digest).copied().unwrap_or(0);
        let begins = |pair: &Pair| pair.certificate.as_ref().map(|(certificate, _)| certificate.begins());
        pairs.unwrap_or_default().iter().map(|pair| (pair, begins(pair), count(pair.digest))).collect()
    }

    fn human(&self, pairs: Option<&[Pair]>) -> String {
        let mut text = String::new();
        for (key, count) in &self.needed {
            let pinned = if *key == self.pinned { ", which is pinned" } else { "; `seal-secrets re-encrypt` moves them to the pinned one" };
            text.push_str(&format!("{count} SealedSecrets are sealed to {key}{pinned}\n"));
        }
        if self.unknown > 0 {
            let why = if pairs.is_some() { "the escrow has no key for them" } else { "they do not say; `--identity FILE` finds out" };
            text.push_str(&format!("{} SealedSecrets are sealed to an unknown key: {why}\n", self.unknown));
        }
        for (pair, begins, count) in self.escrowed(pairs) {
            let begins = begins.unwrap_or("an unknown day".to_owned());
            let need = match count {
                _ if pair.digest == self.pinned => "the pinned one".to_owned(),
                0 => "nobody here needs it any more".to_owned(),
                count => format!("{count} SealedSecrets need it"),
            };
            text.push_str(&format!("escrow: {}, from {begins}: {need}\n", pair.digest));
        }
        text
    }

    /// For programs; fields are only ever added.
    fn json(&self, pairs: Option<&[Pair]>) -> String {
        let keys: Vec<Value> = self
            .escrowed(pairs)
            .into_iter()
            .map(|(pair, begins, count)| {
                let needed = count > 0 || pair.digest == self.pinned;
                json!({ "key": pair.digest.to_string(), "begins": begins, "count": count, "needed": needed })
            })
            .collect();
        let escrow = pairs.map(|_| keys);
        format!("{:#}\n", json!({ "version": 1, "certificate": self.pinned.to_string(), "units": self.units, "escrow": escrow }))
    }
}
