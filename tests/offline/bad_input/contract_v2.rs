//! Y41 to Y46: a contract of version 2 that does not say what is meant.

use super::{Edit, Row, WITH_CONTRACT, row, run_all};
use crate::recipes::contract;

/// A good contract; each row spoils a part of it. The first Secret is on line 6.
const GOOD: &str = "  - name: app
    about: an account
    type: kubernetes.io/basic-auth
    values:
      username: { plain: shop }
      password: { hex: { bytes: 32 } }
      hash: { bcrypt: { of: password, cost: 10 } }
      uri: { template: 'db://{username}:{password}@db', escape: url }
  - name: ca
    about: an authority
    recipe: { tls: { authority: true, days: 3650 } }
  - name: web
    about: a server
    recipe: { tls: { names: [web.example.org], days: 90, issued-by: ca } }
  - name: pull
    about: a registry's
    recipe: { dockerconfigjson: { registry: registry.example.org, user: shop, of: app/password } }
consumers:
  - namespace: shop
    target: shop
    data: [{ secretKey: uri, key: app, property: uri }]
";

/// That contract with one defect.
fn spoiled(id: &'static str, what: &str, (from, to): Edit<'_>, says: &[&str]) -> Row {
    row(id, what, &WITH_CONTRACT, 3, says).file("contract.yaml", contract(GOOD)).edit("contract.yaml", from, to)
}

const PASSWORD: &str = "{ hex: { bytes: 32 } }";
const PAIR: &str = "hash: { bcrypt: { of: password, cost: 10 } }";

/// Y41: the content of a Secret's entry.
fn secrets_that_are_wrong() -> Vec<Row> {
    let secret = |what: &str, edit, says: &[&str]| spoiled("Y41", what, edit, says);
    vec![
        secret(
            "version 2 with keys",
            ("secrets:", "keys:"),
            &["contract.yaml:6:3: `keys` is of `version: 1`", "write `secrets`, or `version: 1`"],
        ),
        secret("version 1 with secrets", ("version: 2", "version: 1"), &["contract.yaml:1:1: ", "`keys` is missing"]),
        row("Y41", "no secrets", &WITH_CONTRACT, 3, &["contract.yaml:5:10: `secrets` is empty"])
            .file("contract.yaml", contract("").replace("secrets:\n", "secrets: []\n")),
        secret(
            "recipe and values",
            ("    values:\n", "    recipe: { uuid: {} }\n    values:\n"),
            &["contract.yaml:6:5: `app` should have either `recipe` or `values`"],
        ),
        secret(
            "neither",
            ("    recipe: { tls: { authority: true, days: 3650 } }\n", ""),
            &["contract.yaml:14:5: `ca` should have either `recipe` or `values`"],
        ),
        secret(
            "a Secret twice",
            ("- name: ca\n", "- name: app\n"),
            &["contract.yaml:14:5: the Secret `app` appears twice, first on line 6", "under `values`"],
        ),
        secret(
            "a data key twice",
            (PAIR, "key: { key-pair: { public: password } }"),
            &["contract.yaml:6:5: `app` has the data key `password` twice", "`public`, `crt` or `ca`"],
        ),
        secret(
            "a data key of a certificate twice",
            (PAIR, "tls.key: { tls: { names: [a], days: 1, crt: ca.crt } }"),
            &["contract.yaml:6:5: `app` has the data key `ca.crt` twice"],
        ),
        secret(
            "not a data key",
            ("password: {", "pass/word: {"),
            &["contract.yaml:11:", "`secrets[0].values.pass/word` is not a valid data key"],
        ),
        secret(
            "nothing secret",
            (&GOOD[GOOD.find("      password").unwrap()..GOOD.find("  - name: ca").unwrap()], ""),
            &["contract.yaml:6:5: `app` "],
        ),
        secret(
            "plain alone",
            ("recipe: { tls: { authority: true, days: 3650 } }", "recipe: { plain: x }"),
            &["contract.yaml:14:5: `ca` holds nothing secret", "ConfigMap"],
        ),
        secret("no about", ("    about: an account\n", ""), &["contract.yaml:6:5: `secrets[0].about` is missing"]),
        secret("a field of version 1", ("    values:\n", "    property: x\n    values:\n"), &["contract.yaml:9:", "`secrets[0].property`"]),
        secret("valeus", ("    values:\n", "    valeus:\n"), &["did you mean `values`?"]),
        secret(
            "labels in a list",
            ("    values:\n", "    labels: [a]\n    values:\n"),
            &["contract.yaml:9:13: `secrets[0].labels` should be"],
        ),
        secret(
            "a label that is no text",
            ("    values:\n", "    labels: { a: true }\n    values:\n"),
            &["contract.yaml:9:18: ", "quote it"],
        ),
        secret(
            "an annotation of ours",
            ("    values:\n", "    annotations: { seal-secrets/made: '2026-01-01' }\n    values:\n"),
            &["contract.yaml:9:18: `secrets[0].annotations` sets `seal-secrets/made`", "managed: true"],
        ),
        secret(
            "a wider scope",
            ("    values:\n", "    annotations: { sealedsecrets.bitnami.com/cluster-wide: 'true' }\n    values:\n"),
            &["contract.yaml:9:18: ", "`sealedsecrets.bitnami.com/cluster-wide`"],
        ),
        secret(
            "a wider scope for all",
            ("secrets:\n", "annotations: { sealedsecrets.bitnami.com/namespace-wide: 'true' }\nsecrets:\n"),
            &["contract.yaml:5:14: `annotations` sets `sealedsecrets.bitnami.com/namespace-wide`"],
        ),
        secret(
            "a copy of what is no value",
            ("    values:\n", "    operator-copy: [username]\n    values:\n"),
            &["contract.yaml:6:5: `operator-copy` of `app` names `username`"],
        ),
        secret(
            "a copy of nothing",
            ("    values:\n", "    operator-copy: [passwort]\n    values:\n"),
            &["`operator-copy` of `app` names `passwort`"],
        ),
    ]
}

