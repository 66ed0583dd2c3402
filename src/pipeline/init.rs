//! The settings that fit a checkout, from what it contains.

use super::platform::Platform;
use crate::manifest::external_secret::StoreRef;
use crate::manifest::kubernetes::Identity;
use crate::manifest::store::{self, Store};
use crate::model::{Contract, GitOps, Name, StoreKind, visible};

/// The environment: the only one, or the production one; none if the checkout does not tell.
pub fn environment(platform: &Platform) -> Option<&str> {
    let names = || platform.configurations.keys().map(String::as_str);
    match platform.configurations.len() {
        1 => names().next(),
        _ => ["prod", "production"].into_iter().find_map(|usual| names().find(|name| *name == usual)),
    }
}

/// The tool that applies the checkout, as far as its objects tell.
pub fn gitops(platform: &Platform) -> Option<GitOps> {
    let flux = |group: &str| group == "toolkit.fluxcd.io" || group.ends_with(".toolkit.fluxcd.io");
    match platform.objects.iter().any(|(_, object, _)| flux(&object.group)) {
        _ if !platform.applications.is_empty() => Some(GitOps::ArgoCd),
        flux => flux.then_some(GitOps::Flux),
    }
}

/// The checkout's existing store of this name: its kind and its file. A SecretStore counts only if no ExternalSecret refers to a
/// ClusterSecretStore.
pub fn store<'p>(platform: &'p Platform, name: &Name) -> Option<(StoreKind, &'p str)> {
    let found = |kind: StoreKind| {
        let is_store =
            |object: &Identity| object.group == "external-secrets.io" && object.kind == kind.as_str() && object.name == name.as_str();
        let mut files = platform.objects.iter().filter(|(file, object, _)| is_store(object) && !platform.is_patch(file));
        files.next().map(|(file, ..)| (kind, file.as_str()))
    };
    let secrets = || platform.manifests.iter().map(|manifest| &manifest.secret);
    let refers = |store: &StoreRef| store.name == name.as_str() && store.kind == StoreKind::ClusterSecretStore.as_str();
    let is_read = || {
        let entries = secrets().flat_map(|secret| &secret.entries).map(|entry| &entry.store);
        entries.chain(secrets().flat_map(|secret| &secret.whole).map(|whole| &whole.store)).any(refers)
    };
    found(StoreKind::ClusterSecretStore).or_else(|| found(StoreKind::SecretStore).filter(|_| !is_read()))
}

/// The differences between the platform's store and the contract.
pub fn differences(file: &str, text: &str, contract: &Contract) -> Vec<String> {
    let account = format!("{}/{}", contract.reader.namespace, contract.reader.name);
    let differing = |what: &str, ours: &str, theirs: Option<String>| {
        let theirs = theirs.filter(|theirs| theirs != ours)?;
        Some(format!(
            "the contract says {what} `{ours}`, and the store in {} `{}`: if the store is right, pass a contract of your own with `contract:`",
            visible(file),
            visible(&theirs)
        ))
    };
    let of_store = |store: Store| {
        let account = differing("the account", &account, store.account);
        account.into_iter().chain(differing("the namespace", contract.namespace.as_str(), store.remote_namespace))
    };
    store::find(text).into_iter().flat_map(of_store).collect()
}
