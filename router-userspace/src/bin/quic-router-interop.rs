//! The binary `quic-router-interop`: the endpoint of quic-interop-runner's tests (docs/interop.md).

use std::process::ExitCode;

/// As in `quic-router`, so that what is tested is what serves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    router_userspace::interop::main()
}
