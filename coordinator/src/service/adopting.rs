//! Owns domains that nobody manages: which there are, how one becomes a VM of ours without a restart, and how it is given
//! back.
//!
//! ```text
//!   asked ─▶ its host describes it ─▶ checked ─▶ record and capacity, durable ─▶ its host is told ─▶ running, ours
//!                                                                                   └─ refused: the record ends
//! ```
//!
//! Must not: tell a host before the record is durable, or count what a domain takes twice.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::ids::{HostId, HostName, VmId};
use reeve_common::protocol::{CommandBody, ReplyBody};
use reeve_common::vm::{DomainDescription, ForeignDomain};

use super::acting::acting_on;
use super::catalogue::{check_text, store_failed};
use super::core::{Core, VmVersion};
use super::description::describe_in;
use super::views::{VmDetail, VmView};
use super::{Actor, Service, ServiceError};
use crate::model::adoption::{AdoptionError, NewOwner, adopt, check_against};
use crate::model::host::may_be_told;
use crate::model::image::Image;
use crate::model::vm::Vm;
use crate::model::vm_life;
use crate::records::PAST_VMS;
use crate::store::{Batch, Precondition, Version};

/// How long an agent has to look at one domain.
const DESCRIPTION_PATIENCE: Duration = Duration::from_secs(10);

/// A domain that nobody manages.
#[derive(Debug, Clone)]
pub struct UnmanagedDomain {
    /// Where it is.
    pub host: HostName,
    /// What its host reports of it.
    pub domain: ForeignDomain,
    /// Why it cannot be adopted, as far as is known before it is looked at closely.
    pub obstacle: Option<String>,
}

impl Service {
    /// The domains that nobody manages, as their hosts last reported them, by host and name.
    #[must_use]
    pub fn unmanaged_domains(&self) -> Vec<UnmanagedDomain> {
        let core = self.core();
        let mut found = Vec::new();
        for entry in core.hosts.values() {
            let host = &entry.kept.value;
            let reported = entry.report.iter().flat_map(|report| &report.foreign);
            for domain in reported {
                let obstacle = match &domain.obstacle {
                    _ if core.vms().contains_key(&domain.id) => {
                        Some("it is a VM of reeve whose ledger was removed or spoilt".to_owned())
                    }
                    Some(obstacle) => Some(obstacle.to_string()),
                    None if !may_be_told(host.state) => {
                        Some("its host is disabled, and left alone".to_owned())
                    }
                    None if entry.agent.is_none() => Some("its host is not connected".to_owned()),
                    None => core
                        .holding()
                        .find(|vm| vm.name.as_str() == domain.name)
                        .map(|vm| AdoptionError::NameTaken(vm.name.clone()).to_string()),
                };
                found.push(UnmanagedDomain { host: host.name.clone(), domain: domain.clone(), obstacle });
            }
        }
        found.sort_by(|a, b| (&a.host, &a.domain.name).cmp(&(&b.host, &b.domain.name)));
        found
    }

    /// Makes a domain that nobody manages a VM of ours, where it runs and as it is. Returns as soon as that is durable.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such host or domain, the host cannot be asked, something stands against it, or the
    /// store fails.
    pub async fn adopt_vm(
        &self,
        host_name: &HostName,
        domain: &str,
        whose: NewOwner,
        actor: &Actor,
    ) -> Result<VmDetail, ServiceError> {
        acting_on(|| format!("domain {} of host {host_name}", reeve_common::text::printable(domain, 80)));
        check_text("owner", &whose.owner)?;
        check_text("team", &whose.team)?;
        check_text("project", whose.project.as_deref().unwrap_or_default())?;
        check_text("title", whose.title.as_deref().unwrap_or_default())?;
        let host = self.host_id(host_name)?;
        let id = self.find_unmanaged(host, host_name, domain)?;
        let description = self.describe_domain(host, host_name, id).await?;
        let realm = self
            .realm_of(host)
            .ok_or_else(|| ServiceError::not_found("host", host_name, "reeve host list"))?;
        self.known_realm(&realm)?;
        let refused = |error: AdoptionError| {
            ServiceError::conflict(format!("domain {domain} of host {host_name} cannot be adopted: {error}"))
                .advise("`reeve vm list --unmanaged` shows the domains that can")
        };
        let vm = adopt(&description, host, &realm, whose, self.now()).map_err(refused)?;
        let earlier = self.earlier_record(id).await?;
        self.hold_adopted(&vm).map_err(refused)?;
        let batch = earlier.into_iter().fold(Batch::new(), |batch, (key, version)| {
            // What was adopted, is over and is adopted again has one record: that of now.
            batch.delete(key, Precondition::At(version))
        });
        match self.write_vm(batch, &vm, Precondition::Absent).await {
            Ok(version) => {
                let mut core = self.core();
                core.mark_durable(id);
                core.past.retain(|past| past.vm.id != id);
                drop(core);
                log::info!(REEVE_VM:% = id, REEVE_HOST:% = host_name, REEVE_REALM:% = realm, REEVE_OPERATOR:% = actor.name;
                    "the domain {} of host {host_name} is adopted as a VM of {}, by {}", vm.name, vm.owner, actor.name);
                self.show_vm(version, vm);
                self.tell(id);
                self.vm_detail(id)
            }
            Err(error) => {
                let mut core = self.core();
                core.fleet.release(id);
                core.drop_vm(id);
                drop(core);
                self.describe_host(host);
                Err(error)
            }
        }
    }

