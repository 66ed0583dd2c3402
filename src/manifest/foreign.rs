//! Documents that others wrote, at any depth: inside lists, helm values, Applications, policies, and in a text that is YAML or JSON itself.
//! Every node knows what surrounds it, and where its characters are in the file.

use std::ops::Range;

use super::yaml::{self, Document, Node, Style};
use crate::model::{Error, Position};

/// How many texts may be nested: an Application's values in a ConfigMap of a chart are three.
const MOST_LAYERS: usize = 4;

/// A text with documents: the file itself, or a scalar that is one.
pub struct Layer<'a> {
    pub text: &'a str,
    /// The scalar that holds it; none for the file.
    pub within: Option<&'a Site<'a>>,
    /// For each of its bytes the place in the file. `None` for the file itself, and if it cannot be determined.
    origins: Option<Vec<Origin>>,
}

/// The source bytes of a character. White space, which YAML folds, has none.
type Origin = Option<(u32, u32)>;

/// A node, and what surrounds it.
pub struct Site<'a> {
    pub node: &'a Node,
    /// The name of the field that holds it; empty for a document or an item.
    pub field: &'a str,
    /// The mapping or list that holds it; none for a document.
    pub up: Option<&'a Site<'a>>,
    pub layer: &'a Layer<'a>,
}

/// A step of [`walk`].
pub enum Step<'s, 'a> {
    /// A node; the answer says whether to visit its content too.
    Node(&'s Site<'a>),
    /// A document of a text that cannot be read, or its text in a scalar.
    Unread { layer: &'s Layer<'a>, range: Range<usize>, error: Error },
}

/// Visits each node of a text, outermost first, including those of every text in a scalar that `is_text` accepts.
pub fn walk(text: &str, is_text: &dyn Fn(&str) -> bool, visit: &mut dyn FnMut(Step<'_, '_>) -> bool) {
    walk_documents(text, &yaml::documents(text), is_text, visit);
}

/// The same, for a text whose documents were already read.
pub fn walk_documents(text: &str, documents: &[Document], is_text: &dyn Fn(&str) -> bool, visit: &mut dyn FnMut(Step<'_, '_>) -> bool) {
    walk_layer(&Layer { text, within: None, origins: None }, documents, is_text, visit);
}

fn walk_layer(layer: &Layer<'_>, documents: &[Document], is_text: &dyn Fn(&str) -> bool, visit: &mut dyn FnMut(Step<'_, '_>) -> bool) {
    for document in documents {
        match &document.nodes {
            Ok(nodes) => nodes.iter().for_each(|node| walk_node(&Site { node, field: "", up: None, layer }, is_text, visit)),
            Err(error) => {
                let error = match layer.within {
                    Some(within) => Error::new(error.kind, error.what(), error.help()).at(within.position()),
                    None => error.clone(),
                };
                visit(Step::Unread { layer, range: document.range.clone(), error });
            }
        }
    }
}

fn walk_node(site: &Site<'_>, is_text: &dyn Fn(&str) -> bool, visit: &mut dyn FnMut(Step<'_, '_>) -> bool) {
    if !visit(Step::Node(site)) {
        return;
    }
    let within = |node, field| walk_node(&Site { node, field, up: Some(site), layer: site.layer }, is_text, visit);
    let mut within = within;
    site.node.entries().iter().for_each(|(field, node)| within(node, field));
    site.node.items().iter().for_each(|node| within(node, ""));
    let Some(text) = site.node.word().filter(|text| is_text(text)) else { return };
    let layer = Layer::of(site, text);
    match layer.depth() > MOST_LAYERS {
        true => {
            let error = Error::bad_input("too many texts inside each other", "write it as plain YAML").at(site.position());
            visit(Step::Unread { layer: &layer, range: 0..text.len(), error });
        }
        false => walk_layer(&layer, &yaml::documents(text), is_text, visit),
    }
}

impl<'a> Layer<'a> {
    /// The text of a scalar.
    pub fn of(site: &'a Site<'a>, text: &'a str) -> Self {
        Layer { text, within: Some(site), origins: origins(site.layer, site.node) }
    }

    /// The text of the file that holds it.
    pub fn file(&self) -> &'a str {
        self.within.map_or(self.text, |within| within.layer.file())
    }

    fn depth(&self) -> usize {
        self.within.map_or(0, |within| within.layer.depth() + 1)
    }

    /// The range in the file of a range of this text, from its first character to its last that is not white space; none if it cannot be
    /// determined.
    pub fn in_file(&self, range: Range<usize>) -> Option<Range<usize>> {
        match (&self.origins, self.within) {
            (Some(origins), _) => span(&origins[range]),
            (None, None) => Some(range),
            (None, Some(_)) => None,
        }
    }

    /// The range in the file of one of its scalars, without quotes, header and indentation; none if it cannot be determined.
    pub fn content(&self, node: &Node) -> Option<Range<usize>> {
        span(&origins(self, node)?)
    }
}

impl<'a> Site<'a> {
    /// Its position; inside a text, that of the text's beginning.
    pub fn position(&self) -> Position {
        self.place(self.node)
    }

    /// The same for another node of its text.
    pub fn place(&self, node: &Node) -> Position {
        self.layer.within.map_or(node.position, Site::position)
    }

    /// The mappings and lists around it, nearest first, including those around a text that holds it.
    pub fn around(&self) -> impl Iterator<Item = &Site<'a>> {
        let mut next = self.outer();
        std::iter::from_fn(move || {
            let site = next?;
            next = site.outer();
            Some(site)
        })
    }

    fn outer(&self) -> Option<&Site<'a>> {
        self.up.or(self.layer.within)
    }
}

