//! The command line: clap's types, and clap's errors in our words. clap's own quote what was typed, which may be a secret.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind as ClapError};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::model::{CertificateDigest, Error, Hints, Isolation, Live, Name, Namespace, Rbac, Scope, StoreKind, near};

/// Makes, seals and keeps the secrets of an LLM platform, offline, before any cluster exists.
#[derive(Parser)]
#[command(name = "seal-secrets", version, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_help = "Examples:
  seal-secrets keygen && seal-secrets bootstrap   make the sealing key, then every secret
  seal-secrets verify                             check that everything in out/ agrees")]
pub struct Cli {
    #[command(flatten)]
    pub folders: Folders,
    #[command(subcommand)]
    pub command: Command,
    /// Every path that was typed, by what it was typed for.
    #[arg(skip)]
    pub typed: Vec<Typed>,
}

/// A path on the command line, which may be a secret that was typed in its place.
#[derive(Clone)]
pub struct Typed {
    /// `--identity`; none for a path that needs no flag.
    pub flag: Option<String>,
    /// `FILE`, `DIR` or `PATH`.
    pub value_name: String,
    pub path: PathBuf,
}

/// Each says something that the settings file can say too, and overrides it.
#[derive(Args, Clone)]
pub struct Folders {
    /// The settings file [default: seal-secrets.yaml, from the working directory upwards to the root of the git checkout]
    #[arg(long, global = true, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// The folder with the sealing certificate and the escrow [default: keys]
    #[arg(long, global = true, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// The folder with everything that is committed [default: out]
    #[arg(long, global = true, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The folder for your own copies of values, such as a password that you type [default: secrets]
    #[arg(long, global = true, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// Work on cluster NAME: use the subfolder NAME of the keys, out and secrets folders
    #[arg(long, global = true, value_name = "NAME", value_parser = namespace)]
    pub cluster: Option<Namespace>,
    /// The contract: which secrets are needed, how each is made, and which ExternalSecrets read it [default: the built-in one]
    #[arg(long, global = true, value_name = "FILE")]
    pub contract: Option<PathBuf>,
    /// A checkout of the platform; its manifests, not the contract, say which ExternalSecret reads what
    #[arg(long, global = true, value_name = "DIR")]
    pub platform: Option<PathBuf>,
    /// The environment (environments/NAME) whose enabled features decide which keys are needed [default: the only one]
    #[arg(long, global = true, value_name = "NAME")]
    pub environment: Option<String>,
    #[command(flatten)]
    pub store: Store,
}

/// The form of the store, as it was said before there was a settings file: not shown, and refused where there is one.
#[derive(Args, Clone)]
pub struct Store {
    #[arg(long, global = true, hide = true, value_name = "KIND", ignore_case = true, value_parser = one_of(StoreKind::ALL, StoreKind::as_str))]
    pub store_kind: Option<StoreKind>,
    #[arg(long, global = true, hide = true, value_name = "HOW", value_parser = one_of(Isolation::ALL, Isolation::as_str))]
    pub isolation: Option<Isolation>,
    #[arg(long, global = true, hide = true, value_name = "HOW", value_parser = one_of(Rbac::ALL, Rbac::as_str))]
    pub rbac: Option<Rbac>,
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    pub store_file: Option<PathBuf>,
    #[arg(long, global = true, hide = true, value_name = "ID", requires = "store_file")]
    pub project_id: Option<String>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Write the settings file for a checkout of the platform
    ///
    /// It finds the environment, an existing store, and whether Argo CD or Flux is used. The flags that you pass go into the file, also
    /// those of earlier versions: `--store-kind`, `--isolation`, `--rbac`, `--store-file`, `--project-id`.
    Init,
    /// Generate the sealing key pair, before any cluster exists
    Keygen(Keygen),
    /// Generate and seal every missing value; never change an existing one
    Bootstrap(Bootstrap),
    /// Show what `bootstrap` would do
    Plan(Plan),
    /// Seal existing values; keys that are already sealed stay unless listed with `--replace`
    Import(Import),
    /// Seal one cluster's values for another cluster as well
    Copy(Copy),
    /// Replace sealed values by new ones, and list what to restart
    Rotate(Rotate),
    /// Check offline that contract, sealed files and certificate agree
    Verify(Verify),
    /// Re-seal existing values to the current certificate, in any file with SealedSecrets
    ReEncrypt(ReEncrypt),
    /// Generate a new sealing key and re-seal everything to it; the escrow keeps the old key
    Renew(Renew),
    /// Show what is sealed to which key, since when, and which keys are no longer needed
    Status(Status),
    /// Open sealed values, to recover when the cluster is gone
    Unseal(Unseal),
    /// Manage who can open the escrow (the encrypted copy of the private sealing key)
    Escrow(Escrow),
    /// Print the controller's key Secret, to apply before the controller starts
    KeySecret(KeySecret),
    /// Add `remoteRef.property` to a platform's ExternalSecrets
    Patch(Patch),
    /// Add every active sealing key of a live controller to the escrow, and prove that the escrow opens everything
    #[cfg(feature = "cluster")]
    Backup(Backup),
    /// Pin the certificate of a running controller or of a file
    #[cfg(feature = "cluster")]
    FetchCert(FetchCert),
    /// Follow each value through a live cluster, and report where it stops, why, and how to fix it
    #[cfg(feature = "cluster")]
    Doctor(Doctor),
    /// Show the contract: its keys, how each is made, and which ExternalSecrets read it
    Contract(Contract),
}

