//! Inside a checkout no link is followed: neither one that exists from the start, nor one that replaces a file or folder during the run.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Result;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use seal_secrets::world::disk::{Disk, FileHandle, FolderHandle, Kind, Links, Stat};

use crate::common::{Ran, Sandbox};

const PLATFORM: [&str; 4] = ["--platform", "q", "--contract", "own.yaml"];

/// One key: each run of a sweep seals it.
const CONTRACT: &str = "version: 1
store: shop-store
namespace: shop-secrets
reader: { name: shop-reader, namespace: eso }
keys:
  - name: session-key
    about: signs sessions
    recipe: { alphanumeric: { length: 40 } }
consumers:
  - namespace: shop
    name: shop
    target: shop
    data:
      - { secretKey: value, key: session-key }
";

/// The commands that read a checkout. `patch --write` also writes to it.
const COMMANDS: [&[&str]; 8] = [
    &["contract"],
    &["plan"],
    &["verify"],
    &["patch"],
    &["patch", "--write"],
    &["patch", "--format", "component"],
    &["patch", "--write", "--format", "component"],
    &["bootstrap"],
];

fn external_secret(name: &str, key: &str) -> String {
    format!(
        "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  secretStoreRef:\n    name: shop-store\n    kind: ClusterSecretStore\n  target:\n    name: {name}\n  data:\n    - secretKey: value\n      remoteRef:\n        key: {key}\n"
    )
}

/// A checkout `q/` with one ExternalSecret, and `o/` outside of it: the same, with one of another name.
fn checkout() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("own.yaml", CONTRACT.as_bytes());
    for (root, name) in [("q", "shop"), ("o", "stolen")] {
        sandbox.write(&format!("{root}/apps/shop/shop.yaml"), external_secret(name, "session-key").as_bytes());
        sandbox.write(&format!("{root}/.gitignore"), b"*.tmp\n");
        std::fs::create_dir(sandbox.path(&format!("{root}/deep"))).unwrap();
    }
    sandbox
}

fn run(sandbox: &Sandbox, args: &[&[&str]]) -> Ran {
    sandbox.run([&args.concat()[..], &PLATFORM].concat())
}

#[test]
fn a_link_that_the_scan_meets_is_reported_and_nothing_behind_it_is_read_or_written() {
    let links = [
        ("q/apps/shop/more.yaml", "shop.yaml", "../../../o/apps/shop/shop.yaml"),
        ("q/apps/more", "shop", "../../o/apps/shop"),
        ("q/more", "apps", "../o/apps"),
        ("q/more", ".", "../o"),
    ];
    for (link, inside, outside) in links {
        for target in [inside, outside] {
            let sandbox = checkout();
            symlink(target, sandbox.path(link)).unwrap();
            let outside = tree(&sandbox, "o");
            for command in COMMANDS {
                let ran = run(&sandbox, &[command, &["--out", "q/out"]]);
                let point = format!("{link} to {target}: {command:?}: {}{}", ran.stdout, ran.stderr);
                assert!(ran.code <= 1 && !ran.stdout.contains("stolen"), "{point}");
                assert!(command[0] != "contract" || ran.findings().contains(&format!("link-passed-over {link}")), "{point}");
                // Once, not a second time behind the link.
                assert!(command != ["patch"] || ran.stdout.matches("+++ ").count() == 1, "{point}");
                assert_eq!(tree(&sandbox, "o"), outside, "{point}");
            }
        }
    }
}

/// [`Sandbox::snapshot`] of one folder.
fn tree(sandbox: &Sandbox, root: &str) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
    let mut found = sandbox.snapshot();
    found.retain(|path, _| path.starts_with(sandbox.path(root)));
    found
}

#[track_caller]
fn refused(sandbox: &Sandbox, args: &[&[&str]], link: &str) {
    let before = sandbox.snapshot();
    let ran = run(sandbox, args);
    let says = format!("error: {link}: a link, and links are not followed here\nhelp: ");
    assert!(ran.code == 4 && ran.stderr.starts_with(&says), "{args:?}: {} {}{}", ran.code, ran.stdout, ran.stderr);
    assert_eq!(before, sandbox.snapshot(), "{args:?}");
}

