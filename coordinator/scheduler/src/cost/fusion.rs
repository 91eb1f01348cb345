//! Owns the short form of a program, for when nobody asks for its terms: several steps in one, where that gives the same
//! bits.
//!
//! ```text
//!   a * (b * b)              one step instead of two
//!   a * b + c                likewise, each rounded by itself
//!   ramp with constants      without asking every time whether they are in order
//! ```

use super::operation::Operation;
use super::program::PlacedStep;

/// The steps that the cell `sum` needs, fused. Constants are the first cells.
pub(super) fn fuse(steps: &[PlacedStep], constants: &[f64], sum: usize) -> Vec<PlacedStep> {
    let mut steps = steps.to_vec();
    for number in 0..steps.len() {
        let (before, rest) = steps.split_at_mut(number);
        if let Some(step) = rest.first_mut() {
            fuse_step(step, before, constants);
        }
    }
    // What was taken into a later step is needed no more, unless by others.
    let cells = steps.iter().map(|step| step.own + 1).max().unwrap_or(0).max(sum + 1);
    let mut is_needed = vec![false; cells];
    is_needed[sum] = true;
    for step in steps.iter().rev() {
        if is_needed[step.own] {
            step.operands.iter().for_each(|cell| is_needed[*cell] = true);
        }
    }
    steps.retain(|step| is_needed[step.own]);
    steps
}

fn fuse_step(step: &mut PlacedStep, before: &[PlacedStep], constants: &[f64]) {
    let [a, b, c] = step.operands;
    // The operands of the step that a cell is the result of, if it is of this kind.
    let made_by = |cell: usize, operation: Operation| {
        // Results stand one behind the other.
        let maker = before.get(cell.checked_sub(before.first()?.own)?)?;
        (maker.operation == operation).then_some(maker.operands)
    };
    match step.operation {
        Operation::Multiply => {
            let square = Operation::PowerWhole(2);
            let fused = made_by(b, square).map(|[root, ..]| [a, root, root]);
            if let Some(operands) = fused.or_else(|| made_by(a, square).map(|[root, ..]| [b, root, root])) {
                (step.operation, step.operands) = (Operation::MultiplySquare, operands);
            }
        }
        Operation::Add => {
            let fused = made_by(b, Operation::Multiply).map(|[left, right, _]| [left, right, a]);
            let fused =
                fused.or_else(|| made_by(a, Operation::Multiply).map(|[left, right, _]| [left, right, b]));
            if let Some(operands) = fused {
                (step.operation, step.operands) = (Operation::MultiplyAdd, operands);
            }
        }
        Operation::Ramp if constants.get(b).zip(constants.get(c)).is_some_and(|(from, to)| from < to) => {
            step.operation = Operation::RampOrdered;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use reeve_common::ids::CostFunctionName;

    use super::super::{ChoiceRule, CostFunction, presets};

    fn compile(terms: &[(String, String)]) -> CostFunction {
        let name = CostFunctionName::new("f").unwrap();
        CostFunction::compile(&name, terms, ChoiceRule::Increase).unwrap()
    }

    fn bits(sums: &[f64]) -> Vec<u64> {
        // One not-a-number is as good as another.
        sums.iter().map(|sum| if sum.is_nan() { f64::NAN.to_bits() } else { sum.to_bits() }).collect()
    }

    #[test]
    fn the_short_form_gives_the_same_bits() {
        let term = |text: &str| vec![("term".to_owned(), text.to_owned())];
        let own = [
            "3 * power(cores.load, 2) + cores.load * memory.load",
            "power(vms, 2) * power(vms, 2) + power(vms, 2)",
            "vms * 0.1 + vms * 0.1 + (vms * 0.1) * (vms * 0.1)",
            "ramp(vms, 2, 5) + ramp(vms, vms, 5) + vms * ramp(cores.load, 0.1, 0.3)",
            "(cores.load < 0.3 or vms == 2) and not (memory.load >= cores.load) ? vms * 0.7 + 1 : vms != 1 ? 2 : 3",
        ];
        let functions = own.map(term).into_iter().chain(presets().into_iter().map(|(_, terms)| terms));
        for terms in functions {
            let function = compile(&terms);
            let program = function.after();
            assert!(program.inputs().len() < 16);
            let mut workspaces = (program.workspace::<8>(), program.workspace::<8>());
            for round in 0..200_u32 {
                for (number, cells) in (0_u32..).zip(workspaces.0.inputs_mut()) {
                    for (lane, cell) in (0_u32..).zip(cells) {
                        let value = f64::from((round * 37 + number * 11 + lane * 5) % 23);
                        *cell = match (round + lane) % 9 {
                            0 => f64::NAN,
                            1 => f64::INFINITY,
                            2 => -value,
                            3 => value,
                            _ => value / 19.0,
                        };
                    }
                }
                let inputs = workspaces.0.inputs_mut().to_vec();
                workspaces.1.inputs_mut().copy_from_slice(&inputs);
                let short = bits(program.run(&mut workspaces.0));
                assert_eq!(short, bits(program.run_by_term(&mut workspaces.1)), "{terms:?} {inputs:?}");
            }
        }
    }
}
