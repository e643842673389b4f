//! The form of a hello, and who can read and write it.

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
