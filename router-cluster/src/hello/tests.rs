use std::time::{Duration, Instant};

use super::{wire::CONTENT_LENGTH, *};
use crate::{
    membership::{NodeNumber, NodeState, TunnelVersions},
    secret::ClusterSecret,
};

const SECRET: [u8; 32] = [0x5a; 32];

fn number(number: u16) -> NodeNumber {
    NodeNumber::new(number).unwrap()
}

fn link(own: u16, peer: u16) -> HelloLink {
    HelloLink::new(&ClusterSecret::from(SECRET), number(own), number(peer))
}

fn announcement() -> Announcement {
    Announcement {
        state: NodeState::Up,
        takes_new_connections: true,
        weight: 250,
        revision: 0x0102_0304_0506_0708,
        tunnel_versions: TunnelVersions { lowest: 1, highest: 2 },
    }
}

/// Every field has a value of its own, so that two that are taken for one another are seen.
fn hello() -> Hello {
    Hello {
        run: Run::new(11),
        sequence: 12,
        sent_at: 13,
        announcement: announcement(),
        continues: true,
        longest_heard: 1_472,
        echo: Some(Echo { run: Run::new(14), sequence: 15, held: 16 }),
        candidate_echo: Some(Echo { run: Run::new(17), sequence: 18, held: 19 }),
    }
}

mod on_the_wire {
    use super::*;

    #[test]
    fn what_is_sealed_opens() {
        let quiet = Announcement {
            state: NodeState::Draining,
            takes_new_connections: false,
            weight: 0,
            revision: u64::MAX,
            tunnel_versions: TunnelVersions { lowest: 7, highest: 7 },
        };
        let last = Hello { announcement: quiet, continues: false, echo: None, candidate_echo: None, ..hello() };
        for said in [hello(), last, Hello { echo: None, ..hello() }, Hello { candidate_echo: None, ..hello() }] {
            let datagram = link(1, 2).seal(&said, 0).unwrap();
            assert_eq!(datagram.len(), HELLO_LENGTH);
            assert_eq!(link(2, 1).open(&datagram), Ok(said));
        }
    }

    #[test]
    fn its_header_is_gues() {
        let datagram = link(0x102, 0x304).seal(&hello(), 0).unwrap();
        // Version 0, control bit, five words of header; control type; flags; version; sender; receiver.
        assert_eq!(datagram[..12], [0x25, 0x81, 0, 0, 1, 0, 1, 2, 3, 4, 0, 0]);
        let header = Header::read(&datagram).unwrap();
        assert_eq!((header.sender, header.receiver), (number(0x102), number(0x304)));
    }

    #[test]
    fn two_datagrams_never_have_one_nonce() {
        let link = link(1, 2);
        let nonces: std::collections::HashSet<_> =
            (0..1_000).map(|_| link.seal(&hello(), 0).unwrap()[12..24].to_vec()).collect();
        assert_eq!(nonces.len(), 1_000);
    }

    #[test]
    fn padding_makes_it_as_long_as_the_interface_carries() {
        for length in [HELLO_LENGTH as u16 - 1, HELLO_LENGTH as u16, HELLO_LENGTH as u16 + 1, 1_472, 8_972, u16::MAX] {
            let datagram = link(1, 2).seal(&hello(), length).unwrap();
            assert_eq!(datagram.len(), HELLO_LENGTH.max(length.into()));
            assert_eq!(link(2, 1).open(&datagram), Ok(hello()));
        }
    }

    #[test]
    fn one_in_thirty_is_padded() {
        let padded = |sequence| Hello { sequence, ..hello() }.is_padded();
        let sequences: Vec<_> = (1..100).filter(|&sequence| padded(sequence)).collect();
        assert_eq!(sequences, [3, 33, 63, 93]);
    }

    #[test]
    fn no_octet_can_be_changed() {
        for length in [0, 200] {
            let datagram = link(1, 2).seal(&hello(), length).unwrap();
            for at in 0..datagram.len() {
                for bit in 0..8 {
                    let mut changed = datagram.clone();
                    changed[at] ^= 1 << bit;
                    link(2, 1).open(&changed).expect_err("no changed datagram opens");
                }
            }
        }
    }

