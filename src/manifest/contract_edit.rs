//! Adds a Secret to a contract file: its text stays, and the new Secret follows the last one.

use serde_json::{Map, Value, json};

use super::contract_recipes;
use super::yaml::{self, Node};
use crate::model::{Error, Name, Result, meant};

/// A Secret to add.
pub struct Addition {
    pub name: Name,
    pub about: String,
    /// Its type; none = Opaque.
    pub kind: Option<String>,
    /// Data keys, each with its recipe; none = `value`.
    pub values: Vec<(Option<String>, Value)>,
}

/// Parses a typed recipe: `KIND`, `KIND:TEXT`, or `KIND,FIELD=VALUE,…` with `+` between several values.
pub fn recipe(typed: &str) -> Result<Value> {
    let (kind, rest) = typed.find([':', ',']).map_or((typed, ""), |at| typed.split_at(at));
    if !contract_recipes::ALL.contains(&kind) {
        let kinds = contract_recipes::ALL;
        let help =
            meant(kind, kinds.iter().copied(), &format!("use one of {}; `seal-secrets contract recipes` shows each", kinds.join(", ")));
        return Err(Error::usage("the recipe is not a known one", help));
    }
    if let Some(text) = rest.strip_prefix(':') {
        return Ok(json!({ kind: text }));
    }
    let mut fields = defaults(kind);
    for field in rest.split(',').filter(|field| !field.is_empty()) {
        let help = format!("write `{kind},FIELD=VALUE`; `seal-secrets contract recipes` shows each");
        let (name, value) = field.split_once('=').ok_or_else(|| Error::usage("the recipe has a field without a value", help))?;
        fields.insert(name.to_owned(), word(name, value));
    }
    Ok(json!({ kind: fields }))
}

/// The required fields of a recipe that hardly anyone changes.
fn defaults(kind: &str) -> Map<String, Value> {
    let fields = match kind {
        "hex" | "base64" | "base64url" => json!({ "bytes": 32 }),
        "alphanumeric" | "password" => json!({ "length": 32 }),
        "bcrypt" => json!({ "cost": 10 }),
        "tls" => json!({ "days": 365 }),
        _ => json!({}),
    };
    fields.as_object().cloned().unwrap_or_default()
}

fn word(field: &str, value: &str) -> Value {
    let list = matches!(field, "names" | "classes");
    match (value.parse::<u32>(), value) {
        _ if list => value.split('+').collect(),
        (Ok(number), _) => json!(number),
        (_, "true") => json!(true),
        (_, "false") => json!(false),
        (_, text) => json!(text),
    }
}

/// The contract with one more Secret.
pub fn add(text: &str, addition: &Addition) -> Result<String> {
    let root = yaml::read_one(text)?;
    let list = root.get("secrets").or_else(|| root.get("keys")).map_or(&[][..], Node::items);
    let by_hand = || Error::bad_input("its list of Secrets cannot be continued", "add the Secret by hand");
    let last = list.last().ok_or_else(by_hand)?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (line, column) = last.position;
    let before = lines.get(line - 1).and_then(|line| line.get(..column - 1)).ok_or_else(|| by_hand().at(last.position))?;
    // The dash and its indentation.
    let dash = before.trim_end().strip_suffix('-').filter(|indent| indent.trim().is_empty()).ok_or_else(|| by_hand().at(last.position))?;
    let inside = |line: &&str| {
        let rest = line.trim_start_matches(' ');
        let says_nothing = rest.trim().is_empty() || rest.starts_with('#');
        says_nothing || line.len() - rest.len() >= column - 1
    };
    let count = lines[line..].iter().take_while(|line| inside(line)).count();
    let mut end = line + count;
    while end > line && (lines[end - 1].trim().is_empty() || lines[end - 1].trim_start_matches(' ').starts_with('#')) {
        end -= 1;
    }
    let mut new = lines[..end].concat();
    if !new.ends_with('\n') {
        new.push('\n');
    }
    for (i, line) in written(addition).lines().enumerate() {
        new.push_str(&format!("{dash}{}{line}\n", if i == 0 { "- " } else { "  " }));
    }
    Ok(new + &lines[end..].concat())
}

/// A contract of version 1 as an equivalent one of version 2; none if it cannot be converted line by line.
pub fn upgraded(text: &str) -> Option<String> {
    let root = yaml::read_one(text).ok()?;
    let version = root.get("version").filter(|node| node.word() == Some("1"))?.range.clone();
    let named = |line: &&str| line.starts_with("keys:");
    let line = text.split_inclusive('\n').find(named).filter(|_| text.split_inclusive('\n').filter(named).count() == 1)?;
    let mut new = text.to_owned();
    new.replace_range(version, "2");
    Some(new.replacen(line, &line.replacen("keys:", "secrets:", 1), 1))
}

fn written(addition: &Addition) -> String {
    let mut text = yaml::write(&json!({ "name": addition.name.as_str() }));
    text += &yaml::write(&json!({ "about": addition.about }));
    if let Some(kind) = &addition.kind {
        text += &yaml::write(&json!({ "type": kind }));
    }
    match addition.values.as_slice() {
        [(None, recipe)] => text + &yaml::write(&json!({ "recipe": recipe })),
        values => {
            text += "values:\n";
            for (key, recipe) in values {
                let value = yaml::write(&json!({ key.as_deref().unwrap_or(crate::model::PROPERTY): recipe }));
                text.extend(value.lines().map(|line| format!("  {line}\n")));
            }
            text
        }
    }
}
