//! ExternalSecrets that others wrote, at any depth: each is edited, followed or reported. None stays unseen.

use proptest::prelude::*;
use seal_secrets::manifest::external_secret::find;
use seal_secrets::manifest::property::add;
use seal_secrets::manifest::yaml;
use seal_secrets::model::StoreKind;
use serde_yaml::Value;

use crate::common::{Sandbox, fixture_text};
use crate::delivery::build;
use crate::platform::{MINI, consumers, es, mini, mini_findings, run};

/// The findings in a checkout, except for keys that nothing reads: code and place.
fn found(sandbox: &Sandbox) -> Vec<String> {
    let ran = run(sandbox, &["contract", "--format", "json"], &MINI).expect(0);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let all = json["coverage"].as_array().unwrap().iter();
    all.map(|one| format!("{} {}", text(&one["code"]), text(&one["place"]))).filter(|one| !one.starts_with("key-unread")).collect()
}

/// The consumers there, as `namespace/name`.
fn readers(sandbox: &Sandbox) -> Vec<String> {
    let ran = run(sandbox, &["contract", "--format", "json"], &MINI).expect(0);
    consumers(&ran.stdout).into_iter().map(|(namespace, name, ..)| format!("{namespace}/{name}")).collect()
}

/// An ExternalSecret at this indentation, after `- `.
fn item(indent: usize, name: &str, namespace: &str) -> String {
    let text = es(name, namespace, "hf-token", "secret-store");
    let space = " ".repeat(indent);
    let lines: Vec<String> =
        text.lines().enumerate().map(|(i, line)| format!("{space}{}{line}\n", if i == 0 { "- " } else { "  " })).collect();
    lines.concat()
}

/// The text with this indentation.
fn indented(indent: usize, text: &str) -> String {
    text.lines().map(|line| format!("{}{line}\n", " ".repeat(indent))).collect()
}

const APPLICATION: &str = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a, namespace: argocd}\nspec:\n  destination: {namespace: monitoring}\n  source:\n    chart: c\n    helm:\n";
const RELEASE: &str = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: g, namespace: monitoring}\nspec:\n";

/// Files with an ExternalSecret in plain data: a name, the path, the text, and the consumer.
fn written_out() -> Vec<(&'static str, &'static str, String, &'static str)> {
    let compact = r#"{"apiVersion":"external-secrets.io/v1","kind":"ExternalSecret","metadata":{"name":"x","namespace":"n"},"spec":{"secretStoreRef":{"kind":"ClusterSecretStore","name":"secret-store"},"data":[{"secretKey":"a","remoteRef":{"key":"hf-token"}}]}}"#;
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(compact).unwrap()).unwrap();
    let flow = "{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: x, namespace: n}, spec: {secretStoreRef: {name: secret-store, kind: ClusterSecretStore}, data: [{secretKey: a, remoteRef: {key: hf-token}}]}}";
    let cluster = "apiVersion: external-secrets.io/v1\nkind: ClusterExternalSecret\nmetadata: {name: x}\nspec:\n  namespaces: [n]\n  externalSecretSpec:\n    secretStoreRef: {name: secret-store, kind: ClusterSecretStore}\n    data:\n      - secretKey: a\n        remoteRef:\n          key: hf-token\n";
    vec![
        ("helm values", "values.yaml", format!("replicas: 1\nextraObjects:\n{}", item(2, "x", "n")), "n/x"),
        ("in flow style", "values.yaml", format!("extraDeploy: [{flow}]\n"), "n/x"),
        ("of the chart raw", "values.yaml", format!("resources:\n{}", item(0, "x", "n")), "n/x"),
        ("by name", "values.yaml", format!("extraManifests:\n  one:\n{}", indented(4, &es("x", "n", "hf-token", "secret-store"))), "n/x"),
        ("a ClusterExternalSecret", "values.yaml", format!("extraObjects:\n  one:\n{}", indented(4, cluster)), "n/x"),
        ("valuesObject", "app.yaml", format!("{APPLICATION}      valuesObject:\n        extraObjects:\n{}", item(10, "x", "n")), "n/x"),
        (
            "of the destination",
            "app.yaml",
            format!("{APPLICATION}      valuesObject:\n        extraObjects:\n{}", item(10, "x", "")),
            "monitoring/x",
        ),
        ("HelmRelease", "release.yaml", format!("{RELEASE}  values:\n    extraObjects:\n{}", item(6, "x", "")), "monitoring/x"),
        (
            "with a target",
            "release.yaml",
            format!("{RELEASE}  targetNamespace: t\n  values:\n    extraObjects:\n{}", item(6, "x", "")),
            "t/x",
        ),
        (
            "ApplicationSet",
            "set.yaml",
            format!(
                "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {{name: '{{{{name}}}}'}}\nspec:\n  template:\n    spec:\n      destination: {{namespace: d}}\n      source:\n        helm:\n          valuesObject:\n            extra:\n{}",
                item(14, "x", "")
            ),
            "d/x",
        ),
        (
            "a chart of a kustomization",
            "kustomization.yaml",
            format!("helmCharts:\n  - name: c\n    namespace: h\n    valuesInline:\n      extraObjects:\n{}", item(8, "x", "")),
            "h/x",
        ),
        ("a List", "list.yaml", format!("apiVersion: v1\nkind: List\nitems:\n{}", item(0, "x", "n")), "n/x"),
        ("JSON on one line", "x.json", compact.to_owned(), "n/x"),
        ("JSON", "x.json", pretty.clone(), "n/x"),
        ("a name with an escape", "x.json", pretty.replace("\"key\"", "\"k\\u0065y\""), "n/x"),
        ("JSON with tabs", "x.json", pretty.replace("  ", "\t"), "n/x"),
        ("a List in JSON", "x.json", format!("{{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{pretty}]}}\n"), "n/x"),
    ]
}

/// The text, read by another parser, with `property: value` in each `remoteRef` of `hf-token`.
fn with_property(text: &str) -> Vec<Value> {
    let mut documents = documents(text);
    documents.iter_mut().for_each(give);
    documents
}

fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text).map(|one| <Value as serde::Deserialize>::deserialize(one).unwrap()).collect()
}

fn give(value: &mut Value) {
    match value {
        Value::Mapping(fields) => {
            // A `remoteRef` with a version has an anchor, which this parser does not show.
            if fields.get("key").is_some_and(|key| key == "hf-token") && !fields.contains_key("version") {
                fields.insert("property".into(), "value".into());
            }
            fields.iter_mut().for_each(|(_, value)| give(value));
        }
        Value::Sequence(items) => items.iter_mut().for_each(give),
        _ => {}
    }
}

