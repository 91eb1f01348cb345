//! Owns a mistake in one term before it is known which term of which cost function it is in.

/// Where in a term's text something stands, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Its first byte.
    pub(super) start: usize,
    /// The byte after its last.
    pub(super) end: usize,
}

impl Span {
    /// From the start of `self` to the end of `other`.
    pub(super) fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end.max(self.start) }
    }
}

/// What is wrong with a term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Where.
    pub(super) span: Span,
    /// What.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: Option<String>,
}

impl Mistake {
    /// A mistake with nothing to advise.
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }

    /// The same with advice.
    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
