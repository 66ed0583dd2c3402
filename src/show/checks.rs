//! What `doctor` found.

use serde_json::{Value, json};

use super::{counted, pretty};
use crate::model::{Check, Status, Symptom, visible};

pub fn text(checks: &[Check]) -> String {
    let mut text = String::new();
    let mut category = "";
    for check in checks {
        if std::mem::replace(&mut category, check.category) != check.category {
            text.push_str(&format!("{}{}\n", if text.is_empty() { "" } else { "\n" }, check.category));
        }
        let mark = match check.status {
            Status::Good => "ok  ",
            Status::Warning => "warn",
            Status::Bad => "BAD ",
            Status::Skipped => "-   ",
        };
        let code = check.symptom.map_or(String::new(), |symptom| format!(" [{}]", symptom.as_str()));
        text.push_str(&format!("  {mark} {}{code}\n", visible(&check.what)));
        if check.symptom.is_some() {
            text.push_str(&format!("       why:  {}\n       help: {}\n", check.cause, check.remedy));
        }
    }
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let (bad, warnings) = (count(Status::Bad), counted(count(Status::Warning), "warning"));
    text + &match bad {
        0 => format!("\ngood: {}, {warnings}\n", counted(checks.len(), "check")),
        _ => format!("\nfound {}, {warnings}; what each code means: docs/troubleshooting.md\n", counted(bad, "fault")),
    }
}

pub fn json(checks: &[Check]) -> String {
    let check = |check: &Check| {
        json!({
            "category": check.category, "what": check.what, "status": check.status.as_str(),
            "code": check.symptom.map(Symptom::as_str), "cause": check.cause, "remedy": check.remedy,
        })
    };
    let checks: Vec<Value> = checks.iter().map(check).collect();
    pretty(json!({ "version": 1, "checks": checks }))
}
