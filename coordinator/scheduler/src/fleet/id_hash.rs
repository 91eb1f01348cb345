//! Owns how ids are hashed: quickly, since they are looked up several times for each placement.
//!
//! Must not: be used for anything a stranger can choose. The coordinator makes these ids itself, VMs' at random and hosts' by
//! counting, so that nobody can aim at one bucket.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map whose keys are ids.
pub(super) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Multiplies and folds, a word at a time.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct IdHasher(u64);

/// An odd number whose bits are well mixed: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl IdHasher {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(MULTIPLIER);
    }
}

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.add(u64::from(number));
    }

    fn write_usize(&mut self, _length: usize) {
        // The length of an id is always the same.
    }

    fn finish(&self) -> u64 {
        // The highest bits are mixed best and the lowest choose the bucket.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use reeve_common::ids::{HostId, VmId};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn ids_spread_over_buckets() {
        let build = BuildHasherDefault::<IdHasher>::default();
        let hosts: HashSet<u64> = (0..4096).map(|id| build.hash_one(HostId(id)) % 4096).collect();
        let vms: HashSet<u64> =
            (0..4096).map(|id| build.hash_one(VmId(Uuid::from_u128(id << 64))) % 4096).collect();
        // Random numbers would meet 63 % of the buckets.
        assert!(hosts.len() > 2300 && vms.len() > 2300, "{} {}", hosts.len(), vms.len());
    }
}
