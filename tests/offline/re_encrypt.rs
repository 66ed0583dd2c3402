//! `re-encrypt`, `renew` and `status`: the same values sealed to another key, and nothing else changed.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use regex::Regex;
use seal_secrets::manifest::blobs;
use seal_secrets::pipeline::certificate::SealingCertificate;
use seal_secrets::pipeline::{pem, private_key, unseal};

use crate::common::{OWN_CERTIFICATE, OWN_KEY, Sandbox, USUAL, at_the_prompt_while, fit, fixture_text, needs};

/// Long base64, which may change in a foreign file. It may be broken, after a backslash or before a line with the same indentation.
fn without_blobs(text: &str) -> String {
    static BLOB: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"A[gQ]([A-Za-z0-9+=]|\\?/){300,}(\\?\r?\n {7,8}[A-Za-z0-9+/=]{300,})?").unwrap());
    BLOB.replace_all(text, "BLOB").into_owned()
}

/// Values that kubeseal sealed, one of each scope and length: namespace, name, scope, blob, plaintext.
fn vectors() -> (String, Vec<[String; 5]>) {
    let vectors: serde_json::Value = serde_json::from_str(&fixture_text("vectors/sealed.json")).unwrap();
    let der = BASE64_STANDARD.decode(vectors["keys"]["a-4096"]["private_key_pkcs8_der_base64"].as_str().unwrap()).unwrap();
    let cases = vectors["cases"].as_array().unwrap().iter().filter(|case| case["opens"] == true && case["key"] == "a-4096");
    let fields = ["namespace", "name", "scope", "blob", "plaintext"];
    (pem::write("PRIVATE KEY", &der).to_string(), cases.map(|case| fields.map(|field| case[field].as_str().unwrap().to_owned())).collect())
}

/// One SealedSecret in a form that a user may have written.
fn document(form: usize, [namespace, name, scope, blob, _]: &[String; 5]) -> String {
    let annotation = match scope.as_str() {
        "strict" => String::new(),
        wide => format!("sealedsecrets.bitnami.com/{wide}: \"true\", "),
    };
    let namespace = if namespace.is_empty() { String::new() } else { format!(", namespace: \"{namespace}\"") };
    let head = format!(
        "# somebody's\napiVersion: bitnami.com/v1alpha1 # ü\nkind: \"SealedSecret\"\nmetadata: {{ annotations: {{{annotation}a: b}}, name: \"{name}\"{namespace} }}\nspec:\n  template: {{type: Opaque, data: {{x: '{{{{ .k }}}}'}}}}\n  encryptedData:\n"
    );
    let (one, two) = blob.split_at(blob.len() / 2);
    let body = match form {
        0 => format!("    k: {blob}   # trailing\n"),
        1 => format!("    \"k\": '{blob}'\n\n\n"),
        2 => format!("    k: >-\n      {blob}\n    # after\n"),
        3 => format!("    k: |\n        {one}\n        {two}\n"),
        4 => format!("    k: \"{one}\\\n       {two}\"\n"),
        5 => format!("    {{ k: \"{}\" }}\n", blob.replace('/', "\\/")),
        6 => format!("    ? k\n    : {blob}\n"),
        _ => format!("    k:\n      {blob}\n"),
    };
    head + &body
}

