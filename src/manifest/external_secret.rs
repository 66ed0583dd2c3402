//! ExternalSecrets of the platform (`external-secrets.io`, any version), at any depth: which keys they read from which store, and where in
//! the text a property would go. Also PushSecrets, which write.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::foreign::{self, Site, Step};
use super::gitops::{self, Patch};
use super::yaml::{self, Document, Node};
use crate::model::{Error, Position};

/// File name endings of templates that no YAML reader can read.
pub const TEMPLATES: [&str; 8] = [".tpl", ".gotmpl", ".tmpl", ".j2", ".jinja", ".erb", ".jsonnet", ".libsonnet"];

/// One ExternalSecret, or the template of a ClusterExternalSecret. Names are as written and unchecked; a missing one is empty.
pub struct ExternalSecret {
    pub name: String,
    /// `metadata.namespace`, or else that of the enclosing object; for a ClusterExternalSecret each of `spec.namespaces`.
    pub namespaces: Vec<String>,
    /// kustomize does not move it, because an Application or a HelmRelease holds it.
    pub fixed: bool,
    /// It is no separate object until helm or Argo CD makes it one, so a patch by name cannot reach it.
    pub nested: bool,
    /// What makes an ExternalSecret from it; none = it is applied as it is.
    pub made: Option<Made>,
    pub tool: Tool,
    /// Its version is not `v1`, the only one that ESO serves.
    pub outdated: bool,
    /// It is a ClusterExternalSecret, so selectors decide on its namespaces.
    pub cluster: bool,
    /// The bytes of `spec.secretStoreRef.kind`, and its text.
    pub kind: Option<(Range<usize>, String)>,
    /// `spec.target.name`, or else the ExternalSecret's own name.
    pub target: String,
    /// `spec.data`, in its order.
    pub entries: Vec<Entry>,
    /// The position of an alias or a merge key that hides a part of it, so that what it reads cannot be determined.
    pub hidden: Option<Position>,
    /// `spec.dataFrom`, in its order, without generators.
    pub whole: Vec<Whole>,
    /// The fields that `spec.target.template` uses, sorted.
    pub fields: BTreeSet<String>,
    /// It is in the file's own YAML or JSON, so a property can be added to its text.
    pub written_out: bool,
    pub position: Position,
}

impl ExternalSecret {
    /// The store of each entry and each `dataFrom`.
    pub fn stores(&self) -> impl Iterator<Item = &StoreRef> {
        self.entries.iter().map(|entry| &entry.store).chain(self.whole.iter().map(|whole| &whole.store))
    }
}

/// What makes an ExternalSecret from something that is not one yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// Whatever unpacks the text that contains it.
    Text,
    /// Whatever fills in a template.
    Template,
    /// A chart, from values.
    Chart,
    /// An object of this kind, such as a policy.
    By(String),
}

/// The tool that runs helm, as far as the text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    ArgoCd,
    /// With whether a post-renderer of the HelmRelease adds a property.
    Flux(bool),
    Unknown,
}

#[derive(Clone)]
pub struct StoreRef {
    /// `SecretStore`, which is the default, or `ClusterSecretStore`; empty if helm values do not set it.
    pub kind: String,
    /// Empty if nothing sets it.
    pub name: String,
}

pub struct Entry {
    /// Its index in `spec.data`, from 0.
    pub index: usize,
    pub secret_key: String,
    pub key: String,
    pub property: Option<String>,
    /// The field of its `remoteRef` that makes ESO change the value.
    pub otherwise: Option<&'static str>,
    /// The bytes of its own store's kind, and its text.
    pub own_kind: Option<(Range<usize>, String)>,
    pub own_store: bool,
    /// Its own `sourceRef.storeRef`, or else the ExternalSecret's.
    pub store: StoreRef,
    /// Where a property would go.
    pub slot: Slot,
    pub position: Position,
}

/// One entry of `spec.dataFrom`: a whole source Secret, or several.
pub struct Whole {
    /// `extract.key`; none = `find`.
    pub key: Option<String>,
    /// Its own `sourceRef.storeRef`, or else the ExternalSecret's.
    pub store: StoreRef,
    /// The bytes of `extract.key`, if nothing repeats them elsewhere.
    pub place: Option<Range<usize>>,
    /// Whether its data keys are renamed (`rewrite`), or their values changed (`decodingStrategy`, `conversionStrategy`).
    pub changed: bool,
    pub position: Position,
}

