//! Owns the catalogue's changes: images, hardware setups and VM configurations are made and deleted here. Each change
//! is checked against what it refers to, and what still refers to a thing keeps it from being deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use reeve_common::device::DeviceSelector;
use reeve_common::ids::{ConfigurationName, DeviceClass, ImageName, SetupName};
use reeve_common::logging::messages;
use reeve_common::text::{TEXT_LENGTH_MAX, is_printable};
use reeve_scheduler::Companions;

use super::acting::acting_on;
use super::core::{Core, Kept};
use super::{Actor, Service, ServiceError};
use crate::config::CoordinatorConfig;
use crate::model::configuration::Configuration;
use crate::model::failover::PRIORITY_MAX;
use crate::model::image::Image;
use crate::model::setup::Setup;
use crate::model::setup_problem::label_path;
use crate::records::{CONFIGURATIONS, IMAGES, Record, SETUPS};
use crate::store::{Batch, Key, Precondition, StoreError, Version};

impl Service {
    /// All images.
    #[must_use]
    pub fn images(&self) -> Vec<Arc<Image>> {
        self.core().images.values().map(|kept| Arc::clone(&kept.value)).collect()
    }

    /// One image.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none of this name.
    pub fn image(&self, name: &ImageName) -> Result<Arc<Image>, ServiceError> {
        let core = self.core();
        let kept = core
            .images
            .get(name)
            .ok_or_else(|| ServiceError::not_found("image", name, "reeve image list"))?;
        Ok(Arc::clone(&kept.value))
    }

    /// Makes an image known.
    ///
    /// # Errors
    /// [`ServiceError`] when the name or the volume is taken, the realm unknown, or the store fails.
    pub async fn create_image(&self, image: Image, actor: &Actor) -> Result<Arc<Image>, ServiceError> {
        check_text("operating-system", &image.operating_system)?;
        let _writer = self.inner.catalogue_writer.lock().await;
        self.known_realm(&image.realm)?;
        {
            let core = self.core();
            if core.images.contains_key(&image.name) {
                return Err(taken("image", &image.name));
            }
            let same =
                |kept: &&Kept<Image>| kept.value.realm == image.realm && kept.value.volume == image.volume;
            if let Some(other) = core.images.values().find(same) {
                return Err(ServiceError::conflict(format!(
                    "volume {} of realm {} is image {} already",
                    image.volume, image.realm, other.value.name
                ))
                .advise("there is at most one image per volume: copy the volume, or use that image"));
            }
        }
        let kept = self.insert(IMAGES.key(&image.name), image, "image", actor).await?;
        let value = Arc::clone(&kept.value);
        self.core().images.insert(value.name.clone(), kept);
        Ok(value)
    }

    /// Forgets an image; its volume stays.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none, a setup uses it, or the store fails.
    pub async fn delete_image(&self, name: &ImageName, actor: &Actor) -> Result<(), ServiceError> {
        let _writer = self.inner.catalogue_writer.lock().await;
        let version = {
            let core = self.core();
            let kept = core
                .images
                .get(name)
                .ok_or_else(|| ServiceError::not_found("image", name, "reeve image list"))?;
            if let Some(setup) = core.setups.values().find(|setup| setup.value.image == *name) {
                return Err(in_use("image", name, "setup", &setup.value.name, "reeve setup delete"));
            }
            kept.version
        };
        self.remove(IMAGES.key(name), version, "image", actor).await?;
        self.core().images.remove(name);
        Ok(())
    }

    /// All hardware setups.
    #[must_use]
    pub fn setups(&self) -> Vec<Arc<Setup>> {
        self.core().setups.values().map(|kept| Arc::clone(&kept.value)).collect()
    }

    /// One hardware setup.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none of this name.
    pub fn setup(&self, name: &SetupName) -> Result<Arc<Setup>, ServiceError> {
        find_setup(&self.core(), name)
    }

