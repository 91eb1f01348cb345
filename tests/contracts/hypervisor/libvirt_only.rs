//! What only a real libvirt, QEMU or file can do wrong.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use reeve_agent::hypervisor::libvirt::ProbeEnd;
use reeve_agent::hypervisor::{DomainState, Hypervisor as _, HypervisorError, HypervisorEvent, LedgerEntry};
use reeve_common::clock::{Clock as _, SystemClock};
use reeve_common::ids::Generation;
use reeve_common::vm::VirtType;

use crate::subject::{
    BRICKS, hear, libvirt, libvirt_alone, listen, make_qcow2, running, samples, spec, volume,
};

/// Every definition that the agent's golden tests hold is one that libvirt's own schema allows.
#[test]
fn golden_definitions_fit_the_schema() {
    let subject = libvirt();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/tests/golden");
    let mut checked = 0;
    for entry in fs::read_dir(golden).unwrap() {
        let path = entry.unwrap().path();
        // Whether this machine has KVM is not the schema's business.
        let document =
            fs::read_to_string(&path).unwrap().replace("<domain type=\"kvm\">", "<domain type=\"qemu\">");
        subject.daemon.virsh_with(&["define", "--validate"], &document).unwrap();
        subject.daemon.virsh(&["undefine", "web-fd0c8a52"]).unwrap();
        checked += 1;
    }
    assert!(checked >= 3);
}

#[test]
fn the_host_describes_itself() {
    let facts = libvirt().hypervisor.facts().unwrap();
    assert!(facts.version.starts_with("libvirt ") && facts.version.contains("QEMU "), "{}", facts.version);
    assert!(facts.logical_cpus > 0 && facts.memory.0 > 0);
    assert_eq!(facts.automatic_virt_type, VirtType::Qemu, "KVM was to be left alone");
}

/// The guest that proves KVM does what it is meant to, shown where it is sure to run: in software. It leaves nothing.
#[test]
fn the_probe_runs_and_leaves_nothing() {
    let subject = libvirt_alone();
    assert_eq!(subject.hypervisor.probe("qemu").unwrap(), ProbeEnd::Marked);
    assert_eq!(subject.hypervisor.probe("qemu").unwrap(), ProbeEnd::Marked);
    assert!(matches!(subject.hypervisor.probe("xen").unwrap(), ProbeEnd::NotOffered(_)));
    let domains = subject.hypervisor.domains().unwrap();
    assert!(domains.own.is_empty() && domains.foreign.is_empty(), "{domains:?}");
    for pool in ["vms", BRICKS] {
        let volumes = subject.daemon.virsh(&["vol-list", pool]).unwrap();
        assert!(!volumes.contains("probe"), "{volumes}");
    }
}

/// A QEMU that is stopped answers nothing, for ever. Its VM is not measured and not asked; the others are.
#[test]
fn a_stuck_qemu_does_not_blind_the_agent() {
    let subject = libvirt_alone();
    let hypervisor = &subject.hypervisor;
    let (stuck, well) = (running(&subject, "stuck"), running(&subject, "well"));
    subject.daemon.signal_qemu("stuck", Signal::SIGSTOP).unwrap();
    // The first call may meet it; from the second on libvirt knows that it is busy.
    let met = hypervisor.statistics();
    assert!(
        !matches!(met, Err(HypervisorError::Unreachable(_) | HypervisorError::Refused { .. })),
        "{met:?}"
    );
    assert!(samples(&subject).iter().any(|sample| sample.vm == well && sample.cpu_milliseconds > 0));
    assert_eq!(hypervisor.domains().unwrap().own.len(), 2);
    assert!(!hypervisor.guest_ping(well, Duration::from_secs(1)).unwrap());
    // Its ledger can be written, which comes before everything that is done to it.
    let stopped =
        LedgerEntry { generation: Generation(2), ..hypervisor.domain(stuck).unwrap().unwrap().ledger };
    hypervisor.write_ledger(stuck, &stopped).unwrap();
    assert_eq!(hypervisor.domain(stuck).unwrap().unwrap().ledger, stopped);
    // libvirt ends it with a signal, which needs no answer.
    hypervisor.destroy(stuck).unwrap();
    let ended = hypervisor.domain(stuck).unwrap().unwrap();
    assert!(matches!(ended.state, DomainState::Inactive(_)), "{ended:?}");
    assert_eq!(ended.ledger, stopped);
    assert_eq!(hypervisor.domain(well).unwrap().unwrap().state, DomainState::Active);
}