    /// Gives a VM that was adopted back as it is: it runs on, and is nobody's of ours.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such VM, it was not adopted, or it is to stop already.
    pub async fn release_vm(&self, id: &VmId, actor: &Actor) -> Result<VmView, ServiceError> {
        let view = self.vm_detail(*id)?.view;
        let vm = &view.vm;
        acting_on(|| format!("vm {}", vm.name));
        if !vm.definition.is_adopted() {
            return Err(ServiceError::conflict(format!(
                "VM {} was made by reeve, with a disk that goes with it",
                vm.name
            ))
            .advise("only what was adopted can be released"));
        }
        if vm.state.is_final() || vm.wish != crate::model::vm::Wish::Run {
            return Err(ServiceError::conflict(format!("VM {} is {} already", vm.name, vm.state)));
        }
        log::info!(REEVE_VM:% = id, REEVE_OPERATOR:% = actor.name;
            "VM {} is released and runs on unmanaged, by {}", vm.name, actor.name);
        self.change_vm(*id, vm_life::wish_release).await?;
        Ok(self.vm_detail(*id)?.view)
    }

    /// The domain of a host that is meant by its name or id.
    fn find_unmanaged(&self, host: HostId, host_name: &HostName, domain: &str) -> Result<VmId, ServiceError> {
        let core = self.core();
        let entry = core.hosts.get(&host);
        let reported = entry.and_then(|entry| entry.report.as_ref()).map(|report| &report.foreign);
        let is_meant = |foreign: &&ForeignDomain| foreign.name == domain || foreign.id.to_string() == domain;
        let Some(found) = reported.into_iter().flatten().find(is_meant) else {
            let shown = reeve_common::text::printable(domain, 80);
            let is_ours = |vm: &Arc<Vm>| vm.host == Some(host) && vm.name.as_str() == domain;
            if core.holding().any(|vm| is_ours(&vm)) {
                return Err(ServiceError::conflict(format!(
                    "{shown} of host {host_name} is a VM of reeve already"
                )));
            }
            return Err(ServiceError::not_found(
                "unmanaged domain",
                format!("{shown} on host {host_name}"),
                "reeve vm list --unmanaged",
            ));
        };
        if core.vms().contains_key(&found.id) {
            return Err(ServiceError::conflict(format!(
                "the domain {} of host {host_name} is a VM of reeve whose ledger was removed or spoilt",
                found.name
            ))
            .advise(format!("`reeve vm show {}` shows it", found.id)));
        }
        Ok(found.id)
    }

    async fn describe_domain(
        &self,
        host: HostId,
        host_name: &HostName,
        id: VmId,
    ) -> Result<DomainDescription, ServiceError> {
        let agent = self.agent_to_ask(host, host_name)?;
        match agent.ask(self, CommandBody::DescribeDomain { domain: id }, DESCRIPTION_PATIENCE).await? {
            ReplyBody::Domain(Some(description)) => Ok(*description),
            ReplyBody::Domain(None) => Err(ServiceError::conflict(format!(
                "the domain {id} of host {host_name} is gone, or has become a VM of reeve"
            ))),
            other => {
                Err(ServiceError::internal(format!("host {host_name} answered something else: {other:?}")))
            }
        }
    }

    /// The record of an earlier life of the same domain under reeve, which is over.
    async fn earlier_record(&self, id: VmId) -> Result<Option<(crate::store::Key, Version)>, ServiceError> {
        let past = self.store().list(PAST_VMS.prefix()).await.map_err(|error| store_failed(&error))?;
        let ending = format!("-{id}");
        let earlier = past.into_iter().find(|stored| stored.key.as_str().ends_with(&ending));
        Ok(earlier.map(|stored| (stored.key, stored.version)))
    }

    /// One step under the lock: nothing stands against it, and what it takes moves from one account to the other.
    fn hold_adopted(&self, vm: &Vm) -> Result<(), AdoptionError> {
        let (config, now) = (self.config(), self.steady_now());
        let mut core = self.core_for_decisions();
        if core.vms().contains_key(&vm.id) {
            return Err(AdoptionError::NameTaken(vm.name.clone()));
        }
        let others: Vec<Arc<Vm>> = core.holding().collect();
        let images: Vec<Arc<Image>> = core.images.values().map(|kept| Arc::clone(&kept.value)).collect();
        if let Some(realm) = config.realms.get(&vm.realm) {
            let (others, images) = (others.iter().map(AsRef::as_ref), images.iter().map(AsRef::as_ref));
            check_against(vm, others, images, &realm.bricks_pool)?;
        }
        let current = VmVersion { version: Version::default(), vm: Arc::new(vm.clone()) };
        let core: &mut Core = &mut core;
        core.take_in(current, false);
        if let Some(host) = vm.host {
            describe_in(core, host, &config, now);
            core.fleet.restore(vm.id, host, &vm.request);
        }
        Ok(())
    }
}
