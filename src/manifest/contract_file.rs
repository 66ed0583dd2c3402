//! The contract file: YAML to a valid `Contract`, or one error with its position.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::contract_recipes::{self as recipes, Made, Place};
use super::yaml::{self, Fields, Node, parsed};
use crate::model::{
    Consumer, Contract, DataKey, Entry, Error, Form, Key, KeyName, KnownKeys, Name, Namespace, PROPERTY, Part, Reader, Recipe, Result,
    Sorted, Terms, Text, When, Workload, WorkloadKind, visible,
};

/// The platform's contract, as shipped.
pub const EMBEDDED: &str = include_str!("../contract.yaml");

/// Reads a contract; `file` is the file's name in errors and findings.
pub fn read(file: &str, text: &str) -> Result<Contract> {
    read_contract(file, text).map_err(|error| error.in_file(file))
}

fn read_contract(file: &str, text: &str) -> Result<Contract> {
    let root = yaml::read_one(text)?;
    let mut fields = root.fields("")?;
    let version = fields.required("version")?.number("version", 1..=2)?;
    let mut reader = fields.required("reader")?.fields("reader")?;
    let store = fields.parsed("store", Name::new)?;
    let namespace = fields.parsed("namespace", Namespace::new)?;
    let read = Reader { name: reader.parsed("name", Name::new)?, namespace: reader.parsed("namespace", Namespace::new)? };
    let ignored = read_ignored(fields.optional("ignored"))?;
    let (keys, forms) = match version {
        1 => (read_keys(fields.required("keys")?)?, BTreeMap::new()),
        _ => {
            if let Some(keys) = root.get("keys") {
                let help = "write `secrets`, or `version: 1`";
                return Err(Error::bad_input("`keys` is of `version: 1`", help).at(keys.position));
            }
            let all = read_form(&mut fields)?;
            read_secrets(fields.required("secrets")?, &all)?
        }
    };
    let terms = Terms { file: file.to_owned(), store, namespace, reader: read, ignored, forms, keys, consumers: Vec::new() };
    reader.finish()?;
    let consumers = fields.optional("consumers");
    fields.finish()?;
    let contract = Contract::new(terms)?;
    let consumers = consumers.map_or(Ok(Vec::new()), |node| read_consumers(node, &contract))?;
    contract.with_consumers(consumers)
}

fn read_ignored(node: Option<&Node>) -> Result<Vec<String>> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let line = |(i, node): (usize, &Node)| Ok(node.text(&format!("ignored[{i}]"))?.to_owned());
    node.list("ignored")?.iter().enumerate().map(line).collect()
}

fn read_keys(node: &Node) -> Result<Vec<Key>> {
    let nodes = node.list("keys")?;
    if nodes.is_empty() {
        return Err(Error::bad_input("`keys` is empty", "add at least one key").at(node.position));
    }
    let read = |(i, node): (usize, &Node)| read_key(node, &format!("keys[{i}]"));
    let mut keys: Vec<Key> = nodes.iter().enumerate().map(read).collect::<Result<_>>()?;
    let said = keys.iter().zip(nodes).filter(|(_, node)| node.get("unit").is_some()).map(|(key, _)| key.name.clone()).sorted();
    settle_units(&mut keys, &said);
    Ok(keys)
}

/// A value that is made from another one belongs to that one's unit, unless it names its own.
fn settle_units(keys: &mut [Key], said: &BTreeSet<KeyName>) {
    // A certificate's key follows the certificate, which follows its authority: a chain may be as long as the number of keys.
    for _ in 0..keys.len() {
        let units: BTreeMap<KeyName, Name> = keys.iter().map(|key| (key.name.clone(), key.unit.clone())).sorted();
        let mut moved: BTreeMap<String, Name> = BTreeMap::new();
        for key in keys.iter().filter(|key| !said.contains(&key.name)) {
            let others = key.recipe.sources().into_iter().filter(|of| of.secret() != key.name.secret());
            let unit = others.filter_map(|of| units.get(of)).next();
            moved.extend(unit.map(|unit| (key.name.secret().to_owned(), unit.clone())));
        }
        let mut settled = true;
        for key in keys.iter_mut() {
            if let Some(unit) = moved.get(key.name.secret()).filter(|unit| **unit != key.unit) {
                (key.unit, settled) = (unit.clone(), false);
            }
        }
        if settled {
            return;
        }
    }
}

