//! K: certificates, private keys and blobs.

use super::*;

/// `bootstrap` with this certificate; it must create nothing.
fn certificate_row(id: &'static str, file: &'static str, code: i32, says: &[&str]) -> Row {
    row(id, file, &["bootstrap"], code, &[&["keys/sealing.crt:"], says].concat()).with(move |s| certificate(s, file))
}

/// K01 to K28: certificates. The place is that of the PEM block, or of the character; DER has no lines.
fn certificates() -> Vec<Row> {
    let exposed = "exposed";
    let mut rows = vec![
        certificate_row("K01", "not-pem.crt", 3, &["not PEM", "BEGIN CERTIFICATE"]),
        certificate_row("K01", "public-key.crt", 3, &["`PUBLIC KEY`"]),
        certificate_row("K01", "csr.crt", 3, &["`CERTIFICATE REQUEST`"]),
        certificate_row("K02", "private-key.crt", 4, &["private key", exposed]),
        certificate_row("K02", "rsa-private-key.crt", 4, &["private key", exposed]),
        certificate_row("K03", "certificate-and-key.crt", 4, &["private key", exposed]),
        certificate_row("K04", "two-certificates.crt", 3, &["2 certificates where one is expected"]),
        certificate_row("K06", "corrupt-base64.crt", 3, &["keys/sealing.crt:11:21: ", "base64"]),
        certificate_row("K06", "truncated.crt", 3, &["keys/sealing.crt:1:1: ", "END"]),
        certificate_row("K07", "der.crt", 3, &["DER", "openssl x509 -inform der"]),
        certificate_row("K07", "truncated-der.crt", 3, &["X.509"]),
        certificate_row("K07", "trailing-der.crt", 3, &["X.509"]),
        certificate_row("K09", "x509-v1.crt", 3, &["version 3"]),
        certificate_row("K09", "bad-version.crt", 3, &["version 3"]),
        certificate_row("K09", "negative-serial.crt", 3, &["serial number is negative"]),
        certificate_row("K11", "rsa-pss.crt", 3, &["RSA required", "RSA-PSS"]),
        certificate_row("K12", "rsa-512.crt", 4, &["512 bits"]),
        certificate_row("K12", "rsa-1024.crt", 4, &["1024 bits"]),
        certificate_row("K12", "rsa-2047.crt", 4, &["2047 bits"]),
        certificate_row("K13", "good-2048.crt", 4, &["2048 bits", "--allow-rsa-bits 2048"]),
        certificate_row("K13", "good-3072.crt", 4, &["3072 bits", "--allow-rsa-bits 3072"]),
        certificate_row("K14", "rsa-8200.crt", 3, &["8200 bits", "8192"]),
        certificate_row("K14", "rsa-16384.crt", 3, &["16384 bits", "8192"]),
        certificate_row("K16", "n-even.crt", 4, &["even"]),
        certificate_row("K16", "n-prime.crt", 4, &["prime"]),
        certificate_row("K16", "n-square.crt", 4, &["modulus"]),
        certificate_row("K16", "n-zero.crt", 4, &["0 bits"]),
        certificate_row("K16", "n-small-factor.crt", 4, &["divided by 3"]),
        certificate_row("K16", "n-small-factor-7919.crt", 4, &["divided by 7919"]),
        certificate_row("K17", "fermat-close.crt", 4, &["too close"]),
        certificate_row("K17", "fermat-near.crt", 4, &["too close"]),
        certificate_row("K17", "roca.crt", 4, &["ROCA"]),
        certificate_row("K23", "expired.crt", 4, &["2020-01-01", "date"]),
        certificate_row("K24", "not-yet-valid.crt", 4, &["2125-01-01", "date"]),
        certificate_row("K28", "self-signature-wrong.crt", 4, &["signature is wrong"]),
    ];
    for file in ["ec-p256.crt", "ed25519.crt", "dsa-2048.crt", "ml-dsa.crt"] {
        rows.push(certificate_row("K10", file, 3, &["RSA required"]));
    }
    for (file, says) in [
        ("e-1.crt", "65537"),
        ("e-2.crt", "65537"),
        ("e-3.crt", "65537"),
        ("e-4.crt", "65537"),
        ("e-65535.crt", "65537"),
        ("e-65538.crt", "even"),
        ("e-2pow33plus1.crt", "2^32"),
        ("e-larger-than-n.crt", "modulus"),
    ] {
        rows.push(certificate_row("K15", file, 4, &["exponent", says]));
    }
    // The size is judged first; if it is allowed, the shape of the modulus is judged.
    let roca = row("K17", "roca-2048.crt, allowed", &["bootstrap", "--allow-rsa-bits", "2048"], 4, &["ROCA"]);
    rows.push(roca.with(|s| certificate(s, "roca-2048.crt")));
    rows.extend(certificates_that_do());
    rows
}

