//! Values to text, for people, and to JSON, for programs: the interface, to be read in one place. JSON only ever grows.

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

/// What could not be done, and where.
fn failure(error: &crate::model::Error) -> serde_json::Value {
    let (line, column) = error.position().unzip();
    serde_json::json!({ "what": error.what(), "place": error.place(), "file": error.file(), "line": line, "column": column })
}

fn pretty(value: serde_json::Value) -> String {
    format!("{value:#}\n")
}
