//! When a node is gone, and when it is no more.

use super::*;

#[test]
fn a_node_that_is_gone_is_up_with_a_new_record_only() {
    let mut course = course(
        Engine::Leased,
        &[
            (0.0, Live, Up),
            (10.0, LiveWithout, Gone),
            (12.0, AwayWithout, Gone),
            (12.5, Away, Gone),
            (13.0, LiveUnknown, Gone),
            (14.0, Live, Up),
            // And is given its time as a node that has just been started is.
            (23.9, Look, Up),
            (24.0, Look, Unreachable),
        ],
    );
    course.happens(Hello);
    course.happens(LiveWithout);
    assert_eq!(course.judgement().unwrap().state, Up);
}

/// Both witnesses were wrong at a time, or it was started anew and cannot be seen to have a record.
#[test]
fn a_node_that_is_gone_and_heard_is_not_answered_for() {
    let mut course = course(
        Engine::Leased,
        &[(0.0, Live, Up), (10.0, LiveWithout, Gone), (11.0, Hello, Silent), (12.0, Hello, Silent)],
    );
    let reason = course.judgement().unwrap().reason.to_string();
    let expected = "heard 0.0 s ago, after it was gone; gets nothing new until it has a new record under a new lease";
    assert_eq!(reason, expected);
    course.happens(Live);
    assert_eq!(course.judgement().unwrap().state, Up);
}

#[test]
fn a_node_that_was_heard_after_it_was_gone_takes_two_witnesses_again() {
    let heard_again = [(0.0, Live, Up), (10.0, LiveWithout, Gone), (11.0, Hello, Silent)];
    let more = [(20.9, Look, Silent), (21.0, Look, Gone)];
    course(Engine::Leased, &[heard_again.as_slice(), &more].concat());
    let away = [(12.0, AwayWithout, Silent), (21.0, Look, Unreachable), (600.0, LiveWithout, Gone)];
    course(Engine::Leased, &[heard_again.as_slice(), &away].concat());
}

#[test]
fn a_node_that_is_forgotten_and_heard_says_so() {
    let mut course = course(Engine::File, &[(0.0, Live, Up), (1.0, Forgotten, Gone), (2.0, Hello, Gone)]);
    let reason = course.judgement().unwrap().reason.to_string();
    assert_eq!(reason, "an operator said `forget`, but it was heard 0.0 s ago: stop it");
}

#[test]
fn an_operators_word_is_enough() {
    for engine in [Engine::Leased, Engine::File] {
        let mut course = course(
            engine,
            &[
                (0.0, Live, Up),
                (0.5, Hello, Up),
                (1.0, Forgotten, Gone),
                (1.5, Look, Gone),
                (60.0, AwayForgotten, Gone),
                (60.5, LiveUnknown, Gone),
                // A record is a new one, and the node is given its time.
                (61.0, Live, Up),
                (62.0, Forgotten, Gone),
            ],
        );
        assert_eq!(course.judgement().unwrap().reason, Reason::Forgotten);
    }
    // Also where this node was started from a snapshot.
    course(Engine::Leased, &[(0.0, AwayForgotten, Gone), (60.0, Hello, Gone), (61.0, Live, Up)]);
}

#[test]
fn a_node_in_the_file_is_never_gone_by_its_silence() {
    let mut course =
        course(Engine::File, &[(0.0, Live, Up), (0.5, Hello, Up), (3.5, Look, Silent), (10.5, Look, Unreachable)]);
    course.until(86_400.0);
    let reason = course.judgement().unwrap().reason.to_string();
    assert!(reason.ends_with("the members' file names it (`nodes forget` says that it is gone)"), "{reason}");
}

#[test]
fn a_node_that_is_taken_out_of_the_file_is_gone_once_it_is_silent() {
    course(
        Engine::File,
        &[
            (0.0, Live, Up),
            (0.5, Hello, Up),
            (1.0, LiveWithout, Up),
            (1.5, Hello, Up),
            (4.5, Look, Silent),
            (11.5, Look, Gone),
            // The file cannot be read, then names it again.
            (12.0, AwayWithout, Gone),
            (13.0, Live, Up),
        ],
    );
    // The other way round: silent, then taken out.
    course(Engine::File, &[(0.0, Live, Up), (0.5, Hello, Up), (10.5, Look, Unreachable), (60.0, LiveWithout, Gone)]);
}

#[test]
fn a_file_that_cannot_be_read_takes_nobody_out() {
    course(Engine::File, &[(0.0, Live, Up), (0.5, AwayWithout, Up), (11.0, Look, Unreachable), (12.0, Hello, Up)]);
}

/// Both have to hold at the same time.
#[test]
fn a_lease_that_had_ended_before_the_engine_went_away_is_no_witness() {
    course(
        Engine::Leased,
        &[
            (0.0, Live, Up),
            (0.5, Hello, Up),
            (9.0, LiveWithout, Silent),
            (9.5, AwayWithout, Silent),
            (60.0, Look, Unreachable),
            (61.0, Live, Unreachable),
            (62.0, Hello, Up),
        ],
    );
}

/// Its lease had ended before this node was started: it may be cut off from etcd, and alive, and this node does not
/// know where.
#[test]
fn a_number_whose_record_was_never_seen_is_not_gone() {
    let begun = [(0.0, LiveWithout, Up), (9.9, Look, Up), (10.0, Look, Unreachable), (600.0, Look, Unreachable)];
    let mut never_seen = course(Engine::Leased, &begun);
    let reason = never_seen.judgement().unwrap().reason;
    assert!(matches!(reason, Reason::SilentForLong { second: SecondWitness::NeverKnown, .. }), "{reason}");
    // From its first record on it is listened for, and can be gone.
    let its_record = [(601.0, Live, Up), (602.0, LiveWithout, Up), (610.9, Look, Up), (611.0, Look, Gone)];
    course(Engine::Leased, &[&begun[..], &its_record].concat());
    let mut course = course(Engine::Leased, &[&begun[..], &[(601.0, Forgotten, Gone)]].concat());
    course.health.remove(number(PEER));
    assert_eq!(course.judgement(), None);
}

/// One that was heard before its record was seen.
#[test]
fn a_node_that_no_view_has_named_is_judged_as_the_others() {
    course(
        Engine::Leased,
        &[(0.0, Hello, Up), (3.0, Look, Silent), (10.0, Look, Unreachable), (11.0, Live, Unreachable)],
    );
    course(Engine::Leased, &[(0.0, Hello, Up), (0.5, LiveUnknown, Up), (10.0, Look, Gone)]);
}