#[test]
fn what_is_written_out_is_edited_in_place_and_may_read() {
    for (what, path, text, reader) in written_out() {
        let sandbox = mini(&[(path, &text)]);
        let file = format!("q/{path}");
        let codes: Vec<String> = found(&sandbox).iter().map(|one| one.split(':').next().unwrap().to_owned()).collect();
        assert_eq!(codes, [format!("property-missing {file}")], "{what}");
        assert_eq!(readers(&sandbox), [reader], "{what}");
        run(&sandbox, &["patch", "--write"], &MINI).expect(0);
        let after = sandbox.read(&file);
        let tabs = |text: &str| text.replace('\t', " ");
        assert_eq!(documents(&tabs(&after)), with_property(&tabs(&text)), "{what}: {after}");
        assert_eq!(
            text.lines().count(),
            after
                .replace("property: value\n", "")
                .replace("\"property\": \"value\"\n", "")
                .lines()
                .filter(|line| !line.trim().is_empty())
                .count(),
            "{what}: {after}"
        );
        if path.ends_with(".json") {
            assert!(serde_json::from_str::<serde_json::Value>(&after).is_ok(), "{what}: {after}");
        }
        assert_eq!(found(&sandbox), Vec::<String>::new(), "{what}");
        assert_eq!(run(&sandbox, &["patch", "--write"], &MINI).expect(0).stdout, "nothing to do\n", "{what}");
    }
}

#[test]
fn role_and_conditions_have_the_nested_ones_and_no_component_reaches_them() {
    let sandbox = mini(&[("values.yaml", &format!("extraObjects:\n{}", item(2, "x", "shop")))]);
    run(&sandbox, &["bootstrap"], &MINI).expect(0);
    assert!(sandbox.read("q/out/secret-store/cluster-secret-store.yaml").contains("- shop\n"));
    assert!(sandbox.read("q/out/secret-source/rbac.yaml").contains("- hf-token\n"));
    assert!(!sandbox.path("q/out/property-patches/x.patch.yaml").exists());
    run(&sandbox, &["verify"], &MINI).finds(&mini_findings(&["hf-token"], &["property-missing q/values.yaml:10:18"]));
    run(&sandbox, &["patch", "--write"], &MINI).expect(0);
    run(&sandbox, &["bootstrap"], &MINI).expect(0);
    run(&sandbox, &["verify"], &MINI).finds(&mini_findings(&["hf-token"], &[]));
    // An ExternalSecret of unknown namespace is an error.
    let lost = mini(&[("values.yaml", &format!("extraObjects:\n{}", item(2, "x", "")))]);
    assert_eq!(found(&lost), ["property-missing q/values.yaml:10:18", "namespace-unknown q/values.yaml:2:5"]);
}

const KYVERNO: &str = "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: p}\nspec:\n  rules:\n    - name: r\n      generate:\n        apiVersion: external-secrets.io/v1\n        kind: ExternalSecret\n        name: x\n        namespace: '{{request.object.metadata.name}}'\n        data:\n          spec:\n            secretStoreRef: {name: secret-store, kind: ClusterSecretStore}\n            data:\n              - secretKey: a\n                remoteRef: {key: hf-token}\n";

