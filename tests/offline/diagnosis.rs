//! `doctor` on a small cluster with one fault: exactly its checks and their places, and, in a golden file, the whole output.

use std::collections::{BTreeMap, BTreeSet};

use seal_secrets::model::Symptom;
use serde_json::{Value, json};

use crate::api_server::{kubeconfig, response, serve_with};
use crate::common::{OWN_CERTIFICATE, Ran, Sandbox, fixture, fixture_text};

const CONTROLLER: &str = "/apis/apps/v1/namespaces/kube-system/deployments";
const SERVICES: &str = "/api/v1/namespaces/kube-system/services";
const SERVICE: &str = "/api/v1/namespaces/kube-system/services/sealed-secrets-controller";
const CERTIFICATE: &str = "/api/v1/namespaces/kube-system/services/http:sealed-secrets-controller:http/proxy/v1/cert.pem";
const KEYS: &str = "/api/v1/namespaces/kube-system/secrets?labelSelector=sealedsecrets.bitnami.com/sealed-secrets-key=active";
const FIRST_KEY: &str = "/api/v1/namespaces/kube-system/secrets?fieldSelector=metadata.name=sealed-secrets-key";
const SEALED: &str = "/apis/bitnami.com/v1alpha1/sealedsecrets";
const SOURCES: &str = "/api/v1/namespaces/shop-secrets/secrets/";
const SALT: &str = "/api/v1/namespaces/shop-secrets/secrets/cart-salt";
/// The Deployments that the charts label, in the whole cluster.
const OPERATOR: &str =
    "/apis/apps/v1/deployments?labelSelector=app.kubernetes.io/name%20in%20(external-secrets,external-secrets-webhook,sealed-secrets)";
const MANIFESTS: &str = "/apis/apps/v1/deployments?labelSelector=name=sealed-secrets-controller";
const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";
const WEBHOOK: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/externalsecret-validate";
const ACCOUNT: &str = "/api/v1/namespaces/eso/serviceaccounts/shop-reader";
const REVIEW: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const STORE: &str = "/apis/external-secrets.io/v1/clustersecretstores/shop-store";
const STORE_EVENTS: &str = "/api/v1/events?fieldSelector=involvedObject.kind=ClusterSecretStore,type=Warning";
const CONSUMERS: &str = "/apis/external-secrets.io/v1/externalsecrets";
const CONSUMER_EVENTS: &str = "/api/v1/events?fieldSelector=involvedObject.kind=ExternalSecret,type=Warning";
const TARGET: &str = "/api/v1/namespaces/shop/secrets/shop";

/// A cluster, as its API server shows it.
struct Fake {
    /// The run takes it, because the server's own state is never dropped.
    sandbox: Option<Sandbox>,
    /// The object at each path; a string is the whole body.
    objects: BTreeMap<String, Value>,
    /// Path prefixes, and the status each is answered with.
    refused: Vec<(&'static str, &'static str)>,
    /// The keys that no account may get.
    denied: BTreeSet<&'static str>,
    date: &'static str,
}

impl Fake {
    /// All is well.
    fn healthy() -> Self {
        let mut fake =
            Fake { sandbox: Some(Sandbox::small()), objects: BTreeMap::new(), refused: Vec::new(), denied: BTreeSet::new(), date: "" };
        fake.surroundings();
        fake.values();
        fake
    }

    fn put(&mut self, path: &str, object: Value) {
        self.objects.insert(path.to_owned(), object);
    }

    fn surroundings(&mut self) {
        let resources = |names: &[&str]| {
            let all: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
            json!({ "kind": "APIResourceList", "resources": all })
        };
        self.put("/version", json!({ "major": "1", "minor": "34", "gitVersion": "v1.34.4" }));
        let me = json!({ "kind": "SelfSubjectReview", "status": { "userInfo": { "username": "me" } } });
        self.put("/apis/authentication.k8s.io/v1/selfsubjectreviews", me);
        self.put("/apis/bitnami.com/v1alpha1", resources(&["sealedsecrets"]));
        self.put("/apis/external-secrets.io/v1", resources(&["clustersecretstores", "externalsecrets"]));
        for namespace in ["eso", "kube-system", "shop-secrets", "shop"] {
            self.put(&format!("/api/v1/namespaces/{namespace}"), json!({ "kind": "Namespace", "metadata": { "name": namespace } }));
        }
        let controller = deployment("kube-system", "sealer", "sealed-secrets", "bitnami/sealed-secrets-controller:0.40.0");
        self.put(CONTROLLER, list("DeploymentList", controller));
        let operator = deployment("eso", "external-secrets", "external-secrets", "external-secrets:v0.20.4");
        self.put(OPERATOR, list("DeploymentList", operator));
        self.put(MANIFESTS, json!({ "kind": "DeploymentList", "items": [] }));
        self.put(DEPLOYMENTS, json!({ "kind": "DeploymentList", "items": [] }));
        let service = |name: &str, port: &str| {
            let spec = json!({ "selector": { "app": "sealed-secrets" }, "ports": [{ "name": port }] });
            json!({ "kind": "Service", "metadata": { "name": name }, "spec": spec })
        };
        let services = [service("metrics", "metrics"), service("sealed-secrets-controller", "http")];
        self.put(SERVICES, json!({ "kind": "ServiceList", "items": services }));
        self.put(SERVICE, service("sealed-secrets-controller", "http"));
        self.put(CERTIFICATE, fixture_text(OWN_CERTIFICATE).into());
        self.put(
            KEYS,
            list(
                "PartialObjectMetadataList",
                json!({ "metadata": { "name": "sealed-secrets-key", "creationTimestamp": "2026-01-01T00:00:00Z" } }),
            ),
        );
    }

    fn values(&mut self) {
        let mut sealed = Vec::new();
        for name in ["admin-hash", "admin-password", "cart-salt", "session-key"] {
            let annotations = json!({ "seal-secrets/certificate": pinned() });
            let file = if name.starts_with("admin") { "admin" } else { name };
            let text = self.sandbox.as_ref().unwrap().read(&format!("out/secret-source/{file}.sealed.yaml"));
            let documents = serde_yaml::Deserializer::from_str(&text).map(|one| <Value as serde::Deserialize>::deserialize(one).unwrap());
            let spec = documents.into_iter().find(|one| one["metadata"]["name"] == name).unwrap()["spec"].take();
            let condition = json!({ "type": "Synced", "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z" });
            sealed.push(json!({
                "metadata": { "name": name, "namespace": "shop-secrets", "uid": name, "generation": 1, "annotations": annotations },
                "spec": spec,
                "status": { "observedGeneration": 1, "conditions": [condition] },
            }));
            let fields = json!({ "f:data": { ".": {}, "f:value": {} } });
            let managed = json!([{ "manager": "controller", "time": "2026-01-01T00:00:00Z", "fieldsV1": fields }]);
            let source = json!({ "name": name, "managedFields": managed, "ownerReferences": [{ "uid": name }] });
            self.put(&format!("{SOURCES}{name}"), metadata(source));
        }
        self.put(SEALED, json!({ "kind": "SealedSecretList", "items": sealed }));
        self.put(ACCOUNT, metadata(json!({ "name": "shop-reader" })));
        let mut store: Value =
            serde_yaml::from_str(&self.sandbox.as_ref().unwrap().read("out/secret-store/cluster-secret-store.yaml")).unwrap();
        store["metadata"]["uid"] = "store".into();
        store["status"] = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
        self.put(STORE, store);
        let entry = |secret_key: &str, key: &str| json!({ "secretKey": secret_key, "remoteRef": { "key": key, "property": "value" } });
        self.put(
            CONSUMERS,
            list(
                "ExternalSecretList",
                json!({
                    "metadata": { "name": "shop", "namespace": "shop", "uid": "shop" },
                    "spec": {
                        "secretStoreRef": { "kind": "ClusterSecretStore", "name": "shop-store" },
                        "data": [entry("salt", "cart-salt"), entry("hash", "admin-hash"), entry("session", "session-key")],
                    },
                    "status": { "refreshTime": "2026-01-02T00:00:00Z", "conditions": [{ "type": "Ready", "status": "True" }] },
                }),
            ),
        );
        self.put(TARGET, metadata(json!({ "name": "shop" })));
    }