#[test]
fn only_the_sealed_values_of_foreign_files_change_and_they_are_the_same() {
    let (key, cases) = vectors();
    let sandbox = Sandbox::with_keys();
    sandbox.write_secret("old.pem", key.as_bytes());
    sandbox.write_secret("new.pem", fixture_text(OWN_KEY).as_bytes());
    let mut files = BTreeMap::new();
    for (i, case) in cases.iter().enumerate() {
        let text = document(i % 8, case);
        let text = if i % 3 == 0 { text.replace('\n', "\r\n") } else { text };
        // Several documents in each file, something else between them, a byte-order mark in some.
        let file: &mut String = files.entry(format!("git/apps/{}/{}.yml", i % 4, i % 7)).or_default();
        let between = if file.is_empty() { if i % 2 == 0 { "\u{feff}" } else { "" } } else { "---\nkind: ConfigMap\n---\n" };
        file.push_str(&(between.to_owned() + &text));
    }
    let item = |[namespace, name, _, blob, _]: &[String; 5]| {
        serde_json::json!({ "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
            "metadata": { "name": name, "namespace": namespace }, "spec": { "encryptedData": { "k": blob } } })
    };
    let strict: Vec<_> = cases.iter().filter(|case| case[2] == "strict").map(item).collect();
    let list = serde_json::json!({ "kind": "List", "apiVersion": "v1", "items": strict });
    files.insert("git/list.json".to_owned(), list.to_string());
    files.insert("git/pretty.json".to_owned(), format!("{list:#}\n").replace("  ", "\t"));
    files.insert("git/list.yaml".to_owned(), serde_yaml::to_string(&list).unwrap());
    files.insert("git/other.yaml".to_owned(), "kind: Secret\n".to_owned());
    files.insert("git/chart.yaml".to_owned(), "kind: {{ .Values.kind }}\n".to_owned());
    files.insert("git/empty.yaml".to_owned(), String::new());
    files.insert("git/.git/x.yaml".to_owned(), document(0, &cases[0]));
    files.iter().for_each(|(path, text)| sandbox.write(path, text.as_bytes()));
    let args = ["re-encrypt", "git", "--recovery-private-key", "old.pem,new.pem", "--yes"];
    let before = sandbox.snapshot();
    let dry = sandbox.run([&args[..4], &["--dry-run", "--json"]].concat()).expect(0);
    assert_eq!(before, sandbox.snapshot());
    let plan: serde_json::Value = serde_json::from_str(&dry.stdout).unwrap();
    let ran = sandbox.run(args).expect(0);
    assert!(ran.stdout.contains("each new value was opened again, and is the same"), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("re-encrypt git/").count(), cases.len() + 3 * strict.len());
    assert_eq!(plan["changes"].as_array().unwrap().len(), cases.len() + 3 * strict.len());
    let new = private_key::read(&sandbox.read("new.pem")).unwrap().0;
    let mut opened = 0;
    for (path, old) in &files {
        let text = sandbox.read(path);
        assert_eq!(without_blobs(old), without_blobs(&text), "{path}");
        if path.contains(".git/") || !old.contains("SealedSecret") {
            assert_eq!(*old, text, "{path}");
            continue;
        }
        for one in blobs::find(&text, &Default::default()) {
            let case = cases.iter().find(|case| {
                case[1] == one.name && case[0] == one.namespace.clone().unwrap_or_default() && {
                    let value = unseal::open(&new, &one.label(), &one.blobs[0].text).unwrap();
                    BASE64_STANDARD.encode(value.expose()) == case[4]
                }
            });
            assert!(case.is_some(), "{path}: {}", one.name);
            opened += 1;
        }
    }
    assert_eq!(opened, cases.len() + 3 * strict.len());
    let before = sandbox.snapshot();
    let again = sandbox.run(args).expect(0);
    assert!(again.stdout.starts_with("nothing to do: "), "{}", again.stdout);
    assert_eq!(before, sandbox.snapshot());
}

/// A certificate's digest, as it is shown.
fn digest(pem: &str) -> String {
    SealingCertificate::read(pem.as_bytes()).unwrap().digest.to_string()
}

/// `out/` sealed to the old key, a newer one in the escrow.
fn with_a_newer_key() -> Sandbox {
    let sandbox = Sandbox::bootstrapped();
    sandbox.write("keys/sealing.key.age", Sandbox::renewed().read("keys/sealing.key.age").as_bytes());
    sandbox.accept_next("keys", &Sandbox::renewed().read("keys/sealing.crt"));
    sandbox
}

