//! Owns the answer to "may this command be obeyed?": by its epoch, its generation, what is known of its VM, and
//! whether its specification can be meant.
//!
//! ```text
//!   epoch below the highest obeyed ───────────────▶ refused (stale epoch): a deposed coordinator does no harm
//!   generation  below the known one ──────────────▶ superseded
//!               the known one ────────────────────▶ already so (a repetition; it may carry the missing specification)
//!               above it ──▶ to run, but stopping or gone ─▶ refused (invalid): a VM runs once
//!                            otherwise ─────────────────────▶ accepted
//! ```
//!
//! Pure; it holds no synchronisation of its own. The caller records a higher epoch durably before it acts.

use std::time::Duration;

use reeve_common::ids::{Epoch, Generation, RealmName, VmId};
use reeve_common::protocol::Refusal;
use reeve_common::text::{TEXT_LENGTH_MAX, is_printable};
use reeve_common::vm::{AdoptedVm, CpuModel, DesiredVm, VmSpec, limits};

use super::known::Disk;

/// VMs and tombstones an agent keeps at most: as many as fit a report, which is far above what a host can run.
pub const VMS_MAX: usize = reeve_common::wire::limits::VMS_MAX;

/// The longest registration timeout taken; beyond a day it is a mistake of units.
pub const REGISTRATION_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// The longest grace of a stop taken; likewise.
pub const GRACE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The longest name of a processor model taken; libvirt's longest is about forty characters.
pub const CPU_MODEL_LENGTH_MAX: usize = 64;

/// What this host knows of a VM, as far as the policy needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Unknown,
    /// It is being kept, or being stopped.
    Kept {
        /// The generation being obeyed.
        generation: Generation,
        /// Whether the wish is that it stops.
        stopping: bool,
        /// The disk that goes with it.
        disk: Option<Disk>,
    },
    /// Only its tombstone is left.
    Gone {
        /// The highest generation obeyed.
        generation: Generation,
    },
    /// The coordinator knows that it is gone and has said so.
    Forgotten {
        /// The highest generation obeyed.
        generation: Generation,
    },
}

impl Standing {
    const fn generation(&self) -> Option<Generation> {
        match self {
            Self::Unknown => None,
            Self::Kept { generation, .. } | Self::Gone { generation } | Self::Forgotten { generation } => {
                Some(*generation)
            }
        }
    }
}

/// What is done with a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is obeyed from now on.
    Accept,
    /// It is obeyed already. It is handed on all the same: the VM may be waiting for its specification.
    AlreadySo,
    /// The VM is gone: nothing is done but to say so again, at the higher of the generations.
    AlreadyGone,
    /// A newer one is obeyed.
    Superseded {
        /// Which.
        current: Generation,
    },
    /// It is not obeyed.
    Refuse(Refusal),
}

/// Whether a command from epoch `sent` may be looked at, given the highest epoch obeyed so far. `Ok(true)`: it is the
/// highest now, which must be recorded durably before anything is done.
///
/// # Errors
/// [`Refusal::StaleEpoch`] for a lower one.
pub const fn check_epoch(sent: Epoch, highest: Epoch) -> Result<bool, Refusal> {
    if sent.0 < highest.0 {
        return Err(Refusal::StaleEpoch { sent, highest });
    }
    Ok(sent.0 > highest.0)
}

