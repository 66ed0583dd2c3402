//! The second half of the way: the ExternalSecret, compared with the contract, and its target.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::object::{
    condition, data_written, duration, is_immutable, is_ready, lacks, leaving, list, seconds, target_of, text, version, warning, written,
};
use super::operator::{Operator, Ready};
use super::{Checks, Fault, LiveConsumer, Part, advice, refused};
use crate::model::{Consumer, Entry, Name, Namespace, PROPERTY, Remedy, Sorted, StoreKind, Symptom, visible};

impl Checks<'_> {
    pub(super) fn consumer(&mut self, live: &LiveConsumer, operator: Operator, ready: &Ready<'_>) {
        const CATEGORY: &str = "external secrets";
        let (contract, delivery) = (self.wanted.contract, self.wanted.delivery);
        let consumer: &Consumer = &contract.consumers[live.index];
        let Some(object) = &live.object else {
            // The name of an ExternalSecret that a helm chart renders is unknown, so it cannot be missing.
            let Some(name) = &consumer.name else { return };
            let remedy = advice("sync the platform's Application that holds it");
            let fault = Fault::new(Symptom::ExternalSecretMissing, "the ExternalSecret does not exist", remedy);
            return self.warn(CATEGORY, format!("{}/{name}", consumer.namespace), fault);
        };
        let name = visible(text(object, "/metadata/name"));
        let what = format!("{}/{name}", consumer.namespace);
        if !self.is_there(consumer.namespace.as_str()) {
            return self.skip(CATEGORY, &what);
        }
        let force = consumer.force_sync(Some(&name));
        if let Some(fault) = self.gone_or_not_seen(consumer, object, operator) {
            return self.bad(CATEGORY, what, fault);
        }
        let fault = self
            .property(consumer, &name, object)
            .or_else(|| self.other_store(consumer, &name, object))
            .or_else(|| self.entries_differ(consumer, &name, object));
        match fault {
            // The webhook comes first: it accepts no change.
            Some(_) if !operator.takes_changes => return self.skip(CATEGORY, &what),
            Some(fault) => return self.bad(CATEGORY, what, fault),
            None => {}
        }
        if let Some(fault) = self.not_allowed(consumer, &force) {
            return self.bad(CATEGORY, what, fault);
        }
        if let Some(fault) = self.not_sealed(consumer) {
            return self.warn(CATEGORY, what, fault);
        }
        let account = delivery.account(contract, &consumer.namespace);
        let works = operator.runs && ready.contains(&delivery.store(&consumer.namespace)) && self.has_account(account);
        if is_ready(object) {
            self.good(CATEGORY, what.clone());
            self.target(live, object, what, force, works);
        } else if !works || !consumer.reads().all(|secret| self.is_sound(account, secret)) {
            self.skip(CATEGORY, &what);
        } else {
            let fault = self.why_failed(live, consumer, object, force);
            self.bad(CATEGORY, what, fault);
        }
    }

    /// Why the operator does not process an ExternalSecret.
    fn gone_or_not_seen(&self, consumer: &Consumer, object: &Value, operator: Operator) -> Option<Fault> {
        if let Some(cause) = leaving(object) {
            let remedy = match operator.runs {
                true => advice("who owns its finalizers has to remove them; once it is gone, sync the Application that holds it"),
                false => advice("the operator removes its finalizer once it runs; then sync the Application that holds it"),
            };
            return Some(Fault::new(Symptom::ExternalSecretTerminating, cause, remedy));
        }
        self.looks_elsewhere(&consumer.namespace).filter(|_| operator.runs)
    }

    fn not_sealed(&self, consumer: &Consumer) -> Option<Fault> {
        let secret = consumer.reads().find(|secret| !self.wanted.sealed.contains_key(*secret))?;
        let provided = self.wanted.contract.values_of(secret.as_str()).filter(|key| key.is_provided());
        let provide: String = provided.map(|key| format!(" --provide {}=FILE", key.name)).collect();
        let remedy = self.wanted.places.command(&format!("bootstrap{provide}"));
        Some(Fault::new(Symptom::NotSealedYet, format!("`{secret}` is not sealed yet"), remedy))
    }

    /// Whether a source Secret holds the controller's value, and an account may read it.
    fn is_sound(&self, account: &Namespace, key: &Name) -> bool {
        let source = self.snapshot.sources.get(key).and_then(Option::as_ref);
        source.is_some_and(|source| lacks(source, &self.data_keys(key)).is_none())
            && self.snapshot.access.get(&(account.clone(), key.clone())) != Some(&false)
    }

    /// Reports entries of ours that read from another store.
    fn other_store(&self, consumer: &Consumer, name: &str, object: &Value) -> Option<Fault> {
        let (kind, store) = (self.wanted.delivery.store_kind.as_str(), self.wanted.contract.store.as_str());
        let own = |index: usize| format!("/spec/data/{index}/sourceRef/storeRef");
        let at = |index| if object.pointer(&own(index)).is_some() { own(index) } else { "/spec/secretStoreRef".to_owned() };
        let kind_there = |at: &str| match text(object, &format!("{at}/kind")) {
            "" => StoreKind::SecretStore.as_str(),
            kind => kind,
        };
        let places: BTreeSet<String> = entries_of(consumer, object).map(|(index, _)| at(index)).sorted();
        let wrong = |at: &&String| (kind_there(at), text(object, &format!("{at}/name"))) != (kind, store);
        let wrong: Vec<&String> = places.iter().filter(wrong).collect();
        let first = wrong.first()?;
        let there = format!("{}/{}", kind_there(first), text(object, &format!("{first}/name")));
        let cause = format!("it reads from `{}`, not from `{kind}/{store}`; {}", visible(&there), self.lasting(consumer));
        let add = |at: &&String| json!({ "op": "add", "path": at, "value": { "kind": kind, "name": store } });
        Some(Fault::new(Symptom::OtherStore, cause, patch(consumer, name, wrong.iter().map(add).collect())))
    }

    /// How to fix an ExternalSecret permanently.
    fn lasting(&self, consumer: &Consumer) -> String {
        match consumer.name {
            Some(_) => format!("`{}` fixes it in git", self.wanted.places.command("patch")),
            None => format!("fix it in its chart's values, or run `{}` behind helm", self.wanted.places.command("patch -")),
        }
    }

    /// Reports entries of ours that do not read the property that the contract has for them.
    fn property(&self, consumer: &Consumer, name: &str, object: &Value) -> Option<Fault> {
        let each = entries_of(consumer, object).map(|(index, entry)| (index, entry, property_of(consumer, entry)));
        let wrong: Vec<(usize, &Value, &str)> =
            each.filter(|(_, entry, property)| text(entry, "/remoteRef/property") != *property).collect();
        let (_, first, property) = wrong.first()?;
        let (key, lasting) = (visible(text(first, "/remoteRef/key")), self.lasting(consumer));
        let (symptom, cause) = match text(first, "/remoteRef/property") {
            "" => (Symptom::PropertyMissing, format!("it reads `{key}` without a property, so its target holds JSON; {lasting}")),
            other => {
                (Symptom::PropertyWrong, format!("it reads the property `{}` of `{key}`, not `{property}`; {lasting}", visible(other)))
            }
        };
        let add = |(index, _, property): &(usize, &Value, &str)| json!({ "op": "add", "path": format!("/spec/data/{index}/remoteRef/property"), "value": property });
        Some(Fault::new(symptom, cause, patch(consumer, name, wrong.iter().map(add).collect())))
    }

    /// How its entries differ from those of the contract: each has to deliver the value of its key, unchanged, under its name.
    fn entries_differ(&self, consumer: &Consumer, name: &str, object: &Value) -> Option<Fault> {
        let live: Vec<&Value> = list(object, "/spec/data").collect();
        let mut differences: Vec<(String, Value)> = consumer.entries.iter().filter_map(|entry| differs(entry, consumer, &live)).collect();
        differences.extend(consumer.whole.iter().filter_map(|secret| not_extracted(secret, object)));
        let cause: Vec<&str> = differences.iter().map(|(cause, _)| cause.as_str()).collect();
        let cause = format!("{}; if git has it so, correct it there, or name the checkout with `--platform`", cause.join(", and "));
        // An ExternalSecret that reads whole Secrets has no list to add to.
        let missing = (object.pointer("/spec/data").is_none() && !consumer.entries.is_empty())
            .then(|| json!({ "op": "add", "path": "/spec/data", "value": [] }));
        let fix = || patch(consumer, name, missing.into_iter().chain(differences.iter().map(|(_, fix)| fix.clone())).collect());
        (!differences.is_empty()).then(|| Fault::new(Symptom::ExternalSecretDiffers, cause, fix()))
    }

    /// Whether the store's conditions exclude its namespace.
    fn not_allowed(&self, consumer: &Consumer, force: &str) -> Option<Fault> {
        let store = self.snapshot.stores.iter().find(|store| store.namespace.is_none())?.object.as_ref()?;
        let namespace = consumer.namespace.as_str();
        let labels = self.snapshot.namespaces.get(namespace).and_then(Option::as_ref).map(|one| &one["metadata"]["labels"]);
        let cause = || format!("`conditions` of the store `{}` do not let its namespace in", self.wanted.contract.store);
        let remedy = || Remedy::Commands(self.apply_store().into_iter().chain([force.to_owned()]).collect());
        (!lets_in(store, namespace, labels)).then(|| Fault::new(Symptom::NamespaceNotAllowed, cause(), remedy()))
    }

    /// Why its target was not made, although its store and its sources are sound.
    fn why_failed(&self, live: &LiveConsumer, consumer: &Consumer, object: &Value, force: String) -> Fault {
        let ready = condition(object, "Ready");
        let event = warning(&self.snapshot.events, object, ready.as_ref().and_then(|ready| ready.since));
        let Some(message) = event.or(ready.as_ref().map(|ready| ready.message)) else {
            return self.nobody_looked(object, Symptom::ExternalSecretFailed, force);
        };
        let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
        if has(&["owned by another ExternalSecret"]) {
            let remedy = advice("who maintains the two has to give one of them another target, or to remove it");
            return Fault::new(Symptom::TargetOwned, self.owner(live, object), remedy);
        }
        if has(&["apply template", "execute template", "parse template", "templateFrom"]) {
            let remedy = advice("who maintains its manifest has to correct `spec.target.template`");
            return Fault::new(Symptom::TemplateFails, visible(message), remedy);
        }
        if has(&["immutable"]) {
            return Fault::new(Symptom::TargetImmutable, visible(message), made_again(consumer, object));
        }
        if let Some(fault) = self.forbidden_to_operator(message, &force).or_else(|| refused(message, &force)) {
            return fault;
        }
        // A store escapes quotes once more.
        let plain = message.replace('\\', "");
        if let Some(strange) = strange_key(consumer, object).filter(|key| plain.contains(&format!("\"{key}\""))) {
            let remedy =
                advice(format!("who maintains its manifest has to remove the entry, or to add `{}` to the contract", visible(strange)));
            return Fault::new(Symptom::ExternalSecretFailed, visible(message), remedy);
        }
        // The operator's complaint is fixed by now, or temporary: it has not tried again yet.
        let of_ours = consumer.entries.iter().any(|entry| plain.contains(&format!("\"{}\"", entry.key)));
        let of_account = plain.contains(&format!("\"{}\" not found", self.wanted.contract.reader.name));
        let passes = ["not ready", "not allowed", "timeout", "deadline", "connection", "EOF", "could not get secret data", "not in sync"];
        let remedy = match of_ours || of_account || has(&passes) {
            true => force.into(),
            false => advice("the message is the operator's own: who maintains the manifest, or the cluster, has to correct what it names"),
        };
        Fault::new(Symptom::ExternalSecretFailed, visible(message), remedy)
    }

    /// The other ExternalSecret that owns its target.
    fn owner(&self, live: &LiveConsumer, object: &Value) -> String {
        let target = target_of(object);
        let owners = live.target.iter().flat_map(|target| list(target, "/metadata/ownerReferences"));
        let owner = { owners }.find(|owner| text(owner, "/kind") == "ExternalSecret");
        match owner {
            Some(owner) => {
                format!("the Secret `{}` belongs to the ExternalSecret `{}`", visible(target), visible(text(owner, "/name")))
            }
            None => format!("the Secret `{}` belongs to another ExternalSecret", visible(target)),
        }
    }

    fn target(&mut self, live: &LiveConsumer, object: &Value, what: String, force: String, works: bool) {
        const CATEGORY: &str = "targets";
        if !self.may(Part::Targets, CATEGORY, &what) {
            return;
        }
        let consumer: &Consumer = &self.wanted.contract.consumers[live.index];
        // First the keys that it reads.
        if consumer.entries.iter().any(|entry| self.is_faulty(&entry.key)) {
            return self.skip(CATEGORY, &what);
        }
        let fault = match &live.target {
            None => Some(self.no_target(object)),
            Some(target) => self.stale(consumer, object, target, force).or_else(|| self.stalled(object)),
        };
        match fault {
            Some(fault) if works => self.bad(CATEGORY, what, fault),
            Some(_) => self.skip(CATEGORY, &what),
            None => match live.target.as_ref().and_then(|target| rotation_stops(object, target)) {
                Some(fault) => self.warn(CATEGORY, what, fault),
                None => self.good(CATEGORY, what),
            },
        }
    }

    /// Why there is no target, although the operator reports success.
    fn no_target(&self, object: &Value) -> Fault {
        let target = visible(target_of(object));
        match policy(object) {
            // The operator sees a target's deletion and makes it again at once; when it starts, it checks all of them.
            "Owner" | "Orphan" => Fault::new(
                Symptom::TargetMissing,
                format!("the target Secret `{target}` does not exist, and the operator did not make it again"),
                self.restart_operator(),
            ),
            policy => {
                let cause =
                    format!("with `creationPolicy: {}` the operator makes no Secret `{target}`, and there is none", visible(policy));
                let remedy = advice("who maintains the manifest has to make that Secret, or to set `creationPolicy: Owner`");
                Fault::new(Symptom::TargetNotMade, cause, remedy)
            }
        }
    }

    /// Whether a source was written after the target.
    fn stale(&self, consumer: &Consumer, object: &Value, target: &Value, force: String) -> Option<Fault> {
        let refreshed = text(object, "/status/refreshTime");
        // A refresh leaves an immutable target unchanged, and reports nothing.
        let made = || data_written(target).or_else(|| seconds(text(target, "/metadata/creationTimestamp")));
        let at = if is_fixed(object, target) { made() } else { None }.or_else(|| seconds(refreshed));
        let is_newer = |key: &Name| {
            let Some(source) = self.snapshot.sources.get(key).and_then(Option::as_ref) else { return false };
            let written = data_written(source);
            // Within one second, the order of the API server's versions decides.
            written > at || (written.is_some() && written == at && version(source) > version(object))
        };
        let newer = consumer.entries.iter().find(|entry| is_newer(&entry.key) && self.is_unsealed(&entry.key))?;
        if is_fixed(object, target) {
            let cause = format!("`{}` was written after the target, which is immutable", newer.key);
            return Some(Fault::new(Symptom::TargetImmutable, cause, made_again(consumer, object)));
        }
        let cause = format!("`{}` was written after the target was refreshed at {}", newer.key, visible(refreshed));
        if is_once(object) {
            let cause = format!("{cause}, and it is refreshed only once");
            return Some(Fault::new(Symptom::TargetStale, cause, made_again(consumer, object)));
        }
        Some(Fault::new(Symptom::TargetStale, cause, force))
    }

    /// Whether the operator stopped refreshing it.
    fn stalled(&self, object: &Value) -> Option<Fault> {
        if is_once(object) || object.pointer("/spec/syncWindows").is_some() {
            return None;
        }
        let (now, refreshed) = (self.now()?, text(object, "/status/refreshTime"));
        let at = seconds(refreshed)?;
        let generation = text(object, "/status/syncedResourceVersion").split('-').next().unwrap_or_default();
        let changed = written(object, &["f:spec"]).unwrap_or(now);
        let is_unseen =
            generation.parse().is_ok_and(|seen: u64| object.pointer("/metadata/generation").and_then(Value::as_u64) != Some(seen))
                && now > changed + 120;
        let interval = duration(text(object, "/spec/refreshInterval")).filter(|_| text(object, "/spec/refreshPolicy") != "OnChange");
        let is_late = interval.is_some_and(|interval| now > at + interval + (interval / 10).max(300));
        let cause = match (is_unseen, is_late) {
            (true, _) => "the operator has not looked at it since it changed".to_owned(),
            (_, true) => {
                format!(
                    "the operator refreshed it last at {}, and should each {}",
                    visible(refreshed),
                    visible(text(object, "/spec/refreshInterval"))
                )
            }
            _ => return None,
        };
        Some(Fault::new(Symptom::OperatorStalled, cause, self.restart_operator()))
    }
}

