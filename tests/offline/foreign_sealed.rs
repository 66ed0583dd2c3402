//! Sealed values in others' files, in the forms that public repositories have: each is handled, or reported with its position.

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use regex::Regex;
use seal_secrets::pipeline::pem;
use serde_json::Value;

use crate::common::{OWN_KEY, Sandbox, fixture_text};

/// A value that kubeseal sealed: its namespace, name, scope and blob; the value is `x`.
struct Sealed {
    namespace: String,
    name: String,
    blob: String,
}

/// The key that opens them, and one value of each scope.
fn sealed() -> (String, impl Fn(&str) -> Sealed) {
    let vectors: Value = serde_json::from_str(&fixture_text("vectors/sealed.json")).unwrap();
    let der = BASE64_STANDARD.decode(vectors["keys"]["a-4096"]["private_key_pkcs8_der_base64"].as_str().unwrap()).unwrap();
    let of = move |scope: &str| {
        let is = |case: &&Value| case["key"] == "a-4096" && case["scope"] == scope && case["plaintext"] == "eA==";
        let case = vectors["cases"].as_array().unwrap().iter().find(is).unwrap();
        let field = |name: &str| case[name].as_str().unwrap().to_owned();
        Sealed { namespace: field("namespace"), name: field("name"), blob: field("blob") }
    };
    (pem::write("PRIVATE KEY", &der).to_string(), of)
}

/// The blob in lines of 76 characters, each indented by this many.
fn wrapped(blob: &str, indent: usize) -> String {
    let lines: Vec<&str> = blob.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

/// `@` stands for the blob, `^` for its name, `$` for its namespace, `~` for the blob in lines that are indented by six.
fn filled(shape: &str, sealed: &Sealed) -> String {
    let text = shape.replace('$', &sealed.namespace).replace('^', &sealed.name);
    text.replace('@', &sealed.blob).replace('~', &wrapped(&sealed.blob, 6))
}

const HEAD: &str = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: ^\n  namespace: $\n";
const WIDE: &str = "  annotations: {sealedsecrets.bitnami.com/namespace-wide: \"true\"}\n";
const ONE: &str =
    "{apiVersion: bitnami.com/v1alpha1, kind: SealedSecret, metadata: {name: ^, namespace: $}, spec: {encryptedData: {k: \"@\"}}}";

/// What it is; its text; the scope; how many values stand in it; the flags it takes.
type Shape = (&'static str, String, &'static str, usize, &'static [&'static str]);