/// Cases without a manifest to follow: a name, the path, the text, and the findings.
fn made() -> Vec<(&'static str, &'static str, String, Vec<&'static str>)> {
    let whole = es("x", "n", "hf-token", "secret-store");
    let shape = "externalSecrets:\n  app:\n    secretStoreRef: {name: secret-store, kind: ClusterSecretStore}\n    data:\n      - secretKey: a\n        remoteRef: {key: hf-token}\n";
    let stakater = "externalSecret:\n  secretStore: {name: secret-store}\n  files:\n    one:\n      data:\n        a:\n          remoteRef:\n            key: hf-token\n";
    let searching = format!("{}  dataFrom: [{{find: {{name: {{regexp: a}}}}}}]\n", whole.split("  data:").next().unwrap());
    let elsewhere = |place| vec![place];
    vec![
        (
            "values as text",
            "app.yaml",
            format!("{APPLICATION}      values: |\n        extraObjects:\n{}", item(10, "x", "n")),
            elsewhere("rendered-elsewhere q/app.yaml:10:9"),
        ),
        (
            "as text in quotes",
            "app.yaml",
            format!("{APPLICATION}      values: {:?}\n", format!("extra:\n{}", item(0, "x", "n"))),
            elsewhere("rendered-elsewhere q/app.yaml:9:15"),
        ),
        (
            "a shape in text",
            "app.yaml",
            format!("{APPLICATION}      values: |\n{}", indented(8, shape)),
            elsewhere("rendered-elsewhere q/app.yaml:10:9"),
        ),
        (
            "a parameter",
            "app.yaml",
            format!("{APPLICATION}      parameters:\n        - name: externalSecrets.data[0].remoteRef.key\n          value: hf-token\n"),
            elsewhere("rendered-elsewhere q/app.yaml:10:11"),
        ),
        (
            "a template as text",
            "app.yaml",
            format!("{APPLICATION}      values: |\n        x: {{{{ .a }}}}-b: c\n{}", indented(8, &whole)),
            elsewhere("rendered-elsewhere q/app.yaml:10:9"),
        ),
        (
            "a ConfigMap",
            "map.yaml",
            format!("apiVersion: v1\nkind: ConfigMap\ndata:\n  es.yaml: |\n{}", indented(4, &whole)),
            elsewhere("rendered-elsewhere q/map.yaml:5:5"),
        ),
        (
            "k3s",
            "chart.yaml",
            format!("apiVersion: helm.cattle.io/v1\nkind: HelmChart\nspec:\n  valuesContent: |-\n    extra:\n{}", item(6, "x", "n")),
            elsewhere("rendered-elsewhere q/chart.yaml:5:5"),
        ),
        ("Kyverno", "policy.yaml", KYVERNO.to_owned(), elsewhere("rendered-elsewhere q/policy.yaml:17:34")),
        (
            "Crossplane",
            "composition.yaml",
            format!(
                "apiVersion: apiextensions.crossplane.io/v1\nkind: Composition\nspec:\n  resources:\n    - base:\n        apiVersion: kubernetes.crossplane.io/v1alpha2\n        kind: Object\n        spec:\n          forProvider:\n            manifest:\n{}",
                indented(14, &whole)
            ),
            elsewhere("rendered-elsewhere q/composition.yaml:19:28"),
        ),
        ("chart values", "values.yaml", shape.to_owned(), elsewhere("rendered-elsewhere q/values.yaml:6:26")),
        ("values of another chart", "values.yaml", stakater.to_owned(), elsewhere("rendered-elsewhere q/values.yaml:8:18")),
        (
            "values without a store",
            "values.yaml",
            "es: {data: [{remoteRef: {key: hf-token}}]}\n".to_owned(),
            elsewhere("rendered-elsewhere q/values.yaml:1:31"),
        ),
        (
            "a shape in a HelmRelease",
            "release.yaml",
            format!("{RELEASE}  values:\n{}", indented(4, shape)),
            elsewhere("rendered-elsewhere q/release.yaml:11:30"),
        ),
        (
            "the whole of it",
            "values.yaml",
            "es:\n  dataFrom:\n    - extract: {key: hf-token}\n".to_owned(),
            elsewhere("rendered-elsewhere q/values.yaml:3:22"),
        ),
        (
            "an ApplicationSet's name",
            "set.yaml",
            format!(
                "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nspec:\n  template:\n    spec:\n      source:\n        helm:\n          valuesObject:\n            extra:\n{}",
                item(14, "'{{name}}'", "n")
            ),
            elsewhere("rendered-elsewhere q/set.yaml:18:30"),
        ),
        (
            "envsubst",
            "x.yaml",
            es("x", "${NAMESPACE}", "hf-token", "secret-store").replace("${NAMESPACE}", "\"${NAMESPACE}\""),
            elsewhere("rendered-elsewhere q/x.yaml:9:14"),
        ),
        (
            "a chart's template",
            "c/templates/x.yaml",
            whole.replace("name: x", "name: {{ .Release.Name }}"),
            elsewhere("rendered-elsewhere q/c/templates/x.yaml:9:9"),
        ),
        (
            "its default",
            "c/templates/x.yaml",
            whole.replace("key: hf-token", "key: {{ .Values.key | default \"hf-token\" }}"),
            elsewhere("rendered-elsewhere q/c/templates/x.yaml:9:9"),
        ),
        ("Jinja", "x.yaml", format!("{{% if x %}}\n{whole}{{% endif %}}\n"), elsewhere("rendered-elsewhere q/x.yaml:10:9")),
        (
            "a scaffold",
            "x.yaml",
            whole.replace("name: x", "name: {{ app }}").replace("key: hf-token", "key: {{ app }}-token"),
            vec!["helm-template q/x.yaml"],
        ),
        (
            "cookiecutter",
            "x.yaml",
            whole.replace("name: x", "name: {{ cookiecutter.app }}").replace("hf-token", "{{ cookiecutter.app }}"),
            vec!["helm-template q/x.yaml"],
        ),
        ("a key for Flux to fill in", "x.yaml", whole.replace("hf-token", "${app}-token"), vec!["helm-template q/x.yaml"]),
        (
            "an object of which a chart makes one",
            "values.yaml",
            "rawResources:\n  es:\n    apiVersion: external-secrets.io/v1\n    kind: ExternalSecret\n    spec:\n      spec:\n        secretStoreRef: {name: secret-store, kind: ClusterSecretStore}\n        data: [{secretKey: a, remoteRef: {key: hf-token}}]\n"
                .to_owned(),
            elsewhere("rendered-elsewhere q/values.yaml:8:48"),
        ),
        (
            "a field of that name",
            "values.yaml",
            "externalSecret: {store: secret-store, data: {API_KEY: hf-token}}\n".to_owned(),
            elsewhere("rendered-elsewhere q/values.yaml:1:55"),
        ),
        (
            "in another spelling",
            "values.yaml",
            "external-secrets-config:\n  - {name: API_KEY, secretName: hf-token}\n".to_owned(),
            elsewhere("rendered-elsewhere q/values.yaml:2:33"),
        ),
        (
            "a list in it",
            "values.yaml",
            "app:\n  ExternalSecrets: {files: {x: {dataFrom: {key: hf-token}}}, keys: [other]}\n".to_owned(),
            elsewhere("rendered-elsewhere q/values.yaml:2:49"),
        ),
        (
            "such a field in a text",
            "app.yaml",
            format!("{APPLICATION}      values: |\n        externalSecret:\n          keys: [hf-token]\n"),
            elsewhere("rendered-elsewhere q/app.yaml:10:9"),
        ),
        (
            "a parameter of that name",
            "app.yaml",
            format!("{APPLICATION}      parameters:\n        - {{name: externalSecret.key, value: hf-token}}\n"),
            elsewhere("rendered-elsewhere q/app.yaml:10:11"),
        ),
        ("that field, of another store", "values.yaml", "externalSecret: {store: vault, data: {API_KEY: hf-token}}\n".to_owned(), vec![]),
        ("the name of a Secret", "values.yaml", "externalSecretName: hf-token\nexternalSecretRef: {name: hf-token}\nauth: {existingSecret: hf-token}\n".to_owned(), vec![]),
        (
            "a parameter with the name of a Secret",
            "app.yaml",
            format!("{APPLICATION}      parameters:\n        - {{name: auth.externalSecretName, value: hf-token}}\n"),
            vec![],
        ),
        (
            "a search in a text",
            "map.yaml",
            format!("apiVersion: v1\nkind: ConfigMap\ndata:\n  es.yaml: |\n{}", indented(4, &searching)),
            elsewhere("reads-whole-secret q/map.yaml:5:5"),
        ),
        ("a search of another store", "map.yaml", format!("data:\n  a: |\n{}", indented(4, &searching.replace("name: secret-store", "name: vault"))), vec![]),
        (
            "a search in values",
            "values.yaml",
            "es:\n  secretStore: {name: secret-store}\n  dataFrom: [{find: {name: {regexp: a}}}]\n".to_owned(),
            elsewhere("reads-whole-secret q/values.yaml:3:14"),
        ),
        ("a template by its ending", "x.yaml.tpl", whole.replace("hf-token", "${key}"), elsewhere("helm-template q/x.yaml.tpl")),
        ("Jinja's ending", "x.j2", whole.clone(), elsewhere("rendered-elsewhere q/x.j2:9:9")),
        (
            "Jsonnet",
            "x.jsonnet",
            "{ apiVersion: 'external-secrets.io/v1', kind: 'ExternalSecret', spec: import 'spec.libsonnet' }\n".to_owned(),
            elsewhere("helm-template q/x.jsonnet"),
        ),
        ("a template without one", "x.tmpl", "namespace: external-secrets\nkey: hf-token\n".to_owned(), vec![]),
        ("in capitals", "X.YAML", whole.clone() + "        property: value\n        metadataPolicy: Fetch\n", vec!["reads-otherwise q/X.YAML:9:14"]),
        ("decoded", "x.json", compact_decoded(), vec!["reads-otherwise q/x.json:1:272"]),
        ("not decoded", "x.yaml", whole.clone() + "        property: value\n        decodingStrategy: None\n", vec![]),
        (
            "never served",
            "x.yaml",
            whole.replace("io/v1", "io/v1alpha1") + "        property: value\n",
            vec!["version-not-served q/x.yaml:1:1"],
        ),
        ("another store", "values.yaml", shape.replace("secret-store", "vault"), vec![]),
        ("another key", "values.yaml", shape.replace("hf-token", "something"), vec![]),
        (
            "a text about them",
            "map.yaml",
            "apiVersion: v1\nkind: ConfigMap\ndata:\n  README: 'An ExternalSecret has: {{ a remoteRef }}'\n".to_owned(),
            vec![],
        ),
        ("commented out", "x.yaml", whole.lines().map(|line| format!("# {line}\n")).collect(), vec![]),
        (
            "commented out, and a document",
            "x.yaml",
            format!("# kind: ExternalSecret\na: [\n---\n{}b: c\n", whole.lines().map(|line| format!("# {line}\n")).collect::<String>()),
            vec![],
        ),
        ("an example", "x.example.json", "{\"remoteRef\": {\"key\": \"hf-token\"}}".to_owned(), vec![]),
        (
            "not served",
            "x.yaml",
            whole.replace("io/v1", "io/v1beta1") + "        property: value\n",
            vec!["version-not-served q/x.yaml:1:1"],
        ),
        ("a PushSecret", "x.yaml", push("secret-store", "hf-token"), vec!["pushed-over q/x.yaml:7:32"]),
        (
            "one in values",
            "values.yaml",
            format!("extraObjects:\n  one:\n{}", indented(4, &push("secret-store", "hf-token"))),
            vec!["pushed-over q/values.yaml:9:36"],
        ),
        ("one by label", "x.yaml", push("x", "hf-token").replace("name: x", "labelSelector: {}"), vec!["pushed-over q/x.yaml:7:32"]),
        (
            "broken, with a template of ESO's",
            "x.yaml",
            format!("{whole}  target:\n    template:\n      data: {{a: \"{{{{ .a }}}}\"}}\n\tx: y\n"),
            vec!["unreadable q/x.yaml:13:2"],
        ),
        ("one of another store", "x.yaml", push("vault", "hf-token"), vec![]),
        ("one of another key", "x.yaml", push("secret-store", "own"), vec![]),
        (
            "one bad document",
            "x.yaml",
            format!("{whole}        property: value\n---\nkind: ExternalSecret\n\tx: y\n---\n{}", es("y", "n", "hf-token", "secret-store")),
            vec!["unreadable q/x.yaml:13:1", "property-missing q/x.yaml:23:14"],
        ),
    ]
}

