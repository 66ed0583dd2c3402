//! docs/recovery.md, executed: a repository made as in README.md loses something, the runbook's commands run unchanged, and every value has
//! the same bytes again; or the tool said beforehand that this loss is final.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use seal_secrets::pipeline::certificate::SealingCertificate;
use seal_secrets::pipeline::{escrow, key_secrets};
use serde_json::Value;

use crate::common::{BINARY, GIT, Ran, Sandbox, USUAL, finish, fixture_text, needs, path_after, program, usual};

/// The commands of a part of the runbook.
fn commands(heading: &str) -> String {
    let runbook = fixture_text("../docs/recovery.md");
    let mut parts = runbook.split("\n##").map(|part| part.trim_start_matches('#').trim_start());
    let part = parts.find(|part| part.lines().next() == Some(heading)).unwrap_or_else(|| panic!("no part {heading}"));
    let blocks: Vec<&str> = part.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty(), "{heading} has no commands");
    blocks.concat()
}

/// An operator's things.
struct Site {
    /// The working tree, committed and pushed.
    work: Sandbox,
    /// `origin.git`, the copies in `offline/`, and the programs in `bin/`, among them a `kubectl` that keeps what is applied.
    elsewhere: Sandbox,
    /// The values, as `unseal` prints them.
    before: String,
    identity: PathBuf,
    /// Recipients that the shell gets as variables.
    names: Vec<(&'static str, String)>,
}

impl Site {
    fn new() -> Self {
        Site::of(Sandbox::usual_hashless())
    }

    fn of(work: Sandbox) -> Self {
        work.write("keys/.gitignore", fixture_text("../keys/.gitignore").as_bytes());
        let elsewhere = Sandbox::empty();
        for file in ["operator.agekey", "sealing.key.age"] {
            elsewhere.write_secret(&format!("offline/{file}"), work.read(&format!("keys/{file}")).as_bytes());
        }
        Site::committed(work, elsewhere, "offline/operator.agekey")
    }

    fn committed(work: Sandbox, elsewhere: Sandbox, identity: &str) -> Self {
        work.write(".gitignore", fixture_text("../.gitignore").as_bytes());
        elsewhere.write(
            "bin/kubectl",
            b"#!/bin/sh\numask 077\ncd \"$(dirname \"$0\")/..\"\necho \"$*\" >> called\ncase \"$*\" in 'apply -f -') cat > applied ;; esac\n",
        );
        elsewhere.chmod("bin/kubectl", 0o755);
        std::os::unix::fs::symlink(BINARY, elsewhere.path("bin/seal-secrets")).unwrap();
        let identity = elsewhere.path(identity);
        let mut site = Site { work, elsewhere, before: String::new(), identity, names: Vec::new() };
        site.run("git init -q && git add . && git commit -qm all && git clone -q --bare . \"$REPOSITORY\"");
        site.before = site.run("seal-secrets unseal -o json --identity \"$IDENTITY\"").stdout;
        assert_eq!(site.before.matches("\"kind\": \"Secret\"").count(), 15);
        site
    }

    fn shell(&self, folder: &Path, commands: &str) -> Ran {
        let elsewhere = |path: &str| self.elsewhere.path(path);
        let mut bash = Command::new(program("bash"));
        bash.args(["-euo", "pipefail", "-c", commands]).current_dir(folder).env_clear();
        bash.env("PATH", path_after(&elsewhere("bin"))).env("XDG_STATE_HOME", self.work.state_home()).envs(GIT);
        for (name, path) in [("OFFLINE", "offline"), ("REPOSITORY", "origin.git"), ("KUBECONFIG", "kubeconfig")] {
            bash.env(name, elsewhere(path));
        }
        bash.env("IDENTITY", &self.identity).envs(self.names.iter().cloned());
        finish(bash)
    }

    /// Commands in the working tree, which have to succeed.
    #[track_caller]
    fn run(&self, commands: &str) -> Ran {
        self.shell(&self.work.path(""), commands).expect(0)
    }

