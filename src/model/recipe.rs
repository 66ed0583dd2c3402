//! How a value is made.

use std::collections::BTreeSet;

use super::{KeyName, Sorted, Text};

/// The allowed numbers in recipes.
pub mod ranges {
    use std::ops::RangeInclusive;

    pub const BYTES: RangeInclusive<u32> = 1..=512;
    /// In characters.
    pub const LENGTH: RangeInclusive<u32> = 1..=1024;
    /// The binary logarithm of bcrypt's rounds: what Dex accepts.
    pub const COST: RangeInclusive<u32> = 10..=16;
    /// Argon2's memory, in KiB.
    pub const MEMORY: RangeInclusive<u32> = 19_456..=1 << 20;
    pub const ITERATIONS: RangeInclusive<u32> = 2..=16;
    pub const PARALLELISM: RangeInclusive<u32> = 1..=16;
    /// A certificate's lifetime.
    pub const DAYS: RangeInclusive<u32> = 1..=36_500;
}

#[derive(Clone, Debug)]
pub enum Recipe {
    /// `prefix` and `bytes` random bytes in lower-case hex.
    Hex { bytes: usize, prefix: String },
    /// `bytes` random bytes in base64 with padding.
    Base64 { bytes: usize },
    /// `bytes` random bytes in base64url without padding.
    Base64Url { bytes: usize },
    /// `length` characters of `[0-9A-Za-z]`.
    Alphanumeric { length: usize },
    /// `length` characters, at least one of each class.
    Password { length: usize, classes: Vec<Class>, without: String },
    /// A random UUID (version 4).
    Uuid,
    /// A private key.
    PrivateKey { algorithm: Algorithm, format: KeyFormat },
    Provided {
        /// A pattern that the whole value must match.
        pattern: Option<regex::bytes::Regex>,
        hint: Option<String>,
        /// Whether the final line feed of a single line belongs to the value.
        lines: bool,
    },
    /// The bcrypt hash of another value.
    Bcrypt {
        of: KeyName,
        /// The binary logarithm of the number of rounds.
        cost: u32,
        version: BcryptVersion,
    },
    /// A line of Apache's htpasswd with the bcrypt hash of another value, version `2y`.
    Htpasswd { user: String, of: KeyName, cost: u32 },
    /// The Argon2id hash of another value, as a PHC string.
    Argon2id {
        of: KeyName,
        /// In KiB.
        memory: u32,
        iterations: u32,
        parallelism: u32,
    },
    /// The public half of a private key.
    PublicKey { of: KeyName, format: KeyFormat },
    /// A certificate for a private key, in PEM.
    Certificate { of: KeyName, names: Vec<String>, days: u32, issuer: Issuer },
    /// The same as another value.
    Same { of: KeyName },
    /// A text with values of other Secrets in it.
    Text(Text<KeyName>),
}

words! {
    Class {
        Lower "lower"
        Upper "upper"
        Digits "digits"
        Symbols "symbols"
    }
}

impl Class {
    /// Its characters.
    pub fn characters(self) -> &'static str {
        match self {
            Class::Lower => "abcdefghijklmnopqrstuvwxyz",
            Class::Upper => "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            Class::Digits => "0123456789",
            // Printable ASCII without space and without what shells, URLs and YAML quote: `"$'\` and backquotes.
            Class::Symbols => "!#%&()*+,-./:;<=>?@[]^_{|}~",
        }
    }
}

words! {
    BcryptVersion {
        TwoA "2a"
        TwoB "2b"
        TwoY "2y"
    }
}

words! {
    Algorithm {
        Ed25519 "ed25519"
        P256 "p256"
        Rsa2048 "rsa-2048"
        Rsa3072 "rsa-3072"
        Rsa4096 "rsa-4096"
    }
}

words! {
    /// The format of a key.
    KeyFormat {
        /// PKCS#8, and SubjectPublicKeyInfo.
        Pem "pem"
        /// A JSON Web Key (RFC 7517).
        Jwk "jwk"
        /// The format of `ssh-keygen`.
        OpenSsh "openssh"
    }
}

/// Who signs a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// Its own key; it may sign nothing else.
    Own,
    /// Its own key; it may sign others.
    Authority,
    /// Another private key, with its certificate.
    By { key: KeyName, certificate: KeyName },
}

