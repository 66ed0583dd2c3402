//! One file per command: it joins stages with the world, and is short.

#[cfg(feature = "cluster")]
mod backup;
mod bootstrap;
mod carry_out;
mod contract;
mod copy;
#[cfg(feature = "cluster")]
mod doctor;
mod drill;
mod escrow;
#[cfg(feature = "cluster")]
mod fetch_cert;
mod import;
mod key_secret;
mod keygen;
mod keys;
mod patch;
mod provide;
mod re_encrypt;
mod renew;
mod rotate;
mod sealed_files;
mod setting;
mod status;
mod unseal;
mod verify;
#[cfg(feature = "cluster")]
mod via_controller;

use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::{Cli, Command, Folders};
use crate::manifest::{contract_file, text};
use crate::model::{Contract, Error, Finding, Key, Name, Recipe, Result, SecretValue, near, visible};
use crate::world::folder::Folder;
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
    let folders = &cli.folders.cluster.as_ref().map_or_else(|| cli.folders.clone(), |cluster| cli.folders.of(cluster));
    match cli.command {
        Command::Keygen(args) => keygen::run(folders, &args, world),
        Command::Bootstrap(args) => bootstrap::run(folders, &args, world),
        Command::Plan(args) => bootstrap::plan(folders, &args, world),
        Command::Import(args) => import::run(folders, &args, world),
        Command::Copy(args) => copy::run(folders, &args, world),
        Command::Rotate(args) => rotate::run(folders, &args, world),
        Command::Verify(args) => verify::run(folders, &args, world),
        Command::Status(args) => status::run(folders, &args, world),
        Command::Unseal(args) => unseal::run(folders, &args, world),
        Command::Escrow(args) => escrow::run(folders, &args, world),
        Command::KeySecret(args) => key_secret::run(folders, &args, world),
        Command::Renew(args) => renew::run(folders, &args, world),
        Command::ReEncrypt(args) => re_encrypt::run(folders, &args, world),
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
        Some(path) => read_text(path, world)?,
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

/// A folder of ours; that of one of several clusters may be the first below its root.
fn create(folders: &Folders, path: &Path, mode: u32, world: &World) -> Result<Folder> {
    if let (Some(_), Some(root)) = (&folders.cluster, path.parent().filter(|root| !root.as_os_str().is_empty())) {
        Folder::create(&*world.disk, root, mode)?;
    }
    Folder::create(&*world.disk, path, mode)
}

/// The contract's key that a flag names.
fn known_key<'c>(contract: &'c Contract, flag: &str, name: &Name) -> Result<&'c Key> {
    contract.key(name.as_str()).ok_or_else(|| {
        let names = contract.keys.iter().map(|key| key.name.as_str());
        let help = near(name.as_str(), names).map_or("see `seal-secrets contract`".to_owned(), |meant| format!("did you mean `{meant}`?"));
        Error::usage(format!("`{flag}` names a key that the contract does not have"), help)
    })
}

/// The key that `--destroys-data` names.
fn write_once_key(contract: &Contract, name: &Name) -> Result<Name> {
    if known_key(contract, "--destroys-data", name)?.write_once {
        return Ok(name.clone());
    }
    Err(Error::usage(format!("`{name}` is not write-once"), "drop `--destroys-data`: no data depends on it"))
}

/// Whoever asks for something that cannot be undone says so: at the terminal, or with `--yes`.
fn confirm(what: &str, yes: bool, world: &mut World) -> Result<()> {
    if yes {
        return Ok(());
    }
    let help = "run it at a terminal, or say so with `--yes`";
    if !world.terminal.stdin_is_terminal {
        return Err(Error::refused(format!("nobody has said yes: {what}"), help));
    }
    let answer = world.terminal.ask(&format!("{what}: type yes: "))?;
    if answer.is("yes") { Ok(()) } else { Err(Error::refused("nothing was changed: the answer was not yes", help)) }
}

/// Editors and `echo` end a file with a line feed that is hardly ever part of the secret.
fn without_line_feed(name: &str, value: SecretValue, world: &mut World) -> SecretValue {
    let (value, removed) = value.without_line_feed();
    if removed {
        world.terminal.warn(&format!("removed the line feed at the end of `{name}`"));
    }
    value
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

/// A file's name and bytes; `-` is standard input.
fn read_input(path: &Path, kind: files::Kind, world: &mut World) -> Result<(String, Zeroizing<Vec<u8>>)> {
    if path.as_os_str() == "-" {
        return Ok(("standard input".to_owned(), world.terminal.read_secret()?.into_bytes()));
    }
    let name = path.to_string_lossy().into_owned();
    let bytes = files::read(&*world.disk, path, &name, kind)?;
    Ok((name, bytes))
}

/// The text of a file that is no secret.
fn read_text(path: &Path, world: &World) -> Result<String> {
    let name = path.to_string_lossy();
    let bytes = files::read(&*world.disk, path, &name, files::Kind::Public)?;
    Ok(text::decode(&bytes).map_err(|error| error.in_file(&name))?.to_owned())
}

#[cfg(feature = "cluster")]
impl crate::cli::Access {
    /// As the world takes it.
    fn named(&self) -> crate::world::cluster::Access<'_> {
        crate::world::cluster::Access { kubeconfig: self.kubeconfig.as_deref(), context: self.context.as_deref() }
    }
}

/// This program with the folders and files of this run: what is pasted where it was run.
fn called(folders: &Folders) -> String {
    let path = |path: &Path| quoted(&visible(&path.to_string_lossy()));
    let mut program = "seal-secrets".to_owned();
    let mut add = |flag: &str, value: Option<String>| program.extend(value.map(|value| format!(" {flag} {value}")));
    add("--keys", Some(path(&folders.keys)).filter(|keys| keys != "keys"));
    add("--out", Some(path(&folders.out)).filter(|out| out != "out"));
    add("--contract", folders.contract.as_deref().map(path));
    add("--platform", folders.platform.as_deref().map(path));
    add("--environment", folders.environment.as_deref().map(|name| quoted(&visible(name))));
    program
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
