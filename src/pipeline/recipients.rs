//! Who can open the escrow, in age's terms: recipients, the public halves, and identities, the secret ones.

use std::fmt;
use std::io::Read;

use age::armor::ArmoredReader;
use age::secrecy::SecretString;
use age::{DecryptError, scrypt};
use zeroize::Zeroizing;

use crate::model::{Error, Result};

/// The most work that a passphrase may require, as an exponent of two: four times that of `age -p`, and 1 GiB of memory.
const MOST_WORK: u8 = 20;

pub struct Recipient {
    text: String,
    pub kind: RecipientKind,
}

/// How to encrypt to a recipient.
pub enum RecipientKind {
    Native(Box<dyn age::Recipient>),
    /// A separate program, `age-plugin-NAME`.
    Plugin(age::plugin::Recipient),
}

impl Recipient {
    /// Parses a line of `recipients.txt`.
    pub fn parse(line: &str) -> Result<Self> {
        // Bech32 may be written in either case, with the same meaning.
        let text = line.to_ascii_lowercase();
        let native = |recipient: Box<dyn age::Recipient>| RecipientKind::Native(recipient);
        let kind = if let Ok(recipient) = text.parse::<age::x25519::Recipient>() {
            native(Box::new(recipient))
        } else if let Ok(recipient) = text.parse::<age::tag::Recipient>() {
            native(Box::new(recipient))
        } else if let Ok(recipient) = text.parse::<age::tagpq::Recipient>() {
            native(Box::new(recipient))
        } else if let Ok(recipient) = text.parse::<age::plugin::Recipient>() {
            RecipientKind::Plugin(recipient)
        } else {
            return Err(not_a_recipient(line));
        };
        Ok(Recipient { text, kind })
    }

