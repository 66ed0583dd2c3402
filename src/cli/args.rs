//! The grammar of the command line, as clap's types. The first paragraph of each text is for `-h`, all of it for `--help`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::model::{
    CertificateDigest, Code, DataKey, Error, Hints, Isolation, KeyName, Name, Namespace, Rbac, Scope, StoreKind, USUAL_BITS,
};

const FOLDERS: &str = "Folders and settings";
const CLUSTER: &str = "Cluster";

/// Makes, seals and keeps the secrets of an LLM platform, offline, before any cluster exists.
#[derive(Parser)]
#[command(name = "seal-secrets", version, arg_required_else_help = true, max_term_width = 120)]
pub struct Cli {
    #[command(flatten)]
    pub folders: Folders,
    /// Color words: auto, always, or never [default: auto, in a terminal without NO_COLOR]
    #[arg(long, global = true, help_heading = FOLDERS, hide_short_help = true, value_name = "WHEN", default_value = "auto", hide_default_value = true, hide_possible_values = true)]
    pub color: clap::ColorChoice,
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
    /// The settings file [default: seal-secrets.yaml, from here upwards to the root of the checkout]
    #[arg(long, global = true, help_heading = FOLDERS, hide_short_help = true, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// The folder with the sealing certificate and the escrow [default: keys]
    #[arg(long, global = true, help_heading = FOLDERS, hide_short_help = true, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// The folder with everything that is committed [default: out]
    #[arg(long, global = true, help_heading = FOLDERS, hide_short_help = true, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The folder for your own copies of values, such as a password [default: secrets]
    #[arg(long, global = true, help_heading = FOLDERS, hide_short_help = true, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// Work on cluster NAME: use the subfolder NAME of the keys, out and secrets folders
    #[arg(long, global = true, help_heading = FOLDERS, hide_short_help = true, value_name = "NAME", value_parser = namespace)]
    pub cluster: Option<Namespace>,
    /// The contract: which secrets are needed, how each is made, and who reads it [default: the built-in one]
    #[arg(long, global = true, help_heading = FOLDERS, hide_short_help = true, value_name = "FILE")]
    pub contract: Option<PathBuf>,
    /// A checkout of the platform: its manifests say which ExternalSecret reads what
    #[arg(long, global = true, help_heading = FOLDERS, hide_short_help = true, value_name = "DIR")]
    pub platform: Option<PathBuf>,
    /// The environment (environments/NAME) whose features say which keys are needed [default: the only one]
    #[arg(long, global = true, help_heading = FOLDERS, hide_short_help = true, value_name = "NAME")]
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
    /// Seal existing values; what is sealed already stays, unless listed
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
    /// Print PushSecrets that copy every value into another store
    ///
    /// For a team that moves on to a hosted store: the operator copies each source Secret there, and what the store has stays. The store has
    /// to tell the operator what it has: those of AWS, Azure, Google and Vault do.
    Export(Export),
    /// Show SealedSecrets in git's diffs without their ciphertexts, and never merge derived files
    ///
    /// It prints what it would write: lines of `.gitattributes` in the output folder, which you commit, and this clone's configuration.
    GitSetup(GitSetup),
    /// Show a file with a few words in place of each sealed value, as git's diff does after `git-setup`
    Textconv(Textconv),
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
    /// Explain a code: of a finding of `verify`, a check of `doctor`, or an exit code
    Explain(Explain),
    /// Print a shell's completions
    Completions(Completions),
    /// Print the manual page of this tool, or of one of its commands
    Man(Man),
}

#[derive(Args)]
pub struct Keygen {
    /// Let this age recipient open the escrow; can be repeated
    ///
    /// [default: keys/recipients.txt, or a new identity]
    #[arg(long = "recipient", value_name = "age1…")]
    pub recipients: Vec<String>,
    /// Do nothing if there is a sealing key
    #[arg(long)]
    pub if_missing: bool,
    /// Start over: nothing opens what was sealed before
    #[arg(long)]
    pub start_over: bool,
    #[command(flatten)]
    pub accepted: Accepted,
}

/// How a result is printed.
#[derive(Args)]
pub struct Printed {
    /// For people (human), or for programs (json)
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "human", hide_possible_values = true)]
    pub output: Form,
    /// The same as `-o json`
    #[arg(long, hide_short_help = true)]
    pub json: bool,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum Form {
    /// For people
    Human,
    /// For programs
    Json,
}

