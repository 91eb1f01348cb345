//! Owns looking at a cost function apart from any fleet: what it is worked out from, and what it is worth for values that
//! somebody made up. This is how it is drawn and taught.
//!
//! Must not: compute anything itself; the compiled program that places VMs is run.

use super::attribute::{Input, NamedThings, When};
use super::program::Program;
use super::{CostFunction, attribute};

/// What a cost function is worth at one point.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Each term in order. What is not finite means "never here".
    pub terms: Vec<f64>,
    /// Their sum.
    pub total: f64,
}

impl CostFunction {
    /// What it is worked out from, in the order in which the terms mention it: for the host with the VM
    /// ([`When::After`]) or as it is. Names are as in the terms; with the VM, what is asked of the host as it is
    /// begins with `before.`.
    #[must_use]
    pub fn inputs(&self, when: When) -> Vec<String> {
        self.program(when).inputs().iter().map(|input| name(*input, when, &self.things)).collect()
    }

    /// What it is worth for `values`, one for each of [`Self::inputs`] in their order; conditions are 1 or 0. A value
    /// that is left out is not a number. On the host as it is, charges are 0.
    #[must_use]
    pub fn evaluate(&self, when: When, values: &[f64]) -> Evaluation {
        let program = self.program(when);
        let mut workspace = program.workspace::<1>();
        for (index, cell) in workspace.inputs_mut().iter_mut().enumerate() {
            *cell = [values.get(index).copied().unwrap_or(f64::NAN)];
        }
        let [total] = *program.run_by_term(&mut workspace);
        let mut values = program.terms(&workspace).map(|[value]| value);
        let terms = self.charges().map(|is_charge| match when {
            When::Before if is_charge => 0.0,
            When::Before | When::After => values.next().unwrap_or(f64::NAN),
        });
        Evaluation { terms: terms.collect(), total }
    }

    /// Where something happens to its terms as the attribute `name` changes, as far as that can be read off them: the
    /// places where a curve of it bends and the constants it is compared with.
    #[must_use]
    pub fn landmarks(&self, name: &str) -> Vec<f64> {
        let of = |input: &Input| self::name(*input, When::After, &self.things) == name;
        self.landmarks.iter().filter(|(input, _)| of(input)).map(|(_, place)| *place).collect()
    }

    fn program(&self, when: When) -> &Program {
        match when {
            When::Before => self.before(),
            When::After => self.after(),
        }
    }
}

/// An input as a term for the given moment would name it.
fn name(input: Input, when: When, things: &NamedThings) -> String {
    let name = input.attribute.name(things);
    let is_before =
        when == When::After && input.when == When::Before && input.attribute.is_changed_by_placement();
    if is_before { format!("{}.{name}", attribute::BEFORE) } else { name }
}

#[cfg(test)]
mod tests {
    use reeve_common::ids::CostFunctionName;

    use super::super::ChoiceRule;
    use super::*;

    fn compile(terms: &[(&str, &str)]) -> CostFunction {
        let name = CostFunctionName::new("f").unwrap();
        let terms: Vec<_> =
            terms.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        CostFunction::compile(&name, &terms, ChoiceRule::Increase).unwrap()
    }

    #[test]
    fn terms_are_worked_out_from_named_values() {
        let function = compile(&[
            ("cpu", "2 * power(cores.load, 2) - before.cores.load"),
            ("gpus", "vm.devices == 0 and devices.'10de:20b0'.total > 0 ? 10 : 0"),
            ("label", "same.label.app + cores.load"),
        ]);
        let after =
            ["cores.load", "before.cores.load", "vm.devices", "devices.'10de:20b0'.total", "same.label.app"];
        assert_eq!(function.inputs(When::After), after);
        assert_eq!(function.inputs(When::Before), ["cores.load", "same.label.app"]);
        let worth = function.evaluate(When::After, &[0.5, 0.25, 0.0, 4.0, 3.0]);
        assert_eq!(worth, Evaluation { terms: vec![0.25, 10.0, 3.5], total: 13.75 });
        let worth = function.evaluate(When::Before, &[0.5, 3.0]);
        assert_eq!(worth, Evaluation { terms: vec![0.0, 0.0, 3.5], total: 3.5 });
    }

    #[test]
    fn what_is_left_out_is_not_a_number() {
        let worth = compile(&[("a", "cores.load"), ("b", "vms")]).evaluate(When::After, &[1.0]);
        assert!(worth.terms[0] == 1.0 && worth.terms[1].is_nan() && worth.total.is_nan());
    }

    #[test]
    fn a_curve_can_be_drawn_over_x_and_x_is_nothing_elsewhere() {
        let name = CostFunctionName::new("curve").unwrap();
        let curve = CostFunction::compile_of_x(&name, "curve", "power(x, 2) + vms").unwrap();
        assert_eq!(curve.inputs(When::After), ["x", "vms"]);
        assert!((curve.evaluate(When::After, &[3.0, 1.0]).total - 10.0).abs() < 1e-12);
        let terms = [("a".to_owned(), "power(x, 2)".to_owned())];
        assert!(CostFunction::compile(&name, &terms, ChoiceRule::Total).is_err());
    }

    #[test]
    fn places_where_something_happens_are_known() {
        let function = compile(&[
            ("a", "ramp(vms, 30, 60) + step(vms, 1) + (vms > 5 ? 1 : 0) + table(vms, 0, 1, 7, 2)"),
            ("b", "barrier(memory.load, 95 %) + sigmoid(cores.load, 0.5, 40) + ramp(vms * 2, 1, 2)"),
        ]);
        assert_eq!(function.landmarks("vms"), [30.0, 60.0, 1.0, 5.0, 0.0, 7.0]);
        assert_eq!(function.landmarks("memory.load"), [0.95]);
        assert_eq!(function.landmarks("cores.load"), [0.4, 0.6]);
    }
}
