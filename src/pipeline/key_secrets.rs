//! The controller's key Secrets, made from all of the escrow's keys, and read back as the controller reads them.

use zeroize::Zeroizing;

use super::certificate::SealingCertificate;
use super::private_key::{self, Pairs};
use crate::manifest::secret::{self, read_key_secrets};
use crate::model::{CertificateDigest, Error, Result};

/// One key Secret for each key of the escrow. Values sealed to an old key open too; of several keys the controller serves the one whose
/// certificate began last.
pub struct KeySecrets {
    pub secrets: Vec<(String, Zeroizing<String>)>,
    /// A key whose certificate began later than the pinned one.
    pub newer: Option<CertificateDigest>,
    /// Keys without a certificate: none of the Secrets holds them.
    pub left_out: Vec<CertificateDigest>,
}

impl KeySecrets {
    /// Builds them from judged keys: an unusable key would crash the controller at start. `pem` is the certificate's text.
    pub fn new(pairs: &Pairs, certificate: &SealingCertificate, pem: &str, namespace: &str) -> Result<Self> {
        if pairs.list.iter().all(|pair| pair.digest != certificate.digest) {
            let digests: Vec<String> = pairs.list.iter().map(|pair| pair.digest.to_string()).collect();
            let help = "restore the escrow that belongs to it, or the certificate from git";
            return Err(Error::refused("the escrow does not hold the key of the certificate", help).why(format!(
                "the certificate is {}, the escrow holds {}",
                certificate.digest,
                digests.join(", ")
            )));
        }
        let newer = pairs.newer_than(certificate, |newer| Some(newer.digest)).map(|(newer, _)| newer);
        let mut all = KeySecrets { secrets: Vec::new(), newer, left_out: Vec::new() };
        for (n, pair) in pairs.list.iter().enumerate() {
            let certificate = match &pair.certificate {
                _ if pair.digest == certificate.digest => pem,
                Some((_, pem)) => pem,
                None => {
                    all.left_out.push(pair.digest);
                    continue;
                }
            };
            let name = secret::key_secret_name(n);
            let text = secret::write_key_secret(namespace, &name, certificate, &private_key::write_pem(&pair.key)?);
            all.secrets.push((name, text));
        }
        Ok(all)
    }

    /// The Secrets as one stream of documents.
    pub fn stream(&self) -> Zeroizing<String> {
        let texts: Vec<&str> = self.secrets.iter().map(|(_, text)| text.as_str()).collect();
        Zeroizing::new(texts.join("---\n"))
    }
}

/// Reads rendered key Secrets as the controller does (sealed-secrets `pkg/controller/keys.go`, `readKey`): type, label, RSA key and
/// certificate in PEM. One of them has to be the pair that everything is sealed to.
pub fn check(yaml: &str, certificate: &SealingCertificate) -> Result<()> {
    let secrets = read_key_secrets(yaml)?;
    let keys = secrets.iter().map(private_key::of_secret).collect::<Result<Vec<_>>>()?;
    let taken = secrets.iter().all(|secret| secret.active) && keys.iter().all(|keys| keys.len() == 1);
    if taken && keys.iter().flatten().any(|(_, key)| key.digest == certificate.digest) {
        return Ok(());
    }
    Err(Error::refused("the key Secret is not one that the controller would take", "restore the escrow of this certificate"))
}

/// Whether the cluster returned exactly the key Secret that was applied.
pub fn same(applied: &str, read_back: &str) -> Result<bool> {
    let (ours, theirs) = (read_key_secrets(applied)?, read_key_secrets(read_back)?);
    let equal = |(ours, theirs): (&secret::KeySecret, &secret::KeySecret)| {
        ours.certificate == theirs.certificate && *ours.private_key == *theirs.private_key
    };
    Ok(!ours.is_empty() && ours.len() == theirs.len() && ours.iter().zip(&theirs).all(equal))
}
