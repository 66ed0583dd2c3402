//! ExternalSecrets of the platform (`external-secrets.io/v1` and `v1beta1`): which keys they read from which store,
//! and where in the text a property would go.

use std::ops::Range;

use super::yaml::Node;
use crate::model::Position;

/// One ExternalSecret, or the template of a ClusterExternalSecret. Names are as written, and not yet checked; a missing one
/// is empty.
pub struct ExternalSecret {
    pub name: String,
    /// `metadata.namespace`; for a ClusterExternalSecret each of `spec.namespaces`.
    pub namespaces: Vec<String>,
    /// It is a ClusterExternalSecret, so selectors decide on its namespaces.
    pub cluster: bool,
    /// The bytes of `spec.secretStoreRef.kind`, and what it says.
    pub kind: Option<(Range<usize>, String)>,
    /// `spec.target.name`, or else the ExternalSecret's own name.
    pub target: String,
    /// `spec.data`, in its order.
    pub entries: Vec<Entry>,
    /// Where an alias or a merge key hides a part of it, so that what it reads cannot be determined.
    pub hidden: Option<Position>,
    /// `spec.dataFrom`, in its order, without generators.
    pub whole: Vec<Whole>,
    pub position: Position,
}

#[derive(Clone)]
pub struct StoreRef {
    /// `SecretStore`, which is the default, or `ClusterSecretStore`.
    pub kind: String,
    pub name: String,
}

pub struct Entry {
    /// Its place in `spec.data`, from 0.
    pub index: usize,
    pub secret_key: String,
    pub key: String,
    pub property: Option<String>,
    /// The bytes of its own store's kind, and what it says.
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
    /// `remoteRef` in flow style: right after this value.
    Inline {
        /// The bytes of the key's value.
        value: Range<usize>,
    },
    /// An anchor, an alias or a merge key repeats part of it elsewhere.
    Shared,
}

/// Every ExternalSecret of these documents, also those inside a List.
pub fn find(documents: &[Node], text: &str) -> Vec<ExternalSecret> {
    let mut found = Vec::new();
    for node in documents {
        collect(node, text, &mut found);
    }
    found
}

fn collect(node: &Node, text: &str, found: &mut Vec<ExternalSecret>) {
    let word = |name: &str| node.get(name).and_then(Node::word);
    let group = word("apiVersion").and_then(|version| version.split('/').next());
    match (group, word("kind")) {
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

fn word(node: &Node, path: &[&str]) -> Option<String> {
    node.at(path).and_then(Node::word).map(str::to_owned)
}

/// The bytes of a scalar, and its text.
fn placed(node: &Node) -> Option<(Range<usize>, String)> {
    Some((node.range.clone(), node.word()?.to_owned()))
}

fn read(node: &Node, spec: &Node, text: &str, cluster: bool) -> ExternalSecret {
    let name = word(node, &["metadata", "name"]).unwrap_or_default();
    let namespaces = if cluster {
        let named = node.at(&["spec", "namespaces"]).map(Node::items).unwrap_or_default();
        named.iter().filter_map(Node::word).map(str::to_owned).collect()
    } else {
        word(node, &["metadata", "namespace"]).into_iter().collect()
    };
    let store = store_ref(spec.get("secretStoreRef"));
    // The nodes above an entry may be shared as well.
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
        target: word(spec, &["target", "name"]).unwrap_or_else(|| name.clone()),
        name,
        namespaces,
        cluster,
        kind: spec.at(&["secretStoreRef", "kind"]).and_then(placed),
        entries: data.iter().enumerate().filter_map(|(i, entry)| read_entry(i, entry, &store, shared, text)).collect(),
        whole: whole.iter().filter_map(|node| read_whole(node, &store)).collect(),
        position: node.position,
    }
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
        property: word(remote, &["property"]),
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
    Some(Whole { key, store, position: node.position })
}
