//! The sealed values in anyone's files: those of SealedSecrets, at any depth, and bare ones, as `kubeseal --raw` prints them. They are
//! found and replaced by byte range; the result is read again and compared with the original before it is used.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::LazyLock;

use regex::{Regex, bytes};
use zeroize::Zeroizing;

use super::foreign::{self, Layer, Site, Step, split_mark};
use super::sealed_secret::{CERTIFICATE, Template, has_blob_prefix, scope, template};
use super::yaml::{self, Node};
use super::{base64, text};
use crate::model::{CertificateDigest, Error, Hints, Name, Namespace, Position, Result, Scope, Sorted};

/// Sealed values with one binding in a text that need not be ours: those of a SealedSecret, or a bare one.
pub struct ForeignSealedSecret {
    pub kind: Kind,
    /// `metadata.name`; for a bare value the path of its field; empty if it cannot be read.
    pub name: String,
    /// `metadata.namespace`, or the only namespace that it can get.
    pub namespace: Option<String>,
    pub scope: Scope,
    /// The certificate in our annotation.
    pub certificate: Option<CertificateDigest>,
    /// The position of our annotation.
    pub mark: Option<Spot>,
    /// `spec.encryptedData`, in its order.
    pub blobs: Vec<Blob>,
    /// The labels that its values may be bound to (see [`Scope::label`]), the likeliest first. The one under which a value opens is right:
    /// opening is the proof.
    pub labels: Vec<String>,
    /// What the unsealed Secret has besides its data.
    pub template: Template,
    /// Why its values cannot be opened.
    pub fault: Option<Error>,
    /// Why its values cannot be replaced.
    pub fixed: Option<Error>,
    pub position: Position,
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    SealedSecret,
    /// A bare sealed value.
    Alone,
    /// A SealedSecret that a template makes: its values are elsewhere.
    Template,
    /// Something unreadable that may hold sealed values; [`ForeignSealedSecret::fault`] says why.
    Unread,
}

pub struct Blob {
    pub key: String,
    pub text: String,
    pub spot: Spot,
}

/// Characters of a scalar in a text.
#[derive(Clone)]
pub struct Spot {
    pub position: Position,
    /// Their bytes, without quotes, header and indentation; none if they cannot be replaced.
    content: Option<Range<usize>>,
}

impl Spot {
    /// Characters in the layer of a site; `position` is their position in its text.
    fn new(site: &Site<'_>, position: Position, content: Option<Range<usize>>) -> Self {
        let position = match (site.layer.within, &content) {
            (None, _) => position,
            (Some(_), Some(content)) => yaml::position_of(site.layer.file(), content.start),
            (Some(_), None) => site.position(),
        };
        Spot { position, content }
    }

    fn begin(&self) -> usize {
        self.content.as_ref().map_or(0, |content| content.start)
    }
}

impl ForeignSealedSecret {
    /// The label that follows from its own name, namespace and scope.
    pub fn label(&self) -> String {
        self.scope.label(self.namespace.as_deref().unwrap_or(""), &self.name)
    }

    /// `namespace/name`, or the name alone.
    pub fn full_name(&self) -> String {
        match self.kind {
            Kind::SealedSecret | Kind::Template => {
                self.namespace.as_ref().map_or(self.name.clone(), |namespace| format!("{namespace}/{}", self.name))
            }
            Kind::Alone if self.name.is_empty() => "a value by itself".to_owned(),
            Kind::Alone => format!("{} (a value by itself)", self.name),
            Kind::Unread => self.name.clone(),
        }
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    /// An empty one, found at this site.
    fn new(kind: Kind, name: String, site: Option<&Site<'_>>) -> Self {
        ForeignSealedSecret {
            kind,
            name,
            namespace: None,
            scope: Scope::Strict,
            certificate: None,
            mark: None,
            blobs: Vec::new(),
            labels: Vec::new(),
            template: Template::default(),
            fault: None,
            fixed: None,
            position: site.map_or((1, 1), Site::position),
            annotations: BTreeMap::new(),
        }
    }

    fn unread(error: Error, site: Option<&Site<'_>>) -> Self {
        ForeignSealedSecret { fault: Some(error), ..Self::new(Kind::Unread, String::new(), site) }
    }
}

/// The beginning of a sealed value: the length of an RSA ciphertext of a usual size, then base64. In JSON a slash may be escaped.
const BEGINS: &str = r"(?:A[QYgw]|BA)[A-D][A-Za-z0-9+/\\]{37}";

/// What a file with sealed values contains: a SealedSecret, or such a beginning.
static EITHER: LazyLock<bytes::Regex> =
    LazyLock::new(|| bytes::Regex::new(&format!("SealedSecret|{BEGINS}")).expect("it is a regular expression"));

/// The same in a file's bytes, where an escape may precede it.
static ANYWHERE: LazyLock<bytes::Regex> = LazyLock::new(|| bytes::Regex::new(BEGINS).expect("it is a regular expression"));

/// The same in a text, but not inside a longer word, such as a public key.
static AS_A_WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!(r"(?:^|[^A-Za-z0-9+/]|\\[nrt]){BEGINS}")).expect("it is a regular expression"));

