//! The Retry packet (RFC 9000 section 17.2.5) that asks a client to show that it receives at its address, before
//! anything is kept about it.

use super::{
    answer::Scratch,
    ghash,
    token::{RETRY_SOURCE_LENGTH, Token, TokenKey, is_retry_source},
};
use crate::{
    connection_id::{ConnectionId, UNROUTABLE},
    frame::Endpoint,
    quic::VERSION_1,
};

/// What a Retry is to answer: an Initial of version 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Who sent it.
    pub client: Endpoint,
    /// Its destination connection ID, which the client has chosen.
    pub destination: ConnectionId,
    /// Its source connection ID.
    pub source: ConnectionId,
    /// The seconds from 1970 on.
    pub now: u64,
    /// What the Retry's own connection ID is made of.
    pub random: u64,
}

/// Writes the Retry that answers `request`, with a token under `key`, to `scratch`; how long it is: 80 to 132 octets.
///
/// Its source connection ID has 8 octets, and says that it was issued without a configuration: no node decodes it, and
/// what comes to it is placed as any first flight is.
#[inline(always)]
pub fn retry(request: &Request, key: &TokenKey, scratch: &mut Scratch) -> usize {
    let retry_source = source_id(request);
    let mut fields = scratch.fields();
    // The Retry Pseudo-Packet (RFC 9001 section 5.8), which the tag is of.
    fields.connection_id(&request.destination);
    let start = fields.length();
    // The last four bits mean nothing; quinn has none set either.
    fields.u8(RETRY);
    fields.u32(VERSION_1);
    fields.connection_id(&request.source);
    fields.u8(RETRY_SOURCE_LENGTH as u8);
    fields.u64(retry_source);
    let token = Token { client: request.client, original: request.destination, issued: request.now, retry_source };
    token.write(key, VERSION_1, &mut fields);
    let tag = ghash::VERSION_1.tag(fields.words(), fields.length());
    fields.block(tag);
    fields.answer_from(start)
}

/// The Retry's source connection ID, big-endian. A client discards a Retry with the one that it had chosen itself.
#[inline(always)]
fn source_id(request: &Request) -> u64 {
    let id = request.random | u64::from(UNROUTABLE) << 61;
    if is_retry_source(&request.destination, id) { id ^ 1 } else { id }
}

