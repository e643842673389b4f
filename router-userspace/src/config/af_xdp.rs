//! `[af_xdp]`: sockets right behind the receive queues.

/// `[af_xdp]`: what the AF_XDP sockets of a node may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfXdp {
    /// Octets for frames, of all queues together.
    pub memory: u64,
    /// Whether the kernel is to poll devices when a worker asks for frames, in place of interrupts.
    pub busy_poll: bool,
    /// How workers send.
    pub send: SendBy,
}

/// How a worker's datagrams leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendBy {
    /// By the UDP sockets: through the kernel's stack.
    Udp,
    /// By AF_XDP sockets, where the worker has one on the interface that the route goes out by; else by
    /// the UDP sockets.
    AfXdp,
}
