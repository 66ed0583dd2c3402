//! What surrounds ExternalSecrets in a GitOps repository: kustomizations, Argo CD's Applications and AppProjects, and helm
//! values. Read as far as it tells who reads what, where.

use super::yaml::{self, Node};
use crate::model::{Configuration, Error, Name, Position, Result};

/// A `kustomization.yaml` (kustomize v5), as far as it moves or lists things.
pub struct Kustomization {
    /// `namespace`.
    pub namespace: Option<String>,
    /// `resources` and `bases`, as written.
    pub resources: Vec<String>,
    /// `components`, as written.
    pub components: Vec<String>,
    /// A comment says that a program writes it: what is added is wiped.
    pub generated: bool,
}

/// Reads a kustomization; `None` where it is not YAML.
pub fn kustomization(text: &str) -> Option<Kustomization> {
    let documents = yaml::read_foreign(text).ok()?;
    let node = documents.first()?;
    let list = |name: &str| -> Vec<String> {
        node.get(name).map(Node::items).unwrap_or_default().iter().filter_map(|item| item.word().map(str::to_owned)).collect()
    };
    let comments = text.lines().filter(|line| line.trim_start().starts_with('#'));
    let lower = comments.map(str::to_ascii_lowercase).collect::<String>();
    Some(Kustomization {
        namespace: node.get("namespace").and_then(Node::word).map(str::to_owned),
        resources: [list("resources"), list("bases")].concat(),
        components: list("components"),
        generated: lower.contains("generated") || lower.contains("do not edit"),
    })
}

/// Lists patch files, each for the ExternalSecret of a name, in a kustomization's `patches`; `None` = they are listed. Only
/// lines are added, and the result reads as the same and these entries.
pub fn add_patches(text: &str, patches: &[(String, &Name)]) -> Result<Option<String>> {
    let unfit = |what: &str| Error::bad_input(what, "write its `patches` as a list in block style, or use `--format manifest`");
    let documents = yaml::read_foreign(text)?;
    let [node] = documents.as_slice() else { return Err(unfit("it has several documents")) };
    let present = node.get("patches");
    let listed = present.map(Node::items).unwrap_or_default();
    let is_listed = |file: &str| listed.iter().any(|item| item.get("path").and_then(Node::word) == Some(file));
    let missing: Vec<&(String, &Name)> = patches.iter().filter(|(file, _)| !is_listed(file)).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let ending = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let entries = |indent: &str| -> String {
        let entry = |(file, name): &&(String, &Name)| {
            format!(
                "{indent}- path: {file}{ending}{indent}  target: {{ group: external-secrets.io, kind: ExternalSecret, name: {name} }}{ending}"
            )
        };
        missing.iter().map(entry).collect()
    };
    let edited = match (present, listed.first()) {
        (None, _) => {
            let gap = if text.ends_with('\n') { "" } else { ending };
            format!("{text}{gap}patches:{ending}{}", entries("  "))
        }
        // In front of the first entry, whose dash stands at the list's own place.
        (Some(list), Some(_)) if text[list.range.start..].starts_with('-') => {
            let start = text[..list.range.start].rfind('\n').map_or(0, |at| at + 1);
            format!("{}{}{}", &text[..start], entries(&" ".repeat(list.position.1 - 1)), &text[start..])
        }
        _ => return Err(unfit("its `patches` is not a list in block style")),
    };
    let again = yaml::read_foreign(&edited)?;
    let grown = again.first().and_then(|node| node.get("patches")).map(Node::items).unwrap_or_default();
    let kept =
        grown.len() == listed.len() + missing.len() && listed.iter().zip(&grown[grown.len() - listed.len()..]).all(|(a, b)| a.same_as(b));
    if kept { Ok(Some(edited)) } else { Err(unfit("its `patches` cannot be extended without changing something else")) }
}

