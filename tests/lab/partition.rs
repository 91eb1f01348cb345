//! Owns the cutting of a host (or the coordinator) from the lab's network, and the mending.

use anyhow::Result;

use super::place::Place;
use super::plan::{UPLINK, port};
use super::record::Lab;

/// Which way nothing gets through any more, as seen from the place that is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Direction {
    /// Nothing gets in or out: its cable is pulled.
    Both,
    /// It hears nothing; what it says arrives.
    In,
    /// What it says is lost; it hears the others.
    Out,
}

/// The packet filter's table that holds a one-way partition, beside those that libvirt makes.
const TABLE: &str = "reeve_lab_partition";

impl Direction {
    /// What it means, for people.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Both => "cut off",
            Self::In => "hears nothing",
            Self::Out => "is not heard",
        }
        .to_owned()
    }

    /// The commands that cut, each with where it runs.
    fn cutting(self, place: &Place) -> Vec<(Place, Vec<String>)> {
        let rule = |hook: &str, interface: &str| {
            let rules = format!(
                "add table inet {TABLE}; \
                 add chain inet {TABLE} cut {{ type filter hook {hook} priority -300; policy accept; }}; \
                 add rule inet {TABLE} cut {interface} \"{UPLINK}\" drop"
            );
            vec![(place.clone(), vec!["nft".to_owned(), rules])]
        };
        match self {
            Self::Both => vec![(Place::Switch, set_port(place, "down"))],
            Self::In => rule("input", "iifname"),
            Self::Out => rule("output", "oifname"),
        }
    }
}

fn set_port(place: &Place, state: &str) -> Vec<String> {
    ["ip", "link", "set", &port(place), state].map(str::to_owned).into()
}

impl Lab {
    /// Cuts a place off. A partition that was there before is mended first.
    ///
    /// # Errors
    /// When the place is not up.
    pub fn partition(&self, place: &Place, direction: Direction) -> Result<()> {
        self.heal(place)?;
        for (where_it_runs, command) in direction.cutting(place) {
            self.run(&where_it_runs, &command)?;
        }
        Ok(())
    }

    /// Mends every partition of a place; one that has none is left as it is.
    ///
    /// # Errors
    /// When the place is not up.
    pub fn heal(&self, place: &Place) -> Result<()> {
        self.run(&Place::Switch, &set_port(place, "up"))?;
        // Declared before it is deleted: deleting what is not there would fail.
        let rules = format!("add table inet {TABLE}; delete table inet {TABLE}");
        self.run(place, &["nft", &rules]).map(drop)
    }

    /// How a place is cut off now.
    ///
    /// # Errors
    /// When the place is not up.
    pub fn partition_of(&self, place: &Place) -> Result<Option<Direction>> {
        let link = self.run(&Place::Switch, &["ip", "-brief", "link", "show", "dev", &port(place)])?;
        if !link.contains(",UP") {
            return Ok(Some(Direction::Both));
        }
        let rules = self.run(place, &["nft", "list", "ruleset"])?;
        let cut = rules.split_once(TABLE).map(|(_, behind)| behind);
        Ok(cut.map(|behind| if behind.contains("hook input") { Direction::In } else { Direction::Out }))
    }
}
