//! Clusters that were installed or restored in other ways: what is healthy there, and what is not.

use serde_json::{Value, json};

use super::Patient;
use crate::harness::{ESO, ESO_VALUES, NEWEST, OLD, OWN_KEY, SOON};

type Way = (&'static str, fn(&Patient<'_>) -> Result<(), String>);

const WAYS: [Way; 6] = [
    ("sealed-secrets 0.36.6", an_old_controller),
    ("a second controller", a_second_controller),
    ("restored by a backup tool", a_restored_cluster),
    ("the controller of the release manifest", the_release_manifest),
    ("the controller in another namespace", another_namespace),
    ("ESO in another namespace", another_namespace_for_eso),
];

/// Tries each in turn, on the same cluster; returns those that went wrong, and why.
pub fn try_all(patient: &Patient<'_>) -> Vec<String> {
    let only = std::env::var("DOCTOR_CASE").unwrap_or_default();
    let mut wrong = Vec::new();
    for (name, way) in WAYS.iter().filter(|(name, _)| only.split('|').any(|only| name.contains(only))) {
        let start = std::time::Instant::now();
        let result = way(patient);
        eprintln!("{:.1?} {name} {}", start.elapsed(), if result.is_ok() { "ok" } else { "WRONG" });
        if let Err(why) = result {
            eprintln!("{why}");
            wrong.push(format!("{name}: {why}"));
            patient.shell(REMOVE_ALL).expect("what is installed is removed");
            patient.cluster.start_sealed_secrets(OWN_KEY);
            patient.cluster.start_eso();
            patient.restore();
        }
    }
    wrong
}

const REMOVE_ALL: &str = "kubectl delete deployment -A --all && kubectl delete --ignore-not-found -f $CHARTS/kube-system.yaml
    for namespace in theirs sealed-secrets eso-system; do kubectl delete namespace $namespace --ignore-not-found; done";

/// Asks until `doctor` has only these faults, and every value is as in git.
fn expect(patient: &Patient<'_>, args: &[&str], codes: &[&str]) -> Result<(), String> {
    let mut last = Vec::new();
    let found = crate::process::poll(SOON / 3, || {
        last = patient.faults(args);
        last.iter().map(|fault| fault.code.as_str()).eq(codes.iter().copied()).then_some(())
    });
    found.ok_or_else(|| format!("instead of {codes:?} doctor finds {last:#?}"))?;
    patient.arrived()
}

/// It unseals, and `doctor` says what is wrong with its version.
fn an_old_controller(patient: &Patient<'_>) -> Result<(), String> {
    patient.cluster.start_version(&OLD, OWN_KEY);
    patient.shell("seal-secrets rotate vllm-api-key --yes && apply")?;
    patient.heal(None, &["target-stale"])?;
    let warnings = patient.says(&[], "warning").1;
    let version = warnings.iter().find(|warning| warning.code == "controller-vulnerable").ok_or(format!("{warnings:#?}"))?;
    assert!(version.why.starts_with("version 0.36.6: ") && version.why.contains("`system:authenticated`"), "{}", version.why);
    assert!(version.command.is_none() && version.remedy.contains("0.40.0"), "{}", version.remedy);
    let refused = patient.shell(&format!(
        "mkdir old && cp out/secret-source/vllm-api-key.sealed.yaml old
         seal-secrets re-encrypt old --via-controller --yes --context admin --accept-certificate {}",
        patient.repository.digest()
    ));
    assert!(refused.as_ref().is_err_and(|why| why.contains("0.36.6") && why.contains("0.40.0")), "{refused:?}");
    patient.cluster.start_sealed_secrets(OWN_KEY);
    expect(patient, &[], &[])
}

/// It has its own key, and says of each SealedSecret that no key opens it. The Secrets are right all the same.
fn a_second_controller(patient: &Patient<'_>) -> Result<(), String> {
    let values = "fullnameOverride: theirs\ncontainerPorts: { http: 8090, metrics: 8091 }\n";
    patient.cluster.install(&NEWEST, "theirs", values);
    patient.cluster.roll_out("theirs", "theirs");
    patient.shell("controller_says 'no key could' $NAME")?;
    expect(patient, &[], &["several-controllers"])?;
    patient
        .shell("kubectl delete namespace theirs --wait=false && kubectl apply -f $CHARTS/kube-system.yaml && restart_controller && controller_is_up")?;
    expect(patient, &[], &[])
}