/// Where `property` can be added to the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// `remoteRef` in block style: on its own line, after the line in which this value ends.
    Line {
        /// The bytes of the key's value.
        value: Range<usize>,
        /// The indentation of `remoteRef`'s fields, in characters.
        indent: usize,
    },
    /// `remoteRef` in flow style: right after this value.
    Inline {
        /// The bytes of the key's value.
        value: Range<usize>,
    },
    /// An anchor, an alias or a merge key repeats part of it elsewhere.
    Shared,
}

/// What a text contains about secrets in a store.
#[derive(Default)]
pub struct Found {
    pub secrets: Vec<ExternalSecret>,
    /// What PushSecrets write: the store, the key, and its position.
    pub pushed: Vec<(StoreRef, String, Position)>,
    /// Each `remoteKey` of helm values, and its position.
    pub remote_keys: Vec<(String, Position)>,
    /// Patches that change objects before they reach the cluster.
    pub patches: Vec<Patch>,
    /// Why documents that mention an ExternalSecret cannot be read.
    pub unread: Vec<Error>,
}

/// Finds all of this in these documents, at any depth, including texts that are YAML or JSON themselves.
pub fn find(text: &str, documents: &[Document]) -> Found {
    let mut found = Found::default();
    let is_text = |text: &str| text.contains([':', '{']) && (mentions(text) || is_named(text));
    foreign::walk_documents(text, documents, &is_text, &mut |step| match step {
        Step::Node(site) => found.visit(site),
        Step::Unread { layer, range, error } => {
            let part = &layer.text[range.clone()];
            match layer.within {
                _ if !mentions(part) => {}
                Some(site) => found.secrets.extend(unread_text(site, part)),
                None if is_template(part) => found.secrets.push(template(text, range)),
                None => found.unread.push(error),
            }
            false
        }
    });
    found
}

/// Why a document with an ExternalSecret cannot be read, if there is one.
pub fn unread(text: &str) -> Option<Error> {
    let names_one = |text: &str| without_comments(text).any(|line| line.contains("ExternalSecret"));
    let (_, body) = foreign::split_mark(text);
    let unread = |document: Document| document.nodes.err().filter(|_| names_one(&body[document.range]));
    yaml::documents(body).into_iter().find_map(unread)
}

/// Whether a text mentions secrets outside of comments.
pub fn mentions(text: &str) -> bool {
    without_comments(text).any(|line| ["ExternalSecret", "remoteRef", "remoteKey", "dataFrom"].iter().any(|word| line.contains(word)))
}

/// Whether a field's name, or a text, mentions ExternalSecrets, in any spelling.
fn is_named(text: &str) -> bool {
    let plain = || text.chars().filter(|c| !"-_".contains(*c)).map(|c| c.to_ascii_lowercase()).collect::<String>();
    ["xternal", "XTERNAL"].iter().any(|part| text.contains(part)) && plain().contains("externalsecret")
}

/// Whether a text that no YAML reader can read makes an ExternalSecret.
pub fn makes_one(text: &str) -> bool {
    let makes = |line: &str| line.contains("external-secrets.io/") || line.contains("kind") && line.contains("ExternalSecret");
    without_comments(text).any(makes)
}

fn without_comments(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with('#'))
}

/// Whether a text is a helm, Jinja or cookiecutter template, and not its output. In quotes, it may be ESO's own template.
pub fn is_template(text: &str) -> bool {
    let stands = |line: &str, begin: &str| {
        let before = line.split_once(begin).map(|(before, _)| before.trim_start_matches([' ', '-']));
        before.is_some_and(|before| before.is_empty() || before.contains(':') && !before.contains(['"', '\'']))
    };
    yaml::MARKS.iter().any(|(begin, end)| text.contains(end) && without_comments(text).any(|line| stands(line, begin)))
}

