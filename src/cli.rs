//! The command line: clap's errors in our words, since clap's own quote what was typed, which may be a secret.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

use clap::error::{ContextKind, ContextValue, ErrorKind as ClapError};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

pub use self::args::*;
use crate::model::{Error, Live, meant};

mod args;
mod examples;

/// The grammar of the command line, with its help texts.
pub fn grammar() -> clap::Command {
    examples::with_examples(Cli::command())
}

/// The same for parsing, built once: that takes longer than to parse with it.
static GRAMMAR: LazyLock<Mutex<clap::Command>> = LazyLock::new(|| Mutex::new(grammar()));

/// Parses the command line, or returns clap's complaint in our words; `Err(Ok(text))` is requested help.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Result<String, Error>> {
    let args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_some_and(|arg| arg == "-h") {
        return Err(Ok(examples::SUMMARY.to_owned()));
    }
    given_once(&args).map_err(Err)?;
    let mut grammar = GRAMMAR.lock().unwrap_or_else(PoisonError::into_inner);
    // clap adds `help` with the first parsing.
    let named = |arg| grammar.find_subcommand(arg).map(clap::Command::get_name).filter(|name| *name != "help");
    let command = args.iter().skip(1).find_map(named).map(|name| format!("{name} "));
    let see = format!("see `seal-secrets {}--help`", command.unwrap_or_default());
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
    /// Whether to color words; none = if a person reads them.
    pub fn colors(&self) -> Option<bool> {
        match self.color {
            clap::ColorChoice::Auto => None,
            choice => Some(choice == clap::ColorChoice::Always),
        }
    }

    /// Whether a flag with a path was typed, rather than taken from the environment.
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
        // A kubeconfig may be several paths.
        let several = |byte: &u8| *byte == b':' && arg.get_id() == "kubeconfig";
        let split =
            |raw: &OsStr| -> Vec<PathBuf> { raw.as_bytes().split(several).map(|path| PathBuf::from(OsStr::from_bytes(path))).collect() };
        let paths = matches.get_raw(arg.get_id().as_str()).into_iter().flatten().flat_map(split);
        found.extend(paths.map(|path| Typed { flag: flag.clone(), value_name: value_name.to_string(), path }));
    }
    found
}

impl Command {
    /// The selected live cluster.
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

    /// With `--json`, whether only a plan is shown, if the command could also carry it out.
    fn plans_in_json(&self) -> Option<bool> {
        let (json, dry_run) = match self {
            Command::Bootstrap(args) => (args.printed.is_json(), args.dry_run),
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
        (self.printed.is_json(), self.dry_run)
    }
}

/// clap accepts a global flag once before and once after the command, and forgets the first.
fn given_once(args: &[OsString]) -> Result<(), Error> {
    for flag in ["--settings", "--keys", "--out", "--secrets", "--cluster", "--contract", "--platform", "--environment"] {
        let is_flag = |arg: &&OsString| arg.to_str().is_some_and(|arg| arg.split('=').next() == Some(flag));
        if args.iter().take_while(|arg| *arg != "--").filter(is_flag).count() > 1 {
            return Err(Error::usage(format!("`{flag}` is given twice"), "pass it once"));
        }
    }
    Ok(())
}

/// Whether no help shows this flag.
fn is_hidden(flag: &str) -> bool {
    grammar().get_arguments().any(|arg| arg.is_hide_set() && arg.get_long() == flag.strip_prefix("--"))
}

/// `see` is the help of the typed command.
fn explain(kind: ClapError, error: &clap::Error, see: &str) -> Error {
    let context = |wanted: ContextKind| {
        error.context().find(|(kind, _)| *kind == wanted).map(|(_, value)| match value {
            ContextValue::Strings(several) => several.join("`, `"),
            other => other.to_string(),
        })
    };
    // Names of flags are clap's or start with a dash; nothing else that was typed is repeated.
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
            let (typed, commands) = (context(ContextKind::InvalidSubcommand).unwrap_or_default(), grammar());
            Error::usage("unknown command", meant(&typed, commands.get_subcommands().map(clap::Command::get_name), see))
        }
        ClapError::ArgumentConflict => match context(ContextKind::PriorArg).and_then(flag) {
            Some(other) if format!("`{other}`") != argument => {
                Error::usage(format!("{argument} and `{other}` cannot be used together"), "drop one of the two")
            }
            _ => Error::usage(format!("{argument} is given twice, or with one that excludes it"), "pass it once"),
        },
        ClapError::InvalidValue => {
            let valid = context(ContextKind::ValidValue)
                .filter(|values| !values.is_empty())
                .map_or(String::new(), |values| format!("; use one of `{values}`"));
            Error::usage(format!("{argument} has no value, or an invalid one{valid}"), help(see))
        }
        ClapError::ValueValidation => match std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>()) {
            Some(reason) => Error::usage(format!("{argument}: {}", reason.what()), reason.help()),
            None => Error::usage(format!("{argument} has an invalid value"), see),
        },
        ClapError::InvalidUtf8 => Error::usage("an argument is not UTF-8", "rename the file, or write its path in another way"),
        ClapError::MissingRequiredArgument => {
            // `<--one <FILE>|--other>` if one of several is needed.
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
