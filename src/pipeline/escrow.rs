//! The escrow: the sealing key pair in PEM (certificate, then key), encrypted with age. Anybody with an identity can
//! open it with `age -d`, without this tool.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::str::FromStr;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::ExposeSecret;
use age::{DecryptError, EncryptError, Identity, Recipient};
use age_core::format::{FileKey, Stanza};
use zeroize::Zeroizing;

use crate::model::{Error, Result};

/// The largest escrow that is read, in bytes: hundreds of keys.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// A new age identity: the text of its file, and its recipient.
pub fn new_identity() -> (Zeroizing<String>, String) {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let secret = identity.to_string();
    let text = format!("# public key: {recipient}\n{}\n", secret.expose_secret());
    (Zeroizing::new(text), recipient)
}

/// The recipients of a text: one `age1…` a line, `#` begins a comment.
pub fn read_recipients(text: &str) -> Result<Vec<age::x25519::Recipient>> {
    let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            let recipient = age::x25519::Recipient::from_str(line);
            recipient.map_err(|_| not_a_recipient(line).at((number, 1)))
        })
        .collect()
}

fn not_a_recipient(line: &str) -> Error {
    if line.starts_with("AGE-SECRET-KEY-") {
        return Error::refused(
            "an age identity, where a recipient is expected",
            "it is a secret: take it out of this file; the recipient is the `age1…` that `age-keygen -y` prints",
        );
    }
    let what = if line.starts_with("ssh-") { "SSH keys are not taken as recipients" } else { "not an age recipient" };
    Error::bad_input(what, "write one `age1…` a line, as `age-keygen` prints it")
}

/// The identities of a text, as `age-keygen` writes it.
pub fn read_identities(text: &str) -> Result<Vec<age::x25519::Identity>> {
    let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let identities = lines
        .map(|(number, line)| {
            age::x25519::Identity::from_str(line).map_err(|_| {
                Error::bad_input("not an age identity", "name a file with an `AGE-SECRET-KEY-1…`, as `keygen` or `age-keygen` writes it")
                    .at((number, 1))
            })
        })
        .collect::<Result<Vec<_>>>()?;
    if identities.is_empty() {
        return Err(Error::bad_input("no age identity in it", "name a file with an `AGE-SECRET-KEY-1…`"));
    }
    Ok(identities)
}

/// Proof, later, that what came back from the disk is the escrow that was written, even where the operators' identities
/// are elsewhere: it remembers the file key in memory, and opens the payload with it.
pub struct Proof(Zeroizing<[u8; 16]>);

/// Encrypts to these recipients.
pub fn encrypt(plaintext: &str, recipients: &[age::x25519::Recipient]) -> Result<(Vec<u8>, Proof)> {
    let failed = || Error::cryptography("the escrow could not be encrypted", "nothing was written; try again, and report it if it stays");
    let first = recipients.first().ok_or_else(|| Error::usage("the escrow has no recipient", "name one with `--recipient age1…`"))?;
    let witness = Witness { of: first, seen: RefCell::new(None) };
    let rest = recipients[1..].iter().map(|recipient| recipient as &dyn Recipient);
    let all = std::iter::once(&witness as &dyn Recipient).chain(rest);
    let encryptor = age::Encryptor::with_recipients(all).map_err(|_| failed())?;
    let mut out = Vec::new();
    let write = || -> std::io::Result<()> {
        let armor = ArmoredWriter::wrap_output(&mut out, Format::AsciiArmor)?;
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(plaintext.as_bytes())?;
        writer.finish()?.finish()?;
        Ok(())
    };
    write().map_err(|_| failed())?;
    let seen = witness.seen.into_inner().ok_or_else(failed)?;
    Ok((out, Proof(seen)))
}

struct Witness<'r> {
    of: &'r age::x25519::Recipient,
    seen: RefCell<Option<Zeroizing<[u8; 16]>>>,
}

impl Recipient for Witness<'_> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        *self.seen.borrow_mut() = Some(Zeroizing::new(*file_key.expose_secret()));
        self.of.wrap_file_key(file_key)
    }
}

impl Identity for Proof {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        Some(Ok(FileKey::new(Box::new(*self.0))))
    }
}

/// The PEM text of an escrow.
pub fn decrypt(escrow: &[u8], identities: &[&dyn Identity]) -> Result<Zeroizing<String>> {
    let decryptor = age::Decryptor::new(ArmoredReader::new(escrow))
        .map_err(|_| Error::cryptography("not an age file, or a damaged one", "restore the escrow from where you keep a copy of it"))?;
    if decryptor.is_scrypt() {
        return Err(Error::bad_input(
            "the escrow is encrypted with a passphrase, not to an identity",
            "make it with `seal-secrets keygen`",
        ));
    }
    let reader = decryptor.decrypt(identities.iter().copied()).map_err(|error| match error {
        DecryptError::NoMatchingKeys => {
            Error::cryptography("the escrow is not encrypted to this identity", "name another one with `--identity FILE`")
        }
        _ => damaged(),
    })?;
    let mut text = Zeroizing::new(String::with_capacity(escrow.len()));
    reader.take(MOST_BYTES).read_to_string(&mut text).map_err(|_| damaged())?;
    Ok(text)
}

fn damaged() -> Error {
    Error::cryptography("the escrow is damaged", "restore it from where you keep a copy of it")
}
