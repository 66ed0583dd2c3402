//! `doctor` without a cluster: its Roles, and how it handles answers that a real API server seldom gives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use seal_secrets::manifest::contract_file;
use seal_secrets::model::{Check, Delivery, Places, Remedy, Status, Symptom};
use seal_secrets::pipeline::certificate::SealingCertificate;
use seal_secrets::pipeline::diagnose::{Snapshot, Wanted, diagnose};
use seal_secrets::world::World;
use serde_json::{Value, json};
use serde_yaml::Value as Yaml;

use crate::api_server::{Answers, kubeconfig, response, serve, serve_with};
use crate::common::{Sandbox, Shared, fixture, fixture_text};
use crate::diagnosis::is_golden;

#[test]
fn every_code_is_explained() {
    let document = std::fs::read_to_string(fixture("../docs/troubleshooting.md")).unwrap();
    let headings: Vec<&str> = document.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let all: Vec<&str> = Symptom::ALL.iter().map(|symptom| symptom.as_str()).collect();
    assert_eq!(headings, all, "docs/troubleshooting.md has one heading for each code, in their order");
}

/// The checks that a snapshot has in addition to those of an empty one.
fn found(snapshot: &Snapshot) -> Vec<Check> {
    let none = checks(&Snapshot::default());
    checks(snapshot).into_iter().filter(|check| !none.contains(check)).collect()
}

fn checks(snapshot: &Snapshot) -> Vec<Check> {
    let contract = contract_file::read("c", contract_file::EMBEDDED).unwrap();
    let certificate = SealingCertificate::read(fixture_text("fixtures/certificates/good.crt").as_bytes()).unwrap().digest;
    let [keys, out, secrets] = ["keys", "out", "secrets"].map(std::path::Path::new);
    let places = Places::new(keys, out, secrets, None, &[]);
    let (delivery, sealed) = (Delivery::default(), BTreeMap::new());
    let controller = ("kube-system", "sealed-secrets-controller");
    let own_key = true;
    let wanted = Wanted { contract: &contract, delivery: &delivery, certificate, own_key, sealed: &sealed, controller, places: &places };
    diagnose(snapshot, &wanted)
}

#[test]
fn c18_a_controller_with_a_known_vulnerability_is_named() {
    let all = [
        "`/v1/rotate` can widen the scope of a value, so that it opens elsewhere (CVE-2026-22728)",
        "`/v1/verify` tells, bit by bit, what a sealed value is, to any account that may call it",
        "`/v1/rotate` tells, bit by bit, what a sealed value is, to any account that may call it",
    ];
    for (image, label, says) in [
        ("docker.io/bitnami/sealed-secrets-controller:0.35.0", "", Some(("0.35.0", 3))),
        ("sealed-secrets-controller:v0.9.8", "0.36.6", Some(("0.9.8", 3))),
        ("registry.example:5000/sealed-secrets-controller:0.27.1-debian-12-r0@sha256:00", "", Some(("0.27.1", 3))),
        ("registry.example:5000/sealed-secrets-controller@sha256:00", "0.29.0", Some(("0.29.0", 3))),
        ("sealed-secrets-controller:latest", "0.30.0", Some(("0.30.0", 3))),
        ("sealed-secrets-controller:0.36.0", "0.35.0", Some(("0.36.0", 2))),
        ("sealed-secrets-controller:0.38.4", "", Some(("0.38.4", 2))),
        ("sealed-secrets-controller:0.39.1", "", Some(("0.39.1", 1))),
        ("sealed-secrets-controller:0.40.0", "0.35.0", None),
        ("sealed-secrets-controller:1.0.0", "", None),
        ("sealed-secrets-controller:latest", "", None),
    ] {
        let controller = json!({
            "metadata": { "name": "x", "labels": { "app.kubernetes.io/version": label } },
            "spec": { "template": { "spec": { "containers": [{ "image": image, "args": ["--key-renew-period=0"] }] } } },
            "status": { "availableReplicas": 1 },
        });
        let snapshot = Snapshot { controller: Some(controller), ..Snapshot::default() };
        let found = found(&snapshot);
        let expected = says.map(|(says, harms)| Check {
            category: "controller",
            what: vec!["its version".to_owned()],
            status: Status::Warning,
            symptom: Some(Symptom::ControllerVulnerable),
            cause: format!("version {says}: {}", all[3 - harms..].join("; ")),
            remedy: Remedy::Advice("upgrade the controller to 0.40.0 or newer".to_owned()),
        });
        let good = |what: &str| found.iter().any(|check| check.status == Status::Good && check.what == [what]);
        assert!(good("kube-system/sealed-secrets-controller runs") && good("it never generates its own key"), "{found:?}");
        let others: Vec<_> = found.iter().filter(|check| check.status != Status::Good).collect();
        // This Deployment has no Service.
        let (last, others) = others.split_last().unwrap();
        assert_eq!(last.symptom, Some(Symptom::ServiceMissing));
        assert_eq!(others.iter().map(|check| (*check).clone()).collect::<Vec<_>>(), Vec::from_iter(expected), "{image} {label}");
    }
}

