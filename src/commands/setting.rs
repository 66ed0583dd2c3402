//! What a run goes by: the contract, and with `--platform` what is really there.

use std::path::Path;

use super::{read_contract, read_text};
use crate::cli::{self, Folders};
use crate::manifest::text;
use crate::manifest::yaml::{self, Node};
use crate::model::{Contract, Delivery, Error, Finding, Isolation, Rbac, Result, StoreFile, StoreKind};
use crate::pipeline::inventory::Files;
use crate::pipeline::platform::{self, Platform};
use crate::pipeline::resolve::{self, Resolved};
use crate::world::disk::{Kind, Links};
use crate::world::tree::{self, Tree};
use crate::world::{World, files};

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
    let mut delivery = delivery.map_or(Ok(Delivery::default()), |args| read_delivery(args, folders, world))?;
    delivery.cluster = folders.cluster.clone();
    let Some(root) = &folders.platform else {
        return Ok(Setting { text, contract, coverage: Vec::new(), delivery });
    };
    let out = inside(&folders.out, root, world)?;
    let (platform, _) = read_platform(root, out.as_deref(), world)?;
    let patches = out.as_deref().map(|out| format!("{out}/property-patches"));
    let environment = resolve::configuration(&platform, folders.environment.as_deref())?;
    let Resolved { contract, mut coverage } =
        resolve::resolve(contract, &platform, environment, patches.as_deref(), delivery.kind_asked_for())?;
    delivery.application = out.and_then(|out| resolve::application(&platform, &out));
    coverage.extend(delivery.application.as_ref().and_then(|application| resolve::check_project(&platform, application)));
    Ok(Setting { text, contract, coverage, delivery })
}

/// A checkout, read and taken apart, and its files; what lies in our own output folder says nothing about the platform.
pub(super) fn read_platform(root: &Path, out: Option<&str>, world: &World) -> Result<(Platform, Files)> {
    let tree = read_tree(root, out, world)?;
    let shown = root.to_string_lossy();
    let mut platform = platform::scan(shown.trim_end_matches('/'), &tree.files, world.threads);
    platform.pass_over(&tree.passed_over);
    Ok((platform, tree.files))
}

/// The files of a checkout that matter.
fn read_tree(root: &Path, out: Option<&str>, world: &World) -> Result<Tree> {
    // Only what is written there: a platform's own manifests may lie beside it.
    const OURS: [&str; 4] = ["secret-source/", "secret-store/", "property-patches/", "argocd-application.yaml"];
    let inside =
        |path: &str, out: &str| path.strip_prefix(out)?.strip_prefix('/').map(|rest| OURS.iter().any(|ours| rest.starts_with(ours)));
    let ours = |path: &str| out.is_some_and(|out| inside(path, out) == Some(true));
    let matters =
        |path: &str, bytes: &[u8]| !ours(path) && (platform::matters(path, bytes) || path.ends_with(crate::manifest::gitops::PATCH_FILE));
    tree::read(&*world.disk, root, &matters, world.threads)
}

/// The path of a folder in a checkout, with `/`; none where it lies outside.
pub(super) fn inside(folder: &Path, root: &Path, world: &World) -> Result<Option<String>> {
    let path = files::relative_to(&*world.disk, folder, root)?;
    Ok(path.and_then(|path| path.to_str().map(str::to_owned)).filter(|path| !path.is_empty()))
}

pub(super) fn read_delivery(args: &cli::Delivery, folders: &Folders, world: &World) -> Result<Delivery> {
    Ok(Delivery {
        store_kind: match args.store_kind {
            Some(cli::StoreKind::SecretStore) => StoreKind::SecretStore,
            Some(cli::StoreKind::ClusterSecretStore) | None => StoreKind::ClusterSecretStore,
        },
        names_kind: args.store_kind.is_some(),
        isolation: match args.isolation {
            cli::Isolation::Shared => Isolation::Shared,
            cli::Isolation::Namespace => Isolation::Namespace,
        },
        rbac: match args.rbac {
            cli::Rbac::Keys => Rbac::Keys,
            cli::Rbac::Namespace => Rbac::Namespace,
        },
        store_file: args.store_file.as_deref().map(|path| read_store_file(path, args.project_id.as_deref(), folders, world)).transpose()?,
        cluster: None,
        application: None,
    })
}

/// The platform's store file, as it is now. Its scripts take the project from the first line that names one.
fn read_store_file(path: &Path, project_id: Option<&str>, folders: &Folders, world: &World) -> Result<StoreFile> {
    let Some(shown) = path.to_str().filter(|path| path.ends_with(".yaml") || path.ends_with(".yml")) else {
        return Err(Error::usage("`--store-file` is not the name of a YAML file", "name the file in which the platform keeps its store"));
    };
    check_store_file(path, folders, world).map_err(|error| error.in_file(shown))?;
    let present = if files::exists(&*world.disk, path)? { Some(read_text(path, world)?) } else { None };
    if present.as_ref().is_some_and(|text| !is_store(text)) {
        return Err(Error::refused(
            "it holds something else than a store",
            "name a new file, or the one in which the platform keeps its store",
        )
        .in_file(shown));
    }
    let line = |text: &String| {
        let id = text.lines().find_map(|line| line.trim_start_matches(['#', ' ']).strip_prefix("projectID:"));
        id.map(|id| id.split(" #").next().unwrap_or("").trim().trim_matches(['"', '\'']).to_owned())
    };
    let id = project_id.map(str::to_owned).or_else(|| present.as_ref().and_then(line)).unwrap_or_else(|| "none".to_owned());
    let legal =
        !id.is_empty() && !id.contains("gcpsm:") && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    if !legal {
        let help = "name one with `--project-id`: letters, digits, `-`, `_`, `.` and `:`, at most 64";
        return Err(Error::usage("the project of the store file is not one that a line can hold", help));
    }
    Ok(StoreFile { path: shown.to_owned(), present: present.map(String::into_bytes), project_id: id })
}

/// A store is never written over what this tool keeps elsewhere, nor through a link.
fn check_store_file(path: &Path, folders: &Folders, world: &World) -> Result<()> {
    if files::stat(&*world.disk, path, Links::Keep)?.is_some_and(|stat| stat.kind == Kind::Link) {
        return Err(Error::refused("a link, and links are not followed here", "name the file itself"));
    }
    for folder in [&folders.keys, &folders.out] {
        if files::is_inside(&*world.disk, path, folder)? {
            return Err(Error::refused("the store file would lie in a folder of our own", "name a file of the platform's"));
        }
    }
    Ok(())
}

/// Whether a text holds only stores, or only comments.
fn is_store(text: &str) -> bool {
    if text::says_nothing(text) {
        return true;
    }
    let kind = |node: &Node| node.get("kind").and_then(Node::word).is_some_and(|kind| matches!(kind, "ClusterSecretStore" | "SecretStore"));
    yaml::read_foreign(text).is_ok_and(|documents| documents.iter().all(kind))
}