/// Certificates that work, and the other commands.
fn certificates_that_do() -> Vec<Row> {
    let allowed = |bits: &'static str, file: &'static str| {
        let row = row("K13", format!("{file}, allowed {bits}"), &["bootstrap", "--allow-rsa-bits", bits], 0, &["done: "]);
        row.start(Start::Hashless).with(move |s| accepted(s, file)).after(|s| s.path("out/secret-source/vllm-api-key.sealed.yaml").exists())
    };
    let too_few = row("K13", "2048, 3072 allowed", &["bootstrap", "--allow-rsa-bits", "3072"], 4, &["2048 bits"]);
    let plan = |id, file: &'static str| row(id, file, &["plan"], 0, &["to do: "]).with(move |s| certificate(s, file));
    let unusable = |id, file: &'static str, says: &str| {
        let row = row(id, format!("{file}, verify"), &["verify"], 1, &["error[certificate-unusable]: keys/sealing.crt: ", says]);
        row.start(Start::Bootstrapped).with(move |s| certificate(s, file)).finds(&["certificate-unusable keys/sealing.crt"])
    };
    let recover = |args: &[&str]| {
        let row = row("K23", format!("{args:?} with an expired certificate"), args, 0, &["apiVersion"]).start(Start::Bootstrapped);
        row.with(|s| certificate(s, "expired.crt"))
    };
    vec![
        allowed("2048", "good-2048.crt"),
        allowed("3072", "good-3072.crt"),
        allowed("2048", "good.crt"),
        too_few.with(|s| certificate(s, "good-2048.crt")),
        plan("K27", "generalized-time.crt"),
        plan("F09", "bom.crt"),
        plan("K01", "crlf.crt"),
        plan("K01", "text-before.crt"),
        unusable("K12", "rsa-1024.crt", "1024 bits"),
        unusable("K02", "private-key.crt", "exposed"),
        unusable("K23", "expired.crt", "2020-01-01"),
        recover(&["unseal"]),
        recover(&["key-secret"]),
        row("K20", "escrow of another key", &["key-secret"], 4, &[ESCROW, "the certificate is sha256:", "the escrow holds sha256:"])
            .with(|s| certificate(s, "good-3072.crt")),
        row("K29", "sealed to another certificate", &["bootstrap", "--allow-rsa-bits", "3072"], 4, &["is sha256:", "sealed to sha256:"])
            .start(Start::Bootstrapped)
            .with(|s| accepted(s, "good-3072.crt")),
        row("K29", "another one was accepted", &["bootstrap", "--allow-rsa-bits", "3072"], 4, &["accepted was sha256:", "git log -p"])
            .with(|s| certificate(s, "good-3072.crt")),
        row("K30", "none was accepted", &["bootstrap"], 4, &["not yet accepted on this machine", "--accept-certificate sha256:"])
            .with(|s| s.write_pins("# none\n")),
        row("K31", "malformed digest", &["bootstrap", "--accept-certificate", "sha256:0"], 2, &["`--accept-certificate`"]),
    ]
}

