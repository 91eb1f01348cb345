//! The C side, on libvirt's own test driver, which runs inside this process. That a broken connection is told needs a
//! daemon, and is tested where one is killed (`tests/contracts/hypervisor.rs`).

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::super::event_loop;
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, PartialEq)]
enum Heard {
    Domain(Uuid),
    Agent,
    Pools,
    Closed,
}

struct Ear(Mutex<Sender<Heard>>);

impl Ear {
    fn tell(&self, heard: Heard) {
        let _ = self.0.lock().unwrap().send(heard);
    }
}

impl Listener for Ear {
    fn domain_changed(&self, domain: Uuid) {
        self.tell(Heard::Domain(domain));
    }
    fn guest_agent_changed(&self, _: Uuid, _: bool) {
        self.tell(Heard::Agent);
    }
    fn pools_changed(&self) {
        self.tell(Heard::Pools);
    }
    fn closed(&self) {
        self.tell(Heard::Closed);
    }
}

fn listen() -> (Arc<dyn Listener>, Receiver<Heard>) {
    let (sender, receiver) = channel();
    (Arc::new(Ear(Mutex::new(sender))), receiver)
}

fn test_driver() -> Connect {
    event_loop::start().unwrap();
    // A file URI gives each test a host of its own; `test:///default` is shared by the process.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libvirt-test-host.xml");
    Connect::open(Some(&format!("test://{path}"))).unwrap()
}

