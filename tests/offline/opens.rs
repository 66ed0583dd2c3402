//! How often a run reads each file of the keys folder: it passes the content on as a value.

use std::collections::BTreeMap;

use crate::common::{fixture_text, without_hash};
use crate::faults::{Whose, args, run_with};
use crate::simulated_disk::{SimulatedDisk, State};

/// How often a run, which must succeed, opens each file of the keys folder; and the state it leaves.
fn opens(state: &State, command: &[&str]) -> (Vec<(String, usize)>, State) {
    let disk = SimulatedDisk::good(state);
    let ran = run_with(&disk, command, Whose::Command);
    assert_eq!(ran.code, 0, "{command:?}: {}{}", ran.stdout, ran.stderr);
    let mut opened: BTreeMap<String, usize> = disk.opened();
    opened.retain(|name, _| ["sealing.", "operator.", "recipients.", "sealed."].iter().any(|begin| name.starts_with(begin)));
    (opened.into_iter().collect(), disk.state())
}

fn counts(counts: &[(&str, usize)]) -> Vec<(String, usize)> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn each_file_of_the_keys_folder_is_read_once() {
    let small = without_hash(&fixture_text("fixtures/contracts/small.yaml"));
    let start = State::empty().with("small.yaml", 0o644, small.as_bytes());
    let identity = ["--identity", "keys/operator.agekey"];
    // The identity is read back to encrypt to it, the escrow to prove that it opens.
    let (made, keys) = opens(&start, &["keygen"]);
    assert_eq!(made, counts(&[("operator.agekey", 1), ("sealing.key.age", 1)]));
    let (_, sealed) = opens(&keys, &args(&["bootstrap"]));
    let once = counts(&[("operator.agekey", 1), ("sealing.crt", 1), ("sealing.key.age", 1)]);
    let with_the_list = counts(&[("operator.agekey", 1), ("sealed.txt", 1), ("sealing.crt", 1), ("sealing.key.age", 1)]);
    assert_eq!(opens(&sealed, &args(&["bootstrap"])).0, counts(&[("sealed.txt", 1), ("sealing.crt", 1)]));
    assert_eq!(opens(&sealed, &args(&["verify", "--drill"])).0, with_the_list);
    assert_eq!(opens(&sealed, &args(&[&["verify"][..], &identity].concat())).0, with_the_list);
    assert_eq!(opens(&sealed, &[&["status"][..], &identity].concat()).0, once);
    assert_eq!(opens(&sealed, &["key-secret"]).0, once);
    assert_eq!(opens(&sealed, &["unseal"]).0, counts(&[("operator.agekey", 1), ("sealing.key.age", 1)]));
    // A replaced file is compared just before. The escrow is read to open it, compared, and read back.
    let (renewed, after) = opens(&sealed, &["renew", "--yes"]);
    assert_eq!(renewed, counts(&[("operator.agekey", 1), ("sealed.txt", 1), ("sealing.crt", 2), ("sealing.key.age", 3)]));
    assert_eq!(opens(&after, &["re-encrypt", "--yes", "--allow-rsa-bits", "2048"]).0, with_the_list);
    // If the list of recipients exists, it is read once, too.
    let (_, recipient) = seal_secrets::pipeline::escrow::new_identity().unwrap();
    let (added, listed) = opens(&after, &["escrow", "add-recipient", &recipient, "--yes"]);
    assert_eq!(added, counts(&[("operator.agekey", 1), ("sealing.key.age", 3)]));
    let all = counts(&[("operator.agekey", 1), ("recipients.txt", 1), ("sealed.txt", 1), ("sealing.crt", 1), ("sealing.key.age", 1)]);
    assert_eq!(opens(&listed, &args(&["verify", "--drill"])).0, all);
}
