//! `verify --repository`: secrets in the clear in a repository, and what only looks like one.

use crate::common::{Sandbox, git, needs, usual};

/// A file, and where it has something in the clear.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str]);

const KEY: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
const AGE: &str = "AGE-SECRET-KEY-1QQPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZ2";

/// KEY, AGE and BLOB stand for a line of a key, an identity, and a sealed value.
const CASES: &[Case] = &[
    ("a Secret", "apps/db.yaml", "a: b\n---\napiVersion: v1\nkind: Secret\nstringData: { password: hunter22 }\n", &[":3:1"]),
    ("a Secret in base64", "apps/db.yml", "apiVersion: v1\nkind: Secret\ndata:\n  password: aHVudGVyMjI=\n", &[":1:1"]),
    ("one in JSON", "apps/db.json", r#"{"apiVersion":"v1","kind":"Secret","data":{"password":"aHVudGVyMjI="}}"#, &[":1:1"]),
    (
        "one in a List",
        "list.yaml",
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  stringData: {a: hunter22}\n",
        &[":4:3"],
    ),
    (
        "one in the values of a chart",
        "values.yaml",
        "helm:\n  values: |\n    extra:\n    - apiVersion: v1\n      kind: Secret\n      stringData: {a: hunter22}\n",
        &[":3:5"],
    ),
    ("a private key", "deploy.pem", "x\n-----BEGIN PRIVATE KEY-----\nKEY\n-----END PRIVATE KEY-----\n", &[":2:1"]),
    ("one of SSH", "id_ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----\nKEY\n", &[":1:1"]),
    ("one in a string", "config.json", "{\"key\": \"-----BEGIN RSA PRIVATE KEY-----\\nKEY\\n\"}", &[":1:10"]),
    ("an age identity", "notes.txt", "# public key: age1x\nAGE\n", &[":2:1"]),
    ("variables", ".env", "PORT=80\nexport DB_PASSWORD='hunter22'\nAPI_TOKEN=0123456789\n", &[":2:21", ":3:11"]),
    ("variables of a stage", "web/.env.production", "SECRET_KEY=0123456789\n", &[":1:12"]),
    ("what sops did not encrypt", "db.sops.yaml", "password: hunter22\n", &[":1:1"]),
    // None of these is a secret.
    ("a SealedSecret", "s.yaml", "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nspec: {encryptedData: {password: BLOB}}\n", &[]),
    (
        "an ExternalSecret",
        "e.yaml",
        "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nspec: {data: [{secretKey: a, remoteRef: {key: Secret}}]}\n",
        &[],
    ),
    ("a Secret without values", "t.yaml", "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\n", &[]),
    ("placeholders", "p.yaml", "apiVersion: v1\nkind: Secret\nstringData: {a: changeme, b: <your-token>, c: '${TOKEN}'}\n", &[]),
    ("a template", "templates/x.yaml", "apiVersion: v1\nkind: Secret\nstringData:\n  a: '{{ .Values.password }}'\n", &[]),
    ("what sops encrypted", "x.sops.yaml", "a: ENC[AES256_GCM,data:x]\nsops: {version: 3}\n", &[]),
    (
        "what sops encrypted of a Secret",
        "x.yaml",
        "apiVersion: v1\nkind: Secret\nstringData: {a: 'ENC[AES256_GCM,data:xx]'}\nsops: {}\n",
        &[],
    ),
    ("the rules of sops", ".sops.yaml", "creation_rules: [{age: age1x}]\n", &[]),
    ("an example of variables", ".env.example", "DB_PASSWORD=hunter22\n", &[]),
    ("variables without a secret", ".env", "PORT=8080808\nTOKEN=\nPASSWORD=changeme\n", &[]),
    ("a key with a passphrase", "k.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nKEY\n", &[]),
    ("a document on keys", "docs/keys.md", "It begins with `-----BEGIN PRIVATE KEY-----`.\n", &[]),
    (
        "a public key and a recipient",
        "pub.txt",
        "-----BEGIN PUBLIC KEY-----\nKEY\nage1qqpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgps3kx6g\n",
        &[],
    ),
    ("what git ignores", "secrets/note.pem", "-----BEGIN PRIVATE KEY-----\nKEY\n", &[]),
];

#[test]
fn what_stands_in_the_clear_is_found_where_it_stands_and_nothing_else_is() {
    needs!("git");
    let sandbox = Sandbox::bootstrapped();
    git(&sandbox, &["init", "-q", "."]);
    sandbox.write("keys/.gitignore", b"*.agekey\n");
    let blob = sandbox.read("out/secret-source/vllm-api-key.sealed.yaml");
    let blob = blob.lines().find_map(|line| line.strip_prefix("    value: ")).unwrap();
    sandbox.run(["verify", "--repository"]).finds(&usual(&[]));
    for (what, file, text, places) in CASES {
        sandbox.write(
            file,
            text.replace("KEY\n", &format!("{KEY}\n"))
                .replace("KEY\\n", &format!("{KEY}\\n"))
                .replace("BLOB", blob)
                .replace("AGE\n", &format!("{AGE}\n"))
                .as_bytes(),
        );
        let found: Vec<String> = places.iter().map(|place| format!("plaintext-in-repository {file}{place}")).collect();
        let expected = usual(&found.iter().map(String::as_str).collect::<Vec<_>>());
        let ran = sandbox.run(["verify", "--repository", "--verbose"]);
        assert!(!ran.stdout.contains("hunter22") && !ran.stdout.contains(KEY), "{what}: {}", ran.stdout);
        ran.finds(&expected);
        sandbox.remove(file);
    }
}

#[test]
fn a_value_that_is_sealed_here_is_found_wherever_it_stands() {
    needs!("git");
    let sandbox = Sandbox::hashless();
    git(&sandbox, &["init", "-q", "."]);
    sandbox.write("keys/.gitignore", b"*.agekey\n");
    let value = sandbox.value("vllm-api-key");
    sandbox.write("apps/notes.md", format!("remember:\nkey = {value}!\n").as_bytes());
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &value);
    sandbox.write("apps/raw.txt", format!("{encoded}\n").as_bytes());
    sandbox.run(["verify", "--repository"]).finds(&usual(&[]));
    let places = ["plaintext-in-repository apps/notes.md:2:7", "plaintext-in-repository apps/raw.txt:1:1"];
    let ran = sandbox.run(["verify", "--repository", "--identity", "keys/operator.agekey"]);
    assert!(ran.stdout.contains("the value of `vllm-api-key` stands here") && !ran.stdout.contains(&value), "{}", ran.stdout);
    ran.finds(&usual(&places));
    // From a subfolder it is the same repository.
    let below = sandbox
        .run_from("apps", ["verify", "--repository", "--out", "../out", "--keys", "../keys", "--identity", "../keys/operator.agekey"]);
    assert_eq!(below.stdout.matches("plaintext-in-repository").count(), 2, "{}", below.stdout);
}
