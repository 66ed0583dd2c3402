//! Offline: do contract, sealed files, certificate and derived files agree? With the sealing key: does each value match its recipe?

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::certificate::FitCertificate;
use super::difference::document;
use super::inventory::{self, Inventory, SOURCE};
use super::pins::Verdict;
use super::plan::expected_mark;
use super::private_key::SealingKey;
use super::render::{self, RUNBOOK, form_of, render, store_file};
use super::unseal::Opened;
use super::{argo_cd, difference, flux, generate, seal};
use crate::manifest::sealed_secret::{self, Encrypted, SEPARATOR, SealedSecret};
use crate::manifest::{secret, text};
use crate::model::{
    Code, Contract, Delivery, Error, Finding, Key, KeyName, Name, PROPERTY, Places, Position, Result, SecretValue, Sorted, Unit, mark,
};

pub struct Evidence<'e> {
    /// How the operator names the folders, for the findings' places.
    pub places: &'e Places,
    pub contract: &'e Contract,
    pub inventory: &'e Inventory,
    /// The certificate, or why it cannot be sealed to.
    pub certificate: Result<&'e FitCertificate, &'e Error>,
    /// Whether this machine accepted it, or why not; none = its pins cannot be read.
    pub accepted: Option<Verdict>,
    /// Which ignore rule a path below `out/` matches.
    pub ignored: &'e dyn Fn(&str) -> Option<String>,
    /// The keys of the escrow, and what they opened; none = no value is opened.
    pub opened: Option<(&'e [SealingKey], &'e Opened)>,
    /// The operator's copies; none = they are not compared, because no value is opened.
    pub copies: Option<&'e Copies>,
    /// How many recipients `recipients.txt` lists, if it exists.
    pub listed: Option<usize>,
    /// How many recipients the escrow is encrypted to, if it exists.
    pub able: Option<&'e Result<usize>>,
    /// Files of the keys folder that are malformed.
    pub damaged: &'e [Error],
    /// Secrets that git tracks.
    pub tracked: &'e [Error],
    /// The units, by path below `out/`, that git tracks and the working tree lacks, each with the command that restores it.
    pub lost: &'e BTreeMap<String, String>,
    pub delivery: &'e Delivery,
    pub coverage: &'e [Finding],
}

/// The operator's copies.
pub struct Copies {
    /// The existing copies.
    pub found: BTreeMap<KeyName, SecretValue>,
    /// The command that writes them from the sealed values.
    pub restore: String,
}

/// Every finding, by place.
pub fn verify(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = Findings { places: evidence.places, list: evidence.coverage.to_vec() };
    findings.certificate(evidence);
    findings.folder(evidence.inventory);
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
    findings.dropped(evidence);
    findings.derived(evidence, &sealed);
    findings.list.sort_by(|a, b| a.place.cmp(&b.place).then(a.code.cmp(&b.code)));
    findings.list
}

struct Findings<'e> {
    places: &'e Places,
    list: Vec<Finding>,
}

const RESTORE: &str = "run `seal-secrets bootstrap`: it restores the file";
/// The help if the escrow is encrypted to another number of recipients than are listed.
pub const RECIPIENTS_DIFFER: &str =
    "run what was interrupted again: `seal-secrets escrow add-recipient RECIPIENT` or `seal-secrets escrow remove-recipient RECIPIENT`";
const CHANGED: &str = "contract or settings changed since it was written: run `seal-secrets bootstrap` if that is intended, or pass those that it was written with";
const FROM_GIT: &str = "restore the file from git";

