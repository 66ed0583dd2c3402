//! Key pairs among the contract's secrets: a private key and its public half, in the formats that their consumers read.

use aws_lc_rs::agreement;
use aws_lc_rs::encoding::{AsBigEndian, AsDer, Curve25519SeedBin, EcPrivateKeyBin, EcPublicKeyUncompressedBin, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use crypto_bigint::BoxedUint;
use rsa::pkcs1::{self, DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey};
use rsa::traits::PublicKeyParts;
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData, RsaKeypair, RsaPrivateKey};
use ssh_key::public::{Ed25519PublicKey, RsaPublicKey};
use ssh_key::{LineEnding, Mpint};
use x509_cert::der::Decode;
use zeroize::Zeroizing;

use super::pem;
use crate::model::{Algorithm, Entropy, EntropyFailed, Error, KeyFormat, Result, SecretValue};

/// A private key that a contract asks for; never a sealing key.
pub enum PrivateKey {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(Box<rsa::PrivateKey>),
}

type Secret = Zeroizing<Vec<u8>>;

fn failed() -> Error {
    Error::cryptography("no key could be made", "nothing was written; try again, and report it if it stays")
}

fn unread() -> Error {
    let help = "use an unencrypted key of the kind Ed25519, P-256 or RSA, in PEM, as a JWK, or in OpenSSH's form";
    Error::bad_input("not a private key that can be read", help)
}

impl PrivateKey {
    /// Generates a key.
    pub fn new(algorithm: Algorithm, entropy: &mut Entropy) -> Result<Self> {
        let bits = match algorithm {
            Algorithm::Ed25519 | Algorithm::P256 => {
                let mut seed = Zeroizing::new([0; 32]);
                entropy.try_fill_bytes(&mut *seed)?;
                let read = if algorithm == Algorithm::Ed25519 { ed25519 } else { p256 };
                // About one of 2³² seeds is not a valid P-256 key.
                return read(&*seed).ok_or_else(failed);
            }
            Algorithm::Rsa2048 => 2048,
            Algorithm::Rsa3072 => 3072,
            Algorithm::Rsa4096 => 4096,
        };
        let key = rsa::PrivateKey::new(entropy, bits).map_err(|error| match error {
            rsa::Error::Rng => EntropyFailed.into(),
            _ => failed(),
        })?;
        Ok(PrivateKey::Rsa(Box::new(key)))
    }

    /// Reads a key in any of the formats; a passphrase or another kind is an error that does not quote it.
    pub fn read(value: &SecretValue) -> Result<Self> {
        let text = std::str::from_utf8(value.expose()).map_err(|_| unread())?;
        let key = match text.trim_start() {
            text if text.starts_with('{') => read_jwk(text),
            text if text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") => read_openssh(text),
            text => read_pem(text),
        };
        key.ok_or_else(unread)
    }

    /// Its algorithm; none for RSA of another size.
    pub fn algorithm(&self) -> Option<Algorithm> {
        match self {
            PrivateKey::Ed25519(_) => Some(Algorithm::Ed25519),
            PrivateKey::P256(_) => Some(Algorithm::P256),
            PrivateKey::Rsa(key) => match key.n().bit_width() {
                2048 => Some(Algorithm::Rsa2048),
                3072 => Some(Algorithm::Rsa3072),
                4096 => Some(Algorithm::Rsa4096),
                _ => None,
            },
        }
    }

    /// Whether a value looks like a private key in this format.
    pub fn is_in(value: &SecretValue, format: KeyFormat) -> bool {
        let begins = match format {
            KeyFormat::Pem => "-----BEGIN PRIVATE KEY-----",
            KeyFormat::Jwk => "{",
            KeyFormat::OpenSsh => "-----BEGIN OPENSSH PRIVATE KEY-----",
        };
        value.expose().starts_with(begins.as_bytes())
    }

    /// The private key, as its consumer reads it.
    pub fn private(&self, format: KeyFormat) -> Result<SecretValue> {
        let text = match format {
            KeyFormat::Pem => Some(pem::write("PRIVATE KEY", &self.pkcs8().ok_or_else(failed)?)),
            KeyFormat::Jwk => self.jwk(true),
            KeyFormat::OpenSsh => self.openssh().and_then(|key| key.to_openssh(LineEnding::LF).ok()),
        };
        let text = text.ok_or_else(failed)?;
        Ok(SecretValue::new(Zeroizing::new(text.as_bytes().to_vec())))
    }

    /// Its public half.
    pub fn public(&self, format: KeyFormat) -> Result<SecretValue> {
        let text = match format {
            KeyFormat::Pem => Some(pem::write("PUBLIC KEY", &self.public_der()?)),
            KeyFormat::Jwk => self.jwk(false),
            KeyFormat::OpenSsh => {
                self.openssh().and_then(|key| key.public_key().to_openssh().ok()).map(|line| Zeroizing::new(format!("{}\n", line.trim())))
            }
        };
        let text = text.ok_or_else(failed)?;
        Ok(SecretValue::new(Zeroizing::new(text.as_bytes().to_vec())))
    }

