//! A platform's checkout: `fixtures/platform` holds every ExternalSecret of the platform's inventory, with its peculiarities.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_yaml::Value;

use crate::common::{HASHLESS, Ran, Sandbox, USUAL, copy_folder, fixture, fixture_text, git, needs, usual, usual_in, without_hash};
use crate::delivery::{PLATFORM_RULES, build};

/// A sandbox with the platform in `p/`.
pub fn with_platform(sandbox: Sandbox) -> Sandbox {
    std::fs::create_dir(sandbox.path("p")).unwrap();
    copy_folder(&fixture("fixtures/platform"), &sandbox.path("p"));
    sandbox
}

pub const PROD: [&str; 4] = ["--platform", "p", "--environment", "prod"];
const SMALL: [&str; 4] = ["--platform", "p", "--environment", "small"];

pub fn run(sandbox: &Sandbox, args: &[&str], environment: &[&str]) -> Ran {
    sandbox.run([args, environment].concat())
}

/// The platform's inventory of the keys' consumers: namespace, ExternalSecret, target, and `secretKey ← key` in their order.
const INVENTORY: &[(&str, &str, &str, &str)] = &[
    ("argocd", "argocd-oidc", "argocd-dex-oidc", "clientSecret=dex-argocd-client-secret"),
    ("monitoring", "grafana-datasource-litellm", "grafana-datasource-litellm", "password=litellm-grafana-ro-password"),
    ("n8n", "n8n-core-secrets", "n8n-core-secrets", "encryptionKey=n8n-encryption-key"),
    ("experience", "open-webui-oidc", "open-webui-oidc", "clientSecret=dex-open-webui-client-secret"),
    (
        "dex",
        "dex-secrets",
        "dex-secrets",
        "DEX_ADMIN_PASSWORD_HASH=dex-admin-hash OAUTH2_PROXY_CLIENT_SECRET=dex-oauth2-proxy-client-secret \
         ARGOCD_CLIENT_SECRET=dex-argocd-client-secret LITELLM_CLIENT_SECRET=dex-litellm-client-secret \
         GRAFANA_CLIENT_SECRET=dex-grafana-client-secret OPENWEBUI_CLIENT_SECRET=dex-open-webui-client-secret \
         TABBY_CLIENT_SECRET=dex-tabby-client-secret",
    ),
    ("external-dns", "cloudflare-api-token", "cloudflare-api-token", "api-token=cloudflare-api-token"),
    ("cert-manager", "cloudflare-api-token", "cloudflare-api-token", "api-token=cloudflare-api-token"),
    ("litellm", "litellm-grafana-ro", "litellm-grafana-ro", "password=litellm-grafana-ro-password"),
    (
        "litellm",
        "litellm-secrets",
        "litellm-secrets",
        "master=litellm-master-key salt=litellm-salt-key vllm=vllm-api-key genericClientSecret=dex-litellm-client-secret",
    ),
    ("litellm", "litellm-pg-app", "litellm-pg-app", "password=litellm-db-password"),
    (
        "oauth2-proxy",
        "oauth2-proxy-secrets",
        "oauth2-proxy-secrets",
        "clientSecret=dex-oauth2-proxy-client-secret cookieSecret=oauth2-proxy-cookie-secret",
    ),
    ("monitoring", "grafana-oidc", "grafana-oidc", "clientSecret=dex-grafana-client-secret"),
    ("agentgateway-system", "anthropic-api-key", "anthropic-api-key", "Authorization=anthropic-api-key"),
    ("kserve", "hf-token", "hf-token", "token=hf-token"),
    ("serving", "vllm-api-key", "vllm-api-key", "api-key=vllm-api-key"),
    ("experience", "", "key-portal", "LITELLM_MASTER_KEY=litellm-master-key"),
];

/// The consumers of `contract --format json`, as in the inventory.
pub fn consumers(json: &str) -> BTreeSet<(String, String, String, String)> {
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let entry = |entry: &serde_json::Value| format!("{}={}", text(&entry["secretKey"]), text(&entry["key"]));
    let consumer = |one: &serde_json::Value| {
        let data: Vec<String> = one["data"].as_array().unwrap().iter().map(entry).collect();
        (text(&one["namespace"]), text(&one["name"]), text(&one["target"]), data.join(" "))
    };
    json["consumers"].as_array().unwrap().iter().map(consumer).collect()
}

#[test]
fn the_embedded_contract_and_the_checkout_both_say_what_the_inventory_says() {
    let sandbox = with_platform(Sandbox::empty());
    let expected: BTreeSet<_> = INVENTORY.iter().map(|(a, b, c, d)| (a.to_string(), b.to_string(), c.to_string(), d.to_string())).collect();
    assert_eq!(expected.len(), 16);
    assert_eq!(consumers(&sandbox.run(["contract", "--format", "json"]).expect(0).stdout), expected);
    assert_eq!(consumers(&run(&sandbox, &["contract", "--format", "json"], &PROD).expect(0).stdout), expected);
}

/// Asserts that contract and checkout disagree on exactly this.
#[track_caller]
fn disagrees(sandbox: &Sandbox, environment: &[&str], findings: &[&str]) {
    let ran = run(sandbox, &["contract", "--format", "json"], environment).expect(0);
    Ran { stdout: ran.stdout.replace("\"coverage\":", "\"findings\":"), ..ran }.has_found(findings);
}

/// The same, plus the usual.
#[track_caller]
fn covers(sandbox: &Sandbox, environment: &[&str], findings: &[&str]) {
    disagrees(sandbox, environment, &[&COVERAGE, findings].concat());
}

/// What the platform's own peculiarities lead to.
const COVERAGE: [&str; 2] =
    ["other-store p/apps/billing/stripe.yaml:1:1", "rendered-by-helm p/apps/experience/key-portal/values.yaml:5:14"];

/// Findings before `patch` is run.
const UNPATCHED: [&str; 15] = [
    "property-missing p/apps/agentgateway/anthropic.yaml:18:14",
    "property-missing p/apps/argocd/argocd-oidc.yaml:24:14",
    "property-missing p/apps/dex/dex-secrets.yaml:19:14",
    "property-missing p/apps/dns/cloudflare.yaml:19:14",
    "property-missing p/apps/dns/cloudflare.yaml:38:14",
    "property-missing p/apps/experience/open-webui.yaml:17:14",
    "property-missing p/apps/kserve/hf-token.yaml:18:14",
    "property-missing p/apps/litellm/grafana-ro.yaml:22:14",
    "property-missing p/apps/litellm/pg-app.yaml:22:14",
    "property-missing p/apps/litellm/secrets.yaml:17:14",
    "property-missing p/apps/monitoring/grafana-datasource.yaml:32:14",
    "property-missing p/apps/monitoring/grafana-oidc.yaml:19:14",
    "property-missing p/apps/n8n/n8n.yaml:20:24",
    "property-missing p/apps/oauth2-proxy/secrets.yaml:18:14",
    "property-missing p/apps/serving/base/vllm.yaml:18:11",
];

/// Manifests that use a ClusterSecretStore.
const OF_ANOTHER_KIND: [&str; 15] = [
    "store-kind-differs p/apps/agentgateway/anthropic.yaml:1:1",
    "store-kind-differs p/apps/argocd/argocd-oidc.yaml:3:1",
    "store-kind-differs p/apps/dex/dex-secrets.yaml:2:1",
    "store-kind-differs p/apps/dns/cloudflare.yaml:21:1",
    "store-kind-differs p/apps/dns/cloudflare.yaml:2:1",
    "store-kind-differs p/apps/experience/open-webui.yaml:1:1",
    "store-kind-differs p/apps/kserve/hf-token.yaml:1:1",
    "store-kind-differs p/apps/litellm/grafana-ro.yaml:1:1",
    "store-kind-differs p/apps/litellm/pg-app.yaml:1:1",
    "store-kind-differs p/apps/litellm/secrets.yaml:1:1",
    "store-kind-differs p/apps/monitoring/grafana-datasource.yaml:2:1",
    "store-kind-differs p/apps/monitoring/grafana-oidc.yaml:2:1",
    "store-kind-differs p/apps/n8n/n8n.yaml:1:1",
    "store-kind-differs p/apps/oauth2-proxy/secrets.yaml:1:1",
    "store-kind-differs p/apps/serving/base/vllm.yaml:1:1",
];

