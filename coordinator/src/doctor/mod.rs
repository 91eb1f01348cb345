//! The coordinator's doctor: looks whether this machine has what a coordinator needs, and says for each finding what it
//! means and what to do. The coordinator may run meanwhile.
//!
//! ```text
//!   gathering.rs (files, ports, kernel) ──▶ facts.rs (values) ──▶ findings.rs (pure: the words) ──▶ checks
//! ```

mod facts;
mod findings;
mod gathering;

pub use facts::{AuthorityFacts, DoctorFacts, FileFacts, Port, PortState, StoreFacts};
pub use findings::judge;
pub use gathering::gather;
