//! The real disk does what the simulated one assumes: a run makes the same changes in the same order, and a killed run leaves what the
//! simulation has. strace shows the changes and kills the run. Also two runs at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::common::{BINARY, Ran, Sandbox, finish, has_strace, path, program};
use crate::faults;
use crate::simulated_disk::{CHANGES, FOLDER, HERE, SimulatedDisk, State, Step, Tree};

fn traced(sandbox: &Sandbox, args: &[&str], options: &[&str]) -> (Ran, String) {
    let trace = Sandbox::empty();
    let mut command = Command::new(program("sh"));
    // As the simulation has it.
    command.args(["-c", "umask 022; exec strace \"$@\"", "sh", "-f", "-o"]).arg(trace.path("trace")).args(options).arg(BINARY).args(args);
    command.current_dir(sandbox.path("")).env_clear().env("PATH", path()).env("XDG_STATE_HOME", sandbox.path("state"));
    (finish(command), trace.read("trace"))
}

/// The changes in a trace: the simulation's name for each, the system call, and its number among these calls in its thread. A second
/// `write` to a file belongs to the first.
fn changes(trace: &str) -> Vec<(&'static str, String, usize)> {
    let (mut counts, mut found) = (BTreeMap::new(), Vec::<(&str, String, usize)>::new());
    for line in trace.lines() {
        let Some((thread, (call, rest))) =
            line.split_once(' ').map(|(thread, rest)| (thread, rest.trim_start().split_once('(').unwrap_or((rest, ""))))
        else {
            continue;
        };
        let n: &mut usize = counts.entry((thread, call)).or_default();
        *n += 1;
        let name = match call {
            "openat" if rest.contains("O_CREAT") => "create",
            "write" if !rest.starts_with("1,") && !rest.starts_with("2,") => "write",
            "fchmod" | "fchmodat" => "fchmod",
            "fsync" => "fsync",
            "renameat" | "renameat2" => "rename",
            "linkat" => "link",
            "unlinkat" => "unlink",
            "mkdirat" => "mkdir",
            _ => continue,
        };
        if name != "write" || found.last().is_none_or(|(last, ..)| *last != "write") {
            found.push((name, call.to_owned(), *n));
        }
    }
    found
}

const TRACED: &str = "trace=openat,write,fchmod,fchmodat,fsync,renameat,renameat2,linkat,unlinkat,mkdirat";

/// The simulation's changes, without the second `write` to a file.
fn believed(start: &State, args: &[&str]) -> Vec<Step> {
    let disk = SimulatedDisk::recording(start);
    assert_eq!(crate::common::run_on(disk.disk(), faults::now, 1, args).code, 0);
    let mut last = "";
    let again = |step: &Step| std::mem::replace(&mut last, step.call) == "write" && step.call == "write";
    let mut again = again;
    disk.steps().into_iter().filter(|step| CHANGES.contains(&step.call)).filter(|step| !again(step)).collect()
}

fn on_the_disk(state: &State) -> Sandbox {
    let sandbox = Sandbox::empty();
    let here = sandbox.path("").canonicalize().unwrap();
    for (path, (mode, bytes)) in state.tree().into_iter().filter(|(_, (mode, _))| mode & FOLDER == 0) {
        let bytes = match path.ends_with("certificates") {
            true => String::from_utf8(bytes.to_vec()).unwrap().replace(HERE, here.to_str().unwrap()).into_bytes(),
            false => bytes.to_vec(),
        };
        sandbox.write(path.to_str().unwrap(), &bytes);
        sandbox.chmod(path.to_str().unwrap(), mode & 0o7777);
    }
    sandbox
}

/// What can be compared: modes, sizes, and contents if nothing was sealed meanwhile. A temporary file's name contains the process id.
fn outline(tree: Tree, start: &Tree) -> BTreeMap<PathBuf, (u32, usize, Option<Vec<u8>>)> {
    // A waiting copy's name contains a digest of what is sealed.
    let named = |path: PathBuf| match path.extension().and_then(|end| end.to_str()) {
        Some(end @ ("tmp" | "waiting")) => path.with_file_name(end),
        _ => path,
    };
    let old = |path: &Path, file: &(u32, Arc<Vec<u8>>)| start.get(path) == Some(file);
    tree.into_iter()
        .filter(|(path, _)| !path.as_os_str().is_empty())
        .map(|(path, file)| {
            let content = old(&path, &file).then(|| file.1.to_vec());
            (named(path), (file.0, file.1.len(), content))
        })
        .collect()
}

fn tree_of(sandbox: &Sandbox) -> Tree {
    let relative = |path: PathBuf| path.strip_prefix(sandbox.path("")).unwrap().to_owned();
    let here = sandbox.path("").canonicalize().unwrap();
    // The pins name the keys folder.
    let simulated = |path: &Path, bytes: Vec<u8>| match path.starts_with("state") {
        true => String::from_utf8(bytes).unwrap().replace(here.to_str().unwrap(), HERE).into_bytes(),
        false => bytes,
    };
    let entry = |(path, (mode, _, _, bytes))| {
        let path = relative(path);
        let bytes = simulated(&path, bytes);
        (path, (mode, Arc::new(bytes)))
    };
    sandbox.snapshot().into_iter().map(entry).collect()
}

