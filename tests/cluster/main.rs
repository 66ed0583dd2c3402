//! Runs the output of seal-secrets on the real parts. `make cluster-test` builds them, enters a separate network and runs this.

mod commands;
mod doctor;
mod gitops;
mod harness;
mod kubectl;
mod many_values;
mod node;
mod process;
mod repository;
mod rights;
mod rotation;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use harness::{Cluster, NEWEST, OWN_KEY, SOON};
use repository::{Repository, recovery};

/// Namespace, Secret and data key of each value, in base64.
type Values = BTreeMap<(String, String, String), String>;

/// Installs everything in `out/INSTALL.md`, in its order; each command in it runs as written.
fn install(cluster: &Cluster, repository: &Repository) {
    for step in repository.install_steps() {
        match step.number {
            2 => cluster.start_sealed_secrets(step.block("yaml").expect("the chart's values stand in step 2")),
            3 => cluster.start_eso(),
            5 => apply_external_secrets(cluster, repository),
            _ => {}
        }
        // Step 0 fetches what is needed, and helm fetches the charts: there is no network here, and the charts were just installed.
        for commands in step.blocks("sh").filter(|commands| step.number > 0 && !commands.starts_with("helm ")) {
            run_commands(cluster, repository, "out", commands);
        }
    }
}

/// Runs commands of a document, as written there, in this folder of the repository.
fn run_commands(cluster: &Cluster, repository: &Repository, folder: &str, commands: &str) {
    let mut shell = cluster.command("bash");
    shell.args(["-euxo", "pipefail", "-c", commands]).current_dir(repository.path(folder));
    let ran = kubectl::run(&mut shell, "");
    ran.unwrap_or_else(|error| panic!("{commands}\n{error}\n{}", cluster.logs()));
}

fn apply_external_secrets(cluster: &Cluster, repository: &Repository) {
    cluster.kubectl_with_input(&["apply", "-f", "-"], &external_secrets(repository));
}

/// The platform's ExternalSecrets, each entry with its property, as the component in `out/property-patches` makes them, and their
/// namespaces: as a List.
fn external_secrets(repository: &Repository) -> String {
    let contract = repository.contract();
    let mut items = Vec::new();
    for consumer in consumers(&contract) {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": consumer["namespace"] } });
        if !items.contains(&namespace) {
            items.push(namespace);
        }
    }
    items.extend(consumers(&contract).map(|consumer| external_secret(&contract, consumer)));
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

fn consumers(contract: &Value) -> impl Iterator<Item = &Value> {
    contract["consumers"].as_array().expect("a contract has consumers").iter()
}

fn entries(consumer: &Value) -> impl Iterator<Item = &Value> {
    consumer["data"].as_array().expect("a consumer has entries").iter()
}

/// A consumer that a helm chart renders has no name in the contract: it is named like its target.
fn name(consumer: &Value) -> &Value {
    if consumer["name"].is_null() { &consumer["target"] } else { &consumer["name"] }
}

fn external_secret(contract: &Value, consumer: &Value) -> Value {
    let entry = |entry: &Value| {
        let property = entry["property"].as_str().unwrap_or("value");
        json!({ "secretKey": entry["secretKey"], "remoteRef": { "key": entry["key"], "property": property } })
    };
    let extract = |secret: &Value| json!({ "extract": { "key": secret } });
    json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": { "namespace": consumer["namespace"], "name": name(consumer) },
        "spec": {
            "refreshInterval": "1h",
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": contract["store"] },
            "target": { "name": consumer["target"] },
            "data": entries(consumer).map(entry).collect::<Vec<_>>(),
            "dataFrom": consumer["extract"].as_array().into_iter().flatten().map(extract).collect::<Vec<_>>(),
        },
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}"))
}

/// Whether all that an ExternalSecret reads was made.
fn made(repository: &Repository, consumer: &Value) -> bool {
    entries(consumer).all(|entry| repository.values.contains_key(text(&entry["key"])))
}

