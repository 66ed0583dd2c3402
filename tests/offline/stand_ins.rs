//! A placeholder is not sealed as a value, nor is a value that its consumer is known to refuse.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

use crate::as_meant::one_key;
use crate::common::{Ran, Sandbox, USUAL, at_the_prompt, needs};

const SOPS: &str = "is still encrypted with sops";
const STORE: &str = "is a reference to a secret store";
const TEMPLATE: &str = "is a template that was not rendered";
const VARIABLE: &str = "is a variable that was not expanded";
const PROPERTY: &str = "is a JSON object whose only field is `value`, as it is left where `property` is missing";
const ASSIGNMENT: &str = "is a line of an env file";
const PLACEHOLDER: &str = "is a placeholder or a well-known example";

/// A value, and what the error says of it.
const STAND_INS: &[(&str, &str)] = &[
    ("ENC[AES256_GCM,data:abc=,iv:def=,tag:ghi=,type:str]", SOPS),
    ("{\"data\": \"ENC[AES256_GCM,data:abc=,iv:def=,tag:ghi=,type:str]\", \"sops\": {}}", SOPS),
    ("$ANSIBLE_VAULT;1.1;AES256\n3061\n6162\n", "is still encrypted with ansible-vault"),
    ("-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n", "is still encrypted with age"),
    ("age-encryption.org/v1\n-> X25519 abc\n", "is still encrypted with age"),
    ("-----BEGIN PGP MESSAGE-----\n\nhQ==\n-----END PGP MESSAGE-----\n", "is still encrypted with PGP"),
    ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "is a pointer of Git LFS"),
    ("vault:secret/data/app#token", STORE),
    ("vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w==", STORE),
    ("<path:secret/data/app#token>", STORE),
    ("sk-<path:secret/data/app#token | base64encode>", STORE),
    ("ref+vault://secret/app#/token", STORE),
    ("op://Production/app/token", STORE),
    ("arn:aws:secretsmanager:eu-central-1:111122223333:secret:app", STORE),
    ("@Microsoft.KeyVault(SecretUri=https://x.vault.azure.net/secrets/a/)", STORE),
    ("{{ .Values.token }}", TEMPLATE),
    ("{{ op://Production/app/token }}", TEMPLATE),
    ("{% raw %}", TEMPLATE),
    ("(( grab app.token ))", TEMPLATE),
    ("#{APP_TOKEN}#", TEMPLATE),
    ("${APP_TOKEN}", VARIABLE),
    ("${APP_TOKEN:-none}", VARIABLE),
    ("$(cat token)", VARIABLE),
    ("$APP_TOKEN", VARIABLE),
    ("$app_token", VARIABLE),
    ("<your-token>", PLACEHOLDER),
    ("<no value>", PLACEHOLDER),
    ("&lt;token&gt;", PLACEHOLDER),
    ("__TOKEN__", PLACEHOLDER),
    ("changeme", PLACEHOLDER),
    ("Change-Me!", PLACEHOLDER),
    ("CHANGE_ME_IN_PRODUCTION", PLACEHOLDER),
    ("REPLACE_ME", PLACEHOLDER),
    ("replace-with-your-token", PLACEHOLDER),
    ("TODO", PLACEHOLDER),
    ("xxx", PLACEHOLDER),
    ("XXXXXXXX-XXXX-XXXX", PLACEHOLDER),
    ("********", PLACEHOLDER),
    ("your-api-key-here", PLACEHOLDER),
    ("YOUR_API_KEY", PLACEHOLDER),
    ("example", PLACEHOLDER),
    ("placeholder", PLACEHOLDER),
    ("dummy", PLACEHOLDER),
    ("password", PLACEHOLDER),
    ("Passw0rd!", PLACEHOLDER),
    ("secret", PLACEHOLDER),
    ("admin", PLACEHOLDER),
    ("test", PLACEHOLDER),
    ("null", PLACEHOLDER),
    ("123456", PLACEHOLDER),
    ("sk-1234", PLACEHOLDER),
    ("sk-...", PLACEHOLDER),
    ("sk-", PLACEHOLDER),
    ("sk-ant-xxxxxxxxxxxx", PLACEHOLDER),
    ("hf_xxxxxxxxxxxxxxxx", PLACEHOLDER),
    ("hf_your_token_here", PLACEHOLDER),
    ("AKIAIOSFODNN7EXAMPLE", PLACEHOLDER),
    ("PUT_YOUR_TOKEN_HERE", PLACEHOLDER),
    ("ENTER_KEY_HERE", PLACEHOLDER),
    ("insert-token-here", PLACEHOLDER),
    ("please-change-me", PLACEHOLDER),
    ("FILL_ME", PLACEHOLDER),
    ("SET_ME", PLACEHOLDER),
    ("to-be-replaced", PLACEHOLDER),
    ("dummy-token", PLACEHOLDER),
    ("fake-api-key", PLACEHOLDER),
    ("example-token", PLACEHOLDER),
    ("your-anthropic-api-key", PLACEHOLDER),
    ("YourApiKeyHere", PLACEHOLDER),
    ("TODO: fill in", PLACEHOLDER),
    ("N/A", PLACEHOLDER),
    ("[[ .token ]]", TEMPLATE),
    ("ENC(abc=)", "is still encrypted with jasypt"),
    ("[ENC]abc", "is still encrypted"),
    ("awssm://app/token", STORE),
    ("gcp:secretmanager:projects/app", STORE),
    ("env:TOKEN", VARIABLE),
    ("/run/secrets/token", "is the path of a mounted secret"),
    ("{\"value\":\"Zk3vQ9xW7rT1yB5n\"}", PROPERTY),
    ("{\n  \"value\": \"Zk3vQ9xW7rT1yB5n\"\n}\n", PROPERTY),
    ("LITELLM_DB_PASSWORD=Zk3vQ9xW7rT1yB5n", ASSIGNMENT),
    ("export token=Zk3vQ9xW7rT1yB5n", ASSIGNMENT),
    ("TOKEN=Zk3vQ9xW7rT1yB5n==", ASSIGNMENT),
    ("\u{feff}Zk3vQ9xW7rT1yB5n", "begins with a byte-order mark of UTF-8, which its consumer would take for a part of it"),
    ("Zk3vQ9xW7rT1yB5n\0", "ends with a NUL byte"),
    ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", PLACEHOLDER),
];

