//! The first half of the way: the SealedSecret, as git has it, and the source Secret, as the controller wrote it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::controller::Controller;
use super::object::{Condition, condition, data_written, foreign_writer, is_immutable, is_owned, lacks, leaving, seconds, text, written};
use super::{Checks, Fault, GOES_FIRST, advice, refused};
use crate::manifest::sealed_secret::{SealedSecret, scope};
use crate::manifest::template;
use crate::model::{CertificateDigest, Name, Remedy, Scope, Sorted, Symptom, quoted, visible};

const CATEGORY: &str = "sealed secrets";

/// A SealedSecret of the output folder, as the cluster should have it.
pub struct SealedHere {
    pub certificate: Option<CertificateDigest>,
    /// `spec.encryptedData`.
    encrypted: BTreeMap<String, String>,
    /// `spec.template.data`.
    texts: BTreeMap<String, String>,
    immutable: bool,
    /// The type of the Secret.
    kind: String,
    scope: Scope,
    /// The file, by its path below the output folder.
    file: String,
}

impl SealedHere {
    pub fn new(sealed: SealedSecret, file: &str) -> (Name, SealedHere) {
        let encrypted = sealed.encrypted.into_iter().map(|one| (one.key.to_string(), one.blob)).sorted();
        let kind = sealed.template.kind.unwrap_or_else(|| "Opaque".to_owned());
        let (certificate, scope, immutable) = (sealed.certificate, sealed.scope, sealed.template.immutable);
        let texts = sealed.template.texts.iter().map(|(key, text)| (key.to_string(), template::write(text))).sorted();
        (sealed.name, SealedHere { certificate, encrypted, texts, immutable, kind, scope, file: file.to_owned() })
    }

    /// The data keys of its Secret.
    pub fn data_keys(&self) -> Vec<&str> {
        self.encrypted.keys().chain(self.texts.keys()).map(String::as_str).collect()
    }

    /// How the cluster's SealedSecret differs, and whether applying the file corrects that: it cannot remove anything.
    fn differs(&self, live: &Value) -> Option<(String, bool)> {
        let empty = serde_json::Map::new();
        let there = live.pointer("/spec/encryptedData").and_then(Value::as_object).unwrap_or(&empty);
        if let Some(more) = there.keys().find(|key| !self.encrypted.contains_key(*key)) {
            return Some((format!("the cluster has a value `{}` in it that git does not have", visible(more)), false));
        }
        if self.encrypted.iter().any(|(key, blob)| there.get(key).and_then(Value::as_str) != Some(blob)) {
            return Some(("the cluster has another ciphertext than git: it was not applied, or changed there".to_owned(), true));
        }
        let kind = Some(text(live, "/spec/template/type")).filter(|kind| !kind.is_empty()).unwrap_or("Opaque");
        if kind != self.kind {
            return Some((format!("the cluster has the type `{}`, and git has `{}`", visible(kind), self.kind), true));
        }
        let annotations = &live["metadata"]["annotations"];
        if scope(|name| annotations[name].as_str()) != self.scope {
            return Some(("the cluster has another scope annotation than git, and the ciphertext depends on it".to_owned(), false));
        }
        let (immutable, data) = (&live["spec"]["template"]["immutable"], &live["spec"]["template"]["data"]);
        let texts = data.as_object().unwrap_or(&empty);
        let known = |(key, text): (&String, &Value)| self.texts.get(key).map(String::as_str) == text.as_str();
        match (immutable.as_bool() == Some(true), self.immutable) {
            (true, false) => return Some(("the cluster has `spec.template.immutable`, which git does not have".to_owned(), false)),
            (false, true) => return Some(("git has `spec.template.immutable`, and the cluster does not".to_owned(), true)),
            _ => {}
        }
        if !texts.iter().all(known) {
            return Some(("the cluster has `spec.template.data`, which git does not have".to_owned(), false));
        }
        let missing = self.texts.keys().find(|key| !texts.contains_key(*key));
        missing.map(|key| (format!("git has `{key}` in `spec.template.data`, and the cluster does not"), true))
    }
}

/// A SealedSecret that the controller reports it could not unseal.
struct Unsealed<'u> {
    name: &'u Name,
    object: &'u Value,
    synced: Condition<'u>,
    controller: Controller,
    /// How it differs from git.
    differs: Option<Fault>,
}

