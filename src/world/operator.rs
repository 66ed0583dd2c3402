//! The operator, as age sees one: asked for passphrases at the terminal, and represented by plugins, programs that hold a key such as a
//! YubiKey's. age starts them; their messages go to standard error and never into an error of ours.

use std::collections::HashSet;
use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use age::plugin::{self, IdentityPluginV1, RecipientPluginV1};
use age::secrecy::SecretString;
use age::{Callbacks, DecryptError, EncryptError};
use age_core::format::{FileKey, Stanza};

use super::{World, process, terminal};
use crate::model::{Error, ErrorKind, Result, SecretValue, visible};

/// Asks the operator, and remembers why that, or a plugin, failed: age itself would report it in its own words.
#[derive(Clone)]
pub struct Operator {
    at_terminal: bool,
    failed: Arc<Mutex<Option<Error>>>,
    /// How long a plugin may be silent.
    patience: Duration,
    /// When a plugin last said something; none while it waits for the operator.
    heard: Arc<Mutex<Option<Instant>>>,
}

impl Operator {
    /// The person at this world's terminal, if there is one.
    pub fn new(world: &World) -> Self {
        let (at_terminal, patience) = (world.terminal.stdin_is_terminal, world.plugin_patience);
        Operator { at_terminal, failed: Arc::default(), patience, heard: Arc::default() }
    }

    /// Asks for a passphrase, without echo.
    pub fn passphrase(&self, prompt: &str) -> Result<SecretString> {
        text(self.ask(prompt)?)
    }

    /// The first failure of a plugin, returned once.
    pub fn failure(&self) -> Option<Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn ask(&self, prompt: &str) -> Result<SecretValue> {
        self.hear(None);
        let help = "run it at a terminal, or pass an identity that asks for nothing with `--identity FILE`";
        let answer = terminal::ask(self.at_terminal, prompt, help);
        self.hear(Some(Instant::now()));
        answer
    }

    fn hear(&self, when: Option<Instant>) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = when;
    }

    /// Does work with a plugin. A plugin that is silent for too long is killed, and that is recorded as the failure.
    fn with_plugin<T>(&self, name: &str, work: impl FnOnce() -> T) -> T {
        self.hear(Some(Instant::now()));
        thread::scope(|scope| {
            let (done, ends) = mpsc::channel::<()>();
            scope.spawn(move || self.watch(name, &ends));
            let result = work();
            drop(done);
            result
        })
    }

    /// Waits until the work is done, or the plugin has been silent for too long.
    fn watch(&self, name: &str, done: &mpsc::Receiver<()>) {
        let mut wait = self.patience;
        while done.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let silent = heard.map_or(Duration::ZERO, |heard| heard.elapsed());
            wait = self.patience.saturating_sub(silent);
            if wait.is_zero() {
                self.remember(silent_plugin(name, self.patience));
                process::end_children();
                // It may be starting another process just now.
                wait = Duration::from_millis(100);
            }
        }
    }

    fn remember(&self, error: Error) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// The answer for age; if there is none, the reason is remembered.
    fn answer<T>(&self, answer: Result<T>) -> Option<T> {
        answer.map_err(|error| self.remember(error)).ok()
    }

    /// What encrypts to all these recipients: a plugin gets all of its own at once.
    pub fn recipients(&self, all: &[plugin::Recipient]) -> Result<Vec<Box<dyn age::Recipient>>> {
        let mut names: Vec<&str> = all.iter().map(plugin::Recipient::plugin).collect();
        names.sort_unstable();
        names.dedup();
        let connect = |name: &str| -> Result<Box<dyn age::Recipient>> {
            let plugin = RecipientPluginV1::new(name, all, &[], self.clone()).map_err(|_| missing(name))?;
            Ok(Box::new(PluginRecipients { name: name.to_owned(), plugin, operator: self.clone() }))
        };
        names.into_iter().map(connect).collect()
    }

    /// An identity of a plugin, which is started only when needed.
    pub fn identity(&self, identity: plugin::Identity) -> Box<dyn age::Identity> {
        Box::new(PluginIdentity { identity, operator: self.clone() })
    }
}

fn missing(name: &str) -> Error {
    let help = "install it where it is found, as for `age` itself; or do without: another `--identity FILE` opens, and `recipients.txt` names who is encrypted to";
    Error::bad_input(format!("the age plugin `age-plugin-{name}` is not in PATH"), help)
}

fn silent_plugin(name: &str, patience: Duration) -> Error {
    let what = format!("the age plugin `age-plugin-{name}` said nothing for {} seconds, and was ended", patience.as_secs());
    Error::cryptography(what, "check the device that it waits for, and run again; or pass another `--identity FILE`")
}

/// A text for age; its only copy has exactly its size, so that no part is left behind when it grows or shrinks.
fn text(value: SecretValue) -> Result<SecretString> {
    let bytes = value.into_bytes();
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::bad_input("the answer is not UTF-8", "type it again"))?;
    Ok(SecretString::from(text.to_owned()))
}

impl Callbacks for Operator {
    fn display_message(&self, message: &str) {
        self.hear(Some(Instant::now()));
        // Not through `Terminal`: age also calls from its own thread.
        let _ = writeln!(std::io::stderr(), "age: {}", visible(message));
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        self.display_message(&format!("{message} (yes: {yes}; anything else: {})", no.unwrap_or("no")));
        match self.ask("type yes: ") {
            // An empty line is an answer, too.
            Err(error) if error.kind == ErrorKind::BadInput => Some(false),
            answer => self.answer(answer).map(|answer| answer.is("yes")),
        }
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        let answer = self.answer(self.ask(&format!("{description}: ")))?;
        String::from_utf8(answer.into_bytes().to_vec()).ok()
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        self.answer(self.passphrase(&format!("{description}: ")))
    }
}

struct PluginRecipients {
    name: String,
    plugin: RecipientPluginV1<Operator>,
    operator: Operator,
}

impl age::Recipient for PluginRecipients {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        self.operator.with_plugin(&self.name, || self.plugin.wrap_file_key(file_key))
    }
}

struct PluginIdentity {
    identity: plugin::Identity,
    operator: Operator,
}

impl age::Identity for PluginIdentity {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    /// A plugin that fails is skipped: another identity of the file may open.
    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        let name = self.identity.plugin();
        let connected = IdentityPluginV1::new(name, std::slice::from_ref(&self.identity), self.operator.clone());
        let plugin = self.operator.answer(connected.map_err(|_| missing(name)))?;
        let opened = self.operator.with_plugin(name, || age::Identity::unwrap_stanzas(&plugin, stanzas))?;
        let failed = |_| {
            let help = "try `age -d -i` with the same identity: it shows what the plugin says";
            Error::cryptography(format!("the age plugin `age-plugin-{name}` did not open the escrow"), help)
        };
        self.operator.answer(opened.map_err(failed)).map(Ok)
    }
}