fn compact_decoded() -> String {
    r#"{"apiVersion":"external-secrets.io/v1","kind":"ExternalSecret","metadata":{"name":"x","namespace":"n"},"spec":{"secretStoreRef":{"kind":"ClusterSecretStore","name":"secret-store"},"data":[{"secretKey":"a","remoteRef":{"decodingStrategy":"Base64","property":"value","key":"hf-token"}}]}}"#.to_owned()
}

fn push(store: &str, key: &str) -> String {
    format!(
        "apiVersion: external-secrets.io/v1alpha1\nkind: PushSecret\nspec:\n  secretStoreRefs: [{{name: {store}, kind: ClusterSecretStore}}]\n  data:\n    - match:\n        remoteRef: {{remoteKey: {key}, property: value}}\n"
    )
}

#[test]
fn what_has_no_manifest_is_reported_and_left_as_it_is() {
    // It reads another key, so that there is always something to find.
    let other = es("other", "other", "vllm-api-key", "secret-store") + "        property: value\n";
    for (what, path, text, expected) in made() {
        let sandbox = mini(&[("other.yaml", &other), ("c/Chart.yaml", "name: c\n"), (path, &text)]);
        assert_eq!(found(&sandbox), expected, "{what}: {text}");
        let read = readers(&sandbox);
        let reads = if ["not served", "never served", "one bad document", "in capitals", "decoded", "not decoded"].contains(&what) {
            read.len() > 1
        } else {
            read == ["other/other"]
        };
        assert!(reads, "{what}: {read:?}");
        // `patch` edits only ExternalSecrets in the file's own YAML.
        let edited = ["Crossplane", "an ApplicationSet's name", "envsubst", "one bad document"].contains(&what);
        let code = i32::from(expected.iter().any(|one| one.starts_with("unreadable")));
        let ran = run(&sandbox, &["patch", "--write"], &MINI);
        assert_eq!((ran.code, sandbox.read(&format!("q/{path}")) != text), (code, edited), "{what}: {}", ran.stderr);
    }
}

#[test]
fn verify_is_not_good_before_it_is_declared_and_has_its_property() {
    let text = format!("{APPLICATION}      values: |\n        extraObjects:\n{}", item(10, "x", "shop"));
    let sandbox = mini(&[("app.yaml", &text)]);
    let contract = sandbox.read("contract.yaml");
    let codes = |code: i32, step: &str| {
        run(&sandbox, &["bootstrap", "--yes"], &MINI).expect(code);
        let ran = run(&sandbox, &["verify"], &MINI).expect(code);
        let found: Vec<String> = ran.findings().into_iter().filter(|one| one.contains("rendered")).collect();
        let code = if code == 0 { "rendered-by-helm" } else { "rendered-elsewhere" };
        assert_eq!(found, [format!("{code} q/app.yaml:10:9")], "{step}");
    };
    codes(1, "neither");
    sandbox.edit("q/app.yaml", "key: hf-token\n", "key: hf-token\n                    property: value\n");
    codes(1, "not declared");
    let declared = "consumers:\n  - namespace: shop\n    target: x\n    data:\n      - { secretKey: a, key: hf-token }\n";
    sandbox.write("contract.yaml", contract.replace("consumers:\n", declared).as_bytes());
    codes(0, "both");
    assert!(sandbox.read("q/out/secret-store/cluster-secret-store.yaml").contains("- shop\n"));
    sandbox.edit("q/app.yaml", "                    property: value\n", "");
    codes(1, "without its property");
}

#[test]
fn nothing_is_called_good_over_what_was_not_understood() {
    let patched = es("x", "n", "hf-token", "secret-store").replace("key: hf-token\n", "key: hf-token\n        property: value\n");
    let template = patched.replace("name: x", "name: {{ app }}-y").replace("key: hf-token", "key: {{ app }}");
    let patch = "patches:\n  - target: {kind: ExternalSecret}\n    patch: '[{op: replace, path: /spec/data/0/remoteRef/key, value: a}]'\n";
    for (file, text, verdict) in [
        ("b.yaml", "a: 1\n", "good: "),
        ("b.yaml", &template, "found no errors, but 1 warning of what could not be judged"),
        ("kustomization.yaml", patch, "found no errors, but 1 warning of what could not be judged"),
    ] {
        let sandbox = mini(&[("a.yaml", &patched), (file, text)]);
        run(&sandbox, &["bootstrap", "--yes"], &MINI).expect(0);
        let said = run(&sandbox, &["verify"], &MINI).expect(0).stdout;
        assert!(said.lines().any(|line| line.starts_with(verdict)), "{said}");
    }
}