fn read_key(node: &Node, path: &str) -> Result<Key> {
    let mut fields = node.fields(path)?;
    let name = fields.parsed("name", Name::new)?;
    let unit = optional_name(&mut fields, "unit")?;
    let when = optional_when(&mut fields)?;
    let recipe = fields.required("recipe")?;
    let about = visible(fields.text_or("about", "add `about:`, one line that says what the key is for")?);
    let place = Place { secret: &name, property: None, kinds: recipes::FIRST };
    let recipe = match recipes::read(recipe, &fields.path("recipe"), &place)?.pop() {
        // `of` names a key, whose value is under `value`.
        Some(Made::Value(_, recipe)) => recipe.renamed(&|of| KeyName::new(of.property()).unwrap_or_else(|_| of.clone())),
        _ => unreachable!("the recipes of version 1 make one value"),
    };
    let key = Key {
        about,
        recipe,
        when,
        needed: true,
        write_once: fields.flag("write-once")?,
        operator_copy: fields.flag("operator-copy")?,
        unit: unit.unwrap_or_else(|| name.clone()),
        after_rotation: fields.optional_text("after-rotation")?.map(visible),
        restart: Vec::new(),
        position: Some(node.position),
        name: KeyName::new(name.as_str())?,
    };
    fields.finish()?;
    Ok(key)
}

fn optional_name(fields: &mut Fields<'_>, field: &'static str) -> Result<Option<Name>> {
    let path = fields.path(field);
    fields.optional(field).map(|node| parsed(node, &path, Name::new)).transpose()
}

fn optional_when(fields: &mut Fields<'_>) -> Result<Option<When>> {
    let path = fields.path("when");
    fields.optional("when").map(|node| parsed(node, &path, read_when)).transpose()
}

/// Reads what a Secret, or every Secret, has besides its values: labels, annotations, whether it is immutable, or managed.
fn read_form(fields: &mut Fields<'_>) -> Result<Form> {
    let mut strings = |field: &'static str| -> Result<BTreeMap<String, String>> {
        let path = fields.path(field);
        let Some(node) = fields.optional(field) else { return Ok(BTreeMap::new()) };
        let read = super::sealed_secret::strings(Some(node), &path)?;
        let ours = |name: &&String| name.starts_with("seal-secrets/") || name.contains("sealedsecrets.bitnami.com/");
        match read.keys().find(ours) {
            None => Ok(read),
            Some(name) => {
                let help = "remove it: seal-secrets sets what it needs; for an existing Secret that is taken over, write `managed: true`";
                Err(Error::bad_input(format!("`{path}` sets `{}`", visible(name)), help).at(node.position))
            }
        }
    };
    let (labels, mut annotations) = (strings("labels")?, strings("annotations")?);
    if fields.flag("managed")? {
        annotations.insert(MANAGED.to_owned(), "true".to_owned());
    }
    Ok(Form { labels, annotations, immutable: fields.flag("immutable")?, ..Form::default() })
}

/// With this annotation, the controller takes over an existing Secret.
const MANAGED: &str = "sealedsecrets.bitnami.com/managed";

/// The values of version 2's Secrets, and the forms of those Secrets.
fn read_secrets(node: &Node, all: &Form) -> Result<(Vec<Key>, BTreeMap<Name, Form>)> {
    let nodes = node.list("secrets")?;
    if nodes.is_empty() {
        return Err(Error::bad_input("`secrets` is empty", "add at least one").at(node.position));
    }
    let mut names: BTreeMap<Name, usize> = BTreeMap::new();
    let mut secrets = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        let secret = read_secret(node, &format!("secrets[{i}]"), all)?;
        if let Some(line) = names.insert(secret.name.clone(), node.position.0) {
            let help = "keep one of the two, with all values under `values`";
            return Err(
                Error::bad_input(format!("the Secret `{}` appears twice, first on line {line}", secret.name), help).at(node.position)
            );
        }
        secrets.push((secret, node));
    }
    let known: BTreeSet<KeyName> = secrets.iter().flat_map(|(secret, _)| secret.names()).sorted();
    let plain: BTreeMap<KeyName, String> = secrets.iter().flat_map(|(secret, _)| secret.plain()).sorted();
    let (mut keys, mut forms, mut said) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    for (secret, node) in secrets {
        let (of_secret, name, form) = secret.settled(&known, &plain, node)?;
        said.extend(of_secret.iter().filter(|_| node.get("unit").is_some()).map(|key| key.name.clone()));
        keys.extend(of_secret);
        if form != Form::default() {
            forms.insert(name, form);
        }
    }
    settle_units(&mut keys, &said);
    Ok((keys, forms))
}

