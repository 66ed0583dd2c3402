//! `pipeline/remembered.rs`

use std::collections::BTreeSet;

use seal_secrets::model::Name;
use seal_secrets::pipeline::remembered::*;

#[test]
fn each_output_folder_has_its_own_names_and_each_stands_once() {
    let names = |names: &[&str]| names.iter().map(|name| Name::new(name).unwrap()).collect::<BTreeSet<_>>();
    let one = with(None, "../my out", &names(&["a", "b"])).unwrap().unwrap();
    assert_eq!(one, format!("{}a ../my out\nb ../my out\n", with(None, "x", &names(&["a"])).unwrap().unwrap().trim_end_matches("a x\n")));
    assert_eq!(with(Some(&one), "../my out", &names(&["b"])), Ok(None));
    assert!(with(Some(one.trim_end()), "../other\n", &names(&["b"])).is_err(), "cut off");
    let two = with(Some(&one.replace('\n', " \r\n")), "../other\n", &names(&["b"])).unwrap().unwrap();
    assert_eq!(read(&two, "../my out"), Ok(names(&["a", "b"])));
    assert_eq!(read(&two, "../other\n"), Ok(names(&["b"])));
    assert_eq!(with(None, "x", &names(&[])), Ok(None));
    assert_eq!(read("# a\n\nx\n", "x").unwrap_err().position(), Some((3, 1)));
}
