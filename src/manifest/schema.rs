//! The JSON Schemas (draft 2020-12) of the settings and the contract, for editors. The words and bounds are those that the readers use;
//! a test holds each field against them.

use serde_json::{Map, Value, json};

use crate::model::{Code, GitOps, Isolation, Rbac, Severity, StoreKind};

/// A mapping's field: its name, what it says, its value's schema.
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

/// The codes that may be left out.
fn warnings() -> Vec<Code> {
    Code::ALL.iter().copied().filter(|code| code.severity() == Severity::Warning).collect()
}

/// The schema of a contract.
pub fn contract() -> String {
    let whole = |least: u32, most: u32| json!({ "type": "integer", "minimum": least, "maximum": most });
    let recipe = |kind: &str, required: &[&str], fields: &[Field<'_>]| object(&[kind], &[(kind, "", object(required, fields))]);
    let recipes = json!({ "oneOf": [
        recipe("hex", &["bytes"], &[("bytes", "", whole(1, 512)), ("prefix", "What the value begins with", text())]),
        recipe("base64url", &["bytes"], &[("bytes", "", whole(1, 512))]),
        recipe("alphanumeric", &["length"], &[("length", "", whole(1, 1024))]),
        recipe("bcrypt", &["of", "cost"], &[("of", "The key whose value is hashed", name()), ("cost", "", whole(10, 16))]),
        recipe("provided", &[], &[("pattern", "A regular expression for the whole value", text()), ("hint", "Where the value is found", text())]),
    ] });
    let key = object(
        &["name", "about", "recipe"],
        &[
            ("name", "The source Secret's name, and the ExternalSecret's remoteRef.key", name()),
            ("about", "What the key is for", text()),
            ("recipe", "How it is made", recipes),
            ("when", "`path` or `path = word` of the environment, several joined by ` and `", text()),
            ("write-once", "Its loss or change destroys data", json!({ "type": "boolean" })),
            ("operator-copy", "You get a copy of the value", json!({ "type": "boolean" })),
            ("unit", "The keys of one unit are sealed in one file", name()),
            ("after-rotation", "What to restart after a rotation", text()),
        ],
    );
    let entry =
        object(&["secretKey", "key"], &[("secretKey", "The data key of the target Secret", text()), ("key", "The contract's key", name())]);
    let consumer = object(
        &["namespace", "target", "data"],
        &[
            ("name", "The ExternalSecret; none where a helm chart renders it", name()),
            ("namespace", "", label()),
            ("target", "The target Secret", name()),
            ("data", "What it reads, in the manifest's order", list(entry)),
        ],
    );
    let reader = object(&["name", "namespace"], &[("name", "", name()), ("namespace", "", label())]);
    let fields = [
        ("version", "The version of this form", json!({ "const": 1 })),
        ("store", "The store that every ExternalSecret names", name()),
        ("namespace", "The namespace of the source Secrets", label()),
        ("reader", "The ServiceAccount that reads", reader),
        ("ignored", "Lines of the platform's .gitignore", list(text())),
        ("keys", "The secrets", list(key)),
        ("consumers", "Which ExternalSecret reads what", list(consumer)),
    ];
    document("a contract of seal-secrets", object(&["version", "store", "namespace", "reader", "keys"], &fields))
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
    let properties: Map<String, Value> = fields.iter().map(described).collect();
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
