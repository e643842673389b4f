//! Does what is sent by AF_XDP arrive as it was meant?

use std::cell::RefCell;

use anyhow::{Context, Result, ensure};
use router_tests::lab::{
    Lab, until,
    wire::{Capture, Direction},
};
use router_userspace::datapath::{CHUNK, QueueSocket, QueueSocketPlan};

/// Frames leave whole and in order, more of them than the rings hold at a time.
#[test]
fn frame_by_frame() -> Result<()> {
    let lab = Lab::new().build()?;
    let (router, wire) = (lab.network().router(), lab.wire());
    let capture = Capture::start(wire.namespace(), "router0")?;
    let mut socket = router.enter(|| {
        let interface = nix::net::if_::if_nametoindex(&*wire.router_interface())?;
        let plan = QueueSocketPlan { interface, queue: 1, frames: 64, sending: 64, busy_poll: false };
        QueueSocket::open(plan).context("veth takes it")
    })?;
    assert!(socket.sends() && !socket.put(&[0; 60], &[0; CHUNK]), "longer than a chunk");
    let [_, to] = wire.macs();
    let head: Vec<u8> = [&to[..], &wire.macs()[0], &TEST_PROTOCOL].concat();
    for burst in 0..4_u8 {
        assert_eq!(socket.room(), 64);
        for number in 0..64 {
            ensure!(socket.put(&head, &body(burst, number)));
        }
        ensure!(!socket.put(&head, b"one too many") && socket.room() == 0);
        assert!(socket.send_off()?, "the kernel takes all at once");
        // What the other end has read is free again.
        socket = until_sent(socket)?;
    }
    let arrived = capture.stop()?.into_iter().filter(|(way, _)| *way == Direction::In).map(|(_, frame)| frame);
    let ours: Vec<_> = arrived.filter(|frame| frame[12..14] == TEST_PROTOCOL).collect();
    let meant = (0..4_u8).flat_map(|burst| (0..64).map(move |number| (burst, number)));
    let meant: Vec<_> = meant.map(|(burst, number)| [&head[..], &body(burst, number)].concat()).collect();
    assert_eq!(ours.len(), meant.len());
    assert!(ours == meant, "in order, octet by octet");
    Ok(())
}

/// Of another length and content each.
fn body(burst: u8, number: u8) -> Vec<u8> {
    let length = 46 + usize::from(number) * 20 + usize::from(burst);
    (0..length).map(|at| at as u8 ^ number.wrapping_mul(7) ^ burst).collect()
}

fn until_sent(socket: QueueSocket) -> Result<QueueSocket> {
    let socket = RefCell::new(socket);
    until(|| Ok(socket.borrow_mut().is_sending()), |sending| !sending)?;
    Ok(socket.into_inner())
}

/// For experiments between two ends (RFC 5342 appendix B).
const TEST_PROTOCOL: [u8; 2] = [0x88, 0xb5];
