//! Owns the curves: what each computes, its parameters and their ranges. `reference.rs` makes the tables of them.
//!
//! Must not: know how a term is written or run. A curve is a pure function of numbers; a parameter out of its range gives
//! NaN, which means "never here"; a constant one is refused when the term is compiled. NaN in is NaN out.

/// Which numbers a parameter may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Range {
    /// Any finite number.
    Any,
    /// From the first to the second, both included.
    Within(f64, f64),
    /// Above this.
    Above(f64),
}

impl Range {
    /// Whether `value` lies in it.
    pub(super) fn holds(self, value: f64) -> bool {
        match self {
            Self::Any => value.is_finite(),
            Self::Within(low, high) => (low..=high).contains(&value),
            Self::Above(low) => value > low && value.is_finite(),
        }
    }

    /// In words.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Any => "any finite number".to_owned(),
            Self::Within(low, high) => format!("from {low} to {high}"),
            Self::Above(low) => format!("above {low}"),
        }
    }
}

/// A parameter of a curve, behind the number the curve is of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    /// Its name.
    pub(super) name: &'static str,
    /// What it may be.
    pub(super) range: Range,
    /// What it is when it is left out.
    pub(super) default: Option<f64>,
    /// What it does to the curve.
    pub(super) meaning: &'static str,
}

/// A curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Curve {
    /// `constant(value)` = value, whatever the host; any finite value. Of use as a weight with a name, and to switch a
    /// term off.
    ///
    /// ```text
    /// value ┤─────────
    ///       │
    ///     0 ┤
    ///       └─────────▶ x
    /// ```
    Constant,
    /// See [`linear`].
    Linear,
    /// See [`ramp`].
    Ramp,
    /// See [`power`].
    Power,
    /// See [`exponential`].
    Exponential,
    /// See [`logarithmic`].
    Logarithmic,
    /// See [`sigmoid`].
    Sigmoid,
    /// See [`step`].
    Step,
    /// See [`barrier`].
    Barrier,
    /// See [`table`].
    Table,
}

/// The largest exponent of `power`: a load of 0.5 is then 5e-20 and a hundred VMs 1e128.
const EXPONENT: Range = Range::Within(0.0, 64.0);
/// How bent `exponential` may be: at 0.01 it is straight, at 100 nothing but the last percent counts.
const BEND: Range = Range::Within(0.01, 100.0);
/// How bent `logarithmic` may be: it bends much more slowly.
const LOGARITHMIC_BEND: Range = Range::Within(0.01, 1e6);
/// How steep `sigmoid` may be: at 10,000 it is a step.
const STEEPNESS: Range = Range::Within(0.01, 10_000.0);
/// How many points a table may have.
pub(super) const POINTS_MAX: usize = 64;

const fn required(name: &'static str, range: Range, meaning: &'static str) -> Parameter {
    Parameter { name, range, default: None, meaning }
}

const fn optional(name: &'static str, range: Range, default: f64, meaning: &'static str) -> Parameter {
    Parameter { name, range, default: Some(default), meaning }
}

const LINEAR: [Parameter; 2] = [
    optional("slope", Range::Any, 1.0, "how much it rises over 1 of x"),
    optional("offset", Range::Any, 0.0, "its value at x = 0"),
];
const RAMP: [Parameter; 2] = [
    required("from", Range::Any, "where it begins to rise; below `to`"),
    required("to", Range::Any, "where it reaches 1"),
];
const POWER: [Parameter; 1] =
    [required("exponent", EXPONENT, "above 1 it punishes what is high, below 1 what is low")];
const EXPONENTIAL: [Parameter; 1] = [required("bend", BEND, "the higher, the later and steeper the rise")];
const LOGARITHMIC: [Parameter; 1] =
    [required("bend", LOGARITHMIC_BEND, "the higher, the earlier and steeper the rise")];
