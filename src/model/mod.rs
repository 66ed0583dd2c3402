//! The types of the domain. This ring depends on nothing: no file, no YAML, no cipher.

#[macro_use]
mod words;

mod check;
mod contract;
mod delivery;
mod digest;
mod entropy;
mod error;
mod finding;
mod form;
mod name;
mod places;
mod plan;
mod quietly;
mod recipe;
mod secret_value;
mod settings;
mod sorted;
mod threads;

pub use check::{Check, Remedy, Status, Symptom, one_for_each_cause};
pub use contract::{
    Configuration, Consumer, Contract, Entry, Key, KnownKeys, MOST_PROVIDED_BYTES, PROPERTY, Reader, Terms, Unit, When, Workload,
    WorkloadKind, mark,
};
pub use delivery::{Application, Delivery, FluxSource, Isolation, Rbac, StoreFile, StoreKind};
pub use digest::CertificateDigest;
pub use entropy::{Entropy, EntropyFailed, check_entropy, repeats};
pub use error::{Error, ErrorKind, Position, Result, counted, meant, near, visible};
pub use finding::{Code, Finding, Severity};
pub use form::{Escape, Form, Part, Text};
pub use name::{DataKey, Hints, KeyName, Name, Namespace, Scope};
pub use places::{LiveFlags, Places, quoted};
pub use plan::{Change, Plan, Reason};
pub use quietly::{drawing_itself, is_quiet, quietly};
pub use recipe::{Algorithm, BcryptVersion, Class, Issuer, KeyFormat, Recipe, ranges};
pub use secret_value::SecretValue;
pub use settings::{ClusterSettings, Controller, GitOps, Live, SETTINGS, Settings, Store, USUAL_BITS, Way};
pub use sorted::Sorted;
pub use threads::on_threads;