    /// Follows a part of the runbook and returns its output; `told` is the expected standard error.
    #[track_caller]
    fn follow(&self, folder: &Path, heading: &str, told: &str) -> String {
        self.try_to_follow(folder, heading).told(told).stdout
    }

    #[track_caller]
    fn try_to_follow(&self, folder: &Path, heading: &str) -> Ran {
        let ran = self.shell(folder, &commands(heading));
        let passed = "\npassed: everything that is sealed can be restored from these files\n";
        assert_eq!(ran.stdout.contains(passed), commands(heading).contains("--drill"), "{heading}: {}", ran.stdout);
        ran
    }

    /// Every value exists with the same bytes, `verify` is clean, `bootstrap` has nothing to do, and git sees no change.
    #[track_caller]
    fn is_whole(&self, folder: &Path, identity: &str) {
        let run = |commands: &str| self.shell(folder, commands).expect(0).stdout;
        assert!(run(&format!("seal-secrets unseal -o json --identity {identity}")) == self.before, "other values came back");
        run(&format!("seal-secrets verify --identity {identity}"));
        assert!(run("seal-secrets bootstrap").starts_with("nothing to do\n"));
        assert_eq!(run("git status --porcelain"), "");
    }

    /// The key Secret that reached the cluster opens everything.
    fn key_was_applied(&self, folder: &Path) {
        let commands = format!("seal-secrets unseal -o json --recovery-private-key {}", self.elsewhere.path("applied").display());
        assert!(self.shell(folder, &commands).expect(0).stdout == self.before);
    }
}

const OWN: &str = "keys/operator.agekey";

#[test]
fn the_cluster() {
    needs!("bash", "git");
    let site = Site::of(Sandbox::usual());
    let work = site.work.path("");
    site.follow(&work, "The cluster", "");
    site.key_was_applied(&work);
    site.is_whole(&work, OWN);
}

#[test]
fn the_private_part_of_keys_with_copies() {
    needs!("bash", "git");
    let site = Site::new();
    let work = site.work.path("");
    for (lost, code) in [(&[OWN][..], 3), (&["keys/sealing.key.age"], 1), (&[OWN, "keys/sealing.key.age"], 1)] {
        lost.iter().for_each(|file| site.work.remove(file));
        site.work.run(["verify", "--drill"]).expect(code);
        // Without the escrow, it is unknown how many can open it.
        site.work.run(["verify"]).finds(if lost.len() == 1 && code == 3 { &USUAL } else { &USUAL[1..] });
        site.follow(&work, "From the copies", "");
        site.is_whole(&work, OWN);
    }
}

#[cfg(feature = "cluster")]
#[test]
fn the_private_part_of_keys_with_a_live_cluster() {
    needs!("bash", "git");
    use crate::api_server::{kubeconfig, response, serve_with};
    let keys = || fixture_text("fixtures/private-keys/key-list.json").replace("\"kind\": \"List\"", "\"kind\": \"SecretList\"");
    let (port, _) = serve_with(move |_, _, _| response("200 OK", "", &keys()));
    let mut site = Site::new();
    kubeconfig(&site.elsewhere, &format!("https://127.0.0.1:{port}"), "fixtures/tls/server.crt", "");
    let work = site.work.path("");
    for lost in [&[OWN][..], &[OWN, "keys/sealing.key.age"]] {
        lost.iter().for_each(|file| site.work.remove(file));
        std::fs::remove_dir_all(site.elsewhere.path("offline")).unwrap();
        std::fs::create_dir(site.elsewhere.path("offline")).unwrap();
        site.identity = work.join(OWN);
        let ran = site.try_to_follow(&work, "From the live cluster");
        let context = format!("context fake, https://127.0.0.1:{port}\n");
        let ran = ran.told(&(context + &site.work.will_open_for(&[&site.work.own_recipient()])));
        assert!(ran.stdout.contains("the escrow opens 15 of 15 sealed values\n"), "{}", ran.stdout);
        site.is_whole(&work, OWN);
    }
}

#[test]
fn the_private_part_of_keys_with_neither_is_final_and_said_to_be() {
    needs!("bash", "git");
    let site = Site::new();
    let work = site.work.path("");
    site.work.remove(OWN);
    // A foreign identity opens nothing, and the drill says that it is over.
    site.elsewhere.write_secret("other", escrow::new_identity().unwrap().0.as_bytes());
    let drill = site.shell(&work, "seal-secrets verify --drill --identity \"$OFFLINE/../other\"").expect(1).stdout;
    assert!(drill.contains("escrow       error: the escrow is not encrypted to this identity\n"), "{drill}");
    assert!(drill.contains("0 of 15 opened\n") && drill.contains("\nfailed: not everything can be restored"), "{drill}");
    // Nor does a new escrow for those whose identities are lost.
    site.work.write("keys/recipients.txt", escrow::new_identity().unwrap().1.as_bytes());
    // `keygen` says this when it makes a key, and the runbook quotes it.
    let heading = "Without copies and without the cluster";
    let started_over = site.follow(&work, heading, "");
    for text in [started_over.as_str(), &fixture_text("../docs/recovery.md")] {
        assert!(text.contains("Without them nothing can be recovered"), "{text}");
    }
    let after = site.run("seal-secrets unseal -o json").stdout;
    assert_eq!(after.matches("\"kind\": \"Secret\"").count(), 15);
    let values = |text: &str| -> Vec<Value> {
        let list: Value = serde_json::from_str(text).unwrap();
        list["items"].as_array().unwrap().iter().map(|secret| secret["data"]["value"].clone()).collect()
    };
    assert!(values(&after).iter().zip(values(&site.before)).all(|(after, before)| *after != before), "every value is new");
    for kept in ["offline/sealing.key.age.lost", "offline/secrets.lost/dex-admin-password"] {
        assert!(site.elsewhere.path(kept).exists(), "{kept} is kept");
    }
}

#[test]
fn the_output_folder() {
    needs!("bash", "git");
    let site = Site::new();
    let work = site.work.path("");
    for loss in ["rm -r out", "rm out/secret-source/*.sealed.yaml", "git rm -rq out && git commit -qm lost"] {
        site.run(loss);
        site.work.run(["verify", "--drill"]).expect(1);
        site.follow(&work, "The output folder", "");
        // A commit undoes a committed deletion.
        site.run("git commit -qm restored || git diff --cached --quiet");
        site.is_whole(&work, OWN);
    }
}

#[test]
fn the_working_tree() {
    needs!("bash", "git");
    let site = Site::new();
    let (password, folder) = (site.work.read("secrets/dex-admin-password"), site.elsewhere.path("recovered"));
    std::fs::remove_dir_all(site.work.path("")).unwrap();
    site.follow(&site.elsewhere.path(""), "The working tree", "");
    site.is_whole(&folder, OWN);
    let copy = folder.join("secrets/dex-admin-password");
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), password);
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn one_operator() {
    needs!("bash", "git");
    let (work, elsewhere) = (Sandbox::empty().without_hash(), Sandbox::empty());
    let recipients = ["lost", "left"].map(|name| {
        let (identity, recipient) = escrow::new_identity().unwrap();
        elsewhere.write_secret(name, identity.as_bytes());
        format!("{recipient}\n")
    });
    work.write("keys/recipients.txt", recipients.concat().as_bytes());
    work.make_key(["keygen"]).expect(0);
    work.run(["bootstrap"]).expect(0);
    let mut site = Site::committed(work, elsewhere, "left");
    site.elsewhere.remove("lost");
    let (identity, successor) = escrow::new_identity().unwrap();
    site.elsewhere.write_secret("offline/successor", identity.as_bytes());
    let (left, lost) = (recipients[1].trim(), recipients[0].trim());
    let opens = |recipients: &[&str]| site.work.will_open_for(recipients);
    let told = opens(&[lost, left, &successor]) + &opens(&[left, &successor]);
    site.names = vec![("LEFT", lost.to_owned()), ("SUCCESSOR", successor)];
    let report = site.follow(&site.work.path(""), "One operator", &told);
    assert!(report.contains(&format!("opened by the identity of {};", recipients[1].trim())), "{report}");
    assert!(!report.contains("few-recipients"), "{report}");
    site.run("git commit -qam 'another operator'");
    site.is_whole(&site.work.path(""), "\"$IDENTITY\"");
    site.is_whole(&site.work.path(""), "\"$OFFLINE/successor\"");
}

