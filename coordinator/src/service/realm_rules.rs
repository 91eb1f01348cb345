//! Owns what the scheduler is told of a realm as a whole: the limits of its owners and teams, and the VMs that are
//! expected (each hardware setup as often as another), by which `stranded` judges what is left free.

use reeve_common::ids::RealmName;
use reeve_scheduler::Request;

use super::Service;
use crate::config::Realm;
use crate::model::admission;

/// Every setup counts alike: how often each is started is not known beforehand, and changes.
const SETUP_WEIGHT: u32 = 1;

impl Service {
    /// Tells the rules of all realms of the configuration. In one that is not there any more nothing is placed, whatever
    /// its rules were.
    pub(super) fn apply_realm_rules(&self) {
        let config = self.config();
        for realm in config.realms.values() {
            self.core().fleet.set_quotas(&realm.key, realm.quotas.clone());
            self.apply_catalogue_of(realm);
        }
    }

    /// The setups of a realm have changed.
    pub(super) fn apply_catalogue(&self, realm: &RealmName) {
        if let Some(realm) = self.config().realms.get(realm) {
            self.apply_catalogue_of(realm);
        }
    }

    fn apply_catalogue_of(&self, realm: &Realm) {
        let mut core = self.core();
        let setups = core.setups.values().filter(|kept| kept.value.realm == realm.key);
        let expected: Vec<(Request, u32)> =
            setups.map(|kept| (admission::request(&kept.value, realm, "", ""), SETUP_WEIGHT)).collect();
        core.fleet.set_catalogue(&realm.key, &expected);
    }
}
