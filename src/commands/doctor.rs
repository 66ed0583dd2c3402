//! `doctor`: follows each value through a live cluster, and reports where it stops, why, and how to fix it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use serde_json::Value;

use super::Outcome;
use crate::cli::{Doctor, NeedsRights, Picture};
use crate::manifest::yaml;
use crate::model::{Check, Contract, Delivery, ErrorKind, Remedy, Result, Sorted, Status, Symptom, quoted};
use crate::pipeline::diagnose::{self, SealedHere, Wanted};
use crate::pipeline::{plan::Setting, rbac};
use crate::show;
use crate::workspace::Workspace;
use crate::workspace::keys::ESCROW;
use crate::workspace::snapshot::gather;
use crate::world::World;
use crate::world::cluster::Cluster;

pub(super) fn run(workspace: &Workspace, args: &Doctor, world: &mut World) -> Result<Outcome> {
    let (Setting { contract, delivery, .. }, _) = workspace.setting(world)?;
    let controller = &workspace.controller;
    let controller = (controller.namespace.as_str(), controller.name.as_str());
    if let Some(command) = args.print_rbac {
        world.terminal.print(&roles(command, &contract, &delivery, controller))?;
        return Ok(Outcome::Done);
    }
    let certificate = workspace.certificate()?.sealing.digest;
    let sealed = workspace.sealed("run `seal-secrets bootstrap` first, or pass the folder with `--out DIR`")?.sealed;
    let sealed = sealed.into_iter().flat_map(|(file, all)| all.into_iter().map(move |one| SealedHere::new(one, &file)));
    let sealed: BTreeMap<_, _> = sealed.sorted();
    let own_key = workspace.has(ESCROW)?;
    let places = &workspace.places;
    let wanted = Wanted { contract: &contract, delivery: &delivery, certificate, own_key, sealed: &sealed, controller, places };
    let cluster = Cluster::connect(&workspace.access(), world)?;
    let checks = wait(&cluster, &wanted, args.wait, world)?;
    match args.form() {
        Picture::Json => world.terminal.print(&show::checks::json(&checks))?,
        Picture::Mermaid => world.terminal.print(&show::checks::mermaid(&contract, &checks))?,
        Picture::Human => world.terminal.print_report(&show::checks::text(&checks, args.verbose))?,
    }
    if checks.iter().any(|check| check.remedy.command().is_some_and(|command| command.contains("kubectl"))) {
        let context = quoted(&cluster.context);
        world.terminal.tell(&format!(
            "the commands are for this cluster only: add `--context {context}` to each `kubectl` if it is not the current one\n"
        ));
    }
    let unreachable = checks.iter().any(|check| check.symptom == Some(Symptom::ApiUnreachable));
    Ok(if unreachable { Outcome::NotReached } else { Outcome::found(checks.iter().any(|check| check.status == Status::Bad)) })
}

/// Looks again until all is well, at most for this long.
fn wait(cluster: &Cluster, wanted: &Wanted<'_>, most: Option<Duration>, world: &mut World) -> Result<Vec<Check>> {
    let began = (world.clock)();
    let mut told = usize::MAX;
    loop {
        let clock = world.clock;
        let checks = world.terminal.while_working("asking the API server", || look(cluster, wanted, clock))?;
        let open = checks.iter().filter(|check| matches!(check.status, Status::Bad | Status::Skipped)).count();
        let passed = (world.clock)().duration_since(began).unwrap_or_default();
        let Some(most) = most.filter(|most| open > 0 && passed < *most) else { return Ok(checks) };
        if open != told {
            let are = if open == 1 { "is" } else { "are" };
            world.terminal.tell(&format!("{} {are} open; waiting\n", show::counted(open, "check")));
            told = open;
        }
        world.terminal.progress(&format!("waited {} s of {} s", passed.as_secs(), most.as_secs()));
        cluster.pause(Duration::from_secs(1));
    }
}

fn roles(command: Option<NeedsRights>, contract: &Contract, delivery: &Delivery, controller: (&str, &str)) -> String {
    let all = NeedsRights::value_variants().iter().copied();
    let of = |command| match command {
        NeedsRights::Doctor => rbac::doctor(contract, delivery, controller),
        NeedsRights::KeySecret => rbac::key_secret(controller.0),
        NeedsRights::FetchCert => rbac::fetch_cert(controller),
        NeedsRights::Backup => rbac::backup(controller.0),
        NeedsRights::Import => rbac::import(contract),
        NeedsRights::ReEncrypt => rbac::re_encrypt(controller),
    };
    let roles: Vec<Value> = all.filter(|one| command.is_none_or(|command| command == *one)).flat_map(of).collect();
    yaml::write_all(&roles)
}

/// One look at everything. An API server that does not answer is a check like any other, and the only one.
fn look(cluster: &Cluster, wanted: &Wanted<'_>, clock: fn() -> SystemTime) -> Result<Vec<Check>> {
    let error = match gather(cluster, wanted, clock) {
        Ok(snapshot) => return Ok(diagnose::diagnose(&snapshot, wanted)),
        Err(error) => error,
    };
    let symptom = match error.kind {
        ErrorKind::Cluster => Symptom::ApiUnreachable,
        ErrorKind::Unauthorized => Symptom::CredentialsRefused,
        ErrorKind::Forbidden => Symptom::Forbidden,
        _ => return Err(error),
    };
    let what = format!("context {}", cluster.context);
    let (status, symptom) = (Status::Bad, Some(symptom));
    let cause = [Some(error.what()), error.reason()].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let remedy = Remedy::Advice(wanted.places.pasteable(&error.help()));
    Ok(vec![Check { category: "api server", what: vec![what], status, symptom, cause, remedy }])
}
