//! A strict reader of YAML into a tree that knows every position, and the writer.
//!
//! Strict, because a secret's manifest must not contain what two readers understand differently: no aliases, merge keys, tags, duplicate
//! keys or unquoted words that some reader takes for a number or a boolean. No error quotes a scalar: it may be a secret. Foreign
//! documents, which others wrote and apply, are read less strictly.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{ErrorKind as ParserError, Event, Options, Parser, ScalarStyle};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::model::{Error, Position, Result, meant, near};

/// How deep a document may be nested.
const MOST_DEPTH: usize = 64;

/// The largest text that is read, in bytes. Kubernetes' own limit for one object is 1.5 MiB.
pub const MOST_BYTES: usize = 16 * 1024 * 1024;

/// A piece of YAML and its position: line and column, from 1.
pub struct Node {
    /// Its position. A block mapping begins with its first field.
    pub position: Position,
    /// Its bytes in the text; the end of a collection in block style is only a bound.
    pub range: Range<usize>,
    /// It has an anchor, so an alias elsewhere may repeat it. Only in a foreign document.
    pub anchored: bool,
    /// It has a tag, which may change what it means. Only in a foreign document.
    pub tagged: bool,
    value: Value,
}

/// How a scalar is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    /// Literal or folded: its range begins after its header.
    Block,
}

enum Value {
    /// The text and its style.
    Scalar(Zeroizing<String>, Style),
    Sequence(Vec<Node>),
    Mapping(Vec<(String, Node)>),
    /// It repeats an anchored node. Only in a foreign document.
    Alias,
}

/// The documents of a text, comments dropped. An empty text, or one with only comments, is an error.
pub fn read(text: &str) -> Result<Vec<Node>> {
    check_size(text)?;
    some(read_piece(text, &(0..text.len()), 0, true)?)
}

/// The documents of a text that others wrote: anchors, aliases, tags, merge keys and field names that are not text are allowed. A duplicate
/// field is an error here too, because readers disagree on it.
pub fn read_foreign(text: &str) -> Result<Vec<Node>> {
    check_size(text)?;
    let documents = documents(text).into_iter().map(|document| document.nodes).collect::<Result<Vec<_>>>()?;
    some(documents.into_iter().flatten().collect())
}

/// A document of a text that others wrote, as far as it can be read.
pub struct Document {
    /// Its bytes, from its first line `---` to the next one. All ranges together are the text.
    pub range: Range<usize>,
    /// Its content: one node, or none if it has only comments; positions and ranges are those of the whole text.
    pub nodes: Result<Vec<Node>>,
}

/// The documents of a text that others wrote, each read separately, so that an error in one does not hide the others.
pub fn documents(text: &str) -> Vec<Document> {
    let (mut documents, mut lines) = (Vec::new(), 0);
    for range in pieces(text) {
        let nodes = check_size(&text[range.clone()]).and_then(|()| read_piece(text, &range, lines, false));
        lines += line_ends(&text[range.clone()]);
        documents.push(Document { range, nodes });
    }
    documents
}

/// The ranges of the documents of a text. A line that begins with `---` or `...` is a marker anywhere (YAML 1.2, 9.1.2).
fn pieces(text: &str) -> Vec<Range<usize>> {
    let is = |line: &str, marker: &str| {
        line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
    };
    let (mut pieces, mut begin, mut at) = (Vec::new(), 0, 0);
    // Directives belong to the document whose marker follows them.
    let mut directives = false;
    for end in memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1).chain([text.len()]) {
        let line = &text[at..end];
        if is(line, "---") && at > begin && !directives {
            pieces.push(begin..at);
            begin = at;
        }
        at = end;
        if is(line, "...") {
            pieces.push(begin..at);
            begin = at;
        }
        directives = line.starts_with('%') || directives && (line.starts_with('#') || line.trim().is_empty());
    }
    if at > begin {
        pieces.push(begin..at);
    }
    pieces
}

fn check_size(text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::bad_input("empty file", "restore it, or pass another file"));
    }
    if text.len() > MOST_BYTES {
        return Err(Error::bad_input(format!("larger than {} MiB", MOST_BYTES >> 20), "split it into several files"));
    }
    Ok(())
}