impl Printed {
    pub fn is_json(&self) -> bool {
        self.json || self.output == Form::Json
    }
}

impl Verify {
    /// How to print the findings.
    pub fn form(&self) -> Report {
        if self.json { Report::Json } else { self.output }
    }
}

/// How findings are printed.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum Report {
    /// For people
    Human,
    /// For programs
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of GitHub Actions
    Github,
    /// GitLab's Code Quality
    Gitlab,
    /// JUnit XML, for test reports
    Junit,
}

#[derive(Args)]
pub struct Wishes {
    /// Start over where all sealed values are gone for good
    #[arg(long)]
    pub start_over: bool,
    /// Seal a value of your own
    ///
    /// It comes from a file, from standard input (`KEY=-`), or is typed at a prompt without echo (`KEY`).
    #[arg(long, value_name = "KEY[=FILE]", value_parser = provide)]
    pub provide: Vec<(KeyName, Option<PathBuf>)>,
    #[command(flatten)]
    pub as_is: AsIs,
    /// Replace a write-once key: its data is lost
    ///
    /// All data that was encrypted with the old value can no longer be read.
    #[arg(long, value_name = "KEY", value_parser = key)]
    pub destroys_data: Vec<KeyName>,
    /// Open sealed values, with this age identity
    ///
    /// Copies that differ from them are restored, and a value that the contract adds may be made of them [default: operator.agekey in the
    /// keys folder, to restore missing copies only].
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    #[command(flatten)]
    pub certificate: Certificate,
}

/// Which values are sealed whatever they look like.
#[derive(Args)]
pub struct AsIs {
    /// Seal a value that looks like a placeholder
    ///
    /// Also one that the key's consumer is known to refuse; can be repeated.
    #[arg(long, hide_short_help = true, value_name = "KEY", value_parser = key)]
    pub accept_as_is: Vec<KeyName>,
}

/// Which sealing certificate may be sealed to.
#[derive(Args)]
pub struct Certificate {
    /// Accept a sealing certificate of at least this many bits
    #[arg(long, hide_short_help = true, value_name = "BITS", default_value_t = USUAL_BITS, value_parser = clap::value_parser!(u32).range(2048..=4096))]
    pub allow_rsa_bits: u32,
    #[command(flatten)]
    pub accepted: Accepted,
}

#[derive(Args)]
pub struct Accepted {
    /// Accept exactly this sealing certificate, even if this machine accepted another one before
    #[arg(long, hide_short_help = true, value_name = "sha256:…", value_parser = digest)]
    pub accept_certificate: Option<CertificateDigest>,
}

#[derive(Args)]
pub struct Bootstrap {
    #[command(flatten)]
    pub wishes: Wishes,
    /// Do not ask
    ///
    /// More namespaces may then read values, and the platform's own store file is replaced.
    #[arg(long)]
    pub yes: bool,
    /// Show the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub printed: Printed,
}

#[derive(Args)]
pub struct Plan {
    #[command(flatten)]
    pub wishes: Wishes,
    /// Exit with 1 if there is something to do
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    pub printed: Printed,
}

#[derive(Args)]
#[command(
    override_usage = "seal-secrets import [OPTIONS] SOURCE...\n\nA SOURCE is `--env-file`, `-f`, `--values`, `--json-file`, `--from-directory`,\nor `--from-cluster`."
)]
#[group(id = "sources", required = true, multiple = true)]
pub struct Import {
    /// Read `KEY=VALUE` lines
    ///
    /// A key is written as in the contract, or `LIKE_THIS`.
    #[arg(long = "env-file", value_name = "FILE", group = "sources")]
    pub env_files: Vec<PathBuf>,
    /// Read Secrets in YAML or JSON, or `-`
    ///
    /// Source Secrets of keys, or target Secrets of consumers.
    #[arg(short = 'f', long = "filename", value_name = "FILE", group = "sources")]
    pub files: Vec<PathBuf>,
    /// Read a Secret's data keys from a mapping, or `-`
    ///
    /// Such as `sops -d values.yaml` or `vault kv get -format=json PATH` print it: its fields are the Secret's data keys.
    #[arg(long = "values", value_name = "SECRET=FILE", group = "sources", value_parser = mapping)]
    pub mappings: Vec<(Name, PathBuf)>,
    /// Read single fields of any JSON or YAML, or `-`
    #[arg(long, hide_short_help = true, value_name = "FILE", group = "sources", requires = "json_keys")]
    pub json_file: Option<PathBuf>,
    /// A field of `--json-file`, such as `hf-token=data.token`
    #[arg(long = "json-key", hide_short_help = true, value_name = "KEY=FIELD", requires = "json_file", value_parser = json_key)]
    pub json_keys: Vec<(KeyName, String)>,
    /// Read a folder with one file per key
    #[arg(long = "from-directory", hide_short_help = true, value_name = "DIR", group = "sources")]
    pub directories: Vec<PathBuf>,
    /// Read the contract's Secrets of a cluster
    #[cfg(feature = "cluster")]
    #[arg(long, group = "sources")]
    pub from_cluster: bool,
    /// Only of this namespace; can be repeated
    #[cfg(feature = "cluster")]
    #[arg(long = "namespace", hide_short_help = true, value_name = "NAMESPACE", requires = "from_cluster", value_parser = namespace)]
    pub namespaces: Vec<Namespace>,
    #[command(flatten)]
    pub as_is: AsIs,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    pub access: Access,
    #[command(flatten)]
    pub adoption: Adoption,
}

