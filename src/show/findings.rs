//! What `verify` found: warnings first, errors last, next to the verdict.

use serde_json::{Value, json};

use super::{counted, pretty};
use crate::model::{Finding, Places, visible};

/// How many similar findings are shown individually.
const FEW: usize = 3;

/// How much to show.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    Errors,
    /// Similar findings as one.
    Kinds,
    Each,
}

pub fn text(places: &Places, finding: &Finding) -> String {
    one(places, finding, &format!("{}: {}", visible(&finding.place), visible(&finding.what)))
}

fn one(places: &Places, finding: &Finding, what: &str) -> String {
    let (code, severity) = (finding.code.as_str(), finding.code.severity().as_str());
    let help = places.pasteable(&finding.help);
    format!("{severity}[{code}]: {what}\n  help: {}\n", visible(&help))
}

pub fn all(places: &Places, findings: &[Finding]) -> String {
    findings.iter().map(|finding| text(places, finding)).collect()
}

/// Each kind once, if there are many: those with the same code and the same help.
fn kinds(places: &Places, findings: &[&Finding]) -> String {
    let mut kinds: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings {
        match kinds.iter_mut().find(|kind| (kind[0].code, &kind[0].help) == (finding.code, &finding.help)) {
            Some(kind) => kind.push(finding),
            None => kinds.push(vec![finding]),
        }
    }
    let shown = |kind: &Vec<&Finding>| match kind.len() > FEW {
        true => {
            let what = format!("{} times, in {}: {}; `--verbose` shows each", kind.len(), common(kind), visible(&kind[0].what));
            one(places, kind[0], &what)
        }
        false => kind.iter().map(|finding| text(places, finding)).collect(),
    };
    kinds.iter().map(shown).collect()
}

/// The folder that contains all of them.
fn common(findings: &[&Finding]) -> String {
    let first = findings[0].at().0;
    let ends = first.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| at + 1).rev();
    let folder = ends.map(|end| &first[..end]).find(|folder| findings.iter().all(|finding| finding.place.starts_with(folder)));
    folder.map_or("several places".to_owned(), |folder| format!("{}…", visible(folder)))
}

pub fn values(places: &Places, findings: &[Finding]) -> Vec<Value> {
    let value = |finding: &Finding| {
        let (file, line, column) = finding.at();
        json!({
            "code": finding.code.as_str(), "severity": finding.code.severity().as_str(),
            "place": finding.place, "file": file, "line": line, "column": column,
            "what": finding.what, "help": places.pasteable(&finding.help),
        })
    };
    findings.iter().map(value).collect()
}

pub fn errors(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.is_error()).count()
}

/// `1 error, 2 warnings`
pub fn tally(findings: &[Finding]) -> String {
    let errors = errors(findings);
    format!("{} and {}", counted(errors, "error"), counted(findings.len() - errors, "warning"))
}

pub fn report(places: &Places, findings: &[Finding], opened: bool, detail: Detail) -> String {
    let (errors_last, warnings): (Vec<&Finding>, Vec<&Finding>) = findings.iter().partition(|finding| finding.is_error());
    if detail == Detail::Errors {
        return errors_last.iter().map(|finding| text(places, finding)).collect();
    }
    let shown: String = match detail {
        Detail::Each => warnings.into_iter().chain(errors_last).map(|finding| text(places, finding)).collect(),
        _ => kinds(places, &warnings) + &kinds(places, &errors_last),
    };
    let looked = match opened {
        true => "every value was opened and compared with its recipe",
        false => "no value was opened; `--identity FILE` does that too",
    };
    let open = findings.iter().filter(|finding| finding.code.leaves_open()).count();
    let meaning = "what each code means: docs/findings.md\n";
    shown
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
