//! `[af_xdp]`: a way to send that the engine has.

use super::places::place_of;
use crate::config::{
    AfXdp, Engine, SendBy,
    error::Findings,
    keys::{AF_XDP, RawAfXdp},
};

pub(super) fn check(raw: &RawAfXdp, engine: Engine, findings: &mut Findings<'_>) -> AfXdp {
    AfXdp {
        memory: AF_XDP.memory.read(&raw.memory, findings),
        busy_poll: AF_XDP.busy_poll.read(&raw.busy_poll, findings),
        send: send(raw, engine, findings),
    }
}

fn send(raw: &RawAfXdp, engine: Engine, findings: &mut Findings<'_>) -> SendBy {
    let send = AF_XDP.send.read(&raw.send, findings);
    match (send, engine) {
        (SendBy::AfXdp, Engine::Xdp | Engine::Reuseport | Engine::Userspace) => {
            let sentence = "af_xdp.send: the engine has no AF_XDP sockets, so it has no effect";
            findings.notice(place_of(&raw.send), sentence);
        }
        (SendBy::AfXdp, Engine::AfXdp | Engine::Auto) | (SendBy::Udp, _) => {}
    }
    send
}