/// Every shape whose values can be handled.
fn shapes() -> Vec<Shape> {
    let own = |name, tail: &str| (name, format!("{HEAD}{tail}"), "strict", 1, &[][..]);
    let text = |name, text: &str, count| (name, text.to_owned(), "strict", count, &[][..]);
    let nested = ONE.replace('"', "\\\"");
    vec![
        own(
            "template-data-null",
            "spec:\n  encryptedData:\n    k: @\n  template:\n    data: null\n    metadata: {name: ^, namespace: $}\n    type: Opaque\n",
        ),
        own("blob-in-block-scalar", "spec:\n  encryptedData:\n    k: |\n      @\n"),
        own("blob-in-block-scalar-that-keeps-its-line-feeds", "spec:\n  encryptedData:\n    k: |+\n      @\n\n"),
        own("blob-in-wrapped-block-scalar", "spec:\n  encryptedData:\n    k: |\n      ~\n"),
        own("labels-null", "  labels:\n  annotations:\nspec:\n  encryptedData:\n    k: @\n"),
        own("spec-data-null", "  creationTimestamp: null\nspec:\n  data: null\n  encryptedData:\n    k: @\nstatus: {}\n"),
        own(
            "template-with-kind",
            "spec:\n  encryptedData:\n    k: @\n  template:\n    apiVersion: v1\n    kind: Secret\n    type: Opaque\n",
        ),
        own("template-with-data", "spec:\n  encryptedData:\n    k: @\n  template:\n    data:\n      db.ini: \"password={{ .k }}\"\n"),
        own(
            "template-with-immutable-as-text",
            "spec:\n  encryptedData:\n    k: @\n  template: {immutable: true, metadata: {labels: {a: 1}}}\n",
        ),
        text("anchored-labels", &format!("x: &l {{app: shop}}\n---\n{}", ONE.replace("{name:", "{labels: &l {a: b}, name:")), 1),
        own("template-with-a-merge-key", "spec:\n  encryptedData:\n    k: @\n  template: {metadata: {labels: {<<: {a: b}}}}\n"),
        text("list", &format!("apiVersion: v1\nkind: List\nitems:\n- {ONE}\n- kind: ConfigMap\n"), 1),
        text(
            "sealed-secret-list-without-kinds",
            "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecretList\nitems:\n- metadata: {name: ^, namespace: $}\n  spec: {encryptedData: {k: @}}\n",
            1,
        ),
        text("mixed-documents", &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop}}\n---\n{ONE}\n---\n# end\n"), 1),
        text("beside-a-broken-document", &format!("a: [\n---\n{ONE}\n---\nb: {{{{ x }}}}\n"), 1),
        text("beside-a-duplicate-label", &format!("kind: Service\nmetadata: {{labels: {{a: b, a: b}}}}\n---\n{ONE}\n"), 1),
        text("extra-objects-in-helm-values", &format!("replicas: 1\nextraObjects:\n  - {ONE}\n  - |\n    {ONE}\n"), 2),
        text(
            "argo-cd-values-object",
            &format!("kind: Application\nspec:\n  source:\n    helm:\n      valuesObject:\n        extraObjects: [{ONE}]\n"),
            1,
        ),
        text(
            "argo-cd-values-text",
            &format!(
                "kind: Application\nspec:\n  source:\n    helm:\n      values: |\n        # ü\n        extraObjects:\n          - {ONE}\n"
            ),
            1,
        ),
        text(
            "argo-cd-values-text-folded-and-quoted",
            &format!("kind: Application\nspec: {{source: {{helm: {{values: \"extraObjects:\\n- {nested}\\n\"}}}}}}\n"),
            1,
        ),
        text("flux-helm-release", &format!("kind: HelmRelease\nspec:\n  values:\n    extraDeploy:\n      - {ONE}\n"), 1),
        text("config-map-with-a-manifest", &format!("kind: ConfigMap\ndata:\n  secret.yaml: |-\n    {ONE}\n"), 1),
        text(
            "text-in-text",
            &format!("kind: ConfigMap\ndata:\n  app.yaml: |\n    spec:\n      values: |\n        x:\n          - {ONE}\n"),
            1,
        ),
        text(
            "kyverno-generates-it",
            "kind: ClusterPolicy\nspec:\n  rules:\n    - generate:\n        kind: SealedSecret\n        name: ^\n        namespace: $\n        data: {spec: {encryptedData: {k: @}}, metadata: {name: ^, namespace: $}}\n",
            1,
        ),
        text("patch-in-a-kustomization", &format!("kind: Kustomization\npatches:\n  - patch: |-\n      {ONE}\n"), 1),
        text(
            "last-applied-beside-it",
            &format!(
                "{}\n",
                ONE.replace(
                    "metadata: {",
                    &format!(
                        "metadata: {{annotations: {{kubectl.kubernetes.io/last-applied-configuration: '{}'}}, ",
                        ONE.replace("{k: \"@\"}", "{k: @}")
                    )
                )
            ),
            2,
        ),
        text("raw-in-values-beside-its-name", "db:\n  namespace: $\n  secret:\n    name: ^\n    password: @\n", 1),
        text("raw-in-values-below-its-name", "global: {namespace: $}\nsealed:\n  ^:\n    password: '@'\n    other: \"@\"\n", 2),
        text("raw-in-a-helm-release", "kind: HelmRelease\nmetadata: {name: ^, namespace: $}\nspec:\n  values:\n    sealedPassword: @\n", 1),
        text(
            "raw-in-an-application",
            "kind: Application\nmetadata: {name: ^, namespace: argocd}\nspec:\n  destination: {namespace: $}\n  source:\n    helm:\n      parameters:\n        - name: sealed.password\n          value: @\n",
            1,
        ),
        text("raw-in-a-text-that-is-a-template", "metadata: {name: ^, namespace: $}\nvalues: |\n  a: {{ x }}\n  password: @\n", 1),
        text("raw-among-other-words", "metadata: {name: ^, namespace: $}\nargs: [\"--set=password=@,a=b\"]\n", 1),
        text("raw-in-a-block-scalar", "metadata: {name: ^, namespace: $}\nsealed: |\n      ~\n", 1),
        text("raw-in-a-list", "namespace: $\nname: ^\nsealed:\n  - @\n", 1),
        ("raw-with-flags", "password: @\n".to_owned(), "strict", 1, &["--name", "app", "--namespace", "default"]),
        ("raw-with-a-namespace", "namespace: $\npassword: @\n".to_owned(), "namespace-wide", 1, &[]),
        ("raw-for-the-cluster", "password: @\n".to_owned(), "cluster-wide", 1, &[]),
        ("raw-for-the-cluster-with-its-scope", "password: @\n".to_owned(), "cluster-wide", 1, &["--scope", "cluster-wide"]),
        ("without-a-namespace-but-a-flag", ONE.replace(", namespace: $", ""), "strict", 1, &["--namespace", "default"]),
        (
            "namespace-wide-without-a-namespace",
            format!("{}spec: {{encryptedData: {{k: @}}}}\n", format!("{HEAD}{WIDE}").replace("  namespace: $\n", "")),
            "namespace-wide",
            1,
            &["--namespace", "secret-source"],
        ),
        ("another-namespace-than-it-says", ONE.replace("namespace: $", "namespace: base"), "strict", 1, &["--namespace", "default"]),
    ]
}

