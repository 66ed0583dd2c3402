//! `manifest/blobs.rs`

use seal_secrets::manifest::blobs::*;
use seal_secrets::model::*;

const HEAD: &str = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: a, namespace: b}\nspec:\n  encryptedData:\n";

/// Each blob of a text replaced by `NEW1`, `NEW2`, …
fn renewed(text: &str) -> Result<String> {
    let found = find(text, &Hints::default());
    if let Some(error) = found.iter().find_map(|one| one.fault.clone().or(one.fixed.clone())) {
        return Err(error);
    }
    let spots = found.iter().flat_map(|one| &one.blobs).map(|blob| blob.spot.clone());
    replace(text, spots.enumerate().map(|(i, spot)| (spot, format!("NEW/{}=", i + 1))).collect())
}

#[test]
fn only_the_blob_is_replaced_in_every_style() {
    for (before, after) in [
        ("    k: AgBx+/y= # why\n    l: AgA=\n", "    k: NEW/1= # why\n    l: NEW/2=\n"),
        ("    k: AgBx", "    k: NEW/1="),
        ("    k: \"AgBx\" # 'a'\n", "    k: \"NEW/1=\" # 'a'\n"),
        ("    k: 'AgBx'\n", "    k: 'NEW/1='\n"),
        ("    'k.x': \"AgB\\/x\"\n", "    'k.x': \"NEW/1=\"\n"),
        ("    k: \"\\x41g\\u0042x\\u003d\"\n", "    k: \"NEW/1=\"\n"),
        ("    k: \"AgB\\\n      x\"\n", "    k: \"NEW/1=\"\n"),
        ("    k: >-\n      AgBx\n    l: AgAx\n", "    k: >-\n      NEW/1=\n    l: NEW/2=\n"),
        ("    k: |\n      AgBx\n      yz\n\n    # end\n", "    k: |\n      NEW/1=\n\n    # end\n"),
        ("    k: |4- # why\n        AgBx\n", "    k: |4- # why\n        NEW/1=\n"),
        ("    k:\n      AgBx\n  template:\n    data: {k: AgBx}\n", "    k:\n      NEW/1=\n  template:\n    data: {k: AgBx}\n"),
        ("    ? k\n    : AgBx\n", "    ? k\n    : NEW/1=\n"),
        ("    {k: AgBx , \"l\": 'AgBx'}\n", "    {k: NEW/1= , \"l\": 'NEW/2='}\n"),
        ("    k: !!str AgBx\n", "    k: !!str NEW/1=\n"),
        ("    k: AgBx\n...\n---\nother: [1, ü]\n", "    k: NEW/1=\n...\n---\nother: [1, ü]\n"),
    ] {
        let (before, after) = (format!("# ü\n{HEAD}{before}"), format!("# ü\n{HEAD}{after}"));
        assert_eq!(renewed(&before), Ok(after.clone()));
        let crlf = |text: &str| text.replace('\n', "\r\n");
        assert_eq!(renewed(&crlf(&before)), Ok(crlf(&after)));
        assert_eq!(renewed(&format!("\u{feff}{before}")), Ok(format!("\u{feff}{after}")));
    }
    let json = r#"{"kind":"List","apiVersion":"v1","items":[{"apiVersion":"bitnami.com/v1alpha1","kind":"SealedSecret","metadata":{"name":"a","namespace":"b"},"spec":{"encryptedData":{"k":"AgBx"}}},{"kind":"Secret"}]}"#;
    assert_eq!(renewed(json), Ok(json.replace("AgBx", "NEW/1=")));
    let tabbed = json.replace('{', "{\n\t");
    assert_eq!(renewed(&tabbed), Ok(tabbed.replace("AgBx", "NEW/1=")));
    for text in ["kind: Secret\n", "# kind: SealedSecret\n"] {
        assert!(find(text, &Hints::default()).is_empty());
    }
}

#[test]
fn what_stands_for_several_places_is_refused() {
    for text in [
        format!("{HEAD}    k: &v AgBx\n    l: *v\n"),
        format!("{HEAD}    k: *v\n").replace("metadata: {", "metadata: {x: &v AgBx, "),
        format!("{HEAD}    <<: {{k: AgBx}}\n"),
        HEAD.replace("encryptedData:\n", "encryptedData: &e {k: AgBx}\n  other: *e\n"),
        format!("{HEAD}    k: [AgBx]\n"),
        format!("{HEAD}    k: AgBx\n  data: AgBx\n"),
    ] {
        assert!(renewed(&text).is_err(), "{text}");
    }
    // A name that the template repeats is not replaced.
    let named = format!("{HEAD}    k: AgBx\n  template: {{metadata: {{name: *n}}}}\n").replace("name: a", "name: &n a");
    assert_eq!(renewed(&named), Ok(named.replace("AgBx", "NEW/1=")));
}
