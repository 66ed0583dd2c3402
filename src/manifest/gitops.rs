//! What surrounds ExternalSecrets in a GitOps repository: kustomizations, Argo CD's Applications and AppProjects, and helm
//! values, as far as they decide which ExternalSecret reads what, and where.

use super::yaml::{self, Node};
use crate::model::{Configuration, Error, Position, Result};

/// The names that kustomize looks for.
pub const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A `kustomization.yaml` (kustomize v5), as far as it moves or lists things.
pub struct Kustomization {
    pub namespace: Option<String>,
    /// `resources` and `bases`, as written.
    pub resources: Vec<String>,
    pub components: Vec<String>,
    pub patch_files: Vec<String>,
    /// Where an inline patch mentions a `remoteRef`.
    pub patches_entries: Option<Position>,
}

/// A kustomization from its documents; `None` if it is empty.
pub fn kustomization(documents: &[Node]) -> Option<Kustomization> {
    let node = documents.first()?;
    let list = |name: &str| -> Vec<String> {
        node.get(name).map(Node::items).unwrap_or_default().iter().filter_map(|item| item.word().map(str::to_owned)).collect()
    };
    let patches = ["patches", "patchesStrategicMerge", "patchesJson6902"].into_iter().filter_map(|name| node.get(name));
    let patches: Vec<&Node> = patches.flat_map(Node::items).collect();
    let path = |patch: &Node| patch.get("path").unwrap_or(patch).word().map(str::to_owned);
    let inline = patches
        .iter()
        .find(|patch| [patch.word(), patch.get("patch").and_then(Node::word)].iter().flatten().any(|text| text.contains("remoteRef")));
    Some(Kustomization {
        patch_files: patches.iter().filter_map(|patch| path(patch)).collect(),
        patches_entries: inline.map(|patch| patch.position),
        namespace: node.get("namespace").and_then(Node::word).map(str::to_owned),
        resources: [list("resources"), list("bases")].concat(),
        components: list("components"),
    })
}

/// An Argo CD Application (`argoproj.io/v1alpha1`).
#[derive(Clone, Debug)]
pub struct Application {
    pub name: String,
    pub namespace: Option<String>,
    pub wave: i64,
    pub project: String,
    /// `repoURL`, `targetRevision` and `path` of each git source.
    pub sources: Vec<(String, Option<String>, String)>,
    /// `spec.destination.namespace`: for what has no namespace.
    pub destination: Option<String>,
    /// `spec.source.kustomize.namespace`: for everything.
    pub moved_to: Option<String>,
}

pub struct AppProject {
    pub name: String,
    /// `spec.sourceRepos`.
    pub repositories: Vec<String>,
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
                moved_to: word(&["spec", "source", "kustomize", "namespace"]),
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

/// Every `remoteKey` of helm values, also those in a text that is YAML itself: the key, and its place.
pub fn remote_keys(documents: &[Node]) -> Vec<(String, Position)> {
    let mut found = Vec::new();
    documents.iter().for_each(|node| collect_remote_keys(node, None, &mut found));
    found
}

fn collect_remote_keys(node: &Node, within: Option<Position>, found: &mut Vec<(String, Position)>) {
    if let Some(text) = node.word() {
        if within.is_none() && text.contains("remoteKey") && text.contains(':') {
            let inner = yaml::read_foreign(text).unwrap_or_default();
            inner.iter().for_each(|inner| collect_remote_keys(inner, Some(node.position), found));
        }
        return;
    }
    // A helm parameter: `name: externalSecret.remoteKey`, `value: …`.
    let named = node.get("name").and_then(Node::word).is_some_and(|name| name.ends_with("remoteKey"));
    if let Some(value) = node.get("value").filter(|_| named) {
        found.extend(value.word().map(|key| (key.to_owned(), within.unwrap_or(value.position))));
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

/// A platform's configuration: the words at the ends of its paths. `features` and `dns`, which decide on keys, must be
/// unambiguous; the rest does not matter.
pub fn configuration(documents: &[Node]) -> Result<Configuration> {
    let mut found = Configuration::new();
    for document in documents {
        let fault = |node: &Node, what: &str| Err(Error::bad_input(what, "write it out: `name: true` or `name: false`").at(node.position));
        for part in [document.get("features"), document.get("dns")].into_iter().flatten() {
            if part.is_alias()
                || part.entries().is_empty()
                    && part.word().is_none_or(|word| !matches!(word, "" | "~" | "null"))
                    && !part.is_empty_mapping()
            {
                return fault(part, "`features` and `dns` should be mappings");
            }
            if part.entries().iter().any(|(name, value)| name == "<<" || value.is_alias()) {
                return fault(part, "aliases and merge keys are not supported in `features` and `dns`");
            }
        }
        let switches = document.get("features").map(Node::entries).unwrap_or_default().iter();
        let automate = document.get("dns").map(Node::entries).unwrap_or_default().iter().filter(|(name, _)| name == "automate");
        for (_, value) in switches.chain(automate) {
            const WORDS: [&str; 6] = ["true", "false", "yes", "no", "on", "off"];
            if !value.word().is_some_and(|word| WORDS.contains(&word.to_ascii_lowercase().as_str())) {
                return fault(value, "a feature should be `true` or `false`");
            }
        }
        flatten(document, "", &mut found);
    }
    Ok(found)
}

fn flatten(node: &Node, path: &str, found: &mut Configuration) {
    if let Some(word) = node.word() {
        found.insert(path.to_owned(), word.to_owned());
    }
    for (name, value) in node.entries() {
        flatten(value, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, found);
    }
}
