//! What a checkout says of the settings that fit it.

use super::platform::Platform;
use crate::model::GitOps;

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
    (!platform.applications.is_empty()).then_some(GitOps::ArgoCd)
}
