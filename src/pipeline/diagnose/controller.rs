//! The sealed-secrets controller: whether it runs, watches our namespace, and serves our key.

use serde_json::Value;

use super::object::{containers, flag, is_available, is_wanted, place, seconds, text};
use super::{Checks, Fault, Part, advice, start};
use crate::manifest::secret::{KEY_LABEL, is_key_secret_name};
use crate::model::{Remedy, Symptom, counted, visible};

/// Known vulnerabilities of the controller, in the order of the first versions without them: where each is, and what it allows.
const VULNERABILITIES: [((u32, u32, u32), &str); 3] = [
    ((0, 36, 0), "`/v1/rotate` can widen the scope of a value, so that it opens elsewhere (CVE-2026-22728)"),
    ((0, 39, 0), "`/v1/verify` tells, bit by bit, what a sealed value is, to any account that may call it"),
    ((0, 40, 0), "`/v1/rotate` tells, bit by bit, what a sealed value is, to any account that may call it"),
];

/// The first version without any of them.
pub const SAFE: (u32, u32, u32) = VULNERABILITIES[VULNERABILITIES.len() - 1].0;

/// The prefix of its flags as environment variables.
const VARIABLES: &str = "SEALED_SECRETS";

/// The state of the sealed-secrets controller.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(super) enum Controller {
    /// It does not run, or its state is unknown, or it does not watch our namespace.
    Down,
    /// It serves a certificate other than the pinned one, or none.
    Strange,
    Serving,
}

/// The controller's Deployment, among those in its namespace: the one that its Service selects, or else the one with its name, or with the
/// labels of its chart or of its release manifest, or with its image.
pub fn find<'d>(deployments: &'d [Value], service: Option<&Value>, name: &str) -> Option<&'d Value> {
    let selected = |one: &Value| service.is_some_and(|service| leads_to(service, one));
    let ways: [&dyn Fn(&Value) -> bool; 3] = [&selected, &|one| text(one, "/metadata/name") == name && is_controller(one), &is_controller];
    ways.iter().find_map(|way| deployments.iter().find(|one| way(one)))
}

/// Whether a Service selects the Pods of a Deployment.
pub fn leads_to(service: &Value, deployment: &Value) -> bool {
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let selector = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty());
    selector.is_some_and(|selector| selector.iter().all(|(label, value)| labels.get(label) == Some(value)))
}

/// Whether a Deployment is a sealed-secrets controller.
pub fn is_controller(deployment: &Value) -> bool {
    let labels = &deployment["metadata"]["labels"];
    let has_image = || containers(deployment).any(|one| text(one, "/image").contains("sealed-secrets-controller"));
    labels["app.kubernetes.io/name"] == "sealed-secrets" || labels["name"] == "sealed-secrets-controller" || has_image()
}

/// A flag of the controller.
fn setting<'d>(deployment: &'d Value, name: &str) -> Option<&'d str> {
    flag(deployment, name, Some(VARIABLES))
}

/// Whether it unseals SealedSecrets in a namespace.
fn looks_at(deployment: &Value, namespace: &str) -> bool {
    let own = text(deployment, "/metadata/namespace");
    let more = setting(deployment, "additional-namespaces").unwrap_or_default();
    setting(deployment, "all-namespaces") != Some("false") || own == namespace || more.split(',').any(|one| one.trim() == namespace)
}

/// Whether an object has these labels (`a=b,c=d`). For a selector in another form, this is unknown.
fn is_selected(object: &Value, labels: &str) -> bool {
    let all = labels.split(',').map(|one| one.split_once('=').filter(|(name, _)| !name.ends_with('!')));
    let has = |(name, value): (&str, &str)| object["metadata"]["labels"][name.trim()] == value.trim_start_matches('=').trim();
    all.into_iter().all(|one| one.is_none_or(has))
}

