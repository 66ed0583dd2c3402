//! The content of `seal-secrets.yaml`: where a run works, and in which form the values are delivered.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Code, Isolation, Name, Namespace, Position, Rbac, StoreKind};

/// The file's name.
pub const SETTINGS: &str = "seal-secrets.yaml";

/// The size of a sealing key unless something else is asked for, in bits: that of the controller's own keys.
pub const USUAL_BITS: u32 = 4096;

/// The settings. Anything that a file does not set is as without the file.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The checkout of the platform.
    pub platform: Option<Way>,
    /// The selected one of its `environments/`.
    pub environment: Option<String>,
    /// Without it, the built-in contract.
    pub contract: Option<Way>,
    pub keys: Option<Way>,
    pub out: Option<Way>,
    /// The operator's copies.
    pub secrets: Option<Way>,
    /// The excluded paths of the checkout: patterns as in `.gitignore`, from the checkout's root.
    pub exclude: Vec<String>,
    /// The namespace of manifests of the checkout for which nothing else sets one.
    pub default_namespace: Option<Namespace>,
    /// The warnings of `verify` to ignore.
    pub ignore: Vec<Code>,
    pub store: Store,
    pub controller: Controller,
    pub gitops: Option<GitOps>,
    /// The context of a kubeconfig.
    pub context: Option<String>,
    pub clusters: BTreeMap<Namespace, ClusterSettings>,
}

/// A path as written in the file, from the file's folder, and its position there.
#[derive(Clone, Debug)]
pub struct Way {
    pub path: PathBuf,
    pub position: Position,
}

/// The form of the store.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// None = a ClusterSecretStore, and consumers keep their kind.
    pub kind: Option<StoreKind>,
    pub isolation: Isolation,
    pub rbac: Rbac,
    /// The platform's own file for it.
    pub file: Option<Way>,
    /// The value of the line `# projectID: <id>` in that file.
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
    /// Its namespace, if it is not the usual one.
    pub fn own_namespace(&self) -> Option<&Namespace> {
        Some(&self.namespace).filter(|own| **own != Controller::default().namespace)
    }
}

/// The command line's flags for a live cluster.
#[derive(Clone, Debug, Default)]
pub struct Live {
    pub kubeconfig: Option<String>,
    pub context: Option<String>,
    pub controller_namespace: Option<Namespace>,
    pub controller_name: Option<Name>,
}

/// The settings that differ in one of several clusters.
#[derive(Clone, Debug, Default)]
pub struct ClusterSettings {
    pub environment: Option<String>,
    pub context: Option<String>,
    pub keys: Option<Way>,
    pub out: Option<Way>,
    pub secrets: Option<Way>,
}

words! {
    /// The tool that applies the checkout.
    GitOps {
        /// Argo CD: an Application is written, like the platform's own.
        ArgoCd "argocd"
        /// Flux.
        Flux "flux"
        /// None: files are applied by hand.
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