#[test]
fn the_output_folder_is_left_as_bootstrap_would_write_it() {
    let sandbox = with_a_newer_key();
    sandbox.write("keys/sealing.crt", Sandbox::renewed().read("keys/sealing.crt").as_bytes());
    let values = sandbox.run(["unseal"]).expect(0).stdout;
    // The half state says what to do.
    for (args, code) in [(&["bootstrap"][..], 4), (&["verify"], 1)] {
        let ran = sandbox.run(args).expect(code);
        let said = ran.stdout + &ran.stderr;
        assert!(said.contains("`seal-secrets renew`") && said.contains("`seal-secrets re-encrypt`"), "{said}");
    }
    let before = sandbox.snapshot();
    let ran = sandbox.run(["re-encrypt"]).expect(4);
    assert!(ran.stderr.contains("--yes"), "{}", ran.stderr);
    sandbox.run(["re-encrypt", "--dry-run"]).expect(0);
    assert_eq!(before, sandbox.snapshot());
    // A crash left something.
    sandbox.write("out/secret-source/.seal-secrets.1.1.tmp", b"x");
    sandbox.run(["re-encrypt", "--yes"]).expect(0);
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do"));
    sandbox.run(["verify", "--identity", "keys/operator.agekey"]).finds(&USUAL);
    assert_eq!(values, sandbox.run(["unseal"]).expect(0).stdout);
    assert!(!sandbox.path("out/secret-source/.seal-secrets.1.1.tmp").exists());
    let before = sandbox.snapshot();
    assert!(sandbox.run(["re-encrypt", "--yes"]).expect(0).stdout.starts_with("nothing to do"));
    assert_eq!(before, sandbox.snapshot());
    // A wrong annotation is corrected, and the value stays.
    let digest = format!("sha256:{}", "0".repeat(64));
    let (unit, renewed) = ("out/secret-source/vllm-api-key.sealed.yaml", sandbox.read("out/secret-source/vllm-api-key.sealed.yaml"));
    sandbox.write(unit, regex::Regex::new("sha256:[0-9a-f]{64}").unwrap().replace(&renewed, digest).as_bytes());
    sandbox.run(["re-encrypt", unit, "--yes"]).expect(0);
    assert_eq!(sandbox.read(unit), renewed);
}

#[test]
fn what_cannot_be_opened_is_named_and_the_rest_is_done() {
    let sandbox = with_a_newer_key();
    let old = digest(&sandbox.read("keys/sealing.crt"));
    sandbox.write("keys/sealing.crt", Sandbox::renewed().read("keys/sealing.crt").as_bytes());
    let (key, cases) = vectors();
    sandbox.write("git/strange.yaml", document(0, &cases[0]).as_bytes());
    sandbox.write("git/alias.yaml", document(0, &cases[1]).replace("k: Ag", "k: &x Ag").as_bytes());
    sandbox.write("git/broken.yaml", b"kind: SealedSecret\n  x: [\n");
    sandbox.write("git/good.yaml", sandbox.read("out/secret-source/vllm-api-key.sealed.yaml").as_bytes());
    let before = sandbox.read("git/strange.yaml");
    // Only what is sealed to one key: the rest is skipped.
    let ran = sandbox.run(["re-encrypt", "git/strange.yaml", "git/good.yaml", "--dry-run", "--key", &old]).expect(0);
    assert!(ran.stdout.contains("to do: 1 SealedSecret in 1 file"), "{}", ran.stdout);
    let ran = sandbox.run(["re-encrypt", "git", "--yes"]).expect(1);
    for file in ["git/strange.yaml:8:8: ", "git/alias.yaml:", "git/broken.yaml:2:"] {
        assert!(ran.stderr.contains(&format!("failed: {file}")), "{file}: {}", ran.stderr);
    }
    assert!(ran.stdout.contains("done: 1 SealedSecret in 1 file") && ran.stdout.contains("3 could not be opened"), "{}", ran.stdout);
    assert_eq!(before, sandbox.read("git/strange.yaml"));
    // With the key that opens it, and without the one that could open the result.
    sandbox.write_secret("old.pem", key.as_bytes());
    let to = digest(&sandbox.read("keys/sealing.crt"));
    let ran = sandbox
        .run(["re-encrypt", "git/strange.yaml", "--recovery-private-key", "old.pem", "--yes", "--accept-certificate", &to])
        .expect(0);
    assert!(ran.stdout.contains("were not opened again"), "{}", ran.stdout);
    assert_ne!(before, sandbox.read("git/strange.yaml"));
}

