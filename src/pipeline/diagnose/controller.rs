//! The first half of the way: controller, SealedSecret, source Secret.

use serde_json::Value;

use super::{Checks, Part, condition, has_value, is_available, text};
use crate::manifest::secret::{KEY_LABEL, is_key_secret_name};
use crate::model::{Name, PROPERTY, Symptom, counted, visible};

/// Known faults of the controller: what, the first version without it, what it does.
const VULNERABILITIES: [(&str, (u32, u32, u32), &str); 1] =
    [("CVE-2026-22728", (0, 36, 0), "anyone who may ask it to re-encrypt a value can widen the scope of the value, and so read it")];

/// The state of the sealed-secrets controller.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(super) enum Controller {
    /// Or its state is unknown.
    Down,
    /// It serves a certificate other than the pinned one, or none.
    Strange,
    Serving,
}

impl Checks<'_> {
    fn restart(&self) -> String {
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
            let cause = format!("there is no sealed-secrets controller in `{namespace}`");
            let out = self.out();
            let remedy =
                format!("follow step 2 of {out}/INSTALL.md; if it runs elsewhere, pass --controller-namespace and --controller-name");
            self.bad(CATEGORY, what, Symptom::ControllerMissing, cause, remedy);
            return Controller::Down;
        };
        if !is_available(deployment) {
            let (cause, remedy) = self.why_down(deployment);
            self.bad(CATEGORY, what, Symptom::ControllerDown, cause, remedy);
            return Controller::Down;
        }
        self.good(CATEGORY, format!("{what} runs"));
        self.vulnerabilities(deployment);
        self.renewal(deployment, namespace);
        if self.certificate() { Controller::Serving } else { Controller::Strange }
    }

    fn why_down(&self, deployment: &Value) -> (String, String) {
        let (namespace, name) = (self.wanted.controller.0, text(deployment, "/metadata/name"));
        if deployment.pointer("/spec/replicas").and_then(Value::as_u64) == Some(0) {
            return ("it is scaled to zero".to_owned(), format!("kubectl -n {namespace} scale deployment/{name} --replicas=1"));
        }
        match self.put_aside() {
            Some(put_aside) => {
                let cause =
                    "one of its Pods does not start: a key Secret without an RSA key in PEM crashes it, and one key Secret is not ours"
                        .to_owned();
                (cause, format!("{put_aside} && {}", self.restart()))
            }
            None => ("one of its Pods does not start".to_owned(), format!("kubectl -n {namespace} logs deployment/{name} --previous")),
        }
    }

    /// The command that sets aside the key Secrets that are not ours. Setting the label back undoes it; until then, values
    /// sealed to them do not open.
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

    /// Whether it serves the pinned certificate.
    fn certificate(&mut self) -> bool {
        const CATEGORY: &str = "controller";
        let ((namespace, name), pinned) = (self.wanted.controller, self.wanted.certificate);
        let what = "its certificate".to_owned();
        if !self.may(Part::Certificate, CATEGORY, &what) {
            return false;
        }
        let Some(served) = self.snapshot.served else {
            let here = self.snapshot.services.iter().any(|service| service == name);
            let other = self.snapshot.services.first().filter(|_| !here);
            let (cause, remedy) = match other {
                Some(other) => {
                    (format!("there is no Service `{name}`, but one called `{other}`"), format!("add --controller-name {other}"))
                }
                None if here => (format!("its Service `{name}` does not answer"), self.restart()),
                None => {
                    let remedy = format!("follow step 2 of {}/INSTALL.md", self.out());
                    (format!("there is no Service `{name}` for it in `{namespace}`"), remedy)
                }
            };
            self.bad(CATEGORY, what, Symptom::ServiceMissing, cause, remedy);
            return false;
        };
        if served == pinned {
            self.good(CATEGORY, format!("it serves the pinned certificate {served}"));
            return true;
        }
        let cause = format!("it serves {served}, but {} is {pinned}", self.wanted.places.in_keys("sealing.crt"));
        match self.put_aside() {
            Some(put_aside) => {
                let remedy = format!("{put_aside} && {}", self.restart());
                let cause = format!("{cause}: it has several keys, and serves the newest; {}", self.price());
                self.bad(CATEGORY, what, Symptom::SeveralKeys, cause, remedy);
            }
            None => {
                let remedy = format!(
                    "{} | kubectl apply -f - && {}",
                    self.wanted.places.command(&format!("key-secret --controller-namespace {namespace}")),
                    self.restart()
                );
                self.bad(CATEGORY, what, Symptom::CertificateDiffers, cause, remedy);
            }
        }
        false
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

    /// Known faults of its version.
    fn vulnerabilities(&mut self, deployment: &Value) {
        let Some(version) = version_of(deployment) else { return };
        for (name, first_good, harm) in VULNERABILITIES.iter().filter(|(_, first_good, _)| version < *first_good) {
            let cause = format!("version {} has {name}: {harm}", dotted(version));
            let remedy = format!("upgrade it to {} or newer", dotted(*first_good));
            self.warn("controller", "its version".to_owned(), Symptom::ControllerVulnerable, cause, remedy);
        }
    }

    /// Whether it will generate its own key.
    fn renewal(&mut self, deployment: &Value, namespace: &str) {
        let containers = deployment.pointer("/spec/template/spec/containers").and_then(Value::as_array).into_iter().flatten();
        let words = containers.flat_map(|one| ["args", "command"].into_iter().filter_map(|name| one[name].as_array()).flatten());
        let words: Vec<&str> = words.filter_map(Value::as_str).collect();
        let flag = words.iter().position(|word| word.trim_start_matches('-').starts_with("key-renew-period"));
        let period = flag.and_then(|at| words[at].split_once('=').map(|(_, period)| period).or_else(|| words.get(at + 1).copied()));
        if period.is_some_and(|period| matches!(period.trim_matches('"'), "0" | "0s" | "0h")) {
            self.good("controller", "it never generates its own key".to_owned());
            return;
        }
        let cause =
            format!("its renewal period is {}: it will generate its own key and serve that one", period.unwrap_or("the default, 30 days"));
        let remedy = format!("set keyrenewperiod: \"0\" in the chart's values and upgrade the release in {namespace}");
        self.warn("controller", "its renewal period".to_owned(), Symptom::KeyRenewal, cause, remedy);
    }

    /// The SealedSecret in its place.
    fn in_place(&self, name: &Name) -> Option<&Value> {
        let namespace = self.wanted.contract.namespace.as_str();
        let here = |object: &&Value| text(object, "/metadata/name") == name.as_str() && text(object, "/metadata/namespace") == namespace;
        self.snapshot.sealed.iter().find(here)
    }

    pub(super) fn sealed(&mut self, name: &Name, controller: Controller) {
        const CATEGORY: &str = "sealed secrets";
        let namespace = self.wanted.contract.namespace.as_str();
        let Some(object) = self.in_place(name) else {
            // kustomize changes the object's own name and namespace, and not those inside the template.
            let sealed_as = |object: &&Value| {
                text(object, "/spec/template/metadata/name") == name.as_str()
                    && text(object, "/spec/template/metadata/namespace") == namespace
            };
            let Some(moved) = self.snapshot.sealed.iter().find(sealed_as) else {
                let cause = format!("the SealedSecret `{name}` is not in `{namespace}`");
                return self.bad(CATEGORY, name.to_string(), Symptom::SealedSecretMissing, cause, self.apply_source());
            };
            let (place, called) = (text(moved, "/metadata/namespace"), text(moved, "/metadata/name"));
            let cause = format!(
                "it is `{place}/{called}` in the cluster, but opens only as `{namespace}/{name}`: a kustomization sets namePrefix, nameSuffix or namespace"
            );
            let remedy = format!("{} && kubectl -n {place} delete sealedsecret {called}", self.apply_source());
            return self.bad(CATEGORY, name.to_string(), Symptom::SealedSecretMoved, cause, remedy);
        };
        let number = |path: &str| object.pointer(path).and_then(Value::as_u64);
        let current = number("/metadata/generation") == number("/status/observedGeneration");
        match condition(object, "Synced") {
            Some(("True", _)) if current => self.good(CATEGORY, name.to_string()),
            _ if controller == Controller::Down => self.skip(CATEGORY, name.as_str()),
            Some(("False", message)) if current => match self.why_sealed(name, object, message, controller) {
                Some((symptom, cause, remedy)) => self.bad(CATEGORY, name.to_string(), symptom, cause, remedy),
                None => self.skip(CATEGORY, name.as_str()),
            },
            _ => {
                let cause = "the controller has not processed its current state".to_owned();
                self.bad(CATEGORY, name.to_string(), Symptom::SealedSecretPending, cause, self.restart());
            }
        }
    }

    /// Why it is not unsealed; none if the controller's own fault explains it.
    fn why_sealed(&self, name: &Name, object: &Value, message: &str, controller: Controller) -> Option<(Symptom, String, String)> {
        let annotation = text(object, "/metadata/annotations/seal-secrets~1certificate");
        let restart = self.restart();
        let why = if message.contains("no key could decrypt") {
            if annotation != self.wanted.certificate.to_string() {
                let sealed_to = if annotation.is_empty() { "an unknown key".to_owned() } else { visible(annotation) };
                let cause = format!("it is sealed to {sealed_to}, not to the pinned certificate");
                (Symptom::SealedToAnotherKey, cause, self.apply_source())
            } else if controller == Controller::Serving {
                let cause = "it arrived before its key, or its text was changed; the controller gave up".to_owned();
                (Symptom::KeyCameLater, cause, format!("{} && {restart}", self.apply_source()))
            } else {
                return None;
            }
        } else if message.contains("illegal base64") {
            (
                Symptom::SealedSecretCorrupt,
                visible(message),
                format!("git -C {} checkout -- secret-source && {}", self.out(), self.apply_source()),
            )
        } else if message.contains("already exists and is not managed") {
            let namespace = &self.wanted.contract.namespace;
            let adopt = format!("kubectl -n {namespace} annotate secret {name} sealedsecrets.bitnami.com/managed=true --overwrite");
            let there = self.snapshot.sources.get(name).is_some_and(Option::is_some);
            let cause = format!("a Secret of that name {}, and is not the controller's", if there { "exists" } else { "existed" });
            (Symptom::SecretInTheWay, cause, if there { format!("{adopt} && {restart}") } else { restart })
        } else {
            (Symptom::SealedSecretFailed, visible(message), format!("{} && {restart}", self.apply_source()))
        };
        Some(why)
    }

    pub(super) fn is_unsealed(&self, name: &Name) -> bool {
        self.in_place(name).and_then(|object| condition(object, "Synced")).is_some_and(|(status, _)| status == "True")
    }

    pub(super) fn source(&mut self, name: &Name) {
        const CATEGORY: &str = "source secrets";
        if !self.is_unsealed(name) {
            return self.skip(CATEGORY, name.as_str());
        }
        let namespace = &self.wanted.contract.namespace;
        // In the foreground: the next one would find the old Secret in its way.
        let again = format!("kubectl -n {namespace} delete sealedsecret {name} --cascade=foreground && {}", self.apply_source());
        match self.snapshot.sources.get(name).and_then(Option::as_ref) {
            None => {
                let cause = format!("the Secret `{name}` is not in `{namespace}`, although its SealedSecret is synced");
                self.bad(CATEGORY, name.to_string(), Symptom::SourceMissing, cause, again);
            }
            Some(metadata) if !has_value(metadata) => {
                let cause = format!("the Secret `{name}` has no data key `{PROPERTY}`");
                self.bad(CATEGORY, name.to_string(), Symptom::SourceWithoutValue, cause, again);
            }
            Some(_) => self.good(CATEGORY, name.to_string()),
        }
    }
}

/// A controller's version, from its image, or else from its chart. Other containers of the Pod have other versions.
pub fn version_of(deployment: &Value) -> Option<(u32, u32, u32)> {
    let containers = deployment.pointer("/spec/template/spec/containers").and_then(Value::as_array).into_iter().flatten();
    let images = containers.map(|one| text(one, "/image")).filter(|image| image.contains("sealed-secrets"));
    let tags = images.filter_map(|image| Some(image.split('@').next()?.rsplit_once(':')?.1));
    tags.chain([text(deployment, "/metadata/labels/app.kubernetes.io~1version")]).find_map(version)
}

pub fn dotted((major, minor, patch): (u32, u32, u32)) -> String {
    format!("{major}.{minor}.{patch}")
}

/// The three numbers that a version begins with.
fn version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers =
        text.trim_start_matches('v').splitn(3, '.').map(|part| part.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}
