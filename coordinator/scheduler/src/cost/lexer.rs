//! Owns how a term's text is cut into tokens: numbers with their units, names, operators, each with its place.
//!
//! Must not: know which names exist, or which token may follow which.
//!
//! A name is made of letters, digits and `_`, and its parts are joined by dots. A device class may hold hyphens as
//! well (`devices.nvidia-a100.free`); what is ambiguous or stranger than that is put in quotes
//! (`devices.'10de:20b0'.free`). Quotes that do not follow a dot hold a text: `'r1'`. Memory is counted in MiB, shares as
//! fractions: `8 GiB` is 8192, `30 %` is 0.3.

use reeve_common::text::{TEXT_LENGTH_MAX, is_printable};

use super::mistake::{Mistake, Span};
use super::suggestion::did_you_mean;

/// The longest text of one term. Terms written by hand have some dozens of characters; tables of 64 points a
/// thousand.
pub(super) const LENGTH_MAX: usize = 16 * 1024;

/// The longest dotted name: the longest device class and the words around it. A longer one would flood a message.
const NAME_LENGTH_MAX: usize = 128;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    /// A number, its unit applied.
    Number(f64),
    /// The parts of a dotted name.
    Name(Vec<String>),
    /// A text, its quotes taken off.
    Text(String),
    /// An operator, bracket or keyword, as written.
    Symbol(Symbol),
    /// The end of the text.
    End,
}

