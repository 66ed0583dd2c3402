//! What surrounds ExternalSecrets in a GitOps repository: kustomizations, Argo CD's Applications and AppProjects, and helm values, as far
//! as they decide which ExternalSecret reads which key, and in which namespace.

use super::external_secret::{is_secret, is_store, mentions};
use super::foreign::Site;
use super::yaml::{self, Node};
use crate::model::{Configuration, Error, PROPERTY, Position, Result};

/// The names that kustomize looks for.
pub const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A `kustomization.yaml` (kustomize v5), as far as it moves or lists files.
pub struct Kustomization {
    pub namespace: Option<String>,
    /// `resources` and `bases`, as written.
    pub resources: Vec<String>,
    pub components: Vec<String>,
    pub patch_files: Vec<String>,
    /// The values of its `helmCharts`.
    pub values_files: Vec<String>,
    /// The positions of its transformers that may change what is read.
    pub transformers: Vec<Position>,
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
    let transformers = node.get("transformers").map(Node::items).unwrap_or_default();
    Some(Kustomization {
        transformers: transformers.iter().filter(|one| !is_harmless(one)).map(|one| one.position).collect(),
        patch_files: patches.filter_map(|patch| patch.path).collect(),
        values_files: values.collect(),
        namespace: node.get("namespace").and_then(Node::said).map(str::to_owned),
        resources: [list("resources"), list("bases")].concat(),
        components: list("components"),
    })
}

/// Whether a transformer is written inline, and is one of kustomize's own that does not change what is read.
fn is_harmless(transformer: &Node) -> bool {
    const KINDS: [&str; 4] = ["LabelTransformer", "AnnotationsTransformer", "ImageTagTransformer", "ReplicaCountTransformer"];
    let is = |node: &Node| {
        let word = |name: &str| node.get(name).and_then(Node::word);
        word("apiVersion") == Some("builtin") && word("kind").is_some_and(|kind| KINDS.contains(&kind))
    };
    let text = transformer.word().filter(|text| text.contains(':'));
    text.is_some_and(|text| yaml::read_foreign(text).is_ok_and(|documents| !documents.is_empty() && documents.iter().all(is)))
}

/// The fields of a kustomization that change objects.
const PATCHES: [&str; 4] = ["patches", "patchesStrategicMerge", "patchesJson6902", "replacements"];

/// Whether it is a list of such changes: in a kustomization, in a Flux Kustomization, or in an Application or HelmRelease.
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
    /// The file that contains it, as written; none = it is inline.
    pub path: Option<String>,
    /// The folder that an Application resolves that path from; none = its own.
    pub from: Option<String>,
    /// The store that it changes, if it names one.
    pub store: Option<String>,
    /// Whether its selector may match an ExternalSecret; none if it has no selector, so that its own kind decides.
    pub selects: Option<bool>,
    /// Whether it is inline, and may change what an ExternalSecret reads.
    pub changes: bool,
    pub position: Position,
}

impl Patch {
    /// An inline patch.
    pub fn here(changes: bool, position: Position) -> Self {
        Patch { path: None, from: None, store: None, selects: None, changes, position }
    }
}

/// The folder that an Application's source resolves the paths of its patches from.
pub fn folder_of_patches(site: &Site<'_>) -> Option<String> {
    let source = site.up.filter(|up| up.field == "kustomize")?.up?;
    source.node.get("path").and_then(Node::said).map(str::to_owned)
}

/// The `mutate` of a Kyverno rule for ExternalSecrets.
pub fn mutation(site: &Site<'_>) -> Option<Patch> {
    let rule = site.up.filter(|up| site.field == "mutate" && up.node.get("match").is_some())?.node;
    let selects = |word: &str| word.contains("ExternalSecret") || matches!(word, "*" | "*/*");
    let targets = [rule.get("match"), site.node.get("targets")];
    targets.into_iter().flatten().any(|node| has_word(node, &selects)).then(|| Patch::here(mutates(site.node), site.node.position))
}

