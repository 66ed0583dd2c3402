//! A new sealing key pair, with a certificate like the controller's.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use rsa::PrivateKey;
use rsa::pkcs8::EncodePublicKey;
use x509_cert::TbsCertificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{self, Builder, CertificateBuilder};
use x509_cert::der::flagset::FlagSet;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name as X509Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};
use zeroize::Zeroizing;

use super::certificate::{FitCertificate, SealingCertificate};
use super::private_key::{self, SealingKey};
use super::seal::Sealer;
use super::{key_pair, tls, unseal};
use crate::model::{Entropy, EntropyFailed, Error, Result, Scope, SecretValue};

/// The certificate's lifetime: ten years of 365 days, like the controller's.
const VALID_FOR: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What the progress line says meanwhile.
pub const MAKING: &str = "making a sealing key";

/// A new sealing key pair that was tried out.
pub struct NewPair {
    pub key: PrivateKey,
    pub opener: SealingKey,
    pub certificate: FitCertificate,
    pub certificate_pem: String,
    pub pem: Zeroizing<String>,
}

/// Makes a key pair of this many bits, whose certificate begins later than `after`.
pub fn new_pair(bits: u32, now: SystemTime, after: Option<SystemTime>, entropy: &mut Entropy) -> Result<NewPair> {
    let key = new_key(bits, entropy)?;
    let certificate_pem = new_certificate(&key, now, after, entropy)?;
    let (opener, certificate) = try_pair(&key, &certificate_pem, bits, now, entropy)?;
    let pem = Zeroizing::new([certificate_pem.as_str(), private_key::write_pem(&key)?.as_str()].concat());
    Ok(NewPair { key, opener, certificate, certificate_pem, pem })
}

/// Seals a probe to the certificate, of at least this many bits, and opens it with the key.
pub fn try_pair(
    key: &PrivateKey,
    certificate: &str,
    least_bits: u32,
    now: SystemTime,
    entropy: &mut Entropy,
) -> Result<(SealingKey, FitCertificate)> {
    let fit = SealingCertificate::read(certificate.as_bytes())?.judge_of_pair(now, least_bits)?;
    let key = SealingKey::new(key)?;
    let mut probe = Zeroizing::new(vec![0; 32]);
    entropy.try_fill_bytes(&mut probe)?;
    let label = Scope::Strict.label("seal-secrets", "probe");
    let values = vec![(label.clone(), SecretValue::new(probe.clone()))];
    let blobs = Sealer::new(&fit)?.seal_all(values, entropy, NonZeroUsize::MIN)?;
    if unseal::open(std::slice::from_ref(&key), &label, &blobs[0]).is_ok_and(|opened| opened.expose() == probe.as_slice()) {
        return Ok((key, fit));
    }
    let help = "nothing was kept; try again, and report it if it stays";
    Err(Error::cryptography("the new key does not open what is sealed to its certificate", help))
}

/// A new RSA key, e = 65537.
fn new_key(bits: u32, entropy: &mut Entropy) -> Result<PrivateKey> {
    PrivateKey::new(entropy, bits as usize).map_err(|error| match error {
        rsa::Error::Rng => EntropyFailed.into(),
        _ => Error::cryptography("no RSA key could be made", "nothing was written; try again, and report it if it stays"),
    })
}

/// A certificate like the controller's (sealed-secrets `pkg/crypto/keys.go`), in PEM: self-signed, SHA-256, ten years from five minutes
/// before `now`, a random serial number of 128 bits. It begins later than `after`: of several keys the controller serves the one whose
/// certificate began last.
fn new_certificate(key: &PrivateKey, now: SystemTime, after: Option<SystemTime>, entropy: &mut Entropy) -> Result<String> {
    let serial = tls::serial(entropy)?;
    let begins = tls::begins(now)?;
    let begins = after.map_or(begins, |after| begins.max(after + Duration::from_secs(1)));
    let build = || -> builder::Result<Vec<u8>> {
        let validity = Validity::new(Time::try_from(begins)?, Time::try_from(begins + VALID_FOR)?);
        let public = SubjectPublicKeyInfo::from_der(key.to_public_key().to_public_key_der()?.as_bytes())?;
        let profile = LikeTheControllers(X509Name::from_str("CN=sealed-secret,O=sealed-secret")?);
        let builder = CertificateBuilder::new(profile, SerialNumber::new(&serial)?, validity, public)?;
        let signer = key_pair::PrivateKey::Rsa(Box::new(key.clone()));
        Ok(builder.build::<_, tls::Signature>(&tls::By(&signer))?.to_der()?)
    };
    Ok(tls::built(build())?.to_string())
}

struct LikeTheControllers(X509Name);

impl BuilderProfile for LikeTheControllers {
    fn get_issuer(&self, subject: &X509Name) -> X509Name {
        subject.clone()
    }

    fn get_subject(&self) -> X509Name {
        self.0.clone()
    }

    fn build_extensions(
        &self,
        key: SubjectPublicKeyInfoRef<'_>,
        _: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let constraints = BasicConstraints { ca: true, path_len_constraint: None };
        let usage = KeyUsage(FlagSet::from(KeyUsages::EncipherOnly));
        let identifier = SubjectKeyIdentifier::try_from(key)?;
        let subject = tbs.subject();
        Ok(vec![usage.to_extension(subject, &[])?, constraints.to_extension(subject, &[])?, identifier.to_extension(subject, &[])?])
    }
}
