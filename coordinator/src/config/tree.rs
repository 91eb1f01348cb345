//! Owns what is written: every place that gives a key something, through all includes, in the order of reading. The
//! library parses the text; it keeps no positions with the values it evaluates, needs hours for files that a person
//! could write, and never ends on some, so the evaluation is ours (`evaluation.rs`) and works on this tree.
//!
//! Must not: evaluate. What is too large, too deep or includes itself is refused here.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use hocon::parser::{AstField, AstNode, Pos, parse_tokens};
use hocon::{ParseError, ScalarType, Token, TokenKind};

use super::file;
use super::finding::{Finding, Findings, Severity};
use super::place::{KeyPath, Place, Sources};

/// Files in all; more than any configuration has realms in files of their own.
const FILES_MAX: usize = 64;
/// Files included by included files.
const INCLUDE_DEPTH_MAX: usize = 4;
/// Sections and lists within each other, through all files: four times what the configuration has, and far below
/// what recursion survives on a thread's stack.
pub(super) const NESTING_MAX: usize = 24;
/// Bytes of all files together, a file counted as often as it is included.
const BYTES_MAX: usize = 1 << 20;
/// Keys in all files together.
const KEYS_MAX: usize = 20_000;

/// All that is written about one key.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// What it is given, in the order of reading.
    pub(super) layers: Vec<Layer>,
    /// What is written about the keys below it, whatever else it is given.
    pub(super) children: BTreeMap<String, Node>,
    /// The file included into it, for what is missing there.
    pub(super) included: Option<usize>,
    /// When it was first mentioned.
    pub(super) first_order: usize,
}

/// One thing that a key is given.
#[derive(Debug)]
pub(super) struct Layer {
    /// Its number in the order of reading.
    pub(super) order: usize,
    /// The key's path.
    pub(super) path: KeyPath,
    pub(super) key_place: Place,
    pub(super) value_place: Place,
    pub(super) given: Given,
}

#[derive(Debug)]
pub(super) enum Given {
    /// A section's opening; what is in it are children. Also given to the `a` of `a.b = 1`.
    Section,
    /// Anything else.
    Expression(Expression),
}

/// A value as written.
#[derive(Debug)]
pub(super) enum Expression {
    Scalar {
        text: String,
        kind: ScalarType,
    },
    /// The space between two parts of a value.
    Space(String),
    Substitution(Substitution),
    List(Vec<Expression>),
    Section(Box<Node>),
    /// Parts one after the other.
    Sequence(Vec<Expression>),
}

/// A reference to another key or to the environment.
#[derive(Debug)]
pub(super) struct Substitution {
    /// What it refers to, as written.
    pub(super) target: KeyPath,
    /// The same, if it is meant relative to where the file is included; that is tried first.
    pub(super) relative_target: Option<KeyPath>,
    pub(super) is_optional: bool,
    pub(super) place: Place,
}

/// Reads a file and all that it includes.
pub(super) fn read(path: &Path, sources: &mut Sources, findings: &mut Findings) -> Node {
    let mut root = Node::default();
    let mut reader =
        Reader { sources, findings, open: Vec::new(), failed: HashSet::new(), bytes: 0, order: 0, keys: 0 };
    reader.read_file(path, &mut root, Position { file: 0, root: &[], path: &[], nesting: 0 }, None);
    root
}

struct Reader<'a> {
    sources: &'a mut Sources,
    findings: &'a mut Findings,
    /// The files being read, outermost first.
    open: Vec<PathBuf>,
    /// Files that were complained about already: included twice, they are complained about once.
    failed: HashSet<PathBuf>,
    bytes: usize,
    order: usize,
    keys: usize,
}

/// Where the reader is.
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
        Place { file: self.file, line: position.line.max(1), column: position.col.max(1) }
    }
}

