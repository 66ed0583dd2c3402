//! The state of a cluster object, read from its JSON, which never contains the values of a Secret.

use std::str::FromStr;

use serde_json::{Map, Value};
use x509_cert::der::DateTime;

use crate::model::visible;

/// The text at this path; empty if there is none.
pub(super) fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    value.pointer(path).and_then(Value::as_str).unwrap_or("")
}

/// The items of the list at this path; none if there is no list.
pub(super) fn list<'v>(value: &'v Value, path: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

/// The name of the Secret that an ExternalSecret writes.
pub fn target_of(object: &Value) -> &str {
    match text(object, "/spec/target/name") {
        "" => text(object, "/metadata/name"),
        name => name,
    }
}

/// One of an object's conditions.
pub(super) struct Condition<'v> {
    pub status: &'v str,
    pub reason: &'v str,
    pub message: &'v str,
    /// Since when it has this status; sealed-secrets also writes when it last looked.
    pub since: Option<u64>,
    pub updated: Option<u64>,
}

pub(super) fn condition<'v>(object: &'v Value, kind: &str) -> Option<Condition<'v>> {
    let one = list(object, "/status/conditions").find(|condition| text(condition, "/type") == kind)?;
    let (since, updated) = (seconds(text(one, "/lastTransitionTime")), seconds(text(one, "/lastUpdateTime")));
    Some(Condition { status: text(one, "/status"), reason: text(one, "/reason"), message: text(one, "/message"), since, updated })
}

/// Whether it is ready, and this is known.
pub(super) fn is_ready(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|ready| ready.status == "True" && ready.reason != "ValidationUnknown")
}

/// A time of Kubernetes (RFC 3339, UTC) in seconds since 1970.
pub(super) fn seconds(time: &str) -> Option<u64> {
    let whole = format!("{}Z", time.strip_suffix('Z')?.split('.').next()?);
    Some(DateTime::from_str(&whole).ok()?.unix_duration().as_secs())
}

/// A new complaint about an object: the newest warning about this very object that is not older than its condition.
pub(super) fn warning<'v>(events: &'v [Value], object: &Value, since: Option<u64>) -> Option<&'v str> {
    let of_it = events.iter().filter(|event| {
        let kind = text(event, "/type");
        (kind.is_empty() || kind == "Warning") && text(event, "/involvedObject/uid") == text(object, "/metadata/uid")
    });
    let timed = of_it.filter_map(|event| Some((event_time(event)?, text(event, "/message"))));
    timed.filter(|(time, _)| since.is_none_or(|since| *time >= since)).max_by_key(|(time, _)| *time).map(|(_, message)| message)
}

fn event_time(event: &Value) -> Option<u64> {
    let times = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    times.iter().find_map(|path| seconds(text(event, path)))
}

/// Who wrote which fields, and when, except for the status.
fn managers(object: &Value) -> impl Iterator<Item = (&Value, Option<u64>)> {
    let all = list(object, "/metadata/managedFields");
    all.filter(|manager| text(manager, "/subresource").is_empty()).map(|manager| (manager, seconds(text(manager, "/time"))))
}

/// When one of these fields (`f:spec`) was last written.
pub(super) fn written(object: &Value, fields: &[&str]) -> Option<u64> {
    let has = |manager: &Value| fields.iter().any(|field| manager.pointer(&format!("/fieldsV1/{field}")).is_some());
    managers(object).filter(|(manager, _)| has(manager)).filter_map(|(_, time)| time).max()
}

/// Who wrote the data of a Secret.
fn data_writers(secret: &Value) -> impl Iterator<Item = (&Value, Option<u64>, &Map<String, Value>)> {
    managers(secret).filter_map(|(manager, time)| {
        // Data applied as `stringData` ends up in `data` too.
        let fields = ["f:data", "f:stringData"].iter().find_map(|field| manager["fieldsV1"][field].as_object())?;
        Some((manager, time, fields))
    })
}

/// The first of these data keys that a Secret lacks; none if it has all, or does not record who wrote what.
pub(super) fn lacks<'k>(secret: &Value, keys: &[&'k str]) -> Option<&'k str> {
    let is_known = managers(secret).next().is_some();
    let has = |key: &str| data_writers(secret).any(|(_, _, fields)| fields.contains_key(&format!("f:{key}")));
    keys.iter().copied().find(|key| is_known && !has(key))
}

/// When the data of a Secret was last written. A co-owner beside the controller has applied the same data.
pub(super) fn data_written(secret: &Value) -> Option<u64> {
    let times =
        |own: bool| data_writers(secret).filter(move |(manager, ..)| is_controller(manager) || !own).filter_map(|(_, time, _)| time);
    times(true).max().or_else(|| times(false).max())
}

/// Only the controller sets the owner of a source Secret.
fn is_controller(manager: &Value) -> bool {
    text(manager, "/manager") == "controller" || manager.pointer("/fieldsV1/f:metadata/f:ownerReferences").is_some()
}

