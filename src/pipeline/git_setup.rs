//! git's settings: a diff shows SealedSecrets in words, and a merge never invents a derived file.

use crate::model::quoted;

/// The lines of the output folder's `.gitattributes`. A derived file follows from the others, so its lines are never merged; a sealed file
/// is merged like any text.
const ATTRIBUTES: [&str; 3] = ["*.yaml merge=seal-secrets", "INSTALL.md merge=seal-secrets", "*.sealed.yaml !merge diff=seal-secrets"];

/// A variable of git's configuration: its section, its name, its value.
pub type Variable = (&'static str, &'static str, String);

const SECTIONS: [&str; 2] = ["diff", "merge"];

/// The settings of each clone. `textconv` shows a file, and `bootstrap` writes the derived ones.
pub fn variables(textconv: &str, bootstrap: &str) -> Vec<Variable> {
    // git replaces `%P` by the file's path, quoted, and our version stays as the file. Exit code 1 means a conflict.
    let advice = format!(": follows from the contract and the sealed files, and is not merged; run `{bootstrap}`, then `git add` it");
    let driver = format!("echo %P{} >&2; exit 1", quoted(&advice).replace('%', "%%"));
    vec![
        ("diff", "textconv", textconv.to_owned()),
        // What it shows may be secret, and git would store it in the repository.
        ("diff", "cachetextconv", "false".to_owned()),
        ("merge", "name", "files that seal-secrets bootstrap writes".to_owned()),
        ("merge", "driver", driver),
    ]
}

/// The command that sets a variable.
pub fn command((section, name, value): &Variable) -> String {
    format!("git config {section}.seal-secrets.{name} {}", quoted(value))
}

/// The lines that the attributes lack.
pub fn missing(attributes: &str) -> Vec<&'static str> {
    ATTRIBUTES.into_iter().filter(|line| !attributes.lines().any(|there| there.trim() == *line)).collect()
}

/// The attributes with these lines added: a lower line overrides a higher one.
pub fn with_lines(attributes: &str, lines: &[&str]) -> String {
    ended(attributes) + &lines.iter().map(|line| format!("{line}\n")).collect::<String>()
}

/// git's configuration with these variables in sections of our own, which replace earlier ones.
pub fn with_variables(configuration: &str, variables: &[Variable]) -> String {
    let is_ours = |line: &str| SECTIONS.iter().any(|section| line.starts_with(&format!("[{section} \"seal-secrets\"]")));
    let (mut text, mut inside) = (String::new(), false);
    for line in configuration.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            inside = is_ours(line.trim_start());
        }
        text.push_str(if inside { "" } else { line });
    }
    let mut text = ended(&text);
    for section in SECTIONS {
        text.push_str(&format!("[{section} \"seal-secrets\"]\n"));
        for (_, name, value) in variables.iter().filter(|(of, ..)| *of == section) {
            text.push_str(&format!("\t{name} = \"{}\"\n", value.replace('\\', r"\\").replace('"', r#"\""#)));
        }
    }
    text
}

/// The text, with a line end after its last line.
fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}
