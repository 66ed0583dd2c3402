//! `doctor` before a real cluster that was broken on purpose: it names exactly the cause, and its remedy heals.

use std::collections::BTreeSet;
use std::process::Output;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::harness::{Cluster, SOON};
use crate::repository::Repository;

/// What `doctor` found wrong: code, object, remedy.
type Fault = [String; 3];

/// A way to break a cluster. The commands run in the repository, as the administrator.
struct Case {
    name: &'static str,
    breaks: &'static str,
    /// The only fault: its code, and the object.
    finds: (&'static str, &'static str),
    /// What heals where the remedy is nothing to paste.
    by_hand: Option<&'static str>,
}

const fn case(name: &'static str, breaks: &'static str, code: &'static str, what: &'static str) -> Case {
    Case { name, breaks, finds: (code, what), by_hand: None }
}

/// kubectl does not restart what was restarted within the same second.
const RESTART_CONTROLLER: &str = "restart_controller() {
  for _ in {1..60}; do kubectl -n kube-system rollout restart deployment/sealed-secrets-controller && return; done
  return 1
}";

/// Each is broken, found and healed in turn, on the same cluster.
const CASES: &[Case] = &[
    case(
        "a SealedSecret is deleted",
        "kubectl -n secret-source delete sealedsecret n8n-encryption-key --cascade=foreground",
        "sealed-secret-missing",
        "n8n-encryption-key",
    ),
    case(
        "sealed to another key",
        "kubectl apply -f other/out/secret-source/n8n-encryption-key.sealed.yaml",
        "sealed-to-another-key",
        "n8n-encryption-key",
    ),
    case(
        "a namePrefix",
        "sed 's/^  name: /&prod-/' out/secret-source/n8n-encryption-key.sealed.yaml | kubectl apply -f -
         kubectl -n secret-source delete sealedsecret n8n-encryption-key --cascade=foreground",
        "sealed-secret-moved",
        "n8n-encryption-key",
    ),
    case(
        "another namespace",
        "sed 's/^  namespace: .*/  namespace: default/' out/secret-source/n8n-encryption-key.sealed.yaml | kubectl apply -f -
         kubectl -n secret-source delete sealedsecret n8n-encryption-key --cascade=foreground",
        "sealed-secret-moved",
        "n8n-encryption-key",
    ),
    case(
        "corrupted base64",
        r#"kubectl -n secret-source patch sealedsecret n8n-encryption-key --type=merge -p '{"spec":{"encryptedData":{"value":"AgB!"}}}'"#,
        "sealed-secret-corrupt",
        "n8n-encryption-key",
    ),
    case(
        "the ciphertext of another value",
        r#"other=$(kubectl -n secret-source get sealedsecret vllm-api-key -o 'jsonpath={.spec.encryptedData.value}')
         kubectl -n secret-source patch sealedsecret n8n-encryption-key --type=merge -p '{"spec":{"encryptedData":{"value":"'$other'"}}}'"#,
        "key-came-later",
        "n8n-encryption-key",
    ),
    case(
        "a type that the Secret cannot have",
        r#"kubectl -n secret-source patch sealedsecret n8n-encryption-key --type=merge -p '{"spec":{"template":{"type":"kubernetes.io/tls"}}}'"#,
        "sealed-secret-failed",
        "n8n-encryption-key",
    ),
    case(
        "a Secret in the way",
        "kubectl -n secret-source delete sealedsecret n8n-encryption-key --cascade=foreground
         kubectl -n secret-source create secret generic n8n-encryption-key --from-literal=value=x
         kubectl apply -k out/secret-source",
        "secret-in-the-way",
        "n8n-encryption-key",
    ),
    // Nobody waits for a controller that is slow: it is made to look as if it had not come by yet.
    case(
        "a SealedSecret that the controller has not looked at",
        "kubectl -n secret-source patch sealedsecret n8n-encryption-key --subresource=status --type=merge -p '{\"status\":{\"observedGeneration\":0}}'",
        "sealed-secret-pending",
        "n8n-encryption-key",
    ),
    // One that it does not own is not made again.
    case(
        "a source Secret is deleted",
        r#"kubectl -n secret-source patch secret n8n-encryption-key --type=json -p '[{"op":"remove","path":"/metadata/ownerReferences"}]'
         kubectl -n secret-source delete secret n8n-encryption-key"#,
        "source-missing",
        "n8n-encryption-key",
    ),
    case(
        "a source Secret without value",
        r#"kubectl -n secret-source patch secret n8n-encryption-key --type=json -p '[{"op":"remove","path":"/data/value"}]'"#,
        "source-without-value",
        "n8n-encryption-key",
    ),
    case(
        "the property missing",
        r#"kubectl -n n8n patch externalsecret n8n-core-secrets --type=json -p '[{"op":"remove","path":"/spec/data/0/remoteRef/property"}]'"#,
        "property-missing",
        "n8n/n8n-core-secrets",
    ),
    case(
        "the wrong property",
        r#"kubectl -n n8n patch externalsecret n8n-core-secrets --type=json \
             -p '[{"op":"replace","path":"/spec/data/0/remoteRef/property","value":"v"}]'"#,
        "property-wrong",
        "n8n/n8n-core-secrets",
    ),
    case(
        "a Role without a name",
        "kubectl -n secret-source get role eso-reader -o yaml | sed '/^ *- n8n-encryption-key$/d' | kubectl replace -f -
         kubectl -n n8n annotate externalsecret n8n-core-secrets force-sync=role --overwrite",
        "role-without-name",
        "n8n-encryption-key",
    ),
    case(
        "conditions without a namespace",
        "kubectl patch clustersecretstore secret-store --type=json -p '[
           {\"op\":\"test\",\"path\":\"/spec/conditions/0/namespaces/9\",\"value\":\"n8n\"},
           {\"op\":\"remove\",\"path\":\"/spec/conditions/0/namespaces/9\"}]'
         kubectl -n n8n annotate externalsecret n8n-core-secrets force-sync=conditions --overwrite",
        "namespace-not-allowed",
        "n8n/n8n-core-secrets",
    ),
    case(
        "the reader's account is missing",
        "kubectl -n external-secrets delete serviceaccount eso-reader
         kubectl annotate clustersecretstore secret-store force-sync=account --overwrite
         kubectl wait clustersecretstore secret-store --for=condition=Ready=False --timeout=30s",
        "account-missing",
        "external-secrets/eso-reader",
    ),
    case(
        "caProvider without namespace",
        r#"kubectl patch clustersecretstore secret-store --type=json \
             -p '[{"op":"remove","path":"/spec/provider/kubernetes/server/caProvider/namespace"}]'"#,
        "ca-namespace-missing",
        "secret-store",
    ),
    case(
        "a store with a wrong CA",
        r#"kubectl patch clustersecretstore secret-store --type=merge \
             -p '{"spec":{"provider":{"kubernetes":{"server":{"caProvider":{"name":"nope"}}}}}}'"#,
        "store-not-ready",
        "secret-store",
    ),
    case(
        "a store with a wrong URL",
        r#"kubectl patch clustersecretstore secret-store --type=merge \
             -p '{"spec":{"provider":{"kubernetes":{"server":{"url":"https://kubernetes.default.svc:6443"}}}}}'"#,
        "store-differs",
        "secret-store",
    ),
    case("no store", "kubectl delete clustersecretstore secret-store", "store-missing", "secret-store"),
    Case {
        name: "an ExternalSecret that wants more",
        breaks: r#"kubectl -n n8n patch externalsecret n8n-core-secrets --type=json \
             -p '[{"op":"add","path":"/spec/data/-","value":{"secretKey":"x","remoteRef":{"key":"not-ours","property":"value"}}}]'"#,
        finds: ("external-secret-failed", "n8n/n8n-core-secrets"),
        by_hand: Some(
            r#"kubectl -n n8n patch externalsecret n8n-core-secrets --type=json -p '[{"op":"remove","path":"/spec/data/1"}]'"#,
        ),
    },
    case(
        "ESO is down",
        "kubectl -n external-secrets scale deployment/external-secrets --replicas=0",
        "operator-down",
        "the External Secrets Operator",
    ),
    case(
        "the controller is down",
        "kubectl -n kube-system scale deployment/sealed-secrets-controller --replicas=0
         kubectl -n kube-system wait deployment/sealed-secrets-controller --for=jsonpath='{.spec.replicas}'=0
         kubectl -n secret-source patch sealedsecret n8n-encryption-key --type=merge -p '{\"spec\":{\"encryptedData\":{\"value\":\"AgB!\"}}}'
         kubectl apply -k out/secret-source",
        "controller-down",
        "kube-system/sealed-secrets-controller",
    ),
    case(
        "a second, newer key",
        "seal-secrets --keys other/keys key-secret | sed 's/^  name: .*/  name: another/' | kubectl apply -f -
         restart_controller
         kubectl -n kube-system rollout status deployment/sealed-secrets-controller --timeout=60s",
        "several-keys",
        "its certificate",
    ),
    case(
        "the controller started before its key",
        "kubectl -n kube-system delete secret sealed-secrets-key
         restart_controller
         kubectl -n kube-system rollout status deployment/sealed-secrets-controller --timeout=60s
         seal-secrets key-secret | kubectl apply -f -",
        "several-keys",
        "its certificate",
    ),
    case(
        "the controller has another key only",
        "kubectl -n kube-system delete secret sealed-secrets-key
         restart_controller
         kubectl -n kube-system rollout status deployment/sealed-secrets-controller --timeout=60s",
        "certificate-differs",
        "its certificate",
    ),
    case(
        "a key Secret that is none",
        "kubectl -n kube-system create secret generic broken --type=kubernetes.io/tls --from-literal=tls.crt=x --from-literal=tls.key=x
         kubectl -n kube-system label secret broken sealedsecrets.bitnami.com/sealed-secrets-key=active
         restart_controller",
        "controller-down",
        "kube-system/sealed-secrets-controller",
    ),
    // ESO makes a target again that it sees go, and it sees those with its label.
    case(
        "a target is deleted",
        "kubectl -n n8n label secret n8n-core-secrets reconcile.external-secrets.io/managed-
         kubectl -n n8n delete secret n8n-core-secrets",
        "target-missing",
        "n8n/n8n-core-secrets",
    ),
    case(
        "a source Secret is newer than its target",
        r#"kubectl -n secret-source patch secret oauth2-proxy-cookie-secret -p '{"stringData":{"value":"rotated"}}'"#,
        "target-stale",
        "oauth2-proxy/oauth2-proxy-secrets",
    ),
];

/// A form of delivery, in a folder of its own: its flags, and the ways to break it.
struct Form {
    folder: &'static str,
    /// The settings' `store`.
    store: &'static str,
    args: &'static [&'static str],
    /// What doctor has to mend before all is well.
    first: Option<&'static str>,
    cases: &'static [Case],
}

/// The forms that are not the usual one.
const FORMS: [Form; 2] = [
    Form {
        folder: "isolated",
        store: "{ isolation: namespace }",
        args: &["--settings", "isolated.yaml"],
        first: None,
        cases: &[
            case(
                "isolated: an account is missing",
                "kubectl -n n8n delete serviceaccount eso-reader
                 kubectl -n n8n annotate externalsecret n8n-core-secrets force-sync=account --overwrite",
                "account-missing",
                "n8n/eso-reader",
            ),
            case(
                "isolated: a Role without a name",
                "kubectl -n secret-source get role eso-reader-litellm -o yaml | sed '/^ *- litellm-salt-key$/d' | kubectl replace -f -
                 kubectl -n litellm annotate externalsecret litellm-secrets force-sync=role --overwrite",
                "role-without-name",
                "litellm/litellm-salt-key",
            ),
        ],
    },
    Form {
        folder: "stores",
        store: "{ kind: SecretStore }",
        args: &["--settings", "stores.yaml"],
        first: Some("other-store"),
        cases: &[
            case("SecretStore: one is missing", "kubectl -n n8n delete secretstore secret-store", "store-missing", "n8n/secret-store"),
            case(
                "SecretStore: an account is missing",
                "kubectl -n n8n delete serviceaccount eso-reader
                 kubectl -n n8n annotate secretstore secret-store force-sync=account --overwrite
                 kubectl -n n8n wait secretstore secret-store --for=condition=Ready=False --timeout=30s",
                "account-missing",
                "n8n/eso-reader",
            ),
        ],
    },
];

/// What a healed cluster may need next: the operator looks again later, and a key that was added is not served yet.
const NEXT: [&str; 3] = ["target-stale", "external-secret-failed", "several-keys"];

struct Patient<'c> {
    cluster: &'c Cluster,
    repository: &'c Repository,
    /// What doctor is told of its form.
    form: &'static [&'static str],
}

