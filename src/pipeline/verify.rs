//! Offline: do contract, sealed files, certificate and derived files agree? With the sealing key: is each value what its
//! recipe makes?

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::certificate::FitCertificate;
use super::inventory::{Inventory, SOURCE};
use super::private_key::SealingKey;
use super::render::{render, store_file};
use super::unseal::{Opened, Values};
use super::{generate, seal};
use crate::manifest::sealed_secret::{self, Encrypted, SealedSecret};
use crate::manifest::{secret, text};
use crate::model::{Code, Contract, Delivery, Error, Finding, Key, Name, PROPERTY, Places, Position, Recipe, Result, SecretValue, Unit};

pub struct Evidence<'e> {
    /// How the operator names the folders: the findings' places.
    pub places: &'e Places,
    pub contract: &'e Contract,
    pub inventory: &'e Inventory,
    /// The certificate, or why it cannot be sealed to.
    pub certificate: Result<&'e FitCertificate, &'e Error>,
    /// Which ignore rule a path below `out/` matches.
    pub ignored: &'e dyn Fn(&str) -> Option<String>,
    /// The keys of the escrow, and what they opened; none = no value is opened.
    pub opened: Option<(&'e [SealingKey], &'e Opened)>,
    /// How many `recipients.txt` names, where it is there.
    pub listed: Option<usize>,
    /// How many the escrow is encrypted to, where it is there.
    pub able: Option<&'e Result<usize>>,
    /// Files of the keys folder that cannot be read as what they should be.
    pub damaged: &'e [Error],
    /// Secrets that git tracks.
    pub tracked: &'e [Error],
    pub delivery: &'e Delivery,
    pub coverage: &'e [Finding],
}

/// Every finding, by place.
pub fn verify(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = Findings { places: evidence.places, list: evidence.coverage.to_vec() };
    findings.certificate(evidence);
    findings.recipients(evidence.listed, evidence.able);
    for error in evidence.damaged {
        findings.push(Code::Unreadable, error.place(), error.what(), error.help());
    }
    for error in evidence.tracked {
        findings.push(Code::TrackedByGit, error.place(), error.what(), error.help());
    }
    let inventory = evidence.inventory;
    for fault in &inventory.faults {
        findings.add_error(fault.code, &fault.path, &fault.error);
    }
    let sealed = inventory.sealed_files();
    for path in inventory.others.keys().chain(&sealed) {
        if let Some(rule) = (evidence.ignored)(path) {
            let help = format!("rename it so that the rule `{rule}` does not match, or change the rule");
            findings.add(Code::IgnoredByGit, path, None, format!("git ignores it, by the rule `{rule}`"), &help);
        }
    }
    for unit in evidence.contract.units() {
        findings.unit(evidence, &unit);
    }
    findings.orphans(evidence);
    findings.derived(evidence, &sealed);
    findings.list.sort_by(|a, b| a.place.cmp(&b.place).then(a.code.cmp(&b.code)));
    findings.list
}

struct Findings<'e> {
    places: &'e Places,
    list: Vec<Finding>,
}

const RESTORE: &str = "run `seal-secrets bootstrap`: it restores the file";
const FROM_GIT: &str = "restore the file from git";