/// K18 to K21, K34: private keys, alone and in key Secrets.
fn private_keys() -> Vec<Row> {
    vec![
        key_row("K18", "p-equals-q.pem", 4, &[]),
        key_row("K18", "p-q-close.pem", 4, &["too close"]),
        key_row("K18", "p-q-fermat.pem", 4, &["too close"]),
        key_row("K18", "d-small.pem", 4, &[]),
        key_row("K18", "pq-not-n.pem", 4, &[]),
        key_row("K18", "bad-qinv.pem", 4, &[]),
        key_row("K18", "bad-dp.pem", 4, &[]),
        key_row("K19", "multi-prime.pem", 3, &["two primes"]),
        key_row("K21", "encrypted-pkcs8.pem", 3, &["passphrase", "openssl pkey"]),
        key_row("K10", "ec.pem", 3, &["RSA"]),
        key_row("K10", "ed25519.pem", 3, &["RSA"]),
        key_row("K01", "certificate.pem", 3, &["no private key"]),
        key_row("K34", "secret-without-tls-key.yaml", 3, &["key:1:1: ", "no private key"]),
        key_row("K34", "list-empty.yaml", 3, &["no private key"]),
        row("K02", "a private key instead of an identity", &["unseal", "--identity", "key"], 3, &["key:1:1: ", "identity"])
            .start(Start::Bootstrapped)
            .file("key", good_key()),
        row("K02", "an identity instead of a recipient", &["keygen"], 4, &["keys/recipients.txt:2:1: ", "identity"])
            .start(Start::Empty)
            .file("keys/recipients.txt", planted("# us\nAGE-SECRET-KEY-1{canary}\n")),
        row("K40", "an identity that does not fit", &["unseal", "--identity", "id"], 6, &[ESCROW, "--identity"])
            .start(Start::Bootstrapped)
            .with(|s| s.write_secret("id", seal_secrets::pipeline::escrow::new_identity().unwrap().0.as_bytes())),
    ]
}

/// K33 and L21: what git would pick up. Tracked or committed files are not looked for: git is never run.
fn repositories() -> Vec<Row> {
    let exposed = |row: Row| row.with(|s| std::fs::create_dir(s.path(".git")).unwrap());
    let secrets = || exposed(row("K33", "operator's copy", &["bootstrap"], 4, &["secrets/dex-admin-password: ", "does not ignore it"]));
    let keygen = |id, what: &str| row(id, what, &["keygen"], 4, &["keys/operator.agekey: ", "does not ignore it"]).start(Start::Empty);
    vec![
        secrets().file("secrets/.gitignore", "# nothing\n"),
        secrets().file("secrets/.gitignore", "*\n!dex-admin-password\n"),
        exposed(keygen("K33", "identity")).file("keys/.gitignore", "*.tmp\n"),
        keygen("L21", "a worktree whose repository is gone").file("keys/.gitignore", "*.tmp\n").file(".git", "gitdir: /no/such\n"),
        exposed(keygen("L21", "GIT_DIR elsewhere"))
            .file("keys/.gitignore", "*.tmp\n")
            .through(&["env", "GIT_DIR=/no/such"], Needs::Nothing),
    ]
}

