//! `import`: existing values are sealed unchanged; a sealed value wins, unless `--replace` lists it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::common::{Sandbox, USUAL};

const ENV: &str = "# production
export LITELLM_MASTER_KEY=\"sk-old\" # of other form
vllm-api-key='0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'
DEX_ADMIN_PASSWORD=correct horse	# typed
HF_TOKEN=
HTTP_PROXY=http://proxy
";

/// The contract's keys that [`ENV`] has a value for.
const KEYS: [&str; 3] = ["litellm-master-key", "vllm-api-key", "dex-admin-password"];

fn secret(namespace: &str, name: &str, data: &[(&str, &str)]) -> String {
    let data: String = data.iter().map(|(key, value)| format!("  {key}: {}\n", BASE64_STANDARD.encode(value))).collect();
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: {namespace}\n  uid: x\ndata:\n{data}type: Opaque\n")
}

#[test]
fn an_env_file_is_sealed_as_it_is_and_bootstrap_adds_the_rest() {
    let sandbox = Sandbox::with_keys();
    sandbox.write_secret("prod.env", ENV.as_bytes());
    let plan = sandbox.run(["import", "--env-file", "prod.env", "--dry-run"]).expect(0).stdout;
    assert!(!sandbox.path("out").exists() && !sandbox.path("secrets").exists());
    let ran = sandbox.run(["import", "--env-file", "prod.env"]).expect(0).stdout;
    for told in [
        "seal   out/secret-source/litellm-master-key.sealed.yaml (provided)\n",
        "from   prod.env:2: litellm-master-key; not what its recipe makes (sk- + 64 hex), so it is marked as imported\n",
        "from   prod.env:3: vllm-api-key\n",
        "note   `hf-token` is empty in prod.env:5, and skipped\n",
        "note   skipped 1 value: for no key of the contract\n",
    ] {
        assert!(plan.contains(told) && ran.contains(told), "{told}\n{plan}\n{ran}");
    }
    assert_eq!(sandbox.value("litellm-master-key"), "sk-old");
    assert_eq!(sandbox.value("dex-admin-password"), "correct horse");
    assert!(bcrypt::verify("correct horse", &sandbox.value("dex-admin-hash")).unwrap());
    assert_eq!(sandbox.read("secrets/dex-admin-password"), "correct horse");
    assert!(sandbox.read("out/secret-source/litellm-master-key.sealed.yaml").contains("seal-secrets/imported: \"true\"\n"));
    assert!(!sandbox.read("out/secret-source/vllm-api-key.sealed.yaml").contains("imported"));
    assert!(!sandbox.path("out/secret-source/litellm-salt-key.sealed.yaml").exists(), "only what was found is sealed");

    sandbox.run(["bootstrap"]).expect(0);
    assert_eq!(sandbox.value("litellm-master-key"), "sk-old");
    sandbox.run(["verify", "--identity", "keys/operator.agekey"]).finds(&USUAL);
    let before = sandbox.snapshot();
    let again = sandbox.run(["import", "--env-file", "prod.env"]).kept(&KEYS);
    assert!(again.stdout.starts_with("nothing to do\n"), "{}", again.stdout);
    sandbox.run(["bootstrap"]).expect(0);
    assert_eq!(before, sandbox.snapshot());
}

#[test]
fn what_unseal_prints_can_be_imported_elsewhere() {
    let (from, to) = (Sandbox::hashless(), Sandbox::with_keys().without_hash());
    for (format, args) in [("yaml", ["-f", "backup"]), ("json", ["--filename", "backup"])] {
        to.write_secret("backup", from.run(["unseal", "-o", format]).expect(0).stdout.as_bytes());
        if std::fs::remove_dir_all(to.path("out")).is_ok() {
            // It still knows which values were write-once.
            let ran = to.run(["import", args[0], args[1]]).expect(4);
            assert!(ran.stderr.contains("`litellm-salt-key`, `n8n-encryption-key` were sealed before"), "{}", ran.stderr);
            assert!(ran.stderr.contains("pass `--destroys-data litellm-salt-key`, "), "{}", ran.stderr);
            to.remove("keys/sealed.txt");
        }
        to.run(["import", args[0], args[1]]).expect(0);
        for key in ["litellm-salt-key", "dex-admin-password", "dex-admin-hash", "oauth2-proxy-cookie-secret"] {
            assert_eq!(from.value(key), to.value(key));
        }
        to.run(["verify", "--identity", "keys/operator.agekey"]).finds(&USUAL);
    }
    std::fs::remove_dir_all(to.path("out")).unwrap();
    to.remove("keys/sealed.txt");
    to.run_with_input(["import", "-f", "-"], from.run(["unseal"]).expect(0).stdout.as_bytes()).expect(0);
    assert_eq!(from.value("litellm-salt-key"), to.value("litellm-salt-key"));
}

