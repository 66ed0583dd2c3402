//! Every operation of every command that writes: the run is stopped before it, loses power before it, or gets an error from a failing or
//! full disk. After each, every unit is the old or the new one, write-once values are unchanged, the next run completes the work, and what
//! a run reported as done survives a loss of power. All in this process, on a simulated disk.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use seal_secrets::model::EntropyFailed;
use seal_secrets::pipeline::escrow;
use seal_secrets::pipeline::rsa_soundness::LEAST_BITS;

use crate::common::{Drawing, Ran, TestEntropy, fixture_text, key_entropy, pinned, run_on_drawing};
use crate::simulated_disk::{CHANGES, FOLDER, Fault, GROWS, HERE, Loss, READS, SimulatedDisk, State, Tree};

/// A moment at which all certificates here are valid.
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}

/// Which randomness a run has: what is sealed at the start, by the command, and afterwards differs.
#[derive(Clone, Copy)]
pub enum Whose {
    Start = 1,
    Command = 2,
    Next = 3,
}

pub fn run_with(disk: &SimulatedDisk, args: &[&str], whose: Whose) -> Ran {
    run_on_drawing(disk.disk(), now, Box::new(Drawing(source(args, whose))), args)
}

type Draw = dyn FnMut(&mut [u8]) -> Result<(), EntropyFailed>;

/// The randomness of a run.
fn source(args: &[&str], whose: Whose) -> Box<Draw> {
    let mut entropy = TestEntropy(whose as u64);
    match args[0] {
        "keygen" | "renew" => Box::new(key_entropy(whose as u64, LEAST_BITS)),
        _ => Box::new(move |bytes| {
            entropy.fill(bytes);
            Ok(())
        }),
    }
}

/// A run to its end, and what it left.
fn run(state: &State, args: &[&str]) -> (Ran, State) {
    let disk = SimulatedDisk::good(state);
    (run_with(&disk, args, Whose::Next), disk.state())
}

/// The output of a command that writes nothing. It sees only the tree of a disk, so it runs once for each.
fn shown(state: &State, args: &[&str]) -> Arc<Ran> {
    static SHOWN: OnceLock<Mutex<HashMap<u64, Arc<Ran>>>> = OnceLock::new();
    let mut hasher = DefaultHasher::new();
    (state.tree(), args).hash(&mut hasher);
    let all = SHOWN.get_or_init(Mutex::default);
    let known = all.lock().unwrap().get(&hasher.finish()).cloned();
    known.unwrap_or_else(|| {
        let (ran, after) = run(state, args);
        assert!(after.tree() == state.tree(), "{args:?} wrote something");
        all.lock().unwrap().entry(hasher.finish()).or_insert(Arc::new(ran)).clone()
    })
}

/// What a run leaves: the start of a sweep.
fn started(state: &State, args: &[&str]) -> State {
    let disk = SimulatedDisk::good(state);
    let ran = run_with(&disk, args, Whose::Start);
    assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.stdout, ran.stderr);
    disk.state()
}

/// A run that has to report success, and what it left.
#[track_caller]
fn done(state: &State, args: &[&str], point: &str) -> (String, State) {
    let (ran, after) = run(state, args);
    assert_eq!(ran.code, 0, "{point}: {args:?}: {}{}", ran.stdout, ran.stderr);
    is_done(&ran, &after, &format!("{point}, then {args:?}"));
    (ran.stdout, after)
}

/// Asserts that what a run reported as done survives a loss of power, and that nothing is left over. A run with nothing to do may find what
/// an interrupted run did not confirm: that loss of power is tried with the interrupted run.
#[track_caller]
fn is_done(ran: &Ran, state: &State, point: &str) {
    if !ran.stdout.starts_with("nothing to do") {
        let warned = ran.stderr.contains("this machine could not remember that values were sealed");
        let mut lost = difference(&state.tree(), &state.lasting());
        lost.retain(|path| !warned || !path.starts_with("state/"));
        assert_eq!(lost, NONE, "{point}: reported as done, and a loss of power would take it");
    }
    let leftovers: Vec<_> = state.tree().into_keys().filter(|path| is_temporary(path)).collect();
    assert!(leftovers.is_empty(), "{point}: {leftovers:?} is left over");
}

/// The same, but only this run's own work has to last, not what an interrupted run left.
#[track_caller]
fn done_itself(state: &State, args: &[&str], point: &str) -> State {
    let (ran, after) = run(state, args);
    assert_eq!(ran.code, 0, "{point}: {args:?}: {}{}", ran.stdout, ran.stderr);
    let unsure = difference(&after.tree(), &after.lasting());
    let own = unsure.iter().find(|path| state.tree().get(*path) != after.tree().get(*path));
    assert_eq!(own, None, "{point}: {args:?}: reported as done, and a loss of power would take it");
    after
}

const NONE: Vec<PathBuf> = Vec::new();

/// The paths at which two trees differ.
fn difference(one: &Tree, other: &Tree) -> Vec<PathBuf> {
    let all: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    all.into_iter().filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
}

fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "tmp" || end == "waiting")
}

/// What has to hold right after a run, however it ended.
type Whole<'c> = &'c dyn Fn(&State, &str);

/// What has to hold after the next runs; the flag says whether everything was written before them.
type Converges<'c> = &'c dyn Fn(&State, bool, &str);

/// A command, what it starts from, and what has to hold however it ends.
struct Sweep<'s> {
    start: &'s State,
    args: &'s [&'s str],
    whole: Whole<'s>,
    converges: Converges<'s>,
    /// Exit codes, besides 5 and 9, that a failing disk may cause.
    codes: &'s [i32],
    /// From this state on, another sweep takes over.
    until: &'s dyn Fn(&State) -> bool,
    /// The first operation of the good run that changes something, and the certificate that the run leaves.
    good: (usize, Option<Vec<u8>>),
    /// Shapes of states whose convergence has been seen.
    seen: HashSet<u64>,
    ends: usize,
}

