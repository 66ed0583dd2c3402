//! Ways to break a cluster, and clusters that only look broken, collected from operators' public reports; each says what `doctor` has to
//! report.

/// A cluster that was changed on purpose. The commands run in the repository, as the administrator.
pub struct Case {
    pub name: &'static str,
    pub breaks: &'static str,
    /// The only fault: its code, and the objects. For a healthy cluster: its warning, if it has one.
    pub finds: Finds,
    /// The fix where doctor has no command.
    pub by_hand: Option<&'static str>,
    /// What may be found after the remedy: each is fixed in turn.
    pub then: &'static [&'static str],
    /// Commands that restore the cluster.
    pub undo: &'static str,
}

pub enum Finds {
    Fault(&'static str, &'static str),
    Nothing(Option<&'static str>),
}

/// For all objects of a kind.
pub const EVERY_SOURCE: &str = "every source Secret";
pub const EVERY_READ_KEY: &str = "every key that is read";
pub const EVERY_CONSUMER: &str = "every ExternalSecret";

/// A case whose only fault has this code and these objects.
const fn case(name: &'static str, breaks: &'static str, code: &'static str, what: &'static str) -> Case {
    Case { name, breaks, finds: Finds::Fault(code, what), by_hand: None, then: &[], undo: "" }
}

/// A case without a fault.
const fn healthy(name: &'static str, changes: &'static str) -> Case {
    Case { name, breaks: changes, finds: Finds::Nothing(None), by_hand: None, then: &[], undo: "" }
}

impl Case {
    const fn by_hand(mut self, commands: &'static str) -> Case {
        self.by_hand = Some(commands);
        self
    }

    const fn then(mut self, codes: &'static [&'static str]) -> Case {
        self.then = codes;
        self
    }

    const fn undo(mut self, commands: &'static str) -> Case {
        self.undo = commands;
        self
    }

    const fn warns(mut self, code: &'static str) -> Case {
        self.finds = Finds::Nothing(Some(code));
        self
    }
}

/// Functions for the commands below. kubectl does not restart anything twice within the same second.
pub const FUNCTIONS: &str = r#"
NAME=n8n-encryption-key
restart_controller() {
  for _ in {1..60}; do kubectl -n kube-system rollout restart deployment/sealed-secrets-controller && break; done
}
controller_is_up() { kubectl -n kube-system rollout status deployment/sealed-secrets-controller --timeout=60s; }
eso_is_up() { kubectl -n external-secrets rollout status deployment/external-secrets --timeout=60s; }
add_argument() {
  kubectl -n "$1" patch deployment "$2" --type=json -p '[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"'"$3"'"}]'
  kubectl -n "$1" rollout status "deployment/$2" --timeout=60s
}
patch_sealed() { kubectl -n secret-source patch sealedsecret "${2:-$NAME}" --type=merge -p "$1"; }
patch_external() { kubectl -n n8n patch externalsecret n8n-core-secrets --type=json -p "$1"; }
sync_all() { kubectl annotate externalsecret -A --all force-sync="$RANDOM$RANDOM" --overwrite; }
sync_store() { kubectl annotate clustersecretstore secret-store force-sync="$RANDOM$RANDOM" --overwrite; }
apply() { kubectl apply -k out/secret-source; }
# wait_until TEXT COMMAND…: until the command prints it.
wait_until() {
  { set +x; } 2>/dev/null
  for _ in {1..300}; do case "$("${@:2}")" in *"$1"*) set -x; return;; esac; done
  echo "still to wait for: $1" >&2
  return 1
}
controller_says() { wait_until "$1" kubectl -n secret-source get sealedsecret "$2" -o 'jsonpath={.status.conditions[0].message}'; }
# The times of Kubernetes are whole seconds: what comes next is later than all that was.
next_second() { local now; now=$(date +%s); until test "$(date +%s)" != "$now"; do :; done; }
processed() {
  local seen; seen=$(kubectl -n secret-source get sealedsecret "$1" -o 'jsonpath={.metadata.generation} {.status.observedGeneration}')
  test "${seen% *}" != "${seen#* }" || echo processed
}
rotate() { next_second; seal-secrets rotate "$1" --yes && apply && wait_until processed processed "$1"; }
deny() { # NAME NAMESPACE RESOURCE EXPRESSION: an admission policy
  kubectl apply -f - <<EOF
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: { name: $1 }
spec:
  matchConstraints:
    namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: $2 } }
    resourceRules: [{ apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [$3] }]
  validations: [{ expression: "$4", message: the policy of this cluster forbids it }]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: { name: $1 }
spec: { policyName: $1, validationActions: [Deny] }
EOF
  # It works as soon as the API server has compiled it.
  wait_until "the policy of this cluster" try_to_create "$2" "$3"
}
try_to_create() {
  printf '{"apiVersion":"v1","kind":"%s","metadata":{"name":"%s","namespace":"%s"}}' \
    "$(test "$2" = secrets && echo Secret || echo ConfigMap)" "$(test "$2" = secrets && echo $NAME || echo kube-root-ca.crt)x" "$1" |
    kubectl create --dry-run=server -f - 2>&1 || true
}
allow() { kubectl delete validatingadmissionpolicybinding,validatingadmissionpolicy "$1" && lets_create "$2" "$3"; }
# What forbade it works until the API server has seen that it is gone, and the controller gives up before.
lets_create() { wait_until "created (server dry run)" try_to_create "$1" "$2"; }
# A right comes and goes a little later too.
ESO_ACCOUNT=external-secrets:external-secrets
CONTROLLER_ACCOUNT=kube-system:sealed-secrets-controller
may() { # yes|no ACCOUNT VERB RESOURCE NAMESPACE
  wait_until "$1" eval "kubectl auth can-i $3 $4 --namespace=$5 --as=system:serviceaccount:$2 || true"
}
"#;