    /// Makes a hardware setup.
    ///
    /// # Errors
    /// [`ServiceError`] when it contradicts itself, refers to what is not there or is elsewhere, or the store fails.
    pub async fn create_setup(&self, setup: Setup, actor: &Actor) -> Result<Arc<Setup>, ServiceError> {
        let problems = setup.problems();
        if !problems.is_empty() {
            let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
            return Err(ServiceError::invalid(format!("setup {}: {}", setup.name, words.join("; "))));
        }
        check_labels(&setup.labels)?;
        check_placement_rules(&setup)?;
        known_devices(&setup, &self.config())?;
        let _writer = self.inner.catalogue_writer.lock().await;
        self.known_realm(&setup.realm)?;
        {
            let core = self.core();
            known_companions(&setup, &core)?;
            if core.setups.contains_key(&setup.name) {
                return Err(taken("setup", &setup.name));
            }
            let image = core
                .images
                .get(&setup.image)
                .ok_or_else(|| ServiceError::not_found("image", &setup.image, "reeve image list"))?;
            if image.value.realm != setup.realm {
                return Err(ServiceError::conflict(format!(
                    "image {} is in realm {}, and the setup in realm {}",
                    setup.image, image.value.realm, setup.realm
                ))
                .advise("realms never mix: make an image in the setup's realm"));
            }
        }
        let kept = self.insert(SETUPS.key(&setup.name), setup, "setup", actor).await?;
        let value = Arc::clone(&kept.value);
        self.core().setups.insert(value.name.clone(), kept);
        self.apply_catalogue(&value.realm);
        Ok(value)
    }

    /// Deletes a hardware setup.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none, a configuration uses it, or the store fails.
    pub async fn delete_setup(&self, name: &SetupName, actor: &Actor) -> Result<(), ServiceError> {
        let _writer = self.inner.catalogue_writer.lock().await;
        let (version, realm) = {
            let core = self.core();
            let kept = core
                .setups
                .get(name)
                .ok_or_else(|| ServiceError::not_found("setup", name, "reeve setup list"))?;
            if let Some(user) = core.configurations.values().find(|user| user.value.setup == *name) {
                return Err(in_use("setup", name, "configuration", &user.value.name, "reeve config delete"));
            }
            (kept.version, kept.value.realm.clone())
        };
        self.remove(SETUPS.key(name), version, "setup", actor).await?;
        self.core().setups.remove(name);
        self.apply_catalogue(&realm);
        Ok(())
    }

    /// All VM configurations.
    #[must_use]
    pub fn configurations(&self) -> Vec<Arc<Configuration>> {
        self.core().configurations.values().map(|kept| Arc::clone(&kept.value)).collect()
    }

    /// One VM configuration.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none of this name.
    pub fn configuration(&self, name: &ConfigurationName) -> Result<Arc<Configuration>, ServiceError> {
        find_configuration(&self.core(), name)
    }

    /// Makes a VM configuration.
    ///
    /// # Errors
    /// [`ServiceError`] when it refers to what is not there or not its owner's, or the store fails.
    pub async fn create_configuration(
        &self,
        configuration: Configuration,
        actor: &Actor,
    ) -> Result<Arc<Configuration>, ServiceError> {
        check_text("title", &configuration.title)?;
        check_text("owner", &configuration.owner)?;
        check_text("team", &configuration.team)?;
        check_text("project", configuration.project.as_deref().unwrap_or_default())?;
        if configuration.priority > PRIORITY_MAX {
            return Err(ServiceError::invalid(format!(
                "`priority` is {}, and at most {PRIORITY_MAX} is allowed",
                configuration.priority
            )));
        }
        let _writer = self.inner.catalogue_writer.lock().await;
        {
            let core = self.core();
            if core.configurations.contains_key(&configuration.name) {
                return Err(taken("configuration", &configuration.name));
            }
            let setup = find_setup(&core, &configuration.setup)?;
            for wanted in &configuration.drives {
                let drive = core
                    .drives
                    .get(&wanted.drive)
                    .ok_or_else(|| ServiceError::not_found("drive", &wanted.drive, "reeve drive list"))?;
                if drive.value.realm != setup.realm || drive.value.owner != configuration.owner {
                    return Err(ServiceError::conflict(format!(
                        "drive {} is {}'s in realm {}, and the configuration {}'s in realm {}",
                        wanted.drive, drive.value.owner, drive.value.realm, configuration.owner, setup.realm
                    ))
                    .advise("a configuration uses its owner's drives of its own realm"));
                }
            }
        }
        let key = CONFIGURATIONS.key(&configuration.name);
        let kept = self.insert(key, configuration, "configuration", actor).await?;
        let value = Arc::clone(&kept.value);
        self.core().configurations.insert(value.name.clone(), kept);
        Ok(value)
    }