    #[test]
    fn no_octet_can_be_missing_or_added() {
        let datagram = link(1, 2).seal(&hello(), 160).unwrap();
        for length in 0..datagram.len() {
            link(2, 1).open(&datagram[..length]).expect_err("no truncated datagram opens");
        }
        let longer = [&datagram, [0].as_slice()].concat();
        assert_eq!(link(2, 1).open(&longer), Err(HelloError::NotAuthentic(number(1))));
        assert_eq!(Header::read(&datagram[..23]), Err(HelloError::Truncated { octets: 23 }));
    }

    #[test]
    fn nobody_else_opens_it() {
        let datagram = link(1, 2).seal(&hello(), 0).unwrap();
        let mut secret = SECRET;
        secret[31] ^= 1;
        let wrong_secret = HelloLink::new(&ClusterSecret::from(secret), number(2), number(1));
        assert_eq!(wrong_secret.open(&datagram), Err(HelloError::NotAuthentic(number(1))));
        let for_another = HelloError::OtherReceiver { receiver: number(2), own: number(3) };
        assert_eq!(link(3, 1).open(&datagram), Err(for_another));
        let of_another = HelloError::OtherSender { sender: number(1), peer: number(3) };
        assert_eq!(link(2, 3).open(&datagram), Err(of_another));
        // Nor does it come back to where it came from.
        assert!(matches!(link(1, 2).open(&datagram), Err(HelloError::OtherReceiver { .. })));
    }

    #[test]
    fn numbers_that_are_rewritten_do_not_open() {
        let datagram = link(1, 2).seal(&hello(), 0).unwrap();
        let rewritten = |at: usize, to: u8| {
            let mut datagram = datagram.clone();
            datagram[at] = to;
            datagram
        };
        // Also with both swapped, where the directions' keys are all that differs.
        let mut swapped = rewritten(7, 2);
        swapped[9] = 1;
        assert_eq!(link(1, 2).open(&swapped), Err(HelloError::NotAuthentic(number(2))));
        assert_eq!(link(3, 1).open(&rewritten(9, 3)), Err(HelloError::NotAuthentic(number(1))));
        assert_eq!(link(2, 3).open(&rewritten(7, 3)), Err(HelloError::NotAuthentic(number(3))));
        assert_eq!(Header::read(&rewritten(7, 0)), Err(HelloError::NoNode));
    }

    #[test]
    fn other_datagrams_are_told_apart() {
        let datagram = link(1, 2).seal(&hello(), 0).unwrap();
        let with = |at: usize, to: u8| {
            let mut datagram = datagram.clone();
            datagram[at] = to;
            Header::read(&datagram)
        };
        // A packet of the tunnel: no control bit, Hlen 3.
        assert_eq!(with(0, 0x03), Err(HelloError::NoControlMessage));
        assert_eq!(with(0, 0x65), Err(HelloError::NoControlMessage));
        assert_eq!(with(1, 4), Err(HelloError::OtherControlType(4)));
        for reserved in [2, 3, 5, 10, 11] {
            assert_eq!(with(reserved, 1), Err(HelloError::NoControlMessage), "octet {reserved}");
        }
        assert_eq!(with(4, 2), Err(HelloError::OtherVersion(2)));
        assert!(with(4, 2).unwrap_err().to_string().contains("version 2"));
    }

    /// A node of the next version says more; one of this version takes what it knows.
    #[test]
    fn a_newer_form_is_read_as_far_as_it_is_known() {
        let mut content = Vec::new();
        wire::write_content(&hello(), &mut content);
        let newer = |mut content: Vec<u8>| {
            content.extend([0xab; 40]);
            content[..2].copy_from_slice(&(CONTENT_LENGTH as u16 - 2 + 40).to_be_bytes());
            link(1, 2).seal_as(content).unwrap()
        };
        assert_eq!(link(2, 1).open(&newer(content.clone())), Ok(hello()));
        // A state and flags that this version does not know: alive, and nothing is placed there.
        (content[26], content[27]) = (9, 0xff);
        let opened = link(2, 1).open(&newer(content)).unwrap();
        assert_eq!(opened.announcement.state, NodeState::Draining);
        assert!(opened.continues && opened.announcement.takes_new_connections);
    }

