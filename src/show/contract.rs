//! The contract, as table, JSON or picture.

use serde_json::{Value, json};

use super::{findings, pretty};
use crate::manifest::contract_recipes::EXAMPLES;
#[cfg(feature = "cluster")]
use crate::model::Consumer;
use crate::model::{Contract, DataKey, Entry, Finding, KeyName, Name, PROPERTY, Places, Text};

/// Every recipe, with an example.
pub fn recipes() -> String {
    let one = |(kind, what, example): &(&str, &str, &str)| format!("{kind}: {what}\n    {example}\n");
    let below = "\nA recipe stands behind `recipe:`, or behind a data key below `values:`. `of` names a data key of the same Secret, another Secret,\nor SECRET/DATAKEY; what is made of another value is sealed beside it, and rotates with it.\n";
    EXAMPLES.iter().map(one).collect::<String>() + below
}

/// The ExternalSecrets that read a value; `-` if there is none.
fn readers(contract: &Contract, key: &KeyName) -> String {
    let reads = contract.consumers.iter().filter(|consumer| consumer.reads_key(key));
    let names: Vec<String> =
        reads.map(|consumer| format!("{}/{}", consumer.namespace, consumer.name.as_ref().unwrap_or(&consumer.target))).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

pub fn table(contract: &Contract) -> String {
    let rows = table_rows(contract);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [first, second, third] = [0, 1, 2].map(width);
    let line = |row: &[String; 4]| format!("{:first$}  {:second$}  {:third$}  {}\n", row[0], row[1], row[2], row[3]);
    rows.iter().map(line).collect()
}

/// The column headings, then a row for each value.
pub(super) fn table_rows(contract: &Contract) -> Vec<[String; 4]> {
    let mut rows = vec![["KEY", "RECIPE", "NEEDED WHEN", "READ BY"].map(str::to_owned)];
    for key in &contract.keys {
        let mut recipe = key.recipe.describe();
        if key.write_once {
            recipe.push_str(", write-once");
        }
        let when = key.when.as_ref().map_or("always", |when| when.text.as_str());
        rows.push([key.name.to_string(), recipe, when.to_owned(), readers(contract, &key.name)]);
        let is_last = contract.values_of(key.name.secret()).last().is_some_and(|last| last.name == key.name);
        rows.extend(texts(contract, key.name.secret(), when).into_iter().filter(|_| is_last));
    }
    rows
}

/// A row for each text that a Secret holds besides its values.
fn texts(contract: &Contract, secret: &str, when: &str) -> Vec<[String; 4]> {
    let row = |(property, text): (&DataKey, &Text)| {
        let reads: Vec<&str> = text.reads().map(DataKey::as_str).collect();
        let recipe = if reads.is_empty() { "plain".to_owned() } else { format!("template with {}", reads.join(", ")) };
        let name = KeyName::new(&format!("{secret}/{property}")).ok()?;
        Some([name.to_string(), recipe, when.to_owned(), readers(contract, &name)])
    };
    contract.form(secret).texts.iter().filter_map(row).collect()
}

pub fn json(places: &Places, contract: &Contract, coverage: &[Finding]) -> String {
    let keys: Vec<Value> = contract
        .keys
        .iter()
        .map(|key| {
            json!({
                "name": key.name.as_str(), "about": key.about, "recipe": key.recipe.describe(), "unit": key.unit.as_str(),
                "provided": key.is_provided(), "when": key.when.as_ref().map(|when| &when.text), "needed": key.needed,
                "writeOnce": key.write_once, "operatorCopy": key.operator_copy, "afterRotation": key.after_rotation,
                "length": key.recipe.length(),
            })
        })
        .collect();
    let consumers: Vec<Value> = contract
        .consumers
        .iter()
        .map(|consumer| {
            let entry = |entry: &Entry| match entry.property.as_str() {
                PROPERTY => json!({ "secretKey": entry.secret_key.as_str(), "key": entry.key.as_str() }),
                property => json!({ "secretKey": entry.secret_key.as_str(), "key": entry.key.as_str(), "property": property }),
            };
            let mut value = json!({
                "namespace": consumer.namespace.as_str(), "name": consumer.name.as_ref().map(|name| name.as_str()),
                "target": consumer.target.as_str(), "data": consumer.entries.iter().map(entry).collect::<Vec<_>>(),
            });
            if !consumer.whole.is_empty() {
                value["extract"] = consumer.whole.iter().map(Name::as_str).collect();
            }
            value
        })
        .collect();
    let contract = json!({
        "version": 1, "store": contract.store.as_str(), "namespace": contract.namespace.as_str(),
        "reader": { "name": contract.reader.name.as_str(), "namespace": contract.reader.namespace.as_str() },
        "keys": keys, "consumers": consumers, "coverage": findings::values(places, coverage),
    });
    pretty(contract)
}

/// The flow chart's node for a check of this category.
#[cfg(feature = "cluster")]
pub(super) fn node(contract: &Contract, category: &str, name: &str) -> Option<String> {
    let key = || secrets(contract).iter().position(|secret| *secret == name);
    let consumer = |called: &dyn Fn(&Consumer) -> Option<&Name>| {
        let is_it = |one: &Consumer| called(one).is_some_and(|called| name == format!("{}/{called}", one.namespace));
        contract.consumers.iter().position(is_it)
    };
    match category {
        "sealed secrets" => key().map(|at| format!("k{at}")),
        "external secrets" => consumer(&|one| one.name.as_ref()).map(|at| format!("e{at}")),
        "targets" => consumer(&|one| Some(&one.target)).map(|at| format!("t{at}")),
        _ => key().map(|at| format!("s{at}")),
    }
}

/// The source Secrets, in the contract's order.
pub(super) fn secrets(contract: &Contract) -> Vec<&str> {
    let mut secrets: Vec<&str> = contract.keys.iter().map(|key| key.name.secret()).collect();
    secrets.dedup();
    secrets
}

/// A flow chart: SealedSecret → source Secret → ExternalSecret → target Secret.
pub fn mermaid(contract: &Contract) -> String {
    let mut text = "flowchart LR\n".to_owned();
    let secrets = secrets(contract);
    for (i, secret) in secrets.iter().enumerate() {
        text.push_str(&format!("  k{i}([\"{secret}\"]) --> s{i}[\"{}/{secret}\"]\n", contract.namespace));
    }
    let place = |secret: &Name| secrets.iter().position(|one| *one == secret.as_str()).expect("a contract's consumers read its keys");
    for (i, consumer) in contract.consumers.iter().enumerate() {
        let name = consumer.name.as_ref().map_or("a helm chart's ExternalSecret".to_owned(), ToString::to_string);
        text.push_str(&format!(
            "  e{i}{{{{\"{}/{name}\"}}}} --> t{i}[(\"{}/{}\")]\n",
            consumer.namespace, consumer.namespace, consumer.target
        ));
        for entry in &consumer.entries {
            text.push_str(&format!("  s{} -->|{}| e{i}\n", place(&entry.key), entry.secret_key));
        }
        for secret in &consumer.whole {
            text.push_str(&format!("  s{} -->|all| e{i}\n", place(secret)));
        }
    }
    text
}
