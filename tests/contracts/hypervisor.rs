//! What every hypervisor promises, tried on both: the same tests run on the simulated one and on a real libvirt with
//! real QEMUs, in a libvirtd of the tests' own. What only libvirt can do wrong is in `hypervisor/libvirt_only.rs`.

// A test's helper fails by panicking, and how soon something was told is worth reading.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "hypervisor/adoption.rs"]
mod adoption;
#[path = "hypervisor/by_hand.rs"]
mod by_hand;
#[path = "hypervisor/domains.rs"]
mod domains;
#[path = "hypervisor/faults.rs"]
mod faults;
#[path = "hypervisor/libvirt_guests.rs"]
mod libvirt_guests;
#[path = "hypervisor/libvirt_only.rs"]
mod libvirt_only;
#[path = "hypervisor/locks.rs"]
mod locks;
#[path = "hypervisor/storage.rs"]
mod storage;
#[path = "hypervisor/subject.rs"]
mod subject;

macro_rules! on_every_hypervisor {
    ($($module:ident::$test:ident),+ $(,)?) => {
        mod simulated {
            $(#[test]
            fn $test() {
                crate::$module::$test(&crate::subject::simulated());
            })+
        }
        mod libvirt {
            $(#[test]
            fn $test() {
                crate::$module::$test(&*crate::subject::libvirt());
            })+
        }
    };
}

on_every_hypervisor!(
    domains::a_vm_lives_and_everything_may_be_repeated,
    domains::what_is_not_there_is_not_found_or_done,
    domains::the_ledger_comes_back_as_it_was_written,
    domains::domains_of_others_are_seen_and_left_alone,
    domains::a_spoilt_ledger_makes_a_domain_somebody_elses,
    adoption::what_somebody_else_made_is_adopted_and_released,
    adoption::what_cannot_be_adopted_is_refused,
    domains::a_hostile_title_stays_a_title,
    domains::a_name_is_taken_once,
    domains::a_guest_without_an_agent_gives_no_sign_of_life,
    domains::a_suspended_domain_is_paused,
    domains::a_crash_is_told_from_a_shutdown,
    domains::the_console_is_kept_and_goes_with_the_domain,
    domains::statistics_are_of_our_running_domains,
    domains::events_arrive,
    domains::the_host_is_described,
    storage::a_system_disk_is_a_child_of_its_image,
    storage::an_image_that_is_not_what_it_claims_is_refused,
    storage::volumes_come_and_go,
    storage::a_full_pool_says_so_and_keeps_nothing,
    storage::pools_say_what_they_are,
    storage::a_pool_that_stops_is_told,
);

// These take the hypervisor away, or listen to it alone, so each has one of its own.
mod alone {
    #[test]
    fn what_is_done_by_hand_is_told_by_a_simulated_hypervisor() {
        crate::by_hand::all_is_told_within_a_second(&crate::subject::simulated());
    }

    #[test]
    fn what_is_done_by_hand_is_told_by_libvirt() {
        crate::by_hand::all_is_told_within_a_second(&crate::subject::libvirt_alone());
    }

    #[test]
    fn a_size_is_told_soon_by_a_simulated_hypervisor() {
        crate::by_hand::a_size_is_told_within_a_second_on_a_crowded_host(&crate::subject::simulated());
    }

    #[test]
    fn a_size_is_told_soon_by_libvirt() {
        crate::by_hand::a_size_is_told_within_a_second_on_a_crowded_host(&crate::subject::libvirt_alone());
    }

    #[test]
    fn a_size_is_told_soon_by_a_libvirt_that_was_away() {
        crate::by_hand::a_size_is_told_within_a_second_after_libvirt_was_away(crate::subject::libvirt_alone());
    }

    #[test]
    fn a_size_is_told_by_libvirt_without_hints() {
        crate::by_hand::a_size_is_told_without_hints(&crate::subject::libvirt_alone());
    }

    #[test]
    fn a_simulated_hypervisor_goes_and_comes_back() {
        crate::faults::the_hypervisor_goes_and_comes_back(crate::subject::simulated());
    }

    #[test]
    fn a_killed_libvirtd_comes_back() {
        crate::faults::the_hypervisor_goes_and_comes_back(crate::subject::libvirt_alone());
    }
}
