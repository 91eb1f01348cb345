//! How soon a host that is gone is known to be lost, with settings under which no host that is there ever counts as lost:
//! one datagram of twenty is lost each way, all processors are busy, and all agents are stopped for two seconds now and then.
//!
//! Hosts are cut off one after the other, at moments that have nothing to do with their signs of life, and it is timed until
//! the coordinator says that they are lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;
use reeve_common::clock::{Clock, SystemClock};
use reeve_tests::harness::simulated_fleet::{FleetSettings, SimulatedFleet};

use super::figures::print;
use super::relay::Relay;

/// What is asked for in the configuration; the default is 10 s.
const LOST_AFTER: Duration = Duration::from_secs(4);
const HOSTS: u32 = 100;
/// One of twenty.
const LOSS_PERMILLE: u64 = 50;
/// How long nobody is cut off, and nobody may count as lost.
const WATCHED_FOR: Duration = Duration::from_secs(60);
/// The agents' process stands still so long …
const STALL: Duration = Duration::from_secs(2);
/// … this often.
const STALL_EVERY: Duration = Duration::from_secs(7);
/// A stall that was longer than meant by this much says nothing any more about who is there.
const STALL_EXCESS_MAX: Duration = Duration::from_millis(500);
/// Between two hosts that are cut off: no part of a second, which is how long a host may be silent before it is asked for a sign.
const CUT_OFF_EVERY: Duration = Duration::from_millis(370);
/// How often is looked, which is part of what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(120);
const SEED: u64 = 20_261_128;

/// Measures it.
pub(crate) fn measure() -> Result<()> {
    let settings = FleetSettings {
        hosts: HOSTS,
        sample_interval: Duration::from_secs(5),
        lost_after: LOST_AFTER,
        agents_log_level: "error",
    };
    let mut relay = Relay::new(LOSS_PERMILLE, SEED)?;
    let mut fleet = SimulatedFleet::prepare(settings, |_, port| {
        Ok(relay.add(([127, 0, 0, 1], port).into())?.to_string())
    })?;
    fleet.start_coordinator()?;
    fleet.start_agents()?;
    fleet.wait_for_all(PATIENCE)?;
    let busy = Busy::begin();
    let false_alarms = watch(&fleet)?;
    let mut took = cut_off_all(&fleet, &relay)?;
    drop(busy);
    ensure!(false_alarms == 0, "{false_alarms} hosts counted as lost and were there");
    took.sort_unstable();
    let p99 = took.get(took.len() * 99 / 100).copied().context("nobody was lost")?;
    print("detect", p99.as_secs_f64(), "s, p99");
    Ok(())
}

/// Stalls the agents now and then; the most that counted as lost at any moment.
fn watch(fleet: &SimulatedFleet) -> Result<u64> {
    thread::scope(|threads| {
        let stalls = threads.spawn(|| stall_now_and_then(fleet));
        let (begun, mut lost) = (SystemClock.monotonic(), 0);
        while begun.elapsed() < WATCHED_FOR {
            lost = lost.max(fleet.counts()?.lost);
            thread::sleep(LOOK_EVERY);
        }
        let longest = stalls.join().map_err(|_| anyhow!("the stalls have panicked"))??;
        // A machine that stands still itself makes stalls longer, and then hosts may rightly count as lost.
        ensure!(
            longest < STALL + STALL_EXCESS_MAX,
            "a stall took {longest:?} on this machine, which is too busy for this measurement"
        );
        Ok(lost)
    })
}

/// The same number of seconds each time, however long somebody else's look at the fleet takes. The longest that one was.
fn stall_now_and_then(fleet: &SimulatedFleet) -> Result<Duration> {
    let begun = SystemClock.monotonic();
    let mut longest = Duration::ZERO;
    while begun.elapsed() + STALL_EVERY < WATCHED_FOR {
        thread::sleep(STALL_EVERY - STALL);
        let stopped_at = SystemClock.monotonic();
        fleet.signal_agents(Signal::SIGSTOP)?;
        thread::sleep(STALL);
        fleet.signal_agents(Signal::SIGCONT)?;
        longest = longest.max(stopped_at.elapsed());
    }
    Ok(longest)
}

/// Cuts off each host in turn, and says how long each took to count as lost. One that counts as lost before is an error.
fn cut_off_all(fleet: &SimulatedFleet, relay: &Relay) -> Result<Vec<Duration>> {
    let mut gone: BTreeMap<String, Instant> = BTreeMap::new();
    let mut took: BTreeMap<String, Duration> = BTreeMap::new();
    let begun = SystemClock.monotonic();
    while took.len() < HOSTS as usize {
        ensure!(begun.elapsed() < PATIENCE, "only {} of {HOSTS} hosts were lost", took.len());
        let due = begun.elapsed().as_millis() / CUT_OFF_EVERY.as_millis();
        while gone.len() < HOSTS as usize && (gone.len() as u128) < due {
            relay.cut_off(gone.len());
            gone.insert(format!("sim-{}", gone.len() + 1), SystemClock.monotonic());
        }
        let listed = fleet.reeve(&["host", "list"])?;
        let now = SystemClock.monotonic();
        for host in listed.as_array().context("the list of hosts is none")? {
            let name = host["name"].as_str().context("a host without a name")?;
            if host["connection"] == "lost" && !took.contains_key(name) {
                let since = gone.get(name).with_context(|| format!("{name} counts as lost and is there"))?;
                took.insert(name.to_owned(), now.duration_since(*since));
            }
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(took.into_values().collect())
}

/// Keeps all processors busy.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn begin() -> Self {
        let on = Arc::new(AtomicBool::new(true));
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let on = Arc::clone(&on);
            thread::spawn(move || {
                while on.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(on)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
