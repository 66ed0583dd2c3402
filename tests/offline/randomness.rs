//! Everything made from randomness: session keys, no two of which are equal, and values whose characters are all equally likely.
//! `faults.rs` tests runs without randomness.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use seal_secrets::manifest::{blobs, contract_file};
use seal_secrets::model::{KeyName, SecretValue};
use seal_secrets::pipeline::certificate::SealingCertificate;
use seal_secrets::pipeline::generate::generate;
use seal_secrets::pipeline::seal::Sealer;
use zeroize::Zeroizing;

use crate::common::{Drawing, Sandbox, TestEntropy, fit, fixture_text};

/// The AES part of a blob: with one key and the format's only nonce, equal values give equal results.
fn body(blob: &str) -> Vec<u8> {
    let bytes = BASE64_STANDARD.decode(blob).unwrap();
    let rsa = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    bytes[2 + rsa..].to_vec()
}

#[test]
fn equal_values_are_sealed_under_different_session_keys() {
    let certificate = SealingCertificate::read(fixture_text("fixtures/certificates/good-2048.crt").as_bytes()).unwrap();
    let sealer = Sealer::new(&fit(certificate)).unwrap();
    for threads in [1, 2, 7] {
        let values = (0..40).map(|_| ("a/b".to_owned(), SecretValue::new(Zeroizing::new(b"the same".to_vec()))));
        let blobs = sealer.seal_all(values.collect(), &mut TestEntropy(1), NonZeroUsize::new(threads).unwrap()).unwrap();
        assert_eq!(blobs.iter().map(|blob| body(blob)).collect::<BTreeSet<_>>().len(), 40, "{threads} threads");
        // The RSA part is random too: the same label and key give another one.
        assert_eq!(blobs.iter().map(|blob| blob[..300].to_owned()).collect::<BTreeSet<_>>().len(), 40, "{threads} threads");
    }
}

/// Three keys of one value, sealed.
fn with_equal_values() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    let keys: String = ["a", "b", "c"].map(|name| format!("  - {{ name: {name}, about: x, recipe: {{ provided: {{}} }} }}\n")).concat();
    let contract = format!("version: 1\nstore: s\nnamespace: s\nreader: {{ name: r, namespace: eso }}\nkeys:\n{keys}");
    sandbox.write("three.yaml", contract.as_bytes());
    sandbox.write_secret("value", b"the same");
    let provide = ["a", "b", "c"].map(|name| format!("--provide={name}=value"));
    sandbox.run(["bootstrap", "--contract", "three.yaml"].iter().map(|arg| (*arg).to_owned()).chain(provide)).expect(0);
    sandbox
}

#[test]
fn so_are_they_in_whatever_is_re_encrypted() {
    let sandbox = with_equal_values();
    let bodies = |sandbox: &Sandbox, file: &str| {
        let found = blobs::find(&sandbox.read(file), &Default::default());
        found.iter().flat_map(|one| &one.blobs).map(|blob| body(&blob.text)).collect::<Vec<_>>()
    };
    let units = ["a", "b", "c"].map(|name| format!("out/secret-source/{name}.sealed.yaml"));
    // In one file, and in several.
    sandbox.write("apps/all.yaml", units.iter().map(|unit| sandbox.read(unit)).collect::<Vec<_>>().join("---\n").as_bytes());
    let (key, own) = (Sandbox::renewed().read("keys/sealing.key.age"), Sandbox::renewed().read("keys/sealing.crt"));
    sandbox.write("keys/sealing.key.age", key.as_bytes());
    sandbox.write("keys/sealing.crt", own.as_bytes());
    sandbox.accept("keys");
    sandbox.run(["re-encrypt", "--yes"]).expect(0);
    sandbox.run(["re-encrypt", "apps", "--yes"]).expect(0);
    let all: Vec<_> = units.iter().map(String::as_str).chain(["apps/all.yaml"]).flat_map(|file| bodies(&sandbox, file)).collect();
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (6, 6));
}

/// Randomness that repeats after this many bytes.
fn repeating(period: usize) -> Box<seal_secrets::model::Entropy> {
    let mut stream = vec![0; period];
    TestEntropy(7).fill(&mut stream);
    let mut stream = stream.into_iter().cycle();
    Box::new(Drawing(move |bytes: &mut [u8]| {
        bytes.iter_mut().zip(&mut stream).for_each(|(byte, next)| *byte = next);
        Ok(())
    }))
}