/// A libvirtd that hangs is given up like one that died, and taken back when it goes on.
#[test]
fn a_hanging_libvirtd_is_given_up() {
    let subject = libvirt_alone();
    let hypervisor = &subject.hypervisor;
    let events = listen(hypervisor);
    let vm = running(&subject, "patient");
    subject.daemon.signal(Signal::SIGSTOP).unwrap();
    // Two more intervals than the keep-alives allow, and nobody waits any longer.
    let asked_at = SystemClock.monotonic();
    let answer = hypervisor.domains();
    assert!(matches!(answer, Err(HypervisorError::Unreachable(_))), "{answer:?}");
    assert!(asked_at.elapsed() < Duration::from_secs(30));
    hear(&events, |event| *event == HypervisorEvent::Disconnected);
    assert!(matches!(hypervisor.start(vm), Err(HypervisorError::Unreachable(_))));
    subject.daemon.signal(Signal::SIGCONT).unwrap();
    hear(&events, |event| *event == HypervisorEvent::Connected);
    assert_eq!(hypervisor.domain(vm).unwrap().unwrap().state, DomainState::Active);
}

/// Images that would make QEMU open another file of the host. The canary stays unread: no disk is made of them.
#[test]
fn hostile_images_are_refused() {
    let subject = libvirt();
    let bricks = subject.daemon.path("pools").join(BRICKS);
    let canary = subject.daemon.path("canary");
    fs::write(&canary, "secret".repeat(1000)).unwrap();
    let canary = canary.to_string_lossy().into_owned();
    let on_canary = format!("data_file={canary}.raw,data_file_raw=on");
    let make = |name: &str, options: &[&str]| {
        make_qcow2(&bricks.join(name), options);
        name.to_owned()
    };
    fs::write(bricks.join("short.qcow2"), b"QFI\xfb\0\0\0\x03").unwrap();
    let images = [
        make("leaks-backing.qcow2", &["-b", &canary, "-F", "raw"]),
        {
            // qemu-img wants the size last, so the options go by hand.
            let path = bricks.join("leaks-data.qcow2");
            let mut command = std::process::Command::new("qemu-img");
            command.args(["create", "-q", "-f", "qcow2", "-o", &on_canary]).arg(&path).arg("1M");
            assert!(command.status().unwrap().success());
            "leaks-data.qcow2".to_owned()
        },
        "short.qcow2".to_owned(),
    ];
    for image in images {
        let mut spec = spec("victim");
        spec.system_disk.image_volume = volume(&image);
        let refused = subject.hypervisor.create_system_disk(&spec);
        assert!(matches!(&refused, Err(HypervisorError::Refused { .. })), "{image}: {refused:?}");
    }
    // An image that was good may be replaced: the judgement is not older than the file.
    make_qcow2(&bricks.join("changing.qcow2"), &["1M"]);
    let mut spec = spec("changed");
    spec.system_disk.image_volume = volume("changing.qcow2");
    subject.hypervisor.create_system_disk(&spec).unwrap();
    subject.hypervisor.delete_volume(&spec.system_disk.pool, &spec.system_disk.volume).unwrap();
    make("changing.qcow2", &["-b", &canary, "-F", "raw"]);
    let refused = subject.hypervisor.create_system_disk(&spec);
    assert!(matches!(&refused, Err(HypervisorError::Refused { .. })), "{refused:?}");
}
