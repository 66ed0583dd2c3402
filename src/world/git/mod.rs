//! git's ignore rules and its index, read directly from its files; git itself is never run.

mod index;
mod left_out;
mod rule;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use zeroize::Zeroizing;

use super::disk::{Disk, Kind, Links};
use super::files;
use super::folder::{Existing, Folder, Writer};
use crate::model::{Error, Result};
pub use left_out::LeftOut;
use rule::Rule;

/// A repository: the root of its work tree, and the folders of the files that we read.
struct Repository {
    root: PathBuf,
    /// Has the index: `.git`, or the folder that the file `.git` points to.
    own: PathBuf,
    /// Has `info/exclude`: a worktree shares it with the others.
    common: PathBuf,
}

impl Repository {
    /// The repositories around a folder, the nearest first. git treats an unsound nested one as an ordinary folder.
    fn around(disk: &dyn Disk, folder: &Path) -> Result<Vec<Repository>> {
        folder.ancestors().filter_map(|root| Self::at(disk, root).transpose()).collect()
    }

    fn at(disk: &dyn Disk, root: &Path) -> Result<Option<Repository>> {
        let git = root.join(".git");
        let Some(stat) = files::stat(disk, &git, Links::Follow)? else { return Ok(None) };
        let own = if stat.kind == Kind::Folder { git } else { root.join(path_in(disk, &git, b"gitdir: ")?) };
        let common = own.join("commondir");
        let common = if files::exists(disk, &common)? { own.join(path_in(disk, &common, b"")?) } else { own.clone() };
        Ok(Some(Repository { root: root.to_owned(), own, common }))
    }

    /// The names in its index; none if the index is inconclusive.
    fn index(&self, disk: &dyn Disk) -> Result<Option<Vec<index::Tracked>>> {
        let file = self.own.join("index");
        if !files::exists(disk, &file)? {
            return Ok(Some(Vec::new()));
        }
        Ok(files::read(disk, &file, "", files::Kind::Public).ok().and_then(|bytes| index::read(&bytes)))
    }

    /// The names in it, sorted and in lower case; none also if it has a folder in place of its files.
    fn tracked_names(&self, disk: &dyn Disk) -> Result<Option<Vec<Vec<u8>>>> {
        let entries = self.index(disk)?.filter(|entries| entries.iter().all(|entry| !entry.is_folder));
        Ok(entries.map(|entries| {
            let mut names: Vec<Vec<u8>> = entries.into_iter().map(|entry| entry.name.to_ascii_lowercase()).collect();
            names.sort_unstable();
            names
        }))
    }