/// Goes through every stop of a command.
fn stops(start: &State, args: &[&str], whole: Whole<'_>, converges: Converges<'_>) {
    let name = args.join(" ");
    let (until, good) = (&|_: &State| false, (0, None));
    let mut sweep = Sweep { start, args, whole, converges, codes: &[], until, good, seen: HashSet::new(), ends: 0 };
    println!("{name}: {} stops and losses of power, {} different ends", sweep.stops(&name), sweep.ends);
}

/// Goes through every point of a command.
fn sweep(start: &State, args: &[&str], codes: &[i32], whole: Whole<'_>, converges: Converges<'_>) {
    sweep_until(start, args, codes, whole, converges, &|_| false);
}

/// The same, until a state that another sweep starts from.
fn sweep_until(start: &State, args: &[&str], codes: &[i32], whole: Whole<'_>, converges: Converges<'_>, until: &dyn Fn(&State) -> bool) {
    let name = args.join(" ");
    let counted = SimulatedDisk::good(start);
    let ran = run_with(&counted, args, Whose::Command);
    assert_eq!(ran.code, 0, "{name}: {}{}", ran.stdout, ran.stderr);
    let all = counted.calls();
    let good = (first_change(&all), counted.state().read("keys/sealing.crt"));
    let mut sweep = Sweep { start, args, whole, converges, codes, until, good, seen: HashSet::new(), ends: 0 };
    let stopped = sweep.stops(&name);
    let stops = sweep.ends;
    let calls = &all[..stopped.min(all.len())];
    let failed = calls.iter().enumerate().map(|(n, call)| sweep.fails(&name, call, n, Fault::Failure)).sum::<usize>();
    let growing = calls.iter().enumerate().filter(|(_, call)| GROWS.contains(call));
    let full = growing.map(|(n, call)| sweep.fails(&name, call, n, Fault::NoSpace)).sum::<usize>();
    let draws = (0..).find(|n| !sweep.starves(&name, *n)).unwrap();
    println!(
        "{name}: of {} operations {stopped} stops and losses of power, {failed} failures, {full} times no space, {draws} times no randomness; \
         {stops} + {} different ends",
        all.len(),
        sweep.ends - stops
    );
    assert!(draws >= 2, "{name}: it is tried before anything else");
    assert_eq!((failed, full), (calls.len(), count(calls, &GROWS)), "{name}: a point was left out");
    assert!(count(calls, &CHANGES) > 3, "{name}: it writes nothing");
}

/// The first of these calls that changes what a path shows.
pub fn first_change(calls: &[&str]) -> usize {
    calls.iter().position(|call| CHANGES.contains(call) && *call != "fsync").unwrap_or(calls.len())
}

fn count(calls: &[&str], of: &[&str]) -> usize {
    calls.iter().filter(|call| of.contains(call)).count()
}

impl Sweep<'_> {
    /// Stopped before each operation, and after the last: killed, or without power.
    fn stops(&mut self, name: &str) -> usize {
        let disk = SimulatedDisk::recording(self.start);
        let ran = run_with(&disk, self.args, Whose::Command);
        let (steps, end) = (disk.steps(), disk.state());
        is_done(&ran, &end, name);
        let (old, new) = (self.start.tree(), end.tree());
        let stops = steps.iter().map(|step| (step.call, &step.before)).chain([("the end", &end)]);
        let stops: Vec<_> = stops.take_while(|(_, before)| !(self.until)(before)).collect();
        for (n, (call, before)) in stops.iter().enumerate() {
            let mut states = vec![("stopped".to_owned(), before.unlocked())];
            // Once there is one more name, chance decides which names are left.
            let one_more = n > 0 && ["rename", "link", "unlink", "mkdir"].contains(&stops[n - 1].0);
            // If the last operation changed nothing, all of this was just tried.
            if n > 0 && !one_more && *call != "the end" && stops[n - 1].1.is_same(before) {
                continue;
            }
            let chances = one_more.then_some(Loss::Some(n as u64)).into_iter();
            let losses = [Loss::All, Loss::Contents].into_iter().chain(chances);
            states.extend(losses.map(|loss| (format!("lost {loss:?}"), before.after(loss))));
            for (how, state) in states {
                let point = format!("{name}: {how} before {call}, operation {n}");
                let tree = state.tree();
                for (path, file) in tree.iter().filter(|(path, file)| !is_temporary(path) && file.0 & FOLDER == 0) {
                    let is_pin = path.ends_with("certificates") && file.1.ends_with(b"\n");
                    // A copy waits until its unit is in place.
                    let waits = path.extension().is_some_and(|end| end == "waiting");
                    let whole = is_pin || waits || [old.get(path), new.get(path)].contains(&Some(file));
                    assert!(whole, "{point}: {} is neither old nor new", path.display());
                }
                let gone = old.keys().find(|path| new.contains_key(*path) && !tree.contains_key(*path));
                assert_eq!(gone, None, "{point}: gone");
                self.check(&state, *call == "the end", &point, None);
            }
        }
        stops.len()
    }

    /// This operation returns an error.
    fn fails(&mut self, name: &str, call: &str, n: usize, fault: Fault) -> usize {
        let disk = SimulatedDisk::failing(self.start, n, fault);
        let ran = run_with(&disk, self.args, Whose::Command);
        let point = format!("{name}: {fault:?} at {call}, operation {n}");
        let state = disk.state();
        assert!([0, 5, 9].contains(&ran.code) || self.codes.contains(&ran.code), "{point}: {} {}{}", ran.code, ran.stdout, ran.stderr);
        assert_eq!(ran.stderr.matches("error: ").count(), usize::from(ran.code > 1), "{point}: {}", ran.stderr);
        if ran.code == 0 {
            is_done(&ran, &state, &point);
        }
        let old = self.start.tree();
        // This comes last, and is not part of what was asked for.
        let warned = ran.stderr.contains("this machine could not remember that values were sealed");
        if !warned && fault == Fault::Failure && READS.contains(&call) && ["bootstrap", "keygen", "renew"].contains(&self.args[0]) {
            self.could_not_read(&ran, &state, n, &point);
        }
        if difference(&state.tree(), &old) != NONE || matches!(ran.code, 0 | 9) {
            // Each run seals its values again: it only counts that they changed.
            self.check(&state, matches!(ran.code, 0 | 9), &point, Some(&old));
        }
        1
    }

    /// What cannot be read is not taken for missing.
    fn could_not_read(&self, ran: &Ran, state: &State, n: usize, point: &str) {
        let (first_change, certificate) = &self.good;
        assert_eq!(ran.code, 5, "{point}: {}{}", ran.stdout, ran.stderr);
        // `renew` moves what it could read, and goes on with the rest in the next run: the same values, sealed again. Once everything
        // is moved, only its last step may be missing.
        let moves = self.args[0] == "renew";
        assert!(n >= *first_change || moves || state.tree() == self.start.tree(), "{point}: something was written");
        let left = state.read("keys/sealing.crt");
        assert!(left == self.start.read("keys/sealing.crt") || moves && left == *certificate, "{point}: the certificate changed");
    }

    /// Runs without randomness at this draw; returns whether there are that many.
    fn starves(&mut self, name: &str, n: usize) -> bool {
        let disk = SimulatedDisk::good(self.start);
        let (mut source, left) = (source(self.args, Whose::Command), Rc::new(Cell::new(Some(n))));
        let still = left.clone();
        let draw = move |bytes: &mut [u8]| {
            let fails = still.get() == Some(0);
            still.set(still.get().and_then(|left| left.checked_sub(1)));
            source(bytes)?;
            if fails { Err(EntropyFailed) } else { Ok(()) }
        };
        let ran = run_on_drawing(disk.disk(), now, Box::new(Drawing(draw)), self.args);
        if left.get().is_some() {
            return false;
        }
        let point = format!("{name}: no randomness at draw {n}");
        assert_eq!(ran.code, 6, "{point}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("error: the operating system gives no randomness\n"), "{point}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{point}: {}", ran.stderr);
        let (state, old) = (disk.state(), self.start.tree());
        assert!(state.tree().keys().all(|path| !is_temporary(path)), "{point}: something is left over");
        if difference(&state.tree(), &old) != NONE {
            self.check(&state, false, &point, Some(&old));
        }
        true
    }

    /// Two states of the same shape come to the same end: the contents of temporary files do not matter, nor do those of new ones, if
    /// `before` is given. Nor does it matter what would last, if all of it was seen with less of it lasting.
    fn check(&mut self, state: &State, complete: bool, point: &str, before: Option<&Tree>) {
        let shape = |tree: &Tree, lasting: &Tree| {
            let mut hasher = DefaultHasher::new();
            for (path, file) in tree.iter().chain(lasting) {
                let matters = !is_temporary(path) && before.is_none_or(|before| before.get(path) == Some(file));
                (complete, path, file.0, matters.then_some(&file.1)).hash(&mut hasher);
            }
            hasher.finish()
        };
        let (tree, lasting) = (state.tree(), state.lasting());
        let all_lasts = shape(&tree, &tree);
        let new = if tree == lasting { !self.seen.contains(&all_lasts) } else { self.seen.insert(shape(&tree, &lasting)) };
        self.seen.insert(all_lasts);
        if new || before.is_some() {
            (self.whole)(state, point);
        }
        if new {
            self.ends += 1;
            (self.converges)(state, complete, point);
        }
    }
}

