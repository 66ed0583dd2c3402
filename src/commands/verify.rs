//! `verify`: offline, does everything agree?

use std::collections::BTreeMap;

use super::{Outcome, drill, finding_text, findings_json, keys, setting};
use crate::cli::{Folders, Verify};
use crate::model::{Error, ErrorKind, Finding, Result, Severity};
use crate::pipeline::escrow;
use crate::pipeline::verify::{Evidence, verify};
use crate::world::folder::Folder;
use crate::world::git::IgnoreRules;
use crate::world::{World, files};

pub(super) fn run(folders: &Folders, args: &Verify, world: &mut World) -> Result<Outcome> {
    let setting = setting::read(folders, Some(&args.delivery), world)?;
    let contract = setting.contract;
    let certificate = keys::certificate(folders, world);
    if let Err(error) = &certificate
        && error.kind == ErrorKind::InputOutput
    {
        return Err(error.clone());
    }
    let judged: Result<_, Error> = match &certificate {
        Ok(certificate) => certificate.judge((world.clock)(), args.allow_rsa_bits).map(|soon| (certificate, soon)),
        Err(error) => Err(error.clone()),
    };
    let files = Folder::open(&*world.disk, &folders.out)?.map_or(Ok(BTreeMap::new()), |folder| folder.read_all())?;
    let identity = args.identity.as_deref();
    let (escrow, drill) = if args.drill {
        let (escrow, drill) = drill::run(folders, identity, &certificate, &contract, &files, world)?;
        (escrow, Some(drill))
    } else {
        (identity.map(|identity| keys::escrow_keys(folders, Some(identity), world)).transpose()?, None)
    };
    let opened = escrow.is_some();
    let rules = IgnoreRules::new(&*world.disk, &folders.out, folders.platform.as_deref(), &contract.ignored)?;
    let mut damaged = Vec::new();
    let listed = or_damaged(keys::listed(folders, world), &mut damaged)?.flatten().map(|(_, list)| list.len());
    let made = or_damaged(keys::made(folders, world), &mut damaged)?.unwrap_or_default();
    let findings = verify(Evidence {
        contract: &contract,
        files,
        certificate: judged,
        ignored: &|path| rules.matching(path),
        keys: escrow,
        made,
        listed,
        able: able(folders, world)?,
        damaged,
        delivery: &setting.delivery,
        coverage: setting.coverage,
        out: &folders.out.to_string_lossy(),
    });
    let faults = findings.iter().filter(|finding| finding.code.severity() == Severity::Error).count();
    let text = match (&drill, args.json) {
        (Some(drill), true) => drill::json(drill, &certificate, &findings),
        (Some(drill), false) => drill::report(folders, drill, &certificate, &findings),
        (None, true) => json(&findings),
        (None, false) => human(&findings, faults, opened),
    };
    world.terminal.print(&text)?;
    let clean = drill.map_or(faults == 0, |drill| drill::passed(&drill, &findings));
    Ok(if clean { Outcome::Done } else { Outcome::Found })
}

/// How many can open the escrow, where it lies here. That it is damaged is a finding.
fn able(folders: &Folders, world: &World) -> Result<Option<Result<usize>>> {
    if !files::exists(&*world.disk, &keys::escrow_path(folders))? {
        return Ok(None);
    }
    match keys::read_escrow(folders, world).and_then(|escrow| escrow::count_recipients(&escrow)) {
        Err(error) if error.kind == ErrorKind::InputOutput => Err(error),
        count => Ok(Some(count)),
    }
}

/// What was read; what is damaged is a finding.
fn or_damaged<T>(read: Result<T>, damaged: &mut Vec<Error>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind == ErrorKind::InputOutput => Err(error),
        Err(error) => {
            damaged.push(error);
            Ok(None)
        }
    }
}

fn human(findings: &[Finding], faults: usize, opened: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        text.push_str(&finding_text(finding));
    }
    let looked =
        if opened { "every value was opened and held against its recipe" } else { "no value was opened; `--identity FILE` does that too" };
    let warnings = findings.len() - faults;
    text + &match faults {
        0 => format!("good: contract, sealed files and certificate agree ({warnings} warnings); {looked}\n"),
        _ => format!("found {faults} errors and {warnings} warnings; {looked}\nwhat each code means: docs/findings.md\n"),
    }
}

fn json(findings: &[Finding]) -> String {
    format!("{:#}\n", serde_json::json!({ "version": 1, "findings": findings_json(findings) }))
}