impl Reader<'_> {
    fn complain(&mut self, place: Place, key: &[String], message: String) {
        self.findings
            .push_with(Severity::Error, || self.sources.finding(Severity::Error, place, key, message));
    }

    /// A file, included at a position by what stands at `place`; the first has no such place.
    fn read_file(&mut self, file: &Path, node: &mut Node, at: Position<'_>, place: Option<Place>) {
        let source = match file::read(file) {
            Ok(source) => source,
            Err(error) => return self.complain_about_file(file, at.path, place, &error.to_string()),
        };
        self.bytes = self.bytes.saturating_add(source.text.len());
        if self.bytes > BYTES_MAX {
            let message = format!("with it there are more than {} KiB in all files", BYTES_MAX >> 10);
            return self.complain_about_file(file, at.path, place, &message);
        }
        let parsed = parse(&source.text);
        let number = self.sources.add(source);
        if place.is_some() {
            node.included = Some(number);
        }
        let at = Position { file: number, root: at.path, ..at };
        match parsed {
            Ok(AstNode::Object { fields, .. }) => {
                self.open.push(canonical(file));
                self.read_fields(&fields, node, at);
                self.open.pop();
            }
            Ok(_) => {
                let place = Place { file: number, line: 1, column: 1 };
                let message = "a configuration file holds keys and sections, not a list";
                self.complain(place, &[], message.to_owned());
            }
            Err(SyntaxError { line, column, message }) => {
                let place = at.place(&Pos { line, col: column });
                self.complain(place, &[], format!("this is not HOCON: {message}"));
            }
        }
    }

    /// The first file is complained about as a file, an included one where it is included.
    fn complain_about_file(&mut self, file: &Path, path: &[String], place: Option<Place>, message: &str) {
        if !self.failed.insert(canonical(file)) {
            return;
        }
        match place {
            Some(place) => {
                self.complain(place, path, format!("{} cannot be included: {message}", file.display()));
            }
            None => self.findings.push_with(Severity::Error, || Finding {
                severity: Severity::Error,
                file: file.to_owned(),
                line: None,
                column: None,
                key: None,
                message: message.to_owned(),
                excerpt: None,
            }),
        }
    }

    fn read_fields(&mut self, fields: &[AstField], node: &mut Node, at: Position<'_>) {
        for field in fields {
            if let AstNode::Include { path: file, is_file, pos, .. } = &field.value {
                self.include(file, *is_file, node, at, at.place(pos));
                continue;
            }
            let path = [at.path, &field.key].concat();
            let below = Position { path: &path, nesting: at.nesting + field.key.len(), ..at };
            self.keys += 1;
            if below.nesting > NESTING_MAX || self.keys > KEYS_MAX {
                return self.complain_about_size(at, &field.pos, below.nesting);
            }
            self.read_field(field, node, below);
        }
    }

    fn complain_about_size(&mut self, at: Position<'_>, position: &Pos, nesting: usize) {
        let message = if nesting > NESTING_MAX {
            format!("sections lie within each other more than {NESTING_MAX} deep")
        } else {
            format!("there are more than {KEYS_MAX} keys; a configuration has fewer")
        };
        self.complain(at.place(position), at.path, message);
    }

    /// One key, dotted or not, with what it is given.
    fn read_field(&mut self, field: &AstField, node: &mut Node, at: Position<'_>) {
        if field.append {
            let message = "this builds on the value that the key has itself; write the whole value";
            return self.complain(at.place(&field.pos), at.path, message.to_owned());
        }
        let (key_place, around) = (at.place(&field.pos), at.path.len() - field.key.len());
        let mut node = node;
        for (index, segment) in field.key.iter().enumerate() {
            if index > 0 {
                let path = at.path.iter().take(around + index);
                self.give(node, path, (key_place, key_place), Given::Section);
            }
            let order = self.order;
            node = node
                .children
                .entry(segment.clone())
                .or_insert_with(|| Node { first_order: order, ..Node::default() });
        }
        if let AstNode::Object { fields, .. } = &field.value {
            self.give(node, at.path.iter(), (key_place, key_place), Given::Section);
            return self.read_fields(fields, node, at);
        }
        let value_place = at.place(position_of(field));
        if let Some(expression) = self.read_expression(&field.value, at) {
            self.give(node, at.path.iter(), (key_place, value_place), Given::Expression(expression));
        }
    }

    fn give<'p>(
        &mut self,
        node: &mut Node,
        path: impl Iterator<Item = &'p String>,
        (key_place, value_place): (Place, Place),
        given: Given,
    ) {
        self.order += 1;
        let path = path.cloned().collect();
        node.layers.push(Layer { order: self.order, path, key_place, value_place, given });
    }

    /// A value as written; `None` when it was refused.
    fn read_expression(&mut self, node: &AstNode, at: Position<'_>) -> Option<Expression> {
        match node {
            AstNode::Scalar { value, separator: true, .. } => Some(Expression::Space(value.raw.clone())),
            AstNode::Scalar { value, .. } => {
                Some(Expression::Scalar { text: value.raw.clone(), kind: value.value_type })
            }
            AstNode::Concat { nodes, .. } => nodes
                .iter()
                .map(|node| self.read_expression(node, at))
                .collect::<Option<_>>()
                .map(Expression::Sequence),
            AstNode::Array { items, pos } => {
                let at = Position { nesting: at.nesting + 1, ..at };
                if at.nesting > NESTING_MAX {
                    self.complain_about_size(at, pos, at.nesting);
                    return None;
                }
                items
                    .iter()
                    .map(|item| self.read_expression(item, at))
                    .collect::<Option<_>>()
                    .map(Expression::List)
            }
            AstNode::Object { fields, .. } => {
                let mut section = Node::default();
                self.read_fields(fields, &mut section, at);
                Some(Expression::Section(Box::new(section)))
            }
            AstNode::Substitution { segments, optional, list_suffix, pos, .. } => {
                let target: KeyPath = segments.iter().map(|segment| segment.text.clone()).collect();
                if target.len() > NESTING_MAX || *list_suffix {
                    let message = "a substitution names one key, as in ${hardware-profiles.r750}";
                    self.complain(at.place(pos), at.path, message.to_owned());
                    return None;
                }
                let relative_target = (!at.root.is_empty()).then(|| [at.root, &target].concat());
                let place = at.place(pos);
                Some(Expression::Substitution(Substitution {
                    target,
                    relative_target,
                    is_optional: *optional,
                    place,
                }))
            }
            // Stands among the fields of a section and nowhere else.
            AstNode::Include { .. } => None,
        }
    }

    fn include(&mut self, file: &str, is_file: bool, node: &mut Node, at: Position<'_>, place: Place) {
        let path = Path::new(file);
        let directory = self.sources.get(at.file).and_then(|source| source.path.parent());
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
        } else if self.sources.count() >= FILES_MAX {
            Some(format!("there are more than {FILES_MAX} files"))
        } else {
            None
        };
        match problem {
            Some(problem) => self.complain_about_file(&full, at.path, Some(place), &problem),
            None => self.read_file(&full, node, at, Some(place)),
        }
    }
}

/// What makes a text no HOCON, and where.
struct SyntaxError {
    line: usize,
    column: usize,
    message: String,
}

impl From<ParseError> for SyntaxError {
    fn from(error: ParseError) -> Self {
        Self { line: error.line, column: error.col, message: error.message }
    }
}

fn parse(text: &str) -> Result<AstNode, SyntaxError> {
    let tokens = hocon::tokenize(text)?;
    refuse_stray_bracket(&tokens)?;
    Ok(parse_tokens(&tokens)?)
}

/// The library takes a bracket that closes nothing for the end of the file and silently drops what follows.
fn refuse_stray_bracket(tokens: &[Token]) -> Result<(), SyntaxError> {
    let mut open = 0_usize;
    for token in tokens {
        match token.kind {
            TokenKind::LBrace | TokenKind::LBracket => open += 1,
            TokenKind::RBrace | TokenKind::RBracket => match open.checked_sub(1) {
                Some(left) => open = left,
                None => {
                    let message = format!("this {} closes nothing", token.value);
                    return Err(SyntaxError { line: token.line, column: token.col, message });
                }
            },
            _ => {}
        }
    }
    Ok(())
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