/// Waits until every ExternalSecret whose keys were made is synced, and returns the values of their targets.
fn synced_values(cluster: &Cluster, repository: &Repository) -> Values {
    let contract = repository.contract();
    let mut values = Values::new();
    for consumer in consumers(&contract).filter(|consumer| made(repository, consumer)) {
        let (namespace, name, target) = (text(&consumer["namespace"]), text(name(consumer)), text(&consumer["target"]));
        let resource = format!("externalsecret/{name}");
        cluster.kubectl(&["-n", namespace, "wait", &resource, "--for=condition=Ready", "--timeout=60s"]);
        let secret = cluster.kubectl(&["-n", namespace, "get", "secret", target, "-o", "json"]);
        let secret: Value = serde_json::from_str(&secret).expect("kubectl prints JSON");
        for entry in entries(consumer) {
            let key = text(&entry["secretKey"]);
            values.insert((namespace.into(), target.into(), key.into()), text(&secret["data"][key]).into());
        }
    }
    values
}

/// The same values as the escrow has them.
fn unsealed_values(repository: &Repository) -> Values {
    let contract = repository.contract();
    let mut values = Values::new();
    for consumer in consumers(&contract) {
        for entry in entries(consumer) {
            if let Some(value) = repository.values.get(text(&entry["key"])) {
                let place = [&consumer["namespace"], &consumer["target"], &entry["secretKey"]].map(|part| text(part).to_owned());
                values.insert(place.into(), value.clone());
            }
        }
    }
    values
}

/// The cluster's sealing keys, one per line.
fn sealing_keys(cluster: &Cluster) -> String {
    cluster.kubectl(&["-n", "kube-system", "get", "secret", "-l", "sealedsecrets.bitnami.com/sealed-secrets-key", "-o", "name"])
}

#[test]
fn the_whole_promise_and_a_rebuild() {
    let repository = Repository::bootstrapped();
    let expected = unsealed_values(repository);
    assert!(expected.len() > 15, "the contract has more consumers: {}", expected.len());
    for which in ["first", "rebuilt"] {
        let start = Instant::now();
        let cluster = Cluster::start();
        eprintln!("{which}: a control plane after {:.1?}", start.elapsed());
        if which == "rebuilt" {
            run_commands(&cluster, repository, "", &recovery("The cluster"));
        }
        install(&cluster, repository);
        let sources = cluster.kubectl(&["-n", "secret-source", "get", "secret", "-o", "jsonpath={.items[*].metadata.name}"]);
        let sources: BTreeSet<&str> = sources.split(' ').collect();
        assert_eq!(sources, repository.values.keys().map(String::as_str).collect(), "{which}: every source Secret");
        assert_eq!(synced_values(&cluster, repository), expected, "{which}: every target has the bytes that `unseal` says");
        assert_eq!(sealing_keys(&cluster), "secret/sealed-secrets-key\n", "{which}: the controller made no key");
        eprintln!("{which}: everything in place after {:.1?}", start.elapsed());
        if which == "rebuilt" {
            lose_the_key(&cluster, repository);
        }
    }
}

/// Deletes the key Secret, and restarts the controller, so that it makes its own key: after docs/recovery.md it
/// opens everything again.
fn lose_the_key(cluster: &Cluster, repository: &Repository) {
    cluster.kubectl(&["-n", "kube-system", "delete", "secret", "sealed-secrets-key"]);
    cluster.restart_sealed_secrets();
    run_commands(cluster, repository, "", &recovery("The controller's key only"));
    cluster.kubectl(&["-n", "secret-source", "delete", "sealedsecret", "--all", "--cascade=foreground"]);
    let gone = || cluster.kubectl(&["-n", "secret-source", "get", "secret", "-o", "name"]).is_empty().then_some(());
    cluster.wait_for("the source Secrets are gone with their SealedSecrets", SOON, gone);
    cluster.kubectl(&["apply", "-k", &repository.path("out/secret-source").to_string_lossy()]);
    cluster.kubectl(&["-n", "secret-source", "wait", "sealedsecret", "--all", "--for=condition=Synced", "--timeout=60s"]);
    let secrets = cluster.kubectl(&["-n", "secret-source", "get", "secret", "-o", "json"]);
    let secrets: Value = serde_json::from_str(&secrets).expect("kubectl prints JSON");
    let secrets = secrets["items"].as_array().expect("a List has items").iter();
    let values = secrets.map(|secret| (text(&secret["metadata"]["name"]).to_owned(), text(&secret["data"]["value"]).to_owned()));
    assert_eq!(values.collect::<BTreeMap<_, _>>(), repository.values);
}

