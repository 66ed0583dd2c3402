//! The path of a new value: it is sealed and unsealed, and the commands that `rotate` prints bring it to its targets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::harness::{Cluster, SOON};
use crate::kubectl;
use crate::repository::Repository;

#[test]
fn a_rotated_value_reaches_its_targets() {
    let (cluster, repository) = (Cluster::start(), Repository::new());
    crate::install(&cluster, &repository);
    let data = |namespace: &str, secret: &str| -> Value {
        let secret = cluster.kubectl(&["-n", namespace, "get", "secret", secret, "-o", "json"]);
        serde_json::from_str::<Value>(&secret).expect("kubectl prints JSON")["data"].clone()
    };
    let said = String::from_utf8(repository.run(&["rotate", "vllm-api-key", "dex-admin-password", "--yes"])).expect("text");
    let new = |key: &str| Value::from(STANDARD.encode(repository.run(&["unseal", "--value", key])));
    for key in ["vllm-api-key", "dex-admin-hash"] {
        assert_ne!(new(key), repository.values[key], "{key}");
    }
    cluster.kubectl(&["apply", "-k", &repository.path("out/secret-source").to_string_lossy()]);
    for key in ["vllm-api-key", "dex-admin-hash", "dex-admin-password"] {
        cluster.wait_for(&format!("the source of {key}"), SOON, || (data("secret-source", key)["value"] == new(key)).then_some(()));
    }
    // Run as printed; the account that ESO reads with sees the new value at once.
    let commands: Vec<&str> = said.lines().map(str::trim).filter(|line| line.starts_with("kubectl ")).collect();
    assert_eq!(commands.len(), 3, "{said}");
    for command in commands {
        kubectl::run(cluster.command("bash").args(["-c", command]), "").unwrap_or_else(|error| panic!("{command}: {error}"));
    }
    let contract = repository.contract();
    let mut reached = 0;
    for consumer in crate::consumers(&contract) {
        let entries = crate::entries(consumer).filter(|entry| ["vllm-api-key", "dex-admin-hash"].contains(&crate::text(&entry["key"])));
        for entry in entries {
            let (namespace, target) = (crate::text(&consumer["namespace"]), crate::text(&consumer["target"]));
            let there = || data(namespace, target)[crate::text(&entry["secretKey"])] == new(crate::text(&entry["key"]));
            cluster.wait_for(&format!("{namespace}/{target}"), SOON, || there().then_some(()));
            reached += 1;
        }
    }
    assert_eq!(reached, 3, "who reads them");
    let kubeconfig = cluster.kubeconfig().to_string_lossy().into_owned();
    repository.run(&["doctor", "--kubeconfig", &kubeconfig]);
}