/// What a template in this part of a text may read: every word after `key:`.
pub fn template(text: &str, part: Range<usize>) -> ExternalSecret {
    let first = yaml::position_of(text, part.start).0;
    let lines = text[part].lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#'));
    let entries = lines.flat_map(|(i, line)| {
        let (before, rest) = line.split_once("key:").or_else(|| line.split_once("key\":")).unwrap_or_default();
        let column = before.chars().count() + 1;
        let words = rest.split(|c: char| !c.is_ascii_alphanumeric() && !"-.".contains(c)).filter(|word| !word.is_empty());
        words.map(move |word| Entry::unplaced(word, (first + i, column)))
    });
    let entries: Vec<Entry> = entries.collect();
    ExternalSecret { made: Some(Made::Template), nested: true, position: (first, 1), entries, ..ExternalSecret::default() }
}

/// An unreadable text in a scalar, if it looks like a manifest or contains keys.
fn unread_text(site: &Site<'_>, part: &str) -> Option<ExternalSecret> {
    let mut secret = template(part, 0..part.len());
    secret.made = (!is_template(part) || !part.contains("external-secrets.io/")).then_some(Made::Text).or(secret.made);
    secret.entries.iter_mut().for_each(|entry| entry.position = site.position());
    let around = Around::of(site);
    (!secret.entries.is_empty() || secret.made == Some(Made::Template)).then(|| ExternalSecret {
        position: site.position(),
        tool: around.tool,
        namespaces: around.namespace.into_iter().collect(),
        ..secret
    })
}

/// The kind of an ESO object.
fn kind_of(node: &Node) -> Option<&str> {
    let word = |name: &str| node.get(name).and_then(Node::word);
    (word("apiVersion")?.split('/').next()? == "external-secrets.io").then(|| word("kind"))?
}

/// Whether its kind is ExternalSecret or ClusterExternalSecret.
pub fn is_secret(node: &Node) -> bool {
    matches!(kind_of(node), Some("ExternalSecret" | "ClusterExternalSecret"))
}

/// Whether its kind is that of a store.
pub fn is_store(node: &Node) -> bool {
    matches!(kind_of(node), Some("SecretStore" | "ClusterSecretStore"))
}

impl Found {
    /// Records a node; returns whether to visit its content too.
    fn visit(&mut self, site: &Site<'_>) -> bool {
        let node = site.node;
        let inside = |patch: Patch| Patch { position: site.layer.within.map_or(patch.position, Site::position), ..patch };
        if gitops::is_patches(site) {
            let from = gitops::folder_of_patches(site);
            self.patches.extend(gitops::patches(node).into_iter().map(|patch| inside(Patch { from: from.clone(), ..patch })));
            return false;
        }
        if let Some(patch) = gitops::mutation(site) {
            self.patches.push(inside(patch));
            return false;
        }
        let spec = match kind_of(node) {
            Some("ExternalSecret") => node.get("spec"),
            Some("ClusterExternalSecret") => node.at(&["spec", "externalSecretSpec"]),
            Some("PushSecret" | "ClusterPushSecret") => {
                let spec = node.at(&["spec", "pushSecretSpec"]).or_else(|| node.get("spec"));
                self.pushed.extend(spec.into_iter().flat_map(|spec| pushed(site, spec)));
                return false;
            }
            _ => None,
        };
        if let Some(spec) = spec {
            self.secrets.push(read(site, spec));
            // Without either it is no ExternalSecret yet: a chart makes one from it.
            return spec.get("data").is_none() && spec.get("dataFrom").is_none();
        }
        if let Some(remote) = node.get("remoteRef").filter(|remote| remote.get("key").is_some()) {
            self.secrets.push(of_values(site, remote));
        }
        if site.up.is_some_and(|up| up.field == "dataFrom") {
            let whole = read_whole(node, &store_around(site)).map(|whole| whole_of_values(site, whole));
            self.secrets.extend(whole);
        }
        // A field whose name ends like this refers to an existing Secret.
        let refers = site.field.to_ascii_lowercase().ends_with("ref");
        if is_named(site.field) && !refers && node.word().is_none() && !says_what_is_read(node) {
            let mut entries = Vec::new();
            named_keys(site, node, &StoreRef::unsaid(), &mut entries);
            self.secrets.push(loose(site, entries));
        }
        // A helm parameter: `name: externalSecret.remoteKey`, `value: …`.
        let parameter = |end: &str| node.get("name").and_then(Node::word).is_some_and(|name| name.ends_with(end));
        let value = || node.get("value").and_then(Node::word);
        if let Some(key) = value().filter(|_| parameter("remoteKey")) {
            self.remote_keys.push((key.to_owned(), node.get("value").map_or(site.position(), |value| site.place(value))));
            return false;
        }
        let in_named =
            || node.get("name").and_then(Node::word).and_then(|name| name.rsplit_once('.')).is_some_and(|(head, _)| is_named(head));
        if let Some(key) = value().filter(|_| parameter("remoteRef.key") || in_named()) {
            self.secrets.push(loose(site, vec![Entry::unplaced(key, site.position())]));
        }
        if let Some(key) = node.word().filter(|_| site.field == "remoteKey") {
            self.remote_keys.push((key.to_owned(), site.position()));
            return false;
        }
        true
    }
}

