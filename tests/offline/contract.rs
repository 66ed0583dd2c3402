//! `contract`: table, JSON, YAML and picture say the same.

use seal_secrets::manifest::contract_file;

use crate::common::{Sandbox, fixture, fixture_text};

#[test]
fn the_table_is_what_is_documented() {
    let sandbox = Sandbox::empty();
    let table = sandbox.run(["contract"]).expect(0).stdout;
    let golden = fixture("goldens/contract.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, &table).unwrap();
    }
    assert_eq!(table, fixture_text("goldens/contract.txt"), "`make bless` renews tests/goldens/contract.txt");
}

#[test]
fn the_yaml_is_what_the_flag_takes() {
    let sandbox = Sandbox::empty();
    let yaml = sandbox.run(["contract", "--format", "yaml"]).expect(0).stdout;
    assert_eq!(yaml, contract_file::EMBEDDED);
    sandbox.write("contract.yaml", yaml.as_bytes());
    let same = |format: &str| {
        let ours = sandbox.run(["contract", "--format", format]).expect(0).stdout;
        assert_eq!(sandbox.run(["contract", "--contract", "contract.yaml", "--format", format]).expect(0).stdout, ours);
        ours
    };
    same("table");
    let json: serde_json::Value = serde_json::from_str(&same("json")).unwrap();
    assert_eq!((json["keys"].as_array().unwrap().len(), json["consumers"].as_array().unwrap().len()), (18, 16));
    let picture = same("mermaid");
    assert!(picture.starts_with("flowchart LR\n"));
    for link in [
        "k0([\"litellm-master-key\"]) --> s0[\"secret-source/litellm-master-key\"]",
        "s0 -->|master| e8",
        "e8{{\"litellm/litellm-secrets\"}} --> t8[(\"litellm/litellm-secrets\")]",
        "s0 -->|LITELLM_MASTER_KEY| e15",
    ] {
        assert!(picture.contains(link), "{link}\n{picture}");
    }
}
