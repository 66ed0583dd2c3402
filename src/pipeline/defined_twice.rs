//! Objects that both the checkout and the output folder define: an API server holds only one object of a kind, namespace and name.

use super::platform::{self, Platform};
use super::render;
use crate::manifest::kubernetes::Identity;
use crate::model::{Application, Code, Contract, Delivery, Finding, Position};

/// The checkout's objects that have the name of one of ours; `store_file` is the path of our own store in the checkout.
pub fn find(contract: &Contract, delivery: &Delivery, platform: &Platform, store_file: Option<&str>) -> Vec<Finding> {
    let ours = render::objects(contract, delivery);
    let twice = platform.objects.iter().filter(|(file, object, _)| {
        Some(file.as_str()) != store_file
            && !platform.is_patch(file)
            && !delivery.application.as_ref().is_some_and(|wanted| applies(platform, wanted, object))
            && ours.iter().any(|ours| is_the_same(platform, ours, file, object))
    });
    twice.map(|(file, object, position)| finding(platform, file, object, *position)).collect()
}

/// Whether an object of this file is the same as ours. If nothing sets its namespace, it may be.
fn is_the_same(platform: &Platform, ours: &Identity, file: &str, object: &Identity) -> bool {
    if (&ours.group, &ours.kind, &ours.name) != (&object.group, &object.kind, &object.name) {
        return false;
    }
    let Some(namespace) = &ours.namespace else { return true };
    platform.namespaces(file, object.namespace.as_deref()).iter().any(|placed| placed.as_ref().is_none_or(|placed| placed == namespace))
}

/// Whether it is an Application that applies the output folder: that one is ours, wherever it was moved.
fn applies(platform: &Platform, wanted: &Application, object: &Identity) -> bool {
    let source = |path: &str| path.trim_start_matches("./").trim_end_matches('/') == wanted.path;
    let named = platform.applications.iter().filter(|application| object.kind == "Application" && application.name == object.name);
    named.flat_map(|application| &application.sources).any(|(_, _, path)| source(path))
}

fn finding(platform: &Platform, file: &str, object: &Identity, position: Position) -> Finding {
    let what = format!("{} `{}` is defined here, and in the output folder: the one that is applied last wins", object.kind, object.name);
    let help = match object.kind.ends_with("SecretStore") {
        true => "if the platform keeps its store in this file, set `store.file` to it in `seal-secrets.yaml`; otherwise delete it here",
        false => "delete it here: the output folder has it",
    };
    platform::finding(&platform.root, Code::DefinedTwice, file, Some(position), what, help)
}
