//! What a source Secret holds besides its sealed values: none of it is secret.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::DataKey;

/// The form of a source Secret. The default is the type Opaque, with sealed values only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Its type; none = Opaque.
    pub kind: Option<String>,
    /// On the SealedSecret and on the Secret.
    pub labels: BTreeMap<String, String>,
    /// On the SealedSecret and on the Secret.
    pub annotations: BTreeMap<String, String>,
    pub immutable: bool,
    /// What the controller writes into it besides the sealed values, by data key.
    pub texts: BTreeMap<DataKey, Text>,
}

/// A text with values in it. The controller renders it if it reads only values of its own Secret, by their data keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<K = DataKey>(pub Vec<Part<K>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<K = DataKey> {
    /// Literal text.
    Plain(String),
    /// A sealed value.
    Value { of: K, escape: Escape },
    /// What HTTP's basic authentication sends: the base64 of `user:value`.
    Basic { user: String, of: K },
}

words! {
    /// How a value is written into a text.
    Escape {
        /// As it is.
        None "none"
        /// Percent-encoded, so that it can stand anywhere in a URL.
        Url "url"
        /// As a JSON string with its quotes.
        Json "json"
        /// In base64.
        Base64 "base64"
    }
}

impl<K> Text<K> {
    /// A text that holds no value.
    pub fn plain(text: &str) -> Self {
        Text(vec![Part::Plain(text.to_owned())])
    }

    /// The values that it contains.
    pub fn reads(&self) -> impl Iterator<Item = &K> {
        self.0.iter().filter_map(|part| match part {
            Part::Plain(_) => None,
            Part::Value { of, .. } | Part::Basic { of, .. } => Some(of),
        })
    }

    /// The whole text, if it contains no value.
    pub fn as_plain(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Plain(text)] => Some(text),
            _ => None,
        }
    }

    /// The same, with adjacent plain parts joined.
    pub fn joined(self) -> Self {
        let mut parts: Vec<Part<K>> = Vec::new();
        for part in self.0 {
            match (parts.last_mut(), part) {
                (Some(Part::Plain(before)), Part::Plain(text)) => before.push_str(&text),
                (_, part) => parts.push(part),
            }
        }
        parts.retain(|part| !matches!(part, Part::Plain(text) if text.is_empty()));
        Text(parts)
    }

    /// The same, with the values renamed; none if one of them has no new name.
    pub fn renamed<L>(&self, name: impl Fn(&K) -> Option<L>) -> Option<Text<L>> {
        let part = |part: &Part<K>| {
            Some(match part {
                Part::Plain(text) => Part::Plain(text.clone()),
                Part::Value { of, escape } => Part::Value { of: name(of)?, escape: *escape },
                Part::Basic { user, of } => Part::Basic { user: user.clone(), of: name(of)? },
            })
        };
        self.0.iter().map(part).collect::<Option<_>>().map(Text)
    }
}

const UPPER: &[u8; 16] = b"0123456789ABCDEF";

impl Escape {
    /// Escapes like Go's `urlquery` (except for a space), `encoding/json` and `encoding/base64`.
    pub fn apply(self, value: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut text = Zeroizing::new(Vec::with_capacity(6 * value.len() + 2));
        match self {
            Escape::None => text.extend_from_slice(value),
            Escape::Base64 => return Zeroizing::new(BASE64_STANDARD.encode(value).into_bytes()),
            Escape::Url => {
                for byte in value {
                    match byte {
                        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(*byte),
                        _ => text.extend([b'%', UPPER[usize::from(byte >> 4)], UPPER[usize::from(byte & 15)]]),
                    }
                }
            }
            Escape::Json => {
                text.push(b'"');
                for character in String::from_utf8_lossy(value).chars() {
                    match character {
                        '"' => text.extend_from_slice(b"\\\""),
                        '\\' => text.extend_from_slice(b"\\\\"),
                        '\n' => text.extend_from_slice(b"\\n"),
                        '\r' => text.extend_from_slice(b"\\r"),
                        '\t' => text.extend_from_slice(b"\\t"),
                        '\u{8}' => text.extend_from_slice(b"\\b"),
                        '\u{c}' => text.extend_from_slice(b"\\f"),
                        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                            text.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
                        }
                        other => text.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
                    }
                }
                text.push(b'"');
            }
        }
        text
    }
}
