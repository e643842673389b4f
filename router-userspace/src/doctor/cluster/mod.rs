//! The cluster, as far as this host and its agent see it: what other nodes need here, and which of them hear each other.
//! No socket is opened towards other nodes or etcd: the agent has them, and is asked.

mod facts;
mod host;
mod join;
mod nodes;

use self::facts::{Facts, Told};
pub(super) use self::{facts::facts, join::judge as judge_joining};
use super::finding::Finding;
use crate::{agent::api, text};

/// Judges this host alone.
pub(super) fn judge_host(facts: &Facts) -> Vec<Finding> {
    host::judge(facts)
}

/// Judges.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = host::judge(facts);
    match &facts.told {
        Told::NoAgent => findings.push(
            Finding::warn("hello", "no agent runs here: whether nodes hear each other was not looked at")
                .hint("quic-router run, then again"),
        ),
        Told::NoCluster => findings.push(
            Finding::warn(
                "hello",
                "the agent that runs is in no cluster: [cluster] takes effect when it is started again",
            )
            .hint("systemctl restart quic-router"),
        ),
        Told::Cluster(cluster) => {
            findings.extend(address_in_use(facts, cluster));
            findings.push(engine(facts, cluster));
            findings.extend(nodes::judge(cluster));
        }
    }
    findings
}

/// A change of the address or the port takes a restart.
fn address_in_use(facts: &Facts, cluster: &api::Cluster) -> Option<Finding> {
    let configured = facts.tunnel.to_string();
    (cluster.tunnel != configured).then(|| {
        let finding = format!("the agent that runs has {}, the configuration says {configured}", cluster.tunnel);
        Finding::warn("tunnel", finding).hint("systemctl restart quic-router")
    })
}

/// Whether what says which nodes there are can be asked.
fn engine(facts: &Facts, cluster: &api::Cluster) -> Finding {
    let engine = &cluster.engine;
    let source = cluster.members.as_ref().map_or_else(|| "etcd".to_owned(), Clone::clone);
    if cluster.live {
        let nodes = text::plural(cluster.nodes.len() as u64, "node", "nodes");
        let finding = format!("{source} is in force: {nodes}, revision {}", cluster.revision);
        return Finding::ok(engine, finding);
    }
    let since = match cluster.synced_age_seconds {
        Some(age) => format!("for {}", text::span(std::time::Duration::from_secs(age))),
        None => "since the agent was started".to_owned(),
    };
    let why = cluster.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let finding =
        format!("{source} could not be read {since}{why}: what it said last holds, and no node joins, no key changes");
    let hint = match facts.endpoints.as_slice() {
        [] => format!("mend {source}, then quic-router reload"),
        endpoints => format!("etcdctl --endpoints={} endpoint health, on this host", endpoints.join(",")),
    };
    Finding::warn(engine, finding).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::{facts::tests::sample, *};

    fn told(cluster: api::Cluster) -> Vec<Finding> {
        judge(&Facts { told: Told::Cluster(Box::new(cluster)), ..sample() })
    }

    fn cluster() -> api::Cluster {
        api::Cluster {
            engine: "file".to_owned(),
            members: Some("/m.toml".to_owned()),
            node: 1,
            tunnel: "10.0.0.11:6080".to_owned(),
            live: true,
            revision: 2,
            ..api::Cluster::default()
        }
    }

    #[test]
    fn without_an_agent_nothing_is_claimed_of_other_nodes() {
        let text = "no agent runs here: whether nodes hear each other was not looked at";
        let warned = Finding::warn("hello", text).hint("quic-router run, then again");
        assert!(judge(&sample()).contains(&warned));
        let text = "the agent that runs is in no cluster: [cluster] takes effect when it is started again";
        let warned = Finding::warn("hello", text).hint("systemctl restart quic-router");
        assert!(judge(&Facts { told: Told::NoCluster, ..sample() }).contains(&warned));
    }

    #[test]
    fn an_engine_that_is_away_is_named_with_its_reason() {
        let ok = Finding::ok("file", "/m.toml is in force: 0 nodes, revision 2");
        assert!(told(cluster()).contains(&ok));
        let away =
            api::Cluster { live: false, synced_age_seconds: Some(90), why: Some("line 3".to_owned()), ..cluster() };
        let text =
            "/m.toml could not be read for 1m 30s (line 3): what it said last holds, and no node joins, no key changes";
        let warned = Finding::warn("file", text).hint("mend /m.toml, then quic-router reload");
        assert!(told(away.clone()).contains(&warned), "{:?}", told(away));
        let etcd = api::Cluster { engine: "etcd".to_owned(), members: None, live: false, ..cluster() };
        let endpoints = vec!["https://10.0.0.5:2379".to_owned(), "https://10.0.0.6:2379".to_owned()];
        let facts = Facts { endpoints, told: Told::Cluster(Box::new(etcd)), ..sample() };
        let text = "etcd could not be read since the agent was started: what it said last holds, and no node joins, no key changes";
        let hint = "etcdctl --endpoints=https://10.0.0.5:2379,https://10.0.0.6:2379 endpoint health, on this host";
        assert!(judge(&facts).contains(&Finding::warn("etcd", text).hint(hint)), "{:?}", judge(&facts));
    }

    #[test]
    fn an_agent_with_another_address_is_named() {
        let text = "the agent that runs has 10.0.0.9:6080, the configuration says 10.0.0.11:6080";
        let warned = Finding::warn("tunnel", text).hint("systemctl restart quic-router");
        assert!(told(api::Cluster { tunnel: "10.0.0.9:6080".to_owned(), ..cluster() }).contains(&warned));
        assert!(!told(cluster()).contains(&warned));
    }
}
