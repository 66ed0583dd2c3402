//! What a checkout says of the settings that fit it.

use super::platform::Platform;
use crate::manifest::kubernetes::Identity;
use crate::model::{GitOps, Name, StoreKind};

/// The environment: the only one, or the one for production; none where the checkout does not tell.
pub fn environment(platform: &Platform) -> Option<&str> {
    let names = || platform.configurations.keys().map(String::as_str);
    match platform.configurations.len() {
        1 => names().next(),
        _ => ["prod", "production"].into_iter().find_map(|usual| names().find(|name| *name == usual)),
    }
}

/// Who applies what the checkout holds, as far as its objects tell.
pub fn gitops(platform: &Platform) -> Option<GitOps> {
    let flux = |group: &str| group == "toolkit.fluxcd.io" || group.ends_with(".toolkit.fluxcd.io");
    match platform.objects.iter().any(|(_, object, _)| flux(&object.group)) {
        _ if !platform.applications.is_empty() => Some(GitOps::ArgoCd),
        flux => flux.then_some(GitOps::Flux),
    }
}

/// The store of this name that the checkout has already: its kind, and its file.
pub fn store<'p>(platform: &'p Platform, name: &Name) -> Option<(StoreKind, &'p str)> {
    let found = |kind: StoreKind| {
        let is_store =
            |object: &Identity| object.group == "external-secrets.io" && object.kind == kind.as_str() && object.name == name.as_str();
        let mut files = platform.objects.iter().filter(|(file, object, _)| is_store(object) && !platform.is_patch(file));
        files.next().map(|(file, ..)| (kind, file.as_str()))
    };
    StoreKind::ALL.iter().copied().find_map(found)
}
