//! The block list: who is on it, by the configured files and by the verbs, told to the kernel and to the workers.
//!
//! ```text
//! files (config) ─┐
//!                 ├─► lists ─► plan (order) ─► Steering: map and workers' table
//! verbs (store) ──┘
//! ```
//!
//! Where both name a prefix, the verb counts. What verbs have named is kept in the state folder, so that the next
//! generation has it, and the next start. A list may have a hundred thousand prefixes: while the agent serves, it is
//! read, compared and kept on other threads, and written a few hundred at a time.

mod block_list;
mod entry;
mod error;
mod lists;
mod order;
mod store;
mod verbs;

pub(super) use self::{
    block_list::Blocks,
    entry::{By, Entry},
    lists::InForce,
    order::Write,
    verbs::{NamedAs, add, follow, list, remove, shown_action},
};