/// Texts that look a little like one of them, but are values.
const VALUES: &[&str] = &[
    "correct horse battery staple",
    "postgres://app:hX9$kLm2@db/${schema}",
    "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
    "$Zk3vQ9xW7rT1",
    "{\"type\": \"service_account\", \"token\": \"hX9kLm2\"}",
    "{{a}} and {{b}}",
    "your-lantern-secret-anvil-key",
    "example-lantern-token-anvil",
    "$PMKUMYVPY8447AB",
    "$kq7xw2m9t4v",
    "[[\"a\",1]]",
    "{\"value\": \"Zk3vQ9\", \"user\": \"app\"}",
    "{\"value\": {\"a\": 1}}",
    "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP====",
    "QUJD=",
    "PMKUMYVPY8447AB=x9",
    "UID=app;PWD=Zk3vQ9xW7rT1",
    "UID=app,OU=people,DC=example,DC=org",
    "TOKEN=Zk3vQ9\nUSER=app\n",
    "me-and-my-Zk3vQ9",
    "environment:Zk3vQ9",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "glpat-Zk3vQ9xW7rT1yB5n8LmP",
    "AKIAQ3EGV7PZ2MXK4TDN",
    "xoxb-263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1",
    "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",
    "rk_live_51HqLyjWDarjtT1zdp7dcXyz",
    "npm_aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0cD3fG6",
    "dckr_pat_Zk3vQ9xW7rT1yB5n8LmPqRsTuVw",
    "pypi-AgEIcHlwaS5vcmcCJDU3OTM1MjliLWIyYTYtNDEwOC05NzRkLTM0MjNiNmEwNWIzYg",
    "AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhcHAifQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "pat-eu1-3f2c8a91-5d7e-4b60-9c1f-2a8d6e4b7c05",
    "<a><b>c</b></a>",
    "sk-Zk3vQ9xW7rT1yB5n",
    "passwordless-Zk3vQ9",
    "testing-Zk3vQ9xW7rT1",
    "examples/Zk3vQ9xW",
    "xXx1",
    "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nQUJD\n-----END OPENSSH PRIVATE KEY-----\n",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nQUJD\n-----END PGP PRIVATE KEY BLOCK-----\n",
];