#[derive(Args)]
pub struct Adoption {
    /// Replace the value of this key; can be repeated
    #[arg(long, value_name = "KEY", value_parser = key)]
    pub replace: Vec<KeyName>,
    /// Replace a write-once key: its data is lost
    ///
    /// All data that was encrypted with the old value can no longer be read.
    #[arg(long, value_name = "KEY", value_parser = key)]
    pub destroys_data: Vec<KeyName>,
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
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Show the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub printed: Printed,
}

#[derive(Args)]
pub struct Copy {
    /// Only these keys [default: all]
    #[arg(value_name = "KEY", value_parser = key)]
    pub names: Vec<KeyName>,
    /// The cluster to take the values from
    #[arg(long, value_name = "NAME", value_parser = namespace, conflicts_with = "cluster")]
    pub from: Namespace,
    /// The cluster to seal the values for
    #[arg(long, value_name = "NAME", value_parser = namespace)]
    pub to: Namespace,
    /// The age identity that opens the escrow of `--from`
    ///
    /// [default: operator.agekey in its keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    #[command(flatten)]
    pub adoption: Adoption,
}

#[derive(Args)]
#[command(
    override_usage = "seal-secrets rotate [OPTIONS] KEY...\n       seal-secrets rotate [OPTIONS] --older-than DAYS\n       seal-secrets rotate [OPTIONS] --provide KEY[=FILE]"
)]
#[group(id = "chosen", required = true, multiple = true)]
pub struct Rotate {
    /// Keys to rotate; a value rotates with what is made of it
    #[arg(value_name = "KEY", value_parser = key, group = "chosen")]
    pub names: Vec<KeyName>,
    /// Rotate generated keys older than this, such as 90d
    ///
    /// Also those of unknown age; write-once keys are skipped.
    #[arg(long, value_name = "DAYS", value_parser = days, group = "chosen")]
    pub older_than: Option<u32>,
    /// Replace a value that only you have
    ///
    /// It comes from a file, from standard input (`KEY=-`), or is typed at a prompt without echo (`KEY`).
    #[arg(long, value_name = "KEY[=FILE]", value_parser = provide, group = "chosen")]
    pub provide: Vec<(KeyName, Option<PathBuf>)>,
    #[command(flatten)]
    pub as_is: AsIs,
    /// Replace a write-once key: its data is lost
    ///
    /// All data that was encrypted with the old value can no longer be read.
    #[arg(long, value_name = "KEY", value_parser = key, group = "chosen")]
    pub destroys_data: Vec<KeyName>,
    /// Keep what a value is made of, opened with this age identity
    ///
    /// A certificate keeps its authority, a hash its password. Without it they rotate together, since no sealed value can be read.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    #[command(flatten)]
    pub replacing: Replacing,
}

#[derive(Args)]
pub struct Verify {
    /// Open every value too, with this age identity
    ///
    /// It is the one that opens the escrow [default with --drill: operator.agekey in the keys folder].
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Look for secrets in the clear in the whole repository
    ///
    /// In every file that git does not ignore; with `--identity` also for each value that is sealed here.
    #[arg(long)]
    pub repository: bool,
    /// Try the whole recovery, and print a dated report
    #[arg(long)]
    pub drill: bool,
    #[command(flatten)]
    pub certificate: Certificate,
    /// human, json, sarif, github, gitlab, or junit
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "human", hide_possible_values = true)]
    pub output: Report,
    /// The same as `-o json`
    #[arg(long, hide_short_help = true)]
    pub json: bool,
    /// Leave out this warning; can be repeated
    #[arg(long, value_name = "CODE", value_parser = warning)]
    pub ignore: Vec<Code>,
    /// Show each finding, also those that are alike
    #[arg(long, short)]
    pub verbose: bool,
    /// Show errors only, and nothing if there are none
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
}

