//! Owns where everything stands: which file and line gives each key its value, through all includes. The library that
//! reads HOCON keeps no positions with its values, so its syntax trees are walked here first, and what it would not
//! survive or would silently ignore is refused before it evaluates anything.
//!
//! Must not: evaluate. What a key's value is, is the library's to say.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use hocon::parser::{AstField, AstNode, Pos, parse_tokens};

use super::file::{self, Source};
use super::finding::{Excerpt, Finding, Findings, Severity};

/// Files in all; more than any configuration has realms in files of their own.
const FILES_MAX: usize = 64;
/// Files included by included files. Each costs stack in the library.
const INCLUDE_DEPTH_MAX: usize = 4;
/// Sections and lists within each other, through all files: four times what the configuration has, and far below
/// what the library's and our recursion survive on a thread's stack.
const NESTING_MAX: usize = 24;
/// Bytes of all files together, a file counted as often as it is included.
const BYTES_MAX: usize = 1 << 20;
/// Keys in all files together.
const ASSIGNMENTS_MAX: usize = 20_000;

/// A key's path from the root.
pub(super) type KeyPath = Vec<String>;

/// Where something stands; lines and columns count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A reference to another key or to the environment.
#[derive(Debug)]
pub(super) struct Substitution {
    /// What it refers to, as written.
    pub(super) target: KeyPath,
    /// The same, if it is meant relative to the place of the file's inclusion, which is tried first.
    pub(super) relative_target: KeyPath,
    pub(super) optional: bool,
    pub(super) place: Place,
}

/// One place that gives a key a value.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) path: KeyPath,
    pub(super) key_place: Place,
    pub(super) value_place: Place,
    /// Opens a section, rather than giving a value.
    pub(super) is_section: bool,
    /// Bytes of the value as written.
    pub(super) length: usize,
    pub(super) substitutions: Vec<Substitution>,
    /// `+=`, which refers to the value before.
    pub(super) appends: bool,
}

/// Everything that stands in the files.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) sources: Vec<Source>,
    pub(super) assignments: Vec<Assignment>,
    by_path: BTreeMap<KeyPath, Vec<usize>>,
    /// The file included into a section, for what is missing there.
    included: BTreeMap<KeyPath, usize>,
}

impl Outline {
    /// Reads a file and all that it includes.
    pub(super) fn read(path: &Path, findings: &mut Findings) -> Self {
        let mut walk =
            Walk { outline: Self::default(), findings, open: Vec::new(), failed: HashSet::new(), bytes: 0 };
        walk.read_file(path, &[], 0, None);
        let mut outline = walk.outline;
        for (index, assignment) in outline.assignments.iter().enumerate() {
            outline.by_path.entry(assignment.path.clone()).or_default().push(index);
        }
        outline
    }

    /// The places that give a value to exactly this key, in the order in which they are read.
    pub(super) fn at<'a>(&'a self, path: &[String]) -> impl Iterator<Item = &'a Assignment> + use<'a> {
        self.by_path.get(path).into_iter().flatten().filter_map(|index| self.assignments.get(*index))
    }

    /// All paths that have a value of their own, with where.
    pub(super) fn paths(&self) -> &BTreeMap<KeyPath, Vec<usize>> {
        &self.by_path
    }

    /// The place that decides a key's value: the last one; where it came with a larger value, that one's.
    fn deciding(&self, path: &[String]) -> Option<&Assignment> {
        let exact_or_above = (0..=path.len()).rev().filter_map(|length| path.get(..length));
        exact_or_above.filter_map(|prefix| self.at(prefix).last()).next()
    }

    /// The place of a key itself.
    pub(super) fn key_place(&self, path: &[String]) -> Option<Place> {
        self.deciding(path).map(|assignment| assignment.key_place)
    }

    /// The place of a key's value.
    pub(super) fn value_place(&self, path: &[String]) -> Option<Place> {
        self.deciding(path).map(|assignment| assignment.value_place)
    }

    /// Where what is missing in a section would have to be added: the file included there, or the section's key; for
    /// a section that is missing as well, that of the one around it.
    pub(super) fn section_place(&self, path: &[String]) -> Option<Place> {
        if let Some(file) = self.included.get(path) {
            return Some(Place { file: *file, line: 1, column: 0 });
        }
        let below = self.by_path.range(path.to_vec()..).next().filter(|(found, _)| found.starts_with(path));
        let below =
            below.and_then(|(_, indexes)| indexes.first()).and_then(|index| self.assignments.get(*index));
        match self.at(path).last().or(below) {
            Some(_) if path.is_empty() => None,
            Some(assignment) => Some(assignment.key_place),
            None => path.split_last().and_then(|(_, around)| self.section_place(around)),
        }
    }

    /// Makes a finding about a place.
    pub(super) fn finding(
        &self,
        severity: Severity,
        place: Option<Place>,
        key: &[String],
        message: String,
    ) -> Finding {
        let key = (!key.is_empty()).then(|| show_path(key));
        let place = place.unwrap_or(Place { file: 0, line: 1, column: 0 });
        let source = self.sources.get(place.file);
        let file = source.map_or_else(PathBuf::new, |source| source.path.clone());
        let line = source.and_then(|source| source.line(place.line));
        // Column 0 stands for a line that is not itself what is meant.
        let excerpt = line
            .zip(place.column.checked_sub(1))
            .map(|(line, start)| Excerpt::new(line, start, marked_length(line, start)));
        Finding { severity, file, line: Some(place.line), key, message, excerpt }
    }
}