type Values = BTreeMap<String, String>;

/// Every sealed value, and every text that the controller renders: each has to open.
fn values(state: &State, point: &str) -> Values {
    let ran = shown(state, &["unseal", "-o", "json"]);
    if ran.code == 3 && ran.stderr.contains("no sealed files") {
        return Values::new();
    }
    assert_eq!(ran.code, 0, "{point}: {}", ran.stderr);
    let list: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let items = list["items"].as_array().cloned().unwrap_or_else(|| vec![list.clone()]);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let decoded = |value: &serde_json::Value| String::from_utf8(BASE64_STANDARD.decode(text(value)).unwrap()).unwrap();
    let named = |item: &serde_json::Value| {
        let secret = text(&item["metadata"]["name"]);
        let data = item["data"].as_object().unwrap().iter();
        let name = |key: &str| if key == "value" { secret.clone() } else { format!("{secret}/{key}") };
        data.map(|(key, value)| (name(key), decoded(value))).collect::<Vec<_>>()
    };
    items.iter().flat_map(named).collect()
}

/// Flags for every command that seals here: the usual key is twice as long, and takes eight times as long to judge.
const SMALL: [&str; 4] = ["--contract", "small.yaml", "--allow-rsa-bits", "2048"];

pub fn args<'a>(command: &[&'a str]) -> Vec<&'a str> {
    [command, &SMALL].concat()
}

/// An identity, its recipient, and an escrow that it opens, with the key of `good-2048.crt`.
fn escrow_of_2048() -> &'static (String, String, Vec<u8>) {
    static ESCROW: OnceLock<(String, String, Vec<u8>)> = OnceLock::new();
    ESCROW.get_or_init(|| {
        let (identity, recipient) = escrow::new_identity().unwrap();
        let pem = fixture_text("fixtures/certificates/good-2048.crt") + &fixture_text("fixtures/private-keys/good-2048-pkcs8.pem");
        let to: age::x25519::Recipient = recipient.parse().unwrap();
        (identity.to_string(), recipient, escrow::encrypt(&pem, &[&to]).unwrap().0)
    })
}

/// Where this machine remembers which certificates it accepted.
const PINS: &str = "state/seal-secrets/certificates";

/// What it remembers after it accepted this certificate for a keys folder, and perhaps a next one to replace it.
fn pins(keys: &str, certificate: &str, next: Option<&str>) -> String {
    pinned("", &Path::new(HERE).join(keys), certificate, next)
}

/// With the first certificate again, accepted.
fn back(state: &State) -> State {
    state.clone().with_that_of(little(), "keys/sealing.crt", "keys/sealing.crt").with_that_of(little(), PINS, PINS)
}

