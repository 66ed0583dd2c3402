//! The sealed values in anyone's SealedSecrets: found, and replaced by byte range. The result is read again and compared
//! with the original before it is used.

use std::collections::BTreeMap;
use std::ops::Range;

use super::sealed_secret::{CERTIFICATE, scope};
use super::text;
use super::yaml::{self, Node};
use crate::model::{CertificateDigest, Error, Position, Result, Scope};

/// A SealedSecret in a text that need not be ours, as far as its sealed values matter.
pub struct ForeignSealedSecret {
    pub name: String,
    pub namespace: Option<String>,
    pub scope: Scope,
    /// The certificate in our annotation.
    pub certificate: Option<CertificateDigest>,
    /// The place of our annotation.
    pub mark: Option<Spot>,
    /// `spec.encryptedData`, in its order.
    pub blobs: Vec<Blob>,
    /// Why its values cannot be replaced, or opened.
    pub fault: Option<Error>,
    pub position: Position,
    annotations: BTreeMap<String, String>,
}

pub struct Blob {
    pub key: String,
    pub text: String,
    pub spot: Spot,
}

/// A scalar in a text.
#[derive(Clone)]
pub struct Spot {
    pub position: Position,
    /// Where its node begins; unique in the text.
    node: usize,
    /// Its content, without quotes, header and indentation.
    content: Range<usize>,
}

impl ForeignSealedSecret {
    /// The label that binds its values; see [`Scope::label`].
    pub fn label(&self) -> String {
        self.scope.label(self.namespace.as_deref().unwrap_or(""), &self.name)
    }

    /// `namespace/name`, or the name alone.
    pub fn full_name(&self) -> String {
        self.namespace.as_ref().map_or(self.name.clone(), |namespace| format!("{namespace}/{}", self.name))
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }
}

/// Every SealedSecret of a text, also those inside a List; none is not an error.
pub fn find(text: &str) -> Result<Vec<ForeignSealedSecret>> {
    let (_, body) = split_mark(text);
    let mut found = Vec::new();
    if text::says_nothing(body) {
        return Ok(found);
    }
    yaml::read_foreign(body)?.iter().for_each(|node| collect(node, body, &mut found));
    Ok(found)
}

/// Without its byte-order mark.
fn split_mark(text: &str) -> (&str, &str) {
    text.split_at(if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 })
}

fn collect(node: &Node, text: &str, found: &mut Vec<ForeignSealedSecret>) {
    let word = |name: &str| node.get(name).and_then(Node::word);
    match (word("apiVersion"), word("kind")) {
        (Some("bitnami.com/v1alpha1"), Some("SealedSecret")) => found.push(read(node, text)),
        (_, Some(kind)) if kind.ends_with("List") => {
            node.get("items").map(Node::items).unwrap_or_default().iter().for_each(|item| collect(item, text, found));
        }
        _ => {}
    }
}

fn read(node: &Node, text: &str) -> ForeignSealedSecret {
    let word = |path: &[&str]| node.at(path).and_then(Node::word);
    let all = node.at(&["metadata", "annotations"]).map(Node::entries).unwrap_or_default();
    let annotations: BTreeMap<String, String> =
        all.iter().filter_map(|(name, node)| Some((name.clone(), node.word()?.to_owned()))).collect();
    let scope = scope(|name| annotations.get(name).map(String::as_str));
    let mut found = ForeignSealedSecret {
        name: word(&["metadata", "name"]).unwrap_or("").to_owned(),
        namespace: word(&["metadata", "namespace"]).map(str::to_owned),
        scope,
        certificate: annotations.get(CERTIFICATE).and_then(|text| CertificateDigest::parse(text).ok()),
        mark: None,
        blobs: Vec::new(),
        fault: fault(node),
        position: node.position,
        annotations,
    };
    if found.fault.is_some() {
        return found;
    }
    if scope != Scope::ClusterWide && found.namespace.is_none() {
        let help = "add the `metadata.namespace` that it was sealed for";
        found.fault = Some(Error::bad_input("it has no namespace, and its scope needs one", help).at(node.position));
        return found;
    }
    let mut spots = || -> Result<()> {
        if let Some((_, node)) = all.iter().find(|(name, _)| name == CERTIFICATE) {
            found.mark = Some(spot(node, text)?);
        }
        for (key, node) in node.at(&["spec", "encryptedData"]).map(Node::entries).unwrap_or_default() {
            // Go's base64, and so the controller, skips line breaks.
            let blob = node.word().unwrap_or_default().replace(['\r', '\n'], "");
            found.blobs.push(Blob { key: key.clone(), text: blob, spot: spot(node, text)? });
        }
        Ok(())
    };
    found.fault = spots().err();
    found
}

