//! Re-seals the same values to another sealing key: opens, seals, opens again, compares, and replaces the old values. Nothing else of a
//! file changes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::certificate::SealingCertificate;
use super::private_key::SealingKey;
use super::seal::{Sealer, SessionKey};
use super::unseal;
use crate::manifest::blobs::{self, Blob, ForeignSealedSecret, Kind, Spot};
use crate::manifest::sealed_secret::{CLUSTER_WIDE, NAMESPACE_WIDE, scope};
use crate::model::{CertificateDigest, Error, Result, Scope, Sorted};

/// The keys that open, and the key to seal to.
pub struct Work<'w> {
    keys: &'w [SealingKey],
    to: CertificateDigest,
    sealer: Option<&'w Sealer>,
    only: Option<CertificateDigest>,
    /// Index of the key that fitted last: the next value is most likely sealed to the same one.
    last: AtomicUsize,
}

/// What is, or would be, done with a SealedSecret.
pub enum State {
    /// It is already sealed to the current key.
    Present,
    /// Its values were sealed to this key, if known.
    Moved(Option<CertificateDigest>),
    /// Skipped: none of the chosen keys opens it.
    PassedOver,
    /// It is unchanged, for this reason.
    Failed(Error),
}

/// The result for a text.
pub struct Done {
    /// Its SealedSecrets, in their order: `namespace/name`, or the name alone, and what was done with each.
    pub secrets: Vec<(String, State)>,
    /// The whole new text; none if nothing changes.
    pub text: Option<String>,
}

/// To which of these keys the values of a SealedSecret are sealed, whatever it says itself: `kubeseal --merge-into` may have sealed each to
/// another one. `None` if there is no value, or if none of the keys opens one.
pub fn sealed_to(one: &ForeignSealedSecret, keys: &[SealingKey]) -> Option<BTreeSet<CertificateDigest>> {
    let first = marked(one, keys).unwrap_or(0);
    let key = |blob: &Blob| Some(keys[unseal::open_first(keys, first, &one.labels, &blob.text).ok()?.0].digest);
    let sealed_to: BTreeSet<_> = one.blobs.iter().map(key).collect::<Option<Vec<_>>>()?.into_iter().sorted();
    Some(sealed_to).filter(|keys| !keys.is_empty())
}

/// The index of the key that a SealedSecret names as its own.
fn marked(one: &ForeignSealedSecret, keys: &[SealingKey]) -> Option<usize> {
    one.certificate.and_then(|digest| position(keys, digest))
}

fn position(keys: &[SealingKey], digest: CertificateDigest) -> Option<usize> {
    keys.iter().position(|key| key.digest == digest)
}

impl<'w> Work<'w> {
    /// Opens with these keys, or, if `only` is set, with that one. Without a sealer it only reports what would be done.
    pub fn new(keys: &'w [SealingKey], to: CertificateDigest, sealer: Option<&'w Sealer>, only: Option<CertificateDigest>) -> Self {
        Work { keys, to, sealer, only, last: AtomicUsize::new(0) }
    }

    /// Whether each new value can be opened again.
    pub fn proves(&self) -> bool {
        position(self.keys, self.to).is_some()
    }

    /// How many session keys these SealedSecrets take: none if it only reports.
    pub fn needs(&self, found: &[ForeignSealedSecret]) -> usize {
        self.sealer.map_or(0, |_| found.iter().map(|one| one.blobs.len()).sum())
    }

    /// Re-encrypts the SealedSecrets that were found in a text; `session_keys` are as many as they need.
    pub fn re_encrypt(&self, text: &str, found: &[ForeignSealedSecret], session_keys: Vec<SessionKey>) -> Result<Done> {
        let mut session_keys = session_keys.into_iter();
        collect(text, found, self.sealer.is_some(), |one, new| self.re_encrypt_one(one, &mut session_keys, new))
    }

