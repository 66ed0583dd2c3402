//! `make bench`: sealing against the real kubeseal and against the bare primitives, measured in one run, as ratios.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey};
use rsa::pkcs8::DecodePublicKey;
use rsa::{Oaep, PublicKey};
use seal_secrets::manifest::contract_file;
use seal_secrets::manifest::sealed_secret::{self, Encrypted, Sealed};
use seal_secrets::model::{Contract, DataKey, KeyName, SecretValue, mark};
use seal_secrets::pipeline::certificate::{FitCertificate, SealingCertificate};
use seal_secrets::pipeline::generate::generate;
use seal_secrets::pipeline::pins::{self, How, Pin};
use seal_secrets::pipeline::seal::Sealer;
use seal_secrets::pipeline::{escrow, pem};
use seal_secrets::world::World;
use sha2::Sha256;
use zeroize::Zeroizing;

const MANY: usize = 10_000;
const FEW: usize = 15;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == "--bootstrap-and-tell-memory") {
        return bootstrap_and_tell_memory(&args[2..]);
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("keys")).unwrap();
    let certificate = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/certificates/good.crt");
    std::fs::copy(certificate, folder.path().join("keys/sealing.crt")).unwrap();
    accept(folder.path());
    against_kubeseal(folder.path());
    against_the_primitives(folder.path());
    memory(folder.path());
    re_encrypt(folder.path());
    platform(folder.path());
}

fn sealing_certificate(folder: &Path) -> FitCertificate {
    let certificate = SealingCertificate::read(&std::fs::read(folder.join("keys/sealing.crt")).unwrap()).unwrap();
    certificate.judge(std::time::SystemTime::now(), 2048).unwrap()
}

/// The shortest of several runs: the least disturbed one.
fn best<T>(times: usize, mut run: impl FnMut() -> T) -> Duration {
    (0..times)
        .map(|_| {
            let start = Instant::now();
            black_box(run());
            start.elapsed()
        })
        .min()
        .unwrap()
}

fn contract(keys: usize, recipe: &str) -> String {
    let keys: String = (0..keys).map(|i| format!("  - {{ name: key-{i:05}, about: x, recipe: {{ {recipe} }} }}\n")).collect();
    format!("version: 1\nstore: store\nnamespace: secret-source\nreader: {{ name: reader, namespace: eso }}\nkeys:\n{keys}")
}

fn kubeseal() -> PathBuf {
    std::env::var("KUBESEAL").map_or(PathBuf::from(std::env::var("HOME").unwrap_or_default()).join("go/bin/kubeseal"), PathBuf::from)
}

/// (a) fifteen values, the same for both: in process, as one whole run of the binary, and by 15 calls of kubeseal.
fn against_kubeseal(folder: &Path) {
    let kubeseal = kubeseal();
    if !kubeseal.exists() {
        println!("(a) skipped: no kubeseal at {}; name one with KUBESEAL", kubeseal.display());
        return;
    }
    let value = [b'v'; 64];
    let mut provide = Vec::new();
    for i in 0..FEW {
        let file = folder.join(format!("value-{i}"));
        std::fs::write(&file, value).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        provide.extend(["--provide".to_owned(), format!("key-{i:05}=value-{i}")]);
    }
    std::fs::write(folder.join("few.yaml"), contract(FEW, "provided: {}")).unwrap();
    let theirs = best(5, || {
        for i in 0..FEW {
            let status = Command::new(&kubeseal)
                .args(["--raw", "--cert", "keys/sealing.crt", "--namespace", "secret-source"])
                .args(["--name", &format!("key-{i:05}"), "--from-file", &format!("value-{i}")])
                .current_dir(folder)
                .stdout(Stdio::null())
                .status();
            assert!(status.unwrap().success());
        }
    });
    let whole = best(5, || {
        forget(folder);
        let status = ours(folder)
            .args(["bootstrap", "--start-over", "--contract", "few.yaml"])
            .args(&provide)
            .current_dir(folder)
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success());
    });
    let certificate = sealing_certificate(folder);
    let mut world = World::real();
    let stage = best(20, || {
        let sealer = Sealer::new(&certificate).unwrap();
        let values = (0..FEW).map(|i| (format!("secret-source/key-{i:05}"), SecretValue::new(Zeroizing::new(value.to_vec()))));
        sealer.seal_all(values.collect(), world.entropy.as_mut(), world.threads).unwrap()
    });
    println!("(a) {FEW} values: kubeseal, {FEW} calls {theirs:.1?}; sealing them in process {stage:.2?}; a whole `bootstrap` {whole:.1?}");
    println!("    sealing is {:.0}x faster (goal 100x), the whole run {:.1}x", ratio(theirs, stage), ratio(theirs, whole));
}

