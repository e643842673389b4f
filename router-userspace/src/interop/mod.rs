//! The endpoint of quic-interop-runner's tests: the router itself, configured by the runner's
//! environment. Compiled in by the feature `interop` alone.
//!
//! The rule this room keeps: it is never mistaken for a router in production. Without
//! `QUIC_ROUTER_INTEROP=1` it serves nothing, and when it serves it says on standard error what it is.

mod case;
mod contract;
mod endpoint;
mod switches;

pub(crate) use self::switches::quic;
pub use self::{endpoint::main, switches::Switches};
