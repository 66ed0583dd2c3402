//! Secrets in the clear: the controller's key Secret, and what `unseal` prints. Nothing here writes to a file.

use std::collections::BTreeMap;

use ::base64::Engine;
use ::base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use zeroize::Zeroizing;

use super::base64;
use super::kubernetes::{Metadata, Object};
use super::sealed_secret::{Template, strings};
use super::yaml::{self, Fields, Node};
use crate::model::{DataKey, Error, Name, Namespace, Position, Result, SecretValue, Sorted};

/// The label by which the controller finds its keys; it uses those whose value is `active`.
pub const KEY_LABEL: &str = "sealedsecrets.bitnami.com/sealed-secrets-key";
const KEY_SECRET: &str = "sealed-secrets-key";
const ACTIVE: &str = "active";

/// A value for a person who compares it, to be printed after a colon: as a JSON string, or in base64 if it is no text.
pub fn in_clear(value: &SecretValue) -> Zeroizing<String> {
    let text = std::str::from_utf8(value.expose()).ok().and_then(|text| serde_json::to_string(text).ok().map(Zeroizing::new));
    let shown = text.unwrap_or_else(|| Zeroizing::new(format!("base64 {}", BASE64_STANDARD.encode(value.expose()))));
    Zeroizing::new(format!(": {}", *shown))
}

/// The name of the key Secret of the escrow's n-th key, from 0. The escrow only grows, so a key keeps its name.
pub fn key_secret_name(n: usize) -> String {
    if n == 0 { KEY_SECRET.to_owned() } else { format!("{KEY_SECRET}-{}", n + 1) }
}

/// Whether this tool gives a key Secret such a name; the controller's own have no dash there.
pub fn is_key_secret_name(name: &str) -> bool {
    let number = name.strip_prefix(KEY_SECRET).map(|rest| rest.strip_prefix('-').unwrap_or(if rest.is_empty() { "1" } else { "" }));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// A key Secret's two halves, in PEM.
pub struct KeySecret {
    pub certificate: String,
    pub private_key: Zeroizing<String>,
    /// Whether it has the label that the controller finds it by.
    pub active: bool,
    pub position: Position,
}

/// The key Secrets of a text that this tool wrote, in one document or several.
pub fn read_key_secrets(text: &str) -> Result<Vec<KeySecret>> {
    yaml::read(text)?.iter().map(read_key_secret).collect()
}

/// The key Secrets of a SecretList, as the API server returns it: its items do not repeat their kind.
pub fn read_key_list(text: &str) -> Result<Vec<KeySecret>> {
    let list = yaml::read_one(text)?;
    let mut fields = list.fields("")?;
    fields.required("items")?.list("items")?.iter().map(|item| read_key(item, item.fields("")?)).collect()
}

/// A Secret in the clear, as far as its values matter.
pub struct PlainSecret {
    pub namespace: Option<Namespace>,
    pub name: Name,
    pub values: Vec<(DataKey, SecretValue)>,
    pub position: Position,
}

/// The Secrets of a text that others wrote, in YAML or JSON, including those in a List; and how many other objects it contains.
pub fn read_plain(text: &str) -> Result<(Vec<PlainSecret>, usize)> {
    let apart = apart(text);
    let (documents, mut secrets) = (yaml::read_foreign(apart.as_ref().map_or(text, |apart| apart))?, Vec::new());
    let mut others = 0;
    for document in &documents {
        others += collect(document, &mut secrets)?;
    }
    if secrets.is_empty() {
        let help = "pass a file with Secrets, such as `kubectl get secret -o yaml` prints";
        return Err(Error::bad_input("no Secret of `v1` in it", help));
    }
    Ok((secrets.into_iter().map(read_plain_secret).collect::<Result<_>>()?, others))
}

/// A Secret from a backup of the controller's keys.
pub struct BackupSecret {
    /// Its label says that the controller does not use its key.
    pub out_of_use: bool,
    /// Each data key with its bytes, or why they cannot be read.
    pub values: Vec<(String, Result<Zeroizing<Vec<u8>>>)>,
    pub position: Position,
}

/// The Secrets of a text that others wrote, of any type and label, each as far as it can be read.
pub fn read_backup(text: &str) -> Vec<Result<BackupSecret>> {
    let (apart, mut found) = (apart(text), Vec::new());
    for document in yaml::documents(apart.as_ref().map_or(text, |apart| apart)) {
        let nodes = document.nodes.unwrap_or_else(|error| {
            found.push(Err(error));
            Vec::new()
        });
        let mut secrets = Vec::new();
        for node in &nodes {
            found.extend(collect(node, &mut secrets).err().map(Err));
        }
        found.extend(secrets.into_iter().map(read_backup_secret));
    }
    found
}

fn read_backup_secret(node: &Node) -> Result<BackupSecret> {
    let label = node.at(&["metadata", "labels", KEY_LABEL]).filter(|label| !label.is_absent()).and_then(Node::word);
    let values = entries(node)?.into_iter().map(|(name, node, bytes)| (name.to_owned(), bytes.map_err(|error| error.at(node.position))));
    Ok(BackupSecret { out_of_use: label.is_some_and(|label| label != ACTIVE), values: values.collect(), position: node.position })
}

/// Consecutive JSON values, as `jq` prints them, as documents; none if the text is something else.
fn apart(text: &str) -> Option<Zeroizing<String>> {
    const BETWEEN: &str = "}\n{";
    let more = text.matches(BETWEEN).count();
    let values = (text.trim_start().starts_with('{') && more > 0).then(|| text.split(BETWEEN).enumerate())?;
    // A text that grows leaves copies of secrets behind.
    let mut apart = Zeroizing::new(String::with_capacity(text.len() + more * "--- ".len()));
    for (i, value) in values {
        apart.push_str(if i == 0 { "" } else { "}\n--- {" });
        apart.push_str(value);
    }
    Some(apart)
}

/// A field of a document that others wrote; `null` counts as absent, as in Kubernetes.
fn part<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    node.get(name).filter(|part| !part.is_absent())
}

