//! Owns the step from a parsed term to program steps: what each name means, which types go together, and whether a
//! curve's parameters are in range.

use super::attribute::{ARGUMENT, Attribute, Input, NamedThings, When, resolve};
use super::curve::{self, Curve};
use super::lexer::Symbol;
use super::mistake::{Mistake, Span};
use super::operation::{Operation, Points};
use super::parser::{Node, NodeKind};
use super::program::{Builder, Cell};
use super::suggestion::did_you_mean;
use super::text::{TEXT_TESTS_MAX, Text, TextTest};

/// A sigmoid is 2 % from its ends at this distance from its middle, times its steepness.
const SIGMOID_REACH: f64 = 4.0;

/// What a part of a term is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Number,
    Condition,
    /// With its number among the term's texts. It has no cell of its own.
    Text(usize),
}

/// A part of the term that has been worked out.
#[derive(Debug, Clone, Copy)]
struct Operand {
    cell: Cell,
    kind: Type,
    span: Span,
    changes: bool,
}

/// A term as steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lowered {
    /// Its value.
    pub(super) cell: Cell,
    /// Whether placing the VM changes anything in it. What nothing changes is a charge for the VM.
    pub(super) changes: bool,
}

/// For which moment a term is worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// As written: with the VM, except behind `before.`.
    With,
    /// For the host as it is, throughout.
    Without,
    /// As written, and `x` stands for a number to draw over.
    Drawn,
}

/// Adds the steps of one term to `builder`.
pub(super) fn lower(
    nodes: &[Node],
    moment: Moment,
    builder: &mut Builder,
    things: &mut NamedThings,
) -> Result<Lowered, Mistake> {
    let mut lowering = Lowering { moment, builder, things, operands: Vec::new(), texts: Vec::new() };
    for node in nodes {
        let operand = lowering.node(node)?;
        lowering.operands.push(operand);
    }
    let whole = lowering.pop(Span { start: 0, end: 0 })?;
    if whole.kind != Type::Number {
        let message = format!("a term is a number, and this is {}", describe(whole.kind));
        return Err(Mistake::new(whole.span, message).with_help(way_to_number(whole.kind)));
    }
    match lowering.builder.constant_value(whole.cell).filter(|value| !value.is_finite()) {
        Some(_) => {
            Err(Mistake::new(whole.span, "this is never a finite number, so no host could ever be chosen"))
        }
        None => Ok(Lowered { cell: whole.cell, changes: whole.changes }),
    }
}

struct Lowering<'a> {
    moment: Moment,
    builder: &'a mut Builder,
    things: &'a mut NamedThings,
    operands: Vec<Operand>,
    /// The texts that were met.
    texts: Vec<Text>,
}

