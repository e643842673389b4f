//! The rows of the design's table "event → what clients see" that concern health.

use super::*;

#[test]
fn a_node_dies() {
    let mut course = course(
        Engine::Leased,
        &[
            (0.0, Live, Up),
            (0.5, Hello, Up),
            (3.4, Look, Up),
            // Its connections: silence for 10 s at most, then resets.
            (3.5, Look, Silent),
            (9.0, LiveWithout, Silent),
            (10.4, Look, Silent),
            (10.5, Look, Gone),
            (3_600.0, Look, Gone),
        ],
    );
    let reason = course.judgement().unwrap().reason.to_string();
    assert_eq!(reason, "its lease has ended, and there was no hello for 10.0 s");
}

#[test]
fn a_lease_ends_after_the_silence_became_long() {
    course(Engine::Leased, &[(0.0, Live, Up), (0.5, Hello, Up), (10.5, Look, Unreachable), (12.0, LiveWithout, Gone)]);
}

#[test]
fn a_node_joins() {
    course(Engine::Leased, &[(5.0, Live, Up), (5.5, Hello, Up), (6.5, Hello, Up)]);
}

#[test]
fn a_node_drains_by_its_own_word_or_an_operators() {
    course(
        Engine::Leased,
        &[
            (0.0, Live, Up),
            (0.5, DrainingHello, Draining),
            (1.5, Hello, Up),
            (2.0, LiveDraining, Draining),
            (2.5, Hello, Draining),
            (3.0, Live, Up),
            (3.5, DrainingHello, Draining),
            // It has drained and ends.
            (6.5, Look, Silent),
            (7.0, LiveWithout, Silent),
            (13.5, Look, Gone),
        ],
    );
}

/// The engine is away for an hour, and comes back to the same or to nothing.
#[test]
fn etcd_is_away() {
    course(Engine::Leased, &[(0.0, Live, Up), (0.5, Away, Up), (0.5, Hellos(3_600), Up), (3_600.0, Live, Up)]);
    // It was wiped: no record at all, and everybody lives. Then nodes register anew.
    course(
        Engine::Leased,
        &[
            (0.0, Live, Up),
            (0.5, AwayWithout, Up),
            (0.5, Hellos(60), Up),
            (60.0, LiveWithout, Up),
            (60.5, Hellos(30), Up),
            (90.0, Live, Up),
        ],
    );
}

#[test]
fn a_node_dies_while_etcd_is_away() {
    let mut course = course(
        Engine::Leased,
        &[
            (0.0, Live, Up),
            (0.5, Hello, Up),
            (1.0, AwayWithout, Up),
            (3.5, Look, Silent),
            (10.5, Look, Unreachable),
            (3_600.0, Look, Unreachable),
        ],
    );
    let reason = course.judgement().unwrap().reason.to_string();
    assert!(reason.contains("not gone, because the membership engine is away"), "{reason}");
    // Its lease is seen to have ended once the view is live again.
    course.happens(LiveWithout);
    assert_eq!(course.judgement().unwrap().state, Gone);
}

/// This node was started from a snapshot of its state folder.
#[test]
fn etcd_cannot_be_reached_at_the_start() {
    course(
        Engine::Leased,
        &[(0.0, Away, Up), (1.0, Hello, Up), (4.0, Look, Silent), (11.0, Look, Unreachable), (12.0, Hello, Up)],
    );
}

#[test]
fn a_firewall_filters_the_tunnels_port() {
    // From the beginning, and later.
    for first in [Look, Hello] {
        let mut course = course(Engine::Leased, &[(0.0, Live, Up), (0.0, first, Up), (10.0, Look, Unreachable)]);
        course.until(600.0);
        let reason = course.judgement().unwrap().reason;
        assert!(matches!(reason, Reason::SilentForLong { second: SecondWitness::HasRecord(_), .. }), "{reason}");
        course.happens(Hello);
        assert_eq!(course.judgement().unwrap().state, Up);
    }
}

/// It is alive and heard, and cannot renew its lease.
#[test]
fn a_node_cannot_reach_etcd() {
    let mut course =
        course(Engine::Leased, &[(0.0, Live, Up), (0.5, Hello, Up), (1.0, LiveWithout, Up), (1.0, Hellos(600), Up)]);
    let reason = course.judgement().unwrap().reason.to_string();
    assert_eq!(reason, "heard 0.0 s ago, although its lease has ended");
    course.happens(Live);
    assert!(matches!(course.judgement().unwrap().reason, Reason::Heard { .. }));
}