/// What a PushSecret writes. A store selected by label has no name.
fn pushed(site: &Site<'_>, spec: &Node) -> Vec<(StoreRef, String, Position)> {
    let stores: Vec<StoreRef> =
        spec.get("secretStoreRefs").map(Node::items).unwrap_or_default().iter().map(|one| store_ref(Some(one))).collect();
    let data = spec.get("data").map(Node::items).unwrap_or_default();
    let keys = data.iter().filter_map(|entry| entry.at(&["match", "remoteRef", "remoteKey"]));
    let keys = keys.filter_map(|key| Some((key.word()?.to_owned(), site.place(key))));
    keys.flat_map(|(key, position)| stores.iter().map(move |store| (store.clone(), key.clone(), position))).collect()
}

/// What surrounds an ExternalSecret, as far as it decides what happens to it.
struct Around {
    namespace: Option<String>,
    fixed: bool,
    /// Flux or k3s makes it from a HelmRelease, and kustomize does not look into its values.
    released: bool,
    nested: bool,
    by: Option<String>,
    tool: Tool,
    anchored: bool,
}

impl Around {
    fn of(site: &Site<'_>) -> Self {
        let mut around =
            Around { namespace: None, fixed: false, released: false, nested: false, by: None, tool: Tool::Unknown, anchored: false };
        for outer in site.around() {
            let node = outer.node;
            let field = |path: &[&str]| word(node, path);
            around.anchored |= node.anchored;
            let kind = node.get("apiVersion").and_then(|_| field(&["kind"])).unwrap_or_default();
            let is_list = |kind: &str| kind.ends_with("List");
            let in_list = outer.field == "items" && outer.up.and_then(|up| word(up.node, &["kind"])).is_some_and(|kind| is_list(&kind));
            around.nested |= !is_list(&kind) && !in_list;
            let (namespace, fixed) = match kind.as_str() {
                "Application" => (field(&["spec", "destination", "namespace"]), true),
                "ApplicationSet" => (field(&["spec", "template", "spec", "destination", "namespace"]), true),
                "HelmRelease" | "HelmChart" => match field(&["spec", "targetNamespace"]) {
                    Some(target) => (Some(target), true),
                    None => (field(&["metadata", "namespace"]), false),
                },
                // One of the charts of a kustomization.
                "" => (outer.up.filter(|up| up.field == "helmCharts").and_then(|_| field(&["namespace"])), false),
                _ => (None, false),
            };
            match kind.as_str() {
                "Application" | "ApplicationSet" => around.tool = Tool::ArgoCd,
                "HelmRelease" => around.tool = Tool::Flux(node.at(&["spec", "postRenderers"]).is_some_and(gitops::adds_property)),
                "" | "HelmChart" | "Kustomization" | "Component" | "ExternalSecret" | "ClusterExternalSecret" => {}
                kind if is_list(kind) => {}
                kind => around.by = around.by.or_else(|| Some(kind.to_owned())),
            }
            around.fixed |= fixed;
            around.released |= matches!(kind.as_str(), "HelmRelease" | "HelmChart");
            around.namespace = around.namespace.or(namespace);
        }
        around
    }

    /// What makes an ExternalSecret from this node, if it is not applied as it is.
    fn made(&self, site: &Site<'_>) -> Option<Made> {
        let text = site.layer.within.map(|_| Made::Text);
        text.or_else(|| self.by.clone().map(Made::By))
    }
}

