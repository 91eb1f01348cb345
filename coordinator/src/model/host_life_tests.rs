//! Lives of hosts, and the argument of safety played through by random agents with clocks of their own.

use proptest::prelude::*;

use super::*;

const PATIENCE: Patience =
    Patience { suspect_after: Duration::from_secs(4), lost_after: Duration::from_secs(10) };
const LEASE: Duration = Duration::from_secs(30);
const WATCHDOG: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Timestamp {
    Timestamp(1_000_000 + seconds * 1000)
}

fn connected() -> HostLife {
    let mut life = HostLife::new(at(0));
    life.connect(at(1));
    life
}

#[test]
fn silence_makes_a_host_suspected_and_then_lost() {
    let mut life = connected();
    life.sign(at(5));
    let standing = |life: &HostLife, seconds| life.standing(PATIENCE, at(seconds));
    assert_eq!(standing(&life, 8), Standing::Connected { since: at(1) });
    assert_eq!(standing(&life, 9), Standing::Suspected { since: at(5) });
    assert_eq!(standing(&life, 15), Standing::Lost { since: Some(at(5)) });
    life.sign(at(15));
    assert_eq!(standing(&life, 16), Standing::Connected { since: at(1) }, "a late sign is a sign");
    life.disconnect(Duration::from_secs(2), at(20));
    assert_eq!(standing(&life, 20), Standing::Suspected { since: at(18) });
    assert_eq!(standing(&life, 28), Standing::Lost { since: Some(at(18)) });
    life.connect(at(30));
    assert_eq!(standing(&life, 31), Standing::Connected { since: at(30) });
}

#[test]
fn the_next_change_is_known_beforehand() {
    let mut life = connected();
    assert_eq!(life.changes_within(PATIENCE, at(2)), Some(Duration::from_secs(3)));
    assert_eq!(life.changes_within(PATIENCE, at(5)), Some(Duration::from_secs(6)));
    assert_eq!(life.changes_within(PATIENCE, at(11)), None);
    life.grant(LEASE, Some(WATCHDOG), at(2));
    life.disconnect(Duration::ZERO, at(2));
    let lease_over = life.stops_by_itself_at().unwrap();
    assert_eq!(life.changes_within(PATIENCE, at(20)), Some(lease_over.since(at(20))));
    assert_eq!(life.changes_within(PATIENCE, lease_over), None);
    assert_eq!(HostLife::new(at(0)).changes_within(PATIENCE, at(2)), None);
}

#[test]
fn silence_alone_releases_nothing_however_long_it_lasts() {
    let year = 365 * 24 * 3600;
    assert_eq!(ownership(&HostLife::new(at(0)), at(year)), Ownership::Unknown { since: at(0) });
    let mut life = connected();
    life.disconnect(Duration::ZERO, at(9));
    assert_eq!(ownership(&life, at(year)), Ownership::Unknown { since: at(9) });
    // A lease without a watchdog is a promise that a dead agent cannot keep.
    life.connect(at(10));
    life.grant(LEASE, None, at(10));
    life.disconnect(Duration::ZERO, at(11));
    assert_eq!(ownership(&life, at(year)).proof(), None);
}

#[test]
fn a_fence_releases_until_the_host_is_heard_again() {
    let mut life = connected();
    life.see_off(at(5), "ann");
    assert_eq!(ownership(&life, at(6)), Ownership::Holds, "whoever is heard is not off");
    life.disconnect(Duration::ZERO, at(9));
    assert_eq!(ownership(&life, at(9)).proof(), None, "what was not believed is not kept either");
    life.see_off(at(12), "ann");
    let proof = Proof::Fenced { at: at(12), by: "ann".to_owned() };
    assert_eq!(ownership(&life, at(13)), Ownership::Released(proof));
    assert_eq!(life.standing(PATIENCE, at(13)), Standing::Fenced { at: at(12) });
    life.connect(at(14));
    assert_eq!(ownership(&life, at(14)), Ownership::Holds);
    life.disconnect(Duration::ZERO, at(15));
    assert_eq!(ownership(&life, at(90)).proof(), None, "an old fence proves nothing of a new life");
}

#[test]
fn a_backed_lease_releases_after_all_margins_and_not_before() {
    let mut life = connected();
    life.grant(LEASE, Some(WATCHDOG), at(2));
    let over = at(2).after(stopped_within(LEASE, WATCHDOG));
    assert_eq!(ownership(&life, over), Ownership::Holds, "a connected host speaks for itself");
    life.disconnect(Duration::ZERO, at(3));
    assert_eq!(ownership(&life, Timestamp(over.0 - 1)).proof(), None);
    let proof = Proof::SelfFenced { lease_ran_out_at: over };
    assert_eq!(ownership(&life, over), Ownership::Released(proof));
    assert_eq!(life.standing(PATIENCE, over), Standing::SelfFenced { at: over });
    life.connect(over);
    life.disconnect(Duration::ZERO, over);
    assert_eq!(ownership(&life, over).proof(), None, "the lease was another connection's");
}