/// What was sealed is gone, and nothing in the folder tells of it.
fn forget(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder.join("out"));
    let _ = std::fs::remove_dir_all(folder.join("secrets"));
    let _ = std::fs::remove_file(folder.join("keys/sealed.txt"));
}

/// (b) the pipeline (generate, seal, render) against OAEP and AES-GCM alone, on the same sizes.
fn against_the_primitives(folder: &Path) {
    let contract = contract_file::read("c", &contract(MANY, "hex: { bytes: 32 }")).unwrap();
    let certificate = sealing_certificate(folder);
    let mut world = World::real();
    // In turns, so that what else the machine does meets all three alike.
    let mut times = [Duration::MAX; 3];
    for _ in 0..8 {
        let mut pipeline = |threads| best(1, || pipeline(&contract, &certificate, &mut world, NonZeroUsize::new(threads).unwrap()));
        let round = [best(1, || bare(&certificate)), pipeline(1), pipeline(2)];
        times.iter_mut().zip(round).for_each(|(least, time)| *least = time.min(*least));
    }
    let [bare, one, two] = times;
    let per_value = |time: Duration| time / MANY as u32;
    println!(
        "(b) {MANY} values, per value: bare primitives {:.1?}; generate, seal and render {:.1?} on one thread, {:.1?} on two",
        per_value(bare),
        per_value(one),
        per_value(two)
    );
    println!("    one thread {:.2}x the primitives (goal 1.15x), two threads {:.2}x (goal 0.6x)", ratio(one, bare), ratio(two, bare));
}

fn bare(certificate: &FitCertificate) -> usize {
    let key = PublicKey::from_public_key_der(&certificate.public_key).unwrap();
    let mut entropy = World::real().entropy;
    let mut total = 0;
    for i in 0..MANY {
        let session_key = [i as u8; 32];
        let padding = Oaep::<Sha256>::new_with_label(&b"secret-source/key-00000"[..]);
        let rsa = key.encrypt(entropy.as_mut(), padding, &session_key).unwrap();
        let mut value = [b'v'; 64];
        let cipher = Aes256Gcm::new_from_slice(&session_key).unwrap();
        let tag = cipher.encrypt_inout_detached(&Nonce::from([0; 12]), &[], value.as_mut_slice().into()).unwrap();
        total += black_box(rsa.len() + value.len() + tag.len());
    }
    total
}

fn pipeline(contract: &Contract, certificate: &FitCertificate, world: &mut World, threads: NonZeroUsize) -> usize {
    let units = contract.units();
    let mut values = Vec::with_capacity(MANY);
    for unit in &units {
        let names: Vec<KeyName> = unit.keys.iter().map(|key| key.name.clone()).collect();
        let made =
            generate(unit, &names, &mut Default::default(), &Default::default(), SystemTime::UNIX_EPOCH, world.entropy.as_mut()).unwrap();
        let label = |name: &str| Contract::SCOPE.label(contract.namespace.as_str(), name);
        values.extend(made.into_iter().map(|(key, value)| (label(key.name.secret()), value)));
    }
    let blobs = Sealer::new(certificate).unwrap().seal_all(values, world.entropy.as_mut(), threads).unwrap();
    let render = |(unit, blob): (&seal_secrets::model::Unit<'_>, String)| {
        let key = unit.keys[0];
        let (name, property) = (key.name.secret(), DataKey::new(key.name.property()).unwrap());
        let values = vec![Encrypted { key: property, blob, sealed_on: None, imported: false, position: (1, 1) }];
        let sealed = Sealed { name, values, write_once: mark(&[key]), form: contract.form(name) };
        black_box(sealed_secret::write(&contract.namespace, certificate.digest, &[sealed])).len()
    };
    units.iter().zip(blobs).map(render).sum()
}

