//! Holds the telling to this: what an agent could not take up is told again while it stays connected.

use std::sync::Mutex;

use reeve_common::ids::{Generation, VmId};
use reeve_common::protocol::{Reply, ReplyBody};
use reeve_common::wire::{CloseReason, LinkError, RefusalCode};

use super::super::{AgentLink, LinkFuture};
use super::*;
use crate::service::workflows_tests::Stage;
use crate::store::{MemoryStore, Store};

type Outcome = Result<ReplyBody, Refusal>;

/// An agent that answers so, the last first, then nothing more; none is no answer in time.
#[derive(Debug, Default)]
struct Answering {
    answers: Mutex<Vec<Option<Outcome>>>,
    told: Mutex<Vec<CommandBody>>,
}

impl AgentLink for Answering {
    fn request(&self, command: Command, patience: Duration) -> LinkFuture<'_, Result<Reply, LinkError>> {
        Box::pin(async move {
            let operation = command.operation;
            self.told.lock().unwrap().push(command.body);
            match self.answers.lock().unwrap().pop() {
                Some(Some(outcome)) => Ok(Reply { operation, outcome }),
                _ => Err(LinkError::NoReply { operation, seconds: patience.as_secs() }),
            }
        })
    }

    fn received(&self) -> u64 {
        0
    }

    fn close(&self, _: RefusalCode, _: &str) {}

    fn closed(&self) -> LinkFuture<'_, CloseReason> {
        Box::pin(std::future::pending())
    }
}

/// What an agent is told within a minute that is given `task` and answers so, in order.
async fn told(task: Task, mut answers: Vec<Option<Outcome>>) -> Vec<CommandBody> {
    let stage = Stage::with_vms(0).await;
    let service = stage.open_unheard(Arc::new(MemoryStore::new()) as Arc<dyn Store>).await;
    answers.reverse();
    let link = Arc::new(Answering { answers: Mutex::new(answers), ..Answering::default() });
    let agent = AgentHandle::over(1, Arc::clone(&link) as Arc<dyn AgentLink>);
    agent.queue().push_again(task);
    let telling = tell(service, HostId(1), agent);
    assert!(tokio::time::timeout(Duration::from_secs(60), telling).await.is_err(), "the telling ended");
    let told = link.told.lock().unwrap();
    told.clone()
}

fn not_now() -> Option<Outcome> {
    Some(Err(Refusal::Failed("the disk is full".to_owned())))
}

fn accepted() -> Option<Outcome> {
    Some(Ok(ReplyBody::Accepted))
}

#[tokio::test(start_paused = true)]
async fn a_host_that_could_not_forget_or_report_is_told_again_until_it_does() {
    let (vm, generation) = (VmId::random(), Generation(2));
    let tasks = [
        (Task::Forget(vm, generation), CommandBody::ForgetVm { vm, generation }),
        (Task::Report, CommandBody::Report),
    ];
    for (task, body) in tasks {
        let heard = told(task, vec![not_now(), None, not_now(), accepted()]).await;
        assert_eq!(heard, vec![body; 4]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_host_will_never_do_is_told_once() {
    let (vm, generation) = (VmId::random(), Generation(2));
    let never = Some(Err(Refusal::Invalid("the VM is still here".to_owned())));
    let heard = told(Task::Forget(vm, generation), vec![never, accepted()]).await;
    assert_eq!(heard, [CommandBody::ForgetVm { vm, generation }]);
}
