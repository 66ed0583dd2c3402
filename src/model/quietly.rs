//! A library that panics where it should fail.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Error, Result};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is being caught: then nobody has to be shown it.
pub fn is_quiet() -> bool {
    QUIET.get()
}

/// What a library made; none if it panicked.
pub fn quietly<T>(make: impl FnOnce() -> T) -> Option<T> {
    let before = QUIET.replace(true);
    let made = catch_unwind(AssertUnwindSafe(make));
    QUIET.set(before);
    made.ok()
}

/// What a library made that draws its randomness itself, and panics if it gets none.
pub fn drawing_itself<T>(make: impl FnOnce() -> T) -> Result<T> {
    quietly(make).ok_or_else(|| {
        let help = "try again once `head -c 32 /dev/urandom` works on this machine; if it does, report it";
        Error::cryptography("a library stopped that draws randomness", help)
    })
}
