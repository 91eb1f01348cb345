//! Owns the hosts' changes: added, given a state, deleted.

use std::sync::Arc;

use reeve_common::ids::{HostId, HostName, RealmName};
use reeve_scheduler::HostState;

use super::acting::acting_on;
use super::catalogue::{check_labels, check_text, in_use, taken};
use super::core::{HostEntry, Kept};
use super::simulating::find_host;
use super::views::HostView;
use super::{Actor, Service, ServiceError};
use crate::config::Realm;
use crate::model::host::{Host, NewHost};
use crate::records::{HOST_COUNTER, Record, host_key};
use crate::store::{Batch, Precondition, next_id};

impl Service {
    /// Adds a host. Its agent joins with a token afterwards.
    ///
    /// # Errors
    /// [`ServiceError`] when the name is taken, the realm or profile unknown, or the store fails.
    pub async fn add_host(&self, new: NewHost, actor: &Actor) -> Result<HostView, ServiceError> {
        check_text("uri", &new.uri)?;
        check_labels(&new.labels)?;
        let _writer = self.inner.catalogue_writer.lock().await;
        self.known_realm(&new.realm)?;
        let config = self.config();
        if !config.hardware_profiles.contains_key(&new.profile) {
            return Err(ServiceError::not_found("hardware profile", &new.profile, "reeve profile list"));
        }
        if self.core().host_named(&new.name).is_some() {
            return Err(taken("host", &new.name));
        }
        let number = next_id(self.store(), HOST_COUNTER)
            .await
            .map_err(|error| ServiceError::internal(crate::chain(&error)))?;
        let number =
            u32::try_from(number).map_err(|_| ServiceError::internal("no more hosts can be numbered"))?;
        let host = Host {
            id: HostId(number),
            name: new.name,
            realm: new.realm,
            uri: new.uri,
            profile: new.profile,
            state: new.state,
            labels: new.labels,
            added_at: self.now(),
            joined_at: None,
            draining: false,
        };
        let id = host.id;
        acting_on(|| format!("host {}", host.name));
        let kept = self.insert(host_key(id), host, "host", actor).await?;
        let now = self.steady_now();
        self.core().hosts.insert(id, HostEntry::new(kept, now));
        self.describe_host(id);
        self.host_by_id(id)
    }

    /// Gives a host another state.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such host or the store fails.
    pub async fn set_host_state(
        &self,
        name: &HostName,
        state: HostState,
        actor: &Actor,
    ) -> Result<HostView, ServiceError> {
        let id = self.host_id(name)?;
        self.change_host(id, |host| host.state = state).await?;
        log::info!(REEVE_HOST:% = name, REEVE_OPERATOR:% = actor.name; "host {name} is {state} now, by {}", actor.name);
        self.describe_host(id);
        // A host that may be spoken to again hears what was wished meanwhile.
        self.tell_host_everything(id);
        self.inner.fleet_changed.notify_one();
        self.host_by_id(id)
    }

    /// Deletes a host. Its agent is cut off at once, and its certificate opens nothing any more.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such host, a VM is on it, or the store fails.
    pub async fn delete_host(&self, name: &HostName, actor: &Actor) -> Result<(), ServiceError> {
        let _writer = self.inner.catalogue_writer.lock().await;
        let id = self.host_id(name)?;
        // From here on nothing new is placed there, also when it reports while this is being written; what is being placed
        // right now is seen below.
        self.set_leaving(id, true);
        let found = {
            let core = self.core();
            let vm = core.holding().find(|vm| vm.host == Some(id) && !vm.state.is_final());
            let vm = vm.map(|vm| vm.name.to_string());
            let vm = vm.or_else(|| core.arriving_on(id).map(|vm| vm.to_string()));
            let version = core.hosts.get(&id).map(|entry| entry.kept.version);
            (vm, version)
        };
        let (vm, Some(version)) = found else {
            return Err(ServiceError::not_found("host", name, "reeve host list"));
        };
        if let Some(vm) = vm {
            self.restore_host(id);
            return Err(in_use("host", name, "VM", vm, "reeve vm shutdown"));
        }
        if let Err(error) = self.remove(host_key(id), version, "host", actor).await {
            self.restore_host(id);
            return Err(error);
        }
        let entry = self.core().hosts.remove(&id);
        if let Some(entry) = &entry {
            self.remove_fences(&entry.fences).await;
        }
        if let Some(agent) = entry.and_then(|entry| entry.agent) {
            agent.cut_off("this host was deleted");
        }
        Ok(())
    }