/// Starts the controller with our key, before everything else; it answers as fast as it is asked.
fn start_with_own_key(cluster: &Cluster, repository: &Repository) {
    let key = String::from_utf8(repository.run(&["key-secret"])).expect("a key Secret is text");
    cluster.kubectl_with_input(&["apply", "-f", "-"], &key);
    cluster.start_sealed_secrets(&format!("{OWN_KEY}rateLimit: \"1000\"\nrateLimitBurst: \"1000\"\n"));
}

#[test]
fn kubeseal_and_we_open_what_the_other_sealed() {
    let repository = Repository::bootstrapped();
    let cluster = Cluster::start();
    start_with_own_key(&cluster, repository);

    let service = "/api/v1/namespaces/kube-system/services/http:sealed-secrets-controller:http";
    let served = cluster.kubectl(&["get", "--raw", &format!("{service}/proxy/v1/cert.pem")]);
    assert_eq!(served, repository.read("keys/sealing.crt"), "the certificate that is served is ours");

    for scope in ["strict", "namespace-wide", "cluster-wide"] {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "theirs", "namespace": "anywhere" },
            "stringData": { "value": "what kubeseal sealed" },
        });
        // Without --cert it asks the controller, as most people do.
        let sealed = kubectl::run(cluster.program("kubeseal").args(["--scope", scope]), &secret.to_string());
        std::fs::write(repository.path("theirs.json"), sealed.expect("kubeseal seals")).expect("theirs.json is written");
        let opened: Value = serde_json::from_slice(&repository.run(&["unseal", "-f", "theirs.json", "-o", "json"])).expect("JSON");
        assert_eq!(opened["data"]["value"], STANDARD.encode("what kubeseal sealed"), "{scope}");
    }

    std::fs::write(repository.path("key.yaml"), repository.run(&["key-secret"])).expect("the key Secret is written");
    let mut documents = 0;
    for file in std::fs::read_dir(repository.path("out/secret-source")).expect("out/secret-source").flatten() {
        let file_text = std::fs::read_to_string(file.path()).expect("a file in out/secret-source");
        // kubeseal looks at the first document of a file only.
        for document in file_text.split("\n---\n").filter(|document| document.contains("kind: SealedSecret")) {
            documents += 1;
            let validated = kubectl::run(cluster.program("kubeseal").arg("--validate"), document);
            validated.unwrap_or_else(|error| panic!("kubeseal does not accept {}: {error}", file.path().display()));
            let mut kubeseal = cluster.program("kubeseal");
            kubeseal.arg("--recovery-unseal").arg("--recovery-private-key").arg(repository.path("key.yaml"));
            let opened = kubectl::run(&mut kubeseal, document).expect("kubeseal opens it with the key Secret");
            let opened: Value = serde_json::from_str(&opened).expect("kubeseal prints JSON");
            assert_eq!(opened["data"]["value"], repository.values[text(&opened["metadata"]["name"])]);
        }
    }
    assert_eq!(documents, repository.values.len());
}