impl Checks<'_> {
    pub(super) fn restart(&self) -> String {
        let (namespace, service) = self.wanted.controller;
        let name = self.snapshot.controller.as_ref().map_or(service, |deployment| text(deployment, "/metadata/name"));
        format!("kubectl -n {namespace} rollout restart deployment/{name}")
    }

    pub(super) fn controller(&mut self) -> Controller {
        const CATEGORY: &str = "controller";
        let (namespace, name) = self.wanted.controller;
        let what = format!("{namespace}/{name}");
        if !self.may(Part::Controller, CATEGORY, &what) {
            return Controller::Down;
        }
        let Some(deployment) = &self.snapshot.controller else {
            let fault = self.no_controller();
            self.bad(CATEGORY, what, fault);
            return Controller::Down;
        };
        if !is_available(deployment) {
            let (cause, remedy) = self.why_down(deployment);
            self.bad(CATEGORY, what, Fault::new(Symptom::ControllerDown, cause, remedy));
            return Controller::Down;
        }
        self.good(CATEGORY, format!("{what} runs"));
        self.vulnerabilities(deployment);
        self.renewal(deployment, namespace);
        let looks = self.scope(deployment);
        self.others();
        self.status_is_written();
        let serves = self.certificate();
        self.key_secrets(serves);
        match (looks, serves) {
            (false, _) => Controller::Down,
            (true, false) => Controller::Strange,
            (true, true) => Controller::Serving,
        }
    }

    fn no_controller(&self) -> Fault {
        let cause = format!("there is no sealed-secrets controller in `{}`", self.wanted.controller.0);
        match self.snapshot.controllers.first() {
            Some(other) => {
                let (namespace, name) = place(other);
                let remedy = format!("if it is the right one, pass --controller-namespace {namespace} --controller-name {name}");
                Fault::new(Symptom::ControllerMissing, format!("{cause}, but there is `{namespace}/{name}`"), advice(remedy))
            }
            None => {
                let remedy = format!(
                    "follow step 2 of {}/INSTALL.md; if it runs elsewhere, pass --controller-namespace and --controller-name",
                    self.out()
                );
                Fault::new(Symptom::ControllerMissing, cause, advice(remedy))
            }
        }
    }

    fn why_down(&self, deployment: &Value) -> (String, Remedy) {
        if !is_wanted(deployment) {
            return ("it is scaled to zero".to_owned(), start(deployment));
        }
        match self.put_aside() {
            Some(put_aside) => {
                let cause =
                    "one of its Pods does not start: a key Secret without an RSA key in PEM crashes it, and one key Secret is not ours";
                (cause.to_owned(), [put_aside, self.restart()].into())
            }
            None => ("one of its Pods does not start".to_owned(), start(deployment)),
        }
    }

    /// The command that sets aside the key Secrets that are not ours. Restoring the label undoes it; until then, values sealed to them do
    /// not open.
    fn put_aside(&self) -> Option<String> {
        let mut keys: Vec<&Value> = self.snapshot.keys.iter().collect();
        keys.sort_by_key(|key| text(key, "/metadata/creationTimestamp"));
        let names: Vec<&str> = keys.iter().map(|key| text(key, "/metadata/name")).collect();
        let strange = match names.iter().any(|name| is_key_secret_name(name)) {
            true => names.into_iter().filter(|name| !is_key_secret_name(name)).collect(),
            // Ours has another name: the newest is the one that the controller generated.
            false if names.len() > 1 => vec![names[names.len() - 1]],
            false => Vec::new(),
        };
        let namespace = self.wanted.controller.0;
        (!strange.is_empty())
            .then(|| format!("kubectl -n {namespace} label secret {} {KEY_LABEL}=compromised --overwrite", strange.join(" ")))
    }

    /// Checks that it unseals SealedSecrets in the namespace of the source Secrets.
    fn scope(&mut self, deployment: &Value) -> bool {
        let namespace = self.wanted.contract.namespace.as_str();
        let looks = looks_at(deployment, namespace);
        if !looks {
            let cause = format!("it runs with `--all-namespaces=false`, and does not look at `{namespace}`");
            let remedy =
                advice(format!("add `{namespace}` to its `--additional-namespaces`: `additionalNamespaces` in the values of its chart"));
            self.bad("controller", "its namespaces", Fault::new(Symptom::ControllerScoped, cause, remedy));
            return false;
        }
        let Some(labels) = setting(deployment, "label-selector").filter(|labels| !labels.is_empty()) else { return true };
        let unseen = self.wanted.sealed.keys().filter_map(|name| self.in_place(name)).any(|object| !is_selected(object, labels));
        if unseen {
            let cause = format!("it runs with `--label-selector={}`, and SealedSecrets of ours do not have these labels", visible(labels));
            let remedy = advice("who installed the controller has to remove `--label-selector` from its arguments");
            self.bad("controller", "its labels", Fault::new(Symptom::ControllerScoped, cause, remedy));
        }
        !unseen
    }

    /// The other controllers that unseal the same SealedSecrets.
    pub(super) fn rivals(&self) -> Vec<&Value> {
        let Some(own) = &self.snapshot.controller else { return Vec::new() };
        let namespace = self.wanted.contract.namespace.as_str();
        let rival = |one: &&Value| place(one) != place(own) && is_wanted(one) && looks_at(one, namespace);
        self.snapshot.controllers.iter().filter(rival).collect()
    }

    fn others(&mut self) {
        let rivals: Vec<String> = self.rivals().into_iter().map(place).map(|(namespace, name)| format!("`{namespace}/{name}`")).collect();
        if rivals.is_empty() {
            return;
        }
        let cause = format!("{} unseals every namespace too, with keys of its own: each overwrites the other's status", rivals.join(", "));
        let remedy = advice(
            "who runs it has to limit it to its own namespaces (`--all-namespaces=false`, and `--additional-namespaces`), or to remove it",
        );
        self.bad("controller", "another controller", Fault::new(Symptom::SeveralControllers, cause, remedy));
    }

    /// Whether it reports in a status what it did with a SealedSecret.
    pub(super) fn writes_status(&self) -> bool {
        self.snapshot.controller.as_ref().is_none_or(|one| setting(one, "update-status") != Some("false"))
    }

    fn status_is_written(&mut self) {
        if !self.writes_status() {
            let cause = "it runs with `--update-status=false`: what it could not unseal is seen only in the source Secrets";
            let remedy = advice("remove `--update-status=false` from its arguments (`updateStatus` in the values of its chart)");
            self.warn("controller", "its status", Fault::new(Symptom::NoStatus, cause, remedy));
        }
    }

    /// Checks that it serves the pinned certificate.
    fn certificate(&mut self) -> bool {
        const CATEGORY: &str = "controller";
        let pinned = self.wanted.certificate;
        let what = "its certificate";
        if !self.may(Part::Certificate, CATEGORY, what) {
            return false;
        }
        let Some(served) = self.snapshot.served else {
            let fault = self.no_certificate();
            self.bad(CATEGORY, what, fault);
            return false;
        };
        if served == pinned {
            self.good(CATEGORY, format!("it serves the pinned certificate {served}"));
            return true;
        }
        let cause = format!("it serves {served}, but {} is {pinned}", self.wanted.places.in_keys("sealing.crt"));
        let fault = match self.put_aside() {
            Some(put_aside) => {
                let cause = format!("{cause}: it has several keys, and serves the newest; {}", self.price());
                Fault::new(Symptom::SeveralKeys, cause, [put_aside, self.restart()])
            }
            None => Fault::new(Symptom::CertificateDiffers, cause, self.give_key()),
        };
        self.bad(CATEGORY, what, fault);
        false
    }

    /// How to give the controller our key.
    pub(super) fn give_key(&self) -> Remedy {
        let namespace = self.wanted.controller.0;
        let program = self.wanted.places.command(&format!("key-secret --controller-namespace {namespace}"));
        [format!("{program} | kubectl apply -f -"), self.restart()].into()
    }

    fn no_certificate(&self) -> Fault {
        let (namespace, name) = self.wanted.controller;
        let here = self.snapshot.services.iter().any(|service| service == name);
        let other = self.snapshot.services.first().filter(|_| !here);
        let (cause, remedy) = match other {
            Some(other) => {
                (format!("there is no Service `{name}`, but one called `{other}`"), advice(format!("add --controller-name {other}")))
            }
            None if here => {
                let remedy = advice(format!(
                    "compare its ports with the chart's, and see whether a NetworkPolicy or a firewall keeps the API server from its Pods; if its log has stopped, restart it: {}",
                    self.restart()
                ));
                (format!("its Service `{name}` does not answer"), remedy)
            }
            None => {
                let remedy = advice(format!("follow step 2 of {}/INSTALL.md", self.out()));
                (format!("there is no Service `{name}` for it in `{namespace}`"), remedy)
            }
        };
        Fault::new(Symptom::ServiceMissing, cause, remedy)
    }

    /// What setting a key aside costs.
    fn price(&self) -> String {
        let pinned = self.wanted.certificate.to_string();
        let ours = |object: &&Value| text(object, "/metadata/annotations/seal-secrets~1certificate") == pinned;
        let others = self.snapshot.sealed.iter().filter(|object| !ours(object)).count();
        format!(
            "the remedy sets the other key aside: until its label is `active` again, values sealed to it do not open, \
             which may affect {} here",
            counted(others, "SealedSecret")
        )
    }

    /// Checks what the next start of the controller will find: the key that it serves now, and no retired key.
    fn key_secrets(&mut self, serves: bool) {
        const CATEGORY: &str = "controller";
        if self.snapshot.forbidden.contains_key(&Part::Keys) {
            return;
        }
        let snapshot = self.snapshot;
        let is_ours = |key: &&Value| is_key_secret_name(text(key, "/metadata/name"));
        let has_ours = snapshot.keys.iter().any(|key| is_ours(&key)) || snapshot.first_key.is_some();
        let none = snapshot.keys.is_empty() && snapshot.first_key.is_none();
        if serves && (none || (self.wanted.own_key && !has_ours)) {
            let cause = "the key Secret is gone: the controller still holds the key, and makes another one at its next start";
            let remedy = match self.give_key() {
                // It has the key, so it need not restart.
                Remedy::Commands(mut commands) if self.wanted.own_key => {
                    commands.pop();
                    Remedy::Commands(commands)
                }
                _ => advice(
                    "apply the key Secret from its backup, before the controller starts again; without a backup keep it running, and seal each value again to a key that you have",
                ),
            };
            self.bad(CATEGORY, "its key Secret", Fault::new(Symptom::KeySecretMissing, cause, remedy));
        }
        let Some(first) = &snapshot.first_key else { return };
        let label = first["metadata"]["labels"].get(KEY_LABEL).and_then(Value::as_str);
        if let Some(label) = label.filter(|label| *label != "active") {
            let (namespace, name) = place(first);
            let cause = format!(
                "the Secret `{name}` has the label `{}`, but the controller loads the Secret of that name whatever its label",
                visible(label)
            );
            let remedy = match serves && !snapshot.keys.iter().any(|key| is_ours(&key)) {
                // This is the only copy of the pinned key in the cluster.
                true => advice(format!(
                    "if its key leaked, run `{}` and follow docs/recovery.md; if it did not, give it the label `active` again",
                    self.wanted.places.command("renew")
                )),
                false => [format!("kubectl -n {namespace} delete secret {name}"), self.restart()].into(),
            };
            self.bad(CATEGORY, "a retired key", Fault::new(Symptom::RetiredKeyLoaded, cause, remedy));
        }
    }

    /// When the newest key Secret was created.
    pub(super) fn key_came(&self) -> Option<u64> {
        let keys = self.snapshot.keys.iter().chain(&self.snapshot.first_key);
        keys.filter_map(|key| seconds(text(key, "/metadata/creationTimestamp"))).max()
    }

    /// Whether it loads a new key without a restart.
    pub(super) fn watches_keys(&self) -> bool {
        self.snapshot.controller.as_ref().and_then(|one| setting(one, "watch-for-secrets")).is_some_and(|value| value != "false")
    }

    /// Reports known vulnerabilities of its version.
    fn vulnerabilities(&mut self, deployment: &Value) {
        let Some(version) = version_of(deployment) else { return };
        let harms: Vec<&str> = VULNERABILITIES.iter().filter(|(first_good, _)| version < *first_good).map(|(_, harm)| *harm).collect();
        if harms.is_empty() {
            return;
        }
        let who = match self.snapshot.open_to_all {
            Some(true) => "; here every account of the cluster may call it: `services/proxy` is open to `system:authenticated`",
            Some(false) => "; here not every account of the cluster may call it",
            None => "",
        };
        let cause = format!("version {}: {}{who}", dotted(version), harms.join("; "));
        let remedy = advice(format!("upgrade the controller to {} or newer", dotted(SAFE)));
        self.warn("controller", "its version", Fault::new(Symptom::ControllerVulnerable, cause, remedy));
    }

    /// Checks whether it will generate a key of its own.
    fn renewal(&mut self, deployment: &Value, namespace: &str) {
        let period = setting(deployment, "key-renew-period");
        if period.is_some_and(|period| matches!(period, "0" | "0s" | "0h" | "0m")) {
            self.good("controller", "it never generates its own key");
            return;
        }
        let cause = format!(
            "its renewal period is {}: it will generate its own key and serve that one",
            period.map_or("the default, 30 days".to_owned(), visible)
        );
        let remedy = advice(format!("set keyrenewperiod: \"0\" in the chart's values and upgrade the release in {namespace}"));
        self.warn("controller", "its renewal period", Fault::new(Symptom::KeyRenewal, cause, remedy));
    }
}

/// A controller's version, from its image, or else from its chart. Other containers of the Pod have other versions.
pub fn version_of(deployment: &Value) -> Option<(u32, u32, u32)> {
    let images = containers(deployment).map(|one| text(one, "/image")).filter(|image| image.contains("sealed-secrets"));
    let tags = images.filter_map(|image| Some(image.split('@').next()?.rsplit_once(':')?.1));
    tags.chain([text(deployment, "/metadata/labels/app.kubernetes.io~1version")]).find_map(version)
}

pub fn dotted((major, minor, patch): (u32, u32, u32)) -> String {
    format!("{major}.{minor}.{patch}")
}

/// The three numbers at the beginning of a version.
fn version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers =
        text.trim_start_matches('v').splitn(3, '.').map(|part| part.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}
