//! Owns the step from cost functions to a chart of them: over which attribute, from where to where, what is held, and
//! which terms are worth a line. Every value comes out of the compiled function that also places VMs.
//!
//! Must not: draw, or read files. Pure.

mod assumptions;

use reeve_common::ids::CostFunctionName;
use reeve_common::text::printable;
use reeve_scheduler::{ChoiceRule, CostError, CostFunction, Evaluation, When, attribute_named, presets};

use self::assumptions::{ARGUMENT, Assumptions};
use super::plot::{Axis, Chart, LINES_MAX, Line};

/// Places at which a line is worked out: more than a picture has dots across.
const PLACES: u16 = 480;
/// A step is looked at this share of the picture before it, so that it is drawn upright.
const BESIDE: f64 = 1e-9;
/// A picture of what bends somewhere reaches this much further than the last such place.
const BEYOND: f64 = 1.5;
/// At least this share of what is usual is shown, also where all that happens happens earlier.
const NEAR: f64 = 0.25;
/// As much of an expression is repeated in a note, in bytes.
const EXPRESSION_LENGTH_MAX: usize = 120;

/// Something that can be drawn: a cost function and what it is called here.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// A cost function's name, or an expression as it was typed.
    pub(super) name: String,
    /// What it computes.
    pub(super) function: CostFunction,
}

impl Subject {
    /// A cost function under its own name.
    pub(super) fn of(function: CostFunction) -> Self {
        Self { name: function.name().to_string(), function }
    }

    /// An expression in which `x` may stand.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn expression(text: &str) -> Result<Self, Vec<CostError>> {
        // The name is for messages, and it is one.
        let name = CostFunctionName::new("typed").map_err(|_| Vec::new())?;
        let function = CostFunction::compile_of_x(&name, TYPED, text)?;
        Ok(Self { name: text.to_owned(), function })
    }

    /// The presets.
    pub(super) fn presets() -> Vec<Self> {
        // The scheduler's own tests compile every preset.
        let compiled = presets()
            .into_iter()
            .filter_map(|(name, terms)| CostFunction::compile(&name, &terms, ChoiceRule::default()).ok());
        compiled.map(Self::of).collect()
    }
}

/// The term that is made of an expression.
const TYPED: &str = "curve";

/// What is to be drawn over what.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    /// The attribute, as it was typed; the first that is used when not said.
    pub(super) attribute: Option<String>,
    /// From here, to here, as they were typed.
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    /// Attributes with their values, as they were typed.
    pub(super) with: Vec<(String, String)>,
}

/// Why a wish cannot be drawn.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum ChartError {
    /// Something typed is no attribute.
    #[error("{0:?} is no attribute of a host or a VM: {1}")]
    NoAttribute(String, String),
    /// Something typed is no number.
    #[error("{0:?} is no number: {1}")]
    NoNumber(String, String),
    /// A condition has two values only.
    #[error(
        "{0} is true or false, which gives no line; draw over another attribute and set it --with {0}=true"
    )]
    Condition(String),
    /// The attribute makes no difference.
    #[error("nothing here depends on {0}; used are {1}")]
    NotUsed(String, String),
    /// What is held says the same as what is drawn over, or as something else that is held.
    #[error("{0} and {1} say the same; give one of them")]
    SaidTwice(String, String),
    /// The range is empty or has no end.
    #[error("from {0} to {1} there is nothing to draw; the end lies beyond the beginning")]
    Range(f64, f64),
    /// More lines than can be told apart.
    #[error("{0} lines cannot be told apart; name at most {LINES_MAX}")]
    TooMany(usize),
}

/// The chart of `functions`: of one its terms and their sum, of several their sums.
pub(super) fn chart(subjects: &[Subject], wish: &Wish) -> Result<Chart, ChartError> {
    if subjects.len() > LINES_MAX {
        return Err(ChartError::TooMany(subjects.len()));
    }
    let axis = axis(subjects, wish)?;
    let given: Result<Vec<_>, _> =
        wish.with.iter().map(|(name, value)| Ok((attribute(name)?, number(value)?))).collect();
    let assumptions =
        Assumptions::new(&axis, &given?).map_err(|(one, other)| ChartError::SaidTwice(one, other))?;
    let is_used = |name: &String| assumptions.is_drawn_over(name);
    let inputs: Vec<String> =
        subjects.iter().flat_map(|subject| subject.function.inputs(When::After)).collect();
    if !inputs.is_empty() && !inputs.iter().any(is_used) {
        return Err(ChartError::NotUsed(axis, listed(&inputs)));
    }
    let (from, to) = range(subjects, &axis, wish)?;
    let places = places(subjects, &axis, (from, to));
    let mut notes = Vec::new();
    let lines = match subjects {
        [subject] => of_terms(subject, &assumptions, &places, &mut notes),
        _ => of_sums(subjects, &assumptions, &places),
    };
    let names: Vec<&str> = subjects.iter().map(|subject| subject.name.as_str()).collect();
    let title = names.join(", ");
    notes.extend(assumed(&inputs, &assumptions, (from, to)));
    let unit = attribute_named(&axis).map_or("", |known| known.unit);
    let label = if unit.is_empty() { axis } else { format!("{axis} ({unit})") };
    Ok(Chart { title, x: Axis::new(label).within(from, to), y: Axis::new("cost"), lines, notes })
}

