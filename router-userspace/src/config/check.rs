//! Raw values in, a [`Config`] out: the one place that decides what is valid.
//!
//! Checking goes on after a problem, with a stand-in for the wrong value, so that an operator
//! sees everything at once; a stand-in never leaves this room, because [`Findings::conclude`]
//! comes before the `Config`.

use super::{Config, ConfigError, error::Findings, file::RawConfig};

mod addresses;
mod admission;
mod af_xdp;
mod cluster;
mod connection_id;
mod limits;
mod listeners;
mod observe;
mod places;
mod router;
mod routes;
mod transport;
mod upstreams;

/// Checks everything; gives the configuration, or all that is wrong with it.
pub(super) fn config(raw: RawConfig, mut findings: Findings<'_>) -> Result<Config, ConfigError> {
    let mut router = router::check(&raw.router, &mut findings);
    let connection_id = connection_id::check(&raw.connection_id, &mut findings);
    let limits = limits::check(&raw.limits, &mut findings);
    let transport = transport::check(&raw.transport, &limits, &mut findings);
    let af_xdp = af_xdp::check(&raw.af_xdp, router.engine, &mut findings);
    let admission = admission::check(&raw.admission, &mut findings);
    let admin = observe::admin(raw.admin, &mut findings);
    let access_log = observe::access_log(raw.access_log, &mut findings);
    let qlog = observe::qlog(raw.qlog, &mut findings);
    let listeners = listeners::check(raw.listener, admin.as_ref(), &mut findings);
    let beside = cluster::Beside { listeners: &listeners, connection_id: &connection_id };
    let cluster = cluster::check(raw.cluster, &beside, &mut findings);
    if let Some(number) =
        cluster.as_ref().and_then(|cluster| cluster::node_id(cluster, raw.router.node_id.as_ref(), &mut findings))
    {
        router.node_id = number;
    }
    let upstreams = upstreams::check(raw.upstream, &mut findings);
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.address).collect();
    let beside = routes::Beside { listeners: &addresses, upstreams: &upstreams, paths: router.path_normalization };
    let routes = routes::check(raw.route, &beside, &mut findings);
    let upstreams = upstreams.into_iter().map(|(name, at)| (name, at.value.upstream)).collect();
    let notices = findings.conclude()?;
    Ok(Config {
        router,
        connection_id,
        cluster: cluster.map(|at| at.value),
        limits,
        transport,
        af_xdp,
        admission,
        admin: admin.map(|at| at.value),
        access_log,
        qlog,
        listeners,
        routes,
        upstreams,
        notices,
    })
}