fn some(documents: Vec<Node>) -> Result<Vec<Node>> {
    if documents.is_empty() {
        return Err(Error::bad_input("no document: only comments or white space", "restore it, or pass another file"));
    }
    Ok(documents)
}

/// The documents of a part of a text that follows this many lines.
fn read_piece(whole: &str, range: &Range<usize>, lines: usize, strict: bool) -> Result<Vec<Node>> {
    let text = &whole[range.clone()];
    if let Some(at) = text.find('\0') {
        return Err(Error::bad_input("a NUL character, which YAML does not allow", "remove it; a text file never has one")
            .at(position_of(whole, range.start + at)));
    }
    // Skips comments such as a licence, because the parser would examine each character.
    let begin = comments(text);
    let (lines, text) = (lines + line_ends(&text[..begin]), &text[begin..]);
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MOST_DEPTH;
    options.block_nesting_limit = MOST_DEPTH;
    let mut documents = Vec::new();
    let mut events = Events { parser: Parser::new_from_str_with_options(text, options), text, lines, bytes: range.start + begin, strict };
    loop {
        match events.next()? {
            (Event::DocumentStart(..), _) => {
                let first = events.next()?;
                let node = events.node(first)?;
                if !node.is_absent() {
                    documents.push(node);
                }
            }
            (Event::StreamEnd, _) => return Ok(documents),
            _ => {}
        }
    }
}

pub fn read_one(text: &str) -> Result<Node> {
    let mut documents = read(text)?;
    if documents.len() > 1 {
        return Err(Error::bad_input(format!("{} documents where one is expected", documents.len()), "keep one and remove the rest")
            .at(documents[1].position));
    }
    Ok(documents.remove(0))
}

/// How many bytes at the beginning of a text are comment lines, in printable ASCII.
fn comments(text: &str) -> usize {
    let (bytes, mut end) = (text.as_bytes(), 0);
    while bytes.get(end) == Some(&b'#') {
        let line = memchr::memchr(b'\n', &bytes[end..]).map_or(text.len(), |at| end + at);
        // All of them, without a branch for each: several at once.
        if bytes[end..line].iter().fold(false, |odd, byte| odd | !(b' '..=b'~').contains(byte)) {
            break;
        }
        end = text.len().min(line + 1);
    }
    end
}

fn line_ends(text: &str) -> usize {
    memchr::memchr_iter(b'\n', text.as_bytes()).count()
}

/// Line and column (from 1, in characters) of a byte offset.
pub fn position_of(text: &str, offset: usize) -> Position {
    let before = &text[..offset];
    let line = line_ends(before) + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before[start..].chars().count() + 1)
}

/// How many fields a mapping usually has at most.
const FEW: usize = 16;

struct Events<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    text: &'t str,
    /// How many lines and bytes precede the text.
    lines: usize,
    bytes: usize,
    strict: bool,
}

type Spanned<'t> = (Event<'t>, granit_parser::Span);