#[test]
fn a_new_sealing_key() {
    needs!("bash", "git");
    let site = Site::new();
    let work = site.work.path("");
    site.follow(&work, "A new sealing key", &site.work.will_open_for(&[&site.work.own_recipient()]));
    assert!(site.elsewhere.read("applied").contains("name: sealed-secrets-key-2\n"));
    site.run("git commit -qam 'a new key'");
    site.is_whole(&work, OWN);
}

#[test]
fn the_controllers_key_only() {
    needs!("bash", "git");
    let site = Site::new();
    let work = site.work.path("");
    site.follow(&work, "The controller's key only", "");
    site.key_was_applied(&work);
    let called = site.elsewhere.read("called");
    assert!(called.starts_with("apply -f -\n-n kube-system rollout restart "), "the key comes before the restart: {called}");
    site.is_whole(&work, OWN);
}

#[test]
fn everything_but_git() {
    needs!("bash", "git");
    let work = Sandbox::usual_hashless();
    let rules = fixture_text("../keys/.gitignore");
    assert!(rules.contains("sealing.key.age\n"));
    work.write("keys/.gitignore", rules.replace("sealing.key.age\n", "").as_bytes());
    let elsewhere = Sandbox::empty();
    elsewhere.write_secret("hardware-key", work.read(OWN).as_bytes());
    let site = Site::committed(work, elsewhere, "hardware-key");
    std::fs::remove_dir_all(site.work.path("")).unwrap();
    site.follow(&site.elsewhere.path(""), "Everything but git", "");
    let folder = site.elsewhere.path("recovered");
    site.key_was_applied(&folder);
    site.is_whole(&folder, "\"$IDENTITY\"");
}

