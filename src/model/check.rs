//! What `doctor` reports: one check after another, along a value's way.

words! {
    /// A failed check's stable code; each has one heading in `docs/troubleshooting.md`.
    Symptom {
        ApiUnreachable "api-unreachable"
        CredentialsRefused "credentials-refused"
        Forbidden "forbidden"
        ClockSkew "clock-skew"
        CrdMissing "crd-missing"
        NamespaceMissing "namespace-missing"
        NamespaceTerminating "namespace-terminating"
        ControllerMissing "controller-missing"
        ControllerDown "controller-down"
        ControllerScoped "controller-scoped"
        SeveralControllers "several-controllers"
        ControllerVulnerable "controller-vulnerable"
        KeyRenewal "key-renewal"
        NoStatus "no-status"
        ServiceMissing "service-missing"
        CertificateDiffers "certificate-differs"
        SeveralKeys "several-keys"
        KeySecretMissing "key-secret-missing"
        RetiredKeyLoaded "retired-key-loaded"
        SealedSecretMissing "sealed-secret-missing"
        SealedSecretTerminating "sealed-secret-terminating"
        SealedSecretPending "sealed-secret-pending"
        SealedSecretDiffers "sealed-secret-differs"
        SealedToAnotherKey "sealed-to-another-key"
        SealedSecretMoved "sealed-secret-moved"
        KeyCameLater "key-came-later"
        KeyMismatch "key-mismatch"
        SealedSecretCorrupt "sealed-secret-corrupt"
        SecretInTheWay "secret-in-the-way"
        SourceImmutable "source-immutable"
        QuotaExceeded "quota-exceeded"
        AdmissionDenied "admission-denied"
        ControllerForbidden "controller-forbidden"
        SealedSecretFailed "sealed-secret-failed"
        StatusStale "status-stale"
        SourceMissing "source-missing"
        SourceWithoutValue "source-without-value"
        SourceEdited "source-edited"
        OperatorDown "operator-down"
        WebhookDown "webhook-down"
        OperatorNotLooking "operator-not-looking"
        OperatorStalled "operator-stalled"
        OperatorForbidden "operator-forbidden"
        AccountMissing "account-missing"
        RoleWithoutName "role-without-name"
        StoreMissing "store-missing"
        StoreTerminating "store-terminating"
        CaNamespaceMissing "ca-namespace-missing"
        CaMissing "ca-missing"
        StoreDiffers "store-differs"
        StoreNotReady "store-not-ready"
        ExternalSecretMissing "external-secret-missing"
        ExternalSecretTerminating "external-secret-terminating"
        NotSealedYet "not-sealed-yet"
        PropertyMissing "property-missing"
        PropertyWrong "property-wrong"
        OtherStore "other-store"
        ExternalSecretDiffers "external-secret-differs"
        NamespaceNotAllowed "namespace-not-allowed"
        TemplateFails "template-fails"
        TargetOwned "target-owned"
        TargetNotMade "target-not-made"
        ExternalSecretFailed "external-secret-failed"
        TargetMissing "target-missing"
        TargetImmutable "target-immutable"
        TargetStale "target-stale"
        RotationStops "rotation-stops"
    }
}

words! {
    /// The result of a check; `Skipped` depends on one that failed.
    Status { Good "good" Warning "warning" Bad "bad" Skipped "skipped" }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The stage on a value's way, such as `stores`.
    pub category: &'static str,
    /// What was checked: an object's name, or the names of all objects with the same fault.
    pub what: Vec<String>,
    pub status: Status,
    /// None for a check that is good or skipped.
    pub symptom: Option<Symptom>,
    /// Why, in one line.
    pub cause: String,
    pub remedy: Remedy,
}

/// What to do about a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// No command of this operator fixes it: who can, and how.
    Advice(String),
    /// Commands to paste, in their order.
    Commands(Vec<String>),
}

impl Remedy {
    /// As one line.
    pub fn text(&self) -> String {
        match self {
            Remedy::Advice(advice) => advice.clone(),
            Remedy::Commands(commands) => commands.join(" && "),
        }
    }

    /// One line for a shell, if there is one.
    pub fn command(&self) -> Option<String> {
        matches!(self, Remedy::Commands(commands) if !commands.is_empty()).then(|| self.text())
    }

    /// Fixes both, run once: their common beginning first, their common end last. None if one of the two is no command.
    fn and(&self, other: &Remedy) -> Option<Remedy> {
        if self == other {
            return Some(self.clone());
        }
        let (Remedy::Commands(a), Remedy::Commands(b)) = (self, other) else { return None };
        let begin = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        let (a_rest, b_rest) = (&a[begin..], &b[begin..]);
        let end = a_rest.iter().rev().zip(b_rest.iter().rev()).take_while(|(a, b)| a == b).count();
        let middle = a_rest[..a_rest.len() - end].iter().chain(&b_rest[..b_rest.len() - end]);
        Some(Remedy::Commands(a[..begin].iter().chain(middle).chain(&a_rest[a_rest.len() - end..]).cloned().collect()))
    }
}

impl From<String> for Remedy {
    fn from(command: String) -> Self {
        Remedy::Commands(vec![command])
    }
}

impl<const N: usize> From<[String; N]> for Remedy {
    fn from(commands: [String; N]) -> Self {
        Remedy::Commands(commands.into())
    }
}

impl Check {
    /// Merges a check with the same fault; returns whether it was one.
    fn takes(&mut self, other: &Check) -> bool {
        let key = |check: &Check| (check.category, check.status, check.symptom, check.cause.clone());
        if self.symptom.is_none() || key(self) != key(other) {
            return false;
        }
        let Some(remedy) = self.remedy.and(&other.remedy) else { return false };
        self.remedy = remedy;
        self.what.extend(other.what.iter().cloned());
        true
    }
}

/// The same checks, merged into one for each cause.
pub fn one_for_each_cause(checks: Vec<Check>) -> Vec<Check> {
    let mut all: Vec<Check> = Vec::with_capacity(checks.len());
    for check in checks {
        // A category's checks are adjacent.
        let before = all.iter_mut().rev().take_while(|one| one.category == check.category);
        if !{ before }.any(|one| one.takes(&check)) {
            all.push(check);
        }
    }
    all
}
