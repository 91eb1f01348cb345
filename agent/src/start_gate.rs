//! Owns the gate that every start of a VM goes through: closed while this host's lease has run out, and counting the
//! starts that are under way, so that nobody believes "all are off" while one may still come up.
//!
//! Must not: decide when it is closed; whoever keeps the lease says so at the moment of the question.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Says whether VMs may be started now.
pub trait StartPermission: Send + Sync + 'static {
    /// Whether they may, or why not.
    ///
    /// # Errors
    /// The reason, for whoever wishes a start.
    fn may_start(&self) -> Result<(), String>;
}

/// The gate. Clones are one; it is open until somebody keeps it.
#[derive(Clone, Default)]
pub struct StartGate {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    permission: OnceLock<Arc<dyn StartPermission>>,
    under_way: AtomicUsize,
}

impl std::fmt::Debug for StartGate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StartGate").field("under_way", &self.under_way()).finish_non_exhaustive()
    }
}

/// A start on its way; it counts until this goes out of use.
#[derive(Debug)]
pub struct Passage(StartGate);

impl Drop for Passage {
    fn drop(&mut self) {
        self.0.inner.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl StartGate {
    /// Gives the gate its keeper; only the first counts.
    pub fn keep(&self, permission: Arc<dyn StartPermission>) {
        let _ = self.inner.permission.set(permission);
    }

    /// Whether a start would be let through now.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), String> {
        self.inner.permission.get().map_or(Ok(()), |permission| permission.may_start())
    }

    /// Lets a start through. It is counted before the question is asked: whoever closes the gate and then finds nothing
    /// under way knows that nothing comes after.
    ///
    /// # Errors
    /// Why not.
    pub fn pass(&self) -> Result<Passage, String> {
        self.inner.under_way.fetch_add(1, Ordering::SeqCst);
        let passage = Passage(self.clone());
        self.check().map(|()| passage)
    }

    /// How many starts are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.inner.under_way.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    struct Switch(AtomicBool);

    impl StartPermission for Switch {
        fn may_start(&self) -> Result<(), String> {
            if self.0.load(Ordering::SeqCst) { Ok(()) } else { Err("closed".to_owned()) }
        }
    }

    #[test]
    fn a_start_is_counted_and_a_closed_gate_lets_none_through() {
        let gate = StartGate::default();
        let passage = gate.pass().unwrap();
        assert_eq!(gate.clone().under_way(), 1);
        let switch = Arc::new(Switch(AtomicBool::new(false)));
        gate.keep(Arc::clone(&switch) as _);
        assert_eq!(gate.pass().unwrap_err(), "closed");
        assert_eq!(gate.under_way(), 1, "the one before is still on its way");
        drop(passage);
        assert_eq!(gate.under_way(), 0);
        switch.0.store(true, Ordering::SeqCst);
        assert!(gate.pass().is_ok());
    }
}