    /// Whether git surely ignores a file in a folder of this repository.
    fn ignores(&self, disk: &dyn Disk, folder: &Path, name: &str) -> Result<bool> {
        let below = folder.strip_prefix(&self.root).unwrap_or(folder);
        let path: Vec<&[u8]> = below.iter().map(OsStrExt::as_bytes).chain([name.as_bytes()]).collect();
        let mut levels = Vec::new();
        for level in below.ancestors() {
            levels.push(own_rules(disk, &self.root.join(level).join(".gitignore"))?);
        }
        levels.reverse();
        let exclude = rule::read(&public(disk, &self.common.join("info/exclude"))?);
        // From the root downwards: nothing inside an ignored folder can be un-ignored.
        for end in 1..=path.len() {
            let is_folder = end < path.len();
            let decides = |rules: &[Rule], from: usize| {
                rules.iter().rev().find(|rule| rule.matches(&path[from..end], is_folder)).map(|rule| rule.ignores)
            };
            let by_level = levels[..end].iter().enumerate().rev().find_map(|(level, rules)| decides(rules, level));
            if by_level.or_else(|| decides(&exclude, 0)) == Some(true) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The root of the repository that a folder is in.
pub fn root(disk: &dyn Disk, folder: &Path) -> Result<Option<PathBuf>> {
    let repositories = Repository::around(disk, &files::resolved(disk, folder)?)?;
    Ok(repositories.into_iter().next().map(|nearest| nearest.root))
}

/// The configuration of the repository that a folder is in: the clone's own, which its worktrees share.
pub fn configuration(disk: &dyn Disk, folder: &Path) -> Result<Option<PathBuf>> {
    let repositories = Repository::around(disk, &files::resolved(disk, folder)?)?;
    Ok(repositories.into_iter().next().map(|nearest| nearest.common.join("config")))
}

/// The path in one of git's files.
fn path_in(disk: &dyn Disk, file: &Path, before: &[u8]) -> Result<PathBuf> {
    let text = public(disk, file)?;
    let path = text.strip_prefix(before).unwrap_or(&text).trim_ascii_end();
    Ok(PathBuf::from(std::ffi::OsStr::from_bytes(path)))
}

/// The rules of a `.gitignore` that protects a secret. git does not follow one that is a link, but older versions did.
fn own_rules(disk: &dyn Disk, path: &Path) -> Result<Vec<Rule>> {
    if files::stat(disk, path, Links::Keep)?.is_some_and(|stat| stat.kind == Kind::Link) {
        let help = "replace the link by a copy of the file that it leads to";
        return Err(
            Error::refused("a symbolic link, which git does not follow: its rules ignore nothing", help).in_file(&path.to_string_lossy())
        );
    }
    Ok(rule::read(&public(disk, path)?))
}

/// The bytes of a file; empty if it does not exist or is a folder.
fn public(disk: &dyn Disk, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    match files::stat(disk, path, Links::Follow)? {
        Some(stat) if stat.kind != Kind::Folder && (stat.kind != Kind::File || stat.size > 0) => {
            files::read(disk, path, &path.to_string_lossy(), files::Kind::Public)
        }
        _ => Ok(Zeroizing::default()),
    }
}

/// Refuses if git would commit one of these secrets: if the folder has a `.gitignore` that lets it through. A folder without one gets its
/// own from [`keep_out`]. If in doubt, a secret counts as let through.
pub fn check_kept_out(disk: &dyn Disk, folder: &Path, names: &[&str]) -> Result<()> {
    if !files::exists(disk, &folder.join(".gitignore"))? {
        return Ok(());
    }
    let place = files::resolved(disk, folder)?;
    for repository in Repository::around(disk, &place)? {
        for name in names {
            if !repository.ignores(disk, &place, name)? {
                let help =
                    format!("add `{name}` as the last line to the .gitignore of this folder, or pass a folder outside of the repository");
                let what = "a secret would be written here, into a git repository that does not ignore it for certain";
                return Err(Error::refused(what, help)
                    .why("only rules of letters, digits, `-`, `_`, `.`, `/`, `*` and `**` count; a negation with anything else counts against it")
                    .in_file(&folder.join(name).to_string_lossy()));
            }
        }
    }
    Ok(())
}

/// Gives a folder of secrets its own `.gitignore` if it has none.
pub fn keep_out(folder: &Folder, rules: &str) -> Result<()> {
    give(folder, ".gitignore", rules)
}

/// Gives a folder a file that git reads, if it has none.
pub fn give(folder: &Folder, name: &str, text: &str) -> Result<()> {
    if folder.has(name)? {
        return Ok(());
    }
    let mut writer = Writer::new(folder);
    writer.write(name, text.as_bytes(), 0o644, Existing::Keep)?;
    writer.sync()
}

/// The files of a folder that git tracks, and the indexes that are inconclusive.
#[derive(Default)]
pub struct Tracked {
    pub names: Vec<String>,
    pub unsure: Vec<PathBuf>,
}

/// Which `wanted` files of a folder git already tracks: no ignore rule keeps them out.
pub fn tracked(disk: &dyn Disk, folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Tracked> {
    let place = files::resolved(disk, folder)?;
    let mut found = Tracked::default();
    for repository in Repository::around(disk, &place)? {
        let file = repository.own.join("index");
        let below = place.strip_prefix(&repository.root).unwrap_or(&place);
        let prefix: Vec<u8> = below.iter().flat_map(|name| [name.as_bytes(), b"/"]).collect::<Vec<_>>().concat();
        let Some(entries) = repository.index(disk)? else {
            found.unsure.push(file);
            continue;
        };
        for entry in entries {
            // Case does not count, because some file systems, and then git, ignore it.
            let here = entry.name.len() >= prefix.len() && entry.name[..prefix.len()].eq_ignore_ascii_case(&prefix);
            let name = (here && !entry.is_folder).then(|| String::from_utf8_lossy(&entry.name[prefix.len()..]).to_ascii_lowercase());
            found.names.extend(name.filter(|name| wanted(name)));
            if entry.is_folder && prefix.starts_with(&entry.name) {
                found.unsure.push(file.clone());
            }
        }
    }
    Ok(found)
}

/// Paths that the operator excludes, by patterns as in a `.gitignore`.
pub struct Excluded(Gitignore);

impl Excluded {
    /// Parses these lines.
    pub fn new(patterns: &[String]) -> Result<Self> {
        let mut builder = GitignoreBuilder::new("");
        let unreadable = || Error::bad_input("a pattern of `exclude` cannot be read", "write patterns as in a `.gitignore`");
        for pattern in patterns {
            builder.add_line(None, pattern).map_err(|_| unreadable())?;
        }
        builder.build().map(Excluded).map_err(|_| unreadable())
    }

    /// Whether this file, or a folder above it, is excluded.
    pub fn has(&self, path: &str) -> bool {
        self.0.matched_path_or_any_parents(path, false).is_ignore()
    }
}

/// Ignore rules for a report: those of a contract's platform, and those of the repository around a folder. A rule counts even if it is
/// uncertain how git reads it.
pub struct IgnoreRules {
    platform: Gitignore,
    /// From the folder upwards; none = the folder is in no repository.
    repository: Vec<Gitignore>,
    folder: PathBuf,
}

impl IgnoreRules {
    /// For files below `folder`. `checkout` is a repository's root even without a `.git`, and the path from there to the folder if it is
    /// inside.
    pub fn new(disk: &dyn Disk, folder: &Path, checkout: Option<(&Path, Option<&Path>)>, platform: &[String]) -> Result<Self> {
        let (checkout, inside) = checkout.map_or((None, None), |(root, inside)| (Some(root), inside));
        let checkout = checkout.map(|checkout| files::resolved(disk, checkout)).transpose()?;
        let folder = match (&checkout, inside) {
            // A link that replaces it meanwhile is not followed.
            (Some(checkout), Some(inside)) => checkout.join(inside),
            _ => files::resolved(disk, folder)?,
        };
        let platform = rules(&folder, platform.iter().map(String::as_str));
        Ok(IgnoreRules { platform, repository: repository_rules(disk, &folder, checkout.as_deref())?, folder })
    }

    /// The rule that keeps git from committing this path, relative to the folder.
    pub fn matching(&self, path: &str) -> Option<String> {
        let full = self.folder.join(path);
        let on_the_way: Vec<&Path> = full.ancestors().collect();
        on_the_way.iter().rev().find_map(|part| self.matching_one(part, *part != full))
    }

    /// The same for one folder on the path, or the file: the nearest rules decide.
    fn matching_one(&self, path: &Path, is_folder: bool) -> Option<String> {
        let decides = |rules: &Gitignore| match path.parent()?.starts_with(rules.path()).then(|| rules.matched(path, is_folder))? {
            Match::None => None,
            Match::Ignore(glob) => Some(Some(glob.original().to_owned())),
            Match::Whitelist(_) => Some(None),
        };
        decides(&self.platform).flatten().or_else(|| self.repository.iter().find_map(decides).flatten())
    }
}

/// The rules of the repository that a folder is in, those with higher precedence first: each `.gitignore` from the folder up to the root,
/// then `.git/info/exclude` (gitignore(5)).
fn repository_rules(disk: &dyn Disk, folder: &Path, checkout: Option<&Path>) -> Result<Vec<Gitignore>> {
    let found = Repository::around(disk, folder)?.into_iter().next();
    let checkout = checkout.filter(|checkout| folder.starts_with(checkout));
    let Some(root) = found.as_ref().map(|found| found.root.as_path()).or(checkout) else { return Ok(Vec::new()) };
    let below = folder.ancestors().take_while(|ancestor| ancestor.starts_with(root));
    let top = Folder::open_root(disk, root)?;
    let own = |folder: &Path| {
        let way = folder.strip_prefix(root).unwrap_or(Path::new(""));
        let there = top.as_ref().map_or(Ok(None), |top| top.beneath(way))?;
        let Some(there) = there else { return Ok(Gitignore::empty()) };
        let is_folder = there.stat(".gitignore")?.is_some_and(|stat| stat.kind == Kind::Folder);
        let text = if is_folder { None } else { there.read_foreign(".gitignore")? };
        Ok(read_rules(folder, &text.unwrap_or_default()))
    };
    let mut rules = below.map(own).collect::<Result<Vec<_>>>()?;
    if let Some(found) = &found {
        rules.push(read_rules(root, &public(disk, &found.common.join("info/exclude"))?));
    }
    Ok(rules)
}

fn read_rules(folder: &Path, text: &[u8]) -> Gitignore {
    let text = String::from_utf8_lossy(text);
    rules(folder, text.trim_start_matches('\u{feff}').lines())
}

fn rules<'l>(folder: &Path, lines: impl Iterator<Item = &'l str>) -> Gitignore {
    let mut builder = GitignoreBuilder::new(folder);
    for line in lines {
        // A rule that git itself cannot read matches nothing.
        let _ = builder.add_line(None, line);
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}
