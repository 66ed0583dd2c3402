//! The escrow: the sealing key pair in PEM (certificate, then key), encrypted with age. Anybody with an identity can
//! open it with `age -d`, without this tool.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::{Read, Write};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::ExposeSecret;
use age::{DecryptError, EncryptError, Identity, Recipient};
use age_core::format::{FileKey, Stanza};
use zeroize::Zeroizing;

use crate::model::{Error, Result, drawing_itself};

/// A new age identity: the text of its file, and its recipient.
pub fn new_identity() -> Result<(Zeroizing<String>, String)> {
    let identity = drawing_itself(age::x25519::Identity::generate)?;
    let recipient = identity.to_public().to_string();
    let secret = identity.to_string();
    let text = format!("# public key: {recipient}\n{}\n", secret.expose_secret());
    Ok((Zeroizing::new(text), recipient))
}

/// Proves later that the bytes read back from disk are the escrow that was written, even if the operators' identities are elsewhere: it
/// keeps the file key in memory, and opens the payload with it.
pub struct Proof(Zeroizing<[u8; 16]>);

/// Encrypts to these recipients.
pub fn encrypt(plaintext: &str, recipients: &[&dyn Recipient]) -> Result<(Vec<u8>, Proof)> {
    drawing_itself(|| encrypt_with_age(plaintext, recipients))?
}

fn encrypt_with_age(plaintext: &str, recipients: &[&dyn Recipient]) -> Result<(Vec<u8>, Proof)> {
    let failed = || Error::cryptography("the escrow could not be encrypted", "nothing was written; try again, and report it if it stays");
    let (first, rest) =
        recipients.split_first().ok_or_else(|| Error::usage("the escrow has no recipient", "name one with `--recipient age1…`"))?;
    let witness = Witness { of: *first, seen: RefCell::new(None) };
    let all = std::iter::once(&witness as &dyn Recipient).chain(rest.iter().copied());
    let encryptor = age::Encryptor::with_recipients(all).map_err(|error| match error {
        // age's own rule: a weaker kind would defeat the stronger one.
        EncryptError::IncompatibleRecipients { .. } => Error::bad_input(
            "post-quantum recipients cannot stand beside others",
            "name only post-quantum ones in `recipients.txt`, or none; then `seal-secrets escrow add-recipient` with any of them",
        ),
        EncryptError::Plugin(_) | EncryptError::Io(_) => Error::cryptography(
            "an age plugin did not encrypt to its recipient",
            "nothing was written; try `age -r` with that recipient: it shows what the plugin says",
        ),
        _ => failed(),
    })?;
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
    of: &'r dyn Recipient,
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

/// How many recipients an escrow is encrypted to. Without an identity, an age file tells only their number, not who they are.
pub fn count_recipients(escrow: &[u8]) -> Result<usize> {
    let count = Count(Cell::new(0));
    let identity: &dyn Identity = &count;
    // It opens nothing, so this fails.
    let _ = read_header(escrow)?.decrypt(std::iter::once(identity));
    Ok(count.0.get())
}

struct Count(Cell<usize>);

impl Identity for Count {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        None
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        // age adds stanzas for no recipient, so that readers keep skipping what they do not know.
        self.0.set(stanzas.iter().filter(|stanza| !stanza.tag.ends_with("-grease")).count());
        None
    }
}

fn read_header(escrow: &[u8]) -> Result<age::Decryptor<impl Read>> {
    age::Decryptor::new(ArmoredReader::new(escrow))
        .map_err(|_| Error::cryptography("not an age file, or a damaged one", "restore the escrow from where you keep a copy of it"))
}

/// The PEM text of an escrow.
pub fn decrypt(escrow: &[u8], identities: &[&dyn Identity]) -> Result<Zeroizing<String>> {
    let decryptor = read_header(escrow)?;
    if decryptor.is_scrypt() {
        let help = "restore the one that `seal-secrets keygen` made from where you keep a copy of it";
        return Err(Error::bad_input("the escrow is encrypted with a passphrase, not to an identity", help));
    }
    let mut reader = decryptor.decrypt(identities.iter().copied()).map_err(|error| match error {
        DecryptError::NoMatchingKeys => {
            Error::cryptography("the escrow is not encrypted to this identity", "name another one with `--identity FILE`")
        }
        _ => damaged(),
    })?;
    let mut text = Zeroizing::new(String::with_capacity(escrow.len()));
    reader.read_to_string(&mut text).map_err(|_| damaged())?;
    Ok(text)
}

fn damaged() -> Error {
    Error::cryptography("the escrow is damaged", "restore it from where you keep a copy of it")
}