/// The keys, and a contract without a bcrypt hash.
pub fn with_keys() -> State {
    let (identity, _, escrow) = escrow_of_2048();
    let small = fixture_text("fixtures/contracts/small.yaml");
    let keys = small.split_inclusive("\n  - name: ").filter(|key| !key.contains("bcrypt:"));
    let quick = keys.collect::<String>().replace("      - { secretKey: hash, key: admin-hash }\n", "");
    let token = "  - name: token\n    about: the operator's own\n    recipe: { provided: {} }\nconsumers:";
    let certificate = fixture_text("fixtures/certificates/good-2048.crt");
    State::empty()
        .with(PINS, 0o600, pins("keys", &certificate, None).as_bytes())
        .with("keys/sealing.crt", 0o644, certificate.as_bytes())
        .with("keys/sealing.key.age", 0o644, escrow)
        .with("keys/operator.agekey", 0o600, identity.as_bytes())
        .with("small.yaml", 0o644, quick.replace("consumers:", token).as_bytes())
}

/// As the first `bootstrap` leaves it.
pub fn sealed() -> &'static State {
    static SEALED: OnceLock<State> = OnceLock::new();
    SEALED.get_or_init(|| started(&with_keys(), &args(&["bootstrap"])))
}

/// Every unit opens, and these values are unchanged; half a pair does not count as one.
fn whole(state: &State, kept: &Values, point: &str) -> Values {
    let now = values(state, point);
    assert!(kept.iter().all(|(name, value)| now.get(name) == Some(value)), "{point}: a value changed");
    if let Some(hash) = now.get("admin-hash") {
        // Each check takes as long as all the rest of a run.
        static MATCHING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        let pair = format!("{} {hash}", now["admin-password"]);
        let mut matching = MATCHING.lock().unwrap();
        assert!(matching.contains(&pair) || bcrypt::verify(&now["admin-password"], hash).unwrap(), "{point}: the pair does not match");
        matching.insert(pair);
    }
    now
}

/// Asserts that nothing is left to do or wrong, and that the operator's copy is that of the unit. `values` are the sealed values: two
/// states that differ only in how these are sealed agree both or neither. Returns whether this one is the first such.
fn agrees(state: &State, values: &Values, point: &str) -> bool {
    static AGREED: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
    let copy = state.read("secrets/admin-password").map(|copy| String::from_utf8(copy).unwrap());
    assert_eq!(copy.as_ref(), values.get("admin-password"), "{point}: the operator's copy is another one");
    let mut hasher = DefaultHasher::new();
    for (path, (mode, bytes)) in
        state.tree().into_iter().filter(|(path, _)| !path.starts_with("secrets") && !path.ends_with("sealing.key.age"))
    {
        let text = String::from_utf8_lossy(&bytes);
        // Only the line of a sealed value is this long.
        let rest: String = text.split_inclusive('\n').filter(|line| line.len() < 340).collect();
        (path, mode, rest).hash(&mut hasher);
    }
    if AGREED.lock().unwrap().contains(&hasher.finish()) {
        return false;
    }
    let (stdout, after) = done(state, &args(&["bootstrap"]), point);
    assert!(stdout.starts_with("nothing to do"), "{point}: {stdout}");
    let changed = difference(&state.tree(), &after.tree());
    assert!(changed.iter().all(|path| path.starts_with("state/")), "{point}: {changed:?}");
    let (ran, _) = run(state, &args(&["verify", "--identity", "keys/operator.agekey"]));
    assert_eq!(ran.code, 0, "{point}: {}", ran.stdout);
    AGREED.lock().unwrap().insert(hasher.finish())
}

/// A command that adds what is missing: everything that exists stays, and the same command adds the rest.
pub fn adds(start: &State, command: &[&str]) {
    let (command, kept) = (args(command), values(start, "the start"));
    sweep(start, &command, &[], &|state, point| drop(whole(state, &kept, point)), &|state, complete, point| {
        let then = values(state, point);
        let (_, mut after) = done(state, &command, point);
        // What this machine remembers is not part of it.
        let missing = difference(&after.tree(), &state.tree());
        assert!(!complete || missing.iter().all(|path| path.starts_with("state/")), "{point}: not everything was written: {missing:?}");
        if command[0] != "bootstrap" {
            after = done(&after, &args(&["bootstrap"]), point).1;
        }
        agrees(&after, &whole(&after, &then, point), point);
    });
}

#[test]
fn a_first_bootstrap() {
    adds(&with_keys(), &["bootstrap"]);
}

#[test]
fn a_disk_that_does_not_confirm_has_a_code_of_its_own() {
    let (start, command) = (with_keys(), args(&["bootstrap"]));
    let disk = SimulatedDisk::good(&start);
    assert_eq!(run_with(&disk, &command, Whose::Command).code, 0);
    let calls = disk.calls();
    let mut last = (0..calls.len()).rev().filter(|n| calls[*n] == "fsync");
    let mut fails = || run_with(&SimulatedDisk::failing(&start, last.next().unwrap(), Fault::Failure), &command, Whose::Command);
    let mut ran = fails();
    // What this machine remembers comes last; if that fails, it is only a warning.
    while ran.code == 0 {
        assert!(ran.stderr.contains("this machine could not remember that values were sealed"), "{}", ran.stderr);
        ran = fails();
    }
    assert_eq!(ran.code, 9, "{}", ran.stderr);
    assert!(ran.stderr.contains("everything is written, but the disk did not confirm it"), "{}", ran.stderr);
}

#[test]
fn an_import_that_restores_a_unit_and_replaces_its_copy() {
    let start = sealed().clone().without("out/secret-source/admin.sealed.yaml").without("out/secret-store");
    let start = start.with("secrets/admin-password", 0o600, b"another one's").with("prod.env", 0o600, b"ADMIN_PASSWORD=correct-horse\n");
    adds(&start, &["import", "--env-file", "prod.env"]);
}

#[test]
fn a_rotation_of_a_unit_that_is_gone() {
    let start = sealed().clone().without("out/secret-source/session-key.sealed.yaml");
    let (command, kept) = (args(&["rotate", "session-key", "--yes"]), values(&start, "the start"));
    sweep(&start, &command, &[], &|state, point| drop(whole(state, &kept, point)), &|state, complete, point| {
        let then = values(state, point);
        assert!(!complete || then.contains_key("session-key"), "{point}: not everything was written");
        let (_, after) = done(state, &command, point);
        agrees(&after, &whole(&after, &kept, point), point);
    });
}

