//! `[af_xdp]`

use super::{
    kinds::{Size, Switch, Word},
    table::table,
};
use crate::config::SendBy;

const SEND: [(&str, SendBy); 2] = [("udp", SendBy::Udp), ("af_xdp", SendBy::AfXdp)];

table! {
    "af_xdp", "a table, [af_xdp]"; AF_XDP: AfXdpKeys, RawAfXdp;
    whole(config.af_xdp, "af_xdp has changed");

    /// Memory for frames, of all queues together. Each queue gets an equal part, in frames of 2 KiB: 64 to 4,096 of
    /// them, a power of two. It is what a burst may wait in while its worker is busy; more than that is dropped and
    /// counted. Locked memory: without CAP_IPC_LOCK, `ulimit -l` has to allow it.
    memory: Size { range: 1 << 20..=4 << 30 } = 64 << 20, Upgrade;

    /// Have the kernel poll the device when a worker looks for frames, in place of interrupts. It wants
    /// `napi_defer_hard_irqs` and `gro_flush_timeout` of the interface set, and lowers latency at the price of CPU
    /// time.
    busy_poll: Switch {} = false, Upgrade;

    /// How datagrams leave. `"udp"`: by the UDP sockets, in trains (`transport.gso`), through all of the kernel's
    /// stack. `"af_xdp"`: as frames by the worker's AF_XDP socket, where it has one on the interface that the route
    /// goes out by and the kernel knows the neighbour's link address; whatever else by the UDP sockets.
    /// [operations.md](operations.md#sending-by-af_xdp) says what that passes by: netfilter, `tc` and IPsec among it.
    /// It takes half of `memory`'s part of a queue, 1,024 frames at most.
    send: Word<SendBy> { words: &SEND } = SendBy::Udp, Upgrade;
}
