//! `doctor` on a real cluster that was broken on purpose: it reports exactly the cause, and its remedy fixes it.

mod cases;
mod installed;

use std::collections::BTreeSet;
use std::process::Output;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use self::cases::{CASES, Case, EVERY_CONSUMER, EVERY_READ_KEY, EVERY_SOURCE, FORMS, FUNCTIONS, Finds, Form};
use crate::harness::{Cluster, SOON};
use crate::repository::Repository;

/// What `doctor` found.
#[derive(Clone, Debug, PartialEq)]
struct Fault {
    code: String,
    what: String,
    why: String,
    /// How to fix it, in words or as a command.
    remedy: String,
    /// The remedy, if it is a command.
    command: Option<String>,
}

impl Fault {
    fn new(check: &Value) -> Fault {
        let [code, what, why, remedy] = ["code", "what", "cause", "remedy"].map(|field| crate::text(&check[field]).to_owned());
        Fault { code, what, why, remedy, command: check["command"].as_str().map(str::to_owned) }
    }
}

struct Patient<'c> {
    cluster: &'c Cluster,
    repository: &'c Repository,
    /// Doctor's flags for its form.
    form: &'static [&'static str],
}

impl Patient<'_> {
    /// Runs commands as if they were pasted.
    fn shell(&self, commands: &str) -> Result<String, String> {
        let mut shell = self.cluster.command("bash");
        shell.args(["-euxo", "pipefail", "-c", &format!("{FUNCTIONS}\n{commands}")]).current_dir(self.repository.path(""));
        crate::kubectl::run(&mut shell, "")
    }

    /// Runs a remedy. kubectl does not restart anything twice within the same second, and says so.
    fn paste(&self, remedy: &str) -> Result<(), String> {
        let ran = crate::process::poll(SOON, || match self.shell(remedy) {
            Err(why) if why.contains("please wait before attempting to trigger another") => None,
            ran => Some(ran.map(drop)),
        });
        ran.unwrap_or_else(|| Err(format!("still to wait for: {remedy}")))
    }

    /// `doctor` with these arguments. Its output never contains a value.
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

    /// Its checks with this status.
    fn says(&self, args: &[&str], status: &str) -> (Option<i32>, Vec<Fault>) {
        let said = self.ask(&[&["--json"], args].concat());
        let report: Value = serde_json::from_slice(&said.stdout)
            .unwrap_or_else(|error| panic!("no JSON: {error}\n{}", String::from_utf8_lossy(&said.stderr)));
        let checks = report["checks"].as_array().expect("checks").iter();
        (said.status.code(), checks.filter(|check| check["status"] == status).map(Fault::new).collect())
    }

    /// What it found wrong; its exit code agrees.
    fn faults(&self, args: &[&str]) -> Vec<Fault> {
        let (ended, bad) = self.says(args, "bad");
        let code = if bad.iter().any(|fault| fault.code == "api-unreachable") { 7 } else { i32::from(!bad.is_empty()) };
        assert_eq!(ended, Some(code), "the exit code");
        bad
    }

    /// The objects that a case names, as `doctor` shows them.
    fn objects(&self, what: &str) -> String {
        let contract = self.repository.contract();
        let consumers = || crate::consumers(&contract);
        let names: BTreeSet<String> = match what {
            EVERY_SOURCE => self.repository.values.keys().cloned().collect(),
            EVERY_READ_KEY => {
                let read = consumers().flat_map(crate::entries).map(|entry| crate::text(&entry["key"]).to_owned());
                read.filter(|key| self.repository.values.contains_key(key)).collect()
            }
            EVERY_CONSUMER => {
                let name = |one: &Value| format!("{}/{}", crate::text(&one["namespace"]), crate::text(crate::name(one)));
                return consumers().map(name).collect::<Vec<_>>().join(", ");
            }
            _ => return what.to_owned(),
        };
        names.into_iter().collect::<Vec<_>>().join(", ")
    }

    fn names(&self, case: &Case) -> Result<(), String> {
        self.shell(case.breaks)?;
        match &case.finds {
            Finds::Fault(code, what) => {
                let what = self.objects(what);
                let mut last = Vec::new();
                let found = crate::process::poll(SOON / 3, || {
                    last = self.faults(&[]);
                    matches!(&last[..], [one] if (one.code.as_str(), &one.what) == (*code, &what)).then_some(())
                });
                let Some(()) = found else { return Err(format!("doctor finds {last:#?}")) };
                let has_command = last[0].command.is_some();
                if has_command == case.by_hand.is_some() { Err(format!("its command: {last:#?}")) } else { Ok(()) }
            }
            Finds::Nothing(warning) => {
                let faults = self.faults(&[]);
                if !faults.is_empty() || warning.is_some_and(|code| !self.warns(code)) {
                    return Err(format!("doctor finds {faults:#?}, and warns of {:#?}", self.says(&[], "warning").1));
                }
                Ok(())
            }
        }
    }

    /// Follows doctor's advice until all is well, and every value is where it should be.
    fn heal(&self, by_hand: Option<&str>, then: &[&str]) -> Result<(), String> {
        let mut faults = self.faults(&[]);
        for step in 0..5 {
            if faults.is_empty() {
                return self.arrived();
            }
            let commands: BTreeSet<&str> = match by_hand.filter(|_| step == 0) {
                Some(by_hand) => [by_hand].into(),
                None => faults.iter().filter_map(|fault| fault.command.as_deref()).collect(),
            };
            if commands.is_empty() {
                return Err(format!("no command heals {faults:#?}"));
            }
            for command in commands {
                self.paste(command)?;
            }
            let before = std::mem::take(&mut faults);
            let mut last = Vec::new();
            let next = crate::process::poll(SOON / 2, || {
                last = self.faults(&[]);
                let settled = last.iter().all(|fault| then.contains(&fault.code.as_str()));
                (settled && last != before).then(|| last.clone())
            });
            faults = next.ok_or_else(|| format!("after the remedy doctor finds {last:#?}"))?;
            if !faults.is_empty() {
                eprintln!("  next: {:?}", faults.iter().map(|fault| format!("{} {}", fault.code, fault.what)).collect::<Vec<_>>());
            }
        }
        Err(format!("five remedies later doctor finds {faults:#?}"))
    }

    /// Whether every source Secret and every target has the value from git.
    fn arrived(&self) -> Result<(), String> {
        let parse = |text: &[u8]| serde_json::from_slice::<Value>(text).expect("JSON");
        let sealed = parse(&self.repository.run(&["unseal", "-o", "json"]));
        let live = parse(self.cluster.kubectl(&["get", "secret", "-A", "-o", "json"]).as_bytes());
        let find = |list: &Value, namespace: &Value, name: &Value, key: &str| -> Option<Value> {
            let is_it =
                |one: &&Value| one["metadata"]["name"] == *name && (namespace.is_null() || one["metadata"]["namespace"] == *namespace);
            Some(list["items"].as_array()?.iter().find(is_it)?["data"][key].clone())
        };
        let mut wrong = Vec::new();
        let house = json!("secret-source");
        let contract = self.repository.contract();
        for key in self.repository.values.keys() {
            let name = json!(key);
            let value = find(&sealed, &Value::Null, &name, "value");
            if find(&live, &house, &name, "value") != value {
                wrong.push(key.clone());
            }
            for consumer in crate::consumers(&contract).filter(|consumer| crate::made(self.repository, consumer)) {
                for entry in crate::entries(consumer).filter(|entry| entry["key"] == name) {
                    let (namespace, target) = (&consumer["namespace"], &consumer["target"]);
                    if find(&live, namespace, target, crate::text(&entry["secretKey"])) != value {
                        wrong.push(format!("{namespace}/{target} {entry}"));
                    }
                }
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("doctor is content, but these have another value: {}", wrong.join(", "))) }
    }

    /// Breaks and fixes the cluster in each of these ways; returns those that went wrong, and why.
    fn try_all(&self, cases: &[Case]) -> Vec<String> {
        let mut wrong = Vec::new();
        // To try some of them: DOCTOR_CASE="a namePrefix|no store".
        let only = std::env::var("DOCTOR_CASE").unwrap_or_default();
        for case in cases.iter().filter(|case| only.split('|').any(|only| case.name.contains(only))) {
            let start = std::time::Instant::now();
            let result = self.names(case).and_then(|()| match case.finds {
                Finds::Fault(..) => self.heal(case.by_hand, case.then),
                Finds::Nothing(_) => self.arrived(),
            });
            let result = result.and_then(|()| if case.undo.is_empty() { Ok(()) } else { self.undo(case) });
            eprintln!("{:.1?} {} {}", start.elapsed(), case.name, if result.is_ok() { "ok" } else { "WRONG" });
            if let Err(why) = result {
                eprintln!("{why}");
                wrong.push(format!("{}: {why}", case.name));
                if self.form.is_empty() {
                    self.restore();
                }
            }
        }
        wrong
    }

    /// Undoes the case, and waits until doctor finds nothing any more.
    fn undo(&self, case: &Case) -> Result<(), String> {
        self.shell(case.undo)?;
        self.settle().ok_or_else(|| format!("undone, doctor finds {:#?}", self.faults(&[])))
    }

    /// Waits until nothing is wrong any more.
    fn settle(&self) -> Option<()> {
        crate::process::poll(SOON / 2, || self.faults(&[]).is_empty().then_some(()))
    }

    /// Replaces the current form with another one, with the same values: the keys know a second folder, as older versions' keys might.
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
            let all = |faults: Vec<Fault>| !faults.is_empty() && faults.iter().all(|fault| fault.code == code);
            self.cluster.wait_for(code, SOON, || all(patient.faults(&[])).then_some(()));
            patient.heal(None, &["external-secret-failed"]).unwrap_or_else(|why| panic!("{}: {why}", form.folder));
        }
        self.cluster.wait_for(form.folder, SOON, || patient.faults(&[]).is_empty().then_some(()));
        patient
    }

    /// Whether it warns of this.
    fn warns(&self, code: &str) -> bool {
        self.says(&[], "warning").1.iter().any(|warning| warning.code == code)
    }

    /// Used when a remedy failed: the next case needs a healthy cluster.
    fn restore(&self) {
        let restored = self.shell(
            "for kind in validatingadmissionpolicybinding validatingadmissionpolicy validatingwebhookconfiguration; do kubectl delete $kind --all; done
             kubectl delete quota -A --all
             kubectl -n secret-source patch configmap held -p '{\"metadata\":{\"finalizers\":null}}' || true
             kubectl -n n8n patch configmap held -p '{\"metadata\":{\"finalizers\":null}}' || true
             patch_sealed '{\"metadata\":{\"finalizers\":null}}' || true
             patch_external '[{\"op\":\"remove\",\"path\":\"/metadata/finalizers\"}]' || true
             kubectl patch clustersecretstore secret-store --type=merge -p '{\"metadata\":{\"finalizers\":null}}' || true
             kubectl -n kube-system label secret -l sealedsecrets.bitnami.com/sealed-secrets-key=active \
               sealedsecrets.bitnami.com/sealed-secrets-key=compromised --overwrite
             seal-secrets key-secret | kubectl apply --server-side --force-conflicts -f -
             kubectl apply -f $CHARTS/kube-system.yaml && kubectl -n kube-system scale deployment/sealed-secrets-controller --replicas=1
             kubectl apply -f $CHARTS/external-secrets.yaml && kubectl -n external-secrets scale deployment/external-secrets --replicas=1
             restart_controller && controller_is_up
             kubectl -n external-secrets rollout restart deployment/external-secrets && eso_is_up
             
             kubectl create namespace n8n || true
             kubectl create namespace secret-source || true
             kubectl -n secret-source delete sealedsecret,secret,rolebinding --all --cascade=foreground
             kubectl delete clustersecretstore --all && kubectl delete externalsecret -A --all --cascade=foreground
             apply && kubectl apply -k out/secret-store && kubectl apply -f platform.json
             sync_store && kubectl wait clustersecretstore --all --for=condition=Ready --timeout=60s
             sync_all",
        );
        restored.expect("the cluster is restored");
        self.settle().unwrap_or_else(|| panic!("the cluster is not restored: {:#?}", self.faults(&[])));
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
    let repository = Repository::new();
    let cluster = Cluster::start();
    let patient = healthy(&cluster, &repository);
    patient
        .shell(
            "mkdir other
             seal-secrets --keys other/keys --out other/out keygen
             seal-secrets --keys other/keys --out other/out --secrets other/secrets bootstrap
             git init --quiet && git add out && git -c user.name=x -c user.email=x@example.com commit --quiet --message out",
        )
        .expect("another key, and a history");
    std::fs::write(repository.path("platform.json"), crate::external_secrets(&repository)).expect("the ExternalSecrets are written");
    let mut wrong = patient.try_all(CASES);
    wrong.extend(installed::try_all(&patient));
    for form in &FORMS {
        let start = std::time::Instant::now();
        let patient = patient.turn_into(form);
        eprintln!("{:.1?} {}", start.elapsed(), form.folder);
        wrong.extend(patient.try_all(form.cases));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The one fault.
#[track_caller]
fn expect(patient: &Patient<'_>, args: &[&str], code: &str) -> Fault {
    let faults = patient.faults(args);
    assert!(matches!(&faults[..], [one] if one.code == code), "{code}: {faults:#?}");
    faults.into_iter().next().expect("one fault")
}

#[test]
fn doctor_tells_a_closed_door_from_an_empty_house() {
    let repository = Repository::bootstrapped();
    let mut cluster = Cluster::start();
    let patient = Patient { cluster: &cluster, repository, form: &[] };
    let empty: Vec<Fault> = patient.faults(&[]);
    let codes: Vec<&str> = empty.iter().map(|fault| fault.code.as_str()).collect();
    let all = ["namespace-missing", "controller-missing", "operator-down", "store-missing"];
    assert_eq!(codes, all, "nothing is installed yet");
    let patient = healthy(&cluster, repository);

    // An account without rights, then with exactly those that doctor prints.
    cluster.kubectl(&["-n", "default", "create", "serviceaccount", "doctor"]);
    let account = cluster.kubeconfig_for("default", "doctor");
    let account = ["--kubeconfig", &account.to_string_lossy()];
    let forbidden = expect(&patient, &account, "forbidden");
    patient.shell(&forbidden.remedy).expect("the administrator gives it the rights");
    cluster.wait_for("the rights are enough", SOON, || patient.faults(&account).is_empty().then_some(()));

    let said = patient.ask(&["--context", "production"]);
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.code() == Some(7) && text.contains("no such context") && text.contains("`admin`"), "{text}");

    let expired = repository.path("expired.kubeconfig");
    let text = std::fs::read_to_string(cluster.kubeconfig()).expect("the kubeconfig");
    std::fs::write(&expired, text.replace("admin-token", "expired")).expect("a kubeconfig is written");
    expect(&patient, &["--kubeconfig", &expired.to_string_lossy()], "credentials-refused");

    let missing = expect(&patient, &["--controller-name", "sealed-secrets"], "service-missing");
    assert_eq!(missing.remedy, "add --controller-name sealed-secrets-controller");
    expect(&patient, &["--controller-namespace", "default"], "controller-missing");

    cluster.stop_eso();
    let down = expect(&patient, &[], "operator-down");
    patient.shell(&down.remedy).expect("the remedy works");
    assert!(patient.ask(&["--wait", "60s"]).status.success(), "doctor waits until all is well");

    assert!(patient.warns("not-sealed-yet"), "nobody has provided the keys that only the operator has");
    assert!(!patient.warns("external-secret-missing"));
    cluster.kubectl(&["-n", "n8n", "delete", "externalsecret", "n8n-core-secrets"]);
    assert!(patient.warns("external-secret-missing") && patient.faults(&[]).is_empty(), "its feature may be off");
    crate::apply_external_secrets(&cluster, repository);

    cluster.stop_api_server();
    let patient = Patient { cluster: &cluster, repository, form: &[] };
    expect(&patient, &[], "api-unreachable");
    cluster.start_api_server();
    let patient = Patient { cluster: &cluster, repository, form: &[] };
    cluster.wait_for("the API server is back", SOON, || patient.faults(&[]).is_empty().then_some(()));

    // All objects of the CRDs go with them. The controllers take a while to see that they are back, if they do.
    cluster.kubectl(&["delete", "crd", "sealedsecrets.bitnami.com", "externalsecrets.external-secrets.io"]);
    let codes = || patient.faults(&[]).into_iter().map(|fault| fault.code).collect::<Vec<_>>();
    cluster.wait_for("the CRDs are gone", SOON, || (codes() == ["crd-missing", "crd-missing"]).then_some(()));
    // The garbage collector does this too, within a minute.
    cluster.kubectl(&["-n", "secret-source", "delete", "secret", "--all"]);
    cluster.kubectl(&["delete", "secret", "-A", "-l", "reconcile.external-secrets.io/managed=true"]);
    cluster.install_crds();
    crate::apply_external_secrets(&cluster, repository);
    for (namespace, deployment) in [("kube-system", "sealed-secrets-controller"), ("external-secrets", "external-secrets")] {
        cluster.kubectl(&["-n", namespace, "rollout", "restart", &format!("deployment/{deployment}")]);
    }
    let settled = |codes: Vec<String>| !codes.is_empty() && codes.iter().all(|code| code == "sealed-secret-missing");
    cluster.wait_for("the CRDs are back", SOON, || settled(codes()).then_some(()));
    patient.heal(None, &["target-stale", "external-secret-failed"]).expect("the rest is healed by what doctor says");
}
