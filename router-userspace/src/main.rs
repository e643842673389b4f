//! The binary `quic-router`: its command line lives in the library, where tests reach it.

use std::process::ExitCode;

/// A proxy allocates and frees small pieces all day, each worker on its own CPU.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    router_userspace::cli::main()
}
