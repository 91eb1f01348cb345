//! Owns who is the coordinator: the first one, and those that took over while the one before was still alive. All of them
//! have the same store; only the epoch keeps them apart.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::coordinator::{CoordinatorMachine, Surroundings};
use super::store::Disk;

/// The coordinators of a story.
pub struct Succession {
    surroundings: Surroundings,
    machines: Mutex<Vec<Arc<CoordinatorMachine>>>,
    current: Mutex<Arc<CoordinatorMachine>>,
}

impl Succession {
    /// One coordinator, which does not run yet.
    #[must_use]
    pub fn new(surroundings: Surroundings, disk: Arc<Disk>) -> Arc<Self> {
        let first = CoordinatorMachine::new(0, surroundings.clone(), disk);
        let machines = Mutex::new(vec![Arc::clone(&first)]);
        Arc::new(Self { surroundings, machines, current: Mutex::new(first) })
    }

    fn machines(&self) -> MutexGuard<'_, Vec<Arc<CoordinatorMachine>>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that took over last.
    #[must_use]
    pub fn current(&self) -> Arc<CoordinatorMachine> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All of them, the first first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<CoordinatorMachine>> {
        self.machines().clone()
    }

    /// The one before the current, if it still serves.
    #[must_use]
    pub fn outlived(&self) -> Option<Arc<CoordinatorMachine>> {
        let machines = self.machines();
        let before = machines.iter().rev().nth(1)?;
        before.office().is_some().then(|| Arc::clone(before))
    }

    /// Another one takes over, whatever the one before is doing. Answers both.
    pub fn promote(&self) -> (Arc<CoordinatorMachine>, Arc<CoordinatorMachine>) {
        let before = self.current();
        let mut machines = self.machines();
        let number = before.number + 1;
        let disk = before.disk.another_way(self.surroundings.seed, u64::from(number));
        let next = CoordinatorMachine::new(number, self.surroundings.clone(), disk);
        machines.push(Arc::clone(&next));
        drop(machines);
        before.be_followed();
        if before.office().is_none() {
            // It has not taken up its work: if it did so now, it would follow the one that follows it.
            before.kill();
        }
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
        next.start();
        (before, next)
    }
}