impl<'t> Events<'t> {
    fn next(&mut self) -> Result<Spanned<'t>> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(explain(&error, self.text, self.lines)),
            None => Ok((Event::StreamEnd, granit_parser::Span::default())),
        }
    }

    fn range(&self, span: &granit_parser::Span) -> Range<usize> {
        let range = span.byte_range().unwrap_or_default();
        range.start + self.bytes..range.end + self.bytes
    }

    fn node(&mut self, (event, span): Spanned<'t>) -> Result<Node> {
        let (line, column) = place(&span.start);
        let position = (line + self.lines, column);
        let mut range = self.range(&span);
        if self.strict {
            check_strict(&event).map_err(|error| error.at(position))?;
        }
        let anchored = matches!(&event, Event::Scalar(_, _, anchor, _) | Event::SequenceStart(_, anchor, _) | Event::MappingStart(_, anchor, _) if *anchor != 0);
        let tagged =
            matches!(&event, Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, _, Some(_)) | Event::MappingStart(_, _, Some(_)));
        let value = match event {
            Event::Alias(_) | Event::UnresolvedAlias(_) => Value::Alias,
            Event::Scalar(text, style, ..) => Value::Scalar(Zeroizing::new(text.into_owned()), style_of(style)),
            Event::SequenceStart(..) => Value::Sequence(self.sequence(&mut range)?),
            Event::MappingStart(..) => Value::Mapping(self.mapping(&mut range)?),
            _ => return Err(Error::bad_input("unexpected end", "restore the rest of it").at(position)),
        };
        Ok(Node { position, range, anchored, tagged, value })
    }

    fn sequence(&mut self, range: &mut Range<usize>) -> Result<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, span) => {
                    range.end = self.range(&span).end;
                    return Ok(items);
                }
                event => items.push(self.node(event)?),
            }
        }
    }

    fn mapping(&mut self, range: &mut Range<usize>) -> Result<Vec<(String, Node)>> {
        let (mut fields, mut places): (Vec<(String, Node)>, Vec<usize>) = Default::default();
        let mut index = HashMap::new();
        loop {
            let event = self.next()?;
            if let (Event::MappingEnd, span) = event {
                range.end = self.range(&span).end;
                return Ok(fields);
            }
            let key = self.node(event)?;
            let lines = self.lines;
            let explained =
                |error| template_before(self.text, key.position.0 - lines).map_or(error, |(line, column)| template((line + lines, column)));
            if self.strict {
                key.check_name().map_err(explained)?;
            }
            let (position, name) = (key.position, key.into_word());
            // An index of the usual few names costs more than to look through them.
            let earlier = if fields.len() < FEW {
                fields.iter().position(|(field, _)| *field == name)
            } else {
                index.extend(fields.iter().enumerate().skip(index.len()).map(|(at, (field, _))| (field.clone(), at)));
                index.get(&name).copied()
            };
            if let Some(earlier) = earlier {
                let what = format!("a field appears twice, first on line {}", places[earlier]);
                return Err(Error::bad_input(what, "keep one of the two").at(position));
            }
            places.push(position.0);
            let event = self.next()?;
            fields.push((name, self.node(event)?));
        }
    }
}

/// Refuses what two readers may understand differently.
fn check_strict(event: &Event<'_>) -> Result<()> {
    let unsupported = |what: &str, help: &str| Err(Error::bad_input(format!("{what} not supported"), help));
    match event {
        Event::Alias(_) | Event::UnresolvedAlias(_) => unsupported("aliases (`*name`) are", "write the value out"),
        Event::Scalar(_, _, anchor, _) | Event::SequenceStart(_, anchor, _) | Event::MappingStart(_, anchor, _) if *anchor != 0 => {
            unsupported("anchors (`&name`) are", "write the value out where it is used")
        }
        Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, _, Some(_)) | Event::MappingStart(_, _, Some(_)) => {
            unsupported("tags (`!name`) are", "remove the tag; quote the value if it is text")
        }
        _ => Ok(()),
    }
}

fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
    }
}

fn place(marker: &granit_parser::Marker) -> Position {
    (marker.line(), marker.col() + 1)
}

/// The parser's error in our words, because its own may quote what it read.
fn explain(error: &granit_parser::ScanError, text: &str, lines: usize) -> Error {
    use ParserError as E;
    const TAB: (&str, &str) = ("a tab, where YAML indents with spaces", "replace it with spaces");
    let mut position = place(error.marker());
    if let Some((line, column)) = template_before(text, position.0) {
        return template((line + lines, column));
    }
    let (what, help) = match error.kind() {
        E::UnexpectedEof
        | E::UnexpectedEofFlowSequence
        | E::UnexpectedEofFlowMapping
        | E::UnexpectedEofImplicitFlowMapping
        | E::UnexpectedEofBlockSequence
        | E::UnexpectedEofBlockMapping
        | E::UnclosedFlowCollection { .. }
        | E::UnclosedQuotedScalar => ("unexpected end: a quote or bracket is not closed", "close it, or restore the rest of the file"),
        E::TabNotAllowed | E::TabInBlockIndentation | E::TabInIndentation | E::TabAtBlockScalarStart => TAB,
        E::RecursionLimitExceeded => ("nested deeper than 64 levels", "no Kubernetes manifest is; check where this file comes from"),
        E::UnknownAnchor => ("an alias without its anchor", "write the value out"),
        // The parser often trips over the line before a tab.
        _ => match tab_near(text, position.0) {
            Some(tab) => {
                position = tab;
                TAB
            }
            None => ("not valid YAML", "check indentation, quotes and colons from this place upwards"),
        },
    };
    Error::bad_input(what, help).at((position.0 + lines, position.1))
}

