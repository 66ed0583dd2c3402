//! `contract`: the contract as table, JSON, YAML or picture.

use std::path::Path;

use super::Outcome;
use crate::cli::{self, ContractFormat};
use crate::manifest::settings_file;
use crate::model::Result;
use crate::pipeline::{draft, plan::Setting};
use crate::show;
use crate::workspace::Workspace;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &cli::Contract, world: &mut World) -> Result<Outcome> {
    if let Some(root) = &args.from_platform {
        return draft(workspace, root, world);
    }
    let (Setting { contract, coverage, .. }, text) = workspace.setting(world)?;
    world.terminal.print(&match args.format {
        ContractFormat::Table => show::contract::table(&contract) + &show::findings::all(&workspace.places, &coverage),
        ContractFormat::Json => show::contract::json(&workspace.places, &contract, &coverage),
        ContractFormat::Yaml => settings_file::with_schema("contract", text),
        ContractFormat::Mermaid => show::contract::mermaid(&contract),
    })?;
    Ok(Outcome::Done)
}

/// A contract for another platform: what its manifests read, known keys with their recipe.
fn draft(workspace: &Workspace, root: &Path, world: &mut World) -> Result<Outcome> {
    let (_, known) = workspace.contract(world)?;
    let (platform, _) = workspace.read_platform(root, &known, world)?;
    let text = draft::draft(known, &platform, &workspace.ignored_in(root)?)?;
    world.terminal.print(&settings_file::with_schema("contract", text))?;
    Ok(Outcome::Done)
}
