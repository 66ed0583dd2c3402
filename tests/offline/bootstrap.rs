//! The main job: what it makes, and that it never changes existing files.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seal_secrets::pipeline::certificate::SealingCertificate;

use crate::common::{
    BINARY, OWN_CERTIFICATE, Sandbox, USUAL, at_the_prompt, copy_folder, finish, fixture_text, has_strace, needs, program, usual_in,
};

const HEX_64: &str = "[0-9a-f]{64}";

/// Each value in the form that its consumer needs: the platform's inventory of secrets.
pub const FORMS: [(&str, &str); 15] = [
    ("litellm-master-key", "sk-[0-9a-f]{64}"),
    ("litellm-salt-key", HEX_64),
    ("vllm-api-key", HEX_64),
    ("litellm-db-password", HEX_64),
    ("litellm-grafana-ro-password", HEX_64),
    ("n8n-encryption-key", HEX_64),
    ("oauth2-proxy-cookie-secret", "[0-9A-Za-z]{32}"),
    ("dex-admin-password", "[0-9a-f]{32}"),
    ("dex-admin-hash", r"\$2a\$10\$[./0-9A-Za-z]{53}"),
    ("dex-oauth2-proxy-client-secret", HEX_64),
    ("dex-argocd-client-secret", HEX_64),
    ("dex-litellm-client-secret", HEX_64),
    ("dex-grafana-client-secret", HEX_64),
    ("dex-open-webui-client-secret", HEX_64),
    ("dex-tabby-client-secret", HEX_64),
];

#[test]
fn every_value_has_its_form_and_no_two_are_the_same() {
    let sandbox = Sandbox::bootstrapped();
    let mut values = BTreeSet::new();
    for (key, form) in FORMS {
        let value = sandbox.value(key);
        let form = regex::Regex::new(&format!("^(?:{form})$")).unwrap();
        assert!(form.is_match(&value), "{key} has another form");
        values.insert(value);
    }
    assert_eq!(values.len(), FORMS.len());
    let sealed = std::fs::read_dir(sandbox.path("out/secret-source")).unwrap();
    let sealed = sealed.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".sealed.yaml"));
    assert_eq!(sealed.count(), 14);
}

#[test]
fn the_hash_belongs_to_the_password_and_the_operator_has_a_copy() {
    let sandbox = Sandbox::bootstrapped();
    let password = sandbox.value("dex-admin-password");
    assert!(bcrypt::verify(&password, &sandbox.value("dex-admin-hash")).unwrap());
    assert_eq!(sandbox.read("secrets/dex-admin-password"), password);
    assert_eq!(sandbox.path("secrets/dex-admin-password").metadata().unwrap().mode() & 0o777, 0o600);
    let both: Vec<&str> = ["dex-admin-hash", "dex-admin-password"].into();
    let file = sandbox.read("out/secret-source/dex-admin.sealed.yaml");
    assert!(both.iter().all(|key| file.contains(&format!("name: {key}\n"))) && file.matches("kind: SealedSecret").count() == 2);
    assert!(!sandbox.read("out/secret-source/rbac.yaml").contains("dex-admin-password"), "the reader must not see the password");
}

#[test]
fn the_second_run_writes_nothing() {
    let sandbox = Sandbox::bootstrapped();
    let before = sandbox.snapshot();
    let ran = sandbox.run(["bootstrap"]).expect(0);
    assert!(ran.stdout.starts_with("nothing to do\n"), "{}", ran.stdout);
    for key in ["cloudflare-api-token", "anthropic-api-key", "hf-token"] {
        assert!(ran.stdout.contains(&format!("  {key}: ")), "{}", ran.stdout);
    }
    assert_eq!(before, sandbox.snapshot());
    sandbox.run(["plan", "--check"]).expect(0);
}

