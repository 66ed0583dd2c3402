//! How the values get from the source Secrets to their consumers, and the forms that an operator can choose.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use super::{Contract, Controller, Name, Namespace, Places, Sorted};

/// The store's form. The default is one ClusterSecretStore with one account, which may read the keys that consumers read.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// ClusterSecretStore, or a SecretStore in each namespace.
    pub store_kind: StoreKind,
    /// Whether a kind was given: then ExternalSecrets are changed to use it, and those of the other kind are ours too.
    pub names_kind: bool,
    /// One account for all namespaces, or one per namespace that can read only its keys.
    pub isolation: Isolation,
    pub rbac: Rbac,
    /// A file of the platform that holds the store instead of `secret-store/`.
    pub store_file: Option<StoreFile>,
    /// The sealed-secrets controller.
    pub controller: Controller,
    /// The same folders, as seen from the output folder.
    pub here: Places,
    /// Whether the run knows the platform's checkout.
    pub platform: bool,
    /// Whether the platform's manifests were read, and each entry has the property.
    pub patched: bool,
    /// The Argo CD Application for the result.
    pub application: Option<Application>,
    /// For `gitops: flux`.
    pub flux: Option<FluxSource>,
}

words! {
    /// The store's kind, as in an ExternalSecret's `secretStoreRef`.
    #[derive(Default)]
    StoreKind {
        /// One, for the whole cluster.
        #[default]
        ClusterSecretStore "ClusterSecretStore"
        /// One in each namespace that has a consumer.
        SecretStore "SecretStore"
    }
}

words! {
    /// Which account reads.
    #[derive(Default)]
    Isolation {
        /// One account for all namespaces.
        #[default]
        Shared "shared"
        /// ESO's referent form: an account in each namespace, and a Role that names only its keys.
        Namespace "namespace"
    }
}

words! {
    /// What a Role grants.
    #[derive(Default)]
    Rbac {
        /// `resourceNames`: only the keys that are read.
        #[default]
        Keys "keys"
        /// Every Secret of the source namespace: for an authorizer that returns incomplete rules.
        Namespace "namespace"
    }
}

/// A store file that the platform's scripts read.
#[derive(Clone, Debug)]
pub struct StoreFile {
    pub path: String,
    /// Its path from the output folder.
    pub from_out: String,
    /// Its content; none = it does not exist.
    pub present: Option<Vec<u8>>,
    /// The value of the line `# projectID: <id>`.
    pub project_id: String,
}

/// An Argo CD Application, following the platform's own.
#[derive(Clone, Debug)]
pub struct Application {
    pub project: String,
    /// `spec.source.repoURL`.
    pub repository: String,
    /// `spec.source.targetRevision`.
    pub revision: String,
    /// `spec.source.path`: the output folder in the repository.
    pub path: String,
    pub namespace: Namespace,
    /// `argocd.argoproj.io/sync-wave`: after the controllers, before the consumers.
    pub wave: i64,
    /// Whether the platform has no Application for the sealed-secrets controller yet.
    pub installs_controller: bool,
}

/// What the platform's Flux Kustomizations are made from.
#[derive(Clone, Debug)]
pub struct FluxSource {
    /// The output folder in the repository.
    pub path: String,
    /// `spec.sourceRef.kind`.
    pub kind: String,
    /// `spec.sourceRef.name`.
    pub name: String,
    pub namespace: Namespace,
    /// The Kustomization that installs the sealed-secrets controller, if there is one.
    pub controller: Option<String>,
    /// The Kustomization that installs the External Secrets Operator, if there is one.
    pub operator: Option<String>,
}

impl Delivery {
    /// The store's kind, if one was given.
    pub fn kind_asked_for(&self) -> Option<StoreKind> {
        self.names_kind.then_some(self.store_kind)
    }

    /// Whether each namespace has its own account.
    pub fn accounts_of_their_own(&self) -> bool {
        self.isolation == Isolation::Namespace || self.store_kind == StoreKind::SecretStore
    }

    /// The namespace of each account that reads, and the keys that it may read.
    pub fn accounts<'c>(&self, contract: &'c Contract) -> BTreeMap<&'c Namespace, BTreeSet<&'c Name>> {
        if self.accounts_of_their_own() {
            return contract.consumer_namespaces().into_iter().map(|namespace| (namespace, contract.secrets_read_in(namespace))).sorted();
        }
        iter::once((&contract.reader.namespace, contract.read_secrets())).sorted()
    }

    /// The namespace of the account that reads for the consumers in this namespace.
    pub fn account<'c>(&self, contract: &'c Contract, namespace: &'c Namespace) -> &'c Namespace {
        if self.accounts_of_their_own() { namespace } else { &contract.reader.namespace }
    }

    /// The namespace of the store that the consumers in this namespace read from; none = a store for the whole cluster.
    pub fn store<'c>(&self, namespace: &'c Namespace) -> Option<&'c Namespace> {
        (self.store_kind == StoreKind::SecretStore).then_some(namespace)
    }

    /// The namespace of each store; none = a store for the whole cluster.
    pub fn stores<'c>(&self, contract: &'c Contract) -> Vec<Option<&'c Namespace>> {
        match self.store_kind {
            StoreKind::ClusterSecretStore => vec![None],
            StoreKind::SecretStore => contract.consumer_namespaces().into_iter().map(Some).collect(),
        }
    }
}

impl StoreKind {
    /// The kind's resource, as in the API server's paths.
    pub fn resource(self) -> &'static str {
        match self {
            StoreKind::ClusterSecretStore => "clustersecretstores",
            StoreKind::SecretStore => "secretstores",
        }
    }
}