#[test]
fn a_path_through_a_link_in_the_checkout_is_refused() {
    let absolute = |sandbox: &Sandbox, path: &str| sandbox.path(path).canonicalize().unwrap().to_string_lossy().into_owned();
    for inside in [true, false] {
        let sandbox = checkout();
        let target = absolute(&sandbox, if inside { "q/apps" } else { "o" });
        symlink(&target, sandbox.path("q/more")).unwrap();
        symlink(&target, sandbox.path("q/deep/more")).unwrap();
        symlink(format!("{target}/no-such"), sandbox.path("q/deep/dangling")).unwrap();
        symlink(format!("{target}/shop.yaml"), sandbox.path("q/deep/store.yaml")).unwrap();
        for (out, link) in [
            ("q/more", "q/more"),
            ("q/more/out", "q/more"),
            ("q/deep/more/deep/out", "q/deep/more"),
            ("q/deep/dangling/out", "q/deep/dangling"),
            (&format!("{}/out", sandbox.path("q/more").display()), "q/more"),
        ] {
            for command in COMMANDS {
                refused(&sandbox, &[command, &["--out", out]], link);
            }
        }
        for (file, link) in
            [("q/deep/store.yaml", "q/deep/store.yaml"), ("q/more/store.yaml", "q/more"), ("q/deep/more/deep/store.yaml", "q/deep/more")]
        {
            for command in COMMANDS.iter().filter(|command| command[0] != "contract") {
                sandbox.set(&format!("store: {{ file: {file} }}"));
                refused(&sandbox, &[command], link);
            }
            sandbox.set("");
        }
        let behind = if inside { "q/deep/more/shop/shop.yaml" } else { "q/deep/more/apps/shop/shop.yaml" };
        refused(&sandbox, &[&["re-encrypt", "--yes", "q/more"]], "q/more");
        refused(&sandbox, &[&["re-encrypt", "--yes", behind]], "q/deep/more");
        refused(&sandbox, &[&["status", "--out", behind.trim_end_matches("/shop.yaml")]], "q/deep/more");
        // The way back from a link is refused too.
        let ran = run(&sandbox, &[&["bootstrap"], &["--out", "q/more/../out"]]).expect(4);
        assert!(ran.stderr.contains("a path with `..` inside the checkout"), "{}", ran.stderr);
    }
}

#[test]
fn ignore_rules_behind_a_link_are_refused() {
    for target in ["../o/.gitignore", "apps/rules", "/no/such"] {
        let sandbox = checkout();
        sandbox.write("q/apps/rules", b"*.tmp\n");
        sandbox.remove("q/.gitignore");
        symlink(target, sandbox.path("q/.gitignore")).unwrap();
        let ran = run(&sandbox, &[&["verify", "--out", "q/out"]]).expect(4);
        assert!(ran.stderr.contains("/q/.gitignore: a link, and links are not followed here\nhelp: "), "{}", ran.stderr);
        let ran = sandbox.run(["contract", "--from-platform", "q"]).expect(4);
        assert!(ran.stderr.starts_with("error: q/.gitignore: a link, and links are not followed here\nhelp: "), "{}", ran.stderr);
    }
}

#[test]
fn the_checkout_itself_may_lie_behind_links() {
    let sandbox = checkout();
    symlink("q", sandbox.path("l")).unwrap();
    symlink("q/deep", sandbox.path("d")).unwrap();
    symlink("../o", sandbox.path("q/more")).unwrap();
    let behind = |args: &[&str], code| sandbox.run([args, &["--platform", "l", "--contract", "own.yaml"]].concat()).expect(code);
    behind(&["bootstrap", "--out", "l/new/out"], 0);
    assert!(sandbox.path("q/new/out/kustomization.yaml").exists());
    // By its other name, and through a link that the operator made elsewhere.
    assert!(behind(&["bootstrap", "--out", "q/new/out"], 0).stdout.starts_with("nothing to do"));
    // What was left behind would define everything a second time.
    sandbox.remove("keys/sealed.txt");
    behind(&["bootstrap", "--start-over", "--out", "d/out"], 1);
    assert!(sandbox.path("q/deep/out/kustomization.yaml").exists());
    behind(&["bootstrap", "--out", "q/more/out"], 4);
    assert!(!sandbox.path("o/out").exists());
    behind(&["patch", "--write"], 0);
    assert!(sandbox.read("q/apps/shop/shop.yaml").contains("property: value"));
}

