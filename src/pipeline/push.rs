//! PushSecrets (`external-secrets.io/v1alpha1`): the operator copies each source Secret into another store, which a team uses from then
//! on. A value that the other store has stays.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::render::object;
use crate::manifest::kubernetes::Metadata;
use crate::model::{Contract, Name, PROPERTY, StoreKind};

/// A PushSecret for each source Secret that is sealed, as a stream of documents. A Secret of one value is pushed as that, any other one
/// with its data keys as properties.
pub fn push_secrets(contract: &Contract, store: &Name, kind: StoreKind, sealed: &BTreeSet<&str>) -> String {
    let secrets = contract.secrets().into_iter().filter(|secret| sealed.contains(secret));
    let one = |secret: &str| {
        let entry = |property: &&str| -> Value {
            let remote = match contract.only_property(secret) {
                Some(PROPERTY) => json!({ "remoteKey": secret }),
                _ => json!({ "remoteKey": secret, "property": property }),
            };
            json!({ "match": { "secretKey": property, "remoteRef": remote } })
        };
        let data: Vec<Value> = contract.properties(secret).iter().map(entry).collect();
        let spec = json!({
            "updatePolicy": "IfNotExists",
            "deletionPolicy": "None",
            "refreshInterval": "1h",
            "secretStoreRefs": [{ "name": store.as_str(), "kind": kind.as_str() }],
            "selector": { "secret": { "name": secret } },
            "data": data,
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
