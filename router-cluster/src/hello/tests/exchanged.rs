//! What two nodes make of each other by what arrives, and what does not.

use super::*;

#[test]
fn a_run_counts_once_it_has_echoed() {
    let mut pair = Pair::acquainted();
    for at in [2_000, 3_000, 4_000] {
        let hello = pair.one_says(at);
        assert_eq!(pair.other_hears(&hello, at + 1), Heard::Counted);
    }
}

#[test]
fn a_hello_counts_once() {
    let mut pair = Pair::acquainted();
    let [earlier, later] = [pair.one_says(2_000), pair.one_says(3_000)];
    assert_eq!(pair.other_hears(&later, 3_001), Heard::Counted);
    for replayed in [&later, &earlier] {
        assert_eq!(pair.other_hears(replayed, 3_002), Heard::Replayed);
    }
    assert_eq!(pair.other.report(pair.at(3_002).now).heard_at, Some(pair.at(3_001).now));
}

/// A node that hears nobody still is heard, and says that it does not hear.
#[test]
fn a_known_run_counts_without_an_echo() {
    let mut pair = Pair::acquainted();
    for at in (2_000..20_000).step_by(1_000) {
        let hello = pair.one_says(at);
        assert_eq!(pair.other_hears(&hello, at + 1), Heard::Counted);
        // What the other says is lost.
        pair.other_says(at + 2);
        assert_eq!(pair.other.report(pair.at(at + 2).now).hears_us, at <= 5_000, "{at}");
    }
}

#[test]
fn a_recording_of_a_dead_node_does_not_count() {
    let mut pair = Pair::acquainted();
    let recorded: Vec<_> = (2..60).map(|second| pair.one_says(second * 1_000)).collect();
    // The node that recorded nothing is started anew, and then the recording is played, at its pace and all at once.
    pair.other = HelloExchange::new(Run::new(OTHER + 1));
    for (hello, second) in recorded.iter().zip(100..) {
        pair.other_says(second * 1_000);
        assert_eq!(pair.other_hears(hello, second * 1_000 + 1), Heard::Unproven);
    }
    for hello in &recorded {
        assert_eq!(pair.other_hears(hello, 160_000), Heard::Replayed);
    }
    assert_eq!(pair.other.report(pair.at(160_000).now), WayReport::default());
}

/// The recorded run had been proven to this very run of the receiver, which has known a later run since.
#[test]
fn a_recording_of_a_run_that_is_over_does_not_count() {
    let mut pair = Pair::acquainted();
    let recorded: Vec<_> = (2..6).map(|second| pair.one_says(second * 1_000)).collect();
    for (hello, second) in recorded.iter().zip(2..) {
        assert_eq!(pair.other_hears(hello, second * 1_000 + 1), Heard::Counted);
    }
    let unheard = pair.one_says(6_000);
    pair.one = HelloExchange::new(Run::new(ONE + 1));
    let first = pair.one_says(7_000);
    assert_eq!(pair.other_hears(&first, 7_001), Heard::Unproven);
    let answer = pair.other_says(7_500);
    assert_eq!(pair.one_hears(&answer, 7_501), Heard::Counted);
    let second = pair.one_says(8_000);
    assert_eq!(pair.other_hears(&second, 8_001), Heard::Counted);
    for hello in &recorded {
        assert_eq!(pair.other_hears(hello, 8_100), Heard::Replayed);
    }
    // One that never arrived echoes what is too old.
    assert_eq!(pair.other_hears(&unheard, 8_100), Heard::Unproven);
}

#[test]
fn a_new_run_counts_with_its_second_hello() {
    let mut pair = Pair::acquainted();
    pair.one = HelloExchange::new(Run::new(ONE + 1));
    let first = pair.one_says(2_000);
    assert_eq!(pair.other_hears(&first, 2_001), Heard::Unproven);
    let answer = pair.other_says(2_500);
    assert_eq!(answer.echo.unwrap().run, Run::new(ONE));
    assert_eq!(answer.candidate_echo.map(|echo| (echo.run, echo.sequence)), Some((Run::new(ONE + 1), 1)));
    assert_eq!(pair.one_hears(&answer, 2_501), Heard::Counted);
    let second = pair.one_says(3_000);
    assert_eq!(pair.other_hears(&second, 3_001), Heard::Counted);
    assert_eq!(pair.other_says(3_500).candidate_echo, None);
}

