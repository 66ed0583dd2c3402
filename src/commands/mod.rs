//! One file per command: it joins stages with the world, and is short.

#[cfg(feature = "cluster")]
mod backup;
mod bootstrap;
mod contract;
#[cfg(feature = "cluster")]
mod doctor;
#[cfg(feature = "cluster")]
mod fetch_cert;
mod key_secret;
mod keygen;
mod keys;
mod patch;
mod setting;
mod unseal;
mod verify;

use std::path::Path;

use crate::cli::{Cli, Command, Folders};
use crate::manifest::{contract_file, text};
use crate::model::{Contract, Finding, Recipe, Result, visible};
use crate::world::{World, files};

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, and clean.
    Done,
    /// It looked for something, and found it.
    Found,
}

/// Runs one command.
pub fn run(cli: Cli, world: &mut World) -> Result<Outcome> {
    let folders = &cli.folders;
    match cli.command {
        Command::Keygen(args) => keygen::run(folders, &args, world),
        Command::Bootstrap(args) => bootstrap::run(folders, &args, world),
        Command::Plan(args) => bootstrap::plan(folders, &args, world),
        Command::Verify(args) => verify::run(folders, &args, world),
        Command::Unseal(args) => unseal::run(folders, &args, world),
        Command::KeySecret(args) => key_secret::run(folders, &args, world),
        Command::Patch(args) => patch::run(folders, &args, world),
        #[cfg(feature = "cluster")]
        Command::Backup(args) => backup::run(folders, &args, world),
        #[cfg(feature = "cluster")]
        Command::FetchCert(args) => fetch_cert::run(folders, &args, world),
        #[cfg(feature = "cluster")]
        Command::Doctor(args) => doctor::run(folders, &args, world),
        Command::Contract(args) => contract::run(folders, &args, world),
    }
}

/// From here on a hash takes more than a second on a usual machine.
const HIGH_COST: u32 = 13;

/// The contract's text and what it says: the operator's file, or the one that is built in.
fn read_contract(folders: &Folders, world: &mut World) -> Result<(String, Contract)> {
    let text = match &folders.contract {
        Some(path) => read_text(path)?,
        None => contract_file::EMBEDDED.to_owned(),
    };
    let name = folders.contract.as_deref().map_or("the built-in contract".into(), Path::to_string_lossy);
    let contract = contract_file::read(&text).map_err(|error| error.in_file(&name))?;
    for key in &contract.keys {
        if let Recipe::Bcrypt { cost, .. } = key.recipe
            && cost > HIGH_COST
        {
            world.terminal.warn(&format!("`{}` has the bcrypt cost {cost}: each login will take seconds", key.name));
        }
    }
    Ok((text, contract))
}

/// A finding for people.
fn finding_text(finding: &Finding) -> String {
    let (code, severity) = (finding.code.as_str(), finding.code.severity().as_str());
    format!("{severity}[{code}]: {}: {}\n  help: {}\n", visible(&finding.place), visible(&finding.what), visible(&finding.help))
}

/// Findings for programs; fields are only ever added.
fn findings_json(findings: &[Finding]) -> Vec<serde_json::Value> {
    let finding = |finding: &Finding| {
        serde_json::json!({
            "code": finding.code.as_str(), "severity": finding.code.severity().as_str(),
            "place": finding.place, "what": finding.what, "help": finding.help,
        })
    };
    findings.iter().map(finding).collect()
}

/// The text of a file that is no secret.
fn read_text(path: &Path) -> Result<String> {
    let name = path.to_string_lossy();
    let bytes = files::read(path, &name, files::Kind::Public)?;
    Ok(text::decode(&bytes).map_err(|error| error.in_file(&name))?.to_owned())
}

#[cfg(feature = "cluster")]
impl crate::cli::Access {
    /// As the world takes it.
    fn named(&self) -> crate::world::cluster::Access<'_> {
        crate::world::cluster::Access { kubeconfig: self.kubeconfig.as_deref(), context: self.context.as_deref() }
    }
}
