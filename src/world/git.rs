//! git's ignore rules, read from the files where they stand; git itself is never run.

use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::files::exists;
use super::folder::{Existing, Folder, Writer};
use crate::model::{Error, Result};

/// Ignore rules: those of a contract's platform, and those of the repository around a folder.
pub struct IgnoreRules {
    platform: Gitignore,
    /// From the folder upwards; none = the folder is in no repository.
    repository: Option<Vec<Gitignore>>,
    folder: PathBuf,
}

impl IgnoreRules {
    /// For files below `folder`; `checkout` is a repository's root even where it has no `.git`.
    pub fn new(folder: &Path, checkout: Option<&Path>, platform: &[String]) -> Self {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let mut builder = GitignoreBuilder::new(&folder);
        for line in platform {
            // A rule that git itself could not read matches nothing.
            let _ = builder.add_line(None, line);
        }
        IgnoreRules {
            platform: builder.build().unwrap_or_else(|_| Gitignore::empty()),
            repository: repository_rules(&folder, checkout),
            folder,
        }
    }

    /// The rule by which git would not commit this path, relative to the folder.
    pub fn matching(&self, path: &str) -> Option<String> {
        let full = self.folder.join(path);
        let decides = |rules: &Gitignore| match rules.matched_path_or_any_parents(&full, false) {
            Match::None => None,
            Match::Ignore(glob) => Some(Some(glob.original().to_owned())),
            Match::Whitelist(_) => Some(None),
        };
        let by_repository = || self.repository.iter().flatten().find_map(decides).flatten();
        decides(&self.platform).flatten().or_else(by_repository)
    }
}

/// Whether git would pick up one of these secrets: refused where the folder has a `.gitignore` that lets it through. One
/// that has none will get its own, from [`keep_out`].
pub fn check_kept_out(folder: &Path, names: &[&str]) -> Result<()> {
    if !exists(&folder.join(".gitignore")) {
        return Ok(());
    }
    let rules = IgnoreRules::new(folder, None, &[]);
    match names.iter().find(|name| rules.repository.is_some() && rules.matching(name).is_none()) {
        None => Ok(()),
        Some(name) => Err(Error::refused(
            "a secret would be written here, into a git repository that does not ignore it",
            format!("add `{name}` to the .gitignore of this folder, or name a folder outside of the repository"),
        )
        .in_file(&folder.join(name).to_string_lossy())),
    }
}

/// Gives a folder of secrets a `.gitignore` of its own, where it has none.
pub fn keep_out(folder: &Folder, rules: &str) -> Result<()> {
    if exists(&folder.path().join(".gitignore")) {
        return Ok(());
    }
    let mut writer = Writer::new(folder);
    writer.write(".gitignore", rules.as_bytes(), 0o644, Existing::Keep)?;
    writer.finish().map(|_| ())
}

/// The rules of the repository that a folder is in, the weightier ones first: each `.gitignore` from the folder up to
/// the root, then `.git/info/exclude` (gitignore(5)).
fn repository_rules(folder: &Path, checkout: Option<&Path>) -> Option<Vec<Gitignore>> {
    let checkout = checkout.and_then(|checkout| std::path::absolute(checkout).ok()).filter(|checkout| folder.starts_with(checkout));
    let root = folder.ancestors().find(|ancestor| ancestor.join(".git").exists()).or(checkout.as_deref())?;
    let below = folder.ancestors().take_while(|ancestor| ancestor.starts_with(root));
    let mut rules: Vec<Gitignore> = below.map(|folder| read_rules(folder, ".gitignore")).collect();
    rules.push(read_rules(root, ".git/info/exclude"));
    Some(rules)
}

fn read_rules(folder: &Path, file: &str) -> Gitignore {
    let mut builder = GitignoreBuilder::new(folder);
    // A file that is not there has no rules.
    let _ = builder.add(folder.join(file));
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}
