//! What `verify` reports.

/// Whether a finding makes `verify` exit with 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    /// Worth knowing, but not a fault yet.
    Warning,
}

impl Severity {
    /// As printed and as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

macro_rules! codes {
    ($($variant:ident $text:literal $severity:ident $about:literal)*) => {
        /// A finding's stable code; each has one heading in `docs/findings.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $about] $variant),* }

        impl Code {
            /// Every code, in the order of the document.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The code as printed, as in JSON, and as the document's heading.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text),* }
            }

            pub fn severity(self) -> Severity {
                match self { $(Code::$variant => Severity::$severity),* }
            }
        }
    };
}

codes! {
    CertificateUnusable "certificate-unusable" Error "`keys/sealing.crt` cannot be sealed to."
    CertificateExpiresSoon "certificate-expires-soon" Warning "The sealing certificate ends within 30 days."
    Unreadable "unreadable" Error "A file cannot be read as what it should be."
    UnitMissing "unit-missing" Error "A unit that can be generated is missing."
    WriteOnceMissing "write-once-missing" Error "A write-once unit that was sealed before is gone."
    HalfMissing "half-missing" Error "A unit has not all of its SealedSecrets."
    NotYetProvided "not-yet-provided" Warning "The operator has not provided a key yet."
    Orphan "orphan" Warning "A sealed file that the contract does not know."
    WriteOnceDropped "write-once-dropped" Error "A write-once value that the contract no longer has, or no longer calls write-once."
    Misplaced "misplaced" Error "A SealedSecret is in another file than its unit's, or in two."
    WrongNamespace "wrong-namespace" Error "A SealedSecret is not in the source namespace."
    WrongScope "wrong-scope" Error "A SealedSecret is not sealed with strict scope."
    WrongData "wrong-data" Error "A SealedSecret does not have exactly the one data key."
    WrongBlob "wrong-blob" Error "A sealed value does not have the shape of one."
    WrongLength "wrong-length" Error "A sealed value does not have the length that its recipe makes."
    WrongCertificate "wrong-certificate" Error "A SealedSecret is marked with another certificate, or not marked."
    WriteOnceUnmarked "write-once-unmarked" Error "A write-once SealedSecret has lost its mark."
    NamespaceDiffers "namespace-differs" Error "The namespace manifest is not what the contract asks for."
    RbacDiffers "rbac-differs" Error "Role, RoleBinding or ServiceAccount are not what the contract asks for."
    StoreDiffers "store-differs" Error "The ClusterSecretStore is not what the contract asks for."
    PatchDiffers "patch-differs" Error "A property patch is not what the contract asks for."
    KustomizationDiffers "kustomization-differs" Error "A kustomization does not list exactly the files that exist."
    RunbookDiffers "runbook-differs" Error "`INSTALL.md` does not describe these files."
    PlaintextSecret "plaintext-secret" Error "A Secret in the clear is in `out/`."
    IgnoredByGit "ignored-by-git" Error "A file that must be committed matches an ignore rule."
    StrayFile "stray-file" Warning "A file in `out/` that the tool neither wrote nor reads."
    CannotOpen "cannot-open" Error "A sealed value does not open with the sealing key."
    WrongValue "wrong-value" Error "A value is not what its recipe makes."
    HashDiffers "hash-differs" Error "A hash does not match its password."
    ApplicationDiffers "application-differs" Error "The Argo CD Application is not what it should be."
    KeyUnknown "key-unknown" Error "An ExternalSecret reads a key that the contract does not have."
    KeyUnread "key-unread" Warning "A key of the contract that no ExternalSecret reads."
    KeyNotNeeded "key-not-needed" Warning "An ExternalSecret reads a key that no enabled feature needs."
    PropertyMissing "property-missing" Error "An entry has no property, and nothing adds it."
    PropertyDiffers "property-differs" Error "An entry has a property other than `value`."
    StoreKindDiffers "store-kind-differs" Error "An ExternalSecret uses the store as another kind than `--store-kind`."
    PatchedElsewhere "patched-elsewhere" Warning "A kustomize patch changes what ExternalSecrets read."
    ReadsWholeSecret "reads-whole-secret" Error "An ExternalSecret reads a whole source Secret, or searches for several."
    OtherStore "other-store" Warning "An ExternalSecret of another store."
    NamespaceUnknown "namespace-unknown" Error "The namespace of an ExternalSecret is unknown."
    AmbiguousConsumer "ambiguous-consumer" Error "Two ExternalSecrets of one name and namespace read different things."
    RenderedByHelm "rendered-by-helm" Warning "A helm chart renders an ExternalSecret: there is no manifest to patch."
    HelmTemplate "helm-template" Warning "A helm template that may hold an ExternalSecret."
    LinkPassedOver "link-passed-over" Warning "A file or folder of the platform's checkout was not read."
    SecretBackend "secret-backend" Warning "The platform's configuration would overwrite the store."
    SourceRepositoryMissing "source-repository-missing" Warning "The AppProject does not allow the repository."
    EscrowDiffers "escrow-differs" Error "The escrow does not hold the key of `keys/sealing.crt`."
    FewRecipients "few-recipients" Warning "Fewer than two recipients can open the escrow."
    RecipientsDiffer "recipients-differ" Warning "The escrow is encrypted to more or fewer than `keys/recipients.txt` names."
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub code: Code,
    /// The file, as the operator names it, with `:line:column` where known.
    pub place: String,
    /// What is wrong, in one line.
    pub what: String,
    /// What to do, in one line.
    pub help: String,
}