/// What is done with the wish `desired` at `generation`; its epoch has been checked. `vms_known` is how many VMs and
/// tombstones the host keeps, `others` says whose disk a volume is.
#[must_use]
pub fn judge(
    generation: Generation,
    desired: &DesiredVm,
    standing: &Standing,
    realm: &RealmName,
    vms_known: usize,
    owner_of_disk: impl Fn(&Disk) -> Option<VmId>,
) -> Verdict {
    if let Some(current) = standing.generation()
        && generation < current
    {
        return Verdict::Superseded { current };
    }
    let repeated = standing.generation() == Some(generation);
    match (standing, desired) {
        (Standing::Gone { .. }, DesiredVm::Stopped { .. } | DesiredVm::Released) => Verdict::AlreadyGone,
        (Standing::Gone { .. }, DesiredVm::Running(_) | DesiredVm::Adopted(_)) if repeated => {
            Verdict::AlreadyGone
        }
        (Standing::Forgotten { .. }, DesiredVm::Stopped { .. } | DesiredVm::Released) => Verdict::AlreadySo,
        (_, DesiredVm::Adopted(adopted)) => judge_adoption(adopted, standing, repeated, realm, vms_known),
        (Standing::Kept { disk: Some(_), .. }, DesiredVm::Released) => invalid(
            "this VM was made here, with a disk that goes with it; only what was adopted can be released",
        ),
        (Standing::Kept { stopping: false, disk: None, .. }, DesiredVm::Running(_)) => invalid(
            "this VM was adopted: there is no image to start it from; start its domain by hand and adopt it again",
        ),
        (Standing::Gone { .. } | Standing::Forgotten { .. }, DesiredVm::Running(_)) => invalid(
            "this VM has run here and is gone; a VM is started once, so start its configuration again",
        ),
        (Standing::Kept { stopping: true, .. }, DesiredVm::Running(_)) if !repeated => {
            invalid("this VM is being stopped; wait until it is gone and start its configuration again")
        }
        (_, DesiredVm::Stopped { grace }) if *grace > GRACE_MAX => invalid(format!(
            "a grace of {} s is beyond the limit of {} s",
            grace.as_secs(),
            GRACE_MAX.as_secs()
        )),
        (Standing::Unknown, _) if vms_known >= VMS_MAX => full(vms_known),
        (Standing::Kept { .. }, DesiredVm::Stopped { .. } | DesiredVm::Released) if repeated => {
            Verdict::AlreadySo
        }
        (Standing::Kept { .. } | Standing::Unknown, DesiredVm::Stopped { .. } | DesiredVm::Released) => {
            Verdict::Accept
        }
        (Standing::Kept { disk, .. }, DesiredVm::Running(spec)) => {
            match check_spec(spec, realm).and_then(|()| check_same_disk(spec, disk.as_ref())) {
                Err(refusal) => Verdict::Refuse(refusal),
                Ok(()) if repeated => Verdict::AlreadySo,
                Ok(()) => Verdict::Accept,
            }
        }
        (Standing::Unknown, DesiredVm::Running(spec)) => {
            match check_spec(spec, realm).and_then(|()| check_free_disk(spec, owner_of_disk)) {
                Err(refusal) => Verdict::Refuse(refusal),
                Ok(()) => Verdict::Accept,
            }
        }
    }
}

/// What is done with the wish that a domain of somebody else's be ours. What was ours before and is forgotten may be ours
/// again, at a higher generation: unlike a VM that we made, it may have been started again.
fn judge_adoption(
    adopted: &AdoptedVm,
    standing: &Standing,
    repeated: bool,
    realm: &RealmName,
    vms_known: usize,
) -> Verdict {
    if adopted.realm != *realm {
        return invalid(format!(
            "domain {}: it is wanted for realm {}, and this host is of realm {realm}; realms never mix",
            adopted.name, adopted.realm
        ));
    }
    match standing {
        Standing::Kept { .. } if repeated => Verdict::AlreadySo,
        Standing::Kept { stopping: true, .. } => invalid("this VM is being stopped or released"),
        Standing::Kept { disk: Some(_), .. } => invalid("this VM was made here, and is ours"),
        Standing::Kept { .. } => Verdict::Accept,
        Standing::Gone { .. } => Verdict::Refuse(Refusal::Failed(
            "its last end is not recorded yet; repeat the command when it is".to_owned(),
        )),
        Standing::Forgotten { .. } if repeated => invalid("this VM was adopted and is gone; adopt it again"),
        Standing::Unknown | Standing::Forgotten { .. } if vms_known >= VMS_MAX => full(vms_known),
        Standing::Unknown | Standing::Forgotten { .. } => Verdict::Accept,
    }
}

fn full(vms_known: usize) -> Verdict {
    Verdict::Refuse(Refusal::Failed(format!(
        "this host keeps {vms_known} VMs and notices of VMs that are gone, the most it takes; \
         it accepts new ones when the coordinator has taken note of those that are gone"
    )))
}

/// What is done when the coordinator says that it has recorded a VM's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForgetVerdict {
    /// The tombstone is no longer reported.
    Forget,
    /// There is nothing to forget.
    NothingKnown,
    /// It is not obeyed.
    Refuse(Refusal),
}

/// Whether a VM may be forgotten that the coordinator knows to have been gone at `generation`.
#[must_use]
pub fn judge_forget(generation: Generation, standing: &Standing) -> ForgetVerdict {
    match standing {
        Standing::Unknown | Standing::Forgotten { .. } => ForgetVerdict::NothingKnown,
        Standing::Gone { generation: current } if generation >= *current => ForgetVerdict::Forget,
        Standing::Gone { generation: current } => ForgetVerdict::Refuse(Refusal::Invalid(format!(
            "the VM was gone at generation {current} here, and generation {generation} was to be forgotten"
        ))),
        Standing::Kept { .. } => {
            ForgetVerdict::Refuse(Refusal::Invalid("the VM is still here and cannot be forgotten".to_owned()))
        }
    }
}