/// A whole `bootstrap` of 10,000 units in a process of its own, which tells its peak.
fn memory(folder: &Path) {
    std::fs::write(folder.join("many.yaml"), contract(MANY, "hex: { bytes: 32 }")).unwrap();
    forget(folder);
    let start = Instant::now();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--bootstrap-and-tell-memory", "bootstrap", "--start-over", "--contract", "many.yaml"])
        .current_dir(folder)
        .env("XDG_STATE_HOME", folder.join(".state"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let peak = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    println!("(c) `bootstrap` of {MANY} units: {:.1?} with every file on the disk, peak memory {peak} MiB (goal 64)", start.elapsed());
}

/// (e) what `bootstrap` made, for another key: against kubeseal file by file, and against the primitives on as many threads.
fn re_encrypt(folder: &Path) {
    let old = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/private-keys/good-pkcs8.pem")).unwrap();
    let certificate = std::fs::read_to_string(folder.join("keys/sealing.crt")).unwrap();
    let (identity, recipient) = escrow::new_identity().unwrap();
    let (encrypted, _) = escrow::encrypt(&(certificate + &old), &[&recipient.parse::<age::x25519::Recipient>().unwrap()]).unwrap();
    for (path, bytes) in [("old.pem", old.as_bytes()), ("keys/operator.agekey", identity.as_bytes()), ("keys/sealing.key.age", &encrypted)]
    {
        std::fs::write(folder.join(path), bytes).unwrap();
        std::fs::set_permissions(folder.join(path), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let file = |i: usize| folder.join(format!("out/secret-source/key-{i:05}.sealed.yaml"));
    let theirs = kubeseal().exists().then(|| {
        let script = format!(
            "\"$KUBESEAL\" --recovery-unseal --recovery-private-key old.pem < \"$1\" | \"$KUBESEAL\" --cert keys/sealing.crt -o yaml > {}",
            folder.join("theirs.yaml").display()
        );
        let one = |i: usize| {
            let mut shell = Command::new("bash");
            shell.args(["-o", "pipefail", "-c", &script, "bash"]).arg(file(i)).env("KUBESEAL", kubeseal()).current_dir(folder);
            assert!(shell.status().unwrap().success());
        };
        best(3, || (0..FEW).for_each(one)) / FEW as u32
    });
    // Only the keys are renewed: the list would name the folder that is to be moved to them.
    std::fs::remove_file(folder.join("keys/sealed.txt")).unwrap();
    let renewed = ours(folder).args(["renew", "--yes", "--out", "none"]).current_dir(folder).output();
    assert!(renewed.unwrap().status.success());
    let threads = World::real().threads.get();
    let before = [false, true].map(|again| best(2, || primitives(folder, &old, threads, again)) / 500);
    let start = Instant::now();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--bootstrap-and-tell-memory", "re-encrypt", "--yes", "--contract", "many.yaml"])
        .current_dir(folder)
        .env("XDG_STATE_HOME", folder.join(".state"))
        .output()
        .unwrap();
    let ours = start.elapsed() / MANY as u32;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let after = [false, true].map(|again| best(2, || primitives(folder, &old, threads, again)) / 500);
    let [once, again] = [before[0].min(after[0]), before[1].min(after[1])];
    let peak = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    println!(
        "(e) `re-encrypt` of {MANY} files: {ours:.2?} a file, peak memory {peak} MiB; on as many threads to open and seal alone takes {once:.2?}, and with the new value opened again {again:.2?}"
    );
    println!("    {:.2}x and {:.2}x the primitives (goal 1.2x)", ratio(ours, once), ratio(ours, again));
    match theirs {
        Some(theirs) => {
            println!("    `kubeseal --recovery-unseal | kubeseal` {theirs:.1?} a file: {:.0}x faster (goal 40x)", ratio(theirs, ours))
        }
        None => println!("    skipped: no kubeseal to compare with; name one with KUBESEAL"),
    }
}

/// 500 values opened and sealed, and on demand opened once more, with nothing around it.
fn primitives(folder: &Path, old: &str, threads: usize, again: bool) {
    let public = &sealing_certificate(folder).public_key;
    let der = pem::read(old).unwrap().remove(0).der.to_vec();
    let work = |count: usize| {
        let private = PrivateDecryptingKey::from_pkcs8(&der).unwrap();
        let old = OaepPublicEncryptingKey::new(private.public_key()).unwrap();
        let opener = OaepPrivateDecryptingKey::new(private).unwrap();
        let new = PublicKey::from_public_key_der(public).unwrap();
        let mut entropy = World::real().entropy;
        let (mut sealed, mut buffer) = (vec![0; old.ciphertext_size()], vec![0; opener.min_output_size()]);
        let label: Option<&[u8]> = Some(b"secret-source/key-00000");
        old.encrypt(&OAEP_SHA256_MGF1SHA256, &[7; 32], &mut sealed, label).unwrap();
        for _ in 0..count {
            let mut value = [b'v'; 64];
            let session_key = opener.decrypt(&OAEP_SHA256_MGF1SHA256, &sealed, &mut buffer, label).unwrap();
            aes(session_key, &mut value);
            let padding = Oaep::<Sha256>::new_with_label(&b"secret-source/key-00000"[..]);
            black_box(new.encrypt(entropy.as_mut(), padding, &[9; 32]).unwrap());
            aes(&[9; 32], &mut value);
            if again {
                aes(opener.decrypt(&OAEP_SHA256_MGF1SHA256, &sealed, &mut buffer, label).unwrap(), &mut value);
            }
            black_box(value);
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(|| work(500 / threads)))));
}

fn aes(key: &[u8], value: &mut [u8]) {
    black_box(Aes256Gcm::new_from_slice(key).unwrap().encrypt_inout_detached(&Nonce::from([0; 12]), &[], value.into()).unwrap());
}

/// (d) a checkout of 10,000 YAML files, a tenth of them ExternalSecrets: read and resolved, against only reading the bytes.
fn platform(folder: &Path) {
    let root = folder.join("platform");
    for i in 0..MANY {
        let place = root.join(format!("apps/{:03}", i / 50));
        std::fs::create_dir_all(&place).unwrap();
        let filler = "# a line of a usual manifest, as long as they are\n".repeat(40);
        let text = if i % 10 == 0 {
            format!(
                "{filler}apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {{name: es-{i}, namespace: ns-{}}}\nspec:\n  secretStoreRef: {{name: secret-store, kind: ClusterSecretStore}}\n  data:\n    - secretKey: a\n      remoteRef:\n        key: vllm-api-key\n",
                i / 50
            )
        } else {
            format!("{filler}apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c-{i}}}\ndata: {{a: b}}\n")
        };
        std::fs::write(place.join(format!("file-{i}.yaml")), text).unwrap();
    }
    let reading = best(3, || {
        let apps = (0..MANY).map(|i| std::fs::read(root.join(format!("apps/{:03}/file-{i}.yaml", i / 50))).unwrap().len());
        apps.sum::<usize>()
    });
    let whole = best(3, || {
        let mut command = ours(folder);
        let status = command.args(["contract", "--platform", "platform"]).current_dir(folder).stdout(Stdio::null()).status();
        assert!(status.unwrap().success());
    });
    let searched = best(3, || {
        let mut command = ours(folder);
        let status = command.args(["status", "platform"]).current_dir(folder).stdout(Stdio::null()).status();
        assert!(status.unwrap().success());
    });
    println!(
        "(d) a checkout of {MANY} YAML files: `contract --platform` {whole:.2?} (goal 1 s), {:.1}x only reading them; `status` of them {searched:.2?}, {:.1}x",
        ratio(whole, reading),
        ratio(searched, reading)
    );
}

/// Has this machine accept the certificate, as `keygen` would.
fn accept(folder: &Path) {
    let keys = pins::folder(&folder.canonicalize().unwrap().join("keys"));
    let digest = SealingCertificate::read(&std::fs::read(folder.join("keys/sealing.crt")).unwrap()).unwrap().digest;
    let pin = Pin::new(digest, "2026-01-01T00:00:00Z".to_owned(), How::Keygen);
    let state = folder.join(".state/seal-secrets");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::write(state.join("certificates"), pins::with("", &keys, &pin)).unwrap();
}

/// The binary, which remembers what it accepted below this folder.
fn ours(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seal-secrets"));
    command.env("XDG_STATE_HOME", folder.join(".state"));
    command
}

fn bootstrap_and_tell_memory(args: &[String]) {
    let args = std::iter::once("seal-secrets".into()).chain(args.iter().map(Into::into));
    let state = std::env::var_os("XDG_STATE_HOME").map(|state| PathBuf::from(state).join("seal-secrets"));
    assert_eq!(seal_secrets::run(args, &mut World { state, ..World::real() }), 0);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    eprintln!("{}", peak.unwrap() / 1024);
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}
