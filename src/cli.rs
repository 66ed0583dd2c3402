//! The command line: clap's types, and clap's errors in our words. clap's own quote what was typed, which may be a secret.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind as ClapError};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::model::{CertificateDigest, Error, Name, Namespace};

/// Makes, seals and keeps the secrets of an LLM platform, offline, before any cluster exists.
#[derive(Parser)]
#[command(name = "seal-secrets", version, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_help = "Examples:
  seal-secrets keygen && seal-secrets bootstrap   make the sealing key, then every secret
  seal-secrets verify                             does everything in out/ still agree?")]
pub struct Cli {
    /// Which folders, which contract
    #[command(flatten)]
    pub folders: Folders,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Where things are.
#[derive(Args, Clone)]
pub struct Folders {
    /// The folder with the sealing certificate and the escrow
    #[arg(long, global = true, value_name = "DIR", default_value = "keys")]
    pub keys: PathBuf,
    /// The folder with everything that is committed
    #[arg(long, global = true, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// The folder for the operator's copies
    #[arg(long, global = true, value_name = "DIR", default_value = "secrets")]
    pub secrets: PathBuf,
    /// One of several clusters: these folders' subfolders of that name
    #[arg(long, global = true, value_name = "NAME", value_parser = namespace)]
    pub cluster: Option<Namespace>,
    /// The contract: which secrets are needed, how each is made, who reads it [default: the platform's own]
    #[arg(long, global = true, value_name = "FILE")]
    pub contract: Option<PathBuf>,
    /// The platform's checkout: who reads what is taken from its manifests, not from the contract
    #[arg(long, global = true, value_name = "DIR")]
    pub platform: Option<PathBuf>,
    /// Which of the platform's `environments/` says which features are on [default: the only one]
    #[arg(long, global = true, value_name = "NAME", requires = "platform")]
    pub environment: Option<String>,
}

impl Folders {
    /// The folders of one of several clusters.
    pub fn of(&self, cluster: &Namespace) -> Folders {
        let below = |folder: &PathBuf| folder.join(cluster.as_str());
        Folders {
            keys: below(&self.keys),
            out: below(&self.out),
            secrets: below(&self.secrets),
            cluster: Some(cluster.clone()),
            ..self.clone()
        }
    }
}

/// How the values get from the source Secrets to their consumers.
#[derive(Args)]
pub struct Delivery {
    /// One ClusterSecretStore, or a SecretStore in each namespace that reads; named, ExternalSecrets are made to name it too
    /// [default: ClusterSecretStore]
    #[arg(long, value_name = "KIND", ignore_case = true)]
    pub store_kind: Option<StoreKind>,
    /// One account for all, or one in each namespace that reads only its own keys
    #[arg(long, value_name = "HOW", default_value = "shared")]
    pub isolation: Isolation,
    /// Roles that name each key, or that give the whole source namespace
    #[arg(long, value_name = "HOW", default_value = "keys")]
    pub rbac: Rbac,
    /// Write the store into this file of the platform's, with the line that its scripts read, instead of `secret-store/`
    #[arg(long, value_name = "FILE")]
    pub store_file: Option<PathBuf>,
    /// What the line `# projectID: <id>` of that file says [default: what it says now, or `none`]
    #[arg(long, value_name = "ID", requires = "store_file")]
    pub project_id: Option<String>,
}

/// `--store-kind`
#[derive(Clone, Copy, ValueEnum)]
pub enum StoreKind {
    /// One, for the whole cluster
    #[value(name = "ClusterSecretStore")]
    ClusterSecretStore,
    /// One in each namespace that reads
    #[value(name = "SecretStore")]
    SecretStore,
}

/// `--isolation`
#[derive(Clone, Copy, ValueEnum)]
pub enum Isolation {
    /// One account for all namespaces
    Shared,
    /// An account in each namespace, which reads only its own keys
    Namespace,
}

/// `--rbac`
#[derive(Clone, Copy, ValueEnum)]
pub enum Rbac {
    /// Only the keys that are read
    Keys,
    /// Every Secret of the source namespace
    Namespace,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Make the sealing key pair, before any cluster exists
    Keygen(Keygen),
    /// Make every value that is missing and seal it; never change what is there
    Bootstrap(Bootstrap),
    /// Show what `bootstrap` would do
    Plan(Plan),
    /// Seal values that exist already; what is sealed stays, unless it is named
    Import(Import),
    /// Seal one cluster's values for another, too
    Copy(Copy),
    /// Make new values for keys that are sealed, and say what has to be restarted
    Rotate(Rotate),
    /// Check offline that contract, sealed files and certificate agree
    Verify(Verify),
    /// Seal the same values to the present certificate, wherever they stand
    ReEncrypt(ReEncrypt),
    /// Make a new sealing key, and seal everything to it; the escrow keeps the old one
    Renew(Renew),
    /// Show what is sealed to which key, since when, and which keys nobody needs any more
    Status(Status),
    /// Open sealed values: recovery when the cluster is gone
    Unseal(Unseal),
    /// Change who may open the escrow
    Escrow(Escrow),
    /// Print the controller's key Secret, to be applied before the controller starts
    KeySecret(KeySecret),
    /// Add `remoteRef.property` to a platform's ExternalSecrets
    Patch(Patch),
    /// Put every active sealing key of a live controller into the escrow, and prove that it opens everything
    #[cfg(feature = "cluster")]
    Backup(Backup),
    /// Pin the certificate of a running controller, or of a file
    #[cfg(feature = "cluster")]
    FetchCert(FetchCert),
    /// Follow each value through a live cluster, and say where it stops and why
    #[cfg(feature = "cluster")]
    Doctor(Doctor),
    /// Show the contract: which keys, how each is made, who reads it
    Contract(Contract),
}

/// `keygen`
#[derive(Args)]
pub struct Keygen {
    /// An age recipient who may open the escrow; may be repeated [default: keys/recipients.txt, or a new identity]
    #[arg(long = "recipient", value_name = "age1…")]
    pub recipients: Vec<String>,
}

/// What `bootstrap` and `plan` have in common.
#[derive(Args)]
pub struct Wishes {
    /// Seal a value of yours: from a file, from standard input (`KEY=-`), or asked for without echo (`KEY`)
    #[arg(long, value_name = "KEY[=FILE]", value_parser = provide)]
    pub provide: Vec<(Name, Option<PathBuf>)>,
    /// Make this write-once key anew though what its old value encrypts is lost
    #[arg(long, value_name = "KEY", value_parser = name)]
    pub destroys_data: Vec<Name>,
    /// Where to, and for whom
    #[command(flatten)]
    pub sealing: Sealing,
}

/// What every command that seals has in common.
#[derive(Args)]
pub struct Sealing {
    /// How the values get to their consumers
    #[command(flatten)]
    pub delivery: Delivery,
    /// Accept a sealing certificate of at least this many bits
    #[arg(long, value_name = "BITS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(2048..=4096))]
    pub allow_rsa_bits: u32,
}

/// `bootstrap`
#[derive(Args)]
pub struct Bootstrap {
    /// What to provide, what to destroy
    #[command(flatten)]
    pub wishes: Wishes,
    /// Only show the plan
    #[arg(long)]
    pub dry_run: bool,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

/// `plan`
#[derive(Args)]
pub struct Plan {
    /// What to provide, what to destroy
    #[command(flatten)]
    pub wishes: Wishes,
    /// Exit with 1 when there is something to do
    #[arg(long)]
    pub check: bool,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

/// `import`
#[derive(Args)]
#[group(id = "sources", required = true, multiple = true)]
pub struct Import {
    /// Lines `KEY=VALUE`; a key is written as in the contract, or `LIKE_THIS`
    #[arg(long = "env-file", value_name = "FILE", group = "sources")]
    pub env_files: Vec<PathBuf>,
    /// Secrets in YAML or JSON, named as in the contract: a key's source Secret or a consumer's target; `-` is standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", group = "sources")]
    pub files: Vec<PathBuf>,
    /// A folder with a file for each key, as `--secrets` is one
    #[arg(long = "from-directory", value_name = "DIR", group = "sources")]
    pub directories: Vec<PathBuf>,
    /// The Secrets of a live cluster that hold the contract's keys, and no other
    #[cfg(feature = "cluster")]
    #[arg(long, requires = "context", group = "sources")]
    pub from_cluster: bool,
    /// Only those of this namespace; may be repeated
    #[cfg(feature = "cluster")]
    #[arg(long = "namespace", value_name = "NAMESPACE", requires = "from_cluster", value_parser = namespace)]
    pub namespaces: Vec<Namespace>,
    /// Which cluster
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    pub access: Access,
    /// What gives way to them
    #[command(flatten)]
    pub adoption: Adoption,
}

/// What every command has in common that seals values which exist already.
#[derive(Args)]
pub struct Adoption {
    /// Put the value in the place of this key's sealed one; may be repeated
    #[arg(long, value_name = "KEY", value_parser = name)]
    pub replace: Vec<Name>,
    /// Replace even this write-once key, though what its sealed value encrypts is lost
    #[arg(long, value_name = "KEY", value_parser = name)]
    pub destroys_data: Vec<Name>,
    /// How it is done
    #[command(flatten)]
    pub replacing: Replacing,
}

/// What every command has in common that may replace sealed values.
#[derive(Args)]
pub struct Replacing {
    /// Whether it is asked, or only shown
    #[command(flatten)]
    pub consent: Consent,
    /// Where to, and for whom
    #[command(flatten)]
    pub sealing: Sealing,
}

/// Whether a command that replaces something asks before, or only shows it.
#[derive(Args)]
pub struct Consent {
    /// Do not ask before a value is replaced
    #[arg(long)]
    pub yes: bool,
    /// Only show the plan
    #[arg(long)]
    pub dry_run: bool,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

/// `copy`
#[derive(Args)]
pub struct Copy {
    /// Only these keys [default: all]
    #[arg(value_name = "KEY", value_parser = name)]
    pub names: Vec<Name>,
    /// The cluster whose values they are
    #[arg(long, value_name = "NAME", value_parser = namespace, conflicts_with = "cluster")]
    pub from: Namespace,
    /// The cluster that gets them
    #[arg(long, value_name = "NAME", value_parser = namespace)]
    pub to: Namespace,
    /// The age identity for the first one's escrow [default: operator.agekey in its keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// What gives way to them
    #[command(flatten)]
    pub adoption: Adoption,
}

/// `rotate`
#[derive(Args)]
#[group(id = "chosen", required = true, multiple = true)]
pub struct Rotate {
    /// The keys; a hash is made anew with its password
    #[arg(value_name = "KEY", value_parser = name, group = "chosen")]
    pub names: Vec<Name>,
    /// Every generated key whose value is older, or of unknown age: `90d`; write-once ones stay
    #[arg(long, value_name = "DAYS", value_parser = days, group = "chosen")]
    pub older_than: Option<u32>,
    /// The new value of a key that is provided: from a file, from standard input (`KEY=-`), or asked for without echo (`KEY`)
    #[arg(long, value_name = "KEY[=FILE]", value_parser = provide, group = "chosen")]
    pub provide: Vec<(Name, Option<PathBuf>)>,
    /// Make even this write-once key anew, though what its value encrypts is lost
    #[arg(long, value_name = "KEY", value_parser = name, group = "chosen")]
    pub destroys_data: Vec<Name>,
    /// How it is done
    #[command(flatten)]
    pub replacing: Replacing,
}

/// `verify`
#[derive(Args)]
pub struct Verify {
    /// Also open every value, with this age identity for the escrow [default with --drill: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Try the whole recovery, from these files alone, and print a dated report to be filed
    #[arg(long)]
    pub drill: bool,
    /// Accept a sealing certificate of at least this many bits
    #[arg(long, value_name = "BITS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(2048..=4096))]
    pub allow_rsa_bits: u32,
    /// How the values get to their consumers
    #[command(flatten)]
    pub delivery: Delivery,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}

/// `re-encrypt`
#[derive(Args)]
pub struct ReEncrypt {
    /// Files, or folders, with SealedSecrets of anybody's [default: the output folder]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// What opens the values
    #[command(flatten)]
    pub opening: Opening,
    /// Have the controller of a live cluster do it, which serves the present certificate
    #[cfg(feature = "cluster")]
    #[arg(long, conflicts_with_all = ["recovery_private_key", "key"])]
    pub via_controller: bool,
    /// Which cluster, and where its controller is
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    pub cluster: Cluster,
    /// Only what is sealed to this key
    #[arg(long, value_name = "sha256:…", value_parser = digest)]
    pub key: Option<CertificateDigest>,
    /// Accept a sealing certificate of at least this many bits
    #[arg(long, value_name = "BITS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(2048..=4096))]
    pub allow_rsa_bits: u32,
    /// Whether it is asked, or only shown
    #[command(flatten)]
    pub consent: Consent,
}

/// `renew`
#[derive(Args)]
pub struct Renew {
    /// The age identity for the escrow [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Whether it is asked, or only shown
    #[command(flatten)]
    pub consent: Consent,
}

/// `status`
#[derive(Args)]
pub struct Status {
    /// Files, or folders, with SealedSecrets of anybody's [default: the output folder]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Also open every value, with this age identity for the escrow, and tell which keys are still needed
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// What opens sealed values.
#[derive(Args)]
pub struct Opening {
    /// The age identity for the escrow [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Sealing keys in PEM, or backups of the controller's key Secrets, instead of the escrow; `-` is standard input
    #[arg(long, value_name = "FILE", value_delimiter = ',', conflicts_with = "identity")]
    pub recovery_private_key: Vec<PathBuf>,
}

/// `unseal`
#[derive(Args)]
pub struct Unseal {
    /// Only these keys [default: all]
    #[arg(value_name = "KEY", value_parser = name)]
    pub names: Vec<Name>,
    /// The age identity for the escrow [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Sealing keys in PEM, or backups of the controller's key Secrets, instead of the escrow; `-` is standard input
    #[arg(long, value_name = "FILE", value_delimiter = ',', conflicts_with = "identity")]
    pub recovery_private_key: Vec<PathBuf>,
    /// Open this file of SealedSecrets instead of the output folder
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How to print the Secrets
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "yaml")]
    pub output: Output,
    /// Print only the bare value of this key
    #[arg(long, value_name = "KEY", value_parser = name, conflicts_with_all = ["output", "names"])]
    pub value: Option<Name>,
    /// Print secrets even to a terminal
    #[arg(long)]
    pub reveal: bool,
}

/// kubectl's `-o`.
#[derive(Clone, Copy, ValueEnum)]
pub enum Output {
    /// A stream of documents
    Yaml,
    /// One object, or a List
    Json,
}

/// Which cluster.
#[cfg(feature = "cluster")]
#[derive(Args)]
pub struct Access {
    /// The kubeconfig file; several are separated by `:`
    #[arg(long, env = "KUBECONFIG", hide_env_values = true, value_name = "FILE")]
    pub kubeconfig: Option<String>,
    /// The context [default: the current one of a kubeconfig that is named]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// Which cluster, and where its controller is.
#[cfg(feature = "cluster")]
#[derive(Args)]
pub struct Cluster {
    /// Which cluster
    #[command(flatten)]
    pub access: Access,
    /// The controller's namespace
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system", value_parser = namespace)]
    pub controller_namespace: Namespace,
    /// The controller's Service
    #[arg(long, value_name = "NAME", default_value = "sealed-secrets-controller", value_parser = name)]
    pub controller_name: Name,
}

/// `backup`
#[cfg(feature = "cluster")]
#[derive(Args)]
pub struct Backup {
    /// Which cluster
    #[command(flatten)]
    pub cluster: Cluster,
    /// The age identity for the escrow [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}

/// `fetch-cert`
#[cfg(feature = "cluster")]
#[derive(Args)]
pub struct FetchCert {
    /// Which cluster
    #[command(flatten)]
    pub cluster: Cluster,
    /// Take it from this file instead of a cluster
    #[arg(long, value_name = "FILE", conflicts_with = "context")]
    pub file: Option<PathBuf>,
    /// Accept exactly this certificate, without a question; also in the place of the one that is pinned
    #[arg(long, value_name = "sha256:…", value_parser = digest)]
    pub accept_certificate: Option<CertificateDigest>,
}

/// `doctor`
#[cfg(feature = "cluster")]
#[derive(Args)]
pub struct Doctor {
    /// Which cluster
    #[command(flatten)]
    pub cluster: Cluster,
    /// How the values get to their consumers
    #[command(flatten)]
    pub delivery: Delivery,
    /// Wait until all is well, at most so long: `90s`, `5m`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait: Option<std::time::Duration>,
    /// Print the Roles that a command needs of a cluster, and do nothing else [default: those of every command]
    #[arg(long, value_name = "COMMAND", num_args = 0..=1, require_equals = true)]
    pub print_rbac: Option<Option<NeedsRights>>,
    /// Print the checks as JSON
    #[arg(long)]
    pub json: bool,
}

/// The commands that `--print-rbac` knows the Roles of.
#[cfg(feature = "cluster")]
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum NeedsRights {
    /// `doctor`
    Doctor,
    /// `key-secret --apply`
    KeySecret,
    /// `fetch-cert`
    FetchCert,
    /// `backup`
    Backup,
    /// `import` from a live namespace
    Import,
    /// `re-encrypt --via-controller`
    ReEncrypt,
}

/// `escrow`
#[derive(Args)]
pub struct Escrow {
    /// What is changed
    #[command(subcommand)]
    pub change: EscrowChange,
}

/// What `escrow` changes.
#[derive(Subcommand)]
pub enum EscrowChange {
    /// Let one more open the escrow
    AddRecipient(ChangeRecipient),
    /// Write the escrow anew without one, who can still open every copy of the old one
    RemoveRecipient(ChangeRecipient),
}

/// `escrow add-recipient` and `escrow remove-recipient`
#[derive(Args)]
pub struct ChangeRecipient {
    /// An age recipient: age's own, or a plugin's
    #[arg(value_name = "RECIPIENT")]
    pub recipient: String,
    /// The age identity for the escrow [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Do it without a question
    #[arg(long)]
    pub yes: bool,
}

/// `key-secret`
#[derive(Args)]
pub struct KeySecret {
    /// The age identity for the escrow [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The controller's namespace
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system", value_parser = namespace)]
    pub controller_namespace: Namespace,
    /// Print the key even to a terminal
    #[arg(long)]
    pub reveal: bool,
    /// Apply it to the cluster of the named context, and read it back
    #[cfg(feature = "cluster")]
    #[arg(long, requires = "context")]
    pub apply: bool,
    /// Which cluster
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    pub access: Access,
}

/// `patch`
#[derive(Args)]
pub struct Patch {
    /// Read manifests from standard input and print them with the property: a helm post-renderer
    #[arg(value_name = "-", value_parser = ["-"])]
    pub filter: Option<String>,
    /// Make the changes, instead of printing them as a diff that `git apply` takes
    #[arg(long, conflicts_with = "filter")]
    pub write: bool,
    /// Where the property is put
    #[arg(long, value_name = "FORMAT", default_value = "manifest", conflicts_with = "filter")]
    pub format: PatchFormat,
    /// How the values get to their consumers
    #[command(flatten)]
    pub delivery: Delivery,
}

/// What `patch` changes.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum PatchFormat {
    /// The manifests themselves: one line behind each key
    Manifest,
    /// The output folder's `property-patches/`: one kustomize Component of guarded JSON 6902 patches
    Component,
}

/// `contract`
#[derive(Args)]
pub struct Contract {
    /// Draft a contract from this checkout, for `--contract`: known keys with their recipe, the rest as provided
    #[arg(long, value_name = "DIR", conflicts_with_all = ["format", "platform"])]
    pub from_platform: Option<PathBuf>,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: ContractFormat,
}

/// How `contract` prints.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum ContractFormat {
    /// For people
    Table,
    /// For programs
    Json,
    /// What `--contract` takes
    Yaml,
    /// A picture: key → source Secret → ExternalSecret → target Secret
    Mermaid,
}

fn name(text: &str) -> Result<Name, Error> {
    Name::new(text)
}

fn namespace(text: &str) -> Result<Namespace, Error> {
    Namespace::new(text)
}

fn digest(text: &str) -> Result<CertificateDigest, Error> {
    CertificateDigest::parse(text)
}

/// A number and `s`, `m` or `h`.
#[cfg(feature = "cluster")]
fn duration(text: &str) -> Result<std::time::Duration, Error> {
    let wrong = || Error::bad_input("not a duration", "write a number and `s`, `m` or `h`, such as `90s`");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    number.parse::<u32>().map(|number| std::time::Duration::from_secs(u64::from(number) * seconds)).map_err(|_| wrong())
}

/// A number of days and `d`.
fn days(text: &str) -> Result<u32, Error> {
    let number = text.strip_suffix('d').and_then(|number| number.parse().ok()).filter(|days| *days <= 36_500);
    number.ok_or_else(|| Error::bad_input("not a number of days", "write a number and `d`, such as `90d`"))
}

fn provide(text: &str) -> Result<(Name, Option<PathBuf>), Error> {
    let (key, file) = match text.split_once('=') {
        Some((key, file)) => (key, Some(PathBuf::from(file))),
        None => (text, None),
    };
    Ok((Name::new(key)?, file))
}

/// What clap made of the command line, or its complaint in our words; `Err(Ok(text))` is help that was asked for.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Result<String, Error>> {
    let args: Vec<OsString> = args.into_iter().collect();
    given_once(&args).map_err(Err)?;
    let cli = Cli::try_parse_from(args).map_err(|error| match error.kind() {
        ClapError::DisplayHelp | ClapError::DisplayVersion => Ok(error.to_string()),
        ClapError::DisplayHelpOnMissingArgumentOrSubcommand => Err(Error::usage(
            "no command",
            "`seal-secrets --help` lists them; the main job is `seal-secrets keygen`, then `seal-secrets bootstrap`",
        )),
        kind => Err(explain(kind, &error)),
    })?;
    if cli.command.plans_in_json() == Some(false) {
        return Err(Err(Error::usage("`--json` shows a plan, and this would carry it out", "add `--dry-run`")));
    }
    Ok(cli)
}

impl Command {
    /// With `--json`, whether only a plan is shown, where the command could carry it out as well.
    fn plans_in_json(&self) -> Option<bool> {
        let (json, dry_run) = match self {
            Command::Bootstrap(args) => (args.json, args.dry_run),
            Command::Import(args) => args.adoption.replacing.consent.plans(),
            Command::Copy(args) => args.adoption.replacing.consent.plans(),
            Command::Rotate(args) => args.replacing.consent.plans(),
            Command::ReEncrypt(args) => args.consent.plans(),
            Command::Renew(args) => args.consent.plans(),
            _ => return None,
        };
        json.then_some(dry_run)
    }
}

impl Consent {
    fn plans(&self) -> (bool, bool) {
        (self.json, self.dry_run)
    }
}

/// clap takes a global flag once before the command and once behind it, and forgets the first.
fn given_once(args: &[OsString]) -> Result<(), Error> {
    for flag in ["--keys", "--out", "--secrets", "--cluster", "--contract", "--platform", "--environment"] {
        let is_flag = |arg: &&OsString| arg.to_str().is_some_and(|arg| arg.split('=').next() == Some(flag));
        if args.iter().take_while(|arg| *arg != "--").filter(is_flag).count() > 1 {
            return Err(Error::usage(format!("`{flag}` is given twice"), "give it once"));
        }
    }
    Ok(())
}

fn explain(kind: ClapError, error: &clap::Error) -> Error {
    let context = |wanted: ContextKind| {
        error.context().find(|(kind, _)| *kind == wanted).map(|(_, value)| match value {
            ContextValue::Strings(several) => several.join("`, `"),
            other => other.to_string(),
        })
    };
    // Names of flags are clap's or start with a dash; anything else that was typed is not repeated.
    let flag = |text: String| text.split(['=', ' ']).next().filter(|word| word.starts_with(['-', '<', '['])).map(str::to_owned);
    let argument = context(ContextKind::InvalidArg).and_then(flag).map_or("an argument".to_owned(), |flag| format!("`{flag}`"));
    let help = |otherwise: &str| {
        let near = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
        match near.into_iter().find_map(context) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => otherwise.to_owned(),
        }
    };
    let see = "see `seal-secrets --help`";
    match kind {
        ClapError::UnknownArgument => Error::usage(
            format!("unknown: {argument}"),
            help("see `seal-secrets COMMAND --help`; a secret never stands on the command line, it comes from a file or standard input"),
        ),
        ClapError::InvalidSubcommand => Error::usage("unknown command", help(see)),
        ClapError::ArgumentConflict => {
            let other = context(ContextKind::PriorArg).and_then(flag);
            match other {
                Some(other) if format!("`{other}`") != argument => {
                    Error::usage(format!("{argument} and `{other}` cannot be used together"), "drop one of the two")
                }
                _ => Error::usage(format!("{argument} is given twice, or with one that excludes it"), "give it once"),
            }
        }
        ClapError::InvalidValue => {
            let valid = context(ContextKind::ValidValue).map_or(String::new(), |values| format!("; it takes `{values}`"));
            Error::usage(format!("{argument} has no value, or one that it does not take{valid}"), help("see `seal-secrets COMMAND --help`"))
        }
        ClapError::ValueValidation => {
            let reason = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>());
            match reason {
                Some(reason) => Error::usage(format!("{argument}: {}", reason.what()), reason.help()),
                None => Error::usage(format!("{argument} has a value that it does not take"), "see `seal-secrets COMMAND --help`"),
            }
        }
        ClapError::InvalidUtf8 => Error::usage("an argument that is not UTF-8", "rename the file, or give the path in another way"),
        ClapError::MissingRequiredArgument => {
            // `<--one <FILE>|--other>` where one of several is needed.
            let flags = context(ContextKind::InvalidArg).unwrap_or_default();
            let flags: Vec<&str> = flags.split(['<', '>', '|', ' ']).filter(|word| word.starts_with("--")).collect();
            match flags.as_slice() {
                [_, _, ..] => Error::usage(format!("one of `{}` is needed", flags.join("`, `")), "see `seal-secrets COMMAND --help`"),
                _ => Error::usage(format!("the command line is not complete: {argument}"), see),
            }
        }
        _ => Error::usage(format!("the command line is not complete: {argument}"), see),
    }
}
