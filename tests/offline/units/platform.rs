//! `pipeline/platform.rs`

use seal_secrets::pipeline::platform::*;

#[test]
fn paths_are_joined_as_kustomize_does() {
    assert_eq!(joined("apps/a", "../b/x.yaml").as_deref(), Some("apps/b/x.yaml"));
    assert_eq!(joined("", "./x.yaml").as_deref(), Some("x.yaml"));
    assert_eq!(joined("apps", "../../x"), None);
}
