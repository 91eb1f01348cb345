//! Owns the coordinator's sign of life: it goes through what all work goes through, so that a coordinator which hangs
//! gives none.
//!
//! Must not: change anything, or say to whom the sign is given.

use std::time::Duration;

use reeve_common::service_manager::ServiceManager;

use super::Service;
use crate::recovery;

impl Service {
    /// Returns when the lock that decisions are made under has been had, and the store has answered, be it with an error: a
    /// disk that says no is not a hang, and starting anew would not mend it.
    pub async fn pulse(&self) {
        drop(self.core());
        if let Ok(key) = recovery::pending_key() {
            let _ = self.store().get(&key).await;
        }
    }

    /// Gives signs of life, as often as they are waited for; never returns.
    pub(crate) async fn keep_alive(self, manager: ServiceManager, interval: Duration) {
        loop {
            self.pulse().await;
            manager.alive();
            tokio::time::sleep(interval).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::super::test_service;
    use super::*;

    /// Longer than a sign takes, and short enough to wait for none.
    const SILENCE: Duration = Duration::from_millis(300);
    /// Longer than a sign takes on a machine that is busy with other things.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_coordinator_that_hangs_gives_no_sign_of_life() {
        let (service, directory) = test_service().await;
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_read_timeout(Some(SILENCE)).unwrap();
        let manager = ServiceManager::at(path.as_os_str(), Some(PATIENCE)).unwrap();
        let (held, release) = std::sync::mpsc::channel::<()>();
        let (holds, is_held) = std::sync::mpsc::channel();
        let hanging = service.clone();
        let thread = std::thread::spawn(move || {
            let core = hanging.core();
            holds.send(()).unwrap();
            let _ = release.recv();
            drop(core);
        });
        is_held.recv().unwrap();
        let keeping = tokio::spawn(service.keep_alive(manager, Duration::from_millis(10)));
        let mut sign = [0; 64];
        let silent = tokio::task::block_in_place(|| listener.recv(&mut sign));
        drop(held);
        thread.join().unwrap();
        assert!(silent.is_err(), "a sign was given while the lock was held");
        listener.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = tokio::task::block_in_place(|| listener.recv(&mut sign)).unwrap();
        assert_eq!(&sign[..length], b"WATCHDOG=1");
        keeping.abort();
    }
}
