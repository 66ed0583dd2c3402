//! The recipes of a contract file.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::yaml::{Fields, Node, parsed};
use crate::model::{
    Algorithm, BcryptVersion, Class, DataKey, Error, Escape, Issuer, Key, KeyFormat, KeyName, Name, Part, Recipe, Result, Text, meant,
    ranges, visible,
};

/// The least entropy that a generated value may have, in bits.
const LEAST_BITS: u32 = 128;

/// The recipes of version 1.
pub const FIRST: &[&str] = &["hex", "base64url", "alphanumeric", "bcrypt", "provided"];

/// Each recipe: what it makes, and an example.
pub const EXAMPLES: &[(&str, &str, &str)] = &[
    ("hex", "random bytes in lower-case hex, behind a prefix", "{ hex: { bytes: 32, prefix: sk- } }"),
    ("base64", "random bytes in base64 with padding", "{ base64: { bytes: 32 } }"),
    ("base64url", "random bytes in base64url without padding", "{ base64url: { bytes: 32 } }"),
    ("alphanumeric", "letters and digits", "{ alphanumeric: { length: 32 } }"),
    (
        "password",
        "characters of each class: lower, upper, digits, symbols",
        "{ password: { length: 24, classes: [lower, upper, digits, symbols], without: \"&<>\" } }",
    ),
    ("uuid", "a random UUID, with 122 random bits", "{ uuid: {} }"),
    ("bcrypt", "the bcrypt hash of another value; versions 2a, 2b, 2y", "{ bcrypt: { of: password, cost: 12, version: 2b } }"),
    ("htpasswd", "a line for Apache's htpasswd, with a bcrypt hash", "{ htpasswd: { user: admin, of: password, cost: 10 } }"),
    (
        "argon2id",
        "the Argon2id hash of another value; memory in KiB",
        "{ argon2id: { of: password, memory: 65536, iterations: 3, parallelism: 4 } }",
    ),
    (
        "key-pair",
        "a private key, and its public half under another data key: ed25519, p256, rsa-2048, rsa-3072, rsa-4096; pem or jwk",
        "{ key-pair: { algorithm: ed25519, format: pem, public: public.pem } }",
    ),
    (
        "ssh-key",
        "a private key in OpenSSH's form: ed25519, rsa-3072, rsa-4096",
        "{ ssh-key: { algorithm: ed25519, public: id_ed25519.pub } }",
    ),
    (
        "tls",
        "a key, its certificate (`crt`) and its authority's (`ca`): self-signed, an authority (`authority: true`), or `issued-by` one",
        "{ tls: { names: [app.example.org, \"10.0.0.7\"], days: 365 } }",
    ),
    (
        "dockerconfigjson",
        "the credentials of a registry, as `docker login` writes them",
        "{ dockerconfigjson: { registry: registry.example.org, user: puller, of: password } }",
    ),
    (
        "template",
        "a text with `{DATAKEY}` or `{SECRET/DATAKEY}`; `escape` is none, url, json or base64",
        "{ template: \"postgres://app:{password}@db/app\", escape: url }",
    ),
    ("plain", "a text that is no secret", "{ plain: admin }"),
    (
        "provided",
        "yours to supply, with `--provide`; `lines: true` keeps the line feed of a single line",
        "{ provided: { pattern: \"hf_[A-Za-z0-9]+\", hint: your account's settings } }",
    ),
];

/// All of them, by name.
pub const ALL: &[&str] = &{
    let mut names = [""; EXAMPLES.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = EXAMPLES[at].0;
        at += 1;
    }
    names
};

/// Where a recipe is.
pub struct Place<'p> {
    pub secret: &'p Name,
    /// The data key that it is for; none = the recipe names it itself.
    pub property: Option<&'p DataKey>,
    pub kinds: &'static [&'static str],
}

/// What a recipe makes.
pub enum Made {
    Value(DataKey, Recipe),
    /// A text, which may read other values; as written.
    Text(DataKey, Text<KeyName>),
}

