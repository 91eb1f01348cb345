//! Owns the simulated host's rules for domains that somebody else made: what is told of one, and how it becomes ours and
//! is given back, in the likeness of libvirt's.

use reeve_common::ids::{PoolName, VmId, VmName, VolumeName};
use reeve_common::text::{TEXT_LENGTH_MAX, printable};
use reeve_common::vm::{AdoptionObstacle, DomainDisk, ForeignDomain};

use super::super::{HypervisorError, HypervisorResult, LedgerEntry, ledger_xml};
use super::world::{Run, SimulatedDomain, World};

impl SimulatedDomain {
    pub(super) fn foreign(&self, id: VmId) -> ForeignDomain {
        let obstacle = if self.ledger.is_some() {
            Some(AdoptionObstacle::SpoiltLedger)
        } else if !self.is_active() {
            Some(AdoptionObstacle::Off)
        } else {
            VmName::new(self.name.clone()).is_err().then_some(AdoptionObstacle::Name)
        };
        ForeignDomain {
            id,
            name: printable(&self.name, TEXT_LENGTH_MAX),
            active: self.is_active(),
            vcpus: self.vcpus,
            memory: self.memory,
            paused: matches!(self.run, Run::Active { paused: true, .. }),
            obstacle,
        }
    }

    fn disks(&self) -> Vec<DomainDisk> {
        let disk = |(pool, volume): &(PoolName, VolumeName)| DomainDisk {
            source: format!("{pool}/{volume}"),
            volume: Some((pool.clone(), volume.clone())),
            read_only: false,
        };
        self.disks.iter().map(disk).collect()
    }
}

impl World {
    pub(super) fn describe_foreign(&self, id: VmId) -> Option<(ForeignDomain, Vec<DomainDisk>)> {
        let domain = self.domains.get(&id).filter(|domain| domain.ledger().is_none())?;
        Some((domain.foreign(id), domain.disks()))
    }

    pub(super) fn adopt(&mut self, vm: VmId, ledger: &LedgerEntry) -> HypervisorResult<()> {
        let found = self.domains.get_mut(&vm);
        let domain = found.ok_or_else(|| HypervisorError::NotFound { what: format!("the domain {vm}") })?;
        if domain.ledger().is_none()
            && let Some(obstacle) = domain.foreign(vm).obstacle
        {
            return Err(HypervisorError::Refused { doing: "adopting the domain", why: obstacle.to_string() });
        }
        domain.ledger = Some(ledger_xml::to_metadata(ledger));
        Ok(())
    }

    /// Whether it was ours.
    pub(super) fn release(&mut self, vm: VmId) -> bool {
        let domain = self.domains.get_mut(&vm).filter(|domain| domain.ledger().is_some());
        domain.is_some_and(|domain| domain.ledger.take().is_some())
    }
}
