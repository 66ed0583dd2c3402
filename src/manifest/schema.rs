//! The JSON Schemas (draft 2020-12) of the settings and the contract, for editors. The words and bounds are those that the readers use; a
//! test compares each field with them.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use crate::model::{
    Algorithm, BcryptVersion, Class, Code, Escape, GitOps, Isolation, KeyFormat, Rbac, Severity, Sorted, StoreKind, WorkloadKind, ranges,
};

/// A mapping's field: its name, its description, its value's schema.
type Field<'f> = (&'f str, &'f str, Value);

/// The schema of `seal-secrets.yaml`.
pub fn settings() -> String {
    let path = || json!({ "type": "string", "minLength": 1, "pattern": "^[^/~]" });
    let folders = |whose: &str| -> [(&'static str, String); 3] {
        [
            ("keys", format!("{whose} keys folder")),
            ("out", format!("{whose} output folder")),
            ("secrets", format!("{whose} copies of values that you type")),
        ]
    };
    let cluster: Vec<(&str, String)> = folders("Its").into();
    let mut of_cluster: Vec<Field<'_>> = cluster.iter().map(|(name, about)| (*name, about.as_str(), path())).collect();
    of_cluster.push(("environment", "Which of the platform's environments/ it is", text()));
    of_cluster.push(("context", "Its context in the kubeconfig", text()));
    let store = object(
        &[],
        &[
            ("kind", "One ClusterSecretStore, or a SecretStore in each consumer's namespace", words(StoreKind::ALL, StoreKind::as_str)),
            (
                "isolation",
                "One account for all namespaces, or one per namespace that can read only that namespace's keys",
                words(Isolation::ALL, Isolation::as_str),
            ),
            ("rbac", "Grant the accounts each key by name, or every Secret of the source namespace", words(Rbac::ALL, Rbac::as_str)),
            ("file", "The platform's own file for the store, instead of secret-store/", path()),
            ("project-id", "The ID in the line `# projectID: <id>` of that file", text()),
        ],
    );
    let controller = object(&[], &[("namespace", "Its namespace", label()), ("name", "Its Service", name())]);
    let clusters = json!({ "type": "object", "propertyNames": label(), "additionalProperties": object(&[], &of_cluster) });
    let own = folders("The");
    let mut fields: Vec<Field<'_>> = vec![
        ("version", "The version of this form", json!({ "const": 1 })),
        ("platform", "The checkout of the platform", path()),
        ("environment", "Which of its environments/ says which features are on", text()),
        ("contract", "The contract; without it, the built-in one", path()),
        ("exclude", "What of the checkout is not looked at: patterns as in .gitignore", list(text())),
        ("default-namespace", "The namespace of manifests for which nothing else says one", label()),
        ("ignore", "The warnings of `verify` that are meant", list(words(&warnings(), Code::as_str))),
        ("store", "The form of the store", store),
        ("controller", "The sealed-secrets controller", controller),
        ("gitops", "Who applies what the checkout holds", words(GitOps::ALL, GitOps::as_str)),
        ("context", "The context in the kubeconfig", text()),
        ("clusters", "What differs in each of several clusters", clusters),
    ];
    fields.extend(own.iter().map(|(name, about)| (*name, about.as_str(), path())));
    document("seal-secrets.yaml", object(&["version"], &fields))
}

/// The codes that may be ignored.
fn warnings() -> Vec<Code> {
    Code::ALL.iter().copied().filter(|code| code.severity() == Severity::Warning).collect()
}

/// The schema of a contract, of either version.
pub fn contract() -> String {
    document("a contract of seal-secrets", json!({ "oneOf": [contract_of(1), contract_of(2)] }))
}

