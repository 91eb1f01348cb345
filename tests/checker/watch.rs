//! Owns the looking at a lab's guests all the time, in a thread of its own, for what must never be, however shortly.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::processes::qemus;
use super::sighting::{Misdeed, misdeeds};
use crate::lab::Lab;

/// How often is looked. A guest that is started by mistake lives for seconds at least.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a watch has seen.
#[derive(Debug, Default)]
struct Seen {
    looks: u64,
    misdeeds: BTreeSet<String>,
}

/// Looks at a lab until it is asked what it saw.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Begins.
    #[must_use]
    pub fn begin(lab: &Lab) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let (lab, stopped, shown) = (lab.clone(), Arc::clone(&stop), Arc::clone(&seen));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let misdeeds = look(&lab);
                let mut seen = shown.lock().unwrap_or_else(PoisonError::into_inner);
                seen.looks += 1;
                seen.misdeeds.extend(misdeeds);
                drop(seen);
                thread::sleep(LOOK_EVERY);
            }
        });
        Self { stop, seen, thread }
    }

    /// What was seen by now that must not be.
    #[must_use]
    pub fn so_far(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).misdeeds.iter().cloned().collect()
    }

    /// Ends, and gives what was seen that must not be.
    ///
    /// # Errors
    /// When it has not looked at all.
    pub fn end(self) -> Result<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let found = Arc::clone(&self.seen);
        self.thread.join().map_err(|_| anyhow!("the thread that watched failed"))?;
        let found = found.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(found.looks > 0, "nobody has looked");
        Ok(found.misdeeds.iter().cloned().collect())
    }
}

fn look(lab: &Lab) -> Vec<String> {
    let qemus = qemus(lab);
    // They were seen one after the other. If the first still runs, it ran when the second was seen.
    let still = |misdeed: &Misdeed<'_>| misdeed.one.process.is_alive() && misdeed.other.process.is_alive();
    misdeeds(&qemus).into_iter().filter(still).map(|misdeed| misdeed.words).collect()
}
