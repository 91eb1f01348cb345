//! Owns the step from cost functions to a chart of them: over which attribute, from where to where, what is held, and
//! which terms are worth a line. Every value comes out of the compiled function that also places VMs.
//!
//! Must not: draw, or read files. Pure.

mod assumptions;

use reeve_common::ids::CostFunctionName;
use reeve_common::text::printable;
use reeve_scheduler::{ChoiceRule, CostError, CostFunction, Evaluation, When, attribute_named, presets};

use self::assumptions::{ARGUMENT, Assumptions, BEFORE};
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
    if wish.attribute.is_some() && !inputs.is_empty() && !inputs.iter().any(is_used) {
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

/// The attribute to draw over: the one that is wished for; or the first number in use that placing a VM changes; or the
/// first number in use.
fn axis(subjects: &[Subject], wish: &Wish) -> Result<String, ChartError> {
    if let Some(wished) = &wish.attribute {
        let name = attribute(wished)?;
        let is_condition = attribute_named(&name).is_some_and(|known| known.condition);
        return if is_condition { Err(ChartError::Condition(name)) } else { Ok(name) };
    }
    let inputs = subjects.iter().flat_map(|subject| subject.function.inputs(When::After));
    let numbers = inputs.filter_map(|name| {
        let name = name.strip_prefix(BEFORE).unwrap_or(&name).to_owned();
        let known = attribute_named(&name).filter(|known| !known.condition);
        if name == ARGUMENT { Some((name, true)) } else { known.map(|known| (name, known.changes)) }
    });
    let numbers: Vec<(String, bool)> = numbers.collect();
    let first = numbers.iter().find(|(_, changes)| *changes).or(numbers.first());
    Ok(first.map_or_else(|| ARGUMENT.to_owned(), |(name, _)| name.clone()))
}

/// The name of the attribute that is typed as `text`, as terms write it.
fn attribute(text: &str) -> Result<String, ChartError> {
    let condition = format!("({text}) ? 1 : 0");
    let compiled = compile(text).or_else(|error| compile(&condition).map_err(|_| error));
    let function = compiled.map_err(|error| ChartError::NoAttribute(text.to_owned(), error))?;
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
    let function = compile(text).map_err(|error| ChartError::NoNumber(text.to_owned(), error))?;
    if function.inputs(When::After).is_empty() {
        return Ok(function.evaluate(When::After, &[]).total);
    }
    Err(ChartError::NoNumber(text.to_owned(), "write one such as 0.5, 50 % or 8 GiB".to_owned()))
}

/// Compiles what is typed; else what is wrong with it, or what to write instead.
fn compile(text: &str) -> Result<CostFunction, String> {
    let said = |error: CostError| error.help.unwrap_or(error.message);
    Subject::expression(text)
        .map(|subject| subject.function)
        .map_err(|errors| errors.into_iter().next().map(said).unwrap_or_default())
}

/// Each once.
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
        let is_level = points.iter().all(|(_, y)| is_same(*y, first));
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

/// Whether two values differ by no more than rounding does.
fn is_same(left: f64, right: f64) -> bool {
    left == right
        || (!left.is_finite() && !right.is_finite())
        || (left - right).abs() <= 1e-9 * right.abs().max(1.0)
}

/// What is held, and what follows from the axis, a line each.
fn assumed(inputs: &[String], assumptions: &Assumptions, (from, to): (f64, f64)) -> Vec<String> {
    let is_held = |name: &String| is_same(assumptions.value(name, from), assumptions.value(name, to));
    let others = inputs.iter().filter(|name| !assumptions.is_axis(name));
    let (mut held, following): (Vec<String>, Vec<String>) = others.cloned().partition(is_held);
    held.extend(following.iter().flat_map(|name| assumptions.behind(name)));
    let held: Vec<String> = held.iter().map(|name| shown(name, assumptions.value(name, from))).collect();
    let line =
        |word: &str, names: &[String]| (!names.is_empty()).then(|| format!("{word}: {}", listed(names)));
    [line("held (--with)", &held), line("follow", &following)].into_iter().flatten().collect()
}

/// An attribute with its value, as it can be given to `--with`.
fn shown(name: &str, value: f64) -> String {
    let known = attribute_named(name.strip_prefix(BEFORE).unwrap_or(name));
    match known {
        Some(known) if known.condition => format!("{name}={}", value != 0.0),
        known => format!("{name}={}", amount(value, known.map_or("", |known| known.unit))),
    }
}

/// A number with its unit, as one would write it in a term.
fn amount(value: f64, unit: &str) -> String {
    let rounded = (value * 1e4).round() / 1e4;
    match unit {
        _ if !value.is_finite() => "never".to_owned(),
        "MiB" if value >= 1024.0 && value % 1024.0 == 0.0 => format!("{}GiB", value / 1024.0),
        "MiB" => format!("{rounded}MiB"),
        _ => rounded.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::plot::{Characters, svg, terminal};
    use super::*;

    fn function(name: &str, terms: &[(&str, &str)]) -> Subject {
        let name = CostFunctionName::new(name).unwrap();
        let terms: Vec<_> =
            terms.iter().map(|(term, text)| ((*term).to_owned(), (*text).to_owned())).collect();
        Subject::of(CostFunction::compile(&name, &terms, ChoiceRule::Increase).unwrap())
    }

    fn mine() -> Subject {
        function(
            "mine",
            &[
                ("cpu", "2 * power(cores.load, 2)"),
                ("memory", "barrier(memory.load, 90 %)"),
                ("moved", "memory.load - before.memory.load"),
                ("flag", "measured.known ? 0.5 : 0"),
            ],
        )
    }

    fn over(attribute: &str, with: &[(&str, &str)]) -> Wish {
        let with = with.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Wish { attribute: Some(attribute.to_owned()), with, ..Wish::default() }
    }

    fn value_at(line: &Line, x: f64) -> f64 {
        line.points.iter().find(|(at, _)| (at - x).abs() < 1e-12).map(|(_, y)| *y).unwrap()
    }

    #[test]
    fn a_function_is_drawn_with_its_terms_their_sum_and_what_is_held() {
        let wish = over("memory.load", &[("cores.load", "100 %"), ("measured.known", "false")]);
        let chart = chart(&[mine()], &wish).unwrap();
        let names: Vec<&str> = chart.lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["memory", "moved", "total"]);
        assert!(chart.lines[2].main && !chart.lines[0].main);
        assert!((value_at(&chart.lines[0], 0.45) - 1.0).abs() < 1e-9);
        // The VM takes 8 of 512 GiB.
        assert!((value_at(&chart.lines[2], 0.45) - 3.015_625).abs() < 1e-9);
        assert!(value_at(&chart.lines[2], 0.95).is_infinite());
        insta::assert_snapshot!(chart.notes.join("\n"), @r"
        cpu = 2 * power(cores.load, 2), level at 2
        memory = barrier(memory.load, 90 %)
        moved = memory.load - before.memory.load
        flag = measured.known ? 0.5 : 0, level at 0
        held (--with): cores.load=1, measured.known=false, memory.total=512GiB, vm.memory=8GiB
        follow: before.memory.load
        ");
    }

    #[test]
    fn texts_are_missing_until_a_comparison_is_held() {
        let subject = Subject::expression("cores.load + (host.label.rack == 'r1' ? 10 : 0)").unwrap();
        let total = |with: &[(&str, &str)]| {
            let chart = chart(std::slice::from_ref(&subject), &over("cores.load", with)).unwrap();
            value_at(chart.lines.last().unwrap(), 0.5)
        };
        assert!((total(&[]) - 0.5).abs() < 1e-12);
        assert!((total(&[("host.label.rack == 'r1'", "true")]) - 10.5).abs() < 1e-12);
        let refused = chart(&[subject], &over("host.label.rack == 'r1'", &[])).unwrap_err();
        assert!(matches!(refused, ChartError::Condition(_)), "{refused}");
    }

    #[test]
    fn several_are_compared_by_their_sums_and_x_stands_for_what_is_drawn_over() {
        let subjects = [mine(), Subject::expression("power(x, 2)").unwrap()];
        let chart = chart(&subjects, &over("memory.load", &[])).unwrap();
        assert_eq!((chart.title.as_str(), chart.lines.len()), ("mine, power(x, 2)", 2));
        assert!((value_at(&chart.lines[1], 0.5) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn the_range_shows_what_happens() {
        let ends = |text: &str| {
            let chart = chart(&[Subject::expression(text).unwrap()], &Wish::default()).unwrap();
            chart.x.bounds.unwrap()
        };
        assert_eq!(ends("power(x, 2)"), (0.0, 1.0));
        assert_eq!(ends("ramp(x, 30, 60)"), (0.0, 90.0));
        assert_eq!(ends("ramp(x, -4, 2)"), (-6.0, 3.0));
        assert_eq!(ends("ramp(vms, 30, 60)"), (0.0, 90.0));
        assert_eq!(ends("step(vms, 1)"), (0.0, 15.0));
        assert_eq!(ends("barrier(memory.load, 95 %)"), (0.0, 1.0));
        assert_eq!(ends("3"), (0.0, 1.0));
        assert_eq!(ends("vm.owner == 'ann' ? 1 : 0"), (0.0, 1.0));
    }

    #[test]
    fn what_placement_changes_is_drawn_over_first() {
        let over = |text: &str| axis(&[Subject::expression(text).unwrap()], &Wish::default()).unwrap();
        assert_eq!(over("cores.total > 0 ? before.cores.free / cores.total : vms"), "cores.free");
        assert_eq!(over("vm.cores * vms"), "vms");
        assert_eq!(over("measured.known ? measured.cpu.load : vm.cores"), "measured.cpu.load");
        assert_eq!(over("x + vms"), "x");
    }

    #[test]
    fn a_step_is_upright() {
        let chart = chart(&[Subject::expression("step(x, 0.7001)").unwrap()], &Wish::default()).unwrap();
        let points = &chart.lines[0].points;
        let last_low = points.iter().rfind(|(_, y)| *y == 0.0).unwrap().0;
        let first_high = points.iter().find(|(_, y)| *y == 1.0).unwrap().0;
        assert!((first_high - last_low).abs() < 1e-8 && (first_high - 0.7001).abs() < 1e-12);
    }

    #[test]
    fn a_wish_that_makes_no_sense_is_told_why() {
        let wrong = |wish: &Wish| chart(&[mine()], wish).unwrap_err().to_string();
        let from = |from: &str, to: &str| Wish {
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            ..Wish::default()
        };
        for (said, words) in [
            (wrong(&over("cores.laod", &[])), "did you mean `cores.load`?"),
            (wrong(&over("cores.load + 1", &[])), "name one, such as cores.load"),
            (wrong(&over("", &[])), "is no attribute"),
            (
                wrong(&over("vms", &[])),
                "nothing here depends on vms; used are cores.load, memory.load, before.memory.load",
            ),
            (wrong(&over("measured.known", &[])), "true or false"),
            (
                wrong(&over("memory.load", &[("memory.free", "1")])),
                "memory.free and memory.load say the same",
            ),
            (wrong(&over("memory.load", &[("vms", "many")])), "\"many\" is no number"),
            (wrong(&over("memory.load", &[("vms", "vms")])), "is no number"),
            (wrong(&from("1", "1")), "from 1 to 1 there is nothing"),
            (wrong(&from("0", "1e999")), "larger than can be counted"),
            (wrong(&from("0", "1 / 0")), "is no number"),
        ] {
            assert!(said.contains(words), "{said}");
        }
        let many = vec![mine(); LINES_MAX + 1];
        assert_eq!(chart(&many, &Wish::default()), Err(ChartError::TooMany(LINES_MAX + 1)));
    }

    #[test]
    fn every_preset_can_be_drawn() {
        for subject in Subject::presets() {
            let chart = chart(&[subject], &over("memory.load", &[])).unwrap();
            assert!(chart.lines.iter().any(|line| line.points.iter().all(|(_, y)| y.is_finite())));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_typed_is_drawn_or_refused(
            tokens in proptest::collection::vec(proptest::sample::select(vec![
                "x", "vms", "cores.load", "before.vms", "1e308", "0", "-", "+", "*", "/", "(", ")", "?", ":", "<",
                "step(", "barrier(", "table(", "exponential(", ",", "64", "8 GiB", "%",
            ]), 1..12),
            ends in any::<(f64, f64)>(),
        ) {
            if let Ok(subject) = Subject::expression(&tokens.join(" ")) {
                let wish = Wish { from: Some(ends.0.to_string()), to: Some(ends.1.to_string()), ..Wish::default() };
                for wish in [wish, Wish::default()] {
                    if let Ok(chart) = chart(std::slice::from_ref(&subject), &wish) {
                        prop_assert!(!terminal(&chart, 80, Characters::Ascii).is_empty());
                        prop_assert!(!svg(&chart).contains("NaN"));
                    }
                }
            }
        }
    }
}
