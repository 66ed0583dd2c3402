//! kubectl, with the credentials of one kubeconfig.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One kubeconfig, and how to use it.
#[derive(Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// Writes the kubeconfig of a bearer of this token. Its only context has the file's name.
    pub fn new(programs: &Path, file: PathBuf, ca: &Path, token: &str) -> Kubectl {
        let context = file.file_name().expect("a kubeconfig has a name").to_string_lossy();
        let text = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": context,
            "clusters": [{ "name": "cluster", "cluster": { "server": "https://192.0.2.10", "certificate-authority": ca } }],
            "users": [{ "name": "user", "user": { "token": token } }],
            "contexts": [{ "name": context, "context": { "cluster": "cluster", "user": "user" } }],
        });
        std::fs::write(&file, text.to_string()).expect("the kubeconfig is written");
        Kubectl { program: programs.join("kubectl"), kubeconfig: file }
    }

    /// The file.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Gives a command these credentials. kubectl's cache of an API server stays with the cluster.
    pub fn lend<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("KUBECONFIG", &self.kubeconfig).env("KUBECACHEDIR", self.kubeconfig.with_extension("cache"))
    }

    /// kubectl with these arguments, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        self.lend(&mut command).args(args);
        command
    }

    /// What it prints, or what it complains about.
    pub fn run(&self, args: &[&str], input: &str) -> Result<String, String> {
        run(&mut self.command(args), input)
    }
}

/// Runs a command with this on its standard input: what it prints, or what it complains about.
pub fn run(command: &mut Command, input: &str) -> Result<String, String> {
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| format!("{command:?}: {error}"))?;
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    let output = std::thread::scope(|scope| {
        // In parallel with reading: either pipe may fill up. A command may ignore its input, which breaks the pipe.
        scope.spawn(move || stdin.write_all(input.as_bytes()));
        child.wait_with_output()
    });
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
