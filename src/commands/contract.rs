//! `contract`: the contract as table, JSON, YAML or picture.

use std::path::Path;

use super::setting::{self, Setting};
use super::{Outcome, finding_text, findings_json, read_contract, read_text};
use crate::cli::{self, ContractFormat, Folders};
use crate::model::{Contract, Finding, Recipe, Result};
use crate::pipeline::draft;
use crate::world::disk::Links;
use crate::world::{World, files};

pub(super) fn run(folders: &Folders, args: &cli::Contract, world: &mut World) -> Result<Outcome> {
    if let Some(root) = &args.from_platform {
        return draft(folders, root, world);
    }
    let Setting { text, contract, coverage, .. } = setting::read(folders, None, world)?;
    let format = if args.json { ContractFormat::Json } else { args.format };
    world.terminal.print(&match format {
        ContractFormat::Table => table(&contract) + &coverage.iter().map(finding_text).collect::<String>(),
        ContractFormat::Json => json(&contract, &coverage),
        ContractFormat::Yaml => text,
        ContractFormat::Mermaid => mermaid(&contract),
    })?;
    Ok(Outcome::Done)
}

/// A contract for another platform: what its manifests read, known keys with their recipe.
fn draft(folders: &Folders, root: &Path, world: &mut World) -> Result<Outcome> {
    let (_, known) = read_contract(folders, world)?;
    let (platform, _) = setting::read_platform(root, setting::inside(&folders.out, root, world)?.as_deref(), world)?;
    let rules = root.join(".gitignore");
    let filled = files::stat(&*world.disk, &rules, Links::Follow)?.is_some_and(|stat| stat.size > 0);
    let ignored = if filled { read_text(&rules, world)? } else { String::new() };
    world.terminal.print(&draft::draft(known, &platform, &ignored)?)?;
    Ok(Outcome::Done)
}

fn readers(contract: &Contract, key: &str) -> Vec<String> {
    let reads = contract.consumers.iter().filter(|consumer| consumer.entries.iter().any(|entry| entry.key.as_str() == key));
    reads.map(|consumer| format!("{}/{}", consumer.namespace, consumer.name.as_ref().unwrap_or(&consumer.target))).collect()
}

fn table(contract: &Contract) -> String {
    let mut rows = vec![["KEY", "MADE HOW", "NEEDED WHEN", "READ BY"].map(str::to_owned)];
    for key in &contract.keys {
        let mut made = key.recipe.describe();
        if key.write_once {
            made.push_str(", write-once");
        }
        let when = key.when.as_ref().map_or("always", |when| when.text.as_str());
        let readers = match readers(contract, key.name.as_str()) {
            none if none.is_empty() => "-".to_owned(),
            some => some.join(", "),
        };
        rows.push([key.name.to_string(), made, when.to_owned(), readers]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [first, second, third] = [0, 1, 2].map(width);
    let line = |row: &[String; 4]| format!("{:first$}  {:second$}  {:third$}  {}\n", row[0], row[1], row[2], row[3]);
    rows.iter().map(line).collect()
}

/// The contract for programs; fields are only ever added.
fn json(contract: &Contract, coverage: &[Finding]) -> String {
    let keys: Vec<serde_json::Value> = contract
        .keys
        .iter()
        .map(|key| {
            serde_json::json!({
                "name": key.name.as_str(), "about": key.about, "recipe": key.recipe.describe(), "unit": key.unit.as_str(),
                "provided": matches!(key.recipe, Recipe::Provided { .. }), "when": key.when.as_ref().map(|when| &when.text), "needed": key.needed,
                "writeOnce": key.write_once, "operatorCopy": key.operator_copy, "afterRotation": key.after_rotation,
                "length": key.recipe.length(),
            })
        })
        .collect();
    let consumers: Vec<serde_json::Value> = contract
        .consumers
        .iter()
        .map(|consumer| {
            let entry =
                |entry: &crate::model::Entry| serde_json::json!({ "secretKey": entry.secret_key.as_str(), "key": entry.key.as_str() });
            serde_json::json!({
                "namespace": consumer.namespace.as_str(), "name": consumer.name.as_ref().map(|name| name.as_str()),
                "target": consumer.target.as_str(), "data": consumer.entries.iter().map(entry).collect::<Vec<_>>(),
            })
        })
        .collect();
    let contract = serde_json::json!({
        "version": 1, "store": contract.store.as_str(), "namespace": contract.namespace.as_str(),
        "reader": { "name": contract.reader.name.as_str(), "namespace": contract.reader.namespace.as_str() },
        "keys": keys, "consumers": consumers, "coverage": findings_json(coverage),
    });
    format!("{contract:#}\n")
}

/// A flow chart: key → source Secret → ExternalSecret → target Secret.
fn mermaid(contract: &Contract) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for (i, key) in contract.keys.iter().enumerate() {
        text.push_str(&format!("  k{i}([\"{}\"]) --> s{i}[\"{}/{}\"]\n", key.name, contract.namespace, key.name));
    }
    for (i, consumer) in contract.consumers.iter().enumerate() {
        let name = consumer.name.as_ref().map_or("a helm chart's ExternalSecret".to_owned(), ToString::to_string);
        text.push_str(&format!(
            "  e{i}{{{{\"{}/{name}\"}}}} --> t{i}[(\"{}/{}\")]\n",
            consumer.namespace, consumer.namespace, consumer.target
        ));
        for entry in &consumer.entries {
            let key = contract.keys.iter().position(|key| key.name == entry.key).expect("a contract's consumers read its keys");
            text.push_str(&format!("  s{key} -->|{}| e{i}\n", entry.secret_key));
        }
    }
    text
}
