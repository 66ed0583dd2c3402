//! Secrets in the clear: the controller's key Secret, and what `unseal` prints. Nothing here is written to a file.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use zeroize::Zeroizing;

use super::kubernetes::{Metadata, Object};
use super::sealed_secret::{Template, strings};
use super::yaml::{self, Fields, Node};
use crate::model::{DataKey, Error, Name, Namespace, Position, Result, SecretValue};

/// The label by which the controller finds its keys; it uses those with the value `active`.
pub const KEY_LABEL: &str = "sealedsecrets.bitnami.com/sealed-secrets-key";
const KEY_SECRET: &str = "sealed-secrets-key";
const ACTIVE: &str = "active";

/// The name of the key Secret of the escrow's n-th key, from 0. The escrow only ever grows, so a key keeps its name.
pub fn key_secret_name(n: usize) -> String {
    if n == 0 { KEY_SECRET.to_owned() } else { format!("{KEY_SECRET}-{}", n + 1) }
}

/// Whether a key Secret has a name that this tool gives; the controller's own have no dash there.
pub fn is_key_secret_name(name: &str) -> bool {
    let number = name.strip_prefix(KEY_SECRET).map(|rest| rest.strip_prefix('-').unwrap_or(if rest.is_empty() { "1" } else { "" }));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// A key Secret's two halves, in PEM.
pub struct KeySecret {
    pub certificate: String,
    pub private_key: Zeroizing<String>,
    /// Whether it has the label that the controller finds it by; a backup may have lost that.
    pub active: bool,
    pub position: Position,
}

/// The key Secrets of a backup: a Secret, several documents, or a List, in YAML or JSON, as
/// `kubectl get secret -l sealedsecrets.bitnami.com/sealed-secrets-key -o yaml` prints them.
pub fn read_key_secrets(text: &str) -> Result<Vec<KeySecret>> {
    each_object(text, read_key_secret)
}

/// Every object of a text; a List counts as its items.
fn each_object<T>(text: &str, read: fn(&Node) -> Result<T>) -> Result<Vec<T>> {
    let mut found = Vec::new();
    for node in yaml::read(text)? {
        let mut fields = node.fields("")?;
        if fields.optional_text("kind")? == Some("List") {
            let items = fields.required("items")?;
            for item in items.list("items")? {
                found.push(read(item)?);
            }
        } else {
            found.push(read(&node)?);
        }
    }
    if found.is_empty() {
        return Err(Error::bad_input("the List has no items", "pass the file with the Secrets"));
    }
    Ok(found)
}

/// The key Secrets of a SecretList, as the API server answers it: its items do not repeat their kind.
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

/// The Secrets of a text: one, several documents, or a List, in YAML or JSON. Anything else is an error.
pub fn read_plain(text: &str) -> Result<Vec<PlainSecret>> {
    each_object(text, read_plain_secret)
}

fn read_plain_secret(node: &Node) -> Result<PlainSecret> {
    let mut fields = node.fields("")?;
    super::sealed_secret::expect_kind(&mut fields, "v1", "Secret")?;
    let mut metadata = fields.required("metadata")?.fields("metadata")?;
    let namespace = metadata.optional("namespace").map(|node| yaml::parsed(node, "metadata.namespace", Namespace::new)).transpose()?;
    let mut secret = PlainSecret { namespace, name: metadata.parsed("name", Name::new)?, values: Vec::new(), position: node.position };
    for field in ["data", "stringData"] {
        let Some(values) = fields.optional(field) else { continue };
        for (name, value) in values.fields(field)?.all() {
            let key = DataKey::new(name).map_err(|error| error.at(value.position))?;
            let text = value.text(&format!("{field}.{key}"))?;
            let whole = text.trim().starts_with("{{") && text.trim().ends_with("}}");
            if yaml::is_template(text) && (field == "data" || whole) {
                return Err(yaml::template(value.position));
            }
            let bytes = if field == "data" { BASE64_STANDARD.decode(text).ok() } else { Some(text.as_bytes().to_vec()) };
            let Some(bytes) = bytes.map(Zeroizing::new) else {
                let help = "export the Secret again with `kubectl get secret -o yaml`";
                return Err(Error::bad_input(format!("`data[{key}]` is not base64"), help).at(value.position));
            };
            if secret.values.iter().any(|(other, _)| *other == key) {
                return Err(twice(&key.to_string(), value.position));
            }
            secret.values.push((key, SecretValue::new(bytes)));
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
    read_key(node, fields)
}

fn read_key(node: &Node, mut fields: Fields<'_>) -> Result<KeySecret> {
    let kind = fields.optional_text("type")?;
    if kind != Some("kubernetes.io/tls") {
        let help = "pass a backup of the controller's key Secrets";
        return Err(Error::bad_input("`type` is not `kubernetes.io/tls`, which a sealing key Secret must have", help).at(node.position));
    }
    let mut metadata = fields.required("metadata")?.fields("metadata")?;
    let labels = strings(metadata.optional("labels"), "metadata.labels")?;
    if labels.get(KEY_LABEL).is_some_and(|value| value != ACTIVE) {
        let help = "set the label to `active` in a copy of the file if you still want to open values with it";
        return Err(Error::bad_input(format!("the label `{KEY_LABEL}` is not `active`: this key is out of use"), help).at(node.position));
    }
    let in_clear = fields.optional("stringData").map(|node| node.fields("stringData")).transpose()?;
    let mut data = fields.required("data")?.fields("data")?;
    let names = data.all();
    let both = in_clear.iter().flat_map(Fields::all).find(|(name, _)| names.iter().any(|(other, _)| other == name));
    if let Some((name, node)) = both {
        return Err(twice(name, node.position));
    }
    Ok(KeySecret {
        certificate: decoded(&mut data, "tls.crt")?.to_string(),
        private_key: decoded(&mut data, "tls.key")?,
        active: labels.contains_key(KEY_LABEL),
        position: node.position,
    })
}

fn decoded(data: &mut Fields<'_>, name: &'static str) -> Result<Zeroizing<String>> {
    let node = data.required(name)?;
    let text = node.text(&data.path(name))?;
    if yaml::is_template(text) {
        return Err(yaml::template(node.position));
    }
    let bytes = BASE64_STANDARD.decode(text).map(Zeroizing::new);
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
    let data = BTreeMap::from([("tls.crt", certificate.as_str()), ("tls.key", private_key.as_str())]);
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
    /// Several as a stream of documents.
    Yaml,
    /// Several as a List.
    Json,
}

/// A Secret that the controller would make of a SealedSecret, as far as its values were sealed.
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
            one.values.iter().map(|(key, value)| (key.as_str(), encode(value))).collect()
        })
        .collect();
    let objects: Vec<Object<Body<'_>>> = opened
        .iter()
        .zip(&encoded)
        .map(|(one, values)| {
            let mut metadata = Metadata::new(&one.name, one.namespace.as_deref());
            metadata.labels = one.template.labels.clone();
            metadata.annotations = one.template.annotations.clone();
            let data = values.iter().map(|(key, text)| (*key, text.as_str())).collect();
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