/// An Argo CD Application (`argoproj.io/v1alpha1`).
#[derive(Clone, Debug)]
pub struct Application {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: Option<String>,
    /// The annotation `argocd.argoproj.io/sync-wave`.
    pub wave: i64,
    /// `spec.project`.
    pub project: String,
    /// `repoURL`, `targetRevision` and `path` of each git source.
    pub sources: Vec<(String, Option<String>, String)>,
    /// `spec.destination.namespace`.
    pub destination: Option<String>,
}

/// An Argo CD AppProject.
pub struct AppProject {
    /// `metadata.name`.
    pub name: String,
    /// `spec.sourceRepos`.
    pub repositories: Vec<String>,
    /// Where the list stands.
    pub position: Position,
}

/// The Applications and AppProjects of these documents.
pub fn argo(documents: &[Node]) -> (Vec<Application>, Vec<AppProject>) {
    let (mut applications, mut projects) = (Vec::new(), Vec::new());
    for node in documents {
        let word = |path: &[&str]| node.at(path).and_then(Node::word).map(str::to_owned);
        let name = word(&["metadata", "name"]).unwrap_or_default();
        match node.get("kind").and_then(Node::word) {
            Some("Application") => applications.push(Application {
                name,
                namespace: word(&["metadata", "namespace"]),
                wave: word(&["metadata", "annotations", "argocd.argoproj.io/sync-wave"]).and_then(|text| text.parse().ok()).unwrap_or(0),
                project: word(&["spec", "project"]).unwrap_or_else(|| "default".to_owned()),
                sources: sources(node),
                destination: word(&["spec", "destination", "namespace"]),
            }),
            Some("AppProject") => {
                if let Some(list) = node.at(&["spec", "sourceRepos"]) {
                    let repositories = list.items().iter().filter_map(|item| item.word().map(str::to_owned)).collect();
                    projects.push(AppProject { name, repositories, position: list.position });
                }
            }
            _ => {}
        }
    }
    (applications, projects)
}

fn sources(node: &Node) -> Vec<(String, Option<String>, String)> {
    let one = node.at(&["spec", "source"]).into_iter();
    let all = one.chain(node.at(&["spec", "sources"]).map(Node::items).unwrap_or_default());
    let word = |node: &Node, name: &str| node.get(name).and_then(Node::word).map(str::to_owned);
    all.filter_map(|node| Some((word(node, "repoURL")?, word(node, "targetRevision"), word(node, "path")?))).collect()
}

/// Every `remoteKey` of helm values, those in a text that is YAML itself as well: the key, and where it stands.
pub fn remote_keys(documents: &[Node]) -> Vec<(String, Position)> {
    let mut found = Vec::new();
    documents.iter().for_each(|node| collect_remote_keys(node, None, &mut found));
    found
}

fn collect_remote_keys(node: &Node, within: Option<Position>, found: &mut Vec<(String, Position)>) {
    if let Some(text) = node.word() {
        if within.is_none() && text.contains('\n') && text.contains("remoteKey") {
            let inner = yaml::read_foreign(text).unwrap_or_default();
            inner.iter().for_each(|inner| collect_remote_keys(inner, Some(node.position), found));
        }
        return;
    }
    for (name, value) in node.entries() {
        match value.word() {
            Some(key) if name == "remoteKey" => found.push((key.to_owned(), within.unwrap_or(value.position))),
            _ => collect_remote_keys(value, within, found),
        }
    }
    node.items().iter().for_each(|item| collect_remote_keys(item, within, found));
}

/// A platform's configuration: the words at the ends of its paths.
pub fn configuration(documents: &[Node]) -> Configuration {
    let mut found = Configuration::new();
    documents.iter().for_each(|node| flatten(node, "", &mut found));
    found
}

fn flatten(node: &Node, path: &str, found: &mut Configuration) {
    if let Some(word) = node.word() {
        found.insert(path.to_owned(), word.to_owned());
    }
    for (name, value) in node.entries() {
        flatten(value, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, found);
    }
}
