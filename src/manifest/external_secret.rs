//! ExternalSecrets as others wrote them (`external-secrets.io/v1` and `v1beta1`): which keys they read from which store,
//! and where in the text a property would go.

use std::ops::Range;

use super::yaml::Node;
use crate::model::Position;

/// One ExternalSecret, or the template of a ClusterExternalSecret, as far as it was written down. Names are as written:
/// nothing has judged them yet.
pub struct ExternalSecret<'n> {
    /// `metadata.name`.
    pub name: Option<&'n str>,
    /// `metadata.namespace`; for a ClusterExternalSecret each of `spec.namespaces`.
    pub namespaces: Vec<&'n str>,
    /// A ClusterExternalSecret: selectors decide on its namespaces.
    pub cluster: bool,
    /// `spec.secretStoreRef`.
    pub store: StoreRef<'n>,
    /// `spec.secretStoreRef.kind`: its bytes, and what it says.
    pub kind: Option<(Range<usize>, &'n str)>,
    /// `spec.target.name`, or the ExternalSecret's own.
    pub target: Option<&'n str>,
    /// `spec.data`, in its order.
    pub entries: Vec<Entry<'n>>,
    /// Where a part of it is hidden behind an alias or a merge key: nobody can tell what it reads without resolving it.
    pub hidden: Option<Position>,
    /// `spec.dataFrom`, in its order; generators are passed over.
    pub whole: Vec<Whole<'n>>,
    /// Where it begins.
    pub position: Position,
}

/// A reference to a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreRef<'n> {
    /// `SecretStore`, which is the default, or `ClusterSecretStore`.
    pub kind: &'n str,
    /// Its name.
    pub name: &'n str,
}

/// One entry of `spec.data`.
pub struct Entry<'n> {
    /// Its place in `spec.data`, from 0.
    pub index: usize,
    /// `secretKey`.
    pub secret_key: &'n str,
    /// `remoteRef.key`.
    pub key: &'n str,
    /// `remoteRef.property`.
    pub property: Option<&'n str>,
    /// It names its own store: the bytes of that store's kind, and what it says.
    pub own_kind: Option<(Range<usize>, &'n str)>,
    /// Whether it names its own store.
    pub own_store: bool,
    /// Its own `sourceRef.storeRef`, or the ExternalSecret's.
    pub store: StoreRef<'n>,
    /// Where a property would go.
    pub slot: Slot,
    /// Where its key stands.
    pub position: Position,
}

/// A whole source Secret, or several.
pub struct Whole<'n> {
    /// `extract.key`; none = `find`.
    pub key: Option<&'n str>,
    /// Its own `sourceRef.storeRef`, or the ExternalSecret's.
    pub store: StoreRef<'n>,
    /// Where it begins.
    pub position: Position,
}

/// Where `property` can be put into the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// `remoteRef` in block style: a line of its own, after the line in which this value ends.
    Line {
        /// The bytes of the key's value.
        value: Range<usize>,
        /// The indentation of `remoteRef`'s fields, in characters.
        indent: usize,
    },
    /// `remoteRef` in flow style: right behind this value.
    Inline {
        /// The bytes of the key's value.
        value: Range<usize>,
    },
    /// Part of it stands for other places too: an anchor, an alias or a merge key.
    Shared,
}

/// Every ExternalSecret of these documents, those inside a List as well.
pub fn find<'n>(documents: &'n [Node], text: &str) -> Vec<ExternalSecret<'n>> {
    let mut found = Vec::new();
    for node in documents {
        collect(node, text, &mut found);
    }
    found
}

fn collect<'n>(node: &'n Node, text: &str, found: &mut Vec<ExternalSecret<'n>>) {
    let word = |node: &'n Node, name: &str| node.get(name).and_then(Node::word);
    let group = word(node, "apiVersion").and_then(|version| version.split('/').next());
    match (group, word(node, "kind")) {
        (Some("external-secrets.io"), Some("ExternalSecret")) => {
            found.extend(node.get("spec").map(|spec| read(node, spec, text, false)));
        }
        (Some("external-secrets.io"), Some("ClusterExternalSecret")) => {
            found.extend(node.at(&["spec", "externalSecretSpec"]).map(|spec| read(node, spec, text, true)));
        }
        (_, Some(kind)) if kind.ends_with("List") => {
            node.get("items").map(Node::items).unwrap_or_default().iter().for_each(|item| collect(item, text, found))
        }
        _ => {}
    }
}