/// A run of base64 that is long enough to be a sealed value.
static RUN: LazyLock<Regex> = LazyLock::new(|| Regex::new("[A-Za-z0-9+/]{364,}={0,2}").expect("it is a regular expression"));

/// Whether a file's bytes, or a part of them, may hold sealed values.
pub fn may_hold(bytes: &[u8]) -> bool {
    EITHER.is_match(bytes)
}

/// Whether bytes of any kind hold a sealed value, on one line or broken into lines.
pub fn holds(bytes: &[u8]) -> bool {
    const LEAST: usize = 60;
    let broken = |text: &str| text.find(|c| !is_base64(c)).is_some_and(|end| end >= LEAST && text[end..].starts_with(['\r', '\n', '\\']));
    ANYWHERE.is_match(bytes) && {
        let text = String::from_utf8_lossy(bytes);
        RUN.find_iter(&text).any(|run| is_blob(run.as_str())) || begins(&text).any(|at| broken(&text[at..]))
    }
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '+' || c == '/'
}

/// Where a word of a text begins like a sealed value. A line that continues the base64 of the previous line, as in a certificate, does not
/// count.
fn begins(text: &str) -> impl Iterator<Item = usize> {
    const LENGTH: usize = 40;
    let goes_on = |at: usize| {
        let before = text[..at].trim_end_matches([' ', '\t']);
        let line = before.ends_with('\n').then(|| before.trim_end());
        line.is_some_and(|line| line.len() >= LENGTH && line.chars().rev().take(LENGTH).all(is_base64))
    };
    AS_A_WORD.find_iter(text).map(|found| found.end() - LENGTH).filter(move |at| !goes_on(*at))
}

/// Whether a text is a sealed value: base64 of the length of an RSA ciphertext, that ciphertext, and an AES-GCM ciphertext with its tag
/// (sealed-secrets `pkg/crypto/crypto.go`).
pub fn is_blob(text: &str) -> bool {
    shape(text).is_some_and(|(rsa, rest)| matches!(rsa, 256 | 384 | 512 | 768 | 1024) && rest >= 16)
}

/// The lengths of the two parts of a sealed value: the RSA ciphertext, and the AES-GCM one with its tag.
pub fn shape(blob: &str) -> Option<(usize, usize)> {
    let bytes = base64::decode(blob).ok()?;
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let rsa = usize::from(u16::from_be_bytes(*length));
    Some((rsa, rest.len().checked_sub(rsa)?))
}

/// All sealed values of a text, at any depth, in order; none is not an error.
pub fn find(text: &str, hints: &Hints) -> Vec<ForeignSealedSecret> {
    let (_, body) = split_mark(text);
    let mut found = Vec::new();
    if text::says_nothing(body) {
        return found;
    }
    let is_text = |text: &str| is_document(text) && may_hold(text.as_bytes());
    foreign::walk(body, &is_text, &mut |step| match step {
        Step::Node(site) if is_sealed_secret(site.node) => {
            found.extend(read(site, hints));
            true
        }
        Step::Node(site) if site.node.word().is_some() => !of_sealed_secret(site) && !alone(site, hints, &mut found),
        Step::Node(_) => true,
        Step::Unread { layer, range, error } => {
            unread(layer, range, error, hints, &mut found);
            false
        }
    });
    found.extend(missed(body, &found));
    found
}

