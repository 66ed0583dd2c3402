//! The documents: every console block is run, in order, in one folder, and prints what the document shows.

use std::process::Command;

use crate::common::{BINARY, Sandbox, finish, fixture, fixture_text, needs, path, path_after, program};

/// What differs from run to run: certificate digests, recipients and dates; and the version.
fn normal(text: &str) -> String {
    let digest = regex::Regex::new("sha256:[0-9a-f]{64}").unwrap();
    let date = regex::Regex::new("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z").unwrap();
    let recipient = regex::Regex::new("age1[0-9a-z]{58}|seal-secrets [0-9.]+").unwrap();
    recipient.replace_all(&date.replace_all(&digest.replace_all(text, "sha256:…"), "DATE"), "…").into_owned()
}

/// The commands of all console blocks, each with the output under it.
fn commands(readme: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for block in readme.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match (line.strip_prefix("$ "), found.last_mut()) {
                (Some(command), _) => found.push((command.to_owned(), String::new())),
                (None, Some((_, output))) => output.push_str(&format!("{line}\n")),
                (None, None) => panic!("output before the first command"),
            }
        }
    }
    found
}

#[test]
fn every_console_block_shows_what_happens() {
    needs!("make", "git");
    let sandbox = Sandbox::empty();
    std::fs::copy(fixture("../Makefile"), sandbox.path("Makefile")).unwrap();
    let platform = Command::new("cp").arg("-a").arg(fixture("fixtures/platform")).arg(sandbox.path("platform")).status();
    assert!(platform.unwrap().success());
    // One story, on three pages.
    run_blocks("README.md", &sandbox, 2);
    run_blocks("docs/daily-use.md", &sandbox, 4);
    run_blocks("docs/on-your-platform.md", &sandbox, 6);
    run_blocks("docs/recovery.md", &Sandbox::usual(), 1);
    // The contract is on the page itself.
    let shop = Sandbox::with_usual_keys();
    let page = fixture_text("../docs/contract.md");
    shop.write("shop.yaml", page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap().as_bytes());
    run_blocks("docs/contract.md", &shop, 5);
}

#[test]
fn the_page_about_contracts_has_every_recipe() {
    let page = fixture_text("../docs/contract.md");
    let row = regex::Regex::new("(?m)^\\| `([a-z0-9-]+): ").unwrap();
    let recipes: Vec<&str> = row.captures_iter(&page).map(|found| found.get(1).unwrap().as_str()).collect();
    assert_eq!(recipes, seal_secrets::manifest::contract_recipes::ALL);
}

fn run_blocks(document: &str, sandbox: &Sandbox, count: usize) {
    let readme = fixture_text(&format!("../{document}"));
    if !sandbox.path("bin").exists() {
        sandbox.write("bin/.keep", b"");
        std::os::unix::fs::symlink(BINARY, sandbox.path("bin/seal-secrets")).unwrap();
    }
    let mut blessed = readme.clone();
    let commands = commands(&readme);
    assert_eq!(commands.len(), count);
    for (command, shown) in &commands {
        let mut shell = Command::new(program("sh"));
        // The binary is built already: `MAKEFLAGS` tells `make` so.
        shell.args(["-c", command]).current_dir(sandbox.path("")).env_clear().env("XDG_STATE_HOME", sandbox.state_home());
        shell.env("PATH", path_after(&sandbox.path("bin"))).env("MAKEFLAGS", format!("CARGO=true BINARY={BINARY}"));
        let mut output = finish(shell).expect(0).stdout;
        if !output.ends_with('\n') {
            output.push('\n');
        }
        if std::env::var_os("BLESS").is_some() && normal(&output) != normal(shown) {
            blessed = blessed.replace(&format!("$ {command}\n{shown}"), &format!("$ {command}\n{output}"));
            continue;
        }
        assert_eq!(normal(&output), normal(shown), "`$ {command}`; `make bless` renews {document}");
    }
    if blessed != readme {
        std::fs::write(fixture(&format!("../{document}")), blessed).unwrap();
    }
}

#[test]
fn the_two_commands_that_do_all_set_up_are_what_ci_runs() {
    needs!("make");
    let readme = fixture_text("../README.md");
    assert!(
        readme.contains("```sh\nmake seal-secrets   # build (at most 4 minutes on two cores), then do the main job\nmake test           # build (at most 6 minutes), then run every test\n```")
    );
    let dry = |target: &str| {
        let mut make = Command::new(program("make"));
        make.args(["-n", target]).current_dir(fixture("..")).env_clear().env("PATH", path());
        finish(make).expect(0).stdout
    };
    assert!(dry("test").contains(" cargo test --locked;"));
    assert!(dry("seal-secrets").contains("cargo build --profile first") && dry("check").contains("cargo test --locked"));
    // A newcomer's run comes first, before anything is installed.
    let ci = fixture_text("../.ci/run");
    let at = |text: &str| ci.find(text).unwrap_or_else(|| panic!("CI has no `{text}`"));
    assert!(
        at("PATH=\"$bare\" make test") < at("apt-get install")
            && at("go install") < at("make check")
            && at("make check") < at("make cluster-test")
    );
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = fixture_text("../Makefile");
    let named = regex::Regex::new(r"(?m)(?:^|`|run: (?:sudo .* )?)make ([a-z][a-z-]*)").unwrap();
    for document in ["README.md", "CONTRIBUTING.md", "docs/releasing.md", ".github/workflows/release.yml"] {
        let text = fixture_text(&format!("../{document}"));
        assert!(named.is_match(&text), "{document}");
        for found in named.captures_iter(&text) {
            assert!(makefile.contains(&format!("\n{}:", &found[1])), "{document}: `make {}`", &found[1]);
        }
    }
}

#[test]
fn version_says_which_build_this_is() {
    let run = |flag: &str| {
        let mut command = Command::new(BINARY);
        command.arg(flag).env_clear();
        finish(command).expect(0).stdout
    };
    let number = env!("CARGO_PKG_VERSION");
    assert_eq!(run("-V"), format!("seal-secrets {number}\n"));
    // A build for others knows its commit.
    let features = if cfg!(feature = "cluster") { "cluster" } else { "none" };
    let begin = format!("seal-secrets {number} (commit unknown, features {features}, target ");
    let said = run("--version");
    let target = said.strip_prefix(&begin).and_then(|rest| rest.strip_suffix(")\n"));
    assert!(target.is_some_and(|target| target.starts_with(std::env::consts::ARCH)), "{said}");
}

#[test]
fn every_link_of_the_documents_leads_to_a_file() {
    let link = regex::Regex::new(r"\]\(([^)#:]+)\)").unwrap();
    let own = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "THREAT_MODEL.md", "keys/README.md", "out/README.md"];
    let pages = std::fs::read_dir(fixture("../docs")).unwrap().map(|entry| format!("docs/{}", entry.unwrap().file_name().display()));
    let pages: Vec<String> = pages.filter(|page| page.ends_with(".md")).collect();
    let readme = fixture_text("../README.md");
    assert!(readme.lines().count() <= 150 && pages.iter().all(|page| readme.contains(&format!("]({page})"))), "{pages:?}");
    for document in own.into_iter().map(str::to_owned).chain(pages) {
        let text = fixture_text(&format!("../{document}"));
        let folder = fixture(&format!("../{document}")).parent().unwrap().to_owned();
        for found in link.captures_iter(&text) {
            assert!(folder.join(&found[1]).exists(), "{document}: {}", &found[1]);
        }
    }
}