/// Whether such a rule may change what is read.
fn mutates(mutate: &Node) -> bool {
    let operations = mutate.get("patchesJson6902").is_some_and(|patch| {
        let read = patch.word().map(yaml::read_foreign);
        read.is_none_or(|read| read.is_ok_and(|documents| changed(&documents, Some(true)).is_some()))
    });
    let merged = mutate.get("patchStrategicMerge").is_some_and(|patch| {
        let moves = |node: &Node| node.entries().iter().any(|(name, _)| name.contains("namespace"));
        patch.entries().iter().any(|(name, node)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata") || moves(node))
    });
    operations || merged || mutate.get("foreach").is_some()
}

/// Each change in such a list.
pub fn patches(list: &Node) -> Vec<Patch> {
    let one = |patch: &Node| {
        let word = |name: &str| patch.get(name).and_then(Node::word);
        // An item of `patchesStrategicMerge` is a path, or the patch itself.
        let bare = patch.word().map(|text| (text, text.contains('\n') || text.contains(':')));
        let path = word("path").or(bare.filter(|(_, inline)| !inline).map(|(text, _)| text)).map(str::to_owned);
        let text = word("patch").or(bare.filter(|(_, inline)| *inline).map(|(text, _)| text));
        let selects = patch.get("target").map(may_select);
        let (changes, store) = match text.map(yaml::read_foreign) {
            Some(Ok(documents)) => changed(&documents, selects).map_or((false, None), |(_, store)| (true, store)),
            Some(Err(_)) => (selects != Some(false) && text.is_some_and(mentions), None),
            None => (replaces(patch), None),
        };
        let store = patch.get("target").and_then(store_of).or(store);
        Patch { path, from: None, store, selects, changes, position: patch.position }
    };
    list.items().iter().map(one).collect()
}

/// A field of a kustomize selector, unless it is an expression.
fn selected<'n>(target: &'n Node, name: &str) -> Option<&'n str> {
    target.get(name).and_then(Node::said).filter(|word| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)))
}

/// Whether a kustomize selector, which may contain expressions, may select an ExternalSecret or a store.
fn may_select(target: &Node) -> bool {
    let fits = |name: &str, known: &[&str]| selected(target, name).is_none_or(|word| known.contains(&word));
    let kinds = ["ExternalSecret", "ClusterExternalSecret", "SecretStore", "ClusterSecretStore"];
    fits("kind", &kinds) && fits("group", &["external-secrets.io"])
}

/// The name of the one store that a selector selects.
fn store_of(target: &Node) -> Option<String> {
    let name = selected(target, "name").map(str::to_owned);
    name.filter(|_| matches!(selected(target, "kind"), Some("SecretStore" | "ClusterSecretStore")))
}

/// The position of a change, and the store that it names.
pub type Change = (Position, Option<String>);

/// The position where a patch may change what an ExternalSecret reads, and from which store. `selects` as in [`Patch`].
pub fn changed(documents: &[Node], selects: Option<bool>) -> Option<Change> {
    let merges = |node: &Node| {
        let specs = [Some(node), node.get("spec"), node.at(&["spec", "externalSecretSpec"])].into_iter().flatten();
        let fields = ["data", "dataFrom", "secretStoreRef", "provider", "conditions", "$patch"];
        let changes =
            |spec: &Node| fields.iter().any(|field| spec.get(field).is_some() && (*field == "$patch" || !std::ptr::eq(spec, node)));
        selects.unwrap_or(is_secret(node) || is_store(node)) && specs.into_iter().any(changes)
    };
    let nodes = documents.iter().flat_map(|node| if node.items().is_empty() { std::slice::from_ref(node) } else { node.items() });
    let mut changing = nodes.filter(|node| match node.get("op").is_some() {
        true => selects != Some(false) && touches(node),
        false => replaces(node) || merges(node),
    });
    let store = |node: &Node| node.at(&["metadata", "name"]).filter(|_| is_store(node)).and_then(Node::said).map(str::to_owned);
    changing.next().map(|node| (node.position, store(node)))
}

/// Whether a replacement may change what an ExternalSecret reads.
fn replaces(node: &Node) -> bool {
    let hits = |target: &Node| {
        let paths = target.get("fieldPaths").map(Node::items).unwrap_or_default().iter().filter_map(Node::word);
        target.get("select").is_none_or(may_select) && paths.into_iter().any(|path| is_read(&format!("/{}", path.replace('.', "/"))))
    };
    node.get("targets").map(Node::items).unwrap_or_default().iter().any(hits)
}

/// Whether a JSON 6902 operation may do so; adding our property changes nothing that we judge.
fn touches(operation: &Node) -> bool {
    let word = |name: &str| operation.get(name).and_then(Node::word).unwrap_or_default();
    let adds = || word("path").ends_with("/remoteRef/property") && word("value") == PROPERTY && matches!(word("op"), "add" | "replace");
    let moves = || word("op") == "move" && is_read(word("from"));
    word("op") != "test" && !adds() && (is_read(word("path")) || moves())
}

