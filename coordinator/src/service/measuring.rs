//! Owns how long what was measured is believed (`measured-age-max`): before each decision, and on a timer for whoever
//! only looks, the scheduler forgets what is older.
//!
//! The age counts from when a sample arrived here, on a clock that is never set: hosts' clocks may be wrong by hours, and
//! a sample that was taken long ago cannot arrive late, since agents take one only when it can be sent and a connection
//! that is stuck ends after `lost-after`. A host's own clock is only ever compared with itself.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::HostId;
use reeve_common::utilization::HostSample;

use super::Service;
use super::core::Core;
use super::description::measured;

/// The timer looks so often within the age that is allowed: what is shown is at most a quarter too old.
const LOOKS_PER_AGE: u32 = 4;
/// More often would be for nobody.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(500);
/// A reload may shorten the age; it takes effect by then where nothing is decided.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(10);

impl Service {
    /// A host tells how busy it is. The same sample once more tells nothing new, and makes nothing younger.
    pub(crate) fn follow_sample(&self, host: HostId, sample: Arc<HostSample>) {
        let (at, now) = (self.steady_now(), self.now());
        let mut core = self.core();
        let Some(entry) = core.hosts.get_mut(&host) else { return };
        entry.life.sign(at);
        if entry.sample.as_ref().is_some_and(|before| before.at == sample.at) {
            return;
        }
        // The first sample tells no rates: until there is a second one the host counts as not measured.
        let values =
            entry.sample.as_deref().map(|before| measured(&sample, before, entry.inventory.as_ref(), at));
        entry.clock_ahead_ms = i64::try_from(i128::from(sample.at.0) - i128::from(now.0)).ok();
        entry.sample = Some(sample);
        let is_news = values.is_some() && core.fleet.measured(host).is_none();
        core.fleet.set_measured(host, values);
        drop(core);
        if is_news {
            // What cannot be judged without a measurement may wait for it.
            self.inner.fleet_changed.notify_one();
        }
    }

    /// Now by the steady clock: the start of this coordinator and the time since then, which nobody can set.
    pub(super) fn steady_now(&self) -> Timestamp {
        let running = self.inner.clock.monotonic().saturating_duration_since(self.inner.opened);
        self.inner.started_at.after(running)
    }

    /// What is held in memory, for a decision: nothing measured in it is too old.
    pub(super) fn core_for_decisions(&self) -> MutexGuard<'_, Core> {
        let oldest = oldest_believed(self.steady_now(), self.config().measured_age_max);
        let mut core = self.core();
        core.fleet.forget_measured_before(oldest);
        core
    }

    /// Forgets what is too old from time to time; never returns.
    pub async fn keep_forgetting(self) {
        loop {
            drop(self.core_for_decisions());
            let interval = self.config().measured_age_max / LOOKS_PER_AGE;
            tokio::time::sleep(interval.clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL_MAX)).await;
        }
    }
}

/// Measured before this is too old.
fn oldest_believed(now: Timestamp, age_max: Duration) -> Timestamp {
    let age = u64::try_from(age_max.as_millis()).unwrap_or(u64::MAX);
    Timestamp(now.0.saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use reeve_common::clock::{Clock, SystemClock};
    use reeve_common::ids::{HostName, ProfileName, RealmName};
    use reeve_scheduler::HostState;

    use super::*;
    use crate::model::host::NewHost;
    use crate::pki::Authority;
    use crate::service::Actor;
    use crate::store::MemoryStore;

    /// Wall time stands still, or jumps; monotonic time passes when the test says so.
    struct TestClock {
        begin: Instant,
        passed: Mutex<Duration>,
    }

    impl TestClock {
        fn pass(&self, time: Duration) {
            *self.passed.lock().unwrap() += time;
        }
    }

    impl Clock for TestClock {
        fn now(&self) -> Timestamp {
            Timestamp(1_700_000_000_000)
        }
        fn monotonic(&self) -> Instant {
            self.begin + *self.passed.lock().unwrap()
        }
    }

    async fn service_with_a_host(clock: &Arc<TestClock>) -> (Service, HostId, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("coordinator.conf");
        let text = format!(
            "state-directory = {:?}\nmeasured-age-max = 30 s\nrealms {{ r {{ disabled = no, driver = libvirt, name = R\n drives.lazy-allocation = on }} }}\nhardware-profiles {{ p {{ cores = 4, memory = 8 GiB }} }}",
            directory.path()
        );
        std::fs::write(&file, text).unwrap();
        let (config, _) = crate::config::check(&file).unwrap_or_else(|errors| panic!("{errors}"));
        let authority = Authority::create(&config.pki_directory(), SystemClock.now()).unwrap();
        let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(clock);
        let store = Arc::new(MemoryStore::new());
        let service = Service::open(config, store, clock, Arc::new(authority)).await.unwrap();
        let new = NewHost {
            name: HostName::new("node-1").unwrap(),
            realm: RealmName::new("r").unwrap(),
            uri: "qemu:///system".to_owned(),
            profile: ProfileName::new("p").unwrap(),
            state: HostState::Enabled,
            labels: std::collections::BTreeMap::new(),
        };
        let host = service.add_host(new, &Actor { uid: 0, name: "root".to_owned() }).await.unwrap().host.id;
        (service, host, directory)
    }

    fn sample(at: u64) -> Arc<HostSample> {
        Arc::new(HostSample { at: Timestamp(at), cpu_permille: 500, ..HostSample::default() })
    }

    fn is_measured(service: &Service, host: HostId) -> bool {
        service.core_for_decisions().fleet.measured(host).is_some()
    }

    #[tokio::test]
    async fn a_silent_hosts_load_is_not_believed_for_long() {
        let clock = Arc::new(TestClock { begin: SystemClock.monotonic(), passed: Mutex::default() });
        let (service, host, _directory) = service_with_a_host(&clock).await;
        assert!(!is_measured(&service, host));
        // The host's clock is wrong by decades in either direction: only its own differences count.
        service.follow_sample(host, sample(9_000_000_000_000));
        assert!(!is_measured(&service, host), "one sample tells no rates");
        service.follow_sample(host, sample(9_000_000_005_000));
        assert!(is_measured(&service, host));
        clock.pass(Duration::from_secs(30));
        assert!(is_measured(&service, host), "as old as allowed");
        service.follow_sample(host, sample(9_000_000_005_000));
        clock.pass(Duration::from_millis(1));
        assert!(!is_measured(&service, host), "the same sample again makes nothing younger");
        service.follow_sample(host, sample(1000));
        assert!(is_measured(&service, host), "its clock was set back, and it was heard just now");
    }

    #[test]
    fn what_is_as_old_as_allowed_is_believed() {
        assert_eq!(oldest_believed(Timestamp(10_000), Duration::from_secs(4)), Timestamp(6000));
        assert_eq!(oldest_believed(Timestamp(10), Duration::MAX), Timestamp(0));
    }
}
