//! `unseal`: recovery, with the escrow or with backups of the controller's keys.

use super::Outcome;
use crate::cli::{Output, Unseal};
use crate::manifest::blobs::{self, ForeignSealedSecret};
use crate::manifest::sealed_secret::SealedSecret;
use crate::manifest::secret::{self, Unsealed};
use crate::manifest::{text, yaml};
use crate::model::{Error, Hints, KeyName, Result, visible};
use crate::pipeline::private_key::SealingKey;
use crate::pipeline::unseal;
use crate::workspace::Workspace;
use crate::world::World;

pub(super) fn run(workspace: &Workspace, args: &Unseal, world: &mut World) -> Result<Outcome> {
    world.terminal.check_output()?;
    world.terminal.check_reveal(args.reveal, &workspace.command("unseal | kubectl apply -f -"))?;
    let asked = args.files.iter().chain(&args.opening.recovery_private_key).filter(|path| path.as_os_str() == "-");
    if asked.count() > 1 {
        return Err(Error::usage("standard input is asked for twice", "name a file for one of the two"));
    }
    let sealed = read_sealed(workspace, args, world)?;
    let wanted = select(&sealed, args)?;
    let keys = workspace.openers(args.opening.identity.as_deref(), &args.opening.recovery_private_key, world)?;
    let mut opened = wanted.into_iter().map(|one| one.open(&keys)).collect::<Result<Vec<_>>>()?;
    for one in &opened {
        let renders = "the controller renders more data from its template; only the sealed keys are printed";
        let hidden = "a YAML alias or merge key hides a part of its template; labels and annotations may be missing";
        let odd = [(one.template.renders, renders), (one.template.hidden, hidden)];
        for (_, what) in odd.iter().filter(|(is_so, _)| *is_so) {
            world.terminal.warn(&format!("{}: {what}", visible(&one.name)));
        }
    }
    opened.iter_mut().for_each(|one| one.values.retain(|(key, _)| is_asked(args, &one.name, key)));
    if let Some(name) = &args.value {
        print_bare(name, &opened, world)?;
        return Ok(Outcome::Done);
    }
    let format = match args.output {
        Output::Yaml => secret::Format::Yaml,
        Output::Json => secret::Format::Json,
    };
    world.terminal.print(&secret::write_secrets(&opened, format))?;
    Ok(Outcome::Done)
}

/// Whether a value is printed: all are, unless some of its Secret's values were selected.
fn is_asked(args: &Unseal, secret: &str, data_key: &str) -> bool {
    let mut named = args.names.iter().chain(&args.value).filter(|name| name.secret() == secret).peekable();
    let whole = named.peek().is_none() || args.names.iter().chain(&args.value).any(|name| name.as_str() == secret);
    whole || named.any(|name| name.property() == data_key)
}

fn print_bare(name: &KeyName, opened: &[Unsealed], world: &mut World) -> Result<()> {
    let [Unsealed { values, .. }] = opened else {
        let what = format!("{} SealedSecrets are named `{}`", opened.len(), name.secret());
        return Err(Error::bad_input(what, "pass the file with `-f FILE`"));
    };
    let [(_, value)] = values.as_slice() else {
        let help = match values.first() {
            Some((key, _)) => format!("name one of them, such as `--value {}/{}`", name.secret(), visible(key)),
            None => "drop `--value`, and see what the Secret holds".to_owned(),
        };
        return Err(Error::bad_input(format!("`{name}` has {} values", values.len()), help));
    };
    world.terminal.print_bytes(value.expose())?;
    if world.terminal.stdout_is_terminal { world.terminal.print("\n") } else { Ok(()) }
}

/// A SealedSecret and its file.
struct Found {
    file: String,
    sealed: Sealed,
}

enum Sealed {
    Ours(SealedSecret),
    Foreign(ForeignSealedSecret),
}

impl Found {
    fn name(&self) -> &str {
        match &self.sealed {
            Sealed::Ours(one) => one.name.as_str(),
            Sealed::Foreign(one) => &one.name,
        }
    }

    fn open(&self, keys: &[SealingKey]) -> Result<Unsealed> {
        let opened = match &self.sealed {
            Sealed::Ours(one) => unseal::unseal(keys, one),
            Sealed::Foreign(one) => unseal::unseal_foreign(keys, one),
        };
        opened.map_err(|error| error.in_file(&self.file))
    }
}

fn read_sealed(workspace: &Workspace, args: &Unseal, world: &mut World) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    if args.files.is_empty() {
        for (path, secrets) in workspace.sealed("pass the folder with `--out DIR`, or a file with `-f FILE`")?.sealed {
            let file = workspace.places.in_out(&path);
            all.extend(secrets.into_iter().map(|one| Found { file: file.clone(), sealed: Sealed::Ours(one) }));
        }
    }
    let hints = Hints { namespaces: workspace.namespaces_beside(&args.files)?, ..args.bound.hints() };
    for path in &args.files {
        let (file, bytes) = workspace.read_input(path, false, world)?;
        let text = text::decode_or(&bytes, &text::one_side(&file)).map_err(|error| error.in_file(&file))?;
        let found = blobs::find(text, &hints);
        if found.is_empty() {
            yaml::read_foreign(text).map_err(|error| error.in_file(&file))?;
            return Err(Error::bad_input("no sealed value", "pass a file with SealedSecrets").in_file(&file));
        }
        all.extend(found.into_iter().map(|one| Found { file: file.clone(), sealed: Sealed::Foreign(one) }));
    }
    Ok(all)
}

fn select<'s>(sealed: &'s [Found], args: &Unseal) -> Result<Vec<&'s Found>> {
    let names: Vec<&str> = args.value.iter().chain(&args.names).map(KeyName::secret).collect();
    if names.iter().any(|name| !sealed.iter().any(|one| one.name() == *name)) {
        let help = "`seal-secrets contract` lists the keys, `seal-secrets plan` what is missing";
        return Err(Error::usage("no sealed value for that key here", help));
    }
    Ok(sealed.iter().filter(|one| names.is_empty() || names.contains(&one.name())).collect())
}