#[test]
fn flux_and_argo_cd_get_their_own_advice() {
    let helps = |path: &str, text: &str| {
        let ran = run(&mini(&[(path, text)]), &["contract", "--format", "json"], &MINI).expect(0);
        let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let one = json["coverage"].as_array().unwrap().iter().find(|one| one["code"] == "rendered-elsewhere").unwrap().clone();
        one["help"].as_str().unwrap().to_owned()
    };
    let values = format!("values: |\n        extraObjects:\n{}", item(10, "x", "n"));
    assert!(helps("app.yaml", &format!("{APPLICATION}      {values}")).ends_with("; Argo CD runs no post-renderer"));
    let release = format!("{RELEASE}  {}", values.replace("\n        ", "\n    "));
    let help = helps("release.yaml", &release);
    // The block can be pasted, and the tool then sees it.
    let block = help.split('`').find(|part| part.starts_with("postRenderers")).unwrap();
    let read: Value = serde_yaml::from_str(block).unwrap();
    assert_eq!(read["postRenderers"][0]["kustomize"]["patches"][0]["target"]["name"], "x");
    let help = helps("release.yaml", &release.replace("spec:\n  values", &format!("spec:\n  {block}\n  values")));
    assert_eq!(help, "add its consumer to the contract, without a `name`");
    // And kustomize, which Flux runs, reads it.
    let sandbox = Sandbox::empty();
    sandbox.write("x.yaml", es("x", "n", "hf-token", "secret-store").as_bytes());
    let patches = serde_yaml::to_string(&read["postRenderers"][0]["kustomize"]).unwrap();
    sandbox.write("kustomization.yaml", format!("resources: [x.yaml]\n{patches}").as_bytes());
    if let Some(built) = build(&sandbox, ".") {
        assert!(built.expect(0).stdout.contains("property: value"));
    }
}