    /// Parses an argument of the command line.
    pub fn argument(argument: &str, text: &str) -> Result<Self> {
        Self::parse(text).map_err(|error| {
            let usage = Error::usage(format!("{argument} is not an age recipient"), error.help());
            if usage.what().ends_with(&error.what()) { usage } else { usage.why(error.what()) }
        })
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn not_a_recipient(line: &str) -> Error {
    let upper = line.to_ascii_uppercase();
    if upper.starts_with("AGE-SECRET-KEY-") || upper.starts_with("AGE-PLUGIN-") {
        let help = "it is a secret: take it away from here; the recipient is the `age1…` that `age-keygen -y` or its plugin prints";
        return Error::refused("an age identity, where a recipient is expected", help);
    }
    if is_ssh(line) {
        let help = "make an age identity with `age-keygen -o FILE`, and write the `age1…` that it prints; or use a hardware key through its age plugin";
        return Error::bad_input("SSH keys are not taken as recipients", help);
    }
    Error::bad_input("not an age recipient", "write it as the `age1…` that `age-keygen -y` or its plugin prints")
}

/// Whether a line begins an SSH key, or another PEM private key, a format that SSH uses too.
fn is_ssh(line: &str) -> bool {
    let public = ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| line.starts_with(kind));
    public || line.starts_with("-----BEGIN ") && line.ends_with("PRIVATE KEY-----")
}

/// The lines with content, each with its number.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// The recipients of a text: one `age1…` a line; `#` begins a comment. Duplicates count once.
pub fn read_recipients(text: &str) -> Result<Vec<Recipient>> {
    let mut all = Vec::new();
    for (number, line) in lines(text) {
        let recipient = Recipient::parse(line).map_err(|error| error.at((number, 1)))?;
        if !all.contains(&recipient) {
            all.push(recipient);
        }
    }
    if all.is_empty() {
        return Err(Error::bad_input("names no recipient", "add one `age1…` a line, or remove the file"));
    }
    Ok(all)
}

/// The text of `recipients.txt`, new or existing, followed by those recipients that it does not list.
pub fn with(text: Option<&str>, recipients: &[Recipient]) -> String {
    let mut text = text.unwrap_or("# Who may open sealing.key.age: age recipients, one a line.").trim_end().to_owned() + "\n";
    for recipient in recipients {
        if !lines(&text).any(|(_, line)| line.eq_ignore_ascii_case(&recipient.text)) {
            text.push_str(&format!("{recipient}\n"));
        }
    }
    text
}

/// The text of `recipients.txt` without this recipient.
pub fn without(text: &str, recipient: &Recipient) -> String {
    text.lines().filter(|line| !line.trim().eq_ignore_ascii_case(&recipient.text)).map(|line| format!("{line}\n")).collect()
}

pub enum Identity {
    X25519(age::x25519::Identity),
    /// An identity of a separate program, `age-plugin-NAME`.
    Plugin(age::plugin::Identity),
}

/// The identities of a text, in the format of `age-keygen` and of plugins.
pub fn read_identities(text: &str) -> Result<Vec<Identity>> {
    const FILE: &str = "pass a file with an `AGE-SECRET-KEY-1…` or `AGE-PLUGIN-…`, as `keygen`, `age-keygen` or a plugin writes it";
    let identity = |(number, line): (usize, &str)| {
        // Bech32 may be written in either case, with the same meaning.
        let upper = Zeroizing::new(line.to_ascii_uppercase());
        if let Ok(identity) = upper.parse() {
            return Ok(Identity::X25519(identity));
        }
        if let Ok(identity) = upper.parse() {
            return Ok(Identity::Plugin(identity));
        }
        let error = if upper.starts_with("AGE-SECRET-KEY-PQ-") {
            let help = "turn it into one of its plugin: `age-plugin-pq -identity -o NEW OLD`, and pass the new file";
            Error::bad_input("a post-quantum identity, which is used through its plugin", help)
        } else if is_ssh(line) {
            let help = "make an age identity with `age-keygen -o FILE`, and have someone who can open the escrow add it: `seal-secrets escrow add-recipient age1…`";
            Error::bad_input("an SSH key, and only age identities open the escrow", help)
        } else {
            Error::bad_input("not an age identity", FILE)
        };
        Err(error.at((number, 1)))
    };
    let mut identities = lines(text).map(identity).collect::<Result<Vec<_>>>()?;
    if identities.is_empty() {
        return Err(Error::bad_input("no age identity in it", FILE));
    }
    // Plugins are asked last: one may want a touch, or not be installed.
    identities.sort_by_key(|identity| matches!(identity, Identity::Plugin(_)));
    Ok(identities)
}

/// Whether the bytes are an age file, as a protected identity is.
pub fn is_encrypted(bytes: &[u8]) -> bool {
    age_file(bytes).is_some()
}

/// The age file in these bytes. People and tools write comments around armored ones.
fn age_file(bytes: &[u8]) -> Option<&[u8]> {
    const END: &[u8] = b"-----END AGE ENCRYPTED FILE-----";
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let trimmed = bytes.trim_ascii_start();
    if trimmed.starts_with(b"age-encryption.org/") {
        return Some(trimmed);
    }
    let begins = |at: &usize| *at == 0 || bytes[at - 1] == b'\n';
    let begin = memchr::memmem::find_iter(bytes, b"-----BEGIN AGE ENCRYPTED FILE-----").find(begins)?;
    let armoured = &bytes[begin..];
    let end = memchr::memmem::find(armoured, END).map_or(armoured.len(), |at| at + END.len());
    Some(&armoured[..end])
}

/// The text of an identity file that a passphrase protects, as `age -p` makes it.
pub fn decrypt_identities(bytes: &[u8], passphrase: SecretString) -> Result<Zeroizing<String>> {
    let damaged = || Error::cryptography("a damaged age file", "restore the identity from where you keep a copy of it");
    let decryptor = age::Decryptor::new(ArmoredReader::new(age_file(bytes).unwrap_or(bytes))).map_err(|_| damaged())?;
    if !decryptor.is_scrypt() {
        let help = "open it with `age -d`, and name what comes out: a file of mode 0600";
        return Err(Error::bad_input("an identity that is encrypted to another one, not with a passphrase", help));
    }
    let mut identity = scrypt::Identity::new(passphrase);
    identity.set_max_work_factor(MOST_WORK);
    let identity: &dyn age::Identity = &identity;
    let mut reader = decryptor.decrypt(std::iter::once(identity)).map_err(|error| match error {
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
            Error::cryptography("the passphrase does not open it", "run again, and type the one that it was protected with")
        }
        DecryptError::ExcessiveWork { .. } => {
            Error::bad_input("its passphrase asks for more work than is done here", "protect the identity anew, with `age -p`")
        }
        _ => damaged(),
    })?;
    // The plaintext is shorter than the file, so the buffer never grows and leaves no copy behind.
    let mut text = Zeroizing::new(String::with_capacity(bytes.len()));
    reader.read_to_string(&mut text).map_err(|_| damaged())?;
    Ok(text)
}