    fn set_leaving(&self, id: HostId, leaving: bool) {
        if let Some(entry) = self.core().hosts.get_mut(&id) {
            entry.leaving = leaving;
        }
        self.describe_host(id);
    }

    /// Puts a host back into the scheduler's picture together with what is on it.
    fn restore_host(&self, id: HostId) {
        self.set_leaving(id, false);
        let mut core = self.core();
        let on_it: Vec<_> = core.holding().filter(|vm| vm.host == Some(id) && vm.holds_capacity()).collect();
        for vm in on_it {
            core.fleet.restore_with(vm.id, id, &vm.request, &vm.assignment);
        }
    }

    /// Changes a host's record and makes it durable.
    pub(super) async fn change_host(
        &self,
        id: HostId,
        change: impl FnOnce(&mut Host),
    ) -> Result<(), ServiceError> {
        let _writer = self.inner.catalogue_writer.lock().await;
        let Some(kept) = self.core().hosts.get(&id).map(|entry| entry.kept.clone()) else {
            return Err(ServiceError::not_found("host", id, "reeve host list"));
        };
        let mut host = Host::clone(&kept.value);
        change(&mut host);
        if host == *kept.value {
            return Ok(());
        }
        let text = host.encode().map_err(|error| ServiceError::internal(error.to_string()))?;
        let version =
            self.write(Batch::new().put(host_key(id), Precondition::At(kept.version), text)).await?;
        if let Some(entry) = self.core().hosts.get_mut(&id) {
            entry.kept = Kept { version, value: Arc::new(host) };
        }
        Ok(())
    }

    pub(super) fn host_id(&self, name: &HostName) -> Result<HostId, ServiceError> {
        find_host(&self.core(), name)
    }

    /// The realm of this name in the configuration in force.
    pub(super) fn known_realm(&self, name: &RealmName) -> Result<Realm, ServiceError> {
        self.config()
            .realms
            .get(name)
            .cloned()
            .ok_or_else(|| ServiceError::not_found("realm", name, "reeve realm list"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reeve_common::ids::HostName;
    use tokio::sync::Semaphore;

    use super::super::workflows_tests::{Stage, name};
    use crate::store::{Batch, Key, MemoryStore, Store, StoreFuture, Stored, Version, Watch};

    /// A store that writes when it is let.
    #[derive(Debug)]
    struct Gated {
        inner: Arc<MemoryStore>,
        gate: Semaphore,
    }

    impl Store for Gated {
        fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Stored>> {
            self.inner.get(key)
        }

        fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<Stored>> {
            self.inner.list(prefix)
        }

        fn apply(&self, batch: Batch) -> StoreFuture<'_, Version> {
            Box::pin(async move {
                let _pass = self.gate.acquire().await.unwrap();
                self.inner.apply(batch).await
            })
        }

        fn watch<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Watch> {
            self.inner.watch(prefix)
        }
    }

    #[tokio::test]
    async fn a_host_that_reports_while_it_is_deleted_is_not_chosen_again() {
        let stage = Stage::with_vms(1).await;
        let store = Arc::new(Gated { inner: stage.store().await, gate: Semaphore::new(1) });
        let service = stage.open(Arc::clone(&store) as Arc<dyn Store>).await;
        let node_2 = service.host_id(&name::<HostName>("node-2")).unwrap();
        let shut = store.gate.acquire().await.unwrap();
        let (deleting, actor) = (service.clone(), stage.actor.clone());
        let deletion =
            tokio::spawn(async move { deleting.delete_host(&name::<HostName>("node-2"), &actor).await });
        while !service.core().hosts[&node_2].leaving {
            tokio::task::yield_now().await;
        }
        service.describe_host(node_2);
        assert!(service.core().fleet.usage(node_2).is_none(), "it would be chosen again");
        drop(shut);
        deletion.await.unwrap().unwrap();
        assert!(service.core().fleet.usage(node_2).is_none());
        // One that cannot be deleted is chosen again.
        let refused = service.delete_host(&name::<HostName>("node-1"), &stage.actor).await.unwrap_err();
        assert!(refused.message.contains("VM"), "{refused}");
        let node_1 = service.host_id(&name::<HostName>("node-1")).unwrap();
        assert_eq!(service.core().fleet.usage(node_1).unwrap().vms, 1);
    }
}
