//! The operator, as age meets one: asked for passphrases at the terminal, and represented by plugins, the programs that
//! hold a key such as a YubiKey's. age starts them; what they say goes to standard error and never into an error of ours.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use age::plugin::{self, IdentityPluginV1, RecipientPluginV1};
use age::secrecy::SecretString;
use age::{Callbacks, DecryptError};
use age_core::format::{FileKey, Stanza};

use super::terminal::{self, Terminal};
use crate::model::{Error, ErrorKind, Result, SecretValue, visible};

/// Asks the operator, and remembers why that, or a plugin, failed: age itself would answer in its own words.
#[derive(Clone)]
pub struct Operator {
    at_terminal: bool,
    failed: Arc<Mutex<Option<Error>>>,
}

impl Operator {
    /// Whoever sits at this terminal, or nobody.
    pub fn new(terminal: &Terminal) -> Self {
        Operator { at_terminal: terminal.stdin_is_terminal, failed: Arc::default() }
    }

    /// Asks for a passphrase, without echo.
    pub fn passphrase(&self, prompt: &str) -> Result<SecretString> {
        text(self.ask(prompt)?)
    }

    /// The first thing that went wrong with a plugin, once.
    pub fn failure(&self) -> Option<Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn ask(&self, prompt: &str) -> Result<SecretValue> {
        terminal::ask(self.at_terminal, prompt, "run it at a terminal, or name an identity that asks for nothing with `--identity FILE`")
    }

    fn remember(&self, error: Error) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// What age got of an answer; where there is none, why is remembered.
    fn answer<T>(&self, answer: Result<T>) -> Option<T> {
        answer.map_err(|error| self.remember(error)).ok()
    }

    /// What encrypts to all these recipients: a plugin gets all of its own at once.
    pub fn recipients(&self, all: &[plugin::Recipient]) -> Result<Vec<Box<dyn age::Recipient>>> {
        let mut names: Vec<&str> = all.iter().map(plugin::Recipient::plugin).collect();
        names.sort_unstable();
        names.dedup();
        let connect = |name: &str| -> Result<Box<dyn age::Recipient>> {
            Ok(Box::new(RecipientPluginV1::new(name, all, &[], self.clone()).map_err(|_| missing(name))?))
        };
        names.into_iter().map(connect).collect()
    }

    /// What opens with a plugin, which is started only once it is needed.
    pub fn identity(&self, identity: plugin::Identity) -> Box<dyn age::Identity> {
        Box::new(PluginIdentity { identity, operator: self.clone() })
    }
}

fn missing(name: &str) -> Error {
    let help = "install it where it is found, as for `age` itself; or do without: another `--identity FILE` opens, and `recipients.txt` names who is encrypted to";
    Error::bad_input(format!("the age plugin `age-plugin-{name}` is not in PATH"), help)
}

/// A text for age; its one copy has exactly its size, so that nothing of it is left behind when it grows or shrinks.
fn text(value: SecretValue) -> Result<SecretString> {
    let bytes = value.into_bytes();
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::bad_input("the answer is not UTF-8", "type it again"))?;
    Ok(SecretString::from(text.to_owned()))
}

impl Callbacks for Operator {
    fn display_message(&self, message: &str) {
        // Not through `Terminal`: age calls from a thread of its own as well.
        let _ = writeln!(std::io::stderr(), "age: {}", visible(message));
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        self.display_message(&format!("{message} (yes: {yes}; anything else: {})", no.unwrap_or("no")));
        match self.ask("type yes: ") {
            // Nothing is an answer, too.
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

struct PluginIdentity {
    identity: plugin::Identity,
    operator: Operator,
}

impl age::Identity for PluginIdentity {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    /// A plugin that fails is passed over: another identity of the file may open.
    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        let name = self.identity.plugin();
        let connected = IdentityPluginV1::new(name, std::slice::from_ref(&self.identity), self.operator.clone());
        let plugin = self.operator.answer(connected.map_err(|_| missing(name)))?;
        let opened = age::Identity::unwrap_stanzas(&plugin, stanzas)?;
        let failed = |_| {
            let help = "try `age -d -i` with the same identity: it shows what the plugin says";
            Error::cryptography(format!("the age plugin `age-plugin-{name}` did not open the escrow"), help)
        };
        self.operator.answer(opened.map_err(failed)).map(Ok)
    }
}
