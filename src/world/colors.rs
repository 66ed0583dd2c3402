//! Color for the words that say how good or bad something is. The words stay, so nothing is lost without it.

use super::World;
use super::terminal::Terminal;
use crate::model::Result;

const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const CYAN: u8 = 36;

/// What a line of a report may begin with.
const WORDS: [(&str, u8); 12] = [
    ("error:", RED),
    ("error[", RED),
    ("failed:", RED),
    ("BAD ", RED),
    ("warning:", YELLOW),
    ("warning[", YELLOW),
    ("warn ", YELLOW),
    ("good:", GREEN),
    ("passed:", GREEN),
    ("done:", GREEN),
    ("ok ", GREEN),
    ("help:", CYAN),
];

impl World {
    /// As asked; or else where a person reads, in a terminal of some kind (`TERM`), unless `NO_COLOR` is set (no-color.org).
    pub fn choose_colors(&mut self, asked: Option<bool>) {
        let set = |name: &str| (self.variable)(name).unwrap_or_default();
        let plain = !set("NO_COLOR").is_empty() || matches!(set("TERM").as_str(), "" | "dumb");
        let terminal = &mut self.terminal;
        terminal.stdout_colors = asked.unwrap_or(terminal.stdout_is_terminal && !plain);
        terminal.stderr_colors = asked.unwrap_or(terminal.stderr_is_terminal && !plain);
    }
}

impl Terminal {
    /// A result for people, to standard output.
    pub fn print_report(&mut self, text: &str) -> Result<()> {
        if self.stdout_colors { self.print(&colored(text)) } else { self.print(text) }
    }
}

/// The text with color (ECMA-48, SGR). What others wrote can add none: it is always shown with its control characters escaped.
pub(super) fn colored(text: &str) -> String {
    text.split_inclusive('\n').map(colored_line).collect()
}

fn colored_line(line: &str) -> String {
    let (indent, text) = line.split_at(line.len() - line.trim_start_matches(' ').len());
    let Some((word, color)) = WORDS.iter().find(|(word, _)| text.starts_with(word)) else { return line.to_owned() };
    // `error[unit-missing]` up to its bracket.
    let length = if word.ends_with('[') { text.find(']').map_or(word.len(), |end| end + 1) } else { word.trim_end().len() };
    let (word, rest) = text.split_at(length);
    format!("{indent}\u{1b}[1;{color}m{word}\u{1b}[0m{rest}")
}
