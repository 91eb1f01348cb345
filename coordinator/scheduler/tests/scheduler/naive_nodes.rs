//! NUMA nodes and huge pages as one would write them first: everything counted anew for every question.

use std::collections::BTreeMap;

use proptest::prelude::*;
use reeve_common::hardware_profile::{HugePageSize, NumaNode};
use reeve_common::ids::{HostId, VmId};
use reeve_common::units::{Mebibytes, Millicores};
use reeve_scheduler::{HostDescription, Request};

use crate::naive::{Host, Naive};

/// Nodes and pages of a host, by small numbers.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    pages: u64,
    nodes: Vec<(u64, u64, u64)>,
}

const PAGE: HugePageSize = HugePageSize(512);

/// Any; a third of the hosts has neither.
pub(crate) fn board() -> impl Strategy<Value = Board> {
    let node = (0_u64..8, 0_u64..12, 0_u64..4);
    let some =
        (0_u64..8, proptest::collection::vec(node, 0..5)).prop_map(|(pages, nodes)| Board { pages, nodes });
    prop_oneof![1 => Just(Board { pages: 0, nodes: Vec::new() }), 2 => some]
}

/// Nodes and pages that a request asks for; most ask for none.
pub(crate) fn parts() -> impl Strategy<Value = (Option<u32>, Option<HugePageSize>)> {
    let pages = prop_oneof![6 => Just(PAGE), 1 => Just(HugePageSize(3)), 1 => Just(HugePageSize(0))];
    (proptest::option::weighted(0.35, 0_u32..4), proptest::option::weighted(0.3, pages))
}

impl Board {
    /// Fits a host out with it.
    pub(crate) fn give(&self, host: &mut HostDescription) {
        let pages = |count: u64| BTreeMap::from([(PAGE, count), (HugePageSize(0), 9)]);
        let node = |(cores, memory, count): &(u64, u64, u64)| NumaNode {
            cores: Millicores(cores * 500),
            memory: Mebibytes(memory * 128),
            huge_pages: pages(*count),
        };
        host.capacity.huge_pages = pages(self.pages);
        host.capacity.numa_nodes = self.nodes.iter().map(node).collect();
    }
}

/// What is left of one node: millicores, MiB, pages of the only size there is.
#[derive(Debug, Clone, Copy)]
struct Left {
    cores: i64,
    memory: i64,
    pages: i64,
}

fn nodes_of(request: &Request) -> u64 {
    u64::from(request.numa_nodes.unwrap_or(0))
}

/// MiB of ordinary memory that a request takes.
pub(crate) fn ordinary(request: &Request) -> u64 {
    if request.huge_pages.is_none() { request.memory.0 } else { 0 }
}

/// Pages that a request takes.
pub(crate) fn pages(request: &Request) -> u64 {
    request.huge_pages.map_or(0, |size| request.memory.0.div_ceil(u64::from(size.0.max(1))))
}

/// What one of a request's nodes gives.
fn part(request: &Request) -> Left {
    let part = |whole: u64| i64::try_from(whole.div_ceil(nodes_of(request).max(1))).unwrap();
    Left { cores: part(request.cores.0), memory: part(ordinary(request)), pages: part(pages(request)) }
}

impl Left {
    fn fits(&self, part: &Left) -> bool {
        let fits = |left: i64, asked: i64| asked == 0 || asked <= left;
        fits(self.cores, part.cores) && fits(self.memory, part.memory) && fits(self.pages, part.pages)
    }
}

/// Whether its pages are of a size that no host has.
fn is_of_other_size(request: &Request) -> bool {
    request.huge_pages.is_some_and(|size| size != PAGE)
}

impl Naive {
    fn placed(&self, host: HostId) -> impl Iterator<Item = (VmId, &Request)> {
        self.vms.iter().filter(move |(_, (place, _))| *place == host).map(|(vm, (_, request))| (*vm, request))
    }

    fn left(&self, host: &Host) -> Vec<Left> {
        let amount = |amount: u64| i64::try_from(amount).unwrap();
        let nodes = &host.description.capacity.numa_nodes;
        let mut left: Vec<Left> = nodes
            .iter()
            .map(|node| Left {
                cores: amount(node.cores.0),
                memory: amount(node.memory.0),
                pages: amount(node.huge_pages[&PAGE]),
            })
            .collect();
        for (vm, request) in self.placed(host.description.id) {
            for node in self.nodes.get(&vm).into_iter().flatten() {
                let Some(left) = left.get_mut(*node as usize) else { continue };
                let part = part(request);
                left.cores -= part.cores;
                left.memory -= part.memory;
                left.pages -= if is_of_other_size(request) { 0 } else { part.pages };
            }
        }
        left
    }