/// Whether a path of an ExternalSecret decides what it reads, or one of a store what it provides.
fn is_read(path: &str) -> bool {
    let of_secret = ["/spec/data", "/spec/dataFrom", "/spec/secretStoreRef", "/spec/externalSecretSpec", "/metadata/namespace"];
    let mut deciding = of_secret.into_iter().chain(["/spec/provider", "/spec/conditions"]);
    matches!(path, "" | "/" | "/spec" | "/metadata")
        || deciding.any(|at| path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Whether anything below, such as a post-renderer's patch, mentions a property of a `remoteRef`.
pub fn adds_property(node: &Node) -> bool {
    has_word(node, &|text| text.contains("remoteRef") && text.contains("property"))
}

/// Whether any scalar below fits.
fn has_word(node: &Node, is_like: &dyn Fn(&str) -> bool) -> bool {
    let within = |node: &Node| has_word(node, is_like);
    node.word().is_some_and(is_like) || node.entries().iter().any(|(_, node)| within(node)) || node.items().iter().any(within)
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
}

/// A folder that an Application or Flux's Kustomization (`kustomize.toolkit.fluxcd.io`) applies.
pub struct Applied {
    /// As written.
    pub path: String,
    /// `spec.destination.namespace` of an Application: for objects without a namespace.
    pub destination: Option<String>,
    /// `kustomize.namespace` of an Application's source, `spec.targetNamespace` of a Flux Kustomization: for everything.
    pub moved_to: Option<String>,
    /// The Components that it adds, as written.
    pub components: Vec<String>,
}

/// The folders that these documents apply.
pub fn applied(documents: &[Node]) -> Vec<Applied> {
    documents.iter().flat_map(applied_by).collect()
}

fn applied_by(node: &Node) -> Vec<Applied> {
    let word = |node: &Node, path: &[&str]| node.at(path).and_then(Node::said).map(str::to_owned);
    let words = |list: Option<&Node>| list.map(Node::items).unwrap_or_default().iter().filter_map(|item| word(item, &[])).collect();
    let destination = word(node, &["spec", "destination", "namespace"]);
    match node.get("kind").and_then(Node::word) {
        Some("Application") => sources(node)
            .filter_map(|source| {
                let (moved_to, components) = (word(source, &["kustomize", "namespace"]), words(source.at(&["kustomize", "components"])));
                Some(Applied { path: word(source, &["path"])?, destination: destination.clone(), moved_to, components })
            })
            .collect(),
        Some("Kustomization") if word(node, &["apiVersion"]).is_some_and(|version| version.starts_with("kustomize.toolkit.fluxcd.io/")) => {
            let path = word(node, &["spec", "path"]).unwrap_or_default();
            let (moved_to, components) = (word(node, &["spec", "targetNamespace"]), words(node.at(&["spec", "components"])));
            vec![Applied { path, destination: None, moved_to, components }]
        }
        _ => Vec::new(),
    }
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
        let word = |path: &[&str]| node.at(path).and_then(Node::said).map(str::to_owned);
        let name = word(&["metadata", "name"]).unwrap_or_default();
        match node.get("kind").and_then(Node::word) {
            Some("Application") => applications.push(Application {
                name,
                namespace: word(&["metadata", "namespace"]),
                wave: word(&["metadata", "annotations", "argocd.argoproj.io/sync-wave"]).and_then(|text| text.parse().ok()).unwrap_or(0),
                project: word(&["spec", "project"]).unwrap_or_else(|| "default".to_owned()),
                sources: sources(node).filter_map(git_source).collect(),
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

/// The sources of an Application.
fn sources(node: &Node) -> impl Iterator<Item = &Node> {
    let one = node.at(&["spec", "source"]).into_iter();
    one.chain(node.at(&["spec", "sources"]).map(Node::items).unwrap_or_default())
}

fn git_source(node: &Node) -> Option<(String, Option<String>, String)> {
    let word = |name: &str| node.get(name).and_then(Node::said).map(str::to_owned);
    Some((word("repoURL")?, word("targetRevision"), word("path")?))
}

/// A platform's configuration: the words at the ends of its paths. `features` and `dns`, which decide which keys are needed, must be
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
