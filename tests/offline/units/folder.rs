//! `world/folder.rs`

use std::path::Path;

use rustix::io::Errno;
use seal_secrets::model::Result;
use seal_secrets::world::files;
use seal_secrets::world::folder::{Existing, Folder, Writer, is_leftover};

use crate::simulated_disk::{FOLDER, Fault, SimulatedDisk, State};

/// The result of an action on the current folder, if the last of these operations fails like this.
fn failing<T>(start: &State, operation: &str, errno: Errno, act: fn(&SimulatedDisk) -> Result<T>) -> std::result::Result<T, String> {
    let good = SimulatedDisk::good(start);
    assert!(act(&good).is_ok());
    let n = good.calls().iter().rposition(|call| *call == operation).unwrap();
    act(&SimulatedDisk::failing(start, n, Fault::Error(errno))).map_err(|error| error.what())
}

fn here(disk: &SimulatedDisk) -> Folder {
    Folder::open(&*disk.disk(), Path::new(".")).unwrap().unwrap()
}

#[test]
fn a_parent_that_may_not_be_read_matters_only_to_a_folder_that_is_new() {
    let create = |disk: &SimulatedDisk| Folder::create(&*disk.disk(), Path::new("keys"), 0o700).map(|_| ());
    let (new, there) = (State::empty(), State::empty().with("keys/a", 0o600, b"a"));
    for (start, errno, expected) in [
        (&new, Errno::ACCESS, Err("cannot be made".to_owned())),
        (&there, Errno::ACCESS, Ok(())),
        (&new, Errno::IO, Err("cannot be made".to_owned())),
        (&there, Errno::IO, Err("cannot be made".to_owned())),
    ] {
        assert_eq!(failing(start, "open", errno, create), expected, "{errno:?}");
    }
}

#[test]
fn a_name_that_is_taken_at_the_last_moment_is_never_overwritten() {
    let write = |existing| {
        move |disk: &SimulatedDisk| {
            let folder = here(disk);
            Writer::new(&folder).write("a", b"new", 0o644, existing)
        }
    };
    for (existing, expected) in
        [(Existing::Keep, "already exists, and is never overwritten"), (Existing::AsRead(None), "it was changed meanwhile")]
    {
        let good = SimulatedDisk::good(&State::empty());
        write(existing)(&good).unwrap();
        assert_eq!(good.state().read("a").as_deref(), Some(&b"new"[..]));
        let n = good.calls().iter().position(|call| *call == "rename").unwrap();
        let taken = SimulatedDisk::failing(&State::empty(), n, Fault::Error(Errno::EXIST));
        assert_eq!(write(existing)(&taken).unwrap_err().what(), expected);
        assert!(taken.state().tree() == State::empty().tree(), "the temporary file is gone");
    }
    // It is also found before anything is written.
    let checked = |name, existing| here(&with(&["a"])).check(name, existing).map_err(|error| error.what());
    assert_eq!(checked("a", Existing::Keep), Err("already exists, and is never overwritten".to_owned()));
    assert_eq!([checked("a", Existing::AsRead(None)), checked("b", Existing::Keep)], [Ok(()), Ok(())]);
}

#[test]
fn a_path_below_may_begin_at_the_folder_and_never_leads_out_of_it() {
    let disk = SimulatedDisk::good(&State::empty().with("a/b/c", 0o644, b"c"));
    let here = here(&disk);
    for path in ["a/b", "./a/b", "a//b/", "a/./b"] {
        assert_eq!(here.beneath(Path::new(path)).unwrap().unwrap().names().unwrap(), ["c"], "{path}");
        assert_eq!(here.create_beneath(Path::new(path), 0o755).unwrap().names().unwrap(), ["c"], "{path}");
    }
    for path in ["..", "a/..", "a/../b", "/a"] {
        assert_eq!(here.beneath(Path::new(path)).map(|_| ()).unwrap_err().what(), "a path with `..` inside the checkout", "{path}");
    }
    for path in ["", "."] {
        assert_eq!(here.beneath(Path::new(path)).unwrap().unwrap().names().unwrap(), ["a"], "{path:?}");
        assert_eq!(here.create_beneath(Path::new(path), 0o755).unwrap().names().unwrap(), ["a"], "{path:?}");
    }
    assert!(here.beneath(Path::new("a/none")).unwrap().is_none());
}