fn contract_of(version: u32) -> Value {
    let first = version == 1;
    let mut entry: Vec<Field<'_>> =
        vec![("secretKey", "The data key of the target Secret", text()), ("key", "The contract's Secret", name())];
    let mut consumer: Vec<Field<'_>> = vec![
        ("name", "The ExternalSecret; none where a helm chart renders it", name()),
        ("namespace", "", label()),
        ("target", "The target Secret", name()),
    ];
    let required: &[&str] = if first { &["namespace", "target", "data"] } else { &["namespace", "target"] };
    if !first {
        entry.push(("property", "Its data key; without it, `value`", text()));
        consumer.push(("extract", "The Secrets that it reads whole", list(name())));
    }
    consumer.push(("data", "What it reads, in the manifest's order", list(object(&["secretKey", "key"], &entry))));
    let reader = object(&["name", "namespace"], &[("name", "", name()), ("namespace", "", label())]);
    let mut fields = vec![
        ("version", "The version of this form", json!({ "const": version })),
        ("store", "The store that every ExternalSecret names", name()),
        ("namespace", "The namespace of the source Secrets", label()),
        ("reader", "The ServiceAccount that reads", reader),
        ("ignored", "Lines of the platform's .gitignore", list(text())),
        ("consumers", "Which ExternalSecret reads what", list(object(required, &consumer))),
    ];
    let list_of = if first { "keys" } else { "secrets" };
    fields.push((list_of, "The secrets", list(if first { key(recipes(first)) } else { secret() })));
    if !first {
        fields.extend(form());
    }
    object(&["version", "store", "namespace", "reader", list_of], &fields)
}

/// The fields that every key and every Secret may have.
fn shared() -> Vec<Field<'static>> {
    vec![
        ("name", "The source Secret's name, and the ExternalSecret's remoteRef.key", name()),
        ("about", "What it is for", text()),
        ("when", "`path` or `path = word` of the environment, several joined by ` and `", text()),
        ("write-once", "Its loss or change destroys data", boolean()),
        ("unit", "What shares a unit is sealed in one file", name()),
    ]
}

fn key(recipe: Value) -> Value {
    let mut fields = shared();
    fields.push(("recipe", "How it is made", recipe));
    fields.push(("after-rotation", "What to restart after a rotation", text()));
    fields.push(("operator-copy", "You get a copy of the value", boolean()));
    object(&["name", "about", "recipe"], &fields)
}

/// The fields besides the values of a Secret, or of all.
fn form() -> [Field<'static>; 4] {
    let strings = || json!({ "type": "object", "additionalProperties": { "type": "string" } });
    [
        ("labels", "On the SealedSecret and on the Secret", strings()),
        ("annotations", "On the SealedSecret and on the Secret", strings()),
        ("immutable", "The Secret cannot be changed", boolean()),
        ("managed", "The controller takes over a Secret that exists already", boolean()),
    ]
}

fn secret() -> Value {
    let mut fields = shared();
    let workload = |kind: WorkloadKind| object(&["namespace", kind.as_str()], &[("namespace", "", label()), (kind.as_str(), "", name())]);
    let workloads: Vec<Value> = WorkloadKind::ALL.iter().map(|kind| workload(*kind)).collect();
    let restart = ("restart", "Workloads, in this order", list(json!({ "oneOf": workloads })));
    let after = object(&[], &[("note", "What else is to be done", text()), restart]);
    fields.push(("after-rotation", "What to restart after a rotation", json!({ "oneOf": [text(), after] })));
    fields.push(("type", "Its type, such as `kubernetes.io/basic-auth`", text()));
    fields.push(("recipe", "How its one value is made, under the data key `value`", recipes(false)));
    let values = json!({ "type": "object", "additionalProperties": recipes(false) });
    fields.push(("values", "Each data key, and how its value is made", values));
    fields.push((
        "operator-copy",
        "You get copies: of all values, or of those of these data keys",
        json!({ "oneOf": [boolean(), list(text())] }),
    ));
    fields.extend(form());
    object(&["name", "about"], &fields)
}

/// Every recipe of a version.
fn recipes(first: bool) -> Value {
    let of = || ("of", "The value that it is made of", text());
    let hashed: Vec<Field<'_>> = vec![of(), ("cost", "", whole(ranges::COST))];
    let mut provided: Vec<Field<'_>> =
        vec![("pattern", "A regular expression for the whole value", text()), ("hint", "Where the value is found", text())];
    let mut bcrypt = hashed.clone();
    if !first {
        provided.push(("lines", "The line feed at the end of a single line belongs to it", boolean()));
        bcrypt.push(("version", "", words(BcryptVersion::ALL, BcryptVersion::as_str)));
    }
    let mut all = vec![
        recipe("hex", &["bytes"], &[("bytes", "", whole(ranges::BYTES)), ("prefix", "What the value begins with", text())]),
        recipe("base64url", &["bytes"], &[("bytes", "", whole(ranges::BYTES))]),
        recipe("alphanumeric", &["length"], &[("length", "", whole(ranges::LENGTH))]),
        recipe("bcrypt", &["of", "cost"], &bcrypt),
        recipe("provided", &[], &provided),
    ];
    if !first {
        all.extend(later_recipes(&hashed));
    }
    json!({ "oneOf": all })
}