/// A Secret of version 2, as written in the file.
struct Secret {
    name: Name,
    form: Form,
    /// What all of its values share.
    shared: Key,
    /// The data keys whose values are copied for the operator; none = all.
    copied: Option<Vec<DataKey>>,
    made: Vec<Made>,
}

fn read_secret(node: &Node, path: &str, all: &Form) -> Result<Secret> {
    let mut fields = node.fields(path)?;
    let name = fields.parsed("name", Name::new)?;
    let about = visible(fields.text_or("about", "add `about:`, one line that says what the Secret is for")?);
    let own = read_form(&mut fields)?;
    let mut form = all.clone();
    form.labels.extend(own.labels);
    form.annotations.extend(own.annotations);
    form.immutable |= own.immutable;
    form.kind = fields.optional_text("type")?.filter(|kind| *kind != "Opaque").map(str::to_owned);
    let unit = optional_name(&mut fields, "unit")?;
    let when = optional_when(&mut fields)?;
    let (operator_copy, copied) = read_copies(&mut fields)?;
    let write_once = fields.flag("write-once")?;
    let (after_rotation, restart) = read_after_rotation(&mut fields)?;
    let (recipe, values) = (fields.optional("recipe"), fields.optional("values"));
    fields.finish()?;
    let made = read_values((recipe, values), path, &name, node)?;
    let is_tls = made.iter().any(|made| matches!(made, Made::Value(key, Recipe::Certificate { .. }) if key.as_str() == recipes::TLS_CRT));
    let is_docker = matches!(made.as_slice(), [Made::Text(key, _)] if key.as_str() == recipes::DOCKER_CONFIG);
    if form.kind.is_none() && node.get("recipe").is_some() && node.get("type").is_none() {
        let implied = [(is_tls, "kubernetes.io/tls"), (is_docker, "kubernetes.io/dockerconfigjson")];
        form.kind = implied.iter().find(|(is, _)| *is).map(|(_, kind)| (*kind).to_owned());
    }
    let shared = Key {
        name: KeyName::new(name.as_str())?,
        about,
        recipe: Recipe::Uuid,
        when,
        needed: true,
        write_once,
        operator_copy,
        unit: unit.unwrap_or_else(|| name.clone()),
        after_rotation,
        restart,
        position: Some(node.position),
    };
    Ok(Secret { name, form, shared, copied, made })
}

/// What to do after a rotation: a text, or a note and the workloads to restart.
fn read_after_rotation(fields: &mut Fields<'_>) -> Result<(Option<String>, Vec<Workload>)> {
    let path = fields.path("after-rotation");
    let node = match fields.optional("after-rotation") {
        None => return Ok((None, Vec::new())),
        Some(node) if node.entries().is_empty() => return Ok((Some(visible(node.text(&path)?)), Vec::new())),
        Some(node) => node,
    };
    let mut fields = node.fields(&path)?;
    let note = fields.optional_text("note")?.map(visible);
    let path = fields.path("restart");
    let list = fields.optional("restart").map_or(Ok(&[][..]), |node| node.list(&path))?;
    let restart = list.iter().enumerate().map(|(i, node)| read_workload(node, &format!("{path}[{i}]"))).collect::<Result<_>>()?;
    fields.finish()?;
    Ok((note, restart))
}