fn with_contract() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("c.yaml", one_key().as_bytes());
    sandbox
}

fn provide(sandbox: &Sandbox, value: &str, more: &[&str]) -> Ran {
    sandbox.write_secret("in", value.as_bytes());
    sandbox.run([&["bootstrap", "--contract", "c.yaml", "--provide", "token=in"], more].concat())
}

#[test]
fn what_stands_for_a_value_is_refused_with_its_kind_and_never_shown() {
    let sandbox = with_contract();
    for (value, kind) in STAND_INS {
        let ran = provide(&sandbox, value, &[]).expect(3);
        let first = format!("error: the value of `token` {kind}");
        assert_eq!(ran.stderr.lines().next(), Some(first.as_str()), "{value}: {}", ran.stderr);
        assert!(ran.stderr.ends_with("; to seal it all the same, add `--accept-as-is token`\n"), "{value}: {}", ran.stderr);
        assert!(value.len() < 8 || kind.contains(value) || !ran.stderr.contains(value), "{value}: {}", ran.stderr);
        assert!(!sandbox.path("out").exists(), "{value}");
    }
}

#[test]
fn what_is_still_sealed_or_compressed_is_refused() {
    let sandbox = with_contract();
    let blob = BASE64_STANDARD.encode([[2, 0].as_slice(), &[7; 512 + 20]].concat());
    for (value, says) in [
        (format!("{blob}\n").as_bytes(), "is still sealed\nhelp: open it first with `seal-secrets --contract c.yaml unseal -f FILE`; "),
        (b"\x1f\x8b\x08\0\0\0\0\0", "is compressed with gzip\nhelp: unpack it first: `gzip -dc FILE`; "),
    ] {
        sandbox.write_secret("in", value);
        let ran = sandbox.run(["bootstrap", "--contract", "c.yaml", "--provide", "token=in"]).expect(3);
        assert!(ran.stderr.contains(&format!("error: the value of `token` {says}")), "{}", ran.stderr);
    }
    sandbox.run(["bootstrap", "--contract", "c.yaml", "--provide", "token=in", "--accept-as-is", "token"]).expect(0);
}

