//! Padding at the end of packets, taken off before quinn reads their frames.
//!
//! Clients pad packets to the size of the path's, for the kernel to send them in one go (GSO), or to
//! hide how long a request is. quinn reads each octet of padding as a frame of its own: a request of
//! 100 octets then costs thirteen hundred turns of its loop, which was a fifth of a worker's time. What
//! is decrypted passes by here, so the frames are stepped over once, without a look into them, and
//! what is nothing but padding behind the last of them goes.

mod frames;

use std::{any::Any, sync::Arc};

use bytes::BytesMut;
use quinn::{
    ConnectionId, Side,
    crypto::{
        CryptoError, ExportKeyingMaterialError, KeyPair, Keys, PacketKey, ServerConfig, Session, UnsupportedVersion,
    },
};
use quinn_proto::{TransportError, transport_parameters::TransportParameters};

use self::frames::padding_begins;

/// Wraps `crypto` so that decrypted 1-RTT packets lose their padding before quinn reads their frames.
pub fn strip_padding(crypto: impl ServerConfig + 'static) -> Arc<dyn ServerConfig> {
    Arc::new(StripPadding(Arc::new(crypto)))
}

struct StripPadding<C>(Arc<C>);

struct StripPaddingSession(Box<dyn Session>);

struct StripPaddingKey(Box<dyn PacketKey>);

impl<C: ServerConfig + 'static> ServerConfig for StripPadding<C> {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.0.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        Box::new(StripPaddingSession(Arc::clone(&self.0).start_session(version, params)))
    }
}

impl Session for StripPaddingSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.0.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.0.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.0.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn quinn::crypto::HeaderKey>, Box<dyn PacketKey>)> {
        self.0.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.0.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.0.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.0.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let Keys { header, packet } = self.0.write_handshake(buf)?;
        Some(Keys { header, packet: stripping(packet) })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.0.next_1rtt_keys().map(stripping)
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.0.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.0.export_keying_material(output, label, context)
    }
}

fn stripping(KeyPair { local, remote }: KeyPair<Box<dyn PacketKey>>) -> KeyPair<Box<dyn PacketKey>> {
    KeyPair { local, remote: Box::new(StripPaddingKey(remote)) }
}

impl PacketKey for StripPaddingKey {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        self.0.encrypt(packet, buf, header_len);
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        self.0.decrypt(packet, header, payload)?;
        if let Some(end) = padding_begins(payload) {
            // A copy: what is kept of a packet must not keep all of it in memory.
            *payload = BytesMut::from(&payload[..end]);
        }
        Ok(())
    }

    fn tag_len(&self) -> usize {
        self.0.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.0.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.0.integrity_limit()
    }
}
