//! The steps of every command that seals, in this order: open, inventory, plan, nothing to do?, check, ask, provide, carry out, next.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Outcome;
use crate::cli::{Adoption, Certificate, Consent, Replacing};
use crate::manifest::{store, text};
use crate::model::{Change, Contract, Error, KeyName, Plan, Reason, Result, SecretValue, Sorted, visible};
use crate::pipeline::adopt::Adopted;
use crate::pipeline::certificate::FitCertificate;
use crate::pipeline::inventory::Inventory;
use crate::pipeline::make::{Basis, make};
use crate::pipeline::plan::{self, Extent, Setting, Wishes};
use crate::pipeline::render;
use crate::show;
use crate::workspace::Workspace;
use crate::workspace::given::Provide;
use crate::workspace::keys::CERTIFICATE;
use crate::workspace::out::{Before, Out};
use crate::workspace::trust::Trust;
use crate::world::World;

/// What is specific to one of these commands.
pub(super) trait Job {
    /// What it asks for, given contract and inventory.
    fn wishes(&mut self, contract: &Contract, inventory: &Inventory, world: &mut World) -> Result<Wishes>;

    /// Existing values, besides those of `--provide`.
    fn values(&mut self) -> BTreeMap<KeyName, SecretValue> {
        BTreeMap::new()
    }

    /// Sealed values whose operator's copies it writes.
    fn copies(&mut self, _: &Workspace, _: &Contract, _: &Inventory, _: &mut World) -> Result<Vec<(KeyName, SecretValue)>> {
        Ok(Vec::new())
    }

    /// The day on which a key's value was first sealed, where known.
    fn sealed_on(&self, _: &KeyName, today: &str) -> Option<String> {
        Some(today.to_owned())
    }

    fn below(&self, _: &Workspace, _: &Ready<'_>) -> String {
        String::new()
    }

    /// Whether it makes a first set of values, if none is known.
    fn begins(&self) -> bool {
        false
    }

    /// What to do next, if something was sealed.
    fn next(&self, _: &Workspace) -> String {
        String::new()
    }

    fn json(&self, workspace: &Workspace, ready: &Ready<'_>) -> String {
        show::plan::json(&workspace.places, &ready.plan)
    }
}

pub(super) struct Options<'o> {
    pub(super) certificate: &'o Certificate,
    pub(super) provide: &'o Provide,
    /// The keys whose provided values are not judged.
    pub(super) accept_as_is: &'o [KeyName],
    pub(super) destroys_data: &'o [KeyName],
    /// What opens sealed values that others are made of.
    pub(super) identity: Option<&'o Path>,
    pub(super) yes: bool,
    pub(super) dry_run: bool,
    pub(super) json: bool,
}

impl Replacing {
    pub(super) fn options<'o>(&'o self, provide: &'o Provide, accept_as_is: &'o [KeyName], destroys_data: &'o [KeyName]) -> Options<'o> {
        let Consent { yes, dry_run, ref printed } = self.consent;
        let json = printed.is_json();
        Options { certificate: &self.certificate, provide, accept_as_is, destroys_data, identity: None, yes, dry_run, json }
    }
}

impl Adoption {
    fn wishes(&self, contract: &Contract, found: &Adopted) -> Result<Wishes> {
        let destroyed = contract.write_once_keys(&self.destroys_data)?;
        let replaced = contract.all_named("--replace", &self.replace)?;
        let mut wishes = Wishes { extent: Extent::Provided, provided: found.names(), destroyed: destroyed.clone(), ..Wishes::default() };
        for name in replaced.iter().chain(&destroyed) {
            if !found.values.contains_key(name) {
                let help = "name a key that one of them holds; `seal-secrets import --dry-run` lists these";
                return Err(Error::usage(format!("no source has a value for `{name}`, which is to be replaced"), help));
            }
            wishes.replaced.insert(name.clone());
        }
        Ok(wishes)
    }
}

/// Seals the existing values that `find` returns.
struct Adopting<'a, F> {
    args: &'a Adoption,
    find: F,
    found: Adopted,
}

impl<F: FnMut(&Contract, &mut World) -> Result<Adopted>> Job for Adopting<'_, F> {
    fn wishes(&mut self, contract: &Contract, _: &Inventory, world: &mut World) -> Result<Wishes> {
        self.found = (self.find)(contract, world)?;
        self.args.wishes(contract, &self.found)
    }

    fn values(&mut self) -> BTreeMap<KeyName, SecretValue> {
        std::mem::take(&mut self.found.values)
    }

    fn sealed_on(&self, name: &KeyName, _: &str) -> Option<String> {
        self.found.sealed_on.get(name).cloned()
    }

    fn below(&self, _: &Workspace, ready: &Ready<'_>) -> String {
        show::plan::adopted(&ready.plan, &self.found)
    }

    fn next(&self, workspace: &Workspace) -> String {
        format!("next: {}, for what is still missing\n", workspace.command("bootstrap"))
    }

    fn json(&self, workspace: &Workspace, ready: &Ready<'_>) -> String {
        show::plan::adopted_json(&workspace.places, &ready.plan, &self.found)
    }
}

