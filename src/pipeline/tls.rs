//! Certificates among the contract's secrets: self-signed ones, those of a private authority, and those that it issues.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use rsa::pkcs8::{DecodePublicKey, Document, EncodePublicKey};
use rsa::signature::{Keypair, Signer};
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{self, Builder, CertificateBuilder};
use x509_cert::der::asn1::{BitString, Ia5String, ObjectIdentifier, OctetString};
use x509_cert::der::flagset::FlagSet;
use x509_cert::der::{self, Any, Decode, DecodePem, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name as X509Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{
    self, AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, SignatureBitStringEncoding, SubjectPublicKeyInfo,
    SubjectPublicKeyInfoRef,
};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, TbsCertificate};
use zeroize::Zeroizing;

use super::key_pair::PrivateKey;
use super::pem;
use crate::model::{Entropy, EntropyFailed, Error, KeyName, Result, SecretValue};

/// How far back a certificate begins, so that a machine whose clock is slow accepts it.
const BEGINS_BEFORE: Duration = Duration::from_secs(5 * 60);

/// When a certificate that is made now begins.
pub fn begins(now: SystemTime) -> Result<SystemTime> {
    now.checked_sub(BEGINS_BEFORE).ok_or_else(failed)
}

/// A random serial number of 128 bits.
pub fn serial(entropy: &mut Entropy) -> Result<[u8; 16]> {
    let mut serial = [0; 16];
    entropy.try_fill_bytes(&mut serial)?;
    // Positive, and never shortened by a leading zero.
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

/// The PEM of a certificate that the builder made.
pub fn built(der: builder::Result<Vec<u8>>) -> Result<Zeroizing<String>> {
    let der = der.map_err(|error| match error {
        // A sound key fails to sign only if its blinding, for which the library draws randomness itself, gets none.
        builder::Error::Signature(_) => EntropyFailed.into(),
        _ => failed(),
    })?;
    Ok(pem::write("CERTIFICATE", &der))
}

fn failed() -> Error {
    Error::cryptography("no certificate could be made", "check this machine's clock with `date`, and try again")
}

/// Whom the certificate is for.
pub struct Subject<'s> {
    pub key: PrivateKey,
    /// DNS names and IP addresses; the first is its common name.
    pub names: &'s [String],
    pub days: u32,
}

/// The authority that signs it.
pub struct Authority<'a> {
    pub name: &'a KeyName,
    pub key: PrivateKey,
    /// In PEM.
    pub certificate: &'a SecretValue,
}

/// Makes a certificate in PEM. Without an authority it is self-signed; with `signs_others` it is an authority.
pub fn issue(
    subject: &Subject<'_>,
    by: Option<&Authority<'_>>,
    signs_others: bool,
    now: SystemTime,
    entropy: &mut Entropy,
) -> Result<SecretValue> {
    let serial = serial(entropy)?;
    let authority = by.map(|by| read(by.certificate).ok_or_else(failed)).transpose()?;
    let begins = begins(now)?;
    let ends = begins + Duration::from_secs(u64::from(subject.days) * 24 * 60 * 60);
    if let (Some(by), Some(authority)) = (by, &authority) {
        check_outlived(authority, by.name, ends)?;
    }
    let public = subject.key.public_der()?;
    let build = || -> builder::Result<Vec<u8>> {
        let validity = Validity::new(Time::try_from(begins)?, Time::try_from(ends)?);
        let name = X509Name::from_str(&format!("CN={}", subject.names.first().map_or("seal-secrets", String::as_str)))?;
        let issuer = authority.as_ref().map_or(name.clone(), |authority| authority.tbs_certificate().subject().clone());
        let profile = Profile { subject: name, issuer, names: alternative_names(subject.names)?, signs_others };
        let key = SubjectPublicKeyInfo::from_der(&public)?;
        let builder = CertificateBuilder::new(profile, SerialNumber::new(&serial)?, validity, key)?;
        let signer = By(by.map_or(&subject.key, |by| &by.key));
        Ok(builder.build::<_, Signature>(&signer)?.to_der()?)
    };
    Ok(SecretValue::new(Zeroizing::new(built(build())?.as_bytes().to_vec())))
}

/// No program accepts a certificate whose authority has ended.
fn check_outlived(authority: &Certificate, name: &KeyName, ends: SystemTime) -> Result<()> {
    let until = authority.tbs_certificate().validity().not_after;
    // A certificate's times are whole seconds.
    if until.to_system_time() + Duration::from_secs(1) > ends {
        return Ok(());
    }
    let day = until.to_date_time();
    let (year, month, day) = (day.year(), day.month(), day.day());
    let what = format!("`{name}` ends on {year}-{month:02}-{day:02}, before a certificate that it signs now would");
    Err(Error::refused(what, format!("rotate the authority too: `seal-secrets rotate {name}`")))
}

