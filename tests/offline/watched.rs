//! What a person at a terminal sees besides the text: the progress of a long run, and color. Neither reaches a pipe.

use std::time::{Duration, Instant};

use regex::Regex;
use seal_secrets::world::World;

use crate::common::{Drawing, KEY, Sandbox, Shared, key_entropy};

/// With no delay every line is shown at once, and with an endless one none is.
const AT_ONCE: Duration = Duration::ZERO;
const NEVER: Duration = Duration::MAX;

/// Begins the line again, and clears it.
const CLEAR: &str = "\r\u{1b}[K";

fn plain(world: World, _: Shared) -> World {
    World { variable: |name| ["NO_COLOR", "TERM"].contains(&name).then(|| "xterm".to_owned()), ..world }
}

fn colored(world: World, _: Shared) -> World {
    World { variable: |name| (name == "TERM").then(|| "xterm".to_owned()), ..world }
}

fn dumb(world: World, _: Shared) -> World {
    World { variable: |name| (name == "TERM").then(|| "dumb".to_owned()), ..world }
}

fn unknown(world: World, _: Shared) -> World {
    World { variable: |_| None, ..world }
}

/// The usual key; its primes are drawn once the progress line is shown.
fn waiting(world: World, stderr: Shared) -> World {
    let (mut draw, begun) = (key_entropy(KEY, 4096), Instant::now());
    let entropy = move |bytes: &mut [u8]| {
        while bytes.len() == 256 && !stderr.text().contains("making a sealing key (") {
            assert!(begun.elapsed() < Duration::from_secs(300), "nothing is shown");
            std::thread::yield_now();
        }
        draw(bytes)
    };
    World { entropy: Box::new(Drawing(entropy)), ..plain(world, Shared::default()) }
}

#[test]
fn a_key_that_takes_long_to_make_is_shown_to_be_made_until_it_is() {
    let line = Regex::new(&format!(r"^({CLEAR}making a sealing key \(\d+ s\))+{CLEAR}", CLEAR = regex::escape(CLEAR))).unwrap();
    let sandbox = Sandbox::empty();
    let ran = sandbox.run_watched(AT_ONCE, waiting, &["keygen"]);
    assert_eq!((ran.code, line.replace(&ran.stderr, "").as_ref()), (0, ""), "{ran:?}");
    let ran = sandbox.run_watched(AT_ONCE, waiting, &["renew", "--yes"]);
    assert_eq!((ran.code, line.replace(&ran.stderr, "")), (0, sandbox.will_open_for(&[&sandbox.own_recipient()]).into()), "{ran:?}");
    let quick = |world, stderr| World { entropy: Box::new(Drawing(key_entropy(KEY, 4096))), ..plain(world, stderr) };
    Sandbox::empty().run_watched(NEVER, quick, &["keygen"]).told("");
}

/// So many copies of one file.
fn with_files(count: usize) -> Sandbox {
    let sandbox = Sandbox::bootstrapped();
    let text = sandbox.read("out/secret-source/vllm-api-key.sealed.yaml");
    (0..count).for_each(|at| sandbox.write(&format!("apps/{at:03}.yaml"), text.as_bytes()));
    sandbox
}

#[test]
fn many_files_are_counted_in_a_line_that_is_gone_before_anything_else_is_written() {
    let sandbox = with_files(130);
    let counted = |between: &str| {
        let lines = [0, 64, 128].map(|at| format!("{CLEAR}{at} of 130 files"));
        lines.join(between) + CLEAR
    };
    for (args, between) in [
        // Each file's own line goes to standard output, which is the same terminal.
        (vec!["status", "apps"], CLEAR),
        (vec!["status", "apps", "-o", "json"], ""),
        (vec!["re-encrypt", "apps", "--dry-run"], ""),
    ] {
        let ran = sandbox.run_watched(AT_ONCE, plain, &args);
        assert_eq!((ran.code, ran.stderr), (0, counted(between)), "{args:?}");
        assert_eq!(ran.stdout, sandbox.run(&args).expect(0).stdout, "{args:?}");
        sandbox.run_watched(NEVER, plain, &args).told("");
    }
    with_files(64).run_watched(AT_ONCE, plain, &["status", "apps"]).told("");
    for terminal in [dumb, unknown] {
        sandbox.run_watched(AT_ONCE, terminal, &["status", "apps"]).told("");
    }
}

#[test]
fn whoever_wants_it_quiet_sees_no_progress() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.run_watched(AT_ONCE, plain, &["verify", "-q", "--identity", "keys/operator.agekey"]).told("");
}

/// The text without color.
fn without(colors: &str) -> String {
    Regex::new("\u{1b}\\[[0-9;]+m").unwrap().replace_all(colors, "").into_owned()
}

#[test]
fn color_repeats_what_the_words_say_and_only_where_a_person_reads() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.remove("out/secret-source/vllm-api-key.sealed.yaml");
    let text = sandbox.run(["verify"]).expect(1).stdout;
    let ran = sandbox.run_watched(NEVER, colored, &["verify", "--verbose"]);
    for word in
        ["\u{1b}[1;31merror[unit-missing]\u{1b}[0m: ", "\u{1b}[1;33mwarning[few-recipients]\u{1b}[0m: ", "  \u{1b}[1;36mhelp:\u{1b}[0m "]
    {
        assert!(ran.stdout.contains(word), "{word:?}: {}", ran.stdout);
    }
    assert_eq!(without(&ran.stdout), text);
    let on = |args: &[&str]| sandbox.run(args).stdout;
    assert_eq!(on(&["--color", "always", "verify"]), ran.stdout);
    for plain in [
        on(&["verify"]),
        on(&["verify", "--color", "auto"]),
        sandbox.run_watched(NEVER, plain, &["verify", "--verbose"]).stdout,
        sandbox.run_watched(NEVER, dumb, &["verify", "--verbose"]).stdout,
        sandbox.run_watched(NEVER, unknown, &["verify", "--verbose"]).stdout,
        sandbox.run_watched(NEVER, colored, &["verify", "--verbose", "--color", "never"]).stdout,
    ] {
        assert_eq!(plain, text);
    }
    let json = ["verify", "-o", "json", "--color", "always"];
    assert_eq!(on(&json), on(&["verify", "-o", "json"]), "data has no color");
    let manifest = ["contract", "--format", "yaml", "--color", "always"];
    assert_eq!(on(&manifest), on(&manifest[..3]));
}

#[test]
fn an_error_and_a_warning_are_colored_on_standard_error() {
    let sandbox = Sandbox::bootstrapped();
    let error = sandbox.run_watched(NEVER, colored, &["explain", "unit-mising"]);
    let text = "\u{1b}[1;31merror:\u{1b}[0m there is no such code\n\u{1b}[1;36mhelp:\u{1b}[0m did you mean `unit-missing`?\n";
    assert_eq!((error.code, error.stderr.as_str()), (2, text));
    // An unreadable command line, too.
    let error = sandbox.run_watched(NEVER, colored, &["verfy"]);
    assert!(error.stderr.starts_with("\u{1b}[1;31merror:\u{1b}[0m unknown command\n"), "{}", error.stderr);
    assert_eq!(sandbox.run(["explain", "unit-mising"]).stderr, without(text));
}
