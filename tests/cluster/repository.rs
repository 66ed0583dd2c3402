//! A repository like an operator's: `keys/` and `out/`, made offline by the binary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

/// Where all of these tests remember which certificate they accepted for which keys folder.
pub fn state_home() -> &'static Path {
    static ONE: OnceLock<TempDir> = OnceLock::new();
    ONE.get_or_init(|| tempfile::Builder::new().prefix("seal-secrets-cluster").tempdir().expect("a temporary folder")).path()
}

/// The folder with `keys/` and `out/`.
pub struct Repository {
    folder: TempDir,
    /// Each key that was made, with its value as in a Secret's data.
    pub values: BTreeMap<String, String>,
}

impl Repository {
    /// After `keygen` and `bootstrap`, with nothing provided; the same for every test.
    pub fn bootstrapped() -> &'static Repository {
        static ONE: OnceLock<Repository> = OnceLock::new();
        ONE.get_or_init(Repository::new)
    }

    /// An empty repository.
    pub fn empty() -> Repository {
        let folder = tempfile::Builder::new().prefix("seal-secrets-cluster").tempdir().expect("a temporary folder");
        Repository { folder, values: BTreeMap::new() }
    }

    /// One with its own contract, set in its settings.
    pub fn with_contract(contract: &str) -> Repository {
        let repository = Repository::empty();
        std::fs::create_dir(repository.path(".git")).expect("a repository");
        std::fs::write(repository.path("contract.yaml"), contract).expect("the contract is written");
        std::fs::write(repository.path("seal-secrets.yaml"), "version: 1\ncontract: contract.yaml\n").expect("the settings are written");
        repository.run(&["keygen"]);
        repository.run(&["bootstrap"]);
        repository
    }

    /// One that a test may change.
    pub fn new() -> Repository {
        let mut repository = Repository::empty();
        repository.run(&["keygen"]);
        repository.run(&["bootstrap"]);
        let secrets: Value = serde_json::from_slice(&repository.run(&["unseal", "-o", "json"])).expect("`unseal -o json` is JSON");
        for secret in secrets["items"].as_array().expect("`unseal` prints a List") {
            let key = secret["metadata"]["name"].as_str().expect("a Secret has a name");
            let value = repository.run(&["unseal", "--value", key]);
            repository.values.insert(key.to_owned(), STANDARD.encode(value));
        }
        repository
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// What the binary prints when run here.
    pub fn run(&self, args: &[&str]) -> Vec<u8> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seal-secrets"));
        let ran =
            command.args(args).current_dir(self.folder.path()).env("XDG_STATE_HOME", state_home()).output().expect("seal-secrets starts");
        assert!(ran.status.success(), "seal-secrets {}:\n{}", args.join(" "), String::from_utf8_lossy(&ran.stderr));
        ran.stdout
    }

    /// The digest of its certificate, as its first sealed file names it.
    pub fn digest(&self) -> String {
        let unit = self.read("out/secret-source/vllm-api-key.sealed.yaml");
        unit.split_whitespace().find(|word| word.starts_with("sha256:")).expect("it names its certificate").to_owned()
    }

    /// The contract.
    pub fn contract(&self) -> Value {
        serde_json::from_slice(&self.run(&["contract", "--format", "json"])).expect("`contract --format json` is JSON")
    }

    /// The steps of `out/INSTALL.md`.
    pub fn install_steps(&self) -> Vec<Step> {
        let text = self.read("out/INSTALL.md");
        let steps: Vec<Step> = text.split("\n## ").skip(1).map(Step::new).collect();
        assert!(steps.iter().map(|step| step.number).eq(0..steps.len()), "the steps are numbered");
        steps
    }
}

/// A step of `out/INSTALL.md`.
pub struct Step {
    pub number: usize,
    text: String,
}

impl Step {
    fn new(text: &str) -> Step {
        let number = text.split('.').next().and_then(|number| number.parse().ok());
        Step { number: number.expect("a step begins with its number"), text: text.to_owned() }
    }

    /// Its fenced blocks in this language.
    pub fn blocks(&self, language: &str) -> impl Iterator<Item = &str> {
        blocks(&self.text, language)
    }

    /// The first of them.
    pub fn block(&self, language: &str) -> Option<&str> {
        self.blocks(language).next()
    }
}

fn blocks<'t>(text: &'t str, language: &str) -> impl Iterator<Item = &'t str> + use<'t> {
    let fence = format!("```{language}\n");
    let starts: Vec<usize> = text.match_indices(&fence).map(|(at, fence)| at + fence.len()).collect();
    starts.into_iter().map(|start| text[start..].split("```").next().unwrap_or_default())
}

/// The commands of a part of `docs/recovery.md`.
pub fn recovery(heading: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/recovery.md");
    let runbook = std::fs::read_to_string(path).expect("docs/recovery.md");
    let part = runbook.split("\n## ").find(|part| part.lines().next() == Some(heading));
    blocks(part.unwrap_or_else(|| panic!("docs/recovery.md has no part {heading}")), "sh").collect()
}