/// Y42: a type without the keys that a cluster requires.
fn types_without_their_keys() -> Vec<Row> {
    let of_type = |kind: &str, missing: &str| {
        let says = format!("contract.yaml:6:5: `app` is of the type `{kind}`, and has no data key `{missing}`");
        spoiled("Y42", kind, ("type: kubernetes.io/basic-auth", &format!("type: {kind}")), &[&says, "drop `type`"])
    };
    let mut rows = vec![
        of_type("kubernetes.io/tls", "tls.crt"),
        of_type("kubernetes.io/ssh-auth", "ssh-privatekey"),
        of_type("kubernetes.io/dockerconfigjson", ".dockerconfigjson"),
        of_type("kubernetes.io/dockercfg", ".dockercfg"),
    ];
    let says = ["`ca` is of the type `kubernetes.io/basic-auth`, and has no data key `password`"];
    let basic = ("about: an authority\n", "about: x\n    type: kubernetes.io/basic-auth\n");
    rows.push(spoiled("Y42", "kubernetes.io/basic-auth", basic, &says));
    rows
}

const TWO_TEMPLATES: &str = "{ template: '{push} {app/password}' }
  - name: push
    about: another
    recipe: { template: '{pull}' }
";

/// Y43: what a recipe is made of.
fn sources_that_are_wrong() -> Vec<Row> {
    let source = |what: &str, edit, says: &[&str]| spoiled("Y43", what, edit, says);
    vec![
        source(
            "unknown",
            ("of: password, cost", "of: passwort, cost"),
            &["contract.yaml:6:5: ", "`app/hash` is the hash of a key", "did you mean"],
        ),
        source("unknown Secret", ("of: app/password", "of: ap/password"), &["contract.yaml:20:5: ", "`pull`", "ap/password"]),
        source(
            "unknown in a template",
            ("{password}@db", "{passwort}@db"),
            &["contract.yaml:6:5: `uri` of `app` reads ", "passwort", "`{{`"],
        ),
        source("of nothing", ("of: password, cost", "of: '', cost"), &["contract.yaml:12:29: "]),
        source(
            "of itself",
            ("of: password, cost", "of: hash, cost"),
            &["contract.yaml:6:5: `app/hash` is the hash of `app/hash`, which is not generated"],
        ),
        source(
            "hash of what is provided",
            (PASSWORD, "{ provided: {} }"),
            &["contract.yaml:6:5: `app/hash` is the hash of `app/password`, which is not generated"],
        ),
        source("hash of a key", (PASSWORD, "{ key-pair: {} }"), &["`app/hash` is the hash of `app/password`, which is not generated"]),
        source("hash of what is plain", ("of: password, cost", "of: username, cost"), &["contract.yaml:6:5: `app/hash` is the hash of "]),
        source(
            "hash of more than bcrypt takes",
            (PASSWORD, "{ hex: { bytes: 36 } }"),
            &["`app/password` is longer than the 71 bytes that bcrypt takes"],
        ),
        source(
            "htpasswd of more than bcrypt takes",
            ("{ bcrypt: { of: password, cost: 10 } }", "{ htpasswd: { user: a, of: long } }\n      long: { hex: { bytes: 64 } }"),
            &["`app/long` is longer than the 71 bytes that bcrypt takes"],
        ),
        source(
            "a template of a template",
            ("      hash:", "      all: { template: '<{uri}>' }\n      hash:"),
            &["contract.yaml:6:5: a template of `app` reads `uri`, which is a template itself"],
        ),
        source("a template of another Secret's template", ("of: app/password", "of: app/uri"), &["contract.yaml:20:5: ", "app/uri"]),
        source(
            "a template of itself",
            (
                "{ dockerconfigjson: { registry: registry.example.org, user: shop, of: app/password } }",
                "{ template: '{pull} {app/password}' }",
            ),
            &["contract.yaml:20:5: `pull` is made of itself, or through more than 8 others"],
        ),
        source(
            "two templates of each other",
            ("{ dockerconfigjson: { registry: registry.example.org, user: shop, of: app/password } }\n", TWO_TEMPLATES),
            &["contract.yaml:20:5: `pull` is made of itself"],
        ),
        source(
            "issued by no authority",
            ("issued-by: ca", "issued-by: app"),
            &["contract.yaml:17:5: `web/tls.crt` is made of a key that the contract does not have"],
        ),
        source("issued by itself", ("issued-by: ca", "issued-by: web"), &["contract.yaml:17:5: ", "`web/tls.crt`"]),
        source(
            "issued by nothing",
            ("issued-by: ca", "issued-by: cb"),
            &["contract.yaml:17:5: `web/tls.crt` is made of a key that the contract does not have"],
        ),
        source(
            "issued by one that signs itself",
            ("authority: true", "names: [ca]"),
            &["`web/tls.crt` is made of `ca/tls.crt`, which is no certificate of an authority"],
        ),
        source(
            "a certificate that outlives its authority",
            ("days: 90, issued-by", "days: 36000, issued-by"),
            &["`web/tls.crt` is made of `ca/tls.crt`, which is a certificate of fewer days"],
        ),
        source(
            "authority and issued-by",
            ("issued-by: ca", "issued-by: ca, authority: true"),
            &["contract.yaml:19:", "stands beside `authority`"],
        ),
        source(
            "another unit",
            ("about: a server\n", "about: x\n    unit: servers\n"),
            &["contract.yaml:17:5: `web/tls.crt` is in another unit than `ca/tls.key`", "remove `unit`"],
        ),
    ]
}

