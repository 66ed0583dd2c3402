//! `pipeline/remembered.rs`

use seal_secrets::model::Name;
use seal_secrets::pipeline::remembered::*;

fn units(units: &[(&str, bool)]) -> Units {
    units.iter().map(|(name, write_once)| (Name::new(name).unwrap(), *write_once)).collect()
}

#[test]
fn each_output_folder_has_its_own_names_and_each_stands_once() {
    let one = with(None, "../my out", &units(&[("a", false), ("b", true)])).unwrap().unwrap();
    assert!(one.starts_with("# ") && one.ends_with("\na ../my out\nb:write-once ../my out\n"), "{one}");
    assert_eq!(with(Some(&one), "../my out", &units(&[("b", false)])), Ok(None));
    assert!(with(Some(one.trim_end()), "../other\n", &units(&[("b", false)])).is_err(), "cut off");
    let two = with(Some(&one.replace('\n', " \r\n")), "../other\n", &units(&[("b", false)])).unwrap().unwrap();
    let sets = read(&two).unwrap();
    assert_eq!(sets[&folder("../my out")], units(&[("a", false), ("b", true)]));
    assert_eq!(sets[&folder("../other\n")], units(&[("b", false)]));
    assert_eq!(sets.len(), 2);
    assert_eq!(with(None, "x", &units(&[])), Ok(None));
    assert_eq!(read("# a\n\nx\n").unwrap_err().position(), Some((3, 1)));
}

#[test]
fn a_line_may_stand_twice_and_one_that_says_write_once_wins() {
    for text in ["a x\na:write-once x\n", "a:write-once x\na x\na x\n"] {
        assert_eq!(read(text).unwrap()["x"], units(&[("a", true)]), "{text}");
    }
    // It becomes write-once later.
    assert_eq!(with(Some("a x\n"), "x", &units(&[("a", true)])), Ok(Some("a x\na:write-once x\n".to_owned())));
}
