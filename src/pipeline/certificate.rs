//! The sealing certificate, read and judged: values are sealed to nothing else.

use std::time::{Duration, SystemTime};

use aws_lc_rs::signature;
use rsa::pkcs1;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode, Header, Reader, SliceReader};

use super::{pem, rsa_soundness};
use crate::model::{CertificateDigest, Error, Result};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const SHA256_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA384_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const SHA512_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");

/// How long before its end a certificate gets a warning.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A certificate that was read. Only [`SealingCertificate::judge`] turns it into one that may be sealed to.
#[derive(Clone)]
pub struct SealingCertificate {
    certificate: Certificate,
    /// DER of its SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    pub digest: CertificateDigest,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

/// A certificate that passed all checks: values may be sealed to it.
pub struct FitCertificate {
    certificate: SealingCertificate,
    /// Whether it ends within 30 days.
    pub ends_soon: bool,
}

impl std::ops::Deref for FitCertificate {
    type Target = SealingCertificate;

    fn deref(&self) -> &SealingCertificate {
        &self.certificate
    }
}

impl SealingCertificate {
    /// Reads a PEM text with exactly one certificate, for an RSA key.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let der = one_certificate(bytes)?;
        let certificate = Certificate::from_der(&der).map_err(|_| {
            Error::bad_input("not an X.509 version 3 certificate", "restore the certificate from git, or from the controller")
        })?;
        let tbs = certificate.tbs_certificate();
        if tbs.version() != x509_cert::Version::V3 {
            return Err(Error::bad_input("not an X.509 version 3 certificate", "make one with `seal-secrets keygen`"));
        }
        // RFC 5280, 4.1.2.2: the serial number is positive. The DER's first content octet carries the sign.
        if tbs.serial_number().as_bytes().first().is_none_or(|first| first & 0x80 != 0) {
            return Err(Error::bad_input("the certificate's serial number is negative", "make one with `seal-secrets keygen`"));
        }
        let spki = tbs.subject_public_key_info();
        let algorithm = spki.algorithm.oid;
        if algorithm != RSA {
            let found = if algorithm == RSA_PSS { "an RSA-PSS key, which only signs" } else { "not an RSA key" };
            let help = "the sealed-secrets controller only takes RSA; make a key with `seal-secrets keygen`";
            return Err(Error::bad_input(format!("RSA required: the certificate holds {found}"), help));
        }
        let unreadable = || Error::bad_input("the certificate's RSA key cannot be read", "make one with `seal-secrets keygen`");
        let raw = spki.subject_public_key.as_bytes().ok_or_else(unreadable)?;
        let key = pkcs1::RsaPublicKeyRef::from_der(raw).map_err(|_| unreadable())?;
        let (modulus, exponent) = (key.modulus.as_bytes().to_vec(), key.public_exponent.as_bytes().to_vec());
        let public_key = spki.to_der().map_err(|_| unreadable())?;
        let digest = CertificateDigest::new(Sha256::digest(&public_key).into());
        Ok(SealingCertificate { certificate, public_key, digest, modulus, exponent })
    }

    /// Judges whether values may be sealed to it at this time: sound RSA of at least `least_bits`, signature, dates.
    pub fn judge(self, now: SystemTime, least_bits: u32) -> Result<FitCertificate> {
        self.judged(now, least_bits, |modulus| rsa_soundness::check_factors(modulus).and_then(|()| rsa_soundness::check_not_prime(modulus)))
    }

    /// Judges it where the private key is known. A modulus with known factors is no prime, so the slowest check is skipped.
    pub fn judge_of_pair(self, now: SystemTime, least_bits: u32) -> Result<FitCertificate> {
        self.judged(now, least_bits, rsa_soundness::check_factors)
    }

    /// Judges it where the modulus passed all checks before.
    pub fn judge_again(self, now: SystemTime, least_bits: u32) -> Result<FitCertificate> {
        self.judged(now, least_bits, |_| Ok(()))
    }

