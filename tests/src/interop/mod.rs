//! quic-interop-runner's cases without its containers: third-party clients, a bad network, and the
//! endpoint `quic-router-interop` as the runner would start it.
//!
//! The rule this module keeps: a cell passes only by what was seen: the files that arrived, the
//! client's own word, and what the wire carried.

mod case;
mod cell;
mod client;
mod matrix;

pub use self::{
    case::{CASES, Case},
    cell::{Cell, endpoint, refused},
    client::{CLIENTS, Client},
    matrix::{Matrix, Outcome, Row},
};
