//! Each command runs with exactly the Roles that `doctor --print-rbac` prints for it; with one right fewer it names the missing right.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::commands::run;
use crate::harness::{Cluster, SOON};
use crate::repository::Repository;

/// An account with the Roles of one command, and nothing else.
struct Account<'c> {
    cluster: &'c Cluster,
    command: &'c str,
    roles: Vec<Value>,
    kubeconfig: PathBuf,
}

impl<'c> Account<'c> {
    fn new(cluster: &'c Cluster, repository: &Repository, command: &'c str) -> Account<'c> {
        let printed = repository.run(&["doctor", &format!("--print-rbac={command}")]);
        let documents = serde_yaml::Deserializer::from_slice(&printed);
        let roles: Vec<Value> = documents.map(|role| serde::Deserialize::deserialize(role).expect("a Role")).collect();
        cluster.kubectl(&["create", "serviceaccount", command]);
        let account = format!("--serviceaccount=default:{command}");
        for role in &roles {
            let (name, namespace) = (crate::text(&role["metadata"]["name"]), role["metadata"]["namespace"].as_str());
            match namespace {
                Some(namespace) => {
                    cluster.kubectl(&["-n", namespace, "create", "rolebinding", name, &format!("--role={name}"), &account]);
                }
                None => {
                    cluster.kubectl(&["create", "clusterrolebinding", name, &format!("--clusterrole={name}"), &account]);
                }
            }
        }
        Account { cluster, command, roles, kubeconfig: cluster.kubeconfig_for("default", command) }
    }

    fn may(&self, roles: &[Value]) {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": roles });
        self.cluster.kubectl_with_input(&["apply", "-f", "-"], &list.to_string());
    }

    /// Its Roles without one right, for each right: the verb, the resource, the remaining Roles.
    fn lessened(&self) -> Vec<(String, String, Vec<Value>)> {
        let mut all = Vec::new();
        for (i, role) in self.roles.iter().enumerate() {
            let rules = role["rules"].as_array().expect("rules");
            for (j, rule) in rules.iter().enumerate() {
                for (k, verb) in rule["verbs"].as_array().expect("verbs").iter().enumerate() {
                    let mut roles = self.roles.clone();
                    let rules = roles[i]["rules"].as_array_mut().expect("rules");
                    rules[j]["verbs"].as_array_mut().expect("verbs").remove(k);
                    rules.retain(|rule| rule["verbs"] != json!([]));
                    all.push((crate::text(verb).to_owned(), crate::text(&rule["resources"][0]).to_owned(), roles));
                }
            }
        }
        all
    }

    fn run(&self, repository: &Repository, args: &[&str]) -> (i32, String) {
        let kubeconfig = self.kubeconfig.to_string_lossy();
        let context = format!("default.{}", self.command);
        let (code, stdout, stderr) =
            run(&repository.path(""), &[&[self.command], args, &["--kubeconfig", &kubeconfig, "--context", &context]].concat());
        (code, stdout + &stderr)
    }
}