#[test]
fn two_first_runs_differ_only_in_ciphertext_and_certificate() {
    let text = |sandbox: &Sandbox, path: &str| sandbox.read(path);
    let blob = regex::Regex::new("value: A[^\n]*").unwrap();
    let (one, two) = (Sandbox::bootstrapped(), Sandbox::with_keys());
    two.run(["bootstrap"]).expect(0);
    for path in one.snapshot().into_keys().filter(|path| path.is_file()) {
        let path = path.strip_prefix(one.path("")).unwrap().to_string_lossy().into_owned();
        if !path.starts_with("out/") {
            continue;
        }
        if path.ends_with(".sealed.yaml") {
            let blank = |text: String| blob.replace_all(&text, "value:").into_owned();
            assert_ne!(text(&one, &path), text(&two, &path));
            assert_eq!(blank(text(&one, &path)), blank(text(&two, &path)));
        } else {
            assert_eq!(text(&one, &path), text(&two, &path));
        }
        let file = text(&one, &path);
        assert!(!file.contains("null") && !file.contains("creationTimestamp") && !file.contains("status:"), "{path}");
    }
}

#[test]
fn plan_prints_what_bootstrap_carries_out() {
    let sandbox = Sandbox::with_keys().without_hash();
    let before = sandbox.snapshot();
    let planned = sandbox.run(["plan", "--json"]).expect(0).stdout;
    assert_eq!(planned, sandbox.run(["bootstrap", "--dry-run", "--json"]).expect(0).stdout);
    sandbox.run(["plan", "--check"]).expect(1);
    assert_eq!(sandbox.run(["plan"]).expect(0).stdout, sandbox.run(["bootstrap", "--dry-run"]).expect(0).stdout);
    assert_eq!(before, sandbox.snapshot(), "a plan changes nothing");
    let plan: serde_json::Value = serde_json::from_str(&planned).unwrap();
    let path = |change: &serde_json::Value| change["path"].as_str().unwrap().to_owned();
    let files: BTreeSet<String> = plan["changes"].as_array().unwrap().iter().map(path).collect();
    sandbox.run(["bootstrap"]).expect(0);
    let root = sandbox.path("");
    let made: BTreeSet<String> = sandbox
        .snapshot()
        .into_keys()
        .filter(|path| path.is_file() && !before.contains_key(path) && !path.starts_with(sandbox.path("secrets")))
        .filter(|path| !path.ends_with(".gitattributes"))
        .map(|path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(files, made);
    assert_eq!(plan["awaited"], serde_json::json!(["cloudflare-api-token", "anthropic-api-key", "hf-token"]));
}

#[test]
fn a_deleted_unit_is_rotated_on_purpose_and_the_rest_stays() {
    let sandbox = Sandbox::bootstrapped();
    let before = sandbox.snapshot();
    sandbox.remove("out/secret-source/vllm-api-key.sealed.yaml");
    sandbox.run(["bootstrap"]).expect(4);
    let ran = sandbox.run(["rotate", "vllm-api-key", "--yes"]).expect(0);
    assert!(ran.stdout.contains("seal   out/secret-source/vllm-api-key.sealed.yaml (replaced)"), "{}", ran.stdout);
    let after = sandbox.snapshot();
    let changed: Vec<_> = before.keys().filter(|path| path.is_file() && before[*path] != after[*path]).collect();
    assert_eq!(changed, [&sandbox.path("out/secret-source/vllm-api-key.sealed.yaml")]);
}

#[test]
fn a_write_once_unit_that_was_there_is_not_made_anew_unless_named() {
    let unit = "out/secret-source/litellm-salt-key.sealed.yaml";
    for forgotten in [&["out/secret-source/kustomization.yaml"][..], &["out/INSTALL.md"], &[]] {
        let sandbox = Sandbox::bootstrapped();
        sandbox.remove(unit);
        forgotten.iter().for_each(|file| sandbox.remove(file));
        let before = sandbox.snapshot();
        let ran = sandbox.run(["bootstrap"]).expect(4);
        assert!(ran.stderr.contains("git checkout") && ran.stderr.contains("--destroys-data litellm-salt-key"), "{}", ran.stderr);
        assert_eq!(before, sandbox.snapshot());
        sandbox.run(["bootstrap", "--destroys-data", "n8n-encryption-key"]).expect(4);
        sandbox.run(["bootstrap", "--destroys-data", "litellm-salt-key"]).expect(0);
        assert!(sandbox.path(unit).exists());
    }
}

/// The files below a folder.
fn files(sandbox: &Sandbox, folder: &str) -> Vec<String> {
    let (root, folder) = (sandbox.path(""), sandbox.path(folder));
    let files = sandbox.snapshot().into_keys().filter(|path| path.is_file() && path.starts_with(&folder));
    files.map(|path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned()).collect()
}

/// The code that reports a missing file of `out/`.
fn found_if_gone(file: &str) -> &'static str {
    match file.rsplit('/').next().unwrap() {
        _ if file.starts_with("out/property-patches/") => "patch-differs",
        "kustomization.yaml" => "kustomization-differs",
        "namespace.yaml" => "namespace-differs",
        "rbac.yaml" | "service-account.yaml" => "rbac-differs",
        "cluster-secret-store.yaml" => "store-differs",
        "INSTALL.md" => "runbook-differs",
        "litellm-salt-key.sealed.yaml" | "n8n-encryption-key.sealed.yaml" => "write-once-missing",
        _ => "unit-missing",
    }
}

