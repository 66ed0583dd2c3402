//! The process itself: no core dump may hold a secret.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::model::is_quiet;

/// Switches core dumps off, keeps other processes of the same user from reading this one's memory, and turns the
/// signal of a file-size limit into an ordinary error. A panic that is caught is not shown. What the system refuses here it would refuse to a dump as well.
pub fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_quiet() {
            shown(panic);
        }
    }));
}