macro_rules! symbols {
    ($($name:ident $text:literal),* $(,)?) => {
        /// Operators, brackets and keywords.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Symbol { $(#[doc = $text] $name),* }

        impl Symbol {
            /// How it is written.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

symbols! {
    Plus "+", Minus "-", Star "*", Slash "/", Open "(", Close ")", Comma ",", Question "?", Colon ":",
    LessEqual "<=", Less "<", GreaterEqual ">=", Greater ">", Equal "==", NotEqual "!=",
    And "and", Or "or", Not "not",
}

/// Those made of signs; longer ones before their beginnings.
const SIGNS: [Symbol; 15] = [
    Symbol::LessEqual,
    Symbol::GreaterEqual,
    Symbol::Equal,
    Symbol::NotEqual,
    Symbol::Less,
    Symbol::Greater,
    Symbol::Plus,
    Symbol::Minus,
    Symbol::Star,
    Symbol::Slash,
    Symbol::Open,
    Symbol::Close,
    Symbol::Comma,
    Symbol::Question,
    Symbol::Colon,
];

/// Those that look like names.
const WORDS: [Symbol; 3] = [Symbol::And, Symbol::Or, Symbol::Not];

/// Signs of other languages, and what is written here.
const FOREIGN_SIGNS: [(&str, &str); 8] = [
    ("&&", "write `and`"),
    ("||", "write `or`"),
    ("**", "write `power(x, 2)`"),
    ("^", "write `power(x, 2)`"),
    ("!", "write `not`, or `!=` for unequal"),
    ("=", "write `==` to compare"),
    ("%", "a percentage follows a number: `30 %`"),
    (".", "a number starts with a digit: `0.5`"),
];

/// A token and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    /// What.
    pub(super) kind: TokenKind,
    /// Where.
    pub(super) span: Span,
}

/// What a device has: the words after a class that make a hyphen before them part of its name.
pub(super) const MEASURES: [&str; 5] = ["total", "used", "free", "load", "whole"];

/// Units of memory and how many MiB they are, as a number and what to divide it by, so that amounts written with few
/// digits stay exact; and the percent sign.
const UNITS: [(&str, f64, f64); 18] = [
    ("%", 1.0, 100.0),
    ("B", 1.0, MEBIBYTE),
    ("KiB", 1.0, 1024.0),
    ("MiB", 1.0, 1.0),
    ("GiB", 1024.0, 1.0),
    ("TiB", 1_048_576.0, 1.0),
    ("PiB", 1_073_741_824.0, 1.0),
    ("K", 1.0, 1024.0),
    ("M", 1.0, 1.0),
    ("G", 1024.0, 1.0),
    ("T", 1_048_576.0, 1.0),
    ("P", 1_073_741_824.0, 1.0),
    ("kB", 1e3, MEBIBYTE),
    ("KB", 1e3, MEBIBYTE),
    ("MB", 1e6, MEBIBYTE),
    ("GB", 1e9, MEBIBYTE),
    ("TB", 1e12, MEBIBYTE),
    ("PB", 1e15, MEBIBYTE),
];

/// Bytes in a MiB.
const MEBIBYTE: f64 = 1_048_576.0;

/// Cuts `text` into tokens, the last of which is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Mistake> {
    if text.len() > LENGTH_MAX {
        let message = format!("the term has {} bytes; at most {LENGTH_MAX} bytes are read", text.len());
        return Err(Mistake::new(Span { start: 0, end: 0 }, message).with_help("split it into several terms"));
    }
    let mut lexer = Lexer { text, position: 0 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next_token()?;
        let is_end = token.kind == TokenKind::End;
        tokens.push(token);
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    /// Takes the longest beginning of the rest whose characters all satisfy `wanted`.
    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|character| !wanted(character)).unwrap_or(rest.len());
        self.position += end;
        rest.get(..end).unwrap_or_default()
    }

    fn take_if(&mut self, beginning: &str) -> bool {
        let found = self.rest().starts_with(beginning);
        if found {
            self.position += beginning.len();
        }
        found
    }

    fn span_from(&self, start: usize) -> Span {
        Span { start, end: self.position }
    }

    fn next_token(&mut self) -> Result<Token, Mistake> {
        self.take_while(char::is_whitespace);
        let start = self.position;
        let kind = match self.rest().chars().next() {
            None => TokenKind::End,
            Some(first) if first.is_ascii_digit() => TokenKind::Number(self.number()?),
            Some(first) if is_name_start(first) => self.name()?,
            Some(quote @ ('\'' | '"')) => self.text(quote)?,
            Some(first) => self.sign(first)?,
        };
        Ok(Token { kind, span: self.span_from(start) })
    }

    fn sign(&mut self, first: char) -> Result<TokenKind, Mistake> {
        let start = self.position;
        if let Some((sign, help)) = FOREIGN_SIGNS.iter().find(|(sign, _)| {
            self.rest().starts_with(sign) && !["==", "!="].iter().any(|real| self.rest().starts_with(real))
        }) {
            let span = Span { start, end: start + sign.len() };
            return Err(Mistake::new(span, format!("`{sign}` does not belong here")).with_help(*help));
        }
        if let Some(symbol) = SIGNS.into_iter().find(|symbol| self.rest().starts_with(symbol.as_str())) {
            self.position += symbol.as_str().len();
            return Ok(TokenKind::Symbol(symbol));
        }
        let span = Span { start, end: start + first.len_utf8() };
        Err(Mistake::new(span, format!("{first:?} does not belong here")))
    }

    fn number(&mut self) -> Result<f64, Mistake> {
        let start = self.position;
        self.take_while(|character| character.is_ascii_digit());
        if self.take_if(".") && self.take_while(|character| character.is_ascii_digit()).is_empty() {
            let span = self.span_from(start);
            return Err(Mistake::new(span, "a digit is missing behind the decimal point"));
        }
        self.exponent();
        let text = self.text.get(start..self.position).unwrap_or_default();
        let span = self.span_from(start);
        let number: f64 = text.parse().map_err(|_| Mistake::new(span, format!("{text:?} is no number")))?;
        let (factor, divisor) = self.unit()?;
        let number = number * factor / divisor;
        if number.is_finite() {
            return Ok(number);
        }
        Err(Mistake::new(self.span_from(start), "this number is larger than can be counted with"))
    }

    /// Takes `e9`, `E+9`, `e-9`; leaves alone an `e` that starts something else.
    fn exponent(&mut self) {
        let rest = self.rest();
        let Some(behind) = rest.strip_prefix(['e', 'E']) else { return };
        let digits = behind.strip_prefix(['+', '-']).unwrap_or(behind);
        if digits.starts_with(|first: char| first.is_ascii_digit()) {
            self.position += rest.len() - digits.len();
            self.take_while(|character| character.is_ascii_digit());
        }
    }

    /// Takes the unit behind a number, if there is one, and says what to multiply with and divide by.
    fn unit(&mut self) -> Result<(f64, f64), Mistake> {
        let before = self.position;
        self.take_while(char::is_whitespace);
        let start = self.position;
        if self.take_if("%") {
            return Ok((1.0, 100.0));
        }
        let word = self.take_while(is_name_part);
        if word.is_empty() || WORDS.iter().any(|symbol| symbol.as_str() == word) {
            self.position = before;
            return Ok((1.0, 1.0));
        }
        self.check_length(start)?;
        if let Some((_, factor, divisor)) = UNITS.iter().find(|(unit, ..)| *unit == word) {
            return Ok((*factor, *divisor));
        }
        let units: Vec<&str> = UNITS.iter().map(|(unit, ..)| *unit).collect();
        let help = did_you_mean(word, units.iter().copied())
            .unwrap_or_else(|| "memory has MiB, GiB, TiB; a share has %; anything else no unit".to_owned());
        Err(Mistake::new(self.span_from(start), format!("`{word}` is no unit")).with_help(help))
    }

    fn check_length(&self, start: usize) -> Result<(), Mistake> {
        let span = self.span_from(start);
        if span.end - span.start <= NAME_LENGTH_MAX {
            return Ok(());
        }
        Err(Mistake::new(span, format!("a name has at most {NAME_LENGTH_MAX} bytes")))
    }

    fn name(&mut self) -> Result<TokenKind, Mistake> {
        let start = self.position;
        let first = self.take_while(is_name_part);
        if let Some(symbol) = WORDS.into_iter().find(|symbol| symbol.as_str() == first) {
            return Ok(TokenKind::Symbol(symbol));
        }
        let mut parts = vec![first.to_owned()];
        while let Some(behind) = self.rest().strip_prefix('.') {
            let Some(next) = behind.chars().next() else { break };
            let is_device_class = parts.last().is_some_and(|last| last == "devices");
            if matches!(next, '\'' | '"') {
                self.position += 1;
                parts.push(self.quoted(next)?);
            } else if is_name_part(next) {
                self.position += 1;
                let part = if is_device_class { self.device_class() } else { self.take_while(is_name_part) };
                parts.push(part.to_owned());
            } else {
                break;
            }
        }
        self.check_length(start)?;
        Ok(TokenKind::Name(parts))
    }

    fn text(&mut self, quote: char) -> Result<TokenKind, Mistake> {
        let start = self.position;
        let text = self.quoted(quote)?;
        let span = self.span_from(start);
        if text.len() > TEXT_LENGTH_MAX {
            // No label is longer, so none could be the same.
            return Err(Mistake::new(span, format!("a text has at most {TEXT_LENGTH_MAX} bytes")));
        }
        if !text.chars().all(is_printable) {
            return Err(Mistake::new(
                span,
                "a text holds characters that can be seen, and this one does not",
            ));
        }
        Ok(TokenKind::Text(text))
    }

    fn quoted(&mut self, quote: char) -> Result<String, Mistake> {
        let start = self.position;
        self.position += quote.len_utf8();
        let inside = self.take_while(|character| character != quote);
        if self.take_if(quote.encode_utf8(&mut [0; 4])) {
            return Ok(inside.to_owned());
        }
        Err(Mistake::new(self.span_from(start), format!("the closing {quote} is missing")))
    }

    /// A class behind `devices.`: its hyphens are its own when a measure follows (`nvidia-a100.free`), otherwise a
    /// hyphen is a minus (`devices.free-1`).
    fn device_class(&mut self) -> &'a str {
        let start = self.position;
        let greedy = self.take_while(|character| is_name_part(character) || character == '-');
        let plain = greedy.split('-').next().unwrap_or_default();
        let followed_by_measure = self.rest().strip_prefix('.').is_some_and(|behind| {
            let word_end = behind.find(|character| !is_name_part(character)).unwrap_or(behind.len());
            behind.get(..word_end).is_some_and(|word| MEASURES.contains(&word))
        });
        if followed_by_measure && !MEASURES.contains(&plain) {
            return greedy;
        }
        self.position = start + plain.len();
        plain
    }
}