/// A Secret with several values, one with an operator's copy, and a text; and a Secret that is made from it.
const SEVERAL: &str = "  - name: admin-password
    about: the shop's administrator
    labels: { team: shop }
    operator-copy: [value]
    values:
      value: { base64url: { bytes: 24 } }
      token: { hex: { bytes: 16 } }
      uri: { template: 'db://admin:{value}@db' }
  - name: login
    about: made of it
    values: { line: { template: 'login {admin-password}' } }
  - name: session-key
    about: signs sessions
    recipe: { alphanumeric: { length: 40 } }
";

/// The keys, and that contract.
fn with_several() -> State {
    let small = fixture_text("fixtures/contracts/small.yaml").replace("version: 1", "version: 2");
    let head = small.split("keys:\n").next().unwrap();
    with_keys().with("small.yaml", 0o644, format!("{head}secrets:\n{SEVERAL}consumers: []\n").as_bytes())
}

/// As the first `bootstrap` leaves it.
fn several() -> &'static State {
    static SEALED: OnceLock<State> = OnceLock::new();
    SEALED.get_or_init(|| started(&with_several(), &args(&["bootstrap"])))
}

#[test]
fn a_first_bootstrap_of_several_values_in_one_secret() {
    adds(&with_several(), &["bootstrap"]);
}

#[test]
fn a_bootstrap_that_adds_a_value_to_others_and_changes_their_label() {
    let text = String::from_utf8(with_several().read("small.yaml").unwrap()).unwrap();
    let text = text.replace("team: shop", "team: other").replace("      token:", "      more: { uuid: {} }\n      token:");
    adds(&several().clone().with("small.yaml", 0o644, text.as_bytes()), &["bootstrap"]);
}

#[test]
fn a_rotation_of_one_of_several_values() {
    let keys = ["admin-password", "admin-password/uri", "login/line"];
    rotates(several(), &["rotate", "admin-password/value", "--yes"], &keys, &|command, whole, converges| {
        sweep(several(), command, &[], whole, converges);
    });
}

#[test]
fn an_import_of_several_values_of_one_secret() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: { name: admin-password }\nstringData: { value: correct-horse, token: t-1 }\n";
    let start = several().clone().without("out/secret-source/admin-password.sealed.yaml").with("s.yaml", 0o600, secret.as_bytes());
    adds(&start, &["import", "-f", "s.yaml"]);
}

#[test]
fn a_bootstrap_with_a_value_of_the_operators() {
    adds(&sealed().clone().with("token.txt", 0o600, b"correct horse battery staple"), &["bootstrap", "--provide", "token=token.txt"]);
}

#[test]
fn an_import() {
    let env = b"CART_SALT=0123456789abcdef0123456789abcdef\nADMIN_PASSWORD=correct-horse\nSESSION_KEY=x\n";
    let start = sealed().clone().without("out/secret-source/admin.sealed.yaml").with("prod.env", 0o600, env);
    adds(&start, &["import", "--env-file", "prod.env"]);
}

/// With the pair of the whole contract.
fn with_a_pair() -> &'static State {
    static PAIR: OnceLock<State> = OnceLock::new();
    PAIR.get_or_init(|| {
        let start = with_keys().with("small.yaml", 0o644, fixture_text("fixtures/contracts/small.yaml").as_bytes());
        started(&start, &args(&["bootstrap"]))
    })
}

/// New values for these keys: the others stay, each of these is the old or a new one, and the same command makes the rest new.
fn rotates(start: &State, command: &[&str], keys: &[&str], go: &dyn Fn(&[&str], Whole<'_>, Converges<'_>)) {
    let (command, before) = (args(command), values(start, "the start"));
    let mut kept = before.clone();
    kept.retain(|name, _| !keys.contains(&name.as_str()));
    let converges = |state: &State, complete: bool, point: &str| {
        let then = values(state, point);
        assert!(!complete || keys.iter().all(|key| then[*key] != before[*key]), "{point}: not everything was written");
        // The old copy stays until its unit is in place; after any next run the two match.
        let copy = |state: &State| state.read("secrets/admin-password").map(|copy| String::from_utf8(copy).unwrap());
        let is_old = then["admin-password"] == before["admin-password"];
        assert!(!is_old || copy(state).as_ref() == Some(&before["admin-password"]), "{point}: the copy is ahead of its unit");
        let (_, settled) = done(state, &args(&["bootstrap"]), point);
        assert_eq!(copy(&settled).as_ref(), Some(&then["admin-password"]), "{point}: the copy stays behind its unit");
        let (_, after) = done(state, &command, point);
        let now = whole(&after, &kept, point);
        assert!(keys.iter().all(|key| now[*key] != before[*key]), "{point}: not everything is new");
        agrees(&after, &now, point);
    };
    go(&command, &|state, point| drop(whole(state, &kept, point)), &converges);
}

/// A pair is one file: an error can do no more to it than a stop. Its hash takes longer than all the rest.
#[test]
fn a_rotation_of_a_pair_with_its_copy() {
    let keys = ["admin-hash", "admin-password"];
    rotates(with_a_pair(), &["rotate", "admin-hash", "--yes"], &keys, &|command, whole, converges| {
        stops(with_a_pair(), command, whole, converges);
    });
}

#[test]
fn a_rotation_of_two_values() {
    let keys = ["admin-password", "session-key"];
    rotates(sealed(), &["rotate", "admin-password", "session-key", "--yes"], &keys, &|command, whole, converges| {
        sweep(sealed(), command, &[], whole, converges);
    });
}

#[test]
fn a_rotation_of_a_write_once_value() {
    rotates(sealed(), &["rotate", "--destroys-data", "cart-salt", "--yes"], &["cart-salt"], &|command, whole, converges| {
        sweep(sealed(), command, &[], whole, converges);
    });
}

