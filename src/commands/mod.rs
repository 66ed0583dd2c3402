//! One file per command: it joins rooms, and opens no path. `sealing.rs` is what four of them have in common.

#[cfg(feature = "cluster")]
mod backup;
mod bootstrap;
mod contract;
mod copy;
#[cfg(feature = "cluster")]
mod doctor;
mod escrow;
#[cfg(feature = "cluster")]
mod fetch_cert;
mod import;
mod key_secret;
mod keygen;
mod patch;
mod re_encrypt;
mod renew;
mod rotate;
mod sealing;
mod status;
mod unseal;
mod verify;

use crate::cli::{self, Cli, Command, Folders, Typed};
use crate::model::{Delivery, Result};
use crate::workspace::checkout::StoreForm;
use crate::workspace::{Named, Workspace};
use crate::world::World;

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// It looked for something, and found it.
    Found,
    /// It looked for something in a cluster that it did not reach.
    #[cfg(feature = "cluster")]
    NotReached,
}

impl Outcome {
    fn found(found: bool) -> Self {
        if found { Outcome::Found } else { Outcome::Done }
    }
}

pub fn run(cli: Cli, world: &mut World) -> Result<Outcome> {
    let Folders { keys, out, secrets, cluster, contract, platform, environment } = cli.folders;
    let named = Named { keys, out, secrets, cluster, contract, platform, environment };
    let workspace = &Workspace::new(named, world.disk.clone());
    let outcome = match cli.command {
        Command::Keygen(args) => keygen::run(workspace, &args, world),
        Command::Bootstrap(args) => bootstrap::run(workspace, &args, world),
        Command::Plan(args) => bootstrap::plan(workspace, &args, world),
        Command::Import(args) => import::run(workspace, &args, world),
        Command::Copy(args) => copy::run(workspace, &args, world),
        Command::Rotate(args) => rotate::run(workspace, &args, world),
        Command::Verify(args) => verify::run(workspace, &args, world),
        Command::Status(args) => status::run(workspace, &args, world),
        Command::Unseal(args) => unseal::run(workspace, &args, world),
        Command::Escrow(args) => escrow::run(workspace, &args, world),
        Command::KeySecret(args) => key_secret::run(workspace, &args, world),
        Command::Renew(args) => renew::run(workspace, &args, world),
        Command::ReEncrypt(args) => re_encrypt::run(workspace, &args, world),
        Command::Patch(args) => patch::run(workspace, &args, world),
        #[cfg(feature = "cluster")]
        Command::Backup(args) => backup::run(workspace, &args, world),
        #[cfg(feature = "cluster")]
        Command::FetchCert(args) => fetch_cert::run(workspace, &args, world),
        #[cfg(feature = "cluster")]
        Command::Doctor(args) => doctor::run(workspace, &args, world),
        Command::Contract(args) => contract::run(workspace, &args, world),
    };
    outcome.map_err(|error| {
        let error = error.with_commands(&workspace.places);
        let hide = |error, typed: &Typed| workspace.without_typed(error, typed.flag.as_deref(), &typed.value_name, &typed.path);
        cli.typed.iter().filter(|typed| typed.path.as_os_str() != "-").fold(error, hide)
    })
}

impl cli::Delivery {
    fn form(&self) -> StoreForm {
        let (store_kind, names_kind) = (self.store_kind.unwrap_or_default(), self.store_kind.is_some());
        let delivery = Delivery { store_kind, names_kind, isolation: self.isolation, rbac: self.rbac, ..Delivery::default() };
        StoreForm { delivery, file: self.store_file.clone(), project_id: self.project_id.clone() }
    }
}

#[cfg(feature = "cluster")]
impl cli::Access {
    fn named(&self) -> crate::world::cluster::Access<'_> {
        crate::world::cluster::Access { kubeconfig: self.kubeconfig.as_deref(), context: self.context.as_deref() }
    }
}

#[cfg(feature = "cluster")]
impl cli::Cluster {
    fn controller<'c>(&'c self, cluster: &'c crate::world::cluster::Cluster) -> crate::workspace::controller::Controller<'c> {
        let (namespace, name) = (self.controller_namespace.as_str(), self.controller_name.as_str());
        crate::workspace::controller::Controller { cluster, namespace, name }
    }
}
