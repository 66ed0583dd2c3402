//! A real Kubernetes control plane, sealed-secrets and the External Secrets Operator, as ordinary processes.
//!
//! `tests/cluster/build` builds the parts, and `tests/cluster/enter` the network in which the API server is 192.0.2.10.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::kubectl::{self, Kubectl};
use crate::node::{Node, Place};
use crate::process::{Process, poll, tail};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// The values of the sealed-secrets chart that our own key needs.
pub const OWN_KEY: &str = "fullnameOverride: sealed-secrets-controller\nkeyrenewperiod: \"0\"\n";

/// Changes to the chart's defaults: nothing that would need certificates, and a free port.
pub const ESO_VALUES: &str =
    "installCRDs: false\nwebhook: { create: false }\ncertController: { create: false }\nmetrics: { listen: { port: 9080 } }\n";

const CONTROLLERS: &str = "serviceaccount-controller,root-ca-certificate-publisher-controller,garbage-collector-controller,\
    namespace-controller,deployment-controller,replicaset-controller,endpoints-controller,resourcequota-controller";

/// A chart that was built.
pub struct Chart {
    /// Its folder.
    folder: &'static str,
    release: &'static str,
    /// Additional values. A chart names the version before its own, so the image is set: the node runs the named image.
    sets: &'static str,
}

/// The newest sealed-secrets. It asks the API server as fast as it likes, so that a start takes no time.
pub const NEWEST: Chart =
    Chart { folder: "sealed-secrets", release: "sealed-secrets", sets: "image.tag=0.40.0,kubeClientQPS=500,kubeClientBurst=500" };

/// One with known weaknesses.
pub const OLD: Chart = Chart { folder: "sealed-secrets-0.36.6", release: "sealed-secrets", sets: "image.tag=0.36.6" };

pub const ESO: Chart = Chart { folder: "external-secrets", release: "external-secrets", sets: "" };

/// The address and the ports exist once, so there is one cluster at a time.
static ONE: Mutex<()> = Mutex::new(());

/// A cluster. Dropping it ends everything that it started, and removes its folder.
pub struct Cluster {
    node: Option<Node>,
    api_server: Option<Process>,
    others: Vec<Process>,
    admin: Kubectl,
    place: Place,
    folder: TempDir,
    _one: MutexGuard<'static, ()>,
}

impl Cluster {
    /// An empty cluster, with the CRDs of sealed-secrets and ESO.
    pub fn start() -> Cluster {
        let entered = std::env::var_os("SEAL_SECRETS_CLUSTER").is_some();
        assert!(entered, "these tests need a network of their own: run `make cluster-test`");
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::Builder::new().prefix("seal-secrets-cluster").tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let (ca, programs) = (path("certificates/apiserver.crt"), cache().join("bin"));
        let admin = Kubectl::new(&programs, path("admin"), &ca, "admin-token");
        let place = Place { kubectl: admin.clone(), programs, ca, logs: path("logs") };
        std::fs::create_dir(&place.logs).expect("the folder of the logs");
        let mut cluster = Cluster { node: None, api_server: None, others: Vec::new(), admin, place, folder, _one: one };
        let tokens = "admin-token,admin,admin,system:masters\nmanager-token,system:kube-controller-manager,manager\n";
        std::fs::write(cluster.path("tokens"), tokens).expect("the tokens are written");
        cluster.start_etcd();
        cluster.start_api_server();
        cluster.start_controller_manager();
        cluster.install_crds();
        cluster.node = Some(Node::start(cluster.place.clone()));
        cluster
    }

    fn start_etcd(&mut self) {
        let mut etcd = self.program("etcd");
        etcd.arg("--unsafe-no-fsync").arg("--data-dir").arg(self.path("etcd")).args(["--log-level", "warn"]);
        self.others.push(Process::start("etcd", &mut etcd, &self.place.logs));
    }