#[derive(Args)]
pub struct Keygen {
    /// An age recipient who can open the escrow; can be repeated [default: keys/recipients.txt, or a new identity]
    #[arg(long = "recipient", value_name = "age1…")]
    pub recipients: Vec<String>,
    /// Do nothing if there is a sealing key
    #[arg(long)]
    pub if_missing: bool,
    /// Start over where values were sealed with an earlier key: nothing will open them
    #[arg(long)]
    pub start_over: bool,
    #[command(flatten)]
    pub accepted: Accepted,
}

#[derive(Args)]
pub struct Wishes {
    /// Start over where values were sealed before, and all of them are gone for good
    #[arg(long)]
    pub start_over: bool,
    /// Seal a value of your own: from a file, from standard input (`KEY=-`), or typed at a prompt without echo (`KEY`)
    #[arg(long, value_name = "KEY[=FILE]", value_parser = provide)]
    pub provide: Vec<(Name, Option<PathBuf>)>,
    /// Seal the value of this key even if it looks like a placeholder, or its consumer is known to refuse it; can be repeated
    #[arg(long, value_name = "KEY", value_parser = name)]
    pub accept_as_is: Vec<Name>,
    /// Regenerate this write-once key, losing all data encrypted with its old value
    #[arg(long, value_name = "KEY", value_parser = name)]
    pub destroys_data: Vec<Name>,
    /// Also compare your copies with the sealed values, and restore those that differ, with the age identity that opens the escrow
    /// [default: operator.agekey in the keys folder, to restore missing copies only]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    #[command(flatten)]
    pub certificate: Certificate,
}

/// Which sealing certificate may be sealed to.
#[derive(Args)]
pub struct Certificate {
    /// Accept a sealing certificate of at least this many bits
    #[arg(long, value_name = "BITS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(2048..=4096))]
    pub allow_rsa_bits: u32,
    #[command(flatten)]
    pub accepted: Accepted,
}

#[derive(Args)]
pub struct Accepted {
    /// Accept exactly this sealing certificate, even if this machine accepted another one before
    #[arg(long, value_name = "sha256:…", value_parser = digest)]
    pub accept_certificate: Option<CertificateDigest>,
}