/// The first key that an ExternalSecret reads although the contract does not list it.
fn strange_key<'v>(consumer: &Consumer, object: &'v Value) -> Option<&'v str> {
    let mut keys = list(object, "/spec/data").map(|entry| text(entry, "/remoteRef/key"));
    keys.find(|key| !consumer.entries.iter().any(|entry| entry.key.as_str() == *key))
}

/// `spec.target.creationPolicy`.
fn policy(object: &Value) -> &str {
    Some(text(object, "/spec/target/creationPolicy")).filter(|policy| !policy.is_empty()).unwrap_or("Owner")
}

fn is_fixed(object: &Value, target: &Value) -> bool {
    object.pointer("/spec/target/immutable") == Some(&Value::Bool(true)) || is_immutable(target)
}

/// Whether neither time nor an annotation refreshes it.
fn is_once(object: &Value) -> bool {
    match text(object, "/spec/refreshPolicy") {
        "CreatedOnce" => true,
        "OnChange" => false,
        _ => duration(text(object, "/spec/refreshInterval")) == Some(0) && !text(object, "/spec/refreshInterval").is_empty(),
    }
}

/// How to make the operator write a target again: it recreates a deleted one if it owns it.
fn made_again(consumer: &Consumer, object: &Value) -> Remedy {
    match policy(object) {
        "Owner" => format!("kubectl -n {} delete secret {}", consumer.namespace, visible(target_of(object))).into(),
        _ => advice("who maintains the manifest has to see to it that the target can be written again"),
    }
}

