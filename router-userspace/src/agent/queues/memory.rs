//! The memory of AF_XDP sockets: equal parts for all queues of all interfaces.
//!
//! A part is what a queue's socket is made with, so when queues come or go, those that have another part are
//! closed and opened anew.

use router_common::identifiers::InterfaceQueue;

use super::{
    error::QueueError,
    open::{Device, OpenQueues},
};
use crate::{
    config::{AfXdp, SendBy},
    datapath::CHUNK,
};

/// What a queue's part depends on.
pub(super) struct Memory<'a> {
    pub(super) config: &'a AfXdp,
    /// Queues of all interfaces.
    pub(super) queues: u32,
}

impl Memory<'_> {
    /// Frames for a queue, to receive and to send, as far as they are free: `taken` are not.
    pub(super) fn frames_for(&self, device: &Device, id: InterfaceQueue, taken: u64) -> Result<(u32, u32), QueueError> {
        let (frames, sending) = part(self.queues, id, device, self.config)?;
        match taken + u64::from(frames + sending) <= self.config.memory / CHUNK as u64 {
            true => Ok((frames, sending)),
            // Queues that had larger parts are about to be closed.
            false => Err(QueueError::Busy),
        }
    }

    /// Queues whose part of the memory has changed: others have come or gone.
    pub(super) fn of_another_size(&self, open: &OpenQueues, devices: &[Device]) -> Vec<InterfaceQueue> {
        open.which(|id, open| {
            let device = devices.iter().find(|device| device.facts.index == id.interface);
            let wanted = device.and_then(|device| part(self.queues, id, device, self.config).ok());
            wanted.is_some_and(|(frames, sending)| frames + sending != open.frames)
        })
    }
}

/// Frames of a queue, to receive and to send: an equal part of the memory, or what is of use.
fn part(all: u32, id: InterfaceQueue, device: &Device, config: &AfXdp) -> Result<(u32, u32), QueueError> {
    let even = config.memory / CHUNK as u64 / u64::from(all.max(1));
    // The kernel sends nothing by a queue that it does not have.
    let may_send = id.queue.get() < device.facts.transmit_queues;
    let (ways, sending_max) = match config.send {
        SendBy::Udp => (1, 0),
        SendBy::AfXdp => (2, if may_send { SENDING_MAX } else { 0 }),
    };
    let frames = (even / ways).min(u64::from(FRAMES_MAX)) as u32;
    match frames.checked_ilog2().map(|power| 1 << power) {
        Some(frames @ FRAMES_MIN..) => Ok((frames, frames.min(sending_max))),
        _ => Err(QueueError::LittleMemory(all)),
    }
}

/// Fewer are of no use; more only make the processor's caches miss.
const FRAMES_MIN: u32 = 64;
const FRAMES_MAX: u32 = 4_096;
/// Frames on their way out: what a device takes time for, not what may wait.
const SENDING_MAX: u32 = 1_024;

#[cfg(test)]
mod tests {
    use router_common::identifiers::{IfIndex, QueueId};

    use super::*;
    use crate::datapath::DeviceFacts;

    fn parts(all: u32, memory: u64, send: SendBy) -> Option<(u32, u32)> {
        let facts = DeviceFacts {
            index: IfIndex::new(7),
            mac: [2; 6],
            queues: 8,
            transmit_queues: 1,
            leaves_checksums_out: false,
        };
        let device = Device { name: "eth0".to_owned(), facts };
        let config = AfXdp { memory, busy_poll: false, send };
        part(all, InterfaceQueue { interface: IfIndex::new(7), queue: QueueId::new(0) }, &device, &config).ok()
    }

    /// suricata#16208: of two interfaces the first had taken all of it.
    #[test]
    fn each_queue_has_an_equal_part() {
        let chunks = |count: u64| count * CHUNK as u64;
        for (all, memory, expected) in [
            (8, 32_768, Some((4_096, 0))),
            (16, 32_768, Some((2_048, 0))),
            (17, 32_768, Some((1_024, 0))),
            (1, 1 << 20, Some((4_096, 0))),
            (16, 16 * 64, Some((64, 0))),
            (17, 16 * 64, None),
        ] {
            assert_eq!(parts(all, chunks(memory), SendBy::Udp), expected, "{memory} chunks for {all} queues");
        }
        assert_eq!(parts(16, chunks(32_768), SendBy::AfXdp), Some((1_024, 1_024)));
    }
}