/// The first beginning of a sealed value outside of those that were found: in a comment, a field's name, an expression.
fn missed(body: &str, found: &[ForeignSealedSecret]) -> Option<ForeignSealedSecret> {
    let spots = found.iter().flat_map(|one| &one.blobs).map(|blob| blob.spot.content.clone());
    let mut spots = spots.collect::<Option<Vec<_>>>().filter(|_| found.iter().all(|one| one.fault.is_none()))?;
    spots.sort_by_key(|spot| spot.start);
    let known = |at: usize| {
        let before = spots.partition_point(|spot| spot.start <= at);
        before.checked_sub(1).is_some_and(|last| spots[last].contains(&at))
    };
    let at = begins(body).find(|at| !known(*at))?;
    let what = "what looks like a sealed value stands where no value is read, as in a comment, a field's name or an expression";
    let error = Error::bad_input(what, "remove it, or write it as a value of its own").at(yaml::position_of(body, at));
    Some(ForeignSealedSecret::unread(error, None))
}

/// Whether it is a SealedSecret, or one without a kind, such as the items of a SealedSecretList.
fn is_sealed_secret(node: &Node) -> bool {
    let word = |name: &str| node.get(name).and_then(Node::word);
    let is = word("kind") == Some("SealedSecret") && word("apiVersion").is_some_and(|version| version.starts_with("bitnami.com/"));
    is || node.at(&["spec", "encryptedData"]).is_some_and(|data| !data.entries().is_empty())
}

/// Whether a value was already read with its SealedSecret.
fn of_sealed_secret(site: &Site<'_>) -> bool {
    let of = |spec: Option<&Site<'_>>| {
        let spec = spec.filter(|spec| spec.field == "spec");
        spec.and_then(|spec| spec.up).is_some_and(|one| is_sealed_secret(one.node))
    };
    let data = site.up.filter(|data| data.field == "encryptedData");
    // `spec.data` was the format before v0.2.
    of(data.and_then(|data| data.up)) || site.field == "data" && of(site.up)
}

/// Whether a scalar's text can be a document.
fn is_document(text: &str) -> bool {
    text.trim().contains('\n') || text.trim_start().starts_with(['{', '[', '"', '\''])
}

/// Tries a scalar as a bare sealed value, or as a text that contains some; returns whether it was one.
fn alone(site: &Site<'_>, hints: &Hints, found: &mut Vec<ForeignSealedSecret>) -> bool {
    let text = site.node.word().unwrap_or_default();
    if begins(text).next().is_none() {
        return false;
    }
    let joined: String = text.split_whitespace().collect();
    if is_blob(&joined) {
        let spot = Spot::new(site, site.node.position, site.layer.content(site.node));
        let mut one = one_alone(site, hints, &joined, spot);
        if base64::decode(text).is_err() {
            one.fault = Some(white_space(one.position));
        }
        found.push(one);
        return true;
    }
    !is_document(text) && tokens(site, text, 0, hints, found)
}

/// Adds the sealed values among other characters of a scalar's text, which begins at `begin` in its layer; returns whether there are any.
fn tokens(site: &Site<'_>, text: &str, begin: usize, hints: &Hints, found: &mut Vec<ForeignSealedSecret>) -> bool {
    let before = found.len();
    let inner = Layer::of(site, site.node.word().unwrap_or_default());
    for token in RUN.find_iter(text).filter(|token| is_blob(token.as_str())) {
        let content = inner.in_file(begin + token.start()..begin + token.end());
        let spot = Spot::new(site, site.node.position, content);
        found.push(one_alone(site, hints, token.as_str(), spot));
    }
    found.len() > before
}

/// Adds what is known about an unreadable document: its recognizable values, or that there may be some.
fn unread(layer: &Layer<'_>, range: Range<usize>, error: Error, hints: &Hints, found: &mut Vec<ForeignSealedSecret>) {
    let text = &layer.text[range.clone()];
    let holds = begins(text).next().is_some();
    let Some(site) = layer.within else {
        // A template without a sealed value has none to lose.
        if holds || text.contains("SealedSecret") && !text::says_nothing(text) && !yaml::is_template(text) {
            found.push(ForeignSealedSecret::unread(error, None));
        }
        return;
    };
    if holds && !tokens(site, text, range.start, hints, found) {
        found.push(ForeignSealedSecret::unread(error, Some(site)));
    }
}

fn one_alone(site: &Site<'_>, hints: &Hints, text: &str, spot: Spot) -> ForeignSealedSecret {
    ForeignSealedSecret {
        position: spot.position,
        fixed: spot.content.is_none().then(|| elsewhere(spot.position)),
        blobs: vec![Blob { key: site.field.to_owned(), text: text.to_owned(), spot }],
        labels: Surroundings::of(site).labels(None, hints),
        ..ForeignSealedSecret::new(Kind::Alone, foreign::path(site), Some(site))
    }
}

