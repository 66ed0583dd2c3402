//! Sealing keys: read from PEM or from key Secrets, judged, and ready to open values.

use aws_lc_rs::rsa::{OaepPrivateDecryptingKey, PrivateDecryptingKey};
use crypto_bigint::BoxedUint;
use rsa::PrivateKey;
use rsa::pkcs1::{self, DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, PrivateKeyInfoRef};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use sha2::{Digest, Sha256};
use x509_cert::der::Decode;
use zeroize::Zeroizing;

use super::certificate::SealingCertificate;
use super::pem;
use crate::manifest::secret::{BackupSecret, KeySecret, read_backup};
use crate::manifest::{base64, text};
use crate::model::{CertificateDigest, Error, Result};

pub struct SealingKey {
    pub digest: CertificateDigest,
    pub(super) opener: OaepPrivateDecryptingKey,
    /// The length of its RSA ciphertexts, in bytes.
    pub(super) size: usize,
}

impl SealingKey {
    /// Judges a key and prepares it for opening.
    pub fn new(key: &PrivateKey) -> Result<Self> {
        check_private(key)?;
        let der = key.to_pkcs8_der().map_err(|_| unusable())?;
        let public = key.to_public_key().to_public_key_der().map_err(|_| unusable())?;
        let decrypting = PrivateDecryptingKey::from_pkcs8(der.as_bytes()).map_err(|_| unusable())?;
        Ok(SealingKey {
            digest: CertificateDigest::new(Sha256::digest(public.as_bytes()).into()),
            size: decrypting.key_size_bytes(),
            opener: OaepPrivateDecryptingKey::new(decrypting).map_err(|_| unusable())?,
        })
    }
}

fn unusable() -> Error {
    Error::bad_input("the RSA private key cannot be used", "name the key with which the controller unseals")
}

/// Every sealing key of a file: PEM, or Secrets that others wrote, in YAML or JSON, as kubeseal's `--recovery-private-key` takes them. Also
/// returns what is odd about these Secrets; an error only if no key is left.
pub fn read(text: &str) -> Result<(Vec<SealingKey>, Vec<Error>)> {
    if is_pem(text) {
        return sound(text);
    }
    if let Some(decoded) = base64::decode(text.trim()).ok().filter(|bytes| std::str::from_utf8(bytes).is_ok_and(is_pem)) {
        return read(decode(&decoded)?);
    }
    let (mut keys, mut odd, mut failed) = (Vec::new(), Vec::new(), None);
    for secret in read_backup(text) {
        if let Err(error) = secret.and_then(|secret| add_backup(&secret, &mut keys, &mut odd)) {
            odd.push(told(&error, "skipped"));
            failed.get_or_insert(error);
        }
    }
    match failed {
        _ if !keys.is_empty() => Ok((keys, odd)),
        failed => Err(failed.unwrap_or_else(no_key)),
    }
}

/// The text of a file's bytes; if they are no text, the error says what they are.
pub fn decode(bytes: &[u8]) -> Result<&str> {
    let is_text = std::str::from_utf8(bytes).is_ok() && !bytes.contains(&0) || text::is_utf_16(bytes);
    match bytes {
        _ if is_text => text::decode(bytes),
        // A sequence whose length takes more than one byte.
        [0x30, 0x80..=0xff, ..] => Err(Error::bad_input(
            "DER, not PEM",
            "pass `--recovery-private-key <(openssl pkey -inform DER -in FILE)` instead, or for PKCS#12 `<(openssl pkcs12 -nodes -nocerts -in FILE)`",
        )),
        _ => Err(Error::bad_input(
            "binary, not PEM",
            "pass the private key in PEM; if it is encrypted, decrypt it into a pipe: `--recovery-private-key <(gpg -d FILE)`",
        )),
    }
}

/// The sealing keys of a PEM text, and why its other private keys are skipped; an error only if no key is left.
fn sound(text: &str) -> Result<(Vec<SealingKey>, Vec<Error>)> {
    let (mut keys, mut failed) = (Vec::new(), Vec::new());
    for key in read_each(text)? {
        match key.and_then(|key| SealingKey::new(&key)) {
            Ok(key) => keys.push(key),
            Err(error) => failed.push(error),
        }
    }
    let odd = failed.iter().map(|error| told(error, "skipped")).collect();
    if keys.is_empty() { Err(failed.into_iter().next().unwrap_or_else(no_key)) } else { Ok((keys, odd)) }
}

/// What is odd about a Secret, and what was done about it.
fn told(error: &Error, done: &str) -> Error {
    let told = Error::new(error.kind, format!("{}; {done}", error.what()), error.help());
    error.position().into_iter().fold(told, Error::at)
}

