//! A plan: what a run would do, or did, and what remains for the operator.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{counted, findings, pretty};
use crate::model::{Change, Consumer, Contract, Entry, KeyName, Name, PROPERTY, Places, Plan, Reason, Recipe, Sorted, Workload, visible};
use crate::pipeline::adopt::Adopted;

/// A line for each unit and each derived file; new derived files are only counted.
pub fn text(places: &Places, contract: &Contract, plan: &Plan, done: bool) -> String {
    let mut text = String::new();
    let mut new: BTreeMap<&str, usize> = BTreeMap::new();
    for change in &plan.changes {
        match change {
            Change::Seal { file, keys, reason, .. } if keys.is_empty() => {
                text.push_str(&format!("write  {} ({}): the same values\n", places.in_out(file), why(*reason)));
            }
            Change::Seal { file, keys, copies, reason, .. } => {
                text.push_str(&format!("seal   {} ({})", places.in_out(file), why(*reason)));
                match keys.as_slice() {
                    // The file's name already says it.
                    [one] if one.property() == PROPERTY => {}
                    keys => text.push_str(&format!(": {}", several(keys))),
                }
                text.push('\n');
                for name in copies {
                    text.push_str(&format!("copy   {} (for you; never commit it)\n", places.in_secrets(&name.file_name())));
                }
            }
            Change::Write { file, reason: Reason::New, .. } => {
                *new.entry(file.rsplit_once('/').map_or("", |(folder, _)| folder)).or_default() += 1;
            }
            Change::Write { file, reason, .. } => text.push_str(&format!("write  {} ({})\n", places.in_out(file), why(*reason))),
            Change::Copy { file, reason, .. } => text.push_str(&format!("copy   {} ({})\n", visible(file), why(*reason))),
            Change::Place { file, reason, .. } | Change::Remember { file, reason, .. } => {
                text.push_str(&format!("write  {} ({})\n", visible(file), why(*reason)));
            }
        }
    }
    for (folder, count) in new {
        text.push_str(&format!("write  {} (new): {}\n", places.in_out(folder), counted(count, "file")));
    }
    if !plan.readers.is_empty() {
        text.push_str(&format!("note   {}: {}\n", if done { "more can read" } else { "more could read" }, more_readers(plan)));
    }
    text + &last_line(plan, done) + &remarks(places, contract, plan)
}

/// The names of several values.
fn several(keys: &[KeyName]) -> String {
    const SHOWN: usize = 4;
    match keys {
        [one, other] => format!("{one} and {other}"),
        keys if keys.len() > SHOWN => format!("{}, and {} more", several_of(&keys[..SHOWN]), keys.len() - SHOWN),
        keys => several_of(keys),
    }
}

fn several_of(keys: &[KeyName]) -> String {
    keys.iter().map(KeyName::as_str).collect::<Vec<_>>().join(", ")
}

/// The readers that a changed form adds, as an imperative.
pub fn readers(plan: &Plan) -> String {
    format!("let {} read more: {}", counted(plan.readers.len(), "namespace"), more_readers(plan))
}

fn more_readers(plan: &Plan) -> String {
    let each = plan.readers.iter().map(|(namespace, keys)| format!("`{}` {}", visible(namespace), counted(*keys, "more key")));
    each.collect::<Vec<_>>().join(", ")
}

fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Missing => "made again: its file was gone",
        other => other.as_str(),
    }
}

fn last_line(plan: &Plan, done: bool) -> String {
    let (mut values, mut units) = (0, 0);
    for change in &plan.changes {
        if let Change::Seal { keys, .. } = change {
            values += keys.len();
            units += usize::from(!keys.is_empty());
        }
    }
    let (values, written) = (counted(values, "value"), plan.changes.len() - units);
    match (plan.changes.is_empty(), done, written) {
        (true, ..) => "nothing to do\n".to_owned(),
        (false, false, 0) => format!("to do: {values} to seal, in {}\n", counted(units, "file")),
        (false, false, _) => format!("to do: {values} to seal, {} to write\n", counted(written, "file")),
        (false, true, 0) => {
            format!("done: {values} sealed to {}, in {}; nothing else changed\n", plan.certificate, counted(units, "file"))
        }
        (false, true, _) => format!("done: {values} sealed to {}, {} written\n", plan.certificate, counted(written, "file")),
    }
}

/// What a plan leaves open: orphans, values that only the operator has, and disagreements between contract and platform.
pub fn remarks(places: &Places, contract: &Contract, plan: &Plan) -> String {
    let mut text = String::new();
    for orphan in &plan.orphans {
        text.push_str(&format!("orphan: {} is not in the contract; it stays\n", places.in_out(orphan)));
    }
    if !plan.awaited.is_empty() {
        text.push_str(&format!("yours to add, with `{}`:\n", places.command("bootstrap --provide KEY=FILE")));
    }
    for name in &plan.awaited {
        let hint = match contract.key(name.as_str()).map(|key| &key.recipe) {
            Some(Recipe::Provided { hint: Some(hint), .. }) => format!(": {hint}"),
            _ => String::new(),
        };
        text.push_str(&format!("  {name}{hint}\n"));
    }
    text + &findings::all(places, &plan.coverage)
}

