//! Secrets in the clear in any file of a repository, committed by mistake. Sealed or encrypted values do not count.

use std::sync::LazyLock;

use memchr::memmem;
use regex::bytes::Regex;

use super::fit;
use crate::manifest::foreign::{self, Site, Step};
use crate::manifest::{base64, text, yaml};
use crate::model::Position;

/// A secret in the clear: where, and what it is.
pub type Exposed = (Position, &'static str);

/// A PEM private key without a passphrase, with at least one line of it; a document that only names the format does not count.
static PEM: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"-----BEGIN (?:RSA |EC |DSA |OPENSSH )?PRIVATE KEY-----(?:\\n|\s)+[A-Za-z0-9+/]{40}").expect("it is an expression")
});

static AGE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]{50}").expect("it is an expression"));

/// A line of an env file whose variable is named like a secret.
static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    let name = r"[A-Za-z0-9_]*(?i:password|passwd|secret|token|api_?key|access_?key|private_?key|credential)[A-Za-z0-9_]*";
    Regex::new(&format!(r#"(?m)^[ \t]*(?:export[ \t]+)?{name}[ \t]*=[ \t]*["']?([^\s"'#]{{6,}})"#)).expect("it is an expression")
});

/// Whether a file has to be searched: few files of a repository contain any of these words.
pub fn matters(path: &str, bytes: &[u8]) -> bool {
    let has = |word: &str| memmem::find(bytes, word.as_bytes()).is_some();
    is_variables(path) || is_for_sops(path) || has("PRIVATE KEY-----") || has("AGE-SECRET-KEY-") || has("Secret")
}

/// The secrets in the clear in a file.
pub fn find(path: &str, bytes: &[u8]) -> Vec<Exposed> {
    let mut found = Vec::new();
    found.extend(PEM.find_iter(bytes).map(|key| (position(bytes, key.start()), "a private key that nothing protects")));
    found.extend(AGE.find_iter(bytes).map(|key| (position(bytes, key.start()), "an age identity")));
    if is_variables(path) {
        let is_real = |value: &[u8]| !fit::is_stand_in(value);
        let lines = VARIABLE.captures_iter(bytes).filter_map(|line| line.get(1)).filter(|value| is_real(value.as_bytes()));
        found.extend(lines.map(|value| (position(bytes, value.start()), "a variable with a secret")));
    }
    let is_encrypted = memmem::find(bytes, b"ENC[").is_some() && memmem::find(bytes, b"sops").is_some();
    if is_for_sops(path) && !is_encrypted && !bytes.trim_ascii().is_empty() {
        found.push(((1, 1), "a file that is named as one of sops and is not encrypted"));
    }
    let is_manifest = text::ends(path, &[".yaml", ".yml", ".json"]);
    if is_manifest
        && !is_encrypted
        && let Ok(text) = text::decode(bytes)
    {
        secrets(text, &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether it is an env file, and not an example of one.
fn is_variables(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_example = ["example", "sample", "template", "dist", "defaults"].iter().any(|word| name.contains(word));
    (name == ".env" || name.starts_with(".env.") || name.ends_with(".env")) && !is_example
}

fn is_for_sops(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    [".sops.", ".enc."].iter().any(|infix| name.contains(infix))
        && text::ends(name, &[".yaml", ".yml", ".json", ".env"])
        && name != ".sops.yaml"
}

/// The Secrets at any depth of a manifest, texts included, that hold a value which is not a usual placeholder.
fn secrets(text: &str, found: &mut Vec<Exposed>) {
    let (_, body) = foreign::split_mark(text);
    let is_text = |text: &str| text.contains("kind") && text.contains("Secret");
    foreign::walk(body, &is_text, &mut |step| match step {
        Step::Node(site) => {
            if is_secret(site) {
                found.push((site.position(), "a Secret with its values"));
            }
            true
        }
        Step::Unread { .. } => true,
    });
}

fn is_secret(site: &Site<'_>) -> bool {
    let word = |field: &str| site.node.get(field).and_then(|node| node.word());
    let values = |field: &str| site.node.get(field).map(|node| node.entries()).unwrap_or_default();
    // A template makes its values elsewhere.
    let is_real = |text: &str| text.len() >= 6 && !text.contains("{{") && !fit::is_stand_in(text.as_bytes());
    let encoded =
        |text: &str| base64::decode(text).is_ok_and(|bytes| bytes.len() >= 6 && !fit::is_stand_in(&bytes)) && !text.contains("{{");
    word("kind") == Some("Secret")
        && word("apiVersion") == Some("v1")
        && (values("stringData").iter().any(|(_, value)| value.word().is_some_and(is_real))
            || values("data").iter().any(|(_, value)| value.word().is_some_and(encoded)))
}

/// The line and column, from 1, of an offset in a file.
pub fn position(bytes: &[u8], at: usize) -> Position {
    let before = String::from_utf8_lossy(&bytes[..at]);
    yaml::position_of(&before, before.len())
}
