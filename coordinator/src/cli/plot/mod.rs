//! Owns pictures of lines: what is drawn, as values. `terminal.rs` makes text of a chart and `svg.rs` an image; both are
//! pure, and the same chart gives the same bytes.
//!
//! ```text
//!   Chart ─ scale.rs: axes, ticks ─▶ terminal.rs  braille, or ASCII
//!                                 └▶ svg.rs       one file, for white and dark pages
//! ```
//!
//! Must not: know what the lines mean. A value that is not finite is drawn as "never": the x for which a line has no
//! value are marked, and the line ends there.

mod scale;
mod svg;
mod terminal;

use serde::Serialize;

pub(super) use self::svg::svg;
pub use self::terminal::Characters;
pub(super) use self::terminal::terminal;

/// The most lines of one chart. Each has a letter, a colour and a dash of its own; more cannot be told apart.
pub(super) const LINES_MAX: usize = 12;

/// A picture of lines over one axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Chart {
    /// What it shows.
    pub(super) title: String,
    /// The axis across.
    pub(super) x: Axis,
    /// The axis upwards.
    pub(super) y: Axis,
    /// The lines, at most [`LINES_MAX`]; what is more is not drawn.
    pub(super) lines: Vec<Line>,
    /// What should be known to read it; stands below, a line each.
    pub(super) notes: Vec<String>,
}

/// One of a chart's axes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Axis {
    /// What it measures, with its unit.
    pub(super) label: String,
    /// From where to where; as far as the lines go when not said.
    #[serde(skip)]
    pub(super) bounds: Option<(f64, f64)>,
}

impl Axis {
    /// An axis that reaches as far as the lines.
    pub(super) fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), bounds: None }
    }

    /// The same from here to there.
    pub(super) fn within(mut self, from: f64, to: f64) -> Self {
        self.bounds = Some((from, to));
        self
    }
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Line {
    /// What it is called in the legend.
    pub(super) name: String,
    /// It is what the chart is about, such as a total; drawn stronger.
    pub(super) main: bool,
    /// Its points by growing x. A y that is not finite (null in JSON) means that there is no value.
    pub(super) points: Vec<(f64, f64)>,
}

impl Line {
    /// Where it has no value: from x to x, half-way to its neighbours that have one.
    fn gaps(&self) -> Vec<(f64, f64)> {
        let mut gaps: Vec<(f64, f64)> = Vec::new();
        let mut last: Option<(f64, bool)> = None;
        for &(x, y) in &self.points {
            let is_gap = !y.is_finite();
            let border = last.map_or(x, |(before, _)| before.midpoint(x));
            match (last, is_gap) {
                (Some((_, true)), _) => {
                    if let Some(gap) = gaps.last_mut() {
                        gap.1 = if is_gap { x } else { border };
                    }
                }
                (_, true) => gaps.push((border, x)),
                (_, false) => {}
            }
            last = Some((x, is_gap));
        }
        gaps
    }
}

/// A text in lines of about so many characters, cut at spaces; all but the first are indented.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let fits = lines
            .last()
            .is_some_and(|line| line.is_empty() || line.chars().count() + 1 + word.chars().count() <= width);
        match lines.last_mut().filter(|_| fits) {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => *line = format!("{line} {word}"),
            None => lines.push(format!("  {word}")),
        }
    }
    lines
}

/// Places where some lines have no value.
#[derive(Debug, PartialEq)]
struct Gaps {
    /// From x to x.
    places: Vec<(f64, f64)>,
    /// The lines, by their number.
    lines: Vec<usize>,
}

/// The gaps of `lines`; lines with the same ones stand together.
fn gaps<'a>(lines: impl Iterator<Item = &'a Line>) -> Vec<Gaps> {
    let mut all: Vec<Gaps> = Vec::new();
    for (number, line) in lines.enumerate() {
        let places = line.gaps();
        match all.iter_mut().find(|known| known.places == places) {
            Some(known) => known.lines.push(number),
            None if places.is_empty() => {}
            None => all.push(Gaps { places, lines: vec![number] }),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chart with everything that a picture has to deal with.
    pub(super) fn example() -> Chart {
        let over = |formula: &dyn Fn(f64) -> f64| -> Vec<(f64, f64)> {
            (0..=100).map(|step| f64::from(step) / 100.0).map(|x| (x, formula(x))).collect()
        };
        let barrier = |x: f64| if x < 0.8 { x / (0.8 - x) } else { f64::INFINITY };
        Chart {
            title: "barrier against square".to_owned(),
            x: Axis::new("memory.load"),
            y: Axis::new("cost"),
            lines: vec![
                Line { name: "square".to_owned(), main: false, points: over(&|x| 4.0 * x * x) },
                Line { name: "barrier".to_owned(), main: false, points: over(&barrier) },
                Line { name: "total".to_owned(), main: true, points: over(&|x| 4.0 * x * x + barrier(x)) },
            ],
            notes: vec!["vms = 10".to_owned()],
        }
    }

    /// A chart of one line.
    pub(super) fn single(points: Vec<(f64, f64)>) -> Chart {
        Chart {
            title: "one".to_owned(),
            x: Axis::new("x"),
            y: Axis::new("y"),
            lines: vec![Line { name: "one".to_owned(), main: true, points }],
            notes: Vec::new(),
        }
    }

    #[test]
    fn gaps_reach_half_way_to_the_values_beside_them() {
        let (no, infinite) = (f64::NAN, f64::INFINITY);
        let gaps = |points: &[(f64, f64)]| single(points.to_vec()).lines[0].gaps();
        assert_eq!(
            gaps(&[(0.0, no), (1.0, 1.0), (2.0, infinite), (3.0, no), (4.0, 2.0)]),
            [(0.0, 0.5), (1.5, 3.5)]
        );
        assert_eq!(gaps(&[(0.0, 1.0), (1.0, no)]), [(0.5, 1.0)]);
        assert_eq!(gaps(&[]), []);
    }

    #[test]
    fn long_texts_are_cut_at_spaces() {
        assert_eq!(wrapped("a bc def ghij", 6), ["a bc", "  def", "  ghij"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abcdefgh"]);
        assert_eq!(wrapped("", 3), [""]);
    }

    #[test]
    fn lines_with_the_same_gaps_stand_together() {
        let found = gaps(example().lines.iter());
        assert_eq!(found.iter().map(|gaps| gaps.lines.clone()).collect::<Vec<_>>(), [[1, 2]]);
    }

    #[test]
    fn what_has_no_value_is_null_for_programs() {
        let chart = single(vec![(0.0, 1.5), (1.0, f64::INFINITY)]);
        let document = serde_json::to_value(&chart).unwrap();
        assert_eq!(document["lines"][0]["points"], serde_json::json!([[0.0, 1.5], [1.0, null]]));
    }
}