const RETRY: u8 = 0xf0;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        admission::{ANSWER_MAX, Presented, TokenFault, TokenKeys, token, verify},
        frame::{Address, Payload},
    };

    const NOW: u64 = 1_800_000_000;
    const EPOCH: u32 = 500_000;

    fn id(octets: &[u8]) -> ConnectionId {
        ConnectionId::new(octets).unwrap()
    }

    fn retry_id(octets: u64) -> ConnectionId {
        id(&octets.to_be_bytes())
    }

    fn keys() -> TokenKeys {
        TokenKeys::new(TokenKey::new(EPOCH, [1, 2]), TokenKey::new(EPOCH - 1, [3, 4]))
    }

    fn client(last: u8, port: u16) -> Endpoint {
        Endpoint { address: Address::ipv4([192, 0, 2, last]), port }
    }

    fn request() -> Request {
        Request {
            client: client(1, 50_000),
            destination: id(&[7; 8]),
            source: id(&[9; 5]),
            now: NOW,
            random: 0x0123_4567_89ab_cdef,
        }
    }

    /// What a client that got the Retry presents.
    fn presented(request: &Request) -> Presented {
        let destination = retry_id(source_id(request));
        Presented { client: request.client, version: VERSION_1, destination, now: request.now }
    }

    /// The Retry that answers `request`.
    fn packet(request: &Request, keys: &TokenKeys) -> Vec<u8> {
        let mut scratch = Scratch::EMPTY;
        let length = retry(request, keys.issuing().unwrap(), &mut scratch);
        assert!((80..=132).contains(&length), "{length}");
        scratch.answer().0[..length].to_vec()
    }

    /// Its token.
    fn token(request: &Request, keys: &TokenKeys) -> Vec<u8> {
        let packet = packet(request, keys);
        packet[1 + 4 + 1 + request.source.len() + 1 + 8..packet.len() - 16].to_vec()
    }

    fn verified(token: &[u8], presented: &Presented) -> Result<ConnectionId, TokenFault> {
        verify(token, Payload { at: 0, length: token.len() }, presented, &keys())
    }

    #[test]
    fn the_header_is_a_retrys() {
        let packet = packet(&request(), &keys());
        assert_eq!(packet[..12], [0xf0, 0, 0, 0, 1, 5, 9, 9, 9, 9, 9, 8]);
        assert_eq!(packet[12..20], [0xe1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        // As quinn writes it: a Retry's, to an IPv4 address.
        assert_eq!(packet[20..29], [0, 0, 192, 0, 2, 1, 0xc3, 0x50, 8]);
        assert_eq!(packet[29..37], [7; 8]);
        assert_eq!(packet[37..45], NOW.to_be_bytes());
    }

    #[test]
    fn the_connection_id_is_not_the_clients() {
        let request = request();
        let same = Request { destination: retry_id(source_id(&request)), ..request };
        assert_ne!(retry_id(source_id(&same)), same.destination);
        assert_eq!(retry_id(source_id(&same)).rotation(), UNROUTABLE);
    }

    #[test]
    fn a_token_is_good_for_its_client_its_connection_and_its_time() {
        let request = request();
        let (token, good) = (token(&request, &keys()), presented(&request));
        assert_eq!(verified(&token, &good), Ok(request.destination));
        for (changed, fault) in [
            (Presented { now: NOW + 16, ..good }, TokenFault::Expired),
            (Presented { client: client(2, 50_000), ..good }, TokenFault::OtherClient),
            (Presented { client: client(1, 50_001), ..good }, TokenFault::OtherClient),
            (Presented { destination: request.destination, ..good }, TokenFault::OtherConnection),
            (Presented { version: 0x6b33_43cf, ..good }, TokenFault::Forged),
        ] {
            assert_eq!(verified(&token, &changed), Err(fault), "{changed:?}");
        }
        for now in [NOW - 1, NOW + 15] {
            assert_eq!(verified(&token, &Presented { now, ..good }), Ok(request.destination), "{now}");
        }
    }

    #[test]
    fn keys_are_good_in_their_epochs() {
        let (request, keys) = (request(), keys());
        let presented = presented(&request);
        let place = Payload { at: 0, length: token(&request, &keys).len() };
        let verified = |token: &[u8], keys| verify(token, place, &presented, &keys);
        let next = TokenKeys::new(TokenKey::new(EPOCH + 1, [5, 6]), TokenKey::new(EPOCH, [1, 2]));
        assert_eq!(verified(&token(&request, &keys), next), Ok(request.destination));
        // Of the epoch before, as another node may have issued it.
        let before = TokenKeys::new(TokenKey::new(EPOCH - 1, [3, 4]), TokenKey::NONE);
        assert_eq!(verified(&token(&request, &before), keys), Ok(request.destination));
        assert_eq!(verified(&token(&request, &before), next), Err(TokenFault::Forged));
        // The same epoch of another master secret.
        let foreign = TokenKeys::new(TokenKey::new(EPOCH, [1, 3]), TokenKey::NONE);
        assert_eq!(verified(&token(&request, &foreign), keys), Err(TokenFault::Forged));
        assert!(TokenKeys::NONE.issuing().is_none() && TokenKeys::NONE.of(0).is_none());
    }

    #[test]
    fn two_epochs_are_of_use_at_a_time() {
        let hour = u64::from(EPOCH) * 3_600;
        assert_eq!(TokenKeys::epochs_at(hour), [EPOCH, EPOCH - 1]);
        assert_eq!(TokenKeys::epochs_at(hour + 1_799), [EPOCH, EPOCH - 1]);
        assert_eq!(TokenKeys::epochs_at(hour + 1_800), [EPOCH, EPOCH + 1]);
        assert_eq!(TokenKeys::epochs_at(hour + 3_599), [EPOCH, EPOCH + 1]);
    }

    fn any_request() -> impl Strategy<Value = Request> {
        let ids = (proptest::collection::vec(any::<u8>(), 0..=20), proptest::collection::vec(any::<u8>(), 0..=20));
        let client = (any::<[u8; 16]>(), any::<bool>(), any::<u16>());
        (client, ids, any::<u64>(), any::<u64>()).prop_map(|((address, is_ipv4, port), ids, now, random)| {
            let address = if is_ipv4 { Address::ipv4(*address.first_chunk().unwrap()) } else { Address::new(address) };
            Request { client: Endpoint { address, port }, destination: id(&ids.0), source: id(&ids.1), now, random }
        })
    }

    proptest! {
        #[test]
        fn every_client_can_show_its_token(request in any_request()) {
            let token = token(&request, &keys());
            prop_assert_eq!(verified(&token, &presented(&request)), Ok(request.destination));
            prop_assert!(packet(&request, &keys()).len() <= ANSWER_MAX);
            let nonce = token.last_chunk().unwrap();
            prop_assert_eq!(token::epoch_of_nonce(nonce), Some(EPOCH));
            prop_assert_eq!(token::open_token(&token, keys().issuing().unwrap()), Some(&token[..token.len() - 32]));
            prop_assert_eq!(token::open_token(&token, keys().of(EPOCH - 1).unwrap()), None);
        }

        /// No octet of it can be changed, no one is missed, and none can be added.
        #[test]
        fn a_changed_token_proves_nothing(request in any_request(), at: usize, change in 1..=255_u8) {
            let (token, presented) = (token(&request, &keys()), presented(&request));
            let mut changed = token.clone();
            changed[at % token.len()] ^= change;
            prop_assert!(verified(&changed, &presented).is_err());
            prop_assert_eq!(token::open_token(&changed, keys().issuing().unwrap()), None);
            prop_assert_eq!(verified(&token[..at % token.len()], &presented), Err(TokenFault::NotOurs));
            prop_assert!(verified(&[&token[..], &[change]].concat(), &presented).is_err());
        }

        /// The code is of the address, not of how it is written: so there is one way.
        #[test]
        fn an_ipv4_address_is_not_written_as_ipv6(mut request in any_request(), octets: [u8; 4]) {
            request.client.address = Address::ipv4(octets);
            let (token, presented) = (token(&request, &keys()), presented(&request));
            let mapped = [&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff], &token[2..]].concat();
            prop_assert_eq!(verified(&mapped, &presented), Err(TokenFault::NotOurs));
        }

        /// Whatever the octets, reading ends, and proves nothing.
        #[test]
        fn octets_are_no_token(
            octets in proptest::collection::vec(any::<u8>(), 0..100),
            request in any_request(),
            is_marked: bool,
        ) {
            let mut octets = octets;
            if is_marked && let Some(nonce) = octets.last_chunk_mut::<16>() {
                *nonce = *token(&request, &keys()).last_chunk().unwrap();
                octets[..2].fill(0);
            }
            prop_assert!(verified(&octets, &presented(&request)).is_err());
            prop_assert_eq!(token::open_token(&octets, keys().issuing().unwrap()), None);
        }
    }
}