const SIGMOID: [Parameter; 2] = [
    required("middle", Range::Any, "where it is half-way"),
    required("steepness", STEEPNESS, "it rises from 12 % to 88 % within 4 / steepness of x"),
];
const STEP: [Parameter; 1] = [required("at", Range::Any, "from here on it is 1")];
const BARRIER: [Parameter; 1] =
    [required("limit", Range::Above(0.0), "from here on it is infinite: never here")];

impl Curve {
    /// All of them.
    pub(super) const ALL: [Self; 10] = [
        Self::Constant,
        Self::Linear,
        Self::Ramp,
        Self::Power,
        Self::Exponential,
        Self::Logarithmic,
        Self::Sigmoid,
        Self::Step,
        Self::Barrier,
        Self::Table,
    ];

    /// The name in a term.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Linear => "linear",
            Self::Ramp => "ramp",
            Self::Power => "power",
            Self::Exponential => "exponential",
            Self::Logarithmic => "logarithmic",
            Self::Sigmoid => "sigmoid",
            Self::Step => "step",
            Self::Barrier => "barrier",
            Self::Table => "table",
        }
    }

    /// How it is written.
    pub(super) const fn usage(self) -> &'static str {
        match self {
            Self::Constant => "constant(value)",
            Self::Linear => "linear(x, slope = 1, offset = 0)",
            Self::Ramp => "ramp(x, from, to)",
            Self::Power => "power(x, exponent)",
            Self::Exponential => "exponential(x, bend)",
            Self::Logarithmic => "logarithmic(x, bend)",
            Self::Sigmoid => "sigmoid(x, middle, steepness)",
            Self::Step => "step(x, at)",
            Self::Barrier => "barrier(x, limit)",
            Self::Table => "table(x, x1, y1, x2, y2, …)",
        }
    }

    /// Its parameters behind `x`; a table's points are checked by themselves.
    pub(super) const fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::Constant | Self::Table => &[],
            Self::Linear => &LINEAR,
            Self::Ramp => &RAMP,
            Self::Power => &POWER,
            Self::Exponential => &EXPONENTIAL,
            Self::Logarithmic => &LOGARITHMIC,
            Self::Sigmoid => &SIGMOID,
            Self::Step => &STEP,
            Self::Barrier => &BARRIER,
        }
    }
}

/// `linear(x, slope, offset)` = slope · x + offset. Any finite slope (1 when left out) and offset (0).
///
/// ```text
/// offset + slope ┤    ╱
///                │  ╱
///         offset ┤╱
///                └────┴──▶ x
///                0    1
/// ```
pub(super) fn linear(x: f64, slope: f64, offset: f64) -> f64 {
    slope * x + offset
}

/// `ramp(x, from, to)` = 0 up to `from`, 1 beyond `to`, (x - from) / (to - from) between. `from` is below `to`.
///
/// ```text
/// 1 ┤        ╭──────
///   │      ╱
///   │    ╱
/// 0 ┤───╯
///   └───┴────┴─────▶ x
///      from  to
/// ```
pub(super) fn ramp(x: f64, from: f64, to: f64) -> f64 {
    if from < to { ramp_ordered(x, from, to) } else { f64::NAN }
}

/// [`ramp`] with `from` known to be below `to`.
#[inline]
pub(super) fn ramp_ordered(x: f64, from: f64, to: f64) -> f64 {
    ((x - from) / (to - from)).clamp(0.0, 1.0)
}

/// `power(x, exponent)` = x to the power of `exponent`, which is from 0 to 64. Above 1 it punishes what is high, below 1
/// what is low. A negative x has no power unless the exponent is whole.
///
/// ```text
/// 1 ┤  ⢀⣀⡠⠤⠔⠒⠒⠉⢁⠏    above: power(x, 0.5)
///   │⡠⠊⠁      ⡠⠊
///   ⡎      ⣀⠔⠉        below: power(x, 2)
/// 0 ┤⣀⣀⠤⠒⠉
///   └──────────┴─▶ x
///              1
/// ```
pub(super) fn power(x: f64, exponent: f64) -> f64 {
    if EXPONENT.holds(exponent) && !x.is_nan() { x.powf(exponent) } else { f64::NAN }
}