fn invalid(why: impl Into<String>) -> Verdict {
    Verdict::Refuse(Refusal::Invalid(why.into()))
}

/// Whether a specification can be meant, for a host of `realm`.
///
/// # Errors
/// [`Refusal::Invalid`] names the first thing wrong.
pub fn check_spec(spec: &VmSpec, realm: &RealmName) -> Result<(), Refusal> {
    let wrong = first_mistake(spec, realm);
    wrong.map_or(Ok(()), |why| Err(Refusal::Invalid(format!("VM {}: {why}", spec.name))))
}

fn first_mistake(spec: &VmSpec, realm: &RealmName) -> Option<String> {
    if spec.realm != *realm {
        return Some(format!(
            "it is of realm {}, and this host of realm {realm}; realms never mix",
            spec.realm
        ));
    }
    if spec.vcpus == 0 || spec.vcpus > limits::VCPUS_MAX {
        return Some(format!("{} virtual processors; 1 to {} are allowed", spec.vcpus, limits::VCPUS_MAX));
    }
    if spec.memory.0 == 0 || spec.memory > limits::MEMORY_MAX {
        return Some(format!("{} of memory; 1 MiB to {} are allowed", spec.memory, limits::MEMORY_MAX));
    }
    if spec.drives.len() > limits::DRIVES_MAX {
        return Some(format!("{} drives; at most {} are allowed", spec.drives.len(), limits::DRIVES_MAX));
    }
    if spec.networks.len() > limits::NETWORKS_MAX {
        return Some(format!(
            "{} networks; at most {} are allowed",
            spec.networks.len(),
            limits::NETWORKS_MAX
        ));
    }
    if spec.registration_timeout.is_zero() || spec.registration_timeout > REGISTRATION_TIMEOUT_MAX {
        let seconds = spec.registration_timeout.as_secs();
        let most = REGISTRATION_TIMEOUT_MAX.as_secs();
        return Some(format!("a registration timeout of {seconds} s; 1 to {most} s are allowed"));
    }
    if spec.title.len() > TEXT_LENGTH_MAX || !spec.title.chars().all(is_printable) {
        return Some(format!("its title must be printable and of at most {TEXT_LENGTH_MAX} bytes"));
    }
    if let CpuModel::Named(model) = &spec.cpu_model
        && !is_model_name(model)
    {
        return Some(
            "its processor model must be a name as libvirt lists them, such as Skylake-Server".to_owned(),
        );
    }
    clashing_disks(spec)
}

fn is_model_name(model: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+');
    !model.is_empty() && model.len() <= CPU_MODEL_LENGTH_MAX && model.bytes().all(allowed)
}

/// The system disk is removed with the VM, so it must be nothing else.
fn clashing_disks(spec: &VmSpec) -> Option<String> {
    let disk = &spec.system_disk;
    if (&disk.pool, &disk.volume) == (&disk.image_pool, &disk.image_volume) {
        return Some("its system disk is the image itself".to_owned());
    }
    let is_system_disk = |pool, volume| (&disk.pool, &disk.volume) == (pool, volume);
    spec.drives.iter().enumerate().find_map(|(index, drive)| {
        let twice = spec
            .drives
            .iter()
            .take(index)
            .any(|other| (&other.pool, &other.volume) == (&drive.pool, &drive.volume));
        if is_system_disk(&drive.pool, &drive.volume) || twice {
            Some(format!("volume {} of pool {} is attached twice", drive.volume, drive.pool))
        } else {
            None
        }
    })
}

fn check_same_disk(spec: &VmSpec, disk: Option<&Disk>) -> Result<(), Refusal> {
    let wished = &spec.system_disk;
    match disk {
        Some((pool, volume)) if (pool, volume) != (&wished.pool, &wished.volume) => {
            Err(Refusal::Invalid(format!(
                "VM {}: its system disk is volume {volume} of pool {pool} and cannot become volume {} of pool {}",
                spec.name, wished.volume, wished.pool
            )))
        }
        _ => Ok(()),
    }
}

fn check_free_disk(spec: &VmSpec, owner_of_disk: impl Fn(&Disk) -> Option<VmId>) -> Result<(), Refusal> {
    let disk = (spec.system_disk.pool.clone(), spec.system_disk.volume.clone());
    match owner_of_disk(&disk) {
        None => Ok(()),
        Some(owner) => Err(Refusal::Invalid(format!(
            "VM {}: volume {} of pool {} is the system disk of VM {owner}",
            spec.name, disk.1, disk.0
        ))),
    }
}

#[cfg(test)]
#[path = "request_policy_tests.rs"]
mod tests;