const REAPPLY_CONTROLLER: &str = "kubectl apply -f $CHARTS/kube-system.yaml && controller_is_up";
const REAPPLY_ESO: &str = "kubectl apply -f $CHARTS/external-secrets.yaml && eso_is_up";

/// The targets come an hour later, or at once with the command.
const STALE: &[&str] = &["target-stale"];

/// A value is rotated while one of its ExternalSecrets has this in its `spec`, and so does not follow.
macro_rules! rotated_with {
    ($name:literal, $spec:literal) => {
        case(
            $name,
            concat!(
                "kubectl -n serving patch externalsecret vllm-api-key --type=merge -p '{\"spec\":{",
                $spec,
                "}}'
                 rotate vllm-api-key
                 kubectl -n litellm annotate externalsecret litellm-secrets force-sync=$RANDOM --overwrite"
            ),
            "target-stale",
            "serving/vllm-api-key",
        )
        .then(STALE)
    };
}

/// Each is broken, found and fixed in turn, on the same cluster.
pub const CASES: &[Case] = &[
    // The store and its account.
    case(
        "a Role without a name",
        "kubectl -n secret-source get role eso-reader -o yaml | sed '/^ *- n8n-encryption-key$/d' | kubectl replace -f -
         kubectl -n n8n annotate externalsecret n8n-core-secrets force-sync=role --overwrite",
        "role-without-name",
        "n8n-encryption-key",
    )
    .then(&["external-secret-failed"]),
    case("no RoleBinding", "kubectl -n secret-source delete rolebinding eso-reader", "role-without-name", EVERY_READ_KEY),
    case(
        "a RoleBinding of another Role",
        "kubectl -n secret-source delete rolebinding eso-reader
         kubectl -n secret-source create rolebinding eso-reader --role=other --serviceaccount=external-secrets:eso-reader
         sync_all",
        "role-without-name",
        EVERY_READ_KEY,
    )
    .then(&["external-secret-failed"]),
    case(
        "a Role that lets nothing be read",
        r#"kubectl -n secret-source patch role eso-reader --type=json -p '[{"op":"replace","path":"/rules/0/verbs","value":["list"]}]'"#,
        "role-without-name",
        EVERY_READ_KEY,
    ),
    case(
        "conditions without a namespace",
        "kubectl patch clustersecretstore secret-store --type=json -p '[
           {\"op\":\"test\",\"path\":\"/spec/conditions/0/namespaces/9\",\"value\":\"n8n\"},
           {\"op\":\"remove\",\"path\":\"/spec/conditions/0/namespaces/9\"}]'
         kubectl -n n8n annotate externalsecret n8n-core-secrets force-sync=conditions --overwrite",
        "namespace-not-allowed",
        "n8n/n8n-core-secrets",
    )
    .then(&["external-secret-failed"]),
    case(
        "conditions with a label that no namespace has",
        r#"kubectl patch clustersecretstore secret-store --type=merge \
             -p '{"spec":{"conditions":[{"namespaceSelector":{"matchLabels":{"secrets":"allowed"}}}]}}'
         sync_all"#,
        "namespace-not-allowed",
        EVERY_CONSUMER,
    )
    .then(&["external-secret-failed"]),
    case(
        "the reader's account is missing",
        "kubectl -n external-secrets delete serviceaccount eso-reader && sync_store
         kubectl wait clustersecretstore secret-store --for=condition=Ready=False --timeout=30s",
        "account-missing",
        "external-secrets/eso-reader",
    ),
    case(
        "caProvider without namespace",
        r#"kubectl patch clustersecretstore secret-store --type=json \
             -p '[{"op":"remove","path":"/spec/provider/kubernetes/server/caProvider/namespace"}]'"#,
        "ca-namespace-missing",
        "secret-store",
    ),
    case(
        "a store with a wrong CA",
        r#"kubectl patch clustersecretstore secret-store --type=merge \
             -p '{"spec":{"provider":{"kubernetes":{"server":{"caProvider":{"name":"nope"}}}}}}'"#,
        "store-not-ready",
        "secret-store",
    ),
    case(
        "a store with a wrong URL",
        r#"kubectl patch clustersecretstore secret-store --type=merge \
             -p '{"spec":{"provider":{"kubernetes":{"server":{"url":"https://kubernetes.default.svc:6443"}}}}}'"#,
        "store-differs",
        "secret-store",
    ),
    case(
        "a store that reads another namespace",
        r#"kubectl patch clustersecretstore secret-store --type=merge -p '{"spec":{"provider":{"kubernetes":{"remoteNamespace":"default"}}}}'
         sync_all"#,
        "store-differs",
        "secret-store",
    )
    .then(&["external-secret-failed"]),
    case("no store", "kubectl delete clustersecretstore secret-store", "store-missing", "secret-store").then(&["external-secret-failed"]),
    case(
        "a finalizer of another tool holds the store",
        r#"kubectl patch clustersecretstore secret-store --type=merge -p '{"metadata":{"finalizers":["example.com/audit"]}}'
         kubectl delete clustersecretstore secret-store --wait=false"#,
        "store-terminating",
        "secret-store",
    )
    .by_hand(
        r#"kubectl patch clustersecretstore secret-store --type=merge -p '{"metadata":{"finalizers":null}}' && kubectl apply -k out/secret-store"#,
    )
    .then(&["external-secret-failed"]),
    case(
        "a store for another class of operators",
        r#"kubectl patch clustersecretstore secret-store --type=merge -p '{"spec":{"controller":"theirs"}}'"#,
        "operator-not-looking",
        "secret-store",
    ),
    case(
        "the ConfigMap with the CA is not made",
        "deny no-ca external-secrets configmaps \"!object.metadata.name.startsWith('kube-root-ca.crt')\"
         kubectl -n external-secrets delete configmap kube-root-ca.crt && sync_store",
        "ca-missing",
        "secret-store",
    )
    .by_hand(
        "allow no-ca external-secrets configmaps
         for _ in {1..60}; do
           kubectl -n external-secrets get configmap kube-root-ca.crt && break
           kubectl -n default get configmap kube-root-ca.crt -o yaml | sed 's/^  namespace: .*/  namespace: external-secrets/;/^  uid:/d;/^  resourceVersion:/d' |
             kubectl create -f - || true
         done
         sync_store",
    )
    .then(&["external-secret-failed"]),
    // The ExternalSecret.
    case(
        "the property missing",
        r#"patch_external '[{"op":"remove","path":"/spec/data/0/remoteRef/property"}]'"#,
        "property-missing",
        "n8n/n8n-core-secrets",
    ),
    case(
        "the wrong property",
        r#"patch_external '[{"op":"replace","path":"/spec/data/0/remoteRef/property","value":"v"}]'"#,
        "property-wrong",
        "n8n/n8n-core-secrets",
    )
    .then(&["external-secret-failed"]),
    case(
        "an entry reads another key of ours",
        r#"patch_external '[{"op":"replace","path":"/spec/data/0/remoteRef/key","value":"vllm-api-key"}]'"#,
        "external-secret-differs",
        "n8n/n8n-core-secrets",
    ),
    case(
        "an entry is removed",
        r#"kubectl -n oauth2-proxy patch externalsecret oauth2-proxy-secrets --type=json -p '[{"op":"remove","path":"/spec/data/0"}]'"#,
        "external-secret-differs",
        "oauth2-proxy/oauth2-proxy-secrets",
    ),
    case(
        "two entries have changed places",
        r#"kubectl -n litellm patch externalsecret litellm-secrets --type=json -p '[
           {"op":"replace","path":"/spec/data/0/secretKey","value":"salt"},{"op":"replace","path":"/spec/data/1/secretKey","value":"master"}]'"#,
        "external-secret-differs",
        "litellm/litellm-secrets",
    ),
    case(
        "an entry is renamed",
        r#"patch_external '[{"op":"replace","path":"/spec/data/0/secretKey","value":"N8N_ENCRYPTION_KEY"}]'"#,
        "external-secret-differs",
        "n8n/n8n-core-secrets",
    ),
    case(
        "an entry decodes what is not encoded",
        r#"patch_external '[{"op":"add","path":"/spec/data/0/remoteRef/decodingStrategy","value":"Base64"}]'"#,
        "external-secret-differs",
        "n8n/n8n-core-secrets",
    )
    .then(&["external-secret-failed"]),
    case(
        "an entry reads the labels",
        r#"patch_external '[{"op":"add","path":"/spec/data/0/remoteRef/metadataPolicy","value":"Fetch"}]'"#,
        "external-secret-differs",
        "n8n/n8n-core-secrets",
    )
    .then(&["external-secret-failed"]),
    case(
        "the whole source Secret instead of entries",
        r#"patch_external '[{"op":"remove","path":"/spec/data"},
           {"op":"add","path":"/spec/dataFrom","value":[{"extract":{"key":"n8n-encryption-key"}}]}]'"#,
        "external-secret-differs",
        "n8n/n8n-core-secrets",
    )
    .undo(r#"patch_external '[{"op":"remove","path":"/spec/dataFrom"}]'"#),
    case(
        "another store",
        r#"patch_external '[{"op":"replace","path":"/spec/secretStoreRef/name","value":"vault"}]'"#,
        "other-store",
        "n8n/n8n-core-secrets",
    )
    .then(&["external-secret-failed"]),
    case(
        "an ExternalSecret that wants more",
        r#"patch_external '[{"op":"add","path":"/spec/data/-","value":{"secretKey":"x","remoteRef":{"key":"not-ours","property":"value"}}}]'"#,
        "external-secret-failed",
        "n8n/n8n-core-secrets",
    )
    .by_hand(r#"patch_external '[{"op":"remove","path":"/spec/data/1"}]'"#),
    // Other objects: the API server gets only a few events of each.
    case(
        "a template with a field that is not there",
        r#"kubectl -n monitoring patch externalsecret grafana-oidc --type=merge \
             -p '{"spec":{"target":{"template":{"data":{"url":"x://{{ .nope }}"}}}}}'"#,
        "template-fails",
        "monitoring/grafana-oidc",
    )
    .by_hand(
        r#"kubectl -n monitoring patch externalsecret grafana-oidc --type=json -p '[{"op":"remove","path":"/spec/target/template"}]'"#,
    )
    .then(&["external-secret-failed"]),
    case(
        "a template with an error",
        r#"kubectl -n litellm patch externalsecret litellm-pg-app --type=merge \
             -p '{"spec":{"target":{"template":{"data":{"url":"{{ .password | nope }}"}}}}}'"#,
        "template-fails",
        "litellm/litellm-pg-app",
    )
    .by_hand(
        r#"kubectl -n litellm patch externalsecret litellm-pg-app --type=json -p '[{"op":"remove","path":"/spec/target/template"}]'"#,
    )
    .then(&["external-secret-failed"]),
    case(
        "a finalizer of another tool holds an ExternalSecret",
        r#"patch_external '[{"op":"add","path":"/metadata/finalizers","value":["example.com/audit"]}]'
         kubectl -n n8n delete externalsecret n8n-core-secrets --wait=false"#,
        "external-secret-terminating",
        "n8n/n8n-core-secrets",
    )
    .by_hand(
        r#"patch_external '[{"op":"remove","path":"/metadata/finalizers"}]'
         wait_until NotFound eval 'kubectl -n n8n get externalsecret n8n-core-secrets 2>&1 || true'
         kubectl apply -f platform.json"#,
    )
    .then(&["external-secret-failed", "target-missing"]),
    case(
        "a reader's namespace that does not end",
        r#"kubectl -n n8n create configmap held
         kubectl -n n8n patch configmap held -p '{"metadata":{"finalizers":["example.com/held"]}}'
         kubectl delete namespace n8n --wait=false
         wait_until held kubectl get namespace n8n -o yaml"#,
        "namespace-terminating",
        "n8n",
    )
    .by_hand(
        r#"kubectl -n n8n patch configmap held -p '{"metadata":{"finalizers":null}}'
         kubectl wait --for=delete namespace/n8n --timeout=60s
         kubectl create namespace n8n && kubectl apply -f platform.json"#,
    )
    .then(&["external-secret-failed"]),
    // The SealedSecret. Some of these wait for the garbage collector, which needs a while until it knows the CRDs.
    case(
        "a SealedSecret is deleted",
        "kubectl -n secret-source delete sealedsecret $NAME --cascade=foreground",
        "sealed-secret-missing",
        "n8n-encryption-key",
    )
    .then(STALE),
    case(
        "sealed to another key",
        "kubectl apply -f other/out/secret-source/n8n-encryption-key.sealed.yaml",
        "sealed-to-another-key",
        "n8n-encryption-key",
    ),
    case(
        "a namePrefix",
        "sed 's/^  name: /&prod-/' out/secret-source/n8n-encryption-key.sealed.yaml | kubectl apply -f -
         kubectl -n secret-source delete sealedsecret $NAME --cascade=foreground",
        "sealed-secret-moved",
        "n8n-encryption-key",
    )
    .then(STALE),
    case(
        "another namespace",
        "sed 's/^  namespace: .*/  namespace: default/' out/secret-source/n8n-encryption-key.sealed.yaml | kubectl apply -f -
         kubectl -n secret-source delete sealedsecret $NAME --cascade=foreground",
        "sealed-secret-moved",
        "n8n-encryption-key",
    )
    .then(STALE),
    case("corrupted base64", r#"patch_sealed '{"spec":{"encryptedData":{"value":"AgB!"}}}'"#, "sealed-secret-corrupt", "n8n-encryption-key"),
    case(
        "the ciphertext of another value",
        r#"other=$(kubectl -n secret-source get sealedsecret vllm-api-key -o 'jsonpath={.spec.encryptedData.value}')
         patch_sealed '{"spec":{"encryptedData":{"value":"'$other'"}}}'"#,
        "sealed-secret-differs",
        "n8n-encryption-key",
    ),
    case(
        "a type that the Secret cannot have",
        r#"patch_sealed '{"spec":{"template":{"type":"kubernetes.io/tls"}}}'"#,
        "sealed-secret-differs",
        "n8n-encryption-key",
    ),
    case(
        "a value more in a SealedSecret",
        r#"own=$(kubectl -n secret-source get sealedsecret $NAME -o 'jsonpath={.spec.encryptedData.value}')
         patch_sealed '{"spec":{"encryptedData":{"more":"'$own'"}}}'"#,
        "sealed-secret-differs",
        "n8n-encryption-key",
    )
    .then(STALE),
    case(
        "a plain value beside the sealed one",
        r#"patch_sealed '{"spec":{"template":{"data":{"value":"not a secret"}}}}'"#,
        "sealed-secret-differs",
        "n8n-encryption-key",
    )
    .then(STALE),
    case(
        "a wider scope than it is sealed for",
        "kubectl -n secret-source annotate sealedsecret $NAME sealedsecrets.bitnami.com/cluster-wide=true",
        "sealed-secret-differs",
        "n8n-encryption-key",
    ),
    case("rotated in git, and not applied", "seal-secrets rotate vllm-api-key --yes", "sealed-secret-differs", "vllm-api-key").then(STALE),
    case(
        "many rotated in git, and not applied",
        "seal-secrets rotate --yes dex-admin-password dex-argocd-client-secret dex-grafana-client-secret dex-litellm-client-secret \
           dex-oauth2-proxy-client-secret dex-open-webui-client-secret dex-tabby-client-secret litellm-db-password \
           litellm-grafana-ro-password litellm-master-key oauth2-proxy-cookie-secret vllm-api-key",
        "sealed-secret-differs",
        "dex-admin-hash, dex-admin-password, dex-argocd-client-secret, dex-grafana-client-secret, dex-litellm-client-secret, \
         dex-oauth2-proxy-client-secret, dex-open-webui-client-secret, dex-tabby-client-secret, litellm-db-password, \
         litellm-grafana-ro-password, litellm-master-key, oauth2-proxy-cookie-secret, vllm-api-key",
    )
    .then(STALE),
    case(
        "a finalizer of another tool holds a SealedSecret",
        r#"patch_sealed '{"metadata":{"finalizers":["example.com/audit"]}}'
         kubectl -n secret-source delete sealedsecret $NAME --wait=false"#,
        "sealed-secret-terminating",
        "n8n-encryption-key",
    )
    .by_hand(r#"patch_sealed '{"metadata":{"finalizers":null}}' && apply"#)
    .then(&["target-stale", "sealed-secret-missing", "source-missing"]),
    // No test waits for a slow controller: the status looks as if it had not come by yet.
    case(
        "a SealedSecret that the controller has not looked at",
        "kubectl -n secret-source patch sealedsecret $NAME --subresource=status --type=merge -p '{\"status\":{\"observedGeneration\":0}}'",
        "sealed-secret-pending",
        "n8n-encryption-key",
    ),
    // The source Secret.
    case(
        "a Secret in the way",
        "kubectl -n secret-source delete sealedsecret $NAME --cascade=foreground
         kubectl -n secret-source create secret generic $NAME --from-literal=value=x
         apply",
        "secret-in-the-way",
        "n8n-encryption-key",
    )
    .then(STALE),
    case(
        "a SealedSecret deleted without its Secret, and applied again",
        "kubectl -n secret-source delete sealedsecret $NAME --cascade=orphan && apply",
        "secret-in-the-way",
        "n8n-encryption-key",
    )
    .then(STALE),
    // A Secret that it does not own is not made again.
    case(
        "a source Secret is deleted",
        r#"kubectl -n secret-source patch secret $NAME --type=json -p '[{"op":"remove","path":"/metadata/ownerReferences"}]'
         kubectl -n secret-source delete secret $NAME"#,
        "source-missing",
        "n8n-encryption-key",
    )
    .then(STALE),
    case(
        "a source Secret without value",
        r#"kubectl -n secret-source patch secret $NAME --type=json -p '[{"op":"remove","path":"/data/value"}]'"#,
        "source-without-value",
        "n8n-encryption-key",
    )
    .then(STALE),
    case(
        "a source Secret is edited",
        r#"kubectl -n secret-source patch secret oauth2-proxy-cookie-secret -p '{"stringData":{"value":"edited"}}'"#,
        "source-edited",
        "oauth2-proxy-cookie-secret",
    )
    .then(STALE),
    case(
        "an edited value that has reached its targets",
        r#"kubectl -n secret-source patch secret vllm-api-key -p '{"stringData":{"value":"edited"}}' && sync_all"#,
        "source-edited",
        "vllm-api-key",
    )
    .then(STALE),
    case(
        "a GitOps tool writes the source Secret too",
        r#"printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"vllm-api-key","namespace":"secret-source"},"stringData":{"value":"theirs"}}' |
           kubectl apply --server-side --force-conflicts --field-manager=argocd-controller -f -"#,
        "source-edited",
        "vllm-api-key",
    )
    .then(STALE),
    case(
        "an immutable source Secret, and a new value in git",
        r#"kubectl -n secret-source patch secret vllm-api-key -p '{"immutable":true}'
         seal-secrets rotate vllm-api-key --yes && apply"#,
        "source-immutable",
        "vllm-api-key",
    )
    .then(STALE),
    case(
        "a SealedSecret that makes its Secret immutable",
        r#"patch_sealed '{"spec":{"template":{"immutable":true}}}'
         kubectl -n secret-source delete secret $NAME
         wait_until true kubectl -n secret-source get secret $NAME --ignore-not-found -o 'jsonpath={.immutable}'"#,
        "sealed-secret-differs",
        "n8n-encryption-key",
    )
    .then(STALE)
    .undo("kubectl -n secret-source delete secret $NAME && sync_all"),
    case(
        "a source Secret of another type",
        "kubectl -n secret-source delete sealedsecret $NAME --cascade=foreground
         kubectl -n secret-source create secret generic $NAME --type=example.com/theirs --from-literal=value=x
         kubectl -n secret-source annotate secret $NAME sealedsecrets.bitnami.com/managed=true
         apply",
        "source-immutable",
        "n8n-encryption-key",
    )
    .then(STALE),
    case(
        "a quota for source Secrets",
        "kubectl -n secret-source create quota few --hard=count/secrets=1
         wait_until 1 kubectl -n secret-source get resourcequota few -o 'jsonpath={.status.hard}'
         kubectl -n secret-source delete secret $NAME",
        "quota-exceeded",
        "n8n-encryption-key",
    )
    .by_hand("kubectl -n secret-source delete quota few && lets_create secret-source secrets && restart_controller")
    .then(STALE),
    case(
        "a policy for source Secrets",
        "deny no-vllm secret-source secrets \"!object.metadata.name.startsWith('vllm') && !object.metadata.name.endsWith('x')\"
         seal-secrets rotate vllm-api-key --yes && apply",
        "admission-denied",
        "vllm-api-key",
    )
    .by_hand("allow no-vllm secret-source secrets && restart_controller")
    .then(STALE),
    case(
        "a webhook for Secrets that is gone",
        r#"kubectl apply -f - <<EOF
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: { name: gone }
webhooks:
- name: secrets.example.com
  clientConfig: { service: { name: gone, namespace: default } }
  namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: secret-source } }
  rules: [{ apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [secrets] }]
  sideEffects: None
  admissionReviewVersions: [v1]
  timeoutSeconds: 1
EOF
         wait_until "failed calling webhook" try_to_create secret-source secrets
         kubectl -n secret-source delete secret $NAME"#,
        "admission-denied",
        "n8n-encryption-key",
    )
    .by_hand("kubectl delete validatingwebhookconfiguration gone && lets_create secret-source secrets && restart_controller")
    .then(STALE),
    case(
        "a namespace of source Secrets that does not end",
        r#"kubectl -n secret-source create configmap held
         kubectl -n secret-source patch configmap held -p '{"metadata":{"finalizers":["example.com/held"]}}'
         kubectl delete namespace secret-source --wait=false
         wait_until held kubectl get namespace secret-source -o yaml"#,
        "namespace-terminating",
        "secret-source",
    )
    .by_hand(
        r#"kubectl -n secret-source patch configmap held -p '{"metadata":{"finalizers":null}}'
         kubectl wait --for=delete namespace/secret-source --timeout=60s
         kubectl create namespace secret-source && apply"#,
    )
    .then(&["target-stale", "external-secret-failed"]),
    // The target.
    // If the operator sees a target go, it makes it again at once.
    case(
        "the operator hangs, and a target is deleted",
        "kill -STOP $(cat $PODS/external-secrets.pid)
         kubectl -n n8n delete secret n8n-core-secrets",
        "target-missing",
        "n8n/n8n-core-secrets",
    ),
    case(
        "another ExternalSecret owns the target",
        r#"kubectl -n n8n delete externalsecret n8n-core-secrets
         kubectl -n n8n apply -f - <<EOF
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: { name: theirs }
spec:
  refreshInterval: 1h
  secretStoreRef: { kind: ClusterSecretStore, name: secret-store }
  target: { name: n8n-core-secrets }
  data: [{ secretKey: encryptionKey, remoteRef: { key: n8n-encryption-key, property: value } }]
EOF
         kubectl -n n8n wait externalsecret theirs --for=condition=Ready --timeout=30s
         kubectl apply -f platform.json"#,
        "target-owned",
        "n8n/n8n-core-secrets",
    )
    .by_hand(
        "kubectl -n n8n delete externalsecret theirs --cascade=foreground
         kubectl -n n8n annotate externalsecret n8n-core-secrets force-sync=$RANDOM --overwrite",
    )
    .then(&["external-secret-failed", "target-missing"]),
    case(
        "an ExternalSecret that makes no Secret",
        r#"patch_external '[{"op":"add","path":"/spec/target/creationPolicy","value":"None"}]'
         kubectl -n n8n delete secret n8n-core-secrets --ignore-not-found"#,
        "target-not-made",
        "n8n/n8n-core-secrets",
    )
    .by_hand(r#"patch_external '[{"op":"remove","path":"/spec/target/creationPolicy"}]'"#)
    .then(&["external-secret-failed", "target-missing"]),
    case(
        "an ExternalSecret that merges into nothing",
        r#"kubectl -n n8n delete externalsecret n8n-core-secrets --cascade=foreground
         sed 's/"name":"n8n-core-secrets"}}/"name":"n8n-core-secrets","creationPolicy":"Merge"}}/' platform.json | grep -c Merge
         sed 's/"name":"n8n-core-secrets"}}/"name":"n8n-core-secrets","creationPolicy":"Merge"}}/' platform.json | kubectl apply -f -"#,
        "target-not-made",
        "n8n/n8n-core-secrets",
    )
    .by_hand(r#"patch_external '[{"op":"remove","path":"/spec/target/creationPolicy"}]'"#)
    .then(&["external-secret-failed", "target-missing"]),
    healthy(
        "an immutable target",
        r#"patch_external '[{"op":"add","path":"/spec/target/immutable","value":true}]'
         kubectl -n n8n delete secret n8n-core-secrets
         wait_until true kubectl -n n8n get secret n8n-core-secrets --ignore-not-found -o 'jsonpath={.immutable}'
         kubectl -n n8n wait externalsecret n8n-core-secrets --for=condition=Ready --timeout=30s"#,
    )
    .warns("rotation-stops")
    .undo(
        r#"patch_external '[{"op":"remove","path":"/spec/target/immutable"}]'
         kubectl -n n8n delete secret n8n-core-secrets"#,
    ),
    case(
        "an immutable target, and a rotated value",
        r#"kubectl -n serving patch externalsecret vllm-api-key --type=merge -p '{"spec":{"target":{"immutable":true}}}'
         wait_until true kubectl -n serving get secret vllm-api-key -o 'jsonpath={.immutable}'
         rotate vllm-api-key
         kubectl -n litellm annotate externalsecret litellm-secrets force-sync=$RANDOM --overwrite
         kubectl -n serving annotate externalsecret vllm-api-key force-sync=$RANDOM --overwrite"#,
        "target-immutable",
        "serving/vllm-api-key",
    )
    .then(STALE)
    .undo(
        r#"kubectl -n serving patch externalsecret vllm-api-key --type=json -p '[{"op":"remove","path":"/spec/target/immutable"}]'
         kubectl -n serving delete secret vllm-api-key"#,
    ),
    rotated_with!("refreshed once, and a rotated value", r#""refreshPolicy":"CreatedOnce""#)
    .undo(r#"kubectl -n serving patch externalsecret vllm-api-key --type=json -p '[{"op":"remove","path":"/spec/refreshPolicy"}]'"#),
    rotated_with!("never refreshed, and a rotated value", r#""refreshInterval":"0""#)
    .undo(r#"kubectl -n serving patch externalsecret vllm-api-key --type=merge -p '{"spec":{"refreshInterval":"1h"}}'"#),
    rotated_with!("refreshed when it changes, and a rotated value", r#""refreshPolicy":"OnChange""#)
    .undo(r#"kubectl -n serving patch externalsecret vllm-api-key --type=json -p '[{"op":"remove","path":"/spec/refreshPolicy"}]'"#),
    case(
        "a quota for targets",
        "kubectl -n n8n create quota few --hard=count/secrets=0
         wait_until 0 kubectl -n n8n get resourcequota few -o 'jsonpath={.status.hard}'
         kubectl -n n8n delete secret n8n-core-secrets",
        "quota-exceeded",
        "n8n/n8n-core-secrets",
    )
    .by_hand("kubectl -n n8n delete quota few && lets_create n8n secrets && sync_all"),
    case(
        "a policy for targets",
        "deny no-target n8n secrets \"!object.metadata.name.startsWith('n8n')\"
         kubectl -n n8n delete secret n8n-core-secrets",
        "admission-denied",
        "n8n/n8n-core-secrets",
    )
    .by_hand("allow no-target n8n secrets && sync_all"),
    // The operator.
    case(
        "ESO is down",
        "kubectl -n external-secrets scale deployment/external-secrets --replicas=0",
        "operator-down",
        "the External Secrets Operator",
    ),
    case(
        "ESO does not start",
        r#"kubectl -n external-secrets patch deployment external-secrets --type=json \
             -p '[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--no-such-flag"}]'"#,
        "operator-down",
        "the External Secrets Operator",
    )
    .by_hand(REAPPLY_ESO),
    case(
        "ESO without cluster stores",
        "add_argument external-secrets external-secrets --enable-cluster-store-reconciler=false",
        "operator-not-looking",
        "secret-store",
    )
    .by_hand(REAPPLY_ESO),
    case(
        "ESO for one namespace only",
        "add_argument external-secrets external-secrets --namespace=default",
        "operator-not-looking",
        EVERY_CONSUMER,
    )
    .by_hand(REAPPLY_ESO),
    case(
        "ESO may not make tokens",
        r#"kubectl get clusterrole external-secrets-controller -o yaml | sed 's|serviceaccounts/token|serviceaccounts/nothing|' | kubectl replace -f -
         may no $ESO_ACCOUNT create 'serviceaccounts --subresource=token' external-secrets
         sync_store"#,
        "operator-forbidden",
        "secret-store",
    )
    .by_hand("kubectl apply -f $CHARTS/external-secrets.yaml && may yes $ESO_ACCOUNT create 'serviceaccounts --subresource=token' external-secrets && sync_store")
    .then(&["external-secret-failed"]),
    case(
        "ESO may not make Secrets",
        r#"rule=$(kubectl get clusterrole external-secrets-controller -o 'jsonpath={range .rules[*]}{.resources}{.verbs}{"\n"}{end}' | grep -n '"secrets".*"create"' | cut -d: -f1)
         kubectl patch clusterrole external-secrets-controller --type=json -p '[{"op":"replace","path":"/rules/'$((rule - 1))'/verbs","value":["get","list","watch"]}]'
         may no $ESO_ACCOUNT create secrets n8n
         kubectl -n n8n delete secret n8n-core-secrets"#,
        "operator-forbidden",
        "n8n/n8n-core-secrets",
    )
    .by_hand("kubectl apply -f $CHARTS/external-secrets.yaml && may yes $ESO_ACCOUNT create secrets n8n && sync_all")
    .then(&["external-secret-failed"]),
    case(
        "a webhook of ESO without its Service, and a missing property",
        r#"patch_external '[{"op":"remove","path":"/spec/data/0/remoteRef/property"}]'
         kubectl apply -f - <<EOF
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: { name: externalsecret-validate }
webhooks:
- name: validate.externalsecret.external-secrets.io
  clientConfig: { service: { name: external-secrets-webhook, namespace: external-secrets, path: /validate-external-secrets-io-v1-externalsecret } }
  rules: [{ apiGroups: [external-secrets.io], apiVersions: [v1], operations: [CREATE, UPDATE, DELETE], resources: [externalsecrets] }]
  sideEffects: None
  admissionReviewVersions: [v1]
  timeoutSeconds: 1
EOF"#,
        "webhook-down",
        "its webhook",
    )
    .by_hand("kubectl delete validatingwebhookconfiguration externalsecret-validate")
    .then(&["property-missing"]),
    // The controller.
    case(
        "the controller is down",
        "kubectl -n kube-system scale deployment/sealed-secrets-controller --replicas=0
         kubectl -n kube-system wait deployment/sealed-secrets-controller --for=jsonpath='{.spec.replicas}'=0
         patch_sealed '{\"spec\":{\"encryptedData\":{\"value\":\"AgB!\"}}}'
         apply",
        "controller-down",
        "kube-system/sealed-secrets-controller",
    ),
    case(
        "the controller does not start",
        r#"kubectl -n kube-system patch deployment sealed-secrets-controller --type=json \
             -p '[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--no-such-flag"}]'"#,
        "controller-down",
        "kube-system/sealed-secrets-controller",
    )
    .by_hand(REAPPLY_CONTROLLER),
    case(
        "the controller may not make Secrets",
        r#"kubectl get clusterrole secrets-unsealer -o yaml | sed '/^  - create$/d' | kubectl replace -f -
         may no $CONTROLLER_ACCOUNT create secrets secret-source
         kubectl -n secret-source delete secret $NAME"#,
        "controller-forbidden",
        "n8n-encryption-key",
    )
    .by_hand("kubectl apply -f $CHARTS/kube-system.yaml && may yes $CONTROLLER_ACCOUNT create secrets secret-source && restart_controller")
    .then(STALE),
    case(
        "the controller's Service is gone",
        "kubectl -n kube-system delete service sealed-secrets-controller",
        "service-missing",
        "its certificate",
    )
    .by_hand("kubectl apply -f $CHARTS/kube-system.yaml"),
    case(
        "the controller's Service leads nowhere",
        r#"kubectl -n kube-system patch service sealed-secrets-controller --type=json -p '[{"op":"replace","path":"/spec/ports/0/targetPort","value":9}]'"#,
        "service-missing",
        "its certificate",
    )
    .by_hand("kubectl apply -f $CHARTS/kube-system.yaml"),
    case("the key Secret is deleted", "kubectl -n kube-system delete secret sealed-secrets-key", "key-secret-missing", "its key Secret"),
    case(
        "our key is retired, and loaded all the same",
        "kubectl -n kube-system label secret sealed-secrets-key sealedsecrets.bitnami.com/sealed-secrets-key=compromised --overwrite",
        "retired-key-loaded",
        "a retired key",
    )
    .by_hand("kubectl -n kube-system label secret sealed-secrets-key sealedsecrets.bitnami.com/sealed-secrets-key=active --overwrite"),
    case(
        "our certificate with another private key",
        r#"key=$(seal-secrets --keys other/keys key-secret | sed -n 's/^  tls.key: *//p')
         crt=$(seal-secrets key-secret | sed -n 's/^  tls.crt: *//p')
         kubectl -n kube-system patch secret sealed-secrets-key -p '{"data":{"tls.key":"'$key'","tls.crt":"'$crt'"}}'
         restart_controller && controller_is_up
         for name in $(kubectl -n secret-source get sealedsecret -o 'jsonpath={.items[*].metadata.name}'); do controller_says "no key could" $name; done"#,
        "key-mismatch",
        EVERY_SOURCE,
    )
    .then(STALE),
    case(
        "a second, newer key",
        "seal-secrets --keys other/keys key-secret | sed 's/^  name: .*/  name: another/' | kubectl apply -f -
         restart_controller && controller_is_up",
        "several-keys",
        "its certificate",
    )
    .undo("kubectl -n kube-system delete secret another"),
    case(
        "the controller started before its key",
        "kubectl -n kube-system delete secret sealed-secrets-key
         restart_controller && controller_is_up
         seal-secrets key-secret | kubectl apply -f -",
        "several-keys",
        "its certificate",
    ),
    case(
        "the controller has another key only",
        "kubectl -n kube-system delete secret sealed-secrets-key
         restart_controller && controller_is_up",
        "certificate-differs",
        "its certificate",
    )
    .then(&["several-keys"]),
    case(
        "a key Secret that is none",
        "kubectl -n kube-system create secret generic broken --type=kubernetes.io/tls --from-literal=tls.crt=x --from-literal=tls.key=x
         kubectl -n kube-system label secret broken sealedsecrets.bitnami.com/sealed-secrets-key=active
         restart_controller",
        "controller-down",
        "kube-system/sealed-secrets-controller",
    ),
    case(
        "a controller for its own namespace only",
        "add_argument kube-system sealed-secrets-controller --all-namespaces=false",
        "controller-scoped",
        "its namespaces",
    )
    .by_hand(REAPPLY_CONTROLLER),
    case(
        "a controller for other labels only",
        "add_argument kube-system sealed-secrets-controller --label-selector=team=theirs
         patch_sealed '{\"spec\":{\"encryptedData\":{\"value\":\"AgB!\"}}}' && apply",
        "controller-scoped",
        "its labels",
    )
    .by_hand(REAPPLY_CONTROLLER),
    healthy("a controller that writes no status", "add_argument kube-system sealed-secrets-controller --update-status=false")
        .warns("no-status")
        .undo(REAPPLY_CONTROLLER),
    healthy("a controller that renews its key", "add_argument kube-system sealed-secrets-controller --key-renew-period=720h")
        .warns("key-renewal")
        .undo(REAPPLY_CONTROLLER),
    // What only looks as if it were broken.
    healthy(
        "managedFields are cleared",
        r#"for name in $(kubectl -n secret-source get secret -o 'jsonpath={.items[*].metadata.name}'); do
           kubectl -n secret-source patch secret $name --type=merge -p '{"metadata":{"managedFields":[{}]}}'
         done"#,
    )
    // The API server writes none until the Secrets are made again.
    .undo(
        "names=$(kubectl -n secret-source get secret -o 'jsonpath={.items[*].metadata.name}')
         kubectl -n secret-source delete secret --all
         for name in $names; do wait_until $name kubectl -n secret-source get secret $name -o name --ignore-not-found; done
         sync_all",
    ),
    healthy(
        "Argo CD tracks everything",
        "kubectl -n secret-source annotate sealedsecret,secret,role,rolebinding --all argocd.argoproj.io/tracking-id=secrets:x --overwrite
         kubectl -n secret-source label sealedsecret,secret,role,rolebinding --all app.kubernetes.io/instance=secrets --overwrite
         kubectl annotate externalsecret -A --all argocd.argoproj.io/tracking-id=platform:x --overwrite
         kubectl label externalsecret -A --all app.kubernetes.io/instance=platform --overwrite
         kubectl annotate clustersecretstore secret-store argocd.argoproj.io/tracking-id=platform:x --overwrite
         kubectl -n external-secrets label serviceaccount eso-reader app.kubernetes.io/instance=platform --overwrite",
    ),
    healthy(
        "everything is applied by another manager",
        "kubectl kustomize out/secret-source | kubectl apply --server-side --force-conflicts --field-manager=argocd-controller -f -
         kubectl kustomize out/secret-store | kubectl apply --server-side --force-conflicts --field-manager=argocd-controller -f -
         kubectl apply --server-side --force-conflicts --field-manager=argocd-controller -f platform.json",
    ),
    case(
        "applied by another manager, and changed by a third",
        r#"printf '{"apiVersion":"bitnami.com/v1alpha1","kind":"SealedSecret","metadata":{"name":"%s","namespace":"secret-source"},"spec":{"template":{"type":"kubernetes.io/basic-auth"}}}' $NAME |
           kubectl apply --server-side --force-conflicts --field-manager=kyverno -f -"#,
        "sealed-secret-differs",
        "n8n-encryption-key",
    ),
    healthy(
        "a policy engine labels the Secrets",
        "kubectl -n secret-source label secret --all team=platform --field-manager=kyverno --overwrite
         kubectl label secret -n n8n --all team=platform --field-manager=kyverno --overwrite",
    ),
];

/// A form of delivery, in its own folder: its flags, and the ways to break it.
pub struct Form {
    pub folder: &'static str,
    /// The settings' `store`.
    pub store: &'static str,
    pub args: &'static [&'static str],
    /// What doctor has to fix before all is well.
    pub first: Option<&'static str>,
    pub cases: &'static [Case],
}

/// The forms other than the usual one.
pub const FORMS: [Form; 2] = [
    Form {
        folder: "isolated",
        store: "{ isolation: namespace }",
        args: &["--settings", "isolated.yaml"],
        first: None,
        cases: &[
            case(
                "isolated: an account is missing",
                "kubectl -n n8n delete serviceaccount eso-reader
                 kubectl -n n8n annotate externalsecret n8n-core-secrets force-sync=account --overwrite",
                "account-missing",
                "n8n/eso-reader",
            )
            .then(&["external-secret-failed"]),
            case(
                "isolated: a Role without a name",
                "kubectl -n secret-source get role eso-reader-litellm -o yaml | sed '/^ *- litellm-salt-key$/d' | kubectl replace -f -
                 kubectl -n litellm annotate externalsecret litellm-secrets force-sync=role --overwrite",
                "role-without-name",
                "litellm/litellm-salt-key",
            )
            .then(&["external-secret-failed"]),
        ],
    },
    Form {
        folder: "stores",
        store: "{ kind: SecretStore }",
        args: &["--settings", "stores.yaml"],
        first: Some("other-store"),
        cases: &[
            case("SecretStore: one is missing", "kubectl -n n8n delete secretstore secret-store", "store-missing", "n8n/secret-store")
                .then(&["external-secret-failed"]),
            case(
                "SecretStore: an account is missing",
                "kubectl -n n8n delete serviceaccount eso-reader
                 kubectl -n n8n annotate secretstore secret-store force-sync=account --overwrite
                 kubectl -n n8n wait secretstore secret-store --for=condition=Ready=False --timeout=30s",
                "account-missing",
                "n8n/eso-reader",
            )
            .then(&["external-secret-failed"]),
        ],
    },
];
