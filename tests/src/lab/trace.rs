//! What passed a relay, kept as captures that other tools read: one as the clients saw it, one as the router did.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use super::relay::Towards;

/// Frames on both sides of a relay, in memory.
#[derive(Debug)]
pub(super) struct Trace {
    begun: Instant,
    octets: usize,
    clients: Vec<(Duration, Vec<u8>)>,
    router: Vec<(Duration, Vec<u8>)>,
}

impl Trace {
    pub(super) fn begin() -> Self {
        Self { begun: Instant::now(), octets: 0, clients: Vec::new(), router: Vec::new() }
    }

    /// Notes a frame as it came, and what was sent in its place.
    pub(super) fn note(&mut self, towards: Towards, came: &[u8], went: &[Vec<u8>]) {
        let time = self.begun.elapsed();
        let (before, behind) = match towards {
            Towards::Router => (&mut self.clients, &mut self.router),
            Towards::Clients => (&mut self.router, &mut self.clients),
        };
        let all = went.iter().map(|frame| frame.len()).sum::<usize>() + came.len();
        if self.octets + all > OCTETS_MAX {
            return;
        }
        self.octets += all;
        before.push((time, came.to_vec()));
        behind.extend(went.iter().map(|frame| (time, frame.clone())));
    }

    /// Writes both sides below a folder, under the names that the runner's simulator gives them.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join("trace_node_left.pcap"), pcap(&self.clients))?;
        fs::write(folder.join("trace_node_right.pcap"), pcap(&self.router))
    }
}

/// The classic capture format, in microseconds.
fn pcap(frames: &[(Duration, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 0x4_0000, ETHERNET] {
        file.extend_from_slice(&u32::to_ne_bytes(word));
    }
    for (time, frame) in frames {
        let length = frame.len() as u32;
        for word in [time.as_secs() as u32, time.subsec_micros(), length, length] {
            file.extend_from_slice(&word.to_ne_bytes());
        }
        file.extend_from_slice(frame);
    }
    file
}

/// The link type of the frames.
const ETHERNET: u32 = 1;
/// A trace ends here, so that a laboratory's memory has an end.
const OCTETS_MAX: usize = 64 << 20;