#[test]
fn events_arrive_and_listeners_are_released() {
    let connect = test_driver();
    let (listener, heard) = listen();
    let subscription = Subscription::to_events(&connect, &listener).unwrap();
    let domain = connect.lookup_domain_by_name("guest").unwrap();
    let title = i32::try_from(sys::VIR_DOMAIN_METADATA_TITLE).unwrap();
    domain.set_metadata(title, Some("by hand"), None, None, 0).unwrap();
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Heard::Domain(domain.uuid().unwrap()));
    domain.destroy().unwrap();
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Heard::Domain(domain.uuid().unwrap()));
    connect.lookup_storage_pool_by_name("pool").unwrap().destroy().unwrap();
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Heard::Pools);

    drop(subscription);
    drop(listener);
    // The last sender goes when libvirt has released every callback: nothing leaks, and nobody is called later.
    assert_eq!(heard.recv_timeout(PATIENCE), Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn a_refused_registration_is_not_leaked() {
    let connect = test_driver();
    let (listener, heard) = listen();
    let mut subscription = Subscription::to_events(&connect, &listener).unwrap();
    let no_such_event = 9999;
    assert!(subscription.add_domain_callback(no_such_event, on_domain, &listener).is_err());
    drop((subscription, listener));
    assert_eq!(heard.recv_timeout(PATIENCE), Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn states_and_errors_are_told_apart() {
    let connect = test_driver();
    let domain = connect.lookup_domain_by_name("guest").unwrap();
    assert_eq!(domain_state(&domain).unwrap().0, c_int::try_from(sys::VIR_DOMAIN_RUNNING).unwrap());
    domain.destroy().unwrap();
    assert_eq!(domain_state(&domain).unwrap().0, c_int::try_from(sys::VIR_DOMAIN_SHUTOFF).unwrap());
    domain.undefine().unwrap();
    assert!(domain_state(&domain).is_err());
}

#[test]
fn statistics_are_read_and_freed() {
    let connect = test_driver();
    let records = statistics(&connect, sys::VIR_DOMAIN_STATS_STATE, 0, |name| name == "state.state").unwrap();
    let domain = connect.lookup_domain_by_name("guest").unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].domain, domain.uuid().unwrap());
    assert_eq!(records[0].values, [("state.state".to_owned(), 1)], "only what is wanted is kept");
}

#[test]
fn parameters_of_every_type_are_read_or_skipped() {
    let mut field = [0; 80];
    for (to, from) in field.iter_mut().zip(b"cpu.time") {
        *to = c_char::from_ne_bytes([*from]);
    }
    let read = |kind: sys::virTypedParameterType, value| {
        let type_ = c_int::try_from(kind).unwrap();
        let parameter = sys::virTypedParameter { field, type_, value };
        assert_eq!(read_parameter(&parameter, |_| false), None);
        read_parameter(&parameter, |name| name == "cpu.time").map(|(_, value)| value)
    };
    use sys::_virTypedParameter__bindgen_ty_1 as Value;
    assert_eq!(read(sys::VIR_TYPED_PARAM_INT, Value { i: 7 }), Some(7));
    assert_eq!(read(sys::VIR_TYPED_PARAM_INT, Value { i: -7 }), None);
    assert_eq!(read(sys::VIR_TYPED_PARAM_UINT, Value { ui: u32::MAX }), Some(u64::from(u32::MAX)));
    assert_eq!(read(sys::VIR_TYPED_PARAM_LLONG, Value { l: -1 }), None);
    assert_eq!(read(sys::VIR_TYPED_PARAM_ULLONG, Value { ul: u64::MAX }), Some(u64::MAX));
    assert_eq!(read(sys::VIR_TYPED_PARAM_DOUBLE, Value { d: 1.0 }), None);
    assert_eq!(field_name(&field).as_str(), Some("cpu.time"));
    assert_eq!(field_name(&[c_char::from_ne_bytes(*b"x"); 80]).as_str(), Some(&*"x".repeat(80)));
    assert_eq!(field_name(&[c_char::from_ne_bytes([0xff]); 80]).as_str(), None);
}

#[test]
fn only_files_that_nobody_changes_or_changed_are_let_go_of() {
    let mapping = |address: &str, mode: &str, file: &str, changed: &str| {
        format!(
            "{address} {mode} 00001000 fe:00 123 {file}\nRss:  8 kB\nAnonymous:  {changed} kB\nVmFlags: rd ex mr\n"
        )
    };
    let smaps = [
        mapping("1000-3000", "r-xp", "                /usr/lib/libvirt.so.0", "0"),
        mapping("3000-4000", "r-xp", "/usr/lib/libpatched.so", "4"),
        mapping("4000-5000", "r--p", "/usr/lib/libvirt.so.0", "0"),
        mapping("5000-6000", "rwxp", "/usr/lib/libvirt.so.0", "0"),
        mapping("6000-7000", "r-xp", "[vdso]", "0"),
        mapping("7000-8000", "r--s", "/usr/lib/gconv-modules.cache", "0"),
        mapping("8000-9000", "r-xp", "/usr/bin/reeve-agent", "0"),
        mapping("9000-a000", "r--p", "/usr/bin/reeve-agent", "4"),
        "nonsense - r-xp /\nAnonymous: 0 kB\n".to_owned(),
    ];
    assert_eq!(unchanged(&smaps.concat()), [0x1000..0x3000, 0x4000..0x5000, 0x8000..0x9000]);
}

#[test]
fn only_what_lies_in_a_read_only_segment_is_let_go_of() {
    let header = |p_type, p_flags| nix::libc::Elf64_Phdr {
        p_type,
        p_flags,
        p_offset: 0,
        p_vaddr: 0x1d80,
        p_paddr: 0,
        p_filesz: 0,
        p_memsz: 0x2300,
        p_align: 0x1000,
    };
    use nix::libc::{PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE};
    let segment = read_only_segment(0x10000, &header(PT_LOAD, PF_R | PF_X)).unwrap();
    assert_eq!(segment, 0x11d80..0x14080);
    assert_eq!(read_only_segment(0x10000, &header(PT_LOAD, PF_R | PF_W)), None);
    assert_eq!(read_only_segment(0x10000, &header(PT_NOTE, PF_R)), None);
    assert_eq!(read_only_segment(u64::MAX, &header(PT_LOAD, PF_R)), None);
    for (mapping, within) in [
        (0x11000..0x15000, true),
        (0x12000..0x13000, true),
        (0x10000..0x15000, false),
        (0x11000..0x16000, false),
        (0x15000..0x16000, false),
        (0x10000..0x11000, false),
    ] {
        assert_eq!(is_within(&mapping, &segment), within, "{mapping:x?}");
    }
}

#[test]
fn a_program_that_was_let_go_of_still_runs() {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssFile:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let connect = test_driver();
    let before = resident();
    assert!(let_go_of_program(&smaps) > 1 << 20);
    assert!(resident() < before, "nothing was let go of");
    // The same code, mapped again as it is needed.
    assert_eq!(statistics(&connect, sys::VIR_DOMAIN_STATS_STATE, 0, |_| true).unwrap().len(), 1);
}

/// The addresses of a mapping that has gone may be anybody's.
#[test]
fn memory_where_a_file_was_mapped_a_moment_ago_stays() {
    let memory = vec![7_u8; 1 << 20];
    let start = memory.as_ptr().addr().next_multiple_of(PAGE);
    let smaps = format!(
        "{start:x}-{:x} r--p 00000000 fe:00 1 /usr/lib/libgone.so\nAnonymous:  0 kB\n",
        start + (512 << 10)
    );
    assert_eq!(let_go_of_program(&smaps), 0);
    assert!(memory.iter().all(|byte| *byte == 7));
}

#[test]
fn the_allocator_can_be_told_at_any_time() {
    keep_memory_small();
    let large = vec![1_u8; 8 << 20];
    assert_eq!(large.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 8 << 20);
    keep_memory_small();
}
