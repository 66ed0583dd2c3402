//! The pins: the sealing certificates that this machine accepted, one line per keys folder. The file is in the operator's state folder, as
//! ssh keeps `known_hosts`: a person who can write to a repository does not decide what is sealed to.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::rsa_soundness::CHECKS;
use crate::model::{CertificateDigest, Error, Result, visible};

const HEADER: &str = "# The sealing certificates that were accepted on this machine, one line per keys folder:\n\
     # certificate, the next one, when and how it was accepted, which checks its key passed, whether values were sealed, keys folder\n";

/// How a certificate was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Made here, or confirmed when it was rebuilt from the escrow.
    Keygen,
    Renew,
    FetchCert,
    /// Confirmed at the terminal, on first use.
    Confirmed,
    /// Passed with `--accept-certificate`.
    Named,
}

impl How {
    const ALL: [How; 5] = [How::Keygen, How::Renew, How::FetchCert, How::Confirmed, How::Named];

    pub fn as_str(self) -> &'static str {
        match self {
            How::Keygen => "keygen",
            How::Renew => "renew",
            How::FetchCert => "fetch-cert",
            How::Confirmed => "confirmed",
            How::Named => "named",
        }
    }
}

/// Whether a certificate is the accepted one.
pub enum Verdict {
    Accepted,
    /// This keys folder has no accepted certificate.
    Unknown,
    /// Another certificate was accepted.
    Refused(Error),
}

/// What was accepted for one keys folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    pub certificate: CertificateDigest,
    /// The certificate that is about to replace it: accepted too until that is done.
    pub next: Option<CertificateDigest>,
    /// When the last of these was accepted: `YYYY-MM-DDTHH:MM:SSZ`, in UTC.
    pub time: String,
    pub how: How,
    /// Which checks of an RSA key it passed; [`CHECKS`] if these are today's.
    checks: u32,
    /// Whether a run sealed values here before; otherwise the next one is the first run.
    pub sealed: bool,
}

/// Follows the checks if values were sealed.
const SEALED: &str = "+sealed";

impl Pin {
    /// The pin of a certificate that was judged.
    pub fn new(certificate: CertificateDigest, time: String, how: How) -> Self {
        Pin { certificate, next: None, time, how, checks: CHECKS, sealed: false }
    }

    /// The pin with a certificate that is about to replace its own.
    pub fn with_next(self, next: CertificateDigest) -> Self {
        Pin { next: (self.certificate != next).then_some(next), ..self }
    }

    /// The pin, with whether values were sealed.
    pub fn with_sealed(self, sealed: bool) -> Self {
        Pin { sealed, ..self }
    }

    pub fn accepts(&self, certificate: CertificateDigest) -> bool {
        self.certificate == certificate || self.next == Some(certificate)
    }

    /// Whether its key passed all of today's checks.
    pub fn is_sound(&self, certificate: CertificateDigest) -> bool {
        self.checks == CHECKS && self.accepts(certificate)
    }

    /// Whether it accepts the same certificates; when and how does not matter.
    pub fn is_as_good_as(&self, other: &Pin) -> bool {
        (self.certificate, self.next, self.checks, self.sealed) == (other.certificate, other.next, other.checks, other.sealed)
    }

    fn parse(fields: [&str; 5]) -> Option<Self> {
        let [certificate, next, time, how, checks] = fields;
        let (checks, sealed) = checks.strip_suffix(SEALED).map_or((checks, false), |checks| (checks, true));
        let next = if next == "-" { None } else { Some(CertificateDigest::parse(next).ok()?) };
        let how = How::ALL.into_iter().find(|known| known.as_str() == how)?;
        let certificate = CertificateDigest::parse(certificate).ok()?;
        Some(Pin { certificate, next, time: time.to_owned(), how, checks: checks.parse().ok()?, sealed })
    }

    fn line(&self, folder: &str) -> String {
        let next = self.next.map_or("-".to_owned(), |next| next.to_string());
        let sealed = if self.sealed { SEALED } else { "" };
        format!("{} {next} {} {} {}{sealed} {folder}\n", self.certificate, self.time, self.how.as_str(), self.checks)
    }
}

/// A keys folder's canonical spelling, in one line: bytes that a line cannot show are escaped.
pub fn folder(path: &Path) -> String {
    match path.to_str() {
        Some(text) if visible(text) == text && !text.contains('\\') => text.to_owned(),
        _ => path.as_os_str().as_bytes().escape_ascii().to_string(),
    }
}

/// The pin of a keys folder; a malformed line is an error, whichever folder it is for.
pub fn read(text: &str, folder: &str) -> Result<Option<Pin>> {
    let mut found = None;
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let damaged = |what: &str| {
            let help = "remove this line: the certificate is shown and confirmed again when it is used next";
            Error::bad_input(what, help).at((i + 1, 1))
        };
        let fields: Vec<&str> = line.splitn(6, ' ').collect();
        let parsed = match fields.as_slice() {
            [a, b, c, d, e, of] => Pin::parse([a, b, c, d, e]).map(|pin| (pin, *of)),
            _ => None,
        };
        let (pin, of) = parsed.ok_or_else(|| damaged("not a line with a certificate and its keys folder"))?;
        if of == folder && found.replace(pin).is_some() {
            return Err(damaged("a second line for the same keys folder"));
        }
    }
    Ok(found)
}

/// The text with this pin for a keys folder, replacing its line or added at the end.
pub fn with(text: &str, folder: &str, pin: &Pin) -> String {
    let text = if text.is_empty() { HEADER } else { text };
    let is_its = |line: &&str| !line.starts_with('#') && line.trim_end_matches('\n').splitn(6, ' ').nth(5) == Some(folder);
    let others: String = text.split_inclusive('\n').filter(|line| !is_its(line)).collect();
    let ended = if others.is_empty() || others.ends_with('\n') { "" } else { "\n" };
    others + ended + &pin.line(folder)
}
