//! `pipeline/certificate.rs`

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair};
use seal_secrets::pipeline::certificate::SealingCertificate;
use seal_secrets::pipeline::pem;

use crate::common::fixture_text;

const SECOND: Duration = Duration::from_secs(1);

fn good() -> SealingCertificate {
    SealingCertificate::read(fixture_text("fixtures/certificates/good.crt").as_bytes()).unwrap()
}

/// What is wrong with it at this time; else whether it ends soon.
fn judged(certificate: SealingCertificate, now: SystemTime) -> Result<bool, String> {
    certificate.judge_again(now, 2048).map(|fit| fit.ends_soon).map_err(|error| error.what())
}

#[test]
fn it_is_fit_from_its_first_second_to_its_last_and_ends_soon_for_thirty_days() {
    // 2020-01-01 and 2126-01-01.
    let (begins, ends) = (UNIX_EPOCH + SECOND * 1_577_836_800, UNIX_EPOCH + Duration::from_secs(4_922_899_200));
    assert_eq!(
        (good().not_before(), good().begins(), good().ends()),
        (begins, "2020-01-01T00:00:00Z".into(), "2126-01-01T00:00:00Z".into())
    );
    let month = Duration::from_secs(30 * 86_400);
    for (now, expected) in [
        (begins - SECOND, Err("the certificate is not valid before 2020-01-01T00:00:00Z".to_owned())),
        (begins, Ok(false)),
        (ends - month, Ok(false)),
        (ends - month + SECOND, Ok(true)),
        (ends, Ok(true)),
        (ends + SECOND, Err("the certificate ended on 2126-01-01T00:00:00Z".to_owned())),
    ] {
        assert_eq!(judged(good(), now), expected, "{now:?}");
    }
}

/// `good.crt`, which claims this signature algorithm of RFC 8017 (the last number of its name), and is signed like this.
fn signed(algorithm: u8, with: &'static dyn RsaEncoding) -> SealingCertificate {
    // 1.2.840.113549.1.1.11, in DER.
    const SHA256_RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 11];
    let mut der = pem::read(&fixture_text("fixtures/certificates/good.crt")).unwrap().remove(0).der.to_vec();
    let named: Vec<usize> = (0..der.len()).filter(|at| der[*at..].starts_with(&SHA256_RSA)).collect();
    assert_eq!(named.len(), 2, "inside of what is signed, and beside it");
    named.iter().for_each(|at| der[at + 8] = algorithm);
    // Each of the two outer headers takes four bytes, and the signature comes last.
    let end = 8 + usize::from(u16::from_be_bytes([der[6], der[7]]));
    let key = pem::read(&fixture_text("fixtures/private-keys/good-pkcs8.pem")).unwrap().remove(0).der.to_vec();
    let key = RsaKeyPair::from_pkcs8(&key).unwrap();
    let (text, start) = (der[4..end].to_vec(), der.len() - key.public_modulus_len());
    key.sign(with, &SystemRandom::new(), &text, &mut der[start..]).unwrap();
    SealingCertificate::read(pem::write("CERTIFICATE", &der).as_bytes()).unwrap()
}

#[test]
fn its_own_signature_is_of_the_hash_that_it_names() {
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let (sha256, sha384, sha512): (&dyn RsaEncoding, &dyn RsaEncoding, &dyn RsaEncoding) =
        (&RSA_PKCS1_SHA256, &RSA_PKCS1_SHA384, &RSA_PKCS1_SHA512);
    for (named, algorithm) in [(11, "SHA-256"), (12, "SHA-384"), (13, "SHA-512")] {
        for (used, with) in [(11, sha256), (12, sha384), (13, sha512)] {
            let wrong = "the certificate's own signature is wrong: it was changed after it was made".to_owned();
            let expected = if used == named { Ok(false) } else { Err(wrong) };
            assert_eq!(judged(signed(named, with), now), expected, "it names {algorithm}, and is signed with {used}");
        }
    }
    let of_sha1 = judged(signed(5, sha256), now);
    assert_eq!(of_sha1, Err("the certificate's own signature is not RSA with SHA-2".to_owned()));
}
