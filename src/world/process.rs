//! The process itself: no core dump may contain a secret, and no signal may end it while the terminal's echo is off.

use std::collections::BTreeSet;
use std::fs;
use std::iter;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::process::{Pid, Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;

use crate::model::{Sorted, is_quiet};

/// Switches core dumps off, keeps other processes of the same user from reading this one's memory, and turns the signal of a file-size
/// limit into an ordinary error. A caught panic is not shown. A call that the system refuses here is ignored: it would refuse a dump too.
pub fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let _ = flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_quiet() {
            shown(panic);
        }
    }));
}

/// A period in which the usual signals do not end the process, but are recorded.
pub(super) struct Undisturbed(&'static Signals);

struct Signals {
    /// The latest signal; 0 = none.
    came: Arc<AtomicUsize>,
    end_it: Arc<AtomicBool>,
}

impl Undisturbed {
    /// Begins the period. Before and after it, these signals work as usual.
    pub(super) fn begin() -> Self {
        static SIGNALS: OnceLock<Signals> = OnceLock::new();
        let signals = SIGNALS.get_or_init(|| {
            let signals = Signals { came: Arc::default(), end_it: Arc::default() };
            for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
                // A signal that cannot be registered ends the process as usual.
                let _ = flag::register_conditional_default(signal, signals.end_it.clone());
                let _ = flag::register_usize(signal, signals.came.clone(), signal as usize);
            }
            signals
        });
        signals.end_it.store(false, Ordering::SeqCst);
        Undisturbed(signals)
    }

    pub(super) fn signal(&self) -> Option<u8> {
        u8::try_from(self.0.came.load(Ordering::SeqCst)).ok().filter(|signal| *signal > 0)
    }

    /// Ends the period; returns the signal that arrived meanwhile, if any.
    pub(super) fn end(self) -> Option<u8> {
        self.0.end_it.store(true, Ordering::SeqCst);
        let signal = self.signal();
        self.0.came.store(0, Ordering::SeqCst);
        signal
    }
}

/// Ends the processes that this one started, and those that they started (Linux: `/proc/PID/stat`, proc(5)). While a plugin of age runs,
/// there are no others.
pub(super) fn end_children() {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<(i32, i32)> = numbers.filter_map(|process| Some((process, parent_of(process)?))).collect();
    let own = getpid().as_raw_nonzero().get();
    let mut family: BTreeSet<_> = iter::once(own).sorted();
    let mut before = 0;
    while family.len() > before {
        before = family.len();
        let children: Vec<i32> = all.iter().filter(|(_, parent)| family.contains(parent)).map(|(one, _)| *one).collect();
        family.extend(children);
    }
    for process in family.into_iter().filter(|one| *one != own).filter_map(Pid::from_raw) {
        let _ = kill_process(process, Signal::KILL);
    }
}

/// The number after the state, which follows a name in parentheses that may contain any character.
fn parent_of(process: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
