//! The SealedSecret: `bitnami.com/v1alpha1`, as sealed-secrets v0.36–v0.38 reads and writes it.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use super::kubernetes::{Metadata, Object};
use super::template as rendered;
use super::yaml::{self, Fields, Node};
use crate::model::{CertificateDigest, DataKey, Error, Form, Name, Namespace, Position, Result, Scope, Sorted, Text};

/// The annotation with the certificate that it is sealed to: the format has no key id.
pub const CERTIFICATE: &str = "seal-secrets/certificate";

/// Marks a write-once value in its own file, so that the mark is not lost if the contract drops or changes its key. Its text describes the
/// recipe.
pub const WRITE_ONCE: &str = "seal-secrets/write-once";

/// Marks imported values, which need not match their recipes: `true`, or the data keys if only some were imported.
pub const IMPORTED: &str = "seal-secrets/imported";

/// The day on which the values were first sealed, `YYYY-MM-DD`; if they differ, `KEY=YYYY-MM-DD` for each whose day is known. Absent if
/// unknown, because the value was imported.
pub const SEALED_ON: &str = "seal-secrets/made";

/// etcd's limit for a request (`--max-request-bytes`).
const MOST_OBJECT_BYTES: usize = 1536 * 1024;

/// On the SealedSecret itself: its scope is its namespace.
pub const NAMESPACE_WIDE: &str = "sealedsecrets.bitnami.com/namespace-wide";
/// On the SealedSecret itself: its scope is the cluster.
pub const CLUSTER_WIDE: &str = "sealedsecrets.bitnami.com/cluster-wide";

pub struct SealedSecret {
    pub name: Name,
    pub namespace: Option<Namespace>,
    /// From the scope annotations; having both, or one only in the template, is an error.
    pub scope: Scope,
    pub certificate: Option<CertificateDigest>,
    /// From [`WRITE_ONCE`]: the recipe's description.
    pub write_once: Option<String>,
    /// `spec.encryptedData`, in its order.
    pub encrypted: Vec<Encrypted>,
    /// What the unsealed Secret has besides its data.
    pub template: Template,
    pub position: Position,
}

#[derive(Clone)]
pub struct Encrypted {
    pub key: DataKey,
    pub blob: String,
    /// From [`SEALED_ON`]; none if that is not a day.
    pub sealed_on: Option<String>,
    /// From [`IMPORTED`].
    pub imported: bool,
    pub position: Position,
}

impl SealedSecret {
    /// The sealed value under a data key.
    pub fn value(&self, property: &str) -> Option<&Encrypted> {
        self.encrypted.iter().find(|one| one.key.as_str() == property)
    }
}

/// `spec.template`, as far as `unseal` can follow it.
#[derive(Clone, Default)]
pub struct Template {
    pub kind: Option<String>,
    pub immutable: bool,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// The texts that the controller renders besides the values, if they have a form of ours.
    pub texts: BTreeMap<DataKey, Text>,
    /// Whether the controller renders more data from it.
    pub renders: bool,
    /// Whether an alias or a merge key hides a part of it.
    pub hidden: bool,
}

/// The template of a SealedSecret that others wrote.
pub fn template(node: Option<&Node>) -> Template {
    let at = |path: &[&str]| node.and_then(|node| node.at(path));
    let strings = |path: &[&str]| {
        let entries = at(path).map(Node::entries).unwrap_or_default().iter();
        entries.filter_map(|(name, value)| Some((name.clone(), value.word()?.to_owned()))).sorted()
    };
    let data = at(&["data"]).map(Node::entries).unwrap_or_default();
    let text = |(key, value): &(String, Node)| Some((DataKey::new(key).ok()?, rendered::read(value.word()?)?));
    let texts: BTreeMap<DataKey, Text> = data.iter().filter_map(text).sorted();
    Template {
        renders: texts.len() < data.len(),
        texts,
        kind: at(&["type"]).and_then(Node::word).filter(|kind| !kind.is_empty()).map(str::to_owned),
        immutable: at(&["immutable"]).and_then(Node::word) == Some("true"),
        labels: strings(&["metadata", "labels"]),
        annotations: strings(&["metadata", "annotations"]),
        hidden: node.is_some_and(hides),
    }
}