impl Patient<'_> {
    /// Runs commands as somebody would who pastes them.
    fn shell(&self, commands: &str) -> Result<String, String> {
        let mut shell = self.cluster.command("bash");
        shell.args(["-euxo", "pipefail", "-c", &format!("{RESTART_CONTROLLER}\n{commands}")]).current_dir(self.repository.path(""));
        crate::kubectl::run(&mut shell, "")
    }

    /// Runs a remedy. kubectl does not restart what was restarted within the same second, and says so.
    fn paste(&self, remedy: &str) -> Result<(), String> {
        let ran = crate::process::poll(SOON, || match self.shell(remedy) {
            Err(why) if why.contains("please wait before attempting to trigger another") => None,
            ran => Some(ran.map(drop)),
        });
        ran.unwrap_or_else(|| Err(format!("still to wait for: {remedy}")))
    }

    /// `doctor` with these arguments. No value is ever in what it says.
    fn ask(&self, args: &[&str]) -> Output {
        let mut command = self.cluster.command(env!("CARGO_BIN_EXE_seal-secrets"));
        let said =
            command.arg("doctor").args(self.form).args(args).current_dir(self.repository.path("")).output().expect("seal-secrets starts");
        let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        for (key, value) in &self.repository.values {
            let plain = STANDARD.decode(value).expect("base64");
            assert!(!text.contains(value) && !text.contains(String::from_utf8_lossy(&plain).as_ref()), "doctor shows {key}");
        }
        said
    }

    /// What it found wrong; its exit code agrees.
    fn faults(&self, args: &[&str]) -> Vec<Fault> {
        let said = self.ask(&[&["--json"], args].concat());
        let report: Value = serde_json::from_slice(&said.stdout)
            .unwrap_or_else(|error| panic!("no JSON: {error}\n{}", String::from_utf8_lossy(&said.stderr)));
        let bad = report["checks"].as_array().expect("checks").iter().filter(|check| check["status"] == "bad");
        let bad: Vec<Fault> = bad.map(|check| ["code", "what", "remedy"].map(|field| crate::text(&check[field]).to_owned())).collect();
        let code = if bad.iter().any(|[code, ..]| code == "api-unreachable") { 7 } else { i32::from(!bad.is_empty()) };
        assert_eq!(said.status.code(), Some(code), "the exit code");
        bad
    }

    fn names(&self, case: &Case) -> Result<(), String> {
        self.shell(case.breaks)?;
        let mut last = Vec::new();
        let found = crate::process::poll(SOON / 3, || {
            last = self.faults(&[]);
            matches!(&last[..], [[code, what, _]] if (code.as_str(), what.as_str()) == case.finds).then_some(())
        });
        found.ok_or_else(|| format!("doctor finds {last:#?}"))
    }

    /// Follows what doctor advises until all is well.
    fn heal(&self, by_hand: Option<&str>) -> Result<(), String> {
        let mut faults = self.faults(&[]);
        for _ in 0..4 {
            let remedies: BTreeSet<&str> = faults.iter().map(|[_, _, remedy]| remedy.as_str()).collect();
            for remedy in by_hand.map_or(remedies, |by_hand| BTreeSet::from([by_hand])) {
                self.paste(remedy)?;
            }
            let before = std::mem::take(&mut faults);
            let mut last = Vec::new();
            let next = crate::process::poll(SOON / 2, || {
                last = self.faults(&[]);
                let settled = last.iter().all(|[code, _, _]| NEXT.contains(&code.as_str()));
                (settled && last != before).then(|| last.clone())
            });
            faults = next.ok_or_else(|| format!("after the remedy doctor finds {last:#?}"))?;
            if faults.is_empty() {
                return Ok(());
            }
            eprintln!("  next: {:?}", faults.iter().map(|[code, what, _]| format!("{code} {what}")).collect::<Vec<_>>());
        }
        Err(format!("four remedies later doctor finds {faults:#?}"))
    }

    /// Breaks and heals in each of these ways; those that went wrong, and why.
    fn try_all(&self, cases: &[Case]) -> Vec<String> {
        let mut wrong = Vec::new();
        // To try one of them: DOCTOR_CASE="a namePrefix".
        let only = std::env::var("DOCTOR_CASE").unwrap_or_default();
        for case in cases.iter().filter(|case| case.name.contains(&only)) {
            let start = std::time::Instant::now();
            let result = self.names(case).and_then(|()| self.heal(case.by_hand));
            eprintln!("{:.1?} {} {}", start.elapsed(), case.name, if result.is_ok() { "ok" } else { "WRONG" });
            if let Err(why) = result {
                eprintln!("{why}");
                wrong.push(format!("{}: {why}", case.name));
                if self.form.is_empty() {
                    self.mend();
                }
            }
        }
        wrong
    }

    /// Another form takes the place of the one that is there, with the same values: the keys know a second folder, as older versions' might.
    fn turn_into(&self, form: &Form) -> Patient<'_> {
        let (folder, store, flags) = (form.folder, form.store, form.args.join(" "));
        self.shell(&format!(
            "printf 'version: 1\\nout: {folder}\\nstore: {store}\\n' > {folder}.yaml && cp -r out {folder}
             lines=$(sed -n 's|\\.\\./out$|../{folder}|p' keys/sealed.txt) && echo \"$lines\" >> keys/sealed.txt
             seal-secrets bootstrap {flags}
             kubectl -n secret-source delete role,rolebinding --all
             kubectl -n external-secrets delete serviceaccount eso-reader --ignore-not-found
             kubectl delete clustersecretstore --all
             kubectl apply -k {folder}/secret-source && kubectl apply -k {folder}/secret-store
             kubectl annotate externalsecret -A --all force-sync={folder} --overwrite"
        ))
        .expect("the form is applied");
        let patient = Patient { form: form.args, ..*self };
        if let Some(code) = form.first {
            let all = |faults: Vec<Fault>| !faults.is_empty() && faults.iter().all(|[found, _, _]| found == code);
            self.cluster.wait_for(code, SOON, || all(patient.faults(&[])).then_some(()));
            patient.heal(None).unwrap_or_else(|why| panic!("{}: {why}", form.folder));
        }
        self.cluster.wait_for(form.folder, SOON, || patient.faults(&[]).is_empty().then_some(()));
        patient
    }

    /// Whether it warns of this.
    fn warns(&self, code: &str) -> bool {
        let said = self.ask(&["--json"]);
        let report: Value = serde_json::from_slice(&said.stdout).expect("JSON");
        report["checks"].as_array().expect("checks").iter().any(|check| check["status"] == "warning" && check["code"] == code)
    }

    /// When a remedy did not: the next case needs a healthy cluster.
    fn mend(&self) {
        self.shell(
            "kubectl -n kube-system label secret -l sealedsecrets.bitnami.com/sealed-secrets-key=active \
               sealedsecrets.bitnami.com/sealed-secrets-key=compromised --overwrite
             seal-secrets key-secret | kubectl apply -f -
             kubectl -n secret-source delete sealedsecret --all --cascade=foreground
             kubectl -n secret-source delete secret --all
             kubectl apply -k out/secret-source && kubectl apply -k out/secret-store
             kubectl -n kube-system scale deployment/sealed-secrets-controller --replicas=1
             restart_controller
             kubectl -n kube-system rollout status deployment/sealed-secrets-controller --timeout=60s
             kubectl -n external-secrets scale deployment/external-secrets --replicas=1
             kubectl -n external-secrets rollout status deployment/external-secrets --timeout=60s",
        )
        .expect("the cluster is mended");
        crate::apply_external_secrets(self.cluster, self.repository);
        self.shell(
            "kubectl annotate clustersecretstore --all force-sync=$(date +%s) --overwrite
             kubectl wait clustersecretstore --all --for=condition=Ready --timeout=60s
             kubectl annotate externalsecret -A --all force-sync=$(date +%s) --overwrite",
        )
        .expect("the cluster is mended");
        self.cluster.wait_for("the cluster is mended", SOON, || self.faults(&[]).is_empty().then_some(()));
    }
}

