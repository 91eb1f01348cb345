//! Owns what one connected agent is still to be told. Pushing never waits; what is pushed twice before it is sent is
//! sent once, and always as it is at the moment of sending, so the queue is bounded by the number of VMs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{Generation, VmId};
use reeve_common::realm::RealmSettings;
use tokio::sync::Notify;

/// One thing to tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Task {
    /// A lease, in answer to the question of this number.
    Grant(u64, Duration),
    /// The realm's settings.
    Settings(RealmSettings),
    /// A certificate, PEM, and when it expires.
    Certificate(String, Timestamp),
    /// What is wished for a VM, as it is when it is sent.
    Wish(VmId),
    /// A VM that is over may be forgotten.
    Forget(VmId, Generation),
    /// Everything it has is to be reported again.
    Report,
}

#[derive(Debug, Default)]
struct Pending {
    grant: Option<(u64, Duration)>,
    settings: Option<RealmSettings>,
    certificate: Option<(String, Timestamp)>,
    wishes: BTreeSet<VmId>,
    forgets: BTreeMap<VmId, Generation>,
    report: bool,
}

/// What one agent is still to be told.
#[derive(Debug, Default)]
pub(crate) struct TaskQueue {
    pending: Mutex<Pending>,
    pushed: Notify,
}

impl TaskQueue {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, add: impl FnOnce(&mut Pending)) {
        add(&mut self.pending());
        self.pushed.notify_one();
    }

    /// The realm's settings changed.
    pub(crate) fn push_settings(&self, settings: RealmSettings) {
        self.push(|pending| pending.settings = Some(settings));
    }

    /// A lease is granted. An earlier one that waits is worth less.
    pub(crate) fn push_grant(&self, number: u64, lease: Duration) {
        self.push(|pending| pending.grant = Some((number, lease)));
    }

    /// A certificate was issued.
    pub(crate) fn push_certificate(&self, certificate: String, ends: Timestamp) {
        self.push(|pending| pending.certificate = Some((certificate, ends)));
    }

    /// The wish for a VM changed, or must be repeated.
    pub(crate) fn push_wish(&self, vm: VmId) {
        self.push(|pending| {
            pending.wishes.insert(vm);
        });
    }

    /// A VM that is over may be forgotten.
    pub(crate) fn push_forget(&self, vm: VmId, generation: Generation) {
        self.push(|pending| {
            pending.wishes.remove(&vm);
            pending.forgets.insert(vm, generation);
        });
    }

    /// What the host reported could not be recorded: it is to report again.
    pub(crate) fn push_report(&self) {
        self.push(|pending| pending.report = true);
    }

    /// This was told in vain and is still to be told, unless something newer of its kind waits. Leases and certificates
    /// are asked for again by whoever needs them.
    pub(crate) fn push_again(&self, task: Task) {
        self.push(|pending| match task {
            Task::Grant(..) | Task::Certificate(..) => {}
            Task::Settings(settings) => {
                pending.settings.get_or_insert(settings);
            }
            Task::Wish(vm) => {
                pending.wishes.insert(vm);
            }
            Task::Forget(vm, generation) => {
                let waiting = pending.forgets.entry(vm).or_insert(generation);
                *waiting = generation.max(*waiting);
            }
            Task::Report => pending.report = true,
        });
    }

    /// The next thing to tell; waits until there is one.
    pub(crate) async fn next(&self) -> Task {
        loop {
            let pushed = self.pushed.notified();
            if let Some(task) = self.take() {
                return task;
            }
            pushed.await;
        }
    }

    fn take(&self) -> Option<Task> {
        let mut pending = self.pending();
        if let Some((number, lease)) = pending.grant.take() {
            return Some(Task::Grant(number, lease));
        }
        if let Some(settings) = pending.settings.take() {
            return Some(Task::Settings(settings));
        }
        if let Some((certificate, ends)) = pending.certificate.take() {
            return Some(Task::Certificate(certificate, ends));
        }
        if let Some(vm) = pending.wishes.pop_first() {
            return Some(Task::Wish(vm));
        }
        if let Some((vm, generation)) = pending.forgets.pop_first() {
            return Some(Task::Forget(vm, generation));
        }
        std::mem::take(&mut pending.report).then_some(Task::Report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_pushed_twice_is_told_once() {
        let queue = TaskQueue::default();
        let vm = VmId::random();
        queue.push_wish(vm);
        queue.push_wish(vm);
        assert_eq!(queue.next().await, Task::Wish(vm));
        assert_eq!(queue.take(), None);
    }

    #[tokio::test]
    async fn a_vm_that_may_be_forgotten_is_wished_nothing_more() {
        let queue = TaskQueue::default();
        let vm = VmId::random();
        queue.push_wish(vm);
        queue.push_forget(vm, Generation(2));
        assert_eq!(queue.next().await, Task::Forget(vm, Generation(2)));
        assert_eq!(queue.take(), None);
    }

    #[tokio::test]
    async fn a_report_is_asked_for_once_and_after_the_rest() {
        let queue = TaskQueue::default();
        queue.push_report();
        queue.push_report();
        let vm = VmId::random();
        queue.push_wish(vm);
        assert_eq!(queue.next().await, Task::Wish(vm));
        assert_eq!(queue.next().await, Task::Report);
        assert_eq!(queue.take(), None);
    }

    #[tokio::test]
    async fn what_was_told_in_vain_is_told_again_and_replaces_nothing_newer() {
        let queue = TaskQueue::default();
        let vm = VmId::random();
        for task in [Task::Wish(vm), Task::Forget(vm, Generation(2)), Task::Report] {
            queue.push_again(task.clone());
            assert_eq!(queue.next().await, task);
        }
        queue.push_forget(vm, Generation(3));
        queue.push_again(Task::Forget(vm, Generation(2)));
        assert_eq!(queue.next().await, Task::Forget(vm, Generation(3)));
        queue.push_grant(2, Duration::from_secs(9));
        queue.push_again(Task::Grant(1, Duration::from_secs(9)));
        assert_eq!(queue.next().await, Task::Grant(2, Duration::from_secs(9)));
        assert_eq!(queue.take(), None);
    }

    #[tokio::test]
    async fn a_waiter_is_woken_by_a_push() {
        let queue = std::sync::Arc::new(TaskQueue::default());
        let waiter = tokio::spawn({
            let queue = std::sync::Arc::clone(&queue);
            async move { queue.next().await }
        });
        tokio::task::yield_now().await;
        let vm = VmId::random();
        queue.push_wish(vm);
        assert_eq!(waiter.await.unwrap(), Task::Wish(vm));
    }
}
