//! Guesses how a value is made, from the names that its readers give it. A guess states its reason; a value without a guess stays open.

use crate::model::{Algorithm, BcryptVersion, DataKey, KeyFormat, KeyName, Recipe, Text};

/// What a value is likely to be.
pub struct Guess {
    pub made: Made,
    /// Why, as the end of a sentence; empty if it is no guess.
    pub reason: &'static str,
    /// What the reader of the draft has to decide; none = nothing.
    pub open: Option<String>,
    /// An alternative, as it would be written.
    pub instead: Option<String>,
}

pub enum Made {
    Value(Recipe),
    /// No secret: the contract holds it.
    Text(Text),
}

/// A value that is read.
pub struct Read<'r> {
    /// The name of its source Secret.
    pub secret: &'r KeyName,
    /// Its names: its data key, unless that is meaningless, then those in the targets, then its Secret's.
    pub names: Vec<&'r str>,
    /// The other data keys of its Secret.
    pub siblings: Vec<&'r str>,
}

/// Values that only a vendor issues.
const VENDORS: &[&str] = &[
    "anthropic",
    "aws",
    "azure",
    "backblaze",
    "b2",
    "bitwarden",
    "cloudflare",
    "cf",
    "datadog",
    "digitalocean",
    "discord",
    "docker",
    "dockerhub",
    "dropbox",
    "duckdns",
    "gandi",
    "gcp",
    "gcs",
    "gemini",
    "ghcr",
    "github",
    "gitlab",
    "google",
    "groq",
    "hcloud",
    "hetzner",
    "hf",
    "huggingface",
    "license",
    "licence",
    "linode",
    "mailgun",
    "mistral",
    "namecheap",
    "newrelic",
    "ngrok",
    "okta",
    "onepassword",
    "openai",
    "openrouter",
    "ovh",
    "pagerduty",
    "plex",
    "porkbun",
    "postmark",
    "pushover",
    "quay",
    "route53",
    "s3",
    "sendgrid",
    "sentry",
    "slack",
    "smtp",
    "stripe",
    "tailscale",
    "telegram",
    "tmdb",
    "twilio",
    "vultr",
    "wireguard",
    "zerotier",
];