#[test]
fn a_write_once_unit_is_remembered_where_all_of_the_output_folder_is_gone() {
    let sandbox = Sandbox::bootstrapped();
    let memory = sandbox.read("keys/sealed.txt");
    assert!(memory.contains("\nlitellm-salt-key:write-once ../out\nn8n-encryption-key:write-once ../out\n"), "{memory}");
    let gone = files(&sandbox, "out").iter().map(|file| format!("{} clone/{file}", found_if_gone(file))).collect::<Vec<_>>();
    std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    // It does not matter where the repository is, or from where it is named.
    std::fs::create_dir(sandbox.path("clone")).unwrap();
    std::fs::rename(sandbox.path("keys"), sandbox.path("clone/keys")).unwrap();
    sandbox.accept("clone/keys");
    let folders = ["--keys", "clone/../clone/keys", "--out", "clone/out"];
    let run = |args: &[&str]| sandbox.run([args, &folders].concat());
    let before = sandbox.snapshot();
    for args in [&["bootstrap"][..], &["plan"], &["bootstrap", "--destroys-data", "litellm-salt-key"]] {
        let ran = run(args).expect(4);
        assert!(ran.stderr.contains("restore the output folder from git"), "{}", ran.stderr);
    }
    run(&["verify", "--verbose"]).finds(&[usual_in("clone/../clone/keys", "clone/out"), gone].concat());
    // A contract that forgot it weakens nothing.
    let contract = fixture_text("../src/contract.yaml").replacen("    write-once: true\n", "", 1);
    sandbox.write("contract.yaml", contract.as_bytes());
    assert!(run(&["bootstrap", "--contract", "contract.yaml"]).expect(4).stderr.contains("the contract no longer says so"));
    sandbox.remove("contract.yaml");
    assert_eq!(before, sandbox.snapshot());
    // Other values are imported; this one stays gone and remembered.
    sandbox.write_secret("in.env", b"VLLM_API_KEY=0123456789abcdef0123456789abcdef\n");
    run(&["import", "--env-file", "in.env"]).expect(0);
    assert!(run(&["bootstrap"]).expect(4).stderr.contains("git checkout"));
    assert_eq!(sandbox.read("clone/keys/sealed.txt"), memory);
    std::fs::remove_dir_all(sandbox.path("clone/out")).unwrap();
    std::fs::create_dir(sandbox.path("clone/out")).unwrap();
    copy_folder(&Sandbox::bootstrapped().path("out"), &sandbox.path("clone/out"));
    // A lost memory comes back.
    sandbox.remove("clone/keys/sealed.txt");
    assert!(run(&["bootstrap"]).expect(0).stdout.contains("write  clone/../clone/keys/sealed.txt (new)"));
    assert_eq!(sandbox.read("clone/keys/sealed.txt"), memory);
    assert!(run(&["bootstrap"]).expect(0).stdout.starts_with("nothing to do"));
}