#[test]
fn c20_clocks_that_are_apart_are_noticed() {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    for (ahead, behind, says) in [
        (300, 0, None),
        (0, 300, None),
        (301, 0, Some("5 minutes ahead of")),
        (0, 301, Some("5 minutes behind")),
        (0, 86400, Some("1440 minutes behind")),
    ] {
        let ours = noon + Duration::from_secs(ahead) - Duration::from_secs(behind);
        let snapshot = Snapshot { clocks: Some((noon, ours)), ..Snapshot::default() };
        let expected = says.map(|says| Check {
            category: "api server",
            what: vec!["its clock".to_owned()],
            status: Status::Warning,
            symptom: Some(Symptom::ClockSkew),
            cause: format!("this machine's clock is {says} the API server's"),
            remedy: Remedy::Advice("set the clock of the machine where it is wrong: `timedatectl set-ntp true`".to_owned()),
        });
        assert_eq!(found(&snapshot), Vec::from_iter(expected));
    }
}

/// The checks that `doctor` derives from a fake API server's answers; a golden file of this name has all that it shows.
fn ask(name: &str, answers: Answers, settings: &str) -> Vec<Value> {
    let (port, _) = serve(answers);
    let sandbox = Sandbox::bootstrapped();
    kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
    std::fs::create_dir(sandbox.path("some where")).unwrap();
    std::fs::rename(sandbox.path("out"), sandbox.path("some where/out")).unwrap();
    sandbox.set(&format!("out: some where/out\n{settings}"));
    let doctor = ["doctor", "--kubeconfig", "kubeconfig"];
    let minutes = regex::Regex::new(r"is \d+ minutes").unwrap();
    let shown = minutes.replace(&sandbox.start(doctor).expect(1).stdout, "is N minutes").into_owned();
    is_golden(&format!("goldens/doctor/{name}.txt"), &shown);
    let report: Value = serde_json::from_str(&sandbox.start([&doctor[..], &["--json"]].concat()).expect(1).stdout).unwrap();
    report["checks"].as_array().unwrap().clone()
}

fn with_code<'c>(checks: &'c [Value], code: &str) -> Vec<&'c Value> {
    checks.iter().filter(|check| check["code"] == code).collect()
}