/// K36 to K40: blobs that do not open. One text for all: anything else would be an oracle.
fn blobs() -> Vec<Row> {
    const SAYS: [&str; 4] =
        ["sealed.yaml:8:12: ", "a sealed value does not open", "check namespace, name and scope", "tried sha256:b900133b"];
    let blob_row = |id, what: String, change: Box<dyn Fn(Vec<u8>) -> String + Send + Sync>| {
        row(id, what, RECOVER, 6, &SAYS).file("sealed.yaml", fixture_text(SEALED)).file("key", good_key()).with(move |s| {
            let text = s.read("sealed.yaml");
            let old = text.lines().find_map(|line| line.strip_prefix("    value: ")).unwrap();
            s.write("sealed.yaml", text.replace(old, &change(BASE64_STANDARD.decode(old).unwrap())).as_bytes());
        })
    };
    let bytes = |id, what: &str, change: fn(&mut Vec<u8>)| {
        blob_row(
            id,
            what.to_owned(),
            Box::new(move |mut blob| {
                change(&mut blob);
                BASE64_STANDARD.encode(blob)
            }),
        )
    };
    let mut rows = vec![
        bytes("K36", "length only", |blob| blob.truncate(2)),
        bytes("K36", "cut in the RSA part", |blob| blob.truncate(300)),
        bytes("K36", "RSA part only", |blob| blob.truncate(514)),
        bytes("K36", "tail of 15", |blob| blob.truncate(514 + 15)),
        bytes("K36", "tail of 16", |blob| blob.truncate(514 + 16)),
        bytes("K36", "one byte less", |blob| blob.truncate(blob.len() - 1)),
        bytes("K36", "one byte more", |blob| blob.push(0)),
        bytes("K36", "length of one less", |blob| blob[..2].copy_from_slice(&511u16.to_be_bytes())),
        bytes("K36", "length of one more", |blob| blob[..2].copy_from_slice(&513u16.to_be_bytes())),
        bytes("K36", "length of another modulus", |blob| blob[..2].copy_from_slice(&256u16.to_be_bytes())),
        bytes("K36", "length longer than the rest", |blob| blob[..2].copy_from_slice(&1024u16.to_be_bytes())),
        bytes("K36", "RSA part all zero", |blob| blob[2..514].fill(0)),
        bytes("K36", "RSA part above the modulus", |blob| blob[2..514].fill(0xff)),
        blob_row("K36", "url-safe".to_owned(), Box::new(|blob| BASE64_STANDARD.encode(blob).replace('+', "-").replace('/', "_"))),
        blob_row("K36", "without padding".to_owned(), Box::new(|blob| BASE64_STANDARD_NO_PAD.encode(&blob[..blob.len() - 1]))),
        row(
            "K36",
            "a space after it",
            RECOVER,
            6,
            &["sealed.yaml:8:12: a sealed value does not open: it has white space inside", "one line"],
        )
        .file("sealed.yaml", fixture_text(SEALED).replace("    value: ", "    value: \" ").replace("=\n  template", "=\"\n  template"))
        .file("key", good_key()),
        sealed_row("K38", "other name", ("  name: cart", "  name: card"), 6, &SAYS),
        sealed_row("K38", "other namespace", ("  namespace: shop", "  namespace: shot"), 6, &SAYS),
        row("K39", "16 bytes", RECOVER, 6, &SAYS)
            .file("sealed.yaml", fixture_text("fixtures/sealed/session-key-16.yaml"))
            .file("key", good_key()),
        row("K39", "24 bytes", RECOVER, 6, &SAYS)
            .file("sealed.yaml", fixture_text("fixtures/sealed/session-key-24.yaml"))
            .file("key", good_key()),
        row("K40", "other key", RECOVER, 6, &["sealed.yaml:8:12: ", "does not open", "tried sha256:"])
            .file("sealed.yaml", fixture_text(SEALED))
            .file("key", fixture_text("fixtures/private-keys/other.pem")),
        row("K40", "the escrow's key", &["unseal", "-f", "sealed.yaml"], 6, &SAYS)
            .file("sealed.yaml", fixture_text(SEALED).replace("name: cart", "name: card")),
    ];
    for name in ["namespace-wide", "cluster-wide"] {
        let annotation = format!("metadata:\n  annotations: {{ sealedsecrets.bitnami.com/{name}: \"true\" }}");
        rows.push(sealed_row("K38", name, ("metadata:", &annotation), 6, &["sealed.yaml:9:12: ", SAYS[1], SAYS[2]]));
    }
    // Every 61st bit: each region of the blob is hit, including the two length bytes where that keeps the prefix.
    for bit in (12..8 * (2 + 512 + CANARY.len() + 16)).step_by(61) {
        rows.push(blob_row(
            "K37",
            format!("bit {bit}"),
            Box::new(move |mut blob| {
                blob[bit / 8] ^= 1 << (bit % 8);
                BASE64_STANDARD.encode(blob)
            }),
        ));
    }
    rows
}

#[test]
fn k_certificates_keys_blobs() {
    let mut rows = certificates();
    rows.extend(private_keys());
    rows.extend(repositories());
    rows.extend(blobs());
    run_all(rows.into_iter().map(|row| Row { usual: true, ..row }).collect());
}
