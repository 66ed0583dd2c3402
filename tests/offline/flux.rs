//! `gitops: flux` writes Kustomizations like the platform's own. Also what keeps gitleaks quiet about sealed values.

use crate::common::Sandbox;

const FEW: &str = "few-recipients keys/sealing.key.age";

const CONTRACT: &str = "version: 2\nstore: s\nnamespace: source\nreader: { name: r, namespace: eso }\nsecrets:\n  - name: app\n    about: x\n    values:\n      password: { alphanumeric: { length: 32 } }\nconsumers:\n  - { namespace: shop, name: app, target: app, extract: [app] }\n";

const ES: &str = "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: { name: app, namespace: shop }\nspec:\n  secretStoreRef: { kind: ClusterSecretStore, name: s }\n  dataFrom: [{ extract: { key: app } }]\n";

fn kustomization(name: &str) -> String {
    format!(
        "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{ name: {name}, namespace: flux-system }}\nspec:\n  path: ./{name}\n  prune: true\n  interval: 1h\n  sourceRef: {{ kind: GitRepository, name: home }}\n"
    )
}

fn platform() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("q/app.yaml", ES.as_bytes());
    sandbox.write("q/flux.yaml", [kustomization("sealed-secrets"), kustomization("external-secrets-operator")].join("---\n").as_bytes());
    sandbox.write("c.yaml", CONTRACT.as_bytes());
    sandbox.set("platform: q\nout: q/secrets\ncontract: c.yaml\ngitops: flux");
    sandbox
}

const EXPECTED: &str = "\
# Written by seal-secrets. Do not edit: the next run restores it.
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: secret-source
  namespace: flux-system
spec:
  dependsOn:
  - name: sealed-secrets
  healthCheckExprs:
  - apiVersion: bitnami.com/v1alpha1
    current: has(status.conditions) && status.conditions.filter(e, e.type == 'Synced').all(e, e.status == 'True')
    failed: has(status.conditions) && status.conditions.filter(e, e.type == 'Synced').all(e, e.status == 'False')
    kind: SealedSecret
  interval: 10m
  path: ./secrets/secret-source
  prune: false
  retryInterval: 1m
  sourceRef:
    kind: GitRepository
    name: home
  timeout: 5m
  wait: true
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: secret-store
  namespace: flux-system
spec:
  dependsOn:
  - name: secret-source
  - name: external-secrets-operator
  interval: 10m
  path: ./secrets/secret-store
  prune: false
  retryInterval: 1m
  sourceRef:
    kind: GitRepository
    name: home
  timeout: 5m
  wait: true
";

#[test]
fn kustomizations_wait_for_the_sources_and_then_for_the_store() {
    let sandbox = platform();
    sandbox.run(["bootstrap"]).expect(0);
    assert_eq!(sandbox.read("q/secrets/flux-kustomizations.yaml"), EXPECTED);
    assert!(
        sandbox.read("q/secrets/INSTALL.md").contains("With Flux, commit and apply `flux-kustomizations.yaml` instead of steps 4 and 6")
    );
    assert!(sandbox.run(["bootstrap"]).expect(0).stdout.contains("nothing to do"));
    sandbox.run(["verify"]).finds(&[FEW]);
    sandbox.edit("q/secrets/flux-kustomizations.yaml", "prune: false", "prune: true");
    sandbox.run(["verify"]).finds(&["application-differs q/secrets/flux-kustomizations.yaml:17:1", FEW]);
    // If nothing of Flux exists yet, it is what `flux bootstrap` makes.
    sandbox.remove("q/flux.yaml");
    sandbox.run(["bootstrap"]).expect(0);
    let text = sandbox.read("q/secrets/flux-kustomizations.yaml");
    assert!(text.contains("    name: flux-system\n") && !text.contains("name: sealed-secrets"), "{text}");
}

#[test]
fn gitleaks_is_told_where_a_data_key_would_alarm_it() {
    let sandbox = platform();
    sandbox.run(["bootstrap"]).expect(0);
    let list = sandbox.read("q/secrets/gitleaks.toml");
    let pattern = list.lines().find_map(|line| line.strip_prefix("regexes = ['''")?.strip_suffix("''']")).unwrap();
    let pattern = regex::Regex::new(pattern).unwrap();
    let unit = sandbox.read("q/secrets/secret-source/app.sealed.yaml");
    let blob = unit.lines().find_map(|line| line.trim().strip_prefix("password: ")).unwrap();
    assert_eq!(pattern.find(blob).unwrap().as_str(), blob, "all of a sealed value");
    assert!(!pattern.is_match("ghp_Zq8rT1mDk3xZq8rT1mDk3xZq8rT1mDk3"));
    sandbox.edit("q/secrets/gitleaks.toml", "{340,}", "{0,}");
    sandbox.run(["verify"]).finds(&["allow-list-differs q/secrets/gitleaks.toml:8:1", FEW]);
    sandbox.run(["bootstrap"]).expect(0);
    assert_eq!(sandbox.read("q/secrets/gitleaks.toml"), list);
    // The platform's own values do not alarm gitleaks.
    assert!(!Sandbox::bootstrapped().path("out/gitleaks.toml").exists());
}
