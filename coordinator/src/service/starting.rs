//! Owns the start of a VM: admitted, placed, recorded, and only then told to its host.

use std::sync::Arc;

use log::Level;
use reeve_common::clock::Timestamp;
use reeve_common::ids::{ConfigurationName, VmId};
use reeve_common::logging::messages;
use reeve_common::mutation::Mutation;

use super::acting::acting_on;
use super::catalogue::{find_configuration, find_setup};
use super::core::{Core, VmVersion};
use super::placing::{Planned, choose};
use super::views::VmDetail;
use super::{Actor, Service, ServiceError};
use crate::config::CoordinatorConfig;
use crate::metrics::DecisionOutcome;
use crate::model::admission::{Parts, admit};
use crate::model::drive::Drive;
use crate::model::explanation::{HOSTS_KEPT, PlacementDecision};
use crate::model::vm::Vm;
use crate::model::vm_state::VmState;
use crate::records::{DECISIONS, Record, vm_key};
use crate::store::{Batch, Precondition, Version};

/// How many VMs may wait for a place. Beyond it a start is refused at once: whoever sends so many should look.
const WAITING_MAX: usize = 10_000;

impl Service {
    /// Starts a VM of a configuration. Returns as soon as the VM is durably placed, or durably waiting for a place.
    ///
    /// # Errors
    /// [`ServiceError`] when the configuration cannot be started as it is, a drive of it is in use, or the store fails.
    pub async fn start_vm(&self, name: &ConfigurationName, actor: &Actor) -> Result<VmDetail, ServiceError> {
        self.start_vm_as(VmId::random(), name, actor).await
    }

    /// The same under an id that was chosen before. The caller sees to it that no VM has had it.
    pub(super) async fn start_vm_as(
        &self,
        id: VmId,
        name: &ConfigurationName,
        actor: &Actor,
    ) -> Result<VmDetail, ServiceError> {
        let (vm, decision) = self.admit_and_hold(id, name)?;
        self.log_decision(&vm, &decision);
        acting_on(|| format!("vm {}", vm.name));
        if Mutation::AcknowledgeEarly.is_active() {
            self.core().mark_durable(id);
            let (service, actor) = (self.clone(), actor.clone());
            tokio::spawn(async move { service.record_start(id, vm, decision, &actor).await });
            return self.vm_detail(id);
        }
        self.record_start(id, vm, decision, actor).await
    }

    /// Makes a start durable, shows it and tells its host; what is held for it is given back if that fails.
    pub(super) async fn record_start(
        &self,
        id: VmId,
        vm: Vm,
        decision: PlacementDecision,
        actor: &Actor,
    ) -> Result<VmDetail, ServiceError> {
        match self.store_new(&vm, &decision).await {
            Ok(version) => {
                self.core().mark_durable(id);
                let (level, message) = match vm.state {
                    VmState::Unplaceable => (Level::Warn, messages::VM_UNPLACEABLE),
                    _ => (Level::Info, messages::VM_REQUESTED),
                };
                log::log!(level, MESSAGE_ID:% = message, REEVE_VM:% = id, REEVE_REALM:% = vm.realm,
                    REEVE_OWNER:% = vm.owner, REEVE_OPERATOR:% = actor.name;
                    "VM {} requested by {}: {}", vm.name, actor.name, vm.reason.as_deref().unwrap_or("placed"));
                self.show_vm(version, vm);
                self.tell(id);
                self.vm_detail(id)
            }
            Err(error) => {
                let mut core = self.core();
                if !Mutation::ForgetUndo.is_active() {
                    core.fleet.release(id);
                    core.drop_vm(id);
                }
                Err(error)
            }
        }
    }

    /// One step under the lock: everything looked up, drives found free, a host chosen, capacity and drives held.
    fn admit_and_hold(
        &self,
        id: VmId,
        name: &ConfigurationName,
    ) -> Result<(Vm, PlacementDecision), ServiceError> {
        let config = self.config();
        let now = self.now();
        let mut core = self.core_for_decisions();
        let vm = admitted(&core, &config, id, name, now)?;
        self.hold(&mut core, vm, None, now)
    }