/// What keeps a rotated value from reaching a target.
fn rotation_stops(object: &Value, target: &Value) -> Option<Fault> {
    let (why, what) = if is_fixed(object, target) {
        ("its target is immutable", "delete the target Secret after a rotation: the operator makes it again")
    } else if is_once(object) {
        ("it is refreshed only once", "delete the target Secret after a rotation: the operator makes it again")
    } else if text(object, "/spec/refreshPolicy") == "OnChange" {
        ("it is refreshed only when it changes", "after a rotation run the `force-sync` command that `rotate` prints")
    } else if object.pointer("/spec/syncWindows").is_some() {
        ("it is refreshed only within its `syncWindows`", "after a rotation run the `force-sync` command that `rotate` prints")
    } else {
        return None;
    };
    Some(Fault::new(Symptom::RotationStops, format!("a rotated value does not arrive by itself: {why}"), advice(what)))
}

/// How the live entries differ from an entry of the contract, and the JSON patch that corrects it.
fn differs(entry: &Entry, consumer: &Consumer, live: &[&Value]) -> Option<(String, Value)> {
    let (secret_key, key, property) = (entry.secret_key.as_str(), entry.key.as_str(), entry.property.as_str());
    let reads = |one: &Value, secret_key: &str, key: &str| text(one, "/secretKey") == secret_key && text(one, "/remoteRef/key") == key;
    if let Some(at) = live.iter().position(|one| reads(one, secret_key, key)) {
        let changed = [("decodingStrategy", "None"), ("conversionStrategy", "Default"), ("metadataPolicy", "None")].into_iter();
        let changed = changed.map(|(field, usual)| (field, usual, text(live[at], &format!("/remoteRef/{field}"))));
        let (field, usual, there) = changed.into_iter().find(|(_, usual, there)| !there.is_empty() && there != usual)?;
        let fix = json!({ "op": "replace", "path": format!("/spec/data/{at}/remoteRef/{field}"), "value": usual });
        return Some((format!("it reads `{key}` with `{field}: {}`", visible(there)), fix));
    }
    let is_wanted = |one: &Value| consumer.entries.iter().any(|entry| reads(one, entry.secret_key.as_str(), entry.key.as_str()));
    let free = || live.iter().enumerate().filter(|(_, one)| !is_wanted(one));
    if let Some((at, one)) = free().find(|(_, one)| text(one, "/secretKey") == secret_key) {
        let fix = json!({ "op": "replace", "path": format!("/spec/data/{at}/remoteRef"), "value": { "key": key, "property": property } });
        return Some((format!("`{secret_key}` reads `{}`, not `{key}`", visible(text(one, "/remoteRef/key"))), fix));
    }
    let same = |one: &Value| text(one, "/remoteRef/key") == key && text(one, "/remoteRef/property") == property;
    if let Some((at, one)) = free().find(|(_, one)| same(one)) {
        let fix = json!({ "op": "replace", "path": format!("/spec/data/{at}/secretKey"), "value": secret_key });
        return Some((format!("`{key}` is read as `{}`, not as `{secret_key}`", visible(text(one, "/secretKey"))), fix));
    }
    let new = json!({ "secretKey": secret_key, "remoteRef": { "key": key, "property": property } });
    Some((format!("no entry reads `{key}` as `{secret_key}`"), json!({ "op": "add", "path": "/spec/data/-", "value": new })))
}

