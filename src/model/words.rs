//! Enums whose variants have one word each: the same in output, in JSON, and in the documents.

macro_rules! words {
    ($(#[$meta:meta])* $kind:ident { $($(#[$about:meta])* $variant:ident $word:literal)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $kind { $($(#[$about])* $variant),* }

        impl $kind {
            /// All of them, in the order of the documents.
            pub const ALL: &'static [$kind] = &[$($kind::$variant),*];

            /// Its word.
            pub fn as_str(self) -> &'static str {
                match self { $($kind::$variant => $word),* }
            }
        }
    };
}
