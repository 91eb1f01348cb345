//! Owns reading a definition's text (HOCON, of which JSON is a part) into a tree that still knows the line of each key.
//!
//! Must not: know what a definition may say.
//!
//! A definition stands by itself: it includes nothing and substitutes nothing. That keeps the lines true, and takes
//! away the one way in which a small text can grow without end.

use std::collections::{BTreeMap, HashMap};

use hocon::{HoconError, HoconValue, Token, TokenKind};

/// A text that was read.
#[derive(Debug)]
pub(super) struct Document {
    /// What it says.
    pub(super) root: HoconValue,
    lines: BTreeMap<String, usize>,
}

/// What is wrong with a text, and on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    /// The line, from 1, where it is known.
    pub(super) line: Option<usize>,
    /// What is wrong, and what would be right.
    pub(super) message: String,
}

/// The key that the text is put under, since the reader wants an object at the top and a list may stand there.
const WRAPPER: &str = "definition";

impl Document {
    /// Reads `text`.
    ///
    /// # Errors
    /// The first mistake in its syntax.
    pub(super) fn parse(text: &str) -> Result<Self, Mistake> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let tokens = hocon::tokenize(text)
            .map_err(|error| Mistake { line: Some(error.line), message: lowercase_start(&error.message) })?;
        refuse_references(&tokens)?;
        let first = tokens.iter().map(|token| &token.kind).find(|kind| **kind != TokenKind::Newline);
        let wrapped = match first {
            None | Some(TokenKind::Eof) => {
                return Err(Mistake { line: None, message: "the file is empty".to_owned() });
            }
            Some(TokenKind::LBrace | TokenKind::LBracket) => format!("{WRAPPER} = {text}"),
            Some(_) => format!("{WRAPPER} {{ {text}\n}}"),
        };
        let config =
            hocon::parse_with_env(&wrapped, &HashMap::new()).map_err(|error| syntax_mistake(&error))?;
        let unbalanced = || Mistake {
            line: None,
            message: "something follows the end of the definition: are the braces balanced?".to_owned(),
        };
        if config.keys() != [WRAPPER] {
            return Err(unbalanced());
        }
        let root = config.get(WRAPPER).cloned().ok_or_else(unbalanced)?;
        let mut walk = Walk { tokens: &tokens, next: 0, lines: BTreeMap::new() };
        walk.document();
        Ok(Self { root, lines: walk.lines })
    }

    /// The line of the key at `path`, or of the nearest thing around it.
    pub(super) fn line(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

fn refuse_references(tokens: &[Token]) -> Result<(), Mistake> {
    let refused = |token: &Token, what: &str| {
        Err(Mistake {
            line: Some(token.line),
            message: format!(
                "{what} is not available here: a definition stands by itself, so write the value out"
            ),
        })
    };
    for (index, token) in tokens.iter().enumerate() {
        if token.kind == TokenKind::Substitution {
            return refused(token, "a substitution (`${…}`)");
        }
        let followed_by = tokens.get(index + 1).map(|next| &next.kind);
        let is_include = token.kind == TokenKind::Unquoted && token.value == "include";
        if is_include && matches!(followed_by, Some(TokenKind::QuotedString | TokenKind::Unquoted)) {
            return refused(token, "`include`");
        }
    }
    Ok(())
}

fn syntax_mistake(error: &HoconError) -> Mistake {
    match error {
        HoconError::Parse(error) => {
            Mistake { line: Some(error.line), message: lowercase_start(&error.message) }
        }
        HoconError::Resolve(error) => {
            Mistake { line: Some(error.line), message: lowercase_start(&error.message) }
        }
        other => Mistake { line: None, message: other.to_string() },
    }
}

fn lowercase_start(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

/// The path of `key` inside `parent`.
pub(super) fn child(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

/// The path of the `index`th item of the list at `parent`.
pub(super) fn item(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// Walks the tokens of a text that is known to be well formed (so its depth is bounded), noting where keys stand.
struct Walk<'a> {
    tokens: &'a [Token],
    next: usize,
    lines: BTreeMap<String, usize>,
}

impl Walk<'_> {
    fn kind(&self) -> &TokenKind {
        self.tokens.get(self.next).map_or(&TokenKind::Eof, |token| &token.kind)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.next).map_or(1, |token| token.line)
    }

    fn document(&mut self) {
        while *self.kind() == TokenKind::Newline {
            self.next += 1;
        }
        self.lines.insert(String::new(), self.line());
        match self.kind() {
            TokenKind::LBrace | TokenKind::LBracket => self.value(""),
            _ => self.fields(""),
        }
    }

    /// Fields up to the brace that ends them, which is taken too.
    fn fields(&mut self, parent: &str) {
        loop {
            match self.kind() {
                TokenKind::Eof => return,
                TokenKind::RBrace | TokenKind::RBracket => {
                    self.next += 1;
                    return;
                }
                TokenKind::Newline | TokenKind::Comma => self.next += 1,
                _ => {
                    let path = self.key(parent);
                    if matches!(self.kind(), TokenKind::Colon | TokenKind::Equals | TokenKind::PlusEquals) {
                        self.next += 1;
                    }
                    while *self.kind() == TokenKind::Newline {
                        self.next += 1;
                    }
                    self.value(&path);
                }
            }
        }
    }

    /// One key, which may be a path with dots; returns the whole path.
    fn key(&mut self, parent: &str) -> String {
        let mut path = parent.to_owned();
        while let Some(token) = self.tokens.get(self.next) {
            match token.kind {
                TokenKind::QuotedString | TokenKind::TripleQuotedString => {
                    path = child(&path, &token.value);
                    self.lines.entry(path.clone()).or_insert(token.line);
                }
                TokenKind::Unquoted => {
                    for segment in token.value.split('.').filter(|segment| !segment.is_empty()) {
                        path = child(&path, segment);
                        self.lines.entry(path.clone()).or_insert(token.line);
                    }
                }
                _ => break,
            }
            self.next += 1;
        }
        path
    }

    /// One value: everything up to the comma, line end or bracket behind it.
    fn value(&mut self, path: &str) {
        loop {
            match self.kind() {
                TokenKind::LBrace => {
                    self.next += 1;
                    self.fields(path);
                }
                TokenKind::LBracket => {
                    self.next += 1;
                    self.items(path);
                }
                TokenKind::Eof
                | TokenKind::Newline
                | TokenKind::Comma
                | TokenKind::RBrace
                | TokenKind::RBracket => {
                    return;
                }
                _ => self.next += 1,
            }
        }
    }

    /// Items up to the bracket that ends them, which is taken too.
    fn items(&mut self, parent: &str) {
        let mut index = 0;
        loop {
            match self.kind() {
                TokenKind::Eof => return,
                TokenKind::RBracket | TokenKind::RBrace => {
                    self.next += 1;
                    return;
                }
                TokenKind::Newline | TokenKind::Comma => self.next += 1,
                _ => {
                    let path = item(parent, index);
                    self.lines.insert(path.clone(), self.line());
                    self.value(&path);
                    index += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_on_their_lines() {
        let document = Document::parse(
            "# a comment\nname = a\ndebug { console = true\n  vnc = false }\ndrives = [\n  { drive = d,\n    read-only = true }\n  { drive = e }\n]\nlabels.\"rack.row\" = 3",
        )
        .unwrap();
        for (path, line) in [
            ("name", 2),
            ("debug", 3),
            ("debug.console", 3),
            ("debug.vnc", 4),
            ("drives", 5),
            ("drives[0]", 6),
            ("drives[0].read-only", 7),
            ("drives[1].drive", 8),
            ("labels", 10),
            ("labels.rack.row", 10),
            ("debug.nothing-there", 3),
        ] {
            assert_eq!(document.line(path), Some(line), "{path}");
        }
    }

    #[test]
    fn lists_and_json_are_read_as_they_stand() {
        let document =
            Document::parse("\n[\n  {\"name\": \"a\"},\n  {\"name\": \"b\",\n \"cores\": 2}\n]").unwrap();
        assert_eq!(document.root.as_array().map(<[_]>::len), Some(2));
        assert_eq!(document.line("[1].cores"), Some(5));
    }

    #[test]
    fn a_definition_stands_by_itself() {
        for (text, line) in
            [("a = 1\nb = ${a}", 2), ("include \"other.conf\"", 1), ("a = 1\ninclude file(\"x\")", 2)]
        {
            let mistake = Document::parse(text).unwrap_err();
            assert_eq!(mistake.line, Some(line), "{text}: {mistake:?}");
            assert!(mistake.message.contains("stands by itself"), "{mistake:?}");
        }
    }

    #[test]
    fn broken_text_is_refused_with_its_line() {
        for text in
            ["", "  \n# only a comment\n", "a = 1 }\n b {", "a = [1", "a = \"x\nb = 2", "{\"a\": 1", "] ["]
        {
            assert!(Document::parse(text).is_err(), "{text:?} was read");
        }
        assert_eq!(Document::parse("a = 1\nb = [1\nc = }").unwrap_err().line, Some(3));
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        assert!(Document::parse(&"[".repeat(100_000)).is_err());
        assert!(Document::parse(&"a{".repeat(100_000)).is_err());
    }
}
