//! Files of `KEY=VALUE` lines, as shells, systemd and `docker compose --env-file` read them. No value is expanded. No crate is used,
//! because the existing ones expand `$NAME` from the process's environment, and keep values in memory that is not wiped.

use zeroize::Zeroizing;

use crate::model::{Error, Result, SecretValue};

pub struct Variable<'t> {
    /// Its name: letters, digits, `_`, `-` and `.`.
    pub name: &'t str,
    /// Its value, without quotes.
    pub value: SecretValue,
    /// Its line, from 1.
    pub line: usize,
}

/// Every assignment of a text. Blank lines and `#` comments are skipped, `export ` is allowed, a value may be quoted. Single quotes take
/// everything literally; in double quotes `\n`, `\r`, `\t`, `\"`, `\\` and `\$` are escapes. Both may span several lines. Without quotes, a
/// value ends with its line or before a `#` after white space.
pub fn read(text: &str) -> Result<Vec<Variable<'_>>> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while !rest.is_empty() {
        let (first, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = first.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            (rest, line) = (after, line + 1);
            continue;
        }
        let at = |error: Error| error.at((line, 1));
        let (name, value) = first.split_once('=').ok_or_else(|| at(not_an_assignment()))?;
        let name = name.trim();
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
            return Err(at(not_an_assignment()));
        }
        let value = value.trim_start();
        let quoted = value.starts_with(['\'', '"']);
        let (value, behind) = match quoted {
            true => read_quoted(&rest[first.len() - value.len()..]).map_err(at)?,
            false => (bare(value).map_err(at)?, after),
        };
        found.push(Variable { name, value: SecretValue::new(value), line });
        line += rest[..rest.len() - behind.len()].matches('\n').count();
        rest = behind;
    }
    Ok(found)
}

fn not_an_assignment() -> Error {
    Error::bad_input("not a `KEY=VALUE` line", "write one assignment per line, and put a value of several lines in quotes")
}

fn bare(value: &str) -> Result<Zeroizing<Vec<u8>>> {
    let value = value.find(" #").into_iter().chain(value.find("\t#")).min().map_or(value, |end| &value[..end]);
    let value = if value.starts_with('#') { "" } else { value.trim_end() };
    if value.contains("${") {
        return Err(expands());
    }
    let is_command = value.len() > 2 && value.starts_with('`') && value.ends_with('`') || value.contains("$(");
    let goes_on = value.ends_with(';') || ["; ", ";\t", ";export ", " && "].iter().any(|next| value.contains(next));
    if is_command || goes_on || value.starts_with("$'") || value.starts_with("$\"") {
        return Err(shell());
    }
    Ok(Zeroizing::new(value.as_bytes().to_vec()))
}

fn expands() -> Error {
    let help = "write the value itself; put it in single quotes to take it literally";
    Error::bad_input("the value refers to another variable (`${`), and variables are not expanded here", help)
}

fn shell() -> Error {
    let help = "write the value itself; quote the value if it is meant, in single quotes to take it literally";
    Error::bad_input("shell syntax that is not evaluated here", help)
}

/// A value that begins with its quote, and the lines after it.
fn read_quoted(text: &str) -> Result<(Zeroizing<Vec<u8>>, &str)> {
    let unclosed = || Error::bad_input("its quotes are not closed", "end the value with the quote that it begins with");
    let (quote, body) = text.split_at(1);
    let mut escaped = false;
    let closes = |b: u8| {
        let closes = !escaped && quote.as_bytes() == [b];
        escaped = !escaped && b == b'\\' && quote == "\"";
        closes
    };
    // Sized to the value, not to the rest of the file: it stays in memory, and a vector that grows leaves copies.
    let mut value = Zeroizing::new(Vec::with_capacity(body.bytes().position(closes).unwrap_or(body.len())));
    let mut chars = body.char_indices();
    let end = loop {
        let (at, c) = chars.next().ok_or_else(unclosed)?;
        match c {
            _ if quote.starts_with(c) => break at,
            '\\' if quote == "\"" => match chars.next().ok_or_else(unclosed)?.1 {
                'n' => value.push(b'\n'),
                'r' => value.push(b'\r'),
                't' => value.push(b'\t'),
                c @ ('"' | '\\' | '$') => value.push(c as u8),
                other => {
                    value.push(b'\\');
                    value.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                }
            },
            '$' if quote == "\"" && body[at..].starts_with("${") => return Err(expands()),
            '$' if quote == "\"" && body[at..].starts_with("$(") => return Err(shell()),
            c => value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    };
    let (tail, after) = body[end + 1..].split_once('\n').unwrap_or((&body[end + 1..], ""));
    if [";", "&&"].iter().any(|next| tail.trim_start().starts_with(next)) {
        return Err(shell());
    }
    if !tail.trim().is_empty() && !tail.trim_start().starts_with('#') {
        let help = "write a quote inside quotes as `\\\"`, or use the other kind";
        return Err(Error::bad_input("there is text after its closing quote", help));
    }
    Ok((value, after))
}
