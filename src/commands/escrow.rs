//! `escrow`: who may open it.
//!
//! `recipients.txt` names whoever can open the escrow, and never fewer: one who is added is listed first, one who is
//! removed is struck off last. So a crash in between leaves a list that names too many, a later writing of the escrow shuts
//! nobody out by mistake, and the same command run again finishes what was begun.

use super::keys::{self, ESCROW, IDENTITY, OpenedEscrow, RECIPIENTS};
use super::{Outcome, confirm, keygen};
use crate::cli::{ChangeRecipient, Escrow, EscrowChange, Folders};
use crate::model::{Error, Result, near, visible};
use crate::pipeline::recipients::{self, Recipient};
use crate::world::folder::{Existing, Folder};
use crate::world::{World, files, git};

pub(super) fn run(folders: &Folders, args: &Escrow, world: &mut World) -> Result<Outcome> {
    let (args, added) = match &args.change {
        EscrowChange::AddRecipient(args) => (args, Some(keygen::read_recipient("`RECIPIENT`", &args.recipient)?)),
        EscrowChange::RemoveRecipient(args) => (args, None),
    };
    git::check_kept_out(&*world.disk, &folders.keys, &[IDENTITY])?;
    let path = keys::escrow_path(folders);
    let missing = || Error::bad_input("no such file", "make the sealing key first: `seal-secrets keygen`").in_file(&path.to_string_lossy());
    let folder = Folder::open(&*world.disk, &folders.keys)?.ok_or_else(missing)?;
    [RECIPIENTS, ESCROW].iter().try_for_each(|name| folder.check(name, Existing::Replace))?;
    if !files::exists(&*world.disk, &path)? {
        return Err(missing());
    }
    let (folder, _lock) = keys::folder_to_change(folders, world)?;
    let OpenedEscrow { encrypted, pem, list, recipients: before } = keys::open_to_change(folders, args.identity.as_deref(), world)?;
    let text = recipients::with(list.as_deref(), &before);
    let change = match added {
        Some(added) => Change { text: recipients::with(Some(&text), &[added]), adds: true },
        None => Change { text: recipients::without(&text, find(&args.recipient, &before)?), adds: false },
    };
    let after = recipients::read_recipients(&change.text)?;
    ask(folders, args, &after, world)?;
    let escrow = keys::encrypt_escrow(&pem, &after, world)?;
    let list = || keys::write(&folder, RECIPIENTS, change.text.as_bytes(), 0o644, Existing::Replace);
    if change.adds {
        list()?;
        escrow.write(&folder, Some(&encrypted))?;
    } else {
        escrow.write(&folder, Some(&encrypted))?;
        list()?;
    }
    report(folders, &change, after.len(), world)
}

/// What `recipients.txt` is going to say.
struct Change {
    text: String,
    adds: bool,
}

/// The one to be removed, who is not the last.
fn find<'r>(typed: &str, list: &'r [Recipient]) -> Result<&'r Recipient> {
    let lower = typed.to_ascii_lowercase();
    let names: Vec<String> = list.iter().map(Recipient::to_string).collect();
    let found = list.iter().zip(&names).find(|(_, name)| **name == lower).map(|(recipient, _)| recipient);
    let found = found.ok_or_else(|| {
        let help = near(&lower, names.iter().map(String::as_str))
            .map_or_else(|| format!("it is one of `{}`", names.join("`, `")), |meant| format!("did you mean `{meant}`?"));
        Error::usage("`RECIPIENT` is none of those who may open the escrow", help)
    })?;
    if list.len() == 1 {
        let help = "add another one first: `seal-secrets escrow add-recipient age1…`";
        return Err(Error::refused("the last recipient: nobody could open the escrow any more", help));
    }
    Ok(found)
}

/// Shows who will be able to open the escrow, and waits for a yes.
fn ask(folders: &Folders, args: &ChangeRecipient, after: &[Recipient], world: &mut World) -> Result<()> {
    let path = visible(&keys::escrow_path(folders).to_string_lossy());
    keys::tell_recipients(folders, after, world);
    confirm(&format!("{path} is written anew, for {} recipients", after.len()), args.yes, world)
}

fn report(folders: &Folders, change: &Change, count: usize, world: &mut World) -> Result<Outcome> {
    let path = |name: &str| visible(&folders.keys.join(name).to_string_lossy());
    let (list, escrow) = (path(RECIPIENTS), path(ESCROW));
    world.terminal.print(&format!("wrote {list} and {escrow}, encrypted to {count} recipients; read back, and it opens\n"))?;
    if !change.adds {
        world.terminal.print(
            "whoever was removed can still open every copy of the old escrow, such as one in git's history, and with it all that is sealed now\nto shut them out: `seal-secrets renew`, for a new sealing key, then `seal-secrets rotate`, for new values\n",
        )?;
    }
    Ok(Outcome::Done)
}
