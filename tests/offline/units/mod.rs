//! Unit tests of small pieces of the pure rings.

mod blobs;
mod contract_file;
mod digest;
mod env_file;
mod error;
mod foreign;
mod name;
mod places;
mod platform;
mod property;
mod recipients;
mod remembered;
mod rsa_soundness;
mod yaml;