impl Findings<'_> {
    fn add(&mut self, code: Code, path: &str, position: Option<Position>, what: String, help: &str) {
        let mut place = self.places.in_out(path);
        if let Some((line, column)) = position {
            place.push_str(&format!(":{line}:{column}"));
        }
        self.push(code, place, what, help.to_owned());
    }

    fn push(&mut self, code: Code, place: String, what: String, help: String) {
        self.list.push(Finding { code, place, what, help });
    }

    fn add_error(&mut self, code: Code, path: &str, error: &Error) {
        self.add(code, path, error.position(), error.what(), &error.help());
    }

    fn certificate(&mut self, evidence: &Evidence<'_>) {
        let place = self.places.in_keys("sealing.crt");
        let certificate = match evidence.certificate {
            Err(error) => return self.push(Code::CertificateUnusable, place, error.what(), error.help()),
            Ok(certificate) => certificate,
        };
        if certificate.ends_soon {
            let what = format!("the certificate ends on {}", certificate.ends());
            self.push(Code::CertificateExpiresSoon, place, what, "plan a new sealing key before that day".to_owned());
        }
        if evidence.opened.is_some_and(|(keys, _)| keys.iter().all(|key| key.digest != certificate.digest)) {
            let what = format!("it does not hold the key of {}", certificate.digest);
            let help = "restore the escrow that belongs to `sealing.crt`, or the certificate from git".to_owned();
            self.push(Code::EscrowDiffers, self.places.in_keys("sealing.key.age"), what, help);
        }
    }

    fn recipients(&mut self, listed: Option<usize>, able: Option<&Result<usize>>) {
        let (list, escrow) = (self.places.in_keys("recipients.txt"), self.places.in_keys("sealing.key.age"));
        let place = if able.is_some() { &escrow } else { &list };
        let able = match able {
            Some(Err(error)) => return self.push(Code::EscrowDiffers, escrow, error.what(), error.help()),
            Some(Ok(able)) => Some(*able),
            None => None,
        };
        if able.or(listed) == Some(1) {
            let what = "only one recipient can open the escrow: whoever loses that identity loses everything".to_owned();
            let help = "add another operator's: `seal-secrets escrow add-recipient age1…`".to_owned();
            self.push(Code::FewRecipients, place.clone(), what, help);
        }
        if let (Some(listed), Some(able)) = (listed, able)
            && listed != able
        {
            let help =
                "run the `seal-secrets escrow` command that was interrupted again; or `add-recipient` with one who is listed".to_owned();
            let what = format!("it is encrypted to {able} recipients, and `{list}` names {listed}");
            self.push(Code::RecipientsDiffer, place.clone(), what, help);
        }
    }

    fn unit(&mut self, evidence: &Evidence<'_>, unit: &Unit<'_>) {
        let (file, inventory) = (unit.file(), evidence.inventory);
        let Some(secrets) = inventory.sealed.get(&file) else {
            // A file that cannot be read has its finding already.
            if inventory.unreadable().all(|path| path != file) {
                self.missing_unit(inventory, unit);
            }
            return;
        };
        for secret in secrets.iter().filter(|secret| !unit.keys.iter().any(|key| key.name == secret.name)) {
            let what = format!("`{}` does not belong in this file", secret.name);
            self.add(Code::Misplaced, &file, Some(secret.position), what, FROM_GIT);
        }
        let opened = evidence.opened.map(|(_, opened)| opened.of(&file));
        let mut values: Vec<(&Key, Option<&SecretValue>)> = Vec::new();
        for key in &unit.keys {
            let Some((i, secret)) = secrets.iter().enumerate().find(|(_, secret)| secret.name == key.name) else {
                let what = format!("`{}` is missing from its unit", key.name);
                self.add(Code::HalfMissing, &file, None, what, FROM_GIT);
                continue;
            };
            let sound = self.sealed(evidence, &file, key, secret);
            let opened = opened.and_then(|opened| opened.get(i)).filter(|_| sound);
            values.push((key, opened.and_then(|opened| self.value(&file, key, secret, opened))));
        }
        self.hashes(&file, &values);
    }

    /// The store among the platform's own files.
    fn store_file(&mut self, evidence: &Evidence<'_>) {
        let Some(file) = &evidence.delivery.store_file else { return };
        if file.present.as_deref() != Some(store_file(evidence.contract, evidence.delivery, &file.project_id).as_bytes()) {
            let what = "it is not the store that the contract asks for".to_owned();
            self.push(Code::StoreDiffers, file.path.clone(), what, RESTORE.to_owned());
        }
    }

    fn missing_unit(&mut self, inventory: &Inventory, unit: &Unit<'_>) {
        let file = unit.file();
        let remembered = inventory.ever_sealed().contains(&file);
        if !(unit.needed() || unit.write_once() && remembered) {
            return;
        }
        let (code, what, help) = match (unit.provided(), unit.write_once() && remembered) {
            (true, _) => {
                (Code::NotYetProvided, "it is yours to supply", format!("run `seal-secrets bootstrap --provide {}=FILE`", unit.name))
            }
            (_, true) => (Code::WriteOnceMissing, "a write-once unit was sealed before, and its file is gone", FROM_GIT.to_owned()),
            _ => (Code::UnitMissing, "the unit is not there", "run `seal-secrets bootstrap`".to_owned()),
        };
        self.add(code, &file, None, what.to_owned(), &help);
    }

    /// One SealedSecret against the contract; whether it is worth opening.
    fn sealed(&mut self, evidence: &Evidence<'_>, file: &str, key: &Key, sealed: &SealedSecret) -> bool {
        let before = self.list.len();
        let contract = evidence.contract;
        let at = Some(sealed.position);
        if sealed.namespace.as_ref() != Some(&contract.namespace) {
            let what = format!("`{}` is not in the namespace `{}`", key.name, contract.namespace);
            self.add(Code::WrongNamespace, file, at, what, FROM_GIT);
        }
        if sealed.scope != Contract::SCOPE {
            let what = format!("`{}` has the scope {}, not {}", key.name, sealed.scope.as_str(), Contract::SCOPE.as_str());
            self.add(Code::WrongScope, file, at, what, FROM_GIT);
        }
        let recipe = key.recipe.describe();
        match (key.write_once, &sealed.write_once) {
            (true, None) => {
                let what = format!("`{}` has lost its annotation `{}`", key.name, sealed_secret::WRITE_ONCE);
                self.add(Code::WriteOnceUnmarked, file, at, what, FROM_GIT);
            }
            (false, Some(_)) => {
                let what = format!("`{}` is marked write-once, and the contract does not say so", key.name);
                self.add(Code::WriteOnceDropped, file, at, what, FROM_GIT);
            }
            (true, Some(before)) if *before != recipe => {
                let what = format!("`{}` is write-once, was made as `{before}`, and the contract now says `{recipe}`", key.name);
                self.add(Code::WriteOnceDropped, file, at, what, "put its recipe back into the contract");
            }
            _ => {}
        }
        if let Ok(certificate) = evidence.certificate
            && sealed.certificate != Some(certificate.digest)
        {
            let to = sealed.certificate.map_or("it does not say to which".to_owned(), |digest| digest.to_string());
            let what = format!("`{}` is not sealed to `{}` ({}): {to}", key.name, self.places.in_keys("sealing.crt"), certificate.digest);
            let help = "run `seal-secrets renew` if a renewal was interrupted, `seal-secrets re-encrypt` if this certificate is meant; else restore it, or the file, from git";
            self.add(Code::WrongCertificate, file, at, what, help);
        }
        let [Encrypted { key: data_key, blob, position }] = sealed.encrypted.as_slice() else {
            let what = format!("`{}` has {} data keys instead of only `{PROPERTY}`", key.name, sealed.encrypted.len());
            self.add(Code::WrongData, file, at, what, FROM_GIT);
            return false;
        };
        if data_key.as_str() != PROPERTY {
            let what = format!("the data key of `{}` is `{data_key}`, not `{PROPERTY}`", key.name);
            self.add(Code::WrongData, file, Some(*position), what, FROM_GIT);
        }
        let length = key.recipe.length().filter(|_| !sealed.imported);
        self.blob(evidence, file, key, blob, length, *position);
        self.list.len() == before
    }

    /// The blob's shape; the length of the value in it is public.
    fn blob(&mut self, evidence: &Evidence<'_>, file: &str, key: &Key, blob: &str, length: Option<usize>, position: Position) {
        let Ok(certificate) = evidence.certificate else { return };
        let bytes = BASE64_STANDARD.decode(blob).unwrap_or_default();
        let size = certificate.size();
        let head = bytes.first_chunk::<2>().map(|head| usize::from(u16::from_be_bytes(*head)));
        let overhead = 2 + size + seal::TAG;
        if head != Some(size) || bytes.len() < overhead {
            let what = format!("the value of `{}` does not have the shape of a value sealed to this certificate", key.name);
            self.add(Code::WrongBlob, file, Some(position), what, FROM_GIT);
        } else if let Some(length) = length.filter(|length| *length != bytes.len() - overhead) {
            let found = bytes.len() - overhead;
            let what = format!("the value of `{}` has {found} bytes; its recipe makes {length}", key.name);
            self.add(Code::WrongLength, file, Some(position), what, "restore the file, or the contract, from git");
        }
    }

    /// The one value of a SealedSecret, compared with its recipe.
    fn value<'v>(&mut self, file: &str, key: &Key, sealed: &SealedSecret, opened: &'v Values) -> Option<&'v SecretValue> {
        let values = opened.as_ref().map_err(|error| self.cannot_open(file, &key.name, error)).ok()?;
        let (_, value) = values.last()?;
        if !sealed.imported
            && let Err(error) = generate::check(key, value)
        {
            self.add(Code::WrongValue, file, Some(sealed.position), error.what(), &error.help());
        }
        Some(value)
    }

    fn cannot_open(&mut self, file: &str, name: &Name, error: &Error) {
        let what = format!("the value of `{name}` does not open with the escrow's key");
        self.add(Code::CannotOpen, file, error.position(), what, FROM_GIT);
    }

    fn hashes(&mut self, file: &str, values: &[(&Key, Option<&SecretValue>)]) {
        for (key, hash) in values {
            let Recipe::Bcrypt { of, .. } = &key.recipe else { continue };
            let source = values.iter().find(|(source, _)| source.name == *of).and_then(|(_, value)| *value);
            if let (Some(hash), Some(source)) = (hash, source)
                && !generate::matches(hash, source)
            {
                let what = format!("`{}` is not a hash of `{of}`: nobody could log in", key.name);
                self.add(Code::HashDiffers, file, None, what, FROM_GIT);
            }
        }
    }

    fn orphans(&mut self, evidence: &Evidence<'_>) {
        let (contract, inventory) = (evidence.contract, evidence.inventory);
        let known: BTreeSet<String> = contract.units().iter().map(Unit::file).collect();
        for (path, secrets) in inventory.sealed.iter().filter(|(path, _)| !known.contains(*path)) {
            for (i, secret) in secrets.iter().enumerate() {
                let at = Some(secret.position);
                if let Some(Err(error)) = evidence.opened.and_then(|(_, opened)| opened.of(path).get(i)) {
                    self.cannot_open(path, &secret.name, error);
                }
                if let Some(key) = contract.key(secret.name.as_str()) {
                    let what = format!("`{}` belongs in {SOURCE}{}.sealed.yaml", secret.name, key.unit);
                    self.add(Code::Misplaced, path, at, what, FROM_GIT);
                } else if secret.write_once.is_some() {
                    let what = format!("`{}` is write-once, and the contract no longer has it", secret.name);
                    self.add(Code::WriteOnceDropped, path, at, what, "put it back into the contract");
                } else {
                    let what = format!("`{}` is not in the contract", secret.name);
                    self.add(Code::Orphan, path, at, what, "remove the file if nobody needs it, or add the key to the contract");
                }
            }
        }
    }

    fn derived(&mut self, evidence: &Evidence<'_>, sealed: &BTreeSet<String>) {
        let inventory = evidence.inventory;
        for (path, bytes) in &inventory.others {
            if !path.ends_with(".yaml") && !path.ends_with(".yml") && !path.ends_with(".json") {
                continue;
            }
            match text::decode(bytes).and_then(secret::find_plaintext) {
                Err(error) => self.add_error(Code::Unreadable, path, &error),
                Ok(found) => {
                    for (name, position) in found {
                        let name = name.map_or("a Secret".to_owned(), |name| format!("the Secret `{name}`"));
                        let help = "remove the file; if it was ever committed, its values are exposed and new ones are due";
                        self.add(Code::PlaintextSecret, path, Some(position), format!("{name} lies here in the clear"), help);
                    }
                }
            }
        }
        // Without a certificate the derived files cannot be known, but for its digest in the runbook.
        let Ok(certificate) = evidence.certificate else { return };
        let expected = render(evidence.contract, evidence.delivery, certificate.digest, sealed);
        self.store_file(evidence);
        for (path, text) in &expected {
            let code = derived_code(path);
            match inventory.others.get(path) {
                None => self.add(code, path, None, "it is not there".to_owned(), RESTORE),
                Some(found) if found != text.as_bytes() => {
                    let (line, should) = first_difference(text, found);
                    let what = match should {
                        Some(should) => format!("differs from what the contract asks for; here should stand `{should}`"),
                        None => "has more than the contract asks for".to_owned(),
                    };
                    self.add(code, path, Some((line, 1)), what, RESTORE);
                }
                Some(_) => {}
            }
        }
        for path in inventory.others.keys().filter(|path| !expected.contains_key(*path) && *path != "README.md") {
            let help = "remove it, unless it is yours; no kustomization lists it";
            self.add(Code::StrayFile, path, None, "the tool neither wrote nor reads it".to_owned(), help);
        }
    }
}

fn derived_code(path: &str) -> Code {
    match path {
        "INSTALL.md" => Code::RunbookDiffers,
        "secret-source/namespace.yaml" => Code::NamespaceDiffers,
        "secret-source/rbac.yaml" | "secret-store/service-account.yaml" => Code::RbacDiffers,
        "secret-store/cluster-secret-store.yaml" | "secret-store/secret-stores.yaml" => Code::StoreDiffers,
        "argocd-application.yaml" => Code::ApplicationDiffers,
        _ if path.starts_with("property-patches/") => Code::PatchDiffers,
        _ => Code::KustomizationDiffers,
    }
}

/// The first line that is not as it should be, from 1, and what should stand there. What does stand there is not
/// shown: somebody may have pasted a secret.
fn first_difference<'t>(expected: &'t str, found: &[u8]) -> (usize, Option<&'t str>) {
    let mut found = found.split(|byte| *byte == b'\n');
    let differs = expected.split('\n').enumerate().find(|(_, line)| found.next() != Some(line.as_bytes()));
    match differs {
        Some((i, line)) => (i + 1, Some(line)),
        None => (expected.split('\n').count(), None),
    }
}
