//! What happens on a connection once both sides have greeted each other.

use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{Epoch, Generation, OperationId, VmId};
use reeve_common::protocol::{Command, CommandBody, Event, HostReport, Reply, ReplyBody};
use reeve_common::utilization::HostSample;
use reeve_common::vm::{ObservedVm, VmObservation};
use reeve_common::wire::{CloseReason, LinkError, RefusalCode};
use tokio::time::timeout;

use crate::signs::{Relay, Way, connected_through};
use crate::support::{Fleet, PATIENCE, connected, dial, hello, host, now, welcome};

fn command(body: CommandBody) -> Command {
    Command { epoch: Epoch(3), operation: OperationId::random(), body }
}

fn observation(generation: u64) -> Event {
    let vm = VmId::random();
    Event::Vm(VmObservation {
        vm,
        generation: Generation(generation),
        epoch: Epoch(3),
        observed: ObservedVm::Paused,
    })
}

#[tokio::test]
async fn many_commands_are_in_flight_and_each_gets_its_own_reply() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let (mut agent, coordinator) = connected(&fleet, &mut port, 1).await;
    let requests: Vec<_> = (0..500_u64)
        .map(|number| {
            let coordinator = coordinator.clone();
            tokio::spawn(async move {
                let command =
                    command(CommandBody::ForgetVm { vm: VmId::random(), generation: Generation(number) });
                let reply = coordinator.request(command, PATIENCE).await.unwrap();
                assert_eq!(reply.outcome, Ok(ReplyBody::Superseded { current: Generation(number) }));
            })
        })
        .collect();
    // The agent answers in the opposite order, a hundred at a time.
    for _ in 0..5 {
        let mut commands = Vec::new();
        for _ in 0..100 {
            commands.push(agent.next_command().await.unwrap());
        }
        for command in commands.into_iter().rev() {
            let CommandBody::ForgetVm { generation, .. } = command.body else { panic!("{command:?}") };
            let outcome = Ok(ReplyBody::Superseded { current: generation });
            agent.reply(Reply { operation: command.operation, outcome }).await.unwrap();
        }
    }
    for request in requests {
        request.await.unwrap();
    }
}

#[tokio::test]
async fn a_command_without_a_reply_is_given_up_and_a_late_reply_harms_nobody() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let (mut agent, coordinator) = connected(&fleet, &mut port, 1).await;
    let first = command(CommandBody::Report);
    let result = coordinator.request(first.clone(), Duration::from_millis(50)).await;
    assert!(matches!(result, Err(LinkError::NoReply { operation, .. }) if operation == first.operation));
    let late = agent.next_command().await.unwrap();
    agent.reply(Reply { operation: late.operation, outcome: Ok(ReplyBody::Accepted) }).await.unwrap();
    // Replies come in order: when another one has come, the late one has too.
    let (other, ()) = tokio::join!(coordinator.request(command(CommandBody::Report), PATIENCE), async {
        let asked = agent.next_command().await.unwrap();
        agent.reply(Reply { operation: asked.operation, outcome: Ok(ReplyBody::Accepted) }).await.unwrap();
    });
    other.unwrap();
    // The same operation may be asked again.
    let asking = {
        let coordinator = coordinator.clone();
        let first = first.clone();
        tokio::spawn(async move { coordinator.request(first, PATIENCE).await })
    };
    let again = agent.next_command().await.unwrap();
    assert_eq!(again, first);
    // While it is under way it cannot be asked twice.
    let twice = coordinator.request(first.clone(), PATIENCE).await;
    assert_eq!(twice, Err(LinkError::OperationInUse { operation: first.operation }));
    let outcome = Ok(ReplyBody::Console(vec![7; 1 << 20]));
    agent.reply(Reply { operation: again.operation, outcome: outcome.clone() }).await.unwrap();
    assert_eq!(asking.await.unwrap().unwrap().outcome, outcome);
}

#[tokio::test]
async fn events_arrive_in_order_and_none_is_lost_however_slow_the_reader() {
    const COUNT: u64 = 5_000;
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let (agent, mut coordinator) = connected(&fleet, &mut port, 1).await;
    let sending = tokio::spawn(async move {
        for number in 0..COUNT {
            agent.send_event(observation(number)).await.unwrap();
        }
        agent
    });
    let mut events = coordinator.take_events().unwrap();
    assert!(coordinator.take_events().is_none());
    for number in 0..COUNT {
        if number % 1000 == 0 {
            tokio::task::yield_now().await;
        }
        let event = timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
        let Event::Vm(observation) = *event else { panic!("{event:?}") };
        assert_eq!(observation.generation, Generation(number));
    }
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn the_latest_sample_wins() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let (agent, coordinator) = connected(&fleet, &mut port, 1).await;
    let mut samples = coordinator.samples();
    for number in 1..=2_000 {
        agent.send_sample(HostSample { at: Timestamp(number), ..HostSample::default() }).await.unwrap();
    }
    let newest =
        samples.wait_for(|sample| sample.as_ref().is_some_and(|sample| sample.at == Timestamp(2_000)));
    timeout(PATIENCE, newest).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_large_report_does_not_hold_up_commands() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let (mut agent, mut coordinator) = connected(&fleet, &mut port, 1).await;
    let vm = |number: u64| VmObservation {
        vm: VmId::random(),
        generation: Generation(number),
        epoch: Epoch(3),
        observed: ObservedVm::Ended(reeve_common::vm::StopReason::StartFailed("x".repeat(1024))),
    };
    let report = HostReport {
        hypervisor_reachable: true,
        vms: (0..2048).map(vm).collect(),
        foreign: Vec::new(),
        pools: Vec::new(),
        sizes: Vec::new(),
        answers: Vec::new(),
        lock_manager: reeve_common::storage::LockManager::Unknown,
    };
    // Nobody takes events, so the report and what follows it fill the event stream.
    for _ in 0..3 {
        agent.send_event(Event::Report(report.clone())).await.unwrap();
    }
    let asking = {
        let coordinator = coordinator.clone();
        tokio::spawn(async move { coordinator.request(command(CommandBody::Report), PATIENCE).await })
    };
    let asked = agent.next_command().await.unwrap();
    agent.reply(Reply { operation: asked.operation, outcome: Ok(ReplyBody::Accepted) }).await.unwrap();
    asking.await.unwrap().unwrap();
    let mut events = coordinator.take_events().unwrap();
    assert_eq!(*timeout(PATIENCE, events.recv()).await.unwrap().unwrap(), Event::Report(report));
}

