//! Owns e to the power of a number, which is most of what a steep curve costs: in plain steps without a branch, so that the
//! compiler does several hosts at a time, and with the same bits on every machine.
//!
//! ```text
//!   x = k · ln 2 + r,  k whole, |r| ≤ ½ ln 2        e^x = 2^k · (1 + r + r²/2! + … + r¹³/13!)
//! ```
//!
//! What the series leaves out is below a tenth of the last bit. The result is off by no more than two of its last bits.

use std::f64::consts::{LN_2, LOG2_E};

/// 1/n!, the highest first. The fourteenth power of ½ ln 2 over 14! is 4e-18.
const RECIPROCALS: [f64; 14] = {
    let mut reciprocals = [1.0; 14];
    let mut factorial = 1.0;
    let mut number = 1;
    while number < reciprocals.len() {
        factorial *= number as f64;
        reciprocals[reciprocals.len() - 1 - number] = 1.0 / factorial;
        number += 1;
    }
    reciprocals
};

/// Beyond these it is infinite, or zero.
const LEAST: f64 = -750.0;
const MOST: f64 = 750.0;

/// Added to a number, it leaves the number's nearest whole one in the lowest bits of the sum: there a float has no bits
/// for halves.
const WHOLE: f64 = 1.5 * (1_u64 << 52) as f64;
/// Where the exponent of a float begins.
const EXPONENT_SHIFT: u32 = 52;

/// ln 2 in two parts. The first has 32 bits, so that a whole number below 2^21 times it is exact.
const LN_2_HIGH: f64 = f64::from_bits(LN_2.to_bits() & !((1 << 21) - 1));
/// What the first part leaves of ln 2: the bits cut off it, and those that no longer fit into a float.
const LN_2_LOW: f64 = (LN_2 - LN_2_HIGH) + 2.319_046_813_846_3e-17;

/// e to the power of `x`.
#[inline(always)] // into loops over many hosts
pub(super) fn e_to(x: f64) -> f64 {
    let x = x.clamp(LEAST, MOST);
    let power = whole(x * LOG2_E);
    let rest = (x - power * LN_2_HIGH) - power * LN_2_LOW;
    let series = RECIPROCALS.iter().fold(0.0, |sum, reciprocal| sum * rest + reciprocal);
    // In two steps: on the way to the largest and the smallest floats one would be beyond them.
    let half = whole(power * 0.5);
    series * two_to(half) * two_to(power - half)
}

/// The whole number nearest to a small one.
#[inline(always)]
fn whole(x: f64) -> f64 {
    (x + WHOLE) - WHOLE
}

/// 2 to the power of a whole number from -1022 to 1023.
#[inline(always)]
fn two_to(power: f64) -> f64 {
    f64::from_bits(((power + WHOLE).to_bits() << EXPONENT_SHIFT).wrapping_add(1.0_f64.to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_library_says_but_for_the_last_bits() {
        let mut worst = 0.0_f64;
        for step in -700_000..=700_000_i32 {
            let x = f64::from(step) * 1.012_345_678e-3;
            let (ours, right) = (e_to(x), x.exp());
            worst = worst.max((ours - right).abs() / right);
        }
        assert!(worst < 2.0 * f64::EPSILON, "{worst:e}");
    }

    #[test]
    fn its_ends_are_those_of_numbers() {
        assert_eq!(e_to(0.0).to_bits(), 1.0_f64.to_bits());
        assert_eq!(e_to(-0.0).to_bits(), 1.0_f64.to_bits());
        for x in [710.0, 1e9, f64::MAX, f64::INFINITY] {
            assert_eq!(e_to(x), f64::INFINITY, "{x}");
        }
        for x in [-746.0, -1e9, f64::MIN, f64::NEG_INFINITY] {
            assert_eq!(e_to(x).to_bits(), 0, "{x}");
        }
        assert!(e_to(f64::NAN).is_nan());
        // Largest and smallest.
        assert!((e_to(709.78) / 709.78_f64.exp() - 1.0).abs() < 1e-15);
        assert!(e_to(-745.0) > 0.0 && e_to(-745.0) <= 2.0 * (-745.0_f64).exp());
    }

    #[test]
    fn it_never_falls() {
        let steps = (-40_000..40_000_i32).map(|step| e_to(f64::from(step) * 1e-3));
        assert!(steps.clone().zip(steps.skip(1)).all(|(low, high)| low < high));
    }
}
