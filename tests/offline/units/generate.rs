//! `pipeline/generate.rs`

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use seal_secrets::manifest::contract_file;
use seal_secrets::model::{Contract, EntropyFailed, Key, KeyName, SecretValue};
use seal_secrets::pipeline::generate::{agrees, check, generate};
use zeroize::Zeroizing;

use crate::common::{Drawing, TestEntropy};
use crate::recipes::contract;

fn with_values(values: &str) -> Contract {
    contract_file::read("c", &contract(&format!("  - name: s\n    about: one of each\n    values:\n{values}"))).unwrap()
}

fn key<'c>(contract: &'c Contract, name: &str) -> &'c Key {
    contract.keys.iter().find(|key| key.name.property() == name).unwrap()
}

#[test]
fn a_uuid_says_its_version_and_variant_whatever_is_drawn() {
    let contract = with_values("      id: { uuid: {} }\n");
    let names: Vec<KeyName> = contract.keys.iter().map(|key| key.name.clone()).collect();
    for (byte, expected) in [
        (0x00, "00000000-0000-4000-8000-000000000000"),
        (0xff, "ffffffff-ffff-4fff-bfff-ffffffffffff"),
        (0x5a, "5a5a5a5a-5a5a-4a5a-9a5a-5a5a5a5a5a5a"),
        (0xa5, "a5a5a5a5-a5a5-45a5-a5a5-a5a5a5a5a5a5"),
    ] {
        let mut entropy = Drawing(move |bytes: &mut [u8]| {
            bytes.fill(byte);
            Ok(())
        });
        let values =
            generate(&contract.units()[0], &names, &mut BTreeMap::new(), &BTreeMap::new(), SystemTime::UNIX_EPOCH, &mut entropy).unwrap();
        assert_eq!(std::str::from_utf8(values[0].1.expose()), Ok(expected));
    }
}