/// What proves both is said at once, and then nothing more than once a second.
#[test]
fn a_new_run_is_answered_until_both_have_proven_themselves() {
    for mut pair in [Pair::new(), Pair::acquainted()] {
        pair.one = HelloExchange::new(Run::new(ONE + 1));
        let first = pair.one_says(2_000);
        assert_eq!(pair.other_hears(&first, 2_001), Heard::Unproven);
        assert!(pair.other.is_answer_due());
        let answer = pair.other_says(2_001);
        assert!(!pair.other.is_answer_due(), "one is enough");
        assert_eq!(pair.one_hears(&answer, 2_002), Heard::Counted);
        assert!(pair.one.is_answer_due() && !pair.one.report(pair.at(2_002).now).counts_us);
        let second = pair.one_says(2_002);
        assert_eq!(pair.other_hears(&second, 2_003), Heard::Counted);
        assert!(pair.other.is_answer_due() && pair.other.report(pair.at(2_003).now).counts_us);
        let last = pair.other_says(2_003);
        assert_eq!(pair.one_hears(&last, 2_004), Heard::Counted);
        assert!(!pair.one.is_answer_due() && pair.one.report(pair.at(2_004).now).counts_us);
        for at in [3_000, 4_000] {
            let (one, other) = (pair.one_says(at), pair.other_says(at));
            pair.one_hears(&other, at + 1);
            pair.other_hears(&one, at + 1);
            assert!(!pair.one.is_answer_due() && !pair.other.is_answer_due());
        }
    }
}

#[test]
fn a_recording_that_has_no_place_is_not_answered() {
    let mut pair = Pair::acquainted();
    let recorded = pair.one_says(2_000);
    pair.one = HelloExchange::new(Run::new(ONE + 1));
    pair.other = HelloExchange::new(Run::new(OTHER + 1));
    let living = pair.one_says(3_000);
    assert_eq!(pair.other_hears(&living, 3_001), Heard::Unproven);
    pair.other_says(3_001);
    assert_eq!(pair.other_hears(&recorded, 3_002), Heard::Unproven);
    assert_eq!(pair.other_hears(&living, 3_003), Heard::Replayed);
    assert!(!pair.other.is_answer_due());
}

/// An upgrade is reversed: the process of before serves again.
#[test]
fn the_run_of_before_comes_back_with_what_is_new() {
    let mut pair = Pair::acquainted();
    let mut newer = HelloExchange::new(Run::new(ONE + 1));
    let first = newer.next(pair.at(2_000), announcement());
    assert_eq!(pair.other_hears(&first, 2_001), Heard::Unproven);
    let answer = pair.other_says(2_500);
    newer.hear(&answer, HELLO_LENGTH, pair.at(2_501));
    let second = newer.next(pair.at(3_000), announcement());
    assert_eq!(pair.other_hears(&second, 3_001), Heard::Counted);
    // The old one hears the node, and answers.
    let answer = pair.other_says(3_500);
    assert_eq!(pair.one_hears(&answer, 3_501), Heard::Counted);
    let back = pair.one_says(4_000);
    assert_eq!(pair.other_hears(&back, 4_001), Heard::Counted);
    assert_eq!(pair.other_hears(&second, 4_002), Heard::Replayed);
}

/// Somebody plays recordings of an old run, many a second, to a node that has just been started.
#[test]
fn replays_do_not_keep_a_living_run_out() {
    let mut pair = Pair::new();
    let mut old = HelloExchange::new(Run::new(ONE - 1));
    let mut recorded = (0..1_000).map(|at| old.next(pair.at(at), announcement())).collect::<Vec<_>>().into_iter();
    let mut replay = |pair: &mut Pair, at: u64| {
        for hello in recorded.by_ref().take(100) {
            assert_eq!(pair.other_hears(&hello, at), Heard::Unproven);
        }
    };
    replay(&mut pair, 5_000);
    let first = pair.one_says(5_100);
    assert_eq!(pair.other_hears(&first, 5_101), Heard::Unproven);
    replay(&mut pair, 5_200);
    let answer = pair.other_says(5_500);
    assert_eq!(answer.candidate_echo.unwrap().run, Run::new(ONE));
    assert_eq!(pair.one_hears(&answer, 5_501), Heard::Counted);
    replay(&mut pair, 5_600);
    let second = pair.one_says(6_100);
    assert_eq!(pair.other_hears(&second, 6_101), Heard::Counted);
}