#[test]
fn a_source_that_repeats_itself_is_refused() {
    let many = Sandbox::bootstrapped();
    many.write("keys/sealing.key.age", Sandbox::renewed().read("keys/sealing.key.age").as_bytes());
    many.write("keys/sealing.crt", Sandbox::renewed().read("keys/sealing.crt").as_bytes());
    many.accept("keys");
    let rotate = ["rotate", "vllm-api-key", "litellm-db-password", "--yes"];
    // It repeats in the first draws, or after some session keys (64 bytes each with OAEP's seed), in one file or in several.
    for (start, args, periods) in [
        (&Sandbox::empty(), &["keygen"][..], &[1, 32][..]),
        (&Sandbox::with_keys().without_hash(), &["bootstrap"], &[1, 8, 32, 64, 320, 640]),
        (&Sandbox::bootstrapped(), &rotate, &[1, 32, 64]),
        (&many, &["re-encrypt", "--yes"], &[1, 32, 64, 320, 640]),
    ] {
        for period in periods {
            let sandbox = start.copy();
            let before = sandbox.snapshot();
            let ran = sandbox.run_drawing(repeating(*period), args).expect(6);
            assert!(ran.stderr.contains("error: the randomness repeats itself\n"), "{args:?}, {period}: {}", ran.stderr);
            assert_eq!(before, sandbox.snapshot(), "{args:?}, {period}: nothing changed");
        }
    }
}

/// What a recipe makes of these bytes.
fn made(recipe: &str, mut bytes: impl Iterator<Item = u8> + 'static) -> String {
    let head = "version: 1\nstore: s\nnamespace: s\nreader: { name: r, namespace: eso }\nkeys:\n";
    let contract = contract_file::read("c", &format!("{head}  - {{ name: a, about: x, recipe: {{ {recipe} }} }}\n")).unwrap();
    let mut entropy = Drawing(move |into: &mut [u8]| {
        into.iter_mut().for_each(|byte| *byte = bytes.next().expect("no more than these are drawn"));
        Ok(())
    });
    let names: Vec<KeyName> = contract.keys.iter().map(|key| key.name.clone()).collect();
    let now = std::time::SystemTime::UNIX_EPOCH;
    let values = generate(&contract.units()[0], &names, &mut BTreeMap::new(), &BTreeMap::new(), now, &mut entropy).unwrap();
    String::from_utf8(values[0].1.expose().to_vec()).unwrap()
}

#[test]
fn each_byte_makes_what_it_has_to() {
    const ALL: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (recipe, bytes, text) in [
        ("alphanumeric: { length: 24 }", (0..24).collect::<Vec<u8>>(), ALL[..24].to_owned()),
        // The eight bytes that would make the first characters likelier are drawn again.
        ("alphanumeric: { length: 24 }", (232..=255).chain(0..24).collect(), ALL[46..].to_owned() + &ALL[..8]),
        ("alphanumeric: { length: 24 }", (248..=255).chain(248..=255).chain(248..=255).chain(62..86).collect(), ALL[..24].to_owned()),
        ("hex: { bytes: 16 }", (0..16).map(|n| n * 17).collect(), "00112233445566778899aabbccddeeff".to_owned()),
        ("hex: { bytes: 16, prefix: sk- }", (240..=255).collect(), "sk-f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff".to_owned()),
        ("base64url: { bytes: 24 }", [0xfb, 0xef, 0xff].repeat(8), "--__".repeat(8)),
        ("base64url: { bytes: 17 }", [0, 16, 131].repeat(6)[..17].to_vec(), "ABCD".repeat(5) + "ABA"),
    ] {
        assert_eq!(made(recipe, bytes.into_iter()), text, "{recipe}");
    }
}

#[test]
fn every_character_is_as_likely_as_every_other() {
    // Each byte once, repeated as often as needed: each of the 62 characters comes from four bytes.
    let text = made("alphanumeric: { length: 124 }", (0..=255).map(|n: u8| n.wrapping_mul(167)).cycle());
    assert_eq!(text.len(), 124);
    let mut left: Vec<u8> = (0..=255).map(|n: u8| n.wrapping_mul(167)).filter(|byte| *byte < 248).collect();
    left.truncate(124);
    const ALL: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let expected: String = left.iter().map(|byte| char::from(ALL[usize::from(*byte) % 62])).collect();
    assert_eq!(text, expected);
    let whole = made("alphanumeric: { length: 248 }", (0..=255).cycle());
    for character in ALL {
        assert_eq!(whole.bytes().filter(|one| one == character).count(), 4, "{}", char::from(*character));
    }
}