/// Everything needed to carry out a plan.
pub(super) struct Ready<'w> {
    pub(super) contract: Contract,
    pub(super) plan: Plan,
    certificate: FitCertificate,
    trust: Trust<'w>,
    before: Before,
    /// Values whose operator's copies are written, besides those of the sealed ones.
    copies: Vec<(KeyName, SecretValue)>,
}

pub(super) fn adopt(
    workspace: &Workspace,
    args: &Adoption,
    find: impl FnMut(&Contract, &mut World) -> Result<Adopted>,
    world: &mut World,
) -> Result<Outcome> {
    run(workspace, &args.replacing.options(&[], &[], &args.destroys_data), &mut Adopting { args, find, found: Adopted::default() }, world)
}

pub(super) fn run(workspace: &Workspace, options: &Options<'_>, job: &mut dyn Job, world: &mut World) -> Result<Outcome> {
    if options.dry_run {
        return show(workspace, options, job, world).map(|plan| disagreement(&plan));
    }
    let out = workspace.out_to_change()?;
    let mut ready = prepare(workspace, &out, options, job, world)?;
    workspace.check_untracked(&ready.contract.keys.iter().map(|key| &key.name).collect::<Vec<_>>(), world)?;
    out.clean(world)?;
    workspace.settle_copies(&ready.contract, out.folder())?;
    ready.trust.complete(ready.certificate.digest, world)?;
    if ready.plan.changes.is_empty() {
        if !ready.before.inventory.sealed.is_empty() {
            remember_sealed(&mut ready.trust, world);
        }
        return world.terminal.print_report(&text(workspace, &ready, true, job)).map(|()| disagreement(&ready.plan));
    }
    // Everything that can be refused is refused here, before the first folder or file is created.
    workspace.check_provided(options.provide, out.folder())?;
    out.check(&ready.plan)?;
    ask(workspace, options, &ready, job, world)?;
    if ready.plan.sealed().next().is_some() {
        ready.trust.accept(&ready.certificate, CERTIFICATE, world)?;
    }
    let mut values = workspace.read_provided(options.provide, options.accept_as_is, &ready.contract, &ready.plan, world)?;
    values.extend(job.values());
    workspace.check_new_copies(&ready.plan, &ready.before.inventory, &values)?;
    let sources = open_sources(workspace, options.identity, &ready, world)?;
    let keys = ready.plan.remembers().then(|| workspace.change_keys()).transpose()?;
    let today = world.day(0)?;
    let sealed_on = |name: &KeyName| job.sealed_on(name, &today);
    let (contract, inventory, certificate) = (&ready.contract, &ready.before.inventory, &ready.certificate);
    let basis = Basis { contract, inventory, certificate, sources: &sources, sealed_on: &sealed_on };
    let mut made = make(&basis, &ready.plan, values, (world.clock)(), world.entropy.as_mut(), world.threads)?;
    made.copies.extend(std::mem::take(&mut ready.copies).into_iter().map(|(key, value)| (key, value.into_bytes())));
    out.carry_out(&ready.plan, &ready.before, made, keys.as_ref(), world)?;
    if ready.plan.sealed().next().is_some() || !ready.before.inventory.sealed.is_empty() {
        remember_sealed(&mut ready.trust, world);
    }
    world.terminal.print_report(&(text(workspace, &ready, true, job) + &job.next(workspace)))?;
    Ok(disagreement(&ready.plan))
}

/// Sealed values that stay, and that those of the plan are made of, in the clear.
fn open_sources(
    workspace: &Workspace,
    identity: Option<&Path>,
    ready: &Ready<'_>,
    world: &mut World,
) -> Result<BTreeMap<KeyName, SecretValue>> {
    let sealed: BTreeSet<&KeyName> = ready.plan.sealed().sorted();
    let keys = ready.contract.keys.iter().filter(|key| sealed.contains(&key.name));
    let wanted: BTreeSet<&KeyName> = keys.flat_map(|key| key.recipe.sources()).filter(|name| !sealed.contains(name)).sorted();
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut values = Vec::new();
    for (file, secrets) in &ready.before.inventory.sealed {
        for secret in secrets {
            let of_secret = wanted.iter().filter(|name| name.secret() == secret.name.as_str());
            values.extend(of_secret.map(|name| (file.clone(), secret, *name)));
        }
    }
    let escrow = workspace.escrow(identity, world)?;
    Ok(workspace.open_each(&values, &escrow.pairs.openers)?.into_iter().sorted())
}

/// Everything is done, so a failure to remember it on this machine is a warning, not an error.
fn remember_sealed(trust: &mut Trust<'_>, world: &mut World) {
    if let Err(error) = trust.remember_sealed() {
        world.terminal.warn(&format!("this machine could not remember that values were sealed: {}", error.what()));
    }
}

/// Whether contract and platform disagree on something that has to be settled; the work is done all the same.
pub(super) fn disagreement(plan: &Plan) -> Outcome {
    Outcome::found(show::findings::errors(&plan.coverage) > 0)
}

