//! `rotate`: new values, whole pairs, nothing else; and a write-once value only if it is named.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::common::{Sandbox, USUAL, at_the_prompt, git, needs, usual};

/// The files that differ from what they were.
fn changed(sandbox: &Sandbox, before: &std::collections::BTreeMap<std::path::PathBuf, (u32, i64, i64, Vec<u8>)>) -> BTreeSet<String> {
    let root = sandbox.path("");
    let after = sandbox.snapshot();
    let files = after.iter().filter(|(path, content)| path.is_file() && before.get(*path) != Some(content));
    files.map(|(path, _)| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_key_gets_a_new_value_and_no_other_file_changes() {
    let sandbox = Sandbox::bootstrapped();
    let (old, before) = (sandbox.value("vllm-api-key"), sandbox.snapshot());
    let plan = sandbox.run(["rotate", "vllm-api-key", "--dry-run"]).expect(0).stdout;
    assert_eq!(before, sandbox.snapshot());
    let ran = sandbox.run(["rotate", "vllm-api-key", "--yes"]).expect(0);
    for told in [
        "seal   out/secret-source/vllm-api-key.sealed.yaml (replaced)\n",
        "kubectl -n litellm annotate externalsecret litellm-secrets force-sync=$(date +%s) --overwrite\n",
        "vllm-api-key: read by litellm/litellm-secrets, serving/vllm-api-key; restart vLLM, the coder models and litellm together\n",
    ] {
        assert!(plan.contains(told) && ran.stdout.contains(told), "{told}\n{}", ran.stdout);
    }
    assert_eq!(changed(&sandbox, &before), BTreeSet::from(["out/secret-source/vllm-api-key.sealed.yaml".to_owned()]));
    let new = sandbox.value("vllm-api-key");
    assert!(new != old && new.len() == old.len());
    let settled = sandbox.snapshot();
    sandbox.run(["bootstrap"]).expect(0);
    assert_eq!(settled, sandbox.snapshot(), "`bootstrap` finds nothing to do");
    sandbox.run(["verify", "--identity", "keys/operator.agekey"]).finds(&USUAL);
}

#[test]
fn a_pair_rotates_as_one_by_either_name_and_the_operator_gets_a_copy() {
    for name in ["dex-admin-password", "dex-admin-hash"] {
        let sandbox = Sandbox::bootstrapped();
        let (old, before) = (sandbox.value("dex-admin-password"), sandbox.snapshot());
        sandbox.run(["rotate", name, "--yes"]).expect(0);
        let new = sandbox.value("dex-admin-password");
        assert!(new != old && bcrypt::verify(&new, &sandbox.value("dex-admin-hash")).unwrap());
        assert_eq!(sandbox.read("secrets/dex-admin-password"), new);
        let files = ["out/secret-source/dex-admin.sealed.yaml", "secrets/dex-admin-password"];
        assert_eq!(changed(&sandbox, &before), files.map(str::to_owned).into());
    }
}

#[test]
fn nothing_is_replaced_unless_somebody_says_so() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.write_secret("token", b"hf_abcdefghijklmnopqrstuvwxyz");
    let before = sandbox.snapshot();
    let rows: [(&[&str], i32, &str); 10] = [
        (&["vllm-api-key"], 4, "--yes"),
        (&["litellm-salt-key", "--yes"], 4, "`--destroys-data litellm-salt-key`"),
        (&["vllm-api-key", "litellm-salt-key", "--yes"], 4, "encrypts the provider credentials"),
        (&["--destroys-data", "litellm-salt-key"], 4, "type the name at a terminal"),
        (&["--destroys-data", "vllm-api-key", "--yes"], 2, "`vllm-api-key` is not write-once"),
        (&["vllm-api-kye", "--yes"], 2, "did you mean `vllm-api-key`?"),
        (&["hf-token", "--yes"], 2, "`--provide hf-token=FILE`"),
        (&["--provide", "hf-token=token", "--yes"], 3, "`hf-token` is not sealed yet"),
        (&["--older-than", "90", "--yes"], 2, "such as `90d`"),
        (&["--yes"], 2, "no key to rotate"),
    ];
    for (args, code, says) in rows {
        let ran = sandbox.run([&["rotate"], args].concat()).expect(code);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
        assert_eq!(before, sandbox.snapshot(), "{args:?}");
    }
    let old = sandbox.value("litellm-salt-key");
    sandbox.run(["rotate", "--destroys-data", "litellm-salt-key", "--yes"]).expect(0);
    assert_ne!(sandbox.value("litellm-salt-key"), old);
}

#[test]
fn at_a_terminal_the_plan_is_shown_and_the_operator_answers() {
    needs!("script");
    let sandbox = Sandbox::bootstrapped();
    let before = sandbox.snapshot();
    for (args, prompt, answer) in [
        ("rotate vllm-api-key", "Type yes: ", "y\r"),
        ("rotate --destroys-data litellm-salt-key", "Type its name: ", "yes\r"),
        ("rotate --destroys-data litellm-salt-key", "Type its name: ", "n8n-encryption-key\r"),
    ] {
        let shown = at_the_prompt(&sandbox, args, &[(prompt, answer)]);
        assert!(shown.contains("(replaced)") && shown.contains("code=4"), "{args}: {shown}");
        assert_eq!(before, sandbox.snapshot(), "{args}");
    }
    let both = "rotate vllm-api-key --destroys-data litellm-salt-key";
    let shown = at_the_prompt(&sandbox, both, &[("Type its name: ", "litellm-salt-key\r"), ("Type yes: ", "yes\r")]);
    assert!(shown.contains("encrypts the provider credentials in LiteLLM's database; all of that is lost"), "{shown}");
    assert!(shown.contains("code=0"), "{shown}");
    assert_eq!(changed(&sandbox, &before).len(), 2);
}

#[test]
fn a_provided_value_is_replaced_by_one_that_is_provided() {
    let sandbox = Sandbox::bootstrapped();
    for (command, value) in [(&["bootstrap"][..], "hf_abcdefghijklmnopqrstuvwxyz"), (&["rotate", "--yes"], "hf_zyxwvutsrqponmlkjihgfedcba")]
    {
        sandbox.write_secret("token", value.as_bytes());
        sandbox.run([command, &["--provide", "hf-token=token"]].concat()).expect(0);
        assert_eq!(sandbox.value("hf-token"), value);
    }
}

#[test]
fn what_is_older_is_rotated_by_the_day_of_its_value() {
    let sandbox = Sandbox::bootstrapped();
    fn day(n: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs((21_000 + n) * 86_400)
    }
    let at = |clock: fn() -> SystemTime, args: &[&str]| sandbox.run_at(clock, args);
    let unit = "out/secret-source/vllm-api-key.sealed.yaml";
    at(|| day(0), &["rotate", "vllm-api-key", "--yes"]).expect(0);
    assert!(sandbox.read(unit).contains("seal-secrets/made: \"2027-07-01\"\n"), "{}", sandbox.read(unit));
    // The age of an imported value is unknown.
    sandbox.write_secret("given.env", b"VLLM_API_KEY=x\nLITELLM_DB_PASSWORD=y\n");
    let import = ["import", "--env-file", "given.env", "--replace", "litellm-db-password", "--yes"];
    at(|| day(0), &import).kept(&["vllm-api-key"]);
    // All others are younger than that: they were made today.
    let rest: Vec<String> = std::fs::read_dir(sandbox.path("out/secret-source"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    for name in rest.iter().filter(|name| name.ends_with(".sealed.yaml")) {
        let (path, text) = (format!("out/secret-source/{name}"), sandbox.read(&format!("out/secret-source/{name}")));
        if !text.contains("2027-07-01") && text.contains("seal-secrets/made") {
            let at = text.find("seal-secrets/made: \"").unwrap() + 20;
            sandbox.write(&path, text.replace(&text[at..at + 10], "2027-09-01").as_bytes());
        }
    }
    let later: fn() -> SystemTime = || day(91);
    let ran = at(later, &["rotate", "--older-than", "90d", "--yes"]).expect(0);
    assert!(
        ran.stdout.contains("vllm-api-key.sealed.yaml (replaced)") && ran.stdout.contains("litellm-db-password.sealed.yaml (replaced)")
    );
    assert!(ran.stdout.contains("done: 2 values"), "{}", ran.stdout);
    assert!(sandbox.read(unit).contains("2027-09-30"));
    assert!(at(later, &["rotate", "--older-than", "90d", "--yes"]).expect(0).stdout.starts_with("nothing to do"));
    // A year later, everything except write-once values.
    let stays = ["litellm-salt-key", "n8n-encryption-key"].map(|key| format!("`{key}` is older, and stays: it is write-once"));
    let ran = at(|| day(500), &["rotate", "--older-than", "90d", "--dry-run"]).warned(&[&stays[0], &stays[1]]);
    assert!(ran.stdout.contains("dex-admin.sealed.yaml (replaced)") && !ran.stdout.contains("litellm-salt-key.sealed.yaml"));
}

#[test]
fn git_revert_brings_the_old_value_back() {
    needs!("git");
    let sandbox = Sandbox::hashless();
    let git = |args: &[&str]| git(&sandbox, args);
    git(&["init", "--quiet"]);
    git(&["add", "out", "keys/sealing.crt", "keys/sealing.key.age"]);
    git(&["commit", "--quiet", "-m", "first"]);
    let (old, hash) = (sandbox.value("dex-admin-password"), sandbox.value("dex-admin-hash"));
    sandbox.run(["rotate", "dex-admin-password", "--yes"]).expect(0);
    git(&["commit", "--quiet", "-am", "rotated"]);
    assert_ne!(sandbox.value("dex-admin-password"), old);
    git(&["revert", "--no-edit", "HEAD"]);
    assert_eq!((sandbox.value("dex-admin-password"), sandbox.value("dex-admin-hash")), (old, hash));
    // The operator's copy has the value that was reverted.
    let verify = || sandbox.run(["verify", "--identity", "keys/operator.agekey"]);
    verify().finds(&usual(&["copy-differs secrets/dex-admin-password"]));
    sandbox.run(["bootstrap", "--identity", "keys/operator.agekey"]).expect(0);
    let ran = verify().finds(&USUAL);
    assert!(ran.stdout.contains("good: "), "{}", ran.stdout);
    // A clone with a single commit keeps write-once values, too.
    let clone = sandbox.path("clone");
    git(&["clone", "--quiet", "--depth", "1", &format!("file://{}", sandbox.path("").display()), clone.to_str().unwrap()]);
    std::fs::remove_file(clone.join("out/secret-source/litellm-salt-key.sealed.yaml")).unwrap();
    let ran = sandbox.run(["bootstrap", "--keys", "clone/keys", "--out", "clone/out"]).expect(4);
    assert!(ran.stderr.contains("clone checkout -- out/secret-source/litellm-salt-key.sealed.yaml"), "{}", ran.stderr);
}

#[test]
fn programs_learn_who_reads_it_and_what_to_restart() {
    let sandbox = Sandbox::bootstrapped();
    let json = sandbox.run(["rotate", "dex-admin-hash", "--dry-run", "--json"]).expect(0).stdout;
    let plan: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(plan["changes"][0]["keys"], serde_json::json!(["dex-admin-password", "dex-admin-hash"]));
    assert_eq!(plan["changes"].as_array().unwrap().len(), 1);
    let hash = &plan["after"][1];
    assert_eq!(
        (&hash["key"], &hash["readers"][0]["target"], &hash["restart"]),
        (&"dex-admin-hash".into(), &"dex-secrets".into(), &"restart Dex".into())
    );
    assert_eq!(plan["after"][0]["readers"], serde_json::json!([]));
}

#[test]
fn a_value_is_older_than_some_days_once_they_have_passed() {
    fn first() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs((21_000 + 91) * 86_400)
    }
    fn last() -> SystemTime {
        first() + Duration::from_secs(86_399)
    }
    let day = regex::Regex::new("seal-secrets/made: \"[0-9-]{10}\"").unwrap();
    // Both are on 30 September 2027.
    for (made, most, is_older) in [
        ("2027-07-01", "91d", false),
        ("2027-07-01", "90d", true),
        ("2027-07-02", "90d", false),
        ("2027-07-03", "90d", false),
        ("2027-09-28", "1d", true),
        ("2027-09-29", "1d", false),
        ("2027-10-01", "1d", false),
    ] {
        let sandbox = Sandbox::bootstrapped();
        for unit in std::fs::read_dir(sandbox.path("out/secret-source")).unwrap() {
            let name = format!("out/secret-source/{}", unit.unwrap().file_name().to_string_lossy());
            // All others were made on that day.
            let other = if name.ends_with("/vllm-api-key.sealed.yaml") { made } else { "2027-09-30" };
            sandbox.write(&name, day.replace_all(&sandbox.read(&name), format!("seal-secrets/made: \"{other}\"")).as_bytes());
        }
        for clock in [first, last] {
            let ran = sandbox.run_at(clock, ["rotate", "--older-than", most, "--dry-run"]).expect(0);
            let replaced = ran.stdout.matches(" (replaced)").count();
            assert_eq!(replaced, usize::from(is_older), "{made}, {most}: {}", ran.stdout);
            assert_eq!(ran.stdout.contains("vllm-api-key.sealed.yaml (replaced)"), is_older, "{made}, {most}: {}", ran.stdout);
        }
    }
}
