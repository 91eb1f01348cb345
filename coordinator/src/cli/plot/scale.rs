//! Owns a chart's axes as numbers: from where to where they go, where their ticks are, and which part of a line lies
//! within. Pure.

use super::{Axis, Chart, Line};

/// Numbers further out are drawn at the edge: the distance of two of them is still finite.
const EDGE: f64 = 1e300;
/// A share of an axis so far out that nobody sees the slope of what leads there.
const FAR: f64 = 1e9;
/// Spans smaller than this share of the numbers themselves are rounding, drawn as a level line.
const SPAN_SHARE_MIN: f64 = 1e-9;
/// Below this a span is as good as none.
const SPAN_MIN: f64 = 1e-290;
/// Of a line that grows without bound this share of its points is shown; the rest would flatten all others.
const SHOWN_SHARE_OF_UNBOUNDED: f64 = 0.88;
/// A lowest value below this share of the highest makes the axis begin at 0.
const ZERO_SHARE: f64 = 0.6;

/// An axis: from where to where, and how far apart its ticks are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) from: f64,
    pub(super) to: f64,
    step: f64,
}

/// The axes of `chart` with about so many ticks on each.
pub(super) fn axes(chart: &Chart, ticks_across: u8, ticks_up: u8) -> (Scale, Scale) {
    let places = chart.lines.iter().flat_map(|line| line.points.iter().map(|(x, _)| *x));
    let (from, to) = bounds(&chart.x, || extent(places));
    let x = Scale::exact(from, to, ticks_across);
    let y = match chart.y.bounds {
        Some((from, to)) => Scale::exact(from, to, ticks_up),
        None => {
            let reach = chart.lines.iter().filter_map(|line| reach(line, (x.from, x.to)));
            let (low, high) = extent(reach.flat_map(|(low, high)| [low, high])).unwrap_or((0.0, 1.0));
            Scale::rounded(low, high, ticks_up)
        }
    };
    (x, y)
}

fn bounds(axis: &Axis, found: impl FnOnce() -> Option<(f64, f64)>) -> (f64, f64) {
    axis.bounds.or_else(found).unwrap_or((0.0, 1.0))
}

/// The lowest and the highest of the finite numbers.
fn extent(numbers: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    numbers.filter(|number| number.is_finite()).fold(None, |extent, number| {
        let (low, high) = extent.unwrap_or((number, number));
        Some((low.min(number), high.max(number)))
    })
}

/// The lowest and the highest value that should be seen of a line between two x.
fn reach(line: &Line, (from, to): (f64, f64)) -> Option<(f64, f64)> {
    let inside = line.points.iter().filter(|(x, _)| (from..=to).contains(x));
    let mut values: Vec<f64> = inside.map(|(_, y)| *y).collect();
    let all = values.len();
    values.retain(|value| value.is_finite());
    let (low, high) = extent(values.iter().copied())?;
    if values.len() == all {
        return Some((low, high));
    }
    // It may end because it has grown without bound.
    values.sort_by(f64::total_cmp);
    let below = |value: &&f64| values.partition_point(|other| other <= *value);
    let enough = share_of(values.len(), SHOWN_SHARE_OF_UNBOUNDED);
    Some((low, values.iter().find(|value| below(value) >= enough).copied().unwrap_or(high)))
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of a length
fn share_of(count: usize, share: f64) -> usize {
    (count as f64 * share) as usize
}

impl Scale {
    /// An axis with exactly these ends.
    fn exact(from: f64, to: f64, ticks: u8) -> Self {
        let (from, to) = widened(from, to);
        Self { from, to, step: round_step((to - from) / f64::from(ticks.max(1))) }
    }

    /// An axis over these values that ends at ticks, and begins at 0 when that is near.
    fn rounded(low: f64, high: f64, ticks: u8) -> Self {
        let is_level = high - low <= high.abs().max(low.abs()) * SPAN_SHARE_MIN;
        let near_zero = |near: f64, far: f64| near > 0.0 && (is_level || near < far * ZERO_SHARE);
        let low = if near_zero(low, high) { 0.0 } else { low };
        let high = if near_zero(-high, -low) { 0.0 } else { high };
        let Self { from, to, step } = Self::exact(low, high, ticks);
        Self { from: (from / step).floor() * step, to: (to / step).ceil() * step, step }
    }

    /// Where on the axis a number is, from 0 to 1; beyond that it lies outside.
    pub(super) fn share(&self, number: f64) -> f64 {
        ((number.clamp(-EDGE, EDGE) - self.from) / (self.to - self.from)).clamp(-FAR, FAR)
    }

    /// The ticks with their labels, upwards.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let first = (self.from / self.step).ceil();
        // The step is a good part of the span, so this ends by itself; the bound is for what rounding might do.
        (0..64_u8)
            .map(|number| (first + f64::from(number)) * self.step)
            .take_while(|tick| *tick <= self.to + self.step * 1e-6)
            .map(|tick| (tick, label(tick, self.step, self.from.abs().max(self.to.abs()))))
            .collect()
    }
}

