//! Texts that the controller renders: Go templates, in the few forms that this tool writes. sealed-secrets executes each entry of
//! `spec.template.data` with the opened values and sprig's functions (`sealedsecret_expansion.go`, `unseal`).

use crate::model::{DataKey, Escape, Part, Text};

/// The pipe after a value, for each escape. `urlquery` writes `+` for a space, which only forms decode.
fn pipe(escape: Escape) -> &'static str {
    match escape {
        Escape::None => "",
        Escape::Url => r#" | urlquery | replace "+" "%20""#,
        Escape::Json => " | toJson",
        Escape::Base64 => " | b64enc",
    }
}

/// What Go would take for the beginning of an action: two braces, and one before an action.
const BRACES: [(&str, &str); 2] = [("{{", r#"{{ "{{" }}"#), ("{", r#"{{ "{" }}"#)];

/// The text as the controller reads it.
pub fn write(text: &Text) -> String {
    let [(two, both), (one, alone)] = BRACES;
    let plain = |text: &str, is_last: bool| {
        let text = text.replace(two, both);
        match text.strip_suffix(one).filter(|_| !is_last) {
            Some(before) => format!("{before}{alone}"),
            None => text,
        }
    };
    let part = |(i, part): (usize, &Part)| match part {
        Part::Plain(part) => plain(part, i + 1 == text.0.len()),
        Part::Value { of, escape } => format!("{{{{ index . \"{of}\"{} }}}}", pipe(*escape)),
        Part::Basic { user, of } => format!("{{{{ printf \"%s:%s\" \"{user}\" (index . \"{of}\") | b64enc }}}}"),
    };
    text.0.iter().enumerate().map(part).collect()
}

/// Reads what [`write`] wrote; none for anything else.
pub fn read(text: &str) -> Option<Text> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once("{{") {
        parts.push(Part::Plain(before.to_owned()));
        let literal = |(brace, written): &(&'static str, &str)| Some((*brace, after.strip_prefix(written.strip_prefix("{{")?)?));
        if let Some((brace, after)) = BRACES.iter().find_map(literal) {
            parts.push(Part::Plain(brace.to_owned()));
            rest = after;
            continue;
        }
        let (action, after) = after.split_once(" }}")?;
        parts.push(value(action)?);
        rest = after;
    }
    parts.push(Part::Plain(rest.to_owned()));
    let read = Text(parts).joined();
    (write(&read) == text).then_some(read)
}

fn value(action: &str) -> Option<Part> {
    if let Some(rest) = action.strip_prefix(" printf \"%s:%s\" \"") {
        let (user, rest) = rest.split_once("\" (index . \"")?;
        let property = rest.strip_suffix("\") | b64enc")?;
        return Some(Part::Basic { user: user.to_owned(), of: DataKey::new(property).ok()? });
    }
    let (property, rest) = action.strip_prefix(" index . \"")?.split_once('"')?;
    let escape = Escape::ALL.iter().copied().find(|escape| pipe(*escape) == rest)?;
    Some(Part::Value { of: DataKey::new(property).ok()?, escape })
}