/// Who wrote one of these data keys of a Secret, and when, unless it was the controller.
pub(super) fn foreign_writer<'s>(secret: &'s Value, keys: &[&str]) -> Option<(&'s str, u64)> {
    let ours = |fields: &Map<String, Value>| keys.iter().any(|key| fields.contains_key(&format!("f:{key}")));
    let of_value = data_writers(secret).filter(|(_, _, fields)| ours(fields));
    let (own, others): (Vec<_>, Vec<_>) =
        of_value.map(|(manager, time, _)| (manager, time)).partition(|(manager, _)| is_controller(manager));
    // A co-owner of the value has applied the same one as the controller; only `stringData` may hold another.
    let is_other = |(manager, time): &(&Value, Option<u64>)| {
        own.iter().all(|(_, written)| manager.pointer("/fieldsV1/f:stringData").is_some() && time > written)
    };
    let (manager, time) = others.into_iter().filter(is_other).max_by_key(|(_, time)| *time)?;
    Some((text(manager, "/manager"), time?))
}

/// Whether a Secret cannot be changed any more.
pub(super) fn is_immutable(secret: &Value) -> bool {
    managers(secret).any(|(manager, _)| manager.pointer("/fieldsV1/f:immutable").is_some())
}

/// Whether an object is owned by the other.
pub(super) fn is_owned(object: &Value, owner: &Value) -> bool {
    list(object, "/metadata/ownerReferences").any(|one| text(one, "/uid") == text(owner, "/metadata/uid"))
}

/// What delays the deletion of an object; none if it is not being deleted.
pub(super) fn leaving(object: &Value) -> Option<String> {
    let since = object.pointer("/metadata/deletionTimestamp")?.as_str()?;
    let finalizers = list(object, "/metadata/finalizers");
    let finalizers: Vec<String> = finalizers.filter_map(Value::as_str).map(|name| format!("`{}`", visible(name))).collect();
    let held = if finalizers.is_empty() { String::new() } else { format!(", held by its finalizers {}", finalizers.join(", ")) };
    Some(format!("it is being deleted since {}{held}", visible(since)))
}

/// Whether every Pod is available, including the new one during an update.
pub(super) fn is_available(deployment: &Value) -> bool {
    let count = |path: &str| deployment.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    count("/status/availableReplicas") > 0 && count("/status/unavailableReplicas") == 0
}

/// Whether it is meant to run.
pub(super) fn is_wanted(deployment: &Value) -> bool {
    deployment.pointer("/spec/replicas").and_then(Value::as_u64) != Some(0)
}

pub(super) fn containers(deployment: &Value) -> impl Iterator<Item = &Value> {
    list(deployment, "/spec/template/spec/containers")
}

/// The value of a flag of a Deployment's program: from `--name=value`, `--name value`, or a variable that begins with `variables`, if it
/// reads any. A flag without a value is `true`.
pub(super) fn flag<'d>(deployment: &'d Value, name: &str, variables: Option<&str>) -> Option<&'d str> {
    let variable = variables.map(|begin| format!("{begin}_{}", name.to_ascii_uppercase().replace('-', "_")));
    let set = |container: &'d Value| {
        let of = |list: &str| container[list].as_array().into_iter().flatten();
        let words: Vec<&str> = of("command").chain(of("args")).filter_map(Value::as_str).collect();
        let is_flag = |word: &&str| word.starts_with('-') && word.trim_start_matches('-').split('=').next() == Some(name);
        let given = words.iter().rposition(is_flag).map(|at| match words[at].split_once('=') {
            Some((_, value)) => value,
            None => words.get(at + 1).copied().filter(|next| !next.starts_with('-')).unwrap_or("true"),
        });
        given.or_else(|| {
            of("env")
                .find(|one| one["name"].as_str().is_some() && one["name"].as_str() == variable.as_deref())
                .map(|one| text(one, "/value"))
        })
    };
    containers(deployment).find_map(set).map(|value| value.trim_matches('"'))
}

/// An object's namespace and name, as kubectl takes them.
pub(super) fn place(object: &Value) -> (String, String) {
    (visible(text(object, "/metadata/namespace")), visible(text(object, "/metadata/name")))
}

/// The API server's version of an object, which grows with each change to any object.
pub(super) fn version(object: &Value) -> Option<u64> {
    text(object, "/metadata/resourceVersion").parse().ok()
}

/// A Go duration (`1h30m0s`) in seconds.
pub(super) fn duration(text: &str) -> Option<u64> {
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let value: f64 = rest[..number].parse().ok()?;
        let unit = rest[number..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| number + at);
        total += value
            * match &rest[number..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "" if value == 0.0 => 0.0,
                "ms" | "us" | "µs" | "ns" => 0.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Some(total as u64)
}
