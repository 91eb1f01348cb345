//! Owns what an agent takes from the machine it runs on: how it hears its hypervisor, what it says of the machine, and the
//! socket it dials from. A host of a simulated fleet has a machine that is made up (`fleet/`).
//!
//! Must not: know what an agent does with any of it.

use std::io;
use std::sync::Arc;

use reeve_common::clock::Clock;

use crate::coordinator_link::Socket;
use crate::host::Host;
use crate::hypervisor::Hypervisor;
use crate::inventory::{InventorySource, MachineInventory};
use crate::sampler::{MachineSampler, SampleSource};

/// What an agent runs on.
pub trait Machine: Send + Sync + 'static {
    /// Hands the hypervisor's events to the host from now on.
    ///
    /// # Errors
    /// What that needs of the operating system is not to be had.
    fn listen(&self, host: &Host, hypervisor: &dyn Hypervisor) -> io::Result<()>;

    /// Says what the machine is. May block for some milliseconds.
    fn inventory(&self, host: &Host) -> Arc<dyn InventorySource>;

    /// Says how busy it is. May block for some milliseconds.
    fn samples(&self, clock: Arc<dyn Clock>) -> Arc<dyn SampleSource>;

    /// Where the coordinator is dialled from.
    fn socket(&self) -> Socket;
}

/// The machine that this process runs on, which is all its agent's.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThisMachine;

impl Machine for ThisMachine {
    fn listen(&self, host: &Host, hypervisor: &dyn Hypervisor) -> io::Result<()> {
        host.listen(hypervisor)
    }

    fn inventory(&self, host: &Host) -> Arc<dyn InventorySource> {
        MachineInventory::new(host.driver().clone())
    }

    fn samples(&self, clock: Arc<dyn Clock>) -> Arc<dyn SampleSource> {
        MachineSampler::new(clock)
    }

    fn socket(&self) -> Socket {
        Socket::ForEachAttempt
    }
}