fn with_both_keys() -> (Sandbox, impl Fn(&str) -> Sealed) {
    let (key, of) = sealed();
    let sandbox = Sandbox::with_keys();
    sandbox.write_secret("old.pem", key.as_bytes());
    sandbox.write_secret("new.pem", fixture_text(OWN_KEY).as_bytes());
    (sandbox, of)
}

/// The text with every sealed value replaced by a word, however it is broken into lines.
fn without_blobs(text: &str) -> String {
    static BLOB: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(Ag[A-D]|AQ[A-D])[A-Za-z0-9+/=]{60,}(\s+[A-Za-z0-9+/=]{20,}\b=*)*").unwrap());
    BLOB.replace_all(text, "BLOB").into_owned()
}

#[test]
fn every_shape_is_re_encrypted_and_opens_to_the_same() {
    let (sandbox, of) = with_both_keys();
    for (name, shape, scope, count, flags) in shapes() {
        let before = filled(&shape, &of(scope));
        for (form, before) in [("as it is", before.clone()), ("with CRLF and a mark", format!("\u{feff}{}", before.replace('\n', "\r\n")))]
        {
            let what = format!("{name}, {form}");
            sandbox.write("git/a.yaml", before.as_bytes());
            let opened = |key: &str| {
                let ran = sandbox.run([&["unseal", "-f", "git/a.yaml", "-o", "json", "--recovery-private-key", key], flags].concat());
                assert_eq!(ran.code, 0, "{what}: {}\n{before}", ran.stderr);
                assert_eq!(ran.stdout.matches("\"eA==\"").count(), count, "{what}: {}", ran.stdout);
                let warned = match name {
                    "template-with-data" => "the controller renders more data from its template; only the sealed keys are printed",
                    "template-with-a-merge-key" => "a YAML alias or merge key hides a part of its template",
                    _ => "",
                };
                assert_eq!(ran.stderr.is_empty(), warned.is_empty(), "{what}: {}", ran.stderr);
                assert!(ran.stderr.contains(warned), "{what}: {}", ran.stderr);
            };
            opened("old.pem");
            let ran = sandbox.run([&["re-encrypt", "git", "--recovery-private-key", "old.pem,new.pem", "--yes"], flags].concat());
            let shown = format!("{what}: {}{}\n{before}", ran.stdout, ran.stderr);
            // What cannot be read has no sealed values.
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{shown}");
            assert_eq!(ran.stdout.matches("re-encrypt git/a.yaml: ").count(), count, "{shown}");
            let after = sandbox.read("git/a.yaml");
            assert_eq!(without_blobs(&before), without_blobs(&after), "{what}");
            assert!(!after.contains(&of(scope).blob[..60]), "{what}");
            opened("new.pem");
        }
    }
}

