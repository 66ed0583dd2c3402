//! Values to text, for people, and to JSON, for programs: the interface, to be read in one place. JSON only ever grows.

pub mod checks;
pub mod contract;
pub mod drill;
pub mod findings;
pub mod plan;
pub mod status;
pub mod tally;

/// So many of these: `1 value`, `2 values`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn pretty(value: serde_json::Value) -> String {
    format!("{value:#}\n")
}
