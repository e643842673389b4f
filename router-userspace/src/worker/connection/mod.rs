//! A connection from its first Initial to its end: which clients are let in, how it is accepted, which connection IDs it gets, and
//! what is done around quinn for it.

mod accept;
mod admission;
mod cid_generator;
mod half_open;
mod handshake_window;
mod issuing;
mod listener_state;
mod qlog;
mod retirement;
mod strip_padding;

pub(super) use self::{
    accept::{Acceptor, CLOSED, Gauge},
    admission::{Admitted, Refusal},
    cid_generator::SteeredGenerator,
    issuing::Issuing,
    listener_state::ListenerState,
};
pub use self::{admission::Admission, handshake_window::HandshakeWindow, qlog::Tracing, strip_padding::strip_padding};