#[test]
fn a_value_that_its_recipe_cannot_have_made_is_found() {
    let contract = with_values(
        "      hex: { hex: { bytes: 16, prefix: sk- } }
      base64: { base64: { bytes: 16 } }
      base64url: { base64url: { bytes: 16 } }
      alphanumeric: { alphanumeric: { length: 22 } }
      password: { password: { length: 27, classes: [lower, digits], without: xyz } }
      uuid: { uuid: {} }
      bcrypt: { bcrypt: { of: alphanumeric, cost: 10, version: 2b } }
      htpasswd: { htpasswd: { user: ci, of: alphanumeric, cost: 11 } }
      argon2id: { argon2id: { of: alphanumeric, memory: 19456, iterations: 2, parallelism: 1 } }
      pattern: { provided: { pattern: 'hf_[a-z]+' } }
      hinted: { provided: { hint: ask for one } }
",
    );
    let bcrypt = "abcdefghijklmnopqrstuvABCDEFGHIJKLMNOPQRSTUVWXYZ01234";
    let (new, matching, asked) = ("a new value is due", "supply one that matches the contract's pattern", "ask for one");
    let rows: [(&str, &[String], &[String], &str); 11] = [
        (
            "hex",
            &["sk-00112233445566778899aabbccddeeff".into()],
            &[
                "sk_00112233445566778899aabbccddeeff".into(),
                "sk-00112233445566778899AABBCCDDEEFF".into(),
                "sk-00112233445566778899aabbccddeef".into(),
                "sk-00112233445566778899aabbccddeefff".into(),
            ],
            new,
        ),
        (
            "base64",
            &["AAAAAAAAAAAAAAAAAAAAAA==".into()],
            &["AAAAAAAAAAAAAAAAAAAAAAA=".into(), "AAAAAAAAAAAAAAAAAAAAAA".into(), "AAAAAAAAAAAAAAAAAAAAAA=!".into()],
            new,
        ),
        ("base64url", &["abcdefghijklmnopqrs-_0".into()], &["abcdefghijklmnopqrs+/0".into(), "abcdefghijklmnopqrs-_".into()], new),
        ("alphanumeric", &["abcdefghijklmnopqrSTU0".into()], &["abcdefghijklmnopqrST-0".into(), "abcdefghijklmnopqrSTU".into()], new),
        (
            "password",
            &["abcdefghijklmnopqrstuvw0123".into()],
            &[
                "abcdefghijklmnopqrstuvwx012".into(),
                "abcdefghijklmnopqrstuvwaaaa".into(),
                "012345678901234567890123456".into(),
                "abcdefghijklmnopqrstuvw012A".into(),
            ],
            new,
        ),
        (
            "uuid",
            &["00112233-4455-4677-8899-aabbccddeeff".into()],
            &[
                "00112233-4455-5677-8899-aabbccddeeff".into(),
                "00112233-4455-4677-8899-AABBCCDDEEFF".into(),
                "001122330445504677088990aabbccddeeff".into(),
                "0011223-34455-4677-8899-aabbccddeeff".into(),
                "00112233-4455-4677-8899-aabbccddeef".into(),
            ],
            new,
        ),
        (
            "bcrypt",
            &[format!("$2b$10${bcrypt}")],
            &[format!("$2a$10${bcrypt}"), format!("$2b$11${bcrypt}"), format!("$2b$10${bcrypt}a")],
            new,
        ),
        (
            "htpasswd",
            &[format!("ci:$2y$11${bcrypt}")],
            &[format!("cj:$2y$11${bcrypt}"), format!("ci:$2b$11${bcrypt}"), format!("ci:$2y$10${bcrypt}"), format!("ci$$2y$11${bcrypt}")],
            new,
        ),
        (
            "argon2id",
            &["$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into()],
            &[
                "$argon2i$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into(),
                "$argon2id$v=19$m=19457,t=2,p=1$c2FsdA$aGFzaA".into(),
                "$argon2id$v=19$m=19456,t=3,p=1$c2FsdA$aGFzaA".into(),
                "$argon2id$v=19$m=19456,t=2,p=2$c2FsdA$aGFzaA".into(),
            ],
            new,
        ),
        ("pattern", &["hf_a".into()], &["hf_".into(), "xhf_a".into(), String::new()], matching),
        ("hinted", &["anything".into()], &[String::new()], asked),
    ];
    for (name, good, bad, help) in rows {
        let key = key(&contract, name);
        let checked = |text: &String| check(key, &SecretValue::new(Zeroizing::new(text.as_bytes().to_vec())));
        good.iter().for_each(|text| assert!(checked(text).is_ok(), "{name}: {text}"));
        for text in bad {
            let error = checked(text).expect_err(text);
            assert!(error.what().starts_with(&format!("the value of `s/{name}` is not what its recipe asks for (")), "{}", error.what());
            assert_eq!(error.help(), help, "{name}: {text}");
        }
    }
}

#[test]
fn a_private_key_is_of_the_kind_and_in_the_form_of_its_recipe() {
    let contract = with_values(
        "      a: { key-pair: { public: a.pub } }
      b: { key-pair: { algorithm: p256, public: b.pub } }
      c: { key-pair: { format: jwk, public: c.pub } }
",
    );
    let made = made(&contract, 3);
    for name in ["a", "b", "c"] {
        for other in ["a", "b", "c"] {
            let fits = check(key(&contract, name), &made[&key(&contract, other).name]).is_ok();
            assert_eq!(fits, name == other, "{other} as {name}");
        }
    }
}

/// All values of a contract, made with the randomness of this seed.
fn made(contract: &Contract, seed: u64) -> BTreeMap<KeyName, SecretValue> {
    let (names, now) =
        (contract.keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let of_unit = |unit| generate(unit, &names, &mut BTreeMap::new(), &BTreeMap::new(), now, &mut TestEntropy(seed)).unwrap();
    let units = contract.units();
    let values = units.iter().flat_map(of_unit);
    values.map(|(key, value)| (key.name.clone(), value)).collect()
}

#[test]
fn what_is_made_of_a_value_agrees_with_that_and_with_no_other() {
    let text = contract(
        "  - name: s
    about: a value, and all that can be made of it
    values:
      password: { hex: { bytes: 16 } }
      bcrypt: { bcrypt: { of: password, cost: 10 } }
      htpasswd: { htpasswd: { user: ci, of: password, cost: 10 } }
      argon2id: { argon2id: { of: password, memory: 19456, iterations: 2, parallelism: 1 } }
      key: { key-pair: { public: key.pub } }
  - name: text
    about: with a value of another Secret, which the controller cannot read
    recipe: { template: 'postgres://app:{s/password}@db/app' }
  - name: ca
    about: signs the other one
    recipe: { tls: { authority: true, days: 3650 } }
  - name: web
    about: signed by that
    recipe: { tls: { names: [web.example.org], days: 90, issued-by: ca } }
",
    );
    let contract = contract_file::read("c", &text).unwrap();
    let one = made(&contract, 1);
    // The others need no hash, which takes longer than all the rest.
    let rest: String = text.split_inclusive('\n').filter(|line| !line.contains("cost: 10")).collect();
    let other = made(&contract_file::read("c", &rest).unwrap(), 2);
    let derived: Vec<&Key> = contract.keys.iter().filter(|key| key.recipe.is_derived()).collect();
    let mut names: Vec<&str> = derived.iter().map(|key| key.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["ca/tls.crt", "s/argon2id", "s/bcrypt", "s/htpasswd", "s/key.pub", "text", "web/ca.crt", "web/tls.crt"]);
    for key in derived {
        let value = &one[&key.name];
        assert!(agrees(&key.recipe, value, &|name| one.get(name)), "{}", key.name);
        assert!(!agrees(&key.recipe, value, &|name| other.get(name)), "{}", key.name);
        assert!(agrees(&key.recipe, value, &|_| None), "{}: what is not known is compared with nothing", key.name);
        assert!(check(key, value).is_ok(), "{}", key.name);
        assert!(check(key, &SecretValue::new(Zeroizing::new(Vec::new()))).is_err(), "{}: nothing is made empty", key.name);
    }
}

#[test]
fn without_randomness_for_a_value_or_the_salt_of_its_hash_there_is_neither() {
    let contract = with_values("      a: { hex: { bytes: 32 } }\n      b: { bcrypt: { of: a, cost: 10 } }\n");
    let names: Vec<KeyName> = contract.keys.iter().map(|key| key.name.clone()).collect();
    for (lacking, what) in [(32, "the value"), (16, "the salt")] {
        let mut entropy = Drawing(move |bytes: &mut [u8]| {
            bytes.fill(7);
            if bytes.len() == lacking { Err(EntropyFailed) } else { Ok(()) }
        });
        let made = generate(&contract.units()[0], &names, &mut BTreeMap::new(), &BTreeMap::new(), SystemTime::UNIX_EPOCH, &mut entropy);
        assert!(made.is_err(), "{what}");
    }
}

#[test]
fn an_argon2id_hash_that_would_take_minutes_is_none_of_ours() {
    let contract = with_values("      a: { hex: { bytes: 16 } }\n      b: { argon2id: { of: a } }\n");
    let password = SecretValue::new(Zeroizing::new(b"hunter2".to_vec()));
    for (iterations, expected) in [(1, true), (16, true), (17, false)] {
        let hasher = argon2::Params::new(8, iterations, 1, Some(16))
            .map(|parameters| argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters));
        let mut hash = [0; 16];
        hasher.unwrap().hash_password_into(b"hunter2", b"saltsalt", &mut hash).unwrap();
        let [salt, hash] = [&b"saltsalt"[..], &hash].map(|bytes| BASE64_STANDARD_NO_PAD.encode(bytes));
        for (name, parallelism, expected) in [("that password's", 1, expected), ("another one's", 2, false)] {
            let text = format!("$argon2id$v=19$m=8,t={iterations},p={parallelism}${salt}${hash}");
            let value = SecretValue::new(Zeroizing::new(text.into_bytes()));
            assert_eq!(agrees(&key(&contract, "b").recipe, &value, &|_| Some(&password)), expected, "{iterations}: {name}");
        }
    }
}
