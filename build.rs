//! The build details in `--version`: the commit, the features and the target of this binary.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_CFG_WINDOWS").is_some() {
        println!("cargo::error=seal-secrets does not run on Windows itself: build and run it in WSL, as on Linux");
    }
    println!("cargo::rerun-if-env-changed=SEAL_SECRETS_COMMIT");
    // Only what builds for others sets it: a build that asked git would compile everything again after each commit.
    let commit = std::env::var("SEAL_SECRETS_COMMIT").unwrap_or_else(|_| "unknown".to_owned());
    let features = if std::env::var_os("CARGO_FEATURE_CLUSTER").is_some() { "cluster" } else { "none" };
    let [number, target] = ["CARGO_PKG_VERSION", "TARGET"].map(|name| std::env::var(name).unwrap_or_default());
    println!("cargo::rustc-env=SEAL_SECRETS_BUILD={number} (commit {commit}, features {features}, target {target})");
}
