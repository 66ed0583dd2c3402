//! Argo CD and Flux accept what `gitops:` writes: their CRDs know each of its fields.

use std::path::Path;

use crate::harness::{Cluster, SOON, cache};
use crate::repository::Repository;

/// Each tool, and what is written for it.
const WRITTEN: [(&str, &[&str]); 2] =
    [("argocd", &["argocd-application.yaml", "argocd-sealed-secrets.yaml"]), ("flux", &["flux-kustomizations.yaml"])];

#[test]
fn what_a_gitops_tool_is_given_is_what_it_takes() {
    let cluster = Cluster::start();
    cluster.kubectl(&["apply", "--server-side", "-f", &cache().join("gitops-crds").to_string_lossy()]);
    for namespace in ["argocd", "flux-system"] {
        cluster.create_namespace(namespace);
    }
    for (tool, files) in WRITTEN {
        let repository = Repository::empty();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/platform"), &repository.path(""));
        std::fs::create_dir(repository.path(".git")).expect("a repository");
        let settings = format!("version: 1\nplatform: .\nenvironment: prod\nout: sealed\ngitops: {tool}\n");
        std::fs::write(repository.path("seal-secrets.yaml"), settings).expect("the settings are written");
        repository.run(&["keygen"]);
        repository.run(&["bootstrap"]);
        for file in files {
            let path = repository.path("sealed").join(file);
            let ask = || cluster.try_kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", &path.to_string_lossy()]);
            // The API server learns the schema of a CRD a little after it is established.
            let mut last = String::new();
            let taken = crate::process::poll(SOON, || ask().map_err(|why| last = why).ok());
            let said = taken.unwrap_or_else(|| panic!("{file}: {last}"));
            assert!(!said.is_empty() && said.lines().all(|line| line.ends_with("(server dry run)")), "{file}: {said}");
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&to).expect("a folder is made");
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).expect("a file is copied");
        }
    }
}
