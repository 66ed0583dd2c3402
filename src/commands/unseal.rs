//! `unseal`: recovery, with the escrow or with backups of the controller's keys.

use super::Outcome;
use crate::cli::{Output, Unseal};
use crate::manifest::sealed_secret::{self, SealedSecret};
use crate::manifest::{secret, text};
use crate::model::{Error, Name, Result, SecretValue};
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
    let open = |(file, secret)| Ok((secret, unseal::open_all(&keys, secret).map_err(|error| error.in_file(file))?));
    let opened = wanted.into_iter().map(open).collect::<Result<Vec<_>>>()?;
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

fn print_bare(name: &Name, opened: &[(&SealedSecret, Vec<(String, SecretValue)>)], world: &mut World) -> Result<()> {
    let [(_, values)] = opened else {
        let what = format!("{} SealedSecrets are named `{name}`", opened.len());
        return Err(Error::bad_input(what, "pass the file with `-f FILE`"));
    };
    let [(_, value)] = values.as_slice() else {
        let help = "drop `--value`, and take the one you need from the Secret";
        return Err(Error::bad_input(format!("`{name}` has {} values", values.len()), help));
    };
    world.terminal.print_bytes(value.expose())?;
    if world.terminal.stdout_is_terminal { world.terminal.print("\n") } else { Ok(()) }
}

fn read_sealed(workspace: &Workspace, args: &Unseal, world: &mut World) -> Result<Vec<(String, SealedSecret)>> {
    let mut all = Vec::new();
    if args.files.is_empty() {
        for (path, secrets) in workspace.sealed("pass the folder with `--out DIR`, or a file with `-f FILE`")?.sealed {
            let file = workspace.places.in_out(&path);
            all.extend(secrets.into_iter().map(|secret| (file.clone(), secret)));
        }
    }
    for path in &args.files {
        let (name, bytes) = workspace.read_input(path, false, world)?;
        let help = text::one_side(&name);
        let secrets = text::decode_or(&bytes, &help).and_then(sealed_secret::read).map_err(|error| error.in_file(&name))?;
        all.extend(secrets.into_iter().map(|secret| (name.clone(), secret)));
    }
    Ok(all)
}

fn select<'s>(sealed: &'s [(String, SealedSecret)], args: &Unseal) -> Result<Vec<(&'s str, &'s SealedSecret)>> {
    let names: Vec<&Name> = args.value.iter().chain(&args.names).collect();
    if names.iter().any(|name| !sealed.iter().any(|(_, secret)| secret.name == **name)) {
        let help = "`seal-secrets contract` lists the keys, `seal-secrets plan` what is missing";
        return Err(Error::usage("no sealed value for that key here", help));
    }
    let wanted = sealed.iter().filter(|(_, secret)| names.is_empty() || names.contains(&&secret.name));
    Ok(wanted.map(|(file, secret)| (file.as_str(), secret)).collect())
}
