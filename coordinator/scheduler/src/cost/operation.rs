//! Owns the single steps of a compiled cost function: what each does to numbers, many hosts or requests at a time.
//!
//! Must not: fail. A condition is 1 or 0, and NaN where it cannot be known because a number in it is NaN; unless the
//! other side of `and` or `or` settles it, or a choice does not take that side, the term is then NaN: "never here".

use super::curve;

/// One step. Its operands are cells; see [`super::program`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    /// `a`
    Same,
    /// `-a`
    Negate,
    /// `not a`
    Not,
    /// `a + b`
    Add,
    /// `a - b`
    Subtract,
    /// `a * b`
    Multiply,
    /// `a / b`; by zero it is infinite or NaN.
    Divide,
    /// `a * b + c`, rounded twice as the two steps are.
    MultiplyAdd,
    /// `a * (b * b)`
    MultiplySquare,
    /// `a < b`
    Less,
    /// `a <= b`
    LessEqual,
    /// `a == b`
    Equal,
    /// `a != b`
    NotEqual,
    /// `a and b`
    And,
    /// `a or b`
    Or,
    /// `a ? b : c`
    Choose,
    /// `linear(a, b, c)`
    Linear,
    /// `ramp(a, b, c)`
    Ramp,
    /// `ramp(a, b, c)` with constants of which `b` is the lower.
    RampOrdered,
    /// `power(a, b)`
    Power,
    /// `power(a, …)` with a whole constant exponent.
    PowerWhole(u32),
    /// `exponential(a, b)`
    Exponential,
    /// `exponential(a, b)` with a constant bend, whose scale is `c`.
    ExponentialScaled,
    /// `logarithmic(a, b)`
    Logarithmic,
    /// `sigmoid(a, b, c)`
    Sigmoid,
    /// `step(a, b)`
    Step,
    /// `barrier(a, b)`
    Barrier,
    /// `table(a, …)` with the points of this number.
    Table(usize),
}

/// The points of one table.
pub(super) type Points = Vec<(f64, f64)>;

impl Operation {
    /// Runs the step on `W` sets of operands at once.
    ///
    /// Every loop is one formula over arrays of fixed length, so that the compiler can do several at a time; the result
    /// of one lane depends on that lane alone and is the same for every `W`.
    #[inline]
    pub(super) fn run<const W: usize>(self, operands: [&[f64; W]; 3], tables: &[Points], out: &mut [f64; W]) {
        let [a, b, c] = operands;
        match self {
            Self::Same => *out = *a,
            Self::Negate => unary(a, out, |a| -a),
            Self::Not => unary(a, out, |a| 1.0 - a),
            Self::Add => binary(a, b, out, |a, b| a + b),
            Self::Subtract => binary(a, b, out, |a, b| a - b),
            Self::Multiply => binary(a, b, out, |a, b| a * b),
            Self::Divide => binary(a, b, out, |a, b| a / b),
            Self::MultiplyAdd => ternary(a, b, c, out, |a, b, c| a * b + c),
            Self::MultiplySquare => binary(a, b, out, |a, b| a * (b * b)),
            Self::Less => binary(a, b, out, |a, b| known(a, b, a < b)),
            Self::LessEqual => binary(a, b, out, |a, b| known(a, b, a <= b)),
            Self::Equal => binary(a, b, out, |a, b| known(a, b, a == b)),
            Self::NotEqual => binary(a, b, out, |a, b| known(a, b, a != b)),
            Self::And => binary(a, b, out, |a, b| if a == 0.0 || b == 0.0 { 0.0 } else { a * b }),
            Self::Or => binary(a, b, out, |a, b| if a == 1.0 || b == 1.0 { 1.0 } else { a + b }),
            Self::Choose => ternary(a, b, c, out, choose),
            Self::Linear => ternary(a, b, c, out, curve::linear),
            Self::Ramp => ternary(a, b, c, out, curve::ramp),
            Self::RampOrdered => ternary(a, b, c, out, curve::ramp_ordered),
            Self::Power => binary(a, b, out, curve::power),
            Self::PowerWhole(2) => unary(a, out, |a| a * a),
            Self::PowerWhole(exponent) => unary(a, out, |a| curve::power_whole(a, exponent)),
            Self::Exponential => binary(a, b, out, curve::exponential),
            Self::ExponentialScaled => ternary(a, b, c, out, curve::exponential_scaled),
            Self::Logarithmic => binary(a, b, out, curve::logarithmic),
            Self::Sigmoid => ternary(a, b, c, out, curve::sigmoid),
            Self::Step => binary(a, b, out, curve::step),
            Self::Barrier => binary(a, b, out, curve::barrier),
            Self::Table(number) => {
                let points = tables.get(number).map_or(&[][..], Vec::as_slice);
                unary(a, out, |a| curve::table(a, points));
            }
        }
    }

