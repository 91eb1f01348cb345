//! What is promised when the hypervisor itself goes away: domains run on, calls fail at once, and it comes back by
//! itself.

use std::time::Duration;

use reeve_agent::hypervisor::{DomainState, HypervisorError, HypervisorEvent};
use reeve_common::clock::{Clock as _, SystemClock};
use reeve_tests::harness::waiting::poll_until;

use crate::subject::{PATIENCE, Subject, hear, ledger, listen, pool, running, samples, spec};

/// What "at once" may take on a busy machine; keep-alives would take 20 s.
const AT_ONCE: Duration = Duration::from_secs(10);

pub(crate) fn the_hypervisor_goes_and_comes_back(mut subject: impl Subject) {
    let vm = running(&subject, "survivor");
    let events = listen(subject.hypervisor());

    for round in 0..2 {
        subject.go();
        hear(&events, |event| *event == HypervisorEvent::Disconnected);
        let asked_at = SystemClock.monotonic();
        let hypervisor = subject.hypervisor();
        let answers = [
            hypervisor.facts().map(drop),
            hypervisor.domains().map(drop),
            hypervisor.domain(vm).map(drop),
            hypervisor.define(vm, &spec("survivor"), &ledger(&spec("survivor"))),
            hypervisor.write_ledger(vm, &ledger(&spec("survivor"))),
            hypervisor.describe_foreign(vm).map(drop),
            hypervisor.adopt(vm, &ledger(&spec("survivor"))),
            hypervisor.release(vm),
            hypervisor.start(vm),
            hypervisor.shutdown(vm),
            hypervisor.destroy(vm),
            hypervisor.undefine(vm),
            hypervisor.guest_ping(vm, Duration::from_secs(1)).map(drop),
            hypervisor.statistics().map(drop),
            hypervisor.pools(&[pool("vms")]).map(drop),
            hypervisor.volumes(&pool("vms")).map(drop),
            hypervisor.create_system_disk(&spec("survivor")),
            hypervisor.delete_volume(&pool("vms"), &spec("survivor").system_disk.volume),
            hypervisor.console(vm, 10).map(drop),
        ];
        for answer in answers {
            assert!(matches!(answer, Err(HypervisorError::Unreachable(_))), "round {round}: {answer:?}");
        }
        assert!(asked_at.elapsed() < AT_ONCE, "calls waited for a hypervisor that is not there");

        subject.come_back();
        hear(&events, |event| *event == HypervisorEvent::Connected);
        let hypervisor = subject.hypervisor();
        let own = hypervisor.domain(vm).unwrap().expect("the domain is lost");
        assert_eq!(own.state, DomainState::Active, "the domain did not survive");
        hypervisor.write_ledger(vm, &own.ledger).unwrap();
        assert!(samples(&subject).iter().any(|sample| sample.vm == vm));
    }

    subject.hypervisor().destroy(vm).unwrap();
    hear(&events, |event| *event == HypervisorEvent::Domain(vm));
    let off = || Ok((subject.hypervisor().domain(vm)?.unwrap().state != DomainState::Active).then_some(()));
    poll_until("the domain to be off", PATIENCE, off).unwrap();
}
