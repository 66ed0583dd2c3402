//! Seal and unseal against a second implementation: the `rsa` crate for OAEP and aws-lc for AES-GCM. The product uses neither there.

use std::num::NonZeroUsize;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rsa::pkcs8::DecodePrivateKey;
use rsa::{Oaep, PrivateKey, sha2::Sha256};
use seal_secrets::model::{Scope, SecretValue};
use seal_secrets::pipeline::certificate::SealingCertificate;
use seal_secrets::pipeline::private_key::{self, SealingKey};
use seal_secrets::pipeline::seal::Sealer;
use seal_secrets::pipeline::unseal;
use zeroize::Zeroizing;

use crate::common::{TestEntropy, fit, fixture_text};

struct Second(PrivateKey);

impl Second {
    fn open(&self, label: &str, blob: &str) -> Vec<u8> {
        let bytes = BASE64_STANDARD.decode(blob).unwrap();
        let size = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        let session_key = self.0.decrypt(Oaep::<Sha256>::new_with_label(label.as_bytes()), &bytes[2..2 + size]).unwrap();
        let mut value = bytes[2 + size..].to_vec();
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &session_key).unwrap());
        let length = cipher.open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut value).unwrap().len();
        value.truncate(length);
        value
    }

    fn seal(&self, label: &str, value: &[u8], seed: u64) -> String {
        let mut entropy = TestEntropy(seed);
        let session_key = [seed as u8; 32];
        let padding = Oaep::<Sha256>::new_with_label(label.as_bytes());
        let rsa = self.0.to_public_key().encrypt(&mut entropy, padding, &session_key).unwrap();
        let mut body = value.to_vec();
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &session_key).unwrap());
        cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body).unwrap();
        let length = u16::try_from(rsa.len()).unwrap().to_be_bytes();
        BASE64_STANDARD.encode([&length[..], &rsa, &body].concat())
    }
}

fn cheap_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    TestEntropy(seed).fill(&mut bytes);
    bytes
}

/// Names as in Kubernetes; sizes from 0 to 1 MiB, small ones more likely.
fn case() -> impl Strategy<Value = (String, String, Scope, u64, usize)> {
    let scope = prop_oneof![Just(Scope::Strict), Just(Scope::NamespaceWide), Just(Scope::ClusterWide)];
    let size = prop_oneof![4 => 0usize..200, 1 => 0usize..=1 << 20, 1 => Just(1usize << 20), 1 => Just(0usize)];
    ("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", scope, any::<u64>(), size)
}

