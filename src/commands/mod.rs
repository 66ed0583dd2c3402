//! One file per command: it connects the other rings, and opens no path. `sealing.rs` is what four of them share.

#[cfg(feature = "cluster")]
mod backup;
mod bootstrap;
mod completions;
mod contract;
mod copy;
#[cfg(feature = "cluster")]
mod doctor;
mod escrow;
mod explain;
mod export;
#[cfg(feature = "cluster")]
mod fetch_cert;
mod git_setup;
mod import;
mod init;
mod key_secret;
mod keygen;
mod man;
mod patch;
mod re_encrypt;
mod renew;
mod rotate;
mod sealing;
mod status;
mod textconv;
mod unseal;
mod verify;

use crate::cli::{self, Cli, Command, Folders, Typed};
use crate::model::Result;
use crate::workspace::given::without_typed;
use crate::workspace::{Flags, StoreFlags, Workspace, settings};
use crate::world::World;

/// The result of a run that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// It searched for something, and found it.
    Found,
    /// It searched for something in a cluster that it did not reach.
    #[cfg(feature = "cluster")]
    NotReached,
}

impl Outcome {
    fn found(found: bool) -> Self {
        if found { Outcome::Found } else { Outcome::Done }
    }
}

pub fn run(cli: Cli, world: &mut World) -> Result<Outcome> {
    let typed = cli.typed.clone();
    let disk = world.disk.clone();
    run_typed(cli, world).map_err(|error| {
        let hide = |error, typed: &Typed| without_typed(&*disk, error, typed.flag.as_deref(), &typed.value_name, &typed.path);
        typed.iter().filter(|typed| typed.path.as_os_str() != "-").fold(error, hide)
    })
}

fn run_typed(cli: Cli, world: &mut World) -> Result<Outcome> {
    // A command that only prints needs no workspace.
    match &cli.command {
        Command::Explain(args) => return explain::run(args, world),
        Command::Completions(args) => return completions::run(args, world),
        Command::Man(args) => return man::run(args, world),
        _ => {}
    }
    let workspace = &workspace(&cli, world)?;
    // With `init`, the flags go into the settings.
    if !matches!(cli.command, Command::Init) {
        workspace.tell_flags(world);
    }
    let outcome = match cli.command {
        Command::Init => init::run(workspace, world),
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
        Command::Export(args) => export::run(workspace, &args, world),
        Command::GitSetup(args) => git_setup::run(workspace, &args, world),
        Command::Textconv(args) => textconv::run(workspace, &args, world),
        #[cfg(feature = "cluster")]
        Command::Backup(args) => backup::run(workspace, &args, world),
        #[cfg(feature = "cluster")]
        Command::FetchCert(args) => fetch_cert::run(workspace, &args, world),
        #[cfg(feature = "cluster")]
        Command::Doctor(args) => doctor::run(workspace, &args, world),
        Command::Contract(args) => contract::run(workspace, &args, world),
        Command::Explain(_) | Command::Completions(_) | Command::Man(_) => unreachable!("they ran before"),
    };
    outcome.map_err(|error| error.with_commands(&workspace.places))
}

/// The workspace of a command line.
pub fn workspace(cli: &Cli, world: &World) -> Result<Workspace> {
    let live = cli.command.live();
    let Folders { settings, keys, out, secrets, cluster, contract, platform, environment, store } = cli.folders.clone();
    let cli::Store { store_kind: kind, isolation, rbac, store_file, project_id } = store;
    let flags = Flags {
        is_kubeconfig_typed: cli.has_typed("--kubeconfig"),
        store: StoreFlags { kind, isolation, rbac, file: store_file, project_id },
        settings,
        keys,
        out,
        secrets,
        cluster,
        contract,
        platform,
        environment,
        live,
    };
    // It makes the settings, and finds the platform itself. A diff is also shown if the settings are in conflict.
    if matches!(cli.command, Command::Init | Command::Textconv(cli::Textconv { reveal: false, .. })) {
        return Workspace::new(flags, None, world.disk.clone());
    }
    let found = settings::find(&*world.disk, flags.settings.as_deref())?;
    let workspace = Workspace::new(flags, found, world.disk.clone())?;
    workspace.check_needs_platform()?;
    Ok(workspace)
}