    fn re_encrypt_one(
        &self,
        one: &ForeignSealedSecret,
        session_keys: &mut impl Iterator<Item = SessionKey>,
        replacements: &mut Vec<(Spot, String)>,
    ) -> Result<State> {
        let (marked, own) = (marked(one, self.keys), position(self.keys, self.to));
        let (mut new, mut from) = (Vec::new(), None);
        for blob in &one.blobs {
            let first = marked.unwrap_or_else(|| self.last.load(Ordering::Relaxed));
            let (index, label, value) = match unseal::open_first(self.keys, first, &one.labels, &blob.text) {
                Ok(opened) => opened,
                // Sealed to a key that was not asked for. If it says it is sealed to the one that was, failing to open it is an error.
                Err(_) if self.only.is_some() && one.certificate != self.only && from.is_none() => return Ok(State::PassedOver),
                Err(error) => return Err(unseal::unattributed(one, error).at(blob.spot.position)),
            };
            let label = &one.labels[label];
            self.last.store(index, Ordering::Relaxed);
            let sealed_to = self.keys[index].digest;
            if sealed_to == self.to {
                continue;
            }
            from = Some(sealed_to);
            let Some(sealer) = self.sealer else {
                // Tried with the current text, to see whether it could be replaced.
                new.push((blob.spot.clone(), blob.text.clone()));
                continue;
            };
            let text = sealer.seal(label, &value, session_keys.next().ok_or_else(too_few)?)?;
            if let Some(own) = own
                && !unseal::open(&self.keys[own..=own], label, &text)?.same_as(&value)
            {
                return Err(Error::cryptography("the new value is not the old one", "nothing was replaced; report it"));
            }
            new.push((blob.spot.clone(), text));
        }
        if let Some(mark) = one.mark.as_ref().filter(|_| one.certificate != Some(self.to)) {
            new.push((mark.clone(), self.to.to_string()));
            // If no value moved, they were already sealed to the current key, and only the mark was wrong.
            from = from.or(one.certificate).or(Some(self.to));
        }
        replacements.append(&mut new);
        Ok(from.map_or(State::Present, |from| State::Moved(Some(from))))
    }
}

/// Handles each SealedSecret separately: like a controller, it takes all of one or nothing.
fn collect(
    text: &str,
    found: &[ForeignSealedSecret],
    writes: bool,
    mut each: impl FnMut(&ForeignSealedSecret, &mut Vec<(Spot, String)>) -> Result<State>,
) -> Result<Done> {
    let (mut secrets, mut replacements) = (Vec::new(), Vec::new());
    for one in found.iter().filter(|one| one.kind != Kind::Template) {
        let state = match one.fault.clone().or_else(|| one.fixed.clone()).map_or_else(|| each(one, &mut replacements), Err) {
            Ok(state) => state,
            // Without the cluster it cannot continue.
            Err(error) if error.kind.is_of_the_cluster() => return Err(error),
            Err(error) if error.position().is_none() => State::Failed(error.at(one.position)),
            Err(error) => State::Failed(error),
        };
        secrets.push((one.full_name(), state));
    }
    let text = (!replacements.is_empty()).then(|| blobs::replace(text, replacements)).transpose()?;
    Ok(Done { secrets, text: text.filter(|_| writes) })
}

/// Asks a controller: `None` = it does not open this SealedSecret.
pub type Ask<'a> = &'a mut dyn FnMut(&Value) -> Result<Option<Value>>;