fn hides(node: &Node) -> bool {
    node.is_alias() || node.get("<<").is_some() || node.entries().iter().any(|(_, value)| hides(value))
}

/// Every SealedSecret of a file; any other document is an error.
pub fn read(text: &str) -> Result<Vec<SealedSecret>> {
    let secrets: Vec<SealedSecret> = yaml::read(text)?.iter().map(read_node).collect::<Result<_>>()?;
    let mut lines = HashMap::new();
    for secret in &secrets {
        if let Some(line) = lines.insert((&secret.namespace, &secret.name), secret.position.0) {
            let help = "keep one of the two; `git log -p` shows which came later";
            return Err(Error::bad_input(format!("`{}` appears twice, first on line {line}", secret.name), help).at(secret.position));
        }
    }
    Ok(secrets)
}

fn read_node(node: &Node) -> Result<SealedSecret> {
    let mut fields = node.fields("")?;
    expect_kind(&mut fields, "bitnami.com/v1alpha1", "SealedSecret")?;
    let mut metadata = fields.required("metadata")?.fields("metadata")?;
    let name = metadata.parsed("name", Name::new)?;
    let namespace = match metadata.optional("namespace") {
        Some(node) => Some(yaml::parsed(node, "metadata.namespace", Namespace::new)?),
        None => None,
    };
    let annotations = strings(metadata.optional("annotations"), "metadata.annotations")?;
    let mut spec = fields.required("spec")?.fields("spec")?;
    if let Some(data) = spec.optional("data") {
        let help = "seal the value again, or let kubeseal convert it";
        return Err(Error::bad_input("`spec.data`, the format before v0.2, is not supported", help).at(data.position));
    }
    let encrypted = read_encrypted(spec.required("encryptedData")?, &annotations)?;
    if encrypted.iter().map(|one| one.blob.len()).sum::<usize>() > MOST_OBJECT_BYTES {
        return Err(Error::bad_input("larger than 1.5 MiB, the limit for an object in a cluster", "check where this file comes from")
            .at(node.position));
    }
    let template = spec.optional("template").map(read_template).transpose()?.unwrap_or_default();
    spec.finish()?;
    fields.optional("status");
    fields.finish()?;
    let scope = read_scope(&annotations, &template).map_err(|error| error.at(node.position))?;
    if scope == Scope::Strict && namespace.is_none() {
        let help = "add the namespace that it was sealed for";
        return Err(Error::bad_input("`metadata.namespace` is missing, and the scope is strict", help).at(metadata.position));
    }
    let certificate = match annotations.get(CERTIFICATE) {
        Some(text) => Some(CertificateDigest::parse(text).map_err(|error| error.at(node.position))?),
        None => None,
    };
    Ok(SealedSecret {
        name,
        namespace,
        scope,
        certificate,
        write_once: annotations.get(WRITE_ONCE).cloned(),
        encrypted,
        template,
        position: node.position,
    })
}

/// The day on which the value of a data key was first sealed.
fn sealed_on(annotations: &BTreeMap<String, String>, key: &str) -> Option<String> {
    let text = annotations.get(SEALED_ON)?;
    let of_key = || text.split(' ').find_map(|one| one.split_once('=').filter(|(name, _)| *name == key).map(|(_, day)| day));
    Some(text.as_str()).filter(|text| is_day(text)).or_else(of_key).filter(|text| is_day(text)).map(str::to_owned)
}

/// Whether the value of a data key was imported.
fn is_imported(annotations: &BTreeMap<String, String>, key: &str) -> bool {
    annotations.get(IMPORTED).is_some_and(|text| text == "true" || text.split(' ').any(|name| name == key))
}

fn is_day(text: &str) -> bool {
    let form = b"0000-00-00";
    text.len() == form.len() && text.bytes().zip(form).all(|(b, form)| if *form == b'-' { b == b'-' } else { b.is_ascii_digit() })
}

/// An error unless `apiVersion` and `kind` are these.
pub(super) fn expect_kind(fields: &mut Fields<'_>, api_version: &'static str, kind: &'static str) -> Result<()> {
    let position = fields.position;
    let found = (fields.optional_text("apiVersion")?, fields.optional_text("kind")?);
    if found == (Some(api_version), Some(kind)) {
        return Ok(());
    }
    Err(Error::bad_input(format!("not a {kind} of `{api_version}`"), format!("pass a file that holds only documents of kind {kind}"))
        .at(position))
}

