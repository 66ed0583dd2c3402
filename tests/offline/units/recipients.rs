//! `pipeline/recipients.rs`

use seal_secrets::pipeline::recipients::*;

const ONE: &str = "age1ysxuaeqlk7xd8uqsh8lsnfwt9jzzjlqf49ruhpjrrj5yatlcuf7qke4pqe";
/// The test vector of age's own `tag.rs`.
const TAGGED: &str = "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e";

#[test]
fn a_list_keeps_its_comments_and_names_each_recipient_once() {
    let two = [Recipient::parse(ONE).unwrap(), Recipient::parse(TAGGED).unwrap()];
    let text = format!("# day\n{}\n\n# night\n", ONE.to_uppercase());
    let longer = with(Some(&text), &two);
    assert_eq!(longer, format!("# day\n{}\n\n# night\n{TAGGED}\n", ONE.to_uppercase()));
    assert_eq!(with(Some(&longer), &two), longer);
    assert!(read_recipients(&longer).unwrap() == two);
    assert_eq!(read_recipients(&format!("{longer}{ONE}\n")).unwrap().len(), 2);
    assert_eq!(without(&longer, &two[0]), format!("# day\n\n# night\n{TAGGED}\n"));
    assert_eq!(with(None, &two[..1]).lines().last(), Some(ONE));
}

#[test]
fn comments_around_an_armoured_identity_are_passed_over() {
    use std::io::Write;
    const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    let mut recipient = age::scrypt::Recipient::new("hunter2".into());
    recipient.set_work_factor(1);
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let armoured = age::armor::ArmoredWriter::wrap_output(Vec::new(), age::armor::Format::AsciiArmor).unwrap();
    let mut writer = encryptor.wrap_output(armoured).unwrap();
    writer.write_all(IDENTITY.as_bytes()).unwrap();
    let text = String::from_utf8(writer.finish().and_then(|armoured| armoured.finish()).unwrap()).unwrap();
    for around in [
        text.clone(),
        format!("\n# created: 2025\n# public key: {ONE}\n{text}"),
        format!("of the safe\r\n\r\n{}of the safe\r\n", text.replace('\n', "\r\n")),
        format!("{text}\n# end\n"),
    ] {
        assert!(is_encrypted(around.as_bytes()), "{around}");
        assert_eq!(*decrypt_identities(around.as_bytes(), "hunter2".into()).unwrap(), IDENTITY, "{around}");
    }
    assert!(!is_encrypted(format!("# -----BEGIN AGE ENCRYPTED FILE-----\n{IDENTITY}\n").as_bytes()));
}
