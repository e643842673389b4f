use router_common::{admission::Rate, maps::Block, reason::Reason};

use super::{super::connection_ids::configuration::tests::configuration, *};

impl NodeTables {
    /// Of node 7; all slots are free, and there is no listener.
    pub(crate) fn for_tests() -> Self {
        let without = Arc::new(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[9; 32]));
        let ids = Arc::new(ConnectionIds::new(configuration(0), without));
        Self::new(Settings::new(7, 17, GenerationId::new(1)), ids, [1, 2])
    }
}

/// A source port that is not refused.
const PORT: u16 = 4000;

fn from(port: u16) -> Endpoint {
    Endpoint { address: Address::ipv4([192, 0, 2, 1]), port }
}

fn tables() -> NodeTables {
    let tables = NodeTables::for_tests();
    tables.set_slot_state(SlotId::new(3), SlotState::Active);
    tables
}

fn one_rtt(cid: &ConnectionId) -> Vec<u8> {
    let mut payload = vec![0x40];
    payload.extend(cid.as_slice());
    payload.extend([0; 24]);
    payload
}

fn initial(cid: &ConnectionId) -> Vec<u8> {
    let mut payload = vec![0xc0, 0, 0, 0, 1, cid.len() as u8];
    payload.extend(cid.as_slice());
    payload.resize(1200, 0);
    payload
}