/// The recipes that version 2 added; `hashed` are the fields of a hash.
fn later_recipes(hashed: &[Field<'_>]) -> Vec<Value> {
    let of = || ("of", "The value that it is made of", text());
    let user = || ("user", "", text());
    let algorithms = || words(Algorithm::ALL, Algorithm::as_str);
    let public = || ("public", "The data key of its public half", text());
    vec![
        recipe("base64", &["bytes"], &[("bytes", "", whole(ranges::BYTES))]),
        recipe(
            "password",
            &["length"],
            &[
                ("length", "", whole(ranges::LENGTH)),
                ("classes", "At least one character of each", list(words(Class::ALL, Class::as_str))),
                ("without", "Characters that it never has", text()),
            ],
        ),
        recipe("uuid", &[], &[]),
        recipe("htpasswd", &["user", "of"], &[&[user()][..], hashed].concat()),
        recipe(
            "argon2id",
            &["of"],
            &[
                of(),
                ("memory", "In KiB", whole(ranges::MEMORY)),
                ("iterations", "", whole(ranges::ITERATIONS)),
                ("parallelism", "", whole(ranges::PARALLELISM)),
            ],
        ),
        recipe(
            "key-pair",
            &[],
            &[("algorithm", "", algorithms()), ("format", "", words(&[KeyFormat::Pem, KeyFormat::Jwk], KeyFormat::as_str)), public()],
        ),
        recipe("ssh-key", &[], &[("algorithm", "", algorithms()), public()]),
        recipe(
            "tls",
            &["days"],
            &[
                ("names", "DNS names and IP addresses", list(text())),
                ("days", "", whole(ranges::DAYS)),
                ("algorithm", "", algorithms()),
                ("authority", "It may sign other certificates", boolean()),
                ("issued-by", "The Secret of the authority", name()),
                ("crt", "The data key of the certificate", text()),
                ("ca", "The data key of the authority's certificate", text()),
            ],
        ),
        recipe("dockerconfigjson", &["registry", "user", "of"], &[("registry", "", text()), user(), of()]),
        object(&["template"], &[("template", "A text with `{DATAKEY}`", text()), ("escape", "", words(Escape::ALL, Escape::as_str))]),
        object(&["plain"], &[("plain", "A text that is no secret", json!({ "type": "string" }))]),
    ]
}

fn whole(range: RangeInclusive<u32>) -> Value {
    json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() })
}

/// A recipe of one kind, with its fields.
fn recipe(kind: &str, required: &[&str], fields: &[Field<'_>]) -> Value {
    object(&[kind], &[(kind, "", object(required, fields))])
}

fn boolean() -> Value {
    json!({ "type": "boolean" })
}

fn document(title: &str, mut schema: Value) -> String {
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

fn object(required: &[&str], fields: &[Field<'_>]) -> Value {
    let described = |(name, about, schema): &Field<'_>| {
        let mut schema = schema.clone();
        if !about.is_empty() {
            schema["description"] = json!(about);
        }
        ((*name).to_owned(), schema)
    };
    let properties: Map<String, Value> = fields.iter().map(described).sorted();
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
}

fn words<K: Copy>(all: &[K], word: fn(K) -> &'static str) -> Value {
    json!({ "enum": all.iter().map(|kind| word(*kind)).collect::<Vec<_>>() })
}

fn list(of: Value) -> Value {
    json!({ "type": "array", "items": of })
}

fn text() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

/// A DNS-1123 label.
fn label() -> Value {
    json!({ "type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63 })
}

/// A DNS-1123 subdomain.
fn name() -> Value {
    json!({ "type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253 })
}