/// Everything is deleted, and comes back without status, owner and managers. If the Secrets come first, the controller does not take what
/// it did not make: all are reported, in one entry. If they come second, they already exist, and nothing is wrong.
fn a_restored_cluster(patient: &Patient<'_>) -> Result<(), String> {
    let cluster = patient.cluster;
    let saved = |kind: &str| -> Value {
        let mut list: Value = serde_json::from_str(&cluster.kubectl(&["-n", "secret-source", "get", kind, "-o", "json"])).expect("JSON");
        for object in list["items"].as_array_mut().expect("items") {
            let metadata = object["metadata"].as_object_mut().expect("metadata");
            metadata.retain(|field, _| ["name", "namespace", "labels", "annotations"].contains(&field.as_str()));
            let labels = metadata.entry("labels").or_insert(json!({}));
            labels["velero.io/restore-name"] = json!("restore-1");
            labels["velero.io/backup-name"] = json!("backup-1");
            object.as_object_mut().expect("an object").remove("status");
        }
        list
    };
    let (secrets, sealed) = (saved("secret").to_string(), saved("sealedsecret").to_string());
    let create = |list: &str| cluster.kubectl_with_input(&["create", "--field-manager=velero-server", "-f", "-"], list);
    remove_values(patient)?;
    create(&secrets);
    create(&sealed);
    patient.shell(START)?;
    expect(patient, &[], &["secret-in-the-way"])?;
    patient.heal(None, &["target-stale"])?;

    remove_values(patient)?;
    create(&sealed);
    patient.shell(START)?;
    cluster.kubectl(&["-n", "secret-source", "wait", "sealedsecret", "--all", "--for=condition=Synced", "--timeout=60s"]);
    cluster.kubectl_with_input(&["apply", "--server-side", "--force-conflicts", "--field-manager=velero-server", "-f", "-"], &secrets);
    patient.shell("sync_all")?;
    expect(patient, &[], &[])
}

const START: &str = "kubectl -n kube-system scale deployment/sealed-secrets-controller --replicas=1 && controller_is_up";

/// Removes each SealedSecret, and what was made from it, while the controller does not run.
fn remove_values(patient: &Patient<'_>) -> Result<(), String> {
    let cluster = patient.cluster;
    cluster.stop_sealed_secrets();
    cluster.kubectl(&["-n", "secret-source", "delete", "sealedsecret", "--all", "--cascade=foreground"]);
    cluster.wait_for("nothing is left", SOON, || {
        cluster.kubectl(&["-n", "secret-source", "get", "secret", "-o", "name"]).is_empty().then_some(())
    });
    Ok(())
}

