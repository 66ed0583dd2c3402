//! `verify`: offline, does everything agree? With `--drill`: could everything be restored from the files alone?

use std::time::Duration;

use super::Outcome;
use crate::cli::{Report, Verify};
use crate::model::{Contract, Error, ErrorKind, Finding, Result, quoted};
use crate::pipeline::drill::{self, Drill, Tries};
use crate::pipeline::key_secrets::{self, KeySecrets};
use crate::pipeline::unseal::Opened;
use crate::pipeline::verify::{Copies, Evidence, verify};
use crate::pipeline::{escrow, plan::Setting};
use crate::show::{self, findings::Detail};
use crate::workspace::Workspace;
use crate::workspace::escrow::Escrow;
use crate::workspace::keys::{Certificate, ESCROW};
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &Verify, world: &mut World) -> Result<Outcome> {
    if args.quiet {
        world.terminal.progress.patience = Duration::MAX;
    }
    let (Setting { contract, delivery, coverage }, _) = workspace.setting(world)?;
    let certificate = unless_unreadable(workspace.certificate())?;
    let mut damaged = Vec::new();
    let accepted = args.certificate.accepted.accept_certificate;
    let trust = or_damaged(workspace.trust(accepted, world), &mut damaged)?;
    let judged = certificate.as_ref().map_err(Error::clone);
    let judged = judged.and_then(|read| match &trust {
        Some(trust) => trust.judge(read.sealing.clone(), world, args.certificate.allow_rsa_bits),
        None => read.sealing.clone().judge((world.clock)(), args.certificate.allow_rsa_bits),
    });
    let accepted = trust.zip(judged.as_ref().ok()).map(|(trust, judged)| trust.verdict(judged.digest));
    let listed = or_damaged(workspace.listed(), &mut damaged)?.flatten().map(|listed| listed.recipients.len());
    let remembered = or_damaged(workspace.remembered(), &mut damaged)?.unwrap_or_default();
    let looked = look(workspace, args, world)?;
    let mut inventory = workspace.out()?.look(remembered)?;
    let lost = workspace.lost_units(&contract, &inventory)?;
    inventory.tracked = lost.keys().cloned().collect();
    let open = |escrow: &Escrow| Opened::new(&escrow.pairs.openers, &inventory);
    let opened = looked.escrow.as_ref().map(|escrow| world.terminal.while_working("opening every value", || open(escrow)));
    let copies = match &opened {
        Some(_) => or_damaged(copies(workspace, &contract, args), &mut damaged)?,
        None => None,
    };
    let rules = workspace.ignore_rules(&contract.ignored)?;
    let tracked = workspace.tracked(&contract.keys.iter().map(|key| &key.name).collect::<Vec<_>>(), world)?;
    let evidence = Evidence {
        places: &workspace.places,
        contract: &contract,
        inventory: &inventory,
        certificate: judged.as_ref(),
        accepted,
        ignored: &|path| rules.matching(path),
        opened: looked.escrow.as_ref().map(|escrow| escrow.pairs.openers.as_slice()).zip(opened.as_ref()),
        copies: copies.as_ref(),
        listed,
        able: looked.able.as_ref(),
        damaged: &damaged,
        tracked: &tracked,
        lost: &lost,
        delivery: &delivery,
        coverage: &coverage,
    };
    let mut findings = world.terminal.while_working("comparing contract and files", || verify(&evidence));
    if args.repository {
        let (sought, threads) = (opened.as_ref().map(|opened| (opened, &inventory)), world.threads);
        findings.extend(world.terminal.while_working("reading the repository", || workspace.exposed(sought, threads))?);
        findings.sort_unstable();
    }
    findings.retain(|finding| !args.ignore.iter().chain(&workspace.settings.ignore).any(|code| *code == finding.code));
    if args.drill {
        let opened = drill::count(opened.as_ref(), &contract, &inventory);
        return report_drill(workspace, args, certificate.as_ref(), looked, opened, &findings, world);
    }
    print(&text(workspace, args, &findings, opened.is_some()), args, world)?;
    Ok(Outcome::found(show::findings::errors(&findings) > 0))
}

fn print(text: &str, args: &Verify, world: &mut World) -> Result<()> {
    if args.form() == Report::Human { world.terminal.print_report(text) } else { world.terminal.print(text) }
}

/// The findings in the requested format.
fn text(workspace: &Workspace, args: &Verify, findings: &[Finding], opened: bool) -> String {
    let places = &workspace.places;
    match args.form() {
        Report::Json => show::findings::json(places, findings),
        Report::Human => show::findings::report(places, findings, opened, detail(args)),
        Report::Sarif => show::reports::sarif(places, findings),
        Report::Github => show::reports::github(places, findings),
        Report::Gitlab => show::reports::gitlab(places, findings),
        Report::Junit => show::reports::junit(places, findings),
    }
}

