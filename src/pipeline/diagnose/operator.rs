//! Between the two halves of the way: the External Secrets Operator, the accounts that read, and the stores.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::object::{
    condition, containers, flag, is_available, is_ready, is_wanted, leaving, list, place, seconds, text, warning, written,
};
use super::{Checks, Fault, GOES_FIRST, Part, Store, advice, refused, start};
use crate::model::{Namespace, Remedy, StoreKind, Symptom, visible};
use crate::pipeline::render;

/// The working stores, by namespace; none = the one for the whole cluster.
pub(super) type Ready<'c> = BTreeSet<Option<&'c Namespace>>;

/// The state of the External Secrets Operator.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Operator {
    pub runs: bool,
    /// Whether its webhook accepts a changed ExternalSecret.
    pub takes_changes: bool,
}

/// Whether a Deployment is the operator itself: its webhook and its certificate controller use the same image.
pub fn is_operator(deployment: &Value) -> bool {
    containers(deployment)
        .any(|one| text(one, "/image").contains("external-secrets") && !["webhook", "certcontroller"].contains(&text(one, "/args/0")))
}

/// A flag of the operator.
fn setting<'d>(deployment: &'d Value, name: &str) -> Option<&'d str> {
    flag(deployment, name, None)
}

impl<'c> Checks<'c> {
    /// The Deployment that counts: if there are several, one that runs.
    pub(super) fn deployment(&self) -> Option<&'c Value> {
        let all = &self.snapshot.operators;
        all.iter().find(|one| is_available(one)).or_else(|| all.iter().find(|one| is_wanted(one))).or(all.first())
    }

    pub(super) fn restart_operator(&self) -> String {
        let (namespace, name) =
            self.deployment().map_or_else(|| (self.wanted.contract.reader.namespace.to_string(), "external-secrets".to_owned()), place);
        format!("kubectl -n {namespace} rollout restart deployment/{name}")
    }

    /// Checks that the External Secrets Operator and its webhook run.
    pub(super) fn operator(&mut self) -> Operator {
        const CATEGORY: &str = "operator";
        const WHAT: &str = "the External Secrets Operator";
        let unknown = Operator { runs: false, takes_changes: true };
        if !self.may(Part::Operator, CATEGORY, WHAT) {
            return unknown;
        }
        let takes_changes = self.webhook();
        let cause = "the External Secrets Operator is not running";
        let fault = match self.deployment() {
            Some(deployment) if is_available(deployment) => {
                self.good(CATEGORY, format!("{WHAT} runs"));
                return Operator { runs: true, takes_changes };
            }
            Some(deployment) => Fault::new(Symptom::OperatorDown, format!("{cause} in `{}`", place(deployment).0), start(deployment)),
            // Its recent work shows that it runs somewhere.
            None if self.snapshot.consumers.iter().any(|live| live.object.as_ref().is_some_and(|object| self.is_fresh(object))) => {
                self.good(CATEGORY, format!("{WHAT} answers, though its Deployment is not found"));
                return Operator { runs: true, takes_changes };
            }
            None => Fault::new(Symptom::OperatorDown, cause, advice(format!("install it: step 3 of {}/INSTALL.md", self.out()))),
        };
        self.bad(CATEGORY, WHAT, fault);
        Operator { runs: false, takes_changes }
    }

    /// Whether an ExternalSecret was refreshed within the last hour.
    fn is_fresh(&self, object: &Value) -> bool {
        let refreshed = seconds(text(object, "/status/refreshTime"));
        self.now().zip(refreshed).is_some_and(|(now, refreshed)| now < refreshed + 3600)
    }

    /// Checks that its webhook answers. Without a webhook configuration nothing is sent to it.
    fn webhook(&mut self) -> bool {
        const CATEGORY: &str = "operator";
        let (configurations, webhooks) = (&self.snapshot.webhook_configurations, &self.snapshot.webhooks);
        let fails = |hook: &Value| text(hook, "/failurePolicy") != "Ignore";
        let asks = |one: &Value| list(one, "/webhooks").any(fails);
        if !configurations.iter().any(asks) || webhooks.iter().any(is_available) {
            return true;
        }
        let cause = "its webhook does not answer: the API server takes no change to an ExternalSecret or a store";
        let remedy = match webhooks.first() {
            Some(webhook) => start(webhook),
            None => {
                let names: Vec<String> = configurations.iter().map(|one| format!("`{}`", place(one).1)).collect();
                advice(format!(
                    "install the webhook with the operator's chart (`webhook.create`), or remove the ValidatingWebhookConfiguration {}",
                    names.join(" and ")
                ))
            }
        };
        self.bad(CATEGORY, "its webhook", Fault::new(Symptom::WebhookDown, cause, remedy));
        false
    }

    /// Checks the accounts, and what each may read.
    pub(super) fn accounts(&mut self) {
        const CATEGORY: &str = "accounts";
        let (snapshot, contract, delivery) = (self.snapshot, self.wanted.contract, self.wanted.delivery);
        let accounts: Vec<&Namespace> = delivery.accounts(contract).into_keys().filter(|one| self.is_there(one.as_str())).collect();
        if self.may(Part::Accounts, CATEGORY, "every account") {
            for namespace in accounts {
                let what = format!("{namespace}/{}", contract.reader.name);
                if self.has_account(namespace) {
                    self.good(CATEGORY, what);
                } else {
                    let fault = Fault::new(Symptom::AccountMissing, "the account does not exist", self.again(delivery.store(namespace)));
                    self.bad(CATEGORY, what, fault);
                }
            }
        }
        let house = self.is_there(contract.namespace.as_str());
        if !house || !self.may(Part::Access, CATEGORY, "what they may get") {
            return;
        }
        for (namespace, name) in snapshot.access.iter().filter(|(_, allowed)| !**allowed).map(|(which, _)| which) {
            let all = snapshot.access.iter().filter(|((other, _), _)| other == namespace).all(|(_, allowed)| !allowed);
            let what = if delivery.accounts_of_their_own() { format!("{namespace}/{name}") } else { name.to_string() };
            let cause = match all {
                true => format!(
                    "the account `{namespace}/{}` may get none of its Secrets: its Role or RoleBinding is missing",
                    contract.reader.name
                ),
                false => format!("the account `{namespace}/{}` may not get the Secret", contract.reader.name),
            };
            // A binding to another Role cannot be changed, only recreated.
            let remedy = match all {
                true => format!("kubectl auth reconcile -f {}/secret-source/rbac.yaml", self.out()),
                false => self.apply_source(),
            };
            self.bad(CATEGORY, what, Fault::new(Symptom::RoleWithoutName, cause, remedy));
        }
    }

    pub(super) fn has_account(&self, namespace: &Namespace) -> bool {
        self.snapshot.accounts.get(namespace).copied().unwrap_or(true)
    }

    /// The commands that make ESO check a store now; otherwise it does so every five minutes, or when the store changes.
    fn again(&self, namespace: Option<&Namespace>) -> Remedy {
        let (kind, store) = (self.wanted.delivery.store_kind.as_str().to_ascii_lowercase(), &self.wanted.contract.store);
        let place = namespace.map_or(String::new(), |namespace| format!(" -n {namespace}"));
        let annotate = format!("kubectl{place} annotate {kind} {store} force-sync=$(date +%s) --overwrite");
        Remedy::Commands(self.apply_store().into_iter().chain([annotate]).collect())
    }

    pub(super) fn stores(&mut self, operator: Operator) -> Ready<'c> {
        if !self.may(Part::Stores, "stores", "every store") {
            return Ready::new();
        }
        let is_there = |store: &&Store| store.namespace.as_ref().is_none_or(|namespace| self.is_there(namespace.as_str()));
        let stores: Vec<&Store> = self.snapshot.stores.iter().filter(is_there).collect();
        stores.into_iter().filter(|store| self.store(store, operator)).map(|store| store.namespace.as_ref()).collect()
    }

    fn store(&mut self, store: &Store, operator: Operator) -> bool {
        const CATEGORY: &str = "stores";
        let (contract, delivery) = (self.wanted.contract, self.wanted.delivery);
        let what = store.namespace.as_ref().map_or(String::new(), |namespace| format!("{namespace}/")) + contract.store.as_str();
        let Some(object) = &store.object else {
            let cause = format!("there is no such {}", delivery.store_kind.as_str());
            self.bad(CATEGORY, what, Fault::new(Symptom::StoreMissing, cause, Remedy::Commands(self.apply_store())));
            return false;
        };
        if let Some(fault) = self.not_ours(store, object, operator) {
            self.bad(CATEGORY, what, fault);
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
        if account && operator.runs && operator.takes_changes {
            let fault = self.why_not_ready(store, object);
            self.bad(CATEGORY, what, fault);
        } else {
            self.skip(CATEGORY, &what);
        }
        false
    }

    /// Reports settings of a store that ours does not have.
    fn not_ours(&self, store: &Store, object: &Value, operator: Operator) -> Option<Fault> {
        if let Some(cause) = leaving(object) {
            return Some(Fault::new(Symptom::StoreTerminating, cause, advice(GOES_FIRST)));
        }
        let ca = object.pointer("/spec/provider/kubernetes/server/caProvider");
        if store.namespace.is_none() && ca.is_some_and(|ca| ca.get("namespace").is_none()) {
            let cause = "a ClusterSecretStore needs `caProvider.namespace`, which is missing";
            return Some(Fault::new(Symptom::CaNamespaceMissing, cause, Remedy::Commands(self.apply_store())));
        }
        if let Some(cause) = self.differs_in_store(object) {
            return Some(Fault::new(Symptom::StoreDiffers, cause, self.again(store.namespace.as_ref())));
        }
        self.not_looked_at(store, object).filter(|_| operator.runs)
    }

    /// How a store differs from the one in the output folder, in the fields that decide where it reads from. ESO reports some such stores
    /// as ready.
    fn differs_in_store(&self, store: &Value) -> Option<String> {
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

    /// Why the operator does not process a store at all.
    fn not_looked_at(&self, store: &Store, object: &Value) -> Option<Fault> {
        let deployment = self.deployment()?;
        let class = text(object, "/spec/controller");
        let own = setting(deployment, "controller-class").unwrap_or("default");
        let at = store.namespace.as_ref().map_or(String::new(), |namespace| format!("-n {namespace} "));
        let (kind, name) = (self.wanted.delivery.store_kind, &self.wanted.contract.store);
        if !class.is_empty() && class != own {
            let cause = format!("it is for operators of the class `{}`, and the one here has `{}`", visible(class), visible(own));
            let remedy = format!(
                r#"kubectl {at}patch {} {name} --type=json -p '[{{"op":"remove","path":"/spec/controller"}}]'"#,
                kind.as_str().to_ascii_lowercase()
            );
            return Some(Fault::new(Symptom::OperatorNotLooking, cause, remedy));
        }
        let (flag, value) = match kind {
            StoreKind::ClusterSecretStore => ("enable-cluster-store-reconciler", "processClusterStore"),
            StoreKind::SecretStore => ("enable-secret-store-reconciler", "processSecretStore"),
        };
        if setting(deployment, flag) == Some("false") {
            let cause = format!("the operator runs with `--{flag}=false`");
            let remedy = advice(format!("who installed the operator has to set `{value}: true` in the values of its chart"));
            return Some(Fault::new(Symptom::OperatorNotLooking, cause, remedy));
        }
        None
    }

    /// Reports that the operator watches a single namespace, if it is another one.
    pub(super) fn looks_elsewhere(&self, namespace: &Namespace) -> Option<Fault> {
        let only = setting(self.deployment()?, "namespace").filter(|only| !only.is_empty() && *only != namespace.as_str())?;
        let cause = format!("the operator looks only at the namespace `{}`", visible(only));
        let remedy = advice("who installed the operator has to remove `scopedNamespace` from the values of its chart");
        Some(Fault::new(Symptom::OperatorNotLooking, cause, remedy))
    }

    fn why_not_ready(&self, store: &Store, object: &Value) -> Fault {
        let ready = condition(object, "Ready");
        let event = warning(&self.snapshot.events, object, ready.as_ref().and_then(|ready| ready.since));
        let again = self.again(store.namespace.as_ref());
        let Some(message) = event.or(ready.as_ref().map(|ready| ready.message)) else {
            return self.nobody_looked(object, Symptom::StoreNotReady, again);
        };
        if message.contains("kube-root-ca.crt") && message.contains("not found") {
            let remedy = advice(
                "the controller manager makes that ConfigMap in every namespace: who administers the cluster has to see why its `root-ca-certificate-publisher` does not run",
            );
            return Fault::new(Symptom::CaMissing, visible(message), remedy);
        }
        let then = again.text();
        if let Some(fault) = self.forbidden_to_operator(message, &then).or_else(|| refused(message, &then)) {
            return fault;
        }
        Fault::new(Symptom::StoreNotReady, visible(message), again)
    }

    /// Reports a right that the operator's own account lacks: it reads with another account.
    pub(super) fn forbidden_to_operator(&self, message: &str, again: &str) -> Option<Fault> {
        // A store escapes quotes once more.
        let plain = message.replace('\\', "");
        let (_, user) = plain.split_once("is forbidden: User \"system:serviceaccount:")?;
        let reader = format!(":{}\"", self.wanted.contract.reader.name);
        let remedy = advice(format!(
            "the operator lacks a right: who installed it has to apply the ClusterRole and ClusterRoleBinding of its chart (`rbac.create: true`); then {again}"
        ));
        (!user[..=user.find('"')?].ends_with(&reader)).then(|| Fault::new(Symptom::OperatorForbidden, visible(message), remedy))
    }

    /// The fault of an object that the operator has not reported on: it is new, or the operator does not work.
    pub(super) fn nobody_looked(&self, object: &Value, symptom: Symptom, again: impl Into<Remedy>) -> Fault {
        let changed =
            written(object, &["f:spec", "f:metadata/f:annotations"]).or_else(|| seconds(text(object, "/metadata/creationTimestamp")));
        match self.now().zip(changed) {
            Some((now, changed)) if now > changed + 60 => {
                let cause = "the operator has not looked at it since it changed, more than a minute ago";
                Fault::new(Symptom::OperatorStalled, cause, self.restart_operator())
            }
            _ => Fault::new(symptom, "the operator has not looked at it yet", again),
        }
    }
}