/// A reader in helm values, in a shape that only its chart knows.
fn of_values(site: &Site<'_>, remote: &Node) -> ExternalSecret {
    let within = || site.up.and_then(|up| up.node.items().iter().position(|item| std::ptr::eq(item, site.node)));
    let place = site.place(remote.get("key").unwrap_or(remote));
    let mut entry = Entry::unplaced(&word(remote, &["key"]).unwrap_or_default(), place);
    entry.index = within().unwrap_or(0);
    entry.property = property(remote);
    entry.otherwise = otherwise(remote);
    entry.store = store_around(site);
    loose(site, vec![entry])
}

/// The store that helm values set here or further out.
fn store_around(site: &Site<'_>) -> StoreRef {
    std::iter::once(site).chain(site.around()).find_map(|site| store_of_values(site.node, &STORES)).unwrap_or_else(StoreRef::unsaid)
}

/// The fields in which charts name the store.
const STORES: [&str; 3] = ["secretStoreRef", "storeRef", "secretStore"];

/// The store in one of these fields of a mapping of helm values.
fn store_of_values(node: &Node, names: &[&str]) -> Option<StoreRef> {
    let store = node.at(&["sourceRef", "storeRef"]).or_else(|| names.iter().find_map(|name| node.get(name)))?;
    let name = store.said().map_or_else(|| word(store, &["name"]), |name| Some(name.to_owned()));
    Some(StoreRef { kind: word(store, &["kind"]).unwrap_or_default(), name: name.unwrap_or_default() })
}

/// Whether helm values say in a known form what is read, or hold an ExternalSecret.
fn says_what_is_read(node: &Node) -> bool {
    let known = |name: &str| matches!(name, "remoteRef" | "remoteKey" | "extract" | "find");
    let field = |(name, node): &(String, Node)| known(name) || says_what_is_read(node);
    is_secret(node) || node.entries().iter().any(field) || node.items().iter().any(says_what_is_read)
}

/// Adds each scalar of a field that is named after ExternalSecrets: it may be a key of the nearest store.
fn named_keys(site: &Site<'_>, node: &Node, around: &StoreRef, entries: &mut Vec<Entry>) {
    let names = [&STORES[..], &["store", "secretStoreName", "storeName"]].concat();
    let store = store_of_values(node, &names).unwrap_or_else(|| around.clone());
    if let Some(key) = node.word() {
        entries.push(Entry { store: around.clone(), ..Entry::unplaced(key, site.place(node)) });
    }
    let below = node.entries().iter().map(|(_, node)| node).chain(node.items());
    below.for_each(|node| named_keys(site, node, &store, entries));
}

/// A reader in helm values that reads one whole Secret, or several.
fn whole_of_values(site: &Site<'_>, whole: Whole) -> ExternalSecret {
    let key = site.node.at(&["extract", "key"]).unwrap_or(site.node);
    ExternalSecret { whole: vec![Whole { position: site.place(key), ..whole }], ..loose(site, Vec::new()) }
}

/// A reader of which only these entries are known.
fn loose(site: &Site<'_>, entries: Vec<Entry>) -> ExternalSecret {
    let around = Around::of(site);
    ExternalSecret {
        made: around.made(site).or(Some(Made::Chart)),
        namespaces: around.namespace.into_iter().collect(),
        tool: around.tool,
        nested: true,
        position: entries.first().map_or(site.position(), |entry| entry.position),
        entries,
        ..ExternalSecret::default()
    }
}

impl Default for ExternalSecret {
    /// A reader about which nothing is known.
    fn default() -> Self {
        ExternalSecret {
            name: String::new(),
            namespaces: Vec::new(),
            fixed: false,
            nested: false,
            made: None,
            tool: Tool::Unknown,
            outdated: false,
            cluster: false,
            kind: None,
            target: String::new(),
            entries: Vec::new(),
            hidden: None,
            whole: Vec::new(),
            fields: BTreeSet::new(),
            written_out: false,
            position: (1, 1),
        }
    }
}

impl StoreRef {
    fn unsaid() -> Self {
        StoreRef { kind: String::new(), name: String::new() }
    }
}

impl Entry {
    /// An entry without a slot, whose store nothing sets.
    fn unplaced(key: &str, position: Position) -> Self {
        let (slot, store) = (Slot::Shared, StoreRef::unsaid());
        let (secret_key, key) = (String::new(), key.to_owned());
        Entry { index: 0, secret_key, key, property: None, otherwise: None, own_kind: None, own_store: false, store, slot, position }
    }
}