#[test]
fn a_shorter_or_unbacked_lease_takes_nothing_back() {
    let mut life = connected();
    life.grant(Duration::from_secs(300), Some(WATCHDOG), at(2));
    let long = life.stops_by_itself_at();
    life.grant(LEASE, Some(WATCHDOG), at(3));
    assert_eq!(life.stops_by_itself_at(), long, "the host may still go by the longer one");
    life.grant(LEASE, None, at(4));
    assert_eq!(life.stops_by_itself_at(), None, "its watchdog is being disarmed");
    life.grant(LEASE, Some(WATCHDOG), at(5));
    assert_eq!(life.stops_by_itself_at(), long);
}

#[test]
fn a_host_that_returned_releases_only_what_it_does_not_have() {
    let mut life = connected();
    assert_eq!(ownership_of(&life, true, at(2)), Ownership::Holds, "it has not told what it has");
    life.report(at(3));
    let returned = Ownership::Released(Proof::Returned { at: at(3) });
    assert_eq!(ownership_of(&life, true, at(4)), returned);
    assert_eq!(ownership_of(&life, false, at(4)), Ownership::Holds);
    life.disconnect(Duration::ZERO, at(5));
    assert_eq!(ownership_of(&life, true, at(6)).proof(), None, "what it said before is old");
    life.connect(at(7));
    assert_eq!(ownership_of(&life, true, at(8)), Ownership::Holds);
}

#[test]
fn proofs_are_kept_in_a_fixed_form() {
    let form = |proof: &Proof| serde_json::to_string(proof).unwrap();
    let fenced = Proof::Fenced { at: Timestamp(7), by: "ann".to_owned() };
    assert_eq!(form(&fenced), r#"{"proof":"fenced","at":7,"by":"ann"}"#);
    let own = Proof::SelfFenced { lease_ran_out_at: Timestamp(8) };
    assert_eq!(form(&own), r#"{"proof":"self-fenced","lease-ran-out-at":8}"#);
    assert_eq!(form(&Proof::Returned { at: Timestamp(9) }), r#"{"proof":"returned","at":9}"#);
}

/// One request for a lease and what became of it; all times in milliseconds of true time.
#[derive(Debug, Clone)]
struct Exchange {
    /// After the exchange before.
    pause: u64,
    /// On its way to the coordinator.
    there: u64,
    /// On its way back; none when it is lost.
    back: Option<u64>,
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let way = prop_oneof![3 => 0..100_u64, 1 => 0..600_000_u64];
    (1000..20_000_u64, way.clone(), proptest::option::weighted(0.8, way))
        .prop_map(|(pause, there, back)| Exchange { pause, there, back })
}

proptest! {
    /// An agent that obeys its lease, by a clock that runs as wrong as allowed, on a machine that freezes it whenever it
    /// likes: when the coordinator has its proof, the watchdog has done its work.
    #[test]
    fn nothing_runs_when_a_lease_proves_it(
        exchanges in proptest::collection::vec(exchange(), 1..30),
        drift in -9_i64..=9,
        frozen_before_last_sign in 0_u64..10_000,
    ) {
        // The agent's clock shows `true time * (1000 + drift) / 1000`; a lease of its clock lasts this long in true time.
        let lease_by_agent = u64::try_from(LEASE.as_millis()).unwrap() * 1000 / u64::try_from(1000 + drift).unwrap();
        let watchdog = u64::try_from(WATCHDOG.as_millis()).unwrap();
        let mut sent = 0;
        let mut noted = Vec::new();
        let mut lease_ends = 0;
        for exchange in &exchanges {
            sent += exchange.pause;
            noted.push(sent + exchange.there);
            if let Some(back) = exchange.back {
                let heard = sent + exchange.there + back;
                // A grant counts from when it was asked for; what is heard too late to help does not help.
                if heard < sent + lease_by_agent {
                    lease_ends = lease_ends.max(sent + lease_by_agent);
                }
            }
        }
        // The worst case of the watchdog: looked at just before the end, frozen, one more sign.
        let all_stopped = lease_ends + frozen_before_last_sign + watchdog * 1000 / u64::try_from(1000 + drift).unwrap();
        noted.sort_unstable();
        let mut life = HostLife::new(Timestamp(0));
        life.connect(Timestamp(0));
        for moment in &noted {
            life.grant(LEASE, Some(WATCHDOG), Timestamp(*moment));
        }
        life.disconnect(Duration::ZERO, Timestamp(*noted.last().unwrap()));
        let proved = life.stops_by_itself_at().unwrap();
        prop_assert!(all_stopped < proved.0, "stopped at {all_stopped}, believed at {proved:?}");
    }
}
