//! A stream of a client's that both ends send on (RFC 9000 section 2.1).

use quinn::{RecvStream, SendStream, VarInt};

/// Both directions of a stream.
pub(super) struct BidirectionalStream {
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
}

impl BidirectionalStream {
    /// Breaks off both directions, with RESET_STREAM and STOP_SENDING.
    pub(super) fn abort(&mut self, code: VarInt) {
        // Each fails only where there is nothing left to break off.
        let _ = self.send.reset(code);
        let _ = self.recv.stop(code);
    }
}

/// As quinn has them.
impl From<(SendStream, RecvStream)> for BidirectionalStream {
    fn from((send, recv): (SendStream, RecvStream)) -> Self {
        Self { send, recv }
    }
}
