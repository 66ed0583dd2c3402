//! Adds `property` to ExternalSecrets in their own text. It only adds bytes, and reads the result again and compares it with the original
//! before use.

use std::collections::BTreeSet;
use std::ops::Range;

use super::external_secret::{self, Entry, ExternalSecret, Slot};
use super::foreign;
use super::yaml::{self, Document, Node};
use crate::model::{Error, Name, Result, Sorted, StoreKind};

/// The result for a text.
pub struct Edited {
    /// The new text; none = nothing to do.
    pub text: Option<String>,
    pub added: usize,
    /// The ExternalSecrets that were left unchanged, and why.
    pub refused: Vec<Error>,
}

/// A replacement of some bytes.
type Change = (Range<usize>, String);

/// What an entry should read: none = it is not ours; otherwise the property to add if it has none, if that is certain.
pub type Wanted<'f, 'w> = &'f dyn Fn(&Entry) -> Option<Option<&'w str>>;

/// Adds the property to every `wanted` entry that has none, and changes the store's kind if it differs. It refuses an ExternalSecret whose
/// text is shared with other places, and the whole text if the new one would not read as the old one with these changes.
pub fn add(text: &str, kind: Option<StoreKind>, wanted: Wanted<'_, '_>) -> Edited {
    let (mark, body) = foreign::split_mark(text);
    let before = yaml::documents(body);
    let found = external_secret::find(body, &before);
    let mut edited = Edited { text: None, added: 0, refused: Vec::new() };
    let mut changes: Vec<Change> = Vec::new();
    let mut first = None;
    for secret in found.secrets.iter().filter(|secret| secret.written_out) {
        match changes_of(body, secret, kind, wanted) {
            Ok((added, more)) => {
                first = first.or_else(|| more.first().map(|_| secret.position));
                edited.added += added;
                changes.extend(more);
            }
            Err(error) => edited.refused.push(error),
        }
    }
    let Some(first) = first else { return edited };
    let properties = found.secrets.iter().flat_map(|secret| &secret.entries).filter_map(|entry| wanted(entry)?).sorted();
    let allowed = Allowed { kind, properties };
    match changed(body, &before, changes, |before, after, found| grown(before, after, &allowed, found)) {
        Some(after) => edited.text = Some(format!("{mark}{after}")),
        None => {
            let what = "the property cannot be added here without changing something else";
            edited.refused.push(Error::bad_input(what, "add it by hand in this file").at(first));
            edited.added = 0;
        }
    }
    edited
}

/// Renames keys of the store in every entry and `dataFrom.extract` that reads them; `names` has the old and the new ones. It refuses what
/// it must leave unchanged, as [`add`] does.
pub fn rename(text: &str, names: &[(String, Name)]) -> Edited {
    let (mark, body) = foreign::split_mark(text);
    let before = yaml::documents(body);
    let found = external_secret::find(body, &before);
    let mut edited = Edited { text: None, added: 0, refused: Vec::new() };
    let mut changes: Vec<Change> = Vec::new();
    for secret in &found.secrets {
        let entries = secret.entries.iter().map(|entry| {
            let place = match &entry.slot {
                Slot::Line { value, .. } | Slot::Inline { value } => Some(value.clone()),
                Slot::Shared => None,
            };
            (Some(entry.key.as_str()), place, entry.position)
        });
        let whole = secret.whole.iter().map(|whole| (whole.key.as_deref(), whole.place.clone(), whole.position));
        for (key, place, position) in entries.chain(whole) {
            let Some(new) = key.and_then(|key| new_name(names, key)) else { continue };
            match place.filter(|_| secret.written_out && secret.hidden.is_none()) {
                // The text after a block scalar is not touched.
                Some(place) => changes.push((place.start..place.start + body[place.clone()].trim_end().len(), new.to_owned())),
                None => {
                    let what = "a key here is inside a text, a template or an anchor, and is not renamed";
                    edited.refused.push(Error::bad_input(what, format!("write `{new}` there by hand")).at(position));
                }
            }
        }
    }
    changes.sort_by_key(|(range, _)| range.start);
    changes.dedup();
    if changes.is_empty() {
        return edited;
    }
    let count = changes.len();
    match changed(body, &before, changes, |before, after, found| renamed(before, after, names, found)) {
        Some(after) => (edited.added, edited.text) = (count, Some(format!("{mark}{after}"))),
        None => {
            let what = "a key cannot be renamed here without changing something else";
            edited.refused.push(Error::bad_input(what, "rename it by hand in this file").at((1, 1)));
        }
    }
    edited
}