fn report_drill(
    workspace: &Workspace,
    args: &Verify,
    certificate: Result<&Certificate, &Error>,
    looked: Looked,
    opened: Tries,
    findings: &[Finding],
    world: &mut World,
) -> Result<Outcome> {
    let places = &workspace.places;
    let key_secret = key_secret(certificate, looked.escrow.as_ref());
    let drill = Drill { time: world.time()?, escrow: looked.opened, key_secret, opened };
    let sealing = certificate.map(|certificate| &certificate.sealing);
    let text = match args.form() == Report::Json {
        true => show::drill::json(places, &drill, sealing, findings),
        false => show::drill::report(places, &drill, sealing, findings),
    };
    print(&text, args, world)?;
    Ok(Outcome::found(!show::drill::passed(&drill, findings)))
}

fn detail(args: &Verify) -> Detail {
    match (args.quiet, args.verbose) {
        (true, _) => Detail::Errors,
        (_, true) => Detail::Each,
        _ => Detail::Kinds,
    }
}

/// The escrow, as far as it was requested.
struct Looked {
    /// How many recipients can open it, if it is here; a damaged escrow is a finding.
    able: Option<Result<usize>>,
    /// Opened with `--identity` or `--drill`.
    escrow: Option<Escrow>,
    /// For the drill: whose identity opened it, and how many keys it holds; or why it cannot be used.
    opened: Result<(String, usize)>,
}

/// Reads the escrow once. In a drill, failing to open it is a result, not an error.
fn look(workspace: &Workspace, args: &Verify, world: &World) -> Result<Looked> {
    let identity = args.identity.as_deref();
    let (there, asked) = (workspace.has(ESCROW)?, args.drill || identity.is_some());
    let encrypted = (there || asked).then(|| workspace.encrypted_escrow());
    let able = encrypted.as_ref().filter(|_| there);
    let able = able.map(|encrypted| escrow::count_recipients(encrypted.as_ref().map_err(Error::clone)?));
    let able = able.map(unless_unreadable).transpose()?;
    let Some(encrypted) = encrypted.filter(|_| asked) else { return Ok(Looked { able, escrow: None, opened: Ok(Default::default()) }) };
    let opened = match encrypted {
        // An identity that cannot be read is an error even in a drill.
        Ok(encrypted) => workspace.open(encrypted, &workspace.identities(identity, world)?),
        Err(error) => Err(error),
    };
    match (unless_unreadable(opened)?, args.drill) {
        (Ok(escrow), _) => {
            let opened = Ok((escrow.opener(), escrow.pairs.list.len()));
            Ok(Looked { able, escrow: Some(escrow), opened })
        }
        (Err(error), true) => Ok(Looked { able, escrow: None, opened: Err(error) }),
        (Err(error), false) => Err(error),
    }
}

/// The operator's copies, and the command that restores them with this run's identity.
fn copies(workspace: &Workspace, contract: &Contract, args: &Verify) -> Result<Copies> {
    let default = workspace.default_identity()?;
    let identity = args.identity.as_ref().or(default.as_ref()).map_or(String::new(), |path| quoted(&path.to_string_lossy()));
    Ok(Copies { found: workspace.copies(contract)?, restore: workspace.command(&format!("bootstrap --identity {identity}")) })
}

/// The controller's key Secret: rendered, and fit for the controller; or why not.
fn key_secret(certificate: Result<&Certificate, &Error>, escrow: Option<&Escrow>) -> Result<()> {
    let certificate = certificate.map_err(Error::clone)?;
    let Some(escrow) = escrow else {
        return Err(Error::cryptography("without the escrow there is no key to make it of", "restore the escrow first"));
    };
    let secrets = KeySecrets::new(&escrow.pairs, &certificate.sealing, &certificate.pem, "kube-system")?;
    key_secrets::check(&secrets.stream(), &certificate.sealing)
}

/// What was read, or what is wrong with it; a disk that does not answer is an error at once.
fn unless_unreadable<T>(read: Result<T>) -> Result<Result<T>> {
    match read {
        Err(error) if error.kind == ErrorKind::InputOutput => Err(error),
        read => Ok(read),
    }
}

/// What was read; damage becomes a finding.
fn or_damaged<T>(read: Result<T>, damaged: &mut Vec<Error>) -> Result<Option<T>> {
    Ok(unless_unreadable(read)?.map_err(|error| damaged.push(error)).ok())
}