#[test]
fn what_is_met_on_the_way_is_said() {
    let sandbox = with_platform(Sandbox::empty());
    symlink("..", sandbox.path("p/apps/loop")).unwrap();
    symlink("/dev/zero", sandbox.path("p/apps/zero.yaml")).unwrap();
    assert!(Command::new("mkfifo").arg(sandbox.path("p/apps/pipe.yaml")).status().unwrap().success());
    // Examples and generators read nothing, and a pipe is ignored.
    covers(&sandbox, &PROD, &[&UNPATCHED[..], &["link-passed-over p/apps/loop", "link-passed-over p/apps/zero.yaml"]].concat());
}

#[test]
fn a_file_system_that_tells_no_kinds_makes_no_difference() {
    let sandbox = with_platform(Sandbox::with_keys());
    let same = |command: &[&str]| {
        let (told, untold) = (sandbox.run(command), sandbox.run_without_kinds(command));
        assert_eq!((untold.code, &untold.stdout, &untold.stderr), (told.code, &told.stdout, &told.stderr), "{command:?}");
        told.stdout
    };
    let both = || same(&[&["contract", "--format", "json"], &PROD[..]].concat()) + &same(&["status", "p"]);
    both();
    let sealed = fixture_text("fixtures/sealed/good.yaml");
    let reader = sandbox.read("p/apps/dex/dex-secrets.yaml");
    sandbox.write("p/apps/folder.yaml/reader.yaml", reader.as_bytes());
    sandbox.write("p/apps/folder.yml/sealed.json", sealed.as_bytes());
    for folder in ["p/apps/folder.yaml/reader.yaml", "p/apps/folder.yml/sealed.json"] {
        assert!(both().contains(folder), "{folder}");
    }
    symlink("/dev/zero", sandbox.path("p/apps/zero.yaml")).unwrap();
    assert!(both().contains("p/apps/zero.yaml"));
    assert!(Command::new("mkfifo").arg(sandbox.path("p/apps/pipe.yaml")).status().unwrap().success());
    assert!(!both().contains("pipe.yaml"));
    sandbox.remove("p/apps/zero.yaml");
    both();
}

#[test]
fn what_no_enabled_feature_needs_is_neither_missing_nor_an_orphan() {
    let sandbox = with_platform(Sandbox::with_keys().without_hash());
    let planned = run(&sandbox, &["plan", "--json"], &SMALL).expect(0).stdout;
    let plan: serde_json::Value = serde_json::from_str(&planned).unwrap();
    let units: Vec<&str> = plan["changes"].as_array().unwrap().iter().filter_map(|change| change["unit"].as_str()).collect();
    assert_eq!(units.len(), 14, "{units:?}");
    assert!(!units.contains(&"n8n-encryption-key") && plan["awaited"].as_array().unwrap().is_empty());
    run(&sandbox, &["bootstrap"], &SMALL).expect(0);
    run(&sandbox, &["patch", "--write"], &SMALL).expect(0);
    // n8n, Cloudflare twice, Anthropic, Hugging Face.
    let off = [
        "key-not-needed p/apps/agentgateway/anthropic.yaml:18:14",
        "key-not-needed p/apps/dns/cloudflare.yaml:19:14",
        "key-not-needed p/apps/dns/cloudflare.yaml:39:14",
        "key-not-needed p/apps/kserve/hf-token.yaml:18:14",
        "key-not-needed p/apps/n8n/n8n.yaml:20:24",
        "secret-backend p/environments/small/config.yaml",
    ];
    covers(&sandbox, &SMALL, &off);
    run(&sandbox, &["verify"], &SMALL).finds(&[&COVERAGE[..], &USUAL[..1], &off].concat());
    // Switched on and off again: the value stays, and is no orphan.
    run(&sandbox, &["bootstrap"], &PROD).expect(0);
    let salt = sandbox.value("n8n-encryption-key");
    let planned = run(&sandbox, &["bootstrap"], &SMALL).expect(0).stdout;
    assert!(!planned.contains("orphan"), "{planned}");
    run(&sandbox, &["bootstrap"], &PROD).expect(0);
    assert_eq!(sandbox.value("n8n-encryption-key"), salt);
    // A value that can be provided again is missed only while it is needed.
    sandbox.write_secret("token", b"hf_0123456789abcdefghijABCDEFGHIJkl");
    let provide = ["bootstrap", "--provide", "hf-token=token"];
    run(&sandbox, &provide, &PROD).expect(0);
    sandbox.remove("out/secret-source/hf-token.sealed.yaml");
    assert!(run(&sandbox, &["bootstrap"], &PROD).expect(4).stderr.contains("hf-token"));
    run(&sandbox, &["bootstrap"], &SMALL).expect(0);
    run(&sandbox, &provide, &PROD).expect(0);
    assert_eq!(sandbox.value("hf-token"), "hf_0123456789abcdefghijABCDEFGHIJkl");
    // A disabled feature is no reason to forget an existing write-once value.
    sandbox.remove("out/secret-source/n8n-encryption-key.sealed.yaml");
    assert!(run(&sandbox, &["bootstrap"], &SMALL).expect(4).stderr.contains("n8n-encryption-key"));
}

#[test]
fn the_environment_has_to_be_named_where_there_are_several() {
    let sandbox = with_platform(Sandbox::with_keys());
    assert!(sandbox.run(["plan", "--platform", "p"]).expect(2).stderr.contains("`prod`, `small`"));
    assert!(sandbox.run(["plan", "--platform", "p", "--environment", "prd"]).expect(2).stderr.contains("`prod`"));
    sandbox.run(["plan", "--environment", "prod"]).expect(2);
    sandbox.run(["plan", "--platform", "no", "--environment", "prod"]).expect(3);
    let ran = sandbox.run(["plan", "--platform", "keys"]).expect(3);
    assert!(ran.stderr.contains("no ExternalSecret"), "{}", ran.stderr);
}

/// Every document of every YAML file of the checkout that a second reader can read.
fn documents(sandbox: &Sandbox) -> BTreeMap<String, Vec<Value>> {
    let mut found = BTreeMap::new();
    for (path, (.., bytes)) in sandbox.snapshot() {
        let name = path.to_string_lossy().into_owned();
        if !name.ends_with(".yaml") || name.contains("/templates/") {
            continue;
        }
        let text = String::from_utf8(bytes).unwrap();
        let all = serde_yaml::Deserializer::from_str(&text).map(|one| <Value as serde::Deserialize>::deserialize(one).unwrap());
        found.insert(path.strip_prefix(sandbox.path("")).unwrap().to_string_lossy().into_owned(), all.collect());
    }
    found
}

/// Removes the property from every entry; returns how many there were.
fn without_properties(documents: &mut [Value]) -> usize {
    let mut removed = 0;
    for document in documents.iter_mut().filter(|document| document["kind"] == "ExternalSecret") {
        for entry in document["spec"].get_mut("data").and_then(Value::as_sequence_mut).into_iter().flatten() {
            let property = entry["remoteRef"].as_mapping_mut().unwrap().remove("property");
            removed += usize::from(property == Some("value".into()));
        }
    }
    removed
}

#[test]
fn patch_writes_only_the_property_and_the_second_run_nothing() {
    let sandbox = with_platform(Sandbox::empty());
    let (texts, before) = (sandbox.snapshot(), documents(&sandbox));
    let done = run(&sandbox, &["patch", "--write"], &PROD).expect(0).stdout;
    assert!(done.ends_with("done: 25 properties, 14 files written\n"), "{done}");
    let mut removed = 0;
    let mut after = documents(&sandbox);
    after.values_mut().for_each(|documents| removed += without_properties(documents));
    assert_eq!((removed, &after), (25, &before));
    // Every old line is still there, in its order, except the one in flow style.
    for (path, (mode, .., old)) in texts.iter().filter(|(path, _)| path.is_file()) {
        let (now_mode, .., new) = &sandbox.snapshot()[path];
        assert_eq!(mode, now_mode, "{}", path.display());
        let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
        let kept = |line: &&str| !line.contains("property: value");
        if !path.ends_with("n8n/n8n.yaml") {
            let new: Vec<&str> = new.lines().filter(kept).collect();
            assert_eq!(old.lines().collect::<Vec<_>>(), new, "{}", path.display());
        }
        assert_eq!(old.matches("\r\n").count() > 0, new.matches("\r\n").count() > 0);
        assert_eq!(new.contains("\r\n"), new.contains('\n') && new.matches('\n').count() == new.matches("\r\n").count());
        assert_eq!(old.ends_with('\n'), new.ends_with('\n'));
    }
    let patched = sandbox.snapshot();
    assert_eq!(run(&sandbox, &["patch", "--write"], &PROD).expect(0).stdout, "nothing to do\n");
    assert_eq!(run(&sandbox, &["patch"], &PROD).expect(0).stdout, "");
    assert_eq!(patched, sandbox.snapshot());
    covers(&sandbox, &PROD, &[]);
}

