//! Questions about links, routes and neighbours, put to the kernel by rtnetlink one at a time.

use std::io;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{RouteNetlinkMessage, link::LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use router_common::identifiers::IfIndex;

/// Where questions are put.
pub(super) struct Netlink {
    socket: Socket,
    asked: u32,
}

impl Netlink {
    /// To the kernel, about the network namespace of this thread.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, asked: 0 })
    }

    /// What the kernel says to a question that has one answer; nothing if it refuses.
    pub(super) fn ask(&mut self, question: RouteNetlinkMessage) -> Option<RouteNetlinkMessage> {
        self.asked = self.asked.wrapping_add(1);
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(question));
        message.header.flags = NLM_F_REQUEST;
        message.header.sequence_number = self.asked;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).ok()?;
        loop {
            let (answer, _) = self.socket.recv_from_full().ok()?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).ok()?;
            match answer.payload {
                // An answer to an earlier question, which could not be read to its end.
                _ if answer.header.sequence_number != self.asked => {}
                NetlinkPayload::InnerMessage(message) => return Some(message),
                _ => return None,
            }
        }
    }

    /// What it says of the interface with this index (`RTM_GETLINK`).
    pub(super) fn link(&mut self, index: IfIndex) -> Option<LinkMessage> {
        let mut question = LinkMessage::default();
        question.header.index = index.get();
        match self.ask(RouteNetlinkMessage::GetLink(question))? {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        }
    }
}