#[test]
fn what_is_not_handled_is_reported_with_its_place_and_stays() {
    let (sandbox, of) = with_both_keys();
    let name_the_name = "pass the `--name`, `--namespace` and `--scope` that it was sealed for";
    for (name, shape, place, says) in [
        ("blob-folded-with-spaces", format!("{HEAD}spec:\n  encryptedData:\n    k: >-\n      ~\n"), "9:7", "it has white space inside"),
        ("raw-folded-with-spaces", "name: ^\nnamespace: $\nk: >-\n      ~\n".to_owned(), "4:7", "it has white space inside"),
        ("raw-without-a-name", "a: 1\nsealed: {k: @}\n".to_owned(), "2:13", name_the_name),
        ("raw-in-a-text-without-a-name", "data:\n  x: |\n    b:\n      c: @\n".to_owned(), "4:10", name_the_name),
        ("without-a-namespace", ONE.replace(", namespace: $", ""), "1:105", "add `metadata.namespace`"),
        ("a-document-that-is-a-template", format!("a: {{{{ x }}}}\n{ONE}\n"), "1:4", "template"),
        ("a-document-that-is-jinja", format!("{{% if x %}}\n{ONE}\n{{% endif %}}\n"), "1:1", "template"),
        ("a-broken-document", format!("a: [\n{ONE}\n"), "1:4", "not closed"),
        ("a-duplicate-field", "k: @\nk: @\n".to_owned(), "2:1", "appears twice"),
        (
            "a-value-in-an-expression",
            format!("{HEAD}spec:\n  encryptedData:\n    k: '{{{{ .Values.x | default \"@\" }}}}'\n"),
            "8:8",
            "template",
        ),
        ("plaintext", format!("{HEAD}spec: {{encryptedData: {{k: hunter2}}}}\n# @\n"), "6:27", "it may be plaintext"),
        ("an-anchor-that-is-repeated", format!("{HEAD}spec: {{encryptedData: {{k: &x @, l: *x}}}}\n"), "6:743", "YAML alias"),
        ("an-old-format", format!("{HEAD}spec: {{data: @}}\n"), "6:14", "the format before v0.2"),
    ] {
        let before = filled(&shape, &of("strict"));
        sandbox.write("git/a.yaml", before.as_bytes());
        let ran = sandbox.run(["re-encrypt", "git", "--recovery-private-key", "old.pem,new.pem", "--yes"]);
        let shown = format!("{name}: {}{}\n{before}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, 1, "{shown}");
        assert!(ran.stderr.contains(&format!("failed: git/a.yaml:{place}")) && ran.stderr.contains(says), "{shown}");
        assert_eq!(before, sandbox.read("git/a.yaml"), "{name}");
        let ran = sandbox.run(["unseal", "-f", "git/a.yaml", "--recovery-private-key", "old.pem"]);
        assert!(ran.code != 0 && ran.stdout.is_empty(), "{name}: {}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn a_kustomization_says_the_namespace() {
    let (sandbox, of) = with_both_keys();
    let args = ["--recovery-private-key", "old.pem,new.pem", "--dry-run"];
    let text = filled(&ONE.replace(", namespace: $", ""), &of("strict"));
    sandbox.write("git/base/a.yaml", text.as_bytes());
    sandbox.write("git/overlay/kustomization.yaml", b"namespace: default\nresources: [../base]\n");
    let ran = sandbox.run([&["re-encrypt", "git"], &args[..]].concat()).expect(0);
    assert!(ran.stdout.contains("re-encrypt git/base/a.yaml: default/app"), "{}", ran.stdout);
    // A kustomization beside one of the files, not among them.
    sandbox.write("git/base/Kustomization", b"namespace: default\n");
    sandbox.run([&["re-encrypt", "git/base/a.yaml"], &args[..]].concat()).expect(0);
    assert!(sandbox.run(["unseal", "-f", "git/base/a.yaml", "--recovery-private-key", "old.pem"]).expect(0).stdout.contains("eA=="));
    sandbox.write("git/base/Kustomization", b"namespace: [\n");
    sandbox.run([&["re-encrypt", "git/base/a.yaml"], &args[..]].concat()).expect(1);
}

#[test]
fn no_key_is_called_unneeded_while_a_value_is_not_attributed() {
    let sandbox = Sandbox::renewed();
    // The escrow's first key is older than everything in the output folder.
    let old = Sandbox::bootstrapped().read("out/secret-source/vllm-api-key.sealed.yaml");
    let blob = old.lines().find_map(|line| line.strip_prefix("    value: ")).unwrap();
    let needed = |flags: &[&str]| {
        let ran = sandbox.run([&["status", "git", "--identity", "keys/operator.agekey", "--json"], flags].concat());
        let status: Value = serde_json::from_str(&ran.stdout).unwrap();
        (ran.code, status["escrow"].as_array().unwrap().iter().map(|key| key["needed"].as_bool()).collect::<Vec<_>>())
    };
    let named = ["--name", "vllm-api-key", "--namespace", "secret-source"];
    for (name, text, found, flagged) in [
        ("nothing", "a: 1\n".to_owned(), (0, [Some(false), Some(true)]), (0, [Some(false), Some(true)])),
        ("raw", format!("a: {blob}\n"), (1, [None, Some(true)]), (0, [Some(true), Some(true)])),
        ("named", format!("namespace: secret-source\nvllm-api-key: {{a: {blob}}}\n"), (0, [Some(true); 2]), (0, [Some(true); 2])),
        ("json", format!("{{\"x\":{{\"sealed\":\"{blob}\"}}}}"), (1, [None, Some(true)]), (0, [Some(true), Some(true)])),
        ("template", format!("{{{{- if x }}}}\nb: {blob}\n"), (1, [None, Some(true)]), (1, [None, Some(true)])),
        ("comment", format!("# {blob}\na: 1\n"), (1, [None, Some(true)]), (1, [None, Some(true)])),
        ("field", format!("{{{{ {blob} }}}}: 1\n"), (1, [None, Some(true)]), (1, [None, Some(true)])),
        ("expression", format!("a: '{{{{ \"{blob}\" }}}}'\n"), (1, [None, Some(true)]), (1, [None, Some(true)])),
        ("comment-in-a-text", format!("a: |\n  x: 1\n  # y: {blob}\n"), (1, [None, Some(true)]), (1, [None, Some(true)])),
        ("notes-and-lines", format!("a: |\n  notes\n  {}\n", wrapped(blob, 2)), (1, [None, Some(true)]), (1, [None, Some(true)])),
        ("cut-off", format!("a: {}...\n", &blob[..200]), (1, [None, Some(true)]), (1, [None, Some(true)])),
        (
            "public-key",
            format!("a: ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB{}\n", &blob[3..]),
            (0, [Some(false), Some(true)]),
            (0, [Some(false), Some(true)]),
        ),
    ] {
        sandbox.write("git/values.yaml", text.as_bytes());
        assert_eq!(needed(&[]), (found.0, found.1.to_vec()), "{name}");
        assert_eq!(needed(&named), (flagged.0, flagged.1.to_vec()), "{name}");
    }
    sandbox.write("git/values.yaml", b"a: 1\n");
    // Whatever a file is called.
    for (file, text) in [
        ("x.yaml.gotmpl", old.clone()),
        ("x.tf", format!("locals {{\n  sealed = \"{blob}\"\n}}\n")),
        ("values.jsonnet", format!("{{ sealed: '{blob}' }}\n")),
        ("notes", format!("see\n{}\n", wrapped(blob, 0))),
        (".env", format!("SEALED={blob}\n")),
        ("program", format!("\u{0}ELF\u{0}{blob}\u{0}")),
    ] {
        sandbox.write(&format!("git/{file}"), text.as_bytes());
        assert_ne!(needed(&[]).1[0], Some(false), "{file}");
        sandbox.remove(&format!("git/{file}"));
    }
    // A line of this certificate begins like a sealed value.
    let certificate = fixture_text("fixtures/certificates/good.crt");
    for text in [certificate.as_bytes(), &b"\0ELF\0SealedSecret\0"[..], b"# SealedSecret: see the docs, `AgBy3i4OJSWK`\n"] {
        sandbox.write("git/program", text);
        assert_eq!(needed(&[]), (0, vec![Some(false), Some(true)]));
    }
    sandbox.remove("git/program");
    assert!(sandbox.run(["status", "git"]).expect(0).stdout.contains("no SealedSecrets were found"));
    // The command that is printed works on the same files.
    sandbox.write("git/it's.yaml", old.as_bytes());
    let said = sandbox.run(["status", "git/it's.yaml", "--identity", "keys/operator.agekey"]).expect(0).stdout;
    assert!(said.contains(r"`seal-secrets re-encrypt 'git/it'\''s.yaml'` moves it"), "{said}");
}
