//! The contract as a standalone web page: the chain as a picture, then what each value is. It needs no network and no script.

use super::contract::{secrets, table_rows};
use crate::model::{Consumer, Contract, Name};

const STYLE: &str = "body{font:15px sans-serif;margin:2em;color:#222}table{border-collapse:collapse;margin-top:2em}
th,td{border:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top}th{background:#f4f4f4}
svg{font:12px sans-serif}rect{fill:#f4f8ff;stroke:#88a}path{fill:none;stroke:#99a}path:hover{stroke:#c60;stroke-width:3}";

/// The height of a row of the picture, and of a box in it.
const ROW: usize = 30;
const BOX: usize = 22;
/// The width of a box, and the positions of the columns.
const WIDTH: usize = 240;
const COLUMNS: [usize; 4] = [5, 275, 610, 880];
/// How many letters fit into a box.
const LETTERS: usize = 34;

pub fn page(contract: &Contract) -> String {
    let title = format!("The secrets of <code>{}</code>", escaped(contract.store.as_str()));
    let mut rows = table_rows(contract).into_iter();
    let line = |row: [String; 4], cell: &str| {
        let cells: String = row.iter().map(|text| format!("<{cell}>{}</{cell}>", escaped(text))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let head = rows.next().map(|row| line(row, "th")).unwrap_or_default();
    let body: String = rows.map(|row| line(row, "td")).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>secrets of {}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n{}<table>\n{head}{body}</table>\n</html>\n",
        escaped(contract.store.as_str()),
        picture(contract)
    )
}

/// SealedSecret → source Secret → ExternalSecret → target Secret, each a column; a line is an entry, with its name in the tooltip.
fn picture(contract: &Contract) -> String {
    let secrets = secrets(contract);
    let place = |secret: &Name| secrets.iter().position(|one| *one == secret.as_str()).expect("a contract's consumers read its keys");
    let mut drawn = String::new();
    for (row, secret) in secrets.iter().enumerate() {
        drawn += &line(0, row, row, "the controller opens it");
        drawn += &(boxed(0, row, secret) + &boxed(1, row, &format!("{}/{secret}", contract.namespace)));
    }
    // Each next to what it reads, so that few lines cross.
    let mut consumers: Vec<&Consumer> = contract.consumers.iter().collect();
    consumers.sort_by_key(|consumer| {
        let rows: Vec<usize> = consumer.reads().map(place).collect();
        rows.iter().sum::<usize>() * secrets.len() / rows.len().max(1)
    });
    for (row, consumer) in consumers.into_iter().enumerate() {
        let entries = consumer.entries.iter().map(|entry| (place(&entry.key), format!("{} → {}", entry.property, entry.secret_key)));
        let whole = consumer.whole.iter().map(|secret| (place(secret), "all of it".to_owned()));
        drawn.extend(entries.chain(whole).map(|(from, what)| line(1, from, row, &what)));
        let name = consumer.name.as_ref().map(|name| format!("{}/{name}", consumer.namespace));
        drawn += &line(2, row, row, "the operator makes it");
        drawn += &boxed(2, row, &name.unwrap_or_else(|| "made by a helm chart".to_owned()));
        drawn += &boxed(3, row, &format!("{}/{}", consumer.namespace, consumer.target));
    }
    let heads = ["SealedSecret", "source Secret", "ExternalSecret", "target Secret"];
    let heads: String = heads.iter().zip(COLUMNS).map(|(head, x)| format!("<text x=\"{x}\" y=\"14\">{head}</text>\n")).collect();
    let (width, height) = (COLUMNS[3] + WIDTH + 5, (secrets.len().max(contract.consumers.len()) + 1) * ROW);
    format!("<svg width=\"{width}\" height=\"{height}\">\n{heads}{drawn}</svg>\n")
}

fn top(row: usize) -> usize {
    (row + 1) * ROW - 6
}

fn boxed(column: usize, row: usize, text: &str) -> String {
    let (x, y) = (COLUMNS[column], top(row));
    // The rest is in the tooltip.
    let short: String =
        if text.chars().count() > LETTERS { text.chars().take(LETTERS - 1).chain(['…']).collect() } else { text.to_owned() };
    format!(
        "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{BOX}\" rx=\"4\"/><text x=\"{}\" y=\"{}\">{}</text></g>\n",
        escaped(text),
        x + 6,
        y + 15,
        escaped(&short)
    )
}

/// A line from the right of a box to the left of one in the next column.
fn line(column: usize, from: usize, to: usize, what: &str) -> String {
    let (x, y) = (COLUMNS[column] + WIDTH, top(from) + BOX / 2);
    let (end, below) = (COLUMNS[column + 1], top(to) + BOX / 2);
    let middle = (x + end) / 2;
    format!("<path d=\"M{x} {y}C{middle} {y} {middle} {below} {end} {below}\"><title>{}</title></path>\n", escaped(what))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
