//! Work on several threads.

use std::num::NonZeroUsize;

use seal_secrets::model::{ErrorKind, on_threads};

#[test]
fn every_item_is_worked_on_in_order_and_a_thread_that_panics_is_an_error() {
    for threads in [1, 2, 7] {
        let threads = NonZeroUsize::new(threads).unwrap();
        for count in [0, 1, 5, 100] {
            let squares: Vec<usize> = (0..count).map(|n| n * n).collect();
            assert_eq!(on_threads((0..count).collect(), threads, |n: usize| n * n), Ok(squares));
        }
        let failed = on_threads(vec![1, 2, 3], threads, |n| assert!(n != 2, "it is meant to panic")).unwrap_err();
        assert_eq!((failed.kind, failed.what().as_str()), (ErrorKind::InputOutput, "a thread of this run failed"));
    }
}