pub(super) fn show(workspace: &Workspace, options: &Options<'_>, job: &mut dyn Job, world: &mut World) -> Result<Plan> {
    let ready = prepare(workspace, &workspace.out()?, options, job, world)?;
    match options.json {
        true => world.terminal.print(&job.json(workspace, &ready))?,
        false => world.terminal.print_report(&text(workspace, &ready, false, job))?,
    }
    Ok(ready.plan)
}

fn text(workspace: &Workspace, ready: &Ready<'_>, done: bool, job: &dyn Job) -> String {
    show::plan::text(&workspace.places, &ready.contract, &ready.plan, done) + &job.below(workspace, ready)
}

fn prepare<'w>(workspace: &'w Workspace, out: &Out<'_>, options: &Options<'_>, job: &mut dyn Job, world: &mut World) -> Result<Ready<'w>> {
    let (setting, _) = workspace.setting(world)?;
    let mut inventory = out.inventory(workspace.remembered()?)?;
    inventory.tracked = workspace.lost_units(&setting.contract, &inventory)?.into_keys().sorted();
    inventory.check_folder()?;
    let trust = workspace.trust(options.certificate.accepted.accept_certificate, world)?;
    let certificate = workspace.fit_certificate(&trust, options.certificate.allow_rsa_bits, world)?;
    let wishes = job.wishes(&setting.contract, &inventory, world)?;
    if job.begins() && trust.has_sealed() && inventory.knows_nothing() {
        return Err(trust.begun_before());
    }
    let plan = plan::plan(&setting, &inventory, certificate.digest, &wishes);
    let mut plan = plan.map_err(|error| error.within(&workspace.places.out))?;
    let copies = job.copies(workspace, &setting.contract, &inventory, world)?;
    plan.changes.extend(copies.iter().map(|(key, _)| {
        let file = workspace.places.in_secrets(&key.file_name());
        Change::Copy { key: key.clone(), file, reason: Reason::Restored }
    }));
    let Setting { contract, delivery, .. } = setting;
    for name in &plan.kept {
        world.terminal.warn(&format!("`{name}` is sealed already and stays as it is: what was provided is not used"));
    }
    if let Some(file) = &plan.not_remembered {
        let without = "without it nothing is known of what was sealed once all of the output folder is gone";
        world.terminal.warn(&format!("{file} cannot be written: {without}"));
    }
    Ok(Ready { contract, plan, certificate, trust, before: Before { inventory, store: delivery.store_file }, copies })
}

/// Before a value is replaced, or more can read it, the operator agrees: with `--yes`, or at the terminal, after seeing the plan.
fn ask(workspace: &Workspace, options: &Options<'_>, ready: &Ready<'_>, job: &dyn Job, world: &mut World) -> Result<()> {
    let replaced = ready.plan.changes.iter().filter_map(|change| match change {
        Change::Seal { keys, reason: Reason::Replaced, .. } => Some(keys),
        _ => None,
    });
    let destroyed = ready.contract.all_named("--destroys-data", options.destroys_data)?;
    let (lost, others): (Vec<_>, Vec<_>) = replaced.partition(|keys| keys.iter().any(|key| destroyed.contains(key)));
    let (readers, store) = (&ready.plan.readers, replaced_store(ready));
    if options.yes || lost.is_empty() && others.is_empty() && readers.is_empty() && store.is_none() {
        return Ok(());
    }
    if world.terminal.stdin_is_terminal {
        world.terminal.print_report(&text(workspace, ready, false, job))?;
    }
    for name in lost.into_iter().flatten().filter(|name| destroyed.contains(name)) {
        let about = ready.contract.key(name.as_str()).map_or("", |key| key.about.as_str());
        let question = format!("`{name}` {about}; all of that is lost. Type its name: ");
        if !world.terminal.stdin_is_terminal || !world.terminal.ask(&question)?.is(name.as_str()) {
            let help = "type the name at a terminal, or say so with `--yes`";
            return Err(Error::refused(format!("you have not confirmed that data encrypted with `{name}` may be lost"), help));
        }
    }
    let values = others.into_iter().flatten().count();
    if values > 0 {
        world.terminal.confirm(&format!("replace {}", show::counted(values, "value")), false)?;
    }
    let form = (!readers.is_empty()).then(|| show::plan::readers(&ready.plan));
    store.into_iter().chain(form).try_for_each(|what| world.terminal.confirm(&what, false))
}

/// The platform's store that the plan replaces, if this tool did not write it, as an imperative.
fn replaced_store(ready: &Ready<'_>) -> Option<String> {
    let is_placed = ready.plan.changes.iter().any(|change| matches!(change, Change::Place { .. }));
    let file = ready.before.store.as_ref().filter(|_| is_placed)?;
    let text = String::from_utf8_lossy(file.present.as_deref()?);
    if text::says_nothing(&text) || render::is_derived(text.as_bytes()) {
        return None;
    }
    let providers: Vec<_> =
        store::find(&text).into_iter().filter_map(|store| store.provider).map(|kind| format!("`{}`", visible(&kind))).collect();
    let provider = if providers.is_empty() { String::new() } else { format!(" (provider {})", providers.join(", ")) };
    Some(format!("replace the store in {}{provider}", visible(&file.path)))
}