fn nothing() -> Vec<u8> {
    response("404 Not Found", JSON, r#"{"kind":"Status","reason":"NotFound"}"#)
}

const JSON: &str = "Content-Type: application/json\r\n";

/// A cluster with CRDs and namespaces, and nothing else.
fn bare(_: usize, path: &str) -> Vec<u8> {
    const BITNAMI: &str = r#"{"kind":"APIResourceList","resources":[{"name":"sealedsecrets"}]}"#;
    const ESO: &str =
        r#"{"kind":"APIResourceList","resources":[{"name":"clustersecretstores"},{"name":"secretstores"},{"name":"externalsecrets"}]}"#;
    let ok = |body| response("200 OK", JSON, body);
    match path {
        "/version" => response("200 OK", &format!("{JSON}Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"), r#"{"gitVersion":"v1.34.4"}"#),
        "/apis/bitnami.com/v1alpha1" => ok(BITNAMI),
        "/apis/external-secrets.io/v1" => ok(ESO),
        _ if path.ends_with("selfsubjectreviews") => ok(r#"{"kind":"SelfSubjectReview","status":{"userInfo":{"username":"me"}}}"#),
        _ if path.ends_with("subjectaccessreviews") => ok(r#"{"kind":"SubjectAccessReview","status":{"allowed":true}}"#),
        _ if path.starts_with("/api/v1/namespaces/") && path.matches('/').count() == 4 => ok(r#"{"kind":"Namespace"}"#),
        _ => nothing(),
    }
}

#[test]
fn each_form_has_its_own_accounts_and_stores_and_remedies_name_the_folders_given() {
    let checks = ask("bare", bare, "");
    let count =
        |checks: &[Value], code| -> usize { with_code(checks, code).iter().map(|one| one["names"].as_array().unwrap().len()).sum() };
    assert_eq!((count(&checks, "account-missing"), count(&checks, "store-missing"), count(&checks, "clock-skew")), (1, 1, 1));
    assert_eq!(with_code(&checks, "store-missing")[0]["remedy"], "kubectl apply -k 'some where/out'/secret-store");
    assert!(!checks.iter().any(|check| check["remedy"].as_str().unwrap().contains(" out/")), "{checks:#?}");
    let provide = &with_code(&checks, "sealed-secret-missing")[0]["remedy"];
    assert_eq!(provide, "kubectl apply -k 'some where/out'/secret-source");

    let checks = ask("isolation", bare, "store: { isolation: namespace }");
    assert_eq!((count(&checks, "account-missing"), count(&checks, "store-missing")), (12, 1));

    let checks = ask("store-kind", bare, "store: { kind: SecretStore, file: platform/store.yaml }");
    assert_eq!((count(&checks, "account-missing"), count(&checks, "store-missing")), (12, 12));
    // A missing namespace of consumers may never be needed.
    fn without(n: usize, path: &str) -> Vec<u8> {
        if path.ends_with("/namespaces/n8n") { nothing() } else { bare(n, path) }
    }
    let less = ask("namespace-gone", without, "store: { kind: SecretStore }");
    assert_eq!((count(&less, "account-missing"), count(&less, "store-missing")), (11, 11));
    let missing = with_code(&less, "namespace-missing");
    assert!(missing.len() == 1 && missing[0]["what"] == "n8n" && missing[0]["status"] == "warning", "{missing:?}");

    let remedy = with_code(&checks, "store-missing")[0]["remedy"].as_str().unwrap();
    assert!(remedy.ends_with("/secret-store && kubectl apply -f platform/store.yaml"), "{remedy}");
}

#[test]
fn the_picture_shows_the_chain_and_points_at_what_is_broken() {
    fn answers(n: usize, path: &str) -> Vec<u8> {
        match path {
            "/apis/external-secrets.io/v1" => nothing(),
            _ if path.ends_with("selfsubjectreviews") => {
                let odd = r#"{"kind":"SelfSubjectReview","status":{"userInfo":{"username":"a\"b<c>#d"}}}"#;
                response("200 OK", JSON, odd)
            }
            _ if path.contains("/events") => response("403 Forbidden", JSON, "{}"),
            _ => bare(n, path),
        }
    }
    let (port, _) = serve(answers);
    let sandbox = Sandbox::small();
    kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
    let contract = ["--contract", "contract.yaml"];
    let doctor = ["doctor", "--kubeconfig", "kubeconfig", "-o", "mermaid"];
    let shown = sandbox.start([&doctor[..], &contract].concat()).expect(1).stdout;
    let chain = sandbox.run([&["contract", "--format", "mermaid"], &contract[..]].concat()).expect(0).stdout;
    is_golden("goldens/doctor/picture.txt", shown.strip_prefix(&chain).unwrap_or_else(|| panic!("{shown}")));
}

/// A clock that moves on 30 seconds each time it is asked.
fn in_steps() -> SystemTime {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + 30 * ASKED.fetch_add(1, Ordering::SeqCst))
}

#[test]
fn whoever_waits_for_it_sees_what_it_does() {
    let stderr: Arc<OnceLock<Shared>> = Arc::default();
    let (shown, begun) = (stderr.clone(), Instant::now());
    let (port, _) = serve_with(move |n, path, _| {
        // The first answer comes once the progress line is shown.
        while path == "/version" && !shown.get().unwrap().text().contains("asking the API server (") {
            assert!(begun.elapsed() < Duration::from_secs(300), "nothing is shown");
            std::thread::yield_now();
        }
        bare(n, path)
    });
    let sandbox = Sandbox::bootstrapped();
    kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
    let with = |world: World, shared: Shared| {
        assert!(stderr.set(shared).is_ok());
        World {
            clock: in_steps,
            variable: |name| (name == "TERM").then(|| "xterm".to_owned()),
            server_patience: Duration::from_secs(600),
            ..world
        }
    };
    // The clock is asked at the start, for the server's clock, and at the end of each look.
    let ran = sandbox.run_watched(Duration::ZERO, with, &["doctor", "--kubeconfig", "kubeconfig", "--wait", "90s"]);
    const CLEAR: &str = "\r\u{1b}[K";
    let asking = format!(r"({clear}asking the API server \(\d+ s\))+{clear}", clear = regex::escape(CLEAR));
    let rest = regex::Regex::new(&asking).unwrap().replace_all(&ran.stderr, "").into_owned();
    let expected = format!(
        "context fake, https://127.0.0.1:{port}\n20 checks are open; waiting\n{CLEAR}waited 60 s of 90 s{CLEAR}the commands are for this cluster only: add `--context fake` to each `kubectl` if it is not the current one\n"
    );
    assert_eq!((ran.code, rest), (1, expected), "{}", ran.stdout);
}

#[test]
fn a_right_that_is_missing_hides_only_what_depends_on_it() {
    fn answers(n: usize, path: &str) -> Vec<u8> {
        let refused = path.contains("/secrets/") || path.contains("/serviceaccounts/") || path.contains("/events");
        if refused { response("403 Forbidden", JSON, "{}") } else { bare(n, path) }
    }
    let checks = ask("forbidden", answers, "");
    let forbidden = with_code(&checks, "forbidden");
    let rights = "this account may not get secrets in secret-source, get serviceaccounts in external-secrets, list events";
    assert!(forbidden.len() == 1 && forbidden[0]["cause"] == rights, "{forbidden:#?}");
    let remedy = forbidden[0]["remedy"].as_str().unwrap();
    assert!(remedy.starts_with("seal-secrets doctor --print-rbac"), "{remedy}");
    let skipped: BTreeSet<&str> =
        checks.iter().filter(|check| check["status"] == "skipped").map(|check| check["category"].as_str().unwrap()).collect();
    assert_eq!(skipped, BTreeSet::from(["accounts", "source secrets"]));
    for code in ["controller-missing", "sealed-secret-missing", "operator-down", "store-missing"] {
        assert!(!with_code(&checks, code).is_empty(), "{code} is seen all the same");
    }
}

#[test]
fn the_reader_that_a_helm_chart_renders_is_found_by_its_target() {
    fn answers(n: usize, path: &str) -> Vec<u8> {
        const LIST: &str = r#"{"kind":"ExternalSecretList","items":[
            {"metadata":{"name":"release-portal","namespace":"elsewhere"},"spec":{"target":{"name":"key-portal"}}},
            {"metadata":{"name":"release-portal","namespace":"experience"},"spec":{
                "target":{"name":"key-portal"},"secretStoreRef":{"kind":"ClusterSecretStore","name":"secret-store"},
                "data":[{"secretKey":"LITELLM_MASTER_KEY","remoteRef":{"key":"litellm-master-key"}}]}},
            {"metadata":{"name":"vllm-api-key","namespace":"serving"},"spec":{
                "data":[{"secretKey":"api-key","remoteRef":{"key":"vllm-api-key","property":"value"}}],
                "secretStoreRef":{"name":"secret-store"}}}]}"#;
        if path.ends_with("/v1/externalsecrets") { response("200 OK", JSON, LIST) } else { bare(n, path) }
    }
    let checks = ask("helm", answers, "");
    let found = with_code(&checks, "property-missing");
    assert!(found.len() == 1 && found[0]["what"] == "experience/release-portal", "{found:#?}");
    assert!(found[0]["cause"].as_str().unwrap().contains("its chart's values"), "{found:#?}");
    assert!(!with_code(&checks, "external-secret-missing").iter().any(|check| check["what"].as_str().unwrap().contains("portal")));
    // Without a kind an ExternalSecret means a SecretStore.
    let found = with_code(&checks, "other-store");
    assert!(found.len() == 1 && found[0]["what"] == "serving/vllm-api-key", "{found:#?}");
    let patch = r#"[{"op":"add","path":"/spec/secretStoreRef","value":{"kind":"ClusterSecretStore","name":"secret-store"}}]"#;
    assert!(found[0]["remedy"].as_str().unwrap().ends_with(&format!("--type=json -p '{patch}'")), "{found:#?}");
    // If it does not exist, it is not reported.
    let checks = ask("bare", bare, "");
    assert!(!checks.iter().any(|check| check["what"].as_str().unwrap().contains("portal")), "{checks:#?}");
}

/// The Roles of a command line.
fn roles(sandbox: &Sandbox, args: &[&str]) -> Vec<Yaml> {
    let text = sandbox.run([&["doctor"], args].concat()).expect(0).stdout;
    serde_yaml::Deserializer::from_str(&text).map(|document| serde::Deserialize::deserialize(document).unwrap()).collect()
}

fn rules(roles: &[Yaml]) -> impl Iterator<Item = &Yaml> {
    roles.iter().flat_map(|role| role["rules"].as_sequence().unwrap())
}

#[test]
fn the_roles_of_each_command_are_printed_and_give_little() {
    let sandbox = Sandbox::empty();
    let all = roles(&sandbox, &["--print-rbac"]);
    let commands = ["doctor", "key-secret", "fetch-cert", "backup", "import", "re-encrypt"];
    let each: Vec<Vec<Yaml>> = commands.iter().map(|command| roles(&sandbox, &[&format!("--print-rbac={command}")])).collect();
    assert_eq!(all, each.concat());
    for (command, roles) in commands.iter().zip(&each) {
        assert!(roles.iter().all(|role| role["metadata"]["name"] == format!("seal-secrets-{command}")), "{roles:?}");
    }
    for rule in rules(&all) {
        let has = |verb: &str| rule["verbs"].as_sequence().unwrap().contains(&verb.into());
        let names = rule["resourceNames"].as_sequence();
        assert!(!has("*") && names.is_none_or(|names| !names.is_empty()), "{rule:?}");
        // A review changes nothing, and the Services are also listed.
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
    // No consumers to import from: an empty list of names would be the right to everything.
    assert_eq!(names(&["--contract", "unread.yaml", "--print-rbac=import"]), keys);
    // Each form has its own store, and namespaces with an account.
    let usual = names(&["--print-rbac=doctor"]);
    sandbox.set("store: { kind: SecretStore }");
    let form = names(&["--print-rbac=doctor"]);
    assert!(form.contains("- secret-store\n") && usual.contains("- n8n\n"), "{form}");
    let doctor = roles(&sandbox, &["--print-rbac=doctor"]);
    assert!(rules(&doctor).any(|rule| rule["resources"][0] == "secretstores"), "{doctor:?}");
}
