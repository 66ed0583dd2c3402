//! The second half of the way: the External Secrets Operator, accounts, stores, ExternalSecrets, targets.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Checks, LiveConsumer, Part, Store, condition, has_value, is_available, is_ready, newest, target_of, text, written};
use crate::model::{Consumer, Name, Namespace, PROPERTY, Recipe, StoreKind, Symptom, visible};
use crate::pipeline::render;

/// The stores that work, by namespace; none = the one for the whole cluster.
pub(super) type Ready<'c> = BTreeSet<Option<&'c Namespace>>;

/// What is wrong with an ExternalSecret: the code, the cause, the remedy.
type Fault = (Symptom, String, String);

impl<'c> Checks<'c> {
    /// Whether the External Secrets Operator runs.
    pub(super) fn external_secrets(&mut self) -> bool {
        const CATEGORY: &str = "operator";
        let namespace = &self.wanted.contract.reader.namespace;
        if !self.may(Part::ExternalSecrets, CATEGORY, "the External Secrets Operator") {
            return false;
        }
        let remedy = match &self.snapshot.external_secrets {
            Some(deployment) if is_available(deployment) => {
                self.good(CATEGORY, "the External Secrets Operator runs".to_owned());
                return true;
            }
            Some(deployment) => {
                let name = text(deployment, "/metadata/name");
                match deployment.pointer("/spec/replicas").and_then(Value::as_u64) {
                    Some(0) => format!("kubectl -n {namespace} scale deployment/{name} --replicas=1"),
                    _ => format!("kubectl -n {namespace} logs deployment/{name} --previous"),
                }
            }
            None => format!("install it: step 3 of {}/INSTALL.md", self.out()),
        };
        let cause = format!("the External Secrets Operator is not running in `{namespace}`");
        self.bad(CATEGORY, "the External Secrets Operator".to_owned(), Symptom::OperatorDown, cause, remedy);
        false
    }

    /// The accounts, and what each may get.
    pub(super) fn accounts(&mut self) {
        const CATEGORY: &str = "accounts";
        let (snapshot, contract, delivery) = (self.snapshot, self.wanted.contract, self.wanted.delivery);
        let accounts: Vec<&Namespace> = delivery.accounts(contract).into_keys().filter(|one| self.is_there(one)).collect();
        if self.may(Part::Accounts, CATEGORY, "every account") {
            for namespace in accounts {
                let what = format!("{namespace}/{}", contract.reader.name);
                if self.has_account(namespace) {
                    self.good(CATEGORY, what);
                    continue;
                }
                let cause = format!("the account `{what}` does not exist");
                self.bad(CATEGORY, what, Symptom::AccountMissing, cause, self.again(delivery.store(namespace)));
            }
        }
        let house = self.is_there(&contract.namespace);
        if !house || !self.may(Part::Access, CATEGORY, "what they may get") {
            return;
        }
        for (namespace, name) in snapshot.access.iter().filter(|(_, allowed)| !**allowed).map(|(which, _)| which) {
            let what = if delivery.accounts_of_their_own() { format!("{namespace}/{name}") } else { name.to_string() };
            let cause = format!("the account `{namespace}/{}` may not get the Secret `{name}`", contract.reader.name);
            self.bad(CATEGORY, what, Symptom::RoleWithoutName, cause, self.apply_source());
        }
    }

    fn has_account(&self, namespace: &Namespace) -> bool {
        self.snapshot.accounts.get(namespace).copied().unwrap_or(true)
    }

    /// The command that makes ESO check a store now; it does so every five minutes, or when the store changes.
    fn again(&self, namespace: Option<&Namespace>) -> String {
        let (kind, store) = (self.wanted.delivery.store_kind.as_str().to_ascii_lowercase(), &self.wanted.contract.store);
        let place = namespace.map_or(String::new(), |namespace| format!(" -n {namespace}"));
        format!("{} && kubectl{place} annotate {kind} {store} force-sync=$(date +%s) --overwrite", self.apply_store())
    }

