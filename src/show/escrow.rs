//! Who can open the escrow, and with an identity also its content.

use serde_json::{Value, json};

use super::{counted, pretty};
use crate::model::{CertificateDigest, Places, visible};
use crate::pipeline::private_key::{Pair, Pairs};
use crate::pipeline::recipients::Recipient;
use crate::pipeline::verify::RECIPIENTS_DIFFER;

/// What the files say.
pub struct Listing<'l> {
    /// How many recipients the escrow is encrypted to; an age file does not say who they are.
    pub able: usize,
    /// The recipients in `recipients.txt`, if it exists.
    pub listed: Option<&'l [Recipient]>,
    /// Who opened the escrow, the keys in it, and which of them is pinned.
    pub opened: Option<(String, &'l Pairs, Option<CertificateDigest>)>,
}

impl Listing<'_> {
    /// Whether list and escrow have the same number.
    pub fn agrees(&self) -> Option<bool> {
        self.listed.map(|listed| listed.len() == self.able)
    }
}

pub fn text(places: &Places, listing: &Listing<'_>) -> String {
    let (escrow, list) = (places.in_keys("sealing.key.age"), places.in_keys("recipients.txt"));
    let mut text = format!("{escrow}: {} can open it\n", counted(listing.able, "recipient"));
    match listing.listed {
        None => text.push_str(&format!("{list}: no such file; the escrow itself does not tell who they are\n")),
        Some(listed) => {
            text.push_str(&format!("{list}: names {}\n", counted(listed.len(), "recipient")));
            listed.iter().for_each(|recipient| text.push_str(&format!("  {recipient}\n")));
        }
    }
    match listing.agrees() {
        Some(true) => text.push_str("the two agree in number; the escrow itself does not tell who they are\n"),
        Some(false) => text.push_str(&format!("the two differ: {}\n", places.pasteable(RECIPIENTS_DIFFER))),
        None => {}
    }
    if let Some((opener, pairs, pinned)) = &listing.opened {
        text.push_str(&format!("opened by {}\n", visible(opener)));
        for pair in &pairs.list {
            let until = ends(pair).map_or("without its certificate".to_owned(), |ends| format!("until {ends}"));
            let pinned = if *pinned == Some(pair.digest) { ", the pinned one" } else { "" };
            text.push_str(&format!("holds {}, {until}{pinned}\n", pair.digest));
        }
    }
    text
}

fn ends(pair: &Pair) -> Option<String> {
    pair.certificate.as_ref().map(|(certificate, _)| certificate.ends())
}

pub fn json(places: &Places, listing: &Listing<'_>) -> String {
    let listed = listing.listed.map(|listed| listed.iter().map(Recipient::to_string).collect::<Vec<_>>());
    let key = |pair: &Pair, pinned: Option<CertificateDigest>| json!({ "key": pair.digest.to_string(), "until": ends(pair), "pinned": pinned == Some(pair.digest) });
    let opened = listing.opened.as_ref().map(|(opener, pairs, pinned)| {
        let keys: Vec<Value> = pairs.list.iter().map(|pair| key(pair, *pinned)).collect();
        json!({ "recipient": opener, "keys": keys })
    });
    pretty(json!({
        "version": 1, "escrow": places.in_keys("sealing.key.age"), "recipients": listing.able,
        "listed": listed, "agrees": listing.agrees(), "opened": opened,
    }))
}
