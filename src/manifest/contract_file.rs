//! The contract file: YAML to a valid `Contract`, or one error with its place.

use std::collections::BTreeMap;

use serde_json::json;

use super::yaml::{self, Fields, Node, parsed};
use crate::model::{
    Consumer, Contract, DataKey, Entry, Error, Key, KnownKeys, Name, Namespace, Reader, Recipe, Result, Terms, When, meant, visible,
};

/// The platform's contract, as shipped.
pub const EMBEDDED: &str = include_str!("../contract.yaml");

/// The least entropy that a generated value may have, in bits.
const LEAST_BITS: u32 = 128;

/// Reads a contract; `file` is how errors and findings name its file.
pub fn read(file: &str, text: &str) -> Result<Contract> {
    read_contract(file, text).map_err(|error| error.in_file(file))
}

fn read_contract(file: &str, text: &str) -> Result<Contract> {
    let root = yaml::read_one(text)?;
    let mut fields = root.fields("")?;
    let version = fields.required("version")?;
    version.number("version", 1..=1)?;
    let mut reader = fields.required("reader")?.fields("reader")?;
    let terms = Terms {
        file: file.to_owned(),
        store: fields.parsed("store", Name::new)?,
        namespace: fields.parsed("namespace", Namespace::new)?,
        reader: Reader { name: reader.parsed("name", Name::new)?, namespace: reader.parsed("namespace", Namespace::new)? },
        ignored: read_ignored(fields.optional("ignored"))?,
        keys: read_keys(fields.required("keys")?)?,
        consumers: Vec::new(),
    };
    reader.finish()?;
    let consumers = fields.optional("consumers");
    fields.finish()?;
    let contract = Contract::new(terms)?;
    let consumers = consumers.map_or(Ok(Vec::new()), |node| read_consumers(node, &contract))?;
    contract.with_consumers(consumers)
}

fn read_ignored(node: Option<&Node>) -> Result<Vec<String>> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let line = |(i, node): (usize, &Node)| Ok(node.text(&format!("ignored[{i}]"))?.to_owned());
    node.list("ignored")?.iter().enumerate().map(line).collect()
}

fn read_keys(node: &Node) -> Result<Vec<Key>> {
    let nodes = node.list("keys")?;
    if nodes.is_empty() {
        return Err(Error::bad_input("`keys` is empty", "add at least one key").at(node.position));
    }
    let mut keys = nodes.iter().enumerate().map(|(i, node)| read_key(node, &format!("keys[{i}]"))).collect::<Result<Vec<_>>>()?;
    // A hash without a unit of its own lives in its source's.
    let units: BTreeMap<Name, Name> = keys.iter().map(|key| (key.name.clone(), key.unit.clone())).collect();
    for (key, node) in keys.iter_mut().zip(nodes) {
        if let Recipe::Bcrypt { of, .. } = &key.recipe
            && let Some(unit) = units.get(of).filter(|_| node.get("unit").is_none())
        {
            key.unit = unit.clone();
        }
    }
    Ok(keys)
}

fn read_key(node: &Node, path: &str) -> Result<Key> {
    let mut fields = node.fields(path)?;
    let name = fields.parsed("name", Name::new)?;
    let unit = match fields.optional("unit") {
        Some(node) => Some(parsed(node, &fields.path("unit"), Name::new)?),
        None => None,
    };
    let when = match fields.optional("when") {
        Some(node) => Some(parsed(node, &fields.path("when"), read_when)?),
        None => None,
    };
    let recipe = fields.required("recipe")?;
    let key = Key {
        about: visible(fields.text_or("about", "add `about:`, one line that says what the key is for")?),
        recipe: read_recipe(recipe, &fields.path("recipe"))?,
        when,
        needed: true,
        write_once: fields.flag("write-once")?,
        operator_copy: fields.flag("operator-copy")?,
        unit: unit.unwrap_or_else(|| name.clone()),
        after_rotation: fields.optional_text("after-rotation")?.map(visible),
        position: Some(node.position),
        name,
    };
    fields.finish()?;
    Ok(key)
}

