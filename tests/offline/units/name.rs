//! `model/name.rs`

use seal_secrets::model::*;

#[test]
fn names_follow_kubernetes() {
    for good in ["a", "litellm-master-key", "x.y-z.9", &"n".repeat(253)] {
        assert!(Name::new(good).is_ok(), "{good}");
    }
    for bad in ["", "A", "a_b", "a/b", "-a", "a-", "a..b", ".a", "ü", &"n".repeat(254)] {
        assert!(Name::new(bad).is_err(), "{bad}");
    }
    assert!(Namespace::new("x.y").is_err());
    assert!(Namespace::new(&"m".repeat(64)).is_err());
    for bad in ["", "a/b", ".", "..", "..a", &"k".repeat(254)] {
        assert!(DataKey::new(bad).is_err(), "{bad}");
    }
}