/// A disk that swaps what is at a path before the n-th operation for which that can make a difference. It also notes each file and
/// folder outside that is opened.
#[derive(Clone)]
struct Swapping {
    /// Relative to the folder that the run starts in.
    place: PathBuf,
    disk: Arc<dyn Disk>,
    folder: Arc<dyn FolderHandle>,
    run: Arc<Run>,
}

struct Run {
    count: AtomicUsize,
    at: usize,
    /// What is swapped, in the checkout `q`.
    victim: PathBuf,
    swap: Box<dyn Fn() + Send + Sync>,
    outside: BTreeSet<(u64, u64)>,
    opened: Mutex<Vec<String>>,
}

impl Swapping {
    /// Before an operation at the path, below it, or on its parent folder: for any other operation, it makes no difference if the link
    /// is swapped in before or after.
    fn step(&self, path: &Path) -> &dyn FolderHandle {
        let (at, victim) = (self.reached(path), &self.run.victim);
        let concerns = at.starts_with(victim) || Some(&*at) == victim.parent();
        if concerns && self.run.count.fetch_add(1, Ordering::SeqCst) == self.run.at {
            (self.run.swap)();
        }
        &*self.folder
    }

    /// Where a path leads in the checkout, by its text alone.
    fn reached(&self, path: &Path) -> PathBuf {
        let mut reached = PathBuf::new();
        for part in self.place.join(path).components() {
            match part {
                Component::ParentDir => drop(reached.pop()),
                Component::Normal(name) => reached.push(name),
                _ => {}
            }
        }
        reached.iter().skip_while(|part| *part != "q").collect()
    }

    fn note(&self, stat: Stat, path: &Path) {
        if self.run.outside.contains(&stat.identity) {
            self.run.opened.lock().unwrap().push(path.display().to_string());
        }
    }
}

impl Disk for Swapping {
    fn current_folder(&self) -> Result<PathBuf> {
        self.disk.current_folder()
    }

    fn canonicalize(&self, path: &Path) -> Result<PathBuf> {
        self.step(path);
        self.disk.canonicalize(path)
    }
}

impl FolderHandle for Swapping {
    fn stat(&self, path: &Path, links: Links) -> Result<Stat> {
        self.step(path).stat(path, links)
    }

    fn list(&self, path: &Path) -> Result<Vec<(OsString, Option<Kind>)>> {
        let listed = self.step(path).list(path);
        self.folder.stat(path, Links::Follow).map(|stat| self.note(stat, path))?;
        listed
    }

    fn open_folder(&self, path: &Path, links: Links) -> Result<Box<dyn FolderHandle>> {
        let folder: Arc<dyn FolderHandle> = Arc::from(self.step(path).open_folder(path, links)?);
        self.note(folder.stat(Path::new("."), Links::Keep)?, path);
        Ok(Box::new(Swapping { folder, place: self.place.join(path), ..self.clone() }))
    }

    fn open_file(&self, path: &Path, links: Links) -> Result<Box<dyn FileHandle>> {
        let file = self.step(path).open_file(path, links)?;
        self.note(file.stat()?, path);
        Ok(file)
    }

    fn create_file(&self, name: &str) -> Result<Box<dyn FileHandle>> {
        self.step(Path::new("")).create_file(name)
    }