    fn at(&mut self, path: &str) -> &mut Value {
        self.objects.get_mut(path).unwrap_or_else(|| panic!("nothing at {path}"))
    }

    /// The only item of a list.
    fn one(&mut self, path: &str) -> &mut Value {
        &mut self.at(path)["items"][0]
    }

    /// The SealedSecret `cart-salt`.
    fn salt(&mut self) -> &mut Value {
        &mut self.at(SEALED)["items"][2]
    }

    /// What the controller says about `cart-salt`.
    fn says(&mut self, message: &str) {
        let time = "2026-01-02T00:00:00Z";
        let condition = json!({ "type": "Synced", "status": "False", "message": message, "lastUpdateTime": time });
        self.salt()["status"]["conditions"] = json!([condition]);
        let fields = json!({ "f:spec": { "f:encryptedData": {} } });
        self.salt()["metadata"]["managedFields"] = json!([{ "manager": "kubectl", "time": time, "fieldsV1": fields }]);
    }

    /// What ESO says about the store, or the ExternalSecret.
    fn not_ready(&mut self, path: &str, message: Option<&str>) {
        let object = if path == STORE { self.at(path) } else { self.one(path) };
        let condition = message
            .map(|message| json!({ "type": "Ready", "status": "False", "message": message, "lastTransitionTime": "2026-01-31T00:00:00Z" }));
        object["status"]["conditions"] = condition.into_iter().collect();
    }

    /// Another key of the controller.
    fn another_key(&mut self, name: &str) {
        let key = json!({ "metadata": { "name": name, "creationTimestamp": "2026-02-01T00:00:00Z" } });
        self.at(KEYS)["items"].as_array_mut().unwrap().push(key);
    }

    /// Like `says`, in a status that is older than the Secret.
    fn stale(&mut self, message: &str) {
        self.says(message);
        self.salt()["metadata"]["managedFields"] = json!([]);
    }

    /// Like `says`, for a value that was never made.
    fn unmade(&mut self, message: &str) {
        self.says(message);
        self.objects.remove(SALT);
    }

    /// The arguments of the controller.
    fn args(&mut self, args: &[&str]) {
        self.one(CONTROLLER)["spec"]["template"]["spec"]["containers"][0]["args"] = json!(args);
    }

    fn operator_args(&mut self, args: &[&str]) {
        self.one(OPERATOR)["spec"]["template"]["spec"]["containers"][0]["args"] = json!(args);
    }

    /// Another controller, which was installed from the release manifest.
    fn rival(&mut self, args: &[&str]) {
        let mut rival = deployment("default", "other", "", "registry.example/x:1");
        rival["metadata"]["labels"] = json!({ "name": "sealed-secrets-controller" });
        rival["spec"]["template"]["spec"]["containers"][0]["args"] = json!(args);
        self.at(MANIFESTS)["items"] = json!([rival]);
    }

    /// The Secret that the controller loads whatever its label.
    fn first_key(&mut self, label: &str) {
        let labels = json!({ "sealedsecrets.bitnami.com/sealed-secrets-key": label });
        let key = json!({ "metadata": { "name": "sealed-secrets-key", "namespace": "kube-system", "labels": labels } });
        self.put(FIRST_KEY, list("PartialObjectMetadataList", key));
    }

    /// ESO's webhook, which does not run or does not even exist.
    fn webhook(&mut self, is_there: bool) {
        let hooks = json!([{ "failurePolicy": "Fail" }]);
        let configuration =
            json!({ "kind": "ValidatingWebhookConfiguration", "metadata": { "name": "externalsecret-validate" }, "webhooks": hooks });
        self.put(WEBHOOK, configuration);
        if is_there {
            let mut webhook = deployment("eso", "external-secrets-webhook", "external-secrets-webhook", "external-secrets:v0.20.4");
            webhook["spec"]["replicas"] = 0.into();
            webhook["status"] = json!({});
            self.at(OPERATOR)["items"].as_array_mut().unwrap().push(webhook);
        }
    }

    /// An error that ESO reports.
    fn failed(&mut self, message: &str) {
        self.not_ready(CONSUMERS, Some("could not update secret"));
        self.put(CONSUMER_EVENTS, events("shop", &[(message, "2026-02-01T00:00:00Z")]));
    }

