//! Configurations of all legal lengths, in clear and encrypted.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn keys() -> CidKeys {
    CidKeys::new(&[0x42; 16], [1, 2])
}

fn nonce(octets: [u8; MAX_LENGTH]) -> Nonce {
    Nonce { octets, low_bits: octets[0] }
}

/// Every identity and length there can be, in clear and encrypted.
fn each_config(mut check: impl FnMut(Identity, CidConfig)) {
    let server_ids = (1..=MAX_SERVER_ID_LENGTH).filter_map(|n| Identity::server_id(&[0xa5; 15][..n]));
    for identity in server_ids.chain([Identity::node(0x1234)]) {
        for length in identity.server_id_length() + 5..=MAX_LENGTH {
            check(identity, CidConfig::in_clear(identity, length).expect("legal"));
            check(identity, CidConfig::encrypted(identity, length).expect("legal"));
        }
    }
}

#[test]
fn in_clear_node_and_slot_can_be_read() {
    let config = CidConfig::in_clear(Identity::node(0x1234), 17).expect("legal");
    let cid =
        config.encode(ConfigRotation::new(2), SlotId::new(0x56), &nonce([0xaa; 20]), &keys()).expect("a rotation");
    assert_eq!(cid.as_slice()[..4], [2 << 5 | 16, 0x12, 0x34, 0x56]);
    assert_eq!(cid.as_slice()[4..], [0xaa; 13]);
    assert_eq!((cid.rotation(), cid.length_bits()), (ConfigRotation::new(2), 16));
}

/// As a load balancer in front wants it: the server ID in octets 1 to 8.
#[test]
fn a_server_id_from_outside_stands_in_clear_and_the_slot_does_not() {
    let identity = Identity::server_id(b"8 octets").expect("8 octets");
    let config = CidConfig::in_clear(identity, 16).expect("legal");
    assert_eq!((config.encoding(), config.free_octets()), (Some(Encoding::ClearMaskedSlot), 6));
    let seen: HashSet<u8> = (0..=255_u8)
        .map(|n| {
            let cid =
                config.encode(ConfigRotation::new(0), SlotId::new(3), &nonce([n; 20]), &keys()).expect("a rotation");
            assert_eq!(cid.as_slice()[1..9], *b"8 octets");
            assert_eq!(cid.as_slice()[10..], [n; 6]);
            assert_eq!(config.slot(&cid, &keys()), Some(SlotId::new(3)));
            cid.as_slice()[9]
        })
        .collect();
    // 256 draws from 256 values hit 162 of them in the mean.
    assert!(seen.len() > 120, "the slot shows through its mask: {} values", seen.len());
}

#[test]
fn what_cannot_be() {
    assert_eq!(Identity::server_id(&[]), None);
    assert_eq!(Identity::server_id(&[0; 16]), None);
    for length in [0, 1, 7, 21] {
        assert_eq!(CidConfig::encrypted(Identity::node(1), length), None, "{length}");
    }
    let config = CidConfig::encrypted(Identity::node(1), 17).expect("legal");
    assert_eq!(config.encode(UNROUTABLE, SlotId::new(0), &nonce([0; 20]), &keys()), None);
    assert_eq!(CidConfig::default().slot(&ConnectionId::new(&[0; 17]).expect("17 octets"), &keys()), None);
}

#[test]
fn the_low_bits_tell_the_length_or_nothing() {
    let config = CidConfig::encrypted(Identity::node(1), 17).expect("legal");
    let first = |config: CidConfig| {
        let cid =
            config.encode(ConfigRotation::new(5), SlotId::new(0), &nonce([0xff; 20]), &keys()).expect("a rotation");
        (cid.rotation(), cid.length_bits())
    };
    assert_eq!(first(config), (ConfigRotation::new(5), 16));
    assert_eq!(first(config.describing_length(false)), (ConfigRotation::new(5), 31));
}

proptest! {
    #[test]
    fn what_was_issued_is_recognised(rotation in 0..7_u8, slot: u8, octets: [u8; 20]) {
        let (keys, nonce) = (keys(), nonce(octets));
        let (rotation, slot) = (ConfigRotation::new(rotation), SlotId::new(slot));
        let mut failed = None;
        each_config(|identity, config| {
            let cid = config.encode(rotation, slot, &nonce, &keys).expect("a rotation");
            let opened = config.open(&cid, &keys).expect("its length");
            let right = cid.len() == config.length()
                && cid.rotation() == rotation
                && config.slot(&cid, &keys) == Some(slot)
                && opened.is_of(&config)
                && opened.slot() == slot
                && opened.server_id().starts_with(config.identity())
                && opened.nonce().ends_with(&octets[..config.free_octets()]);
            if !right {
                failed = Some((identity, config, cid));
            }
        });
        prop_assert_eq!(failed, None);
    }

    /// Whether asked in short or in full, the answer is one; also for another's.
    #[test]
    fn both_decoders_agree(octets: [u8; 20], own in 0..15_usize) {
        let keys = keys();
        let mut failed = None;
        each_config(|_, config| {
            let mut octets = octets;
            // Random octets hardly ever begin with the identity: in clear, let some do so.
            let identity = config.identity();
            let length = own.min(identity.len());
            octets[1..=length].copy_from_slice(&identity[..length]);
            let cid = ConnectionId::new(&octets[..config.length()]).expect("at most 20 octets");
            let opened = config.open(&cid, &keys).expect("its length");
            let in_full = opened.is_of(&config).then(|| opened.slot());
            if config.slot(&cid, &keys) != in_full {
                failed = Some((config, cid));
            }
        });
        prop_assert_eq!(failed, None);
    }

    #[test]
    fn two_slots_never_make_one_connection_id(octets: [u8; 20], one: u8, other: u8) {
        prop_assume!(one != other);
        let keys = keys();
        let mut failed = None;
        each_config(|_, config| {
            let issue = |slot| config.encode(ConfigRotation::new(0), SlotId::new(slot), &nonce(octets), &keys);
            if issue(one) == issue(other) {
                failed = Some(config);
            }
        });
        prop_assert_eq!(failed, None);
    }
}
