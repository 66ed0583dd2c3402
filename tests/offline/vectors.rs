//! Values that the real kubeseal sealed: which open, which must not, and that the refusal is always the same.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use seal_secrets::model::Scope;
use seal_secrets::pipeline::private_key::{self, SealingKey};
use seal_secrets::pipeline::{pem, unseal};

use crate::common::fixture_text;

fn scope(text: &str) -> Scope {
    match text {
        "strict" => Scope::Strict,
        "namespace-wide" => Scope::NamespaceWide,
        "cluster-wide" => Scope::ClusterWide,
        other => panic!("unknown scope {other}"),
    }
}

#[test]
fn every_vector_opens_or_is_refused_with_one_text() {
    let vectors: serde_json::Value = serde_json::from_str(&fixture_text("vectors/sealed.json")).unwrap();
    let keys: BTreeMap<&str, Vec<SealingKey>> = vectors["keys"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, key)| {
            let der = BASE64_STANDARD.decode(key["private_key_pkcs8_der_base64"].as_str().unwrap()).unwrap();
            (name.as_str(), private_key::read(&pem::write("PRIVATE KEY", &der)).unwrap().0)
        })
        .collect();
    let (mut opened, mut refused) = (0, Vec::new());
    for case in vectors["cases"].as_array().unwrap() {
        let text = |field: &str| case[field].as_str().unwrap();
        let label = scope(text("scope")).label(text("namespace"), text("name"));
        let result = unseal::open(&keys[text("key")], &label, text("blob"));
        if case["opens"] == true {
            let value = result.unwrap_or_else(|error| panic!("case {}: {error}", case["id"]));
            assert_eq!(BASE64_STANDARD.encode(value.expose()), text("plaintext"), "case {}", case["id"]);
            opened += 1;
        } else {
            let error = result.err().unwrap_or_else(|| panic!("case {} opened: {}", case["id"], case["why"]));
            assert_eq!(error.kind.exit_code(), 6);
            refused.push((error.what(), error.help()));
        }
    }
    assert_eq!((opened, refused.len()), (63, 19));
    refused.dedup();
    assert_eq!(refused.len(), 1, "{refused:?}");
}
