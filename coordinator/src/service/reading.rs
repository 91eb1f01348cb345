//! Owns what is read: realms, profiles, hosts and VMs as they are shown. Nothing here changes anything.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::ids::{HostId, HostName, RealmName, VmId};
use reeve_common::protocol::{CommandBody, ReplyBody};
use reeve_common::text::printable;
use reeve_scheduler::CostFunction;

use super::core::{Core, HostEntry, VmVersion};
use super::description::capacity;
use super::failing_over::wants_decision;
use super::fencing;
use super::lives::{Now, connection};
use super::views::{HostView, ProfileView, RealmView, VmDetail, VmLog, VmView};
use super::warnings::open_of;
use super::{Service, ServiceError};
use crate::config::{CoordinatorConfig, Realm};
use crate::model::discovery;
use crate::model::explanation::PlacementDecision;
use crate::model::vm::Vm;
use crate::model::vm_state::VmState;
use crate::records::{DECISIONS, Record};

/// How much console output is fetched: what fits a person's patience.
const CONSOLE_LENGTH_MAX: u32 = 64 * 1024;
/// How long an agent may take to fetch it.
const CONSOLE_PATIENCE: Duration = Duration::from_secs(10);

impl Service {
    /// All realms.
    #[must_use]
    pub fn realms(&self) -> Vec<RealmView> {
        let config = self.config();
        let core = self.core();
        config.realms.values().map(|realm| realm_view(&core, realm)).collect()
    }

    /// One realm.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none of this name.
    pub fn realm(&self, name: &RealmName) -> Result<RealmView, ServiceError> {
        let realm = self.known_realm(name)?;
        Ok(realm_view(&self.core(), &realm))
    }

    /// All hardware profiles.
    #[must_use]
    pub fn profiles(&self) -> Vec<ProfileView> {
        let config = self.config();
        let core = self.core();
        config
            .hardware_profiles
            .values()
            .map(|profile| ProfileView {
                profile: profile.clone(),
                capacity: profile.capacity(),
                hosts: core
                    .hosts
                    .values()
                    .filter(|entry| entry.kept.value.profile == profile.name)
                    .map(|entry| entry.kept.value.name.clone())
                    .collect(),
            })
            .collect()
    }

    /// All cost functions, the presets among them.
    #[must_use]
    pub fn cost_functions(&self) -> Vec<Arc<CostFunction>> {
        self.config().cost_functions.values().cloned().collect()
    }