#[test]
fn folders_that_are_made_on_the_way_outlast_a_loss_of_power() {
    for (there, syncs) in [("x", 3), ("a/x", 3), ("a/b/x", 3), ("a/b/c/x", 1)] {
        let disk = SimulatedDisk::good(&State::empty().with(there, 0o644, b"x"));
        here(&disk).create_beneath(Path::new("a/b/c"), 0o755).unwrap();
        assert!(disk.state().lasting().contains_key(Path::new("a/b/c")), "{there}");
        assert_eq!(disk.calls().iter().filter(|call| **call == "fsync").count(), syncs, "{there}");
    }
}

#[test]
fn only_what_a_run_named_itself_is_left_over_by_one() {
    assert!(is_leftover(".seal-secrets.123.4.tmp"));
    for name in [".seal-secrets.yaml", "notes.tmp", "seal-secrets.123.4.tmp", ".seal-secrets.123.4.tmp.orig"] {
        assert!(!is_leftover(name), "{name}");
    }
}

#[test]
fn a_folder_gets_its_mode_whatever_the_umask_and_whoever_makes_it() {
    let create = |disk: &SimulatedDisk| Folder::create(&*disk.disk(), Path::new("shared"), 0o777).map(|_| ());
    let mode = |disk: &SimulatedDisk| disk.state().tree()[Path::new("shared")].0;
    let made = SimulatedDisk::good(&State::empty());
    create(&made).unwrap();
    assert_eq!(mode(&made), FOLDER | 0o777);
    // Another run makes it just after this run looked: then it belongs to both.
    let meanwhile = SimulatedDisk::failing(&State::empty().with("shared/x", 0o644, b"x"), 1, Fault::Error(Errno::NOENT));
    Writer::new(&here(&meanwhile)).write("shared/a", b"a", 0o644, Existing::Keep).unwrap();
    assert_eq!(meanwhile.calls()[..3], ["open", "open", "mkdir"]);
    assert_eq!(["shared/x", "shared/a"].map(|file| meanwhile.state().read(file)), [Some(b"x".to_vec()), Some(b"a".to_vec())]);
    // If it cannot be made, the error says why.
    let failed = create(&SimulatedDisk::failing(&State::empty(), 2, Fault::Error(Errno::DQUOT))).unwrap_err();
    assert_eq!(failed.reason(), Some(std::io::Error::from(Errno::DQUOT).to_string()));
}

#[test]
fn a_lock_that_others_hold_for_an_instant_is_waited_for() {
    let start = State::empty();
    // The first operation opens the folder, and the second takes its lock.
    let locked = |errno, soon: bool| {
        let disk = SimulatedDisk::failing(&start, 1, Fault::Error(errno));
        let folder = here(&disk);
        let locked = if soon { folder.lock_soon() } else { folder.lock() };
        let tries = disk.calls().iter().filter(|call| **call == "flock").count();
        (locked.map(|_| ()).map_err(|error| error.what()), tries)
    };
    assert_eq!(locked(Errno::WOULDBLOCK, true), (Ok(()), 2));
    assert_eq!(locked(Errno::WOULDBLOCK, false), (Err("another run holds the lock".to_owned()), 1));
    assert_eq!(locked(Errno::IO, true), (Err("cannot be locked".to_owned()), 1));
}

const LEFTOVER: &str = ".seal-secrets.1.1.tmp";

/// A name so many folders below.
fn below(folders: usize, name: &str) -> String {
    "d/".repeat(folders) + name
}