/// The attribute to draw over: the one that is wished for, or the first number that is used.
fn axis(subjects: &[Subject], wish: &Wish) -> Result<String, ChartError> {
    if let Some(wished) = &wish.attribute {
        let name = attribute(wished)?;
        let is_condition = attribute_named(&name).is_some_and(|known| known.condition);
        return if is_condition { Err(ChartError::Condition(name)) } else { Ok(name) };
    }
    let inputs = subjects.iter().flat_map(|subject| subject.function.inputs(When::After));
    let mut numbers =
        inputs.filter(|name| name == ARGUMENT || attribute_named(name).is_some_and(|known| !known.condition));
    Ok(numbers.next().unwrap_or_else(|| ARGUMENT.to_owned()))
}

/// The name of the attribute that is typed as `text`, as terms write it.
fn attribute(text: &str) -> Result<String, ChartError> {
    let condition = format!("({text}) ? 1 : 0");
    let compiled = compile(text).or_else(|error| compile(&condition).map_err(|_| error));
    let function = compiled.map_err(|error| ChartError::NoAttribute(text.to_owned(), said(&error)))?;
    let plain = |text: &str| text.replace(['\'', '"'], "");
    match function.inputs(When::After).as_slice() {
        [name] if plain(name) == plain(text.trim()) => Ok(name.clone()),
        _ => Err(ChartError::NoAttribute(text.to_owned(), "name one, such as cores.load".to_owned())),
    }
}

/// The number that is typed as `text`: as in a term, with a unit if it likes; `true` is 1, `false` 0.
fn number(text: &str) -> Result<f64, ChartError> {
    match text {
        "true" => return Ok(1.0),
        "false" => return Ok(0.0),
        _ => {}
    }
    let function = compile(text).map_err(|error| ChartError::NoNumber(text.to_owned(), said(&error)))?;
    if function.inputs(When::After).is_empty() {
        return Ok(function.evaluate(When::After, &[]).total);
    }
    Err(ChartError::NoNumber(text.to_owned(), "write one such as 0.5, 50 % or 8 GiB".to_owned()))
}

fn compile(text: &str) -> Result<CostFunction, Option<CostError>> {
    Subject::expression(text).map(|subject| subject.function).map_err(|errors| errors.into_iter().next())
}

fn said(error: &Option<CostError>) -> String {
    let Some(error) = error else { return String::new() };
    error.help.clone().unwrap_or_else(|| error.message.clone())
}

fn listed(inputs: &[String]) -> String {
    let mut listed: Vec<&str> = Vec::new();
    for name in inputs {
        if !listed.contains(&name.as_str()) {
            listed.push(name);
        }
    }
    listed.join(", ")
}

/// From where to where: what is wished for; else what is usual, and as far as something happens.
fn range(subjects: &[Subject], axis: &str, wish: &Wish) -> Result<(f64, f64), ChartError> {
    let typed = |text: &Option<String>| text.as_deref().map(number).transpose();
    let places: Vec<f64> = landmarks(subjects, axis);
    let low = places.iter().copied().fold(0.0, f64::min);
    let high = places.iter().copied().fold(0.0, f64::max);
    let usual = attribute_named(axis).filter(|_| axis != ARGUMENT).map(|known| (known.usual, known.unit));
    let (usual_from, usual_to) = match usual {
        // A term that knows a load of 0.95 means the full host by 1.
        Some(((from, to), "share")) => (from.min(low), if high <= to { to } else { high * BEYOND }),
        Some(((from, to), _)) if high > 0.0 => (from.min(low), (high * BEYOND).max(to * NEAR)),
        Some(((from, to), _)) => (from.min(low), to),
        None => (low * BEYOND, if high > 0.0 { high * BEYOND } else { 1.0 }),
    };
    let from = typed(&wish.from)?.unwrap_or(usual_from);
    let to = typed(&wish.to)?.unwrap_or(if usual_to > from { usual_to } else { from + 1.0 });
    if from < to && (to - from).is_finite() { Ok((from, to)) } else { Err(ChartError::Range(from, to)) }
}

fn landmarks(subjects: &[Subject], axis: &str) -> Vec<f64> {
    let of = |Subject { function, .. }: &Subject| {
        let over_x = (axis != ARGUMENT).then(|| function.landmarks(ARGUMENT));
        function.landmarks(axis).into_iter().chain(over_x.into_iter().flatten()).collect::<Vec<f64>>()
    };
    subjects.iter().flat_map(of).filter(|place| place.is_finite()).collect()
}

