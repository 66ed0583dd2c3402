//! `verify`: offline, does everything agree?

use std::collections::BTreeMap;

use super::{Outcome, keys, read_contract};
use crate::cli::{Folders, Verify};
use crate::model::{Error, ErrorKind, Finding, Result, Severity, visible};
use crate::pipeline::verify::{Evidence, verify};
use crate::world::World;
use crate::world::folder::Folder;
use crate::world::git::IgnoreRules;

pub(super) fn run(folders: &Folders, args: &Verify, world: &mut World) -> Result<Outcome> {
    let (_, contract) = read_contract(folders, world)?;
    let certificate = keys::certificate(folders);
    if let Err(error) = &certificate
        && error.kind == ErrorKind::InputOutput
    {
        return Err(error.clone());
    }
    let judged: Result<_, Error> = match &certificate {
        Ok(certificate) => certificate.judge((world.clock)(), args.allow_rsa_bits).map(|soon| (certificate, soon)),
        Err(error) => Err(error.clone()),
    };
    let escrow = args.identity.as_deref().map(|identity| keys::escrow_keys(folders, Some(identity))).transpose()?;
    let opened = escrow.is_some();
    let rules = IgnoreRules::new(&folders.out, &contract.ignored);
    let findings = verify(Evidence {
        contract: &contract,
        files: Folder::open(&folders.out)?.map_or(Ok(BTreeMap::new()), |folder| folder.read_all())?,
        certificate: judged,
        ignored: &|path| rules.matching(path),
        keys: escrow,
        out: &folders.out.to_string_lossy(),
    });
    let faults = findings.iter().filter(|finding| finding.code.severity() == Severity::Error).count();
    let text = if args.json { json(&findings) } else { human(&findings, faults, opened) };
    world.terminal.print(&text)?;
    Ok(if faults > 0 { Outcome::Found } else { Outcome::Done })
}

fn human(findings: &[Finding], faults: usize, opened: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        let (code, severity) = (finding.code.as_str(), finding.code.severity().as_str());
        text.push_str(&format!(
            "{severity}[{code}]: {}: {}\n  help: {}\n",
            visible(&finding.place),
            visible(&finding.what),
            visible(&finding.help)
        ));
    }
    let looked =
        if opened { "every value was opened and held against its recipe" } else { "no value was opened; `--identity FILE` does that too" };
    let warnings = findings.len() - faults;
    text + &match faults {
        0 => format!("good: contract, sealed files and certificate agree ({warnings} warnings); {looked}\n"),
        _ => format!("found {faults} errors and {warnings} warnings; {looked}\nwhat each code means: docs/findings.md\n"),
    }
}

/// The findings for programs; fields are only ever added.
fn json(findings: &[Finding]) -> String {
    let findings: Vec<serde_json::Value> = findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "code": finding.code.as_str(), "severity": finding.code.severity().as_str(),
                "place": finding.place, "what": finding.what, "help": finding.help,
            })
        })
        .collect();
    format!("{:#}\n", serde_json::json!({ "version": 1, "findings": findings }))
}
