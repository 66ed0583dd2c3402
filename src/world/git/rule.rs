//! One line of a `.gitignore`, if it is beyond doubt how git reads it (gitignore(5), and `dir.c` and `wildmatch.c` of git).

/// How many `*` a name in a pattern may have: each multiplies the comparison's time.
const MOST_STARS: usize = 2;

pub(super) struct Rule {
    pub(super) ignores: bool,
    /// None if git may read it in another way than we do.
    pattern: Option<Pattern>,
}

struct Pattern {
    folders_only: bool,
    /// Names, in which `*` is any text; `**` is any number of names.
    names: Vec<Vec<u8>>,
}

/// The rules of a file, in its order.
pub(super) fn read(text: &[u8]) -> Vec<Rule> {
    let bare = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // Not every git version knows a byte order mark, so its line is not judged.
    let marked = bare.len() < text.len();
    let lines = bare.split_inclusive(|&byte| byte == b'\n');
    // git treats CRLF like LF.
    let lines = lines.map(|line| line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(line));
    lines.enumerate().filter_map(|(i, line)| rule(line, !(marked && i == 0))).collect()
}

fn rule(line: &[u8], judged: bool) -> Option<Rule> {
    // git strips spaces, but no other white space.
    let end = line.iter().rposition(|&byte| byte != b' ')? + 1;
    let line = &line[..end];
    let (ignores, text) = line.strip_prefix(b"!").map_or((true, line), |text| (false, text));
    (line[0] != b'#' || !judged).then(|| Rule { ignores, pattern: judged.then(|| pattern(text, ignores)).flatten() })
}

/// A pattern of plain names. `core.ignoreCase` makes git match more, which is taken into account for un-ignoring.
fn pattern(text: &[u8], ignores: bool) -> Option<Pattern> {
    let folders_only = text.ends_with(b"/");
    let text = text.strip_suffix(b"/").unwrap_or(text);
    let anchored = text.contains(&b'/');
    let mut names: Vec<Vec<u8>> = text.strip_prefix(b"/").unwrap_or(text).split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect();
    let deep = names.iter().filter(|name| *name == b"**").count();
    if deep > 1 || !names.iter().all(|name| name == b"**" || is_plain(name)) {
        return None;
    }
    if !ignores {
        names.iter_mut().for_each(|name| name.make_ascii_lowercase());
    }
    match (anchored, deep) {
        (true, _) => {}
        // The pattern is `**` alone.
        (false, 1) => names = vec![b"**".to_vec()],
        (false, _) => names.insert(0, b"**".to_vec()),
    }
    Some(Pattern { folders_only, names })
}

fn is_plain(name: &[u8]) -> bool {
    let known = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
    let stars = name.iter().filter(|&&byte| byte == b'*').count();
    !name.is_empty() && name.iter().all(known) && stars <= MOST_STARS && !name.windows(2).any(|pair| pair == b"**")
}

impl Rule {
    /// Whether it matches a path relative to its file's folder. A rule that cannot be judged ignores nothing, and un-ignores everything.
    pub(super) fn matches(&self, path: &[&[u8]], is_folder: bool) -> bool {
        let Some(pattern) = &self.pattern else { return !self.ignores };
        if !is_folder && pattern.folders_only {
            return false;
        }
        if self.ignores {
            return leads_to(&pattern.names, path);
        }
        let lower: Vec<Vec<u8>> = path.iter().map(|name| name.to_ascii_lowercase()).collect();
        leads_to(&pattern.names, &lower.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// An unknown rule: it ignores nothing, and un-ignores everything.
    pub(super) fn unknown() -> Self {
        Rule { ignores: false, pattern: None }
    }
}

fn leads_to(names: &[Vec<u8>], path: &[&[u8]]) -> bool {
    match (names, path) {
        ([], path) => path.is_empty(),
        ([name], path) if name == b"**" => !path.is_empty(),
        ([name, rest @ ..], path) if name == b"**" => (0..path.len()).any(|skipped| leads_to(rest, &path[skipped..])),
        ([name, names @ ..], [first, path @ ..]) => is_like(name, first) && leads_to(names, path),
        (_, []) => false,
    }
}

fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.iter().position(|&byte| byte == b'*') {
        None => pattern == name,
        Some(star) => {
            let rest = |from: usize| is_like(&pattern[star + 1..], &name[from..]);
            name.starts_with(&pattern[..star]) && (star..=name.len()).any(rest)
        }
    }
}
