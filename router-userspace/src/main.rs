//! The `quic-router` binary.

fn main() -> std::process::ExitCode {
    router_userspace::cli::main()
}
