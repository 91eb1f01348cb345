//! Owns the memory of one-shot operations: each is carried out once per operation id, however often its command comes,
//! and a repetition is answered as the first was.
//!
//! ```text
//!   command ─▶ id known? ── no ──▶ carried out to its end, even if nobody waits any more ─▶ answer, remembered
//!                 └── yes ──▶ the same answer, waited for if it is not there yet
//! ```
//!
//! Wishes need none of this: they carry generations. The memory is of this life of the agent; commands do not outlive
//! the connection they came on, which ends with the agent.
//!
//! Must not: judge a command. Its epoch was checked before, each time.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};

use reeve_common::ids::OperationId;
use reeve_common::protocol::{Refusal, ReplyBody};
use tokio::sync::OnceCell;

use super::lock;

/// How many operations are remembered, the latest: commands come late by minutes if at all, and a host is not given so
/// many volumes in that time.
pub(super) const REMEMBERED_MAX: usize = 256;

type Outcome = Result<ReplyBody, Refusal>;

/// One-shot operations that were begun, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Operations(Mutex<VecDeque<(OperationId, Arc<OnceCell<Outcome>>)>>);

impl Operations {
    /// Whether an operation was begun before.
    pub(super) fn has_begun(&self, operation: OperationId) -> bool {
        lock(&self.0).iter().any(|(known, _)| *known == operation)
    }

    /// Carries `work` out, unless it was begun before; answers how it ended.
    pub(super) async fn once(
        &self,
        operation: OperationId,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) -> Outcome {
        let cell = self.cell(operation);
        // A task of its own: when the connection that asked ends in the middle, the work is not begun a second time.
        let done = tokio::spawn(async move { cell.get_or_init(|| work).await.clone() });
        done.await.unwrap_or_else(|error| Err(Refusal::Failed(error.to_string())))
    }

    fn cell(&self, operation: OperationId) -> Arc<OnceCell<Outcome>> {
        let mut known = lock(&self.0);
        if let Some((_, cell)) = known.iter().find(|(known, _)| *known == operation) {
            return Arc::clone(cell);
        }
        if known.len() >= REMEMBERED_MAX {
            known.pop_front();
        }
        let cell = Arc::new(OnceCell::new());
        known.push_back((operation, Arc::clone(&cell)));
        cell
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_is_asked_many_times_at_once_is_done_once_and_goes_on_though_nobody_waits() {
        let (operations, done) = (Arc::new(Operations::default()), Arc::new(AtomicUsize::new(0)));
        let operation = OperationId::random();
        let (go_on, going_on) = tokio::sync::watch::channel(false);
        let ask = || {
            let (operations, done) = (Arc::clone(&operations), Arc::clone(&done));
            let mut going_on = going_on.clone();
            tokio::spawn(async move {
                let work = async move {
                    let _ = going_on.wait_for(|go_on| *go_on).await;
                    done.fetch_add(1, Ordering::SeqCst);
                    Err(Refusal::Invalid("once".to_owned()))
                };
                operations.once(operation, work).await
            })
        };
        let first = ask();
        while !operations.has_begun(operation) {
            tokio::task::yield_now().await;
        }
        let second = ask();
        first.abort();
        go_on.send_replace(true);
        assert_eq!(second.await.unwrap(), Err(Refusal::Invalid("once".to_owned())));
        assert_eq!(ask().await.unwrap(), Err(Refusal::Invalid("once".to_owned())));
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_memory_is_bounded() {
        let operations = Operations::default();
        let first = OperationId::random();
        let _ = operations.once(first, async { Ok(ReplyBody::Accepted) }).await;
        for _ in 0..REMEMBERED_MAX {
            let _ = operations.once(OperationId::random(), async { Ok(ReplyBody::Accepted) }).await;
        }
        assert!(!operations.has_begun(first));
        assert_eq!(lock(&operations.0).len(), REMEMBERED_MAX);
    }
}