    #[test]
    fn content_that_is_wrong_is_refused_though_it_is_authentic() {
        let mut content = Vec::new();
        wire::write_content(&hello(), &mut content);
        let malformed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut content = content.clone();
            change(&mut content);
            let opened = link(2, 1).open(&link(1, 2).seal_as(content).unwrap());
            assert!(matches!(opened, Err(HelloError::Malformed(_))), "{opened:?}");
        };
        // Lengths between nothing and the fields, and beyond the datagram.
        for length in (0..CONTENT_LENGTH as u16 - 2).chain([CONTENT_LENGTH as u16 - 1, u16::MAX]) {
            malformed(&|content| content[..2].copy_from_slice(&length.to_be_bytes()));
        }
        malformed(&|content| content[2..10].fill(0));
        malformed(&|content| content[38] = 3);
    }

    #[test]
    fn nothing_tells_the_secret() {
        assert_eq!(format!("{:?}", link(1, 2)), "HelloLink { own: node 1, peer: node 2, .. }");
    }
}

/// Two nodes' exchanges, and the clocks by which they go.
struct Pair {
    began: Instant,
    one: HelloExchange,
    other: HelloExchange,
}

const ONE: u64 = 100;
const OTHER: u64 = 200;

impl Pair {
    fn new() -> Self {
        let exchange = |run| HelloExchange::new(Run::new(run));
        Self { began: Instant::now(), one: exchange(ONE), other: exchange(OTHER) }
    }

    fn at(&self, milliseconds: u64) -> Moment {
        let since = Duration::from_millis(milliseconds);
        Moment { now: self.began + since, wall_clock: 1_000_000_000_000 + since.as_nanos() as u64 }
    }

    fn one_says(&mut self, at: u64) -> Hello {
        self.one.next(self.at(at), announcement())
    }

    fn other_says(&mut self, at: u64) -> Hello {
        self.other.next(self.at(at), announcement())
    }

    fn one_hears(&mut self, hello: &Hello, at: u64) -> Heard {
        self.one.hear(hello, HELLO_LENGTH, self.at(at))
    }

    fn other_hears(&mut self, hello: &Hello, at: u64) -> Heard {
        self.other.hear(hello, HELLO_LENGTH, self.at(at))
    }

    /// Both have proven that they are alive, within two seconds.
    fn acquainted() -> Self {
        let mut pair = Self::new();
        let first = pair.one_says(0);
        assert_eq!(pair.other_hears(&first, 1), Heard::Unproven);
        let answer = pair.other_says(500);
        assert_eq!(pair.one_hears(&answer, 501), Heard::Counted);
        let second = pair.one_says(1_000);
        assert_eq!(pair.other_hears(&second, 1_001), Heard::Counted);
        pair
    }
}

mod exchanged {
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
            let octets = if second < 40 && hello.is_padded() { 1_472 } else { HELLO_LENGTH };
            assert_eq!(pair.other.hear(&hello, octets, pair.at(second * 1_000)), Heard::Counted);
            longest.push(pair.other.report(pair.at(second * 1_000).now).longest_heard);
        }
        let first_short = longest.iter().rposition(|&octets| octets == 1_472).unwrap() as u64 + 3;
        assert!((60 + 30..120 + 40).contains(&first_short), "{first_short}");
        // And nothing where nothing arrives.
        assert_eq!(pair.other.report(pair.at(400_000).now).longest_heard, 0);
    }
}

mod to_all {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn nodes(count: u16) -> BTreeSet<NodeNumber> {
        (1..=count).map(number).collect()
    }

    fn hellos(own: u16, count: u16) -> Hellos {
        let mut hellos = Hellos::new(ClusterSecret::from(SECRET), number(own), Run::new(own.into()));
        hellos.members(&nodes(count));
        hellos
    }

    fn at(seconds: u64) -> Moment {
        static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        Moment { now: *BEGAN + Duration::from_secs(seconds), wall_clock: seconds * 1_000_000_000 }
    }

    /// What is said this second, as those that it is for read it.
    fn said(hellos: &mut Hellos, seconds: u64) -> BTreeMap<NodeNumber, Hello> {
        let outgoing = hellos.say(at(seconds), announcement(), |_| 1_472).unwrap();
        outgoing.into_iter().map(|one| (one.to, link(one.to.get(), 1).open(&one.datagram).unwrap())).collect()
    }

