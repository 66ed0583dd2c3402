//! PushSecrets (`external-secrets.io/v1alpha1`): the operator copies each source Secret into another store, which a team uses from then
//! on. A value that the other store has stays.

use std::collections::BTreeSet;

use serde_json::json;

use super::render::object;
use crate::manifest::kubernetes::Metadata;
use crate::model::{Contract, Name, PROPERTY, StoreKind};

/// A PushSecret for each source Secret that is sealed, as a stream of documents. Each Secret is pushed whole, as a JSON object of its data
/// keys: in one write, since most stores ask only for the Secret when they are asked whether it exists, and would never get a second
/// property. `bare`: a Secret with nothing but the usual data key is pushed as that value alone.
pub fn push_secrets(contract: &Contract, store: &Name, kind: StoreKind, bare: bool, sealed: &BTreeSet<&str>) -> String {
    let secrets = contract.secrets().into_iter().filter(|secret| sealed.contains(secret));
    let one = |secret: &str| {
        let mut from = json!({ "remoteRef": { "remoteKey": secret } });
        if bare && contract.only_property(secret) == Some(PROPERTY) {
            from["secretKey"] = json!(PROPERTY);
        }
        let spec = json!({
            "updatePolicy": "IfNotExists",
            "deletionPolicy": "None",
            "refreshInterval": "1h",
            "secretStoreRefs": [{ "name": store.as_str(), "kind": kind.as_str() }],
            "selector": { "secret": { "name": secret } },
            "data": [{ "match": from }],
        });
        object(
            "external-secrets.io/v1alpha1",
            "PushSecret",
            Metadata::new(secret, Some(contract.namespace.as_str())),
            json!({ "spec": spec }),
        )
    };
    secrets.map(one).collect::<Vec<_>>().join("---\n")
}
