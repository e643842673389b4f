//! The programs' own diagnostics, in the build that `run --kernel-log LEVEL` loads.
//!
//! In the normal build these functions are empty: nothing is logged per packet.

use router_common::steer::Verdict;

use crate::maps::StoredFlow;

/// What is said of a verdict, as numbers: the verdict itself, with its pointer to a flow, may have to stay in registers, as
/// the verifier takes no part of a pointer for one.
#[derive(Clone, Copy)]
pub(crate) struct Decided {
    #[cfg(feature = "log")]
    reason: u32,
    #[cfg(feature = "log")]
    slot: i32,
}

impl Decided {
    /// Of a verdict.
    #[inline(always)]
    #[cfg_attr(not(feature = "log"), expect(unused_variables, reason = "nothing is said then"))]
    pub(crate) fn of(verdict: &Verdict<StoredFlow>) -> Self {
        Self {
            #[cfg(feature = "log")]
            reason: verdict.reason() as u32,
            #[cfg(feature = "log")]
            slot: match verdict {
                Verdict::Pass(_) | Verdict::Drop(_) | Verdict::Answer(_) | Verdict::Forward(_) => -1,
                Verdict::Deliver(delivery) => delivery.number.get().into(),
            },
        }
    }
}

#[cfg(feature = "log")]
mod imp {
    use aya_ebpf::programs::{SkReuseportContext, XdpContext};
    use aya_log_ebpf::debug;

    use super::Decided;

    /// What `steer` decided.
    #[inline(always)]
    pub(crate) fn steered(ctx: &XdpContext, decided: Decided) {
        debug!(ctx, "steer: reason {} slot {}", decided.reason, decided.slot);
    }

    /// What `select` decided.
    #[inline(always)]
    pub(crate) fn selected(ctx: &SkReuseportContext, decided: Decided) {
        debug!(ctx, "select: reason {} slot {}", decided.reason, decided.slot);
    }
}

#[cfg(not(feature = "log"))]
mod imp {
    use aya_ebpf::programs::{SkReuseportContext, XdpContext};

    use super::Decided;

    #[inline(always)]
    pub(crate) fn steered(_: &XdpContext, _: Decided) {}

    #[inline(always)]
    pub(crate) fn selected(_: &SkReuseportContext, _: Decided) {}
}

pub(crate) use imp::{selected, steered};