/// The error for a template that is not rendered yet.
pub fn template(position: Position) -> Error {
    let help = "render it, and pass what comes out, such as that of `helm template CHART`";
    Error::bad_input("a template (`{{ … }}` or `{% … %}`), which is no manifest yet", help).at(position)
}

/// The delimiters of helm, Jinja and cookiecutter expressions.
pub const MARKS: [(&str, &str); 2] = [("{{", "}}"), ("{%", "%}")];

/// Whether a text is a template, and not its output.
pub fn is_template(text: &str) -> bool {
    MARKS.iter().any(|(begin, end)| text.find(begin).is_some_and(|at| text[at..].contains(end)))
}

/// The position, up to a line (from 1), of a field or an item that begins with an expression.
fn template_before(text: &str, line: usize) -> Option<Position> {
    text.lines().enumerate().take(line).find_map(|(i, line)| {
        let before =
            MARKS.iter().filter_map(|(begin, _)| line.split_once(begin)).map(|(before, _)| before).min_by_key(|before| before.len())?;
        let begins = before.trim_end().is_empty() || before.trim_end().ends_with([':', '-']);
        (begins && is_template(line)).then(|| (i + 1, before.chars().count() + 1))
    })
}

/// A tab in the indentation of this line (from 1) or the next.
fn tab_near(text: &str, line: usize) -> Option<Position> {
    let lines = text.lines().enumerate().skip(line.saturating_sub(1)).take(2);
    lines
        .map(|(i, line)| (i + 1, line.chars().take_while(|c| c.is_whitespace()).position(|c| c == '\t')))
        .find_map(|(line, column)| Some((line, column? + 1)))
}

/// Whether some YAML 1.1 or 1.2 reader takes this unquoted word for something other than text.
fn is_ambiguous(plain: &str) -> bool {
    const WORDS: &[&str] =
        &["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", "-.inf", "+.inf", ".nan", "<<", "="];
    let lower = plain.to_ascii_lowercase();
    let number = lower.bytes().next().is_some_and(|b| b.is_ascii_digit() || b"+-.".contains(&b))
        && lower.bytes().any(|b| b.is_ascii_digit())
        && lower.bytes().all(|b| b.is_ascii_hexdigit() || b"+-._:xot zTZ".contains(&b));
    // Hex digits that begin with a digit are a number only if they are decimal, octal (0o), hex (0x), binary (0b), sexagesimal, a float or
    // a timestamp: letters a-f can occur after 0x, or as one exponent `e`.
    let based = ["0x", "0o", "0b"].iter().any(|base| lower.trim_start_matches(['+', '-']).starts_with(base));
    let letters: String = lower.chars().filter(char::is_ascii_alphabetic).collect();
    WORDS.contains(&lower.as_str()) || (number && (based || matches!(letters.as_str(), "" | "e" | "t" | "z" | "tz")))
}

impl Node {
    /// Whether it is `null` or empty, which Kubernetes' tools treat as absent.
    pub fn is_absent(&self) -> bool {
        matches!(&self.value, Value::Scalar(text, Style::Plain) if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// Whether it can name a mapping's field: text, and not a merge key.
    fn check_name(&self) -> Result<()> {
        match &self.value {
            Value::Scalar(text, Style::Plain) if text.as_str() == "<<" => {
                Err(Error::bad_input("merge keys (`<<`) are not supported", "write the fields out").at(self.position))
            }
            Value::Scalar(text, style) if *style != Style::Plain || text.as_str() == "y" || text.as_str() == "n" || !is_ambiguous(text) => {
                Ok(())
            }
            _ => Err(Error::bad_input("a field's name that is not text", "quote it if it is text").at(self.position)),
        }
    }

    /// A scalar's text; empty for anything else.
    fn into_word(self) -> String {
        match self.value {
            Value::Scalar(mut text, _) => std::mem::take(&mut text),
            _ => String::new(),
        }
    }

    /// A scalar's text, even if a reader may take it for another type.
    pub fn word(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// A scalar's text, unless it is empty or `null`.
    pub fn said(&self) -> Option<&str> {
        self.word().filter(|text| !text.is_empty() && !self.is_absent())
    }

    pub fn style(&self) -> Style {
        match &self.value {
            Value::Scalar(_, style) => *style,
            _ => Style::Plain,
        }
    }

    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entries().iter().find(|(field, _)| field == name).map(|(_, node)| node)
    }

    /// The field at the end of a path of mappings.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, name| node.get(name))
    }

    /// A mapping's fields; none for anything else.
    pub fn entries(&self) -> &[(String, Node)] {
        match &self.value {
            Value::Mapping(fields) => fields,
            _ => &[],
        }
    }

    /// A sequence's items; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    pub fn is_empty_mapping(&self) -> bool {
        matches!(&self.value, Value::Mapping(fields) if fields.is_empty())
    }

