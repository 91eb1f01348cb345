//! Owns cost functions: named terms over a host and a VM, written by an administrator, compiled once and checked when
//! they are read. Lower is better.
//!
//! Must not: know the fleet; a compiled function is given numbers and returns numbers.
//!
//! ```text
//!   text ─ lexer ─▶ tokens ─ parser ─▶ nodes ─ lowering ─▶ program ─▶ a number for each term, and their sum
//!                                        attribute, curve ┘   └ operation
//! ```
//!
//! A term is worked out twice: for the host with the VM (*after*) and as it is (*before*). A term in which nothing
//! depends on the placement, such as `vm.devices == 0 and devices.total > 0 ? 10 : 0` or `measured.cpu.load`, has no
//! before: it is a *charge* for this VM on this host, and counts in full under either rule.

mod attribute;
mod curve;
mod error;
mod evaluation;
mod fusion;
mod lexer;
mod lowering;
mod mistake;
mod operation;
mod parser;
mod preset;
mod program;
mod reference;
mod suggestion;
mod text;

use reeve_common::ids::CostFunctionName;
use reeve_common::text::{is_printable, printable};
use serde::{Deserialize, Serialize};

pub use attribute::When;
pub(crate) use attribute::{Attribute, Input, Measure, NamedThings, Reading, StrandedPart};
pub use error::CostError;
pub use evaluation::Evaluation;
pub use preset::presets;
pub(crate) use program::{Program, Workspace};
pub use reference::{
    AttributeReference, CurveReference, ParameterReference, attribute_named, attributes, curves,
};
pub(crate) use text::{Text, TextTest};

use lowering::{Moment, lower};
use mistake::{Mistake, Span};
use program::Builder;

/// The most terms of one function; an explanation lists them all for each host.
const TERMS_MAX: usize = 64;
/// The longest name of a term, which heads a column of an explanation.
const TERM_NAME_LENGTH_MAX: usize = 63;
/// The most steps of one function. Ten times what a page of terms needs; a host is then still scored within 0.1 ms.
const STEPS_MAX: usize = 4096;

/// Which number of a host's cost is compared with other hosts'.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChoiceRule {
    /// By how much the VM makes it rise.
    #[default]
    Increase,
    /// What it is with the VM.
    Total,
}

impl ChoiceRule {
    /// The number that is compared with other hosts', from a host's cost as it is and with the VM; lower is better.
    ///
    /// Some seven decimal digits of it count, which is what a float of 32 bits holds: hosts whose numbers round to the same are
    /// equally good. It is finite if the number is: what lies beyond is taken for the largest there is.
    #[must_use]
    #[inline]
    pub fn score(self, before: f64, after: f64) -> f32 {
        let compared = self.compared(before, after);
        #[allow(clippy::cast_possible_truncation)] // as said above
        let rounded = compared as f32;
        if compared.is_finite() { rounded.clamp(f32::MIN, f32::MAX) } else { rounded }
    }

    /// The same with all its digits.
    #[inline]
    pub(crate) const fn compared(self, before: f64, after: f64) -> f64 {
        match self {
            Self::Increase => after - before,
            Self::Total => after,
        }
    }
}

/// A compiled cost function.
#[derive(Debug, Clone, PartialEq)]
pub struct CostFunction {
    name: CostFunctionName,
    rule: ChoiceRule,
    terms: Vec<Term>,
    things: NamedThings,
    after: Program,
    before: Program,
    landmarks: Vec<(Input, f64)>,
}

/// A term as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    name: String,
    expression: String,
    is_charge: bool,
}

impl CostFunction {
    /// Compiles `terms`, pairs of a name and an expression, in their order.
    ///
    /// # Errors
    /// Every mistake found, at most one for each term.
    pub fn compile(
        name: &CostFunctionName,
        terms: &[(String, String)],
        by: ChoiceRule,
    ) -> Result<Self, Vec<CostError>> {
        Self::compile_at(Moment::With, name, terms, by)
    }

    /// Compiles one term in which `x` may stand for a number, such as `power(x, 2)`: to be drawn, not to place by. On
    /// a host `x` is never a number, so none would be chosen.
    ///
    /// # Errors
    /// The mistake.
    pub fn compile_of_x(name: &CostFunctionName, term: &str, text: &str) -> Result<Self, Vec<CostError>> {
        let terms = [(term.to_owned(), text.to_owned())];
        Self::compile_at(Moment::Drawn, name, &terms, ChoiceRule::Total)
    }

