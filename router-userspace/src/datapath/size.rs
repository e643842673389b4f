//! How large a datapath is, and what it takes.

/// How large a datapath to load.
#[derive(Clone, Debug)]
pub struct Size {
    /// Entries of the flow table.
    pub flows: u32,
    /// CPUs of the host, online or not.
    pub cpus: u32,
}

/// CPUs of the host, online or not: what the CPU map has to have room for.
pub fn possible_cpus() -> u32 {
    aya::util::nr_cpus().map_or(1, |cpus| cpus as u32)
}

/// Kernel memory that a flow table for `capacity` entries takes when it is full, in bytes.
///
/// The bucket array (16 octets for each, a power of two of them) is there from the start;
/// entries (key, value and 48 octets of the kernel's own, rounded up to its allocator's
/// size class) come and go with the flows.
pub fn flow_table_bytes(capacity: u32) -> u64 {
    const BUCKET: u64 = 16;
    const ENTRY: u64 = 192;
    u64::from(capacity.next_power_of_two()) * BUCKET + u64::from(capacity) * ENTRY
}
