//! `seal-secrets.yaml`: where it is found, what it may and may not say, and `init`, which writes it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::common::{HASHLESS, Sandbox, copy_folder, fixture, fixture_text, usual_in, without_hash};
use crate::platform::{PROD, with_platform};
use crate::schema::check;

/// A sandbox whose settings file sets a contract without its hash, and unusual folders; it is a repository with a subfolder `deep/er`.
fn set(settings: &str) -> Sandbox {
    let sandbox = Sandbox::with_keys().without_hash();
    sandbox.set(&format!("{HASHLESS}\n{settings}"));
    std::fs::create_dir_all(sandbox.path("deep/er")).unwrap();
    std::fs::create_dir_all(sandbox.path(".git")).unwrap();
    sandbox
}

#[test]
fn every_command_works_from_every_subfolder() {
    let sandbox = set("out: sealed\nsecrets: copies");
    sandbox.run_from("deep/er", ["bootstrap"]).expect(0);
    let places = ["sealed/secret-source/vllm-api-key.sealed.yaml", "copies/dex-admin-password", "sealed/INSTALL.md"];
    places.iter().for_each(|place| assert!(sandbox.path(place).exists(), "{place}"));
    for (folder, up) in [("", ""), ("deep", "../"), ("deep/er", "../../"), ("sealed/secret-source", "../../")] {
        assert!(sandbox.run_from(folder, ["bootstrap"]).expect(0).stdout.starts_with("nothing to do\n"), "{folder}");
        let found = usual_in(&format!("{up}keys"), &format!("{up}sealed"));
        sandbox.run_from(folder, ["verify"]).finds(&found);
        let identity = format!("{up}keys/operator.agekey");
        sandbox.run_from(folder, ["verify", "--identity", &identity]).finds(&found);
        sandbox.run_from(folder, ["status"]).expect(0);
        sandbox.run_from(folder, ["rotate", "vllm-api-key", "--yes"]).expect(0);
        assert_eq!(
            sandbox.run_from(folder, ["unseal", "--value", "dex-admin-password"]).expect(0).stdout,
            sandbox.read("copies/dex-admin-password")
        );
    }
    let names = |folder: &str| {
        let mut names: Vec<_> =
            std::fs::read_dir(sandbox.path(folder)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(""), [".git", "contract.yaml", "copies", "deep", "keys", "seal-secrets.yaml", "sealed"], "nothing is made beside");
    assert_eq!(names("deep"), ["er"]);
}

#[test]
fn it_is_found_up_to_the_root_of_the_repository_and_no_further() {
    let sandbox = set("out: sealed");
    std::fs::create_dir_all(sandbox.path("deep/.git")).unwrap();
    let stderr = sandbox.run_from("deep/er", ["verify"]).expect(1).stdout;
    assert!(stderr.contains("keys/sealing.crt: no such file"), "another repository, and so the defaults: {stderr}");
    std::fs::remove_dir(sandbox.path("deep/.git")).unwrap();
    std::fs::remove_dir(sandbox.path(".git")).unwrap();
    let stdout = sandbox.run_from("deep", ["verify"]).expect(1).stdout;
    assert!(stdout.contains(" keys/sealing.crt: no such file"), "outside of git only here: {stdout}");
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.contains("seal   sealed/secret-source/"));
    // It can be passed, from anywhere.
    let ran = sandbox.run_from("deep", ["--settings", "../seal-secrets.yaml", "bootstrap"]).expect(0);
    assert!(
        ran.stdout.starts_with("nothing to do\nyours to add, with `seal-secrets --settings ../seal-secrets.yaml bootstrap"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_flag_overrides_it_and_the_first_line_says_so() {
    let sandbox = set("out: sealed\nkeys: keys");
    sandbox.write("d.yaml", without_hash(&fixture_text("fixtures/contracts/small.yaml")).as_bytes());
    let ran = sandbox.run(["bootstrap", "--out", "other", "--contract", "d.yaml"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (0, "`--out other` overrides `sealed`, `--contract d.yaml` overrides `contract.yaml` (seal-secrets.yaml)\n")
    );
    assert!(sandbox.path("other/secret-source").exists() && !sandbox.path("sealed").exists());
    // A flag that says the same overrides nothing.
    sandbox.set("contract: d.yaml\nout: other\nkeys: keys");
    sandbox.run(["plan", "--keys", "keys", "--contract", "d.yaml"]).expect(0);
    // What the file does not say is added, not overridden.
    let sandbox = with_platform(Sandbox::with_keys());
    sandbox.set("out: sealed");
    sandbox.run([&["plan"][..], &PROD].concat()).expect(0);
}

/// Settings that are refused: the exit code, and how the error begins.
const REFUSED: &[(&str, i32, &str)] = &[
    ("ouy: sealed", 3, "2:1: unknown field `ouy`\nhelp: did you mean `out`?"),
    ("store: { isolatoin: namespace }", 3, "2:10: unknown field `store.isolatoin`\nhelp: did you mean `isolation`?"),
    ("store: { isolation: none }", 3, "2:10: `store.isolation` is not one of its words\nhelp: write one of `shared`, `namespace`"),
    ("store: { project-id: x }", 3, "2:8: `store.project-id` has no file to stand in"),
    ("environment: prod", 3, "2:1: `environment` says something of a platform that is not named"),
    ("exclude: [a]", 3, "2:1: `exclude` says something of a platform that is not named"),
    ("platform: .\nexclude: ['[']", 3, "3:11: `exclude[0]` is not a pattern"),
    ("platform: .\nexclude: [a, '']", 3, "3:14: `exclude[1]` is an empty pattern"),
    ("platform: .\nexclude: ['../x']", 3, "3:11: `exclude[0]` is a pattern that leads out of the checkout"),
    ("platform: .\nexclude: ['!..']", 3, "3:11: `exclude[0]` is a pattern that leads out of the checkout"),
    ("gitops: jenkins", 3, "2:1: `gitops` is not one of its words\nhelp: write one of `argocd`, `flux`, `none`"),
    ("keys: ''", 3, "2:1: `keys` is an empty path"),
    ("keys: /etc/keys", 3, "2:1: `keys` is not a path from this file's folder"),
    ("keys: ~/keys", 3, "2:1: `keys` is not a path from this file's folder"),
    ("keys: ../keys", 4, "2:1: `keys` leads out of the checkout"),
    ("out: a/../../out", 3, "2:1: `out` is a path with `..` behind a folder"),
    ("secrets: link/secrets", 4, "2:1: `secrets` leads out of the checkout"),
    ("contract: ../contract.yaml", 4, "2:1: `contract` leads out of the checkout"),
    ("platform: ..", 4, "2:1: `platform` leads out of the checkout"),
    ("store: { file: ../store.yaml }", 4, "2:10: `store.file` leads out of the checkout"),
    ("clusters: { a: { out: ../a } }", 4, "2:18: `clusters.a.out` leads out of the checkout"),
    ("out: .git/hooks", 4, "2:1: `out` leads into git's own folder"),
    ("keys: .git", 4, "2:1: `keys` leads into git's own folder"),
    ("clusters: { A: {} }", 3, "2:16: not a DNS-1123 label"),
    ("clusters: { a: { context: x, colour: red } }", 3, "2:30: unknown field `clusters.a.colour`"),
    ("out: out\nout: sealed", 3, "3:1: a field appears twice"),
    ("out: &a sealed", 3, "2:9: anchors"),
    ("out: [a]", 3, "2:1: `out` should be text"),
    ("controller: { namespace: A }", 3, "2:15: `controller.namespace` is not a DNS-1123 label"),
    ("version: 2", 3, "2:1: a field appears twice"),
];

#[test]
fn what_it_may_not_say_is_an_error_with_its_place_and_changes_nothing() {
    let outside = Sandbox::empty();
    let sandbox = Sandbox::with_keys();
    std::os::unix::fs::symlink(outside.path(""), sandbox.path("link")).unwrap();
    for (settings, code, begins) in REFUSED {
        sandbox.set(settings);
        let before = sandbox.snapshot();
        for command in ["bootstrap", "verify", "status", "keygen", "contract"] {
            let ran = sandbox.run([command]).expect(*code);
            let place = begins.split(": ").next().unwrap();
            let expected = format!("error: seal-secrets.yaml:{begins}");
            // The place of a field is that of its value or its name.
            let line = format!("error: seal-secrets.yaml:{}:", place.split(':').next().unwrap());
            let what = begins.split_once(": ").unwrap().1;
            assert!(ran.stderr.starts_with(&line) && ran.stderr.contains(what), "{settings}: {}\n{expected}", ran.stderr);
        }
        assert_eq!(before, sandbox.snapshot(), "{settings}");
    }
    for (text, says) in [
        ("", "empty file"),
        ("version: 2\n", "`version`"),
        ("out: a\n", "`version` is missing"),
        ("<<<<<<< HEAD\nversion: 1\n=======\n>>>>>>> x\n", "conflict"),
    ] {
        sandbox.write("seal-secrets.yaml", text.as_bytes());
        let ran = sandbox.run(["bootstrap"]).expect(3);
        assert!(ran.stderr.starts_with("error: seal-secrets.yaml") && ran.stderr.contains(says), "{}", ran.stderr);
    }
    sandbox.remove("seal-secrets.yaml");
    std::os::unix::fs::symlink("other.yaml", sandbox.path("seal-secrets.yaml")).unwrap();
    let ran = sandbox.run(["bootstrap"]).expect(4);
    assert!(ran.stderr.contains("a link, and links are not followed here"), "{}", ran.stderr);
}

#[test]
fn one_that_another_user_owns_is_refused_unless_it_is_passed() {
    let sandbox = set("out: sealed");
    if std::os::unix::fs::chown(sandbox.path("seal-secrets.yaml"), Some(4242), None).is_err() {
        crate::common::leave_out(&crate::common::test(), "the right to give a file away");
        return;
    }
    let ran = sandbox.run(["bootstrap"]).expect(4);
    assert!(ran.stderr.starts_with("error: seal-secrets.yaml: it belongs to another user (uid 4242)\n"), "{}", ran.stderr);
    assert!(!sandbox.path("sealed").exists() && !sandbox.path("out").exists());
    sandbox.run(["--settings", "seal-secrets.yaml", "bootstrap"]).expect(0);
}

#[test]
fn each_cluster_has_its_own_folders_or_those_that_are_set() {
    let sandbox = set("out: sealed\nclusters:\n  berlin: {}\n  bonn: { keys: k/bonn, out: o/bonn, secrets: s/bonn }");
    for (cluster, keys, out, secrets) in
        [("berlin", "keys/berlin", "sealed/berlin", "secrets/berlin"), ("bonn", "k/bonn", "o/bonn", "s/bonn")]
    {
        for file in ["sealing.crt", "sealing.key.age", "operator.agekey"] {
            sandbox.write_secret(&format!("{keys}/{file}"), sandbox.read(&format!("keys/{file}")).as_bytes());
        }
        sandbox.accept(keys);
        sandbox.run_from("deep", ["bootstrap", "--cluster", cluster]).expect(0);
        assert!(sandbox.path(&format!("{out}/INSTALL.md")).exists() && sandbox.path(&format!("{secrets}/dex-admin-password")).exists());
        sandbox.run(["verify", "--cluster", cluster]).finds(&usual_in(keys, out));
    }
    let ran = sandbox.run(["verify", "--cluster", "berlni"]).expect(2);
    assert_eq!(
        ran.stderr,
        "error: seal-secrets.yaml: `--cluster berlni` is none of the clusters of the settings\nhelp: did you mean `berlin`?\n"
    );
    assert!(!sandbox.path("keys/berlni").exists());
    sandbox.run(["copy", "--from", "berlin", "--to", "bonn", "vllm-api-key", "--replace", "vllm-api-key", "--yes"]).expect(0);
}

#[test]
fn the_sets_of_other_clusters_are_neither_stray_nor_the_platforms() {
    for settings in [
        "platform: .\nenvironment: prod\nout: sealed\nclusters: { berlin: {} }",
        "platform: .\nenvironment: prod\nout: sealed\nclusters: { berlin: { out: o/berlin } }",
        "platform: .\nenvironment: prod\nout: sealed\nclusters: { berlin: { out: sealed/eu/berlin } }",
        "out: sealed",
    ] {
        let sandbox = Sandbox::with_keys().without_hash();
        copy_folder(&fixture("fixtures/platform"), &sandbox.path(""));
        sandbox.set(&format!("{HASHLESS}\n{settings}"));
        for file in ["sealing.crt", "sealing.key.age", "operator.agekey"] {
            sandbox.write_secret(&format!("keys/berlin/{file}"), sandbox.read(&format!("keys/{file}")).as_bytes());
        }
        sandbox.accept("keys/berlin");
        if settings.contains("platform") {
            sandbox.run(["patch", "--write"]).expect(0);
        }
        sandbox.run(["bootstrap"]).expect(0);
        sandbox.run(["bootstrap", "--cluster", "berlin"]).expect(0);
        for args in [&["verify"][..], &["verify", "--cluster", "berlin"]] {
            let found = sandbox.run(args).expect(0).findings();
            let wrong = found.iter().filter(|finding| finding.starts_with("stray-file") || finding.starts_with("defined-twice"));
            assert_eq!(wrong.count(), 0, "{settings} {args:?} {found:?}");
        }
        // A file beside the sets is stray, and one that may hold values is kept.
        sandbox.write("sealed/notes/a.txt", b"milk\n");
        let unit = "secret-source/vllm-api-key.sealed.yaml";
        sandbox.write("sealed/old.yaml", sandbox.read(&format!("sealed/{unit}")).as_bytes());
        let stdout = sandbox.run(["verify"]).expect(0).stdout;
        assert_eq!(stdout.matches("warning[stray-file]: ").count(), 2, "{stdout}");
        for (file, help) in [("notes/a.txt", "remove it, unless it is yours; "), ("old.yaml", "it may hold sealed values: keep it, ")] {
            let told = format!("warning[stray-file]: sealed/{file}: the tool neither wrote nor reads it\n  help: {help}");
            assert!(stdout.contains(&told), "{stdout}");
        }
    }
}

#[test]
fn the_form_of_the_store_is_said_there_and_old_flags_are_told_how() {
    let sandbox = Sandbox::with_keys();
    let ran = sandbox.run(["bootstrap", "--isolation", "namespace"]);
    let told = "warning: the form of the store belongs in seal-secrets.yaml: write `store: { isolation: namespace }` there, and drop the flag; `seal-secrets init --help` says how it is made\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (0, told));
    let roles = sandbox.read("out/secret-source/rbac.yaml");
    assert!(roles.contains("eso-reader-n8n"));
    // The settings alone are enough: everything stays as it is.
    sandbox.set("store: { isolation: namespace }");
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("write  out/INSTALL.md (updated)\ndone: 0 values"));
    sandbox.run(["verify"]).expect(0);
    let ran = sandbox.run(["bootstrap", "--isolation", "shared"]).expect(2);
    let help = "error: `--isolation` is said by the settings only\nhelp: write `store: { isolation: shared }` into seal-secrets.yaml, and drop the flag\n";
    assert_eq!(ran.stderr, help);
    assert_eq!(sandbox.read("out/secret-source/rbac.yaml"), roles);
    for command in ["bootstrap", "plan", "verify", "patch", "import", "copy", "rotate"] {
        let help = sandbox.run([command, "--help"]).expect(0).stdout;
        assert!(
            !["--store-kind", "--isolation", "--rbac", "--store-file", "--project-id"].iter().any(|flag| help.contains(flag)),
            "{command}"
        );
    }
}

#[test]
fn a_command_line_with_flags_is_told_how_to_write_them_down() {
    let sandbox = with_platform(Sandbox::with_keys());
    let flags = ["--platform", "p", "--environment", "small", "--out", "p/sealed"];
    let note =
        "note   to type no flags any more, write them down once: `seal-secrets --out p/sealed --platform p --environment small init`\n";
    for begins in ["seal   ", "nothing to do\n"] {
        let ran = sandbox.run([&["bootstrap"][..], &flags].concat()).expect(0);
        assert!(ran.stdout.starts_with(begins) && ran.stdout.ends_with(note), "{}", ran.stdout);
    }
    sandbox.run(["--out", "p/sealed", "--platform", "p", "--environment", "small", "init"]).expect(0);
    let ran = sandbox.run(["bootstrap"]).expect(0);
    assert!(ran.stdout.contains("write  p/sealed/INSTALL.md (updated)\n") && !ran.stdout.contains("note   to type"), "{}", ran.stdout);
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do\n"));
    assert!(!sandbox.path("out").exists());
    // Without flags there is nothing to write down.
    assert!(!Sandbox::bootstrapped().run(["bootstrap"]).expect(0).stdout.contains("note   to type"));
}

#[test]
fn what_is_excluded_is_not_looked_at() {
    let sandbox = with_platform(Sandbox::with_keys());
    let consumer = fixture_text("fixtures/platform/apps/kserve/hf-token.yaml");
    sandbox.write("p/hack/x.yaml", consumer.replace("hf-token", "no-such-key").as_bytes());
    sandbox.write("p/apps/a/scaffold/x.yaml", b"kind: ExternalSecret\n\tbroken: x\n");
    let found = |exclude: &str| {
        sandbox.set(&format!("platform: p\nenvironment: prod\n{exclude}"));
        let ran = sandbox.run(["contract"]);
        ran.findings().into_iter().filter(|finding| finding.contains("hack") || finding.contains("scaffold")).collect::<Vec<_>>()
    };
    assert_eq!(found(""), ["unreadable p/apps/a/scaffold/x.yaml:2:1", "key-unknown p/hack/x.yaml:18:14"]);
    assert_eq!(found("exclude: [hack/]"), ["unreadable p/apps/a/scaffold/x.yaml:2:1"]);
    assert_eq!(found("exclude: [hack/, \"**/scaffold/**\"]"), Vec::<String>::new());
    assert_eq!(found("exclude: [\"hack/*\", \"!hack/x.yaml\"]").len(), 2);
    // Nor edited.
    sandbox.write("p/hack/x.yaml", consumer.as_bytes());
    let edited = |exclude: &str| {
        sandbox.set(&format!("platform: p\nenvironment: prod\nexclude: [{exclude}scaffold]"));
        sandbox.run(["patch"]).expect(0).stdout.contains("+++ b/hack/x.yaml")
    };
    assert!(edited("") && !edited("hack/, "));
    // Nor searched for sealed values: from the root of the checkout, from above it, and from inside.
    let sealed = fixture_text("fixtures/sealed/good.yaml");
    sandbox.write("p/hack/sealed.yaml", sealed.as_bytes());
    sandbox.write("p/apps/sealed.yaml", sealed.as_bytes());
    for (folder, all, less) in [("p", 2, 1), (".", 2, 1), ("p/hack", 1, 0), ("p/apps", 1, 1)] {
        for (exclude, count) in [("", all), ("hack/", less)] {
            sandbox.set(&format!("platform: p\nenvironment: prod\nexclude: [{exclude}]"));
            let said = sandbox.run(["status", folder]).expect(0).stdout;
            assert_eq!(said.matches("shop/cart").count(), count, "{folder} {exclude}: {said}");
        }
    }
}

#[test]
fn init_writes_what_a_checkout_needs_and_never_twice() {
    let sandbox = Sandbox::with_keys();
    copy_folder(&fixture("fixtures/platform"), &sandbox.path(""));
    std::fs::create_dir(sandbox.path(".git")).unwrap();
    let store = "apiVersion: external-secrets.io/v1\nkind: ClusterSecretStore\nmetadata:\n  name: secret-store\nspec: {provider: {gcpsm: {projectID: p-1}}}\n";
    sandbox.write("platform/config/clustersecretstore.yaml", store.as_bytes());
    let expected = "\
# yaml-language-server: $schema=.seal-secrets/settings.json
# Where seal-secrets works, and in which form. Every command looks for this file from its working directory upwards;
# paths are relative to it.
version: 1
platform: .
environment: prod
keys: keys
out: sealed
secrets: secrets
store:
  file: platform/config/clustersecretstore.yaml
  kind: ClusterSecretStore
gitops: argocd
";
    let ran = sandbox.run_from("apps/n8n", ["init"]).expect(0);
    assert_eq!(ran.stdout, format!("wrote ../../seal-secrets.yaml\n\n{expected}\nnext: seal-secrets bootstrap\n"));
    assert_eq!(sandbox.read("seal-secrets.yaml"), expected);
    for schema in ["settings", "contract"] {
        assert_eq!(
            sandbox.read(&format!(".seal-secrets/{schema}.json")),
            std::fs::read_to_string(fixture(&format!("../docs/schema/{schema}.json"))).unwrap()
        );
    }
    let before = sandbox.snapshot();
    let ran = sandbox.run(["init"]).expect(4);
    assert_eq!(ran.stderr, "error: seal-secrets.yaml: there are settings already\nhelp: edit it; or move it away, and run again\n");
    assert_eq!(before, sandbox.snapshot());
    // A store that is not ours is replaced only on purpose.
    let ran = sandbox.run(["bootstrap"]).expect(4);
    assert_eq!(
        ran.stderr,
        "error: not confirmed: replace the store in platform/config/clustersecretstore.yaml (provider `gcpsm`)\nhelp: run it at a terminal, or agree with `--yes`\n"
    );
    assert_eq!(before, sandbox.snapshot());
    // The file needs no edit: the whole way works.
    assert!(sandbox.run(["bootstrap", "--yes"]).expect(0).stdout.contains("write  platform/config/clustersecretstore.yaml (updated)\n"));
    sandbox.run(["patch", "--write"]).expect(0);
    let ran = sandbox.run(["verify"]).expect(0);
    assert!(ran.stdout.contains("good: "), "{}", ran.stdout);
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do\n"));
}

/// What `init` writes in other places: the folder it is started in, its flags, and lines of the file.
const PLACES: &[(&str, &[&str], &str, &[&str])] = &[
    ("", &["--platform", "p"], "seal-secrets.yaml", &["platform: p", "out: p/sealed", "keys: keys", "environment: prod"]),
    (
        "",
        &["--platform", "p", "--environment", "small", "--out", "p/o", "--isolation", "namespace"],
        "seal-secrets.yaml",
        &["environment: small", "out: p/o", "  isolation: namespace"],
    ),
    ("work", &["--platform", "../p"], "p/seal-secrets.yaml", &["platform: .", "out: sealed"]),
    ("work", &[], "work/seal-secrets.yaml", &["out: out", "keys: keys"]),
    ("own", &[], "own/seal-secrets.yaml", &["keys: keys", "out: out", "secrets: secrets"]),
    // Without `--platform`, the surrounding checkout counts.
    ("p", &["--environment", "small"], "p/seal-secrets.yaml", &["platform: .", "environment: small"]),
    ("taken", &[], "taken/seal-secrets.yaml", &["keys: seal-secrets/keys", "out: out", "secrets: seal-secrets/secrets"]),
];

#[test]
fn init_says_what_the_place_and_the_flags_say() {
    for (folder, flags, file, lines) in PLACES {
        let sandbox = with_platform(Sandbox::empty());
        std::fs::create_dir_all(sandbox.path("work/.git")).unwrap();
        sandbox.write("taken/keys/of-a-piano.txt", b"88\n");
        sandbox.write("taken/secrets", b"a plain file\n");
        sandbox.write("own/keys/sealing.crt", b"x\n");
        sandbox.write("own/secrets/dex-admin-password", b"x\n");
        sandbox.write("own/secrets/.gitignore", b"*\n");
        let ran = sandbox.run_from(folder, [&["init"], *flags].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        let text = sandbox.read(file);
        for line in *lines {
            assert!(text.lines().any(|there| there == *line), "{folder} {flags:?}: {line}\n{text}");
        }
        assert_eq!(
            ran.stdout.contains("next: cd ../p && seal-secrets keygen"),
            *folder == "work" && file.starts_with("p/"),
            "{}",
            ran.stdout
        );
        // Each file can be read, and works.
        if *folder == "taken" {
            sandbox.make_key_from("taken", ["keygen"]).expect(0);
            sandbox.run_from("taken", ["bootstrap"]).expect(0);
            assert!(sandbox.path("taken/seal-secrets/secrets/dex-admin-password").exists());
        }
        let there = file.trim_end_matches("seal-secrets.yaml");
        let ran = sandbox.run_from(there, ["contract"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let sandbox = with_platform(Sandbox::empty());
    std::fs::create_dir_all(sandbox.path("p/.git")).unwrap();
    let ran = sandbox.run_from("p", ["init", "--keys", "../keys"]).expect(2);
    assert!(ran.stderr.starts_with("error: seal-secrets.yaml: `--keys` leads out of the checkout\n"), "{}", ran.stderr);
    sandbox.run(["init", "--platform", "nowhere"]).expect(3);
    sandbox.run(["init", "--cluster", "a"]).expect(2);
    sandbox.run(["init", "--project-id", "p-1"]).expect(2);
    sandbox.run(["init", "--settings", "other.yaml"]).expect(2);
    assert!(!sandbox.path("seal-secrets.yaml").exists() && !sandbox.path("p/seal-secrets.yaml").exists());
}

/// A store of the checkout: kind, provider, the rest of its file; what ExternalSecrets refer to; the lines below `store:`; the notes.
type StoreRow = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const STORES: &[StoreRow] = &[
    ("ClusterSecretStore", "{gcpsm: {projectID: p-1}}", "", "", &["file: x.yaml", "kind: ClusterSecretStore"], &[]),
    (
        "ClusterSecretStore",
        "{gcpsm: {projectID: p-1}}",
        "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: eso}\n",
        "",
        &["kind: ClusterSecretStore"],
        &[
            "note: x.yaml holds more than stores, so the settings do not say `store.file`: move the store into a file of its own, then set `store.file` to that",
        ],
    ),
    (
        "ClusterSecretStore",
        "{kubernetes: {remoteNamespace: secret-source, auth: {serviceAccount: {name: eso-reader, namespace: external-secrets}}}}",
        "",
        "",
        &["file: x.yaml", "kind: ClusterSecretStore"],
        &[],
    ),
    (
        "ClusterSecretStore",
        "{kubernetes: {remoteNamespace: vault, auth: {serviceAccount: {name: reader, namespace: eso}}}}",
        "",
        "",
        &["file: x.yaml", "kind: ClusterSecretStore"],
        &[
            "note: the contract says the account `external-secrets/eso-reader`, and the store in x.yaml `eso/reader`: if the store is right, pass a contract of your own with `contract:`",
            "note: the contract says the namespace `secret-source`, and the store in x.yaml `vault`: if the store is right, pass a contract of your own with `contract:`",
        ],
    ),
    ("SecretStore", "{gcpsm: {projectID: p-1}}", "", "SecretStore", &["kind: SecretStore"], &[]),
    ("SecretStore", "{gcpsm: {projectID: p-1}}", "", "ClusterSecretStore", &[], &[]),
];

#[test]
fn init_takes_over_only_a_store_that_it_can_keep() {
    for (kind, provider, more, refers, lines, notes) in STORES {
        let sandbox = Sandbox::empty();
        std::fs::create_dir(sandbox.path(".git")).unwrap();
        let store = format!(
            "apiVersion: external-secrets.io/v1\nkind: {kind}\nmetadata: {{name: secret-store, namespace: n}}\nspec: {{provider: {provider}}}\n{more}"
        );
        sandbox.write("x.yaml", store.as_bytes());
        let refers = if refers.is_empty() { kind } else { refers };
        let secret = format!(
            "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {{name: a, namespace: n}}\nspec:\n  secretStoreRef: {{kind: {refers}, name: secret-store}}\n  data:\n    - {{secretKey: A, remoteRef: {{key: hf-token}}}}\n"
        );
        sandbox.write("a.yaml", secret.as_bytes());
        let stdout = sandbox.run(["init"]).expect(0).stdout;
        let text = sandbox.read("seal-secrets.yaml");
        let below: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        let told: Vec<&str> = stdout.lines().filter(|line| line.starts_with("note: ")).collect();
        assert_eq!((below, told), (lines.to_vec(), notes.to_vec()), "{kind} {provider} {more}");
        sandbox.run(["contract"]).expect(0);
    }
}

#[test]
fn init_leaves_the_choice_between_environments_and_refuses_one_that_is_not_there() {
    let sandbox = Sandbox::empty();
    std::fs::create_dir(sandbox.path(".git")).unwrap();
    copy_folder(&fixture("fixtures/platform"), &sandbox.path(""));
    std::fs::rename(sandbox.path("environments/prod"), sandbox.path("environments/big")).unwrap();
    let ran = sandbox.run(["init", "--environment", "bgi"]).expect(2);
    assert!(ran.stderr.starts_with("error: the platform has no such environment\nhelp: pass one of `big`, "), "{}", ran.stderr);
    assert!(!sandbox.path("seal-secrets.yaml").exists());
    let stdout = sandbox.run(["init"]).expect(0).stdout;
    let next = "\nnext: set `environment:` in seal-secrets.yaml (one of big, small), then seal-secrets keygen && seal-secrets bootstrap\n";
    assert!(stdout.ends_with(next), "{stdout}");
    // A wrong environment in the settings is reported there.
    let text = sandbox.read("seal-secrets.yaml").replace("keys: keys", "environment: bgi\nkeys: keys");
    sandbox.write("seal-secrets.yaml", text.as_bytes());
    let ran = sandbox.run(["contract"]).expect(3);
    assert_eq!(
        ran.stderr,
        "error: seal-secrets.yaml: the platform has no such environment\nhelp: pass one of `big`, `small` with `environment:`\n"
    );
    let ran = sandbox.run(["contract", "--environment", "bgi"]).expect(2);
    assert!(ran.stderr.ends_with("help: pass one of `big`, `small` with `--environment`\n"), "{}", ran.stderr);
    // Without these settings, the flag needs a platform.
    sandbox.remove("seal-secrets.yaml");
    let ran = sandbox.run(["contract", "--environment", "big"]).expect(2);
    assert!(ran.stderr.starts_with("error: `--environment` says something of a platform that is not named\n"), "{}", ran.stderr);
}

#[test]
fn a_command_is_one_word_with_settings() {
    let sandbox = with_platform(Sandbox::with_keys());
    sandbox.set("platform: p\nenvironment: prod\nout: p/sealed");
    sandbox.run(["bootstrap"]).expect(0);
    let long = Sandbox::copy(&sandbox);
    long.set("");
    sandbox.run(["patch", "--write"]).expect(0);
    let short = sandbox.run(["verify"]).expect(0).stdout;
    let flags = [&["--out", "p/sealed"][..], &PROD].concat();
    long.run([&["bootstrap"], &flags[..]].concat()).expect(0);
    long.run([&["patch", "--write"], &flags[..]].concat()).expect(0);
    let with_flags = long.run([&["verify"], &flags[..]].concat()).expect(0).stdout;
    assert_eq!(with_flags.replace("seal-secrets --out p/sealed --platform p --environment prod ", "seal-secrets "), short);
}

#[test]
fn who_writes_it_decides_neither_whom_to_trust_nor_where_a_secret_goes() {
    let sandbox = Sandbox::bootstrapped();
    // Another keys folder, with a certificate that was never accepted.
    sandbox.write("theirs/sealing.crt", fixture_text("fixtures/certificates/good-3072.crt").as_bytes());
    sandbox.set("keys: theirs\nout: theirs/out\nsecrets: theirs/secrets");
    let before = sandbox.snapshot();
    let ran = sandbox.run_with_input(["bootstrap", "--allow-rsa-bits", "3072", "--provide", "hf-token=-"], b"hf_0123456789").expect(4);
    assert!(ran.stderr.contains("this certificate was not yet accepted on this machine"), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
    // Copies go where git ignores them, or nowhere.
    std::fs::create_dir_all(sandbox.path(".git")).unwrap();
    sandbox.write("shown/.gitignore", b"*.tmp\n");
    sandbox.set("secrets: shown");
    let before = sandbox.snapshot();
    let ran = sandbox.run(["rotate", "dex-admin-password", "--yes"]).expect(4);
    assert!(ran.stderr.contains("a git repository that does not ignore it"), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
}

#[cfg(feature = "cluster")]
#[test]
fn the_private_key_goes_only_where_the_command_line_says() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.set("context: theirs\ncontroller: { namespace: theirs }");
    let ran = sandbox.run(["key-secret", "--apply"]).expect(2);
    assert!(ran.stderr.contains("`--context"), "{}", ran.stderr);
    let ran = sandbox.run(["key-secret", "--apply", "--context", "mine"]).expect(2);
    let expected = "error: the private key is handed out, and settings cannot say to which namespace\nhelp: if the controller runs in `theirs`, pass `--controller-namespace theirs`\n";
    assert_eq!(ran.stderr, expected);
    assert_eq!(sandbox.run(["key-secret"]).expect(2).stderr, expected);
    assert!(sandbox.run(["key-secret", "--controller-namespace", "mine"]).expect(0).stdout.contains("namespace: mine"));
    sandbox.run(["bootstrap"]).expect(0);
    let command =
        "seal-secrets --settings ../seal-secrets.yaml key-secret --apply --context \"${CONTEXT:?}\" --controller-namespace theirs\n";
    assert!(sandbox.read("out/INSTALL.md").contains(command), "{}", sandbox.read("out/INSTALL.md"));
    // The settings' context is a default for commands that hand out nothing, and is shown before the first request.
    let ran = sandbox.start(["doctor"]);
    assert!(ran.stderr.contains("theirs") || ran.stderr.contains("kubeconfig"), "{}", ran.stderr);
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// Every field that a schema knows, by path.
fn fields(schema: &Value, at: &str, found: &mut BTreeMap<String, bool>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let required = schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
        found.insert(format!("{at}.{name}"), required);
        fields(field, &format!("{at}.{name}"), found);
    }
    schema["oneOf"].as_array().into_iter().flatten().for_each(|one| fields(one, at, found));
    for below in ["items", "additionalProperties"].into_iter().filter_map(|below| schema.get(below)) {
        fields(below, at, found);
    }
}

const ALL_SETTINGS: &str = "version: 1\nplatform: p\nenvironment: e\ncontract: c\nkeys: k\nout: o\nsecrets: s\nexclude: [a]\ndefault-namespace: ns\nignore: [few-recipients]\nstore: {kind: SecretStore, isolation: namespace, rbac: namespace, file: f.yaml, project-id: x}\ncontroller: {namespace: ns, name: c}\ngitops: flux\ncontext: c\nclusters: {a: {environment: e, context: c, keys: k, out: o, secrets: s}}\n";

const ALL_OF_A_CONTRACT: &str = "version: 1\nstore: s\nnamespace: ns\nreader: {name: r, namespace: e}\nignored: [a]\nkeys:\n- {name: a, about: x, recipe: {hex: {bytes: 32, prefix: sk-}}, when: features.x, write-once: true, after-rotation: x}\n- {name: b, about: x, recipe: {base64url: {bytes: 32}}, operator-copy: true, unit: u}\n- {name: c, about: x, recipe: {alphanumeric: {length: 32}}}\n- {name: d, about: x, recipe: {bcrypt: {of: b, cost: 10}}}\n- {name: e, about: x, recipe: {provided: {pattern: x, hint: here}}}\nconsumers:\n- {name: x, namespace: ns, target: t, data: [{secretKey: A, key: a}]}\n";

const ALL_OF_A_SECOND: &str = "version: 2\nstore: s\nnamespace: ns\nreader: {name: r, namespace: e}\nignored: [a]\nlabels: {l: x}\nannotations: {l: x}\nimmutable: true\nmanaged: true\nsecrets:\n- name: a\n  about: x\n  type: x/y\n  when: features.x\n  write-once: true\n  operator-copy: [k1]\n  unit: u\n  after-rotation: {note: x, restart: [{deployment: d, namespace: ns}, {statefulset: d, namespace: ns}, {daemonset: d, namespace: ns}]}\n  values:\n    k1: {hex: {bytes: 32, prefix: sk-}}\n    k2: {base64: {bytes: 32}}\n    k3: {base64url: {bytes: 32}}\n    k4: {alphanumeric: {length: 32}}\n    k5: {password: {length: 32, classes: [lower, upper], without: abc}}\n    k6: {uuid: {}}\n    k7: {bcrypt: {of: k4, cost: 10, version: 2y}}\n    k8: {htpasswd: {user: u, of: k4, cost: 10}}\n    k9: {argon2id: {of: k4, memory: 65536, iterations: 3, parallelism: 4}}\n    k10: {key-pair: {algorithm: p256, format: pem, public: k11}}\n    k12: {ssh-key: {algorithm: ed25519, public: k13}}\n    k14: {tls: {names: [a.b], days: 9, algorithm: p256, authority: false, crt: k15, ca: k16}}\n    k17: {dockerconfigjson: {registry: r, user: u, of: k4}}\n    k18: {template: \"{k4}\", escape: url}\n    k19: {plain: x}\n    k20: {provided: {pattern: x, hint: here, lines: true}}\n- {name: b, about: x, recipe: {tls: {days: 9, authority: true}}}\n- {name: c, about: x, recipe: {tls: {days: 9, names: [a.b], issued-by: b}}}\nconsumers:\n- {name: x, namespace: ns, target: t, extract: [a], data: [{secretKey: A, key: a, property: k1}]}\n";

#[test]
fn the_schemas_and_the_readers_know_the_same_fields() {
    use seal_secrets::manifest::{contract_file, schema, settings_file};
    /// Whether a text can be read.
    type Reads = fn(&str) -> bool;
    let reads_contract: Reads = |text| contract_file::read("c", text).is_ok();
    let readers: [(&str, String, Option<usize>, &str, Reads); 3] = [
        ("settings", schema::settings(), None, ALL_SETTINGS, |text| settings_file::read(text).is_ok()),
        ("contract", schema::contract(), Some(0), ALL_OF_A_CONTRACT, reads_contract),
        ("contract", schema::contract(), Some(1), ALL_OF_A_SECOND, reads_contract),
    ];
    for (name, text, part, all, reads) in readers {
        let path = fixture(&format!("../docs/schema/{name}.json"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "`make bless` renews {}", path.display());
        let schema: Value = serde_json::from_str(&text).unwrap();
        let whole = yaml(all);
        assert_eq!(check(&schema, &whole, ""), Ok(()), "{name}");
        let schema = part.map_or(schema.clone(), |part| schema["oneOf"][part].clone());
        assert_eq!((check(&schema, &whole, ""), reads(all)), (Ok(()), true), "{name}");
        // Each field of the schema is in the text, and each one in the text is known to both.
        let mut known = BTreeMap::new();
        fields(&schema, "", &mut known);
        for path in known.keys() {
            let last = path.rsplit('.').next().unwrap();
            assert!(all.contains(&format!("{last}:")), "{name}: {path} is not tried");
            let misspelt = all.replacen(&format!("{last}:"), &format!("{last}x:"), 1);
            assert!(!reads(&misspelt) && check(&schema, &yaml(&misspelt), "").is_err(), "{name}: {misspelt}");
        }
    }
    let contract: Value = serde_json::from_str(&schema::contract()).unwrap();
    for text in [contract_file::EMBEDDED.to_owned(), fixture_text("fixtures/contracts/small.yaml")] {
        assert_eq!(check(&contract, &yaml(&text), ""), Ok(()));
    }
}

#[test]
fn a_contract_says_where_its_schema_is() {
    let sandbox = Sandbox::empty();
    let text = sandbox.run(["contract", "--format", "yaml"]).expect(0).stdout;
    assert!(text.starts_with("# yaml-language-server: $schema=.seal-secrets/contract.json\n"), "{text}");
    sandbox.write("c.yaml", text.as_bytes());
    let again = sandbox.run(["contract", "--format", "yaml", "--contract", "c.yaml"]).expect(0).stdout;
    assert_eq!(again, text);
}

#[test]
fn keys_and_output_do_not_share_a_folder() {
    let sandbox = Sandbox::with_keys();
    for (settings, flags) in [("keys: k\nout: k", &[][..]), ("", &["--out", "keys"]), ("", &["--keys", "a/b", "--out", "a/./b/"])] {
        sandbox.set(settings);
        let before = sandbox.snapshot();
        let ran = sandbox.run([&["bootstrap"], flags].concat()).expect(2);
        assert!(ran.stderr.contains("keys folder and output folder are the same"), "{}", ran.stderr);
        assert_eq!(before, sandbox.snapshot());
    }
}

#[test]
fn settings_that_git_tracks_and_that_are_gone_are_restored_and_not_forgotten() {
    crate::common::needs!("git");
    let sandbox = set("out: sealed");
    std::fs::remove_dir(sandbox.path(".git")).unwrap();
    crate::common::git(&sandbox, &["init", "-q", "."]);
    crate::common::git(&sandbox, &["add", "seal-secrets.yaml"]);
    sandbox.run(["bootstrap"]).expect(0);
    sandbox.remove("seal-secrets.yaml");
    let before = sandbox.snapshot();
    for (folder, up) in [("", ""), ("deep/er", "../../")] {
        let ran = sandbox.run_from(folder, ["bootstrap"]).expect(3);
        let file = format!("{up}seal-secrets.yaml");
        let help = format!("git tracks it: `git checkout -- {file}`; if it was removed on purpose, `git rm --cached {file}`");
        assert_eq!(ran.stderr, format!("error: {file}: no such file\nhelp: {help}\n"));
    }
    assert_eq!(before, sandbox.snapshot());
    crate::common::git(&sandbox, &["checkout", "--", "seal-secrets.yaml"]);
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do\n"));
}

#[test]
fn without_settings_the_runbooks_commands_work_from_its_folder() {
    for flags in [&[][..], &["--keys", "keys", "--secrets", "se c"]] {
        let sandbox = Sandbox::bootstrapped();
        sandbox.run([&["bootstrap"], flags].concat()).expect(0);
        sandbox.write_secret("hf", b"hf_0123456789");
        let runbook = sandbox.read("out/INSTALL.md");
        let command = runbook.split('`').find(|part| part.ends_with(" bootstrap --provide KEY=FILE")).unwrap();
        let command = command.strip_prefix("seal-secrets ").unwrap().replace("KEY=FILE", "hf-token=../hf");
        let words: Vec<String> = command.replace("'../se c'", "../se?c").split(' ').map(|word| word.replace('?', " ")).collect();
        let ran = sandbox.run_from("out", words).expect(0);
        assert!(
            ran.stdout.contains("seal   ./secret-source/hf-token.sealed.yaml (provided)\n")
                || ran.stdout.contains("hf-token.sealed.yaml (provided)"),
            "{}",
            ran.stdout
        );
        assert!(sandbox.run([&["bootstrap"], flags].concat()).expect(0).stdout.starts_with("nothing to do\n"));
    }
}
