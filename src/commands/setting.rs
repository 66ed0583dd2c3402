//! What a run goes by: the contract, and with `--platform` what is really there.

use std::path::Path;

use super::{read_contract, read_text};
use crate::cli::{self, Folders};
use crate::model::{Contract, Delivery, Error, Finding, Isolation, Rbac, Result, StoreFile, StoreKind};
use crate::pipeline::platform::{self, Platform};
use crate::pipeline::resolve::{self, Resolved};
use crate::world::{World, files, tree};

/// Contract, delivery, and where contract and platform disagree.
pub(super) struct Setting {
    /// The contract's own text.
    pub(super) text: String,
    /// With the platform's consumers, where a platform is named.
    pub(super) contract: Contract,
    pub(super) coverage: Vec<Finding>,
    pub(super) delivery: Delivery,
}

pub(super) fn read(folders: &Folders, delivery: Option<&cli::Delivery>, world: &mut World) -> Result<Setting> {
    let (text, contract) = read_contract(folders, world)?;
    let mut delivery = delivery.map_or(Ok(Delivery::default()), read_delivery)?;
    let Some(root) = &folders.platform else {
        return Ok(Setting { text, contract, coverage: Vec::new(), delivery });
    };
    let platform = read_platform(root, world)?;
    let out = inside(&folders.out, root);
    let patches = out.as_deref().map(|out| format!("{out}/property-patches"));
    let environment = resolve::configuration(&platform, folders.environment.as_deref())?;
    let Resolved { contract, mut coverage } = resolve::resolve(contract, &platform, environment, patches.as_deref())?;
    delivery.application = out.and_then(|out| resolve::application(&platform, &out));
    coverage.extend(delivery.application.as_ref().and_then(|application| resolve::check_project(&platform, application)));
    Ok(Setting { text, contract, coverage, delivery })
}

/// A checkout, read and taken apart.
pub(super) fn read_platform(root: &Path, world: &World) -> Result<Platform> {
    let tree = tree::read(root, &platform::matters, world.threads)?;
    let shown = root.to_string_lossy();
    let mut platform = platform::scan(shown.trim_end_matches('/'), &tree.files, world.threads);
    platform.pass_over(&tree.links);
    Ok(platform)
}

/// The path of a folder in a checkout, with `/`; none where it lies outside.
pub(super) fn inside(folder: &Path, root: &Path) -> Option<String> {
    files::relative_to(folder, root).and_then(|path| path.to_str().map(str::to_owned)).filter(|path| !path.is_empty())
}

fn read_delivery(args: &cli::Delivery) -> Result<Delivery> {
    Ok(Delivery {
        store_kind: match args.store_kind {
            cli::StoreKind::ClusterSecretStore => StoreKind::ClusterSecretStore,
            cli::StoreKind::SecretStore => StoreKind::SecretStore,
        },
        isolation: match args.isolation {
            cli::Isolation::Shared => Isolation::Shared,
            cli::Isolation::Namespace => Isolation::Namespace,
        },
        rbac: match args.rbac {
            cli::Rbac::Keys => Rbac::Keys,
            cli::Rbac::Namespace => Rbac::Namespace,
        },
        store_file: args.store_file.as_deref().map(|path| read_store_file(path, args.project_id.as_deref())).transpose()?,
        application: None,
    })
}

/// The platform's store file, as it is now. Its scripts take the project from the first line that names one.
fn read_store_file(path: &Path, project_id: Option<&str>) -> Result<StoreFile> {
    let Some(shown) = path.to_str() else {
        return Err(Error::usage("`--store-file` is not UTF-8", "rename the file"));
    };
    let present = if files::exists(path) { Some(read_text(path)?) } else { None };
    let line = |text: &String| {
        let id = text.lines().find_map(|line| line.trim_start_matches(['#', ' ']).strip_prefix("projectID:"));
        id.map(|id| id.trim().trim_matches('"').to_owned())
    };
    let id = project_id.map(str::to_owned).or_else(|| present.as_ref().and_then(line)).unwrap_or_else(|| "none".to_owned());
    let legal = !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    if !legal {
        let help = "name one with `--project-id`: letters, digits, `-`, `_`, `.` and `:`, at most 64";
        return Err(Error::usage("the project of the store file is not one that a line can hold", help));
    }
    Ok(StoreFile { path: shown.to_owned(), present: present.map(String::into_bytes), project_id: id })
}