/// How far a mark reaches that begins there: to the end of a quoted text or a substitution, or of what a person would
/// see as one word or amount.
fn marked_length(line: &str, start: usize) -> usize {
    let mut rest = line.chars().skip(start);
    let end = match rest.next() {
        Some('"') => return rest.position(|character| character == '"').map_or(1, |length| length + 2),
        Some('$') => return rest.position(|character| character == '}').map_or(1, |length| length + 2),
        Some('{' | '[') | None => return 1,
        Some(_) => rest.position(|character| matches!(character, '=' | ':' | '{' | '}' | ',' | '#' | '\r')),
    };
    let length = end.map_or_else(|| line.chars().count().saturating_sub(start), |length| length + 1);
    let marked: String = line.chars().skip(start).take(length).collect();
    let marked = marked.split("//").next().unwrap_or_default();
    marked.trim_end().chars().count().max(1)
}

/// A path as it would be written.
pub(super) fn show_path(path: &[String]) -> String {
    let is_plain = |segment: &&String| {
        !segment.is_empty()
            && segment.chars().all(|character| character.is_alphanumeric() || "-_".contains(character))
    };
    let segments =
        path.iter().map(|segment| if is_plain(&segment) { segment.clone() } else { format!("{segment:?}") });
    segments.collect::<Vec<_>>().join(".")
}

struct Walk<'a> {
    outline: Outline,
    findings: &'a mut Findings,
    /// The files being read, outermost first.
    open: Vec<PathBuf>,
    /// Files that were complained about already: included twice, they are complained about once.
    failed: HashSet<PathBuf>,
    bytes: usize,
}

/// Where the walk is.
#[derive(Clone, Copy)]
struct Position<'a> {
    file: usize,
    /// The path at which the file was included.
    root: &'a [String],
    /// The path of the section.
    path: &'a [String],
    nesting: usize,
}

impl Position<'_> {
    fn place(&self, position: &Pos) -> Place {
        Place { file: self.file, line: position.line, column: position.col }
    }
}

