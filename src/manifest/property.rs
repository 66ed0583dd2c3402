//! Adds `property` to ExternalSecrets in their own text: only bytes are added, and the result is read again and compared
//! with the original before it is used.

use std::ops::Range;

use super::external_secret::{self, Entry, Slot};
use super::yaml::{self, Node};
use crate::model::{Error, PROPERTY, Position, Result, StoreKind};

pub struct Edited {
    pub text: String,
    pub added: usize,
}

/// Adds the property to every `wanted` entry that has none, and changes the store's kind if it is another one; `None` = nothing
/// to do. It is an error, and nothing is edited, if an entry shares its text with other places, or if the new text would not
/// read as the old one with these changes.
pub fn add(text: &str, kind: Option<StoreKind>, wanted: &dyn Fn(&Entry) -> bool) -> Result<Option<Edited>> {
    let mark = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let (mark, body) = text.split_at(mark);
    let before = yaml::read_foreign(body)?;
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut first = None;
    let mut added = 0;
    for secret in external_secret::find(&before, body) {
        if let Some(position) = secret.hidden {
            let help = format!("write it out, or add `property: {PROPERTY}` by hand");
            return Err(Error::bad_input(
                "this ExternalSecret uses a YAML alias or merge key, so what it reads cannot be determined",
                help,
            )
            .at(position));
        }
        let ours: Vec<&Entry> = secret.entries.iter().filter(|entry| wanted(entry)).collect();
        for entry in ours.iter().filter(|entry| entry.property.is_none()) {
            first.get_or_insert(entry.position);
            let (at, text) = insertion(body, entry)?;
            edits.push((at..at, text));
            added += 1;
        }
        // The kinds of the stores that these entries are read from.
        let shared = ours.iter().any(|entry| !entry.own_store).then_some(&secret.kind);
        let kinds = ours.iter().map(|entry| &entry.own_kind).chain(shared).flatten();
        for (range, _) in kinds.filter(|(_, found)| kind.is_some_and(|kind| *found != kind.as_str())) {
            first.get_or_insert(secret.position);
            edits.push((range.clone(), kind.map_or("", StoreKind::as_str).to_owned()));
        }
    }
    let Some(first) = first else { return Ok(None) };
    edits.sort_by_key(|(range, _)| range.start);
    let mut edited = mark.to_owned();
    let mut done = 0;
    for (range, inserted) in &edits {
        edited.push_str(&body[done..range.start]);
        edited.push_str(inserted);
        done = range.end;
    }
    edited.push_str(&body[done..]);
    check(&before, &edited[mark.len()..], kind, edits.len(), first)?;
    Ok(Some(Edited { text: edited, added }))
}

fn insertion(text: &str, entry: &Entry) -> Result<(usize, String)> {
    match &entry.slot {
        Slot::Shared => Err(Error::bad_input(
            format!("`{}` is read through an anchor, an alias or a merge key", entry.key),
            format!("write this `remoteRef` out, or add `property: {PROPERTY}` by hand if it is right everywhere that it is used"),
        )
        .at(entry.position)),
        Slot::Inline { value } => Ok((value.end, format!(", property: {PROPERTY}"))),
        Slot::Line { value, indent } => {
            // A block scalar's range may reach past its last line.
            let end = value.start + text[value.clone()].trim_end().len();
            let indent = " ".repeat(*indent);
            Ok(match text[end..].find('\n') {
                Some(at) => {
                    let ending = if text[..end + at].ends_with('\r') { "\r\n" } else { "\n" };
                    (end + at + 1, format!("{indent}property: {PROPERTY}{ending}"))
                }
                // The last line of the text has no ending, and keeps none.
                None => {
                    let ending = if text.contains("\r\n") { "\r\n" } else { "\n" };
                    (text.len(), format!("{ending}{indent}property: {PROPERTY}"))
                }
            })
        }
    }
}

/// Compares the new text with the old tree: they must differ in exactly this many properties and kinds.
fn check(before: &[Node], text: &str, kind: Option<StoreKind>, changes: usize, place: Position) -> Result<()> {
    let wrong =
        || Error::bad_input("the property cannot be added here without changing something else", "add it by hand in this file").at(place);
    let after = yaml::read_foreign(text).map_err(|_| wrong())?;
    let mut found = 0;
    let same = before.len() == after.len() && before.iter().zip(&after).all(|(before, after)| grown(before, after, kind, &mut found));
    if same && found == changes { Ok(()) } else { Err(wrong()) }
}

/// Whether `after` is `before` with `property: value` added to some mappings that have a `key`, and the kind of some stores.
fn grown(before: &Node, after: &Node, kind: Option<StoreKind>, found: &mut usize) -> bool {
    if before.same_as(after) {
        return true;
    }
    if before.word().is_some() {
        *found += 1;
        return before.word().is_some_and(|word| word.ends_with("SecretStore")) && after.word() == kind.map(StoreKind::as_str);
    }
    let (old, new) = (before.entries(), after.entries());
    if old.is_empty() {
        let (old, new) = (before.items(), after.items());
        return !old.is_empty() && old.len() == new.len() && old.iter().zip(new).all(|(old, new)| grown(old, new, kind, found));
    }
    let added = new.len() == old.len() + 1 && before.get("key").is_some() && before.get("property").is_none();
    let rest: Vec<&(String, Node)> = new.iter().filter(|(name, _)| !added || name != "property").collect();
    if added {
        if after.get("property").and_then(Node::word) != Some(PROPERTY) {
            return false;
        }
        *found += 1;
    }
    old.len() == rest.len() && old.iter().zip(rest).all(|(old, new)| old.0 == new.0 && grown(&old.1, &new.1, kind, found))
}