    fn answer(&self, path: &str, body: &[u8]) -> Vec<u8> {
        let reply = |status: &str, body: &str| response(status, &format!("Content-Type: application/json\r\n{}", self.date), body);
        if let Some((_, status)) = self.refused.iter().find(|(begin, _)| path.starts_with(begin)) {
            return reply(status, r#"{"kind":"Status","apiVersion":"v1"}"#);
        }
        if path == REVIEW {
            let review: Value = serde_json::from_slice(body).unwrap();
            let allowed = !self.denied.contains(review["spec"]["resourceAttributes"]["name"].as_str().unwrap());
            return reply("200 OK", &json!({ "kind": "SubjectAccessReview", "status": { "allowed": allowed } }).to_string());
        }
        match self.objects.get(path) {
            Some(Value::String(text)) => reply("200 OK", text),
            Some(object) => reply("200 OK", &object.to_string()),
            None if path.contains("/events?") => reply("200 OK", r#"{"kind":"EventList","items":[]}"#),
            None if path.starts_with("/apis/") && path.matches('/').count() == 3 => reply("404 Not Found", "404 page not found\n"),
            None => reply("404 Not Found", r#"{"kind":"Status","apiVersion":"v1","reason":"NotFound"}"#),
        }
    }

    /// Runs `doctor` on it.
    fn ask(mut self, args: &[&str]) -> Ran {
        let sandbox = self.sandbox.take().unwrap();
        let (port, _) = serve_with(move |_, path, body| self.answer(path, body));
        kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
        sandbox.run([&["doctor", "--kubeconfig", "kubeconfig", "--contract", "contract.yaml"], args].concat())
    }
}

fn list(kind: &str, item: Value) -> Value {
    json!({ "kind": kind, "items": [item] })
}

fn metadata(of: Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": of })
}

/// A running Deployment.
fn deployment(namespace: &str, name: &str, label: &str, image: &str) -> Value {
    let container = json!({ "image": image, "args": ["--key-renew-period=0"] });
    let template = json!({ "metadata": { "labels": { "app": label } }, "spec": { "containers": [container] } });
    json!({
        "metadata": { "name": name, "namespace": namespace, "labels": { "app.kubernetes.io/name": label } },
        "spec": { "replicas": 1, "template": template },
        "status": { "availableReplicas": 1 },
    })
}

/// Warning events about an object.
fn events(uid: &str, messages: &[(&str, &str)]) -> Value {
    let event = |(message, time): &(&str, &str)| json!({ "message": message, "type": "Warning", "lastTimestamp": time, "involvedObject": { "uid": uid } });
    json!({ "kind": "EventList", "items": messages.iter().map(event).collect::<Vec<_>>() })
}

/// Two events that count, one of a deleted object of the same name, and one older than the object's current status.
fn some_events(uid: &str) -> Value {
    let mut all = events(uid, &[("of today", "2026-02-02T00:00:00Z"), ("of yesterday", "2026-02-01T00:00:00Z")]);
    for other in [events("gone", &[("of another", "2026-03-01T00:00:00Z")]), events(uid, &[("of old", "2026-01-30T00:00:00Z")])] {
        all["items"].as_array_mut().unwrap().extend(other["items"].as_array().unwrap().clone());
    }
    all
}

fn pinned() -> String {
    let text = fixture_text(OWN_CERTIFICATE);
    seal_secrets::pipeline::certificate::SealingCertificate::read(text.as_bytes()).unwrap().digest.to_string()
}

/// A defect's name, its code, all checks that are not good (`code place` or `skipped place`), and what causes it.
type Defect = (&'static str, &'static str, &'static [&'static str], fn(&mut Fake));

const DEFECTS: &[Defect] = &[
    ("a login page", "api-unreachable", &["api-unreachable api server context fake"], |f| f.put("/version", "<html>log in</html>".into())),
    ("an expired token", "credentials-refused", &["credentials-refused api server context fake"], |f| {
        f.refused.push(("/version", "401 Unauthorized"))
    }),
    ("no rights at all", "forbidden", &["forbidden api server context fake"], |f| f.refused.push(("/", "403 Forbidden"))),
    (
        "no right to APIs",
        "forbidden",
        &["forbidden api server me", "skipped stores every store", "skipped external secrets every ExternalSecret"],
        |f| f.refused.push(("/apis/external-secrets.io/v1", "403 Forbidden")),
    ),
    (
        "no right to namespaces",
        "forbidden",
        &["forbidden api server me", "skipped namespaces every namespace", "skipped accounts every account"],
        |f| f.refused.push(("/api/v1/namespaces/eso", "403 Forbidden")),
    ),
    (
        "no right to the controller",
        "forbidden",
        &[
            "forbidden api server me",
            "skipped controller kube-system/sealed-secrets-controller",
            "skipped operator the External Secrets Operator",
        ],
        |f| f.refused.push((CONTROLLER, "403 Forbidden")),
    ),
    ("no right to its Service", "forbidden", &["forbidden api server me", "skipped controller its certificate"], |f| {
        f.refused.push((SERVICE, "403 Forbidden"))
    }),
    ("no right to its keys", "forbidden", &["forbidden api server me"], |f| f.refused.push((KEYS, "403 Forbidden"))),
    (
        "no right to SealedSecrets",
        "forbidden",
        &[
            "forbidden api server me",
            "skipped sealed secrets every SealedSecret",
            "skipped source secrets admin-hash",
            "skipped source secrets admin-password",
            "skipped source secrets cart-salt",
            "skipped source secrets session-key",
        ],
        |f| f.refused.push((SEALED, "403 Forbidden")),
    ),
    ("no right to source Secrets", "forbidden", &["forbidden api server me", "skipped source secrets every source Secret"], |f| {
        f.refused.push((SOURCES, "403 Forbidden"))
    }),
    (
        "no right to the operator",
        "forbidden",
        &[
            "forbidden api server me",
            "skipped controller kube-system/sealed-secrets-controller",
            "skipped operator the External Secrets Operator",
        ],
        |f| f.refused.push((OPERATOR, "403 Forbidden")),
    ),
    ("no right to accounts", "forbidden", &["forbidden api server me", "skipped accounts every account"], |f| {
        f.refused.push((ACCOUNT, "403 Forbidden"))
    }),
    ("no right to access reviews", "forbidden", &["forbidden api server me", "skipped accounts what they may get"], |f| {
        f.refused.push((REVIEW, "403 Forbidden"))
    }),
    ("no right to stores", "forbidden", &["forbidden api server me", "skipped stores every store"], |f| {
        f.refused.push((STORE, "403 Forbidden"))
    }),
    ("no right to ExternalSecrets", "forbidden", &["forbidden api server me", "skipped external secrets every ExternalSecret"], |f| {
        f.refused.push((CONSUMERS, "403 Forbidden"))
    }),
    ("no right to targets", "forbidden", &["forbidden api server me", "skipped targets shop/shop"], |f| {
        f.refused.push((TARGET, "403 Forbidden"))
    }),
    ("no right to events", "forbidden", &["forbidden api server me"], |f| f.refused.push((CONSUMER_EVENTS, "403 Forbidden"))),
    ("no right to webhooks", "forbidden", &["forbidden api server me"], |f| f.refused.push((WEBHOOK, "403 Forbidden"))),
    ("a clock", "clock-skew", &["clock-skew api server its clock"], |f| f.date = "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"),
    (
        "no SealedSecrets",
        "crd-missing",
        &["crd-missing api server bitnami.com/v1alpha1", "skipped sealed secrets every SealedSecret"],
        |f| f.at("/apis/bitnami.com/v1alpha1")["resources"] = json!([]),
    ),
    (
        "no stores",
        "crd-missing",
        &["crd-missing api server external-secrets.io/v1", "skipped stores every store and every ExternalSecret"],
        |f| f.at("/apis/external-secrets.io/v1")["resources"][0]["name"] = "externalsecrets".into(),
    ),
    (
        "no namespace shop-secrets",
        "namespace-missing",
        &["namespace-missing namespaces shop-secrets", "skipped sealed secrets every SealedSecret"],
        |f| drop(f.objects.remove("/api/v1/namespaces/shop-secrets")),
    ),
    ("no namespace eso", "namespace-missing", &["namespace-missing namespaces eso"], |f| drop(f.objects.remove("/api/v1/namespaces/eso"))),
    ("no namespace kube-system", "namespace-missing", &["namespace-missing namespaces kube-system"], |f| {
        drop(f.objects.remove("/api/v1/namespaces/kube-system"))
    }),
    ("no controller", "controller-missing", &["controller-missing controller kube-system/sealed-secrets-controller"], |f| {
        f.at(CONTROLLER)["items"] = json!([])
    }),
    ("a controller scaled to zero", "controller-down", &["controller-down controller kube-system/sealed-secrets-controller"], |f| {
        f.one(CONTROLLER)["spec"]["replicas"] = 0.into();
        f.one(CONTROLLER)["status"] = json!({});
    }),
    ("a controller that does not start", "controller-down", &["controller-down controller kube-system/sealed-secrets-controller"], |f| {
        f.one(CONTROLLER)["status"]["unavailableReplicas"] = 1.into()
    }),
    ("a controller that a key crashes", "controller-down", &["controller-down controller kube-system/sealed-secrets-controller"], |f| {
        f.one(CONTROLLER)["status"]["availableReplicas"] = 0.into();
        f.another_key("mine");
    }),
    (
        "a controller that is down, and a SealedSecret it has not seen",
        "controller-down",
        &["controller-down controller kube-system/sealed-secrets-controller", "skipped sealed secrets cart-salt"],
        |f| {
            f.one(CONTROLLER)["status"] = json!({});
            f.salt()["metadata"]["generation"] = 2.into();
        },
    ),
    ("an old controller", "controller-vulnerable", &["controller-vulnerable controller its version"], |f| {
        f.one(CONTROLLER)["spec"]["template"]["spec"]["containers"][0]["image"] = "sealed-secrets-controller:v0.35.0".into()
    }),
    ("a controller that renews", "key-renewal", &["key-renewal controller its renewal period"], |f| {
        f.one(CONTROLLER)["spec"]["template"]["spec"]["containers"][0]["args"] = json!([])
    }),
    ("a controller that renews every day", "key-renewal", &["key-renewal controller its renewal period"], |f| {
        f.one(CONTROLLER)["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["--key-renew-period", "24h"])
    }),
    ("no Service", "service-missing", &["service-missing controller its certificate"], |f| {
        f.at(SERVICES)["items"] = json!([]);
        f.objects.remove(SERVICE);
    }),
    ("a Service of another name", "service-missing", &["service-missing controller its certificate"], |f| {
        f.at(SERVICES)["items"][1]["metadata"]["name"] = "sealer".into();
        f.objects.remove(SERVICE);
    }),
    ("a Service that does not answer", "service-missing", &["service-missing controller its certificate"], |f| {
        f.refused.push((CERTIFICATE, "404 Not Found"))
    }),
    ("a certificate that is none", "service-missing", &["service-missing controller its certificate"], |f| {
        f.put(CERTIFICATE, "<html>log in</html>".into())
    }),
    ("another certificate", "certificate-differs", &["certificate-differs controller its certificate"], |f| {
        f.put(CERTIFICATE, fixture_text("fixtures/certificates/good-3072.crt").into())
    }),
    ("a newer key", "several-keys", &["several-keys controller its certificate"], |f| {
        f.put(CERTIFICATE, fixture_text("fixtures/certificates/good-3072.crt").into());
        f.another_key("sealed-secrets-keyx7");
        f.salt()["metadata"]["annotations"] = json!({});
    }),
    ("a newer key, and ours has another name", "several-keys", &["several-keys controller its certificate"], |f| {
        f.put(CERTIFICATE, fixture_text("fixtures/certificates/good-3072.crt").into());
        f.one(KEYS)["metadata"]["name"] = "mine".into();
        f.another_key("newer");
    }),
    (
        "no SealedSecret",
        "sealed-secret-missing",
        &["sealed-secret-missing sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| drop(f.at(SEALED)["items"].as_array_mut().unwrap().remove(2)),
    ),
    (
        "a SealedSecret not seen yet",
        "sealed-secret-pending",
        &["sealed-secret-pending sealed secrets cart-salt", "skipped targets shop/shop"],
        |f| f.salt()["metadata"]["generation"] = 2.into(),
    ),
    (
        "a SealedSecret without a status",
        "sealed-secret-pending",
        &["sealed-secret-pending sealed secrets cart-salt", "skipped targets shop/shop"],
        |f| f.salt()["status"] = json!(null),
    ),
    (
        "sealed to another key",
        "sealed-to-another-key",
        &["sealed-to-another-key sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| {
            f.says("no key could decrypt secret (value)");
            f.salt()["metadata"]["annotations"]["seal-secrets/certificate"] = "sha256:00".into();
        },
    ),
    (
        "sealed by kubeseal",
        "sealed-to-another-key",
        &["sealed-to-another-key sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| {
            f.says("no key could decrypt secret (value)");
            f.salt()["metadata"]["annotations"] = json!({});
        },
    ),
    (
        "a namePrefix",
        "sealed-secret-moved",
        &["sealed-secret-moved sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| f.salt()["metadata"]["name"] = "prod-cart-salt".into(),
    ),
    (
        "a namespace of kustomize",
        "sealed-secret-moved",
        &["sealed-secret-moved sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| f.salt()["metadata"]["namespace"] = "prod".into(),
    ),
    (
        "a key that came later",
        "key-came-later",
        &["key-came-later sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| {
            f.unmade("no key could decrypt secret (value)");
            f.one(KEYS)["metadata"]["creationTimestamp"] = "2026-01-03T00:00:00Z".into();
        },
    ),
    (
        "a controller that takes up keys later",
        "key-came-later",
        &["key-came-later sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| {
            f.unmade("no key could decrypt secret (value)");
            f.args(&["--watch-for-secrets", "--key-renew-period=0"]);
        },
    ),
    (
        "a key that the controller does not have",
        "certificate-differs",
        &["certificate-differs controller its certificate", "skipped sealed secrets cart-salt", "skipped source secrets cart-salt"],
        |f| {
            f.says("no key could decrypt secret (value)");
            f.put(CERTIFICATE, fixture_text("fixtures/certificates/good-3072.crt").into());
        },
    ),
    (
        "base64 that is none",
        "sealed-secret-corrupt",
        &["sealed-secret-corrupt sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| f.says("illegal base64 data at input byte 3"),
    ),
    (
        "a Secret in the way",
        "secret-in-the-way",
        &["secret-in-the-way sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| f.says("Secret \"cart-salt\" already exists and is not managed by SealedSecret"),
    ),
    (
        "a Secret that was in the way",
        "secret-in-the-way",
        &["secret-in-the-way sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| {
            f.says("Secret \"cart-salt\" already exists and is not managed by SealedSecret");
            f.objects.remove(SALT);
        },
    ),
    (
        "another fault of the controller's",
        "sealed-secret-failed",
        &["sealed-secret-failed sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| f.says("something else\u{1b}"),
    ),
    ("no source Secret", "source-missing", &["source-missing source secrets cart-salt", "skipped targets shop/shop"], |f| {
        drop(f.objects.remove(SALT))
    }),
    (
        "a source Secret without value",
        "source-without-value",
        &["source-without-value source secrets cart-salt", "skipped targets shop/shop"],
        |f| f.at(SALT)["metadata"]["managedFields"][0]["fieldsV1"]["f:data"] = json!({ "f:other": {} }),
    ),
    ("no operator", "operator-down", &["operator-down operator the External Secrets Operator"], |f| f.at(OPERATOR)["items"] = json!([])),
    ("an operator scaled to zero", "operator-down", &["operator-down operator the External Secrets Operator"], |f| {
        f.one(OPERATOR)["spec"]["replicas"] = 0.into();
        f.one(OPERATOR)["status"] = json!({});
    }),
    ("an operator that does not start", "operator-down", &["operator-down operator the External Secrets Operator"], |f| {
        f.one(OPERATOR)["status"] = json!({ "availableReplicas": 1, "unavailableReplicas": 1 })
    }),
    (
        "an operator that is down, and a store that is not ready",
        "operator-down",
        &["operator-down operator the External Secrets Operator", "skipped stores shop-store", "skipped external secrets shop/shop"],
        |f| {
            f.at(OPERATOR)["items"] = json!([]);
            f.not_ready(STORE, None);
            f.not_ready(CONSUMERS, None);
        },
    ),
    ("no account", "account-missing", &["account-missing accounts eso/shop-reader"], |f| drop(f.objects.remove(ACCOUNT))),
    (
        "no account, and so a store that is not ready",
        "account-missing",
        &["account-missing accounts eso/shop-reader", "skipped stores shop-store", "skipped external secrets shop/shop"],
        |f| {
            f.objects.remove(ACCOUNT);
            f.not_ready(STORE, None);
            f.not_ready(CONSUMERS, None);
        },
    ),
    ("a Role that leaves a key out", "role-without-name", &["role-without-name accounts cart-salt"], |f| {
        f.denied.insert("cart-salt");
    }),
    (
        "a Role that leaves out a key that is waited for",
        "role-without-name",
        &["role-without-name accounts cart-salt", "skipped external secrets shop/shop"],
        |f| {
            f.denied.insert("cart-salt");
            f.not_ready(CONSUMERS, None);
        },
    ),
    ("no store", "store-missing", &["store-missing stores shop-store"], |f| drop(f.objects.remove(STORE))),
    ("a store whose CA has no namespace", "ca-namespace-missing", &["ca-namespace-missing stores shop-store"], |f| {
        drop(f.at(STORE)["spec"]["provider"]["kubernetes"]["server"]["caProvider"].as_object_mut().unwrap().remove("namespace"))
    }),
    ("a store for another namespace", "store-differs", &["store-differs stores shop-store"], |f| {
        f.at(STORE)["spec"]["provider"]["kubernetes"]["remoteNamespace"] = "prod".into()
    }),
    ("a store of another cluster", "store-differs", &["store-differs stores shop-store"], |f| {
        f.at(STORE)["spec"]["provider"]["kubernetes"]["server"]["url"] = "https://192.0.2.1".into()
    }),
    ("a store without account", "store-differs", &["store-differs stores shop-store"], |f| {
        f.at(STORE)["spec"]["provider"]["kubernetes"]["auth"] = json!({})
    }),
    ("a store with an account of another namespace", "store-differs", &["store-differs stores shop-store"], |f| {
        f.at(STORE)["spec"]["provider"]["kubernetes"]["auth"]["serviceAccount"]["namespace"] = "prod".into()
    }),
    ("a store that is not ready", "store-not-ready", &["store-not-ready stores shop-store"], |f| {
        f.not_ready(STORE, Some("of its condition"))
    }),
    ("a store with events", "store-not-ready", &["store-not-ready stores shop-store"], |f| {
        f.not_ready(STORE, Some("of its condition"));
        f.put(STORE_EVENTS, some_events("store"));
    }),
    ("a store that nobody looked at", "store-not-ready", &["store-not-ready stores shop-store"], |f| f.not_ready(STORE, None)),
    ("no ExternalSecret", "external-secret-missing", &["external-secret-missing external secrets shop/shop"], |f| {
        f.at(CONSUMERS)["items"] = json!([])
    }),
    ("a value that is not sealed", "not-sealed-yet", &["not-sealed-yet external secrets shop/shop"], |f| {
        f.sandbox.as_ref().unwrap().remove("out/secret-source/session-key.sealed.yaml")
    }),
    ("no property", "property-missing", &["property-missing external secrets shop/shop"], |f| {
        let entries = &mut f.one(CONSUMERS)["spec"]["data"];
        entries[0]["remoteRef"] = json!({ "key": "cart-salt" });
        entries[2]["remoteRef"] = json!({ "key": "session-key" });
    }),
    ("another property", "property-wrong", &["property-wrong external secrets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["data"][1]["remoteRef"]["property"] = "password".into()
    }),
    ("another store", "other-store", &["other-store external secrets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["secretStoreRef"]["name"] = "aws".into()
    }),
    ("a store for one entry", "other-store", &["other-store external secrets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["data"][1]["sourceRef"] = json!({ "storeRef": { "kind": "SecretStore", "name": "shop-store" } })
    }),
    ("a store that does not let it in", "namespace-not-allowed", &["namespace-not-allowed external secrets shop/shop"], |f| {
        f.at(STORE)["spec"]["conditions"] = json!([{ "namespaces": ["prod"] }])
    }),
    ("an ExternalSecret that is not ready", "external-secret-failed", &["external-secret-failed external secrets shop/shop"], |f| {
        f.not_ready(CONSUMERS, Some("of its condition"))
    }),
    ("an ExternalSecret with events", "external-secret-failed", &["external-secret-failed external secrets shop/shop"], |f| {
        f.not_ready(CONSUMERS, Some("of its condition"));
        f.put(CONSUMER_EVENTS, some_events("shop"));
    }),
    ("an ExternalSecret that nobody looked at", "external-secret-failed", &["external-secret-failed external secrets shop/shop"], |f| {
        f.not_ready(CONSUMERS, None)
    }),
    (
        "an ExternalSecret that waits for its source",
        "source-missing",
        &["source-missing source secrets cart-salt", "skipped external secrets shop/shop"],
        |f| {
            f.objects.remove(SALT);
            f.not_ready(CONSUMERS, Some("secret not found"));
        },
    ),
    ("no target", "target-missing", &["target-missing targets shop/shop"], |f| drop(f.objects.remove(TARGET))),
    ("a target under another name", "target-missing", &["target-missing targets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["target"] = json!({ "name": "other" })
    }),
    ("an old target", "target-stale", &["target-stale targets shop/shop"], |f| {
        f.one(CONSUMERS)["status"]["refreshTime"] = "2025-12-31T23:59:59Z".into()
    }),
    (
        "an old target, and no operator",
        "operator-down",
        &["operator-down operator the External Secrets Operator", "skipped targets shop/shop"],
        |f| {
            f.at(OPERATOR)["items"] = json!([]);
            f.one(CONSUMERS)["status"]["refreshTime"] = "2025-12-31T23:59:59Z".into();
        },
    ),
    (
        "the source namespace is being deleted",
        "namespace-terminating",
        &["namespace-terminating namespaces shop-secrets", "skipped sealed secrets every SealedSecret"],
        |f| {
            let condition =
                json!({ "type": "NamespaceFinalizersRemaining", "status": "True", "message": "x.example/y in 1 resource instances" });
            let there = f.at("/api/v1/namespaces/shop-secrets");
            there["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            there["status"] = json!({ "phase": "Terminating", "conditions": [condition, { "status": "False", "message": "no" }] });
        },
    ),
    (
        "a reader's namespace is being deleted",
        "namespace-terminating",
        &["namespace-terminating namespaces shop", "skipped external secrets shop/shop"],
        |f| f.at("/api/v1/namespaces/shop")["status"] = json!({ "phase": "Terminating" }),
    ),
    ("a controller elsewhere", "controller-missing", &["controller-missing controller kube-system/sealed-secrets-controller"], |f| {
        let controller = f.at(CONTROLLER)["items"].as_array_mut().unwrap().remove(0);
        f.at(OPERATOR)["items"].as_array_mut().unwrap().push(controller);
        f.at(OPERATOR)["items"][1]["metadata"]["namespace"] = "sealing".into();
    }),
    ("a controller for its own namespace", "controller-scoped", &["controller-scoped controller its namespaces"], |f| {
        f.args(&["--all-namespaces=false", "--additional-namespaces=shop, other", "--key-renew-period=0"])
    }),
    ("a controller for other labels", "controller-scoped", &["controller-scoped controller its labels"], |f| {
        f.args(&["--label-selector=team=prod", "--key-renew-period=0"])
    }),
    ("a second controller", "several-controllers", &["several-controllers controller another controller"], |f| f.rival(&[])),
    (
        "a second controller that says what it cannot open",
        "several-controllers",
        &["several-controllers controller another controller"],
        |f| {
            f.rival(&[]);
            f.stale("no key could decrypt secret (value)");
        },
    ),
    (
        "a second controller, and a value that none of them made",
        "several-controllers",
        &["several-controllers controller another controller", "skipped sealed secrets cart-salt", "skipped source secrets cart-salt"],
        |f| {
            f.rival(&[]);
            f.objects.remove(SALT);
            f.says("no key could decrypt secret (value)");
        },
    ),
    ("a controller that writes no status", "no-status", &["no-status controller its status"], |f| {
        f.args(&["--update-status=false", "--key-renew-period=0"]);
        f.at(SEALED)["items"].as_array_mut().unwrap().iter_mut().for_each(|one| one["status"] = json!(null));
    }),
    (
        "a controller that writes no status, and a value that it did not make",
        "sealed-secret-pending",
        &[
            "no-status controller its status",
            "sealed-secret-pending sealed secrets cart-salt",
            "skipped source secrets cart-salt",
            "skipped targets shop/shop",
        ],
        |f| {
            f.args(&["--update-status=false", "--key-renew-period=0"]);
            f.salt()["status"] = json!(null);
            f.objects.remove(SALT);
        },
    ),
    ("the key Secret is gone", "key-secret-missing", &["key-secret-missing controller its key Secret"], |f| {
        f.at(KEYS)["items"] = json!([])
    }),
    ("the key Secret is gone, and another one is there", "key-secret-missing", &["key-secret-missing controller its key Secret"], |f| {
        f.one(KEYS)["metadata"]["name"] = "sealed-secrets-keyx7".into()
    }),
    ("our key is labelled as one that leaked", "retired-key-loaded", &["retired-key-loaded controller a retired key"], |f| {
        f.at(KEYS)["items"] = json!([]);
        f.first_key("compromised");
    }),
    ("a key that leaked is still loaded", "retired-key-loaded", &["retired-key-loaded controller a retired key"], |f| {
        f.one(KEYS)["metadata"]["name"] = "sealed-secrets-key-2".into();
        f.first_key("compromised");
    }),
    (
        "a SealedSecret that is being deleted",
        "sealed-secret-terminating",
        &["sealed-secret-terminating sealed secrets cart-salt", "skipped targets shop/shop"],
        |f| {
            f.salt()["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            f.salt()["metadata"]["finalizers"] = json!(["example.com/hold"]);
        },
    ),
    (
        "a value rotated in git and not applied",
        "sealed-secret-differs",
        &["sealed-secret-differs sealed secrets cart-salt", "skipped targets shop/shop"],
        |f| f.salt()["spec"]["encryptedData"]["value"] = "AgB".into(),
    ),
    (
        "every value rotated in git and not applied",
        "sealed-secret-differs",
        &["sealed-secret-differs sealed secrets admin-hash, admin-password, cart-salt, session-key", "skipped targets shop/shop"],
        |f| f.at(SEALED)["items"].as_array_mut().unwrap().iter_mut().for_each(|one| one["spec"]["encryptedData"]["value"] = "AgB".into()),
    ),
    (
        "a value more than git has",
        "sealed-secret-differs",
        &["sealed-secret-differs sealed secrets cart-salt", "skipped targets shop/shop"],
        |f| f.salt()["spec"]["encryptedData"]["more"] = "AgB".into(),
    ),
    (
        "another type than git has",
        "sealed-secret-differs",
        &["sealed-secret-differs sealed secrets cart-salt", "skipped targets shop/shop"],
        |f| f.salt()["spec"]["template"]["type"] = "kubernetes.io/tls".into(),
    ),
    (
        "a template that git does not have",
        "sealed-secret-differs",
        &["sealed-secret-differs sealed secrets cart-salt", "skipped targets shop/shop"],
        |f| f.salt()["spec"]["template"]["data"] = json!({ "x": "y" }),
    ),
    (
        "another ciphertext, which does not open",
        "sealed-secret-differs",
        &["sealed-secret-differs sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| {
            f.unmade("no key could decrypt secret (value)");
            f.salt()["spec"]["encryptedData"]["value"] = "AgB".into();
        },
    ),
    (
        "a private key that is another one",
        "key-mismatch",
        &[
            "key-mismatch sealed secrets admin-hash, admin-password, cart-salt, session-key",
            "skipped source secrets admin-hash",
            "skipped source secrets admin-password",
            "skipped source secrets cart-salt",
            "skipped source secrets session-key",
            "skipped external secrets shop/shop",
        ],
        |f| {
            f.unmade("no key could decrypt secret (value)");
            let condition = f.salt()["status"]["conditions"].clone();
            let all = f.at(SEALED)["items"].as_array_mut().unwrap();
            all.iter_mut().for_each(|one| one["status"]["conditions"] = condition.clone());
            f.objects.retain(|path, _| !path.starts_with(SOURCES));
            f.not_ready(CONSUMERS, Some("could not get secret data from provider"));
        },
    ),
    (
        "a private key that is another one, after all was made",
        "key-mismatch",
        &["key-mismatch sealed secrets admin-hash, admin-password, cart-salt, session-key", "skipped targets shop/shop"],
        |f| {
            f.stale("no key could decrypt secret (value)");
            let condition = f.salt()["status"]["conditions"].clone();
            let all = f.at(SEALED)["items"].as_array_mut().unwrap();
            all.iter_mut().for_each(|one| one["status"]["conditions"] = condition.clone());
            let fields = json!({ "f:data": { "f:tls.key": {} } });
            f.one(KEYS)["metadata"]["managedFields"] =
                json!([{ "manager": "kubectl-patch", "time": "2026-01-01T12:00:00Z", "fieldsV1": fields }]);
        },
    ),
    (
        "a value in git that does not open",
        "sealed-secret-failed",
        &["sealed-secret-failed sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| f.unmade("no key could decrypt secret (value)"),
    ),
    ("a status that is older than its Secret", "status-stale", &["status-stale sealed secrets cart-salt"], |f| {
        f.stale("no key could decrypt secret (value)")
    }),
    (
        "an immutable source Secret",
        "source-immutable",
        &["source-immutable sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| {
            f.unmade("Secret \"cart-salt\" is invalid: data: Forbidden: field is immutable when `immutable` is set");
            f.put(SALT, metadata(json!({
                "name": "cart-salt", "ownerReferences": [{ "uid": "cart-salt" }],
                "managedFields": [{ "manager": "controller", "time": "2025-01-01T00:00:00Z", "fieldsV1": { "f:data": { "f:value": {} }, "f:immutable": {} } }],
            })));
        },
    ),
    (
        "a source Secret of another type",
        "source-immutable",
        &["source-immutable sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| f.unmade("Secret \"cart-salt\" is invalid: type: Invalid value: \"Opaque\": field is immutable"),
    ),
    (
        "a quota",
        "quota-exceeded",
        &["quota-exceeded sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| {
            f.unmade("secrets \"cart-salt\" is forbidden: exceeded quota: q, requested: count/secrets=1, used: count/secrets=3, limited: count/secrets=3")
        },
    ),
    (
        "an admission policy",
        "admission-denied",
        &["admission-denied sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| f.unmade("secrets \"cart-salt\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"),
    ),
    (
        "an admission webhook that does not answer",
        "admission-denied",
        &["admission-denied sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| f.unmade("Internal error occurred: failed calling webhook \"w\": connection refused"),
    ),
    (
        "a controller without rights",
        "controller-forbidden",
        &["controller-forbidden sealed secrets cart-salt", "skipped source secrets cart-salt", "skipped targets shop/shop"],
        |f| f.unmade("secrets is forbidden: User \"system:serviceaccount:kube-system:sealer\" cannot create resource \"secrets\""),
    ),
    ("a source Secret changed by hand", "source-edited", &["source-edited source secrets cart-salt", "skipped targets shop/shop"], |f| {
        f.at(SALT)["metadata"]["managedFields"][0]["manager"] = "kubectl-patch".into();
        f.at(SALT)["metadata"]["managedFields"][0]["time"] = "2026-01-01T00:00:09Z".into();
    }),
    (
        "a source Secret that a GitOps tool applies too",
        "source-edited",
        &["source-edited source secrets cart-salt", "skipped targets shop/shop"],
        |f| {
            let theirs = json!({ "manager": "argocd", "time": "2026-01-01T00:00:09Z", "fieldsV1": { "f:stringData": { "f:value": {} } } });
            f.at(SALT)["metadata"]["managedFields"].as_array_mut().unwrap().push(theirs);
        },
    ),
    ("a backup tool that applies the same value, and a value of age", "target-stale", &["target-stale targets shop/shop"], |f| {
        let theirs = json!({ "manager": "velero", "time": "2026-01-05T00:00:00Z", "fieldsV1": { "f:data": { "f:value": {} } } });
        f.at(SALT)["metadata"]["managedFields"].as_array_mut().unwrap().push(theirs);
        f.one(CONSUMERS)["status"]["refreshTime"] = "2025-12-31T23:59:59Z".into();
    }),
    (
        "a scope that the value was not sealed for",
        "sealed-secret-differs",
        &["sealed-secret-differs sealed secrets cart-salt", "skipped targets shop/shop"],
        |f| f.salt()["metadata"]["annotations"]["sealedsecrets.bitnami.com/cluster-wide"] = "true".into(),
    ),
    ("a webhook that is scaled to zero", "webhook-down", &["webhook-down operator its webhook"], |f| f.webhook(true)),
    (
        "no webhook, and a property that is missing",
        "webhook-down",
        &["webhook-down operator its webhook", "skipped external secrets shop/shop"],
        |f| {
            f.webhook(false);
            drop(f.one(CONSUMERS)["spec"]["data"][0]["remoteRef"].as_object_mut().unwrap().remove("property"));
        },
    ),
    ("a store of another class", "operator-not-looking", &["operator-not-looking stores shop-store"], |f| {
        f.at(STORE)["spec"]["controller"] = "prod".into()
    }),
    ("an operator without stores for the cluster", "operator-not-looking", &["operator-not-looking stores shop-store"], |f| {
        f.operator_args(&["--enable-cluster-store-reconciler=false"])
    }),
    ("an operator for one namespace", "operator-not-looking", &["operator-not-looking external secrets shop/shop"], |f| {
        f.operator_args(&["--namespace", "prod"])
    }),
    (
        "an operator that does not look at a store",
        "operator-stalled",
        &["clock-skew api server its clock", "operator-stalled stores shop-store", "skipped external secrets shop/shop"],
        |f| {
            f.date = NOW;
            f.at(STORE)["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
            f.not_ready(STORE, None);
            f.not_ready(CONSUMERS, None);
        },
    ),
    (
        "an operator that stopped looking",
        "operator-stalled",
        &["operator-stalled targets shop/shop", "clock-skew api server its clock"],
        |f| {
            f.date = NOW;
            f.one(CONSUMERS)["spec"]["refreshInterval"] = "1h0m0s".into();
        },
    ),
    (
        "an operator that did not see a change",
        "operator-stalled",
        &["operator-stalled targets shop/shop", "clock-skew api server its clock"],
        |f| {
            f.date = NOW;
            f.one(CONSUMERS)["metadata"]["generation"] = 2.into();
            f.one(CONSUMERS)["status"]["syncedResourceVersion"] = "1-abc".into();
            f.one(CONSUMERS)["metadata"]["managedFields"] = json!([{ "time": "2026-01-02T00:00:00Z", "fieldsV1": { "f:spec": {} } }]);
        },
    ),
    (
        "an operator without the right to tokens",
        "operator-forbidden",
        &["operator-forbidden stores shop-store", "skipped external secrets shop/shop"],
        |f| {
            f.not_ready(STORE, Some("unable to validate store"));
            f.not_ready(CONSUMERS, None);
            let why = r#"cannot create service account token: "serviceaccounts \"shop-reader\" is forbidden: User \"system:serviceaccount:eso:eso\" cannot create resource \"serviceaccounts/token\" in API group \"\"""#;
            f.put(STORE_EVENTS, events("store", &[(why, "2026-02-01T00:00:00Z")]));
        },
    ),
    ("no ConfigMap with the CA", "ca-missing", &["ca-missing stores shop-store"], |f| {
        f.not_ready(STORE, Some("unable to create client"));
        let why = "failed to prepare auth: ConfigMap \"kube-root-ca.crt\" not found";
        f.put(STORE_EVENTS, events("store", &[(why, "2026-02-01T00:00:00Z")]));
    }),
    ("a store whose CA could not be checked", "store-not-ready", &["store-not-ready stores shop-store"], |f| {
        f.at(STORE)["status"]["conditions"] =
            json!([{ "type": "Ready", "status": "True", "reason": "ValidationUnknown", "message": "unknown" }])
    }),
    ("a store that is being deleted", "store-terminating", &["store-terminating stores shop-store"], |f| {
        f.at(STORE)["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into()
    }),
    (
        "an ExternalSecret that is being deleted",
        "external-secret-terminating",
        &["external-secret-terminating external secrets shop/shop"],
        |f| f.one(CONSUMERS)["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into(),
    ),
    ("an entry that reads another key of ours", "external-secret-differs", &["external-secret-differs external secrets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["data"][0]["remoteRef"]["key"] = "admin-password".into()
    }),
    ("an entry with the key of another", "external-secret-differs", &["external-secret-differs external secrets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["data"][0]["remoteRef"]["key"] = "session-key".into()
    }),
    ("an entry that is gone", "external-secret-differs", &["external-secret-differs external secrets shop/shop"], |f| {
        drop(f.one(CONSUMERS)["spec"]["data"].as_array_mut().unwrap().remove(1))
    }),
    ("whole Secrets instead of entries", "external-secret-differs", &["external-secret-differs external secrets shop/shop"], |f| {
        let spec = f.one(CONSUMERS)["spec"].as_object_mut().unwrap();
        spec.remove("data");
        spec.insert("dataFrom".to_owned(), json!([{ "extract": { "key": "cart-salt" } }]));
    }),
    ("an entry under another name", "external-secret-differs", &["external-secret-differs external secrets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["data"][2]["secretKey"] = "SESSION".into()
    }),
    ("an entry that is decoded", "external-secret-differs", &["external-secret-differs external secrets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["data"][2]["remoteRef"]["decodingStrategy"] = "Base64".into()
    }),
    ("a store for namespaces with a label", "namespace-not-allowed", &["namespace-not-allowed external secrets shop/shop"], |f| {
        f.at(STORE)["spec"]["conditions"] = json!([{ "namespaceSelector": { "matchLabels": { "team": "shop" } } }])
    }),
    ("a template that names what is not there", "template-fails", &["template-fails external secrets shop/shop"], |f| {
        f.failed("could not apply template: could not execute template: map has no entry for key \"x\"")
    }),
    ("a target of another ExternalSecret", "target-owned", &["target-owned external secrets shop/shop"], |f| {
        f.failed("secret is owned by another ExternalSecret: other");
        f.at(TARGET)["metadata"]["ownerReferences"] = json!([{ "kind": "ExternalSecret", "name": "other" }]);
    }),
    ("a target that the operator does not make", "target-not-made", &["target-not-made targets shop/shop"], |f| {
        f.objects.remove(TARGET);
        f.one(CONSUMERS)["spec"]["target"] = json!({ "creationPolicy": "None" });
    }),
    ("a target that the operator only fills", "target-not-made", &["target-not-made targets shop/shop"], |f| {
        f.objects.remove(TARGET);
        f.one(CONSUMERS)["spec"]["target"] = json!({ "creationPolicy": "Merge" });
        f.one(CONSUMERS)["status"]["conditions"] = json!([{ "type": "Ready", "status": "True", "reason": "SecretMissing" }]);
    }),
    ("an immutable target", "target-immutable", &["target-immutable external secrets shop/shop"], |f| {
        f.failed("could not update secret, target is immutable")
    }),
    ("an immutable target that is old", "target-immutable", &["target-immutable targets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["target"] = json!({ "immutable": true });
        f.one(CONSUMERS)["status"]["refreshTime"] = "2025-12-31T23:59:59Z".into();
    }),
    ("an immutable target that was refreshed all the same", "target-immutable", &["target-immutable targets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["target"] = json!({ "immutable": true });
        f.at(TARGET)["metadata"]["creationTimestamp"] = "2025-12-31T23:59:59Z".into();
    }),
    ("a target of the same second that is old", "target-stale", &["target-stale targets shop/shop"], |f| {
        f.one(CONSUMERS)["status"]["refreshTime"] = "2026-01-01T00:00:00Z".into();
        f.one(CONSUMERS)["metadata"]["resourceVersion"] = "1000".into();
        f.at(SALT)["metadata"]["resourceVersion"] = "1001".into();
        f.at(&format!("{SOURCES}session-key"))["metadata"]["resourceVersion"] = "999".into();
    }),
    ("an old target that is made only once", "target-stale", &["target-stale targets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["refreshPolicy"] = "CreatedOnce".into();
        f.one(CONSUMERS)["status"]["refreshTime"] = "2025-12-31T23:59:59Z".into();
    }),
    ("an old target that is never refreshed", "target-stale", &["target-stale targets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["refreshInterval"] = "0".into();
        f.one(CONSUMERS)["status"]["refreshTime"] = "2025-12-31T23:59:59Z".into();
    }),
    ("a target that cannot change", "rotation-stops", &["rotation-stops targets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["target"] = json!({ "immutable": true })
    }),
    ("a target that is never refreshed", "rotation-stops", &["rotation-stops targets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["refreshInterval"] = "0s".into()
    }),
    ("a target with windows", "rotation-stops", &["rotation-stops targets shop/shop"], |f| {
        f.one(CONSUMERS)["spec"]["syncWindows"] = json!([{ "schedule": "0 1 * * *" }])
    }),
    ("an ExternalSecret under a quota", "quota-exceeded", &["quota-exceeded external secrets shop/shop"], |f| {
        f.failed("secrets \"shop\" is forbidden: exceeded quota: q")
    }),
    ("an ExternalSecret that wants more", "external-secret-failed", &["external-secret-failed external secrets shop/shop"], |f| {
        let more = json!({ "secretKey": "more", "remoteRef": { "key": "not-ours", "property": "value" } });
        f.one(CONSUMERS)["spec"]["data"].as_array_mut().unwrap().push(more);
        f.failed("secrets \"not-ours\" is forbidden: User \"system:serviceaccount:eso:shop-reader\" cannot get resource \"secrets\"");
    }),
    (
        "an ExternalSecret that has not seen that its account is back",
        "external-secret-failed",
        &["external-secret-failed external secrets shop/shop"],
        |f| f.failed(r#"failed to prepare auth: cannot create service account token: "serviceaccounts \"shop-reader\" not found""#),
    ),
    ("an operator without the right to Secrets", "operator-forbidden", &["operator-forbidden external secrets shop/shop"], |f| {
        f.failed("secrets is forbidden: User \"system:serviceaccount:eso:eso\" cannot create resource \"secrets\"")
    }),
    ("an ExternalSecret that has not tried again", "external-secret-failed", &["external-secret-failed external secrets shop/shop"], |f| {
        f.failed("secrets \"cart-salt\" not found")
    }),
];

/// The API server's time.
const NOW: &str = "Date: Sun, 01 Mar 2026 00:00:00 GMT\r\n";

/// The checks that are not good, in the order shown: a code, or `skipped`, and the place.
fn not_good(shown: &str) -> Vec<String> {
    let line = regex::Regex::new(r"^  (ok  |warn|BAD |-   ) (.+?)(?: \[([a-z-]+)\])?$").unwrap();
    let (mut category, mut found) = ("", Vec::new());
    for text in shown.lines().filter(|text| !text.starts_with("       ")) {
        match line.captures(text) {
            Some(one) if &one[1] == "ok  " => {}
            Some(one) => found.push(format!("{} {category} {}", one.get(3).map_or("skipped", |code| code.as_str()), &one[2])),
            None => category = text,
        }
    }
    found
}

/// The lines that a text has or lacks, compared with the healthy one.
fn difference(healthy: &str, shown: &str) -> String {
    let lines = |change: similar::Change<&str>| match change.tag() {
        similar::ChangeTag::Equal => String::new(),
        tag => format!("{tag}{}", change.value()),
    };
    similar::TextDiff::from_lines(healthy, shown).iter_all_changes().map(lines).collect()
}

/// If something else answers a request, `doctor` concludes nothing from that, and says that it did not get through.
#[test]
fn each_answer_has_to_be_one_of_kubernetes() {
    let count = |mut fake: Fake, other: usize, body: &'static str| {
        let sandbox = fake.sandbox.take().unwrap();
        let (port, count) = serve_with(move |n, path, asked| match n == other && !path.ends_with("/cert.pem") {
            true => response("200 OK", "", body),
            false => fake.answer(path, asked),
        });
        kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
        let ran = sandbox.run(["doctor", "--kubeconfig", "kubeconfig", "--contract", "contract.yaml"]);
        (ran, count.load(std::sync::atomic::Ordering::SeqCst))
    };
    let (ran, all) = count(Fake::healthy(), usize::MAX, "");
    assert!(ran.code == 0 && all > 25, "{all}: {}{}", ran.stdout, ran.stderr);
    let mut believed = 0;
    for n in 0..all {
        let (ran, asked) = count(Fake::healthy(), n, if n % 2 == 0 { "<html>log in</html>" } else { r#"{"kind":"Status"}"# });
        match ran.code {
            0 => believed += 1,
            // Concurrent requests may still be answered.
            _ => assert!(ran.code == 7 && asked <= all && ran.stdout.contains("[api-unreachable]"), "{n}: {}{}", ran.stdout, ran.stderr),
        }
    }
    assert_eq!(believed, 1, "the controller's own answer has its own check");
}

/// Checks a text against a golden file, which `make bless` renews.
pub fn is_golden(file: &str, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(fixture(file), text).unwrap();
    }
    assert_eq!(text, fixture_text(file), "`make bless` renews tests/{file}");
}

#[test]
fn a_program_reads_what_a_person_does() {
    let (_, _, _, breaks) = DEFECTS.iter().find(|(what, ..)| *what == "a Role that leaves out a key that is waited for").unwrap();
    let spoiled = || {
        let mut fake = Fake::healthy();
        breaks(&mut fake);
        fake.at(CONTROLLER)["items"][0]["spec"]["template"]["spec"]["containers"][0]["args"] = json!([]);
        fake
    };
    let said = spoiled().ask(&[]);
    // A pasted command must reach the cluster that was examined.
    assert!(said.stderr.ends_with("add `--context fake` to each `kubectl` if it is not the current one\n"), "{}", said.stderr);
    let text = said.stdout;
    let report: Value = serde_json::from_str(&spoiled().ask(&["--json"]).stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let (mut shown, mut category) = (String::new(), "");
    let mut show = |check: &'static Value, mark: &str| {
        let field = |name: &str| check[name].as_str().unwrap_or("");
        if std::mem::replace(&mut category, check["category"].as_str().unwrap()) != field("category") {
            shown += &format!("{}{}\n", if shown.is_empty() { "" } else { "\n" }, field("category"));
        }
        match field("code") {
            "" => shown += &format!("  {mark} {}\n", field("what")),
            code => {
                let (cause, remedy) = (field("cause"), field("remedy"));
                shown += &format!("  {mark} {} [{code}]\n       why:  {cause}\n       help: {remedy}\n", field("what"));
            }
        }
        assert!(check["names"].as_array().unwrap().len() == 1 && check["names"][0] == check["what"], "{check}");
        assert!(check["command"].is_null() || check["command"] == check["remedy"], "{check}");
    };
    let checks: &'static [Value] = checks.clone().leak();
    let mut categories: Vec<&str> = checks.iter().map(|check| check["category"].as_str().unwrap()).collect();
    categories.dedup();
    for category in categories {
        for (status, mark) in [("good", "ok  "), ("skipped", "-   ")] {
            checks.iter().filter(|one| one["category"] == category && one["status"] == status).for_each(|one| show(one, mark));
        }
    }
    for (status, mark) in [("warning", "warn"), ("bad", "BAD ")] {
        checks.iter().filter(|one| one["status"] == status).for_each(|one| show(one, mark));
    }
    assert_eq!(report["version"], 1);
    assert_eq!(text, format!("{shown}\nfound 1 fault, 1 warning; what each code means: docs/troubleshooting.md\n"));
    assert!(shown.contains("\n  -    ") && shown.contains("\n  warn "), "{shown}");
}

#[test]
fn each_fault_is_found_exactly_and_shown_as_in_the_golden_file() {
    let healthy = Fake::healthy().ask(&[]);
    assert!(!healthy.stderr.contains("kubectl"), "{}", healthy.stderr);
    let healthy = healthy.stdout;
    assert_eq!(not_good(&healthy), [""; 0]);
    let minutes = regex::Regex::new(r"is \d+ minutes").unwrap();
    let mut golden = format!("# All is well\n\n{healthy}");
    let mut wrong = Vec::new();
    for (what, code, expected, breaks) in DEFECTS {
        let mut fake = Fake::healthy();
        breaks(&mut fake);
        let found = fake.ask(&[]);
        let (shown, found) = (minutes.replace(&found.stdout, "is N minutes").into_owned(), found.code);
        let names = BTreeSet::from_iter(not_good(&shown));
        if names != expected.iter().map(|one| (*one).to_owned()).collect() {
            wrong.push(format!("{what}: {names:#?}"));
        }
        let exits = if *code == "api-unreachable" { 7 } else { i32::from(shown.contains("  BAD ")) };
        assert_eq!(found, exits, "{what}: {shown}");
        assert!(expected.iter().any(|one| one.starts_with(&format!("{code} "))), "{what} has its code");
        golden += &format!("\n# {what}: {code}\n\n{}", difference(&healthy, &shown));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    is_golden("goldens/doctor/defects.txt", &golden);
    let codes: BTreeSet<&str> = DEFECTS.iter().map(|(_, code, ..)| *code).collect();
    assert_eq!(codes, Symptom::ALL.iter().map(|symptom| symptom.as_str()).collect(), "each code has a defect");
}
