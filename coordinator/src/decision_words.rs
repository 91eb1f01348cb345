//! Owns the words in which a placement decision is told, wherever it is told: on the command line, in a VM's record and in
//! the log. Pure.
//!
//! Must not: know the scheduler or the API; both hand over what is to be told as [`DecisionWords`].

use std::cmp::Ordering;

/// How many kinds of reasons are told in words: more would not be read.
const REASONS_TOLD_MAX: usize = 5;

/// The most lines that tell one decision in full. A kept decision names twenty hosts; the kinds of reasons are few.
pub(crate) const LINES_MAX: usize = 32;

/// A decision that is to be told.
#[derive(Debug, Clone, Default)]
pub(crate) struct DecisionWords<'a> {
    /// The lowest total is chosen, not the lowest increase.
    pub(crate) by_total: bool,
    /// How many VMs were placed by one plan, where it chose another host than the best for this VM.
    pub(crate) at_once: Option<usize>,
    /// How many hosts were considered; at least those that are named.
    pub(crate) considered: usize,
    /// Those that are named.
    pub(crate) hosts: Vec<HostWords<'a>>,
    /// How many hosts cannot take the VM, by kind of reason.
    pub(crate) refusals: Vec<RefusalWords<'a>>,
}

/// A host of a decision. Costs that are not finite are none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HostWords<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Ties go to the lowest.
    pub(crate) id: u32,
    /// It is the one.
    pub(crate) chosen: bool,
    /// Why it cannot take the VM; none when it can.
    pub(crate) reason: Option<&'a str>,
    /// Its cost as it is.
    pub(crate) before: Option<f64>,
    /// Its cost with the VM.
    pub(crate) after: Option<f64>,
    /// The difference.
    pub(crate) increase: Option<f64>,
}

/// Hosts that cannot take a VM for the same kind of reason.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefusalWords<'a> {
    /// How many.
    pub(crate) hosts: usize,
    /// One of them.
    pub(crate) example: &'a str,
    /// What stops that one.
    pub(crate) reason: &'a str,
}

impl RefusalWords<'_> {
    /// `node-7: memory: …`, or `37 hosts, such as node-7: memory: …`.
    pub(crate) fn line(&self) -> String {
        match self.hosts {
            0 | 1 => format!("{}: {}", self.example, self.reason),
            many => format!("{many} hosts, such as {}: {}", self.example, self.reason),
        }
    }
}

impl DecisionWords<'_> {
    /// One line: the host, what it costs there, and who came second. Where no host fits: the reasons, one a line.
    pub(crate) fn summary(&self) -> String {
        match self.chosen() {
            Some(chosen) => format!("{}: {}", chosen.name, self.why()),
            None => self.why(),
        }
    }

    /// The same where the host has been named already.
    pub(crate) fn why(&self) -> String {
        let Some(chosen) = self.chosen() else { return self.nowhere() };
        let runner_up = self.runner_up().map_or_else(
            || "no other host fits".to_owned(),
            |second| format!("runner-up {}, {}", second.name, self.score_words(second)),
        );
        let plan = self.at_once.map(|vms| format!("; one of {vms} VMs placed at once"));
        format!("{} ({runner_up}){}", self.score_words(chosen), plan.unwrap_or_default())
    }

    /// Why no host can take it, in one line.
    pub(crate) fn refusal(&self) -> String {
        if self.considered == 0 {
            return "there are no hosts; `reeve host add` makes one known".to_owned();
        }
        format!("no host can take it: {}", self.reasons().join("; "))
    }

    fn nowhere(&self) -> String {
        if self.considered == 0 {
            return "no host can take it: there are no hosts".to_owned();
        }
        let reasons = self.reasons().into_iter().map(|reason| format!("\n  {reason}"));
        format!("none of {} hosts can take it{}", self.considered, reasons.collect::<String>())
    }

    /// What stops the hosts, one text for each kind of reason.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<String> =
            self.refusals.iter().take(REASONS_TOLD_MAX).map(RefusalWords::line).collect();
        let more: usize = self.refusals.iter().skip(REASONS_TOLD_MAX).map(|refusal| refusal.hosts).sum();
        if more > 0 {
            reasons.push(format!("and {more} more for other reasons"));
        }
        reasons
    }

    fn chosen(&self) -> Option<&HostWords<'_>> {
        self.hosts.iter().find(|host| host.chosen)
    }

    fn score(&self, host: &HostWords<'_>) -> Option<f64> {
        if self.by_total { host.after } else { host.increase }
    }

    fn score_words(&self, host: &HostWords<'_>) -> String {
        if self.by_total {
            format!("total cost {}", cost(host.after))
        } else {
            format!("cost {}", cost_increase(host.increase))
        }
    }

    fn runner_up(&self) -> Option<&HostWords<'_>> {
        let others = self.hosts.iter().filter(|host| host.reason.is_none() && !host.chosen);
        others.min_by(|one, other| {
            // Ties go to the lowest id.
            compared(self.score(one), self.score(other)).then(one.id.cmp(&other.id))
        })
    }
}

