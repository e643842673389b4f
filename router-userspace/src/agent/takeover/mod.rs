//! Generations of the agent side by side: each takes over from the one before it, which drains.
//!
//! ```text
//!  new                                   old
//!  Hello ──────────────────────────────► is it compatible? the key store is lent
//!      ◄──────────────────────── Offer   slots, sockets and listeners that are taken
//!  slots, sockets, programs, workers;
//!  the probe is served
//!  Prepared ───────────────────────────► the control socket's name goes aside
//!      ◄─────────────────────────── Go
//!  one write: the assignment flips
//!  Flipped ────────────────────────────► its slots drain, and it ends with its last connection
//! ```
//!
//! Up to the flip the old one serves as if nothing was. Whenever the new one ends while the old
//! one is still there, the old one puts everything back and serves again: before the flip, and
//! after it too.

mod compatibility;
mod error;
mod generations;
mod new;
mod old;
mod probe;
mod protocol;
mod report;
mod upgrade;
mod watch;

pub(super) use self::{
    compatibility::Compatibility,
    error::TakeoverError,
    generations::{Generations, Phase},
    new::TakeOver,
    old::{HANDOVER, hand_over, refuse_other_versions},
    protocol::{Neighbour, PROTOCOL},
    report::{describe, reconcile_retirement},
    upgrade::upgrade,
};