#[test]
fn renew_moves_everything_to_a_new_key_and_keeps_the_old_one() {
    let sandbox = Sandbox::bootstrapped();
    let (before, values) = (sandbox.snapshot(), sandbox.run(["unseal"]).expect(0).stdout);
    let ran = sandbox.run(["renew"]).expect(4);
    assert!(ran.stderr.contains("--yes"), "{}", ran.stderr);
    assert!(sandbox.run(["renew", "--dry-run"]).expect(0).stdout.contains("15 SealedSecrets to re-encrypt"));
    assert_eq!(before, sandbox.snapshot());
    let renewed = Sandbox::renewed();
    assert_eq!(values, renewed.run(["unseal"]).expect(0).stdout);
    assert_ne!(sandbox.read("keys/sealing.crt"), renewed.read("keys/sealing.crt"));
    assert!(renewed.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do"));
    renewed.run(["verify", "--identity", "keys/operator.agekey"]).finds(&USUAL);
    // The cluster needs both: the old one still opens what is sealed to it elsewhere, and the newest serves.
    let secrets = renewed.run(["key-secret"]).expect(0).stdout;
    let names: Vec<String> = serde_yaml::Deserializer::from_str(&secrets)
        .map(|one| <serde_yaml::Value as serde::Deserialize>::deserialize(one).unwrap())
        .map(|one| one["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["sealed-secrets-key", "sealed-secrets-key-2"]);
    renewed.write_secret("backup.yaml", secrets.as_bytes());
    assert_eq!(values, renewed.run(["unseal", "--recovery-private-key", "backup.yaml"]).expect(0).stdout);
    // A newer key in the escrow completes the renewal, and no other is made.
    let half = with_a_newer_key();
    let newer = format!("the escrow holds a newer key, {}", digest(&renewed.read("keys/sealing.crt")));
    half.run(["key-secret"]).warned(&[&format!("{newer}, which the controller would serve: `seal-secrets renew` moves to it")]);
    let ran = half.run(["renew", "--yes"]).warned(&[&format!("{newer}: this run completes the renewal with it")]);
    assert!(ran.stdout.contains("the escrow holds 2 keys"), "{}", ran.stdout);
    assert_eq!(half.read("keys/sealing.crt"), renewed.read("keys/sealing.crt"));
    // If a value does not open, everything stays as it is.
    let damaged = with_a_newer_key();
    damaged.edit("out/secret-source/vllm-api-key.sealed.yaml", "name: vllm-api-key", "name: vllm-api-kez");
    let before = damaged.snapshot();
    let ran = damaged.run(["renew", "--yes"]).expect(4);
    assert!(ran.stderr.contains("vllm-api-key.sealed.yaml") && ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
    assert_eq!(before, damaged.snapshot());
}

#[test]
fn status_tells_which_key_is_needed_for_what() {
    let sandbox = with_a_newer_key();
    let before = sandbox.snapshot();
    let ran = sandbox.run(["status"]).expect(0);
    assert!(ran.stdout.contains("15 SealedSecrets are sealed to ") && ran.stdout.matches("pinned  out/").count() == 15, "{}", ran.stdout);
    let json = |args: &[&str]| serde_json::from_str::<serde_json::Value>(&sandbox.run(args).expect(0).stdout).unwrap();
    let status = json(&["status", "--json"]);
    assert!(status["escrow"].is_null() && status["units"].as_array().unwrap().len() == 15);
    assert!(status["units"][0]["pinned"] == true && status["units"][0]["made"].as_str().is_some_and(|day| day.len() == 10), "{status:#}");
    let with_identity = ["status", "--json", "--identity", "keys/operator.agekey"];
    let status = json(&with_identity);
    assert_eq!(status["escrow"].as_array().unwrap().iter().map(|key| key["needed"] == true).collect::<Vec<_>>(), [true, false]);
    assert_eq!(before, sandbox.snapshot());
    let newer = digest(&Sandbox::renewed().read("keys/sealing.crt"));
    sandbox.run(["renew", "--yes"]).warned(&[&format!("the escrow holds a newer key, {newer}: this run completes the renewal with it")]);
    let status = json(&with_identity);
    assert_eq!(status["escrow"].as_array().unwrap().iter().map(|key| key["needed"] == true).collect::<Vec<_>>(), [false, true]);
    assert!(
        sandbox.run(["status", "--identity", "keys/operator.agekey"]).expect(0).stdout.contains("no SealedSecret here needs it any more")
    );
}

#[test]
fn status_says_nothing_of_a_key_that_it_could_not_judge() {
    let sandbox = with_a_newer_key();
    let (_, cases) = vectors();
    let strict: Vec<_> = cases.iter().filter(|case| case[2] == "strict").collect();
    let [strange, aliased] = [document(0, strict[0]), document(0, strict[1]).replace("k: Ag", "k: &x Ag")];
    // One value for the old key beside one for the new one, as `kubeseal --merge-into` leaves it.
    let mixed = sandbox.read("out/secret-source/vllm-api-key.sealed.yaml");
    let newer = Sandbox::renewed().read("out/secret-source/vllm-api-key.sealed.yaml");
    let blob = |text: &str| text.lines().find(|line| line.starts_with("    value: ")).unwrap().replace("value", "other");
    sandbox.write("mixed/a.yaml", mixed.replace("  encryptedData:\n", &format!("  encryptedData:\n{}\n", blob(&newer))).as_bytes());
    let run = |args: &[&str], code| {
        let ran = sandbox.run([&["status", "--identity", "keys/operator.agekey"], args].concat());
        let skipped = format!("{}/a.yaml is a link or too large, and is skipped", args[0]);
        if ["linked", "large"].contains(&args[0]) { ran.warned(&[&skipped]) } else { ran.expect(code) }.stdout
    };
    let needed = |path: &str, code| {
        let status: serde_json::Value = serde_json::from_str(&run(&[path, "--json"], code)).unwrap();
        status["escrow"].as_array().unwrap().iter().map(|key| key["needed"].as_bool()).collect::<Vec<_>>()
    };
    assert_eq!(needed("mixed", 0), [Some(true), Some(true)]);
    for (what, bytes) in [("strange", strange.as_bytes()), ("aliased", aliased.as_bytes()), ("broken", b"kind: SealedSecret\n  x: [\n")] {
        sandbox.write(&format!("{what}/a.yaml"), bytes);
        assert_eq!(needed(what, 1), [Some(true), None], "{what}");
        assert!(run(&[what], 1).contains("cannot tell whether it is still needed until everything above is resolved"), "{what}");
    }
    std::fs::create_dir(sandbox.path("linked")).unwrap();
    std::os::unix::fs::symlink("../mixed/a.yaml", sandbox.path("linked/a.yaml")).unwrap();
    assert_eq!(needed("linked", 0), [Some(true), None]);
    // A program of that size is not reported; a manifest that was passed itself is an error.
    std::fs::create_dir(sandbox.path("large")).unwrap();
    for name in ["program", "a.yaml"] {
        std::fs::File::create(sandbox.path("large").join(name)).unwrap().set_len((16 << 20) + 1).unwrap();
    }
    assert_eq!(needed("large", 0), [Some(true), None]);
    assert_eq!(needed("large/a.yaml", 1), [Some(true), None]);
    // A file that a key opens only in part is not skipped silently.
    let old = digest(&sandbox.read("keys/sealing.crt"));
    sandbox.write("renamed/a.yaml", mixed.replace("name: vllm-api-key", "name: vllm-api-kez").as_bytes());
    sandbox.write("keys/sealing.crt", Sandbox::renewed().read("keys/sealing.crt").as_bytes());
    let ran = sandbox.run(["re-encrypt", "renamed", "--key", &old, "--yes"]).expect(1);
    assert!(ran.stderr.contains("failed: renamed/a.yaml:") && ran.stderr.contains("tried sha256:"), "{}", ran.stderr);
    // One file in two spellings counts once.
    let ran = sandbox.run(["re-encrypt", "./mixed", "mixed/../mixed/a.yaml", "mixed", "--yes"]).expect(0);
    assert!(ran.stdout.contains("done: 1 SealedSecret in 1 file"), "{}", ran.stdout);
}

#[test]
fn an_escrow_that_changed_meanwhile_is_not_overwritten() {
    needs!("script");
    let sandbox = Sandbox::bootstrapped();
    let other = Sandbox::renewed().read("keys/sealing.key.age");
    let (_, recipient) = seal_secrets::pipeline::escrow::new_identity().unwrap();
    let change = || sandbox.write("keys/sealing.key.age", other.as_bytes());
    let before = sandbox.read("keys/sealing.key.age");
    for args in ["renew", &format!("escrow add-recipient {recipient}")] {
        sandbox.write("keys/sealing.key.age", before.as_bytes());
        let shown = at_the_prompt_while(&sandbox, args, &[("Type yes: ", "yes\r")], &change);
        assert!(shown.contains("code=8") && shown.contains("it was changed meanwhile"), "{shown}");
        assert_eq!(sandbox.read("keys/sealing.key.age"), other);
    }
}

#[test]
fn a_lost_certificate_comes_back_as_the_newest() {
    let sandbox = with_a_newer_key();
    sandbox.remove("keys/sealing.crt");
    sandbox.run(["keygen"]).warned(&["keys/sealing.key.age exists without its certificate: an earlier run was interrupted, or git has the certificate on another branch; the one in the escrow is written"]);
    assert_eq!(sandbox.read("keys/sealing.crt"), Sandbox::renewed().read("keys/sealing.crt"));
}

/// A controller with the old and the newer key. `odd` says what is wrong with it, or with its answers.
#[cfg(feature = "cluster")]
fn controller(odd: &'static str) -> u16 {
    use seal_secrets::model::SecretValue;
    use seal_secrets::pipeline::seal::Sealer;
    let pem = Sandbox::renewed().read("keys/sealing.crt");
    let keys = private_key::read(&fixture_text(OWN_KEY)).unwrap().0;
    let sealer = Sealer::new(&fit(SealingCertificate::read(pem.as_bytes()).unwrap())).unwrap();
    let rotate = move |question: &[u8]| {
        let mut answer: serde_json::Value = serde_json::from_slice(question).unwrap();
        let label = format!("{}/{}", answer["metadata"]["namespace"].as_str().unwrap(), answer["metadata"]["name"].as_str().unwrap());
        for (_, blob) in answer["spec"]["encryptedData"].as_object_mut().unwrap() {
            let Ok(value) = unseal::open(&keys, &label, blob.as_str().unwrap()) else { return (500, "{}".to_owned()) };
            let mut value = value.into_bytes();
            match odd {
                "the old value" => continue,
                "another value" => value[0] ^= 1,
                "a longer value" => value.push(1),
                _ => {}
            }
            let mut entropy = crate::common::TestEntropy(question.len() as u64);
            let values = vec![(label.clone(), SecretValue::new(value))];
            let sealed = sealer.seal_all(values, &mut entropy, std::num::NonZeroUsize::MIN);
            *blob = sealed.unwrap().remove(0).into();
        }
        match odd {
            "another name" => answer["metadata"]["name"] = "x".into(),
            "a wider scope" => answer["metadata"]["annotations"] = serde_json::json!({ "sealedsecrets.bitnami.com/cluster-wide": "true" }),
            "another data key" => answer["spec"]["encryptedData"] = serde_json::json!({ "other": "AgBx" }),
            // This does not matter.
            _ => answer["spec"]["template"] = serde_json::json!({ "data": { "x": "y" }, "type": "other" }),
        }
        // Like the real one, it leaves out its kind.
        let object = answer.as_object_mut().unwrap();
        object.remove("kind");
        object.remove("apiVersion");
        (200, answer.to_string())
    };
    let (port, _) = crate::api_server::serve_with(move |n, path, body| {
        let image = match odd {
            "too old" => "sealed-secrets-controller:v0.39.9",
            "unknown" => "sealed-secrets-controller@sha256:00",
            _ => "docker.io/bitnami/sealed-secrets-controller:0.40.0",
        };
        let (status, body) = match path {
            _ if path.ends_with("/deployments") => {
                let containers = serde_json::json!([{ "image": image }]);
                let deployment = serde_json::json!({ "metadata": {}, "spec": { "template": { "spec": { "containers": containers } } } });
                (200, serde_json::json!({ "kind": "DeploymentList", "items": [deployment] }).to_string())
            }
            _ if path.ends_with("/cert.pem") && odd == "another certificate" => (200, fixture_text(OWN_CERTIFICATE)),
            _ if path.ends_with("/cert.pem") => (200, pem.clone()),
            // It is busy every third time.
            _ if path.ends_with("/rotate") && (n % 3 == 0 || odd == "busy") => (429, String::new()),
            _ if path.ends_with("/rotate") => rotate(body),
            _ => (200, r#"{"kind":"Service","spec":{"ports":[{"name":"http"}]}}"#.to_owned()),
        };
        crate::api_server::response(&format!("{status} X"), "Retry-After: 0\r\n", &body)
    });
    port
}

#[cfg(feature = "cluster")]
#[test]
fn of_a_controllers_answer_only_the_ciphertexts_are_taken() {
    let run = |odd, more: &[&str]| {
        let sandbox = with_a_newer_key();
        sandbox.write("keys/sealing.crt", Sandbox::renewed().read("keys/sealing.crt").as_bytes());
        let server = format!("https://127.0.0.1:{}", controller(odd));
        crate::api_server::kubeconfig(&sandbox, &server, "fixtures/tls/server.crt", "");
        let before = sandbox.snapshot();
        // Without an identity, nothing here can open what the controller seals.
        let to = digest(&sandbox.read("keys/sealing.crt"));
        let named = ["--accept-certificate", &to];
        let args = ["re-encrypt", "--via-controller", "--kubeconfig", "kubeconfig", "--yes"];
        let ran = sandbox.start([&args[..], if more.is_empty() { &named } else { &[] }, more].concat());
        let unchanged = before == sandbox.snapshot();
        (sandbox, ran, unchanged)
    };
    let identity = ["--identity", "keys/operator.agekey"];
    for (odd, code, says) in [
        ("too old", 4, "the controller is 0.39.9, which is not safe to ask"),
        ("unknown", 4, "is not known"),
        ("another certificate", 4, "another certificate than the pinned one"),
        ("busy", 7, "the controller answered 429"),
        ("another name", 1, "not the same SealedSecret"),
        ("a wider scope", 1, "not the same SealedSecret"),
        ("another data key", 1, "not the same SealedSecret"),
        ("a longer value", 1, "not the same SealedSecret"),
        ("another value", 1, "not the same SealedSecret"),
        ("the old value", 1, "a value is the old one"),
    ] {
        let (_, ran, unchanged) = run(odd, if odd == "another value" { &identity } else { &[] });
        assert!(ran.code == code && ran.stderr.contains(says) && unchanged, "{odd}: {} {}", ran.stdout, ran.stderr);
    }
    for more in [&[][..], &identity] {
        let (sandbox, ran, _) = run("", more);
        assert_eq!(ran.code, 0, "{} {}", ran.stdout, ran.stderr);
        assert_eq!(ran.stdout.contains("opened again, and is the same"), more == identity);
        assert_eq!(sandbox.run(["unseal"]).expect(0).stdout, Sandbox::renewed().run(["unseal"]).expect(0).stdout);
        assert!(sandbox.run(["bootstrap"]).expect(0).stdout.starts_with("nothing to do"));
        sandbox.run(["verify", "--identity", "keys/operator.agekey"]).finds(&USUAL);
    }
    assert!(run("", &["--dry-run"]).2, "a dry run changed something");
}

#[cfg(feature = "cluster")]
#[test]
fn a_controller_is_asked_for_nested_ones_and_not_for_a_value_by_itself() {
    let sandbox = with_a_newer_key();
    sandbox.write("keys/sealing.crt", Sandbox::renewed().read("keys/sealing.crt").as_bytes());
    crate::api_server::kubeconfig(&sandbox, &format!("https://127.0.0.1:{}", controller("")), "fixtures/tls/server.crt", "");
    let unit = sandbox.read("out/secret-source/vllm-api-key.sealed.yaml");
    let blob = unit.lines().find_map(|line| line.strip_prefix("    value: ")).unwrap();
    let indented: String = unit.lines().map(|line| format!("      {line}\n")).collect();
    let before = format!("helm:\n  values: |\n    extraObjects:\n    - a: b\n    - \n{indented}raw: {blob}\n");
    sandbox.write("git/values.yaml", before.as_bytes());
    // A value that does not name its certificate is tried, and one of the two needs nothing.
    let unmarked =
        |text: &str| text.lines().filter(|line| !line.contains("seal-secrets/certificate")).map(|line| format!("{line}\n")).collect();
    let (old, new): (String, String) = (unmarked(&unit), unmarked(&Sandbox::renewed().read("out/secret-source/vllm-api-key.sealed.yaml")));
    sandbox.write("git/old.yaml", old.as_bytes());
    sandbox.write("git/new.yaml", new.as_bytes());
    let args = ["re-encrypt", "git", "--via-controller", "--kubeconfig", "kubeconfig", "--yes", "--identity", "keys/operator.agekey"];
    let ran = sandbox.start(args).expect(1);
    assert!(ran.stdout.contains("re-encrypt git/values.yaml: secret-source/vllm-api-key"), "{}", ran.stdout);
    assert!(ran.stdout.contains("re-encrypt git/old.yaml: secret-source/vllm-api-key"), "{}", ran.stdout);
    assert_eq!((sandbox.read("git/old.yaml") == old, sandbox.read("git/new.yaml") == new), (false, true), "{}", ran.stdout);
    let place = format!("failed: git/values.yaml:{}:6: a sealed value by itself", before.lines().count());
    assert!(ran.stderr.contains(&place), "{}", ran.stderr);
    let after = sandbox.read("git/values.yaml");
    assert_eq!(after.matches(blob).count(), 1);
    assert_eq!(without_blobs(&before).replace(&digest(&Sandbox::bootstrapped().read("keys/sealing.crt")), "KEY"), {
        without_blobs(&after).replace(&digest(&sandbox.read("keys/sealing.crt")), "KEY")
    });
}

#[test]
fn a_file_that_changes_meanwhile_stays_as_it_was_changed() {
    let start = with_a_newer_key();
    start.write("keys/sealing.crt", Sandbox::renewed().read("keys/sealing.crt").as_bytes());
    let (unit, other) = ("out/secret-source/vllm-api-key.sealed.yaml", "out/secret-source/dex-argocd-client-secret.sealed.yaml");
    type Change = fn(&std::path::Path, &str);
    let changes: [(&str, Change); 4] = [
        ("a comment more", |path, text| std::fs::write(path, format!("{text}# mine\n")).unwrap()),
        ("another text of the same length", |path, text| std::fs::write(path, text.replacen("value: AQ", "value: AR", 1)).unwrap()),
        ("nothing in it", |path, _| std::fs::write(path, "").unwrap()),
        ("gone", |path, _| std::fs::remove_file(path).unwrap()),
    ];
    for args in [&["re-encrypt", "--yes"][..], &["re-encrypt", unit, "--yes"], &["renew", "--yes"]] {
        for (what, change) in changes {
            let sandbox = start.copy();
            if args[0] == "renew" {
                sandbox.write("keys/sealing.crt", with_a_newer_key().read("keys/sealing.crt").as_bytes());
            }
            let (path, text) = (sandbox.path(unit), sandbox.read(unit));
            let (changed, before) = (path.clone(), text.clone());
            // Session keys are drawn after the files were read, and before they are written.
            let (mut source, mut done) = (crate::common::TestEntropy(5), false);
            let entropy = crate::common::Drawing(move |bytes: &mut [u8]| {
                source.fill(bytes);
                if bytes.len() >= 64 && !std::mem::replace(&mut done, true) {
                    change(&changed, &before);
                }
                Ok(())
            });
            let ran = sandbox.run_drawing(Box::new(entropy), args);
            assert_eq!(ran.code, 8, "{args:?}, {what}: {}{}", ran.stdout, ran.stderr);
            // A typed path that no longer exists is not repeated.
            let named = if what == "gone" && args.contains(&unit) { "`PATH`" } else { unit };
            let says = format!("error: {named}: it was changed meanwhile\n");
            assert!(ran.stderr.contains(&says), "{args:?}, {what}: {}", ran.stderr);
            let expected = sandbox.copy();
            expected.write(unit, text.as_bytes());
            change(&expected.path(unit), &text);
            assert_eq!(std::fs::read(&path).ok(), std::fs::read(expected.path(unit)).ok(), "{args:?}, {what}");
            // The next run finishes.
            sandbox.write(unit, text.as_bytes());
            let again = sandbox.run_drawing(Box::new(crate::common::TestEntropy(6)), args);
            assert_eq!(again.code, 0, "{args:?}, {what}: {}", again.stderr);
            sandbox.run(["unseal", "-f", unit, "-f", other]).expect(0);
        }
    }
}