impl Findings<'_> {
    fn add(&mut self, code: Code, path: &str, position: Option<Position>, what: String, help: &str) {
        self.push(code, at(self.places.in_out(path), position), what, help.to_owned());
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
            Err(error) => return self.push(Code::CertificateUnusable, at(place, error.position()), error.what(), error.help()),
            Ok(certificate) => certificate,
        };
        if certificate.ends_soon {
            let what = format!("the certificate ends on {}", certificate.ends());
            self.push(Code::CertificateExpiresSoon, place.clone(), what, "plan a new sealing key before that day".to_owned());
        }
        match &evidence.accepted {
            Some(Verdict::Unknown) => {
                let what = format!("this machine has not accepted any certificate for this folder; it is {}", certificate.digest);
                let help = format!(
                    "compare the digest with another operator: `seal-secrets verify --accept-certificate {}` then checks it",
                    certificate.digest
                );
                self.push(Code::CertificateNotAccepted, place.clone(), what, help);
            }
            Some(Verdict::Refused(error)) => {
                let why = error.reason().unwrap_or_default();
                self.push(Code::CertificateDiffers, place.clone(), format!("{}: {why}", error.what()), error.help());
            }
            Some(Verdict::Accepted) | None => {}
        }
        if evidence.opened.is_some_and(|(keys, _)| keys.iter().all(|key| key.digest != certificate.digest)) {
            let what = format!("it does not hold the key of {}", certificate.digest);
            let help = "restore the escrow that belongs to `sealing.crt`, or the certificate from git".to_owned();
            self.push(Code::EscrowDiffers, self.places.in_keys("sealing.key.age"), what, help);
        }
    }

    fn folder(&mut self, inventory: &Inventory) {
        if let Err(error) = inventory.check_folder() {
            self.push(Code::OutUnknown, error.place(), error.what(), error.help());
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
            let what = format!("it is encrypted to {able} recipients, and `{list}` names {listed}");
            self.push(Code::RecipientsDiffer, place.clone(), what, RECIPIENTS_DIFFER.to_owned());
        }
    }

    fn unit(&mut self, evidence: &Evidence<'_>, unit: &Unit<'_>) {
        let (file, inventory) = (unit.file(), evidence.inventory);
        let Some(secrets) = inventory.sealed.get(&file) else {
            // A file that cannot be read already has its finding.
            if inventory.unreadable().all(|path| path != file) {
                self.missing_unit(evidence, unit);
            }
            return;
        };
        for secret in secrets.iter().filter(|secret| unit.secrets().iter().all(|(name, _)| *name != secret.name.as_str())) {
            let what = format!("`{}` does not belong in this file", secret.name);
            self.add(Code::Misplaced, &file, Some(secret.position), what, FROM_GIT);
        }
        let opened = evidence.opened.map(|(_, opened)| opened.of(&file));
        let mut values: Vec<(&Key, Option<&SecretValue>)> = Vec::new();
        let mut documents = Vec::new();
        for (name, keys) in unit.secrets() {
            let Some((i, secret)) = secrets.iter().enumerate().find(|(_, secret)| secret.name.as_str() == name) else {
                let what = format!("`{name}` is missing from its unit");
                self.add(Code::HalfMissing, &file, None, what, FROM_GIT);
                continue;
            };
            let before = self.list.len();
            let sound = self.sealed(evidence, &file, &keys, secret);
            let told = self.list[before..].iter().any(|finding| tells_how_a_text_differs(finding.code));
            documents.push((i, document(evidence.contract, secret, expected_mark(evidence.contract, secret)).filter(|_| !told)));
            let opened = opened.and_then(|opened| opened.get(i)).filter(|_| sound);
            let opened = opened.and_then(|opened| opened.as_ref().map_err(|error| self.cannot_open(&file, &secret.name, error)).ok());
            values.extend(keys.iter().map(|key| (*key, opened.and_then(|opened| self.value(&file, key, secret, opened)))));
        }
        self.derived_values(&file, &values);
        if let Some(copies) = evidence.copies {
            self.copies(copies, &values);
        }
        self.text(inventory, unit, secrets, documents);
    }

    /// Compares a unit's whole file. `documents` are those that it should hold, in the order of its keys, each with its position.
    fn text(&mut self, inventory: &Inventory, unit: &Unit<'_>, secrets: &[SealedSecret], documents: Vec<(usize, Option<String>)>) {
        let file = unit.file();
        let mut text = inventory.texts[&file].as_slice();
        // Cut off after a separator: the missing half is reported elsewhere.
        if documents.len() < unit.secrets().len() {
            text = text.strip_suffix(SEPARATOR.as_bytes()).unwrap_or(text);
        }
        let mut places: Vec<usize> = documents.iter().map(|(place, _)| *place).collect();
        places.sort_unstable();
        let mut expected: Vec<Option<String>> = secrets.iter().map(|_| None).collect();
        places.into_iter().zip(documents).for_each(|(place, (_, document))| expected[place] = document);
        if let Some((line, what)) = difference::of_unit(&expected, text, secrets) {
            let flag = |key: &Key| if key.write_once { "--destroys-data" } else { "--replace" };
            let names: String = unit.keys.iter().map(|key| format!(" {}", key.name)).collect();
            let replaced: String = unit.keys.iter().map(|key| format!(" {} {}", flag(key), key.name)).collect();
            let help = format!(
                "{FROM_GIT}; if git has no better one, `seal-secrets unseal{names} | seal-secrets import --yes -f -{replaced}` writes it with the same values"
            );
            self.add(Code::UnitDiffers, &file, Some((line, 1)), what, &help);
        }
    }

    /// Compares the store among the platform's own files.
    fn store_file(&mut self, evidence: &Evidence<'_>, help: &str) {
        let Some(file) = &evidence.delivery.store_file else { return };
        let expected = store_file(evidence.contract, evidence.delivery, &file.project_id);
        if file.present.as_deref().is_none_or(|found| difference::first(&expected, found).is_some()) {
            let what = "it is not the store that the contract asks for".to_owned();
            self.push(Code::StoreDiffers, file.path.clone(), what, help.to_owned());
        }
    }

    fn missing_unit(&mut self, evidence: &Evidence<'_>, unit: &Unit<'_>) {
        let (file, inventory) = (unit.file(), evidence.inventory);
        let remembered = inventory::was_sealed(unit, &inventory.ever_sealed());
        if !(unit.needed() || unit.write_once() && remembered) {
            return;
        }
        if remembered {
            let code = if unit.write_once() { Code::WriteOnceMissing } else { Code::UnitMissing };
            let gone = inventory.gone(std::slice::from_ref(unit));
            let help = inventory.check_folder().map_or_else(|other| other.help(), |()| gone.help());
            // git is asked about this very file: it may be in another repository.
            let otherwise = help.split_once("; or").map_or(String::new(), |(_, otherwise)| format!("; or{otherwise}"));
            let help = evidence.lost.get(&file).map_or(help, |lost| format!("{lost}{otherwise}"));
            return self.add(code, &file, None, gone.what(), &help);
        }
        let provided = || unit.keys.iter().filter(|key| key.is_provided()).map(|key| format!(" --provide {}=FILE", key.name));
        let provide = || format!("run `seal-secrets bootstrap{}`", provided().collect::<String>());
        let (code, what, help) = match (unit.provided(), inventory.check_folder()) {
            (true, _) => (Code::NotYetProvided, "it is yours to supply", provide()),
            (false, Err(other)) => (Code::UnitMissing, "the unit is not there", other.help()),
            (false, Ok(())) => (Code::UnitMissing, "the unit is not there", "run `seal-secrets bootstrap`".to_owned()),
        };
        self.add(code, &file, None, what.to_owned(), &help);
    }

    /// Compares one SealedSecret with the contract; returns whether it is worth opening.
    fn sealed(&mut self, evidence: &Evidence<'_>, file: &str, keys: &[&Key], sealed: &SealedSecret) -> bool {
        let before = self.list.len();
        let (contract, name) = (evidence.contract, &sealed.name);
        let at = Some(sealed.position);
        if sealed.namespace.as_ref() != Some(&contract.namespace) {
            let what = format!("`{name}` is not in the namespace `{}`", contract.namespace);
            self.add(Code::WrongNamespace, file, at, what, FROM_GIT);
        }
        if sealed.scope != Contract::SCOPE {
            let what = format!("`{name}` has the scope {}, not {}", sealed.scope.as_str(), Contract::SCOPE.as_str());
            self.add(Code::WrongScope, file, at, what, FROM_GIT);
        }
        match (expected_mark(contract, sealed).or_else(|| mark(keys)), &sealed.write_once) {
            (Some(_), None) => {
                let what = format!("`{name}` has lost its annotation `{}`", sealed_secret::WRITE_ONCE);
                self.add(Code::WriteOnceUnmarked, file, at, what, FROM_GIT);
            }
            (None, Some(_)) => {
                let what = format!("`{name}` is marked write-once, and the contract does not say so");
                self.add(Code::WriteOnceDropped, file, at, what, FROM_GIT);
            }
            (Some(now), Some(before)) if *before != now => {
                let what = format!("`{name}` is write-once, was made as `{before}`, and the contract now says `{now}`");
                self.add(Code::WriteOnceDropped, file, at, what, "put its recipe back into the contract");
            }
            _ => {}
        }
        if let Ok(certificate) = evidence.certificate
            && sealed.certificate != Some(certificate.digest)
        {
            let to = sealed.certificate.map_or("it does not say to which".to_owned(), |digest| digest.to_string());
            let what = format!("`{name}` is not sealed to `{}` ({}): {to}", self.places.in_keys("sealing.crt"), certificate.digest);
            let help = "restore `sealing.crt`, or the file, from git; or run `seal-secrets renew` if a renewal was interrupted, `seal-secrets re-encrypt` if the sealing key was replaced on purpose";
            self.add(Code::WrongCertificate, file, at, what, help);
        }
        self.data(evidence, file, keys, sealed);
        self.list.len() == before
    }

    /// Checks the data keys of a SealedSecret, and the shape of each value.
    fn data(&mut self, evidence: &Evidence<'_>, file: &str, keys: &[&Key], sealed: &SealedSecret) {
        let (name, at) = (&sealed.name, Some(sealed.position));
        if let [key] = keys
            && key.name.property() == PROPERTY
        {
            // If it is the only one, another name for it is reported as such.
            let [Encrypted { key: data_key, position, .. }] = sealed.encrypted.as_slice() else {
                let what = format!("`{name}` has {} data keys instead of only `{PROPERTY}`", sealed.encrypted.len());
                return self.add(Code::WrongData, file, at, what, FROM_GIT);
            };
            if data_key.as_str() != PROPERTY {
                let what = format!("the data key of `{name}` is `{data_key}`, not `{PROPERTY}`");
                self.add(Code::WrongData, file, Some(*position), what, FROM_GIT);
            }
        }
        for one in &sealed.encrypted {
            match keys.iter().find(|key| key.name.property() == one.key.as_str()) {
                Some(key) => {
                    let length = key.recipe.length().filter(|_| !one.imported);
                    self.blob(evidence, file, key, &one.blob, length, one.position);
                }
                None if keys.len() == 1 && keys[0].name.property() == PROPERTY => {
                    self.blob(evidence, file, keys[0], &one.blob, None, one.position);
                }
                None => {
                    let what = format!("`{name}` holds `{}`, which the contract does not have", one.key);
                    let help = "add it to the contract, or remove its line from `encryptedData` if nobody needs it";
                    self.add(Code::WrongData, file, Some(one.position), what, help);
                }
            }
        }
        let several = keys.len() > 1 || keys.iter().any(|key| key.name.property() != PROPERTY);
        for key in keys.iter().filter(|key| several && sealed.value(key.name.property()).is_none()) {
            let what = format!("`{name}` does not hold `{}`", key.name.property());
            let help = match key.is_provided() {
                true => format!("run `seal-secrets bootstrap --provide {}=FILE`, or restore the file from git", key.name),
                false => "restore the file from git; if the contract has it only now, run `seal-secrets bootstrap`".to_owned(),
            };
            self.add(Code::WrongData, file, at, what, &help);
        }
    }

    /// Checks the blob's shape; the length of its value is public.
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

    /// Compares a value of a SealedSecret with its recipe.
    fn value<'v>(&mut self, file: &str, key: &Key, sealed: &SealedSecret, opened: &'v [(String, SecretValue)]) -> Option<&'v SecretValue> {
        let (_, value) = opened.iter().find(|(data_key, _)| data_key == key.name.property())?;
        let imported = sealed.value(key.name.property()).is_some_and(|one| one.imported);
        if !imported && let Err(error) = generate::check(key, value) {
            self.add(Code::WrongValue, file, Some(sealed.position), error.what(), &error.help());
        }
        Some(value)
    }

    fn cannot_open(&mut self, file: &str, name: &Name, error: &Error) {
        let what = format!("the value of `{name}` does not open with the escrow's key");
        self.add(Code::CannotOpen, file, error.position(), what, FROM_GIT);
    }

    /// Checks that derived values are made from these values.
    fn derived_values(&mut self, file: &str, values: &[(&Key, Option<&SecretValue>)]) {
        let known = |name: &KeyName| values.iter().find(|(key, _)| key.name == *name).and_then(|(_, value)| *value);
        for (key, value) in values {
            let differs = |value: &&SecretValue| key.recipe.is_derived() && !generate::agrees(&key.recipe, value, &known);
            if value.filter(differs).is_none() {
                continue;
            }
            let sources: Vec<String> = key.recipe.sources().into_iter().map(|of| format!("`{of}`")).collect();
            let (what, help) = match key.recipe.is_hash() {
                true => (format!("`{}` is not a hash of {}: nobody could log in", key.name, sources.join(", ")), FROM_GIT.to_owned()),
                // The contract may have changed: another user, another name in a certificate.
                false => (
                    format!("`{}` is not what its recipe makes of {}", key.name, sources.join(" and ")),
                    format!("{FROM_GIT}; if its recipe was changed, `seal-secrets rotate {}` makes all of them again", key.name),
                ),
            };
            let code = if key.recipe.is_hash() { Code::HashDiffers } else { Code::WrongValue };
            self.add(code, file, None, what, &help);
        }
    }

    fn copies(&mut self, copies: &Copies, values: &[(&Key, Option<&SecretValue>)]) {
        for (key, value) in values.iter().filter(|(key, _)| key.operator_copy) {
            let Some(value) = value else { continue };
            let (code, what) = match copies.found.get(&key.name) {
                Some(copy) if value.is_in(copy) => continue,
                Some(_) => (Code::CopyDiffers, format!("your copy is not the sealed value of `{}`", key.name)),
                None => (Code::CopyMissing, format!("you have no copy of the sealed value of `{}`", key.name)),
            };
            self.push(
                code,
                self.places.in_secrets(&key.name.file_name()),
                what,
                format!("run `{}`: it writes the sealed value there", copies.restore),
            );
        }
    }

    fn orphans(&mut self, evidence: &Evidence<'_>) {
        let (contract, inventory) = (evidence.contract, evidence.inventory);
        let known: BTreeSet<String> = contract.units().iter().map(Unit::file).sorted();
        for (path, secrets) in inventory.sealed.iter().filter(|(path, _)| !known.contains(*path)) {
            for (i, secret) in secrets.iter().enumerate() {
                let at = Some(secret.position);
                if let Some(Err(error)) = evidence.opened.and_then(|(_, opened)| opened.of(path).get(i)) {
                    self.cannot_open(path, &secret.name, error);
                }
                if let Some(key) = contract.secret(secret.name.as_str()) {
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
            // What it says itself is believed.
            let unknown = |secret: &&SealedSecret| contract.secret(secret.name.as_str()).is_none();
            let own = |secret: &SealedSecret| document(contract, Some(secret).filter(unknown)?, secret.write_once.clone());
            let expected: Vec<Option<String>> = secrets.iter().map(own).collect();
            if let Some((line, what)) = difference::of_unit(&expected, &inventory.texts[path], secrets) {
                self.add(Code::UnitDiffers, path, Some((line, 1)), what, FROM_GIT);
            }
        }
    }

    /// Reports what only the keys folder still knows to be write-once.
    fn dropped(&mut self, evidence: &Evidence<'_>) {
        let marked = |name: &Name| evidence.inventory.sealed.values().flatten().any(|one| one.name == *name && one.write_once.is_some());
        for name in evidence.inventory.dropped(evidence.contract).filter(|name| !marked(name)) {
            let what = format!("`{name}` is write-once, and the contract does not say so");
            let help = format!("put `{name}` with `write-once: true` back into the contract");
            self.push(Code::WriteOnceDropped, evidence.inventory.remembered.file.clone(), what, help);
        }
    }

    /// Checks a file that is no unit: it holds nothing in the clear, and no conflict, for which `help` says what to do.
    fn other(&mut self, path: &str, bytes: &[u8], help: &str) {
        let is_manifest = [".yaml", ".yml", ".json"].iter().any(|end| path.ends_with(end));
        if !is_manifest && (path != RUNBOOK || text::conflict(bytes).is_none()) {
            return;
        }
        // A form without consumers has files without an object.
        let find = |text| if text::says_nothing(text) { Ok(Vec::new()) } else { secret::find_plaintext(text) };
        match text::decode_or(bytes, help).and_then(find) {
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

    fn derived(&mut self, evidence: &Evidence<'_>, sealed: &BTreeSet<String>) {
        let inventory = evidence.inventory;
        let expected =
            evidence.certificate.ok().map(|certificate| render(evidence.contract, evidence.delivery, certificate.digest, sealed));
        for (path, bytes) in &inventory.others {
            let help = if expected.as_ref().is_none_or(|expected| expected.contains_key(path)) { RESTORE } else { text::RESOLVE };
            self.other(path, bytes, help);
        }
        // Without a certificate the derived files are unknown, because the runbook contains its digest.
        let Some(expected) = expected else { return };
        let found = inventory.others.get(RUNBOOK).and_then(|found| form_of(found));
        let changed = found.is_some() && found != expected.get(RUNBOOK).and_then(|expected| form_of(expected.as_bytes()));
        let help = if changed { CHANGED } else { RESTORE };
        self.store_file(evidence, help);
        for (path, expected) in &expected {
            let code = derived_code(path);
            match inventory.others.get(path) {
                None => self.add(code, path, None, "it is not there".to_owned(), help),
                // The conflict is already reported.
                Some(found) if text::conflict(found).is_some() => {}
                Some(found) => {
                    if let Some((line, what)) = difference::first(expected, found) {
                        self.add(code, path, Some((line, 1)), what, help);
                    }
                }
            }
        }
        let sets = inventory.other_sets();
        let in_other_set = |path: &str| sets.iter().any(|set| path.strip_prefix(set).is_some_and(|rest| rest.starts_with('/')));
        for (path, bytes) in &inventory.others {
            if expected.contains_key(path) || path == "README.md" || in_other_set(path) {
                continue;
            }
            let (what, help) = match memchr::memmem::find(bytes, b"SealedSecret") {
                Some(_) => (STRAY, "it may hold sealed values: keep it, and move it to where it belongs; no kustomization lists it"),
                None if render::is_derived(bytes) => ("left over from an earlier run: no longer listed", "delete it"),
                None => (STRAY, "remove it, unless it is yours; no kustomization lists it"),
            };
            self.add(Code::StrayFile, path, None, what.to_owned(), help);
        }
    }
}

const STRAY: &str = "the tool neither wrote nor reads it";

fn at(place: String, position: Option<Position>) -> String {
    match position {
        Some((line, column)) => format!("{place}:{line}:{column}"),
        None => place,
    }
}

/// Whether a finding of a SealedSecret says how its text differs; the others are about its value.
fn tells_how_a_text_differs(code: Code) -> bool {
    use Code::*;
    matches!(code, WrongNamespace | WrongScope | WrongData | WriteOnceUnmarked | WriteOnceDropped)
}

fn derived_code(path: &str) -> Code {
    match path {
        "INSTALL.md" => Code::RunbookDiffers,
        "secret-source/namespace.yaml" => Code::NamespaceDiffers,
        "secret-source/rbac.yaml" | "secret-store/service-account.yaml" => Code::RbacDiffers,
        "secret-store/cluster-secret-store.yaml" | "secret-store/secret-stores.yaml" => Code::StoreDiffers,
        argo_cd::APPLICATION | argo_cd::CONTROLLER | flux::KUSTOMIZATIONS => Code::ApplicationDiffers,
        render::ALLOW_LIST => Code::AllowListDiffers,
        _ if path.starts_with(argo_cd::EXTERNAL_SECRETS) => Code::ApplicationDiffers,
        _ if path.starts_with("property-patches/") => Code::PatchDiffers,
        _ => Code::KustomizationDiffers,
    }
}
