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
    // Few hosts, well filled: where the least is left, and nothing left that the catalogue has no use for.
    (
        "pack",
        &[
            ("cores", "cores.total > 0 ? (before.cores.free - vm.cores) / cores.total : 0"),
            ("memory", "memory.total > 0 ? (before.memory.free - vm.memory) / memory.total : 0"),
            ("stranded", "cores.total > 0 ? 16 * stranded.cores / cores.total : 0"),
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
    // What is left over should stay usable by the VMs that the catalogue expects; devices above all, then cores. Where that
    // says nothing, hosts with devices are kept for who needs them, and full hosts are filled first.
    (
        "unfragmented",
        &[
            ("devices", "stranded.devices"),
            ("cores", "cores.total > 0 ? 0.016 * stranded.cores / cores.total : 0"),
            ("gpus", "vm.devices == 0 and devices.total > 0 ? 0.02 : 0"),
            ("fill-cores", "cores.total > 0 ? 0.001 * (before.cores.free - vm.cores) / cores.total : 0"),
            ("fill-memory", "memory.total > 0 ? 0.001 * (before.memory.free - vm.memory) / memory.total : 0"),
        ],
    ),
];
