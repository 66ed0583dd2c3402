//! `manifest/property.rs`

use seal_secrets::manifest::property::*;
use seal_secrets::model::*;

fn edited(text: &str) -> Result<Option<String>> {
    Ok(add(text, None, &|entry| entry.key == "k")?.map(|edited| edited.text))
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