#[test]
fn what_only_looks_like_one_is_sealed() {
    for value in VALUES {
        let sandbox = with_contract();
        let ran = provide(&sandbox, value, &[]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{value}");
        assert_eq!(sandbox.value("token"), *value);
    }
}

/// How a value of `token` is passed; more arguments follow.
type Source = (&'static str, fn(&Sandbox, &str, &[&str]) -> Ran);
const SOURCES: &[Source] = &[
    ("file", provide),
    ("env-file", |s, value, more| {
        s.write_secret("in", format!("TOKEN={value}\n").as_bytes());
        s.run([&["import", "--contract", "c.yaml", "--env-file", "in"], more].concat())
    }),
    ("secrets", |s, value, more| {
        s.write_secret("in", crate::as_meant::secret(&format!("data: {{value: {}}}\n", BASE64_STANDARD.encode(value))).as_bytes());
        s.run([&["import", "--contract", "c.yaml", "-f", "in"], more].concat())
    }),
    ("folder", |s, value, more| {
        s.write_secret("in/token", value.as_bytes());
        s.run([&["import", "--contract", "c.yaml", "--from-directory", "in"], more].concat())
    }),
    ("rotated", |s, value, more| {
        if !s.path("out").exists() {
            s.write_secret("first", b"Zk3vQ9xW7rT1yB5n");
            s.run(["bootstrap", "--contract", "c.yaml", "--provide", "token=first"]).expect(0);
        }
        s.write_secret("in", value.as_bytes());
        s.run([&["rotate", "--contract", "c.yaml", "--yes", "--provide", "token=in"], more].concat())
    }),
];

#[test]
fn a_key_that_is_named_is_sealed_as_it_is_from_every_source() {
    for (source, seal) in SOURCES {
        let sandbox = with_contract();
        let refused = seal(&sandbox, "changeme", &[]).expect(3);
        assert!(refused.stderr.contains(PLACEHOLDER), "{source}: {}", refused.stderr);
        seal(&sandbox, "changeme", &["--accept-as-is", "token"]).expect(0);
        assert_eq!(sandbox.value("token"), "changeme", "{source}");
        let unknown = seal(&sandbox, "changeme", &["--accept-as-is", "tokem"]).expect(2);
        assert!(unknown.stderr.contains("`--accept-as-is` names a key that the contract does not have"), "{source}: {}", unknown.stderr);
    }
}

#[test]
fn a_placeholder_that_is_typed_is_refused() {
    needs!("script");
    let sandbox = with_contract();
    let shown = at_the_prompt(&sandbox, "bootstrap --contract c.yaml --provide token", &[("token: ", "<your-token>\r")]);
    assert!(shown.contains("code=3") && shown.contains(PLACEHOLDER) && !sandbox.path("out").exists(), "{shown}");
}

/// A variable of the platform's contract, its value, and what is wrong with it; none if it is sealed.
fn for_consumers() -> Vec<(&'static str, String, Option<&'static str>)> {
    const NO_COOKIE: Option<&str> = Some("is no cookie secret: oauth2-proxy takes 16, 24 or 32 bytes, as they are or in base64url");
    const NO_PREFIX: Option<&str> = Some("does not begin with `sk-`, and its consumer asks for that");
    const ENCODED: Option<&str> = Some("is base64 of a value that fits");
    const PATTERN: Option<&str> = Some("is not what its recipe asks for (provided)");
    let hex = "0123456789abcdef".repeat(4);
    let encoded = |text: &str| BASE64_STANDARD.encode(text);
    let random: Vec<u8> = (0..32u8).map(|i| i.wrapping_mul(0x9d) ^ 0xfb).collect();
    vec![
        ("OAUTH2_PROXY_COOKIE_SECRET", "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=".into(), NO_COOKIE),
        ("OAUTH2_PROXY_COOKIE_SECRET", "of seventeen byte".into(), NO_COOKIE),
        ("OAUTH2_PROXY_COOKIE_SECRET", hex.clone(), NO_COOKIE),
        ("OAUTH2_PROXY_COOKIE_SECRET", "of sixteen bytes".into(), None),
        ("OAUTH2_PROXY_COOKIE_SECRET", "0123456789abcdef01234567".into(), None),
        ("OAUTH2_PROXY_COOKIE_SECRET", BASE64_URL_SAFE.encode(&random), None),
        ("OAUTH2_PROXY_COOKIE_SECRET", BASE64_URL_SAFE.encode(&random[..16]).trim_end_matches('=').into(), None),
        ("OAUTH2_PROXY_COOKIE_SECRET", encoded("0123456789abcdef0123456789ABCDEF"), None),
        ("LITELLM_MASTER_KEY", "Zk3vQ9xW7rT1yB5n".into(), NO_PREFIX),
        ("LITELLM_MASTER_KEY", encoded(&format!("sk-{hex}")), ENCODED),
        ("LITELLM_MASTER_KEY", "sk-Zk3vQ9xW7rT1yB5n".into(), None),
        ("VLLM_API_KEY", encoded(&hex), ENCODED),
        ("VLLM_API_KEY", encoded(&format!("{hex}\n")), ENCODED),
        ("VLLM_API_KEY", BASE64_STANDARD.encode(&random), None),
        ("VLLM_API_KEY", "Zk3vQ9xW7rT1yB5n".into(), None),
        ("HF_TOKEN", "Zk3vQ9xW7rT1yB5n".into(), PATTERN),
        ("HF_TOKEN", encoded("hf_Zk3vQ9xW7rT1yB5n"), ENCODED),
        ("HF_TOKEN", "hf_Zk3vQ9xW7rT1yB5n".into(), None),
        ("ANTHROPIC_API_KEY", "sk-Zk3vQ9xW7rT1yB5n".into(), PATTERN),
    ]
}

#[test]
fn a_value_that_its_consumer_refuses_is_not_sealed_unless_it_is_accepted() {
    for (variable, value, fault) in for_consumers() {
        let sandbox = Sandbox::with_keys().without_hash();
        sandbox.write_secret("in.env", format!("{variable}='{value}'\n").as_bytes());
        let key = variable.to_ascii_lowercase().replace('_', "-");
        if let Some(fault) = fault {
            let ran = sandbox.run(["import", "--env-file", "in.env"]).expect(3);
            let first = format!("error: in.env:1: the value of `{key}` {fault}");
            assert_eq!(ran.stderr.lines().next(), Some(first.as_str()), "{variable}={value}");
            assert!(!ran.stderr.contains(&value) && !sandbox.path("out").exists(), "{variable}={value}: {}", ran.stderr);
            sandbox.run(["import", "--env-file", "in.env", "--accept-as-is", &key]).expect(0);
        } else {
            sandbox.run(["import", "--env-file", "in.env"]).expect(0);
        }
        assert_eq!(sandbox.value(&key), value, "{variable}");
        // A value that is sealed by now is not judged again.
        sandbox.run(["bootstrap"]).expect(0);
        sandbox
            .run(["verify", "--identity", "keys/operator.agekey"])
            .finds(&USUAL.into_iter().filter(|finding| !finding.contains(&format!("/{key}."))).collect::<Vec<_>>());
    }
}

#[test]
fn a_hash_of_a_cost_that_its_consumer_refuses_is_not_sealed() {
    let sandbox = Sandbox::with_keys();
    let hash = bcrypt::hash("correct horse", 4).unwrap();
    sandbox.write_secret("in.env", format!("dex-admin-password=correct horse\ndex-admin-hash='{hash}'\n").as_bytes());
    let ran = sandbox.run(["import", "--env-file", "in.env"]).expect(3);
    let first = "error: in.env:2: the value of `dex-admin-hash` is a bcrypt hash of a cost below 10, which its consumer refuses";
    assert_eq!(ran.stderr.lines().next(), Some(first));
    sandbox.run(["import", "--env-file", "in.env", "--accept-as-is", "dex-admin-hash"]).expect(0);
    assert_eq!(sandbox.value("dex-admin-hash"), hash);
}

#[test]
fn what_is_copied_from_another_cluster_is_not_judged_again() {
    let sandbox = crate::copy::two_clusters();
    sandbox.accept("keys/a");
    sandbox.write_secret("in", b"changeme");
    sandbox.run(["bootstrap", "--cluster", "a", "--provide", "hf-token=in", "--accept-as-is", "hf-token"]).expect(0);
    sandbox.run(["copy", "--from", "a", "--to", "b", "hf-token"]).expect(0);
    assert_eq!(sandbox.run(["unseal", "--cluster", "b", "--value", "hf-token"]).expect(0).stdout, "changeme");
}