/// A cluster with everything in its place.
fn healthy<'c>(cluster: &'c Cluster, repository: &'c Repository) -> Patient<'c> {
    crate::install(cluster, repository);
    let patient = Patient { cluster, repository, form: &[] };
    cluster.wait_for("a healthy cluster", SOON, || patient.faults(&[]).is_empty().then_some(()));
    patient
}

#[test]
fn doctor_names_the_cause_and_its_remedy_heals() {
    let repository = Repository::bootstrapped();
    let cluster = Cluster::start();
    let patient = healthy(&cluster, repository);
    patient
        .shell(
            "mkdir other
             seal-secrets --keys other/keys --out other/out keygen
             seal-secrets --keys other/keys --out other/out --secrets other/secrets bootstrap
             git init --quiet && git add out && git -c user.name=x -c user.email=x@example.com commit --quiet --message out",
        )
        .expect("another key, and a history");
    let mut wrong = patient.try_all(CASES);
    for form in &FORMS {
        let start = std::time::Instant::now();
        let patient = patient.turn_into(form);
        eprintln!("{:.1?} {}", start.elapsed(), form.folder);
        wrong.extend(patient.try_all(form.cases));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The one fault, its code first.
#[track_caller]
fn expect(patient: &Patient<'_>, args: &[&str], code: &str) -> Fault {
    let faults = patient.faults(args);
    assert!(matches!(&faults[..], [[found, _, _]] if found == code), "{code}: {faults:#?}");
    faults.into_iter().next().expect("one fault")
}

#[test]
fn doctor_tells_a_closed_door_from_an_empty_house() {
    let repository = Repository::bootstrapped();
    let mut cluster = Cluster::start();
    let patient = Patient { cluster: &cluster, repository, form: &[] };
    let empty: Vec<Fault> = patient.faults(&[]);
    let codes: Vec<&str> = empty.iter().map(|[code, _, _]| code.as_str()).collect();
    let all = ["namespace-missing", "namespace-missing", "controller-missing", "operator-down", "store-missing"];
    assert_eq!(codes, all, "nothing is installed yet");
    let patient = healthy(&cluster, repository);

    // An account without rights, then with exactly those that doctor prints.
    cluster.kubectl(&["-n", "default", "create", "serviceaccount", "doctor"]);
    let account = cluster.kubeconfig_for("default", "doctor");
    let account = ["--kubeconfig", &account.to_string_lossy()];
    let [_, _, remedy] = expect(&patient, &account, "forbidden");
    patient.shell(&remedy).expect("the administrator gives it the rights");
    cluster.wait_for("the rights are enough", SOON, || patient.faults(&account).is_empty().then_some(()));

    let said = patient.ask(&["--context", "production"]);
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.code() == Some(7) && text.contains("no such context") && text.contains("`admin`"), "{text}");

    let expired = repository.path("expired.kubeconfig");
    let text = std::fs::read_to_string(cluster.kubeconfig()).expect("the kubeconfig");
    std::fs::write(&expired, text.replace("admin-token", "expired")).expect("a kubeconfig is written");
    expect(&patient, &["--kubeconfig", &expired.to_string_lossy()], "credentials-refused");

    let [_, _, remedy] = expect(&patient, &["--controller-name", "sealed-secrets"], "service-missing");
    assert_eq!(remedy, "add --controller-name sealed-secrets-controller");
    expect(&patient, &["--controller-namespace", "default"], "controller-missing");

    cluster.stop_eso();
    let [_, _, remedy] = expect(&patient, &[], "operator-down");
    patient.shell(&remedy).expect("the remedy works");
    assert!(patient.ask(&["--wait", "60s"]).status.success(), "doctor waits until all is well");

    assert!(patient.warns("not-sealed-yet"), "nobody has provided the keys that only the operator has");
    assert!(!patient.warns("external-secret-missing"));
    cluster.kubectl(&["-n", "n8n", "delete", "externalsecret", "n8n-core-secrets"]);
    assert!(patient.warns("external-secret-missing") && patient.faults(&[]).is_empty(), "its feature may be off");
    crate::apply_external_secrets(&cluster, repository);

    assert!(!patient.warns("key-renewal"), "a renewal period of 0 is what it should be");
    let period = r#"[{"op":"replace","path":"/spec/template/spec/containers/0/args/2","value":"720h"}]"#;
    cluster.kubectl(&["-n", "kube-system", "patch", "deployment", "sealed-secrets-controller", "--type=json", "-p", period]);
    cluster.wait_for("a warning", SOON, || (patient.warns("key-renewal") && patient.faults(&[]).is_empty()).then_some(()));

    cluster.stop_api_server();
    let patient = Patient { cluster: &cluster, repository, form: &[] };
    expect(&patient, &[], "api-unreachable");
    cluster.start_api_server();
    let patient = Patient { cluster: &cluster, repository, form: &[] };
    cluster.wait_for("the API server is back", SOON, || patient.faults(&[]).is_empty().then_some(()));

    // With the CRDs goes all that was made of them. The controllers take a while to see that they are back, if they do.
    cluster.kubectl(&["delete", "crd", "sealedsecrets.bitnami.com", "externalsecrets.external-secrets.io"]);
    let codes = || patient.faults(&[]).into_iter().map(|[code, _, _]| code).collect::<Vec<_>>();
    cluster.wait_for("the CRDs are gone", SOON, || (codes() == ["crd-missing", "crd-missing"]).then_some(()));
    // What the garbage collector does too, within a minute.
    cluster.kubectl(&["-n", "secret-source", "delete", "secret", "--all"]);
    cluster.kubectl(&["delete", "secret", "-A", "-l", "reconcile.external-secrets.io/managed=true"]);
    cluster.install_crds();
    crate::apply_external_secrets(&cluster, repository);
    for (namespace, deployment) in [("kube-system", "sealed-secrets-controller"), ("external-secrets", "external-secrets")] {
        cluster.kubectl(&["-n", namespace, "rollout", "restart", &format!("deployment/{deployment}")]);
    }
    let settled = |codes: Vec<String>| !codes.is_empty() && codes.iter().all(|code| code == "sealed-secret-missing");
    cluster.wait_for("the CRDs are back", SOON, || settled(codes()).then_some(()));
    patient.heal(None).expect("the rest is mended by what doctor says");
}
