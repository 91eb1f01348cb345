//! Owns the grammar: which tokens make a term, and what binds tighter than what.
//!
//! Must not: know names, types or values. The tree it returns is a list in which operands stand before their operator,
//! so that nothing behind it needs recursion; only nesting does, and that is bounded.
//!
//! ```text
//!   term        = choice
//!   choice      = either [ "?" choice ":" choice ]
//!   either      = both { "or" both }
//!   both        = negation { "and" negation }
//!   negation    = "not" negation | comparison
//!   comparison  = sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=") sum ]
//!   sum         = product { ("+" | "-") product }
//!   product     = sign { ("*" | "/") sign }
//!   sign        = "-" sign | primary
//!   primary     = number | text | name | name "(" [ term { "," term } ] ")" | "(" term ")"
//! ```

use super::lexer::{Symbol, Token, TokenKind, tokens};
use super::mistake::{Mistake, Span};

/// How deep brackets, signs and choices may nest. Nobody can read a tenth of it, and the stack holds far more.
pub(super) const DEPTH_MAX: usize = 64;

/// What stands at a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NodeKind {
    /// A number.
    Number(f64),
    /// A text in quotes.
    Text(String),
    /// An attribute's name.
    Name(Vec<String>),
    /// `-x`
    Negate,
    /// `not x`
    Not,
    /// An operator with an operand on each side.
    Binary(Symbol),
    /// `condition ? yes : no`
    Choice,
    /// A curve with this many arguments.
    Call {
        /// Its name as written.
        name: String,
        /// Where the name stands.
        name_span: Span,
        /// How many arguments it is given.
        arguments: usize,
    },
}

/// A node: its operands are the nearest complete ones before it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// What.
    pub(super) kind: NodeKind,
    /// From the beginning of its first operand to the end of its last.
    pub(super) span: Span,
}

/// Reads one term.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Mistake> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens, position: 0, depth: 0, nodes: Vec::new() };
    if parser.peek() == &TokenKind::End {
        return Err(
            Mistake::new(parser.span(), "the term is empty").with_help("write for example `2 * cores.load`")
        );
    }
    parser.choice()?;
    if parser.peek() == &TokenKind::End {
        return Ok(parser.nodes);
    }
    Err(parser.unexpected("an operator or the end"))
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
    depth: usize,
    nodes: Vec<Node>,
}

/// The comparing operators: at most one in a row, since `a < b < c` compares a truth with a number.
const COMPARISONS: [Symbol; 6] =
    [Symbol::Less, Symbol::LessEqual, Symbol::Greater, Symbol::GreaterEqual, Symbol::Equal, Symbol::NotEqual];

/// The operators that can be repeated, loosest first.
const LEVELS: [&[Symbol]; 2] = [&[Symbol::Plus, Symbol::Minus], &[Symbol::Star, Symbol::Slash]];

impl Parser {
    fn peek(&self) -> &TokenKind {
        self.tokens.get(self.position).map_or(&TokenKind::End, |token| &token.kind)
    }

    fn span(&self) -> Span {
        let last = self.tokens.last().map_or(Span { start: 0, end: 0 }, |token| token.span);
        self.tokens.get(self.position).map_or(last, |token| token.span)
    }

    fn take(&mut self, symbol: Symbol) -> bool {
        let found = *self.peek() == TokenKind::Symbol(symbol);
        if found {
            self.position += 1;
        }
        found
    }

    fn take_any(&mut self, symbols: &[Symbol]) -> Option<Symbol> {
        symbols.iter().copied().find(|symbol| self.take(*symbol))
    }

    fn unexpected(&self, wanted: &str) -> Mistake {
        let found = match self.peek() {
            TokenKind::End => "the end".to_owned(),
            TokenKind::Number(_) => "a number".to_owned(),
            TokenKind::Name(parts) => format!("`{}`", parts.join(".")),
            TokenKind::Text(_) => "a text".to_owned(),
            TokenKind::Symbol(symbol) => format!("`{}`", symbol.as_str()),
        };
        Mistake::new(self.span(), format!("{wanted} is expected here, not {found}"))
    }

    fn expect(&mut self, symbol: Symbol, opened: Span, what: &str) -> Result<(), Mistake> {
        if self.take(symbol) {
            return Ok(());
        }
        let help = format!("{what} at column {} is still open", opened.start + 1);
        Err(self.unexpected(&format!("`{}`", symbol.as_str())).with_help(help))
    }

    /// Runs `inner` one level deeper.
    fn nested(&mut self, inner: impl FnOnce(&mut Self) -> Result<Span, Mistake>) -> Result<Span, Mistake> {
        if self.depth == DEPTH_MAX {
            let message = format!("this is nested more than {DEPTH_MAX} deep");
            return Err(Mistake::new(self.span(), message).with_help("split it into several terms"));
        }
        self.depth += 1;
        let span = inner(self)?;
        self.depth -= 1;
        Ok(span)
    }

    fn push(&mut self, kind: NodeKind, span: Span) -> Span {
        self.nodes.push(Node { kind, span });
        span
    }

    fn choice(&mut self) -> Result<Span, Mistake> {
        let condition = self.either()?;
        let question = self.span();
        if !self.take(Symbol::Question) {
            return Ok(condition);
        }
        self.nested(Self::choice)?;
        self.expect(Symbol::Colon, question, "the `?`")?;
        let no = self.nested(Self::choice)?;
        Ok(self.push(NodeKind::Choice, condition.to(no)))
    }

