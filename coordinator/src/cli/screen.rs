//! Owns how answers are laid out: tables without lines for people, key and value pairs for one thing, JSON for
//! programs. All foreign text passes through here and cannot steer a terminal.
//!
//! Must not: know what is shown, or print.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use reeve_common::clock::Timestamp;
use reeve_common::text::printable;
use serde::Serialize;

use super::arguments::Format;

/// The longest text in a cell, in bytes: a reason fits, and one cell does not push the others off the screen for ever.
const CELL_LENGTH_MAX: usize = 200;

/// What stands where there is nothing to say.
const NOTHING_TO_SAY: &str = "-";

/// How whoever typed the command wants to be answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    /// Table or JSON.
    pub(super) format: Format,
    /// With the columns' names.
    pub(super) header: bool,
    /// Names alone.
    pub(super) quiet: bool,
    /// The moment that distances are told from.
    pub(super) now: Timestamp,
}

/// A column: its name, and whether it holds numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    numeric: bool,
}

/// A column of words.
pub(super) const fn words(name: &'static str) -> Column {
    Column { name, numeric: false }
}

/// A column of numbers, set flush right.
pub(super) const fn number(name: &'static str) -> Column {
    Column { name, numeric: true }
}

impl Screen {
    /// A list: a table; or JSON; or names alone.
    pub(super) fn list<T: Serialize>(
        &self,
        things: &[T],
        name: impl Fn(&T) -> String,
        columns: &[Column],
        row: impl Fn(&T) -> Vec<String>,
    ) -> String {
        if self.format == Format::Json {
            return json(&things);
        }
        if self.quiet {
            return things
                .iter()
                .map(|thing| format!("{}\n", printable(&name(thing), CELL_LENGTH_MAX)))
                .collect();
        }
        table(self.header.then_some(columns), columns, things.iter().map(row))
    }

    /// One thing: JSON; or its name alone; or what `render` makes of it.
    pub(super) fn one<T: Serialize>(
        &self,
        thing: &T,
        name: impl FnOnce(&T) -> String,
        render: impl FnOnce(&T) -> String,
    ) -> String {
        match self.format {
            Format::Json => json(thing),
            Format::Table if self.quiet => format!("{}\n", printable(&name(thing), CELL_LENGTH_MAX)),
            Format::Table => render(thing),
        }
    }
}

/// As JSON for programs. The documents hold nothing that JSON cannot say.
pub(super) fn json<T: Serialize>(thing: &T) -> String {
    let mut text =
        serde_json::to_string_pretty(thing).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"));
    text.push('\n');
    text
}

/// A table without lines. It is never wrapped: whoever pipes it wants one thing on one line.
pub(super) fn table(
    header: Option<&[Column]>,
    columns: &[Column],
    rows: impl Iterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if let Some(header) = header {
        table.set_header(header.iter().map(|column| column.name));
    }
    for row in rows {
        table.add_row(row.iter().map(|text| Cell::new(cell(text))));
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(laid_out) = table.column_mut(index) {
            laid_out.set_padding((0, 2));
            if column.numeric {
                laid_out.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    if table.row_count() == 0 && table.header().is_none() {
        return String::new();
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn cell(text: &str) -> String {
    if text.is_empty() { NOTHING_TO_SAY.to_owned() } else { printable(text, CELL_LENGTH_MAX) }
}

/// Keys and values of one thing, one on a line.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    rows: Vec<Vec<String>>,
    sections: String,
}

impl Sheet {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a key with its value.
    pub(super) fn line(mut self, key: &str, value: impl Into<String>) -> Self {
        self.rows.push(vec![format!("{key}:"), value.into()]);
        self
    }

    /// Adds a key with its value if there is one.
    pub(super) fn optional(self, key: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.line(key, value),
            None => self,
        }
    }

    /// Adds a key with one value a line; nothing when there are none.
    pub(super) fn several(mut self, key: &str, values: impl IntoIterator<Item = String>) -> Self {
        for (index, value) in values.into_iter().enumerate() {
            let key = if index == 0 { format!("{key}:") } else { " ".to_owned() };
            self.rows.push(vec![key, value]);
        }
        self
    }

    /// Adds a titled block below; nothing when its text is empty.
    pub(super) fn section(mut self, title: &str, text: &str) -> Self {
        if !text.is_empty() {
            self.sections.push_str(&format!("\n{title}:\n"));
            for line in text.lines() {
                self.sections.push_str(&format!("  {line}\n"));
            }
        }
        self
    }

    /// The whole.
    pub(super) fn render(self) -> String {
        let keys = table(None, &[words("key"), words("value")], self.rows.into_iter());
        keys + &self.sections
    }
}

/// A text, unless it says nothing.
pub(super) fn some_text(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// `yes` or `no`.
pub(super) const fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREEN: Screen = Screen { format: Format::Table, header: true, quiet: false, now: Timestamp(0) };

    fn list(screen: Screen, things: &[(&str, u32)]) -> String {
        let row = |(name, count): &(&str, u32)| vec![(*name).to_owned(), count.to_string()];
        screen.list(things, |(name, _)| (*name).to_owned(), &[words("NAME"), number("COUNT")], row)
    }

    #[test]
    fn tables_are_aligned_and_have_no_garbage() {
        let things = [("a", 5), ("a-much-longer-name", 12_345), ("", 0)];
        insta::assert_snapshot!(list(SCREEN, &things), @r"
        NAME                COUNT
        a                       5
        a-much-longer-name  12345
        -                       0
        ");
        assert_eq!(list(Screen { header: false, ..SCREEN }, &things[..1]), "a  5\n");
        assert_eq!(list(Screen { header: false, ..SCREEN }, &[]), "");
        assert_eq!(list(SCREEN, &[]), "NAME  COUNT\n");
        assert_eq!(list(Screen { quiet: true, ..SCREEN }, &things[..2]), "a\na-much-longer-name\n");
        assert_eq!(list(Screen { format: Format::Json, ..SCREEN }, &[]), "[]\n");
    }

    #[test]
    fn wide_cells_are_not_wrapped_and_foreign_text_is_harmless() {
        let wide = "x".repeat(150);
        assert_eq!(list(SCREEN, &[(&wide, 1)]).lines().count(), 2);
        let text = list(SCREEN, &[("\u{1b}[31mred\nline\u{202e}", 1)]);
        assert!(text.contains("?[31mred?line?"), "{text:?}");
        let text = list(Screen { quiet: true, ..SCREEN }, &[("\u{1b}]0;x\u{7}", 1)]);
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