#[derive(Args)]
pub struct Bootstrap {
    #[command(flatten)]
    pub wishes: Wishes,
    /// Let more namespaces read values, and replace the platform's own store file, without asking
    #[arg(long)]
    pub yes: bool,
    /// Show the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Plan {
    #[command(flatten)]
    pub wishes: Wishes,
    /// Exit with 1 if there is something to do
    #[arg(long)]
    pub check: bool,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[group(id = "sources", required = true, multiple = true)]
pub struct Import {
    /// A file of `KEY=VALUE` lines; a key is written as in the contract, or `LIKE_THIS`
    #[arg(long = "env-file", value_name = "FILE", group = "sources")]
    pub env_files: Vec<PathBuf>,
    /// A file of Secrets in YAML or JSON: source Secrets of keys, or target Secrets of consumers; `-` is standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", group = "sources")]
    pub files: Vec<PathBuf>,
    /// A folder with one file per key, like the `--secrets` folder
    #[arg(long = "from-directory", value_name = "DIR", group = "sources")]
    pub directories: Vec<PathBuf>,
    /// Read the Secrets of a live cluster that hold the contract's keys, and no others
    #[cfg(feature = "cluster")]
    #[arg(long, group = "sources")]
    pub from_cluster: bool,
    /// Read only the Secrets of this namespace; can be repeated
    #[cfg(feature = "cluster")]
    #[arg(long = "namespace", value_name = "NAMESPACE", requires = "from_cluster", value_parser = namespace)]
    pub namespaces: Vec<Namespace>,
    /// Seal the value of this key even if it looks like a placeholder, or its consumer is known to refuse it; can be repeated
    #[arg(long, value_name = "KEY", value_parser = name)]
    pub accept_as_is: Vec<Name>,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    pub access: Access,
    #[command(flatten)]
    pub adoption: Adoption,
}

#[derive(Args)]
pub struct Adoption {
    /// Replace the sealed value of this key; can be repeated
    #[arg(long, value_name = "KEY", value_parser = name)]
    pub replace: Vec<Name>,
    /// Replace the sealed value of this write-once key, losing all data encrypted with it
    #[arg(long, value_name = "KEY", value_parser = name)]
    pub destroys_data: Vec<Name>,
    #[command(flatten)]
    pub replacing: Replacing,
}

#[derive(Args)]
pub struct Replacing {
    #[command(flatten)]
    pub consent: Consent,
    #[command(flatten)]
    pub certificate: Certificate,
}

#[derive(Args)]
pub struct Consent {
    /// Replace values without asking
    #[arg(long)]
    pub yes: bool,
    /// Show the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Copy {
    /// Only these keys [default: all]
    #[arg(value_name = "KEY", value_parser = name)]
    pub names: Vec<Name>,
    /// The cluster to take the values from
    #[arg(long, value_name = "NAME", value_parser = namespace, conflicts_with = "cluster")]
    pub from: Namespace,
    /// The cluster to seal the values for
    #[arg(long, value_name = "NAME", value_parser = namespace)]
    pub to: Namespace,
    /// The age identity that opens the escrow of the `--from` cluster [default: operator.agekey in its keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    #[command(flatten)]
    pub adoption: Adoption,
}

#[derive(Args)]
#[group(id = "chosen", required = true, multiple = true)]
pub struct Rotate {
    /// Keys to rotate; a hash and its password rotate together
    #[arg(value_name = "KEY", value_parser = name, group = "chosen")]
    pub names: Vec<Name>,
    /// Also rotate generated keys older than this (such as 90d) or of unknown age; write-once keys are skipped
    #[arg(long, value_name = "DAYS", value_parser = days, group = "chosen")]
    pub older_than: Option<u32>,
    /// Replace a provided value: from a file, from standard input (`KEY=-`), or typed at a prompt without echo (`KEY`)
    #[arg(long, value_name = "KEY[=FILE]", value_parser = provide, group = "chosen")]
    pub provide: Vec<(Name, Option<PathBuf>)>,
    /// Seal the value of this key even if it looks like a placeholder, or its consumer is known to refuse it; can be repeated
    #[arg(long, value_name = "KEY", value_parser = name)]
    pub accept_as_is: Vec<Name>,
    /// Regenerate this write-once key, losing all data encrypted with its old value
    #[arg(long, value_name = "KEY", value_parser = name, group = "chosen")]
    pub destroys_data: Vec<Name>,
    #[command(flatten)]
    pub replacing: Replacing,
}

#[derive(Args)]
pub struct Verify {
    /// Also open every value, with the age identity that opens the escrow [default with --drill: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Try the whole recovery from these files alone, and print a dated report for your records
    #[arg(long)]
    pub drill: bool,
    #[command(flatten)]
    pub certificate: Certificate,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct ReEncrypt {
    /// Files or folders that contain SealedSecrets, not only ours [default: the output folder]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub opening: Opening,
    /// Let a live cluster's controller re-encrypt the values, so that no private key is needed here
    #[cfg(feature = "cluster")]
    #[arg(long, conflicts_with_all = ["recovery_private_key", "key"])]
    pub via_controller: bool,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    pub cluster: Cluster,
    /// Re-encrypt only what is sealed to this key
    #[arg(long, value_name = "sha256:…", value_parser = digest)]
    pub key: Option<CertificateDigest>,
    #[command(flatten)]
    pub bound: Bound,
    #[command(flatten)]
    pub certificate: Certificate,
    #[command(flatten)]
    pub consent: Consent,
}

#[derive(Args)]
pub struct Renew {
    /// The age identity that opens the escrow [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    #[command(flatten)]
    pub accepted: Accepted,
    #[command(flatten)]
    pub consent: Consent,
}

#[derive(Args)]
pub struct Status {
    /// Files or folders that contain SealedSecrets, not only ours [default: the output folder]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Also open every value, with the age identity that opens the escrow, and show which keys are still needed
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    #[command(flatten)]
    pub bound: Bound,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What sealed values may be bound to, where the files do not say it.
#[derive(Args)]
pub struct Bound {
    /// The name that values were sealed for, where a file does not say it, as with `kubeseal --raw`
    #[arg(long = "name", value_name = "NAME", value_parser = name)]
    pub bound_name: Option<Name>,
    /// The namespace that values were sealed for, where a file does not say it
    #[arg(long = "namespace", value_name = "NAMESPACE", value_parser = namespace)]
    pub bound_namespace: Option<Namespace>,
    /// The scope that values were sealed with, where a file does not say it
    #[arg(long, value_name = "SCOPE", value_parser = one_of(Scope::ALL, Scope::as_str))]
    pub scope: Option<Scope>,
}

impl Bound {
    pub fn hints(&self) -> Hints {
        Hints { name: self.bound_name.clone(), namespace: self.bound_namespace.clone(), scope: self.scope, ..Hints::default() }
    }
}

#[derive(Args)]
pub struct Opening {
    /// The age identity that opens the escrow [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Use sealing keys in PEM, or backups of the controller's key Secrets, instead of the escrow; `-` is standard input
    #[arg(long, value_name = "FILE", value_delimiter = ',', conflicts_with = "identity")]
    pub recovery_private_key: Vec<PathBuf>,
}

#[derive(Args)]
pub struct Unseal {
    /// Only these keys [default: all]
    #[arg(value_name = "KEY", value_parser = name)]
    pub names: Vec<Name>,
    #[command(flatten)]
    pub opening: Opening,
    /// Open this file of SealedSecrets instead of the output folder
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub bound: Bound,
    /// The format of the Secrets
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "yaml")]
    pub output: Output,
    /// Print only the bare value of this key
    #[arg(long, value_name = "KEY", value_parser = name, conflicts_with_all = ["output", "names"])]
    pub value: Option<Name>,
    /// Print secrets even to a terminal
    #[arg(long)]
    pub reveal: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Output {
    /// A stream of documents
    Yaml,
    /// One object, or a List
    Json,
}

#[cfg(feature = "cluster")]
#[derive(Args)]
pub struct Access {
    /// The kubeconfig file, or several separated by `:`; missing ones that the variable lists are skipped
    #[arg(long, env = "KUBECONFIG", hide_env_values = true, value_name = "FILE")]
    pub kubeconfig: Option<String>,
    /// The context [default: that of the settings, or the current one of the kubeconfig, if `--kubeconfig` is given]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

#[cfg(feature = "cluster")]
#[derive(Args)]
pub struct Cluster {
    #[command(flatten)]
    pub access: Access,
    /// The controller's namespace [default: kube-system]
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
    pub controller_namespace: Option<Namespace>,
    /// The controller's Service [default: sealed-secrets-controller]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub controller_name: Option<Name>,
}

#[cfg(feature = "cluster")]
#[derive(Args)]
pub struct Backup {
    #[command(flatten)]
    pub cluster: Cluster,
    /// The age identity that opens the escrow [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}

#[cfg(feature = "cluster")]
#[derive(Args)]
pub struct FetchCert {
    #[command(flatten)]
    pub cluster: Cluster,
    /// Pin the certificate of this file instead of a cluster's
    #[arg(long, value_name = "FILE", conflicts_with = "context")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub accepted: Accepted,
}

#[cfg(feature = "cluster")]
#[derive(Args)]
pub struct Doctor {
    #[command(flatten)]
    pub cluster: Cluster,
    /// Wait until all checks are good, at most this long (such as `90s` or `5m`)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait: Option<std::time::Duration>,
    /// Print the Roles that COMMAND needs in a cluster, and do nothing else [default: those of every command]
    #[arg(long, value_name = "COMMAND", num_args = 0..=1, require_equals = true)]
    pub print_rbac: Option<Option<NeedsRights>>,
    /// Print a line for each thing that is well, and every name
    #[arg(long, short)]
    pub verbose: bool,
    /// Print the checks as JSON
    #[arg(long)]
    pub json: bool,
}

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

#[derive(Args)]
pub struct Escrow {
    #[command(subcommand)]
    pub change: EscrowChange,
}

#[derive(Subcommand)]
pub enum EscrowChange {
    /// Show who can open the escrow; with an identity also which keys it holds
    List(ListRecipients),
    /// Add a recipient who can open the escrow
    AddRecipient(ChangeRecipient),
    /// Rewrite the escrow without a recipient, who can still open older copies of it
    RemoveRecipient(ChangeRecipient),
}

#[derive(Args)]
pub struct ListRecipients {
    /// Also open it with this age identity, and show the sealing keys in it
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct ChangeRecipient {
    /// An age recipient: age's own, or a plugin's
    #[arg(value_name = "RECIPIENT")]
    pub recipient: String,
    /// The age identity that opens the escrow [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Do it without asking
    #[arg(long)]
    pub yes: bool,
}

#[derive(Args)]
pub struct KeySecret {
    /// The age identity that opens the escrow [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The controller's namespace [default: kube-system]
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
    pub controller_namespace: Option<Namespace>,
    /// Print the key even to a terminal
    #[arg(long)]
    pub reveal: bool,
    /// Apply it to the cluster of `--context`, and read it back
    #[cfg(feature = "cluster")]
    #[arg(long, requires = "context")]
    pub apply: bool,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    pub access: Access,
}

#[derive(Args)]
pub struct Patch {
    /// Read manifests from standard input and print them with the property, as a helm post-renderer
    #[arg(value_name = "-", value_parser = ["-"])]
    pub filter: Option<String>,
    /// Make the changes instead of printing them as a diff for `git apply`
    #[arg(long, conflicts_with = "filter")]
    pub write: bool,
    /// Where to put the property
    #[arg(long, value_name = "FORMAT", default_value = "manifest", conflicts_with = "filter")]
    pub format: PatchFormat,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum PatchFormat {
    /// The manifests themselves: one line after each key
    Manifest,
    /// The output folder's `property-patches/`: one kustomize Component of guarded JSON 6902 patches
    Component,
}

#[derive(Args)]
pub struct Contract {
    /// Draft a contract for `--contract` from this checkout: known keys keep their recipe, the others become provided
    #[arg(long, value_name = "DIR", conflicts_with_all = ["format", "platform"])]
    pub from_platform: Option<PathBuf>,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: ContractFormat,
}

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

/// One of these kinds, by its word.
fn one_of<K: Clone + Send + Sync + 'static>(all: &'static [K], word: fn(K) -> &'static str) -> impl TypedValueParser<Value = K> {
    let words = PossibleValuesParser::new(all.iter().cloned().map(word));
    let kind = move |typed: String| all.iter().find(|kind| word((*kind).clone()).eq_ignore_ascii_case(&typed)).cloned();
    words.map(move |typed| kind(typed).expect("clap checked the word"))
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

/// The command line, or clap's complaint about it in our words; `Err(Ok(text))` is help that was asked for.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Result<String, Error>> {
    let args: Vec<OsString> = args.into_iter().collect();
    given_once(&args).map_err(Err)?;
    let commands = Cli::command();
    let command = args.iter().skip(1).find_map(|arg| commands.find_subcommand(arg)).map(|command| format!("{} ", command.get_name()));
    let see = format!("see `seal-secrets {}--help`", command.unwrap_or_default());
    let mut grammar = commands;
    let parsed = grammar.try_get_matches_from_mut(args).and_then(|matches| {
        let typed = typed(&grammar, &matches);
        Ok(Cli { typed, ..Cli::from_arg_matches(&matches)? })
    });
    let cli = parsed.map_err(|error| match error.kind() {
        ClapError::DisplayHelp | ClapError::DisplayVersion => Ok(error.to_string()),
        ClapError::DisplayHelpOnMissingArgumentOrSubcommand => Err(Error::usage(
            "no command",
            "run `seal-secrets keygen`, then `seal-secrets bootstrap`; `seal-secrets --help` lists all commands",
        )),
        kind => Err(explain(kind, &error, &see)),
    })?;
    if cli.command.plans_in_json() == Some(false) {
        return Err(Err(Error::usage("`--json` shows a plan, and this would carry it out", "add `--dry-run`")));
    }
    Ok(cli)
}

impl Cli {
    /// Whether a flag with a path was typed, and not taken from the environment.
    pub fn has_typed(&self, flag: &str) -> bool {
        self.typed.iter().any(|typed| typed.flag.as_deref() == Some(flag))
    }
}

/// Every path of a command line.
fn typed(grammar: &clap::Command, matches: &ArgMatches) -> Vec<Typed> {
    if let Some((name, matches)) = matches.subcommand()
        && let Some(grammar) = grammar.find_subcommand(name)
    {
        return typed(grammar, matches);
    }
    let mut found = Vec::new();
    for arg in grammar.get_arguments() {
        let value_name = arg.get_value_names().and_then(<[_]>::first).filter(|name| matches!(name.as_str(), "FILE" | "DIR" | "PATH"));
        let is_typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let Some(value_name) = value_name.filter(|_| is_typed(arg.get_id().as_str())) else { continue };
        let flag = arg.get_long().map(|long| format!("--{long}"));
        // A kubeconfig may be several.
        let several = |byte: &u8| *byte == b':' && arg.get_id() == "kubeconfig";
        let split =
            |raw: &OsStr| -> Vec<PathBuf> { raw.as_bytes().split(several).map(|path| PathBuf::from(OsStr::from_bytes(path))).collect() };
        let paths = matches.get_raw(arg.get_id().as_str()).into_iter().flatten().flat_map(split);
        found.extend(paths.map(|path| Typed { flag: flag.clone(), value_name: value_name.to_string(), path }));
    }
    found
}

impl Command {
    /// The live cluster that is named.
    #[cfg(feature = "cluster")]
    pub fn live(&self) -> Live {
        let (access, namespace, name) = match self {
            Command::Import(args) => (&args.access, None, None),
            Command::KeySecret(args) => (&args.access, args.controller_namespace.as_ref(), None),
            Command::ReEncrypt(ReEncrypt { cluster, .. })
            | Command::Backup(Backup { cluster, .. })
            | Command::FetchCert(FetchCert { cluster, .. })
            | Command::Doctor(Doctor { cluster, .. }) => {
                (&cluster.access, cluster.controller_namespace.as_ref(), cluster.controller_name.as_ref())
            }
            _ => return Live::default(),
        };
        let Access { kubeconfig, context } = access;
        Live {
            kubeconfig: kubeconfig.clone().filter(|files| !files.is_empty()),
            context: context.clone(),
            controller_namespace: namespace.cloned(),
            controller_name: name.cloned(),
        }
    }