    fn compile_at(
        moment: Moment,
        name: &CostFunctionName,
        terms: &[(String, String)],
        by: ChoiceRule,
    ) -> Result<Self, Vec<CostError>> {
        let mut compiler = Compiler::default();
        let mut errors = Vec::new();
        for (term, text) in terms {
            if let Err(mistake) = compiler.term(moment, term, text) {
                errors.push(cost_error(name, term, text, mistake));
            }
        }
        if errors.is_empty() { Ok(compiler.finish(name, by)) } else { Err(errors) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &CostFunctionName {
        &self.name
    }

    /// Which of its numbers is compared.
    #[must_use]
    pub fn rule(&self) -> ChoiceRule {
        self.rule
    }

    /// Its terms in order: name and expression.
    pub fn terms(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.terms.iter().map(|term| (term.name.as_str(), term.expression.as_str()))
    }

    /// The device classes it names, which no compiler can know to exist.
    pub fn device_classes(&self) -> impl Iterator<Item = &str> {
        self.things.device_classes.iter().map(String::as_str)
    }

    /// The terms for the host with the VM.
    pub(crate) fn after(&self) -> &Program {
        &self.after
    }

    /// The terms that are no charges, in their order, for the host as it is.
    pub(crate) fn before(&self) -> &Program {
        &self.before
    }

    /// For each term whether it is a charge.
    pub(crate) fn charges(&self) -> impl Iterator<Item = bool> {
        self.terms.iter().map(|term| term.is_charge)
    }

    /// The device classes, label keys and comparisons of texts that its inputs number.
    pub(crate) fn things(&self) -> &NamedThings {
        &self.things
    }
}

#[derive(Default)]
struct Compiler {
    terms: Vec<Term>,
    things: NamedThings,
    after: Builder,
    before: Builder,
    after_cells: Vec<program::Cell>,
    before_cells: Vec<program::Cell>,
}

impl Compiler {
    fn term(&mut self, moment: Moment, name: &str, text: &str) -> Result<(), Mistake> {
        self.check_name(name)?;
        let nodes = parser::parse(text)?;
        let after = lower(&nodes, moment, &mut self.after, &mut self.things)?;
        self.after_cells.push(after.cell);
        if after.changes && moment == Moment::With {
            let before = lower(&nodes, Moment::Without, &mut self.before, &mut self.things)?;
            self.before_cells.push(before.cell);
        }
        if self.after.step_count() > STEPS_MAX {
            let message = format!("up to here the function takes more than {STEPS_MAX} steps");
            return Err(Mistake::new(START, message).with_help("leave out or shorten terms"));
        }
        self.terms.push(Term {
            name: name.to_owned(),
            expression: text.to_owned(),
            is_charge: !after.changes,
        });
        Ok(())
    }

    fn check_name(&self, name: &str) -> Result<(), Mistake> {
        let is_allowed = |character: char| character.is_alphanumeric() || "._-".contains(character);
        if name.is_empty() || name.len() > TERM_NAME_LENGTH_MAX || !name.chars().all(is_allowed) {
            let message = format!(
                "a term's name has 1 to {TERM_NAME_LENGTH_MAX} bytes: letters, digits, '.', '_' and '-'"
            );
            return Err(Mistake::new(START, message));
        }
        if self.terms.iter().any(|term| term.name == name) {
            return Err(Mistake::new(START, "a term of this name is there already"));
        }
        if self.terms.len() == TERMS_MAX {
            return Err(Mistake::new(START, format!("a cost function has at most {TERMS_MAX} terms")));
        }
        Ok(())
    }

    fn finish(self, name: &CostFunctionName, rule: ChoiceRule) -> CostFunction {
        CostFunction {
            name: name.clone(),
            rule,
            terms: self.terms,
            things: self.things,
            landmarks: self.after.landmarks().to_vec(),
            after: self.after.finish(&self.after_cells),
            before: self.before.finish(&self.before_cells),
        }
    }
}

/// Where a mistake is shown that is about the term as a whole.
const START: Span = Span { start: 0, end: 0 };

fn cost_error(name: &CostFunctionName, term: &str, text: &str, mistake: Mistake) -> CostError {
    let kept = (0..=text.len().min(lexer::LENGTH_MAX)).rev().find(|end| text.is_char_boundary(*end));
    let Span { start, end } = mistake.span;
    CostError {
        cost_function: name.clone(),
        term: printable(term, TERM_NAME_LENGTH_MAX),
        source_text: kept.and_then(|end| text.get(..end)).unwrap_or_default().to_owned(),
        span: (start, end.saturating_sub(start)),
        message: mistake.message.chars().map(|shown| if is_printable(shown) { shown } else { '?' }).collect(),
        help: mistake.help,
    }
}
