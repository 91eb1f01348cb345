//! Tests of what is found wrong with the fleet.

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn coordinator() -> CoordinatorFacts {
    CoordinatorFacts {
        version: "1.0.0".to_owned(),
        now: NOW,
        authority_ends: NOW.after(DAY * 365),
        server_certificate_ends: Some(NOW.after(DAY / 2)),
        certificate_lifetime: DAY,
        store: Some((10, 500, 1_000)),
        braked: Vec::new(),
    }
}

fn host() -> HostFacts {
    HostFacts {
        name: "node-1".to_owned(),
        is_settled: true,
        is_left_alone: false,
        hearing: Hearing::Heard,
        has_reported: true,
        refused: None,
        libvirt_answers: true,
        bad_pools: Vec::new(),
        not_configured: None,
        shortfalls: Vec::new(),
        clock_ahead_ms: Some(300),
        certificate_ends: Some(NOW.after(DAY / 2)),
        lock_manager: LockManager::On,
        agent_version: Some("1.0.0".to_owned()),
        lacks_watchdog: false,
        unmanaged: 0,
        leftovers: 0,
        decisions: 0,
        contradiction: None,
    }
}

fn kinds(host: &HostFacts) -> Vec<WarningKind> {
    of_host(host, &coordinator()).iter().map(|finding| finding.id.kind).collect()
}

#[test]
fn nothing_is_wrong_with_a_good_fleet() {
    assert_eq!(kinds(&host()), []);
    assert_eq!(of_coordinator(&coordinator()), []);
}

#[test]
fn each_trouble_of_a_host_is_found_by_itself_and_says_what_helps() {
    type Spoil = fn(&mut HostFacts);
    let troubles: [(WarningKind, Spoil); 14] = [
        (WarningKind::SilentHost, |host| host.hearing = Hearing::Lost(Some(NOW))),
        (WarningKind::AgentRefused, |host| host.refused = Some("a twin".to_owned())),
        (WarningKind::LibvirtUnreachable, |host| host.libvirt_answers = false),
        (WarningKind::PoolUnusable, |host| host.bad_pools.push("vms: it is not defined".to_owned())),
        (WarningKind::ProfileAboveHardware, |host| host.shortfalls.push("4 cores".to_owned())),
        (WarningKind::ProfileUnknown, |host| host.not_configured = Some("profile x".to_owned())),
        (WarningKind::ClockSkew, |host| host.clock_ahead_ms = Some(-6_000)),
        (WarningKind::VersionSkew, |host| host.agent_version = Some("0.9.0".to_owned())),
        (WarningKind::HostCertificateEnds, |host| host.certificate_ends = Some(NOW.after(DAY / 5))),
        (WarningKind::LockManagerOff, |host| host.lock_manager = LockManager::Off),
        (WarningKind::NoWatchdog, |host| host.lacks_watchdog = true),
        (WarningKind::UnmanagedVms, |host| host.unmanaged = 3),
        (WarningKind::LeftoverVms, |host| host.leftovers = 1),
        (WarningKind::DecisionWanted, |host| host.decisions = 2),
    ];
    for (kind, spoil) in troubles {
        let mut bad = host();
        spoil(&mut bad);
        let found = of_host(&bad, &coordinator());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].id, WarningId { kind, subject: "node-1".to_owned() });
        assert!(found[0].advice.contains('`') || found[0].advice.contains("hardware profile"), "{found:?}");
        assert!(!found[0].message.is_empty());
    }
}

#[test]
fn the_cause_of_silence_is_told() {
    let lost = |since: Option<Timestamp>, refused: Option<&str>| {
        let mut host = HostFacts { hearing: Hearing::Lost(since), ..host() };
        host.refused = refused.map(str::to_owned);
        host.certificate_ends = None;
        let found = of_host(&host, &coordinator());
        found.into_iter().find(|finding| finding.id.kind == WarningKind::SilentHost).unwrap()
    };
    assert!(lost(None, None).message.contains("since the coordinator started; the machine, its network"));
    let long_ago = Timestamp(NOW.0 - 25 * 3_600_000);
    assert!(lost(Some(long_ago), None).message.contains("its certificate has expired"));
    assert!(lost(Some(long_ago), None).advice.contains("reeve-agent join --replace"));
    assert!(lost(Some(NOW), Some("a cloned disk")).message.contains("turned away"));
    assert!(lost(Some(NOW), None).advice.contains("reeve-agent doctor"));
}

