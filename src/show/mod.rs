//! Converts values to text, for people, and to JSON, for programs: the whole output interface. JSON only ever grows.

#[cfg(feature = "cluster")]
pub mod checks;
pub mod contract;
pub mod drill;
pub mod escrow;
pub mod findings;
pub mod page;
pub mod plan;
pub mod reports;
pub mod status;
pub mod tally;

pub(crate) use crate::model::counted;

/// A failure and its place.
fn failure(error: &crate::model::Error) -> serde_json::Value {
    let (line, column) = error.position().unzip();
    serde_json::json!({ "what": error.what(), "place": error.place(), "file": error.file(), "line": line, "column": column })
}

fn pretty(value: serde_json::Value) -> String {
    format!("{value:#}\n")
}
