//! Owns the making of a VM's record out of a domain that somebody else made, and what stands against it. Pure.
//!
//! ```text
//!   a domain of somebody else's, running ──adopt──▶ a VM of ours: it runs on, holds its capacity, can be shut down
//!        ▲                                             │ released: it runs on
//!        └─────────────────────────────────────────────┤ stopped, or its guest powers off: its domain and disks stay
//!                                                      ▼
//!                                                   (over)
//! ```
//!
//! What it takes was counted as used before, so that its adoption is never refused for want of room: only the account it
//! stands in changes. Nothing of it is ever removed by us, and there is no image to start it from: once it is over, it is
//! somebody else's again.

use reeve_common::clock::Timestamp;
use reeve_common::ids::{HostId, PoolName, RealmName, VmName};
use reeve_common::units::Millicores;
use reeve_common::vm::{AdoptedVm, AdoptionObstacle, DomainDescription};
use reeve_scheduler::{Assignment, Request};

use super::definition::Definition;
use super::image::Image;
use super::vm::{Transition, Vm, Wish};
use super::vm_state::VmState;

/// Whose an adopted VM is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOwner {
    /// Whose it is.
    pub owner: String,
    /// The owner's team.
    pub team: String,
    /// The project it is tagged with.
    pub project: Option<String>,
    /// Its name for people; its domain's name when there is none.
    pub title: Option<String>,
}

/// Why a domain cannot be adopted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdoptionError {
    /// Its host says so.
    #[error("{0}")]
    Obstacle(AdoptionObstacle),
    /// A VM has its name.
    #[error("VM {0} is called so already, on whatever host: shut the domain down and rename it")]
    NameTaken(VmName),
    /// It and a VM, of which one writes, would have one disk.
    #[error("disk {disk} is used by VM {vm}: a disk has one writer")]
    DiskInUse {
        /// Which disk.
        disk: String,
        /// By whom.
        vm: VmName,
    },
    /// It writes what others boot from.
    #[error("disk {disk} is image {image}: what VMs boot from must not be written")]
    WritesImage {
        /// Which disk.
        disk: String,
        /// Which image.
        image: String,
    },
}

/// The record of a domain that is to be ours: on its host, and not yet told.
///
/// # Errors
/// [`AdoptionError`] when its host says that it cannot be.
pub fn adopt(
    description: &DomainDescription,
    host: HostId,
    realm: &RealmName,
    whose: NewOwner,
    now: Timestamp,
) -> Result<Vm, AdoptionError> {
    let DomainDescription { domain, disks, last_generation } = description;
    if let Some(obstacle) = &domain.obstacle {
        return Err(AdoptionError::Obstacle(obstacle.clone()));
    }
    let named = VmName::new(domain.name.clone());
    let name = named.map_err(|_| AdoptionError::Obstacle(AdoptionObstacle::Name))?;
    let NewOwner { owner, team, project, title } = whose;
    let adopted = AdoptedVm {
        name: name.clone(),
        title: title.unwrap_or_else(|| name.to_string()),
        realm: realm.clone(),
        vcpus: domain.vcpus,
        memory: domain.memory,
        disks: disks.clone(),
        origin: String::new(),
    };
    let request = Request {
        owner: owner.clone(),
        team: team.clone(),
        ..Request::new(realm.clone(), Millicores::from_cores(domain.vcpus), domain.memory)
    };
    let mut vm = Vm {
        id: domain.id,
        name,
        configuration: None,
        setup: None,
        realm: realm.clone(),
        owner,
        team,
        project,
        request,
        definition: Definition::Adopted(adopted),
        state: VmState::Requested,
        reason: None,
        host: Some(host),
        assignment: Assignment::default(),
        displaced_from: Vec::new(),
        wish: Wish::Run,
        // Higher than whatever the host has heard of it when it was ours before.
        generation: last_generation.next(),
        end: None,
        ended_unasked: false,
        requested_at: now,
        registered_at: None,
        ended_at: None,
        history: vec![Transition { at: now, state: VmState::Requested, reason: None }],
    };
    vm.enter(VmState::Placed, Some("its domain is being adopted where it runs".to_owned()), now);
    Ok(vm)
}

