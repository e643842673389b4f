//! The control socket: HTTP/1.1 with JSON bodies on a Unix socket that only root can open.
//!
//! ```text
//! cli, takeover ─► client ─► protocol: Request ─► HTTP ─► server ─► handlers ─► the node
//! ```

mod client;
mod handlers;
mod protocol;
mod server;
mod socket;

pub(crate) use self::{
    client::{ExchangeError, exchange},
    protocol::{FlowFilter, Request},
};
pub(super) use self::{
    server::serve,
    socket::{ControlSocket, aside, refuse_if_answered},
};