fn read<'n>(node: &'n Node, spec: &'n Node, text: &str, cluster: bool) -> ExternalSecret<'n> {
    let word = |path: &[&str]| node.at(path).and_then(Node::word);
    let name = word(&["metadata", "name"]);
    let namespaces = if cluster {
        node.at(&["spec", "namespaces"]).map(Node::items).unwrap_or_default().iter().filter_map(Node::word).collect()
    } else {
        word(&["metadata", "namespace"]).into_iter().collect()
    };
    let store = spec.get("secretStoreRef").map_or(StoreRef { kind: "SecretStore", name: "" }, store_ref);
    // What is above an entry may be shared as well.
    let above = [Some(node), node.get("spec"), Some(spec), spec.get("data")];
    let shared = above.iter().flatten().any(|node| node.anchored || node.is_alias() || node.get("<<").is_some());
    let data = spec.get("data").map(Node::items).unwrap_or_default();
    let whole = spec.get("dataFrom").map(Node::items).unwrap_or_default();
    let parts = data.iter().flat_map(|entry| {
        let remote = entry.get("remoteRef");
        [Some(entry), remote, remote.and_then(|remote| remote.get("key")), entry.get("sourceRef"), entry.at(&["sourceRef", "storeRef"])]
    });
    let stores = [spec.get("secretStoreRef"), spec.at(&["secretStoreRef", "name"]), spec.at(&["secretStoreRef", "kind"])];
    let hidden = above.into_iter().chain(stores).chain(parts).flatten().find(|node| node.is_alias() || node.get("<<").is_some());
    ExternalSecret {
        hidden: hidden.map(|node| node.position),
        name,
        namespaces,
        cluster,
        store,
        kind: spec.at(&["secretStoreRef", "kind"]).and_then(|node| Some((node.range.clone(), node.word()?))),
        target: spec.at(&["target", "name"]).and_then(Node::word).or(name),
        entries: data.iter().enumerate().filter_map(|(i, entry)| read_entry(i, entry, store, shared, text)).collect(),
        whole: whole.iter().filter_map(|node| read_whole(node, store)).collect(),
        position: node.position,
    }
}

fn store_ref(node: &Node) -> StoreRef<'_> {
    let word = |name: &str| node.get(name).and_then(Node::word);
    StoreRef { kind: word("kind").unwrap_or("SecretStore"), name: word("name").unwrap_or("") }
}

fn read_entry<'n>(index: usize, node: &'n Node, store: StoreRef<'n>, shared: bool, text: &str) -> Option<Entry<'n>> {
    let remote = node.get("remoteRef")?;
    let key = remote.get("key");
    let parts = [Some(node), Some(remote), key];
    let shared = shared || parts.iter().flatten().any(|node| node.anchored || node.is_alias() || node.get("<<").is_some());
    let slot = match key {
        Some(key) if !shared && text[remote.range.start..].starts_with('{') => Slot::Inline { value: key.range.clone() },
        Some(key) if !shared => Slot::Line { value: key.range.clone(), indent: remote.position.1 - 1 },
        _ => Slot::Shared,
    };
    Some(Entry {
        index,
        secret_key: node.get("secretKey").and_then(Node::word).unwrap_or(""),
        key: key.and_then(Node::word).unwrap_or(""),
        property: remote.get("property").and_then(Node::word),
        own_kind: node.at(&["sourceRef", "storeRef", "kind"]).and_then(|node| Some((node.range.clone(), node.word()?))),
        own_store: node.at(&["sourceRef", "storeRef"]).is_some(),
        store: node.at(&["sourceRef", "storeRef"]).map_or(store, store_ref),
        slot,
        position: key.unwrap_or(remote).position,
    })
}

fn read_whole<'n>(node: &'n Node, store: StoreRef<'n>) -> Option<Whole<'n>> {
    let store = node.at(&["sourceRef", "storeRef"]).map_or(store, store_ref);
    let key = match (node.get("extract"), node.get("find")) {
        (Some(extract), _) => Some(extract.get("key").and_then(Node::word).unwrap_or("")),
        (None, Some(_)) => None,
        // A generator, which reads no store.
        (None, None) => return None,
    };
    Some(Whole { key, store, position: node.position })
}
