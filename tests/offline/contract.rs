//! `contract`: table, JSON, YAML and picture agree; and what makes a contract valid.

use std::collections::BTreeMap;

use seal_secrets::manifest::contract_file;
use seal_secrets::model::{
    BcryptVersion, Consumer, Contract, DataKey, Entry, Key, KeyName, Name, Namespace, Reader, Recipe, Result, Terms, When,
};

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
    assert_eq!(yaml, format!("# yaml-language-server: $schema=.seal-secrets/contract.json\n{}", contract_file::EMBEDDED));
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
    let page = same("html");
    let count = |what: &str| page.matches(what).count();
    let entries = json["consumers"].as_array().unwrap().iter().map(|one| one["data"].as_array().unwrap().len()).sum::<usize>();
    assert_eq!(count("<rect "), 2 * 18 + 2 * 16, "{page}");
    assert_eq!(count("<path "), 18 + entries + 16, "{page}");
    assert_eq!(count("<tr>"), 1 + 18, "{page}");
    assert!(page.contains("<title>value → LITELLM_MASTER_KEY</title>") && page.contains("<td>64 hex, write-once</td>"), "{page}");
    // It is opened without a network.
    assert_eq!(["://", "<script", "<link", "src="].map(count), [0; 4], "{page}");
}

fn named(name: &str) -> Name {
    Name::new(name).unwrap()
}

/// The key of a line, in a unit.
fn key(line: usize, name: &str, unit: &str, recipe: Recipe) -> Key {
    Key {
        name: KeyName::new(name).unwrap(),
        about: String::new(),
        recipe,
        when: None,
        needed: true,
        write_once: false,
        operator_copy: false,
        unit: named(unit),
        after_rotation: None,
        restart: Vec::new(),
        position: Some((line, 5)),
    }
}

fn hex(line: usize, name: &str) -> Key {
    key(line, name, name, Recipe::Hex { bytes: 16, prefix: String::new() })
}

fn hash(line: usize, name: &str, unit: &str, of: &str) -> Key {
    key(line, name, unit, Recipe::Bcrypt { of: KeyName::new(of).unwrap(), cost: 10, version: BcryptVersion::TwoA })
}

fn consumer(key: &str) -> Consumer {
    let entry = Entry {
        index: 0,
        secret_key: DataKey::new("a").unwrap(),
        key: named(key),
        property: DataKey::new("value").unwrap(),
        own_store: false,
    };
    Consumer {
        namespace: Namespace::new("n").unwrap(),
        name: None,
        target: named("t"),
        entries: vec![entry],
        whole: Vec::new(),
        patchable: true,
    }
}

fn contract(keys: Vec<Key>, consumers: Vec<Consumer>) -> Result<Contract> {
    let (store, namespace) = (named("s"), Namespace::new("n").unwrap());
    let reader = Reader { name: named("r"), namespace: namespace.clone() };
    Contract::new(Terms {
        file: "c.yaml".to_owned(),
        store,
        namespace,
        reader,
        ignored: Vec::new(),
        forms: Default::default(),
        keys,
        consumers,
    })
}

#[test]
fn terms_that_contradict_each_other_are_no_contract() {
    let long = key(7, "a", "a", Recipe::Hex { bytes: 36, prefix: String::new() });
    let provided = key(7, "a", "a", Recipe::Provided { pattern: None, hint: None, lines: false });
    let in_unit = |line, name, unit| key(line, name, unit, Recipe::Base64Url { bytes: 16 });
    for (keys, place, what) in [
        (vec![hex(7, "a"), hex(9, "a")], "c.yaml:9:5", "the key `a` appears twice, first on line 7"),
        (vec![hash(9, "h", "a", "a")], "c.yaml:9:5", "`h` is the hash of a key that the contract does not have"),
        (vec![hash(9, "h", "h", "h")], "c.yaml:9:5", "`h` is the hash of `h`, which is not generated"),
        (vec![provided, hash(9, "h", "a", "a")], "c.yaml:9:5", "`h` is the hash of `a`, which is not generated"),
        (vec![long, hash(9, "h", "a", "a")], "c.yaml:9:5", "`a` is longer than the 71 bytes that bcrypt takes"),
        (vec![hex(7, "a"), hash(9, "h", "h", "a")], "c.yaml:9:5", "`h` is in another unit than `a`, whose hash it is"),
        (
            vec![in_unit(7, "a", "u"), in_unit(9, "b", "u")],
            "c.yaml:9:5",
            "`b` and `a` share the unit `u`, but neither is the hash of the other",
        ),
        (
            vec![in_unit(7, "a", "b"), in_unit(9, "b", "u")],
            "c.yaml:9:5",
            "the unit of `a` has the same name as the key `b`, which is in another unit",
        ),
    ] {
        let error = contract(keys, Vec::new()).unwrap_err();
        assert_eq!((error.place().as_str(), error.what().as_str()), (place, what));
    }
}

#[test]
fn consumers_read_keys_of_the_contract_only() {
    let pair = || vec![hex(7, "abcd"), hash(9, "h", "abcd", "abcd")];
    let good = contract(pair(), vec![consumer("h")]).unwrap();
    assert_eq!((good.units().len(), good.place(&good.keys[1])), (1, "c.yaml:9:5".to_owned()));
    let errors = [contract(pair(), vec![consumer("abdc")]).unwrap_err(), good.with_consumers(vec![consumer("abdc")]).unwrap_err()];
    for error in errors {
        assert_eq!(
            error.to_string(),
            "error: c.yaml: an ExternalSecret reads a key that the contract does not have\nhelp: did you mean `abcd`?"
        );
    }
}

#[test]
fn a_configuration_decides_which_keys_are_needed() {
    let mut keys = vec![hex(1, "always"), hex(2, "on"), hex(3, "off")];
    for (key, path) in keys[1..].iter_mut().zip(["features.on", "features.off"]) {
        key.when = Some(When { conditions: vec![(path.to_owned(), None)], text: path.to_owned() });
    }
    let configuration = BTreeMap::from([("features.on".to_owned(), "true".to_owned())]);
    let contract = contract(keys, Vec::new()).unwrap().under(&configuration);
    assert_eq!(contract.keys.iter().map(|key| key.needed).collect::<Vec<_>>(), [true, true, false]);
}
