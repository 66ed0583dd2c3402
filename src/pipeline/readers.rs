//! Who can read what, as the files grant it: the account's Roles, and the store that reads with it. Only what is written exactly as this
//! tool writes it counts. So an edited file grants less here than in a cluster, and the operator is asked once more.

use std::collections::{BTreeMap, BTreeSet};

use super::inventory::Files;
use super::render;
use crate::manifest::yaml::{self, Node};
use crate::model::{Contract, Delivery, Sorted};

/// Pairs of a namespace and a key that can be read in it.
type Readers = BTreeSet<(String, String)>;

/// By namespace, how many of these keys the rendered files make readable that the existing files do not.
///
/// `agreed` says that this form was agreed to: then a missing or foreign file is only restored.
pub fn added(contract: &Contract, delivery: &Delivery, found: &Files, keys: &BTreeSet<&str>, agreed: bool) -> BTreeMap<String, usize> {
    let text = |path: &str| found.get(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
    let listed = text("secret-store/kustomization.yaml");
    let ours = ["cluster-secret-store.yaml", "secret-stores.yaml"]
        .into_iter()
        .filter(|file| listed.lines().any(|line| line.trim() == format!("- {file}")));
    let platforms = delivery.store_file.as_ref().and_then(|file| file.present.as_deref());
    let mut stores: Vec<String> = ours.map(|file| text(&format!("secret-store/{file}"))).collect();
    stores.extend(platforms.map(|bytes| String::from_utf8_lossy(bytes).into_owned()));
    let rbac = text("secret-source/rbac.yaml");
    if !found.contains_key(render::RUNBOOK) && (rbac.is_empty() || stores.is_empty()) {
        // An interrupted first run.
        return BTreeMap::new();
    }
    if agreed && !(grants(&rbac, keys) && stores.iter().any(|store| is_store(store))) {
        return BTreeMap::new();
    }
    let before = readers(&rbac, &stores.join("---\n"), keys);
    let after = readers(&render::rbac(contract, delivery).join("---\n"), &render::stores(contract, delivery).join("---\n"), keys);
    let mut more = BTreeMap::new();
    for (namespace, key) in after {
        // A key that every namespace could read is not new to this one.
        if ![&namespace, EVERY].iter().any(|before_in| before.contains(&((*before_in).to_owned(), key.clone()))) {
            *more.entry(namespace).or_default() += 1;
        }
    }
    more
}

/// Means every namespace: no namespace has that name.
const EVERY: &str = "*";

fn readers(rbac: &str, stores: &str, keys: &BTreeSet<&str>) -> Readers {
    let (rbac, stores) = (yaml::read_foreign(rbac).unwrap_or_default(), yaml::read_foreign(stores).unwrap_or_default());
    let accounts = accounts(&rbac, keys);
    // Anything that runs in an account's own namespace can read with it directly.
    let mut readers: Readers = accounts.iter().flat_map(|((namespace, _), keys)| pairs(namespace, keys)).sorted();
    for store in &stores {
        for (user, account) in store_users(store).unwrap_or_default() {
            readers.extend(accounts.get(&account).into_iter().flat_map(|keys| pairs(&user, keys)));
        }
    }
    readers
}

/// Whether it has Roles of ours.
fn grants(rbac: &str, keys: &BTreeSet<&str>) -> bool {
    accounts(&yaml::read_foreign(rbac).unwrap_or_default(), keys).values().any(|keys| !keys.is_empty())
}

/// Whether it is a store of ours.
fn is_store(text: &str) -> bool {
    let account = |store: &Node| store.at(&["spec", "provider", "kubernetes", "auth", "serviceAccount", "name"]).is_some();
    yaml::read_foreign(text).is_ok_and(|documents| documents.iter().any(account))
}

fn pairs(namespace: &str, keys: &BTreeSet<String>) -> Readers {
    keys.iter().map(|key| (namespace.to_owned(), key.clone())).sorted()
}

/// A ServiceAccount: its namespace and name.
type Account = (String, String);

/// The keys, of these, that each account may read.
fn accounts(documents: &[Node], keys: &BTreeSet<&str>) -> BTreeMap<Account, BTreeSet<String>> {
    let mut roles: BTreeMap<Account, BTreeSet<String>> = BTreeMap::new();
    for role in of_kind(documents, "Role") {
        let rules = role.get("rules").map_or(&[][..], Node::items);
        let granted = rules.iter().filter_map(|rule| rule_keys(rule, keys)).flatten();
        roles.entry(name(role).unwrap_or_default()).or_default().extend(granted);
    }
    let mut accounts: BTreeMap<Account, BTreeSet<String>> = BTreeMap::new();
    for binding in of_kind(documents, "RoleBinding") {
        let bound = || {
            let (namespace, role) = (name(binding)?.0, binding.at(&["roleRef", "name"])?.word()?);
            (binding.at(&["roleRef", "kind"])?.word()? == "Role").then(|| roles.get(&(namespace, role.to_owned())))?
        };
        let Some(granted) = bound() else { continue };
        for subject in binding.get("subjects").map_or(&[][..], Node::items) {
            let text = |field| Some(subject.get(field)?.word()?.to_owned());
            if let (Some("ServiceAccount"), Some(namespace), Some(name)) = (text("kind").as_deref(), text("namespace"), text("name")) {
                accounts.entry((namespace, name)).or_default().extend(granted.iter().cloned());
            }
        }
    }
    accounts
}

fn of_kind<'n>(documents: &'n [Node], kind: &'static str) -> impl Iterator<Item = &'n Node> {
    documents.iter().filter(move |document| document.get("kind").and_then(Node::word) == Some(kind))
}

fn name(object: &Node) -> Option<Account> {
    let text = |field| Some(object.at(&["metadata", field])?.word()?.to_owned());
    Some((text("namespace")?, text("name")?))
}

/// The keys that a rule names, or all if it names none; nothing if the rule is not ours.
fn rule_keys(rule: &Node, keys: &BTreeSet<&str>) -> Option<Vec<String>> {
    let is = |(field, word): (&str, &str)| matches!(rule.get(field)?.items(), [one] if one.word() == Some(word)).then_some(());
    [("apiGroups", ""), ("resources", "secrets"), ("verbs", "get")].into_iter().try_for_each(is)?;
    Some(match rule.get("resourceNames") {
        None => keys.iter().map(|key| (*key).to_owned()).collect(),
        Some(names) => names.items().iter().filter_map(Node::word).filter(|key| keys.contains(key)).map(str::to_owned).collect(),
    })
}

/// The namespaces that may use a store, each with the account that it reads with. None if each namespace reads with its own account: then
/// the store adds nothing to what the account can read.
fn store_users(store: &Node) -> Option<Vec<(String, Account)>> {
    let account = store.at(&["spec", "provider", "kubernetes", "auth", "serviceAccount"])?;
    let text = |field| Some(account.get(field)?.word()?.to_owned());
    let account = (text("namespace")?, text("name")?);
    let conditions = store.at(&["spec", "conditions"]).map_or(Ok(&[][..]), |conditions| conditions.list("")).ok()?;
    if conditions.is_empty() {
        return Some(vec![(EVERY.to_owned(), account)]);
    }
    let namespaces = conditions.iter().filter_map(|condition| condition.get("namespaces")).flat_map(Node::items);
    Some(namespaces.filter_map(Node::word).map(|namespace| (namespace.to_owned(), account.clone())).sorted())
}