    /// All hosts.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostView> {
        let config = self.config();
        let now = self.both_clocks();
        let core = self.core();
        core.hosts.values().map(|entry| host_view(&core, entry, &config, now)).collect()
    }

    /// One host.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none of this name.
    pub fn host(&self, name: &HostName) -> Result<HostView, ServiceError> {
        self.host_by_id(self.host_id(name)?)
    }

    pub(super) fn host_by_id(&self, id: HostId) -> Result<HostView, ServiceError> {
        let config = self.config();
        let now = self.both_clocks();
        let core = self.core();
        let entry =
            core.hosts.get(&id).ok_or_else(|| ServiceError::not_found("host", id, "reeve host list"))?;
        Ok(host_view(&core, entry, &config, now))
    }

    /// A host's name for logs.
    pub(super) fn host_label(&self, id: HostId) -> String {
        self.core().hosts.get(&id).map_or_else(|| id.to_string(), |entry| entry.kept.value.name.to_string())
    }

    /// The VMs whose life is not over, by the time they were asked for.
    #[must_use]
    pub fn vms(&self) -> Vec<VmView> {
        let config = self.config();
        let now = self.both_clocks();
        let core = self.core();
        let mut views: Vec<VmView> =
            core.living().map(|current| vm_view(&core, &config, now, current)).collect();
        views.sort_by_key(|view| (view.vm.requested_at, view.vm.id));
        views
    }

    /// The most recent VMs whose life is over, the latest first.
    #[must_use]
    pub fn past_vms(&self) -> Vec<VmView> {
        let config = self.config();
        let now = self.both_clocks();
        let core = self.core();
        core.past.iter().rev().map(|current| vm_view(&core, &config, now, current.clone())).collect()
    }

    /// One VM, by its id, a unique start of it, its name, or the name of a configuration with one VM.
    ///
    /// # Errors
    /// [`ServiceError`] when nothing or more than one thing is meant.
    pub async fn vm(&self, selector: &str) -> Result<VmDetail, ServiceError> {
        let id = self.select(selector)?;
        let mut detail = self.vm_detail(id)?;
        let stored = self
            .store()
            .get(&DECISIONS.key(&id))
            .await
            .map_err(|error| super::catalogue::store_failed(&error))?;
        detail.decision = match stored.map(|stored| PlacementDecision::decode(&stored)) {
            None => None,
            Some(Ok(decision)) => Some(decision),
            Some(Err(error)) => return Err(ServiceError::internal(crate::chain(&error))),
        };
        Ok(detail)
    }

    fn select(&self, selector: &str) -> Result<VmId, ServiceError> {
        let core = self.core();
        let fits = |current: &VmVersion| {
            let vm = &current.vm;
            vm.id.to_string() == selector || vm.name.as_str() == selector
        };
        if let Some(exact) = core.living().chain(core.past.iter().cloned()).find(fits) {
            return Ok(exact.vm.id);
        }
        let of_configuration: Vec<VmVersion> =
            core.living().filter(|current| is_run_of(&current.vm, selector)).collect();
        let mut meant = of_configuration;
        if meant.is_empty() && selector.len() >= ID_START_MIN {
            let starts = |current: &VmVersion| current.vm.id.to_string().starts_with(selector);
            meant = core.living().chain(core.past.iter().cloned()).filter(starts).collect();
        }
        if meant.is_empty() {
            let of_past = |current: &&VmVersion| is_run_of(&current.vm, selector);
            meant.extend(core.past.iter().rev().find(of_past).cloned());
        }
        match meant.as_slice() {
            [one] => Ok(one.vm.id),
            [] => Err(ServiceError::not_found("VM", printable(selector, 80), "reeve vm list")),
            many => {
                let names: Vec<&str> = many.iter().take(5).map(|current| current.vm.name.as_str()).collect();
                Err(ServiceError::conflict(format!(
                    "{} VMs are meant by {}: {}",
                    many.len(),
                    printable(selector, 80),
                    names.join(", ")
                ))
                .advise("name one of them"))
            }
        }
    }

    pub(super) fn vm_detail(&self, id: VmId) -> Result<VmDetail, ServiceError> {
        let config = self.config();
        let now = self.both_clocks();
        let core = self.core();
        let current = core.any_vm(id).ok_or_else(|| ServiceError::not_found("VM", id, "reeve vm list"))?;
        Ok(VmDetail { view: vm_view(&core, &config, now, current), decision: None })
    }

    /// Waits until a VM's record is newer than `after`, for `at_most`; answers it as it is then.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such VM.
    pub async fn vm_changed(&self, id: &VmId, after: u64, at_most: Duration) -> Result<VmView, ServiceError> {
        let receiver = self.core().vms().get(id).map(|entry| entry.current.subscribe());
        if let Some(mut receiver) = receiver {
            let newer = receiver.wait_for(|current| current.version.0 > after);
            // Time running out, and the VM leaving for the past, both mean: answer what is known now.
            let _ = tokio::time::timeout(at_most, newer).await;
        }
        Ok(self.vm_detail(*id)?.view)
    }

    /// A VM's story, and the end of its console's output.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such VM. That its console cannot be read is said in the answer.
    pub async fn vm_log(&self, id: &VmId) -> Result<VmLog, ServiceError> {
        let view = self.vm_detail(*id)?.view;
        let (console, console_problem) = match self.console(&view).await {
            Ok(bytes) => (Some(console_text(&bytes)), None),
            Err(problem) => (None, Some(problem)),
        };
        let hosts = self.hosts_of(&view.vm).into_iter().map(|(_, name)| name).collect();
        Ok(VmLog { view, hosts, console, console_problem })
    }

    async fn console(&self, view: &VmView) -> Result<Vec<u8>, String> {
        let Some((host, name)) = &view.host else { return Err("it was never on a host".to_owned()) };
        match view.vm.definition.made() {
            None => return Err("it was adopted, and where its console's output goes is not known".to_owned()),
            Some(spec) if !spec.console => {
                return Err("its setup does not keep the console's output: `debug { console = true }` would"
                    .to_owned());
            }
            Some(_) => {}
        }
        let Some(agent) = self.agent_of(*host) else { return Err(format!("host {name} is not connected")) };
        let body = CommandBody::ReadConsole { vm: view.vm.id, length_max: CONSOLE_LENGTH_MAX };
        match agent.ask(self, body, CONSOLE_PATIENCE).await {
            Ok(ReplyBody::Console(bytes)) => Ok(bytes),
            Ok(other) => Err(format!("host {name} answered something else: {other:?}")),
            Err(error) => Err(format!("host {name}: {error}")),
        }
    }
}

/// The fewest digits of an id by which a VM may be named.
const ID_START_MIN: usize = 4;

fn is_run_of(vm: &Vm, configuration: &str) -> bool {
    vm.configuration.as_ref().is_some_and(|name| name.as_str() == configuration)
}

/// Console output made safe for a terminal, line by line.
fn console_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace('\r', "");
    let lines: Vec<String> = text.split('\n').map(|line| printable(line, usize::MAX)).collect();
    lines.join("\n")
}