#[test]
fn a_write_once_value_is_kept_by_its_own_file() {
    let unit = "out/secret-source/litellm-salt-key.sealed.yaml";
    let renamed = Sandbox::bootstrapped();
    std::fs::rename(renamed.path(unit), renamed.path("out/secret-source/other.sealed.yaml")).unwrap();
    assert!(renamed.run(["bootstrap"]).expect(4).stderr.contains("rename it back"));
    let truncated = Sandbox::bootstrapped();
    truncated.write(unit, b"");
    truncated.run(["bootstrap"]).expect(3);
    let forgotten = Sandbox::bootstrapped();
    let contract = fixture_text("../src/contract.yaml");
    forgotten.write("c.yaml", contract.replacen("    write-once: true\n", "", 1).as_bytes());
    assert!(forgotten.run(["bootstrap", "--contract", "c.yaml"]).expect(4).stderr.contains("`litellm-salt-key` is write-once"));
    assert_eq!(forgotten.read(unit), Sandbox::bootstrapped().read(unit));
}

#[test]
fn an_unknown_sealed_file_is_an_orphan_and_stays() {
    let sandbox = Sandbox::bootstrapped();
    let text = sandbox.read("out/secret-source/vllm-api-key.sealed.yaml").replace("vllm-api-key", "of-yesterday");
    sandbox.write("out/secret-source/of-yesterday.sealed.yaml", text.as_bytes());
    let ran = sandbox.run(["bootstrap"]).expect(0);
    assert!(ran.stdout.contains("orphan: out/secret-source/of-yesterday.sealed.yaml"), "{}", ran.stdout);
    assert_eq!(sandbox.read("out/secret-source/of-yesterday.sealed.yaml"), text);
    assert!(sandbox.read("out/secret-source/kustomization.yaml").contains("of-yesterday"), "the cluster keeps it too");
    assert!(!sandbox.read("out/secret-source/rbac.yaml").contains("of-yesterday"));
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do"));
}