    /// The API server makes its own certificate, for 192.0.2.10 and kubernetes.default.svc; that key signs the accounts' tokens too.
    pub fn start_api_server(&mut self) {
        let mut server = self.program("kube-apiserver");
        server.args(["--etcd-servers=http://127.0.0.1:2379", "--bind-address=192.0.2.10", "--advertise-address=192.0.2.10"]);
        server.args(["--secure-port=443", "--service-cluster-ip-range=198.51.100.0/24", "--authorization-mode=RBAC"]);
        server.arg("--cert-dir").arg(self.path("certificates")).arg("--token-auth-file").arg(self.path("tokens"));
        server.arg("--service-account-issuer=https://kubernetes.default.svc");
        server.arg("--service-account-key-file").arg(self.path("certificates/apiserver.key"));
        server.arg("--service-account-signing-key-file").arg(self.path("certificates/apiserver.key"));
        let mut process = Process::start("kube-apiserver", &mut server, &self.place.logs);
        self.wait_for("the API server is ready", SOON, || {
            process.expect_running();
            self.try_kubectl(&["get", "--raw", "/readyz"]).ok()
        });
        self.api_server = Some(process);
    }

    /// As if the API server's machine failed; everything else goes on.
    pub fn stop_api_server(&mut self) {
        self.api_server = None;
    }

    fn start_controller_manager(&mut self) {
        let credentials = Kubectl::new(&self.place.programs, self.path("controller-manager"), &self.place.ca, "manager-token");
        let mut manager = self.program("kube-controller-manager");
        manager.arg("--kubeconfig").arg(credentials.kubeconfig()).arg("--root-ca-file").arg(&self.place.ca);
        manager.arg(format!("--controllers={CONTROLLERS}")).args(["--use-service-account-credentials", "--leader-elect=false"]);
        manager.arg("--bind-address=127.0.0.1");
        self.others.push(Process::start("kube-controller-manager", &mut manager, &self.place.logs));
    }

    /// Those CRDs of sealed-secrets and ESO that do not exist yet.
    pub fn install_crds(&self) {
        // Not a client-side `apply`, whose annotation would be too long; and `wait` asks for one after the other.
        self.kubectl(&["apply", "--server-side", "--validate=false", "-f", &cache().join("crds").to_string_lossy()]);
        let all = self.kubectl(&["get", "crd", "-o", "name"]).lines().count();
        let established = "jsonpath={.items[*].status.conditions[?(@.type==\"Established\")].status}";
        self.wait_for("every CRD is established", SOON, || {
            let answer = self.kubectl(&["get", "crd", "-o", established]);
            (answer.split(' ').filter(|status| *status == "True").count() == all).then_some(())
        });
    }

    /// Installs the newest sealed-secrets chart in `kube-system` with these values, and waits until its controller serves.
    pub fn start_sealed_secrets(&self, values: &str) {
        self.start_version(&NEWEST, values);
    }

    /// The same with another version.
    pub fn start_version(&self, version: &Chart, values: &str) {
        self.install(version, "kube-system", values);
        self.wait_for_sealed_secrets();
    }

    /// A new Pod in place of the old one.
    pub fn restart_sealed_secrets(&self) {
        self.kubectl(&["-n", "kube-system", "rollout", "restart", "deployment/sealed-secrets-controller"]);
        self.wait_for_sealed_secrets();
    }

    fn wait_for_sealed_secrets(&self) {
        self.roll_out("kube-system", "sealed-secrets-controller");
        // Its Service follows a little later.
        let certificate = "/api/v1/namespaces/kube-system/services/http:sealed-secrets-controller:http/proxy/v1/cert.pem";
        self.wait_for("the controller serves its certificate", SOON, || self.try_kubectl(&["get", "--raw", certificate]).ok());
    }

    /// Scales it to zero.
    pub fn stop_sealed_secrets(&self) {
        self.kubectl(&["-n", "kube-system", "scale", "deployment/sealed-secrets-controller", "--replicas=0"]);
        self.wait_until_stopped("controller");
    }

    /// Installs ESO's chart in `external-secrets`, or scales it up again, and waits until it runs.
    pub fn start_eso(&self) {
        self.install(&ESO, "external-secrets", ESO_VALUES);
        self.roll_out("external-secrets", "external-secrets");
    }

    /// Scales it to zero.
    pub fn stop_eso(&self) {
        self.kubectl(&["-n", "external-secrets", "scale", "deployment/external-secrets", "--replicas=0"]);
        self.wait_until_stopped("external-secrets");
    }

    fn wait_until_stopped(&self, program: &str) {
        let node = self.node.as_ref().expect("the node runs");
        self.wait_for(&format!("{program} has stopped"), SOON, || (!node.runs(program)).then_some(()));
    }