    #[test]
    fn each_other_node_is_told_and_no_other() {
        let mut hellos = hellos(1, 5);
        let mut others = nodes(5);
        others.remove(&number(1));
        assert!(said(&mut hellos, 0).into_keys().eq(others));
        hellos.members(&[1, 2, 9].map(number).into());
        let said = said(&mut hellos, 1);
        assert!(said.keys().copied().eq([number(2), number(9)]));
        assert_eq!([said[&number(2)].sequence, said[&number(9)].sequence], [2, 1]);
    }

    #[test]
    fn those_that_are_no_longer_chosen_are_told_three_times() {
        let mut hellos = hellos(1, 64);
        assert_eq!(said(&mut hellos, 0).len(), 63);
        hellos.members(&nodes(66));
        let chosen = Audiences::new(&nodes(66)).of(number(1));
        for second in 1..=5 {
            // Another change does not begin it anew.
            hellos.members(&nodes(66));
            let said = said(&mut hellos, second);
            let (last, others): (Vec<_>, Vec<_>) = said.into_iter().partition(|(_, hello)| !hello.continues);
            assert!(others.into_iter().map(|(to, _)| to).eq(chosen.iter().copied()));
            // Those that are new were never told anything.
            let left_out = nodes(64).into_iter().filter(|node| *node != number(1) && !chosen.contains(node));
            let expected: Vec<_> = if second <= 3 { left_out.collect() } else { Vec::new() };
            assert!(last.into_iter().map(|(to, _)| to).eq(expected), "{second}");
        }
        hellos.members(&nodes(64));
        let said = said(&mut hellos, 6);
        assert!(said.len() == 63 && said.values().all(|hello| hello.continues));
    }

    #[test]
    fn some_are_padded_to_what_the_interface_carries() {
        let mut hellos = hellos(1, 3);
        let longest = |to: NodeNumber| if to == number(2) { 1_472 } else { 8_972 };
        for second in 1..=34 {
            let outgoing = hellos.say(at(second), announcement(), longest).unwrap();
            let lengths: Vec<_> = outgoing.iter().map(|one| one.datagram.len()).collect();
            let expected = if second % 30 == 3 { [1_472, 8_972] } else { [HELLO_LENGTH; 2] };
            assert_eq!(lengths, expected, "{second}");
        }
    }

    #[test]
    fn what_arrives_is_told_with_its_sender() {
        let [mut one, mut two] = [hellos(1, 2), hellos(2, 2)];
        let first = one.say(at(0), announcement(), |_| 0).unwrap();
        let incoming = two.hear(at(0), &first[0].datagram).unwrap();
        assert_eq!((incoming.from, incoming.heard), (number(1), Heard::Unproven));
        assert_eq!(incoming.hello.announcement, announcement());
        let answer = two.say(at(1), announcement(), |_| 0).unwrap();
        let incoming = one.hear(at(1), &answer[0].datagram).unwrap();
        assert_eq!((incoming.from, incoming.heard), (number(2), Heard::Counted));
        assert!(incoming.way.hears_us && incoming.way == one.ways(at(1).now)[&number(2)]);
        assert_eq!(one.hear(at(1), &answer[0].datagram).unwrap().heard, Heard::Replayed);
    }

    #[test]
    fn what_is_nothing_of_this_cluster_is_refused() {
        let mut hellos = hellos(1, 3);
        let from = |own: u16, to: u16| link(own, to).seal(&hello(), 0).unwrap();
        assert_eq!(hellos.hear(at(0), &from(4, 1)), Err(HelloError::UnknownSender(number(4))));
        let for_another = HelloError::OtherReceiver { receiver: number(3), own: number(1) };
        assert_eq!(hellos.hear(at(0), &from(2, 3)), Err(for_another));
        // Its own hello, sent back.
        assert!(matches!(hellos.hear(at(0), &from(1, 2)), Err(HelloError::OtherReceiver { .. })));
        assert_eq!(hellos.hear(at(0), &from(1, 1)), Err(HelloError::UnknownSender(number(1))));
        assert_eq!(hellos.hear(at(0), b"no hello"), Err(HelloError::Truncated { octets: 8 }));
        assert!(hellos.ways(at(0).now).values().all(|way| *way == WayReport::default()));
    }

    #[test]
    fn nothing_tells_the_secret() {
        assert_eq!(format!("{:?}", hellos(1, 3)), "Hellos { own: node 1, peers: [node 2, node 3], .. }");
    }
}
