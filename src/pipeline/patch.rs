//! Adds `remoteRef.property` to a platform's own files: which files change, and how.

use std::collections::BTreeSet;

use similar::TextDiff;

use super::inventory::Files;
use super::platform::{self, Platform};
use super::resolve;
use crate::manifest::external_secret::{self, Entry};
use crate::manifest::{property, text};
use crate::model::{Code, Contract, Delivery, Error, Finding, Name, Result, Sorted, StoreKind};

pub struct Edit {
    /// Relative to the checkout, with `/`.
    pub path: String,
    /// Its current content; none = a new file.
    pub before: Option<Vec<u8>>,
    pub after: String,
}

/// What a run would change, and what it leaves as it is.
#[derive(Default)]
pub struct Edits {
    pub edits: Vec<Edit>,
    pub added: usize,
    pub refused: Vec<Finding>,
}

/// What our entries should read if they do not say it.
fn wanted<'c>(contract: &'c Contract, kind: Option<StoreKind>) -> impl Fn(&Entry) -> Option<Option<&'c str>> {
    move |entry| {
        let ours = resolve::is_ours(contract, kind, &entry.store) && contract.secret(&entry.key).is_some();
        ours.then(|| contract.only_property(&entry.key))
    }
}

/// Filters manifests from standard input to standard output, adding the property.
pub fn filter(contract: &Contract, delivery: &Delivery, bytes: &[u8]) -> Result<Vec<u8>> {
    text::decode(bytes)?;
    let whole = std::str::from_utf8(bytes).unwrap_or_default();
    let wanted = wanted(contract, delivery.kind_asked_for());
    let edited = property::add(whole, delivery.kind_asked_for(), &wanted);
    match external_secret::unread(whole).or(edited.refused.into_iter().next()) {
        Some(error) => Err(error),
        None => Ok(edited.text.map_or_else(|| bytes.to_owned(), String::into_bytes)),
    }
}

pub fn manifests(contract: &Contract, delivery: &Delivery, platform: &Platform, files: &Files) -> Edits {
    let mut found = Edits::unreadable(platform);
    let kind = delivery.kind_asked_for();
    let secrets = platform.manifests.iter().chain(platform.made.iter().filter(|manifest| manifest.secret.written_out));
    let paths: BTreeSet<&str> = secrets.map(|manifest| manifest.file.as_str()).sorted();
    for (path, bytes) in paths.into_iter().filter_map(|path| files.get_key_value(path)) {
        let Ok(whole) = std::str::from_utf8(bytes) else { continue };
        let wanted = wanted(contract, kind);
        let edited = property::add(whole, kind, &wanted);
        edited.refused.iter().for_each(|error| found.refuse(platform, path, error));
        if let Some(after) = edited.text {
            found.added += edited.added;
            found.edits.push(Edit { path: path.clone(), before: Some(bytes.clone()), after });
        }
    }
    found
}

/// Renames keys of the store in the manifests.
pub fn renamed(platform: &Platform, files: &Files, names: &[(String, Name)]) -> Edits {
    let mut found = Edits::unreadable(platform);
    let all = platform.manifests.iter().chain(&platform.made);
    let paths: BTreeSet<&str> = all.map(|manifest| manifest.file.as_str()).sorted();
    for (path, bytes) in paths.into_iter().filter_map(|path| files.get_key_value(path)) {
        let Ok(whole) = std::str::from_utf8(bytes) else { continue };
        let edited = property::rename(whole, names);
        edited.refused.iter().for_each(|error| found.refuse(platform, path, error));
        if let Some(after) = edited.text {
            found.added += edited.added;
            found.edits.push(Edit { path: path.clone(), before: Some(bytes.clone()), after });
        }
    }
    found
}

impl Edits {
    /// No edits, only the files that cannot be read.
    fn unreadable(platform: &Platform) -> Edits {
        let refused = platform.notes.iter().filter(|note| note.code == Code::Unreadable).cloned().collect();
        Edits { refused, ..Edits::default() }
    }

    fn refuse(&mut self, platform: &Platform, path: &str, error: &Error) {
        self.refused.push(platform::finding(&platform.root, Code::PropertyMissing, path, error.position(), error.what(), &error.help()));
    }
}

/// The changes as a diff for `git apply` in the checkout.
pub fn diff(edits: &[Edit]) -> String {
    let mut out = String::new();
    for edit in edits {
        let before = edit.before.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let (old, new) = (quoted(&format!("a/{}", edit.path)), quoted(&format!("b/{}", edit.path)));
        out.push_str(&format!("diff --git {old} {new}\n"));
        if edit.before.is_none() {
            out.push_str("new file mode 100644\n");
        }
        // git ends a name that has a space and no quotes with a tab.
        let ended = |name: &str| if name.contains(' ') && !name.starts_with('"') { format!("{name}\t") } else { name.to_owned() };
        let old = if edit.before.is_some() { ended(&old) } else { "/dev/null".to_owned() };
        out.push_str(&TextDiff::from_lines(before.as_ref(), edit.after.as_str()).unified_diff().header(&old, &ended(&new)).to_string());
    }
    out
}

/// A name as git writes it (`quote_c_style`): quoted and escaped if a line could not hold it otherwise.
fn quoted(name: &str) -> String {
    let plain = |c: char| !c.is_control() && c != '"' && c != '\\';
    if name.chars().all(plain) {
        return name.to_owned();
    }
    let mut out = String::from("\"");
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            0x20..0x7f => out.push(char::from(byte)),
            other => out.push_str(&format!("\\{other:03o}")),
        }
    }
    out + "\""
}