#[derive(Args)]
pub struct ReEncrypt {
    /// Any files or folders with SealedSecrets [default: out]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub opening: Opening,
    /// Let a live controller do it: no private key here
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
    /// The age identity that opens the escrow
    ///
    /// [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    #[command(flatten)]
    pub accepted: Accepted,
    #[command(flatten)]
    pub consent: Consent,
}

#[derive(Args)]
pub struct Status {
    /// Any files or folders with SealedSecrets [default: out]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Open every value too, with this age identity
    ///
    /// It is the one that opens the escrow; then it shows which keys are still needed.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    #[command(flatten)]
    pub bound: Bound,
    #[command(flatten)]
    pub printed: Printed,
}

/// What sealed values may be bound to, where the files do not say it.
#[derive(Args)]
pub struct Bound {
    /// The name that values were sealed for
    ///
    /// Where a file does not say it, as with `kubeseal --raw`.
    #[arg(long = "name", hide_short_help = true, value_name = "NAME", value_parser = name)]
    pub bound_name: Option<Name>,
    /// The namespace that values were sealed for
    ///
    /// Where a file does not say it.
    #[arg(long = "namespace", hide_short_help = true, value_name = "NAMESPACE", value_parser = namespace)]
    pub bound_namespace: Option<Namespace>,
    /// The scope that values were sealed with
    ///
    /// Where a file does not say it.
    #[arg(long, hide_short_help = true, value_name = "SCOPE", value_parser = one_of(Scope::ALL, Scope::as_str))]
    pub scope: Option<Scope>,
}

impl Bound {
    pub fn hints(&self) -> Hints {
        Hints { name: self.bound_name.clone(), namespace: self.bound_namespace.clone(), scope: self.scope, ..Hints::default() }
    }
}

#[derive(Args)]
pub struct Opening {
    /// The age identity that opens the escrow
    ///
    /// [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Use these sealing keys instead of the escrow
    ///
    /// In PEM, or backups of the controller's key Secrets; `-` is standard input.
    #[arg(long, hide_short_help = true, value_name = "FILE", value_delimiter = ',', conflicts_with = "identity")]
    pub recovery_private_key: Vec<PathBuf>,
}

#[derive(Args)]
pub struct Unseal {
    /// Only these keys [default: all]
    #[arg(value_name = "KEY", value_parser = key)]
    pub names: Vec<KeyName>,
    #[command(flatten)]
    pub opening: Opening,
    /// Open this file of SealedSecrets instead of out/
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub bound: Bound,
    /// The format of the Secrets: yaml or json
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "yaml", hide_possible_values = true)]
    pub output: Output,
    /// Print only the bare value of this key
    #[arg(long, value_name = "KEY", value_parser = key, conflicts_with_all = ["output", "names"])]
    pub value: Option<KeyName>,
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
    /// The kubeconfig file, or several separated by `:`
    ///
    /// Missing ones that the variable lists are skipped.
    #[arg(long, help_heading = CLUSTER, hide_short_help = true, env = "KUBECONFIG", hide_env_values = true, value_name = "FILE")]
    pub kubeconfig: Option<String>,
    /// The context
    ///
    /// [default: that of the settings, or the current one of the kubeconfig, if `--kubeconfig` is given]
    #[arg(long, help_heading = CLUSTER, value_name = "NAME")]
    pub context: Option<String>,
}

#[cfg(feature = "cluster")]
#[derive(Args)]
pub struct Cluster {
    #[command(flatten)]
    pub access: Access,
    /// The controller's namespace [default: kube-system]
    #[arg(long, help_heading = CLUSTER, hide_short_help = true, value_name = "NAMESPACE", value_parser = namespace)]
    pub controller_namespace: Option<Namespace>,
    /// The controller's Service [default: sealed-secrets-controller]
    #[arg(long, help_heading = CLUSTER, hide_short_help = true, value_name = "NAME", value_parser = name)]
    pub controller_name: Option<Name>,
}

