//! `[transport]`

use std::ops::RangeInclusive;

use super::{
    kinds::{Nothing, Number, NumberOrOff, Optional, Switch, TIME, Time, Word},
    table::table,
};
use crate::config::Congestion;

/// Below, a window takes a round trip for every few packets; above, memory is given away.
const WINDOW: RangeInclusive<u32> = 16_384..=1_073_741_824;
/// UDP payloads: what every path of QUIC must carry (RFC 9000 section 14), and what one can hold.
const PAYLOAD: RangeInclusive<u16> = 1_200..=65_527;

const CONGESTION: [(&str, Congestion); 3] =
    [("cubic", Congestion::Cubic), ("newreno", Congestion::NewReno), ("bbr", Congestion::Bbr)];

table! {
    "transport", "a table, [transport]"; TRANSPORT: TransportKeys, RawTransport;
    whole(config.transport, "transport has changed");

    /// Congestion control: `"cubic"` (RFC 9438), `"newreno"` (RFC 9002, slower to come back after a loss), or `"bbr"`
    /// (experimental: it goes by measured rate, not by loss, for paths that lose packets without being full). Cubic
    /// is what most of the internet does, and fair beside the rest.
    congestion: Word<Congestion> { words: &CONGESTION } = Congestion::Cubic, Reload;

    /// Octets that a client may send on one stream before they have been passed on. It bounds an upload: the default
    /// is 100 Mbit/s at a round trip of 100 ms, more where it is shorter. Costs that much memory for each upload
    /// whose server is slower than its client.
    stream_window: Number<u32> { range: WINDOW, unit: "octets" } = 1_250_000, Reload;

    /// The same for all streams of a connection together; no less than `stream_window`. It is what one client can
    /// make the node hold. The default lets six uploads run at their full window: large enough that one that is stuck
    /// does not stop the others.
    connection_window: Number<u32> { range: WINDOW, unit: "octets" } = 8 << 20, Reload;

    /// Octets that a connection may have in flight or waiting to be sent: what a slow reader of a fast upstream costs
    /// at most. It bounds a download: the default is 1.6 Gbit/s at a round trip of 10 ms, 160 Mbit/s at 100 ms.
    send_window: Number<u32> { range: WINDOW, unit: "octets" } = 2 << 20, Reload;

    /// Requests, or raw streams, that a client may have open at once on one connection, over HTTP/2 too. Browsers
    /// open about a hundred; proxies in front of many clients more. What a client may open costs memory and time with
    /// every new connection, whether it does or not: some forty octets each; what it has open some kilobytes, and its
    /// share of the windows.
    max_streams: Number<u32> { range: 1..=100_000, unit: "" } = 128, Reload;

    /// Send a PING after that much silence, so that idle connections and NAT bindings stay; shorter than
    /// `limits.idle_timeout`, or the connection ends before. Costs a packet each way for every connection that often,
    /// and wakes phones. None: clients that want their connection kept say so themselves.
    keep_alive: Optional<Time> { of: Time { range: TIME } } = Nothing, Reload;

    /// Octets of the first UDP payloads, at most `max_mtu`. 1,200 is what every path of QUIC carries (RFC 9000
    /// section 14). More saves packets where every client's path carries it; where one does not, all are lost until
    /// that is noticed.
    initial_mtu: Number<u16> { range: PAYLOAD, unit: "octets" } = 1_200, Reload;

    /// The largest UDP payload that path MTU discovery tries (RFC 8899); `false`: no discovery, all packets stay at
    /// `initial_mtu`. 1,452 is what IPv6 over Ethernet carries; more is for networks with jumbo frames. Discovery
    /// costs a few probe packets for each connection, and saves a fifth of the packets of a large response.
    max_mtu: NumberOrOff<u16> { range: PAYLOAD, unit: "octets" } = 1_452, Reload;

    /// Hand trains of packets to the kernel in one piece (generic segmentation offload): a fraction of the work for
    /// each packet of a large response. `false` only where a driver gets it wrong, or to see single packets in a
    /// capture on this host.
    gso: Switch {} = true, Reload;

    /// Whether clients may change their address (RFC 9000 section 9): a phone keeps its connection from one network
    /// to the next. `false`: packets from a new address are dropped, also those of a client whose NAT has forgotten
    /// it. On costs nothing here, because connection IDs lead packets to their worker, not addresses.
    migration: Switch {} = true, Reload;
}