/// Ends that are apart, in order and finite.
fn widened(from: f64, to: f64) -> (f64, f64) {
    let (from, to) = (from.min(to).clamp(-EDGE, EDGE), from.max(to).clamp(-EDGE, EDGE));
    let size = from.abs().max(to.abs());
    if to - from > (size * SPAN_SHARE_MIN).max(SPAN_MIN) {
        return (from, to);
    }
    let half = if size > SPAN_MIN { size / 2.0 } else { 0.5 };
    (from - half, to + half)
}

/// 1, 2 or 5 times a power of ten, at least as much as `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let digits = least / power;
    let round = [1.0, 2.0, 5.0].into_iter().find(|round| digits <= *round * (1.0 + 1e-9)).unwrap_or(10.0);
    round * power
}

/// A tick as text, with the digits its step needs; with powers of ten on an axis that reaches far.
fn label(tick: f64, step: f64, reach: f64) -> String {
    let tick = if tick.abs() < step / 2.0 { 0.0 } else { tick };
    if reach >= 1e7 || step < 1e-6 {
        return if tick == 0.0 { "0".to_owned() } else { shortened(&format!("{tick:.3e}")) };
    }
    let digits = (0..7_usize).find(|digits| {
        let power = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6].get(*digits).copied().unwrap_or(1e6);
        let shifted = step * power;
        (shifted - shifted.round()).abs() < 1e-6 * shifted
    });
    format!("{tick:.*}", digits.unwrap_or(6))
}

/// `1.500e9` as `1.5e9`.
fn shortened(text: &str) -> String {
    match text.split_once('e') {
        Some((digits, power)) if digits.contains('.') => {
            format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text.to_owned(),
    }
}

/// The part of a straight line between two points that lies within 0 to 1 both ways; none when it misses.
pub(super) fn clipped(start: (f64, f64), end: (f64, f64)) -> Option<((f64, f64), (f64, f64))> {
    let (way_x, way_y) = (end.0 - start.0, end.1 - start.1);
    let (mut first, mut last) = (0.0_f64, 1.0_f64);
    for (way, to_low, to_high) in [(way_x, start.0, 1.0 - start.0), (way_y, start.1, 1.0 - start.1)] {
        if way == 0.0 {
            if to_low < 0.0 || to_high < 0.0 {
                return None;
            }
            continue;
        }
        let (enters, leaves) = (-to_low / way, to_high / way);
        first = first.max(enters.min(leaves));
        last = last.min(enters.max(leaves));
    }
    let at = |share: f64| (start.0 + way_x * share, start.1 + way_y * share);
    (first <= last).then(|| (at(first), at(last)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{example, single};
    use super::*;

    fn labels(scale: Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_labelled_with_the_digits_they_need() {
        assert_eq!(labels(Scale::exact(0.0, 1.0, 5)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(Scale::exact(0.0, 100.0, 5)), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(Scale::rounded(-3.0, 12.0, 4)), ["-5", "0", "5", "10", "15"]);
        assert_eq!(labels(Scale::rounded(0.0, 3e9, 3)), ["0", "1e9", "2e9", "3e9"]);
        assert_eq!(labels(Scale::exact(0.0, 0.004, 4)), ["0.000", "0.001", "0.002", "0.003", "0.004"]);
        assert_eq!(labels(Scale::exact(0.0, 25.0, 3)), ["0", "10", "20"]);
    }

    #[test]
    fn a_line_that_grows_without_bound_does_not_flatten_the_others() {
        let (_, y) = axes(&example(), 6, 6);
        assert!((8.0..=20.0).contains(&y.to), "{y:?}");
        let (_, y) = axes(&single(vec![(0.0, 1.0), (1.0, 1e6)]), 6, 6);
        assert!(y.to >= 1e6, "a line with all its values is shown whole: {y:?}");
    }

    #[test]
    fn an_axis_begins_at_zero_when_that_is_near() {
        assert!(Scale::rounded(2.0, 10.0, 5).from == 0.0);
        assert!(Scale::rounded(90.0, 100.0, 5).from == 90.0);
        assert!(Scale::rounded(-10.0, -2.0, 5).to == 0.0);
        assert!(Scale::rounded(5.0, 5.0, 5).from == 0.0);
    }

    #[test]
    fn lines_are_cut_at_the_edges() {
        assert_eq!(clipped((0.5, -1.0), (0.5, 2.0)), Some(((0.5, 0.0), (0.5, 1.0))));
        assert_eq!(clipped((-1.0, 0.5), (0.5, 0.5)), Some(((0.0, 0.5), (0.5, 0.5))));
        assert_eq!(clipped((0.0, 1.5), (1.0, 1.2)), None);
    }

    proptest! {
        #[test]
        fn any_numbers_give_an_axis_that_ends(from in any::<f64>(), to in any::<f64>(), ticks in 1_u8..12) {
            for scale in [Scale::exact(from, to, ticks), Scale::rounded(from, to, ticks)] {
                if from.is_nan() || to.is_nan() { continue; }
                prop_assert!(scale.from < scale.to && scale.step > 0.0, "{scale:?}");
                prop_assert!(scale.ticks().len() <= 26, "{scale:?}");
                prop_assert!(scale.ticks().iter().all(|(_, label)| label.len() <= 20), "{scale:?}");
                prop_assert!(scale.share(scale.to) > 0.99);
            }
        }
    }
}