fn read_workload(node: &Node, path: &str) -> Result<Workload> {
    let mut fields = node.fields(path)?;
    let namespace = fields.parsed("namespace", Namespace::new)?;
    let mut found = None;
    for kind in WorkloadKind::ALL {
        let path = fields.path(kind.as_str());
        if let Some(node) = fields.optional(kind.as_str()) {
            found = Some(Workload { kind: *kind, name: parsed(node, &path, Name::new)?, namespace: namespace.clone() });
        }
    }
    fields.finish()?;
    let help = "write `deployment`, `statefulset` or `daemonset` with its name";
    found.ok_or_else(|| Error::bad_input(format!("`{path}` names no workload"), help).at(node.position))
}

/// Whether the operator gets copies, and of which values; none = of all.
fn read_copies(fields: &mut Fields<'_>) -> Result<(bool, Option<Vec<DataKey>>)> {
    let path = fields.path("operator-copy");
    match fields.optional("operator-copy") {
        Some(node) if !node.items().is_empty() => {
            let keys = node.list(&path)?.iter().map(|node| parsed(node, &path, DataKey::new)).collect::<Result<_>>()?;
            Ok((true, Some(keys)))
        }
        node => Ok((node.map_or(Ok(false), |node| node.boolean(&path))?, None)),
    }
}

fn read_values((recipe, values): (Option<&Node>, Option<&Node>), path: &str, name: &Name, node: &Node) -> Result<Vec<Made>> {
    let (path, values_path) = (format!("{path}.recipe"), format!("{path}.values"));
    let made = match (recipe, values) {
        (Some(recipe), None) => recipes::read(recipe, &path, &Place { secret: name, property: None, kinds: recipes::ALL })?,
        (None, Some(values)) => {
            let mut made = Vec::new();
            for (property, node) in values.fields(&values_path)?.all() {
                let path = format!("{values_path}.{property}");
                let property = DataKey::new(property)
                    .map_err(|error| Error::bad_input(format!("`{path}` is {}", error.what()), error.help()).at(node.position))?;
                made.extend(recipes::read(node, &path, &Place { secret: name, property: Some(&property), kinds: recipes::ALL })?);
            }
            made
        }
        _ => {
            let help = "write `recipe` for one value under the data key `value`, or `values` with a recipe for each data key";
            return Err(Error::bad_input(format!("`{name}` should have either `recipe` or `values`"), help).at(node.position));
        }
    };
    let mut seen = BTreeSet::new();
    for one in &made {
        let (Made::Value(property, _) | Made::Text(property, _)) = one;
        if !seen.insert(property) {
            let help = "name another data key with `public`, `crt` or `ca`, or remove one of the two";
            return Err(Error::bad_input(format!("`{name}` has the data key `{property}` twice"), help).at(node.position));
        }
    }
    Ok(made)
}

impl Secret {
    /// The names of its values and texts.
    fn names(&self) -> Vec<KeyName> {
        let property = |made: &Made| match made {
            Made::Value(property, _) | Made::Text(property, _) => KeyName::of(&self.name, property),
        };
        self.made.iter().map(property).collect()
    }

    /// Its texts that read no value.
    fn plain(&self) -> Vec<(KeyName, String)> {
        let plain = |made: &Made| match made {
            Made::Text(property, text) => Some((KeyName::of(&self.name, property), text.as_plain()?.to_owned())),
            Made::Value(..) => None,
        };
        self.made.iter().filter_map(plain).collect()
    }