/// [`power`] for an exponent known to be whole: the same value by multiplying.
pub(super) fn power_whole(x: f64, exponent: u32) -> f64 {
    if exponent == 0 {
        return if x.is_nan() { x } else { 1.0 };
    }
    let mut result = 1.0;
    let mut square = x;
    let mut left = exponent;
    loop {
        if left & 1 == 1 {
            result *= square;
        }
        left >>= 1;
        if left == 0 {
            return result;
        }
        square *= square;
    }
}

/// `exponential(x, bend)` = (e^(bend · x) - 1) / (e^bend - 1): 0 at 0, 1 at 1, and the higher `bend` (0.01 to 100), the
/// later and steeper the rise.
///
/// ```text
/// 1 ┤             ⡜
///   │            ⢠⠃
///   │          ⢀⠔⠁
/// 0 ┤⣀⣀⣀⣀⣀⡠⠤⠔⠊⠁
///   └─────────────┴─▶ x     exponential(x, 8)
///                 1
/// ```
pub(super) fn exponential(x: f64, bend: f64) -> f64 {
    if BEND.holds(bend) { exponential_scaled(x, bend, exponential_scale(bend)) } else { f64::NAN }
}

/// The divisor of [`exponential`], which depends on its bend alone.
pub(super) fn exponential_scale(bend: f64) -> f64 {
    bend.exp() - 1.0
}

/// [`exponential`] with its divisor at hand.
pub(super) fn exponential_scaled(x: f64, bend: f64, scale: f64) -> f64 {
    ((bend * x).exp() - 1.0) / scale
}

/// `logarithmic(x, bend)` = ln(1 + bend · x) / ln(1 + bend): 0 at 0 and below, 1 at 1, and the higher `bend` (0.01 to
/// 1,000,000), the earlier the rise.
///
/// ```text
/// 1 ┤    ⢀⣀⡠⠤⠤⠒⠒⠒⠉⠉
///   │  ⡠⠊⠁
///   │⡰⠁
/// 0 ⡎
///   └─────────────┴─▶ x     logarithmic(x, 100)
///                 1
/// ```
pub(super) fn logarithmic(x: f64, bend: f64) -> f64 {
    if !LOGARITHMIC_BEND.holds(bend) || x.is_nan() {
        return f64::NAN;
    }
    if x > 0.0 { (bend * x).ln_1p() / bend.ln_1p() } else { 0.0 }
}

/// `sigmoid(x, middle, steepness)` = 1 / (1 + e^(-steepness · (x - middle))): from 0 to 1 with ½ at `middle`; steepness is
/// from 0.01 to 10,000.
///
/// ```text
/// 1 ┤         ⡠⠔⠒⠒⠒⠒
/// ½ ┤        ⡜
/// 0 ┤⣀⣀⣀⣀⡠⠤⠊
///   └────────┴──────▶ x
///          middle
/// ```
pub(super) fn sigmoid(x: f64, middle: f64, steepness: f64) -> f64 {
    if STEEPNESS.holds(steepness) { 1.0 / (1.0 + (-steepness * (x - middle)).exp()) } else { f64::NAN }
}

/// `step(x, at)` = 0 below `at`, 1 from there on.
///
/// ```text
/// 1 ┤        ┌──────
///   │        │
/// 0 ┤────────┘
///   └────────┴─────▶ x
///            at
/// ```
pub(super) fn step(x: f64, at: f64) -> f64 {
    if x >= at {
        1.0
    } else if x < at {
        0.0
    } else {
        f64::NAN
    }
}