    pub fn is_alias(&self) -> bool {
        matches!(self.value, Value::Alias)
    }

    /// Whether both mean the same, with the same styles.
    pub fn same_as(&self, other: &Node) -> bool {
        self.anchored == other.anchored
            && match (&self.value, &other.value) {
                (Value::Scalar(one, style), Value::Scalar(two, other)) => {
                    one == two && (*style == Style::Plain) == (*other == Style::Plain)
                }
                (Value::Sequence(one), Value::Sequence(two)) => {
                    one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.same_as(two))
                }
                (Value::Mapping(one), Value::Mapping(two)) => {
                    one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.0 == two.0 && one.1.same_as(&two.1))
                }
                (Value::Alias, Value::Alias) => true,
                _ => false,
            }
    }

    /// An error at this position; `path` is the field's full path.
    fn wrong_type(&self, path: &str, expected: &str) -> Error {
        let what = if path.is_empty() { "the document".to_owned() } else { format!("`{path}`") };
        let (found, help) = match &self.value {
            Value::Scalar(text, Style::Plain) if is_ambiguous(text) => {
                (", but some readers take this for a number, a date or a boolean", "quote it if it is text".to_owned())
            }
            Value::Scalar(..) => (", not a scalar", format!("write {expected} there")),
            Value::Sequence(_) => (", not a list", format!("write {expected} there")),
            Value::Mapping(_) => (", not a mapping", format!("write {expected} there")),
            Value::Alias => (", not an alias", format!("write {expected} there")),
        };
        Error::bad_input(format!("{what} should be {expected}{found}"), help).at(self.position)
    }

    /// Its text, which must be quoted, or a word that no reader takes for anything else.
    pub fn text(&self, path: &str) -> Result<&str> {
        match &self.value {
            Value::Scalar(text, Style::Plain) if is_template(text) => Err(template(self.position)),
            Value::Scalar(text, style) if *style != Style::Plain || !is_ambiguous(text) => Ok(text),
            _ => Err(self.wrong_type(path, "text")),
        }
    }

    /// Its boolean, which must be an unquoted `true` or `false`.
    pub fn boolean(&self, path: &str) -> Result<bool> {
        match &self.value {
            Value::Scalar(text, Style::Plain) if text.as_str() == "true" => Ok(true),
            Value::Scalar(text, Style::Plain) if text.as_str() == "false" => Ok(false),
            _ => {
                Err(Error::bad_input(format!("`{path}` should be `true` or `false`"), "write one of the two, without quotes")
                    .at(self.position))
            }
        }
    }

    /// Its number, which must be unquoted, decimal and within bounds.
    pub fn number(&self, path: &str, bounds: std::ops::RangeInclusive<u32>) -> Result<u32> {
        let decimal = |text: &str| {
            let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            canonical.then(|| text.parse::<u32>().unwrap_or(u32::MAX))
        };
        let number = match &self.value {
            Value::Scalar(text, Style::Plain) => decimal(text),
            _ => None,
        };
        number.filter(|n| bounds.contains(n)).ok_or_else(|| {
            let help = "write a number within these bounds, without quotes";
            Error::bad_input(format!("`{path}` should be a whole number from {} to {}", bounds.start(), bounds.end()), help)
                .at(self.position)
        })
    }

    pub fn list(&self, path: &str) -> Result<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Ok(items),
            _ => Err(self.wrong_type(path, "a list")),
        }
    }

    /// Its fields, if it is a mapping.
    pub fn fields<'n>(&'n self, path: &str) -> Result<Fields<'n>> {
        match &self.value {
            Value::Mapping(fields) => Ok(Fields { path: path.to_owned(), position: self.position, fields, asked: Vec::new() }),
            _ => Err(self.wrong_type(path, "a mapping")),
        }
    }
}

