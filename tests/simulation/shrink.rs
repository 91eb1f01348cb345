//! Owns how a story that fails is made as short as it can be and still fails: steps are left out, many at a time and then
//! one by one, and the rest is played again.

use anyhow::Result;
use reeve_common::mutation::Mutation;

use super::play::{Outcome, play};
use super::story::{Step, Story};

/// The shortest story found that breaks a rule as this one does, and how it went. The same as given when it breaks none.
///
/// # Errors
/// When the simulation cannot be set up.
pub fn shrink(story: &Story, mutation: Option<Mutation>) -> Result<(Story, Outcome)> {
    let mut best = story.clone();
    let mut outcome = play(&best, mutation)?;
    let Some(rule) = rule_of(&outcome) else { return Ok((best, outcome)) };
    let mut size = best.steps.len().div_ceil(2).max(1);
    loop {
        let mut from = 0;
        let mut shorter = false;
        while from < best.steps.len() {
            let end = (from + size).min(best.steps.len());
            let rest: Vec<Step> = best
                .steps
                .iter()
                .enumerate()
                .filter(|(at, _)| *at < from || *at >= end)
                .map(|(_, step)| step.clone())
                .collect();
            let candidate = best.with_steps(rest);
            let played = play(&candidate, mutation)?;
            if rule_of(&played).as_ref() == Some(&rule) {
                (best, outcome, shorter) = (candidate, played, true);
            } else {
                from = end;
            }
        }
        if size == 1 && !shorter {
            return Ok((best, outcome));
        }
        if !shorter || size > best.steps.len() {
            size = (size / 2).max(1);
        }
    }
}

/// Which rule a story broke first, without the particulars.
fn rule_of(outcome: &Outcome) -> Option<String> {
    let first = outcome.broken.first()?;
    Some(first.split(':').next().unwrap_or(first).to_owned())
}