#[test]
fn a_certificate_that_is_not_renewed_is_told_before_it_expires() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let found = |ends: Option<Timestamp>, hearing: Hearing| {
        of_host(&HostFacts { certificate_ends: ends, hearing, ..host() }, &coordinator())
    };
    let of_certificate = |left: Duration, hearing: Hearing| {
        let found = found(Some(NOW.after(left)), hearing);
        found.into_iter().find(|finding| finding.id.kind == WarningKind::HostCertificateEnds)
    };
    // The agent renews it when a third of a day is left.
    assert_eq!(of_certificate(HOUR * 7, Hearing::Heard), None);
    let severity = |left| of_certificate(left, Hearing::Heard).map(|finding| finding.severity);
    assert_eq!([severity(HOUR * 5), severity(HOUR / 2)], [Some(Severity::Warning), Some(Severity::Failure)]);
    let away = of_certificate(HOUR, Hearing::Lost(None)).unwrap();
    assert!(away.message.contains("cannot come back by itself") && away.advice.contains("join-token"));
    assert_eq!(of_certificate(HOUR, Hearing::Fenced), None);
    // What is known goes before what is guessed from the time of its last word.
    let expired = found(Some(NOW), Hearing::Lost(Some(NOW)));
    assert_eq!(expired.len(), 1);
    assert!(expired[0].message.contains("its certificate has expired"), "{expired:?}");
    let long_ago = Timestamp(NOW.0 - 25 * 3_600_000);
    let renewed = found(Some(NOW.after(HOUR * 7)), Hearing::Lost(Some(long_ago)));
    assert!(!renewed[0].message.contains("expired"), "{renewed:?}");
}

#[test]
fn a_host_that_nothing_is_expected_of_is_not_silent() {
    for hearing in [Hearing::NeverJoined, Hearing::Awaited, Hearing::Fenced] {
        assert_eq!(kinds(&HostFacts { hearing, has_reported: false, ..host() }), []);
    }
    let left_alone = HostFacts { is_left_alone: true, libvirt_answers: false, unmanaged: 3, ..host() };
    assert_eq!(kinds(&left_alone), []);
}

#[test]
fn clocks_within_the_tolerance_are_right() {
    let skewed = |ahead| {
        let found = of_host(&HostFacts { clock_ahead_ms: Some(ahead), ..host() }, &coordinator());
        found.first().map(|finding| finding.severity)
    };
    assert_eq!([skewed(5_000), skewed(-5_000)], [None, None]);
    assert_eq!([skewed(5_001), skewed(-239_000)], [Some(Severity::Warning); 2]);
    assert_eq!([skewed(240_000), skewed(i64::MIN)], [Some(Severity::Failure); 2]);
}

#[test]
fn what_a_host_has_not_said_since_the_start_is_not_repaired() {
    let silent = HostFacts { hearing: Hearing::Lost(None), has_reported: false, ..host() };
    assert!(!can_judge(&silent, WarningKind::PoolUnusable) && can_judge(&silent, WarningKind::SilentHost));
    let awaited = HostFacts { hearing: Hearing::Awaited, ..silent.clone() };
    assert!(!can_judge(&awaited, WarningKind::SilentHost));
    let early = HostFacts { is_settled: false, ..silent };
    assert!(!can_judge(&early, WarningKind::AgentRefused) && can_judge(&host(), WarningKind::AgentRefused));
    assert!(WarningKind::ALL.iter().all(|kind| can_judge(&host(), *kind)));
    // An agent of before does not say whether there is a lock manager, and nobody knows a certificate that was not
    // seen since the start.
    let older = HostFacts { lock_manager: LockManager::Unknown, certificate_ends: None, ..host() };
    assert_eq!(kinds(&older), []);
    assert!(!can_judge(&older, WarningKind::LockManagerOff));
    assert!(!can_judge(&older, WarningKind::HostCertificateEnds));
}

#[test]
fn the_coordinators_own_troubles_grow_worse() {
    let found = |facts: CoordinatorFacts| {
        of_coordinator(&facts).first().map(|finding| (finding.id.kind, finding.severity))
    };
    let ends = |days: u32| CoordinatorFacts { authority_ends: NOW.after(DAY * days), ..coordinator() };
    assert_eq!(found(ends(91)), None);
    assert_eq!(found(ends(89)), Some((WarningKind::AuthorityExpires, Severity::Warning)));
    assert_eq!(found(ends(13)), Some((WarningKind::AuthorityExpires, Severity::Failure)));
    let store = |store| CoordinatorFacts { store: Some(store), ..coordinator() };
    assert_eq!(found(store((10, 99, 1_000))), Some((WarningKind::StoreNearlyFull, Severity::Warning)));
    assert_eq!(found(store((400, 399, 1_000))), Some((WarningKind::StoreNearlyFull, Severity::Warning)));
    assert_eq!(found(store((10, 20, 1_000))), Some((WarningKind::StoreNearlyFull, Severity::Failure)));
    let late = CoordinatorFacts { server_certificate_ends: Some(NOW.after(DAY / 5)), ..coordinator() };
    assert_eq!(found(late), Some((WarningKind::CertificateNotRenewed, Severity::Failure)));
    let braked = CoordinatorFacts { braked: vec![("r".to_owned(), "3 of 4".to_owned())], ..coordinator() };
    assert_eq!(found(braked), Some((WarningKind::FailoverBraked, Severity::Failure)));
}
