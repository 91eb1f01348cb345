//! Owns where things stand: files read so far, lines and columns in them, paths of keys, and findings made about them.
//!
//! Must not: read files or know what stands there.

use std::path::PathBuf;

use super::file::Source;
use super::finding::{Excerpt, Finding, Severity};

/// A key's path from the root.
pub(super) type KeyPath = Vec<String>;

/// Where something stands; lines and columns count from 1. Column 0 stands for a file as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    /// A file as a whole.
    pub(super) const fn whole(file: usize) -> Self {
        Self { file, line: 1, column: 0 }
    }
}

/// The files, in the order in which they were read; the first is the one that was asked for.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<Source>);

impl Sources {
    /// Adds a file and returns its number.
    pub(super) fn add(&mut self, source: Source) -> usize {
        self.0.push(source);
        self.0.len() - 1
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, file: usize) -> Option<&Source> {
        self.0.get(file)
    }

    /// What is written at a place, to the end of its line.
    pub(super) fn written_at(&self, place: Place) -> Option<String> {
        let line = self.get(place.file)?.line(place.line)?;
        Some(line.chars().skip(place.column.checked_sub(1)?).collect())
    }

    /// Makes a finding about a place.
    pub(super) fn finding(
        &self,
        severity: Severity,
        place: Place,
        key: &[String],
        message: String,
    ) -> Finding {
        let key = (!key.is_empty()).then(|| show_path(key));
        let source = self.get(place.file);
        let file = source.map_or_else(PathBuf::new, |source| source.path.clone());
        let line = source.and_then(|source| source.line(place.line));
        let marked = line.zip(place.column.checked_sub(1));
        let excerpt = marked.map(|(line, start)| Excerpt::new(line, start, marked_length(line, start)));
        let column = (place.column > 0).then_some(place.column);
        Finding { severity, file, line: Some(place.line), column, key, message, excerpt }
    }
}

/// How far a mark reaches that begins there: to the end of a quoted text, or of what a person would see as one word,
/// amount or substitution.
fn marked_length(line: &str, start: usize) -> usize {
    let rest: Vec<char> = line.chars().skip(start).collect();
    let quoted_end = |rest: &[char]| rest.iter().skip(1).position(|character| *character == '"');
    match rest.first() {
        Some('"') => return quoted_end(&rest).map_or(1, |length| length + 2),
        Some('{' | '[') | None => return 1,
        Some(_) => {}
    }
    let (mut length, mut last_visible, mut is_in_substitution) = (0, 0, false);
    for (index, character) in rest.iter().enumerate() {
        let begins_comment = *character == '#' || (*character == '/' && rest.get(index + 1) == Some(&'/'));
        match character {
            '{' if index > 0 && rest.get(index - 1) == Some(&'$') => is_in_substitution = true,
            '}' if is_in_substitution => is_in_substitution = false,
            '=' | ':' | '{' | '}' | ',' | '\r' => break,
            _ if begins_comment => break,
            _ => {}
        }
        length = index + 1;
        if !character.is_whitespace() {
            last_visible = length;
        }
    }
    last_visible.min(length).max(1)
}

/// A path as it would be written.
pub(super) fn show_path(path: &[String]) -> String {
    let is_plain = |segment: &str| {
        !segment.is_empty()
            && segment.chars().all(|character| character.is_alphanumeric() || "-_".contains(character))
    };
    let segments =
        path.iter().map(|segment| if is_plain(segment) { segment.clone() } else { format!("{segment:?}") });
    segments.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_covers_what_is_meant() {
        for (line, start, marked) in [
            ("poll-frequency = 30 fortnights # often", 17, "30 fortnights"),
            ("driver = \"xen, or so\", x = 1", 9, "\"xen, or so\""),
            ("a { b = 7 }", 8, "7"),
            ("realms {", 0, "realms"),
            ("x = 1 // one", 4, "1"),
            ("\"", 0, "\""),
            ("a = ${b.c} # d", 4, "${b.c}"),
            ("a = 5 ${b.c} x { y", 4, "5 ${b.c} x"),
        ] {
            let length = marked_length(line, start);
            assert_eq!(line.chars().skip(start).take(length).collect::<String>(), marked, "{line}");
        }
    }

    #[test]
    fn a_path_is_shown_as_it_would_be_written() {
        let path = ["realms", "a.b", "", "drives"].map(str::to_owned);
        assert_eq!(show_path(&path), r#"realms."a.b"."".drives"#);
    }
}
