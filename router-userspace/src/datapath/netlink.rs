//! Questions and orders about links, routes and neighbours, put to the kernel by rtnetlink one at a time.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
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

    /// The same for lists: the kernel looks at all that a question says, and leaves out what does not fit.
    pub(super) fn open_for_lists() -> io::Result<Self> {
        let netlink = Self::open()?;
        netlink.socket.set_netlink_get_strict_chk(true)?;
        Ok(netlink)
    }

    /// What the kernel says to a question that has one answer; nothing if it refuses.
    pub(super) fn ask(&mut self, question: RouteNetlinkMessage) -> Option<RouteNetlinkMessage> {
        self.send(question, NLM_F_REQUEST).ok()?;
        match self.hear().ok()?.into_iter().next()?.payload {
            NetlinkPayload::InnerMessage(message) => Some(message),
            _ => None,
        }
    }

    /// Has the kernel do something, and waits until it has; `flags` beside those of every order.
    ///
    /// # Errors
    /// What it refuses.
    pub(super) fn order(&mut self, order: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(order, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        loop {
            for message in self.hear()? {
                if let NetlinkPayload::Error(said) = message.payload {
                    return if said.code.is_none() { Ok(()) } else { Err(said.to_io()) };
                }
            }
        }
    }

    /// All that the kernel has of what a question is about.
    ///
    /// # Errors
    /// What it refuses, and [`io::ErrorKind::Interrupted`] where there were changes meanwhile.
    pub(super) fn list(&mut self, question: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.send(question, NLM_F_REQUEST | NLM_F_DUMP)?;
        let (mut listed, mut is_whole) = (Vec::new(), true);
        loop {
            for message in self.hear()? {
                is_whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(message) => listed.push(message),
                    NetlinkPayload::Error(said) => return Err(said.to_io()),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(io::Error::from_raw_os_error(done.code.saturating_neg()));
                    }
                    NetlinkPayload::Done(_) if is_whole => return Ok(listed),
                    NetlinkPayload::Done(_) => return Err(io::ErrorKind::Interrupted.into()),
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.asked = self.asked.wrapping_add(1);
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(message));
        message.header.flags = flags;
        message.header.sequence_number = self.asked;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// The next messages that belong to what was sent last; those to an earlier question, which could not be read to its end,
    /// are passed over.
    fn hear(&self) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut messages = read(&datagram)?;
            messages.retain(|message| message.header.sequence_number == self.asked);
            if !messages.is_empty() {
                return Ok(messages);
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

/// The messages of a datagram.
fn read(mut datagram: &[u8]) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
    let unreadable = |e| io::Error::new(io::ErrorKind::InvalidData, e);
    let mut messages = Vec::new();
    while !datagram.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram).map_err(unreadable)?;
        // Each begins at a multiple of four.
        let length = (message.header.length as usize).next_multiple_of(4).max(4);
        datagram = datagram.get(length..).unwrap_or_default();
        messages.push(message);
    }
    Ok(messages)
}