/// A mapping of strings, such as labels or annotations; absent is empty.
pub(super) fn strings(node: Option<&Node>, path: &str) -> Result<BTreeMap<String, String>> {
    let Some(node) = node else {
        return Ok(BTreeMap::new());
    };
    let text = |(name, node): &(String, Node)| {
        let text = node.text(&format!("{path}.{name}"))?;
        Ok((name.clone(), text.to_owned()))
    };
    Ok(node.fields(path)?.all().iter().map(text).collect::<Result<Vec<_>>>()?.into_iter().sorted())
}

fn read_encrypted(node: &Node, annotations: &BTreeMap<String, String>) -> Result<Vec<Encrypted>> {
    let fields = node.fields("spec.encryptedData")?;
    if fields.all().is_empty() {
        return Err(Error::bad_input("`spec.encryptedData` is empty", "restore it from git").at(node.position));
    }
    let entry = |(name, node): &(String, Node)| {
        let key = DataKey::new(name)
            .map_err(|error| Error::bad_input(format!("`{name}` is {}", error.what()), error.help()).at(node.position))?;
        let blob = node.text(&format!("spec.encryptedData.{name}"))?;
        if yaml::is_template(blob) {
            return Err(yaml::template(node.position));
        }
        if !has_blob_prefix(blob) {
            let help = "a sealed value begins with `AgA` to `AgD` (RSA-4096); if this is a secret in the clear, treat it as exposed: replace it, and remove it from git";
            return Err(
                Error::refused(format!("`spec.encryptedData.{name}` is not a sealed value: it may be plaintext"), help).at(node.position)
            );
        }
        let (sealed_on, imported) = (sealed_on(annotations, name), is_imported(annotations, name));
        Ok(Encrypted { key, blob: blob.to_owned(), sealed_on, imported, position: node.position })
    };
    fields.all().iter().map(entry).collect()
}

/// Whether the first two bytes can be the length of an RSA ciphertext (2048 to 8192 bits). Opening the value checks the rest.
pub fn has_blob_prefix(blob: &str) -> bool {
    let head = blob.as_bytes().get(..4);
    let bytes = head.and_then(|head| BASE64_STANDARD.decode(head).ok());
    bytes.is_some_and(|bytes| bytes.len() >= 2 && (256..=1024).contains(&u16::from_be_bytes([bytes[0], bytes[1]])))
}

fn read_template(node: &Node) -> Result<Template> {
    let mut fields = node.fields("spec.template")?;
    let mut template =
        Template { kind: fields.optional_text("type")?.map(str::to_owned), immutable: fields.flag("immutable")?, ..Template::default() };
    for (key, node) in fields.optional("data").map_or(&[][..], Node::entries) {
        let text = DataKey::new(key).ok().zip(node.word().filter(|_| !node.is_absent()).and_then(rendered::read));
        let help = "restore the file from git, or use `kubeseal --recovery-unseal` for it";
        let unlike = || Error::bad_input("`spec.template.data` is not in a form that this tool writes", help).at(node.position);
        template.texts.extend([text.ok_or_else(unlike)?]);
    }
    if let Some(node) = fields.optional("metadata") {
        let mut metadata = node.fields("spec.template.metadata")?;
        template.labels = strings(metadata.optional("labels"), "spec.template.metadata.labels")?;
        template.annotations = strings(metadata.optional("annotations"), "spec.template.metadata.annotations")?;
    }
    fields.finish()?;
    Ok(template)
}

/// The scope in the annotations, as the controller reads them: the widest counts.
pub fn scope<'a>(annotation: impl Fn(&str) -> Option<&'a str>) -> Scope {
    match (annotation(CLUSTER_WIDE) == Some("true"), annotation(NAMESPACE_WIDE) == Some("true")) {
        (true, _) => Scope::ClusterWide,
        (false, true) => Scope::NamespaceWide,
        _ => Scope::Strict,
    }
}

