//! Objects that a checkout defines under the name of one of ours.

use serde_json::Value;

use crate::common::{HASHLESS, Sandbox, usual_in};
use crate::platform::with_platform;

const PROD: [&str; 4] = ["--platform", "p", "--environment", "prod"];

/// The form and place of our own objects; the checkout's additional files; the places that are found.
type Row = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const STORE: &str = "apiVersion: external-secrets.io/v1beta1\nkind: ClusterSecretStore\nmetadata: {name: secret-store}\nspec: {}\n";
const OURS: &str = "# Written by seal-secrets. Do not edit: the next run restores it.\napiVersion: external-secrets.io/v1\nkind: ClusterSecretStore\nmetadata: {name: secret-store}\nspec: {}\n";
const ACCOUNT: &str = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: eso-reader}\n";
const ROLE: &str = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: eso-reader, namespace: secret-source}\n";
const APPLICATION: &str = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: secret-source, namespace: argocd}\nspec:\n  source: {repoURL: 'https://git.example.org/platform.git', path: ./sealed/}\n";
const LISTING: &str = "namespace: external-secrets\nresources: [x.yaml]\n";

const ROWS: &[Row] = &[
    // The store, wherever it stands in a file.
    ("", &[("x.yaml", STORE)], &["p/x.yaml:1:1"]),
    (
        "",
        &[(
            "a/x.yml",
            "# ours since 2023\r\n---\r\n# projectID: none\r\napiVersion: external-secrets.io/v1\r\nkind: ClusterSecretStore\r\nmetadata:\r\n  name: \"secret-store\"\r\n",
        )],
        &["p/a/x.yml:4:1"],
    ),
    (
        "",
        &[(
            "x.yaml",
            "kind: ConfigMap\napiVersion: v1\nmetadata: {name: secret-store}\n---\napiVersion: external-secrets.io/v1\nkind: ClusterSecretStore\nmetadata: {name: secret-store}\n",
        )],
        &["p/x.yaml:5:1"],
    ),
    (
        "",
        &[(
            "x.yaml",
            "apiVersion: v1\nkind: List\nitems:\n  - apiVersion: external-secrets.io/v1\n    kind: ClusterSecretStore\n    metadata: {name: secret-store}\n",
        )],
        &["p/x.yaml:4:5"],
    ),
    ("", &[("x.yaml", STORE), ("y/x.yaml", STORE)], &["p/x.yaml:1:1", "p/y/x.yaml:1:1"]),
    // Others of that name, and that kind.
    ("", &[("x.yaml", "apiVersion: external-secrets.io/v1\nkind: ClusterSecretStore\nmetadata: {name: secret-store-2}\n")], &[]),
    ("", &[("x.yaml", "apiVersion: example.org/v1\nkind: ClusterSecretStore\nmetadata: {name: secret-store}\n")], &[]),
    ("", &[("x.yaml", "apiVersion: external-secrets.io/v1\nkind: SecretStore\nmetadata: {name: secret-store, namespace: n8n}\n")], &[]),
    // Files that are not applied as they are.
    ("", &[("x.example.yaml", STORE)], &[]),
    ("", &[("c/Chart.yaml", "name: c\n"), ("c/templates/x.yaml", STORE)], &[]),
    ("", &[("kustomization.yaml", "patches: [{path: x.yaml}]\n"), ("x.yaml", STORE)], &[]),
    // A store in each namespace.
    (
        "store: { kind: SecretStore }",
        &[("x.yaml", "apiVersion: external-secrets.io/v1\nkind: SecretStore\nmetadata: {name: secret-store, namespace: n8n}\n")],
        &["p/x.yaml:1:1"],
    ),
    (
        "store: { kind: SecretStore }",
        &[("x.yaml", "apiVersion: external-secrets.io/v1\nkind: SecretStore\nmetadata: {name: secret-store, namespace: vault}\n")],
        &[],
    ),
    ("store: { kind: SecretStore }", &[("x.yaml", STORE)], &[]),
    // The platform's own file for the store is ours.
    ("store: { file: p/deep/x.yaml }", &[("deep/x.yaml", STORE)], &[]),
    ("store: { file: p/deep/x.yaml }", &[("deep/x.yaml", STORE), ("deep/y.yaml", STORE)], &["p/deep/y.yaml:1:1"]),
    // The namespace of the sources.
    ("", &[("x.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: secret-source}\n")], &["p/x.yaml:1:1"]),
    ("", &[("x.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: secret-sources}\n")], &[]),
    // The reader: its namespace comes from kustomize, the manifest or the Application. If none of them says, it may be ours.
    ("", &[("x.yaml", ACCOUNT)], &["p/x.yaml:1:1"]),
    (
        "",
        &[("x.yaml", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: eso-reader, namespace: external-secrets}\n")],
        &["p/x.yaml:1:1"],
    ),
    ("", &[("x.yaml", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: eso-reader, namespace: other}\n")], &[]),
    ("", &[("b/x.yaml", ACCOUNT), ("b/kustomization.yaml", LISTING)], &["p/b/x.yaml:1:1"]),
    (
        "",
        &[
            ("b/x.yaml", ACCOUNT),
            ("b/kustomization.yaml", "resources: [x.yaml]\n"),
            ("o/kustomization.yaml", "namespace: other\nresources: [../b]\n"),
        ],
        &[],
    ),
    (
        "store: { isolation: namespace }",
        &[("x.yaml", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: eso-reader, namespace: n8n}\n")],
        &["p/x.yaml:1:1"],
    ),
    ("", &[("x.yaml", ROLE)], &["p/x.yaml:1:1"]),
    (
        "",
        &[(
            "x.yaml",
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: eso-reader, namespace: secret-source}\n",
        )],
        &["p/x.yaml:1:1"],
    ),
    ("store: { isolation: namespace }", &[("x.yaml", ROLE)], &[]),
    (
        "store: { isolation: namespace }",
        &[("x.yaml", "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: eso-reader-n8n, namespace: secret-source}\n")],
        &["p/x.yaml:1:1"],
    ),
    // The Application, if it exists; one that applies the output folder is ours.
    (
        "out: p/sealed",
        &[(
            "x.yaml",
            "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: secret-source, namespace: argocd}\nspec: {}\n",
        )],
        &["p/x.yaml:1:1"],
    ),
    ("out: p/sealed", &[("x.yaml", APPLICATION)], &[]),
    ("", &[("x.yaml", APPLICATION)], &[]),
    // Our own output folder, that of another cluster, and one that was left behind.
    ("out: p/sealed", &[("sealed/secret-store/cluster-secret-store.yaml", OURS)], &[]),
    ("out: p/sealed", &[("sealed/other/secret-store/cluster-secret-store.yaml", OURS)], &[]),
    (
        "out: p/sealed",
        &[("sealed/other/secret-store/cluster-secret-store.yaml", STORE)],
        &["p/sealed/other/secret-store/cluster-secret-store.yaml:1:1"],
    ),
    ("out: p", &[("secret-store/cluster-secret-store.yaml", OURS)], &[]),
    ("out: p/sealed", &[("out/secret-store/cluster-secret-store.yaml", STORE)], &["p/out/secret-store/cluster-secret-store.yaml:1:1"]),
];

#[test]
fn an_object_of_the_checkout_with_the_name_of_one_of_ours_is_found() {
    let template = with_platform(Sandbox::with_keys());
    for (form, files, expected) in ROWS {
        let sandbox = template.copy();
        sandbox.set(&format!("platform: p\nenvironment: prod\n{form}"));
        let coverage = |sandbox: &Sandbox| -> Vec<String> {
            let ran = sandbox.run(["plan", "--json"]).expect(0);
            let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
            let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
            let all = plan["coverage"].as_array().unwrap();
            all.iter().map(|one| format!("{} {} {}", text(one, "severity"), text(one, "code"), text(one, "place"))).collect()
        };
        let before = coverage(&sandbox);
        files.iter().for_each(|(file, text)| sandbox.write(&format!("p/{file}"), text.as_bytes()));
        let mut after = coverage(&sandbox);
        after.retain(|finding| !before.contains(finding) && !finding.starts_with("warning helm-template"));
        let expected: Vec<String> = expected.iter().map(|place| format!("error defined-twice {place}")).collect();
        assert_eq!(after, expected, "{form:?} {files:?}");
    }
}

/// The finding of `STORE` in `p/x.yaml`.
const FOUND: &str = "error[defined-twice]: p/x.yaml:1:1: ClusterSecretStore `secret-store` is defined here, and in the output folder: the one that is applied last wins\n  help: if the platform keeps its store in this file, set `store.file` to it in `seal-secrets.yaml`; otherwise delete it here\n";

#[test]
fn every_command_that_looks_at_a_platform_says_so_and_the_work_is_done() {
    let sandbox = with_platform(Sandbox::with_keys().without_hash());
    sandbox.run([&["patch", "--write"][..], &PROD].concat()).expect(0);
    sandbox.write("p/x.yaml", STORE.as_bytes());
    sandbox.write_secret("env", b"HF_TOKEN=hf_0123456789\nVLLM_API_KEY=an-own-form-of-it\n");
    let run = |args: &[&str], code: i32, shows: bool| {
        let ran = sandbox.run([args, &PROD].concat());
        assert_eq!((ran.code, ran.stdout.matches(FOUND).count()), (code, usize::from(shows)), "{args:?} {}{}", ran.stdout, ran.stderr);
        ran.stdout
    };
    run(&["contract"], 0, true);
    run(&["plan"], 0, true);
    run(&["plan", "--check"], 1, true);
    run(&["bootstrap", "--dry-run"], 1, true);
    assert!(!sandbox.path("out").exists());
    run(&["bootstrap"], 1, true);
    assert!(run(&["bootstrap"], 1, true).starts_with("nothing to do\n"));
    assert!(run(&["plan", "--check"], 1, true).starts_with("nothing to do\n"));
    run(&["bootstrap", "--json", "--dry-run"], 1, false);
    run(&["rotate", "litellm-master-key", "--yes"], 1, true);
    run(&["import", "--env-file", "env", "--replace", "vllm-api-key", "--yes"], 1, true);
    run(&["verify"], 1, true);
    // One of the two is deleted, and all is well.
    sandbox.remove("p/x.yaml");
    run(&["plan", "--check"], 0, false);
    run(&["bootstrap"], 0, false);
    run(&["rotate", "litellm-master-key", "--yes"], 0, false);
    run(&["verify"], 0, false);
}

#[test]
fn the_output_of_each_cluster_is_ours() {
    let sandbox = with_platform(Sandbox::with_keys().without_hash());
    sandbox.set(&format!("{HASHLESS}\nout: p/sealed"));
    sandbox.run([&["patch", "--write"][..], &PROD].concat()).expect(0);
    for cluster in ["a", "b"] {
        for file in ["sealing.crt", "sealing.key.age", "operator.agekey"] {
            sandbox.write_secret(&format!("keys/{cluster}/{file}"), sandbox.read(&format!("keys/{file}")).as_bytes());
        }
        sandbox.accept(&format!("keys/{cluster}"));
        sandbox.run([&["bootstrap", "--cluster", cluster][..], &PROD].concat()).expect(0);
    }
    let ran = sandbox.run([&["verify", "--cluster", "a"][..], &PROD].concat()).expect(0);
    let platform = ["other-store p/apps/billing/stripe.yaml:1:1", "rendered-by-helm p/apps/experience/key-portal/values.yaml:5:14"];
    let expected: Vec<String> = usual_in("keys/a", "p/sealed/a").into_iter().chain(platform.map(str::to_owned)).collect();
    ran.has_found(&expected);
}

/// Whether a finding that `patch` settles is an error, by command.
#[test]
fn what_patch_will_settle_is_a_note_until_verify_still_finds_it() {
    for (store, code) in [("", "property-missing"), ("store: { kind: SecretStore }", "store-kind-differs")] {
        let sandbox = with_platform(Sandbox::with_keys().without_hash());
        sandbox.set(&format!("{HASHLESS}\nplatform: p\nenvironment: prod\n{store}"));
        let run = |args: &[&str]| sandbox.run(args);
        for args in [&["bootstrap"][..], &["bootstrap"], &["plan", "--check"]] {
            let ran = run(args).expect(0);
            assert!(!ran.stdout.contains("error[") && !ran.stdout.contains(code), "{args:?} {}", ran.stdout);
            assert!(ran.stdout.contains("warning[not-yet-patched]: p/apps/n8n/n8n.yaml:"), "{args:?} {}", ran.stdout);
            assert!(ran.stdout.contains("  help: run `seal-secrets patch --write"), "{args:?} {}", ran.stdout);
        }
        assert!(run(&["verify"]).expect(1).stdout.contains(&format!("error[{code}]: p/apps/n8n/n8n.yaml:")));
        run(&["patch", "--write"]).expect(0);
        assert!(!run(&["bootstrap"]).expect(0).stdout.contains("not-yet-patched"));
        run(&["verify"]).expect(0);
    }
}

#[test]
fn a_property_that_patch_cannot_add_stays_an_error() {
    let sandbox = with_platform(Sandbox::with_keys().without_hash());
    sandbox.edit("p/apps/kserve/hf-token.yaml", "remoteRef:", "remoteRef: &here");
    let ran = sandbox.run([&["bootstrap"][..], &PROD].concat()).expect(1);
    let error = "error[property-missing]: p/apps/kserve/hf-token.yaml:18:14: `hf-token` reads 1 key without a property: its target would hold JSON\n  help: write `remoteRef` out where an anchor repeats it, or add `property: value` by hand\n";
    assert!(ran.stdout.contains(error), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("error[").count(), 1, "{}", ran.stdout);
}