/// Which of two costs is lower, to as many digits as the scheduler compares, so that what is told is what decided. One that
/// is not finite is higher than any other.
pub(crate) fn compared(one: Option<f64>, other: Option<f64>) -> Ordering {
    #[allow(clippy::cast_possible_truncation)] // that is how the scheduler rounds
    let rounded = |cost: f64| (cost as f32).clamp(f32::MIN, f32::MAX) + 0.0;
    match (one, other) {
        (Some(one), Some(other)) => rounded(one).total_cmp(&rounded(other)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

impl HostWords<'_> {
    /// What was found about the host: its reason, or its cost.
    pub(crate) fn judgement(&self) -> String {
        match self.reason {
            Some(reason) => format!("not feasible: {reason}"),
            None => change(self.before, self.after),
        }
    }
}

/// A cost before and after: `0.5000 -> 0.6250`.
pub(crate) fn change(before: Option<f64>, after: Option<f64>) -> String {
    format!("{} -> {}", cost(before), cost(after))
}

/// A cost: `0.4125`; `never` when it is not finite.
pub(crate) fn cost(value: Option<f64>) -> String {
    value.map_or_else(|| "never".to_owned(), |value| format!("{:.4}", no_negative_zero(value)))
}

/// A difference of costs, with its sign.
pub(crate) fn cost_increase(value: Option<f64>) -> String {
    value.map_or_else(|| "never".to_owned(), |value| format!("{:+.4}", no_negative_zero(value)))
}

/// What rounds to zero is shown without a sign of its own.
fn no_negative_zero(value: f64) -> f64 {
    if value.abs() < 0.000_05 { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn able(name: &str, id: u32, increase: f64) -> HostWords<'_> {
        let (before, after) = (Some(1.0), Some(1.0 + increase));
        HostWords { name, id, before, after, increase: Some(increase), ..HostWords::default() }
    }

    #[test]
    fn a_choice_is_told_with_its_runner_up() {
        let chosen = HostWords { chosen: true, ..able("node-2", 2, 0.125) };
        let hosts = vec![able("node-3", 3, 0.5), able("node-1", 1, 0.5), chosen];
        let mut words = DecisionWords { considered: 9, hosts, ..DecisionWords::default() };
        assert_eq!(words.summary(), "node-2: cost +0.1250 (runner-up node-1, cost +0.5000)");
        words.by_total = true;
        assert_eq!(words.why(), "total cost 1.1250 (runner-up node-1, total cost 1.5000)");
        words.hosts = vec![chosen];
        assert_eq!(words.summary(), "node-2: total cost 1.1250 (no other host fits)");
        assert_eq!(chosen.judgement(), "1.0000 -> 1.1250");
        words.at_once = Some(3);
        assert_eq!(words.why(), "total cost 1.1250 (no other host fits); one of 3 VMs placed at once");
    }

    #[test]
    fn a_refusal_is_told_by_kinds_of_reasons() {
        let refusal = |hosts, example, reason| RefusalWords { hosts, example, reason };
        let mut refusals = vec![refusal(1, "a", "draining: x"), refusal(40, "b", "memory: y")];
        let words = DecisionWords { considered: 41, refusals: refusals.clone(), ..DecisionWords::default() };
        assert_eq!(words.refusal(), "no host can take it: a: draining: x; 40 hosts, such as b: memory: y");
        assert_eq!(
            words.summary(),
            "none of 41 hosts can take it\n  a: draining: x\n  40 hosts, such as b: memory: y"
        );
        refusals.extend(vec![refusal(7, "c", "z"); 5]);
        let words = DecisionWords { considered: 76, refusals, ..DecisionWords::default() };
        assert!(words.refusal().ends_with("; and 14 more for other reasons"), "{}", words.refusal());
        let nowhere = DecisionWords::default();
        assert_eq!(nowhere.summary(), "no host can take it: there are no hosts");
        assert!(nowhere.refusal().starts_with("there are no hosts"));
    }

    #[test]
    fn costs_are_told_with_four_digits() {
        assert_eq!(cost(Some(0.412_49)), "0.4125");
        assert_eq!(cost_increase(Some(-0.000_01)), "+0.0000");
        assert_eq!(cost_increase(Some(1.5)), "+1.5000");
        assert_eq!(change(Some(1.0), None), "1.0000 -> never");
    }
}
