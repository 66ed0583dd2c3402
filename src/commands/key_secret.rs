//! `key-secret`: the controller's key Secret from the escrow, to standard output and nowhere else.

use super::{Outcome, keys};
use crate::cli::{Folders, KeySecret};
use crate::manifest::secret;
use crate::model::{Error, Result};
use crate::pipeline::private_key::{self, SealingKey};
use crate::world::{World, files};

pub(super) fn run(folders: &Folders, args: &KeySecret, world: &mut World) -> Result<Outcome> {
    if world.terminal.stdout_is_terminal && !args.reveal {
        return Err(super::unseal::to_a_terminal("seal-secrets key-secret | kubectl apply -f -"));
    }
    let certificate = keys::certificate(folders)?;
    let text = keys::open_escrow(folders, args.identity.as_deref())?;
    let escrow = keys::escrow_path(folders);
    // A key that the controller cannot use crashes it at start: only one that was judged is ever printed.
    let found = private_key::read_pem(&text)?;
    let mut matching = None;
    let mut digests = Vec::new();
    for key in &found {
        let digest = SealingKey::new(key).map_err(|error| error.in_file(&escrow.to_string_lossy()))?.digest;
        digests.push(digest.to_string());
        if digest == certificate.digest {
            matching = Some(key);
        }
    }
    let key = matching.ok_or_else(|| {
        Error::refused(
            "the escrow does not hold the key of the certificate",
            "restore the escrow that belongs to it, or the certificate from git",
        )
        .why(format!("the certificate is {}, the escrow holds {}", certificate.digest, digests.join(", ")))
        .in_file(&escrow.to_string_lossy())
    })?;
    let path = folders.keys.join(keys::CERTIFICATE);
    let pem = files::read(&path, &path.to_string_lossy(), files::Kind::Public)?;
    let pem = String::from_utf8_lossy(&pem);
    let secret = secret::write_key_secret(args.controller_namespace.as_str(), &pem, &private_key::write_pem(key)?);
    world.terminal.print(&secret)?;
    Ok(Outcome::Done)
}