#[test]
fn the_diff_is_one_that_git_applies() {
    needs!("git");
    for args in [&["patch"][..], &["patch", "--format", "component", "--out", "p/platform/secret-source"]] {
        let (one, two) = (with_platform(Sandbox::empty()), with_platform(Sandbox::empty()));
        let before = one.snapshot();
        let ran = run(&one, args, &PROD).expect(0);
        assert_eq!(before, one.snapshot());
        one.write("diff", ran.stdout.as_bytes());
        git(&one, &["init", "-q", "p"]);
        git(&one, &["-C", "p", "apply", "../diff"]);
        run(&two, &[args, &["--write"]].concat(), &PROD).expect(0);
        let checkout = |sandbox: &Sandbox| -> BTreeMap<String, Vec<u8>> {
            let files = sandbox.snapshot().into_iter().filter(|(path, _)| path.is_file() && path.starts_with(sandbox.path("p")));
            let files = files.filter(|(path, _)| !path.starts_with(sandbox.path("p/.git")));
            files.map(|(path, it)| (path.strip_prefix(sandbox.path("")).unwrap().to_string_lossy().into_owned(), it.3)).collect()
        };
        assert_eq!(checkout(&one), checkout(&two));
    }
}

/// What kustomize makes of every folder that has a kustomization.
fn built(sandbox: &Sandbox) -> Option<BTreeMap<String, Vec<Value>>> {
    let mut found = BTreeMap::new();
    let folders: BTreeSet<String> = documents(sandbox)
        .into_keys()
        .filter(|path| path.starts_with("p/apps") && path.ends_with("/kustomization.yaml"))
        .map(|path| Path::new(&path).parent().unwrap().to_string_lossy().into_owned())
        .collect();
    for folder in folders {
        let text = build(sandbox, &folder)?.expect(0).stdout;
        let all = serde_yaml::Deserializer::from_str(&text).map(|one| <Value as serde::Deserialize>::deserialize(one).unwrap());
        found.insert(folder, all.collect());
    }
    Some(found)
}

#[test]
fn kustomize_builds_the_same_and_the_properties() {
    let plain = with_platform(Sandbox::with_keys());
    let Some(before) = built(&plain) else { return };
    assert_eq!(before.len(), 13);
    let total = |mut built: BTreeMap<String, Vec<Value>>| {
        let removed: usize = built.values_mut().map(|documents| without_properties(documents)).sum();
        (removed, built)
    };
    // In place. The base of `serving` is built by itself and through its overlay; `experience` and `n8n` once each.
    run(&plain, &["patch", "--write"], &PROD).expect(0);
    assert_eq!(total(built(&plain).unwrap()), (26, before.clone()));
    // The component, included by every kustomization.
    let component = with_platform(Sandbox::with_keys().without_hash());
    component.set(&format!("{HASHLESS}\nout: p/platform/secret-source"));
    let args = [&["--out", "p/platform/secret-source"][..], &PROD].concat();
    std::fs::create_dir(component.path("p/platform")).unwrap();
    run(&component, &["bootstrap"], &args).expect(0);
    for folder in before.keys().filter(|folder| !folder.ends_with("base") && !folder.ends_with("billing")) {
        let path = format!("{folder}/kustomization.yaml");
        let up = "../".repeat(folder.split('/').count() - 1);
        component
            .write(&path, format!("{}components:\n  - {up}platform/secret-source/property-patches\n", component.read(&path)).as_bytes());
    }
    let (found, same) = total(built(&component).unwrap());
    assert_eq!((found, same), (25, before));
    // And then nothing is missing any more.
    covers(&component, &args, &[]);
}

#[test]
fn a_drifted_target_fails_or_is_reported() {
    let sandbox = with_platform(Sandbox::with_keys().without_hash());
    std::fs::create_dir(sandbox.path("p/platform")).unwrap();
    sandbox.set(&format!("{HASHLESS}\nout: p/platform/secret-source"));
    let args = [&["--out", "p/platform/secret-source"][..], &PROD].concat();
    run(&sandbox, &["bootstrap"], &args).expect(0);
    let kustomization = "p/apps/oauth2-proxy/kustomization.yaml";
    sandbox.write(
        kustomization,
        format!("{}components: [../../platform/secret-source/property-patches]\n", sandbox.read(kustomization)).as_bytes(),
    );
    let manifest = "p/apps/oauth2-proxy/secrets.yaml";
    let original = sandbox.read(manifest);
    let Some(good) = build(&sandbox, "p/apps/oauth2-proxy") else { return };
    good.expect(0);
    let (head, entries) = original.split_once("    - secretKey: clientSecret\n").unwrap();
    let (first, second) = entries.split_once("    - secretKey: cookieSecret\n").unwrap();
    let reordered = format!("{head}    - secretKey: cookieSecret\n{second}    - secretKey: clientSecret\n{first}");
    let removed = format!("{head}    - secretKey: cookieSecret\n{second}");
    for text in [reordered, removed] {
        sandbox.write(manifest, text.as_bytes());
        let ran = build(&sandbox, "p/apps/oauth2-proxy").unwrap();
        assert!(ran.code != 0, "{}", ran.stdout);
        // `plan` would rewrite the patch.
        assert!(run(&sandbox, &["plan", "--check"], &args).expect(1).stdout.contains("oauth2-proxy-secrets.patch.yaml (updated)"));
    }
    // kustomize skips a renamed one; here it is reported.
    sandbox.write(manifest, original.replacen("name: oauth2-proxy-secrets", "name: proxy-secrets", 1).as_bytes());
    build(&sandbox, "p/apps/oauth2-proxy").unwrap().expect(0);
    assert!(run(&sandbox, &["plan", "--check"], &args).expect(1).stdout.contains("property-patches (new): 1 file"));
}

#[test]
fn as_a_filter_it_is_a_helm_post_renderer() {
    let sandbox = Sandbox::empty();
    let rendered = "---\n# Source: key-portal/templates/externalsecret.yaml\napiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata:\n  name: key-portal\nspec:\n  secretStoreRef:\n    name: secret-store\n    kind: ClusterSecretStore\n  data:\n    - secretKey: LITELLM_MASTER_KEY\n      remoteRef:\n        key: litellm-master-key\n    - secretKey: OTHER\n      remoteRef:\n        key: not-ours\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {key: litellm-master-key}\n";
    let out = sandbox.run_with_input(["patch", "-"], rendered.as_bytes()).expect(0).stdout;
    assert_eq!(out, rendered.replace("key: litellm-master-key\n    -", "key: litellm-master-key\n        property: value\n    -"));
    assert_eq!(sandbox.run_with_input(["patch", "-"], out.as_bytes()).expect(0).stdout, out);
    sandbox.set("store: { kind: SecretStore }");
    let kinds = sandbox.run_with_input(["patch", "-"], rendered.as_bytes()).expect(0).stdout;
    sandbox.set("");
    assert_eq!(kinds, out.replace("kind: ClusterSecretStore", "kind: SecretStore"));
    let broken = "kind: ExternalSecret\na: [";
    assert!(sandbox.run_with_input(["patch", "-"], broken.as_bytes()).expect(3).stderr.contains("standard input:"));
    sandbox.run(["patch"]).expect(2);
}

