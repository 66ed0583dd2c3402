//! `manifest/property.rs`

use seal_secrets::manifest::property::*;
use seal_secrets::model::*;

fn edited(text: &str) -> Result<Option<String>> {
    let edited = add(text, None, &|entry| (entry.key == "k").then_some(Some("value")));
    let unread = seal_secrets::manifest::external_secret::unread(text);
    edited.refused.into_iter().chain(unread).next().map_or(Ok(edited.text), Err)
}

const HEAD: &str =
    "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: a}\nspec:\n  secretStoreRef: {name: s}\n  data:\n";

#[test]
fn the_property_goes_behind_the_key_in_every_style() {
    for (before, after) in [
        (
            "    - secretKey: a\n      remoteRef:\n        key: k\n",
            "    - secretKey: a\n      remoteRef:\n        key: k\n        property: value\n",
        ),
        (
            "    - secretKey: a\n      remoteRef:\n        key: k",
            "    - secretKey: a\n      remoteRef:\n        key: k\n        property: value",
        ),
        (
            "    - remoteRef:\n        version: v1\n        key: \"k\" # why\n        # end\n      secretKey: a\n",
            "    - remoteRef:\n        version: v1\n        key: \"k\" # why\n        property: value\n        # end\n      secretKey: a\n",
        ),
        ("    - secretKey: a\n      remoteRef: {key: k}\n", "    - secretKey: a\n      remoteRef: {key: k, property: value}\n"),
        (
            "    - {secretKey: a, remoteRef: {key: 'k' , version: v}}\n",
            "    - {secretKey: a, remoteRef: {key: 'k', property: value , version: v}}\n",
        ),
        (
            "    - secretKey: a\n      remoteRef:\n        key: >-\n          k\n\n    # x\n",
            "    - secretKey: a\n      remoteRef:\n        key: >-\n          k\n        property: value\n\n    # x\n",
        ),
        (
            "    - secretKey: ü\n      remoteRef:\n        key:\n          k\n        version: v\n",
            "    - secretKey: ü\n      remoteRef:\n        key:\n          k\n        property: value\n        version: v\n",
        ),
    ] {
        let text = format!("{HEAD}{before}");
        assert_eq!(edited(&text), Ok(Some(format!("{HEAD}{after}"))));
        let crlf = text.replace('\n', "\r\n");
        assert_eq!(edited(&crlf), Ok(Some(format!("{HEAD}{after}").replace('\n', "\r\n"))));
        let marked = format!("\u{feff}{text}");
        assert_eq!(edited(&marked), Ok(Some(format!("\u{feff}{HEAD}{after}"))));
        assert_eq!(edited(&format!("{HEAD}{after}")), Ok(None));
    }
}

#[test]
fn in_flow_style_it_takes_the_layout_of_the_key() {
    let head = r#"{"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "spec": {"data": [{"remoteRef": "#;
    for (before, after) in [
        (r#"{"key":"k"}"#, r#"{"key":"k","property":"value"}"#),
        (r#"{"key": "k"}"#, r#"{"key": "k", "property": "value"}"#),
        (r#"{ "version": "v", "key" : "k" }"#, r#"{ "version": "v", "key" : "k", "property" : "value" }"#),
        (
            "{\n      \"key\": \"k\",\n      \"version\": \"v\"\n    }",
            "{\n      \"key\": \"k\",\n      \"property\": \"value\",\n      \"version\": \"v\"\n    }",
        ),
        ("{\n\t\t\"key\": \"k\"\n\t}", "{\n\t\t\"key\": \"k\",\n\t\t\"property\": \"value\"\n\t}"),
        ("{\r\n  \"key\": \"k\"\r\n}", "{\r\n  \"key\": \"k\",\r\n  \"property\": \"value\"\r\n}"),
    ] {
        let text = |remote: &str| format!("{head}{remote}}}]}}}}");
        assert_eq!(edited(&text(before)), Ok(Some(text(after))));
        assert!(serde_json::from_str::<serde_json::Value>(&text(after)).is_ok(), "{after}");
        assert_eq!(edited(&text(after)), Ok(None));
    }
    let flow = |remote: &str| format!("{HEAD}    - remoteRef: {remote}\n");
    for (before, after) in [
        ("{\n        key: k,\n        version: v }", "{\n        key: k,\n        property: value,\n        version: v }"),
        ("{ 'key': k }", "{ 'key': k, property: value }"),
        ("{version: v,key: k}", "{version: v,key: k, property: value}"),
    ] {
        assert_eq!(edited(&flow(before)), Ok(Some(flow(after))));
    }
}

#[test]
fn what_stands_for_several_places_is_refused() {
    for entry in [
        "    - secretKey: a\n      remoteRef: &r\n        key: k\n    - secretKey: b\n      remoteRef: *r\n",
        "    - secretKey: a\n      remoteRef:\n        <<: {version: v}\n        key: k\n",
        "    - &e\n      secretKey: a\n      remoteRef:\n        key: k\n",
        "    - secretKey: a\n      remoteRef: {key: &k k}\n    - secretKey: b\n      remoteRef: {key: *k}\n",
        "    - &e {secretKey: a, remoteRef: {key: other}}\n    - *e\n",
    ] {
        assert!(edited(&format!("{HEAD}{entry}")).is_err(), "{entry}");
    }
}
