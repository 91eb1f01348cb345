//! Tests of how findings become standing warnings.

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp(1_000_000_000);

fn finding(kind: WarningKind, subject: &str, severity: Severity) -> Finding {
    Finding {
        id: WarningId { kind, subject: subject.to_owned() },
        severity,
        message: format!("{kind} of {subject}"),
        advice: "look".to_owned(),
    }
}

fn silent(subject: &str) -> Finding {
    finding(WarningKind::SilentHost, subject, Severity::Warning)
}

/// Warnings in memory, changed as the service changes them.
#[derive(Default)]
struct Memory {
    kept: BTreeMap<WarningId, Kept>,
    writes: usize,
}

impl Memory {
    fn follow(&mut self, findings: Vec<Finding>, can_judge: bool, now: Timestamp) {
        for change in follow(&self.kept, findings, |_| can_judge, now) {
            match change {
                Change::Show(warning) => {
                    let id = warning.id();
                    self.kept.get_mut(&id).unwrap().warning = warning;
                }
                Change::Write(warning) => {
                    self.writes += 1;
                    let stored_last_seen = warning.last_seen;
                    self.kept.insert(warning.id(), Kept { warning, stored_last_seen });
                }
                Change::Forget(id) => {
                    self.kept.remove(&id).unwrap();
                }
            }
        }
    }

    fn only(&self) -> &Warning {
        assert_eq!(self.kept.len(), 1);
        &self.kept.values().next().unwrap().warning
    }
}

fn after(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

#[test]
fn a_warning_is_raised_repeated_cleared_and_raised_again() {
    let mut memory = Memory::default();
    memory.follow(vec![silent("a")], true, NOW);
    let first = memory.only().clone();
    assert_eq!((first.count, first.first_seen, first.state.clone()), (1, NOW, WarningState::Open));
    memory.follow(vec![silent("a")], true, after(5));
    assert_eq!(*memory.only(), Warning { last_seen: after(5), ..first.clone() });
    memory.follow(vec![], true, after(10));
    let gone = memory.only().clone();
    assert_eq!((gone.state.clone(), gone.last_seen), (WarningState::Gone { at: after(10) }, after(5)));
    memory.follow(vec![silent("a")], true, after(15));
    let again = memory.only().clone();
    assert_eq!((again.count, again.first_seen, again.state), (2, NOW, WarningState::Open));
    assert_eq!(memory.writes, 3, "a repetition is not worth a write");
    memory.follow(vec![silent("a")], true, after(700));
    assert_eq!(memory.writes, 4, "but now and then it is");
}

#[test]
fn what_cannot_be_judged_stays_as_it_was() {
    let mut memory = Memory::default();
    memory.follow(vec![silent("a")], true, NOW);
    let first = memory.only().clone();
    memory.follow(vec![], false, after(5));
    assert_eq!(*memory.only(), first);
}

#[test]
fn an_acknowledgement_lasts_until_it_is_gone_or_worse() {
    let mut memory = Memory::default();
    memory.follow(vec![silent("a")], true, NOW);
    let known = memory.only().acknowledged("ann", after(1)).unwrap();
    assert_eq!(known.acknowledged("ben", after(2)), None, "somebody knows already");
    memory.kept.values_mut().next().unwrap().warning = known;
    memory.follow(vec![silent("a")], true, after(5));
    assert!(matches!(memory.only().state, WarningState::Acknowledged { .. }));
    memory.follow(vec![finding(WarningKind::SilentHost, "a", Severity::Failure)], true, after(10));
    assert!(memory.only().is_open() && memory.only().count == 1);
    let known = memory.only().acknowledged("ann", after(11)).unwrap();
    memory.kept.values_mut().next().unwrap().warning = known;
    memory.follow(vec![], true, after(15));
    memory.follow(vec![finding(WarningKind::SilentHost, "a", Severity::Failure)], true, after(20));
    assert!(memory.only().is_open() && memory.only().count == 2);
    assert_eq!(
        Warning { state: WarningState::Gone { at: NOW }, ..memory.only().clone() }.acknowledged("x", NOW),
        None
    );
}

#[test]
fn what_is_gone_is_forgotten_after_a_week() {
    let mut memory = Memory::default();
    memory.follow(vec![silent("a")], true, NOW);
    memory.follow(vec![], true, after(5));
    memory.follow(vec![], true, after(6 * 24 * 3600));
    assert_eq!(memory.kept.len(), 1);
    memory.follow(vec![], true, after(8 * 24 * 3600));
    assert!(memory.kept.is_empty());
}

#[test]
fn many_of_one_kind_are_one_trouble() {
    let findings =
        |count: usize| (0..count).map(|number| silent(&format!("node-{number:05}"))).collect::<Vec<_>>();
    let mut memory = Memory::default();
    memory.follow(findings(10_000), true, NOW);
    assert_eq!(memory.kept.len(), SUBJECTS_MAX + 1);
    let others = &memory.kept[&"silent-host/others".parse().unwrap()].warning;
    assert_eq!(others.message, "A host that has joined is not heard. The same of up to 10000 others.");
    let writes = memory.writes;
    memory.follow(findings(9_990), true, after(5));
    assert_eq!(memory.writes, writes, "a number that changes all the time is not written all the time");
}

#[test]
fn whoever_stands_already_is_not_lost_among_many() {
    let mut memory = Memory::default();
    memory.follow(vec![silent("zebra")], true, NOW);
    let many = (0..200).map(|number| silent(&format!("node-{number:05}")));
    memory.follow(many.chain([silent("zebra")]).collect(), true, after(5));
    assert!(memory.kept[&"silent-host/zebra".parse().unwrap()].warning.is_open());
    assert_eq!(memory.kept.len(), SUBJECTS_MAX + 1);
}

#[test]
fn ids_are_read_as_they_are_written() {
    for kind in WarningKind::ALL {
        let id = WarningId { kind: *kind, subject: "node-1.example".to_owned() };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        assert!(kind.meaning().ends_with('.'));
    }
    for bad in ["", "silent-host", "silent-host/", "nothing/node-1", "silent-host/a/b", "silent-host/a b"] {
        assert_eq!(bad.parse::<WarningId>(), Err(InvalidWarningId), "{bad}");
    }
}

proptest! {
    /// Whatever is found in whatever order: as many as allowed, each once, and what was found last is standing.
    #[test]
    fn warnings_stay_bounded_and_true(
        rounds in proptest::collection::vec(
            (proptest::collection::vec((0..3_usize, 0..60_usize), 0..80), any::<bool>(), 0..400_000_u64), 1..8)
    ) {
        let mut memory = Memory::default();
        let mut now = NOW;
        for (found, can_judge, passed) in rounds {
            now = now.after(Duration::from_secs(passed));
            let kinds = [WarningKind::SilentHost, WarningKind::ClockSkew, WarningKind::VersionSkew];
            let findings: Vec<Finding> = found
                .iter()
                .map(|(kind, subject)| finding(kinds[*kind], &format!("n{subject}"), Severity::Warning))
                .collect();
            memory.follow(findings.clone(), can_judge, now);
            prop_assert!(memory.kept.len() <= WARNINGS_MAX);
            for warning in memory.kept.values().map(|kept| &kept.warning) {
                prop_assert!(warning.first_seen <= warning.last_seen && warning.last_seen <= now);
                let is_found = findings.iter().any(|finding| finding.id == warning.id());
                prop_assert!(!can_judge || !warning.is_standing() || is_found || warning.subject == OTHERS);
            }
        }
    }
}