#[test]
fn a_copy_from_one_cluster_to_another() {
    let (identity, _, escrow) = escrow_of_2048();
    let mut start = with_keys().with_that_of(sealed(), "out", "out/a").with_that_of(sealed(), "secrets", "secrets/a");
    let certificate = fixture_text("fixtures/certificates/good-2048.crt");
    start = start.with(PINS, 0o600, pins("keys/b", &certificate, None).as_bytes());
    for cluster in ["a", "b"] {
        start = start
            .with(&format!("keys/{cluster}/sealing.crt"), 0o644, certificate.as_bytes())
            .with(&format!("keys/{cluster}/sealing.key.age"), 0o644, escrow)
            .with(&format!("keys/{cluster}/operator.agekey"), 0o600, identity.as_bytes());
    }
    let command = args(&["copy", "--from", "a", "--to", "b"]);
    let all = values(sealed(), "the source");
    let of = |state: &State, cluster: &str| {
        State::empty().with_that_of(state, &format!("out/{cluster}"), "out").with_that_of(state, "keys/a", "keys")
    };
    let whole = |state: &State, point: &str| {
        assert_eq!(values(&of(state, "a"), point), all, "{point}: the source changed");
        assert!(values(&of(state, "b"), point).iter().all(|(name, value)| all[name] == *value), "{point}: another value");
    };
    let converges = |state: &State, complete: bool, point: &str| {
        let (_, after) = done(state, &command, point);
        assert!(!complete || difference(&after.tree(), &state.tree()) == NONE, "{point}: not everything was written");
        assert_eq!(values(&of(&after, "b"), point), all, "{point}");
        let (stdout, _) = done(&after, &args(&["bootstrap", "--cluster", "b"]), point);
        assert!(stdout.starts_with("nothing to do"), "{point}: {stdout}");
        let (ran, _) = run(&after, &args(&["verify", "--cluster", "b", "--identity", "keys/b/operator.agekey"]));
        assert_eq!(ran.code, 0, "{point}: {}", ran.stdout);
    };
    // What follows from the units is written as `bootstrap` writes it.
    let units = |state: &State| state.after(Loss::All).read("out/b/secret-source/session-key.sealed.yaml").is_some();
    sweep_until(&start, &command, &[], &whole, &converges, &units);
}

/// Three sealed values: the draw for two is as long as a prime, and `key_entropy` would answer with one.
const SESSIONS: &str = "  - name: session-key
    about: signs sessions
    labels: { team: shop }
    values:
      value: { alphanumeric: { length: 40 } }
      token: { hex: { bytes: 16 } }
      other: { hex: { bytes: 16 } }
      line: { template: 'token={token}' }
";

/// Two units, one with several values, and little else: for commands that take long with each file.
fn little() -> &'static State {
    static LITTLE: OnceLock<State> = OnceLock::new();
    LITTLE.get_or_init(|| {
        let contract = fixture_text("fixtures/contracts/small.yaml").replace("version: 1", "version: 2");
        let salt = contract.split("  - ").find(|key| key.starts_with("name: cart-salt")).unwrap();
        let head = contract.split("keys:\n").next().unwrap();
        let keys = format!("{head}secrets:\n  - {salt}{SESSIONS}");
        started(&with_keys().with("small.yaml", 0o644, (keys + "consumers: []\n").as_bytes()), &args(&["bootstrap"]))
    })
}

/// With a newer key, to which everything is sealed.
fn renewed() -> &'static State {
    static RENEWED: OnceLock<State> = OnceLock::new();
    RENEWED.get_or_init(|| started(little(), &["renew", "--yes"]))
}

/// No value changes, however far the move got. After an interruption, the same command goes on until it is `finished`.
fn moves(start: &State, command: &[&str], finished: &dyn Fn(&State) -> bool, until: &dyn Fn(&State) -> bool) {
    let (kept, re_encrypt) = (values(start, "the start"), ["re-encrypt", "--yes", "--allow-rsa-bits", "2048"]);
    let whole = |state: &State, point: &str| assert_eq!(values(state, point), kept, "{point}");
    let converges = |state: &State, complete: bool, point: &str| {
        // When half of it is done, `bootstrap` says how to go on, or has nothing to do.
        let (ran, _) = run(state, &args(&["bootstrap"]));
        assert!(ran.code == 0 || ran.code == 4 && ran.stderr.contains("renew` if a renewal was interrupted"), "{point}: {}", ran.stderr);
        assert!(!complete || finished(state), "{point}: not everything was written");
        let (_, after) = done(state, if finished(state) { &re_encrypt } else { command }, point);
        assert!(!complete || difference(&after.tree(), &state.tree()) == NONE, "{point}: not everything was written");
        assert!(finished(&after), "{point}");
        whole(&after, point);
        if agrees(&after, &kept, point) {
            let (stdout, again) = done(&after, &re_encrypt, point);
            assert!(stdout.starts_with("nothing to do"), "{point}: {stdout}");
            assert_eq!(difference(&after.tree(), &again.tree()), NONE, "{point}");
        }
    };
    sweep_until(start, command, &[1], &whole, &converges, until);
}

#[test]
fn a_re_encryption_of_the_output_folder() {
    moves(&back(renewed()), &["re-encrypt", "--yes", "--allow-rsa-bits", "2048"], &|_| true, &|_| false);
}

/// The escrow has the newer key, and nothing is sealed to it.
pub fn begun() -> State {
    let text = |state: &State| String::from_utf8(state.read("keys/sealing.crt").unwrap()).unwrap();
    let pins = pins("keys", &text(little()), Some(&text(renewed())));
    little().clone().with_that_of(renewed(), "keys/sealing.key.age", "keys/sealing.key.age").with(PINS, 0o600, pins.as_bytes())
}

#[test]
fn a_renewal_that_finishes_with_a_key_of_the_escrow() {
    let certificate = renewed().read("keys/sealing.crt");
    moves(&begun(), &["renew", "--yes"], &|state| state.read("keys/sealing.crt") == certificate, &|_| false);
}

#[test]
fn a_renewal_that_is_stopped_twice() {
    let (start, certificate) = (begun(), renewed().read("keys/sealing.crt"));
    let stopped = |state: &State| {
        let disk = SimulatedDisk::recording(state);
        run_with(&disk, &["renew", "--yes"], Whose::Next);
        disk.steps().into_iter().filter(|step| step.call == "rename").map(|step| step.before.after(Loss::Contents)).collect::<Vec<_>>()
    };
    let kept = values(&start, "the start");
    for (first, state) in stopped(&start).into_iter().enumerate() {
        for (second, state) in stopped(&state).into_iter().enumerate() {
            let point = format!("lost before rename {first}, then before rename {second}");
            let (_, after) = done(&state, &["renew", "--yes"], &point);
            assert!(values(&after, &point) == kept && after.read("keys/sealing.crt") == certificate, "{point}");
        }
    }
}