impl Lowering<'_> {
    /// The last operand. The parser puts operands before their operator, so there is one.
    fn pop(&mut self, span: Span) -> Result<Operand, Mistake> {
        self.operands.pop().ok_or_else(|| Mistake::new(span, "an operand is missing"))
    }

    fn node(&mut self, node: &Node) -> Result<Operand, Mistake> {
        let span = node.span;
        match &node.kind {
            NodeKind::Number(value) => {
                let cell = self.builder.constant(*value);
                Ok(Operand { cell, kind: Type::Number, span, changes: false })
            }
            NodeKind::Text(text) => Ok(self.text(Text::Literal(text.clone()), span)),
            NodeKind::Name(parts) => self.name(parts, span),
            NodeKind::Negate => {
                let operand = self.pop(span)?;
                number(&operand, "`-`")?;
                Ok(self.step(Operation::Negate, &[operand], Type::Number, span))
            }
            NodeKind::Not => {
                let operand = self.pop(span)?;
                condition(&operand, "`not`")?;
                Ok(self.step(Operation::Not, &[operand], Type::Condition, span))
            }
            NodeKind::Binary(symbol) => {
                let right = self.pop(span)?;
                let left = self.pop(span)?;
                self.binary(*symbol, left, right, span)
            }
            NodeKind::Choice => {
                let no = self.pop(span)?;
                let yes = self.pop(span)?;
                let question = self.pop(span)?;
                self.choice(question, yes, no, span)
            }
            NodeKind::Call { name, name_span, arguments } => self.call(name, *name_span, *arguments, span),
        }
    }

    fn step(&mut self, operation: Operation, operands: &[Operand], kind: Type, span: Span) -> Operand {
        let cells: Vec<Cell> = operands.iter().map(|operand| operand.cell).collect();
        let cell = self.builder.apply(operation, &cells);
        Operand { cell, kind, span, changes: operands.iter().any(|operand| operand.changes) }
    }

    fn name(&mut self, parts: &[String], span: Span) -> Result<Operand, Mistake> {
        let name = parts.join(".");
        if let Some(curve) = Curve::ALL.into_iter().find(|curve| curve.name() == name) {
            let help = format!("write `{}`", curve.usage());
            return Err(
                Mistake::new(span, format!("`{name}` is a curve and needs its arguments")).with_help(help)
            );
        }
        if self.moment == Moment::Drawn && name == ARGUMENT {
            let input = Input { attribute: Attribute::Argument, when: When::After };
            let cell = self.builder.input(input);
            return Ok(Operand { cell, kind: Type::Number, span, changes: true });
        }
        let parts_of_name: Vec<&str> = parts.iter().map(String::as_str).collect();
        if let Some(text) = Text::named(&parts_of_name) {
            return Ok(self.text(text, span));
        }
        let mut input = resolve(parts, self.things)
            .map_err(|unknown| Mistake::new(span, unknown.message).with_help(unknown.help))?;
        let changes = input.when == When::After;
        if self.moment == Moment::Without {
            input = Input { when: When::Before, ..input };
        }
        let kind = if input.attribute.is_truth() { Type::Condition } else { Type::Number };
        Ok(Operand { cell: self.builder.input(input), kind, span, changes })
    }

    fn text(&mut self, text: Text, span: Span) -> Operand {
        self.texts.push(text);
        // Never read. A number that is not one would make the function unequal to itself.
        let cell = self.builder.constant(0.0);
        Operand { cell, kind: Type::Text(self.texts.len() - 1), span, changes: false }
    }

    /// `left == right` of texts: what it comes to, or an input that says so.
    fn same_text(
        &mut self,
        left: &Operand,
        right: &Operand,
        sign: &str,
        span: Span,
    ) -> Result<Operand, Mistake> {
        let text = |operand: &Operand| {
            let Type::Text(number) = operand.kind else {
                let message =
                    format!("{sign} compares a text with a text, and this is {}", describe(operand.kind));
                return Err(Mistake::new(operand.span, message).with_help("write a text in quotes: `'7'`"));
            };
            self.texts.get(number).cloned().ok_or_else(|| Mistake::new(operand.span, "a text is missing"))
        };
        let test = TextTest::new(text(left)?, text(right)?);
        let cell = match test.constant() {
            Some(outcome) => self.builder.constant(f64::from(u8::from(outcome))),
            None => {
                let input = self.things.text_test(test).ok_or_else(|| {
                    let message = format!("a function has at most {TEXT_TESTS_MAX} comparisons of texts");
                    Mistake::new(span, message).with_help("leave out some of them")
                })?;
                self.builder.input(input)
            }
        };
        Ok(Operand { cell, kind: Type::Condition, span, changes: false })
    }

    fn binary(
        &mut self,
        symbol: Symbol,
        left: Operand,
        right: Operand,
        span: Span,
    ) -> Result<Operand, Mistake> {
        let sign = format!("`{}`", symbol.as_str());
        let (operation, is_swapped, result) = match symbol {
            Symbol::Plus => (Operation::Add, false, Type::Number),
            Symbol::Minus => (Operation::Subtract, false, Type::Number),
            Symbol::Star => (Operation::Multiply, false, Type::Number),
            Symbol::Slash => (Operation::Divide, false, Type::Number),
            Symbol::Less => (Operation::Less, false, Type::Condition),
            Symbol::LessEqual => (Operation::LessEqual, false, Type::Condition),
            Symbol::Greater => (Operation::Less, true, Type::Condition),
            Symbol::GreaterEqual => (Operation::LessEqual, true, Type::Condition),
            Symbol::Equal => (Operation::Equal, false, Type::Condition),
            Symbol::NotEqual => (Operation::NotEqual, false, Type::Condition),
            Symbol::And => (Operation::And, false, Type::Condition),
            Symbol::Or => (Operation::Or, false, Type::Condition),
            _ => return Err(Mistake::new(span, format!("{sign} joins nothing"))),
        };
        let is_text = |operand: &Operand| matches!(operand.kind, Type::Text(_));
        if matches!(symbol, Symbol::Equal | Symbol::NotEqual) && (is_text(&left) || is_text(&right)) {
            let same = self.same_text(&left, &right, &sign, span)?;
            return Ok(match symbol {
                Symbol::Equal => same,
                _ => self.step(Operation::Not, &[same], Type::Condition, span),
            });
        }
        let check = if matches!(symbol, Symbol::And | Symbol::Or) { condition } else { number };
        check(&left, &sign)?;
        check(&right, &sign)?;
        if result == Type::Condition {
            for (input, constant) in [(left.cell, right.cell), (right.cell, left.cell)] {
                let place = self.builder.constant_value(constant);
                place.into_iter().for_each(|place| self.builder.landmark(input, place));
            }
        }
        let operands = if is_swapped { [right, left] } else { [left, right] };
        Ok(self.step(operation, &operands, result, span))
    }

    fn choice(
        &mut self,
        question: Operand,
        yes: Operand,
        no: Operand,
        span: Span,
    ) -> Result<Operand, Mistake> {
        condition(&question, "`?`")?;
        if let Some(text) = [yes, no].iter().find(|side| matches!(side.kind, Type::Text(_))) {
            let message = "`? :` chooses between numbers or conditions, and this is a text";
            return Err(Mistake::new(text.span, message).with_help(COMPARE));
        }
        if yes.kind != no.kind {
            let message =
                format!("one side of `:` is {}, the other {}", describe(yes.kind), describe(no.kind));
            return Err(Mistake::new(no.span, message).with_help("both must be of one kind"));
        }
        Ok(self.step(Operation::Choose, &[question, yes, no], yes.kind, span))
    }

    fn call(&mut self, name: &str, name_span: Span, count: usize, span: Span) -> Result<Operand, Mistake> {
        let arguments = self.operands.split_off(self.operands.len().saturating_sub(count));
        let Some(curve) = Curve::ALL.into_iter().find(|curve| curve.name() == name) else {
            let names = || Curve::ALL.iter().map(|curve| curve.name());
            let help = did_you_mean(name, names())
                .unwrap_or_else(|| format!("the curves are {}", names().collect::<Vec<_>>().join(", ")));
            return Err(Mistake::new(name_span, format!("`{name}` is no curve")).with_help(help));
        };
        for argument in &arguments {
            number(argument, &format!("`{name}`"))?;
        }
        let arguments = self.complete(curve, arguments, span)?;
        self.remember_landmarks(curve, &arguments);
        let (operation, operands) = self.operation(curve, arguments, span)?;
        Ok(self.step(operation, &operands, Type::Number, span))
    }

    /// Remembers where a curve of an input bends, so that a picture of it shows the place.
    fn remember_landmarks(&mut self, curve: Curve, arguments: &[Operand]) {
        let Some((of, rest)) = arguments.split_first() else { return };
        let constants: Vec<f64> =
            rest.iter().filter_map(|operand| self.builder.constant_value(operand.cell)).collect();
        let places = match (curve, constants.as_slice()) {
            (Curve::Ramp, [from, to]) => vec![*from, *to],
            (Curve::Step, [at]) => vec![*at],
            (Curve::Barrier, [limit]) => vec![*limit],
            (Curve::Sigmoid, [middle, steepness]) => {
                vec![middle - SIGMOID_REACH / steepness, middle + SIGMOID_REACH / steepness]
            }
            (Curve::Table, coordinates) => coordinates.iter().step_by(2).copied().collect(),
            _ => Vec::new(),
        };
        places.into_iter().for_each(|place| self.builder.landmark(of.cell, place));
    }

    /// Checks how many arguments there are and their ranges, and adds those left out.
    fn complete(
        &mut self,
        curve: Curve,
        mut arguments: Vec<Operand>,
        span: Span,
    ) -> Result<Vec<Operand>, Mistake> {
        let usage = || format!("write `{}`", curve.usage());
        let parameters = curve.parameters();
        let least = 1 + parameters.iter().filter(|parameter| parameter.default.is_none()).count();
        let given = arguments.len();
        let is_table = curve == Curve::Table;
        if given < least || (!is_table && given > 1 + parameters.len()) {
            let message = format!("`{}` does not take {given} argument{}", curve.name(), plural(given));
            return Err(Mistake::new(span, message).with_help(usage()));
        }
        for (argument, parameter) in arguments.iter().skip(1).zip(parameters) {
            let value = self.builder.constant_value(argument.cell);
            if let Some(value) = value.filter(|value| !parameter.range.holds(*value)) {
                let message = format!("`{}` of `{}` is out of range: {value}", parameter.name, curve.name());
                let help = format!("it is {}", parameter.range.describe());
                return Err(Mistake::new(argument.span, message).with_help(help));
            }
        }
        for parameter in parameters.iter().skip(given - 1) {
            let cell = self.builder.constant(parameter.default.unwrap_or(f64::NAN));
            arguments.push(Operand { cell, kind: Type::Number, span, changes: false });
        }
        Ok(arguments)
    }

    /// The step that a curve is, and what it works on.
    fn operation(
        &mut self,
        curve: Curve,
        mut arguments: Vec<Operand>,
        span: Span,
    ) -> Result<(Operation, Vec<Operand>), Mistake> {
        let constant = |number: usize| {
            arguments.get(number).and_then(|argument| self.builder.constant_value(argument.cell))
        };
        let operation = match (curve, constant(1), constant(2)) {
            (Curve::Constant, ..) => Operation::Same,
            (Curve::Linear, ..) => Operation::Linear,
            (Curve::Ramp, Some(from), Some(to)) if from >= to => {
                let message = format!("the ramp goes from {from} to {to}, which is not upwards");
                let help = "put the lower number first; for a ramp downwards write `1 - ramp(…)`";
                return Err(Mistake::new(span, message).with_help(help));
            }
            (Curve::Ramp, ..) => Operation::Ramp,
            (Curve::Power, exponent, _) => match exponent.and_then(whole) {
                Some(exponent) => {
                    arguments.truncate(1);
                    Operation::PowerWhole(exponent)
                }
                None => Operation::Power,
            },
            (Curve::Exponential, None, _) => Operation::Exponential,
            (Curve::Exponential, Some(bend), _) => {
                let cell = self.builder.constant(curve::exponential_scale(bend));
                arguments.push(Operand { cell, kind: Type::Number, span, changes: false });
                Operation::ExponentialScaled
            }
            (Curve::Logarithmic, ..) => Operation::Logarithmic,
            (Curve::Sigmoid, ..) => Operation::Sigmoid,
            (Curve::Step, ..) => Operation::Step,
            (Curve::Barrier, ..) => Operation::Barrier,
            (Curve::Table, ..) => {
                let points = self.points(arguments.get(1..).unwrap_or_default(), span)?;
                arguments.truncate(1);
                self.builder.table(points)
            }
        };
        Ok((operation, arguments))
    }

    /// The points of a table from its coordinates.
    fn points(&self, coordinates: &[Operand], span: Span) -> Result<Points, Mistake> {
        let count = coordinates.len() / 2;
        if !coordinates.len().is_multiple_of(2) || !(2..=curve::POINTS_MAX).contains(&count) {
            let message = format!(
                "a table has 2 to {} points of two numbers each; this one has {} numbers",
                curve::POINTS_MAX,
                coordinates.len()
            );
            return Err(Mistake::new(span, message).with_help(format!("write `{}`", Curve::Table.usage())));
        }
        let value = |operand: &Operand| {
            let value = self.builder.constant_value(operand.cell).filter(|value| value.is_finite());
            value.ok_or_else(|| Mistake::new(operand.span, "the points of a table are finite constants"))
        };
        let mut points: Points = Vec::with_capacity(count);
        for pair in coordinates.chunks_exact(2) {
            let [place, height] = pair else { continue };
            let point = (value(place)?, value(height)?);
            if points.last().is_some_and(|last| last.0 >= point.0) {
                let message = format!("{} does not lie beyond the point before it", point.0);
                return Err(Mistake::new(place.span, message).with_help("order the points by growing x"));
            }
            points.push(point);
        }
        Ok(points)
    }
}