    /// Does what `helm install` does: applies the chart with these values, including its accounts and their rights. The manifests stay as
    /// `NAMESPACE.yaml` in the folder that commands know as `CHARTS`.
    pub fn install(&self, chart: &Chart, namespace: &str, values: &str) {
        self.create_namespace(namespace);
        let mut helm = self.program("helm");
        helm.args(["template", chart.release, "--namespace", namespace, "--values", "-", "--set-string", chart.sets]);
        let manifests = kubectl::run(helm.arg(cache().join("charts").join(chart.folder)), values);
        let manifests = manifests.unwrap_or_else(|error| panic!("the chart {} is not rendered:\n{error}", chart.folder));
        self.kubectl_with_input(&["apply", "-f", "-"], &manifests);
        std::fs::write(self.path(&format!("{namespace}.yaml")), manifests).expect("what was applied is written");
    }

    /// Waits until each of its Pods is ready.
    pub fn roll_out(&self, namespace: &str, deployment: &str) {
        let done = self.try_kubectl(&["-n", namespace, "rollout", "status", &format!("deployment/{deployment}"), "--timeout=60s"]);
        done.unwrap_or_else(|error| panic!("{deployment} does not come up: {error}\n{}", self.logs()));
    }

    /// Creates a namespace unless it exists.
    pub fn create_namespace(&self, name: &str) {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        self.kubectl_with_input(&["apply", "-f", "-"], &namespace.to_string());
    }

    /// kubectl as the administrator; it has to succeed.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.kubectl_with_input(args, "")
    }

    /// The same with this on its standard input.
    #[track_caller]
    pub fn kubectl_with_input(&self, args: &[&str], input: &str) -> String {
        self.admin.run(args, input).unwrap_or_else(|error| panic!("kubectl {}: {error}\n{}", args.join(" "), self.logs()))
    }

    /// What it prints, or what it complains about.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        self.admin.run(args, "")
    }

    /// The administrator's kubeconfig; its context is called `admin`.
    pub fn kubeconfig(&self) -> &Path {
        self.admin.kubeconfig()
    }

    /// The kubeconfig of a ServiceAccount; its context is called `NAMESPACE.ACCOUNT`.
    pub fn kubeconfig_for(&self, namespace: &str, account: &str) -> PathBuf {
        self.kubectl_for(namespace, account).kubeconfig().to_owned()
    }

    /// kubectl as a ServiceAccount.
    pub fn kubectl_for(&self, namespace: &str, account: &str) -> Kubectl {
        let token = self.kubectl(&["create", "token", account, "-n", namespace]);
        Kubectl::new(&self.place.programs, self.path(&format!("{namespace}.{account}")), &self.place.ca, token.trim())
    }

    /// One of the built programs with the administrator's kubeconfig, without the environment's other variables.
    pub fn program(&self, name: &str) -> Command {
        self.command(&self.place.programs.join(name).to_string_lossy())
    }

    /// A command with the administrator's kubeconfig. It finds the built programs, and seal-secrets, in its path.
    pub fn command(&self, name: &str) -> Command {
        let ours = Path::new(env!("CARGO_BIN_EXE_seal-secrets")).parent().expect("the binary is in a folder");
        let path = format!("{}:{}:{}", ours.display(), self.place.programs.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(name);
        self.admin.lend(
            command
                .env_clear()
                .env("PATH", path)
                .env("HOME", self.folder.path())
                .env("XDG_STATE_HOME", crate::repository::state_home())
                .env("CHARTS", self.folder.path())
                .env("PODS", &self.place.logs)
                .env("CONTEXT", "admin"),
        );
        command
    }

    /// Asks until there is an answer; at the deadline it fails with the end of every log.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, deadline: Duration, ask: impl FnMut() -> Option<T>) -> T {
        poll(deadline, ask).unwrap_or_else(|| panic!("not within {deadline:?}: {what}\n{}", self.logs()))
    }

    /// The end of every process's log.
    pub fn logs(&self) -> String {
        let files = std::fs::read_dir(&self.place.logs).into_iter().flatten().flatten().map(|entry| entry.path());
        files.filter(|path| path.extension().is_some_and(|end| end == "log")).map(|log| tail(&log)).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Where `tests/cluster/build` put the parts.
pub fn cache() -> PathBuf {
    let home = || Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache/seal-secrets-cluster");
    std::env::var_os("SEAL_SECRETS_CLUSTER_CACHE").map_or_else(home, PathBuf::from)
}
