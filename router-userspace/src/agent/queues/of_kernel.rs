//! What workers are given to receive and to send by.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

use crate::{datapath::QueueSocket, worker::ReceiveQueue};

/// A socket of the datapath's, as workers know it.
pub(super) struct OfKernel(pub(super) QueueSocket);

impl AsRawFd for OfKernel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl ReceiveQueue for OfKernel {
    fn take_in(&mut self) -> Option<u32> {
        self.0.take_in()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn frame(&self, chunk: u32) -> &[u8] {
        self.0.frame(chunk)
    }

    fn give_back(&mut self, chunk: u32) {
        self.0.give_back(chunk);
    }

    fn settle(&mut self) {
        self.0.settle();
    }

    fn drops(&self) -> u64 {
        self.0.drops()
    }

    fn sends(&self) -> bool {
        self.0.sends()
    }

    fn room(&mut self) -> usize {
        self.0.room()
    }

    fn put(&mut self, head: &[u8], body: &[u8]) -> bool {
        self.0.put(head, body)
    }

    fn send_off(&mut self) -> io::Result<bool> {
        self.0.send_off()
    }

    fn is_sending(&mut self) -> bool {
        self.0.is_sending()
    }
}