#[cfg(feature = "cluster")]
#[derive(Args)]
pub struct Backup {
    #[command(flatten)]
    pub cluster: Cluster,
    /// The age identity that opens the escrow
    ///
    /// [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}

#[cfg(feature = "cluster")]
#[derive(Args)]
pub struct FetchCert {
    #[command(flatten)]
    pub cluster: Cluster,
    /// Pin the certificate of this file
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
    /// Wait until all is good, at most this long (`5m`)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait: Option<std::time::Duration>,
    /// Only print the Roles that COMMAND needs
    ///
    /// [default: those of every command]
    #[arg(long, value_name = "COMMAND", num_args = 0..=1, require_equals = true)]
    pub print_rbac: Option<Option<NeedsRights>>,
    /// Show each check, and every name
    #[arg(long, short)]
    pub verbose: bool,
    /// human, json, or mermaid: a picture of the chain that marks what is broken
    #[arg(short = 'o', long, alias = "format", value_name = "FORMAT", default_value = "human", hide_possible_values = true)]
    pub output: Picture,
    /// The same as `-o json`
    #[arg(long, hide_short_help = true)]
    pub json: bool,
}

/// How checks are printed.
#[cfg(feature = "cluster")]
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum Picture {
    /// For people
    Human,
    /// For programs
    Json,
    /// A picture: the chain, and what is broken in it
    Mermaid,
}

#[cfg(feature = "cluster")]
impl Doctor {
    /// How to print the checks.
    pub fn form(&self) -> Picture {
        if self.json { Picture::Json } else { self.output }
    }
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
    /// Open it too, and show the sealing keys in it
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    #[command(flatten)]
    pub printed: Printed,
}

#[derive(Args)]
pub struct ChangeRecipient {
    /// An age recipient: age's own, or a plugin's
    #[arg(value_name = "RECIPIENT")]
    pub recipient: String,
    /// The age identity that opens the escrow
    ///
    /// [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Do it without asking
    #[arg(long)]
    pub yes: bool,
}

#[derive(Args)]
pub struct KeySecret {
    /// The age identity that opens the escrow
    ///
    /// [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The controller's namespace [default: kube-system]
    #[arg(long, help_heading = CLUSTER, hide_short_help = true, value_name = "NAMESPACE", value_parser = namespace)]
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
    /// Filter standard input, as a helm post-renderer
    #[arg(value_name = "-", value_parser = ["-"])]
    pub filter: Option<String>,
    /// Make the changes, instead of printing a diff
    ///
    /// The diff is one for `git apply`.
    #[arg(long, conflicts_with = "filter")]
    pub write: bool,
    /// Rename a key that ExternalSecrets read, instead
    ///
    /// For a name that no Secret can have, such as `prod/db`: `--rename prod/db=prod-db`.
    #[arg(long, value_name = "OLD=NEW", value_parser = renaming, conflicts_with_all = ["filter", "format"])]
    pub rename: Vec<(String, Name)>,
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
pub struct Export {
    /// The store that the values are copied into
    #[arg(long, value_name = "STORE", value_parser = name)]
    pub push_secrets: Name,
    /// The kind of that store
    #[arg(long = "kind", value_name = "KIND", default_value = "ClusterSecretStore", value_parser = one_of(StoreKind::ALL, StoreKind::as_str))]
    pub store_kind_there: StoreKind,
    /// Copy a Secret of one value as that value alone
    ///
    /// Without it each Secret becomes a JSON object of its data keys, which ExternalSecrets read by `property`, as they do now. With it they
    /// read without one: take the patches out. Vault keeps no bare values.
    #[arg(long)]
    pub bare_values: bool,
}

#[derive(Args)]
pub struct GitSetup {
    /// Write both files
    #[arg(long)]
    pub write: bool,
    /// Let diffs show the values too, in this clone
    #[arg(long)]
    pub reveal: bool,
    /// The age identity that opens the escrow
    ///
    /// [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE", requires = "reveal")]
    pub identity: Option<PathBuf>,
}

#[derive(Args)]
pub struct Textconv {
    /// A file with SealedSecrets
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Show the values too
    #[arg(long)]
    pub reveal: bool,
    /// The age identity that opens the escrow
    ///
    /// [default: operator.agekey in the keys folder]
    #[arg(long, value_name = "FILE", requires = "reveal")]
    pub identity: Option<PathBuf>,
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_value_name = "ACTION")]
pub struct Contract {
    #[command(subcommand)]
    pub action: Option<ContractAction>,
    /// Draft a contract from this checkout
    ///
    /// For `--contract`: known keys keep their recipe, those of the others are guessed and marked.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["format", "platform"])]
    pub from_platform: Option<PathBuf>,
    /// Draft a contract from rendered manifests
    ///
    /// Such as `helm template` prints them; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["format", "platform", "from_platform"])]
    pub from_manifests: Option<PathBuf>,
    /// Draft only what is read from this store
    #[arg(long, hide_short_help = true, value_name = "NAME", value_parser = name)]
    pub store: Option<Name>,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: ContractFormat,
}

#[derive(Args)]
pub struct Explain {
    /// Such as `unit-missing`, `source-edited`, or `4`
    pub code: String,
}

#[derive(Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[derive(Args)]
pub struct Man {
    /// The command, such as `verify` or `escrow list` [default: the tool itself]
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Subcommand)]
pub enum ContractAction {
    /// Show every recipe, with an example
    Recipes,
    /// Add a Secret to your contract file
    ///
    /// A recipe is `KIND`, `KIND:TEXT`, or `KIND,FIELD=VALUE,…`: `hex`, `plain:admin`, `tls,names=app.example.org,days=90`. `contract
    /// recipes` shows them all.
    Add(ContractAdd),
}