#[test]
fn a_renewal_that_makes_a_key() {
    let before = little().read("keys/sealing.crt");
    // Once the key is in the escrow, this is the start of the renewal that finishes with such a key.
    let begun = |state: &State| state.after(Loss::All).read("keys/sealing.key.age") != little().read("keys/sealing.key.age");
    moves(little(), &["renew", "--yes"], &|state| state.read("keys/sealing.crt") != before, &begun);
}

#[test]
fn a_re_encryption_of_other_peoples_files() {
    let unit = |name: &str| String::from_utf8(renewed().read(&format!("out/secret-source/{name}.sealed.yaml")).unwrap()).unwrap();
    let start = back(renewed())
        .with("apps/a/two.yaml", 0o640, (unit("cart-salt") + "---\n" + &unit("session-key")).as_bytes())
        .with("apps/b/one.yaml", 0o644, unit("session-key").as_bytes())
        .with("apps/b/other.yaml", 0o644, b"kind: ConfigMap\n");
    let files = ["apps/a/two.yaml", "apps/b/one.yaml"];
    let open = |state: &State, point: &str| {
        let ran = shown(state, &["unseal", "-o", "json", "-f", files[0], "-f", files[1]]);
        assert_eq!(ran.code, 0, "{point}: {}", ran.stderr);
        ran.stdout.clone()
    };
    let (command, kept) = (["re-encrypt", "apps", "--yes", "--allow-rsa-bits", "2048"], open(&start, "the start"));
    sweep(&start, &command, &[1], &|state, point| assert_eq!(open(state, point), kept, "{point}"), &|state, complete, point| {
        let (_, after) = done(state, &command, point);
        assert!(!complete || difference(&after.tree(), &state.tree()) == NONE, "{point}: not everything was written");
        assert_eq!(open(&after, point), kept, "{point}");
        let mode = |state: &State| files.map(|file| state.tree()[Path::new(file)].0);
        assert_eq!(mode(&after), mode(&start), "{point}");
        assert!(done(&after, &command, point).0.starts_with("nothing to do"), "{point}");
    });
}

/// Whether this identity opens the escrow.
fn opens(state: &State, identity: &str) -> bool {
    shown(state, &["key-secret", "--identity", identity]).code == 0
}

/// An escrow is the old or the new one, the list names its recipients, and the same command finishes.
fn escrow_changes(change: &'static str) {
    let (second, recipient) = escrow::new_identity().unwrap();
    let command = |change| ["escrow", change, recipient.as_str(), "--yes"];
    let mut start = with_keys().with("second.agekey", 0o600, second.as_bytes());
    if change == "remove-recipient" {
        start = done(&start, &command("add-recipient"), "").1;
    }
    let listed = |state: &State| String::from_utf8(state.read("keys/recipients.txt").unwrap_or_default()).unwrap().contains(&recipient);
    let whole = |state: &State, point: &str| {
        assert!(opens(state, "keys/operator.agekey"), "{point}");
        assert!(listed(state) || !opens(state, "second.agekey"), "{point}: somebody can open it whom the list does not name");
    };
    let added = change == "add-recipient";
    sweep(&start, &command(change), &[], &whole, &|state, complete, point| {
        let (ran, after) = run(state, &command(change));
        // Once struck off, a recipient is unknown: then nothing was left to do.
        let unknown = !added && !listed(state);
        assert!(unknown || !complete || added, "{point}: not everything was written");
        assert_eq!(ran.code, if unknown { 2 } else { 0 }, "{point}: {}", ran.stderr);
        if ran.code == 0 {
            is_done(&ran, &after, point);
        }
        whole(&after, point);
        assert_eq!((opens(&after, "second.agekey"), listed(&after)), (added, added), "{point}");
    });
}

#[test]
fn an_escrow_that_gets_a_recipient() {
    escrow_changes("add-recipient");
}

#[test]
fn an_escrow_that_loses_a_recipient() {
    escrow_changes("remove-recipient");
}

/// After `keygen` in any state that it left: what exists stays, and the escrow belongs to the certificate. If the escrow was begun, it is
/// finished where the identity is.
fn generates(start: &State, command: &[&str], identity: &str, until: &dyn Fn(&State) -> bool) {
    let converges = |state: &State, complete: bool, point: &str| {
        let (certificate, begun) = (state.read("keys/sealing.crt"), state.read("keys/sealing.key.age").is_some());
        assert!(!complete || certificate.is_some(), "{point}: not everything was written");
        let kept = state.read("keys/operator.agekey");
        let moved = if begun { state.clone().with_that_of(state, identity, "keys/operator.agekey") } else { state.clone() };
        let (ran, after) = run(&moved, if begun { &["keygen"] } else { command });
        assert_eq!(ran.code, if certificate.is_some() { 4 } else { 0 }, "{point}: {}", ran.stderr);
        if ran.code == 0 {
            is_done(&ran, &after, point);
        }
        assert!(certificate.is_none() || certificate == after.read("keys/sealing.crt"), "{point}");
        assert!(kept.is_none() || kept == after.read("keys/operator.agekey"), "{point}");
        assert!(opens(&after, identity), "{point}");
    };
    sweep_until(start, command, &[], &|_, _| {}, &converges, until);
}

#[test]
fn a_sealing_key_for_an_own_identity() {
    generates(&State::empty(), &["keygen"], "keys/operator.agekey", &|_| false);
}

#[test]
fn a_sealing_key_for_a_named_recipient() {
    let (identity, recipient) = escrow::new_identity().unwrap();
    let start = State::empty().with("own.agekey", 0o600, identity.as_bytes());
    // With the list in place, this run is where the other one is with its identity.
    let begun = |state: &State| state.after(Loss::All).read("keys/recipients.txt").is_some();
    generates(&start, &["keygen", "--recipient", &recipient], "own.agekey", &begun);
}