#[test]
fn a_readers_target_secret_is_taken_apart_by_its_external_secret() {
    let sandbox = Sandbox::with_keys();
    let contract: serde_json::Value = serde_json::from_str(&sandbox.run(["contract", "--format", "json"]).expect(0).stdout).unwrap();
    let consumers = contract["consumers"].as_array().unwrap();
    let reads = |key: &str| {
        let all = consumers.iter().flat_map(|consumer| consumer["data"].as_array().unwrap().iter().map(move |entry| (consumer, entry)));
        let (consumer, entry) = all.clone().find(|(_, entry)| entry["key"] == key).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        (text(&consumer["namespace"]), text(&consumer["target"]), text(&entry["secretKey"]))
    };
    let (namespace, target, data_key) = reads("litellm-salt-key");
    let salt = "of two\nlines, with a line feed\n";
    let there = secret(&namespace, &target, &[(&data_key, salt), ("another", "x")]);
    let elsewhere = secret("elsewhere", &target, &[(&data_key, "y")]);
    sandbox.write_secret("live.yaml", format!("{there}---\n{elsewhere}").as_bytes());
    let ran = sandbox.run(["import", "-f", "live.yaml"]).expect(0).stdout;
    assert!(ran.contains(&format!("from   live.yaml:1 ({target}, {data_key}): litellm-salt-key;")), "{ran}");
    assert!(ran.contains("note   skipped 2 values"), "{ran}");
    assert_eq!(sandbox.value("litellm-salt-key"), salt, "a live value is taken to the byte");
}

#[test]
fn a_folder_of_values_is_taken_without_line_feeds() {
    let sandbox = Sandbox::with_keys().without_hash();
    sandbox.write_secret("secrets/dex-admin-password", b"correct horse\n");
    sandbox.write_secret("secrets/hf-token", b"hf_abcdefghijklmnopqrstuvwxyz");
    sandbox.write_secret("secrets/unknown", b"x");
    sandbox.run(["import", "--from-directory", "secrets"]).warned(&[
        "removed the line feed at the end of `dex-admin-password`",
        "secrets/dex-admin-password held the value of another `dex-admin-password`; it is replaced",
    ]);
    assert_eq!(sandbox.value("dex-admin-password"), "correct horse");
    assert_eq!(sandbox.value("hf-token"), "hf_abcdefghijklmnopqrstuvwxyz");
    assert_eq!(sandbox.read("secrets/dex-admin-password"), "correct horse", "the operator's copy is the sealed value");
}

#[test]
fn what_is_sealed_wins_unless_it_is_named() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.write_secret("prod.env", ENV.as_bytes());
    let (master, before) = (sandbox.value("litellm-master-key"), sandbox.snapshot());
    sandbox.run(["import", "--env-file", "prod.env"]).kept(&KEYS);
    assert_eq!(before, sandbox.snapshot());
    let ran = sandbox.run(["import", "--env-file", "prod.env", "--replace", "dex-admin-password", "--yes"]).kept(&KEYS[..2]);
    assert!(ran.stdout.contains("dex-admin.sealed.yaml (replaced): dex-admin-password and dex-admin-hash\n"), "{}", ran.stdout);
    assert!(bcrypt::verify("correct horse", &sandbox.value("dex-admin-hash")).unwrap());
    assert_eq!(sandbox.value("litellm-master-key"), master);
    let changed: Vec<_> = sandbox.snapshot().into_iter().filter(|(path, content)| before.get(path) != Some(content)).collect();
    let changed: Vec<String> =
        changed.iter().map(|(path, _)| path.to_string_lossy().into_owned()).filter(|path| !path.ends_with("/")).collect();
    let files: Vec<&String> = changed.iter().filter(|path| sandbox.path(path).is_file()).collect();
    assert!(files.len() == 2 && files.iter().any(|path| path.ends_with("out/secret-source/dex-admin.sealed.yaml")), "{files:?}");

    let ran = sandbox.run(["import", "--env-file", "prod.env", "--replace", "vllm-api-key", "--dry-run", "--json"]);
    let json = ran.kept(&[KEYS[0], KEYS[2]]).stdout;
    let plan: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&plan["changes"][0]["reason"], &plan["from"]["vllm-api-key"]), (&"replaced".into(), &"prod.env:3".into()));
    assert_eq!(plan["imported"], serde_json::json!(["dex-admin-password", "litellm-master-key"]));
}

#[test]
fn a_write_once_value_is_replaced_only_where_the_operator_says_what_is_lost() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.write_secret("salt.env", b"LITELLM_SALT_KEY=the one that was always in use");
    let before = sandbox.snapshot();
    let ran = sandbox.run(["import", "--env-file", "salt.env", "--replace", "litellm-salt-key"]).expect(4);
    assert!(ran.stderr.contains("`--destroys-data litellm-salt-key`"), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
    sandbox.run(["import", "--env-file", "salt.env", "--destroys-data", "litellm-salt-key"]).expect(4);
    assert_eq!(before, sandbox.snapshot());
    sandbox.run(["import", "--env-file", "salt.env", "--destroys-data", "litellm-salt-key", "--yes"]).expect(0);
    assert_eq!(sandbox.value("litellm-salt-key"), "the one that was always in use");
    sandbox.run(["bootstrap"]).expect(0);
    sandbox.run(["verify", "--identity", "keys/operator.agekey"]).finds(&USUAL);
}

