//! `model/places.rs`

use std::path::Path;

use seal_secrets::model::*;

fn places(flags: &[(&str, &str)]) -> Places {
    let flags: Vec<(&str, String)> = flags.iter().map(|(flag, value)| (*flag, (*value).to_owned())).collect();
    Places::new(Path::new("k"), Path::new("o"), Path::new("s"), None, &flags)
}

#[test]
fn a_command_works_on_the_folders_of_the_run() {
    let places = places(&[("--keys", "my keys"), ("--cluster", "prod")]);
    assert_eq!(places.command("verify"), "seal-secrets --keys 'my keys' --cluster prod verify");
    assert_eq!(
        places.pasteable("run `seal-secrets keygen`, not seal-secrets"),
        "run `seal-secrets --keys 'my keys' --cluster prod keygen`, not seal-secrets"
    );
    assert_eq!(places.pasteable("`cat x | seal-secrets unseal -`"), "`cat x | seal-secrets --keys 'my keys' --cluster prod unseal -`");
    assert_eq!(places.pasteable("`x` seal-secrets keygen `y`"), "`x` seal-secrets keygen `y`");
}

#[test]
fn without_flags_a_text_stays_as_it_is() {
    let text = "`seal-secrets keygen`, then `seal-secrets bootstrap`";
    assert_eq!(places(&[]).pasteable(text), text);
    assert_eq!(places(&[]).in_out("x.yaml"), "o/x.yaml");
}
