//! Values in plain mappings, YAML or JSON, as `sops -d` and `vault kv get -format=json` print them.

use zeroize::Zeroizing;

use super::yaml::{self, Node};
use crate::model::{Error, Position, Result, SecretValue};

/// A field, its value, and its position; no value if it is not a scalar.
pub type Field = (String, Option<SecretValue>, Position);

/// The fields of a mapping; for an answer of Vault, those of its secret.
pub fn fields(text: &str) -> Result<Vec<Field>> {
    let root = yaml::read_foreign(text)?;
    let [root] = root.as_slice() else {
        return Err(Error::bad_input("several documents", "pass one mapping"));
    };
    let root = of_vault(root);
    if root.entries().is_empty() {
        let help = "pass a mapping of texts; for Secrets use `-f FILE`, for single fields `--json-file FILE --json-key KEY=FIELD`";
        return Err(Error::bad_input("not a mapping", help).at(root.position));
    }
    Ok(root.entries().iter().map(|(field, node)| (field.clone(), value(node), node.position)).collect())
}

/// The field at this path of names, joined by dots; a number is the index of a list item, from 0.
pub fn field(text: &str, path: &str) -> Result<Option<(SecretValue, Position)>> {
    let root = yaml::read_foreign(text)?;
    let at = root.first().and_then(|root| below(root, path));
    Ok(at.and_then(|node| Some((value(node)?, node.position))))
}

/// A name may contain dots itself: the longest one counts.
fn below<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    if path.is_empty() {
        return Some(node);
    }
    let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
    let ends: Vec<usize> = ends.collect();
    ends.into_iter().rev().find_map(|end| {
        let (name, rest) = (&path[..end], path.get(end + 1..).unwrap_or_default());
        let item = name.parse::<usize>().ok().and_then(|at| node.items().get(at));
        below(node.get(name).or(item)?, rest)
    })
}

/// `data.data` of the second version of Vault's key-value store, `data` of the first.
fn of_vault(root: &Node) -> &Node {
    let is_answer = ["request_id", "lease_id", "lease_duration"].iter().any(|field| root.get(field).is_some());
    let data = root.get("data").filter(|_| is_answer);
    let second = data.filter(|data| data.get("metadata").is_some()).and_then(|data| data.get("data"));
    second.or(data).unwrap_or(root)
}

fn value(node: &Node) -> Option<SecretValue> {
    let text = node.word().filter(|_| !node.is_absent())?;
    Some(SecretValue::new(Zeroizing::new(text.as_bytes().to_vec())))
}
