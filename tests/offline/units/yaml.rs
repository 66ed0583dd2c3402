//! `manifest/yaml.rs`

use seal_secrets::manifest::yaml::*;

fn error(text: &str) -> String {
    match read(text).and_then(|mut nodes| nodes.remove(0).fields("")?.finish()) {
        Ok(()) => panic!("accepted: {text:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_readers_disagree_on_is_refused_with_its_place() {
    for (text, expected) in [
        ("a: 1\n\tb: 2", "tab"),
        ("a: 1\na: 2", "2:1: a field appears twice, first on line 1"),
        ("a: &x 1\nb: *x", "anchors"),
        ("a: *x", "alias"),
        ("a: {<<: {b: c}}", "1:5: merge keys"),
        ("a: !!binary aGk=", "1:13: tags"),
        ("? [a]\n: b", "field's name that is not text"),
        ("1: b", "field's name that is not text"),
        ("a: 'b", "unexpected end"),
        ("# only\n", "no document"),
        ("a: b\0", "1:5: a NUL"),
    ] {
        assert!(error(text).contains(expected), "{text:?}: {}", error(text));
    }
    assert!(error(&"[".repeat(20_000)).contains("64 levels"));
}

#[test]
fn a_field_that_appears_twice_is_found_however_many_there_are() {
    for fields in 1..40 {
        let text: String = (0..fields).map(|n| format!("f{n}: {n}\n")).collect();
        assert_eq!(read_one(&text).unwrap().entries().len(), fields);
        for again in 0..fields {
            let expected = format!("{}:1: a field appears twice, first on line {}\n", fields + 1, again + 1);
            let error = read_one(&format!("{text}f{again}: x\n")).err().unwrap().to_string();
            assert!(error.contains(&expected), "{fields} fields, and f{again} again: {error}");
        }
    }
}

#[test]
fn words_that_some_reader_takes_for_something_else_have_to_be_quoted() {
    let bare = |word: &str| read_one(&format!("a: {word}"))?.fields("")?.required("a")?.text("a").map(str::to_owned);
    for word in ["012", "1e10", "yes", "No", "~", "0x1F", "1_000", "2026-11-23", "12:30:45", "-1.5", ".5", "null", "2026-11-23T10:00:00Z"] {
        assert!(bare(word).is_err(), "{word}");
        let node = read_one(&format!("a: '{word}'")).unwrap();
        assert_eq!(node.fields("").unwrap().required("a").and_then(|node| node.text("a")), Ok(word));
    }
    for word in ["a", "litellm-master-key", "sk-", "10.0.0.1a", "abc", "1f2d", "9a", "https://x", "AgBx", "v1"] {
        assert_eq!(bare(word).as_deref(), Ok(word));
    }
}

#[test]
fn a_field_nobody_asked_for_suggests_the_near_one() {
    let node = read_one("lenght: 3").unwrap();
    let mut fields = node.fields("keys[0]").unwrap();
    fields.optional("length");
    let error = fields.finish().unwrap_err().to_string();
    assert!(error.contains("`keys[0].lenght`") && error.contains("did you mean `length`?"), "{error}");
}

#[test]
fn documents_end_where_their_markers_are() {
    for (text, pieces) in [
        ("", &[][..]),
        ("a: 1", &["a: 1"]),
        ("a: '---'\n", &["a: '---'\n"]),
        ("---\na: 1\n---", &["---\na: 1\n", "---"]),
        ("a: 1\r\n---\r\nb: 2\r\n", &["a: 1\r\n", "---\r\nb: 2\r\n"]),
        ("a: 1\n...\nb: 2\n", &["a: 1\n...\n", "b: 2\n"]),
        ("a: 1\n...", &["a: 1\n..."]),
        ("%YAML 1.2\n# c\n\n---\na: 1\n", &["%YAML 1.2\n# c\n\n---\na: 1\n"]),
        ("a: 1\n----\n...b: 2\n --- c\n", &["a: 1\n----\n...b: 2\n --- c\n"]),
    ] {
        let found: Vec<&str> = documents(text).into_iter().map(|document| &text[document.range]).collect();
        assert_eq!(found, pieces, "{text:?}");
    }
}

#[test]
fn comments_before_a_document_count_as_lines_and_hide_nothing() {
    for comments in ["#\n", "# a\n# b\n", "# a: 1\n#---\n", "# ü\n# b\n", "# a\r\n", "#\ta\n"] {
        let text = format!("{comments}key: value\n");
        let node = read_one(&text).unwrap();
        assert_eq!(node.position, (comments.matches('\n').count() + 1, 1), "{text:?}");
        assert_eq!(&text[node.get("key").unwrap().range.clone()], "value", "{text:?}");
    }
    assert!(error("# a").contains("no document") && error("# a\n#").contains("no document"));
    assert!(error("# a\n# \u{7f}\na: 1\n").contains("not valid YAML"));
}