fn white_space(position: Position) -> Error {
    let help = "write it on one line, or as a literal block (`|`), not a folded one (`>`)";
    Error::cryptography("a sealed value does not open: it has white space inside, as a folded scalar leaves it", help).at(position)
}

/// Reads a SealedSecret; none if it has no sealed value, as in a template.
fn read(site: &Site<'_>, hints: &Hints) -> Option<ForeignSealedSecret> {
    let (node, layer) = (site.node, site.layer);
    let word = |path: &[&str]| node.at(path).and_then(Node::word);
    let all = node.at(&["metadata", "annotations"]).map(Node::entries).unwrap_or_default();
    let annotations: BTreeMap<String, String> =
        all.iter().filter_map(|(name, node)| Some((name.clone(), node.word()?.to_owned()))).sorted();
    let mut found = ForeignSealedSecret {
        scope: scope(|name| annotations.get(name).map(String::as_str)),
        certificate: annotations.get(CERTIFICATE).and_then(|text| CertificateDigest::parse(text).ok()),
        fault: hidden(node),
        fixed: shared(node),
        template: template(node.at(&["spec", "template"])),
        ..ForeignSealedSecret::new(Kind::SealedSecret, word(&["metadata", "name"]).unwrap_or("").to_owned(), Some(site))
    };
    let spot = |node: &Node| Spot::new(site, node.position, layer.content(node));
    let mut templated = None;
    for (key, node) in node.at(&["spec", "encryptedData"]).map(Node::entries).unwrap_or_default() {
        let text = node.word().unwrap_or(&layer.text[node.range.clone()]);
        if yaml::is_template(text) && begins(text).next().is_none() {
            templated = templated.or(Some(node.position));
            continue;
        }
        // Go's base64, and so the controller, skips line breaks.
        let blob = text.replace(['\r', '\n'], "");
        let spot = spot(node);
        found.fault = found.fault.take().or_else(|| not_sealed(key, &blob, spot.position));
        found.blobs.push(Blob { key: key.clone(), text: blob, spot });
    }
    if let Some(position) = templated.filter(|_| found.blobs.is_empty()) {
        (found.kind, found.fault) = (Kind::Template, Some(yaml::template(position)));
    }
    let mark = all.iter().find(|(name, _)| name == CERTIFICATE);
    found.mark = mark.map(|(_, node)| spot(node));
    let mut spots = found.blobs.iter().map(|blob| &blob.spot).chain(&found.mark);
    let lost = spots.find(|spot| spot.content.is_none()).map(|spot| elsewhere(spot.position));
    found.fixed = found.fixed.take().or(lost);
    let surroundings = Surroundings::of(site);
    let own = word(&["metadata", "namespace"]).map(str::to_owned);
    found.namespace = own.or_else(|| surroundings.namespace(hints));
    found.labels = surroundings.labels(Some(&found), hints);
    found.annotations = annotations;
    (!found.blobs.is_empty() || found.fault.is_some()).then_some(found)
}

/// Why the text in the place of a sealed value is not one.
fn not_sealed(key: &str, blob: &str, position: Position) -> Option<Error> {
    if yaml::is_template(blob) {
        return Some(yaml::template(position));
    }
    if blob.contains(char::is_whitespace) {
        return Some(white_space(position));
    }
    (!has_blob_prefix(blob)).then(|| {
        let help = "seal it with kubeseal; if this is a secret in the clear, treat it as exposed: replace it, and remove it from git";
        Error::refused(format!("`spec.encryptedData.{key}` is not a sealed value: it may be plaintext"), help).at(position)
    })
}

/// The mappings of a SealedSecret.
fn parts(node: &Node) -> Vec<&Node> {
    let paths: [&[&str]; 7] = [
        &[],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "annotations"],
        &["spec"],
        &["spec", "encryptedData"],
    ];
    paths.iter().filter_map(|path| node.at(path)).collect()
}