impl Place<'_> {
    fn property(&self, otherwise: &str) -> DataKey {
        self.property.cloned().unwrap_or_else(|| data_key(otherwise))
    }

    fn one(&self, recipe: Recipe) -> Vec<Made> {
        vec![Made::Value(self.property(crate::model::PROPERTY), recipe)]
    }

    /// Another value: of this Secret, until it is known whether that one exists.
    fn other(&self, text: &str) -> Result<KeyName> {
        match DataKey::new(text) {
            Ok(property) => Ok(KeyName::of(self.secret, &property)),
            Err(_) => KeyName::new(text),
        }
    }
}

/// Reads a recipe: it makes one value, or a key with its public half.
pub fn read(node: &Node, path: &str, place: &Place<'_>) -> Result<Vec<Made>> {
    let kinds = place.kinds;
    let all = node.fields(path)?.all();
    let ([(kind, body)] | [(kind, body), _]) = all else {
        return Err(one_kind(path, kinds).at(node.position));
    };
    let escape = match all {
        [(kind, _), (field, escape)] if kind == "template" && field == "escape" => {
            Some(parsed(escape, &format!("{path}.escape"), |text| word(text, Escape::ALL, Escape::as_str))?)
        }
        [_] => None,
        _ => return Err(one_kind(path, kinds).at(node.position)),
    };
    let path = format!("{path}.{kind}");
    if !kinds.contains(&kind.as_str()) {
        let help = match ALL.contains(&kind.as_str()) {
            true => "it needs `version: 2`, with `secrets` instead of `keys`".to_owned(),
            false => meant(kind, kinds.iter().copied(), &format!("use one of {}", kinds.join(", "))),
        };
        return Err(Error::bad_input(format!("unknown recipe `{path}`"), help).at(body.position));
    }
    match kind.as_str() {
        "plain" => return Ok(vec![Made::Text(place.property(crate::model::PROPERTY), Text::plain(body.text(&path)?))]),
        "template" => {
            let text = parsed(body, &path, |text| read_template(text, escape.unwrap_or(Escape::None), place))?;
            return Ok(vec![Made::Text(place.property(crate::model::PROPERTY), text)]);
        }
        _ => {}
    }
    let mut fields = body.fields(&path)?;
    let made = match kind.as_str() {
        "key-pair" => read_key_pair(&mut fields, place)?,
        "ssh-key" => read_ssh_key(&mut fields, place)?,
        "tls" => read_tls(&mut fields, place)?,
        "dockerconfigjson" => read_docker_config(&mut fields, place)?,
        kind => place.one(read_one(kind, &mut fields, body, &path, place)?),
    };
    fields.finish()?;
    Ok(made)
}

fn one_kind(path: &str, kinds: &[&str]) -> Error {
    Error::bad_input(format!("`{path}` should have exactly one field, the recipe's kind"), format!("write one of {}", kinds.join(", ")))
}

