//! What a core dump has: no key.
//!
//! Keys are all over the process's memory: the master secret, those of connections and tickets, certificates'. Making
//! the process not dumpable would keep them in, but also keep a next generation from taking over its sockets
//! (`pidfd_getfd` asks for the right to trace). So the kernel is told to leave memory out of dumps: their
//! registers and stacks' addresses still tell where it crashed.

use std::{fs, io};

/// Leaves all memory but ELF headers out of this process's core dumps, and those of its children.
pub(super) fn without_memory() {
    // See core(5). A kernel without core dumps has no such file.
    match fs::write(FILTER, ELF_HEADERS) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("{FILTER} cannot be written ({error}): a core dump of this process would have keys in it");
        }
        _ => {}
    }
}

const FILTER: &str = "/proc/self/coredump_filter";
const ELF_HEADERS: &str = "0x10";