#[test]
fn the_helm_plugin_is_of_this_version() {
    let plugin: Value = serde_yaml::from_str(&fixture_text("../helm-plugin/plugin.yaml")).unwrap();
    let expected = format!(
        "{{apiVersion: v1, type: postrenderer/v1, name: seal-secrets, version: {}, runtime: subprocess, runtimeConfig: {{platformCommand: [{{command: seal-secrets, args: [patch, '-']}}]}}}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(plugin, serde_yaml::from_str::<Value>(&expected).unwrap());
}

/// Patches of a kustomization over `base/x.yaml`: a name, the kustomization, the file `p.yaml`, and where it is found.
const PATCHES: &[(&str, &str, &str, &[&str])] = &[
    (
        "inline",
        "patches: [{target: {kind: ExternalSecret}, patch: '[{op: replace, path: /spec/data/0/remoteRef/key, value: k}]'}]",
        "",
        &["over/kustomization.yaml:2:11"],
    ),
    (
        "a file",
        "patches: [{target: {kind: ExternalSecret, name: x}, path: p.yaml}]",
        "- op: replace\n  path: /spec/data/0/remoteRef/key\n  value: k\n",
        &["over/p.yaml:1:3"],
    ),
    (
        "in JSON",
        "patches: [{target: {kind: ExternalSecret, name: x}, path: p.json}]",
        "[{\"op\": \"add\", \"path\": \"/spec/dataFrom\", \"value\": []}]",
        &["over/p.json:1:2"],
    ),
    (
        "json 6902",
        "patchesJson6902: [{target: {group: external-secrets.io, version: v1, kind: ExternalSecret, name: x}, path: p.yaml}]",
        "[{op: remove, path: /spec/data/0}]",
        &["over/p.yaml:1:2"],
    ),
    (
        "an expression",
        "patches: [{target: {kind: External.*}, patch: '[{op: move, from: /spec/data/0, path: /metadata/x}]'}]",
        "",
        &["over/kustomization.yaml:2:11"],
    ),
    (
        "by label",
        "patches: [{target: {labelSelector: a=b}, patch: '[{op: add, path: /spec/secretStoreRef/name, value: vault}]'}]",
        "",
        &["over/kustomization.yaml:2:11"],
    ),
    (
        "strategic, without a target",
        "patches: [{path: p.yaml}]",
        "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: x}\nspec:\n  secretStoreRef: {name: vault}\n",
        &["over/p.yaml:1:1"],
    ),
    (
        "strategic, in a list",
        "patchesStrategicMerge: [p.yaml]",
        "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: x}\nspec: {dataFrom: [{extract: {key: k}}]}\n",
        &["over/p.yaml:1:1"],
    ),
    (
        "strategic, inline",
        "patchesStrategicMerge:\n  - |-\n    apiVersion: external-secrets.io/v1\n    kind: ExternalSecret\n    metadata: {name: x}\n    $patch: delete",
        "",
        &["over/kustomization.yaml:4:5"],
    ),
    (
        "of any kind, with a target",
        "patches: [{target: {kind: ExternalSecret}, path: p.yaml}]",
        "kind: any\nmetadata: {name: any}\nspec:\n  secretStoreRef: {name: vault}\n",
        &["over/p.yaml:1:1"],
    ),
    (
        "its namespace",
        "patches: [{target: {name: x}, patch: '[{op: replace, path: /metadata/namespace, value: m}]'}]",
        "",
        &["over/kustomization.yaml:2:11"],
    ),
    (
        "a replacement",
        "replacements: [{source: {kind: ConfigMap, fieldPath: data.a}, targets: [{select: {kind: ExternalSecret}, fieldPaths: [spec.data.0.remoteRef.key]}]}]",
        "",
        &["over/kustomization.yaml:2:16"],
    ),
    (
        "one in a file",
        "replacements: [{path: p.yaml}]",
        "source: {kind: ConfigMap, fieldPath: data.a}\ntargets: [{select: {name: x}, fieldPaths: [spec.secretStoreRef.name]}]\n",
        &["over/p.yaml:1:1"],
    ),
    ("unreadable", "patches: [{target: {kind: ExternalSecret}, patch: 'remoteRef: ['}]", "", &["over/kustomization.yaml:2:11"]),
    (
        "its whole metadata",
        "patches: [{target: {kind: ExternalSecret}, path: p.yaml}]",
        "[{op: replace, path: /metadata, value: {name: x, namespace: m}}]",
        &["over/p.yaml:1:2"],
    ),
    (
        "of a store",
        "patches: [{target: {kind: ClusterSecretStore}, patch: '[{op: remove, path: /spec/conditions}]'}]",
        "",
        &["over/kustomization.yaml:2:11"],
    ),
    (
        "of the store, strategic",
        "patches: [{path: p.yaml}]",
        "apiVersion: external-secrets.io/v1\nkind: ClusterSecretStore\nmetadata: {name: secret-store}\nspec: {conditions: []}\n",
        &["over/p.yaml:1:1"],
    ),
    (
        "of another store",
        "patches: [{target: {kind: SecretStore, name: vault}, patch: '[{op: remove, path: /spec/conditions}]'}, {path: p.yaml}]",
        "apiVersion: external-secrets.io/v1\nkind: ClusterSecretStore\nmetadata: {name: vault}\nspec: {conditions: []}\n",
        &[],
    ),
    (
        "a transformer",
        "transformers: [\"apiVersion: builtin\\nkind: NamespaceTransformer\\nmetadata: {name: n, namespace: m}\", t.yaml]",
        "",
        &["over/kustomization.yaml:2:102", "over/kustomization.yaml:2:16"],
    ),
    ("one that does not matter", "transformers: [\"apiVersion: builtin\\nkind: LabelTransformer\\nlabels: {a: b}\"]", "", &[]),
    (
        "our own property",
        "patches: [{target: {kind: ExternalSecret}, patch: '[{op: test, path: /spec/data/0/secretKey, value: a}, {op: add, path: /spec/data/0/remoteRef/property, value: value}]'}]",
        "",
        &[],
    ),
    (
        "what does not matter",
        "patches: [{path: p.yaml}]",
        "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: x, labels: {a: b}}\nspec:\n  refreshInterval: 5m\n  target: {name: y}\n",
        &[],
    ),
    (
        "an operation that does not",
        "patches: [{target: {kind: ExternalSecret}, patch: '[{op: replace, path: /spec/refreshInterval, value: 5m}]'}]",
        "",
        &[],
    ),
    (
        "of another kind",
        "patches: [{target: {kind: Deployment}, path: p.yaml}]",
        "[{op: add, path: /spec/data, value: {secretStoreRef: {}}}]",
        &[],
    ),
    (
        "of another kind, strategic",
        "patches: [{path: p.yaml}]",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {data: a, note: remoteRef}\n",
        &[],
    ),
    (
        "a replacement elsewhere",
        "replacements: [{source: {kind: ConfigMap}, targets: [{select: {kind: Deployment}, fieldPaths: [spec.data]}]}]",
        "",
        &[],
    ),
];

#[test]
fn a_patch_that_may_change_what_is_read_is_reported_where_it_stands() {
    let base = es("x", "n", "hf-token", "secret-store") + "        property: value\n";
    for (what, kustomization, patch, places) in PATCHES {
        let file = if kustomization.contains("p.json") { "over/p.json" } else { "over/p.yaml" };
        let kustomization = format!("resources: [../base]\n{kustomization}\n");
        let mut files = vec![
            ("base/x.yaml", base.as_str()),
            ("base/kustomization.yaml", "resources: [x.yaml]\n"),
            ("over/kustomization.yaml", &kustomization),
        ];
        files.extend(Some((file, *patch)).filter(|(_, patch)| !patch.is_empty()));
        let sandbox = mini(&files);
        let expected: Vec<String> = places.iter().map(|place| format!("patched-elsewhere q/{place}")).collect();
        assert_eq!(found(&sandbox), expected, "{what}");
    }
}

#[test]
fn patches_of_argo_cd_and_flux_are_patches_too() {
    let base = es("x", "n", "hf-token", "secret-store") + "        property: value\n";
    let patch = "patches: [{target: {kind: ExternalSecret}, patch: '[{op: remove, path: /spec/data/0}]'}]";
    let argo = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec:\n";
    let kyverno = "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nspec:\n  rules:\n    - name: r\n      match: {any: [{resources: {kinds: [ExternalSecret]}}]}\n";
    for (what, text, place) in [
        ("an Application", format!("{argo}  source:\n    kustomize:\n      {patch}\n"), "7:17"),
        ("one of several sources", format!("{argo}  sources:\n    - kustomize:\n        {patch}\n"), "7:19"),
        ("Flux", format!("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec:\n  {patch}\n"), "4:13"),
        (
            "a file that is not found",
            format!(
                "{argo}  source:\n    path: nowhere\n    kustomize:\n      patches: [{{target: {{kind: ExternalSecret}}, path: p.yaml}}]\n"
            ),
            "8:17",
        ),
        ("Kyverno", format!("{kyverno}      mutate: {{patchesJson6902: '[{{op: remove, path: /spec/data/0}}]'}}\n"), "7:15"),
        ("Kyverno, merged", format!("{kyverno}      mutate: {{patchStrategicMerge: {{spec: {{+(data): []}}}}}}\n"), "7:15"),
        ("Kyverno, for each", format!("{kyverno}      mutate: {{foreach: [{{list: a}}]}}\n"), "7:15"),
        ("a HelmRelease", format!("{RELEASE}  postRenderers:\n    - kustomize:\n        {patch}\n"), "7:19"),
    ] {
        assert_eq!(found(&mini(&[("x.yaml", &base), ("a.yaml", &text)])), [format!("patched-elsewhere q/a.yaml:{place}")], "{what}");
    }
}

#[test]
fn the_patches_of_an_application_lie_in_its_folder_and_labels_do_not_matter() {
    let base = es("x", "n", "hf-token", "secret-store") + "        property: value\n";
    let app = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec: {source: {path: x, kustomize: {patches: [{target: {kind: ExternalSecret}, path: p.yaml}]}}}\n";
    let labels = "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nspec:\n  rules:\n    - match: {any: [{resources: {kinds: [ExternalSecret]}}]}\n      mutate: {patchStrategicMerge: {metadata: {labels: {a: b}}}}\n";
    let files = [("x/x.yaml", base.as_str()), ("apps/a.yaml", app), ("policy.yaml", labels)];
    let patched = [&files[..], &[("x/p.yaml", "- {op: remove, path: /spec/data/0/remoteRef/property}\n")]].concat();
    assert_eq!(found(&mini(&patched)), ["patched-elsewhere q/x/p.yaml:1:3"]);
    let labelled = [&files[..], &[("x/p.yaml", "- {op: add, path: /metadata/labels, value: {}}\n")]].concat();
    assert_eq!(found(&mini(&labelled)), Vec::<String>::new());
}

#[test]
fn what_applies_a_folder_says_its_namespace() {
    let base = es("x", "n", "hf-token", "secret-store") + "        property: value\n";
    let lists = "resources: [x.yaml]\n";
    let argo = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec:\n  destination: {namespace: d}\n";
    let flux = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec:\n  path: ./x\n";
    let component = "kind: Component\nnamespace: c\n";
    for (what, kustomization, applies, component, reader) in [
        ("nothing", lists, "a: b\n".to_owned(), "", "n/x"),
        ("one of several sources", lists, format!("{argo}  sources: [{{repoURL: r, path: x, kustomize: {{namespace: m}}}}]\n"), "", "m/x"),
        (
            "Argo CD's component",
            lists,
            format!("{argo}  source: {{repoURL: r, path: x, kustomize: {{components: [../c]}}}}\n"),
            component,
            "c/x",
        ),
        ("Flux's target", lists, format!("{flux}  targetNamespace: m\n"), "", "m/x"),
        ("over a kustomization's", "namespace: k\nresources: [x.yaml]\n", format!("{flux}  targetNamespace: m\n"), "", "m/x"),
        ("without a kustomization", "", format!("{flux}  targetNamespace: m\n"), "", "m/x"),
        ("Flux without one", lists, flux.to_owned(), "", "n/x"),
        ("null", "namespace: null\nresources: [x.yaml]\n", "a: b\n".to_owned(), "", "n/x"),
        ("a component", "resources: [x.yaml]\ncomponents: [../c]\n", "a: b\n".to_owned(), component, "c/x"),
        ("a component of one", "resources: [x.yaml]\ncomponents: [../c]\n", "a: b\n".to_owned(), "components: [../c, ../d]\n", "d/x"),
        ("beside its own", "namespace: k\nresources: [x.yaml]\ncomponents: [../c]\n", "a: b\n".to_owned(), component, "k/x"),
    ] {
        let files = [
            ("x/x.yaml", base.as_str()),
            ("x/kustomization.yaml", kustomization),
            ("apps/a.yaml", &applies),
            ("c/kustomization.yaml", component),
            ("d/kustomization.yaml", "namespace: d\n"),
        ];
        let files: Vec<_> = files.into_iter().filter(|(_, text)| !text.is_empty()).collect();
        assert_eq!(readers(&mini(&files)), [reader], "{what}");
    }
    // `null` is no namespace.
    assert_eq!(found(&mini(&[("x.yaml", &base.replace("namespace: n", "namespace: null"))])), ["namespace-unknown q/x.yaml:1:1"]);
}

#[test]
fn a_whole_secret_in_values_gets_no_advice_to_add_a_property() {
    let values = format!("{RELEASE}  values:\n    es:\n      dataFrom: [{{extract: {{key: hf-token}}}}]\n");
    let ran = run(&mini(&[("r.yaml", &values)]), &["contract", "--format", "json"], &MINI).expect(0);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let one = json["coverage"].as_array().unwrap().iter().find(|one| one["code"] == "rendered-elsewhere").unwrap();
    let help = "list each value in `spec.data`, with `remoteRef.key` and `remoteRef.property`, and add its consumer to the contract, without a `name`";
    assert_eq!(one["help"], help);
}

#[test]
fn what_makes_one_gets_its_article() {
    let whole = indented(6, &es("x", "n", "hf-token", "secret-store"));
    for (kind, what) in [("Object", "an Object makes an ExternalSecret"), ("Composition", "a Composition makes an ExternalSecret")] {
        let text = format!("apiVersion: kubernetes.crossplane.io/v1alpha2\nkind: {kind}\nspec:\n  forProvider:\n    manifest:\n{whole}");
        let ran = run(&mini(&[("x.yaml", &text)]), &["contract"], &MINI).expect(0);
        assert!(ran.stdout.contains(&format!("{what} that reads `hf-token`")), "{}", ran.stdout);
    }
}

#[test]
fn json_keeps_its_quotes_when_the_kind_of_its_store_changes() {
    for (text, expected) in [
        (r#"{"k": "ClusterSecretStore"}"#, r#"{"k": "SecretStore"}"#),
        ("{'k': 'ClusterSecretStore'}", "{'k': 'SecretStore'}"),
        ("{k: ClusterSecretStore}", "{k: SecretStore}"),
    ] {
        let whole = |store: &str| {
            let store = store.replace("k\"", "kind\"").replace("k'", "kind'").replace("{k", "{kind");
            format!(
                r#"{{"apiVersion":"external-secrets.io/v1","kind":"ExternalSecret","spec":{{"secretStoreRef":{store},"data":[{{"remoteRef":{{"key":"hf-token","property":"value"}}}}]}}}}"#
            )
        };
        let edited = add(&whole(text), Some(StoreKind::SecretStore), &|_| Some(Some("value")));
        assert_eq!(edited.text, Some(whole(expected)));
    }
}

#[test]
fn where_nothing_is_read_but_something_is_wrong_that_is_reported() {
    let whole = es("x", "n", "hf-token", "secret-store");
    let of = |property: &str| format!("{whole}        property: {property}\n");
    let head = whole.split("  data:").next().unwrap();
    for (what, text, expected) in [
        ("the whole of it", format!("{head}  dataFrom: [{{extract: {{key: hf-token}}}}]\n"), "reads-whole-secret q/x.yaml:6:14"),
        ("a field twice", format!("{whole}        key: hf-token\n"), "unreadable q/x.yaml:10:9"),
        (
            "an alias",
            whole.replace("name: secret-store", "name: *s").replace("apiVersion", "s: &s secret-store\napiVersion"),
            "unreadable q/x.yaml:6:26",
        ),
        ("an empty property", of("\"\""), "property-differs q/x.yaml:9:14"),
        ("another property", of("a"), "property-differs q/x.yaml:9:14"),
    ] {
        assert_eq!(found(&mini(&[("x.yaml", &text)])), [expected], "{what}");
    }
    // Otherwise, the way out can be pasted.
    let sandbox = Sandbox::with_keys();
    sandbox.write("my q/x.yaml", es("x", "n", "hf-token", "vault").as_bytes());
    let ran = sandbox.run(["verify", "--platform", "my q"]).expect(3);
    let draft = crate::printed::commands(&ran.stderr).into_iter().find(|command| command.contains("contract")).unwrap();
    assert_eq!(draft, "contract --from-platform 'my q'");
    assert!(sandbox.run(["contract", "--from-platform", "my q"]).expect(0).stdout.contains("hf-token"));
}

#[test]
fn kustomize_moves_what_its_charts_hold() {
    let values = format!("extraObjects:\n{}", item(2, "x", "n"));
    let chart = "namespace: moved\nhelmCharts:\n  - name: c\n    valuesFile: my-values.yaml\n";
    assert_eq!(readers(&mini(&[("a/my-values.yaml", &values), ("a/kustomization.yaml", chart)])), ["moved/x"]);
    let inline = format!("namespace: moved\nhelmCharts:\n  - name: c\n    valuesInline:\n      extraObjects:\n{}", item(8, "x", "n"));
    assert_eq!(readers(&mini(&[("a/kustomization.yaml", &inline)])), ["moved/x"]);
    // It cannot move what Argo CD or Flux renders.
    let app = format!("{APPLICATION}      valuesObject:\n        extraObjects:\n{}", item(10, "x", "n"));
    assert_eq!(readers(&mini(&[("a/app.yaml", &app), ("a/kustomization.yaml", "namespace: argocd\nresources: [app.yaml]\n")])), ["n/x"]);
    let release = format!("{RELEASE}  values:\n    extraObjects:\n{}", item(6, "x", ""));
    assert_eq!(readers(&mini(&[("a/r.yaml", &release), ("a/kustomization.yaml", "namespace: moved\nresources: [r.yaml]\n")])), ["moved/x"]);
    let release = format!("{RELEASE}  values:\n    extraObjects:\n{}", item(6, "x", "n"));
    assert_eq!(readers(&mini(&[("a/r.yaml", &release), ("a/kustomization.yaml", "namespace: moved\nresources: [r.yaml]\n")])), ["n/x"]);
}

#[test]
fn a_stream_passes_byte_for_byte_but_for_its_external_secrets() {
    let ours = es("x", "n", "hf-token", "secret-store");
    let patched = ours.clone() + "        property: value\n";
    let sandbox = Sandbox::empty();
    let filter = |text: &str| sandbox.run_with_input(["patch", "-"], text.as_bytes());
    for (what, other) in [
        ("a duplicate label", "# Source: web/templates/service.yaml\nkind: Service\nmetadata:\n  labels:\n    a: b\n    a: b\n"),
        ("a tab", "kind: Service\n\tmetadata: x\n"),
        ("an unknown tag", "a: !Ref b\nc: !!binary x\n"),
        ("invalid YAML", "a: [\nb: }\n"),
        ("a template", "{{- if .Values.x }}\na: {{ b }}\n{{- end }}\n"),
        ("comments only", "# kind: ExternalSecret\n# Source: x\n"),
        ("nothing", "\n"),
        ("an alias without its anchor", "a: *b\n"),
        ("a comment about them in what is broken", "# an ExternalSecret\na: [\n"),
        ("a PushSecret with a duplicate field", "kind: PushSecret\nspec:\n  data: [{match: {remoteRef: {remoteKey: a, remoteKey: a}}}]\n"),
        ("a text of its own", "kind: ConfigMap\ndata:\n  a: |\n    kind: ExternalSecret\n    x: [\n"),
    ] {
        for (before, after) in [("", ""), ("---\n", "---\r\n"), ("%YAML 1.2\n---\n", "...\n---\n")] {
            let stream = |ours: &str| format!("{before}{ours}---\n{other}---\n{ours}{after}");
            assert_eq!(filter(&stream(&ours)).expect(0).stdout, stream(&patched), "{what}");
        }
        assert_eq!(filter(other).expect(0).stdout, other, "{what}");
    }
    // An ExternalSecret that cannot be read is an error, and nothing is printed.
    let ran = filter(&format!("{ours}---\nkind: ExternalSecret\n\tx: y\n")).expect(3);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("standard input:12:1"), "{}", ran.stderr);
    let ran = filter(&format!("---\n{}", ours.replace("kind: E", "x: {{ app }}-y\nkind: E"))).expect(3);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("template"), "{}", ran.stderr);
}