/// A mapping's fields. It remembers which were read, so that [`Fields::finish`] can report the unknown ones.
pub struct Fields<'n> {
    path: String,
    pub position: Position,
    fields: &'n [(String, Node)],
    asked: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The full path of a field of this mapping.
    pub fn path(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    /// A field that may be absent. `null` does not count as absent.
    pub fn optional(&mut self, field: &'static str) -> Option<&'n Node> {
        self.asked.push(field);
        self.fields.iter().find(|(name, _)| name == field).map(|(_, node)| node)
    }

    pub fn required(&mut self, field: &'static str) -> Result<&'n Node> {
        self.required_or(field, &format!("add `{field}`"))
    }

    fn required_or(&mut self, field: &'static str, help: &str) -> Result<&'n Node> {
        self.optional(field).ok_or_else(|| {
            let misspelt = self.fields.iter().find(|(name, _)| !self.asked.contains(&name.as_str()) && near(name, [field]).is_some());
            if let Some((name, node)) = misspelt {
                return Error::bad_input(format!("unknown field `{}`", self.path(name)), format!("did you mean `{field}`?"))
                    .at(node.position);
            }
            let path = self.path(field);
            Error::bad_input(format!("`{path}` is missing"), help).at(self.position)
        })
    }

    /// A required field's text; `help` says what to add if it is missing.
    pub fn text_or(&mut self, field: &'static str, help: &str) -> Result<&'n str> {
        let node = self.required_or(field, help)?;
        node.text(&self.path(field))
    }

    pub fn optional_text(&mut self, field: &'static str) -> Result<Option<&'n str>> {
        let path = self.path(field);
        self.optional(field).map(|node| node.text(&path)).transpose()
    }

    /// An optional flag; absent is `false`.
    pub fn flag(&mut self, field: &'static str) -> Result<bool> {
        let path = self.path(field);
        self.optional(field).map_or(Ok(false), |node| node.boolean(&path))
    }

    /// A required field, read by `parse`; an error gets the field's position.
    pub fn parsed<T>(&mut self, field: &'static str, parse: impl Fn(&str) -> Result<T>) -> Result<T> {
        let node = self.required(field)?;
        parsed(node, &self.path(field), parse)
    }

    /// Every field and its node, for a mapping whose names are data.
    pub fn all(&self) -> &'n [(String, Node)] {
        self.fields
    }

    /// An error if a field was not read; it suggests a similar known one.
    pub fn finish(self) -> Result<()> {
        let unknown = self.fields.iter().find(|(name, _)| !self.asked.contains(&name.as_str()));
        let Some((name, node)) = unknown else {
            return Ok(());
        };
        let help = meant(name, self.asked.iter().copied(), &format!("remove it; the known fields are {}", self.asked.join(", ")));
        Err(Error::bad_input(format!("unknown field `{}`", self.path(name)), help).at(node.position))
    }
}

/// A node's text, read by `parse`; an error gets the field's name and position.
pub fn parsed<T>(node: &Node, path: &str, parse: impl Fn(&str) -> Result<T>) -> Result<T> {
    let text = node.text(path)?;
    parse(text).map_err(|error| match is_template(text) {
        true => template(node.position),
        false => Error::new(error.kind, format!("`{path}` is {}", error.what()), error.help()).at(node.position),
    })
}

/// A value as YAML that ends with a line feed. Strings are quoted if a reader could take them for something else.
pub fn write<T: Serialize>(value: &T) -> String {
    let mut options = serde_saphyr::SerializerOptions::default();
    options.prefer_block_scalars = false;
    let mut out = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut out, value, options).expect("a document of strings, lists and mappings can be written");
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

pub fn write_all<T: Serialize>(values: &[T]) -> String {
    let texts: Vec<String> = values.iter().map(write).collect();
    texts.join("---\n")
}
