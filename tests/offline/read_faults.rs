//! A disk that fails to answer must not count as an empty one: each look and each read of a command returns an error. The sweeps of
//! `faults` do the same with a first `bootstrap`, `keygen` and `renew`.

use std::path::Path;

use rustix::io::Errno;

use crate::faults::{Whose, args, first_change, run_with, sealed, with_keys};
use crate::simulated_disk::{Fault, READS, SimulatedDisk, State};

const SALT: &str = "out/secret-source/cart-salt.sealed.yaml";

/// Fails each read of a command with this error; it has to end with one of these codes.
fn each_read(start: &State, command: &[&str], errno: Errno, codes: &[i32]) {
    let good = SimulatedDisk::good(start);
    let ran = run_with(&good, command, Whose::Command);
    assert!(ran.code == 0 || codes.contains(&ran.code), "{command:?}: {}{}", ran.stdout, ran.stderr);
    let calls = good.calls();
    let first_change = first_change(&calls);
    let reads: Vec<_> = calls.iter().enumerate().filter(|(_, call)| READS.contains(call)).collect();
    assert!(reads.len() > 5, "{command:?}");
    for (n, call) in &reads {
        let disk = SimulatedDisk::failing(start, *n, Fault::Error(errno));
        let ran = run_with(&disk, command, Whose::Command);
        let point = format!("{command:?}: {errno:?} at {call}, operation {n} of {}: {}{}", calls.len(), ran.stdout, ran.stderr);
        assert!(codes.contains(&ran.code), "{} {point}", ran.code);
        let after = disk.state();
        if *n < first_change {
            assert!(after.tree() == start.tree(), "something was written: {point}");
        }
        assert!(after.read("keys/sealing.crt") == start.read("keys/sealing.crt"), "the certificate changed: {point}");
        let known = start.read("keys/sealed.txt").is_some();
        assert!(!known || after.read(SALT) == start.read(SALT), "a write-once value was made: {point}");
    }
    println!("{command:?}: {} reads of {} operations", reads.len(), calls.len());
}

/// As [`sealed`], and all of `out/` is lost: only the keys folder remembers.
fn without_out() -> State {
    sealed().clone().without("out")
}

#[test]
fn every_command_stops_where_it_cannot_read() {
    let env = sealed().clone().with("env", 0o600, b"TOKEN=0123456789\n");
    let identity = ["--identity", "keys/operator.agekey"];
    let commands: [(&State, Vec<&str>); 7] = [
        (sealed(), args(&["bootstrap"])),
        (&sealed().clone().without(SALT), args(&["rotate", "session-key", "--yes"])),
        (sealed(), args(&["rotate", "session-key", "--yes"])),
        (&env, args(&["import", "--env-file", "env"])),
        (sealed(), args(&["plan"])),
        (sealed(), args(&[&["verify"][..], &identity].concat())),
        (sealed(), args(&["verify", "--drill"])),
    ];
    for (start, command) in commands {
        each_read(start, &command, Errno::IO, &[5]);
    }
}

#[test]
fn no_error_of_the_disk_makes_a_value_that_is_remembered() {
    let start = without_out();
    for errno in [Errno::IO, Errno::ACCESS, Errno::LOOP, Errno::NAMETOOLONG, Errno::STALE, Errno::PERM] {
        for command in [&["bootstrap"][..], &["plan"]] {
            each_read(&start, &args(command), errno, &[4, 5]);
        }
    }
}

#[test]
fn what_lies_below_a_file_does_not_exist() {
    // ENOTDIR says that nothing has that name, as ENOENT does.
    let start = with_keys();
    let disk = SimulatedDisk::good(&start);
    let ran = run_with(&disk, &args(&["verify", "--keys", "small.yaml/keys"]), Whose::Command);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("certificate-unusable"), "{}", ran.stdout);
    assert!(disk.state().tree().contains_key(Path::new("small.yaml")));
}
