//! What a run would do: one value that is printed, converted to JSON, and carried out.

use std::collections::BTreeMap;

use super::{CertificateDigest, Finding, KeyName, Name};

words! {
    /// Why a change is made.
    Reason {
        /// It never existed.
        New "new"
        /// It existed, and is gone.
        Missing "missing"
        /// The operator provides it in this run.
        Provided "provided"
        /// It exists, and is replaced by another value.
        Replaced "replaced"
        /// Something that it follows from changed.
        Updated "updated"
        /// It was edited by hand.
        Restored "restored"
    }
}

/// One step. Paths are relative to `out/`, with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Seal values of a unit into its file. Its existing values stay, unless they are among the keys.
    Seal {
        unit: Name,
        file: String,
        /// The keys whose values are made; none = only the text around the sealed values changes.
        keys: Vec<KeyName>,
        /// The keys whose value is also copied for the operator.
        copies: Vec<KeyName>,
        reason: Reason,
    },
    /// Write a file that follows from the contract and the units.
    Write {
        file: String,
        /// Its whole new content; no secret, by construction.
        text: String,
        reason: Reason,
    },
    /// Write the store to a file of the platform, outside of `out/`.
    Place {
        file: String,
        /// Its whole new content; no secret, by construction.
        text: String,
        reason: Reason,
    },
    /// Write an operator's copy from the sealed value.
    Copy { key: KeyName, file: String, reason: Reason },
    /// Remember units outside of `out/`, next to the certificate.
    Remember {
        file: String,
        /// All remembered units of this output folder afterwards, and whether each is write-once.
        units: BTreeMap<Name, bool>,
        reason: Reason,
    },
}

impl Change {
    pub fn file(&self) -> &str {
        match self {
            Change::Seal { file, .. }
            | Change::Write { file, .. }
            | Change::Place { file, .. }
            | Change::Copy { file, .. }
            | Change::Remember { file, .. } => file,
        }
    }
}

impl Plan {
    /// The keys whose operator's copies it writes.
    pub fn copies(&self) -> impl Iterator<Item = &KeyName> {
        self.changes.iter().flat_map(|change| match change {
            Change::Seal { copies, .. } => copies.as_slice(),
            Change::Copy { key, .. } => std::slice::from_ref(key),
            _ => &[],
        })
    }

    /// Whether it remembers something in the keys folder.
    pub fn remembers(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::Remember { .. }))
    }

    /// The keys whose values it seals.
    pub fn sealed(&self) -> impl Iterator<Item = &KeyName> {
        self.changes.iter().flat_map(|change| match change {
            Change::Seal { keys, .. } => keys.as_slice(),
            _ => &[],
        })
    }
}

/// The steps from what exists to what the contract asks for. Nothing in it is a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The certificate that everything is sealed to.
    pub certificate: CertificateDigest,
    /// The steps, in their order.
    pub changes: Vec<Change>,
    /// Keys that the operator has not provided yet.
    pub awaited: Vec<KeyName>,
    /// Sealed files that the contract does not know; they stay.
    pub orphans: Vec<String>,
    /// Where contract and platform disagree.
    pub coverage: Vec<Finding>,
    /// How many more keys can be read, by namespace, once a changed form is written.
    pub readers: BTreeMap<String, usize>,
    /// Keys that the operator provided although they are already sealed; their sealed values stay.
    pub kept: Vec<KeyName>,
    /// The file that should remember sealed units, if it cannot be written.
    pub not_remembered: Option<String>,
}
