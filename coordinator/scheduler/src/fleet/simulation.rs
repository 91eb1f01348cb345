//! Owns the question how many VMs of one kind there is room for. They are placed on trial, one after the other, as they
//! would be in earnest.

use reeve_common::ids::HostId;

use super::Fleet;
use super::trial::Trial;
use crate::explanation::{ExplanationDigest, HostsTold};
use crate::request::Request;

/// The most VMs simulated at once: more than any fleet is asked to start in one go, and answered within seconds.
pub const SIMULATED_MAX: usize = 10_000;

/// How many VMs of one kind fit, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// How many were asked for; at most [`SIMULATED_MAX`].
    pub asked: usize,
    /// The host of each that fits, in the order in which they were placed.
    pub hosts: Vec<HostId>,
    /// By how much they make the fleet's cost rise.
    pub cost: f64,
    /// What stops the next one; none when all that were asked for fit.
    pub stopped_by: Option<ExplanationDigest>,
}

impl Fleet {
    /// Places `count` VMs one after the other, as [`Fleet::decide`] and [`Fleet::reserve`] would, until one does not fit.
    /// Nothing stays reserved. More than [`SIMULATED_MAX`] are taken for that many.
    #[must_use]
    pub fn simulate(&mut self, request: &Request, count: usize, told: HostsTold) -> Simulation {
        let asked = count.min(SIMULATED_MAX);
        let mut simulation = Simulation { asked, hosts: Vec::new(), cost: 0.0, stopped_by: None };
        let mut trial = Trial::on(self);
        while simulation.hosts.len() < asked {
            let vm = trial.make_up_vm();
            let Some((host, rise)) = trial.place(vm, request) else {
                simulation.stopped_by = Some(trial.fleet().digest(request, told));
                break;
            };
            simulation.hosts.push(host);
            simulation.cost += rise;
        }
        simulation
    }
}
