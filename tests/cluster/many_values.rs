//! Secrets with several values, of every type, with texts that the controller renders: each source and each target is right, byte for byte.

use serde_json::Value;

use crate::harness::{Cluster, SOON};
use crate::repository::Repository;

const CONTRACT: &str = r#"version: 2
store: secret-store
namespace: secret-source
reader: { name: eso-reader, namespace: external-secrets }
labels: { velero.io/exclude-from-backup: "true" }
secrets:
  - name: app-db
    about: of the type basic-auth, with a text of its values
    type: kubernetes.io/basic-auth
    annotations: { example.org/owner: shop }
    values:
      username: { plain: "shop {{ .x }} 'ä'" }
      password: { password: { length: 40 } }
      plain: { template: "{username}:{password}" }
      uri: { template: "postgres://{username}:{password}@app-db-rw.shop/shop", escape: url }
      json: { template: "{{\"u\":{username},\"p\":{password}}}", escape: json }
      base64: { template: "{password}", escape: base64 }
  - name: web-tls
    about: of the type tls
    recipe: { tls: { names: [web.example.org], days: 365 } }
  - name: deploy-key
    about: of the type ssh-auth
    type: kubernetes.io/ssh-auth
    immutable: true
    values:
      ssh-privatekey: { ssh-key: { public: ssh-publickey } }
  - name: pull
    about: of the type dockerconfigjson, of the same Secret
    type: kubernetes.io/dockerconfigjson
    values:
      password: { password: { length: 32 } }
      .dockerconfigjson: { dockerconfigjson: { registry: registry.example.org, user: puller, of: password } }
  - name: pull-elsewhere
    about: of the type dockerconfigjson, of another Secret
    recipe: { dockerconfigjson: { registry: registry.example.org, user: puller, of: pull/password } }
  - name: token
    about: a Secret of one value
    recipe: { hex: { bytes: 32 } }
consumers:
  - namespace: shop
    name: app-db
    target: app-db
    data:
      - { secretKey: url, key: app-db, property: uri }
      - { secretKey: crt, key: web-tls, property: tls.crt }
      - { secretKey: token, key: token, property: value }
  - namespace: shop
    name: everything
    target: everything
    extract: [app-db, deploy-key, pull-elsewhere]
"#;

const SECRETS: [&str; 6] = ["app-db", "web-tls", "deploy-key", "pull", "pull-elsewhere", "token"];

#[test]
fn every_source_and_every_target_is_what_unseal_says() {
    let (cluster, repository) = (Cluster::start(), Repository::with_contract(CONTRACT));
    crate::install(&cluster, &repository);
    let unsealed = |repository: &Repository| -> Value {
        serde_json::from_slice(&repository.run(&["unseal", "-o", "json"])).expect("`unseal -o json` is JSON")
    };
    let get = |namespace: &str, name: &str| -> Value {
        serde_json::from_str(&cluster.kubectl(&["-n", namespace, "get", "secret", name, "-o", "json"])).expect("kubectl prints JSON")
    };
    let of = |all: &Value, name: &str| -> Value {
        all["items"].as_array().expect("a List").iter().find(|one| one["metadata"]["name"] == name).expect("it is there").clone()
    };
    let before = unsealed(&repository);
    for name in SECRETS {
        let (live, ours) = (get("secret-source", name), of(&before, name));
        assert_eq!((&live["data"], &live["type"]), (&ours["data"], &ours["type"]), "{name}");
        assert_eq!(live["immutable"] == true, ours["immutable"] == true, "{name}");
        assert_eq!(live["metadata"]["labels"]["velero.io/exclude-from-backup"], "true", "{name}");
    }
    assert_eq!(get("secret-source", "app-db")["metadata"]["annotations"]["example.org/owner"], "shop");
    targets(&cluster, &before);
    let kubeconfig = cluster.kubeconfig().to_string_lossy().into_owned();
    repository.run(&["doctor", "--kubeconfig", &kubeconfig]);
    // One value of several, and what is made from it.
    repository.run(&["rotate", "app-db/password", "--yes"]);
    cluster.kubectl(&["apply", "-k", &repository.path("out/secret-source").to_string_lossy()]);
    let after = unsealed(&repository);
    assert_ne!(of(&before, "app-db")["data"]["uri"], of(&after, "app-db")["data"]["uri"]);
    let arrived = || (get("secret-source", "app-db")["data"] == of(&after, "app-db")["data"]).then_some(());
    cluster.wait_for("the source of app-db", SOON, arrived);
    for name in ["app-db", "everything"] {
        cluster.kubectl(&["-n", "shop", "annotate", "externalsecret", name, "force-sync=1", "--overwrite"]);
    }
    let of_target = |name: &str, key: &str| get("shop", name)["data"][key].clone();
    let arrived = || (of_target("app-db", "url") == of(&after, "app-db")["data"]["uri"]).then_some(());
    cluster.wait_for("the target app-db", SOON, arrived);
    let arrived = || (of_target("everything", "password") == of(&after, "app-db")["data"]["password"]).then_some(());
    cluster.wait_for("the target everything", SOON, arrived);
    targets(&cluster, &after);
    repository.run(&["doctor", "--kubeconfig", &kubeconfig]);
    pushed(&cluster, &repository, &after);
}

