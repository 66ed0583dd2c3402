//! `model/digest.rs`

use seal_secrets::model::*;

#[test]
fn a_digest_reads_what_it_writes() {
    let digest = CertificateDigest::new(std::array::from_fn(|i| (i * 7) as u8));
    assert_eq!(CertificateDigest::parse(&digest.to_string()), Ok(digest));
    for bad in ["", "sha256:", "sha256:zz", &format!("sha1:{}", "0".repeat(64)), &format!("sha256:{}", "ü".repeat(32))] {
        assert!(CertificateDigest::parse(bad).is_err(), "{bad}");
    }
}
