//! Base64 as Go's `StdEncoding` reads it, and so Kubernetes, the controller and kubeseal: line feeds and carriage returns are skipped
//! anywhere, and the unused bits of the last character may be anything.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::model::{Error, Result};

const GO: GeneralPurpose = GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// The bytes of a text; an error says what is wrong, and quotes nothing.
pub fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>> {
    let mut joined = Zeroizing::new(Vec::with_capacity(text.len()));
    joined.extend(text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')));
    let bytes = GO.decode(&*joined).map(Zeroizing::new);
    bytes.map_err(|_| match joined.iter().any(u8::is_ascii_whitespace) {
        true => Error::bad_input("white space inside base64", "write the value on one line, or as a literal block (`|`)"),
        false => Error::bad_input("not base64", "restore it, or encode the value with `base64`"),
    })
}