    /// Takes a VM into the picture, not yet durable: its drives found free, its host chosen and its capacity held, or waiting.
    pub(super) fn hold(
        &self,
        core: &mut Core,
        vm: Vm,
        planned: Option<Planned>,
        now: Timestamp,
    ) -> Result<(Vm, PlacementDecision), ServiceError> {
        check_drives(core, &vm)?;
        let begun = self.monotonic();
        let took = || self.monotonic().saturating_duration_since(begun);
        let (vm, decision) = match choose(core, &vm, planned, now) {
            Some(placed) => {
                self.metrics().decided(DecisionOutcome::Placed, took(), []);
                placed
            }
            None => {
                check_waiting(core)?;
                let digest = core.fleet.digest(&vm.request, HOSTS_KEPT);
                let reasons = digest.refusals.iter().map(|refusal| &*refusal.reason);
                self.metrics().decided(DecisionOutcome::Unplaceable, took(), reasons);
                let decision = PlacementDecision { at: now, at_once: None, digest };
                let mut waiting = vm;
                waiting.enter(VmState::Unplaceable, Some(decision.words().refusal()), now);
                (waiting, decision)
            }
        };
        let current = VmVersion { version: Version::default(), vm: Arc::new(vm.clone()) };
        core.take_in(current, false);
        Ok((vm, decision))
    }

    async fn store_new(&self, vm: &Vm, decision: &PlacementDecision) -> Result<Version, ServiceError> {
        let text = decision.encode().map_err(|error| ServiceError::internal(error.to_string()))?;
        let batch = Batch::new().put(DECISIONS.key(&vm.id), Precondition::Any, text);
        self.write_vm(batch, vm, Precondition::Absent).await
    }

    /// Makes a VM's record durable together with the rest of a batch.
    pub(super) async fn write_vm(
        &self,
        batch: Batch,
        vm: &Vm,
        precondition: Precondition,
    ) -> Result<Version, ServiceError> {
        let internal = |error: String| ServiceError::internal(error);
        let text = vm.encode().map_err(|error| internal(error.to_string()))?;
        let key = vm_key(vm).map_err(|error| internal(error.to_string()))?;
        self.write(batch.put(key, precondition, text)).await
    }

    /// Shows a VM's record after it was made durable.
    pub(super) fn show_vm(&self, version: Version, vm: Vm) {
        self.core().show(VmVersion { version, vm: Arc::new(vm) });
    }
}

/// The VM that a configuration makes, with everything it names looked up. Nothing is held.
pub(super) fn admitted(
    core: &Core,
    config: &CoordinatorConfig,
    id: VmId,
    name: &ConfigurationName,
    now: Timestamp,
) -> Result<Vm, ServiceError> {
    let configuration = find_configuration(core, name)?;
    let setup = find_setup(core, &configuration.setup)?;
    let image = core
        .images
        .get(&setup.image)
        .map(|kept| Arc::clone(&kept.value))
        .ok_or_else(|| ServiceError::not_found("image", &setup.image, "reeve image list"))?;
    let drives = configuration
        .drives
        .iter()
        .map(|wanted| {
            core.drives
                .get(&wanted.drive)
                .map(|kept| Arc::clone(&kept.value))
                .ok_or_else(|| ServiceError::not_found("drive", &wanted.drive, "reeve drive list"))
        })
        .collect::<Result<Vec<Arc<Drive>>, ServiceError>>()?;
    let realm = config
        .realms
        .get(&setup.realm)
        .ok_or_else(|| ServiceError::not_found("realm", &setup.realm, "reeve realm list"))?;
    let borrowed: Vec<&Drive> = drives.iter().map(AsRef::as_ref).collect();
    let parts =
        Parts { configuration: &configuration, setup: &setup, image: &image, drives: &borrowed, realm };
    admit(id, parts, now).map_err(|error| ServiceError::conflict(error.to_string()))
}

/// One drive is written by one VM at most, and not read by another meanwhile.
fn check_drives(core: &Core, vm: &Vm) -> Result<(), ServiceError> {
    if Mutation::ShareDrives.is_active() {
        return Ok(());
    }
    for wanted in vm.definition.used_volumes() {
        let rival = core.holding().filter(|other| !other.state.is_final()).find(|other| {
            other.definition.used_volumes().any(|held| {
                held.pool == wanted.pool
                    && held.volume == wanted.volume
                    && other.realm == vm.realm
                    && !(held.read_only && wanted.read_only)
            })
        });
        if let Some(rival) = rival {
            return Err(ServiceError::conflict(format!(
                "drive {} is in use by VM {} ({})",
                wanted.volume, rival.name, rival.state
            ))
            .advise(format!("a drive has one writer: `reeve vm shutdown {}` first", rival.name)));
        }
    }
    Ok(())
}

fn check_waiting(core: &Core) -> Result<(), ServiceError> {
    let waiting = core.waiting().len();
    if waiting >= WAITING_MAX {
        return Err(ServiceError::unavailable(format!("{waiting} VMs are waiting for a place already"))
            .advise("`reeve vm list` shows them"));
    }
    Ok(())
}
