//! The stages, pure: no file, no terminal, no clock; randomness is an argument.
//!
//! contract + inventory → plan → generate → seal → render; verify and unseal go the other way.

pub mod adopt;
pub mod argo_cd;
pub mod certificate;
pub mod defined_twice;
pub mod diagnose;
pub mod difference;
pub mod draft;
pub mod drill;
pub mod escrow;
pub mod exposed;
pub mod fit;
pub mod flux;
pub mod generate;
pub mod git_setup;
pub mod guess;
pub mod init;
pub mod inventory;
pub mod key_pair;
pub mod key_secrets;
pub mod keygen;
pub mod make;
pub mod patch;
pub mod pem;
pub mod pins;
pub mod plan;
pub mod platform;
pub mod private_key;
pub mod push;
pub mod rbac;
pub mod re_encrypt;
pub mod readers;
pub mod recipients;
pub mod remembered;
pub mod render;
pub mod resolve;
pub mod rsa_soundness;
pub mod seal;
pub mod status;
pub mod tally;
pub mod textconv;
pub mod tls;
pub mod unseal;
pub mod verify;
