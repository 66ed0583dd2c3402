//! Sealing: the hot path. One value becomes `u16 length ‖ RSA-OAEP-SHA256(session key, label) ‖ AES-256-GCM(value)`.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rand::{TryCryptoRng, TryRng};
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{Oaep, PublicKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::certificate::FitCertificate;
use crate::model::{Entropy, EntropyFailed, Error, Result, SecretValue, on_threads, repeats};

/// The session key's length in bytes: AES-256.
const SESSION_KEY: usize = 32;
/// The length of OAEP's seed in bytes: that of a SHA-256 (RFC 8017, 7.1.1).
const SEED: usize = 32;
/// The length of GCM's tag in bytes.
pub(super) const TAG: usize = 16;
/// Twelve zero bytes: each session key seals exactly one value (sealed-secrets `pkg/crypto/crypto.go`).
pub(super) const NONCE: [u8; 12] = [0; 12];

/// A certificate's public key, ready to seal.
pub struct Sealer {
    key: PublicKey,
}

/// A value and the label that binds it; see `Scope::label`.
pub type Labelled = (String, SecretValue);

/// All the randomness for sealing one value: the session key, then OAEP's seed. It can be neither copied nor used twice.
pub struct SessionKey(Zeroizing<Vec<u8>>);

/// The session keys of a run. All nonces are zero, so two values under one key would reveal each other.
#[derive(Default)]
pub struct SessionKeys {
    /// The first half of each key's digest.
    drawn: BTreeSet<[u8; 16]>,
}

impl SessionKeys {
    /// Draws `count` keys, each different from all that this run drew before.
    pub fn draw(&mut self, count: usize, entropy: &mut Entropy) -> Result<Vec<SessionKey>> {
        let mut random = Zeroizing::new(vec![0; count * (SESSION_KEY + SEED)]);
        entropy.try_fill_bytes(&mut random)?;
        let keys: Vec<SessionKey> = random.chunks_exact(SESSION_KEY + SEED).map(|one| SessionKey(Zeroizing::new(one.to_vec()))).collect();
        let digest = |key: &SessionKey| Sha256::digest(&key.0[..SESSION_KEY]).first_chunk().copied();
        let differ = keys.iter().all(|key| digest(key).is_some_and(|digest| self.drawn.insert(digest)));
        if differ { Ok(keys) } else { Err(repeats()) }
    }
}

/// Randomness drawn earlier, for a library that asks for it: each byte once, and no more than there are.
struct Drawn<'d>(&'d [u8]);

impl TryRng for Drawn<'_> {
    type Error = EntropyFailed;

    fn try_next_u32(&mut self) -> Result<u32, EntropyFailed> {
        Err(EntropyFailed)
    }

    fn try_next_u64(&mut self) -> Result<u64, EntropyFailed> {
        Err(EntropyFailed)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), EntropyFailed> {
        let (now, rest) = self.0.split_at_checked(bytes.len()).ok_or(EntropyFailed)?;
        bytes.copy_from_slice(now);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Drawn<'_> {}

impl Sealer {
    /// Prepares a judged certificate.
    pub fn new(certificate: &FitCertificate) -> Result<Self> {
        Ok(Sealer { key: PublicKey::from_public_key_der(&certificate.public_key).map_err(|_| failed())? })
    }

    /// Seals each value under its own session key, on up to `threads` threads; the blobs are in the order of the values. The values are
    /// wiped.
    pub fn seal_all(&self, values: Vec<Labelled>, entropy: &mut Entropy, threads: NonZeroUsize) -> Result<Vec<String>> {
        let session_keys = SessionKeys::default().draw(values.len(), entropy)?;
        let work: Vec<(Labelled, SessionKey)> = values.into_iter().zip(session_keys).collect();
        on_threads(work, threads, |((label, value), key)| self.seal(&label, &value, key))?.into_iter().collect()
    }

    /// Seals one value under this session key.
    pub(super) fn seal(&self, label: &str, value: &SecretValue, key: SessionKey) -> Result<String> {
        let (session_key, seed) = key.0.split_at(SESSION_KEY);
        let size = self.key.size();
        let mut blob = vec![0; 2 + size + value.len() + TAG];
        let (head, body) = blob.split_at_mut(2 + size);
        let (length, rsa) = head.split_at_mut(2);
        length.copy_from_slice(&u16::try_from(size).map_err(|_| failed())?.to_be_bytes());
        let padding = Oaep::<Sha256>::new_with_label(label.as_bytes());
        let encrypted = self.key.encrypt(&mut Drawn(seed), padding, session_key).map_err(|_| failed())?;
        rsa.copy_from_slice(&encrypted);
        let (text, tag) = body.split_at_mut(value.len());
        // Encrypted in place: afterwards the blob holds no plaintext.
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