/// `barrier(x, limit)` = x / (limit - x) below `limit`, which is above 0: 0 at 0, 1 half-way, without bound near the limit,
/// and infinite ("never here") from it on.
///
/// ```text
///   │        ⡇ × × ×     × never here
///   │       ⢠⠃
/// 1 ┤    ⢀⡠⠊
/// 0 ┤⣀⠤⠒⠉
///   └────┴───┴─────▶ x
///        ½  limit
/// ```
pub(super) fn barrier(x: f64, limit: f64) -> f64 {
    if limit.is_nan() || limit <= 0.0 || x.is_nan() {
        f64::NAN
    } else if x < limit {
        x / (limit - x)
    } else {
        f64::INFINITY
    }
}

/// `table(x, x1, y1, x2, y2, …)`: straight lines between 2 to 64 points with growing x, level outside of them. The points
/// are constants.
///
/// ```text
/// y3 ┤          ╭─────
///    │         ╱
/// y2 ┤    ╭───╯
/// y1 ┤───╯
///    └───┴┴────┴────▶ x
/// ```
pub(super) fn table(x: f64, points: &[(f64, f64)]) -> f64 {
    let above = points.partition_point(|(place, _)| *place < x);
    let right = points.get(above);
    let left = above.checked_sub(1).and_then(|below| points.get(below));
    match (left, right) {
        _ if x.is_nan() => f64::NAN,
        (Some((x1, y1)), Some((x2, y2))) => y1 + (y2 - y1) * ((x - x1) / (x2 - x1)),
        (Some((_, y)), None) | (None, Some((_, y))) => *y,
        (None, None) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-12, "{left} is not {right}");
    }

    #[test]
    fn curves_go_through_their_points() {
        near(linear(2.0, 3.0, 1.0), 7.0);
        near(ramp(45.0, 30.0, 60.0), 0.5);
        near(ramp(1.0, 30.0, 60.0), 0.0);
        near(ramp(f64::INFINITY, 30.0, 60.0), 1.0);
        near(power(0.5, 2.0), 0.25);
        near(exponential(0.0, 8.0), 0.0);
        near(exponential(1.0, 8.0), 1.0);
        near(logarithmic(1.0, 9.0), 1.0);
        near(logarithmic(-3.0, 9.0), 0.0);
        near(sigmoid(0.7, 0.7, 20.0), 0.5);
        near(step(0.9, 0.9), 1.0);
        near(step(0.89, 0.9), 0.0);
        near(barrier(0.5, 1.0), 1.0);
        assert_eq!(barrier(1.0, 1.0), f64::INFINITY);
        let points = [(0.0, 1.0), (0.5, 2.0), (1.0, 10.0)];
        for (x, y) in [(-1.0, 1.0), (0.25, 1.5), (0.5, 2.0), (0.75, 6.0), (2.0, 10.0)] {
            near(table(x, &points), y);
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        let nan = f64::NAN;
        let points = [(0.0, 1.0), (1.0, 2.0)];
        for value in [
            linear(nan, 1.0, 0.0),
            ramp(nan, 0.0, 1.0),
            power(nan, 0.0),
            power_whole(nan, 0),
            exponential(nan, 1.0),
            logarithmic(nan, 1.0),
            sigmoid(nan, 0.0, 1.0),
            step(nan, 0.0),
            barrier(nan, 1.0),
            table(nan, &points),
        ] {
            assert!(value.is_nan());
        }
    }

    #[test]
    fn parameters_out_of_range_mean_never() {
        for value in [
            ramp(0.5, 1.0, 1.0),
            power(0.5, 65.0),
            exponential(0.5, 0.0),
            logarithmic(0.5, -1.0),
            sigmoid(0.5, 0.0, 0.0),
            barrier(0.5, 0.0),
        ] {
            assert!(value.is_nan());
        }
    }

    #[test]
    fn whole_powers_agree_with_the_general_one() {
        for exponent in 0..=64_u32 {
            for x in [-3.0, -0.5, 0.0, 0.3, 1.0, 1.7] {
                let (left, right) = (power_whole(x, exponent), power(x, f64::from(exponent)));
                assert!((left - right).abs() <= right.abs() * 1e-13, "{x}^{exponent}: {left} {right}");
            }
        }
    }
}
