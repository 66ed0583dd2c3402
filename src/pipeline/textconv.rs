//! Shows a file of SealedSecrets for comparison: the file itself, with a few words in place of each sealed value. So a diff shows every
//! other change.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::private_key::SealingKey;
use super::seal::TAG;
use super::unseal;
use crate::manifest::blobs::{self, Blob, ForeignSealedSecret};
use crate::manifest::sealed_secret::SEALED_ON;
use crate::manifest::{base64, secret};
use crate::model::{Hints, counted, visible};

/// The text with each sealed value replaced by its public properties; with keys, also by the value in the clear.
pub fn render(text: &str, keys: Option<&[SealingKey]>) -> Zeroizing<String> {
    let found = blobs::find(text, &Hints::default());
    let each = found.iter().flat_map(|one| one.blobs.iter().map(move |blob| (one, blob)));
    Zeroizing::new(blobs::shown(text, each.map(|(one, blob)| (&blob.spot, summary(one, blob, keys))).collect()))
}

/// `(64 bytes, sealed 2026-11-26, blob 5f3c9a10b2d4)`: the blob differs whenever a value is sealed again, even the same one.
fn summary(one: &ForeignSealedSecret, blob: &Blob, keys: Option<&[SealingKey]>) -> Zeroizing<String> {
    let length = length(&blob.text).map_or("not a sealed value".to_owned(), |length| counted(length, "byte"));
    let day = one.annotation(SEALED_ON).map_or(String::new(), |day| format!(", sealed {}", visible(day)));
    // A digest of the ciphertext, which is public; a digest of the value would not be.
    let digest: String = Sha256::digest(&blob.text).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let mut text = Zeroizing::new(format!("({length}{day}, blob {digest})"));
    if let Some(keys) = keys {
        let value = unseal::open_first(keys, 0, &one.labels, &blob.text);
        text.push_str(&value.map_or(Zeroizing::new(": does not open".to_owned()), |(.., value)| secret::in_clear(&value)));
    }
    text
}

/// The length of a blob's value in bytes: what remains without the session key and the tag.
fn length(blob: &str) -> Option<usize> {
    let bytes = base64::decode(blob).ok()?;
    let (size, rest) = bytes.split_first_chunk::<2>()?;
    rest.len().checked_sub(usize::from(u16::from_be_bytes(*size)) + TAG)
}
