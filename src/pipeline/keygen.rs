//! A new sealing key pair, and its certificate as the controller would make it.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use rsa::PrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::EncodePublicKey;
use rsa::sha2::Sha256;
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

use super::{pem, rsa_soundness};
use crate::model::{Entropy, Error, Result};

/// How long the certificate holds: ten years of 365 days, as the controller's do.
const VALID_FOR: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How far back it begins, so that a cluster whose clock is behind accepts it.
const BEGINS_BEFORE: Duration = Duration::from_secs(5 * 60);

/// A new RSA key: 4096 bits, e = 65537.
pub fn new_key(entropy: &mut Entropy) -> Result<PrivateKey> {
    PrivateKey::new(entropy, rsa_soundness::USUAL_BITS as usize)
        .map_err(|_| Error::cryptography("no RSA key could be made", "nothing was written; try again, and report it if it stays"))
}

/// A certificate like the controller's own (sealed-secrets `pkg/crypto/keys.go`), in PEM: self-signed, SHA-256, ten
/// years from five minutes before `now`, a random serial number of 128 bits. It begins later than `after`: of several keys
/// the controller serves the one whose certificate began last.
pub fn new_certificate(key: &PrivateKey, now: SystemTime, after: Option<SystemTime>, entropy: &mut Entropy) -> Result<String> {
    let mut serial = [0; 16];
    entropy.try_fill_bytes(&mut serial)?;
    // Positive, and never shortened by a leading zero.
    serial[0] = serial[0] & 0x7f | 0x40;
    let failed = || Error::cryptography("no certificate could be made", "check this machine's clock with `date`, and try again");
    let begins = now.checked_sub(BEGINS_BEFORE).ok_or_else(failed)?;
    let begins = after.map_or(begins, |after| begins.max(after + Duration::from_secs(1)));
    let build = || -> builder::Result<Vec<u8>> {
        let validity = Validity::new(Time::try_from(begins)?, Time::try_from(begins + VALID_FOR)?);
        let public = SubjectPublicKeyInfo::from_der(key.to_public_key().to_public_key_der()?.as_bytes())?;
        let profile = LikeTheControllers(X509Name::from_str("CN=sealed-secret,O=sealed-secret")?);
        let builder = CertificateBuilder::new(profile, SerialNumber::new(&serial)?, validity, public)?;
        let signer = SigningKey::<Sha256>::new(key.clone());
        Ok(builder.build(&signer)?.to_der()?)
    };
    let der = build().map_err(|_| failed())?;
    Ok(pem::write("CERTIFICATE", &der).to_string())
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