/// The fault that nothing reads a source Secret whole, and the JSON patch that adds it.
fn not_extracted(secret: &Name, object: &Value) -> Option<(String, Value)> {
    if list(object, "/spec/dataFrom").any(|one| text(one, "/extract/key") == secret.as_str()) {
        return None;
    }
    let extract = json!({ "extract": { "key": secret.as_str() } });
    let fix = match object.pointer("/spec/dataFrom") {
        Some(_) => json!({ "op": "add", "path": "/spec/dataFrom/-", "value": extract }),
        None => json!({ "op": "add", "path": "/spec/dataFrom", "value": [extract] }),
    };
    Some((format!("no `dataFrom.extract` reads `{secret}`"), fix))
}

/// The property that an entry has to read, by the contract.
fn property_of<'c>(consumer: &'c Consumer, entry: &Value) -> &'c str {
    let of_key = || consumer.entries.iter().filter(|one| one.key.as_str() == text(entry, "/remoteRef/key"));
    let exact = of_key().find(|one| one.secret_key.as_str() == text(entry, "/secretKey"));
    exact.or_else(|| of_key().next()).map_or(PROPERTY, |one| one.property.as_str())
}

/// The entries of an ExternalSecret that read our keys, with their indices.
fn entries_of<'v>(consumer: &'v Consumer, object: &'v Value) -> impl Iterator<Item = (usize, &'v Value)> {
    list(object, "/spec/data")
        .enumerate()
        .filter(|(_, entry)| consumer.entries.iter().any(|one| one.key.as_str() == text(entry, "/remoteRef/key")))
}