    /// Resolves the names that it reads: `known` are the names of all values, `plain` the texts that are not secret.
    fn settled(self, known: &BTreeSet<KeyName>, plain: &BTreeMap<KeyName, String>, node: &Node) -> Result<(Vec<Key>, Name, Form)> {
        // `of: NAME` is a data key of this Secret, or else the value of another one.
        let named = |of: &KeyName| match KeyName::new(of.property()) {
            Ok(other) if !known.contains(of) && of.secret() == self.name.as_str() => other,
            _ => of.clone(),
        };
        let fault = |what: String, help: &str| Err(Error::bad_input(what, help).at(node.position));
        let (mut keys, mut form) = (Vec::new(), self.form.clone());
        for made in self.made {
            let (property, recipe) = match made {
                Made::Value(property, recipe) => (property, recipe.renamed(&named)),
                Made::Text(property, text) => {
                    let text = filled(&text, &named, plain);
                    if let Some(unknown) = text.reads().find(|of| !known.contains(*of)) {
                        let help = "name a data key of this Secret, or `SECRET/DATAKEY`; write `{{` and `}}` for braces";
                        return fault(format!("`{property}` of `{}` reads `{unknown}`, which the contract does not have", self.name), help);
                    }
                    let own = |of: &KeyName| DataKey::new(of.property()).ok().filter(|_| of.secret() == self.name.as_str());
                    match text.renamed(own) {
                        Some(text) => {
                            form.texts.insert(property, text);
                            continue;
                        }
                        None => (property, Recipe::Text(text)),
                    }
                }
            };
            let operator_copy = self.shared.operator_copy && self.copied.as_ref().is_none_or(|copied| copied.contains(&property));
            keys.push(Key { name: KeyName::of(&self.name, &property), recipe, operator_copy, ..self.shared.clone() });
        }
        let sealed: BTreeSet<&str> = keys.iter().map(|key| key.name.property()).sorted();
        if let Some(unread) = form.texts.values().flat_map(Text::reads).find(|of| !sealed.contains(of.as_str())) {
            return fault(format!("a template of `{}` reads `{unread}`, which is a template itself", self.name), "write its text out");
        }
        if keys.is_empty() {
            return fault(format!("`{}` holds nothing secret", self.name), "put it into a ConfigMap, or add a value");
        }
        if let Some(unknown) = self.copied.iter().flatten().find(|key| !sealed.contains(key.as_str())) {
            return fault(format!("`operator-copy` of `{}` names `{unknown}`, which is no sealed value of it", self.name), "remove it");
        }
        let all: BTreeSet<&str> = sealed.iter().copied().chain(form.texts.keys().map(DataKey::as_str)).sorted();
        check_type(&self.name, form.kind.as_deref(), &all).map_err(|error| error.at(node.position))?;
        Ok((keys, self.name, form))
    }
}

/// A text with the names of its values resolved, and texts that are not secret filled in.
fn filled(text: &Text<KeyName>, named: &dyn Fn(&KeyName) -> KeyName, plain: &BTreeMap<KeyName, String>) -> Text<KeyName> {
    let part = |part: &Part<KeyName>| match part {
        Part::Plain(text) => Part::Plain(text.clone()),
        Part::Value { of, escape } => match plain.get(&named(of)) {
            Some(text) => Part::Plain(String::from_utf8_lossy(&escape.apply(text.as_bytes())).into_owned()),
            None => Part::Value { of: named(of), escape: *escape },
        },
        Part::Basic { user, of } => Part::Basic { user: user.clone(), of: named(of) },
    };
    Text(text.0.iter().map(part).collect()).joined()
}

/// What an API server requires of a Secret's type (`pkg/apis/core/validation`, `ValidateSecret`).
fn check_type(secret: &Name, kind: Option<&str>, keys: &BTreeSet<&str>) -> Result<()> {
    let needs: &[&str] = match kind {
        Some("kubernetes.io/tls") => &["tls.crt", "tls.key"],
        Some("kubernetes.io/ssh-auth") => &["ssh-privatekey"],
        Some("kubernetes.io/dockerconfigjson") => &[".dockerconfigjson"],
        Some("kubernetes.io/dockercfg") => &[".dockercfg"],
        Some("kubernetes.io/basic-auth") if !keys.contains("username") => &["password"],
        _ => &[],
    };
    match needs.iter().find(|key| !keys.contains(*key)) {
        None => Ok(()),
        Some(missing) => {
            let kind = kind.unwrap_or_default();
            let help = format!("add it, or drop `type`: a cluster refuses a Secret of this type without `{missing}`");
            Err(Error::bad_input(format!("`{secret}` is of the type `{kind}`, and has no data key `{missing}`"), help))
        }
    }
}

