//! git's ignore rules, read from the files where they stand; git itself is never run.

use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::disk::{Disk, Kind, Links};
use super::files;
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
    pub fn new(disk: &dyn Disk, folder: &Path, checkout: Option<&Path>, platform: &[String]) -> Result<Self> {
        let folder = files::absolute(disk, folder)?;
        let platform = rules(&folder, platform.iter().map(String::as_str));
        Ok(IgnoreRules { platform, repository: repository_rules(disk, &folder, checkout)?, folder })
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
pub fn check_kept_out(disk: &dyn Disk, folder: &Path, names: &[&str]) -> Result<()> {
    if !files::exists(disk, &folder.join(".gitignore"))? {
        return Ok(());
    }
    let rules = IgnoreRules::new(disk, folder, None, &[])?;
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
    if folder.has(".gitignore")? {
        return Ok(());
    }
    let mut writer = Writer::new(folder);
    writer.write(".gitignore", rules.as_bytes(), 0o644, Existing::Keep)?;
    writer.sync()
}

/// The root of the repository that a folder is in.
pub fn root(disk: &dyn Disk, folder: &Path) -> Result<Option<PathBuf>> {
    let folder = files::resolved(disk, folder)?;
    let git = |ancestor: &Path| files::stat(disk, &ancestor.join(".git"), Links::Follow).transpose();
    let found = folder.ancestors().find_map(|ancestor| Some(git(ancestor)?.map(|_| ancestor.to_owned())));
    found.transpose()
}

/// The rules of the repository that a folder is in, the weightier ones first: each `.gitignore` from the folder up to
/// the root, then `.git/info/exclude` (gitignore(5)).
fn repository_rules(disk: &dyn Disk, folder: &Path, checkout: Option<&Path>) -> Result<Option<Vec<Gitignore>>> {
    let git = |ancestor: &Path| files::stat(disk, &ancestor.join(".git"), Links::Follow).transpose();
    let found = folder.ancestors().find_map(|ancestor| Some(git(ancestor)?.map(|_| ancestor))).transpose()?;
    let checkout = checkout.map(|checkout| files::absolute(disk, checkout)).transpose()?;
    let Some(root) = found.or(checkout.as_deref().filter(|checkout| folder.starts_with(checkout))) else { return Ok(None) };
    let below = folder.ancestors().take_while(|ancestor| ancestor.starts_with(root));
    let mut rules = below.map(|folder| read_rules(disk, folder, ".gitignore")).collect::<Result<Vec<_>>>()?;
    rules.push(read_rules(disk, root, ".git/info/exclude")?);
    Ok(Some(rules))
}

/// The rules of a file; one that is not there, or a folder of that name, has none.
fn read_rules(disk: &dyn Disk, folder: &Path, file: &str) -> Result<Gitignore> {
    let path = folder.join(file);
    let text = match files::stat(disk, &path, Links::Follow)? {
        Some(stat) if stat.kind != Kind::Folder && stat.size > 0 => files::read(disk, &path, &path.to_string_lossy(), files::Kind::Public)?,
        _ => Default::default(),
    };
    let text = String::from_utf8_lossy(&text);
    Ok(rules(folder, text.trim_start_matches('\u{feff}').lines()))
}

fn rules<'l>(folder: &Path, lines: impl Iterator<Item = &'l str>) -> Gitignore {
    let mut builder = GitignoreBuilder::new(folder);
    for line in lines {
        // A rule that git itself could not read matches nothing.
        let _ = builder.add_line(None, line);
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}
