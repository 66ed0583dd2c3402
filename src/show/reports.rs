//! What `verify` found, in the formats that CI systems read.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::pretty;
use crate::model::{Code, Finding, Places};

/// A finding's fingerprint does not change when it moves within its file.
fn fingerprint(finding: &Finding) -> String {
    let (file, ..) = finding.at();
    let digest = Sha256::digest([finding.code.as_str(), file, &finding.what].join("\n"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn message(places: &Places, finding: &Finding) -> String {
    format!("{}; {}", finding.what, places.pasteable(&finding.help))
}

/// SARIF 2.1.0 (OASIS): one run, a rule for each code that was found.
pub fn sarif(places: &Places, findings: &[Finding]) -> String {
    let mut codes: Vec<Code> = findings.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let level = |code: Code| code.severity().as_str();
    let rule = |code: &Code| json!({ "id": code.as_str(), "defaultConfiguration": { "level": level(*code) } });
    let result = |finding: &Finding| {
        let (file, line, column) = finding.at();
        let mut place = json!({ "artifactLocation": { "uri": uri(file) } });
        if let Some(line) = line {
            place["region"] = json!({ "startLine": line, "startColumn": column.unwrap_or(1) });
        }
        json!({
            "ruleId": finding.code.as_str(),
            "level": level(finding.code),
            "message": { "text": message(places, finding) },
            "locations": [{ "physicalLocation": place }],
            "partialFingerprints": { "sealSecrets/v1": fingerprint(finding) },
        })
    };
    let driver = json!({
        "name": "seal-secrets",
        "version": env!("CARGO_PKG_VERSION"),
        "rules": codes.iter().map(rule).collect::<Vec<Value>>(),
    });
    pretty(json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": driver }, "results": findings.iter().map(result).collect::<Vec<Value>>() }],
    }))
}

/// A path as a relative reference (RFC 3986).
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Annotations of GitHub Actions: one workflow command for each finding.
pub fn github(places: &Places, findings: &[Finding]) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let command = |finding: &Finding| {
        let (file, line, column) = finding.at();
        let at = |name: &str, number: Option<u64>| number.map_or(String::new(), |number| format!(",{name}={number}"));
        let (line, column) = (at("line", line), at("col", column));
        let (severity, code) = (finding.code.severity().as_str(), finding.code.as_str());
        format!("::{severity} file={}{line}{column},title={code}::{}\n", property(file), data(&message(places, finding)))
    };
    findings.iter().map(command).collect()
}

/// GitLab's Code Quality: a list of issues.
pub fn gitlab(places: &Places, findings: &[Finding]) -> String {
    let issue = |finding: &Finding| {
        let (file, line, _) = finding.at();
        json!({
            "check_name": finding.code.as_str(),
            "description": message(places, finding),
            "fingerprint": fingerprint(finding),
            "severity": if finding.is_error() { "critical" } else { "minor" },
            "location": { "path": file, "lines": { "begin": line.unwrap_or(1) } },
        })
    };
    pretty(Value::Array(findings.iter().map(issue).collect()))
}

/// JUnit XML: a test case for each finding, or one that passes if there is none. A warning does not fail.
pub fn junit(places: &Places, findings: &[Finding]) -> String {
    let case = |finding: &Finding| {
        let (code, message) = (finding.code.as_str(), xml(&message(places, finding)));
        let body = match finding.is_error() {
            true => format!("<failure type=\"{code}\" message=\"{message}\"/>"),
            false => format!("<system-out>{message}</system-out>"),
        };
        format!("  <testcase classname=\"seal-secrets.{code}\" name=\"{}\">{body}</testcase>\n", xml(&finding.place))
    };
    let cases: String = match findings {
        [] => "  <testcase classname=\"seal-secrets\" name=\"verify\"/>\n".to_owned(),
        findings => findings.iter().map(case).collect(),
    };
    let failures = findings.iter().filter(|finding| finding.is_error()).count();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"seal-secrets verify\" tests=\"{}\" failures=\"{failures}\">\n{cases}</testsuite>\n",
        findings.len().max(1)
    )
}

/// The characters that XML 1.0 allows, escaped.
fn xml(text: &str) -> String {
    let escape = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\n' | '\t' => " ".to_owned(),
        c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => "\u{fffd}".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}