/// Adds the Secrets of a document; returns the number of its other objects.
fn collect<'n>(node: &'n Node, secrets: &mut Vec<&'n Node>) -> Result<usize> {
    let word = |name| part(node, name).and_then(Node::word);
    let items = part(node, "items").map(Node::items).unwrap_or_default();
    let kind = word("kind").filter(|kind| *kind != "Secret" || matches!(word("apiVersion"), None | Some("v1")));
    if let Some(sops) = part(node, "sops").filter(|_| matches!(kind, Some("Secret" | "SecretList" | "List"))) {
        let help = "decrypt it into a pipe, never into a file: pass `<(sops -d FILE)` in its place";
        return Err(Error::bad_input("still encrypted with sops", help).at(sops.position));
    }
    match kind {
        None if !node.items().is_empty() => return node.items().iter().map(|item| collect(item, secrets)).sum(),
        Some("Secret") => secrets.push(node),
        Some("SecretList") => secrets.extend(items),
        Some("List") => return items.iter().map(|item| collect(item, secrets)).sum(),
        _ => return Ok(1),
    }
    Ok(0)
}

/// A data key, its node, and its bytes, or why they cannot be read.
type Entry<'n> = (&'n str, &'n Node, Result<Zeroizing<Vec<u8>>>);

/// The entries of a Secret's `data` and `stringData`.
fn entries(secret: &Node) -> Result<Vec<Entry<'_>>> {
    let mut found = Vec::new();
    for field in ["data", "stringData"] {
        let Some(values) = part(secret, field) else { continue };
        let values = values.fields(field)?.all().iter().filter(|(_, value)| !value.is_absent());
        found.extend(
            values.map(|(name, value)| (name.as_str(), value, bytes(field, name, value).map_err(|error| error.at(value.position)))),
        );
    }
    Ok(found)
}

fn bytes(field: &str, name: &str, value: &Node) -> Result<Zeroizing<Vec<u8>>> {
    if value.is_alias() || value.tagged {
        return Err(Error::bad_input("aliases (`*name`) and tags (`!name`) are not supported here", "write the value out"));
    }
    // Two braces without quotes are a mapping whose first field is one.
    if value.entries().iter().any(|(field, _)| field.is_empty()) {
        return Err(yaml::template(value.position));
    }
    let key = DataKey::new(name)?;
    let text = value.text(&format!("{field}.{key}"))?;
    let whole = text.trim().starts_with("{{") && text.trim().ends_with("}}");
    if yaml::is_template(text) && (field == "data" || whole) {
        return Err(yaml::template(value.position));
    }
    if field == "stringData" {
        return Ok(Zeroizing::new(text.as_bytes().to_vec()));
    }
    base64::decode(text).map_err(|error| Error::bad_input(format!("`data[{key}]`: {}", error.what()), error.help()))
}

fn read_plain_secret(node: &Node) -> Result<PlainSecret> {
    let mut fields = node.fields("")?;
    let metadata = fields.required("metadata")?;
    let namespace = part(metadata, "namespace").map(|node| yaml::parsed(node, "metadata.namespace", Namespace::new)).transpose()?;
    let name = metadata.fields("metadata")?.parsed("name", Name::new)?;
    let mut secret = PlainSecret { namespace, name, values: Vec::new(), position: node.position };
    for (name, node, bytes) in entries(node)? {
        let value = SecretValue::new(bytes?);
        let key = DataKey::new(name).map_err(|error| error.at(node.position))?;
        match secret.values.iter().find(|(other, _)| *other == key) {
            Some((_, other)) if other.same_as(&value) => {}
            Some(_) => return Err(twice(&key.to_string(), node.position)),
            None => secret.values.push((key, value)),
        }
    }
    Ok(secret)
}

fn twice(name: &str, position: Position) -> Error {
    Error::bad_input(format!("`{name}` is in both `data` and `stringData`"), "keep one of the two").at(position)
}

fn read_key_secret(node: &Node) -> Result<KeySecret> {
    let mut fields = node.fields("")?;
    super::sealed_secret::expect_kind(&mut fields, "v1", "Secret")?;
    if fields.optional_text("type")? != Some("kubernetes.io/tls") {
        let help = "restore it from the escrow: `seal-secrets key-secret`";
        return Err(Error::bad_input("`type` is not `kubernetes.io/tls`, which a sealing key Secret must have", help).at(node.position));
    }
    read_key(node, fields)
}

