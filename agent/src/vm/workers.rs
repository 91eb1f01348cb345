//! Owns the seam between calls that block and whoever carries them out: threads of the runtime, or in the simulation
//! the one thread there is, as part of its virtual time.
//!
//! Must not: know what a job does.

use std::fmt;

use super::driver::CallKind;

/// What a job blocks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The hypervisor.
    Hypervisor(CallKind),
    /// The state directory.
    Memory,
}

/// Something that blocks; it says itself how it ended.
pub type Job = Box<dyn FnOnce() + Send>;

/// Carries out jobs.
pub trait Workers: fmt::Debug + Send + Sync + 'static {
    /// Has a job done and returns at once. A job that was given is done even when nobody waits for it any more, unless the
    /// agent ends before it was begun.
    fn give(&self, work: Work, job: Job);
}

/// The runtime's threads for work that blocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct BlockingThreads;

impl Workers for BlockingThreads {
    fn give(&self, _work: Work, job: Job) {
        // How it ends reaches whoever waits by the job itself, also when it panics: its sender goes then.
        drop(tokio::task::spawn_blocking(job));
    }
}