/// Why the values of a SealedSecret cannot be read.
fn hidden(node: &Node) -> Option<Error> {
    let parts = parts(node);
    let values = node.at(&["spec", "encryptedData"]).map(Node::entries).unwrap_or_default().iter().map(|(_, value)| value);
    if let Some(place) = parts.into_iter().chain(values).find(|part| part.is_alias() || part.get("<<").is_some()) {
        let what = "this SealedSecret uses a YAML alias or merge key";
        return Some(Error::bad_input(what, "write it out, without `*` and `<<`").at(place.position));
    }
    let old = node.at(&["spec", "data"]).filter(|old| !old.is_absent())?;
    let help = "seal the value again, or let kubeseal convert it";
    Some(Error::bad_input("`spec.data`, the format before v0.2, is not supported", help).at(old.position))
}

/// Why the values of a SealedSecret cannot be replaced alone: an alias elsewhere repeats one.
fn shared(node: &Node) -> Option<Error> {
    let parts = parts(node);
    let values = parts.iter().flat_map(|part| part.entries()).map(|(_, value)| value);
    let shared = values.filter(|value| value.word().is_some()).find(|value| value.anchored && !is_of_metadata(node, value));
    let place = shared.or_else(|| parts.iter().copied().find(|part| part.anchored && !part.entries().is_empty()))?;
    Some(Error::bad_input("a YAML anchor repeats a part of this SealedSecret", "write it out, without `&`").at(place.position))
}

/// The template often repeats an anchored name, which is not replaced.
fn is_of_metadata(node: &Node, value: &Node) -> bool {
    node.get("metadata").is_some_and(|metadata| metadata.entries().iter().any(|(_, one)| one.range.start == value.range.start))
}

/// How many names, and how many namespaces, are tried.
const MOST_TRIED: usize = 8;

/// The names and namespaces around sealed values, the nearest first.
struct Surroundings {
    names: Vec<String>,
    namespaces: Vec<String>,
}

impl Surroundings {
    fn of(site: &Site<'_>) -> Self {
        let (mut names, mut namespaces) = (Vec::new(), Vec::new());
        for around in site.around() {
            let nested = ["metadata", "destination", "spec", "global"].iter().filter_map(|field| around.node.get(field));
            for (field, value) in std::iter::once(around.node).chain(nested).flat_map(Node::entries) {
                let (field, Some(word)) = (field.to_ascii_lowercase(), value.word()) else { continue };
                match () {
                    () if field.ends_with("namespace") => namespaces.push(word.to_owned()),
                    () if field.ends_with("name") => names.push(word.to_owned()),
                    () => {}
                }
            }
            names.push(around.field.to_owned());
        }
        Surroundings { names, namespaces }
    }

    /// The namespace for values without one: the given one, the nearest, or the only one that a kustomization sets.
    fn namespace(&self, hints: &Hints) -> Option<String> {
        let only = || hints.namespaces.first().filter(|_| hints.namespaces.len() == 1);
        hints.namespace.as_ref().map(ToString::to_string).or_else(|| self.namespaces.first().or_else(only).cloned())
    }

    /// The labels to try, beginning with the one that a SealedSecret names.
    fn labels(&self, one: Option<&ForeignSealedSecret>, hints: &Hints) -> Vec<String> {
        let (given, own) = (hints.name.as_ref().map(Name::as_str), one.map(|one| one.name.as_str()));
        // A SealedSecret has its name; only its namespace may be set elsewhere.
        let others = self.names.iter().map(String::as_str).filter(|_| one.is_none());
        let names = distinct(given.into_iter().chain(own).chain(others));
        let (given, own) = (hints.namespace.as_ref().map(Namespace::as_str), one.and_then(|one| one.namespace.as_deref()));
        let others = self.namespaces.iter().chain(&hints.namespaces).map(String::as_str);
        let namespaces = distinct(given.into_iter().chain(own).chain(others));
        let mut labels: Vec<String> = one.map(ForeignSealedSecret::label).into_iter().collect();
        let scopes = match (hints.scope, one) {
            (Some(scope), _) => vec![scope],
            (None, Some(one)) => vec![one.scope],
            (None, None) => vec![Scope::Strict, Scope::NamespaceWide, Scope::ClusterWide],
        };
        for scope in scopes {
            let of = |name: &'_ str| namespaces.iter().map(|namespace| scope.label(namespace, name)).collect::<Vec<_>>();
            match scope {
                Scope::Strict => labels.extend(names.iter().flat_map(|name| of(name))),
                Scope::NamespaceWide => labels.extend(of("")),
                Scope::ClusterWide => labels.push(String::new()),
            }
        }
        let mut seen = BTreeSet::new();
        labels.retain(|label| seen.insert(label.clone()));
        labels
    }
}