    fn make_folder(&self, path: &Path, mode: u32) -> Result<()> {
        self.step(path).make_folder(path, mode)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<()> {
        self.step(path).set_mode(path, mode)
    }

    fn rename(&self, from: &str, to: &str, replaces: bool) -> Result<()> {
        self.step(Path::new("")).rename(from, to, replaces)
    }

    fn link(&self, from: &str, to: &str) -> Result<()> {
        self.step(Path::new("")).link(from, to)
    }

    fn unlink(&self, name: &str) -> Result<()> {
        self.step(Path::new("")).unlink(name)
    }

    fn sync(&self) -> Result<()> {
        self.step(Path::new("")).sync()
    }

    fn lock(&self) -> Result<Box<dyn Any + Send>> {
        self.step(Path::new("")).lock()
    }

    fn check_writable(&self, path: &Path) -> Result<()> {
        self.step(path).check_writable(path)
    }
}

/// Runs a command once per operation. Before that operation, what is at a path is swapped for a link to its like outside.
fn swaps(start: &Sandbox, command: &[&str], victim: &str) {
    for n in 0.. {
        let sandbox = start.copy();
        let (there, aside) = (sandbox.path("q").join(victim), sandbox.path("aside"));
        let like = sandbox.path("o").join(victim);
        let swap = move || {
            // The run itself may not have made it yet.
            if std::fs::rename(&there, &aside).is_ok() {
                symlink(&like, &there).unwrap();
            }
        };
        let before = tree(&sandbox, "o");
        let below = before.keys().cloned().chain([sandbox.path("o")]);
        let outside = below.map(|path| std::fs::metadata(path).map(|stat| (stat.dev(), stat.ino())).unwrap()).collect();
        let (count, victim_path) = (AtomicUsize::new(0), Path::new("q").join(victim));
        let run = Arc::new(Run { count, at: n, victim: victim_path, swap: Box::new(swap), outside, opened: Mutex::default() });
        let noting = run.clone();
        let swapping =
            |disk: Arc<dyn Disk>| Arc::new(Swapping { folder: disk.clone(), disk, place: PathBuf::new(), run: noting }) as Arc<dyn Disk>;
        let ran = sandbox.run_through(swapping, &[command, &PLATFORM].concat());
        let point = format!("{command:?}: {victim} before operation {n}: {} {}{}", ran.code, ran.stdout, ran.stderr);
        assert_eq!(*run.opened.lock().unwrap(), Vec::<String>::new(), "{point}");
        assert_eq!(tree(&sandbox, "o"), before, "{point}");
        assert!([0, 1, 3, 4, 5, 8, 9].contains(&ran.code) && !ran.stdout.contains("stolen"), "{point}");
        if run.count.load(Ordering::SeqCst) <= n {
            println!("{command:?}: {victim}: {n} operations");
            assert!(n > 2 && ran.code <= 1, "{point}");
            return;
        }
    }
}

/// What is swapped: a folder in the middle, the last folder, a file.
const VICTIMS: [&str; 3] = ["apps", "apps/shop", "apps/shop/shop.yaml"];

/// Like [`checkout`], sealed into `q/out`; all of that is outside as well.
fn sealed() -> Sandbox {
    let sandbox = checkout();
    sandbox.set("out: q/out\nstore: { file: q/deep/store.yaml }");
    run(&sandbox, &[&["bootstrap"]]).expect(0);
    for copied in ["out", "deep"] {
        let (from, to) = (sandbox.path("q").join(copied), sandbox.path("o"));
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    }
    sandbox
}

#[test]
fn a_link_that_is_swapped_in_is_not_followed_by_what_reads() {
    let sandbox = sealed();
    for victim in VICTIMS {
        swaps(&sandbox, &["contract", "--out", "q/out"], victim);
    }
    for victim in ["apps", "out", "out/secret-source", "out/kustomization.yaml", ".gitignore"] {
        swaps(&sandbox, &["verify", "--out", "q/out"], victim);
    }
    for victim in ["deep", "deep/store.yaml", "out"] {
        swaps(&sandbox, &["plan"], victim);
    }
}

#[test]
fn a_link_that_is_swapped_in_is_not_followed_by_patch() {
    let sandbox = sealed();
    for victim in VICTIMS {
        swaps(&sandbox, &["patch", "--out", "q/out"], victim);
        swaps(&sandbox, &["patch", "--write", "--out", "q/out"], victim);
    }
    sandbox.remove("q/out/property-patches/kustomization.yaml");
    for victim in ["out", "out/property-patches"] {
        swaps(&sandbox, &["patch", "--write", "--format", "component", "--out", "q/out"], victim);
    }
    // Missing parent folders are made.
    swaps(&sandbox, &["patch", "--write", "--format", "component", "--out", "q/deep/down/out"], "deep");
}

#[test]
fn a_link_that_is_swapped_in_is_not_followed_by_bootstrap() {
    let sandbox = sealed();
    swaps(&sandbox, &["re-encrypt", "--yes", "--out", "q/out"], "out/secret-source");
    sandbox.remove("q/out/kustomization.yaml");
    sandbox.edit("q/deep/store.yaml", "shop-reader", "somebody");
    for victim in ["deep", "deep/store.yaml", "out", "out/secret-source"] {
        swaps(&sandbox, &["bootstrap", "--yes"], victim);
    }
    swaps(&checkout(), &["bootstrap", "--out", "q/deep/out"], "deep");
}