/// Where lines are worked out: evenly, and close to where something happens.
fn places(subjects: &[Subject], axis: &str, (from, to): (f64, f64)) -> Vec<f64> {
    let even = (0..=PLACES).map(|step| {
        let share = f64::from(step) / f64::from(PLACES);
        from * (1.0 - share) + to * share
    });
    let marks = landmarks(subjects, axis).into_iter().flat_map(|place| {
        let beside = (to - from) * BESIDE;
        [place - beside, place, place + beside]
    });
    let mut places: Vec<f64> = even.chain(marks.filter(|place| (from..=to).contains(place))).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    places
}

fn evaluate(function: &CostFunction, assumptions: &Assumptions, x: f64) -> Evaluation {
    let inputs = function.inputs(When::After);
    let values: Vec<f64> = inputs.iter().map(|name| assumptions.value(name, x)).collect();
    function.evaluate(When::After, &values)
}

/// A line for each function.
fn of_sums(subjects: &[Subject], assumptions: &Assumptions, places: &[f64]) -> Vec<Line> {
    let line = |Subject { name, function }: &Subject| {
        let points = places.iter().map(|x| (*x, evaluate(function, assumptions, *x).total)).collect();
        Line { name: name.clone(), main: false, points }
    };
    subjects.iter().map(line).collect()
}

/// The sum of a function, and a line for each term that is not level. What is not drawn is noted.
fn of_terms(
    Subject { name, function }: &Subject,
    assumptions: &Assumptions,
    places: &[f64],
    notes: &mut Vec<String>,
) -> Vec<Line> {
    let all: Vec<(f64, Evaluation)> =
        places.iter().map(|x| (*x, evaluate(function, assumptions, *x))).collect();
    let sum = all.iter().map(|(x, worth)| (*x, worth.total)).collect();
    let terms: Vec<(&str, &str)> = function.terms().collect();
    let of_sum = if terms.len() == 1 { name } else { "total" };
    let mut lines = vec![Line { name: of_sum.to_owned(), main: true, points: sum }];
    for (index, (term, text)) in terms.iter().enumerate() {
        let value = |worth: &Evaluation| worth.terms.get(index).copied().unwrap_or(f64::NAN);
        let points: Vec<(f64, f64)> = all.iter().map(|(x, worth)| (*x, value(worth))).collect();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = printable(&text, EXPRESSION_LENGTH_MAX);
        let first = points.first().map_or(f64::NAN, |(_, first)| *first);
        let is_level = points.iter().all(|(_, y)| *y == first || (y.is_nan() && first.is_nan()));
        if is_level && terms.len() > 1 {
            notes.push(format!("{term} = {text}, level at {}", amount(first, "")));
        } else if *term != TYPED {
            notes.push(format!("{term} = {text}"));
        }
        if !is_level && terms.len() > 1 && lines.len() < LINES_MAX {
            lines.push(Line { name: (*term).to_owned(), main: false, points });
        }
    }
    // Under the sum in the legend as in the file.
    lines.rotate_left(1);
    lines
}

/// What is held, and what follows from the axis, a line each.
fn assumed(inputs: &[String], assumptions: &Assumptions, (from, to): (f64, f64)) -> Vec<String> {
    let mut held: Vec<String> = Vec::new();
    let mut following: Vec<&str> = Vec::new();
    for name in inputs.iter().filter(|name| !assumptions.is_axis(name)) {
        let (first, last) = (assumptions.value(name, from), assumptions.value(name, to));
        let known = attribute_named(name.strip_prefix("before.").unwrap_or(name));
        let shown = match known {
            Some(known) if known.condition => (first != 0.0).to_string(),
            known => amount(first, known.map_or("", |known| known.unit)),
        };
        let shown = format!("{name} = {shown}");
        if first != last && !following.contains(&name.as_str()) {
            following.push(name);
        } else if first == last && !held.contains(&shown) {
            held.push(shown);
        }
    }
    let held = (!held.is_empty()).then(|| format!("held (--with): {}", held.join(", ")));
    let following = (!following.is_empty()).then(|| format!("follow: {}", following.join(", ")));
    held.into_iter().chain(following).collect()
}

/// A number with its unit, as one would write it in a term.
fn amount(value: f64, unit: &str) -> String {
    let rounded = (value * 1e4).round() / 1e4;
    match unit {
        _ if !value.is_finite() => "never".to_owned(),
        "MiB" if value >= 1024.0 && value % 1024.0 == 0.0 => format!("{} GiB", value / 1024.0),
        "MiB" | "MiB/s" => format!("{rounded} {unit}"),
        _ => rounded.to_string(),
    }
}