/// Y44: the fields of recipes.
fn recipes_that_are_wrong() -> Vec<Row> {
    let field =
        |what: &str, recipe: &str, says: &[&str]| spoiled("Y44", what, (PASSWORD, recipe), &[&["contract.yaml:11:"][..], says].concat());
    vec![
        field("unknown kind", "{ hexx: { bytes: 32 } }", &["unknown recipe `secrets[0].values.password.hexx`", "did you mean `hex`?"]),
        field("no kind", "{}", &["exactly one field"]),
        field("two kinds", "{ hex: { bytes: 32 }, uuid: {} }", &["exactly one field"]),
        field("escape of no template", "{ plain: x, escape: url }", &["exactly one field"]),
        field("unknown escape", "{ template: x, escape: urls }", &["did you mean `url`?"]),
        field("plain is no text", "{ plain: 8080 }", &["secrets[0].values.password.plain", "quote it"]),
        field("plain is a list", "{ plain: [{canary}] }", &["should be text"]),
        field(
            "a class emptied",
            "{ password: { length: 40, classes: [digits, lower], without: '0123456789' } }",
            &["cannot have a character of each class"],
        ),
        field("no class", "{ password: { length: 40, classes: [] } }", &["cannot have a character of each class"]),
        field("more classes than characters", "{ password: { length: 3 } }", &["cannot have a character of each class"]),
        field("unknown class", "{ password: { length: 40, classes: [digit] } }", &["did you mean `digits`?"]),
        field(
            "too few left",
            "{ password: { length: 40, classes: [digits], without: '12345678' } }",
            &["40 bits, which can be guessed", "128"],
        ),
        field("version of bcrypt", "{ bcrypt: { of: hash, cost: 10, version: 2x } }", &["did you mean `2a`?"]),
        field("user with a colon", "{ htpasswd: { user: 'a:b', of: hash } }", &["not a user's name", "without `:`"]),
        field("user with a quote", "{ dockerconfigjson: { registry: r, user: 'a\"b', of: hash } }", &["not a user's name"]),
        field("registry with a brace", "{ dockerconfigjson: { registry: '{x}', user: a, of: hash } }", &["not a registry"]),
        field("little memory", "{ argon2id: { of: hash, memory: 1024 } }", &["whole number from 19456 to"]),
        field("algorithm", "{ key-pair: { algorithm: rsa-1024 } }", &["use one of ed25519, p256, rsa-2048"]),
        field("ssh key of P-256", "{ ssh-key: { algorithm: p256 } }", &["use one of ed25519, rsa-3072, rsa-4096"]),
        field("format", "{ key-pair: { format: openssh } }", &["use one of pem, jwk"]),
        field("public half that is no data key", "{ key-pair: { public: a/b } }", &["public` is not a valid data key"]),
        field("no names", "{ tls: { days: 90 } }", &["names` is missing"]),
        field("names are empty", "{ tls: { days: 90, names: [] } }", &["names` is empty"]),
        field("a name with a port", "{ tls: { days: 90, names: ['a:443'] } }", &["neither a DNS name nor an IP address"]),
        field("a name of two stars", "{ tls: { days: 90, names: ['*.*.org'] } }", &["neither a DNS name nor an IP address"]),
        field("no days", "{ tls: { names: [a] } }", &["days` is missing"]),
        field("days", "{ tls: { names: [a], days: 40000 } }", &["whole number from 1 to 36500"]),
        field("uuid with a field", "{ uuid: { version: 7 } }", &["password.uuid.version"]),
        field("pattern", "{ provided: { pattern: '{canary}(' } }", &["regular expression"]),
    ]
}

