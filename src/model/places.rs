//! How the operator names the folders of a run: for texts, and for commands to paste. Nothing is opened by these names.

use std::path::Path;

use super::visible;

/// The folders of a run, as the operator writes them, and the flags that make another run use them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    pub keys: String,
    pub out: String,
    pub secrets: String,
    /// The contract: its file, or a note that it is the built-in one.
    pub contract: String,
    flags: Vec<String>,
    live: LiveFlags,
}

/// The flags that make a command reach the same cluster, each after a space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveFlags {
    /// Kubeconfig and context.
    pub access: String,
    /// The same for a command that hands out the private key: it takes them from the command line only.
    pub named_access: String,
    /// The controller's namespace for such a command.
    pub named_namespace: String,
    pub controller_namespace: String,
    pub controller_name: String,
}

impl LiveFlags {
    /// The flags that this command accepts; `args` follow `seal-secrets`.
    fn of(&self, args: &str) -> String {
        let words: Vec<&str> = args.split_whitespace().collect();
        let has = |flag: &str| words.iter().any(|word| *word == flag || word.strip_prefix(flag).is_some_and(|rest| rest.starts_with('=')));
        let unless_given = |flag: &str, flags: &str| if has(flag) { String::new() } else { flags.to_owned() };
        let access = |access: &str| unless_given("--context", access);
        let namespace = unless_given("--controller-namespace", &self.controller_namespace);
        let controller = || namespace.clone() + &unless_given("--controller-name", &self.controller_name);
        match words.first().copied().unwrap_or_default() {
            _ if has("--help") => String::new(),
            "doctor" if has("--print-rbac") => controller(),
            "fetch-cert" if has("--file") => String::new(),
            "doctor" | "backup" | "fetch-cert" => access(&self.access) + &controller(),
            "re-encrypt" if has("--via-controller") => access(&self.access) + &controller(),
            "import" if has("--from-cluster") => access(&self.access),
            "key-secret" => {
                let access = if has("--apply") { access(&self.named_access) } else { String::new() };
                access + &unless_given("--controller-namespace", &self.named_namespace)
            }
            _ => String::new(),
        }
    }
}

impl Places {
    /// `flags` are those that differ from the default, each with its value.
    pub fn new(keys: &Path, out: &Path, secrets: &Path, contract: Option<&Path>, flags: &[(&str, String)]) -> Self {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Places {
            keys: text(keys),
            out: text(out),
            secrets: text(secrets),
            contract: contract.map_or("the built-in contract".to_owned(), text),
            flags: flags.iter().map(|(flag, value)| format!("{flag} {} ", quoted(value))).collect(),
            live: LiveFlags::default(),
        }
    }

    /// The same, with the flags that make another run reach the same cluster.
    pub fn with_live(self, live: LiveFlags) -> Self {
        Places { live, ..self }
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

    /// A command of this tool that works on the same folders and the same cluster; `args` follow `seal-secrets`, and may include
    /// redirections for a shell.
    pub fn command(&self, args: &str) -> String {
        let end = [" | ", " && ", " > "].iter().filter_map(|then| args.find(then)).min().unwrap_or(args.trim_end().len());
        let (own, rest) = args.split_at(end);
        // A draft has its own flag for the checkout.
        let takes = |flag: &&String| !(own.contains("--from-platform") && flag.starts_with("--platform "));
        let flags: String = self.flags.iter().filter(takes).map(String::as_str).collect();
        format!("{PROGRAM}{flags}{own}{}{rest}", self.live.of(own))
    }

    /// A text in which every command of this tool (`` `seal-secrets bootstrap` ``) gets the flags for the same folders.
    pub fn pasteable(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        // Every second part is in backticks; one that is no command of ours takes no flags.
        for (i, part) in text.split('`').enumerate() {
            out.push_str(if i > 0 { "`" } else { "" });
            if i % 2 == 0 {
                out.push_str(part);
                continue;
            }
            let mut pieces = part.split(PROGRAM);
            out.push_str(pieces.next().unwrap_or_default());
            for args in pieces {
                out.push_str(&if args.starts_with(is_command) { self.command(args) } else { format!("{PROGRAM}{args}") });
            }
        }
        out
    }
}

const PROGRAM: &str = "seal-secrets ";

fn is_command(c: char) -> bool {
    c.is_ascii_lowercase()
}

fn below(folder: &str, path: &str) -> String {
    visible(&Path::new(folder).join(path).to_string_lossy())
}

/// A word as a shell reads it, and as a terminal can show it.
pub fn quoted(word: &str) -> String {
    let word = visible(word);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
