//! A small kubelet, as far as these tests need one: every Pod whose program was built runs as a process, as its own account.
//!
//! So a chart's Deployment works as on a real cluster: `kubectl rollout restart`, `kubectl scale` and a Service work, and a program that
//! crashes is restarted.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::process::{Process, TICK};

const ADDRESS: &str = "192.0.2.10";
const TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What it needs to know.
#[derive(Clone)]
pub struct Place {
    pub kubectl: Kubectl,
    /// The folder of the built programs.
    pub programs: PathBuf,
    pub ca: PathBuf,
    pub logs: PathBuf,
}

/// The thread that runs the Pods. Dropping it ends them.
pub struct Node {
    pods: Pods,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

type Pods = Arc<Mutex<BTreeMap<String, Pod>>>;

impl Node {
    pub fn start(place: Place) -> Node {
        let pods = Pods::default();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (pods, stop) = (pods.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    follow(&place, &pods, &stop);
                }
            }
        });
        Node { pods, stop, thread: Some(thread) }
    }

    /// Whether a process of this program runs.
    pub fn runs(&self, program: &str) -> bool {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.values_mut().any(|pod| pod.program == program && pod.process.as_mut().is_some_and(Process::is_running))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        self.pods.lock().unwrap_or_else(PoisonError::into_inner).clear();
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()), "the node panicked");
    }
}