#[tokio::test]
async fn what_the_other_side_would_not_take_is_not_sent() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let (agent, _coordinator) = connected(&fleet, &mut port, 1).await;
    let outcome = Ok(ReplyBody::Console(vec![0; (1 << 20) + 1]));
    let result = agent.reply(Reply { operation: OperationId::random(), outcome }).await;
    assert!(matches!(result, Err(LinkError::TooLarge(_))), "{result:?}");
    // The connection is none the worse.
    agent.send_event(Event::Hypervisor { reachable: true }).await.unwrap();
}

#[tokio::test]
async fn removing_a_host_cuts_its_connection_at_once() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let (mut agent, coordinator) = connected(&fleet, &mut port, 1).await;
    coordinator.close(RefusalCode::RemovedHost, "host 1 was removed");
    let reason = timeout(Duration::from_secs(5), agent.closed()).await.unwrap();
    assert_eq!(
        reason,
        CloseReason::ByPeer { code: RefusalCode::RemovedHost, text: "host 1 was removed".to_owned() }
    );
    assert!(matches!(agent.next_command().await, Err(LinkError::Closed(_))));
    assert!(matches!(
        agent.send_event(observation(1)).await,
        Err(LinkError::Closed(CloseReason::ByPeer { code: RefusalCode::RemovedHost, .. }))
    ));
    assert!(matches!(
        coordinator.request(command(CommandBody::Report), PATIENCE).await,
        Err(LinkError::Closed(CloseReason::Here { code: RefusalCode::RemovedHost, .. }))
    ));
}

#[tokio::test]
async fn a_request_ends_with_the_connection() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let (mut agent, coordinator) = connected(&fleet, &mut port, 1).await;
    let asking =
        tokio::spawn(async move { coordinator.request(command(CommandBody::Report), PATIENCE).await });
    agent.next_command().await.unwrap();
    agent.close(RefusalCode::ShuttingDown, "the agent is going down");
    assert!(matches!(
        asking.await.unwrap(),
        Err(LinkError::Closed(CloseReason::ByPeer { code: RefusalCode::ShuttingDown, .. }))
    ));
}

#[tokio::test]
async fn dropping_an_end_closes_the_connection() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let (agent, coordinator) = connected(&fleet, &mut port, 1).await;
    let (commands, sender) = agent.split();
    drop(commands);
    drop(sender);
    let reason = timeout(PATIENCE, coordinator.closed()).await.unwrap();
    assert!(matches!(reason, CloseReason::ByPeer { code: RefusalCode::Finished, .. }), "{reason}");
    let (agent, coordinator) = connected(&fleet, &mut port, 1).await;
    let copy = coordinator.clone();
    drop(coordinator);
    assert!(timeout(Duration::from_millis(100), agent.closed()).await.is_err());
    drop(copy);
    assert!(timeout(PATIENCE, agent.closed()).await.is_ok());
}

#[tokio::test]
async fn a_certificate_that_runs_out_ends_the_connection() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let identity = host(1);
    let credentials = fleet.host_credentials(&identity, now());
    let address = port.address;
    let dialling = tokio::spawn(async move { dial(address, &credentials, hello(&identity)).await });
    let pending = port.next().await.unwrap();
    let nearly_over = Timestamp(pending.certificate.not_after.0 - 200);
    let coordinator = pending.welcome(welcome(), nearly_over).await.unwrap();
    let (agent, _) = dialling.await.unwrap().unwrap();
    let reason = timeout(PATIENCE, agent.closed()).await.unwrap();
    assert!(matches!(reason, CloseReason::ByPeer { code: RefusalCode::CertificateExpired, .. }), "{reason}");
    assert!(reason.is_retryable(), "an agent that has a new certificate must come back by itself");
    assert!(matches!(coordinator.closed().await, CloseReason::Here { .. }));
}

#[tokio::test]
async fn silence_is_noticed_by_both_sides_within_ten_seconds_and_idleness_is_not_silence() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    // One connection on which nobody has anything to say.
    let (idle_agent, idle_coordinator) = connected(&fleet, &mut port, 2).await;
    let relay = Relay::open(port.address).await;
    let (agent, coordinator) = connected_through(&relay, &fleet, &mut port).await;
    relay.hold_back(Way::ToCoordinator);
    relay.hold_back(Way::ToAgent);
    let both = async { tokio::join!(agent.closed(), coordinator.closed()) };
    let (agent_reason, coordinator_reason) = timeout(Duration::from_secs(10), both).await.unwrap();
    assert_eq!(agent_reason, CloseReason::Silent);
    assert_eq!(coordinator_reason, CloseReason::Silent);
    // It has been quiet for as long, and is as good as ever.
    let second = Duration::from_secs(1);
    assert!(timeout(second, idle_agent.closed()).await.is_err());
    assert!(timeout(second, idle_coordinator.closed()).await.is_err());
}
