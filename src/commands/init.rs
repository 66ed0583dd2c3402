//! `init`: the settings file for a checkout of the platform. It asks nothing.

use super::Outcome;
use crate::manifest::settings_file::{self, NewSettings};
use crate::model::{GitOps, Result};
use crate::pipeline::init;
use crate::workspace::Workspace;
use crate::workspace::new_settings::join;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, world: &mut World) -> Result<Outcome> {
    let place = workspace.place_for_settings()?;
    let (_, contract) = workspace.contract(world)?;
    let (platform, _) = workspace.read_platform(&place.platform, &contract, world)?;
    let has_platform = workspace.platform_root().is_some() || !platform.manifests.is_empty();
    let mut settings = NewSettings { version: 1, ..NewSettings::default() };
    workspace.name_folders(&place, &contract, has_platform, &mut settings)?;
    let mut choice = Vec::new();
    if has_platform {
        let environment = workspace.environment().or_else(|| init::environment(&platform));
        settings.environment = environment.map(str::to_owned);
        settings.gitops = init::gitops(&platform).map(GitOps::as_str);
        if let Some((kind, file)) = init::store(&platform, &contract.store) {
            settings.store.entry("kind").or_insert_with(|| kind.as_str().to_owned());
            settings.store.entry("file").or_insert_with(|| join(settings.platform.as_deref().unwrap_or("."), file));
        }
        if environment.is_none() {
            choice.extend(platform.configurations.keys().map(String::as_str));
        }
    }
    workspace.write_settings(&place, &settings.keys, &settings_file::write(&settings, &choice), world)?;
    Ok(Outcome::Done)
}
