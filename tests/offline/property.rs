//! Seal and unseal against a second implementation: the `rsa` crate for OAEP and aws-lc for AES-GCM, each the one that
//! the product does not use there.

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

use crate::common::{TestEntropy, fixture_text};

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

/// Names as Kubernetes has them, sizes from nothing to 1 MiB with the small ones likelier.
fn case() -> impl Strategy<Value = (String, String, Scope, u64, usize)> {
    let scope = prop_oneof![Just(Scope::Strict), Just(Scope::NamespaceWide), Just(Scope::ClusterWide)];
    let size = prop_oneof![4 => 0usize..200, 1 => 0usize..=1 << 20, 1 => Just(1usize << 20), 1 => Just(0usize)];
    ("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", scope, any::<u64>(), size)
}

fn check(certificate: &str, private: &str, cases: u32) {
    let certificate = SealingCertificate::read(fixture_text(certificate).as_bytes()).unwrap();
    let pem = fixture_text(private);
    let keys: Vec<SealingKey> = private_key::read(&pem).unwrap();
    let second = Second(PrivateKey::from_pkcs8_pem(&pem).unwrap());
    let sealer = Sealer::new(&certificate).unwrap();
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
    check("fixtures/certificates/good-2048.crt", "fixtures/private-keys/good-2048-pkcs8.pem", 900);
}

#[test]
fn seal_and_unseal_agree_with_a_second_implementation_at_4096_bits() {
    check("fixtures/certificates/good.crt", "fixtures/private-keys/good-pkcs8.pem", 100);
}

#[test]
fn many_threads_seal_in_the_order_of_the_values() {
    let certificate = SealingCertificate::read(fixture_text("fixtures/certificates/good.crt").as_bytes()).unwrap();
    let keys = private_key::read(&fixture_text("fixtures/private-keys/good-pkcs8.pem")).unwrap();
    let values = |count: u8| (0..count).map(|i| (i.to_string(), SecretValue::new(Zeroizing::new(vec![i; 3])))).collect();
    for (count, threads) in [(0, 2), (1, 2), (7, 3), (2, 8)] {
        let blobs =
            Sealer::new(&certificate).unwrap().seal_all(values(count), &mut TestEntropy(1), NonZeroUsize::new(threads).unwrap()).unwrap();
        assert_eq!(blobs.len(), usize::from(count));
        for (i, blob) in blobs.iter().enumerate() {
            assert_eq!(unseal::open(&keys, &i.to_string(), blob).unwrap().expose(), [i as u8; 3]);
        }
    }
}