/// Reads a recipe that makes one value.
fn read_one(kind: &str, fields: &mut Fields<'_>, body: &Node, path: &str, place: &Place<'_>) -> Result<Recipe> {
    let enough = |bits: u32| enough(bits, body, path);
    Ok(match kind {
        "hex" => {
            let bytes = number(fields, "bytes", ranges::BYTES)?;
            enough(8 * bytes)?;
            Recipe::Hex { bytes: bytes as usize, prefix: read_prefix(fields)? }
        }
        "base64" | "base64url" => {
            let bytes = number(fields, "bytes", ranges::BYTES)?;
            enough(8 * bytes)?;
            let bytes = bytes as usize;
            if kind == "base64" { Recipe::Base64 { bytes } } else { Recipe::Base64Url { bytes } }
        }
        "alphanumeric" => {
            let length = number(fields, "length", ranges::LENGTH)?;
            enough((f64::from(length) * 62f64.log2()) as u32)?;
            Recipe::Alphanumeric { length: length as usize }
        }
        "password" => read_password(fields, body, path)?,
        "uuid" => Recipe::Uuid,
        "bcrypt" => Recipe::Bcrypt {
            of: fields.parsed("of", |text| place.other(text))?,
            cost: number(fields, "cost", ranges::COST)?,
            version: read_version(fields)?,
        },
        "htpasswd" => Recipe::Htpasswd {
            user: read_user(fields)?,
            of: fields.parsed("of", |text| place.other(text))?,
            cost: optional_number(fields, "cost", ranges::COST)?.unwrap_or(10),
        },
        "argon2id" => Recipe::Argon2id {
            of: fields.parsed("of", |text| place.other(text))?,
            memory: optional_number(fields, "memory", ranges::MEMORY)?.unwrap_or(65_536),
            iterations: optional_number(fields, "iterations", ranges::ITERATIONS)?.unwrap_or(3),
            parallelism: optional_number(fields, "parallelism", ranges::PARALLELISM)?.unwrap_or(4),
        },
        _ => Recipe::Provided {
            pattern: match fields.optional("pattern") {
                Some(node) => Some(parsed(node, &format!("{path}.pattern"), read_pattern)?),
                None => None,
            },
            hint: fields.optional_text("hint")?.map(visible),
            lines: fields.flag("lines")?,
        },
    })
}

/// Accepts it without quotes too, although some YAML readers take `2b` for a number.
fn read_version(fields: &mut Fields<'_>) -> Result<BcryptVersion> {
    let path = fields.path("version");
    let Some(node) = fields.optional("version") else { return Ok(BcryptVersion::TwoA) };
    let version = word(node.word().unwrap_or_default(), BcryptVersion::ALL, BcryptVersion::as_str);
    version.map_err(|error| Error::bad_input(format!("`{path}` is {}", error.what()), error.help()).at(node.position))
}

fn read_password(fields: &mut Fields<'_>, body: &Node, path: &str) -> Result<Recipe> {
    let length = number(fields, "length", ranges::LENGTH)?;
    let classes = match fields.optional("classes") {
        None => Class::ALL.to_vec(),
        Some(node) => {
            let class = |node: &Node| parsed(node, &format!("{path}.classes"), |text| word(text, Class::ALL, Class::as_str));
            node.list(&format!("{path}.classes"))?.iter().map(class).collect::<Result<_>>()?
        }
    };
    let without = fields.optional_text("without")?.unwrap_or_default().to_owned();
    let left = |class: &Class| class.characters().chars().filter(|character| !without.contains(*character)).count();
    if classes.is_empty() || classes.iter().any(|class| left(class) == 0) || classes.len() > length as usize {
        let help = "name at least one class, leave a character in each, and make it long enough for all";
        return Err(Error::bad_input(format!("`{path}` cannot have a character of each class"), help).at(body.position));
    }
    let characters: usize = classes.iter().map(left).sum();
    enough((f64::from(length) * (characters as f64).log2()) as u32, body, path)?;
    Ok(Recipe::Password { length: length as usize, classes, without })
}

fn read_key_pair(fields: &mut Fields<'_>, place: &Place<'_>) -> Result<Vec<Made>> {
    let algorithm = optional_word(fields, "algorithm", Algorithm::ALL, Algorithm::as_str)?.unwrap_or(Algorithm::Ed25519);
    let forms = [KeyFormat::Pem, KeyFormat::Jwk];
    let format = optional_word(fields, "format", &forms, KeyFormat::as_str)?.unwrap_or(KeyFormat::Pem);
    pair(fields, place, algorithm, format)
}

fn read_ssh_key(fields: &mut Fields<'_>, place: &Place<'_>) -> Result<Vec<Made>> {
    let kinds = [Algorithm::Ed25519, Algorithm::Rsa3072, Algorithm::Rsa4096];
    let algorithm = optional_word(fields, "algorithm", &kinds, Algorithm::as_str)?.unwrap_or(Algorithm::Ed25519);
    pair(fields, place, algorithm, KeyFormat::OpenSsh)
}