fn delivery(Steered { verdict, rotation }: Steered) -> (u8, Reason) {
    assert_eq!(rotation.is_some(), verdict.reason() == Reason::Cid);
    match verdict {
        Verdict::Deliver(delivery) => (delivery.number.get(), delivery.reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cid_of_ours_names_its_slot_whichever_worker_got_the_packet() {
    let tables = tables();
    let cid = tables.connection_ids().issue(SlotId::new(3));
    for placement in [Placement::Kernel(SlotId::new(5)), Placement::Assignment] {
        assert_eq!(delivery(tables.steer(&one_rtt(&cid), &from(PORT), placement)), (3, Reason::Cid));
    }
}

#[test]
fn what_the_kernel_placed_stays_there() {
    let tables = tables();
    tables.set_slot_state(SlotId::new(5), SlotState::Active);
    let chosen = ConnectionId::new(&[0xe7; 8]).unwrap();
    assert_eq!(
        delivery(tables.steer(&initial(&chosen), &from(PORT), Placement::Kernel(SlotId::new(5)))),
        (5, Reason::Assigned)
    );
}

#[test]
fn a_first_flight_stays_with_the_worker_that_accepted_it() {
    let tables = tables();
    // Chosen by the client, and looking like slot 3's by chance.
    let chosen = tables.connection_ids().issue(SlotId::new(3));
    tables.set_slot_state(SlotId::new(5), SlotState::Active);
    tables.first_flights().insert(chosen, SlotId::new(5));
    assert_eq!(
        delivery(tables.steer(&initial(&chosen), &from(PORT), Placement::Kernel(SlotId::new(5)))),
        (5, Reason::Flow)
    );
    tables.first_flights().remove(&chosen);
    assert_eq!(
        delivery(tables.steer(&initial(&chosen), &from(PORT), Placement::Kernel(SlotId::new(5)))),
        (3, Reason::Cid)
    );
}

#[test]
fn first_flights_from_some_ports_are_refused_and_nothing_else() {
    let tables = tables();
    tables.assign(&vec![Assigned::to(SlotId::new(3)); router_common::maps::ASSIGNMENT_SIZE as usize]);
    tables.set_source_ports(SourcePorts::refusing(&[53..=53]).to_vec());
    let chosen = ConnectionId::new(&[0xe7; 8]).unwrap();
    let come = |port, payload: &[u8]| tables.steer(payload, &from(port), Placement::Assignment);
    assert_eq!(come(53, &initial(&chosen)).verdict, Verdict::Drop(Reason::SourcePort));
    assert_eq!(delivery(come(54, &initial(&chosen))), (3, Reason::Assigned));
    // Of a connection that is there.
    let own = tables.connection_ids().issue(SlotId::new(3));
    assert_eq!(delivery(come(53, &one_rtt(&own))), (3, Reason::Cid));
    tables.first_flights().insert(chosen, SlotId::new(3));
    assert_eq!(delivery(come(53, &initial(&chosen))), (3, Reason::Flow));
}

#[test]
fn unknown_ones_are_limited_where_no_kernel_has_done_so() {
    let tables = tables();
    tables.assign(&vec![Assigned::to(SlotId::new(3)); router_common::maps::ASSIGNMENT_SIZE as usize]);
    // One a second, and one at once.
    let one = |of| Rate::per_second(1).filter(|_| of == Limited::Unknown);
    let limited = Admission::default().limiting(one);
    tables.set_admission(limited);
    let garbage = one_rtt(&ConnectionId::new(&[0xff; 17]).unwrap());
    let come = |placement| tables.steer(&garbage, &from(PORT), placement);
    assert_eq!(delivery(come(Placement::Assignment)), (3, Reason::Unknown));
    assert_eq!(come(Placement::Assignment).verdict, Verdict::Drop(Reason::UnknownLimited));
    assert_eq!(delivery(come(Placement::Kernel(SlotId::new(3)))), (3, Reason::Unknown));
    // What is known, or may begin a connection, is not asked.
    let own = tables.connection_ids().issue(SlotId::new(3));
    assert_eq!(delivery(tables.steer(&one_rtt(&own), &from(PORT), Placement::Assignment)), (3, Reason::Cid));
    let chosen = ConnectionId::new(&[0xe7; 8]).unwrap();
    assert_eq!(delivery(tables.steer(&initial(&chosen), &from(PORT), Placement::Assignment)), (3, Reason::Assigned));
    // Set again, it begins anew; and for a while after a start nothing is limited.
    tables.set_admission(limited.limiting(one));
    assert_eq!(delivery(come(Placement::Assignment)), (3, Reason::Unknown));
    tables.set_admission(limited.limiting_unknown_from(u64::MAX));
    assert_eq!(delivery(come(Placement::Assignment)), (3, Reason::Unknown));
}

#[test]
fn so_are_unknown_versions() {
    let tables = tables();
    tables.assign(&vec![Assigned::to(SlotId::new(3)); router_common::maps::ASSIGNMENT_SIZE as usize]);
    tables.set_admission(
        Admission::default().limiting(|of| Rate::per_second(1).filter(|_| of == Limited::VersionNegotiation)),
    );
    let chosen = ConnectionId::new(&[0xe7; 8]).unwrap();
    let mut unknown = initial(&chosen);
    unknown[1] = 0xfa;
    let come = |payload: &[u8]| tables.steer(payload, &from(PORT), Placement::Assignment);
    assert_eq!(delivery(come(&unknown)), (3, Reason::Assigned));
    assert_eq!(come(&unknown).verdict, Verdict::Drop(Reason::NegotiationLimited));
    assert_eq!(delivery(come(&initial(&chosen))), (3, Reason::Assigned));
    // Of a connection that is there.
    tables.first_flights().insert(chosen, SlotId::new(3));
    assert_eq!(delivery(come(&unknown)), (3, Reason::Flow));
}

#[test]
fn blocked_sources_are_dropped_where_no_kernel_has_done_so() {
    let tables = tables();
    tables.assign(&vec![Assigned::to(SlotId::new(3)); router_common::maps::ASSIGNMENT_SIZE as usize]);
    tables.set_source_ports(SourcePorts::refusing(&[53..=53]).to_vec());
    let counts = [BlockCount::default(), BlockCount::default()];
    let entry = |prefix: &str, block, n: usize| (prefix.parse().unwrap(), block, counts[n].clone());
    tables.set_blocks(BlockTable::new([
        entry("192.0.2.0/24", Block::new(BlockAction::Drop, 1, 0), 0),
        entry("192.0.2.7", Block::new(BlockAction::Allow, 2, 0), 1),
        entry("192.0.2.8", Block::new(BlockAction::Drop, 3, 1), 1),
    ]));
    let chosen = ConnectionId::new(&[0xe7; 8]).unwrap();
    let garbage = one_rtt(&ConnectionId::new(&[0xff; 17]).unwrap());
    let own = tables.connection_ids().issue(SlotId::new(3));
    let come = |last, port, payload: &[u8]| {
        let source = Endpoint { address: Address::ipv4([192, 0, 2, last]), port };
        tables.steer(payload, &source, Placement::Assignment)
    };
    assert_eq!(come(1, PORT, &initial(&chosen)).verdict, Verdict::Drop(Reason::Blocked));
    assert_eq!(come(1, PORT, &garbage).verdict, Verdict::Drop(Reason::Blocked));
    // Of a connection that is there.
    assert_eq!(delivery(come(1, PORT, &one_rtt(&own))), (3, Reason::Cid));
    // Whom an entry allows in, no port keeps out.
    assert_eq!(delivery(come(7, 53, &initial(&chosen))), (3, Reason::Assigned));
    assert_eq!((counts[0].get(), counts[1].get()), (2, 1));
    // What has ended is none, and the shorter one does not stand in for it until it is removed.
    assert_eq!(delivery(come(8, PORT, &initial(&chosen))), (3, Reason::Assigned));
    // A look counts nothing.
    assert_eq!(tables.listed(Address::ipv4([192, 0, 2, 1])), Listed::Drop);
    assert_eq!((tables.block_total(BlockAction::Drop), tables.block_total(BlockAction::Allow)), (2, 1));
    tables.set_blocks(BlockTable::default());
    assert_eq!(delivery(come(1, PORT, &initial(&chosen))), (3, Reason::Assigned));
}

#[test]
fn without_a_kernel_the_assignment_places() {
    let tables = tables();
    let chosen = ConnectionId::new(&[0xe7; 8]).unwrap();
    assert_eq!(
        tables.steer(&initial(&chosen), &from(PORT), Placement::Assignment).verdict,
        Verdict::Pass(Reason::NoSlot)
    );
    tables.assign(&vec![Assigned::to(SlotId::new(3)); router_common::maps::ASSIGNMENT_SIZE as usize]);
    assert_eq!(delivery(tables.steer(&initial(&chosen), &from(PORT), Placement::Assignment)), (3, Reason::Assigned));
}
