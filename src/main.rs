//! The process: hardened, then one run in the real world.

use std::process::ExitCode;

use seal_secrets::world::{World, process};

fn main() -> ExitCode {
    process::harden();
    ExitCode::from(seal_secrets::run(std::env::args_os(), &mut World { home: std::env::home_dir(), ..World::real() }))
}