/// What of the other VMs, and of the images, whose volumes are in `bricks_pool`, stands against `vm`.
///
/// # Errors
/// The first thing that does.
pub fn check_against<'a>(
    vm: &Vm,
    others: impl IntoIterator<Item = &'a Vm>,
    images: impl IntoIterator<Item = &'a Image>,
    bricks_pool: &PoolName,
) -> Result<(), AdoptionError> {
    let Definition::Adopted(adopted) = &vm.definition else { return Ok(()) };
    for image in images.into_iter().filter(|image| image.realm == vm.realm) {
        let is_it = |(pool, volume): &(PoolName, _)| pool == bricks_pool && *volume == image.volume;
        let written =
            adopted.disks.iter().find(|disk| !disk.read_only && disk.volume.as_ref().is_some_and(is_it));
        if let Some(disk) = written {
            return Err(AdoptionError::WritesImage {
                disk: disk.source.clone(),
                image: image.name.to_string(),
            });
        }
    }
    for other in others.into_iter().filter(|other| !other.state.is_final()) {
        if other.name == vm.name {
            return Err(AdoptionError::NameTaken(other.name.clone()));
        }
        if other.realm != vm.realm {
            continue;
        }
        if let Some(disk) = shared_disk(adopted, other) {
            return Err(AdoptionError::DiskInUse { disk, vm: other.name.clone() });
        }
    }
    Ok(())
}

