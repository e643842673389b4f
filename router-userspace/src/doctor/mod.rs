//! What on this host is fine for the router, what is not, how to mend it.
//!
//! Each theme is a room of its own that gathers facts and then judges them with a pure function.
//! The rule they keep: nothing is changed, and nothing is claimed that was not looked at.

mod agent;
mod capacity;
mod cluster;
mod finding;
mod interface;
mod kernel;
mod link;
mod netfilter;
mod privileges;
mod sockets;
mod tcp;
mod wanted;

pub(crate) use self::{
    agent::Agent,
    finding::{Finding, Findings},
    wanted::Wanted,
};
use crate::{agent::ClusterSurvey, build_identity};

/// Looks at everything that matters for what is wanted. `agent` is the one that runs: its own programs and sockets are no
/// obstacles.
pub(crate) fn examine(wanted: &Wanted, agent: Option<&Agent>) -> Vec<Finding> {
    let mut findings = vec![build()];
    let status = agent.map(|agent| &agent.status);
    if let Some(status) = status {
        findings.push(Finding::ok("agent", format!("process {} runs and answers", status.pid)));
    }
    findings.extend(kernel::judge(&kernel::facts(wanted), wanted));
    findings.extend(privileges::judge(&privileges::facts_of(wanted), wanted));
    findings.extend(netfilter::judge(&netfilter::facts(), wanted));
    for name in &wanted.interfaces {
        let facts = link::facts(name, wanted, status);
        findings.extend(interface::judge(name, facts.as_ref(), wanted));
    }
    findings.extend(sockets::judge(&sockets::facts(status.map(|status| status.pid), wanted), wanted));
    findings.extend(tcp::judge(&tcp::facts(), wanted));
    findings.extend(capacity::judge(&capacity::facts(), wanted));
    findings.extend(examine_cluster(wanted, agent).unwrap_or_default());
    findings
}

/// Looks at the cluster alone; none where the configuration has none.
pub(crate) fn examine_cluster(wanted: &Wanted, agent: Option<&Agent>) -> Option<Vec<Finding>> {
    let config = wanted.cluster.as_ref()?;
    Some(cluster::judge(&cluster::facts(config, wanted, agent)))
}

/// Looks whether this host may become a node of the cluster that `survey` has found; none where the configuration has none.
pub(crate) fn examine_joining(wanted: &Wanted, agent: Option<&Agent>, survey: &ClusterSurvey) -> Option<Vec<Finding>> {
    let config = wanted.cluster.as_ref()?;
    let mut findings = cluster::judge_host(&cluster::facts(config, wanted, agent));
    findings.extend(cluster::judge_joining(survey));
    Some(findings)
}

fn build() -> Finding {
    let version = format!("{} {} ({})", build_identity::NAME, env!("CARGO_PKG_VERSION"), build_identity::summary());
    match build_identity::is_test_build() {
        None => Finding::ok("build", version),
        Some(why) => Finding::warn("build", format!("{version}: a test build ({why}), slow, not for production"))
            .hint("cargo build --release"),
    }
}