/// Adds each key of a Secret, and what is odd about it.
fn add_backup(secret: &BackupSecret, keys: &mut Vec<SealingKey>, odd: &mut Vec<Error>) -> Result<()> {
    let at = |error: Error| error.at(secret.position);
    let (mut found, mut failed) = (Vec::new(), None);
    for (name, bytes) in &secret.values {
        let text = bytes.as_ref().map_err(Error::clone).and_then(|bytes| decode(bytes).map_err(at));
        if name == "tls.key" || text.as_ref().is_ok_and(|text| text.contains("PRIVATE KEY-----")) {
            match text.and_then(|text| sound(text).map_err(at)) {
                Ok((keys, others)) => {
                    found.extend(keys);
                    odd.extend(others.into_iter().map(at));
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
    }
    if found.is_empty() {
        return Err(failed.unwrap_or_else(|| at(no_key())));
    }
    odd.extend(failed.map(|error| told(&error, "skipped")));
    let certificate = secret.values.iter().find(|(name, _)| name == "tls.crt").map(|(_, bytes)| bytes.as_ref().ok());
    let certificate = certificate.map(|bytes| SealingCertificate::read(bytes?).ok());
    let oddities = [
        (secret.out_of_use, "its label says that the controller does not use this key"),
        (secret.values.iter().all(|(name, _)| name != "tls.key"), "its private key is not in `tls.key`"),
        (certificate.is_none(), "it has no certificate (`tls.crt`)"),
        (matches!(certificate, Some(None)), "its certificate (`tls.crt`) cannot be read"),
        (
            certificate.flatten().is_some_and(|own| found.iter().all(|key| key.digest != own.digest)),
            "its certificate is that of another key",
        ),
    ];
    let is_so = oddities.into_iter().filter(|(is_so, _)| *is_so);
    odd.extend(
        is_so.map(|(_, what)| at(told(&Error::bad_input(what, "check where this backup comes from"), "its key is tried all the same"))),
    );
    keys.extend(found);
    Ok(())
}

/// The keys of a key Secret, each judged, and the key of its certificate.
pub fn of_secret(secret: &KeySecret) -> Result<Vec<(PrivateKey, SealingKey)>> {
    let at = |error: Error| error.at(secret.position);
    let certificate = SealingCertificate::read(secret.certificate.as_bytes()).map_err(at)?;
    let judge = |key: PrivateKey| {
        let opener = SealingKey::new(&key).map_err(at)?;
        if opener.digest != certificate.digest {
            return Err(Error::refused("`tls.key` is not the key of `tls.crt`", "take the backup again from the controller")
                .why(format!("the key is {}, the certificate {}", opener.digest, certificate.digest))
                .at(secret.position));
        }
        Ok((key, opener))
    };
    read_pem(&secret.private_key).map_err(at)?.into_iter().map(judge).collect()
}

/// Whether a text is PEM, whatever surrounds its blocks. In YAML a block is indented, in JSON it is in a string.
fn is_pem(text: &str) -> bool {
    const BEGIN: &str = "-----BEGIN ";
    text.lines().any(|line| line.starts_with(BEGIN)) || text.contains(BEGIN) && !text.contains("apiVersion")
}

/// A sealing key of the escrow, and its certificate if the escrow has that too.
pub struct Pair {
    pub key: PrivateKey,
    pub digest: CertificateDigest,
    pub certificate: Option<(SealingCertificate, String)>,
}

/// The sealing keys of an escrow, each judged, in the order in which they were added.
#[derive(Default)]
pub struct Pairs {
    pub list: Vec<Pair>,
    /// The same, ready to open values.
    pub openers: Vec<SealingKey>,
}

impl Pairs {
    /// Reads an escrow's text.
    pub fn read(text: &str) -> Result<Self> {
        let blocks = pem::read(text)?;
        let texts = blocks.iter().filter(|block| block.label == "CERTIFICATE").map(|block| pem::write(block.label, &block.der).to_string());
        // Only a certificate that can be read can be given to a controller.
        let mut certificates: Vec<_> = texts.filter_map(|text| Some((SealingCertificate::read(text.as_bytes()).ok()?, text))).collect();
        let mut pairs = Pairs::default();
        for key in read_pem(text)? {
            let opener = SealingKey::new(&key)?;
            let own = certificates.iter().position(|(certificate, _)| certificate.digest == opener.digest);
            pairs.add(key, opener, own.map(|own| certificates.swap_remove(own)));
        }
        Ok(pairs)
    }

    /// Adds a key; false if it is already known.
    pub fn add(&mut self, key: PrivateKey, opener: SealingKey, certificate: Option<(SealingCertificate, String)>) -> bool {
        let new = self.list.iter().all(|pair| pair.digest != opener.digest);
        if new {
            self.list.push(Pair { key, digest: opener.digest, certificate });
            self.openers.push(opener);
        }
        new
    }

    /// Of the keys whose certificate `like` accepts, the one whose certificate began last: the one that a controller serves.
    pub fn newest<T>(&self, like: impl Fn(&SealingCertificate) -> Option<T>) -> Option<(T, &PrivateKey, &str)> {
        let certified = self.list.iter().filter_map(|pair| {
            let (certificate, pem) = pair.certificate.as_ref()?;
            Some((certificate.not_before(), (like(certificate)?, &pair.key, pem.as_str())))
        });
        certified.max_by_key(|(begins, _)| *begins).map(|(_, newest)| newest)
    }

    /// The newest certificate that is newer than the pinned one, and its PEM: an interrupted renewal began with it.
    pub fn newer_than<T>(&self, pinned: &SealingCertificate, fit: impl Fn(&SealingCertificate) -> Option<T>) -> Option<(T, &str)> {
        let newer = |one: &SealingCertificate| one.not_before() > pinned.not_before() && one.digest != pinned.digest;
        self.newest(|one| if newer(one) { fit(one) } else { None }).map(|(fit, _, pem)| (fit, pem))
    }
}

/// Every RSA private key of a PEM text, PKCS#1 or PKCS#8; certificates beside them are skipped.
pub fn read_pem(text: &str) -> Result<Vec<PrivateKey>> {
    let keys: Vec<_> = read_each(text)?.into_iter().collect::<Result<_>>()?;
    if keys.is_empty() { Err(no_key()) } else { Ok(keys) }
}

/// Each private key of a PEM text, or why it is not a readable RSA key.
fn read_each(text: &str) -> Result<Vec<Result<PrivateKey>>> {
    let read = |block: &pem::Block<'_>| match block.label {
        label if label.ends_with("PRIVATE KEY") && (block.encrypted || label == "ENCRYPTED PRIVATE KEY") => Err(Error::bad_input(
            "the private key is encrypted with a passphrase",
            "decrypt it into a pipe, never into a file: pass `--recovery-private-key <(openssl pkey -in FILE)` instead, and leave the rest of the command",
        )),
        "PRIVATE KEY" => {
            let info = PrivateKeyInfoRef::from_der(&block.der).map_err(|_| not_rsa())?;
            read_pkcs1(info.private_key.as_bytes())
        }
        "RSA PRIVATE KEY" => read_pkcs1(&block.der),
        _ => Err(not_rsa()),
    };
    let keys = pem::read(text)?.into_iter().filter(|block| block.label.ends_with("PRIVATE KEY"));
    Ok(keys.map(|block| read(&block).map_err(|error| error.at((block.line, 1)))).collect())
}

fn no_key() -> Error {
    let help = "pass a PEM file with a `PRIVATE KEY` or `RSA PRIVATE KEY`, or a backup of the controller's key Secrets";
    Error::bad_input("no private key in it", help)
}

/// Reads a key of two primes whose numbers fit together. Openers compute with numbers that the file repeats, so a file that contradicts
/// itself was damaged or made to leak (Boneh, DeMillo and Lipton, 1997).
fn read_pkcs1(der: &[u8]) -> Result<PrivateKey> {
    let written = pkcs1::RsaPrivateKeyRef::from_der(der).map_err(|_| not_rsa())?;
    if written.other_prime_infos.is_some() {
        return Err(not_rsa());
    }
    let contradicts =
        || Error::refused("the numbers of this RSA private key do not fit together", "it is damaged or weak: name another copy of it");
    let key = PrivateKey::from_pkcs1_der(der).map_err(|_| contradicts())?;
    let again = key.to_pkcs1_der().map_err(|_| contradicts())?;
    if again.as_bytes() == der { Ok(key) } else { Err(contradicts()) }
}

fn not_rsa() -> Error {
    let help = "the sealed-secrets controller only takes RSA; name the key with which it unseals";
    Error::bad_input("not a sound RSA private key of two primes", help)
}

/// Checks what the crates do not: they make sure that the numbers fit together.
fn check_private(key: &PrivateKey) -> Result<()> {
    let weak = |what: &str| {
        let help = "do not use it; if values are sealed to it, treat them as exposed and regenerate them";
        Err(Error::refused(format!("the RSA private key is weak: {what}"), help))
    };
    let bits = key.n().bit_width();
    let [p, q] = key.primes() else {
        return Err(not_rsa());
    };
    let difference = |a: &BoxedUint, b: &BoxedUint| {
        if a > b { a.wrapping_sub(b) } else { b.wrapping_sub(a) }
    };
    let (p, q) = (p.as_ref(), q.as_ref());
    // FIPS 186-5, A.1.1 and A.1.3: |p − q| > 2^(nlen/2 − 100), d > 2^(nlen/2).
    if difference(p, q).bit_width() < (bits / 2).saturating_sub(99) {
        return weak("its two primes are too close to each other");
    }
    if key.d().bit_width() <= bits / 2 {
        return weak("its private exponent is too small");
    }
    Ok(())
}

/// PKCS#8 PEM of a key.
pub fn write_pem(key: &PrivateKey) -> Result<Zeroizing<String>> {
    let der = key.to_pkcs8_der().map_err(|_| unusable())?;
    Ok(pem::write("PRIVATE KEY", der.as_bytes()))
}
