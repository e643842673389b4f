//! The programs' own diagnostics, in the build that `run --kernel-log LEVEL` loads.
//!
//! In the normal build these functions are empty: nothing is logged per packet.

#[cfg(feature = "log")]
mod imp {
    use aya_ebpf::programs::{SkReuseportContext, XdpContext};
    use aya_log_ebpf::debug;
    use router_common::steer::Verdict;

    use crate::maps::StoredFlow;

    /// What `steer` decided.
    #[inline(always)]
    pub(crate) fn steered(ctx: &XdpContext, verdict: &Verdict<StoredFlow>) {
        let (reason, slot) = (verdict.reason() as u32, slot(verdict));
        debug!(ctx, "steer: reason {} slot {}", reason, slot);
    }

    /// What `select` decided.
    #[inline(always)]
    pub(crate) fn selected(ctx: &SkReuseportContext, verdict: &Verdict<StoredFlow>) {
        debug!(ctx, "select: reason {} slot {}", verdict.reason() as u32, slot(verdict));
    }

    #[inline(always)]
    fn slot(verdict: &Verdict<StoredFlow>) -> i32 {
        match verdict {
            Verdict::Pass(_) | Verdict::Drop(_) | Verdict::Answer(_) | Verdict::Forward(_) => -1,
            Verdict::Deliver(delivery) => delivery.number.get().into(),
        }
    }
}

#[cfg(not(feature = "log"))]
mod imp {
    use aya_ebpf::programs::{SkReuseportContext, XdpContext};
    use router_common::steer::Verdict;

    use crate::maps::StoredFlow;

    #[inline(always)]
    pub(crate) fn steered(_: &XdpContext, _: &Verdict<StoredFlow>) {}

    #[inline(always)]
    pub(crate) fn selected(_: &SkReuseportContext, _: &Verdict<StoredFlow>) {}
}

pub(crate) use imp::{selected, steered};