/// A private key, and its public half if `public` names its data key.
fn pair(fields: &mut Fields<'_>, place: &Place<'_>, algorithm: Algorithm, format: KeyFormat) -> Result<Vec<Made>> {
    let private = place.property(crate::model::PROPERTY);
    let of = KeyName::of(place.secret, &private);
    let mut made = vec![Made::Value(private, Recipe::PrivateKey { algorithm, format })];
    if let Some(public) = property(fields, "public")? {
        made.push(Made::Value(public, Recipe::PublicKey { of, format }));
    }
    Ok(made)
}

/// A private key, its certificate, and the certificate of the authority that verifies it.
fn read_tls(fields: &mut Fields<'_>, place: &Place<'_>) -> Result<Vec<Made>> {
    let algorithm = optional_word(fields, "algorithm", Algorithm::ALL, Algorithm::as_str)?.unwrap_or(Algorithm::P256);
    let days = number(fields, "days", ranges::DAYS)?;
    let authority = fields.flag("authority")?;
    let path = fields.path("issued-by");
    let issuer = match fields.optional("issued-by") {
        None if authority => Issuer::Authority,
        None => Issuer::Own,
        Some(node) if authority => {
            let help = "drop one of the two: an authority here signs itself";
            return Err(Error::bad_input(format!("`{path}` stands beside `authority`"), help).at(node.position));
        }
        Some(node) => {
            let by = parsed(node, &path, Name::new)?;
            Issuer::By { key: KeyName::of(&by, &data_key(TLS_KEY)), certificate: KeyName::of(&by, &data_key(TLS_CRT)) }
        }
    };
    let names = read_names(fields, authority, place.secret)?;
    let key = place.property(TLS_KEY);
    let crt = property(fields, "crt")?.unwrap_or_else(|| data_key(TLS_CRT));
    let ca = property(fields, "ca")?.unwrap_or_else(|| data_key(CA_CRT));
    let (of, own) = (KeyName::of(place.secret, &key), KeyName::of(place.secret, &crt));
    let root = match &issuer {
        Issuer::By { certificate, .. } => Some(certificate.clone()),
        Issuer::Own => Some(own),
        Issuer::Authority => None,
    };
    let mut made = vec![
        Made::Value(key, Recipe::PrivateKey { algorithm, format: KeyFormat::Pem }),
        Made::Value(crt, Recipe::Certificate { of, names, days, issuer }),
    ];
    made.extend(root.map(|of| Made::Value(ca, Recipe::Same { of })));
    Ok(made)
}

/// The data keys of a Secret of the type `kubernetes.io/tls`, and the usual data key of its authority.
pub const TLS_KEY: &str = "tls.key";
pub const TLS_CRT: &str = "tls.crt";
pub const CA_CRT: &str = "ca.crt";
/// The data key of a Secret of the type `kubernetes.io/dockerconfigjson`.
pub const DOCKER_CONFIG: &str = ".dockerconfigjson";

fn read_names(fields: &mut Fields<'_>, authority: bool, secret: &Name) -> Result<Vec<String>> {
    let path = fields.path("names");
    let node = match fields.optional("names") {
        None if authority => return Ok(vec![secret.to_string()]),
        Some(node) => node,
        None => fields.required("names")?,
    };
    let name = |text: &str| {
        let bare = text.strip_prefix("*.").unwrap_or(text);
        let fits = Name::new(&bare.to_ascii_lowercase()).is_ok() && text.len() <= 64 || text.parse::<core::net::IpAddr>().is_ok();
        let help = "write a DNS name of at most 64 characters, such as `app.example.org` or `*.example.org`, or an IP address";
        fits.then(|| text.to_owned()).ok_or_else(|| Error::bad_input("neither a DNS name nor an IP address", help))
    };
    let names: Vec<String> = node.list(&path)?.iter().map(|node| parsed(node, &path, name)).collect::<Result<_>>()?;
    if names.is_empty() && !authority {
        return Err(Error::bad_input(format!("`{path}` is empty"), "name what clients connect to").at(node.position));
    }
    Ok(if names.is_empty() { vec![secret.to_string()] } else { names })
}

