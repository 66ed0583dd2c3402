//! PushSecrets (`external-secrets.io/v1alpha1`): the operator copies each source Secret into another store, which a team uses from then on.
//! Values that the other store already has stay.

use std::collections::BTreeSet;

use serde_json::json;

use super::render::object;
use crate::manifest::kubernetes::Metadata;
use crate::model::{Contract, Name, PROPERTY, StoreKind};

/// A PushSecret for each sealed source Secret, as a stream of documents. Each Secret is pushed whole, in one write, as a JSON object of its
/// data keys: most stores check only whether the Secret exists, so a second property would never be pushed. `bare`: a Secret with only the
/// usual data key is pushed as that value alone.
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