/// Follows one watch until the API server or this node ends.
fn follow(place: &Place, pods: &Pods, stop: &AtomicBool) {
    let mut watch = place.kubectl.command(&["get", "pods", "-A", "--watch", "--output-watch-events", "-o", "json"]);
    let mut watch = watch.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("kubectl starts");
    let events = read(watch.stdout.take().expect("standard output is a pipe"));
    while !stop.load(Ordering::Relaxed) {
        let event = events.recv_timeout(TICK);
        let mut pods = pods.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(event) => see(place, &mut pods, &event),
            Err(RecvTimeoutError::Timeout) => pods.values_mut().for_each(|pod| pod.tick(place)),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let _ = watch.kill();
    let _ = watch.wait();
}

/// The events of a watch, as they come.
fn read(stdout: ChildStdout) -> Receiver<Value> {
    let (sender, events) = channel();
    std::thread::spawn(move || {
        let read = serde_json::Deserializer::from_reader(BufReader::new(stdout)).into_iter::<Value>();
        for event in read.map_while(Result::ok) {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    events
}

fn see(place: &Place, pods: &mut BTreeMap<String, Pod>, event: &Value) {
    let object = &event["object"];
    let id = text(&object["metadata"]["uid"]);
    if event["type"] == "DELETED" || !object["metadata"]["deletionTimestamp"].is_null() {
        if let Some(pod) = pods.remove(&id) {
            let place_in_line = pod.place_in_line();
            let retired = pod.retired;
            pod.end(place);
            // If a rollout is undone, the older Pod runs again.
            if let Some(older) = pods.values_mut().find(|other| !retired && other.place_in_line() == place_in_line) {
                older.retired = false;
            }
        }
    } else if !pods.contains_key(&id)
        && let Some(pod) = Pod::new(object)
    {
        // All Pods share this machine's ports. Of two Pods with the same namespace and account, as in a rollout, only the newer one runs.
        for older in pods.values_mut().filter(|other| other.place_in_line() == pod.place_in_line()) {
            older.retired = true;
            older.process = None;
        }
        pods.insert(id, pod);
    }
    pods.values_mut().for_each(|pod| pod.tick(place));
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A Pod with one container.
struct Pod {
    namespace: String,
    name: String,
    account: String,
    container: Value,
    program: &'static str,
    /// Port and path of its readiness probe.
    probe: Option<(u16, String)>,
    process: Option<Process>,
    ready: bool,
    restarts: u32,
    not_before: Instant,
    bound: bool,
    retired: bool,
}

impl Pod {
    /// None for a program that was not built.
    fn new(object: &Value) -> Option<Pod> {
        let container = &object["spec"]["containers"][0];
        let program = match text(&container["image"]) {
            // In a folder, because the program's name becomes the manager of what it writes.
            image if image.ends_with("sealed-secrets-controller:0.36.6") => "0.36.6/controller",
            image if image.contains("sealed-secrets-controller") => "controller",
            image if image.contains("external-secrets") => "external-secrets",
            _ => return None,
        };
        let probe = &container["readinessProbe"]["httpGet"];
        let port = container["ports"].as_array().and_then(|ports| ports.iter().find(|port| port["name"] == probe["port"]));
        Some(Pod {
            namespace: text(&object["metadata"]["namespace"]),
            name: text(&object["metadata"]["name"]),
            account: text(&object["spec"]["serviceAccountName"]),
            container: container.clone(),
            program,
            probe: port.map(|port| (port["containerPort"].as_u64().unwrap_or_default() as u16, text(&probe["path"]))),
            process: None,
            ready: false,
            restarts: 0,
            not_before: Instant::now(),
            bound: false,
            retired: false,
        })
    }

    /// What two Pods share if one replaces the other.
    fn place_in_line(&self) -> (String, String) {
        (self.namespace.clone(), self.account.clone())
    }

    /// Takes it one step further.
    fn tick(&mut self, place: &Place) {
        let running = self.process.as_mut().map(Process::is_running);
        match running {
            _ if self.retired => {}
            None if !self.bound => self.bind(place),
            None if Instant::now() >= self.not_before => self.start(place),
            Some(false) => {
                self.process = None;
                self.restarts += 1;
                self.not_before = Instant::now() + Duration::from_secs(1);
                self.report(place, false);
            }
            Some(true) if !self.ready && self.answers() => self.report(place, true),
            _ => {}
        }
    }

    /// Tells the API server that this node has it. Endpoints never list a Pod without a node.
    fn bind(&mut self, place: &Place) {
        let binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": self.name }, "target": { "name": "node" } });
        let path = format!("/api/v1/namespaces/{}/pods/{}/binding", self.namespace, self.name);
        self.bound = place.kubectl.run(&["create", "--raw", &path, "-f", "-"], &binding.to_string()).is_ok();
    }

    /// Ends the process of a deleted Pod, and then removes its object, which waits for that.
    fn end(self, place: &Place) {
        drop(self.process);
        let _ = place.kubectl.run(&["delete", "pod", &self.name, "-n", &self.namespace, "--force", "--grace-period=0"], "");
    }

    /// Starts the process with its account's token where Pods expect it, or leaves it for the next time.
    fn start(&mut self, place: &Place) {
        let Ok(token) = place.kubectl.run(&["create", "token", &self.account, "-n", &self.namespace], "") else { return };
        let folder = place.logs.join(&self.name);
        std::fs::create_dir_all(&folder).expect("the folder of a Pod's account");
        std::fs::write(folder.join("token"), token.trim()).expect("a Pod's token");
        std::fs::write(folder.join("namespace"), &self.namespace).expect("a Pod's namespace");
        std::fs::copy(&place.ca, folder.join("ca.crt")).expect("a Pod's certificate of the API server");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$0\" \"$1\" && shift && exec \"$@\""]).arg(&folder).arg(TOKEN_FOLDER);
        command.arg(place.programs.join(self.program));
        command.args(self.container["args"].as_array().into_iter().flatten().map(text));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("KUBERNETES_SERVICE_HOST", ADDRESS).env("KUBERNETES_SERVICE_PORT", "443");
        let name = self.program.replace('/', "-");
        let process = Process::start(&name, &mut command, &place.logs);
        std::fs::write(place.logs.join(format!("{name}.pid")), process.id().to_string()).expect("a Pod's process");
        self.process = Some(process);
    }

    /// Whether its readiness probe succeeds; without one it is ready when it runs.
    fn answers(&self) -> bool {
        let Some((port, path)) = &self.probe else { return true };
        let ask = || {
            let mut stream = TcpStream::connect((ADDRESS, *port))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer.contains(" 200 "))
        };
        ask().unwrap_or(false)
    }

    /// Writes its status. If the API server does not take it, the next change writes it again.
    fn report(&mut self, place: &Place, ready: bool) {
        let condition = |kind: &str| json!({ "type": kind, "status": if ready { "True" } else { "False" } });
        let status = json!({ "status": {
            "phase": "Running", "podIP": ADDRESS, "podIPs": [{ "ip": ADDRESS }],
            "conditions": [condition("Ready"), condition("ContainersReady")],
            "containerStatuses": [{
                "name": self.container["name"], "image": self.container["image"], "imageID": "",
                "ready": ready, "restartCount": self.restarts,
            }],
        } });
        let patch = ["patch", "pod", &self.name, "-n", &self.namespace, "--subresource=status", "-p", &status.to_string()];
        if place.kubectl.run(&patch, "").is_ok() {
            self.ready = ready;
        }
    }
}
