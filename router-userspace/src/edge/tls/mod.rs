//! TLS of a listener: which certificate for which name, which protocols, and whose tickets.

mod authentication;
pub(super) mod certificate_names;
mod distinguished_name;
mod error;
mod listener;
pub(super) mod own_authority;
mod presented;
mod resumption;
mod session;
pub mod tickets;
pub(super) mod x509;

pub use self::{
    error::TlsError,
    listener::{Tls, tls},
    presented::Presented,
    resumption::Resumption,
};