/// A tree around ExternalSecrets: their number, and how each layer is written.
#[derive(Clone, Debug)]
enum Tree {
    Secret {
        property: bool,
        anchored: bool,
    },
    Map(Vec<Tree>),
    List(Vec<Tree>),
    /// A JSON text in a scalar.
    Text(Box<Tree>),
    Other(String),
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        4 => (any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(property, anchored)| Tree::Secret { property, anchored }),
        1 => "[a-z :#{}'\"-]{0,12}".prop_map(Tree::Other),
    ];
    leaf.prop_recursive(5, 12, 3, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 1..4).prop_map(Tree::Map),
            3 => prop::collection::vec(inner.clone(), 1..4).prop_map(Tree::List),
            1 => inner.prop_map(|inner| Tree::Text(Box::new(inner))),
        ]
    })
}

/// Its JSON; an anchored `remoteRef` is the word `ANCHOR` until the text is YAML.
fn json(tree: &Tree) -> serde_json::Value {
    match tree {
        Tree::Secret { property, anchored } => {
            let mut remote = serde_json::json!({"key": "hf-token"});
            if *property {
                remote["property"] = "value".into();
            }
            let entry = if *anchored { serde_json::json!({"remoteRef": "ANCHOR"}) } else { serde_json::json!({"remoteRef": remote}) };
            serde_json::json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "spec": {"data": [entry]}})
        }
        Tree::Map(inner) => inner.iter().enumerate().map(|(i, one)| (format!("f{i}"), json(one))).collect::<serde_json::Map<_, _>>().into(),
        Tree::List(inner) => inner.iter().map(json).collect(),
        Tree::Text(inner) => json(inner).to_string().into(),
        Tree::Other(text) => text.clone().into(),
    }
}

