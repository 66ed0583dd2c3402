//! Unit tests of small pieces.

mod blobs;
mod certificate;
mod contract_file;
mod digest;
mod env_file;
mod error;
mod files;
mod folder;
mod foreign;
mod generate;
mod name;
mod places;
mod platform;
mod private_key;
mod property;
mod recipients;
mod remembered;
mod rsa_soundness;
mod seal;
mod yaml;