fn word(node: &Node, path: &[&str]) -> Option<String> {
    node.at(path).and_then(Node::said).map(str::to_owned)
}

/// A property's text; `null` counts as written, so that no property is added.
fn property(remote: &Node) -> Option<String> {
    remote.get("property").and_then(Node::word).map(str::to_owned)
}

/// The bytes of a scalar, and its text.
fn placed(node: &Node) -> Option<(Range<usize>, String)> {
    Some((node.range.clone(), node.word()?.to_owned()))
}

fn read(site: &Site<'_>, spec: &Node) -> ExternalSecret {
    let (node, text) = (site.node, site.layer.text);
    let around = Around::of(site);
    let cluster = !std::ptr::eq(node.get("spec").unwrap_or(spec), spec);
    let name = word(node, &["metadata", "name"]).unwrap_or_default();
    let own = word(node, &["metadata", "namespace"]);
    let namespaces = match cluster {
        true => {
            let named = node.at(&["spec", "namespaces"]).map(Node::items).unwrap_or_default();
            named.iter().filter_map(Node::word).map(str::to_owned).collect()
        }
        false => own.clone().or_else(|| around.namespace.clone()).into_iter().collect(),
    };
    let store = store_ref(spec.get("secretStoreRef"));
    // The nodes above an entry may be shared as well.
    let above = [Some(node), node.get("spec"), Some(spec), spec.get("data")];
    let is_shared = |node: &&Node| node.anchored || node.is_alias() || node.get("<<").is_some();
    let shared = around.anchored || above.iter().flatten().any(is_shared);
    let data = spec.get("data").map(Node::items).unwrap_or_default();
    let whole = spec.get("dataFrom").map(Node::items).unwrap_or_default();
    let parts = data.iter().flat_map(|entry| {
        let remote = entry.get("remoteRef");
        [Some(entry), remote, remote.and_then(|remote| remote.get("key")), entry.get("sourceRef"), entry.at(&["sourceRef", "storeRef"])]
    });
    let stores = [spec.get("secretStoreRef"), spec.at(&["secretStoreRef", "name"]), spec.at(&["secretStoreRef", "kind"])];
    let hidden = above.into_iter().chain(stores).chain(parts).flatten().find(|node| node.is_alias() || node.get("<<").is_some());
    let mut entries: Vec<Entry> = data.iter().enumerate().filter_map(|(i, entry)| read_entry(i, entry, &store, shared, text)).collect();
    let mut whole: Vec<Whole> = whole.iter().filter_map(|node| read_whole(node, &store)).collect();
    if let Some(within) = site.layer.within {
        entries.iter_mut().for_each(|entry| entry.position = within.position());
        whole.iter_mut().for_each(|whole| whole.position = within.position());
    }
    ExternalSecret {
        hidden: hidden.map(|node| site.place(node)),
        made: around.made(site).or_else(|| has_gaps(node, spec, text).then_some(Made::Template)),
        target: word(spec, &["target", "name"]).unwrap_or_else(|| name.clone()),
        name,
        namespaces,
        fixed: around.fixed || around.released && own.is_some(),
        nested: around.nested,
        tool: around.tool,
        outdated: word(node, &["apiVersion"]).is_some_and(|version| !version.ends_with("/v1")),
        cluster,
        kind: spec.at(&["secretStoreRef", "kind"]).and_then(placed),
        written_out: site.layer.within.is_none(),
        entries,
        whole,
        fields: spec.at(&["target", "template"]).map(template_fields).unwrap_or_default(),
        position: site.position(),
    }
}