#[test]
fn each_part_of_the_runbook_has_its_test() {
    let runbook = fixture_text("../docs/recovery.md");
    let parts = runbook.split("\n##").filter(|part| part.contains("```sh\n"));
    let headings: Vec<&str> = parts.map(|part| part.trim_start_matches('#').trim_start().lines().next().unwrap()).collect();
    assert_eq!(headings.len(), 10);
    for heading in headings {
        assert!(include_str!("recovery.rs").contains(&format!("\"{heading}\"")), "{heading} is followed by no test");
    }
}

/// A drill as JSON, and its exit code.
fn drilled(sandbox: &Sandbox) -> (i32, Value) {
    let ran = sandbox.run(["verify", "--drill", "--json"]);
    (ran.code, serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{} {}", ran.stdout, ran.stderr)))
}

#[test]
fn the_report_is_dated_and_names_what_was_proven_and_by_whom() {
    let sandbox = Sandbox::bootstrapped();
    let report = sandbox.run_at(|| UNIX_EPOCH + Duration::from_secs(1_900_000_000), ["verify", "--drill"]).expect(0).stdout;
    assert!(report.starts_with("recovery drill, 2030-03-17T17:46:40Z, seal-secrets "), "{report}");
    let identity = sandbox.read(OWN);
    let recipient = identity.lines().next().unwrap().strip_prefix("# public key: ").unwrap();
    let (code, found) = drilled(&sandbox);
    assert_eq!((code, &found["drill"]["passed"], &found["version"]), (0, &true.into(), &1.into()));
    assert_eq!(found["drill"]["escrow"], serde_json::json!({ "recipient": recipient, "keys": 1 }));
    let share = |all: usize| serde_json::json!({ "good": all, "all": all });
    assert_eq!([&found["drill"]["units"], &found["drill"]["values"], &found["drill"]["pairs"]], [&share(14), &share(15), &share(1)]);
    let digest = found["drill"]["certificate"]["digest"].as_str().unwrap();
    assert!(report.contains(digest) && report.contains(recipient) && report.contains("\nvalues       15 of 15 opened\n"), "{report}");
}

#[test]
fn what_could_not_be_restored_fails_the_drill() {
    let file = "out/secret-source/dex-admin.sealed.yaml";
    type Loss<'l> = &'l dyn Fn(&Sandbox);
    let losses: [(&str, Loss<'_>, [usize; 3], Vec<&str>); 5] = [
        (
            "a file that is no SealedSecret",
            &|s| s.write(file, b"kind: Secret\n"),
            [13, 13, 0],
            usual(&["unreadable out/secret-source/dex-admin.sealed.yaml:1:1"]),
        ),
        (
            "a pair that was torn",
            &|s| s.write(file, s.read(file).split("---\n").nth(1).unwrap().as_bytes()),
            [14, 14, 0],
            usual(&["half-missing out/secret-source/dex-admin.sealed.yaml"]),
        ),
        (
            "an orphan that does not open",
            &|s| {
                let text = s.read("out/secret-source/vllm-api-key.sealed.yaml").replace("vllm-api-key", "old");
                s.write("out/secret-source/old.sealed.yaml", text.as_bytes());
                s.run(["bootstrap"]).expect(0);
            },
            [14, 15, 1],
            usual(&["cannot-open out/secret-source/old.sealed.yaml:11:12", "orphan out/secret-source/old.sealed.yaml:1:1"]),
        ),
        (
            "an escrow that is cut off",
            &|s| s.write("keys/sealing.key.age", &s.read("keys/sealing.key.age").as_bytes()[..200]),
            [0, 0, 0],
            [&USUAL[1..], &["escrow-differs keys/sealing.key.age"]].concat(),
        ),
        (
            "another certificate than the escrow's",
            &|s| s.write("keys/sealing.crt", fixture_text("fixtures/certificates/good-3072.crt").as_bytes()),
            [14, 15, 1],
            usual(&["certificate-unusable keys/sealing.crt"]),
        ),
    ];
    for (what, lose, good, findings) in losses {
        let sandbox = Sandbox::usual();
        lose(&sandbox);
        let (code, found) = drilled(&sandbox);
        sandbox.run(["verify", "--drill"]).has_found(&findings);
        Ran { code, stdout: found.to_string(), stderr: String::new() }.has_found(&findings);
        let counted = ["units", "values", "pairs"].map(|part| found["drill"][part]["good"].as_u64().unwrap() as usize);
        assert_eq!((code, &found["drill"]["passed"], counted), (1, &false.into(), good), "{what}: {found:#}");
        if what.starts_with("another certificate") {
            assert_eq!(found["drill"]["key-secret"]["error"], "the escrow does not hold the key of the certificate");
        }
    }
}

#[test]
fn a_key_secret_that_the_controller_would_not_take_is_found() {
    let certificate = |name: &str| SealingCertificate::read(fixture_text(&format!("fixtures/certificates/{name}")).as_bytes()).unwrap();
    let good = fixture_text("fixtures/private-keys/key-secret.yaml");
    assert!(key_secrets::check(&good, &certificate("good.crt")).is_ok());
    assert!(key_secrets::check(&good, &certificate("good-3072.crt")).is_err(), "another certificate's");
    let label = "sealedsecrets.bitnami.com/sealed-secrets-key: active";
    assert!(good.contains(label));
    assert!(key_secrets::check(&good.replace(label, "some: label"), &certificate("good.crt")).is_err(), "no label");
    for bad in ["secret-wrong-type", "secret-key-compromised", "secret-crt-other-key", "secret-without-tls-crt", "secret-tls-key-not-pem"] {
        let text = fixture_text(&format!("fixtures/private-keys/{bad}.yaml"));
        assert!(key_secrets::check(&text, &certificate("good.crt")).is_err(), "{bad}");
    }
}
