//! What `doctor` reports: one check after the other, along the way of a value.

words! {
    /// A failed check's stable code; each has one heading in `docs/troubleshooting.md`.
    Symptom {
        ApiUnreachable "api-unreachable"
        CredentialsRefused "credentials-refused"
        Forbidden "forbidden"
        ClockSkew "clock-skew"
        CrdMissing "crd-missing"
        NamespaceMissing "namespace-missing"
        ControllerMissing "controller-missing"
        ControllerDown "controller-down"
        ControllerVulnerable "controller-vulnerable"
        KeyRenewal "key-renewal"
        ServiceMissing "service-missing"
        CertificateDiffers "certificate-differs"
        SeveralKeys "several-keys"
        SealedSecretMissing "sealed-secret-missing"
        SealedSecretPending "sealed-secret-pending"
        SealedToAnotherKey "sealed-to-another-key"
        SealedSecretMoved "sealed-secret-moved"
        KeyCameLater "key-came-later"
        SealedSecretCorrupt "sealed-secret-corrupt"
        SecretInTheWay "secret-in-the-way"
        SealedSecretFailed "sealed-secret-failed"
        SourceMissing "source-missing"
        SourceWithoutValue "source-without-value"
        OperatorDown "operator-down"
        AccountMissing "account-missing"
        RoleWithoutName "role-without-name"
        StoreMissing "store-missing"
        CaNamespaceMissing "ca-namespace-missing"
        StoreDiffers "store-differs"
        StoreNotReady "store-not-ready"
        ExternalSecretMissing "external-secret-missing"
        NotSealedYet "not-sealed-yet"
        PropertyMissing "property-missing"
        PropertyWrong "property-wrong"
        OtherStore "other-store"
        NamespaceNotAllowed "namespace-not-allowed"
        ExternalSecretFailed "external-secret-failed"
        TargetMissing "target-missing"
        TargetStale "target-stale"
    }
}

words! {
    /// How a check ended; `Skipped` depends on one that failed.
    Status { Good "good" Warning "warning" Bad "bad" Skipped "skipped" }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The stage on a value's way, such as `stores`.
    pub category: &'static str,
    pub what: String,
    pub status: Status,
    /// None for a check that is good or skipped.
    pub symptom: Option<Symptom>,
    /// Why, in one line.
    pub cause: String,
    /// What to do: a command to paste.
    pub remedy: String,
}
