//! What the coordinator and the agents share: the words of the product as types, the messages between the two
//! sides, and how those messages cross the network.
//!
//! Must not: name libvirt, a store or a scheduler; decide anything. See `ARCHITECTURE.md` for the layers.

mod address_tokens;
pub mod admission;
pub mod chance;
pub mod check;
pub mod checkpoint;
pub mod clock;
pub mod device;
pub mod discovered;
pub mod durable_file;
pub mod hardware_profile;
pub mod ids;
pub mod inventory;
pub mod journal;
pub mod lasting_keys;
pub mod logging;
pub mod machine_facts;
pub mod mutation;
pub mod network_thread;
pub mod protocol;
pub mod quic;
pub mod realm;
pub mod service_manager;
pub mod service_user;
mod short_bursts;
pub mod storage;
pub mod text;
pub mod tls;
pub mod units;
pub mod utilization;
pub mod vm;
pub mod wire;
