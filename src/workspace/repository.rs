//! Searches the whole repository for secrets in the clear.

use std::num::NonZeroUsize;
use std::path::Path;

use super::Workspace;
use crate::model::{Code, Error, Finding, Result};
use crate::pipeline::exposed;
use crate::pipeline::inventory::Inventory;
use crate::pipeline::unseal::Opened;
use crate::world::{files, git, tree};

impl Workspace {
    /// The secrets in the clear in the repository around the working directory, in every file that git does not leave out. `opened` are
    /// values to search for, and what they were opened from. Without a repository this is an error: nothing would say what is never
    /// committed.
    pub fn exposed(&self, opened: Option<(&Opened, &Inventory)>, threads: NonZeroUsize) -> Result<Vec<Finding>> {
        let here = Path::new(".");
        let around = git::root(&*self.disk, here)?;
        if around.is_none() {
            return Err(Error::usage("there is no git repository here", "run it in a checkout, or leave out `--repository`"));
        }
        let resolved = files::resolved(&*self.disk, here)?;
        let root = around.filter(|root| *root != resolved);
        let is_here = root.is_none();
        let root = root.unwrap_or_else(|| here.to_owned());
        let sought = opened.map(|(opened, inventory)| opened.sought(inventory)).unwrap_or_default();
        let matters = |path: &str, bytes: &[u8]| exposed::matters(path, bytes) || sought.iter().any(|one| one.stands_in(bytes).is_some());
        let files = tree::read_all(&*self.disk, &root, &matters, threads)?.files;
        let shown = |path: &str| if is_here { path.to_owned() } else { root.join(path).to_string_lossy().into_owned() };
        let mut found = Vec::new();
        for (path, bytes) in &files {
            let places = exposed::find(path, bytes).into_iter().map(|(place, what)| (place, what.to_owned()));
            let values = sought
                .iter()
                .filter_map(|one| Some((exposed::position(bytes, one.stands_in(bytes)?), format!("the value of `{}`", one.name))));
            found.extend(places.chain(values).map(|((line, column), what)| Finding {
                code: Code::PlaintextInRepository,
                place: format!("{}:{line}:{column}", shown(path)),
                what: format!("{what} stands here in the clear"),
                help: "take it out, seal it instead, and replace the value if it was ever committed: git's history keeps it".to_owned(),
            }));
        }
        Ok(found)
    }
}
