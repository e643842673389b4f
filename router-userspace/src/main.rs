//! The binary `quic-router`: its command line lives in the library, where tests reach it.

use std::process::ExitCode;

/// A proxy allocates and frees small pieces all day: docs/performance.md has what it gains.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    router_userspace::cli::main()
}