#[test]
fn a_candidate_that_falls_silent_gives_way() {
    let mut pair = Pair::new();
    let mut ahead = HelloExchange::new(Run::new(ONE - 1));
    let of_a_wrong_clock = ahead.next(pair.at(1_000_000), announcement());
    assert_eq!(pair.other_hears(&of_a_wrong_clock, 0), Heard::Unproven);
    let early = pair.one_says(1_000);
    pair.other_hears(&early, 1_000);
    assert_eq!(pair.other_says(1_001).candidate_echo.unwrap().run, Run::new(ONE - 1));
    assert_eq!(pair.other_says(3_500).candidate_echo, None);
    let later = pair.one_says(4_000);
    pair.other_hears(&later, 4_000);
    assert_eq!(pair.other_says(4_001).candidate_echo.unwrap().run, Run::new(ONE));
}

#[test]
fn an_echo_proves_for_five_seconds() {
    for (arrives, heard) in [(5_000, Heard::Counted), (5_001, Heard::Unproven)] {
        let mut pair = Pair::new();
        let said = pair.one_says(0);
        pair.other_hears(&said, 10);
        let answer = pair.other_says(1_000);
        assert_eq!(pair.one_hears(&answer, arrives), heard);
    }
}

#[test]
fn the_round_trip_is_without_the_time_that_the_other_held_it() {
    let mut pair = Pair::new();
    let said = pair.one_says(0);
    pair.other_hears(&said, 30);
    let mut answer = pair.other_says(830);
    // The other's clock is 5 s ahead.
    answer.sent_at += 5_000_000_000;
    assert_eq!(pair.one_hears(&answer, 850), Heard::Counted);
    let report = pair.one.report(pair.at(850).now);
    assert_eq!(report.round_trip, Some(Duration::from_millis(50)));
    // The ways took 30 and 20 ms, so halves are wrong by 5.
    assert_eq!(report.clock_ahead, Some(5_005_000_000));
    assert!(report.hears_us);
}

#[test]
fn both_learn_the_longest_that_arrives() {
    let mut pair = Pair::acquainted();
    let long = pair.one_says(2_000);
    pair.other.hear(&long, 1_472, pair.at(2_001));
    // Neither a replay nor what is not proven says what arrives.
    pair.other.hear(&long, 9_000, pair.at(2_002));
    let stranger = HelloExchange::new(Run::new(5)).next(pair.at(2_002), announcement());
    pair.other.hear(&stranger, 9_000, pair.at(2_003));
    let said = pair.other_says(2_500);
    assert_eq!(said.longest_heard, 1_472);
    pair.one_hears(&said, 2_501);
    let [here, there] = [&pair.one, &pair.other].map(|exchange| exchange.report(pair.at(2_501).now));
    assert_eq!([here.longest_heard, here.longest_heard_there], [HELLO_LENGTH as u16, 1_472]);
    assert_eq!([there.longest_heard, there.longest_heard_there], [1_472, HELLO_LENGTH as u16]);
}

#[test]
fn a_length_that_no_longer_arrives_is_forgotten() {
    let mut pair = Pair::acquainted();
    let mut longest = Vec::new();
    for second in 2..200 {
        let hello = pair.one_says(second * 1_000);
        let octets = if second < 40 && hello.sequence % PADDED_EVERY == 3 { 1_472 } else { HELLO_LENGTH };
        assert_eq!(pair.other.hear(&hello, octets, pair.at(second * 1_000)), Heard::Counted);
        longest.push(pair.other.report(pair.at(second * 1_000).now).longest_heard);
    }
    let first_short = longest.iter().rposition(|&octets| octets == 1_472).unwrap() as u64 + 3;
    assert!((60 + 30..120 + 40).contains(&first_short), "{first_short}");
    // And nothing where nothing arrives.
    assert_eq!(pair.other.report(pair.at(400_000).now).longest_heard, 0);
}
