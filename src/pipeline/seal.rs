//! Sealing: the hot path. One value becomes `u16 length ‖ RSA-OAEP-SHA256(session key, label) ‖ AES-256-GCM(value)`.

use std::num::NonZeroUsize;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::certificate::FitCertificate;
use crate::model::{Entropy, Error, Result, SecretValue, on_threads};

/// The session key's length in bytes: AES-256.
pub const SESSION_KEY: usize = 32;
/// GCM's tag, in bytes.
pub(super) const TAG: usize = 16;
/// Twelve zero bytes: each session key seals exactly one value (sealed-secrets `pkg/crypto/crypto.go`).
pub(super) const NONCE: [u8; 12] = [0; 12];

/// A certificate's public key, ready to seal.
pub struct Sealer {
    key: OaepPublicEncryptingKey,
}

/// A value and the label that binds it; see `Scope::label`.
pub type Labelled = (String, SecretValue);

impl Sealer {
    /// For a certificate that was judged.
    pub fn new(certificate: &FitCertificate) -> Result<Self> {
        let key = PublicEncryptingKey::from_der(&certificate.public_key).ok();
        let key = key.and_then(|key| OaepPublicEncryptingKey::new(key).ok()).ok_or_else(failed)?;
        Ok(Sealer { key })
    }

    /// Seals each value under a session key of its own, on up to `threads` threads; the blobs come in the order of the
    /// values. The values are wiped.
    pub fn seal_all(&self, values: Vec<Labelled>, entropy: &mut Entropy, threads: NonZeroUsize) -> Result<Vec<String>> {
        let mut session_keys = Zeroizing::new(vec![0; values.len() * SESSION_KEY]);
        entropy.try_fill_bytes(&mut session_keys)?;
        let work: Vec<(Labelled, &[u8])> = values.into_iter().zip(session_keys.chunks(SESSION_KEY)).collect();
        on_threads(work, threads, |((label, value), key)| self.seal(&label, &value, key))?.into_iter().collect()
    }

    /// Seals one value under this session key, which may seal no other.
    pub(super) fn seal(&self, label: &str, value: &SecretValue, session_key: &[u8]) -> Result<String> {
        let size = self.key.ciphertext_size();
        let mut blob = vec![0; 2 + size + value.len() + TAG];
        let (head, body) = blob.split_at_mut(2 + size);
        let (length, rsa) = head.split_at_mut(2);
        length.copy_from_slice(&u16::try_from(size).map_err(|_| failed())?.to_be_bytes());
        self.key.encrypt(&OAEP_SHA256_MGF1SHA256, session_key, rsa, Some(label.as_bytes())).map_err(|_| failed())?;
        let (text, tag) = body.split_at_mut(value.len());
        // Encrypted where it lies: after this call no plaintext is left in the blob.
        text.copy_from_slice(value.expose());
        let cipher = Aes256Gcm::new_from_slice(session_key).map_err(|_| failed())?;
        let computed: Tag = cipher.encrypt_inout_detached(&Nonce::from(NONCE), &[], text.into()).map_err(|_| failed())?;
        tag.copy_from_slice(&computed);
        Ok(BASE64_STANDARD.encode(&blob))
    }
}

fn failed() -> Error {
    Error::cryptography("sealing failed", "nothing was written; try again, and report it if it stays")
}
