//! How the operator names what a run works on: for texts, and for commands that can be pasted. Nothing is opened by these names.

use std::path::Path;

use super::visible;

/// The folders of a run, as the operator names them, and the flags that lead another run to the same ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    pub keys: String,
    pub out: String,
    pub secrets: String,
    /// The contract: its file, or that it is the built-in one.
    pub contract: String,
    flags: String,
}

impl Places {
    /// `flags` are those that differ from the default, each with its value.
    pub fn new(keys: &Path, out: &Path, secrets: &Path, contract: Option<&Path>, flags: &[(&str, &str)]) -> Self {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Places {
            keys: text(keys),
            out: text(out),
            secrets: text(secrets),
            contract: contract.map_or("the built-in contract".to_owned(), text),
            flags: flags.iter().map(|(flag, value)| format!("{flag} {} ", quoted(value))).collect(),
        }
    }

    /// A file of the keys folder.
    pub fn in_keys(&self, file: &str) -> String {
        below(&self.keys, file)
    }

    /// A file of the output folder, by its path below it.
    pub fn in_out(&self, path: &str) -> String {
        below(&self.out, path)
    }

    /// The operator's copy of a key's value.
    pub fn in_secrets(&self, key: &str) -> String {
        below(&self.secrets, key)
    }

    /// A command of this tool that works on the same folders: `args` as they are typed behind `seal-secrets`.
    pub fn command(&self, args: &str) -> String {
        format!("seal-secrets {}{args}", self.flags)
    }

    /// A text in which every command of this tool (`` `seal-secrets bootstrap` ``) works on the same folders.
    pub fn pasteable(&self, text: &str) -> String {
        const PROGRAM: &str = "seal-secrets ";
        let mut out = String::with_capacity(text.len());
        // Every second part stands in backticks; what is none of our commands there has no place for our flags.
        for (i, part) in text.split('`').enumerate() {
            out.push_str(if i > 0 { "`" } else { "" });
            let commands = i % 2 == 1 && part.match_indices(PROGRAM).any(|(at, _)| part[at + PROGRAM.len()..].starts_with(is_command));
            out.push_str(&if commands { part.replace(PROGRAM, &self.command("")) } else { part.to_owned() });
        }
        out
    }
}

fn is_command(c: char) -> bool {
    c.is_ascii_lowercase()
}

fn below(folder: &str, path: &str) -> String {
    visible(&Path::new(folder).join(path).to_string_lossy())
}

/// A word as a shell takes it, and as a terminal can show it.
pub fn quoted(word: &str) -> String {
    let word = visible(word);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
