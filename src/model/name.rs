//! Names as Kubernetes accepts them, and the scope that binds a sealed value to them.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;

use super::{Error, PROPERTY, Result};

/// Strings that were checked when they were created.
macro_rules! checked {
    ($($(#[$about:meta])* $kind:ident)*) => { $(
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $kind(String);

        impl $kind {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $kind {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    )* };
}

checked! {
    /// A contract key: the name of its SealedSecret, of its source Secret, and an ExternalSecret's
    /// `remoteRef.key`. Also a unit's name, and any other object's. A DNS-1123 subdomain.
    Name
    /// A namespace's name: a DNS-1123 label.
    Namespace
    /// A key under a Secret's `data`: `[-._a-zA-Z0-9]{1,253}`, neither `.` nor `..`.
    DataKey
}

/// A value of the contract: `SECRET`, or `SECRET/DATAKEY` if its data key is not `value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName {
    text: String,
    /// The length of the Secret's name, in bytes.
    secret: usize,
}

impl KeyName {
    /// Reads `SECRET` or `SECRET/DATAKEY`.
    pub fn new(text: &str) -> Result<Self> {
        let (secret, property) = text.split_once('/').unwrap_or((text, PROPERTY));
        Ok(KeyName::of(&Name::new(secret)?, &DataKey::new(property)?))
    }

    /// The value under a data key of a Secret.
    pub fn of(secret: &Name, property: &DataKey) -> Self {
        let text = if property.as_str() == PROPERTY { secret.to_string() } else { format!("{secret}/{property}") };
        KeyName { text, secret: secret.as_str().len() }
    }

    /// The name of its source Secret.
    pub fn secret(&self) -> &str {
        &self.text[..self.secret]
    }

    /// Its data key.
    pub fn property(&self) -> &str {
        self.text.get(self.secret + 1..).unwrap_or(PROPERTY)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As a file name. No Secret's name contains a `_`.
    pub fn file_name(&self) -> String {
        self.text.replacen('/', "_", 1)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl Name {
    /// Kubernetes' `IsDNS1123Subdomain`: labels of `[a-z0-9]([-a-z0-9]*[a-z0-9])?` joined by dots, at most 253 bytes.
    pub fn new(text: &str) -> Result<Self> {
        if text.len() <= 253 && text.split('.').all(is_label) {
            return Ok(Name(text.to_owned()));
        }
        let help =
            "use lower-case letters, digits, `-` (not `_`) and `.`, at most 253 characters, and begin and end with a letter or digit";
        Err(Error::bad_input("not a DNS-1123 name", help))
    }
}

impl Namespace {
    /// Kubernetes' `IsDNS1123Label`: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, at most 63 bytes.
    pub fn new(text: &str) -> Result<Self> {
        if text.len() <= 63 && is_label(text) {
            return Ok(Namespace(text.to_owned()));
        }
        let help = "use lower-case letters, digits and `-`, at most 63 characters, and begin and end with a letter or digit";
        Err(Error::bad_input("not a DNS-1123 label, which a namespace must be", help))
    }
}

impl DataKey {
    /// Kubernetes' `IsConfigMapKey`.
    pub fn new(text: &str) -> Result<Self> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let dots = text == "." || text.starts_with("..");
        if (1..=253).contains(&text.len()) && text.bytes().all(legal) && !dots {
            return Ok(DataKey(text.to_owned()));
        }
        let help = "use letters, digits, `-`, `_` and `.`, at most 253 characters, and do not begin with `..`";
        Err(Error::bad_input("not a valid data key of a Secret", help))
    }
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    !bytes.is_empty() && bytes.iter().all(inner) && bytes[0] != b'-' && bytes[bytes.len() - 1] != b'-'
}

words! {
    /// What a sealed value is bound to (sealed-secrets `pkg/apis/sealedsecrets/v1alpha1`, `SealingScope`), as kubeseal's `--scope`
    /// writes it.
    Scope {
        /// Namespace and name.
        Strict "strict"
        /// The namespace only.
        NamespaceWide "namespace-wide"
        /// Nothing: it opens anywhere in the cluster.
        ClusterWide "cluster-wide"
    }
}

impl Scope {
    /// The OAEP label (sealed-secrets `EncryptionLabel`; its `crypto.md` omits the slash and is wrong).
    pub fn label(self, namespace: &str, name: &str) -> String {
        match self {
            Scope::Strict => format!("{namespace}/{name}"),
            Scope::NamespaceWide => namespace.to_owned(),
            Scope::ClusterWide => String::new(),
        }
    }
}

/// What sealed values may be bound to, besides what their files say.
#[derive(Clone, Default)]
pub struct Hints {
    pub name: Option<Name>,
    pub namespace: Option<Namespace>,
    pub scope: Option<Scope>,
    /// Namespaces that kustomizations set, as written.
    pub namespaces: BTreeSet<String>,
}