#[test]
fn a_folder_of_somebody_else_is_not_written_to() {
    let sandbox = Sandbox::with_keys().without_hash();
    sandbox.write("out/kustomization.yaml", b"resources: []\n");
    let before = sandbox.snapshot();
    for command in ["bootstrap", "plan"] {
        let ran = sandbox.run([command]).expect(4);
        assert!(
            ran.stderr.starts_with("error: out/kustomization.yaml: this file is not ours, and would be overwritten\n"),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(before, sandbox.snapshot());
    // A file that would not be overwritten may belong to anyone.
    std::fs::rename(sandbox.path("out/kustomization.yaml"), sandbox.path("out/theirs.yaml")).unwrap();
    let ran = sandbox.run(["bootstrap"]).expect(0);
    assert!(ran.stdout.contains("write  out/secret-store (new): 3 files\n"), "{}", ran.stdout);
    assert_eq!(sandbox.read("out/theirs.yaml"), "resources: []\n");
    // And a file that lost our mark is among ours.
    sandbox.write("out/kustomization.yaml", b"resources: []\n");
    let ran = sandbox.run(["bootstrap"]).expect(0);
    assert!(ran.stdout.contains("write  out/kustomization.yaml (restored)\n"), "{}", ran.stdout);
    sandbox.remove("out/kustomization.yaml");
    let ran = sandbox.run(["bootstrap"]).expect(0);
    assert!(ran.stdout.contains("write  out/kustomization.yaml (made again: its file was gone)\n"), "{}", ran.stdout);
}

#[test]
fn a_derived_file_that_was_edited_is_restored_and_said_so() {
    let sandbox = Sandbox::bootstrapped();
    let before = sandbox.read("out/secret-source/rbac.yaml");
    sandbox.edit("out/secret-source/rbac.yaml", "get", "list");
    let ran = sandbox.run(["bootstrap"]).expect(0);
    assert!(ran.stdout.contains("write  out/secret-source/rbac.yaml (restored)"), "{}", ran.stdout);
    assert_eq!(sandbox.read("out/secret-source/rbac.yaml"), before);
}

#[test]
fn the_runbook_asks_for_the_checkout_that_the_run_does_not_know() {
    let runbook = Sandbox::bootstrapped().read("out/INSTALL.md");
    let patch = crate::printed::commands(&runbook).into_iter().find(|command| command.contains("patch ")).unwrap();
    assert!(patch.ends_with("patch --write --platform DIR"), "{patch}");
    assert!(runbook.contains("(`DIR` is the platform's checkout)"), "{runbook}");
}

#[test]
fn what_an_earlier_run_wrote_is_called_so() {
    let sandbox = Sandbox::bootstrapped();
    let patch = sandbox.read("out/property-patches/hf-token.patch.yaml");
    sandbox.write("out/property-patches/renamed.patch.yaml", patch.as_bytes());
    sandbox.write("out/notes.txt", b"remember the milk\n");
    let said = sandbox.run(["verify"]).expect(0).stdout;
    for told in [
        "renamed.patch.yaml: left over from an earlier run: no longer listed\n  help: delete it\n",
        "notes.txt: the tool neither wrote nor reads it\n",
    ] {
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn half_a_pair_is_refused_with_its_remedy() {
    let sandbox = Sandbox::bootstrapped();
    let file = "out/secret-source/dex-admin.sealed.yaml";
    let whole = sandbox.read(file);
    let half = whole.split("---\n").next().unwrap().to_owned();
    sandbox.write(file, half.as_bytes());
    let ran = sandbox.run(["bootstrap"]).expect(4);
    assert!(
        ran.stderr.contains("is missing from its unit") && ran.stderr.contains("make both again: `seal-secrets rotate dex-admin-password`"),
        "{}",
        ran.stderr
    );
    sandbox.run(["rotate", "dex-admin-password", "--yes"]).expect(0);
    assert!(bcrypt::verify(sandbox.value("dex-admin-password"), &sandbox.value("dex-admin-hash")).unwrap());
    assert_eq!(sandbox.read("secrets/dex-admin-password"), sandbox.value("dex-admin-password"));
}

#[test]
fn a_renamed_data_key_gets_no_second_value() {
    let sandbox = Sandbox::bootstrapped();
    let file = "out/secret-source/vllm-api-key.sealed.yaml";
    sandbox.edit(file, "    value: ", "    values: ");
    let before = sandbox.snapshot();
    for args in [&["bootstrap"][..], &["plan"], &["bootstrap", "--dry-run"], &["rotate", "hf-token", "--provide", "hf-token=x"]] {
        let ran = sandbox.run(args);
        assert!(ran.code == 4 || args[0] == "rotate", "{args:?}: {}", ran.stderr);
    }
    let ran = sandbox.run(["bootstrap"]).expect(4);
    assert!(ran.stderr.contains("`vllm-api-key` holds `values`, which the contract does not have, and not `value`"), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot(), "nothing changed");
    // The label binds namespace and name only, so it opens under its old data key again.
    sandbox.edit(file, "    values: ", "    value: ");
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.contains("nothing to do"));
}

#[test]
fn what_stands_around_the_values_is_written_again_and_the_values_stay() {
    let sandbox = Sandbox::bootstrapped();
    let file = "out/secret-source/vllm-api-key.sealed.yaml";
    let whole = sandbox.read(file);
    sandbox.edit(file, "type: Opaque", "type: kubernetes.io/basic-auth");
    let said = sandbox.run(["bootstrap"]).expect(0).stdout;
    assert!(said.contains("write  out/secret-source/vllm-api-key.sealed.yaml (updated): the same values\n"), "{said}");
    assert_eq!(sandbox.read(file), whole);
    // A value of another scope opens only as it is: it is left, and `verify` reports it.
    sandbox.edit(file, "  annotations:\n", "  annotations:\n    sealedsecrets.bitnami.com/cluster-wide: \"true\"\n");
    let wide = sandbox.read(file);
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.contains("nothing to do"));
    assert_eq!(sandbox.read(file), wide);
}

#[test]
fn another_certificate_seals_nothing() {
    let sandbox = Sandbox::bootstrapped();
    let other = Sandbox::empty();
    other.make_key(["keygen"]).expect(0);
    sandbox.write("keys/sealing.crt", other.read("keys/sealing.crt").as_bytes());
    sandbox.remove("out/secret-source/vllm-api-key.sealed.yaml");
    let before = sandbox.snapshot();
    let digest = |pem: &str| SealingCertificate::read(pem.as_bytes()).unwrap().digest.to_string();
    let digests = [digest(&fixture_text(OWN_CERTIFICATE)), digest(&sandbox.read("keys/sealing.crt"))];
    // Not this machine's certificate; and if it is accepted, not that of the files.
    for (more, says) in [(&[][..], "another certificate was accepted"), (&["--accept-certificate", &digests[1]], "use a different")] {
        for command in ["bootstrap", "plan"] {
            let ran = sandbox.run([&[command], more].concat()).expect(4);
            assert!(ran.stderr.contains(says) && digests.iter().all(|digest| ran.stderr.contains(digest)), "{}", ran.stderr);
        }
    }
    assert_eq!(before, sandbox.snapshot());
}

#[test]
fn what_the_operator_provides_is_sealed_from_file_and_standard_input() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.write_secret("token", b"hf_0123456789abcdef\n");
    let args = ["bootstrap", "--provide", "hf-token=token", "--provide", "anthropic-api-key=-"];
    let ran = sandbox.run_with_input(args, b"sk-ant-0123456789").warned(&["removed the line feed at the end of `hf-token`"]);
    assert!(ran.stdout.contains("write  out/secret-source/kustomization.yaml (updated)"), "{}", ran.stdout);
    assert_eq!(sandbox.value("hf-token"), "hf_0123456789abcdef");
    assert_eq!(sandbox.value("anthropic-api-key"), "sk-ant-0123456789");
    let before = sandbox.snapshot();
    sandbox.write_secret("token", b"hf_another0123456789");
    sandbox.run(["bootstrap", "--provide", "hf-token=token"]).kept(&["hf-token"]);
    assert_eq!(sandbox.value("hf-token"), "hf_0123456789abcdef");
    assert_eq!(before[&sandbox.path("out/INSTALL.md")], sandbox.snapshot()[&sandbox.path("out/INSTALL.md")]);
}

#[test]
fn a_value_that_breaks_its_pattern_is_refused_and_not_shown() {
    let sandbox = Sandbox::with_keys();
    for value in ["sk-not-a-token-0123", "hf_short", "hf_0123456789\nhf_0123456789", "hf_0123456789 "] {
        sandbox.write_secret("token", value.as_bytes());
        let ran = sandbox.run(["bootstrap", "--provide", "hf-token=token"]).expect(3);
        assert!(ran.stderr.contains("`hf-token`") && !ran.stderr.contains(value), "{}", ran.stderr);
        assert!(!sandbox.path("out/secret-source").exists());
    }
}

#[test]
fn a_value_is_asked_for_at_a_terminal_without_echo() {
    needs!("script");
    let sandbox = Sandbox::bootstrapped();
    for (keys, code) in [("\x03", "code=130\r\n"), ("hf_0123456789x\x7fabcdef\n", "code=0\r\n")] {
        let shown = at_the_prompt(&sandbox, "bootstrap --provide hf-token", &[("hf-token: ", keys)]);
        assert!(shown.contains(code), "{shown}");
        assert!(shown.contains(" echo ") && !shown.contains("-echo "), "the echo is on again: {shown}");
        assert!(!shown.contains("hf_0123456789"), "{shown}");
    }
    assert_eq!(sandbox.value("hf-token"), "hf_0123456789abcdef");
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let sandbox = Sandbox::with_keys();
    let ran = sandbox.run(["bootstrap", "--provide", "hf-token"]).expect(4);
    assert!(ran.stderr.contains("KEY=FILE"), "{}", ran.stderr);
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The certificate is valid from 2020-01-01 to 2126-01-01.
#[test]
fn the_certificates_dates_are_kept_by_the_clock() {
    const BEGINS: u64 = 1_577_836_800;
    const ENDS: u64 = 4_922_899_200;
    type Case = (fn() -> SystemTime, i32, &'static str);
    let cases: [Case; 5] = [
        (|| at(BEGINS - 1), 4, "not valid before 2020-01-01"),
        (|| at(BEGINS), 0, ""),
        (|| at(ENDS - 86_400 * 31), 0, ""),
        (|| at(ENDS - 86_400 * 29), 0, "the sealing certificate ends on 2126-01-01T00:00:00Z: a new sealing key is due"),
        (|| at(ENDS + 1), 4, "ended on 2126-01-01"),
    ];
    for (clock, code, says) in cases {
        let sandbox = Sandbox::with_keys();
        let ran = sandbox.run_at(clock, ["plan"]);
        if code == 0 && !says.is_empty() {
            ran.warned(&[says]);
        } else {
            assert!(ran.expect(code).stderr.contains(says), "{says}");
        }
    }
    Sandbox::bootstrapped().run_at(|| at(ENDS + 1), ["unseal"]).expect(0);
}

#[test]
fn a_contract_of_ones_own_serves_another_platform() {
    let sandbox = Sandbox::small();
    let contract = ["--contract", "contract.yaml"];
    assert!(sandbox.path("out/secret-source/admin.sealed.yaml").exists());
    assert!(sandbox.run([&["bootstrap"], &contract[..]].concat()).expect(0).stdout.starts_with("nothing to do"));
    sandbox.run([&["verify", "--identity", "keys/operator.agekey"], &contract[..]].concat()).finds(&USUAL[..1]);
    let store = sandbox.read("out/secret-store/cluster-secret-store.yaml");
    assert!(store.contains("name: shop-store") && store.contains("remoteNamespace: shop-secrets"), "{store}");
}

#[test]
fn braces_in_a_description_stay_as_they_are() {
    let sandbox = Sandbox::small();
    let token = "  - name: token\n    about: see {copies} of {store}, {here}, {\n    recipe: { provided: {} }\nconsumers:";
    sandbox.edit("contract.yaml", "consumers:", token);
    sandbox.run(["bootstrap", "--contract", "contract.yaml"]).expect(0);
    let runbook = sandbox.read("out/INSTALL.md");
    assert!(runbook.contains("- `token`: see {copies} of {store}, {here}, {\n"), "{runbook}");
    assert!(!runbook.contains("{certificate}") && runbook.contains("clustersecretstore/shop-store "), "{runbook}");
}

#[test]
fn what_an_interrupted_run_left_is_removed() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.write("out/secret-source/.seal-secrets.123.4.tmp", b"half");
    sandbox.run(["bootstrap"]).warned(&["removed 1 temporary file that an interrupted run left"]);
    assert!(!sandbox.path("out/secret-source/.seal-secrets.123.4.tmp").exists());
}

#[test]
fn a_file_with_a_second_name_is_replaced_and_the_other_name_keeps_its_content() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.edit("out/secret-source/rbac.yaml", "get", "list");
    std::fs::hard_link(sandbox.path("out/secret-source/rbac.yaml"), sandbox.path("other")).unwrap();
    sandbox.run(["bootstrap"]).warned(&["out/secret-source/rbac.yaml had a second name (a hard link), which keeps the old content"]);
    assert!(sandbox.read("other").contains("list") && !sandbox.read("out/secret-source/rbac.yaml").contains("list"));
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    // What `keygen` makes is among the rows of `bad_input`.
    for umask in ["000", "777"] {
        let sandbox = Sandbox::with_keys().without_hash();
        let mut shell = Command::new(program("sh"));
        shell
            .args(["-c", &format!("umask {umask}; exec {BINARY} {}", sandbox.allowing_in("bootstrap"))])
            .current_dir(sandbox.path(""))
            .env_clear();
        shell.env("XDG_STATE_HOME", sandbox.state_home());
        finish(shell).expect(0);
        let mode = |path: &str| sandbox.path(path).metadata().unwrap().mode() & 0o777;
        assert_eq!((mode("secrets/dex-admin-password"), mode("secrets")), (0o600, 0o700));
        assert_eq!((mode("out/secret-source"), mode("out/secret-source/rbac.yaml"), mode("keys/sealed.txt")), (0o755, 0o644, 0o644));
    }
}

#[test]
fn without_randomness_nothing_is_written() {
    if !has_strace() {
        return;
    }
    for args in [["keygen"], ["bootstrap"]] {
        let sandbox = if args == ["keygen"] { Sandbox::empty() } else { Sandbox::with_keys() };
        let mut command = Command::new(program("strace"));
        command
            .args(["-f", "-o", "/dev/null", "-e", "inject=getrandom:error=EIO", BINARY])
            .args(sandbox.allowing(args))
            .current_dir(sandbox.path(""));
        let ran = finish(command).expect(6);
        assert!(ran.stderr.contains("no randomness"), "{}", ran.stderr);
        assert!(!sandbox.path("keys/operator.agekey").exists() || args == ["bootstrap"]);
        assert!(!sandbox.path("out/secret-source").exists());
    }
}

/// Every source of draws: this program, the standard library, age. aws-lc is not asked here: it ends the process.
#[test]
fn without_randomness_for_one_draw_no_run_panics() {
    if !has_strace() {
        return;
    }
    let start = Sandbox::hashless();
    let (_, recipient) = seal_secrets::pipeline::escrow::new_identity().unwrap();
    let add = ["escrow", "add-recipient", &recipient, "--yes"];
    for args in [&["bootstrap"][..], &["rotate", "vllm-api-key", "dex-admin-password", "--yes"], &add] {
        let prepared = || {
            let sandbox = start.copy();
            if args == ["bootstrap"] {
                // As if it had never been sealed.
                for file in ["keys/sealed.txt", "out/secret-source/kustomization.yaml", "out/secret-source/vllm-api-key.sealed.yaml"] {
                    sandbox.remove(file);
                }
            }
            sandbox
        };
        let traced = |sandbox: &Sandbox, inject: &str| {
            let mut command = Command::new(program("strace"));
            command.args(["-f", "-o", "trace", "-e", "trace=getrandom", "-e", inject, BINARY]);
            command.args(sandbox.allowing(args)).current_dir(sandbox.path(""));
            command.env("XDG_STATE_HOME", sandbox.state_home());
            finish(command)
        };
        let sandbox = prepared();
        assert_eq!(traced(&sandbox, "inject=getrandom:error=EIO:when=10000").code, 0, "{args:?}");
        let draws = sandbox.read("trace").matches("getrandom(").count();
        assert!(draws > 4, "{args:?}: {draws}");
        let mut failed = 0;
        for n in 1..=draws {
            let sandbox = prepared();
            let ran = traced(&sandbox, &format!("inject=getrandom:error=EIO:when={n}"));
            let said = format!("{args:?}, {n}: {}{}", ran.stdout, ran.stderr);
            assert!(matches!(ran.code, 0 | 6) && !ran.stderr.contains("panicked"), "{said}");
            assert_eq!(ran.stderr.matches("error: ").count(), usize::from(ran.code == 6), "{said}");
            failed += usize::from(ran.code == 6);
            let again = sandbox.start(args);
            assert_eq!(again.code, 0, "{said}, then {}", again.stderr);
        }
        assert!(failed > 2, "{args:?}: {failed} of {draws}");
    }
}
