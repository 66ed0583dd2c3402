//! What `seal-secrets.yaml` says: where a run works, and in which form the values are delivered.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Code, Isolation, Name, Namespace, Position, Rbac, StoreKind};

/// The file's name.
pub const SETTINGS: &str = "seal-secrets.yaml";

/// The settings. What a file does not say is as it is without the file.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The checkout of the platform.
    pub platform: Option<Way>,
    /// Which of its `environments/`.
    pub environment: Option<String>,
    /// Without it, the built-in contract.
    pub contract: Option<Way>,
    pub keys: Option<Way>,
    pub out: Option<Way>,
    /// The operator's copies.
    pub secrets: Option<Way>,
    /// What of the checkout is not looked at: patterns as in `.gitignore`, from the checkout's root.
    pub exclude: Vec<String>,
    /// Where manifests of the checkout go for which nothing else says it.
    pub default_namespace: Option<Namespace>,
    /// The warnings of `verify` that are meant.
    pub ignore: Vec<Code>,
    pub store: Store,
    pub controller: Controller,
    pub gitops: Option<GitOps>,
    /// The context of a kubeconfig.
    pub context: Option<String>,
    pub clusters: BTreeMap<Namespace, ClusterSettings>,
}

/// A path as the file has it, from the file's folder, and its place there.
#[derive(Clone, Debug)]
pub struct Way {
    pub path: PathBuf,
    pub position: Position,
}

/// The form of the store.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// None = a ClusterSecretStore, and consumers keep the kind that they name.
    pub kind: Option<StoreKind>,
    pub isolation: Isolation,
    pub rbac: Rbac,
    /// The platform's own file for it.
    pub file: Option<Way>,
    /// What the line `# projectID: <id>` of that file says.
    pub project_id: Option<String>,
}

/// The sealed-secrets controller in its cluster.
#[derive(Clone, Debug)]
pub struct Controller {
    pub namespace: Namespace,
    /// Its Service.
    pub name: Name,
}

impl Default for Controller {
    fn default() -> Self {
        let checked = "it is a name";
        Controller {
            namespace: Namespace::new("kube-system").expect(checked),
            name: Name::new("sealed-secrets-controller").expect(checked),
        }
    }
}

impl Controller {
    /// Its namespace, where that is not the usual one.
    pub fn own_namespace(&self) -> Option<&Namespace> {
        Some(&self.namespace).filter(|own| **own != Controller::default().namespace)
    }
}

/// What a command line says of a live cluster.
#[derive(Clone, Debug, Default)]
pub struct Live {
    pub kubeconfig: Option<String>,
    pub context: Option<String>,
    pub controller_namespace: Option<Namespace>,
    pub controller_name: Option<Name>,
}

/// What differs in one of several clusters.
#[derive(Clone, Debug, Default)]
pub struct ClusterSettings {
    pub environment: Option<String>,
    pub context: Option<String>,
    pub keys: Option<Way>,
    pub out: Option<Way>,
    pub secrets: Option<Way>,
}

words! {
    /// Who applies what the checkout holds.
    GitOps {
        /// Argo CD: an Application is written, in the form of the platform's own.
        ArgoCd "argocd"
        /// Flux.
        Flux "flux"
        /// Nobody: files are applied by hand.
        None "none"
    }
}

impl Settings {
    /// Every path in it, with its field.
    pub fn ways(&self) -> Vec<(String, &Way)> {
        let own = [
            ("platform", &self.platform),
            ("contract", &self.contract),
            ("keys", &self.keys),
            ("out", &self.out),
            ("secrets", &self.secrets),
            ("store.file", &self.store.file),
        ];
        let own = own.into_iter().filter_map(|(field, way)| Some((field.to_owned(), way.as_ref()?)));
        let clusters = self.clusters.iter().flat_map(|(cluster, settings)| {
            let ways = [("keys", &settings.keys), ("out", &settings.out), ("secrets", &settings.secrets)];
            ways.into_iter().filter_map(move |(field, way)| Some((format!("clusters.{cluster}.{field}"), way.as_ref()?)))
        });
        own.chain(clusters).collect()
    }
}