/// One condition, or several joined by ` and `; each is `path` or `path = word`.
fn read_when(text: &str) -> Result<When> {
    let legal = |path: &str| {
        !path.is_empty()
            && path.split('.').all(|step| !step.is_empty() && step.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
    };
    let mut conditions = Vec::new();
    for condition in text.split(" and ") {
        let (path, word) = match condition.split_once('=') {
            Some((path, word)) => (path.trim(), Some(word.trim())),
            None => (condition.trim(), None),
        };
        if !legal(path) || word.is_some_and(|word| !legal(word)) {
            return Err(Error::bad_input("not a condition", "write `features.NAME`, `path = word`, or several of them joined by ` and `"));
        }
        conditions.push((path.to_owned(), word.map(str::to_owned)));
    }
    Ok(When { conditions, text: text.to_owned() })
}

fn read_consumers(node: &Node, contract: &Contract) -> Result<Vec<Consumer>> {
    let known = contract.known_keys();
    let mut seen = BTreeMap::new();
    let mut consumers = Vec::new();
    for (i, node) in node.list("consumers")?.iter().enumerate() {
        let consumer = read_consumer(node, &format!("consumers[{i}]"), &known)?;
        if let Some(name) = &consumer.name
            && let Some(line) = seen.insert((consumer.namespace.clone(), name.clone()), node.position.0)
        {
            let help = "keep one of the two";
            return Err(Error::bad_input(
                format!("the ExternalSecret `{name}` of namespace `{}` appears twice, first on line {line}", consumer.namespace),
                help,
            )
            .at(node.position));
        }
        consumers.push(consumer);
    }
    Ok(consumers)
}

fn read_consumer(node: &Node, path: &str, known: &KnownKeys<'_>) -> Result<Consumer> {
    let mut fields = node.fields(path)?;
    let name = match fields.optional("name") {
        Some(node) => Some(parsed(node, &fields.path("name"), Name::new)?),
        None => None,
    };
    let (data, whole_path) = (fields.optional("data"), fields.path("extract"));
    let whole = fields.optional("extract").map_or(Ok(&[][..]), |node| node.list(&whole_path))?.iter();
    let whole: Vec<Name> = whole.map(|node| parsed(node, &whole_path, Name::new)).collect::<Result<_>>()?;
    let mut entries = Vec::new();
    for (i, node) in data.map_or(Ok(&[][..]), |data| data.list(&fields.path("data")))?.iter().enumerate() {
        let mut fields = node.fields(&format!("{path}.data[{i}]"))?;
        let entry = Entry {
            index: i,
            secret_key: fields.parsed("secretKey", DataKey::new)?,
            key: fields.parsed("key", Name::new)?,
            property: match fields.optional("property") {
                Some(_) => fields.parsed("property", DataKey::new)?,
                None => DataKey::new(PROPERTY)?,
            },
            own_store: false,
        };
        fields.finish()?;
        known.check(&format!("`{path}`"), &entry.key, Some(&entry.property)).map_err(|error| error.at(node.position))?;
        entries.push(entry);
    }
    if entries.is_empty() && whole.is_empty() {
        let at = data.map_or(node.position, |data| data.position);
        return Err(Error::bad_input(format!("`{path}.data` is empty"), "list what it reads, or remove it").at(at));
    }
    whole.iter().try_for_each(|secret| known.check(&format!("`{path}`"), secret, None)).map_err(|error| error.at(node.position))?;
    let consumer = Consumer {
        namespace: fields.parsed("namespace", Namespace::new)?,
        target: fields.parsed("target", Name::new)?,
        patchable: name.is_some(),
        name,
        entries,
        whole,
    };
    fields.finish()?;
    Ok(consumer)
}

/// A contract as text, with comment lines above the Secrets that have some.
pub fn write(contract: &Contract, comments: &BTreeMap<String, Vec<String>>) -> String {
    let reader = Ordered(vec![("name", json!(contract.reader.name.as_str())), ("namespace", json!(contract.reader.namespace.as_str()))]);
    let head = vec![("version", json!(2)), ("store", json!(contract.store.as_str())), ("namespace", json!(contract.namespace.as_str()))];
    let mut text = yaml::write(&Ordered(head)) + "reader:\n" + &indented(&yaml::write(&reader));
    if !contract.ignored.is_empty() {
        text.push_str(&yaml::write(&json!({ "ignored": contract.ignored })));
    }
    text.push_str("secrets:\n");
    let mut written = BTreeSet::new();
    for key in &contract.keys {
        if !written.insert(key.name.secret()) {
            continue;
        }
        for comment in comments.get(key.name.secret()).into_iter().flatten() {
            text.push_str(&format!("  # {}\n", visible(comment)));
        }
        text.push_str(&indented(&yaml::write(&[secret_value(contract, key)])));
    }
    let consumers: Vec<Ordered> = contract.consumers.iter().map(consumer_value).collect();
    if consumers.is_empty() { text } else { text + "consumers:\n" + &indented(&yaml::write(&consumers)) }
}

/// A mapping whose fields keep this order.
struct Ordered(Vec<(&'static str, serde_json::Value)>);

impl serde::Serialize for Ordered {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// The Secret of a key, which is its first one.
fn secret_value(contract: &Contract, key: &Key) -> Ordered {
    let secret = key.name.secret();
    let form = contract.form(secret);
    let keys: Vec<&Key> = contract.values_of(secret).collect();
    let mut value = vec![("name", json!(secret)), ("about", json!(key.about))];
    let mut set = |field: &'static str, wanted: Option<serde_json::Value>| value.extend(wanted.map(|wanted| (field, wanted)));
    let annotations: BTreeMap<_, _> = form.annotations.iter().filter(|(name, _)| *name != MANAGED).sorted();
    set("type", form.kind.as_ref().map(|kind| json!(kind)));
    set("labels", (!form.labels.is_empty()).then(|| json!(form.labels)));
    set("annotations", (!annotations.is_empty()).then(|| json!(annotations)));
    set("managed", form.annotations.contains_key(MANAGED).then_some(json!(true)));
    set("immutable", form.immutable.then_some(json!(true)));
    match keys.as_slice() {
        [key] if form.texts.is_empty() && key.name.property() == PROPERTY => set("recipe", Some(recipes::value(key, &keys))),
        keys => {
            let written = keys.iter().filter(|key| !recipes::follows(key, keys));
            let mut values: serde_json::Map<String, serde_json::Value> =
                written.map(|key| (key.name.property().to_owned(), recipes::value(key, keys))).sorted();
            values.extend(form.texts.iter().map(|(key, text)| (key.to_string(), recipes::text_value(text))));
            set("values", Some(values.into()));
        }
    }
    set("when", key.when.as_ref().map(|when| json!(when.text)));
    set("write-once", key.write_once.then_some(json!(true)));
    let copied: Vec<&str> = keys.iter().filter(|key| key.operator_copy).map(|key| key.name.property()).collect();
    set("operator-copy", (!copied.is_empty()).then(|| if copied.len() == keys.len() { json!(true) } else { json!(copied) }));
    let unit_is_its_own = key.unit.as_str() != secret && !keys.iter().any(|key| key.recipe.is_derived());
    set("unit", unit_is_its_own.then(|| json!(key.unit.as_str())));
    let workload = |one: &Workload| json!({ one.kind.as_str(): one.name.as_str(), "namespace": one.namespace.as_str() });
    let restart: Vec<serde_json::Value> = key.restart.iter().map(workload).collect();
    set(
        "after-rotation",
        match (&key.after_rotation, restart.is_empty()) {
            (text, true) => text.as_ref().map(|text| json!(text)),
            (Some(note), false) => Some(json!({ "note": note, "restart": restart })),
            (None, false) => Some(json!({ "restart": restart })),
        },
    );
    Ordered(value)
}

fn consumer_value(consumer: &Consumer) -> Ordered {
    let entry = |entry: &Entry| {
        let mut value = json!({ "secretKey": entry.secret_key.as_str(), "key": entry.key.as_str() });
        if entry.property.as_str() != PROPERTY {
            value["property"] = json!(entry.property.as_str());
        }
        value
    };
    let data: Vec<serde_json::Value> = consumer.entries.iter().map(entry).collect();
    let mut value = vec![("namespace", json!(consumer.namespace.as_str()))];
    value.extend(consumer.name.as_ref().map(|name| ("name", json!(name.as_str()))));
    value.push(("target", json!(consumer.target.as_str())));
    value.extend((!data.is_empty()).then(|| ("data", json!(data))));
    let whole: Vec<&str> = consumer.whole.iter().map(Name::as_str).collect();
    value.extend((!whole.is_empty()).then(|| ("extract", json!(whole))));
    Ordered(value)
}