/// One condition, or several joined by ` and `; each is `path` or `path = word`.
fn read_when(text: &str) -> Result<When> {
    let legal = |path: &str| {
        !path.is_empty()
            && path.split('.').all(|step| !step.is_empty() && step.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
    };
    let mut conditions = Vec::new();
    for condition in text.split(" and ") {
        let (path, word) = match condition.split_once('=') {
            Some((path, word)) => (path.trim(), Some(word.trim())),
            None => (condition.trim(), None),
        };
        if !legal(path) || word.is_some_and(|word| !legal(word)) {
            return Err(Error::bad_input("not a condition", "write `features.NAME`, `path = word`, or several of them joined by ` and `"));
        }
        conditions.push((path.to_owned(), word.map(str::to_owned)));
    }
    Ok(When { conditions, text: text.to_owned() })
}

fn read_recipe(node: &Node, path: &str) -> Result<Recipe> {
    const KINDS: [&str; 5] = ["hex", "base64url", "alphanumeric", "bcrypt", "provided"];
    let [(kind, body)] = node.fields(path)?.all() else {
        let help = format!("write one of {}", KINDS.join(", "));
        return Err(Error::bad_input(format!("`{path}` should have exactly one field, the recipe's kind"), help).at(node.position));
    };
    let path = format!("{path}.{kind}");
    let mut fields = body.fields(&path)?;
    let recipe = match kind.as_str() {
        "hex" => {
            let bytes = number(&mut fields, "bytes", 1, 512)?;
            enough(8 * bytes, body, &path)?;
            Recipe::Hex { bytes: bytes as usize, prefix: read_prefix(&mut fields)? }
        }
        "base64url" => {
            let bytes = number(&mut fields, "bytes", 1, 512)?;
            enough(8 * bytes, body, &path)?;
            Recipe::Base64Url { bytes: bytes as usize }
        }
        "alphanumeric" => {
            let length = number(&mut fields, "length", 1, 1024)?;
            enough((f64::from(length) * 62f64.log2()) as u32, body, &path)?;
            Recipe::Alphanumeric { length: length as usize }
        }
        "bcrypt" => Recipe::Bcrypt { of: fields.parsed("of", Name::new)?, cost: number(&mut fields, "cost", 10, 16)? },
        "provided" => Recipe::Provided {
            pattern: match fields.optional("pattern") {
                Some(node) => Some(parsed(node, &format!("{path}.pattern"), read_pattern)?),
                None => None,
            },
            hint: fields.optional_text("hint")?.map(visible),
        },
        other => {
            let help = meant(other, KINDS, &format!("use one of {}", KINDS.join(", ")));
            return Err(Error::bad_input(format!("unknown recipe `{path}`"), help).at(body.position));
        }
    };
    fields.finish()?;
    Ok(recipe)
}

fn number(fields: &mut Fields<'_>, field: &'static str, least: u32, most: u32) -> Result<u32> {
    let path = fields.path(field);
    fields.required(field)?.number(&path, least..=most)
}

fn read_prefix(fields: &mut Fields<'_>) -> Result<String> {
    let Some(node) = fields.optional("prefix") else { return Ok(String::new()) };
    let prefix = |text: &str| {
        let legal = text.len() <= 32 && text.bytes().all(|b| b.is_ascii_graphic());
        legal.then(|| text.to_owned()).ok_or_else(|| Error::bad_input("not a prefix", "use at most 32 visible ASCII characters"))
    };
    parsed(node, &fields.path("prefix"), prefix)
}

/// A pattern that the whole value must match; a value is bytes, not text.
fn read_pattern(text: &str) -> Result<regex::bytes::Regex> {
    regex::bytes::RegexBuilder::new(&format!("^(?:{text})$"))
        .size_limit(1 << 20)
        .build()
        .map_err(|_| Error::bad_input("not a regular expression", "see https://docs.rs/regex for its syntax; it has no look-around"))
}

fn enough(bits: u32, node: &Node, path: &str) -> Result<()> {
    if bits >= LEAST_BITS {
        return Ok(());
    }
    let help = format!("make it at least {LEAST_BITS} bits: 16 bytes, or 22 characters");
    Err(Error::bad_input(format!("`{path}` makes a value of {bits} bits, which can be guessed"), help).at(node.position))
}

fn read_consumers(node: &Node, contract: &Contract) -> Result<Vec<Consumer>> {
    let known = contract.known_keys();
    let mut seen = BTreeMap::new();
    let mut consumers = Vec::new();
    for (i, node) in node.list("consumers")?.iter().enumerate() {
        let consumer = read_consumer(node, &format!("consumers[{i}]"), &known)?;
        if let Some(name) = &consumer.name
            && let Some(line) = seen.insert((consumer.namespace.clone(), name.clone()), node.position.0)
        {
            let help = "keep one of the two";
            return Err(Error::bad_input(
                format!("the ExternalSecret `{name}` of namespace `{}` appears twice, first on line {line}", consumer.namespace),
                help,
            )
            .at(node.position));
        }
        consumers.push(consumer);
    }
    Ok(consumers)
}

fn read_consumer(node: &Node, path: &str, known: &KnownKeys<'_>) -> Result<Consumer> {
    let mut fields = node.fields(path)?;
    let name = match fields.optional("name") {
        Some(node) => Some(parsed(node, &fields.path("name"), Name::new)?),
        None => None,
    };
    let data = fields.required("data")?;
    let mut entries = Vec::new();
    for (i, node) in data.list(&fields.path("data"))?.iter().enumerate() {
        let mut fields = node.fields(&format!("{path}.data[{i}]"))?;
        let entry = Entry {
            index: i,
            secret_key: fields.parsed("secretKey", DataKey::new)?,
            key: fields.parsed("key", Name::new)?,
            own_store: false,
        };
        fields.finish()?;
        known.check(&format!("`{path}`"), &entry.key).map_err(|error| error.at(node.position))?;
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err(Error::bad_input(format!("`{path}.data` is empty"), "list what it reads, or remove it").at(data.position));
    }
    let consumer = Consumer {
        namespace: fields.parsed("namespace", Namespace::new)?,
        target: fields.parsed("target", Name::new)?,
        patchable: name.is_some(),
        name,
        entries,
    };
    fields.finish()?;
    Ok(consumer)
}

/// A contract as text, with a comment above each key that has one.
pub fn write(contract: &Contract, comments: &BTreeMap<Name, String>) -> String {
    let head = json!({
        "version": 1, "store": contract.store.as_str(), "namespace": contract.namespace.as_str(),
        "reader": { "name": contract.reader.name.as_str(), "namespace": contract.reader.namespace.as_str() },
        "ignored": contract.ignored,
    });
    let mut text = yaml::write(&head);
    text.push_str("keys:\n");
    for key in &contract.keys {
        if let Some(comment) = comments.get(&key.name) {
            text.push_str(&format!("  # {}\n", visible(comment)));
        }
        text.push_str(&indented(&yaml::write(&[key_value(key)])));
    }
    let consumers: Vec<serde_json::Value> = contract.consumers.iter().map(consumer_value).collect();
    text + "consumers:\n" + &indented(&yaml::write(&consumers))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn key_value(key: &Key) -> serde_json::Value {
    let mut value = json!({ "name": key.name.as_str(), "about": key.about, "recipe": recipe_value(&key.recipe) });
    let mut set = |field: &str, wanted: Option<serde_json::Value>| {
        if let Some(wanted) = wanted {
            value[field] = wanted;
        }
    };
    set("when", key.when.as_ref().map(|when| json!(when.text)));
    set("write-once", key.write_once.then_some(json!(true)));
    set("operator-copy", key.operator_copy.then_some(json!(true)));
    let unit_is_its_own = key.unit != key.name && !matches!(key.recipe, Recipe::Bcrypt { .. });
    set("unit", unit_is_its_own.then(|| json!(key.unit.as_str())));
    set("after-rotation", key.after_rotation.as_ref().map(|text| json!(text)));
    value
}

fn recipe_value(recipe: &Recipe) -> serde_json::Value {
    match recipe {
        Recipe::Hex { bytes, prefix } if prefix.is_empty() => json!({ "hex": { "bytes": bytes } }),
        Recipe::Hex { bytes, prefix } => json!({ "hex": { "bytes": bytes, "prefix": prefix } }),
        Recipe::Base64Url { bytes } => json!({ "base64url": { "bytes": bytes } }),
        Recipe::Alphanumeric { length } => json!({ "alphanumeric": { "length": length } }),
        Recipe::Bcrypt { of, cost } => json!({ "bcrypt": { "of": of.as_str(), "cost": cost } }),
        Recipe::Provided { pattern, hint } => {
            let mut fields = serde_json::Map::new();
            // As `read_pattern` found it.
            let bare = |pattern: &regex::bytes::Regex| pattern.as_str().trim_start_matches("^(?:").trim_end_matches(")$").to_owned();
            fields.extend(pattern.as_ref().map(|pattern| ("pattern".to_owned(), json!(bare(pattern)))));
            fields.extend(hint.as_ref().map(|hint| ("hint".to_owned(), json!(hint))));
            json!({ "provided": fields })
        }
    }
}

fn consumer_value(consumer: &Consumer) -> serde_json::Value {
    let entry = |entry: &Entry| json!({ "secretKey": entry.secret_key.as_str(), "key": entry.key.as_str() });
    let data: Vec<serde_json::Value> = consumer.entries.iter().map(entry).collect();
    let mut value = json!({ "namespace": consumer.namespace.as_str(), "target": consumer.target.as_str(), "data": data });
    if let Some(name) = &consumer.name {
        value["name"] = json!(name.as_str());
    }
    value
}
