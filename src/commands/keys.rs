//! The keys folder: what every command that seals or opens reads from it.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cli::Folders;
use crate::manifest::text;
use crate::model::{Error, Result};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::private_key::SealingKey;
use crate::pipeline::{escrow, private_key};
use crate::world::{World, files};

pub(super) const CERTIFICATE: &str = "sealing.crt";
pub(super) const ESCROW: &str = "sealing.key.age";
pub(super) const IDENTITY: &str = "operator.agekey";
pub(super) const RECIPIENTS: &str = "recipients.txt";

/// The sealing certificate, not yet judged.
pub(super) fn certificate(folders: &Folders) -> Result<SealingCertificate> {
    let path = folders.keys.join(CERTIFICATE);
    let name = path.to_string_lossy();
    if !files::exists(&path) {
        return Err(Error::bad_input("no such file", "make the sealing key first: `seal-secrets keygen`").in_file(&name));
    }
    let bytes = files::read(&path, &name, files::Kind::Public)?;
    SealingCertificate::read(&bytes).map_err(|error| error.in_file(&name))
}

/// The sealing certificate, fit to be sealed to; one that ends soon is warned of.
pub(super) fn fit_certificate(folders: &Folders, least_bits: u32, world: &mut World) -> Result<SealingCertificate> {
    let certificate = certificate(folders)?;
    let name = folders.keys.join(CERTIFICATE);
    let ends_soon = certificate.judge((world.clock)(), least_bits).map_err(|error| error.in_file(&name.to_string_lossy()))?;
    if ends_soon {
        world.terminal.warn(&format!("the sealing certificate ends on {}: a new sealing key is due", certificate.ends()));
    }
    Ok(certificate)
}

/// The identities of the file that `--identity` names, or of the default one.
pub(super) fn identities(folders: &Folders, named: Option<&Path>) -> Result<Vec<age::x25519::Identity>> {
    let default = folders.keys.join(IDENTITY);
    let path = named.unwrap_or(&default);
    if named.is_none() && !files::exists(path) {
        return Err(Error::bad_input("no such file", "name the age identity that opens the escrow with `--identity FILE`")
            .in_file(&path.to_string_lossy()));
    }
    read_identities(path)
}

/// The escrow as it lies there, encrypted.
pub(super) fn read_escrow(folders: &Folders) -> Result<Zeroizing<Vec<u8>>> {
    let path = escrow_path(folders);
    files::read(&path, &path.to_string_lossy(), files::Kind::Public)
}

/// The escrow's PEM text: certificate and private key.
pub(super) fn open_escrow(folders: &Folders, identity: Option<&Path>) -> Result<Zeroizing<String>> {
    let identities = identities(folders, identity)?;
    let identities: Vec<&dyn age::Identity> = identities.iter().map(|identity| identity as _).collect();
    escrow::decrypt(&read_escrow(folders)?, &identities).map_err(|error| error.in_file(&escrow_path(folders).to_string_lossy()))
}

pub(super) fn escrow_path(folders: &Folders) -> PathBuf {
    folders.keys.join(ESCROW)
}

pub(super) fn read_identities(path: &Path) -> Result<Vec<age::x25519::Identity>> {
    let mut name = path.to_string_lossy();
    // An identity typed in the place of its file is a secret, and is not repeated.
    if name.to_ascii_uppercase().contains("AGE-") {
        name = "the file of `--identity`".into();
    }
    let bytes = files::read(path, &name, files::Kind::Secret)?;
    text::decode(&bytes).and_then(escrow::read_identities).map_err(|error| error.in_file(&name))
}

/// The escrow's sealing keys.
pub(super) fn escrow_keys(folders: &Folders, identity: Option<&Path>) -> Result<Vec<SealingKey>> {
    let pem = open_escrow(folders, identity)?;
    private_key::read(&pem).map_err(|error| error.in_file(&escrow_path(folders).to_string_lossy()))
}

/// What opens sealed values: the keys of these files (PEM, or backups of the controller's key Secrets), or else the escrow's.
pub(super) fn ring(folders: &Folders, identity: Option<&Path>, recovery: &[PathBuf], world: &mut World) -> Result<Vec<SealingKey>> {
    if recovery.is_empty() {
        return escrow_keys(folders, identity);
    }
    let mut all = Vec::new();
    for path in recovery {
        let (name, bytes) = super::read_input(path, files::Kind::Secret, world)?;
        all.extend(text::decode(&bytes).and_then(private_key::read).map_err(|error| error.in_file(&name))?);
    }
    Ok(all)
}
