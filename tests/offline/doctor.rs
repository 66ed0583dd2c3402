//! `doctor` where no cluster is: its codes are documented, its Roles can be printed.

use seal_secrets::model::Symptom;

use crate::common::fixture;

#[test]
fn every_code_is_explained() {
    let document = std::fs::read_to_string(fixture("../docs/troubleshooting.md")).unwrap();
    let headings: Vec<&str> = document.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let all: Vec<&str> = Symptom::ALL.iter().map(|symptom| symptom.as_str()).collect();
    assert_eq!(headings, all, "docs/troubleshooting.md has one heading for each code, in their order");
}
