//! Owns what is said of a mistake in a cost function: which term, where in its text, what is wrong and what to write
//! instead.

use std::fmt;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use reeve_common::ids::CostFunctionName;

/// How much of a long line is shown on each side of the place; more would push the caret off the screen.
const CONTEXT_LENGTH: usize = 60;

/// A mistake in one term of a cost function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostError {
    /// The cost function.
    pub cost_function: CostFunctionName,
    /// The term.
    pub term: String,
    /// The term's text as given, without what exceeds the allowed length.
    pub source_text: String,
    /// Where the mistake is: byte offset and length in `source_text`.
    pub span: (usize, usize),
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl std::error::Error for CostError {}

impl CostError {
    /// The place counted in characters from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.source_text.get(..self.span.0).map_or(1, |before| before.chars().count() + 1)
    }

    /// Several lines for a terminal or a log: the message, the text with carets under the place, the help.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::none()).with_width(120);
        let shown = ShownError::new(self);
        if handler.render_report(&mut out, &shown).is_err() {
            return self.to_string();
        }
        out
    }
}

impl fmt::Display for CostError {
    /// One plain line with the column.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cost_function, term, message, .. } = self;
        write!(formatter, "cost function {cost_function}, term {term}, column {}: {message}", self.column())?;
        self.help.as_ref().map_or(Ok(()), |help| write!(formatter, "; {help}"))
    }
}

/// A view of the error made for a screen: control characters are blanked, long lines are cut around the place.
#[derive(Debug)]
struct ShownError {
    title: String,
    source: NamedSource<String>,
    span: (usize, usize),
    help: Option<String>,
}

impl ShownError {
    fn new(error: &CostError) -> Self {
        let (text, span) = excerpt(&error.source_text, error.span);
        let place = format!("{}.{}", error.cost_function, error.term);
        Self {
            title: format!(
                "cost function {}, term {}: {} (column {})",
                error.cost_function,
                error.term,
                error.message,
                error.column()
            ),
            source: NamedSource::new(place, text),
            span,
            help: error.help.clone(),
        }
    }
}

impl fmt::Display for ShownError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.title)
    }
}

impl std::error::Error for ShownError {}

impl Diagnostic for ShownError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (start, length) = self.span;
        Some(Box::new(std::iter::once(LabeledSpan::new(None, start, length))))
    }
}

impl Diagnostic for CostError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source_text)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (start, length) = self.span;
        Some(Box::new(std::iter::once(LabeledSpan::new(None, start, length))))
    }
}

/// The text around `span` on one line, with the span's place in it.
fn excerpt(text: &str, span: (usize, usize)) -> (String, (usize, usize)) {
    let start = floor_boundary(text, span.0);
    let end = floor_boundary(text, span.0.saturating_add(span.1)).max(start);
    let from = floor_boundary(text, start.saturating_sub(CONTEXT_LENGTH));
    let to = floor_boundary(text, end.min(start + CONTEXT_LENGTH).saturating_add(CONTEXT_LENGTH));
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default().chars().map(visible);
    let mut shown = String::new();
    if from > 0 {
        shown.push('…');
    }
    shown.extend(part(from, start));
    let shown_start = shown.len();
    shown.extend(part(start, end.min(to)));
    if start >= text.len() {
        // So that there is something to point at behind the last character.
        shown.push(' ');
    }
    let shown_length = (shown.len() - shown_start).max(1);
    shown.extend(part(end.min(to), to));
    if to < text.len() {
        shown.push('…');
    }
    (shown, (shown_start, shown_length))
}

fn visible(character: char) -> char {
    if character.is_whitespace() {
        ' '
    } else if reeve_common::text::is_printable(character) {
        character
    } else {
        '?'
    }
}

/// The last character boundary at or before `index`.
fn floor_boundary(text: &str, index: usize) -> usize {
    let index = index.min(text.len());
    (0..=index).rev().find(|candidate| text.is_char_boundary(*candidate)).unwrap_or(0)
}
