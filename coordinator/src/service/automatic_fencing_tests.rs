//! Hosts that are fenced by themselves when they are lost: when that is begun, how often, and what follows from how it ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reeve_common::ids::{HostId, HostName};

use super::Service;
use super::failing_over_tests::{id_of, join_all, lose, on, work};
use super::workflows_tests::{Stage, name, the_workflow};
use crate::config::{CoordinatorConfig, FenceMeans};
use crate::fencing::{FenceAction, FenceCommands, FenceRun, RunFuture};
use crate::model::fence::{Ended, FenceState};
use crate::store::Store;

/// Fence commands that end as the test says, and remember what they were asked.
#[derive(Debug, Default)]
struct Scripted {
    ends: Mutex<VecDeque<Ended>>,
    asked: Mutex<Vec<(HostName, FenceAction)>>,
}

impl Scripted {
    fn will_end(&self, ends: &[Ended]) {
        self.ends.lock().unwrap().extend(ends.iter().cloned());
    }

    fn switched_off(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|(_, action)| *action == FenceAction::Off).count()
    }
}

impl FenceCommands for Scripted {
    fn run<'a>(&'a self, _means: &'a FenceMeans, host: &'a HostName, action: FenceAction) -> RunFuture<'a> {
        self.asked.lock().unwrap().push((host.clone(), action));
        let ended = self.ends.lock().unwrap().pop_front().unwrap_or(Ended::Exit(1));
        Box::pin(async move { FenceRun { ended, output: String::new() } })
    }
}

fn config(fence: &str) -> CoordinatorConfig {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("coordinator.conf");
    let text = format!(
        "state-directory = {:?}\nrealms {{ primary {{ disabled = no, driver = libvirt, name = R\n drives.lazy-allocation = on\n{fence} }} }}\nhardware-profiles {{ p {{ cores = 64, memory = 64 GiB }} }}",
        directory.path()
    );
    std::fs::write(&file, text).unwrap();
    crate::config::check(&file).unwrap_or_else(|errors| panic!("{errors}")).0
}

/// Both of the stage's hosts can be fenced.
const FENCE: &str = "fence { command = /fence, timeout = 30 s, hosts { node-1 { }, node-2 { } } }";

struct Opened {
    stage: Stage,
    service: Service,
    commands: Arc<Scripted>,
    node_1: HostId,
}

impl Opened {
    async fn with(vms: u32, fence: &str) -> Self {
        let stage = Stage::with_vms(vms).await;
        let store = stage.store().await;
        let commands = Arc::new(Scripted::default());
        let service =
            stage.open_fencing(store as Arc<dyn Store>, config(fence), Arc::clone(&commands) as _).await;
        join_all(&service).await;
        let node_1 = id_of(&service, "node-1");
        Self { stage, service, commands, node_1 }
    }

    fn fences(&self) -> Vec<FenceState> {
        self.service.host(&name("node-1")).unwrap().fences.iter().map(|fence| fence.state).collect()
    }

    /// Works until every fencing that was begun has ended.
    async fn work_to_the_end(&self) {
        work(&self.service).await;
        // Time is paused: it passes when everybody waits.
        for _ in 0..200 {
            if self.fences().iter().all(|state| state.is_final()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(self.fences().iter().all(|state| state.is_final()), "{:?}", self.fences());
        work(&self.service).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_host_is_fenced_by_itself_and_only_then_are_its_vms_started_elsewhere() {
    let opened = Opened::with(4, FENCE).await;
    let (service, commands, node_1) = (&opened.service, &opened.commands, opened.node_1);
    commands.will_end(&[Ended::Exit(0), Ended::Exit(2)]);
    opened.work_to_the_end().await;
    assert_eq!(commands.switched_off(), 0, "nobody is lost");
    lose(service, &opened.stage, &[node_1]);
    work(service).await;
    assert_eq!(on(service, node_1).len(), 4, "it is only being fenced yet");
    opened.work_to_the_end().await;
    assert_eq!((commands.switched_off(), opened.fences()), (1, vec![FenceState::Off]));
    assert!(commands.asked.lock().unwrap().iter().all(|(host, _)| host.as_str() == "node-1"));
    assert_eq!(on(service, node_1), ["web-0", "web-2"], "what is not to be restarted stays");
    assert_eq!(on(service, id_of(service, "node-2")), ["web-1", "web-3"]);
    opened.stage.clock.pass(Duration::from_secs(600));
    opened.work_to_the_end().await;
    assert_eq!(commands.switched_off(), 1, "it is off, and once is enough");
}

#[tokio::test(start_paused = true)]
async fn a_fencing_that_fails_moves_nothing_and_is_tried_again_a_minute_later() {
    let opened = Opened::with(2, FENCE).await;
    let (service, commands, node_1) = (&opened.service, &opened.commands, opened.node_1);
    lose(service, &opened.stage, &[node_1]);
    // Its status says that it is on; then it does not end; then it says that it is on once more.
    let on_still = [Ended::Exit(0), Ended::Exit(0)];
    commands.will_end(&on_still);
    commands.will_end(&[Ended::TimedOut]);
    commands.will_end(&on_still);
    opened.work_to_the_end().await;
    assert_eq!((commands.switched_off(), opened.fences()), (3, vec![FenceState::Failed]));
    for _ in 0..5 {
        opened.stage.clock.pass(Duration::from_secs(10));
        opened.work_to_the_end().await;
    }
    assert_eq!(commands.switched_off(), 3, "not at once");
    let note = the_workflow(service).unwrap().steps[0].note.clone().unwrap();
    assert!(note.contains("could not be fenced") && note.contains("tried again"), "{note}");
    opened.stage.clock.pass(Duration::from_secs(20));
    commands.will_end(&[Ended::TimedOut, Ended::TimedOut, Ended::TimedOut]);
    opened.work_to_the_end().await;
    assert_eq!(opened.fences(), [FenceState::Unknown, FenceState::Failed], "unknown is not off");
    assert_eq!(on(service, node_1), ["web-0", "web-1"]);
    opened.stage.clock.pass(Duration::from_secs(61));
    commands.will_end(&[Ended::Exit(0), Ended::Exit(2)]);
    opened.work_to_the_end().await;
    assert_eq!(on(service, node_1), ["web-0"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_only_silent_for_a_moment_or_one_of_too_many_is_not_fenced() {
    let opened = Opened::with(2, &format!("{FENCE}, failover-brake {{ percent = 10, hosts = 1 }}")).await;
    let (service, commands, node_1) = (&opened.service, &opened.commands, opened.node_1);
    {
        let now = service.steady_now();
        service.core().hosts.get_mut(&node_1).unwrap().life.disconnect(Duration::ZERO, now);
    }
    service.watch_hosts();
    opened.work_to_the_end().await;
    assert_eq!((commands.switched_off(), service.workflows().len()), (0, 0), "it is only suspected");
    lose(service, &opened.stage, &[node_1, id_of(service, "node-2")]);
    opened.stage.clock.pass(Duration::from_secs(3600));
    opened.work_to_the_end().await;
    assert_eq!(commands.switched_off(), 0, "two of two are silent");
    assert_eq!(on(service, node_1).len(), 2);
}
