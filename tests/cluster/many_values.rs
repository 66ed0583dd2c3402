//! Secrets of several values, of every type, with texts that the controller renders: each source and each target is right, byte for byte.

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
consumers:
  - namespace: shop
    name: app-db
    target: app-db
    data:
      - { secretKey: url, key: app-db, property: uri }
      - { secretKey: crt, key: web-tls, property: tls.crt }
  - namespace: shop
    name: everything
    target: everything
    extract: [app-db, deploy-key, pull-elsewhere]
"#;

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
    for name in ["app-db", "web-tls", "deploy-key", "pull", "pull-elsewhere"] {
        let (live, ours) = (get("secret-source", name), of(&before, name));
        assert_eq!((&live["data"], &live["type"]), (&ours["data"], &ours["type"]), "{name}");
        assert_eq!(live["immutable"] == true, ours["immutable"] == true, "{name}");
        assert_eq!(live["metadata"]["labels"]["velero.io/exclude-from-backup"], "true", "{name}");
    }
    assert_eq!(get("secret-source", "app-db")["metadata"]["annotations"]["example.org/owner"], "shop");
    targets(&cluster, &before);
    let kubeconfig = cluster.kubeconfig().to_string_lossy().into_owned();
    repository.run(&["doctor", "--kubeconfig", &kubeconfig]);
    // One value of several, and what is made of it.
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
