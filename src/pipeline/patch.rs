//! `remoteRef.property` into a platform's own files: which files change, and to what.

use std::collections::BTreeMap;

use similar::TextDiff;

use super::inventory::Files;
use super::platform::{self, Platform};
use super::{render, resolve};
use crate::manifest::external_secret::Entry;
use crate::manifest::{gitops, property, text};
use crate::model::{Code, Contract, Delivery, Entry as Read, Error, Finding, Name, Result, StoreKind};

/// One file's change.
pub struct Edit {
    /// Relative to the checkout, with `/`.
    pub path: String,
    /// What is there; none = a new file.
    pub before: Option<Vec<u8>>,
    /// What will be there.
    pub after: String,
}

/// What a run would change, and what it leaves alone.
#[derive(Default)]
pub struct Edits {
    /// By path.
    pub edits: Vec<Edit>,
    /// Entries that got their property.
    pub added: usize,
    /// Files that have to be mended by hand.
    pub refused: Vec<Finding>,
}

/// Whether an entry is ours to deliver.
fn is_ours(contract: &Contract, kind: Option<StoreKind>) -> impl Fn(&Entry<'_>) -> bool {
    move |entry| resolve::is_ours(contract, kind, (entry.store.kind, entry.store.name)) && contract.key(entry.key).is_some()
}

/// Standard input to standard output: the same manifests, with the property.
pub fn filter(contract: &Contract, delivery: &Delivery, bytes: &[u8]) -> Result<Vec<u8>> {
    text::decode(bytes)?;
    let whole = std::str::from_utf8(bytes).unwrap_or_default();
    Ok(match property::add(whole, delivery.kind_asked_for(), &is_ours(contract, delivery.kind_asked_for()))? {
        Some(edited) => edited.text.into_bytes(),
        None => bytes.to_owned(),
    })
}

/// The manifests themselves.
pub fn manifests(contract: &Contract, delivery: &Delivery, platform: &Platform, files: &Files) -> Edits {
    let mut found = Edits::unreadable(platform);
    let mut last = "";
    for reader in &platform.readers {
        // Several ExternalSecrets of one file follow each other.
        if std::mem::replace(&mut last, &reader.file) == reader.file {
            continue;
        }
        let Some(bytes) = files.get(&reader.file) else { continue };
        let edited = std::str::from_utf8(bytes).map_err(|_| not_text()).and_then(|whole| {
            let kind = delivery.kind_asked_for();
            property::add(whole, kind, &is_ours(contract, kind))
        });
        match edited {
            Ok(None) => {}
            Ok(Some(edited)) => {
                found.added += edited.added;
                found.edits.push(Edit { path: reader.file.clone(), before: Some(bytes.clone()), after: edited.text });
            }
            Err(error) => found.refuse(platform, &reader.file, &error),
        }
    }
    found
}

fn not_text() -> Error {
    Error::bad_input("not UTF-8", "save it as UTF-8")
}

impl Edits {
    /// Nothing yet, but for the files that nobody can read.
    fn unreadable(platform: &Platform) -> Edits {
        let refused = platform.notes.iter().filter(|note| note.code == Code::Unreadable).cloned().collect();
        Edits { refused, ..Edits::default() }
    }

    fn refuse(&mut self, platform: &Platform, path: &str, error: &Error) {
        self.refused.push(platform::finding(&platform.root, Code::PropertyMissing, path, error.position(), error.what(), &error.help()));
    }
}

/// By name, what the ExternalSecrets of one folder read.
type Readers = BTreeMap<Name, Vec<Read>>;

