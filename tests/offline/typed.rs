//! A path on the command line that does not exist may be a secret in the wrong place: the error names its flag, and does not repeat what
//! was typed.

use crate::common::{OWN_KEY, Sandbox, fixture_text};

const SECRET: &str = "Vt8QmZ4xKp2WnR6yHd0sLc9B";

const NO_FILE: &str = "no such file\nhelp: name a file that exists; the nearest folder that does is {here}";
const NO_CHECKOUT: &str = "no such folder\nhelp: name the root of the platform's checkout";
const NO_PATH: &str = "no such file or folder\nhelp: pass one that exists";
const NO_CERTIFICATE: &str = "no such file\n  values are sealed already, and a new sealing key would not open them\nhelp: restore it from git; or pass the keys folder with `--keys DIR`; if it is lost, see docs/recovery.md#the-private-part-of-keys";
const NO_PARENT: &str = "cannot be made\n  No such file or directory (os error 2)\nhelp: make the parent folder first: `mkdir -p`";

/// Arguments with `{}` for the typed text, the exit code, whose error it is, and the rest of it.
const TYPED: &[(&str, i32, &str, &str)] = &[
    ("unseal --identity {}", 3, "the file of `--identity`", NO_FILE),
    ("unseal --identity ./{}", 3, "the file of `--identity`", NO_FILE),
    ("unseal --identity {here}/{}", 3, "the file of `--identity`", NO_FILE),
    ("unseal --identity={}/{}", 3, "the file of `--identity`", NO_FILE),
    ("verify --identity {}", 3, "the file of `--identity`", NO_FILE),
    ("verify --drill --identity {}", 3, "the file of `--identity`", NO_FILE),
    ("status --identity {}", 3, "the file of `--identity`", NO_FILE),
    ("renew --yes --identity {}", 3, "the file of `--identity`", NO_FILE),
    ("re-encrypt --yes --identity {}", 3, "the file of `--identity`", NO_FILE),
    ("key-secret --identity {}", 3, "the file of `--identity`", NO_FILE),
    ("copy --from a --to b --identity {}", 3, "the file of `--identity`", NO_FILE),
    (
        "escrow add-recipient age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa --yes --identity {}",
        3,
        "the file of `--identity`",
        NO_FILE,
    ),
    ("unseal --recovery-private-key {}", 3, "the file of `--recovery-private-key`", NO_FILE),
    ("unseal --recovery-private-key key.pem,{}", 3, "the file of `--recovery-private-key`", NO_FILE),
    ("re-encrypt --yes --recovery-private-key {}", 3, "the file of `--recovery-private-key`", NO_FILE),
    ("unseal -f {}", 3, "the file of `--filename`", NO_FILE),
    ("import -f {}", 3, "the file of `--filename`", NO_FILE),
    ("import --filename={}", 3, "the file of `--filename`", NO_FILE),
    ("import --env-file {}", 3, "the file of `--env-file`", NO_FILE),
    ("import --from-directory {}", 3, "the folder of `--from-directory`", "no such folder\nhelp: pass a folder with one file per key"),
    ("bootstrap --contract {}", 3, "the file of `--contract`", NO_FILE),
    ("--contract {} plan", 3, "the file of `--contract`", NO_FILE),
    ("contract --contract {}", 3, "the file of `--contract`", NO_FILE),
    ("contract --from-platform {}", 3, "the folder of `--from-platform`", NO_CHECKOUT),
    ("plan --platform {}", 3, "the folder of `--platform`", NO_CHECKOUT),
    ("--platform {} patch", 3, "the folder of `--platform`", NO_CHECKOUT),
    ("re-encrypt --yes {}", 3, "`PATH`", NO_PATH),
    ("re-encrypt --yes out {}/", 3, "`PATH`", NO_PATH),
    ("status {}/{}", 3, "`PATH`", NO_PATH),
    ("bootstrap --keys {}", 3, "sealing.crt in the folder of `--keys`", NO_CERTIFICATE),
    ("--keys {}/x bootstrap", 3, "sealing.crt in the folder of `--keys`", NO_CERTIFICATE),
    ("keygen --keys {}/{}", 3, "sealing.crt in the folder of `--keys`", NO_CERTIFICATE),
    (
        "bootstrap --out {}/{}",
        4,
        "keys/sealed.txt",
        "the values of these keys are sealed in `out`, not in `the folder of `--out``\n  another folder would get a second value for every key\nhelp: pass `--out out`, or set `out` in `seal-secrets.yaml`; or `--cluster NAME`, for the values of another cluster",
    ),
    ("status --out {}", 3, "the folder of `--out`", NO_PATH),
    ("unseal --out {}", 3, "the folder of `--out`", "no sealed files\nhelp: pass the folder with `--out DIR`, or a file with `-f FILE`"),
    ("rotate dex-admin-password --yes --secrets {}/{}", 5, "the folder of `--secrets`", NO_PARENT),
    ("verify --settings {}", 3, "the file of `--settings`", NO_FILE),
];

