//! What `doctor` found: good results in a few lines, then each fault, the worst last.

use serde_json::{Value, json};

use super::{contract, counted, pretty};
use crate::model::{Check, Contract, Status, Symptom, visible};

/// How many names, or lines of a category, are listed individually.
const FEW: usize = 4;

pub fn text(checks: &[Check], verbose: bool) -> String {
    let mut text = Text { text: String::new(), category: "" };
    let of = |status: Status| checks.iter().filter(move |check| check.status == status);
    let mut categories: Vec<&'static str> = checks.iter().map(|check| check.category).collect();
    categories.dedup();
    for category in categories {
        let all = checks.iter().filter(|check| check.category == category).map(|check| check.what.len()).sum::<usize>();
        for (mark, status) in [("ok  ", Status::Good), ("-   ", Status::Skipped)] {
            let these: Vec<&Check> = of(status).filter(|check| check.category == category).collect();
            match these.len() > FEW && !verbose {
                true => text.line(category, mark, &format!("{} of {all}", these.len())),
                false => these.iter().for_each(|check| text.line(category, mark, &check.what[0])),
            }
        }
    }
    for (mark, status) in [("warn", Status::Warning), ("BAD ", Status::Bad)] {
        for check in of(status) {
            let code = check.symptom.map_or(String::new(), |symptom| format!(" [{}]", symptom.as_str()));
            text.line(check.category, mark, &(names(check, verbose) + &code));
            text.text.push_str(&format!("       why:  {}\n       help: {}\n", check.cause, check.remedy.text()));
        }
    }
    let count = |status| of(status).count();
    let (bad, warnings) = (count(Status::Bad), counted(count(Status::Warning), "warning"));
    text.text
        + &match bad {
            0 => format!("\ngood: {}, {warnings}\n", counted(checks.iter().map(|check| check.what.len()).sum(), "check")),
            _ => format!("\nfound {}, {warnings}; what each code means: docs/troubleshooting.md\n", counted(bad, "fault")),
        }
}

/// Lines below the headings of their categories.
struct Text {
    text: String,
    category: &'static str,
}

impl Text {
    fn line(&mut self, category: &'static str, mark: &str, what: &str) {
        if std::mem::replace(&mut self.category, category) != category {
            self.text.push_str(&format!("{}{category}\n", if self.text.is_empty() { "" } else { "\n" }));
        }
        self.text.push_str(&format!("  {mark} {}\n", visible(what)));
    }
}

/// The objects with the same fault.
fn names(check: &Check, verbose: bool) -> String {
    let all = &check.what;
    if verbose || all.len() <= FEW {
        return all.join(", ");
    }
    format!("{} and {} more", all[..FEW - 1].join(", "), all.len() - FEW + 1)
}

/// The contract's flow chart with each fault pointing at what is broken.
pub fn mermaid(contract: &Contract, checks: &[Check]) -> String {
    let mut text = contract::mermaid(contract);
    text.push_str("  classDef bad fill:#fdd,stroke:#c00\n  classDef warning fill:#ffd,stroke:#a80\n");
    let faults = checks.iter().filter(|check| matches!(check.status, Status::Bad | Status::Warning));
    for (at, check) in faults.enumerate() {
        let code = check.symptom.map_or("", Symptom::as_str);
        let what = label(&format!("{code}: {}", names(check, false)));
        let class = check.status.as_str();
        text.push_str(&format!("  f{at}>\"{what}\"]:::{class}\n"));
        for node in check.what.iter().filter_map(|name| contract::node(contract, check.category, name)) {
            text.push_str(&format!("  f{at} -.-> {node}:::{class}\n"));
        }
    }
    text
}

/// A quoted label: the cluster's names may contain anything.
fn label(text: &str) -> String {
    visible(text).replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
}

pub fn json(checks: &[Check]) -> String {
    let check = |check: &Check| {
        json!({
            "category": check.category, "what": check.what.join(", "), "names": check.what, "status": check.status.as_str(),
            "code": check.symptom.map(Symptom::as_str), "cause": check.cause, "remedy": check.remedy.text(),
            "command": check.remedy.command(),
        })
    };
    let checks: Vec<Value> = checks.iter().map(check).collect();
    pretty(json!({ "version": 1, "checks": checks }))
}
