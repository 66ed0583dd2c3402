//! What a run would do: one value that is printed, turned to JSON, and carried out.

use std::collections::BTreeSet;

use super::{CertificateDigest, Finding, Name};

words! {
    /// Why a change is made.
    Reason {
        /// It was never there.
        New "new"
        /// It was there, and is gone.
        Missing "missing"
        /// The operator supplies it with this run.
        Provided "provided"
        /// It exists, and is replaced by another value.
        Replaced "replaced"
        /// What it is derived from changed.
        Updated "updated"
        /// Someone changed it by hand, or another version wrote it.
        Restored "restored"
    }
}

/// One step. Paths are relative to `out/`, with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make every value of a unit and seal it into one file.
    Seal {
        /// The unit.
        unit: Name,
        file: String,
        keys: Vec<Name>,
        /// Those of the keys whose value is also kept for the operator.
        copies: Vec<Name>,
        /// Why.
        reason: Reason,
    },
    /// Write a file that follows from the contract and the units.
    Write {
        file: String,
        /// All that it will hold; no secret, by construction.
        text: String,
        /// Why.
        reason: Reason,
    },
    /// Write the store into a file of the platform's, outside of `out/`.
    Place {
        file: String,
        /// All that it will hold; no secret, by construction.
        text: String,
        /// Why.
        reason: Reason,
    },
    /// Remember write-once units outside of `out/`, beside the certificate.
    Remember {
        file: String,
        /// All that are remembered of this output folder from then on.
        units: BTreeSet<Name>,
        /// Why.
        reason: Reason,
    },
}

impl Change {
    /// The file that it writes.
    pub fn file(&self) -> &str {
        match self {
            Change::Seal { file, .. } | Change::Write { file, .. } | Change::Place { file, .. } | Change::Remember { file, .. } => file,
        }
    }
}

impl Plan {
    /// The keys whose values are also kept for the operator.
    pub fn copies(&self) -> impl Iterator<Item = &Name> {
        self.changes.iter().flat_map(|change| match change {
            Change::Seal { copies, .. } => copies.as_slice(),
            _ => &[],
        })
    }

    /// Whether it remembers something in the keys folder.
    pub fn remembers(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::Remember { .. }))
    }

    /// The keys whose values it seals.
    pub fn sealed(&self) -> impl Iterator<Item = &Name> {
        self.changes.iter().flat_map(|change| match change {
            Change::Seal { keys, .. } => keys.as_slice(),
            _ => &[],
        })
    }
}

/// The steps from what is there to what the contract asks for. Nothing in it is a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The certificate that everything is, and will be, sealed to.
    pub certificate: CertificateDigest,
    /// The steps, in the order in which they are carried out.
    pub changes: Vec<Change>,
    /// Keys that the operator supplies and has not yet.
    pub awaited: Vec<Name>,
    /// Sealed files that the contract does not know; they stay.
    pub orphans: Vec<String>,
    /// What the platform's manifests say that the contract does not, and the other way round.
    pub coverage: Vec<Finding>,
    /// Keys that the operator offered though they are sealed already; they stay.
    pub kept: Vec<Name>,
    /// The file that should remember write-once units, and cannot be written.
    pub not_remembered: Option<String>,
}