    pub(super) fn stores(&mut self, runs: bool) -> Ready<'c> {
        if !self.may(Part::Stores, "stores", "every store") {
            return Ready::new();
        }
        let stores = self.snapshot.stores.iter().filter(|store| store.namespace.as_ref().is_none_or(|namespace| self.is_there(namespace)));
        let stores: Vec<&Store> = stores.collect();
        stores.into_iter().filter(|store| self.store(store, runs)).map(|store| store.namespace.as_ref()).collect()
    }

    fn store(&mut self, store: &Store, runs: bool) -> bool {
        const CATEGORY: &str = "stores";
        let (contract, delivery) = (self.wanted.contract, self.wanted.delivery);
        let kind = delivery.store_kind.as_str();
        let what = store.namespace.as_ref().map_or(String::new(), |namespace| format!("{namespace}/")) + contract.store.as_str();
        let Some(object) = &store.object else {
            let cause = format!("there is no {kind} `{what}`");
            self.bad(CATEGORY, what, Symptom::StoreMissing, cause, self.apply_store());
            return false;
        };
        let ca = object.pointer("/spec/provider/kubernetes/server/caProvider");
        if delivery.store_kind == StoreKind::ClusterSecretStore && ca.is_some_and(|ca| ca.get("namespace").is_none()) {
            let cause = "a ClusterSecretStore needs `caProvider.namespace`, which is missing".to_owned();
            self.bad(CATEGORY, what, Symptom::CaNamespaceMissing, cause, self.apply_store());
            return false;
        }
        if let Some(cause) = self.differs(object) {
            self.bad(CATEGORY, what, Symptom::StoreDiffers, cause, self.again(store.namespace.as_ref()));
            return false;
        }
        if is_ready(object) {
            self.good(CATEGORY, what);
            return true;
        }
        // If each namespace has its own account, the store needs none.
        let account = match (&store.namespace, delivery.accounts_of_their_own()) {
            (Some(namespace), _) => self.has_account(namespace),
            (None, true) => true,
            (None, false) => self.has_account(&contract.reader.namespace),
        };
        if account && runs {
            let message = newest(&store.events).or(condition(object, "Ready").map(|(_, message)| message));
            let cause = visible(message.unwrap_or("the External Secrets Operator has not processed it"));
            self.bad(CATEGORY, what, Symptom::StoreNotReady, cause, self.again(store.namespace.as_ref()));
        } else {
            self.skip(CATEGORY, &what);
        }
        false
    }

    /// How a store differs from the one in the output folder, in the fields that decide where it leads. ESO reports some such
    /// stores as ready.
    fn differs(&self, store: &Value) -> Option<String> {
        const LEADS: [&str; 4] = ["remoteNamespace", "server/url", "auth/serviceAccount/name", "auth/serviceAccount/namespace"];
        let wanted = json!({ "spec": render::store_spec(self.wanted.contract, self.wanted.delivery) });
        LEADS.iter().find_map(|field| {
            let path = format!("/spec/provider/kubernetes/{field}");
            let (there, wanted) = (text(store, &path), text(&wanted, &path));
            let shown = |text: &str| if text.is_empty() { "nothing".to_owned() } else { format!("`{}`", visible(text)) };
            let cause = || format!("`{}` is {}, but should be {}", field.replace('/', "."), shown(there), shown(wanted));
            (there != wanted).then(cause)
        })
    }

    pub(super) fn consumer(&mut self, live: &LiveConsumer, runs: bool, ready: &Ready<'_>) {
        const CATEGORY: &str = "external secrets";
        let (contract, delivery) = (self.wanted.contract, self.wanted.delivery);
        let consumer: &Consumer = &contract.consumers[live.index];
        let Some(object) = &live.object else {
            // The name of one that a helm chart renders is unknown, so it cannot be missed.
            let Some(name) = &consumer.name else { return };
            let cause = format!("the ExternalSecret `{name}` is not in `{}`", consumer.namespace);
            let remedy = "sync the platform's Application that holds it".to_owned();
            return self.warn(CATEGORY, format!("{}/{name}", consumer.namespace), Symptom::ExternalSecretMissing, cause, remedy);
        };
        let name = visible(text(object, "/metadata/name"));
        let what = format!("{}/{name}", consumer.namespace);
        let force = consumer.force_sync(Some(&name));
        let fault = self
            .property(consumer, &name, object)
            .or_else(|| self.other_store(consumer, &name, object))
            .or_else(|| self.not_allowed(consumer, &force));
        if let Some((symptom, cause, remedy)) = fault {
            return self.bad(CATEGORY, what, symptom, cause, remedy);
        }
        if let Some(entry) = consumer.entries.iter().find(|entry| !self.wanted.sealed.contains_key(&entry.key)) {
            let is_provided = contract.key(entry.key.as_str()).is_some_and(|key| matches!(key.recipe, Recipe::Provided { .. }));
            let provide = if is_provided { format!(" --provide {}=FILE", entry.key) } else { String::new() };
            let remedy = self.wanted.places.command(&format!("bootstrap{provide}"));
            return self.warn(CATEGORY, what, Symptom::NotSealedYet, format!("`{}` is not sealed yet", entry.key), remedy);
        }
        let account = delivery.account(contract, &consumer.namespace);
        let works = runs && ready.contains(&delivery.store(&consumer.namespace)) && self.has_account(account);
        if is_ready(object) {
            self.good(CATEGORY, what.clone());
            self.target(live, object, what, force, works);
        } else if !works || !consumer.entries.iter().all(|entry| self.is_sound(account, &entry.key)) {
            self.skip(CATEGORY, &what);
        } else {
            let message = newest(&live.events).or(condition(object, "Ready").map(|(_, message)| message));
            let cause = visible(message.unwrap_or("the External Secrets Operator has not processed it"));
            self.bad(CATEGORY, what, Symptom::ExternalSecretFailed, cause, force);
        }
    }

    /// Whether a source Secret holds its value, and an account may get it.
    fn is_sound(&self, account: &Namespace, key: &Name) -> bool {
        let source = self.snapshot.sources.get(key).and_then(Option::as_ref);
        source.is_some_and(has_value) && self.snapshot.access.get(&(account.clone(), key.clone())) != Some(&false)
    }

    /// Entries of ours that read from another store.
    fn other_store(&self, consumer: &Consumer, name: &str, object: &Value) -> Option<Fault> {
        let (kind, store) = (self.wanted.delivery.store_kind.as_str(), self.wanted.contract.store.as_str());
        let own = |index: usize| format!("/spec/data/{index}/sourceRef/storeRef");
        let at = |index| if object.pointer(&own(index)).is_some() { own(index) } else { "/spec/secretStoreRef".to_owned() };
        let kind_there = |at: &str| match text(object, &format!("{at}/kind")) {
            "" => StoreKind::SecretStore.as_str(),
            kind => kind,
        };
        let places: BTreeSet<String> = entries_of(consumer, object).map(|(index, _)| at(index)).collect();
        let wrong = |at: &&String| (kind_there(at), text(object, &format!("{at}/name"))) != (kind, store);
        let wrong: Vec<&String> = places.iter().filter(wrong).collect();
        let first = wrong.first()?;
        let there = format!("{}/{}", kind_there(first), text(object, &format!("{first}/name")));
        let cause = format!("it reads from `{}`, not from `{kind}/{store}`; {}", visible(&there), self.lasting(consumer));
        let add = |at: &&String| format!(r#"{{"op":"add","path":"{at}","value":{{"kind":"{kind}","name":"{store}"}}}}"#);
        Some((Symptom::OtherStore, cause, patch(consumer, name, wrong.iter().map(add).collect())))
    }

    /// What fixes an ExternalSecret for good.
    fn lasting(&self, consumer: &Consumer) -> String {
        match consumer.name {
            Some(_) => format!("`{}` fixes it in git", self.wanted.places.command("patch")),
            None => format!("fix it in its chart's values, or run `{}` behind helm", self.wanted.places.command("patch -")),
        }
    }

    /// Whether the store's conditions exclude its namespace.
    fn not_allowed(&self, consumer: &Consumer, force: &str) -> Option<Fault> {
        let store = self.snapshot.stores.iter().find(|store| store.namespace.is_none())?.object.as_ref()?;
        let cause =
            || format!("`conditions` of the store `{}` do not name the namespace `{}`", self.wanted.contract.store, consumer.namespace);
        let fault = || (Symptom::NamespaceNotAllowed, cause(), format!("{} && {force}", self.apply_store()));
        (!lets_in(store, consumer.namespace.as_str())).then(fault)
    }

    fn target(&mut self, live: &LiveConsumer, object: &Value, what: String, force: String, works: bool) {
        const CATEGORY: &str = "targets";
        if !self.may(Part::Targets, CATEGORY, &what) {
            return;
        }
        let consumer: &Consumer = &self.wanted.contract.consumers[live.index];
        let refreshed = text(object, "/status/refreshTime");
        let sources = &self.snapshot.sources;
        let newer = |key: &Name| sources.get(key).and_then(Option::as_ref).is_some_and(|source| written(source) > refreshed);
        // A source that the controller did not write has its own check.
        let newer = consumer.entries.iter().find(|entry| newer(&entry.key) && self.is_unsealed(&entry.key));
        let fault = if live.target.is_none() {
            let cause = format!("the target Secret `{}` is not in `{}`", visible(target_of(object)), consumer.namespace);
            (Symptom::TargetMissing, cause)
        } else if let Some(entry) = newer {
            let cause = format!("`{}` was written after the target was refreshed at {}", entry.key, visible(refreshed));
            (Symptom::TargetStale, cause)
        } else {
            return self.good(CATEGORY, what);
        };
        if works { self.bad(CATEGORY, what, fault.0, fault.1, force) } else { self.skip(CATEGORY, &what) }
    }

    /// Entries of ours that do not read the property `value`.
    fn property(&self, consumer: &Consumer, name: &str, object: &Value) -> Option<Fault> {
        let wrong = entries_of(consumer, object).filter(|(_, entry)| text(entry, "/remoteRef/property") != PROPERTY);
        let wrong: Vec<(usize, &Value)> = wrong.collect();
        let (_, first) = wrong.first()?;
        let (key, lasting) = (visible(text(first, "/remoteRef/key")), self.lasting(consumer));
        let (symptom, cause) = match text(first, "/remoteRef/property") {
            "" => (Symptom::PropertyMissing, format!("it reads `{key}` without a property, so its target holds JSON; {lasting}")),
            other => {
                (Symptom::PropertyWrong, format!("it reads the property `{}` of `{key}`, not `{PROPERTY}`; {lasting}", visible(other)))
            }
        };
        let add =
            |(index, _): &(usize, &Value)| format!(r#"{{"op":"add","path":"/spec/data/{index}/remoteRef/property","value":"{PROPERTY}"}}"#);
        Some((symptom, cause, patch(consumer, name, wrong.iter().map(add).collect())))
    }
}

/// The entries of an ExternalSecret that read our keys, with their places.
fn entries_of<'v>(consumer: &'v Consumer, object: &'v Value) -> impl Iterator<Item = (usize, &'v Value)> {
    let entries = object.pointer("/spec/data").and_then(Value::as_array).into_iter().flatten().enumerate();
    entries.filter(|(_, entry)| consumer.entries.iter().any(|one| one.key.as_str() == text(entry, "/remoteRef/key")))
}

/// The command that changes an ExternalSecret in the cluster.
fn patch(consumer: &Consumer, name: &str, operations: Vec<String>) -> String {
    format!("kubectl -n {} patch externalsecret {name} --type=json -p '[{}]'", consumer.namespace, operations.join(","))
}

/// Whether the store's conditions let a namespace in, as far as they are lists of names.
fn lets_in(store: &Value, namespace: &str) -> bool {
    let conditions = store.pointer("/spec/conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names = |condition: &Value| condition["namespaces"].as_array().is_some_and(|all| all.iter().any(|one| one == namespace));
    let other = |condition: &Value| !condition["namespaceSelector"].is_null() || !condition["namespaceRegexes"].is_null();
    conditions.is_empty() || conditions.iter().any(|condition| names(condition) || other(condition))
}