#[test]
fn the_reader_gets_the_named_secrets_and_nothing_else() {
    let repository = Repository::bootstrapped();
    let cluster = Cluster::start();
    start_with_own_key(&cluster, repository);
    cluster.kubectl(&["apply", "-k", &repository.path("out/secret-source").to_string_lossy()]);
    cluster.kubectl(&["-n", "secret-source", "wait", "sealedsecret", "--all", "--for=condition=Synced", "--timeout=60s"]);
    cluster.create_namespace("external-secrets");
    cluster.kubectl(&["apply", "-k", &repository.path("out/secret-store").to_string_lossy()]);
    cluster.kubectl(&["-n", "secret-source", "create", "secret", "generic", "not-ours", "--from-literal=value=x"]);

    let reader = cluster.kubectl_for("external-secrets", "eso-reader");
    let contract = repository.contract();
    let read: BTreeSet<&str> = consumers(&contract).flat_map(entries).map(|entry| text(&entry["key"])).collect();
    for key in repository.values.keys().filter(|key| read.contains(key.as_str())) {
        reader.run(&["-n", "secret-source", "get", "secret", key], "").unwrap_or_else(|error| panic!("{key}: {error}"));
    }
    let refused = |args: &[&str]| {
        let answer = reader.run(args, "").expect_err("the reader is refused");
        assert!(answer.contains("is forbidden: User \"system:serviceaccount:external-secrets:eso-reader\""), "{args:?}: {answer}");
    };
    refused(&["-n", "secret-source", "get", "secret", "not-ours"]);
    refused(&["-n", "secret-source", "get", "secret", "dex-admin-password"]); // no ExternalSecret reads it
    refused(&["-n", "secret-source", "get", "secret"]);
    refused(&["-n", "secret-source", "delete", "secret", "litellm-master-key"]);
    refused(&["-n", "kube-system", "get", "secret", "sealed-secrets-key"]);
    refused(&["get", "secret", "-A"]);
}

#[test]
fn the_controllers_have_their_charts_rights_and_crash_end_and_start_as_on_any_cluster() {
    let cluster = Cluster::start();
    // The real controller panics on such a key, for as long as it exists.
    let broken = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "stringData": { "tls.crt": "x", "tls.key": "x" },
        "metadata": { "name": "broken", "namespace": "kube-system", "labels": { "sealedsecrets.bitnami.com/sealed-secrets-key": "active" } },
    });
    cluster.kubectl_with_input(&["apply", "-f", "-"], &broken.to_string());
    cluster.install(&NEWEST, "kube-system", OWN_KEY);
    let restarts = "jsonpath={.items[*].status.containerStatuses[0].restartCount}";
    let restarted = || cluster.kubectl(&["-n", "kube-system", "get", "pods", "-o", restarts]).parse().is_ok_and(|count: u32| count > 1);
    cluster.wait_for("the controller has crashed twice", SOON, || restarted().then_some(()));
    cluster.kubectl(&["-n", "kube-system", "delete", "secret", "broken"]);
    cluster.start_sealed_secrets(OWN_KEY);
    cluster.start_eso();
    for (namespace, account) in [("kube-system", "sealed-secrets-controller"), ("external-secrets", "external-secrets")] {
        let may = |verb: &str, what: &str| {
            let account = format!("--as=system:serviceaccount:{namespace}:{account}");
            cluster.try_kubectl(&["auth", "can-i", verb, what, "-A", &account]).is_ok()
        };
        assert!(may("create", "secrets"), "{account} makes Secrets");
        assert!(!may("*", "*") && !may("create", "clusterroles"), "{account} is no administrator");
    }
    // The controller found no key, so it made its own, which the next one finds.
    let own = sealing_keys(&cluster);
    assert_eq!(own.lines().count(), 1, "{own}");
    cluster.restart_sealed_secrets();
    assert_eq!(sealing_keys(&cluster), own);
    cluster.stop_sealed_secrets();
    cluster.stop_eso();
    cluster.start_eso();
}

#[test]
fn credentials_outlive_the_api_server() {
    let mut cluster = Cluster::start();
    let contexts = |kubeconfig: &str| cluster.kubectl(&["--kubeconfig", kubeconfig, "config", "get-contexts", "-o", "name"]);
    assert_eq!(contexts(&cluster.kubeconfig().to_string_lossy()), "admin\n");
    let account = cluster.kubeconfig_for("default", "default");
    assert_eq!(contexts(&account.to_string_lossy()), "default.default\n");

    let who = ["--kubeconfig", &account.to_string_lossy(), "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"];
    assert_eq!(cluster.kubectl(&who), "system:serviceaccount:default:default");
    cluster.stop_api_server();
    assert!(cluster.try_kubectl(&who).is_err_and(|error| error.contains("refused")));
    cluster.start_api_server();
    assert_eq!(cluster.kubectl(&who), "system:serviceaccount:default:default");
}
