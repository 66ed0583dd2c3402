//! Work on several threads, the same way everywhere.

use std::num::NonZeroUsize;
use std::sync::Mutex;

use super::{Error, ErrorKind, Result};

/// Does this work for each item, on up to this many threads; the results are in the order of the items. A thread that panics is an error,
/// so none of its share is lost silently.
pub fn on_threads<T: Send, U: Send>(items: Vec<T>, threads: NonZeroUsize, work: impl Fn(T) -> U + Sync) -> Result<Vec<U>> {
    let (count, threads) = (items.len(), threads.get().min(items.len()));
    let queue = Mutex::new(items.into_iter().enumerate());
    let next = || queue.lock().ok()?.next();
    let run = || std::iter::from_fn(next).map(|(i, item)| (i, work(item))).collect::<Vec<_>>();
    let failed = |_| Error::new(ErrorKind::InputOutput, "a thread of this run failed", "run again, and report it if it stays");
    let shares = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|thread| thread.join().map_err(failed)).collect::<Result<Vec<_>>>()
    })?;
    let mut done: Vec<Option<U>> = (0..count).map(|_| None).collect();
    shares.into_iter().flatten().for_each(|(i, result)| done[i] = Some(result));
    Ok(done.into_iter().flatten().collect())
}
