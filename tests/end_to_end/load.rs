//! Owns a load of starts and stops that goes on while faults happen, and remembers what was acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use reeve_tests::checker::Acknowledged;
use reeve_tests::lab::Lab;
use serde_json::Value;
use uuid::Uuid;

/// VMs at a time: more would only wait for processors.
const VMS_MAX: usize = 4;

/// How often something is asked for: so that guests get far enough to be met by a fault in any step of their lives, and the
/// coordinator still shows all of them at the end (it shows the hundred most recent that are over).
const PACE: Duration = Duration::from_millis(1300);

/// The exit code of a start for which no host has room: it is acknowledged all the same.
const UNPLACEABLE: i32 = 6;

/// Chance that is the same each time for one seed (Marsaglia's xorshift, 64 bits, 13-7-17).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides`.
    pub(crate) fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % sides.max(1)
    }
}

/// What was acknowledged so far.
pub(crate) type Promises = BTreeMap<Uuid, Acknowledged>;

/// A load that runs.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    promises: Arc<Mutex<Promises>>,
    thread: JoinHandle<()>,
}

impl Load {
    /// Starts and stops VMs of these configurations until it is ended.
    pub(crate) fn begin(lab: &Lab, configurations: Vec<String>, seed: u64) -> Self {
        let (stop, promises) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let user =
            User { lab: lab.clone(), configurations, dice: Dice::new(seed), promises: Arc::clone(&promises) };
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || user.work(&stopped));
        Self { stop, promises, thread }
    }

    /// How many VMs it has been promised something of.
    pub(crate) fn acknowledged(&self) -> usize {
        lock(&self.promises).len()
    }

    /// Ends it; gives what was acknowledged.
    pub(crate) fn end(self) -> Result<Promises> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the thread of the load failed"))?;
        Ok(lock(&self.promises).clone())
    }
}

/// Whoever types the commands.
struct User {
    lab: Lab,
    configurations: Vec<String>,
    dice: Dice,
    promises: Arc<Mutex<Promises>>,
}

impl User {
    fn work(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(PACE);
            let started: Vec<Uuid> = {
                let promises = lock(&self.promises);
                let started = promises.iter().filter(|(_, last)| **last == Acknowledged::Start);
                started.map(|(vm, _)| *vm).collect()
            };
            if started.len() < VMS_MAX {
                self.start();
            } else if let Some(vm) = started.get(self.dice.throw(started.len())) {
                self.stop(*vm);
            }
        }
    }

    /// A start is acknowledged when the command says so; one that failed may have been taken note of or not.
    fn start(&mut self) {
        let Some(configuration) = self.configurations.get(self.dice.throw(self.configurations.len())) else {
            return;
        };
        let answer = self.lab.try_reeve(&["vm", "start", configuration, "--no-wait", "-o", "json"]);
        let Ok(answer) = answer else { return };
        if answer.status.success() || answer.status.code() == Some(UNPLACEABLE) {
            let vms: Value = serde_json::from_slice(&answer.stdout).unwrap_or_default();
            let ids = vms
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|vm| Uuid::try_parse(vm["id"].as_str()?).ok());
            lock(&self.promises).extend(ids.map(|vm| (vm, Acknowledged::Start)));
        }
    }

    fn stop(&mut self, vm: Uuid) {
        let how = ["destroy", "shutdown"][self.dice.throw(2)];
        let answer = self.lab.try_reeve(&["vm", how, &vm.to_string(), "--no-wait"]);
        if answer.is_ok_and(|answer| answer.status.success()) {
            lock(&self.promises).insert(vm, Acknowledged::Stop);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
