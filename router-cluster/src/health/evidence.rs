//! What health is told.

use std::time::Duration;

use crate::{
    hello::{Announcement, Hello, WayReport},
    membership::EngineInfo,
};

/// How long no hello of a node that was heard may come before it counts as silent: the loss of two in a row is nothing.
pub const SILENT_AFTER: Duration = Duration::from_secs(3);

/// `dead_after` unless the configuration says another.
pub const DEFAULT_DEAD_AFTER: Duration = Duration::from_secs(10);

/// Whether the membership engine has leases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    /// A record ends with its node's lease (etcd).
    Leased,
    /// A record ends when an operator takes it out of the members' file.
    File,
}

impl From<EngineInfo> for Engine {
    fn from(info: EngineInfo) -> Self {
        if info.has_leases { Self::Leased } else { Self::File }
    }
}

/// What a hello that [counted](crate::hello::Heard::Counted) says of its sender's health.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word {
    pub(super) announcement: Announcement,
    pub(super) continues: bool,
    pub(super) hears_us: bool,
}

impl Word {
    /// That of `hello`, after which the exchange with its sender reports `way`.
    pub fn new(hello: &Hello, way: &WayReport) -> Self {
        Self { announcement: hello.announcement, continues: hello.continues, hears_us: way.hears_us }
    }
}
