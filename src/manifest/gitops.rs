//! What surrounds ExternalSecrets in a GitOps repository: kustomizations, Argo CD's Applications and AppProjects, and helm
//! values, as far as they decide which ExternalSecret reads what, and where.

use super::external_secret::{is_secret, mentions};
use super::foreign::Site;
use super::yaml::{self, Node};
use crate::model::{Configuration, Error, PROPERTY, Position, Result};

/// The names that kustomize looks for.
pub const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A `kustomization.yaml` (kustomize v5), as far as it moves or lists things.
pub struct Kustomization {
    pub namespace: Option<String>,
    /// `resources` and `bases`, as written.
    pub resources: Vec<String>,
    pub components: Vec<String>,
    pub patch_files: Vec<String>,
    /// The values of its `helmCharts`.
    pub values_files: Vec<String>,
}

/// A kustomization from its documents; `None` if it is empty.
pub fn kustomization(documents: &[Node]) -> Option<Kustomization> {
    let node = documents.first()?;
    let words = |node: &Node| -> Vec<String> { node.items().iter().filter_map(|item| item.word().map(str::to_owned)).collect() };
    let list = |name: &str| node.get(name).map(words).unwrap_or_default();
    let patches = PATCHES.into_iter().filter_map(|name| node.get(name)).flat_map(patches);
    let charts = node.get("helmCharts").map(Node::items).unwrap_or_default();
    let values = charts.iter().flat_map(|chart| {
        let more = chart.get("additionalValuesFiles").map(words).unwrap_or_default();
        chart.get("valuesFile").and_then(Node::word).map(str::to_owned).into_iter().chain(more)
    });
    Some(Kustomization {
        patch_files: patches.filter_map(|patch| patch.path).collect(),
        values_files: values.collect(),
        namespace: node.get("namespace").and_then(Node::word).map(str::to_owned),
        resources: [list("resources"), list("bases")].concat(),
        components: list("components"),
    })
}

/// The fields of a kustomization that change objects.
const PATCHES: [&str; 4] = ["patches", "patchesStrategicMerge", "patchesJson6902", "replacements"];

/// Whether it is a list of such changes: in a kustomization, in Flux's, or in an Application or HelmRelease.
pub fn is_patches(site: &Site<'_>) -> bool {
    let kind = |site: &Site<'_>| site.node.get("kind").and_then(Node::word).map(str::to_owned);
    let holds = |up: &Site<'_>| match (up.field, up.up) {
        ("kustomize", _) => true,
        ("spec", Some(outer)) => kind(outer).as_deref() == Some("Kustomization"),
        (_, None) => kind(up).is_none_or(|kind| matches!(kind.as_str(), "Kustomization" | "Component")),
        _ => false,
    };
    PATCHES.contains(&site.field) && site.up.is_some_and(holds)
}

/// One change of a kustomization.
pub struct Patch {
    /// The file that says it, as written; none = it is written out here.
    pub path: Option<String>,
    /// Whether what it selects may be an ExternalSecret; none if it selects nothing, so that its own kind decides.
    pub selects: Option<bool>,
    /// Whether it is written out here, and may change what an ExternalSecret reads.
    pub changes: bool,
    pub position: Position,
}

/// Each change of such a list.
pub fn patches(list: &Node) -> Vec<Patch> {
    let one = |patch: &Node| {
        let word = |name: &str| patch.get(name).and_then(Node::word);
        // An item of `patchesStrategicMerge` is a path, or the patch itself.
        let bare = patch.word().map(|text| (text, text.contains('\n') || text.contains(':')));
        let path = word("path").or(bare.filter(|(_, inline)| !inline).map(|(text, _)| text)).map(str::to_owned);
        let text = word("patch").or(bare.filter(|(_, inline)| *inline).map(|(text, _)| text));
        let selects = patch.get("target").map(may_select);
        let changes = match text {
            Some(text) => match yaml::read_foreign(text) {
                Ok(documents) => changed(&documents, selects).is_some(),
                Err(_) => selects != Some(false) && mentions(text),
            },
            None => replaces(patch),
        };
        Patch { path, selects, changes, position: patch.position }
    };
    list.items().iter().map(one).collect()
}

/// Whether a selector of kustomize may select an ExternalSecret: it takes expressions, too.
fn may_select(target: &Node) -> bool {
    let fits = |name: &str, known: &[&str]| match target.get(name).and_then(Node::word) {
        Some(word) if word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) => known.contains(&word),
        _ => true,
    };
    fits("kind", &["ExternalSecret", "ClusterExternalSecret"]) && fits("group", &["external-secrets.io"])
}

/// Where a patch may change what an ExternalSecret reads, and where from. `selects` as in [`Patch`].
pub fn changed(documents: &[Node], selects: Option<bool>) -> Option<Position> {
    let merges = |node: &Node| {
        let specs = [Some(node), node.get("spec"), node.at(&["spec", "externalSecretSpec"])].into_iter().flatten();
        let fields = ["data", "dataFrom", "secretStoreRef", "$patch"];
        let changes =
            |spec: &Node| fields.iter().any(|field| spec.get(field).is_some() && (*field == "$patch" || !std::ptr::eq(spec, node)));
        selects.unwrap_or(is_secret(node)) && specs.into_iter().any(changes)
    };
    let nodes = documents.iter().flat_map(|node| if node.items().is_empty() { std::slice::from_ref(node) } else { node.items() });
    let mut changing = nodes.filter(|node| match node.get("op").is_some() {
        true => selects != Some(false) && touches(node),
        false => replaces(node) || merges(node),
    });
    changing.next().map(|node| node.position)
}

/// Whether a replacement may change what an ExternalSecret reads.
fn replaces(node: &Node) -> bool {
    let hits = |target: &Node| {
        let paths = target.get("fieldPaths").map(Node::items).unwrap_or_default().iter().filter_map(Node::word);
        target.get("select").is_none_or(may_select) && paths.into_iter().any(|path| is_read(&format!("/{}", path.replace('.', "/"))))
    };
    node.get("targets").map(Node::items).unwrap_or_default().iter().any(hits)
}

/// Whether an operation of JSON 6902 may do so: to add our property changes nothing that we judge.
fn touches(operation: &Node) -> bool {
    let word = |name: &str| operation.get(name).and_then(Node::word).unwrap_or_default();
    let adds = || word("path").ends_with("/remoteRef/property") && word("value") == PROPERTY && matches!(word("op"), "add" | "replace");
    let moves = || word("op") == "move" && is_read(word("from"));
    word("op") != "test" && !adds() && (is_read(word("path")) || moves())
}

/// Whether a path of an ExternalSecret leads to what decides on what it reads.
fn is_read(path: &str) -> bool {
    let deciding = ["/spec/data", "/spec/dataFrom", "/spec/secretStoreRef", "/spec/externalSecretSpec", "/metadata/namespace"];
    matches!(path, "" | "/" | "/spec")
        || deciding.iter().any(|at| path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Whether something below, such as a post-renderer's patch, speaks of a property of a `remoteRef`.
pub fn adds_property(node: &Node) -> bool {
    node.word().is_some_and(|text| text.contains("remoteRef") && text.contains("property"))
        || node.entries().iter().any(|(_, node)| adds_property(node))
        || node.items().iter().any(adds_property)
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
