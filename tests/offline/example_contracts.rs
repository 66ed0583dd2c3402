//! The contracts of docs/contracts/ work unchanged.

use std::sync::OnceLock;

use crate::common::{Sandbox, Template, fixture, fixture_text};
use crate::recipes::{opened, run, sealed_by, text};

/// The examples of docs/contracts/, each with the operator's values.
const EXAMPLES: [(&str, &[(&str, &str)]); 5] = [
    ("argo-cd", &[("argocd-dex/github.clientSecret", "5f0c9d1e8b7a6f5e4d3c2b1a0f9e8d7c6b5a4f3e")]),
    (
        "flux",
        &[
            ("flux-system/known_hosts", "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n"),
            ("chat/address", "https://chat.example.org/hooks/7f3a"),
        ],
    ),
    ("home-lab", &[("cloudflare/api-token", "q7Xn2Lw9Rk4Tz8Vb1Mc6Yd3Hf5Jg0Ps_Ua-NeQiW")]),
    ("keycloak", &[]),
    ("registry", &[("mirror/token", "ghp_a8Xk2Lw9Rk4Tz8Vb1Mc6Yd3Hf5Jg0PsUaNeQ")]),
];

/// One of them, sealed: the same in both tests.
fn sealed(name: &str) -> Sandbox {
    static SEALED: [OnceLock<Template>; EXAMPLES.len()] = [const { OnceLock::new() }; EXAMPLES.len()];
    let at = EXAMPLES.iter().position(|(one, _)| *one == name).unwrap();
    let contract = fixture_text(&format!("../docs/contracts/{name}.yaml"));
    Template::sandbox(&SEALED[at], || sealed_by(&contract, EXAMPLES[at].1))
}

#[test]
fn every_example_is_a_contract_that_works() {
    let files = std::fs::read_dir(fixture("../docs/contracts")).unwrap();
    let mut files: Vec<String> = files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort_unstable();
    assert_eq!(files, EXAMPLES.map(|(name, _)| format!("{name}.yaml")));
    for (name, provided) in EXAMPLES {
        let contract = fixture_text(&format!("../docs/contracts/{name}.yaml"));
        assert!(contract.lines().take_while(|line| line.starts_with("# ")).count() >= 3, "{name}: it begins with a few lines about it");
        let sandbox = sealed(name);
        let before = sandbox.snapshot();
        let ran = run(&sandbox, &["bootstrap"]).expect(0);
        assert!(ran.stdout.starts_with("nothing to do\n"), "{name}: {}", ran.stdout);
        assert_eq!(before, sandbox.snapshot(), "{name}");
        // Comments above it list the operator's values.
        assert!(provided.iter().all(|(key, _)| contract.lines().any(|line| line.starts_with("# ") && line.contains(key))), "{name}");
    }
}

/// Each data key is the one that its consumer looks for.
#[test]
fn the_examples_have_what_their_consumers_look_for() {
    let values = |name: &str| opened(&sealed(name));
    let lab = values("home-lab");
    assert_eq!(text(&lab, "authentik", "AUTHENTIK_POSTGRESQL__PASSWORD"), text(&lab, "authentik-db", "password"));
    let (key, token) = (text(&lab, "gitea-keys", "secret-key"), text(&lab, "gitea-keys", "internal-token"));
    assert_eq!(text(&lab, "gitea-keys", "security"), format!("SECRET_KEY={key}\nINTERNAL_TOKEN={token}\n"));
    let argo = values("argo-cd");
    assert!(bcrypt::verify(text(&argo, "argocd-admin", "password"), text(&argo, "argocd-secret", "admin.password")).unwrap());
    assert_eq!((text(&argo, "repository", "type"), text(&argo, "repository", "url")), ("git", "git@github.com:example/platform.git"));
    let keycloak = values("keycloak");
    assert_eq!(text(&keycloak, "keycloak-tls", "ca.crt"), text(&keycloak, "keycloak-ca", "tls.crt"));
    let registry = values("registry");
    for (line, (user, password)) in text(&registry, "registry", "htpasswd").lines().zip([("ci", "push"), ("kubelet", "pull")]) {
        let hash = line.strip_prefix(user).unwrap().strip_prefix(':').unwrap();
        assert!(bcrypt::verify(text(&registry, "registry-accounts", password), hash).unwrap(), "{user}");
    }
    let flux = values("flux");
    assert_eq!(flux["flux-system"].keys().collect::<Vec<_>>(), ["identity", "identity.pub", "known_hosts"]);
}