fn read_scope(annotations: &BTreeMap<String, String>, template: &Template) -> Result<Scope> {
    let set = |map: &BTreeMap<String, String>, name: &str| map.get(name).is_some_and(|value| value == "true");
    let (namespace_wide, cluster_wide) = (set(annotations, NAMESPACE_WIDE), set(annotations, CLUSTER_WIDE));
    let widened = [NAMESPACE_WIDE, CLUSTER_WIDE].iter().any(|name| set(&template.annotations, name) && !set(annotations, name));
    if (namespace_wide && cluster_wide) || widened {
        let help = "keep one scope annotation, the same in `metadata` and in `spec.template.metadata`";
        return Err(Error::refused("its scope annotations contradict each other", help)
            .why("CVE-2026-22728 widened a scope with a template that was wider than its SealedSecret"));
    }
    Ok(scope(|name| annotations.get(name).map(String::as_str)))
}

/// The sealed values of a Secret, ready to write.
pub struct Sealed<'s> {
    pub name: &'s str,
    pub values: Vec<Encrypted>,
    /// The recipes of the values, if they are write-once.
    pub write_once: Option<String>,
    pub form: &'s Form,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'s> {
    spec: Spec<'s>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'s> {
    encrypted_data: BTreeMap<&'s str, &'s str>,
    template: TemplateBody<'s>,
}

#[derive(Serialize)]
struct TemplateBody<'s> {
    metadata: Metadata,
    #[serde(rename = "type")]
    kind: &'s str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    immutable: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    data: BTreeMap<&'s str, String>,
}

/// The separator between two documents of a unit.
pub const SEPARATOR: &str = "---\n";

/// A unit's file: one SealedSecret for each of its Secrets.
pub fn write(namespace: &Namespace, certificate: CertificateDigest, sealed: &[Sealed<'_>]) -> String {
    let documents: Vec<String> = sealed.iter().map(|sealed| write_one(namespace, certificate, sealed)).collect();
    documents.join(SEPARATOR)
}

/// One SealedSecret, of strict scope.
pub fn write_one(namespace: &Namespace, certificate: CertificateDigest, sealed: &Sealed<'_>) -> String {
    let form = sealed.form;
    let mut values: Vec<&Encrypted> = sealed.values.iter().collect();
    values.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let of_form = || {
        let mut metadata = Metadata::new(sealed.name, Some(namespace.as_str()));
        metadata.labels = form.labels.clone();
        metadata.annotations = form.annotations.clone();
        metadata
    };
    let mut metadata = of_form();
    let own = [
        (CERTIFICATE, Some(certificate.to_string())),
        (SEALED_ON, days(&values)),
        (IMPORTED, imported(&values)),
        (WRITE_ONCE, sealed.write_once.clone()),
    ];
    metadata.annotations.extend(own.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?))));
    let template = TemplateBody {
        metadata: of_form(),
        kind: form.kind.as_deref().unwrap_or("Opaque"),
        immutable: form.immutable,
        data: form.texts.iter().map(|(key, text)| (key.as_str(), rendered::write(text))).sorted(),
    };
    let encrypted_data = values.iter().map(|one| (one.key.as_str(), one.blob.as_str())).sorted();
    yaml::write(&Object {
        api_version: "bitnami.com/v1alpha1",
        kind: "SealedSecret",
        metadata: Some(metadata),
        rest: Body { spec: Spec { encrypted_data, template } },
    })
}

/// The text of [`SEALED_ON`].
fn days(values: &[&Encrypted]) -> Option<String> {
    let first = values.first()?.sealed_on.clone();
    if values.iter().all(|one| one.sealed_on == first) {
        return first;
    }
    let known = values.iter().filter_map(|one| Some(format!("{}={}", one.key, one.sealed_on.as_ref()?)));
    Some(known.collect::<Vec<_>>().join(" "))
}

/// The text of [`IMPORTED`].
fn imported(values: &[&Encrypted]) -> Option<String> {
    let imported: Vec<&str> = values.iter().filter(|one| one.imported).map(|one| one.key.as_str()).collect();
    match imported.len() {
        0 => None,
        all if all == values.len() => Some("true".to_owned()),
        _ => Some(imported.join(" ")),
    }
}