/// `controller.yaml` of a release: other labels than the chart's, and no argument.
const MANIFEST: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: { name: sealed-secrets-controller, namespace: kube-system, labels: { name: sealed-secrets-controller } }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: secrets-unsealer, labels: { name: secrets-unsealer } }
rules:
- { apiGroups: [bitnami.com], resources: [sealedsecrets], verbs: [get, list, watch] }
- { apiGroups: [bitnami.com], resources: [sealedsecrets/status], verbs: [update] }
- { apiGroups: [""], resources: [secrets], verbs: [get, list, create, update, delete, watch] }
- { apiGroups: [""], resources: [events], verbs: [create, patch] }
- { apiGroups: [""], resources: [namespaces], verbs: [get] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: sealed-secrets-controller, labels: { name: sealed-secrets-controller } }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: secrets-unsealer }
subjects: [{ kind: ServiceAccount, name: sealed-secrets-controller, namespace: kube-system }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: sealed-secrets-key-admin, namespace: kube-system, labels: { name: sealed-secrets-key-admin } }
rules: [{ apiGroups: [""], resources: [secrets], verbs: [create, list] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: sealed-secrets-controller, namespace: kube-system, labels: { name: sealed-secrets-controller } }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: sealed-secrets-key-admin }
subjects: [{ kind: ServiceAccount, name: sealed-secrets-controller, namespace: kube-system }]
---
apiVersion: v1
kind: Service
metadata: { name: sealed-secrets-controller, namespace: kube-system, labels: { name: sealed-secrets-controller } }
spec: { type: ClusterIP, selector: { name: sealed-secrets-controller }, ports: [{ port: 8080, targetPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: sealed-secrets-controller-metrics, namespace: kube-system, labels: { name: sealed-secrets-controller-metrics } }
spec: { type: ClusterIP, selector: { name: sealed-secrets-controller }, ports: [{ port: 8081, targetPort: 8081 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: sealed-secrets-controller, namespace: kube-system, labels: { name: sealed-secrets-controller } }
spec:
  minReadySeconds: 30
  replicas: 1
  revisionHistoryLimit: 10
  selector: { matchLabels: { name: sealed-secrets-controller } }
  strategy: { type: RollingUpdate, rollingUpdate: { maxSurge: 25%, maxUnavailable: 25% } }
  template:
    metadata: { labels: { name: sealed-secrets-controller } }
    spec:
      serviceAccountName: sealed-secrets-controller
      securityContext: { fsGroup: 65534, runAsNonRoot: true, runAsUser: 1001, seccompProfile: { type: RuntimeDefault } }
      terminationGracePeriodSeconds: 30
      containers:
      - name: sealed-secrets-controller
        image: docker.io/bitnami/sealed-secrets-controller:0.40.0
        imagePullPolicy: IfNotPresent
        command: [controller]
        ports: [{ name: http, containerPort: 8080 }, { name: metrics, containerPort: 8081 }]
        readinessProbe: { httpGet: { path: /healthz, port: http } }
        livenessProbe: { httpGet: { path: /healthz, port: http } }
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] }, readOnlyRootFilesystem: true }
        volumeMounts: [{ name: tmp, mountPath: /tmp }]
      volumes: [{ name: tmp, emptyDir: {} }]
"#;

fn the_release_manifest(patient: &Patient<'_>) -> Result<(), String> {
    patient.shell("kubectl delete -f $CHARTS/kube-system.yaml")?;
    // A test does not wait until a Pod has been ready for half a minute.
    let manifest = MANIFEST.replace("  minReadySeconds: 30\n", "");
    patient.cluster.kubectl_with_input(&["apply", "-f", "-"], &manifest);
    patient.cluster.roll_out("kube-system", "sealed-secrets-controller");
    patient.shell("seal-secrets rotate vllm-api-key --yes && apply")?;
    patient.heal(None, &["target-stale"])?;
    assert!(patient.warns("key-renewal"), "it renews its key each month");
    patient.shell("kubectl -n kube-system scale deployment/sealed-secrets-controller --replicas=0")?;
    expect(patient, &[], &["controller-down"])?;
    patient.heal(None, &[])?;
    patient.cluster.kubectl_with_input(&["delete", "-f", "-"], &manifest);
    patient.cluster.start_sealed_secrets(OWN_KEY);
    expect(patient, &[], &[])
}

fn another_namespace(patient: &Patient<'_>) -> Result<(), String> {
    let there = ["--controller-namespace", "sealed-secrets"];
    patient.shell(
        "kubectl delete -f $CHARTS/kube-system.yaml && kubectl -n kube-system delete secret sealed-secrets-key
         kubectl create namespace sealed-secrets
         seal-secrets key-secret --controller-namespace sealed-secrets | kubectl apply -f -",
    )?;
    patient.cluster.install(&NEWEST, "sealed-secrets", OWN_KEY);
    patient.cluster.roll_out("sealed-secrets", "sealed-secrets-controller");
    expect(patient, &there, &[])?;
    expect(patient, &[], &["controller-missing"])?;
    let [missing] = &patient.faults(&[])[..] else { return Err("not one fault".to_owned()) };
    assert!(missing.remedy.contains("--controller-namespace sealed-secrets"), "{missing:?}");
    patient.shell(
        "kubectl delete -f $CHARTS/sealed-secrets.yaml && kubectl delete namespace sealed-secrets --wait=false
         seal-secrets key-secret | kubectl apply -f -",
    )?;
    patient.cluster.start_sealed_secrets(OWN_KEY);
    expect(patient, &[], &[])
}

/// The account stays where it was.
fn another_namespace_for_eso(patient: &Patient<'_>) -> Result<(), String> {
    patient.shell("kubectl delete -f $CHARTS/external-secrets.yaml")?;
    patient.cluster.install(&ESO, "eso-system", ESO_VALUES);
    patient.cluster.roll_out("eso-system", "external-secrets");
    patient.shell("seal-secrets rotate vllm-api-key --yes && apply")?;
    patient.heal(None, &["target-stale"])?;
    patient.shell("kubectl -n eso-system scale deployment/external-secrets --replicas=0")?;
    expect(patient, &[], &["operator-down"])?;
    patient.heal(None, &[])?;
    patient.shell("kubectl delete -f $CHARTS/eso-system.yaml && kubectl delete namespace eso-system --wait=false")?;
    patient.cluster.start_eso();
    expect(patient, &[], &[])
}