#[cfg(feature = "cluster")]
const TYPED_FOR_A_CLUSTER: &[(&str, i32, &str, &str)] = &[
    ("fetch-cert --file {}", 3, "the file of `--file`", NO_FILE),
    ("fetch-cert --kubeconfig {}", 7, "the file of `--kubeconfig`", NO_KUBECONFIG),
    ("doctor --kubeconfig {}/{}:{}", 7, "the file of `--kubeconfig`", NO_KUBECONFIG),
    ("backup --kubeconfig kubeconfig:{}", 7, "the file of `--kubeconfig`", NO_KUBECONFIG),
    ("key-secret --apply --context a --kubeconfig {}", 7, "the file of `--kubeconfig`", NO_KUBECONFIG),
    ("import --from-cluster --context a --kubeconfig {}", 7, "the file of `--kubeconfig`", NO_KUBECONFIG),
    ("re-encrypt --via-controller --yes --kubeconfig {}", 7, "the file of `--kubeconfig`", NO_KUBECONFIG),
    ("backup --kubeconfig kubeconfig --identity {}", 3, "the file of `--identity`", NO_FILE),
];
#[cfg(feature = "cluster")]
const NO_KUBECONFIG: &str = "no such file\nhelp: pass the kubeconfig with `--kubeconfig FILE`";
#[cfg(not(feature = "cluster"))]
const TYPED_FOR_A_CLUSTER: &[(&str, i32, &str, &str)] = &[];

#[test]
fn what_does_not_exist_is_not_repeated() {
    let sandbox = Sandbox::bootstrapped();
    let here = sandbox.path("").to_string_lossy().trim_end_matches('/').to_owned();
    sandbox.write_secret("key.pem", fixture_text(OWN_KEY).as_bytes());
    sandbox.write("kubeconfig", b"clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\ncontexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n");
    for cluster in ["keys/a", "out/a", "keys/b"] {
        let from = cluster.split('/').next().unwrap();
        assert!(std::process::Command::new("cp").arg("-a").args([sandbox.path(from), sandbox.path("copied")]).status().unwrap().success());
        std::fs::rename(sandbox.path("copied"), sandbox.path(cluster)).unwrap();
    }
    sandbox.remove("keys/b/sealed.txt");
    let before = sandbox.snapshot();
    for (args, code, whose, rest) in TYPED.iter().chain(TYPED_FOR_A_CLUSTER) {
        let typed = args.replace("{here}", &here).replace("{}", SECRET);
        let ran = sandbox.run(typed.split(' '));
        let expected = format!("error: {whose}: {}\n", rest.replace("{here}", &here));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (*code, "", expected.as_str()), "{args}");
        assert!(!ran.stderr.contains(SECRET), "{args}");
        assert!(before == sandbox.snapshot(), "{args}");
    }
}

/// A file, the arguments that read it, and texts with a secret `{}` where none belongs.
const PLANTED: &[(&str, &str, &[&str])] = &[
    (
        "key.pem",
        "unseal --recovery-private-key key.pem",
        &[
            "-----BEGIN {}-----\n",
            "-----BEGIN {}-----\naGk=\n-----END {}-----\n",
            "-----BEGIN {}-----\naGk\n-----END {}-----\n",
            "-----BEGIN {}-----\n!\n-----END {}-----\n",
            "-----BEGIN {} PRIVATE KEY-----\naGk=\n-----END {} PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY-----\n{}\n",
        ],
    ),
    (
        "keys/sealing.crt",
        "bootstrap",
        &[
            "-----BEGIN {}-----\n",
            "-----BEGIN {}-----\naGk=\n-----END {}-----\n",
            "-----BEGIN CERTIFICATE-----\n{}\n-----END {}-----\n",
            "{}\n",
        ],
    ),
    (
        "in.yaml",
        "import -f in.yaml",
        &[
            "{}: 1\n{}: 2\n",
            "a: {{}: 1, {}: 2}\n",
            "a:\n- {}: 1\n  {}: 2\n",
            "apiVersion: v1\nkind: {}\n",
            "apiVersion: {}\nkind: Secret\n",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: {}}\ndata: {{}: {}, {}: {}}\n",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: hf-token, namespace: secret-source}\ndata: {value: '{}!'}\n",
            "'{}",
            "*{}",
            "!{} a",
            "&{} a",
            "? {}\n\t: a",
        ],
    ),
    (
        "in.env",
        "import --env-file in.env",
        &["{}\n", "A={}\nA={}\n", "{}={}\n{}={}\n", "export {}\n", "HF_TOKEN='{}\n", "HF_TOKEN=\"{}\\q\"\n"],
    ),
    ("keys/recipients.txt", "verify", &["{}\n", "age1{}\n", "AGE-SECRET-KEY-1{}\n", "ssh-ed25519 {}\n", "# a\n{} {}\n"]),
    ("id", "unseal --identity id", &["{}\n", "AGE-SECRET-KEY-1{}\n", "AGE-PLUGIN-{}-1\n"]),
    ("keys/sealed.txt", "bootstrap", &["{}\n", "{} {}\n"]),
    ("contract.yaml", "contract --contract contract.yaml", &["{}: 1\n{}: 2\n", "keys:\n- {{}: 1, {}: 2}\n", "'{}", "- {}\n", "{}\n"]),
];

#[test]
fn a_secret_at_a_wrong_place_of_a_file_is_not_repeated() {
    for (file, args, texts) in PLANTED {
        for text in *texts {
            let sandbox = Sandbox::bootstrapped();
            sandbox.write_secret(file, text.replace("{}", SECRET).as_bytes());
            let ran = sandbox.run(args.split(' '));
            assert_ne!(ran.code, 0, "{file}: {text:?}: {}", ran.stdout);
            let said = (ran.stdout + &ran.stderr).to_ascii_lowercase();
            assert!(!said.contains(&SECRET.to_ascii_lowercase()), "{file}: {text:?}: {said}");
        }
    }
}