/// A patch file beside each manifest, listed in the kustomization of its folder.
pub fn json6902(contract: &Contract, delivery: &Delivery, platform: &Platform, files: &Files) -> Edits {
    let mut found = Edits::unreadable(platform);
    let mut folders: BTreeMap<&str, Readers> = BTreeMap::new();
    for reader in &platform.readers {
        let (Ok(name), entries) = (Name::new(&reader.name), resolve::delivered(contract, delivery.kind_asked_for(), reader)) else {
            continue;
        };
        let folder = platform::folder(&reader.file);
        let twin = |other: &&platform::Reader| {
            other.name == reader.name && platform::folder(&other.file) == folder && !std::ptr::eq(*other, reader)
        };
        if entries.is_empty() || platform.is_patch(&reader.file) {
            continue;
        }
        let stranger =
            platform.readers.iter().filter(twin).any(|other| resolve::delivered(contract, delivery.kind_asked_for(), other) != entries);
        let fault = match () {
            () if reader.hidden.is_some() => "a part of it is an alias or a merge key",
            () if reader.cluster => "it is a ClusterExternalSecret",
            () if !platform.lists(folder, &reader.file) => "the kustomization of its folder does not list it",
            () if stranger => "another ExternalSecret of its name here reads differently",
            () => "",
        };
        if !fault.is_empty() {
            found.refuse(platform, &reader.file, &Error::bad_input(fault, "use `--format manifest`"));
            continue;
        }
        folders.entry(folder).or_default().insert(name, entries);
    }
    for (folder, readers) in folders {
        let names = ["kustomization.yaml", "kustomization.yml"].map(|name| platform::joined(folder, name).unwrap_or_default());
        match names.iter().find_map(|path| Some((path, files.get(path)?))) {
            None => {
                let error = Error::bad_input("its folder has no kustomization.yaml to list a patch in", "use `--format manifest`");
                found.refuse(platform, folder, &error);
            }
            Some((path, bytes)) => match beside(contract, delivery, platform, files, (path, bytes), &readers) {
                Ok(edits) => {
                    found.added += readers.values().map(Vec::len).sum::<usize>();
                    found.edits.extend(edits);
                }
                Err(error) => found.refuse(platform, path, &error),
            },
        }
    }
    found
}

/// The patch files of one folder, and its kustomization.
fn beside(
    contract: &Contract,
    delivery: &Delivery,
    platform: &Platform,
    files: &Files,
    (path, bytes): (&str, &[u8]),
    readers: &Readers,
) -> Result<Vec<Edit>> {
    let folder = platform::folder(path);
    if platform.kustomizations.get(folder).is_some_and(|kustomization| kustomization.generated) {
        let help = "use `--format manifest`, or tell what generates it";
        return Err(Error::refused("it is generated: what is added to it is wiped", help));
    }
    let listed: Vec<(String, &Name)> = readers.keys().map(|name| (format!("{name}{}", gitops::PATCH_FILE), name)).collect();
    let whole = std::str::from_utf8(bytes).map_err(|_| not_text())?;
    let kustomization = gitops::add_patches(whole, &listed)?;
    let mut edits = Vec::new();
    for ((file, _), entries) in listed.iter().zip(readers.values()) {
        let path = platform::joined(folder, file).unwrap_or_default();
        let (before, after) = (files.get(&path).cloned(), render::patch_file(contract, delivery, entries));
        edits.extend((before.as_deref() != Some(after.as_bytes())).then_some(Edit { path, before, after }));
    }
    // Last: a kustomization never lists a file that is not there.
    edits.extend(kustomization.map(|after| Edit { path: path.to_owned(), before: Some(bytes.to_owned()), after }));
    Ok(edits)
}

/// The changes as `git apply` takes them, in the checkout.
pub fn diff(edits: &[Edit]) -> String {
    let mut out = String::new();
    for edit in edits {
        let before = edit.before.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let (old, new) = (quoted(&format!("a/{}", edit.path)), quoted(&format!("b/{}", edit.path)));
        out.push_str(&format!("diff --git {old} {new}\n"));
        if edit.before.is_none() {
            out.push_str("new file mode 100644\n");
        }
        // git ends a name with a tab where it holds white space and no quotes.
        let ended = |name: &str| if name.contains(' ') && !name.starts_with('"') { format!("{name}\t") } else { name.to_owned() };
        let old = if edit.before.is_some() { ended(&old) } else { "/dev/null".to_owned() };
        out.push_str(&TextDiff::from_lines(before.as_ref(), edit.after.as_str()).unified_diff().header(&old, &ended(&new)).to_string());
    }
    out
}

/// A name as git writes it (`quote_c_style`): in quotes, with escapes, where a line could not hold it otherwise.
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