/// The command that changes an ExternalSecret in the cluster.
fn patch(consumer: &Consumer, name: &str, operations: Vec<Value>) -> String {
    format!("kubectl -n {} patch externalsecret {name} --type=json -p '{}'", consumer.namespace, Value::Array(operations))
}

/// Whether the store's conditions admit a namespace with these labels. Conditions that cannot be judged count as admitting it.
fn lets_in(store: &Value, namespace: &str, labels: Option<&Value>) -> bool {
    let mut conditions = list(store, "/spec/conditions").peekable();
    conditions.peek().is_none()
        || conditions.any(|condition| {
            let named = list(condition, "/namespaces").any(|one| one == namespace);
            let matched = list(condition, "/namespaceRegexes")
                .filter_map(Value::as_str)
                .any(|pattern| regex::Regex::new(pattern).map_or(true, |pattern| pattern.is_match(namespace)));
            let selector = &condition["namespaceSelector"];
            named || matched || (!selector.is_null() && labels.is_none_or(|labels| selects(selector, labels)))
        })
}

/// Whether a label selector selects an object with these labels.
fn selects(selector: &Value, labels: &Value) -> bool {
    let exact = selector["matchLabels"].as_object().into_iter().flatten().all(|(label, value)| labels.get(label) == Some(value));
    exact
        && list(selector, "/matchExpressions").all(|one| {
            let label = labels.get(text(one, "/key"));
            let is_one_of = || label.is_some_and(|label| list(one, "/values").any(|value| value == label));
            match text(one, "/operator") {
                "In" => is_one_of(),
                "NotIn" => !is_one_of(),
                "Exists" => label.is_some(),
                "DoesNotExist" => label.is_none(),
                _ => true,
            }
        })
}