    fn either(&mut self) -> Result<Span, Mistake> {
        self.repeated(&[Symbol::Or], |parser| parser.repeated(&[Symbol::And], Self::negation))
    }

    /// `operand { symbol operand }`, grouped from the left.
    fn repeated(
        &mut self,
        symbols: &[Symbol],
        operand: impl Fn(&mut Self) -> Result<Span, Mistake>,
    ) -> Result<Span, Mistake> {
        let mut left = operand(self)?;
        while let Some(symbol) = self.take_any(symbols) {
            let right = operand(self)?;
            left = self.push(NodeKind::Binary(symbol), left.to(right));
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Span, Mistake> {
        let start = self.span();
        if self.take(Symbol::Not) {
            let operand = self.nested(Self::negation)?;
            return Ok(self.push(NodeKind::Not, start.to(operand)));
        }
        let left = self.sum()?;
        let Some(symbol) = self.take_any(&COMPARISONS) else { return Ok(left) };
        let right = self.sum()?;
        let span = self.push(NodeKind::Binary(symbol), left.to(right));
        let next = self.span();
        if self.take_any(&COMPARISONS).is_some() {
            let help = "write `a < b and b < c`";
            return Err(Mistake::new(next, "comparisons cannot follow one another").with_help(help));
        }
        Ok(span)
    }

    fn sum(&mut self) -> Result<Span, Mistake> {
        let [sums, products] = LEVELS;
        self.repeated(sums, |parser| parser.repeated(products, Self::sign))
    }

    fn sign(&mut self) -> Result<Span, Mistake> {
        let start = self.span();
        if self.take(Symbol::Minus) {
            let operand = self.nested(Self::sign)?;
            return Ok(self.push(NodeKind::Negate, start.to(operand)));
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Span, Mistake> {
        let start = self.span();
        match self.peek().clone() {
            TokenKind::Number(value) => {
                self.position += 1;
                Ok(self.push(NodeKind::Number(value), start))
            }
            TokenKind::Text(text) => {
                self.position += 1;
                Ok(self.push(NodeKind::Text(text), start))
            }
            TokenKind::Name(parts) => {
                self.position += 1;
                if self.take(Symbol::Open) {
                    return self.call(parts.join("."), start);
                }
                Ok(self.push(NodeKind::Name(parts), start))
            }
            TokenKind::Symbol(Symbol::Open) => {
                self.position += 1;
                self.nested(Self::choice)?;
                let end = self.span();
                self.expect(Symbol::Close, start, "the bracket")?;
                Ok(start.to(end))
            }
            _ => Err(self.unexpected("a number, an attribute, a curve or `(`")),
        }
    }

    /// The arguments of a curve whose bracket has been taken.
    fn call(&mut self, name: String, name_span: Span) -> Result<Span, Mistake> {
        let mut arguments = 0;
        let mut end = self.span();
        if !self.take(Symbol::Close) {
            loop {
                self.nested(Self::choice)?;
                arguments += 1;
                end = self.span();
                if !self.take(Symbol::Comma) {
                    break;
                }
            }
            self.expect(Symbol::Close, name_span, &format!("the bracket of `{name}`"))?;
        }
        Ok(self.push(NodeKind::Call { name, name_span, arguments }, name_span.to(end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree in words, operands first.
    fn read(text: &str) -> String {
        let word = |node: Node| match node.kind {
            NodeKind::Number(value) => value.to_string(),
            NodeKind::Name(parts) => parts.join("."),
            NodeKind::Text(text) => format!("'{text}'"),
            NodeKind::Negate => "neg".to_owned(),
            NodeKind::Not => "not".to_owned(),
            NodeKind::Binary(symbol) => symbol.as_str().to_owned(),
            NodeKind::Choice => "?:".to_owned(),
            NodeKind::Call { name, arguments, .. } => format!("{name}/{arguments}"),
        };
        parse(text).unwrap().into_iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_binds_tighter_comes_first() {
        assert_eq!(read("1 + 2 * 3"), "1 2 3 * +");
        assert_eq!(read("1 - 2 - 3"), "1 2 - 3 -");
        assert_eq!(read("-a * b"), "a neg b *");
        assert_eq!(read("not a < 1 and b > 2 or c == 3"), "a 1 < not b 2 > and c 3 == or");
        assert_eq!(read("a ? 1 : b ? 2 : 3"), "a 1 b 2 3 ?: ?:");
        assert_eq!(read("a == 'b' and \"c d\" != e"), "a 'b' == 'c d' e != and");
        assert_eq!(read("ramp(vms, 1 + 2, 60) * (1 + 2)"), "vms 1 2 + 60 ramp/3 1 2 + *");
    }

    #[test]
    fn nesting_is_bounded_and_length_is_not_nesting() {
        let deep = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
        assert!(parse(&deep(DEPTH_MAX)).is_ok());
        assert!(parse(&deep(DEPTH_MAX + 1)).unwrap_err().message.contains("nested"));
        assert!(parse(&"-".repeat(10_000)).is_err());
        assert!(parse(&"not ".repeat(4_000)).is_err());
        assert!(parse(&"1?1:".repeat(4_000)).is_err());
        assert!(parse(&format!("1{}", "+1".repeat(8_000))).is_ok());
        assert!(parse(&"1".repeat(1 << 20)).unwrap_err().message.contains("bytes"));
    }
}