    /// Deletes a VM configuration.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none, a VM of it is not over, or the store fails.
    pub async fn delete_configuration(
        &self,
        name: &ConfigurationName,
        actor: &Actor,
    ) -> Result<(), ServiceError> {
        let _writer = self.inner.catalogue_writer.lock().await;
        let version = {
            let core = self.core();
            let kept = core
                .configurations
                .get(name)
                .ok_or_else(|| ServiceError::not_found("configuration", name, "reeve config list"))?;
            if let Some(vm) = core.holding().find(|vm| vm.configuration.as_ref() == Some(name)) {
                return Err(in_use("configuration", name, "VM", &vm.name, "reeve vm shutdown"));
            }
            kept.version
        };
        self.remove(CONFIGURATIONS.key(name), version, "configuration", actor).await?;
        self.core().configurations.remove(name);
        Ok(())
    }

    /// Stores a new record.
    pub(super) async fn insert<T: Record>(
        &self,
        key: Key,
        value: T,
        what: &str,
        actor: &Actor,
    ) -> Result<Kept<T>, ServiceError> {
        acting_on(|| format!("{what} {}", key.last_segment()));
        let text = value.encode().map_err(|error| ServiceError::internal(error.to_string()))?;
        let version = self.write(Batch::new().put(key.clone(), Precondition::Absent, text)).await?;
        log::info!(REEVE_OPERATOR:% = actor.name; "{what} {} created by {}", key.last_segment(), actor.name);
        Ok(Kept { version, value: Arc::new(value) })
    }

    /// Removes a record.
    pub(super) async fn remove(
        &self,
        key: Key,
        version: Version,
        what: &str,
        actor: &Actor,
    ) -> Result<(), ServiceError> {
        self.write(Batch::new().delete(key.clone(), Precondition::At(version))).await?;
        log::info!(REEVE_OPERATOR:% = actor.name; "{what} {} deleted by {}", key.last_segment(), actor.name);
        Ok(())
    }
}

/// A store's no as ours.
pub(super) fn store_failed(error: &StoreError) -> ServiceError {
    let chain = crate::chain(error);
    log::error!(MESSAGE_ID:% = messages::STORE_REFUSED; "the store refused a change: {chain}");
    if error.is_retryable() {
        ServiceError::unavailable(chain).advise("nothing was changed; try again")
    } else if matches!(error, StoreError::Conflict(_)) {
        ServiceError::conflict(chain)
            .advise("it was changed by somebody else meanwhile; look at it and try again")
    } else if matches!(error, StoreError::Deposed { .. }) {
        ServiceError::unavailable(chain).advise("ask the coordinator that has taken over")
    } else {
        ServiceError::internal(chain).advise("see `journalctl -u reeve-coordinator`")
    }
}

pub(super) fn find_setup(core: &Core, name: &SetupName) -> Result<Arc<Setup>, ServiceError> {
    let kept =
        core.setups.get(name).ok_or_else(|| ServiceError::not_found("setup", name, "reeve setup list"))?;
    Ok(Arc::clone(&kept.value))
}

pub(super) fn find_configuration(
    core: &Core,
    name: &ConfigurationName,
) -> Result<Arc<Configuration>, ServiceError> {
    let kept = core
        .configurations
        .get(name)
        .ok_or_else(|| ServiceError::not_found("configuration", name, "reeve config list"))?;
    Ok(Arc::clone(&kept.value))
}

pub(super) fn taken(what: &str, name: impl std::fmt::Display) -> ServiceError {
    ServiceError::conflict(format!("there is a {what} {name} already"))
        .advise("choose another name, or delete it first")
}