/// The first few of these that could be names.
fn distinct<'s>(words: impl Iterator<Item = &'s str>) -> Vec<&'s str> {
    let mut seen = BTreeSet::new();
    words.filter(|word| !word.is_empty() && word.len() <= 253 && seen.insert(*word)).take(MOST_TRIED).collect()
}

fn elsewhere(position: Position) -> Error {
    Error::bad_input("this value cannot be replaced without changing something else", "write it on one line, as plain text or in quotes")
        .at(position)
}

/// The text with these characters replaced, for people; those that cannot be replaced stay.
pub fn shown(text: &str, mut replacements: Vec<(&Spot, Zeroizing<String>)>) -> String {
    let (mark, body) = split_mark(text);
    replacements.sort_by_key(|(spot, _)| spot.begin());
    let placed = replacements.iter().filter_map(|(spot, new)| Some((spot.content.as_ref()?, new.as_str())));
    foreign::spliced(body, placed).map_or(text.to_owned(), |shown| format!("{mark}{shown}"))
}

/// The text with these characters replaced and nothing else changed: no other byte, and not the meaning of any other scalar.
pub fn replace(text: &str, mut replacements: Vec<(Spot, String)>) -> Result<String> {
    let (mark, body) = split_mark(text);
    replacements.sort_by_key(|(spot, _)| spot.begin());
    let Some((first, _)) = replacements.first() else { return Ok(text.to_owned()) };
    let place = |(spot, _): &(Spot, String)| spot.content.clone().ok_or_else(|| elsewhere(spot.position));
    let places = replacements.iter().map(place).collect::<Result<Vec<_>>>()?;
    let replaced = foreign::spliced(body, places.iter().zip(replacements.iter().map(|(_, new)| new.as_str())));
    let replaced = replaced.ok_or_else(|| elsewhere(first.position))?;
    let mut left = Left { body, replacements: &replacements };
    let (before, after) = (yaml::documents(body), yaml::documents(&replaced));
    let same = foreign::alike(body, &before, &replaced, &after, &mut |old, new| left.differ_only(old, new));
    if same && left.replacements.is_empty() { Ok(format!("{mark}{replaced}")) } else { Err(elsewhere(first.position)) }
}

/// The replacements that were not found yet, in the order of the text.
struct Left<'r> {
    body: &'r str,
    replacements: &'r [(Spot, String)],
}

impl Left<'_> {
    /// Whether `after` means the same as `before`, except for the next replacements in it.
    fn differ_only(&mut self, before: &Node, after: &Node) -> bool {
        if let (Some(old), Some(new)) = (before.word(), after.word()) {
            let range = &before.range;
            let inside = self.replacements.iter().take_while(|(spot, _)| range.contains(&spot.begin()));
            let (here, later) = self.replacements.split_at(inside.count());
            self.replacements = later;
            let replaced = || before.anchored == after.anchored && self.is_replaced(before, old, new, here);
            return if here.is_empty() { before.same_as(after) } else { replaced() };
        }
        let (old, new) = (before.entries(), after.entries());
        if !old.is_empty() {
            return old.len() == new.len() && old.iter().zip(new).all(|(old, new)| old.0 == new.0 && self.differ_only(&old.1, &new.1));
        }
        let (old, new) = (before.items(), after.items());
        if !old.is_empty() {
            return old.len() == new.len() && old.iter().zip(new).all(|(old, new)| self.differ_only(old, new));
        }
        before.same_as(after)
    }

    /// Whether a scalar's text is the old one with these replacements. White space may be folded differently.
    fn is_replaced(&self, node: &Node, old: &str, new: &str, replacements: &[(Spot, String)]) -> bool {
        let places: Vec<Range<usize>> = replacements.iter().filter_map(|(spot, _)| spot.content.clone()).collect();
        let Some(parts) = foreign::parts(self.body, node, &places) else { return false };
        let (mut expected, mut done) = (String::new(), 0);
        for (part, (_, text)) in parts.iter().zip(replacements) {
            let Some(between) = old.get(done..part.start) else { return false };
            expected.push_str(between);
            expected.push_str(text);
            done = part.end;
        }
        expected.push_str(&old[done..]);
        let words = |text: &str| text.split_whitespace().collect::<String>();
        words(new) == words(&expected)
    }
}
