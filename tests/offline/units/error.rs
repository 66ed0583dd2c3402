//! `model/error.rs`

use seal_secrets::model::*;

#[test]
fn an_error_is_what_why_help_and_nothing_else_moves_the_cursor() {
    let error = Error::refused("`a\nerror: b` is\u{1b}[2J odd", "do `c`").why("because").at((3, 4)).in_file("x.yaml");
    assert_eq!(error.to_string(), "error: x.yaml:3:4: `a\\u{a}error: b` is\\u{1b}[2J odd\n  because\nhelp: do `c`");
}

#[test]
fn the_near_word_is_found_and_a_far_one_is_not() {
    assert_eq!(near("lenght", ["bytes", "length"]), Some("length"));
    assert_eq!(near("hxe", ["bytes", "hex"]), Some("hex"), "two letters that changed places are one mistake");
    assert_eq!(near("hunter2", ["bytes", "length"]), None);
}