fn realm_view(core: &Core, realm: &Realm) -> RealmView {
    let hosts = || core.hosts.values().filter(|entry| entry.kept.value.realm == realm.key);
    RealmView {
        realm: realm.clone(),
        hosts: hosts().count(),
        connected_hosts: hosts().filter(|entry| entry.agent.is_some()).count(),
        vms: core.living().filter(|current| current.vm.realm == realm.key).count(),
        quotas: core.fleet.quota_standings(&realm.key),
    }
}

fn host_view(core: &Core, entry: &HostEntry, config: &CoordinatorConfig, now: Now) -> HostView {
    let host = &entry.kept.value;
    HostView {
        host: (**host).clone(),
        connection: connection(entry, config, now),
        usage: core.fleet.usage(host.id),
        inventory: entry.inventory.clone(),
        devices_found: entry
            .inventory
            .as_ref()
            .map(|inventory| discovery::devices_by_class(inventory, &config.device_classes))
            .unwrap_or_default(),
        sample: entry.sample.as_deref().cloned(),
        vms: core.living_on(host.id),
        foreign: entry.report.as_ref().map(|report| report.foreign.clone()).unwrap_or_default(),
        pools: entry.report.as_ref().map(|report| report.pools.clone()).unwrap_or_default(),
        hypervisor_reachable: entry
            .agent
            .as_ref()
            .and(entry.report.as_ref())
            .map(|report| report.hypervisor_reachable),
        fences: entry.fences.iter().rev().map(|kept| (*kept.value).clone()).collect(),
        can_be_fenced: fencing::means_of(entry, config).is_some(),
        stops_by_itself_at: entry.life.stops_by_itself_at().map(|at| now.shown(at)),
        standing_warnings: open_of(core, host.name.as_str()),
        warnings: warnings(entry, config),
    }
}

pub(super) fn warnings(entry: &HostEntry, config: &CoordinatorConfig) -> Vec<String> {
    let host = &entry.kept.value;
    let mut warnings = Vec::new();
    if let Some(why) = &entry.refused {
        warnings.push(format!("its agent was turned away: {why}"));
    }
    match config.hardware_profiles.get(&host.profile) {
        None => warnings.push(format!("its hardware profile {} is not in the configuration", host.profile)),
        Some(profile) => {
            let (_, shortfalls) = capacity(entry, profile, config);
            warnings.extend(shortfalls.iter().map(ToString::to_string));
        }
    }
    if entry.report.as_ref().is_some_and(|report| !report.hypervisor_reachable) {
        warnings.push(
            "its agent cannot reach libvirt: see the agent's log, and whether libvirtd runs".to_owned(),
        );
    }
    if entry.life.is_connected()
        && config.realms.get(&host.realm).is_some_and(|realm| realm.lease.is_some())
        && entry.life.lacks_watchdog()
    {
        warnings.push(
            "no watchdog stands behind its lease: it is not eligible for starting its VMs elsewhere by self-fencing"
                .to_owned(),
        );
    }
    if !entry.unmanaged.is_empty() {
        warnings.push(format!("it runs {} VMs of reeve that no record knows", entry.unmanaged.len()));
    }
    warnings
}

/// A VM's state as far as it can be known now: *unknown* where its host is lost, or does not reach its libvirt.
pub(super) fn shown_state(core: &Core, config: &CoordinatorConfig, now: Now, vm: &Vm) -> VmState {
    let Some(entry) = vm.host.and_then(|host| core.hosts.get(&host)) else { return vm.state };
    let lost = connection(entry, config, now).is_lost();
    // A domain of its id that does not carry our ledger is somebody's doing, and nothing is known of the VM.
    let blind = entry.report.as_ref().is_some_and(|report| {
        !report.hypervisor_reachable
            || (vm.state != VmState::Placed && report.foreign.iter().any(|domain| domain.id == vm.id))
    });
    if !vm.state.is_final() && (lost || blind) { VmState::Unknown } else { vm.state }
}

fn vm_view(core: &Core, config: &CoordinatorConfig, now: Now, current: VmVersion) -> VmView {
    let entry = current.vm.host.and_then(|host| core.hosts.get(&host));
    let lost = entry.is_some_and(|entry| connection(entry, config, now).is_lost());
    let state = shown_state(core, config, now, &current.vm);
    let decision_wanted = !state.is_final() && lost && wants_decision(core, config, &current.vm);
    VmView {
        state,
        decision_wanted,
        host: current.vm.host.map(|host| {
            (host, entry.map_or_else(|| deleted_host_name(host), |entry| entry.kept.value.name.clone()))
        }),
        version: current.version.0,
        vm: current.vm,
    }
}

/// What a host is called that was deleted after its VM was over.
fn deleted_host_name(host: HostId) -> HostName {
    #[allow(clippy::expect_used)] // letters, a dash and digits are a name
    HostName::new(format!("deleted-{host}")).expect("a good name")
}