/// What keeps the values of a SealedSecret from being read, or replaced, by themselves.
fn fault(node: &Node) -> Option<Error> {
    let paths: [&[&str]; 7] = [
        &[],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "annotations"],
        &["spec"],
        &["spec", "encryptedData"],
    ];
    let parts: Vec<&Node> = paths.iter().filter_map(|path| node.at(path)).collect();
    let values = parts.iter().flat_map(|part| part.entries()).map(|(_, value)| value);
    let hidden = parts.iter().copied().find(|part| part.is_alias() || part.get("<<").is_some());
    // A value that an alias elsewhere repeats.
    let shared = values.filter(|value| value.word().is_some()).find(|value| value.anchored && !is_of_metadata(node, value));
    let shared = shared.or_else(|| parts.iter().copied().find(|part| part.anchored && !part.entries().is_empty()));
    if let Some(place) = hidden.or(shared) {
        let what = "this SealedSecret uses a YAML anchor, alias or merge key";
        return Some(Error::bad_input(what, "write it out, without `&` and `*`").at(place.position));
    }
    let old = node.at(&["spec", "data"])?;
    let help = "seal the value again, or let kubeseal convert it";
    Some(Error::bad_input("`spec.data`, the format before v0.2, is not supported", help).at(old.position))
}

/// An anchored name is often repeated in the template, and is not replaced.
fn is_of_metadata(node: &Node, value: &Node) -> bool {
    node.get("metadata").is_some_and(|metadata| metadata.entries().iter().any(|(_, one)| one.range.start == value.range.start))
}

/// Where the characters of a scalar are. A backslash is always the first half of an escape or of a line continuation.
fn spot(node: &Node, text: &str) -> Result<Spot> {
    let raw = &text[node.range.clone()];
    let skipped = match raw.bytes().next() {
        Some(b'"' | b'\'') => 1,
        Some(b'|' | b'>') => raw.find('\n').unwrap_or(raw.len()),
        _ => 0,
    };
    let mut wanted = node.word().unwrap_or_default().chars().filter(|c| !c.is_whitespace());
    let mut left = raw[skipped..].char_indices().filter(|(_, c)| !c.is_whitespace() && *c != '\\');
    let mut content: Option<Range<usize>> = None;
    for c in wanted.by_ref() {
        match left.next() {
            Some((at, found)) if found == c => {
                let at = node.range.start + skipped + at;
                content = Some(content.map_or(at, |content| content.start)..at + c.len_utf8());
            }
            _ => return Err(elsewhere(node.position)),
        }
    }
    let content = content.ok_or_else(|| elsewhere(node.position))?;
    Ok(Spot { position: node.position, node: node.range.start, content })
}

fn elsewhere(position: Position) -> Error {
    Error::bad_input("this value cannot be replaced without changing something else", "write it on one line, as plain text or in quotes")
        .at(position)
}

/// The text with these scalars replaced and nothing else changed: neither a byte outside of them, nor the meaning of any
/// other scalar.
pub fn replace(text: &str, mut replacements: Vec<(Spot, String)>) -> Result<String> {
    let (mark, body) = split_mark(text);
    replacements.sort_by_key(|(spot, _)| spot.content.start);
    let mut replaced = String::with_capacity(text.len() + text.len() / 4);
    replaced.push_str(mark);
    let mut done = 0;
    for (spot, new) in &replacements {
        replaced.push_str(&body[done..spot.content.start]);
        replaced.push_str(new);
        done = spot.content.end;
    }
    replaced.push_str(&body[done..]);
    let Some((first, _)) = replacements.first() else { return Ok(replaced) };
    let wanted: BTreeMap<usize, &str> = replacements.iter().map(|(spot, new)| (spot.node, new.as_str())).collect();
    let (before, after) = (yaml::read_foreign(body)?, yaml::read_foreign(&replaced[mark.len()..]).map_err(|_| elsewhere(first.position))?);
    let mut found = 0;
    let same =
        before.len() == after.len() && before.iter().zip(&after).all(|(before, after)| differs_only(before, after, &wanted, &mut found));
    if same && found == replacements.len() { Ok(replaced) } else { Err(elsewhere(first.position)) }
}

/// Whether `after` means the same as `before`, except for these scalars, given by where they began.
fn differs_only(before: &Node, after: &Node, wanted: &BTreeMap<usize, &str>, found: &mut usize) -> bool {
    if let (Some(_), Some(new), Some(text)) = (before.word(), after.word(), wanted.get(&before.range.start)) {
        *found += 1;
        return new.trim_end_matches(['\r', '\n']) == *text && before.anchored == after.anchored;
    }
    let (old, new) = (before.entries(), after.entries());
    if !old.is_empty() {
        return old.len() == new.len()
            && old.iter().zip(new).all(|(old, new)| old.0 == new.0 && differs_only(&old.1, &new.1, wanted, found));
    }
    let (old, new) = (before.items(), after.items());
    if !old.is_empty() {
        return old.len() == new.len() && old.iter().zip(new).all(|(old, new)| differs_only(old, new, wanted, found));
    }
    before.same_as(after)
}