#[test]
fn a_pair_is_whole_or_not_taken() {
    let hash = bcrypt::hash("correct horse", 10).unwrap();
    let sandbox = Sandbox::with_keys();
    sandbox.write_secret("half.env", format!("dex-admin-hash='{hash}'\nvllm-api-key=x\n").as_bytes());
    sandbox.run(["import", "--env-file", "half.env"]).expect(3);
    assert!(!sandbox.path("out").exists());
    sandbox.write_secret("whole.env", format!("dex-admin-hash={hash}\ndex-admin-password=correct horse\n").as_bytes());
    sandbox.run(["import", "--env-file", "whole.env"]).expect(0);
    assert_eq!(sandbox.value("dex-admin-hash"), hash, "a hash that matches is taken as it is");
    sandbox.run(["bootstrap"]).expect(0);
    sandbox.run(["verify", "--identity", "keys/operator.agekey"]).finds(&USUAL);
}

#[test]
fn what_cannot_be_taken_is_refused_and_nothing_is_written() {
    let hash = bcrypt::hash("another", 4).unwrap();
    let long = "x".repeat(73);
    let master = |value: &str| secret("secret-source", "litellm-master-key", &[("value", value)]);
    let shell = "in.env:2:1: shell syntax that is not evaluated here";
    let rows: [(&str, String, i32, &str); 21] = [
        ("env", "hunter2".into(), 3, "in.env:1:1: not a `KEY=VALUE` line"),
        ("env", "VLLM_API_KEY='hunter2\n".into(), 3, "in.env:1:1: its quotes are not closed"),
        ("env", "\nVLLM_API_KEY=hunter2; export VLLM_API_KEY\n".into(), 3, shell),
        ("env", "\nVLLM_API_KEY='hunter2'; export VLLM_API_KEY\n".into(), 3, shell),
        ("env", "\nVLLM_API_KEY=hunter2;\n".into(), 3, shell),
        ("env", "\nVLLM_API_KEY=hunter2 && x\n".into(), 3, shell),
        ("env", "\nVLLM_API_KEY=$'hunter2'\n".into(), 3, shell),
        ("env", "\nVLLM_API_KEY=`hunter2`\n".into(), 3, shell),
        ("env", "\nVLLM_API_KEY=$(hunter2)\n".into(), 3, shell),
        ("env", "\nVLLM_API_KEY=\"$(hunter2)\"\n".into(), 3, shell),
        ("env", format!("dex-admin-password={long}\n"), 3, "error: in.env:1: `dex-admin-password` is longer than the 72 bytes"),
        ("env", "VLLM_API_KEY=${hunter2}\n".into(), 3, "refers to another variable"),
        (
            "env",
            "VLLM_API_KEY=hunter2\nvllm-api-key=hunter3\n".into(),
            4,
            "in.env:2: `vllm-api-key` has another value here than in in.env:1",
        ),
        ("env", "HF_TOKEN=hunter2\n".into(), 3, "in.env:1: the value of `hf-token` is not what its recipe asks for"),
        ("env", format!("dex-admin-hash={hash}\ndex-admin-password=hunter2\n"), 4, "not a hash of the password"),
        ("env", "dex-admin-hash=$2a$31$hunter2\ndex-admin-password=hunter2\n".into(), 3, "not a bcrypt hash of a cost up to 16"),
        ("env", format!("dex-admin-password={long}\n"), 3, "longer than the 72 bytes that bcrypt hashes"),
        ("env", "OTHER=hunter2\n".into(), 3, "there is no value of a key of the contract in it"),
        ("yaml", master("hunter2").replace("aHVudGVyMg==", "hunter2?"), 3, "`data[value]`: not base64"),
        ("yaml", format!("{}stringData:\n  value: hunter3\n", master("hunter2")), 3, "`value` is in both `data` and `stringData`"),
        ("yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: hunter2\n".into(), 3, "no Secret of `v1` in it"),
    ];
    let sandbox = Sandbox::with_keys();
    for (kind, text, code, says) in rows {
        let (flag, file) = if kind == "env" { ("--env-file", "in.env") } else { ("-f", "in.yaml") };
        sandbox.write_secret(file, text.as_bytes());
        let before = sandbox.snapshot();
        let ran = sandbox.run(["import", flag, file]).expect(code);
        assert!(ran.stderr.contains(says), "{says}\n{}", ran.stderr);
        assert!(!ran.stderr.contains("hunter") && !ran.stderr.contains(&long) && ran.stdout.is_empty(), "{}", ran.stderr);
        assert_eq!(before, sandbox.snapshot(), "{says}");
    }
    sandbox.chmod("in.env", 0o644);
    sandbox.run(["import", "--env-file", "in.env"]).expect(4);
    sandbox.run(["import"]).expect(2);
    sandbox.run(["import", "--env-file", "in.env", "--json"]).expect(2);
}
