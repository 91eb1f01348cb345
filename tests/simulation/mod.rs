//! Owns the simulation of a whole fleet: the real coordinator and the real agents, over an in-memory network, in virtual
//! time, while a story drawn from a seed does everything to them that happens in a data centre.
//!
//! ```text
//!   seed ─▶ story ─▶ play ─▶ users ─▶ coordinators (real service, sessions, tellers) ─▶ store (slow, full, outlives)
//!                      │                  ⇅ network (the real codec; delays, cuts, breaks, repetitions)
//!                      └──▶ faults ─▶ machine (real host, session, supervisors ─▶ simulated hypervisor, small files)
//!                                         └──────▶ checker: looks at hypervisors and books after every event
//! ```
//!
//! The same seed gives the same run, event by event: one thread, paused time, ids and delays from the seed, and no choice
//! left to chance anywhere. A story that breaks a rule is made as short as it can be (`shrink`).
//!
//! What it does not show: that libvirt, QUIC, SQLite and the kernel behave as their stand-ins do; the lab does that.

pub mod administrator;
pub mod agent_side;
pub mod chance;
pub mod checker;
pub mod clock;
pub mod coordinator;
pub mod coordinator_side;
pub mod deed;
pub mod emptied;
pub mod estate;
pub mod fences;
pub mod files;
pub mod freeze;
pub mod machine;
pub mod network;
pub mod obedience;
pub mod park;
pub mod play;
pub mod plot;
pub mod range;
pub mod shrink;
pub mod signal;
pub mod store;
pub mod story;
pub mod succession;
pub mod trace;
pub mod user;
pub mod watchdog;
