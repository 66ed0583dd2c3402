//! `manifest/foreign.rs` and `manifest/blobs.rs`: sealed values at random depths, in random styles.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use seal_secrets::manifest::blobs::{self, Kind};
use seal_secrets::model::Hints;

use crate::common::TestEntropy;

/// A piece of YAML or JSON; the numbers choose its style.
enum Piece {
    Word(&'static str, u8),
    /// A sealed value by itself.
    Raw(usize, u8),
    /// A SealedSecret with one value.
    Sealed(usize, u8),
    Map(Vec<Piece>, u8),
    List(Vec<Piece>, u8),
    /// A document in a text.
    Text(Box<Piece>, u8),
}

const WORDS: [&str; 12] =
    ["a", "on", "12", "ü", "a: b", "# no comment", "'", "\"q\"", "{{ .Values.x }}", "multi\nline", "SealedSecret", "kind: SealedSecret"];

/// A number below this one.
fn below(random: &mut TestEntropy, most: usize) -> usize {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    usize::from_le_bytes(bytes) % most
}

/// A random tree; `next` numbers its values.
fn grow(random: &mut TestEntropy, depth: usize, next: &mut usize) -> Piece {
    let style = below(random, 256) as u8;
    let mut number = || {
        *next += 1;
        *next - 1
    };
    match below(random, if depth == 0 { 6 } else { 12 }) {
        0..=2 => Piece::Word(WORDS[below(random, WORDS.len())], style),
        3 | 4 => Piece::Raw(number(), style),
        5 => Piece::Sealed(number(), style),
        6 | 7 => Piece::Text(Box::new(grow(random, depth - 1, next)), style),
        8 | 9 => Piece::List((0..1 + below(random, 3)).map(|_| grow(random, depth - 1, next)).collect(), style),
        _ => Piece::Map((0..1 + below(random, 3)).map(|_| grow(random, depth - 1, next)).collect(), style),
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// The tree in flow style; JSON if `json` is set.
fn flow(piece: &Piece, values: &[String], json: bool) -> String {
    match piece {
        Piece::Word(word, _) => quoted(word),
        Piece::Raw(i, style) => match style % 4 {
            0 if !json => values[*i].clone(),
            1 if !json => format!("'{}'", values[*i]),
            2 => quoted(&values[*i]).replace('/', "\\/"),
            _ => quoted(&values[*i]),
        },
        Piece::Sealed(i, style) => {
            let value = flow(&Piece::Raw(*i, *style), values, json);
            let (version, metadata) = ("\"bitnami.com/v1alpha1\"", format!("{{\"name\": \"n{i}\", \"namespace\": \"s\"}}"));
            format!(
                "{{\"apiVersion\": {version}, \"kind\": \"SealedSecret\", \"metadata\": {metadata}, \"spec\": {{\"encryptedData\": {{\"k\": {value}}}}}}}"
            )
        }
        Piece::Map(pieces, _) => {
            let fields: Vec<String> = pieces.iter().enumerate().map(|(i, one)| format!("\"f{i}\": {}", flow(one, values, json))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Piece::List(pieces, _) => {
            format!("[{}]", pieces.iter().map(|one| flow(one, values, json)).collect::<Vec<_>>().join(if json { "\n,\t" } else { ", " }))
        }
        Piece::Text(inner, style) => quoted(&document(inner, values, *style)),
    }
}

/// The tree as a document of its own.
fn document(piece: &Piece, values: &[String], style: u8) -> String {
    match style % 4 {
        0 => flow(piece, values, true),
        1 => format!("# a comment\n{}\n", flow(piece, values, false)),
        _ => format!("---\nx:{}", block(piece, values, 1)),
    }
}

/// The text after a field's colon, or an item's dash, in block style.
fn block(piece: &Piece, values: &[String], depth: usize) -> String {
    let pad = "  ".repeat(depth);
    let literal = |text: &str| {
        let lines: Vec<String> = text.lines().map(|line| if line.is_empty() { String::new() } else { format!("{pad}{line}") }).collect();
        format!(" |\n{}\n", lines.join("\n"))
    };
    match piece {
        Piece::Word(word, style) if style % 3 == 0 => format!(" &a{style} {}\n", quoted(word)),
        Piece::Raw(i, style) => match style % 7 {
            0 => literal(&values[*i]),
            // Only long values are broken into lines.
            1 => literal(
                &values[*i].as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>().join("\n"),
            ),
            2 => format!(" >-\n{pad}{}\n", values[*i]),
            3 if values[*i].len() > 100 => {
                let (one, two) = values[*i].split_at(99);
                format!(" \"{one}\\\n{pad}{two}\"\n")
            }
            3 => format!(" \"{}\"\n", values[*i]),
            4 => format!("\n{pad}{} # why\n", values[*i]),
            _ => format!(" {}\n", flow(piece, values, false)),
        },
        Piece::Sealed(i, style) if style % 2 == 0 => format!(
            "\n{pad}apiVersion: bitnami.com/v1alpha1\n{pad}metadata: {{namespace: s, name: n{i}}}\n{pad}kind: SealedSecret\n{pad}spec:\n{pad}  encryptedData:\n{pad}    k:{}",
            block(&Piece::Raw(*i, style / 2), values, depth + 3)
        ),
        Piece::Map(pieces, style) if style % 4 > 0 => {
            let fields = pieces.iter().enumerate().map(|(i, one)| format!("{pad}f{i}:{}", block(one, values, depth + 1)));
            format!("\n{}", fields.collect::<String>())
        }
        Piece::List(pieces, style) if style % 4 > 0 => {
            format!("\n{}", pieces.iter().map(|one| format!("{pad}-{}", block(one, values, depth + 1))).collect::<String>())
        }
        Piece::Text(inner, style) if style % 3 > 0 => literal(&document(inner, values, style / 4)),
        other => format!(" {}\n", flow(other, values, false)),
    }
}

/// Something in the form of a sealed value.
fn blob(random: &mut TestEntropy) -> String {
    let size = [256_usize, 384, 512][below(random, 3)];
    let mut bytes = vec![0; 2 + size + 16 + below(random, 40)];
    random.fill(&mut bytes);
    bytes[..2].copy_from_slice(&u16::try_from(size).unwrap().to_be_bytes());
    BASE64_STANDARD.encode(bytes)
}

#[test]
fn every_sealed_value_of_a_random_document_is_found_and_nothing_else_changes() {
    let (mut values_seen, mut texts_seen) = (0, 0);
    for seed in 0..600 {
        let mut random = TestEntropy(seed);
        let mut count = 0;
        let (piece, style) = (grow(&mut random, 5, &mut count), below(&mut random, 256) as u8);
        let old: Vec<String> = (0..count).map(|_| blob(&mut random)).collect();
        let new: Vec<String> = (0..count).map(|i| format!("NEW{i}=")).collect();
        let before = document(&piece, &old, style);
        let found = blobs::find(&before, &Hints::default());
        let mut places = Vec::new();
        for one in &found {
            let shown = format!("seed {seed}: {} at {:?}: {:?}\n{before}", one.full_name(), one.position, one.fault);
            assert!(one.fault.is_none() && one.fixed.is_none(), "{shown}");
            let [blob] = one.blobs.as_slice() else { panic!("{shown}") };
            let i = old.iter().position(|old| *old == blob.text).unwrap_or_else(|| panic!("{shown}\n{}", blob.text));
            if one.kind == Kind::SealedSecret {
                assert_eq!(one.labels[0], format!("s/n{i}"), "{shown}");
            }
            places.push((i, blob.spot.clone()));
        }
        let mut numbers: Vec<usize> = places.iter().map(|(i, _)| *i).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "seed {seed}: not each is found once\n{before}");
        let after = blobs::replace(&before, places.into_iter().map(|(i, spot)| (spot, new[i].clone())).collect());
        assert_eq!(after, Ok(document(&piece, &new, style)), "seed {seed}\n{before}");
        values_seen += count;
        texts_seen += usize::from(before.contains(": |\n"));
    }
    // The random trees are worth the name.
    assert!(values_seen > 600 && texts_seen > 50, "{values_seen} {texts_seen}");
}
