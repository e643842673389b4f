//! The binary `quic-router`: its command line lives in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    router_userspace::cli::main()
}
