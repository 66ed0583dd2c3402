//! `manifest/env_file.rs`

use seal_secrets::manifest::env_file::*;

#[test]
fn values_are_read_as_a_shell_would_and_nothing_is_expanded() {
    let text =
        "# c\r\nA=plain # c\nexport B = 'it is $HOME # \"x\"'\nC=\"a\\\"b\\n\\$x\\y\" # c\n\nD=\"two\nlines\"\nE=\nF=$2a$10$ab#c\nG=#c";
    let found: Vec<_> = read(text).unwrap().into_iter().map(|one| (one.name, one.line, one.value.expose().to_vec())).collect();
    let expected: [(&str, usize, &[u8]); 7] = [
        ("A", 2, b"plain"),
        ("B", 3, b"it is $HOME # \"x\""),
        ("C", 4, b"a\"b\n$x\\y"),
        ("D", 6, b"two\nlines"),
        ("E", 8, b""),
        ("F", 9, b"$2a$10$ab#c"),
        ("G", 10, b""),
    ];
    assert_eq!(found, expected.map(|(name, line, value)| (name, line, value.to_vec())));
}

#[test]
fn a_quoted_value_takes_no_more_memory_than_it_needs() {
    let text = "A='x'\nB=\"y\\\"z\"\n".repeat(1000);
    let most = read(&text).unwrap().into_iter().map(|one| one.value.into_bytes().capacity()).max();
    assert!(most <= Some(8), "{most:?}");
}

#[test]
fn what_is_no_assignment_is_said_with_its_line_and_without_its_text() {
    for bad in ["hunter2", "=hunter2", "A B=hunter2", "A='hunter2", "A=\"hunter2", "A='hunter2'x", "A=${hunter2}", "A=\"${hunter2}\""] {
        let error = read(&format!("X=1\n{bad}\n")).err().expect(bad).to_string();
        assert!(error.contains("2:1:") && !error.contains("hunter2"), "{bad}: {error}");
    }
}
