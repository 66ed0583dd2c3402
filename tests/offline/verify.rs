//! `verify`: each defect has its code, each code its heading.

use std::collections::BTreeSet;

use seal_secrets::manifest::contract_file;
use seal_secrets::model::Code;
use seal_secrets::pipeline::certificate::SealingCertificate;
use seal_secrets::pipeline::seal::Sealer;
use zeroize::Zeroizing;

use crate::common::{Sandbox, TestEntropy, USUAL, fit, fixture, fixture_text, pinned, usual};

const SOURCE: &str = "out/secret-source/";

/// The code that must report a defect, all findings besides the usual, and a way to spoil a healthy state.
pub type Defect = (&'static str, &'static [&'static str], fn(&Sandbox));

const DEFECTS: &[Defect] = &[
    ("certificate-unusable", &["certificate-unusable keys/sealing.crt"], |s| {
        s.write("keys/sealing.crt", fixture_text("fixtures/certificates/roca.crt").as_bytes())
    }),
    ("certificate-not-accepted", &["certificate-not-accepted keys/sealing.crt"], |s| s.write_pins("")),
    ("certificate-differs", &["certificate-differs keys/sealing.crt"], |s| {
        let other = fixture_text("fixtures/certificates/good-3072.crt");
        s.write_pins(&pinned("", &s.path("keys").canonicalize().unwrap(), &other, None));
    }),
    ("unreadable", &["unreadable out/secret-source/vllm-api-key.sealed.yaml:2:1"], |s| {
        s.edit("out/secret-source/vllm-api-key.sealed.yaml", "kind:", "\tkind:")
    }),
    (
        "unit-missing",
        &[
            "runbook-differs out/INSTALL.md:114:1",
            "kustomization-differs out/secret-source/kustomization.yaml:21:1",
            "unit-missing out/secret-source/vllm-api-key.sealed.yaml",
        ],
        |s| s.remove("out/secret-source/vllm-api-key.sealed.yaml"),
    ),
    (
        "write-once-missing",
        &[
            "runbook-differs out/INSTALL.md:111:1",
            "kustomization-differs out/secret-source/kustomization.yaml:18:1",
            "write-once-missing out/secret-source/litellm-salt-key.sealed.yaml",
        ],
        |s| s.remove("out/secret-source/litellm-salt-key.sealed.yaml"),
    ),
    ("half-missing", &["half-missing out/secret-source/dex-admin.sealed.yaml"], |s| {
        let file = format!("{SOURCE}dex-admin.sealed.yaml");
        s.write(&file, s.read(&file).split("---\n").nth(1).unwrap().as_bytes());
    }),
    ("not-yet-provided", &[], |_| {}),
    ("orphan", &["orphan out/secret-source/old.sealed.yaml:1:1"], |s| {
        let text = s.read("out/secret-source/vllm-api-key.sealed.yaml").replace("vllm-api-key", "old");
        s.write("out/secret-source/old.sealed.yaml", with_blob(&text, &seal(s, "old", b"of yesterday")).as_bytes());
        // It stays, and the kustomization lists it.
        s.run(["bootstrap"]).expect(0);
    }),
    (
        "write-once-dropped",
        &[
            "runbook-differs out/INSTALL.md:114:1",
            "kustomization-differs out/secret-source/kustomization.yaml:21:1",
            "cannot-open out/secret-source/old.sealed.yaml:12:12",
            "write-once-dropped out/secret-source/old.sealed.yaml:1:1",
        ],
        |s| {
            s.write(
                "out/secret-source/old.sealed.yaml",
                s.read("out/secret-source/litellm-salt-key.sealed.yaml").replace("litellm-salt-key", "old").as_bytes(),
            );
        },
    ),
    ("write-once-dropped", &["write-once-dropped out/secret-source/litellm-salt-key.sealed.yaml:1:1"], |s| {
        // It was made by another recipe than the contract's.
        s.edit("out/secret-source/litellm-salt-key.sealed.yaml", "seal-secrets/write-once: 64 hex", "seal-secrets/write-once: 32 hex")
    }),
    ("write-once-dropped", &["write-once-dropped keys/sealed.txt"], |s| {
        s.write("keys/sealed.txt", format!("{}old:write-once ../out\n", s.read("keys/sealed.txt")).as_bytes())
    }),
    // By an older version.
    ("write-once-dropped", &["write-once-dropped keys/sealed.txt"], |s| s.write("keys/write-once.txt", b"old ../out\n")),
    ("out-unknown", &["out-unknown keys/sealed.txt"], |s| {
        std::fs::create_dir(s.path("sealed")).unwrap();
        s.write("keys/sealed.txt", s.read("keys/sealed.txt").replace("../out", "../sealed").as_bytes());
    }),
    (
        "misplaced",
        &[
            "runbook-differs out/INSTALL.md:114:1",
            "kustomization-differs out/secret-source/kustomization.yaml:21:1",
            "misplaced out/secret-source/old.sealed.yaml:1:1",
            "misplaced out/secret-source/vllm-api-key.sealed.yaml:1:1",
        ],
        |s| s.write("out/secret-source/old.sealed.yaml", s.read("out/secret-source/vllm-api-key.sealed.yaml").as_bytes()),
    ),
    ("wrong-namespace", &["wrong-namespace out/secret-source/vllm-api-key.sealed.yaml:1:1"], |s| {
        s.edit("out/secret-source/vllm-api-key.sealed.yaml", "namespace: secret-source", "namespace: elsewhere")
    }),
    ("wrong-scope", &["wrong-scope out/secret-source/vllm-api-key.sealed.yaml:1:1"], |s| {
        s.edit(
            "out/secret-source/vllm-api-key.sealed.yaml",
            "  annotations:\n",
            "  annotations:\n    sealedsecrets.bitnami.com/cluster-wide: \"true\"\n",
        );
    }),
    ("wrong-data", &["wrong-data out/secret-source/vllm-api-key.sealed.yaml:11:15"], |s| {
        s.edit("out/secret-source/vllm-api-key.sealed.yaml", "    value: ", "    password: ")
    }),
    ("wrong-blob", &["wrong-blob out/secret-source/vllm-api-key.sealed.yaml:11:12"], |s| {
        s.edit("out/secret-source/vllm-api-key.sealed.yaml", "    value: AQ", "    value: Ag")
    }),
    ("wrong-length", &["wrong-length out/secret-source/vllm-api-key.sealed.yaml:11:12"], |s| reseal(s, "vllm-api-key", b"too short")),
    ("wrong-certificate", &["wrong-certificate out/secret-source/vllm-api-key.sealed.yaml:1:1"], |s| {
        s.edit("out/secret-source/vllm-api-key.sealed.yaml", "seal-secrets/certificate: sha256:", "seal-secrets/other: sha256:")
    }),
    ("write-once-unmarked", &["write-once-unmarked out/secret-source/litellm-salt-key.sealed.yaml:1:1"], |s| {
        s.edit("out/secret-source/litellm-salt-key.sealed.yaml", "    seal-secrets/write-once: 64 hex\n", "")
    }),
    ("unit-differs", &["unit-differs out/secret-source/vllm-api-key.sealed.yaml:16:1"], |s| {
        s.edit("out/secret-source/vllm-api-key.sealed.yaml", "type: Opaque", "type: kubernetes.io/tls")
    }),
    ("namespace-differs", &["namespace-differs out/secret-source/namespace.yaml:5:1"], |s| {
        s.edit("out/secret-source/namespace.yaml", "secret-source", "other")
    }),
    ("rbac-differs", &["rbac-differs out/secret-source/rbac.yaml:27:1"], |s| {
        s.edit("out/secret-source/rbac.yaml", "- vllm-api-key", "- another")
    }),
    ("store-differs", &["store-differs out/secret-store/cluster-secret-store.yaml:16:1"], |s| {
        s.edit("out/secret-store/cluster-secret-store.yaml", "- litellm", "- elsewhere")
    }),
    ("patch-differs", &["patch-differs out/property-patches/hf-token.patch.yaml:13:1"], |s| {
        s.edit("out/property-patches/hf-token.patch.yaml", "value: value", "value: other")
    }),
    ("kustomization-differs", &["kustomization-differs out/secret-source/kustomization.yaml:21:1"], |s| {
        s.edit("out/secret-source/kustomization.yaml", "- vllm-api-key.sealed.yaml\n", "")
    }),
    ("runbook-differs", &["runbook-differs out/INSTALL.md"], |s| s.remove("out/INSTALL.md")),
    ("plaintext-secret", &["stray-file out/secret-source/mine.yaml", "plaintext-secret out/secret-source/mine.yaml:1:1"], |s| {
        s.write("out/secret-source/mine.yaml", b"apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nstringData: {value: hunter2}\n");
    }),
    ("ignored-by-git", &["ignored-by-git out/secret-source/my-secret.yaml", "stray-file out/secret-source/my-secret.yaml"], |s| {
        s.write("out/secret-source/my-secret.yaml", b"kind: Anything\n")
    }),
    ("tracked-by-git", &["tracked-by-git keys/operator.agekey"], |s| s.write(".git/index", &index_of("keys/operator.agekey"))),
    ("stray-file", &["stray-file out/notes.txt"], |s| s.write("out/notes.txt", b"remember the milk\n")),
    ("cannot-open", &["cannot-open out/secret-source/vllm-api-key.sealed.yaml:11:12"], |s| {
        let file = format!("{SOURCE}vllm-api-key.sealed.yaml");
        let text = s.read(&file);
        let at = text.find("value: ").unwrap() + 60;
        let flipped = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        s.write(&file, format!("{}{flipped}{}", &text[..at], &text[at + 1..]).as_bytes());
    }),
    ("wrong-value", &["wrong-value out/secret-source/vllm-api-key.sealed.yaml:1:1"], |s| reseal(s, "vllm-api-key", &[b'z'; 64])),
    ("hash-differs", &["hash-differs out/secret-source/dex-admin.sealed.yaml"], |s| {
        reseal(s, "dex-admin-hash", b"$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy")
    }),
    ("copy-differs", &["copy-differs secrets/dex-admin-password"], |s| s.write_secret("secrets/dex-admin-password", b"hunter2")),
    ("copy-missing", &["copy-missing secrets/dex-admin-password"], |s| s.remove("secrets/dex-admin-password")),
    (
        "escrow-differs",
        &[
            "escrow-differs keys/sealing.key.age",
            "cannot-open out/secret-source/dex-admin-hash.sealed.yaml:11:12",
            "cannot-open out/secret-source/dex-admin.sealed.yaml:11:12",
            "cannot-open out/secret-source/dex-argocd-client-secret.sealed.yaml:11:12",
            "cannot-open out/secret-source/dex-grafana-client-secret.sealed.yaml:11:12",
            "cannot-open out/secret-source/dex-litellm-client-secret.sealed.yaml:11:12",
            "cannot-open out/secret-source/dex-oauth2-proxy-client-secret.sealed.yaml:11:12",
            "cannot-open out/secret-source/dex-open-webui-client-secret.sealed.yaml:11:12",
            "cannot-open out/secret-source/dex-tabby-client-secret.sealed.yaml:11:12",
            "cannot-open out/secret-source/litellm-db-password.sealed.yaml:11:12",
            "cannot-open out/secret-source/litellm-grafana-ro-password.sealed.yaml:11:12",
            "cannot-open out/secret-source/litellm-master-key.sealed.yaml:11:12",
            "cannot-open out/secret-source/litellm-salt-key.sealed.yaml:12:12",
            "cannot-open out/secret-source/n8n-encryption-key.sealed.yaml:12:12",
            "cannot-open out/secret-source/oauth2-proxy-cookie-secret.sealed.yaml:11:12",
            "cannot-open out/secret-source/vllm-api-key.sealed.yaml:11:12",
        ],
        |s| {
            let other = Sandbox::empty();
            other.make_key(["keygen"]).expect(0);
            s.write("keys/sealing.key.age", &std::fs::read(other.path("keys/sealing.key.age")).unwrap());
            s.write_secret("keys/operator.agekey", other.read("keys/operator.agekey").as_bytes());
        },
    ),
    ("few-recipients", &[], |_| {}),
    ("recipients-differ", &["recipients-differ keys/sealing.key.age"], |s| {
        let (_, one) = seal_secrets::pipeline::escrow::new_identity().unwrap();
        let (_, other) = seal_secrets::pipeline::escrow::new_identity().unwrap();
        s.write("keys/recipients.txt", format!("{one}\n{other}\n").as_bytes());
    }),
];

fn seal(sandbox: &Sandbox, key: &str, value: &[u8]) -> String {
    let certificate = SealingCertificate::read(sandbox.read("keys/sealing.crt").as_bytes()).unwrap();
    let values = vec![(format!("secret-source/{key}"), seal_secrets::model::SecretValue::new(Zeroizing::new(value.to_vec())))];
    Sealer::new(&fit(certificate)).unwrap().seal_all(values, &mut TestEntropy(3), std::num::NonZeroUsize::MIN).unwrap().remove(0)
}

fn with_blob(document: &str, blob: &str) -> String {
    regex::Regex::new("    value: [^\n]*").unwrap().replace(document, format!("    value: {blob}")).into_owned()
}

/// git's index of a repository with this one file (gitformat-index(5), version 2).
fn index_of(file: &str) -> Vec<u8> {
    let entry = [&[0; 40 + 20][..], &(file.len() as u16).to_be_bytes(), file.as_bytes()].concat();
    let padding = vec![0; 8 - entry.len() % 8];
    [b"DIRC\0\0\0\x02\0\0\0\x01", &entry[..], &padding, &[0; 20]].concat()
}

/// Replaces a key's sealed value with another value.
fn reseal(sandbox: &Sandbox, key: &str, value: &[u8]) {
    let blob = seal(sandbox, key, value);
    let contract = contract_file::read("c", contract_file::EMBEDDED).unwrap();
    let file = format!("{SOURCE}{}.sealed.yaml", contract.key(key).unwrap().unit);
    let text = sandbox.read(&file);
    let mine = |document: &str| document.contains(&format!("  name: {key}\n"));
    let documents = text.split("---\n").map(|document| if mine(document) { with_blob(document, &blob) } else { document.to_owned() });
    sandbox.write(&file, documents.collect::<Vec<_>>().join("---\n").as_bytes());
}

#[test]
fn each_defect_is_found_by_its_code() {
    for (code, findings, spoil) in DEFECTS {
        // Two are defects of a hash, and hashing takes longer than all the rest of a run.
        let sandbox = if ["half-missing", "hash-differs"].contains(code) { Sandbox::bootstrapped() } else { Sandbox::hashless() };
        spoil(&sandbox);
        let before = sandbox.snapshot();
        let expected = usual(findings);
        assert!(expected.iter().any(|finding| finding.split(' ').next() == Some(code)), "{code}");
        let json = sandbox.run(["verify", "--json", "--identity", "keys/operator.agekey"]).finds(&expected).stdout;
        assert!(!json.contains("hunter2") && !json.contains("milk"), "{json}");
        assert_eq!(before, sandbox.snapshot(), "verify changes nothing");
    }
}

#[test]
fn what_is_damaged_in_the_keys_folder_is_a_finding_and_the_drill_reports() {
    for (file, text, code, place) in [
        ("keys/sealing.key.age", "", "escrow-differs", ""),
        ("keys/sealing.key.age", "age-encryption.org/v1\n", "escrow-differs", ""),
        ("keys/recipients.txt", "# nobody\n", "unreadable", ""),
        ("keys/sealed.txt", "litellm-salt-key ../o", "unreadable", ":1:1"),
        ("keys/write-once.txt", "litellm-salt-key ../o", "unreadable", ":1:1"),
    ] {
        let sandbox = Sandbox::hashless();
        sandbox.write(file, text.as_bytes());
        let here = [format!("{code} {file}{place}")];
        // It is unknown how many can open a damaged escrow.
        let rest = if file.ends_with(".age") { &USUAL[1..] } else { &USUAL };
        let expected = [rest, &[&here[0]]].concat();
        sandbox.run(["verify"]).finds(&expected);
        let drill = sandbox.run(["verify", "--drill"]).finds(&expected).stdout;
        assert!(drill.starts_with("recovery drill, ") && drill.contains("\nfailed: "), "{file}: {drill}");
    }
}

#[test]
fn every_code_has_a_defect_here_and_one_heading_in_the_document() {
    let known: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let mut tested: BTreeSet<&str> = DEFECTS.iter().chain(crate::platform::DEFECTS).map(|(code, ..)| *code).collect();
    // These need a run of their own: here with a later clock, in `platform.rs` with `--store-kind`, in `defined_twice.rs`, in
    // `repository.rs` and in `flux.rs`.
    tested.extend(["certificate-expires-soon", "store-kind-differs", "not-yet-patched", "defined-twice", "plaintext-in-repository"]);
    tested.insert("allow-list-differs");
    assert_eq!(known, tested);
    let document = std::fs::read_to_string(fixture("../docs/findings.md")).unwrap();
    let headings: Vec<&str> = document.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let all: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(headings, all, "docs/findings.md has one heading for each code, in their order");
}

#[test]
fn a_certificate_that_ends_soon_is_a_warning() {
    use std::time::{Duration, UNIX_EPOCH};
    let sandbox = Sandbox::bootstrapped();
    let ran = sandbox.run_at(|| UNIX_EPOCH + Duration::from_secs(4_922_899_200 - 86_400), ["verify"]);
    ran.finds(&usual(&["certificate-expires-soon keys/sealing.crt"]));
}

#[test]
fn a_healthy_state_is_good_and_says_whether_values_were_opened() {
    let sandbox = Sandbox::bootstrapped();
    let ran = sandbox.run(["verify"]).finds(&USUAL);
    assert!(ran.stdout.contains("good: ") && ran.stdout.contains("no value was opened"), "{}", ran.stdout);
    let ran = sandbox.run(["verify", "--identity", "keys/operator.agekey"]).finds(&USUAL);
    assert!(ran.stdout.contains("every value was opened"), "{}", ran.stdout);
    // By place, and the same for programs.
    let json = sandbox.run(["verify", "--json"]).finds(&USUAL);
    assert_eq!(ran.findings(), USUAL);
    assert_eq!(json.findings(), USUAL);
}

#[test]
fn a_derived_file_is_shown_where_it_differs_and_never_what_stands_there() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.edit("out/secret-source/rbac.yaml", "- vllm-api-key", "- hunter2");
    let ran = sandbox.run(["verify"]).finds(&usual(&["rbac-differs out/secret-source/rbac.yaml:27:1"]));
    assert!(ran.stdout.contains("here should stand `  - vllm-api-key`"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("hunter2"), "{}", ran.stdout);
}