/// The plan for programs. A `file` of ours is relative to the output folder, a `path` never is.
pub fn value(places: &Places, plan: &Plan) -> Value {
    let names = |names: &[KeyName]| names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let change = |change: &Change| match change {
        Change::Seal { unit, file, keys, copies, reason } => json!({
            "action": if keys.is_empty() { "write" } else { "seal" }, "unit": unit.as_str(), "file": file, "path": places.in_out(file), "keys": names(keys), "copies": names(copies), "reason": reason.as_str(),
        }),
        Change::Write { file, reason, .. } => {
            json!({ "action": "write", "file": file, "path": places.in_out(file), "reason": reason.as_str() })
        }
        Change::Copy { key, file, reason } => {
            json!({ "action": "copy", "key": key.as_str(), "file": file, "path": file, "reason": reason.as_str() })
        }
        Change::Place { file, reason, .. } | Change::Remember { file, reason, .. } => {
            json!({ "action": "write", "file": file, "path": file, "reason": reason.as_str() })
        }
    };
    json!({
        "version": 1, "certificate": plan.certificate.to_string(), "changes": plan.changes.iter().map(change).collect::<Vec<_>>(),
        "awaited": names(&plan.awaited), "orphans": plan.orphans, "kept": names(&plan.kept), "readers": plan.readers,
        "coverage": findings::values(places, &plan.coverage),
    })
}

pub fn json(places: &Places, plan: &Plan) -> String {
    pretty(value(places, plan))
}

/// The consumers whose targets change with a value, including those that read a text with it.
fn consumers<'c>(contract: &'c Contract, name: &KeyName) -> impl Iterator<Item = &'c Consumer> {
    let name = name.clone();
    let texts = contract.form(name.secret()).texts.iter();
    let texts: Vec<&str> =
        texts.filter(|(_, text)| text.reads().any(|of| of.as_str() == name.property())).map(|(key, _)| key.as_str()).collect();
    let (of, secret) = (name.clone(), name.secret().to_owned());
    let reads = move |entry: &Entry| entry.key.as_str() == secret && texts.contains(&entry.property.as_str());
    contract.consumers.iter().filter(move |consumer| consumer.reads_key(&of) || consumer.entries.iter().any(&reads))
}

/// What a rotation needs in the cluster, in this order: the sources, the targets, the consumers that hold the old value in memory.
pub fn after_rotation(contract: &Contract, plan: &Plan) -> String {
    let mut text = "next, in this order:\n  1. commit the change, and let it be applied: the controller unseals it\n".to_owned();
    let mut commands: Vec<String> = Vec::new();
    let mut restarts = String::new();
    for name in plan.sealed() {
        let targets: Vec<String> = consumers(contract, name).map(|one| format!("{}/{}", one.namespace, one.target)).collect();
        for command in consumers(contract, name).map(|consumer| consumer.force_sync(None)) {
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
        let read_by = if targets.is_empty() { "no ExternalSecret reads it".to_owned() } else { format!("read by {}", targets.join(", ")) };
        let restart = contract.key(name.as_str()).and_then(|key| key.after_rotation.as_ref());
        restarts.push_str(&format!("     {name}: {read_by}{}\n", restart.map_or(String::new(), |restart| format!("; {restart}"))));
    }
    if !commands.is_empty() {
        text.push_str("  2. update the targets now, or wait for their next refresh:\n");
        commands.iter().for_each(|command| text.push_str(&format!("     {command}\n")));
    }
    let step = if commands.is_empty() { 2 } else { 3 };
    let mut workloads: Vec<String> = Vec::new();
    let of = plan.sealed().filter_map(|name| contract.key(name.as_str())).flat_map(|key| &key.restart).map(Workload::restart);
    of.for_each(|command| workloads.extend((!workloads.contains(&command)).then_some(command)));
    let workloads: String = workloads.iter().map(|command| format!("     {command}\n")).collect();
    format!("{text}  {step}. restart whatever reads it:\n{restarts}{workloads}")
}

pub fn rotation_json(places: &Places, contract: &Contract, plan: &Plan) -> String {
    let after = |name: &KeyName| {
        let readers = consumers(contract, name).map(|consumer| {
            json!({
                "namespace": consumer.namespace.as_str(), "name": consumer.name.as_ref().map(Name::as_str),
                "target": consumer.target.as_str(), "forceSync": consumer.force_sync(None),
            })
        });
        let restart = contract.key(name.as_str()).and_then(|key| key.after_rotation.as_ref());
        let workloads: Vec<String> = contract.key(name.as_str()).into_iter().flat_map(|key| &key.restart).map(Workload::restart).collect();
        json!({ "key": name.as_str(), "readers": readers.collect::<Vec<_>>(), "restart": restart, "commands": workloads })
    };
    let mut value = value(places, plan);
    value["after"] = plan.sealed().map(after).collect();
    pretty(value)
}

/// The source of each adopted value that is sealed, and further remarks.
pub fn adopted(plan: &Plan, found: &Adopted) -> String {
    let line = |name| {
        let from = visible(found.from.get(name)?);
        let unlike = found.unlike.get(name).map(|made| format!("; not what its recipe makes ({made}), so it is marked as imported"));
        Some(format!("from   {from}: {name}{}\n", unlike.unwrap_or_default()))
    };
    let mut text: String = plan.sealed().filter_map(line).collect();
    found.remarks.iter().for_each(|remark| text.push_str(&format!("note   {}\n", visible(remark))));
    text
}

pub fn adopted_json(places: &Places, plan: &Plan, found: &Adopted) -> String {
    let mut value = value(places, plan);
    value["from"] = found.from.iter().map(|(name, from)| (name.to_string(), json!(from))).sorted::<serde_json::Map<_, _>>().into();
    value["imported"] = found.unlike.keys().map(ToString::to_string).collect();
    value["remarks"] = json!(found.remarks);
    pretty(value)
}
