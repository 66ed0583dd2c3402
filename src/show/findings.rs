//! What `verify` found.

use serde_json::{Value, json};

use super::{counted, pretty};
use crate::model::{Finding, Places, Severity, visible};

pub fn text(places: &Places, finding: &Finding) -> String {
    let (code, severity) = (finding.code.as_str(), finding.code.severity().as_str());
    let help = places.pasteable(&finding.help);
    format!("{severity}[{code}]: {}: {}\n  help: {}\n", visible(&finding.place), visible(&finding.what), visible(&help))
}

pub fn all(places: &Places, findings: &[Finding]) -> String {
    findings.iter().map(|finding| text(places, finding)).collect()
}

pub fn values(places: &Places, findings: &[Finding]) -> Vec<Value> {
    let value = |finding: &Finding| {
        json!({
            "code": finding.code.as_str(), "severity": finding.code.severity().as_str(),
            "place": finding.place, "what": finding.what, "help": places.pasteable(&finding.help),
        })
    };
    findings.iter().map(value).collect()
}

pub fn errors(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.code.severity() == Severity::Error).count()
}

/// `1 error, 2 warnings`
pub fn tally(findings: &[Finding]) -> String {
    let errors = errors(findings);
    format!("{} and {}", counted(errors, "error"), counted(findings.len() - errors, "warning"))
}

pub fn report(places: &Places, findings: &[Finding], opened: bool) -> String {
    let looked = match opened {
        true => "every value was opened and compared with its recipe",
        false => "no value was opened; `--identity FILE` does that too",
    };
    let open = findings.iter().filter(|finding| finding.code.leaves_open()).count();
    let meaning = "what each code means: docs/findings.md\n";
    all(places, findings)
        + &match (errors(findings), open) {
            (0, 0) => format!("good: contract, sealed files and certificate agree ({}); {looked}\n", counted(findings.len(), "warning")),
            (0, open) => {
                let what = "what could not be judged";
                format!("found no errors, but {} of {what} ({} in all); {looked}\n{meaning}", counted(open, "warning"), findings.len())
            }
            _ => format!("found {}; {looked}\n{meaning}", tally(findings)),
        }
}

pub fn json(places: &Places, findings: &[Finding]) -> String {
    pretty(json!({ "version": 1, "findings": values(places, findings) }))
}