    /// Whether that is its public half, in any of the formats, and with any comment.
    pub fn has_public(&self, public: &SecretValue) -> bool {
        let words = |value: &SecretValue| {
            let text = String::from_utf8_lossy(value.expose()).trim().to_owned();
            let is_ssh = text.starts_with("ssh-") || text.starts_with("ecdsa-");
            if is_ssh { text.split_whitespace().take(2).collect::<Vec<_>>().join(" ") } else { text }
        };
        KeyFormat::ALL.iter().filter_map(|format| self.public(*format).ok()).any(|own| words(&own) == words(public))
    }

    /// Its public half as SubjectPublicKeyInfo, in DER.
    pub fn public_der(&self) -> Result<Vec<u8>> {
        match self {
            PrivateKey::Ed25519(pair) => {
                let der: Result<PublicKeyX509Der<'_>, _> = pair.public_key().as_der();
                der.map(|der| der.as_ref().to_vec()).map_err(|_| failed())
            }
            PrivateKey::P256(pair) => {
                let der: Result<PublicKeyX509Der<'_>, _> = pair.public_key().as_der();
                der.map(|der| der.as_ref().to_vec()).map_err(|_| failed())
            }
            PrivateKey::Rsa(key) => key.to_public_key().to_public_key_der().map(|der| der.as_bytes().to_vec()).map_err(|_| failed()),
        }
    }

    /// Signs a message: with Ed25519, ECDSA and SHA-256, or PKCS#1 v1.5 and SHA-256.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        match self {
            PrivateKey::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            PrivateKey::P256(pair) => {
                pair.sign(&SystemRandom::new(), message).map(|signature| signature.as_ref().to_vec()).map_err(|_| EntropyFailed.into())
            }
            PrivateKey::Rsa(key) => {
                let pair = key.to_pkcs8_der().ok().and_then(|der| RsaKeyPair::from_pkcs8(der.as_bytes()).ok()).ok_or_else(failed)?;
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
                // A sound key fails to sign only if its blinding gets no randomness.
                signed.map(|()| signature).map_err(|_| EntropyFailed.into())
            }
        }
    }

    fn pkcs8(&self) -> Option<Secret> {
        match self {
            PrivateKey::Ed25519(pair) => pair.to_pkcs8v1().ok().map(|der| Zeroizing::new(der.as_ref().to_vec())),
            PrivateKey::P256(pair) => pair.to_pkcs8v1().ok().map(|der| Zeroizing::new(der.as_ref().to_vec())),
            PrivateKey::Rsa(key) => key.to_pkcs8_der().ok().map(|der| Zeroizing::new(der.as_bytes().to_vec())),
        }
    }

    fn jwk(&self, private: bool) -> Option<Zeroizing<String>> {
        let encode = |bytes: &[u8]| Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(bytes));
        let mut fields: Vec<(&str, Zeroizing<String>)> = Vec::new();
        let word = |word: &str| Zeroizing::new(word.to_owned());
        match self {
            PrivateKey::Ed25519(pair) => {
                fields.extend([("crv", word("Ed25519")), ("kty", word("OKP")), ("x", encode(pair.public_key().as_ref()))]);
                fields.extend(private.then(|| ed25519_seed(pair)).map(|seed| seed.map(|seed| ("d", encode(&*seed)))).unwrap_or_default());
            }
            PrivateKey::P256(pair) => {
                let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
                fields.extend([("crv", word("P-256")), ("kty", word("EC")), ("x", encode(x)), ("y", encode(y))]);
                if private {
                    let scalar: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().ok()?;
                    fields.push(("d", encode(scalar.as_ref())));
                }
            }
            PrivateKey::Rsa(key) => {
                let der = key.to_pkcs1_der().ok()?;
                let parts = pkcs1::RsaPrivateKey::from_der(der.as_bytes()).ok()?;
                let public: [(&str, pkcs1::UintRef<'_>); 2] = [("n", parts.modulus), ("e", parts.public_exponent)];
                let hidden = [
                    ("d", parts.private_exponent),
                    ("p", parts.prime1),
                    ("q", parts.prime2),
                    ("dp", parts.exponent1),
                    ("dq", parts.exponent2),
                    ("qi", parts.coefficient),
                ];
                fields.push(("kty", word("RSA")));
                let all = public.into_iter().chain(hidden.into_iter().filter(|_| private));
                fields.extend(all.map(|(name, number)| (name, encode(number.as_bytes()))));
            }
        }
        fields.sort_unstable_by_key(|(name, _)| *name);
        let mut text = Zeroizing::new(String::with_capacity(8192));
        for (i, (name, value)) in fields.iter().enumerate() {
            text.push_str(if i == 0 { "{\"" } else { ",\"" });
            [*name, "\":\"", value.as_str(), "\""].iter().for_each(|part| text.push_str(part));
        }
        text.push_str("}\n");
        Some(text)
    }

    fn openssh(&self) -> Option<ssh_key::PrivateKey> {
        let data = match self {
            PrivateKey::Ed25519(pair) => KeypairData::Ed25519(Ed25519Keypair {
                public: Ed25519PublicKey(pair.public_key().as_ref().try_into().ok()?),
                private: Ed25519PrivateKey::from_bytes(&*ed25519_seed(pair)?),
            }),
            PrivateKey::P256(_) => return None,
            PrivateKey::Rsa(key) => {
                let der = key.to_pkcs1_der().ok()?;
                let parts = pkcs1::RsaPrivateKey::from_der(der.as_bytes()).ok()?;
                let number = |number: pkcs1::UintRef<'_>| Mpint::from_positive_bytes(number.as_bytes()).ok();
                KeypairData::Rsa(RsaKeypair {
                    public: RsaPublicKey { e: number(parts.public_exponent)?, n: number(parts.modulus)? },
                    private: RsaPrivateKey {
                        d: number(parts.private_exponent)?,
                        iqmp: number(parts.coefficient)?,
                        p: number(parts.prime1)?,
                        q: number(parts.prime2)?,
                    },
                })
            }
        };
        ssh_key::PrivateKey::new(data, "").ok()
    }
}

