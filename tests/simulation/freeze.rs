//! Owns the freezing of a simulated process, as SIGSTOP does it: work that is frozen is not polled, whatever it waits for
//! comes true meanwhile, and it finds out when it goes on.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Default)]
struct Inside {
    frozen: bool,
    waiting: Vec<Waker>,
}

/// Whether a process runs. Clones are one.
#[derive(Clone, Default)]
pub struct Freezer(Arc<Mutex<Inside>>);

impl Freezer {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is frozen.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.inside().frozen
    }

    /// Freezes it, or lets it go on.
    pub fn set_frozen(&self, frozen: bool) {
        let waiting = {
            let mut inside = self.inside();
            inside.frozen = frozen;
            if frozen { Vec::new() } else { std::mem::take(&mut inside.waiting) }
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Work of this process.
    pub fn work<F: Future>(&self, work: F) -> Work<F> {
        Work { freezer: self.clone(), work: Box::pin(work) }
    }

    /// Waits until the process is not frozen.
    pub async fn until_thawed(&self) {
        self.work(std::future::ready(())).await;
    }
}

/// Work that does not go on while its process is frozen.
pub struct Work<F> {
    freezer: Freezer,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Work<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        {
            let mut inside = self.freezer.inside();
            if inside.frozen {
                inside.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
        }
        self.work.as_mut().poll(context)
    }
}
