//! `doctor` where no cluster is: its codes are documented, its Roles can be printed.

use seal_secrets::model::Symptom;

use serde_yaml::Value;

use crate::common::{Sandbox, fixture, fixture_text};

#[test]
fn every_code_is_explained() {
    let document = std::fs::read_to_string(fixture("../docs/troubleshooting.md")).unwrap();
    let headings: Vec<&str> = document.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let all: Vec<&str> = Symptom::ALL.iter().map(|symptom| symptom.as_str()).collect();
    assert_eq!(headings, all, "docs/troubleshooting.md has one heading for each code, in their order");
}

/// The Roles of a command line.
fn roles(sandbox: &Sandbox, args: &[&str]) -> Vec<Value> {
    let text = sandbox.run([&["doctor"], args].concat()).expect(0).stdout;
    serde_yaml::Deserializer::from_str(&text).map(|document| serde::Deserialize::deserialize(document).unwrap()).collect()
}

fn rules(roles: &[Value]) -> impl Iterator<Item = &Value> {
    roles.iter().flat_map(|role| role["rules"].as_sequence().unwrap())
}

#[test]
fn the_roles_of_each_command_are_printed_and_give_little() {
    let sandbox = Sandbox::empty();
    let all = roles(&sandbox, &["--print-rbac"]);
    let commands = ["doctor", "key-secret", "fetch-cert", "backup", "import"];
    let each: Vec<Vec<Value>> = commands.iter().map(|command| roles(&sandbox, &[&format!("--print-rbac={command}")])).collect();
    assert_eq!(all, each.concat());
    for (command, roles) in commands.iter().zip(&each) {
        assert!(roles.iter().all(|role| role["metadata"]["name"] == format!("seal-secrets-{command}")), "{roles:?}");
    }
    for rule in rules(&all) {
        let has = |verb: &str| rule["verbs"].as_sequence().unwrap().contains(&verb.into());
        let names = rule["resourceNames"].as_sequence();
        assert!(!has("*") && names.is_none_or(|names| !names.is_empty()), "{rule:?}");
        // A review changes nothing, and the Services are listed beside.
        let free = ["subjectaccessreviews", "services"].iter().any(|free| rule["resources"][0] == *free);
        assert!(names.is_some() || free || (has("list") && !has("get") && !has("create")), "{rule:?}");
    }
    sandbox.run(["doctor", "--print-rbac=unseal"]).expect(2);
}

#[test]
fn roles_follow_the_contract_and_the_controller() {
    let sandbox = Sandbox::empty();
    let contract = fixture_text("fixtures/contracts/small.yaml");
    sandbox.write("contract.yaml", contract.as_bytes());
    sandbox.write("unread.yaml", contract.split("consumers:").next().unwrap().as_bytes());
    let names = |args: &[&str]| -> String {
        let roles = roles(&sandbox, args);
        rules(&roles).map(|rule| serde_yaml::to_string(&rule["resourceNames"]).unwrap()).collect()
    };
    let fetch = names(&["--print-rbac=fetch-cert", "--controller-namespace", "sealing", "--controller-name", "sealer"]);
    assert_eq!(fetch, "- sealer\n- 'http:sealer:'\n- http:sealer:http\n");
    let keys = "- admin-hash\n- admin-password\n- cart-salt\n- session-key\n";
    assert_eq!(names(&["--contract", "contract.yaml", "--print-rbac=import"]), format!("- shop\n{keys}"));
    // Nobody to import from: an empty list of names would be the right to everything.
    assert_eq!(names(&["--contract", "unread.yaml", "--print-rbac=import"]), keys);
    let doctor = roles(&sandbox, &["--contract", "unread.yaml", "--print-rbac=doctor"]);
    assert!(rules(&doctor).all(|rule| rule["resources"][0] != "externalsecrets"), "{doctor:?}");
}
