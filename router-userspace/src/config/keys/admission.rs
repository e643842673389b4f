//! `[admission]`

use super::{
    kinds::{Number, NumberOrOff, Other, Word, prose},
    table::table,
};
use router_common::admission::Challenge;

use crate::config::{
    AnswerInXdp,
    raw::{At, RawPorts},
};

const ANSWERS: [(&str, AnswerInXdp); 3] =
    [("auto", AnswerInXdp::Auto), ("always", AnswerInXdp::Always), ("never", AnswerInXdp::Never)];
const CHALLENGES: [(&str, Challenge); 3] =
    [("auto", Challenge::Auto), ("always", Challenge::Always), ("never", Challenge::Never)];

table! {
    "admission", "a table, [admission]"; ADMISSION: AdmissionKeys, RawAdmission;
    whole(config.admission, "what is admitted has changed");

    /// UDP ports, and ranges of them in quotes, that no first flight (Initial, 0-RTT, unknown version) may come from: those of
    /// services that floods are reflected by. Packets of connections that exist are never asked. It hits clients that
    /// bind such a port on purpose, and some behind a NAT that uses all ports; they have HTTP over TCP. `[]`: any port.
    reject_source_ports: Other<Vec<At<RawPorts>>> { takes: prose("ports, and ranges of them in quotes") }
        = "[0, \"1-1023\", 1900, 5353, 11211, 20800, 27015]", Reload;

    /// Files of prefixes whose first flights, and packets that nothing knows, are dropped, challenged or allowed: a line
    /// each, of the prefix, `drop`, `challenge` or `allow` (without a word: `drop`), and why, behind a `#`. `challenge`:
    /// the client is sent a Retry; `allow`: it passes the other measures. The longest prefix counts, and what `quic-router block add` has named
    /// comes before what a file has. Read at the start and at each reload. Relative paths start from the folder of the
    /// configuration. At most 100,000 prefixes.
    block_files: Other<Vec<At<String>>> { takes: prose("paths") } = "[]", Reload;

    /// How many come to workers although nothing knows their connection ID, of the whole node: each is answered by a
    /// stateless reset at best. What comes beyond is dropped. A tenth of them may come at once. For an idle timeout after
    /// a start, and after a worker or an earlier generation has ended, nothing is limited. `false`: all come to workers.
    unknown: NumberOrOff<u32> { range: 1..=10_000_000, unit: "packets a second" } = 1_000, Reload;

    /// How many packets of unknown versions are answered with Version Negotiation, of the whole node. What comes beyond
    /// is dropped. A tenth of them may come at once. `false`: all are answered.
    version_negotiation: NumberOrOff<u32> { range: 1..=10_000_000, unit: "packets a second" } = 10_000, Reload;

    /// Whether the XDP program answers by itself what takes no connection (Version Negotiation), by the way the packet
    /// came: a tenth of what a worker takes for that. `"auto"`: where none of the interfaces is an end of a veth; what
    /// XDP sends back is lost there unless the other end has an XDP program, too. `"never"`: workers answer; for
    /// hosts whose way to the clients is not the way they come by. `"always"`: whatever the interfaces.
    answer_in_xdp: Word<AnswerInXdp> { words: &ANSWERS } = AnswerInXdp::Auto, Reload;

    /// Whether clients have to show that they receive at their address, by a Retry, before a worker does anything for
    /// them. `"auto"`: while more begin than `new_total`, and where the XDP program can ask (`answer_in_xdp`); workers
    /// ask near their own limits (`limits.max_handshakes`) in any case. `"always"`: each of them, by XDP or by a worker; a
    /// handshake takes one round trip more, and 0-RTT is lost. `"never"`: workers alone, near their limits.
    challenge: Word<Challenge> { words: &CHALLENGES } = Challenge::Auto, Reload;

    /// How many first flights (Initial and 0-RTT datagrams; a client sends one or two) begin connections without being
    /// asked first, of the whole node, where the XDP program can ask. A tenth of them may come at once. `false`: any
    /// number.
    new_total: NumberOrOff<u32> { range: 1..=10_000_000, unit: "packets a second" } = 20_000, Reload;

    /// How many first flights begin connections from one prefix of addresses without being asked first, and how many of
    /// those that were asked, and have shown their address, where the XDP program can ask. Of the latter what comes beyond
    /// is dropped: name what your largest network of clients behind one address needs. `false`: any number.
    new_per_source: NumberOrOff<u32> { range: 1..=10_000_000, unit: "packets a second" } = 1_000, Reload;

    /// How many of either may come from a prefix at once.
    new_per_source_burst: Number<u32> { range: 1..=10_000_000, unit: "packets" } = 5_000, Reload;

    /// Leading bits of an IPv4 address that make a prefix for that.
    source_prefix4: Number<u8> { range: 1..=32, unit: "bits" } = 24, Reload;

    /// Leading bits of an IPv6 address that do: a /56 is what a household is given.
    source_prefix6: Number<u8> { range: 1..=128, unit: "bits" } = 56, Reload;
}
