//! placeholder

pub mod enrolment;
pub mod pki;