    /// Without a network there is only the namespace that a printed Secret is for.
    #[cfg(not(feature = "cluster"))]
    pub fn live(&self) -> Live {
        let controller_namespace = match self {
            Command::KeySecret(args) => args.controller_namespace.clone(),
            _ => None,
        };
        Live { controller_namespace, ..Live::default() }
    }

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
    for flag in ["--settings", "--keys", "--out", "--secrets", "--cluster", "--contract", "--platform", "--environment"] {
        let is_flag = |arg: &&OsString| arg.to_str().is_some_and(|arg| arg.split('=').next() == Some(flag));
        if args.iter().take_while(|arg| *arg != "--").filter(is_flag).count() > 1 {
            return Err(Error::usage(format!("`{flag}` is given twice"), "pass it once"));
        }
    }
    Ok(())
}

/// Whether this is a flag that no help shows.
fn is_hidden(flag: &str) -> bool {
    Cli::command().get_arguments().any(|arg| arg.is_hide_set() && arg.get_long() == flag.strip_prefix("--"))
}

/// `see` is the help of the command that was typed.
fn explain(kind: ClapError, error: &clap::Error, see: &str) -> Error {
    let context = |wanted: ContextKind| {
        error.context().find(|(kind, _)| *kind == wanted).map(|(_, value)| match value {
            ContextValue::Strings(several) => several.join("`, `"),
            other => other.to_string(),
        })
    };
    // Names of flags are clap's or start with a dash; anything else that was typed is not repeated.
    let flag = |text: String| text.split(['=', ' ']).next().filter(|word| word.starts_with(['-', '<', '['])).map(str::to_owned);
    let named = context(ContextKind::InvalidArg).and_then(flag).map(|flag| format!("`{flag}`"));
    let argument = named.clone().unwrap_or("an argument".to_owned());
    let help = |otherwise: &str| {
        let near = [ContextKind::SuggestedArg, ContextKind::SuggestedValue].into_iter().find_map(context);
        let near = near.filter(|meant| !is_hidden(meant));
        near.map_or(otherwise.to_owned(), |meant| format!("did you mean `{meant}`?"))
    };
    match kind {
        ClapError::UnknownArgument => {
            let too_many = "one argument too many (not shown: it may be a secret)".to_owned();
            let secret = format!("{see}; pass a secret in a file or on standard input, never on the command line");
            Error::usage(named.map_or(too_many, |named| format!("unknown argument {named}")), help(&secret))
        }
        ClapError::InvalidSubcommand => {
            let (typed, commands) = (context(ContextKind::InvalidSubcommand).unwrap_or_default(), Cli::command());
            let meant = near(&typed, commands.get_subcommands().map(clap::Command::get_name));
            Error::usage("unknown command", meant.map_or(see.to_owned(), |meant| format!("did you mean `{meant}`?")))
        }
        ClapError::ArgumentConflict => match context(ContextKind::PriorArg).and_then(flag) {
            Some(other) if format!("`{other}`") != argument => {
                Error::usage(format!("{argument} and `{other}` cannot be used together"), "drop one of the two")
            }
            _ => Error::usage(format!("{argument} is given twice, or with one that excludes it"), "pass it once"),
        },
        ClapError::InvalidValue => {
            let valid = context(ContextKind::ValidValue).map_or(String::new(), |values| format!("; use one of `{values}`"));
            Error::usage(format!("{argument} has no value, or an invalid one{valid}"), help(see))
        }
        ClapError::ValueValidation => match std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>()) {
            Some(reason) => Error::usage(format!("{argument}: {}", reason.what()), reason.help()),
            None => Error::usage(format!("{argument} has an invalid value"), see),
        },
        ClapError::InvalidUtf8 => Error::usage("an argument is not UTF-8", "rename the file, or write its path in another way"),
        ClapError::MissingRequiredArgument => {
            // `<--one <FILE>|--other>` where one of several is needed.
            let flags = context(ContextKind::InvalidArg).unwrap_or_default();
            let flags: Vec<&str> = flags.split(['<', '>', '|', ' ']).filter(|word| word.starts_with("--")).collect();
            match flags.as_slice() {
                _ if flags.contains(&"--older-than") => {
                    Error::usage("no key to rotate", "pass keys, as in `seal-secrets rotate KEY…`, or `--older-than 90d`")
                }
                [_, _, ..] => Error::usage(format!("one of `{}` is needed", flags.join("`, `")), see),
                _ => Error::usage(format!("the command line is not complete: {argument}"), see),
            }
        }
        _ => Error::usage(format!("the command line is not complete: {argument}"), see),
    }
}