    fn judged(self, now: SystemTime, least_bits: u32, check_modulus: impl Fn(&[u8]) -> Result<()>) -> Result<FitCertificate> {
        let validity = self.certificate.tbs_certificate().validity();
        let (begins, ends) = (validity.not_before.to_system_time(), validity.not_after.to_system_time());
        if now < begins {
            let help = "check this machine's clock with `date`";
            return Err(Error::refused(format!("the certificate is not valid before {}", validity.not_before), help));
        }
        if now > ends {
            let help = "check this machine's clock with `date`; if it is right, a new sealing key is due";
            return Err(Error::refused(format!("the certificate ended on {}", validity.not_after), help)
                .why("what is sealed already still opens; nothing new is sealed to it"));
        }
        rsa_soundness::check_form(&self.modulus, &self.exponent, least_bits)?;
        check_modulus(&self.modulus)?;
        self.check_signature()?;
        Ok(FitCertificate { ends_soon: now + SOON > ends, certificate: self })
    }

    /// The length of its RSA ciphertexts, in bytes.
    pub fn size(&self) -> usize {
        self.modulus.len()
    }

    /// When it begins: the controller serves the certificate that began last.
    pub fn not_before(&self) -> SystemTime {
        self.certificate.tbs_certificate().validity().not_before.to_system_time()
    }

    /// When it begins, in RFC 3339.
    pub fn begins(&self) -> String {
        self.certificate.tbs_certificate().validity().not_before.to_string()
    }

    /// The size of its RSA key, in bits.
    pub fn bits(&self) -> u32 {
        rsa_soundness::bits(&self.modulus)
    }

    /// When it ends, in RFC 3339.
    pub fn ends(&self) -> String {
        self.certificate.tbs_certificate().validity().not_after.to_string()
    }

    /// If it is self-signed, the signature has to be right: a changed certificate is not the one that was pinned.
    fn check_signature(&self) -> Result<()> {
        let tbs = self.certificate.tbs_certificate();
        if tbs.issuer() != tbs.subject() {
            return Ok(());
        }
        let algorithm = match self.certificate.signature_algorithm().oid {
            SHA256_RSA => &signature::RSA_PKCS1_2048_8192_SHA256,
            SHA384_RSA => &signature::RSA_PKCS1_2048_8192_SHA384,
            SHA512_RSA => &signature::RSA_PKCS1_2048_8192_SHA512,
            _ => {
                return Err(Error::refused("the certificate's own signature is not RSA with SHA-2", "make one with `seal-secrets keygen`"));
            }
        };
        let wrong = |_| {
            let help = "restore it from git, or fetch it again from the controller";
            Error::refused("the certificate's own signature is wrong: it was changed after it was made", help)
        };
        let message = tbs.to_der().map_err(|_| wrong(()))?;
        let key = signature::UnparsedPublicKey::new(
            algorithm,
            self.certificate.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes(),
        );
        key.verify(&message, self.certificate.signature().raw_bytes()).map_err(|_| wrong(()))
    }
}

/// The DER of the one certificate in a PEM text.
fn one_certificate(bytes: &[u8]) -> Result<Vec<u8>> {
    let expected = "name a PEM file with exactly one `CERTIFICATE`";
    let looks_like_der =
        SliceReader::new(bytes).ok().and_then(|mut reader| Header::decode(&mut reader).ok().filter(|_| !reader.is_finished()));
    if looks_like_der.is_some() && bytes[0] == 0x30 {
        return Err(Error::bad_input("DER, not PEM", "convert it: `openssl x509 -inform der -in FILE -out sealing.crt`"));
    }
    let text = crate::manifest::text::decode(bytes)?;
    let blocks = pem::read(text)?;
    if blocks.iter().any(|block| block.label.ends_with("PRIVATE KEY")) {
        let help = "take it out of this folder; if it was ever committed or copied it is exposed, and a new sealing key is due";
        return Err(Error::refused("a private key, where a certificate is expected", help));
    }
    let certificates: Vec<_> = blocks.iter().filter(|block| block.label == "CERTIFICATE").collect();
    match (certificates.as_slice(), blocks.first()) {
        ([one], _) => Ok(one.der.to_vec()),
        ([], Some(other)) => Err(Error::bad_input(format!("a {}, where a certificate is expected", pem::shown(other.label)), expected)),
        ([], None) => Err(Error::bad_input("not PEM: it has no `-----BEGIN CERTIFICATE-----`", expected)),
        (several, _) => Err(Error::bad_input(
            format!("{} certificates where one is expected", several.len()),
            "keep the one that the controller serves",
        )
        .at((several[1].line, 1))),
    }
}
