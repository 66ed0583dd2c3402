//! Every JSON that a command prints, anywhere in the whole test run, matches its schema in docs/schema/output/.

use std::collections::BTreeSet;
use std::ffi::OsString;

use serde_json::Value;

use crate::common::{Ran, Sandbox, fixture, fixture_text};

/// The part of JSON Schema that the schemas use.
pub fn check(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{at}: {what}"));
    if let Some(all) = schema["oneOf"].as_array() {
        return if all.iter().filter(|one| check(one, value, at).is_ok()).count() == 1 { Ok(()) } else { fail("none of several") };
    }
    if schema.get("const").is_some_and(|only| only != value) || schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        return fail("another word");
    }
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    let is_type = match &schema["type"] {
        Value::Null => true,
        Value::Array(several) => several.iter().any(|one| is(one.as_str().unwrap())),
        one => is(one.as_str().unwrap()),
    };
    if !is_type {
        return fail("another type");
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !regex::Regex::new(pattern).unwrap().is_match(text)
    {
        return fail("another pattern");
    }
    if let Some(number) = value.as_u64().filter(|_| schema.get("minimum").is_some()) {
        let bounds = schema["minimum"].as_u64().unwrap()..=schema["maximum"].as_u64().unwrap_or(u64::MAX);
        if !bounds.contains(&number) {
            return fail("out of bounds");
        }
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], item, &format!("{at}[{i}]"))?;
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = value.as_object().and_then(|fields| required.into_iter().find(|name| !fields.contains_key(*name))) {
        return fail(&format!("{missing} is missing"));
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => return fail(&format!("{name} is unknown")),
            (Value::Null, other) => check(other, field, &format!("{at}.{name}"))?,
            (known, _) => check(known, field, &format!("{at}.{name}"))?,
        }
    }
    Ok(())
}

/// The schema of a command line's output; none if it prints no JSON of ours.
fn of(args: &[&str]) -> Option<&'static str> {
    let has = |word: &str| args.contains(&word);
    if !has("json") && !has("--json") || has("--help") {
        return None;
    }
    let commands = [
        ("bootstrap", "plan"),
        ("plan", "plan"),
        ("import", "import"),
        ("copy", "import"),
        ("rotate", "rotate"),
        ("re-encrypt", "re-encrypt"),
        ("renew", "re-encrypt"),
        ("status", "status"),
        ("escrow", "escrow"),
        ("doctor", "doctor"),
        ("contract", "contract"),
    ];
    match args {
        _ if has("verify") => Some(if has("--drill") { "drill" } else { "verify" }),
        _ => commands.into_iter().find(|(command, _)| has(command)).map(|(_, schema)| schema),
    }
}

/// Compares a run's output with its schema, and returns that. A refused run prints nothing.
#[track_caller]
pub fn check_output(args: &[OsString], ran: &Ran) -> Option<&'static str> {
    let words: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    let name = of(&words).filter(|_| !ran.stdout.is_empty())?;
    let value: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}:\n{}", ran.stdout));
    let schema = serde_json::from_str(&fixture_text(&format!("../docs/schema/output/{name}.json"))).unwrap();
    check(&schema, &value, name).unwrap_or_else(|error| panic!("{words:?}: {error}\n{value:#}"));
    Some(name)
}

#[test]
fn every_schema_is_that_of_a_command_that_prints_something() {
    let sandbox = Sandbox::hashless();
    sandbox.write_secret("env", b"hf-token=hf_Vt8QmZ4xKp2WnR6yHd0sLc9B\n");
    sandbox.write("keys/recipients.txt", format!("{}\n", sandbox.own_recipient()).as_bytes());
    let identity = ["--identity", "keys/operator.agekey"];
    let mut found = BTreeSet::from(["doctor"]);
    for args in [
        &["plan"][..],
        &["bootstrap", "--dry-run"],
        &["import", "--env-file", "env", "--dry-run"],
        &["rotate", "vllm-api-key", "dex-admin-password", "--dry-run"],
        &["re-encrypt", "--dry-run"],
        &["renew", "--dry-run"],
        &["verify"],
        &["verify", "--drill"],
        &["status"],
        &[&["status"], &identity[..]].concat(),
        &["escrow", "list"],
        &[&["escrow", "list"], &identity[..]].concat(),
    ] {
        let args: Vec<OsString> = args.iter().chain(&["-o", "json"]).map(Into::into).collect();
        let ran = sandbox.run(&args);
        found.extend([check_output(&args, &ran).unwrap_or_else(|| panic!("{args:?}: {ran:?}"))]);
    }
    let args = ["contract", "--format", "json"].map(OsString::from);
    found.extend(check_output(&args, &sandbox.run(&args)));
    let files = std::fs::read_dir(fixture("../docs/schema/output")).unwrap();
    let names: BTreeSet<String> = files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names, found.into_iter().map(str::to_owned).collect());
}

#[test]
fn what_a_schema_does_not_say_is_noticed() {
    let schema: Value = serde_json::from_str(&fixture_text("../docs/schema/output/verify.json")).unwrap();
    let checked = |text: &str| check(&schema, &serde_json::from_str(text).unwrap(), "verify");
    let finding = r#""code":"a","severity":"error","place":"f:1:2","file":"f","line":1,"column":2,"what":"w","help":"h""#;
    let report = |finding: &str| format!(r#"{{"version":1,"findings":[{{{finding}}}]}}"#);
    assert_eq!(checked(&report(finding)), Ok(()));
    for (wrong, says) in [
        (r#"{"version":2,"findings":[]}"#.to_owned(), "verify.version: another word"),
        (r#"{"version":1}"#.to_owned(), "verify: findings is missing"),
        (r#"{"version":1,"findings":[],"more":1}"#.to_owned(), "verify: more is unknown"),
        (report(&format!("{finding},\"more\":1")), "verify.findings[0]: more is unknown"),
        (report(&finding.replace("error", "odd")), "verify.findings[0].severity: another word"),
        (report(&finding.replace("\"line\":1", "\"line\":-1")), "verify.findings[0].line: another type"),
        (report(&finding.replace("\"w\"", "null")), "verify.findings[0].what: another type"),
    ] {
        assert_eq!(checked(&wrong), Err(says.to_owned()), "{wrong}");
    }
}