/// Has a controller re-encrypt the SealedSecrets that were found in a text, except those that name the certificate it serves. If keys are
/// given, including that certificate's, old and new values are opened and compared, and values already sealed to it stay. Without `ask` it
/// only reports what would be done.
pub fn by_controller(
    text: &str,
    found: &[ForeignSealedSecret],
    to: &SealingCertificate,
    keys: &[SealingKey],
    mut ask: Option<Ask<'_>>,
) -> Result<Done> {
    collect(text, found, ask.is_some(), |one, replacements| {
        if one.certificate == Some(to.digest) {
            return Ok(State::Present);
        }
        if one.kind == Kind::Alone {
            let help = "re-encrypt it offline, with the key that opens it, or make a SealedSecret of it";
            return Err(Error::bad_input("a sealed value by itself: a controller re-encrypts only SealedSecrets", help));
        }
        let (label, own) = (one.label(), position(keys, to.digest).map(|own| &keys[own..=own]));
        if one.mark.is_none() && own.is_some_and(|own| one.blobs.iter().all(|blob| unseal::open(own, &label, &blob.text).is_ok())) {
            return Ok(State::Present);
        }
        let Some(ask) = &mut ask else { return Ok(State::Moved(one.certificate)) };
        let answer = ask(&question(one))?.ok_or_else(|| {
            let help =
                "check namespace, name and scope against those it was sealed for; `seal-secrets re-encrypt` with the key opens it offline";
            Error::cryptography("the controller does not open this SealedSecret", help)
        })?;
        let mut new = answered(one, &answer, to)?;
        for ((_, text), blob) in new.iter().zip(&one.blobs) {
            let Some(own) = own else { break };
            let before = unseal::open(keys, &label, &blob.text)?;
            if !unseal::open(own, &label, text).is_ok_and(|value| value.same_as(&before)) {
                return Err(strange("a value is another one, or not sealed to this certificate"));
            }
        }
        new.extend(one.mark.clone().map(|mark| (mark, to.digest.to_string())));
        replacements.append(&mut new);
        Ok(State::Moved(one.certificate))
    })
}

/// The request: as little as the controller can work with. Before it trusts the scope it copies our metadata into the template.
fn question(one: &ForeignSealedSecret) -> Value {
    let blobs: serde_json::Map<String, Value> = one.blobs.iter().map(|blob| (blob.key.clone(), json!(blob.text))).sorted();
    let annotations = match one.scope {
        Scope::Strict => json!({}),
        Scope::NamespaceWide => json!({ NAMESPACE_WIDE: "true" }),
        Scope::ClusterWide => json!({ CLUSTER_WIDE: "true" }),
    };
    let mut metadata = json!({ "name": one.name, "annotations": annotations });
    if let Some(namespace) = &one.namespace {
        metadata["namespace"] = json!(namespace);
    }
    json!({
        "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": metadata,
        "spec": { "encryptedData": blobs, "template": { "metadata": metadata } },
    })
}

/// Takes only the ciphertexts of an answer, after checking it: the same name, namespace, scope and data keys, values as long as the old
/// ones, and sealed to a key of this size.
fn answered(one: &ForeignSealedSecret, answer: &Value, to: &SealingCertificate) -> Result<Vec<(Spot, String)>> {
    let text = |path: &str| answer.pointer(path).and_then(Value::as_str);
    let scope = scope(|name| answer["metadata"]["annotations"][name].as_str());
    let named =
        text("/metadata/name") == Some(&one.name) && text("/metadata/namespace").unwrap_or("") == one.namespace.as_deref().unwrap_or("");
    if !named || scope != one.scope {
        return Err(strange("it is for another name, namespace or scope"));
    }
    let data = answer["spec"]["encryptedData"].as_object().filter(|data| data.len() == one.blobs.len());
    let data = data.ok_or_else(|| strange("it has other data keys"))?;
    let each = |blob: &Blob| {
        let new = data.get(&blob.key).and_then(Value::as_str).ok_or_else(|| strange("it has other data keys"))?;
        let (old, size) = (blobs::shape(&blob.text), blobs::shape(new));
        match size {
            _ if new == blob.text => Err(strange("a value is the old one")),
            Some((rsa, rest)) if rsa == to.size() && old.is_some_and(|(_, before)| before == rest) => {
                Ok((blob.spot.clone(), new.to_owned()))
            }
            _ => Err(strange("a value has not the shape of the old one, sealed to this certificate")),
        }
    };
    one.blobs.iter().map(each).collect()
}

fn strange(why: &str) -> Error {
    let help = "nothing was replaced; re-encrypt it offline";
    Error::refused("the controller's answer is not the same SealedSecret for its present key", help).why(why)
}

fn too_few() -> Error {
    Error::cryptography("there is no randomness left", "nothing was replaced; report it")
}
