//! The process: hardened, then one run in the real world.

use std::path::PathBuf;
use std::process::ExitCode;

use seal_secrets::world::{World, process};

fn main() -> ExitCode {
    process::harden();
    let mut world = World { home: std::env::home_dir(), state: state(), variable, ..World::real() };
    ExitCode::from(seal_secrets::run(std::env::args_os(), &mut world))
}

/// Where programs keep their state, as the XDG Base Directory Specification says; a relative path there counts as none.
fn state() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = named.or_else(|| Some(std::env::home_dir()?.join(".local/state")).filter(|path| path.is_absolute()))?;
    Some(state.join("seal-secrets"))
}

/// What is not UTF-8 in it is replaced: nothing that is set counts as not set.
fn variable(name: &str) -> Option<String> {
    Some(std::env::var_os(name)?.to_string_lossy().into_owned())
}
