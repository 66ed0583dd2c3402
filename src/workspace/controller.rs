//! The sealed-secrets controller of a live cluster: its Service, the certificate it serves, its version, its keys.

use http::StatusCode;
use serde_json::Value;

use super::Workspace;
use crate::manifest::secret::{self, KEY_LABEL, KeySecret, key_secret_name};
use crate::manifest::text;
use crate::model::{Error, ErrorKind, Result, visible};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::diagnose::controller::{SAFE, dotted, find, version_of};
use crate::world::cluster::Cluster;

#[derive(Clone, Copy)]
pub struct Controller<'c> {
    pub cluster: &'c Cluster,
    pub namespace: &'c str,
    pub name: &'c str,
}

impl Workspace {
    /// The controller of a live cluster.
    pub fn controller_of<'c>(&'c self, cluster: &'c Cluster) -> Controller<'c> {
        Controller { cluster, namespace: self.controller.namespace.as_str(), name: self.controller.name.as_str() }
    }
}

impl Controller<'_> {
    /// Its path, through the API server's service proxy.
    pub fn proxy(&self) -> Result<String> {
        let Controller { namespace, name, .. } = self;
        self.find_proxy()?.ok_or_else(|| {
            Error::new(
                ErrorKind::Cluster,
                format!("there is no Service `{namespace}/{name}`"),
                "pass it with `--controller-namespace` and `--controller-name`; the helm chart's is `sealed-secrets`",
            )
            .why("the API server does not know it")
        })
    }

    /// The same; none if there is no such Service. The port is the Service's first.
    pub fn find_proxy(&self) -> Result<Option<String>> {
        let Controller { cluster, namespace, name } = self;
        let service = cluster.get(&format!("/api/v1/namespaces/{namespace}/services/{name}"), "Service")?;
        let port = |service: &Value| service.pointer("/spec/ports/0/name").and_then(Value::as_str).unwrap_or("").to_owned();
        Ok(service.map(|service| format!("/api/v1/namespaces/{namespace}/services/http:{name}:{}/proxy", port(&service))))
    }

    /// The certificate that it serves at this path.
    pub fn served(&self, proxy: &str) -> Result<Vec<u8>> {
        let Controller { cluster, namespace, name } = self;
        let answer = cluster.ask("get", &format!("{proxy}/v1/cert.pem"), "*/*")?;
        if answer.status == StatusCode::OK && !answer.body.is_empty() {
            // Anything else that answers here is no controller; an answer with a private key is refused for that reason.
            return SealingCertificate::read(&answer.body).map(|_| answer.body).map_err(|mut error| {
                if error.kind == ErrorKind::BadInput {
                    error.kind = ErrorKind::Cluster;
                }
                error
            });
        }
        let what = format!("the controller behind `{namespace}/{name}` does not serve its certificate");
        Err(Error::new(ErrorKind::Cluster, what, format!("see whether it runs: `kubectl -n {namespace} get pods`"))
            .why(format!("the API server answered {}", answer.status.as_u16())))
    }

    /// Has it re-encrypt a SealedSecret; none if it cannot open it.
    pub fn rotated(&self, proxy: &str, question: &Value) -> Result<Option<Value>> {
        let answer = self.cluster.post(&format!("{proxy}/v1/rotate"), question)?;
        match answer.status {
            StatusCode::OK => {
                // The real one omits the kind (sealed-secrets, `Rotate`).
                let is_one = |object: &Value| {
                    object["spec"]["encryptedData"].is_object() && matches!(object["kind"].as_str(), None | Some("SealedSecret"))
                };
                let object = serde_json::from_slice(&answer.body).ok().filter(is_one);
                object.map(Some).ok_or_else(|| {
                    let help = "see that nothing between here and the controller answers in its place, then run again";
                    Error::new(ErrorKind::Cluster, "the controller's answer is not a SealedSecret in JSON", help)
                })
            }
            // Whatever is wrong with the request, this is its only other answer.
            StatusCode::INTERNAL_SERVER_ERROR => Ok(None),
            status => {
                let help = "see whether the controller runs, then run again: what says that it is sealed to this certificate is left alone";
                Err(Error::new(ErrorKind::Cluster, format!("the controller answered {}", status.as_u16()), help))
            }
        }
    }

    /// Refuses a version that can be made to reveal what it re-encrypts, or to widen its scope.
    pub fn check_version(&self) -> Result<()> {
        let Controller { cluster, namespace, name } = self;
        let offline = "re-encrypt offline, without `--via-controller`";
        let deployments = cluster.get(&format!("/apis/apps/v1/namespaces/{namespace}/deployments"), "DeploymentList")?.unwrap_or_default();
        let service = cluster.get(&format!("/api/v1/namespaces/{namespace}/services/{name}"), "Service")?;
        let deployments = deployments["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let why = format!("before {} its interface could be made to tell what a sealed value is", dotted(SAFE));
        match find(deployments, service.as_ref(), name).and_then(version_of) {
            Some(version) if version >= SAFE => Ok(()),
            Some(version) => {
                let help = format!("upgrade it to {} or newer, or {offline}", dotted(SAFE));
                Err(Error::refused(format!("the controller is {}, which is not safe to ask", dotted(version)), help).why(why))
            }
            None => Err(Error::refused(
                "the version of the controller is not known",
                format!("see `kubectl -n {namespace} get deployment -o wide`: the image's tag, or the label `app.kubernetes.io/version`, has to say; or {offline}"),
            )
            .why(why)),
        }
    }

    /// The key Secrets that it unseals with: those with the label, and the first one, which it loads whatever its label.
    pub fn active_keys(&self) -> Result<Vec<KeySecret>> {
        let namespace = self.namespace;
        let list = |selector: String| {
            let path = format!("/api/v1/namespaces/{namespace}/secrets?{selector}");
            let answer = self.cluster.read_secret("list", &path, "SecretList")?;
            // The items of a List of one kind do not repeat the kind.
            let keys = secret::read_key_list(text::decode(&answer)?);
            keys.map_err(|error| error.in_file(&format!("the key Secrets of `{namespace}`")))
        };
        let mut keys = list(format!("labelSelector={KEY_LABEL}=active"))?;
        let first = list(format!("fieldSelector=metadata.name={}", key_secret_name(0)))?;
        let new: Vec<KeySecret> = first.into_iter().filter(|first| keys.iter().all(|key| *key.private_key != *first.private_key)).collect();
        keys.extend(new);
        if keys.is_empty() {
            let help = "pass the controller's namespace with `--controller-namespace`";
            return Err(Error::new(ErrorKind::Cluster, "there is no active sealing key", help).in_file(&visible(namespace)));
        }
        Ok(keys)
    }
}
