//! What people and programs are told of a node, made of what was observed. Nothing here looks at a node itself.

mod counters;
mod problems;
mod status;
mod workers;

pub(super) use self::{
    counters::counters,
    status::status,
    workers::{sum, workers},
};

#[cfg(test)]
mod tests;