#[test]
fn the_real_disk_does_what_the_simulated_one_believes() {
    if !has_strace() {
        return;
    }
    // Everything that is ever written, in an order that matters.
    let (start, args) = (faults::with_keys(), faults::args(&["bootstrap"]));
    let (ran, trace) = traced(&on_the_disk(&start), &args, &["-e", TRACED]);
    ran.expect(0);
    let real: Vec<&str> = changes(&trace).into_iter().map(|(name, ..)| name).collect();
    let simulated: Vec<&str> = believed(&start, &args).iter().map(|step| step.call).collect();
    assert_eq!(real, simulated);

    // Killed before each: a new folder, a first file, one that is replaced.
    let start = faults::sealed().clone().without("secrets");
    let args = faults::args(&["rotate", "admin-password", "--yes"]);
    let (ran, trace) = traced(&on_the_disk(&start), &args, &["-e", TRACED]);
    ran.expect(0);
    let (real, steps) = (changes(&trace), believed(&start, &args));
    assert_eq!(real.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), steps.iter().map(|step| step.call).collect::<Vec<_>>());
    for ((name, call, n), step) in real.iter().zip(&steps) {
        let sandbox = on_the_disk(&start);
        let kill = ["-e", &format!("trace={call}"), "-e", &format!("inject={call}:signal=KILL:when={n}")];
        traced(&sandbox, &args, &kill).0.expect(137);
        let outline = |tree| outline(tree, &start.tree());
        assert_eq!(outline(tree_of(&sandbox)), outline(step.before.tree()), "killed before {name}, {call} {n}");
    }
    println!("killed at {} points", steps.len());
    assert!(steps.len() > 20, "{}", steps.len());
}

/// If syncing is impossible, the real disk says so: it asks the kernel.
#[test]
fn the_real_disk_syncs() {
    use seal_secrets::world::disk::{self, Links};
    let folder = disk::real().open_folder(Path::new("/proc/self"), Links::Follow).unwrap();
    let file = folder.open_file(Path::new("status"), Links::Keep).unwrap();
    assert_eq!((file.sync().is_err(), folder.sync().is_err()), (true, true));
    let here = Sandbox::empty();
    here.write("file", b"x");
    let folder = disk::real().open_folder(&here.path(""), Links::Follow).unwrap();
    assert!(folder.sync().is_ok() && folder.open_file(Path::new("file"), Links::Keep).unwrap().sync().is_ok());
}

#[test]
fn two_runs_at_once_one_is_told_to_wait() {
    let sandbox = Sandbox::bootstrapped();
    let unit = sandbox.read("out/secret-source/vllm-api-key.sealed.yaml");
    sandbox.write("apps/a/one.yaml", unit.as_bytes());
    sandbox.write_secret("given.env", b"HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz\n");
    let (_, recipient) = seal_secrets::pipeline::escrow::new_identity().unwrap();
    sandbox.write("keys/sealing.key.age", Sandbox::renewed().read("keys/sealing.key.age").as_bytes());
    let add = ["escrow", "add-recipient", recipient.as_str(), "--yes"];
    std::fs::create_dir(sandbox.path("other")).unwrap();
    // Every command that changes a folder waits for the run that holds its lock, however the folder is spelled.
    let of_out: &[&[&str]] = &[
        &["bootstrap"],
        &["rotate", "vllm-api-key", "--yes"],
        &["import", "--env-file", "given.env"],
        &["renew", "--yes"],
        &["re-encrypt", "--yes"],
        &["re-encrypt", "out", "--yes"],
        &["re-encrypt", "./out/", "--yes"],
        &["re-encrypt", "out/secret-source", "--yes"],
        &["re-encrypt", "out/secret-source/vllm-api-key.sealed.yaml", "--yes"],
        &["re-encrypt", "apps", "out/secret-source", "--yes"],
        &["re-encrypt", ".", "--yes"],
    ];
    let rows = of_out.iter().map(|args| ("out", *args)).chain([
        ("apps", &["re-encrypt", "apps", "--yes"][..]),
        ("apps/a", &["re-encrypt", "apps/a/one.yaml", "--yes"]),
        ("keys", &["renew", "--yes"]),
        ("keys", &add),
        ("other", &["keygen", "--keys", "other", "--out", "none"]),
    ]);
    for (locked, args) in rows {
        let folder = std::fs::File::open(sandbox.path(locked)).unwrap();
        folder.lock().unwrap();
        let before = sandbox.snapshot();
        let ran = sandbox.start(args);
        assert_eq!(ran.code, 8, "{locked}: {args:?}: {}{}", ran.stdout, ran.stderr);
        let says = format!("{locked}: another run holds the lock (process {})\n", std::process::id());
        assert!(ran.stderr.contains(&says), "{locked}: {args:?}: {}", ran.stderr);
        assert_eq!(before, sandbox.snapshot(), "{locked}: {args:?}");
    }
}
