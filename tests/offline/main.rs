//! All tests that need no cluster. Each has its own folder, a scrubbed environment, and no network.

mod common;
mod copies;
mod copy;

#[cfg(feature = "cluster")]
mod api_server;
mod as_meant;
mod bad_input;
mod bootstrap;
mod contract;
mod crash;
mod defined_twice;
mod delivery;
#[cfg(feature = "cluster")]
mod diagnosis;
#[cfg(feature = "cluster")]
mod doctor;
mod doors;
mod drafts;
mod escrow;
mod example_contracts;
mod faults;
mod flux;
mod foreign_sealed;
mod form;
mod git;
mod git_setup;
mod git_states;
mod identities;
mod import;
mod keygen;
mod leaks;
mod links;
mod many_values;
mod nested;
mod one_set;
mod opens;
mod others;
mod pipes;
mod places;
mod platform;
mod printed;
mod prompt;
mod property;
#[cfg(feature = "cluster")]
mod proxies;
mod randomness;
mod re_encrypt;
mod read_faults;
mod readme;
mod recipes;
mod recovery;
mod repository;
mod rotate;
mod schema;
mod screens;
mod second_operator;
mod settings;
mod simulated_disk;
mod stand_ins;
mod streams;
mod threads;
#[cfg(feature = "cluster")]
mod together;
mod trust;
mod typed;
mod unit_differs;
mod units;
mod unseal;
mod vectors;
mod verify;
mod watched;
mod write_once;
