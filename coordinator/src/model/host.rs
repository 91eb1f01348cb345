//! Owns hosts as the coordinator keeps them. Whether one is connected is not kept: that is the registry's.

use std::collections::BTreeMap;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{HostId, HostName, ProfileName, RealmName};
use reeve_scheduler::HostState;
use serde::{Deserialize, Serialize};

/// A machine of one realm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Host {
    /// Its identity, for ever.
    pub id: HostId,
    /// Its name; unique among hosts.
    pub name: HostName,
    /// Its realm.
    pub realm: RealmName,
    /// How its agent reaches libvirt, such as `qemu:///system`.
    pub uri: String,
    /// What of it may be scheduled.
    pub profile: ProfileName,
    /// Whether it may be used.
    pub state: HostState,
    /// For affinity and cost functions.
    pub labels: BTreeMap<String, String>,
    /// When it was added.
    pub added_at: Timestamp,
    /// When its agent last joined with a token; none as long as it never has.
    pub joined_at: Option<Timestamp>,
    /// It is being emptied, or was: it is chosen for nothing new until somebody says so.
    #[serde(default)]
    pub draining: bool,
}

/// Whether commands may be sent to a host in this state: a disabled one is left alone.
#[must_use]
pub const fn may_be_told(state: HostState) -> bool {
    !matches!(state, HostState::Disabled)
}

/// What is said when a host is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHost {
    /// Its name.
    pub name: HostName,
    /// Its realm.
    pub realm: RealmName,
    /// How its agent reaches libvirt.
    pub uri: String,
    /// Its hardware profile.
    pub profile: ProfileName,
    /// Its first state.
    pub state: HostState,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Whether a host's agent is heard, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "connection")]
pub enum Connection {
    /// Its agent has never joined.
    NeverJoined,
    /// Its agent is connected.
    Connected {
        /// Since when.
        since: Timestamp,
    },
    /// Its agent was heard a moment ago, and may be back before the host counts as lost.
    Suspected {
        /// Since when it is silent.
        since: Timestamp,
    },
    /// Nothing has been heard for longer than `lost-after`: what happens there is unknown.
    Lost {
        /// Since when nothing was heard; none since the coordinator started.
        since: Option<Timestamp>,
    },
    /// It was seen to be off, or a person has stated that it is.
    Fenced {
        /// When.
        at: Timestamp,
    },
    /// It must have stopped all it had: its lease ran out.
    SelfFenced {
        /// When.
        at: Timestamp,
    },
}

impl Connection {
    /// Whether commands reach it.
    #[must_use]
    pub const fn is_connected(self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    /// Whether what runs there must be called unknown: until somebody has decided what becomes of it, that is so for a
    /// host that was fenced as well.
    #[must_use]
    pub const fn is_lost(self) -> bool {
        !matches!(self, Self::Connected { .. } | Self::Suspected { .. })
    }
}