/// The tree in one of several styles: JSON on one line or on many, YAML in block style or in flow.
fn styled(tree: &Tree, style: usize) -> String {
    let json = serde_json::json!({"root": json(tree)});
    let text = match style {
        0 => json.to_string(),
        1 => serde_json::to_string_pretty(&json).unwrap(),
        2 => serde_yaml::to_string(&json).unwrap(),
        3 => serde_yaml::to_string(&json).unwrap().replace('\n', "\r\n"),
        _ => format!("# a comment\n---\n{}\n---\n{}", json, serde_yaml::to_string(&json).unwrap()),
    };
    let text = text.replace("\"ANCHOR\"", "&r {key: hf-token, version: kept}");
    // In block style it is a word without quotes.
    text.replace("remoteRef: ANCHOR", "remoteRef: &r {key: hf-token, version: kept}")
}

/// How many ExternalSecrets outside of texts lack a property: those that can be edited, and those that are shared.
fn lacking(tree: &Tree) -> (usize, usize) {
    match tree {
        Tree::Secret { anchored: true, .. } => (0, 1),
        Tree::Secret { property, .. } => (usize::from(!property), 0),
        Tree::Map(inner) | Tree::List(inner) => inner.iter().map(lacking).fold((0, 0), |(a, b), (c, d)| (a + c, b + d)),
        Tree::Text(_) | Tree::Other(_) => (0, 0),
    }
}

/// How many ExternalSecrets there are, and how deeply texts are nested.
fn every(tree: &Tree) -> (usize, usize) {
    match tree {
        Tree::Secret { .. } => (1, 0),
        Tree::Map(inner) | Tree::List(inner) => inner.iter().map(every).fold((0, 0), |(a, b), (c, d)| (a + c, b.max(d))),
        Tree::Text(inner) => (every(inner).0, every(inner).1 + 1),
        Tree::Other(_) => (0, 0),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_is_edited_or_reported_and_all_other_bytes_stay(tree in tree(), style in 0usize..5) {
        let text = styled(&tree, style);
        let edited = add(&text, None, &|entry| (entry.key == "hf-token").then_some(Some("value")));
        let (open, shared) = lacking(&tree);
        let times = if style == 4 { 2 } else { 1 };
        prop_assert_eq!((edited.added, edited.refused.len()), (times * open, times * shared), "{}", text);
        let after = edited.text.unwrap_or(text.clone());
        // None is overlooked, not even in a text.
        let (all, layers) = every(&tree);
        let seen = find(&text, &yaml::documents(&text));
        prop_assert!(layers > 4 || seen.secrets.len() == times * all, "{}", text);
        // Another parser sees the same plus the properties, except for what was refused; and no character is lost.
        prop_assert_eq!(documents(&after), with_property(&text), "{}\n{}", text, after);
        let mut rest = after.chars();
        prop_assert!(text.chars().all(|c| rest.any(|other| other == c)));
        prop_assert_eq!(after.len() - text.len() > 0, open > 0);
        prop_assert!(add(&after, None, &|_| Some(Some("value"))).text.is_none());
        prop_assert!(style > 1 || shared > 0 || serde_json::from_str::<serde_json::Value>(&after).is_ok(), "{}", after);
    }
}