impl Walk<'_> {
    fn complain(&mut self, place: Option<Place>, key: &[String], message: String) {
        self.findings.push(self.outline.finding(Severity::Error, place, key, message));
    }

    /// A file, included at `path` by what stands at `place`; the first has no such place.
    fn read_file(&mut self, file: &Path, path: &[String], nesting: usize, place: Option<Place>) {
        let source = match file::read(file) {
            Ok(source) => source,
            Err(error) => return self.complain_about_file(file, path, place, &error.to_string()),
        };
        let index = self.outline.sources.len();
        self.bytes = self.bytes.saturating_add(source.text.len());
        if self.bytes > BYTES_MAX {
            let message = format!("with it there are more than {} KiB in all files", BYTES_MAX >> 10);
            return self.complain_about_file(file, path, place, &message);
        }
        let parsed = hocon::tokenize(&source.text).and_then(|tokens| parse_tokens(&tokens));
        self.outline.sources.push(source);
        if place.is_some() {
            self.outline.included.insert(path.to_vec(), index);
        }
        match parsed {
            Ok(AstNode::Object { fields, .. }) => {
                self.open.push(canonical(file));
                self.walk_fields(&fields, Position { file: index, root: path, path, nesting });
                self.open.pop();
            }
            Ok(_) => {
                let place = Place { file: index, line: 1, column: 1 };
                self.complain(
                    Some(place),
                    &[],
                    "a configuration file holds keys and sections, not a list".to_owned(),
                );
            }
            Err(error) => {
                let place = Place { file: index, line: error.line.max(1), column: error.col.max(1) };
                self.complain(Some(place), &[], format!("this is not HOCON: {}", error.message));
            }
        }
    }

    /// The first file is complained about as a file, an included one where it is included.
    fn complain_about_file(&mut self, file: &Path, path: &[String], place: Option<Place>, message: &str) {
        if !self.failed.insert(canonical(file)) {
            return;
        }
        match place {
            Some(_) => {
                self.complain(place, path, format!("{} cannot be included: {message}", file.display()))
            }
            None => self.findings.push(Finding {
                severity: Severity::Error,
                file: file.to_owned(),
                line: None,
                key: None,
                message: message.to_owned(),
                excerpt: None,
            }),
        }
    }

    fn walk_fields(&mut self, fields: &[AstField], at: Position<'_>) {
        for field in fields {
            if let AstNode::Include { path: file, is_file, pos, .. } = &field.value {
                self.include(file, *is_file, at, at.place(pos));
                continue;
            }
            let path = [at.path, &field.key].concat();
            let below = Position { path: &path, nesting: at.nesting + field.key.len(), ..at };
            if below.nesting > NESTING_MAX || self.outline.assignments.len() >= ASSIGNMENTS_MAX {
                return self.complain_about_size(at, &field.pos, below.nesting);
            }
            self.assign(field, below);
        }
    }

    fn complain_about_size(&mut self, at: Position<'_>, position: &Pos, nesting: usize) {
        let message = if nesting > NESTING_MAX {
            format!("sections lie within each other more than {NESTING_MAX} deep")
        } else {
            format!("there are more than {ASSIGNMENTS_MAX} keys; a configuration has fewer")
        };
        self.complain(Some(at.place(position)), at.path, message);
    }

    fn assign(&mut self, field: &AstField, at: Position<'_>) {
        let index = self.outline.assignments.len();
        let key_place = at.place(&field.pos);
        self.outline.assignments.push(Assignment {
            path: at.path.to_vec(),
            key_place,
            value_place: at.place(position_of(field)),
            is_section: matches!(field.value, AstNode::Object { .. }),
            length: 0,
            substitutions: Vec::new(),
            appends: field.append,
        });
        self.walk_value(&field.value, index, at);
    }

    /// What a value is made of, added to the assignment `index`; keys within it become assignments of their own.
    fn walk_value(&mut self, node: &AstNode, index: usize, at: Position<'_>) {
        match node {
            AstNode::Object { fields, .. } => self.walk_fields(fields, at),
            AstNode::Array { items, pos } => {
                let at = Position { nesting: at.nesting + 1, ..at };
                if at.nesting > NESTING_MAX {
                    return self.complain_about_size(at, pos, at.nesting);
                }
                items.iter().for_each(|item| self.walk_value(item, index, at));
            }
            AstNode::Concat { nodes, .. } => nodes.iter().for_each(|node| self.walk_value(node, index, at)),
            AstNode::Scalar { value, .. } => {
                if let Some(assignment) = self.outline.assignments.get_mut(index) {
                    assignment.length += value.raw.len();
                }
            }
            AstNode::Substitution { segments, optional, pos, .. } => {
                let target: KeyPath = segments.iter().map(|segment| segment.text.clone()).collect();
                let relative_target = [at.root, &target].concat();
                let place = at.place(pos);
                let substitution = Substitution { target, relative_target, optional: *optional, place };
                if let Some(assignment) = self.outline.assignments.get_mut(index) {
                    assignment.substitutions.push(substitution);
                }
            }
            // Stands among the fields of a section and nowhere else.
            AstNode::Include { .. } => {}
        }
    }

    fn include(&mut self, file: &str, is_file: bool, at: Position<'_>, place: Place) {
        let path = Path::new(file);
        let directory = self.outline.sources.get(at.file).and_then(|source| source.path.parent());
        let full = directory.unwrap_or(Path::new("")).join(path);
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let problem = if extension.is_empty() || extension == "properties" {
            Some("name the whole file, such as \"realms/primary.conf\"".to_owned())
        } else if is_file && path.is_relative() {
            Some(format!("write include {file:?}, which is looked for beside this file, or an absolute path"))
        } else if self.open.contains(&canonical(&full)) {
            Some("it is being included already, so that this would never end".to_owned())
        } else if self.open.len() > INCLUDE_DEPTH_MAX {
            Some(format!("files include each other more than {INCLUDE_DEPTH_MAX} deep"))
        } else if self.outline.sources.len() >= FILES_MAX {
            Some(format!("there are more than {FILES_MAX} files"))
        } else {
            None
        };
        match problem {
            Some(problem) => self.complain_about_file(&full, at.path, Some(place), &problem),
            None => self.read_file(&full, at.path, at.nesting, Some(place)),
        }
    }
}

/// The same for every way of naming a file; a file that is not there keeps its name.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Where a field's value begins. Of a section and a list the library keeps where their content begins, which is not
/// what a person would call the place: there it is the key.
fn position_of(field: &AstField) -> &Pos {
    match &field.value {
        AstNode::Object { .. } | AstNode::Array { .. } => &field.pos,
        AstNode::Scalar { pos, .. }
        | AstNode::Concat { pos, .. }
        | AstNode::Substitution { pos, .. }
        | AstNode::Include { pos, .. } => pos,
    }
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