#[test]
fn the_result_lies_where_the_platforms_own_checks_accept_it() {
    needs!("git");
    let sandbox = with_platform(Sandbox::with_keys().without_hash());
    std::fs::create_dir(sandbox.path("p/platform")).unwrap();
    sandbox.set(&format!("{HASHLESS}\nout: p/platform/secret-source"));
    let args = [&["--out", "p/platform/secret-source"][..], &PROD].concat();
    run(&sandbox, &["bootstrap"], &args).expect(0);
    let before = sandbox.snapshot();
    assert!(run(&sandbox, &["bootstrap"], &args).expect(0).stdout.starts_with("nothing to do"));
    assert_eq!(before, sandbox.snapshot());
    run(&sandbox, &["patch", "--write"], &args).expect(0);
    run(&sandbox, &["verify", "--identity", "keys/operator.agekey"], &args)
        .finds(&[&usual_in("keys", "p/platform/secret-source")[..], &COVERAGE.map(str::to_owned)].concat());
    // Ignore rules: everything is committed.
    assert_eq!(sandbox.read("p/.gitignore"), PLATFORM_RULES);
    git(&sandbox, &["init", "-q", "p"]);
    git(&sandbox, &["-C", "p", "add", "-A"]);
    let taken = git(&sandbox, &["-C", "p", "ls-files", "platform"]).lines().count();
    let there = sandbox.snapshot().keys().filter(|path| path.starts_with(sandbox.path("p/platform")) && path.is_file()).count();
    assert_eq!(taken, there);
    // gitleaks' generic-api-key: these words, then at most 20 characters, an assignment, and a long word.
    let rule = regex::RegexBuilder::new(r#"(?i)[\w.-]{0,50}?(?:access|auth|api|credential|creds|key|passw(?:or)?d|secret|token)(?:[ \t\w.-]{0,20})[\s'"]{0,3}(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)[\x60'"\s=]{0,5}([\w.=-]{10,150}|[a-z0-9][a-z0-9+/]{11,}={0,3})(?:[\x60'"\s;]|\\[nr]|$)"#).unicode(false).build().unwrap();
    let blob = regex::Regex::new("AQ[A-Za-z0-9+/]{200,}").unwrap();
    for (path, (.., bytes)) in sandbox.snapshot().iter().filter(|(path, _)| path.to_string_lossy().ends_with(".sealed.yaml")) {
        let text = String::from_utf8_lossy(bytes);
        for found in rule.captures_iter(&text) {
            assert!(!blob.is_match(&found[1]), "{}: gitleaks takes a blob for a key: {}", path.display(), &found[0]);
        }
    }
    // kustomize's load restriction, and the Application in the platform's conventions.
    let Some(ran) = build(&sandbox, "p/platform/secret-source") else { return };
    ran.expect(0);
    let application: Value = serde_yaml::from_str(&sandbox.read("p/platform/secret-source/argocd-application.yaml")).unwrap();
    assert_eq!(application["spec"]["source"]["repoURL"], "https://git.example.org/platform.git");
    assert_eq!(application["spec"]["source"]["path"], "platform/secret-source");
    assert_eq!(application["spec"]["project"], "platform");
    assert_eq!(application["metadata"]["namespace"], "argocd");
    assert_eq!(application["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"], "-7");
    assert!(application["spec"]["syncPolicy"]["retry"]["limit"].as_u64().unwrap() > 0);
    // The controller has a project of its own, and comes before what needs it.
    let text = sandbox.read("p/platform/secret-source/argocd-sealed-secrets.yaml");
    let documents = serde_yaml::Deserializer::from_str(&text).map(|one| <Value as serde::Deserialize>::deserialize(one).unwrap());
    let [project, controller] = &documents.collect::<Vec<Value>>()[..] else { panic!("{text}") };
    assert_eq!((&project["kind"], &controller["spec"]["project"]), (&"AppProject".into(), &project["metadata"]["name"]));
    assert_eq!(project["spec"]["sourceRepos"], serde_yaml::from_str::<Value>("[https://bitnami.github.io/sealed-secrets]").unwrap());
    assert_eq!(controller["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"], "-8");
    let values = "{fullnameOverride: sealed-secrets-controller, keyrenewperiod: \"0\", image: {tag: 0.40.0}}";
    assert_eq!(controller["spec"]["source"]["helm"]["valuesObject"], serde_yaml::from_str::<Value>(values).unwrap());
    // Argo CD runs no post-renderer: for what a chart renders, there is an ExternalSecret to commit.
    let own: Value = serde_yaml::from_str(&sandbox.read("p/platform/secret-source/external-secrets/experience_key-portal.yaml")).unwrap();
    let entry = "[{secretKey: LITELLM_MASTER_KEY, remoteRef: {key: litellm-master-key, property: value}}]";
    assert_eq!(own["spec"]["data"], serde_yaml::from_str::<Value>(entry).unwrap());
    assert_eq!((&own["spec"]["target"]["name"], &own["metadata"]["namespace"]), (&"key-portal".into(), &"experience".into()));
    assert!(sandbox.read("p/platform/secret-source/INSTALL.md").contains("is ready in `external-secrets/`"));
    sandbox.edit("p/argocd/apps.yaml", "  name: litellm\n  namespace", "  name: sealed-secrets\n  namespace");
    sandbox.remove("p/platform/secret-source/argocd-sealed-secrets.yaml");
    run(&sandbox, &["bootstrap"], &args).expect(0);
    assert!(!sandbox.path("p/platform/secret-source/argocd-sealed-secrets.yaml").exists(), "the platform has its own");
    sandbox.edit("p/argocd/apps.yaml", "  name: sealed-secrets\n  namespace", "  name: litellm\n  namespace");
    run(&sandbox, &["bootstrap"], &args).expect(0);
    sandbox.edit("p/argocd/project.yaml", "    - https://git.example.org/platform.git\n", "");
    covers(&sandbox, &args, &["source-repository-missing p/argocd/project.yaml:8:5"]);
}

#[test]
fn the_store_has_the_form_that_was_asked_for() {
    let read = |sandbox: &Sandbox, path: &str| -> Vec<Value> {
        let text = sandbox.read(path);
        serde_yaml::Deserializer::from_str(&text).map(|one| <Value as serde::Deserialize>::deserialize(one).unwrap()).collect()
    };
    let with = |store: &str| {
        let sandbox = with_platform(Sandbox::with_keys().without_hash());
        sandbox.set(&format!("{HASHLESS}\nplatform: p\nenvironment: prod\nstore: {{ {store} }}"));
        sandbox.run(["bootstrap"]).expect(0);
        if store.starts_with("kind") {
            sandbox.run(["verify"]).finds(&[&usual(&COVERAGE), &UNPATCHED[..], &OF_ANOTHER_KIND].concat());
        }
        sandbox.run(["patch", "--write"]).expect(0);
        sandbox.run(["verify"]).finds(&usual(&COVERAGE));
        assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do"));
        build(&sandbox, "out").map(|ran| ran.expect(0));
        sandbox
    };
    // ESO's referent form: an account and a Role in each namespace.
    let referent = with("isolation: namespace");
    let store = &read(&referent, "out/secret-store/cluster-secret-store.yaml")[0];
    let kubernetes = &store["spec"]["provider"]["kubernetes"];
    assert!(kubernetes["auth"]["serviceAccount"].get("namespace").is_none());
    assert_eq!(kubernetes["server"]["caProvider"]["namespace"], "external-secrets");
    assert_eq!(read(&referent, "out/secret-store/service-account.yaml").len(), 12);
    let roles = read(&referent, "out/secret-source/rbac.yaml");
    assert_eq!(roles.len(), 24);
    let n8n = roles.iter().find(|role| role["kind"] == "Role" && role["metadata"]["name"] == "eso-reader-n8n").unwrap();
    assert_eq!(n8n["rules"][0]["resourceNames"], serde_yaml::from_str::<Value>("[n8n-encryption-key]").unwrap());
    // A SecretStore in each namespace, and the ExternalSecrets name its kind.
    let stores = with("kind: SecretStore");
    for store in read(&stores, "out/secret-store/secret-stores.yaml") {
        assert_eq!(store["kind"], "SecretStore");
        assert!(store["spec"]["provider"]["kubernetes"]["server"]["caProvider"].get("namespace").is_none());
        assert!(store["metadata"].get("namespace").is_some() && store["spec"].get("conditions").is_none());
    }
    assert!(stores.read("out/property-patches/hf-token.patch.yaml").contains("/spec/secretStoreRef/kind"));
    // Without names, for an authorizer that cannot check them.
    let wide = with("rbac: namespace");
    assert!(read(&wide, "out/secret-source/rbac.yaml")[0]["rules"][0].get("resourceNames").is_none());
}

#[test]
fn the_platforms_store_file_keeps_its_project() {
    let sandbox = with_platform(Sandbox::with_keys().without_hash());
    let file = "p/platform/store.yaml";
    sandbox.write(
        file,
        b"# replace with your provider\nkind: ClusterSecretStore\nspec:\n  provider:\n    gcpsm:\n      projectID: my-project-1\n",
    );
    sandbox.set(&format!("{HASHLESS}\nstore: {{ file: {file} }}"));
    let args = ["bootstrap"];
    let yes = ["bootstrap", "--yes"];
    assert!(run(&sandbox, &yes, &PROD).expect(0).stdout.contains("write  p/platform/store.yaml (updated)"));
    let text = sandbox.read(file);
    assert!(text.starts_with("# projectID: my-project-1\n") && !text.contains("gcpsm:") && !text.contains("replace with your provider"));
    assert!(text.contains("kind: ClusterSecretStore") && !sandbox.path("out/secret-store/cluster-secret-store.yaml").exists());
    let before = sandbox.snapshot();
    assert!(run(&sandbox, &args, &PROD).expect(0).stdout.starts_with("nothing to do"));
    assert_eq!(before, sandbox.snapshot());
    run(&sandbox, &["patch", "--write"], &PROD).expect(0);
    run(&sandbox, &["verify"], &PROD).finds(&usual(&COVERAGE));
    sandbox.edit(file, "eso-reader", "somebody");
    run(&sandbox, &["verify"], &PROD).finds(&[&usual(&COVERAGE)[..], &["store-differs p/platform/store.yaml"]].concat());
    for (store, code) in [(format!("file: {file}, project-id: a b"), 2), ("file: no/such/store.yaml".to_owned(), 5)] {
        sandbox.set(&format!("{HASHLESS}\nstore: {{ {store} }}"));
        run(&sandbox, &args, &PROD).expect(code);
    }
}

#[test]
fn a_contract_is_drafted_in_a_minute() {
    let sandbox = with_platform(Sandbox::with_keys());
    sandbox.edit("p/apps/dex/dex-secrets.yaml", "key: dex-tabby-client-secret", "key: dex-forge-client-secret");
    let text = sandbox.run(["contract", "--from-platform", "p"]).expect(0).stdout;
    sandbox.write("mine.yaml", text.as_bytes());
    assert!(text.contains("  # read in apps/dex/dex-secrets.yaml:"), "{text}");
    let table = sandbox.run(["contract", "--contract", "mine.yaml"]).expect(0).stdout;
    for line in ["dex-admin-hash", "bcrypt 10 of dex-admin-password", "sk- + 64 hex", "64 hex, write-once", "experience/key-portal"] {
        assert!(table.contains(line), "{line}: {table}");
    }
    let forge = table.lines().find(|line| line.starts_with("dex-forge-client-secret")).unwrap();
    assert!(forge.contains("64 hex") && forge.contains("dex/dex-secrets"), "{forge}");
    assert!(!table.contains("dex-tabby-client-secret"));
    run(&sandbox, &["bootstrap", "--contract", "mine.yaml"], &PROD).expect(0);
    // Another platform altogether: its own store, nothing known.
    let other = Sandbox::with_keys();
    other.write("q/a.yaml", b"apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: web, namespace: shop}\nspec:\n  secretStoreRef: {kind: ClusterSecretStore, name: shop-store}\n  data:\n    - {secretKey: token, remoteRef: {key: web-token}}\n");
    other.write("own.yaml", other.run(["contract", "--from-platform", "q"]).expect(0).stdout.as_bytes());
    let planned = other.run(["plan", "--contract", "own.yaml", "--platform", "q"]).expect(0).stdout;
    assert!(planned.contains("web-token") && other.read("own.yaml").contains("store: shop-store"), "{planned}");
}

/// What you must provide.
const AWAITED: [&str; 3] = [
    "not-yet-provided p/platform/secret-source/anthropic-api-key.sealed.yaml",
    "not-yet-provided p/platform/secret-source/cloudflare-api-token.sealed.yaml",
    "not-yet-provided p/platform/secret-source/hf-token.sealed.yaml",
];

/// A way to spoil the patched platform, and what is found then.
pub const DEFECTS: &[crate::verify::Defect] = &[
    ("unreadable", &["unreadable p/apps/bad.yaml:2:1"], |s| s.write("p/apps/bad.yaml", b"kind: ExternalSecret\n\tmetadata: x\n")),
    (
        "key-unknown",
        &[
            "key-unknown p/apps/n8n/n8n.yaml:20:24",
            "runbook-differs p/platform/INSTALL.md:123:1",
            "patch-differs p/platform/property-patches/kustomization.yaml:55:1",
            "stray-file p/platform/property-patches/n8n-core-secrets.patch.yaml",
            "rbac-differs p/platform/secret-source/rbac.yaml:25:1",
            "store-differs p/platform/secret-store/cluster-secret-store.yaml:18:1",
            "key-unread the built-in contract:48:5",
        ],
        |s| s.edit("p/apps/n8n/n8n.yaml", "key: n8n-encryption-key", "key: n8n-encryptoin-key"),
    ),
    (
        "key-unread",
        &[
            "runbook-differs p/platform/INSTALL.md:123:1",
            "patch-differs p/platform/property-patches/kustomization.yaml:55:1",
            "stray-file p/platform/property-patches/n8n-core-secrets.patch.yaml",
            "rbac-differs p/platform/secret-source/rbac.yaml:25:1",
            "store-differs p/platform/secret-store/cluster-secret-store.yaml:18:1",
            "key-unread the built-in contract:48:5",
        ],
        |s| s.remove("p/apps/n8n/n8n.yaml"),
    ),
    ("key-not-needed", &["key-not-needed p/apps/n8n/n8n.yaml:20:24"], |s| {
        s.edit("p/environments/prod/config.yaml", "n8n: true", "n8n: false")
    }),
    ("property-missing", &["property-missing p/apps/kserve/hf-token.yaml:18:14", "runbook-differs p/platform/INSTALL.md:123:1"], |s| {
        s.edit("p/apps/kserve/hf-token.yaml", "        property: value\n", "")
    }),
    (
        "property-differs",
        &[
            "property-differs p/apps/kserve/hf-token.yaml:18:14",
            "runbook-differs p/platform/INSTALL.md:123:1",
            "stray-file p/platform/property-patches/hf-token.patch.yaml",
            "patch-differs p/platform/property-patches/kustomization.yaml:35:1",
            "rbac-differs p/platform/secret-source/rbac.yaml:20:1",
            "store-differs p/platform/secret-store/cluster-secret-store.yaml:15:1",
            "key-unread the built-in contract:109:5",
        ],
        |s| s.edit("p/apps/kserve/hf-token.yaml", "property: value", "property: token"),
    ),
    (
        "reads-whole-secret",
        &["reads-whole-secret p/apps/billing/generated.yaml:8:7", "reads-whole-secret p/apps/billing/generated.yaml:9:7"],
        |s| {
            s.edit("p/apps/billing/generated.yaml", "  dataFrom:\n", "  secretStoreRef: {kind: ClusterSecretStore, name: secret-store}\n  dataFrom:\n    - extract: {key: hf-token}\n    - find: {name: {regexp: a}}\n")
        },
    ),
    ("reads-otherwise", &["reads-otherwise p/apps/kserve/hf-token.yaml:18:14"], |s| {
        s.edit("p/apps/kserve/hf-token.yaml", "property: value", "property: value\n        metadataPolicy: Fetch")
    }),
    ("other-store", &[], |_| {}),
    ("namespace-unknown", &["namespace-unknown p/apps/lost.yaml:1:1"], |s| {
        s.write(
            "p/apps/lost.yaml",
            s.read("p/apps/kserve/hf-token.yaml").replace("name: hf-token", "name: lost").replace("  namespace: kserve\n", "").as_bytes(),
        );
    }),
    (
        "ambiguous-consumer",
        &[
            "ambiguous-consumer p",
            "runbook-differs p/platform/INSTALL.md:123:1",
            "stray-file p/platform/property-patches/hf-token.patch.yaml",
            "patch-differs p/platform/property-patches/kustomization.yaml:35:1",
        ],
        |s| {
            s.write(
                "p/apps/kserve/again.yaml",
                s.read("p/apps/kserve/hf-token.yaml").replace("key: hf-token", "key: vllm-api-key").as_bytes(),
            )
        },
    ),
    ("patched-elsewhere", &["patched-elsewhere p/apps/kserve/kustomization.yaml:6:5"], |s| {
        let patch = "patches:\n  - target: {kind: ExternalSecret}\n    patch: '[{op: add, path: /spec/data/-, value: {secretKey: a, remoteRef: {key: k}}}]'\n";
        s.write("p/apps/kserve/kustomization.yaml", format!("{}{patch}", s.read("p/apps/kserve/kustomization.yaml")).as_bytes());
    }),
    ("rendered-by-helm", &[], |_| {}),
    ("rendered-elsewhere", &["rendered-elsewhere p/apps/kserve/values.yaml:1:43"], |s| {
        s.write("p/apps/kserve/values.yaml", b"externalSecret: {data: [{remoteRef: {key: hf-token}}]}\n")
    }),
    ("version-not-served", &["version-not-served p/apps/kserve/hf-token.yaml:1:1"], |s| {
        s.edit("p/apps/kserve/hf-token.yaml", "external-secrets.io/v1", "external-secrets.io/v1beta1")
    }),
    ("pushed-over", &["pushed-over p/apps/kserve/push.yaml:5:56"], |s| {
        let head = "apiVersion: external-secrets.io/v1alpha1\nkind: PushSecret\nspec:\n  secretStoreRefs: [{name: secret-store, kind: ClusterSecretStore}]\n";
        let data = "  data: [{match: {secretKey: a, remoteRef: {remoteKey: hf-token}}}]\n";
        s.write("p/apps/kserve/push.yaml", format!("{head}{data}").as_bytes());
    }),
    ("helm-template", &["helm-template p/apps/kserve/scaffold.yaml"], |s| {
        let text = s.read("p/apps/kserve/hf-token.yaml").replace("key: hf-token", "key: {{ app }}-token");
        s.write("p/apps/kserve/scaffold.yaml", text.as_bytes());
    }),
    ("link-passed-over", &["link-passed-over p/apps/link"], |s| symlink("kserve", s.path("p/apps/link")).unwrap()),
    ("link-passed-over", &["link-passed-over p/apps/large.yaml"], |s| {
        std::fs::File::create(s.path("p/apps/large.yaml")).unwrap().set_len((16 << 20) + 1).unwrap();
    }),
    ("secret-backend", &["secret-backend p/environments/prod/config.yaml"], |s| {
        s.edit("p/environments/prod/config.yaml", "secret_backend: kubernetes", "secret_backend: gcpsm")
    }),
    ("source-repository-missing", &["source-repository-missing p/argocd/project.yaml:8:5"], |s| {
        s.edit("p/argocd/project.yaml", "    - https://git.example.org/platform.git\n", "")
    }),
    ("application-differs", &["application-differs p/platform/argocd-application.yaml:13:1"], |s| {
        s.edit("p/platform/argocd-application.yaml", "project: platform", "project: other")
    }),
];

#[test]
fn each_disagreement_is_found_by_its_code() {
    let template = with_platform(Sandbox::with_keys());
    let args = [&["--out", "p/platform"][..], &PROD].concat();
    run(&template, &["bootstrap"], &args).expect(0);
    run(&template, &["patch", "--write"], &args).expect(0);
    let usual = [&COVERAGE[..], &USUAL[..1], &AWAITED].concat();
    run(&template, &["verify"], &args).finds(&usual);
    for (code, findings, spoil) in DEFECTS {
        let sandbox = template.copy();
        spoil(&sandbox);
        let expected = [&usual, *findings].concat();
        assert!(expected.iter().any(|finding| finding.split(' ').next() == Some(code)), "{code}");
        run(&sandbox, &["verify", "--json"], &args).finds(&expected);
    }
}

#[test]
fn a_manifest_without_a_namespace_goes_where_the_settings_say() {
    let sandbox = with_platform(Sandbox::with_keys().without_hash());
    let lost = sandbox.read("p/apps/kserve/hf-token.yaml").replace("name: hf-token", "name: lost").replace("  namespace: kserve\n", "");
    sandbox.write("p/apps/lost.yaml", lost.as_bytes());
    sandbox.set(&format!("{HASHLESS}\nplatform: p\nenvironment: prod"));
    let said = sandbox.run(["bootstrap"]).expect(1).stdout;
    assert!(said.contains("error[namespace-unknown]: p/apps/lost.yaml:") && said.contains("`default-namespace` to the settings"), "{said}");
    sandbox.set(&format!("{HASHLESS}\nplatform: p\nenvironment: prod\ndefault-namespace: elsewhere"));
    let said = sandbox.run(["bootstrap", "--yes"]).expect(0).stdout;
    assert!(!said.contains("namespace-unknown"), "{said}");
    assert!(sandbox.read("out/secret-store/cluster-secret-store.yaml").contains("    - elsewhere\n"));
}

#[test]
fn helm_values_inside_an_application_are_found() {
    let sandbox = with_platform(Sandbox::empty());
    sandbox.remove("p/apps/experience/key-portal/values.yaml");
    sandbox.write("p/argocd/portal.yaml", b"apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: portal}\nspec:\n  source:\n    helm:\n      values: |\n        externalSecret:\n          remoteKey: litellm-master-key\n");
    // It is unknown whose values these are.
    let template = ["helm-template p/apps/experience/key-portal/templates/externalsecret.yaml"];
    let (coverage, portal) = ([&COVERAGE[..1], &template, &UNPATCHED].concat(), "p/argocd/portal.yaml:8:9");
    disagrees(&sandbox, &PROD, &[&coverage[..], &[&format!("rendered-by-helm {portal}")]].concat());
    sandbox.edit("p/argocd/portal.yaml", "litellm-master-key", "hf-token");
    disagrees(&sandbox, &PROD, &[&coverage[..], &[&format!("namespace-unknown {portal}")]].concat());
}

#[test]
fn a_base_that_several_overlays_share_is_read_in_each_namespace() {
    let sandbox = with_platform(Sandbox::with_keys().without_hash());
    sandbox.write("p/apps/serving/second/kustomization.yaml", b"namespace: serving-two\nresources: [../base]\n");
    run(&sandbox, &["bootstrap"], &PROD).expect(0);
    let store = sandbox.read("out/secret-store/cluster-secret-store.yaml");
    assert!(store.contains("- serving\n") && store.contains("- serving-two\n"), "{store}");
    assert!(sandbox.path("out/property-patches/vllm-api-key.patch.yaml").exists());
}

#[test]
fn what_cannot_be_edited_is_refused_and_named_and_the_rest_is_done() {
    let sandbox = with_platform(Sandbox::empty());
    sandbox.edit("p/apps/kserve/hf-token.yaml", "      remoteRef:\n", "      remoteRef: &shared\n");
    let before = sandbox.read("p/apps/kserve/hf-token.yaml");
    let ran = run(&sandbox, &["patch", "--write"], &PROD).expect(1);
    assert!(ran.stderr.contains("p/apps/kserve/hf-token.yaml:18:") && ran.stderr.contains("anchor"), "{}", ran.stderr);
    assert!(ran.stdout.ends_with("done: 24 properties, 13 files written\n"), "{}", ran.stdout);
    assert_eq!(sandbox.read("p/apps/kserve/hf-token.yaml"), before);
}

/// An ExternalSecret with one entry.
pub fn es(name: &str, namespace: &str, key: &str, store: &str) -> String {
    let namespace = if namespace.is_empty() { String::new() } else { format!(", namespace: {namespace}") };
    format!(
        "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {{name: {name}{namespace}}}\nspec:\n  secretStoreRef: {{name: {store}, kind: ClusterSecretStore}}\n  data:\n    - secretKey: a\n      remoteRef:\n        key: {key}\n"
    )
}

/// A checkout `q/` of these files, beside `keys/`.
pub fn mini(files: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::with_keys().without_hash();
    sandbox.set(&format!("{HASHLESS}\nout: q/out"));
    files.iter().for_each(|(path, text)| sandbox.write(&format!("q/{path}"), text.as_bytes()));
    sandbox
}

/// The findings in a checkout that reads only these keys of the contract, and `more`.
pub fn mini_findings(read: &[&str], more: &[&str]) -> Vec<String> {
    let contract = fixture_text("../src/contract.yaml");
    let keys = contract.split("consumers:").next().unwrap().lines().enumerate();
    let keys = keys.filter_map(|(i, line)| Some((i + 1, line.strip_prefix("  - name: ")?)));
    // Nothing reads the password itself, only its hash.
    let unread = keys.filter(|(_, key)| !read.contains(key) && *key != "dex-admin-password");
    let unread: Vec<String> = unread.map(|(line, _)| format!("key-unread contract.yaml:{line}:5")).collect();
    [usual_in("keys", "q/out"), unread, more.iter().map(|&finding| finding.to_owned()).collect()].concat()
}

pub const MINI: [&str; 4] = ["--platform", "q", "--out", "q/out"];
const COMPONENT: &str = "components: [../out/property-patches]\n";

#[test]
fn kustomizations_that_list_each_other_end() {
    let app = es("app", "n", "litellm-master-key", "secret-store");
    let cycle = mini(&[
        ("a/x.yaml", &app),
        ("a/kustomization.yaml", "resources: [x.yaml, ../b]\n"),
        ("b/kustomization.yaml", "resources: [../a]\n"),
    ]);
    run(&cycle, &["plan"], &MINI).expect(0);
    // Each layer lists both folders of the layer below: 2^26 ways.
    let deep = mini(&[
        ("l0a/x.yaml", &app),
        ("l0a/kustomization.yaml", "resources: [x.yaml]\n"),
        ("l0b/kustomization.yaml", "resources: [../l0a]\n"),
    ]);
    for i in 1..26 {
        for side in ["a", "b"] {
            deep.write(&format!("q/l{i}{side}/kustomization.yaml"), format!("resources: [../l{0}a, ../l{0}b]\n", i - 1).as_bytes());
        }
    }
    run(&deep, &["plan"], &MINI).expect(0);
}

#[test]
fn a_component_that_reaches_nothing_is_not_called_good() {
    let of = |key| es("app", "", key, "secret-store");
    let moved = |namespace: &str| format!("namespace: {namespace}\nresources: [x.yaml]\n{COMPONENT}");
    // One name, moved to two namespaces by kustomize, which patches before it moves.
    let (one, two) = (of("litellm-master-key"), of("vllm-api-key"));
    let (first, second) = (moved("ns-a"), moved("ns-b"));
    let sandbox = mini(&[("a/x.yaml", &one), ("a/kustomization.yaml", &first), ("b/x.yaml", &two), ("b/kustomization.yaml", &second)]);
    run(&sandbox, &["bootstrap"], &MINI).expect(1);
    run(&sandbox, &["verify"], &MINI).finds(&mini_findings(
        &["litellm-master-key", "vllm-api-key"],
        &["ambiguous-consumer q", "property-missing q/a/x.yaml:9:14", "property-missing q/b/x.yaml:9:14"],
    ));
    run(&sandbox, &["patch", "--write"], &MINI).expect(0);
    run(&sandbox, &["verify"], &MINI).finds(&mini_findings(&["litellm-master-key", "vllm-api-key"], &["ambiguous-consumer q"]));
    // A ClusterExternalSecret.
    let cluster = "apiVersion: external-secrets.io/v1\nkind: ClusterExternalSecret\nmetadata: {name: app}\nspec:\n  namespaces: [n]\n  externalSecretSpec:\n    secretStoreRef: {name: secret-store, kind: ClusterSecretStore}\n    data:\n      - secretKey: a\n        remoteRef:\n          key: vllm-api-key\n";
    let sandbox = mini(&[("a/x.yaml", cluster), ("a/kustomization.yaml", &format!("resources: [x.yaml]\n{COMPONENT}"))]);
    run(&sandbox, &["bootstrap"], &MINI).expect(1);
    run(&sandbox, &["verify"], &MINI)
        .finds(&mini_findings(&["vllm-api-key"], &["ambiguous-consumer q", "property-missing q/a/x.yaml:11:16"]));
    run(&sandbox, &["patch", "--write"], &MINI).expect(0);
    assert!(sandbox.read("q/a/x.yaml").ends_with("key: vllm-api-key\n          property: value\n"));
}

#[test]
fn another_stores_external_secret_is_none_of_ours() {
    let (ours, theirs) = (es("app", "n", "litellm-master-key", "secret-store"), es("app", "m", "litellm-master-key", "vault"));
    let kustomization = format!("resources: [x.yaml]\n{COMPONENT}");
    let sandbox = mini(&[
        ("a/x.yaml", &ours),
        ("a/kustomization.yaml", &kustomization),
        ("b/x.yaml", &theirs),
        ("b/kustomization.yaml", &kustomization),
    ]);
    run(&sandbox, &["bootstrap"], &MINI).expect(0);
    if let Some(built) = build(&sandbox, "q/a") {
        assert!(built.expect(0).stdout.contains("property: value"));
        assert_ne!(build(&sandbox, "q/b").unwrap().code, 0, "the guard tests the store");
    }
    // If both are in one folder, only ours gets the line.
    let both = mini(&[("a/x.yaml", &ours), ("a/y.yaml", &theirs), ("a/kustomization.yaml", "resources: [x.yaml, y.yaml]\n")]);
    assert_eq!(run(&both, &["patch"], &MINI).expect(0).stdout.matches("+        property: value").count(), 1);
    // A team's own SecretStore of that name stays, and so does the vault beside an entry of ours.
    let own = ours.replace("kind: ClusterSecretStore", "kind: SecretStore");
    let mixed = es("app", "n", "x", "vault")
        + "    - secretKey: b\n      sourceRef: {storeRef: {name: secret-store, kind: ClusterSecretStore}}\n      remoteRef: {key: hf-token}\n";
    let filter = |text: &str| sandbox.run_with_input(["patch", "-"], text.as_bytes()).expect(0).stdout;
    assert_eq!(filter(&own), own);
    assert_eq!(filter(&mixed), mixed.replace("{key: hf-token}", "{key: hf-token, property: value}"));
    sandbox.set("store: { kind: SecretStore }");
    let namespaced = filter(&mixed);
    assert_eq!(namespaced.matches("kind: SecretStore").count(), 1, "{namespaced}");
    assert!(namespaced.contains("{name: vault, kind: ClusterSecretStore}"), "{namespaced}");
}

#[test]
fn what_hides_behind_an_alias_is_refused_and_named() {
    let sandbox = Sandbox::empty();
    let whole = es("app", "n", "hf-token", "secret-store");
    for (from, to) in [
        ("      remoteRef:\n        key: hf-token\n", "      remoteRef: *r\n"),
        ("        key: hf-token\n", "        <<: *r\n"),
        ("key: hf-token", "key: *r"),
        ("    - secretKey: a\n      remoteRef:\n        key: hf-token\n", "    - *r\n"),
        ("{name: secret-store, kind: ClusterSecretStore}", "*r"),
        ("kind: ClusterSecretStore}", "kind: *r}"),
    ] {
        let text = format!("x: &r {{key: hf-token}}\n{}", whole.replace(from, to));
        let ran = sandbox.run_with_input(["patch", "-"], text.as_bytes()).expect(3);
        assert!(ran.stderr.contains("standard input:") && ran.stderr.contains("alias"), "{to}: {}", ran.stderr);
    }
    // A file that cannot be read at all is named too.
    let sandbox = mini(&[("a/x.yaml", &whole), ("a/y.yaml", &whole.replace("  data:", "\tdata:"))]);
    assert!(run(&sandbox, &["patch"], &MINI).expect(1).stderr.contains("q/a/y.yaml:"));
}

#[test]
fn a_configuration_that_cannot_be_read_stops_the_run() {
    let app = es("app", "n", "hf-token", "secret-store");
    for config in [
        "features:\n  identity: true\n  identity: false\n",
        "features:\n\tidentity: true\n",
        "x: &f {identity: true}\nfeatures: *f\n",
        "x: &f {identity: true}\nfeatures: {<<: *f}\n",
        "features: [identity]\n",
        "features: {identity: 1}\n",
        "dns: {automate: maybe}\n",
        "# nothing\n",
    ] {
        let sandbox = mini(&[("a/x.yaml", &app), ("environments/one/config.yaml", config)]);
        let ran = run(&sandbox, &["plan"], &MINI).expect(3);
        assert!(ran.stderr.contains("q/environments/one/config.yaml"), "{config}: {}", ran.stderr);
    }
}

#[test]
fn the_store_file_is_never_something_else() {
    let app = es("app", "n", "hf-token", "secret-store");
    let sandbox =
        mini(&[("a/x.yaml", &app), ("a/kustomization.yaml", "resources: [x.yaml]\n"), ("README.yaml", "a: b\n"), ("c/x.yaml", &app)]);
    sandbox.set("");
    run(&sandbox, &["bootstrap"], &MINI).expect(0);
    symlink("x.yaml", sandbox.path("q/a/link.yaml")).unwrap();
    let before = sandbox.snapshot();
    let refused = [
        ("keys/sealing.key.age", 2),
        ("keys/new.yaml", 4),
        ("q/out/kustomization.yaml", 4),
        ("q/a/x.yaml", 4),
        ("q/README.yaml", 4),
        ("q/a/link.yaml", 4),
        ("q/.git", 4),
    ];
    for (file, code) in refused {
        sandbox.set(&format!("store: {{ file: {file} }}"));
        run(&sandbox, &["bootstrap"], &MINI).expect(code);
    }
    sandbox.set("store: { file: q/store.yaml, project-id: 'gcpsm:' }");
    run(&sandbox, &["bootstrap"], &MINI).expect(2);
    sandbox.set("");
    // It does not write to a foreign folder either.
    run(&sandbox, &["bootstrap"], &["--platform", "q", "--out", "q/a"]).expect(4);
    assert_eq!(before, sandbox.snapshot());
}

#[test]
fn the_components_patches_quote_their_names() {
    let app = es("\"123\"", "n", "hf-token", "secret-store");
    let sandbox = mini(&[("a/x.yaml", &app), ("a/kustomization.yaml", &format!("resources: [x.yaml]\n{COMPONENT}"))]);
    run(&sandbox, &["bootstrap"], &MINI).expect(0);
    run(&sandbox, &["verify"], &MINI).finds(&mini_findings(&["hf-token"], &[]));
    if let Some(built) = build(&sandbox, "q/a") {
        assert!(built.expect(0).stdout.contains("property: value"));
    }
}

#[test]
fn a_key_that_no_external_secret_reads_is_found_at_its_line_of_the_contract() {
    let sandbox = mini(&[("a/x.yaml", &es("app", "n", "hf-token", "secret-store"))]);
    sandbox.set("");
    let text = sandbox.run(["contract", "--format", "yaml"]).expect(0).stdout;
    // The printed text has one more line: its schema.
    let line = text.lines().position(|line| line == "  - name: litellm-master-key").unwrap();
    sandbox.write("own.yaml", format!("# mine\n{text}").as_bytes());
    for (flags, place) in
        [(&[][..], format!("the built-in contract:{line}:5")), (&["--contract", "own.yaml"], format!("own.yaml:{}:5", line + 2))]
    {
        let ran = run(&sandbox, &[&["contract", "--format", "json"], flags].concat(), &MINI).expect(0);
        let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let mut unread = json["coverage"].as_array().unwrap().iter().filter(|finding| finding["code"] == "key-unread");
        let found = unread.find(|finding| finding["what"].as_str().unwrap().contains("`litellm-master-key`")).unwrap();
        assert_eq!(found["place"], place);
    }
}

#[test]
fn namespaces_come_from_whoever_decides_them() {
    let app = es("litellm-secrets", "", "litellm-master-key", "secret-store");
    let application = |extra: &str, path: &str| {
        format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{name: a}}\nspec:\n  source:\n    repoURL: r\n    path: {path}\n{extra}  destination: {{namespace: llm}}\n"
        )
    };
    let namespace = |files: &[(&str, &str)]| {
        let found = consumers(&run(&mini(files), &["contract", "--format", "json"], &MINI).expect(0).stdout);
        found.into_iter().next().unwrap().0
    };
    let base = [
        ("base/x.yaml", app.as_str()),
        ("base/kustomization.yaml", "resources: [x.yaml]\n"),
        ("over/kustomization.yaml", "resources: [../base]\n"),
    ];
    // An overlay without a namespace, whose Application has one.
    assert_eq!(namespace(&[&base[..], &[("apps.yaml", &application("", "over"))]].concat()), "llm");
    assert_eq!(namespace(&[&base[..], &[("apps.yaml", &application("    kustomize: {namespace: moved}\n", "over"))]].concat()), "moved");
    assert_eq!(namespace(&base), "litellm", "the contract knows it");
    // An unknown namespace is reported; and `patch` needs no namespace.
    let sandbox = mini(&[("a/x.yaml", &es("lost", "", "hf-token", "secret-store"))]);
    assert!(run(&sandbox, &["plan"], &MINI).expect(0).stdout.contains("namespace-unknown"));
    run(&sandbox, &["patch", "--write"], &MINI).expect(0);
}

