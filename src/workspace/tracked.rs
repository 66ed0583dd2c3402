//! Secrets that git tracks: no ignore rule keeps them out of the next commit.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Workspace;
use crate::model::{Error, Name, Result, quoted};
use crate::world::{World, git};

impl Workspace {
    /// Each identity, and each operator's copy of these keys, that git tracks. Warns where git's index does not tell for certain.
    pub fn tracked(&self, copies: &[&Name], world: &mut World) -> Result<Vec<Error>> {
        let look = |folder: &Path, wanted: &dyn Fn(&str) -> bool| {
            git::tracked(&*self.disk, folder, wanted).map_err(|error| error.in_file(&folder.to_string_lossy()))
        };
        let identities = look(&self.keys, &|name| name.ends_with(".agekey") && !name.contains('/'))?;
        let copies = look(&self.secrets, &|name| copies.iter().any(|copy| copy.as_str() == name))?;
        let unsure: BTreeSet<PathBuf> = identities.unsure.into_iter().chain(copies.unsure).collect();
        for index in unsure {
            let check = format!("`git ls-files {} {}` must list none", quoted(&self.places.keys), quoted(&self.places.secrets));
            world.terminal.warn(&format!("{}: it cannot be read for certain whether git tracks a secret: {check}", index.display()));
        }
        let another = "let another identity in (`seal-secrets escrow add-recipient age1…`), remove this one, then `seal-secrets renew` and `seal-secrets rotate KEY…`";
        let identities = identities.names.iter().map(|name| tracked(&self.places.in_keys(name), another));
        let copy = |name: &String| tracked(&self.places.in_secrets(name), &format!("replace it: `seal-secrets rotate {name}`"));
        Ok(identities.chain(copies.names.iter().map(copy)).collect())
    }

    /// The same, refused.
    pub fn check_untracked(&self, copies: &[&Name], world: &mut World) -> Result<()> {
        self.tracked(copies, world)?.into_iter().next().map_or(Ok(()), Err)
    }
}

fn tracked(path: &str, remedy: &str) -> Error {
    let help = format!("run `git rm --cached {}` and commit; if it was ever pushed, {remedy}", quoted(path));
    Error::refused("git tracks this secret, which is exposed if it was ever pushed", help).in_file(path)
}
