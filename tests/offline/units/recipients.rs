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