/// A disk that both have and one of them writes.
fn shared_disk(adopted: &AdoptedVm, other: &Vm) -> Option<String> {
    let system = other.definition.made().map(|spec| &spec.system_disk);
    let theirs: Vec<_> = other.definition.used_volumes().collect();
    let of_path = |source: &str, read_only: bool| match &other.definition {
        Definition::Adopted(other) => {
            other.disks.iter().any(|disk| disk.source == source && !(disk.read_only && read_only))
        }
        Definition::Made(_) => false,
    };
    let is_shared = |disk: &&reeve_common::vm::DomainDisk| {
        let Some((pool, volume)) = &disk.volume else { return of_path(&disk.source, disk.read_only) };
        let is_system = system.is_some_and(|system| (&system.pool, &system.volume) == (pool, volume));
        let is_used = theirs
            .iter()
            .any(|used| (used.pool, used.volume) == (pool, volume) && !(used.read_only && disk.read_only));
        is_system || is_used
    };
    adopted.disks.iter().find(is_shared).map(|disk| disk.source.clone())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reeve_common::ids::{Generation, VmId, VolumeName};
    use reeve_common::units::Mebibytes;
    use reeve_common::vm::{DesiredVm, DomainDisk, ForeignDomain, ObservedVm, StopReason, VmObservation};
    use uuid::Uuid;

    use super::super::{displacement, fixture, vm_life};
    use super::*;

    const NOW: Timestamp = Timestamp(7_000);

    fn disk(pool: &str, volume: &str, read_only: bool) -> DomainDisk {
        let place = (PoolName::new(pool).unwrap(), VolumeName::new(volume).unwrap());
        DomainDisk { source: format!("/{pool}/{volume}"), volume: Some(place), read_only }
    }

    fn description(disks: Vec<DomainDisk>) -> DomainDescription {
        let domain = ForeignDomain {
            id: VmId(Uuid::from_u128(77)),
            name: "legacy".to_owned(),
            active: true,
            vcpus: 3,
            memory: Mebibytes(512),
            paused: false,
            obstacle: None,
        };
        DomainDescription { domain, disks, last_generation: Generation(4) }
    }

    fn whose() -> NewOwner {
        NewOwner { owner: "ada".to_owned(), team: "engines".to_owned(), project: None, title: None }
    }

    fn adopted(disks: Vec<DomainDisk>) -> Vm {
        adopt(&description(disks), HostId(2), &fixture::vm().realm, whose(), NOW).unwrap()
    }

    fn seen(vm: &Vm, observed: ObservedVm) -> Vm {
        let observation = VmObservation {
            vm: vm.id,
            generation: vm.generation,
            epoch: reeve_common::ids::Epoch(1),
            observed,
        };
        let changed = vm_life::apply_observation(vm, &observation, NOW).changed;
        changed.map_or_else(|| vm.clone(), |vm| *vm)
    }

    #[test]
    fn an_adopted_vm_is_what_its_domain_is_and_is_never_made_anywhere() {
        let vm = adopted(vec![disk("old", "root", false)]);
        assert_eq!((vm.name.as_str(), vm.host, vm.generation), ("legacy", Some(HostId(2)), Generation(5)));
        assert_eq!((vm.request.cores, vm.request.memory), (Millicores(3000), Mebibytes(512)));
        assert!(vm.holds_capacity());
        assert!(matches!(vm.desired(), DesiredVm::Adopted(adopted) if adopted.disks.len() == 1));
        let running = seen(&vm, ObservedVm::Running { started_at: NOW, registered_at: NOW });
        assert_eq!(running.state, VmState::Running);
        assert_eq!(displacement::displace(&running, "its host is fenced", NOW), None);
    }

    #[test]
    fn its_end_by_any_road_keeps_what_is_not_ours() {
        let running = seen(&adopted(Vec::new()), ObservedVm::Running { started_at: NOW, registered_at: NOW });
        let released = *vm_life::wish_release(&running, NOW).changed.unwrap();
        assert_eq!(released.desired(), DesiredVm::Released);
        assert_eq!(vm_life::wish_release(&released, NOW), vm_life::Outcome::NOTHING);
        let over = seen(&released, ObservedVm::Gone(StopReason::Released));
        assert_eq!((over.state, over.holds_capacity()), (VmState::Stopped, false));
        let made = fixture::vm();
        assert_eq!(
            vm_life::wish_release(&made, NOW),
            vm_life::Outcome::NOTHING,
            "what we made is not given away"
        );
        let refused = *vm_life::give_up(&adopted(Vec::new()), "it does not run", NOW).changed.unwrap();
        assert_eq!(refused.desired(), DesiredVm::Released, "nothing of it is stopped");
        let over = seen(&refused, ObservedVm::Gone(StopReason::Released));
        assert_eq!(over.state, VmState::Failed);
        assert_eq!(over.reason.as_deref(), Some("could not be adopted: it does not run"));
        let stopped = *vm_life::wish_stop(&running, Duration::ZERO, NOW).changed.unwrap();
        assert!(matches!(stopped.desired(), DesiredVm::Stopped { .. }));
    }

    #[test]
    fn what_stands_against_an_adoption_is_said() {
        let mut off = description(Vec::new());
        off.domain.obstacle = Some(AdoptionObstacle::Off);
        let refused = adopt(&off, HostId(2), &fixture::vm().realm, whose(), NOW).unwrap_err();
        assert!(refused.to_string().contains("does not run"), "{refused}");
        let (web, bricks) = (fixture::vm(), PoolName::new("ticrypt-bricks").unwrap());
        let check = |vm: &Vm| {
            check_against(vm, [&web], [&fixture::image()], &bricks).map_err(|error| error.to_string())
        };
        assert_eq!(check(&adopted(Vec::new())), Ok(()));
        let system = &web.definition.made().unwrap().system_disk;
        let theirs = adopted(vec![disk(system.pool.as_str(), system.volume.as_str(), true)]);
        assert!(check(&theirs).unwrap_err().contains("web-5f0c0000"), "not even read");
        let image = adopted(vec![disk("ticrypt-bricks", fixture::image().volume.as_str(), false)]);
        assert!(check(&image).unwrap_err().contains("image"));
        let reads = adopted(vec![disk("ticrypt-bricks", fixture::image().volume.as_str(), true)]);
        assert_eq!(check(&reads), Ok(()));
        let mut namesake = adopted(Vec::new());
        namesake.name = web.name.clone();
        assert!(check(&namesake).unwrap_err().contains("called so"));
        let first = adopted(vec![disk("old", "data", false)]);
        let mut second = adopted(vec![disk("old", "data", true)]);
        second.name = "other".parse().unwrap();
        assert!(check_against(&second, [&first], [], &bricks).is_err(), "one of the two writes");
    }

    #[test]
    fn a_record_of_an_adopted_vm_is_read_back() {
        use crate::records::{Record, VMS};
        use crate::store::{Stored, Version};
        let vm = adopted(vec![disk("old", "root", false)]);
        let stored = Stored { key: VMS.key(&vm.id), version: Version(1), value: vm.encode().unwrap() };
        assert_eq!(Vm::decode(&stored).unwrap(), vm);
    }
}
