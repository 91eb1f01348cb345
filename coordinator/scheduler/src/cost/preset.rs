//! Owns the cost functions that are there without being declared, written in the language itself.

use reeve_common::ids::CostFunctionName;

/// The presets: name, and terms as they could stand in the configuration.
#[must_use]
pub fn presets() -> Vec<(CostFunctionName, Vec<(String, String)>)> {
    PRESETS
        .iter()
        .filter_map(|(name, terms)| {
            let terms = terms.iter().map(|(term, text)| ((*term).to_owned(), (*text).to_owned())).collect();
            CostFunctionName::new(*name).ok().map(|name| (name, terms))
        })
        .collect()
}

type Preset = (&'static str, &'static [(&'static str, &'static str)]);

const PRESETS: [Preset; 5] = [
    // Loaded hosts cost more and more; processors are shared, memory is not, so memory weighs more.
    (
        "balanced",
        &[
            ("cpu", "2 * power(cores.load, 2)"),
            ("memory", "4 * exponential(memory.load, 8)"),
            ("crowding", "ramp(vms, 30, 60)"),
            ("gpus", "vm.devices == 0 and devices.total > 0 ? 10 : 0"),
        ],
    ),
    // A host in use costs, and the fuller it is the less its next VM does: few hosts, well filled.
    (
        "pack",
        &[
            ("open", "8 * step(vms, 1)"),
            ("cpu", "-power(cores.load, 2)"),
            ("memory", "-power(memory.load, 2)"),
            ("gpus", "vm.devices == 0 and devices.total > 0 ? 20 : 0"),
        ],
    ),
    // Every next VM on the same host costs more than the one before: as even as it goes.
    (
        "spread",
        &[
            ("cpu", "power(cores.load, 2)"),
            ("memory", "power(memory.load, 2)"),
            ("vms", "0.01 * power(vms, 2)"),
            ("gpus", "vm.devices == 0 and devices.total > 0 ? 10 : 0"),
        ],
    ),
    // The opportunity cost of each resource: its price grows exponentially with how much of it is gone.
    (
        "opportunity",
        &[
            ("cpu", "exponential(cores.load, 10)"),
            ("memory", "exponential(memory.load, 10)"),
            ("devices", "exponential(devices.load, 10)"),
        ],
    ),
    // What is left over should stay usable: cores and memory run out together, devices are kept for who needs them,
    // and full hosts are filled first.
    (
        "unfragmented",
        &[
            ("open", "4 * step(vms, 1)"),
            ("imbalance", "4 * power(cores.load - memory.load, 2)"),
            ("fill", "-power(cores.load, 2) - power(memory.load, 2) - 2 * power(devices.load, 2)"),
            ("gpus", "vm.devices == 0 and devices.free > 0 ? 8 * cores.load + 8 * memory.load : 0"),
        ],
    ),
];
