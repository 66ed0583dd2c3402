//! Small pieces of the pure rings, each by itself.

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