/// The credentials of one registry, as `docker login` writes them.
fn read_docker_config(fields: &mut Fields<'_>, place: &Place<'_>) -> Result<Vec<Made>> {
    let registry = fields.parsed("registry", |text| {
        let legal = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\{}".contains(&b)) && !text.is_empty();
        legal.then(|| text.to_owned()).ok_or_else(|| Error::bad_input("not a registry", "write its host, such as `registry.example.org`"))
    })?;
    let user = read_user(fields)?;
    let of = fields.parsed("of", |text| place.other(text))?;
    let text = Text(vec![
        Part::Plain(format!("{{\"auths\":{{\"{registry}\":{{\"username\":\"{user}\",\"password\":")),
        Part::Value { of: of.clone(), escape: Escape::Json },
        Part::Plain(",\"auth\":\"".to_owned()),
        Part::Basic { user, of },
        Part::Plain("\"}}}".to_owned()),
    ]);
    Ok(vec![Made::Text(place.property(DOCKER_CONFIG), text)])
}

/// A text with `{NAME}` for values; `{{` and `}}` are braces. Braces around anything that cannot be a name are literal.
fn read_template(text: &str, escape: Escape, place: &Place<'_>) -> Result<Text<KeyName>> {
    let (mut parts, mut rest) = (Vec::new(), text);
    let legal = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._/".contains(&b));
    while let Some(at) = rest.find(['{', '}']) {
        let (before, after) = rest.split_at(at);
        parts.push(Part::Plain(before.to_owned()));
        let (brace, after) = after.split_at(1);
        let name = after.split_once('}').filter(|(name, _)| brace == "{" && legal(name));
        rest = match (name, after.strip_prefix(brace)) {
            (Some((name, after)), _) => {
                parts.push(Part::Value { of: place.other(name)?, escape });
                after
            }
            (None, doubled) => {
                parts.push(Part::Plain(brace.to_owned()));
                doubled.unwrap_or(after)
            }
        };
    }
    parts.push(Part::Plain(rest.to_owned()));
    Ok(Text(parts).joined())
}

fn data_key(text: &str) -> DataKey {
    DataKey::new(text).expect("a constant data key")
}

fn property(fields: &mut Fields<'_>, field: &'static str) -> Result<Option<DataKey>> {
    let path = fields.path(field);
    fields.optional(field).map(|node| parsed(node, &path, DataKey::new)).transpose()
}

/// A user's name that is safe in JSON, in a Go template and before a colon.
fn read_user(fields: &mut Fields<'_>) -> Result<String> {
    fields.parsed("user", |text| {
        let legal = !text.is_empty() && text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic() && !b":\"\\".contains(&b));
        legal
            .then(|| text.to_owned())
            .ok_or_else(|| Error::bad_input("not a user's name", "use visible ASCII characters without `:`, `\"` and `\\`, at most 255"))
    })
}

fn word<K: Copy>(text: &str, all: &[K], as_str: fn(K) -> &'static str) -> Result<K> {
    let words = || all.iter().map(|kind| as_str(*kind));
    all.iter().copied().find(|kind| as_str(*kind) == text).ok_or_else(|| {
        let list: Vec<&str> = words().collect();
        Error::bad_input("unknown", meant(text, words(), &format!("use one of {}", list.join(", "))))
    })
}

fn optional_word<K: Copy>(fields: &mut Fields<'_>, field: &'static str, all: &[K], as_str: fn(K) -> &'static str) -> Result<Option<K>> {
    let path = fields.path(field);
    fields.optional(field).map(|node| parsed(node, &path, |text| word(text, all, as_str))).transpose()
}

fn number(fields: &mut Fields<'_>, field: &'static str, range: RangeInclusive<u32>) -> Result<u32> {
    let path = fields.path(field);
    fields.required(field)?.number(&path, range)
}