    /// Runs the step on one set of operands.
    pub(super) fn run_once(self, operands: [f64; 3], tables: &[Points]) -> f64 {
        let [a, b, c] = operands.map(|operand| [operand]);
        let mut out = [0.0];
        self.run([&a, &b, &c], tables, &mut out);
        let [result] = out;
        result
    }
}

/// `truth` as 1 or 0 if both numbers are known. In bits, which takes half as many instructions as a choice of three.
#[inline]
fn known(a: f64, b: f64, truth: bool) -> f64 {
    let unknown = if a.is_nan() | b.is_nan() { f64::NAN.to_bits() } else { 0 };
    let truth = if truth { 1.0_f64.to_bits() } else { 0 };
    f64::from_bits(unknown | truth)
}

#[inline]
fn choose(condition: f64, yes: f64, no: f64) -> f64 {
    if condition == 0.0 {
        no
    } else if condition.is_nan() {
        condition
    } else {
        yes
    }
}

#[inline]
fn unary<const W: usize>(a: &[f64; W], out: &mut [f64; W], formula: impl Fn(f64) -> f64) {
    for lane in 0..W {
        out[lane] = formula(a[lane]);
    }
}

#[inline]
fn binary<const W: usize>(a: &[f64; W], b: &[f64; W], out: &mut [f64; W], formula: impl Fn(f64, f64) -> f64) {
    for lane in 0..W {
        out[lane] = formula(a[lane], b[lane]);
    }
}

#[inline]
fn ternary<const W: usize>(
    a: &[f64; W],
    b: &[f64; W],
    c: &[f64; W],
    out: &mut [f64; W],
    formula: impl Fn(f64, f64, f64) -> f64,
) {
    for lane in 0..W {
        out[lane] = formula(a[lane], b[lane], c[lane]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(operation: Operation, a: f64, b: f64) -> f64 {
        operation.run_once([a, b, 7.0], &[])
    }

    #[test]
    fn what_cannot_be_known_stays_unknown_unless_the_other_side_settles_it() {
        let nan = f64::NAN;
        assert!(run(Operation::Less, nan, 1.0).is_nan());
        assert!(run(Operation::NotEqual, nan, 1.0).is_nan());
        assert!(run(Operation::Not, nan, 0.0).is_nan());
        assert!(run(Operation::And, nan, 1.0).is_nan());
        assert!(run(Operation::Or, nan, 0.0).is_nan());
        assert!(run(Operation::Choose, nan, 1.0).is_nan());
        for (operation, result) in [(Operation::And, 0.0), (Operation::Or, 1.0)] {
            assert!((run(operation, nan, result) - result).abs() < 1e-9);
            assert!((run(operation, result, nan) - result).abs() < 1e-9);
        }
    }

    #[test]
    fn truth_tables_hold() {
        for (a, b, and, or) in
            [(0.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 1.0), (1.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0)]
        {
            assert!((run(Operation::And, a, b) - and).abs() < 1e-9);
            assert!((run(Operation::Or, a, b) - or).abs() < 1e-9);
        }
        assert!((run(Operation::Choose, 1.0, 3.0) - 3.0).abs() < 1e-9);
        assert!((run(Operation::Choose, 0.0, 3.0) - 7.0).abs() < 1e-9);
    }
}