fn ed25519_seed(pair: &Ed25519KeyPair) -> Option<Zeroizing<[u8; 32]>> {
    let seed: Curve25519SeedBin<'_> = pair.seed().ok()?.as_be_bytes().ok()?;
    seed.as_ref().try_into().ok().map(Zeroizing::new)
}

fn ed25519(seed: &[u8]) -> Option<PrivateKey> {
    Ed25519KeyPair::from_seed_unchecked(seed).ok().map(PrivateKey::Ed25519)
}

fn p256(scalar: &[u8]) -> Option<PrivateKey> {
    let public = agreement::PrivateKey::from_private_key(&agreement::ECDH_P256, scalar).ok()?.compute_public_key().ok()?;
    let public: EcPublicKeyUncompressedBin<'_> = public.as_be_bytes().ok()?;
    let pair = EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_ASN1_SIGNING, scalar, public.as_ref());
    pair.ok().map(PrivateKey::P256)
}

fn rsa_key(numbers: [&[u8]; 5]) -> Option<PrivateKey> {
    let [n, e, d, p, q] = numbers.map(BoxedUint::from_be_slice_vartime);
    rsa::PrivateKey::from_components(n, e, d, vec![p, q]).ok().map(|key| PrivateKey::Rsa(Box::new(key)))
}

fn read_pem(text: &str) -> Option<PrivateKey> {
    let blocks = pem::read(text).ok()?;
    let block = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY") && !block.encrypted)?;
    let rsa = |key| PrivateKey::Rsa(Box::new(key));
    match block.label {
        "RSA PRIVATE KEY" => rsa::PrivateKey::from_pkcs1_der(&block.der).ok().map(rsa),
        "EC PRIVATE KEY" => EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, &block.der).ok().map(PrivateKey::P256),
        "PRIVATE KEY" => {
            let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(&block.der).ok().map(PrivateKey::Ed25519);
            let p256 = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &block.der).ok().map(PrivateKey::P256);
            rsa::PrivateKey::from_pkcs8_der(&block.der).ok().map(rsa).or_else(ed25519).or_else(p256)
        }
        _ => None,
    }
}

fn read_openssh(text: &str) -> Option<PrivateKey> {
    let key = ssh_key::PrivateKey::from_openssh(text).ok()?;
    match key.key_data() {
        KeypairData::Ed25519(pair) => ed25519(&*Zeroizing::new(pair.private.to_bytes())),
        KeypairData::Rsa(pair) => {
            let (public, private) = (&pair.public, &pair.private);
            let numbers = [&public.n, &public.e, &private.d, &private.p, &private.q].map(Mpint::as_positive_bytes);
            let [Some(n), Some(e), Some(d), Some(p), Some(q)] = numbers else { return None };
            rsa_key([n, e, d, p, q])
        }
        _ => None,
    }
}

/// The fields of a JWK that are read. serde does not copy a text that needs no unescaping.
#[derive(serde::Deserialize)]
struct Jwk<'t> {
    kty: &'t str,
    crv: Option<&'t str>,
    d: Option<&'t str>,
    n: Option<&'t str>,
    e: Option<&'t str>,
    p: Option<&'t str>,
    q: Option<&'t str>,
}

fn read_jwk(text: &str) -> Option<PrivateKey> {
    let jwk: Jwk<'_> = serde_json::from_str(text).ok()?;
    let decode = |field: Option<&str>| BASE64_URL_SAFE_NO_PAD.decode(field?).ok().map(Zeroizing::new);
    match (jwk.kty, jwk.crv) {
        ("OKP", Some("Ed25519")) => ed25519(&decode(jwk.d)?),
        ("EC", Some("P-256")) => p256(&decode(jwk.d)?),
        ("RSA", _) => {
            let [n, e, d, p, q] = [jwk.n, jwk.e, jwk.d, jwk.p, jwk.q].map(decode);
            rsa_key([&n?, &e?, &d?, &p?, &q?])
        }
        _ => None,
    }
}