#[test]
fn our_own_application_is_no_example_for_itself() {
    let app = es("app", "n", "hf-token", "secret-store");
    let application = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: external-secrets\n  annotations: {argocd.argoproj.io/sync-wave: '-8'}\nspec:\n  source: {repoURL: r, path: eso}\n";
    let sandbox = mini(&[("a/x.yaml", &app), ("apps.yaml", application)]);
    sandbox.set("");
    let contract = sandbox.run(["contract", "--format", "yaml"]).expect(0).stdout;
    sandbox.write("c.yaml", without_hash(&contract).replace("namespace: secret-source", "namespace: sealed-secrets-source").as_bytes());
    run(&sandbox, &["bootstrap", "--contract", "c.yaml"], &MINI).expect(0);
    assert!(run(&sandbox, &["bootstrap", "--contract", "c.yaml"], &MINI).expect(0).stdout.starts_with("nothing to do"));
    // The platform's own files beside ours still count.
    sandbox.write("q/out/apps/y.yaml", es("beside", "m", "vllm-api-key", "secret-store").as_bytes());
    let table = run(&sandbox, &["contract", "--contract", "c.yaml"], &MINI).expect(0).stdout;
    assert!(table.contains("m/beside"), "{table}");
}

#[test]
fn a_draft_is_always_a_contract() {
    let both = es("one", "n", "dex-admin-password", "secret-store") + "---\n" + &es("two", "n", "dex-admin-hash", "secret-store");
    let unit = es("one", "n", "dex-admin", "secret-store") + "---\n" + &es("two", "n", "dex-admin-hash", "secret-store");
    let twice = es("one", "n", "a-key", "secret-store") + "---\n" + &es("one", "n", "b-key", "secret-store");
    for (what, file, text) in [
        ("a pair", "x.yaml", both.as_str()),
        ("a unit's name", "x.yaml", &unit),
        ("one name twice", "x.yaml", &twice),
        ("no namespace", "x.yaml", &es("one", "", "a-key", "secret-store")),
        ("only helm", "values.yaml", "externalSecret: {remoteKey: litellm-master-key}\n"),
        ("a helm parameter", "values.yaml", "parameters: [{name: externalSecret.remoteKey, value: litellm-master-key}]\n"),
    ] {
        let sandbox = mini(&[(file, text)]);
        sandbox.set("");
        sandbox.write("q/.gitignore", b"");
        let draft = sandbox.run(["contract", "--from-platform", "q"]).expect(0).stdout;
        sandbox.write("c.yaml", draft.as_bytes());
        let ran = sandbox.run(["bootstrap", "--contract", "c.yaml"]);
        assert_eq!(ran.code, 0, "{what}: {} {draft}", ran.stderr);
    }
}

#[test]
fn odd_names_stand_in_the_diff_as_git_writes_them() {
    needs!("git");
    let app = es("app", "n", "hf-token", "secret-store");
    let sandbox = Sandbox::empty();
    let names = ["a b", "t\tab", "q\"uote", "back\\slash", "esc\u{1b}[2J", "new\nline", "ü"];
    for name in names {
        sandbox.write(&format!("q/{name}/x.yaml"), app.as_bytes());
        sandbox.write(&format!("q/{name}/kustomization.yaml"), b"resources: [x.yaml]\n");
    }
    git(&sandbox, &["init", "-q", "q"]);
    let check = |format: &str, out: &str, count: usize| {
        let diff = run(&sandbox, &["patch", "--format", format], &["--platform", "q", "--out", out]).expect(0).stdout;
        assert!(!diff.contains('\u{1b}'), "{diff}");
        assert_eq!(diff.matches("diff --git").count(), count, "{diff}");
        sandbox.write("diff", diff.as_bytes());
        git(&sandbox, &["-C", "q", "apply", "--check", "../diff"]);
    };
    check("manifest", "out", names.len());
    // New files: a patch and the kustomization that lists it.
    names.iter().for_each(|name| check("component", &format!("q/{name}/out"), 2));
}
