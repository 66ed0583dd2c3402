//! Ended at every file operation, and refused at every one: each file is the old or the new one, complete, and the next
//! run converges. strace counts the operations of a run, then stops one run at each of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::common::{BINARY, Ran, Sandbox, finish, fixture};

/// What changes a file or a folder. SIGKILL comes before the call is carried out, so the next one's "before" is its
/// "after".
const CALLS: [&str; 8] = ["openat", "write", "fchmod", "fchmodat", "fsync", "renameat", "renameat2", "mkdirat"];

/// Whether strace can trace here; says why a test is skipped where it cannot.
pub fn strace_works() -> bool {
    let probe = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let works = probe.is_ok_and(|output| output.status.success());
    if !works {
        println!("skipped: strace is missing, or may not trace here");
    }
    works
}

fn traced(sandbox: &Sandbox, args: &[&str], options: &[&str]) -> Ran {
    let mut command = Command::new("strace");
    command.args(["-f", "-o"]).arg(sandbox.path("trace")).args(options).arg(BINARY).args(args);
    command.current_dir(sandbox.path("")).env_clear().env("PATH", "/usr/bin:/bin");
    finish(command)
}

/// How often a run makes each call.
fn count(sandbox: &Sandbox, args: &[&str]) -> BTreeMap<&'static str, usize> {
    traced(sandbox, args, &["-e", &format!("trace={}", CALLS.join(","))]).expect(0);
    let trace = sandbox.read("trace");
    let times = |call: &str| {
        trace.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|word| word.starts_with(&format!("{call}(")))).count()
    };
    CALLS.into_iter().map(|call| (call, times(call))).filter(|(_, times)| *times > 0).collect()
}

/// Runs `check` for each point at which a run can be stopped, on two threads.
fn sweep(
    make: &(dyn Fn() -> Sandbox + Sync),
    args: &[&str],
    stop: &str,
    calls: &[&str],
    check: &(dyn Fn(&Sandbox, Ran, &str) + Sync),
) -> usize {
    let points: Vec<(&str, usize)> = count(&make(), args)
        .into_iter()
        .filter(|(call, _)| calls.contains(call))
        .flat_map(|(call, times)| (1..=times).map(move |n| (call, n)))
        .collect();
    let (next, unchanged) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((call, n)) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let sandbox = make();
                    let before = sandbox.snapshot();
                    let inject = format!("inject={call}:{stop}:when={n}");
                    let ran = traced(&sandbox, args, &["-e", &format!("trace={call}"), "-e", &inject]);
                    std::fs::remove_file(sandbox.path("trace")).unwrap();
                    // Stopped before the first change, a run leaves what `make` made: the first such point speaks for all.
                    if before == sandbox.snapshot() && unchanged.swap(true, Ordering::Relaxed) && ran.code == 137 {
                        continue;
                    }
                    check(&sandbox, ran, &format!("{call} {n}"));
                }
            });
        }
    });
    points.len()
}

fn leftovers(sandbox: &Sandbox) -> Vec<PathBuf> {
    sandbox.snapshot().into_keys().filter(|path| path.extension().is_some_and(|end| end == "tmp")).collect()
}

fn small() -> Vec<String> {
    ["bootstrap", "--contract", fixture("fixtures/contracts/small.yaml").to_str().unwrap()].map(str::to_owned).into()
}

fn values(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let ran = sandbox.run(["unseal", "-o", "json"]);
    // Nothing may be sealed yet; whatever is there has to open.
    if ran.code == 3 && ran.stderr.contains("no sealed files") {
        return BTreeMap::new();
    }
    let list: serde_json::Value = serde_json::from_str(&ran.expect(0).stdout).unwrap();
    let items = list["items"].as_array().cloned().unwrap_or_else(|| vec![list.clone()]);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let decoded = |value: &serde_json::Value| String::from_utf8(BASE64_STANDARD.decode(text(value)).unwrap()).unwrap();
    items.iter().map(|item| (text(&item["metadata"]["name"]), decoded(&item["data"]["value"]))).collect()
}

/// After the stop: what is there is whole. After the next run: everything is there, and what was there is the same.
fn converges(sandbox: &Sandbox, point: &str, kept: &BTreeMap<String, String>) {
    let then = values(sandbox);
    assert!(kept.iter().all(|(name, value)| then.get(name) == Some(value)), "{point}: a value changed");
    assert_eq!(then.contains_key("admin-password"), then.contains_key("admin-hash"), "{point}: half a pair");
    let args = small();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = sandbox.run(&args);
    assert_eq!(ran.code, 0, "{point}: {}", ran.stderr);
    let now = values(sandbox);
    assert!(then.iter().all(|(name, value)| now.get(name) == Some(value)), "{point}: the next run changed a value");
    let verify = [&["verify", "--identity", "keys/operator.agekey"], &args[1..]].concat();
    let ran = sandbox.run(&verify);
    assert_eq!(ran.code, 0, "{point}: {}", ran.stdout);
    let password = sandbox.read("secrets/admin-password");
    assert_eq!(now["admin-password"], password, "{point}: the operator's copy is another one");
    assert_eq!(leftovers(sandbox), Vec::<PathBuf>::new(), "{point}");
    let before = sandbox.snapshot();
    assert!(sandbox.run(&args).expect(0).stdout.starts_with("nothing to do"), "{point}");
    assert_eq!(before, sandbox.snapshot(), "{point}");
}

