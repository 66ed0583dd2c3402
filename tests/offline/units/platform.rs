//! `pipeline/platform.rs`

use seal_secrets::pipeline::platform::*;

#[test]
fn paths_are_joined_as_kustomize_does() {
    assert_eq!(joined("apps/a", "../b/x.yaml").as_deref(), Some("apps/b/x.yaml"));
    assert_eq!(joined("", "./x.yaml").as_deref(), Some("x.yaml"));
    assert_eq!(joined("apps", "../../x"), None);
}

#[test]
fn a_file_is_parsed_if_it_names_external_secrets_in_any_spelling() {
    let parsed = mattering(&["a-store"]);
    let spelled = ["externalsecret", "externalSecrets:", "a: EXTERNAL_SECRET", "x ExternalSecret", "xexternal-secret", "exExternal-sEcret"];
    for text in spelled.into_iter().chain(["dataFrom", "the a-store"]) {
        assert!(parsed("apps/a.yaml", text.as_bytes()), "{text}");
    }
    let others =
        ["", "x", "ex", "external", "external-", "external-secre", "external--secret", "external secret", "xternalsecret", "a store"];
    for text in others {
        assert!(!parsed("apps/a.yaml", text.as_bytes()), "{text}");
    }
    assert!(parsed("apps/kustomization.yaml", b"x") && parsed("environments/dev/config.yaml", b"") && parsed("a/Chart.yaml", b""));
}