pub(super) fn in_use(
    what: &str,
    name: impl std::fmt::Display,
    user: &str,
    by: impl std::fmt::Display,
    command: &str,
) -> ServiceError {
    ServiceError::conflict(format!("{what} {name} is used by {user} {by}"))
        .advise(format!("`{command} {by}` comes first"))
}

/// The texts in a setup's rules about where its VMs may live.
fn check_placement_rules(setup: &Setup) -> Result<(), ServiceError> {
    for rule in &setup.host_labels {
        check_text("host-labels", &rule.key)?;
        rule.values.iter().try_for_each(|value| check_text(&label_path(rule), value))?;
    }
    setup.affinity.iter().try_for_each(|rule| match &rule.companions {
        Companions::Label { key, value } => {
            check_text("affinity", key).and_then(|()| check_text("affinity", value))
        }
        Companions::Owner | Companions::Team | Companions::Vm(_) => Ok(()),
    })
}

/// A class that no hardware profile has and nobody declares is a mistyped one: its VMs would wait for ever.
fn known_devices(setup: &Setup, config: &CoordinatorConfig) -> Result<(), ServiceError> {
    let known: BTreeSet<&DeviceClass> =
        config.hardware_profiles.values().flat_map(|profile| profile.devices.keys()).collect();
    let known: BTreeSet<&DeviceClass> = known.into_iter().chain(config.device_classes.keys()).collect();
    let mut asked = setup.devices.keys().flat_map(DeviceSelector::alternatives);
    let Some(unknown) = asked.find(|class| !known.contains(class)) else { return Ok(()) };
    let names: Vec<&str> = known.iter().take(CLASSES_SHOWN).map(|class| class.as_str()).collect();
    let advice = if names.is_empty() {
        "no hardware profile in the configuration has devices".to_owned()
    } else {
        format!("the hardware profiles in the configuration have {}", names.join(", "))
    };
    Err(ServiceError::invalid(format!("setup {}: no host can have devices of class {unknown}", setup.name))
        .advise(advice))
}

/// How many classes of devices an answer lists.
const CLASSES_SHOWN: usize = 16;

/// A certain VM that others are to be near, or away from, is there and of the same realm.
fn known_companions(setup: &Setup, core: &Core) -> Result<(), ServiceError> {
    for rule in &setup.affinity {
        let Companions::Vm(id) = rule.companions else { continue };
        let vm = core.vm(id).ok_or_else(|| ServiceError::not_found("VM", id, "reeve vm list"))?.vm;
        if vm.realm != setup.realm {
            return Err(ServiceError::conflict(format!(
                "VM {} is in realm {}, and the setup in realm {}",
                vm.name, vm.realm, setup.realm
            ))
            .advise("realms never mix: name a VM of the setup's realm"));
        }
    }
    Ok(())
}

/// Refuses free text that is too long or would steer a terminal.
pub(super) fn check_text(key: &str, text: &str) -> Result<(), ServiceError> {
    if text.len() > TEXT_LENGTH_MAX {
        return Err(ServiceError::invalid(format!(
            "`{key}` has {} bytes, and at most {TEXT_LENGTH_MAX} are allowed",
            text.len()
        )));
    }
    match text.chars().position(|character| !is_printable(character)) {
        None => Ok(()),
        Some(position) => Err(ServiceError::invalid(format!(
            "`{key}` has an unprintable character at position {}: text for people has no control or formatting characters",
            position + 1
        ))),
    }
}

/// How many labels a thing may have: more would be a database.
pub(super) const LABELS_MAX: usize = 64;

pub(super) fn check_labels(labels: &std::collections::BTreeMap<String, String>) -> Result<(), ServiceError> {
    if labels.len() > LABELS_MAX {
        return Err(ServiceError::invalid(format!(
            "{} labels are more than the {LABELS_MAX} allowed",
            labels.len()
        )));
    }
    labels.iter().try_for_each(|(key, value)| {
        check_text("labels", key)?;
        check_text("labels", value)
    })
}
