//! `[router]`: where a node runs, and how packets reach its workers.

use std::{num::NonZeroU16, path::PathBuf, time::Duration};

use super::PathNormalization;
use crate::telemetry::LogFilter;

/// `[router]`: the node and its datapath.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// This host's number in the connection IDs it issues.
    pub node_id: u16,
    /// How many workers to run, 1 to 255 (one slot each; `"auto"` was resolved to the CPUs available).
    pub workers: NonZeroU16,
    /// How packets reach the workers.
    pub engine: Engine,
    /// Whether XDP moves packets to their workers' CPUs.
    pub cpu_map: CpuMap,
    /// Interfaces to steer on; empty with an engine that needs none.
    pub interfaces: Vec<String>,
    /// Where maps and links are pinned; on a bpffs.
    pub bpf_dir: PathBuf,
    /// Where the master secret and the key of the connection IDs live; mode 0700.
    pub state_dir: PathBuf,
    /// The control socket.
    pub control: PathBuf,
    /// How long connections may take to end when the agent stops.
    pub drain_timeout: Duration,
    /// Name the worker and slot in a response header, `x-quic-router-slot`.
    pub debug_headers: bool,
    /// What becomes of the paths of requests before routes match.
    pub path_normalization: PathNormalization,
    /// What to log.
    pub log: LogFilter,
}

/// How packets reach workers, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// The best that works on each interface; without interfaces, the best that works without XDP.
    Auto,
    /// AF_XDP sockets, each on a receive queue, with what XDP does for packets of other queues.
    AfXdp,
    /// XDP, CPU map and `sk_reuseport`.
    Xdp,
    /// `sk_reuseport` alone.
    Reuseport,
    /// No BPF: the workers hand datagrams to each other.
    Userspace,
}

/// Whether XDP moves a packet that comes in on another CPU to its worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CpuMap {
    /// Where an interface has fewer receive queues than there are CPUs with workers, so that the
    /// queues' CPUs would have all the work of the kernel's stack.
    Auto,
    /// Always.
    Always,
    /// It stays where it comes in.
    Never,
}
