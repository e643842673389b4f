//! `[router]`

use router_common::maps::SLOTS;

use super::{
    kinds::{Absolute, Auto, Number, NumberOrAuto, Other, Switch, TIME, Time, Word, prose, seconds},
    table::table,
};
use crate::config::{Config, CpuMap, Engine, PathNormalization, TakenBy, raw::At};

/// Slots of a node but one, and so most workers: slot numbers are one octet of the connection ID.
const WORKERS_MAX: u16 = SLOTS as u16 - 1;

const ENGINES: [(&str, Engine); 5] = [
    ("auto", Engine::Auto),
    ("af_xdp", Engine::AfXdp),
    ("xdp", Engine::Xdp),
    ("reuseport", Engine::Reuseport),
    ("userspace", Engine::Userspace),
];
const CPU_MAPS: [(&str, CpuMap); 3] = [("auto", CpuMap::Auto), ("always", CpuMap::Always), ("never", CpuMap::Never)];
const PATHS: [(&str, PathNormalization); 2] =
    [("normalize", PathNormalization::Normalize), ("as-is", PathNormalization::AsIs)];

table! {
    "router", "a table, [router]"; ROUTER: RouterKeys, RawRouter;

    /// This host's number in the connection IDs it issues. Give every node behind one address its own, or they take
    /// each other's packets for their own. With a [`[cluster]`](#cluster), leave it out: the list of nodes says it.
    node_id: Number<u16> { range: 0..=u16::MAX, unit: "" } = 1, Restart(config.router.node_id);

    /// Worker threads, each pinned to a CPU, with a socket for every listener: `"auto"` (one for each CPU that the
    /// process may use) or that many. A worker costs a thread and the receive buffer of each of its sockets.
    workers: NumberOrAuto<u16> { range: 1..=WORKERS_MAX } = Auto, Reload(config.router.workers);

    /// How packets reach workers: `"xdp"` (XDP, CPU map and `sk_reuseport`), `"reuseport"` (`sk_reuseport` alone),
    /// `"userspace"` (no BPF: workers hand datagrams to each other), or `"af_xdp"` (a socket right behind each
    /// receive queue, and XDP for what comes in on another queue), or `"auto"`: the best of these that works, and
    /// `status` says why not a better one. A change to or from `"userspace"` takes a restart.
    engine: Word<Engine> { words: &ENGINES } = Engine::Auto, Upgrade(by engine_change);

    /// Whether XDP moves a packet that comes in on another CPU to its worker's, through the CPU map. `"auto"`: where
    /// an interface has fewer receive queues than there are CPUs with workers, so that their CPUs are not left alone
    /// with the kernel's stack, and none of them is a veth, of whose packets the kernel would lose some. `"never"`:
    /// the packet stays where it comes in, and `select` finds its socket from there, for less of the processor's
    /// time. `"always"`: whatever the queues. Where XDP runs generically, packets stay, and `status` says so of
    /// `"always"`: the kernel loses there what is moved.
    cpu_map: Word<CpuMap> { words: &CPU_MAPS } = CpuMap::Auto, Reload(config.router.cpu_map);

    /// Every interface that receives traffic for the listeners: `["eth0", "eth1"]`. Needed by `"af_xdp"` and `"xdp"`;
    /// with `"auto"` and none, XDP is left out and a notice says so. `"reuseport"` and `"userspace"` do not go by
    /// interface.
    interfaces: Other<Vec<At<String>>> { takes: prose("names of interfaces") } = "[]", Reload(config.router.interfaces);

    /// Folder on a bpffs in which maps and links are pinned. One for each instance on a host. No dot in its name: a
    /// bpffs refuses that.
    bpf_dir: Absolute {} = "/sys/fs/bpf/quic-router", Restart(config.router.bpf_dir);

    /// Folder of the master secret, from which the keys for stateless resets, tokens and tickets are derived, and of
    /// the configurations of connection IDs with their keys. Keep it across restarts, and private.
    state_dir: Absolute {} = "/var/lib/quic-router", Restart(config.router.state_dir);

    /// The control socket, at most 107 octets of path. `--control` comes before it.
    control: Absolute {} = "/run/quic-router/control.sock", Restart(config.router.control);

    /// How long connections may take to end when the agent stops, or when their worker or listener goes, before they
    /// are closed.
    drain_timeout: Time { range: TIME } = seconds(60), Reload(config.router.drain_timeout);

    /// Add the response header `x-quic-router-slot`, the slot that served the request. It tells clients how the node
    /// is built inside.
    debug_headers: Switch {} = false, Reload(config.router.debug_headers);

    /// What becomes of a request's path before routes match. `"normalize"`: it gets its normal form, which servers
    /// get too, and what a server may read as another route's is refused with 400: [security.md](security.md#paths).
    /// `"as-is"`: routes compare, and servers get, what the client said, octet by octet. Then `/x/../admin/`,
    /// `//admin/` and `/%61dmin/` pass a route on `/admin/`, and many servers take them for `/admin/`: only where no
    /// route is there to keep clients out.
    path_normalization: Word<PathNormalization> { words: &PATHS } = PathNormalization::Normalize,
        Reload(config.router.path_normalization);

    /// What to log: `"error"`, `"warn"`, `"info"`, `"debug"`, `"trace"` or `"off"`, also by module:
    /// `"info,quinn=debug"`. `--log` comes before it.
    log: Other<String> { takes: prose("levels") } = "\"info\"", Reload(config.router.log, "what is logged has changed");
}

/// Workers of `userspace` hand datagrams to each other inside of one process, which no other can take over.
fn engine_change(before: &Config, after: &Config) -> Option<TakenBy> {
    match (before.router.engine, after.router.engine) {
        (before, after) if before == after => None,
        (Engine::Userspace, _) | (_, Engine::Userspace) => Some(TakenBy::Restart),
        _ => Some(TakenBy::Upgrade),
    }
}
