//! `init`: writes the settings file for a checkout of the platform. It asks nothing.

use super::Outcome;
use crate::manifest::settings_file::{self, NewSettings};
use crate::manifest::store;
use crate::model::{Contract, Error, GitOps, Result, StoreKind, visible};
use crate::pipeline::inventory::Files;
use crate::pipeline::platform::Platform;
use crate::pipeline::{init, resolve};
use crate::workspace::Workspace;
use crate::workspace::new_settings::join;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, world: &mut World) -> Result<Outcome> {
    let place = workspace.place_for_settings()?;
    let (_, contract) = workspace.contract(world)?;
    let (platform, files) = workspace.read_platform(&place.platform, &contract, &[], world)?;
    let named = workspace.environment();
    let has_platform = workspace.platform_root().is_some() || named.is_some() || !platform.manifests.is_empty();
    let mut settings = NewSettings { version: 1, ..NewSettings::default() };
    workspace.name_folders(&place, &contract, has_platform, &mut settings)?;
    let (mut choice, mut notes) = (Vec::new(), Vec::new());
    if has_platform {
        if named.is_some() {
            resolve::configuration(&platform, named)?;
        }
        let environment = named.or_else(|| init::environment(&platform));
        settings.environment = environment.map(str::to_owned);
        settings.gitops = init::gitops(&platform).map(GitOps::as_str);
        notes = take_over_store(&platform, &files, &contract, &mut settings);
        if environment.is_none() {
            choice.extend(platform.configurations.keys().map(String::as_str));
        }
    }
    if settings.store.contains_key("project-id") && !settings.store.contains_key("file") {
        let help = "pass the platform's file for the store with `--store-file FILE`, or drop the flag";
        return Err(Error::usage("`--project-id` has no file to stand in", help));
    }
    let (text, after) = (settings_file::write(&settings, &choice), workspace.after_settings(&place, &settings.keys)?);
    workspace.write_settings(&place, &text)?;
    let file = place.file();
    let file = visible(&file.to_string_lossy());
    let choose = match choice.is_empty() {
        true => String::new(),
        false => format!("set `environment:` in {file} (one of {}), then ", visible(&choice.join(", "))),
    };
    let notes: String = notes.iter().map(|note| format!("note: {note}\n")).collect();
    world.terminal.print(&format!("wrote {file}\n\n{text}\nnext: {choose}{after}\n{notes}"))?;
    Ok(Outcome::Done)
}

/// Takes over the checkout's existing store, unless flags say otherwise; returns remarks for the operator.
fn take_over_store(platform: &Platform, files: &Files, contract: &Contract, settings: &mut NewSettings) -> Vec<String> {
    let Some((kind, file)) = init::store(platform, &contract.store) else { return Vec::new() };
    let text = files.get(file).map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
    let path = join(settings.platform.as_deref().unwrap_or("."), file);
    let mut notes = init::differences(&path, &text, contract);
    let chosen = settings.store.entry("kind").or_insert_with(|| kind.as_str().to_owned());
    // A file for one namespace cannot hold the stores of all namespaces.
    let is_for_all = [kind.as_str(), chosen].iter().all(|kind| *kind == StoreKind::ClusterSecretStore.as_str());
    if !is_for_all || settings.store.contains_key("file") {
        return notes;
    }
    if store::has_only_stores(&text) {
        settings.store.insert("file", path);
    } else {
        let why = "holds more than stores, so the settings do not say `store.file`";
        notes.push(format!("{} {why}: move the store into a file of its own, then set `store.file` to that", visible(&path)));
    }
    notes
}