/// Whether a certificate is for this key and signed by `authority`, which may be the same certificate.
pub fn fits(certificate: &SecretValue, key: &PrivateKey, authority: &SecretValue) -> bool {
    let verified = || {
        let (certificate, authority) = (read(certificate)?, read(authority)?);
        let (tbs, by) = (certificate.tbs_certificate(), authority.tbs_certificate());
        let own = tbs.subject_public_key_info().to_der().ok()? == key.public_der().ok()?;
        let named = tbs.issuer() == by.subject();
        let public = by.subject_public_key_info().to_der().ok()?;
        let signed = verify(&public, &tbs.to_der().ok()?, certificate.signature().as_bytes()?);
        Some(own && named && signed)
    };
    verified() == Some(true)
}

fn read(certificate: &SecretValue) -> Option<Certificate> {
    Certificate::from_pem(certificate.expose()).ok()
}

/// Whether a signature was made by the key with this SubjectPublicKeyInfo.
fn verify(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm};
    let Ok(info) = SubjectPublicKeyInfoRef::from_der(public) else { return false };
    let Some(bytes) = info.subject_public_key.as_bytes() else { return false };
    let algorithm: &'static dyn VerificationAlgorithm = match info.algorithm.oid {
        oid if oid == ED25519_OID => &ED25519,
        oid if oid == EC_OID => &ECDSA_P256_SHA256_ASN1,
        _ => &RSA_PKCS1_2048_8192_SHA256,
    };
    UnparsedPublicKey::new(algorithm, bytes).verify(message, signature).is_ok()
}

const ED25519_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ECDSA_SHA256_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const RSA_SHA256_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
/// `id-kp-serverAuth` and `id-kp-clientAuth`.
const USES: [ObjectIdentifier; 2] = [ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"), ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2")];

fn alternative_names(names: &[String]) -> der::Result<Vec<GeneralName>> {
    let name = |name: &String| match name.parse::<core::net::IpAddr>() {
        Ok(core::net::IpAddr::V4(address)) => OctetString::new(address.octets().to_vec()).map(GeneralName::IpAddress),
        Ok(core::net::IpAddr::V6(address)) => OctetString::new(address.octets().to_vec()).map(GeneralName::IpAddress),
        Err(_) => Ia5String::new(name).map(GeneralName::DnsName),
    };
    names.iter().map(name).collect()
}

struct Profile {
    subject: X509Name,
    issuer: X509Name,
    names: Vec<GeneralName>,
    signs_others: bool,
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, _: &X509Name) -> X509Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> X509Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        key: SubjectPublicKeyInfoRef<'_>,
        by: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let subject = tbs.subject();
        let constraints = BasicConstraints { ca: self.signs_others, path_len_constraint: self.signs_others.then_some(0) };
        let mut usage = FlagSet::from(KeyUsages::DigitalSignature);
        if self.signs_others {
            usage |= KeyUsages::KeyCertSign | KeyUsages::CRLSign;
        } else if key.algorithm.oid != ED25519_OID && key.algorithm.oid != EC_OID {
            usage |= KeyUsages::KeyEncipherment;
        }
        let mut extensions = vec![
            constraints.to_extension(subject, &[])?,
            KeyUsage(usage).to_extension(subject, &[])?,
            SubjectKeyIdentifier::try_from(key)?.to_extension(subject, &[])?,
            AuthorityKeyIdentifier::try_from(by)?.to_extension(subject, &[])?,
        ];
        if !self.signs_others {
            extensions.push(ExtendedKeyUsage(USES.to_vec()).to_extension(subject, &[])?);
            extensions.push(SubjectAltName(self.names.clone()).to_extension(subject, &[])?);
        }
        Ok(extensions)
    }
}

/// A private key as the builder's signer.
pub struct By<'k>(pub &'k PrivateKey);

#[derive(Clone)]
pub struct Public(Vec<u8>);

pub struct Signature(Vec<u8>);

impl Keypair for By<'_> {
    type VerifyingKey = Public;

    fn verifying_key(&self) -> Public {
        Public(self.0.public_der().unwrap_or_default())
    }
}

impl EncodePublicKey for Public {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Document::from_public_key_der(&self.0)
    }
}

impl DynSignatureAlgorithmIdentifier for By<'_> {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        let (oid, parameters) = match self.0 {
            PrivateKey::Ed25519(_) => (ED25519_OID, None),
            PrivateKey::P256(_) => (ECDSA_SHA256_OID, None),
            PrivateKey::Rsa(_) => (RSA_SHA256_OID, Some(Any::null())),
        };
        Ok(AlgorithmIdentifierOwned { oid, parameters })
    }
}

impl Signer<Signature> for By<'_> {
    fn try_sign(&self, message: &[u8]) -> rsa::signature::Result<Signature> {
        self.0.sign(message).map(Signature).map_err(|_| rsa::signature::Error::new())
    }
}

impl SignatureBitStringEncoding for Signature {
    fn to_bitstring(&self) -> der::Result<BitString> {
        BitString::from_bytes(&self.0)
    }
}
