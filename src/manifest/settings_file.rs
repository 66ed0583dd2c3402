//! `seal-secrets.yaml`: YAML to [`Settings`], or one error with its position.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use ignore::gitignore::GitignoreBuilder;
use serde::Serialize;

use super::yaml::{self, Fields, Node, parsed};
use crate::model::{
    ClusterSettings, Code, Controller, Error, GitOps, Isolation, Name, Namespace, Rbac, Result, Settings, Sorted, Store, StoreKind, Way,
};

/// Reads the settings; the caller adds the file's name to errors.
pub fn read(text: &str) -> Result<Settings> {
    let root = yaml::read_one(text)?;
    let mut fields = root.fields("")?;
    fields.required("version")?.number("version", 1..=1)?;
    let settings = Settings {
        platform: way(&mut fields, "platform")?,
        environment: word(&mut fields, "environment")?,
        contract: way(&mut fields, "contract")?,
        keys: way(&mut fields, "keys")?,
        out: way(&mut fields, "out")?,
        secrets: way(&mut fields, "secrets")?,
        exclude: read_exclude(&mut fields)?,
        default_namespace: fields
            .optional("default-namespace")
            .map(|node| parsed(node, "default-namespace", Namespace::new))
            .transpose()?,
        ignore: read_ignore(&mut fields)?,
        store: read_store(&mut fields)?,
        controller: read_controller(&mut fields)?,
        gitops: one_of(&mut fields, "gitops", GitOps::ALL, GitOps::as_str)?,
        context: word(&mut fields, "context")?,
        clusters: read_clusters(&mut fields)?,
    };
    fields.finish()?;
    check_needs_platform(&settings, &root)?;
    Ok(settings)
}

/// Refuses settings about a checkout without one.
fn check_needs_platform(settings: &Settings, root: &Node) -> Result<()> {
    let said = ["environment", "exclude", "default-namespace"].into_iter().find_map(|field| Some((field, root.get(field)?)));
    match said.filter(|_| settings.platform.is_none()) {
        Some((field, node)) => {
            let help = "add `platform:`, the folder of the checkout, from this file's own";
            Err(Error::bad_input(format!("`{field}` says something of a platform that is not named"), help).at(node.position))
        }
        None => Ok(()),
    }
}

/// A path from the file's folder. `workspace/settings.rs` checks that it stays in the checkout.
fn way(fields: &mut Fields<'_>, field: &'static str) -> Result<Option<Way>> {
    let path = fields.path(field);
    let Some(node) = fields.optional(field) else { return Ok(None) };
    let read = |text: &str| {
        let relative = "write a path from this file's folder, such as `sealed`";
        match text {
            "" => Err(Error::bad_input("an empty path", relative)),
            text if text.starts_with('~') || Path::new(text).is_absolute() => {
                Err(Error::bad_input("not a path from this file's folder", relative))
            }
            // After a folder that does not exist, or is a link, it is unclear where `..` leads.
            text if leads_back(Path::new(text)) => Err(Error::bad_input("a path with `..` behind a folder", "write the path without it")),
            text => Ok(plain(Path::new(text))),
        }
    };
    Ok(Some(Way { path: parsed(node, &path, read)?, position: node.position }))
}

fn leads_back(path: &Path) -> bool {
    path.components().skip_while(|part| !matches!(part, Component::Normal(_))).any(|part| part == Component::ParentDir)
}

/// The same path without `.`; the folder itself is `.`.
fn plain(path: &Path) -> PathBuf {
    let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}

fn word(fields: &mut Fields<'_>, field: &'static str) -> Result<Option<String>> {
    let path = fields.path(field);
    let Some(node) = fields.optional(field) else { return Ok(None) };
    let read = |text: &str| {
        if text.is_empty() { Err(Error::bad_input("empty", "write its name, or remove the line")) } else { Ok(text.to_owned()) }
    };
    parsed(node, &path, read).map(Some)
}

fn one_of<K: Copy>(fields: &mut Fields<'_>, field: &'static str, all: &[K], word: fn(K) -> &'static str) -> Result<Option<K>> {
    let path = fields.path(field);
    let Some(node) = fields.optional(field) else { return Ok(None) };
    let words: Vec<&str> = all.iter().map(|kind| word(*kind)).collect();
    let read = |text: &str| {
        let found = all.iter().find(|kind| word(**kind).eq_ignore_ascii_case(text)).copied();
        found.ok_or_else(|| Error::bad_input("not one of its words", format!("write one of `{}`", words.join("`, `"))))
    };
    parsed(node, &path, read).map(Some)
}

fn read_exclude(fields: &mut Fields<'_>) -> Result<Vec<String>> {
    let Some(node) = fields.optional("exclude") else { return Ok(Vec::new()) };
    let line = |(i, node): (usize, &Node)| parsed(node, &format!("exclude[{i}]"), read_pattern);
    node.list("exclude")?.iter().enumerate().map(line).collect()
}

