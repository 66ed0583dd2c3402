//! Colors the words that say how good or bad something is. The words stay, so nothing is lost without color.

use std::time::Duration;

use super::World;
use super::terminal::Terminal;
use crate::model::Result;

const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const CYAN: u8 = 36;

/// Words that a line of a report may begin with.
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
    /// Finds out what the terminal can show. Words are colored if asked, or else if a person reads, unless `NO_COLOR` is set
    /// (no-color.org). A terminal without control sequences (`TERM`) shows neither color nor progress.
    pub fn know_terminal(&mut self, colors: Option<bool>) {
        let set = |name: &str| (self.variable)(name).unwrap_or_default();
        let (is_dumb, plain) = (matches!(set("TERM").as_str(), "" | "dumb"), !set("NO_COLOR").is_empty());
        let terminal = &mut self.terminal;
        let colored = |is_terminal: bool| colors.unwrap_or(is_terminal && !plain && !is_dumb);
        (terminal.stdout_colors, terminal.stderr_colors) = (colored(terminal.stdout_is_terminal), colored(terminal.stderr_is_terminal));
        if is_dumb {
            terminal.progress.patience = Duration::MAX;
        }
    }
}

impl Terminal {
    /// A result for people, to standard output.
    pub fn print_report(&mut self, text: &str) -> Result<()> {
        if self.stdout_colors { self.print(&colored(text)) } else { self.print(text) }
    }
}

/// The text with color (ECMA-48, SGR). Text of others cannot add any: its control characters are always escaped.
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
