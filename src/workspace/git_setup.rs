//! The two files that `git-setup` writes: the output folder's `.gitattributes`, which is committed, and the clone's configuration.

use std::path::Path;

use super::Workspace;
use crate::model::{Error, Result, quoted, visible};
use crate::pipeline::git_setup::{self, Variable};
use crate::world::folder::{Folder, Writer};
use crate::world::{files, git};

const ATTRIBUTES: &str = ".gitattributes";
const CONFIGURATION: &str = "config";

/// What these files lack.
pub struct GitSetup {
    out: Folder,
    attributes: Option<Vec<u8>>,
    /// The lines that the output folder's `.gitattributes` lacks.
    pub lines: Vec<&'static str>,
    folder: Folder,
    configuration: Vec<u8>,
    /// The path of git's configuration, for output.
    pub file: String,
    pub variables: Vec<Variable>,
    changed: String,
}

impl Workspace {
    /// The settings that git still lacks. `reveal` shows values in diffs, opened with this identity.
    pub fn git_setup(&self, reveal: bool, identity: Option<&Path>) -> Result<GitSetup> {
        let no_out = || Error::bad_input("no such folder", "run `seal-secrets bootstrap` first").in_file(&self.places.out);
        let out = self.open_folder(&self.out)?.ok_or_else(no_out)?;
        let no_git = || Error::usage("the output folder is in no git repository", "run `git init` at the root of your checkout first");
        let path = git::configuration(&*self.disk, &self.out)?.ok_or_else(no_git)?;
        let folder = Folder::open(&*self.disk, super::parent(&path))?.ok_or_else(no_git)?;
        // A file `.git` may point to any folder: in one that is no repository, `config` belongs to something else.
        if !(folder.has("HEAD")? && folder.has("objects")? && folder.has("refs")?) {
            return Err(no_git());
        }
        let attributes = out.find_file(ATTRIBUTES)?.map(|bytes| bytes.to_vec());
        let configuration = folder.read_file(CONFIGURATION)?;
        let file = visible(&files::way(&*self.disk, Path::new("."), &path)?.to_string_lossy());
        let text = |bytes: &[u8], file: &str| {
            let help = "save it as UTF-8, or run the commands that `seal-secrets git-setup` prints";
            String::from_utf8(bytes.to_vec()).map_err(|_| Error::bad_input("not UTF-8", help).in_file(file))
        };
        let lines = git_setup::missing(&text(attributes.as_deref().unwrap_or_default(), &self.places.in_out(ATTRIBUTES))?);
        let variables = git_setup::variables(&self.textconv(reveal, identity)?, self.command("bootstrap").trim_end());
        let changed = git_setup::with_variables(&text(&configuration, &file)?, &variables);
        Ok(GitSetup { out, attributes, lines, folder, configuration, file, variables, changed })
    }

    /// The command that git runs at the root of the work tree. With `reveal`, paths are absolute: the configuration that holds it applies
    /// to this clone only.
    fn textconv(&self, reveal: bool, identity: Option<&Path>) -> Result<String> {
        if !reveal {
            return Ok("seal-secrets textconv".to_owned());
        }
        let from_root = |path: &Path| -> Result<String> { Ok(quoted(&files::resolved(&*self.disk, path)?.to_string_lossy())) };
        let keys = from_root(&self.keys)?;
        let identity = identity.map(from_root).transpose()?.map_or(String::new(), |identity| format!(" --identity {identity}"));
        Ok(format!("seal-secrets --keys {keys} textconv --reveal{identity}"))
    }

    /// Writes what is missing, and completes an interrupted run.
    pub fn write_git_setup(&self, setup: &GitSetup) -> Result<()> {
        let GitSetup { out, attributes, lines, folder, configuration, changed, .. } = setup;
        let _locks = (out.lock()?, folder.lock()?);
        out.remove_leftovers_here()?;
        folder.remove_leftovers_here()?;
        if !lines.is_empty() {
            let before = String::from_utf8_lossy(attributes.as_deref().unwrap_or_default()).into_owned();
            let text = git_setup::with_lines(&before, lines);
            let mut writer = Writer::new(out);
            writer.replace(ATTRIBUTES, text.as_bytes(), attributes.as_deref())?;
            writer.sync()?;
        }
        if setup.configures() {
            let mut writer = Writer::new(folder);
            writer.replace(CONFIGURATION, changed.as_bytes(), Some(configuration))?;
            writer.finish()?;
        }
        Ok(())
    }
}

impl GitSetup {
    /// Whether the clone's configuration changes.
    pub fn configures(&self) -> bool {
        self.changed.as_bytes() != self.configuration
    }

    /// Whether there is anything to do.
    pub fn is_needed(&self) -> bool {
        self.configures() || !self.lines.is_empty()
    }
}