impl Checks<'_> {
    /// The SealedSecret that is where it belongs.
    pub(super) fn in_place(&self, name: &Name) -> Option<&Value> {
        self.sealed.get(name.as_str()).copied()
    }

    pub(super) fn sealed(&mut self, name: &Name, controller: Controller) {
        let what = name.to_string();
        let Some(object) = self.in_place(name) else {
            let fault = self.not_in_place(name);
            return self.bad(CATEGORY, what, fault);
        };
        if let Some(cause) = leaving(object) {
            return self.bad(CATEGORY, what, Fault::new(Symptom::SealedSecretTerminating, cause, advice(GOES_FIRST)));
        }
        let number = |path: &str| object.pointer(path).and_then(Value::as_u64);
        let current = number("/metadata/generation") == number("/status/observedGeneration");
        let synced = condition(object, "Synced").filter(|_| current);
        let differs = self.differs(name, object);
        match synced {
            Some(synced) if synced.status == "False" => {
                if controller == Controller::Down {
                    return self.skip(CATEGORY, &what);
                }
                match self.why_sealed(Unsealed { name, object, synced, controller, differs }) {
                    Some(fault) if fault.0 == Symptom::StatusStale => self.warn(CATEGORY, what, fault),
                    Some(fault) => self.bad(CATEGORY, what, fault),
                    None if self.is_made(name, object) => self.good(CATEGORY, what),
                    None => self.skip(CATEGORY, &what),
                }
            }
            _ if differs.is_some() => self.bad(CATEGORY, what, differs.expect("it was just looked at")),
            Some(_) => self.good(CATEGORY, what),
            None if controller == Controller::Down => self.skip(CATEGORY, &what),
            None if !self.trusts_status() && self.is_made(name, object) => self.good(CATEGORY, what),
            None if !self.rivals().is_empty() => self.skip(CATEGORY, &what),
            None => {
                let cause = "the controller has not processed its current state";
                self.bad(CATEGORY, what, Fault::new(Symptom::SealedSecretPending, cause, self.restart()));
            }
        }
    }

    /// Whether a status can be believed: not if the controller writes none, or if several overwrite each other's.
    fn trusts_status(&self) -> bool {
        self.writes_status() && self.rivals().is_empty()
    }

    /// Whether its source Secret was made from its current state, whatever its status says.
    fn is_made(&self, name: &Name, object: &Value) -> bool {
        let Some(source) = self.snapshot.sources.get(name).and_then(Option::as_ref) else { return false };
        let changed = written(object, &["f:spec"]).or_else(|| seconds(text(object, "/metadata/creationTimestamp")));
        let is_after = data_written(source).is_none_or(|made| changed.is_none_or(|changed| made >= changed));
        let keys = self.data_keys(name);
        is_owned(source, object) && lacks(source, &keys).is_none() && is_after && foreign_writer(source, &keys).is_none()
    }

    /// Whether a key Secret was written after a source Secret: then the existing Secret proves nothing about the key.
    fn is_key_newer(&self, name: &Name) -> bool {
        let made = self.snapshot.sources.get(name).and_then(Option::as_ref).and_then(data_written);
        let keys = self.snapshot.keys.iter().chain(&self.snapshot.first_key);
        made.is_some_and(|made| keys.filter_map(data_written).any(|written| written > made))
    }

    fn differs(&self, name: &Name, object: &Value) -> Option<Fault> {
        let here = self.wanted.sealed.get(name)?;
        let (cause, is_applied) = here.differs(object)?;
        let remedy = match is_applied {
            true => self.apply_source(),
            false => format!("kubectl replace -f {}", quoted(&self.wanted.places.in_out(&here.file))),
        };
        Some(Fault::new(Symptom::SealedSecretDiffers, cause, remedy))
    }

    fn not_in_place(&self, name: &Name) -> Fault {
        let namespace = self.wanted.contract.namespace.as_str();
        // kustomize changes the object's own name and namespace, but not those inside the template.
        let sealed_as = |object: &&Value| {
            text(object, "/spec/template/metadata/name") == name.as_str() && text(object, "/spec/template/metadata/namespace") == namespace
        };
        let Some(moved) = self.snapshot.sealed.iter().find(sealed_as) else {
            let cause = format!("the SealedSecret is not in `{namespace}`");
            return Fault::new(Symptom::SealedSecretMissing, cause, self.apply_source());
        };
        let (place, called) = (text(moved, "/metadata/namespace"), text(moved, "/metadata/name"));
        let cause = format!(
            "it is `{place}/{called}` in the cluster, but opens only as `{namespace}/{name}`: a kustomization sets namePrefix, nameSuffix or namespace"
        );
        let remedy = [self.apply_source(), format!("kubectl -n {place} delete sealedsecret {called}")];
        Fault::new(Symptom::SealedSecretMoved, cause, remedy)
    }

    /// Why it is not unsealed; none if a fault of the controller explains it.
    fn why_sealed(&self, one: Unsealed<'_>) -> Option<Fault> {
        let (message, apply, restart) = (one.synced.message, self.apply_source(), self.restart());
        if message.contains("no key could decrypt") {
            return self.not_decrypted(one);
        }
        let Unsealed { name, object, differs, .. } = one;
        if message.contains("illegal base64") {
            let remedy = match differs {
                Some(_) => apply.into(),
                None => {
                    advice(format!("restore the file from git: `{}` names its line; then apply it", self.wanted.places.command("verify")))
                }
            };
            return Some(Fault::new(Symptom::SealedSecretCorrupt, visible(message), remedy));
        }
        if message.contains("already exists and is not managed") {
            return Some(self.in_the_way(name));
        }
        if let Some(fault) = refused(message, &format!("restart the controller, which has given up: {restart}")) {
            return Some(fault);
        }
        if message.contains("is forbidden: User") {
            let remedy =
                advice("the controller lacks a right: who installed it has to apply the ClusterRole and ClusterRoleBinding of its chart");
            return Some(Fault::new(Symptom::ControllerForbidden, visible(message), remedy));
        }
        if message.contains("being terminated") {
            return None;
        }
        // The difference from git comes first: once applied, the Secret may be able to change.
        if differs.is_some() {
            return differs;
        }
        if message.contains("mmutable") {
            return Some(self.not_changeable(name, object, message));
        }
        Some(Fault::new(Symptom::SealedSecretFailed, visible(message), [apply, restart]))
    }

    /// The fault of an existing Secret that the controller did not make.
    fn in_the_way(&self, name: &Name) -> Fault {
        let (namespace, restart) = (&self.wanted.contract.namespace, self.restart());
        let adopt = format!("kubectl -n {namespace} annotate secret {name} sealedsecrets.bitnami.com/managed=true --overwrite");
        if self.snapshot.sources.get(name).is_some_and(Option::is_some) {
            let cause = "a Secret of that name exists, and is not the controller's";
            return Fault::new(Symptom::SecretInTheWay, cause, [adopt, restart]);
        }
        let cause = "a Secret of that name existed, and was not the controller's";
        Fault::new(Symptom::SecretInTheWay, cause, restart)
    }

    /// The fault of an existing Secret that cannot change to what git says: it is immutable, or of another type.
    fn not_changeable(&self, name: &Name, object: &Value, message: &str) -> Fault {
        let delete = format!("kubectl -n {} delete secret {name}", self.wanted.contract.namespace);
        let source = self.snapshot.sources.get(name).and_then(Option::as_ref);
        let cause = match source.is_some_and(is_immutable) {
            true => "the Secret is immutable, so that the controller cannot write git's value into it".to_owned(),
            false => visible(message),
        };
        // The controller recreates a Secret that it owns at once.
        let again = source.is_none_or(|source| !is_owned(source, object)).then(|| self.restart());
        let commands = [delete].into_iter().chain(again).collect();
        Fault(Symptom::SourceImmutable, cause, Remedy::Commands(commands))
    }

    /// Why no key opens it.
    fn not_decrypted(&self, Unsealed { name, object, synced, controller, differs }: Unsealed<'_>) -> Option<Fault> {
        let pinned = self.wanted.certificate;
        let annotation = text(object, "/metadata/annotations/seal-secrets~1certificate");
        if annotation != pinned.to_string() {
            let sealed_to = if annotation.is_empty() { "an unknown key".to_owned() } else { visible(annotation) };
            let cause = format!("it is sealed to {sealed_to}, not to the pinned certificate");
            let here = self.wanted.sealed.get(name).and_then(|here| here.certificate);
            let remedy = match here.is_none_or(|here| here == pinned) {
                true => self.apply_source().into(),
                false => advice(format!(
                    "what is in git is sealed to another key too: run `{}`, and apply it",
                    self.wanted.places.command("re-encrypt")
                )),
            };
            return Some(Fault::new(Symptom::SealedToAnotherKey, cause, remedy));
        }
        if differs.is_some() {
            return differs;
        }
        // The cause of the fault is reported once, in its place.
        if controller != Controller::Serving || !self.rivals().is_empty() {
            return None;
        }
        if self.is_made(name, object) && !self.is_key_newer(name) {
            let cause = "its status says that no key opens it, but its Secret was made from it";
            return Some(Fault::new(Symptom::StatusStale, cause, self.restart()));
        }
        if self.watches_keys() || self.key_came() > synced.updated.or(synced.since) {
            let cause = "it arrived before its key, and the controller gave up";
            return Some(Fault::new(Symptom::KeyCameLater, cause, self.restart()));
        }
        let opened =
            |name: &Name| self.in_place(name).and_then(|object| condition(object, "Synced")).is_some_and(|one| one.status == "True");
        if self.wanted.sealed.keys().any(opened) {
            let cause = "it is as in git, and the controller's key, which opens others, does not open it";
            let verify = self.wanted.places.command("verify --identity FILE");
            let remedy = advice(format!(
                "`{verify}` says whether it opens at all; if not, restore its file from git's history, or rotate the value"
            ));
            return Some(Fault::new(Symptom::SealedSecretFailed, cause, remedy));
        }
        let cause = "the controller serves our certificate, but opens nothing that is sealed to it: the private key in its key Secret is another one";
        let remedy = match self.wanted.own_key {
            true => self.give_key(),
            false => advice("who keeps the backup of the key has to apply the key Secret from it, and to restart the controller"),
        };
        Some(Fault::new(Symptom::KeyMismatch, cause, remedy))
    }

    /// The data keys that a source Secret should have, according to its file.
    pub(super) fn data_keys(&self, name: &Name) -> Vec<&str> {
        self.wanted.sealed.get(name).map(SealedHere::data_keys).unwrap_or_default()
    }

    pub(super) fn is_unsealed(&self, name: &Name) -> bool {
        let Some(object) = self.in_place(name) else { return false };
        condition(object, "Synced").is_some_and(|synced| synced.status == "True") || self.is_made(name, object)
    }

    pub(super) fn source(&mut self, name: &Name) {
        const CATEGORY: &str = "source secrets";
        let what = name.to_string();
        let Some(sealed) = self.in_place(name).filter(|_| self.is_unsealed(name)) else {
            return self.skip(CATEGORY, &what);
        };
        // The controller checks each of its Secrets when it starts, and writes those that differ.
        let restart = self.restart();
        let fault = match self.snapshot.sources.get(name).and_then(Option::as_ref) {
            None => {
                let cause = "the Secret does not exist, although its SealedSecret is synced";
                Some(Fault::new(Symptom::SourceMissing, cause, restart))
            }
            Some(source) if lacks(source, &self.data_keys(name)).is_some() => {
                let missing = lacks(source, &self.data_keys(name)).unwrap_or_default();
                Some(Fault::new(Symptom::SourceWithoutValue, format!("the Secret has no data key `{missing}`"), restart))
            }
            Some(source) => edited(source, sealed, &self.data_keys(name)).map(|cause| Fault::new(Symptom::SourceEdited, cause, restart)),
        };
        match fault {
            Some(fault) => self.bad(CATEGORY, what, fault),
            None => self.good(CATEGORY, what),
        }
    }
}

/// Who changed the value of a source Secret after the controller wrote it.
fn edited(source: &Value, sealed: &Value, keys: &[&str]) -> Option<String> {
    let (manager, time) = foreign_writer(source, keys)?;
    // A backup tool creates the whole Secret. Only the controller sets its owner, after comparing the value.
    let is_made_by_it = seconds(text(source, "/metadata/creationTimestamp")).is_some_and(|made| time <= made + 2);
    let synced = condition(sealed, "Synced");
    let looked = synced.as_ref().and_then(|synced| synced.updated.or(synced.since));
    let is_seen = looked.is_some_and(|looked| looked >= time) || (is_made_by_it && is_owned(source, sealed));
    let cause = || format!("its value was written by `{}`, not by the controller", visible(manager));
    (!is_seen).then(cause)
}