/// Applies what `export` prints: another store has each source Secret whole, and a third one the single value as it is.
fn pushed(cluster: &Cluster, repository: &Repository, unsealed: &Value) {
    let json = |args: &[&str]| -> Value { serde_json::from_str(&cluster.kubectl(args)).expect("kubectl prints JSON") };
    let apply = |manifests: &str| cluster.kubectl_with_input(&["apply", "-f", "-"], manifests);
    let export = |args: &[&str]| String::from_utf8(repository.run(&[&["export", "--push-secrets"], args].concat())).expect("YAML");
    let store = |name: &str, provider: Value| {
        serde_json::json!({
            "apiVersion": "external-secrets.io/v1", "kind": "ClusterSecretStore",
            "metadata": { "name": name }, "spec": { "provider": provider },
        })
    };
    cluster.create_namespace("hosted");
    cluster.kubectl(&["-n", "hosted", "create", "role", "writer", "--verb=*", "--resource=secrets"]);
    cluster.kubectl(&["-n", "hosted", "create", "rolebinding", "writer", "--role=writer", "--serviceaccount=external-secrets:eso-reader"]);
    let mut provider = json(&["get", "clustersecretstore", "secret-store", "-o", "json"])["spec"]["provider"].clone();
    provider["kubernetes"]["remoteNamespace"] = "hosted".into();
    apply(&store("whole", provider).to_string());
    // This provider cannot say what it has.
    apply(&export(&["whole"]).replace("updatePolicy: IfNotExists", "updatePolicy: Replace"));
    for name in SECRETS {
        let of = |list: &Value| list["items"].as_array()?.iter().find(|one| one["metadata"]["name"] == name).map(|one| one["data"].clone());
        let ours = of(unsealed).expect("it is sealed");
        let copied = || of(&json(&["-n", "hosted", "get", "secret", "-o", "json"])).filter(|data| *data == ours).map(drop);
        cluster.wait_for(name, SOON, copied);
    }
    cluster.kubectl(&["-n", "secret-source", "delete", "pushsecret", "--all"]);
    // The operator keeps this provider's data in memory.
    apply(&store("bare", serde_json::json!({ "fake": { "data": [{ "key": "other", "value": "x" }] } })).to_string());
    let bare = export(&["bare", "--bare-values"]);
    apply(bare.split("---\n").find(|one| one.contains("  name: token\n")).expect("one for the token"));
    let reader = serde_json::json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": { "name": "token", "namespace": "hosted" },
        "spec": {
            "refreshInterval": "1s",
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": "bare" },
            "data": [{ "secretKey": "copy", "remoteRef": { "key": "token" } }],
            "target": { "name": "bare-token" },
        },
    });
    apply(&reader.to_string());
    let ours = unsealed["items"].as_array().expect("a List").iter().find(|one| one["metadata"]["name"] == "token").expect("it is sealed");
    let value = &ours["data"]["value"];
    let arrived = || {
        let text = cluster.try_kubectl(&["-n", "hosted", "get", "secret", "bare-token", "-o", "json"]).ok()?;
        let secret: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
        (secret["data"]["copy"] == *value).then_some(())
    };
    cluster.wait_for("the bare value", SOON, arrived);
}

/// Each target has the bytes of its sources.
fn targets(cluster: &Cluster, unsealed: &Value) {
    let of = |name: &str| unsealed["items"].as_array().unwrap().iter().find(|one| one["metadata"]["name"] == name).unwrap()["data"].clone();
    let target = |name: &str| -> Value {
        cluster.kubectl(&["-n", "shop", "wait", &format!("externalsecret/{name}"), "--for=condition=Ready", "--timeout=60s"]);
        let text = cluster.kubectl(&["-n", "shop", "get", "secret", name, "-o", "json"]);
        serde_json::from_str::<Value>(&text).expect("kubectl prints JSON")["data"].clone()
    };
    let named = target("app-db");
    assert_eq!((&named["url"], &named["crt"]), (&of("app-db")["uri"], &of("web-tls")["tls.crt"]));
    let mut all = serde_json::Map::new();
    for name in ["app-db", "deploy-key", "pull-elsewhere"] {
        all.extend(of(name).as_object().unwrap().clone());
    }
    assert_eq!(target("everything"), Value::Object(all));
}