#[test]
fn a_first_run_killed_at_any_point_leaves_whole_units_and_the_next_one_converges() {
    if !strace_works() {
        return;
    }
    let args = small();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let points = sweep(&Sandbox::with_keys, &args, "signal=KILL", &CALLS, &|sandbox, _, point| converges(sandbox, point, &BTreeMap::new()));
    println!("{points} points");
    assert!(points > 60, "{points}");
}

/// A state in which a unit, a list and a derived file have to be written anew, beside a write-once unit.
fn worn() -> Sandbox {
    let args = small();
    let sandbox = Sandbox::with_keys();
    sandbox.run(&args).expect(0);
    sandbox.remove("out/secret-source/admin.sealed.yaml");
    sandbox.edit("out/secret-store/cluster-secret-store.yaml", "shop-reader", "somebody");
    sandbox
}

#[test]
fn a_later_run_killed_at_any_point_keeps_what_was_there() {
    if !strace_works() {
        return;
    }
    let args = small();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let template = worn();
    let kept = values(&template);
    assert!(kept.contains_key("cart-salt"));
    let make = || {
        let copy = Sandbox::empty();
        assert!(Command::new("cp").arg("-a").arg(template.path(".")).arg(copy.path(".")).status().unwrap().success());
        copy
    };
    sweep(&make, &args, "signal=KILL", &CALLS, &|sandbox, _, point| converges(sandbox, point, &kept));
}

/// A rotation of a pair with its copy, and of a single key: after the stop each unit is the old or the new one, and the
/// next run makes the rest.
#[test]
fn a_rotation_killed_at_any_point_leaves_whole_pairs_and_the_next_one_converges() {
    if !strace_works() {
        return;
    }
    let small = small();
    let contract = &small[1..];
    let template = worn();
    template.run(&small).expect(0);
    let kept = values(&template);
    let rotate: Vec<&str> =
        ["rotate", "admin-hash", "session-key", "--yes"].into_iter().chain(contract.iter().map(String::as_str)).collect();
    let make = || {
        let copy = Sandbox::empty();
        assert!(Command::new("cp").arg("-a").arg(template.path(".")).arg(copy.path(".")).status().unwrap().success());
        copy
    };
    let points = sweep(&make, &rotate, "signal=KILL", &CALLS, &|sandbox, _, point| {
        let then = values(sandbox);
        assert!(bcrypt::verify(&then["admin-password"], &then["admin-hash"]).unwrap(), "{point}: the pair does not match");
        let others = |name: &&String| !["admin-password", "admin-hash", "session-key"].contains(&name.as_str());
        assert!(kept.keys().filter(others).all(|name| then[name] == kept[name]), "{point}: another value changed");
        sandbox.run(&rotate).expect(0);
        let rotated = values(sandbox);
        assert!(rotated.keys().all(|name| (rotated[name] == kept[name]) == others(&name)), "{point}: not converged");
        converges(sandbox, point, &rotated);
    });
    assert!(points > 20, "{points}");
}

#[test]
fn a_full_disk_or_a_failing_one_is_an_error_that_leaves_no_trace() {
    if !strace_works() {
        return;
    }
    let args = small();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    for (error, calls) in [("ENOSPC", &["write", "renameat", "mkdirat"][..]), ("EIO", &["fsync"])] {
        let check = |sandbox: &Sandbox, ran: Ran, point: &str| {
            // The last `write`s go to standard output: everything is done by then, but nobody was told.
            assert!(matches!(ran.code, 5 | 9), "{point}: {} {}", ran.code, ran.stderr);
            assert_eq!(ran.stderr.matches("error: ").count(), 1, "{point}: {}", ran.stderr);
            assert_eq!(leftovers(sandbox), Vec::<PathBuf>::new(), "{point}");
            converges(sandbox, point, &BTreeMap::new());
        };
        sweep(&Sandbox::with_keys, &args, &format!("error={error}"), calls, &check);
    }
}

