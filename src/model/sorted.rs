//! Iterators into ordered sets and maps.

pub trait Sorted: Iterator + Sized {
    /// Like `collect`, for a set or a map. That sorts first, with four kilobytes of code for each type of item; this inserts.
    fn sorted<C: Default + Extend<Self::Item>>(self) -> C {
        let mut sorted = C::default();
        sorted.extend(self);
        sorted
    }
}

impl<I: Iterator> Sorted for I {}
