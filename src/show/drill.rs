//! The report of a recovery drill.

use serde_json::{Value, json};

use super::{findings, pretty};
use crate::model::{Error, Finding, Places, Result, visible};
use crate::pipeline::certificate::SealingCertificate;
use crate::pipeline::drill::{Drill, Share};

/// For people, to file as it is.
pub fn report(places: &Places, drill: &Drill, certificate: Result<&SealingCertificate, &Error>, list: &[Finding]) -> String {
    let failed = |error: &Error| format!("error: {}\n             help: {}", error.what(), places.pasteable(&error.help()));
    let certificate = certificate.map_or_else(failed, |certificate| format!("{}, until {}", certificate.digest, certificate.ends()));
    let escrow = match &drill.escrow {
        Ok((recipient, keys)) => format!("opened by the identity of {recipient}; sealing keys in it: {keys}"),
        Err(error) => failed(error),
    };
    let key_secret = match &drill.key_secret {
        Ok(()) => "rendered, and read by the controller's rules: it holds the key of the certificate".to_owned(),
        Err(error) => failed(error),
    };
    let share = |Share { good, all }| format!("{good} of {all}");
    let rows = [
        ("folders", visible(&format!("{} and {}", places.keys, places.out))),
        ("certificate", certificate),
        ("escrow", escrow),
        ("key Secret", key_secret),
        ("units", format!("{} opened", share(drill.opened.units))),
        ("values", format!("{} opened", share(drill.opened.values))),
        ("pairs", format!("{} match", share(drill.opened.pairs))),
        ("findings", findings::tally(list)),
    ];
    let mut text = format!("recovery drill, {}, seal-secrets {}\n", drill.time, env!("CARGO_PKG_VERSION"));
    rows.iter().for_each(|(what, result)| text.push_str(&format!("{what:<11}  {result}\n")));
    text.push_str(&findings::all(places, list));
    text + match passed(drill, list) {
        true => "passed: everything that is sealed can be restored from these files\n",
        false => "failed: not everything can be restored from these files; docs/recovery.md says what is still possible\n",
    }
}

pub fn json(places: &Places, drill: &Drill, certificate: Result<&SealingCertificate, &Error>, list: &[Finding]) -> String {
    let failed = |error: &Error| json!({ "error": error.what(), "help": places.pasteable(&error.help()) });
    let share = |share: Share| json!({ "good": share.good, "all": share.all });
    let certificate =
        certificate.map_or_else(failed, |certificate| json!({ "digest": certificate.digest.to_string(), "until": certificate.ends() }));
    let escrow: Value = drill.escrow.as_ref().map_or_else(failed, |(recipient, keys)| json!({ "recipient": recipient, "keys": keys }));
    let report = json!({
        "time": drill.time, "program": concat!("seal-secrets ", env!("CARGO_PKG_VERSION")),
        "certificate": certificate, "escrow": escrow,
        "key-secret": drill.key_secret.as_ref().map_or_else(failed, |()| json!({})),
        "units": share(drill.opened.units), "values": share(drill.opened.values), "pairs": share(drill.opened.pairs),
        "passed": passed(drill, list),
    });
    pretty(json!({ "version": 1, "drill": report, "findings": findings::values(places, list) }))
}

/// Whether everything could be restored, and nothing is wrong with it.
pub fn passed(drill: &Drill, list: &[Finding]) -> bool {
    drill.succeeded() && findings::errors(list) == 0
}