fn is_name_start(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

fn is_name_part(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokens(text).unwrap().into_iter().map(|token| token.kind).collect()
    }

    fn name(text: &str) -> TokenKind {
        TokenKind::Name(text.split('.').map(str::to_owned).collect())
    }

    #[test]
    fn units_are_applied() {
        for (text, value) in [
            ("8 GiB", 8192.0),
            ("30 %", 0.3),
            ("95 %", 0.95),
            ("1.5e3", 1500.0),
            ("2MiB", 2.0),
            ("1E-2", 0.01),
            ("7", 7.0),
        ] {
            assert_eq!(kinds(text), [TokenKind::Number(value), TokenKind::End], "{text}");
        }
    }

    #[test]
    fn a_hyphen_is_part_of_a_class_or_a_minus() {
        let minus = TokenKind::Symbol(Symbol::Minus);
        assert_eq!(kinds("devices.nvidia-a100.free"), [name("devices.nvidia-a100.free"), TokenKind::End]);
        assert_eq!(
            kinds("devices.total-vm.devices"),
            [name("devices.total"), minus.clone(), name("vm.devices"), TokenKind::End]
        );
        assert_eq!(
            kinds("devices.free-devices.free"),
            [name("devices.free"), minus, name("devices.free"), TokenKind::End]
        );
        let quoted = TokenKind::Name(vec!["devices".into(), "7g.40gb".into(), "free".into()]);
        assert_eq!(kinds("devices.'7g.40gb'.free"), [quoted.clone(), TokenKind::End]);
        assert_eq!(kinds("devices.\"7g.40gb\".free"), [quoted, TokenKind::End]);
    }

    #[test]
    fn quotes_without_a_dot_hold_a_text() {
        let text = |text: &str| TokenKind::Text(text.to_owned());
        assert_eq!(kinds("'r1' \"it's\" ''"), [text("r1"), text("it's"), text(""), TokenKind::End]);
        assert_eq!(kinds("a.'b'"), [name("a.b"), TokenKind::End]);
        assert!(tokens("'r1").unwrap_err().message.contains("closing ' is missing"));
        assert!(tokens("'\u{1b}[2J'").unwrap_err().message.contains("can be seen"));
        assert!(tokens(&format!("'{}'", "a".repeat(TEXT_LENGTH_MAX))).is_ok());
        assert!(tokens(&format!("'{}'", "a".repeat(TEXT_LENGTH_MAX + 1))).is_err());
    }

    #[test]
    fn signs_of_other_languages_are_translated() {
        for (text, help) in
            [("a && b", "`and`"), ("a ^ 2", "power"), ("a = 1", "`==`"), ("!a", "`not`"), ("% 3", "30 %")]
        {
            let mistake = tokens(text).unwrap_err();
            assert!(mistake.help.as_deref().is_some_and(|found| found.contains(help)), "{text}: {mistake:?}");
        }
        assert!(tokens("a == 1 and b != 2").is_ok());
    }
}
