//! Owns a simulated host's watchdog: armed by its agent, and not disarmed by its death; without a sign for its time it is
//! time to reset the machine, a moment later or sooner as such devices are.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reeve_agent::watchdog::{ArmedWatchdog, WatchdogDevice, WatchdogError};
use tokio::time::Instant;

/// After which time without a sign it resets the machine.
pub const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Inside {
    signed: Option<Instant>,
    exists: bool,
    lateness: Duration,
}

/// A host's watchdog. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Watchdog(Arc<Mutex<Inside>>);

impl Watchdog {
    /// One that resets its machine so much later than it says; none is there with none.
    #[must_use]
    pub fn new(lateness: Option<Duration>) -> Self {
        let inside =
            Inside { signed: None, exists: lateness.is_some(), lateness: lateness.unwrap_or_default() };
        Self(Arc::new(Mutex::new(inside)))
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine has no power.
    pub fn lose_power(&self) {
        self.inside().signed = None;
    }

    /// Whether it resets the machine now.
    #[must_use]
    pub fn bites(&self) -> bool {
        let inside = self.inside();
        inside.signed.is_some_and(|signed| signed.elapsed() >= TIMEOUT + inside.lateness)
    }

    fn sign(&self) {
        self.inside().signed = Some(Instant::now());
    }
}

impl WatchdogDevice for Watchdog {
    fn arm(&self) -> Result<Box<dyn ArmedWatchdog>, WatchdogError> {
        if !self.inside().exists {
            let source = io::Error::from(io::ErrorKind::NotFound);
            return Err(WatchdogError::Open { path: self.place().into(), source });
        }
        self.sign();
        Ok(Box::new(Armed(self.clone())))
    }

    fn place(&self) -> String {
        "the simulated watchdog".to_owned()
    }
}

#[derive(Debug)]
struct Armed(Watchdog);

impl ArmedWatchdog for Armed {
    fn timeout(&self) -> Duration {
        TIMEOUT
    }

    fn sign(&mut self) -> io::Result<()> {
        self.0.sign();
        Ok(())
    }

    fn disarm(self: Box<Self>) -> io::Result<()> {
        self.0.inside().signed = None;
        Ok(())
    }
}
