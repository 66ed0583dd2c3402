//! `verify --drill`: recovery, tried with the files alone, and the report of it.

use std::path::Path;

use super::{finding_text, findings_json, key_secret, keys};
use crate::cli::Folders;
use crate::model::{Contract, Error, ErrorKind, Finding, Result, Severity, visible};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::drill::{self, Drill, Share};
use crate::pipeline::inventory::Files;
use crate::pipeline::private_key::{self, SealingKey};
use crate::world::World;

/// Tries it. The keys are those of the escrow, where it opens: an escrow that does not is a result, and no error.
pub(super) fn run(
    folders: &Folders,
    identity: Option<&Path>,
    certificate: &Result<SealingCertificate>,
    contract: &Contract,
    files: &Files,
    world: &World,
) -> Result<(Option<Vec<SealingKey>>, Drill)> {
    let identities = keys::identities(folders, identity, world)?;
    let escrow = keys::read_escrow(folders, world)
        .and_then(|encrypted| Ok((identities.open(&encrypted)?, whose(&identities, &encrypted)?)))
        .and_then(|(text, whose)| Ok((private_key::read(&text)?, text, whose)));
    let escrow = match escrow {
        Err(error) if error.kind == ErrorKind::InputOutput => return Err(error),
        escrow => escrow,
    };
    let key_secret = match (certificate, &escrow) {
        (Ok(certificate), Ok((_, text, _))) => {
            let rendered = key_secret::render(folders, certificate, text, "kube-system", world);
            rendered.and_then(|rendered| drill::check_key_secret(&key_secret::stream(&rendered.secrets), certificate))
        }
        (Err(error), _) => Err(error.clone()),
        (_, Err(_)) => Err(Error::cryptography("without the escrow there is no key to make it of", "restore the escrow first")),
    };
    let (keys, escrow) = match escrow {
        Ok((keys, _, recipient)) => {
            let count = keys.len();
            (Some(keys), Ok((recipient, count)))
        }
        Err(error) => (None, Err(error)),
    };
    let opened = drill::open_all(keys.as_deref().unwrap_or_default(), contract, files);
    Ok((keys, Drill { time: world.time()?, escrow, key_secret, opened }))
}

/// The recipients of whoever opened it; a plugin alone knows that of its own.
fn whose(identities: &keys::Identities, escrow: &[u8]) -> Result<String> {
    let able: Vec<String> = identities.able(escrow)?.iter().map(|recipient| recipient.to_string()).collect();
    Ok(if able.is_empty() { "a plugin".to_owned() } else { able.join(" and ") })
}

/// The report for people, to be filed as it is.
pub(super) fn report(folders: &Folders, drill: &Drill, certificate: &Result<SealingCertificate>, findings: &[Finding]) -> String {
    let failed = |error: &Error| format!("error: {}\n             help: {}", error.what(), error.help());
    let certificate = match certificate {
        Ok(certificate) => format!("{}, until {}", certificate.digest, certificate.ends()),
        Err(error) => failed(error),
    };
    let escrow = match &drill.escrow {
        Ok((recipient, keys)) => format!("opened by the identity of {recipient}; sealing keys in it: {keys}"),
        Err(error) => failed(error),
    };
    let key_secret = match &drill.key_secret {
        Ok(()) => "rendered, and read by the controller's rules: it holds the key of the certificate".to_owned(),
        Err(error) => failed(error),
    };
    let share = |Share { good, all }| format!("{good} of {all}");
    let faults = faults(findings);
    let rows = [
        ("folders", visible(&format!("{} and {}", folders.keys.display(), folders.out.display()))),
        ("certificate", certificate),
        ("escrow", escrow),
        ("key Secret", key_secret),
        ("units", format!("{} opened", share(drill.opened.units))),
        ("values", format!("{} opened", share(drill.opened.values))),
        ("pairs", format!("{} match", share(drill.opened.pairs))),
        ("findings", format!("{faults} errors, {} warnings", findings.len() - faults)),
    ];
    let mut text = format!("recovery drill, {}, seal-secrets {}\n", drill.time, env!("CARGO_PKG_VERSION"));
    rows.iter().for_each(|(what, result)| text.push_str(&format!("{what:<11}  {result}\n")));
    findings.iter().for_each(|finding| text.push_str(&finding_text(finding)));
    text + match passed(drill, findings) {
        true => "passed: everything that is sealed can be restored from these files\n",
        false => "failed: not everything can be restored from these files; docs/recovery.md says what is still possible\n",
    }
}

/// The report for programs; fields are only ever added.
pub(super) fn json(drill: &Drill, certificate: &Result<SealingCertificate>, findings: &[Finding]) -> String {
    let failed = |error: &Error| serde_json::json!({ "error": error.what(), "help": error.help() });
    let share = |share: Share| serde_json::json!({ "good": share.good, "all": share.all });
    let report = serde_json::json!({
        "time": drill.time, "program": concat!("seal-secrets ", env!("CARGO_PKG_VERSION")),
        "certificate": certificate.as_ref().map_or_else(failed, |certificate| {
            serde_json::json!({ "digest": certificate.digest.to_string(), "until": certificate.ends() })
        }),
        "escrow": drill.escrow.as_ref().map_or_else(failed, |(recipient, keys)| serde_json::json!({ "recipient": recipient, "keys": keys })),
        "key-secret": drill.key_secret.as_ref().map_or_else(failed, |()| serde_json::json!({})),
        "units": share(drill.opened.units), "values": share(drill.opened.values), "pairs": share(drill.opened.pairs),
        "passed": passed(drill, findings),
    });
    format!("{:#}\n", serde_json::json!({ "version": 1, "drill": report, "findings": findings_json(findings) }))
}

/// Whether everything could be restored, and is as it should be.
pub(super) fn passed(drill: &Drill, findings: &[Finding]) -> bool {
    drill.succeeded() && faults(findings) == 0
}

fn faults(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.code.severity() == Severity::Error).count()
}