impl Recipe {
    /// The values that it is made from, each once; none if it needs only randomness, or the operator.
    pub fn sources(&self) -> Vec<&KeyName> {
        match self {
            Recipe::Bcrypt { of, .. }
            | Recipe::Htpasswd { of, .. }
            | Recipe::Argon2id { of, .. }
            | Recipe::PublicKey { of, .. }
            | Recipe::Same { of } => vec![of],
            Recipe::Certificate { of, issuer: Issuer::By { key, certificate }, .. } => vec![of, key, certificate],
            Recipe::Certificate { of, .. } => vec![of],
            Recipe::Text(text) => text.reads().sorted::<BTreeSet<_>>().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The same, made from other values.
    pub fn renamed(self, name: &dyn Fn(&KeyName) -> KeyName) -> Recipe {
        match self {
            Recipe::Bcrypt { of, cost, version } => Recipe::Bcrypt { of: name(&of), cost, version },
            Recipe::Htpasswd { user, of, cost } => Recipe::Htpasswd { user, of: name(&of), cost },
            Recipe::Argon2id { of, memory, iterations, parallelism } => Recipe::Argon2id { of: name(&of), memory, iterations, parallelism },
            Recipe::PublicKey { of, format } => Recipe::PublicKey { of: name(&of), format },
            Recipe::Same { of } => Recipe::Same { of: name(&of) },
            Recipe::Certificate { of, names, days, issuer } => {
                let issuer = match issuer {
                    Issuer::By { key, certificate } => Issuer::By { key: name(&key), certificate: name(&certificate) },
                    own => own,
                };
                Recipe::Certificate { of: name(&of), names, days, issuer }
            }
            other => other,
        }
    }

    /// Whether it is made from other values.
    pub fn is_derived(&self) -> bool {
        !self.sources().is_empty()
    }

    /// Whether it is a hash of a password, so that several values fit the same password.
    pub fn is_hash(&self) -> bool {
        matches!(self, Recipe::Bcrypt { .. } | Recipe::Htpasswd { .. } | Recipe::Argon2id { .. })
    }

    /// The length of its values in bytes, if that is fixed.
    pub fn length(&self) -> Option<usize> {
        match self {
            Recipe::Hex { bytes, prefix } => Some(prefix.len() + 2 * bytes),
            Recipe::Base64 { bytes } => Some(bytes.div_ceil(3) * 4),
            Recipe::Base64Url { bytes } => Some((bytes * 4).div_ceil(3)),
            Recipe::Alphanumeric { length } | Recipe::Password { length, .. } => Some(*length),
            Recipe::Uuid => Some(36),
            Recipe::Bcrypt { .. } => Some(60),
            Recipe::Htpasswd { user, .. } => Some(user.len() + 1 + 60),
            _ => None,
        }
    }

    /// The recipe in a few words.
    pub fn describe(&self) -> String {
        match self {
            Recipe::Hex { bytes, prefix } if prefix.is_empty() => format!("{} hex", 2 * bytes),
            Recipe::Hex { bytes, prefix } => format!("{prefix} + {} hex", 2 * bytes),
            Recipe::Base64 { bytes } => format!("{bytes} bytes base64"),
            Recipe::Base64Url { bytes } => format!("{bytes} bytes base64url"),
            Recipe::Alphanumeric { length } => format!("{length} alphanumeric"),
            Recipe::Password { length, classes, .. } => {
                let classes: Vec<&str> = classes.iter().map(|class| class.as_str()).collect();
                format!("{length} {}", classes.join("+"))
            }
            Recipe::Uuid => "uuid".to_owned(),
            Recipe::PrivateKey { algorithm, format } => format!("{} private key, {}", algorithm.as_str(), format.as_str()),
            Recipe::Provided { .. } => "provided".to_owned(),
            Recipe::Bcrypt { of, cost, version: BcryptVersion::TwoA } => format!("bcrypt {cost} of {of}"),
            Recipe::Bcrypt { of, cost, version } => format!("bcrypt {} {cost} of {of}", version.as_str()),
            Recipe::Htpasswd { user, of, cost } => format!("htpasswd {cost} of {user} and {of}"),
            Recipe::Argon2id { of, .. } => format!("argon2id of {of}"),
            Recipe::PublicKey { of, format } => format!("public half of {of}, {}", format.as_str()),
            Recipe::Certificate { of, issuer: Issuer::By { key, .. }, .. } => format!("certificate of {of} by {key}"),
            Recipe::Certificate { of, issuer: Issuer::Authority, .. } => format!("authority's certificate of {of}"),
            Recipe::Certificate { of, issuer: Issuer::Own, .. } => format!("self-signed certificate of {of}"),
            Recipe::Same { of } => format!("same as {of}"),
            Recipe::Text(_) => format!("text with {}", self.sources().into_iter().map(KeyName::as_str).collect::<Vec<_>>().join(", ")),
        }
    }
}
