//! Catches the panic of a library that should return an error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Error, Result};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is being caught, so that it is not shown.
pub fn is_quiet() -> bool {
    QUIET.get()
}

/// The result of a library call; none if it panicked.
pub fn quietly<T>(make: impl FnOnce() -> T) -> Option<T> {
    let before = QUIET.replace(true);
    let made = catch_unwind(AssertUnwindSafe(make));
    QUIET.set(before);
    made.ok()
}

/// The result of a library call that draws its own randomness, and panics if it gets none.
pub fn drawing_itself<T>(make: impl FnOnce() -> T) -> Result<T> {
    quietly(make).ok_or_else(|| {
        let help = "try again once `head -c 32 /dev/urandom` works on this machine; if it does, report it";
        Error::cryptography("a library stopped that draws randomness", help)
    })
}