/// The fields that Go templates use: `.FIELD` and `index . "FIELD"`, inside braces.
fn template_fields(node: &Node) -> BTreeSet<String> {
    static ACTION: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?s)\{\{(.*?)\}\}").expect("a constant pattern"));
    static FIELD: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"(?:^|[\s(|])\.([A-Za-z_][A-Za-z0-9_]*)|index\s+\.\s+"([^"]+)""#).expect("a constant pattern"));
    let mut found = BTreeSet::new();
    let texts = node.entries().iter().map(|(_, node)| node).chain(node.items());
    for node in texts {
        match node.word() {
            Some(text) => {
                let actions = ACTION.captures_iter(text).map(|action| action.extract::<1>().1[0].to_owned());
                for action in actions.filter(|action| !action.trim_start_matches(['-', ' ']).starts_with("/*")) {
                    let fields = FIELD.captures_iter(&action).filter_map(|field| field.get(1).or(field.get(2)));
                    found.extend(fields.map(|field| field.as_str().to_owned()));
                }
            }
            None => found.extend(template_fields(node)),
        }
    }
    found
}

/// The field of a `remoteRef` that makes ESO return the metadata, or the decoded value.
fn otherwise(remote: &Node) -> Option<&'static str> {
    ["metadataPolicy", "decodingStrategy"].into_iter().find(|name| word(remote, &[name]).is_some_and(|word| word != "None"))
}

/// Whether a template still fills in a name or key: helm or Jinja, or envsubst and Flux, whose `$` no such name contains.
fn has_gaps(node: &Node, spec: &Node, text: &str) -> bool {
    let names = [&["metadata", "name"][..], &["metadata", "namespace"]].into_iter().filter_map(|path| node.at(path));
    let of_spec = [&["secretStoreRef", "name"][..], &["secretStoreRef", "kind"], &["target", "name"]];
    let of_spec = of_spec.into_iter().filter_map(|path| spec.at(path));
    let data = spec.get("data").map(Node::items).unwrap_or_default();
    let keys = data.iter().filter_map(|entry| entry.at(&["remoteRef", "key"]));
    let mut written = names.chain(of_spec).chain(keys).map(|node| &text[node.range.clone()]);
    written.any(|source| ["{{", "{%", "$"].iter().any(|mark| source.contains(mark)))
}

fn store_ref(node: Option<&Node>) -> StoreRef {
    let field = |name| node.and_then(|node| word(node, &[name]));
    StoreRef { kind: field("kind").unwrap_or_else(|| "SecretStore".to_owned()), name: field("name").unwrap_or_default() }
}

fn read_entry(index: usize, node: &Node, store: &StoreRef, shared: bool, text: &str) -> Option<Entry> {
    let remote = node.get("remoteRef")?;
    let key = remote.get("key");
    let parts = [Some(node), Some(remote), key];
    let shared = shared || parts.iter().flatten().any(|node| node.anchored || node.is_alias() || node.get("<<").is_some());
    let slot = match key {
        Some(key) if !shared && text[remote.range.start..].starts_with('{') => Slot::Inline { value: key.range.clone() },
        Some(key) if !shared => Slot::Line { value: key.range.clone(), indent: remote.position.1 - 1 },
        _ => Slot::Shared,
    };
    let own = node.at(&["sourceRef", "storeRef"]);
    Some(Entry {
        index,
        secret_key: word(node, &["secretKey"]).unwrap_or_default(),
        key: word(remote, &["key"]).unwrap_or_default(),
        property: property(remote),
        otherwise: otherwise(remote),
        own_kind: own.and_then(|own| own.get("kind")).and_then(placed),
        own_store: own.is_some(),
        store: own.map_or_else(|| store.clone(), |own| store_ref(Some(own))),
        slot,
        position: key.unwrap_or(remote).position,
    })
}

fn read_whole(node: &Node, store: &StoreRef) -> Option<Whole> {
    let store = node.at(&["sourceRef", "storeRef"]).map_or_else(|| store.clone(), |own| store_ref(Some(own)));
    let key = match (node.get("extract"), node.get("find")) {
        (Some(extract), _) => Some(word(extract, &["key"]).unwrap_or_default()),
        (None, Some(_)) => None,
        // A generator, which reads no store.
        (None, None) => return None,
    };
    let extract = node.get("extract");
    let changes = ["decodingStrategy", "conversionStrategy"].iter().filter_map(|field| word(extract?, &[field]));
    let odd = changes.filter(|word| word != "None" && word != "Default").count() > 0;
    let changed = odd || node.get("rewrite").is_some() || extract.is_some_and(|extract| extract.get("property").is_some());
    let written = extract.and_then(|extract| extract.get("key")).filter(|key| !key.anchored && !key.is_alias());
    let place = written.filter(|_| !node.anchored && !node.is_alias()).map(|key| key.range.clone());
    Some(Whole { key, store, changed, place, position: node.position })
}
