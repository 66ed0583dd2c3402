//! What `verify` reports.

use super::{Error, Result, meant};

words! {
    /// Whether a finding is a fault (exit code 1) or only worth knowing.
    Severity { Error "error" Warning "warning" }
}

words! {
    /// A finding's stable code; `docs/findings.md` has one heading for each, which says what it means.
    Code {
        CertificateUnusable "certificate-unusable"
        CertificateExpiresSoon "certificate-expires-soon"
        CertificateNotAccepted "certificate-not-accepted"
        CertificateDiffers "certificate-differs"
        OutUnknown "out-unknown"
        Unreadable "unreadable"
        UnitMissing "unit-missing"
        WriteOnceMissing "write-once-missing"
        HalfMissing "half-missing"
        NotYetProvided "not-yet-provided"
        Orphan "orphan"
        WriteOnceDropped "write-once-dropped"
        Misplaced "misplaced"
        WrongNamespace "wrong-namespace"
        WrongScope "wrong-scope"
        WrongData "wrong-data"
        WrongBlob "wrong-blob"
        WrongLength "wrong-length"
        WrongCertificate "wrong-certificate"
        WriteOnceUnmarked "write-once-unmarked"
        UnitDiffers "unit-differs"
        NamespaceDiffers "namespace-differs"
        RbacDiffers "rbac-differs"
        StoreDiffers "store-differs"
        PatchDiffers "patch-differs"
        KustomizationDiffers "kustomization-differs"
        RunbookDiffers "runbook-differs"
        PlaintextSecret "plaintext-secret"
        PlaintextInRepository "plaintext-in-repository"
        IgnoredByGit "ignored-by-git"
        TrackedByGit "tracked-by-git"
        StrayFile "stray-file"
        CannotOpen "cannot-open"
        WrongValue "wrong-value"
        HashDiffers "hash-differs"
        CopyDiffers "copy-differs"
        CopyMissing "copy-missing"
        ApplicationDiffers "application-differs"
        AllowListDiffers "allow-list-differs"
        KeyUnknown "key-unknown"
        KeyUnread "key-unread"
        KeyNotNeeded "key-not-needed"
        PropertyMissing "property-missing"
        PropertyDiffers "property-differs"
        NotYetPatched "not-yet-patched"
        StoreKindDiffers "store-kind-differs"
        DefinedTwice "defined-twice"
        PatchedElsewhere "patched-elsewhere"
        ReadsWholeSecret "reads-whole-secret"
        ReadsOtherwise "reads-otherwise"
        OtherStore "other-store"
        NamespaceUnknown "namespace-unknown"
        AmbiguousConsumer "ambiguous-consumer"
        RenderedByHelm "rendered-by-helm"
        RenderedElsewhere "rendered-elsewhere"
        VersionNotServed "version-not-served"
        PushedOver "pushed-over"
        HelmTemplate "helm-template"
        LinkPassedOver "link-passed-over"
        SecretBackend "secret-backend"
        SourceRepositoryMissing "source-repository-missing"
        EscrowDiffers "escrow-differs"
        FewRecipients "few-recipients"
        RecipientsDiffer "recipients-differ"
    }
}

impl Code {
    /// How bad it is.
    pub fn severity(self) -> Severity {
        use Code::*;
        match self {
            CertificateExpiresSoon
            | CertificateNotAccepted
            | NotYetProvided
            | CopyMissing
            | Orphan
            | StrayFile
            | KeyUnread
            | KeyNotNeeded
            | NotYetPatched
            | PatchedElsewhere
            | OtherStore
            | RenderedByHelm
            | HelmTemplate
            | LinkPassedOver
            | SecretBackend
            | SourceRepositoryMissing
            | FewRecipients
            | RecipientsDiffer => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// The warning of this name; an error can never be ignored.
    ///
    /// # Errors
    /// [`ErrorKind::BadInput`](super::ErrorKind::BadInput) if the code does not exist, or is an error's.
    pub fn warning(word: &str) -> Result<Code> {
        let found = Code::ALL.iter().copied().find(|code| code.as_str() == word);
        match found {
            Some(code) if code.severity() == Severity::Warning => Ok(code),
            Some(_) => Err(Error::bad_input("an error, which cannot be ignored", "correct what it names: docs/findings.md")),
            None => {
                let help = meant(word, Code::ALL.iter().map(|code| code.as_str()), "docs/findings.md lists all codes");
                Err(Error::bad_input("not the code of a finding", help))
            }
        }
    }

    /// Whether it reports something that was seen but not understood: nothing is called good despite it.
    pub fn leaves_open(self) -> bool {
        matches!(self, Code::PatchedElsewhere | Code::HelmTemplate | Code::LinkPassedOver)
    }
}

impl Finding {
    pub fn is_error(&self) -> bool {
        self.code.severity() == Severity::Error
    }

    /// The file, and where in it, from 1.
    pub fn at(&self) -> (&str, Option<u64>, Option<u64>) {
        let number = |text: &str| text.parse::<u64>().ok();
        let Some((rest, last)) = self.place.rsplit_once(':') else { return (&self.place, None, None) };
        let Some(last) = number(last) else { return (&self.place, None, None) };
        match rest.rsplit_once(':').and_then(|(file, line)| Some((file, number(line)?))) {
            Some((file, line)) => (file, Some(line), Some(last)),
            None => (rest, Some(last), None),
        }
    }
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