/// Y45: recipes of version 2 in version 1.
fn recipes_of_version_2() -> Vec<Row> {
    let small = crate::common::fixture_text("fixtures/contracts/small.yaml");
    let of_first = |recipe: &str| {
        row(
            "Y45",
            recipe,
            &WITH_CONTRACT,
            3,
            &["contract.yaml:21:", "unknown recipe `keys[3].recipe.", "it needs `version: 2`, with `secrets` instead of `keys`"],
        )
        .file("contract.yaml", small.clone())
        .edit("contract.yaml", super::SESSION_RECIPE, &format!("{{ {recipe} }}"))
    };
    ["base64: { bytes: 32 }", "uuid: {}", "plain: x", "tls: { names: [a], days: 1 }", "template: x", "ssh-key: {}"].map(of_first).into()
}

/// Y46: what a consumer reads.
fn consumers_that_are_wrong() -> Vec<Row> {
    let consumer = |what: &str, edit, says: &[&str]| spoiled("Y46", what, edit, &[&["contract.yaml:26:12: "][..], says].concat());
    vec![
        consumer(
            "unknown property",
            ("property: uri", "property: url"),
            &["reads a property of `app` that the contract does not have", "did you mean `uri`?"],
        ),
        consumer("no property", (", property: uri", ""), &["reads a property of `app` that the contract does not have", "`uri`"]),
        consumer("unknown Secret", ("key: app,", "key: apq,"), &["reads a key that the contract does not have", "did you mean `app`?"]),
        spoiled(
            "Y46",
            "unknown whole",
            ("    data: [{ secretKey: uri, key: app, property: uri }]", "    extract: [apq]"),
            &["contract.yaml:24:5: ", "reads a key that the contract does not have", "did you mean `app`?"],
        ),
        spoiled(
            "Y46",
            "nothing",
            ("    data: [{ secretKey: uri, key: app, property: uri }]", "    extract: []"),
            &["contract.yaml:24:5: `consumers[0].data` is empty"],
        ),
    ]
}

#[test]
fn y_contract_of_version_2() {
    let mut rows = secrets_that_are_wrong();
    rows.extend(types_without_their_keys());
    rows.extend(sources_that_are_wrong());
    rows.extend(recipes_that_are_wrong());
    rows.extend(recipes_of_version_2());
    rows.extend(consumers_that_are_wrong());
    run_all(rows);
}
