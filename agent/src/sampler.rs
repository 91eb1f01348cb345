//! Owns how busy the host and its VMs are: one reading of the kernel's counters and one bulk call to the hypervisor
//! for each sample. Costs a few milliseconds and next to no memory, also with many VMs.
//!
//! Must not: keep history, or judge; whoever looks at samples does.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use reeve_common::clock::Clock;
use reeve_common::units::Bytes;
use reeve_common::utilization::{HostSample, VmSample};
use reeve_common::wire::limits::VMS_MAX;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::vm::driver::{CallKind, Driver};

/// Takes samples.
pub trait SampleSource: Send + Sync + 'static {
    /// One sample, now.
    fn take<'a>(&'a self, driver: &'a Driver) -> Pin<Box<dyn Future<Output = HostSample> + Send + 'a>>;
}

/// The machine this runs on.
pub struct MachineSampler {
    clock: Arc<dyn Clock>,
    counters: Arc<Mutex<Counters>>,
}

/// The kernel's counters as last read; use over time is a difference between two readings.
struct Counters {
    system: Option<System>,
}

impl MachineSampler {
    /// A sampler whose first reading is taken now. Blocks for some milliseconds.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let wanted = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_usage())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(wanted)
            .inspect_err(|error| log::warn!("the machine's load cannot be read: {error}"))
            .ok();
        Arc::new(Self { clock, counters: Arc::new(Mutex::new(Counters { system })) })
    }

    async fn sample(&self, driver: &Driver) -> HostSample {
        let vms = driver.call(CallKind::Ordinary, |hypervisor| hypervisor.statistics()).await;
        let vms = bounded(vms.unwrap_or_else(|error| {
            log::debug!("no statistics of VMs: {error}");
            Vec::new()
        }));
        let counters = Arc::clone(&self.counters);
        let host = tokio::task::spawn_blocking(move || {
            counters.lock().unwrap_or_else(PoisonError::into_inner).read()
        });
        HostSample { at: self.clock.now(), vms, ..host.await.unwrap_or_default() }
    }
}

impl SampleSource for MachineSampler {
    fn take<'a>(&'a self, driver: &'a Driver) -> Pin<Box<dyn Future<Output = HostSample> + Send + 'a>> {
        Box::pin(self.sample(driver))
    }
}

/// As many as fit a message.
fn bounded(mut vms: Vec<VmSample>) -> Vec<VmSample> {
    vms.truncate(VMS_MAX);
    vms
}

impl Counters {
    fn read(&mut self) -> HostSample {
        let mut sample = HostSample::default();
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            sample.cpu_permille = thousandths(f64::from(system.global_cpu_usage()) / 100.0).min(1000);
            let used = system.total_memory().saturating_sub(system.available_memory());
            sample.memory_used = Bytes(used).mebibytes();
        }
        sample.load_permille = System::load_average().map_or(0, |load| thousandths(load.one));
        sample.cpu_pressure_permille = pressure("cpu");
        sample.memory_pressure_permille = pressure("memory");
        sample.io_pressure_permille = pressure("io");
        // One file for all links: a hundred VMs have a hundred, each with a directory of files of its own.
        let links = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
        (sample.network_received, sample.network_sent) = parse_links(&links);
        sample
    }
}

/// Bytes received and sent on all links but the loopback's, as `/proc/net/dev` has them: a name, a colon, eight numbers
/// of what was received, and eight of what was sent.
fn parse_links(text: &str) -> (Bytes, Bytes) {
    let links = text.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    let (received, sent) = links.fold((0_u64, 0_u64), |(received, sent), (_, numbers)| {
        let number = |place: usize| {
            numbers.split_whitespace().nth(place).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
        };
        (received.saturating_add(number(0)), sent.saturating_add(number(8)))
    });
    (Bytes(received), Bytes(sent))
}

/// The kernel's pressure stall information for one resource; none where it is not kept.
fn pressure(resource: &str) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/pressure/{resource}")).ok()?;
    parse_pressure(&text)
}

/// The share of the last ten seconds in which some task waited: `some avg10=1.53 avg60=…`.
fn parse_pressure(text: &str) -> Option<u32> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let average = some.split_whitespace().find_map(|field| field.strip_prefix("avg10="))?;
    let percent: f64 = average.parse().ok()?;
    percent.is_finite().then(|| thousandths(percent / 100.0).min(1000))
}

/// A share or a load in thousandths; what is no number, or below zero, is zero.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped to u32's range before
fn thousandths(value: f64) -> u32 {
    let scaled = (value * 1000.0).round();
    if scaled.is_nan() { 0 } else { scaled.clamp(0.0, f64::from(u32::MAX)) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_as_the_kernel_writes_it() {
        let text =
            "some avg10=1.53 avg60=0.87 avg300=0.12 total=123\nfull avg10=0.50 avg60=0 avg300=0 total=9\n";
        assert_eq!(parse_pressure(text), Some(15));
        assert_eq!(parse_pressure("some avg10=100.00 avg60=1"), Some(1000));
        for nonsense in ["", "full avg10=1", "some avg60=1", "some avg10=x", "some avg10=NaN", "some"] {
            assert_eq!(parse_pressure(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn links_are_added_up_without_the_loopback() {
        let text = "Inter-|   Receive                            |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes ...\n    lo: 900 1 0 0 0 0 0 0 900 1 0 0 0 0 0 0\n  eth0: 100 2 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n vnet0:23 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n";
        assert_eq!(parse_links(text), (Bytes(123), Bytes(12)));
        assert_eq!(parse_links("eth0: x y\nnonsense\n:::"), (Bytes(0), Bytes(0)));
    }

    #[test]
    fn shares_are_held_within_their_range() {
        assert_eq!(thousandths(0.5), 500);
        assert_eq!(thousandths(-1.0), 0);
        assert_eq!(thousandths(f64::NAN), 0);
        assert_eq!(thousandths(f64::INFINITY), u32::MAX);
    }

    #[test]
    fn this_machine_uses_some_memory() {
        let mut counters = Counters { system: System::new().ok() };
        let sample = counters.read();
        assert!(sample.memory_used.0 > 0 && sample.cpu_permille <= 1000, "{sample:?}");
    }
}
