//! What re-encrypting did, or would do.

use serde_json::{Value, json};

use super::{counted, failure, pretty};
use crate::model::{CertificateDigest, Error, Places, visible};
use crate::pipeline::render::RUNBOOK;
use crate::pipeline::tally::{Event, Tally};

pub fn moved(file: &str, name: &str, from: Option<CertificateDigest>) -> String {
    let from = from.map_or("an unknown key".to_owned(), |from| from.to_string());
    format!("re-encrypt {}: {} (from {from})\n", visible(file), visible(name))
}

pub fn failed(places: &Places, error: &Error) -> String {
    let why = error.reason().map_or(String::new(), |why| format!("  {why}\n"));
    format!("failed: {}: {}\n{why}  help: {}\n", error.place(), error.what(), places.pasteable(&error.help()))
}

pub fn summary(places: &Places, tally: &Tally, to: CertificateDigest, dry: bool) -> String {
    let mut text = String::new();
    if tally.runbook {
        text.push_str(&format!("write  {} (updated)\n", places.in_out(RUNBOOK)));
    }
    let (moved, files, current) = (counted(tally.moved, "SealedSecret"), counted(tally.files, "file"), tally.current);
    let unchanged = tally.moved == 0 && !tally.runbook;
    text.push_str(&match (unchanged, dry) {
        (true, _) if current == 0 && tally.failed == 0 => "nothing to do: no SealedSecrets were found\n".to_owned(),
        (true, _) if current == 0 => "nothing done: no other sealed values were found\n".to_owned(),
        (true, _) => {
            let nothing = if tally.failed > 0 { "nothing done" } else { "nothing to do" };
            let are = if current == 1 { "is" } else { "are" };
            format!("{nothing}: {} {are} already sealed to {to}\n", counted(current, "SealedSecret"))
        }
        (false, _) if tally.moved == 0 => format!("nothing to re-encrypt; {current} already sealed to {to}\n"),
        (false, true) => format!("to do: {moved} in {files} to re-encrypt to {to}; {current} already sealed to it\n"),
        (false, false) => format!("done: {moved} in {files} re-encrypted to {to}; {current} already sealed to it\n"),
    });
    if tally.moved > 0 && !dry {
        text.push_str(&match tally.proved {
            true => "each new value was opened again, and is the same\n".to_owned(),
            false => format!(
                "the new values were not opened again: the private key of this certificate is not here; `{}` adds it\n",
                places.command("backup")
            ),
        });
    }
    if tally.failed > 0 {
        let others = if dry || tally.moved == 0 { "" } else { "; the others are done" };
        text.push_str(&format!("{} could not be opened and stay as they are{others}\n", tally.failed));
    }
    text
}

/// The events, collected for programs.
#[derive(Default)]
pub struct Record {
    changes: Vec<Value>,
    failed: Vec<Value>,
}

impl Record {
    pub fn keep(&mut self, event: &Event) {
        match event {
            Event::Moved { file, name, from } => {
                let from = from.map(|from| from.to_string());
                self.changes.push(json!({ "action": "re-encrypt", "file": file, "name": name, "from": from }));
            }
            Event::Failed(error) => self.failed.push(failure(error)),
        }
    }

    /// The plan for programs. If a new key is still to be made, there is no certificate yet.
    pub fn json(&self, places: &Places, tally: &Tally, to: Option<CertificateDigest>) -> String {
        let runbook = tally.runbook.then(|| json!({ "action": "write", "file": places.in_out(RUNBOOK) }));
        let changes: Vec<&Value> = self.changes.iter().chain(&runbook).collect();
        let to = to.map(|to| to.to_string());
        pretty(json!({ "version": 1, "certificate": to, "changes": changes, "present": tally.current, "failed": self.failed }))
    }
}