/// A disk with these files.
fn with(files: &[&str]) -> SimulatedDisk {
    SimulatedDisk::good(&files.iter().fold(State::empty(), |state, file| state.with(file, 0o644, b"x")))
}

#[test]
fn all_files_below_are_read_but_hidden_ones_and_none_from_too_deep() {
    let (deep, too_deep) = (below(8, "x"), below(9, "x"));
    let hidden = [".y", ".hidden/x", "d/.hidden/x", ".git/x", "d/.git/x"];
    let disk = with(&[&[deep.as_str(), "a/y"], &hidden[..]].concat());
    let read = here(&disk).read_all().unwrap();
    assert_eq!(read.into_keys().collect::<Vec<_>>(), ["a/y", &deep]);
    let identity = |path| files::identity(&*disk.disk(), Path::new(path)).unwrap().unwrap();
    assert_eq!(here(&disk).identities().unwrap(), [".y", "a/y", &deep].map(identity), "a hidden file may be an input too");
    let error = here(&with(&[&too_deep])).read_all().unwrap_err();
    assert_eq!((error.what(), error.file()), ("nested too deep".to_owned(), format!("./{}", below(9, "").trim_end_matches('/'))));
}

#[test]
fn what_a_killed_run_left_is_removed_where_a_run_writes() {
    let (deep, too_deep, hidden) = (below(8, LEFTOVER), below(9, LEFTOVER), format!(".hidden/{LEFTOVER}"));
    let files = [LEFTOVER, &deep, &too_deep, &hidden, "d/notes.tmp"];
    let left = |disk: &SimulatedDisk| files.into_iter().filter(|file| disk.state().read(file).is_some()).collect::<Vec<_>>();
    let all = with(&files);
    assert_eq!(here(&all).remove_leftovers(), Ok(2));
    assert_eq!(left(&all), [&too_deep, &hidden, "d/notes.tmp"]);
    let one = with(&files);
    here(&one).remove_leftovers_here().unwrap();
    assert_eq!(left(&one), files[1..]);
}

#[test]
fn a_file_of_the_folder_is_read_whole_or_not_at_all() {
    const MOST: usize = 16 << 20;
    let state = |bytes: usize| State::empty().with("a", 0o644, &vec![b'x'; bytes]);
    for bytes in [0, 1, MOST - 1, MOST] {
        assert_eq!(here(&SimulatedDisk::good(&state(bytes))).read_file("a").unwrap().len(), bytes);
    }
    assert_eq!(here(&SimulatedDisk::good(&state(MOST + 1))).read_file("a").unwrap_err().what(), "larger than 16 MiB");
}

#[test]
fn a_file_system_that_cannot_rename_without_replacing_gets_a_second_name_instead() {
    for (errno, existing, expected) in [
        (Errno::INVAL, Existing::Keep, Ok(())),
        (Errno::OPNOTSUPP, Existing::AsRead(None), Ok(())),
        (Errno::IO, Existing::Keep, Err("cannot be put in place".to_owned())),
        (Errno::INVAL, Existing::AsRead(Some(b"x")), Err("cannot be put in place".to_owned())),
    ] {
        let start = if expected.is_ok() || errno == Errno::IO { State::empty() } else { State::empty().with("a", 0o644, b"x") };
        let write = |disk: &SimulatedDisk| Writer::new(&here(disk)).write("a", b"new", 0o644, existing);
        let good = SimulatedDisk::good(&start);
        write(&good).unwrap();
        let n = good.calls().iter().position(|call| *call == "rename").unwrap();
        let disk = SimulatedDisk::failing(&start, n, Fault::Error(errno));
        assert_eq!(write(&disk).map_err(|error| error.what()), expected, "{errno:?}");
        let wanted = if expected.is_ok() { good.state().tree() } else { start.tree() };
        assert!(disk.state().tree() == wanted, "{errno:?}: no temporary file is left");
    }
}