fn optional_number(fields: &mut Fields<'_>, field: &'static str, range: RangeInclusive<u32>) -> Result<Option<u32>> {
    let path = fields.path(field);
    fields.optional(field).map(|node| node.number(&path, range)).transpose()
}

fn read_prefix(fields: &mut Fields<'_>) -> Result<String> {
    let Some(node) = fields.optional("prefix") else { return Ok(String::new()) };
    let prefix = |text: &str| {
        let legal = text.len() <= 32 && text.bytes().all(|b| b.is_ascii_graphic());
        legal.then(|| text.to_owned()).ok_or_else(|| Error::bad_input("not a prefix", "use at most 32 visible ASCII characters"))
    };
    parsed(node, &fields.path("prefix"), prefix)
}

/// A pattern that the whole value must match; a value is bytes, not text.
fn read_pattern(text: &str) -> Result<regex::bytes::Regex> {
    regex::bytes::RegexBuilder::new(&format!("^(?:{text})$"))
        .size_limit(1 << 20)
        .build()
        .map_err(|_| Error::bad_input("not a regular expression", "see https://docs.rs/regex for its syntax; it has no look-around"))
}

fn enough(bits: u32, node: &Node, path: &str) -> Result<()> {
    if bits >= LEAST_BITS {
        return Ok(());
    }
    let help = format!("make it at least {LEAST_BITS} bits: 16 bytes, or 22 characters");
    Err(Error::bad_input(format!("`{path}` makes a value of {bits} bits, which can be guessed"), help).at(node.position))
}

/// A recipe as it is written; `keys` are all keys of its Secret.
pub fn value(key: &Key, keys: &[&Key]) -> Value {
    let of = |of: &KeyName| if of.secret() == key.name.secret() { of.property().to_owned() } else { of.to_string() };
    let certificate = || keys.iter().find(|one| matches!(&one.recipe, Recipe::Certificate { of, .. } if *of == key.name));
    match &key.recipe {
        Recipe::Hex { bytes, prefix } if prefix.is_empty() => json!({ "hex": { "bytes": bytes } }),
        Recipe::Hex { bytes, prefix } => json!({ "hex": { "bytes": bytes, "prefix": prefix } }),
        Recipe::Base64 { bytes } => json!({ "base64": { "bytes": bytes } }),
        Recipe::Base64Url { bytes } => json!({ "base64url": { "bytes": bytes } }),
        Recipe::Alphanumeric { length } => json!({ "alphanumeric": { "length": length } }),
        Recipe::Password { length, classes, without } => {
            let classes: Vec<&str> = classes.iter().map(|class| class.as_str()).collect();
            match without.is_empty() {
                true => json!({ "password": { "length": length, "classes": classes } }),
                false => json!({ "password": { "length": length, "classes": classes, "without": without } }),
            }
        }
        Recipe::Uuid => json!({ "uuid": {} }),
        Recipe::Bcrypt { of: name, cost, version: BcryptVersion::TwoA } => json!({ "bcrypt": { "of": of(name), "cost": cost } }),
        Recipe::Bcrypt { of: name, cost, version } => json!({ "bcrypt": { "of": of(name), "cost": cost, "version": version.as_str() } }),
        Recipe::Htpasswd { user, of: name, cost } => json!({ "htpasswd": { "user": user, "of": of(name), "cost": cost } }),
        Recipe::Argon2id { of: name, memory, iterations, parallelism } => {
            json!({ "argon2id": { "of": of(name), "memory": memory, "iterations": iterations, "parallelism": parallelism } })
        }
        Recipe::PrivateKey { algorithm, format } => match certificate() {
            Some(certificate) => tls_value(certificate, keys, *algorithm),
            None => pair_value(key, keys, *algorithm, *format),
        },
        Recipe::Provided { pattern, hint, lines } => {
            let mut fields = Map::new();
            // Undoes what `read_pattern` added.
            let bare = |pattern: &regex::bytes::Regex| pattern.as_str().trim_start_matches("^(?:").trim_end_matches(")$").to_owned();
            fields.extend(pattern.as_ref().map(|pattern| ("pattern".to_owned(), json!(bare(pattern)))));
            fields.extend(hint.as_ref().map(|hint| ("hint".to_owned(), json!(hint))));
            fields.extend(lines.then(|| ("lines".to_owned(), json!(true))));
            json!({ "provided": fields })
        }
        Recipe::Text(text) => written(text, &of),
        Recipe::PublicKey { .. } | Recipe::Certificate { .. } | Recipe::Same { .. } => Value::Null,
    }
}