#[test]
fn each_command_needs_the_rights_that_are_printed_and_no_others() {
    let (cluster, repository) = (Cluster::start(), Repository::bootstrapped());
    crate::install(&cluster, repository);
    // The chart lets everybody have the certificate, unless it is configured otherwise.
    cluster.kubectl(&["-n", "kube-system", "delete", "rolebinding", "sealed-secrets-controller-service-proxier"]);
    // All of them at once, as an administrator would.
    let mut shell = cluster.command("bash");
    shell.args(["-euo", "pipefail", "-c", "seal-secrets doctor --print-rbac | kubectl apply -f -"]).current_dir(repository.path(""));
    crate::kubectl::run(&mut shell, "").expect("kubectl takes the whole stream");
    // The last one removes the key Secret.
    let digest = repository.digest();
    let commands = [
        ("doctor", &[][..]),
        ("fetch-cert", &[]),
        ("backup", &[]),
        ("import", &["--from-cluster", "--dry-run"]),
        ("re-encrypt", &["git", "--via-controller", "--yes", "--accept-certificate", &digest]),
        ("key-secret", &["--apply"]),
    ];
    for (command, args) in commands {
        let account = Account::new(&cluster, repository, command);
        let ask = |roles: &[Value], what: &str, ends: &dyn Fn(i32, &str) -> bool| {
            account.may(roles);
            let mut last = String::new();
            // The API server learns of a change a little later.
            let ended = crate::process::poll(SOON / 3, || {
                if command == "key-secret" {
                    // Applying it again needs the right to make it, too.
                    cluster.kubectl(&["-n", "kube-system", "delete", "secret", "sealed-secrets-key", "--ignore-not-found"]);
                }
                if command == "re-encrypt" {
                    // Sealed to the served key, without saying so.
                    let unit = repository.read("out/secret-source/vllm-api-key.sealed.yaml");
                    let lines = unit.lines().filter(|line| !line.contains("seal-secrets/")).map(|line| format!("{line}\n"));
                    std::fs::create_dir_all(repository.path("git")).expect("a folder");
                    std::fs::write(repository.path("git/unit.yaml"), lines.collect::<String>()).expect("written");
                }
                let (code, said) = account.run(repository, args);
                let ended = ends(code, &said);
                last = format!("{code}: {said}");
                ended.then_some(())
            });
            assert!(ended.is_some(), "{command} {what}: {last}");
        };
        ask(&account.roles, "with its Roles", &|code, _| code == 0);
        for (verb, resource, roles) in account.lessened() {
            let right = format!("cannot {verb} resource \"{resource}\"");
            let refused = |code: i32, said: &str| match command {
                // Finding this is its purpose.
                "doctor" => code == 1 && said.contains("[forbidden]") && said.contains("may not"),
                _ => code == 7 && said.contains("may not") && said.contains(&right) && said.contains("--print-rbac"),
            };
            ask(&roles, &format!("without {verb} {resource}"), &refused);
            eprintln!("{command}: without {verb} {resource}: refused");
        }
        ask(&account.roles, "with its Roles again", &|code, _| code == 0);
    }
    what_is_live_is_imported(&cluster, repository);
    // Only these Secrets, and not by asking for all.
    let importer = cluster.kubectl_for("default", "import");
    for namespace in ["secret-source", "kube-system"] {
        assert!(importer.run(&["-n", namespace, "get", "secret"], "").is_err_and(|error| error.contains("cannot list")));
    }
    assert!(
        importer.run(&["-n", "kube-system", "get", "secret", "sealed-secrets-key"], "").is_err_and(|error| error.contains("forbidden"))
    );
}

/// Into a repository with another key: from the source Secrets, and from the consumers' Secrets.
fn what_is_live_is_imported(cluster: &Cluster, repository: &Repository) {
    let contract = repository.contract();
    let consumers = contract["consumers"].as_array().expect("consumers");
    let readers: std::collections::BTreeSet<&str> = consumers.iter().map(|consumer| crate::text(&consumer["namespace"])).collect();
    let readers: Vec<&str> = readers.into_iter().flat_map(|namespace| ["--namespace", namespace]).collect();
    let kubeconfig = cluster.kubeconfig().to_string_lossy().into_owned();
    for (namespaces, all) in [(&["--namespace", "secret-source"][..], true), (&readers, false)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(run(folder.path(), &["keygen"]).0, 0);
        let args = ["import", "--from-cluster", "--kubeconfig", &kubeconfig, "--context", "admin"];
        let (code, stdout, stderr) = run(folder.path(), &[&args, namespaces].concat());
        assert!(code == 0 && stderr.contains("context admin, "), "{stdout}{stderr}");
        assert_eq!(!all, stdout.contains("`dex-admin-hash` is not taken: `dex-admin-password`"), "{stdout}");
        let mut same = 0;
        for (key, value) in &repository.values {
            let (code, live, _) = run(folder.path(), &["unseal", "--value", key]);
            assert!(!all || code == 0, "{key} was not imported");
            if code == 0 {
                assert_eq!(STANDARD.encode(live), *value, "{key} is another one");
                same += 1;
            }
        }
        assert!(same == repository.values.len() || !all && same > 10, "{same}");
        let (code, stdout, _) = run(folder.path(), &["verify", "--identity", "keys/operator.agekey"]);
        assert_eq!(code, i32::from(!all), "{stdout}");
        assert!(!stdout.contains("wrong-value") && !stdout.contains("hash-differs"), "{stdout}");
    }
}
