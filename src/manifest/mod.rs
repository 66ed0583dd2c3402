//! Kubernetes documents and the contract file, between YAML text and the words of the model.

pub mod base64;
pub mod blobs;
pub mod contract_edit;
pub mod contract_file;
pub mod contract_recipes;
pub mod env_file;
pub mod external_secret;
pub mod foreign;
pub mod gitops;
pub mod kubernetes;
pub mod mapping;
pub mod property;
pub mod schema;
pub mod sealed_secret;
pub mod secret;
pub mod settings_file;
pub mod store;
pub mod template;
pub mod text;
pub mod yaml;