#[test]
fn a_disk_that_does_not_confirm_has_a_code_of_its_own() {
    if !strace_works() {
        return;
    }
    let args = small();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let sandbox = Sandbox::with_keys();
    let last = count(&Sandbox::with_keys(), &args)["fsync"];
    let ran = traced(&sandbox, &args, &["-e", "trace=fsync", "-e", &format!("inject=fsync:error=EIO:when={last}")]).expect(9);
    assert!(ran.stderr.contains("everything is written, but the disk did not confirm it"), "{}", ran.stderr);
}

#[test]
fn keygen_killed_at_any_point_is_finished_by_the_next_one() {
    if !strace_works() {
        return;
    }
    let calls = ["write", "fsync", "renameat2", "fchmod"];
    let points = sweep(&Sandbox::empty, &["keygen"], "signal=KILL", &calls, &|sandbox, _, point| {
        let identity = std::fs::read(sandbox.path("keys/operator.agekey")).ok();
        let certificate = std::fs::read(sandbox.path("keys/sealing.crt")).ok();
        let ran = sandbox.run(["keygen"]);
        // The certificate comes last: where it is there already, nothing was left to do.
        assert_eq!(ran.code, if certificate.is_some() { 4 } else { 0 }, "{point}: {}", ran.stderr);
        assert!(identity.is_none_or(|identity| identity == std::fs::read(sandbox.path("keys/operator.agekey")).unwrap()), "{point}");
        assert!(certificate.is_none_or(|before| before == std::fs::read(sandbox.path("keys/sealing.crt")).unwrap()), "{point}");
        // The escrow opens, and belongs to the certificate.
        sandbox.run(["key-secret"]).expect(0);
    });
    assert!(points >= 12, "{points}");
}

/// A copy of a sandbox for each run.
fn copies(template: &Sandbox) -> impl Fn() -> Sandbox + Sync {
    let from = template.path(".");
    move || {
        let copy = Sandbox::empty();
        assert!(Command::new("cp").arg("-a").arg(&from).arg(copy.path(".")).status().unwrap().success());
        copy
    }
}

/// The small contract's `out/` sealed to the old key, and the escrow with a newer one; with it the newer certificate.
fn half_renewed() -> (Sandbox, String) {
    let args = small();
    let sandbox = Sandbox::with_keys();
    sandbox.run(&args).expect(0);
    sandbox.write("keys/sealing.key.age", Sandbox::renewed().read("keys/sealing.key.age").as_bytes());
    (sandbox, Sandbox::renewed().read("keys/sealing.crt"))
}

/// After the stop every unit opens to the same value; then `run` finishes, and everything agrees.
fn moves_on(sandbox: &Sandbox, run: &[&str], point: &str, kept: &BTreeMap<String, String>) {
    assert_eq!(*kept, values(sandbox), "{point}: a value changed, or does not open");
    // Half of it done, `bootstrap` says how to go on, or has nothing to do.
    let args = small();
    let ran = sandbox.run(&args);
    assert!(ran.code == 0 || ran.code == 4 && ran.stderr.contains("`seal-secrets renew`"), "{point}: {}", ran.stderr);
    let ran = sandbox.run(run);
    assert_eq!(ran.code, 0, "{point}: {}", ran.stderr);
    assert_eq!(*kept, values(sandbox), "{point}: the next run changed a value");
    assert!(sandbox.run(&args).expect(0).stdout.starts_with("nothing to do"), "{point}");
    let verify = [&["verify", "--identity", "keys/operator.agekey", "--contract"], &[args[2].as_str()][..]].concat();
    let ran = sandbox.run(&verify);
    assert_eq!(ran.code, 0, "{point}: {}", ran.stdout);
    assert_eq!(leftovers(sandbox), Vec::<PathBuf>::new(), "{point}");
}

/// Between the others nothing is left that could be half.
const CHANGES: [&str; 3] = ["write", "fsync", "renameat"];

#[test]
fn re_encrypt_killed_at_any_point_is_finished_by_the_next_one() {
    if !strace_works() {
        return;
    }
    let (template, certificate) = half_renewed();
    template.write("keys/sealing.crt", certificate.as_bytes());
    let (kept, args) = (values(&template), ["re-encrypt", "--yes"]);
    let points = sweep(&copies(&template), &args, "signal=KILL", &CHANGES, &|sandbox, _, point| {
        moves_on(sandbox, &args, point, &kept);
        let before = sandbox.snapshot();
        assert!(sandbox.run(args).expect(0).stdout.starts_with("nothing to do"), "{point}");
        assert_eq!(before, sandbox.snapshot(), "{point}");
    });
    assert!(points >= 16, "{points}");
}