/// The text with these changes, if it then reads as before except for exactly them, as `alike` finds and counts them. Unreadable documents
/// stay, and JSON stays JSON.
fn changed(body: &str, before: &[Document], mut changes: Vec<Change>, alike: impl Fn(&Node, &Node, &mut usize) -> bool) -> Option<String> {
    changes.sort_by_key(|(range, _)| range.start);
    let after = foreign::spliced(body, changes.iter().map(|(range, new)| (range, new.as_str())))?;
    let mut found = 0;
    let same = foreign::alike(body, before, &after, &yaml::documents(&after), &mut |before, after| alike(before, after, &mut found));
    (same && found == changes.len() && (!is_json(body) || is_json(&after))).then_some(after)
}

fn new_name<'n>(names: &'n [(String, Name)], key: &str) -> Option<&'n str> {
    names.iter().find(|(old, _)| old == key).map(|(_, new)| new.as_str())
}

/// Whether `after` is `before` with some words renamed.
fn renamed(before: &Node, after: &Node, names: &[(String, Name)], found: &mut usize) -> bool {
    if before.same_as(after) {
        return true;
    }
    if let Some(word) = before.word() {
        *found += 1;
        return new_name(names, word).is_some_and(|new| after.word() == Some(new));
    }
    let (old, new) = (before.entries(), after.entries());
    let (items, others) = (before.items(), after.items());
    let alike = |(old, new): (&Node, &Node), found: &mut usize| renamed(old, new, names, found);
    old.len() == new.len()
        && items.len() == others.len()
        && (old.len() + items.len() > 0)
        && old.iter().zip(new).all(|(old, new)| old.0 == new.0 && alike((&old.1, &new.1), found))
        && items.iter().zip(others).all(|(old, new)| alike((old, new), found))
}

/// How many properties one ExternalSecret lacks, and the changes that add them and set the kind of its store.
fn changes_of(text: &str, secret: &ExternalSecret, kind: Option<StoreKind>, wanted: Wanted<'_, '_>) -> Result<(usize, Vec<Change>)> {
    if let Some(position) = secret.hidden {
        let first = secret.entries.iter().find_map(|entry| wanted(entry)?).unwrap_or(crate::model::PROPERTY);
        let help = format!("write it out, or add `property: {first}` by hand");
        let what = "this ExternalSecret uses a YAML alias or merge key, so what it reads cannot be determined";
        return Err(Error::bad_input(what, help).at(position));
    }
    let ours: Vec<&Entry> = secret.entries.iter().filter(|entry| wanted(entry).is_some()).collect();
    let bare = ours.iter().filter(|entry| entry.property.is_none());
    let bare = bare.filter_map(|entry| Some((entry, wanted(entry)??)));
    let mut changes = bare.map(|(entry, property)| insertion(text, entry, property)).collect::<Result<Vec<Change>>>()?;
    let added = changes.len();
    // The kinds of the stores that these entries are read from.
    let shared = ours.iter().any(|entry| !entry.own_store).then_some(&secret.kind);
    let kinds = ours.iter().map(|entry| &entry.own_kind).chain(shared).flatten();
    for (range, found) in kinds {
        if let Some(kind) = kind.filter(|kind| found != kind.as_str()) {
            let quote = text[range.clone()].chars().next().filter(|c| matches!(c, '"' | '\'')).map(String::from).unwrap_or_default();
            changes.push((range.clone(), format!("{quote}{}{quote}", kind.as_str())));
        }
    }
    Ok((added, changes))
}