/// The words of a name: the same for `clientSecret`, `CLIENT_SECRET` and `client-secret`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut lower = false;
    for character in name.chars() {
        let begins = character.is_ascii_uppercase() && lower;
        if !character.is_ascii_alphanumeric() || begins {
            words.push(String::new());
        }
        lower = character.is_ascii_lowercase() || character.is_ascii_digit();
        if character.is_ascii_alphanumeric() {
            words.last_mut().expect("never empty").push(character.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The words of a name.
struct Words(Vec<String>);

impl Words {
    fn any(&self, of: &[&str]) -> bool {
        self.0.iter().any(|word| of.contains(&word.as_str()))
    }

    /// Whether the name contains one of these: as a word, as two words joined, or as the end of a word.
    fn says(&self, of: &[&str]) -> bool {
        let joined = self.0.concat();
        self.any(of) || of.iter().any(|word| word.len() > 5 && joined.contains(word))
    }

    fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }
}

/// The guess for a value.
pub fn guess(read: &Read<'_>) -> Guess {
    let all: Vec<Words> = read.names.iter().map(|name| Words(words(name))).collect();
    let of_vendor = all.iter().any(|words| words.any(VENDORS));
    let file = read.names.first().copied().unwrap_or_default();
    by_file(file)
        .or_else(|| all.iter().find_map(|words| by_words(words, read, of_vendor)))
        .unwrap_or_else(|| open("", "nothing in its name tells how it is made", None))
}

fn provided(hint: Option<&str>, lines: bool) -> Made {
    Made::Value(Recipe::Provided { pattern: None, hint: hint.map(str::to_owned), lines })
}

fn open(reason: &'static str, decide: &str, instead: Option<String>) -> Guess {
    Guess { made: provided(None, false), reason, open: Some(decide.to_owned()), instead }
}

fn sure(recipe: Recipe, reason: &'static str, instead: Option<&str>) -> Guess {
    Guess { made: Made::Value(recipe), reason, open: None, instead: instead.map(str::to_owned) }
}

/// Guesses by the data key as a file name.
fn by_file(name: &str) -> Option<Guess> {
    let lower = name.to_ascii_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| lower.ends_with(end));
    if lower.contains("known_hosts") || lower.contains("knownhosts") {
        let made = provided(Some("the output of `ssh-keyscan HOST`, compared with what the host's operator says"), true);
        return Some(Guess { made, reason: "only the host can say it", open: None, instead: None });
    }
    if ends(&[".dockerconfigjson", ".dockercfg", "dockerconfigjson"]) {
        let instead = "{ dockerconfigjson: { registry: registry.example.org, user: USER, of: SECRET/DATAKEY } }".to_owned();
        return Some(open("it holds credentials of a registry", "provide the file, or write how it is made", Some(instead)));
    }
    let of_tls = Words(words(name)).any(&["cert", "certificate", "tls", "ssl", "ca", "server", "client", "private", "rsa"]);
    if ends(&[".pem", ".crt", ".cer", ".p12", ".pfx", ".jks", ".keystore", ".truststore"]) || lower.ends_with(".key") && of_tls {
        let instead = "{ tls: { names: [app.example.org], days: 365 } }".to_owned();
        let mut guess = open("it is a key or a certificate", "provide the file, or write how it is made", Some(instead));
        guess.made = provided(None, true);
        return Some(guess);
    }
    if ends(&[".json", ".yaml", ".yml", ".env", ".toml", ".conf", ".cfg", ".ini", ".properties", ".xml", "kubeconfig"]) {
        let instead = "{ template: \"text with {DATAKEY}\" }".to_owned();
        let mut guess = open("it is a whole file", "provide the file, or write its template", Some(instead));
        guess.made = provided(None, true);
        return Some(guess);
    }
    None
}

fn by_words(words: &Words, read: &Read<'_>, of_vendor: bool) -> Option<Guess> {
    by_form(words, read).or_else(|| by_place(words, read)).or_else(|| by_secret(words, of_vendor))
}

/// Guesses keys and hashes, which have a form.
fn by_form(words: &Words, read: &Read<'_>) -> Option<Guess> {
    let password = read.siblings.iter().find(|name| Words(self::words(name)).any(&["password", "passwd", "pass", "pwd"]));
    let of = || DataKey::new(password.copied().unwrap_or_default()).ok().map(|of| KeyName::of(&secret(read), &of));
    if words.says(&["htpasswd"]) {
        let recipe = of().map(|of| Recipe::Htpasswd { user: "admin".to_owned(), of, cost: 10 });
        let instead = "{ htpasswd: { user: admin, of: DATAKEY } }";
        return Some(match recipe {
            Some(recipe) => {
                Guess { open: Some("check the user".to_owned()), ..sure(recipe, "of its name, and a password beside it", None) }
            }
            None => open("of its name", "provide it, or name the password that it is made of", Some(instead.to_owned())),
        });
    }
    if words.any(&["hash", "hashed", "bcrypt"]) {
        let recipe = of().map(|of| Recipe::Bcrypt { of, cost: 10, version: BcryptVersion::TwoA });
        let instead = "{ argon2id: { of: DATAKEY } }";
        return Some(match recipe {
            Some(recipe) => sure(recipe, "of its name, and a password beside it", Some(instead)),
            None => open(
                "it is the hash of something",
                "name the password that it is made of",
                Some("{ bcrypt: { of: DATAKEY, cost: 10 } }".to_owned()),
            ),
        });
    }
    let is_ssh = words.any(&["ssh", "sshprivatekey", "identity", "ed25519", "rsa"])
        && !words.any(&["pub", "public", "user", "username", "host", "port"]);
    if is_ssh && (words.any(&["key", "private", "privatekey", "identity", "id"]) || words.says(&["sshprivatekey"])) {
        let recipe = Recipe::PrivateKey { algorithm: Algorithm::Ed25519, format: KeyFormat::OpenSsh };
        return Some(sure(recipe, "of its name", Some("{ provided: { lines: true } }")));
    }
    if words.any(&["private", "signing"]) && words.any(&["key", "pem"]) || words.says(&["privatekey"]) {
        let recipe = Recipe::PrivateKey { algorithm: Algorithm::Rsa2048, format: KeyFormat::Pem };
        return Some(sure(recipe, "of its name", Some("{ key-pair: { algorithm: ed25519, format: jwk } }")));
    }
    words.any(&["uuid", "guid"]).then(|| sure(Recipe::Uuid, "of its name", None))
}

fn secret(read: &Read<'_>) -> crate::model::Name {
    crate::model::Name::new(read.secret.secret()).expect("a name that was checked")
}

/// Guesses what is no secret, and what is made from a secret.
fn by_place(words: &Words, read: &Read<'_>) -> Option<Guess> {
    let is_name = ["username", "user", "login", "email", "owner", "role"].contains(&words.last()) || words.says(&["username"]);
    if is_name && !words.any(&["password", "token", "key", "secret"]) {
        let name = read.secret.secret().split(['-', '.']).next().unwrap_or("admin").to_owned();
        let text = if words.any(&["email"]) { format!("{name}@example.org") } else { name };
        let open = Some("check it: it is only a word of the Secret's name".to_owned());
        return Some(Guess {
            made: Made::Text(Text::plain(&text)),
            reason: "a user's name is no secret",
            open,
            instead: Some("{ provided: {} }".to_owned()),
        });
    }
    if words.any(&["url", "uri", "dsn", "connection", "jdbc"]) || words.says(&["connectionstring"]) {
        let instead = "{ template: \"postgres://{username}:{password}@HOST/DATABASE\", escape: url }".to_owned();
        return Some(open("an address may hold a password", "provide it, or write its template", Some(instead)));
    }
    let of_place = [
        "host", "hostname", "port", "database", "dbname", "db", "endpoint", "region", "bucket", "issuer", "domain", "address", "server",
        "realm", "tenant", "zone",
    ];
    if of_place.contains(&words.last())
        || words.last() == "id" && words.any(&["client", "app", "account", "tenant", "project", "zone", "org", "access", "access_key"])
    {
        return Some(open("it is rather no secret", "provide it, or write it down", Some("{ plain: TEXT }".to_owned())));
    }
    None
}

/// Guesses a random value, unless a vendor issues it.
fn by_secret(words: &Words, of_vendor: bool) -> Option<Guess> {
    const SECRETS: &[&str] = &[
        "password",
        "passwd",
        "pass",
        "pwd",
        "passphrase",
        "pw",
        "pin",
        "token",
        "secret",
        "secrets",
        "key",
        "apikey",
        "salt",
        "pepper",
        "cookie",
        "session",
        "jwt",
        "webhook",
        "credential",
        "credentials",
        "auth",
        "psk",
    ];
    const ENDS: &[&str] = &["password", "passphrase", "apikey", "secretkey", "clientsecret", "encryptionkey", "secretkeybase", "authtoken"];
    if !words.any(SECRETS) && !words.says(ENDS) {
        return None;
    }
    if of_vendor {
        let guess = Guess { made: provided(None, false), reason: "only its vendor gives it out", open: None, instead: None };
        return Some(guess);
    }
    if words.any(&["password", "passwd", "pass", "pwd", "passphrase", "pw"]) || words.says(&["password", "passphrase"]) {
        return Some(sure(Recipe::Alphanumeric { length: 32 }, "of its name; it can stand in a URL", Some("{ provided: {} }")));
    }
    if words.any(&["cookie"]) {
        return Some(sure(Recipe::Alphanumeric { length: 32 }, "of its name; some consumers take 16, 24 or 32 characters", None));
    }
    Some(sure(Recipe::Hex { bytes: 32, prefix: String::new() }, "of its name", Some("{ provided: {} }")))
}
