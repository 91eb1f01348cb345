//! Owns where ids that nobody may guess or meet twice come from: the system's random numbers, or, on a thread that
//! was given a seed, a sequence that is the same for the same seed. Only the simulation gives one: it runs a whole fleet
//! on one thread and must be able to run it again exactly.
//!
//! Must not: be used for secrets.

use std::cell::Cell;

use uuid::{Builder, Uuid};

thread_local! {
    static SEQUENCE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on this thread's ids follow from `seed`; none: they are random again.
pub fn seed_this_thread(seed: Option<u64>) {
    SEQUENCE.set(seed);
}

/// A new id.
pub(crate) fn uuid() -> Uuid {
    let Some(state) = SEQUENCE.get() else { return Uuid::new_v4() };
    let (high, state) = next(state);
    let (low, state) = next(state);
    SEQUENCE.set(Some(state));
    let number = (u128::from(high) << 64) | u128::from(low);
    Builder::from_random_bytes(number.to_be_bytes()).into_uuid()
}

/// The next number of a splitmix64 sequence, and the state after it.
const fn next(state: u64) -> (u64, u64) {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31), state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids_and_without_one_they_are_random() {
        let three = || [uuid(), uuid(), uuid()];
        seed_this_thread(Some(7));
        let first = three();
        assert!(first[0] != first[1] && first[0].get_version_num() == 4);
        seed_this_thread(Some(7));
        assert_eq!(three(), first);
        seed_this_thread(None);
        assert_ne!(three(), first);
        // Other threads are not touched by a seed.
        seed_this_thread(Some(7));
        assert_ne!(std::thread::spawn(uuid).join().unwrap(), first[0]);
    }
}
