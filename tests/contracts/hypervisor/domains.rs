//! What is promised of domains.

use std::time::{Duration, Instant};

use reeve_agent::hypervisor::{
    DomainState, HypervisorError, HypervisorEvent, InactiveCause, LedgerEntry, LedgerWish, OwnDomain,
};
use reeve_common::clock::{Clock as _, SystemClock, Timestamp};
use reeve_common::ids::{Epoch, Generation, VmId};
use reeve_common::inventory::limits;
use reeve_common::storage::DiskFormat;
use reeve_common::units::Mebibytes;
use reeve_common::vm::{StopReason, VmSpec};
use reeve_tests::harness::waiting::poll_until;

use crate::subject::{
    PATIENCE, SPEAKER, SPOKEN, Subject, defined, hear, ledger, listen, pool, running, samples, spec, volume,
};

fn now() -> Instant {
    SystemClock.monotonic()
}

fn seen(subject: &dyn Subject, vm: VmId) -> OwnDomain {
    subject.hypervisor().domain(vm).unwrap().expect("the domain is gone")
}

/// Waits until the domain is in this state.
fn await_state(subject: &dyn Subject, vm: VmId, state: DomainState) {
    let look = || Ok((seen(subject, vm).state == state).then_some(()));
    poll_until(&format!("{vm} to be {state:?}"), PATIENCE, look).unwrap();
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T, HypervisorError>) -> String {
    match result {
        Err(error @ HypervisorError::Refused { .. }) => {
            assert!(!error.is_retryable());
            error.to_string()
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[allow(clippy::needless_pass_by_value)] // so that a call stands inside the brackets
fn assert_not_found<T: std::fmt::Debug>(result: Result<T, HypervisorError>) {
    assert!(matches!(&result, Err(HypervisorError::NotFound { .. })), "{result:?}");
}

pub(crate) fn a_vm_lives_and_everything_may_be_repeated(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    let spec = spec("whole-life");
    let vm = defined(subject, &spec);
    let first = seen(subject, vm);
    assert_eq!(first.name, spec.name);
    assert_eq!(first.ledger, ledger(&spec));
    assert_eq!(first.state, DomainState::Inactive(InactiveCause::Unknown));
    hypervisor.define(vm, &spec, &ledger(&spec)).unwrap();
    assert_eq!(seen(subject, vm), first);

    hypervisor.start(vm).unwrap();
    hypervisor.start(vm).unwrap();
    await_state(subject, vm, DomainState::Active);
    let newer = LedgerEntry { generation: Generation(2), ..ledger(&spec) };
    hypervisor.define(vm, &spec, &newer).unwrap();
    assert_eq!(seen(subject, vm), OwnDomain { state: DomainState::Active, ledger: newer.clone(), ..first });

    hypervisor.shutdown(vm).unwrap();
    hypervisor.shutdown(vm).unwrap();
    assert_refused(hypervisor.undefine(vm));
    assert!(hypervisor.domain(vm).unwrap().is_some());

    hypervisor.destroy(vm).unwrap();
    hypervisor.destroy(vm).unwrap();
    await_state(subject, vm, DomainState::Inactive(InactiveCause::Destroyed));
    assert_eq!(seen(subject, vm).ledger, newer, "what was written while it ran is kept when it stops");
    hypervisor.shutdown(vm).unwrap();

    for _ in 0..2 {
        hypervisor.undefine(vm).unwrap();
        hypervisor.delete_volume(&spec.system_disk.pool, &spec.system_disk.volume).unwrap();
    }
    assert_eq!(hypervisor.domain(vm).unwrap(), None);
    assert!(hypervisor.domains().unwrap().own.iter().all(|own| own.vm != vm));
}

pub(crate) fn what_is_not_there_is_not_found_or_done(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    let (nobody, spec) = (VmId::random(), spec("not-there"));
    assert_eq!(hypervisor.domain(nobody).unwrap(), None);
    hypervisor.shutdown(nobody).unwrap();
    hypervisor.destroy(nobody).unwrap();
    hypervisor.undefine(nobody).unwrap();
    hypervisor.delete_volume(&spec.system_disk.pool, &spec.system_disk.volume).unwrap();
    assert_not_found(hypervisor.start(nobody));
    assert_not_found(hypervisor.write_ledger(nobody, &ledger(&spec)));
    assert_not_found(hypervisor.guest_ping(nobody, Duration::from_secs(1)));
    assert_not_found(hypervisor.console(nobody, 100));
    // A disk has to be made before the domain that has it.
    assert_not_found(hypervisor.define(nobody, &spec, &ledger(&spec)));
    let mut lost = spec;
    lost.system_disk.image_volume = volume("no-such-image");
    assert_not_found(hypervisor.create_system_disk(&lost));
    lost.system_disk.image_pool = pool("absent");
    assert_not_found(hypervisor.create_system_disk(&lost));
}

pub(crate) fn the_ledger_comes_back_as_it_was_written(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    let spec = spec("ledger");
    let vm = defined(subject, &spec);
    let stopped = |reason| LedgerWish::Stopped { destroy_at: Timestamp(1_700_000_000_123), reason };
    let wishes = [
        LedgerWish::Running,
        stopped(None),
        stopped(Some(StopReason::RegistrationTimeout)),
        stopped(Some(StopReason::StartFailed("</reeve:vm>\"'&<x/>]]>".to_owned()))),
    ];
    for running in [false, true] {
        if running {
            hypervisor.start(vm).unwrap();
        }
        for (number, wish) in (10_u64..).zip(&wishes) {
            let entry = LedgerEntry {
                generation: Generation(number),
                epoch: Epoch(u64::MAX),
                wish: wish.clone(),
                registration_deadline: Some(Timestamp(number)),
                started_at: Some(Timestamp(number + 1)),
                registered_at: running.then_some(Timestamp(u64::MAX)),
                system_disk: (number % 2 == 0).then(|| (pool("vms"), volume("ledger"))),
                registration_timeout: Duration::from_millis(number),
                origin: format!("{{\"number\":{number}}}"),
            };
            hypervisor.write_ledger(vm, &entry).unwrap();
            assert_eq!(seen(subject, vm).ledger, entry);
            let listed = hypervisor.domains().unwrap().own;
            assert_eq!(listed.iter().find(|own| own.vm == vm).unwrap().ledger, entry);
        }
    }
    let last = seen(subject, vm).ledger;
    hypervisor.destroy(vm).unwrap();
    assert_eq!(seen(subject, vm).ledger, last);
}

pub(crate) fn domains_of_others_are_seen_and_left_alone(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    let (busy, idle) = (VmId::random(), VmId::random());
    subject.add_foreign(busy, "somebody-elses", true);
    subject.add_foreign(idle, "somebody-elses-idle", false);
    let foreign = hypervisor.domains().unwrap().foreign;
    let find = |id| foreign.iter().find(|foreign| foreign.id == id).unwrap();
    assert!(find(busy).active && !find(idle).active);
    assert_eq!((find(busy).name.as_str(), find(busy).vcpus), ("somebody-elses", 1));
    assert!(find(busy).memory >= Mebibytes(32));

    let spec = spec("mine");
    hypervisor.create_system_disk(&spec).unwrap();
    for id in [busy, idle] {
        assert_eq!(hypervisor.domain(id).unwrap(), None);
        let refusals = [
            hypervisor.define(id, &spec, &ledger(&spec)),
            hypervisor.write_ledger(id, &ledger(&spec)),
            hypervisor.start(id),
            hypervisor.shutdown(id),
            hypervisor.destroy(id),
            hypervisor.undefine(id),
        ];
        for refusal in refusals {
            assert!(assert_refused(refusal).contains("virsh"), "the refusal does not say what to do");
        }
        assert_refused(hypervisor.console(id, 100));
    }
    assert!(samples(subject).iter().all(|sample| sample.vm != busy));
    let foreign = hypervisor.domains().unwrap().foreign;
    assert!(foreign.iter().any(|foreign| foreign.id == busy && foreign.active));
    assert!(foreign.iter().any(|foreign| foreign.id == idle && !foreign.active));
}

pub(crate) fn a_spoilt_ledger_makes_a_domain_somebody_elses(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    let vm = running(subject, "spoilt");
    for spoilt in ["<vm version='1' generation='many'/>", "<vm version='999'/>", "<other/>"] {
        subject.overwrite_ledger(vm, spoilt);
        assert_eq!(hypervisor.domain(vm).unwrap(), None, "{spoilt}");
        let domains = hypervisor.domains().unwrap();
        assert!(domains.own.iter().all(|own| own.vm != vm));
        assert!(domains.foreign.iter().any(|foreign| foreign.id == vm && foreign.active));
        assert_refused(hypervisor.destroy(vm));
        assert_refused(hypervisor.write_ledger(vm, &ledger(&spec("spoilt"))));
    }
}

pub(crate) fn a_hostile_title_stays_a_title(subject: &dyn Subject) {
    let title = "</name><x/>]]>&amp;<!-- \u{1b}[2J \u{202e} 'quoted' \"twice\"";
    let spec = VmSpec { title: title.to_owned(), ..spec("hostile") };
    let vm = defined(subject, &spec);
    subject.hypervisor().start(vm).unwrap();
    await_state(subject, vm, DomainState::Active);
    assert_eq!(seen(subject, vm).name, spec.name);
    if let Some(document) = subject.document(vm) {
        assert!(!document.contains("<x/>"), "{document}");
        assert!(
            document.contains("<title>&lt;/name&gt;&lt;x/&gt;]]&gt;&amp;amp;&lt;!-- ?[2J ? "),
            "{document}"
        );
    }
}

pub(crate) fn a_name_is_taken_once(subject: &dyn Subject) {
    let spec = spec("only-one");
    let vm = defined(subject, &spec);
    assert_refused(subject.hypervisor().define(VmId::random(), &spec, &ledger(&spec)));
    assert_eq!(seen(subject, vm).ledger, ledger(&spec));
}

pub(crate) fn a_guest_without_an_agent_gives_no_sign_of_life(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    let vm = defined(subject, &spec("silent"));
    assert!(!hypervisor.guest_ping(vm, Duration::from_secs(1)).unwrap(), "it does not even run");
    hypervisor.start(vm).unwrap();
    let asked_at = now();
    assert!(!hypervisor.guest_ping(vm, Duration::from_secs(1)).unwrap());
    assert!(now() - asked_at < PATIENCE);
}

pub(crate) fn a_suspended_domain_is_paused(subject: &dyn Subject) {
    let vm = running(subject, "suspended");
    subject.pause(vm);
    await_state(subject, vm, DomainState::Paused);
    subject.hypervisor().destroy(vm).unwrap();
    await_state(subject, vm, DomainState::Inactive(InactiveCause::Destroyed));
}

pub(crate) fn a_crash_is_told_from_a_shutdown(subject: &dyn Subject) {
    let spec = spec("crashing");
    let vm = defined(subject, &spec);
    subject.hypervisor().start(vm).unwrap();
    subject.crash(vm, &spec.name);
    await_state(subject, vm, DomainState::Inactive(InactiveCause::Crashed));
    subject.hypervisor().start(vm).unwrap();
    await_state(subject, vm, DomainState::Active);
}

pub(crate) fn the_console_is_kept_and_goes_with_the_domain(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    let mut speaking = VmSpec { console: true, vnc: true, ..spec("speaking") };
    speaking.system_disk.image_volume = volume(SPEAKER);
    speaking.system_disk.image_format = DiskFormat::Raw;
    let vm = defined(subject, &speaking);
    assert_eq!(hypervisor.console(vm, 1000).unwrap(), b"");
    hypervisor.start(vm).unwrap();
    let spoken = poll_until("the guest to speak", PATIENCE, || {
        let output = String::from_utf8_lossy(&hypervisor.console(vm, 1000)?).into_owned();
        Ok(output.ends_with("\r\n").then_some(output))
    });
    let spoken = spoken.unwrap();
    assert!(!subject.is_real() || spoken == format!("{SPOKEN}\r\n"), "{spoken:?}");
    assert_eq!(hypervisor.console(vm, 3).unwrap(), spoken.as_bytes()[spoken.len() - 3..]);
    assert_eq!(hypervisor.console(vm, 0).unwrap(), b"");

    hypervisor.destroy(vm).unwrap();
    assert_eq!(hypervisor.console(vm, 1000).unwrap(), spoken.as_bytes(), "it can be read until the end");
    hypervisor.undefine(vm).unwrap();
    let left = hypervisor.volumes(&pool("vms")).unwrap();
    assert!(left.iter().all(|volume| !volume.name.as_str().starts_with("speaking.")), "{left:?}");

    let quiet = running(subject, "without-console");
    assert_eq!(hypervisor.console(quiet, 1000).unwrap(), b"");
}

pub(crate) fn statistics_are_of_our_running_domains(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    let (vm, idle) = (running(subject, "measured"), defined(subject, &spec("unmeasured")));
    let sample = poll_until("a sample", PATIENCE, || {
        let samples = samples(subject);
        assert!(samples.iter().all(|sample| sample.vm != idle));
        Ok(samples.into_iter().find(|sample| sample.vm == vm && sample.cpu_milliseconds > 0))
    });
    assert!(sample.unwrap().memory_resident > Mebibytes(0));
    hypervisor.destroy(vm).unwrap();
    assert!(samples(subject).iter().all(|sample| sample.vm != vm));
}

pub(crate) fn events_arrive(subject: &dyn Subject) {
    let events = listen(subject.hypervisor());
    let spec = spec("eventful");
    let vm = defined(subject, &spec);
    let about = |event: &HypervisorEvent| *event == HypervisorEvent::Domain(vm);
    hear(&events, about);
    subject.hypervisor().start(vm).unwrap();
    hear(&events, about);
    subject.crash(vm, &spec.name);
    hear(&events, about);
    await_state(subject, vm, DomainState::Inactive(InactiveCause::Crashed));
    subject.hypervisor().undefine(vm).unwrap();
    hear(&events, about);
    // Only one can listen, and on a shared subject this is the one: pools are listened to here as well.
    subject.set_pool_active("asleep", true);
    hear(&events, |event| *event == HypervisorEvent::Pools);
    subject.set_pool_active("asleep", false);
    hear(&events, |event| *event == HypervisorEvent::Pools);
}

pub(crate) fn the_host_is_described(subject: &dyn Subject) {
    let facts = subject.hypervisor().facts().unwrap();
    assert!(facts.logical_cpus > 0 && facts.memory.0 > 0 && !facts.version.is_empty());
    assert!(facts.processor.models.iter().any(|model| model.as_str() == "qemu64"), "{:?}", facts.processor);
    assert!(!facts.processor.features.is_empty());
    // The nodes are the host: numbered, each with something, and not more than all of it.
    let numbers: Vec<u32> = facts.numa_nodes.iter().map(|node| node.node).collect();
    assert!(!numbers.is_empty() && numbers.is_sorted(), "{numbers:?}");
    assert_eq!(facts.numa_nodes.iter().map(|node| node.logical_cpus).sum::<u32>(), facts.logical_cpus);
    assert_eq!(facts.numa_nodes.iter().map(|node| node.memory.0).sum::<u64>(), facts.memory.0);
    assert!(
        facts.pci_devices.len() <= limits::PCI_IDS_MAX && facts.pci_devices.values().all(|count| *count > 0)
    );
}
