//! What workers are given to receive and to send by.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

use crate::{datapath::QueueSocket, worker::ReceiveQueue};

/// A socket of the datapath's, as workers know it.
pub(super) struct OfKernel {
    pub(super) socket: QueueSocket,
    /// See [`leaves_checksums_out`](crate::datapath::DeviceFacts::leaves_checksums_out).
    pub(super) leaves_checksums_out: bool,
}

impl AsRawFd for OfKernel {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl ReceiveQueue for OfKernel {
    fn take_in(&mut self) -> Option<u32> {
        self.socket.take_in()
    }

    fn is_empty(&self) -> bool {
        self.socket.is_empty()
    }

    fn frame(&self, chunk: u32) -> &[u8] {
        self.socket.frame(chunk)
    }

    fn give_back(&mut self, chunk: u32) {
        self.socket.give_back(chunk);
    }

    fn settle(&mut self) {
        self.socket.settle();
    }

    fn drops(&self) -> u64 {
        self.socket.drops()
    }

    fn leaves_checksums_out(&self) -> bool {
        self.leaves_checksums_out
    }

    fn sends(&self) -> bool {
        self.socket.sends()
    }

    fn room(&mut self) -> usize {
        self.socket.room()
    }

    fn put(&mut self, head: &[u8], body: &[u8]) -> bool {
        self.socket.put(head, body)
    }

    fn send_off(&mut self) -> io::Result<bool> {
        self.socket.send_off()
    }

    fn is_sending(&mut self) -> bool {
        self.socket.is_sending()
    }
}