fn check(certificate: &str, private: &str, cases: u32) {
    let certificate = SealingCertificate::read(fixture_text(certificate).as_bytes()).unwrap();
    let pem = fixture_text(private);
    let keys: Vec<SealingKey> = private_key::read(&pem).unwrap().0;
    let second = Second(PrivateKey::from_pkcs8_pem(&pem).unwrap());
    let sealer = Sealer::new(&fit(certificate)).unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&case(), |(namespace, name, scope, seed, size)| {
        let (label, value) = (scope.label(&namespace, &name), cheap_bytes(seed, size));
        let ours = vec![(label.clone(), SecretValue::new(Zeroizing::new(value.clone())))];
        let blob = sealer.seal_all(ours, &mut TestEntropy(seed), NonZeroUsize::MIN).unwrap().remove(0);
        prop_assert!(second.open(&label, &blob) == value, "the second implementation opens something else");
        let theirs = second.seal(&label, &value, seed);
        prop_assert!(unseal::open(&keys, &label, &theirs).unwrap().expose() == value, "we open something else");
        prop_assert!(unseal::open(&keys, &format!("{label}x"), &blob).is_err(), "another label opens it");
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn seal_and_unseal_agree_with_a_second_implementation() {
    check("fixtures/certificates/good-2048.crt", "fixtures/private-keys/good-2048-pkcs8.pem", 200);
}

#[test]
fn seal_and_unseal_agree_with_a_second_implementation_at_4096_bits() {
    check("fixtures/certificates/good.crt", "fixtures/private-keys/good-pkcs8.pem", 25);
}

#[test]
fn many_threads_seal_in_the_order_of_the_values() {
    let certificate = SealingCertificate::read(fixture_text("fixtures/certificates/good.crt").as_bytes()).unwrap();
    let keys = private_key::read(&fixture_text("fixtures/private-keys/good-pkcs8.pem")).unwrap().0;
    let values = |count: u8| (0..count).map(|i| (i.to_string(), SecretValue::new(Zeroizing::new(vec![i; 3])))).collect();
    for (count, threads) in [(0, 2), (1, 2), (7, 3), (2, 8)] {
        let blobs = Sealer::new(&fit(certificate.clone()))
            .unwrap()
            .seal_all(values(count), &mut TestEntropy(1), NonZeroUsize::new(threads).unwrap())
            .unwrap();
        assert_eq!(blobs.len(), usize::from(count));
        for (i, blob) in blobs.iter().enumerate() {
            assert_eq!(unseal::open(&keys, &i.to_string(), blob).unwrap().expose(), [i as u8; 3]);
        }
    }
}

/// How one entry is written.
#[derive(Clone, Debug)]
struct Written {
    secret_key: String,
    style: usize,
    comment: bool,
    property: bool,
}

fn written() -> impl Strategy<Value = Written> {
    ("[a-zA-Z][a-zA-Z0-9_.-]{0,12}", 0usize..8, any::<bool>(), any::<bool>()).prop_map(|(secret_key, style, comment, property)| Written {
        secret_key,
        style,
        comment,
        property,
    })
}

/// An entry of `spec.data` in one of many styles; each reads `hf-token`.
fn entry(one: &Written) -> String {
    let Written { secret_key, style, comment, property } = one;
    let why = if *comment { "   # key: why" } else { "" };
    let own = if *comment { "        # remoteRef: above\n" } else { "" };
    let line = if *property { "        property: value\n" } else { "" };
    let inline = if *property { ", property: value" } else { "" };
    match style {
        0 => format!("    - secretKey: \"{secret_key}\"\n      remoteRef:\n        key: hf-token{why}\n{line}"),
        1 => format!(
            "    - remoteRef:\n{own}        version: \"1\"\n        key: 'hf-token'{why}\n{line}      secretKey: \"{secret_key}\"\n"
        ),
        2 => format!("    - secretKey: \"{secret_key}\"\n      remoteRef: {{key: hf-token{inline}}}{why}\n"),
        3 => format!("    - {{secretKey: \"{secret_key}\", remoteRef: {{ version: v, key: \"hf-token\"{inline} }}}}{why}\n"),
        4 => format!(
            "    -   secretKey: \"{secret_key}\"\n        remoteRef:\n            key: >-\n              hf-token\n{}",
            line.replace("        ", "            ")
        ),
        5 => format!(
            "    - secretKey: \"{secret_key}\"\n      remoteRef:\n        \"key\":\n{own}          hf-token{why}\n{line}        decodingStrategy: None\n"
        ),
        6 => format!("    - secretKey: \"{secret_key}\"\n      remoteRef: {{\n        key: hf-token{inline},\n        version: v }}\n"),
        _ => format!(
            "    - secretKey: \"{secret_key}\"\n      remoteRef:\n        metadataPolicy: None\n\n        key: hf-token{why}\n\n{line}"
        ),
    }
}

/// A file of several documents, some of them ExternalSecrets, all of them full of text that looks like one.
fn manifest() -> impl Strategy<Value = String> {
    let document = (proptest::collection::vec(written(), 1..5), 0usize..4);
    (proptest::collection::vec(document, 1..4), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(documents, crlf, mark, cut)| {
        let mut text = String::from("# remoteRef:\n#   key: hf-token\n");
        for (i, (entries, kind)) in documents.iter().enumerate() {
            let data: String = entries.iter().map(entry).collect();
            text.push_str(&match kind {
                0 => format!("---\nkind: ConfigMap\napiVersion: v1\ndata:\n  es: |\n    kind: ExternalSecret\n    spec:\n      data:\n{}", data.replace('\n', "\n      ").trim_end_matches(' ').replace("    - ", "          - ")),
                _ => format!("---\napiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata:\n  name: es-{i}\nspec:\n  secretStoreRef: {{name: secret-store, kind: ClusterSecretStore}}\n  data:\n{data}"),
            });
        }
        if cut {
            text.truncate(text.trim_end().len());
        }
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        if mark { format!("\u{feff}{text}") } else { text }
    })
}

fn read_by_another(text: &str) -> Vec<serde_yaml::Value> {
    let text = text.trim_start_matches('\u{feff}');
    serde_yaml::Deserializer::from_str(text).map(|one| <serde_yaml::Value as serde::Deserialize>::deserialize(one).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn patch_adds_the_property_and_changes_nothing_else(text in manifest()) {
        use seal_secrets::manifest::property::add;
        let kind = None;
        let edited = add(&text, kind, &|entry| (entry.key == "hf-token").then_some(Some("value"))).text.unwrap_or(text.clone());
        prop_assert!(add(&edited, kind, &|_| Some(Some("value"))).text.is_none(), "a second run changes nothing:\n{}", edited);
        let (mut before, mut after) = (read_by_another(&text), read_by_another(&edited));
        for document in before.iter_mut().chain(after.iter_mut()) {
            for entry in document.get_mut("spec").and_then(|spec| spec.get_mut("data")).and_then(|data| data.as_sequence_mut()).into_iter().flatten() {
                entry["remoteRef"].as_mapping_mut().unwrap().remove("property");
            }
        }
        prop_assert_eq!(before, after);
        // And every entry has it.
        for document in read_by_another(&edited).iter().filter(|document| document["kind"] == "ExternalSecret") {
            for entry in document["spec"]["data"].as_sequence().unwrap() {
                prop_assert_eq!(&entry["remoteRef"]["property"], "value");
            }
        }
        // All of the old text is still there, in its order.
        let mut rest = edited.chars();
        prop_assert!(text.chars().all(|c| rest.any(|other| other == c)));
    }

    #[test]
    fn whatever_a_file_holds_nothing_panics(text in "(key: |remoteRef:|- |\\{|\\}|\\[|\\]|ExternalSecret|external-secrets.io/v1|kind: |apiVersion: |spec:|data:|&a |\\*a|<<: |\"|'|#| |  |\n|\t|\r\n|---|\\.\\.\\.|!!str |\\?|>-|\\||[a-zü]){0,60}") {
        let _ = seal_secrets::manifest::property::add(&text, Some(seal_secrets::model::StoreKind::SecretStore), &|_| Some(Some("value")));
        if let Ok(documents) = seal_secrets::manifest::yaml::read_foreign(&text) {
            let _ = seal_secrets::manifest::gitops::kustomization(&documents);
        }
    }
}
