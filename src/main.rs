//! The process: hardened, then one run in the real world.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use seal_secrets::world::{World, process};

fn main() -> ExitCode {
    process::harden();
    let mut world = World { home: std::env::home_dir(), state: state(), variable, ..World::real() };
    let args: Vec<OsString> = std::env::args_os().collect();
    ExitCode::from(match args.get(1..) {
        Some([flag]) if flag == "--version" => version(&mut world),
        _ => seal_secrets::run(args, &mut world),
    })
}

/// Which build this is. `-V`, and other output with the version, has only the number.
fn version(world: &mut World) -> u8 {
    let printed = world.terminal.print(concat!("seal-secrets ", env!("SEAL_SECRETS_BUILD"), "\n"));
    printed.map_or_else(
        |error| {
            world.terminal.tell(&format!("{error}\n"));
            error.kind.exit_code()
        },
        |()| 0,
    )
}

/// The folder for state, by the XDG Base Directory Specification; a relative path counts as none.
fn state() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = named.or_else(|| Some(std::env::home_dir()?.join(".local/state")).filter(|path| path.is_absolute()))?;
    Some(state.join("seal-secrets"))
}

/// Anything that is not UTF-8 is replaced, so that a variable that is set does not count as unset.
fn variable(name: &str) -> Option<String> {
    Some(std::env::var_os(name)?.to_string_lossy().into_owned())
}
