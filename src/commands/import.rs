//! `import`: adopts existing values. A sealed value wins, unless it is to be replaced.

use super::{Outcome, sealing};
use crate::cli::Import;
use crate::manifest::{env_file, mapping, secret, text};
#[cfg(feature = "cluster")]
use crate::model::Sorted;
use crate::model::{Contract, DataKey, Error, KeyName, Name, Result, meant, visible};
use crate::pipeline::adopt::{Adopted, Halves};
use crate::show::counted;
use crate::workspace::Workspace;
use crate::workspace::given::warn_of_line_feed;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &Import, world: &mut World) -> Result<Outcome> {
    sealing::adopt(workspace, &args.adoption, |contract, world| find(workspace, contract, args, world), world)
}

fn find(workspace: &Workspace, contract: &Contract, args: &Import, world: &mut World) -> Result<Adopted> {
    let mut found = Adopted::default();
    for path in &args.env_files {
        let (bytes, name) = (workspace.read_secret(path)?, path.to_string_lossy());
        let variables = text::decode(&bytes).and_then(env_file::read).map_err(|error| error.in_file(&name))?;
        variables.into_iter().try_for_each(|variable| found.add_variable(contract, variable, &name))?;
    }
    for path in &args.files {
        let (name, bytes) = workspace.read_input(path, true, world)?;
        add_secrets(contract, &bytes, &name, &mut found)?;
    }
    for (secret, path) in &args.mappings {
        let (name, bytes) = workspace.read_input(path, true, world)?;
        add_mapping(contract, secret, &bytes, &name, &mut found).map_err(|error| error.in_file(&name))?;
    }
    if let Some(path) = &args.json_file {
        let (name, bytes) = workspace.read_input(path, true, world)?;
        add_fields(contract, &args.json_keys, &bytes, &name, &mut found).map_err(|error| error.in_file(&name))?;
    }
    for path in &args.directories {
        for (name, value, from) in workspace.read_folder(path, contract)? {
            let key = contract.key(name.as_str()).expect("it is read for the contract's keys");
            found.take(key, value, from)?;
        }
    }
    #[cfg(feature = "cluster")]
    if args.from_cluster {
        add_cluster(workspace, contract, args, &mut found, world)?;
    }
    found.trimmed.iter().for_each(|name| warn_of_line_feed(name, world));
    // Values in use in a cluster cannot be edited.
    #[cfg(feature = "cluster")]
    let halves = if args.from_cluster { Halves::LeftOut } else { Halves::Refused };
    #[cfg(not(feature = "cluster"))]
    let halves = Halves::Refused;
    found.settle(contract, halves)?;
    contract.all_named("--accept-as-is", &args.as_is.accept_as_is)?;
    found.judge(contract, &args.as_is.accept_as_is)?;
    if found.values.is_empty() {
        let help =
            "pass a source of values: see `seal-secrets contract` for the keys, and `seal-secrets import --help` for how they are found";
        let why = found.remarks.join("; ");
        let error = Error::bad_input("there is no value of a key of the contract in it", help);
        let sources = args.env_files.iter().chain(&args.files).chain(&args.directories).map(|path| path.to_string_lossy());
        let error = error.in_file(&sources.collect::<Vec<_>>().join(", "));
        return Err(if why.is_empty() { error } else { error.why(why) });
    }
    Ok(found)
}

/// Adds the fields of a mapping, for the values of a Secret with these data keys.
fn add_mapping(contract: &Contract, secret: &Name, bytes: &[u8], name: &str, found: &mut Adopted) -> Result<()> {
    if contract.secret(secret.as_str()).is_none() {
        let help = meant(secret.as_str(), contract.secrets(), "see `seal-secrets contract`");
        return Err(Error::usage("`--values` names a Secret that the contract does not have", help));
    }
    for (field, value, position) in mapping::fields(text::decode(bytes)?)? {
        let key = DataKey::new(&field).ok().and_then(|field| contract.key(KeyName::of(secret, &field).as_str()));
        match (key, value) {
            (Some(key), Some(value)) => found.take(key, value, format!("{}:{}", visible(name), position.0))?,
            (Some(key), None) => {
                let help = "pass a mapping of texts, such as `vault kv get -format=json` prints";
                return Err(Error::bad_input(format!("the field of `{}` is no text", key.name), help).at(position));
            }
            (None, _) => found.skipped += 1,
        }
    }
    Ok(())
}

/// Adds single fields of a document, each for its key.
fn add_fields(contract: &Contract, keys: &[(KeyName, String)], bytes: &[u8], name: &str, found: &mut Adopted) -> Result<()> {
    let text = text::decode(bytes)?;
    for (key, field) in keys {
        let key = contract.known_key("--json-key", key)?;
        let value = mapping::field(text, field)?;
        let missing = || {
            Error::bad_input(
                format!("it has no text for `{}`", key.name),
                "check the field: its names are joined by dots, such as `data.token`",
            )
        };
        let (value, position) = value.ok_or_else(missing)?;
        found.take(key, value, format!("{}:{}", visible(name), position.0))?;
    }
    Ok(())
}

fn add_secrets(contract: &Contract, bytes: &[u8], name: &str, found: &mut Adopted) -> Result<()> {
    let (secrets, others) = text::decode(bytes).and_then(secret::read_plain).map_err(|error| error.in_file(name))?;
    if others > 0 {
        found.remarks.push(format!("skipped {} in {name}: no Secret of `v1`", counted(others, "document")));
    }
    secrets.into_iter().try_for_each(|secret| found.add_secret(contract, secret, name))
}

/// Adds the source Secrets of the contract's keys, and the target Secrets of its consumers; no list is requested.
#[cfg(feature = "cluster")]
fn add_cluster(workspace: &Workspace, contract: &Contract, args: &Import, found: &mut Adopted, world: &mut World) -> Result<()> {
    let sources = contract.secrets().into_iter().map(|secret| (&contract.namespace, secret));
    let targets = contract.consumers.iter().map(|consumer| (&consumer.namespace, consumer.target.as_str()));
    let places: std::collections::BTreeSet<_> = sources.chain(targets).sorted();
    if let Some(unknown) = args.namespaces.iter().find(|asked| !places.iter().any(|(namespace, _)| namespace == asked)) {
        let help = format!("pass `{}`, or the namespace of a consumer: see `seal-secrets contract`", contract.namespace);
        return Err(Error::usage(format!("nothing of the contract is in the namespace `{unknown}`"), help));
    }
    let cluster = crate::world::cluster::Cluster::connect(&workspace.access(), world)?;
    for (namespace, name) in places.into_iter().filter(|(namespace, _)| args.namespaces.is_empty() || args.namespaces.contains(namespace)) {
        if let Some(bytes) = cluster.find_secret(&format!("/api/v1/namespaces/{namespace}/secrets/{name}"))? {
            add_secrets(contract, &bytes, &format!("{namespace}/{name}"), found)?;
        }
    }
    Ok(())
}