fn read_key(node: &Node, mut fields: Fields<'_>) -> Result<KeySecret> {
    let mut metadata = fields.required("metadata")?.fields("metadata")?;
    let labels = strings(metadata.optional("labels"), "metadata.labels")?;
    let mut data = fields.required("data")?.fields("data")?;
    Ok(KeySecret {
        certificate: decoded(&mut data, "tls.crt")?.to_string(),
        private_key: decoded(&mut data, "tls.key")?,
        active: labels.get(KEY_LABEL).is_some_and(|value| value == ACTIVE),
        position: node.position,
    })
}

fn decoded(data: &mut Fields<'_>, name: &'static str) -> Result<Zeroizing<String>> {
    let node = data.required(name)?;
    let bytes = base64::decode(node.text(&data.path(name))?);
    let text = bytes.ok().and_then(|bytes| std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned())));
    text.ok_or_else(|| {
        Error::bad_input(format!("`data[{name}]` is not base64 of a PEM text"), "make the backup again with `kubectl get secret -o yaml`")
            .at(node.position)
    })
}

/// A key Secret of the controller as YAML: apply it before the controller starts.
pub fn write_key_secret(namespace: &str, name: &str, certificate: &str, private_key: &str) -> Zeroizing<String> {
    let mut metadata = Metadata::new(name, Some(namespace));
    metadata.labels.insert(KEY_LABEL.to_owned(), ACTIVE.to_owned());
    let encode = |text: &str| Zeroizing::new(BASE64_STANDARD.encode(text));
    let (certificate, private_key) = (encode(certificate), encode(private_key));
    let data = [("tls.crt", certificate.as_str()), ("tls.key", private_key.as_str())].into_iter().sorted();
    Zeroizing::new(yaml::write(&secret(metadata, "kubernetes.io/tls", false, data)))
}

#[derive(Serialize)]
struct Body<'s> {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    immutable: bool,
    data: BTreeMap<&'s str, &'s str>,
    #[serde(rename = "type")]
    kind: &'s str,
}

fn secret<'s>(metadata: Metadata, kind: &'s str, immutable: bool, data: BTreeMap<&'s str, &'s str>) -> Object<Body<'s>> {
    Object { api_version: "v1", kind: "Secret", metadata: Some(metadata), rest: Body { immutable, data, kind } }
}

/// How `unseal` prints Secrets: kubectl's `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Several Secrets as a stream of documents.
    Yaml,
    /// Several Secrets as a List.
    Json,
}

/// The Secret that the controller would make from a SealedSecret, as far as its values were sealed.
pub struct Unsealed {
    pub name: String,
    pub namespace: Option<String>,
    pub template: Template,
    /// In the order of its data keys.
    pub values: Vec<(String, SecretValue)>,
}

/// The manifests of Secrets.
pub fn write_secrets(opened: &[Unsealed], format: Format) -> Zeroizing<String> {
    let encoded: Vec<Vec<(&str, Zeroizing<String>)>> = opened
        .iter()
        .map(|one| {
            let encode = |value: &SecretValue| Zeroizing::new(BASE64_STANDARD.encode(value.expose()));
            one.values.iter().map(|(key, value)| (key.as_str(), encode(value))).sorted()
        })
        .collect();
    let objects: Vec<Object<Body<'_>>> = opened
        .iter()
        .zip(&encoded)
        .map(|(one, values)| {
            let mut metadata = Metadata::new(&one.name, one.namespace.as_deref());
            metadata.labels = one.template.labels.clone();
            metadata.annotations = one.template.annotations.clone();
            let data = values.iter().map(|(key, text)| (*key, text.as_str())).sorted();
            let kind = one.template.kind.as_deref().unwrap_or("Opaque");
            secret(metadata, kind, one.template.immutable, data)
        })
        .collect();
    Zeroizing::new(match (format, objects.as_slice()) {
        (Format::Yaml, objects) => yaml::write_all(objects),
        (Format::Json, [object]) => json(object),
        (Format::Json, objects) => json(&serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects })),
    })
}

fn json<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("strings, lists and mappings can be written");
    text.push('\n');
    text
}

/// The documents of kind Secret that hold data in the clear, well-formed or not: such a file must not be committed.
pub fn find_plaintext(text: &str) -> Result<Vec<(Option<Name>, Position)>> {
    let mut found = Vec::new();
    for node in yaml::read(text)? {
        let Ok(mut fields) = node.fields("") else { continue };
        let is_secret = fields.optional("kind").is_some_and(|kind| kind.text("kind") == Ok("Secret"));
        if is_secret && (fields.optional("data").is_some() || fields.optional("stringData").is_some()) {
            let metadata = fields.optional("metadata").and_then(|node| node.fields("metadata").ok());
            let name = metadata.and_then(|mut metadata| metadata.parsed("name", Name::new).ok());
            found.push((name, node.position));
        }
    }
    Ok(found)
}