    /// Pages used on a host, and how many there are.
    pub(crate) fn page_use(&self, host: &Host) -> (u64, u64) {
        let there = self.placed(host.description.id).filter(|(_, request)| !is_of_other_size(request));
        (there.map(|(_, request)| pages(request)).sum(), host.description.capacity.huge_pages[&PAGE])
    }

    /// Whether there are nodes and pages for the request.
    pub(crate) fn has_nodes(&self, host: &Host, request: &Request) -> bool {
        let (used, total) = self.page_use(host);
        let has_pages = match pages(request) {
            0 => true,
            asked => !is_of_other_size(request) && used + asked <= total,
        };
        let is_free =
            |left: &&Left| left.fits(&part(request)) && (pages(request) == 0 || !is_of_other_size(request));
        let fitting = self.left(host).iter().filter(is_free).count() as u64;
        has_pages && fitting >= nodes_of(request)
    }

    /// Gives the VMs of a host the nodes that they are still without, by their ids; what they have they keep.
    pub(crate) fn settle_nodes(&mut self, host: HostId) {
        let Some(described) = self.hosts.get(&host).cloned() else { return };
        let all: Vec<(VmId, Request)> =
            self.placed(host).map(|(vm, request)| (vm, request.clone())).collect();
        for (vm, request) in all {
            let mut had = self.nodes.get(&vm).cloned().unwrap_or_default();
            let mut left: Vec<(usize, Left)> = self.left(&described).into_iter().enumerate().collect();
            left.retain(|(node, _)| !had.contains(&u32::try_from(*node).unwrap()));
            let others = is_of_other_size(&request);
            let kind = |left: &Left| match request.huge_pages {
                None => left.memory.max(0),
                Some(_) => {
                    if others {
                        0
                    } else {
                        left.pages.max(0)
                    }
                }
            };
            let fits = |left: &Left| left.fits(&part(&request)) && (pages(&request) == 0 || !others);
            left.sort_by_key(|(node, left)| {
                let fits = fits(left);
                (!fits, if fits { kind(left) } else { -kind(left) }, *node)
            });
            for (node, _) in left {
                if (had.len() as u64) < nodes_of(&request) {
                    had.push(u32::try_from(node).unwrap());
                }
            }
            had.sort_unstable();
            if !had.is_empty() {
                self.nodes.insert(vm, had);
            }
        }
    }

    /// Forgets which nodes a VM has, unless what it takes from now on is the same and fits there.
    pub(crate) fn leave_nodes(&mut self, vm: VmId, host: HostId, old: &Request, new: &Request) {
        let what = |request: &Request| {
            let Left { cores, memory, pages: each } = part(request);
            (cores, memory, each, pages(request), nodes_of(request), request.huge_pages)
        };
        let left = self.hosts.get(&host).map(|host| self.left(host)).unwrap_or_default();
        let is_there = pages(new) == 0 || !is_of_other_size(new);
        let fits =
            |node: &u32| is_there && left.get(*node as usize).is_some_and(|left| left.fits(&part(new)));
        let has_all = |nodes: &Vec<u32>| nodes.len() as u64 == nodes_of(new) && nodes.iter().all(fits);
        if what(old) != what(new) || !self.nodes.get(&vm).is_some_and(has_all) {
            self.nodes.remove(&vm);
        }
    }

    /// Fails if a VM that was just placed has more of a node, or of the pages, than there is.
    pub(crate) fn assert_nodes_hold(&self, vm: VmId, host: &Host) {
        let (_, request) = &self.vms[&vm];
        let nodes = self.nodes.get(&vm).cloned().unwrap_or_default();
        assert_eq!(nodes.len() as u64, nodes_of(request));
        let part = part(request);
        for node in nodes {
            let left = self.left(host)[node as usize];
            assert!(part.cores == 0 || left.cores >= 0, "cores of node {node}: {left:?}");
            assert!(part.memory == 0 || left.memory >= 0, "memory of node {node}: {left:?}");
            assert!(part.pages == 0 || left.pages >= 0, "pages of node {node}: {left:?}");
        }
        let (used, total) = self.page_use(host);
        assert!(pages(request) == 0 || used <= total, "{used} of {total} pages");
    }
}
