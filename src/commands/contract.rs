//! `contract`: the contract as table, JSON, YAML or picture.

use super::Outcome;
use crate::cli::{self, ContractAction, ContractAdd, ContractFormat};
use crate::manifest::contract_edit::{self, Addition};
use crate::manifest::{contract_file, settings_file};
use crate::model::{Error, Result, visible};
use crate::pipeline::{draft, plan::Setting};
use crate::show;
use crate::workspace::Workspace;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &cli::Contract, world: &mut World) -> Result<Outcome> {
    match &args.action {
        Some(ContractAction::Recipes) => {
            world.terminal.print(&show::contract::recipes())?;
            return Ok(Outcome::Done);
        }
        Some(ContractAction::Add(addition)) => return add(workspace, addition, world),
        None => {}
    }
    if args.store.is_some() && args.from_platform.is_none() && args.from_manifests.is_none() {
        let help = "add `--from-platform DIR` or `--from-manifests FILE`";
        return Err(Error::usage("`--store` chooses what a draft is made of, and no draft is asked for", help));
    }
    if args.from_platform.is_some() || args.from_manifests.is_some() {
        return draft(workspace, args, world);
    }
    let (Setting { contract, coverage, .. }, text) = workspace.setting(world)?;
    world.terminal.print(&match args.format {
        ContractFormat::Table => show::contract::table(&contract) + &show::findings::all(&workspace.places, &coverage),
        ContractFormat::Json => show::contract::json(&workspace.places, &contract, &coverage),
        ContractFormat::Yaml => settings_file::with_schema("contract", text),
        ContractFormat::Mermaid => show::contract::mermaid(&contract),
        ContractFormat::Html => show::page::page(&contract),
    })?;
    Ok(Outcome::Done)
}

/// Adds a Secret to the operator's contract file; the new text is read again before it is written.
fn add(workspace: &Workspace, args: &ContractAdd, world: &mut World) -> Result<Outcome> {
    let (text, _) = workspace.contract(world)?;
    let typed =
        args.recipe.iter().map(|recipe| (None, recipe)).chain(args.values.iter().map(|(key, recipe)| (Some(key.to_string()), recipe)));
    let values = typed.map(|(key, typed)| Ok((key, contract_edit::recipe(typed)?))).collect::<Result<_>>()?;
    let about = args.about.clone().unwrap_or_else(|| args.name.to_string());
    let addition = Addition { name: args.name.clone(), about, kind: args.kind.clone(), values };
    let file = &workspace.places.contract;
    let add = |text: &str| -> Result<String> {
        let new = contract_edit::add(text, &addition).map_err(|error| error.in_file(file))?;
        // A position in the new text is not one in the file.
        contract_file::read(file, &new).map_err(|error| Error::usage(error.what(), error.help()))?;
        Ok(new)
    };
    let (new, remark) = match (add(&text), contract_edit::upgraded(&text)) {
        (Err(_), Some(second)) => (add(&second)?, ", and it is of version 2 now, with `secrets` instead of `keys`"),
        (new, _) => (new?, ""),
    };
    if args.dry_run {
        world.terminal.print(&new)?;
        return Ok(Outcome::Done);
    }
    workspace.write_contract(&text, &new)?;
    let next = workspace.command("bootstrap");
    world.terminal.print(&format!("write  {}: added `{}`{remark}\nnext: {next}\n", visible(file), args.name))?;
    Ok(Outcome::Done)
}

/// Drafts a contract for another platform: what its manifests read, known keys with their recipe.
fn draft(workspace: &Workspace, args: &cli::Contract, world: &mut World) -> Result<Outcome> {
    let (_, known) = workspace.contract(world)?;
    let (platform, files) = match (&args.from_platform, &args.from_manifests) {
        (Some(root), _) => workspace.read_platform(root, &known, &draft::WORDS, world)?,
        (None, Some(path)) => workspace.read_manifests(path, world)?,
        (None, None) => unreachable!("one of the two is given"),
    };
    if let Some(error) = args.store.as_ref().and_then(|store| draft::unknown_store(store, &platform)) {
        return Err(error);
    }
    let stores = draft::stores(&files);
    let ignored = args.from_platform.as_ref().map_or(Ok(String::new()), |root| workspace.ignored_in(root))?;
    let source =
        draft::Source { known, platform: &platform, files: &files, stores: &stores, store: args.store.as_ref(), ignored: &ignored };
    world.terminal.print(&settings_file::with_schema("contract", draft::draft(source)?))?;
    Ok(Outcome::Done)
}