/// `value` as a whole number, if it is a small one.
fn whole(value: f64) -> Option<u32> {
    (0..=64_u32).find(|candidate| f64::from(*candidate) == value)
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn describe(kind: Type) -> &'static str {
    match kind {
        Type::Number => "a number",
        Type::Condition => "a condition",
        Type::Text(_) => "a text",
    }
}

/// What is done with a text.
const COMPARE: &str = "texts are compared by `==` and `!=`, as in `host.label.rack == 'r1'`";

/// What to write where a number is wanted and something of this kind stands.
fn way_to_number(kind: Type) -> &'static str {
    match kind {
        Type::Number | Type::Condition => "write `… ? 1 : 0` to make a number of it",
        Type::Text(_) => COMPARE,
    }
}

fn number(operand: &Operand, who: &str) -> Result<(), Mistake> {
    if operand.kind == Type::Number {
        return Ok(());
    }
    let message = format!("{who} takes numbers, and this is {}", describe(operand.kind));
    Err(Mistake::new(operand.span, message).with_help(way_to_number(operand.kind)))
}

fn condition(operand: &Operand, who: &str) -> Result<(), Mistake> {
    if operand.kind == Type::Condition {
        return Ok(());
    }
    let help = match operand.kind {
        Type::Text(_) => COMPARE,
        Type::Number | Type::Condition => "compare it with something, as in `vms > 0`",
    };
    let message = format!("{who} takes conditions, and this is {}", describe(operand.kind));
    Err(Mistake::new(operand.span, message).with_help(help))
}