fn read_ignore(fields: &mut Fields<'_>) -> Result<Vec<Code>> {
    let Some(node) = fields.optional("ignore") else { return Ok(Vec::new()) };
    let code = |(i, node): (usize, &Node)| parsed(node, &format!("ignore[{i}]"), Code::warning);
    node.list("ignore")?.iter().enumerate().map(code).collect()
}

fn read_pattern(text: &str) -> Result<String> {
    let is_readable = GitignoreBuilder::new("").allow_unclosed_class(false).add_line(None, text).is_ok();
    match text.trim_start_matches('!') {
        rest if rest.trim().is_empty() => Err(Error::bad_input("an empty pattern", "write a pattern, or remove it")),
        rest if rest == ".." || rest.starts_with("../") => {
            Err(Error::bad_input("a pattern that leads out of the checkout", "write it from the root of the checkout"))
        }
        _ if is_readable => Ok(text.to_owned()),
        _ => Err(Error::bad_input("not a pattern", "write it as in a `.gitignore`")),
    }
}

fn read_store(fields: &mut Fields<'_>) -> Result<Store> {
    let Some(node) = fields.optional("store") else { return Ok(Store::default()) };
    let mut fields = node.fields("store")?;
    let store = Store {
        kind: one_of(&mut fields, "kind", StoreKind::ALL, StoreKind::as_str)?,
        isolation: one_of(&mut fields, "isolation", Isolation::ALL, Isolation::as_str)?.unwrap_or_default(),
        rbac: one_of(&mut fields, "rbac", Rbac::ALL, Rbac::as_str)?.unwrap_or_default(),
        file: way(&mut fields, "file")?,
        project_id: word(&mut fields, "project-id")?,
    };
    fields.finish()?;
    if store.project_id.is_some() && store.file.is_none() {
        let help = "add `file:`, or remove `project-id`: only a store file of the platform's has that line";
        return Err(Error::bad_input("`store.project-id` has no file to stand in", help).at(node.position));
    }
    Ok(store)
}

fn read_controller(fields: &mut Fields<'_>) -> Result<Controller> {
    let Some(node) = fields.optional("controller") else { return Ok(Controller::default()) };
    let mut fields = node.fields("controller")?;
    let usual = Controller::default();
    let (namespace, name) = (fields.path("namespace"), fields.path("name"));
    let controller = Controller {
        namespace: fields.optional("namespace").map_or(Ok(usual.namespace), |node| parsed(node, &namespace, Namespace::new))?,
        name: fields.optional("name").map_or(Ok(usual.name), |node| parsed(node, &name, Name::new))?,
    };
    fields.finish()?;
    Ok(controller)
}

fn read_clusters(fields: &mut Fields<'_>) -> Result<BTreeMap<Namespace, ClusterSettings>> {
    let Some(node) = fields.optional("clusters") else { return Ok(Default::default()) };
    let read = |(name, node): &(String, Node)| {
        let path = format!("clusters.{name}");
        let cluster = Namespace::new(name).map_err(|error| error.at(node.position))?;
        let mut fields = node.fields(&path)?;
        let settings = ClusterSettings {
            environment: word(&mut fields, "environment")?,
            context: word(&mut fields, "context")?,
            keys: way(&mut fields, "keys")?,
            out: way(&mut fields, "out")?,
            secrets: way(&mut fields, "secrets")?,
        };
        fields.finish()?;
        Ok((cluster, settings))
    };
    Ok(node.fields("clusters")?.all().iter().map(read).collect::<Result<Vec<_>>>()?.into_iter().sorted())
}

/// The settings that `init` writes to a new file, in this order.
#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NewSettings {
    pub version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    pub keys: String,
    pub out: String,
    pub secrets: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub store: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gitops: Option<&'static str>,
}

/// The text of a new file. `environments` are the choices, if the checkout does not tell which.
pub fn write(settings: &NewSettings, environments: &[&str]) -> String {
    let choose = match environments {
        [] => String::new(),
        names => format!("# environment: {}   # or one of {}\n", names[0], names.join(", ")),
    };
    let text = format!(
        "# Where seal-secrets works, and in which form. Every command looks for this file from its working directory upwards;\n# paths are relative to it.\n{}{choose}",
        yaml::write(settings).replacen(": '.'\n", ": .\n", 1)
    );
    with_schema("settings", text)
}

/// The text with the line by which an editor finds its schema, which is next to the settings.
pub fn with_schema(schema: &str, text: String) -> String {
    const LINE: &str = "# yaml-language-server: $schema=";
    if text.contains(LINE) { text } else { format!("{LINE}{SCHEMAS}/{schema}.json\n{text}") }
}

/// The folder of the schemas, next to the settings.
pub const SCHEMAS: &str = ".seal-secrets";