/// Whether a key follows from another one's recipe, which names it.
pub fn follows(key: &Key, keys: &[&Key]) -> bool {
    let own = |of: &KeyName| keys.iter().any(|key| key.name == *of);
    match &key.recipe {
        Recipe::PublicKey { of, .. } | Recipe::Certificate { of, .. } => own(of),
        Recipe::Same { .. } => true,
        _ => false,
    }
}

fn pair_value(key: &Key, keys: &[&Key], algorithm: Algorithm, format: KeyFormat) -> Value {
    let mut fields = Map::new();
    fields.insert("algorithm".to_owned(), json!(algorithm.as_str()));
    if format != KeyFormat::OpenSsh {
        fields.insert("format".to_owned(), json!(format.as_str()));
    }
    let public = keys.iter().find(|one| matches!(&one.recipe, Recipe::PublicKey { of, .. } if *of == key.name));
    fields.extend(public.map(|public| ("public".to_owned(), json!(public.name.property()))));
    json!({ if format == KeyFormat::OpenSsh { "ssh-key" } else { "key-pair" }: fields })
}

fn tls_value(certificate: &Key, keys: &[&Key], algorithm: Algorithm) -> Value {
    let Recipe::Certificate { names, days, issuer, .. } = &certificate.recipe else { return Value::Null };
    let mut fields = Map::new();
    fields.insert("names".to_owned(), json!(names));
    fields.insert("days".to_owned(), json!(days));
    fields.insert("algorithm".to_owned(), json!(algorithm.as_str()));
    match issuer {
        Issuer::Own => {}
        Issuer::Authority => drop(fields.insert("authority".to_owned(), json!(true))),
        Issuer::By { key, .. } => drop(fields.insert("issued-by".to_owned(), json!(key.secret()))),
    }
    let ca = keys.iter().find(|key| matches!(key.recipe, Recipe::Same { .. }));
    let named = [("crt", Some(certificate), TLS_CRT), ("ca", ca.copied(), CA_CRT)];
    for (field, key, usual) in named {
        let property = key.map(|key| key.name.property()).filter(|property| *property != usual);
        fields.extend(property.map(|property| (field.to_owned(), json!(property))));
    }
    json!({ "tls": fields })
}

/// A text that the controller renders, as it is written.
pub fn text_value(text: &Text) -> Value {
    match text.as_plain() {
        Some(plain) => json!({ "plain": plain }),
        None => written(text, &DataKey::to_string),
    }
}

/// A template, or the credentials of a registry.
fn written<K>(text: &Text<K>, name: &dyn Fn(&K) -> String) -> Value {
    if let [Part::Plain(head), Part::Value { of, .. }, _, Part::Basic { user, .. }, _] = text.0.as_slice()
        && let Some(registry) = head.strip_prefix("{\"auths\":{\"").and_then(|rest| rest.split_once('"'))
    {
        return json!({ "dockerconfigjson": { "registry": registry.0, "user": user, "of": name(of) } });
    }
    let mut escape = Escape::None;
    let part = |part: &Part<K>| match part {
        Part::Plain(text) => text.replace('{', "{{").replace('}', "}}"),
        Part::Value { of, escape: other } => {
            escape = *other;
            format!("{{{}}}", name(of))
        }
        Part::Basic { user, of } => format!("{user}:{{{}}}", name(of)),
    };
    let template: String = text.0.iter().map(part).collect();
    match escape {
        Escape::None => json!({ "template": template }),
        escape => json!({ "template": template, "escape": escape.as_str() }),
    }
}