/// The parts of a scalar's text that are at these places of the file.
pub fn parts(file: &str, node: &Node, places: &[Range<usize>]) -> Option<Vec<Range<usize>>> {
    let origins = origins(&Layer { text: file, within: None, origins: None }, node)?;
    let part = |place: &Range<usize>| {
        let is_in = |origin: &Origin| origin.is_some_and(|(begin, end)| place.start <= begin as usize && end as usize <= place.end);
        Some(origins.iter().position(is_in)?..origins.iter().rposition(is_in)? + 1)
    };
    places.iter().map(part).collect()
}

/// From the first of these characters to the last.
fn span(origins: &[Origin]) -> Option<Range<usize>> {
    let mut seen = origins.iter().flatten();
    let first = seen.next()?;
    let last = seen.next_back().unwrap_or(first);
    Some(first.0 as usize..last.1 as usize)
}

/// For each byte of a scalar's text its place in the file; none if its source does not read as that text.
fn origins(layer: &Layer<'_>, node: &Node) -> Option<Vec<Origin>> {
    let text = node.word()?;
    let mut origins = vec![None; text.len()];
    let mut left = written(&layer.text[node.range.clone()], node.style()).into_iter().filter(|(_, c)| !c.is_whitespace());
    for (at, c) in text.char_indices().filter(|(_, c)| !c.is_whitespace()) {
        let (source, found) = left.next()?;
        if found != c {
            return None;
        }
        let source = layer.in_file(node.range.start + source.start..node.range.start + source.end)?;
        let origin = Some((u32::try_from(source.start).ok()?, u32::try_from(source.end).ok()?));
        origins[at..at + c.len_utf8()].fill(origin);
    }
    Some(origins)
}

/// The characters that a scalar's source stands for, with the bytes of each.
fn written(source: &str, style: Style) -> Vec<(Range<usize>, char)> {
    let inner = source.char_indices().map(|(at, c)| (at..at + c.len_utf8(), c));
    match style {
        Style::DoubleQuoted => unescaped(source),
        Style::SingleQuoted => {
            let mut quote = false;
            // Of two consecutive quotes the second counts.
            let counts = |c: char, quote: &mut bool| {
                *quote = c == '\'' && !*quote;
                !*quote
            };
            inner.skip(1).filter(|(_, c)| counts(*c, &mut quote)).collect()
        }
        Style::Plain | Style::Block => inner.collect(),
    }
}

/// The characters of a double-quoted scalar (YAML 1.2, 5.7), with the bytes of each.
fn unescaped(source: &str) -> Vec<(Range<usize>, char)> {
    let mut found = Vec::with_capacity(source.len());
    let mut rest = source.char_indices().skip(1).peekable();
    while let Some((begin, c)) = rest.next() {
        let meant = if c == '\\' { rest.next().map_or(c, |(_, escape)| escaped(escape, &mut rest)) } else { c };
        let end = rest.peek().map_or(source.len(), |(at, _)| *at);
        found.push((begin..end, meant));
    }
    found
}

/// The character of an escape; for white space only that it is white space.
fn escaped(escape: char, rest: &mut impl Iterator<Item = (usize, char)>) -> char {
    let mut code = |digits: usize| {
        let hex: String = rest.by_ref().take(digits).map(|(_, c)| c).collect();
        u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32).unwrap_or('\u{fffd}')
    };
    match escape {
        'x' => code(2),
        'u' => code(4),
        'U' => code(8),
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'e' => '\u{1b}',
        'n' | 't' | 'v' | 'f' | 'r' | 'N' | '_' | 'L' | 'P' => ' ',
        other => other,
    }
}

/// The text with these parts, which are in order, replaced; none if two of them overlap.
pub fn spliced<'c>(text: &str, changes: impl IntoIterator<Item = (&'c Range<usize>, &'c str)>) -> Option<String> {
    let (mut after, mut done) = (String::with_capacity(text.len() + text.len() / 4), 0);
    for (range, new) in changes {
        after.push_str(text.get(done..range.start)?);
        after.push_str(new);
        done = range.end;
    }
    after.push_str(text.get(done..)?);
    Some(after)
}

/// Whether the documents of two texts are alike, as `same` compares their nodes; an unreadable document has to be the same text.
pub fn alike(old: &str, before: &[Document], new: &str, after: &[Document], same: &mut dyn FnMut(&Node, &Node) -> bool) -> bool {
    let mut is_like = |before: &Document, after: &Document| match (&before.nodes, &after.nodes) {
        (Ok(before), Ok(after)) => before.len() == after.len() && before.iter().zip(after).all(|(before, after)| same(before, after)),
        (Err(_), Err(_)) => old[before.range.clone()] == new[after.range.clone()],
        _ => false,
    };
    before.len() == after.len() && before.iter().zip(after).all(|(before, after)| is_like(before, after))
}

/// A text without its byte order mark, and that mark.
pub fn split_mark(text: &str) -> (&str, &str) {
    text.split_at(if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 })
}

/// The path of fields to a node, such as `spec.values.db`, for people.
pub fn path(site: &Site<'_>) -> String {
    let mut names: Vec<&str> =
        std::iter::once(site).chain(site.around()).map(|site| site.field).filter(|field| !field.is_empty()).collect();
    names.reverse();
    names.join(".")
}
