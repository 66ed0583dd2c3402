//! `pipeline/seal.rs`

use std::num::NonZeroUsize;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use seal_secrets::model::SecretValue;
use seal_secrets::pipeline::certificate::SealingCertificate;
use seal_secrets::pipeline::private_key;
use seal_secrets::pipeline::seal::Sealer;
use seal_secrets::pipeline::unseal::open;
use zeroize::Zeroizing;

use crate::common::{Drawing, fit, fixture_text};

/// The RSA part of a sealed value, and what follows it, made with this session key and this seed of OAEP.
fn sealed(key: u8, seed: u8) -> (Vec<u8>, Vec<u8>) {
    let certificate = SealingCertificate::read(fixture_text("fixtures/certificates/good.crt").as_bytes()).unwrap();
    let sealer = Sealer::new(&fit(certificate)).unwrap();
    let value = SecretValue::new(Zeroizing::new(b"hunter2".to_vec()));
    let mut entropy = Drawing(move |bytes: &mut [u8]| {
        assert_eq!(bytes.len(), 64, "all the randomness of one value");
        bytes[..32].fill(key);
        bytes[32..].fill(seed);
        Ok(())
    });
    let blobs = sealer.seal_all(vec![("a/b".to_owned(), value)], &mut entropy, NonZeroUsize::MIN).unwrap();
    let (keys, _) = private_key::read(&fixture_text("fixtures/private-keys/good-pkcs8.pem")).unwrap();
    assert_eq!(open(&keys, "a/b", &blobs[0]).unwrap().expose(), b"hunter2");
    let mut rsa = BASE64_STANDARD.decode(&blobs[0]).unwrap();
    let rest = rsa.split_off(2 + 512);
    (rsa, rest)
}

#[test]
fn all_of_the_randomness_counts_and_nothing_else() {
    let (rsa, rest) = sealed(1, 2);
    assert_eq!(sealed(1, 2), (rsa.clone(), rest.clone()));
    let (of_another_seed, same_rest) = sealed(1, 3);
    assert!(of_another_seed != rsa && same_rest == rest, "the seed is that of the RSA part alone");
    let (of_another_key, another_rest) = sealed(4, 2);
    assert!(of_another_key != rsa && another_rest != rest);
}
