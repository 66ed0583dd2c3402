//! `pipeline/private_key.rs`

use crypto_bigint::BoxedUint;
use rsa::PrivateKey;
use rsa::traits::PrivateKeyParts;
use seal_secrets::pipeline::certificate::SealingCertificate;
use seal_secrets::pipeline::private_key::*;

use crate::common::fixture_text;

/// A key whose primes differ by 2^bit and this much more.
fn with_distance(bit: usize, more: u16) -> PrivateKey {
    let good = read_pem(&fixture_text("fixtures/private-keys/good-2048-pkcs8.pem")).unwrap().remove(0);
    let mut distance = [0; 128];
    distance[127 - bit / 8] = 1 << (bit % 8);
    distance[126..].copy_from_slice(&more.to_be_bytes());
    let p: &BoxedUint = good.primes()[0].as_ref();
    PrivateKey::from_p_q(p.clone(), p.wrapping_sub(BoxedUint::from_be_slice_vartime(&distance)), 65_537_u32.into()).unwrap()
}

#[test]
fn two_primes_are_as_far_apart_as_fips_186_5_asks_for() {
    // More than 2^924, for 2048 bits. Below the key's first prime, these are the first ones that far away.
    assert!(SealingKey::new(&with_distance(924, 182)).is_ok());
    let close = SealingKey::new(&with_distance(923, 1412)).map(|_| ()).unwrap_err();
    assert_eq!(close.what(), "the RSA private key is weak: its two primes are too close to each other");
}

/// The certificates of these fixtures, each as PEM.
fn certificates(file: &str) -> Vec<String> {
    let text = fixture_text(&format!("fixtures/certificates/{file}"));
    text.split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect()
}

#[test]
fn a_renewal_began_with_another_key_that_is_newer() {
    let [of_good, of_other] = &certificates("two-certificates.crt")[..] else { panic!("two certificates") };
    let [later] = &certificates("not-yet-valid.crt")[..] else { panic!("one certificate") };
    let [earlier] = &certificates("expired.crt")[..] else { panic!("one certificate") };
    let (good, other) = (fixture_text("fixtures/private-keys/good-pkcs8.pem"), fixture_text("fixtures/private-keys/other.pem"));
    for (what, pinned, escrow, newer) in [
        ("another key that began later", earlier, [of_other, &other].map(String::as_str).concat(), Some(of_other)),
        ("another key that began at the same time", of_good, [of_other, &other].map(String::as_str).concat(), None),
        ("another key that began earlier", later, [of_other, &other].map(String::as_str).concat(), None),
        ("the same key with a later certificate", of_good, [later, &good].map(String::as_str).concat(), None),
        ("the same certificate", of_good, [of_good, &good].map(String::as_str).concat(), None),
        ("another key without a certificate", earlier, other.clone(), None),
    ] {
        let pinned = SealingCertificate::read(pinned.as_bytes()).unwrap();
        let pairs = Pairs::read(&escrow).unwrap();
        let found = pairs.newer_than(&pinned, |one| Some(one.digest)).map(|(_, pem)| pem);
        assert_eq!(found.map(str::trim_end), newer.map(|pem| pem.trim_end()), "{what}");
    }
}
