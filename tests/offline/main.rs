//! Everything that needs no cluster. Each test has a folder of its own, a scrubbed environment, and no network.

mod common;
mod copy;

#[cfg(feature = "cluster")]
mod api_server;
mod bad_input;
mod bootstrap;
mod contract;
mod crash;
mod delivery;
#[cfg(feature = "cluster")]
mod diagnosis;
#[cfg(feature = "cluster")]
mod doctor;
mod escrow;
mod faults;
mod import;
mod keygen;
mod leaks;
mod opens;
mod places;
mod platform;
mod property;
mod randomness;
mod re_encrypt;
mod readme;
mod recovery;
mod rotate;
mod simulated_disk;
mod streams;
mod threads;
mod units;
mod unseal;
mod vectors;
mod verify;
