//! Places for calls: a guest that does not answer takes none from anybody else.

use std::sync::mpsc::channel;
use std::time::Duration;

use reeve_common::clock::SystemClock;
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::hypervisor::simulated::{SimulatedHypervisor, SimulationSettings};

const PATIENCE: Duration = Duration::from_secs(20);

fn driver() -> (Driver, TempDir) {
    let directory = TempDir::new().unwrap();
    let state = Arc::new(StateDirectory::open(directory.path()).unwrap());
    let hypervisor =
        Arc::new(SimulatedHypervisor::new(SimulationSettings::default(), Arc::new(SystemClock)).unwrap());
    (Driver::new(hypervisor, state), directory)
}

#[tokio::test]
async fn guests_that_do_not_answer_hold_up_nobody_but_each_other() {
    let (driver, _directory) = driver();
    let mut releases = Vec::new();
    let mut pings = Vec::new();
    for _ in 0..PINGS_MAX + 1 {
        let (release, released) = channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let driver = driver.clone();
        releases.push((release, has_begun));
        pings.push(tokio::spawn(async move {
            let asked = driver.call(CallKind::Ping, move |_| {
                let _ = begun.send(());
                let _ = released.recv();
                Ok(())
            });
            asked.await.unwrap();
        }));
        tokio::task::yield_now().await;
    }
    let mut last = releases.pop().unwrap();
    for (_, has_begun) in &mut releases {
        timeout(PATIENCE, has_begun).await.unwrap().unwrap();
    }
    // All places for pings are taken: others' calls go on, and one more ping waits.
    timeout(PATIENCE, driver.call(CallKind::Ordinary, |hypervisor| hypervisor.domains()))
        .await
        .unwrap()
        .unwrap();
    timeout(PATIENCE, driver.call(CallKind::Storage, |hypervisor| hypervisor.facts()))
        .await
        .unwrap()
        .unwrap();
    assert!(last.1.try_recv().is_err(), "one ping too many was let in");
    drop(releases);
    timeout(PATIENCE, &mut last.1).await.unwrap().unwrap();
    drop(last);
    for ping in pings {
        ping.await.unwrap();
    }
}

#[tokio::test]
async fn a_call_keeps_its_place_until_it_ends_also_when_nobody_waits_for_it() {
    let (driver, _directory) = driver();
    let (release, released) = channel::<()>();
    let (begun, has_begun) = oneshot::channel();
    let abandoned = driver.clone();
    let call = tokio::spawn(async move {
        let asked = abandoned.call(CallKind::Storage, move |_| {
            let _ = begun.send(());
            let _ = released.recv();
            Ok(())
        });
        asked.await
    });
    timeout(PATIENCE, has_begun).await.unwrap().unwrap();
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!(driver.storage_calls.available_permits(), 0);
    drop(release);
    timeout(PATIENCE, driver.call(CallKind::Storage, |hypervisor| hypervisor.facts()))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_call_that_panics_is_a_failure_that_may_pass() {
    let (driver, _directory) = driver();
    let result: HypervisorResult<()> = driver.call(CallKind::Ordinary, |_| panic!("as the test wants")).await;
    assert!(result.unwrap_err().is_retryable());
    driver.call(CallKind::Ordinary, |hypervisor| hypervisor.facts()).await.unwrap();
}