#[derive(Args)]
pub struct ContractAdd {
    /// The name of the Secret
    #[arg(value_name = "NAME", value_parser = name)]
    pub name: Name,
    /// How its one value is made
    #[arg(long, value_name = "RECIPE", required_unless_present = "values", conflicts_with = "values")]
    pub recipe: Option<String>,
    /// A data key, and how its value is made; can be repeated
    #[arg(long = "value", value_name = "DATAKEY=RECIPE", value_parser = data_value)]
    pub values: Vec<(DataKey, String)>,
    /// What it is for [default: its name]
    #[arg(long, value_name = "TEXT")]
    pub about: Option<String>,
    /// The type of the Secret, such as `kubernetes.io/basic-auth`
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Show the new contract, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum ContractFormat {
    /// For people
    Table,
    /// For programs
    Json,
    /// What `--contract` takes
    Yaml,
    /// A picture: SealedSecret → source Secret → ExternalSecret → target Secret
    Mermaid,
    /// A web page with that picture, which needs no network
    Html,
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

fn key(text: &str) -> Result<KeyName, Error> {
    KeyName::new(text)
}

fn namespace(text: &str) -> Result<Namespace, Error> {
    Namespace::new(text)
}

fn warning(text: &str) -> Result<Code, Error> {
    Code::warning(text)
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

fn mapping(text: &str) -> Result<(Name, PathBuf), Error> {
    let wrong = || Error::bad_input("not a Secret with its file", "write `SECRET=FILE`");
    let (secret, file) = text.split_once('=').ok_or_else(wrong)?;
    Ok((Name::new(secret)?, PathBuf::from(file)))
}

fn json_key(text: &str) -> Result<(KeyName, String), Error> {
    let wrong = || Error::bad_input("not a key with its field", "write `KEY=FIELD`, such as `hf-token=data.token`");
    let (key, field) = text.split_once('=').filter(|(_, field)| !field.is_empty()).ok_or_else(wrong)?;
    Ok((KeyName::new(key)?, field.trim_start_matches('.').to_owned()))
}

fn data_value(text: &str) -> Result<(DataKey, String), Error> {
    let wrong = || Error::bad_input("not a data key with its recipe", "write `DATAKEY=RECIPE`, such as `password=alphanumeric`");
    let (key, recipe) = text.split_once('=').ok_or_else(wrong)?;
    Ok((DataKey::new(key)?, recipe.to_owned()))
}

fn renaming(text: &str) -> Result<(String, Name), Error> {
    let wrong = || Error::bad_input("not a new name for a key", "write `OLD=NEW`, such as `prod/db=prod-db`");
    let (old, new) = text.rsplit_once('=').filter(|(old, _)| !old.is_empty()).ok_or_else(wrong)?;
    Ok((old.to_owned(), Name::new(new)?))
}

fn provide(text: &str) -> Result<(KeyName, Option<PathBuf>), Error> {
    let (key, file) = match text.split_once('=') {
        Some((key, file)) => (key, Some(PathBuf::from(file))),
        None => (text, None),
    };
    Ok((KeyName::new(key)?, file))
}
