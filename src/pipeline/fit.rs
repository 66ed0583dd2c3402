//! Whether an existing value may be sealed: it is no placeholder, and its consumer accepts it.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode::Indifferent;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use zeroize::Zeroizing;

use super::generate;
use crate::manifest::base64::decode;
use crate::manifest::{blobs, yaml};
use crate::model::{Contract, Error, Key, PROPERTY, Recipe, Result, SecretValue};

/// What is wrong with a value, as the rest of a sentence, and where to get the right one.
type Fault = (String, &'static str);

/// Refuses a placeholder, and a value that the key's consumer is known to refuse.
pub fn check(contract: &Contract, key: &Key, value: &SecretValue) -> Result<()> {
    let stand_in = || stand_in(value.expose()).map(|(what, help)| (what.to_owned(), help));
    let as_it_is = |help: &str| format!("{help}; to seal it all the same, add `--accept-as-is {}`", key.name);
    if let Some((what, help)) = stand_in().or_else(|| misfit(contract, key, value)) {
        return Err(Error::bad_input(format!("the value of `{}` {what}", key.name), as_it_is(help)));
    }
    match key.recipe {
        Recipe::Provided { .. } => generate::check(key, value).map_err(|error| Error::bad_input(error.what(), as_it_is(&error.help()))),
        _ => Ok(()),
    }
}

/// Beginnings of a value that is still encrypted, or is stored elsewhere.
const BEGINNINGS: &[(&[&str], &str, &str)] = &[
    (&["$ANSIBLE_VAULT;"], "is still encrypted with ansible-vault", "decrypt it first: `ansible-vault view FILE`"),
    (
        &["age-encryption.org/", "-----BEGIN AGE ENCRYPTED FILE-----"],
        "is still encrypted with age",
        "decrypt it first: `age -d -i IDENTITY FILE`",
    ),
    (&["-----BEGIN PGP MESSAGE-----"], "is still encrypted with PGP", "decrypt it first: `gpg -d FILE`"),
    (&["\0GITCRYPT\0"], "is still encrypted with git-crypt", "decrypt it first: `git-crypt unlock`"),
    (&["version https://git-lfs.github.com/"], "is a pointer of Git LFS", "fetch the file first: `git lfs pull`"),
    (&["[ENC]"], "is still encrypted", "decrypt it first"),
    (
        &[
            "vault:",
            ">>vault:",
            "ref+",
            "secretref+",
            "op://",
            "arn:aws:secretsmanager:",
            "arn:aws:ssm:",
            "@Microsoft.KeyVault(",
            "awssm://",
            "awsssm://",
            "awsps://",
            "gcpsm://",
            "gcp:secretmanager:",
            "azkv://",
            "azurekeyvault://",
            "bws://",
            "doppler://",
            "infisical://",
            "akeyless:",
        ],
        "is a reference to a secret store",
        "read the value from that store first, as `vault kv get`, `op read` or `vals get` do",
    ),
    (
        &["/run/secrets/", "/var/run/secrets/", "/mnt/secrets-store/", "/vault/secrets/"],
        "is the path of a mounted secret",
        "pass what that file holds",
    ),
    (&["env:", "process.env."], VARIABLE, EXPAND),
    (&["TODO:", "TODO ", "FIXME:", "FIXME "], PLACEHOLDER, REAL),
];

/// What encloses a value that is still to be filled in, and what fills it in.
const AROUND: &[(&str, &str, &str, &str)] = &[
    ("{{", "}}", TEMPLATE, RENDER),
    ("{%", "%}", TEMPLATE, RENDER),
    ("((", "))", TEMPLATE, RENDER),
    ("[[ ", " ]]", TEMPLATE, RENDER),
    ("ENC(", ")", "is still encrypted with jasypt", "decrypt it first"),
    ("#{", "}", TEMPLATE, RENDER),
    ("#{", "}#", TEMPLATE, RENDER),
    ("${", "}", VARIABLE, EXPAND),
    ("$(", ")", VARIABLE, EXPAND),
    ("<", ">", PLACEHOLDER, REAL),
    ("&lt;", "&gt;", PLACEHOLDER, REAL),
    ("__", "__", PLACEHOLDER, REAL),
];
const TEMPLATE: &str = "is a template that was not rendered";
const RENDER: &str = "render it first, and pass what comes out";
const VARIABLE: &str = "is a variable that was not expanded";
const EXPAND: &str = "expand it first, as `envsubst` does, and pass what comes out";
const PLACEHOLDER: &str = "is a placeholder or a well-known example";
const REAL: &str = "pass the real value";

/// Whether it only takes the place of a secret: a placeholder, a template, encrypted data.
pub fn is_stand_in(bytes: &[u8]) -> bool {
    stand_in(bytes).is_some()
}

fn stand_in(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    // With deflate, gzip's only method: two bytes alone may be random.
    if bytes.starts_with(b"\x1f\x8b\x08") {
        return Some(("is compressed with gzip", "unpack it first: `gzip -dc FILE`"));
    }
    let text = std::str::from_utf8(bytes).ok()?;
    if text.starts_with('\u{feff}') {
        return Some((
            "begins with a byte-order mark of UTF-8, which its consumer would take for a part of it",
            "remove it: `tail -c +4 FILE`",
        ));
    }
    if text.ends_with('\0') {
        return Some(("ends with a NUL byte", "remove it: `tr -d '\\0' < FILE`"));
    }
    stand_in_text(text.trim())
}

fn stand_in_text(text: &str) -> Option<(&'static str, &'static str)> {
    let around = |(open, close, ..): &&(&str, &str, &str, &str)| {
        let inside = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        inside.is_some_and(|inside| !inside.is_empty() && !inside.contains(open) && !inside.contains(close))
    };
    if text.contains("ENC[AES256_GCM,") {
        return Some(("is still encrypted with sops", "decrypt it first: `sops -d FILE`"));
    }
    if let Some((_, what, help)) = BEGINNINGS.iter().find(|(all, ..)| all.iter().any(|begins| text.starts_with(begins))) {
        return Some((what, help));
    }
    if text.contains("<path:") {
        return Some(("is a reference to a secret store", "render it first, as `argocd-vault-plugin generate` does"));
    }
    if let Some((_, _, what, help)) = AROUND.iter().find(around) {
        return Some((what, help));
    }
    if text.strip_prefix('$').is_some_and(is_variable) {
        return Some((VARIABLE, EXPAND));
    }
    if is_property(text) {
        return Some((
            "is a JSON object whose only field is `value`, as it is left where `property` is missing",
            "take what stands under `value`",
        ));
    }
    if blobs::is_blob(text) {
        return Some(("is still sealed", "open it first with `seal-secrets unseal -f FILE`"));
    }
    if is_assignment(text) {
        return Some(("is a line of an env file", "pass what stands behind the `=`, or the whole file with `--env-file FILE`"));
    }
    is_placeholder(text).then_some((PLACEHOLDER, REAL))
}

/// Whether it is all of a source Secret's data, as External Secrets reads it without `property`.
fn is_property(text: &str) -> bool {
    let node = Some(text).filter(|text| text.starts_with('{')).and_then(|text| yaml::read_one(text).ok());
    node.is_some_and(|node| matches!(node.entries(), [(field, value)] if field == PROPERTY && value.word().is_some()))
}

/// Whether a text is only `NAME=…` or `export NAME=…`. In base64 only `=` follows `=`; connection strings have more fields.
fn is_assignment(text: &str) -> bool {
    let (exported, line) = text.strip_prefix("export ").map_or((false, text), |line| (true, line));
    let Some((name, value)) = line.split_once('=') else { return false };
    let is_name = name.len() >= 3 && is_variable(name) && (exported || !name.bytes().any(|b| b.is_ascii_lowercase()));
    let has_fields = value.contains([',', ';']) && value.contains('=');
    is_name && !value.trim_matches('=').is_empty() && !has_fields && !value.contains('\n')
}

/// A name as in shells and compose files: a random value mixes cases, or letters and digits.
fn is_variable(name: &str) -> bool {
    let all = |may: fn(u8) -> bool| name.bytes().all(may);
    let is_short = name.len() <= 12 && !name.bytes().any(|b| b.is_ascii_digit());
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && (is_short || name.contains('_'))
        && (all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') || all(|b| b.is_ascii_lowercase() || b == b'_'))
}

/// Beginnings of tokens; a placeholder often keeps them.
const PREFIXES: &[&str] = &["sk-ant-api03-", "sk-ant-", "sk-proj-", "sk-", "hf_", "ghp_", "github_pat_", "glpat-", "AKIA"];

/// Whole values, ignoring case and all but letters and digits.
const WORDS: &[&str] = &[
    "1234",
    "12345",
    "123456",
    "1234567",
    "12345678",
    "123456789",
    "1234567890",
    "abc123",
    "admin",
    "admin123",
    "apikey",
    "changeit",
    "default",
    "dummy",
    "example",
    "fake",
    "fixme",
    "foobar",
    "iosfodnn7example",
    "mypassword",
    "mysecret",
    "mytoken",
    "na",
    "none",
    "null",
    "nil",
    "passw0rd",
    "password",
    "password1",
    "password123",
    "qwerty",
    "redacted",
    "replace",
    "root",
    "secret",
    "secret123",
    "tbd",
    "test",
    "test123",
    "testing",
    "todo",
    "token",
    "undefined",
    "unset",
    "wjalrxutnfemik7mdengbpxrficyexamplekey",
];

/// Beginnings that no random value has.
const PHRASES: &[&str] = &["changeme", "changethis", "replaceme", "replacethis", "replacewith", "placeholder", "insertyour", "enteryour"];

/// What a placeholder asks for, or calls itself.
const ASKS: &[&str] = &[
    "change",
    "dummy",
    "enter",
    "example",
    "fake",
    "fill",
    "fixme",
    "goes",
    "here",
    "insert",
    "me",
    "placeholder",
    "put",
    "replaced",
    "replace",
    "sample",
    "set",
    "todo",
    "your",
];

/// Its other words; a longer word comes before one that it begins with.
const FOR: &[&str] = &[
    "access",
    "actual",
    "api",
    "auth",
    "bearer",
    "be",
    "client",
    "credentials",
    "credential",
    "db",
    "id",
    "in",
    "it",
    "key",
    "my",
    "passphrase",
    "password",
    "please",
    "real",
    "secret",
    "the",
    "this",
    "token",
    "to",
    "user",
    "value",
    "with",
];

/// Whether a text without separators consists only of these words, and asks for something.
fn is_request(word: &str, asks: bool) -> bool {
    let rest_of = |words: &[&str]| words.iter().find_map(|part| word.strip_prefix(part));
    match (rest_of(ASKS), rest_of(FOR)) {
        (Some(rest), _) => is_request(rest, true),
        (_, Some(rest)) => is_request(rest, asks),
        _ => asks && word.is_empty(),
    }
}

/// Whether a text is `your`, at most one other word, such as a vendor's name, and what is asked for: a passphrase may begin with `your`
/// too.
fn is_yours(text: &str) -> bool {
    let mut words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let known = |word: &&str| ASKS.iter().chain(FOR).any(|known| known.eq_ignore_ascii_case(word));
    let (first, last) = (words.first().copied(), words.last().copied());
    words.retain(|word| !known(word));
    first.is_some_and(|first| first.eq_ignore_ascii_case("your"))
        && last.is_some_and(|last| known(&last))
        && words.len() <= 1
        && words.iter().all(|word| word.bytes().all(|b| b.is_ascii_alphabetic()))
}

fn is_placeholder(text: &str) -> bool {
    let rest = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    let mut word = Zeroizing::new(String::with_capacity(rest.len()));
    word.extend(rest.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()));
    let is_filler = rest.chars().all(|c| "xX*._-…".contains(c)) && (rest.len() >= 3 || rest.len() < text.len());
    let is_word = || {
        WORDS.contains(&word.as_str())
            || PHRASES.iter().any(|phrase| word.starts_with(phrase))
            || word.len() <= 64 && is_request(&word, false)
    };
    is_filler || rest.is_ascii() && (is_word() || is_yours(rest))
}

/// What the key's consumer is known to refuse, whatever the recipe.
fn misfit(contract: &Contract, key: &Key, value: &SecretValue) -> Option<Fault> {
    let bytes = value.expose();
    let cookie = is_cookie_secret(contract, key);
    match &key.recipe {
        _ if cookie && !fits_a_cipher(bytes) => {
            Some(("is no cookie secret: oauth2-proxy takes 16, 24 or 32 bytes, as they are or in base64url".to_owned(), IN_USE))
        }
        Recipe::Hex { prefix, .. } if !bytes.starts_with(prefix.as_bytes()) && !is_encoded(key, value) => {
            Some((format!("does not begin with `{prefix}`, and its consumer asks for that"), IN_USE))
        }
        Recipe::Bcrypt { .. } if !is_costly(bytes) => Some((
            "is a bcrypt hash of a cost below 10, which its consumer refuses".to_owned(),
            "hash its password again, or leave it out: then a new hash is made",
        )),
        _ if !cookie && is_encoded(key, value) => Some(("is base64 of a value that fits".to_owned(), "decode it first: `base64 -d`")),
        _ => None,
    }
}

const IN_USE: &str = "pass the value that is in use, or leave it out and make a new one with `seal-secrets bootstrap`";

/// Whether a value matches the recipe only after base64 decoding.
fn is_encoded(key: &Key, value: &SecretValue) -> bool {
    let decoded = std::str::from_utf8(value.expose()).ok().and_then(|text| decode(text.trim()).ok());
    let decoded = decoded.map(|bytes| SecretValue::new(bytes).without_line_feed().0);
    decoded.is_some_and(|decoded| generate::check(key, &decoded).is_ok()) && generate::check(key, value).is_err()
}

fn is_cookie_secret(contract: &Contract, key: &Key) -> bool {
    let says = |name: &str| name.replace(['-', '_'], "").to_ascii_lowercase().ends_with("cookiesecret");
    let mut entries = contract.consumers.iter().flat_map(|consumer| &consumer.entries);
    says(key.name.as_str()) || entries.any(|entry| entry.reads(&key.name) && says(entry.secret_key.as_str()))
}

/// Whether oauth2-proxy makes an AES key from these bytes (its `pkg/encryption`, `SecretBytes`): base64url if that decodes to a key's
/// length, or else the bytes themselves.
fn fits_a_cipher(bytes: &[u8]) -> bool {
    const LENGTHS: [usize; 3] = [16, 24, 32];
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(Indifferent);
    let decoded = GeneralPurpose::new(&URL_SAFE, config).decode(bytes).map(Zeroizing::new);
    LENGTHS.contains(&bytes.len()) || decoded.is_ok_and(|decoded| LENGTHS.contains(&decoded.len()))
}

/// Whether a hash has a cost of at least 10, as Dex requires; its form is checked elsewhere.
fn is_costly(hash: &[u8]) -> bool {
    hash.get(4..6).is_some_and(|cost| cost >= b"10".as_slice())
}