fn insertion(text: &str, entry: &Entry, property: &str) -> Result<Change> {
    let (at, inserted) = match &entry.slot {
        Slot::Shared => {
            return Err(Error::bad_input(
                format!("`{}` is read through an anchor, an alias or a merge key", entry.key),
                format!("write this `remoteRef` out, or add `property: {property}` by hand if it is right everywhere that it is used"),
            )
            .at(entry.position));
        }
        Slot::Inline { value } => (value.end, inline(text, value, property)),
        Slot::Line { value, indent } => {
            // A block scalar's range may extend past its last line.
            let end = value.start + text[value.clone()].trim_end().len();
            let indent = " ".repeat(*indent);
            match text[end..].find('\n') {
                Some(at) => {
                    let ending = if text[..end + at].ends_with('\r') { "\r\n" } else { "\n" };
                    (end + at + 1, format!("{indent}property: {property}{ending}"))
                }
                // The last line of the text has no line ending, and gets none.
                None => {
                    let ending = if text.contains("\r\n") { "\r\n" } else { "\n" };
                    (text.len(), format!("{ending}{indent}property: {property}"))
                }
            }
        }
    };
    Ok((at..at, inserted))
}

/// The field after `key` in flow style, in its layout: quoted as in JSON, on its own line, without spaces, whichever `key` is.
fn inline(text: &str, value: &Range<usize>, property: &str) -> String {
    let plain = format!(", property: {property}");
    let before = &text[..value.start];
    let Some(named) = before.trim_end().strip_suffix(':') else { return plain };
    let named = named.trim_end();
    let colon = &before[named.len()..];
    // A quoted key may contain escapes.
    let quoted = named.strip_suffix('"').and_then(|open| open.rfind('"'));
    let Some(named) = quoted.map(|at| &named[..at]).or_else(|| named.strip_suffix("key")) else { return plain };
    let space = &named[named.trim_end().len()..];
    let space = match (space.contains('\n'), colon == ":") {
        (true, _) => space,
        (false, true) => "",
        (false, false) => " ",
    };
    match quoted.is_some() {
        true => format!(",{space}\"property\"{colon}\"{property}\""),
        false => format!(",{space}property: {property}"),
    }
}

/// Whether a text is JSON, or several of them.
fn is_json(text: &str) -> bool {
    serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>().all(|value| value.is_ok())
}

/// The changes that are allowed.
struct Allowed<'a> {
    kind: Option<StoreKind>,
    properties: BTreeSet<&'a str>,
}

/// Whether `after` is `before` with one of these properties added to some mappings that have a `key`, and the kind of some stores.
fn grown(before: &Node, after: &Node, allowed: &Allowed<'_>, found: &mut usize) -> bool {
    if before.same_as(after) {
        return true;
    }
    if before.word().is_some() {
        *found += 1;
        return before.word().is_some_and(|word| word.ends_with("SecretStore")) && after.word() == allowed.kind.map(StoreKind::as_str);
    }
    let (old, new) = (before.entries(), after.entries());
    if old.is_empty() {
        let (old, new) = (before.items(), after.items());
        return !old.is_empty() && old.len() == new.len() && old.iter().zip(new).all(|(old, new)| grown(old, new, allowed, found));
    }
    let added = new.len() == old.len() + 1 && before.get("key").is_some() && before.get("property").is_none();
    let rest: Vec<&(String, Node)> = new.iter().filter(|(name, _)| !added || name != "property").collect();
    if added {
        if !after.get("property").and_then(Node::word).is_some_and(|added| allowed.properties.contains(added)) {
            return false;
        }
        *found += 1;
    }
    old.len() == rest.len() && old.iter().zip(rest).all(|(old, new)| old.0 == new.0 && grown(&old.1, &new.1, allowed, found))
}