#[cfg(feature = "cluster")]
#[test]
fn a_pinned_certificate() {
    let certificate = |name: &str| fixture_text(&format!("fixtures/certificates/{name}.crt"));
    let accept = "sha256:87310fb4c9e474d8fcccf92d61e2e13fc86c987f5dfb1ae9061dbca326f948f5";
    let start = State::empty().with("controller.crt", 0o644, certificate("good-2048").as_bytes());
    let command = ["fetch-cert", "--file", "controller.crt", "--accept-certificate", accept];
    for start in [start.clone(), start.with("keys/sealing.crt", 0o644, certificate("good").as_bytes())] {
        sweep(&start, &command, &[], &|_, _| {}, &|state, complete, point| {
            let (_, after) = done(state, &command, point);
            assert!(!complete || difference(&after.tree(), &state.tree()) == NONE, "{point}: not everything was written");
            assert_eq!(after.read("keys/sealing.crt"), start.read("controller.crt"), "{point}");
            assert!(done(&after, &command, point).0.starts_with("nothing to do"), "{point}");
        });
    }
}

/// A platform without the property, and with the operator's own store.
fn platform() -> State {
    let consumer = |name: &str, key: &str| {
        format!(
            "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  secretStoreRef:\n    name: shop-store\n    kind: ClusterSecretStore\n  target:\n    name: {name}\n  data:\n    - secretKey: value\n      remoteRef:\n        key: {key}\n"
        )
    };
    with_keys().with("p/apps/shop/shop.yaml", 0o640, consumer("shop", "cart-salt").as_bytes()).with(
        "p/apps/desk/desk.yaml",
        0o644,
        consumer("desk", "session-key").as_bytes(),
    )
}

/// A command that writes to the platform's checkout; it is done when it has nothing to do.
fn writes(start: &State, command: &[&str]) {
    sweep(start, command, &[], &|_, _| {}, &|state, complete, point| {
        let after = done_itself(state, command, point);
        assert!(!complete || difference(&after.tree(), &state.tree()) == NONE, "{point}: not everything was written");
        let mode = |state: &State| state.tree()[Path::new("p/apps/shop/shop.yaml")].0;
        assert_eq!(mode(&after), mode(start), "{point}");
        let (stdout, again) = done(&after, command, point);
        assert!(stdout.starts_with("nothing to do"), "{point}: {stdout}");
        assert_eq!(difference(&after.tree(), &again.tree()), NONE, "{point}");
    });
}

#[test]
fn patched_manifests() {
    writes(&platform(), &["patch", "--write", "--platform", "p", "--contract", "small.yaml"]);
}

#[test]
fn a_component() {
    writes(
        &platform(),
        &["patch", "--write", "--format", "component", "--platform", "p", "--out", "p/sealed/out", "--contract", "small.yaml"],
    );
}

#[test]
fn a_store_file_of_the_platforms() {
    let start = started(&platform(), &args(&["bootstrap", "--platform", "p"]));
    let start = start.with("seal-secrets.yaml", 0o644, b"version: 1\nstore: { file: p/apps/store.yaml }\n");
    writes(&start, &args(&["bootstrap", "--platform", "p"]));
}

#[test]
fn what_git_is_told() {
    let start = sealed().clone().with(".git/config", 0o640, b"[core]\n\tbare = false\n").with(".git/HEAD", 0o644, b"");
    let start = start.with(".git/objects/x", 0o444, b"").with(".git/refs/x", 0o644, b"");
    let command = ["git-setup", "--write"];
    sweep(&start, &command, &[], &|_, _| {}, &|state, complete, point| {
        let after = done_itself(state, &command, point);
        assert!(!complete || difference(&after.tree(), &state.tree()) == NONE, "{point}: not everything was written");
        assert_eq!(after.tree()[Path::new(".git/config")].0 & 0o777, 0o640, "{point}");
        let (stdout, again) = done(&after, &command, point);
        assert_eq!((stdout.as_str(), difference(&after.tree(), &again.tree())), ("nothing to do\n", NONE), "{point}");
    });
}

/// What a live controller has: one key, which is not the escrow's.
#[cfg(feature = "cluster")]
fn key_list() -> String {
    let printed = &shown(renewed(), &["key-secret"]).stdout;
    let keys = serde_yaml::Deserializer::from_str(printed).map(|one| <serde_json::Value as serde::Deserialize>::deserialize(one).unwrap());
    let own = BASE64_STANDARD.encode(fixture_text("fixtures/certificates/good-2048.crt"));
    let items: Vec<_> = keys.filter(|key| key["kind"] == "Secret" && key["data"]["tls.crt"] != own.as_str()).collect();
    assert_eq!(items.len(), 1, "{printed}");
    serde_json::json!({ "apiVersion": "v1", "kind": "SecretList", "metadata": {}, "items": items }).to_string()
}

#[cfg(feature = "cluster")]
#[test]
fn a_backup_of_a_controllers_keys() {
    use crate::api_server::{kubeconfig, response, serve_with};
    let (port, _) = serve_with(|_, _, _| response("200 OK", "Content-Type: application/json\r\n", &key_list()));
    let sandbox = crate::common::Sandbox::empty();
    kubeconfig(&sandbox, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
    let start = sealed().clone().with("kubeconfig", 0o600, sandbox.read("kubeconfig").as_bytes());
    let command = ["backup", "--kubeconfig", "kubeconfig", "--context", "fake"];
    let kept = values(sealed(), "the start");
    let keys = |state: &State| shown(state, &["key-secret"]).stdout.matches("kind: Secret").count();
    let whole = |state: &State, point: &str| drop(whole(state, &kept, point));
    sweep(&start, &command, &[], &whole, &|state, complete, point| {
        assert!(!complete || keys(state) == 2, "{point}: not everything was written");
        let (stdout, after) = done(state, &command, point);
        let all = kept.len();
        assert!(stdout.ends_with(&format!("the escrow opens {all} of {all} sealed values\n")), "{point}: {stdout}");
        whole(&after, point);
        assert_eq!(keys(&after), 2, "{point}");
        let (stdout, _) = run(&after, &command);
        assert!(stdout.stdout.starts_with("nothing to add"), "{point}: {}", stdout.stdout);
    });
}