#[test]
fn renew_killed_at_any_point_is_finished_by_the_next_one_even_if_that_is_killed_too() {
    if !strace_works() {
        return;
    }
    let (template, certificate) = half_renewed();
    let (kept, args) = (values(&template), ["renew", "--yes"]);
    let points = sweep(&copies(&template), &args, "signal=KILL", &CHANGES, &|sandbox, _, point| {
        // Where the certificate is in place already, everything is done, and the next run would begin anew.
        let done = |sandbox: &Sandbox| sandbox.read("keys/sealing.crt") == certificate;
        if !done(sandbox) {
            traced(sandbox, &args, &["-e", "trace=renameat", "-e", "inject=renameat:signal=KILL:when=2"]);
            std::fs::remove_file(sandbox.path("trace")).unwrap();
        }
        let next = if done(sandbox) { &["re-encrypt", "--yes"] } else { &args };
        moves_on(sandbox, next, point, &kept);
        assert!(done(sandbox), "{point}: another key was made");
    });
    assert!(points >= 20, "{points}");
}

#[test]
fn renew_killed_before_the_escrow_has_the_new_key_begins_anew() {
    if !strace_works() {
        return;
    }
    let (template, _) = half_renewed();
    template.write("keys/sealing.key.age", Sandbox::bootstrapped().read("keys/sealing.key.age").as_bytes());
    let kept = values(&template);
    // Its first renames: the escrow, then a unit.
    for (call, n, keys) in [("write", 1, 2), ("fsync", 1, 2), ("renameat", 1, 2), ("fsync", 2, 2), ("renameat", 2, 2)] {
        let (sandbox, point) = (copies(&template)(), format!("{call} {n}"));
        let inject = format!("inject={call}:signal=KILL:when={n}");
        traced(&sandbox, &["renew", "--yes"], &["-e", &format!("trace={call}"), "-e", &inject]).expect(137);
        std::fs::remove_file(sandbox.path("trace")).unwrap();
        moves_on(&sandbox, &["renew", "--yes"], &point, &kept);
        let secrets = sandbox.run(["key-secret"]).expect(0).stdout;
        assert_eq!(secrets.matches("kind: Secret").count(), keys, "{point}");
    }
}

#[test]
fn two_runs_at_once_one_is_told_to_wait() {
    let sandbox = Sandbox::bootstrapped();
    let folder = std::fs::File::open(sandbox.path("out")).unwrap();
    folder.lock().unwrap();
    let before = sandbox.snapshot();
    let ran = sandbox.run(["bootstrap"]).expect(8);
    assert!(ran.stderr.contains(&format!("(process {})", std::process::id())), "{}", ran.stderr);
    assert_eq!(before, sandbox.snapshot());
    folder.unlock().unwrap();
    sandbox.run(["bootstrap"]).expect(0);
}

/// Ended anywhere, an escrow is the old or the new one, the list names whoever can open it, and the same command finishes.
fn escrow_converges(change: &str) {
    let identities = [seal_secrets::pipeline::escrow::new_identity(), seal_secrets::pipeline::escrow::new_identity()];
    let second = identities[1].1.as_str();
    let template = Sandbox::empty();
    template.write_secret("keys/operator.agekey", identities[0].0.as_bytes());
    template.write_secret("second.agekey", identities[1].0.as_bytes());
    template.run(["keygen"]).expect(0);
    let args = |change| ["escrow", change, second, "--yes"];
    if change == "remove-recipient" {
        template.run(args("add-recipient")).expect(0);
    }
    let make = || {
        let copy = Sandbox::empty();
        assert!(Command::new("cp").arg("-a").arg(template.path(".")).arg(copy.path(".")).status().unwrap().success());
        copy
    };
    let calls = ["write", "fsync", "renameat"];
    let points = sweep(&make, &args(change), "signal=KILL", &calls, &|sandbox, _, point| {
        let opens = |identity: &str| sandbox.run(["key-secret", "--identity", identity]).code == 0;
        let listed = || std::fs::read_to_string(sandbox.path("keys/recipients.txt")).unwrap_or_default().contains(second);
        assert!(opens("keys/operator.agekey"), "{point}");
        assert!(listed() || !opens("second.agekey"), "{point}: somebody can open it whom the list does not name");
        let ran = sandbox.run(args(change));
        // Struck off, one is unknown: then nothing was left to do.
        let done = change == "remove-recipient" && ran.stderr.contains("none of those who may open");
        assert!(ran.code == 0 || done, "{point}: {}", ran.stderr);
        assert!(opens("keys/operator.agekey"), "{point}");
        assert_eq!((opens("second.agekey"), listed()), (!done && change == "add-recipient", change == "add-recipient"), "{point}");
        assert_eq!(leftovers(sandbox), Vec::<PathBuf>::new(), "{point}");
    });
    assert!(points >= 6, "{points}");
}

#[test]
fn an_escrow_killed_at_any_point_is_whole_and_the_same_change_finishes() {
    if strace_works() {
        ["add-recipient", "remove-recipient"].into_iter().for_each(escrow_converges);
    }
}
